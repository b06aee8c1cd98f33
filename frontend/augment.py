"""Augmentation: pictures changed at random inside the training step, as they are in evaluation.

    augmented = nn.Sequential(gc.augment.RandomMirror(), gc.augment.RandomTranslate(0.1))
    logits = model(augmented(images))

    images   [batch, channels, height, width], floating-point

Every picture of a batch is changed by numbers of its own, drawn anew in each step, that depend on
the seed, the step and the picture's place in the batch alone: a run is the same bits on any number
of threads, in a training binary, and resumed. In evaluation a module gives back what it is given.
Every one is differentiable in the picture.

What lies beyond an edge that moves into the picture is 0, as in torchvision, or what `padding_mode`
of gc.grid_sample says. Colours have no fixed range here, so nothing is clipped to one.

Sources: Simard, Steinkraus, Platt, "Best Practices for Convolutional Neural Networks" (2003) for
moved pictures; Krizhevsky, Sutskever, Hinton (2012) for crops and colours; papers of single
modules stand there. Ranges are those of torchvision's modules of the same meaning.
"""

from __future__ import annotations

import math
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.types import DType, float32, float64, int64
from gradc.runtime.plain_number import as_real

from . import random
from .functional import elementwise as each
from .functional.activation import sigmoid
from .functional.creation import arange, ones, training_mode
from .functional.manipulation import flip, roll
from .functional.neural import one_hot, pad
from .functional.sampling import PADDING_MODES, sampled
from .functional.statistics import cumulative_sum, mean, sum
from .functional.trigonometry import cos, sin, tan
from .functional.windows import extent_along
from .missing import namespace
from .nn.module import Module
from .ranges import Number, WholeNumber, check_numbers, check_probability, count
from .tensor import Tensor, TensorLike, as_tensor, floating
from .tracing import fail

__all__ = [
    "Cutout",
    "Mixup",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomLensDistortion",
    "RandomMirror",
    "RandomNoise",
    "RandomRotate",
    "RandomSaturation",
    "RandomScale",
    "RandomShear",
    "RandomTranslate",
]

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue count in grey: ITU-R BT.601, as in torchvision and Pillow."""


class Augmentation(Module):
    """A random change of pictures, `changed`, that evaluation leaves out."""

    options: tuple[str, ...] = ()

    def forward(self, images: Any) -> Tensor:
        """Pictures [batch, channels, height, width], changed while the program trains."""
        x = _pictures(images, type(self).__name__)
        return each.where(training_mode(), self.changed(x), x)

    def changed(self, x: Tensor) -> Tensor:
        """The pictures of one training step."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.options)


def _pictures(images: Any, operation: str) -> Tensor:
    x = floating(images)
    if x.ndim != 4:
        problem = f"images is {x.node.type}, not [batch, channels, height, width]"
        fail(ShapeError, operation, problem)
    return x


def _each(x: Tensor, low: Number, high: Number) -> Tensor:
    """One number for every picture, uniform from low to high: [batch, 1, 1, 1]."""
    drawn = random.uniform((x.shape[0], 1, 1, 1), dtype=x.dtype)
    return drawn * (high - low) + low


def _around(value: Any, name: str, operation: str, middle: float = 0.0) -> tuple[float, float]:
    """The range that an argument means: (low, high), or `middle` more or less a number."""
    single = as_real(value)
    if single is not None:
        (far,) = check_numbers(operation, **{name: single})
        if far < 0:
            fail(ArgumentError, operation, f"{name} is not negative, but {far}")
        return middle - far, middle + far
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        problem = f"{name} is a number or a pair (low, high), not {described(value)}"
        fail(ArgumentError, operation, problem)
    low, high = check_numbers(operation, low=value[0], high=value[1])
    if low > high:
        fail(ArgumentError, operation, f"{name} is (low, high), not {described(value)}")
    return low, high


# ---------------------------------------------------------------- where pixels are read


