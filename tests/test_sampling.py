"""grid_sample and affine_grid against loops that read PyTorch's formulas one number at a time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(31)

MODES = ("bilinear", "nearest", "bicubic")
VOLUME, PLACES = np.ones((1, 1, 2, 2, 2)), np.ones((1, 1, 1, 1, 3))
PADDINGS = ("zeros", "border", "reflection")


def in_elements(place: float, extent: int, align: bool) -> float:
    return (place + 1) / 2 * (extent - 1) if align else ((place + 1) * extent - 1) / 2


def mirrored(place: float, low: float, high: float) -> float:
    """Step by step, a mirror at either end."""
    if low == high:
        return low
    while not low <= place <= high:
        place = 2 * low - place if place < low else 2 * high - place
    return place


def inside(place: float, extent: int, padding: str, align: bool) -> float:
    if padding == "reflection":
        ends = (0.0, extent - 1.0) if align else (-0.5, extent - 0.5)
        place = mirrored(place, *ends)
    return place if padding == "zeros" else min(max(place, 0.0), extent - 1.0)


def cubic(d: float) -> float:
    """Keys' kernel at distance d, with a = -0.75."""
    d = abs(d)
    if d <= 1:
        return 1.25 * d**3 - 2.25 * d**2 + 1
    return -0.75 * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def taps(place: float, extent: int, mode: str, padding: str, align: bool) -> list[tuple[int, Any]]:
    """(element, what it counts) along one axis; -1 for what lies outside and is 0."""
    if mode == "bicubic":
        low = math.floor(place)
        found = [
            (round(inside(i, extent, padding, align)), cubic(place - i))
            for i in range(low - 1, low + 3)
        ]
    else:
        place = inside(place, extent, padding, align)
        low = math.floor(place)
        linear = [(low, low + 1 - place), (low + 1, place - low)]
        found = [(round(place), 1.0)] if mode == "nearest" else linear
    return [(i if 0 <= i < extent else -1, weight) for i, weight in found]


def looped(x: Array, grid: Array, mode: str, padding: str, align: bool) -> Array:
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    extents = x.shape[2:]
    for at in np.ndindex(len(x), *grid.shape[1:-1]):
        read = [in_elements(p, n, align) for p, n in zip(grid[at][::-1], extents, strict=True)]
        each = [taps(p, n, mode, padding, align) for p, n in zip(read, extents, strict=True)]
        for corner in itertools.product(*each):
            index = tuple(i for i, _ in corner)
            if min(index) >= 0:
                weight = math.prod(w for _, w in corner)
                y[(at[0], slice(None), *at[1:])] += weight * x[(at[0], slice(None), *index)]
    return y


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_grid_sample(mode: str, padding: str, align: bool) -> None:
    x = RNG.normal(size=(2, 3, 5, 7))
    grid = RNG.uniform(-1.7, 1.7, (2, 4, 3, 2))
    found = values(gc.grid_sample(gc.constant(x), gc.constant(grid), mode, padding, align))
    np.testing.assert_allclose(found, looped(x, grid, mode, padding, align), atol=1e-12)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_volumes(mode: str, padding: str) -> None:
    x = RNG.normal(size=(2, 2, 3, 4, 2))
    grid = RNG.uniform(-1.5, 1.5, (2, 2, 1, 3, 3))
    found = values(gc.grid_sample(gc.constant(x), gc.constant(grid), mode, padding))
    np.testing.assert_allclose(found, looped(x, grid, mode, padding, False), atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_differences(mode: str) -> None:
    """In float64, in the picture and, where it is not constant, in the grid; compiled."""
    x, grid = RNG.normal(size=(2, 2, 4, 5)), RNG.uniform(-1.2, 1.2, (2, 3, 2, 2))
    picture, places = gc.input("x", x.shape, gc.float64), gc.input("g", grid.shape, gc.float64)
    total = gc.sum(gc.sin(gc.grid_sample(picture, places, mode, "reflection")))
    f = gc.compile({"y": total, "d": gc.grad(total, [picture, places])})
    found = f(x=x, g=grid)["d"]
    step = 1e-6
    for which, array in enumerate((x, grid)):
        for index in itertools.islice(np.ndindex(array.shape), 0, None, 3):
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[index] += sign * step
                given = {"x": x, "g": grid} | {"xg"[which]: moved}
                ends.append(float(f(**given)["y"]))
            slope = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(found[which][index], slope, atol=1e-6)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("extents", [(3, 5), (1, 4), (2, 3, 4)])
def test_affine_grid(extents: tuple[int, ...], align: bool) -> None:
    axes = len(extents)
    theta = RNG.normal(size=(2, axes, axes + 1))
    found = values(gc.affine_grid(gc.constant(theta), (2, 1, *extents), align))
    for at in np.ndindex(2, *extents):
        ends = [1.0 if align else 1 - 1 / n for n in extents]
        place = [
            0.0 if n == 1 else -end + 2 * end * i / (n - 1)
            for i, n, end in zip(at[1:], extents, ends, strict=True)
        ]
        np.testing.assert_allclose(found[at], theta[at[0]] @ [*place[::-1], 1.0], atol=1e-12)


def test_any_number_of_rows() -> None:
    x, grid = gc.input("x", ("batch", 1, 4, 4)), gc.input("g", ("batch", 2, 2, 2))
    f = gc.compile(gc.grid_sample(x, grid))
    for rows in (1, 3):
        given = {"x": RNG.normal(size=(rows, 1, 4, 4)), "g": RNG.uniform(-1, 1, (rows, 2, 2, 2))}
        expected = looped(given["x"], given["g"], "bilinear", "zeros", False)
        np.testing.assert_allclose(f(**given), expected, atol=1e-5)


def test_places_that_are_no_numbers_read_inside() -> None:
    grid = np.array([[[[math.nan, math.inf], [-math.inf, 1e30]]]])
    for mode, padding in itertools.product(MODES, PADDINGS):
        y = gc.compile(gc.grid_sample(np.ones((1, 1, 3, 3)), grid, mode, padding))()
        assert y.shape == (1, 1, 1, 2)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda x, g: gc.grid_sample(x[0], g), r"grid_sample: input is \[batch, channels"),
        (lambda x, g: gc.grid_sample(x, g[..., :1]), "grid_sample: input is .*\n  input is f32"),
        (lambda x, g: gc.grid_sample(x, g[:1]), r"grid f32\[1, 2, 2, 2\]"),
        (lambda x, g: gc.grid_sample(x, g, "cubic"), "no mode 'cubic'\n  known: bilinear"),
        (lambda x, g: gc.grid_sample(x, g, "nearest", "edge"), "no padding_mode 'edge'"),
        (lambda x, g: gc.grid_sample(VOLUME, PLACES, "bicubic"), "bicubic is for pictures of two"),
        (lambda x, g: gc.affine_grid(g, (2, 1, 3, 3)), "affine_grid: theta is"),
    ],
)  # fmt: skip
def test_refusals(call: Any, problem: str) -> None:
    x, grid = gc.input("x", (2, 1, 3, 3)), gc.input("g", (2, 2, 2, 2))
    with pytest.raises((gc.ShapeError, gc.ArgumentError), match=problem):
        call(x, grid)
