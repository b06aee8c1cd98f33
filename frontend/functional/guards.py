"""Guards: slopes that stay finite where a step inside a function has none.

A cotangent of 0 times an infinite slope is NaN. So a choice made after the singular step, as in
`where(x > 0, log(x), 0)`, guards the value and not the slope. Functions here choose before it: the
singular step is given a harmless operand, `where(x > 0, log(where(x > 0, x, 1)), 0)`. That serves
every order of derivative, and forward derivatives, which are reverse ones twice.
"""

from __future__ import annotations

from gradc.compiler.types import DType, float32

from .. import reductions
from ..tensor import Tensor, TensorLike, as_tensor, derive
from . import elementwise as each


def root(x: Tensor) -> Tensor:
    """The square root with slope 0 at 0, PyTorch's subgradient of norms."""
    return derive(reductions.root(x.node), x)


def at_least(x: Tensor, least: float) -> Tensor:
    """The larger of x and `least`, with slope 1 in both cases.

    It is what PyTorch's clamp under `no_grad` gives.
    """
    return each.where(x < least, least + (x - each.stop_gradient(x)), x)


def wide(input: TensorLike) -> tuple[Tensor, DType]:
    """The operand for sums of powers, and the dtype of the result: float32 for integers.

    16-bit floats become float32, in which squares do not overflow and a small eps is not 0.
    """
    x = as_tensor(input)
    dtype = x.dtype if x.dtype.is_float else float32
    return x.astype(float32 if dtype.bits == 16 else dtype), dtype
