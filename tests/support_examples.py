"""The examples, as modules: what they define, without running them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example_names(name: str) -> dict[str, Any]:
    """What examples/NAME.py defines; examples may import each other, as `python FILE` lets them."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return runpy.run_path(str(EXAMPLES / f"{name}.py"))
    finally:
        sys.path.remove(str(EXAMPLES))
