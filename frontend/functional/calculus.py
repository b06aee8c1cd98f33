"""Integrals, slopes, convolutions and interpolation of sampled functions: NumPy's and PyTorch's."""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import bool_, int64, promote

from .. import nodes
from ..dimensions import refuse_named
from ..loops import scan
from ..tensor import Axis, Tensor, TensorLike, as_tensor, derive, floating
from ..tracing import fail
from . import elementwise as each
from .convolution import conv1d
from .creation import full
from .gather import take
from .manipulation import concat, flip, moveaxis
from .sorting import check_ascending, searchsorted
from .statistics import cumulative_sum
from .statistics import sum as sum_of

__all__ = [
    "trapezoid",
    "trapz",
    "cumulative_trapezoid",
    "gradient",
    "interp",
    "convolve",
    "correlate",
    "logcumsumexp",
]


def trapezoid(
    y: TensorLike, x: TensorLike | None = None, dx: TensorLike = 1.0, axis: int = -1
) -> Tensor:
    """The integral along an axis by the trapezoidal rule: the sum of (y[i] + y[i+1]) / 2 * step.

    x    where y was sampled: as many places as y has elements along the axis, or of y's shape
    dx   the step between samples where x is None

    >>> gc.compile(gc.trapezoid([0.0, 1.0, 4.0], dx=0.5))()
    array(1.5, dtype=float32)
    """
    areas, along = _areas(y, x, dx, axis, "trapezoid")
    return sum_of(areas, along)


def trapz(
    y: TensorLike, x: TensorLike | None = None, dx: TensorLike = 1.0, axis: int = -1
) -> Tensor:
    """`trapezoid` by its older name.

    >>> gc.compile(gc.trapz([0.0, 1.0, 4.0], [0.0, 1.0, 3.0]))()
    array(5.5, dtype=float32)
    """
    return trapezoid(y, x, dx, axis)


def cumulative_trapezoid(
    y: TensorLike, x: TensorLike | None = None, dx: TensorLike = 1.0, axis: int = -1
) -> Tensor:
    """The integral up to each sample but the first, along an axis: see `trapezoid`.

    >>> gc.compile(gc.cumulative_trapezoid([0.0, 1.0, 4.0]))()
    array([0.5, 3. ], dtype=float32)
    """
    areas, along = _areas(y, x, dx, axis, "cumulative_trapezoid")
    return cumulative_sum(areas, along)


def _areas(
    y: TensorLike, x: TensorLike | None, dx: TensorLike, axis: int, operation: str
) -> tuple[Tensor, int]:
    """The areas between neighbours, and the axis along which they lie."""
    values = floating(y)
    along = nodes.axis_of(axis, values.ndim, operation)
    step = as_tensor(dx)
    if x is not None:
        places = floating(x)
        if places.ndim == 1 and values.ndim > 1:
            places = places.reshape([-1 if a == along else 1 for a in range(values.ndim)])
        beside = places.ndim - values.ndim + along
        if beside < 0 or places.shape[beside] != values.shape[along]:
            facts = [f"y is {values.node.type}, x {as_tensor(x).node.type}"]
            fail(ShapeError, operation, f"x has as many places as y along axis {axis}", facts)
        later, earlier = _neighbours(places, beside)
        step = later - earlier
    elif step.ndim:
        fail(ShapeError, operation, f"dx is a scalar, not {step.node.type}")
    later, earlier = _neighbours(values, along)
    areas = (later + earlier) * 0.5 * step
    return areas.astype(promote(values.dtype, areas.dtype)), along + areas.ndim - values.ndim


