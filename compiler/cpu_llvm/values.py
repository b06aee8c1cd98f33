"""Values of text LLVM IR: typed names and literals that the emitter hands around.

A scalar LLVM type is one of double, float, half, bfloat, i128, i64, i32, i16, i8, i1, ptr. A value
of `lanes` > 1 is a vector of them. A literal is a value too: its name is the text that LLVM reads,
`0x3FF0000000000000` or `splat (float 0x3FF0000000000000)`; floats are always written as bits.
A bfloat is written as the i16 of its bits everywhere: LLVM would call a library to choose between
two of them on a CPU without bfloat instructions. It is loaded, stored, chosen and bitcast alone;
casts.py converts it.
Source: LLVM Language Reference, "Constants" and "Intrinsic Functions" (mangling), LLVM 22.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from ..types import DType

FLOAT_TYPES = ("double", "float", "half", "bfloat")
SIZE_BYTES = {
    "double": 8, "float": 4, "half": 2, "bfloat": 2,
    "i128": 16, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "i1": 1, "ptr": 8,
}  # fmt: skip
_LLVM_TYPE = {
    "f64": "double", "f32": "float", "f16": "half", "bf16": "bfloat",
    "i64": "i64", "i32": "i32", "i16": "i16", "i8": "i8", "u8": "i8", "bool": "i1",
}  # fmt: skip
_WRITTEN = {"bfloat": "i16"}
_MANGLED = {"double": "f64", "float": "f32", "half": "f16", "bfloat": "i16", "ptr": "p0"}


@dataclass(frozen=True)
class Value:
    """One register, global or literal: the text of its name, its scalar type, its lanes."""

    name: str
    type: str
    lanes: int = 1

    @property
    def llvm(self) -> str:
        """The full LLVM type, as `<16 x float>` or `float`."""
        return vector_type(self.type, self.lanes)

    @property
    def is_float(self) -> bool:
        return self.type in FLOAT_TYPES

    @property
    def is_literal(self) -> bool:
        return self.name[:1] not in ("%", "@")

    @property
    def integer(self) -> int | None:
        """The number that a scalar integer literal stands for; None for anything else."""
        text = self.name
        if (
            self.lanes != 1
            or self.is_float
            or not (text.isdecimal() or (text[:1] == "-" and text[1:].isdecimal()))
        ):
            return None
        return int(text)

    @property
    def flags(self) -> tuple[bool, ...] | None:
        """The lanes of a literal vector of i1; None for anything else."""
        if self.type != "i1" or self.lanes == 1 or not self.is_literal:
            return None
        if self.name.startswith("splat"):
            return (self.name == "splat (i1 true)",) * self.lanes
        return tuple(lane.endswith("true") for lane in self.name.strip("<>").split(","))

    def __str__(self) -> str:
        return f"{self.llvm} {self.name}"


Operand = Value | int | float


def llvm_type(dtype: DType) -> str:
    """The scalar type that holds a `dtype` in a register; a bool is i1 there."""
    return _LLVM_TYPE[dtype.short]


def vector_type(scalar: str, lanes: int) -> str:
    """The type as LLVM reads it."""
    written = _WRITTEN.get(scalar, scalar)
    return written if lanes == 1 else f"<{lanes} x {written}>"


def mangled(scalar: str, lanes: int = 1) -> str:
    """A type as it is spelt in an intrinsic's name: `v16f32`."""
    text = _MANGLED.get(scalar, scalar)
    return text if lanes == 1 else f"v{lanes}{text}"


def literal(scalar: str, value: int | float | bool) -> str:
    """The text of one scalar constant; a float is rounded to its type and written as bits."""
    if scalar in ("double", "float"):
        number = float(np.float32(value)) if scalar == "float" else float(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    if scalar == "half":
        return f"0xH{int(np.float16(value).view(np.uint16)):04X}"
    if scalar == "bfloat":
        return str(int(np.asarray(value, ml_dtypes.bfloat16).view(np.int16)))
    if scalar == "i1":
        return "true" if value else "false"
    if scalar == "ptr":
        return "null"
    bits = 8 * SIZE_BYTES[scalar]
    number = int(value) & ((1 << bits) - 1)
    return str(number - (1 << bits) if number >> (bits - 1) else number)


def constant(scalar: str, value: int | float | bool, lanes: int = 1) -> Value:
    """A literal of this type, the same in every lane."""
    text = literal(scalar, value)
    splat = f"splat ({vector_type(scalar, 1)} {text})"
    return Value(text if lanes == 1 else splat, scalar, lanes)
