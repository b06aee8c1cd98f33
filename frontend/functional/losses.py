"""Losses with PyTorch's names, arguments and formulas.

`reduction` is "mean", "sum" or "none". A mean over a named dimension divides by the rows of the
batch at hand. Labels are compared with class numbers, never used as addresses: a loss and its
gradient are elementwise code and row sums, which fuse.
"""

from __future__ import annotations

import math

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.types import promote

from .. import nodes
from ..ranges import check_reals
from ..tensor import Tensor, TensorLike, as_tensor
from ..tracing import fail
from . import elementwise as each
from .comparison import isinf
from .guards import at_least, wide
from .metrics import ratio
from .neural import log_softmax, one_hot_mask

__all__ = [
    "cross_entropy",
    "nll_loss",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "hinge_embedding_loss",
    "gaussian_nll_loss",
    "poisson_nll_loss",
]


def cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Negative log-likelihood of the labels under softmax(input), in nats.

    input    f32[batch, classes, ...]   scores before softmax; or f32[classes]
    target   i32[batch, ...]            class numbers; or probabilities in the shape of input
    weight   f32[classes]               a factor per class
    result   f32[] unless reduction="none"

    The row maximum is subtracted first, so large scores do not overflow. With class numbers, rows
    labelled ignore_index count neither in the sum nor in the divisor of a mean, which is the sum of
    the weights of the labels. With probabilities the divisor is the number of rows.
    Labels are 0 to classes - 1, or ignore_index: arrays of them are checked when they enter a
    program, constants here. Of labels that a program computes, one out of range has no class.
    Raises ShapeError if the shapes do not fit, ArgumentError for a constant label out of range.
    Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.2.2.3.

    >>> scores, label = gc.input("scores", ("batch", 3)), gc.input("label", ("batch",), gc.int32)
    >>> gc.compile(gc.cross_entropy(scores, label))(scores=np.zeros((2, 3)), label=[0, 2])
    array(1.0986123, dtype=float32)
    """
    scores, labels = as_tensor(input), as_tensor(target)
    _check_scores(scores, labels, "cross_entropy")
    axis = 1 if scores.ndim > 1 else 0
    factors = class_weights(weight, scores, axis, "cross_entropy")
    if not 0.0 <= label_smoothing <= 1.0:
        problem = f"label_smoothing lies in 0 to 1, not {label_smoothing}"
        fail(ArgumentError, "cross_entropy", problem)
    if labels.dtype.is_float:
        return _soft_cross_entropy(scores, labels, factors, reduction, label_smoothing, axis)
    shifted = scores - each.stop_gradient(scores.max(axis=axis, keepdims=True))
    log_sum = each.log(each.exp(shifted).sum(axis=axis))
    chosen = one_hot_mask(labels, scores.shape[axis], axis, "cross_entropy", (ignore_index,))
    counted = _counted(labels, ignore_index)
    own_weight = None if factors is None else each.where(chosen, factors, 0).sum(axis=axis)
    loss = log_sum - each.where(chosen, shifted, 0).sum(axis=axis)
    loss = loss if own_weight is None else loss * own_weight
    if label_smoothing:
        classes = class_count(scores, axis, "cross_entropy")
        if factors is None:
            smooth = classes * log_sum - shifted.sum(axis=axis)
        else:
            smooth = factors.sum(axis=axis) * log_sum - (factors * shifted).sum(axis=axis)
        loss = (1.0 - label_smoothing) * loss + (label_smoothing / classes) * smooth
    return _reduce_labelled(loss, own_weight, counted, reduction, "cross_entropy")


def _soft_cross_entropy(
    scores: Tensor,
    target: Tensor,
    factors: Tensor | None,
    reduction: str,
    label_smoothing: float,
    axis: int,
) -> Tensor:
    """Cross-entropy with a target distribution per row."""
    if label_smoothing:
        classes = class_count(scores, axis, "cross_entropy")
        target = target * (1.0 - label_smoothing) + label_smoothing / classes
    logarithms = log_softmax(scores, axis)
    # A class that a score of -inf masks and the target gives nothing costs nothing.
    masked = (target == 0) & isinf(logarithms)
    terms = each.where(masked, 0, logarithms) * target
    loss = -(terms if factors is None else terms * factors).sum(axis=axis)
    return reduced(loss, reduction, "cross_entropy")


def nll_loss(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of class numbers, given log-probabilities [batch, classes, ...].

    >>> gc.compile(gc.nll_loss(gc.log([[0.25, 0.75]]), [1]))()
    array(0.2876821, dtype=float32)
    """
    scores, labels = as_tensor(input), as_tensor(target)
    if labels.dtype.is_float:
        fail(DTypeError, "nll_loss", f"labels are class numbers, not {labels.node.type}")
    _check_scores(scores, labels, "nll_loss")
    axis = 1 if scores.ndim > 1 else 0
    factors = class_weights(weight, scores, axis, "nll_loss")
    chosen = one_hot_mask(labels, scores.shape[axis], axis, "nll_loss", (ignore_index,))
    own_weight = None if factors is None else each.where(chosen, factors, 0).sum(axis=axis)
    loss = -each.where(chosen, scores, 0).sum(axis=axis)
    loss = loss if own_weight is None else loss * own_weight
    return _reduce_labelled(loss, own_weight, _counted(labels, ignore_index), reduction, "nll_loss")


