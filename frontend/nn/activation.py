"""Activations as modules: PyTorch's classes over the functions of the same meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gradc.compiler.errors import ShapeError
from gradc.compiler.types import float32

from .. import functional, init
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from ..variables import Beginning, parameter
from .module import Module

__all__ = [
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Mish",
    "Softsign",
    "Hardsigmoid",
    "Hardswish",
    "Sigmoid",
    "LogSigmoid",
    "Tanh",
    "LeakyReLU",
    "ELU",
    "CELU",
    "GELU",
    "Softplus",
    "Hardtanh",
    "Softmax",
    "LogSoftmax",
    "GLU",
    "PReLU",
    "Hardshrink",
    "Softshrink",
    "Tanhshrink",
    "Threshold",
    "RReLU",
    "Softmin",
    "Softmax2d",
]


class _Activation(Module):
    """A function of the input and of options that are attributes."""

    function: ClassVar[Callable[..., Tensor]]
    option_names: ClassVar[tuple[str, ...]] = ()

    def forward(self, input: Any) -> Tensor:
        """The function of the input."""
        options = {name: getattr(self, name) for name in self.option_names}
        return type(self).function(input, **options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.option_names)


class ReLU(_Activation):
    """max(x, 0).

    >>> gc.compile(nn.ReLU()([-1.0, 2.0]))()
    array([0., 2.], dtype=float32)
    """

    function = staticmethod(functional.relu)


class ReLU6(_Activation):
    """x limited to 0..6.

    >>> gc.compile(nn.ReLU6()([-1.0, 2.0, 8.0]))()
    array([0., 2., 6.], dtype=float32)
    """

    function = staticmethod(functional.relu6)


class SELU(_Activation):
    """Scaled ELU. See gc.selu.

    >>> gc.compile(nn.SELU()([-1.0, 0.0, 1.0]))()
    array([-1.1113307,  0.       ,  1.050701 ], dtype=float32)
    """

    function = staticmethod(functional.selu)


class SiLU(_Activation):
    """x * sigmoid(x).

    >>> gc.compile(nn.SiLU()([-1.0, 0.0, 1.0]))()
    array([-0.2689414,  0.       ,  0.7310586], dtype=float32)
    """

    function = staticmethod(functional.silu)


class Mish(_Activation):
    """x * tanh(softplus(x)).

    >>> gc.compile(nn.Mish()([-1.0, 0.0, 1.0]))()
    array([-0.3034014,  0.       ,  0.8650984], dtype=float32)
    """

    function = staticmethod(functional.mish)


class Softsign(_Activation):
    """x / (1 + |x|).

    >>> gc.compile(nn.Softsign()([-1.0, 0.0, 3.0]))()
    array([-0.5 ,  0.  ,  0.75], dtype=float32)
    """

    function = staticmethod(functional.softsign)


class Hardsigmoid(_Activation):
    """x / 6 + 1/2 limited to 0..1.

    >>> gc.compile(nn.Hardsigmoid()([-4.0, 0.0, 1.5]))()
    array([0.  , 0.5 , 0.75], dtype=float32)
    """

    function = staticmethod(functional.hardsigmoid)


class Hardswish(_Activation):
    """x * hardsigmoid(x).

    >>> gc.compile(nn.Hardswish()([-4.0, 0.0, 1.5]))()
    array([0.   , 0.   , 1.125], dtype=float32)
    """

    function = staticmethod(functional.hardswish)


class Sigmoid(_Activation):
    """1 / (1 + exp(-x)).

    >>> gc.compile(nn.Sigmoid()([-1.0, 0.0, 1.0]))()
    array([0.2689414, 0.5      , 0.7310586], dtype=float32)
    """

    function = staticmethod(functional.sigmoid)


class LogSigmoid(_Activation):
    """log(sigmoid(x)).

    >>> gc.compile(nn.LogSigmoid()([-1000.0, 0.0]))()
    array([-1.000000e+03, -6.931472e-01], dtype=float32)
    """

    function = staticmethod(functional.logsigmoid)


class Tanh(_Activation):
    """Hyperbolic tangent.

    >>> gc.compile(nn.Tanh()([-1.0, 0.0, 1.0]))()
    array([-0.7615942,  0.       ,  0.7615942], dtype=float32)
    """

    function = staticmethod(functional.tanh)


class LeakyReLU(_Activation):
    """x where x > 0, else negative_slope * x.

    >>> gc.compile(nn.LeakyReLU(0.1)([-1.0, 2.0]))()
    array([-0.1,  2. ], dtype=float32)
    """

    function = staticmethod(functional.leaky_relu)
    option_names = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope


class ELU(_Activation):
    """x where x > 0, else alpha * (exp(x) - 1).

    >>> gc.compile(nn.ELU()([-1.0, 2.0]))()
    array([-0.63212055,  2.        ], dtype=float32)
    """

    function = staticmethod(functional.elu)
    option_names = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha


class CELU(_Activation):
    """x where x > 0, else alpha * (exp(x / alpha) - 1).

    >>> gc.compile(nn.CELU(alpha=2.0)([-1.0, 2.0]))()
    array([-0.78693867,  2.        ], dtype=float32)
    """

    function = staticmethod(functional.celu)
    option_names = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha


class GELU(_Activation):
    """x * Phi(x). See gc.gelu.

    >>> gc.compile(nn.GELU()([-1.0, 0.0, 1.0]))()
    array([-0.15865526,  0.        ,  0.8413447 ], dtype=float32)
    >>> gc.compile(nn.GELU(approximate="tanh")([-1.0, 0.0, 1.0]))()
    array([-0.158808,  0.      ,  0.841192], dtype=float32)
    """

    function = staticmethod(functional.gelu)
    option_names = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate


class Softplus(_Activation):
    """log(1 + exp(beta * x)) / beta.

    >>> gc.compile(nn.Softplus()([-1000.0, 0.0, 1000.0]))()
    array([0.000000e+00, 6.931472e-01, 1.000000e+03], dtype=float32)
    """

    function = staticmethod(functional.softplus)
    option_names = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold


class Hardtanh(_Activation):
    """x limited to min_val..max_val.

    >>> gc.compile(nn.Hardtanh(-2.0, 2.0)([-3.0, 0.5, 3.0]))()
    array([-2. ,  0.5,  2. ], dtype=float32)
    """

    function = staticmethod(functional.hardtanh)
    option_names = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        self.min_val, self.max_val = min_val, max_val


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along an axis.

    >>> gc.compile(nn.Softmax(dim=-1)([[0.0, 0.0], [0.0, 1000.0]]))()
    array([[0.5, 0.5],
           [0. , 1. ]], dtype=float32)
    """

    function = staticmethod(functional.softmax)
    option_names = ("axis",)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis


