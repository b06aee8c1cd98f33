"""The parser: textual IR (grammar in ir.py) to a graph, in one descent over the tokens.

In: any text. Out: a graph whose every node has the type that the text says and the type rule
confirms, or IRSyntaxError with file, line and column; no text raises anything else.

An attribute `shape` or `dtype` that the text leaves out is taken from the type after the colon.
Lines that nothing reads are checked like all others, and are not part of the graph.
"""

from __future__ import annotations

import bisect
import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np

from ..errors import GradcError, IRSyntaxError, SourceLine
from ..ops import OP_WITH_NAME
from ..ops.definition import OpDef
from ..ops.source import CONSTANT, INPUT, STATE
from ..types import DTYPE_WITH_SHORT, Extent, Shape, TensorType, static_shape
from .ir import Attribute, Graph, Literal, Node, Update
from .records import infer_type, taken_from_type
from .text_lex import Token, line_starts, position_at, tokens

DEPTH_LIMIT = 32  # of lists and graphs inside one another; the parser recurses once for each
DIGITS_LIMIT = 400  # of a number: more than any float64 needs, less than CPython refuses

_Item = TypeVar("_Item")
# Keys of the table of names: a node number is an integer, so that %0 and %"0" differ.
_Name = str | int


def parse_graph(text: str, file: str = "<text>") -> Graph:
    """The one graph that the text holds. Raises IRSyntaxError."""
    parser = _Parser(text, file)
    graph = parser.graph()
    parser.expect_end()
    return graph


class _Body:
    """What the lines of one graph have defined so far."""

    def __init__(self) -> None:
        self.node: dict[_Name, Node] = {}
        self.inputs: list[Node] = []
        self.states: list[Node] = []
        self.updates: list[Update] = []
        self.outputs: list[tuple[str, Node]] = []