def _neighbours(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The elements from the second on, and those up to the last but one."""
    before = (slice(None),) * axis
    return x[(*before, slice(1, None))], x[(*before, slice(None, -1))]


def gradient(
    x: TensorLike, spacing: Any = 1.0, axis: Axis = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Slopes of samples along each axis, by differences of second order: one tensor for each.

    spacing      the step between samples, one for each axis, or for each axis a vector of places
    axis         None: all axes
    edge_order   of the differences at the two ends: 1 or 2

    Source: as numpy.gradient; for uneven steps the quadratic through three neighbours.

    >>> gc.compile(gc.gradient([1.0, 2.0, 4.0, 7.0]))()
    (array([1. , 1.5, 2.5, 3. ], dtype=float32),)
    """
    value = floating(x)
    axes = (
        list(nodes.axes_of(axis, value.ndim, "gradient"))
        if not isinstance(axis, tuple)
        else [nodes.axis_of(a, value.ndim, "gradient") for a in axis]
    )
    if edge_order not in (1, 2):
        fail(ArgumentError, "gradient", f"edge_order is 1 or 2, not {edge_order}")
    spacing = 1.0 if spacing is None else spacing
    steps = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(axes)
    if len(steps) != len(axes):
        fail(ArgumentError, "gradient", f"{len(steps)} spacings for {len(axes)} axes")
    return tuple(
        _slope(value, along, step, edge_order) for along, step in zip(axes, steps, strict=True)
    )


def _slope(x: Tensor, along: int, spacing: Any, edge_order: int) -> Tensor:
    extent = x.node.type.shape[along]
    if isinstance(extent, str):
        refuse_named("gradient", along, extent)
    if extent < edge_order + 1:
        problem = f"{edge_order + 1} elements are needed along axis {along} of {x.node.type}"
        fail(ShapeError, "gradient", problem)
    before = (slice(None),) * along
    step = as_tensor(spacing)
    if step.ndim > 1 or (step.ndim == 1 and step.node.type.shape[0] != extent):
        facts = [f"x is {x.node.type}, spacing {step.node.type}"]
        fail(ShapeError, "gradient", "a spacing is a number, or a place for each element", facts)
    if step.ndim == 0:
        widths = step.astype(x.dtype).reshape((1,) * x.ndim)
        widths = widths.broadcast_to([extent - 1 if a == along else 1 for a in range(x.ndim)])
    else:
        later, earlier = _neighbours(step.astype(x.dtype), 0)
        widths = (later - earlier).reshape([-1 if a == along else 1 for a in range(x.ndim)])

    def part(t: Tensor, start: int, stop: int | None) -> Tensor:
        return t[(*before, slice(start, stop))]

    later, earlier = _neighbours(x, along)
    rises = (later - earlier) / widths
    # Between two neighbours' slopes, each counted by the other's width.
    left, right = part(widths, 0, -1), part(widths, 1, None)
    inner = (part(rises, 0, -1) * right + part(rises, 1, None) * left) / (left + right)
    first, last = part(rises, 0, 1), part(rises, -1, None)
    if edge_order == 2:
        first = _at_end(first, part(rises, 1, 2), part(widths, 0, 1), part(widths, 1, 2))
        last = _at_end(last, part(rises, -2, -1), part(widths, -1, None), part(widths, -2, -1))
    return concat([first, inner, last], along)


def _at_end(own: Tensor, beside: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """The slope at the end of a quadratic through three samples."""
    return own + (own - beside) * near / (near + far)


def interp(
    x: TensorLike,
    xp: TensorLike,
    fp: TensorLike,
    left: TensorLike | None = None,
    right: TensorLike | None = None,
) -> Tensor:
    """Values at x of the polygon through the points (xp, fp), as numpy.interp.

    xp            [n], ascending
    fp            [n]
    left, right   values before xp[0] and behind xp[-1]; None: those of the ends

    Differentiable in all three.

    >>> gc.compile(gc.interp([0.5, 3.0], [0.0, 1.0, 2.0], [0.0, 10.0, 30.0]))()
    array([ 5., 30.], dtype=float32)
    """
    check_ascending(as_tensor(xp), "interp")
    value, places, heights = floating(x), floating(xp), floating(fp)
    dtype = promote(value.dtype, places.dtype, heights.dtype)
    value, places, heights = (t.astype(dtype) for t in (value, places, heights))
    if places.ndim != 1 or places.node.type.shape != heights.node.type.shape:
        facts = [f"xp is {places.node.type}, fp {heights.node.type}"]
        fail(ShapeError, "interp", "xp and fp are vectors of one extent", facts)
    count = places.node.type.shape[0]
    if isinstance(count, str):
        refuse_named("interp", 0, count)
    if count == 0:
        fail(ShapeError, "interp", "there are no points")
    if count == 1:
        found = value * 0 + heights[0]
    else:
        after = each.clip(searchsorted(places, value, "right"), 1, count - 1)
        x0, x1 = take(places, after - 1, 0), take(places, after, 0)
        y0, y1 = take(heights, after - 1, 0), take(heights, after, 0)
        width = x1 - x0
        flat = width == 0
        part = each.where(flat, 0, (value - x0) / each.where(flat, 1, width))
        found = y0 + part * (y1 - y0)
    inside_left = heights[0] if left is None else as_tensor(left).astype(dtype)
    inside_right = heights[-1] if right is None else as_tensor(right).astype(dtype)
    found = each.where(value < places[0], inside_left, found)
    found = each.where(value > places[-1], inside_right, found)
    return each.where(value == places[-1], heights[-1], found)


def convolve(a: TensorLike, v: TensorLike, mode: str = "full") -> Tensor:
    """The convolution of two vectors: result[k] is the sum of a[i] * v[k - i].

    mode   "full": n + m - 1 sums; "same": the middle max(n, m) of them; "valid": those of whole
           overlap

    >>> gc.compile(gc.convolve([1.0, 2.0, 3.0], [1.0, 0.5]))()
    array([1. , 2.5, 4. , 1.5], dtype=float32)
    """
    return _convolved(a, v, mode, True, "convolve")


def correlate(a: TensorLike, v: TensorLike, mode: str = "valid") -> Tensor:
    """The correlation of two vectors: the convolution of a with v reversed; see `convolve`.

    >>> gc.compile(gc.correlate([1.0, 2.0, 3.0], [1.0, 0.5]))()
    array([2. , 3.5], dtype=float32)
    """
    return _convolved(a, v, mode, False, "correlate")


def _convolved(a: TensorLike, v: TensorLike, mode: str, turned: bool, operation: str) -> Tensor:
    signal, kernel = as_tensor(a), as_tensor(v)
    if signal.ndim > 1 or kernel.ndim > 1:
        facts = [f"a is {signal.node.type}, v {kernel.node.type}"]
        fail(ShapeError, operation, "operands are vectors", facts)
    signal, kernel = signal.reshape(-1), kernel.reshape(-1)
    extents = [t.node.type.shape[0] for t in (signal, kernel)]
    for extent in extents:
        if isinstance(extent, str):
            refuse_named(operation, 0, extent)
    n, m = (int(e) for e in extents)
    if not n or not m:
        fail(ShapeError, operation, "a vector has no elements")
    if mode not in ("full", "same", "valid"):
        fail(ArgumentError, operation, f"mode is 'full', 'same' or 'valid', not {mode!r}")
    dtype = promote(signal.dtype, kernel.dtype)
    dtype = int64 if dtype == bool_ else dtype
    signal, kernel = signal.astype(dtype), kernel.astype(dtype)
    swapped = n < m
    if swapped and turned:
        signal, kernel, n, m = kernel, signal, m, n
    kernel = flip(kernel) if turned else kernel
    if swapped and not turned:  # a correlation is turned round when its operands change places
        signal, kernel, n, m = kernel, signal, m, n
    start = (m - 1) // 2  # of the middle in the full result
    margin = {"full": (m - 1, m - 1), "valid": (0, 0)}.get(mode, (m - 1 - start, start))
    padded = concat([full((margin[0],), 0, dtype), signal, full((margin[1],), 0, dtype)])
    found = conv1d(padded.reshape((1, 1, -1)), kernel.reshape((1, 1, -1))).reshape(-1)
    return flip(found) if swapped and not turned else found


def logcumsumexp(x: TensorLike, axis: int | None = None, reverse: bool = False) -> Tensor:
    """log of the running sum of exp(x) along an axis, without overflow, element by element.

    reverse   from the end of the axis

    >>> gc.compile(gc.logcumsumexp([1000.0, -1000.0]))()
    array([1000., 1000.], dtype=float32)
    """
    value = floating(x)
    if axis is None:
        if value.ndim != 1:
            fail(ShapeError, "logcumsumexp", f"{value.node.type} needs an axis")
        axis = 0
    if value.ndim == 0:
        nodes.axis_of(axis, 1, "logcumsumexp")
        return value
    along = nodes.axis_of(axis, value.ndim, "logcumsumexp")
    rows = moveaxis(value, along, 0)
    start = full(rows.node.type.shape[1:], -float("inf"), value.dtype)
    _, found = scan(_added, start, rows, reverse=reverse)
    return derive(moveaxis(found, 0, along).node, value)


def _added(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    total = each.logaddexp(carry, x)
    return total, total
