"""Rearranged pictures against loops: patches, channels, pixels, resolutions, dropped channels."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import values

import gradc as gc
from gradc import nn

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(23)
quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)


@st.composite
def patches(draw: st.DrawFn) -> tuple[tuple[int, int], dict[str, list[int]]]:
    """Height and width, and options of patches that fit."""
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    dilation = [draw(st.integers(1, 2)) for _ in range(2)]
    padding = [draw(st.integers(0, 3)) for _ in range(2)]
    stride = [draw(st.integers(1, 3)) for _ in range(2)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    extents = [
        draw(st.integers(max(1, r - 2 * p), r + 4)) for r, p in zip(reach, padding, strict=True)
    ]
    options = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": stride}
    return (extents[0], extents[1]), options


def unfolded(x: Array, kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    places = [
        range(0, extent - (k - 1) * d, s)
        for extent, k, d, s in zip(padded.shape[2:], kernel_size, dilation, stride, strict=True)
    ]
    columns = []
    for row, column in itertools.product(*places):
        cells = itertools.product(*map(range, kernel_size))
        patch = [padded[:, :, row + i * dilation[0], column + j * dilation[1]] for i, j in cells]
        columns.append(np.stack(patch, -1).reshape(len(x), -1))
    return np.stack(columns, -1)


@quick
@given(patches())
def test_unfold_and_fold(drawn: tuple[tuple[int, int], dict[str, list[int]]]) -> None:
    """Fold is the transpose of unfold, and each is the gradient of the other."""
    extents, options = drawn
    x = RNG.integers(-5, 6, (2, 3, *extents)).astype(np.float64)
    t = gc.input("x", x.shape, gc.float64)
    y = gc.unfold(t, **options)
    expected = unfolded(x, **options)
    dy = RNG.integers(-5, 6, expected.shape).astype(np.float64)
    columns = gc.input("dy", dy.shape, gc.float64)
    back = gc.fold(columns, extents, **options)
    (slope,) = gc.vjp(y, [t], columns)
    (again,) = gc.vjp(back, [columns], t)
    found, folded, slope_value, again_value = values([y, back, slope, again], x=x, dy=dy)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again_value, expected)
    np.testing.assert_array_equal(slope_value, folded)
    assert np.vdot(found, dy) == np.vdot(x, folded)
    alone = values([gc.unfold(gc.constant(x[0]), **options),
                    gc.fold(gc.constant(dy[0]), extents, **options)])  # fmt: skip
    np.testing.assert_array_equal(alone[0], expected[0])
    np.testing.assert_array_equal(alone[1], folded[0])


def test_pixels_and_channels() -> None:
    x = RNG.normal(size=(2, 12, 3, 4))
    up = values(gc.pixel_shuffle(gc.constant(x), 2))
    for c, h, w in np.ndindex(3, 6, 8):
        np.testing.assert_array_equal(
            up[:, c, h, w], x[:, c * 4 + (h % 2) * 2 + w % 2, h // 2, w // 2]
        )
    np.testing.assert_array_equal(values(gc.pixel_unshuffle(gc.constant(up), 2)), x)
    np.testing.assert_array_equal(values(gc.pixel_shuffle(gc.constant(x[0]), 2)), up[0])
    shuffled = values(gc.channel_shuffle(gc.constant(x), 3))
    np.testing.assert_array_equal(shuffled, x[:, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]])


def test_unflatten() -> None:
    x = gc.input("x", ("batch", 12, 2))
    assert gc.unflatten(x, 1, (3, -1)).shape == ("batch", 3, 4, 2)
    assert nn.Unflatten(dim=-2, unflattened_size=[2, 6])(x).shape == ("batch", 2, 6, 2)
    merged = x.reshape(-1, 2)
    assert gc.unflatten(merged, 0, ("batch", 12)).shape == ("batch", 12, 2)
    for sizes in ((5, -1), (3, 5), (-1, -1), (0, -1)):
        with pytest.raises(gc.ShapeError, match="does not become"):
            gc.unflatten(x, 1, sizes)


def nearest(x: Array, new: int, ratio: Fraction, middle: Fraction) -> Array:
    places = [min(math.floor((i + middle) * ratio), len(x) - 1) for i in range(new)]
    return x[places]


def linear(x: Array, new: int, ratio: float, corners: bool) -> Array:
    rows = []
    for i in range(new):
        at = i * (len(x) - 1) / max(new - 1, 1) if corners else max((i + 0.5) * ratio - 0.5, 0.0)
        low = min(int(at), len(x) - 1)
        high = min(low + 1, len(x) - 1)
        rows.append(x[low] * (1 - (at - low)) + x[high] * (at - low))
    return np.stack(rows)


@quick
@given(st.integers(1, 6), st.integers(1, 12), st.sampled_from(["size", 0.5, 1.5, 2, 3.0]))
def test_interpolate(extent: int, size: int, how: Any) -> None:
    x = RNG.normal(size=extent)
    new = size if how == "size" else math.floor(extent * how)
    if new < 1:
        return
    ratio = Fraction(extent, new) if how == "size" else 1 / Fraction(how)
    given = {"size": size} if how == "size" else {"scale_factor": how}
    t = gc.input("x", (1, 1, extent), gc.float64)
    results = [gc.interpolate(t, **given, mode=m) for m in ("nearest", "nearest-exact", "linear")]
    results.append(gc.interpolate(t, **given, mode="linear", align_corners=True))
    expected = [
        nearest(x, new, ratio, Fraction(0)), nearest(x, new, ratio, Fraction(1, 2)),
        linear(x, new, float(ratio), False), linear(x, new, float(ratio), True),
    ]  # fmt: skip
    for y, reference in zip(results, expected, strict=True):
        slope = gc.grad(gc.sum(y * y), t)
        found, back = values([y, slope], x=x.reshape(1, 1, -1))
        np.testing.assert_allclose(found[0, 0], reference, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(np.vdot(back, x), 2 * np.vdot(reference, reference), rtol=1e-10)


def cubic(x: Array, new: int, ratio: float, corners: bool) -> Array:
    """As PyTorch's `get_cubic_upsample_coefficients` has it, for rows of x."""
    a = -0.75

    def near(far: float) -> float:
        return ((a + 2) * far - (a + 3)) * far * far + 1

    def beyond(far: float) -> float:
        return ((a * far - 5 * a) * far + 8 * a) * far - 4 * a

    rows = []
    for i in range(new):
        at = i * (len(x) - 1) / max(new - 1, 1) if corners else (i + 0.5) * ratio - 0.5
        low = math.floor(at)
        t = at - low
        weights = beyond(t + 1), near(t), near(1 - t), beyond(2 - t)
        places = [min(max(low + step, 0), len(x) - 1) for step in (-1, 0, 1, 2)]
        rows.append(sum(w * x[p] for w, p in zip(weights, places, strict=True)))
    return np.stack(rows)


