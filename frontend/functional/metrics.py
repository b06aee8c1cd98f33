"""Metrics: what is counted over the data, and quotients of two sums over it."""

from __future__ import annotations

from collections.abc import Sequence

from gradc.compiler.errors import DTypeError, ShapeError
from gradc.compiler.types import float32, int8

from .. import nodes
from ..ranges import Number, check_numbers
from ..tensor import Tensor, TensorLike, as_tensor
from ..tracing import fail

__all__ = [
    "ratio",
    "accuracy",
]


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

    >>> guess, label = (gc.input(name, ("batch",), gc.bool) for name in ("guess", "label"))
    >>> precision = gc.ratio(gc.sum(gc.logical_and(guess, label)), gc.sum(guess))
    >>> gc.compile(precision)(guess=[True, True, False], label=[True, False, True])
    array(0.5, dtype=float32)
    """
    return Ratio(_scalar(numerator, "numerator"), _scalar(denominator, "denominator"))


def _scalar(x: TensorLike, what: str) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim:
        fail(ShapeError, "ratio", f"the {what} is {tensor.node.type}, not a scalar", hint="gc.sum")
    return tensor if tensor.dtype.is_float else tensor.astype(float32)


def accuracy(
    input: TensorLike, target: TensorLike, axis: int = -1, threshold: Number | None = None
) -> Tensor:
    """The share of rows whose greatest score is at the label, as f32[].

    input      [batch, classes]   scores or probabilities; the first of equal ones counts
    target     [batch]            class numbers, or one-hot rows in the shape of input
    threshold  for scores of one class: those above it say yes. 0 for logits, 0.5 for probabilities

    With a threshold input and target have one shape; a target that is true, or above 0 (a float:
    above 0.5), is a yes. Without one, scores that leave nothing to choose from are refused:
    ShapeError for one score per row, DTypeError for labels that are no class numbers.

    >>> scores = gc.constant([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    >>> gc.compile(gc.accuracy(scores, [1, 0, 0]))()
    array(0.6666667, dtype=float32)
    """
    scores, labels = as_tensor(input), as_tensor(target)
    facts = [f"input is {scores.node.type}, target {labels.node.type}"]
    if threshold is not None:
        return _binary_accuracy(scores, labels, threshold, facts)
    hint = "for one score per row give threshold=0.0 (logits) or threshold=0.5 (probabilities)"
    if scores.ndim == 0 or (scores.shape == labels.shape and scores.ndim == 1):
        fail(ShapeError, "accuracy", "the scores have no axis of classes", facts, hint)
    along = nodes.axis_of(axis, scores.ndim, "accuracy")
    if scores.shape[along] == 1:
        fail(ShapeError, "accuracy", f"axis {along} of the scores is one class", facts, hint)
    wanted = scores.shape[:along] + scores.shape[along + 1 :]
    if labels.shape == scores.shape:
        shares = labels.astype(int8) if labels.dtype.is_bool else labels
        labels = shares.argmax(axis=along)
    elif labels.shape != wanted:
        problem = f"the target's shape is neither {nodes.show(wanted)} nor that of the input"
        fail(ShapeError, "accuracy", problem, facts)
    elif not labels.dtype.is_integer:
        fail(DTypeError, "accuracy", "labels are class numbers, which are integers", facts)
    return (scores.argmax(axis=along) == labels).astype(float32).mean()


def _binary_accuracy(
    scores: Tensor, labels: Tensor, threshold: float, facts: Sequence[str]
) -> Tensor:
    (limit,) = check_numbers("accuracy", threshold=threshold)
    if scores.shape != labels.shape:
        fail(ShapeError, "accuracy", "with a threshold input and target have one shape", facts)
    if labels.dtype.is_bool:
        truth = labels
    else:
        truth = labels > (0.5 if labels.dtype.is_float else 0)
    return ((scores > limit) == truth).astype(float32).mean()