class _Moved(Augmentation):
    """Pictures read at other places, linearly between pixels."""

    padding_mode: str

    def _keep_padding(self, padding_mode: str) -> None:
        if padding_mode not in PADDING_MODES:
            facts = [f"known: {', '.join(PADDING_MODES)}"]
            problem = f"there is no padding_mode {padding_mode!r}"
            fail(ArgumentError, type(self).__name__, problem, facts)
        self.padding_mode = padding_mode

    def changed(self, x: Tensor) -> Tensor:
        high, wide = (extent_along(x, axis, type(self).__name__) for axis in (2, 3))
        wide_dtype = _dtype_of_places(x)
        rows = arange(high, dtype=wide_dtype).reshape((1, high, 1)) - (high - 1) / 2
        columns = arange(wide, dtype=wide_dtype).reshape((1, 1, wide)) - (wide - 1) / 2
        down, right = self.places(x, rows, columns)
        shape = (x.shape[0], high, wide)
        places = (down + (high - 1) / 2, right + (wide - 1) / 2)
        whole = [as_tensor(place).broadcast_to(shape) for place in places]
        return sampled(x, whole, "bilinear", self.padding_mode)

    def places(self, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Where to read, in pixels from the middle: (rows, columns) for each pixel.

        rows, columns   of the result's pixels, [1, height, 1] and [1, 1, width]
        """
        raise NotImplementedError


def _dtype_of_places(x: Tensor) -> DType:
    """In which pixels are counted: bfloat16 has no number between 256 and 258."""
    return float64 if x.dtype == float64 else float32


def _one(x: Tensor, low: Number, high: Number) -> Tensor:
    """A number for every picture, fit for places: [batch, 1, 1]."""
    drawn = random.uniform((x.shape[0], 1, 1), dtype=_dtype_of_places(x))
    return drawn * (high - low) + low


class RandomTranslate(_Moved):
    """Moved by whole pixels, up to a part of each side, up or down and left or right.

    translate   the largest part of (height, width), or of both

    >>> gc.augment.RandomTranslate(0.1)(gc.input("pictures", ("batch", 1, 28, 28))).shape
    ('batch', 1, 28, 28)
    """

    options = ("translate", "padding_mode")

    def __init__(self, translate: Any = 0.1, padding_mode: str = "zeros") -> None:
        self.translate = translate
        both = translate if isinstance(translate, (tuple, list)) else (translate, translate)
        if len(both) != 2:
            problem = f"translate is a number or (height, width), not {described(translate)}"
            fail(ArgumentError, "RandomTranslate", problem)
        self.parts = tuple(_part(part, "translate", "RandomTranslate") for part in both)
        self._keep_padding(padding_mode)

    def places(self, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        high, wide = (part * int(n) for part, n in zip(self.parts, x.shape[2:], strict=True))
        down, right = each.round(_one(x, -high, high)), each.round(_one(x, -wide, wide))
        return rows - down, columns - right


class RandomRotate(_Moved):
    """Turned around the middle, by up to so many degrees either way, or by (low, high).

    >>> gc.augment.RandomRotate(15.0)(gc.input("pictures", ("batch", 1, 28, 28))).shape
    ('batch', 1, 28, 28)
    """

    options = ("degrees", "padding_mode")

    def __init__(self, degrees: Any = 15.0, padding_mode: str = "zeros") -> None:
        self.degrees = degrees
        self.range = _around(degrees, "degrees", "RandomRotate")
        self._keep_padding(padding_mode)

    def places(self, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        angle = _one(x, *(math.radians(degrees) for degrees in self.range))
        cosine, sine = cos(angle), sin(angle)
        return columns * sine + rows * cosine, columns * cosine - rows * sine


class RandomScale(_Moved):
    """Larger or smaller around the middle, by a factor from (low, high), or 1 more or less.

    >>> gc.augment.RandomScale((0.9, 1.1))(gc.input("pictures", ("batch", 1, 28, 28))).shape
    ('batch', 1, 28, 28)
    """

    options = ("scale", "padding_mode")

    def __init__(self, scale: Any = (0.9, 1.1), padding_mode: str = "zeros") -> None:
        self.scale = scale
        self.range = _around(scale, "scale", "RandomScale", 1.0)
        if self.range[0] <= 0:
            fail(ArgumentError, "RandomScale", f"factors are positive, not from {self.range[0]}")
        self._keep_padding(padding_mode)

    def places(self, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        factor = _one(x, *self.range)
        return rows / factor, columns / factor


class RandomShear(_Moved):
    """Every row moved sideways by its distance from the middle times the tangent of an angle.

    degrees   the largest angle either way, or (low, high); between -90 and 90

    >>> gc.augment.RandomShear(10.0)(gc.input("pictures", ("batch", 1, 28, 28))).shape
    ('batch', 1, 28, 28)
    """

    options = ("degrees", "padding_mode")

    def __init__(self, degrees: Any = 10.0, padding_mode: str = "zeros") -> None:
        self.degrees = degrees
        self.range = _around(degrees, "degrees", "RandomShear")
        if not -90 < self.range[0] <= self.range[1] < 90:
            fail(ArgumentError, "RandomShear", "angles lie between -90 and 90 degrees")
        self._keep_padding(padding_mode)

    def places(self, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        angle = _one(x, *(math.radians(degrees) for degrees in self.range))
        return rows, columns - rows * tan(angle)


class RandomLensDistortion(_Moved):
    """Bent like by a lens: a pixel at distance r from the middle is read at r (1 + k r^2).

    strength   the largest k either way, or (low, high); r is 1 in the corners. A positive k bends
               lines outwards in the middle (barrel), a negative one inwards (pincushion)

    Source: Brown, "Decentering Distortion of Lenses" (1966), the first radial term.

    >>> gc.augment.RandomLensDistortion(0.1)(gc.input("pictures", ("batch", 1, 28, 28))).shape
    ('batch', 1, 28, 28)
    """

    options = ("strength", "padding_mode")

    def __init__(self, strength: Any = 0.2, padding_mode: str = "zeros") -> None:
        self.strength = strength
        self.range = _around(strength, "strength", "RandomLensDistortion")
        self._keep_padding(padding_mode)

    def places(self, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        high, wide = (int(extent) for extent in x.shape[2:])
        corner = max((high - 1) ** 2 + (wide - 1) ** 2, 1) / 4
        bend = 1 + _one(x, *self.range) * ((rows * rows + columns * columns) / corner)
        return rows * bend, columns * bend


class RandomMirror(Augmentation):
    """Mirrored with probability p, left and right exchanged; `vertical`: top and bottom.

    Not for what has a hand: letters and digits (a mirrored 2 is no 2), traffic signs, arrows.

    >>> mirror = gc.augment.RandomMirror(p=1.0)
    >>> picture = gc.constant([[[[1.0, 2.0, 3.0]]]])
    >>> gc.compile(mirror(picture), training=True)()[0, 0], gc.compile(mirror(picture))()[0, 0]
    (array([[3., 2., 1.]], dtype=float32), array([[1., 2., 3.]], dtype=float32))
    """

    options = ("p", "vertical")

    def __init__(self, p: Number = 0.5, vertical: bool = False) -> None:
        self.p, self.vertical = check_probability(p, "RandomMirror"), vertical

    def changed(self, x: Tensor) -> Tensor:
        chosen = random.bernoulli(self.p, (x.shape[0], 1, 1, 1))
        return each.where(chosen, flip(x, axis=2 if self.vertical else 3), x)


class RandomCrop(Augmentation):
    """A piece of the picture with `padding` zeros around it, at a random place.

    size      (height, width) of the piece, or one number for both; None: that of the picture
    padding   rows and columns on every side

    In evaluation it is the middle of the picture, which is all of it where size is None.

    >>> gc.augment.RandomCrop(padding=4)(gc.input("pictures", ("batch", 3, 32, 32))).shape
    ('batch', 3, 32, 32)
    >>> gc.augment.RandomCrop(28, padding=0)(gc.input("pictures", ("batch", 3, 32, 32))).shape
    ('batch', 3, 28, 28)
    """

    options = ("size", "padding")

    def __init__(self, size: Any = None, padding: WholeNumber = 4) -> None:
        both = size if isinstance(size, (tuple, list)) else (size, size)
        if len(both) != 2:
            problem = f"size is a number, (height, width) or None, not {described(size)}"
            fail(ArgumentError, "RandomCrop", problem)
        self.size = size
        self.extents = tuple(None if n is None else count(n, "size", "RandomCrop") for n in both)
        self.padding = count(padding, "padding", "RandomCrop", 0)

    def forward(self, images: Any) -> Tensor:
        """Pictures [batch, channels, height, width] to [batch, channels, *size]."""
        x = _pictures(images, "RandomCrop")
        given = [extent_along(x, axis, "RandomCrop") for axis in (2, 3)]
        wanted = [n or extent for n, extent in zip(self.extents, given, strict=True)]
        room = [g + 2 * self.padding - w for g, w in zip(given, wanted, strict=True)]
        if min(room) < 0:
            facts = [f"images is {x.node.type}, padding {self.padding}"]
            fail(ShapeError, "RandomCrop", f"no piece of {wanted} pixels is in there", facts)
        padded = pad(x, [self.padding] * 4)
        training, places = training_mode(), []
        for free, extent, axis in zip(room, wanted, (2, 3), strict=True):
            drawn = random.randint(0, free + 1, (x.shape[0], 1, 1))
            first = each.where(training, drawn, free // 2)
            shape = (1, extent, 1) if axis == 2 else (1, 1, extent)
            place = first + arange(extent, dtype=int64).reshape(shape)
            places.append(place.astype(_dtype_of_places(x)).broadcast_to((x.shape[0], *wanted)))
        return sampled(padded, places, "nearest", "border")


# ---------------------------------------------------------------- colours


class RandomBrightness(Augmentation):
    """Every picture times a factor: 1 more or less `brightness`, or from (low, high).

    >>> gc.augment.RandomBrightness(0.2)(gc.input("pictures", ("batch", 3, 32, 32))).shape
    ('batch', 3, 32, 32)
    """

    options = ("brightness",)

    def __init__(self, brightness: Any = 0.2) -> None:
        self.brightness = brightness
        self.range = _factors(brightness, "brightness", "RandomBrightness")

    def changed(self, x: Tensor) -> Tensor:
        return x * _each(x, *self.range)


class RandomContrast(Augmentation):
    """Every picture's distance from its mean grey times a factor around 1, or from (low, high).

    >>> gc.augment.RandomContrast(0.2)(gc.input("pictures", ("batch", 3, 32, 32))).shape
    ('batch', 3, 32, 32)
    """

    options = ("contrast",)

    def __init__(self, contrast: Any = 0.2) -> None:
        self.contrast = contrast
        self.range = _factors(contrast, "contrast", "RandomContrast")

    def changed(self, x: Tensor) -> Tensor:
        middle = mean(_grey(x), axis=(2, 3), keepdims=True)
        return (x - middle) * _each(x, *self.range) + middle


class RandomSaturation(Augmentation):
    """Every pixel's distance from its grey times a factor; pictures of three channels.

    saturation   the factor is 1 more or less this, or from (low, high): 0 is grey

    Pictures of one channel have no colour and stay as they are.

    >>> gc.augment.RandomSaturation(0.2)(gc.input("pictures", ("batch", 3, 32, 32))).shape
    ('batch', 3, 32, 32)
    """

    options = ("saturation",)

    def __init__(self, saturation: Any = 0.2) -> None:
        self.saturation = saturation
        self.range = _factors(saturation, "saturation", "RandomSaturation")

    def changed(self, x: Tensor) -> Tensor:
        if x.shape[1] not in (1, 3):
            problem = f"images is {x.node.type}: colours are three channels, red, green, blue"
            fail(ShapeError, "RandomSaturation", problem)
        grey = _grey(x)
        return (x - grey) * _each(x, *self.range) + grey


class RandomNoise(Augmentation):
    """Normal noise of this standard deviation, for every element its own.

    >>> gc.augment.RandomNoise(0.05)(gc.input("pictures", ("batch", 3, 32, 32))).shape
    ('batch', 3, 32, 32)
    """

    options = ("std",)

    def __init__(self, std: Number = 0.05) -> None:
        (self.std,) = check_numbers("RandomNoise", std=std)
        if self.std < 0:
            fail(ArgumentError, "RandomNoise", f"std is not negative, but {self.std}")

    def changed(self, x: Tensor) -> Tensor:
        return x + random.normal(x.shape, 0.0, self.std, x.dtype)


def _factors(value: Any, name: str, operation: str) -> tuple[float, float]:
    """A range of factors around 1, none negative."""
    low, high = _around(value, name, operation, 1.0)
    return max(low, 0.0), high


def _part(value: Any, name: str, operation: str) -> float:
    """A part of a whole."""
    part = as_real(value)
    if part is None or not 0 <= part <= 1:
        fail(ArgumentError, operation, f"{name} is a part from 0 to 1, not {described(value)}")
    return float(part)


def _grey(x: Tensor) -> Tensor:
    """The pictures without colour: [batch, 1, height, width]."""
    if x.shape[1] != 3:
        return mean(x, axis=1, keepdims=True)
    red, green, blue = (x[:, i : i + 1] * weight for i, weight in enumerate(LUMA))
    return red + green + blue


# ---------------------------------------------------------------- parts and pairs of pictures


class Cutout(Augmentation):
    """A square of every picture is `fill`; its middle is any pixel, so that parts may lie outside.

    length   of the square's sides; None: half of the picture's shorter side

    Source: DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with
    Cutout" (2017).

    >>> pictures = gc.input("pictures", ("batch", 3, 32, 32))
    >>> gc.augment.Cutout(8)(pictures).shape
    ('batch', 3, 32, 32)
    """

    options = ("length", "fill")

    def __init__(self, length: int | None = None, fill: Number = 0.0) -> None:
        self.length = None if length is None else count(length, "length", "Cutout")
        (self.fill,) = check_numbers("Cutout", fill=fill)

    def changed(self, x: Tensor) -> Tensor:
        extents = [extent_along(x, axis, "Cutout") for axis in (2, 3)]
        length = self.length or max(min(extents) // 2, 1)
        covered: Tensor | None = None
        for axis, extent in zip((2, 3), extents, strict=True):
            first = random.randint(0, extent, (x.shape[0], 1, 1, 1)) - length // 2
            shape = [1, 1, 1, 1]
            shape[axis] = extent
            place = arange(extent, dtype=int64).reshape(shape)
            along = (place >= first) & (place < first + length)
            covered = along if covered is None else covered & along
        assert covered is not None
        return each.where(covered, self.fill, x)


class Mixup(Module):
    """Pictures mixed with others of the batch, and their labels by the same weights.

    alpha         the weight of a step is drawn from the distribution Beta(alpha, alpha)
    num_classes   needed for integer labels, which become rows of probabilities

        mixed, targets = gc.augment.Mixup(num_classes=10)(images, labels)
        loss = gc.cross_entropy(model(mixed), targets)

    Called on pictures alone it gives pictures alone. In evaluation nothing is mixed; integer labels
    become rows with a single 1. A batch is mixed with itself, moved on by one picture.

    Source: Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization" (2018).

    >>> images = gc.input("images", ("batch", 3, 32, 32))
    >>> labels = gc.input("labels", ("batch",), gc.int32)
    >>> mixed, rows = gc.augment.Mixup(num_classes=10)(images, labels)
    >>> mixed.shape, rows.shape
    (('batch', 3, 32, 32), ('batch', 10))
    """

    def __init__(self, alpha: Number = 0.2, num_classes: int | None = None) -> None:
        (self.alpha,) = check_numbers("Mixup", alpha=alpha)
        if self.alpha <= 0:
            fail(ArgumentError, "Mixup", f"alpha is positive, not {self.alpha}")
        self.num_classes = None
        if num_classes is not None:
            self.num_classes = count(num_classes, "num_classes", "Mixup")

    def forward(self, images: Any, labels: TensorLike | None = None) -> Any:
        """The mixed pictures; with labels, integers [batch] or rows [batch, classes]: a pair."""
        x = _pictures(images, "Mixup")
        weight = each.where(training_mode(), _beta(self.alpha), 1.0).astype(x.dtype)
        mixed = _mixed(x, weight)
        if labels is None:
            return mixed
        rows = as_tensor(labels)
        if rows.dtype.is_integer:
            if self.num_classes is None:
                fail(ArgumentError, "Mixup", "integer labels need num_classes=")
            rows = one_hot(rows, self.num_classes).astype(x.dtype)
        return mixed, _mixed(floating(rows), weight.astype(floating(rows).dtype))

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, num_classes={self.num_classes}"


def _mixed(x: Tensor, weight: Tensor) -> Tensor:
    return x * weight + _one_before(x) * (1 - weight)


def _one_before(x: Tensor) -> Tensor:
    """Of each row the one before it; of the first the last. Rows of a named number have no places
    in the program to be moved by: a product with a permutation, ones and zeros, picks them."""
    if isinstance(x.shape[0], int):
        return roll(x, 1, 0)
    one = ones((x.shape[0],), dtype=int64)
    place = cumulative_sum(one, axis=0)
    before = each.where(place == 1, sum(one), place - 1)
    picked = before.reshape((x.shape[0], 1)) == place.reshape((1, x.shape[0]))
    rows = x.reshape((x.shape[0], math.prod(int(n) for n in x.shape[1:])))
    return (picked.astype(x.dtype) @ rows).reshape(x.shape)


_TRIES = 12


def _beta(alpha: float) -> Tensor:
    """One number of the distribution Beta(alpha, alpha), f32[]: G1 / (G1 + G2) of two Gamma."""
    first, second = _log_gamma_drawn(alpha), _log_gamma_drawn(alpha)
    return sigmoid(first - second)


def _log_gamma_drawn(alpha: float) -> Tensor:
    """The logarithm of a number of the distribution Gamma(alpha), f32[]; log: small ones vanish.

    Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000), which takes a
    number with probability 0.95 and more; tries are made at once and the first that holds is taken.
    For alpha < 1 it is that of alpha + 1 times U^(1/alpha), as there.
    """
    d = (alpha + 1 if alpha < 1 else alpha) - 1 / 3
    normal, unit = random.normal((_TRIES,)), 1 - random.uniform((_TRIES,))
    cube = (1 + normal / math.sqrt(9 * d)) ** 3
    log_cube = each.log(each.maximum(cube, 1e-30))
    holds = (cube > 0) & (each.log(unit) < 0.5 * normal * normal + d * (1 - cube) + d * log_cube)
    chosen = math.log(d) + log_cube[-1]
    for i in reversed(range(_TRIES - 1)):
        chosen = each.where(holds[i], math.log(d) + log_cube[i], chosen)
    if alpha < 1:
        chosen = chosen + each.log(1 - random.uniform(())) / alpha
    return chosen


__getattr__, __dir__ = namespace(globals())
