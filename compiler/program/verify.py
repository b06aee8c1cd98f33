"""The verifier of the program level: order, declarations, who reads what when, what is unrolled."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import assert_never

from ..errors import VerifyError
from ..loops.ir import Buffer, Kernel
from .edges import conflicting_pairs
from .ir import Body, If, Program, Repeat, While, tests_of
from .places import verify_places
from .tree import verify_tree


def verify_program(program: Program) -> None:
    """Raise VerifyError if a program is not well formed, or its kernels are out of order."""
    verify_declarations(program)
    verify_order(program)


def verify_declarations(program: Program) -> None:
    """Raise VerifyError for a name that is taken twice, or is used and not declared.

    That much holds of a program before its kernels are put in order, and that its tree is well
    formed (tree.py), and that every buffer is what its program says of it (places.py).
    """
    verify_tree(program)
    program.check_names()
    verify_places(program)
    known = set(program.buffers)
    for kernel in program.kernels():
        for buffer in kernel.reads + kernel.writes:
            if buffer not in known:
                raise VerifyError(f"kernel {kernel.name} names an undeclared buffer {buffer.name}")
            if buffer.space == "call":
                raise VerifyError(f"kernel {kernel.name} has its stream apart: {buffer.name}")
            if buffer.space == "counter":
                raise VerifyError(f"kernel {kernel.name} has its counter apart: {buffer.name}")


def verify_edges(program: Program) -> None:
    """Raise VerifyError if two kernels share memory and no edge says which of them runs first."""
    for one, other, buffer in conflicting_pairs(program.body):
        pair = (one.name, other.name)
        if program.order_edges.isdisjoint({pair, pair[::-1]}):
            writer, toucher = (one, other) if buffer in one.writes else (other, one)
            raise VerifyError(
                f"program {program.name}: no edge between kernels {one.name} and {other.name}",
                facts=[f"{writer.name} writes {buffer.name}, {toucher.name} touches it"],
            )


def verify_order(program: Program) -> None:
    """Raise VerifyError if an edge is not kept or a buffer is read before it is written.

    Every kernel reads the old value of a state, so none may run after the one that replaces it, in
    the same body or inside it; behind a loop that replaces it, a state has its new value.
    """
    position = {kernel.name: number for number, kernel in enumerate(program.kernels())}
    for earlier, later in program.order_edges:
        if position[earlier] >= position[later]:
            raise VerifyError(
                f"program {program.name}: kernel {earlier} must run before {later}",
                facts=[f"positions {position[earlier]} and {position[later]}"],
            )
    _verify_reads(program.body, set(), frozenset())


def _verify_reads(body: Body, written: set[Buffer], replaced: frozenset[Buffer]) -> None:
    """One pass over a body; what it writes is added to `written`.

    replaced   states that have been, before the body
    """
    for instruction in body:
        match instruction:
            case Kernel(name=name, reads=reads, writes=writes):
                _verify_read(f"kernel {name}", reads, written.union(writes), replaced)
                written.update(writes)
                replaced |= {buffer for buffer in writes if buffer.space == "state"}
            case Repeat(body=inner) | While(body=inner):
                _verify_read("a loop", tests_of(instruction), written, replaced)
                _verify_reads(inner, written, replaced)
            case If(then=then, otherwise=otherwise):
                _verify_read("a choice", tests_of(instruction), written, replaced)
                before = set(written)
                _verify_reads(then, written, replaced)
                _verify_reads(otherwise, before, replaced)
                written |= before
            case _:
                assert_never(instruction)


def _verify_read(
    who: str, reads: Sequence[Buffer], written: Set[Buffer], replaced: Set[Buffer]
) -> None:
    for buffer in reads:
        if buffer in replaced:
            raise VerifyError(f"{who} reads {buffer.name} after it is replaced")
        if buffer.begins_empty and buffer not in written:
            raise VerifyError(f"{who} reads {buffer.name} before it is written")
