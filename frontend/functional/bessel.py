"""Modified Bessel functions of the first kind and scaled error functions: series and polynomials.

Each is a sum that is written out, so that derivatives of every order are those of that sum. The
tables are Chebyshev coefficients, lowest first, computed in 60 digits; that of order 0 counts
whole.

    I0_FAR, I1_FAR   sqrt(x) exp(-x) I(x) for x >= 8, of 16 / x - 1
    ERFCX            (1 + 2x) exp(x^2) erfc(x) for x >= 0, of (x - 4) / (x + 4)

Sources: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 9.6.10, 9.7.1 and
26.2; M. Shepherd and J. Laframboise, "Chebyshev Approximation of (1 + 2x) exp(x^2) erfc x in
0 <= x < infinity", Math. Comp. 36 (1981); C. Clenshaw, "A note on the summation of Chebyshev
series", MTAC 9 (1955).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradc.compiler.ops import gaussian
from gradc.compiler.types import float32

from ..tensor import Tensor, TensorLike, floating, unary
from . import elementwise as each

__all__ = [
    "erfinv",
    "erfcx",
    "ndtr",
    "log_ndtr",
    "ndtri",
    "i0",
    "i0e",
    "i1",
    "i1e",
]

I0_FAR = (
    0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06,
    2.0489185894690638e-07, 2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10,
    1.1889147107846439e-11, -3.1499165279632416e-11, -1.3215811840447713e-11,
    -1.7941785315068062e-12, 7.180124451383666e-13, 3.8527783827421426e-13, 1.54008621752141e-14,
    -4.150569347287222e-14, -9.554846698828307e-15, 3.8116806693526224e-15, 1.7725601330565263e-15,
    -3.425485619677219e-16, -2.8276239805165836e-16, 3.461222867697461e-17, 4.46562142029676e-17,
    -4.830504485944182e-18, -7.233180487874754e-18, 9.921475412173699e-19, 1.193650890845982e-18,
    -2.4887098371508075e-19,
)  # fmt: skip

I1_FAR = (
    0.38928811750914005, -0.009761097491361469, -0.00011058893876262371, -3.882564808877691e-06,
    -2.512236237870209e-07, -2.6314688468895196e-08, -3.835380385964237e-09, -5.589743462196584e-10,
    -1.8974958123505413e-11, 3.2526035830154884e-11, 1.4125807436613782e-11, 2.0356285441470896e-12,
    -7.198551776245908e-13, -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14,
    1.0420276984128802e-14, -3.8144030724370075e-15, -1.8803547755107825e-15,
    3.3082023109209285e-16, 2.96262899764595e-16, -3.209525921993424e-17, -4.6503053684893586e-17,
    4.414348323071708e-18, 7.517296310842105e-18, -9.314178867326884e-19, -1.242193275194891e-18,
    2.4142767194548486e-19,
)  # fmt: skip

ERFCX = (
    1.1774832005374487, -0.007260796620301901, -0.081265123236185, 0.06009212804122225,
    -0.02875393558027666, 0.01059566336347286, -0.003136927294554264, 0.0007456494372536184,
    -0.0001369696503010054, 1.7183861600300937e-05, -7.158364623450346e-07, -2.4261399442449534e-07,
    5.5765709395703566e-08, -2.1057869513809494e-09, -1.1717889351884957e-09,
    1.9098355172456688e-10, 1.408871764208813e-11, -6.901108320480815e-12, 9.167958364111294e-14,
    2.1454508286554553e-13, -1.4716575027010623e-14, -6.668675118770408e-15, 7.504598509880083e-16,
    2.22009300666632e-16, -3.1704898956330886e-17, -8.193570309884333e-18, 1.2459819733129574e-18,
    3.3664022738726354e-19,
)  # fmt: skip


_NEAR = 8.0  # up to which the power series of I0 and I1 is summed
_SERIES_TERMS = 28  # the last is 16**27 / 27!**2, less than 1e-22


def _computed(x: TensorLike) -> tuple[Tensor, Tensor]:
    """The operand, and what is computed with: 16-bit floats as float32."""
    value = floating(x)
    return value, value.astype(float32) if value.dtype.bits == 16 else value


def _chebyshev(table: Sequence[float], u: Tensor) -> Tensor:
    """The sum of table[k] T_k(u), |u| <= 1, by Clenshaw's recurrence."""
    after, last = u * 0, u * 0
    for coefficient in reversed(table[1:]):
        last, after = 2 * u * last - after + coefficient, last
    return u * last - after + table[0]


# ---------------------------------------------------------------- error functions


def erfinv(x: TensorLike) -> Tensor:
    """The inverse of erf: infinite at -1 and 1, NaN outside.

    >>> gc.compile(gc.erfinv([0.0, 0.5, 1.0]))().round(4)
    array([0.    , 0.4769,    inf], dtype=float32)
    """
    return unary(gaussian.ERFINV, x, floating=True)


