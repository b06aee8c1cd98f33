"""What is done to gradients before an optimizer reads them, and to parameters after it.

accumulate   the mean of n gradients, one a step; parameters move at every n-th step
clip_value   each number of a gradient is brought between -clip_value and clip_value
clip_norm    all gradients are scaled alike, so that the norm of all together is no greater
averaged     a mean of what each parameter has been, beside it
"""

from __future__ import annotations

from dataclasses import dataclass

from gradc.compiler.artifact import AVERAGED_STATE
from gradc.compiler.types import float64

from ..functional.creation import constant
from ..functional.elementwise import clip, minimum, sqrt, where
from ..tensor import Tensor
from ..variables import State, optimizer_state

Pairs = list[tuple[State, Tensor]]

NORM_EPS = 1e-6
"""What torch.nn.utils.clip_grad_norm_ adds to the norm that it divides by."""


@dataclass(frozen=True)
class Averaging:
    """How parameters are averaged: with a decay, or evenly where it is None."""

    decay: float | None


@dataclass(frozen=True)
class Turn:
    """Where a step stands among the n whose gradients are averaged.

    updates   steps of the optimizer that are done, i64[]
    is_last   whether this step ends with one; None if every step does
    """

    updates: Tensor
    is_last: Tensor | None

    def unless_early(self, pairs: Pairs) -> Pairs:
        """The new values of states; the old ones in a step that does not end with an update."""
        last = self.is_last
        if last is None:
            return pairs
        return [(state, where(last, value.astype(state.dtype), state)) for state, value in pairs]


def turn_of(step: Tensor, steps: int) -> Turn:
    """step: the steps done; steps: how many make one of the optimizer's."""
    if steps == 1:
        return Turn(step, None)
    return Turn(step // steps, step % steps == steps - 1)


def accumulated(gradients: Pairs, steps: int, turn: Turn) -> tuple[Pairs, Pairs]:
    """The means of the gradients so far, and the new values of the states that sum them up."""
    if turn.is_last is None:
        return gradients, []
    means, sums = [], []
    for parameter, gradient in gradients:
        total = optimizer_state(f"optimizer.accumulated.{parameter.name}", parameter)
        mean = total + gradient / steps
        means.append((parameter, mean))
        sums.append((total, where(turn.is_last, 0.0, mean)))
    return means, sums


def clipped(gradients: Pairs, value: float | None, norm: float | None) -> Pairs:
    """The gradients, by value and then by norm."""
    if value is not None:
        gradients = [(parameter, clip(g, -value, value)) for parameter, g in gradients]
    if norm is None:
        return gradients
    total = sum((squares(g).astype(float64) for _, g in gradients), constant(0.0, float64))
    factor = minimum(norm / (sqrt(total) + NORM_EPS), 1.0)
    return [(parameter, g * factor.astype(g.dtype)) for parameter, g in gradients]


def averages(values: Pairs, averaging: Averaging, updates: Tensor) -> Pairs:
    """New values of the averages. values: parameters and what they become."""
    found = []
    count = updates.astype(float64)
    for parameter, value in values:
        mean = optimizer_state(f"{AVERAGED_STATE}{parameter.name}", parameter)
        if averaging.decay is None:
            weight = 1.0 / (count + 1.0)
        else:
            weight = where(count == 0.0, 1.0, constant(1.0 - averaging.decay, float64))
        moved = mean + weight.astype(parameter.dtype) * (value - mean)
        found.append((mean, where(weight == 1.0, value, moved)))
    return found


def squares(tensor: Tensor) -> Tensor:
    """The sum of all squares, in float32 where the dtype is narrower: 300 * 300 is too much for
    float16."""
    wide = tensor if tensor.dtype.bits >= 32 else tensor.astype("float32")
    return (wide * wide).sum()
