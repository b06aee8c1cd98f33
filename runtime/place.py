"""Where a program's state lies and its entry points run: what the executor asks of a place.

There are two: the host (host.py), and a device of CUDA (cuda/place.py). Whoever trains, evaluates
or saves sees arrays of the host's memory in either case.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gradc.compiler.artifact import EntryPoint, TensorField

from .arena import Array
from .state import State


class Call(Protocol):
    """A call of one entry point on arrays, ready to run any number of times.

    Arrays are those of the last `set_...`; what is in them counts when the call runs, but for the
    inputs that a device holds: these it reads again when they are set again.
    """

    entry: EntryPoint
    inputs: list[Array]
    order: Array | None
    outputs: list[Array]

    def set_input(self, position: int, array: Array, first_row: int = 0) -> None:
        """Read another array of the same dtype and shape from now on.

        first_row   the sample number of its first row: the array is a part of a data set, of which
                    no other part may be read
        """

    def set_output(self, position: int, array: Array) -> None:
        """Write to another array of the same dtype and shape from now on."""

    def set_order(self, order: Array) -> None:
        """Take the sample numbers from another array from now on."""

    def set_same_rows(self) -> None:
        """Take the first numbers of the order in every iteration from now on."""

    def run(self, first_step: int, count: int, rows: int) -> None:
        """Run `count` iterations of `rows` samples each, beginning with `first_step`."""


class Place(Protocol):
    """The state of one program, and what calls of its entry points need.

    lock   held while a call runs: calls of one place share its state and exclude each other
    """

    @property
    def state(self) -> State: ...
    @property
    def lock(self) -> threading.RLock: ...

    def prepare(
        self,
        entry: EntryPoint,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> Call:
        """See `Executor.prepare`."""

    def taken(self, fields: Sequence[TensorField], values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of the values that lie in the place's own memory as the fields say: calls take
        them as they take arrays of the host."""
