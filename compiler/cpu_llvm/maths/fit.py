"""Fits the polynomial tables of the vector maths and prints `tables.py`.

    python -m gradc.compiler.cpu_llvm.maths.fit > compiler/cpu_llvm/maths/tables.py

Each table approximates a function without singularities on the interval that argument reduction
leaves, in the sense of the largest weighted error. The method is the exchange algorithm of Remez
in 60-digit arithmetic (mpmath; a development tool, not needed at run time); coefficients are
rounded to the format that evaluates them. Beside each table stands the error of the rounded
polynomial, exactly evaluated.
Source: E. Remez, "Sur la determination des polynomes d'approximation de degre donnee" (1934);
W. Fraser, "A Survey of Methods of Computing Minimax ... Approximations", JACM 12 (1965).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath
from mpmath import mp, mpf

Function = Callable[[mpf], mpf]
_GRID = 1200
_EXCHANGES = 12


@dataclass(frozen=True)
class Fit:
    """One table: `degree` + 1 coefficients, lowest first, of function on [low, high]."""

    name: str
    meaning: str
    function: Function
    weight: Function
    low: mpf
    high: mpf
    degree: int
    bits: int


def remez(fit: Fit) -> list[mpf]:
    """Coefficients that minimise the largest |weight * (polynomial - function)|."""
    grid = _chebyshev_grid(fit.low, fit.high, _GRID)
    values = [fit.function(x) for x in grid]
    weights = [fit.weight(x) for x in grid]
    count = fit.degree + 2
    picked = [round(i * (_GRID - 1) / (count - 1)) for i in range(count)]
    coefficients: list[mpf] = []
    for _ in range(_EXCHANGES):
        rows = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for row, at in enumerate(picked):
            for power in range(fit.degree + 1):
                rows[row, power] = grid[at] ** power
            rows[row, count - 1] = (-1) ** row / weights[at]
            right[row] = values[at]
        solved = mp.lu_solve(rows, right)
        coefficients = [solved[i] for i in range(fit.degree + 1)]
        errors = [
            w * (mp.polyval(coefficients[::-1], x) - y)
            for x, y, w in zip(grid, values, weights, strict=True)
        ]
        following = _alternating_extrema(errors, count)
        if following == picked:
            break
        picked = following
    return coefficients


def _chebyshev_grid(low: mpf, high: mpf, count: int) -> list[mpf]:
    """Points that crowd at both ends, where errors of best approximations do."""
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * (i + mpf(1) / 2) / count) for i in range(count)]


def _alternating_extrema(errors: Sequence[mpf], count: int) -> list[int]:
    """Positions of the largest error in each run of one sign; the `count` adjacent best."""
    best: list[int] = []
    for at, error in enumerate(errors):
        if best and (error > 0) == (errors[best[-1]] > 0):
            if abs(error) > abs(errors[best[-1]]):
                best[-1] = at
        else:
            best.append(at)
    while len(best) > count:
        best.pop(0 if abs(errors[best[0]]) < abs(errors[best[-1]]) else -1)
    if len(best) < count:
        raise ValueError(f"{len(best)} alternations where {count} are needed")
    return best


def rounded(value: mpf, bits: int) -> float:
    """To float32 or float64."""
    number = float(value)
    return struct.unpack("<f", struct.pack("<f", number))[0] if bits == 32 else number


def worst_error(fit: Fit, coefficients: Sequence[float]) -> mpf:
    """Largest weighted error of the polynomial with these coefficients."""
    exact = [mpf(c) for c in reversed(coefficients)]
    grid = _chebyshev_grid(fit.low, fit.high, _GRID // 2)
    return max(abs(fit.weight(x) * (mp.polyval(exact, x) - fit.function(x))) for x in grid)


def _near_zero(function: Function, series: Function) -> Function:
    """`function`, or its series where cancellation would spoil it."""
    return lambda x: series(x) if abs(x) < mpf("1e-12") else function(x)


def _of_square(function: Function, series: Function) -> Function:
    """A function of z = x^2."""
    return _near_zero(lambda z: function(mp.sqrt(z)), series)


def _expm1(bits: int, degree: int) -> Fit:
    half = mp.log(2) / 2 * mpf("1.0005")
    return Fit(
        f"EXPM1_F{bits}",
        "Q with exp(r) - 1 = r + r^2 Q(r), |r| <= ln(2)/2",
        _near_zero(lambda r: (mp.expm1(r) - r) / r**2, lambda r: mpf(1) / 2 + r / 6),
        lambda r: abs(r) + mpf("1e-6"),
        -half,
        half,
        degree,
        bits,
    )


def _log_f32() -> Fit:
    return Fit(
        "LOG_F32",
        "P with log(1+f) = f - f^2/2 + f^3 P(f), sqrt(1/2) <= 1+f <= sqrt(2)",
        _near_zero(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, lambda f: mpf(1) / 3 - f / 4),
        lambda f: f * f + mpf("1e-6"),
        mp.sqrt(mpf(1) / 2) - 1 - mpf("1e-4"),
        mp.sqrt(2) - 1 + mpf("1e-4"),
        7,
        32,
    )


def _log_f64() -> Fit:
    high = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.001")
    return Fit(
        "LOG_F64",
        "R with log((1+s)/(1-s)) = 2s + s z R(z), z = s^2, |s| <= (sqrt(2)-1)/(sqrt(2)+1)",
        _of_square(lambda s: (2 * mp.atanh(s) - 2 * s) / s**3, lambda z: mpf(2) / 3 + z * 2 / 5),
        lambda z: z + mpf("1e-6"),
        mpf(0),
        high,
        7,
        64,
    )


def _sine(bits: int, degree: int) -> Fit:
    return Fit(
        f"SIN_F{bits}",
        "S with sin(r) = r + r z S(z), z = r^2, |r| <= pi/4",
        _of_square(lambda r: (mp.sin(r) - r) / r**3, lambda z: mpf(-1) / 6 + z / 120),
        lambda z: z + mpf("1e-6"),
        mpf(0),
        (mp.pi / 4) ** 2 * mpf("1.001"),
        degree,
        bits,
    )


def _cosine(bits: int, degree: int) -> Fit:
    return Fit(
        f"COS_F{bits}",
        "C with cos(r) = 1 - z/2 + z^2 C(z), z = r^2, |r| <= pi/4",
        _of_square(lambda r: (mp.cos(r) - 1 + r * r / 2) / r**4, lambda z: mpf(1) / 24 - z / 720),
        lambda z: z * z + mpf("1e-6"),
        mpf(0),
        (mp.pi / 4) ** 2 * mpf("1.001"),
        degree,
        bits,
    )


def _log_pair() -> Fit:
    high = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mpf("1.001")
    return Fit(
        "LOG_PAIR_F64",
        "R with log((1+s)/(1-s)) = 2s + 2/3 s z + s z^2 R(z), z = s^2, as LOG_F64",
        _of_square(
            lambda s: (2 * mp.atanh(s) - 2 * s - 2 * s**3 / 3) / s**5,
            lambda z: mpf(2) / 5 + z * 2 / 7,
        ),
        lambda z: z * z + mpf("1e-7"),
        mpf(0),
        high,
        8,
        64,
    )


def _arctangent() -> Fit:
    return Fit(
        "ATAN_F64",
        "A with atan(t) = t + t z A(z), z = t^2, |t| <= tan(pi/8)",
        _of_square(lambda t: (mp.atan(t) - t) / t**3, lambda z: mpf(-1) / 3 + z / 5),
        lambda z: z + mpf("1e-6"),
        mpf(0),
        (mp.sqrt(2) - 1) ** 2 * mpf("1.001"),
        12,
        64,
    )


def _erf_small(bits: int, degree: int) -> Fit:
    return Fit(
        f"ERF_SMALL_F{bits}",
        "E with erf(x) = x + x E(z), z = x^2, |x| <= 1",
        _of_square(lambda x: mp.erf(x) / x - 1, lambda z: 2 / mp.sqrt(mp.pi) * (1 - z / 3) - 1),
        lambda z: mpf(1),
        mpf(0),
        mpf("1.001"),
        degree,
        bits,
    )


def _erfc_f32() -> Fit:
    def scaled(t: mpf) -> mpf:
        x = 2 * (1 / t - 1)
        return mp.erfc(x) * mp.exp(x * x)

    return Fit(
        "ERFC_F32",
        "Q with erfc(x) = exp(-x^2) Q(t), t = 1/(1 + x/2), 1 <= x <= 4",
        scaled,
        lambda t: mp.exp(-((2 * (1 / t - 1)) ** 2)),
        1 / mpf(3),
        1 / mpf("1.49"),
        6,
        32,
    )


def _erfc_f64() -> Fit:
    centre = 3

    def scaled(t: mpf) -> mpf:
        x = centre * (1 + t) / (1 - t)
        return (1 + 2 * x) * mp.erfc(x) * mp.exp(x * x)

    def place(x: str) -> mpf:
        return (mpf(x) - centre) / (mpf(x) + centre)

    return Fit(
        "ERFC_F64",
        "Q with (1 + 2x) erfc(x) = exp(-x^2) Q(t), t = (x - 3)/(x + 3), 0.46 <= x <= 28",
        scaled,
        lambda t: mpf(1),
        place("0.46"),
        place("28"),
        24,
        64,
    )


def _lgamma_near_two() -> Fit:
    return Fit(
        "LGAMMA_F64",
        "P with log(gamma(2+z)) = z P(z), -3/4 <= z <= 1/2",
        _near_zero(lambda z: mp.loggamma(2 + z) / z, lambda z: 1 - mp.euler + z * _half_zeta()),
        lambda z: mpf(1),
        mpf("-0.7505"),
        mpf("0.5005"),
        23,
        64,
    )


def _half_zeta() -> mpf:
    return (mp.zeta(2) - 1) / 2


def _stirling(name: str, meaning: str, rest: Function, limit: mpf) -> Fit:
    """What Stirling's series leaves, `rest` of x, as a polynomial in 1/x^2."""
    return Fit(
        name,
        meaning,
        lambda w: rest(1 / mp.sqrt(w)),
        lambda w: mpf(1),
        mpf("1e-12"),
        1 / limit**2 * mpf("1.001"),
        7,
        64,
    )


