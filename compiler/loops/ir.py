"""The loop level: one kernel is parallel axes around a sequence of inner loops.

    kernel    ::= "kernel" name [ string ] [ "flops" number ]
                  "{" { "parallel" axis } [ "when" scalar ] { loop } [ schedule ] "}"
    axis      ::= name "in" integer [ "bounded" [ integer ] ]       the integer: points per row
    loop      ::= "loop" [ axis { "," axis } ] [ "between" scalar "," scalar | "running" ]
                  [ order ] "{" { let } { reduction } { store } "}"
    let       ::= "let" "%" name "=" scalar
    reduction ::= "%" name "=" combiner "(" scalar ")" ":" dtype
    store     ::= [ "accumulate" ] element "=" scalar [ "counting" element ]
    element   ::= "%" buffer "[" [ scalar { "," scalar } ] "]"
    scalar    ::= constant | axis name | counter name | "rows" | "%" name | element
                | primitive "(" scalar { "," scalar } ")" [ ":" dtype ]
    constant  ::= number [ ":" dtype ] | "true" | "false"           i64 if no dtype is named
    buffer    ::= "buffer" "%" name ":" type "in" space [ "at" integer ] [ "slot" integer ]
                  [ "order" integers ] [ "strips" integer ]
                  [ "strides" integers "from" integer "size" integer ]
                  [ "hex" string ]
    counter   ::= "counter" axis

A kernel as text of its own has the buffers and counters that it names before it. The primitives are
those of primitives.py, the combiners those of combiners.py. A primitive has the dtype of its last
operand (a predicate bool) unless another is written; a cast always names it. `%` names a let, a
reduction or, before `[`, a buffer. A name that is no word stands in quotes: %"0.weight".

For every point of the parallel axes (in any order, on any thread) the loops run one after the
other. A loop without axes runs once. Its reductions start at the combiner's identity; their values
are read by name in *later* loops, or, in a `running` loop, by its own stores: the inclusive
partial result so far. A store has an element for each point, of its loop for each of the values.
Where two points would share one, the kernel is refused: by the verifier if steps along axes show it
(one_to_one.py), else by the evaluator if the values differ. An accumulating store adds to what is
there, at an index of which the verifier has to see that no two points of the parallel axes share
it: they would add at the same time.

An axis marked `bounded` has a static maximum, and runs to `rows`, a number known at run time. A
loop `between` two numbers walks its one axis from the first of them up to, and without, the second:
both lie in 0 .. extent, or the evaluator refuses the kernel. Of the points of the parallel axes, a
kernel `when` something holds walks those where it does: elsewhere it computes and stores nothing.

A `counting` store says where to by a count in memory, and counts: its points take turns, and each
of them, when it has stored, adds one to the element that it names, a whole number that an index of
the store is made of. So what goes to the places from a count on goes there one after the other:

    %order[cast(%next[%key[i]]) : i64] = i counting %next[%key[i]]

A counter is the axis of a loop of the program that the kernel is in (program/ir.py): one number,
the same at all points, while a kernel runs.

The order of a sum decides its bits, so it is written on the loop: see schedule.py for `order` and
`schedule`. Neither is there before choose_schedule.

A scalar expression is a DAG of `Scalar`s, made by `build.ScalarBuilder`, which makes equal
expressions one object: they compare by identity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, assert_never, get_args

from ..artifact import LINE_BYTES
from ..errors import VerifyError
from ..types import DType, TensorType, int64
from .combiners import Combiner
from .index_form import NOTHING_KNOWN, IndexForm, index_form
from .schedule import Order, Schedule

PAGE_BYTES = 4_096


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the elements of a buffer lie: a physical order of its logical axes, densely packed.

    order            logical axes, outermost first; (0, 1) is row-major, (1, 0) its transpose
    strides          per logical axis, in elements
    offset           of element zero, in elements (a halo before it)
    size_elements    all that is allocated
    strip            points of the innermost axis in a strip; 0: there are no strips

    A layout in strips has all that belongs to the first `strip` points of its innermost axis first,
    then the next strip: f32[96, 5] with order (1, 0) and strips of 32 lies as [3][5][32]. Its
    strides are those without strips: what follows from the order of the axes, as runs and the
    orders of sums do, is the same with them and without. Where an element lies is for address.py.
    """

    order: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    size_elements: int
    strip: int = 0


