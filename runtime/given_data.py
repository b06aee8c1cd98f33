"""How data is given to a trainer: a mapping, keywords, or an iterable of mappings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gradc.compiler.errors import ArgumentError


def iterable_of(data: Iterable[Any], operation: str) -> Iterable[Any]:
    """The data, if it can be iterated over. Raises ArgumentError otherwise."""
    if isinstance(data, str) or not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        raise ArgumentError(
            f"data is {{input: array}} or an iterable of such batches, not {data!r}",
            operation=operation,
        )
    return data


def merged(data: Any, arrays: Mapping[str, Any], operation: str) -> Any:
    """The one of a positional argument and keywords that was given. Raises ArgumentError."""
    if data is None:
        return arrays
    if hasattr(data, "shape") or (operation == "predict" and not isinstance(data, Mapping)):
        problem = f"arrays are given by name, not as a {type(data).__name__}"
        raise ArgumentError(
            problem, operation=operation, hint="write {input: array}, or input=array"
        )
    if arrays:
        raise ArgumentError("give a mapping or keywords, not both", operation=operation)
    return data
