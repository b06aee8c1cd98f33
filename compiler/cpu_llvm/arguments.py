"""What generated code is given from outside: the argument struct, and constant arrays."""

from __future__ import annotations

import hashlib

from ..artifact import ARGUMENT_FIELDS, LINE_BYTES
from ..loops.ir import Buffer
from .emit import FunctionEmitter, Value

_NUMBERS = ("first_step", "count", "rows", "same_rows")
_NAME_DIGITS = 16


def argument_field(f: FunctionEmitter, arguments: Value, name: str) -> Value:
    """Load one field; all are eight bytes long."""
    kind = "i64" if name in _NUMBERS else "ptr"
    return f.load(kind, f.gep(arguments, ARGUMENT_FIELDS.index(name), "i64"))


def sample_numbers(f: FunctionEmitter, arguments: Value, rows: Value) -> tuple[Value, Value]:
    """Where the sample numbers are, and how many from an iteration's to the next one's: none where
    all iterations read the same, else `rows`."""
    same = f.compare("ne", argument_field(f, arguments, "same_rows"), 0)
    return argument_field(f, arguments, "order"), f.select(same, f.const("i64", 0), rows)


def constant_table(f: FunctionEmitter, buffer: Buffer) -> Value:
    """An array constant as a table in the code, aligned like any buffer; equal ones are one."""
    data = "".join(f"\\{byte:02X}" for byte in buffer.content)
    size = len(buffer.content)
    name = f"constant.{hashlib.sha256(buffer.content).hexdigest()[:_NAME_DIGITS]}"
    f.tables[name] = f'@{name} = internal constant [{size} x i8] c"{data}", align {LINE_BYTES}'
    return Value(f"@{name}", "ptr")
