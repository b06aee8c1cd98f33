"""The register tile: rows x columns sums of products, both operands read where they lie.

One function of the module for each shape, shared by every contraction: steps and lengths are
arguments, so a training step needs two or three tiles in all, which is most of what its compilation
costs.

    c[t, i, j] (+)= sum over pieces p, k < counts[p] of
        a[t * a_tile + i * a_row + a_offsets[p] + k * a_step] * b[b_offsets[p] + k * b_step + j]

The rows x columns accumulators stay in vector registers: for each k the tile loads the vectors of
b, broadcasts one element of a per row and issues one FMA per accumulator. A packed operand is one
that lies in panels or strips (packing.py): the tile knows no difference. The order over k is that
of the pieces, one rounding per step, whatever the shape and the target.

Sixteen rows at a run-time distance have sixteen addresses and share three registers, the distance
and three times the distance: x86 adds a register times 1, 2, 4 or 8, so rows 1, 2, 3, 4, 6 and 8
beyond a base cost nothing. Several tiles of one call are of rows that follow each other.
Source: Goto and van de Geijn, 2008, "Anatomy of high-performance matrix multiplication".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..artifact import LINE_BYTES
from .emit import FunctionEmitter, Value
from .values import SIZE_BYTES

_BASES = (0, 2, 7)
_TIMES = (1, 2, 4, 8)
"""Rows that a base reaches: itself, and those beyond it by so many times one distance or three."""

TILE_PARAMETERS = (
    ("ptr", "a"), ("i64", "a_row"), ("i64", "a_step"), ("ptr", "b"), ("i64", "b_step"),
    ("ptr", "c"), ("i1", "again"),
    ("i64", "pieces"), ("ptr", "counts"), ("ptr", "a_offsets"), ("ptr", "b_offsets"),
    ("ptr", "next"), ("i64", "next_step"), ("i64", "tiles"), ("i64", "a_tile"),
)  # fmt: skip
"""Steps and offsets in bytes; at least one piece, of at least one term each, and at least one tile.

c       rows x columns of `kept` for each tile
again   whether to add to what is there: the sums of one block to those of the blocks before
next    where cache lines begin that will be wanted soon, next_step bytes apart: one is fetched
        with every term, by the tiles that follow the line behind each, as far as a strip reaches;
        tiles of one vector fetch none
"""


@dataclass(frozen=True)
class TileShape:
    """rows x columns accumulators, `lanes` of them to a register, of this LLVM type.

    again: whether there are blocks of terms that are added to those before
    long:  whether they are added to doubles. Those of two blocks need none: what two floats come to
           in a double, rounded to a float, is their sum as floats.
    spread:  0; or of how many columns a group is, each with so many elements of `a` of its own: a
             vector of them is read, and one of each group spread over its columns
    as_rows: whether these are the rows; otherwise they are the terms of a piece
    """

    rows: int
    columns: int
    lanes: int
    scalar: str
    again: bool
    long: bool
    spread: int = 0
    as_rows: bool = False

    @property
    def kept(self) -> str:
        """The type of a tile's sums in memory."""
        return "double" if self.long else self.scalar

    @property
    def elements(self) -> int:
        return self.rows * self.columns

    @property
    def size_bytes(self) -> int:
        """Of the sums in memory."""
        return self.elements * SIZE_BYTES[self.kept]


def tile_function(f: FunctionEmitter, tile: TileShape) -> str:
    """void tile(TILE_PARAMETERS)."""
    suffix = "_long" if tile.long else "_again" if tile.again else ""
    name = f"tile_{tile.scalar}_{tile.rows}x{tile.columns}x{tile.lanes}{suffix}"
    if tile.spread:
        name += f"_rows{tile.spread}" if tile.as_rows else f"_terms{tile.spread}"
    emitter = _SpreadEmitter if tile.spread else _TileEmitter
    f.helpers[name] = lambda: emitter(name, tile).emit()
    return name


