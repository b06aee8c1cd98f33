"""Finding tiles or strips of a contraction, for the loops in blocked.py.

In: the number of a part along an axis, counted through all banks; the first of the blocks of the
sum that it is packed for. Out: in memory, its bank, its number there, how many parts are worked on
together, and where tiles find each operand of the axis.
"""

from __future__ import annotations

from collections.abc import Sequence

from .blocked_tables import BlockedForm, Kept, Tables
from .emit import AROUND_LOOPS, FunctionEmitter, Value

_PARAMETERS = (
    ("ptr", "frame"), ("ptr", "kept"), ("i64", "axis"), ("i64", "number"), ("i64", "block"),
)  # fmt: skip


def find_parts(f: FunctionEmitter, form: BlockedForm, given: Sequence[Value]) -> None:
    """Call the function that finds, with its parameters."""
    name = f"parts_{form.symbol}"
    f.call_helper(None, name, given, lambda: _PartsEmitter(name, form).emit())


class _PartsEmitter:
    """Emits the function."""

    def __init__(self, name: str, form: BlockedForm) -> None:
        self.f = FunctionEmitter(name, _PARAMETERS, "void", "internal", AROUND_LOOPS)
        _, memory, self.axis, self.number, self.block = (
            self.f.parameter(n) for n in range(len(_PARAMETERS))
        )
        self.kept = Kept(self.f, form, memory)
        self.tables = Tables(self.f, form, self.kept)

    def emit(self) -> FunctionEmitter:
        f, e, kept, axis = self.f, self.tables, self.kept, self.axis
        bank, within = e.within(axis, self.number)
        together = f.binary("sub", kept.get("full", axis), within)
        left = f.binary("sub", kept.get("end", axis), self.number)
        for most in (e.given.after("m_at_once", axis), left):
            together = f.intrinsic("llvm.smin", "i64", together, most)
        together = f.intrinsic("llvm.smax", "i64", together, f.const("i64", 1))
        found = {"number": self.number, "within": within, "together": together, "bank": bank}
        for name, value in found.items():
            kept.set(name, value, axis)
        start = e.begins(axis, f.binary("mul", within, e.part_size(axis)))
        with e.along(axis) as operand:
            self._find(operand, start, bank)
        f.ret()
        return f

    def _find(self, operand: Value, start: Value, bank: Value) -> None:
        """Where an operand is found: packed from the block on, if it is."""
        f, e = self.f, self.tables
        staged = e.is_staged(operand)
        terms = e.terms_before(e.first_piece(self.block))
        before = f.binary("sub", 0, f.binary("mul", terms, e.number(operand, "step")))
        packed = e.packed(operand, self.axis, self.number)
        packed = f.gep(packed, before, "i8", inbounds=False)
        at = f.select(staged, packed, e.at(operand, start, bank))
        offsets = e.offsets(operand, f.const("i64", 0), f.cast("zext", staged, "i64"))
        self.kept.set_found("at", at, operand)
        self.kept.set_found("offsets", offsets, operand)
