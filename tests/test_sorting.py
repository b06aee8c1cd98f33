"""Sorting: orders against NumPy's, ties and NaN, gradients, rows of a batch, every way to run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue_sorting import unsorted
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn
from matrix import WAYS, Case
from support import values
from support_binary import needs_compiler
from support_cpu import assert_compiled, graph_of, plan, run_compiled

import gradc as gc
from gradc import optim
from gradc.compiler.lowering.radix import DIGITS
from gradc.compiler.ops.indexing import take_along_axis
from gradc.compiler.ops.sorting import (
    MOST_COMPARED,
    argsort,
    radix_order,
    searchsorted,
    sort_keys,
)
from gradc.compiler.ops.source import input_
from gradc.compiler.passes.decompose import decompose
from gradc.compiler.types import DType, float32, float64, int8, int32, int64

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng


def compiled(tensor: Any, **arrays: Array) -> Any:
    return gc.compile(tensor)(**arrays)


# -- orders ---------------------------------------------------------------------------------

FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1.0, 5e-324]), st.floats(width=64)
)


@settings(max_examples=60, deadline=None)
@given(drawn(np.float64, st.integers(0, 80), elements=FLOATS), st.booleans())
def test_an_order_is_a_stable_permutation(x: Array, descending: bool) -> None:
    """By the evaluator: each position once; greater or equal, then the later position, behind."""
    order = values(gc.argsort(gc.constant(x), descending=descending))
    assert sorted(order.tolist()) == list(range(len(x)))
    rank = np.where(np.isnan(x), np.inf, x), np.isnan(x)
    keys = [(n, v) for v, n in zip(*rank, strict=True)]
    for first, second in itertools.pairwise(order):
        a, b = (keys[first], keys[second]) if not descending else (keys[second], keys[first])
        assert a < b or (a == b and first < second)
    keys_of = values(gc.Tensor(sort_keys(gc.constant(x).node, descending)))
    np.testing.assert_array_equal(np.argsort(keys_of, kind="stable"), order)


@pytest.fixture(scope="module")
def sorters() -> dict[tuple[int, bool], Any]:
    """Compiled orders of so many elements, of a row that is compared and of one that is not."""
    made = {}
    for count in (MOST_COMPARED, MOST_COMPARED + 1):
        x = gc.input("x", (count,), gc.float64)
        for descending in (False, True):
            made[count, descending] = gc.compile(gc.argsort(x, descending=descending))
    return made


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_compiled_orders_are_those_of_numpy(sorters: Any, data: st.DataObject) -> None:
    for (count, descending), run in sorters.items():
        x = data.draw(drawn(np.float64, (count,), elements=FLOATS))
        wanted = np.argsort(x[::-1] if descending else x, kind="stable")
        wanted = count - 1 - wanted[::-1] if descending else wanted
        np.testing.assert_array_equal(run(x=x), wanted)


@pytest.mark.parametrize("count", [least + 5 for least, _ in DIGITS if least] + [70])
@pytest.mark.parametrize("dtype", [float32, int8, int64], ids=str)
def test_long_rows_on_any_number_of_threads(count: int, dtype: DType) -> None:
    """Of every length of digits."""
    rows = max(1, 20_000 // count)
    keys = input_("keys", (rows, count), int64 if dtype.bits == 64 else int32)
    x = unsorted(RNG(count), dtype, (rows, count))
    given = values(gc.Tensor(sort_keys(gc.constant(x).node)))
    program = plan(graph_of({"y": radix_order(keys, 1, dtype.bits)}))
    found = [run_compiled(program, {"keys": given}, threads=n)[0]["y"] for n in (1, 2, 3)]
    np.testing.assert_array_equal(found[0], np.argsort(x, kind="stable"))
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("rows", [1, 4, 9])
def test_along_each_axis_of_a_batch(axis: int, rows: int) -> None:
    """The rows that are there, and none of what lies behind them."""
    x = input_("x", ("batch", 80, 3), float32)
    order = argsort(x, axis)
    outputs = {"sorted": take_along_axis(x, order, axis), "order": order}
    graph = decompose(graph_of(outputs))
    array = unsorted(RNG(rows), float32, (rows, 80, 3))
    found = run_compiled(plan(graph, {"batch": 9}), {"x": array}, rows=rows)[0]
    np.testing.assert_array_equal(found["order"], np.argsort(array, axis, kind="stable"))
    wanted = np.take_along_axis(array, found["order"], axis)
    assert found["sorted"].tobytes() == wanted.tobytes()


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_places_in_a_batch(rows: int) -> None:
    """A table of as many rows as there are."""
    rng = RNG(rows)
    table, of = input_("table", ("batch",), float64), input_("of", (30,), float64)
    arrays = {
        "table": np.sort(unsorted(rng, float64, (rows,))),
        "of": unsorted(rng, float64, (30,)),
    }
    outputs = {"left": searchsorted(table, of), "right": searchsorted(table, of, True)}
    assert_compiled(outputs, arrays, (1, 2), {"batch": 8}, rows)


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("extent", [130, 1025, 60_000])
def test_the_first_of_many_are_those_of_all(count: int, extent: int) -> None:
    """Ties everywhere: blocks with equal leasts, and the last block filled with greatest keys."""
    rng = RNG(extent)
    for x in (
        rng.integers(0, 3, (2, extent)).astype(np.int32),
        np.full((2, extent), np.iinfo(np.int32).max, np.int32),
        rng.integers(-(2**31), 2**31, (2, extent)).astype(np.int32),
    ):
        found = compiled(gc.topk(gc.input("x", x.shape, gc.int32), count), x=x)
        wanted = extent - 1 - np.argsort(x[:, ::-1], kind="stable")[:, ::-1][:, :count]
        np.testing.assert_array_equal(found.indices, wanted)
        np.testing.assert_array_equal(found.values, np.take_along_axis(x, wanted, -1))


def test_a_permutation_is_undone_by_its_order() -> None:
    rng = RNG(0)
    permutation = gc.input("p", (500,), gc.int64)
    p = rng.permutation(500)
    found = compiled(gc.take(permutation, gc.argsort(permutation)), p=p)
    np.testing.assert_array_equal(found, np.arange(500))


# -- functions ------------------------------------------------------------------------------

X = unsorted(RNG(1), float64, (4, 9))
FINITE = RNG(2).standard_normal((4, 9))
METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)], ids=str)
def test_quantiles(axis: Any, method: str) -> None:
    holes = np.where(RNG(3).random((4, 9)) < 0.3, np.nan, FINITE)
    x, y = gc.input("x", (4, 9), gc.float64), gc.input("y", (4, 9), gc.float64)
    made, wanted = [], []
    for q in (0.37, [0.0, 0.1, 0.5, 1.0]):
        for keepdims in (False, True):
            options: Any = {"axis": axis, "keepdims": keepdims, "method": method}
            made += [gc.quantile(x, q, **options), gc.nanquantile(y, q, **options)]
            percent = np.multiply(q, 100)
            made += [gc.percentile(x, percent, **options), gc.nanpercentile(y, percent, **options)]
            wanted += [np.quantile(FINITE, q, **options), np.nanquantile(holes, q, **options)] * 2
    for found, expected in zip(compiled(made, x=FINITE, y=holes), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_quantiles_of_a_batch_and_of_infinities() -> None:
    x = gc.input("x", ("batch", 2), gc.float64)
    run = gc.compile({"part": gc.quantile(x, 0.3, axis=0), "middle": gc.median(x), "q": gc.mean(x)})
    for rows in (1, 2, 7):
        found = run(x=FINITE.reshape(-1, 2)[:rows])
        np.testing.assert_allclose(found["part"], np.quantile(FINITE.reshape(-1, 2)[:rows], 0.3, 0))
        assert found["middle"] == np.sort(FINITE.reshape(-1)[: 2 * rows])[rows - 1]
    ends = gc.constant([np.inf, np.inf, -np.inf, 1.0])
    found = values(gc.quantile(ends, [0.0, 1 / 3, 2 / 3, 0.9, 1.0]))
    np.testing.assert_array_equal(found, [-np.inf, 1.0, np.inf, np.inf, np.inf])


def test_q_that_is_computed() -> None:
    q = gc.input("q", (3,), gc.float64)
    part = np.array([0.2, 0.5, 0.9])
    found = compiled(gc.quantile(gc.constant(FINITE), q, axis=1), q=part)
    np.testing.assert_allclose(found, np.quantile(FINITE, part, axis=1))


def test_medians() -> None:
    holes = np.where(RNG(3).random((4, 9)) < 0.3, np.nan, FINITE)
    assert values(gc.median(gc.constant(holes))) != values(gc.median(gc.constant(holes)))  # NaN
    lower = [np.sort(row[~np.isnan(row)])[(np.sum(~np.isnan(row)) - 1) // 2] for row in holes]
    np.testing.assert_array_equal(values(gc.nanmedian(gc.constant(holes), axis=1)), lower)
    whole = np.array([[5, 1, 2, 9], [3, 3, 0, 1]], np.int16)
    found = values(gc.median(gc.constant(whole), axis=1))
    assert found.dtype == np.int16 and found.tolist() == [2, 1]


def test_kth_and_mode() -> None:
    x = gc.constant(X)
    for k in (1, 4, 9):
        found = values(gc.kthvalue(x, k))
        order = np.argsort(X, kind="stable")
        np.testing.assert_array_equal(found[0], np.take_along_axis(X, order, 1)[:, k - 1])
        np.testing.assert_array_equal(found[1], order[:, k - 1])
    assert values(gc.kthvalue(x, 2, axis=0, keepdims=True))[0].shape == (1, 9)
    y = np.array([[1, 2, 2, 3, 3], [5, 5, 1, 1, 0], [np.nan, 7, np.nan, 8, 9]])
    np.testing.assert_array_equal(values(gc.mode(gc.constant(y))), [2, 1, np.nan])
    np.testing.assert_array_equal(values(gc.mode(gc.constant(y.T), 0, True)), [[2, 1, np.nan]])


def test_places_of_values() -> None:
    table, of = np.sort(X[0]), X[1:]
    for right in (False, True):
        wanted = np.searchsorted(table, of, "right" if right else "left")
        found = gc.searchsorted(gc.constant(table), gc.constant(of), right=right)
        np.testing.assert_array_equal(values(found), wanted)
    sorter = np.argsort(X[0], kind="stable")
    sorted_by = gc.searchsorted(gc.constant(X[0]), gc.constant(of), sorter=gc.constant(sorter))
    np.testing.assert_array_equal(values(sorted_by), np.searchsorted(table, of))
    rows = gc.searchsorted(gc.sort(gc.constant(X)), gc.constant(X), side="right")
    wanted = [np.searchsorted(np.sort(row), row, "right") for row in X]
    np.testing.assert_array_equal(compiled(rows), wanted)
    bins, x = np.array([0.0, 1.0, 2.5]), np.array([-1.0, 0.0, 0.5, 1.0, 2.5, 3.0])
    for right in (False, True):
        ours = values(gc.digitize(gc.constant(x), gc.constant(bins), right))
        np.testing.assert_array_equal(ours, np.digitize(x, bins, right))
        theirs = values(gc.bucketize(gc.constant(x), gc.constant(bins), not right))
        np.testing.assert_array_equal(theirs, ours)


def test_running_extremes_of_a_batch() -> None:
    x = gc.input("x", ("batch", 3), gc.float64)
    run = gc.compile([gc.cummax(x, 0), gc.cummin(x, 0, reverse=True), gc.cummax(x > 0, 0)])
    for rows in (1, 8):
        array = X.reshape(-1, 3)[:rows]
        found = run(x=array)
        np.testing.assert_array_equal(found[0], np.maximum.accumulate(array, 0))
        np.testing.assert_array_equal(found[1], np.minimum.accumulate(array[::-1], 0)[::-1])
        np.testing.assert_array_equal(found[2], np.maximum.accumulate(array > 0, 0))


# -- errors ---------------------------------------------------------------------------------

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: gc.topk(BATCH, 2, axis=0), gc.ShapeError, "a batch may have fewer than k"),
    (lambda: gc.topk(BATCH, 4), gc.ArgumentError, "k is from 0 to 3, not 4"),
    (lambda: gc.kthvalue(BATCH, 0), gc.ArgumentError, "k is counted from 1, not 0"),
    (lambda: gc.kthvalue(BATCH, 4), gc.ArgumentError, "k is from 0 to 3, not 4"),
    (lambda: gc.sort(BATCH, 2), gc.ShapeError, "out of range"),
    (lambda: gc.quantile(BATCH, 1.5), gc.ArgumentError, "q is between 0 and 1, not 1.5"),
    (lambda: gc.percentile(BATCH, [50, 101]), gc.ArgumentError, "q is between 0 and 100"),
    (lambda: gc.quantile(BATCH, [[0.5]]), gc.ShapeError, "q is a number or has one axis"),
    (lambda: gc.quantile(BATCH, 0.5, method="cubic"), gc.ArgumentError, "method is one of"),
    (lambda: gc.median(BATCH[:, :0], 1), gc.ShapeError, "no elements"),
    (lambda: gc.mode(BATCH[:, :0]), gc.ShapeError, "no elements"),
    (lambda: gc.searchsorted(BATCH, BATCH[0]), gc.ShapeError, "the same axes before the last"),
    (lambda: gc.searchsorted(BATCH, BATCH, sorter=[0]), gc.ShapeError, "a sorter is for one axis"),
    (
        lambda: gc.searchsorted([0.0, 1.0], 1.0, "top"),
        gc.ArgumentError,
        "side is 'left' or 'right'",
    ),
    (lambda: gc.bucketize(1.0, BATCH), gc.ShapeError, "boundaries have one axis"),
    (lambda: tuple(gc.sort(BATCH)), gc.DTypeError, "gc.sort gives the values alone"),
    (lambda: BATCH.sort().indices, AttributeError, "argsort the positions"),
    (lambda: gc.unique_values, AttributeError, "a shape that depends on values"),
]
BATCH = gc.input("x", ("batch", 3))


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_mistakes(number: int) -> None:
    call, kind, message = WRONG[number]
    with pytest.raises(kind) as caught:
        call()
    assert message in str(caught.value)


# -- gradients and transforms ---------------------------------------------------------------

SMOOTH: dict[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "sort": lambda x: gc.sort(x, descending=True) * gc.arange(80.0),
    "sorted columns": lambda x: gc.sort(x, 0) ** 3,
    "topk": lambda x: gc.topk(x, 4)[0] ** 2,
    "kthvalue": lambda x: gc.kthvalue(x, 7)[0] ** 2,
    "median": lambda x: gc.median(x, 1) ** 2,
    "quantile": lambda x: gc.quantile(x, [0.21, 0.5], 1) ** 2,
    "nanquantile": lambda x: gc.nanquantile(x, 0.77) ** 2,
    "mode": lambda x: gc.mode(gc.round(x * 2)) * x[:, 0],
    "cummax": lambda x: gc.cummax(x, 1) ** 2,
    "cummin": lambda x: gc.cummin(x, 0, True) ** 2,
}


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients(name: str) -> None:
    """Against differences along a direction, to second order."""
    rng = RNG(5)
    at, along = rng.standard_normal((3, 80)), rng.standard_normal((3, 80))
    x, v = gc.input("x", (3, 80), gc.float64), gc.input("v", (3, 80), gc.float64)
    y = gc.sum(SMOOTH[name](x))
    slope = gc.grad(y, x)
    curve = gc.grad(gc.sum(slope * v), x)
    tangent = gc.jvp(y, x, v)
    run = gc.compile({"y": y, "slope": slope, "curve": curve, "tangent": tangent})
    h = 1e-5
    ends = [run(x=at + s * h * along, v=along) for s in (1, -1)]
    found = run(x=at, v=along)
    difference = (ends[0]["y"] - ends[1]["y"]) / (2 * h)
    np.testing.assert_allclose(np.sum(found["slope"] * along), difference, rtol=1e-6)
    np.testing.assert_allclose(found["tangent"], difference, rtol=1e-6)
    bend = (ends[0]["slope"] - ends[1]["slope"]) / (2 * h)
    np.testing.assert_allclose(found["curve"], bend, rtol=1e-5, atol=1e-8)


def test_sorting_in_loops() -> None:
    """Carried, scanned, and of all places at once."""
    xs = gc.input("xs", (6, 90), gc.float64)

    def step(carry: gc.Tensor, x: gc.Tensor) -> Any:
        carry = gc.sort(carry * 0.5 + x)
        return carry, (carry[3], gc.topk(x, 2))

    last, (third, best) = gc.scan(step, gc.zeros((90,), gc.float64), xs)
    slope = gc.grad(gc.sum(last * gc.arange(90.0)), xs)
    mapped = gc.vmap(lambda x: gc.grad(gc.sum(gc.sort(x) * gc.arange(90.0)), x))(xs)
    places = gc.vmap(lambda table, x: gc.searchsorted(table, x))(gc.sort(xs), xs)
    array = RNG(6).standard_normal((6, 90))
    run = gc.compile([last, third, best, slope, mapped, places])
    found = run(xs=array)
    carry, thirds = np.zeros(90), []
    for row in array:
        carry = np.sort(carry * 0.5 + row)
        thirds.append(carry[3])
    np.testing.assert_array_equal(found[0], carry)
    np.testing.assert_array_equal(found[1], thirds)
    np.testing.assert_array_equal(found[2].values, np.sort(array)[:, :-3:-1])
    rank = np.argsort(np.argsort(array))
    np.testing.assert_array_equal(found[4], rank)
    np.testing.assert_array_equal(found[5], rank)
    along, h = RNG(7).standard_normal((6, 90)), 1e-6
    ends = [np.sum(run(xs=array + s * h * along)[0] * np.arange(90.0)) for s in (1, -1)]
    np.testing.assert_allclose(np.sum(found[3] * along), (ends[0] - ends[1]) / (2 * h), rtol=1e-6)


def trimmed(width: int) -> Any:
    """A line through the better half of the samples, and a penalty on all but the least slopes."""
    x, y = gc.input("x", ("batch", width)), gc.input("y", ("batch",))
    w = gc.parameter("w", (width,), init=gc.init.ones)
    errors = gc.sort((x @ w - y) ** 2)
    kept = gc.where(gc.arange(0.0, 16.0)[:1] < 1.0, errors, errors)
    middle = gc.quantile(kept, 0.5)
    loss = gc.mean(gc.clip(errors, max=gc.stop_gradient(middle))) + 1e-2 * gc.sum(gc.topk(w, 2)[0])
    return gc.training(loss, optimizer=optim.SGD(lr=0.05))


@needs_compiler
@pytest.mark.parametrize("width", [3, 90])
def test_all_ways_of_training_agree(width: int, tmp_path: Path) -> None:
    """Along the batch, whose last one is shorter, and along an axis of the weights."""
    rng = RNG(width)
    data = {
        "x": rng.standard_normal((43, width)).astype(np.float32),
        "y": rng.standard_normal(43).astype(np.float32),
    }
    case = Case(f"trimmed_{width}", trimmed(width), data, batch=16, epochs=2)
    reference, *others = [(way, way.train(case, tmp_path)) for way in WAYS]
    for _, outcome in others:
        for parameter, array in outcome.parameters.items():
            wanted = reference[1].parameters[parameter]
            np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-6)
    assert len({outcome.file for way, outcome in others if way.bits == "cpu"}) == 1


@pytest.mark.parametrize("right", [False, True])
def test_bins_that_descend_are_numpy_s(right: bool) -> None:
    x, bins = np.array([0.5, -0.5, 0.0, 1.0, 2.0, -3.0, np.nan]), np.array([1.0, 0.0, 0.0, -1.0])
    found = gc.compile(gc.digitize(x, bins, right=right))()
    np.testing.assert_array_equal(found, np.digitize(x, bins, right=right))


@pytest.mark.parametrize(
    "call",
    [
        lambda: gc.searchsorted([[1.0, 2.0], [1.0, 0.0]], [[1.0], [1.0]]),
        lambda: gc.bucketize([0.5], [1, 0]),
        lambda: gc.digitize([0.5], [1.0, 0.0, 2.0]),
        lambda: gc.histogram([0.5], [1.0, 0.0]),
        lambda: gc.interp([0.5], [1.0, 0.0], [1.0, 2.0]),
    ],
)
def test_fixed_numbers_that_do_not_ascend_are_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(gc.ArgumentError, match="what is searched ascends"):
        call()


def test_what_counts_as_ascending() -> None:
    ordered = gc.searchsorted([3.0, 1.0, 2.0], [2.5], sorter=[1, 2, 0])
    with_nan = gc.searchsorted([1.0, 2.0, np.nan, np.nan], [1.5, np.nan])
    found = gc.compile([ordered, with_nan])()
    assert [part.tolist() for part in found] == [[2], [1, 2]]