def _lgamma_far() -> Fit:
    def rest(x: mpf) -> mpf:
        return x * (mp.loggamma(x) - (x - mpf(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2)

    meaning = "R with log(gamma(x)) = (x - 1/2) log(x) - x + log(2 pi)/2 + R(1/x^2)/x, x >= 8"
    return _stirling("LGAMMA_FAR_F64", meaning, rest, mpf(8))


def _digamma_far() -> Fit:
    def rest(x: mpf) -> mpf:
        return x * x * (mp.log(x) - 1 / (2 * x) - mp.digamma(x))

    meaning = "R with digamma(x) = log(x) - 1/(2x) - R(1/x^2)/x^2, x >= 10"
    return _stirling("DIGAMMA_FAR_F64", meaning, rest, mpf(10))


def _digamma_near_root() -> Fit:
    root = _digamma_root()
    return Fit(
        "DIGAMMA_F64",
        "P with digamma(1+t) = (t - root) P(t - 1/2), 0 <= t <= 1",
        lambda u: mp.digamma(mpf(3) / 2 + u) / (mpf(1) / 2 + u - root),
        lambda u: mpf(1),
        mpf("-0.5005"),
        mpf("0.5005"),
        22,
        64,
    )


def _digamma_root() -> mpf:
    """t > 0 with digamma(1+t) = 0."""
    return mp.findroot(lambda t: mp.digamma(1 + t), mpf("0.4616"))


def all_fits() -> list[Fit]:
    """Every table, in the order in which it is printed."""
    return [
        _expm1(32, 4),
        _expm1(64, 9),
        _log_f32(),
        _log_f64(),
        _log_pair(),
        _sine(32, 2),
        _sine(64, 5),
        _cosine(32, 2),
        _cosine(64, 5),
        _arctangent(),
        _erf_small(32, 6),
        _erf_small(64, 12),
        _erfc_f32(),
        _erfc_f64(),
        _lgamma_near_two(),
        _lgamma_far(),
        _digamma_near_root(),
        _digamma_far(),
    ]


def all_constants() -> list[tuple[str, str, list[float]]]:
    """(name, meaning, parts): constants in parts that add up, highest first."""
    ln2, ln10 = mp.log(2), mp.log(10)
    return [
        ("LN2_F32", "ln(2), 15 bits and the rest", _parts(ln2, 15, 32)),
        ("LN2_F64", "ln(2), 40 bits and the rest", _parts(ln2, 40, 64)),
        ("LOG10_2_F32", "log10(2), 14 bits and the rest", _parts(ln2 / ln10, 14, 32)),
        ("LOG10_2_F64", "log10(2), 40 bits and the rest", _parts(ln2 / ln10, 40, 64)),
        ("PER_LN2_F32", "1/ln(2) in two parts", _parts(1 / ln2, 24, 32)),
        ("PER_LN2_F64", "1/ln(2) in two parts", _parts(1 / ln2, 53, 64)),
        ("PER_LN10_F32", "1/ln(10) in two parts", _parts(1 / ln10, 24, 32)),
        ("PER_LN10_F64", "1/ln(10) in two parts", _parts(1 / ln10, 53, 64)),
        ("TWO_THIRDS_F64", "2/3 in two parts", _parts(mpf(2) / 3, 53, 64)),
        ("HALF_PI_F64", "pi/2 in three parts", _parts(mp.pi / 2, 53, 64, 3)),
        (
            "DIGAMMA_ROOT_F64",
            "t with digamma(1+t) = 0 in two parts",
            _parts(_digamma_root(), 53, 64),
        ),
    ]


def _parts(value: mpf, first_bits: int, bits: int, count: int = 2) -> list[float]:
    """value as a sum: its first bits, then what is missing, rounded to the format."""
    unit = mpf(2) ** (mp.floor(mp.log(value, 2)) + 1 - first_bits)
    parts = [float(mp.nint(value / unit) * unit)]
    while len(parts) < count:
        parts.append(rounded(value - mp.fsum(parts), bits))
    return parts


def two_over_pi_words(words: int) -> list[int]:
    """Bits of 2/pi, 64 a word: the first word holds the bits of weight 2^63 to 2^0, all zero."""
    with mpmath.workdps(words * 20 + 40):
        scaled = int(mp.floor(2 / mp.pi * mpf(2) ** (64 * (words - 1))))
    return [scaled >> (64 * (words - 1 - i)) & (1 << 64) - 1 for i in range(words)]


def _print_table(name: str, meaning: str, items: Sequence[str]) -> None:
    print(f"\n# {meaning}")
    print(f"{name} = (")
    for item in items:
        print(f"    {item},")
    print(")")


def main() -> None:
    mp.dps = 60
    print('"""Coefficients of the vector maths, lowest power first. Generated:')
    print()
    print("    python -m gradc.compiler.cpu_llvm.maths.fit > compiler/cpu_llvm/maths/tables.py")
    print('"""')
    for fit in all_fits():
        coefficients = [rounded(c, fit.bits) for c in remez(fit)]
        error = mp.log(worst_error(fit, coefficients), 2)
        _print_table(
            fit.name,
            f"{fit.meaning}.\n# Largest weighted error 2^{mp.nstr(error, 4)}.",
            [repr(c) for c in coefficients],
        )
    for name, meaning, parts in all_constants():
        _print_table(name, f"{meaning}.", [repr(part) for part in parts])
    _print_table(
        "TWO_OVER_PI",
        "2/pi as one binary number, 64 bits a word, after 64 zero bits for its integer part.",
        [f"0x{word:016X}" for word in two_over_pi_words(22)],
    )


if __name__ == "__main__":
    main()
