"""State that two programs share: one owns it, the other computes with the owner's values.

Each program has its states in a block of its own, laid out as its kernels want them. Before the
second one runs, what both know by name is copied from the owner, if that has changed since; what it
has updated is given back at once. So to read or to train either is to see the other's values.

What a program counts for itself, its seed and its step, is not shared; between two trainers nor is
what their optimizers keep (linked_state.py).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gradc.compiler.artifact import StateField
from gradc.compiler.errors import ArgumentError

from .arena import Array
from .state import State

OWN_PREFIX = "gradc."
"""Of the names of states that no programs share."""


class NamedState(Protocol):
    """What a view of a program's state needs (state_view.py)."""

    @property
    def fields(self) -> Mapping[str, StateField]: ...
    def __getitem__(self, name: str) -> Array: ...
    def on_device(self, name: str) -> Any: ...
    def __setitem__(self, name: str, value: Any) -> None: ...


class Owner(Protocol):
    """A program whose state another one reads.

    state          its own block
    shared         what of this is another program's, in turn
    visible_state  its state, that which it shares included
    """

    @property
    def state(self) -> State: ...
    @property
    def lock(self) -> threading.RLock: ...
    @property
    def shared(self) -> SharedState | None: ...
    @property
    def visible_state(self) -> NamedState: ...


class SharedState:
    """What of a program's state is another one's.

    own       the program's block
    owner     the other program
    written   names of states that the program updates
    apart     what the names of states begin with that are not shared
    """

    def __init__(
        self,
        own: State,
        owner: Owner,
        written: frozenset[str],
        apart: tuple[str, ...] = (OWN_PREFIX,),
    ) -> None:
        self._own, self._owner = own, owner
        self.fields = own.fields
        self.names = [n for n in own if n in owner.state and not n.startswith(apart)]
        self._written = [name for name in self.names if name in written]
        self._seen = -1  # the version of the owner's state that was copied last
        self._check()

    def _check(self) -> None:
        if not self.names:
            listed = ", ".join(n for n in self._own if not n.startswith(OWN_PREFIX)) or "none"
            other = ", ".join(n for n in self._owner.state if not n.startswith(OWN_PREFIX))
            facts = [f"state here: {listed}", f"state there: {other or 'none'}"]
            raise ArgumentError("state: there is nothing that both know by name", facts=facts)
        for name in self.names:
            here, there = self._own.fields[name], self._owner.state.fields[name]
            if (here.dtype, here.shape) != (there.dtype, there.shape):
                facts = [f"here it is {here.dtype}{list(here.shape)}"]
                facts.append(f"there it is {there.dtype}{list(there.shape)}")
                raise ArgumentError(f"state: {name!r} is not the same", facts=facts)

    def fetch(self) -> None:
        """Take the owner's values, if they have changed since the last time."""
        owner = self._owner
        if owner.shared is not None:
            owner.shared.fetch()
        with owner.lock:
            if owner.state.version != self._seen:
                for name in self.names:
                    self._own[name] = owner.state.lying(name)
                self._seen = owner.state.version

    def give(self, changed: Sequence[str] | None = None) -> None:
        """Hand on what the program has updated, or these states."""
        names = self._written if changed is None else changed
        if not names:
            return
        owner = self._owner
        with owner.lock:
            for name in names:
                owner.visible_state[name] = self._own.lying(name)
            self._seen = owner.state.version

    def __getitem__(self, name: str) -> Array:
        return self._owner.visible_state[name] if name in self.names else self._own[name]

    def on_device(self, name: str) -> Any:
        here = name not in self.names
        return self._own.on_device(name) if here else self._owner.visible_state.on_device(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self.names:
            self._owner.visible_state[name] = value
        else:
            self._own[name] = value
