"""The blocked schedule of a contraction: packed operands, register tiles, a fused epilogue.

A kernel qualifies if its first loop is one `dot` of f32 or f64 and all else are stores at outer
level. Its parallel axes are sorted by what reads them: m by the first operand, n by the second, b
by both or by the loop outside. n is the axis along which results lie together; the operands trade
places if need be. More than one m or n axis, where they cannot be walked as one, count as b.

The loops are blocked.py's, with K in blocks of KC and N in blocks whose accumulators fit the
workspace:

* few rows (M <= 160): all of A's block is packed once, then for each strip of B: pack it, run
  every tile. Threads share strips.
* many rows: the strips of a block of N are packed, then for each tile: pack its rows, run every
  strip. Threads share tiles; each packs the strips it needs.

A tile's accumulators stay in the workspace between K blocks and meet the epilogue right after the
last one, while they are in cache: bias, activation, the optimizer's update, anything the kernel
stores. An operand that is not one plain load (a prologue) is packed by evaluating its expression.
Both are functions of the kernel's own. The workspace is each thread's own (context.py): about 1 MB
at most.

The order over K is from 0 up for every element, in the blocks of loops/order.py where K is long, so
bits do not depend on blocking or threads: KC is a multiple of theirs. Accumulators of a long K are
doubles in the workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ..loops.build import ScalarBuilder, coefficient
from ..loops.flatten import flatten_kernel
from ..loops.ir import Axis, Buffer, Kernel, Scalar, walk
from ..loops.order import BLOCK_TERMS
from ..loops.runs import find_runs
from .blocked import EPILOGUE_PARAMETERS, blocked_function
from .context import KernelContext, new_kernel_function
from .emit import FunctionEmitter, Value, llvm_type
from .lanes import axis_limit, blocks, loop_roots, store_all
from .reductions import settled
from .shares import share
from .tiles import (
    PACK_PARAMETERS,
    PANEL,
    TileShape,
    kept_type,
    largest_tile,
    pack_any_function,
    pack_columns_function,
    pack_rows_function,
    tile_function,
)
from .values import SIZE_BYTES
from .vectors import LANES, ExpressionEmitter, first_lanes

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
    flat = flatten_kernel(kernel, ScalarBuilder(), find_runs(kernel))
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
        order = c.kernel.loops[0].order
        self.long = order is not None and order.block is not None
        self.kept = kept_type(self.kind, self.long)
        unit = BLOCK_TERMS["dot"] if self.long else 1
        self.blocks_of_k = -(-c.k.extent // DEPTH_BLOCK)
        self.depth = min(c.k.extent, -(-c.k.extent // (self.blocks_of_k * unit)) * unit)
        self.tile_elements = self.tile.rows * self.tile.columns
        self.m_parts = -(-c.m.extent // self.tile.rows)
        self.n_parts = -(-c.n.extent // self.tile.columns)
        self._choose_blocks()

    def _choose_blocks(self) -> None:
        """How many strips and tiles are worked on between two rounds of packing."""
        tile_bytes = self.tile_elements * SIZE_BYTES[self.kept]
        if self.few_rows:
            fit = WORKSPACE_BYTES // (tile_bytes * self.m_parts)
            self.strips, self.tiles = max(1, min(self.n_parts, fit)), self.m_parts
        else:
            strip_bytes = self.depth * self.tile.columns * self.size
            self.strips = max(1, min(self.n_parts, STRIP_BLOCK_BYTES // strip_bytes))
            fit = max(1, WORKSPACE_BYTES // (tile_bytes * self.strips))
            self.tiles = self.m_parts if self.blocks_of_k == 1 else min(self.m_parts, fit)

    def emit(self) -> None:
        f, c = self.f, self.c
        self.context.prepare(_buffers_of(c.a, c.b))
        panels = self.m_parts if self.few_rows else 1
        strips = 1 if self.few_rows else self.strips
        kept = 1 if self.blocks_of_k == 1 else self.tiles * self.strips
        workspace = self.context.workspace
        a_packed = workspace(self.kind, panels * PANEL * self.depth)
        b_packed = workspace(self.kind, strips * self.tile.columns * self.depth)
        sums = workspace(self.kept, kept * self.tile_elements)
        points = f.alloca("i64", len(c.batch)) if c.batch else f.const("ptr", 0)
        limits = [axis_limit(self.context, axis) for axis in (c.m, c.n, c.k)]
        threads_take = self._threads_take()
        with ExitStack() as stack:
            for number, axis in enumerate(c.batch):
                low, high = f.const("i64", 0), axis_limit(self.context, axis)
                if axis is threads_take:
                    low, high = share(f, high, *self._shares(taken=True))
                loop = stack.enter_context(f.loop(low, high))
                stack.enter_context(self.e.level())
                self.e.bind(axis, loop.index)
                f.store(loop.index, f.gep(points, number, "i64"))
            tile = Value(f"@{tile_function(f, self.tile, self.long)}", "ptr")
            shape = [f.const("i64", size) for size in (self.tile.rows, self.tile.columns)]
            tile_bytes = self.tile_elements * SIZE_BYTES[self.kept]
            step = f.const("i64", tile_bytes if kept > 1 else 0)
            sizes = [f.const("i64", size) for size in (self.tiles, self.strips, self.depth)]
            epilogue = _helper(f, _emit_epilogue(c, self.tile, self.kept))
            operands = [*self._operand(c.a, c.m, PANEL), a_packed]
            operands += [*self._operand(c.b, c.n, self.tile.columns), b_packed]
            shares = [v for axis in (c.m, c.n) for v in self._shares(axis is threads_take)]
            name = blocked_function(f, self.kind, self.few_rows)
            given = [f.parameter(0), points, epilogue, *operands, tile, *shape, sums, step]
            f.call("void", 1, name, [*given, *limits, *sizes, *shares])

    def _threads_take(self) -> Axis:
        """The axis that threads share: a long batch axis, else strips or tiles."""
        for axis in self.c.batch:
            if axis.extent >= 8:
                return axis
        return self.c.n if self.few_rows else self.c.m

    def _shares(self, taken: bool) -> tuple[Value, Value]:
        """Which share of an axis is this thread's, of how many."""
        if taken:
            return self.context.parameter("tid"), self.context.parameter("threads")
        return self.f.const("i64", 0), self.f.const("i64", 1)

    def _operand(self, operand: Scalar, axis: Axis, width: int) -> list[Value]:
        """What packs an operand, from where, by which steps along k and along its own axis."""
        f = self.f
        strides = self._strides(operand, axis)
        if strides is None:
            pack = _helper(f, _emit_pack(self.c, operand, axis, self.kind, width))
            return [pack, f.parameter(0), f.const("i64", 0), f.const("i64", 0)]
        by_k, by_axis = strides
        if by_axis == 1 and width % PANEL == 0:
            name = pack_rows_function(f, self.kind)
        elif by_k == 1 and width % 8 == 0:
            name = pack_columns_function(f, self.kind)
        else:
            name = pack_any_function(f, self.kind)
        with self.e.level():
            self.e.bind(axis, f.const("i64", 0))
            self.e.bind(self.c.k, f.const("i64", 0))
            base, address = self.context.base(operand.payload), self.e.value(operand.args[0])
            source = f.gep(base, address, self.kind)
        return [Value(f"@{name}", "ptr"), source, f.const("i64", by_k), f.const("i64", by_axis)]

    def _strides(self, operand: Scalar, axis: Axis) -> tuple[int, int] | None:
        """Steps along k and along `axis` if the operand is one plain load of the right type."""
        if operand.op != "load" or llvm_type(operand.dtype) != self.kind:
            return None
        by_k = coefficient(operand.args[0], self.c.k)
        by_axis = coefficient(operand.args[0], axis)
        return None if by_k is None or by_axis is None else (by_k, by_axis)


