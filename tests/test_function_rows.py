"""Functions that are compositions, row by row: values against NumPy by the evaluator and compiled,
slopes against differences, second slopes too, and empty tensors, scalars and special values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import rows_arithmetic
import rows_products
import rows_special
import rows_structure
from function_rows import Arguments, called, mapped, of_dtype, referred
from support import values
from support_slopes import check_slopes

import gradc as gc

MODULES = (rows_arithmetic, rows_products, rows_special, rows_structure)
ROWS = {name: row for module in MODULES for name, row in module.ROWS.items()}
RELATIVE = {gc.float64: 1e-11, gc.float32: 2e-5}


def given(arguments: Arguments, dtype: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments with inputs in place of float64 arrays, and the arrays."""
    arrays: dict[str, Any] = {}

    def declared(array: Any) -> Any:
        if array.dtype != np.float64:
            return array
        name = f"x{len(arrays)}"
        arrays[name] = array.astype(dtype.numpy)
        return gc.input(name, array.shape, dtype)

    return mapped(arguments, declared), arrays


def compare(name: str, found: list[Any], expected: list[Any], dtype: Any) -> None:
    assert len(found) == len(expected), name
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape, f"{name}: {ours.shape}, not {theirs.shape}"
        limit = RELATIVE[gc.float32 if ours.dtype == np.float32 else dtype]
        np.testing.assert_allclose(ours, theirs, limit, limit, err_msg=name)


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32], ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_value(name: str, dtype: Any) -> None:
    inputs, arrays = given(ROWS[name].arguments, dtype)
    expected = referred(ROWS[name], ROWS[name].arguments)
    compare(name, values(called(name, inputs), **arrays), expected, dtype)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ROWS)
def test_special_and_empty(name: str) -> None:
    row = ROWS[name]
    cases = [called(name, of_dtype(arguments, gc.float64)) for arguments in row.others]
    for found in (values(cases), gc.compile(cases, threads=1)()):
        for arguments, ours in zip(row.others, found, strict=True):
            theirs = referred(row, arguments)
            compare(f"{name} {arguments}", [np.asarray(o) for o in ours], theirs, gc.float64)


FAMILIES = {module.__name__: module.ROWS for module in MODULES}


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_compiled_value(family: str, dtype: Any) -> None:
    """All of a family in one program: inputs are named apart by their function."""
    outputs: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for name, row in FAMILIES[family].items():

        def declared(array: Any, of: str = name) -> Any:
            if array.dtype != np.float64:
                return array
            place = f"{of}{len(arrays)}"
            arrays[place] = array.astype(dtype.numpy)
            return gc.input(place, array.shape, dtype)

        outputs[name] = called(name, mapped(row.arguments, declared))
    found = gc.compile(outputs, threads=1)(**arrays)
    for name, row in FAMILIES[family].items():
        expected = referred(row, row.arguments)
        compare(name, [np.asarray(f) for f in found[name]], expected, dtype)


SLOPED = [name for name, row in ROWS.items() if row.slope != "none"]


def function_of(name: str) -> tuple[Any, list[Any]]:
    """All floating-point results as one vector, as a function of the float64 arrays."""
    arguments = ROWS[name].arguments
    arrays: list[Any] = []
    mapped(arguments, lambda a: arrays.append(a) if a.dtype == np.float64 else a)

    def call(*operands: gc.Tensor) -> gc.Tensor:
        waiting = iter(operands)
        named = mapped(arguments, lambda a: next(waiting) if a.dtype == np.float64 else a)
        parts = [t for t in called(name, named) if t.dtype.is_float]
        return gc.concat([part.reshape(-1) for part in parts])

    return call, arrays


@pytest.mark.parametrize("name", SLOPED)
def test_slopes(name: str) -> None:
    call, arrays = function_of(name)
    check_slopes(call, arrays, rtol=2e-6)


@pytest.mark.parametrize("name", [n for n in SLOPED if ROWS[n].slope == "smooth"])
def test_second_slopes(name: str) -> None:
    """The slope in the first operand, differentiated again."""
    call, arrays = function_of(name)

    def slope(*operands: gc.Tensor) -> gc.Tensor:
        y = call(*operands)
        return gc.grad(gc.sum(y * np.linspace(0.5, 1.5, int(y.size))), operands[0])

    check_slopes(slope, arrays, rtol=1e-5)


@pytest.mark.parametrize("name", [n for n in SLOPED if ROWS[n].slope == "linear"])
def test_what_moves_elements_has_a_constant_slope(name: str) -> None:
    call, arrays = function_of(name)
    found = []
    for value in (1.0, np.inf, np.nan):
        inputs = [gc.input(f"x{i}", a.shape, gc.float64) for i, a in enumerate(arrays)]
        y = call(*inputs)
        slopes = gc.vjp(y, inputs, gc.ones(y.shape, y.dtype))
        filled = {f"x{i}": np.full(a.shape, value) for i, a in enumerate(arrays)}
        with np.errstate(all="ignore"):
            found.append(values(slopes, **filled))
    for one, infinite, nan in zip(*found, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, infinite)
        np.testing.assert_array_equal(one, nan)
