"""Contractions in machine code against reference values: every layout, prologue and epilogue."""

from __future__ import annotations

import faulthandler

import numpy as np
import pytest
from support_cpu import Array, assert_compiled, random_array, scheduled

from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.schedule import Tiles
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import add, cast, exp, maximum, mul, tanh
from gradc.compiler.ops.source import constant_like, input_
from gradc.compiler.types import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)

faulthandler.enable()
DTYPES = (float32, float64, float32, float64, float16, bfloat16, int64, int32, int8)
Tags = list[tuple[str, int]]


def scaled(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType, depth: int) -> Array:
    """Numbers whose products, summed over `depth`, are of about 1."""
    value = random_array(rng, shape, dtype)
    if not dtype.is_float:
        return value
    return (value.astype(np.float64) / max(1, depth) ** 0.25).astype(dtype.numpy)


def random_contraction(
    seed: int, for_tiles: bool = False
) -> tuple[dict[str, Node], dict[str, Array]]:
    """dot_general with up to two axes of each role in any order, a prologue and an epilogue.

    for_tiles  of a dtype and of sizes that make register tiles likely
    """
    rng = np.random.default_rng(seed)
    dtype = DTYPES[seed % (2 if for_tiles else len(DTYPES))]
    counts = dict(zip("blrc", (int(n) for n in rng.integers(0, 3, 4)), strict=True))
    if for_tiles:
        counts |= {role: max(1, counts[role]) for role in "lrc"}
    most = 12 if sum(counts.values()) > 4 else 40
    least = {"l": 6, "r": 6, "c": 9, "b": 1} if for_tiles else dict.fromkeys("blrc", 1)
    extents = {
        (role, n): int(rng.integers(least[role], 6 if role == "b" else most))
        for role, count in counts.items()
        for n in range(count)
    }
    if extents and seed % 17 == 0 and not for_tiles:
        extents[next(iter(extents))] = 0
    lhs, rhs = (
        [list(tags)[i] for i in rng.permutation(len(tags))]
        for tags in ([t for t in extents if t[0] in roles] for roles in ("blc", "brc"))
    )
    depth = int(np.prod([n for (role, _), n in extents.items() if role == "c"]))
    arrays = {
        "x": scaled(rng, tuple(extents[t] for t in lhs), dtype, depth),
        "w": scaled(rng, tuple(extents[t] for t in rhs), dtype, depth),
    }
    x, w = (input_(name, arrays[name].shape, dtype) for name in "xw")
    left, right = _prologue(seed % 4, x, w)
    product = dot_general(
        left, right, _axes(lhs, "b"), _axes(rhs, "b"), _axes(lhs, "c"), _axes(rhs, "c")
    )
    return _epilogue(rng, product, arrays), arrays


def _axes(tags: Tags, role: str) -> tuple[int, ...]:
    found = [(number, place) for place, (tag, number) in enumerate(tags) if tag == role]
    return tuple(place for _, place in sorted(found))


def _prologue(kind: int, x: Node, w: Node) -> tuple[Node, Node]:
    if kind == 1:
        return mul(x, x), w
    if kind == 2 and x.type.dtype.is_float:
        return x, tanh(w)
    if kind == 3:
        return add(x, constant_like(x, 1)), maximum(w, constant_like(w, 0))
    return x, w


def _epilogue(rng: np.random.Generator, product: Node, arrays: dict[str, Array]) -> dict[str, Node]:
    outputs, y, dtype = {}, product, product.type.dtype
    if rng.random() < 0.3:
        outputs["product"] = product
    shape = tuple(int(n) for n in product.type.shape)
    if shape and rng.random() < 0.6:
        axis = int(rng.integers(len(shape)))
        arrays["bias"] = random_array(rng, (shape[axis],), dtype)
        y = add(y, broadcast(input_("bias", (shape[axis],), dtype), shape, (axis,)))
    if dtype.is_float and rng.random() < 0.6:
        y = tanh(y)
    if rng.random() < 0.4:
        arrays["residual"] = random_array(rng, shape, dtype)
        outputs["residue"] = mul(y, input_("residual", shape, dtype))
    if shape and rng.random() < 0.3:
        outputs["sums"] = sum_(y, (len(shape) - 1,))
    return {**outputs, "y": y}


