"""Losses of margins: what is right has to be better by a margin than what is wrong.

PyTorch's names, arguments, formulas and slopes; `reduction` is "mean", "sum" or "none".
"""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.types import int32, promote

from .. import nodes
from ..ranges import check_reals
from ..tensor import Tensor, TensorLike, as_tensor
from ..tracing import fail
from . import elementwise as each
from .activation import logsigmoid
from .distances import pairwise_distance
from .guards import wide
from .losses import class_count, class_weights, pair, reduced, weighted
from .neural import one_hot_mask
from .statistics import cumsum

__all__ = [
    "margin_ranking_loss",
    "cosine_embedding_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "soft_margin_loss",
    "multilabel_soft_margin_loss",
]

# ---------------------------------------------------------------- of several inputs


def margin_ranking_loss(
    input1: TensorLike,
    input2: TensorLike,
    target: TensorLike,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target * (input1 - input2)): target 1 wants input1 greater, -1 input2.

    All three have one shape. At the limit the slope is that of the difference, as in PyTorch.

    >>> gc.compile(gc.margin_ranking_loss([1.0, 1.0], [2.0, 2.0], [1.0, -1.0], reduction="none"))()
    array([1., 0.], dtype=float32)
    """
    name = "margin_ranking_loss"
    (a, b), t = _of_one_shape(name, input1=input1, input2=input2), as_tensor(target)
    if t.shape != a.shape:
        facts = [f"input1 is {a.node.type}, target {t.node.type}"]
        fail(ShapeError, name, "input1 and target differ in shape", facts)
    check_reals(name, margin=margin)
    t = t if t.dtype.is_float else t.astype(a.dtype)
    return reduced((margin - t * (a - b)).clip(0.0), reduction, name)


def cosine_embedding_loss(
    input1: TensorLike,
    input2: TensorLike,
    target: TensorLike,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """1 - c where the target is 1, max(0, c - margin) where it is -1, c being the cosine.

    input1, input2   f32[batch, features]   or f32[features]
    target           i32[batch]             1 or -1; where it is neither the loss is 0
    result           f32[] unless reduction="none"

    c = input1 . input2 / sqrt((|input1|^2 + 1e-12) (|input2|^2 + 1e-12)), as in PyTorch.

    >>> x, y = [[1.0, 0.0]], [[1.0, 1.0]]
    >>> gc.compile(gc.cosine_embedding_loss(x, y, [1.0]))()
    array(0.29289323, dtype=float32)
    """
    name = "cosine_embedding_loss"
    (a, b), t = _of_one_shape(name, input1=input1, input2=input2), as_tensor(target)
    check_reals(name, margin=margin)
    if a.ndim not in (1, 2) or t.shape != a.shape[:-1]:
        facts = [f"input1 is {a.node.type}, target {t.node.type}"]
        fail(ShapeError, name, "inputs are [batch, features] and the target is [batch]", facts)
    (x, first), (y, second) = wide(a), wide(b)
    lengths = [each.sqrt((v * v).sum(axis=-1) + _LEAST_SQUARE) for v in (x, y)]
    cosine = ((x * y).sum(axis=-1) / (lengths[0] * lengths[1])).astype(promote(first, second))
    unlike = each.where(t == -1, (cosine - margin).clip(0.0), 0)
    return reduced(each.where(t == 1, 1.0 - cosine, unlike), reduction, name)


_LEAST_SQUARE = 1e-12  # what PyTorch adds to a squared norm here


def triplet_margin_loss(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d as pairwise_distance.

    anchor, positive, negative   f32[batch, features], or f32[features]
    p, eps   of the distance
    swap     d(positive, negative) counts where it is less than d(anchor, negative)
    result   f32[] unless reduction="none"

    Raises ArgumentError unless margin > 0.
    Source: Balntas et al., "Learning local feature descriptors with triplets" (2016).

    >>> anchor, near, far = [[0.0, 0.0]], [[0.0, 1.0]], [[1.5, 0.0]]
    >>> round(float(gc.compile(gc.triplet_margin_loss(anchor, near, far))()), 4)
    0.5
    """
    check_reals("triplet_margin_loss", p=p, eps=eps)
    operands = {"anchor": anchor, "positive": positive, "negative": negative}
    a, b, c = _of_one_shape("triplet_margin_loss", **operands)
    if a.ndim == 0:
        fail(ShapeError, "triplet_margin_loss", f"the anchor {a.node.type} has no axis of features")

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return _triplets("triplet_margin_loss", (a, b, c), distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss with another distance.

    distance_function   of two tensors; None: gc.pairwise_distance

    >>> anchor, near, far = [[0.0, 0.0]], [[0.0, 1.0]], [[1.5, 0.0]]
    >>> taxi = lambda x, y: gc.sum(gc.abs(x - y), axis=-1)
    >>> loss = gc.triplet_margin_with_distance_loss(anchor, near, far, distance_function=taxi)
    >>> gc.compile(loss)()
    array(0.5, dtype=float32)
    """
    name = "triplet_margin_with_distance_loss"
    operands = {"anchor": anchor, "positive": positive, "negative": negative}
    distance = pairwise_distance if distance_function is None else distance_function
    if not callable(distance):
        fail(ArgumentError, name, f"distance_function is a function, not {distance!r}")
    given = _of_one_shape(name, **operands)
    if given[0].ndim == 0 and distance_function is None:
        fail(ShapeError, name, f"the anchor {given[0].node.type} has no axis of features")
    return _triplets(name, given, distance, margin, swap, reduction)


def _triplets(
    name: str, given: Any, distance: Any, margin: float, swap: bool, reduction: str
) -> Tensor:
    anchor, positive, negative = given
    check_reals(name, margin=margin)
    if margin <= 0:
        fail(ArgumentError, name, f"margin is positive, not {margin}")
    near, far = (as_tensor(distance(anchor, other)) for other in (positive, negative))
    if swap:
        far = each.minimum(far, distance(positive, negative))
    return reduced((near - far + margin).clip(0.0), reduction, name)


def _of_one_shape(operation: str, **operands: TensorLike) -> tuple[Tensor, ...]:
    """Floating-point operands that differ in nothing but their values."""
    found = {name: as_tensor(value) for name, value in operands.items()}
    facts = [", ".join(f"{name} is {x.node.type}" for name, x in found.items())]
    first, *others = found
    for name in others:
        if found[name].shape != found[first].shape:
            fail(ShapeError, operation, f"{first} and {name} differ in shape", facts)
    for name, x in found.items():
        if not x.dtype.is_float:
            fail(DTypeError, operation, f"{name} is not floating point: {x.node.type}")
    return tuple(found.values())


# ---------------------------------------------------------------- of scores


def multi_margin_loss(
    input: TensorLike,
    target: TensorLike,
    p: int = 1,
    margin: float = 1.0,
    weight: TensorLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum of max(0, margin - own + other)^p over the scores of other classes, by their number.

    input    f32[batch, classes]   scores; or f32[classes]
    target   i32[batch]            class numbers, 0 <= label < classes
    p        1 or 2
    weight   f32[classes]          a factor for the rows of a class
    result   f32[] unless reduction="none"; a mean divides by the number of rows

    The sum is divided by the number of all classes. At the limit the slope is 0, as in PyTorch.

    >>> gc.compile(gc.multi_margin_loss([[0.1, 0.2, 0.4, 0.8]], [3]))()
    array(0.325, dtype=float32)
    """
    name = "multi_margin_loss"
    scores, labels = as_tensor(input), as_tensor(target)
    facts = [f"input is {scores.node.type}, target {labels.node.type}"]
    _check_rows(scores, name)
    if labels.shape != scores.shape[:-1]:
        wanted = nodes.show(scores.shape[:-1])
        fail(ShapeError, name, f"the target's shape is not {wanted}", facts)
    if not labels.dtype.is_integer:
        fail(DTypeError, name, f"labels are class numbers, not {labels.node.type}")
    if p not in (1, 2):
        fail(ArgumentError, name, f"p is 1 or 2, not {p!r}")
    check_reals(name, margin=margin)
    classes = class_count(scores, scores.ndim - 1, name)
    own = one_hot_mask(labels, classes, -1, name)
    score = each.where(own, scores, 0).sum(axis=-1, keepdims=True)
    missing = margin - score + scores
    counted = ~own & (missing > 0)
    terms = each.where(counted, missing, 0)
    terms = terms * terms if p == 2 else terms
    factors = class_weights(weight, scores, scores.ndim - 1, name)
    if factors is not None:
        terms = terms * each.where(own, factors, 0).sum(axis=-1, keepdims=True)
    return reduced(terms.sum(axis=-1) / classes, reduction, name)


def multilabel_margin_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean"
) -> Tensor:
    """The sum of max(0, 1 - own + other) over pairs of a labelled class and one that is not.

    input    f32[batch, classes]   scores; or f32[classes]
    target   i32[batch, classes]   class numbers from the left, as many as there are, then -1
    result   f32[] unless reduction="none"; a mean divides by the number of rows

    The sum is divided by the number of classes. What follows the first -1 of a row is not read. At
    the limit the slope is 0, as in PyTorch. Memory grows with batch * classes^2.

    >>> gc.compile(gc.multilabel_margin_loss([[0.1, 0.2, 0.4, 0.8]], [[3, 0, -1, 1]]))()
    array(0.85, dtype=float32)
    """
    name = "multilabel_margin_loss"
    scores, labels = pair(input, target, name, as_given=True)
    _check_rows(scores, name)
    if not labels.dtype.is_integer:
        fail(DTypeError, name, f"labels are class numbers, not {labels.node.type}")
    classes = class_count(scores, scores.ndim - 1, name)
    counted = cumsum((labels < 0).astype(int32), axis=-1) == 0
    chosen = one_hot_mask(labels, classes, -1, name, (-1,)) & counted[..., None]
    labelled = chosen.any(axis=-2)
    own = each.where(chosen, scores[..., None, :], 0).sum(axis=-1)
    missing = 1.0 - own[..., None] + scores[..., None, :]
    read = counted[..., None] & ~labelled[..., None, :] & (missing > 0)
    loss = each.where(read, missing, 0).sum(axis=(-2, -1)) / classes
    return reduced(loss, reduction, name)