def _helper(f: FunctionEmitter, function: FunctionEmitter) -> Value:
    """Pointer to a function that is added to the module together with `f`."""
    f.helpers[function.name] = function
    return Value(f"@{function.name}", "ptr")


def _buffers_of(*roots: Scalar) -> tuple[Buffer, ...]:
    """The buffers that expressions read."""
    seen: set[Scalar] = set()
    loads = [s for root in roots for s in walk(root, seen) if s.op == "load"]
    return tuple(dict.fromkeys(load.payload for load in loads))


def _bind_points(e: ExpressionEmitter, batch: Sequence[Axis], points: Value) -> None:
    """Bind the batch axes to where the kernel's own loops stand: `points`, one number for each."""
    for number, axis in enumerate(batch):
        e.bind(axis, e.f.load("i64", e.f.gep(points, number, "i64")))


def _emit_pack(
    c: Contraction, operand: Scalar, axis: Axis, kind: str, width: int
) -> FunctionEmitter:
    """A prologue: a packing function that evaluates the operand for every element.

    Its source is the kernel's frame.
    """
    name = f"{c.kernel.name}_pack_{axis.name}"
    attributes = "noinline nounwind"
    f = FunctionEmitter(name, PACK_PARAMETERS, linkage="internal", attributes=attributes)
    given = {label: f.parameter(n) for n, (_, label) in enumerate(PACK_PARAMETERS)}
    context = KernelContext(f)
    e = ExpressionEmitter(context)
    context.prepare(_buffers_of(operand))
    _bind_points(e, c.batch, given["points"])
    with f.loop(0, given["valid"], LANES) as columns, e.level():
        mask = first_lanes(f, f.binary("sub", given["valid"], columns.index), LANES)
        out = f.gep(given["target"], columns.index, kind)
        first = f.binary("add", given["start"], columns.index)
        with f.loop(0, given["kc"]) as rows, e.level():
            e.bind(c.k, f.binary("add", given["k0"], rows.index))
            e.vectorise(axis, first, mask)
            value = f.splat(e.value(operand), LANES)
            f.masked_store(value, f.gep(out, f.binary("mul", rows.index, width), kind), mask)
    f.ret()
    return f


