"""How a kernel is run: the order of its sums, which decides bits, and its schedule, which does not.

    order     ::= "order" run { "," run } [ "as" "one" ] [ "lanes" integer ]
                  [ "blocks" integer "of" run ] [ "wide" ]
    run       ::= axis name { "*" axis name }
    schedule  ::= "schedule" "nest" "{" { run line } "}" | "schedule" "tiles" "{" { tile line } "}"
                | "schedule" "grid" "{" { grid line } "}"
                | "schedule" "products" "{" { product line } "}" | "schedule" "unrolled"

    schedule nest {              schedule tiles {
      walk i0, i1 * i2             outer i0   rows i1   columns i2   terms k0, k1
      vector i1 * i2 by 64         tile 13 x 32 by 16
      abreast i0                   a in place   b packed rows
      ahead 2 of i0                blocks 5 x 8 x 784   each strip
      threads i0                   threads i2
    }                            }

On a machine that runs thousands of threads, programs share a kernel:

    schedule grid {              schedule products {
      walk i0, i1                  outer i0   rows i1   columns i2   terms k0, k1
      block 4 x 256                tile 64 x 64 x 32 ieee
      warps 4                      warps 4   stages 3
    }                            }

    In a persistent loop (passes/make_persistent.py) one block takes a kernel's programs one after
    the other: the warps of all its kernels are those of the block, and products have one stage.

    Rows of tiles may be those of several banks: `rows i1 over i0`. Columns may be those of several
    groups, with what they share inside a group spread over its lanes: `columns i2 * i3 spread k1`.

An `Order` stands on every loop that has axes, a schedule on every kernel; choose_schedule writes
both. The order follows from the kernel alone, from its shapes, dtypes and layouts, and from whether
it stands in a resident loop, where sums are in order. No machine decides it, beyond what machine.py
says of which nodes share a kernel; who runs a kernel obeys it, the evaluators too. The schedule
follows from a description of the machine (machine.py) and changes no bit. A back end refuses a
kernel without a schedule, and one whose schedule it cannot follow.

**Runs.** Neighbouring axes that every address steps through as one are one run, a longer axis, so
that a small inner extent does not cut vectors short. A run is named by its axes; its points are
counted with the last axis fastest.

**Order.** With one lane the points of a loop are combined one after the other, the last axis
fastest. With 16 lanes, lane l takes the points l, l + 16, ... of the last run, for each point of
the runs before it; at the end the lanes are combined as a binary tree of halves: lane i with lane
i + 8, then i + 4, ... A lane without a point holds the combiner's identity. Float sums and products
that are long are cut into blocks: `blocks 8 of i1` ends one after 8 points of that run (8 of each
lane, if the run has lanes), with all points of the runs behind it. A block is combined from the
identity in the dtype of partial results (float32 where terms have 16 bits; see combiners.py), and
what it comes to is added to, or multiplied with, a float64.
A running sum or product stores every partial result; where `wide`, it is a float64 throughout, and
what its stores read is rounded. The runs of a loop `as one` are one sequence of points, the last
fastest: lanes and blocks are of all of it. Lanes are 16, but for a grid, where they are any power
of two; there the tree over lanes is the hardware's, the same each time on one kind of GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, assert_never

LANES = 16
"""Of an order that has any."""

FEWEST_LANES = 4
"""Of a vector along parallel axes, whose lanes do not meet: any power of two from here on."""

SHORT_STEPS = (2, 3, 4)
"""Lanes so many elements apart are picked out of whole vectors, or put among the lanes of others:
that is faster than one address a lane as long as the vectors hold few other elements."""

Run = tuple[str, ...]
"""Names of neighbouring axes that are walked as one, the outermost first."""

AxisNames = Mapping[str, str]
"""Other names for axes; those that are missing keep their own."""


def renamed_run(run: Run, names: AxisNames) -> Run:
    return tuple(names.get(name, name) for name in run)


def renamed_runs(runs: tuple[Run, ...], names: AxisNames) -> tuple[Run, ...]:
    return tuple(renamed_run(run, names) for run in runs)


@dataclass(frozen=True)
class SumBlock:
    """Where a nest of runs is cut into blocks.

    position  number of the run that is cut
    points    of that run in a block; with all points of the runs inside it
    """

    position: int
    points: int


@dataclass(frozen=True)
class Order:
    """In which order the points of a loop are combined; see the module docstring.

    runs    all axes of the loop, in order
    lanes   partial results along the last run: 1 or LANES
    block   how long float sums and products are cut; None: they are one block
    wide    in a running loop, whether float sums and products are float64 throughout
    as_one  whether lanes and blocks are of all runs together, as of one; a block's position is 0
    """

    runs: tuple[Run, ...]
    lanes: int = 1
    block: SumBlock | None = None
    wide: bool = False
    as_one: bool = False

    def renamed(self, names: AxisNames) -> Order:
        """The same order where axes have other names."""
        return replace(self, runs=renamed_runs(self.runs, names))


@dataclass(frozen=True)
class Ahead:
    """What is fetched early: the rows that are read so many points of a run later. Where the run is
    outside of the vectorised one, those that data say; where it is a loop's, those pages apart."""

    points: int
    run: Run


