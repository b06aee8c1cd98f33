"""What a step of a program should cost on a GPU, kernel by kernel, on paper.

In: a scheduled program, its launch table, the figures of a GPU (peaks.py). Out: a `StepCost`, for
people and for whoever has no device: nothing is decided by it.

A kernel takes the time of a launch and, after it, the longest of four times:

* memory: its bytes, each counted once, at the bandwidth of memory; nothing where all that the
  program holds fits the second-level cache, and so is there from the step before
* cache: what all of its programs read of that cache, an element once in each program that reads it
* arithmetic: operations of single elements at half the rate of multiply-adds, for no product is
  contracted with a sum; those of sums of products in their unit; with what blocks and tiles have
  beyond the points and terms of the kernel. As many multiprocessors work as there are programs, and
  the last round of programs may be a short one
* latency: loads that wait for each other: rounds of a loop, one step of it after the other

A kernel of a persistent loop is not launched: it begins behind a barrier. One multiprocessor does
its programs one after the other, and what they read is in the cache next to it. A loop over steps
that is persistent needs nothing of the host but a launch for thousands of them.

A floor is beside it: the launch, and the bytes or the operations at their peaks, on all of the GPU.
Loops run as often as they may at most; one that a flag alone ends, once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..launch_parts import Choice, Loop, Part, Straight, parts_of
from ..launches import Launch, Repeat, While
from ..loops.combiners import DOT
from ..loops.ir import Axis, Buffer, Kernel, Scalar, points_of, walk
from ..loops.ir import Loop as KernelLoop
from ..loops.schedule import Grid, Products, Run
from ..program.ir import Body, Instruction, Program, axis_of, bodies_of, kernels_in
from ..scheduling.grid import lanes_of, scheduled_programs, short_dtype, takes_lanes
from ..types import float64
from .peaks import (
    CACHE_LATENCY_CYCLES,
    CORES_PART,
    FMA_PART,
    HOST_ROUND_US,
    HOST_STEP_US,
    LAUNCH_US,
    MEMORY_LATENCY_CYCLES,
    MEMORY_PART,
    NEAR_LATENCY_CYCLES,
    TURN_CYCLES,
    Peaks,
)
from .program import ProgramText

WARPS_OF_MULTIPROCESSOR = 64
"""That may be resident at once. Source: CUDA C++ Programming Guide, table of technical
specifications per compute capability (48 on some architectures)."""

ISSUING_WARPS = 4
"""That a multiprocessor issues instructions of in one clock. Source: NVIDIA A100 whitepaper."""

STEPS_UNDER_WAY = 4
MOST_STEPS_UNDER_WAY = 8
"""Steps of a loop whose loads are under way together: assumed of a loop that the assembler unrolls;
of one that is written out in blocks, no more than a block has."""


@dataclass(frozen=True)
class KernelCost:
    """One kernel.

    runs           of it in a step
    begin_us       what passes before it does anything: a launch, or a barrier
    programs       of its grid
    memory_bytes   that it reads or writes, each counted once
    cache_bytes    that its programs read, all of them together, or write
    element_flops  of single elements; product_flops those of sums of products, in `unit`
    times_us       by name: memory, cache, arithmetic, latency
    floor_us       what is left at the peaks of the whole GPU
    """

    kernel: str
    description: str
    runs: int
    begin_us: float
    programs: int
    memory_bytes: int
    cache_bytes: int
    element_flops: float
    product_flops: float
    unit: str
    times_us: Mapping[str, float]
    floor_us: float

    @property
    def longest(self) -> tuple[str, float]:
        """Of `times_us`."""
        return max(self.times_us.items(), key=lambda found: found[1])

    @property
    def time_us(self) -> float:
        """Of one run."""
        return self.begin_us + self.longest[1]

    @property
    def bound(self) -> str:
        """What takes longest, the launch or barrier among it."""
        name, time = self.longest
        first = "launch" if self.is_launched else "barrier"
        return name if time > self.begin_us else first

    @property
    def is_launched(self) -> bool:
        """Whether it is a launch, and not a part of one."""
        return self.begin_us == LAUNCH_US

    @property
    def gain_us(self) -> float:
        """Of a step, what would be gained if all its runs were at their floor."""
        return self.runs * (self.time_us - self.floor_us)


@dataclass(frozen=True)
class StepCost:
    """A step.

    rounds   of loops and choices that the host runs: it reads something back for each
    blocks   launches of persistent loops; None: the loop over the steps is one
    in_cache whether all that the program holds fits the second-level cache
    """

    peaks: Peaks
    kernels: tuple[KernelCost, ...]
    rounds: int
    blocks: int | None
    in_cache: bool

    @property
    def launches(self) -> int:
        return sum(k.runs for k in self.kernels if k.is_launched) + (self.blocks or 0)

    @property
    def device_us(self) -> float:
        return sum(k.runs * k.time_us for k in self.kernels) + LAUNCH_US * (self.blocks or 0)

    @property
    def time_us(self) -> float:
        """The host prepares a step while the device is at the one before it; where it has to read
        something back, each waits for the other."""
        if self.blocks is None:
            return self.device_us
        return max(self.device_us, HOST_STEP_US) + self.rounds * HOST_ROUND_US

    @property
    def floor_us(self) -> float:
        return sum(k.runs * k.floor_us for k in self.kernels) + LAUNCH_US * (self.blocks or 0)

    @property
    def shares_us(self) -> dict[str, float]:
        """Of the device's time: what launches take, and what follows them by what is longest."""
        waits = sum(k.runs * k.begin_us for k in self.kernels if not k.is_launched)
        found = {"launches": LAUNCH_US * self.launches, "barriers": waits}
        shares = {name: time for name, time in found.items() if time}
        for k in self.kernels:
            name, time = k.longest
            shares[name] = shares.get(name, 0.0) + k.runs * time
        return shares

    @property
    def to_tune(self) -> list[KernelCost]:
        """The kernels whose distance to their floor is longest, first."""
        return sorted(self.kernels, key=lambda k: -k.gain_us)


