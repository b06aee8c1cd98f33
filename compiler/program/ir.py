"""The program level: kernels in order over one planned arena.

    program     ::= "program" name [ "rows" integer ] [ "bounded" ] [ "arena" integer ]
                    "{" { input } { output } { buffer } { edge } { instruction } "}"
    input       ::= "input" "%" name ":" type
    output      ::= "output" "%" name ":" type
    edge        ::= "run" kernel name "after" kernel name { "," kernel name }
    instruction ::= kernel | "repeat" [ "resident" ] "{" { instruction } "}"

`buffer` and `kernel` are in loops/ir.py; see text.py. Decisions are comments.

A program is a tree. Today its nodes are `Kernel` (see loops/ir.py) and `Repeat`, which runs its
body `count` times, a number known at run time; conditional branches and data-dependent loops are
further node types beside them. Whoever walks a program (liveness, barriers, the memory plan, an
emitter) walks the tree.

Every intermediate buffer lives in one arena, whose size is known at compile time; inside a Repeat
it lives for one iteration. State is updated in place, in the kernel that computes the new value
where that is legal: `order_edges` then keep every reader of the old value before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..loops.ir import Buffer, Kernel
from ..types import TensorType


@dataclass(frozen=True, eq=False)
class Repeat:
    """The body, `count` times (from the argument struct), one iteration after the other.

    resident   state and arena are held in registers over all iterations (make_resident.py)
    """

    body: tuple[Instruction, ...]
    resident: bool = False


Instruction = Kernel | Repeat


@dataclass(frozen=True)
class Decision:
    """One choice of fuse or schedule, for people: what was (not) done, and why."""

    subject: str
    verdict: str
    reason: str

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
    body: tuple[Instruction, ...]
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
        return tuple(_kernels(self.body))

    def with_body(self, body: tuple[Instruction, ...]) -> Program:
        return replace(self, body=body)


def _kernels(body: tuple[Instruction, ...]) -> Iterator[Kernel]:
    for instruction in body:
        if isinstance(instruction, Kernel):
            yield instruction
        else:
            yield from _kernels(instruction.body)
