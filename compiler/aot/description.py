"""What a binary says of itself: one JSON object, for `--describe` and the library's `describe`.

In: a model and the names of the machines that it has code for: CPUs, or architectures of GPUs.
Out: text, indented, ending in a newline. Extents are integers or the name of the batch dimension.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..artifact import FORMAT_VERSION, Device, TensorField
from .model import STACK_BYTES, Model


def description_text(model: Model, machines: Sequence[str], device: Device = "host") -> str:
    """The description as JSON: one line for each of its values."""
    declared = model.declaration
    facts: dict[str, Any] = {
        "name": declared.name,
        "format": FORMAT_VERSION,
        "fingerprint": model.fingerprint,
        {"host": "cpu", "cuda": "gpu"}[device]: list(machines),
        "batch": declared.batch,
        "learning_rate": declared.rate,
        "inputs": [_tensor(field) for field in model.inputs],
        "results": [_tensor(field) for field in model.results],
        "outputs": [_tensor(field) for field in model.outputs],
        "parameters": {f.name: [f.dtype, *f.shape] for f in model.state if f.trained},
        "state_bytes": model.state_bytes,
        "arena_bytes": model.arena_bytes,
        "workspace_bytes": model.workspace_bytes,
        "stack_bytes": STACK_BYTES,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _tensor(field: TensorField) -> dict[str, Any]:
    shape = [
        "batch" if axis == field.gathered_axis else extent
        for axis, extent in enumerate(field.shape)
    ]
    return {"name": field.name, "dtype": field.dtype, "shape": shape}
