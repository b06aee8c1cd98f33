"""Padding layers: PyTorch's classes over gc.pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gradc.compiler.errors import ArgumentError

from ..functional.neural import pad
from ..functional.windows import check_rank
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from .module import Module

__all__ = [
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
]


class _Pad(Module):
    """Margins around the last axes of [batch, channels, *axes] or [channels, *axes].

    padding   one number for all margins, or two per axis: (left, right, top, bottom, front, back)
    """

    axes: ClassVar[int]
    mode: ClassVar[str] = "constant"
    value: float = 0.0

    def __init__(self, padding: int | Sequence[int]) -> None:
        self.padding = self._margins(padding)

    def _margins(self, padding: int | Sequence[int]) -> tuple[int, ...]:
        """Two margins for each axis."""
        margins = (padding,) * (2 * self.axes) if isinstance(padding, int) else tuple(padding)
        if len(margins) != 2 * self.axes:
            problem = f"padding is one number or {2 * self.axes}, not {len(margins)}"
            fail(ArgumentError, type(self).__name__, problem)
        return margins

    def forward(self, input: Any) -> Tensor:
        """The input with its margins."""
        x = as_tensor(input)
        check_rank(x, self.axes, type(self).__name__)
        return pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        self.padding, self.value = self._margins(padding), value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Margins of `value` around [batch, channels, length]. See gc.pad.

    >>> gc.compile(nn.ConstantPad1d((1, 2), 9.0)([[1.0, 2.0]]))()
    array([[9., 1., 2., 9., 9.]], dtype=float32)
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """Margins of `value` around [batch, channels, height, width]. See gc.pad.

    >>> nn.ConstantPad2d(1, 0.5)(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 10, 10)
    """

    axes = 2


class ConstantPad3d(_ConstantPad):
    """Margins of `value` around [batch, channels, depth, height, width]. See gc.pad.

    >>> nn.ConstantPad3d((1, 1, 0, 0, 2, 2), 0.0)(gc.input("x", ("batch", 3, 4, 4, 4))).shape
    ('batch', 3, 8, 4, 6)
    """

    axes = 3


class ZeroPad1d(_Pad):
    """Margins of zeros around [batch, channels, length]. See gc.pad.

    >>> gc.compile(nn.ZeroPad1d(1)([[1.0, 2.0]]))()
    array([[0., 1., 2., 0.]], dtype=float32)
    """

    axes = 1


class ZeroPad2d(_Pad):
    """Margins of zeros around [batch, channels, height, width]. See gc.pad.

    >>> nn.ZeroPad2d((1, 2, 0, 0))(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 8, 11)
    """

    axes = 2


class ZeroPad3d(_Pad):
    """Margins of zeros around [batch, channels, depth, height, width]. See gc.pad.

    >>> nn.ZeroPad3d(1)(gc.input("x", ("batch", 3, 4, 4, 4))).shape
    ('batch', 3, 6, 6, 6)
    """

    axes = 3


class ReflectionPad1d(_Pad):
    """The elements beside an end, mirrored in the last one, around [batch, channels, length].

    >>> gc.compile(nn.ReflectionPad1d(2)([[1.0, 2.0, 3.0]]))()
    array([[3., 2., 1., 2., 3., 2., 1.]], dtype=float32)
    """

    axes, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """ReflectionPad1d for [batch, channels, height, width]. See gc.pad.

    >>> nn.ReflectionPad2d(1)(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 10, 10)
    """

    axes, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """ReflectionPad1d for [batch, channels, depth, height, width]. See gc.pad.

    >>> nn.ReflectionPad3d(1)(gc.input("x", ("batch", 3, 4, 4, 4))).shape
    ('batch', 3, 6, 6, 6)
    """

    axes, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """The first and the last element again and again, around [batch, channels, length].

    >>> gc.compile(nn.ReplicationPad1d(2)([[1.0, 2.0, 3.0]]))()
    array([[1., 1., 1., 2., 3., 3., 3.]], dtype=float32)
    """

    axes, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """ReplicationPad1d for [batch, channels, height, width]. See gc.pad.

    >>> nn.ReplicationPad2d(1)(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 10, 10)
    """

    axes, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """ReplicationPad1d for [batch, channels, depth, height, width]. See gc.pad.

    >>> nn.ReplicationPad3d(1)(gc.input("x", ("batch", 3, 4, 4, 4))).shape
    ('batch', 3, 6, 6, 6)
    """

    axes, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """The elements of the other end, around [batch, channels, length]. See gc.pad.

    >>> gc.compile(nn.CircularPad1d(1)([[1.0, 2.0, 3.0]]))()
    array([[3., 1., 2., 3., 1.]], dtype=float32)
    """

    axes, mode = 1, "circular"


class CircularPad2d(_Pad):
    """CircularPad1d for [batch, channels, height, width]. See gc.pad.

    >>> nn.CircularPad2d(1)(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 10, 10)
    """

    axes, mode = 2, "circular"


class CircularPad3d(_Pad):
    """CircularPad1d for [batch, channels, depth, height, width]. See gc.pad.

    >>> nn.CircularPad3d(1)(gc.input("x", ("batch", 3, 4, 4, 4))).shape
    ('batch', 3, 6, 6, 6)
    """

    axes, mode = 3, "circular"
