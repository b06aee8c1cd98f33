"""A step along a direction that fulfils the strong Wolfe conditions.

    f(x + t d) <= f(x) + C1 * t * g.d        and        |g(x + t d).d| <= C2 * |g.d|

A bracket around such a step is looked for by going further and further, then made smaller by cubic
interpolation. Each trial point is one evaluation of the loss and its gradient: all of them are the
one evaluation in the body of a loop, whose carry says how far the search has come.

Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithms 3.5 and 3.6; its limits and
safeguards as in torch.optim.LBFGS, so that both take the same steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from gradc.compiler.types import float64, int64

from ..functional.creation import constant
from ..functional.elementwise import abs, maximum, minimum, sqrt, where
from ..loops import while_loop
from ..tensor import Tensor
from ..vectors import Vector, chosen, dot, largest, moved, number

C1, C2 = 1e-4, 0.9
TOLERANCE = 1e-9
"""A bracket in which no number of the parameters moves by more is not made smaller."""


@dataclass(frozen=True)
class Point:
    """A step t, the loss there, its gradient, and the slope along the direction."""

    t: Tensor
    loss: Tensor
    gradient: Vector
    slope: Tensor

    def carried(self) -> list[Any]:
        return [self.t, self.loss, self.gradient, self.slope]

    def unless(self, condition: Tensor, other: Point) -> Point:
        """The other point where the condition holds, else this one."""
        return Point(
            where(condition, other.t, self.t),
            where(condition, other.loss, self.loss),
            chosen(condition, other.gradient, self.gradient),
            where(condition, other.slope, self.slope),
        )


@dataclass(frozen=True)
class Found:
    """What a search ends with: the step, the loss and the gradient there, and evaluations."""

    t: Tensor
    loss: Tensor
    gradient: Vector
    evaluations: Tensor


def strong_wolfe(
    evaluate: Callable[[Vector], tuple[Tensor, Vector]],
    x: Vector,
    direction: Vector,
    start: Point,
    first: Tensor,
    most: Tensor,
    wanted: Tensor,
) -> Found:
    """The step from x along the direction.

    evaluate  from parameters to the loss and its gradient
    start     x itself, as the step 0
    first     the first step to try
    most      evaluations beyond the first
    wanted    a bool; where it is false nothing is evaluated, and the step is 0
    """
    length = largest(direction)

    def body(carry: dict[str, Any]) -> dict[str, Any]:
        loss, gradient = evaluate(moved(x, carry["t"], direction))
        tried = Point(carry["t"], loss, gradient, dot(gradient, direction))
        before, one, two = (Point(*p) for p in (carry["before"], *carry["bracket"]))
        search = _Search(start, tried, carry["count"], most)
        one, two, has_bracket, done = search.bracket(before).unless(
            carry["zooms"], search.narrow(one, two)
        )
        small = abs(two.t - one.t) * length < TOLERANCE
        ends = done | (has_bracket & (small | (carry["count"] >= most)))
        inner, stuck = _inside(one, two, carry["stuck"])
        return {
            "t": where(has_bracket, inner, _beyond(before, tried)),
            "before": before.unless(~has_bracket, tried).carried(),
            "bracket": [one.carried(), two.carried()], "zooms": has_bracket,
            "stuck": has_bracket & stuck, "count": carry["count"] + 1, "active": ~ends,
        }  # fmt: skip

    begin = {
        "t": first, "before": start.carried(), "bracket": [start.carried(), start.carried()],
        "zooms": constant(False), "stuck": constant(False), "count": constant(0, int64),
        "active": wanted,
    }  # fmt: skip
    ended = while_loop(lambda carry: carry["active"], body, begin)
    one, two = (Point(*end) for end in ended["bracket"])
    best = two.unless(one.loss <= two.loss, one)
    return Found(best.t, best.loss, best.gradient, ended["count"])


def searched(
    problem: tuple[Callable[[Vector], tuple[Tensor, Vector]], Tensor, Vector],
    x: Vector,
    direction: Vector,
    first: Tensor,
    max_eval: int,
    wanted: Tensor,
) -> Tensor:
    """The step by `strong_wolfe` of an optimizer that searches once.

    problem   from parameters to the loss and its gradient; both of these at x
    max_eval  evaluations, with that at x
    """
    evaluate, loss, gradient = problem
    start = Point(number(0.0), loss.astype(float64), gradient, dot(gradient, direction))
    most = constant(max_eval - 1, int64)
    return strong_wolfe(evaluate, x, direction, start, first, most, wanted).t


class _Bracket(NamedTuple):
    """Two points in no order. found: whether they are a bracket. done: whether one of them is a
    step to take."""

    one: Point
    two: Point
    found: Tensor
    done: Tensor

    def unless(self, condition: Tensor, other: _Bracket) -> _Bracket:
        """The other where the condition holds, else this one."""
        return _Bracket(
            self.one.unless(condition, other.one),
            self.two.unless(condition, other.two),
            where(condition, other.found, self.found),
            where(condition, other.done, self.done),
        )


@dataclass(frozen=True)
class _Search:
    """One trial point and how it is judged. count: evaluations before it."""

    start: Point
    tried: Point
    count: Tensor
    most: Tensor

    def _too_high(self) -> Tensor:
        rise = C1 * self.tried.t * self.start.slope
        return self.tried.loss > self.start.loss + rise

    def _is_flat(self) -> Tensor:
        return abs(self.tried.slope) <= -C2 * self.start.slope

    def bracket(self, before: Point) -> _Bracket:
        """While steps still grow: a bracket of the last two, if a good step lies between."""
        tried, last = self.tried, self.count >= self.most
        passed = self._too_high() | ((self.count > 1) & (tried.loss >= before.loss))
        good = ~last & ~passed & self._is_flat()
        two = tried
        one = before.unless(last, self.start).unless(good, tried)
        return _Bracket(one, two, last | passed | good | (tried.slope >= 0.0), good)

    def narrow(self, one: Point, two: Point) -> _Bracket:
        """A bracket of which the trial point has become an end."""
        tried = self.tried
        one_is_low = one.loss <= two.loss
        low, high = two.unless(one_is_low, one), one.unless(one_is_low, two)
        above = self._too_high() | (tried.loss >= low.loss)
        good = ~above & self._is_flat()
        turns = ~above & ~good & (tried.slope * (high.t - low.t) >= 0.0)
        new_high = high.unless(above, tried).unless(turns, low)
        new_low = tried.unless(above, low)
        first, second = new_high.unless(one_is_low, new_low), new_low.unless(one_is_low, new_high)
        return _Bracket(first, second, constant(True), good)


def _beyond(before: Point, tried: Point) -> Tensor:
    """The next step while steps grow: between a little more than the last and ten times it."""
    least = tried.t + 0.01 * (tried.t - before.t)
    return _cubic(before, tried, least, tried.t * 10.0)


def _inside(one: Point, two: Point, stuck: Tensor) -> tuple[Tensor, Tensor]:
    """The next step in a bracket, and whether it is close to an end, which it must not be twice."""
    least, most = minimum(one.t, two.t), maximum(one.t, two.t)
    t = _cubic(one, two, least, most)
    margin = 0.1 * (most - least)
    close = minimum(most - t, t - least) < margin
    moves = close & (stuck | (t >= most) | (t <= least))
    apart = where(abs(t - most) < abs(t - least), most - margin, least + margin)
    return where(moves, apart, t), close & ~moves


def _cubic(a: Point, b: Point, least: Tensor, most: Tensor) -> Tensor:
    """Where the cubic through two losses and slopes is least, from `least` to `most`.

    Source: Nocedal and Wright (2006), equation 3.59.
    """
    d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    has_one = square >= 0.0
    d2 = sqrt(where(has_one, square, number(0.0)))
    rises = a.t <= b.t
    left = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    right = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2.0 * d2))
    inner = minimum(maximum(where(rises, left, right), least), most)
    return where(has_one, inner, (least + most) / 2.0)
