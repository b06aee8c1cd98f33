"""What the loops of a contraction (blocked.py) find in tables: of an axis, an operand, a block.

In: constants of one contraction (numbers.py), its table of terms (terms.py), pointers of its
operands. Out: code that computes where parts of operands begin, end and are packed. Of what both
axes have, the number of N stands after that of M, so that one piece of code serves both axes, 0 and
1; so do the numbers of operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from ..loops.schedule import STRIP
from .context import FIELD_BYTES, KernelContext
from .emit import FunctionEmitter, Operand, Value
from .numbers import AHEAD_BYTES, Given
from .terms import FIRST_COLUMNS, OF_OPERAND, number_names
from .values import SIZE_BYTES

_NUMBERS = (
    "rows", "columns", "m_extent", "n_extent", "m_per_row", "n_per_row", "m_last", "n_last",
    "m_banks", "n_banks", "m_at_once", "n_at_once", "m_shared", "n_shared",
    "m_places", "n_places", "m_staged", "n_staged", "sums_tile", "sums_strip",
    "tiles", "strips", "outer", "group", "depth", "kept_size", "sums",
    "table", "blocks", "column_bytes", "ahead_step", "wanted_row", "wanted_beyond", "wanted_step",
    "rows_step",
)  # fmt: skip
"""m_extent, ...   where the axes of rows and columns end (terms.py), the rows of one bank
m_last, n_last  where the last tile and strip begin at the latest; -1: anywhere
m_banks         how many banks of rows; n_banks: 1
m_at_once       tiles of one call at most; n_at_once: 1
m_shared        -1: threads share the tiles, 0: each does all of them; n_shared: the strips
m_staged        whether an operand with rows is not in place; n_staged: with columns
m_places        which bits of a tile's number in its block say at which place it is packed; n_places
sums            where in the workspace; an element takes kept_size bytes, the sums of a tile are
                sums_tile bytes from those of the next call's first tile for each tile between them,
                sums_strip from those of the next strip
outer           the axis of the outer parts; group: blocks of the sum, at most
table, blocks   where in the workspace the table of terms is
ahead_step      bytes from row to row of b0, of which those that are read next are fetched; 0: none
wanted_row      bytes from row to row of what the epilogue reads, whose columns lie side by side but
                for what wanted_beyond adds as `beyond` does; wanted_step: bytes of a tile's part of
                it to a term
rows_step       0, or where rows of A are copied for each tile: bytes of one of them to a term
"""

_OPERAND_NUMBERS = (
    "by_term", "by_part", "bank", "strip", "beyond", "even_terms", "even_bytes", "room", "step",
    "row", "part", "width",
)  # fmt: skip
"""bank    bytes from bank to bank, 0 of an operand that has columns
strip  bytes from strip to strip, of one that has rows and is spread over the columns; else 0
beyond  bytes that each whole strip before a point (schedule.py) adds to what `by_part` says
even_terms  of so many terms, from the first of a piece on, one lies `by_term` behind the other; the
            first of the next ones lies even_bytes * even_terms behind
room   where in the workspace the operand is packed
step   bytes from term to term where tiles read it
row    bytes from row to row there, of an operand that has rows
part   bytes from tile to tile there, or where it is packed from part to part
width  what packing functions call so
"""


_ROOM_OF_AXES = 21


@dataclass(frozen=True)
class BlockedForm:
    """What is fixed in the code; of the table of numbers, what follows from `axes` stands last.

    kind     type of an element
    a, b     numbers of distinct operands; the sums share that of which there is one
    axes     that are summed over, and which of them is cut into blocks: `cut`
    numbers  type of the constants
    """

    kind: str
    a: int
    b: int
    axes: int
    cut: int
    numbers: str

    @property
    def dots(self) -> list[tuple[int, int]]:
        """The operands of each sum, by their numbers."""
        count = max(self.a, self.b)
        return [(min(d, self.a - 1), self.a + min(d, self.b - 1)) for d in range(count)]

    @property
    def is_pair(self) -> bool:
        """Whether each axis has one operand, which has the number of the axis."""
        return self.a == self.b == 1

    @property
    def operands(self) -> list[str]:
        return [name for side in operand_names(self.a, self.b) for name in side]

    @property
    def number_names(self) -> list[str]:
        """All numbers, those that depend on how many axes there are last."""
        of_operands = [f"{name}_{what}" for name in self.operands for what in _OPERAND_NUMBERS]
        return [*_NUMBERS, *of_operands, *number_names(self.operands, self.axes)]

    @property
    def room(self) -> int:
        """For how many numbers there is room where short ones are made longer: for those of sums
        over some axes, whatever the form's own are."""
        return len(_NUMBERS) + len(self.operands) * len(_OPERAND_NUMBERS) + _ROOM_OF_AXES

    @property
    def symbol(self) -> str:
        """What functions for this form are called, but for their first word."""
        return f"{self.kind}_{self.a}x{self.b}_{self.numbers}"


