"""Convolutions and transposed convolutions along one to three axes, with PyTorch's arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.types import float32

from .. import init
from ..arguments import wholes
from ..functional import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    pad,
)
from ..functional.convolution import Numbers, each_axis, margins_of
from ..ranges import WholeNumber, count
from ..tensor import Tensor, as_tensor
from ..tracing import fail, located
from ..variables import Beginning, parameter
from .module import Module

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate",
                 "circular": "circular"}  # fmt: skip


class _Windows(Module):
    """What both families hold: options, one number for each axis, and parameters.

    spatial   the number of spatial axes
    """

    spatial = 0
    transposed = False

    def _declare(
        self, channels: tuple[Any, Any], kernel_size: Any, stride: Any, dilation: Any, groups: Any
    ) -> None:
        """The options that both take."""
        name, spatial = type(self).__name__, self.spatial
        self.in_channels = count(channels[0], "in_channels", name)
        self.out_channels = count(channels[1], "out_channels", name)
        self.groups = count(groups, "groups", name)
        self.kernel_size = each_axis(kernel_size, "kernel_size", spatial, name, 1)
        self.stride = each_axis(stride, "stride", spatial, name, 1)
        self.dilation = each_axis(dilation, "dilation", spatial, name, 1)
        for what in ("in_channels", "out_channels"):
            if getattr(self, what) % self.groups:
                problem = f"{what} {getattr(self, what)} do not split into {self.groups} groups"
                fail(ArgumentError, name, problem)

    def _begin(self, bias: bool, dtype: Any, weight_init: Any, bias_init: Any) -> None:
        """The parameters, with PyTorch's first values: of bias, fan_in is that of the weight."""
        first, second = self.in_channels, self.out_channels
        if not self.transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        by_default = init.kaiming_uniform(a=math.sqrt(5.0))
        weight_init = by_default if weight_init is None else weight_init
        self.weight = parameter("weight", shape, dtype, weight_init)
        self.bias = None
        if bias:
            bound = 1.0 / math.sqrt(math.prod(shape[1:]))
            bias_init = init.uniform(-bound, bound) if bias_init is None else bias_init
            self.bias = parameter("bias", (self.out_channels,), dtype, bias_init)

    def extra_repr(self) -> str:
        ones, zeros = (1,) * self.spatial, (0,) * self.spatial
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        for name, usual in (
            ("padding", zeros), ("output_padding", zeros), ("dilation", ones), ("groups", 1),
            ("padding_mode", "zeros"),
        ):  # fmt: skip
            value = getattr(self, name, usual)
            text += "" if value == usual else f", {name}={value!r}"
        return text + ("" if self.bias is not None else ", bias=False")


