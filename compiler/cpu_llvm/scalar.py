"""The scalar primitives of the loop IR as LLVM code: one entry of SCALAR for each.

    emit(f, arguments, dtype, result) -> Value

`dtype` is the operands' element type, `result` the result's; arguments hold any number of lanes,
all the same or 1. A bool is i1. Float functions take 16-bit floats by way of float32. Results do
not depend on the number of lanes, nor on the target.

Choices that NumPy leaves to the platform or that differ from it:
  min, max   NaN if either is; of equal operands (-0 and +0) the first
  sign       0 for both zeros, NaN for NaN
  add, mul   of bools are or, and; bools have no sub, neg, pow, div
  pow        of integers: see integers.py; casts: see casts.py
Functions that are long and rarely hot are emitted once a module and called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import DTypeError
from ..loops.primitives import every_primitive
from ..types import DType, int32
from . import integers
from .casts import cast, narrow, widen
from .emit import FunctionEmitter
from .maths import division, error_function, exponential, gamma, logarithm, power, trigonometric
from .maths.floats import INFINITY, absolute, copysign, is_nan, sqrt
from .maths.philox import philox
from .values import Value, llvm_type

Emit = Callable[[FunctionEmitter, Sequence[Value], DType, DType], Value]
Function = Callable[..., Value]


def _refuse(name: str, dtype: DType) -> DTypeError:
    return DTypeError(f"not defined for {dtype.name}", operation=name)


# Floats.


def _single(function: Function) -> Emit:
    """A float function that works in the operand's own format, float or double."""
    return _floating(lambda f, args: function(f, *args))


def _inlined(name: str, function: Function) -> Emit:
    """A float function of some length: written out, or called where that has been done often."""
    return _floating(lambda f, args: _copy_or_call(f, name, function, args))


def _copy_or_call(
    f: FunctionEmitter, name: str, function: Function, args: Sequence[Value]
) -> Value:
    f.copies[name] += 1
    if f.copies[name] > f.most_copies:
        return f.call_shared(name, function, args)
    return function(f, *args)


def _outlined(name: str, function: Function, wide: bool = True) -> Emit:
    """A float function called, not inlined; `wide`: float goes through double."""

    def emit(f: FunctionEmitter, args: Sequence[Value]) -> Value:
        scalar = args[0].type
        through = "double" if wide else scalar
        values = [narrow(f, a, through) for a in args]
        return narrow(f, f.call_shared(name, function, values), scalar)

    return _floating(emit)


def _outlined_alone(name: str, function: Function) -> Emit:
    """A float function called where it computes one double: a schedule's does, once a step."""

    def emit(f: FunctionEmitter, args: Sequence[Value]) -> Value:
        alone = args[0].type == "double" and args[0].lanes == 1
        if alone:
            return f.call_shared(name, function, args)
        return _copy_or_call(f, name, function, args)

    return _floating(emit)


def _floating(function: Callable[[FunctionEmitter, Sequence[Value]], Value]) -> Emit:
    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        if not dtype.is_float:
            raise DTypeError(f"needs a float, not {dtype.name}")
        values = f.alike(*(widen(f, a) for a in args))
        return narrow(f, function(f, values), llvm_type(result))

    return emit


def _pow_float(f: FunctionEmitter, args: Sequence[Value]) -> Value:
    if args[0].type == "double":
        return f.call_shared("pow", power.pow_double, args)
    wide = [f.cast("fpext", a, "double") for a in args]
    return f.cast("fptrunc", f.call_shared("powf", power.pow_for_single, wide), "float")


def _erf(f: FunctionEmitter, args: Sequence[Value]) -> Value:
    if args[0].type == "double":
        return f.call_shared("erf", error_function.erf, args)
    return _copy_or_call(f, "erf", error_function.erf, args)


def _sign_float(f: FunctionEmitter, x: Value) -> Value:
    below = f.select(f.compare("olt", x, 0.0), f.const(x.type, -1.0, x.lanes), x)
    value = f.select(f.compare("ogt", x, 0.0), 1.0, below)
    return f.select(f.compare("oeq", x, 0.0), 0.0, value)


