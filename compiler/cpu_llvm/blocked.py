"""The loops of a contraction in register tiles, as one function of the module for all alike.

In: where operands, limits and workspace are, how large blocks are, which share is this thread's.
Out: `epilogue` was called for every tile, its sums complete.

    for each block of N, of `strips` strips; for each block of M, of `tiles` tiles;
    for each block of K, of `depth` blocks of the sum (terms.py):
        stage the block's parts of the inner operand
        for each part of the outer operand; for each group of blocks of the sum:
            stage the part; for each part of the inner operand: run the tile on every block

    each strip   strips of N are the outer parts, and a group is one block of the sum
    each tile    tiles of M are the outer parts, and a group is all the blocks there are

Tiles are `rows` high, strips `columns` wide. Rows may be those of several banks, as the rows of an
image are for a convolution: tiles are counted through all of them, and begin anew in each. To stage
a part of an operand that is not read in place is to pack it (packing.py). The last tile of an
operand in place begins earlier where what is left does not fill it, and computes again what its
neighbour computes; the epilogue leaves that out. So nothing beyond an operand is read. Full tiles
that follow each other are one call, as many as `at_once`, and meet the epilogue together: what a
call takes is a good part of a short sum.

Nothing of a contraction is fixed in this code but its element type and how many sums it has, so a
training step, which has a dozen contractions, has it once or twice. What is constant in one of them
is a table that this code reads (numbers.py): of what both axes have, the number of N stands after
that of M, so that one piece of code serves both axes, 0 and 1. What changes from loop to loop and
is used far inside lies in memory: registers would not suffice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..artifact import LINE_BYTES
from .blocked_tables import BlockedForm, Kept, Tables
from .emit import AROUND_LOOPS, FunctionEmitter, Value
from .parts import find_parts
from .staging import stage

_PARAMETERS = (("ptr", "frame"), ("ptr", "kept"))
"""frame   handed on to `epilogue` and to the packing functions
kept    what blocked_tables.Kept says; records.py has begun to fill it
"""

EPILOGUE_PARAMETERS = (
    ("ptr", "frame"), ("ptr", "points"), ("ptr", "sums"),
    ("i64", "m0"), ("i64", "m1"), ("i64", "n0"), ("i64", "n1"),
)  # fmt: skip
"""sums: one tile's, for rows m0 to m1 and columns n0 to n1, element (m0, n0) first."""

_Ahead = tuple[Value, Value]
"""What a tile fetches meanwhile: `next` and `next_step` of tiles.py."""


def blocked_function(f: FunctionEmitter, form: BlockedForm) -> str:
    """void blocked(_PARAMETERS)."""
    name = f"blocked_{form.symbol}"
    f.helpers[name] = lambda: _BlockedEmitter(name, form).emit()
    return name


