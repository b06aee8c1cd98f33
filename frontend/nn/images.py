"""Layers that rearrange pictures: PyTorch's classes over the functions of the same meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .. import functional, nodes
from ..functional.windows import per_axis
from ..ranges import Number, WholeNumber, check_probability, count
from ..tensor import Tensor
from .module import Module

__all__ = [
    "Unflatten",
    "Unfold",
    "Fold",
    "PixelShuffle",
    "PixelUnshuffle",
    "ChannelShuffle",
    "Upsample",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
    "UpsamplingNearest2d",
    "UpsamplingBilinear2d",
]

_LEAST = {"kernel_size": 1, "stride": 1, "dilation": 1, "padding": 0, "output_size": 1}


class _Rearranging(Module):
    """A function of the input and of options, which are attributes."""

    function: ClassVar[Callable[..., Tensor]]
    options: ClassVar[tuple[str, ...]]  # in the order in which text shows them

    def _keep(self, **options: Any) -> None:
        """Set the attributes. Raises ArgumentError for extents and steps that are too small."""
        for name, value in options.items():
            if name in _LEAST:
                per_axis(value, name, 2, type(self).__name__, _LEAST[name])
            setattr(self, name, value)

    def forward(self, input: Any) -> Tensor:
        """The input, rearranged."""
        options = {name: getattr(self, name) for name in self.options}
        return type(self).function(input, **options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.options)


class Unflatten(Module):
    """An axis taken apart into several. See gc.unflatten.

    >>> nn.Unflatten(1, (3, 4))(gc.input("x", ("batch", 12))).shape
    ('batch', 3, 4)
    """

    def __init__(self, axis: int, unflattened_size: Any) -> None:
        nodes.check_shape(unflattened_size, "Unflatten", wildcard=True)
        self.axis, self.unflattened_size = axis, unflattened_size

    def forward(self, input: Any) -> Tensor:
        """The input in its new shape."""
        return functional.unflatten(input, self.axis, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"axis={self.axis}, unflattened_size={self.unflattened_size}"


class Unfold(_Rearranging):
    """Patches as columns. See gc.unfold.

    >>> nn.Unfold(3)(gc.input("x", ("batch", 2, 5, 5))).shape
    ('batch', 18, 9)
    """

    function = staticmethod(functional.unfold)
    options = ("kernel_size", "dilation", "padding", "stride")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        dilation: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        stride: int | Sequence[int] = 1,
    ) -> None:
        self._keep(kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)


class Fold(_Rearranging):
    """The picture of patches that are columns. See gc.fold.

    >>> nn.Fold((5, 5), 3)(gc.input("x", ("batch", 18, 9))).shape
    ('batch', 2, 5, 5)
    """

    function = staticmethod(functional.fold)
    options = ("output_size", "kernel_size", "dilation", "padding", "stride")

    def __init__(
        self,
        output_size: int | Sequence[int],
        kernel_size: int | Sequence[int],
        dilation: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        stride: int | Sequence[int] = 1,
    ) -> None:
        self._keep(output_size=output_size, kernel_size=kernel_size, dilation=dilation)
        self._keep(padding=padding, stride=stride)


class PixelShuffle(_Rearranging):
    """Channels to pixels. See gc.pixel_shuffle.

    >>> nn.PixelShuffle(2)(gc.input("x", ("batch", 12, 8, 8))).shape
    ('batch', 3, 16, 16)
    """

    function = staticmethod(functional.pixel_shuffle)
    options = ("upscale_factor",)

    def __init__(self, upscale_factor: WholeNumber) -> None:
        self.upscale_factor = count(upscale_factor, "upscale_factor", "PixelShuffle")


class PixelUnshuffle(_Rearranging):
    """Pixels to channels. See gc.pixel_unshuffle.

    >>> nn.PixelUnshuffle(2)(gc.input("x", ("batch", 3, 16, 16))).shape
    ('batch', 12, 8, 8)
    """

    function = staticmethod(functional.pixel_unshuffle)
    options = ("downscale_factor",)

    def __init__(self, downscale_factor: WholeNumber) -> None:
        self.downscale_factor = count(downscale_factor, "downscale_factor", "PixelUnshuffle")


class ChannelShuffle(_Rearranging):
    """Channels dealt out to groups. See gc.channel_shuffle.

    >>> x = gc.constant([[[0.0], [1.0], [2.0], [3.0]]])
    >>> gc.compile(nn.ChannelShuffle(2)(x))()[0, :, 0]
    array([0., 2., 1., 3.], dtype=float32)
    """

    function = staticmethod(functional.channel_shuffle)
    options = ("groups",)

    def __init__(self, groups: WholeNumber) -> None:
        self.groups = count(groups, "groups", "ChannelShuffle")


class Upsample(_Rearranging):
    """The input at another resolution. See gc.interpolate.

    >>> nn.Upsample(scale_factor=2, mode="bilinear")(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 16, 16)
    """

    function = staticmethod(functional.interpolate)
    options = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")

    def __init__(
        self,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool = False,
        recompute_scale_factor: bool = False,
    ) -> None:
        self._keep(size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners)
        self._keep(recompute_scale_factor=recompute_scale_factor)


class UpsamplingNearest2d(Upsample):
    """A picture at another resolution, by repeating its points.

    >>> nn.UpsamplingNearest2d(scale_factor=2)(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 16, 16)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """A picture at another resolution, linear between its points, corners on corners.

    >>> nn.UpsamplingBilinear2d(scale_factor=2)(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 16, 16)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class _ChannelDropout(_Rearranging):
    options = ("p",)

    def __init__(self, p: Number = 0.5) -> None:
        self.p = check_probability(p, type(self).__name__)


class Dropout1d(_ChannelDropout):
    """In training whole channels are dropped. See gc.dropout1d.

    >>> x = gc.constant(np.ones((1, 4, 2), np.float32))
    >>> gc.compile(nn.Dropout1d(0.5)(x), training=True, seed=0)()[0].tolist()
    [[2.0, 2.0], [0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
    """

    function = staticmethod(functional.dropout1d)


class Dropout2d(_ChannelDropout):
    """In training whole channels are dropped. See gc.dropout2d.

    >>> x = gc.constant(np.ones((1, 4, 1, 1), np.float32))
    >>> gc.compile(nn.Dropout2d(0.5)(x), training=True, seed=0)().ravel()
    array([2., 0., 2., 0.], dtype=float32)
    >>> gc.compile(nn.Dropout2d(0.5)(x))().ravel()
    array([1., 1., 1., 1.], dtype=float32)
    """

    function = staticmethod(functional.dropout2d)


class Dropout3d(_ChannelDropout):
    """In training whole channels are dropped. See gc.dropout3d.

    >>> nn.Dropout3d(0.2)(gc.input("x", ("batch", 4, 8, 8, 8))).shape
    ('batch', 4, 8, 8, 8)
    """

    function = staticmethod(functional.dropout3d)


class FeatureAlphaDropout(_ChannelDropout):
    """In training whole channels are saturated. See gc.feature_alpha_dropout.

    >>> nn.FeatureAlphaDropout(0.1)(gc.input("x", ("batch", 8, 4, 4))).shape
    ('batch', 8, 4, 4)
    """

    function = staticmethod(functional.feature_alpha_dropout)
