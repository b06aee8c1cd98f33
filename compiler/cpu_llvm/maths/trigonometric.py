"""sin, cos, tan for every finite argument, and the inverse functions.

Reduction: x = n pi/2 + r, |r| <= pi/4. Up to 2^30 with pi/2 in three parts (Cody and Waite, 1980),
where x - n * first part is exact; beyond, from the bits of 2/pi that matter, in integers
(M. Payne and R. Hanek, "Radian reduction for trigonometric functions", SIGNUM 18, 1983). float32
arguments are reduced in float64.

Inverse functions go through one kernel, the angle of a point: no two of them can disagree.
"""

from __future__ import annotations

from ..emit import AROUND_LOOPS, FunctionEmitter
from ..values import Value
from .floats import (
    INFINITY,
    NAN,
    Pair,
    absolute,
    any_lane,
    both,
    copysign,
    either,
    even_odd,
    from_bits,
    horner,
    is_negative,
    is_single,
    ordered_sum,
    sqrt,
    to_bits,
    to_nearest,
    two_product,
    two_sum,
)
from .tables import ATAN_F64, COS_F32, COS_F64, HALF_PI_F64, SIN_F32, SIN_F64, TWO_OVER_PI

_LARGE = 2.0**30
_PER_HALF_PI = 0.6366197723675814  # 2/pi rounded: TWO_OVER_PI
_TAN_PI_8 = 0.41421356237309503  # sqrt(2) - 1
_REDUCE_LARGE = "gradc.reduce_large"


def _reduce(f: FunctionEmitter, x: Value) -> tuple[Value, Value, Value]:
    """(quadrant, r, rest) of doubles: x = n pi/2 + r + rest; the low two bits of quadrant are n."""
    first, second, third = HALF_PI_F64
    n, quadrant = to_nearest(f, x, _PER_HALF_PI)
    near = f.fma(n, -first, x)
    product, lost = two_product(f, n, f.const("double", second, x.lanes))
    middle, error = two_sum(f, near, f.fneg(product))
    rest = f.fma(n, -third, f.sub(error, lost))
    high, low = ordered_sum(f, middle, rest)
    large = f.compare("oge", absolute(f, x), _LARGE)
    with f.if_else(any_lane(f, large)) as branch:
        branch.give(*_reduce_lanes_again(f, x, quadrant, high, low))
        branch.otherwise()
        branch.give(quadrant, high, low)
    return branch.results[0], branch.results[1], branch.results[2]


def _reduce_lanes_again(f: FunctionEmitter, x: Value, *reduced: Value) -> list[Value]:
    """`reduced` with the lanes of large x replaced, through memory."""
    lanes = x.lanes
    memory = f.alloca("i64", 4 * lanes, align=8)
    cells = [f.gep(memory, n * lanes, "i64") for n in range(4)]
    for value, cell in zip((x, *reduced), cells, strict=True):
        f.store(value, cell)
    f.call_helper(None, _REDUCE_LARGE, [memory, f.const("i64", lanes)], _build_reduce_large)
    return [f.load(v.type, cell, lanes) for v, cell in zip(reduced, cells[1:], strict=True)]


def _build_reduce_large() -> FunctionEmitter:
    """void(memory, count): reduce every finite x of 2^30 or more, lane by lane. In memory so many x
    stand before as many quadrants, r and rests."""
    parameters = [("ptr", "memory"), ("i64", "count")]
    f = FunctionEmitter(_REDUCE_LARGE, parameters, linkage="internal", attributes=AROUND_LOOPS)
    with f.loop(0, f.parameter(1)) as loop:
        cells = [f.gep(f.parameter(0), loop.index, "i64")]
        for _ in range(3):
            cells.append(f.gep(cells[-1], f.parameter(1), "i64"))
        x = f.load("double", cells[0])
        a = absolute(f, x)
        large = both(f, f.compare("oge", a, _LARGE), f.compare("olt", a, INFINITY))
        with f.if_(large):
            for value, cell in zip(_reduce_large(f, x), cells[1:], strict=True):
                f.store(value, cell)
    f.ret()
    return f


