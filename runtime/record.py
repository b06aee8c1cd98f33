"""The training position: all that a run needs, beside its state, to go on where it stopped.

It is stored as canonical JSON: ASCII, keys sorted, no spaces, so that equal positions are equal
bytes. A float is the 16 hexadecimal digits of its IEEE 754 binary64 bits, most significant first,
which keeps every bit, NaN and infinities included.

    format       integer       version of this description
    fingerprint  string        MODEL-STEP: the program that the state belongs to
    seed         integer       what the parameters and the order of samples were made from
    epoch        integer       epochs completed
    position     integer       batches done in the epoch begun
    rows         integer       samples seen in the epoch begun
    step         integer       batches done in all
    sums         floats        of the epoch begun, added up as columns.py says
    best         float|null    the best monitored value so far, and the epoch that it belongs to
    best_epoch   integer
    waited       integer       epochs without improvement
    finished     boolean       whether the run ended by itself; then the best state is the result
    samples      integer       size of the data set, 0 if unknown
    batch_size, shuffle, drop_last      what the position depends on
    history      {string: integer}   for each column, how many epochs it covers; its numbers are in
                 a tensor of the file (see column.py). In format 1: {string: floats}
    checksum     string        see checkpoint.py

Integers that count are at most 2^53, which any reader of JSON holds exactly. A position that no run
could have come to, such as more epochs than steps, is wrong, whatever its checksum says;
runtime/native/record.c has the same rules.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .column import Column
from .strict_json import is_count

FORMAT_VERSION = 2
OLD_VERSION = 1  # still read
COUNT_MAXIMUM = 2**53

_FLOAT = re.compile("[0-9a-f]{16}", re.ASCII)


@dataclass
class RunRecord:
    """See the module docstring; `fingerprint`, `format` and `checksum` are the file's own."""

    seed: int = 0
    epoch: int = 0
    position: int = 0
    rows: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = -1
    waited: int = 0
    finished: bool = False
    samples: int = 0
    batch_size: int = 0
    shuffle: bool = False
    drop_last: bool = False
    history: dict[str, Column] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """The record as JSON values, floats as their bits."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["sums"] = [float_bits(value) for value in self.sums]
        plain["best"] = None if self.best is None else float_bits(self.best)
        plain["history"] = {name: column.length for name, column in self.history.items()}
        return plain

    @classmethod
    def from_plain(
        cls, plain: Mapping[str, Any], history: Mapping[str, Column] | None = None
    ) -> RunRecord:
        """The inverse of `to_plain`. Raises ValueError naming the first value that is wrong.

        history    the columns; None: they are in `plain`, in format 1
        """
        values: dict[str, Any] = {}
        for f in fields(cls):
            if f.name not in plain:
                raise ValueError(f"{f.name!r} is missing")
            values[f.name] = plain[f.name]
        values["sums"] = _floats("sums", plain["sums"])
        if plain["best"] is not None:
            values["best"] = _floats("best", [plain["best"]])[0]
        if not isinstance(plain["history"], dict):
            raise ValueError("'history' is not an object")
        values["history"] = dict(
            history
            if history is not None
            else {n: Column(_floats(f"history.{n}", v)) for n, v in plain["history"].items()}
        )
        for name in ("epoch", "position", "rows", "step", "waited", "samples", "batch_size"):
            _check_integer(name, values[name], 0, COUNT_MAXIMUM)
        _check_integer("seed", values["seed"], -(2**63), 2**63 - 1)
        _check_integer("best_epoch", values["best_epoch"], -1, COUNT_MAXIMUM)
        for name in ("finished", "shuffle", "drop_last"):
            if not isinstance(values[name], bool):
                raise ValueError(f"{name!r} is not a boolean")
        record = cls(**values)
        record.check_together()
        return record

    def check_together(self) -> None:
        """Whether a run could have come to this position. Raises ValueError."""
        for name, fits in (
            ("best_epoch", self.best_epoch < self.epoch),
            ("best", (self.best is None) == (self.best_epoch < 0)),
            ("waited", self.waited <= self.epoch),
            ("step", self.step >= self.epoch and self.step >= self.position),
            ("rows", self.rows >= self.position and (self.rows > 0) == (self.position > 0)),
            ("rows", not self.samples or self.rows <= self.samples),
            ("history", all(c.length <= self.epoch for c in self.history.values())),
        ):
            if not fits:
                raise ValueError(f"{name!r} does not fit the rest")


def column_lengths(plain: Mapping[str, Any]) -> dict[str, int]:
    """The epochs of every column of a position of this format. Raises ValueError."""
    history = plain.get("history")
    if not isinstance(history, dict) or not all(
        is_count(length, COUNT_MAXIMUM) for length in history.values()
    ):
        raise ValueError("'history' is not an object of integers")
    return history


def canonical_json(plain: dict[str, Any]) -> str:
    """ASCII, keys sorted, no spaces."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)


def float_bits(value: float) -> str:
    """The bits of a binary64 as 16 hexadecimal digits."""
    return struct.pack(">d", value).hex()


def _floats(name: str, texts: Any) -> list[float]:
    if not isinstance(texts, list):
        raise ValueError(f"{name!r} is not a list")
    values = []
    for text in texts:
        if not isinstance(text, str) or not _FLOAT.fullmatch(text):
            raise ValueError(f"{name!r} holds {text!r}, not 16 hexadecimal digits")
        values.append(float(struct.unpack(">d", bytes.fromhex(text))[0]))
    return values


def _check_integer(name: str, value: Any, minimum: int, maximum: int) -> None:
    if type(value) is not int:
        raise ValueError(f"{name!r} is not an integer")
    if not minimum <= value <= maximum:
        raise ValueError(f"{name!r} is {value}, out of range")
