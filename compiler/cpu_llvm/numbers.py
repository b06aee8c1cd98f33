"""Numbers of a kernel as constant data, read by functions that serve many kernels.

In: names, and for each kernel a number by name. Out: a part of a constant table (records.py), and
code that reads it.

As arguments thirty numbers are thirty stores in every kernel that makes the call, at about twelve
bytes each; as data they are two bytes each where all of them are short, else four, and written once
for kernels that agree in all. Short ones are made long when a kernel begins, so that what reads
them is one function for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .emit import FunctionEmitter, Operand, Value
from .values import SIZE_BYTES

_MAXIMUM = 2**31 - 1
SHORT = range(-1, 2**16 - 1)
"""Numbers that are written down in two bytes, as one more than they are."""
AHEAD_BYTES = 128
"""What code is given is an address so far behind the first number: x86 has short instructions for
what lies 128 bytes before an address, or less than that behind it."""


def number_type(numbers: Mapping[str, int]) -> str:
    """The LLVM type of these numbers as code reads them: i32 where each of them is one."""
    short = all(-_MAXIMUM <= number <= _MAXIMUM for number in numbers.values())
    return "i32" if short else "i64"


class Given:
    """What a function works with, by name: values that it has, or numbers of a table.

    A number is read where it is used: most are used once, and few registers are free.
    """

    def __init__(
        self, f: FunctionEmitter, values: Mapping[str, Value], names: Sequence[str], kind: str
    ) -> None:
        """values: among them `numbers`, an address AHEAD_BYTES behind the first."""
        self._f, self._kind = f, kind
        self._values = dict(values)
        first = -(AHEAD_BYTES // SIZE_BYTES[kind])
        self._places = {name: first + place for place, name in enumerate(names)}

    def __getitem__(self, name: str) -> Value:
        if name in self._values:
            return self._values[name]
        return self.after(name, 0)

    def after(self, name: str, count: Operand, times: int = 1) -> Value:
        """The number that is `count` times `times` places after this one in the table."""
        f = self._f
        at = f.gep(self["numbers"], f.binary("mul", f.operand(count, "i64"), times), self._kind)
        number = f.load(self._kind, f.gep(at, self._places[name], self._kind))
        return number if self._kind == "i64" else f.cast("sext", number, "i64")
