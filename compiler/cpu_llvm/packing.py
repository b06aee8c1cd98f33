"""Packing the operands of a contraction, so that register tiles read them in order.

What is packed of the first operand lies in panels, element (i, k) at k * PANEL + i; of the second
in strips, element (k, j) at k * columns + j. Padding rows and columns hold copies of real elements
or nothing at all; what they produce is never stored.

Or, of the first operand, rows are copied, element (i, k) at i * width + k: where rows lie whole
pages apart, their elements would all be in one set of the first-level cache.

Functions of the module for all of its contractions: strides and lengths are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..artifact import LINE_BYTES
from ..loops.schedule import PACKED_COLUMNS, PACKED_ROWS
from .emit import AROUND_LOOPS, FunctionEmitter, Value
from .values import SIZE_BYTES
from .vectors import first_lanes

PANEL = PACKED_ROWS
"""The width of a panel."""

_REGISTER_PART_BYTES = 16
"""Of the parts of a vector register within which elements are moved best."""

ROWS_AHEAD = 16
"""What is asked for while a row is copied."""

PACK_PARAMETERS = (
    ("ptr", "source"), ("i64", "stride_k"), ("i64", "stride_n"), ("i64", "valid"),
    ("i64", "kc"), ("ptr", "target"), ("i64", "width"),
    ("i64", "start"), ("ptr", "points"), ("ptr", "terms"),
)  # fmt: skip
"""source: element (k, n) at k * stride_k + n * stride_n; target: at k * width + n, or where rows
are copied, n * width + k.

