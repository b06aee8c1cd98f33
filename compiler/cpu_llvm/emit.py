"""Text LLVM IR, one function at a time.

In: calls that name an operation and its operands, in program order.
Out: `FunctionEmitter.text()`, `ModuleEmitter.text()`: IR that LLVM parses, SSA with phis.

Text because every feature of the IR is reachable and the result can be read, diffed and cached.
The emitter folds what costs nothing to fold (integer literals, constant address arithmetic) and
optimises nothing else. An operand may be a Python number: it takes the other operand's type.
A scalar beside a vector is splatted. Memory holds a bool as one byte, registers as i1: loads and
stores of type "i1" convert. No instruction gets fast-math flags unless the caller writes them.
Source: LLVM Language Reference, LLVM 22.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .emit_memory import MemoryEmitter
from .emit_module import ModuleEmitter
from .emit_values import AROUND_LOOPS, KERNEL, distance
from .values import Operand, Value, llvm_type, mangled

__all__ = [
    "AROUND_LOOPS",
    "Branch",
    "KERNEL",
    "FunctionEmitter",
    "Loop",
    "ModuleEmitter",
    "Operand",
    "Value",
    "distance",
    "llvm_type",
]


class Loop:
    """A loop while its body is emitted: `.index`, `.carried`, `.next(...)`; later `.results`."""

    def __init__(self, index: Value, carried: Sequence[Value]) -> None:
        self.index = index
        self.carried = list(carried)
        self.results: list[Value] = list(carried)
        self._next: list[Value] | None = None if carried else []
        self._again: Value | None = None

    def next(self, values: Sequence[Value], again: Value | None = None) -> None:
        """The carried values of the next trip; `again` (i1) is for `do_while` only."""
        if [v.llvm for v in values] != [v.llvm for v in self.carried]:
            got, want = [v.llvm for v in values], [v.llvm for v in self.carried]
            raise ValueError(f"a loop that carries {want} cannot go on with {got}")
        self._next, self._again = list(values), again

    def closing_values(self) -> list[Value]:
        """What the body handed to `next`. Raises ValueError if it forgot."""
        if self._next is None:
            raise ValueError("a loop with carried values needs next([...]) in its body")
        return self._next

    def closing_condition(self) -> Value:
        if self._again is None:
            raise ValueError("do_while needs next([...], again=condition) in its body")
        return self._again


class Branch:
    """Two arms while they are emitted: `give`, `otherwise`, `give`; later `.results`."""

    def __init__(self) -> None:
        self.results: list[Value] = []
        self.given: list[list[Value]] = [[]]
        self.switch_arm: Callable[[], None] = lambda: None

    def give(self, *values: Value) -> None:
        """The values of the arm being emitted; both arms give the same types."""
        self.given[-1] = list(values)

    def otherwise(self) -> None:
        """End of the first arm, start of the second."""
        self.switch_arm()


class FunctionEmitter(MemoryEmitter):
    """One function under construction: operations from the base classes, control flow here."""

    @contextmanager
    def loop(
        self,
        lo: Operand,
        hi: Operand,
        step: Operand = 1,
        carried: Sequence[Value] = (),
        guard: bool = True,
    ) -> Iterator[Loop]:
        """Counted loop `for index in range(lo, hi, step)`, i64, step > 0, tested at the bottom.

        With `guard`, zero trips are possible and checked first, unless literals show at least one.
        One constant trip is emitted without a loop.
        """
        low, high, stride = (self.operand(v, "i64") for v in (lo, hi, step))
        ends = (low.integer, high.integer, stride.integer)
        runs = ends[0] is not None and ends[1] is not None and ends[0] < ends[1]
        if runs and ends[2] is not None and ends[0] + ends[2] >= ends[1]:  # type: ignore[operator]
            once = Loop(low, carried)
            yield once
            once.results = once.closing_values()
            return
        guarded = guard and not runs
        start, body, done = self.block, self.new_label("loop"), self.new_label("done")
        if guarded:
            self.branch_if(self.compare("slt", low, high), body, done)
        else:
            self.branch(body)
        self.start_block(body)
        index = self.new_value("i64")
        phis = [self.new_value(v.type, v.lanes) for v in carried]
        place = self.reserve_line()
        state = Loop(index, phis)
        yield state
        following = self.binary("add", index, stride, "nsw")
        again = self.compare("slt", following, high)
        self._close(body, place, done, start, again, [low, *carried], state, [following])
        if guarded:
            state.results = [
                self._phi([(v, start), (r, self._latch)])
                for v, r in zip(carried, state.results, strict=True)
            ]

    @contextmanager
    def do_while(self, carried: Sequence[Value] = ()) -> Iterator[Loop]:
        """Loop that runs at least once and as long as `next(values, again=condition)` says so."""
        start, body, done = self.block, self.new_label("loop"), self.new_label("done")
        self.branch(body)
        self.start_block(body)
        phis = [self.new_value(v.type, v.lanes) for v in carried]
        place = self.reserve_line()
        state = Loop(self.operand(0, "i64"), phis)
        yield state
        self._close(body, place, done, start, state.closing_condition(), carried, state, [])

    def _close(
        self,
        body: str,
        place: int,
        done: str,
        start: str,
        again: Value,
        initial: Sequence[Value],
        state: Loop,
        counters: Sequence[Value],
    ) -> None:
        """End a loop's body: the branch back, the phis at its head, the block after it."""
        values = state.closing_values()
        self._latch = self.block
        self.branch_if(again, body, done)
        heads = ([state.index] if counters else []) + state.carried
        self.fill_line(
            place,
            [
                f"  {phi.name} = phi {phi.llvm} [ {first.name}, %{start} ], "
                f"[ {value.name}, %{self._latch} ]"
                for phi, first, value in zip(heads, initial, [*counters, *values], strict=True)
            ],
        )
        self.start_block(done)
        state.results = values

    def _phi(self, arms: Sequence[tuple[Value, str]]) -> Value:
        first = arms[0][0]
        pairs = ", ".join(f"[ {value.name}, %{block} ]" for value, block in arms)
        return self.emit(f"phi {first.llvm} {pairs}", first.type, first.lanes)

    @contextmanager
    def if_(self, condition: Value) -> Iterator[None]:
        """What is emitted inside runs when `condition` (scalar i1) holds."""
        then, done = self.new_label("then"), self.new_label("done")
        self.branch_if(condition, then, done)
        self.start_block(then)
        yield
        self.branch(done)
        self.start_block(done)

    @contextmanager
    def if_else(self, condition: Value) -> Iterator[Branch]:
        """Two arms; after the block `.results` holds what both gave, joined by phis."""
        then, other, done = (self.new_label(h) for h in ("then", "else", "done"))
        self.branch_if(condition, then, other)
        self.start_block(then)
        branch, ends = Branch(), []

        def switch_arm() -> None:
            ends.append(self.block)
            self.branch(done)
            self.start_block(other)
            branch.given.append([])

        branch.switch_arm = switch_arm
        yield branch
        if len(branch.given) == 1:
            branch.otherwise()
        ends.append(self.block)
        self.branch(done)
        self.start_block(done)
        branch.results = [
            self._phi(list(zip(pair, ends, strict=True)))
            for pair in zip(*branch.given, strict=True)
        ]

    def call_shared(
        self, name: str, function: Callable[..., Value], args: Sequence[Value]
    ) -> Value:
        """`function(f, *args)`, as a call of the module's one copy for these types and lanes."""
        widest = max(args, key=lambda a: a.lanes)
        kinds = [mangled(a.type, a.lanes) for a in args]
        symbol = ".".join(["gradc", name, *(kinds if len(set(kinds)) > 1 else kinds[:1])])

        def build() -> FunctionEmitter:
            parameters = [(a.llvm, f"x{i}") for i, a in enumerate(args)]
            body = FunctionEmitter(symbol, parameters, widest.llvm, "internal", AROUND_LOOPS)
            body.ret(function(body, *(body.parameter(i) for i in range(len(args)))))
            return body

        return self.call_helper(widest, symbol, args, build)

    def reduce_lanes(self, value: Value, combine: Callable[[Value, Value], Value]) -> Value:
        """All lanes combined into a scalar: lane i with lane i + n/2, halving until one is left.

        The tree is the same on every target and for every width, hence so are the bits.
        """
        while value.lanes > 1:
            half, odd = divmod(value.lanes, 2)
            if odd:
                raise ValueError(f"reduce_lanes needs a power of two lanes, not {value.llvm}")
            if half == 1:
                return combine(self.extract(value, 0), self.extract(value, 1))
            low = self.shuffle(value, None, range(half))
            high = self.shuffle(value, None, range(half, 2 * half))
            value = combine(low, high)
        return value
