"""Launch tables as bytes: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradc.compiler.launches import (
    BLOB_BYTES,
    Function,
    If,
    Launch,
    LaunchTable,
    Pointer,
    Repeat,
    While,
    pack,
    unpack,
)

LAUNCH = Launch("k0", 0, (3, 1, 1), (Pointer("state", 0, 64), -7, Pointer("input", 2)))
TABLE = LaunchTable(
    "sm_90",
    (Function("k", 0, 128, 4096, 0, (8, 4, 8, 8, 8)),),
    (LAUNCH,),
    (
        Repeat(3, 5, Pointer("arena", 0, 128), 4, False, 1, (LAUNCH,)),
        While(Pointer("arena"), None, None, (If(Pointer("arena"), (LAUNCH,), ()),)),
    ),
    (),
    (4, 256),
    64,
    4,
    1024,
    None,
    (),
    b"\1\2\3",
)


def test_a_table_is_packed_and_read_back() -> None:
    modules = (b"first", b"", b"\0" * 100)
    packed = pack(TABLE, modules)
    assert unpack(packed) == (TABLE, modules)
    assert packed.index(b"first") % BLOB_BYTES == 0 == packed.index(b"\1\2\3") % BLOB_BYTES


def test_none_is_not_taken_for_no_bytes() -> None:
    table = replace(TABLE, constants=b"", step=())
    assert unpack(pack(table, ())) == (table, ())


@pytest.mark.parametrize("cut", [0, 5, 20, 200, -1])
def test_what_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="launch table"):
        unpack(pack(TABLE, (b"module",))[:cut])
