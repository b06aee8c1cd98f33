"""Connectionist temporal classification: the loss of a sequence whose alignment is not known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.types import int64

from .. import nodes
from ..dimensions import refuse_named
from ..index_ranges import from_zero
from ..loops import scan
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from . import elementwise as each
from .creation import arange, full
from .gather import take, take_along_axis
from .guards import wide
from .losses import reduced
from .neural import pad

__all__ = [
    "ctc_loss",
]

NAME = "ctc_loss"
PADDING = (-1, -100)
"""What may stand behind the end of a target, beside class numbers."""


def ctc_loss(
    log_probs: TensorLike,
    targets: TensorLike,
    input_lengths: TensorLike,
    target_lengths: TensorLike,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability that a sequence reads as its target, over all alignments, in nats.

    log_probs       f32[steps, batch, classes]   log_softmax of scores; or f32[steps, classes]
    targets         i32[batch, length]   class numbers, none of them blank; or i32[length]
    input_lengths   i32[batch]           steps of each sequence that count; or i32[]
    target_lengths  i32[batch]           class numbers of each target that count; or i32[]
    blank           the class of nothing
    result          f32[] unless reduction="none": f32[batch]

    An alignment names one class a step; equal ones behind each other are one, then blanks are left
    out. A mean divides each loss by its target's length, then by the batch. Behind its length a
    target is not read: any class number, -1 or -100 may stand there. Targets behind each other in
    one axis, without padding, are not taken.
    Where a target is too long for its steps the loss is infinite and has slope 0; zero_infinity
    makes it 0. One loop over the steps, in logarithms; its gradient is another. The gradient is
    that of log_probs as they are, -1 times the probability of being at a class: PyTorch's adds what
    log_softmax takes out again.
    Source: Graves et al., "Connectionist Temporal Classification" (2006), section 4.1.

    Of nine alignments of two steps, all as likely, 1-1, 1-0 and 0-1 read as 1:

    >>> logs = gc.log_softmax(gc.zeros((2, 1, 3)))
    >>> print(gc.compile(gc.ctc_loss(logs, [[1]], [2], [1]))().round(4))
    1.0986
    """
    scores, labels = as_tensor(log_probs), as_tensor(targets)
    steps, written = as_tensor(input_lengths), as_tensor(target_lengths)
    batched = _check(scores, labels, steps, written, blank)
    if not batched:
        scores, labels = scores[:, None], labels[None]
        steps, written = steps.reshape((1,)), written.reshape((1,))
    steps = derive(from_zero(steps.node, _one_more(scores.shape[0]), NAME), steps)
    written = derive(from_zero(written.node, _one_more(labels.shape[1]), NAME), written)
    (scores, dtype), written = wide(scores), written.astype(int64)
    states, skips = _states(labels, written, scores.shape[2], blank)
    emitted = take_along_axis(scores, states[None], axis=2)
    ends = _forward(emitted, skips, steps.astype(int64))
    last = take_along_axis(ends, written[:, None] * 2, axis=1)
    before = take_along_axis(ends, (written[:, None] * 2 - 1).clip(0), axis=1)
    nothing = each.where(written[:, None] > 0, before, -math.inf)
    loss = 0 - _log_of_sum(last, nothing)[:, 0]  # of what is certain 0, and not -0
    if zero_infinity:
        loss = each.where(each.isinf(loss), 0, loss)
    if reduction == "mean":
        loss = loss / written.clip(1).astype(loss.dtype)
    loss = loss.astype(dtype)
    return reduced(loss if batched else loss[0], reduction, NAME)


