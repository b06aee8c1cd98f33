"""A persistent loop as one kernel: a block of threads runs all that is in it.

    def gradc_9b1d5a0c7e3f2468(p0, p1, p2, frame):
        frame = frame + tl.program_id(0) * 8
        step0 = tl.load(frame + 0)
        ...
        for n in range(0, tl.load(frame + 3).to(tl.int32)):
            step = step0 + n
            zero = tl.multiple_of(tl.load(frame + 5).to(tl.int32), 1024)
            own0 = tl.load(frame + 6)
            gradc_3f2a9c01d4b85e67_inner(p0 + own0 * 4, p2, step, zero)
            tl.debug_barrier()
            gradc_77c1f20e9ab3d645_inner(p1, p0 + own0 * 4, zero)
            tl.debug_barrier()

In: an instruction of a program that is persistent. Out: its text, and the places that it is given.

Kernels are functions that the loop's own calls, and Triton puts in place of the calls. A kernel of
several programs is called for one after the other. Threads wait where one kernel touches what
another has written (cpu_llvm/barriers.py): there is one block, so a barrier is all that they need.
Places are parameters, each once; numbers of the step come out of the frame when the kernel begins,
and where loops stand is known to the text. Of a loop over the steps, the frame says how many there
are, and how far apart their sample numbers lie; and each of several blocks has a frame, which says
how far its own memory lies from that of the first (launches.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from ..cpu_llvm.barriers import barriers_before
from ..launches import (
    ALIGNMENT_BYTES,
    ORDER_SLOT,
    ROWS_SLOT,
    STEP_SLOT,
    STEPS_SLOTS,
    ZERO_SLOTS,
    Pointer,
)
from ..loops.ir import Axis, Buffer, Kernel
from ..program.ir import Body, If, Instruction, Repeat, While
from .kernels import (
    FIRST,
    FRAME,
    PROGRAM,
    ROWS,
    STEP,
    ZERO,
    InnerKernel,
    KernelText,
    pointer_type,
)

_INDENT = "    "
_BARRIER = "tl.debug_barrier()"
_NAME = "gradc_persistent"
_LOADED = "# what is loaded"
_OWN = ("state", "arena", "order", "input", "output")
"""Memories that each of several trainings has of its own."""
NAME_DIGITS = 16
_MULTIPLE = 1_024
"""What Triton is told of the zero, which is a multiple of all: addresses are as aligned as they are
in a grid, and so the layouts that follow from it are the same."""


@dataclass(frozen=True)
class Called:
    """A kernel's function, and what its call is given: its buffers, in order."""

    inner: InnerKernel
    buffers: tuple[Buffer, ...]


@dataclass(frozen=True)
class PersistentText:
    """The kernel of a loop, its arguments before the frame, and the memories that each of several
    blocks has of its own."""

    kernel: KernelText
    arguments: tuple[Pointer, ...]
    own: tuple[Pointer, ...]


def emit_persistent(
    instruction: Repeat | While | If,
    called: Callable[[Kernel], Called | None],
    pointer: Callable[[Buffer], Pointer],
    steps_slot: int,
) -> PersistentText:
    """The kernel of a persistent instruction.

    called      what is called for a kernel; None: it has no points
    pointer     where a buffer is
    steps_slot  the slot of the frame that says how many steps there are
    """
    shared = not (isinstance(instruction, Repeat) and instruction.axis is None)
    emitter = _Emitter(called, pointer, steps_slot, shared)
    emitter.waits = barriers_before((instruction,), lambda kernel: True)
    body = emitter.instruction(instruction)
    head = [
        f"{STEP}0 = tl.load({FRAME} + {STEP_SLOT})",
        f"{FIRST}0 = tl.load({FRAME} + {ORDER_SLOT})",
        f"{ROWS} = tl.load({FRAME} + {ROWS_SLOT})",
        f"{STEP} = {STEP}0",
        f"{FIRST} = {FIRST}0",
        "begin = tl.full((), 0, tl.int64)",
        _LOADED,
    ]
    if not shared:
        slots = emitter.frame_slots
        head.insert(0, f"{FRAME} = {FRAME} + tl.program_id(0) * {slots}")
    names = [name for name, _ in emitter.parameters.values()]
    lines = ["@triton.jit", f"def {_NAME}({', '.join([*names, FRAME])}):"]
    lines += [_INDENT + line for written in (*head, *body) for line in emitter.loaded(written)]
    text = "\n\n".join([*emitter.functions.values(), "\n".join([*lines, ""])])
    digest = hashlib.sha256(f"{emitter.warps} {text}".encode()).hexdigest()[:NAME_DIGITS]
    name = f"gradc_{digest}"
    signature = (*emitter.parameters.values(), (FRAME, "*i64"))
    kernel = KernelText(
        name, text.replace(f"def {_NAME}(", f"def {name}("), signature, tuple(names), True,
        (1, 1, 1), emitter.warps, 1,
    )  # fmt: skip
    arguments = tuple(place for place, _ in emitter.parameters)
    return PersistentText(kernel, arguments, tuple(emitter.own))


