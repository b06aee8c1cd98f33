"""Examples of orders along an axis, of the keys that they are made of, and of places in tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from catalogue_example import Array, Example, generator

from gradc.compiler.reference import is_half
from gradc.compiler.types import DTYPES, DType, bool_, float32, float64, int8, int32, int64

SHAPES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((17,), 0), ((1,), 0), ((0,), 0), ((3, 17), 1), ((3, 17), 0), ((90,), 0), ((2, 0), 0),
    ((2, 0), 1), ((17, 80), 1), ((80, 17), 0), ((2, 65, 3), 1), ((1, 70), 1),
)  # fmt: skip
"""Shapes and the axis that is sorted: up to 64 elements are compared, more are sorted by digits."""

LONG = ((3000, 11), (5, 2500), (300, 64))
"""Rows that are looked through in blocks, and how many elements are asked for."""


def unsorted(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Of every size and sign, with equal ones, NaN of both signs, infinities and zeros."""
    if dtype.is_bool:
        return rng.random(shape) < 0.5
    if dtype.is_integer:
        ends = np.iinfo(dtype.numpy)
        far = rng.integers(ends.min, ends.max, shape, dtype.numpy, endpoint=True)
        near = rng.choice([ends.min, ends.max, 0, 1, 2], shape).astype(dtype.numpy)
        return np.where(rng.random(shape) < 0.5, far, near)
    odd = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e-40, -1e-40, 3e38, -3e38]
    with np.errstate(all="ignore"):
        mixed = np.where(rng.random(shape) < 0.4, rng.choice(odd, shape), rng.normal(size=shape))
        return np.asarray(mixed).astype(dtype.numpy)


def argsort_examples(name: str) -> list[Example]:
    rng = generator(name)
    made = []
    for shape, axis in SHAPES:
        for dtype in DTYPES if shape in ((17,), (90,)) else (float32,):
            for said in ({}, {"descending": True}):
                x = unsorted(rng, dtype, shape)
                made.append(Example(name, (x,), {"axis": axis, **said}))
    for count in (0, 1, 8, 17):
        x = unsorted(rng, float64, (17, 3))
        made.append(Example(name, (x,), {"axis": 0, "count": count}))
    for shape in LONG:
        axis = int(np.argmax(shape))
        for count, dtype, said in ((1, float32, {"descending": True}), (7, int8, {})):
            x = unsorted(rng, dtype, shape)
            made.append(Example(name, (x,), {"axis": axis, "count": count, **said}))
    return made


def key_examples(name: str) -> list[Example]:
    rng = generator(name)
    ways: tuple[dict[str, Any], ...] = ({}, {"descending": True})
    made = [Example(name, (unsorted(rng, d, (50,)),), way) for d in DTYPES for way in ways]
    return [*made, Example(name, (unsorted(rng, float32, (2, 17)),), {})]


def radix_examples(name: str) -> list[Example]:
    """Keys of all bits, of which all count, or fewer."""
    rng = generator(name)
    made = []
    for number, (shape, axis) in enumerate(SHAPES):
        dtype = (int32, int64)[number % 2]
        keys = unsorted(rng, dtype, shape)
        made.append(Example(name, (keys,), {"axis": axis, "bits": dtype.bits}))
    for dtype in (int32, int64):
        for bits in (1, 8, 11, dtype.bits // 2, dtype.bits - 7):
            keys = unsorted(rng, dtype, (17,))
            made.append(Example(name, (keys,), {"axis": 0, "bits": bits}))
    long = unsorted(rng, int32, (2100,))
    return [*made, Example(name, (long,), {"axis": 0, "bits": 22})]


TABLES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((17,), (5,)), ((1,), (17,)), ((0,), (3,)), ((7,), (2, 3)), ((8,), ()), ((3, 17), (3, 4)),
    ((17, 3), (17, 4)), ((2, 5), (2, 3, 4)), ((2, 0), (2, 3)), ((64,), (0,)), ((2, 3, 9), (2, 3)),
)  # fmt: skip


def table_examples(name: str) -> list[Example]:
    """Values that are in the table, beside and beyond it, and NaN in both."""
    rng = generator(name)
    made = []
    for table, values in TABLES:
        for dtype in DTYPES if table in ((17,), (7,)) else (float64, int32, bool_):
            for said in ({}, {"right": True}):
                x, y = unsorted(rng, dtype, table), unsorted(rng, dtype, values)
                made.append(Example(name, (_sorted(x), y), said))
    return made


def _sorted(x: Array) -> Array:
    if is_half(x):
        return np.sort(x.astype(np.float32), -1).astype(x.dtype)
    return np.sort(x, -1)


SORTING_EXAMPLES: Mapping[str, Callable[[str], list[Example]]] = {
    "argsort": argsort_examples,
    "sort_keys": key_examples,
    "radix_order": radix_examples,
    "searchsorted": table_examples,
}