def _reduce_large(f: FunctionEmitter, x: Value) -> tuple[Value, Value, Value]:
    """Payne and Hanek. |x| = m 2^(e-1075); bits of 2/pi whose product with m is a multiple of 4
    are skipped, 192 bits follow, and the product's low 192 bits are quadrant and fraction.
    """
    bits = to_bits(f, x)
    exponent = f.binary("and", f.binary("lshr", bits, 52), 0x7FF)
    mantissa = f.binary("or", f.binary("and", bits, (1 << 52) - 1), 1 << 52)
    at = f.sub(exponent, 1013)
    table = f.gep(f.table("i64", TWO_OVER_PI), f.binary("lshr", at, 6), "i64")
    shift = f.binary("and", at, 63)
    words = [f.load("i64", f.gep(table, i, "i64")) for i in range(4)]
    high, middle, low = (_funnel(f, words[i], words[i + 1], shift) for i in range(3))
    m = f.cast("zext", mantissa, "i128")
    bottom = f.mul(m, f.cast("zext", low, "i128"))
    carried = f.add(f.mul(m, f.cast("zext", middle, "i128")), f.binary("lshr", bottom, 64))
    product = [
        f.add(f.mul(mantissa, high), _upper(f, carried)),
        f.cast("trunc", carried, "i64"),
        f.cast("trunc", bottom, "i64"),
    ]
    two = f.const("i64", 2)
    top = _funnel(f, product[0], product[1], two)
    fraction = f.binary(
        "or",
        f.binary("shl", f.cast("zext", top, "i128"), 64),
        f.cast("zext", _funnel(f, product[1], product[2], two), "i128"),
    )
    negative = f.compare("slt", top, 0)
    quadrant = f.add(f.binary("lshr", product[0], 62), f.cast("zext", negative, "i64"))
    magnitude = f.select(negative, f.sub(0, fraction), fraction)
    r, rest = _times_half_pi(f, magnitude)
    flip = f.compare("ne", negative, is_negative(f, x))
    quadrant = f.select(is_negative(f, x), f.sub(0, quadrant), quadrant)
    return (
        quadrant,
        f.select(flip, f.fneg(r), r),
        f.select(flip, f.fneg(rest), rest),
    )


def _times_half_pi(f: FunctionEmitter, fraction: Value) -> Pair:
    """fraction / 2^128 * pi/2 in two parts, for a fraction that is an i128 and not 0."""
    zeros = f.call("i128", 1, "llvm.ctlz.i128", [fraction, f.const("i1", True)])
    shifted = f.binary("shl", fraction, zeros)
    upper, lower = _upper(f, shifted), f.cast("trunc", shifted, "i64")
    kept = f.binary("and", upper, ~0x7FF)
    dropped = f.binary(
        "or",
        f.binary("shl", f.binary("and", upper, 0x7FF), 53),
        f.binary("lshr", lower, 11),
    )
    field = f.sub(1023, f.cast("trunc", zeros, "i64"))
    scale = from_bits(f, f.binary("shl", field, 52))
    high = f.mul(f.cast("uitofp", kept, "double"), f.mul(scale, 2.0**-64))
    low = f.mul(f.cast("uitofp", dropped, "double"), f.mul(scale, 2.0**-117))
    product, error = two_product(f, high, HALF_PI_F64[0])
    rest = f.fma(low, HALF_PI_F64[0], f.fma(high, HALF_PI_F64[1], error))
    return ordered_sum(f, product, rest)


def _funnel(f: FunctionEmitter, a: Value, b: Value, shift: Value) -> Value:
    """The upper word of (a b) << shift, shift < 64."""
    return f.intrinsic("llvm.fshl", "i64", a, b, shift)


def _upper(f: FunctionEmitter, x: Value) -> Value:
    return f.cast("trunc", f.binary("lshr", x, 64), "i64")


def _sine_and_cosine(f: FunctionEmitter, r: Value, rest: Value) -> Pair:
    """Both, in double, for |r| <= pi/4; `rest` counts to first order."""
    z = f.mul(r, r)
    half = f.mul(z, 0.5)
    cube = f.mul(z, r)
    small = f.sub(rest, f.mul(half, rest))
    sine = f.add(r, f.fma(cube, even_odd(f, z, SIN_F64), small))
    one_less = f.sub(1.0, half)
    lost = f.sub(f.sub(1.0, one_less), half)
    tail = f.fma(f.mul(z, z), even_odd(f, z, COS_F64), f.sub(lost, f.mul(r, rest)))
    return sine, f.add(one_less, tail)


def _sine_and_cosine_single(f: FunctionEmitter, r: Value) -> Pair:
    z = f.mul(r, r)
    sine = f.fma(f.mul(z, r), horner(f, z, SIN_F32), r)
    series = f.fma(z, horner(f, z, COS_F32), -0.5)
    return sine, f.fma(z, series, 1.0)


