"""The program level: kernels in order over one planned arena.

    program     ::= "program" name [ "rows" integer ] [ "bounded" ] [ "arena" integer ]
                    "{" { input } { output } { buffer } { edge } { instruction } "}"
    input       ::= "input" "%" name ":" type
    output      ::= "output" "%" name ":" type
    edge        ::= "run" kernel name "after" kernel name { "," kernel name }
    instruction ::= kernel | repeat | while | if
    repeat      ::= "repeat" [ "resident" | "persistent" ] body
                  | "repeat" [ "persistent" ] axis [ "count" "%" name ] body
    while       ::= "while" [ "persistent" ] "%" name [ "," axis ] body
    if          ::= "if" [ "persistent" ] "%" name body [ "else" body ]
    body        ::= "{" { instruction } "}"

`buffer`, `axis` and `kernel` are in loops/ir.py; see text.py. Decisions are comments.

A program is a tree of `Kernel`s (see loops/ir.py), loops and choices. `repeat` without an axis is
the loop over the steps of the run, whose number is an argument: it stands outermost, if at all, and
what the order says and what an output is belong to one step. Every other loop has an axis that
counts its iterations, where a kernel inside may have a `counter` of that name: elements of what a
loop walks, and of what it stacks up, are index expressions, `%xs[t, i]`, and no copies.

What a loop carries from one iteration to the next is in buffers like any other: written before the
loop, read by the body, replaced by the body. Nothing declares it; who must know follows reads and
writes (liveness.py).

Passes change a program by `map_kernels`, `map_bodies`, `map_buffers` and `renamed`, which walk the
tree; who reads it in another way tells the kinds of instruction apart by `match`, or takes what all
of them have: `bodies_of`, `tests_of`.

A kernel's name is its identity: passes replace kernels, and an edge is a pair of names. No two
kernels of a program have one name, every edge names two of them, and a kernel that a pass renames
is renamed in the edges too.

What is `persistent` is one kernel of a GPU (passes/make_persistent.py): one block of threads runs
all that is inside it, kernel after kernel, and the host launches it once. Nothing in it is marked
so again.

Every intermediate buffer lives in one arena, whose size is known at compile time; inside the loop
over steps it lives for one step. State is updated in place, in the kernel that computes the new
value where that is legal: `order_edges` then keep every reader of the old value before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import assert_never

from ..errors import VerifyError
from ..loops.ir import Axis, Buffer, Kernel
from ..loops.rewrite import rewrite_kernel
from ..types import TensorType


@dataclass(frozen=True, eq=False)
class Repeat:
    """The body, several times, one iteration after the other.

    axis       counts the iterations: `axis.extent` of them, or as many as there are rows where it
               is bounded. None: they are the steps of the run, `count` of the argument struct
    count      an integer in memory, read when the loop begins: as many iterations, but no fewer
               than none and no more than `axis.extent`
    resident   state and arena are held in registers over all steps (make_resident.py)
    persistent one block of threads runs all of it: see the module docstring
    """

    body: Body
    axis: Axis | None = None
    count: Buffer | None = None
    resident: bool = False
    persistent: bool = False


@dataclass(frozen=True, eq=False)
class While:
    """The body as long as `flag`, a bool in memory, is true, which is asked before each iteration.

    axis   counts the iterations, and ends them at its extent. None: nothing but the flag does
    """

    flag: Buffer
    body: Body
    axis: Axis | None = None
    persistent: bool = False


@dataclass(frozen=True, eq=False)
class If:
    """One of two bodies, as `flag`, a bool in memory, says."""

    flag: Buffer
    then: Body
    otherwise: Body = ()
    persistent: bool = False


Instruction = Kernel | Repeat | While | If
Body = tuple[Instruction, ...]


def bodies_of(instruction: Instruction) -> tuple[Body, ...]:
    """The bodies inside an instruction; a kernel has none."""
    match instruction:
        case Kernel():
            return ()
        case Repeat(body=body) | While(body=body):
            return (body,)
        case If(then=then, otherwise=otherwise):
            return then, otherwise
        case _:
            assert_never(instruction)


def tests_of(instruction: Instruction) -> tuple[Buffer, ...]:
    """What an instruction itself reads to know what to run; a kernel reads nothing to that end."""
    match instruction:
        case Kernel():
            return ()
        case Repeat(count=count):
            return () if count is None else (count,)
        case While(flag=flag) | If(flag=flag):
            return (flag,)
        case _:
            assert_never(instruction)


def axis_of(instruction: Instruction) -> Axis | None:
    """What counts the iterations of an instruction, if it has any that are counted."""
    match instruction:
        case Kernel() | If():
            return None
        case Repeat(axis=axis) | While(axis=axis):
            return axis
        case _:
            assert_never(instruction)


def runs_at_least_once(instruction: Instruction) -> bool:
    """Whether all that is in an instruction surely runs: not in a choice, nor in a loop that may
    end at once."""
    match instruction:
        case Kernel():
            return True
        case Repeat(axis=axis, count=count):
            return axis is None or (count is None and axis.extent > 0)
        case While() | If():
            return False
        case _:
            assert_never(instruction)


def instructions_in(body: Body) -> Iterator[Instruction]:
    """Every node of a tree, what holds others before them."""
    for instruction in body:
        yield instruction
        for inner in bodies_of(instruction):
            yield from instructions_in(inner)


def kernels_in(body: Body) -> Iterator[Kernel]:
    """Every kernel of a tree, in the order in which one pass over it comes to them."""
    return (i for i in instructions_in(body) if isinstance(i, Kernel))


@dataclass(frozen=True)
class Decision:
    """One choice of fuse (where a state is updated), make_resident and make_persistent (whether a
    loop is) or choose_schedule (how a kernel is run), for people: what was (not) done, and why.

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
        """Every kernel in the order in which one pass over the tree comes to them."""
        return tuple(kernels_in(self.body))

    def repeats(self) -> tuple[Repeat, ...]:
        """Every Repeat, outer ones first."""
        return tuple(i for i in instructions_in(self.body) if isinstance(i, Repeat))

    @property
    def steps(self) -> Repeat | None:
        """The loop over the steps of the run; None if the program is run once."""
        found = (i for i in self.body if isinstance(i, Repeat) and i.axis is None)
        return next(found, None)

    @property
    def is_tree(self) -> bool:
        """Whether there is more than kernels and, around them all, the loop over steps."""
        body = self.body
        if len(body) == 1 and self.steps is body[0]:
            body = self.steps.body
        return not all(isinstance(instruction, Kernel) for instruction in body)

    def trips(self) -> dict[Kernel, int]:
        """How often each kernel runs in one step, at most; once in a loop that a flag alone ends,
        for nobody knows how often that runs."""
        return dict(_trips(self.body, 1))

    def named_buffers(self) -> tuple[Buffer, ...]:
        """Every buffer that a kernel or a loop names, once, in order of appearance."""
        found: dict[Buffer, None] = {}
        for instruction in instructions_in(self.body):
            found.update(dict.fromkeys(tests_of(instruction)))
            if isinstance(instruction, Kernel):
                found.update(dict.fromkeys(instruction.reads + instruction.writes))
        return tuple(found)

    def bodies(self) -> tuple[Body, ...]:
        """Every body of the tree, what holds others before them."""
        inner = (bodies_of(instruction) for instruction in instructions_in(self.body))
        return (self.body, *(body for bodies in inner for body in bodies))

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
        """The program with `rule` applied to every buffer: of kernels, of loops, in the list."""
        mapped = self.map_kernels(lambda kernel: rewrite_kernel(kernel, buffer=rule))
        mapped = mapped.map_bodies(lambda body: tuple(_with_tests(i, rule) for i in body))
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