class _Convolution(_Windows):
    """The layer of conv1d, conv2d or conv3d."""

    def __init__(
        self,
        in_channels: WholeNumber,
        out_channels: WholeNumber,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: WholeNumber = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self._declare((in_channels, out_channels), kernel_size, stride, dilation, groups)
        name = type(self).__name__
        if padding_mode not in PADDING_MODES:
            problem = f"padding_mode is one of {', '.join(PADDING_MODES)}, not {padding_mode!r}"
            fail(ArgumentError, name, problem)
        self.padding_mode = padding_mode
        options = self.kernel_size, self.stride, self.dilation
        self._margins = margins_of(padding, *options, name)
        if not isinstance(padding, str):
            padding = each_axis(padding, "padding", self.spatial, name, 0)
        self.padding = padding
        self._begin(bias, dtype, weight_init, bias_init)

    def forward(self, input: Any) -> Tensor:
        """input [batch, in_channels, *spatial] to [batch, out_channels, *places]; batch or none."""
        x = as_tensor(input)
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            margins = [n for pair in reversed(self._margins) for n in pair]
            x, padding = pad(x, margins, mode=PADDING_MODES[self.padding_mode]), 0
        function = (conv1d, conv2d, conv3d)[self.spatial - 1]
        options = self.stride, padding, self.dilation, self.groups
        return function(x, self.weight, self.bias, *options)


class Conv1d(_Convolution):
    """conv1d with trained weight and bias: [batch, in, length] to [batch, out, length'].

    See Conv2d for its options and its parameters, which have one spatial axis here.

    >>> nn.Conv1d(4, 8, kernel_size=5)(gc.input("x", ("batch", 4, 100))).shape
    ('batch', 8, 96)
    """

    spatial = 1


class Conv2d(_Convolution):
    """conv2d with trained weight and bias: [batch, in, height, width] to [batch, out, ...].

    weight  [out_channels, in_channels / groups, *kernel_size]   kaiming_uniform(a=sqrt(5)):
            +-1/sqrt(fan_in), fan_in = in_channels / groups * prod(kernel_size)
    bias    [out_channels]                                       uniform in +-1/sqrt(fan_in)

    kernel_size, stride, dilation   one number, or one for each spatial axis
    padding        numbers, "same" or "valid": what is put on both sides of each axis
    padding_mode   "zeros", "reflect", "replicate" or "circular": what that is

        nn.Conv2d(3, 16, 3, padding="same")

    >>> nn.Conv2d(3, 16, 3, padding=1)(gc.input("x", ("batch", 3, 32, 32))).shape
    ('batch', 16, 32, 32)
    >>> nn.Conv2d(3, 16, 3, stride=2, padding=1)(gc.input("x", ("batch", 3, 32, 32))).shape
    ('batch', 16, 16, 16)
    """

    spatial = 2


class Conv3d(_Convolution):
    """conv3d with trained weight and bias: [batch, in, depth, height, width] to [batch, out, ...].

    See Conv2d for its options and its parameters, which have three spatial axes here.

    >>> nn.Conv3d(1, 8, 3, padding="same")(gc.input("x", ("batch", 1, 8, 8, 8))).shape
    ('batch', 8, 8, 8, 8)
    """

    spatial = 3


class _TransposedConvolution(_Windows):
    """The layer of conv_transpose1d, conv_transpose2d or conv_transpose3d."""

    transposed = True

    def __init__(
        self,
        in_channels: WholeNumber,
        out_channels: WholeNumber,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: WholeNumber = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        padding_mode: str = "zeros",
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self._declare((in_channels, out_channels), kernel_size, stride, dilation, groups)
        name, spatial = type(self).__name__, self.spatial
        if padding_mode != "zeros":
            problem = f"padding_mode is 'zeros' for a transposed convolution, not {padding_mode!r}"
            fail(ArgumentError, name, problem)
        self.padding = each_axis(padding, "padding", spatial, name, 0)
        self.output_padding = each_axis(output_padding, "output_padding", spatial, name, 0)
        self._begin(bias, dtype, weight_init, bias_init)

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Tensor:
        """input [batch, in_channels, *spatial] to [batch, out_channels, *spatial']; batch or none.

        output_size   the spatial extents of the result, or all of its shape, instead of
                      output_padding: where the stride is not 1, several are possible
        """
        x = as_tensor(input)
        more = self.output_padding if output_size is None else self._more(x, output_size)
        function = (conv_transpose1d, conv_transpose2d, conv_transpose3d)[self.spatial - 1]
        options = self.stride, self.padding, more, self.groups, self.dilation
        return function(x, self.weight, self.bias, *options)

    def _more(self, x: Tensor, output_size: Any) -> Numbers:
        """The output_padding that gives these extents, or the shape that ends in them."""
        name, spatial = type(self).__name__, self.spatial
        own = x.shape[max(x.ndim - spatial, 0) :]
        if x.ndim <= spatial or any(isinstance(extent, str) for extent in own):
            return self.output_padding  # the function refuses such an image, and says why
        if isinstance(output_size, (tuple, list)) and len(output_size) == x.ndim:
            output_size = output_size[x.ndim - spatial :]  # a shape, behind batch and channels
        with located(name):
            wanted = wholes("output_size", output_size)
        sides = zip(own, self.kernel_size, self.stride, self.dilation, self.padding, strict=True)
        least = [
            (int(extent) - 1) * stride + step * (points - 1) + 1 - 2 * cut
            for extent, points, stride, step, cut in sides
        ]
        if len(wanted) != spatial or any(
            not low <= size < low + stride
            for size, low, stride in zip(wanted, least, self.stride, strict=True)
        ):
            most = [low + stride - 1 for low, stride in zip(least, self.stride, strict=True)]
            problem = f"output_size lies between {least} and {most}, not {described(output_size)}"
            fail(ShapeError, name, problem, [f"input is {x.node.type}"])
        return tuple(size - low for size, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_TransposedConvolution):
    """conv_transpose1d with trained weight and bias: [batch, in, length] to [batch, out, ...].

    See ConvTranspose2d for its options and its parameters, which have one spatial axis here.

    >>> nn.ConvTranspose1d(8, 4, 4, stride=2, padding=1)(gc.input("x", ("batch", 8, 50))).shape
    ('batch', 4, 100)
    """

    spatial = 1


class ConvTranspose2d(_TransposedConvolution):
    """conv_transpose2d with trained weight and bias: [batch, in, height, width] to [batch, out...].

    weight  [in_channels, out_channels / groups, *kernel_size]   kaiming_uniform(a=sqrt(5)):
            +-1/sqrt(fan_in), fan_in = out_channels / groups * prod(kernel_size), as in PyTorch
    bias    [out_channels]                                       uniform in +-1/sqrt(fan_in)

    output_padding   rows and columns more at the end of the result, fewer than stride or dilation

        nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)

    >>> nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)(gc.input("x", ("batch", 8, 16, 16))).shape
    ('batch', 3, 32, 32)
    """

    spatial = 2


class ConvTranspose3d(_TransposedConvolution):
    """conv_transpose3d with trained weight and bias: [batch, in, depth, height, width] to...

    See ConvTranspose2d for its options and its parameters, which have three spatial axes here.

    >>> nn.ConvTranspose3d(8, 1, 2, stride=2)(gc.input("x", ("batch", 8, 4, 4, 4))).shape
    ('batch', 1, 8, 8, 8)
    """

    spatial = 3
