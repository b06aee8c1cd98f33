"""Dividing a data set at random: into parts, into folds, with labels in equal proportion."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.runtime.rows import Rows
from gradc.runtime.shuffle import order

Array = np.ndarray[Any, np.dtype[Any]]
_SUM_TOLERANCE = 1e-6


def random_split(
    arrays: Mapping[str, Any],
    lengths: Sequence[float],
    *,
    seed: int = 0,
    stratify: str | Sequence[Any] | Array | None = None,
) -> list[dict[str, Array]]:
    """Parts of a data set, drawn at random without replacement; torch.utils.data.random_split.

    arrays    {name: array}, all of the same number of rows
    lengths   numbers of rows that come to all of them, or shares that come to 1: of shares, parts
              are rounded down, and the rows that are left go one each to the parts from the first
              on
    seed      of the permutation (runtime/shuffle.py): the same seed gives the same parts
    stratify  the name of the array of labels, or one label for each row: every part has every
              label in the same proportion as the whole, as nearly as whole rows go
    result    a copy of the rows of each part, under the same names; of `Rows`, which are too large
              for that, `Rows` again

    Raises ArgumentError for lengths that do not come to all rows, ShapeError for arrays of
    different lengths and labels that are not one for each row.

    >>> whole = {"x": np.arange(10.0), "y": np.arange(10) // 8}
    >>> train, held_out = gc.data.random_split(whole, [0.5, 0.5], seed=1, stratify="y")
    >>> len(train["x"]), int(train["y"].sum()), int(held_out["y"].sum())
    (5, 1, 1)
    """
    given, total = _checked(arrays, "random_split")
    counts = _counts(lengths, total)
    dealt = _dealt(given, counts, seed, stratify, "random_split")
    return [_rows(given, part) for part in dealt]


def k_fold(
    arrays: Mapping[str, Any],
    folds: int = 5,
    *,
    seed: int = 0,
    stratify: str | Sequence[Any] | Array | None = None,
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """Cross-validation: pairs (train, held_out), in which every row is held out once.

    arrays    {name: array}, all of the same number of rows
    folds     how many pairs; their sizes differ by one row at most
    seed, stratify   as of `random_split`: with labels this is a stratified k-fold
    result    an iterator; each pair is made, as copies, when it is asked for

    Raises ArgumentError for fewer than two folds or more than rows; ShapeError as random_split.

    Source: Hastie, Tibshirani, Friedman, The Elements of Statistical Learning (2009), section 7.10.

    >>> whole = {"x": np.arange(10.0), "y": np.arange(10) % 2}
    >>> folds = list(gc.data.k_fold(whole, 5, stratify="y"))
    >>> [int(held_out["y"].sum()) for train, held_out in folds]
    [1, 1, 1, 1, 1]
    """
    given, total = _checked(arrays, "k_fold")
    if not isinstance(folds, (int, np.integer)) or not 2 <= folds <= total:
        problem = f"folds is an integer from 2 to the number of rows, {total}, not {folds!r}"
        raise ArgumentError(problem, operation="k_fold")
    counts = [total // folds + (part < total % folds) for part in range(folds)]
    parts = _dealt(given, counts, seed, stratify, "k_fold")
    others = ([*parts[:n], *parts[n + 1 :]] for n in range(folds))
    return (
        (_rows(given, np.concatenate(rest)), _rows(given, part))
        for part, rest in zip(parts, others, strict=True)
    )


def _checked(arrays: Any, operation: str) -> tuple[dict[str, Any], int]:
    """The arrays, and how many rows they have."""
    if not isinstance(arrays, Mapping):
        problem = f"arrays are {{name: array}}, not {described(arrays)}"
        hint = "write {'x': array}"
        raise ArgumentError(problem, operation=operation, hint=hint)
    given = {n: a if isinstance(a, Rows) else np.asarray(a) for n, a in arrays.items()}
    rows = {name: len(array) if array.ndim else 0 for name, array in given.items()}
    if not given:
        raise ArgumentError("there are no arrays", operation=operation)
    single = [name for name, array in given.items() if not array.ndim]
    if single:
        raise ShapeError(f"array {single[0]!r} has no rows: it is one number", operation=operation)
    if len(set(rows.values())) != 1:
        facts = [f"{name!r} has {count} rows" for name, count in rows.items()]
        raise ShapeError("the arrays differ in length", operation=operation, facts=facts)
    return given, rows.popitem()[1]


def _rows(arrays: Mapping[str, Any], part: Array) -> dict[str, Any]:
    """Copies of some rows; of Rows, what reads them when they are wanted."""
    return {n: Rows(a, rows=part) if isinstance(a, Rows) else a[part] for n, a in arrays.items()}


def _dealt(
    arrays: Mapping[str, Array], counts: Sequence[int], seed: int, stratify: Any, operation: str
) -> list[Array]:
    """Numbers of rows for each part, `counts` of them.

    With labels the rows lie label by label, and are dealt out like cards of which each part gets
    its own evenly: card j of a part that gets n of all is number (j + 1/2) / n of the way.
    """
    permuted = order(sum(counts), seed, 0)
    if stratify is None:
        ends = np.cumsum([0, *counts])
        return [permuted[first:end] for first, end in itertools.pairwise(ends)]
    labels = _labels(arrays, stratify, operation)
    sorted_rows = permuted[np.argsort(labels[permuted], kind="stable")]
    places = np.concatenate([(np.arange(n) + 0.5) / n for n in counts if n] or [np.zeros(0)])
    parts = np.repeat(np.arange(len(counts)), counts)[np.argsort(places, kind="stable")]
    return [rows[order(len(rows), seed, 1)] for rows in _by_part(sorted_rows, parts, len(counts))]


def _by_part(rows: Array, parts: Array, count: int) -> list[Array]:
    return [rows[parts == part] for part in range(count)]


def _labels(arrays: Mapping[str, Array], stratify: Any, operation: str) -> Array:
    """One whole number for each row: the place of its label among the sorted different ones."""
    if isinstance(stratify, str):
        if stratify not in arrays:
            known = ", ".join(map(repr, arrays))
            problem = f"stratify names no array: {stratify!r}"
            raise ArgumentError(problem, operation=operation, facts=[f"arrays: {known}"])
        stratify = arrays[stratify]
    labels, total = np.asarray(stratify), len(next(iter(arrays.values())))
    if labels.shape != (total,):
        problem = f"labels are one for each of {total} rows, not of shape {list(labels.shape)}"
        raise ShapeError(problem, operation=operation)
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def _counts(lengths: Sequence[float], total: int) -> list[int]:
    numbers = list(lengths) if isinstance(lengths, Iterable) else []
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
