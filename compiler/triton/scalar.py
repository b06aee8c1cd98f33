"""The scalar primitives as Triton text: those of the CPU, which are written for any emitter.

Of its own has this target the random bits, because a CPU's are made for vectors that meet in pairs
of lanes; they are the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..cpu_llvm.emit import FunctionEmitter
from ..cpu_llvm.scalar import SCALAR as CPU_SCALAR
from ..cpu_llvm.scalar import Emit
from ..cpu_llvm.values import Value
from ..errors import DTypeError
from ..loops.primitives import every_primitive
from ..philox import INCREMENTS, MULTIPLIERS, ROUNDS
from ..types import DType, int32
from .text import TextEmitter

_PHILOX_TEXT = f"""\
@triton.jit
def gradc_philox(c0, c1, c2, c3, k0, k1):
    c0 = c0.to(tl.uint32, bitcast=True)
    c1 = c1.to(tl.uint32, bitcast=True)
    c2 = c2.to(tl.uint32, bitcast=True)
    c3 = c3.to(tl.uint32, bitcast=True)
    k0 = k0.to(tl.uint32, bitcast=True)
    k1 = k1.to(tl.uint32, bitcast=True)
    for _ in tl.static_range({ROUNDS}):
        a, b = c0, c2
        c0 = tl.umulhi({MULTIPLIERS[1]:#x}, b) ^ c1 ^ k0
        c2 = tl.umulhi({MULTIPLIERS[0]:#x}, a) ^ c3 ^ k1
        c1 = b * {MULTIPLIERS[1]:#x}
        c3 = a * {MULTIPLIERS[0]:#x}
        k0 = k0 + {INCREMENTS[0]:#x}
        k1 = k1 + {INCREMENTS[1]:#x}
    return c0.to(tl.int32, bitcast=True)
"""


def _philox(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    """Word 0 of the block; compiler/philox.py has the source."""
    if dtype is not int32:
        raise DTypeError(f"not defined for {dtype.name}", operation="philox")
    assert isinstance(f, TextEmitter)
    return f.call_text("gradc_philox", _PHILOX_TEXT, args, ["i32"])[0]


SCALAR: Mapping[str, Emit] = every_primitive("cuda", {**CPU_SCALAR, "philox": _philox})
