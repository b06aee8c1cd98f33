"""Running entry points of one artefact: its state, prepared calls, and calls of functions.

In: an artefact (compiler/artifact.py) and a number of threads. Out: calls of its entry points on
NumPy arrays, and its named state as arrays in their logical layout.

Where the state lies and what runs a call is the place's business (place.py). Calls of one executor
share its state and exclude each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any

import numpy as np

from gradc.compiler.artifact import (
    OPTIMIZER_PREFIX,
    SEED_STATE,
    Artifact,
    EntryPoint,
    IndexRange,
    TensorField,
)
from gradc.compiler.errors import ArgumentError

from .arena import Array, uninitialized_array
from .arena import numpy_dtype as dtype_named
from .cuda.place import Cuda
from .cuda.together import Together
from .host import Host
from .index_ranges import check_index_ranges
from .inputs import Expected, Taking, bound_shape, check_inputs, expect, fits_exactly
from .linked_state import LinkedCall, LinkedState
from .place import Call, Place
from .shared_state import OWN_PREFIX, NamedState, SharedState
from .state import State

NO_DIMS: Mapping[str, int] = MappingProxyType({})
APART = (OWN_PREFIX, OPTIMIZER_PREFIX)
"""What the names of states begin with that two trainers do not share."""


class Executor:
    """One loaded program: its state, and the entry points that work on it."""

    def __init__(self, artifact: Artifact, threads: int = 1) -> None:
        if threads < 1:
            raise ArgumentError(f"threads is at least 1, not {threads}")
        self.artifact = artifact
        self.place = _place_of(artifact, threads)
        self.state: State = self.place.state
        self.lock = self.place.lock
        self.shared: SharedState | None = None
        self._linked = False
        self._plans: dict[tuple[tuple[str, int], ...], _CallPlan] = {}
        self._last_plan: _CallPlan | None = None

    @property
    def visible_state(self) -> NamedState:
        """The state, that which is another program's included."""
        return self.state if self.shared is None else self.shared

    def share(self, owner: Executor, written: Collection[str]) -> None:
        """From now on have in common with another program what both know by name.

        written   names of states that this program updates
        """
        self.shared = SharedState(self.state, owner, frozenset(written))

    def link(self, owner: Executor, written: Collection[str]) -> None:
        """From now on train what another trainer's program has in common with this one.

        written   names of states that this program updates in a training step
        """
        own = self.place.state
        self.shared = SharedState(own, owner, frozenset(written), APART)
        self.state, self._linked = LinkedState(own, self.shared), True

    def initialize(self, seed: int, dims: Mapping[str, int] | None = None) -> None:
        """Fill the state block from the seed, through the "init" entry point."""
        self.state.clear()
        if SEED_STATE in self.state:
            self.state[SEED_STATE] = np.int64(seed)
        entry = self.artifact.variant("init", dims=dims or {}, bounded=False)
        self.prepare(entry, (), None, ()).run(0, 1, entry.rows_maximum)

    def prepare(
        self,
        entry: EntryPoint,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> Call:
        """A call of this entry point on these arrays, ready to run any number of times.

        inputs, outputs   row-major arrays in the entry's order and dtypes; kept alive by the call
        order             int64 sample numbers, or None where nothing is gathered
        """
        call = self.place.prepare(entry, inputs, order, outputs)
        if self._linked and self.shared is not None:
            return LinkedCall(call, self.shared, self.lock)
        return call

    def execute(
        self,
        entry: EntryPoint,
        inputs: Sequence[Array],
        order: Array | None,
        first_step: int,
        count: int,
        rows: int,
        outputs: Sequence[Array],
    ) -> None:
        """Run `count` iterations of an entry point once; see `prepare`."""
        self.prepare(entry, inputs, order, outputs).run(first_step, count, rows)

    def call(
        self,
        fields: Sequence[TensorField],
        values: Mapping[str, Any],
        dims: Mapping[str, int] = NO_DIMS,
        on_device: bool = False,
    ) -> list[Any]:
        """One evaluation of a compiled function: its outputs, as fresh arrays.

        fields   every declared input, those included that the compiled code does not read; give
                 the same object each time, since checks are skipped by its identity
        dims     named dimensions that no input binds
        on_device  where the program runs on a device: arrays there, that go to no host
        """
        with self.lock:
            plan = self._last_plan
            if plan is None or plan.fields is not fields or not plan.takes(values, dims):
                plan = self._last_plan = self._plan_for(fields, values, dims)
            run = plan.run_on_device if on_device and self.on_device else plan.run
            if self.shared is None:
                return run()
            self.shared.fetch()
            results = run()
            self.shared.give()
            return results

    def _plan_for(
        self, fields: Sequence[TensorField], values: Mapping[str, Any], dims: Mapping[str, int]
    ) -> _CallPlan:
        arrays, bound = check_inputs(fields, values, "call", None, self.taking("call"))
        bound = {**dims, **bound}
        key = tuple(sorted(bound.items()))
        plan = self._plans.get(key)
        if plan is None or plan.fields is not fields:
            entry = self.artifact.variant("call", dims=bound, bounded=False)
            inputs = [arrays[field.name] for field in entry.inputs]
            call = self.prepare(entry, inputs, None, allocate_outputs(entry, 1, bound))
            ranges = self.artifact.index_ranges("call")
            plan = _CallPlan(call, fields, expect(fields, arrays), dims, ranges)
            self._plans[key] = plan
        plan.set_inputs(arrays)
        return plan

    @property
    def on_device(self) -> bool:
        """Whether the program runs on a device with memory of its own."""
        return isinstance(self.place, Cuda)

    def taking(self, kind: str) -> Taking:
        """How inputs that lie on the program's device already get into a kind of entry point: as
        they are, but for those that hold indices, which the host looks at."""

        def take(fields: Sequence[TensorField], values: Mapping[str, Any]) -> Mapping[str, Any]:
            if not self.on_device:
                return {}
            checked = {found.input for found in self.artifact.index_ranges(kind)}
            return self.place.taken([f for f in fields if f.name not in checked], values)

        return take

    def beside(self, together: Together) -> AbstractContextManager[None]:
        """Around what a member of these runs: on a device, in the same launches as theirs."""
        place = self.place
        return together.launching(place) if isinstance(place, Cuda) else nullcontext()


def _place_of(artifact: Artifact, threads: int) -> Place:
    return Cuda(artifact) if artifact.device == "cuda" else Host(artifact, threads)


class _CallPlan:
    """The prepared call of a compiled function for arrays of certain shapes."""

    def __init__(
        self,
        call: Call,
        fields: Sequence[TensorField],
        expected: Sequence[Expected],
        dims: Mapping[str, int],
        ranges: Sequence[IndexRange],
    ) -> None:
        self.fields = fields
        self._call, self._expected, self._dims = call, expected, dict(dims)
        self._ranges = ranges
        self._names = [field.name for field in call.entry.inputs]
        self._results = [(output.shape[1:], output.dtype) for output in call.outputs]

    def takes(self, values: Mapping[str, Any], dims: Mapping[str, int]) -> bool:
        """Whether these arrays need no conversion; if so they are the call's inputs now."""
        if dims != self._dims or not fits_exactly(self._expected, values):
            return False
        self.set_inputs(values)
        return True

    def set_inputs(self, arrays: Mapping[str, Array]) -> None:
        """Read these arrays. Raises ArgumentError where one holds an index out of its range."""
        check_index_ranges(self._ranges, arrays, "call")
        for position, name in enumerate(self._names):
            self._call.set_input(position, arrays[name])

    def run(self) -> list[Array]:
        """Run once, into fresh arrays."""
        call = self._call
        results: list[Array] = [np.zeros(shape, dtype) for shape, dtype in self._results]
        for position, result in enumerate(results):
            call.set_output(position, result)
        call.run(0, 1, call.entry.rows_maximum)
        return results

    def run_on_device(self) -> list[Any]:
        """Run once; the results stay where they are made."""
        call: Any = self._call
        for position in range(len(self._results)):
            call.set_output(position, None)
        call.run(0, 1, call.entry.rows_maximum)
        made: list[Any] = call.results([shape for shape, _ in self._results])
        return made


def allocate_outputs(
    entry: EntryPoint, count: int, dims: Mapping[str, int] | None = None
) -> list[Array]:
    """Arrays [count, *shape] of any content for the outputs of `count` iterations."""
    return [
        uninitialized_array(
            (count, *bound_shape(field.shape, dims or {})), dtype_named(field.dtype)
        )
        for field in entry.outputs
    ]
