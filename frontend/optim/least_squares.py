"""Least squares: steps that know the residuals, whose sum of squares is to be least."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gradc.compiler.types import int64

from ..functional.comparison import isfinite
from ..functional.creation import constant
from ..functional.elementwise import abs, maximum, minimum, sqrt, where
from ..functional.inquiry import finfo
from ..functional.manipulation import concat
from ..loops import while_loop
from ..tensor import Tensor
from ..transforms import grad
from ..variables import State, optimizer_array, optimizer_state
from ..vectors import Vector, chosen, dot, moved, number
from .gradients import averages
from .line_search import searched
from .optimizer import Optimizer, Rate, number_at
from .problem import Problem
from .residuals import Columns, Residuals

__all__ = [
    "GaussNewton",
    "LevenbergMarquardt",
]

MOST_ACCELERATION = 0.75
"""How long the second order part of a step may be, twice it over the first, for the step to be
taken. Source: Transtrum and Sethna (2012), equation 15."""

FADING = 0.9
"""What is left of the greatest length of a column in each step: a start far away is forgotten. From
its first start the NIST problem MGH10 takes 1,317 steps; with 1 more than 4,000."""

LEAST_DAMPING, MOST_DAMPING = 1e-60, 1e30
"""Damping below adds nothing, with damping above nothing moves."""

OF_SUM, OF_PARAMETERS, HIDDEN = 1000.0, 4.0, 10.0
"""A sum of squares is known up to so many roundings of itself, and to so many of the parameters. A
step is taken that may fall by less than that, and seems to rise by no more than ten times as much.
"""


def squares(values: Tensor) -> Tensor:
    """The sum of the squares, as float64."""
    return dot([values], [values])


@dataclass(frozen=True)
class GaussNewton(Optimizer):
    """x + t * d, where d makes |J d + r| least: r are the residuals, J their derivatives.

    residuals       a tensor of any shape, whose sum of squares every step lowers; the loss that
                    gc.training is given is what is reported, and should be a multiple of that sum
    lr              the step t, or the first that the line search tries
    line_search_fn  "strong_wolfe": t fulfils the strong Wolfe conditions; None: t is lr
    max_eval        evaluations of the residuals in a step

    d is found by orthogonal factors of J, in one linear problem with a column for each number of
    the parameters; so they are meant to be few. Where J has no full rank d does not exist, and the
    parameters stay: LevenbergMarquardt has a step there too. Random numbers, of dropout for
    example, are the same in all evaluations of a step. Options of groups, clipping and accumulation
    are refused.
    Source: Nocedal and Wright, "Numerical Optimization" (2006), section 10.3.

    >>> w = gc.parameter("w", (2,), gc.float64, init=[1.0, 1.0])
    >>> r = gc.concat([w - 3.0, w * w - 9.0])
    >>> trainer = gc.training(gc.sum(r * r), optim.GaussNewton(residuals=r)).compile()
    >>> losses = [trainer.step()["loss"] for _ in range(5)]
    >>> trainer.parameters["w"].round(6)
    array([3., 3.])
    """

    residuals: Tensor = field(kw_only=True, repr=False, compare=False)
    lr: Rate = 1.0
    line_search_fn: str | None = "strong_wolfe"
    max_eval: int = 25

    def __post_init__(self) -> None:
        check_options(self)
        self.require_line_search(self.line_search_fn)

    def step_updates(self, problem: Problem, step: Tensor) -> list[tuple[State, Tensor]]:
        """See the class."""
        own = Residuals(type(self).__name__, self.residuals, problem)
        slopes = own.slopes()
        direction = -Columns(slopes.mT).nearest(own.values)
        goes = isfinite(direction).all() & isfinite(own.values).all()
        d = own.flat.apart(where(isfinite(direction), direction, 0.0))
        x: Vector = list(own.parameters)
        t = number_at(self.lr, step)
        if self.line_search_fn is not None:
            gradient = own.flat.apart(slopes @ own.values)
            at_x = _half_squares(own), squares(own.values) * 0.5, gradient
            t = searched(at_x, x, d, t, self.max_eval, goes & (dot(gradient, d) < 0.0))
        values = list(zip(own.parameters, chosen(goes, moved(x, t, d), x), strict=True))
        return values + ([] if self.averaging is None else averages(values, self.averaging, step))


def check_options(optimizer: Any) -> None:
    """Raise ArgumentError for options of an optimizer with residuals that have no meaning."""
    residuals, most = optimizer.residuals, optimizer.max_eval
    good = residuals.dtype.is_float
    optimizer.require(good, f"residuals are floating point, not {residuals.node.type}")
    optimizer.require(most >= 1, f"max_eval is an integer of at least 1, not {most!r}")
    optimizer.refuse_options_of_gradients()
    optimizer.check_groups()


def _half_squares(own: Residuals) -> Any:
    """Half of the sum of squares and its gradient, as a function of the parameters."""

    def evaluate(values: Vector) -> tuple[Tensor, Vector]:
        found = squares(own.at(values)) * 0.5
        return found, list(grad(found, values))

    return evaluate


@dataclass(frozen=True)
class LevenbergMarquardt(Optimizer):
    """Damped steps, the longer the better the residuals are known to be linear.

        v = the one with the least |J v + r|^2 + damping * |D v|^2
        a = the same for the second derivative of r along v, halved, in the place of r
        x = x + v + a

    r are the residuals, J their derivatives and D the greatest length that each column of J has
    had, a tenth less with every step since. A step is taken if the sum of squares falls and the
    path is nearly straight, 2 |D a| at most 0.75 |D v|. Else the damping grows, 2-, 4-, 8-fold and
    so on, and a shorter step is tried. After one that has been taken it falls, to a third at most,
    or grows, to twice at most, by how much of the expected gain was found.

    residuals  a tensor of any shape, whose sum of squares every step lowers; the loss that
               gc.training is given is what is reported, and should be a multiple of that sum
    damping    that of the first step
    accelerate  False: a is left out, the method of 1963
    max_eval   evaluations of the residuals in a step; if none of them is taken, the next step goes
               on with the damping to which it has come

    Each step solves linear problems with a column for each number of the parameters, by orthogonal
    factors; so they are meant to be few. Steps that are expected to change the sum by less than its
    rounding are taken too, and their damping follows the slope: so all digits of the parameters are
    found, where a sum alone has half of them. All 27 problems of nonlinear regression of NIST come
    to the certified digits from both starts (docs/second_order.md). Random
    numbers, of dropout for example, are the same in all evaluations of a step. Options of groups,
    clipping and accumulation are refused.
    Sources: Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters" (1963);
    Nielsen, "Damping Parameter in Marquardt's Method" (1999); D as Moré, "The Levenberg-Marquardt
    Algorithm" (1978); a as Transtrum and Sethna, "Improvements to the Levenberg-Marquardt
    algorithm for nonlinear least-squares minimization" (2012).

    >>> w = gc.parameter("w", (2,), gc.float64, init=[1.0, 1.0])
    >>> t = np.arange(5.0)
    >>> r = w[0] * gc.exp(-w[1] * gc.constant(t)) - 3.0 * np.exp(-0.5 * t)
    >>> trainer = gc.training(gc.sum(r * r), optim.LevenbergMarquardt(residuals=r)).compile()
    >>> losses = [trainer.step()["loss"] for _ in range(12)]
    >>> trainer.parameters["w"].round(6)
    array([3. , 0.5])
    """

    residuals: Tensor = field(kw_only=True, repr=False, compare=False)
    damping: float = 1e-3
    accelerate: bool = True
    max_eval: int = 25

    def __post_init__(self) -> None:
        good = 0.0 < self.damping < MOST_DAMPING
        self.require(good, f"damping is a number > 0, not {self.damping!r}")
        check_options(self)

    def step_updates(self, problem: Problem, step: Tensor) -> list[tuple[State, Tensor]]:
        """See the class."""
        own = Residuals(type(self).__name__, self.residuals, problem)
        first = own.parameters[0].name
        damping = optimizer_state(f"optimizer.damping.{first}", number(0.0), self.damping)
        growth = optimizer_state(f"optimizer.growth.{first}", number(0.0), 2.0)
        slope, lengths = (
            optimizer_array(f"optimizer.{kind}.{first}", (own.flat.size,), own.flat.dtype)
            for kind in ("slope", "lengths")
        )
        trial = _Trial(self, own, lengths)
        begin = {
            "x": list(own.parameters), "damping": damping * trial.learnt(slope), "growth": growth,
            "hidden": constant(False), "count": constant(0, int64), "going": isfinite(trial.sum),
        }  # fmt: skip
        ended = while_loop(lambda carry: carry["going"], trial.body, begin)
        values = list(zip(own.parameters, ended["x"], strict=True))
        kept: list[tuple[State, Tensor]] = [
            (damping, ended["damping"]), (growth, ended["growth"]), (lengths, trial.greatest),
            (slope, where(ended["hidden"], trial.slope, 0.0)),
        ]  # fmt: skip
        averaged = [] if self.averaging is None else averages(values, self.averaging, step)
        return values + kept + averaged


class _Trial:
    """The trials of one step: what is the same in all of them, and what each does."""

    def __init__(self, options: LevenbergMarquardt, own: Residuals, lengths: State) -> None:
        self.options, self.own = options, own
        self.slopes, self.sum = own.slopes(), squares(own.values)
        self.columns = Columns(self.slopes.mT)
        self.along = self.columns.along(own.values)
        self.greatest = maximum(FADING * lengths, sqrt((self.slopes * self.slopes).sum(-1)))
        self.scale = where(self.greatest > 0.0, self.greatest, 1.0)
        self.slope = (self.slopes @ own.values) / self.scale
        size = abs(own.flat.joined(list(own.parameters))) @ abs(self.slopes)
        doubt = OF_SUM * self.sum + OF_PARAMETERS * dot([abs(own.values)], [size])
        self.doubt = doubt * float(finfo(own.flat.dtype).eps)

    def learnt(self, before: Tensor) -> Tensor:
        """The factor to the damping that follows from a step whose change of the sum was hidden:
        less if the slope is still on the same side, more if it has grown on the other.

        before   the slope in front of that step; zeros: there was none
        """
        along, size = dot([before], [self.slope]), squares(before)
        other = where(squares(self.slope) > size, 4.0, 1.0)
        return where(size > 0.0, where(along > 0.0, 1.0 / 3.0, other), 1.0)

    def body(self, carry: dict[str, Any]) -> dict[str, Any]:
        own, scale = self.own, self.scale
        x: Vector = list(own.parameters)
        damping, growth = carry["damping"], carry["growth"]
        damped = self.columns.damped(scale * sqrt(damping).astype(scale.dtype))
        v = -damped.nearest(concat([self.along, self.along * 0.0]))
        length = squares(scale * v)
        step, is_straight = v, constant(True)
        if self.options.accelerate:
            curve = self.columns.along(own.curvature(own.flat.apart(v)))
            a = -0.5 * damped.nearest(concat([curve, curve * 0.0]))
            step = v + a
            is_straight = 4.0 * squares(scale * a) <= MOST_ACCELERATION**2 * length
        moved_x = moved(x, number(1.0), own.flat.apart(step))
        after = own.at(moved_x)
        fall = dot([own.values - after], [own.values + after])
        expected = squares(self.columns.r @ v) + 2.0 * damping * length
        hidden = (expected <= self.doubt) & (fall >= -HIDDEN * self.doubt)
        taken = hidden | ((fall > 0.0) & is_straight)
        less = maximum(1.0 / 3.0, 1.0 - (2.0 * fall / expected - 1.0) ** 3)
        new = damping * where(hidden, 1.0, where(taken, less, growth))
        count = carry["count"] + 1
        return {
            "x": chosen(taken, moved_x, x),
            "damping": minimum(maximum(new, LEAST_DAMPING), MOST_DAMPING),
            "growth": where(taken, 2.0, minimum(growth * 2.0, MOST_DAMPING)),
            "hidden": hidden,
            "count": count,
            "going": ~taken & (count < self.options.max_eval) & (new < MOST_DAMPING),
        }
