"""Examples of factorizations of matrices, and of systems of equations that they solve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from catalogue_example import Array, Example, generator

from gradc.compiler.types import DType, float32, float64

Way = Mapping[str, Any]
TRIANGLES: Sequence[Way] = tuple(
    {"lower": lower, "unit": unit} for lower in (True, False) for unit in (False, True)
)
SYSTEMS: Sequence[Way] = ({"transposed": False}, {"transposed": True})

STACKS: tuple[tuple[tuple[int, ...], int], ...] = (
    ((), 3), ((), 1), ((), 0), ((2,), 5), ((2, 3), 2), ((0,), 2), ((17,), 3),
)  # fmt: skip
"""Axes before a matrix, and its extent. Matrices of several blocks are in test_linalg.py."""


def mixed(rng: np.random.Generator, dtype: DType, *shape: int) -> Array:
    """Far from singular: random rows, one element of each greater than all others together, and
    that in another column."""
    *batch, size, _ = shape
    noise = rng.uniform(-1.0, 1.0, shape) / max(size, 1)
    order = np.argsort(rng.random((*batch, size)), axis=-1)
    large = np.eye(size)[order] * rng.choice([-1.5, 1.5, 2.0], (*batch, size, 1))
    return np.asarray(noise + large).astype(dtype.numpy)


def triangular(rng: np.random.Generator, dtype: DType, *shape: int) -> Array:
    """What is not read is larger than what is."""
    *batch, size, _ = shape
    noise = rng.uniform(-1.0, 1.0, shape) / max(size, 1)
    return np.asarray(noise + np.eye(size) * rng.uniform(1, 2, (*batch, 1, 1))).astype(dtype.numpy)


def definite(rng: np.random.Generator, dtype: DType, *shape: int) -> Array:
    """Symmetric and positive definite in the lower triangle, other numbers above it."""
    x = rng.uniform(-1.0, 1.0, shape)
    matrix = x @ np.swapaxes(x, -1, -2) / max(shape[-1], 1) + np.eye(shape[-1])
    return np.asarray(np.tril(matrix) + np.triu(x, 1)).astype(dtype.numpy)


Make = Callable[..., Array]


def factored(make: Make, odd: Sequence[Sequence[Any]]) -> Callable[[str], list[Example]]:
    """Of one operand. odd: matrices at which mistakes are made."""

    def examples(name: str) -> list[Example]:
        rng = generator(name)
        made = [
            Example(name, (make(rng, dtype, *batch, size, size),))
            for batch, size in STACKS
            for dtype in ((float64, float32) if size == 3 else (float64,))
        ]
        return made + [Example(name, (np.array(matrix, np.float64),)) for matrix in odd]

    return examples


def systems(make: Make, ways: Sequence[Way]) -> Callable[[str], list[Example]]:
    """Of a matrix and a right side of some columns."""

    def examples(name: str) -> list[Example]:
        rng, made = generator(name), []
        for number, (batch, size) in enumerate(STACKS):
            for way in ways if size == 3 else [ways[number % len(ways)]]:
                dtype = float32 if size == 3 and not batch else float64
                columns = (1, 4, 0)[number % 3]
                right = rng.uniform(-1.0, 1.0, (*batch, size, columns)).astype(dtype.numpy)
                made.append(Example(name, (make(rng, dtype, *batch, size, size), right), way))
        singular = np.array([[0.0, 0.0], [0.0, 2.0]]), np.array([[1.0], [1.0]])
        return [*made, *(Example(name, singular, way) for way in ways)]

    return examples


def tall(name: str) -> list[Example]:
    """Matrices of as many rows as columns, or more; a column of zeros, and one that is done."""
    rng = generator(name)
    shapes = ((3, 3), (5, 2), (1, 1), (4, 1), (2, 6, 3), (2, 0), (0, 0), (17, 4, 2))
    made = [Example(name, (rng.uniform(-1, 1, shape),)) for shape in shapes]
    made.append(Example(name, (rng.uniform(-1, 1, (6, 4)).astype(np.float32),)))
    odd = (
        [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]], [[-2.0, 1.0], [0.0, -3.0]],
        [[1e-200, 2.0], [1e-200, 1e200]],
    )  # fmt: skip
    made += [Example(name, (rng.uniform(-1, 1, shape),)) for shape in ((17, 3), (2, 4))]
    return made + [Example(name, (np.array(matrix),)) for matrix in odd]


INDEFINITE = (
    [[4.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 3.0, 9.0]], [[0.0]], [[-1.0, 0.0], [1.0, 1.0]],
    [[np.nan, 0.0], [0.0, 1.0]],
)  # fmt: skip
SINGULAR = (
    [[0.0, 1.0], [0.0, 2.0]], [[0.0]], [[1.0, 2.0], [2.0, 4.0]], [[1.0, -1.0], [-1.0, 3.0]],
    [[np.nan, 1.0], [2.0, 1.0]],
)  # fmt: skip

MATRIX_EXAMPLES: Mapping[str, Callable[[str], list[Example]]] = {
    "triangular_solve": systems(triangular, TRIANGLES),
    "cholesky": factored(definite, INDEFINITE),
    "lu_order": factored(mixed, SINGULAR),
    "lu": factored(mixed, SINGULAR),
    "linear_solve": systems(mixed, SYSTEMS),
    "det": factored(mixed, SINGULAR[:-1]),
    "cofactor": factored(mixed, SINGULAR[:-1]),
    "qr_r": tall,
    "qr_q": tall,
}


def smooth(name: str) -> list[Example]:
    """The small ones that are not singular. Where two rows may come first, or a column is done, so
    that no reflection turns its sign, factors jump."""

    def is_kept(example: Example) -> bool:
        a = example.operands[0]
        if not np.isfinite(a).all() or a.size > 120 or a.dtype != np.float64:
            return False
        if name == "cholesky":
            return bool((np.linalg.eigvalsh(a) > 0.1).all())
        if a.shape[-2] < a.shape[-1]:
            return False
        jumps = name in ("lu", "qr_q", "qr_r") and bool((a == np.rint(a)).all())
        return not jumps and bool((np.linalg.svd(a, compute_uv=False) > 0.1).all())

    return [e for e in MATRIX_EXAMPLES[name](name) if is_kept(e)]
