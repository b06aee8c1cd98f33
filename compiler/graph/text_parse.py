"""The parser: textual IR (grammar in ir.py) to a graph, in one descent over the tokens.

In: any text. Out: a graph whose every node has the type that the text says and the type rule
confirms, or IRSyntaxError with file, line and column; no text raises anything else.

An attribute `shape` or `dtype` that the text leaves out is taken from the type after the colon.
Lines that nothing reads are checked like all others, and are not part of the graph.
"""

from __future__ import annotations

import bisect
import difflib
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import GradcError, SourceLine
from ..ops import OP_WITH_NAME
from ..ops.definition import OpDef
from ..ops.source import CONSTANT, INPUT, STATE
from ..types import DTYPE_WITH_SHORT, Shape, TensorType, TupleType, static_shape
from .ir import Attribute, Graph, Literal, Node, Update
from .records import infer_type, taken_from_type
from .text_cursor import Cursor
from .text_lex import Token, line_starts

# Keys of the table of names: a node number is an integer, so that %0 and %"0" differ.
_Name = str | int


def parse_graph(text: str, file: str = "<text>") -> Graph:
    """The one graph that the text holds. Raises IRSyntaxError."""
    parser = _Parser(text, file)
    graph = parser.graph()
    parser.end()
    return graph


class _Body:
    """What the lines of one graph have defined so far."""

    def __init__(self) -> None:
        self.node: dict[_Name, Node] = {}
        self.inputs: list[Node] = []
        self.states: list[Node] = []
        self.updates: list[Update] = []
        self.outputs: list[tuple[str, Node]] = []