def _circular(f: FunctionEmitter, x: Value, turns: int) -> Value:
    """sin(x + turns pi/2)."""
    if is_single(x):
        quadrant, wide, _ = _reduce(f, f.cast("fpext", x, "double"))
        quadrant = f.cast("trunc", quadrant, "i32")
        sine, cosine = _sine_and_cosine_single(f, f.cast("fptrunc", wide, "float"))
        sign_bit = 31
    else:
        quadrant, r, rest = _reduce(f, x)
        sine, cosine = _sine_and_cosine(f, r, rest)
        sign_bit = 63
    quarter = f.add(quadrant, turns)
    odd = f.compare("ne", f.binary("and", quarter, 1), 0)
    value = f.select(odd, cosine, sine)
    sign = f.binary("shl", f.binary("and", quarter, 2), sign_bit - 1)
    return from_bits(f, f.binary("xor", to_bits(f, value), sign))


def sin(f: FunctionEmitter, x: Value) -> Value:
    """Sine; NaN for infinities."""
    tiny = f.compare("olt", absolute(f, x), 2.0**-30)
    return f.select(tiny, x, _circular(f, x, 0))


def cos(f: FunctionEmitter, x: Value) -> Value:
    """Cosine; NaN for infinities."""
    return _circular(f, x, 1)


def tan(f: FunctionEmitter, x: Value) -> Value:
    """sin/cos or -cos/sin of what reduction leaves; double only."""
    quadrant, r, rest = _reduce(f, x)
    sine, cosine = _sine_and_cosine(f, r, rest)
    odd = f.compare("ne", f.binary("and", quadrant, 1), 0)
    upper = f.select(odd, f.fneg(cosine), sine)
    result = f.div(upper, f.select(odd, sine, cosine))
    return f.select(f.compare("olt", absolute(f, x), 2.0**-30), x, result)


def atan2(f: FunctionEmitter, y: Value, x: Value) -> Value:
    """Angle of the point (x, y) in (-pi, pi]; double only. Zeros and infinities as in C99 Annex F.

    q = small/large of |x|, |y|; above tan(pi/8) the angle is pi/4 + atan((s - l)/(s + l)).
    """
    ax, ay = absolute(f, x), absolute(f, y)
    steep = f.compare("ogt", ay, ax)
    small, large = f.select(steep, ax, ay), f.select(steep, ay, ax)
    one = f.const("double", 1.0, x.lanes)
    endless = f.compare("oeq", small, INFINITY)
    small, large = f.select(endless, one, small), f.select(endless, one, large)
    scale = f.select(f.compare("ogt", large, 2.0**1000), f.const("double", 0.25, x.lanes), 1.0)
    small, large = f.mul(small, scale), f.mul(large, scale)
    large = f.select(f.compare("oeq", large, 0.0), one, large)
    middle = f.compare("ogt", small, f.mul(large, _TAN_PI_8))
    finite = f.compare("olt", large, INFINITY)
    middle = both(f, middle, finite)
    upper = f.select(middle, f.sub(small, large), small)
    lower = f.select(middle, f.add(small, large), large)
    t = f.div(upper, lower)
    z = f.mul(t, t)
    tail = f.mul(f.mul(z, t), even_odd(f, z, ATAN_F64))
    first, second, _ = HALF_PI_F64
    zero = f.const("double", 0.0, x.lanes)
    # The angle is base + sign * (t + tail): base collects pi/4, pi/2, pi in two parts.
    base = f.select(middle, f.const("double", first / 2, x.lanes), zero)
    rest = f.select(middle, f.const("double", second / 2, x.lanes), zero)
    sign = f.select(steep, f.const("double", -1.0, x.lanes), 1.0)
    base = f.select(steep, f.sub(first, base), base)
    rest = f.select(steep, f.sub(second, rest), rest)
    behind = is_negative(f, x)
    base = f.select(behind, f.sub(2 * first, base), base)
    rest = f.select(behind, f.sub(2 * second, rest), rest)
    sign = f.select(behind, f.fneg(sign), sign)
    near = f.fma(sign, tail, rest)
    angle = f.add(base, f.fma(sign, t, near))
    angle = f.select(either(f, steep, either(f, behind, middle)), angle, f.add(t, tail))
    result = copysign(f, angle, y)
    return f.select(f.compare("uno", x, y), NAN, result)


def atan(f: FunctionEmitter, x: Value) -> Value:
    """Angle of (1, x); double only."""
    return atan2(f, x, f.const("double", 1.0, x.lanes))


def _opposite(f: FunctionEmitter, x: Value) -> Value:
    """sqrt(1 - x^2) without cancellation; NaN outside [-1, 1]."""
    return sqrt(f, f.mul(f.sub(1.0, x), f.add(x, 1.0)))


def asin(f: FunctionEmitter, x: Value) -> Value:
    """Angle of (sqrt(1 - x^2), x); double only."""
    return atan2(f, x, _opposite(f, x))


def acos(f: FunctionEmitter, x: Value) -> Value:
    """Angle of (x, sqrt(1 - x^2)); double only."""
    return atan2(f, _opposite(f, x), x)