@dataclass(frozen=True)
class Nest:
    """A nest of loops, one run of which is vectorised.

    walk     the parallel axes as runs, from the outside in
    vector   the run that has lanes: one of `walk`, or the last run of the inner loops; or None
    width    lanes along it
    ahead    how far ahead rows are fetched, of a run of `walk` outside of it or the last run of a
             loop inside of it; None: they are not
    threads  the run of `walk` whose points threads share; None: thread 0 takes all of them
    abreast  the innermost of `walk`, if the sums of LANES of its points, whose lanes run along the
             inner loop, are combined together; None: each by itself
    """

    walk: tuple[Run, ...]
    vector: Run | None
    width: int
    ahead: Ahead | None
    threads: Run | None
    abreast: Run | None = None

    def parallel_runs(self) -> tuple[Run, ...]:
        return self.walk

    @property
    def is_shared(self) -> bool:
        """Whether all threads take part; otherwise thread 0 does all of it."""
        return self.threads is not None


STRIP = 32
"""Points of a strip, where an array lies in strips: the columns of the widest register tile, which
those of all others divide."""

MOST_ROWS = 16
"""Of a register tile; where it is two vectors wide, 14: their sums and the operands take 31 of 32
registers."""

PACKED_ROWS, PACKED_COLUMNS = 16, 8
"""What is packed by rows or by columns is a multiple of these wide along the tile. Every register
tile has a multiple of PACKED_COLUMNS."""


@dataclass(frozen=True)
class Staging:
    """How tiles get at an operand of a product.

    kind   "in place"  read where it lies, by its steps along the tile and along the terms
           "packed"    copied before into panels or strips: rows (its elements lie together along
                       the tile), columns (along the terms) or any
           "copied"    of operand `a`, whose terms lie together: row after row, which then lie apart
                       as the first-level cache likes it
           "computed"  packed by evaluating an expression: a prologue
    """

    kind: Literal["in place", "packed rows", "packed columns", "packed any", "copied", "computed"]


@dataclass(frozen=True)
class Tiles:
    """A product in register tiles: the sums of one are in registers while a block's terms pass by.

    outer     parallel axes that are walked around the tiles, from the outside in
    rows      the run along which a tile has rows: those of operand `a`
    over      another run of `a`, or None: its points are banks of rows, each with tiles of its own,
              which are walked as one after the other; in the blocks, where `outer` is around them
    columns   the run along which a tile has vectors: those of operand `b`, and of the results;
              `a` may be either operand of the product
    spread    None; or, where the columns are groups of a few, each with elements of `a` of its own,
              the run along which these lie together, as many as a group has columns: rows, or the
              last of the terms; or the columns, each a group of its own. Its elements are read in
              vectors, beside the columns' own
    terms     the runs that are summed over, the outermost first
    tile      rows and columns of one tile
    lanes     elements to a register
    blocks    tiles, strips and terms that are worked on between two rounds of packing; the terms
              are whole blocks of the sum, or all of them
    each      what the outer of the two loops walks: "strip" or "tile"
    threads   the run whose strips, tiles or points threads share; None: thread 0 does all of it
    """

    outer: tuple[Run, ...]
    rows: Run
    over: Run | None
    columns: Run
    spread: Run | None
    terms: tuple[Run, ...]
    tile: tuple[int, int]
    lanes: int
    a: Staging
    b: Staging
    blocks: tuple[int, int, int]
    each: Literal["strip", "tile"]
    threads: Run | None

    def parallel_runs(self) -> tuple[Run, ...]:
        banks = () if self.over is None else (self.over,)
        return (*self.outer, self.rows, *banks, self.columns)

    @property
    def is_shared(self) -> bool:
        """Whether all threads take part; otherwise thread 0 does all of it."""
        return self.threads is not None


