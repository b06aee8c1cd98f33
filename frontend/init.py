"""Initialisers: how parameters begin. PyTorch's names (without the underscore) and formulas.

Each one is given as it is, `init=gc.init.xavier_uniform`, or with options,
`init=gc.init.xavier_uniform(gain=2.0)`. An initialiser builds graph nodes, and the values are
computed by the compiled program from its seed. For a weight (out, in, *kernel) fan_in is
in * prod(kernel) and fan_out is out * prod(kernel).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from gradc.compiler.attributes import Attributes
from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import DType, float32, float64, int64
from gradc.runtime.plain_number import plain

from . import nodes, random
from .constructors import checked_constructor, checked_options
from .functional import creation
from .functional.elementwise import erf, exp, log, sqrt, where
from .functional.factors import qr
from .functional.linalg import diagonal
from .functional.sorting import argsort
from .missing import namespace
from .ranges import check_numbers, check_probability, numbers_between
from .tensor import Tensor
from .tracing import fail, located

Shape = tuple[int, ...]


class Initializer(Attributes):
    """A formula for a parameter's first values, with its options bound.

    >>> gc.init.normal(std=0.02)
    gradc.init.normal(std=0.02)
    """

    def __init__(self, formula: Callable[..., Tensor], options: dict[str, Any]) -> None:
        self._formula = formula
        self._options = options
        self._key = (formula, repr(sorted(options.items())))  # -0.0 is another option than 0.0
        self.__doc__ = formula.__doc__
        self.__name__ = formula.__name__

    def __call__(self, *values: Any, **options: Any) -> Initializer:
        """This initialiser with other options, in the order of PyTorch's arguments."""
        signature = inspect.signature(self._formula)
        names = list(signature.parameters)[2:]
        if len(values) > len(names) or not set(options) <= set(names):
            problem = f"unknown options {sorted(set(options) - set(names)) or values}"
            fail(ArgumentError, self.__name__, problem, [f"options: {', '.join(names) or 'none'}"])
        for value in (*values, *options.values()):
            if isinstance(value, Tensor):
                problem = f"an option is a number, not {value.node.type}"
                hint = f"layers take weight_init=gc.init.{self.__name__}"
                fail(ArgumentError, self.__name__, problem, hint=hint)
        given = dict(zip(names, map(plain, values), strict=False))
        given |= {name: plain(value) for name, value in options.items()}
        with located(self.__name__):
            given = checked_options(signature, given)
        return Initializer(self._formula, self._options | given)

    def __eq__(self, other: object) -> bool:
        """Equal are two of one formula and equal options: they build the same values."""
        return isinstance(other, Initializer) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def values(self, shape: Shape, dtype: DType) -> Tensor:
        """A tensor of first values."""
        return self._formula(shape, dtype, **self._options)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}={value!r}" for name, value in self._options.items())
        return f"gradc.init.{self.__name__}({listed})" if listed else f"gradc.init.{self.__name__}"


def _initializer(formula: Callable[..., Tensor]) -> Initializer:
    return Initializer(formula, {})


@_initializer
def zeros(shape: Shape, dtype: DType) -> Tensor:
    """All 0.

    >>> gc.compile(1 * gc.parameter("w", (2,), init=gc.init.zeros))()
    array([0., 0.], dtype=float32)
    """
    return creation.zeros(shape, dtype)


@_initializer
def ones(shape: Shape, dtype: DType) -> Tensor:
    """All 1.

    >>> gc.compile(1 * gc.parameter("w", (2,), init=gc.init.ones))()
    array([1., 1.], dtype=float32)
    """
    return creation.ones(shape, dtype)


@_initializer
def constant(shape: Shape, dtype: DType, val: bool | int | float = 0.0) -> Tensor:
    """All `val`.

    >>> gc.compile(1 * gc.parameter("w", (2,), init=gc.init.constant(0.5)))()
    array([0.5, 0.5], dtype=float32)
    """
    return creation.full(shape, val, dtype)