def step_cost(program: Program, text: ProgramText, peaks: Peaks) -> StepCost:
    """What a step of a scheduled program costs; `text` is what emit_program made of it."""
    trips = {kernel.name: (kernel, count) for kernel, count in program.trips().items()}
    inside = {k.name for i in _blocks(program.body, 1) for k in kernels_in((i[0],))}
    in_cache = _held_bytes(program) <= peaks.cache_bytes
    parts = parts_of(text.table.step)
    found = []
    for launch in _launches(parts):
        if launch.kernel in trips.keys() - inside:
            kernel, runs = trips[launch.kernel]
            frame = text.kernels[launch.function].frame
            programs = math.prod(launch.grid)
            found.append(_KernelCoster(kernel, programs, frame, peaks, in_cache).cost(runs))
    for name in (name for name in trips if name in inside):
        kernel, runs = trips[name]
        found.append(_TurnCoster(kernel, scheduled_programs(kernel), False, peaks, True).cost(runs))
    steps = program.steps
    blocks = None if steps is not None and steps.persistent else 0
    if blocks is not None:
        blocks = sum(count for _, count in _blocks(program.body, 1))
    return StepCost(peaks, tuple(found), _rounds(parts), blocks, in_cache)


def _blocks(body: Body, around: int) -> Iterator[tuple[Instruction, int]]:
    """What is persistent, and how often it is launched in a step at most."""
    for instruction in body:
        if not isinstance(instruction, Kernel) and instruction.persistent:
            yield instruction, around
            continue
        axis = axis_of(instruction)
        for inner in bodies_of(instruction):
            yield from _blocks(inner, around if axis is None else around * axis.extent)


def _held_bytes(program: Program) -> int:
    """All that a step may find where the step before left it; no data set is counted."""
    buffers = program.named_buffers()
    return program.arena_bytes + sum(b.size_bytes for b in buffers if b.space != "arena")


def _launches(parts: Sequence[Part]) -> list[Launch]:
    """Each launch once, in order; a loop that is written out has its body again and again."""
    found: dict[str, Launch] = {}
    for part in parts:
        match part:
            case Straight(work=work):
                launches = [w for w in work if isinstance(w, Launch)]
            case Loop(body=body):
                launches = _launches(body)
            case Choice(then=then, otherwise=otherwise):
                launches = [*_launches(then), *_launches(otherwise)]
        for launch in launches:
            found.setdefault(launch.kernel, launch)
    return list(found.values())


def _rounds(parts: Sequence[Part]) -> int:
    """Of loops and choices of the host, at most."""
    count = 0
    for part in parts:
        match part:
            case Loop(loop=Repeat(extent=extent), body=body):
                count += extent * (1 + _rounds(body))
            case Loop(loop=While(extent=extent), body=body):
                count += (extent or 1) * (1 + _rounds(body))
            case Choice(then=then, otherwise=otherwise):
                count += 1 + max(_rounds(then), _rounds(otherwise))
    return count


