"""Pooling against loops: values, positions, slopes, odd windows, and the sizes of code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pooling_reference as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pooling_reference import Adaptive, Axis
from support import told, values

import gradc as gc
from gradc import nn

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(11)
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def pool(kind: str, axes: int) -> Any:
    return getattr(gc, f"{kind}_pool{axes}d")


@st.composite
def windows(draw: st.DrawFn, dilated: bool) -> Axis:
    kernel = draw(st.sampled_from((1, 2, 3, 4, 7, 8, 9, 17, 20)))
    dilation = draw(st.integers(1, 3)) if dilated else 1
    reach = (kernel - 1) * dilation + 1
    stride = draw(st.sampled_from((1, 2, 3, kernel, kernel + 1)))
    padding = draw(st.integers(0, reach // 2))
    extent = draw(st.integers(max(reach - 2 * padding, 1), reach + 7))
    axis = Axis(extent, kernel, stride, padding, dilation, draw(st.booleans()))
    # What has no element is refused; see test_refusals.
    return axis if all(map(axis.places, range(axis.count))) else Axis(reach, kernel, stride)


def alike(axes: list[Axis]) -> list[Axis]:
    """The axes with one ceil_mode: a call has one."""
    first = [Axis(a.extent, a.kernel, a.stride, a.padding, a.dilation, axes[0].ceil_mode)
             for a in axes]  # fmt: skip
    return first if all(p for a in first for p in map(a.places, range(a.count))) else axes[:1]


def options(axes: list[Axis], dilated: bool) -> dict[str, Any]:
    named = {
        "kernel_size": [a.kernel for a in axes], "stride": [a.stride for a in axes],
        "padding": [a.padding for a in axes], "ceil_mode": axes[0].ceil_mode,
    }  # fmt: skip
    return {**named, "dilation": [a.dilation for a in axes]} if dilated else named


def ties(shape: tuple[int, ...], extreme: bool = False) -> Array:
    """Few different numbers, so that windows have equal elements."""
    numbers = [0.0, -0.0, 1.0, -2.0, 3.0]
    return RNG.choice(numbers + [-np.inf, np.inf, np.nan] * extreme, size=shape)


@quick
@given(st.lists(windows(dilated=True), min_size=1, max_size=2), st.booleans())
def test_max_pool(given_axes: list[Axis], extreme: bool) -> None:
    axes = alike(given_axes)
    x = ties((2, 1, *(a.extent for a in axes)), extreme)
    t = gc.input("x", x.shape, gc.float64)
    found, places = pool("max", len(axes))(t, **options(axes, True), return_indices=True)
    plain = pool("max", len(axes))(t, **options(axes, True))
    dy = RNG.normal(size=found.shape)
    (slope,) = gc.vjp(found, [t], gc.constant(dy))
    y, at = reference.max_pool(x, axes)
    ours = values([found, places, plain, slope], x=x)
    for one, other in zip(ours, (y, at, y, reference.max_pool_slope(x, at, dy)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert ours[1].dtype == np.int64


@quick
@given(st.lists(windows(dilated=False), min_size=1, max_size=2), st.booleans())
def test_avg_pool(given_axes: list[Axis], include_pad: bool) -> None:
    axes = alike(given_axes)
    x = RNG.normal(size=(2, 1, *(a.extent for a in axes)))
    t = gc.input("x", x.shape, gc.float64)
    found = pool("avg", len(axes))(t, **options(axes, False), count_include_pad=include_pad)
    expected = reference.avg_pool(x, axes, include_pad)
    np.testing.assert_allclose(values(found, x=x), expected, rtol=1e-12, atol=1e-14)
    check_transpose(found, t, x)


def check_transpose(y: gc.Tensor, t: gc.Tensor, x: Array) -> None:
    """A linear function and its gradient: <dy, f(x)> = <f'(dy), x>, for every unit of x at once."""
    dy = RNG.normal(size=y.shape)
    (slope,) = gc.vjp(y, [t], gc.constant(dy))
    value, back = values([y, slope], x=x)
    np.testing.assert_allclose(np.vdot(dy, value), np.vdot(back, x), rtol=1e-10, atol=1e-12)
    (moved,) = gc.vjp(y, [t], gc.constant(np.ones(y.shape)))
    np.testing.assert_allclose(values(moved, x=x), values(moved, x=0 * x))


