"""`x[key]` against NumPy: index arrays, masks, and everything beside them; gradients; errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import array, values
from support_slopes import check_slopes

import gradc as gc
from gradc.nodes import iota

X = np.arange(120, dtype=np.float64).reshape(2, 3, 4, 5)
I, J, K = np.array([0, 2, -1]), np.array([[1], [3]]), np.array([1, 1, 1])  # noqa: E741
MASK = X[0, :, :, 0] % 3 == 0
ALL = slice(None)

KEYS = {
    "one": (ALL, I),
    "adjacent": (ALL, I, np.array([0, 1, 3])),
    "adjacent broadcast": (ALL, I, J),
    "separated by a slice": (ALL, I, ALL, np.array([0, 1, 4])),
    "separated, broadcast": (np.array([[0], [1]]), ALL, J[0]),
    "separated by None": (ALL, I, None, I),
    "separated by an ellipsis": (np.array([0, 1]), ..., np.array([3, 4])),
    "an ellipsis of no axes separates": (ALL, I, ..., I, I),
    "beside an integer": (0, I),
    "an integer apart": (0, ALL, I),
    "an integer behind": (ALL, I, 2),
    "equal indices": (np.array([1, 1, 0, 1]),),
    "three": (np.array([0, 1, 0]), I, K),
    "all four": (K, I, K, K),
    "with slices that cut": (slice(0, 1), I, slice(None, None, -2), J[0]),
    "rank 0 array": (np.array(1), ALL, np.array([2, 0])),
    "a list": ([1, 0], [2, 2]),
    "no index": (ALL, []),
    "no index, twice": (np.zeros((0, 2), int), np.zeros((1, 2), int)),
    "mask of one axis": (np.array([True, False]),),
    "mask of inner axes": (ALL, MASK),
    "mask of all axes": (X % 7 == 0,),
    "mask of nothing": (np.zeros((2, 3), bool),),
    "mask and indices": (ALL, np.array([True, False, True]), np.array([0, 3])),
    "mask apart": (np.array([True, True]), ALL, np.array([1, 2])),
    "list of bools": (ALL, [True, False, True]),
    "True": (True,),
    "False": (ALL, False),
    "True and indices": (ALL, True, I),
    "None between": (None, I[:2] * 0, None, J - 1),
    "unsigned": (np.array([1, 0], np.uint64),),
}


@pytest.mark.parametrize("name", KEYS)
def test_like_numpy(name: str) -> None:
    key = KEYS[name]
    expected = X[key]
    for entries in (key, tuple(gc.constant(e) if computed(e) else e for e in key)):
        result = array(X)[entries]
        assert result.shape == expected.shape
        np.testing.assert_array_equal(values(result), expected)


def computed(entry: Any) -> bool:
    return isinstance(entry, np.ndarray) and entry.dtype == np.int64


@pytest.mark.parametrize("name", KEYS)
def test_computed_indices(name: str) -> None:
    """Index tensors whose values the compiler does not know."""
    inputs, entries = {}, []
    for number, entry in enumerate(KEYS[name]):
        if computed(entry):
            inputs[f"i{number}"] = entry
            entry = gc.input(f"i{number}", entry.shape, gc.int32)
        entries.append(entry)
    result = array(X)[tuple(entries)]
    np.testing.assert_array_equal(values(result, **inputs), X[KEYS[name]])


def test_all_compiled_with_gradients() -> None:
    """Equal indices add up: the slope of x counts how often, and with which weight, it is read."""
    x = gc.input("x", X.shape, gc.float64)
    given: dict[str, Any] = {"x": X}
    results, slope = {}, np.zeros_like(X)
    for name, key in KEYS.items():
        entries = []
        for number, entry in enumerate(key):
            if computed(entry):
                given[f"{len(results)}_{number}"] = entry
                entry = gc.input(f"i{len(results)}_{number}", entry.shape, gc.int64)
            entries.append(entry)
        results[name] = x[tuple(entries)]
        weights = np.cos(np.arange(X[key].size)).reshape(X[key].shape)
        slope_of_one = np.zeros_like(X)
        np.add.at(slope_of_one, key, weights)
        slope += slope_of_one
    given = {k if k == "x" else f"i{k}": v for k, v in given.items()}
    total = sum(
        (gc.sum(r * np.cos(np.arange(int(r.size))).reshape(r.shape)) for r in results.values()),
        start=gc.constant(0.0, gc.float64),
    )
    found = gc.compile({"results": results, "slope": gc.grad(total, x)})(**given)
    for name, key in KEYS.items():
        np.testing.assert_array_equal(found["results"][name], X[key], err_msg=name)
    np.testing.assert_allclose(found["slope"], slope, 1e-12, 1e-12)


@pytest.mark.parametrize("name", ["adjacent broadcast", "separated by a slice", "equal indices",
                                  "mask of inner axes", "mask and indices"])  # fmt: skip
def test_slopes_by_differences(name: str) -> None:
    check_slopes(lambda x: x[KEYS[name]] ** 2, [X / 50.0 + 0.3])


def random_key(rng: np.random.Generator, x: Any) -> list[Any]:
    """Entries of every kind in any order; index arrays of shapes that mostly broadcast."""
    key: list[Any] = []
    axis, dots = 0, False
    common = [(), (2,), (3, 1), (1,), (0,), (2, 2)][rng.integers(6)]
    while axis < x.ndim or rng.random() < 0.3:
        kind = rng.integers(8)
        if kind == 0:
            key.append(None)
        elif kind == 1 and not dots:
            key.append(Ellipsis)
            dots = True
            axis += int(rng.integers(0, max(x.ndim - axis, 0) + 1))
        elif kind == 2 and rng.random() < 0.2:
            key.append(bool(rng.integers(2)))
        elif axis >= x.ndim:
            break
        elif kind == 3:
            covered = int(rng.integers(1, min(2, x.ndim - axis) + 1))
            key.append(rng.random(x.shape[axis : axis + covered]) < 0.5)
            axis += covered
        elif kind in (4, 5) and x.shape[axis]:
            shape = common if rng.random() < 0.7 else ()
            key.append(rng.integers(-x.shape[axis], x.shape[axis], size=shape))
            axis += 1
        elif kind == 6 and x.shape[axis]:
            key.append(int(rng.integers(-x.shape[axis], x.shape[axis])))
            axis += 1
        else:
            bounds = [None if rng.random() < 0.4 else int(rng.integers(-4, 5)) for _ in range(3)]
            key.append(slice(bounds[0], bounds[1], bounds[2] or None))
            axis += 1
    return key


def test_random_keys() -> None:
    """Either both give the same elements, or both refuse."""
    rng = np.random.default_rng(17)
    refused = 0
    for _ in range(600):
        shape = rng.integers(0 if rng.random() < 0.1 else 1, 4, size=rng.integers(0, 5))
        x = rng.normal(size=tuple(shape))
        key = random_key(rng, x)
        inputs = {f"i{n}": e for n, e in enumerate(key) if computed(e) and rng.random() < 0.5}
        ours = tuple(
            gc.input(f"i{n}", e.shape, gc.int64) if f"i{n}" in inputs else e
            for n, e in enumerate(key)
        )
        try:
            expected = x[tuple(key)]
        except IndexError:
            with pytest.raises(gc.GradcError):
                array(x)[ours]
            refused += 1
            continue
        found = values(array(x)[ours], **inputs)
        assert found.shape == expected.shape, (shape, key)
        np.testing.assert_array_equal(found, expected)
    assert refused < 60


def test_computed_indices_wrap_and_are_clamped() -> None:
    """As gc.take does; several at a time each within its own axis."""
    x = np.arange(12.0).reshape(3, 4)
    i = gc.input("i", (3,), gc.int64)
    j = gc.input("j", (3,), gc.int64)
    given = {"i": np.array([-1, 7, -9]), "j": np.array([-4, -5, 99])}
    np.testing.assert_array_equal(values(array(x)[i, j], **given), x[[2, 2, 0], [0, 0, 3]])
    np.testing.assert_array_equal(values(array(x)[i], **given), x[[2, 2, 0]])


def test_fixed_masks_may_be_computed_from_constants() -> None:
    x = gc.input("x", (4,), gc.float64)
    data = np.arange(4.0)
    for mask in (gc.arange(4) > 1, gc.constant(data) > 1.5, gc.constant([False, False, True, True]),
                 gc.tril(gc.ones((4, 4), dtype=gc.bool))[2] == gc.constant(False)):  # fmt: skip
        expected = data[values(mask)]
        np.testing.assert_array_equal(values(x[mask], x=data), expected)
    assert x[gc.ones(4, dtype=gc.bool)].shape == (4,)


def test_named_dimensions() -> None:
    x = gc.input("x", ("batch", 3, 4), gc.float64)
    data = X[:, :, :, 0]
    run = gc.compile([x[:, I, I], x[:, 1, I], x[:, np.array([True, False, True])], x[..., I, None]])
    found = run(x=data)
    for ours, expected in zip(
        found, (data[:, I, I], data[:, 1, I], data[:, [0, 2]], data[..., I, None]), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)
    labels = gc.input("labels", ("batch",), gc.int32)
    rows = gc.compile(gc.constant(data[0])[labels, labels])
    np.testing.assert_array_equal(rows(labels=[0, 2]), data[0][[0, 2], [0, 2]])


def counter(*shape: Any) -> gc.Tensor:
    """0, 1, ... along the named dimension of a shape that has extents 1 beside it."""
    axis = next(a for a, e in enumerate(shape) if isinstance(e, str))
    return gc.Tensor(iota(shape, axis, gc.int64))


def test_a_counter_pairs_rows_of_a_named_dimension() -> None:
    """The idiom of losses: from every row the element of its label."""
    rows, rng = 6, np.random.default_rng(2)
    data = rng.normal(size=(rows, 3, 4))
    labels, pairs = rng.integers(0, 3, rows), rng.integers(0, 3, (rows, 2))
    x = gc.input("x", ("batch", 3, 4), gc.float64)
    y = gc.input("y", ("batch",), gc.int32)
    z = gc.input("z", ("batch", 2), gc.int32)
    n, c = np.arange(rows), counter("batch")
    cases = {
        "label": (x[c, y], data[n, labels]),
        "two": (x[c, y, y], data[n, labels, labels]),
        "counted": (x[gc.arange(x.shape[0]), y], data[n, labels]),
        "apart": (x[c, :, y], data[n, :, labels]),
        "last": (x.permute(1, 2, 0)[:, y, c], data.transpose(1, 2, 0)[:, labels, n]),
        "all": (x[c], data[n]),
        "fixed": (x[c, 1], data[n, 1]),
        "fixed list": (x[c[:, None], [0, 2]], data[n[:, None], [0, 2]]),
        "several": (x[c[:, None], z], data[n[:, None], pairs]),
        "several in the middle": (x[None, c[:, None], z], data[None][:, n[:, None], pairs]),
        "behind": (x[counter(1, "batch"), gc.constant([[0], [1]])], data[n[None], [[0], [1]]]),
    }
    given = {"x": data, "y": labels, "z": pairs}
    tensors = {name: tensor for name, (tensor, _) in cases.items()}
    slope = gc.grad(gc.sum(x[c, y] * 2.0), x)
    found = gc.compile({"values": tensors, "slope": slope})(**given)
    for name, (_, expected) in cases.items():
        np.testing.assert_array_equal(found["values"][name], expected, err_msg=name)
    expected = np.zeros_like(data)
    expected[n, labels] = 2.0
    np.testing.assert_array_equal(found["slope"], expected)
    with pytest.raises(gc.ShapeError, match="only : picks"):
        x[c + 1, y]


v = gc.input("v", (3, 4), gc.float64)
n = gc.input("n", ("batch", 4), gc.float64)
c = gc.input("c", (3,), gc.int64)
ERRORS = {
    "index 3 is out of range for axis 0 with extent 3": (v, np.array([0, 3])),
    "index -5 is out of range for axis 1 with extent 4": (v, (0, [-5])),
    "index 9 is out of range for axis 0": (v, gc.constant([9])),
    "a mask bool[3] would give a shape that depends on values": (v, c > 0),
    "hint: use gc.where": (v, v > 0),
    "a mask of shape [4] does not cover axes from 0 on": (v, np.ones(4, bool)),
    "axis 0 has extent 3, the mask 2": (v, np.ones((2, 4), bool)),
    "index arrays of shapes [3] and [2] do not broadcast": (v, ([0, 1, 2], [0, 1])),
    "do not broadcast": (v, (c, np.array([0, 1]))),
    "3 indices for f64[3, 4], which has 2 axes": (v, (0, np.array([1]), c)),
    "an index is an integer tensor, not f64[3, 4]": (v, v),
    "an index array holds integers or bools, not": (v, np.array([1.5])),
    "hint: join tensors by gc.stack first": (v, ([c, None],)),
    "axis 0 is the named dimension 'batch'; only : picks from it": (n, c),
    "axis 0 is the named dimension 'batch'; only": (n, np.ones((2, 4), bool)),
    "cannot index with 'a'": (v, "a"),
    "a slice holds integers, not 0.5": (v, slice(0.5, None)),
    "no elements to pick": (gc.input("e", (0, 2)), c),
}


@pytest.mark.parametrize("problem", ERRORS)
def test_errors(problem: str) -> None:
    x, key = ERRORS[problem]
    with pytest.raises(gc.GradcError) as caught:
        x[key]
    assert problem in str(caught.value)
    assert caught.value.operation == "getitem" and caught.value.source is not None


@pytest.mark.parametrize("narrow", [gc.bool, gc.int8, gc.uint8, gc.int16])
def test_a_counter_that_was_narrowed_is_none(narrow: Any) -> None:
    x, column = gc.input("x", ("n", 2)), gc.input("column", ("n",), gc.int64)
    with pytest.raises(gc.ShapeError, match="named dimension 'n'"):
        x[gc.arange(x.shape[0]).astype(narrow).astype(gc.int64), column]
    wide = gc.compile(x[gc.arange(x.shape[0]).astype(gc.int32), column])
    rows, picked = np.arange(600.0).reshape(300, 2), np.arange(300) % 2
    assert np.array_equal(wide(x=rows, column=picked), rows[range(300), picked])
