"""What a user writes, compiled, at zeros of both signs, infinities and NaN: as IEEE 754 has it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import gradc as gc

VALUES = np.array([0.0, -0.0, 1.0, -4.0, np.inf, -np.inf, np.nan, 1e-300])


def half_power(x: np.ndarray) -> np.ndarray:
    """By exponents in an array: for one number NumPy takes the square root."""
    return np.power(x, np.full_like(x, 0.5))


EXPRESSIONS: dict[str, tuple[Callable[[gc.Tensor], gc.Tensor], Callable[[np.ndarray], np.ndarray]]]
EXPRESSIONS = {
    "x ** 0.5": (lambda x: x**0.5, half_power),
    "1 / x ** 0.5": (lambda x: 1 / x**0.5, lambda x: 1 / half_power(x)),
    "1 / (x + 0.0)": (lambda x: 1 / (x + 0.0), lambda x: 1 / (x + 0.0)),
    "1 / (0.0 + x)": (lambda x: 1 / (0.0 + x), lambda x: 1 / (0.0 + x)),
    "1 / (x - 0.0)": (lambda x: 1 / (x - 0.0), lambda x: 1 / (x - 0.0)),
    "1 / (0.0 - x)": (lambda x: 1 / (0.0 - x), lambda x: 1 / (0.0 - x)),
    "1 / -(x - x)": (lambda x: 1 / -(x - x), lambda x: 1 / -(x - x)),
    "x * 0.0": (lambda x: x * 0.0, lambda x: x * 0.0),
    "x / x": (lambda x: x / x, lambda x: x / x),
    "x ** 2": (lambda x: x**2, lambda x: x**2),
    "x ** -1": (lambda x: x**-1, lambda x: np.power(x, -1.0)),
    "x ** 0": (lambda x: x**0, lambda x: x**0),
    "(x * 1e300) * 1e-300": (lambda x: x * 1e300 * 1e-300, lambda x: x * 1e300 * 1e-300),
    "(x * 1e-300) / 1e-300": (lambda x: x * 1e-300 / 1e-300, lambda x: x * 1e-300 / 1e-300),
    "(x / 1e300) / 1e-300": (lambda x: x / 1e300 / 1e-300, lambda x: x / 1e300 / 1e-300),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_special_values_of_expressions(name: str) -> None:
    expression, reference = EXPRESSIONS[name]
    found = gc.compile(expression(gc.input("x", (len(VALUES),), gc.float64)))(x=VALUES)
    with np.errstate(all="ignore"):
        wanted = reference(VALUES)
    np.testing.assert_allclose(found, wanted, rtol=1e-15)
    assert [*np.signbit(found[wanted == 0])] == [*np.signbit(wanted[wanted == 0])]


@pytest.mark.parametrize(("base", "wanted"), [(-np.inf, np.inf), (-0.0, 0.0), (4.0, 2.0)])
def test_a_power_of_constants_is_folded_to_the_same(base: float, wanted: float) -> None:
    x = gc.full((3,), base, dtype=gc.float64)
    found = gc.compile(x**0.5)()
    assert [*found] == [wanted] * 3 and not np.signbit(found).any()


def test_a_sum_of_one_negative_zero_is_zero() -> None:
    x = gc.input("x", (1, 2), gc.float64)
    one, long = gc.sum(x, axis=0), gc.sum(gc.concat([x, x], axis=0), axis=0)
    for found in gc.compile([1 / one, 1 / long])(x=np.array([[-0.0, 0.0]])):
        assert [*found] == [np.inf, np.inf]