class _KernelCoster:
    """Counts for one launch of a kernel."""

    def __init__(
        self, kernel: Kernel, programs: int, frame: bool, peaks: Peaks, in_cache: bool
    ) -> None:
        self.kernel, self.programs = kernel, programs
        self.peaks, self.in_cache = peaks, in_cache
        self.frame = frame
        self.axes = {axis.name: axis for axis in kernel.axes}
        self.axes |= {axis.name: axis for loop in kernel.loops for axis in loop.axes}
        self.latency_us = peaks.latency_us(self.latency_cycles)

    @property
    def latency_cycles(self) -> int:
        """Of a load."""
        return CACHE_LATENCY_CYCLES if self.in_cache else MEMORY_LATENCY_CYCLES

    @property
    def begin_us(self) -> float:
        """What passes before the kernel begins."""
        return LAUNCH_US

    @property
    def multiprocessors(self) -> int:
        """That its programs are on, if there are enough of them."""
        return self.peaks.multiprocessors

    def cost(self, runs: int) -> KernelCost:
        """Of the kernel, which a step runs so often."""
        peaks, unit, dots = self.peaks, self._unit(), self.dot_flops()
        element = max(0.0, self.kernel.flops - dots)
        memory, cache = self.memory_bytes(), self.cache_bytes()
        from_memory = 0.0 if self.in_cache else memory / (peaks.gbs * 1e3)
        floor = max(from_memory, self._flops_us(element, dots, 1.0))
        part = FMA_PART if unit in ("fma", "f64") else CORES_PART
        times = {
            "memory": from_memory / MEMORY_PART,
            "cache": cache / peaks.cache_rate(min(self.programs, self.multiprocessors)),
            "arithmetic": self._flops_us(element, dots, part) * self._wasted() / self._busy(),
            "latency": self._latency_us(),
        }
        return KernelCost(
            self.kernel.name, self.kernel.description, runs, self.begin_us, self.programs, memory,
            cache, element, dots, unit, times, self.begin_us + floor,
        )  # fmt: skip

    # -- bytes ------------------------------------------------------------------------------

    def memory_bytes(self) -> int:
        """Of each buffer no more than it has, nor than the kernel asks for: of a table with rows
        that data name, so many rows. A data set has no size here."""
        wanted: dict[Buffer, int] = {}
        for buffer, axes in self._accesses():
            bytes_ = points_of(axes) * buffer.type.dtype.size_bytes
            wanted[buffer] = wanted.get(buffer, 0) + bytes_
        return sum(min(count, b.size_bytes or count) for b, count in wanted.items())

    def _accesses(self) -> Iterator[tuple[Buffer, frozenset[Axis]]]:
        """Each load's buffer and the axes that its index depends on; so each store's."""
        for load in self.kernel.loads:
            yield load.payload, load.axes
        for store in self.kernel.stores:
            axes = frozenset().union(*(index.axes for index in store.index))
            yield store.buffer, axes
            if store.accumulate:
                yield store.buffer, axes

    def cache_bytes(self) -> int:
        """An element counts once in each program that reads it."""
        schedule = self.kernel.schedule
        total = 0
        summed = {
            axis: axis.extent if loop.between is None else terms_of(loop)
            for loop in self.kernel.loops
            for axis in loop.axes
        }
        if isinstance(schedule, Products):
            rows, columns, _ = schedule.tile
            tiles = ((schedule.outer, 1), (schedule.rows, rows), (schedule.columns, columns))
            covered = {k: v for runs, side in tiles for k, v in self._covered(runs, side).items()}
        else:
            assert isinstance(schedule, Grid)
            covered = self._covered(schedule.walk, schedule.points)
        for buffer, axes in self._accesses():
            each = math.prod(covered.get(axis, 1) for axis in axes if axis not in summed)
            terms = math.prod(summed[axis] for axis in axes if axis in summed)
            total += self.programs * each * terms * buffer.type.dtype.size_bytes
        return total

    def _covered(self, runs: Sequence[Run], points: int) -> dict[Axis, int]:
        """How many values of each axis so many points that follow each other have."""
        found: dict[Axis, int] = {}
        for run in reversed(runs):
            for name in reversed(run):
                axis = self.axes[name]
                found[axis] = min(axis.extent, max(1, points))
                points = -(-points // max(1, axis.extent))
        return found

    # -- arithmetic -------------------------------------------------------------------------

    def _unit(self) -> str:
        """Of the sums of products."""
        schedule, reductions = self.kernel.schedule, self.kernel.loops[0].reductions
        if any(r.value.dtype is float64 for r in reductions):
            return "f64"
        if not isinstance(schedule, Products):
            return "fma"
        if short_dtype(reductions) is not None:
            return "16 bits"
        return "tf32" if schedule.precision == "tf32" else "fma"

    def dot_flops(self) -> float:
        """Of the sums of products alone."""
        terms = sum(
            terms_of(loop) * (r.combiner is DOT)
            for loop in self.kernel.loops
            for r in loop.reductions
        )
        return 2.0 * points_of(self.kernel.axes) * terms

    def _flops_us(self, element: float, dots: float, part: float) -> float:
        """On all of the GPU, if sums of products get this part of their unit's peak."""
        peaks = self.peaks
        return 2 * element / peaks.rate("fma") + dots / (peaks.rate(self._unit()) * part)

    def _wasted(self) -> float:
        """What is computed over what is asked for: blocks and tiles are whole."""
        schedule, loops = self.kernel.schedule, self.kernel.loops
        longest = max(map(terms_of, loops), default=1)
        if isinstance(schedule, Products):
            points, terms = schedule.tile[0] * schedule.tile[1], schedule.tile[2]
        else:
            assert isinstance(schedule, Grid)
            points = schedule.points
            terms = max((lanes_of(loop, schedule.terms) for loop in loops), default=1)
        terms = -(-longest // terms) * terms
        return self.programs * points * terms / max(1, points_of(self.kernel.axes) * longest)

    def _busy(self) -> float:
        """The part of the GPU that works: a multiprocessor issues for four warps at once."""
        schedule, count = self.kernel.schedule, self.peaks.multiprocessors
        assert isinstance(schedule, Grid | Products)
        rounds = -(-self.programs // self.multiprocessors)
        return self.programs / (rounds * count) * min(1.0, self._together() / ISSUING_WARPS)

    def _together(self) -> int:
        """Warps of a multiprocessor that have work."""
        schedule = self.kernel.schedule
        assert isinstance(schedule, Grid | Products)
        return -(-self.programs // self.multiprocessors) * schedule.warps

    # -- latency ----------------------------------------------------------------------------

    def _latency_us(self) -> float:
        """Of one program's loads, for each round of programs that are resident together; what is
        stored is on its way as long as one load."""
        schedule = self.kernel.schedule
        assert isinstance(schedule, Grid | Products)
        rounds = -(-self.programs // (self.multiprocessors * self._resident()))
        steps = 1.0 + self.frame
        for number, loop in enumerate(self.kernel.loops):
            chain = max((_chain(load) for load in self.kernel.loads_by_loop[number]), default=0)
            if isinstance(schedule, Products) and number == 0:
                walked = -(-points_of(loop.axes) // schedule.tile[2])
                steps += chain + (walked - 1) * chain / schedule.stages
            else:
                lanes = schedule.terms if isinstance(schedule, Grid) else 1
                steps += chain * _waits(loop, lanes)
        return rounds * steps * self.latency_us

    def _resident(self) -> int:
        """Programs that a multiprocessor has at once."""
        schedule = self.kernel.schedule
        assert isinstance(schedule, Grid | Products)
        return max(1, WARPS_OF_MULTIPROCESSOR // max(1, schedule.warps))


class _TurnCoster(_KernelCoster):
    """Counts for a kernel of a persistent loop."""

    @property
    def latency_cycles(self) -> int:
        return NEAR_LATENCY_CYCLES

    @property
    def begin_us(self) -> float:
        return self.peaks.latency_us(TURN_CYCLES)

    @property
    def multiprocessors(self) -> int:
        return 1

    def _together(self) -> int:
        schedule = self.kernel.schedule
        assert isinstance(schedule, Grid | Products)
        return schedule.warps

    def _resident(self) -> int:
        return 1


def terms_of(loop: KernelLoop) -> int:
    """How many terms a point walks: in a loop between two numbers, what the points that these
    differ for have on average, for all of them together have no more than its axis."""
    terms = points_of(loop.axes)
    if loop.between is None:
        return terms
    apart = frozenset().union(*(end.axes for end in loop.between))
    return max(1, -(-terms // max(1, points_of(apart))))


def _waits(loop: KernelLoop, terms: int) -> float:
    """How often a program waits for the loads of a loop: steps, over those under way together."""
    if not loop.axes:
        return 1.0
    walked = -(-terms_of(loop) // lanes_of(loop, terms))
    if any(store.takes_turns for store in loop.stores):
        return float(walked)
    block = 0 if loop.order is None or loop.order.block is None else loop.order.block.points
    together = STEPS_UNDER_WAY
    if takes_lanes(loop) and 0 < block <= MOST_STEPS_UNDER_WAY:
        together = block
    return float(-(-walked // together))


def _chain(load: Scalar) -> int:
    """How many loads wait for each other: one, and those that its index is made of."""
    seen: set[Scalar] = set()
    depths: dict[Scalar, int] = {}
    for scalar in walk(load, seen):
        below = max((depths[arg] for arg in scalar.args), default=0)
        depths[scalar] = below + (scalar.op == "load")
    return depths[load]
