"""Index arithmetic on numbers: what an address comes to once every axis has its place.

In: an operation of int64 or bool scalars and its operands as Python numbers. Out: the number that
compiled code would compute. Who unrolls a loop computes its addresses here; an address made of
other operations than these is not known before the program runs (`is_known`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from ..types import bool_, int64
from .ir import Scalar, walk

FOLDS: Mapping[str, Callable[..., int]] = MappingProxyType(
    {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "floor_div": lambda a, b: a // b if b else 0,
        "mod": lambda a, b: a % b if b else 0,
        "min": min,
        "max": max,
        "neg": lambda a: -a,
        "abs": abs,
        "eq": lambda a, b: a == b,
        "ne": lambda a, b: a != b,
        "lt": lambda a, b: a < b,
        "le": lambda a, b: a <= b,
        "gt": lambda a, b: a > b,
        "ge": lambda a, b: a >= b,
        "and": lambda a, b: a & b,
        "or": lambda a, b: a | b,
        "xor": lambda a, b: a ^ b,
        "select": lambda condition, a, b: a if condition else b,
    }
)
_NUMBERS = (int64, bool_)
_KNOWN = ("axis", "counter", "constant")


def wrapped(value: int) -> int:
    """A Python integer as int64 arithmetic gives it."""
    return (value + 2**63) % 2**64 - 2**63


def folded(scalar: Scalar, operands: Sequence[object]) -> int | None:
    """The scalar's value if its operands are numbers and its operation is index arithmetic."""
    if scalar.op not in FOLDS or scalar.dtype not in _NUMBERS:
        return None
    if not all(isinstance(operand, int) for operand in operands):
        return None
    value = FOLDS[scalar.op](*operands)
    return bool(value) if scalar.dtype == bool_ else wrapped(int(value))


def is_known(address: Scalar) -> bool:
    """Whether the address is index arithmetic of axes, counters and constants alone."""
    seen: set[Scalar] = set()
    return all(
        scalar.dtype in _NUMBERS and (scalar.op in _KNOWN or scalar.op in FOLDS)
        for scalar in walk(address, seen)
    )
