"""Loops and choices as functions: what every thread does to walk the program's tree.

    before   repeat t in 8 { k0 k1 }       k2
    after    @SYMBOL.region0, k2           calls of the outermost body
             @SYMBOL.region0 (frame): 8 times: the counter stands at t, calls k0, k1

A loop or choice is called like a kernel, with a frame, and finds what it reads like a kernel
(context.py): flag and count are buffers. Where the loops around a kernel stand is in the thread's
own counters, one for each depth of nesting. Kernels of equal code are one function still, whatever
loop they are in. A loop or choice in which thread 0 does everything is left out by the others;
else all threads walk it, each reading flag and count for itself, after a barrier if they are new
(barriers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, assert_never

from ..loops.canonical import counters_apart, streams_apart
from ..loops.ir import Axis, Buffer, Kernel
from ..program.ir import Body, If, Instruction, Program, Repeat, While, tests_of
from .barriers import barriers_before, emit_barrier, is_threaded
from .calls import Call, Calls, Range
from .context import COUNTER_BYTES, KERNEL_PARAMETERS, KernelContext, place_of
from .emit import AROUND_LOOPS, FunctionEmitter, ModuleEmitter, Value, llvm_type
from .threads import STOP_SYMBOL
from .unchanging import unchanging


@dataclass(frozen=True)
class KernelFunction:
    """A kernel in the module, and the workspace that it needs of each thread; and where its
    function serves many, the record that a call brings."""

    name: str
    workspace_bytes: int
    record: str | None = None


class KernelFunctions(Protocol):
    """The kernels of a module."""

    def function(self, kernel: Kernel) -> KernelFunction:
        """The function that runs a kernel."""


class TreeEmitter:
    """Adds the kernels and regions of a program to a module, and lists the calls.

    first, begin, end, last   the calls before the steps, of a step, behind them follow each other
    workspace_bytes           that kernels need of each thread
    depth                     the most counted loops inside one another
    stops                     whether loops without a bound end where @gradc_stop is not 0; see
                              threads.py
    """

    def __init__(
        self,
        module: ModuleEmitter,
        symbol: str,
        functions: KernelFunctions,
        program: Program,
        threaded: Callable[[Kernel], bool],
        stops: bool = False,
    ) -> None:
        self.module, self.symbol, self.functions = module, symbol, functions
        self.threaded, self.stops = threaded, stops
        self.waiting = barriers_before(program.body, threaded)
        self.once = unchanging(() if program.steps is None else program.steps.body)
        self.calls = Calls(symbol)
        self.workspace_bytes = self.depth = self._regions = 0
        parts = [[self._call(i, {}) for i in body] for body in _parts(program)]
        self.first, self.last = self.calls.add(call for part in parts for call in part)
        number = (self.last - self.first) // max(1, sum(map(len, parts)))
        self.begin = self.first + number * len(parts[0])
        self.end = self.begin + number * len(parts[1])

    def _body(self, body: Body, slots: Mapping[Axis, int]) -> Range:
        return self.calls.add([self._call(instruction, slots) for instruction in body])

    def _call(self, instruction: Instruction, slots: Mapping[Axis, int]) -> Call:
        """The call of an instruction inside loops whose counters have these numbers."""
        waits = instruction in self.waiting
        match instruction:
            case Kernel():
                kernel = counters_apart(streams_apart(instruction), slots)
                function = self.functions.function(kernel)
                self.workspace_bytes = max(self.workspace_bytes, function.workspace_bytes)
                once = instruction in self.once
                record = () if function.record is None else (function.record,)
                return Call(function.name, (*record, *_places(kernel.buffers)), waits, once)
            case Repeat():
                emit = self._repeat(instruction, slots)
            case While():
                again = waits and is_threaded(instruction, self.threaded)
                emit, waits = self._while(instruction, slots, again), waits and not again
            case If():
                emit = self._choice(instruction, slots)
            case _:
                assert_never(instruction)
        return Call(self._region(instruction, emit), _places(tests_of(instruction)), waits)

    def _region(self, instruction: Instruction, emit: Callable[[_Region], None]) -> str:
        """The name of the function that does what `emit` emits, on the threads that take part."""
        name = f"{self.symbol}.region{self._regions}"
        self._regions += 1
        f = FunctionEmitter(name, KERNEL_PARAMETERS, linkage="internal", attributes=AROUND_LOOPS)
        region = _Region(f, KernelContext(f, tests_of(instruction)), self.calls)
        if is_threaded(instruction, self.threaded):
            emit(region)
        else:
            with f.if_(f.compare("eq", region.context.parameter("tid"), 0)):
                emit(region)
        f.ret()
        self.module.add(f)
        return name

    def _inside(self, loop: Repeat | While, slots: Mapping[Axis, int]) -> tuple[Range, int]:
        """The calls of a loop's body, and the number of the loop's counter."""
        slot = len(slots)
        inner = dict(slots) if loop.axis is None else {**slots, loop.axis: slot}
        self.depth = max(self.depth, len(inner))
        return self._body(loop.body, inner), slot

    def _repeat(self, loop: Repeat, slots: Mapping[Axis, int]) -> Callable[[_Region], None]:
        calls, slot = self._inside(loop, slots)

        def emit(region: _Region) -> None:
            with region.f.loop(0, region.iterations(loop)) as emitted:
                region.f.store(emitted.index, region.counter(slot))
                region.make(calls)

        return emit

    def _while(
        self, loop: While, slots: Mapping[Axis, int], waits: bool
    ) -> Callable[[_Region], None]:
        """waits: for the other threads, each time before the flag is read."""
        calls, slot = self._inside(loop, slots)
        stops = self.stops and loop.axis is None
        threaded = is_threaded(loop, self.threaded)

        def emit(region: _Region) -> None:
            f = region.f
            start, head, body, done = f.block, *map(f.new_label, ("head", "body", "done"))
            zero, number = f.const("i64", 0), f.new_value("i64")
            f.branch(head)
            f.start_block(head)
            place = f.reserve_line()
            if stops and threaded:
                region.clear_if_stopped(loop.flag)
            if waits or (stops and threaded):
                region.wait()
            again = region.test(loop.flag)
            if stops and not threaded:
                again = f.binary("and", again, f.compare("eq", region.stop(), 0))
            if loop.axis is not None:
                f.store(number, region.counter(slot))
                again = f.binary("and", again, f.compare("slt", number, loop.axis.extent))
            f.branch_if(again, body, done)
            f.start_block(body)
            region.make(calls)
            following = f.binary("add", number, 1)
            arms = f"[ {zero.name}, %{start} ], [ {following.name}, %{f.block} ]"
            f.fill_line(place, [f"  {number.name} = phi i64 {arms}"])
            f.branch(head)
            f.start_block(done)

        return emit

    def _choice(self, choice: If, slots: Mapping[Axis, int]) -> Callable[[_Region], None]:
        then, otherwise = self._body(choice.then, slots), self._body(choice.otherwise, slots)

        def emit(region: _Region) -> None:
            with region.f.if_else(region.test(choice.flag)) as branch:
                region.make(then)
                branch.otherwise()
                region.make(otherwise)

        return emit


def _parts(program: Program) -> tuple[Body, Body, Body]:
    """What runs before the steps, in each of them, behind them; in each, if there is but one."""
    steps = program.steps
    if steps is None:
        return (), program.body, ()
    number = program.body.index(steps)
    return program.body[:number], steps.body, program.body[number + 1 :]


def _places(buffers: tuple[Buffer, ...]) -> tuple[int, ...]:
    return tuple(place_of(buffer) for buffer in buffers)


@dataclass(frozen=True)
class _Region:
    """A region's function under construction."""

    f: FunctionEmitter
    context: KernelContext
    calls: Calls

    def make(self, calls: Range) -> None:
        """Make the calls of a body."""
        self.calls.make(self.f, self.f.parameter(0), calls)

    def wait(self) -> None:
        emit_barrier(self.f, *(self.context.parameter(name) for name in ("pool", "tid", "threads")))

    def counter(self, slot: int) -> Value:
        """Where kernels find where a loop stands."""
        return self.f.gep(self.context.parameter("counters"), slot * COUNTER_BYTES, "i8")

    def test(self, buffer: Buffer) -> Value:
        """What a flag or a count is now."""
        self.context.prepare((buffer,))
        return self.f.load(llvm_type(buffer.type.dtype), self.context.base(buffer))

    def stop(self) -> Value:
        """Whether loops are to end, another number than 0; asked for anew each time."""
        self.f.declarations[STOP_SYMBOL] = f"@{STOP_SYMBOL} = external global i32, align 4"
        return self.f.emit(f"load volatile i32, ptr @{STOP_SYMBOL}, align 4", "i32")

    def clear_if_stopped(self, flag: Buffer) -> None:
        """One thread says for all of them that a loop ends: they read its flag after a barrier, and
        it was read by all before the kernel that wrote it last."""
        f = self.f
        self.context.prepare((flag,))
        with f.if_(f.compare("eq", self.context.parameter("tid"), 0)):
            with f.if_(f.compare("ne", self.stop(), 0)):
                kind = llvm_type(flag.type.dtype)
                f.store(f.const(kind, 0), self.context.base(flag))

    def iterations(self, loop: Repeat) -> Value:
        """How often a loop runs."""
        f, axis = self.f, loop.axis
        assert axis is not None, "the loop over steps is no region"
        if loop.count is not None:
            count = self.test(loop.count)
            if count.type != "i64":
                count = f.cast("sext", count, "i64")
            count = f.intrinsic("llvm.smax", "i64", count, f.const("i64", 0))
            return f.intrinsic("llvm.smin", "i64", count, f.const("i64", axis.extent))
        if axis.bounded:
            return f.binary("mul", self.context.parameter("rows"), axis.per_row)
        return f.const("i64", axis.extent)
