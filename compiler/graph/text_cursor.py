"""The cursor that every parser of textual IR moves over its tokens.

In: a text. Out: its pieces, one after the other; what does not fit raises IRSyntaxError with file,
line and column.
"""

from __future__ import annotations

import json

from ..errors import IRSyntaxError
from ..types import DTYPE_WITH_SHORT, DType, TensorType
from .text_lex import Token, position_at, tokens


class Cursor:
    """Where a parser stands in a text."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self._tokens = list(tokens(text, file))
        self._position = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._position]

    def error(self, problem: str, token: Token | None = None) -> IRSyntaxError:
        place = position_at(self.text, (token or self.token).offset)
        return IRSyntaxError(self.file, *place, problem)

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

    def integer(self, what: str = "an integer") -> int:
        token = self.kind("number", what)
        try:
            return int(token.text)
        except ValueError:
            raise self.error(f"expected {what}, not {token.text!r}", token) from None

    def integers(self) -> tuple[int, ...]:
        """[1, 2, 3]"""
        self.expect("[")
        found: list[int] = []
        while not self.accept("]"):
            if found:
                self.expect(",")
            found.append(self.integer())
        return tuple(found)

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

    def dtype(self) -> DType:
        token = self.kind("word", "a dtype")
        if token.text not in DTYPE_WITH_SHORT:
            raise self.error(f"unknown dtype {token.text!r}", token)
        return DTYPE_WITH_SHORT[token.text]

    def type(self) -> TensorType:
        dtype = self.dtype()
        self.expect("[")
        shape: list[int | str] = []
        while not self.accept("]"):
            if shape:
                self.expect(",")
            if self.token.kind == "word":
                shape.append(self.next().text)
            else:
                shape.append(self.integer("an extent"))
        return TensorType(dtype, tuple(shape))

    def end(self) -> None:
        if self.token.kind != "end":
            raise self.error(f"expected the end of the text, not {self.found()}")
