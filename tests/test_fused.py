"""The evaluators' fused multiply-add against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradc.compiler.loops.fused import fma

Array = np.ndarray[Any, Any]
DTYPES = (np.float32, np.float64)


def rounded(exact: Fraction, dtype: Any) -> Any:
    """The nearest number of the dtype, ties to even; neighbours are compared as fractions."""
    limits = np.finfo(dtype)
    largest, below = (Fraction(float(x)) for x in (limits.max, np.nextafter(limits.max, dtype(0))))
    if abs(exact) >= largest + (largest - below) / 2:
        return dtype(math.inf if exact > 0 else -math.inf)
    with np.errstate(all="ignore"):
        guess = dtype(float(max(-largest, min(largest, exact))))
        near = [np.nextafter(guess, dtype(-np.inf)), guess, np.nextafter(guess, dtype(np.inf))]
    near = [x for x in near if np.isfinite(x)]
    integer = np.int32 if dtype is np.float32 else np.int64
    best = min(near, key=lambda x: (abs(Fraction(float(x)) - exact), int(x.view(integer)) & 1))
    return dtype(math.copysign(float(best), exact)) if exact else dtype(0)


def wanted(a: Any, b: Any, c: Any, dtype: Any) -> Any:
    """IEEE 754-2019, section 5.4.1: one rounding, and what is not a number as in a * b + c."""
    if not (np.isfinite(a) and np.isfinite(b)):
        with np.errstate(all="ignore"):
            return a * b + c
    if not np.isfinite(c):
        return c
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if a == 0 or b == 0 or exact == 0:
        product_sign = np.signbit(a) != np.signbit(b)
        both_negative = product_sign and np.signbit(c) and c == 0 and (a == 0 or b == 0)
        return c if c != 0 and exact != 0 else dtype(-0.0 if both_negative else 0.0)
    return rounded(exact, dtype)


def assert_is_exact(a: Array, b: Array, c: Array) -> None:
    dtype = a.dtype.type
    found = fma(a, b, c)
    assert found.dtype == a.dtype
    for x, y, z, value in zip(a, b, c, found, strict=True):
        right = wanted(x, y, z, dtype)
        same = value.tobytes() == right.tobytes() or (np.isnan(value) and np.isnan(right))
        assert same, f"fma({x!r}, {y!r}, {z!r}) is {right!r}, not {value!r}"


def numbers(width: int) -> st.SearchStrategy[float]:
    """Any number, those with few digits among them: they give ties and exact cancellation."""
    few = st.builds(math.ldexp, st.integers(-9, 9), st.integers(-30, 30) | st.integers(-149, 127))
    near_one = st.integers(-3, 3).map(lambda n: 1.0 + n * 2.0 ** (-23 if width == 32 else -52))
    return st.floats(width=width) | few.filter(lambda x: abs(x) < 2.0**127) | near_one


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_one_rounding_of_any_numbers(dtype: Any, data: st.DataObject) -> None:
    number = numbers(32 if dtype is np.float32 else 64)
    assert_is_exact(*(np.array([data.draw(number)]).astype(dtype) for _ in range(3)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_rounding_where_the_product_and_the_term_nearly_cancel(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(3000).astype(dtype) for _ in range(2))
    for c in (-(a * b), np.nextafter(-(a * b), dtype(0)), (a * b) * dtype(2.0**-24)):
        assert_is_exact(a, b, c.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_rounding_of_numbers_of_any_exponent(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    integer = np.uint32 if dtype is np.float32 else np.uint64
    bits = [rng.integers(0, np.iinfo(integer).max, 3000, integer, True) for _ in range(3)]
    assert_is_exact(*(x.view(dtype) for x in bits))
    a, b, c = (x.view(dtype) for x in bits)
    with np.errstate(all="ignore"):  # results below the normal numbers, and above all
        small = np.ldexp(np.frexp(a)[0], -80 if dtype is np.float32 else -540)
        large = np.ldexp(np.frexp(b)[0], 64 if dtype is np.float32 else 512)
        tiny = (np.frexp(c)[0] * np.finfo(dtype).tiny).astype(dtype)
    assert_is_exact(small, small[::-1], tiny)
    assert_is_exact(large, large[::-1], np.full_like(large, -np.finfo(dtype).max))


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_and_ties(dtype: Any) -> None:
    limits = np.finfo(dtype)
    values = [0.0, 1.0, 1 + limits.eps, 1.5, 3.0, limits.eps / 2, limits.max, limits.tiny]
    values += [float(limits.smallest_subnormal), math.inf, 2.0 ** -(limits.nmant + 2)]
    signed = np.array([*values, *(-x for x in values), math.nan], dtype)
    grid = np.meshgrid(signed, signed, signed)
    assert_is_exact(*(x.ravel() for x in grid))


def test_operands_broadcast() -> None:
    column, row = np.ones((3, 1)), np.arange(4.0)
    np.testing.assert_array_equal(fma(column, row, np.array(2.0)), column * row + 2)