class _TileEmitter:
    """Emits one register tile."""

    def __init__(self, name: str, tile: TileShape) -> None:
        attributes = "noinline nounwind"
        self.g = FunctionEmitter(name, TILE_PARAMETERS, linkage="internal", attributes=attributes)
        self.given = {label: self.g.parameter(n) for n, (_, label) in enumerate(TILE_PARAMETERS)}
        self.tile, self.kind = tile, tile.scalar
        self.vectors = tile.columns // tile.lanes
        self.places = [(i, j) for i in range(tile.rows) for j in range(self.vectors)]
        self.bases = sorted({_reached(i)[0] for i in range(tile.rows)})

    def emit(self) -> FunctionEmitter:
        g, given = self.g, self.given
        triple = g.freeze(g.binary("mul", given["a_row"], 3))
        self.distances = {1: given["a_row"], 3: triple}
        carried = [given[name] for name in ("a", "c", "next", "next_step")]
        with g.loop(0, given["tiles"], carried=carried, guard=False) as loop:
            a, c, upcoming, step = loop.carried
            if self.tile.again:
                self._begin(c)
            self._store(self._sums(a, upcoming, step), c)
            following = g.binary("add", loop.index, 1)
            lines = self.tile.columns * SIZE_BYTES[self.kind] // LINE_BYTES
            more = g.compare("slt", following, lines)
            loop.next([
                g.gep(a, given["a_tile"], "i8", inbounds=False),
                g.gep(c, self.tile.size_bytes, "i8"),
                g.gep(upcoming, LINE_BYTES, "i8", inbounds=False),
                g.select(more, step, 0),
            ])  # fmt: skip
        g.ret()
        return g

    def _begin(self, c: Value) -> None:
        """What is added to begins at +0.0, so a block of -0.0 leaves +0.0. In memory, before
        registers are filled: a second way of storing sums would be as long as all of the tile."""
        g, tile = self.g, self.tile
        zero = g.const(tile.kept, 0, tile.lanes)
        first = g.compare("eq", self.given["again"], False)
        with g.if_(first), g.loop(0, tile.elements, tile.lanes) as loop:
            g.store(zero, g.gep(c, loop.index, tile.kept))

    def _sums(self, a: Value, upcoming: Value, step: Value) -> list[Value]:
        """The sums of one tile, whose rows begin at `a`."""
        g, given = self.g, self.given
        distances = [g.binary("mul", given["a_row"], row) for row in self.bases]
        zeros = [g.const(self.kind, 0, self.tile.lanes) for _ in self.places]
        with g.loop(0, given["pieces"], carried=[upcoming, *zeros], guard=False) as loop:
            count, left, right = (
                g.load("i64", g.gep(given[name], loop.index, "i64"))
                for name in ("counts", "a_offsets", "b_offsets")
            )
            first = g.gep(a, left, "i8")
            starts = [g.gep(first, distance, "i8") for distance in distances]
            upcoming, *sums = loop.carried
            pointers = [g.gep(given["b"], right, "i8"), upcoming, *starts]
            loop.next(self._terms(pointers, sums, count, step))
        return loop.results[1:]

    def _terms(
        self, pointers: list[Value], sums: list[Value], count: Value, step: Value
    ) -> list[Value]:
        """Add one piece's products to the sums: what to fetch from then on, and the sums."""
        g, given, kind, lanes = self.g, self.given, self.kind, self.tile.lanes
        number = len(pointers)
        with g.loop(0, count, carried=[*pointers, *sums], guard=False) as loop:
            right, upcoming, *left = loop.carried[:number]
            sums = loop.carried[number:]
            if self.vectors > 1:  # loads are what tiles of one vector wait for
                g.prefetch(upcoming, locality=2)
            # Rows are at a fixed distance, which LLVM would walk one after the other: thirteen
            # additions that wait for each other. It does not look through a freeze.
            left = [g.freeze(base) for base in left]
            strip = [
                g.load(kind, g.gep(right, j * lanes, kind), lanes) for j in range(self.vectors)
            ]
            for i in range(self.tile.rows):
                element = g.splat(g.load(kind, self._row(i, left)), lanes)
                for j in range(self.vectors):
                    place = i * self.vectors + j
                    sums[place] = g.fma(element, strip[j], sums[place])
            loop.next([
                g.gep(right, given["b_step"], "i8"),
                g.gep(upcoming, step, "i8", inbounds=False),
                *(g.gep(base, given["a_step"], "i8") for base in left),
                *sums,
            ])  # fmt: skip
        return [loop.results[1], *loop.results[number:]]

    def _row(self, i: int, bases: Sequence[Value]) -> Value:
        """The address of row i's element, from a base."""
        first, distance, times = _reached(i)
        base = bases[self.bases.index(first)]
        if not times:
            return base
        text = f"getelementptr inbounds [{times} x i8], {base}, i64 {self.distances[distance].name}"
        return self.g.emit(text, "ptr")

    def _store(self, sums: Sequence[Value], c: Value) -> None:
        """Leave the sums in c, or add them to what is there."""
        g, tile = self.g, self.tile
        for place, total in zip(self.places, sums, strict=True):
            at = self._at(c, place)
            if tile.long:
                total = g.cast("fpext", total, tile.kept)
            if tile.again:
                total = g.add(g.load(tile.kept, at, tile.lanes), total)
            g.store(total, at)

    def _at(self, c: Value, place: tuple[int, int]) -> Value:
        i, j = place
        element = i * self.tile.columns + j * self.tile.lanes
        return self.g.gep(c, element, self.tile.kept)


