"""Attributes that do not exist are refused, when read and when set, with names that come near.

    trainer.lr            AttributeError, hint: write trainer.learning_rate
    trainer.lr = 1e-3     the same: an assignment that changes nothing would be a silent mistake

What is settable: attributes that a class annotates, properties with a setter, names that begin
with an underscore. Everything of gradc that people hold in their hands derives from `Attributes`.
The spellings of other libraries are in `_hints`, one table per class. The standard library alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from .errors import UnknownNameError

Kind = TypeVar("Kind", bound=type)

_NEAR_COUNT, _NEAR_CUTOFF = 4, 0.6  # difflib's own cutoff


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Names of `known` that contain `name` or are contained in it, then those spelled alike."""
    wanted = name.lower()
    candidates = sorted({k for k in known if not k.startswith("_") and k != name})
    parts = [k for k in candidates if len(wanted) > 2 and wanted in k.lower()]
    parts += [k for k in candidates if len(k) > 3 and k.lower() in wanted]
    lowered = {k.lower(): k for k in candidates}
    alike = difflib.get_close_matches(wanted, lowered, _NEAR_COUNT, _NEAR_CUTOFF)
    return list(dict.fromkeys([*parts, *(lowered[k] for k in alike)]))[:_NEAR_COUNT]


def hint_for(name: str, hints: Mapping[str, str], known: Iterable[str]) -> str:
    """What to write in place of `name`: the table's advice, else the names that come near."""
    if name in hints:
        return hints[name]
    near = near_names(name, known)
    return f"did you mean {' or '.join(near)}?" if near else ""


class Attributes:
    """A base class whose objects have the attributes that it names, and no others."""

    __slots__ = ()

    _hints: ClassVar[Mapping[str, str]] = {}

    def __getattr__(self, name: str) -> Any:
        """Called for names that do not exist. Those with underscores are asked for by protocols."""
        problem = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name.startswith("_"):
            raise AttributeError(problem)
        raise UnknownNameError(problem, hint=hint_for(name, self._hints, dir(type(self))))

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not is_settable(type(self), name):
            problem = f"{type(self).__name__!r} object has no attribute {name!r} to set"
            if hasattr(type(self), name):
                problem = f"attribute {name!r} of {type(self).__name__!r} cannot be set"
            raise UnknownNameError(problem, hint=hint_for(name, self._hints, settable(type(self))))
        object.__setattr__(self, name, value)


def refusing(kind: Kind) -> Kind:
    """Above @dataclass(frozen=True): every assignment to an object is refused, as in Attributes."""
    kind.__setattr__ = _refuse  # type: ignore[method-assign, assignment]
    return kind


def _refuse(self: Any, name: str, value: Any) -> None:
    kind = type(self)
    known = [n for n in dir(kind) if not callable(getattr(kind, n))] + list(_annotated(kind))
    if name in known:
        problem = f"{kind.__name__!r} objects never change: {name!r} cannot be set"
        hint = _hints_of(kind).get(name, f"dataclasses.replace(object, {name}=...) makes another")
    else:
        problem = f"{kind.__name__!r} object has no attribute {name!r} to set"
        hint = hint_for(name, _hints_of(kind), known)
    raise UnknownNameError(problem, hint=hint)


def _hints_of(kind: type) -> Mapping[str, str]:
    return getattr(kind, "_hints", {})


def is_settable(kind: type, name: str) -> bool:
    """Whether objects of a class have an attribute of this name that may be assigned."""
    found = getattr(kind, name, None)
    if isinstance(found, property):
        return found.fset is not None
    return name in _annotated(kind)


def settable(kind: type) -> list[str]:
    """The public names that may be assigned."""
    names = {*_annotated(kind), *(name for name in dir(kind) if is_settable(kind, name))}
    return sorted(name for name in names if not name.startswith("_"))


def _annotated(kind: type) -> set[str]:
    return {name for base in kind.__mro__ for name in vars(base).get("__annotations__", ())}