@dataclass(eq=False)
class _Emitter:
    """Walks one instruction.

    shared      whether there is one block alone
    parameters  name and type of each, by place and type
    own         what each of several blocks has of its own, and the name of how far it lies
    waits       what threads wait for each other before
    """

    called: Callable[[Kernel], Called | None]
    pointer: Callable[[Buffer], Pointer]
    steps_slot: int
    shared: bool
    own: dict[Pointer, str] = field(default_factory=dict)
    parameters: dict[tuple[Pointer, str], tuple[str, str]] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    waits: frozenset[Instruction] = frozenset()
    warps: int = 1
    counters: dict[str, str] = field(default_factory=dict)
    numbered: int = 0

    @property
    def frame_slots(self) -> int:
        """Of each block."""
        return self.steps_slot + STEPS_SLOTS + ZERO_SLOTS + len(self.own)

    def loaded(self, line: str) -> list[str]:
        """A line, or what it stands for: the zero, whose slot is behind those of the steps, and how
        far a block's own memory lies, which is in the slots behind it."""
        indent, _, rest = line.partition(_LOADED)
        if rest or not line.endswith(_LOADED):
            return [line]
        slot = self.steps_slot + STEPS_SLOTS
        zero = f"tl.load({FRAME} + {slot}).to(tl.int32)"
        found = [f"{indent}{ZERO} = tl.multiple_of({zero}, {_MULTIPLE})"]
        for number, name in enumerate(self.own.values()):
            found.append(f"{indent}{name} = tl.load({FRAME} + {slot + ZERO_SLOTS + number})")
        return found

    def looped(self, body: Body) -> list[str]:
        """A body that is repeated."""
        lines = self.body(body)
        return [_LOADED, *lines] if any(isinstance(i, Kernel) for i in body) else lines

    def body(self, body: Body) -> list[str]:
        lines = [line for instruction in body for line in self.instruction(instruction)]
        return lines or ["pass"]

    def instruction(self, instruction: Instruction) -> list[str]:
        lines = [_BARRIER] if instruction in self.waits else []
        match instruction:
            case Kernel():
                return [*lines, *self._kernel(instruction)]
            case Repeat(axis=None):
                return [*lines, *self._steps(instruction)]
            case Repeat():
                return [*lines, *self._repeat(instruction)]
            case While():
                return self._while(instruction)
            case If(flag=flag, then=then, otherwise=otherwise):
                lines.append(f"if {self._flag(flag)}:")
                lines += _indented(self.body(then))
                if otherwise:
                    lines += ["else:", *_indented(self.body(otherwise))]
                return lines
            case _:
                assert_never(instruction)

    # -- kernels ----------------------------------------------------------------------------

    def _kernel(self, kernel: Kernel) -> list[str]:
        found = self.called(kernel)
        if found is None:
            return []
        inner = found.inner
        self.functions.update(inner.functions)
        self.warps = inner.warps
        given = [self._argument(buffer) for buffer in found.buffers]
        if inner.programs == 1:
            return [f"{inner.name}({', '.join([*given, *inner.parameters])})"]
        turn = self._fresh("turn")
        numbers = [f"{ZERO} + {turn}" if p == PROGRAM else p for p in inner.parameters]
        return [
            f"for {turn} in range(0, {inner.programs}):",
            f"{_INDENT}{inner.name}({', '.join([*given, *numbers])})",
        ]

    def _argument(self, buffer: Buffer) -> str:
        """A parameter, where a loop stands, or a number of the call's own."""
        if buffer.space == "counter":
            outside = f"tl.load({FRAME} + {buffer.slot})"
            return self.counters.get(buffer.name, outside)
        if buffer.space == "call":
            number = buffer.slot - (1 << 32) if buffer.slot >> 31 else buffer.slot
            return f"tl.full((), {number}, tl.int32)"
        return self._parameter(buffer)

    def _parameter(self, buffer: Buffer) -> str:
        key = self.pointer(buffer), pointer_type(buffer)
        if key not in self.parameters:
            self.parameters[key] = f"p{len(self.parameters)}", key[1]
        name, place = self.parameters[key][0], key[0]
        if self.shared or place.memory not in _OWN:
            return name
        of = self.own.setdefault(Pointer(place.memory, place.number), f"own{len(self.own)}")
        return f"{name} + {of} * {ALIGNMENT_BYTES // buffer.type.dtype.size_bytes}"

    def _fresh(self, hint: str) -> str:
        self.numbered += 1
        return f"{hint}{self.numbered}"

    # -- loops ------------------------------------------------------------------------------

    def _steps(self, steps: Repeat) -> list[str]:
        """The loop over the steps of the run."""
        inside = [
            f"{STEP} = {STEP}0 + n",
            f"{FIRST} = {FIRST}0 + n * apart",
            *self.looped(steps.body),
            _BARRIER,
        ]
        return [
            f"apart = tl.load({FRAME} + {self.steps_slot + 1})",
            f"for n in range(0, tl.load({FRAME} + {self.steps_slot}).to(tl.int32)):",
            *_indented(inside),
        ]

    def _repeat(self, repeat: Repeat) -> list[str]:
        axis = repeat.axis
        assert axis is not None
        rounds = f"{axis.extent}"
        if axis.bounded:
            rounds = f"tl.minimum({ROWS} * {axis.per_row}, {axis.extent}).to(tl.int32)"
        elif repeat.count is not None:
            count = f"tl.load({self._parameter(repeat.count)})"
            rounds = f"tl.minimum({count}, {axis.extent}).to(tl.int32)"
        count, number = self._fresh("n"), self._fresh("t")
        inside = [f"{number} = begin + {count}", *self._counted(axis, number, repeat.body)]
        return [f"for {count} in range(0, {rounds}):", *_indented(inside)]

    def _while(self, loop: While) -> list[str]:
        """The flag is asked before the loop, and at the end of each iteration."""
        go, number = self._fresh("go"), self._fresh("t")
        asked = self._flag(loop.flag)
        ends = f" & ({number} < {loop.axis.extent})" if loop.axis is not None else ""
        wait = [_BARRIER] if loop in self.waits else []
        inside = (
            self.looped(loop.body)
            if loop.axis is None
            else self._counted(loop.axis, f"{number}", loop.body)
        )
        return [
            *wait,
            f"{number} = begin + 0",
            f"{go} = {asked}{ends}",
            f"while {go}:",
            *_indented([*inside, *wait, f"{number} = {number} + 1", f"{go} = {asked}{ends}"]),
        ]

    def _counted(self, axis: Axis, number: str, body: Body) -> list[str]:
        """A body in which an axis is known."""
        self.counters[axis.name] = number
        return self.looped(body)

    def _flag(self, flag: Buffer) -> str:
        return f"(tl.load({self._parameter(flag)}) != 0)"


def _indented(lines: Sequence[str]) -> list[str]:
    return [_INDENT + line for line in lines]
