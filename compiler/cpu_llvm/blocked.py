"""The loops of a contraction in register tiles, as one function of the module for all alike.

In: where operands, limits and workspace are, how large blocks are, which share is this thread's.
Out: `epilogue` was called for every tile, its sums complete.

    for each block of N, of `strips` strips; for each block of M, of `tiles` tiles;
    for each block of K, of `depth` blocks of the sum (terms.py):
        each strip   stage the block's tiles of A; for each strip, for each block of the sum:
                     stage the strip of B, run every tile
        each tile    stage the block's strips of B; for each tile: stage its rows of A; for each
                     strip: run the blocks of the sum

Tiles are `rows` high, strips `columns` wide. Rows may be those of several banks, as the rows of an
image are for a convolution: tiles are counted through all of them, and begin anew in each. To stage
a part of an operand that is not read in
place is to pack it (packing.py). The last tile of an operand in place begins earlier where what is
left does not fill it, and computes again what its neighbour computes; the epilogue leaves that out.
So nothing beyond an operand is read. Full tiles that follow each other are one call, as many as
`at_once`, and meet the epilogue together: what a call takes is a good part of a short sum.

Nothing of a contraction is fixed in this code but
its element type, which of the two orders is taken and how many sums it has, so a training step,
which has a dozen contractions, has it once or twice. What is constant in one of them is a table
that this code reads (numbers.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..artifact import LINE_BYTES
from ..loops.schedule import STRIP
from .context import KernelContext
from .emit import AROUND_LOOPS, FunctionEmitter, Value
from .numbers import Given
from .shares import share
from .terms import column, limit, number_names, table_columns
from .values import SIZE_BYTES

_PARAMETERS = (
    ("ptr", "frame"), ("ptr", "points"), ("ptr", "numbers"), ("i64", "blocks_limit"),
    ("ptr", "tile"), ("ptr", "epilogue"), ("ptr", "wanted"),
)  # fmt: skip
"""frame, points   handed on to `epilogue` and to the packing functions; the first point is written
                here: the bank
numbers         the table of what is constant (numbers.py), in the order of `number_names`
blocks_limit    blocks of the sum, as the table of terms has them
tile            the register tile's function, for `rows` x `columns` sums
wanted          the first element of what the epilogue reads and the tile before fetches; null: of
                nothing
"""

_OPERAND_PARAMETERS = (("ptr", "pack"), ("ptr", "source"))
"""pack     a function with PACK_PARAMETERS; null: the operand is read in place
source   its first element; element (k, n) of a piece is `by_term` * k + `by_part` * n elements,
         and what `beyond` adds, from where the piece's source_offsets say
"""

_NUMBERS = (
    "rows", "columns", "banks", "at_once", "m_extent", "m_per_row", "n_extent", "n_per_row",
    "m_last", "n_last", "m_shared", "n_shared", "kept_size", "sums", "sums_tile", "sums_strip",
    "tiles", "strips", "depth", "table", "blocks", "column_bytes",
    "wanted_row", "wanted_beyond", "wanted_step", "rows_step",
)  # fmt: skip
"""at_once         tiles of one call at most
m_extent, ...   where the axes of rows and columns end (terms.py), the rows of one bank
m_last, n_last  where the last tile and strip begin at the latest; -1: anywhere
m_shared        -1: threads share the tiles, 0: each does all of them; n_shared: the strips
sums            where in the workspace; an element takes kept_size bytes, the sums of a tile are
                sums_tile bytes from those of the next call's first tile for each tile between them,
                sums_strip from those of the next strip
table, blocks   where in the workspace the table of terms is
wanted_row      bytes from row to row of what the epilogue reads, whose columns lie side by side but
                for what wanted_beyond adds as `beyond` does; wanted_step: bytes of a tile's part of
                it to a term
rows_step       0, or where rows of A are copied for each tile: bytes of one of them to a term
"""

_OPERAND_NUMBERS = (
    "by_term", "by_part", "bank", "strip", "beyond", "even_terms", "room", "step", "row", "part",
    "width",
)  # fmt: skip
"""bank    bytes from bank to bank, of an operand that has rows
strip  bytes from strip to strip, of one that has rows and is spread over the columns; else 0
beyond  elements that each point of all strips before (schedule.py) adds to `by_part`
even_terms  of so many terms, from the first of a piece on, one lies `by_term` behind the other
room   where in the workspace the operand is packed
step   bytes from term to term where tiles read it
row    bytes from row to row there, of an operand that has rows
part   bytes from one packed part to the next; width: what packing functions call so
"""

EPILOGUE_PARAMETERS = (
    ("ptr", "frame"), ("ptr", "points"), ("ptr", "sums"),
    ("i64", "m0"), ("i64", "m1"), ("i64", "n0"), ("i64", "n1"),
)  # fmt: skip
"""sums: one tile's, for rows m0 to m1 and columns n0 to n1, element (m0, n0) first."""

