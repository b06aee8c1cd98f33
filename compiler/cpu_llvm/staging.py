"""Packing a part of the operands of a contraction along one axis, for the loops in blocked.py.

In: which part, for which blocks of the sum. Out: all pieces of it lie packed where `Tables.packed`
says, of every operand of the axis that is not read in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from .blocked_tables import BlockedForm, Kept, Tables
from .emit import AROUND_LOOPS, FunctionEmitter, Value
from .terms import FIRST_COLUMNS, OF_OPERAND

_PARAMETERS = (
    ("ptr", "frame"), ("ptr", "kept"), ("i64", "axis"), ("i64", "number"),
    ("i64", "first"), ("i64", "end"),
)  # fmt: skip
"""Part `number` of the operands along an axis, for some blocks of the sum."""


def stage(f: FunctionEmitter, form: BlockedForm, given: Sequence[Value]) -> None:
    """Call it with its parameters."""
    name = f"stage_{form.symbol}"
    f.call_helper(None, name, given, lambda: _StageEmitter(name, form).emit())


class _StageEmitter:
    """Emits the function that packs a part of every operand along an axis that is not in place."""

    def __init__(self, name: str, form: BlockedForm) -> None:
        self.f = FunctionEmitter(name, _PARAMETERS, "void", "internal", AROUND_LOOPS)
        self.form = form
        _, memory, *self.rest = (self.f.parameter(n) for n in range(len(_PARAMETERS)))
        kept = Kept(self.f, form, memory)
        self.tables = Tables(self.f, form, kept)

    def emit(self) -> FunctionEmitter:
        f, e = self.f, self.tables
        with e.along(self.rest[0]) as operand, f.if_(e.is_staged(operand)):
            self._pack(operand)
        f.ret()
        return f

    def _pack(self, operand: Value) -> None:
        """Pack the part of an operand, all pieces of the blocks."""
        f, e, (axis, number, first, end) = self.f, self.tables, self.rest
        bank, part = e.within(axis, number)
        f.store(bank, e.kept.get("points", kind="ptr"))
        points = e.points(axis, part)
        before = e.terms_before(e.first_piece(first))
        target = e.packed(operand, axis, number)
        along = e.at(operand, points[0], bank)
        with f.loop(e.first_piece(first), e.first_piece(end)) as loop:
            piece = loop.index
            count, start = f.load("i64", e.counts(piece)), e.terms_before(piece)
            offset = f.load("i64", e.offsets(operand, piece))
            done = f.binary("mul", f.binary("sub", start, before), e.number(operand, "step"))
            places = f.gep(along, offset, "i8"), f.gep(target, done, "i8")
            self._pack_piece(operand, points, count, piece, places)

    def _pack_piece(
        self, operand: Value, points: Sequence[Value], count: Value, piece: Value,
        places: Sequence[Value],
    ) -> None:  # fmt: skip
        """Pack `count` terms of a piece, from its source to where it is packed."""
        f, e = self.f, self.tables
        steps = e.number(operand, "by_term"), e.number(operand, "by_part")
        valid = f.binary("sub", points[1], points[0])
        k0_points = e.column(len(FIRST_COLUMNS) + len(OF_OPERAND) * len(self.form.operands), piece)
        with f.loop(0, count, e.number(operand, "even_terms")) as even:
            left = f.binary("sub", count, even.index)
            terms = f.intrinsic("llvm.smin", "i64", left, e.number(operand, "even_terms"))
            from_ = f.binary("mul", even.index, e.number(operand, "even_bytes"))
            to = f.binary("mul", even.index, e.number(operand, "step"))
            arguments = [
                f.gep(places[0], from_, "i8"), *steps, valid, terms, f.gep(places[1], to, "i8"),
                e.number(operand, "width"), points[0], e.kept.get("points", kind="ptr"), k0_points,
            ]  # fmt: skip
            f.call_pointer("void", e.pack(operand), arguments)