def _copysign(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    """16-bit floats by a choice of bits: LLVM 22 aborts on copysigns that it sees in bfloat."""
    if dtype.bits != 16 or not dtype.is_float:
        return _single(copysign)(f, args, dtype, result)
    size, sign = (f.cast("bitcast", a, "i16") for a in f.alike(*args))
    plus, minus = f.binary("and", size, 0x7FFF), f.binary("or", size, 0x8000)
    bits = f.select(f.compare("slt", sign, 0), minus, plus)
    return f.cast("bitcast", bits, args[0].type)


def _intrinsic(name: str) -> Emit:
    return _single(lambda f, *args: f.intrinsic(name, args[0].type, *args))


# Operations on every type.


def _arithmetic(name: str, of_bool: str | None) -> Emit:
    floating = _single(lambda f, a, b: f.binary(f"f{name}", a, b))

    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        if dtype.is_float:
            return floating(f, args, dtype, result)
        if not dtype.is_bool:
            return f.binary(name, args[0], args[1])
        if of_bool is None:
            raise _refuse(name, dtype)
        return f.binary(of_bool, args[0], args[1])

    return emit


def _by_kind(name: str, floating: Emit, integer: Function | None) -> Emit:
    """Floats one way, integers another: integer(f, *args, dtype); never bools."""

    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        if dtype.is_float:
            return floating(f, args, dtype, result)
        if dtype.is_bool or integer is None:
            raise _refuse(name, dtype)
        return integer(f, *args, dtype)

    return emit


def _fma_integer(f: FunctionEmitter, a: Value, b: Value, c: Value, dtype: DType) -> Value:
    return f.add(f.mul(a, b), c)


def _abs(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    x = args[0]
    if dtype.is_float and dtype.bits == 16:
        return _with_bits(f, x, "and", 0x7FFF)
    if dtype.is_float:
        return absolute(f, x)
    if dtype.kind != "int":
        return x
    return f.select(f.compare("slt", x, 0), f.sub(0, x), x)


def _neg(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    if dtype.is_bool:
        raise _refuse("neg", dtype)
    if dtype.is_float and dtype.bits == 16:
        return _with_bits(f, args[0], "xor", 0x8000)
    return f.fneg(args[0]) if dtype.is_float else f.sub(0, args[0])


def _with_bits(f: FunctionEmitter, x: Value, op: str, mask: int) -> Value:
    """A 16-bit float with its bits changed; LLVM 20 would convert a bfloat to change its sign."""
    bits = f.binary(op, f.cast("bitcast", x, "i16"), mask)
    return f.cast("bitcast", bits, x.type)


def _sign(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    if dtype.is_float:
        return _single(_sign_float)(f, args, dtype, result)
    return integers.sign(f, args[0], dtype)


def _extremum(of_float: str, of_int: str) -> Emit:
    """min or max; the predicate says when the second operand is taken."""

    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        a, b = f.alike(*args)
        if not dtype.is_float:
            letter = "s" if dtype.kind == "int" else "u"
            return f.select(f.compare(letter + of_int, b, a), b, a)
        wide_a, wide_b = widen(f, a), widen(f, b)
        value = f.select(f.compare(of_float, wide_b, wide_a), b, a)
        if b.is_literal and "7FF8" not in b.name:  # a number: only `a` can be NaN, and is kept
            return value
        return f.select(is_nan(f, wide_b), b, value)

    return emit


def _comparison(name: str) -> Emit:
    of_float = {"ne": "une"}.get(name, f"o{name}")

    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        if dtype.is_float:
            return f.compare(of_float, *(widen(f, a) for a in args))
        if name in ("eq", "ne"):
            return f.compare(name, *args)
        return f.compare(("s" if dtype.kind == "int" else "u") + name, *args)

    return emit


def _class_test(test: Function, of_integer: bool) -> Emit:
    """isnan, isinf, isfinite: i1 from a float; a constant for other types."""

    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        if not dtype.is_float:
            return f.const("i1", of_integer, args[0].lanes)
        return test(f, widen(f, args[0]))

    return emit


def _bitwise(op: str) -> Emit:
    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        if dtype.is_float:
            raise _refuse(op, dtype)
        return f.binary(op, args[0], args[1])

    return emit


def _not(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    if dtype.is_float:
        raise _refuse("not", dtype)
    return f.binary("xor", args[0], True if dtype.is_bool else -1)


def _shift(name: str, function: Function) -> Emit:
    def emit(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
        if not dtype.is_integer:
            raise _refuse(name, dtype)
        return function(f, *f.alike(*args), dtype)

    return emit


def _select(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    return f.select(args[0], args[1], args[2])


def _cast(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    return cast(f, args[0], dtype, result)


def _bitcast(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    if dtype.bits != result.bits or dtype.is_bool != result.is_bool:
        raise DTypeError(f"cannot reinterpret {dtype.name} as {result.name}", operation="bitcast")
    return f.cast("bitcast", args[0], llvm_type(result))


def _philox(f: FunctionEmitter, args: Sequence[Value], dtype: DType, result: DType) -> Value:
    if dtype is not int32:
        raise _refuse("philox", dtype)
    return f.call_shared("philox", philox, args)


SCALAR: Mapping[str, Emit] = every_primitive(
    "cpu",
    {
        "add": _arithmetic("add", "or"),
        "sub": _arithmetic("sub", None),
        "mul": _arithmetic("mul", "and"),
        "div": _by_kind("div", _single(lambda f, a, b: f.div(a, b)), None),
        "floor_div": _by_kind(
            "floor_div", _outlined("floor_div", division.floor_div, False), integers.floor_div
        ),
        "mod": _by_kind("mod", _outlined("mod", division.mod, False), integers.mod),
        "neg": _neg,
        "abs": _abs,
        "sign": _sign,
        "min": _extremum("olt", "lt"),
        "max": _extremum("ogt", "gt"),
        "fma": _by_kind("fma", _single(lambda f, a, b, c: f.fma(a, b, c)), _fma_integer),
        "sqrt": _single(sqrt),
        "pow": _by_kind("pow", _floating(_pow_float), integers.power),
        "exp": _inlined("exp", exponential.exp),
        "exp2": _inlined("exp2", exponential.exp2),
        "expm1": _inlined("expm1", exponential.expm1),
        "log": _inlined("log", logarithm.log),
        "log2": _inlined("log2", logarithm.log2),
        "log10": _inlined("log10", logarithm.log10),
        "log1p": _inlined("log1p", logarithm.log1p),
        "sin": _outlined_alone("sin", trigonometric.sin),
        "cos": _outlined_alone("cos", trigonometric.cos),
        "tan": _outlined("tan", trigonometric.tan),
        "asin": _outlined("asin", trigonometric.asin),
        "acos": _outlined("acos", trigonometric.acos),
        "atan": _outlined("atan", trigonometric.atan),
        "atan2": _outlined("atan2", trigonometric.atan2),
        "sinh": _outlined("sinh", exponential.sinh),
        "cosh": _outlined("cosh", exponential.cosh),
        "tanh": _inlined("tanh", exponential.tanh),
        "asinh": _outlined("asinh", logarithm.asinh),
        "acosh": _outlined("acosh", logarithm.acosh),
        "atanh": _outlined("atanh", logarithm.atanh),
        "hypot": _outlined("hypot", power.hypot),
        "erf": _floating(_erf),
        "erfc": _outlined("erfc", error_function.erfc),
        "lgamma": _outlined("lgamma", gamma.lgamma),
        "digamma": _outlined("digamma", gamma.digamma),
        "zeta": _outlined("zeta", gamma.zeta),
        "sigmoid": _inlined("sigmoid", exponential.sigmoid),
        "copysign": _copysign,
        "floor": _intrinsic("llvm.floor"),
        "ceil": _intrinsic("llvm.ceil"),
        "trunc": _intrinsic("llvm.trunc"),
        "round": _intrinsic("llvm.roundeven"),
        "isnan": _class_test(is_nan, False),
        "isinf": _class_test(lambda f, x: f.compare("oeq", absolute(f, x), INFINITY), False),
        "isfinite": _class_test(lambda f, x: f.compare("olt", absolute(f, x), INFINITY), True),
        "eq": _comparison("eq"),
        "ne": _comparison("ne"),
        "lt": _comparison("lt"),
        "le": _comparison("le"),
        "gt": _comparison("gt"),
        "ge": _comparison("ge"),
        "and": _bitwise("and"),
        "or": _bitwise("or"),
        "xor": _bitwise("xor"),
        "not": _not,
        "shl": _shift("shl", integers.shl),
        "shr": _shift("shr", integers.shr),
        "select": _select,
        "cast": _cast,
        "bitcast": _bitcast,
        "philox": _philox,
    },
)
