"""Arrays whose type says more than their buffer are refused, not stripped of what they say.

`np.asarray` drops a mask, a unit or a date's calendar without a word, and what is left are numbers
that nobody meant: the value under a mask, metres taken for feet. So whatever enters a program as an
array (inputs, constants, initial values, assigned state) comes through here.

    taken      ndarrays of numbers in any byte order, memory layout and alignment, memory maps,
               numbers and nested lists of them, other libraries' arrays that `__array__` gives so,
               or `__dlpack__`, from a device of CUDA too
    refused    masked arrays; np.matrix, whose `*` is another one; every other subclass of ndarray,
               and what has a unit; structured and record arrays; dates; objects, such as missing
               values of pandas; sparse matrices; what its own library refuses to give, such as a
               tensor of torch that requires a gradient
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.compiler.errors import DTypeError, GradcError

if TYPE_CHECKING:
    from .arena import Array

CUDA, CUDA_MANAGED = 2, 13
"""DLDeviceType of DLPack: memory of a device, and memory that a device and the host share."""
_NUMBERS = (bool, int, float)
_PLAIN = (np.ndarray, np.memmap)
_BARE = "np.asarray(...) gives the numbers alone, if they are all that counts"
_NO_NUMBERS = {
    "M": ("dates", "subtract a date and divide by a unit of time first"),
    "m": ("differences of times", "divide by a unit of time first: a / np.timedelta64(1, 's')"),
    "V": ("records", "give each field as an array of its own"),
}


def plain_array(value: Any, what: str) -> Array:
    """`value` as an ndarray in native byte order whose buffer says all. `what` begins the message.

    Strings and complex numbers pass: the caller knows which kinds of number it takes.
    Raises DTypeError.
    """
    if type(value) is not np.ndarray:
        check_type(value, what)
        if lies_on_device(value):
            from .cuda.dlpack import copied_from_device

            return copied_from_device(value, what)
    try:
        array = np.asarray(value) if not _gives_dlpack_alone(value) else np.from_dlpack(value)
    except GradcError:
        raise
    except Exception as error:  # of another library: whatever its __array__ raises
        raise DTypeError(f"{what} is no array: {error}") from error
    kind = array.dtype.kind
    if kind == "O":
        raise _object_error(array, value, what)
    if kind in "Mm" or array.dtype.names is not None or array.dtype.type is np.void:
        content, hint = _NO_NUMBERS[kind]
        problem = f"{what} is an array of {content} ({array.dtype}), not of numbers"
        raise DTypeError(problem, hint=hint)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def lies_on_device(value: Any) -> bool:
    """Whether a value says of itself that its memory is a device's."""
    if not hasattr(value, "__dlpack__") or not hasattr(value, "__dlpack_device__"):
        return False
    return value.__dlpack_device__()[0] in (CUDA, CUDA_MANAGED)


def _gives_dlpack_alone(value: Any) -> bool:
    return hasattr(value, "__dlpack__") and not hasattr(value, "__array__")


def check_type(value: Any, what: str) -> None:
    """Raise DTypeError for what `np.asarray` would strip, also inside lists."""
    if isinstance(value, (list, tuple)):
        _check_items(value, what)
    elif isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):  # loads np.ma
        raise DTypeError(
            f"{what} is a masked array; the values under its mask would count as any other",
            hint="fill them first: .filled(0.0), or leave those samples out",
        )
    elif isinstance(value, np.matrix):
        raise DTypeError(f"{what} is an np.matrix, whose * is a matrix product", hint=_BARE)
    elif isinstance(value, np.ndarray) and type(value) not in _PLAIN and not value.dtype.names:
        problem = f"{what} is a {_name(value)}, which may say more than its numbers do"
        raise DTypeError(problem, hint=_BARE)
    elif not isinstance(value, np.ndarray) and _has_unit(value):
        problem = f"{what} is a {_name(value)}, which has a unit"
        raise DTypeError(problem, hint="convert it, and give its magnitude as an array")
    elif hasattr(type(value), "toarray"):
        problem = f"{what} is a sparse matrix ({_name(value)})"
        raise DTypeError(problem, hint="give .toarray()")


def _check_items(values: Sequence[Any], what: str) -> None:
    for value in values:
        if type(value) not in _NUMBERS:
            check_type(value, what)


def _has_unit(value: Any) -> bool:
    """A data frame has columns for attributes, so those of the type and of the instance count."""
    own = getattr(value, "__dict__", {})
    return any(hasattr(type(value), name) or name in own for name in ("unit", "units"))


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _object_error(array: Array, value: Any, what: str) -> DTypeError:
    if array.ndim == 0:
        return DTypeError(f"{what} is a {_name(value)}, not an array of numbers")
    others = (x for x in array.flat if not isinstance(x, (*_NUMBERS, np.number, np.bool_)))
    found = next(others, None)
    missing = found is None or type(found).__name__ in ("NAType", "NaTType")
    problem = f"{what} is an array of Python objects, one of which is {found!r}"
    hint = "fill or leave out missing values first" if missing else ""
    if found is None and all(x is not None for x in array.flat):
        problem = f"{what} is an array of Python objects"
        hint = "give it a dtype: array.astype(np.float32)"
    return DTypeError(problem, hint=hint)
