"""How many rows and columns the register tile of a contraction has.

In: a contraction, the order of its sums, a machine. Out: rows and columns, and why.

A tile is about as large as can be without spilling: an element of `a` and each vector of `b` take a
register besides the sums. Of the shapes that are as fast for each sum the one is taken whose last
tiles have the fewest rows and columns to do again, or to leave empty.
"""

from __future__ import annotations

from ..loops.contraction import Contraction
from ..loops.ir import PAGE_BYTES
from ..loops.runs import WalkedRun
from ..loops.schedule import LANES, MOST_ROWS, PACKED_COLUMNS, Order
from ..machine import Machine
from .chosen import Choice
from .operand_steps import FIRST_LEVEL, SECOND_LEVEL, steps_of

FEW_ROWS = 160
ROWS_FOR_ONE = 14
"""Of so many rows that a tile may have, it may do without one where M is divided better: that costs
less than a fiftieth of its speed."""
SPREAD_COLUMNS, SPREAD_ROWS = 16, 14
"""Of a tile whose columns are groups: those of one vector, or of several narrow ones, and its rows
times these."""
FEWEST_SUMS = 8
"""In a tile: so many FMAs are under way at once."""
CALL_CYCLES, TILE_CYCLES = 100, 10
"""About what a call of several tiles takes, with its epilogue, and a tile beside its terms."""
WIDE_BYTES = 64
CROWDED_ROWS, CROWDED_VECTORS = 6, 4
"""Where rows of `a` share sets of the first-level cache: few rows, about as many sums as else."""
NEAR_VECTOR, FAR_VECTOR = 1.04, 1.3
"""What a sum costs in a tile of one vector: strips are twice as many; and where `a` or `b` come
from beyond the second-level cache, each element of `a` is read for one vector, and nothing is
fetched meanwhile. Measured on Zen 4, 16 x 16 against 13 x 32."""

Shape = Choice[tuple[int, int]]


def choose_shape(
    c: Contraction, order: Order, machine: Machine, spread: WalkedRun | None, over: WalkedRun | None
) -> Shape:
    """Rows and columns of the tile of a contraction.

    spread   what a group's columns share, as in `Tiles`; None: columns are no groups
    over     the run whose points are banks of rows, as in `Tiles`
    """
    return _ShapeChooser(c, order, machine, spread, over).chosen()


def lanes_of(c: Contraction, machine: Machine, spread: WalkedRun | None) -> int:
    """Lanes of a tile's vectors: all, or half of those of 64 bytes, if all columns fit. There are
    machines that take half the time for half a vector, and none that takes longer."""
    lanes = machine.vector_bytes // c.dtype.size_bytes
    is_half = machine.vector_bytes == WIDE_BYTES and c.columns.extent <= lanes // 2
    return lanes // 2 if is_half and spread is None else lanes


