"""Checking the arrays that a user gives against the declared inputs.

In: fields (names, dtypes, shapes with named dimensions) and a mapping of arrays.
Out: row-major arrays of exactly the declared dtypes, and the value of every named dimension.

Names must match exactly, shapes too. Within a kind of dtype (floating point, integer, bool) values
are cast: float64 to float32, int64 to int32 if every value fits. Another kind is an error: uint8
pixels for a float32 input are a decision (scaled or not?) that belongs to the user. Python numbers
and lists have no dtype of their own, so integers among them may be given for floats.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.artifact import TensorField
from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError

from .arena import Array, numpy_dtype
from .plain_array import plain_array

Taking = Callable[[Sequence[TensorField], Mapping[str, Any]], Mapping[str, Any]]


def check_inputs(
    fields: Sequence[TensorField],
    values: Mapping[str, Any],
    operation: str,
    needed: Collection[str] | None = None,
    taken: Taking | None = None,
) -> tuple[dict[str, Array], dict[str, int]]:
    """The arrays as the compiled code reads them, and the named dimensions they bind.

    needed   names that must be given, None: all of them
    taken    gives those that can be read where they lie, on a device
    Raises ArgumentError for names, DTypeError for dtypes, ShapeError for shapes.
    """
    check_names([field.name for field in fields], values, operation, needed)
    fields = [field for field in fields if field.name in values]
    arrays = {} if taken is None else dict(taken(fields, values))
    for field in fields:
        if field.name not in arrays:
            arrays[field.name] = cast(field, values[field.name], operation)
    return arrays, bind_dimensions(fields, arrays, operation)


def check_names(
    known: Sequence[str],
    given: Mapping[str, Any],
    operation: str,
    needed: Collection[str] | None = None,
) -> None:
    """Raise ArgumentError unless known names alone are given, and all that are needed."""
    wanted = known if needed is None else [name for name in known if name in needed]
    unknown = [name for name in given if name not in known]
    missing = [name for name in wanted if name not in given]
    if not unknown and not missing:
        return
    problems = [f"unknown input {name!r}" for name in unknown]
    problems += [f"missing input {name!r}" for name in missing]
    names = ("declared", known) if unknown or len(wanted) == len(known) else ("needed", wanted)
    listed = ", ".join(map(repr, names[1])) or "none"
    near = [m for name in unknown for m in difflib.get_close_matches(str(name), missing, 1)]
    raise ArgumentError(
        ", ".join(problems),
        operation=operation,
        facts=[f"{names[0]} inputs: {listed}"],
        hint=f"did you mean {near[0]!r}?" if near else "",
    )


def kind_of(dtype: np.dtype[Any]) -> str:
    """ "float", "integer", "bool", or NumPy's name for what gradc has no dtype for."""
    if dtype == np.bool_:
        return "bool"
    if np.issubdtype(dtype, np.integer):
        return "integer"
    is_float = np.issubdtype(dtype, np.floating) or dtype == numpy_dtype("bfloat16")
    return "float" if is_float else str(dtype)


def cast(field: TensorField, value: Any, operation: str) -> Array:
    """A row-major, aligned array of the field's dtype, holding the values given."""
    wanted = numpy_dtype(field.dtype)
    what = "state" if operation == "state" else "input"
    try:
        array = plain_array(value, f"{what} {field.name!r}")
    except DTypeError as error:
        raise error.located(operation, None) from error.__cause__
    if array.dtype != wanted:
        _check_kind(field, value, array, wanted, operation)
        given = array
        with np.errstate(over="ignore"):
            array = given.astype(wanted)
        if what == "state" and kind_of(wanted) == "float":
            _check_range(field, given, array, operation)
    return np.require(array, requirements=("C", "A"))


def _check_kind(
    field: TensorField, value: Any, array: Array, wanted: np.dtype[Any], operation: str
) -> None:
    given, needed = kind_of(array.dtype), kind_of(wanted)
    weak = not hasattr(value, "dtype")
    if given != needed and not (weak and needed == "float" and given == "integer"):
        raise DTypeError(
            f"input {field.name!r} is {field.dtype}, not {array.dtype}",
            operation=operation,
            facts=["arrays are cast within a kind of dtype only: float, integer, bool"],
        )
    if needed == "integer" and array.size and not np.can_cast(array.dtype, wanted):
        limits, low, high = np.iinfo(wanted), int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise DTypeError(
                f"input {field.name!r} has values that do not fit {field.dtype}",
                operation=operation,
                facts=[f"values from {low} to {high}, limits {limits.min} and {limits.max}"],
            )


def _check_range(field: TensorField, given: Array, array: Array, operation: str) -> None:
    """Raise DTypeError for finite values of a state that became infinite. Of inputs, which may be
    large and come anew with every call, nobody asks it."""
    lost = np.isfinite(given.astype(np.float64)) & ~np.isfinite(array.astype(np.float64))
    if lost.any():
        raise DTypeError(
            f"state {field.name!r} has values that do not fit {field.dtype}",
            operation=operation,
            facts=[f"{given[lost][0]} would become {array[lost][0]}"],
        )


Expected = tuple[str, np.dtype[Any], tuple[int, ...]]


def expect(fields: Sequence[TensorField], arrays: Mapping[str, Array]) -> list[Expected]:
    """What `fits_exactly` asks for: names with the dtypes and shapes of these arrays."""
    return [(f.name, arrays[f.name].dtype, arrays[f.name].shape) for f in fields]


def fits_exactly(expected: Sequence[Expected], values: Mapping[str, Any]) -> bool:
    """Whether the compiled code can read every value as it is; the fast path of repeated calls."""
    if len(values) != len(expected):
        return False
    for name, dtype, shape in expected:
        array = values.get(name)
        if type(array) is not np.ndarray or array.shape != shape or array.dtype != dtype:
            return False
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned):
            return False
    return True


def bind_dimensions(
    fields: Sequence[TensorField], arrays: Mapping[str, Array], operation: str
) -> dict[str, int]:
    """The value of every named dimension. Raises ShapeError where shapes differ or disagree."""
    dims: dict[str, int] = {}
    bound_by: dict[str, str] = {}
    for field in fields:
        shape = arrays[field.name].shape
        if len(shape) != len(field.shape):
            raise _shape_error(field, shape, operation)
        for axis, (extent, given) in enumerate(zip(field.shape, shape, strict=True)):
            if isinstance(extent, int):
                if extent != given:
                    raise _shape_error(field, shape, operation)
                continue
            place = f"{field.name!r} axis {axis} has extent {given}"
            if dims.setdefault(extent, given) != given:
                raise ShapeError(
                    f"inputs disagree on dimension {extent!r}",
                    operation=operation,
                    facts=[bound_by[extent], place],
                )
            bound_by.setdefault(extent, place)
    return dims


def _shape_error(field: TensorField, shape: tuple[int, ...], operation: str) -> ShapeError:
    declared = ", ".join(map(str, field.shape))
    given = ", ".join(map(str, shape))
    return ShapeError(
        f"input {field.name!r} has shape [{given}], declared [{declared}]", operation=operation
    )


def bound_shape(shape: Sequence[int | str], dims: Mapping[str, int]) -> tuple[int, ...]:
    """The shape with every named dimension replaced by its value."""
    return tuple(dims[extent] if isinstance(extent, str) else extent for extent in shape)
