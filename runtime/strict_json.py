"""JSON from files, read as strictly as runtime/native/json.c reads it, so that both agree.

Of what Python's own reader takes these are refused: NaN and infinities, characters that are no
UTF-8 (lone surrogates), numbers beyond 1e299, nesting deeper than 127. The same key may come twice
in an object: readers for whom that matters look at `JsonObject.keys_read`.
"""

from __future__ import annotations

import json
import re
from typing import Any

DEPTH_MAXIMUM = 127
DIGITS_MAXIMUM = 200

_NUMBER = re.compile(r"-?(\d+)(?:\.\d+)?(?:[eE][-+]?(\d+))?")


class JsonObject(dict[str, Any]):
    """An object; `keys_read` holds every key as often as the text does."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.keys_read = tuple(key for key, _ in pairs)

    @property
    def has_repeated_key(self) -> bool:
        return len(self.keys_read) != len(self)


def read_json(text: str) -> Any:
    """The value that a text holds. Raises ValueError. Objects are of type JsonObject, a number
    without fraction and exponent is an int, but for -0."""
    try:
        value = json.loads(
            text,
            object_pairs_hook=JsonObject,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check(value)
    return value


def is_count(value: Any, maximum: int) -> bool:
    """Whether a value of JSON is an integer from 0 to the maximum; `true` and 1.0 are none."""
    return type(value) is int and 0 <= value <= maximum


def _integer(digits: str) -> int | float:
    return int(digits) if digits != "-0" and _number(digits) is not None else -0.0


def _number(text: str) -> float:
    """Numbers are limited so that they surely are finite."""
    parts = _NUMBER.fullmatch(text)
    if parts is None or len(parts[1]) > DIGITS_MAXIMUM or len(parts[2] or "") > 2:
        raise ValueError("expected a number, below 1e299")
    return float(text)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check(value: Any) -> None:
    """Depth and characters of everything in a value. Raises ValueError."""
    waiting = [(value, 1)]
    while waiting:
        inner, depth = waiting.pop()
        if isinstance(inner, str):
            if not inner.isascii():
                inner.encode()  # UnicodeEncodeError is a ValueError
        elif isinstance(inner, (dict, list)):
            if depth > DEPTH_MAXIMUM:
                raise ValueError("nested too deeply")
            parts = [*inner, *inner.values()] if isinstance(inner, dict) else inner
            waiting += ((part, depth + 1) for part in parts)
