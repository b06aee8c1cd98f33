"""Updates: where the new value of every state is stored, in place or through a copy at the end.

The kernel that computes a state's new value stores it straight into the state if it reads the old
value only at the element it writes, and every other reader of the old value can run before it:
the groups then require that order. Otherwise the new value goes through memory of its own and a
copy at the end, and a `Decision` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph.ir import Update
from ..loops.ir import Buffer, Kernel, Loop, Store
from ..loops.one_to_one import moving
from ..program.ir import Decision
from .groups import Group
from .regions import Region
from .stages import Placement
from .values import LastReads, Places, Values
from .whole import Whole

Computed = Values | Whole | Region


@dataclass(frozen=True, eq=False)
class PlacedUpdates:
    """What is stored by each group whose stores are free to choose, and what follows.

    stores     of each group: those it was given, then those into states
    copies     kernels that come after all others
    decisions  one for each update
    """

    stores: Mapping[Group, Sequence[Placement]]
    copies: tuple[Kernel, ...]
    decisions: tuple[Decision, ...]


def place_updates(
    places: Places,
    computed: Mapping[Group, Computed],
    stores: Mapping[Group, Sequence[Placement]],
) -> PlacedUpdates:
    """Place the updates one after the other, each seeing the stores of those before it.

    stores  those of outputs and of what other kernels read, for every group of `Values`
    """
    placing = _Placing(places, computed, stores)
    for number, update in enumerate(places.grouping.graph.updates):
        placing.place(update, f"{places.grouping.prefix}k{len(computed) + number}")
    return PlacedUpdates(placing.stores, tuple(placing.copies), tuple(placing.decisions))


class _Placing:
    """The updates placed so far."""

    def __init__(
        self,
        places: Places,
        computed: Mapping[Group, Computed],
        stores: Mapping[Group, Sequence[Placement]],
    ) -> None:
        self.places, self.grouping = places, places.grouping
        self.computed = computed
        self.stores = {group: list(placed) for group, placed in stores.items()}
        self.copies: list[Kernel] = []
        self.decisions: list[Decision] = []
        self.readers: dict[Buffer, list[Group]] = {}
        for group, one in computed.items():
            for buffer in one.loads:
                self.readers.setdefault(buffer, []).append(group)
        updated = {self.grouping.group_of[u.value] for u in self.grouping.graph.updates}
        self.last_reads = {
            group: LastReads.of(one, (node for node, _ in stores[group]))
            for group, one in computed.items()
            if isinstance(one, Values) and group in updated and group.reduced
        }

    def place(self, update: Update, copy_name: str) -> None:
        """Store the new value into the state, or to where a copy finds it."""
        state = self.grouping.leaf_buffers[update.state]
        group = self.grouping.group_of[update.value]
        subject = self.grouping.subject(update.state)
        reason = self._why_not_in_place(update, state)
        if not reason:
            for reader in self._readers_elsewhere(state, group):
                group.require(reader)
            self._store(group, (update.value, state))
            reason = f"fused into {group.kind.value} {group.name}"
            self.decisions.append(Decision(subject, "in place", reason))
            return
        source = self.places.of(update.value)
        if group in self.stores and (update.value, source) not in self.stores[group]:
            self._store(group, (update.value, source))
        self.copies.append(self._copy_kernel(copy_name, source, state))
        self.decisions.append(Decision(subject, "copied", reason))

    def _store(self, group: Group, place: Placement) -> None:
        self.stores[group].append(place)
        if group in self.last_reads:
            self.last_reads[group].note(place[0])

    def _readers_elsewhere(self, state: Buffer, group: Group) -> list[Group]:
        """Other groups that read the old value."""
        return [reader for reader in self.readers.get(state, []) if reader is not group]

    def _why_not_in_place(self, update: Update, state: Buffer) -> str:
        """Why the new value cannot replace the old; "" if it can."""
        group = self.grouping.group_of[update.value]
        values = self.computed[group]
        if isinstance(values, Whole):
            return "computed by a kernel that cannot write in place"
        if isinstance(values, Region):
            return f"a result of {group.name}, a {group.kind.value}"
        here = group.index[update.value]
        for load in values.loads.get(state, []):
            if load.args != here:
                return f"{group.name} reads other elements of the old value"
        value = values.of[update.value]
        in_loop = value.reduced and group.is_full(here)
        if in_loop and self.last_reads[group].loop(state) > values.stage(value):
            return f"a later loop of {group.name} reads the old value"
        for reader in self._readers_elsewhere(state, group):
            if reader.reaches(group):
                return f"{reader.name} reads the old value and needs {group.name}"
        return ""

    def _copy_kernel(self, name: str, source: Buffer, state: Buffer) -> Kernel:
        expander, k = self.grouping.expander, self.grouping.k
        axes = tuple(expander.axis(f"i{d}", e) for d, e in enumerate(state.type.shape))
        index = tuple(k.axis(axis) for axis in axes)
        store = Store(state, index, k.load(source, index))
        return Kernel(name, tuple(moving(axes)), (Loop((), (), (store,)),), "copy")
