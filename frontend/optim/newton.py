"""Newton's method with the whole Hessian, made positive definite where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradc.compiler.types import int64

from ..functional.comparison import isfinite
from ..functional.creation import constant, eye
from ..functional.elementwise import abs, maximum, where
from ..functional.factors import cholesky, cholesky_solve
from ..functional.linalg import diagonal
from ..loops import while_loop
from ..tensor import Tensor
from ..transforms import hvp
from ..variables import State
from ..vectors import Vector, chosen, largest, moved
from .flat import Flat
from .gradients import averages
from .line_search import searched
from .optimizer import Optimizer, Rate, number_at
from .problem import Problem

__all__ = [
    "Newton",
]

FIRST_SHIFT = 1e-3
"""Of the Hessian's greatest element: what is added first to the diagonal of one that is not
positive definite. Source: Nocedal and Wright (2006), algorithm 3.3."""

MOST_SHIFTS = 64
"""So often it is doubled; then the Hessian has elements that are not finite."""


@dataclass(frozen=True)
class Newton(Optimizer):
    """x + t * d with (H + (damping + s) * I) d = -g: H is the Hessian of the loss, g its gradient.

    s is 0 where H + damping * I is positive definite, else the least of a row of doubled numbers
    with which it is, so that d always leads downhill.

    lr              the step t, or the first that the line search tries
    damping         what is added to the Hessian's diagonal
    tolerance_grad  nothing moves where no number of the gradient is greater
    line_search_fn  "strong_wolfe": t fulfils the strong Wolfe conditions; None: t is lr
    max_eval        evaluations of the loss in a step

    H is formed and factorized, with a row for each number of the parameters; so they are meant to
    be few: NewtonCG has no matrix. Random numbers, of dropout for example, are the same in all
    evaluations of a step. Options of groups, clipping and accumulation are refused.
    Source: Nocedal and Wright, "Numerical Optimization" (2006), section 3.4.

    >>> w = gc.parameter("w", (2,), gc.float64, init=[2.0, -1.0])
    >>> loss = gc.sum(gc.cosh(w)) + gc.square(gc.sum(w))
    >>> trainer = gc.training(loss, optim.Newton()).compile()
    >>> losses = [trainer.step()["loss"] for _ in range(8)]
    >>> bool(np.abs(trainer.parameters["w"]).max() < 1e-8)
    True
    """

    lr: Rate = 1.0
    damping: Rate = 0.0
    tolerance_grad: float = 1e-7
    line_search_fn: str | None = "strong_wolfe"
    max_eval: int = 25

    def __post_init__(self) -> None:
        good = self.max_eval >= 1
        self.require(good, f"max_eval is an integer of at least 1, not {self.max_eval!r}")
        self.require_line_search(self.line_search_fn)
        self.refuse_options_of_gradients()
        self.check_groups()

    def step_updates(self, problem: Problem, step: Tensor) -> list[tuple[State, Tensor]]:
        """See the class."""
        pairs = problem.gradients()
        parameters, gradient = [p for p, _ in pairs], [g for _, g in pairs]
        x: Vector = list(parameters)
        flat = Flat(parameters)
        curvature = flat.rows(lambda v: flat.joined(hvp(problem.loss, list(parameters), v)))
        direction = _downhill(curvature, flat.joined(gradient), number_at(self.damping, step))
        is_flat = largest(gradient) <= self.tolerance_grad
        goes = ~is_flat & isfinite(direction).all()
        d = flat.apart(where(isfinite(direction), direction, 0.0))
        t = number_at(self.lr, step)
        if self.line_search_fn is not None:
            at_x = problem.at, problem.loss, gradient
            t = searched(at_x, x, d, t, self.max_eval, goes)
        values = list(zip(parameters, chosen(goes, moved(x, t, d), x), strict=True))
        return values + ([] if self.averaging is None else averages(values, self.averaging, step))


def _downhill(curvature: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    """-(H + (damping + s) I)^-1 g with the least s that is tried."""
    size = int(curvature.shape[0])
    unit = eye(size, dtype=curvature.dtype)
    matrix = (curvature + curvature.mT) * 0.5 + damping.astype(curvature.dtype) * unit
    first = FIRST_SHIFT * abs(matrix).max()
    least = diagonal(matrix).min()

    def fails(factor: Tensor) -> Tensor:
        """A factor that does not exist is NaN in its last element."""
        return ~isfinite(factor[size - 1, size - 1])

    def body(carry: dict[str, Any]) -> dict[str, Any]:
        shift = maximum(carry["shift"] * 2.0, first)
        return {
            "shift": shift, "factor": cholesky(matrix + shift * unit), "count": carry["count"] + 1
        }  # fmt: skip

    shift = where(least > 0.0, 0.0, first - least)
    begin = {
        "shift": shift, "factor": cholesky(matrix + shift * unit), "count": constant(0, int64)
    }  # fmt: skip
    ended = while_loop(
        lambda carry: fails(carry["factor"]) & (carry["count"] < MOST_SHIFTS), body, begin
    )
    return -cholesky_solve(gradient[:, None], ended["factor"])[:, 0]