_Range = tuple[Value, Value]
"""Where something starts, and one past its end."""


_Ahead = tuple[Value, Value]
"""What a tile fetches meanwhile: `next` and `next_step` of tiles.py."""


class _Tiles(NamedTuple):
    """Tiles that follow each other in a bank.

    first    the first of them, in its bank
    number   the same among all that are worked on
    tiles    how many; all are full, or there is but one
    bank     number of the bank
    """

    first: Value
    number: Value
    tiles: Value
    bank: Value


class _Block(NamedTuple):
    """What tiles of one block of the sum have in common."""

    number: Value
    first_piece: Value
    pieces: Value


@dataclass(frozen=True)
class BlockedForm:
    """What is fixed in the code.

    kind     type of an element
    each     what the outer of the two inner loops walks
    a, b     numbers of distinct operands; the sums share that of which there is one
    axes     that are summed over, and which of them is cut into blocks: `cut`
    numbers  type of the constants
    """

    kind: str
    each: Literal["strip", "tile"]
    a: int
    b: int
    axes: int
    cut: int
    numbers: str

    @property
    def dots(self) -> list[tuple[str, str]]:
        """The operands of each sum, by name."""
        count = max(self.a, self.b)
        return [(f"a{min(d, self.a - 1)}", f"b{min(d, self.b - 1)}") for d in range(count)]

    @property
    def names(self) -> tuple[list[str], list[str]]:
        return operand_names(self.a, self.b)

    @property
    def parameters(self) -> list[tuple[str, str]]:
        operands = [name for side in self.names for name in side]
        of_operands = [(k, f"{n}_{what}") for n in operands for k, what in _OPERAND_PARAMETERS]
        return [*_PARAMETERS, *of_operands]

    @property
    def number_names(self) -> list[str]:
        """All numbers, those that depend on how many axes there are last."""
        operands = [name for side in self.names for name in side]
        of_operands = [f"{name}_{what}" for name in operands for what in _OPERAND_NUMBERS]
        return [*_NUMBERS, *of_operands, *number_names(operands, self.axes)]


def operand_names(a: int, b: int) -> tuple[list[str], list[str]]:
    """Names for so many operands of either side."""
    return [f"a{n}" for n in range(a)], [f"b{n}" for n in range(b)]


def blocked_function(f: FunctionEmitter, form: BlockedForm) -> str:
    """void blocked(form.parameters)."""
    name = f"blocked_{form.each}_{form.kind}_{form.a}x{form.b}_{form.numbers}"
    f.helpers[name] = lambda: _BlockedEmitter(name, form).emit()
    return name


