"""Counts, histograms, and pairs of statistics in one call."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.graph.ir import Literal
from gradc.compiler.ops.source import CONSTANT
from gradc.compiler.types import float32, float64, int64

from ..arguments import real
from ..tensor import Axis, Tensor, TensorLike, as_tensor, floating
from ..tracing import fail
from . import elementwise as each
from .comparison import isnan
from .creation import asarray, linspace, ones_like, zeros
from .gather import scatter_add
from .sorting import check_ascending, searchsorted
from .statistics import diff, mean, std, var
from .statistics import max as max_of
from .statistics import min as min_of
from .statistics import sum as sum_of

__all__ = [
    "count_nonzero",
    "aminmax",
    "std_mean",
    "var_mean",
    "bincount",
    "histc",
    "histogram",
]


def count_nonzero(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0 over `axis` (None: all), as int64. NaN is not 0.

    >>> gc.compile(gc.count_nonzero([[0, 1], [2, 3]], axis=1))()
    array([1, 2])
    """
    tensor = as_tensor(x)
    return sum_of(tensor if tensor.dtype.is_bool else tensor != 0, axis, int64, keepdims)


class Extremes(NamedTuple):
    """The least and the greatest element."""

    min: Tensor
    max: Tensor


def aminmax(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Extremes:
    """The named tuple (min, max) over `axis` (None: all).

    >>> gc.compile(gc.aminmax([3.0, 1.0, 2.0]))()
    Extremes(min=array(1., dtype=float32), max=array(3., dtype=float32))
    """
    return Extremes(min_of(x, axis, keepdims), max_of(x, axis, keepdims))


def std_mean(
    x: TensorLike, axis: Axis = None, correction: bool | int | float = 0.0, keepdims: bool = False
) -> tuple[Tensor, Tensor]:
    """`std` and `mean` over `axis`. The correction is 0, where PyTorch's default is 1.

    >>> gc.compile(gc.std_mean([1.0, 3.0]))()
    (array(1., dtype=float32), array(2., dtype=float32))
    """
    return std(x, axis, correction, keepdims), mean(x, axis, keepdims)


def var_mean(
    x: TensorLike, axis: Axis = None, correction: bool | int | float = 0.0, keepdims: bool = False
) -> tuple[Tensor, Tensor]:
    """`var` and `mean` over `axis`. The correction is 0, where PyTorch's default is 1.

    >>> gc.compile(gc.var_mean([1.0, 3.0]))()
    (array(1., dtype=float32), array(2., dtype=float32))
    """
    return var(x, axis, correction, keepdims), mean(x, axis, keepdims)


def bincount(x: TensorLike, weights: TensorLike | None = None, minlength: int = 0) -> Tensor:
    """How often each of the numbers 0, 1, 2, ... occurs in a vector of integers, as int64.

    weights     added instead of 1, in their dtype; integers in float64, as in NumPy
    minlength   of the result. A shape does not depend on values: numbers from minlength on are not
                counted, unless x is a constant, whose greatest number then counts

    Negative numbers are not counted.

    >>> gc.compile(gc.bincount([0, 2, 2], minlength=4))()
    array([1, 0, 2, 0])
    """
    numbers = as_tensor(x)
    if numbers.ndim != 1 or not numbers.dtype.is_integer:
        fail(DTypeError, "bincount", f"x is a vector of integers, not {numbers.node.type}")
    length = max(minlength, _greatest(numbers) + 1)
    if length < 1:
        hint = "minlength= is the number of bins: gc.bincount(x, minlength=10)"
        if numbers.node.type.shape != (0,):
            fail(ArgumentError, "bincount", "the number of bins is not known", hint=hint)
    source = ones_like(numbers, int64) if weights is None else as_tensor(weights)
    if source.node.type.shape != numbers.node.type.shape:
        facts = [f"x is {numbers.node.type}, weights {source.node.type}"]
        fail(ShapeError, "bincount", "there is one weight for each number", facts)
    if weights is not None and not source.dtype.is_float:
        source = source.astype(float64)
    return _counted(numbers, source, length)


def _greatest(numbers: Tensor) -> int:
    """The greatest of constant numbers; -1 of others."""
    value: Any = numbers.node.attributes.get("value") if numbers.node.op is CONSTANT else None
    if isinstance(value, Literal):
        return int(np.max(value.array, initial=-1))
    return int(value) if isinstance(value, int) and 0 not in numbers.node.type.shape else -1


def _counted(places: Tensor, source: Tensor, length: int) -> Tensor:
    """Sums of the sources at each place, those outside left out: they go to one place more."""
    known = (places >= 0) & (places < length)
    inside = each.where(known, places, length)
    return scatter_add(zeros((length + 1,), source.dtype), 0, inside, source)[:length]


def histc(x: TensorLike, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals from min to max, in the dtype of x.

    min, max   where both are equal: the least and the greatest element

    The last interval holds its upper end; elements outside and NaN are not counted.

    >>> gc.compile(gc.histc([0.0, 1.0, 2.0, 4.0], bins=2))()
    array([2., 2.], dtype=float32)
    """
    value = floating(x).reshape(-1)
    if bins < 1:
        fail(ArgumentError, "histc", f"bins is at least 1, not {bins}")
    if min > max:
        fail(ArgumentError, "histc", f"min is not greater than max: {min}, {max}")
    low, high = asarray(min, value.dtype), asarray(max, value.dtype)
    if min == max and value.node.type.shape != (0,):
        low, high = min_of(value), max_of(value)
    equal = low == high
    low, high = each.where(equal, low - 1, low), each.where(equal, high + 1, high)
    wide = high - low
    place = each.floor((value - low) * bins / wide)
    place = each.where(value == high, bins - 1, place)
    inside = (value >= low) & (value <= high)
    number = each.where(inside, each.clip(place, 0, bins - 1), -1).astype(int64)
    return each.stop_gradient(_counted(number, ones_like(value), bins))


class Histogram(NamedTuple):
    """Counts, and the edges between them: one more."""

    hist: Tensor
    bin_edges: Tensor


def histogram(
    x: TensorLike,
    bins: Any = 10,
    range: Any = None,
    weight: TensorLike | None = None,
    density: bool = False,
) -> Histogram:
    """The named tuple (hist, bin_edges): how many elements lie between neighbouring edges.

    bins      a number of equal intervals, or a vector of ascending edges
    range     (low, high) of equal intervals; None: the least and the greatest element
    weight    what each element counts, of x's shape
    density   counts divided by their sum and the widths: their integral is 1

    hist is in the dtype of x, float32 for integers. The last interval holds its upper end.

    >>> gc.compile(gc.histogram([0.0, 1.0, 2.0, 4.0], bins=2))()
    Histogram(hist=array([2., 2.], dtype=float32), bin_edges=array([0., 2., 4.], dtype=float32))
    """
    value = floating(x)
    source = ones_like(value) if weight is None else as_tensor(weight).astype(value.dtype)
    if source.node.type.shape != value.node.type.shape:
        facts = [f"x is {value.node.type}, weight {source.node.type}"]
        fail(ShapeError, "histogram", "there is one weight for each element", facts)
    flat, source = value.reshape(-1), source.reshape(-1)
    edges = _edges(flat, bins, range)
    count = int(edges.node.type.shape[0]) - 1
    place = searchsorted(edges, flat, "right") - 1
    place = each.where(flat == edges[-1], count - 1, place)
    place = each.where(isnan(flat) | (flat > edges[-1]), -1, place)
    hist = _counted(place, source, count)
    if density:
        hist = hist / (sum_of(hist) * diff(edges))
    return Histogram(hist, edges)


def _two(ends: Any) -> Any:
    if not isinstance(ends, (list, tuple)) or len(ends) != 2:
        fail(ArgumentError, "histogram", f"range is (low, high), not {described(ends)}")
    low, high = (real("an end of range", end) for end in ends)
    if low > high:
        fail(ArgumentError, "histogram", f"range is (low, high), and {low} is above {high}")
    return low, high


def _edges(value: Tensor, bins: Any, range: Any) -> Tensor:
    if isinstance(bins, (bool, float)) or bins is None:
        fail(
            ArgumentError,
            "histogram",
            f"bins is a number of bins or their edges, not {described(bins)}",
        )
    if not isinstance(bins, (int, np.integer)):
        check_ascending(asarray(bins), "histogram")
        edges = asarray(bins).astype(value.dtype)
        if edges.ndim != 1 or edges.node.type.shape[0] in (0, 1):
            fail(ShapeError, "histogram", f"two edges or more are needed, not {edges.node.type}")
        return edges
    if bins < 1:
        fail(ArgumentError, "histogram", f"there is at least 1 bin, not {bins}")
    if range is not None:
        low, high = (asarray(end, value.dtype) for end in _two(range))
    elif value.node.type.shape == (0,):
        low, high = asarray(0.0, value.dtype), asarray(1.0, value.dtype)
    else:
        low, high = min_of(value), max_of(value)
    equal = low == high
    half = 0.5
    low, high = each.where(equal, low - half, low), each.where(equal, high + half, high)
    part = linspace(0, 1, int(bins) + 1, value.dtype if value.dtype.bits > 16 else float32)
    edges = low + (high - low) * part.astype(value.dtype)
    return each.where(part.astype(value.dtype) == 1, high, edges)
