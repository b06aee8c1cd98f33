"""How threads divide the points of an axis: consecutive, and as equally as whole units allow."""

from __future__ import annotations

from .context import KERNEL_PARAMETERS, KernelContext
from .emit import AROUND_LOOPS, FunctionEmitter, Value

_NAME, _OWN_NAME = "gradc.share", "gradc.own_share"
_RANGE = "{ i64, i64 }"


def share(f: FunctionEmitter, units: Value, part: Value, parts: Value) -> tuple[Value, Value]:
    """First unit, and one past the last, of share number `part` of `parts`."""
    return _apart(f, f.call_helper(Value("", _RANGE), _NAME, [units, part, parts], _build))


def own_share(f: FunctionEmitter, points: Value, unit: int = 1) -> tuple[Value, Value]:
    """First point, and one past the last, of this thread's share of so many, in units of `unit`,
    whose last one may end early; in a function with KERNEL_PARAMETERS."""
    name, given = f"{_OWN_NAME}_{unit}", [f.parameter(0), points]
    return _apart(f, f.call_helper(Value("", _RANGE), name, given, lambda: _build_own(name, unit)))


def _apart(f: FunctionEmitter, found: Value) -> tuple[Value, Value]:
    low, high = (f.emit(f"extractvalue {found}, {n}", "i64") for n in range(2))
    return low, high


def _return(f: FunctionEmitter, values: tuple[Value, Value]) -> None:
    found = Value("undef", _RANGE)
    for number, value in enumerate(values):
        found = f.emit(f"insertvalue {found}, {value}, {number}", _RANGE)
    f.ret(found)


def _build() -> FunctionEmitter:
    """{ i64, i64 } share(units, part, parts).

    A function, because a division of 64-bit numbers is long code on x86-64, where LLVM adds a test
    for operands that fit 32 bits.
    """
    parameters = (("i64", "units"), ("i64", "part"), ("i64", "parts"))
    f = FunctionEmitter(_NAME, parameters, _RANGE, "internal", AROUND_LOOPS)
    units, part, parts = (f.parameter(n) for n in range(3))
    low = f.binary("mul", units, part)
    high = f.binary("add", low, units)
    with f.if_else(f.compare("eq", parts, 1)) as alone:  # a division takes long
        alone.give(low, high)
        alone.otherwise()
        alone.give(f.binary("udiv", low, parts), f.binary("udiv", high, parts))
    _return(f, (alone.results[0], alone.results[1]))
    return f


def _build_own(name: str, unit: int) -> FunctionEmitter:
    """{ i64, i64 } own_share(frame, points): what every kernel of several threads begins with."""
    parameters = (*KERNEL_PARAMETERS, ("i64", "points"))
    f = FunctionEmitter(name, parameters, _RANGE, "internal", AROUND_LOOPS)
    context, points = KernelContext(f, ()), f.parameter(1)
    part, parts = (context.parameter(name) for name in ("tid", "threads"))
    units = f.binary("udiv", f.binary("add", points, unit - 1), unit)
    low, high = (f.binary("mul", end, unit) for end in share(f, units, part, parts))
    _return(f, (low, f.intrinsic("llvm.umin", "i64", high, points)))
    return f
