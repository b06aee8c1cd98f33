"""Sums of products in tiles: matrix products, their gradients, convolutions, by tl.dot.

The schedule (`Products` of loops/schedule.py) says which runs are rows, columns and terms. Rows are
the points of several runs, one after the other, and so are columns and terms: an operand is read at
the address that its expression gives for each of them, so windows of images are never copied out
(an implicit matrix product), and an operand that is computed is computed as it is read. What is
made of the sums, activations and updates of states among it, is computed on the tile before it is
stored.

A program has one tile of the results. Neighbouring programs have tiles of the same few rows, so
that what they read is in the cache that all multiprocessors share. The sums of a long product are
those of blocks, collected in float64, in the order of the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..cpu_llvm.reductions import settled
from ..cpu_llvm.values import Value
from ..errors import CompileError
from ..loops.build import ScalarBuilder
from ..loops.flatten import flatten_kernel
from ..loops.ir import Axis, Kernel, Reduction, Scalar, points_of
from ..loops.schedule import Products, Run
from ..scheduling.grid import short_dtype, short_operand
from .expressions import ExpressionEmitter, arange, full
from .grid import Inside
from .tile_parts import parts_of, split

WARP = 32
ROWS, COLUMNS, TERMS = "rows", "columns", "terms"
_GROUP = 8
"""Tiles of rows whose programs follow each other, for each tile of columns."""


@dataclass(frozen=True)
class _Tile:
    """Where a program stands: outer point, rows, columns, and the first of these."""

    outer: Value
    row: Value
    column: Value
    first_column: Value


class ProductEmitter:
    """Writes one kernel: `e` for what is made of the sums, twins of it for the operands; `inside`
    is None for a grid."""

    def __init__(
        self, kernel: Kernel, products: Products, e: ExpressionEmitter, inside: Inside | None = None
    ) -> None:
        self._inside = inside
        self.kernel, self.products, self.e, self.f = kernel, products, e, e.f
        self.flat = flatten_kernel(kernel, ScalarBuilder())
        self.a, self.b = e.twin(), e.twin()
        axes = {axis.name: axis for axis in self.flat.axes}
        axes |= {axis.name: axis for axis in self.flat.loops[0].axes}

        def found(runs: Sequence[Run]) -> list[Axis]:
            return [axes[run[0]] for run in runs]

        self.outer, self.rows = found(products.outer), found(products.rows)
        self.columns, self.terms = found(products.columns), found(products.terms)
        self.sides = points_of(self.rows), points_of(self.columns)
        self.is_short = short_dtype(self.flat.loops[0].reductions) is not None

    @property
    def tiles(self) -> tuple[int, int]:
        """Along rows and along columns."""
        rows, columns, _ = self.products.tile
        return -(-self.sides[0] // rows), -(-self.sides[1] // columns)

    @property
    def programs(self) -> tuple[int, int, int]:
        return self.tiles[0] * self.tiles[1] * points_of(self.outer), 1, 1

    def emit(self) -> None:
        tile = self._bind_operands()
        reductions, (rows, columns, _) = self.flat.loops[0].reductions, self.products.tile
        sums = zip(reductions, self._sums(), strict=True)
        tiles = [settled(self.f, reduction, [value]) for reduction, value in sums]
        each = rows * columns // (WARP * self.products.warps)
        sides = self.rows, self.columns
        parts = parts_of(self.flat.loops[1:], sides, len(reductions), each)
        split_tiles = [split(self.f, value, (rows, columns), parts) for value in tiles]
        for number, values in enumerate(zip(*split_tiles, strict=True)):
            e = self.e if parts == 1 else self.e.twin()
            self._bind_results(e, tile, number, parts)
            for reduction, value in zip(reductions, values, strict=True):
                e.bind_reduced(reduction.name, value, frozenset((ROWS, COLUMNS)))
            for loop in self.flat.loops[1:]:
                self._store(e, loop.stores)

    # -- which tile -------------------------------------------------------------------------

    def _bind_operands(self) -> _Tile:
        """The axes of rows and columns, for the program's tile, which is returned."""
        f, (rows, columns, _) = self.f, self.products.tile
        number = self._number()
        tile, outer = number, f.const("i32", 0)
        if points_of(self.outer) > 1:
            many = self.tiles[0] * self.tiles[1]
            tile, outer = f.binary("srem", number, many), f.binary("sdiv", number, many)
        down, across = self._tile_of(tile)
        row = f.emit(f"{f.binary('mul', down, rows).name} + {arange(rows, 0, 2)}", "i32")
        column = f.emit(f"{f.binary('mul', across, columns).name} + {arange(columns, 1, 2)}", "i32")
        for each in (self.a, self.b):
            each.bind_axes(self.outer, outer, frozenset(), "outer")
        self._bind(self.a, self.rows, row, ROWS, self.sides[0], rows)
        self._bind(self.b, self.columns, column, COLUMNS, self.sides[1], columns)
        return _Tile(outer, row, column, f.binary("mul", across, columns))

    def _bind_results(self, e: ExpressionEmitter, tile: _Tile, number: int, parts: int) -> None:
        """The axes of the results, for a part of the columns of the tile."""
        f, (rows, columns, _) = self.f, self.products.tile
        column = tile.column
        if parts > 1:
            size = columns // parts
            first = f.binary("add", tile.first_column, number * size)
            column = f.emit(f"{first.name} + {arange(size, 1, 2)}", "i32")
        e.bind_axes(self.outer, tile.outer, frozenset(), "outer")
        self._bind(e, self.rows, tile.row, ROWS, self.sides[0], rows)
        self._bind(e, self.columns, column, COLUMNS, self.sides[1], columns)

    def _number(self) -> Value:
        """Which program this is."""
        if self._inside is None:
            return self.f.emit("tl.program_id(0).to(tl.int32)", "i32")
        return self._inside.program if self.programs[0] > 1 else self._inside.zero

    def _tile_of(self, tile: Value) -> tuple[Value, Value]:
        """Which tile along rows and along columns: groups of a few rows, column after column."""
        f, (down, across) = self.f, self.tiles
        if down <= _GROUP or across == 1:
            return f.binary("srem", tile, down), f.binary("sdiv", tile, down)
        group = f.binary("sdiv", tile, _GROUP * across)
        inside = f.binary("srem", tile, _GROUP * across)
        first = f.binary("mul", group, _GROUP)
        row, column = f.binary("srem", inside, _GROUP), f.binary("sdiv", inside, _GROUP)
        if rest := down % _GROUP:  # a division by a number that is not known would be a call
            whole = f.compare("slt", group, down // _GROUP)
            row = f.select(whole, row, f.binary("srem", inside, rest))
            column = f.select(whole, column, f.binary("sdiv", inside, rest))
        return f.binary("add", first, row), column

    def _bind(
        self,
        e: ExpressionEmitter,
        axes: Sequence[Axis],
        point: Value,
        lane: str,
        count: int,
        side: int,
    ) -> None:
        along = frozenset((lane,))
        if count % side:
            e.bind_mask(lane, self.f.compare("slt", point, count), along)
        e.bind_axes(axes, point, along, lane)

    # -- sums -------------------------------------------------------------------------------

    def _sums(self) -> list[Value]:
        """The tile of each sum."""
        loop, f = self.flat.loops[0], self.f
        order, (rows, columns, terms) = loop.order, self.products.tile
        assert order is not None
        depth = points_of(self.terms)
        block = depth if order.block is None else order.block.points
        if block < depth and block % terms:
            raise CompileError(
                "a product cannot follow the order of its loop",
                operation=f"kernel {self.kernel.name}",
                facts=[f"blocks of {block} terms, {terms} side by side"],
            )

        def zeros(kind: str) -> list[Value]:
            return [f.emit(full((rows, columns), "0.0", kind), kind) for _ in loop.reductions]

        if block >= depth:
            sums = zeros("float")
            if depth <= terms:
                zero = f.const("i32", 0) if self._inside is None else self._inside.zero
                self._dots(loop.reductions, sums, zero)
            else:
                with self._counted(f"range(0, {depth}, {terms})") as first:
                    self._dots(loop.reductions, sums, first)
            return sums
        kept = zeros("double")
        with self._counted(f"range(0, {depth}, {block})") as begin:
            sums = zeros("float")
            end = f"{begin.name} + {block}"
            end = end if depth % block == 0 else f"min({end}, {depth})"
            with self._counted(f"range({begin.name}, {end}, {terms})") as first:
                self._dots(loop.reductions, sums, first)
            for whole, part in zip(kept, sums, strict=True):
                f.line(f"{whole.name} = {whole.name} + {part.name}.to(tl.float64)")
        return kept

    @contextmanager
    def _counted(self, header: str) -> Iterator[Value]:
        """A loop of the text; its number is an i32."""
        f = self.f
        count = f.fresh("n")
        with f.within(f"for {count} in {header}:") as lines:
            self.e.open(lines)
            yield f.emit(f"{f.shown(f.const('i32', 0))} + {count}", "i32")
            self.e.close()

    def _dots(self, reductions: Sequence[Reduction], sums: Sequence[Value], first: Value) -> None:
        """Add the products of the terms from `first` on."""
        f, (rows, columns, terms) = self.f, self.products.tile
        depth = points_of(self.terms)
        for e, position in ((self.a, 1), (self.b, 0)):
            text = arange(terms, position, 2)
            term = f.emit(text if first.integer == 0 else f"{first.name} + {text}", "i32")
            self._bind(e, self.terms, term, TERMS, depth, terms)
        for reduction, total in zip(reductions, sums, strict=True):
            left, right = reduction.value.args
            a, b = (left, right) if self._has_rows(left) else (right, left)
            if self.is_short:  # products of which are exact, and added in float32
                a, b = short_operand(a) or a, short_operand(b) or b
            first_operand = self._operand(self.a, a, (rows, terms))
            second = self._operand(self.b, b, (terms, columns))
            how = f'input_precision="{self.products.precision}"'
            f.line(f"{total.name} = tl.dot({first_operand}, {second}, {total.name}, {how})")

    def _has_rows(self, operand: Scalar) -> bool:
        return not operand.axes.isdisjoint(self.rows)

    def _operand(self, e: ExpressionEmitter, operand: Scalar, shape: tuple[int, int]) -> str:
        """A tile of an operand, zero where there is none of it."""
        value, lanes = e.value(operand), e.lanes(operand)
        mask = e.mask(frozenset((ROWS, COLUMNS, TERMS)))
        if mask is not None and operand.op != "load":
            value = self.f.select(mask, value, 0.0)
            lanes = lanes | {TERMS}
        if len(lanes) < 2:
            return self.f.emit(f"tl.broadcast_to({value.name}, {shape})", value.type).name
        return value.name

    # -- results ----------------------------------------------------------------------------

    def _store(self, e: ExpressionEmitter, stores: Sequence[object]) -> None:
        ready = []
        for store in self.flat.stores:
            if store in stores:
                value, index = e.value(store.value), e.index(store.index[0])
                place = e.place(store.buffer, index)
                mask = e.mask(frozenset((ROWS, COLUMNS)))
                ready.append((store, place, value, mask))
        for store, place, value, mask in ready:
            e.store(place, value, store.buffer.type.dtype, mask)
        e.forget([b for store, *_ in ready for b in store.written])
