"""Triton text, one function at a time, behind the interface of the emitter of LLVM text.

In: calls that name an operation and its operands (cpu_llvm/emit_values.py).
Out: `TextEmitter.text()`: a Python function for triton.jit, one line for each operation.

What a scalar primitive is made of, casts, integer division, elementary functions, steps of
combiners, is written once, in terms of an emitter's operations; this emitter writes these
operations as Triton does, so that a GPU rounds as a CPU does, bit for bit. A value here is a
variable: a number, or a block of any shape; operands of different shapes are broadcast by Triton.
Types are those of LLVM, integers without a sign: what reads them as unsigned says so.

Functions that are long are functions of their own in the text, one for each combination of types.
Written with care, because Triton differs from what one expects of Python:
  x / y      of float32 is an approximation: tl.div_rn; so is tl.sqrt
  -x         is 0 - x, which loses the sign of zero
  constants  of Python are taken for float32: each is a variable of its own, with its type
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..cpu_llvm.emit import Branch, FunctionEmitter, Loop
from ..cpu_llvm.values import Operand, Value, literal
from ..errors import CompileError
from .large_angles import REDUCE_LARGE, REDUCE_LARGE_TEXT

TYPE_NAMES = {
    "double": "float64", "float": "float32", "half": "float16", "bfloat": "bfloat16",
    "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8", "i1": "int1",
}  # fmt: skip
Lines = list["str | tuple[str, Lines]"]
"""Lines of a block; one that opens a block stands with the lines inside it."""

_INDENT = "    "
_SIGNS = {
    "fadd": "+", "fsub": "-", "fmul": "*", "add": "+", "sub": "-", "mul": "*", "and": "&",
    "or": "|", "xor": "^", "shl": "<<", "ashr": ">>", "sdiv": "//", "srem": "%",
}  # fmt: skip
_UNSIGNED = {"lshr": ">>", "udiv": "//", "urem": "%"}
_RELATIONS = {
    "olt": "<", "ole": "<=", "ogt": ">", "oge": ">=", "oeq": "==", "une": "!=",
    "slt": "<", "sle": "<=", "sgt": ">", "sge": ">=", "eq": "==", "ne": "!=",
    "ult": "<", "ule": "<=", "ugt": ">", "uge": ">=",
}  # fmt: skip
_CALLS = {
    "llvm.fabs": "tl.abs", "llvm.floor": "tl.floor", "llvm.ceil": "tl.ceil", "llvm.fma": "tl.fma",
    "llvm.smin": "tl.minimum", "llvm.smax": "tl.maximum",
}  # fmt: skip
_LIKE_TEXT = """\
@triton.jit
def gradc_like(a, b):
    a, b = tl.broadcast(a, b)
    return a
"""


def tl_type(scalar: str) -> str:
    """A type as Triton has it: `tl.float32`."""
    return f"tl.{TYPE_NAMES[scalar]}"


class Name(Value):
    """A variable, or the literal of an integer. A float's constant is a variable too."""

    @property
    def is_literal(self) -> bool:
        return self.integer is not None