class _Parser(Cursor):
    """One descent over the tokens of one text."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text, file)
        self.line_texts = text.split("\n")
        self.line_starts = line_starts(text)

    def fail(self, problem: str, at: Token | None = None) -> NoReturn:
        raise self.error(problem, at)

    # -- tokens -----------------------------------------------------------------------------

    def key(self) -> tuple[_Name, Token]:
        token = self.kind("name", "a name such as %x")
        text = token.text[1:]
        if text[0] == '"':
            return self.unquoted(token), token
        if text[0].isdigit():
            return self.read_integer(Token("number", text, token.offset + 1)), token
        return text, token

    # -- graphs -----------------------------------------------------------------------------

    def graph(self) -> Graph:
        self.expect("graph")
        name = self.word("the name of the graph")
        body = _Body()
        self.expect("(")
        body.inputs = self.listed(lambda: self.declaration(body, INPUT), ")")
        if self.accept("state"):
            self.expect("(")
            body.states = self.listed(lambda: self.declaration(body, STATE), ")")
        self.expect("{")
        while not self.accept("return"):
            self.line(body)
        self.results(body)
        self.expect("}")
        return Graph(
            name, tuple(body.inputs), tuple(body.states), tuple(body.outputs), tuple(body.updates)
        )

    def declaration(self, body: _Body, op: OpDef) -> Node:
        key, token = self.key()
        if isinstance(key, int):
            self.fail("a number names a computed node; quote the name of an input or state", token)
        self.expect(":")
        type = self.type()
        attributes: dict[str, Attribute] = {"name": key, "shape": type.shape, "dtype": type.dtype}
        if op is STATE:
            attributes["trained"] = self.accept("trained")
        return self.define(body, key, token, Node(op, (), attributes, type, self.source(token)))

    def define(self, body: _Body, key: _Name, token: Token, node: Node) -> Node:
        if key in body.node:
            self.fail(f"{token.text} is defined twice", token)
        body.node[key] = node
        return node

    def source(self, token: Token) -> SourceLine:
        line = bisect.bisect_right(self.line_starts, token.offset)
        return SourceLine(self.file, line, "text", self.line_texts[line - 1].strip())

    def line(self, body: _Body) -> None:
        if self.accept("update"):
            self.update(body)
            return
        if self.token.kind != "name":
            self.fail(f"expected a line such as '%0 = ...', or 'return', not {self.found()}")
        key, token = self.key()
        self.expect("=")
        op_token = self.kind("word", "an operation")
        op = self.operation(op_token)
        operands = []
        if self.token.kind == "name":
            operands.append(self.operand(body))
            while self.accept(","):
                operands.append(self.operand(body))
        attributes = self.attributes() if self.accept("{") else {}
        self.expect(":")
        type_token = self.token
        type = self.result_type()
        node = self.node(op, op_token, tuple(operands), attributes, type, type_token)
        self.define(body, key, token, node)

    def result_type(self) -> TensorType:
        """One type, or in parentheses those of several results."""
        return TupleType(self.listed(self.type, ")")) if self.accept("(") else self.type()

    def operation(self, token: Token) -> OpDef:
        op = OP_WITH_NAME.get(token.text)
        if op in (INPUT, STATE):
            self.fail(f"{token.text} is declared in the head of the graph, not in a line", token)
        if op is None:
            near = difflib.get_close_matches(token.text, OP_WITH_NAME)
            hint = f"; near: {', '.join(near)}" if near else ""
            self.fail(f"unknown operation {token.text!r}{hint}", token)
        return op

    def operand(self, body: _Body) -> Node:
        key, token = self.key()
        if key not in body.node:
            self.fail(f"{token.text} is not defined above", token)
        return body.node[key]

    def node(
        self,
        op: OpDef,
        op_token: Token,
        operands: tuple[Node, ...],
        attributes: Mapping[str, Any],
        type: TensorType,
        type_token: Token,
    ) -> Node:
        full = dict(attributes)
        taken = taken_from_type(op)
        if taken and isinstance(type, TupleType):
            self.fail(f"{op.name} has one result, not {type}", type_token)
        for name in taken:
            full.setdefault(name, type.shape if name == "shape" else type.dtype)
        if op is CONSTANT and isinstance(full.get("value"), (tuple, _Hex)):
            full["value"] = self.literal(full["value"], type, op_token)
        if any(_holds_hex(value) for value in full.values()):
            self.fail("hex is the value of a constant only", op_token)
        try:
            inferred = infer_type(op, [operand.type for operand in operands], full)
        except GradcError as error:
            self.fail(str(error), op_token)
        if inferred != type:
            self.fail(f"{op.name} has type {inferred} here, not {type}", type_token)
        return Node(op, operands, full, type, self.source(op_token))

    def update(self, body: _Body) -> None:
        key, token = self.key()
        state = body.node.get(key)
        if state is None or state.op is not STATE:
            self.fail(f"{token.text} is not a state", token)
        if any(update.state is state for update in body.updates):
            self.fail(f"{token.text} is updated twice", token)
        self.expect("=")
        value_token = self.token
        value = self.operand(body)
        if value.type != state.type:
            problem = f"{token.text} is {state.type}, its new value {value.type}"
            self.fail(problem, value_token)
        body.updates.append(Update(state, value))

    def results(self, body: _Body) -> None:
        taken: set[str] = set()
        while not self.at("}"):
            if body.outputs:
                self.expect(",")
            token = self.token
            name = str(len(body.outputs))
            if token.kind != "name":
                name = self.word("a result, '%0' or 'name=%0'")
                self.expect("=")
            if name in taken:
                self.fail(f"two results are named {name!r}", token)
            taken.add(name)
            body.outputs.append((name, self.operand(body)))

    # -- attributes -------------------------------------------------------------------------

    def attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def entry() -> None:
            token = self.kind("word", "the name of an attribute")
            if token.text in found:
                self.fail(f"attribute {token.text!r} is given twice", token)
            self.expect("=")
            found[token.text] = self.value()

        self.listed(entry, "}")
        return found

    def value(self) -> Any:
        token = self.token
        if token.kind == "number":
            return self.number(self.next())
        if token.kind == "string":
            return self.unquoted(self.next())
        if self.at("graph") or self.at("["):
            return self.compound()
        word = self.kind("word", "a value").text
        if word in ("true", "false"):
            return word == "true"
        if word in ("inf", "nan"):
            return float(word)
        if word == "hex":
            return self.hexadecimal()
        if word in DTYPE_WITH_SHORT:
            return DTYPE_WITH_SHORT[word]
        self.fail(f"unknown value {word!r}", token)

    def compound(self) -> Any:
        """A list or a graph."""
        with self.nested():
            return tuple(self.listed(self.value, "]")) if self.accept("[") else self.graph()

    def number(self, token: Token) -> int | float:
        if token.text == "-inf" or not token.text.lstrip("-").isdigit():
            return float(token.text)
        return self.read_integer(token)

    def hexadecimal(self) -> _Hex:
        token = self.kind("string", "a string of hexadecimal digits")
        try:
            return _Hex(bytes.fromhex(self.unquoted(token)))
        except ValueError:
            self.fail("not a string of hexadecimal digits", token)

    def literal(self, value: _Hex | tuple[Any, ...], type: TensorType, at: Token) -> Literal:
        """The array of a constant from its elements or bytes."""
        try:
            shape: Shape = static_shape(type.shape)
            if isinstance(value, _Hex):
                little = type.dtype.numpy.newbyteorder("<")
                flat = np.frombuffer(value.content, _native_or(little, type.dtype.numpy))
            else:
                flat = _elements(value, type)
            return Literal(flat.astype(type.dtype.numpy).reshape(shape))
        except (GradcError, ValueError, OverflowError, TypeError) as error:
            self.fail(f"the value does not fit {type}: {error}", at)


class _Hex:
    """The bytes of a literal, before its type is known."""

    def __init__(self, content: bytes) -> None:
        self.content = content


def _holds_hex(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(map(_holds_hex, value))
    return isinstance(value, _Hex)


def _native_or(little: np.dtype[Any], native: np.dtype[Any]) -> np.dtype[Any]:
    """The little-endian dtype; bfloat16, which NumPy does not know, has only the native one."""
    return native if native.kind == "V" else little


def _elements(values: tuple[Any, ...], type: TensorType) -> np.ndarray[Any, Any]:
    kinds: tuple[Any, ...] = (bool,) if type.dtype.is_bool else (int,)
    if type.dtype.is_float:
        kinds = (int, float)
    for value in values:
        if not isinstance(value, kinds) or isinstance(value, bool) != type.dtype.is_bool:
            raise ValueError(f"{value!r} is no element of {type.dtype}")
    with np.errstate(over="ignore"):
        return np.array(values, np.float64 if type.dtype.is_float else type.dtype.numpy)
