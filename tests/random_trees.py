"""Random programs that are trees: loops and choices over small buffers, and every way to run them.

`random_tree(seed)` makes a program whose kernels stand in an order that is right, with the edges
that this order gives. What it computes depends on no memory that nothing has written: it is the
same whether its buffers lie apart or share an arena, in whatever order that keeps the edges, on any
number of threads, in code or in NumPy.

`check_tree(seed)` holds all of these against each other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from support_cpu import compiled_primitive, run_compiled, scheduled

from gradc.compiler.cpu_llvm.target import find_target
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.combiners import MAX, SUM
from gradc.compiler.loops.ir import (
    Axis,
    Buffer,
    Kernel,
    Loop,
    Reduction,
    Scalar,
    Store,
    dense_layout,
)
from gradc.compiler.loops.schedule import Nest
from gradc.compiler.memory.verify_plan import verify_plan
from gradc.compiler.passes.make_resident import make_resident
from gradc.compiler.passes.order_kernels import order_kernels
from gradc.compiler.passes.plan_memory import plan_memory
from gradc.compiler.program.edges import order_edges
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Body, If, Instruction, Program, Repeat, While
from gradc.compiler.program.text import parse_program, print_program
from gradc.compiler.program.verify import verify_edges, verify_program
from gradc.compiler.testing.values import same_values
from gradc.compiler.types import DType, TensorType, bool_, float32, int32, int64

Array = np.ndarray[Any, Any]
ROWS = 5
DEPTH = 3
MOST_KERNELS = 26


@dataclass
class Scope:
    """What may be used where an instruction is put.

    vectors   buffers that hold a value there
    stacks    buffers of which every row does
    counters  axes of the loops around
    fixed     vectors that are read and not written there: what a loop reads again
    """

    vectors: list[Buffer]
    stacks: list[Buffer]
    counters: list[Axis] = field(default_factory=list)

    def inside(self, axis: Axis | None) -> Scope:
        counters = self.counters if axis is None else [*self.counters, axis]
        return Scope(list(self.vectors), list(self.stacks), list(counters))


class TreeMaker:
    """Makes one program."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.k = ScalarBuilder()
        self.dtype: DType = self.rng.choice([float32, float32, int32, int64])
        self.extent = self.rng.choice([1, 3, 8, 19, 70])
        self.axis, self.inner = Axis("i", self.extent), Axis("j", self.extent)
        self.buffers: list[Buffer] = []
        self.kernels = self.axes = 0
        self.bounded = self.rng.random() < 0.3

    # -- buffers ----------------------------------------------------------------------------

    def buffer(self, dtype: DType, shape: tuple[int, ...], space: Any = "arena") -> Buffer:
        number = len(self.buffers)
        slot = sum(b.space == space for b in self.buffers) if space in ("input", "output") else 0
        offset = 64 * 64 * sum(b.space == "state" for b in self.buffers) if space == "state" else 0
        name = f"{space[0]}{number}"
        made = Buffer(name, TensorType(dtype, shape), dense_layout(shape), space, slot, offset)
        self.buffers.append(made)
        return made

    def vector(self, space: str = "arena") -> Buffer:
        return self.buffer(self.dtype, (self.extent,), space)

    # -- kernels ----------------------------------------------------------------------------

    def kernel(self, *loops: Loop, axes: tuple[Axis, ...] = ()) -> Kernel:
        self.kernels += 1
        return Kernel(f"k{self.kernels}", axes, loops)

    def number(self, value: float) -> Scalar:
        return self.k.constant(int(value) if self.dtype.is_integer else value, self.dtype)

    def at(self, buffer: Buffer, scope: Scope, backwards: bool = False) -> Scalar:
        """An element of a vector, or of a row of a stack."""
        place = self.k.axis(self.axis)
        if backwards:
            place = self.k.add(self.k.mul(place, self.k.index(-1)), self.k.index(self.extent - 1))
        if buffer.type.rank == 1:
            return self.k.load(buffer, (place,))
        return self.k.load(buffer, (self.row(buffer, scope), place))

    def row(self, stack: Buffer, scope: Scope) -> Scalar:
        """Some row: where a loop around stands, maybe from the end, or any."""
        rows = int(stack.type.shape[0])
        fitting = [axis for axis in scope.counters if axis.extent <= rows]
        if not fitting or self.rng.random() < 0.2:
            return self.k.index(self.rng.randrange(rows))
        counter = self.k.counter(self.rng.choice(fitting))
        if self.rng.random() < 0.4:
            return self.k.add(self.k.mul(counter, self.k.index(-1)), self.k.index(rows - 1))
        return counter

    def value(self, scope: Scope, straight: Buffer | None = None) -> Scalar:
        """An expression of two or three operands; of `straight` it reads the very element."""
        rng, k = self.rng, self.k
        terms: list[Scalar] = []
        for _ in range(rng.randint(1, 3)):
            source = rng.choice(scope.vectors + scope.stacks)
            terms.append(self.at(source, scope, source is not straight and rng.random() < 0.2))
        if scope.counters and rng.random() < 0.4:
            terms.append(k.cast(k.counter(rng.choice(scope.counters)), self.dtype))
        result = self.number(rng.choice([-1, 0.5, 2]))
        for term in terms:
            combine: Callable[..., Scalar] = rng.choice([k.add, k.sub, k.max, k.min])
            result = combine(result, term)
        if self.dtype.is_float:
            result = k.mul(result, self.number(rng.choice([0.5, 0.75, -0.625])))
        return result

    def map_kernel(self, scope: Scope) -> Kernel:
        """Into a new vector, or over an old one, at an element of its own."""
        over = self.rng.random() < 0.45
        writable = [b for b in scope.vectors if b.is_writable and b.space == "arena"]
        target = self.rng.choice(writable) if over and writable else self.vector()
        store = Store(target, (self.k.axis(self.axis),), self.value(scope, target))
        accumulates = target in scope.vectors and self.rng.random() < 0.15
        if accumulates:
            without = replace(scope, vectors=[b for b in scope.vectors if b is not target] or [])
            if without.vectors:
                store = Store(target, store.index, self.value(without), accumulate=True)
        if target not in scope.vectors:
            scope.vectors.append(target)
        return self.kernel(Loop((), (), (store,)), axes=self.moving)

    @property
    def moving(self) -> tuple[Axis, ...]:
        return (self.axis,) if self.axis.moves else ()

    def reduce_kernel(self, scope: Scope) -> Kernel:
        """A sum over a vector, spread over another."""
        target = self.vector()
        inner = self.inner
        load = self.k.load(self.rng.choice(scope.vectors), (self.k.axis(inner),))
        combiner = self.rng.choice([SUM, MAX])
        reduction = Reduction(f"r{self.kernels}", combiner, load, self.dtype)
        total = self.k.reduced(reduction.name, self.dtype)
        store = Store(target, (self.k.axis(self.axis),), self.k.add(total, self.value(scope)))
        loops = (Loop((inner,) if inner.moves else (), (reduction,)), Loop((), (), (store,)))
        scope.vectors.append(target)
        return self.kernel(*loops, axes=self.moving)

    def scalar_kernel(self, target: Buffer, value: Scalar, *reductions: Reduction) -> Kernel:
        """One number."""
        inner = self.inner
        loops = [Loop((inner,) if inner.moves else (), reductions)] if reductions else []
        return self.kernel(*loops, Loop((), (), (Store(target, (), value),)))

    def test_kernel(self, flag: Buffer, scope: Scope, also: Scalar | None = None) -> Kernel:
        """A flag that depends on data, and on `also`."""
        inner = self.inner
        k, combiner = self.k, self.rng.choice([SUM, MAX])
        load = k.load(self.rng.choice(scope.vectors), (k.axis(inner),))
        name = f"r{self.kernels}"
        value = k.primitive("lt", k.reduced(name, self.dtype), self.number(self.rng.choice([0, 3])))
        if scope.counters and self.rng.random() < 0.5:
            counter = k.counter(self.rng.choice(scope.counters))
            value = k.primitive("or", value, k.less(counter, 2))
        if also is not None:
            value = k.primitive("and", k.primitive("or", value, also), also)
        return self.scalar_kernel(flag, value, Reduction(name, combiner, load, self.dtype))

    # -- loops and choices ------------------------------------------------------------------

    def counting_axis(self, bounded: bool = False) -> Axis:
        self.axes += 1
        extent = ROWS if bounded else self.rng.randint(1, 4)
        return Axis(f"t{self.axes}", extent, bounded)

    def body(self, scope: Scope, depth: int) -> Body:
        found: list[Instruction] = []
        for _ in range(self.rng.randint(1, 3)):
            if self.kernels >= MOST_KERNELS:
                break
            found += self.some(scope, depth)
        return tuple(found) or (self.map_kernel(scope),)

    def some(self, scope: Scope, depth: int) -> list[Instruction]:
        """An instruction, with what it needs before it."""
        choice = self.rng.random()
        if depth <= 0 or choice < 0.45:
            make = self.map_kernel if self.rng.random() < 0.7 else self.reduce_kernel
            return [make(scope)]
        if choice < 0.75:
            return self.repeat(scope, depth)
        return self.while_(scope, depth) if choice < 0.88 else self.choice(scope, depth)

    def repeat(self, scope: Scope, depth: int) -> list[Instruction]:
        kind = self.rng.choice(["static", "static", "static", "count", "bounded"])
        axis = self.counting_axis(kind == "bounded" and self.bounded)
        inner = scope.inside(axis)
        before: list[Instruction] = []
        count = None
        if kind == "count":
            count = self.buffer(self.rng.choice([int32, int64]), ())
            before.append(self.count_kernel(count, scope))
        body = list(self.body(inner, depth - 1))
        stack = None
        if self.rng.random() < 0.6 and not axis.bounded and count is None:
            stack, kernel = self.stacking_kernel(axis, inner)
            body.insert(self.rng.choice([len(body), len(body)]), kernel)
        if axis.bounded or count is not None:
            return [*before, Repeat(tuple(body), axis, count)]
        scope.vectors += [b for b in inner.vectors if b not in scope.vectors]
        scope.stacks += [b for b in inner.stacks if b not in scope.stacks]
        if stack is not None:
            scope.stacks.append(stack)
        return [*before, Repeat(tuple(body), axis, count)]

    def count_kernel(self, count: Buffer, scope: Scope) -> Kernel:
        """A number of iterations that depends on data; out of range, now and then."""
        k, inner = self.k, self.inner
        load = k.load(self.rng.choice(scope.vectors), (k.axis(inner),))
        name = f"r{self.kernels}"
        reduced = k.reduced(name, self.dtype)
        small = k.max(k.min(reduced, self.number(6)), self.number(-2))
        value = k.cast(small, count.type.dtype)
        return self.scalar_kernel(count, value, Reduction(name, MAX, load, self.dtype))

    def stacking_kernel(self, axis: Axis, scope: Scope) -> tuple[Buffer, Kernel]:
        """A row of a new stack for each iteration, from the start or from the end."""
        stack = self.buffer(self.dtype, (axis.extent, self.extent))
        row = self.k.counter(axis)
        if self.rng.random() < 0.4:
            last = self.k.index(axis.extent - 1)
            row = self.k.add(self.k.mul(row, self.k.index(-1)), last)
        store = Store(stack, (row, self.k.axis(self.axis)), self.value(scope))
        return stack, self.kernel(Loop((), (), (store,)), axes=self.moving)

    def while_(self, scope: Scope, depth: int) -> list[Instruction]:
        """A loop that a number ends at the latest, or its axis does."""
        flag, k = self.buffer(bool_, ()), self.k
        if self.rng.random() < 0.4:
            axis = self.counting_axis()
            inner = scope.inside(axis)
            first = self.test_kernel(flag, scope)
            body = self.body(inner, depth - 1)
            return [first, While(flag, (*body, self.test_kernel(flag, inner)), axis)]
        number = self.buffer(int64, ())
        first = self.scalar_kernel(number, k.constant(0, int64))
        begun = k.primitive("lt", k.load(number, ()), k.constant(self.rng.randint(0, 3), int64))
        test = self.test_kernel(flag, scope, begun)
        inner = scope.inside(None)
        body = self.body(inner, depth - 1)
        advanced = k.add(k.load(number, ()), k.constant(1, int64))
        step = self.scalar_kernel(number, advanced)
        again = k.primitive("lt", k.load(number, ()), k.constant(self.rng.randint(1, 4), int64))
        return [first, test, While(flag, (*body, step, self.test_kernel(flag, inner, again)))]

    def choice(self, scope: Scope, depth: int) -> list[Instruction]:
        flag = self.buffer(bool_, ())
        test = self.test_kernel(flag, scope)
        one, other = scope.inside(None), scope.inside(None)
        then = self.body(one, depth - 1)
        otherwise = self.body(other, depth - 1) if self.rng.random() < 0.7 else ()
        return [test, If(flag, then, otherwise)]

    # -- programs ---------------------------------------------------------------------------

    def program(self) -> Program:
        inputs = [self.vector("input") for _ in range(2)]
        states = [self.vector("state") for _ in range(2)]
        scope = Scope([*inputs, *states], [])
        before = self.body(scope, 0) if self.rng.random() < 0.3 else ()
        repeats = self.rng.random() < 0.5
        inside = scope.inside(None)
        body = [i for _ in range(self.rng.randint(2, 4)) for i in self.some(inside, DEPTH)]
        outputs = [self.vector("output") for _ in range(2)]
        body += [self.into(output, inside) for output in outputs]
        body += [self.into(state, inside) for state in states]
        whole = (*before, Repeat(tuple(body))) if repeats else (*before, *body)
        # a state that is replaced is read by nobody behind it: the second reads no old value
        return Program(
            "tree", whole, order_edges(whole), tuple(self.buffers),
            tuple((b.name, b.type) for b in inputs), tuple((b.name, b.type) for b in outputs),
            ROWS if self.bounded else 1, self.bounded,
        )  # fmt: skip

    def into(self, target: Buffer, scope: Scope) -> Kernel:
        """A result, in place where it is a state."""
        known = replace(scope, vectors=[b for b in scope.vectors if b.space != "state"])
        if target.space == "state":
            known.vectors.append(target)
        else:
            known = scope
        store = Store(target, (self.k.axis(self.axis),), self.value(known, target))
        return self.kernel(Loop((), (), (store,)), axes=self.moving)


