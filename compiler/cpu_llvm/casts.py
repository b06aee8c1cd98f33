"""Conversions between every two element types.

float to integer    towards zero; out of range gives the nearest integer of the type, NaN gives 0
any to bool         whether it is not 0; NaN is true
bool to any         0 or 1
integer to integer  the low bits, extended by sign or by zeros as the source's type says
to a shorter float  one rounding to nearest, ties to even, from double too

bfloat16 is converted with integer instructions: LLVM would call a library where the CPU has none.
In range this is what NumPy's astype gives; out of range NumPy leaves it to the platform.
"""

from __future__ import annotations

from ..types import DType
from .emit import FunctionEmitter
from .values import Value, llvm_type, mangled


def cast(f: FunctionEmitter, x: Value, source: DType, target: DType) -> Value:
    """`x`, of dtype `source`, as `target`."""
    if source == target:
        return x
    if target.is_bool:
        return f.compare("une" if source.is_float else "ne", widen(f, x), 0)
    if source.is_float:
        return _from_float(f, widen(f, x), target)
    if target.is_float:
        return _int_to_float(f, x, source, target)
    return _int_to_int(f, x, source, target)


def widen(f: FunctionEmitter, x: Value) -> Value:
    """A 16-bit float as float; anything else as it is."""
    if x.type == "half":
        return f.cast("fpext", x, "float")
    if x.type == "bfloat":
        bits = f.cast("zext", f.cast("bitcast", x, "i16"), "i32")
        return f.cast("bitcast", f.binary("shl", bits, 16), "float")
    return x


def narrow(f: FunctionEmitter, x: Value, scalar: str) -> Value:
    """A float or double rounded to any float type."""
    if x.type == scalar:
        return x
    if scalar == "double":
        return f.cast("fpext", x, scalar)
    if scalar == "float":
        return f.cast("fptrunc", x, scalar)
    single = _to_odd(f, x) if x.type == "double" else x
    if scalar == "half":
        return f.cast("fptrunc", single, scalar)
    return _to_bfloat(f, single)


def _to_odd(f: FunctionEmitter, x: Value) -> Value:
    """double to float, inexact results made odd: a second, shorter rounding is then as if first.

    Source: S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums: proved
    algorithms using rounding to odd", IEEE Trans. Computers 57 (2008).
    """
    nearest = f.cast("fptrunc", x, "float")
    back = f.cast("fpext", nearest, "double")
    size, whole = (f.intrinsic("llvm.fabs", "double", v) for v in (back, x))
    above = f.cast("zext", f.compare("ogt", size, whole), "i32")
    inexact = f.cast("zext", f.compare("one", size, whole), "i32")
    bits = f.sub(f.cast("bitcast", nearest, "i32"), above)
    return f.cast("bitcast", f.binary("or", bits, inexact), "float")


def _to_bfloat(f: FunctionEmitter, x: Value) -> Value:
    bits = f.cast("bitcast", x, "i32")
    upper = f.binary("lshr", bits, 16)
    half = f.add(f.binary("and", upper, 1), 0x7FFF)
    nearest = f.binary("lshr", f.add(bits, half), 16)
    kept = f.select(f.compare("uno", x, x), f.binary("or", upper, 0x40), nearest)
    return f.cast("bitcast", f.cast("trunc", kept, "i16"), "bfloat")


def _from_float(f: FunctionEmitter, x: Value, target: DType) -> Value:
    scalar = llvm_type(target)
    if target.is_float:
        return narrow(f, x, scalar)
    name = "llvm.fptoui.sat" if target.kind == "uint" else "llvm.fptosi.sat"
    overloads = [mangled(scalar, x.lanes), mangled(x.type, x.lanes)]
    return f.intrinsic(name, scalar, x, overloads=overloads)


def _int_to_float(f: FunctionEmitter, x: Value, source: DType, target: DType) -> Value:
    op = "sitofp" if source.kind == "int" else "uitofp"
    scalar = llvm_type(target)
    wide = scalar if scalar in ("float", "double") else "double"
    return narrow(f, f.cast(op, x, wide), scalar)


def _int_to_int(f: FunctionEmitter, x: Value, source: DType, target: DType) -> Value:
    scalar = llvm_type(target)
    if target.bits == source.bits:
        return x
    if target.bits < source.bits:
        return f.cast("trunc", x, scalar)
    return f.cast("sext" if source.kind == "int" else "zext", x, scalar)