def _check_rows(scores: Tensor, operation: str) -> None:
    if not scores.dtype.is_float:
        fail(DTypeError, operation, f"the input is not floating point: {scores.node.type}")
    if scores.ndim not in (1, 2):
        problem = f"the input is [batch, classes] or [classes], not {scores.node.type}"
        fail(ShapeError, operation, problem)


def soft_margin_loss(input: TensorLike, target: TensorLike, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target * input)) with targets 1 and -1; scores of any size do not overflow.

    >>> gc.compile(gc.soft_margin_loss([0.0, 1e4], [1.0, -1.0], reduction="none"))()
    array([6.931472e-01, 1.000000e+04], dtype=float32)
    """
    x, t = pair(input, target, "soft_margin_loss")
    return reduced(-logsigmoid(t * x), reduction, "soft_margin_loss")


def multilabel_soft_margin_loss(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the classes of the binary cross-entropy of sigmoid(input).

    input    f32[batch, classes]   scores, one for each class that may be there
    target   f32[batch, classes]   1 where it is, else 0
    weight   f32[classes]          a factor per class; what broadcasts to the input is taken
    result   f32[] unless reduction="none"

    >>> gc.compile(gc.multilabel_soft_margin_loss([[0.0, 1e4]], [[1.0, 1.0]]))()
    array(0.3465736, dtype=float32)
    """
    name = "multilabel_soft_margin_loss"
    x, t = pair(input, target, name)
    if x.ndim == 0:
        fail(ShapeError, name, f"the input {x.node.type} has no class axis")
    terms = -(t * logsigmoid(x) + (1.0 - t) * logsigmoid(-x))
    return reduced(weighted(terms, weight, name).mean(axis=-1), reduction, name)