class _BlockedEmitter:
    """Emits one such function."""

    def __init__(self, name: str, form: BlockedForm) -> None:
        parameters = form.parameters
        self.f = FunctionEmitter(name, parameters, linkage="internal", attributes=AROUND_LOOPS)
        self.form = form
        self.size = SIZE_BYTES[form.kind]
        self.a_names, self.b_names = form.names
        values = {label: self.f.parameter(n) for n, (_, label) in enumerate(parameters)}
        self.given = Given(self.f, values, form.number_names, form.numbers)
        self.context = KernelContext(self.f, ())

    def emit(self) -> FunctionEmitter:
        f, given = self.f, self.given
        self._find_memory()
        m_count, n_count = self._count("m", given["rows"]), self._count("n", given["columns"])
        given["m_count"] = m_count
        # All tiles of an operand that is packed are full: what they lack is room.
        anywhere = f.compare("slt", given["m_last"], 0)
        given["m_full"] = f.select(
            anywhere, m_count, f.binary("udiv", given["m_limit"], given["rows"])
        )
        all_tiles = self._share("m", f.binary("mul", m_count, given["banks"]))
        all_strips = self._share("n", n_count)
        body = self._by_strips if self.form.each == "strip" else self._by_tiles
        with f.loop(*all_strips, given["strips"]) as n_block:
            strips = self._clipped(n_block.index, given["strips"], all_strips[1])
            with f.loop(*all_tiles, given["tiles"]) as m_block:
                tiles = self._clipped(m_block.index, given["tiles"], all_tiles[1])
                with f.loop(0, given["blocks_limit"], given["depth"]) as k_block:
                    blocks = self._clipped(k_block.index, given["depth"], given["blocks_limit"])
                    body(tiles, strips, blocks)
        f.ret()
        return f

    def _find_memory(self) -> None:
        """Where the parts of the workspace are, and of the table of terms."""
        f, given, workspace = self.f, self.given, self.context.parameter("workspace")
        for part in ("sums", "table", "blocks"):
            given[part] = f.gep(workspace, given[part], "i8")
        operands = [*self.a_names, *self.b_names]
        for number, name in enumerate(table_columns(operands, 1)):
            given[name] = column(f, given, given["table"], number)
        for name in operands:
            staged = self._is_staged(name)
            packed = f.gep(workspace, given[f"{name}_room"], "i8")
            given[f"{name}_base"] = f.select(staged, packed, given[f"{name}_source"])
            columns = given[f"{name}_offsets"], given[f"{name}_source_offsets"]
            given[f"{name}_offsets"] = f.select(staged, *columns)
        for name in self.a_names:
            apart = f.binary(
                "mul", f.binary("mul", given["rows"], given[f"{name}_by_part"]), self.size
            )
            tile = f.select(self._is_staged(name), given[f"{name}_part"], apart)
            given[f"{name}_tile"] = tile

    def _count(self, axis: str, size: Value) -> Value:
        """How many tiles or strips the axis has, and where it ends."""
        f, given = self.f, self.given
        given[f"{axis}_limit"] = limit(f, self.context, given, axis)
        most = f.binary("add", given[f"{axis}_limit"], f.binary("sub", size, 1))
        return f.binary("udiv", most, size)

    def _share(self, axis: str, count: Value) -> _Range:
        """This thread's tiles or strips."""
        f = self.f
        with f.if_else(f.compare("ne", self.given[f"{axis}_shared"], 0)) as branch:
            branch.give(*share(f, count, *(self.context.parameter(n) for n in ("tid", "threads"))))
            branch.otherwise()
            branch.give(f.const("i64", 0), count)
        low, high = branch.results
        return low, high

    @contextmanager
    def _banks(self, tiles: _Range) -> Iterator[tuple[Value, Value, _Range]]:
        """The body runs for every bank: it, how many tiles are before it, those of it to do."""
        f, given = self.f, self.given
        with f.loop(0, given["banks"]) as loop:
            f.store(loop.index, given["points"])
            before = f.binary("mul", loop.index, given["m_count"])
            low, high = (f.binary("sub", end, before) for end in tiles)
            low = f.intrinsic("llvm.smax", "i64", low, f.const("i64", 0))
            high = f.intrinsic("llvm.smin", "i64", high, given["m_count"])
            yield loop.index, f.binary("sub", before, tiles[0]), (low, high)

    @contextmanager
    def _groups(self, tiles: _Range) -> Iterator[_Tiles]:
        """The body runs for all of these tiles, as many at once as one call takes."""
        f, given = self.f, self.given
        with self._banks(tiles) as (bank, before, (low, high)):
            with f.if_(f.compare("slt", low, high)), f.do_while([low]) as loop:
                (first,) = loop.carried
                full = f.binary("sub", given["m_full"], first)
                count = f.intrinsic("llvm.smin", "i64", f.binary("sub", high, first), full)
                count = f.intrinsic("llvm.smin", "i64", count, given["at_once"])
                count = f.intrinsic("llvm.smax", "i64", count, f.const("i64", 1))
                yield _Tiles(first, f.binary("add", before, first), count, bank)
                following = f.binary("add", first, count)
                loop.next([following], f.compare("slt", following, high))

    def _clipped(self, start: Value, size: Value, limit: Value) -> _Range:
        end = self.f.binary("add", start, size)
        return start, self.f.intrinsic("llvm.smin", "i64", end, limit)

    def _by_strips(self, tiles: _Range, strips: _Range, blocks: _Range) -> None:
        f, zero = self.f, self.f.const("i64", 0)
        for name in self.a_names:
            with f.if_(self._is_staged(name)), self._banks(tiles) as (bank, before, some):
                with f.loop(*some) as loop:
                    place = f.binary("add", before, loop.index)
                    self._pack(name, self._rows(loop.index), place, blocks, bank)
        with f.loop(*strips) as outer, f.loop(*blocks) as middle:
            columns = self._columns(outer.index)
            for name in self.b_names:
                with f.if_(self._is_staged(name)):
                    this = middle.index, f.binary("add", middle.index, 1)
                    self._pack(name, columns, zero, this)
            ahead = self._upcoming(columns, middle.index, blocks)
            block = self._block(middle.index)
            b = [self._part(n, outer.index, zero, block.number) for n in self.b_names]
            is_last = f.compare("eq", f.binary("add", block.number, 1), self.given["blocks_limit"])
            strip = f.binary("sub", outer.index, strips[0])
            with self._groups(tiles) as some:
                a = [
                    self._part(n, some.first, some.number, blocks[0], some.bank)
                    for n in self.a_names
                ]
                sums = self._sums(some.number, strip)
                upcoming = self._spread(ahead, some.number)
                self._tile(a, b, sums, block, some.tiles, outer.index, upcoming)
                with f.if_(is_last):
                    self._epilogue(sums, some, outer.index)

    def _by_tiles(self, tiles: _Range, strips: _Range, blocks: _Range) -> None:
        f, zero = self.f, self.f.const("i64", 0)
        for name in self.b_names:
            with f.if_(self._is_staged(name)), f.loop(*strips) as loop:
                place = f.binary("sub", loop.index, strips[0])
                self._pack(name, self._columns(loop.index), place, blocks)
        is_last = f.compare("eq", blocks[1], self.given["blocks_limit"])
        with self._groups(tiles) as some:
            for name in self.a_names:
                with f.if_(self._is_staged(name)):
                    self._pack(name, self._rows(some.first), zero, blocks, some.bank)
            a = [self._part(n, some.first, zero, blocks[0], some.bank) for n in self.a_names]
            with f.loop(*strips) as inner:
                place = f.binary("sub", inner.index, strips[0])
                b = [self._part(n, inner.index, place, blocks[0]) for n in self.b_names]
                sums = self._sums(some.number, place)
                ahead = self._wanted(some.first, inner.index, strips, sums)
                done = f.binary("mul", place, f.binary("sub", blocks[1], blocks[0]))
                with f.loop(*blocks) as loop:
                    number = f.binary("add", done, f.binary("sub", loop.index, blocks[0]))
                    rows = self._upcoming_row(some.first, number, blocks, ahead)
                    block = self._block(loop.index)
                    self._tile(a, b, sums, block, some.tiles, inner.index, rows)
                with f.if_(is_last):
                    self._epilogue(sums, some, inner.index)

    def _block(self, number: Value) -> _Block:
        f, first = self.f, self._first_piece(number)
        end = self._first_piece(f.binary("add", number, 1))
        return _Block(number, first, f.binary("sub", end, first))

    def _tile(
        self, a: Sequence[Value], b: Sequence[Value], sums: Value, block: _Block, tiles: Value,
        strip: Value, ahead: _Ahead,
    ) -> None:  # fmt: skip
        """Some register tiles of every sum, over one block of it."""
        f, given = self.f, self.given
        again = f.compare("ne", block.number, 0)
        names = [*self.a_names, *self.b_names]
        columns = {n: f.gep(given[f"{n}_offsets"], block.first_piece, "i64") for n in names}
        counts = f.gep(given["counts"], block.first_piece, "i64")
        where = dict(zip(names, [*a, *b], strict=True))
        for number, (left, right) in enumerate(self.form.dots):
            own = f.gep(sums, f.binary("mul", self._sums_bytes(), number), "i8") if number else sums
            along = f.binary("mul", strip, given[f"{left}_strip"])
            rows = f.gep(where[left], along, "i8", inbounds=False)
            arguments = [
                rows, given[f"{left}_row"], given[f"{left}_step"],
                where[right], given[f"{right}_step"], own, again,
                block.pieces, counts, columns[left], columns[right], *ahead,
                tiles, given[f"{left}_tile"],
            ]  # fmt: skip
            f.call_pointer("void", given["tile"], arguments)

    def _epilogue(self, sums: Value, some: _Tiles, strip: Value) -> None:
        """What the kernel makes of the sums of tiles, those that their neighbours have left out."""
        f, given = self.f, self.given
        rows, columns = self._rows(some.first, some.tiles), self._columns(strip)
        above = f.binary("sub", rows[0], self._start("m", rows[0]))
        before = f.binary("sub", columns[0], self._start("n", columns[0]))
        element = f.binary("add", f.binary("mul", above, given["columns"]), before)
        first = f.gep(sums, f.binary("mul", element, given["kept_size"]), "i8")
        arguments = [given["frame"], given["points"], first, *rows, *columns]
        f.call_pointer("void", given["epilogue"], arguments)

    # -- places -----------------------------------------------------------------------------

    def _rows(self, tile: Value, count: Value | None = None) -> _Range:
        """Those of a tile, or of several, in their bank."""
        f, rows = self.f, self.given["rows"]
        size = rows if count is None else f.binary("mul", rows, count)
        return self._clipped(f.binary("mul", tile, rows), size, self.given["m_limit"])

    def _columns(self, strip: Value) -> _Range:
        columns = self.given["columns"]
        return self._clipped(self.f.binary("mul", strip, columns), columns, self.given["n_limit"])

    def _start(self, axis: str, first: Value) -> Value:
        """Where the tile or strip begins that has `first`."""
        return self.f.intrinsic("llvm.umin", "i64", first, self.given[f"{axis}_last"])

    def _sums(self, tile: Value, strip: Value) -> Value:
        """Where the sums of these are, counted from the first that are worked on."""
        f, given = self.f, self.given
        down, along = (
            f.binary("mul", tile, given["sums_tile"]),
            f.binary("mul", strip, given["sums_strip"]),
        )
        return f.gep(given["sums"], f.binary("add", down, along), "i8")

    def _sums_bytes(self) -> Value:
        """Of one dot's sums for a tile."""
        f, given = self.f, self.given
        elements = f.binary("mul", given["rows"], given["columns"])
        return f.binary("mul", elements, given["kept_size"])

    def _first_piece(self, block: Value) -> Value:
        return self.f.load("i64", self.f.gep(self.given["blocks"], block, "i64"))

    def _terms_before(self, block: Value) -> Value:
        piece = self._first_piece(block)
        return self.f.load("i64", self.f.gep(self.given["starts"], piece, "i64"))

    def _is_staged(self, name: str) -> Value:
        return self.f.compare("ne", self.given[f"{name}_pack"], self.f.const("ptr", 0))

    def _part(
        self, name: str, number: Value, place: Value, block: Value, bank: Value | None = None
    ) -> Value:
        """Where tiles find part `number` of an operand: packed at `place`, from `block` on."""
        f, given = self.f, self.given
        axis, size = ("m", given["rows"]) if name in self.a_names else ("n", given["columns"])
        start = self._start(axis, f.binary("mul", number, size))
        read = self._bytes_to(name, start)
        if bank is not None:
            read = f.binary("add", read, f.binary("mul", bank, given[f"{name}_bank"]))
        before = f.binary("mul", self._terms_before(block), given[f"{name}_step"])
        packed = f.binary("sub", f.binary("mul", place, given[f"{name}_part"]), before)
        offset = f.select(self._is_staged(name), packed, read)
        return f.gep(given[f"{name}_base"], offset, "i8", inbounds=False)

    def _bytes_to(self, name: str, point: Value) -> Value:
        """From an operand's first element to that at this point of its own run."""
        along = self.f.binary("mul", point, self.given[f"{name}_by_part"])
        return self._bytes_in_strips(along, point, self.given[f"{name}_beyond"])

    def _bytes_in_strips(self, elements: Value, point: Value, beyond: Value) -> Value:
        """So many elements, and what each point of all strips before this one adds, in bytes."""
        f = self.f
        strips = f.binary("mul", f.binary("and", point, -STRIP), beyond)
        return f.binary("mul", f.binary("add", elements, strips), self.size)

    # -- what comes next --------------------------------------------------------------------

    def _upcoming(self, columns: _Range, block: Value, blocks: _Range) -> _Ahead:
        """The rows of B that are read next: those of the next block of the sum, or else of the next
        strip's first. Only where columns lie together, which is where rows lie far apart."""
        f, given, name = self.f, self.given, self.b_names[0]
        following = f.binary("add", block, 1)
        more = f.compare("slt", following, blocks[1])
        start = f.select(more, columns[0], columns[1])
        piece = self._first_piece(f.select(more, following, blocks[0]))
        offset = f.load("i64", f.gep(given[f"{name}_source_offsets"], piece, "i64"))
        first = f.gep(given[f"{name}_source"], self._bytes_to(name, start), "i8", inbounds=False)
        together = f.compare("eq", given[f"{name}_by_part"], 1)
        step = f.binary("mul", given[f"{name}_by_term"], self.size)
        at = f.gep(first, offset, "i8", inbounds=False)
        return f.select(together, at, given["sums"]), f.select(together, step, 0)

    def _wanted(self, tile: Value, strip: Value, strips: _Range, sums: Value) -> _Ahead:
        """What the epilogue of the next tile reads: the next strip's, or the first one's in the
        rows that follow."""
        f, given = self.f, self.given
        following = f.binary("add", strip, 1)
        more = f.compare("slt", following, strips[1])
        column = f.binary("mul", f.select(more, following, strips[0]), given["columns"])
        rows = f.binary("add", tile, f.select(more, f.const("i64", 0), 1))
        down = f.binary("mul", f.binary("mul", rows, given["rows"]), given["wanted_row"])
        along = self._bytes_in_strips(column, column, given["wanted_beyond"])
        at = f.gep(given["wanted"], f.binary("add", down, along), "i8", inbounds=False)
        known = f.compare("ne", given["wanted"], f.const("ptr", 0))
        return f.select(known, at, sums), f.select(known, given["wanted_step"], 0)

    def _upcoming_row(self, tile: Value, number: Value, blocks: _Range, other: _Ahead) -> _Ahead:
        """Of the rows that are copied for the next tile, the one with this number; or else `other`:
        the copies of a large operand would wait for memory while nothing else is done."""
        f, given, name = self.f, self.given, self.a_names[0]
        row = f.binary("add", f.binary("mul", f.binary("add", tile, 1), given["rows"]), number)
        row = f.intrinsic("llvm.smin", "i64", row, f.binary("sub", given["m_limit"], 1))
        piece = self._first_piece(blocks[0])
        offset = f.load("i64", f.gep(given[f"{name}_source_offsets"], piece, "i64"))
        first = f.gep(given[f"{name}_source"], self._bytes_to(name, row), "i8", inbounds=False)
        at, step = f.gep(first, offset, "i8", inbounds=False), given["rows_step"]
        known = f.compare("ne", step, 0)
        return f.select(known, at, other[0]), f.select(known, step, other[1])

    def _spread(self, upcoming: _Ahead, number: Value) -> _Ahead:
        """What tile `number` fetches of the rows to come: the first tile the first line of each,
        the second the second, later ones nothing: what is asked for late comes late."""
        f = self.f
        line = f.binary("mul", number, LINE_BYTES)
        has_one = f.compare("slt", line, f.binary("mul", self.given["columns"], self.size))
        at = f.gep(upcoming[0], line, "i8", inbounds=False)
        return f.select(has_one, at, self.given["sums"]), f.select(has_one, upcoming[1], 0)

    # -- packing ----------------------------------------------------------------------------

    def _pack(
        self, name: str, part: _Range, place: Value, blocks: _Range, bank: Value | None = None
    ) -> None:
        """Pack a part of an operand, all pieces of some blocks, at this place among its parts."""
        f, given = self.f, self.given
        first, end = self._first_piece(blocks[0]), self._first_piece(blocks[1])
        parts = f.binary("mul", place, given[f"{name}_part"])
        target = f.gep(given[f"{name}_base"], parts, "i8")
        before = self._terms_before(blocks[0])
        steps = given[f"{name}_by_term"], given[f"{name}_by_part"]
        valid = f.binary("sub", part[1], part[0])
        along = f.gep(given[f"{name}_source"], self._bytes_to(name, part[0]), "i8")
        if bank is not None:
            along = f.gep(along, f.binary("mul", bank, given[f"{name}_bank"]), "i8")
        with f.loop(first, end) as loop:
            piece = loop.index
            count, start, offset = (
                f.load("i64", f.gep(given[column], piece, "i64"))
                for column in ("counts", "starts", f"{name}_source_offsets")
            )
            done = f.binary("mul", f.binary("sub", start, before), given[f"{name}_step"])
            source, packed = f.gep(along, offset, "i8"), f.gep(target, done, "i8")
            where = [part[0], given["points"], f.gep(given["k0_points"], piece, "i64")]
            with f.loop(0, count, given[f"{name}_even_terms"]) as even:
                left = f.binary("sub", count, even.index)
                terms = f.intrinsic("llvm.smin", "i64", left, given[f"{name}_even_terms"])
                from_ = f.binary("mul", even.index, given[f"{name}_k{self.form.axes - 1}"])
                to = f.binary("mul", even.index, given[f"{name}_step"])
                arguments = [
                    f.gep(source, from_, "i8"), *steps, valid, terms, f.gep(packed, to, "i8"),
                    given[f"{name}_width"], *where,
                ]  # fmt: skip
                f.call_pointer("void", given[f"{name}_pack"], arguments)
