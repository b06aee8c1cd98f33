"""Convolutions with PyTorch's names, arguments and formulas: padding, one record, bias.

A convolution here is what neural networks call one: a correlation, the window is not turned round.
Channels stand behind the batch; an image without a batch has its channels first.
Source of the formulas: torch.nn.functional (PyTorch 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.convolution import CONV_GENERAL, conv_input
from gradc.compiler.types import Extent, Shape

from .. import nodes
from ..dimensions import refuse_named
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail, located
from .neural import pad

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]

Numbers: TypeAlias = tuple[int, ...]
SPATIAL = ("length",), ("height", "width"), ("depth", "height", "width")
"""What the axes of an image are called, by their number."""


def conv1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """conv2d along one axis: input [batch, in, length], weight [out, in / groups, length].

    >>> gc.compile(gc.conv1d([[1.0, 2.0, 4.0, 8.0]], [[[-1.0, 1.0]]]))()
    array([[1., 2., 4.]], dtype=float32)
    """
    return _convolved("conv1d", 1, (input, weight, bias), (stride, padding, dilation, groups))


def conv2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Windows of the input, times the weight, summed: y[o, r] = sum w[o, c, q] x[c, r s + q d] + b.

    input    [batch, in, height, width], or one image without a batch
    weight   [out, in / groups, height, width]
    bias     [out]
    stride   from one place of the window to the next; each of stride, padding and dilation is a
             number for all axes or one for each
    padding  zeros on both sides of an axis; "valid": none, "same": as many as keep the extents at
             stride 1, an odd one at the end
    dilation from one element of the input to the next that a window reads
    groups   into which channels are split: outputs of a group read inputs of the same alone

    The result is [batch, out, height', width'] with height' = (height + 2 padding - dilation *
    (height of the window - 1) - 1) // stride + 1. Raises ShapeError where channels, groups and
    extents do not fit. Sums go over the window first, then over its channels.

    >>> x, w = gc.input("x", ("batch", 3, 32, 32)), gc.input("w", (16, 3, 3, 3))
    >>> gc.conv2d(x, w, padding=1).shape
    ('batch', 16, 32, 32)
    """
    return _convolved("conv2d", 2, (input, weight, bias), (stride, padding, dilation, groups))


def conv3d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """conv2d along three axes: input [batch, in, depth, height, width].

    >>> x, w = gc.input("x", ("batch", 1, 8, 8, 8)), gc.input("w", (4, 1, 3, 3, 3))
    >>> gc.conv3d(x, w, padding="same").shape
    ('batch', 4, 8, 8, 8)
    """
    return _convolved("conv3d", 3, (input, weight, bias), (stride, padding, dilation, groups))


def conv_transpose1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """conv_transpose2d along one axis.

    >>> gc.compile(gc.conv_transpose1d([[1.0, 2.0]], [[[1.0, 1.0, 1.0]]], stride=2))()
    array([[1., 1., 3., 2., 2.]], dtype=float32)
    """
    options = stride, padding, output_padding, groups, dilation
    return _transposed("conv_transpose1d", 1, (input, weight, bias), options)


def conv_transpose2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """The transpose of conv2d, and so its gradient for the input: every element spreads a window.

    input    [batch, in, height, width], or one image without a batch
    weight   [in, out / groups, height, width]
    bias     [out]
    padding  rows and columns left away on both sides of the result
    output_padding   rows and columns more at the end of the result, fewer than stride or dilation

    The result is [batch, out, height', width'] with height' = (height - 1) stride - 2 padding +
    dilation * (height of the window - 1) + output_padding + 1. Raises ShapeError where channels,
    groups and extents do not fit.

    >>> x, w = gc.input("x", ("batch", 8, 16, 16)), gc.input("w", (8, 3, 4, 4))
    >>> gc.conv_transpose2d(x, w, stride=2, padding=1).shape
    ('batch', 3, 32, 32)
    """
    options = stride, padding, output_padding, groups, dilation
    return _transposed("conv_transpose2d", 2, (input, weight, bias), options)


def conv_transpose3d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """conv_transpose2d along three axes.

    >>> x, w = gc.input("x", ("batch", 8, 4, 4, 4)), gc.input("w", (8, 1, 2, 2, 2))
    >>> gc.conv_transpose3d(x, w, stride=2).shape
    ('batch', 1, 8, 8, 8)
    """
    options = stride, padding, output_padding, groups, dilation
    return _transposed("conv_transpose3d", 3, (input, weight, bias), options)


