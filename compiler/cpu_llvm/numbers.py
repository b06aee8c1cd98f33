"""Numbers of a kernel as constant data, read by functions that serve many kernels.

In: names, and for each kernel a number by name. Out: a constant table, and code that reads it.

As arguments thirty numbers are thirty stores in every kernel that makes the call, at about twelve
bytes each; as data they are four bytes each, and written once for kernels that agree in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .emit import FunctionEmitter, Operand, Value
from .values import SIZE_BYTES

_SHORT_MAXIMUM = 2**31 - 1


def number_type(numbers: Mapping[str, int]) -> str:
    """The LLVM type of a table of these numbers: i32 where each of them is one."""
    short = all(-_SHORT_MAXIMUM <= number <= _SHORT_MAXIMUM for number in numbers.values())
    return "i32" if short else "i64"


def numbers_table(
    f: FunctionEmitter, names: Sequence[str], kind: str, numbers: Mapping[str, int]
) -> Value:
    """Pointer to the table of a kernel's numbers, in the order of the names."""
    return f.table(kind, [numbers[name] for name in names], align=SIZE_BYTES[kind])


class Given:
    """What a function works with, by name: values that it has, or numbers of a table.

    A number is read where it is used: most are used once, and few registers are free.
    """

    def __init__(
        self, f: FunctionEmitter, values: Mapping[str, Value], names: Sequence[str], kind: str
    ) -> None:
        """values: among them `numbers`, the table's address."""
        self._f, self._kind = f, kind
        self._values = dict(values)
        self._places = {name: place for place, name in enumerate(names)}

    def __getitem__(self, name: str) -> Value:
        if name in self._values:
            return self._values[name]
        f = self._f
        number = f.load(self._kind, f.gep(self["numbers"], self._places[name], self._kind))
        return number if self._kind == "i64" else f.cast("sext", number, "i64")

    def after(self, name: str, count: Operand, times: int = 1) -> Value:
        """The number that is `count` times `times` places after this one in the table."""
        f = self._f
        at = f.gep(self["numbers"], f.binary("mul", f.operand(count, "i64"), times), self._kind)
        number = f.load(self._kind, f.gep(at, self._places[name], self._kind))
        return number if self._kind == "i64" else f.cast("sext", number, "i64")

    def __setitem__(self, name: str, value: Value) -> None:
        self._values[name] = value