@_initializer
def eye(shape: Shape, dtype: DType) -> Tensor:
    """The identity matrix; needs two axes.

    >>> gc.compile(1 * gc.parameter("w", (2, 3), init=gc.init.eye))()
    array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """
    if len(shape) != 2:
        fail(ShapeError, "init.eye", f"a matrix has two axes; the shape is {list(shape)}")
    return creation.eye(shape[0], shape[1], dtype=dtype)


@_initializer
def uniform(shape: Shape, dtype: DType, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Uniform in a <= x < b; all a where they are equal.

    >>> w = gc.parameter("w", (1000,), init=gc.init.uniform(-2.0, 2.0))
    >>> values = gc.compile(1 * w, seed=0)()
    >>> bool(values.min() >= -2 and values.max() < 2)
    True
    """
    return _uniform(shape, a, b, dtype)


@_initializer
def normal(shape: Shape, dtype: DType, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Normal with the given mean and standard deviation.

    >>> values = gc.compile(1 * gc.parameter("w", (1000,), init=gc.init.normal(std=2.0)), seed=0)()
    >>> round(float(values.std()))
    2
    """
    return random.normal(shape, mean, std, dtype)


@_initializer
def trunc_normal(
    shape: Shape,
    dtype: DType,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
) -> Tensor:
    """Normal limited to a <= x <= b, by the inverse of the cumulative distribution.

    Values are at most 5.4 deviations from the mean. Raises ArgumentError unless std > 0 and a < b
    are finite numbers, between which lies a millionth of the distribution or more.

    >>> w = gc.parameter("w", (1000,), init=gc.init.trunc_normal(std=0.02))
    >>> values = gc.compile(1 * w, seed=0)()
    >>> bool(abs(values).max() <= 2.0)
    True
    """
    mean, std, a, b = check_numbers("trunc_normal", mean=mean, std=std, a=a, b=b)
    if std <= 0.0 or not a < b:
        problem = f"std is positive and a less than b, not {std}, {a} and {b}"
        fail(ArgumentError, "trunc_normal", problem)
    scale = std * math.sqrt(2.0)
    low, high = (math.erf((limit - mean) / scale) for limit in (a, b))
    low, high = max(low, -_GREATEST_QUANTILE), min(high, _GREATEST_QUANTILE)
    first, last = numbers_between(a, math.nextafter(b, math.inf), dtype)
    if high - low < 2e-6 or first > last:
        problem = f"next to nothing of mean {mean} and deviation {std} lies in {a} to {b}"
        fail(ArgumentError, "trunc_normal", problem)
    # In a tail float32 has few numbers between the quantiles.
    wide = float64 if dtype.bits == 64 or high - low < 0.01 else float32
    quantile = random.uniform(shape, low, high, wide)
    return (_erfinv(quantile) * scale + mean).clip(first, last).astype(dtype)


_GREATEST_QUANTILE = 1.0 - 2.0**-24  # of erf: where float32 and the polynomials of _erfinv end


@_initializer
def xavier_uniform(shape: Shape, dtype: DType, gain: float = 1.0) -> Tensor:
    """Uniform in +-gain * sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio (2010).

    >>> nn.Linear(64, 64, weight_init=gc.init.xavier_uniform(gain=2.0)).weight.shape
    (64, 64)
    """
    fans = sum(_fans(shape, "xavier_uniform"))
    bound = _checked_gain(gain, "xavier_uniform") * math.sqrt(6.0 / fans)
    return _uniform(shape, -bound, bound, dtype)


@_initializer
def xavier_normal(shape: Shape, dtype: DType, gain: float = 1.0) -> Tensor:
    """Normal, deviation gain * sqrt(2 / (fan_in + fan_out)). Source: Glorot and Bengio (2010).

    >>> nn.Linear(64, 64, weight_init=gc.init.xavier_normal).weight.shape
    (64, 64)
    """
    fans = sum(_fans(shape, "xavier_normal"))
    std = _checked_gain(gain, "xavier_normal") * math.sqrt(2.0 / fans)
    return random.normal(shape, 0.0, std, dtype)


@_initializer
def kaiming_uniform(
    shape: Shape,
    dtype: DType,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    gain: float | None = None,
) -> Tensor:
    """Uniform in +-gain * sqrt(3 / fan), gain as calculate_gain unless given.

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers" (2015).

    >>> nn.Linear(64, 64, weight_init=gc.init.kaiming_uniform(nonlinearity="relu")).weight.shape
    (64, 64)
    """
    std = _kaiming_std(shape, a, mode, nonlinearity, gain, "kaiming_uniform")
    bound = math.sqrt(3.0) * std
    return _uniform(shape, -bound, bound, dtype)


@_initializer
def kaiming_normal(
    shape: Shape,
    dtype: DType,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    gain: float | None = None,
) -> Tensor:
    """Normal, deviation gain / sqrt(fan), gain as calculate_gain unless given.

    Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers" (2015).

    >>> nn.Conv2d(3, 16, 3, weight_init=gc.init.kaiming_normal(mode="fan_out")).weight.shape
    (16, 3, 3, 3)
    """
    std = _kaiming_std(shape, a, mode, nonlinearity, gain, "kaiming_normal")
    return random.normal(shape, 0.0, std, dtype)


@_initializer
def dirac(shape: Shape, dtype: DType, groups: int = 1) -> Tensor:
    """The weight of a convolution that passes its input on: 1 in the middle of a window, else 0.

    groups   of as many output channels, each of which passes the first input channels on

    Needs (out, in, *kernel) with one to three axes of the kernel, and an out that is divisible.

    >>> layer = nn.Conv1d(2, 2, 3, padding=1, bias=False, weight_init=gc.init.dirac)
    >>> gc.compile(layer(gc.constant([[[1.0, 2.0], [3.0, 4.0]]])))()
    array([[[1., 2.],
            [3., 4.]]], dtype=float32)
    """
    if len(shape) not in (3, 4, 5):
        problem = f"a weight (out, in, *kernel) has 3 to 5 axes; the shape is {list(shape)}"
        fail(ShapeError, "init.dirac", problem)
    if groups < 1 or shape[0] % groups:
        problem = f"groups are 1 or more and divide {shape[0]} output channels, not {groups}"
        fail(ArgumentError, "init.dirac", problem)
    place = [Tensor(nodes.iota(shape, axis, int64)) for axis in range(len(shape))]
    there = place[0] % (shape[0] // groups) == place[1]
    for axis in range(2, len(shape)):
        there = there & (place[axis] == shape[axis] // 2)
    return there.astype(dtype)


@_initializer
def orthogonal(shape: Shape, dtype: DType, gain: float = 1.0) -> Tensor:
    """gain times a matrix whose shorter side is orthonormal, uniform among all of them.

    Axes behind the first count as one. It is the Q of a normal matrix, with signs that make the
    diagonal of R positive, computed in float64 as the program begins.
    Source: Saxe, McClelland, Ganguli (2014); Mezzadri, "How to Generate Random Matrices from the
    Classical Compact Groups" (2007).

    >>> w = gc.parameter("w", (2, 3), init=gc.init.orthogonal)
    >>> gc.compile(w @ w.T)().round(3) + 0.0
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    if len(shape) < 2:
        problem = f"an orthogonal matrix has two axes or more; the shape is {list(shape)}"
        fail(ShapeError, "init.orthogonal", problem)
    (gain,) = check_numbers("init.orthogonal", gain=gain)
    rows, columns = shape[0], math.prod(shape[1:])
    if not rows * columns:
        return creation.zeros(shape, dtype)
    tall = (max(rows, columns), min(rows, columns))
    q, r = qr(random.normal(tall, dtype=float64))
    q = q * where(diagonal(r) < 0.0, -1.0, 1.0)
    return ((q if rows >= columns else q.T) * gain).astype(dtype).reshape(shape)


@_initializer
def sparse(shape: Shape, dtype: DType, sparsity: float = 0.1, std: float = 0.01) -> Tensor:
    """Normal with the given deviation; in each column ceil(sparsity * rows) elements are 0.

    Which ones is drawn for every column. Needs two axes. Raises ArgumentError unless sparsity lies
    in 0 to 1.
    Source: Martens, "Deep Learning via Hessian-free Optimization" (2010), section 5.

    >>> w = gc.parameter("w", (10, 3), init=gc.init.sparse(sparsity=0.75))
    >>> gc.compile((w == 0).sum(axis=0))()
    array([8, 8, 8])
    """
    if len(shape) != 2:
        fail(ShapeError, "init.sparse", f"a matrix has two axes; the shape is {list(shape)}")
    share = check_probability(sparsity, "init.sparse")
    places = argsort(argsort(random.uniform(shape), axis=0), axis=0)
    drawn = random.normal(shape, 0.0, std, dtype)
    return where(places < math.ceil(share * shape[0]), 0, drawn)


@checked_constructor
def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """PyTorch's recommended gain for a nonlinearity; `param` is the slope of leaky_relu.

    >>> gc.init.calculate_gain("relu"), gc.init.calculate_gain("leaky_relu", 1.0)
    (1.4142135623730951, 1.0)
    """
    fixed = {"relu": math.sqrt(2.0), "tanh": 5.0 / 3.0, "selu": 0.75, "linear": 1.0}
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1.0 + slope**2))
    if nonlinearity in fixed:
        return fixed[nonlinearity]
    if nonlinearity == "sigmoid" or nonlinearity.startswith("conv"):
        return 1.0
    known = ", ".join([*fixed, "leaky_relu", "sigmoid", "conv..."])
    fail(
        ArgumentError,
        "calculate_gain",
        f"unknown nonlinearity {nonlinearity!r}",
        [f"known: {known}"],
    )


def _fans(shape: Shape, operation: str) -> tuple[int, int]:
    """fan_in and fan_out of a weight (out, in, *kernel)."""
    if len(shape) < 2:
        problem = f"fan_in and fan_out need two axes or more; the shape is {list(shape)}"
        fail(ShapeError, operation, problem)
    kernel = math.prod(shape[2:])
    # A weight without elements has a fan of 0, which nothing is divided by then.
    return max(shape[1] * kernel, 1), max(shape[0] * kernel, 1)


def _uniform(shape: Shape, low: float, high: float, dtype: DType) -> Tensor:
    """Uniform in low <= x < high; an interval of width 0 is its one number."""
    low, high = check_numbers("uniform", low=low, high=high)
    return (
        creation.full(shape, low, dtype) if low == high else random.uniform(shape, low, high, dtype)
    )


def _checked_gain(gain: float, operation: str) -> float:
    (gain,) = check_numbers(operation, gain=gain)
    if gain < 0.0:
        fail(ArgumentError, operation, f"gain is not negative, not {gain}")
    return gain


def _kaiming_std(
    shape: Shape, a: float, mode: str, nonlinearity: str, gain: float | None, operation: str
) -> float:
    if mode not in ("fan_in", "fan_out"):
        fail(ArgumentError, operation, f"mode is 'fan_in' or 'fan_out', not {mode!r}")
    fan = _fans(shape, operation)[0 if mode == "fan_in" else 1]
    if gain is None:
        (a,) = check_numbers(operation, a=a)
        gain = calculate_gain(nonlinearity, a)
    return _checked_gain(gain, operation) / math.sqrt(fan)


# Giles, "Approximating the erfinv function" (GPU Computing Gems, 2012), single precision.
_NEAR = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
    -0.00417768164,
    0.246640727,
    1.50140941,
)
_FAR = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
    0.00943887047,
    1.00167406,
    2.83297682,
)


def _erfinv(x: Tensor) -> Tensor:
    """The inverse of erf: Giles' polynomials, then one Newton step for float64."""
    w = -log((1.0 - x) * (1.0 + x))
    y = where(w < 5.0, _polynomial(_NEAR, w - 2.5), _polynomial(_FAR, sqrt(w) - 3.0)) * x
    if x.dtype.bits < 64:
        return y
    return y - (erf(y) - x) / (2.0 / math.sqrt(math.pi) * exp(-y * y))


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """Horner's scheme, highest coefficient first."""
    result = creation.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result = result * x + coefficient
    return result


__all__ = [
    "Initializer",
    "calculate_gain",
    "constant",
    "dirac",
    "eye",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "ones",
    "orthogonal",
    "sparse",
    "trunc_normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

__getattr__, __dir__ = namespace(globals())