class _SpreadEmitter(_TileEmitter):
    """Emits one whose columns are groups.

        c[t, i, g * 4 + j] = sum over p, k: a[.., i, p, g * 4 + k] * b[p, k, g * 4 + j]

    Sixteen columns of four groups take vectors of sixteen elements of a, and of those one of each
    group, spread over its four lanes by an exchange in a register.
    """

    def _terms(
        self, pointers: list[Value], sums: list[Value], count: Value, step: Value
    ) -> list[Value]:
        g, given, (right, upcoming, *left) = self.g, self.given, pointers
        if self.tile.spread == 1:
            return [upcoming, *self._alone(right, left, sums, count)]
        if not self.tile.as_rows:
            return [upcoming, *self._piece(right, left, sums)]
        with g.loop(0, count, carried=[right, left[0], *sums], guard=False) as loop:
            right, row, *sums = loop.carried
            own, strip = self._vectors(row), self._vectors(right)
            for i, j in self.places:
                element = self._of_groups(own[j], i)
                place = i * self.vectors + j
                sums[place] = g.fma(element, strip[j], sums[place])
            steps = g.gep(right, given["b_step"], "i8"), g.gep(row, given["a_step"], "i8")
            loop.next([*steps, *sums])
        return [upcoming, *loop.results[2:]]

    def _alone(
        self, right: Value, left: list[Value], sums: list[Value], count: Value
    ) -> list[Value]:
        """Every column is a group: vectors of both operands."""
        g, given = self.g, self.given
        with g.loop(0, count, carried=[right, *left, *sums], guard=False) as loop:
            right, *rest = loop.carried
            left, sums = [g.freeze(base) for base in rest[: len(left)]], rest[len(left) :]
            strip = self._vectors(right)
            for i in range(self.tile.rows):
                own = self._vectors(self._row(i, left))
                for j in range(self.vectors):
                    place = i * self.vectors + j
                    sums[place] = g.fma(own[j], strip[j], sums[place])
            following = (g.gep(base, given["a_step"], "i8") for base in left)
            loop.next([g.gep(right, given["b_step"], "i8"), *following, *sums])
        return loop.results[1 + len(left) :]

    def _piece(self, right: Value, left: list[Value], sums: list[Value]) -> list[Value]:
        """A piece is as many terms as a group has elements."""
        g, sums = self.g, list(sums)
        strips = []
        for _ in range(self.tile.spread):
            strips.append(self._vectors(right))
            right = g.gep(right, self.given["b_step"], "i8")
        left = [g.freeze(base) for base in left]
        for i in range(self.tile.rows):
            own = self._vectors(self._row(i, left))
            for j in range(self.vectors):
                place = i * self.vectors + j
                for number, strip in enumerate(strips):
                    element = self._of_groups(own[j], number)
                    sums[place] = g.fma(element, strip[j], sums[place])
        return sums

    def _vectors(self, first: Value) -> list[Value]:
        g, kind, lanes = self.g, self.kind, self.tile.lanes
        return [g.load(kind, g.gep(first, j * lanes, kind), lanes) for j in range(self.vectors)]

    def _of_groups(self, vector: Value, number: int) -> Value:
        """This element of each group, in all lanes of the group."""
        size = self.tile.spread
        lanes = range(self.tile.lanes)
        return self.g.shuffle(vector, None, [lane // size * size + number for lane in lanes])


def _reached(row: int) -> tuple[int, int, int]:
    """The base of a row, and how it is reached from there: so many times a distance."""
    for base in _BASES:
        if row == base:
            return base, 1, 0
    for base in _BASES:
        for distance in (1, 3):
            times, rest = divmod(row - base, distance)
            if not rest and times in _TIMES:
                return base, distance, times
    raise ValueError(f"row {row} cannot be reached")
