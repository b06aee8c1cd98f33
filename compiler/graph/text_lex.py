"""Tokens of textual IR: what a line of text is made of, and where each piece stands.

    number   -?digits[.digits][e[+-]digits]      word    letter or _, then letters, digits, _
    name     % word | % digits | % string        string  as in JSON
    symbol   one of ( ) { } [ ] , : = *

Space and comments (`//` to the end of the line) separate tokens and mean nothing else.
Every character that starts no token is an IRSyntaxError at its line and column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import IRSyntaxError

WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_STRING = r'"(?:[^"\\\n]|\\.)*"'
_TOKEN = re.compile(
    rf"""(?P<space>[ \t\r\n]+|//[^\n]*)
       | (?P<name>%(?:{WORD}|[0-9]+|{_STRING}))
       | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|-inf\b)
       | (?P<word>{WORD})
       | (?P<string>{_STRING})
       | (?P<symbol>[(){{}}\[\],:=*])""",
    re.VERBOSE,
)
_WORD_ONLY = re.compile(WORD)


class Token(NamedTuple):
    """One token. `kind` is "name", "number", "word", "string", "symbol" or "end"."""

    kind: str
    text: str
    offset: int


class Position(NamedTuple):
    """Line and column of a token, both counted from 1."""

    line: int
    column: int


def is_word(text: str) -> bool:
    """Whether the text can stand in the IR without quotes."""
    return _WORD_ONLY.fullmatch(text) is not None


def quoted(text: str) -> str:
    """The text as it is written where a word may stand: bare if it is one, else in quotes."""
    return text if is_word(text) else json.dumps(text)


def position_at(text: str, offset: int) -> Position:
    """The line and column of a character of the text."""
    before = text.count("\n", 0, offset)
    return Position(before + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1)


def line_starts(text: str) -> tuple[int, ...]:
    """The offset at which each line of the text begins."""
    return (0, *(found.end() for found in re.finditer("\n", text)))


def tokens(text: str, file: str) -> Iterator[Token]:
    """The tokens of the text, and one of kind "end" after them. Raises IRSyntaxError."""
    offset = 0
    while offset < len(text):
        found = _TOKEN.match(text, offset)
        if found is None:
            problem = f"unexpected character {text[offset]!r}"
            if text[offset] in '"%':
                problem = "a name or a string is not finished"
            raise IRSyntaxError(file, *position_at(text, offset), problem)
        kind = found.lastgroup
        assert kind is not None
        if kind != "space":
            yield Token(kind, found.group(), offset)
        offset = found.end()
    yield Token("end", "", offset)
