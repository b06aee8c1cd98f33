"""The greatest element of each window of an image, where it stands, and what is there elsewhere.

    window_argmax x {...} -> u8    the place of the greatest element in its window
    window_take x, at {...}        the element of x at that place of each window
    window_put x, at {...}         element by element of x, added at that place of its window, in an
                                   image of zeros

Windows lie along the last axes: with `kernel`, `strides`, `padding`, `dilation` and `counts`, one
number for each of these, place p of window o of an axis is its element o * stride - padding + p *
dilation. Places of a window are counted row by row, the last axis fastest; those outside the image
win over nothing, and hold zero. `window_put` has the `extents` of the image besides.

Of equal elements the first wins, of several NaN the last: as in PyTorch. So max_pool(x) is
window_take(x, window_argmax(x)), its gradient is window_put(dy, at), and that of window_put is
window_take: each a kernel's expression, which reads `at`, a byte for each window, and not x again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..reference import rounding_once
from ..types import Shape, TensorType, uint8
from .arithmetic import number_type
from .definition import NO_FLAGS, RECOMPUTABLE, ZERO_DERIVATIVE, Indexed, OpDef, per_element
from .form import Kind
from .slicing import clamped

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

Numbers = tuple[int, ...]
Places = tuple[int, ...]

MOST_PLACES = 256
"""Of a window: what a byte can tell apart."""


@dataclass(frozen=True)
class Windows:
    """The attributes that all three have; see the module docstring."""

    kernel: Numbers
    strides: Numbers
    padding: Numbers
    dilation: Numbers
    counts: Numbers

    @property
    def axes(self) -> int:
        return len(self.kernel)

    @property
    def are_apart(self) -> bool:
        """Whether no two of them share an element."""
        pairs = zip(self.strides, self.kernel, self.dilation, strict=True)
        return all(stride >= kernel and dilation == 1 for stride, kernel, dilation in pairs)

    def places(self) -> Iterator[Places]:
        """The places of a window, row by row."""
        return itertools.product(*map(range, self.kernel))

    def number(self, places: Places) -> int:
        """Of a place, row by row."""
        return sum(place * step for place, step in zip(places, self.steps, strict=True))

    @property
    def steps(self) -> Numbers:
        """From the number of a place to that of the next along each axis."""
        return tuple(math.prod(self.kernel[axis + 1 :]) for axis in range(self.axes))

    def elements(self, axis: int, place: int) -> np.ndarray[Any, Any]:
        """Where this place of each window is along an axis; it may lie outside."""
        windows = np.arange(self.counts[axis]) * self.strides[axis]
        return windows - self.padding[axis] + place * self.dilation[axis]

    def check(self, x: TensorType) -> None:
        """Raises ShapeError unless there may be such windows of this."""
        numbers = (self.kernel, self.strides, self.padding, self.dilation, self.counts)
        facts = [f"operand is {x}", f"kernel {list(self.kernel)}, counts {list(self.counts)}"]
        if {len(one) for one in numbers} != {self.axes} or not 0 < self.axes <= x.rank:
            raise ShapeError("windows need one number for each of the last axes", facts=facts)
        least = min(*self.kernel, *self.strides, *self.dilation)
        if least < 1 or min(*self.padding, *self.counts) < 0:
            raise ShapeError("kernel, strides and dilation are positive", facts=facts)
        if math.prod(self.kernel) > MOST_PLACES:
            raise ShapeError(f"a window has more than {MOST_PLACES} places", facts=facts)


def _extents(type: TensorType, axes: int) -> Numbers:
    """Of the last axes. Raises ShapeError for a named one."""
    found = type.shape[type.rank - axes :]
    if any(isinstance(extent, str) for extent in found):
        raise ShapeError(f"windows do not lie along the named dimension of {type}")
    return tuple(int(extent) for extent in found)


def _others(type: TensorType, axes: int) -> Shape:
    return type.shape[: type.rank - axes]


# -- types ----------------------------------------------------------------------------------


def _argmax_type(x: TensorType, **attributes: Any) -> TensorType:
    windows = Windows(**attributes)
    windows.check(number_type(x))
    extents = _extents(x, windows.axes)
    for axis, (extent, count) in enumerate(zip(extents, windows.counts, strict=True)):
        inside = [
            (windows.elements(axis, place) >= 0) & (windows.elements(axis, place) < extent)
            for place in range(windows.kernel[axis])
        ]
        if count and not np.logical_or.reduce(inside).all():
            raise ShapeError(f"a window has no element of {x}", facts=[f"along axis {axis}"])
    return TensorType(uint8, (*_others(x, windows.axes), *windows.counts))


def _take_type(x: TensorType, at: TensorType, **attributes: Any) -> TensorType:
    windows = Windows(**attributes)
    windows.check(x)
    _extents(x, windows.axes)
    _check_places(at, (*_others(x, windows.axes), *windows.counts))
    return x.with_shape(at.shape)


def _put_type(x: TensorType, at: TensorType, *, extents: Numbers, **attributes: Any) -> TensorType:
    windows = Windows(**attributes)
    windows.check(number_type(x))
    if len(extents) != windows.axes or min(extents) < 0:
        raise ShapeError(f"extents {list(extents)} are not those of an image")
    _check_places(at, x.shape)
    if _extents(x, windows.axes) != windows.counts:
        raise ShapeError(f"{x} has not one element for each of {list(windows.counts)} windows")
    return x.with_shape((*_others(x, windows.axes), *extents))


def _check_places(at: TensorType, shape: Shape) -> None:
    if at.dtype != uint8:
        raise DTypeError(f"places are u8, not {at}")
    if at.shape != shape:
        raise ShapeError(f"places are {at}, and not one for each window: {list(shape)}")


# -- values ---------------------------------------------------------------------------------


def _read(x: Any, windows: Windows, places: Places) -> tuple[Any, Any]:
    """What stands at these places of each window, and whether they lie inside; else it is zero."""
    inside: Any = np.ones((), np.bool_)
    for axis, place in enumerate(places):
        dimension = x.ndim - windows.axes + axis
        at, extent = windows.elements(axis, place), x.shape[dimension]
        valid = (at >= 0) & (at < extent)
        inside = inside[..., None] & valid
        x = np.take(x, np.clip(at, 0, extent - 1), axis=dimension) if extent else x
    return np.where(inside, x, np.zeros((), x.dtype)), inside


def _argmax_value(x: Any, **attributes: Any) -> Any:
    windows = Windows(**attributes)
    shape = (*x.shape[: x.ndim - windows.axes], *windows.counts)
    found, at = np.zeros(shape, x.dtype), np.zeros(shape, np.uint8)
    some = np.zeros(shape, np.bool_)
    for places in windows.places():
        value, inside = _read(x, windows, places)
        wins = inside & (~some | (value > found) | (value != value))
        found, at = np.where(wins, value, found), np.where(wins, windows.number(places), at)
        some = some | inside
    return at.astype(np.uint8)


def _take_value(x: Any, at: Any, **attributes: Any) -> Any:
    windows = Windows(**attributes)
    found = np.zeros(at.shape, x.dtype)
    for places in windows.places():
        found = np.where(at == windows.number(places), _read(x, windows, places)[0], found)
    return found


def _put_value(x: Any, at: Any, *, extents: Numbers, **attributes: Any) -> Any:
    windows = Windows(**attributes)
    result = np.zeros((*x.shape[: x.ndim - windows.axes], *extents), x.dtype)
    for places in windows.places():
        term = np.where(at == windows.number(places), x, np.zeros((), x.dtype))
        targets: list[Any] = []
        sources: list[Any] = []
        for axis, place in enumerate(places):
            where_to = windows.elements(axis, place)
            valid = (where_to >= 0) & (where_to < extents[axis])
            targets.append(where_to[valid])
            sources.append(np.flatnonzero(valid))
        there, here = (..., *np.ix_(*targets)), (..., *np.ix_(*sources))
        result[there] += term[here]
    return result


# -- loops ----------------------------------------------------------------------------------


def _windows_of(context: Context) -> Windows:
    names = ("kernel", "strides", "padding", "dilation", "counts")
    return Windows(**{name: context.attributes[name] for name in names})


def _element(
    k: ScalarBuilder, context: Context, windows: Windows, places: Places
) -> tuple[Scalar, Scalar]:
    """What the first operand has at these places of the window, and whether they lie inside."""
    others = len(context.index) - windows.axes
    shape = context.operands[0].shape
    index, conditions = list(context.index[:others]), []
    for axis, place in enumerate(places):
        extent = shape[others + axis]
        assert isinstance(extent, int)
        along = k.mul(context.index[others + axis], k.index(windows.strides[axis]))
        shift = place * windows.dilation[axis] - windows.padding[axis]
        at = k.add(along, k.index(shift))
        conditions += [k.at_least(at, 0), k.less(at, extent)]
        index.append(clamped(k, at, extent))
    return context.read(0, tuple(index)), k.all_of(conditions)


def _argmax_body(k: ScalarBuilder, context: Context) -> Scalar:
    windows = _windows_of(context)
    pairs = [(_element(k, context, windows, p), windows.number(p)) for p in windows.places()]
    (found, some), first = pairs[0]
    at = k.constant(first, uint8)
    for (value, inside), number in pairs[1:]:
        wins = k.gt(value, found)
        if value.dtype.is_float:
            wins = k.or_(wins, k.isnan(value))
        is_known = some.op == "constant" and some.payload
        wins = k.all_of([inside, wins if is_known else k.or_(k.not_(some), wins)])
        found, at = k.select(wins, value, found), k.select(wins, k.constant(number, uint8), at)
        some = some if is_known else k.or_(some, inside)
    return at


def _take_body(k: ScalarBuilder, context: Context) -> Scalar:
    windows, at = _windows_of(context), context.read(1, context.index)
    found = k.constant(0, context.result.dtype)
    for places in windows.places():
        value, inside = _element(k, context, windows, places)
        here = k.eq(at, k.constant(windows.number(places), uint8))
        found = k.select(k.all_of([inside, here]), value, found)
    return found


def _put_body(k: ScalarBuilder, context: Context) -> Scalar:
    windows = _windows_of(context)
    zero = k.constant(0, context.result.dtype)
    if 0 in windows.counts:
        return zero
    if windows.are_apart:
        return _only_term(k, context, windows, zero)
    total: Scalar | None = None
    for places in windows.places():
        term = _term(k, context, windows, places, zero)
        total = term if total is None else k.add(total, term)
    return zero if total is None else total


def _only_term(k: ScalarBuilder, context: Context, windows: Windows, zero: Scalar) -> Scalar:
    """Of windows that are apart: an element belongs to one at most."""
    others = len(context.index) - windows.axes
    index, conditions, number = list(context.index[:others]), [], k.index(0)
    for axis, count in enumerate(windows.counts):
        stride, kernel = windows.strides[axis], windows.kernel[axis]
        at = k.add(context.index[others + axis], k.index(windows.padding[axis]))
        window, place = k.floor_div(at, k.index(stride)), k.mod(at, k.index(stride))
        conditions += [k.less(window, count), k.less(place, kernel)]
        number = k.add(number, k.mul(place, k.index(windows.steps[axis])))
        index.append(clamped(k, window, count))
    return _where_it_won(k, context, tuple(index), k.cast(number, uint8), conditions, zero)


def _term(
    k: ScalarBuilder, context: Context, windows: Windows, places: Places, zero: Scalar
) -> Scalar:
    """What the window adds of which an element is at these places."""
    others = len(context.index) - windows.axes
    index, conditions = list(context.index[:others]), []
    for axis, place in enumerate(places):
        stride, count = windows.strides[axis], windows.counts[axis]
        shift = windows.padding[axis] - place * windows.dilation[axis]
        at = k.add(context.index[others + axis], k.index(shift))
        conditions += [k.at_least(at, 0), k.less(at, (count - 1) * stride + 1)]
        if stride > 1:
            conditions.append(k.eq(k.mod(at, k.index(stride)), k.index(0)))
        index.append(clamped(k, k.floor_div(at, k.index(stride)), count))
    number = k.constant(windows.number(places), uint8)
    return _where_it_won(k, context, tuple(index), number, conditions, zero)


def _where_it_won(
    k: ScalarBuilder,
    context: Context,
    index: tuple[Scalar, ...],
    number: Scalar,
    conditions: list[Scalar],
    zero: Scalar,
) -> Scalar:
    """The element of a window if it goes to the place with this number."""
    won = k.eq(context.read(1, index), number)
    return k.select(k.all_of([*conditions, won]), context.read(0, index), zero)


# -- gradients ------------------------------------------------------------------------------


def _take_gradient(
    dy: Node, y: Node, x: Node, at: Node, **attributes: Any
) -> tuple[Node | None, ...]:
    extents = _extents(x.type, len(attributes["kernel"]))
    return apply(WINDOW_PUT, dy, at, extents=extents, **attributes), None


def _put_gradient(
    dy: Node, y: Node, x: Node, at: Node, *, extents: Numbers, **attributes: Any
) -> tuple[Node | None, ...]:
    return apply(WINDOW_TAKE, dy, at, **attributes), None


_WINDOWS = dict.fromkeys(("kernel", "strides", "padding", "dilation", "counts"), Kind.INTEGERS)

WINDOW_ARGMAX = OpDef(
    name="window_argmax",
    operands=("x",),
    attributes=_WINDOWS,
    infer=_argmax_type,
    evaluate=_argmax_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Indexed(_argmax_body),
    cost=per_element(12),
    flags=NO_FLAGS,
)
WINDOW_TAKE = OpDef(
    name="window_take",
    operands=("x", "at"),
    attributes=_WINDOWS,
    infer=_take_type,
    evaluate=_take_value,
    gradient=_take_gradient,
    lowering=Indexed(_take_body),
    cost=per_element(8),
    flags=NO_FLAGS,
)
WINDOW_PUT = OpDef(
    name="window_put",
    operands=("x", "at"),
    attributes={**_WINDOWS, "extents": Kind.INTEGERS},
    infer=_put_type,
    evaluate=rounding_once(_put_value),
    gradient=_put_gradient,
    lowering=Indexed(_put_body),
    cost=per_element(3),
    flags=RECOMPUTABLE,
)


def window_argmax(x: Node, windows: Windows) -> Node:
    """The place of the greatest element of each window."""
    return apply(WINDOW_ARGMAX, x, **vars(windows))


def window_take(x: Node, at: Node, windows: Windows) -> Node:
    """The element of x at that place of each window."""
    return apply(WINDOW_TAKE, x, at, **vars(windows))