def _emit_epilogue(c: Contraction, tile: TileShape, kept: str) -> FunctionEmitter:
    """What the kernel makes of the sums of one tile, which are `kept` in this type."""
    name, attributes = f"{c.kernel.name}_epilogue", "noinline nounwind"
    f = FunctionEmitter(name, EPILOGUE_PARAMETERS, linkage="internal", attributes=attributes)
    _, points, sums, m0, m1, n0, n1 = (f.parameter(n) for n in range(len(EPILOGUE_PARAMETERS)))
    context = KernelContext(f)
    e = ExpressionEmitter(context)
    loop = c.kernel.loops[1]
    roots = loop_roots(loop)
    context.prepare(tuple(dict.fromkeys([s.buffer for s in loop.stores])) + _buffers_of(*roots))
    _bind_points(e, c.batch, points)
    e.hoist(roots, (c.m, c.n))
    reduction = c.kernel.loops[0].reductions[0]
    whole = c.n.extent % tile.columns == 0 and not c.n.bounded and tile.columns % LANES == 0
    with f.loop(m0, m1) as rows, e.level():
        e.bind(c.m, rows.index)
        e.hoist(roots, (c.n,))
        row = f.binary("mul", f.binary("sub", rows.index, m0), tile.columns)
        for _ in blocks(e, c.n, n0, n1, always_whole=whole):
            lanes = e.lanes
            assert lanes is not None
            at = f.gep(sums, f.binary("add", row, f.binary("sub", lanes.base, n0)), kept)
            value = (
                f.load(kept, at, LANES)
                if lanes.mask is None
                else f.masked_load(kept, at, lanes.mask, LANES)
            )
            e.bind_reduced(reduction.name, settled(f, reduction, [value]))
            store_all(e, loop)
    f.ret()
    return f