class _ShapeChooser:
    """Chooses for one contraction."""

    def __init__(
        self, c: Contraction, order: Order, machine: Machine, spread: WalkedRun | None,
        over: WalkedRun | None,
    ) -> None:  # fmt: skip
        self.c, self.order, self.spread, self.over = c, order, spread, over
        self.registers = machine.vector_registers
        self.lanes = lanes_of(c, machine, spread)
        self.is_wide = machine.vector_bytes == WIDE_BYTES

    def chosen(self) -> Shape:
        if self.spread is not None:
            return self._spread_tile()
        if self._rows_crowd():
            tile = CROWDED_ROWS, CROWDED_VECTORS * self.lanes
            return Choice(tile, "more rows would share few sets of the first-level cache")
        vectors = self._vectors()
        rows = self._rows(vectors)
        extent = self.c.rows.extent
        parts = -(-extent // rows)
        even = "even " if rows == self._evenly(vectors) else ""
        split = f"{extent} rows in {parts} {even}parts" if parts > 1 else "all rows at once"
        fit = f"{self._most_rows(vectors)} rows of {vectors} vectors fit {self.registers} registers"
        if vectors == 1:
            few = self.c.columns.extent <= self.lanes
            fit = "all columns in a vector" if few else "tiles of one vector divide better"
        joint = "; " if vectors > 1 or self.c.columns.extent > self.lanes else ", "
        return Choice((rows, vectors * self.lanes), f"{split}{joint}{fit}")

    # -- rows -------------------------------------------------------------------------------

    def _most_rows(self, vectors: int) -> int:
        """That fit the registers, of so many vectors."""
        return min(MOST_ROWS, (self.registers - 1 - vectors) // vectors)

    def _evenly(self, vectors: int) -> int:
        """Rows of as few tiles as can be, all of one height."""
        extent = self.c.rows.extent
        return -(-extent // -(-extent // self._most_rows(vectors)))

    def _rows(self, vectors: int) -> int:
        """So many that the last tile along M has the fewest rows to do again."""
        extent, most = self.c.rows.extent, self._most_rows(vectors)
        if self.over is not None:
            heights = range(1, min(most, extent) + 1)
            return min(heights, key=lambda rows: self._cycles(rows, vectors))
        near = range(most - most // ROWS_FOR_ONE, most + 1)
        choices = [self._evenly(vectors), *(rows for rows in near if rows <= extent)]
        return min(choices, key=lambda rows: (-(-extent // rows) * rows, -rows))

    def _cycles(self, rows: int, vectors: int) -> float:
        """About how many cycles a bank takes in tiles of so many rows, whose last one does again
        what the one before has done, and is a call of its own: a term is FMAs or loads, two of
        either in a cycle."""
        extent = self.c.rows.extent
        terms = min(self.c.block_terms(self.order), self.c.depth)
        busy = max(rows * vectors, rows + vectors, FEWEST_SUMS) / 2
        calls = 2 if extent % rows else 1
        return -(-extent // rows) * (busy * terms + TILE_CYCLES) + calls * CALL_CYCLES

    def _rows_crowd(self) -> bool:
        """Whether lines of the rows of a usual tile would hardly fit the sets that they share, and
        a tile of few rows and four vectors can read `a` where it lies instead: of many rows, where
        copying them has to be done for one block of `b` after the other."""
        c, rows, columns = self.c, CROWDED_ROWS, CROWDED_VECTORS * self.lanes
        if not self.is_wide or self.over is not None or len(c.dots) > 1:
            return False
        if c.rows.bounded or c.columns.bounded or c.columns.extent % columns:
            return False
        (dot,) = c.dots
        a = steps_of(c, self.order, dot.a, c.rows, rows)
        b = steps_of(c, self.order, dot.b, c.columns, columns)
        if isinstance(a, str) or isinstance(b, str) or not a.is_even or a.by_term != 1:
            return False
        fit = FIRST_LEVEL.lines_at(a.by_part * c.dtype.size_bytes)
        return c.rows.extent > FEW_ROWS and 2 * MOST_ROWS > fit

    # -- columns ----------------------------------------------------------------------------

    def _vectors(self) -> int:
        """Vectors of a tile's columns: two, or where registers hold other tiles too, as many as
        leave the fewest lanes and rows without a sum of their own."""
        if not self.is_wide or self.lanes != LANES:
            filled = -(-self.c.columns.extent // PACKED_COLUMNS) * PACKED_COLUMNS
            return min(max(2, LANES // self.lanes), max(1, filled // self.lanes))
        near = self._stays_near()
        if self.c.columns.extent % (2 * LANES) == 0 and not near:
            return 2  # an array in strips has whole ones
        cost = {1: NEAR_VECTOR if near else FAR_VECTOR, 2: 1.0, 3: 1.0}
        extent = self.c.columns.extent

        def sums(vectors: int) -> float:
            """That all tiles have, those that are not needed too."""
            rows = 1
            if near:
                rows = -(-self.c.rows.extent // self._rows(vectors)) * self._rows(vectors)
            return cost[vectors] * rows * vectors * -(-extent // (vectors * LANES))

        return min((2, 3, 1), key=sums)

    def _stays_near(self) -> bool:
        """Whether both operands of a product stay in the second-level cache. Not where tiles fetch
        what is read next, which those of one vector do not: of a state that is updated, and of rows
        of `b` that lie whole pages apart."""
        c = self.c
        if c.updates or self.over is not None or len(c.dots) > 1:
            return False
        b = steps_of(c, self.order, c.dots[0].b, c.columns, LANES)
        size = c.dtype.size_bytes
        if not isinstance(b, str) and (b.in_strips or b.by_term * size % PAGE_BYTES == 0):
            return False
        bytes_of_both = c.depth * (c.rows.extent + c.columns.extent) * size
        return bytes_of_both <= SECOND_LEVEL.way_bytes * SECOND_LEVEL.ways

    # -- groups -----------------------------------------------------------------------------

    def _spread_tile(self) -> Shape:
        """Each row's own vectors are spread in registers, beside its sums."""
        c, vectors = self.c, SPREAD_COLUMNS // self.lanes
        if self.spread is c.columns:
            return self._tile_of_groups_of_one()
        size = c.columns.axes[-1].extent
        if self.spread is c.rows:
            return Choice((size, SPREAD_COLUMNS), f"{size} elements of each group are its rows")
        most = min(c.rows.extent, SPREAD_ROWS // vectors)
        rows = min(range(1, most + 1), key=lambda n: (-(-c.rows.extent // n) * n, -n))
        return Choice((rows, SPREAD_COLUMNS), f"groups of {size} share vectors; {rows} rows divide")

    def _tile_of_groups_of_one(self) -> Shape:
        """As many sums as two thirds of the registers hold, in rows that divide; of as many the
        ones with more columns, which lie in cache lines that follow each other."""
        c, most = self.c, self.registers * 5 // 8 * self.lanes
        wide = [max(SPREAD_COLUMNS, self.lanes) * 2**n for n in range(3)]
        tiles = [
            (rows, columns)
            for columns in wide
            for rows in range(1, c.rows.extent + 1)
            if rows <= MOST_ROWS and rows * columns <= most
            if c.rows.extent % rows == 0 and c.columns.extent % columns == 0
        ]
        tile = max(tiles, key=lambda tile: (tile[0] * tile[1], tile[1]))
        return Choice(tile, f"every column has elements of its own; {tile[0]} rows divide")
