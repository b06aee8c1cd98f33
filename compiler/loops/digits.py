"""Digits: an index that was cut along the axes of a buffer and comes together again in its address.

    buffer f32[8, 4, 3, 3], read at [i, n // 9, n // 3 % 3, n % 3], as a linear layer reads an image
    address   36 * i + 9 * (n // 9) + 3 * (n // 3 % 3) + (n % 3)   =   36 * i + n

In: an index and the strides of a buffer. Out: terms whose sum of products is the address. Of the
terms above only `i` and `n` step evenly along the axes of a loop, and that is what tells where
elements lie together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from .ir import Scalar

Term = tuple[Scalar, int]


class _Digit(NamedTuple):
    """number // divisor % modulus, which steps by `stride`; without a modulus, all that is left."""

    number: Scalar
    divisor: int
    modulus: int | None
    stride: int


def address_terms(index: Sequence[Scalar], strides: Sequence[int]) -> list[Term]:
    """(scalar, stride) pairs that add up to the address of an element, less the buffer's offset."""
    terms: list[Term] = []
    digits: dict[Scalar, list[_Digit]] = defaultdict(list)
    for scalar, stride in zip(index, strides, strict=True):
        digit = _digit(scalar, stride)
        if digit is None:
            terms.append((scalar, stride))
        else:
            digits[digit.number].append(digit)
    for number, found in digits.items():
        found.sort(key=lambda digit: -digit.divisor)
        if _are_all_of(number, found):
            terms.append((number, found[-1].stride))
        else:
            own = [(s, t) for s, t in zip(index, strides, strict=True) if _digit(s, t) in found]
            terms += own
    return terms


def _digit(scalar: Scalar, stride: int) -> _Digit | None:
    """The scalar as a digit of a number; None if it is a number of its own."""
    modulus = None
    if scalar.op == "mod" and scalar.args[1].op == "constant":
        modulus, scalar = scalar.args[1].payload, scalar.args[0]
    if scalar.op == "floor_div" and scalar.args[1].op == "constant":
        return _Digit(scalar.args[0], scalar.args[1].payload, modulus, stride)
    return None if modulus is None else _Digit(scalar, 1, modulus, stride)


def _are_all_of(number: Scalar, digits: Sequence[_Digit]) -> bool:
    """Whether these digits, the first one the highest, are the number in the places of a buffer."""
    first, last = digits[0], digits[-1]
    low, high = number.form.range
    if last.divisor != 1 or low is None or low < 0:
        return False
    if first.modulus is not None and (high is None or high >= first.divisor * first.modulus):
        return False
    return all(
        lower.modulus is not None
        and lower.divisor * lower.modulus == upper.divisor
        and lower.stride * lower.modulus == upper.stride
        for upper, lower in pairwise(digits)
    )