@quick
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
    st.sampled_from(["size", "factor", "recomputed"]),
)
def test_bicubic(extents: tuple[int, int], sizes: tuple[int, int], corners: bool, how: str) -> None:
    x = RNG.normal(size=(2, 3, *extents))
    given: dict[str, Any] = {"size": sizes}
    ratios = [old / new for old, new in zip(extents, sizes, strict=True)]
    if how != "size":
        factors = [(new + 0.3) / old for old, new in zip(extents, sizes, strict=True)]
        given = {"scale_factor": factors, "recompute_scale_factor": how == "recomputed"}
        ratios = ratios if how == "recomputed" else [1 / factor for factor in factors]
    t = gc.input("x", x.shape, gc.float64)
    y = gc.interpolate(t, **given, mode="bicubic", align_corners=corners)
    rows = np.moveaxis(cubic(np.moveaxis(x, 2, 0), sizes[0], ratios[0], corners), 0, 2)
    expected = np.moveaxis(cubic(np.moveaxis(rows, 3, 0), sizes[1], ratios[1], corners), 0, 3)
    slope = gc.grad(gc.sum(y * y), t)
    found, back = values([y, slope], x=x)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(np.vdot(back, x), 2 * np.vdot(expected, expected), rtol=1e-9)
    layer = nn.Upsample(**given, mode="bicubic", align_corners=corners)
    np.testing.assert_array_equal(values(layer(t), x=x), found)


