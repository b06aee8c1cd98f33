"""What a sweep tries: every combination of a grid, or numbers drawn at random.

    {"lr": gc.Range(1e-4, 1e-1, log=True), "width": [16, 64]}

Source: Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization" (2012).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.attributes import Attributes, refusing
from gradc.compiler.errors import ArgumentError, described
from gradc.runtime.calls import fitting_construction
from gradc.runtime.option_values import checked_flag
from gradc.runtime.plain_number import as_real

from .ranges import count
from .tracing import fail


@fitting_construction
@refusing
@dataclass(frozen=True)
class Range(Attributes):
    """Numbers between two ends, of which `gc.sweep(..., samples=n)` draws.

    low, high   the ends; both are drawn too where integer
    log         evenly on a logarithmic scale: as many from 0.001 to 0.01 as from 0.01 to 0.1
    integer     whole numbers

    Raises ArgumentError for ends that are not finite or not in order, and, on a logarithmic scale,
    not positive.

    >>> width = gc.Range(8, 256, log=True, integer=True)
    >>> 8 <= width.draw(np.random.default_rng(0)) <= 256
    True
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        for name in ("log", "integer"):
            object.__setattr__(self, name, checked_flag(name, getattr(self, name), "Range"))
        for name in ("low", "high"):
            end = as_real(getattr(self, name))
            if end is None or not math.isfinite(end) or (self.integer and end != math.floor(end)):
                kind = "a whole number" if self.integer else "a finite number"
                fail(
                    ArgumentError,
                    "Range",
                    f"{name} is {kind}, not {described(getattr(self, name))}",
                )
            object.__setattr__(self, name, end)
        low, high = self.low, self.high
        if not low <= high:
            fail(ArgumentError, "Range", f"low is at most high: {low!r}, {high!r}")
        if self.log and low <= 0:
            fail(ArgumentError, "Range", f"low is positive on a logarithmic scale, not {low!r}")

    def draw(self, generator: np.random.Generator) -> float | int:
        """One number."""
        low, high = float(self.low), float(self.high)
        if self.integer:
            high += 1.0
        if self.log:
            drawn = math.exp(generator.uniform(math.log(low), math.log(high)))
        else:
            drawn = float(generator.uniform(low, high))
        if self.integer:
            return min(math.floor(drawn), int(self.high))
        return min(max(drawn, low), high)


def choices_of(grid: Any, samples: int | None, seed: int) -> list[dict[str, Any]]:
    """The options of every run.

    samples   how many are drawn; None: every combination
    """
    samples = None if samples is None else count(samples, "samples", "sweep")
    if isinstance(grid, Mapping):
        lists = {name: _values(name, values) for name, values in grid.items()}
        if samples is not None:
            generator = np.random.default_rng(seed)
            return [
                {name: _drawn(values, generator) for name, values in lists.items()}
                for _ in range(samples)
            ]
        for name, values in lists.items():
            if isinstance(values, Range):
                problem = f"grid[{name!r}] is a Range, of which samples are drawn"
                fail(ArgumentError, "sweep", problem, hint="gc.sweep(..., samples=20)")
        return [
            dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())
        ]
    if isinstance(grid, (str, bytes)) or not isinstance(grid, Iterable):
        problem = f"grid is a dict of lists or a list of dicts, not {described(grid)}"
        fail(ArgumentError, "sweep", problem)
    if samples is not None:
        problem = "samples are drawn from a dict of lists and ranges, not from a list of dicts"
        fail(ArgumentError, "sweep", problem)
    choices = list(grid)
    for choice in choices:
        if not isinstance(choice, Mapping):
            problem = f"grid holds {described(choice)}, not a dict of options"
            fail(ArgumentError, "sweep", problem)
    return [dict(choice) for choice in choices]


def _values(name: str, values: Any) -> Any:
    """A list of what an option may be, or a range."""
    if isinstance(values, Range):
        return values
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        problem = f"grid[{name!r}] is a list of values, not {described(values)}"
        hint = "gc.Range(low, high) is drawn from" if as_real(values) is not None else ""
        fail(ArgumentError, "sweep", problem, hint=hint)
    listed = list(values)
    if not listed:
        fail(ArgumentError, "sweep", f"grid[{name!r}] is an empty list")
    return listed


def _drawn(values: Any, generator: np.random.Generator) -> Any:
    if isinstance(values, Range):
        return values.draw(generator)
    return values[int(generator.integers(len(values)))]