@pytest.mark.parametrize("seed", range(120))
def test_random_contractions(seed: int) -> None:
    outputs, arrays = random_contraction(seed)
    assert_compiled(outputs, arrays, threads=(1, 2, 3) if seed % 3 == 0 else (1,))


def matrix_product(
    m: int, n: int, k: int, turned: str, dtype: DType
) -> tuple[dict[str, Node], dict[str, Array]]:
    rng = np.random.default_rng(m + n + k)
    shape_x = (k, m) if "x" in turned else (m, k)
    shape_w = (n, k) if "w" in turned else (k, n)
    arrays = {
        "x": scaled(rng, shape_x, dtype, k),
        "w": scaled(rng, shape_w, dtype, k),
        "b": random_array(rng, (n,), dtype),
    }
    x, w, b = (input_(name, arrays[name].shape, dtype) for name in "xwb")
    y = dot_general(x, w, (), (), ((0,) if "x" in turned else (1,)), (("w" in turned) * 1,))
    return {"y": tanh(add(y, broadcast(b, (m, n), (1,))))}, arrays


SIZES = [
    (64, 48, 100), (161, 33, 70), (7, 515, 129), (200, 1, 90), (1, 300, 90), (33, 17, 1600),
    (13, 29, 769), (400, 20, 30), (160, 160, 3), (15, 16, 17),
]  # fmt: skip


@pytest.mark.parametrize("turned", ["", "x", "w", "xw"])
@pytest.mark.parametrize(("m", "n", "k"), SIZES)
def test_matrix_products_of_awkward_sizes(m: int, n: int, k: int, turned: str) -> None:
    for dtype in (float32, float64):
        assert_compiled(*matrix_product(m, n, k, turned, dtype), threads=(1, 2, 3))


def test_large_products_take_the_blocked_schedule() -> None:
    outputs, arrays = matrix_product(64, 48, 100, "", float32)
    (kernel,) = scheduled(assert_compiled(outputs, arrays)).kernels()
    assert isinstance(kernel.schedule, Tiles)


@pytest.mark.parametrize("rows", [1, 2, 31, 36, 37])
@pytest.mark.parametrize(("depth", "width"), [(1, 1), (5, 3), (40, 33)])
def test_a_bounded_batch_is_m_n_or_k(rows: int, depth: int, width: int) -> None:
    x, w = input_("x", ("batch", depth), float64), input_("w", (depth, width), float64)
    y = tanh(dot_general(x, w, (), (), (1,), (0,)))
    outputs = {
        "y": y,
        "dw": dot_general(x, y, (), (), (0,), (0,)),
        "dx": dot_general(y, w, (), (), (1,), (1,)),
        "gram": dot_general(x, x, (), (), (1,), (1,)),
        "each": dot_general(x, x, (0,), (0,), (1,), (1,)),
    }
    rng = np.random.default_rng(rows)
    arrays = {"x": rng.standard_normal((rows, depth)), "w": rng.standard_normal((depth, width))}
    assert_compiled(outputs, arrays, (1, 2, 3), {"batch": 37}, rows)


def test_an_operand_that_is_cast_is_packed() -> None:
    x, w = input_("x", (30, 40), int8), input_("w", (40, 20), float32)
    outputs = {"y": dot_general(cast(x, float32), exp(w), (), (), (1,), (0,))}
    rng = np.random.default_rng(0)
    arrays = {"x": random_array(rng, (30, 40), int8), "w": random_array(rng, (40, 20), float32)}
    arrays["w"] /= 40
    assert_compiled(outputs, arrays)


def test_nan_and_infinity_stay_in_their_rows() -> None:
    outputs, arrays = matrix_product(40, 50, 60, "", float64)
    arrays["x"][3, 7], arrays["x"][11, 0] = np.nan, np.inf
    assert_compiled(outputs, arrays, threads=(1, 2))


def test_sums_of_16_bit_floats_do_not_stall() -> None:
    """1 + 1 + ... in bfloat16 stays at 256, in float16 at 2048, unless more bits are kept."""
    for dtype in (bfloat16, float16):
        x = input_("x", (4096, 20), dtype)
        ones = np.ones((4096, 20), dtype.numpy)
        outputs = {
            "sum": sum_(x, (0,)),
            "dot": dot_general(x, x, (), (), (0,), (0,)),
            "turned": sum_(x, (0, 1)) if dtype == bfloat16 else sum_(x, (1,)),
        }
        assert_compiled(outputs, {"x": ones})
