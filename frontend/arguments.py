"""What public functions take: every argument is checked as its annotation reads, before the body.

`checked` wraps a function. A call first turns each argument into the plain Python value that the
annotation names: NumPy integers into int, lists of axes into tuples, whatever means a dtype into
one. What does not fit ends in an ArgumentError that names function, argument and value, so that
bodies meet only what they expect. Errors from inside name the function that the user called, not
the operation below it that noticed. An annotation without a check is an error at import.

Tensors, arrays and numbers pass as they are. A wrong number of arguments and unknown keywords are
Python's own TypeErrors.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, GradcError, described
from gradc.compiler.types import DType, dtype_of
from gradc.runtime.plain_array import check_type
from gradc.runtime.plain_number import as_flag, as_real, as_whole

from .dimensions import Dimension
from .parameters_of import parameters_of
from .synonyms import spelled
from .tracing import here

F = TypeVar("F", bound=Callable[..., Any])
Check = Callable[[str, Any], Any]
Text: TypeAlias = str  # in a signature: any string, where `str` means one of some words


# ---------------------------------------------------------------- kinds of arguments


def _wrong(name: str, wanted: str, value: Any) -> GradcError:
    if name.endswith("axis"):
        return DTypeError(f"an axis is an integer, not {described(value)}")
    return ArgumentError(f"{name} is {wanted}, not {described(value)}")


def whole(name: str, value: Any) -> int:
    """An integer; see runtime/plain_number.py."""
    found = as_whole(value)
    if found is None:
        raise _wrong(name, "an integer", value)
    return found


def real(name: str, value: Any) -> float:
    """A number. Integers stay integers."""
    found = as_real(value)
    if found is None:
        raise _wrong(name, "a number", value)
    return found


def number(name: str, value: Any) -> Any:
    """A bool or a number."""
    return bool(value) if isinstance(value, (bool, np.bool_)) else real(name, value)


def flag(name: str, value: Any) -> bool:
    """True or False, or 1 or 0 for them."""
    found = as_flag(value, numbers=True)
    if found is None:
        raise _wrong(name, "True or False", value)
    return found


class _Foreign(str):
    """What is no string, as the text of it: the function that wanted one of its words refuses it
    with the list of those words."""

    def __repr__(self) -> str:
        return str(self)


def text(name: str, value: Any) -> str:
    """One of a function's words. What is no string becomes a text that equals none of them."""
    return value if isinstance(value, str) else _Foreign(described(value))


def string(name: str, value: Any) -> str:
    """A string of any content."""
    if isinstance(value, str):
        return value
    raise _wrong(name, "a string", value)


def wholes(name: str, value: Any) -> tuple[int, ...]:
    """A list, tuple or one-dimensional array of integers, as a tuple."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, (list, tuple, range)):
        raise _wrong(name, "a list of integers", value)
    return tuple(whole(f"each of {name}", item) for item in value)


def words_or_wholes(name: str, value: Any) -> Any:
    """One of a function's words, an integer, or integers as a tuple."""
    return value if isinstance(value, str) else whole_or_wholes(name, value)


def whole_or_wholes(name: str, value: Any) -> Any:
    """An integer, or integers as a tuple."""
    if isinstance(value, (list, tuple, range)) or (isinstance(value, np.ndarray) and value.ndim):
        return wholes(name, value)
    try:
        return whole(name, value)
    except GradcError:
        raise _wrong(name, "an integer or a list of integers", value) from None


# What an operand is beside a tensor.
OPERANDS = (np.ndarray, np.generic, bool, int, float, list, Dimension)


def operand(name: str, value: Any) -> Any:
    """A tensor, an array, a number, nested lists of numbers, or what NumPy makes an array of."""
    if _is_tensor(value) or isinstance(value, OPERANDS):
        return value
    if isinstance(value, (tuple, range)):
        return list(value)
    if hasattr(value, "__array__") and not isinstance(value, type):
        check_type(value, name)
        try:
            return np.asarray(value)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{name} gives no array: {error}") from None
    problem = f"operands are tensors, arrays and numbers, not {type(value).__name__}"
    raise ArgumentError(problem, facts=[f"{name} is {described(value)}"])


