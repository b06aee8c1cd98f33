"""Building blocks of the blocked contraction: the register tile and the packing routines.

Shared by every contraction of a module: strides and lengths are run-time arguments, so a training
step needs two or three register tiles in all, which is most of what its compilation costs.

Packed operands. The broadcast operand A lies in panels of `rows` x kc, element (i, k) at
k * PANEL + i; the vector operand B in strips kc x `columns`, element (k, j) at k * columns + j.
Padding rows and columns hold copies of real elements or nothing at all; what they produce is
never stored.

The register tile keeps rows x columns accumulators in vector registers: for each k it loads the
strip's vectors, broadcasts one element of A per row and issues one FMA per accumulator. The order
over k is that of the loop, one rounding per step, whatever the tile and the target; what a block of
a long sum comes to is added to a double in memory.
Source: Goto and van de Geijn, 2008, "Anatomy of high-performance matrix multiplication".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..loops.order import BLOCK_TERMS
from ..types import DType
from .emit import FunctionEmitter, Value, llvm_type
from .values import SIZE_BYTES
from .vectors import first_lanes

PANEL = 16
CACHE_LINE_BYTES = 64
_BLOCK = 8


@dataclass(frozen=True)
class TileShape:
    """rows x columns accumulators, `lanes` of them to a register."""

    rows: int
    columns: int
    lanes: int
    scalar: str


def largest_tile(dtype: DType, vector_bytes: int, columns_wanted: int) -> TileShape:
    """The biggest register tile that does not spill: 28 of 32 registers, or 12 of 16."""
    scalar = llvm_type(dtype)
    lanes = vector_bytes // SIZE_BYTES[scalar]
    wide = vector_bytes == 64
    vectors = 2 if wide else max(2, 16 // lanes)
    if wide and columns_wanted <= lanes and lanes == 16:
        vectors = 1
    registers = 28 if wide else 12
    return TileShape(min(14, registers // vectors), vectors * lanes, lanes, scalar)


def kept_type(kind: str, long: bool) -> str:
    """The type of a tile's sums in memory: that of what is kept of all blocks, if they are long."""
    return "double" if long else kind


def tile_function(f: FunctionEmitter, tile: TileShape, long: bool) -> str:
    """void tile(a, b, c, kc, accumulate, next, stride): c (+)= A panel times B strip.

    c is rows x columns of `kept_type`. The kc terms go on from what is there; those of a long sum
    are added in blocks (loops/order.py), the first of which begins with the panel.

    `next` is the first of kc rows, `stride` elements apart, that the next packing will read: their
    cache lines are fetched meanwhile. Rows that lie a page apart are beyond what the hardware
    prefetches by itself.
    """
    name = f"tile_{tile.scalar}_{tile.rows}x{tile.columns}x{tile.lanes}{'_long' if long else ''}"
    if name not in f.helpers:
        f.helpers[name] = _TileEmitter(name, tile).emit(long)
    return name