def test_interpolation_along_each_axis() -> None:
    x = RNG.normal(size=(2, 3, 4, 5))
    bilinear = values(gc.interpolate(gc.constant(x), (8, 3), mode="bilinear"))
    rows = np.moveaxis(linear(np.moveaxis(x, 2, 0), 8, 0.5, False), 0, 2)
    expected = np.moveaxis(linear(np.moveaxis(rows, 3, 0), 3, 5 / 3, False), 0, 3)
    np.testing.assert_allclose(bilinear, expected)
    doubled = values(nn.Upsample(scale_factor=2)(gc.constant(x)))
    np.testing.assert_array_equal(doubled, x.repeat(2, 2).repeat(2, 3))
    cube = gc.constant(RNG.normal(size=(1, 1, 2, 2, 2)))
    assert gc.interpolate(cube, (4, 2, 3), mode="trilinear").shape == (1, 1, 4, 2, 3)
    assert values(gc.interpolate(gc.constant([[[1, 2]]]), 4)).dtype == np.int64


def test_area_takes_the_mean_of_what_an_element_covers() -> None:
    x = np.arange(30.0).reshape(1, 1, 5, 6)
    found = gc.compile(gc.interpolate(gc.constant(x), size=(2, 3), mode="area"))()
    rows, columns = [slice(0, 3), slice(2, 5)], [slice(0, 2), slice(2, 4), slice(4, 6)]
    expected = [[x[0, 0, r, c].mean() for c in columns] for r in rows]
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_channels_are_dropped_whole(axes: int) -> None:
    x = gc.input("x", ("batch", 50, *(3,) * axes))
    ones = np.ones((8, 50, *(3,) * axes), np.float32)
    y = getattr(nn, f"Dropout{axes}d")(0.25)(x)
    f = gc.compile(y, training=True, seed=1)
    first, second = f(x=ones), f(x=ones)
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.75)}
    flat = first.reshape(8, 50, -1)
    assert (flat == flat[..., :1]).all() and not np.array_equal(first, second)
    assert abs((flat[..., 0] == 0).mean() - 0.25) < 0.08
    np.testing.assert_array_equal(gc.compile(y)(x=ones), ones)


@pytest.mark.parametrize(
    ("axes", "shape", "chances"),
    [
        (1, (400, 5), (400, 1)),
        (2, (20, 20, 5), (20, 20, 1)),  # three axes have a batch, as in PyTorch
        (3, (400, 2, 3, 4), (400, 1, 1, 1)),
    ],
)
def test_channels_of_one_picture_are_dropped_whole(
    axes: int, shape: tuple[int, ...], chances: tuple[int, ...]
) -> None:
    """Each channel of what PyTorch takes without a batch has its own chance."""
    y = getattr(nn, f"Dropout{axes}d")(0.5)(gc.ones(shape))
    found = np.asarray(values(y, training=True))
    first = found[tuple(slice(extent) for extent in chances)]
    np.testing.assert_array_equal(found, np.broadcast_to(first, shape))
    assert set(np.unique(found)) == {0.0, 2.0} and abs((first == 0).mean() - 0.5) < 0.1