# ---------------------------------------------------------------- options


def each_axis(value: Any, name: str, spatial: int, operation: str, least: int) -> Numbers:
    """One integer of at least `least` for every spatial axis, from one for all or one for each.

    One for all may stand in a list or tuple.
    """
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(numbers) == 1:
        numbers *= spatial
    if len(numbers) != spatial:
        axes = ", ".join(SPATIAL[spatial - 1])
        problem = f"{name} is one integer or one for each of {axes}, not {described(value)}"
        fail(ArgumentError, operation, problem)
    if min(numbers) < least:
        problem = f"{name} is an integer of at least {least}, not {described(value)}"
        fail(ArgumentError, operation, problem)
    return numbers


def margins_of(
    padding: Any, window: Numbers, stride: Numbers, dilation: Numbers, operation: str
) -> list[tuple[int, int]]:
    """What is put before and after each spatial axis."""
    if not isinstance(padding, str):
        return [(n, n) for n in each_axis(padding, "padding", len(window), operation, 0)]
    if padding == "valid":
        return [(0, 0)] * len(window)
    if padding != "same":
        fail(ArgumentError, operation, f"padding is 'valid', 'same' or integers, not {padding!r}")
    if any(step != 1 for step in stride):
        fail(ArgumentError, operation, f"padding 'same' needs stride 1, not {described(stride)}")
    more = [step * (points - 1) for points, step in zip(window, dilation, strict=True)]
    return [(total // 2, total - total // 2) for total in more]


# ---------------------------------------------------------------- operands


class _Operands:
    """Image and weight of a call, in one dtype, with a batch axis and, if there are any, groups.

    sides  (axis of the weight, its name) of inputs and outputs
    """

    def __init__(
        self, operation: str, spatial: int, given: Sequence[Any], groups: int, sides: Sequence[int]
    ) -> None:
        self.operation, self.spatial, self.groups = operation, spatial, groups
        self.image, self.weight = as_tensor(given[0]), as_tensor(given[1])
        self.bias = None if given[2] is None else as_tensor(given[2])
        with located(operation):
            x, w = nodes.common(self.image.node, self.weight.node)
        self.facts = [f"input is {self.image.node.type}, weight {self.weight.node.type}"]
        self._check_ranks(x, w)
        self.is_batched = x.type.rank == spatial + 2
        x = x if self.is_batched else nodes.reshape(x, (1, *x.type.shape))
        self.inputs, self.outputs = self._channels(x, w, *sides)
        self._check_bias()
        self.x, self.w = x, w

    @property
    def window(self) -> Numbers:
        return self.w.type.shape[2:]  # type: ignore[return-value]

    def split(self) -> tuple[Node, Node]:
        """Both with an axis of groups where there are several."""
        if self.groups == 1:
            return self.x, self.w
        (batch, _, *image), (rows, columns, *window) = self.x.type.shape, self.w.type.shape
        per_group = int(rows) // self.groups
        return (
            nodes.reshape(self.x, (batch, self.groups, self.inputs // self.groups, *image)),
            nodes.reshape(self.w, (self.groups, per_group, columns, *window)),
        )

    def result(self, node: Node) -> Tensor:
        """The sums with the bias, as the caller sees them."""
        found = derive(node, self.image, self.weight)
        if self.bias is not None:
            own = self.outputs // self.groups
            shape = (own,) if self.groups == 1 else (self.groups, own)
            found = found + self.bias.reshape((*shape, *(1,) * self.spatial))
        batch, places = node.type.shape[0], node.type.shape[node.type.rank - self.spatial :]
        first: Shape = (batch,) if self.is_batched else ()
        return found.reshape((*first, self.outputs, *places))

    def _check_ranks(self, x: Node, w: Node) -> None:
        axes = ", ".join(SPATIAL[self.spatial - 1])
        if x.type.rank not in (self.spatial + 1, self.spatial + 2):
            problem = f"the input is [batch, channels, {axes}], or that without batch"
            fail(ShapeError, self.operation, problem, self.facts)
        if w.type.rank != self.spatial + 2:
            fail(ShapeError, self.operation, f"the weight has {self.spatial + 2} axes", self.facts)
        for extent in w.type.shape:
            if isinstance(extent, str):
                fail(ShapeError, self.operation, "the weight has a named dimension", self.facts)
        for axis, extent in enumerate(x.type.shape[x.type.rank - self.spatial - 1 :]):
            if isinstance(extent, str):
                refuse_named(self.operation, axis + x.type.rank - self.spatial - 1, extent)

    def _channels(self, x: Node, w: Node, of_input: int, of_output: int) -> tuple[int, int]:
        """The numbers of channels that go in and come out."""
        if self.groups < 1:
            problem = f"groups is an integer of at least 1, not {described(self.groups)}"
            fail(ArgumentError, self.operation, problem)
        found: Extent = x.type.shape[1]
        own: list[Any] = [*w.type.shape[:2]]
        own[1] *= self.groups
        inputs, outputs = own[of_input], own[of_output]
        if found != inputs:
            per = f" in {self.groups} groups" if self.groups > 1 else ""
            problem = f"input has {_channels(found)}, the weight reads {inputs}{per}"
            hint = self._hint_at_channels_last(x, inputs)
            fail(ShapeError, self.operation, problem, self.facts, hint)
        if own[0] % self.groups:
            what = "outputs" if of_output == 0 else "input channels"
            problem = f"{own[0]} {what} do not split into {self.groups} groups"
            fail(ShapeError, self.operation, problem, self.facts)
        return inputs, outputs

    def _hint_at_channels_last(self, x: Node, inputs: int) -> str:
        """Advice for images whose channels stand behind their places."""
        if x.type.shape[-1] != inputs:
            return ""
        axes = list(range(self.image.ndim))
        first = len(axes) - self.spatial - 1
        order = [*axes[:first], axes[-1], *axes[first:-1]]
        return f"the last axis has {inputs}: x.permute({', '.join(map(str, order))}) is meant"

    def _check_bias(self) -> None:
        if self.bias is not None and self.bias.shape != (self.outputs,):
            facts = [*self.facts, f"bias is {self.bias.node.type}"]
            problem = f"bias has not one number for each of {_channels(self.outputs)}"
            fail(ShapeError, self.operation, problem, facts)


def _channels(number: Extent) -> str:
    return f"{number} channel{'' if number == 1 else 's'}"


# ---------------------------------------------------------------- the two families


def _convolved(
    operation: str, spatial: int, given: Sequence[Any], options: Sequence[Any]
) -> Tensor:
    stride, padding, dilation, groups = options
    strides = each_axis(stride, "stride", spatial, operation, 1)
    steps = each_axis(dilation, "dilation", spatial, operation, 1)
    operands = _Operands(operation, spatial, given, groups, (1, 0))
    margins = margins_of(padding, operands.window, strides, steps, operation)
    x, w = operands.split()
    padded = pad(derive(x, operands.image), [n for pair in reversed(margins) for n in pair])
    with located(operation):
        node = nodes.build(CONV_GENERAL, padded.node, w, strides=strides, dilation=steps)
    return operands.result(node)


def _transposed(
    operation: str, spatial: int, given: Sequence[Any], options: Sequence[Any]
) -> Tensor:
    stride, padding, output_padding, groups, dilation = options
    strides = each_axis(stride, "stride", spatial, operation, 1)
    cut = each_axis(padding, "padding", spatial, operation, 0)
    more = each_axis(output_padding, "output_padding", spatial, operation, 0)
    steps = each_axis(dilation, "dilation", spatial, operation, 1)
    for extra, apart, step in zip(more, strides, steps, strict=True):
        if extra >= max(apart, step):
            problem = "output_padding is less than stride or dilation, "
            problem += f"not {described(output_padding)}"
            facts = [f"strides {nodes.show(strides)}, dilation {nodes.show(steps)}"]
            fail(ArgumentError, operation, problem, facts)
    operands = _Operands(operation, spatial, given, groups, (0, 1))
    y, w = operands.split()
    places = y.type.shape[y.type.rank - spatial :]
    image = tuple(
        (int(r) - 1) * apart + (q - 1) * step + 1 + extra
        for r, q, apart, step, extra in zip(
            places, operands.window, strides, steps, more, strict=True
        )
    )
    with located(operation):
        if any(extent <= 2 * n for extent, n in zip(image, cut, strict=True)) or 0 in places:
            problem = f"nothing is left of the result, {nodes.show(image)} before it is cut"
            fail(ShapeError, operation, problem, operands.facts)
        node = nodes.with_line(conv_input(y, w, image, strides, steps), y, w)
    whole = derive(node, operands.image, operands.weight)
    margins = [-n for n in reversed(cut) for _ in range(2)]
    return operands.result(pad(whole, margins).node)