class _TileEmitter:
    """Emits one register tile."""

    def __init__(self, name: str, tile: TileShape) -> None:
        parameters = (
            ("ptr", "a"), ("ptr", "b"), ("ptr", "c"), ("i64", "kc"), ("i1", "accumulate"),
            ("ptr", "next"), ("i64", "stride"),
        )  # fmt: skip
        self.g = FunctionEmitter(
            name, parameters, linkage="internal", attributes="noinline nounwind"
        )
        self.tile, self.kind = tile, tile.scalar
        self.vectors = tile.columns // tile.lanes
        self.places = [(i, j) for i in range(tile.rows) for j in range(self.vectors)]

    def emit(self, long: bool) -> FunctionEmitter:
        g = self.g
        a, b, _, kc, accumulate, upcoming, _ = (g.parameter(n) for n in range(7))
        if not long:
            with g.if_else(accumulate) as start:
                start.give(*(self._loaded(self.kind, i, j) for i, j in self.places))
                start.otherwise()
                start.give(*self._zeros(self.kind))
            *_, sums = self._terms([a, b, upcoming], start.results, kc)
            self._store(self.kind, sums)
        else:
            with g.if_(g.binary("xor", accumulate, g.const("i1", True))):
                self._store(kept_type(self.kind, long), self._zeros(kept_type(self.kind, long)))
            terms = g.const("i64", BLOCK_TERMS["dot"])
            with g.loop(0, kc, BLOCK_TERMS["dot"], carried=[a, b, upcoming], guard=False) as loop:
                left = g.binary("sub", kc, loop.index)
                count = g.intrinsic("llvm.smin", "i64", left, terms)
                *pointers, sums = self._terms(loop.carried, self._zeros(self.kind), count)
                self._keep(sums)
                loop.next(pointers)
        g.ret()
        return g

    def _zeros(self, kind: str) -> list[Value]:
        return [self.g.const(kind, 0, self.tile.lanes) for _ in self.places]

    def _terms(
        self, pointers: Sequence[Value], sums: Sequence[Value], count: Value
    ) -> tuple[Value, Value, Value, list[Value]]:
        """Add `count` products to the sums; where panel, strip and what comes next go on."""
        g, kind, tile = self.g, self.kind, self.tile
        stride = g.parameter(6)
        with g.loop(0, count, carried=[*pointers, *sums], guard=False) as loop:
            left, right, ahead, *sums = loop.carried
            for line in range(0, tile.columns * SIZE_BYTES[kind], CACHE_LINE_BYTES):
                g.prefetch(g.gep(ahead, line, "i8"), locality=2)
            strip = [
                g.load(kind, g.gep(right, j * tile.lanes, kind), tile.lanes)
                for j in range(self.vectors)
            ]
            for i in range(tile.rows):
                element = g.splat(g.load(kind, g.gep(left, i, kind)), tile.lanes)
                for j in range(self.vectors):
                    place = i * self.vectors + j
                    sums[place] = g.fma(element, strip[j], sums[place])
            following = g.gep(ahead, stride, kind, inbounds=False)
            right = g.gep(right, tile.columns, kind)
            loop.next([g.gep(left, PANEL, kind), right, following, *sums])
        left, right, ahead, *sums = loop.results
        return left, right, ahead, sums

    def _keep(self, sums: Sequence[Value]) -> None:
        """Add the sums of a block to what is kept in c."""
        kept = kept_type(self.kind, long=True)
        for (i, j), total in zip(self.places, sums, strict=True):
            wide = self.g.add(self._loaded(kept, i, j), self.g.cast("fpext", total, kept))
            self.g.store(wide, self._at(kept, i, j))

    def _at(self, kind: str, i: int, j: int) -> Value:
        return self.g.gep(self.g.parameter(2), i * self.tile.columns + j * self.tile.lanes, kind)

    def _loaded(self, kind: str, i: int, j: int) -> Value:
        return self.g.load(kind, self._at(kind, i, j), self.tile.lanes)

    def _store(self, kind: str, sums: Sequence[Value]) -> None:
        for (i, j), total in zip(self.places, sums, strict=True):
            self.g.store(total, self._at(kind, i, j))


PACK_PARAMETERS = (
    ("ptr", "source"), ("i64", "stride_k"), ("i64", "stride_n"), ("i64", "valid"),
    ("i64", "kc"), ("ptr", "target"), ("i64", "width"),
    ("i64", "start"), ("i64", "k0"), ("ptr", "points"),
)  # fmt: skip
"""source: element (k, n) at k * stride_k + n * stride_n; target: at k * width + n.

valid columns are read, at least one; width is a multiple of 16. What is packed begins at
(k0, start) of the operand: who computes elements needs to know that, and `points` (blocked.py).
"""


def _parameters(g: FunctionEmitter) -> list[Value]:
    return [g.parameter(n) for n in range(len(PACK_PARAMETERS))]