def ndtri(x: TensorLike) -> Tensor:
    """The inverse of ndtr: what a normal number does not exceed with probability x.

    Infinite at 0 and 1, NaN outside; probabilities near 0 keep their digits.

    >>> gc.compile(gc.ndtri([0.5, 0.975, 1e-20]))().round(4)
    array([ 0.    ,  1.96  , -9.2623], dtype=float32)
    """
    return unary(gaussian.NDTRI, x, floating=True)


def ndtr(x: TensorLike) -> Tensor:
    """The probability that a standard normal number is not above x: erfc(-x / sqrt(2)) / 2.

    >>> gc.compile(gc.ndtr([0.0, 1.96]))()
    array([0.5      , 0.9750021], dtype=float32)
    """
    return each.erfc(floating(x) * -math.sqrt(0.5)) * 0.5


def log_ndtr(x: TensorLike) -> Tensor:
    """log(ndtr(x)), which far below 0 is near -x^2 / 2.

    >>> gc.compile(gc.log_ndtr([0.0, -100.0]))()
    array([-6.9314718e-01, -5.0055244e+03], dtype=float32)
    """
    given, value = _computed(x)
    scaled = value * math.sqrt(0.5)
    low = value < -1
    below = each.where(low, scaled, -1)
    tail = each.log(_scaled_tail(-below) * 0.5) - below * below
    above = each.log1p(each.erfc(each.where(low, 0, scaled)) * -0.5)
    return each.where(low, tail, above).astype(given.dtype)


def erfcx(x: TensorLike) -> Tensor:
    """exp(x^2) * erfc(x), without overflow or underflow for large x.

    >>> gc.compile(gc.erfcx([0.0, 100.0]))()
    array([1.        , 0.00564161], dtype=float32)
    """
    given, value = _computed(x)
    below = value < 0
    size = each.where(below, -value, value)
    right = _scaled_tail(size)
    # Below -27 the square's exponential is infinite, whatever its rounding.
    left = 2 * each.exp(each.where(below, value * value, 0)) - right
    return each.where(below, left, right).astype(given.dtype)


def _scaled_tail(x: Tensor) -> Tensor:
    """exp(x^2) erfc(x) for x >= 0. At infinity it is 0."""
    far = x == math.inf
    inner = each.where(far, 0, x)
    u = (inner - 4) / (inner + 4)
    return each.where(far, 0, _chebyshev(ERFCX, u) / (1 + 2 * inner))


# ---------------------------------------------------------------- Bessel functions


def i0(x: TensorLike) -> Tensor:
    """The modified Bessel function of the first kind and order 0.

    >>> gc.compile(gc.i0([0.0, 1.0, 20.0]))()
    array([1.0000000e+00, 1.2660658e+00, 4.3558284e+07], dtype=float32)
    """
    given, value = _computed(x)
    return _bessel(value, 0, False).astype(given.dtype)


def i0e(x: TensorLike) -> Tensor:
    """exp(-|x|) * i0(x), which does not overflow.

    >>> gc.compile(gc.i0e([0.0, 1000.0]))()
    array([1.        , 0.01261724], dtype=float32)
    """
    given, value = _computed(x)
    return _bessel(value, 0, True).astype(given.dtype)


def i1(x: TensorLike) -> Tensor:
    """The modified Bessel function of the first kind and order 1, the derivative of i0.

    >>> gc.compile(gc.i1([0.0, 1.0, -1.0]))().round(4)
    array([ 0.    ,  0.5652, -0.5652], dtype=float32)
    """
    given, value = _computed(x)
    return _bessel(value, 1, False).astype(given.dtype)


def i1e(x: TensorLike) -> Tensor:
    """exp(-|x|) * i1(x), which does not overflow.

    >>> gc.compile(gc.i1e([0.0, -1000.0]))()
    array([ 0.        , -0.01261093], dtype=float32)
    """
    given, value = _computed(x)
    return _bessel(value, 1, True).astype(given.dtype)


def _bessel(x: Tensor, order: int, scaled: bool) -> Tensor:
    """Near 0 the power series in (x/2)^2, all of whose terms are positive; else e^|x| / sqrt|x|
    times a polynomial in 1 / |x|."""
    below = x < 0
    size = each.where(below, -x, x)
    near = size < _NEAR
    inner = each.where(near, x, 0)
    z = inner * inner * 0.25
    series = z * 0
    for k in reversed(range(_SERIES_TERMS)):
        series = series * z + 1 / (math.factorial(k) * math.factorial(k + order))
    series = series * (inner * 0.5) if order else series
    if scaled:
        series = series * each.exp(-each.abs(inner))
    infinite = size == math.inf
    outer = each.where(near | infinite, _NEAR, size)
    far = _chebyshev((I0_FAR, I1_FAR)[order], 16 / outer - 1) / each.sqrt(outer)
    if not scaled:  # in two factors, so that the result overflows no earlier than it has to
        half = each.exp(outer * 0.5)
        far = far * half * half
    far = each.where(infinite, 0 if scaled else size, far)
    far = each.where(below, -far, far) if order else far
    return each.where(near, series, far)
