"""The emitter's arithmetic: operations from values to values, with no memory and no control flow.

In: `Value`s, or Python numbers that take the type of the operand beside them.
Out: one line of IR for each operation, and the `Value` that names its result.
Declarations and constant tables that the lines need are collected for the module.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ..artifact import LINE_BYTES
from .values import Operand, Value, constant, literal, mangled, vector_type

PRIVATE_TABLE = "private unnamed_addr constant"
"""What a table begins with that is named by its content and by nothing else."""
_VECTOR = re.compile(r"<(\d+) x (\w+)>")
MOST_COPIES = 16
"""A long function is written out so often in one function, and called from then on: a chain of a
thousand sines is a thousand calls for LLVM, not a hundred thousand instructions."""

_FOLDED = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}


def distance(there: str, here: str, after: int = 0) -> str:
    """The constant, an i32, that is how many bytes one global is behind another, or behind what is
    so many bytes after its start."""
    start = (
        f"ptr getelementptr inbounds (i8, ptr @{here}, i64 {after})" if after else f"ptr @{here}"
    )
    ends = (f"i64 ptrtoint ({address} to i64)" for address in (f"ptr @{there}", start))
    return f"trunc (i64 sub ({', '.join(ends)}) to i32)"


KERNEL = "nounwind optsize"
"""Attributes of kernels: short code, of which nothing is aligned. Loops over vectors are as fast
that way; register tiles have attributes of their own (tiles.py)."""
AROUND_LOOPS = f"noinline {KERNEL}"
"""Of what kernels call, and of the code around the loops that take the time."""


class ValueEmitter:
    """The lines of one function, and the operations that append to them."""

    def __init__(
        self,
        name: str,
        parameters: Sequence[tuple[str, str]],
        returns: str = "void",
        linkage: str = "",
        attributes: str = "nounwind",
    ) -> None:
        """parameters: (type with its attributes, name), as ("ptr noalias", "x").

        A type is scalar or a vector, as "<16 x float>".
        """
        self.name, self.returns = name, returns
        self.linkage, self.attributes = linkage, attributes
        self.declarations: dict[str, str] = {}
        self.tables: dict[str, str] = {}
        self.records: dict[str, str] = {}  # constants, known to the module by what they contain
        self.helpers: dict[str, Callable[[], ValueEmitter]] = {}
        self.copies: Counter[str] = Counter()  # of long functions that were written out here
        self.most_copies = MOST_COPIES
        self.workspace_bytes = 0  # of each thread's own memory, for a kernel; see context.py
        self.block = "entry"
        self._parameters = [(kind, f"%{label.removeprefix('%')}") for kind, label in parameters]
        self._entry: list[str] = []
        self._lines: list[str | list[str]] = []
        self._count = 0
        self._latch = ""  # last block of the loop closed most recently
        self._addresses: dict[str, tuple[Value, int]] = {}  # name -> (base, bytes from it)

    # Lines, names and blocks.

    def parameter(self, position: int) -> Value:
        kind, name = self._parameters[position]
        vector = _VECTOR.match(kind)
        if vector:
            return Value(name, vector.group(2), int(vector.group(1)))
        return Value(name, kind.split()[0])

    def text(self) -> str:
        """The whole definition."""
        listed = ", ".join(f"{kind} {name}" for kind, name in self._parameters)
        head = " ".join(w for w in ("define", self.linkage, self.returns) if w)
        body: list[str] = [*self._entry]
        for line in self._lines:
            body.extend([line] if isinstance(line, str) else line)
        tail = f" {self.attributes}" if self.attributes else ""
        return "\n".join([f"{head} @{self.name}({listed}){tail} {{", "entry:", *body, "}", ""])

    def raw(self, text: str) -> None:
        """One line of IR as it stands."""
        self._lines.append(f"  {text}")

    def comment(self, text: str) -> None:
        self._lines.append(f"  ; {text}")

    def new_value(self, scalar: str, lanes: int = 1) -> Value:
        """A fresh name that the caller defines."""
        self._count += 1
        return Value(f"%v{self._count}", scalar, lanes)

    def new_label(self, hint: str = "block") -> str:
        self._count += 1
        return f"{hint}{self._count}"

    def emit(self, text: str, scalar: str, lanes: int = 1) -> Value:
        """One instruction whose result has this type."""
        result = self.new_value(scalar, lanes)
        self._lines.append(f"  {result.name} = {text}")
        return result

    def reserve_line(self) -> int:
        """A place for lines that are known only later; fill it with `fill_line`."""
        self._lines.append([])
        return len(self._lines) - 1

    def fill_line(self, place: int, lines: list[str]) -> None:
        self._lines[place] = lines

    def start_block(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self.block = label

    def branch(self, label: str) -> None:
        self.raw(f"br label %{label}")

    def branch_if(self, condition: Value, then: str, otherwise: str) -> None:
        self.raw(f"br i1 {condition.name}, label %{then}, label %{otherwise}")

    def ret(self, value: Value | None = None) -> None:
        self.raw("ret void" if value is None else f"ret {value}")

    def unreachable(self) -> None:
        self.raw("unreachable")

    # Operands.

    def const(self, scalar: str, value: int | float | bool, lanes: int = 1) -> Value:
        """A literal; a float is rounded to its type here."""
        return constant(scalar, value, lanes)

    def operand(self, value: Operand, scalar: str, lanes: int = 1) -> Value:
        """`value` itself, or the literal of this type that a Python number stands for."""
        return value if isinstance(value, Value) else constant(scalar, value, lanes)

    def splat(self, value: Value, lanes: int) -> Value:
        """The scalar in every lane."""
        if value.lanes == lanes:
            return value
        if value.lanes != 1:
            raise ValueError(f"cannot splat {value.llvm} to {lanes} lanes")
        kind = vector_type(value.type, lanes)
        if value.is_literal:
            return Value(f"splat ({value})", value.type, lanes)
        first = self.emit(f"insertelement {kind} poison, {value}, i64 0", value.type, lanes)
        return self.shuffle(first, None, [0] * lanes)

    def alike(self, *operands: Operand) -> list[Value]:
        """Operands of one type and one number of lanes: numbers become literals, scalars splat."""
        typed = [v for v in operands if isinstance(v, Value)]
        lanes = max(v.lanes for v in typed)
        values = [self.splat(self.operand(v, typed[0].type), lanes) for v in operands]
        if any(v.type != values[0].type for v in values):
            raise ValueError(f"operands of different types: {', '.join(v.llvm for v in values)}")
        return values

    # Arithmetic.

    def binary(self, op: str, a: Operand, b: Operand, flags: str = "") -> Value:
        """`op` on two operands of one type. Integer literals and the neutral 0 and 1 fold."""
        left, right = self.alike(a, b)
        folded = self._fold(op, left, right) if not left.is_float else None
        if folded is not None:
            return folded
        words = f"{op} {flags}" if flags else op
        return self.emit(f"{words} {left}, {right.name}", left.type, left.lanes)

    def _fold(self, op: str, left: Value, right: Value) -> Value | None:
        x, y = left.integer, right.integer
        if x is not None and y is not None and op in _FOLDED:
            return constant(left.type, _FOLDED[op](x, y))
        if y == 0 and op in ("add", "sub", "or", "xor", "shl", "lshr", "ashr"):
            return left
        if x == 0 and op in ("add", "or", "xor"):
            return right
        if op == "mul" and (x == 1 or y == 1):
            return right if x == 1 else left
        if op == "mul" and (x == 0 or y == 0):
            return constant(left.type, 0)
        return None

    def add(self, a: Operand, b: Operand) -> Value:
        """Sum of floats or, wrapping, of integers; `sub` and `mul` likewise."""
        return self._by_kind("add", a, b)

    def sub(self, a: Operand, b: Operand) -> Value:
        return self._by_kind("sub", a, b)

    def mul(self, a: Operand, b: Operand) -> Value:
        return self._by_kind("mul", a, b)

    def div(self, a: Operand, b: Operand) -> Value:
        """Quotient of floats."""
        return self.binary("fdiv", a, b)

    def _by_kind(self, op: str, a: Operand, b: Operand) -> Value:
        typed = a if isinstance(a, Value) else b
        return self.binary(f"f{op}" if isinstance(typed, Value) and typed.is_float else op, a, b)

    def fneg(self, a: Value) -> Value:
        return self.emit(f"fneg {a}", a.type, a.lanes)

    def fma(self, a: Operand, b: Operand, c: Operand) -> Value:
        """a * b + c with one rounding."""
        values = self.alike(a, b, c)
        return self.intrinsic("llvm.fma", values[0].type, *values)

    def compare(self, predicate: str, a: Operand, b: Operand) -> Value:
        """i1 in each lane; `fcmp` (`olt`, `uno`, ...) for floats, `icmp` (`slt`, ...) else."""
        left, right = self.alike(a, b)
        op = "fcmp" if left.is_float else "icmp"
        return self.emit(f"{op} {predicate} {left}, {right.name}", "i1", left.lanes)

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        """a where the condition holds, b elsewhere. The condition may be one scalar for all."""
        left, right = self.alike(a, b)
        lanes = max(left.lanes, condition.lanes)
        left, right = self.splat(left, lanes), self.splat(right, lanes)
        return self.emit(f"select {condition}, {left}, {right}", left.type, lanes)

    def cast(self, op: str, a: Value, to_type: str, lanes: int | None = None) -> Value:
        """`zext`, `fptosi`, `bitcast`, ... to a scalar type; `lanes` changes in a bitcast only."""
        count = a.lanes if lanes is None else lanes
        if a.type == to_type and count == a.lanes:
            return a
        return self.emit(f"{op} {a} to {vector_type(to_type, count)}", to_type, count)

    def freeze(self, a: Value) -> Value:
        return self.emit(f"freeze {a}", a.type, a.lanes)

    # Calls.

    def call(self, returns_type: str, lanes: int, callee: str, args: Sequence[Value]) -> Value:
        """Call of `@callee`; for "void" the result must not be used."""
        kind = vector_type(returns_type, lanes)
        name = callee.removeprefix("@")
        listed = ", ".join(a.llvm for a in args)
        self.declarations.setdefault(name, f"declare {kind} @{name}({listed})")
        text = f"call {kind} @{name}({', '.join(str(a) for a in args)})"
        if returns_type == "void":
            self.raw(text)
            return Value("", "void")
        return self.emit(text, returns_type, lanes)

    def call_helper(
        self,
        returns: Value | None,
        name: str,
        args: Sequence[Value],
        build: Callable[[], ValueEmitter],
    ) -> Value:
        """Call of an internal function that `build` makes, once for the module: if it is new.

        returns: any value of the result's type; None for void.
        """
        self.helpers[name] = build
        kind, lanes = ("void", 1) if returns is None else (returns.type, returns.lanes)
        return self.call(kind, lanes, name, args)

    def call_pointer(self, returns_type: str, callee: Value, args: Sequence[Value]) -> Value:
        """Call through a function pointer."""
        text = f"call {returns_type} {callee.name}({', '.join(str(a) for a in args)})"
        if returns_type == "void":
            self.raw(text)
            return Value("", "void")
        return self.emit(text, returns_type)

    def intrinsic(
        self,
        name: str,
        result_type: str,
        *args: Value,
        overloads: Sequence[str] | None = None,
        lanes: int | None = None,
    ) -> Value:
        """Call of an LLVM intrinsic by its bare name, as "llvm.fma".

        The name is mangled with the result's type, or with `overloads` (as "v16f32") where the
        intrinsic asks for others. The result has as many lanes as the widest argument.
        """
        count = max((a.lanes for a in args), default=1) if lanes is None else lanes
        suffix = [mangled(result_type, count)] if overloads is None else overloads
        return self.call(result_type, count, ".".join([name, *suffix]), args)

    # Lanes.

    def extract(self, value: Value, lane: int | Value) -> Value:
        """One lane as a scalar."""
        if value.lanes == 1:
            return value
        at = self.operand(lane, "i64")
        return self.emit(f"extractelement {value}, {at}", value.type)

    def insert(self, value: Value, element: Value, lane: int | Value) -> Value:
        if value.lanes == 1:
            return element
        at = self.operand(lane, "i64")
        return self.emit(f"insertelement {value}, {element}, {at}", value.type, value.lanes)

    def shuffle(self, a: Value, b: Value | None, indices: Iterable[int]) -> Value:
        """Lanes picked from a and b together; one index gives a vector of one lane's scalar."""
        picked = list(indices)
        if len(picked) == 1:
            source = a if picked[0] < a.lanes or b is None else b
            return self.extract(source, picked[0] % a.lanes)
        other = "poison" if b is None else b.name
        if not any(picked):
            mask = "zeroinitializer"
        else:
            mask = f"<{', '.join(f'i32 {i}' for i in picked)}>"
        return self.emit(
            f"shufflevector {a}, {a.llvm} {other}, <{len(picked)} x i32> {mask}",
            a.type,
            len(picked),
        )

    def vector(self, scalar: str, numbers: Sequence[int | float]) -> Value:
        """A literal with these numbers in its lanes."""
        if len(numbers) == 1:
            return constant(scalar, numbers[0])
        listed = ", ".join(f"{vector_type(scalar, 1)} {literal(scalar, n)}" for n in numbers)
        return Value(f"<{listed}>", scalar, len(numbers))

    def iota(self, scalar: str, lanes: int) -> Value:
        """The literal 0, 1, 2, ... across the lanes."""
        return self.vector(scalar, list(range(lanes)))

    # Constant data.

    def table(self, scalar: str, numbers: Sequence[int | float], align: int = LINE_BYTES) -> Value:
        """Pointer to a constant array of the module, shared by equal content; `align` in bytes."""
        listed = ", ".join(f"{vector_type(scalar, 1)} {literal(scalar, n)}" for n in numbers)
        name = f"table.{hashlib.sha256(f'{align} {listed}'.encode()).hexdigest()[:16]}"
        self.tables[name] = (
            f"@{name} = {PRIVATE_TABLE} "
            f"[{len(numbers)} x {vector_type(scalar, 1)}] [{listed}], align {align}"
        )
        return Value(f"@{name}", "ptr")
