"""Rows for functions that are compositions: from one row follow the tests of test_function_rows.py,
and the entries of the tables over all functions (dtypes of results, empty tensors, synonyms).

A row names arguments as a user would. Arrays of float64 among them are operands with a slope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradc as gc

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One function.

    arguments   by name; "*" holds those that have none
    reference   the value in NumPy, of the same arguments; "*" are positional ones
    rule        of the result's dtype, by the names of test_result_dtypes.py; "" where no operand
                decides it
    slope       "smooth": compared with differences, twice; "once": the second slope is 0 or not
                defined; "linear": it does not depend on the operand; "none"
    others      further arguments: empty tensors, scalars, what changes nothing
    """

    arguments: Arguments
    reference: Callable[..., Any]
    rule: str
    slope: str
    others: Sequence[Arguments] = ()


def split(arguments: Arguments) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments, and those by name."""
    named = dict(arguments)
    return list(named.pop("*", ())), named


def flat(result: Any) -> list[Any]:
    """The tensors or arrays of a result, which may be a tuple."""
    if isinstance(result, (tuple, list)):
        return [part for entry in result for part in flat(entry)]
    return [result]


def mapped(arguments: Arguments, function: Callable[[Any], Any]) -> dict[str, Any]:
    """The arguments with a function on every array, those in lists and in "*" too."""

    def changed(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and any(isinstance(v, np.ndarray) for v in value):
            return [changed(v) for v in value]
        return function(value) if isinstance(value, np.ndarray) else value

    return {name: changed(value) for name, value in arguments.items()}


def called(name: str, arguments: Arguments) -> list[Any]:
    """The results of the function of `gc`, as a list."""
    positional, named = split(arguments)
    return flat(getattr(gc, name)(*positional, **named))


def referred(row: Row, arguments: Arguments) -> list[Any]:
    """What the reference gives. NumPy's functions have names of their own for their operands."""
    positional, named = split(arguments)
    if isinstance(row.reference, np.ufunc):
        positional, named = list(named.values()), {}
    elif row.reference in vars(np).values():
        for name in [n for n, v in named.items() if isinstance(v, np.ndarray)]:
            positional.append(named.pop(name))
    with np.errstate(all="ignore"):
        return [np.asarray(part) for part in flat(row.reference(*positional, **named))]


def of_dtype(arguments: Arguments, dtype: Any) -> dict[str, Any]:
    """The float64 arrays among the arguments as constants of a dtype; others as they are."""

    def changed(array: Any) -> Any:
        return gc.constant(array.astype(dtype.numpy) if array.dtype == np.float64 else array)

    return mapped(arguments, changed)