class _BlockedEmitter:
    """Emits the function of the loops."""

    def __init__(self, name: str, form: BlockedForm) -> None:
        self.f = FunctionEmitter(name, _PARAMETERS, linkage="internal", attributes=AROUND_LOOPS)
        self.form = form
        self.kept = Kept(self.f, form, self.f.parameter(1))
        self.tables = Tables(self.f, form, self.kept)
        self.frame, self.given, self.b0 = self.f.parameter(0), self.tables.given, form.a

    def emit(self) -> FunctionEmitter:
        f, kept = self.f, self.kept
        with self._blocks(1, "strips"), self._blocks(0, "tiles"):
            limit = kept.get("blocks_limit")
            with self._in_steps(f.const("i64", 0), limit, "depth") as k:
                end = self.tables.clipped(k, self.given["depth"], kept.get("blocks_limit"))
                self._block(k, end)
        f.ret()
        return f

    @contextmanager
    def _blocks(self, axis: int, size: str) -> Iterator[None]:
        """The body runs for all blocks of an axis, of so many tiles or strips."""
        kept, end = self.kept, self.kept.get("all_end", axis)
        with self._in_steps(kept.get("all_first", axis), end, size) as first:
            self._take(axis, first, self.given[size])
            yield

    @contextmanager
    def _in_steps(self, low: Value, high: Value, size: str) -> Iterator[Value]:
        """A loop whose step is a number of the table, read anew: it would be kept in memory."""
        f = self.f
        with f.if_(f.compare("slt", low, high)), f.do_while([low]) as loop:
            (index,) = loop.carried
            yield index
            following = f.binary("add", index, self.given[size])
            loop.next([following], f.compare("slt", following, high))

    def _take(self, axis: int, first: Value, size: Value) -> None:
        """The tiles or strips of a block."""
        self.kept.set("first", first, axis)
        self.kept.set("end", self.tables.clipped(first, size, self.kept.get("all_end", axis)), axis)

    def _block(self, first: Value, end: Value) -> None:
        """The tiles and strips of a block, over some blocks of the sum."""
        f, given, kept = self.f, self.given, self.kept
        outer = given["outer"]
        inner = f.binary("xor", outer, 1)
        with (
            f.if_(self._has_staged(inner)),
            f.loop(kept.get("first", inner), kept.get("end", inner)) as loop,
        ):
            self._stage(inner, loop.index, first, end)
        with self._parts(outer) as part, self._in_steps(first, end, "group") as group:
            group_end = self.tables.clipped(group, given["group"], end)
            self._find(outer, part, group)
            with f.if_(self._has_staged(outer)):
                following = f.binary("add", part, kept.get("together", outer))
                with f.loop(part, following, guard=False) as loop:
                    self._stage(outer, loop.index, group, group_end)
            ahead = self._upcoming(part, group_end, first, end)
            with self._parts(inner) as other:
                self._find(inner, other, first)
                self._tiles(group, group_end, self._spread(ahead, inner, other))

    @contextmanager
    def _parts(self, axis: Value) -> Iterator[Value]:
        """The body runs for all parts of the block, as many at once as it finds together."""
        f, kept = self.f, self.kept
        with f.do_while([kept.get("first", axis)]) as loop:
            (number,) = loop.carried
            yield number
            following = f.binary("add", number, kept.get("together", axis))
            loop.next([following], f.compare("slt", following, kept.get("end", axis)))

    def _has_staged(self, axis: Value) -> Value:
        return self.f.compare("ne", self.given.after("m_staged", axis), 0)

    def _stage(self, axis: Value, number: Value, first: Value, end: Value) -> None:
        given = [self.frame, self.kept.memory, axis, number, first, end]
        stage(self.f, self.form, given)

    def _find(self, axis: Value, number: Value, block: Value) -> None:
        given = [self.frame, self.kept.memory, axis, number, block]
        find_parts(self.f, self.form, given)

    def _tiles(self, block: Value, end: Value, ahead: _Ahead) -> None:
        """The register tiles of every sum over some blocks of it, then what the kernel makes of the
        sums, if they are complete."""
        f, e, given, kept = self.f, self.tables, self.given, self.kept
        down = f.binary("mul", e.nth(0, kept.get("number")), given["sums_tile"])
        along = f.binary("mul", e.nth(1, kept.get("number", 1)), given["sums_strip"])
        sums = f.gep(kept.get("sums", kind="ptr"), f.binary("add", down, along), "i8")
        fetched = self._wanted(ahead)
        done = f.binary("mul", e.nth(1, kept.get("number", 1)), f.binary("sub", end, block))
        with f.loop(block, end) as loop:
            number = f.binary("add", done, f.binary("sub", loop.index, block))
            self._tile(sums, loop.index, self._row_to_copy(number, block, fetched))
        with f.if_(f.compare("eq", end, kept.get("blocks_limit"))):
            self._epilogue(sums)

    def _tile(self, sums: Value, block: Value, ahead: _Ahead) -> None:
        """Some register tiles of every sum, over one block of it."""
        f, e, kept = self.f, self.tables, self.kept
        first = e.first_piece(block)
        count = f.binary("sub", e.first_piece(f.binary("add", block, 1)), first)
        again = f.compare("ne", block, 0)
        for number, (left, right) in enumerate(self.form.dots):
            own = f.gep(sums, f.binary("mul", self._sums_bytes(), number), "i8") if number else sums
            along = f.binary("mul", kept.get("number", 1), e.number(left, "strip"))
            rows = f.gep(kept.found("at", left), along, "i8", inbounds=False)
            a_offsets, b_offsets = (
                f.gep(kept.found("offsets", operand), first, "i64") for operand in (left, right)
            )
            arguments = [
                rows, e.number(left, "row"), e.number(left, "step"),
                kept.found("at", right), e.number(right, "step"),
                own, again, count, e.counts(first), a_offsets, b_offsets, *ahead,
                kept.get("together"), e.number(left, "part"),
            ]  # fmt: skip
            f.call_pointer("void", kept.get("tile", kind="ptr"), arguments)

    def _epilogue(self, sums: Value) -> None:
        """What the kernel makes of the sums of tiles, those that their neighbours have left out."""
        f, given, e, kept = self.f, self.given, self.tables, self.kept
        points = kept.get("points", kind="ptr")
        f.store(kept.get("bank"), points)
        rows = e.points(0, kept.get("within"), kept.get("together"))
        columns = e.points(1, kept.get("within", 1))
        above = f.binary("sub", rows[0], e.begins(0, rows[0]))
        before = f.binary("sub", columns[0], e.begins(1, columns[0]))
        element = f.binary("add", f.binary("mul", above, given["columns"]), before)
        first = f.gep(sums, f.binary("mul", element, given["kept_size"]), "i8")
        arguments = [self.frame, points, first, *rows, *columns]
        f.call_pointer("void", kept.get("epilogue", kind="ptr"), arguments)

    def _sums_bytes(self) -> Value:
        """Of one dot's sums for a tile."""
        f, given = self.f, self.given
        elements = f.binary("mul", given["rows"], given["columns"])
        return f.binary("mul", elements, given["kept_size"])

    # -- what comes next --------------------------------------------------------------------

    def _upcoming(self, strip: Value, following: Value, first: Value, end: Value) -> Value:
        """The rows of B that are read next: those of the following block of the sum, or else of the
        next strip's first. Without an ahead_step it is any address. Rows may begin anywhere in a
        line, whose first part tiles are reading: the last element of a line's length is wanted."""
        f, e = self.f, self.tables
        more = f.compare("slt", following, end)
        start, beyond = e.points(1, strip)
        piece = e.first_piece(f.select(more, following, first))
        offset = f.load("i64", e.offsets(self.b0, piece))
        at = e.at(self.b0, f.select(more, start, beyond))
        last = LINE_BYTES - e.size
        return f.gep(f.gep(at, offset, "i8", inbounds=False), last, "i8", inbounds=False)

    def _spread(self, upcoming: Value, inner: Value, number: Value) -> _Ahead:
        """What tile `number` fetches of the rows to come: the first tile the first line of each,
        the second the second, later ones nothing: what is asked for late comes late."""
        f, given = self.f, self.given
        line = f.binary("mul", self.tables.nth(inner, number), LINE_BYTES)
        has_one = f.compare("slt", line, f.binary("mul", given["columns"], self.tables.size))
        step = f.select(has_one, given["ahead_step"], 0)
        at = f.gep(upcoming, line, "i8", inbounds=False)
        return f.select(f.compare("ne", step, 0), at, self.kept.get("sums", kind="ptr")), step

    def _row_to_copy(self, number: Value, block: Value, other: _Ahead) -> _Ahead:
        """Of the rows that are copied for the next tile, the one with this number; or else `other`:
        the copies of a large operand would wait for memory while nothing else is done."""
        f, e, step = self.f, self.tables, self.given["rows_step"]
        with f.if_else(f.compare("eq", step, 0)) as nothing:
            nothing.give(*other)
            nothing.otherwise()
            tile = f.binary("add", self.kept.get("within"), 1)
            row = f.binary("add", f.binary("mul", tile, self.given["rows"]), number)
            last = f.binary("sub", self.kept.get("limit"), 1)
            at = e.at(0, f.intrinsic("llvm.smin", "i64", row, last))
            offset = f.load("i64", e.offsets(0, e.first_piece(block)))
            nothing.give(f.gep(at, offset, "i8", inbounds=False), step)
        return nothing.results[0], nothing.results[1]

    def _wanted(self, ahead: _Ahead) -> _Ahead:
        """What the epilogue of the next tile reads: the next strip's, or the first one's in the
        rows that follow. `ahead` where it reads nothing."""
        f, given, kept = self.f, self.given, self.kept
        wanted = kept.get("wanted", kind="ptr")
        with f.if_else(f.compare("eq", wanted, f.const("ptr", 0))) as nothing:
            nothing.give(*ahead)
            nothing.otherwise()
            tile, following = kept.get("number"), f.binary("add", kept.get("number", 1), 1)
            more = f.compare("slt", following, kept.get("end", 1))
            next_strip = f.select(more, following, kept.get("first", 1))
            column = f.binary("mul", next_strip, given["columns"])
            rows = f.binary("add", tile, f.select(more, f.const("i64", 0), kept.get("together")))
            down = f.binary("mul", f.binary("mul", rows, given["rows"]), given["wanted_row"])
            along = f.binary("mul", column, self.tables.size)
            along = self.tables.bytes_in_strips(along, column, given["wanted_beyond"])
            at = f.gep(wanted, f.binary("add", down, along), "i8", inbounds=False)
            nothing.give(at, given["wanted_step"])
        return nothing.results[0], nothing.results[1]