def random_tree(seed: int) -> Program:
    """A program whose kernels are in order and whose buffers have no place."""
    program = TreeMaker(seed).program()
    return replace(program, buffers=tuple(program.named_buffers()))


def apart(program: Program) -> Program:
    """The same program, each buffer in memory of its own."""

    def alone(buffer: Buffer) -> Buffer:
        return replace(buffer, offset_bytes=0) if buffer.space == "arena" else buffer

    made: dict[Buffer, Buffer] = {buffer: alone(buffer) for buffer in program.buffers}
    return replace(program.map_buffers(lambda buffer: made[buffer]), arena_bytes=0)


def shared_by_threads(program: Program, seed: int) -> Program:
    """The program with kernels that threads share, however small they are."""
    rng = random.Random(seed)

    def rule(kernel: Kernel) -> Kernel:
        nest = kernel.schedule
        if isinstance(nest, Nest) and nest.walk and rng.random() < 0.6:
            return replace(kernel, schedule=replace(nest, threads=nest.walk[0]))
        return kernel

    return program.map_kernels(rule)


def check_tree(seed: int) -> Program:
    """Every way to run a program gives the same bits; the program after all passes."""
    program = random_tree(seed)
    verify_program(program)
    verify_edges(program)
    for kernel in program.kernels():
        verify_kernel(kernel)
    text = print_program(program)
    assert print_program(parse_program(text)) == text
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.integers(-4, 5, type.shape).astype(type.dtype.numpy)
        for name, type in program.inputs
    }
    state = {
        b.name: rng.integers(-4, 5, b.type.shape).astype(b.type.dtype.numpy)
        for b in program.buffers
        if b.space == "state"
    }
    rows = int(rng.integers(1, ROWS + 1)) if program.bounded else 1
    run = {"rows": rows, "count": int(rng.integers(1, 4)) if program.steps else 1}
    planned = plan_memory(order_kernels(program))
    verify_program(planned)
    verify_plan(planned)
    final = shared_by_threads(scheduled(planned), seed)
    kept = [final]
    if program.steps and not program.bounded:
        resident = make_resident(planned)
        if resident.steps is not None and resident.steps.resident:
            kept.append(scheduled(resident))
    for form in kept:
        verify_program(form)
        wanted = run_program(apart(form), arrays, state, inexact=compiled_primitive, **run)
        if program.kernels()[0].stores[0].buffer.type.dtype.is_integer:
            _assert_same(run_program(program, arrays, state, **run), wanted, "as it was made")
        _assert_same(run_program(form, arrays, state, inexact=compiled_primitive, **run), wanted,
                     "planned")  # fmt: skip
        for threads in (1, 2):
            found = run_compiled(form, arrays, state, threads=threads, **run)
            _assert_same(found, wanted, f"compiled, {threads} threads")
    return kept[-1]


def _assert_same(
    found: tuple[Mapping[str, Array], Mapping[str, Array]],
    wanted: tuple[Mapping[str, Array], Mapping[str, Array]],
    way: str,
) -> None:
    for ours, reference in zip(found, wanted, strict=True):
        for name, array in ours.items():
            assert same_values(array, reference[name], True), f"{way}: {name} differs"


MACHINE = find_target("native").machine
