"""Outputs of a whole data set: those of its batches, joined along the axis of its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradc.compiler.artifact import TensorField
from gradc.compiler.errors import ArgumentError

from .arena import Array
from .batches import Sweep


def predictions(
    sweep: Sweep, names: Sequence[str], batch_dimension: str | None
) -> dict[str, Array]:
    """The outputs by name, as arrays of their own.

    Raises ArgumentError where several batches would each give another value of an output.
    """
    batches = sweep.batches
    _check_rows(sweep, names)
    order = np.arange(sweep.samples, dtype=np.int64)
    pieces: list[list[Array]] = [[] for _ in names]
    axes: list[int | None] = [None] * len(pieces)
    first = 0
    while first < batches.steps:
        outputs, done, rows = sweep.run(order, first, batches.steps - first)
        fields = sweep.entry(batches.tail > 0 and first == batches.full).outputs
        for k, (field, output) in enumerate(zip(fields, outputs, strict=True)):
            axes[k] = _batch_axis(field, batch_dimension)
            pieces[k].append(_join_batches(list(output), axes[k], rows))
        first += done
    joined = [_join_batches(parts, axis, None) for parts, axis in zip(pieces, axes, strict=True)]
    return dict(zip(names, joined, strict=True))


def _check_rows(sweep: Sweep, names: Sequence[str]) -> None:
    """What has no batch axis is a value of one batch, so there may be one."""
    batches = sweep.batches
    fields = sweep.entry(batches.tail > 0 and not batches.full).outputs
    for name, field in zip(names, fields, strict=True):
        if field.of_batch and batches.steps > 1:
            raise ArgumentError(
                f"output {name!r} has no batch axis: it is a value of one batch",
                operation="predict",
                facts=[f"{sweep.samples} samples fall into {batches.steps} batches"],
                hint=f"batch_size={sweep.samples} makes one batch of them",
            )


def _batch_axis(field: TensorField, batch_dimension: str | None) -> int | None:
    """The axis of an output that runs over the samples, or None."""
    if field.gathered_axis is not None:
        return field.gathered_axis
    if batch_dimension is not None and batch_dimension in field.shape:
        return field.shape.index(batch_dimension)
    return None


def _join_batches(parts: list[Array], axis: int | None, rows: int | None) -> Array:
    """One array of the parts, each cut to its valid rows; without such an axis, the last part."""
    if axis is None:
        return np.array(parts[-1])
    valid = (slice(None),) * axis + (slice(rows),)
    return np.concatenate([part[valid] for part in parts], axis=axis)
