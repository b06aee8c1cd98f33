"""How a linked file is laid out: a script for GNU's linker that leaves no room between the parts.

    headers | tables of the dynamic linker | code | constants || relocated | nothing || zeros

What follows the first || is a segment of its own, writable until all is relocated. Its end has to
be that of a page in memory, or the page would stay writable; the linker's own script moves the
segment to an end of a page in the file too, which costs half a page. Here the rest of that page is
memory that the file does not hold. There are few sections, each of which takes a header in the
file, and no unwinding tables. `is_protected` looks whether a linker did what the script says.
"""

from __future__ import annotations

import struct
from pathlib import Path

LAYOUT = """\
ENTRY(_start)
SECTIONS
{
  . = SIZEOF_HEADERS;
  .interp : { *(.interp) }
  .gnu.hash : { *(.gnu.hash) }
  .dynsym : { *(.dynsym) }
  .dynstr : { *(.dynstr) }
  .gnu.version : { *(.gnu.version) }
  .gnu.version_d : { *(.gnu.version_d) }
  .gnu.version_r : { *(.gnu.version_r) }
  .rela.dyn : { *(.rela.*) }
  .text : { *(SORT_BY_ALIGNMENT(.text) SORT_BY_ALIGNMENT(.text.*)) *(.plt .plt.*) }
  .rodata : { *(SORT_BY_ALIGNMENT(.rodata) SORT_BY_ALIGNMENT(.rodata.*)) }
  end_of_constants = .;
  . = DATA_SEGMENT_ALIGN(CONSTANT(MAXPAGESIZE), CONSTANT(COMMONPAGESIZE));
  . = ALIGN(end_of_constants, CONSTANT(MAXPAGESIZE))
      + (end_of_constants & (CONSTANT(MAXPAGESIZE) - 1));
  .preinit_array : { KEEP(*(.preinit_array)) }
  .init_array : { KEEP(*(SORT(.init_array.*))) KEEP(*(.init_array)) }
  .fini_array : { KEEP(*(.fini_array)) }
  .data.rel.ro : { *(.data.rel.ro .data.rel.ro.*) *crt1.o(.data) }
  .dynamic : { *(.dynamic) }
  .got : { *(.got) *(.got.plt) }
  .relro_padding (NOLOAD) : { . = ALIGN(CONSTANT(MAXPAGESIZE)); }
  . = DATA_SEGMENT_RELRO_END(0, .);
  .data : { *(.data .data.*) }
  .bss : { *(.bss .bss.*) *(COMMON) }
  . = DATA_SEGMENT_END(.);
  /DISCARD/ : { *(.note.*) *(.comment) *(.eh_frame) }
}
"""
"""No variable here begins with another value than zero. Where a compiler adds one, as for a
sanitizer, the file is laid out as the linker likes: `is_protected` says no. What crt1.o has is
never written."""

_LITTLE_64 = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # System V ABI, chapter 4
_SEGMENT = struct.Struct("<IIQQQQQQ")  # chapter 5
_LOAD, _DYNAMIC, _RELRO = 1, 2, 0x6474E552
_WRITABLE = 2


def is_protected(made: Path) -> bool:
    """Whether all that a file holds of its writable memory is made read-only after relocation,
    in whole pages of any size that the file allows."""
    content = made.read_bytes()
    if not content.startswith(_LITTLE_64):
        return False
    _, _, _, _, _, first, _, _, _, size, count, *_ = _HEADER.unpack_from(content)
    segments = [_SEGMENT.unpack_from(content, first + n * size) for n in range(count)]
    relro = [(at, at + length) for kind, _, _, at, _, _, length, _ in segments if kind == _RELRO]
    held = [
        (at, at + in_file, page)
        for kind, flags, _, at, _, in_file, _, page in segments
        if kind == _LOAD and flags & _WRITABLE
    ]
    if len(relro) != 1 or len(held) != 1:
        return False
    (begin, end), (first_held, last_held, page) = relro[0], held[0]
    return begin <= first_held and last_held <= end and end % page == 0
