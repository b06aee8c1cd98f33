"""Newton's method with conjugate gradients: products with the Hessian, never the Hessian itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gradc.compiler.types import int64

from ..functional.creation import constant
from ..functional.elementwise import minimum, sqrt, where
from ..loops import while_loop
from ..tensor import Tensor
from ..transforms import hvp
from ..variables import State
from ..vectors import Vector, chosen, dot, largest, moved, negated, number, scaled
from .gradients import averages
from .line_search import searched
from .optimizer import Optimizer, Rate, number_at
from .problem import Problem

__all__ = [
    "NewtonCG",
]


@dataclass(frozen=True)
class NewtonCG(Optimizer):
    """x + t * d, where conjugate gradients solve (H + damping * I) d = -g inexactly.

    They end where the residual is at most min(1/2, sqrt(|g|)) * |g|, so that convergence is
    superlinear, after `max_iter` products with the Hessian H, or in a direction in which the loss
    is not convex: then d is what has been found so far, or -g if that is nothing.

    lr              the step t, or the first that the line search tries
    max_iter        products with the Hessian in a step, each about two gradients' work
    damping         what is added to the Hessian's diagonal
    tolerance_grad  nothing moves where no number of the gradient is greater
    line_search_fn  "strong_wolfe": t fulfils the strong Wolfe conditions; None: t is lr
    max_eval        evaluations of the loss in a step

    Random numbers, of dropout for example, are the same in all evaluations of a step. Options of
    groups, clipping and accumulation are refused.
    Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithm 7.1.

    >>> w = gc.parameter("w", (2,), gc.float64, init=np.array([-1.0, 2.0]))
    >>> valley = (1 - w[0]) ** 2 + 10 * (w[1] - w[0] ** 2) ** 2
    >>> trainer = gc.training(valley, optim.NewtonCG()).compile()
    >>> for _ in range(3):
    ...     loss = trainer.step()["loss"]
    >>> trainer.parameters["w"].round(3)
    array([-0.38 ,  0.162])
    """

    lr: Rate = 1.0
    max_iter: int = 20
    damping: Rate = 0.0
    tolerance_grad: float = 1e-7
    line_search_fn: str | None = "strong_wolfe"
    max_eval: int = 25

    def __post_init__(self) -> None:
        for name in ("max_iter", "max_eval"):
            value = getattr(self, name)
            self.require(value >= 1, f"{name} is an integer of at least 1, not {value!r}")
        self.require_line_search(self.line_search_fn)
        self.refuse_options_of_gradients()
        self.check_groups()

    def step_updates(self, problem: Problem, step: Tensor) -> list[tuple[State, Tensor]]:
        """See the class."""
        pairs = problem.gradients()
        parameters, gradient = [p for p, _ in pairs], [g for _, g in pairs]
        x: Vector = list(parameters)
        goes = ~(largest(gradient) <= self.tolerance_grad)
        damping = number_at(self.damping, step)
        direction = self._direction(problem, parameters, gradient, damping, goes)
        t = number_at(self.lr, step)
        if self.line_search_fn is not None:
            at_x = problem.at, problem.loss, gradient
            t = searched(at_x, x, direction, t, self.max_eval, goes)
        after = chosen(goes, moved(x, t, direction), x)
        values = list(zip(parameters, after, strict=True))
        if self.averaging is None:
            return values
        return values + averages(values, self.averaging, step)

    def _direction(
        self,
        problem: Problem,
        parameters: Sequence[State],
        gradient: Vector,
        damping: Tensor,
        goes: Tensor,
    ) -> Vector:
        """The inexact solution of (H + damping * I) d = -g."""
        size = sqrt(dot(gradient, gradient))
        tolerance = minimum(sqrt(size), 0.5) * size

        def body(carry: dict[str, Any]) -> dict[str, Any]:
            found, residual, along = carry["found"], carry["residual"], carry["along"]
            product = moved(hvp(problem.loss, list(parameters), along), damping, along)
            curvature = dot(along, product)
            convex = curvature > 0.0
            length = carry["square"] / where(convex, curvature, 1.0)
            further = moved(found, length, along)
            stays = chosen(carry["n"] == 0, along, found)
            residual = moved(residual, length, product)
            square = dot(residual, residual)
            return {
                "found": chosen(convex, further, stays),
                "residual": residual,
                "along": moved(negated(residual), square / carry["square"], along),
                "square": square,
                "n": carry["n"] + 1,
                "going": convex & ~(sqrt(square) < tolerance) & (carry["n"] + 1 < self.max_iter),
            }

        begin = {
            "found": scaled(gradient, number(0.0)),
            "residual": gradient,
            "along": negated(gradient),
            "square": dot(gradient, gradient),
            "n": constant(0, int64),
            "going": goes,
        }
        found: Vector = while_loop(lambda carry: carry["going"], body, begin)["found"]
        return found
