"""How threads divide the points of an axis: consecutive, and as equally as whole units allow."""

from __future__ import annotations

from .emit import AROUND_LOOPS, FunctionEmitter, Value

_NAME = "gradc.share"


def share(f: FunctionEmitter, units: Value, part: Value, parts: Value) -> tuple[Value, Value]:
    """First unit, and one past the last, of share number `part` of `parts`."""
    following = f.binary("add", part, 1)
    low, high = (f.call_helper(units, _NAME, [units, n, parts], _build) for n in (part, following))
    return low, high


def _build() -> FunctionEmitter:
    """i64 share(units, number, parts): where the share of this number begins.

    A function, because a division of 64-bit numbers is long code on x86-64, where LLVM adds a test
    for operands that fit 32 bits.
    """
    parameters = (("i64", "units"), ("i64", "number"), ("i64", "parts"))
    f = FunctionEmitter(_NAME, parameters, "i64", "internal", AROUND_LOOPS)
    units, number, parts = (f.parameter(n) for n in range(3))
    product = f.binary("mul", units, number)
    with f.if_else(f.compare("eq", parts, 1)) as alone:  # a division takes long
        alone.give(product)
        alone.otherwise()
        alone.give(f.binary("udiv", product, parts))
    f.ret(alone.results[0])
    return f
