"""Running sums and products in both directions; no gradient is a total less a part.

What is small beside the total must keep its digits: weights of 1e8 stand before weights of 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support_cpu import assert_compiled, graph_of, plan, random_array, run_compiled

import gradc as gc
from gradc.compiler.errors import VerifyError
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import apply
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.ops.elementwise import exp
from gradc.compiler.ops.reduction import CUMSUM, cumprod, cumsum, prod
from gradc.compiler.ops.source import constant_like, input_
from gradc.compiler.types import DType, float32, float64, int8, int64

Array = np.ndarray[Any, Any]
LARGE = 1e8
WEIGHTS = np.concatenate([np.full(32, LARGE), np.ones(32)])


def from_the_end(cumulate: Callable[..., Array], x: Array, axis: int) -> Array:
    return np.flip(cumulate(np.flip(x, axis), axis), axis)


# -- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [float64, float32, int64, int8], ids=str)
@pytest.mark.parametrize(
    "shape", [(5,), (1,), (33,), (17, 19), (40, 1), (4, 17, 3), (0, 3)], ids=str
)
def test_both_directions_along_every_axis(shape: tuple[int, ...], dtype: DType) -> None:
    x, array = input_("x", shape, dtype), random_array(np.random.default_rng(0), shape, dtype)
    for axis in range(len(shape)):
        outputs = {"sum": cumsum(x, axis, reverse=True), "product": cumprod(x, axis, reverse=True)}
        program = assert_compiled(outputs, {"x": array}, threads=(1, 2))
        found, _ = run_compiled(program, {"x": array})
        tolerance = 1e-5 if dtype is float32 else 1e-12
        for name, cumulate in (("sum", np.cumsum), ("product", np.cumprod)):
            wide = array if dtype.is_integer else array.astype(np.float64)
            wanted = from_the_end(lambda a, n, f=cumulate: f(a, n, dtype=a.dtype), wide, axis)
            np.testing.assert_allclose(found[name], wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rows", [1, 2, 31, 64])
def test_a_ragged_batch_begins_at_its_own_last_row(rows: int) -> None:
    x = input_("x", ("batch", 3), float64)
    down, along = cumsum(exp(x), 0, reverse=True), cumsum(x, 1, reverse=True)
    again = cumsum(cumsum(x, 0, reverse=True), 0)
    array = np.random.default_rng(0).standard_normal((rows, 3))
    outputs = {"down": down, "along": along, "again": again, "product": cumprod(x, 0, reverse=True)}
    program = assert_compiled(outputs, {"x": array}, (1, 2), {"batch": 64}, rows)
    found, _ = run_compiled(program, {"x": array}, rows=rows)
    np.testing.assert_allclose(found["down"], from_the_end(np.cumsum, np.exp(array), 0), rtol=1e-12)
    wanted = from_the_end(np.cumsum, array, 0).cumsum(0)
    np.testing.assert_allclose(found["again"], wanted, rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_running_sum_begins_at_zero(reverse: bool) -> None:
    """So it is never -0, as a sum never is, whichever evaluator or compiled code adds."""
    x = gc.input("x", (3,), gc.float64)
    y = {"sum": gc.cumsum(x, axis=0, reverse=reverse), "product": gc.cumprod(x, axis=0)}
    zeros = np.full(3, -0.0)
    found, wanted = gc.compile(y)(x=zeros), evaluate(parse_graph(str(gc.graph(y))), {"x": zeros})[0]
    for name in y:
        np.testing.assert_array_equal(np.signbit(found[name]), np.signbit(wanted[name]))
    assert not np.signbit(found["sum"]).any() and np.signbit(found["product"][0])


def test_public_functions_take_the_direction() -> None:
    array = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    x = gc.input("x", (4, 5))
    outputs = {
        "s": gc.cumsum(x, 0, reverse=True), "p": gc.cumprod(x, axis=1, reverse=True),
        "cs": gc.cumulative_sum(x, axis=-1, reverse=True), "i": gc.cumsum(x > 0, 0, reverse=True),
        "cp": gc.cumulative_prod(x, axis=0, reverse=True),
    }  # fmt: skip
    found = gc.compile(outputs)(x=array)
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(found["s"], from_the_end(np.cumsum, array, 0), **close)
    np.testing.assert_allclose(found["p"], from_the_end(np.cumprod, array, 1), **close)
    np.testing.assert_allclose(found["cs"], from_the_end(np.cumsum, array, 1), **close)
    np.testing.assert_allclose(found["cp"], from_the_end(np.cumprod, array, 0), **close)
    np.testing.assert_array_equal(found["i"], from_the_end(np.cumsum, array > 0, 0))


def test_the_direction_is_part_of_the_text_and_of_identity() -> None:
    x = input_("x", (4, 3), float32)
    graph = graph_of({"f": cumsum(x, 0), "b": cumsum(x, 0, reverse=True)})
    text = print_graph(graph)
    assert "cumsum %x {axis=0} :" in text and "cumsum %x {axis=0, reverse=true} :" in text
    assert print_graph(parse_graph(text)) == text
    found = gc.compile(gc.parse(text))(x=np.ones((4, 3), np.float32))
    np.testing.assert_array_equal(found["f"][:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(found["b"][:, 0], [4, 3, 2, 1])


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(VerifyError, match="cumsum: attribute 'reverse' is true or false, not 1"):
        apply(CUMSUM, input_("x", (4,), float32), axis=0, reverse=1)


def test_a_state_is_cumulated_in_place_from_its_end() -> None:
    state = gc.state("s", (5,), gc.float32, init=np.arange(5, dtype=np.float32))
    gc.update(state, gc.cumsum(state, reverse=True))
    program = gc.compile(gc.sum(state), training=True)
    assert program() == 10.0
    assert program() == np.cumsum(np.arange(5)[::-1]).sum()


# -- gradients: nothing is a total less a part ------------------------------------------------


@pytest.mark.parametrize("dtype", [gc.float32, gc.float64], ids=str)
@pytest.mark.parametrize("extent", [64, "batch"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_gradient_of_a_running_sum(dtype: Any, extent: int | str, reverse: bool) -> None:
    """In first and second order, with what is large before and behind what is small."""
    x, w = gc.input("x", (extent, 2), dtype), gc.input("w", (extent, 1), dtype)
    slope = gc.grad(gc.sum(gc.cumsum(x, axis=0, reverse=reverse) * w), x)
    again = gc.grad(gc.sum(slope * slope), w)
    program = gc.compile({"slope": slope, "again": again})
    x_array = np.zeros((64, 2), dtype.numpy)
    tolerance = 1e-6 if dtype is gc.float32 else 1e-14
    for weights in (WEIGHTS, WEIGHTS[::-1]):
        column = weights[:, None].astype(dtype.numpy)
        found = program(x=x_array, w=column)
        ordered = weights if reverse else weights[::-1]
        wanted = np.cumsum(ordered) if reverse else np.cumsum(ordered)[::-1]
        np.testing.assert_allclose(found["slope"], np.stack([wanted] * 2, 1), rtol=tolerance)
        inner = 4 * wanted
        second = np.cumsum(inner[::-1])[::-1] if reverse else np.cumsum(inner)
        np.testing.assert_allclose(found["again"][:, 0], second, rtol=tolerance)


def test_the_slopes_that_a_total_less_a_part_loses() -> None:
    x, w = gc.input("x", ("batch",)), gc.input("w", ("batch",))
    slope = gc.compile(gc.grad(gc.sum(gc.cumsum(x) * w), x))
    found = slope(x=np.zeros(64, "f"), w=WEIGHTS.astype("f"))
    np.testing.assert_array_equal(found[32:], np.arange(32, 0, -1))


def products_of_others(x: Array) -> Array:
    return np.array([np.prod(np.delete(x, i)) for i in range(len(x))])


FACTORS = {
    "mixed": np.array([1e8, 2.0, 1e-8, 0.5, 3.0, 1e6, 1e-6]),
    "one_zero": np.array([2.0, 0.0, 1e8, 1e-8, 3.0, 5.0, 7.0]),
    "two_zeros": np.array([2.0, 0.0, 1e8, 0.0, 3.0, 5.0, 7.0]),
    "zero_first": np.array([0.0, 1e8, 1e-8, 3.0, 5.0, 7.0, 11.0]),
    "zero_last": np.array([1e8, 1e-8, 3.0, 5.0, 7.0, 11.0, 0.0]),
}


@pytest.mark.parametrize("extent", [7, "batch"])
@pytest.mark.parametrize("name", FACTORS)
def test_the_gradient_of_a_product(name: str, extent: int | str) -> None:
    factors = FACTORS[name]
    x, v = gc.input("x", (extent,)), gc.input("v", (extent,))
    slope = gc.grad(gc.prod(x), x)
    program = gc.compile({"slope": slope, "hessian": gc.hvp(gc.prod(x), x, v)})
    columns = [program(x=factors, v=unit)["hessian"] for unit in np.eye(7)]
    found = {"slope": program(x=factors, v=factors)["slope"], "hessian": np.stack(columns, 1)}
    np.testing.assert_allclose(found["slope"], products_of_others(factors), rtol=1e-6)
    wanted = np.zeros((7, 7))
    for i, j in itertools.permutations(range(7), 2):
        wanted[i, j] = np.prod(np.delete(factors, [i, j]))
    np.testing.assert_allclose(found["hessian"], wanted, rtol=1e-5)


@pytest.mark.parametrize("extent", [7, "batch"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", FACTORS)
def test_the_gradient_of_a_running_product(name: str, reverse: bool, extent: int | str) -> None:
    factors, weights = FACTORS[name], np.array([1e8, 1e8, 1.0, 1.0, 1e-4, 1.0, 1.0])
    x, w = gc.input("x", (extent,)), gc.input("w", (extent,))
    slope = gc.compile(gc.grad(gc.sum(gc.cumprod(x, reverse=reverse) * w), x))
    wanted = np.zeros(7)
    for i, j in itertools.product(range(7), repeat=2):
        within = slice(j, None) if reverse else slice(0, j + 1)
        if i in range(7)[within]:
            others = [k for k in range(7)[within] if k != i]
            wanted[i] += weights[j] * np.prod(factors[others])
    np.testing.assert_allclose(slope(x=factors, w=weights), wanted, rtol=2e-6)


def test_the_gradient_of_a_scaled_running_sum_agrees_with_the_evaluator() -> None:
    x, w = gc.input("x", ("batch", 3)), gc.input("w", ("batch", 3))
    structure = {"d": gc.grad(gc.sum(gc.exp(gc.cumsum(x, axis=0, reverse=True)) * w), x)}
    rng = np.random.default_rng(0)
    arrays = {n: rng.standard_normal((9, 3)).astype(np.float32) for n in "xw"}
    wanted, _ = evaluate(parse_graph(str(gc.graph(structure))), arrays)
    found = gc.compile(structure)(**arrays)
    np.testing.assert_allclose(found["d"], wanted["d"], rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_second_derivatives_along_a_named_dimension(reverse: bool) -> None:
    """The same program with the extent known is another formula for the same numbers."""
    rng = np.random.default_rng(0)
    arrays = {n: rng.standard_normal((5, 2)) for n in "xwv"}
    found = []
    for extent in (5, "batch"):
        x, w, v = (gc.input(n, (extent, 2), gc.float64) for n in "xwv")
        y = gc.sum(gc.sin(gc.cumprod(x, axis=0, reverse=reverse)) * w) + gc.sum(gc.prod(x, axis=0))
        outputs = {"d": gc.grad(y, x), "dd": gc.hvp(y, x, v)}
        found.append(gc.compile(outputs)(**arrays))
    np.testing.assert_allclose(found[0]["d"], found[1]["d"], rtol=1e-12)
    np.testing.assert_allclose(found[0]["dd"], found[1]["dd"], rtol=1e-11)


@pytest.mark.parametrize("rows", [1, 5, 9])
def test_products_of_a_ragged_batch(rows: int) -> None:
    x, dy = input_("x", ("batch", 2), float64), input_("dy", ("batch", 2), float64)
    running = cumprod(x, 0)
    (dx,) = running.op.gradient(dy, running, x, **running.attributes)  # type: ignore[operator]
    whole = prod(x, (0,))
    ones = constant_like(whole, 1.0)
    (others,) = whole.op.gradient(ones, whole, x, **whole.attributes)  # type: ignore[operator]
    array = np.random.default_rng(0).standard_normal((rows, 2))
    program = plan(graph_of({"dx": dx, "others": others}), {"batch": 9})
    found, _ = run_compiled(program, {"x": array, "dy": np.ones((rows, 2))}, rows=rows)
    for column in range(2):
        factors = array[:, column]
        np.testing.assert_allclose(found["others"][:, column], products_of_others(factors))
        slopes = [
            sum(np.prod(np.delete(factors[: j + 1], i)) for j in range(i, rows))
            for i in range(rows)
        ]
        np.testing.assert_allclose(found["dx"][:, column], slopes, rtol=1e-10)