def dense_layout(
    shape: tuple[int, ...], order: tuple[int, ...] | None = None, strip: int = 0
) -> Layout:
    """A layout without gaps; row-major if no order is given."""
    order = tuple(range(len(shape))) if order is None else order
    strides = [0] * len(shape)
    size = 1
    for axis in reversed(order):
        strides[axis] = size
        size *= shape[axis]
    return Layout(order, tuple(strides), 0, size, strip)


def spaced_layout(shape: tuple[int, ...], size_bytes: int) -> Layout:
    """Row-major; with a cache line between rows that would lie a multiple of a page apart.

    size_bytes   of an element
    Rows so far apart would all be in the same few places of a first-level cache, and what reads
    several of them at once, as a register tile does, would find none there.
    """
    dense = dense_layout(shape)
    row_bytes = shape[-1] * size_bytes if shape else 0
    rows = dense.size_elements // shape[-1] if row_bytes else 0
    if rows < 2 or row_bytes % PAGE_BYTES:
        return dense
    extents = (*shape[:-1], shape[-1] + LINE_BYTES // size_bytes)
    return dense_layout(extents)


Space = Literal["arena", "state", "input", "output", "constant", "order", "call", "counter"]
"""Where a buffer is; see Buffer."""

SPACES: tuple[Space, ...] = get_args(Space)
FAR_BYTES = 2**35
"""2^32 numbers of eight bytes; see Buffer.is_far."""


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory that a kernel reads or writes.

    space   "arena"    scratch, at `offset_bytes` in the arena once the plan is made
            "state"    in the state block at `offset_bytes`
            "input"    `inputs[slot]` of the argument struct
            "output"   `outputs[slot]`, moving on by one iteration's bytes per iteration
            "constant" part of the code: `content`, row-major; or, if large, `constants[slot]`
            "order"    the iteration's sample numbers
            "call"     one number, `slot`, that differs from call to call of one piece of code; in
                       no program (canonical.py)
            "counter"  where loop number `slot` around the kernel stands, the outermost first; in no
                       program either
    type    element type and maximum shape; named extents are replaced by their maximum, except
            for a data set's number of samples, which no address depends on (its extent is 0)
    Raises VerifyError if there is no such space.
    """

    name: str
    type: TensorType
    layout: Layout
    space: Space
    slot: int = 0
    offset_bytes: int = 0
    content: bytes = b""

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise VerifyError(f"buffer {self.name} is in unknown space {self.space!r}")

    @property
    def is_writable(self) -> bool:
        """Whether kernels store there."""
        match self.space:
            case "arena" | "state" | "output":
                return True
            case "input" | "constant" | "order" | "call" | "counter":
                return False
            case _:
                assert_never(self.space)

    @property
    def is_in_block(self) -> bool:
        """Whether it lies at `offset_bytes` of the arena or the state block."""
        match self.space:
            case "arena" | "state":
                return True
            case "input" | "output" | "constant" | "order" | "call" | "counter":
                return False
            case _:
                assert_never(self.space)

    @property
    def is_far(self) -> bool:
        """Whether it lies so far from the start of its block that code has to be told: calls say
        where buffers are in numbers of 32 bits."""
        return self.is_in_block and self.offset_bytes >= FAR_BYTES

    @property
    def begins_empty(self) -> bool:
        """Whether it holds nothing of use when an iteration begins: its kernel writes it first."""
        match self.space:
            case "arena" | "output":
                return True
            case "state" | "input" | "constant" | "order" | "call" | "counter":
                return False
            case _:
                assert_never(self.space)

    @property
    def size_bytes(self) -> int:
        """All that is allocated for the buffer."""
        return self.layout.size_elements * self.type.dtype.size_bytes

    def __repr__(self) -> str:
        return f"<buffer {self.name} : {self.type} in {self.space}>"


@dataclass(frozen=True, eq=False)
class Axis:
    """One loop axis, from 0 to `extent`; where `bounded`, to the run-time `rows` * `per_row`."""

    name: str
    extent: int
    bounded: bool = False
    per_row: int = 1

    @property
    def moves(self) -> bool:
        """Whether it has more than one point, or is not known to: else its index is 0."""
        return self.extent != 1 or self.bounded

    def __repr__(self) -> str:
        return f"<{self.name} in {self.extent}{' bounded' if self.bounded else ''}>"


def points_of(axes: Iterable[Axis]) -> int:
    """The number of points of all these axes together, at most."""
    return math.prod(axis.extent for axis in axes)


@dataclass(frozen=True, eq=False)
class Scalar:
    """One scalar expression; interned by the builder that made it.

    op     a primitive, or "constant" (payload: Python number), "axis" (payload: Axis), "counter"
           (payload: the Axis of a loop around the kernel, which is none of `axes`), "rows",
           "load" (payload: Buffer; args: one index per axis), "reduced" (payload: reduction name)
    form   of an i64: its range and its steps along the axes; see index_form.py
    """

    op: str
    args: tuple[Scalar, ...]
    dtype: DType
    payload: Any = None
    axes: frozenset[Axis] = field(default=frozenset(), repr=False)
    reduced: frozenset[str] = field(default=frozenset(), repr=False)
    form: IndexForm = field(init=False, default=NOTHING_KNOWN, repr=False)

    def __post_init__(self) -> None:
        if self.dtype is int64:
            object.__setattr__(self, "form", index_form(self.op, self.args, self.payload))


@dataclass(frozen=True, eq=False)
class Reduction:
    """`name` becomes the combination of `value` over the loop's axes."""

    name: str
    combiner: Combiner
    value: Scalar
    dtype: DType

    @property
    def is_rounded(self) -> bool:
        """Whether it adds or multiplies floats."""
        return self.combiner.rounds(self.value.dtype)

    @property
    def partial_dtype(self) -> DType:
        """The dtype of partial results."""
        return self.combiner.partial_dtype(self.value.dtype)

    @property
    def factors(self) -> tuple[Scalar, ...]:
        """What is combined at each point: the term, or what it is the product of."""
        return (self.value,) if self.combiner.factors == 1 else self.value.args


@dataclass(frozen=True, eq=False)
class Store:
    """`buffer[index] = value`, or `+=` where `accumulate`.

    counting   the load of a number that an index is made of, which is raised by one afterwards
    """

    buffer: Buffer
    index: tuple[Scalar, ...]
    value: Scalar
    accumulate: bool = False
    counting: Scalar | None = None

    @property
    def takes_turns(self) -> bool:
        """Whether it reads what the points before it have written."""
        return self.accumulate or self.counting is not None

    @property
    def written(self) -> tuple[Buffer, ...]:
        """The buffers that it writes."""
        return (self.buffer,) if self.counting is None else (self.buffer, self.counting.payload)


@dataclass(frozen=True, eq=False)
class Loop:
    """One inner loop; see the module docstring. `order` is None until one is chosen.

    between   where its one axis begins and ends; None: it is walked from 0 to its extent
    """

    axes: tuple[Axis, ...]
    reductions: tuple[Reduction, ...] = ()
    stores: tuple[Store, ...] = ()
    running: bool = False
    order: Order | None = None
    between: tuple[Scalar, Scalar] | None = None

    @property
    def roots(self) -> list[Scalar]:
        """The expressions that the loop computes, in the order of its lines."""
        return [*(self.between or ()), *self.inner_roots]

    @property
    def inner_roots(self) -> list[Scalar]:
        """Those that it computes at each of its points."""
        stored = [s for store in self.stores for s in (*store.index, store.value, *_counts(store))]
        return [r.value for r in self.reductions] + stored

    @property
    def loads(self) -> tuple[Scalar, ...]:
        """Every load in them once, operands first."""
        seen: set[Scalar] = set()
        return tuple(s for root in self.roots for s in walk(root, seen) if s.op == "load")


@dataclass(frozen=True, eq=False)
class Kernel:
    """One kernel: parallel axes, then loops in order.

    description   for people: the operations in it
    schedule      how it is run; None until it is chosen
    when          which points of the parallel axes are walked, a bool; None: all of them
    """

    name: str
    axes: tuple[Axis, ...]
    loops: tuple[Loop, ...]
    description: str = ""
    flops: float = 0.0
    schedule: Schedule | None = None
    when: Scalar | None = None

    def run_as(self, model: Kernel) -> Kernel:
        """The kernel with the orders and the schedule of another with loops alike.

        It computes what it did: what has been found of that by now stays found.
        """
        pairs = zip(self.loops, model.loops, strict=True)
        loops = tuple(replace(loop, order=other.order) for loop, other in pairs)
        result = replace(self, loops=loops, schedule=model.schedule)
        result.__dict__.update({n: found for n, found in vars(self).items() if n in _FOUND})
        return result

    @cached_property
    def scalars(self) -> tuple[Scalar, ...]:
        """Every scalar expression once, operands first.

        Found once, as what follows from it: every pass over programs asks for it several times.
        """
        seen: set[Scalar] = set()
        return tuple(s for root in self.roots for s in walk(root, seen))

    @property
    def roots(self) -> list[Scalar]:
        """The expressions that it computes, in the order of its lines."""
        return [*self.guards, *(root for loop in self.loops for root in loop.roots)]

    @property
    def guards(self) -> tuple[Scalar, ...]:
        """Which points are walked, if not all."""
        return () if self.when is None else (self.when,)

    @cached_property
    def loads_by_loop(self) -> tuple[tuple[Scalar, ...], ...]:
        """The loads of each loop; with those of the first, what says which points are walked."""
        seen: set[Scalar] = set()
        guards = tuple(s for root in self.guards for s in walk(root, seen) if s.op == "load")
        own = [loop.loads for loop in self.loops]
        return tuple((*guards, *loads) if n == 0 else loads for n, loads in enumerate(own))

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """What says, point by point of the parallel axes, what is walked there."""
        return (*self.guards, *(end for loop in self.loops for end in loop.between or ()))

    @cached_property
    def loads(self) -> tuple[Scalar, ...]:
        return tuple(s for s in self.scalars if s.op == "load")

    @cached_property
    def stores(self) -> tuple[Store, ...]:
        return tuple(store for loop in self.loops for store in loop.stores)

    @cached_property
    def reads(self) -> tuple[Buffer, ...]:
        """Buffers read, each once; an accumulating store reads too."""
        found = [s.payload for s in self.loads]
        found += [s.buffer for s in self.stores if s.accumulate]
        return tuple(dict.fromkeys(found))

    @cached_property
    def writes(self) -> tuple[Buffer, ...]:
        return tuple(dict.fromkeys(b for store in self.stores for b in store.written))

    @cached_property
    def buffers(self) -> tuple[Buffer, ...]:
        """Every buffer that is read or written, once, in order of appearance."""
        return tuple(dict.fromkeys(self.reads + self.writes))

    @cached_property
    def counters(self) -> tuple[Axis, ...]:
        """The axes of loops around the kernel that it reads, once, in order of appearance."""
        return tuple(dict.fromkeys(s.payload for s in self.scalars if s.op == "counter"))


def _counts(store: Store) -> tuple[Scalar, ...]:
    return () if store.counting is None else (store.counting,)


_FOUND = (
    "scalars", "loads", "loads_by_loop", "stores", "reads", "writes", "buffers", "counters",
)  # fmt: skip
"""What is found of a kernel and does not depend on how it is run."""


def walk(root: Scalar, seen: set[Scalar]) -> Iterator[Scalar]:
    """`root` and what it is made of, operands first, skipping what `seen` holds."""
    stack: list[Scalar | None] = [root]
    while stack:
        scalar = stack.pop()
        if scalar is None:  # stands on a scalar whose operands are done
            done = stack.pop()
            assert done is not None
            yield done
        elif scalar not in seen:
            seen.add(scalar)
            if scalar.args:
                stack += (scalar, None)
                stack += scalar.args[::-1]
            else:
                yield scalar