def _check(scores: Tensor, labels: Tensor, steps: Tensor, written: Tensor, blank: int) -> bool:
    """Whether there is a batch. Raises for what does not fit."""
    facts = [
        f"log_probs is {scores.node.type}, targets {labels.node.type}",
        f"input_lengths is {steps.node.type}, target_lengths {written.node.type}",
    ]
    if not scores.dtype.is_float:
        fail(DTypeError, NAME, "log_probs is not floating point", facts)
    if not all(t.dtype.is_integer for t in (labels, steps, written)):
        fail(DTypeError, NAME, "targets and lengths are integers", facts)
    if scores.ndim not in (2, 3):
        problem = "log_probs is [steps, batch, classes] or [steps, classes]"
        fail(ShapeError, NAME, problem, facts)
    batch = scores.shape[1:2] if scores.ndim == 3 else ()
    if scores.ndim == 3 and labels.ndim == 1:
        hint = "pad the targets to [batch, length]; what is behind target_lengths is not read"
        fail(ShapeError, NAME, "targets are not [batch, length]", facts, hint)
    if labels.ndim != len(batch) + 1 or labels.shape[:-1] != batch:
        fail(ShapeError, NAME, "log_probs and targets have not one batch", facts)
    for name, lengths in (("input_lengths", steps), ("target_lengths", written)):
        if lengths.shape != batch and (batch or lengths.shape != (1,)):
            fail(ShapeError, NAME, f"{name} has not the shape {nodes.show(batch)}", facts)
    for axis, extent in ((labels.ndim - 1, labels.shape[-1]), (scores.ndim - 1, scores.shape[-1])):
        if isinstance(extent, str):
            refuse_named(NAME, axis, extent)
    if scores.shape[0] == 0:
        fail(ShapeError, NAME, "log_probs has no steps", facts)
    if not 0 <= blank < int(scores.shape[-1]):
        problem = f"blank is a class number, 0 to {int(scores.shape[-1]) - 1}, not {blank}"
        fail(ArgumentError, NAME, problem, facts)
    return scores.ndim == 3


def _one_more(extent: Any) -> Any:
    """A length is at most the extent; nothing is known where that is a named dimension."""
    return extent if isinstance(extent, str) else extent + 1


def _states(labels: Tensor, written: Tensor, classes: Any, blank: int) -> tuple[Tensor, Tensor]:
    """The classes of a target with a blank before, between and behind them, [batch, states], and
    whether each may follow the one two before: no blank, and another class than that."""
    labels = derive(from_zero(labels.node, classes, NAME, PADDING), labels)
    length: Any = labels.shape[1]
    counted = arange(length)[None, :] < written[:, None]
    labels = each.where(counted, labels.astype(int64), blank)
    places = np.arange(2 * length + 1)
    if length == 0:
        states = full((labels.shape[0], 1), blank, int64)
    else:
        read = take(labels, np.clip((places - 1) // 2, 0, length - 1), axis=1)
        states = each.where(_along(places % 2 == 1), read, blank)
    earlier = pad(states, (2, 0), value=blank)[:, : 2 * length + 1]
    return states, (states != blank) & (states != earlier)


def _along(flags: np.ndarray[Any, Any]) -> Tensor:
    return as_tensor(flags[None])


def _forward(emitted: Tensor, skips: Tensor, steps: Tensor) -> Tensor:
    """Logarithms of the probabilities to be in each state after a sequence's last step.

    emitted   [steps, batch, states]    skips  [batch, states]    steps  [batch]
    """
    count: Any = emitted.shape[2]
    begins = np.arange(count) < 2
    first = each.where(_along(begins), emitted[0], -math.inf)
    unread = each.where(_along(np.arange(count) == 0), 0.0, -math.inf)  # no step reads nothing
    first = each.where((steps > 0)[:, None], first, unread)

    def later(alpha: Tensor, x: Any) -> tuple[Tensor, None]:
        here, number = x
        one, two = (pad(alpha, (n, 0), value=-math.inf)[:, :count] for n in (1, 2))
        moved = _log_of_sum(alpha, one, each.where(skips, two, -math.inf)) + here
        return each.where((number < steps)[:, None], moved, alpha), None

    if emitted.shape[0] == 1:
        return first
    numbers = Tensor(nodes.iota(emitted.shape[:1], 0, int64))
    found: Tensor = scan(later, first, (emitted[1:], numbers[1:]))[0]
    return found


def _log_of_sum(*logarithms: Tensor) -> Tensor:
    """log(exp(a) + exp(b) + ...) for each element; where all are -inf so is it, with slope 0."""
    greatest = logarithms[0]
    for x in logarithms[1:]:
        greatest = each.maximum(greatest, x)
    greatest = each.stop_gradient(greatest)
    none = greatest == -math.inf
    shift = each.where(none, 0, greatest)
    total = sum((each.exp(x - shift) for x in logarithms[1:]), each.exp(logarithms[0] - shift))
    return each.where(none, -math.inf, each.log(each.where(none, 1, total)) + shift)
