"""Pooling layers: PyTorch's classes over the functions of the same meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .. import functional
from ..functional.windows import output_sizes, per_axis
from .module import Module

__all__ = [
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
]

_LEAST = {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0}


class _Windowed(Module):
    """A function of what it is given and of options, which are attributes."""

    function: ClassVar[Callable[..., Any]]
    axes: ClassVar[int]
    options: ClassVar[tuple[str, ...]]  # in the order in which text shows them

    def _keep(self, **options: Any) -> None:
        """Set the attributes. Raises ArgumentError for extents and steps that are too small."""
        for name, value in options.items():
            if name in _LEAST and value is not None:
                per_axis(value, name, self.axes, type(self).__name__, _LEAST[name])
            setattr(self, name, value)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.options)


class _Pool(_Windowed):
    def forward(self, input: Any) -> Any:
        """The pooled input."""
        options = {name: getattr(self, name) for name in self.options}
        return type(self).function(input, **options)


class _MaxPool(_Pool):
    options = ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: Sequence[int] | int | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self._keep(kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation)
        self._keep(return_indices=return_indices, ceil_mode=ceil_mode)


class MaxPool1d(_MaxPool):
    """The greatest element of each window. See gc.max_pool1d.

    >>> gc.compile(nn.MaxPool1d(2)([[1.0, 4.0, 3.0, 2.0]]))()
    array([[4., 3.]], dtype=float32)
    """

    function, axes = staticmethod(functional.max_pool1d), 1


class MaxPool2d(_MaxPool):
    """The greatest element of each window. See gc.max_pool2d.

    >>> nn.MaxPool2d(2)(gc.input("x", ("batch", 3, 32, 32))).shape
    ('batch', 3, 16, 16)
    """

    function, axes = staticmethod(functional.max_pool2d), 2


class MaxPool3d(_MaxPool):
    """The greatest element of each window. See gc.max_pool3d.

    >>> nn.MaxPool3d(2)(gc.input("x", ("batch", 3, 8, 8, 8))).shape
    ('batch', 3, 4, 4, 4)
    """

    function, axes = staticmethod(functional.max_pool3d), 3


class _MaxUnpool(_Windowed):
    options = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: Sequence[int] | int | None = None,
        padding: int | Sequence[int] = 0,
    ) -> None:
        self._keep(kernel_size=kernel_size, stride=stride, padding=padding)

    def forward(self, input: Any, indices: Any, output_size: Any = None) -> Any:
        """The values where they were, among zeros; extents as the pool had them, or as given."""
        options = {name: getattr(self, name) for name in self.options}
        return type(self).function(input, indices, **options, output_size=output_size)


class MaxUnpool1d(_MaxUnpool):
    """What a max pool took, where it was. See gc.max_unpool1d.

    >>> values, indices = nn.MaxPool1d(2, return_indices=True)(gc.constant([[1.0, 4.0, 3.0, 2.0]]))
    >>> gc.compile(nn.MaxUnpool1d(2)(values, indices))()
    array([[0., 4., 3., 0.]], dtype=float32)
    """

    function, axes = staticmethod(functional.max_unpool1d), 1


class MaxUnpool2d(_MaxUnpool):
    """What a max pool took, where it was. See gc.max_unpool2d.

    >>> values, indices = nn.MaxPool2d(2, return_indices=True)(gc.input("x", ("batch", 3, 8, 8)))
    >>> nn.MaxUnpool2d(2)(values, indices).shape
    ('batch', 3, 8, 8)
    """

    function, axes = staticmethod(functional.max_unpool2d), 2


class MaxUnpool3d(_MaxUnpool):
    """What a max pool took, where it was. See gc.max_unpool3d.

    >>> values, indices = nn.MaxPool3d(2, return_indices=True)(gc.input("x", ("batch", 3, 4, 4, 4)))
    >>> nn.MaxUnpool3d(2)(values, indices).shape
    ('batch', 3, 4, 4, 4)
    """

    function, axes = staticmethod(functional.max_unpool3d), 3


class AvgPool1d(_Pool):
    """The mean of each window. See gc.avg_pool1d.

    >>> gc.compile(nn.AvgPool1d(2)([[1.0, 4.0, 3.0, 2.0]]))()
    array([[2.5, 2.5]], dtype=float32)
    """

    function, axes = staticmethod(functional.avg_pool1d), 1
    options = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: Sequence[int] | int | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self._keep(kernel_size=kernel_size, stride=stride, padding=padding)
        self._keep(ceil_mode=ceil_mode, count_include_pad=count_include_pad)


class _AvgPool(_Pool):
    options = (
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
    )  # fmt: skip

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: Sequence[int] | int | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        self._keep(kernel_size=kernel_size, stride=stride, padding=padding)
        self._keep(ceil_mode=ceil_mode, count_include_pad=count_include_pad)
        self._keep(divisor_override=divisor_override)


class AvgPool2d(_AvgPool):
    """The mean of each window. See gc.avg_pool2d.

    >>> nn.AvgPool2d(3, stride=2, padding=1)(gc.input("x", ("batch", 3, 32, 32))).shape
    ('batch', 3, 16, 16)
    """

    function, axes = staticmethod(functional.avg_pool2d), 2


class AvgPool3d(_AvgPool):
    """The mean of each window. See gc.avg_pool3d.

    >>> nn.AvgPool3d(2)(gc.input("x", ("batch", 3, 8, 8, 8))).shape
    ('batch', 3, 4, 4, 4)
    """

    function, axes = staticmethod(functional.avg_pool3d), 3


class _LPPool(_Pool):
    options = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(
        self,
        norm_type: float,
        kernel_size: int | Sequence[int],
        stride: Sequence[int] | int | None = None,
        ceil_mode: bool = False,
    ) -> None:
        self._keep(norm_type=norm_type, kernel_size=kernel_size, stride=stride)
        self._keep(ceil_mode=ceil_mode)


class LPPool1d(_LPPool):
    """The power mean of each window, as a sum. See gc.lp_pool1d.

    >>> gc.compile(nn.LPPool1d(2, 2)([[3.0, 4.0, 5.0, 12.0]]))()
    array([[ 5., 13.]], dtype=float32)
    """

    function, axes = staticmethod(functional.lp_pool1d), 1


class LPPool2d(_LPPool):
    """The power mean of each window, as a sum. See gc.lp_pool2d.

    >>> nn.LPPool2d(2, 2)(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 4, 4)
    """

    function, axes = staticmethod(functional.lp_pool2d), 2


class LPPool3d(_LPPool):
    """The power mean of each window, as a sum. See gc.lp_pool3d.

    >>> nn.LPPool3d(2, 2)(gc.input("x", ("batch", 3, 8, 8, 8))).shape
    ('batch', 3, 4, 4, 4)
    """

    function, axes = staticmethod(functional.lp_pool3d), 3


class _AdaptiveAvgPool(_Pool):
    options = ("output_size",)

    def __init__(self, output_size: Any) -> None:
        output_sizes(output_size, self.axes, type(self).__name__)
        self.output_size = output_size


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of output_size windows. See gc.adaptive_avg_pool1d.

    >>> gc.compile(nn.AdaptiveAvgPool1d(2)([[1.0, 3.0, 5.0, 7.0]]))()
    array([[2., 6.]], dtype=float32)
    """

    function, axes = staticmethod(functional.adaptive_avg_pool1d), 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of output_size windows. See gc.adaptive_avg_pool2d.

    >>> nn.AdaptiveAvgPool2d(1)(gc.input("x", ("batch", 64, 7, 7))).shape
    ('batch', 64, 1, 1)
    """

    function, axes = staticmethod(functional.adaptive_avg_pool2d), 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of output_size windows. See gc.adaptive_avg_pool3d.

    >>> nn.AdaptiveAvgPool3d((1, 2, 2))(gc.input("x", ("batch", 3, 8, 8, 8))).shape
    ('batch', 3, 1, 2, 2)
    """

    function, axes = staticmethod(functional.adaptive_avg_pool3d), 3


class _AdaptiveMaxPool(_Pool):
    options = ("output_size", "return_indices")

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        output_sizes(output_size, self.axes, type(self).__name__)
        self.output_size, self.return_indices = output_size, return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The greatest element of each of output_size windows. See gc.adaptive_max_pool1d.

    >>> gc.compile(nn.AdaptiveMaxPool1d(2)([[1.0, 3.0, 7.0, 5.0]]))()
    array([[3., 7.]], dtype=float32)
    """

    function, axes = staticmethod(functional.adaptive_max_pool1d), 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The greatest element of each of output_size windows. See gc.adaptive_max_pool2d.

    >>> nn.AdaptiveMaxPool2d((5, 7))(gc.input("x", ("batch", 64, 8, 9))).shape
    ('batch', 64, 5, 7)
    """

    function, axes = staticmethod(functional.adaptive_max_pool2d), 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The greatest element of each of output_size windows. See gc.adaptive_max_pool3d.

    >>> nn.AdaptiveMaxPool3d(2)(gc.input("x", ("batch", 3, 8, 8, 8))).shape
    ('batch', 3, 2, 2, 2)
    """

    function, axes = staticmethod(functional.adaptive_max_pool3d), 3
