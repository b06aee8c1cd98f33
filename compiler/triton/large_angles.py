"""The reduction of large angles as Triton text: x = n pi/2 + r for every finite x of 2^30 or more.

    quadrant, r, rest = gradc_reduce_large(x, quadrant, r, rest)

in double; elements that are smaller, or not finite, stay as they are. The method and the table are
those of cpu_llvm/maths/trigonometric.py (Payne and Hanek), with words of 64 bits. What is left of
the fraction is taken apart into four exact numbers of 32 bits, which need not be normalised.
"""

from __future__ import annotations

from ..cpu_llvm.maths.tables import HALF_PI_F64, TWO_OVER_PI

REDUCE_LARGE = "gradc.reduce_large"
"""What the emitter of the CPU calls it by."""

_WORDS = 4


def _words() -> str:
    """The four words of 2/pi from number `word` on, chosen one by one."""
    lines = []
    for n in range(_WORDS):
        lines.append(f"        w{n} = tl.full((), {_signed(TWO_OVER_PI[n])}, tl.int64)")
        for first in range(1, len(TWO_OVER_PI) - _WORDS + 1):
            number = f"tl.full((), {_signed(TWO_OVER_PI[first + n])}, tl.int64)"
            lines.append(f"        w{n} = tl.where(word == {first}, {number}, w{n})")
        lines.append(f"        w{n} = w{n}.to(tl.uint64, bitcast=True)")
    return "\n".join(lines)


def _signed(word: int) -> int:
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >> 63 else word


REDUCE_LARGE_TEXT = f"""\
@triton.jit
def gradc_funnel(a, b, shift):
    return (a << shift) | ((b >> 1) >> (63 - shift))


@triton.jit
def gradc_reduce_large(x, quadrant, high, low):
    size = tl.abs(x)
    large = (size >= 1073741824.0) & (size < float("inf"))
    if tl.max(large.to(tl.int32) + tl.zeros((1,), tl.int32)) != 0:
        least = tl.full((), 1073741824.0, tl.float64)
        bits = tl.where(large, size, least).to(tl.int64, bitcast=True)
        at = (bits >> 52) - 1013
        word = at >> 6
        shift = (at & 63).to(tl.uint64, bitcast=True)
        m = ((bits & {(1 << 52) - 1}) | {1 << 52}).to(tl.uint64, bitcast=True)
{_words()}
        first = gradc_funnel(w0, w1, shift)
        second = gradc_funnel(w1, w2, shift)
        third = gradc_funnel(w2, w3, shift)
        carry = tl.umulhi(m, third)
        p2 = m * third
        p1 = m * second + carry
        more = (p1 < carry).to(tl.uint64)
        p0 = m * first + tl.umulhi(m, second) + more
        two = tl.full((), 2, tl.int64).to(tl.uint64, bitcast=True)
        top = gradc_funnel(p0, p1, two).to(tl.int64, bitcast=True)
        bottom = gradc_funnel(p1, p2, two).to(tl.int64, bitcast=True)
        negative = top < 0
        turns = (p0 >> 62).to(tl.int64, bitcast=True) + negative.to(tl.int64)
        borrow = (bottom == 0).to(tl.int64)
        top = tl.where(negative, ~top + borrow, top)
        bottom = tl.where(negative, ~bottom + 1, bottom)
        mask = tl.full((), {(1 << 32) - 1}, tl.int64)
        d3 = ((top >> 32) & mask).to(tl.float64) * tl.full((), {2.0**-32!r}, tl.float64)
        d2 = (top & mask).to(tl.float64) * tl.full((), {2.0**-64!r}, tl.float64)
        d1 = ((bottom >> 32) & mask).to(tl.float64) * tl.full((), {2.0**-96!r}, tl.float64)
        d0 = (bottom & mask).to(tl.float64) * tl.full((), {2.0**-128!r}, tl.float64)
        upper = d3 + d2
        lost = d2 - (upper - d3)
        rest = d1 + d0
        whole = upper + rest
        left = (rest - (whole - upper)) + lost
        half_pi = tl.full((), {HALF_PI_F64[0]!r}, tl.float64)
        half_pi_rest = tl.full((), {HALF_PI_F64[1]!r}, tl.float64)
        product = whole * half_pi
        error = tl.fma(whole, half_pi, product * tl.full((), -1.0, tl.float64))
        error = tl.fma(left, half_pi, tl.fma(whole, half_pi_rest, error))
        r = product + error
        r_rest = error - (r - product)
        below = x < 0.0
        one = tl.full((), 1.0, tl.float64)
        sign = tl.where(negative != below, one * -1.0, one)
        turns = tl.where(below, 0 - turns, turns)
        quadrant = tl.where(large, turns, quadrant)
        high = tl.where(large, r * sign, high)
        low = tl.where(large, r_rest * sign, low)
    return quadrant, high, low
"""
