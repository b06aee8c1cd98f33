"""Named state as a mapping: what `trainer.parameters` and `trainer.state` are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradc.compiler.attributes import Attributes

from .arena import Array
from .state import State


class StateView(Attributes, Mapping[str, Array]):
    """Named state, either the trained parameters or all else, in logical row-major layout."""

    def __init__(self, state: State, trained: bool) -> None:
        self._state, self._what = state, "parameter" if trained else "state"
        self._names = [name for name, f in state.fields.items() if f.trained == trained]

    def __getitem__(self, name: str) -> Array:
        return self._state[self._known(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        self._state[self._known(name)] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied it is a dict of arrays."""
        return dict, (dict(self),)

    def __repr__(self) -> str:
        fields = [self._state.fields[name] for name in self._names]
        return "\n".join(f"{f.name}: {f.dtype}{list(f.shape)}" for f in fields)

    def _known(self, name: str) -> str:
        if name not in self._names:
            known = ", ".join(map(repr, self._names)) or "none"
            raise KeyError(f"no {self._what} named {name!r}; known: {known}")
        return name
