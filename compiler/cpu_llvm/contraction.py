"""The blocked schedule of a contraction: packed operands, register tiles, a fused epilogue.

A kernel qualifies if its first loop is one `dot` of f32 or f64 and all else are stores at outer
level. Its parallel axes are sorted by what reads them: m by the first operand, n by the second, b
by both or by the loop outside. n is the axis along which results lie together; the operands trade
places if need be. More than one m or n axis, where they cannot be walked as one, count as b.

Loops. With K in blocks of KC and N in blocks whose accumulators fit the workspace:

* few rows (M <= 160): all of A's block is packed once, then for each strip of B: pack it, run
  every tile. Threads share strips.
* many rows: the strips of a block of N are packed, then for each tile: pack its rows, run every
  strip. Threads share tiles; each packs the strips it needs.

A tile's accumulators stay in the workspace between K blocks and meet the epilogue right after the
last one, while they are in cache: bias, activation, the optimizer's update, anything the kernel
stores. An operand that is not one plain load (a prologue) is packed by evaluating its expression.
The workspace is on the stack of each thread: about 1 MB at most.

The order over K is from 0 up for every element, so bits do not depend on blocking or threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..loops.build import ScalarBuilder, coefficient
from ..loops.flatten import flatten_kernel
from ..loops.ir import Axis, Buffer, Kernel, Scalar
from .context import KERNEL_PARAMETERS, KernelContext, new_kernel_function
from .emit import FunctionEmitter, Value, llvm_type
from .nest import NestEmitter, axis_limit
from .tiles import (
    PANEL,
    TileShape,
    largest_tile,
    pack_any_function,
    pack_columns_function,
    pack_rows_function,
    tile_function,
)
from .values import SIZE_BYTES
from .vectors import LANES, ExpressionEmitter

BLOCKED_FLOOR = 4_096
"""Multiply-adds below which the generic nest is at least as fast."""

FEWEST_ROWS = 4
"""With fewer rows, packing an operand costs more than reading it once per row."""

FEW_ROWS = 160
WORKSPACE_BYTES = 262_144
DEPTH_BLOCK = 1_024
STRIP_BLOCK_BYTES = 524_288


@dataclass(frozen=True, eq=False)
class Contraction:
    """A flattened kernel with its axes sorted; see the module docstring."""

    kernel: Kernel
    batch: tuple[Axis, ...]
    m: Axis
    n: Axis
    k: Axis
    a: Scalar
    b: Scalar


def find_contraction(kernel: Kernel) -> Contraction | None:
    """The kernel as a contraction worth blocking, or None."""
    first, *rest = kernel.loops
    if len(first.reductions) != 1 or first.reductions[0].combiner != "dot" or first.stores:
        return None
    dtype = first.reductions[0].dtype
    if not dtype.is_float or dtype.bits < 32 or any(loop.axes or loop.reductions for loop in rest):
        return None
    flat = flatten_kernel(kernel, ScalarBuilder())
    product = flat.loops[0].reductions[0].value
    if product.op != "mul" or len(flat.loops[0].axes) != 1 or len(rest) != 1:
        return None
    return _sorted_axes(flat, *product.args)


def _sorted_axes(flat: Kernel, a: Scalar, b: Scalar) -> Contraction | None:
    m_axes = [x for x in flat.axes if x in a.axes and x not in b.axes]
    n_axes = [x for x in flat.axes if x in b.axes and x not in a.axes]
    address = flat.loops[1].stores[0].index[0]
    if any(coefficient(address, x) == 1 for x in m_axes):
        a, b, m_axes, n_axes = b, a, n_axes, m_axes
    if not m_axes or not n_axes:
        return None
    m = max(m_axes, key=lambda x: x.extent)
    n = next((x for x in n_axes if coefficient(address, x) == 1), n_axes[-1])
    batch = tuple(x for x in flat.axes if x is not m and x is not n)
    (k,) = flat.loops[0].axes
    if min(m.extent, n.extent, k.extent) == 0 or any(x.extent == 0 for x in batch):
        return None
    if m.extent * n.extent * k.extent < BLOCKED_FLOOR or m.extent < FEWEST_ROWS:
        return None
    return Contraction(flat, batch, m, n, k, a, b)


def emit_contraction(contraction: Contraction, vector_bytes: int) -> FunctionEmitter:
    """The contraction as one function with the signature of context.py."""
    f = new_kernel_function(contraction.kernel.name)
    _ContractionEmitter(contraction, f, vector_bytes).emit()
    f.ret()
    return f


def _even_tile(contraction: Contraction, vector_bytes: int) -> TileShape:
    """The register tile, its rows chosen so that M splits into equal parts."""
    dtype = contraction.kernel.loops[0].reductions[0].dtype
    tile = largest_tile(dtype, vector_bytes, contraction.n.extent)
    parts = -(-contraction.m.extent // tile.rows)
    rows = -(-contraction.m.extent // parts)
    return TileShape(rows, tile.columns, tile.lanes, tile.scalar)


class _ContractionEmitter:
    """Emits one contraction."""

    def __init__(self, c: Contraction, f: FunctionEmitter, vector_bytes: int) -> None:
        self.c, self.f = c, f
        self.context = KernelContext(f)
        self.e = ExpressionEmitter(self.context)
        self.tile = _even_tile(c, vector_bytes)
        self.kind = self.tile.scalar
        self.size = SIZE_BYTES[self.kind]
        self.few_rows = c.m.extent <= FEW_ROWS
        self.depth = min(c.k.extent, DEPTH_BLOCK)
        self.blocks_of_k = -(-c.k.extent // self.depth)
        self.depth = -(-c.k.extent // self.blocks_of_k)
        self.tile_elements = self.tile.rows * self.tile.columns
        self.m_parts = -(-c.m.extent // self.tile.rows)
        self.n_parts = -(-c.n.extent // self.tile.columns)
        self._choose_blocks()

    def _choose_blocks(self) -> None:
        """How many strips and tiles are worked on between two rounds of packing."""
        tile_bytes = self.tile_elements * self.size
        if self.few_rows:
            fit = WORKSPACE_BYTES // (tile_bytes * self.m_parts)
            self.strips, self.tiles = max(1, min(self.n_parts, fit)), self.m_parts
        else:
            strip_bytes = self.depth * self.tile.columns * self.size
            self.strips = max(1, min(self.n_parts, STRIP_BLOCK_BYTES // strip_bytes))
            fit = max(1, WORKSPACE_BYTES // (tile_bytes * self.strips))
            self.tiles = self.m_parts if self.blocks_of_k == 1 else min(self.m_parts, fit)

    # -- structure --------------------------------------------------------------------------

    def emit(self) -> None:
        f, c = self.f, self.c
        self.context.prepare(c.kernel.reads + c.kernel.writes)
        panels = self.m_parts if self.few_rows else 1
        strips = 1 if self.few_rows else self.strips
        kept = 1 if self.blocks_of_k == 1 else self.tiles * self.strips
        self.a_packed = f.alloca(self.kind, panels * PANEL * self.depth)
        self.b_packed = f.alloca(self.kind, strips * self.tile.columns * self.depth)
        self.sums = f.alloca(self.kind, kept * self.tile_elements)
        self.m_limit, self.n_limit, self.k_limit = (
            axis_limit(self.context, axis) for axis in (c.m, c.n, c.k)
        )
        threads_take = self._threads_take()
        with ExitStack() as stack:
            for axis in c.batch:
                low, high = f.const("i64", 0), axis_limit(self.context, axis)
                if axis is threads_take:
                    low, high = self._share(high)
                loop = stack.enter_context(f.loop(low, high))
                stack.enter_context(self.e.level())
                self.e.bind(axis, loop.index)
            self._matrix(threads_take)

    def _threads_take(self) -> Axis:
        """The axis that threads share: a long batch axis, else strips or tiles."""
        for axis in self.c.batch:
            if axis.extent >= 8:
                return axis
        return self.c.n if self.few_rows else self.c.m

    def _share(self, count: Value) -> tuple[Value, Value]:
        f = self.f
        tid, threads = self.context.parameter("tid"), self.context.parameter("threads")
        low = f.binary("udiv", f.binary("mul", count, tid), threads)
        high = f.binary("udiv", f.binary("mul", count, f.binary("add", tid, 1)), threads)
        return low, high

    def _parts(self, limit: Value, size: int, shared: bool) -> tuple[Value, Value]:
        """First and last part of this thread, in parts of `size`."""
        f = self.f
        count = f.binary("udiv", f.binary("add", limit, size - 1), size)
        if limit.integer is not None:
            count = f.const("i64", -(-limit.integer // size))
        return self._share(count) if shared else (f.const("i64", 0), count)

    def _matrix(self, threads_take: Axis) -> None:
        f = self.f
        strips = self._parts(self.n_limit, self.tile.columns, threads_take is self.c.n)
        tiles = self._parts(self.m_limit, self.tile.rows, threads_take is self.c.m)
        with f.loop(strips[0], strips[1], self.strips) as n_block, self.e.level():
            last_strip = self._clip(n_block.index, self.strips, strips[1])
            with f.loop(tiles[0], tiles[1], self.tiles) as m_block, self.e.level():
                last_tile = self._clip(m_block.index, self.tiles, tiles[1])
                with f.loop(0, self.k_limit, self.depth) as k_block, self.e.level():
                    depth = self._clip(k_block.index, self.depth, self.k_limit, True)
                    self._block(
                        (n_block.index, last_strip), (m_block.index, last_tile),
                        k_block.index, depth,
                    )  # fmt: skip

    def _clip(self, start: Value, size: int, end: Value, length: bool = False) -> Value:
        """The end (or length) of a block that starts at `start`."""
        f = self.f
        stop = f.intrinsic("llvm.smin", "i64", f.binary("add", start, size), end)
        return f.binary("sub", stop, start) if length else stop

    def _block(
        self, strips: tuple[Value, Value], tiles: tuple[Value, Value], k0: Value, depth: Value
    ) -> None:
        f = self.f
        outer, inner = (strips, tiles) if self.few_rows else (tiles, strips)
        pack_outer = self._pack_strip if self.few_rows else self._pack_tile
        pack_inner = self._pack_tile if self.few_rows else self._pack_strip
        with f.loop(inner[0], inner[1]) as loop, self.e.level():
            place = f.binary("sub", loop.index, inner[0])
            pack_inner(loop.index, place, k0, depth)
        with f.loop(outer[0], outer[1]) as first, self.e.level():
            pack_outer(first.index, f.const("i64", 0), k0, depth)
            with f.loop(inner[0], inner[1]) as second, self.e.level():
                place, only = f.binary("sub", second.index, inner[0]), f.const("i64", 0)
                if self.few_rows:
                    tile, strip, a_at, b_at = second.index, first.index, place, only
                else:
                    tile, strip, a_at, b_at = first.index, second.index, only, place
                self._tile(tile, strip, a_at, b_at, tiles, strips, k0, depth)

    def _panel(self, number: Value) -> Value:
        step = self.f.binary("mul", number, PANEL * self.depth)
        return self.f.gep(self.a_packed, step, self.kind)

    def _strip(self, number: Value) -> Value:
        step = self.f.binary("mul", number, self.tile.columns * self.depth)
        return self.f.gep(self.b_packed, step, self.kind)

    def _tile(
        self, tile: Value, strip: Value, a_at: Value, b_at: Value,
        tiles: tuple[Value, Value], strips: tuple[Value, Value], k0: Value, depth: Value,
    ) -> None:  # fmt: skip
        """One register tile over this K block; after the last block, its epilogue."""
        f = self.f
        sums = self.sums
        if self.blocks_of_k > 1:
            row = f.binary("mul", f.binary("sub", tile, tiles[0]), self.strips)
            place = f.binary("add", row, f.binary("sub", strip, strips[0]))
            sums = f.gep(sums, f.binary("mul", place, self.tile_elements), self.kind)
        name = tile_function(f, self.tile)
        again = f.compare("ne", k0, 0)
        panel, b_strip = self._panel(a_at), self._strip(b_at)
        ahead = self._next_strip(strip, k0) if self.few_rows else None
        upcoming, stride = ahead or (panel, f.const("i64", 0))
        f.call("void", 1, name, [panel, b_strip, sums, depth, again, upcoming, stride])
        m0, n0 = (
            f.binary("mul", v, s) for v, s in ((tile, self.tile.rows), (strip, self.tile.columns))
        )
        m1 = self._clip(m0, self.tile.rows, self.m_limit)
        n1 = self._clip(n0, self.tile.columns, self.n_limit)
        arguments = [sums, m0, m1, n0, n1]
        if self.blocks_of_k == 1:
            self._call_epilogue(arguments)
        else:
            done = f.binary("add", k0, depth)
            with f.if_(f.compare("eq", done, self.k_limit)), self.e.level():
                self._call_epilogue(arguments)

    def _next_strip(self, strip: Value, k0: Value) -> tuple[Value, Value] | None:
        """Where the strip after this one starts, if its rows are what packing reads."""
        strides = self._strides(self.c.b, self.c.n)
        if strides is None or strides[1] != 1:
            return None
        column = self.f.binary("mul", self.f.binary("add", strip, 1), self.tile.columns)
        source = self._source(self.c.b, self.c.n, column, k0)
        return source, self.f.const("i64", strides[0])

    # -- packing ----------------------------------------------------------------------------

    def _source(self, operand: Scalar, axis: Axis, start: Value, k0: Value) -> Value:
        """Address of a plain operand's element at (start, k0); it may lie past the end."""
        with self.e.level():
            self.e.bind(axis, start)
            self.e.bind(self.c.k, k0)
            base, address = self.context.base(operand.payload), self.e.value(operand.args[0])
            return self.f.gep(base, address, self.kind, inbounds=False)

    def _pack_tile(self, tile: Value, place: Value, k0: Value, depth: Value) -> None:
        start = self.f.binary("mul", tile, self.tile.rows)
        end = self._clip(start, self.tile.rows, self.m_limit)
        self._pack(self.c.a, self.c.m, start, end, k0, depth, self._panel(place), PANEL)

    def _pack_strip(self, strip: Value, place: Value, k0: Value, depth: Value) -> None:
        start = self.f.binary("mul", strip, self.tile.columns)
        end = self._clip(start, self.tile.columns, self.n_limit)
        target = self._strip(place)
        self._pack(self.c.b, self.c.n, start, end, k0, depth, target, self.tile.columns)

    def _pack(
        self, operand: Scalar, axis: Axis, start: Value, end: Value, k0: Value, depth: Value,
        target: Value, width: int,
    ) -> None:  # fmt: skip
        """Pack columns start..end of `axis` (at most `width`), depth rows from k0."""
        f = self.f
        strides = self._strides(operand, axis)
        if strides is None:
            self._pack_expression(operand, axis, start, end, k0, depth, target, width)
            return
        by_k, by_axis = strides
        source = self._source(operand, axis, start, k0)
        if by_axis == 1 and width % PANEL == 0:
            name = pack_rows_function(f, self.kind)
        elif by_k == 1 and width % 8 == 0:
            name = pack_columns_function(f, self.kind)
        else:
            name = pack_any_function(f, self.kind)
        numbers = [f.const("i64", by_k), f.const("i64", by_axis), f.binary("sub", end, start)]
        f.call("void", 1, name, [source, *numbers, depth, target, f.const("i64", width)])

    def _strides(self, operand: Scalar, axis: Axis) -> tuple[int, int] | None:
        """Steps along k and along `axis` if the operand is one plain load of the right type."""
        if operand.op != "load" or llvm_type(operand.dtype) != self.kind:
            return None
        by_k = coefficient(operand.args[0], self.c.k)
        by_axis = coefficient(operand.args[0], axis)
        return None if by_k is None or by_axis is None else (by_k, by_axis)

    def _pack_expression(
        self, operand: Scalar, axis: Axis, start: Value, end: Value, k0: Value, depth: Value,
        target: Value, width: int,
    ) -> None:  # fmt: skip
        """A prologue: evaluate the operand for every element of the panel or strip."""
        f = self.f
        with f.loop(start, end, LANES) as columns, self.e.level():
            left = f.splat(f.binary("sub", end, columns.index), LANES)
            mask = f.compare("slt", f.iota("i64", LANES), left)
            out = f.gep(target, f.binary("sub", columns.index, start), self.kind)
            with f.loop(0, depth) as rows, self.e.level():
                self.e.bind(self.c.k, f.binary("add", k0, rows.index))
                self.e.vectorise(axis, columns.index, mask)
                value = f.splat(self.e.value(operand), LANES)
                at = f.gep(out, f.binary("mul", rows.index, width), self.kind)
                f.masked_store(value, at, mask)

    # -- epilogue ---------------------------------------------------------------------------

    def _call_epilogue(self, arguments: Sequence[Value]) -> None:
        f = self.f
        name = f"{self.c.kernel.name}_epilogue"
        if name not in f.helpers:
            f.helpers[name] = _emit_epilogue(name, self.c, self.tile)
        own = [f.parameter(n) for n in range(len(KERNEL_PARAMETERS))]
        points = [self.e.point(axis) for axis in self.c.batch]
        f.call("void", 1, name, [*own, *arguments, *points])


