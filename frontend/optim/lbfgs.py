"""LBFGS: an optimizer whose step is a loop that evaluates the loss again and again.

The loop is a region of the compiled step. A vector is a list of tensors, one per parameter; the
history is a ring of `history_size` of them, state like any other: runs are saved and resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradc.compiler.types import DType, float64, int64

from ..functional.creation import arange, constant
from ..functional.elementwise import abs, minimum, where
from ..functional.gather import take
from ..loops import cond, while_loop
from ..tensor import Tensor
from ..variables import State, optimizer_array
from ..vectors import (
    Vector,
    chosen,
    dot,
    largest,
    minus,
    moved,
    negated,
    number,
    scaled,
    total,
)
from .gradients import averages
from .line_search import Point, strong_wolfe
from .optimizer import Optimizer, Rate, number_at
from .problem import Problem

__all__ = [
    "LBFGS",
]

CURVATURE = 1e-10
"""A pair (s, y) is kept if y.s is greater: else it says nothing of a convex function."""

Evaluate = Callable[[Vector], tuple[Tensor, Vector]]


@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Steps along -H g, H an approximation to the inverse Hessian from the last steps.

        s = x - x_before, y = g - g_before, for each of the last `history_size` iterations
        H g by the two-loop recursion over the pairs (s, y), begun with the factor y.s / y.y
        x = x + t * d, d = -H g;  t = lr, in the very first iteration min(1, 1 / |g|_1) * lr

    One step of training is up to `max_iter` such iterations on one batch, as in PyTorch; the loss
    that is reported is that before the first. So batches should be large, or all data.

    max_eval          evaluations of the loss in a step; None: max_iter * 5 // 4
    tolerance_grad    a step ends where no number of the gradient is greater
    tolerance_change  and where neither parameters nor loss change by more
    line_search_fn    "strong_wolfe": t fulfils the strong Wolfe conditions; None: it is as above

    Random numbers, of dropout for example, are the same in all evaluations of a step. Options of
    groups, clipping and accumulation are refused.
    Source: Liu and Nocedal, "On the Limited Memory BFGS Method" (1989); as torch.optim.LBFGS.

    >>> w = gc.parameter("w", (2,), gc.float64, init=np.array([-1.0, 2.0]))
    >>> valley = (1 - w[0]) ** 2 + 10 * (w[1] - w[0] ** 2) ** 2
    >>> trainer = gc.training(valley, optim.LBFGS(line_search_fn="strong_wolfe")).compile()
    >>> for _ in range(3):
    ...     loss = trainer.step()["loss"]
    >>> trainer.parameters["w"].round(3)
    array([1., 1.])
    """

    lr: Rate = 1.0
    max_iter: int = 20
    max_eval: int | None = None
    tolerance_grad: float = 1e-7
    tolerance_change: float = 1e-9
    history_size: int = 100
    line_search_fn: str | None = None

    def __post_init__(self) -> None:
        for name in ("max_iter", "history_size"):
            value = getattr(self, name)
            self.require(value >= 1, f"{name} is an integer of at least 1, not {value!r}")
        good = self.max_eval is None or self.max_eval >= 1
        self.require(good, f"max_eval is an integer of at least 1 or None, not {self.max_eval!r}")
        self.require_line_search(self.line_search_fn)
        self.refuse_options_of_gradients()
        self.check_groups()

    def step_updates(self, problem: Problem, step: Tensor) -> list[tuple[State, Tensor]]:
        """See the class."""
        pairs = problem.gradients()
        parameters = [parameter for parameter, _ in pairs]
        memory = _Memory.of(parameters, self.history_size)
        loss, gradient = problem.loss.astype(float64), [g for _, g in pairs]
        begin = {name: memory.values[name] for name in _KEPT}
        begin |= {
            "x": list(parameters), "g": gradient, "loss": loss, "n": constant(0, int64),
            "evaluations": constant(1, int64), "going": ~self._is_flat(gradient),
        }  # fmt: skip
        iteration = _Iteration(self, problem.at, number_at(self.lr, step))
        ended = while_loop(lambda carry: carry["going"], iteration.body, begin)
        ended["func_evals"] = memory.values["func_evals"] + ended["evaluations"]
        values = list(zip(parameters, ended["x"], strict=True))
        result = values + memory.updates(ended)
        if self.averaging is not None:
            result += averages(values, self.averaging, step)
        return result

    def _is_flat(self, gradient: Vector) -> Tensor:
        return largest(gradient) <= self.tolerance_grad