def _trips(body: Body, around: int) -> Iterator[tuple[Kernel, int]]:
    for instruction in body:
        if isinstance(instruction, Kernel):
            yield instruction, around
        axis = axis_of(instruction)
        for inner in bodies_of(instruction):
            yield from _trips(inner, around if axis is None else around * axis.extent)


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
        case Repeat(body=body) | While(body=body):
            mapped = _mapped(body, rule)
            return instruction if mapped is body else replace(instruction, body=mapped)
        case If(then=then, otherwise=otherwise):
            one, other = _mapped(then, rule), _mapped(otherwise, rule)
            if one is then and other is otherwise:
                return instruction
            return replace(instruction, then=one, otherwise=other)
        case _:
            assert_never(instruction)


def _with_tests(instruction: Instruction, rule: Callable[[Buffer], Buffer]) -> Instruction:
    """The instruction with `rule` applied to what it reads itself."""
    if all(rule(buffer) is buffer for buffer in tests_of(instruction)):
        return instruction
    match instruction:
        case Repeat(count=count) if count is not None:
            return replace(instruction, count=rule(count))
        case While(flag=flag) | If(flag=flag):
            return replace(instruction, flag=rule(flag))
        case Kernel() | Repeat():
            return instruction
        case _:
            assert_never(instruction)