valid columns are read, at least one; width is a multiple of 16. Who computes elements needs to know
where they are: from `start` on along the operand's own run, at these `points` of the outer axes, at
these `terms` (terms.py).
"""


def _parameters(g: FunctionEmitter) -> list[Value]:
    return [g.parameter(n) for n in range(len(PACK_PARAMETERS))]


def pack_rows_function(f: FunctionEmitter, kind: str) -> str:
    """Packing where stride_n is 1: rows of up to `width` elements are copied."""
    name = f"pack_rows_{kind}"
    f.helpers[name] = lambda: _emit_pack_rows(name, kind)
    return name


def _emit_pack_rows(name: str, kind: str) -> FunctionEmitter:
    """Rows of whole pairs of panels are copied in one pass: what lies in one page is read at once,
    and some rows later is asked for meanwhile, because rows may lie a page apart. They may begin
    anywhere in a line, whose first part has been read: the last elements are asked for."""
    g = FunctionEmitter(name, PACK_PARAMETERS, linkage="internal", attributes=AROUND_LOOPS)
    source, stride_k, _, valid, kc, target, width, *_ = _parameters(g)
    row_bytes, out_bytes = (g.binary("mul", n, SIZE_BYTES[kind]) for n in (stride_k, width))
    ahead = g.binary("mul", row_bytes, ROWS_AHEAD)
    pairs = g.binary("and", g.intrinsic("llvm.smin", "i64", valid, width), -2 * PANEL)
    with g.loop(0, pairs, 2 * PANEL) as group:
        from_, to = g.gep(source, group.index, kind), g.gep(target, group.index, kind)
        with g.loop(0, kc, carried=[from_, to], guard=False) as loop:
            row, out = loop.carried
            later = g.gep(row, ahead, "i8", inbounds=False)
            last = LINE_BYTES - SIZE_BYTES[kind]
            for line in range(last, 2 * PANEL * SIZE_BYTES[kind], LINE_BYTES):
                g.prefetch(g.gep(later, line, "i8", inbounds=False), locality=3)
            for part in (0, PANEL):
                g.store(g.load(kind, g.gep(row, part, kind), PANEL), g.gep(out, part, kind))
            loop.next([g.gep(row, row_bytes, "i8"), g.gep(out, out_bytes, "i8")])
    with g.loop(pairs, width, PANEL) as group:
        left = g.binary("sub", valid, group.index)
        from_, to = g.gep(source, group.index, kind), g.gep(target, group.index, kind)
        mask = first_lanes(g, left, PANEL)
        with g.loop(0, kc, carried=[from_, to], guard=False) as loop:
            row, out = loop.carried
            g.store(g.masked_load(kind, row, mask, PANEL), out)
            loop.next([g.gep(row, row_bytes, "i8"), g.gep(out, out_bytes, "i8")])
    g.ret()
    return g


def copy_rows_function(f: FunctionEmitter, kind: str) -> str:
    """Copying where stride_k is 1: element (k, n) goes to n * width + k.

    Rows beyond `valid` are left as they are.
    """
    name = f"copy_rows_{kind}"
    f.helpers[name] = lambda: _emit_copy_rows(name, kind)
    return name


def _emit_copy_rows(name: str, kind: str) -> FunctionEmitter:
    g = FunctionEmitter(name, PACK_PARAMETERS, linkage="internal", attributes=AROUND_LOOPS)
    source, _, stride_n, valid, kc, target, width, *_ = _parameters(g)
    whole = g.binary("and", kc, -PANEL)
    mask = first_lanes(g, g.binary("sub", kc, whole), PANEL)
    with g.loop(0, valid, carried=[source, target]) as rows:
        row, out = rows.carried
        with g.loop(0, whole, PANEL) as loop:
            value = g.load(kind, g.gep(row, loop.index, kind), PANEL)
            g.store(value, g.gep(out, loop.index, kind))
        with g.if_(g.compare("slt", whole, kc)):
            value = g.masked_load(kind, g.gep(row, whole, kind), mask, PANEL)
            g.masked_store(value, g.gep(out, whole, kind), mask)
        rows.next([g.gep(row, stride_n, kind), g.gep(out, width, kind)])
    g.ret()
    return g


def pack_columns_function(f: FunctionEmitter, kind: str, ahead: bool) -> str:
    """Packing where stride_k is 1: 8 x 8 blocks are transposed in registers.

    A column beyond `valid` is a copy of the last valid one, so that no element outside is read.
    ahead: fetch these terms of the next columns meanwhile
    """
    name = f"pack_columns_ahead_{kind}" if ahead else f"pack_columns_{kind}"
    f.helpers[name] = lambda: _emit_pack_columns(name, kind, ahead)
    return name


def _emit_pack_columns(name: str, kind: str, ahead: bool) -> FunctionEmitter:
    g = FunctionEmitter(name, PACK_PARAMETERS, linkage="internal", attributes=AROUND_LOOPS)
    source, _, stride_n, valid, kc, target, width, *_ = _parameters(g)
    whole = g.binary("and", kc, -PACKED_COLUMNS)
    out_bytes = g.binary("mul", width, SIZE_BYTES[kind])
    with g.loop(0, width, PACKED_COLUMNS, guard=False) as group:
        first = g.intrinsic("llvm.smin", "i64", group.index, g.binary("sub", valid, 1))
        # One behind the other: LLVM would count each of eight columns, and of eight rows, on its
        # own. It does not look through a freeze.
        columns = [g.freeze(g.gep(source, g.binary("mul", first, stride_n), kind))]
        left = g.freeze(g.binary("sub", valid, group.index))
        for i in range(1, PACKED_COLUMNS):
            step = g.select(g.compare("sgt", left, i), stride_n, 0)
            columns.append(g.freeze(g.gep(columns[-1], step, kind)))
        to = g.gep(target, group.index, kind)
        with g.loop(0, whole, PACKED_COLUMNS, carried=[to]) as loop:
            (out,) = loop.carried
            if ahead:
                later = g.binary("mul", width, stride_n)
                following = g.freeze(g.binary("add", loop.index, later))
                for column in columns:
                    g.prefetch(g.gep(column, following, kind, inbounds=False), locality=2)
            for row in transposed(g, kind, [g.gep(c, loop.index, kind) for c in columns]):
                g.store(row, out)
                out = g.freeze(g.gep(out, out_bytes, "i8"))
            loop.next([out])
        with g.loop(whole, kc, carried=loop.results) as loop:
            (out,) = loop.carried
            for i, column in enumerate(columns):
                element = g.load(kind, g.gep(column, loop.index, kind))
                g.store(element, g.gep(out, i, kind))
            loop.next([g.freeze(g.gep(out, out_bytes, "i8"))])
    g.ret()
    return g


def transposed(f: FunctionEmitter, kind: str, rows: Sequence[Value]) -> list[Value]:
    """A square in memory, read by its rows and transposed: log2(n) rounds of exchanges between
    rows s apart. The first, of halves, is done by loading them where they belong. What is exchanged
    within sixteen bytes, as far as x86 has one instruction for it, is done by rounds that take the
    elements of two rows in turn: so many of them come to the same."""
    size = len(rows)
    half = size // 2
    result: list[Value] = [rows[0]] * size
    for i in range(half):
        for part in (0, half):
            first, second = (f.load(kind, f.gep(rows[n], part, kind), half) for n in (i, i + half))
            result[i + part] = f.shuffle(first, second, range(size))
    step = half // 2
    while step * SIZE_BYTES[kind] >= _REGISTER_PART_BYTES:
        for i in range(size):
            if i & step:
                continue
            a, b = result[i], result[i | step]
            low = [lane if not lane & step else size + lane - step for lane in range(size)]
            high = [lane + step if not lane & step else size + lane for lane in range(size)]
            result[i], result[i | step] = f.shuffle(a, b, low), f.shuffle(a, b, high)
        step //= 2
    square = 2 * step
    while step:
        result = [
            row
            for start in range(0, size, square)
            for i in range(start, start + square // 2)
            for row in _in_turn(f, result[i], result[i + square // 2], square)
        ]
        step //= 2
    return result


def _in_turn(f: FunctionEmitter, a: Value, b: Value, square: int) -> list[Value]:
    """The elements of two rows in turn, by groups of so many: of their first halves, of their
    second ones."""
    return [
        f.shuffle(a, b, [
            lane // square * square + part + lane % square // 2 + (a.lanes if lane % 2 else 0)
            for lane in range(a.lanes)
        ])
        for part in (0, square // 2)
    ]  # fmt: skip


def pack_any_function(f: FunctionEmitter, kind: str) -> str:
    """Packing with two arbitrary strides, element by element."""
    name = f"pack_any_{kind}"
    f.helpers[name] = lambda: _emit_pack_any(name, kind)
    return name


def _emit_pack_any(name: str, kind: str) -> FunctionEmitter:
    g = FunctionEmitter(name, PACK_PARAMETERS, linkage="internal", attributes=AROUND_LOOPS)
    source, stride_k, stride_n, valid, kc, target, width, *_ = _parameters(g)
    columns = g.intrinsic("llvm.smin", "i64", valid, width)
    with g.loop(0, kc) as outer:
        row = g.gep(source, g.binary("mul", outer.index, stride_k), kind)
        out = g.gep(target, g.binary("mul", outer.index, width), kind)
        with g.loop(0, columns) as loop:
            element = g.load(kind, g.gep(row, g.binary("mul", loop.index, stride_n), kind))
            g.store(element, g.gep(out, loop.index, kind))
    g.ret()
    return g
