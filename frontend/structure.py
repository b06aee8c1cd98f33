"""Nested lists, tuples, dicts and None with leaves in them: taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Path = tuple[str, ...]


def flatten(structure: Any) -> tuple[list[tuple[Path, Any]], Callable[[Sequence[Any]], Any]]:
    """The leaves with their paths, in order, and the function that rebuilds the structure.

    A dict keeps its keys' order. None holds no leaf. A path is keys and positions as text.
    """
    if structure is None:
        return [], lambda leaves: None
    if isinstance(structure, dict):
        names, parts = [str(key) for key in structure], list(structure.values())
        keys = list(structure)
        return _flatten_parts(names, parts, lambda items: dict(zip(keys, items, strict=True)))
    if isinstance(structure, (list, tuple)):
        names = [str(position) for position in range(len(structure))]
        return _flatten_parts(names, list(structure), _rebuild_sequence(structure))
    return [((), structure)], lambda leaves: leaves[0]


def _rebuild_sequence(structure: Any) -> Callable[[list[Any]], Any]:
    kind = type(structure)
    if hasattr(kind, "_fields"):  # a named tuple takes its fields one by one
        return lambda items: kind(*items)
    return lambda items: kind(items)


def _flatten_parts(
    names: list[str], parts: list[Any], rebuild: Callable[[list[Any]], Any]
) -> tuple[list[tuple[Path, Any]], Callable[[Sequence[Any]], Any]]:
    flat = [flatten(part) for part in parts]
    leaves = [
        ((name, *path), leaf)
        for name, (own, _) in zip(names, flat, strict=True)
        for path, leaf in own
    ]

    def unflatten(values: Sequence[Any]) -> Any:
        items, at = [], 0
        for own, inner in flat:
            items.append(inner(values[at : at + len(own)]))
            at += len(own)
        return rebuild(items)

    return leaves, unflatten


def unflatten_like(structure: Any, leaves: Sequence[Any]) -> Any:
    """`structure` with its leaves replaced, in order."""
    return flatten(structure)[1](leaves)
