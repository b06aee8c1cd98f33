"""Metrics and losses that are a quotient of two sums over the data."""

from __future__ import annotations

from gradc.compiler.errors import ShapeError
from gradc.compiler.types import float32

from ..tensor import Tensor, TensorLike, as_tensor
from ..tracing import fail


class Ratio(Tensor):
    """numerator / denominator, which `gc.training` reports as the quotient of their sums.

    As an operand it is the quotient of the batch, like any tensor.
    """

    __slots__ = ("denominator", "numerator")

    numerator: Tensor
    denominator: Tensor

    def __init__(self, numerator: Tensor, denominator: Tensor) -> None:
        quotient = numerator / denominator
        super().__init__(quotient.node, quotient.declared)
        object.__setattr__(self, "numerator", numerator)
        object.__setattr__(self, "denominator", denominator)


def ratio(numerator: TensorLike, denominator: TensorLike) -> Ratio:
    """A metric or loss whose value over many batches is sum(numerator) / sum(denominator).

    numerator, denominator   scalars of one batch: sums or counts, not means

    A mean of a batch's quotients is another number where batches differ in their denominators:
    recall divides by the positives, which no two batches have alike.

        hits = gc.sum(gc.where(label == 1, guess, 0))
        recall = gc.ratio(hits, gc.sum(label))
        program = gc.training(loss, optimizer, metrics={"recall": recall})

    Integers and bools are counted in float32. Over data with a denominator of 0 the value is NaN.
    Raises ShapeError for what is no scalar.
    """
    return Ratio(_scalar(numerator, "numerator"), _scalar(denominator, "denominator"))


def _scalar(x: TensorLike, what: str) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim:
        fail(ShapeError, "ratio", f"the {what} is {tensor.node.type}, not a scalar", hint="gc.sum")
    return tensor if tensor.dtype.is_float else tensor.astype(float32)