class LogSoftmax(_Activation):
    """log(softmax(x)) along an axis.

    >>> gc.compile(nn.LogSoftmax(dim=-1)([[0.0, 0.0], [0.0, 1000.0]]))()
    array([[-6.931472e-01, -6.931472e-01],
           [-1.000000e+03,  0.000000e+00]], dtype=float32)
    """

    function = staticmethod(functional.log_softmax)
    option_names = ("axis",)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis


class Softmin(_Activation):
    """softmax(-x) along an axis.

    >>> gc.compile(nn.Softmin(dim=0)([0.0, 1000.0]))()
    array([1., 0.], dtype=float32)
    """

    function = staticmethod(functional.softmin)
    option_names = ("axis",)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis


class Softmax2d(Module):
    """softmax over the channels of [batch, channels, height, width], or that without a batch.

    >>> nn.Softmax2d()(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 3, 8, 8)
    """

    def forward(self, input: Any) -> Tensor:
        """For every point of the picture, shares of its channels."""
        x = as_tensor(input)
        if x.ndim not in (3, 4):
            fail(ShapeError, "Softmax2d", f"input is {x.node.type}, which has not 3 or 4 axes")
        return functional.softmax(x, -3)


class Hardshrink(_Activation):
    """x where |x| > lambd, else 0.

    >>> gc.compile(nn.Hardshrink()([-1.0, 0.3, 2.0]))()
    array([-1.,  0.,  2.], dtype=float32)
    """

    function = staticmethod(functional.hardshrink)
    option_names = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd


class Softshrink(_Activation):
    """x moved towards 0 by lambd, and 0 where |x| <= lambd.

    >>> gc.compile(nn.Softshrink()([-1.0, 0.25, 2.0]))()
    array([-0.5,  0. ,  1.5], dtype=float32)
    """

    function = staticmethod(functional.softshrink)
    option_names = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd


class Tanhshrink(_Activation):
    """x - tanh(x).

    >>> gc.compile(nn.Tanhshrink()([0.0, 2.0]))()
    array([0.       , 1.0359724], dtype=float32)
    """

    function = staticmethod(functional.tanhshrink)


class Threshold(_Activation):
    """x where x > threshold, else value.

    >>> gc.compile(nn.Threshold(1.0, -9.0)([0.5, 2.0]))()
    array([-9.,  2.], dtype=float32)
    """

    function = staticmethod(functional.threshold)
    option_names = ("threshold", "value")

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value


class RReLU(_Activation):
    """leaky_relu with slopes drawn in training, uniform in lower to upper. See gc.rrelu.

    >>> gc.compile(nn.RReLU()([-24.0, 2.0]))()
    array([-5.5,  2. ], dtype=float32)
    """

    function = staticmethod(functional.rrelu)
    option_names = ("lower", "upper")

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3) -> None:
        self.lower, self.upper = lower, upper


class GLU(_Activation):
    """The first half of an axis times the sigmoid of the second.

    >>> gc.compile(nn.GLU()([1.0, 2.0, 0.0, 1000.0]))()
    array([0.5, 2. ], dtype=float32)
    """

    function = staticmethod(functional.glu)
    option_names = ("axis",)

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis


class PReLU(Module):
    """leaky_relu with trained slopes: one, or one per channel (axis 1).

    >>> x = gc.input("x", ("batch", 3, 8))
    >>> nn.PReLU(num_parameters=3)(x).shape
    ('batch', 3, 8)
    """

    def __init__(
        self, num_parameters: int = 1, init: Beginning = 0.25, dtype: Any = float32
    ) -> None:
        self.num_parameters = num_parameters
        self.weight = parameter("weight", (num_parameters,), dtype, _filled(init))

    def forward(self, input: Any) -> Tensor:
        """The input with negative elements scaled."""
        return functional.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


def _filled(value: Beginning) -> Beginning:
    return init.constant(value) if isinstance(value, (int, float)) else value
