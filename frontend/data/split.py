"""Dividing a data set at random."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.runtime.shuffle import order

Array = np.ndarray[Any, np.dtype[Any]]
_SUM_TOLERANCE = 1e-6


def random_split(
    arrays: Mapping[str, Any], lengths: Sequence[float], *, seed: int = 0
) -> list[dict[str, Array]]:
    """Parts of a data set, drawn at random without replacement; torch.utils.data.random_split.

    arrays   {name: array}, all of the same number of rows
    lengths  numbers of rows that come to all of them, or shares that come to 1: of shares, parts
             are rounded down, and the rows that are left go one each to the parts from the first on
    seed     of the permutation (runtime/shuffle.py): the same seed gives the same parts
    result   a copy of the rows of each part, under the same names

    Raises ArgumentError for lengths that do not come to all rows, ShapeError for arrays of
    different lengths.

        import numpy as np
        from gradc import data

        whole = {"x": np.arange(10.0), "y": np.arange(10)}
        train, held_out = data.random_split(whole, [0.8, 0.2], seed=1)
        print(len(train["x"]), len(held_out["y"]))
    """
    given = {name: np.asarray(array) for name, array in arrays.items()}
    rows = {name: len(array) if array.ndim else 0 for name, array in given.items()}
    if not given:
        raise ArgumentError("there are no arrays", operation="random_split")
    if len(set(rows.values())) != 1:
        facts = [f"{name!r} has {count} rows" for name, count in rows.items()]
        raise ShapeError("the arrays differ in length", operation="random_split", facts=facts)
    (total,) = set(rows.values())
    ends = np.cumsum([0, *_counts(lengths, total)])
    permuted = order(total, seed, 0)
    parts = [permuted[first:end] for first, end in itertools.pairwise(ends)]
    return [{name: array[part] for name, array in given.items()} for part in parts]


def _counts(lengths: Sequence[float], total: int) -> list[int]:
    numbers = list(lengths)
    if not numbers or any(isinstance(n, bool) or not n >= 0 for n in numbers):
        problem = f"lengths are numbers of rows or shares, not {described(lengths)}"
        raise ArgumentError(problem, operation="random_split")
    if all(n == int(n) for n in numbers) and sum(numbers) == total:
        return [int(n) for n in numbers]
    if abs(math.fsum(numbers) - 1) > _SUM_TOLERANCE:
        raise ArgumentError(
            f"lengths come to {math.fsum(numbers):g}, neither to {total} rows nor to 1",
            operation="random_split",
        )
    counts = [math.floor(total * share) for share in numbers]
    for part in range(total - sum(counts)):
        counts[part % len(counts)] += 1
    return counts