_VECTORS = ("d", "prev_grad")
_RINGS = ("old_dirs", "old_stps")
_NUMBERS: tuple[tuple[str, DType], ...] = (
    ("t", float64), ("H_diag", float64), ("n_iter", int64), ("pairs", int64), ("func_evals", int64),
)  # fmt: skip
_KEPT = (*_VECTORS, *_RINGS, "ro", "t", "H_diag", "n_iter", "pairs")
"""What an iteration leaves to the next, that of the next step too."""


@dataclass(frozen=True)
class _Memory:
    """The state of the optimizer by name: a State, or a list of one per parameter."""

    values: dict[str, Any]

    @classmethod
    def of(cls, parameters: Sequence[State], size: int) -> _Memory:
        def named(kind: str, parameter: State, shape: Any, dtype: DType) -> State:
            return optimizer_array(f"optimizer.{kind}.{parameter.name}", shape, dtype)

        first = parameters[0]
        values: dict[str, Any] = {
            kind: [named(kind, p, p.node.type.shape, p.dtype) for p in parameters]
            for kind in _VECTORS
        }
        for kind in _RINGS:
            shapes = [(size, *p.node.type.shape) for p in parameters]
            rings = zip(parameters, shapes, strict=True)
            values[kind] = [named(kind, p, shape, p.dtype) for p, shape in rings]
        values["ro"] = named("ro", first, (size,), float64)
        values |= {kind: named(kind, first, (), dtype) for kind, dtype in _NUMBERS}
        return cls(values)

    def updates(self, ended: dict[str, Any]) -> list[tuple[State, Tensor]]:
        found: list[tuple[State, Tensor]] = []
        for name, state in self.values.items():
            several = isinstance(state, list)
            found += zip(state, ended[name], strict=True) if several else [(state, ended[name])]
        return found


@dataclass(frozen=True)
class _Iteration:
    """One iteration of a step."""

    options: LBFGS
    evaluate: Evaluate
    rate: Tensor

    def body(self, carry: dict[str, Any]) -> dict[str, Any]:
        options = self.options
        is_first, n = carry["n_iter"] == 0, carry["n"] + 1
        history = _History.after(carry, is_first, options.history_size)
        gradient, direction = carry["g"], history.direction(carry["g"])
        unit = minimum(1.0 / total(gradient), 1.0) * self.rate
        start = Point(number(0.0), carry["loss"], gradient, dot(gradient, direction))
        goes = ~(start.slope > -options.tolerance_change)
        t, loss, new_gradient, evaluations = self._moved(
            carry, direction, start, where(is_first, unit, self.rate), goes
        )
        change = scaled(direction, t)
        evaluations = carry["evaluations"] + evaluations
        ends = (
            (n >= options.max_iter) | (evaluations >= self._most) | options._is_flat(new_gradient)
            | (largest(change) <= options.tolerance_change)
            | (abs(loss - carry["loss"]) < options.tolerance_change)
        )  # fmt: skip
        after = {
            **history.carried(), "d": direction, "prev_grad": gradient, "t": t,
            "n_iter": carry["n_iter"] + 1, "n": n, "loss": loss, "g": new_gradient,
            "x": chosen(goes, moved(carry["x"], t, direction), carry["x"]),
            "evaluations": evaluations, "going": goes & ~ends,
        }  # fmt: skip
        return {name: after[name] for name in carry}

    @property
    def _most(self) -> int:
        given = self.options.max_eval
        return self.options.max_iter * 5 // 4 if given is None else given

    def _moved(
        self, carry: dict[str, Any], direction: Vector, start: Point, first: Tensor, goes: Tensor
    ) -> tuple[Tensor, Tensor, Vector, Tensor]:
        """The step, the loss and the gradient after it, and evaluations."""
        x, n = carry["x"], carry["n"]
        if self.options.line_search_fn is not None:
            most = self._most - carry["evaluations"]
            found = strong_wolfe(self.evaluate, x, direction, start, first, most, goes)
            return where(goes, found.t, first), found.loss, found.gradient, found.evaluations
        asks = goes & (n + 1 < self.options.max_iter)
        loss, gradient = cond(
            asks,
            lambda: self.evaluate(moved(x, first, direction)),
            lambda: (start.loss, start.gradient),
        )
        return first, loss, gradient, asks.astype(int64)


