"""The loops of the blocked contraction, as one function of the module for all of them.

In: where operands, limits and workspace are, how large blocks are, which share is this thread's.
Out: `epilogue` was called for every tile, its sums complete.

    for each block of N, of `strips` strips; for each block of M, of `tiles` tiles;
    for each block of K, of `depth` terms:
        few rows     pack the block's tiles of A; for each strip: pack it, run every tile
        many rows    pack the block's strips of B; for each tile: pack its rows, run every strip

Tiles are `rows` high, strips `columns` wide; what is packed looks as tiles.py says. Nothing of a
contraction is fixed in this code but its element type and whether its rows are few, so a training
step, which has a dozen contractions, has it once or twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from .emit import FunctionEmitter, Value
from .shares import share
from .tiles import PANEL

_OPERAND = (("ptr", "pack"), ("ptr", "source"), ("i64", "by_k"), ("i64", "by_axis"))
PARAMETERS = (
    ("ptr", "frame"), ("ptr", "points"), ("ptr", "epilogue"),
    *((kind, f"a_{name}") for kind, name in _OPERAND), ("ptr", "a_packed"),
    *((kind, f"b_{name}") for kind, name in _OPERAND), ("ptr", "b_packed"),
    ("ptr", "tile"), ("i64", "rows"), ("i64", "columns"), ("ptr", "sums"), ("i64", "sums_step"),
    ("i64", "m_limit"), ("i64", "n_limit"), ("i64", "k_limit"),
    ("i64", "tiles"), ("i64", "strips"), ("i64", "depth"),
    ("i64", "m_share"), ("i64", "m_shares"), ("i64", "n_share"), ("i64", "n_shares"),
)  # fmt: skip
"""frame, points   handed on to `epilogue` and to the packing functions
pack            a function with PACK_PARAMETERS; a plain operand's element (k, n) is at
                source + k * by_k + n * by_axis
tile            the register tile's function, for `rows` x `columns` sums
sums_step       bytes from the sums of one tile to the next; 0 if no tile is kept for long
m_share         this thread's share, of `m_shares` of the tiles; n_share of the strips
"""

EPILOGUE_PARAMETERS = (
    ("ptr", "frame"), ("ptr", "points"), ("ptr", "sums"),
    ("i64", "m0"), ("i64", "m1"), ("i64", "n0"), ("i64", "n1"),
)  # fmt: skip
"""sums: one tile's, for rows m0 to m1 and columns n0 to n1."""

_Range = tuple[Value, Value]
"""Where something starts, and one past its end."""


def blocked_function(f: FunctionEmitter, kind: str, few_rows: bool) -> str:
    """void blocked(PARAMETERS)."""
    name = f"blocked_{'few' if few_rows else 'many'}_{kind}"
    if name not in f.helpers:
        f.helpers[name] = _BlockedEmitter(name, kind, few_rows).emit()
    return name


