"""Two trainers over one state: the second computes with the first one's values, and trains them.

What both programs know by name is one: parameters, and what layers keep, such as running means.
What a program counts for itself and its optimizer's state stay its own, as of two optimizers over
the same parameters in PyTorch. See shared_state.py for how values are handed to and fro.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .arena import Array
from .place import Call
from .shared_state import SharedState
from .state import State

INIT, RUN = "init", "run"


class LinkedState(State):
    """A program's state, of which a part is another program's: read there, and written there."""

    def __init__(self, own: State, shared: SharedState) -> None:
        self._own, self._shared = own, shared
        self.fields = own.fields

    @property
    def version(self) -> int:  # type: ignore[override]
        """Another number whenever values of this block may have changed."""
        return self._own.version

    def __getitem__(self, name: str) -> Array:
        return self._shared[name]

    def on_device(self, name: str) -> Any:
        return self._shared.on_device(name)

    def lying(self, name: str) -> Any:
        return self._shared.on_device(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._shared[name] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)

    def __contains__(self, name: object) -> bool:
        return name in self._own

    def clear(self) -> None:
        self._own.clear()

    def snapshot(self) -> bytes:
        self._shared.fetch()
        return self._own.snapshot()

    def restore(self, snapshot: bytes) -> None:
        self._own.restore(snapshot)
        self._shared.give(self._shared.names)

    def arrays_of(self, snapshot: bytes) -> dict[str, Array]:
        return self._own.arrays_of(snapshot)

    def snapshot_of(self, arrays: Any) -> bytes:
        return self._own.snapshot_of(arrays)


class LinkedCall:
    """A call that takes the other program's values before it runs and hands on what it changes."""

    def __init__(self, call: Call, shared: SharedState, lock: Any) -> None:
        self._call, self._shared, self._lock = call, shared, lock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    def run(self, first_step: int, count: int, rows: int) -> None:
        """See `Call.run`. A beginning takes nothing, and is handed on whole."""
        kind, shared = self._call.entry.kind, self._shared
        with self._lock:
            if kind != INIT:
                shared.fetch()
            self._call.run(first_step, count, rows)
            if kind in (INIT, RUN):
                shared.give(shared.names if kind == INIT else None)
