"""What a kernel makes of the sums of its tiles: bias, activation, update, anything that it stores.

In: a contraction in register tiles. Out: a function of its own that takes the sums of a tile, or of
a few that follow each other, while they are in cache.

Vectors go along the columns, as those of the sums do. What is to lie along the rows instead, as the
points of an image whose channels come first, is put aside for 16 rows, turned, and stored in
vectors along the rows: an element each to sixteen places would take longer than the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..loops.build import Step, step_along
from ..loops.index_form import StripStep
from ..loops.ir import Buffer, Scalar, Store, walk
from ..loops.schedule import LANES, PACKED_COLUMNS, STRIP
from ..types import DType, bool_, float32, float64, int32, int64
from .blocked import EPILOGUE_PARAMETERS
from .context import KernelContext, kernel_symbol
from .emit import AROUND_LOOPS, FunctionEmitter, Value, llvm_type
from .lanes import blocks, store_all
from .packing import transposed
from .reductions import settled
from .vectors import ExpressionEmitter, first_lanes

if TYPE_CHECKING:
    from .contraction import TiledKernel

_TURNED = (float32, float64, int32, int64, bool_)
_SQUARE = LANES * LANES
"""Elements that are turned at a time."""


def in_strips(step: Step) -> StripStep:
    """The same step, as one in strips."""
    return step if isinstance(step, StripStep) else StripStep(step, STRIP * step)


def is_cut(step: StripStep) -> bool:
    """Whether strips do not follow each other as their points do."""
    return step.across != STRIP * step.inside


def buffers_of(*roots: Scalar) -> tuple[Buffer, ...]:
    """The buffers that expressions read."""
    seen: set[Scalar] = set()
    loads = [s for root in roots for s in walk(root, seen) if s.op == "load"]
    return tuple(dict.fromkeys(load.payload for load in loads))


def bind_points(e: ExpressionEmitter, k: TiledKernel, points: Value) -> None:
    """Bind bank and outer axes to where the loops around tiles stand: `points`, one number each."""
    for number, axis in enumerate((k.bank, *k.outer)):
        if axis is not None:
            e.bind(axis, e.f.load("i64", e.f.gep(points, number, "i64")))


def turned_stores(k: TiledKernel) -> list[Store]:
    """The stores whose elements lie together along the rows and not along the columns; nothing in
    the epilogue reads them back."""
    loaded = {load.payload for load in k.epilogue_loads}
    found = []
    for store in (store for loop in k.kernel.loops[1:] for store in loop.stores):
        along = (step_along(store.index[0], axis) for axis in (k.rows, k.columns))
        plain = not store.accumulate and store.buffer not in loaded
        if plain and store.buffer.type.dtype in _TURNED and next(along) == 1 != next(along):
            found.append(store)
    return found


def turning_elements(k: TiledKernel) -> int:
    """How much room there must be for what is put aside, and for it turned, in elements of eight
    bytes."""
    return 2 * _SQUARE * len(turned_stores(k))


def emit_epilogue(k: TiledKernel, at_once: int, room: int) -> FunctionEmitter:
    """void epilogue(EPILOGUE_PARAMETERS) of a kernel.

    at_once  how many tiles it is given at most
    room     where in the workspace turning_elements(k) are free
    """
    emitter = _EpilogueEmitter(k, room)
    emitter.emit(_upcoming(k, at_once))
    emitter.f.ret()
    return emitter.f


class _EpilogueEmitter:
    """Emits one of them."""

    def __init__(self, k: TiledKernel, room: int) -> None:
        name, attributes = kernel_symbol("epilogue", k.name), AROUND_LOOPS
        f = FunctionEmitter(name, EPILOGUE_PARAMETERS, linkage="internal", attributes=attributes)
        self.k, self.f, self.shape = k, f, k.shape
        self.context = KernelContext(f, k.buffers)
        self.e = ExpressionEmitter(self.context)
        self.given = {name: f.parameter(n) for n, (_, name) in enumerate(EPILOGUE_PARAMETERS)}
        self.loops = k.kernel.loops[1:]
        self.roots = [root for loop in self.loops for root in loop.roots]
        stored = [store.buffer for loop in self.loops for store in loop.stores]
        self.context.prepare(tuple(dict.fromkeys(stored)) + buffers_of(*self.roots))
        bind_points(self.e, k, self.given["points"])
        self.e.hoist(self.roots, (k.rows, k.columns))
        stores = [store for loop in self.loops for store in loop.stores]
        places = [load.args[0] for load in k.epilogue_loads]
        places += [store.index[0] for store in stores if store not in turned_stores(k)]
        self.addresses = [place for place in dict.fromkeys(places) if k.rows in place.axes]
        self.aside = {
            store: f.gep(self.context.parameter("workspace"), room + 2 * n * _SQUARE * 8, "i8")
            for n, store in enumerate(turned_stores(k))
        }

    def emit(self, upcoming: Sequence[_Upcoming]) -> None:
        """Vectors of columns, and for each a row after the other."""
        f, e, k, given, width = self.f, self.e, self.k, self.given, self.shape.columns
        whole = not k.columns.bounded and not k.columns.extent % LANES and not width % LANES
        for _ in blocks(e, k.columns, given["n0"], given["n1"], always_whole=whole):
            if not self.aside:
                self._rows(given["m0"], given["m1"], upcoming)
                continue
            with f.loop(given["m0"], given["m1"], LANES) as some:
                end = f.binary("add", some.index, LANES)
                end = f.intrinsic("llvm.smin", "i64", end, given["m1"])
                self._rows(some.index, end, upcoming)
                self._turn(some.index, f.binary("sub", end, some.index))

    def _rows(self, low: Value, high: Value, upcoming: Sequence[_Upcoming]) -> None:
        """What is made of the sums of these rows, in one vector of columns."""
        f, e, k = self.f, self.e, self.k
        e.hoist(self.roots, (k.rows,))
        assert e.lanes is not None
        column, mask = f.binary("sub", e.lanes.base, self.given["n0"]), e.lanes.mask
        with f.loop(low, high) as rows, e.level():
            e.bind(k.rows, rows.index)
            for address in self.addresses:
                e.count_once(address)
            row = f.binary("sub", rows.index, self.given["m0"])
            first = f.binary("add", f.binary("mul", row, self.shape.columns), column)
            for number, reduction in enumerate(k.reductions):
                place = f.binary("add", first, number * self.shape.elements)
                at = f.gep(self.given["sums"], place, self.shape.kept)
                value = (
                    f.load(self.shape.kept, at, LANES)
                    if mask is None
                    else f.masked_load(self.shape.kept, at, mask, LANES)
                )
                e.bind_reduced(reduction.name, settled(f, reduction, [value]))
            for buffer, address, step, write in upcoming:
                here = f.binary("add", e.at_lane_zero(address), step)
                base, kind = self.context.base(buffer), llvm_type(buffer.type.dtype)
                f.prefetch(f.gep(base, here, kind, inbounds=False), write)
            number_aside = f.binary("mul", f.binary("sub", rows.index, low), LANES)

            def put(store: Store, value: Value) -> None:
                if store not in self.aside:
                    e.store(store, value)
                    return
                kind = _aside_type(store.buffer.type.dtype)
                value = f.splat(value, LANES)
                value = value if value.type == kind else f.cast("zext", value, kind)
                f.store(value, f.gep(self.aside[store], number_aside, kind))

            for loop in self.loops:
                store_all(e, loop, put)

    def _turn(self, first: Value, rows: Value) -> None:
        """Store what was put aside for so many rows."""
        f, k = self.f, self.k
        assert self.e.lanes is not None
        low, mask = self.e.lanes.base, first_lanes(f, rows, LANES)
        e = ExpressionEmitter(self.context)  # knows nothing of lanes along columns
        bind_points(e, k, self.given["points"])
        high = f.intrinsic("llvm.smin", "i64", f.binary("add", low, LANES), self.given["n1"])
        for store, place in self.aside.items():
            dtype = store.buffer.type.dtype
            kind = _aside_type(dtype)
            turned = f.gep(place, _SQUARE, kind)
            sizes = [rows, f.binary("sub", high, low)]
            f.call_helper(None, f"turn_{kind}", [place, turned, *sizes], partial(_emit_turn, kind))
            with f.loop(low, high) as columns, e.level():
                e.vectorise(k.rows, first, mask, aligned=False)
                e.bind(k.columns, columns.index)
                line = f.binary("mul", f.binary("sub", columns.index, low), LANES)
                value = f.load(kind, f.gep(turned, line, kind), LANES)
                e.store(store, f.compare("ne", value, 0) if dtype == bool_ else value)


def _aside_type(dtype: DType) -> str:
    """The LLVM type as which elements are put aside."""
    return "i32" if dtype == bool_ else llvm_type(dtype)


def _emit_turn(kind: str) -> FunctionEmitter:
    """void turn(source, target, rows, columns): so many of 16 rows of 16 elements become columns,
    in squares of 8 x 8."""
    parameters = (("ptr", "source"), ("ptr", "target"), ("i64", "rows"), ("i64", "columns"))
    g = FunctionEmitter(f"turn_{kind}", parameters, linkage="internal", attributes=AROUND_LOOPS)
    source, target, down, across = (g.parameter(n) for n in range(len(parameters)))
    side = PACKED_COLUMNS
    with g.loop(0, down, side) as rows, g.loop(0, across, side) as columns:
        place = [g.binary("mul", loop.index, LANES) for loop in (rows, columns)]
        first = g.gep(g.gep(source, place[0], kind), columns.index, kind)
        to = g.gep(g.gep(target, place[1], kind), rows.index, kind)
        lines = [g.gep(first, n * LANES, kind) for n in range(side)]
        for n, column in enumerate(transposed(g, kind, lines)):
            g.store(column, g.gep(to, n * LANES, kind))
    g.ret()
    return g


class _Upcoming(NamedTuple):
    """What is fetched: `step` elements behind this address of a buffer; to be written or not."""

    buffer: Buffer
    address: Scalar
    step: int
    write: bool


def _upcoming(k: TiledKernel, at_once: int) -> list[_Upcoming]:
    """What an epilogue reads and writes for the tiles after so many.

    Of each load and store that has an element of its own for every sum, side by side, and that no
    tile fetches. What is written too is fetched to be written: of a weight that other threads have
    multiplied with, leave to write takes as long to get as the weight. Rows below are this thread's
    own; where threads share strips, the one beyond its last is another's, which works on it.
    Stores only where tiles follow each other down the rows: a strip's part of them is no long piece
    of memory that the machine would know to come.
    """
    by_strip = k.tiles.each == "strip"
    by_row = (k.rows, k.shape.rows * at_once)
    below = by_strip or k.threads is k.columns
    axis, size = by_row if below else (k.columns, k.shape.columns)
    stores = [store for loop in k.kernel.loops[1:] for store in loop.stores]
    written = {store.buffer for store in stores}
    places = [(s.payload, s.args[0]) for s in k.epilogue_loads if s is not k.wanted]
    if by_strip:
        loaded = {buffer for buffer, _ in places}
        places += [(s.buffer, s.index[0]) for s in stores if s.buffer not in loaded]
    found = []
    for buffer, address in places:
        write = buffer in written
        along, step = (step_along(address, a) for a in (k.columns, axis))
        if k.rows not in address.axes or along is None or in_strips(along).inside != 1:
            continue
        if isinstance(step, StripStep):  # the next strip, also where two tiles share one
            found.append(_Upcoming(buffer, address, step.across * max(1, size // STRIP), write))
        elif step:
            found.append(_Upcoming(buffer, address, step * size, write))
    return found
