"""What layers, optimizers, schedules and initialisers take: checked where they are made.

A wrong option would otherwise be met when the object is used, far from the line that is wrong. The
checks are those of arguments.py, by annotation; beside these, no option of a constructor is NaN.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gradc.compiler.errors import ArgumentError, described
from gradc.runtime.plain_number import as_real

from .arguments import CHECKS, Check, F, anything, checked, optional, real, string, wholes

# ---------------------------------------------------------------- kinds of options


def _not_nan(name: str, value: Any) -> float:
    number = real(name, value)
    if math.isnan(number):
        raise ArgumentError(f"{name} is a number, not nan")
    return number


def _pair(name: str, value: Any) -> tuple[float, ...]:
    """Two numbers; what they may be is for the class to say."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ArgumentError(f"{name} are two numbers, not {described(value)}")
    return tuple(_not_nan(f"each of {name}", item) for item in value)


def _pair_of_which_one_may_be_none(name: str, value: Any) -> tuple[float | None, float]:
    if isinstance(value, (list, tuple)) and len(value) == 2 and value[0] is None:
        return None, _not_nan(f"each of {name}", value[1])
    first, second = _pair(name, value)
    return first, second


def _three(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise ArgumentError(f"{name} are three numbers, not {described(value)}")
    return tuple(_not_nan(f"each of {name}", item) for item in value)


def _iterable(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ArgumentError(f"{name} is a list, not {described(value)}")
    return tuple(value)


def _mapping(name: str, value: Any) -> Mapping[Any, Any]:
    if isinstance(value, Mapping) or hasattr(value, "items"):
        return dict(value.items())
    raise ArgumentError(f"{name} is a dict, not {described(value)}")


def _schedule(name: str, value: Any) -> Any:
    """A schedule, or a number."""
    if hasattr(value, "formula"):
        return value
    try:
        return _not_nan(name, value)
    except ArgumentError:
        problem = f"{name} is a schedule or a number, not {described(value)}"
        raise ArgumentError(problem) from None


def _rate(name: str, value: Any) -> Any:
    """A schedule, or a finite number that is not negative."""
    if hasattr(value, "formula"):
        return value
    number = as_real(value)
    if number is None or not 0 <= number < math.inf:
        problem = f"{name} is a schedule or a number >= 0, not {described(value)}"
        raise ArgumentError(problem)
    return number


def _schedules(name: str, value: Any) -> list[Any]:
    return [_schedule(f"each of {name}", item) for item in _iterable(name, value)]


def _callable(name: str, value: Any) -> Any:
    if not callable(value):
        raise ArgumentError(f"{name} is a function, not {described(value)}")
    return value


def _tensor(name: str, value: Any) -> Any:
    if not hasattr(value, "node"):
        raise ArgumentError(f"{name} is a tensor, not {described(value)}")
    return value


TABLE: Mapping[str, Check] = MappingProxyType(
    CHECKS
    | {
        "float": _not_nan,
        "float | None": optional(_not_nan),
        "str": string,
        "tuple[float, float]": _pair,
        "tuple[float | None, float]": _pair_of_which_one_may_be_none,
        "tuple[float, float, float]": _three,
        "Sequence[Group]": _iterable,
        "Iterable[Module]": _iterable,
        "Mapping[str, Module] | None": optional(_mapping),
        "Iterable[Any]": _iterable,
        "Mapping[str, Any] | None": optional(_mapping),
        "Rate": _rate,
        "Tensor": _tensor,
        "Averaging | None": anything,
        "Schedule | float": _schedule,
        "Sequence[Schedule | float]": _schedules,
        "Sequence[int]": lambda name, value: list(wholes(name, value)),
        "Beginning": anything,
        "Function": _callable,
    }
)


# ---------------------------------------------------------------- checking


def checked_constructor(function: F, name: str = "") -> F:
    """`function` with its arguments checked. An annotation without a check raises at import."""
    return checked(function, name, TABLE)


def checked_options(signature: inspect.Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as their annotations read; those of a user's own kinds pass as they are."""
    single = [
        p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    kinds = {p.name: str(p.annotation) for p in single}
    return {
        name: TABLE.get(kinds.get(name, ""), anything)(name, value) for name, value in given.items()
    }
