"""The schedule of a generic nest: which run of axes has lanes, how many, and what threads share.

One run gets 16 lanes. If it is one of the parallel axes, every lane works on its own element and
reductions walk their axes in order; if it is the last run of the inner loops, a reduction keeps 16
partial results and ends in a tree. The choice decides bits, and depends on the kernel's shapes and
layouts alone: it is the same for all machines with the same kernels (machine.py):

* cost of a run = sum over loads and stores of 1 if lanes lie together or share one element, 2 to 4
  if they lie so many elements apart and the kernel reduces nothing, 16 if they must be gathered,
  divided by the part of the lanes that is used;
* the cheapest run wins; ties go to inner loops, then to later axes.

Where data say which points are walked, no lanes run along what says it: all lanes of a point walk
the same.

All else here is speed: more or fewer lanes along a parallel run, the order in which parallel runs
are walked, and whether threads are worth their barrier. Of runs that are long enough threads share
one whose points have equally much to do, whatever data say.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..loops.combiners import SUM
from ..loops.ir import PAGE_BYTES, Kernel, Scalar, points_of
from ..loops.ir import walk as walk_scalars
from ..loops.primitives import PRIMITIVES, Weight
from ..loops.runs import Address, Runs, WalkedRun, addresses_of
from ..loops.schedule import FEWEST_LANES, LANES, SHORT_STEPS, Ahead, Nest, Run
from ..loops.work import work
from ..machine import Machine
from ..types import float32, int64
from .chosen import Choice, Chosen

WIDE_LANES, WIDEST_LANES = 64, 256
LIGHTEST_SCALARS = 4
LIGHT_SCALARS = 12
ROW_SCALARS = 40
"""Values at each point of a sum that is to walk whole rows: with as many they begin to leave the
registers, which the first-level cache makes up for."""
FEWEST_ROWS_HELD = 8
"""Of float32, in registers, for that."""
THREADING_FLOOR = 32_768
"""Work (points times loads, stores and reductions) below which one thread does all of it."""

SHORTEST_ROW_BYTES = 512
"""A gather of shorter rows is over before anything that it asks for has come."""
AHEAD_BYTES = 4_096
"""A gather asks for what it will read so many bytes later: what comes from beyond the caches takes
about as long as this takes to be copied."""

ROWS_AHEAD = 8
LARGE_BYTES = 1_048_576
"""Of an array that comes from beyond the second-level cache whenever it is read."""

MOST_ABREAST = 64
"""Of the terms of sums whose trees are made together: of longer ones they are hardly any work."""

MOST_SHARES = 64
"""Of two runs with at least so many points, threads share the outer."""


class NestChooser:
    """Chooses for one kernel; `runs` are those of its axes."""

    def __init__(self, kernel: Kernel, runs: Runs, machine: Machine) -> None:
        self.kernel, self.runs, self.machine = kernel, runs, machine
        self.addresses = addresses_of(kernel)
        self.inner = self._common_inner_run()
        chosen = self._vector_run()
        self.vector, self.why_vector = chosen.what, chosen.why

    @property
    def inner_has_lanes(self) -> bool:
        """Whether reductions keep partial results in lanes: a choice of bits."""
        return self.vector is not None and self.vector is self.inner

    def chosen(self, ordered: Kernel, why: str) -> Chosen:
        """The schedule for the kernel, which has its orders by now; `why` it is a nest."""
        walk = self._walk()
        vector, width, why_vector = None, 1, self.why_vector
        if self.vector is not None:
            lanes = self._width(self.vector, ordered)
            vector, width = self.vector.run, lanes.what
            why_vector += f"; {lanes.why}"
        threads, ahead = self._threads(walk.what, width), self._ahead(walk.what)
        shared = None if threads.what is None else threads.what.run
        abreast = self._abreast(walk.what)
        nest = Nest(
            tuple(run.run for run in walk.what), vector, width, ahead.what, shared, abreast.what
        )
        reasons = {"vector": why_vector, "threads": threads.why}
        reasons |= {"walk": walk.why} if len(walk.what) > 1 else {}
        reasons |= {"abreast": abreast.why} if abreast.why else {}
        return Chosen(nest, why, reasons | ({"ahead": ahead.why} if ahead.why else {}))

    def _threads(self, walk: Sequence[WalkedRun], width: int) -> Choice[WalkedRun | None]:
        """What threads share: the outermost of the longest runs, if it is worth their barrier. The
        one that has the lanes counts its blocks."""
        if not walk:
            return Choice(None, "no parallel axis")
        found = work(self.kernel)
        if found < THREADING_FLOOR:
            return Choice(None, f"work of {found}; a barrier is worth {THREADING_FLOOR}")
        even = [run for run in walk if self._is_even(run) and run.extent >= MOST_SHARES]
        why = f"work of {found}"
        if even and not all(map(self._is_even, walk)):
            walk, why = even, f"{why}; data say how much at each of the other points"
        shares = {run: -(-run.extent // (width if run is self.vector else 1)) for run in walk}
        shared = max(walk, key=lambda run: (min(shares[run], MOST_SHARES), -walk.index(run)))
        return Choice(shared, f"{shared.extent} points, {why}")

    def _is_even(self, run: WalkedRun) -> bool:
        """Whether the points of a run have about equally much to do, whatever data say.

        There may be a loop for each point that is walked as data say. If all points but those that
        are left out have work of their own, and there are as many as terms of all those loops
        together, it is that work which counts.
        """
        ended = frozenset().union(*(end.axes for end in self.kernel.ends))
        if ended.isdisjoint(run.axes):
            return True
        terms = max((points_of(loop.axes) for loop in self.kernel.loops if loop.between), default=0)
        return self.kernel.when is None and terms <= run.extent

    def _common_inner_run(self) -> WalkedRun | None:
        """The last run that all inner loops share, if lanes may run along it."""
        last = {runs[-1] for runs in self.runs.loops if runs}
        apart = any(loop.running or loop.between for loop in self.kernel.loops)
        apart = apart or any(store.takes_turns for store in self.kernel.stores)
        return last.pop() if len(last) == 1 and not apart else None

    def _vector_run(self) -> Choice[WalkedRun | None]:
        candidates = [*self.runs.parallel, *([self.inner] if self.inner is not None else [])]
        ended = frozenset().union(*(end.axes for end in self.kernel.ends))
        counted = frozenset(
            axis
            for store in self.kernel.stores
            if store.counting is not None
            for axis in self.kernel.axes
        )
        candidates = [
            run for run in candidates if run.extent > 1 and (ended | counted).isdisjoint(run.axes)
        ]
        if not candidates:
            return Choice(None, "no axis with two points that lanes may run along")
        if any(loop.running for loop in self.kernel.loops):
            # One lane walking along memory beats sixteen that gather and scatter.
            candidates = [
                run for run in candidates if all(lies_together(run, a) for a in self.addresses)
            ]
            if not candidates:
                return Choice(None, "along every axis lanes would have to be gathered")
        best = min(reversed(candidates), key=self._cost)
        if self._copies_gathered(best):
            return Choice(None, "what is gathered is copied, one element at a time")
        together = sum(lies_together(best, address) for address in self.addresses)
        return Choice(best, f"{together} of {len(self.addresses)} addresses lie together")

    def _copies_gathered(self, run: WalkedRun) -> bool:
        """Whether the kernel but copies elements that lie where data say for each lane.

        Nothing is computed in vectors then, and gathering them first takes as long as the copies.
        """
        if any(loop.reductions for loop in self.kernel.loops):
            return False
        stores = [store for loop in self.kernel.loops for store in loop.stores]
        copied = [s.value for s in stores if s.value.op == "load" and not s.takes_turns]
        return len(copied) == len(stores) and all(
            any(
                s.op == "load" and not s.axes.isdisjoint(run.axes)
                for index in value.args  # none of a scalar
                for s in walk_scalars(index, set())
            )
            for value in copied
        )

    def _cost(self, run: WalkedRun) -> float:
        counted = [a for a in self.addresses if run is not self.inner or run.is_used_by(a)]
        cost = sum(self._cost_of(run, address) for address in counted)
        used = run.extent / (-(-run.extent // LANES) * LANES)
        return (cost + 0.5) / used

    def _cost_of(self, run: WalkedRun, address: Address) -> int:
        if lies_together(run, address):
            return 1
        step, sums = run.step(address), any(loop.reductions for loop in self.kernel.loops)
        return step if step in SHORT_STEPS and not sums else LANES

    def _width(self, run: WalkedRun, ordered: Kernel) -> Choice[int]:
        """Lanes along the vectorised run: 16; 64 to 256 for light work along a long parallel one,
        32 or 64 where a sum walks rows of as many elements, and as many as a parallel one of 4 or 8
        points has.

        Lanes of a parallel run do not meet, so their number changes no bit; wide blocks keep
        several accumulators in flight and read whole rows of cache lines. A vector with points for
        a part of its lanes is written under a mask, and the next point, read from where those lanes
        would have lain, waits until that has reached memory. A reduction along the run has its 16
        partial results by definition.
        """
        if run is self.inner:
            return Choice(LANES, "partial results in lanes")
        if FEWEST_LANES <= run.extent < LANES and run.extent.bit_count() == 1:
            return Choice(run.extent, f"{run.extent} points, no lane without one")
        rows = self._row_lanes(run)
        if run.extent < WIDE_LANES and not rows:
            return Choice(LANES, f"{run.extent} points")
        if any(a.buffer.layout.strip and run.is_used_by(a) for a in self.addresses):
            return Choice(LANES, "lanes do not leave a strip")
        reduces = any(loop.reductions and loop.axes for loop in self.kernel.loops)
        scalars = [s for s in self.kernel.scalars if s.op not in ("constant", "axis")]
        values = [s for s in scalars if s.dtype != int64 or s.op == "load"]
        if self.kernel.ends:  # what says which points are walked, all lanes have in common
            values = [s for s in values if s.reduced or not s.axes.isdisjoint(run.axes)]
        loads = [Address(s.payload, s.args) for s in values if s.op == "load"]
        if not all(lies_together(run, address) for address in loads):
            return Choice(LANES, "some are gathered")
        heavy = any(_is_heavy(s) for s in values)
        if rows and not heavy and LIGHT_SCALARS < len(values) <= ROW_SCALARS:
            return Choice(rows, "sums walk rows from end to end")
        if heavy or len(values) > LIGHT_SCALARS:
            return Choice(LANES, "heavy work at each point")
        if run.extent < WIDE_LANES:
            return Choice(rows, "sums walk rows from end to end")
        if not reduces or run.extent < WIDEST_LANES or len(values) > LIGHTEST_SCALARS:
            return Choice(WIDE_LANES, "light work at each point")
        # What is kept of a long sum is twice as wide, and each of its short blocks meets it.
        cut = [loop for loop in ordered.loops if loop.order is not None and loop.order.block]
        if any(r.combiner is SUM for loop in cut for r in loop.reductions):
            return Choice(WIDEST_LANES // 2, "hardly any work at each point, long sums")
        return Choice(WIDEST_LANES, "hardly any work at each point")

    def _row_lanes(self, run: WalkedRun) -> int:
        """As many lanes as make rows of a sum one piece of memory, or long pieces: of some lanes of
        each row, a line of a cache here and there, the other lines are long gone when their turn
        comes. 0 if nothing is summed so, if there would be too few blocks for threads, or if
        registers hold few such rows: then the code is as many times as long."""
        summed = any(loop.reductions and loop.axes for loop in self.kernel.loops)
        alone = all(other is run or other.extent == 1 for other in self.runs.parallel)
        most = self.machine.vector_registers * self.machine.vector_bytes // FEWEST_ROWS_HELD
        widths = (WIDE_LANES, 2 * LANES)
        fit = [n for n in widths if run.extent % n == 0 and n * float32.size_bytes <= most]
        return fit[0] if summed and fit and not alone and not run.bounded else 0

    def _abreast(self, walk: Sequence[WalkedRun]) -> Choice[Run | None]:
        """The innermost run, if its sums are so short that the trees of their lanes are a good part
        of the work."""
        first, *rest = self.kernel.loops
        if self.vector is None or self.vector is not self.inner or not walk:
            return Choice(None, "")
        rows, terms = walk[-1], self.vector
        alone = not (first.stores or any(loop.axes or loop.reductions for loop in rest))
        plain = not any(r.combiner.position for r in first.reductions)
        if not (alone and plain and len(self.runs.loops[0]) == 1):
            return Choice(None, "")
        if rows.bounded or terms.bounded or rows.extent < LANES:
            return Choice(None, "")
        if terms.extent > MOST_ABREAST or len(first.reductions) > 1:
            return Choice(None, "")
        seen: set[Scalar] = set()
        terms_of = [s for root in first.roots for s in walk_scalars(root, seen)]
        if len(terms_of) > LIGHT_SCALARS or any(map(_is_heavy, terms_of)):
            return Choice(None, "")
        return Choice(rows.run, f"{rows.extent} sums of {terms.extent} terms")

    def _ahead(self, walk: Sequence[WalkedRun]) -> Choice[Ahead | None]:
        """How far ahead the rows of a gather are fetched: they lie where data say, so no hardware
        knows the next one, and many are read from beyond the caches."""
        if self.vector is None or self.vector not in walk:
            return Choice(None, "")
        for run in walk[: walk.index(self.vector)]:
            rows = [a.buffer.type.dtype for a in self.addresses if self._is_row_of(run, a)]
            row_bytes = self.vector.extent * sum(dtype.size_bytes for dtype in rows)
            why = f"data say where {row_bytes} bytes lie"
            if row_bytes >= SHORTEST_ROW_BYTES:
                return Choice(Ahead(-(-AHEAD_BYTES // row_bytes), run.run), why)
            if rows:
                return Choice(None, f"{why}, soon read")
        return self._rows_ahead(self.vector)

    def _rows_ahead(self, vector: WalkedRun) -> Choice[Ahead | None]:
        """How far ahead the rows of a large array are fetched that a sum walks, pages apart: what
        hardware fetches ahead ends with a page."""
        loops = [runs[-1] for runs in self.runs.loops if runs]
        for run in loops if vector.extent >= WIDE_LANES else ():
            for address in self.addresses:
                size, step = address.buffer.type.dtype.size_bytes, run.step(address)
                if step is None or abs(step) * size < PAGE_BYTES or vector.step(address) != 1:
                    continue
                if run.extent * vector.extent * size >= LARGE_BYTES:
                    return Choice(Ahead(ROWS_AHEAD, run.run), f"rows {step * size} bytes apart")
        return Choice(None, "")

    def _is_row_of(self, run: WalkedRun, address: Address) -> bool:
        """Whether data say for each point of the run where a row along the lanes lies.

        One that lies elsewhere for each point of a loop is none of the point's.
        """
        assert self.vector is not None
        if not address.axes <= set(self.kernel.axes):
            return False
        read = [s for i in address.index for s in walk_scalars(i, set()) if s.op == "load"]
        along = any(axis in load.axes for load in read for axis in run.axes)
        return along and self.vector.step(address) == 1

    def _walk(self) -> Choice[list[WalkedRun]]:
        """Parallel runs from the outside in: the vectorised one last, so that blocks follow each
        other in memory; but before a run along which what is gathered lies together, so that the
        cache lines that one block touches serve the next points too (a transpose).
        """
        runs, vector = list(self.runs.parallel), self.vector
        if vector is None or vector not in runs:
            return Choice(runs, "as the kernel has them")
        runs.remove(vector)
        gathered = [a for a in self.addresses if not lies_together(vector, a)]
        inner = [run for run in runs if any(run.step(address) == 1 for address in gathered)]
        why = (
            "what vectors gather lies together along the innermost"
            if inner
            else "vectors innermost"
        )
        return Choice([run for run in runs if run not in inner] + [vector] + inner, why)


def lies_together(run: WalkedRun, address: Address) -> bool:
    """Whether lanes along the run read one element, or elements side by side."""
    return run.step(address) in (0, 1)


def _is_heavy(scalar: Scalar) -> bool:
    return scalar.op in PRIMITIVES and PRIMITIVES[scalar.op].weight >= Weight.HEAVY