class _Parser:
    """A cursor over the tokens of one text."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.line_texts = text.split("\n")
        self.line_starts = line_starts(text)
        self.tokens = list(tokens(text, file))
        self.next = 0
        self.depth = 0

    # -- tokens -----------------------------------------------------------------------------

    @property
    def token(self) -> Token:
        return self.tokens[self.next]

    def fail(self, problem: str, at: Token | None = None) -> NoReturn:
        token = at or self.token
        raise IRSyntaxError(self.file, *position_at(self.text, token.offset), problem)

    def advance(self) -> Token:
        token = self.token
        if token.kind != "end":
            self.next += 1
        return token

    def at(self, text: str) -> bool:
        return self.token.kind in ("symbol", "word") and self.token.text == text

    def accept(self, text: str) -> bool:
        found = self.at(text)
        if found:
            self.advance()
        return found

    def expect(self, text: str) -> Token:
        if not self.at(text):
            self.fail(f"expected {text!r}, found {self.shown()}")
        return self.advance()

    def expect_kind(self, kind: str, what: str) -> Token:
        if self.token.kind != kind:
            self.fail(f"expected {what}, found {self.shown()}")
        return self.advance()

    def expect_end(self) -> None:
        if self.token.kind != "end":
            self.fail(f"expected the end of the text, found {self.shown()}")

    def shown(self) -> str:
        return "the end of the text" if self.token.kind == "end" else repr(self.token.text)

    def listed(self, item: Callable[[], _Item], close: str) -> list[_Item]:
        """Items with commas between them, up to and with the closing symbol; there may be none."""
        found: list[_Item] = []
        while not self.accept(close):
            if found:
                self.expect(",")
            found.append(item())
        return found

    def string(self, token: Token) -> str:
        try:
            return str(json.loads(token.text))
        except ValueError as error:
            self.fail(f"bad string: {error}", token)

    def word_or_string(self, what: str) -> str:
        token = self.advance() if self.token.kind in ("word", "string") else None
        if token is None:
            self.fail(f"expected {what}, found {self.shown()}")
        return self.string(token) if token.kind == "string" else token.text

    def name(self) -> tuple[_Name, Token]:
        token = self.expect_kind("name", "a name such as %x")
        text = token.text[1:]
        if text[0] == '"':
            return self.string(Token("string", text, token.offset + 1)), token
        if text[0].isdigit():
            return self.integer(Token("number", text, token.offset + 1)), token
        return text, token

    def integer(self, token: Token) -> int:
        if len(token.text) > DIGITS_LIMIT:
            self.fail(f"a number of more than {DIGITS_LIMIT} digits", token)
        try:
            return int(token.text)
        except ValueError:
            self.fail(f"expected an integer, found {token.text!r}", token)

    # -- types ------------------------------------------------------------------------------

    def type(self) -> TensorType:
        token = self.expect_kind("word", "a type such as f32[64, 10]")
        if token.text not in DTYPE_WITH_SHORT:
            known = ", ".join(DTYPE_WITH_SHORT)
            self.fail(f"unknown dtype {token.text!r}; known: {known}", token)
        self.expect("[")
        return TensorType(DTYPE_WITH_SHORT[token.text], tuple(self.listed(self.extent, "]")))

    def extent(self) -> Extent:
        if self.token.kind == "number":
            token = self.advance()
            value = self.integer(token)
            if value < 0:
                self.fail(f"an extent is not negative: {value}", token)
            return value
        token = self.token
        name = self.word_or_string("an extent: an integer or the name of a dimension")
        if not name:
            self.fail("the name of a dimension is empty", token)
        return name

    # -- graphs -----------------------------------------------------------------------------

    def graph(self) -> Graph:
        self.expect("graph")
        name = self.word_or_string("the name of the graph")
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
        key, token = self.name()
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
            self.fail(f"expected a line such as '%0 = ...', or 'return', found {self.shown()}")
        key, token = self.name()
        self.expect("=")
        op_token = self.expect_kind("word", "an operation")
        op = self.operation(op_token)
        operands = []
        if self.token.kind == "name":
            operands.append(self.operand(body))
            while self.accept(","):
                operands.append(self.operand(body))
        attributes = self.attributes() if self.accept("{") else {}
        self.expect(":")
        type_token = self.token
        type = self.type()
        node = self.node(op, op_token, tuple(operands), attributes, type, type_token)
        self.define(body, key, token, node)

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
        key, token = self.name()
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
        for name in taken_from_type(op):
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
        key, token = self.name()
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
                name = self.word_or_string("a result, '%0' or 'name=%0'")
                self.expect("=")
            if name in taken:
                self.fail(f"two results are named {name!r}", token)
            taken.add(name)
            body.outputs.append((name, self.operand(body)))

    # -- attributes -------------------------------------------------------------------------

    def attributes(self) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def entry() -> None:
            token = self.expect_kind("word", "the name of an attribute")
            if token.text in found:
                self.fail(f"attribute {token.text!r} is given twice", token)
            self.expect("=")
            found[token.text] = self.value()

        self.listed(entry, "}")
        return found

    def value(self) -> Any:
        token = self.token
        if token.kind == "number":
            return self.number(self.advance())
        if token.kind == "string":
            return self.string(self.advance())
        if self.at("graph") or self.at("["):
            return self.nested(token)
        word = self.expect_kind("word", "a value").text
        if word in ("true", "false"):
            return word == "true"
        if word in ("inf", "nan"):
            return float(word)
        if word == "hex":
            return self.hexadecimal()
        if word in DTYPE_WITH_SHORT:
            return DTYPE_WITH_SHORT[word]
        self.fail(f"unknown value {word!r}", token)

    def nested(self, token: Token) -> Any:
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            self.fail(f"nested deeper than {DEPTH_LIMIT}", token)
        found: Any = tuple(self.listed(self.value, "]")) if self.accept("[") else self.graph()
        self.depth -= 1
        return found

    def number(self, token: Token) -> int | float:
        if token.text == "-inf" or not token.text.lstrip("-").isdigit():
            return float(token.text)
        return self.integer(token)

    def hexadecimal(self) -> _Hex:
        token = self.expect_kind("string", "a string of hexadecimal digits")
        try:
            return _Hex(bytes.fromhex(self.string(token)))
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
