"""Loss scaling: gradients that are small numbers are kept in the range of float16.

In the precision "fp16" what a contraction of the gradient reads is rounded to float16, whose least
number is 6e-8 and whose greatest 65504. So the loss is multiplied before it is differentiated, by
as much as just does not overflow, and gradients are divided by it before anybody reads them: a
power of two, which rounds nothing. A step in which a gradient is not finite changes nothing but
the scale, which is halved; after `GROWTH_INTERVAL` steps without one it is doubled.

Source: Micikevicius et al., "Mixed Precision Training" (ICLR 2018), section 3.2; numbers and rules
are those of torch.amp.GradScaler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradc.compiler.types import float32, int64

from ..functional.comparison import isfinite
from ..functional.creation import constant
from ..functional.elementwise import maximum, minimum, where
from ..tensor import Tensor
from ..variables import State, optimizer_state

Pairs = list[tuple[State, Tensor]]

FIRST_SCALE = 2.0**16
GROWTH_INTERVAL = 2000
LEAST_SCALE, GREATEST_SCALE = 2.0**-24, 2.0**24
"""Between these the scale stays: beyond them something else is wrong."""


@dataclass(frozen=True)
class LossScale:
    """The state of one program's loss scaling.

    factor         what losses are multiplied by, f32[]
    steps_finite   steps without an overflow since the factor last changed, i64[]
    updates        steps that changed parameters, i64[]
    """

    factor: State
    steps_finite: State
    updates: State

    def guarded(self, values: Pairs, gradients: Sequence[Tensor]) -> Pairs:
        """The new values of states, if all gradients are finite; else their old ones. And the
        scale's own state."""
        finite = constant(True)
        for gradient in gradients:
            finite = finite & isfinite(gradient).all()
        kept = [(state, where(finite, v.astype(state.dtype), state)) for state, v in values]
        is_time = self.steps_finite == GROWTH_INTERVAL - 1
        grown = where(is_time, minimum(self.factor * 2.0, GREATEST_SCALE), self.factor)
        shrunk = maximum(self.factor * 0.5, LEAST_SCALE)
        counted = where(is_time, 0, self.steps_finite + 1)
        return [
            *kept,
            (self.factor, where(finite, grown, shrunk)),
            (self.steps_finite, where(finite, counted, 0)),
            (self.updates, where(finite, self.updates + 1, self.updates)),
        ]


def loss_scale() -> LossScale:
    """A program's own."""
    number, count = constant(0.0, float32), constant(0, int64)
    return LossScale(
        optimizer_state("optimizer.loss_scale", number, FIRST_SCALE),
        optimizer_state("optimizer.steps_finite", count),
        optimizer_state("optimizer.updates", count),
    )