def order_numbers(
    each: Literal["strip", "tile"], depth: int, b_by_part: int, b_term_bytes: int, at_once: int
) -> dict[str, int]:
    """The numbers that say which of the two orders is taken (see the module's text).

    Rows of b are fetched early only where its columns lie together, which is where rows lie far
    apart, and where a strip has many tiles in whose time that can be done. at_once: tiles of one
    call that are packed just before it, a power of two.
    """
    by_strips = each == "strip"
    return {
        "outer": int(by_strips), "group": 1 if by_strips else depth,
        "m_places": -1 if by_strips else at_once - 1, "n_places": int(by_strips) - 1,
        "ahead_step": b_term_bytes if by_strips and b_by_part == 1 else 0,
    }  # fmt: skip


def operand_names(a: int, b: int) -> tuple[list[str], list[str]]:
    """Names for so many operands of either side."""
    return [f"a{n}" for n in range(a)], [f"b{n}" for n in range(b)]


class Kept:
    """Numbers and pointers in memory by name; of what both axes have, N's stands after M's.

    A contraction's own function, or the one for all that have none, has the memory on its stack.
    What it hands on is an address AHEAD_BYTES behind the first of them (numbers.py), so what is
    used least stands last.
    """

    _NAMES = (
        "numbers", "points", "tile", "epilogue", "table", "blocks", "blocks_limit", "sums",
        "limit", "limit_n", "first", "first_n", "end", "end_n",
        "number", "number_n", "within", "within_n", "together", "together_n", "bank", "bank_n",
    )  # fmt: skip
    """numbers   AHEAD_BYTES behind the first number of the table
    points   handed on to packing functions and the epilogue; the first is written here: the bank
    tile, epilogue   functions
    table, blocks, sums   in the workspace; blocks_limit: how many blocks of the sum there are
    limit    where the axis ends, in points of one bank
    first, end           parts of the block: tiles or strips
    number      of the part that is worked on; within: the same in its bank
    together    how many are, with those that follow it in its bank: all are full, or it is one
    bank        number of the bank
    """
    _LAST = ("parts", "parts_n", "full", "full_n", "all_first", "all_first_n", "all_end",
             "all_end_n")  # fmt: skip
    """parts   tiles of one bank, or strips; full: of so many points, or with room for as many
    all_first, all_end   those that are this thread's, counted through all banks
    """
    _FOUND = ("source", "pack", "at", "offsets")
    """Of each operand: its first element; the function that packs it, null: it is read in place;
    where its part is found, and its pieces' offsets from there. Before all: `wanted`, the first
    element of what the epilogue reads and the tile before fetches; null: of nothing."""

    def __init__(self, f: FunctionEmitter, form: BlockedForm, memory: Value) -> None:
        self._f, self.memory, operands = f, memory, len(form.operands)
        self._kinds = {name: place for place, name in enumerate(self._NAMES)}
        self._kinds["wanted"] = place = len(self._NAMES)
        self._kinds |= {what: place + 1 + n * operands for n, what in enumerate(self._FOUND)}
        place += 1 + operands * len(self._FOUND)
        self._kinds |= {name: place + n for n, name in enumerate(self._LAST)}
        self._size = place + len(self._LAST)

    @classmethod
    def allocated(cls, f: FunctionEmitter, form: BlockedForm) -> Kept:
        """Such memory, with room behind it for numbers that are made longer."""
        size = cls(f, form, f.const("ptr", 0))._size
        more = form.room * SIZE_BYTES[form.numbers] // FIELD_BYTES
        first = f.alloca("i64", size + more, align=FIELD_BYTES)
        return cls(f, form, f.gep(first, AHEAD_BYTES, "i8"))

    @property
    def numbers(self) -> Value:
        """Where that room is."""
        return self._at(self._size, 0)

    def get(self, name: str, axis: Operand = 0, kind: str = "i64") -> Value:
        return self._f.load(kind, self._at(self._kinds[name], axis))

    def set(self, name: str, value: Value, axis: Operand = 0) -> None:
        self._f.store(value, self._at(self._kinds[name], axis))

    def found(self, name: str, operand: Operand) -> Value:
        return self.get(name, operand, "ptr")

    def set_found(self, name: str, value: Value, operand: Operand) -> None:
        self.set(name, value, operand)

    def _at(self, place: int, after: Operand) -> Value:
        first = self._f.gep(self.memory, after, "i64")
        return self._f.gep(first, place * FIELD_BYTES - AHEAD_BYTES, "i8")


