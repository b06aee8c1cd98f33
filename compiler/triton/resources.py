"""What a cubin needs of a multiprocessor: registers, and bytes of memory that stand in for them.

In: the bytes of a cubin, an ELF file. Out: the most that one of its functions needs. It is in the
section ".nv.info", as records of a format, an attribute, a length and its numbers: those of the
attributes read here are a symbol and a number. The file is the assembler's own, so its form is not
checked; formats and attributes as LLVM and `cuobjdump --dump-resource-usage` show them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_INFO = b".nv.info"
_SIZED = 4
_REGISTERS, _FRAME = 0x2F, 0x11


@dataclass(frozen=True)
class Resources:
    """registers    of a thread
    stack_bytes  of a thread: registers that are kept in memory
    """

    registers: int
    stack_bytes: int


def resources_of(cubin: bytes) -> Resources:
    """The most that a function of the cubin needs."""
    most = {_REGISTERS: 0, _FRAME: 0}
    for attribute, number in _numbers(_section(cubin, _INFO)):
        if attribute in most:
            most[attribute] = max(most[attribute], number)
    return Resources(most[_REGISTERS], most[_FRAME])


def _section(elf: bytes, wanted: bytes) -> bytes:
    """The contents of the section of this name; nothing if there is none."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<3H", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + n * size) for n in range(count)]
    names_begin = headers[names][4]
    for name, _, _, _, begin, length in headers:
        at = names_begin + name
        if elf[at : elf.index(b"\0", at)] == wanted:
            return elf[begin : begin + length]
    return b""


def _numbers(info: bytes) -> Iterator[tuple[int, int]]:
    """Attributes and the numbers of records that have one for each function."""
    at = 0
    while at < len(info):
        form, attribute, length = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == _SIZED:
            if length == 8:
                yield attribute, struct.unpack_from("<II", info, at)[1]
            at += length