def operands(name: str, value: Any) -> list[Any]:
    """A list of tensors; an array gives its slices along the first axis."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return list(value)
    raise _wrong(name, "a list of tensors", value)


def dtype(name: str, value: Any) -> DType:
    """Whatever means a dtype."""
    return dtype_of(value)


def extent(name: str, value: Any) -> Any:
    """An integer or the name of a dimension."""
    return value if isinstance(value, str) else whole(name, value)


def anything(name: str, value: Any) -> Any:
    """Whatever the function itself checks."""
    return value


def optional(check: Check) -> Check:
    """None, or what the check takes."""
    return lambda name, value: None if value is None else check(name, value)


def dimension_or(check: Check) -> Check:
    """A named dimension, or what the check takes."""
    return lambda name, value: value if isinstance(value, Dimension) else check(name, value)


CHECKS: dict[str, Check] = {
    "Any": anything,
    "TensorLike": operand,
    "TensorLike | None": optional(operand),
    "Sequence[TensorLike]": operands,
    "int": whole,
    "int | None": optional(whole),
    "float": real,
    "float | None": optional(real),
    "bool | int | float": number,
    "bool": flag,
    "bool | None": optional(flag),
    "str": text,
    "Text": string,
    "Text | None": optional(string),
    "Axis": optional(whole_or_wholes),
    "Axis | Tensor": lambda name, value: (
        value if _is_tensor(value) else optional(whole_or_wholes)(name, value)
    ),
    "int | Sequence[int]": whole_or_wholes,
    "int | str | Sequence[int]": words_or_wholes,
    "Sequence[int]": wholes,
    "DTypeLike": dtype,
    "DTypeLike | None": optional(dtype),
    "Extent": extent,
    "Extent | None": optional(extent),
    "ShapeLike": anything,
    "float | Dimension": dimension_or(real),
    "float | Dimension | None": optional(dimension_or(real)),
    "Sequence[int] | int | None": optional(whole_or_wholes),
    "Number": anything,
    "Number | None": anything,
    "WholeNumber": anything,
}


def _is_tensor(value: Any) -> bool:
    """A tensor has `__index__`, which says in its own words why it is no integer."""
    return hasattr(value, "node") and hasattr(value, "declared")


# ---------------------------------------------------------------- the wrapper


def checked(function: F, name: str = "", table: Mapping[str, Check] = CHECKS) -> F:
    """`function` with its arguments checked and its errors named; see the module docstring."""
    operation = name or function.__name__
    parameters = parameters_of(function)
    several = parameters.several
    checks = {
        parameter: table[parameters.annotations.get(parameter, "")]
        for parameter in parameters.every_name
        if parameter != "self"
    }
    signature = functools.cache(functools.partial(inspect.signature, function))  # when first called

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            bound = signature().bind(*arguments, **options)
        except TypeError:
            return function(*arguments, **options)  # raises Python's own message
        try:
            given = bound.arguments
            for parameter, check in checks.items():
                if parameter not in given:
                    continue
                value = given[parameter]
                given[parameter] = (
                    tuple(check(parameter, item) for item in value)
                    if parameter == several
                    else check(parameter, value)
                )
            return function(*bound.args, **bound.kwargs)
        except GradcError as error:
            error.operation = operation
            error.source = error.source or here()
            error.hint = error.hint or _misplaced(bound.arguments, error)
            raise

    return call  # type: ignore[return-value]


def _misplaced(given: Mapping[str, Any], error: GradcError) -> str:
    """What was meant by an argument that stands where a dtype goes."""
    value = given.get("dtype")
    if not isinstance(value, (int, np.integer)) or not error.problem.startswith("unknown dtype"):
        return ""
    if isinstance(value, bool) and "axis" in given:
        return f"write keepdims={value}"
    for name, what in (("shape", "the shape is one tuple"), ("axis", "several axes are one tuple")):
        if isinstance(given.get(name), (int, np.integer)):
            return f"{what}: {name}=({given[name]}, {value})"
    return ""


def public_methods(*names: str) -> Callable[[type], type]:
    """A class decorator: these methods check their arguments, and take synonyms of their names."""

    def decorate(kind: type) -> type:
        for name in names:
            setattr(kind, name, spelled(checked(getattr(kind, name), name.strip("_"))))
        return kind

    return decorate