@dataclass(frozen=True)
class Grid:
    """Programs on a GPU, each with some of the points of a kernel.

    walk    the parallel axes as runs, from the outside in: all points, the last run fastest
    points  that follow each other in the walk, and which one program has side by side
    terms   of a loop that it has side by side, beside each of these points, at most; both are
            powers of two
    warps   of threads that share a program
    """

    walk: tuple[Run, ...]
    points: int
    terms: int
    warps: int

    def parallel_runs(self) -> tuple[Run, ...]:
        return self.walk

    @property
    def is_shared(self) -> bool:
        """Whether all threads take part."""
        return True


Precision = Literal["ieee", "tf32", "tf32x3"]
"""How products of float32 are made: as written; in tensor cores, of operands that are cut to 11
bits; in tensor cores, as three such products."""


@dataclass(frozen=True)
class Products:
    """A product on a GPU: each program has a tile of the results.

    outer      parallel axes that no tile has two points of
    rows       the runs that operand `a` has alone, as one, the last fastest; and so
    columns    those of operand `b`, and
    terms      the runs that are summed over
    tile       rows, columns and terms that a program has side by side: powers of two
    precision  of products of float32
    warps      of threads that share a program
    stages     of terms that are on their way at once
    """

    outer: tuple[Run, ...]
    rows: tuple[Run, ...]
    columns: tuple[Run, ...]
    terms: tuple[Run, ...]
    tile: tuple[int, int, int]
    precision: Precision
    warps: int
    stages: int

    def parallel_runs(self) -> tuple[Run, ...]:
        return (*self.outer, *self.rows, *self.columns)

    @property
    def is_shared(self) -> bool:
        """Whether all threads take part."""
        return True


@dataclass(frozen=True)
class Unrolled:
    """Every point written out as straight-line code, for one thread: in a resident loop."""

    def parallel_runs(self) -> tuple[Run, ...]:
        """None: each axis is walked by itself."""
        return ()

    @property
    def is_shared(self) -> bool:
        """Whether all threads take part: never."""
        return False


Schedule = Nest | Tiles | Grid | Products | Unrolled


def renamed_schedule(schedule: Schedule, names: AxisNames) -> Schedule:
    """The same schedule where axes have other names."""
    match schedule:
        case Nest():
            return replace(
                schedule,
                walk=renamed_runs(schedule.walk, names),
                vector=None if schedule.vector is None else renamed_run(schedule.vector, names),
                ahead=None
                if schedule.ahead is None
                else Ahead(schedule.ahead.points, renamed_run(schedule.ahead.run, names)),
                threads=None if schedule.threads is None else renamed_run(schedule.threads, names),
                abreast=None if schedule.abreast is None else renamed_run(schedule.abreast, names),
            )
        case Tiles():
            return replace(
                schedule,
                outer=renamed_runs(schedule.outer, names),
                rows=renamed_run(schedule.rows, names),
                over=None if schedule.over is None else renamed_run(schedule.over, names),
                columns=renamed_run(schedule.columns, names),
                spread=None if schedule.spread is None else renamed_run(schedule.spread, names),
                terms=renamed_runs(schedule.terms, names),
                threads=None if schedule.threads is None else renamed_run(schedule.threads, names),
            )
        case Grid():
            return replace(schedule, walk=renamed_runs(schedule.walk, names))
        case Products():
            return replace(
                schedule,
                outer=renamed_runs(schedule.outer, names),
                rows=renamed_runs(schedule.rows, names),
                columns=renamed_runs(schedule.columns, names),
                terms=renamed_runs(schedule.terms, names),
            )
        case Unrolled():
            return schedule
        case _:
            assert_never(schedule)


def on_one_thread(schedule: Schedule) -> Schedule:
    """The same schedule, of which thread 0 does all; itself if it knows no threads."""
    match schedule:
        case Nest() | Tiles():
            return replace(schedule, threads=None)
        case Grid() | Products() | Unrolled():
            return schedule
        case _:
            assert_never(schedule)