@quick
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 12)), min_size=1, max_size=2))
def test_adaptive_pools(pairs: list[tuple[int, int]]) -> None:
    axes = [Adaptive(extent, count) for extent, count in pairs]
    counts = [a.count for a in axes]
    x = ties((2, 1, *(a.extent for a in axes)))
    t = gc.input("x", x.shape, gc.float64)
    mean = pool("adaptive_avg", len(axes))(t, counts)
    found, places = pool("adaptive_max", len(axes))(t, counts, return_indices=True)
    dy = RNG.normal(size=found.shape)
    (slope,) = gc.vjp(found, [t], gc.constant(dy))
    y, at = reference.max_pool(x, axes)
    ours = values([mean, found, places, slope], x=x)
    theirs = (reference.avg_pool(x, axes), y, at, reference.max_pool_slope(x, at, dy))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    check_transpose(mean, t, x)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_three_axes(kind: str) -> None:
    x = RNG.normal(size=(2, 2, 5, 4, 6))
    axes = [Axis(5, 2, 1), Axis(4, 3, 2, 1), Axis(6, 2, 2)]
    given = {"kernel_size": (2, 3, 2), "stride": (1, 2, 2), "padding": (0, 1, 0)}
    found = values(pool(kind, 3)(gc.constant(x), **given))
    expected = reference.max_pool(x, axes)[0] if kind == "max" else reference.avg_pool(x, axes)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    adaptive = [Adaptive(5, 2), Adaptive(4, 4), Adaptive(6, 1)]
    found = values(pool(f"adaptive_{kind}", 3)(gc.constant(x), (2, None, 1)))
    expected = (reference.max_pool(x, adaptive)[0] if kind == "max"
                else reference.avg_pool(x, adaptive))  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_picture_without_a_batch() -> None:
    x = RNG.normal(size=(3, 6, 6))
    calls = (lambda v: gc.max_pool2d(v, 2), lambda v: gc.avg_pool2d(v, 3, 1, 1),
             lambda v: gc.adaptive_max_pool2d(v, 2), lambda v: gc.lp_pool2d(v, 2, 2))  # fmt: skip
    for call in calls:
        alone, batched = values([call(gc.constant(x)), call(gc.constant(x[None]))])
        np.testing.assert_array_equal(alone, batched[0])