class _BlockedEmitter:
    """Emits one such function, for elements of this kind."""

    def __init__(self, name: str, kind: str, few_rows: bool) -> None:
        attributes = "noinline nounwind"
        self.f = FunctionEmitter(name, PARAMETERS, linkage="internal", attributes=attributes)
        self.kind = kind
        self.few_rows = few_rows
        self.given: Mapping[str, Value] = {
            label: self.f.parameter(number) for number, (_, label) in enumerate(PARAMETERS)
        }
        self.panel_elements = self.f.binary("mul", self.given["depth"], PANEL)
        self.strip_elements = self.f.binary("mul", self.given["depth"], self.given["columns"])

    def emit(self) -> FunctionEmitter:
        f, given = self.f, self.given
        all_tiles = self._share("m", given["rows"])
        all_strips = self._share("n", given["columns"])
        block = self._by_strips if self.few_rows else self._by_tiles
        with f.loop(*all_strips, given["strips"]) as n_block:
            strips = self._clipped(n_block.index, given["strips"], all_strips[1])
            with f.loop(*all_tiles, given["tiles"]) as m_block:
                tiles = self._clipped(m_block.index, given["tiles"], all_tiles[1])
                with f.loop(0, given["k_limit"], given["depth"]) as k_block:
                    terms = self._clipped(k_block.index, given["depth"], given["k_limit"])
                    block(tiles, strips, terms)
        f.ret()
        return f

    def _share(self, axis: str, size: Value) -> _Range:
        """This thread's tiles or strips."""
        f, given = self.f, self.given
        most = f.binary("add", given[f"{axis}_limit"], f.binary("sub", size, 1))
        count = f.binary("udiv", most, size)
        return share(f, count, given[f"{axis}_share"], given[f"{axis}_shares"])

    def _clipped(self, start: Value, size: Value, limit: Value) -> _Range:
        end = self.f.binary("add", start, size)
        return start, self.f.intrinsic("llvm.smin", "i64", end, limit)

    def _by_strips(self, tiles: _Range, strips: _Range, terms: _Range) -> None:
        f = self.f
        with f.loop(*tiles) as loop:
            self._pack_tile(self._rows(loop.index), f.binary("sub", loop.index, tiles[0]), terms)
        with f.loop(*strips) as outer:
            columns = self._columns(outer.index)
            strip = self._pack_strip(columns, f.const("i64", 0), terms)
            ahead = self._next_strip(columns, strip, terms)
            with f.loop(*tiles) as inner:
                panel = self._panel(f.binary("sub", inner.index, tiles[0]))
                sums = self._sums(inner.index, outer.index, tiles, strips)
                self._tile(panel, strip, sums, self._rows(inner.index), columns, terms, ahead)

    def _by_tiles(self, tiles: _Range, strips: _Range, terms: _Range) -> None:
        f = self.f
        with f.loop(*strips) as loop:
            place = f.binary("sub", loop.index, strips[0])
            self._pack_strip(self._columns(loop.index), place, terms)
        with f.loop(*tiles) as outer:
            rows = self._rows(outer.index)
            panel = self._pack_tile(rows, f.const("i64", 0), terms)
            ahead = panel, f.const("i64", 0)
            with f.loop(*strips) as inner:
                strip = self._strip(f.binary("sub", inner.index, strips[0]))
                sums = self._sums(outer.index, inner.index, tiles, strips)
                self._tile(panel, strip, sums, rows, self._columns(inner.index), terms, ahead)

    def _tile(
        self, panel: Value, strip: Value, sums: Value, rows: _Range, columns: _Range,
        terms: _Range, ahead: tuple[Value, Value],
    ) -> None:  # fmt: skip
        """One register tile over this block of K; after the last block, its epilogue."""
        f, given = self.f, self.given
        again, count = f.compare("ne", terms[0], 0), f.binary("sub", terms[1], terms[0])
        f.call_pointer("void", given["tile"], [panel, strip, sums, count, again, *ahead])
        with f.if_(f.compare("eq", terms[1], given["k_limit"])):
            arguments = [given["frame"], given["points"], sums, *rows, *columns]
            f.call_pointer("void", given["epilogue"], arguments)

    # -- places -----------------------------------------------------------------------------

    def _rows(self, tile: Value) -> _Range:
        rows = self.given["rows"]
        return self._clipped(self.f.binary("mul", tile, rows), rows, self.given["m_limit"])

    def _columns(self, strip: Value) -> _Range:
        columns = self.given["columns"]
        return self._clipped(self.f.binary("mul", strip, columns), columns, self.given["n_limit"])

    def _panel(self, number: Value) -> Value:
        step = self.f.binary("mul", number, self.panel_elements)
        return self.f.gep(self.given["a_packed"], step, self.kind)

    def _strip(self, number: Value) -> Value:
        step = self.f.binary("mul", number, self.strip_elements)
        return self.f.gep(self.given["b_packed"], step, self.kind)

    def _sums(self, tile: Value, strip: Value, tiles: _Range, strips: _Range) -> Value:
        f, given = self.f, self.given
        row = f.binary("mul", f.binary("sub", tile, tiles[0]), given["strips"])
        place = f.binary("add", row, f.binary("sub", strip, strips[0]))
        return f.gep(given["sums"], f.binary("mul", place, given["sums_step"]), "i8")

    def _source(self, operand: str, start: Value, k0: Value) -> Value:
        """Address of a plain operand's element (k0, start); it may lie past the end."""
        f, given = self.f, self.given
        by_axis = f.binary("mul", start, given[f"{operand}_by_axis"])
        step = f.binary("add", by_axis, f.binary("mul", k0, given[f"{operand}_by_k"]))
        return f.gep(given[f"{operand}_source"], step, self.kind, inbounds=False)

    def _next_strip(self, columns: _Range, other: Value, terms: _Range) -> tuple[Value, Value]:
        """What the tiles of a strip fetch meanwhile: rows of the next, if packing reads rows."""
        f, given = self.f, self.given
        following = f.binary("add", columns[0], given["columns"])
        start = self._source("b", following, terms[0])
        reads_rows = f.compare("eq", given["b_by_axis"], 1)
        return f.select(reads_rows, start, other), f.select(reads_rows, given["b_by_k"], 0)

    # -- packing ----------------------------------------------------------------------------

    def _pack_tile(self, rows: _Range, place: Value, terms: _Range) -> Value:
        width = self.f.const("i64", PANEL)
        return self._pack("a", rows, terms, self._panel(place), width)

    def _pack_strip(self, columns: _Range, place: Value, terms: _Range) -> Value:
        return self._pack("b", columns, terms, self._strip(place), self.given["columns"])

    def _pack(
        self, operand: str, part: _Range, terms: _Range, target: Value, width: Value
    ) -> Value:
        """Pack a part, at most `width`, of an operand's own axis; gives `target` back."""
        f, given = self.f, self.given
        source = self._source(operand, part[0], terms[0])
        steps = given[f"{operand}_by_k"], given[f"{operand}_by_axis"]
        sizes = [f.binary("sub", end, start) for start, end in (part, terms)]
        place = [target, width, part[0], terms[0], given["points"]]
        f.call_pointer("void", given[f"{operand}_pack"], [source, *steps, *sizes, *place])
        return target
