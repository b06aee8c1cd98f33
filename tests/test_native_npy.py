"""The native reader and writer of .npy files against NumPy: valid, damaged and random."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_files import (
    DTYPES,
    FEW,
    MANY,
    SHAPES,
    Probe,
    mutated,
    needs_compiler,
    npy_bytes,
    running_probe,
    seeds,
)

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """One process for the tests of this file."""
    yield from running_probe()


def _npy_header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + data


def _npy_dict(descr: str = "'<f4'", order: str = "False", shape: str = "(2, 3)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def _check_npy(probe: Probe, data: bytes, array: Any) -> None:
    answer = probe.ask("npy", data)
    swapped = array.dtype.byteorder == ">"
    assert answer == {
        "status": 0,
        "dtype": array.dtype.name,
        "swapped": int(swapped),
        "offset": len(data) - array.nbytes,
        "elements": array.size,
        "shape": list(array.shape),
    }


def test_npy_every_dtype_shape_and_version(probe: Probe) -> None:
    names = [name for name in DTYPES if name != "bfloat16"] + ["uint16", "uint32", "uint64"]
    versions = (None, (1, 0), (2, 0), (3, 0))
    for name, byte_order, shape in itertools.product(names, "<>", SHAPES):
        array = np.zeros(shape, np.dtype(name).newbyteorder(byte_order))
        for version in versions if shape == (2, 3) else versions[:1]:
            _check_npy(probe, npy_bytes(array, version), array)


def test_npy_every_rank(probe: Probe) -> None:
    for rank in range(33):
        array = np.zeros((1,) * rank, np.int16)
        _check_npy(probe, npy_bytes(array), array)
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        message = probe.refuse("npy", npy_bytes(np.zeros((1,) * 33)))
        assert message == "it has more than 32 axes"


def test_npy_fortran_order_is_refused_where_it_matters(probe: Probe) -> None:
    array = np.asfortranarray(np.zeros((2, 3), np.float32))
    assert probe.refuse("npy", npy_bytes(array)) == (
        "its data is in Fortran order; save it with numpy.ascontiguousarray"
    )
    for shape in ((1, 3), (3, 1, 1), (2, 0, 2), (5,), ()):
        count = int(np.prod(shape))
        data = _npy_header(_npy_dict(order="True", shape=repr(shape)), bytes(4 * count))
        assert probe.ask("npy", data)["shape"] == list(shape)


@FEW
@given(
    st.sampled_from([name for name in DTYPES if name != "bfloat16"]),
    st.lists(st.integers(0, 4), max_size=6),
)
def test_npy_random_shapes(probe: Probe, name: str, shape: list[int]) -> None:
    array = np.ones(shape, name)
    _check_npy(probe, npy_bytes(array), array)


def test_npy_headers_with_other_spaces_and_orders(probe: Probe) -> None:
    for text in (
        "{'descr':'<f4','fortran_order':False,'shape':(2,3)}",
        "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}",
        "  {\n'shape' : ( 2 , 3 , ) ,\t'descr' : '<f4' , 'fortran_order' : False , }  \n\n",
        "{'descr': '=f4', 'fortran_order': False, 'shape': (2, 3), }",
        "{'descr': '|f4', 'fortran_order': False, 'shape': (2, 3), }",
    ):
        answer = probe.ask("npy", _npy_header(text, bytes(24)))
        assert answer["status"] == 0 and answer["shape"] == [2, 3], text
        assert (answer["dtype"], answer["swapped"]) == ("float32", 0)


NPY_SYNTAX = "its header is not one that NumPy writes"
NPY_TYPE = "its elements have the type '{}', which is not a floating-point, integer or bool type"
NPY_RANGE = "its shape holds what is no integer, or one out of range"
NPY_REFUSED: tuple[tuple[str, str], ...] = (
    ("", NPY_SYNTAX),
    ("{}", NPY_SYNTAX),
    ("[]", NPY_SYNTAX),
    ("{'descr': '<f4', 'shape': (2, 3)}", NPY_SYNTAX),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}", NPY_SYNTAX),
    ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", NPY_SYNTAX),
    ("{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3)}", NPY_SYNTAX),
    ("{, 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}", NPY_SYNTAX),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3),,}", NPY_SYNTAX),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", NPY_SYNTAX),
    ("{'descr': '<f4", NPY_SYNTAX),
    ('{"descr": "<f4", "fortran_order": False, "shape": (2, 3), }', NPY_SYNTAX),
    ("{'descr': '<\\x664', 'fortran_order': False, 'shape': (2, 3)}", NPY_SYNTAX),
    (_npy_dict() + "x", NPY_SYNTAX),
    (_npy_dict() + "\0", NPY_SYNTAX),
    (_npy_dict(order="false"), NPY_SYNTAX),
    (_npy_dict(order="1"), NPY_SYNTAX),
    (_npy_dict(shape="(6)"), NPY_SYNTAX),
    (_npy_dict(shape="[2, 3]"), NPY_SYNTAX),
    (_npy_dict(shape="(2 3)"), NPY_SYNTAX),
    (_npy_dict(shape="(2, 3"), NPY_RANGE),
    (_npy_dict(shape="(2,, 3)"), NPY_RANGE),
    (_npy_dict(shape="(,)"), NPY_RANGE),
    (_npy_dict(shape="(0x6,)"), NPY_SYNTAX),
    (_npy_dict(shape="(06,)"), NPY_RANGE),
    (_npy_dict(shape="(6.0,)"), NPY_RANGE),
    (_npy_dict(shape="(6L,)"), NPY_SYNTAX),
    (_npy_dict(shape="(9223372036854775808, 0)"), NPY_RANGE),
    (_npy_dict(shape="(-2, -3)"), "its shape has a negative extent"),
    (
        _npy_dict(shape="(4294967296, 4294967296)"),
        "its shape [4294967296, 4294967296] is too large",
    ),
    (
        _npy_dict(shape="(2305843009213693952, 1)"),
        "its shape [2305843009213693952, 1] is too large",
    ),
    (_npy_dict(shape=f"({'1, ' * 33})"), "it has more than 32 axes"),
    (_npy_dict(descr="[('a', '<f4')]"), "its elements are structures"),
    (_npy_dict(descr="'|O'"), NPY_TYPE.format("|O")),
    (_npy_dict(descr="'<c8'"), NPY_TYPE.format("<c8")),
    (_npy_dict(descr="'|S3'"), NPY_TYPE.format("|S3")),
    (_npy_dict(descr="'<V2'"), NPY_TYPE.format("<V2")),
    (_npy_dict(descr="'<f'"), NPY_TYPE.format("<f")),
    (_npy_dict(descr="'f4'"), NPY_TYPE.format("f4")),
    (_npy_dict(descr="'<f16'"), NPY_TYPE.format("<f16")),
    (_npy_dict(descr="'!f4'"), NPY_TYPE.format("!f4")),
    (_npy_dict(descr="''"), NPY_TYPE.format("")),
    (_npy_dict(descr="'" + "f" * 40 + "'"), NPY_SYNTAX),
    (_npy_dict(descr="None"), NPY_SYNTAX),
)


@pytest.mark.parametrize(("text", "message"), NPY_REFUSED)
def test_npy_header_refused(probe: Probe, text: str, message: str) -> None:
    assert probe.refuse("npy", _npy_header(text, bytes(24))) == message


def test_npy_cut_anywhere(probe: Probe) -> None:
    array = np.arange(16, dtype=np.float32).reshape(4, 4)
    for version, begin in (((1, 0), 10), ((2, 0), 12)):
        whole = npy_bytes(array, version)
        for size in range(len(whole)):
            message = probe.refuse("npy", whole[:size])
            if size < 12:
                assert message == "not a .npy file"
            elif size < 128:
                assert message == "it ends inside its header"
            else:
                assert message == (
                    f"it ends inside its data: {size - 128} bytes, shape [4, 4] of float32 needs 64"
                )
        assert whole[begin : begin + 1] == b"{" and probe.ask("npy", whole)["status"] == 0


def test_npy_damaged(probe: Probe) -> None:
    whole = npy_bytes(np.zeros((4, 4), ">u2"))
    assert probe.refuse("npy", whole + b"x") == (
        "it goes on after its data: 33 bytes, shape [4, 4] of uint16 needs 32"
    )
    assert probe.refuse("npy", b"PK" + whole) == "not a .npy file"
    assert probe.refuse("npy", whole[:6] + b"\4\0" + whole[8:]) == (
        "its format version is 4.0, not 1.0, 2.0 or 3.0"
    )
    assert probe.refuse("npy", whole[:6] + b"\1\1" + whole[8:]) == (
        "its format version is 1.1, not 1.0, 2.0 or 3.0"
    )
    longest = whole[:6] + b"\2\0\xff\xff\xff\xff" + whole[10:]
    assert probe.refuse("npy", longest) == "it ends inside its header"


NPY_WORDS = tuple(
    word.encode()
    for word in ("'", '"', "(", ")", ",", " ", "\n", "0", "-1", "True", "<", ">f8", "|b1", "u2")
)


@st.composite
def _mutated_npy(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from([file for file in seeds("npy") if file[6] == 1]))
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    text = data[10:begin].rstrip()
    header = mutated(draw, text, NPY_WORDS)
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data[begin:]


@MANY
@given(_mutated_npy())
def test_npy_accepts_nothing_that_numpy_refuses(probe: Probe, data: bytes) -> None:
    answer = probe.ask("npy", data)
    if answer["status"]:
        return
    file = io.BytesIO(data)
    array = np.load(file, allow_pickle=False)
    assert file.read() == b""
    assert answer["dtype"] == array.dtype.name and answer["shape"] == list(array.shape)
    assert answer["swapped"] == int(array.dtype.byteorder == ">")
    assert array.flags.c_contiguous


def test_npy_header_written_is_numpys(probe: Probe) -> None:
    long = (10**18, 1) + (0,) * 3
    for name, shape in itertools.product(DTYPES, (*SHAPES, long, (1,) * 32)):
        extents = " ".join(map(str, shape))
        header = bytes.fromhex(probe.ask(f"npy_header {name} {extents}")["header"])
        if name == "bfloat16":
            assert header == b""
            continue
        expected = io.BytesIO()
        described = {
            "descr": np.lib.format.dtype_to_descr(DTYPES[name]),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(expected, described)
        assert header == expected.getvalue()