class Tables:
    """Emits what is found in the tables into one function."""

    def __init__(self, f: FunctionEmitter, form: BlockedForm, kept: Kept) -> None:
        self.f, self.form, self.kept = f, form, kept
        self.size = SIZE_BYTES[form.kind]
        given = {"numbers": kept.get("numbers", kind="ptr")}
        self.given = Given(f, given, form.number_names, form.numbers)
        self.context = KernelContext(f, ())

    # -- of the table of terms ----------------------------------------------------------------

    def column(self, number: Operand, piece: Value) -> Value:
        """Where the table's column `number` has its entry for a piece."""
        f, given = self.f, self.given
        table = self.kept.get("table", kind="ptr")
        start = f.gep(table, f.binary("mul", given["column_bytes"], number), "i8")
        return f.gep(start, piece, "i64")

    def first_piece(self, block: Value) -> Value:
        blocks = self.kept.get("blocks", kind="ptr")
        return self.f.load("i64", self.f.gep(blocks, block, "i64"))

    def counts(self, piece: Value) -> Value:
        return self.column(0, piece)

    def terms_before(self, piece: Value) -> Value:
        return self.f.load("i64", self.column(1, piece))

    def offsets(self, operand: Operand, piece: Value, packed: Operand = 0) -> Value:
        """Where the offsets of an operand are from a piece on: in its source, or where packed."""
        f = self.f
        place = f.binary("mul", f.operand(operand, "i64"), len(OF_OPERAND))
        return self.column(
            f.binary("add", f.binary("add", place, packed), len(FIRST_COLUMNS)), piece
        )

    # -- of an axis -----------------------------------------------------------------------------

    def part_size(self, axis: Operand) -> Value:
        """Rows of a tile, columns of a strip."""
        return self.given.after("rows", axis)

    def within(self, axis: Operand, number: Value) -> tuple[Value, Value]:
        """The bank of a part, and its number there."""
        f, parts = self.f, self.kept.get("parts", axis)
        bank = f.binary("udiv", number, parts)
        return bank, f.binary("sub", number, f.binary("mul", bank, parts))

    def points(
        self, axis: Operand, first: Value, count: Value | None = None
    ) -> tuple[Value, Value]:
        """The points of a part with this number in its bank, or of some that follow it."""
        f, size = self.f, self.part_size(axis)
        start = f.binary("mul", first, size)
        length = size if count is None else f.binary("mul", size, count)
        return start, self.clipped(start, length, self.kept.get("limit", axis))

    def clipped(self, start: Value, size: Value, limit: Value) -> Value:
        return self.f.intrinsic("llvm.smin", "i64", self.f.binary("add", start, size), limit)

    def begins(self, axis: Operand, start: Value) -> Value:
        """Where the tile or strip begins that has this point first."""
        return self.f.intrinsic("llvm.umin", "i64", start, self.given.after("m_last", axis))

    def nth(self, axis: Operand, number: Value) -> Value:
        """How many parts of the block come before this one."""
        return self.f.binary("sub", number, self.kept.get("first", axis))

    # -- of an operand --------------------------------------------------------------------------

    @contextmanager
    def along(self, axis: Value) -> Iterator[Value]:
        """The operands that have an axis, one after the other."""
        f, a, b = self.f, self.form.a, self.form.b
        if self.form.is_pair:
            yield axis
            return
        of_columns = f.compare("ne", axis, 0)
        first, end = f.const("i64", a), f.const("i64", a + b)
        with f.loop(f.select(of_columns, first, 0), f.select(of_columns, end, first)) as loop:
            yield loop.index

    def number(self, operand: Operand, what: str) -> Value:
        first = f"{self.form.operands[0]}_{what}"
        return self.given.after(first, operand, len(_OPERAND_NUMBERS))

    def pack(self, operand: Operand) -> Value:
        return self.kept.found("pack", operand)

    def source(self, operand: Operand) -> Value:
        return self.kept.found("source", operand)

    def is_staged(self, operand: Operand) -> Value:
        return self.f.compare("ne", self.pack(operand), self.f.const("ptr", 0))

    def packed(self, operand: Operand, axis: Operand, number: Value) -> Value:
        """Where part `number` is packed."""
        f, given = self.f, self.given
        place = f.binary("and", self.nth(axis, number), given.after("m_places", axis))
        room = f.gep(self.context.parameter("workspace"), self.number(operand, "room"), "i8")
        return f.gep(room, f.binary("mul", place, self.number(operand, "part")), "i8")

    def at(self, operand: Operand, point: Value, bank: Value | None = None) -> Value:
        """Where an operand's element at this point of its own run is, and of this bank."""
        f = self.f
        along = f.binary("mul", point, self.number(operand, "by_part"))
        along = f.binary("mul", along, self.size)
        offset = self.bytes_in_strips(along, point, self.number(operand, "beyond"))
        if bank is not None:
            offset = f.binary("add", offset, f.binary("mul", bank, self.number(operand, "bank")))
        return f.gep(self.source(operand), offset, "i8", inbounds=False)

    def bytes_in_strips(self, along: Value, point: Value, beyond: Value) -> Value:
        """So many bytes, and what each whole strip before this point adds."""
        f = self.f
        strips = f.binary("lshr", point, STRIP.bit_length() - 1)
        return f.binary("add", along, f.binary("mul", strips, beyond))