def pack_rows_function(f: FunctionEmitter, kind: str) -> str:
    """Packing where stride_n is 1: rows of up to `width` elements are copied."""
    name = f"pack_rows_{kind}"
    if name not in f.helpers:
        g = FunctionEmitter(
            name, PACK_PARAMETERS, linkage="internal", attributes="noinline nounwind"
        )
        f.helpers[name] = g
        source, stride_k, _, valid, kc, target, width, *_ = _parameters(g)
        with g.loop(0, width, PANEL) as group:
            left = g.binary("sub", valid, group.index)
            from_, to = g.gep(source, group.index, kind), g.gep(target, group.index, kind)
            with g.if_else(g.compare("sge", left, PANEL)) as whole:
                with g.loop(0, kc, carried=[from_, to]) as loop:
                    row, out = loop.carried
                    g.store(g.load(kind, row, PANEL), out)
                    loop.next([g.gep(row, stride_k, kind), g.gep(out, width, kind)])
                whole.otherwise()
                mask = first_lanes(g, left, PANEL)
                with g.loop(0, kc, carried=[from_, to]) as loop:
                    row, out = loop.carried
                    g.store(g.masked_load(kind, row, mask, PANEL), out)
                    loop.next([g.gep(row, stride_k, kind), g.gep(out, width, kind)])
        g.ret()
    return name


def pack_columns_function(f: FunctionEmitter, kind: str) -> str:
    """Packing where stride_k is 1: 8 x 8 blocks are transposed in registers.

    A column beyond `valid` is a copy of the last valid one, so that no element outside is read.
    """
    name = f"pack_columns_{kind}"
    if name not in f.helpers:
        f.helpers[name] = _emit_pack_columns(name, kind)
    return name


def _emit_pack_columns(name: str, kind: str) -> FunctionEmitter:
    g = FunctionEmitter(name, PACK_PARAMETERS, linkage="internal", attributes="noinline nounwind")
    source, _, stride_n, valid, kc, target, width, *_ = _parameters(g)
    whole = g.binary("and", kc, -_BLOCK)
    with g.loop(0, width, _BLOCK) as group:
        columns = []
        for i in range(_BLOCK):
            column = g.binary("add", group.index, i)
            inside = g.intrinsic("llvm.smin", "i64", column, g.binary("sub", valid, 1))
            columns.append(g.gep(source, g.binary("mul", inside, stride_n), kind))
        to = g.gep(target, group.index, kind)
        with g.loop(0, whole, _BLOCK) as loop:
            rows = [g.load(kind, g.gep(c, loop.index, kind), _BLOCK) for c in columns]
            out = g.gep(to, g.binary("mul", loop.index, width), kind)
            for row in transpose(g, rows):
                g.store(row, out)
                out = g.gep(out, width, kind)
        with g.loop(whole, kc) as loop:
            out = g.gep(to, g.binary("mul", loop.index, width), kind)
            for i, column in enumerate(columns):
                element = g.load(kind, g.gep(column, loop.index, kind))
                g.store(element, g.gep(out, i, kind))
    g.ret()
    return g


def transpose(f: FunctionEmitter, rows: Sequence[Value]) -> list[Value]:
    """A square of vectors transposed: log2(n) rounds of exchanges between rows s apart."""
    size = len(rows)
    result, step = list(rows), size // 2
    while step:
        for i in range(size):
            if i & step:
                continue
            a, b = result[i], result[i | step]
            low = [lane if not lane & step else size + lane - step for lane in range(size)]
            high = [lane + step if not lane & step else size + lane for lane in range(size)]
            result[i], result[i | step] = f.shuffle(a, b, low), f.shuffle(a, b, high)
        step //= 2
    return result


def pack_any_function(f: FunctionEmitter, kind: str) -> str:
    """Packing with two arbitrary strides, element by element."""
    name = f"pack_any_{kind}"
    if name not in f.helpers:
        g = FunctionEmitter(
            name, PACK_PARAMETERS, linkage="internal", attributes="noinline nounwind"
        )
        f.helpers[name] = g
        source, stride_k, stride_n, valid, kc, target, width, *_ = _parameters(g)
        columns = g.intrinsic("llvm.smin", "i64", valid, width)
        with g.loop(0, kc) as outer:
            row = g.gep(source, g.binary("mul", outer.index, stride_k), kind)
            out = g.gep(target, g.binary("mul", outer.index, width), kind)
            with g.loop(0, columns) as loop:
                element = g.load(kind, g.gep(row, g.binary("mul", loop.index, stride_n), kind))
                g.store(element, g.gep(out, loop.index, kind))
        g.ret()
    return name