def _check_scores(scores: Tensor, labels: Tensor, operation: str) -> None:
    facts = [f"input is {scores.node.type}, target {labels.node.type}"]
    if not scores.dtype.is_float:
        fail(DTypeError, operation, "the input is not floating point", facts)
    if labels.dtype.is_bool:
        fail(DTypeError, operation, "labels are class numbers or probabilities", facts)
    if scores.ndim == 0:
        fail(ShapeError, operation, "the input has no class axis", facts)
    wanted = scores.shape[:1] + scores.shape[2:] if scores.ndim > 1 else ()
    if labels.dtype.is_float:
        wanted = scores.shape
    if labels.shape != wanted:
        listed = ", ".join(map(str, wanted))
        problem = f"the target's shape is not [{listed}]"
        fail(ShapeError, operation, problem, facts, _classes_last(scores, labels, operation))


def _classes_last(scores: Tensor, labels: Tensor, operation: str) -> str:
    """Advice for scores whose last axis, not axis 1, has the classes."""
    if labels.dtype.is_float or scores.ndim < 3 or scores.shape[:-1] != labels.shape:
        return ""
    order = ", ".join(map(str, (0, scores.ndim - 1, *range(1, scores.ndim - 1))))
    flat = f"input.reshape(-1, {scores.shape[-1]}), target.reshape(-1)"
    moved = f"input.permute({order}), target"
    return f"classes are axis 1: gc.{operation}({flat}), or gc.{operation}({moved})"


def class_weights(
    weight: TensorLike | None, scores: Tensor, axis: int, operation: str
) -> Tensor | None:
    """A factor for every score."""
    if weight is None:
        return None
    factors = as_tensor(weight).astype(scores.dtype)
    if factors.shape != (scores.shape[axis],):
        facts = [f"input is {scores.node.type}, weight {factors.node.type}"]
        fail(ShapeError, operation, "weight has not one number per class", facts)
    column = factors.reshape(factors.shape + (1,) * (scores.ndim - axis - 1))
    return column.broadcast_to(scores.shape)


def class_count(scores: Tensor, axis: int, operation: str) -> int:
    extent = scores.shape[axis]
    if isinstance(extent, str):
        fail(ShapeError, operation, f"the class axis is the named dimension {extent!r}")
    return extent


def _counted(labels: Tensor, ignore_index: int) -> Tensor | None:
    """Whether a row counts; None where the labels' dtype cannot hold ignore_index."""
    bits = labels.dtype.bits
    low, high = (
        (0, 2**bits) if labels.dtype.kind == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    )
    return labels != ignore_index if low <= ignore_index < high else None


def _reduce_labelled(
    loss: Tensor,
    own_weight: Tensor | None,
    counted: Tensor | None,
    reduction: str,
    operation: str,
) -> Tensor:
    """The mean divides by the weights of the labels that count."""
    if counted is not None:
        loss = each.where(counted, loss, 0)
    if reduction != "mean" or (counted is None and own_weight is None):
        return reduced(loss, reduction, operation)
    parts = counted.astype(loss.dtype) if own_weight is None and counted is not None else own_weight
    assert parts is not None
    if own_weight is not None and counted is not None:
        parts = each.where(counted, own_weight, 0)
    return ratio(loss.sum(), parts.sum())


