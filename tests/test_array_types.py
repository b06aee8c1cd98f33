"""Arrays whose type says more than their buffer: refused wherever an array enters, not stripped."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]


class Measured(np.ndarray):
    """A subclass as that of astropy: it has a unit, and NumPy would drop it."""

    unit = "m"


class Quantity:
    """As that of pint."""

    units = "m"

    def __array__(self, *arguments: Any, **options: Any) -> Array:
        return np.ones(3)


class NAType:
    """As pandas.NA."""


class Sparse:
    """As a matrix of scipy.sparse, an object for np.asarray."""

    def toarray(self) -> Array:
        return np.ones(3)


class Tracked:
    """As a tensor of torch that requires a gradient."""

    def __array__(self, *arguments: Any, **options: Any) -> Array:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Column:
    """As a column of pandas with missing values, or of another library without any."""

    def __init__(self, values: Any) -> None:
        self.values_given = values

    def __array__(self, *arguments: Any, **options: Any) -> Array:
        return np.asarray(self.values_given)


MASKED = np.ma.array([1.0, 1e9, 2.0], mask=[False, True, False])
REFUSED: dict[str, tuple[Any, str]] = {
    "masked": (MASKED, "is a masked array; the values under its mask"),
    "masked, nothing hidden": (np.ma.array([1.0, 2.0, 3.0]), "is a masked array"),
    "masked, in a list": ([np.ma.masked, 1.0, 2.0], "is a masked array"),
    "masked, in nested lists": ([(MASKED, MASKED)], "is a masked array"),
    "matrix": (np.ones((1, 3)).view(np.matrix), "is an np.matrix"),
    "subclass": (np.ones(3).view(Measured), "Measured, which may say more"),
    "quantity": (Quantity(), "Quantity, which has a unit"),
    "record": (np.rec.array([(1.0,)] * 3, dtype=[("a", "f4")]), "is an array of records"),
    "structured": (np.zeros(3, [("a", "f4"), ("b", "i4")]), "is an array of records"),
    "bytes": (np.zeros(3, "V4"), "is an array of records"),
    "dates": (np.array(["2020-01-01"] * 3, "M8[D]"), "is an array of dates"),
    "times": (np.array([1, 2, 3], "m8[s]"), "is an array of differences of times"),
    "dates, in a list": ([datetime.date(2020, 1, 1)] * 3, "one of which is datetime.date"),
    "objects": (np.array([1, 2, 3], object), "is an array of Python objects"),
    "missing": (np.array([1.0, None, 2.0], object), "one of which is None"),
    "NA": (Column(np.array([1.0, NAType(), 2.0], object)), "is an array of Python objects"),
    "NA, in a list": ([1.0, NAType(), 2.0], "is an array of Python objects"),
    "sparse": (Sparse(), "is a sparse matrix"),
    "tracked": (Tracked(), "is no array: Can't call numpy"),
    "none": (None, "is a NoneType, not an array of numbers"),
    "set": ({1.0, 2.0}, "is a set, not an array of numbers"),
    "generator": ((x for x in (1.0, 2.0)), "is a generator, not an array of numbers"),
    "text": ("abc", "not"),
    "complex": (np.ones(3) * 1j, "not"),
}


def _trainer() -> Any:
    x = gc.input("x", ("batch", 3))
    y = nn.Linear(3, 1)(x)
    return gc.training(gc.mean(y * y), optimizer=optim.SGD(lr=0.1), outputs={"y": y}).compile()


def _call(value: Any) -> None:
    gc.compile(gc.input("x", (3,)) * 2.0)(x=value)


def _call_integers(value: Any) -> None:
    gc.compile(gc.input("x", (3,), gc.int64) * 2)(x=value)


def _assign_parameter(value: Any) -> None:
    gc.compile(gc.parameter("w", (3,)) * 2.0).parameters["w"] = value


def _assign_state(value: Any) -> None:
    state = gc.state("s", (3,))
    gc.compile(state * 2.0).state["s"] = value


def _initial(value: Any) -> None:
    gc.compile(gc.parameter("w", (3,), init=lambda shape, dtype: value) * 2.0)


ENTRANCES: dict[str, Callable[[Any], None]] = {
    "call": _call,
    "call, integers": _call_integers,
    "constant": lambda value: gc.constant(value) and None,
    "asarray": lambda value: gc.asarray(value) and None,
    "parameters": _assign_parameter,
    "state": _assign_state,
    "init function": _initial,
    "step": lambda value: _trainer().step(x=value),
    "fit": lambda value: _trainer().fit({"x": value}),
    "fit of batches": lambda value: _trainer().fit([{"x": value}]),
    "evaluate": lambda value: _trainer().evaluate({"x": value}),
    "predict": lambda value: _trainer().predict(x=value),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_every_entrance_refuses_them(entrance: str) -> None:
    for name, (value, message) in REFUSED.items():
        with pytest.raises(gc.DTypeError) as caught:
            ENTRANCES[entrance](value)
        assert message in str(caught.value), (name, str(caught.value))


ARRAYS = [name for name, (value, _) in REFUSED.items() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("name", ARRAYS)
def test_operands_and_initial_values_are_refused(name: str) -> None:
    value, message = REFUSED[name]
    entrances: list[Callable[[], Any]] = [
        lambda: gc.ones((3,)) + value,
        lambda: gc.add(gc.ones((3,)), value),
        lambda: gc.where(gc.ones((3,)) > 0.0, value, 0.0),
        lambda: gc.parameter("w", (3,), init=value),
        lambda: gc.state("s", (3,), init=value),
        lambda: nn.Linear(3, 1, weight_init=value),
    ]
    for entrance in entrances:
        with pytest.raises((gc.DTypeError, gc.ShapeError)) as caught:
            gc.compile(entrance()) if name == "complex" else entrance()
        assert message in str(caught.value) or name == "complex"
        assert "test_array_types.py" in str(caught.value)


@pytest.mark.parametrize("name", ARRAYS)
def test_they_are_refused_on_the_left_too(name: str) -> None:
    """A masked array does its own arithmetic, and asks the tensor for values that it has not."""
    value, message = REFUSED[name]
    with pytest.raises((gc.DTypeError, gc.ShapeError)) as caught:
        gc.compile(value * gc.ones((3,)))
    text = str(caught.value)
    assert message in text or name == "complex" or "a tensor has no values before" in text
    assert "test_array_types.py" in text


def test_a_mask_is_refused_as_an_index() -> None:
    hidden = np.ma.array([0, 1], mask=[False, True])
    for make in (
        lambda: gc.take(gc.ones((3,)), hidden, axis=0),
        lambda: gc.ones((3,))[hidden],
        lambda: gc.ones((3,))[[hidden, hidden]],
        lambda: gc.ones((3,))[hidden == 0],
    ):
        with pytest.raises(gc.DTypeError, match="masked array"):
            make()


def test_a_unit_is_refused_as_an_operand() -> None:
    with pytest.raises(gc.DTypeError, match="Quantity, which has a unit"):
        gc.exp(Quantity())  # type: ignore[arg-type]
    with pytest.raises(gc.DTypeError, match="Quantity, which has a unit"):
        gc.add(gc.ones((3,)), Quantity())  # type: ignore[arg-type]


def _taken(tmp_path: Path) -> dict[str, Any]:
    base = np.array([1.0, 2.0, 3.0])
    np.save(tmp_path / "a.npy", base)
    odd = np.zeros(1 + 8 * 3, np.uint8)[1:].view(np.float64)
    odd[:] = base
    frozen = base.copy()
    frozen.flags.writeable = False
    return {
        "big-endian": base.astype(">f8"),
        "big-endian float32": base.astype(">f4"),
        "big-endian integers, in a column": Column(base.astype(">f8")),
        "reversed": base[::-1][::-1],
        "strided": np.repeat(base, 2)[::2],
        "Fortran": np.asfortranarray(base),
        "misaligned": odd,
        "read-only": frozen,
        "memory map": np.load(tmp_path / "a.npy", mmap_mode="r"),
        "list": [1.0, 2.0, 3.0],
        "list of scalars": [np.float32(1.0), 2, np.float64(3.0)],
        "tuple": (1.0, 2.0, 3.0),
        "column": Column([1.0, 2.0, 3.0]),
        "memoryview": memoryview(base),
    }


def test_arrays_that_are_what_they_look_like_are_taken(tmp_path: Path) -> None:
    doubled = gc.compile(gc.input("x", (3,)) * 2.0)
    for name, value in _taken(tmp_path).items():
        np.testing.assert_array_equal(doubled(x=value), [2.0, 4.0, 6.0], err_msg=name)
        constant = gc.compile(gc.constant(value).astype(gc.float32) * 2.0)()
        np.testing.assert_array_equal(constant, [2.0, 4.0, 6.0], err_msg=name)
        doubled_weight = gc.compile(gc.parameter("w", (3,)) * 2.0)
        doubled_weight.parameters["w"] = value
        np.testing.assert_array_equal(doubled_weight(), [2.0, 4.0, 6.0], err_msg=name)
        if isinstance(value, (np.ndarray, list)):
            weight = gc.parameter("w", (3,), init=value)
            np.testing.assert_array_equal(gc.compile(weight * 2.0)(), [2, 4, 6], err_msg=name)
    integers = gc.compile(gc.input("i", (3,), gc.int32) + 1)
    for dtype in (">i4", ">i8", "<i2", "u2", ">u4"):
        got = integers(i=np.array([1, 2, 300], dtype))
        np.testing.assert_array_equal(got, [2, 3, 301])


def test_initial_values_are_copied() -> None:
    values = np.ones(3, np.float32)
    weight = gc.parameter("w", (3,), init=values)
    values[:] = 7.0
    np.testing.assert_array_equal(gc.compile(weight * 1.0)(), np.ones(3))
