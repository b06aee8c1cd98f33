"""The cursor that every parser of textual IR moves over its tokens.

In: a text. Out: its pieces, one after the other; what does not fit raises IRSyntaxError with file,
line and column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ..errors import IRSyntaxError
from ..types import DTYPE_WITH_SHORT, DType, Extent, TensorType
from .text_lex import Token, position_at, tokens

DEPTH_LIMIT = 32
"""Of lists, graphs, expressions and loops inside one another."""

DIGITS_LIMIT = 400
"""Of an integer: more than any float64 needs, less than CPython refuses."""

Item = TypeVar("Item")


class Cursor:
    """Where a parser stands in a text."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self._tokens = list(tokens(text, file))
        self._position = 0
        self._depth = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._position]

    def error(self, problem: str, token: Token | None = None) -> IRSyntaxError:
        place = position_at(self.text, (token or self.token).offset)
        return IRSyntaxError(self.file, *place, problem)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Around what a parser calls itself for: a text cannot nest without end."""
        self._depth += 1
        if self._depth > DEPTH_LIMIT:
            raise self.error(f"nested deeper than {DEPTH_LIMIT}")
        yield
        self._depth -= 1

    def at(self, *texts: str) -> bool:
        return self.token.text in texts and self.token.kind != "string"

    def next(self) -> Token:
        token = self.token
        self._position += token.kind != "end"
        return token

    def accept(self, text: str) -> bool:
        """Step over `text` if it stands here."""
        found = self.at(text)
        if found:
            self.next()
        return found

    def expect(self, text: str) -> Token:
        if not self.at(text):
            raise self.error(f"expected {text!r}, not {self.found()}")
        return self.next()

    def kind(self, kind: str, what: str) -> Token:
        if self.token.kind != kind:
            raise self.error(f"expected {what}, not {self.found()}")
        return self.next()

    def found(self) -> str:
        return "the end of the text" if self.token.kind == "end" else repr(self.token.text)

    def listed(self, item: Callable[[], Item], close: str) -> list[Item]:
        """Items with commas between them, up to and with the closing symbol; there may be none."""
        found: list[Item] = []
        while not self.accept(close):
            if found:
                self.expect(",")
            found.append(item())
        return found

    def integer(self, what: str = "an integer") -> int:
        return self.read_integer(self.kind("number", what), what)

    def read_integer(self, token: Token, what: str = "an integer") -> int:
        """The integer that a token of digits stands for."""
        if len(token.text) > DIGITS_LIMIT:
            raise self.error(f"a number of more than {DIGITS_LIMIT} digits", token)
        try:
            return int(token.text)
        except ValueError:
            raise self.error(f"expected {what}, not {token.text!r}", token) from None

    def integers(self) -> tuple[int, ...]:
        """[1, 2, 3]"""
        self.expect("[")
        return tuple(self.listed(self.integer, "]"))

    def word(self, what: str) -> str:
        """A word or, in quotes, any text."""
        if self.token.kind == "string":
            return self.unquoted(self.next())
        return self.kind("word", what).text

    def name(self, what: str) -> str:
        """The text behind a %."""
        token = self.kind("name", what)
        return self.unquoted(token) if token.text[1:].startswith('"') else token.text[1:]

    def unquoted(self, token: Token) -> str:
        """The text that a string, or a quoted name behind a %, stands for."""
        try:
            return str(json.loads(token.text.removeprefix("%")))
        except ValueError as error:
            raise self.error(f"bad string: {error}", token) from None

    # -- types ------------------------------------------------------------------------------

    def dtype(self, what: str = "a dtype") -> DType:
        token = self.kind("word", what)
        if token.text not in DTYPE_WITH_SHORT:
            known = ", ".join(DTYPE_WITH_SHORT)
            raise self.error(f"unknown dtype {token.text!r}; known: {known}", token)
        return DTYPE_WITH_SHORT[token.text]

    def type(self) -> TensorType:
        dtype = self.dtype("a type such as f32[64, 10]")
        self.expect("[")
        return TensorType(dtype, tuple(self.listed(self.extent, "]")))

    def extent(self) -> Extent:
        token = self.token
        if token.kind == "number":
            value = self.read_integer(self.next())
            if value < 0:
                raise self.error(f"an extent is not negative: {value}", token)
            return value
        name = self.word("an extent: an integer or the name of a dimension")
        if not name:
            raise self.error("the name of a dimension is empty", token)
        return name

    def end(self) -> None:
        if self.token.kind != "end":
            raise self.error(f"expected the end of the text, not {self.found()}")