def _emit_epilogue(name: str, c: Contraction, tile: TileShape) -> FunctionEmitter:
    """void epilogue(kernel parameters..., sums, m0, m1, n0, n1, batch points...)."""
    extra = (("ptr", "sums"), ("i64", "m0"), ("i64", "m1"), ("i64", "n0"), ("i64", "n1"))
    batch = tuple(("i64", f"b{n}") for n in range(len(c.batch)))
    f = FunctionEmitter(
        name, KERNEL_PARAMETERS + extra + batch, linkage="internal", attributes="noinline nounwind"
    )
    context = KernelContext(f)
    nest = NestEmitter(c.kernel, context, vector_axis=c.n)
    first = len(KERNEL_PARAMETERS)
    sums, m0, m1, n0, n1 = (f.parameter(first + n) for n in range(5))
    buffers: list[Buffer] = [s.buffer for s in c.kernel.stores()]
    loop = c.kernel.loops[1]
    roots = nest.loop_roots(loop)
    buffers += [s.payload for s in Kernel("", (), (loop,)).loads()]
    context.prepare(tuple(dict.fromkeys(buffers)))
    for number, axis in enumerate(c.batch):
        nest.e.bind(axis, f.parameter(first + 5 + number))
    nest.e.hoist(roots, (c.m, c.n))
    reduction = c.kernel.loops[0].reductions[0]
    whole = c.n.extent % tile.columns == 0 and not c.n.bounded and tile.columns % LANES == 0
    with f.loop(m0, m1) as rows, nest.e.level():
        nest.e.bind(c.m, rows.index)
        nest.e.hoist(roots, (c.n,))
        row = f.binary("mul", f.binary("sub", rows.index, m0), tile.columns)
        for _ in nest.blocks(c.n, n0, n1, always_whole=whole):
            lanes = nest.e.lanes
            assert lanes is not None
            at = f.gep(sums, f.binary("add", row, f.binary("sub", lanes.base, n0)), tile.scalar)
            value = (
                f.load(tile.scalar, at, LANES)
                if lanes.mask is None
                else f.masked_load(tile.scalar, at, lanes.mask, LANES)
            )
            nest.e.bind_reduced(reduction.name, value)
            nest.store_all(loop)
    f.ret()
    return f
