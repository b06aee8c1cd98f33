"""The program level: kernels in order over one planned arena.

    program     ::= "program" name [ "rows" integer ] [ "bounded" ] [ "arena" integer ]
                    "{" { input } { output } { buffer } { edge } { instruction } "}"
    input       ::= "input" "%" name ":" type
    output      ::= "output" "%" name ":" type
    edge        ::= "run" kernel name "after" kernel name { "," kernel name }
    instruction ::= kernel | "repeat" [ "resident" ] "{" { instruction } "}"

`buffer` and `kernel` are in loops/ir.py; see text.py. Decisions are comments.

A program is a tree of `Kernel`s (see loops/ir.py) and `Repeat`s, which run their body `count`
times, a number known at run time. Passes change it by `map_kernels`, `map_bodies` and `renamed`,
which walk the tree; who reads it in another way tells the kinds of instruction apart by `match`.

One Repeat is around all kernels, or there is none (`check_loop`): who plans memory, follows reads
and writes or makes code takes `kernels()` for one iteration.

A kernel's name is its identity: passes replace kernels, and an edge is a pair of names. No two
kernels of a program have one name, every edge names two of them, and a kernel that a pass renames
is renamed in the edges too.

Every intermediate buffer lives in one arena, whose size is known at compile time; inside a Repeat
it lives for one iteration. State is updated in place, in the kernel that computes the new value
where that is legal: `order_edges` then keep every reader of the old value before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from ..errors import VerifyError
from ..loops.ir import Buffer, Kernel
from ..loops.rewrite import rewrite_kernel
from ..types import TensorType


@dataclass(frozen=True, eq=False)
class Repeat:
    """The body, `count` times (from the argument struct), one iteration after the other.

    resident   state and arena are held in registers over all iterations (make_resident.py)
    """

    body: tuple[Instruction, ...]
    resident: bool = False


Instruction = Kernel | Repeat
Body = tuple[Instruction, ...]


@dataclass(frozen=True)
class Decision:
    """One choice of fuse (where a state is updated), make_resident (whether the loop is) or
    choose_schedule (how a kernel is run), for people: what was (not) done, and why.

    details   (line, why) of the lines of a schedule that had a choice; not part of the text
    """

    subject: str
    verdict: str
    reason: str
    details: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.subject}: {self.verdict} ({self.reason})"


@dataclass(frozen=True, eq=False)
class Program:
    """One entry point's work.

    body          the instruction tree
    order_edges   (earlier, later) kernel names: data dependences and write-after-read edges
    buffers       every buffer that a kernel names
    arena_bytes   length of the arena, 0 before plan_memory
    rows_maximum  the batch size that a full iteration has; 1 without a batch dimension
    bounded       whether axes marked `bounded` stop at the run-time number of rows
    inputs, outputs  (name, type) in slot order; named extents are kept
    """

    name: str
    body: Body
    order_edges: frozenset[tuple[str, str]]
    buffers: tuple[Buffer, ...]
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    rows_maximum: int
    bounded: bool
    arena_bytes: int = 0
    decisions: tuple[Decision, ...] = ()

    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel in the order in which one pass over the tree runs them."""
        return tuple(i for i in _instructions(self.body) if isinstance(i, Kernel))

    def repeats(self) -> tuple[Repeat, ...]:
        """Every Repeat, outer ones first."""
        return tuple(i for i in _instructions(self.body) if isinstance(i, Repeat))

    def with_body(self, body: Body) -> Program:
        return replace(self, body=body)

    def map_bodies(self, rule: Callable[[Body], Body]) -> Program:
        """The program with `rule` applied to every body of the tree, inner ones first.

        Kernels keep their names. Returns this program itself if nothing changed.
        """
        body = _mapped(self.body, rule)
        return self if body is self.body else self.with_body(body)

    def map_kernels(self, rule: Callable[[Kernel], Kernel]) -> Program:
        """The program with `rule` applied to every kernel; edges follow those that it renames.

        Returns this program itself if nothing changed. Raises VerifyError where names do not say
        which kernels an edge means, before or after.
        """
        self.check_names()
        names: dict[str, str] = {}

        def kernel_rule(body: Body) -> Body:
            return tuple(_noted(rule, i, names) if isinstance(i, Kernel) else i for i in body)

        mapped = self.map_bodies(kernel_rule)
        edges = frozenset((names[a], names[b]) for a, b in self.order_edges)
        if edges != self.order_edges:
            mapped = replace(mapped, order_edges=edges)
        mapped.check_names()
        return mapped

    def renamed(self, name: Callable[[str], str]) -> Program:
        """The program with `name` applied to the name of every kernel, in edges too."""
        return self.map_kernels(lambda kernel: replace(kernel, name=name(kernel.name)))

    def map_buffers(self, rule: Callable[[Buffer], Buffer]) -> Program:
        """The program with `rule` applied to every buffer, in kernels and in the list."""
        mapped = self.map_kernels(lambda kernel: rewrite_kernel(kernel, buffer=rule))
        buffers = tuple(map(rule, self.buffers))
        if all(a is b for a, b in zip(buffers, self.buffers, strict=True)):
            return mapped
        return replace(mapped, buffers=buffers)

    def check_names(self) -> None:
        """Raise VerifyError if two kernels have one name, or an edge names none."""
        names = [kernel.name for kernel in self.kernels()]
        known = set(names)
        if len(known) < len(names):
            raise VerifyError(f"program {self.name}: two kernels have one name")
        for edge in self.order_edges:
            for name in edge:
                if name not in known:
                    raise VerifyError(f"program {self.name}: an edge names no kernel: {name}")

    def check_loop(self) -> None:
        """Raise VerifyError if a loop is beside kernels, beside another or inside another."""
        (around,) = self.body if len(self.body) == 1 else (None,)
        body = around.body if isinstance(around, Repeat) else self.body
        if any(isinstance(instruction, Repeat) for instruction in body):
            raise VerifyError(
                "a loop is beside kernels or other loops, or inside another",
                operation=f"program {self.name}",
                facts=["one loop is around all kernels, or there is none"],
            )


def _noted(rule: Callable[[Kernel], Kernel], kernel: Kernel, names: dict[str, str]) -> Kernel:
    """What the rule makes of the kernel, its old and new name noted."""
    result = rule(kernel)
    names[kernel.name] = result.name
    return result


def _mapped(body: Body, rule: Callable[[Body], Body]) -> Body:
    """What `rule` makes of a body whose inner bodies it has been applied to; itself if the same."""
    inner = tuple(_with_mapped_body(instruction, rule) for instruction in body)
    result = rule(inner)
    same = len(result) == len(body) and all(a is b for a, b in zip(result, body, strict=True))
    return body if same else result


def _with_mapped_body(instruction: Instruction, rule: Callable[[Body], Body]) -> Instruction:
    match instruction:
        case Kernel():
            return instruction
        case Repeat(body=body):
            mapped = _mapped(body, rule)
            return instruction if mapped is body else replace(instruction, body=mapped)
        case _:
            assert_never(instruction)


def _instructions(body: Body) -> Iterator[Instruction]:
    """Every node of the tree, what holds others before them."""
    for instruction in body:
        yield instruction
        match instruction:
            case Kernel():
                pass
            case Repeat(body=inner):
                yield from _instructions(inner)
            case _:
                assert_never(instruction)
