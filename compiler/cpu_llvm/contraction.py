"""A contraction in register tiles: staged operands, blocks of the sum, a fused epilogue.

In: a kernel that is a contraction (loops/contraction.py) and `Tiles`, which say how it is run.
Out: its function. Nothing is chosen here: what the tiles ask for is done, or refused.

The loops are blocked.py's. Each operand is read where it lies, by its steps along the tile and
along the terms, or is packed before (packing.py); one that is not a plain load (a prologue) is
packed by evaluating its expression. The sums of a tile stay in the workspace between blocks of
terms and meet the epilogue right after the last one, while they are in cache: bias, activation, the
optimizer's update, anything the kernel stores. What computes an operand and the epilogue are
functions of the kernel's own. The workspace is each thread's own (context.py).

Every sum goes from its first term to its last, in the blocks of loops/order.py where it is long, so
bits depend neither on the tiles nor on threads. Sums of several blocks are doubles in the
workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from typing import assert_never

from ..artifact import LINE_BYTES
from ..errors import CompileError
from ..loops.build import ScalarBuilder, step_along
from ..loops.contraction import why_no_products
from ..loops.flatten import flatten_kernel
from ..loops.index_form import StripStep
from ..loops.ir import PAGE_BYTES, Axis, Kernel, Scalar, walk
from ..loops.schedule import LANES, MOST_ROWS, PACKED_COLUMNS, STRIP, Staging, Tiles
from .blocked import blocked_function
from .blocked_tables import BlockedForm, Kept, operand_names, order_numbers
from .context import FIELD_BYTES, KernelContext, kernel_symbol, new_kernel_function
from .emit import AROUND_LOOPS, FunctionEmitter, Value, llvm_type
from .epilogue import bind_points, buffers_of, emit_epilogue, in_strips, is_cut, turning_elements
from .lanes import axis_limit
from .numbers import number_type
from .packing import (
    PACK_PARAMETERS,
    PANEL,
    copy_rows_function,
    pack_any_function,
    pack_columns_function,
    pack_rows_function,
)
from .records import Plain, Record, Recorded, find_plain, plain_function, prepare, record_table
from .shares import own_share
from .terms import TermShape, limit_numbers, table_columns, terms_function
from .tiles import TileShape, tile_function
from .values import SIZE_BYTES
from .vectors import ExpressionEmitter, first_lanes

FEW_BLOCKS = 2
"""So many blocks of a float32 sum are added as floats, which gives the same bits (tiles.py)."""

SUMS_AT_ONCE_BYTES = 8_192
"""Of the sums of several tiles that one call computes."""

PACKED_AT_ONCE_BYTES = 16_384
"""Of the rows of those tiles, where they are packed: half of the first-level cache."""

WANTED_BYTES = 2 * LINE_BYTES
"""From term to term: two tiles that follow each other fetch every line, the second one those
behind what the first fetches (tiles.py)."""

LARGE_BYTES = 524_288
"""An operand of more comes from beyond the second-level cache when it is packed."""

_ANYWHERE = -1
"""Where the last tile begins at the latest, if it may begin anywhere."""


def emit_contraction(kernel: Kernel, tiles: Tiles) -> FunctionEmitter | Recorded:
    """The kernel as one function with the signature of context.py, or as a record.

    Raises CompileError if the tiles do not fit the kernel.
    """
    f = new_kernel_function(kernel.name, AROUND_LOOPS)
    emitter = ContractionEmitter(TiledKernel(kernel, tiles), f)
    if emitter.plain is not None:
        function = plain_function(f, emitter.form, emitter.plain.outside is not None)
        return Recorded(function, emitter.record(emitter.plain), f)
    if tiles.is_shared:
        emitter.emit()
    else:
        with f.if_(f.compare("eq", emitter.context.parameter("tid"), 0)):
            emitter.emit()
    f.ret()
    return f


class TiledKernel:
    """A flattened kernel, and its axes and operands as its tiles name them.

    buffers   in the order of the table of places: that of the kernel before it was flattened
    """

    def __init__(self, kernel: Kernel, tiles: Tiles) -> None:
        self.name, self.tiles, self.buffers = kernel.name, tiles, kernel.buffers
        why, order = why_no_products(kernel), kernel.loops[0].order
        if why:
            raise self.refusal(why)
        if order is None or order.lanes != 1 or order.runs != tiles.terms:
            raise self.refusal("its sums do not go from the first of the terms to the last")
        named = [name for run in tiles.parallel_runs() for name in run]
        if sorted(named) != sorted(axis.name for axis in kernel.axes):
            raise self.refusal("its axes are not those of the tiles")
        self.kernel = flatten_kernel(kernel, ScalarBuilder())
        axes = {axis.name: axis for axis in self.kernel.axes}
        self.outer = tuple(axes[run[0]] for run in tiles.outer)
        self.bank = None if tiles.over is None else axes[tiles.over[0]]
        self.rows, self.columns = axes[tiles.rows[0]], axes[tiles.columns[0]]
        shared = (*tiles.outer, tiles.rows, tiles.columns)
        if tiles.threads is not None and tiles.threads not in shared:
            raise self.refusal("threads share none of its runs")
        self.threads = None if tiles.threads is None else axes[tiles.threads[0]]
        first = self.kernel.loops[0]
        self.reductions = first.reductions
        self.dots = [self._dot(r.value) for r in self.reductions]
        self.a = list(dict.fromkeys(a for a, _ in self.dots))
        self.b = list(dict.fromkeys(b for _, b in self.dots))
        if len(self.a) > 1 and len(self.b) > 1:
            raise self.refusal("its sums share no operand")
        if self.bank is not None and any(self.bank in b.axes for b in self.b):
            raise self.refusal("its banks are not of rows alone")
        rows, columns = tiles.tile
        scalar = llvm_type(first.reductions[0].dtype)
        if not 1 <= rows <= MOST_ROWS or columns % tiles.lanes:
            wanted = f"a tile has 1 to {MOST_ROWS} rows and whole vectors of columns"
            raise self.refusal(f"{wanted}, not {rows} x {columns}")
        self.sum = TermShape(first.axes, order.block)
        long = self.sum.blocks > (FEW_BLOCKS if scalar == "float" else 1)
        again = self.sum.blocks > 1
        self.shape = TileShape(rows, columns, tiles.lanes, scalar, again, long)
        if tiles.spread is not None:
            axes |= {axis.name: axis for axis in first.axes}
            self.shape = self._spread_shape(axes[tiles.spread[0]])
        self.wanted = self._wanted()

    def _spread_shape(self, elements: Axis) -> TileShape:
        """The shape of tiles that spread elements of `a` over the lanes of groups."""
        tiles, shape = self.tiles, self.shape
        size = 1 if elements is self.columns else elements.extent
        kinds = {tiles.a.kind, tiles.b.kind}
        if kinds != {"in place"} or len(self.dots) > 1 or shape.scalar != "float":
            raise self.refusal("only floats that lie in place are spread over groups")
        if shape.lanes % size or self.columns.extent % shape.columns:
            raise self.refusal(f"groups of {size} columns leave vectors")
        as_rows = elements is self.rows
        steps = self.steps(self.dots[0][0], (self.columns,))
        if size == 1 and steps != [in_strips(1)]:
            raise self.refusal("the columns of its operands do not lie together")
        if (self.rows.extent, shape.rows) != (size, size) if as_rows else self.sum.cuts(size):
            raise self.refusal(f"tiles cut the {size} elements that a group shares")
        return replace(shape, spread=size, as_rows=as_rows)

    def refusal(self, fact: str) -> CompileError:
        return CompileError(
            "register tiles cannot compute a kernel",
            operation=f"kernel {self.name}",
            facts=[fact],
        )

    def _dot(self, product: Scalar) -> tuple[Scalar, Scalar]:
        """The operand that has the rows, and the one that has the columns alone."""
        both = self.tiles.spread == self.tiles.columns
        if product.op == "mul":
            for a, b in (product.args, product.args[::-1]):
                of_a = self.rows in a.axes and (self.columns in a.axes) == both
                if of_a and self.columns in b.axes and self.rows not in b.axes:
                    return a, b
        raise self.refusal("a sum is not over products of a row and a column")

    @cached_property
    def epilogue_loads(self) -> list[Scalar]:
        """What is loaded to make of the sums what is stored."""
        seen: set[Scalar] = set()
        roots = [root for loop in self.kernel.loops[1:] for root in loop.roots]
        return [s for root in roots for s in walk(root, seen) if s.op == "load"]

    def _wanted(self) -> Scalar | None:
        """The load of which the part of a tile is one piece of memory, if any: of a weight in
        strips that is updated. It is as large as the results, and would come from memory while
        nothing else is done; so it is fetched term by term while the tile before is computed."""
        if self.tiles.each == "tile" and self.bank is None:
            for load in self.epilogue_loads:
                rows, columns = self.steps(load, (self.rows, self.columns)) or (None, None)
                if rows == in_strips(STRIP) and columns is not None and is_cut(columns):
                    return load
        return None

    def steps(self, operand: Scalar, axes: Sequence[Axis]) -> list[StripStep] | None:
        """Elements from point to point of each axis, if the operand is one plain load."""
        if operand.op != "load" or llvm_type(operand.dtype) != self.shape.scalar:
            return None
        found = [step_along(operand.args[0], axis) for axis in axes]
        return None if None in found else [in_strips(step) for step in found if step is not None]


def wanted_numbers(k: TiledKernel, at_once: int) -> dict[str, int]:
    """Where in what the epilogue wants fetched (blocked.py) the part of so many tiles is."""
    row = beyond = step = 0
    if k.wanted is not None:
        rows, columns = map(in_strips, k.steps(k.wanted, (k.rows, k.columns)) or ())
        row, beyond = rows.inside, columns.across - STRIP
        step = -(-at_once * k.shape.rows * row // min(k.sum.block_terms, k.sum.terms))
    size = SIZE_BYTES[k.shape.scalar]
    numbers = {"wanted_row": row, "wanted_beyond": beyond, "wanted_step": step}
    return {name: size * found for name, found in numbers.items()}


class _Operand:
    """One operand: how it is staged, and what of it the blocked loops are given."""

    def __init__(
        self, k: TiledKernel, scalar: Scalar, name: str, staging: Staging, width: int
    ) -> None:
        """width: of what it is packed into, in elements."""
        self.scalar, self.name, self.kind = scalar, name, staging.kind
        self.axis = k.rows if name.startswith("a") else k.columns
        self.size, self.width = SIZE_BYTES[k.shape.scalar], width
        steps = None if self.kind == "computed" else k.steps(scalar, (self.axis, *k.sum.axes))
        if steps is None and self.kind != "computed":
            raise k.refusal(f"operand {name[0]} is {self.kind}, but is not read in even steps")
        along, *self.by_axis = steps or [in_strips(0)] * (1 + len(k.sum.axes))
        self.by_bank = 0
        if steps is not None and k.bank is not None and name.startswith("a"):
            self.by_bank = self._step_of_banks(k, k.bank)
        self.by_part, self.by_term = along.inside, self.by_axis[-1].inside
        if any(step.across % STRIP for step in (along, *self.by_axis)):
            raise k.refusal(f"operand {name[0]} lies in strips that overlap")
        self.beyond = along.across // STRIP - along.inside
        self.even_terms = STRIP if is_cut(self.by_axis[-1]) else 0
        self._check(k)

    @property
    def is_staged(self) -> bool:
        return self.kind != "in place"

    @property
    def is_last_of_memory(self) -> bool:
        """Whether what follows it in memory may be nobody's: behind the arena are workspaces."""
        return self.scalar.op != "load" or self.scalar.payload.space != "arena"

    @property
    def step_bytes(self) -> int:
        """From term to term where tiles read it."""
        if self.kind == "copied":
            return self.size
        return self.size * (self.width if self.is_staged else self.by_term)

    @property
    def part_bytes(self) -> int:
        """From row to row where tiles read it."""
        if self.kind == "copied":
            return self.size * self.width
        return self.size * (1 if self.is_staged else self.by_part)

    def _step_of_banks(self, k: TiledKernel, bank: Axis) -> int:
        """Elements from bank to bank."""
        found = k.steps(self.scalar, (bank,))
        if found is None or is_cut(found[0]):
            raise k.refusal(f"operand {self.name[0]} does not step evenly from bank to bank")
        return found[0].inside

    def packed_elements(self, rows: int, terms: int) -> int:
        """Room for one part of so many rows, so many terms of it, where it is packed."""
        return self.width * (rows if self.kind == "copied" else terms)

    def numbers(self, k: TiledKernel, room: int, part: int) -> dict[str, int]:
        """What is constant of it (blocked_tables.py, terms.py).

        room   where it is packed, in bytes, each part in so many elements: `part`
        """
        apart = part * self.size if self.is_staged else k.shape.rows * self.part_bytes
        found = {
            "by_term": self.by_term, "by_part": self.by_part,
            "beyond": STRIP * self.beyond * self.size,
            "bank": self.by_bank * self.size,
            "strip": k.shape.columns * self.size if k.shape.spread and self.name[0] == "a" else 0,
            "even_terms": self.even_terms or k.sum.terms,
            "room": room, "step": self.step_bytes, "row": self.part_bytes, "part": apart,
            "width": self.width,
        }  # fmt: skip
        # A piece begins where a strip does: a point is then as far as one of whole strips.
        bytes_along = [self.size * step.across // STRIP for step in self.by_axis]
        found |= {f"k{n}": size for n, size in enumerate(bytes_along)}
        found["even_bytes"] = bytes_along[-1]
        return {f"{self.name}_{label}": number for label, number in found.items()}

    def _check(self, k: TiledKernel) -> None:
        shape, side = k.shape, self.name[0]
        needed = shape.rows if side == "a" else shape.columns
        if self.beyond and (STRIP % needed or self.axis.extent % needed):
            raise k.refusal(f"operand {side} lies in strips, which parts of {needed} would leave")
        if any(is_cut(step) for step in self.by_axis[:-1]):
            raise k.refusal(f"operand {side} lies in strips along terms that are not the last")
        if self.even_terms and (self.kind == "in place" or k.sum.cuts(STRIP)):
            raise k.refusal(f"operand {side} lies in strips along terms, which tiles would leave")
        if self.kind == "in place" and side == "b" and self.by_part != 1:
            raise k.refusal("operand b is in place, but its columns do not lie together")
        short = self.axis.extent < needed
        if self.kind == "in place" and short and (side == "a" or self.is_last_of_memory):
            raise k.refusal(f"operand {side} is in place, but smaller than a tile")
        if (
            self.kind == "in place"
            and self.axis.bounded
            and not (side == "a" and self.scalar.payload.space in ("arena", "state"))
        ):
            raise k.refusal(f"operand {side} is in place, but a tile may reach beyond its rows")
        if self.kind == "packed rows" and (self.by_part != 1 or self.width % PANEL):
            raise k.refusal(f"operand {side} is packed by rows, but they do not lie together")
        if self.kind == "copied" and (side != "a" or self.by_term != 1):
            raise k.refusal(f"operand {side} is copied, but is no rows of terms that lie together")
        if self.kind == "packed columns" and (self.by_term != 1 or self.width % PACKED_COLUMNS):
            raise k.refusal(f"operand {side} is packed by columns, but terms do not lie together")


def _row_apart(terms: int, size: int) -> int:
    """Elements from one copied row of so many terms to the next: in whole vectors, and so that rows
    side by side are not in the same sets of a cache."""
    row = -(-terms // PANEL) * PANEL + PANEL
    return row + PANEL if row * size % PAGE_BYTES == 0 else row


class ContractionEmitter:
    """Emits one contraction."""

    def __init__(self, k: TiledKernel, f: FunctionEmitter) -> None:
        self.k, self.f, self.shape = k, f, k.shape
        self.context = KernelContext(f, k.buffers)
        self.e = ExpressionEmitter(self.context)
        tiles = k.tiles
        self.by_strips = tiles.each == "strip"
        self.tiles, self.strips, terms = tiles.blocks
        self.depth = k.sum.blocks_of(terms)
        panel = PANEL
        if tiles.a.kind == "copied":
            panel = _row_apart(self.depth * k.sum.block_terms, SIZE_BYTES[k.shape.scalar])
        self.a, self.b = (
            [_Operand(k, s, n, staging, width) for s, n in zip(scalars, names, strict=True)]
            for scalars, names, staging, width in zip(
                (k.a, k.b), operand_names(len(k.a), len(k.b)), (tiles.a, tiles.b),
                (panel, self.shape.columns), strict=True,
            )
        )  # fmt: skip
        self.at_once = self._tiles_at_once()
        # Rooms in the workspace are taken in this order.
        self.numbers = self._sizes() | self._memory() | k.sum.numbers()
        self.numbers |= wanted_numbers(k, self.at_once)
        self.form = BlockedForm(
            self.shape.scalar, len(k.a), len(k.b), len(k.sum.axes), k.sum.cut.position,
            number_type(self.numbers),
        )  # fmt: skip

    @property
    def operands(self) -> list[_Operand]:
        return [*self.a, *self.b]

    def _tiles_at_once(self) -> int:
        """How many tiles one call computes: so many that their sums stay in the first-level cache.

        One of several dots, whose sums lie beside each other; and where a tile's rows are copied
        just before, or lie in strips. Rows that are packed just before stay there too; then what is
        stored has to be fetched by tiles, else the stores of several would wait for it."""
        k = self.k
        apart = any(operand.beyond and not operand.is_staged for operand in self.a)
        if len(k.dots) > 1 or apart:
            return 1
        most = max(1, min(self.tiles, SUMS_AT_ONCE_BYTES // self.shape.size_bytes))
        if k.wanted is not None:
            one = wanted_numbers(k, 1)["wanted_step"]
            most = max(1, min(most, WANTED_BYTES // max(1, one)))
        if self.by_strips or not self.a[0].is_staged:
            return most
        if self.a[0].kind == "copied" or k.bank is not None or k.wanted is None:
            return 1
        part = self.a[0].packed_elements(self.shape.rows, self._packed_terms(self.a[0]))
        fit = min(most, PACKED_AT_ONCE_BYTES // (part * SIZE_BYTES[self.shape.scalar]))
        return 1 << max(1, fit).bit_length() - 1

    @cached_property
    def plain(self) -> Plain | None:
        """Where all lies, if there is nothing to compute before the loops begin."""
        k = self.k
        if len(k.outer) > 1 or any(operand.kind == "computed" for operand in self.operands):
            return None
        loads = [k.wanted, *(operand.scalar for operand in self.operands)]
        return find_plain(loads, k.buffers, k.outer[0] if k.outer else None, k.threads)

    def record(self, plain: Plain | None = None) -> str:
        """The name of the kernel's record."""
        f, k, form = self.f, self.k, self.form
        names = [operand.name for operand in self.operands]
        terms = terms_function(f, names, form.axes, form.cut, form.number_names, form.numbers)
        room = self.context.room("i64", turning_elements(k))
        epilogue = _helper(f, emit_epilogue(k, self.at_once, room))
        packs = [self._packing(operand) for operand in self.operands]
        plain = plain or Plain([0] * (1 + len(packs)), None)
        alone = not k.tiles.is_shared
        tile = tile_function(f, self.shape)
        record = Record(terms, tile, epilogue, packs, alone, plain, self.numbers)
        return record_table(f, kernel_symbol("record", k.name), form, record)

    def emit(self) -> None:
        f, k, wanted = self.f, self.k, self.k.wanted
        operands = [operand.scalar for operand in self.operands]
        self.context.prepare(buffers_of(*operands, *([] if wanted is None else [wanted])))
        kept = Kept.allocated(f, self.form)
        points = f.alloca("i64", 1 + len(k.outer), align=FIELD_BYTES)
        kept.set("points", points)
        prepare(f, self.form, kept, Value(f"@{self.record()}", "ptr"))
        with ExitStack() as stack:
            for number, axis in enumerate(k.outer):
                low, high = f.const("i64", 0), axis_limit(self.context, axis)
                if axis is k.threads:
                    low, high = own_share(f, high)
                loop = stack.enter_context(f.loop(low, high))
                stack.enter_context(self.e.level())
                self.e.bind(axis, loop.index)
                f.store(loop.index, f.gep(points, 1 + number, "i64"))
            kept.set("wanted", f.const("ptr", 0) if wanted is None else self._first(wanted))
            for number, operand in enumerate(self.operands):
                kept.set_found("source", self._source(operand), number)
            f.call("void", 1, blocked_function(f, self.form), [f.parameter(0), kept.memory])

    def _sizes(self) -> dict[str, int]:
        """How large things are, and what threads share."""
        k, shape = self.k, self.shape
        last = [
            _ANYWHERE if side[0].is_staged else max(0, side[0].axis.extent - size)
            for side, size in ((self.a, shape.rows), (self.b, shape.columns))
        ]
        return {
            "rows": shape.rows, "columns": shape.columns, "m_last": last[0], "n_last": last[1],
            "m_banks": 1 if k.bank is None else k.bank.extent, "n_banks": 1,
            "m_at_once": self.at_once, "n_at_once": 1,
            "m_shared": -int(k.rows is k.threads), "n_shared": -int(k.columns is k.threads),
            "m_staged": int(self.a[0].is_staged), "n_staged": int(self.b[0].is_staged),
            "kept_size": SIZE_BYTES[shape.kept],
            "tiles": self.tiles, "strips": self.strips, "depth": self.depth,
            "rows_step": self._rows_step(),
            **limit_numbers("m", k.rows), **limit_numbers("n", k.columns),
            **order_numbers(
                k.tiles.each, self.depth, self.b[0].by_part, self.b[0].by_term * self.b[0].size,
                self.at_once if self.a[0].is_staged else 1,
            ),
        }  # fmt: skip

    def _rows_step(self) -> int:
        """Bytes of a row of `a` to each term of a block, where rows are copied tile by tile and
        nothing else is to be fetched."""
        k, a = self.k, self.a[0]
        if a.kind != "copied" or self.by_strips or k.wanted is not None or a.even_terms:
            return 0
        if k.bank is not None:
            return 0
        block = min(k.sum.block_terms, k.sum.terms)
        return -(-min(self.depth * block, k.sum.terms) * a.size // block)

    def _memory(self) -> dict[str, int]:
        """Room for the table of terms, for sums and for what is packed."""
        k, shape, context = self.k, self.shape, self.context
        operands = [*self.a, *self.b]
        place = shape.size_bytes * len(k.dots)
        if self.depth < k.sum.blocks:  # the sums of all tiles are kept between blocks of K
            tile, strip, places = place, place * self.tiles, self.tiles * self.strips
        elif self.by_strips:
            tile, strip, places = place, 0, self.tiles
        else:
            tile, strip, places = 0, 0, self.at_once
        columns = table_columns([operand.name for operand in operands], len(k.sum.axes))
        found = {
            "table": context.room("i8", k.sum.column_bytes * len(columns)),
            "blocks": context.room("i64", k.sum.blocks + 2) + SIZE_BYTES["i64"],
            "sums": context.room("i8", places * place),
            "sums_tile": tile, "sums_strip": strip,
        }  # fmt: skip
        for operand in operands:
            room, part = 0, operand.packed_elements(shape.rows, self._packed_terms(operand))
            if operand.is_staged:
                room = context.room(shape.scalar, part * self._packed_parts(operand))
            found |= operand.numbers(k, room, part)
        return found

    def _packed_terms(self, operand: _Operand) -> int:
        """How many terms of a part of it are packed at a time."""
        depth = 1 if self.by_strips and operand.name.startswith("b") else self.depth
        return depth * self.k.sum.block_terms

    def _packed_parts(self, operand: _Operand) -> int:
        """How many parts of it are packed at a time."""
        if operand.name.startswith("a"):
            return self.tiles if self.by_strips else self.at_once
        return 1 if self.by_strips else self.strips

    def _source(self, operand: _Operand) -> Value:
        """Where an operand's first element is; who computes it is given the frame."""
        return self.f.parameter(0) if operand.kind == "computed" else self._first(operand.scalar)

    def _first(self, load: Scalar) -> Value:
        """Where the element lies that is loaded for the first row, column and term."""
        f, k = self.f, self.k
        with self.e.level():
            banks = () if k.bank is None else (k.bank,)
            for axis in (k.rows, k.columns, *banks, *k.sum.axes):
                self.e.bind(axis, f.const("i64", 0))
            base, address = self.context.base(load.payload), self.e.value(load.args[0])
            return f.gep(base, address, k.shape.scalar)

    def _packing(self, operand: _Operand) -> str | None:
        """The function that packs an operand; None if it is read in place."""
        f, kind = self.f, self.shape.scalar
        match operand.kind:
            case "in place":
                return None
            case "packed rows":
                return pack_rows_function(f, kind)
            case "packed columns":
                large = operand.axis.extent * self.k.sum.terms * operand.size > LARGE_BYTES
                return pack_columns_function(f, kind, ahead=large)
            case "copied":
                return copy_rows_function(f, kind)
            case "packed any":
                return pack_any_function(f, kind)
            case "computed":
                return _helper(f, _emit_pack(self.k, operand))
            case _:
                assert_never(operand.kind)


def _helper(f: FunctionEmitter, function: FunctionEmitter) -> str:
    """The name of a function that is added to the module together with `f`."""
    f.helpers[function.name] = lambda: function
    return function.name


def _emit_pack(k: TiledKernel, operand: _Operand) -> FunctionEmitter:
    """A prologue: a packing function that evaluates the operand for every element.

    Its source is the kernel's frame. The terms' points lie a column of their table apart.
    """
    name, kind = kernel_symbol(f"pack.{operand.name}", k.name), k.shape.scalar
    attributes = AROUND_LOOPS
    f = FunctionEmitter(name, PACK_PARAMETERS, linkage="internal", attributes=attributes)
    given = {label: f.parameter(n) for n, (_, label) in enumerate(PACK_PARAMETERS)}
    context = KernelContext(f, k.buffers)
    e = ExpressionEmitter(context)
    context.prepare(buffers_of(operand.scalar))
    bind_points(e, k, given["points"])
    starts = [
        f.load("i64", f.gep(given["terms"], number * k.sum.column_bytes, "i8"))
        for number in range(len(k.sum.axes))
    ]
    for axis, start in zip(k.sum.axes[:-1], starts[:-1], strict=True):
        e.bind(axis, start)
    with f.loop(0, given["valid"], LANES) as columns, e.level():
        mask = first_lanes(f, f.binary("sub", given["valid"], columns.index), LANES)
        out = f.gep(given["target"], columns.index, kind)
        first = f.binary("add", given["start"], columns.index)
        with f.loop(0, given["kc"]) as rows, e.level():
            e.bind(k.sum.axes[-1], f.binary("add", starts[-1], rows.index))
            e.vectorise(operand.axis, first, mask, aligned=operand.axis is k.columns)
            value = f.splat(e.value(operand.scalar), LANES)
            place = f.binary("mul", rows.index, operand.width)
            f.masked_store(value, f.gep(out, place, kind), mask)
    f.ret()
    return f
