"""Pictures read at computed places: grid_sample and affine_grid, PyTorch's names and formulas.

    input   [batch, channels, height, width], or [batch, channels, depth, height, width]
    grid    [batch, ..., axes]: where to read for each element of the result, x before y before z,
            -1 at the first edge of the picture and 1 at the last

Sources: Jaderberg et al., "Spatial Transformer Networks" (2015); Keys, "Cubic Convolution
Interpolation for Digital Image Processing" (1981), with his a = -0.75 as PyTorch has it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import int64

from .. import nodes
from ..tensor import ShapeLike, Tensor, TensorLike, as_tensor, floating
from ..tracing import fail
from . import elementwise as each
from .gather import take_along_axis
from .windows import extent_along

__all__ = [
    "affine_grid",
    "grid_sample",
]

MODES = ("bilinear", "nearest", "bicubic")
PADDING_MODES = ("zeros", "border", "reflection")

_KEYS = -0.75  # the free number of Keys' cubic


def grid_sample(
    input: TensorLike,
    grid: TensorLike,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """The picture at the places of the grid: [batch, channels, *places].

    grid            [batch, *places, axes], numbers from -1 to 1 over the picture, x first
    mode            "bilinear" between the nearest elements (of five axes: trilinear), "nearest", or
                    "bicubic" (of four axes)
    padding_mode    what lies beyond the edge: "zeros", "border" (the nearest element), "reflection"
    align_corners   -1 and 1 are the centres of the outermost elements, not their outer edges

    Differentiable in both tensors; "nearest" is constant in the grid. The result has the input's
    dtype.

    Raises ShapeError unless the grid has a batch like the input's and as many numbers for a place
    as the picture has axes; ArgumentError for another mode.

        gc.grid_sample(images, gc.affine_grid(theta, images.shape))

    >>> picture = gc.input("picture", ("batch", 3, 8, 8))
    >>> gc.grid_sample(picture, gc.input("grid", ("batch", 5, 5, 2))).shape
    ('batch', 3, 5, 5)
    """
    x, places = floating(input), floating(grid)
    _check_choice("mode", mode, MODES)
    _check_choice("padding_mode", padding_mode, PADDING_MODES)
    axes = x.ndim - 2
    wrong_axes = axes not in (2, 3) or places.ndim != x.ndim or places.shape[-1] != axes
    if wrong_axes or places.shape[0] != x.shape[0]:
        facts = [f"input is {x.node.type}, grid {places.node.type}"]
        problem = "input is [batch, channels, *extents], grid [batch, *places, axes]"
        fail(ShapeError, "grid_sample", problem, facts)
    if mode == "bicubic" and axes != 2:
        fail(ArgumentError, "grid_sample", "bicubic is for pictures of two axes")
    extents = [extent_along(x, axis, "grid_sample") for axis in range(2, x.ndim)]
    read = [
        _in_elements(places[..., axes - 1 - axis], extent, align_corners)
        for axis, extent in enumerate(extents)
    ]
    return sampled(x, read, mode, padding_mode, align_corners)


def affine_grid(theta: TensorLike, size: ShapeLike, align_corners: bool = False) -> Tensor:
    """The grid that reads at theta times each place of the result, for grid_sample.

    theta   [batch, 2, 3] for a size [batch, channels, height, width], or [batch, 3, 4] for one with
            depth: from places (x, y, 1) of the result to those of the picture
    size    of the result

    The grid is [batch, *extents, axes]. The identity is [[1, 0, 0], [0, 1, 0]].

    >>> identity = gc.constant([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> gc.compile(gc.affine_grid(identity, (1, 1, 2, 2), align_corners=True))()[0, 0]
    array([[-1., -1.],
           [ 1., -1.]], dtype=float32)
    """
    matrix, shape = floating(theta), nodes.check_shape(size, "affine_grid")
    axes = len(shape) - 2
    if axes not in (2, 3) or matrix.shape != (shape[0], axes, axes + 1):
        facts = [f"theta is {matrix.node.type}, size {tuple(shape)}"]
        problem = "theta is [batch, axes, axes + 1] for a size [batch, channels, *extents]"
        fail(ShapeError, "affine_grid", problem, facts)
    extents = [int(extent) for extent in shape[2:]]
    lines = [_centres(extent, align_corners) for extent in reversed(extents)]
    meshed = np.meshgrid(*reversed(lines), indexing="ij")
    base = np.stack([*reversed(meshed), np.ones(extents)], axis=-1).reshape(-1, axes + 1)
    moved = as_tensor(base.astype(matrix.dtype.numpy)) @ matrix.mT  # [batch, places, axes]
    return moved.reshape((matrix.shape[0], *extents, axes))


def _centres(extent: int, align_corners: bool) -> np.ndarray:
    """Of the elements of an axis, between -1 and 1."""
    if extent == 1:
        return np.zeros(1)
    last = 1.0 if align_corners else 1.0 - 1.0 / extent
    return np.linspace(-last, last, extent)


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        facts = [f"known: {', '.join(known)}"]
        fail(ArgumentError, "grid_sample", f"there is no {name} {value!r}", facts)


def _in_elements(place: Tensor, extent: int, align_corners: bool) -> Tensor:
    """From -1 to 1 over the picture to numbers of elements, whole at their centres."""
    if align_corners:
        return (place + 1) * (0.5 * (extent - 1))
    return ((place + 1) * extent - 1) * 0.5


def sampled(
    x: Tensor,
    places: Sequence[Tensor],
    mode: str,
    padding_mode: str,
    align_corners: bool = False,
) -> Tensor:
    """grid_sample with places counted in elements: one tensor [batch, *places] for each axis."""
    extents = [int(extent) for extent in x.shape[2:]]
    moved: Callable[[Tensor, int], Tensor] = functools.partial(
        _brought_inside, padding_mode=padding_mode, align_corners=align_corners
    )
    if mode == "bicubic":
        taps = [_cubic_taps(place) for place in places]
        taps = [
            [(moved(at, extent), weight) for at, weight in along]
            for along, extent in zip(taps, extents, strict=True)
        ]
    else:
        inside = [moved(place, extent) for place, extent in zip(places, extents, strict=True)]
        taps = [[(each.round(p), None)] if mode == "nearest" else _linear_taps(p) for p in inside]
    flat = x.reshape((*x.shape[:2], math.prod(extents)))
    batch, out = places[0].shape[0], [int(n) for n in places[0].shape[1:]]
    total: Tensor | None = None
    for corner in itertools.product(*taps):
        value = _read(flat, extents, [at for at, _ in corner], padding_mode == "zeros")
        for _, weight in corner:
            if weight is not None:
                value = value * weight.reshape((batch, 1, math.prod(out)))
        total = value if total is None else total + value
    assert total is not None
    return total.reshape((*x.shape[:2], *out)).astype(x.dtype)


_Taps = list[tuple[Tensor, Tensor | None]]


def _linear_taps(place: Tensor) -> _Taps:
    """The two elements around a place, and what each counts."""
    low = each.floor(place)
    part = place - low
    return [(low, 1 - part), (low + 1, part)]


def _cubic_taps(place: Tensor) -> _Taps:
    """The four elements around a place, and what each counts: Keys, equation 4."""
    low = each.floor(place)
    part = place - low

    def near(d: Tensor) -> Tensor:
        return ((_KEYS + 2) * d - (_KEYS + 3)) * d * d + 1

    def far(d: Tensor) -> Tensor:
        return ((_KEYS * d - 5 * _KEYS) * d + 8 * _KEYS) * d - 4 * _KEYS

    weights = (far(part + 1), near(part), near(1 - part), far(2 - part))
    return [(low + (i - 1), weight) for i, weight in enumerate(weights)]


def _brought_inside(place: Tensor, extent: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Where a place is read: where it is, at the border, or at its image in a mirror there."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        first, span = (0.0, extent - 1.0) if align_corners else (-0.5, float(extent))
        if span == 0.0:
            return place * 0
        away = each.abs(place - first)
        back = away % (2 * span)
        place = each.minimum(back, 2 * span - back) + first
    return each.clip(place, 0, extent - 1)


def _read(flat: Tensor, extents: Sequence[int], at: Sequence[Tensor], zeros: bool) -> Tensor:
    """The elements at whole places, [batch, channels, places]; 0 beyond the edges if `zeros`."""
    number: Tensor | None = None
    inside: Tensor | None = None
    for place, extent in zip(at, extents, strict=True):
        whole = each.clip(place, 0, extent - 1).astype(int64)
        number = whole if number is None else number * extent + whole
        within = (place >= 0) & (place <= extent - 1)
        inside = within if inside is None else inside & within
    assert number is not None and inside is not None
    shape = (number.shape[0], 1, math.prod(int(n) for n in number.shape[1:]))
    value = take_along_axis(flat, number.reshape(shape), axis=2)
    return each.where(inside.reshape(shape), value, 0) if zeros else value