@pytest.mark.parametrize("power", [1, 2, 3, 0.5, 2.5, -1])
def test_lp_pool(power: float) -> None:
    x = np.abs(RNG.normal(size=(2, 1, 7, 5))) + 0.1
    axes = [Axis(7, 3, 2), Axis(5, 2, 1)]
    expected = reference.sum_pool(x**power, axes) ** (1 / power)
    found = values(gc.lp_pool2d(gc.constant(x), power, (3, 2), (2, 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_lp_pool_at_a_sum_of_nothing_and_past_the_end() -> None:
    x = gc.input("x", (1, 1, 5), gc.float64)
    y = gc.lp_pool1d(x, 2, 2, ceil_mode=True)
    value, slope = values([y, gc.grad(y.sum(), x)], x=[[[0.0, 0.0, 3.0, 4.0, 3.0]]])
    root = np.sqrt(2 * 9.0)  # the last window has one element of two
    np.testing.assert_allclose(value, [[[0.0, 5.0, root]]])
    np.testing.assert_allclose(slope, [[[0.0, 0.0, 0.6, 0.8, 2 * 3.0 / root]]])
    odd = values(gc.lp_pool1d(gc.constant([[[-1.0, -2.0, 1.0, 2.0]]]), 3, 2))
    assert np.isnan(odd[0, 0, 0]) and np.isclose(odd[0, 0, 1], 9 ** (1 / 3))


def test_divisor_override() -> None:
    x = RNG.normal(size=(1, 1, 4, 4))
    found = values(gc.avg_pool2d(gc.constant(x), 2, divisor_override=3))
    np.testing.assert_allclose(found, reference.sum_pool(x, [Axis(4, 2, 2)] * 2) / 3)
    assert values(gc.avg_pool2d(gc.constant([[[1, 2], [3, 4]]]), 2)).dtype == np.float32


def test_integers_of_every_width() -> None:
    for dtype in (np.int8, np.uint8, np.int32, np.int64):
        low = np.iinfo(dtype).min
        x = np.array([[[low, low, low, 5]]], dtype)
        found, places = values(gc.max_pool1d(gc.constant(x), 2, padding=1, return_indices=True))
        np.testing.assert_array_equal(found, [[[low, low, 5]]])
        np.testing.assert_array_equal(places, [[[0, 1, 3]]])
        assert found.dtype == dtype


@pytest.mark.parametrize("kernel", [2, 3, 9])
def test_second_order(kernel: int) -> None:
    """The slope of max_pool is a step, so that only what multiplies it moves."""
    x = gc.input("x", (1, 1, 12), gc.float64)
    y = gc.max_pool1d(x, kernel, 1)
    hessian = gc.hessian(gc.sum(y**3), x)
    at = np.arange(12.0)[RNG.permutation(12)].reshape(1, 1, 12)
    found = values(hessian, x=at)
    moved, step = [], 1e-5
    slope = gc.grad(gc.sum(y**3), x)
    for place in range(12):
        shift = step * np.eye(12)[place].reshape(1, 1, 12)
        moved.append((values(slope, x=at + shift) - values(slope, x=at - shift)) / (2 * step))
    np.testing.assert_allclose(found.reshape(12, 12), np.stack(moved).reshape(12, 12), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: gc.max_pool2d(x, 3, padding=2),
         "padding 2 is more than half of a window that reaches over 3"),
        (lambda x: gc.max_pool2d(x, 9), "no window of reach 9 fits into extent 6"),
        (lambda x: gc.max_pool2d(x, 0), "kernel_size is an integer of at least 1, not 0"),
        (lambda x: gc.avg_pool2d(x, 2, 0), "stride is an integer of at least 1, not 0"),
        (lambda x: gc.max_pool2d(x, 2, padding=-1), "padding is an integer of at least 0, not -1"),
        (lambda x: gc.max_pool2d(x, (2, 2, 2)), "kernel_size has 3 numbers for 2 axes"),
        (lambda x: gc.max_pool1d(x, 2), "is f32[2, 3, 6, 6], not [batch, channels, length]"),
        (lambda x: gc.max_pool2d(x > 0, 2), "needs numbers, not bool[2, 3, 6, 6]"),
        (lambda x: gc.max_pool2d(x[:, :, :1], 2, padding=1, dilation=(2, 1)),
         "a window holds no element of the input"),
        (lambda x: gc.avg_pool2d(x, 2, divisor_override=0), "divisor_override is not 0"),
        (lambda x: gc.lp_pool2d(x, 0, 2), "norm_type is not 0"),
        (lambda x: gc.adaptive_avg_pool2d(x, (1, 2, 3)), "output_size has 3 numbers for 2 axes"),
        (lambda x: gc.adaptive_max_pool2d(x, 0), "output_size is an integer of at least 1, not 0"),
        (lambda x: gc.adaptive_max_pool2d(x[:, :, :0], 1), "has no elements"),
        (lambda x: gc.max_pool1d(gc.input("n", (2, 3, "length")), 2),
         "axis 2 is the named dimension 'length'"),
    ],
)  # fmt: skip
def test_refusals(call: Any, text: str) -> None:
    with pytest.raises(gc.GradcError) as caught:
        call(gc.input("x", (2, 3, 6, 6)))
    assert text in told(caught.value)
    assert "test_pooling.py" in str(caught.value)


# ---------------------------------------------------------------- compiled

COMPILED = {
    "max 2x2": lambda x: gc.max_pool2d(x, 2),
    "max 3x3 padded": lambda x: gc.max_pool2d(x, 3, 2, 1),
    "max dilated": lambda x: gc.max_pool2d(x, 2, 1, 1, 2, True),
    "max wide": lambda x: gc.max_pool2d(x, 10, 3, 5),
    "max of all": lambda x: gc.max_pool2d(x, 12),
    "avg 2x2": lambda x: gc.avg_pool2d(x, 2),
    "avg padded": lambda x: gc.avg_pool2d(x, 3, 2, 1, True, False),
    "avg wide": lambda x: gc.avg_pool2d(x, 11, 1, 5),
    "lp": lambda x: gc.lp_pool2d(x, 2, 3, 2),
    "adaptive avg": lambda x: gc.adaptive_avg_pool2d(x, (5, 4)),
    "adaptive max": lambda x: gc.adaptive_max_pool2d(x, (5, 1)),
}


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_is_the_evaluators_value(name: str) -> None:
    """For a batch of any size: one program, and a variant for each number of rows."""
    x = gc.input("x", ("batch", 2, 12, 12))
    y = COMPILED[name](x)
    slope = gc.grad(gc.sum(y * y), x)
    f = gc.compile([y, slope], threads=2)
    for rows in (3, 1):
        array = RNG.normal(size=(rows, 2, 12, 12)).astype(np.float32)
        for found, expected in zip(f(x=array), values([y, slope], x=array), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_positions_compiled() -> None:
    x = gc.input("x", ("batch", 2, 9, 7))
    pair = gc.max_pool2d(x, 3, 2, 1, return_indices=True)
    array = ties((3, 2, 9, 7), extreme=True).astype(np.float32)
    y, at = reference.max_pool(array, [Axis(9, 3, 2, 1), Axis(7, 3, 2, 1)])
    found = gc.compile(pair)(x=array)
    np.testing.assert_array_equal(found[0], y)
    np.testing.assert_array_equal(found[1], at)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_code_grows_with_the_logarithm_of_a_window(kind: str) -> None:
    def nodes(kernel: int) -> int:
        x = gc.input("x", (1, 1, 5000))
        return sum(1 for _ in gc.graph(pool(kind, 1)(x, kernel, 1)).graph.nodes())

    assert nodes(4096) <= 5 * nodes(24)


# ---------------------------------------------------------------- layers


def test_layers_show_their_options() -> None:
    assert repr(nn.MaxPool2d(3, stride=2)) == (
        "MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, return_indices=False, "
        "ceil_mode=False)"
    )
    assert repr(nn.AdaptiveAvgPool2d((1, None))) == "AdaptiveAvgPool2d(output_size=(1, None))"
    assert repr(nn.ZeroPad1d(2)) == "ZeroPad1d((2, 2))"
    assert repr(nn.ConstantPad1d((1, 2), 3.5)) == "ConstantPad1d(padding=(1, 2), value=3.5)"


def test_layers_hand_their_options_on() -> None:
    x = gc.input("x", (2, 3, 9, 8))
    pairs = {
        nn.MaxPool2d(3, 2, 1, 2, ceil_mode=True): gc.max_pool2d(x, 3, 2, 1, 2, True),
        nn.AvgPool2d(3, 2, 1, True, False, 5): gc.avg_pool2d(x, 3, 2, 1, True, False, 5),
        nn.LPPool2d(3, (2, 3), 1, True): gc.lp_pool2d(x, 3, (2, 3), 1, True),
        nn.AdaptiveMaxPool2d((4, 3)): gc.adaptive_max_pool2d(x, (4, 3)),
        nn.ReflectionPad2d((1, 2, 3, 0)): gc.pad(x, (1, 2, 3, 0), "reflect"),
        nn.CircularPad2d((1, -2, 0, 3)): gc.pad(x, (1, -2, 0, 3), "circular"),
    }
    for layer, expected in pairs.items():
        assert str(gc.graph(layer(x))) == str(gc.graph(expected)), layer
    values_and_places = nn.MaxPool2d(2, return_indices=True)(x)
    assert [t.shape for t in values_and_places] == [(2, 3, 4, 4)] * 2


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: nn.MaxPool2d(0), "MaxPool2d: kernel_size is an integer of at least 1, not 0"),
        (lambda x: nn.AvgPool2d(2, (1, 0)), "AvgPool2d: stride is an integer of at least 1"),
        (lambda x: nn.MaxPool1d((2, 2)), "MaxPool1d: kernel_size has 2 numbers for 1 axes"),
        (lambda x: nn.AdaptiveMaxPool3d((2, 2)), "AdaptiveMaxPool3d: output_size has 2 numbers"),
        (lambda x: nn.ZeroPad2d((1, 2, 3)), "ZeroPad2d: padding is one number or 4, not 3"),
        (lambda x: nn.ReflectionPad2d(6)(x),
         "pad: reflect margins 6 and 6 do not fit extent 6"),
        (lambda x: nn.CircularPad2d(7)(x), "pad: circular margins 7 and 7 do not fit extent 6"),
        (lambda x: nn.ZeroPad1d(1)(x),
         "ZeroPad1d: input is f32[2, 3, 6, 6], not [batch, channels, length]"),
    ],
)  # fmt: skip
def test_layers_refuse(call: Any, text: str) -> None:
    with pytest.raises(gc.GradcError) as caught:
        call(gc.input("x", (2, 3, 6, 6)))
    assert str(caught.value).startswith(text)
    assert "test_pooling.py" in str(caught.value)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pads_of_pictures_in_batches_of_any_size(mode: str) -> None:
    """Value, slope and slope of the slope, compiled; NumPy's pad is the reference."""
    x = gc.input("x", ("batch", 2, 4, 5), gc.float64)
    y = gc.pad(x, (1, 2, 3, 1), mode)
    slope = gc.grad(gc.sum(y**3), x)
    f = gc.compile([y, slope])
    widths = [(0, 0), (0, 0), (3, 1), (1, 2)]
    theirs: Any = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    for rows in (1, 3):
        given = RNG.normal(size=(rows, 2, 4, 5))
        value, found = f(x=given)
        np.testing.assert_allclose(value, np.pad(given, widths, theirs))
        place = np.arange(given[0].size).reshape(given[0].shape)
        source = np.pad(place, widths[1:], theirs) if mode != "constant" else place
        copies = np.bincount(source.ravel(), minlength=place.size).reshape(place.shape)
        np.testing.assert_allclose(found, 3 * given**2 * copies, rtol=1e-12)


def test_padding_wins_over_nothing() -> None:
    """Where no element of a window is a number above -inf, the slope is that of its first."""
    x = gc.input("x", (1, 1, 4, 4))
    pooled = gc.max_pool2d(x, 3, 2, padding=1)
    slope = gc.compile(gc.grad(gc.sum(pooled * gc.constant([[1.0, 2.0], [4.0, 8.0]])), x))
    expected = np.zeros((4, 4))
    for row, column, number in ((0, 0, 1), (0, 1, 2), (1, 0, 4), (1, 1, 8)):
        expected[row, column] += number
    found = slope(x=np.full((1, 1, 4, 4), -np.inf, np.float32))
    np.testing.assert_array_equal(found[0, 0], expected)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_slopes_of_compiled_pools(stride: int) -> None:
    """Bit for bit what the operations' reference values give, also where windows share elements."""
    x = gc.input("x", (3, 16, 9, 9))
    pooled = gc.max_pool2d(x, 3, stride, padding=1)
    slopes = gc.grad(gc.sum(pooled * pooled), x)
    given = ties((3, 16, 9, 9)).astype(np.float32)
    expected = values([pooled, slopes], x=given)
    for threads in (1, 2):
        found = gc.compile([pooled, slopes], threads=threads)(x=given)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