@dataclass(frozen=True)
class _History:
    """The pairs (s, y) in rings, of which `pairs` have been written, the last beside the one
    before; ro are their 1 / y.s."""

    old_dirs: Vector
    old_stps: Vector
    ro: Tensor
    factor: Tensor
    pairs: Tensor
    size: int

    @classmethod
    def after(cls, carry: dict[str, Any], is_first: Tensor, size: int) -> _History:
        """The history with the last step's pair, if it shows curvature."""
        y, s = minus(carry["g"], carry["prev_grad"]), scaled(carry["d"], carry["t"])
        curvature = dot(y, s)
        keeps = ~is_first & (curvature > CURVATURE)
        place = keeps & (arange(size) == carry["pairs"] % size)

        def written(ring: Vector, rows: Vector) -> Vector:
            places = [place.reshape((size, *([1] * row.ndim))) for row in rows]
            return [where(p, row, r) for p, row, r in zip(places, rows, ring, strict=True)]

        factor = where(keeps, curvature / dot(y, y), carry["H_diag"])
        return cls(
            written(carry["old_dirs"], y),
            written(carry["old_stps"], s),
            where(place, 1.0 / curvature, carry["ro"]),
            where(is_first, 1.0, factor),
            carry["pairs"] + keeps.astype(int64),
            size,
        )

    def direction(self, gradient: Vector) -> Vector:
        """-H g. Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithm 7.4."""
        held = minimum(self.pairs, self.size)

        def pair(number_: Tensor) -> tuple[Tensor, Vector, Vector, Tensor]:
            """Of the newest pair (0), the one before it (1)...: where it is, y, s and 1 / y.s."""
            at = (self.pairs - 1 - number_) % self.size
            rows = [[take(r, at, axis=0) for r in ring] for ring in (self.old_dirs, self.old_stps)]
            return at, rows[0], rows[1], take(self.ro, at, axis=0)

        def back(carry: list[Any]) -> list[Any]:
            n, q, weights = carry
            at, y, s, ro = pair(n)
            weight = dot(s, q) * ro
            kept = where(arange(self.size) == at, weight, weights)
            return [n + 1, moved(q, -weight, y), kept]

        def forth(carry: list[Any]) -> list[Any]:
            n, r = carry
            at, y, s, ro = pair(n)
            return [n - 1, moved(r, take(weights, at, axis=0) - dot(y, r) * ro, s)]

        begin = [constant(0, int64), negated(gradient), self.ro]
        _, q, weights = while_loop(lambda carry: carry[0] < held, back, begin)
        begin = [held - 1, scaled(q, self.factor)]
        direction: Vector = while_loop(lambda carry: carry[0] >= 0, forth, begin)[1]
        return direction

    def carried(self) -> dict[str, Any]:
        return {
            "old_dirs": self.old_dirs, "old_stps": self.old_stps, "ro": self.ro,
            "H_diag": self.factor, "pairs": self.pairs,
        }  # fmt: skip