COMPILED = {
    "unfold": lambda x: gc.unfold(x, 3, 1, 1, 2),
    "fold": lambda x: gc.fold(x.reshape((x.shape[0], 16, 9)), 6, 2, 1, 0, 2),
    "pixel_shuffle": lambda x: gc.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: gc.pixel_unshuffle(x, 3),
    "channel_shuffle": lambda x: gc.channel_shuffle(x, 2),
    "nearest": lambda x: gc.interpolate(x, (4, 9)),
    "doubled": lambda x: gc.interpolate(x, scale_factor=2),
    "bilinear": lambda x: gc.interpolate(x, (4, 9), mode="bilinear", align_corners=True),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_is_the_evaluators_value(name: str) -> None:
    x = gc.input("x", ("batch", 4, 6, 6))
    y = COMPILED[name](x)
    slope = gc.grad(gc.sum(y * y * y), x)
    f = gc.compile([y, slope], threads=2)
    for rows in (3, 1):
        array = RNG.normal(size=(rows, 4, 6, 6)).astype(np.float32)
        for found, expected in zip(f(x=array), values([y, slope], x=array), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: gc.unfold(x, 7), "unfold: no patch of 7 elements, 1 apart, fits into 6"),
        (lambda x: gc.unfold(x[0, 0], 2), "unfold: input is f32[6, 6], not [batch, channels,"),
        (lambda x: gc.unfold(x, (2, 0)), "unfold: kernel_size is an integer of at least 1, not 0"),
        (lambda x: gc.fold(x[0], 6, 2),
         "fold: patches of 4 elements at 25 places make up the picture, the columns are others"),
        (lambda x: gc.pixel_shuffle(x, 3), "pixel_shuffle: 4 channels are no multiple of 9"),
        (lambda x: gc.pixel_unshuffle(x, 4), "pixel_unshuffle: height 6 and width 6 are no"),
        (lambda x: gc.channel_shuffle(x, 3), "channel_shuffle: 4 channels are not 3 groups"),
        (lambda x: gc.interpolate(x), "interpolate: either size or scale_factor is given"),
        (lambda x: gc.interpolate(x, 3, 2), "interpolate: either size or scale_factor is given"),
        (lambda x: gc.interpolate(x, 3, mode="cubic"),
         "interpolate: mode for f32[2, 4, 6, 6] is one of 'nearest', 'nearest-exact', 'area', "
         "'bilinear', "
         "'bicubic', not 'cubic'"),
        (lambda x: gc.interpolate(x[0], 3, mode="bicubic"), "interpolate: mode for f32[4, 6, 6]"),
        (lambda x: gc.interpolate(x, 3, antialias=True), "interpolate: antialias=True is not"),
        (lambda x: gc.interpolate(x, 3, align_corners=True), "interpolate: align_corners has no"),
        (lambda x: gc.interpolate(x, scale_factor=0.1), "interpolate: scale_factor 0.1 leaves"),
        (lambda x: gc.interpolate(x, (1, 2, 3)), "interpolate: size has 3 numbers for 2 axes"),
        (lambda x: gc.dropout2d(x[0, 0]),
         "dropout2d: input is f32[6, 6], which has not 3 or 4 axes"),
        (lambda x: gc.dropout1d(x),
         "dropout1d: input is f32[2, 4, 6, 6], which has not 2 or 3 axes"),
        (lambda x: nn.Dropout2d(2.0), "Dropout2d: a probability lies in 0 to 1, not 2.0"),
        (lambda x: nn.Fold(0, 2), "Fold: output_size is an integer of at least 1, not 0"),
        (lambda x: nn.PixelShuffle(0), "PixelShuffle: upscale_factor is an integer of at least 1"),
    ],
)  # fmt: skip
def test_refusals(call: Any, text: str) -> None:
    with pytest.raises(gc.GradcError) as caught:
        call(gc.input("x", (2, 4, 6, 6)))
    assert str(caught.value).startswith(text)
    assert "test_images.py" in str(caught.value)