def reduced(loss: Tensor, reduction: str, operation: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction != "none":
        fail(ArgumentError, operation, f"reduction is 'mean', 'sum' or 'none', not {reduction!r}")
    return loss


def pair(
    input: TensorLike, target: TensorLike, operation: str, as_given: bool = False
) -> tuple[Tensor, Tensor]:
    """Prediction and target, of one shape: a broadcast here is nearly always a mistake.

    as_given   whether a target of integers stays one
    """
    x, y = as_tensor(input), as_tensor(target)
    if x.shape != y.shape:
        facts = [f"input is {x.node.type}, target {y.node.type}"]
        fail(ShapeError, operation, "input and target differ in shape", facts)
    if not x.dtype.is_float:
        fail(DTypeError, operation, f"the input is not floating point: {x.node.type}")
    return x, y if as_given or y.dtype.is_float else y.astype(x.dtype)


def mse_loss(
    input: TensorLike,
    target: TensorLike,
    reduction: str = "mean",
    weight: TensorLike | None = None,
) -> Tensor:
    """(input - target)^2.

    weight   a factor per element, in the shape of the input; a mean divides by their sum

    >>> gc.compile(gc.mse_loss([1.0, 2.0], [1.0, 4.0]))()
    array(2., dtype=float32)
    """
    x, y = pair(input, target, "mse_loss")
    return _weighted_mean((x - y).square(), weight, reduction, "mse_loss")


def l1_loss(
    input: TensorLike,
    target: TensorLike,
    reduction: str = "mean",
    weight: TensorLike | None = None,
) -> Tensor:
    """|input - target|.

    weight   a factor per element, in the shape of the input; a mean divides by their sum

    >>> gc.compile(gc.l1_loss([1.0, 2.0], [2.0, 4.0]))()
    array(1.5, dtype=float32)
    """
    x, y = pair(input, target, "l1_loss")
    return _weighted_mean(each.abs(x - y), weight, reduction, "l1_loss")


def _weighted_mean(
    loss: Tensor, weight: TensorLike | None, reduction: str, operation: str
) -> Tensor:
    """The loss, with weights the mean that divides by them."""
    if weight is None:
        return reduced(loss, reduction, operation)
    factor = _factors(weight, loss, operation)
    if reduction == "mean":
        return ratio((loss * factor).sum(), factor.sum())
    return reduced(loss * factor, reduction, operation)


def _factors(weight: TensorLike, loss: Tensor, operation: str) -> Tensor:
    """A weight for every element of the loss."""
    factor = as_tensor(weight)
    if factor.shape != loss.shape:
        facts = [f"the loss is {loss.node.type}, weight {factor.node.type}"]
        fail(ShapeError, operation, "weight has not the shape of the input", facts)
    return factor.astype(loss.dtype)


def smooth_l1_loss(
    input: TensorLike, target: TensorLike, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2.

    >>> gc.compile(gc.smooth_l1_loss([0.5, 3.0], [0.0, 0.0], reduction="none"))()
    array([0.125, 2.5  ], dtype=float32)
    """
    x, y = pair(input, target, "smooth_l1_loss")
    check_reals("smooth_l1_loss", beta=beta)
    if beta < 0:
        fail(ArgumentError, "smooth_l1_loss", f"beta is not negative, not {beta}")
    if beta == 0:
        return reduced(each.abs(x - y), reduction, "smooth_l1_loss")
    difference = x - y
    distance = each.abs(difference)
    near = distance < beta
    small = each.where(near, difference, 0)  # the slope of an infinite square is 0 * inf
    loss = each.where(near, small * small * (0.5 / beta), distance - 0.5 * beta)
    return reduced(loss, reduction, "smooth_l1_loss")


def huber_loss(
    input: TensorLike,
    target: TensorLike,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: TensorLike | None = None,
) -> Tensor:
    """d^2 / 2 where d = |input - target| <= delta, else delta * (d - delta / 2).

    weight   a factor per element, in the shape of the input; a mean divides by the elements

    >>> gc.compile(gc.huber_loss([0.5, 3.0], [0.0, 0.0], reduction="none", delta=2.0))()
    array([0.125, 4.   ], dtype=float32)
    """
    x, y = pair(input, target, "huber_loss")
    check_reals("huber_loss", delta=delta)
    if delta <= 0:
        fail(ArgumentError, "huber_loss", f"delta is positive, not {delta}")
    difference = x - y
    if math.isinf(delta):
        loss = 0.5 * (difference * difference)
    else:
        distance = each.abs(difference)
        near = distance <= delta
        small = each.where(near, difference, 0)  # the slope of an infinite square is 0 * inf
        loss = each.where(near, 0.5 * (small * small), delta * (distance - 0.5 * delta))
    loss = loss if weight is None else loss * _factors(weight, loss, "huber_loss")
    return reduced(loss, reduction, "huber_loss")


def binary_cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)); logarithms are at least -100, as in PyTorch.

    weight   a factor per element, broadcast to the shape of the input

    The slope in p is PyTorch's too, (p - t) / max(p (1 - p), 1e-12): 0 where p is t.

    >>> gc.compile(gc.binary_cross_entropy([0.5, 0.25], [1.0, 0.0]))()
    array(0.49041462, dtype=float32)
    """
    name = "binary_cross_entropy"
    p, t = pair(input, target, name)
    (p, p_dtype), (t, t_dtype) = wide(p), wide(t)
    edge, fixed = p * (1.0 - p) < _LEAST_VARIANCE, each.stop_gradient(p)
    inside = each.where(edge, fixed, p)
    yes, no = each.log(inside).clip(-100.0), each.log1p(-inside).clip(-100.0)
    at_edge = each.stop_gradient(p - t) / _LEAST_VARIANCE * each.where(edge, p - fixed, 0)
    loss = ((t - 1.0) * no - t * yes + at_edge).astype(promote(p_dtype, t_dtype))
    return reduced(weighted(loss, weight, name), reduction, name)


_LEAST_VARIANCE = 1e-12  # of p (1 - p), as in PyTorch's derivative of binary_cross_entropy


def weighted(loss: Tensor, weight: TensorLike | None, operation: str) -> Tensor:
    """The loss times a weight that broadcasts to its shape, and not the other way round."""
    if weight is None:
        return loss
    factor = as_tensor(weight)
    _check_stretches(factor, loss, "weight", operation)
    return loss * factor


def _check_stretches(factor: Tensor, x: Tensor, name: str, operation: str) -> None:
    if not nodes.stretches_to(factor.shape, x.shape):
        facts = [f"input is {x.node.type}, {name} {factor.node.type}"]
        fail(ShapeError, operation, f"{name} does not broadcast to the input's shape", facts)


def binary_cross_entropy_with_logits(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), stable for large scores.

    weight       a factor per element, broadcast to the shape of the input
    pos_weight   a factor for the positive term, broadcast to the shape of the input

    A mean of log(1 + exp(x)) and log(1 + exp(-x)), each split in a part linear in x and a tail
    log(1 + exp(-|x|)), so that nothing cancels. An infinite score that is right costs 0.

    >>> gc.compile(gc.binary_cross_entropy_with_logits([0.0, 1e4], [1.0, 0.0], reduction="none"))()
    array([6.931472e-01, 1.000000e+04], dtype=float32)
    """
    name = "binary_cross_entropy_with_logits"
    x, t = pair(input, target, name)
    above = x > 0
    tail = each.log1p(each.exp(each.where(above, -x, x)))
    share = t
    if pos_weight is not None:
        factor = as_tensor(pos_weight)
        _check_stretches(factor, x, "pos_weight", name)
        share = t * factor
        tail = (share + (1.0 - t)) * tail
    slope = each.where(above, 1.0 - t, -share)
    sure = isinf(x) & (slope == 0)
    loss = slope * each.where(sure, 0, x) + tail
    return reduced(weighted(loss, weight, name), reduction, name)


def kl_div(
    input: TensorLike, target: TensorLike, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """target * (log(target) - input), input being log-probabilities.

    Where the target is 0 (its logarithm -inf) the loss is 0, and so are its slopes.

    reduction   also "batchmean": the sum divided by the first extent

    >>> p, q = [[0.5, 0.5]], [[0.25, 0.75]]
    >>> gc.compile(gc.kl_div(gc.log(q), p, reduction="batchmean"))()
    array(0.14384104, dtype=float32)
    """
    x, t = pair(input, target, "kl_div")
    nothing = t == (-math.inf if log_target else 0)
    x, t = each.where(nothing, 0, x), each.where(nothing, 0 if log_target else 1, t)
    logarithm, share = (t, each.exp(t)) if log_target else (each.log(t), t)
    loss = each.where(nothing, 0, share * (logarithm - x))
    if reduction == "batchmean":
        return loss.sum(axis=tuple(range(1, loss.ndim))).mean() if loss.ndim > 1 else loss.mean()
    return reduced(loss, reduction, "kl_div")


def hinge_embedding_loss(
    input: TensorLike, target: TensorLike, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1; their sum elsewhere.

    At x = margin the slope is -1, as in PyTorch.

    >>> gc.compile(gc.hinge_embedding_loss([0.5, 0.5], [1.0, -1.0], reduction="none"))()
    array([0.5, 0.5], dtype=float32)
    """
    x, t = pair(input, target, "hinge_embedding_loss")
    check_reals("hinge_embedding_loss", margin=margin)
    loss = each.where(t == 1, 0, (margin - x).clip(0.0)) + each.where(t == -1, 0, x)
    return reduced(loss, reduction, "hinge_embedding_loss")


def gaussian_nll_loss(
    input: TensorLike,
    target: TensorLike,
    var: TensorLike,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (input - target)^2 / var) / 2, var being at least eps.

    var   in the shape of the input, or that with the last extent 1 or left out

    Where var is less than eps (also below 0, which PyTorch refuses) the value is that of eps, and
    the slope goes through to var, as in PyTorch.

    >>> gc.compile(gc.gaussian_nll_loss([1.0], [3.0], [4.0]))()
    array(1.1931472, dtype=float32)
    """
    x, t = pair(input, target, "gaussian_nll_loss")
    check_reals("gaussian_nll_loss", eps=eps)
    if eps <= 0:
        fail(ArgumentError, "gaussian_nll_loss", f"eps is positive, not {eps}")
    variance = _variance(as_tensor(var), x)
    dtype = promote(x.dtype, t.dtype, variance.dtype)
    x, t, variance = (wide(part)[0] for part in (x, t, variance))
    variance = at_least(variance, eps)
    loss = 0.5 * (each.log(variance) + (x - t).square() / variance)
    loss = loss + 0.5 * math.log(2.0 * math.pi) if full else loss
    return reduced(loss.astype(dtype), reduction, "gaussian_nll_loss")


def _variance(var: Tensor, x: Tensor) -> Tensor:
    """`var` in a shape that stretches to that of x along the last axis alone."""
    if not var.dtype.is_float:
        var = var.astype(x.dtype)
    if var.shape in ((), x.shape) or (x.ndim and var.shape == (*x.shape[:-1], 1)):
        return var
    if x.ndim and var.shape == x.shape[:-1]:
        return var.reshape((*var.shape, 1))
    facts = [f"input is {x.node.type}, var {var.node.type}"]
    fail(ShapeError, "gaussian_nll_loss", "var does not fit the input", facts)


def poisson_nll_loss(
    input: TensorLike,
    target: TensorLike,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """rate - target * log(rate), the negative log-likelihood of counts without log(target!).

    log_input   whether the input is the logarithm of the rate; else log(input + eps) is taken
    full        adds Stirling's t log(t) - t + log(2 pi t) / 2 for log(t!) where the target t > 1

    >>> gc.compile(gc.poisson_nll_loss([0.0, 1.0], [1.0, 1.0], reduction="none"))()
    array([1.      , 1.718282], dtype=float32)
    """
    name = "poisson_nll_loss"
    x, t = pair(input, target, name)
    check_reals(name, eps=eps)
    dtype = promote(x.dtype, t.dtype)
    (x, _), (t, _) = wide(x), wide(t)
    loss = each.exp(x) - t * x if log_input else x - t * each.log(x + eps)
    if full:
        more = each.where(t > 1, t, 2)
        stirling = more * each.log(more) - more + 0.5 * each.log((2.0 * math.pi) * more)
        loss = loss + each.where(t > 1, stirling, 0)
    return reduced(loss.astype(dtype), reduction, name)