class TextEmitter(FunctionEmitter):
    """One function under construction.

    functions   of the whole text by name, those that others call before them; shared by all
                emitters of a text
    """

    def __init__(
        self, name: str, parameters: Sequence[tuple[str, str]], functions: dict[str, str]
    ) -> None:
        """parameters: (type, name)"""
        super().__init__(name, [])
        self.functions = functions
        self.arguments = list(parameters)
        self.most_copies = 0
        self.body: Lines = []
        self.target = self.body
        self._named: dict[tuple[str, str], Name] = {}
        self._head: list[str] = []
        self._cells: dict[str, Value] = {}

    # -- lines ------------------------------------------------------------------------------

    def text(self) -> str:
        listed = ", ".join(name for _, name in self.arguments)
        lines: Lines = [*self._head, *self.body]
        return "\n".join(["@triton.jit", f"def {self.name}({listed}):", *_indented(lines, 1), ""])

    def line(self, text: str) -> None:
        self.target.append(text)

    def fresh(self, hint: str = "v") -> str:
        """A name that stands for nothing yet."""
        self._count += 1
        return f"{hint}{self._count}"

    @contextmanager
    def into(self, lines: Lines) -> Iterator[None]:
        """What is emitted inside goes to these lines."""
        before, self.target = self.target, lines
        yield
        self.target = before

    @contextmanager
    def within(self, header: str) -> Iterator[Lines]:
        """What is emitted inside is the block behind this line, which ends in a colon."""
        lines: Lines = []
        with self.into(lines):
            yield lines
        self.target.append((header, lines or ["pass"]))

    def emit(self, text: str, scalar: str, lanes: int = 1) -> Value:
        name = self.fresh()
        self.line(f"{name} = {text}")
        return Name(name, scalar)

    def parameter(self, position: int) -> Value:
        kind, name = self.arguments[position]
        return Name(name, kind)

    def ret(self, value: Value | None = None) -> None:
        if value is not None:
            self.line(f"return {self.shown(value)}")

    # -- operands ---------------------------------------------------------------------------

    def const(self, scalar: str, value: int | float | bool, lanes: int = 1) -> Value:
        if scalar in ("i64", "i32", "i16", "i8"):
            return Name(literal(scalar, value), scalar)
        return self._constant(scalar, _number(scalar, value))

    def _constant(self, scalar: str, shown: str) -> Name:
        """The variable that holds a constant in all of this function."""
        if (scalar, shown) not in self._named:
            name = f"c{len(self._named)}"
            self._named[scalar, shown] = Name(name, scalar)
            self._head.append(f"{name} = tl.full((), {shown}, {tl_type(scalar)})")
        return self._named[scalar, shown]

    def operand(self, value: Operand, scalar: str, lanes: int = 1) -> Value:
        return value if isinstance(value, Value) else self.const(scalar, value)

    def splat(self, value: Value, lanes: int) -> Value:
        return value

    def shown(self, value: Value) -> str:
        """A value as an operand that has its type whatever stands beside it."""
        if value.integer is not None:
            return self._constant(value.type, value.name).name
        return value.name

    # -- arithmetic -------------------------------------------------------------------------

    def binary(self, op: str, a: Operand, b: Operand, flags: str = "") -> Value:
        left, right = self.alike(a, b)
        folded = None if left.is_float or left.type == "i1" else self._fold(op, left, right)
        if folded is not None:
            return folded
        if op == "fdiv":
            shown = self.shown(left), self.shown(right)
            single = left.type == "float"
            text = f"tl.div_rn({', '.join(shown)})" if single else " / ".join(shown)
            return self.emit(text, left.type)
        if op in _UNSIGNED:
            text = f"{self._unsigned(left)} {_UNSIGNED[op]} {self._unsigned(right)}"
            return self.emit(f"({text}).to({tl_type(left.type)}, bitcast=True)", left.type)
        shown_right = right.name if right.integer is not None else self.shown(right)
        return self.emit(f"{self.shown(left)} {_SIGNS[op]} {shown_right}", left.type)

    def _unsigned(self, value: Value) -> str:
        """The same bits as an unsigned number."""
        unsigned = "int32" if value.type == "i1" else f"u{TYPE_NAMES[value.type]}"
        bits = "" if value.type == "i1" else ", bitcast=True"
        return f"{self.shown(value)}.to(tl.{unsigned}{bits})"

    def fneg(self, a: Value) -> Value:
        return self.binary("fmul", a, self.const(a.type, -1.0))

    def compare(self, predicate: str, a: Operand, b: Operand) -> Value:
        left, right = self.alike(a, b)
        x, y = self.shown(left), self.shown(right)
        if predicate == "uno":
            return self.emit(f"({x} != {x}) | ({y} != {y})" if x != y else f"{x} != {x}", "i1")
        if predicate == "ord":
            return self.emit(f"({x} == {x}) & ({y} == {y})" if x != y else f"{x} == {x}", "i1")
        if predicate == "one":
            return self.emit(f"({x} < {y}) | ({x} > {y})", "i1")
        if not left.is_float and predicate.startswith("u"):
            x, y = self._unsigned(left), self._unsigned(right)
        return self.emit(f"{x} {_RELATIONS[predicate]} {y}", "i1")

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        left, right = self.alike(a, b)
        shown = (self.shown(v) for v in (condition, left, right))
        return self.emit(f"tl.where({', '.join(shown)})", left.type)

    def cast(self, op: str, a: Value, to_type: str, lanes: int | None = None) -> Value:
        if a.type == to_type:
            return a
        if a.integer is not None and op in ("sext", "trunc"):
            return self.const(to_type, a.integer)
        wide = tl_type(to_type)
        if op == "bitcast":
            return self.emit(f"{self.shown(a)}.to({wide}, bitcast=True)", to_type)
        source = self.shown(a)
        if op in ("zext", "uitofp") and a.type != "i1":
            source = self._unsigned(a)
        return self.emit(f"{source}.to({wide})", to_type)

    def intrinsic(
        self,
        name: str,
        result_type: str,
        *args: Value,
        overloads: Sequence[str] | None = None,
        lanes: int | None = None,
    ) -> Value:
        shown = [self.shown(a) for a in args]
        if name in _CALLS:
            return self.emit(f"{_CALLS[name]}({', '.join(shown)})", result_type)
        match name:
            case "llvm.sqrt":
                root = "tl.sqrt_rn" if result_type == "float" else "tl.sqrt"
                return self.emit(f"{root}({shown[0]})", result_type)
            case "llvm.copysign":
                return self._copysign(*args)
            case "llvm.trunc":
                down, up = (self.intrinsic(f"llvm.{n}", result_type, *args) for n in _ENDS)
                return self.select(self.compare("olt", args[0], 0.0), up, down)
            case "llvm.roundeven":
                return self._round(args[0])
            case "llvm.fptosi.sat" | "llvm.fptoui.sat":
                return self._saturated(args[0], result_type, name == "llvm.fptosi.sat")
        raise CompileError(f"Triton text has nothing for {name}")

    def _copysign(self, magnitude: Value, sign: Value) -> Value:
        integer, top = ("i32", 31) if sign.type == "float" else ("i64", 63)
        size, bits = (self.cast("bitcast", v, integer) for v in (magnitude, sign))
        size = self.binary("and", size, (1 << top) - 1)
        bits = self.binary("and", bits, -1 << top)
        return self.cast("bitcast", self.binary("or", size, bits), sign.type)

    def _round(self, x: Value) -> Value:
        """To the nearest integer, ties to even, by what adding a large number rounds away."""
        large = 2.0 ** (23 if x.type == "float" else 52)
        a = self.intrinsic("llvm.fabs", x.type, x)
        rounded = self.sub(self.add(a, large), large)
        return self._copysign(self.select(self.compare("olt", a, large), rounded, a), x)

    def _saturated(self, x: Value, to_type: str, signed: bool) -> Value:
        """Towards zero; out of range the nearest integer, NaN 0."""
        bits = int(to_type[1:])
        low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
        above = self.compare("oge", x, float(high))
        outside = self.binary("or", above, self.compare("ole", x, float(low)))
        outside = self.binary("or", outside, self.compare("uno", x, x))
        through = to_type if signed else "i32"
        inside = self.cast("fptosi", self.select(outside, 0.0, x), through)
        inside = self.cast("trunc", inside, to_type)
        end = self.select(above, self.const(to_type, high - 1), self.const(to_type, low))
        number = self.binary("or", above, self.compare("ole", x, float(low)))
        return self.select(number, end, inside)

    # -- calls ------------------------------------------------------------------------------

    def call_shared(
        self, name: str, function: Callable[..., Value], args: Sequence[Value]
    ) -> Value:
        kinds = [TYPE_NAMES[a.type] for a in args]
        symbol = "_".join(["gradc", name, *(kinds if len(set(kinds)) > 1 else kinds[:1])])
        (result,) = self.call_own(symbol, args, lambda f, *given: [function(f, *given)])
        return result

    def call_own(
        self, symbol: str, args: Sequence[Value], function: Callable[..., Sequence[Value]]
    ) -> list[Value]:
        """A call of the text's one function of this name, made by `function(f, *parameters)`."""
        kinds = self.define(symbol, [a.type for a in args], function)
        names = [self.fresh() for _ in kinds]
        given = ", ".join(self.shown(a) for a in args)
        self.line(f"{', '.join(names)} = {symbol}({given})")
        return [Name(n, kind) for n, kind in zip(names, kinds, strict=True)]

    def define(
        self, symbol: str, kinds: Sequence[str], function: Callable[..., Sequence[Value]]
    ) -> list[str]:
        """The types of the results of a function of the text, which is written if it is new."""
        body = TextEmitter(
            symbol, [(kind, f"x{n}") for n, kind in enumerate(kinds)], self.functions
        )
        results = list(function(body, *(body.parameter(n) for n in range(len(kinds)))))
        body.line(f"return {', '.join(body.shown(r) for r in results)}")
        self.functions.setdefault(symbol, body.text())
        return [r.type for r in results]

    def call_text(
        self, symbol: str, text: str, given: Sequence[Value], kinds: Sequence[str]
    ) -> list[Value]:
        """A call of a function that is written as text."""
        self.functions.setdefault(symbol, text)
        names = [self.fresh() for _ in kinds]
        listed = ", ".join(self.shown(v) for v in given)
        self.line(f"{', '.join(names)} = {symbol}({listed})")
        return [Name(n, kind) for n, kind in zip(names, kinds, strict=True)]

    def call_helper(
        self,
        returns: Value | None,
        name: str,
        args: Sequence[Value],
        build: Callable[[], object],
    ) -> Value:
        """That of large angles alone, whose operand and results are in four cells."""
        if name != REDUCE_LARGE:
            raise CompileError(f"Triton text has no function {name}")
        cells = [self.gep(args[0], n, "i64").name for n in range(4)]
        given = [self._cells[cell] for cell in cells]
        kinds = [v.type for v in given[1:]]
        found = self.call_text("gradc_reduce_large", REDUCE_LARGE_TEXT, given, kinds)
        self._cells.update(zip(cells[1:], found, strict=True))
        return found[0]

    # -- cells: memory of one value each, which are variables --------------------------------

    def alloca(self, scalar: str, count: int = 1, align: int = 0) -> Value:
        return Name(self.fresh("cell"), "ptr")

    def gep(self, pointer: Value, index: Operand, kind: str = "i8", inbounds: bool = True) -> Value:
        """One of the cells that were made together; its place is a number."""
        return Name(f"{pointer.name}_{self.operand(index, 'i64').name}", "ptr")

    def store(
        self,
        value: Value,
        pointer: Value,
        align: int | None = None,
        nontemporal: bool = False,
    ) -> None:
        self._cells[pointer.name] = value

    def load(
        self,
        scalar: str,
        pointer: Value,
        lanes: int = 1,
        align: int | None = None,
        suffix: str = "",
    ) -> Value:
        return self._cells[pointer.name]

    # -- control flow -----------------------------------------------------------------------

    @contextmanager
    def if_else(self, condition: Value) -> Iterator[Branch]:
        """Both arms; which result holds is chosen element by element."""
        branch = Branch()
        branch.switch_arm = lambda: branch.given.append([])
        yield branch
        first, second = branch.given
        branch.results = [self.select(condition, a, b) for a, b in zip(first, second, strict=True)]

    @contextmanager
    def do_while(self, carried: Sequence[Value] = ()) -> Iterator[Loop]:
        """As long as `again` holds in some element."""
        names = self._begun(carried)
        again = self.fresh("again")
        self.line(f"{again} = tl.full((), True, tl.int1)")
        state = Loop(self.const("i64", 0), names)
        with self.within(f"while {again}:"):
            yield state
            self._carry_on(state)
            condition = f"{self.shown(state.closing_condition())}.to(tl.int32)"
            self.line(f"{again} = tl.max({condition} + tl.zeros((1,), tl.int32)) != 0")
        state.results = names

    @contextmanager
    def loop(
        self,
        lo: Operand,
        hi: Operand,
        step: Operand = 1,
        carried: Sequence[Value] = (),
        guard: bool = True,
    ) -> Iterator[Loop]:
        names, index = self._begun(carried), self.fresh("i")
        ends = (self.operand(v, "i64").name for v in (lo, hi, step))
        state = Loop(Name(index, "i64"), names)
        with self.within(f"for {index} in range({', '.join(ends)}):"):
            yield state
            self._carry_on(state)
        state.results = names

    def like(self, value: Value, model: Value) -> Value:
        """The value in the shape that it has beside another."""
        return self.call_text("gradc_like", _LIKE_TEXT, [value, model], [value.type])[0]

    def _begun(self, carried: Sequence[Value]) -> list[Value]:
        """Variables for what a loop carries: all of one shape, which does not change inside it."""
        self.functions.setdefault("gradc_like", _LIKE_TEXT)
        names: list[Value] = []
        for value in carried:
            shown = self.shown(value)
            for other in carried:
                if other is not value:
                    shown = f"gradc_like({shown}, {self.shown(other)})"
            names.append(self.emit(shown, value.type))
        return names

    def _carry_on(self, state: Loop) -> None:
        values = ", ".join(self.shown(v) for v in state.closing_values())
        self.line(f"{', '.join(v.name for v in state.carried)} = {values}")


_ENDS = ("floor", "ceil")


def _number(scalar: str, value: int | float | bool) -> str:
    """A constant as Python writes it."""
    if scalar == "i1":
        return str(bool(value))
    number = float(value)
    return repr(number) if math.isfinite(number) else f'float("{number}")'


def _indented(lines: Lines, depth: int) -> Iterator[str]:
    for line in lines:
        if isinstance(line, str):
            yield _INDENT * depth + line
        else:
            header, inner = line
            yield _INDENT * depth + header
            yield from _indented(inner, depth + 1)
