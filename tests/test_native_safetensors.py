"""The native reader and writer of safetensors files against the library, damaged and random."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native_files import (
    DTYPES,
    FEW,
    MANY,
    NAMES,
    SHORT,
    Answer,
    Probe,
    mutated,
    needs_compiler,
    running_probe,
    safetensors_bytes,
    seeds,
)
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """One process for the tests of this file."""
    yield from running_probe()


TENSOR = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def _file(header: Any, data: bytes) -> bytes:
    """A file; in text, ~ stands for the description of a tensor and @ for one called a."""
    if isinstance(header, str):
        header = header.replace("@", '"a":~').replace("~", TENSOR)
    return safetensors_bytes(header, data)


def _info(
    dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4), **more: Any
) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets} | more


def _contents(tensors: list[dict[str, Any]]) -> dict[str, tuple[str, list[int], str]]:
    return {t["name"]: (t["dtype"], t["shape"], t["data"]) for t in tensors}


def _library(data: bytes) -> dict[str, tuple[str, list[int], str]] | None:
    """What the safetensors library reads, or None where it refuses."""
    try:
        read = deserialize(data)
    except SafetensorError:
        return None
    return {name: (t["dtype"], t["shape"], bytes(t["data"]).hex()) for name, t in read}


def _check_safetensors(probe: Probe, data: bytes) -> Answer:
    """The answer for a file that both readers accept."""
    answer = probe.ask("safetensors", data)
    assert answer["status"] == 0, (answer, data)
    names = [tensor["name"] for tensor in answer["tensors"]]
    assert names == sorted(names)
    assert _contents(answer["tensors"]) == _library(data)
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    assert answer.get("metadata") == (header.get("__metadata__") or {}).get("gradc")
    return answer


@FEW
@given(
    st.dictionaries(
        NAMES, st.tuples(st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), max_size=3))
    ),
    st.one_of(st.none(), NAMES, st.just('{"a":"b\\\\c"}')),
)
@example({f"{name}.{i}": (name, [i, 2]) for name in DTYPES for i in (1, 0)}, "{}")
@example({}, None)
def test_safetensors_written_and_read_as_by_the_library(
    probe: Probe, described: dict[str, tuple[str, list[int]]], text: str | None
) -> None:
    arrays = {}
    for i, (name, (dtype, shape)) in enumerate(sorted(described.items())):
        count = int(np.prod(shape)) * DTYPES[dtype].itemsize
        bits = np.arange(i, i + count, dtype=np.uint8)
        arrays[name] = bits.view(DTYPES[dtype]).reshape(shape)
    expected = save(arrays, None if text is None else {"gradc": text})
    request = [[[name, dtype, shape] for name, (dtype, shape) in described.items()], text]
    answer = probe.ask("safetensors_header", json.dumps(request).encode())
    written = bytes.fromhex(answer["header"])
    for name in answer["order"]:
        written += arrays[name].tobytes()
    assert written == expected
    _check_safetensors(probe, expected)


def test_safetensors_header_of_impossible_sizes_fails(probe: Probe) -> None:
    request = [[["a", "float64", [2**62, 1]]], None]
    assert probe.ask("safetensors_header", json.dumps(request).encode())["status"] == 1
    request = [[[name, "int8", [2**62]] for name in "abc"], None]
    assert probe.ask("safetensors_header", json.dumps(request).encode())["status"] == 1


def test_safetensors_unusual_files_are_read(probe: Probe) -> None:
    for header, data in (
        ("{}", b""),
        (" {} \n", b""),
        ("{@}", b"1234"),
        ('\t{ "a" :{"dtype"\n: "F32" ,\r\n"shape":[ 1 ], "data_offsets":[0 , 4] } }  ', b"1234"),
        ('{"__metadata__":null,@}', b"1234"),
        ('{"__metadata__":{},@}', b"1234"),
        ('{@,"__metadata__":{"x":"y","gradc":""}}', b"1234"),
        ('{"__metadata__":{"gradc":"1","gradc":"2"},@}', b"1234"),
        (r'{"\u005f_metadata__":{"gr\u0061dc":"\ud83d\ude00\u0000\/"},@}', b"1234"),
        (r'{"a":{"dty\u0070e":"F\u00332","shape":[1],"data_offsets":[0,4]}}', b"1234"),
        ('{@,"b":{"data_offsets":[4,4],"dtype":"I64","shape":[0]}}', b"1234"),
        ('{"b":{"data_offsets":[0,0],"dtype":"I64","shape":[0,7]},@}', b"1234"),
        ({"b": _info(), "a": _info(offsets=(4, 8)), "c": _info("BOOL", (), (8, 9))}, b"123456789"),
        ({"a": _info("U8", (1,) * 32, (0, 1), other=[{"x": [1.5, -2e-3, None, True]}])}, b"1"),
        ({"a": _info("U8", (0, 2**62, 4), (0, 0))}, b""),
        ({"": _info()}, b"1234"),
        ({"\0x": _info(), "x\0": _info("BF16", (2,), (4, 8))}, b"12345678"),
        ('{"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0],"z":' + "[" * 125 + "]" * 125 + "}}",
         b""),
    ):  # fmt: skip
        _check_safetensors(probe, _file(header, data))


REFUSED_BY_BOTH: tuple[tuple[Any, bytes, str], ...] = (
    ("", b"", "its header is wrong at byte 0: expected an object"),
    ("[]", b"", "its header is wrong at byte 0: expected an object"),
    ("{", b"", "its header is wrong at byte 1: expected a string"),
    ("{}}", b"", "its header is wrong at byte 2: expected the end of the text"),
    ("{}\0", b"", "its header is wrong at byte 2: expected the end of the text"),
    ("\ufeff{}", b"", "its header is wrong at byte 0: expected an object"),
    ("{@,}", b"1234", "its header is wrong at byte 54: expected a string"),
    ('{@ "b":~}', b"12345678",
     "its header is wrong at byte 54: expected a comma or a closing bracket"),
    ("{,@}", b"1234", "its header is wrong at byte 1: expected a string"),
    ('{"a" 1}', b"", "its header is wrong at byte 5: expected a colon"),
    ('{"a":null}', b"", "its header is wrong at byte 5: expected an object"),
    ('{"a":{}}', b"",
     "its header is wrong at byte 7: a tensor without dtype, shape or data_offsets"),
    ('{"a":{"shape":[1],"data_offsets":[0,4]}}', b"1234",
     "its header is wrong at byte 39: a tensor without dtype, shape or data_offsets"),
    ('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234",
     "its header is wrong at byte 28: a key that was there before"),
    ({"a": _info(shape=(-1,))}, b"1234", "its header is wrong at byte 35: a negative number"),
    ('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}', b"",
     "its header is wrong at byte 31: expected an integer"),
    ({"a": _info(shape=(1.0,))}, b"1234", "its header is wrong at byte 36: expected an integer"),
    ({"a": _info(shape="1")}, b"1234", "its header is wrong at byte 32: expected an array"),
    ({"a": _info(shape=(2**63,))}, b"1234",
     "its header is wrong at byte 52: an integer out of range"),
    ({"a": _info(offsets=(0, 4, 4))}, b"1234",
     "its header is wrong at byte 59: expected two offsets"),
    ({"a": _info(offsets=(0,))}, b"1234", "its header is wrong at byte 56: expected two offsets"),
    ({"a": _info(offsets=())}, b"1234", "its header is wrong at byte 55: expected two offsets"),
    ({"a": _info(5)}, b"1234", "its header is wrong at byte 16: expected a string"),
    ('{"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0],"z":' + "[" * 126, b"",
     "its header is wrong at byte 183: nested too deeply"),
    ("{" + '"a":{' * 100_000, b"", "its header is wrong at byte 636: nested too deeply"),
    (r'{"\ud83d":~}', b"1234",
     "its header is wrong at byte 8: not a valid character"),
    (b'{"\xff":{}}', b"1234",
     "its header is wrong at byte 2: not a valid character"),
    ('{"\n":~}', b"1234",
     "its header is wrong at byte 2: a control character or the end of the text in a string"),
    ('{"__metadata__":{"a":1},@}', b"1234",
     "its header is wrong at byte 21: expected a string"),
    ('{"__metadata__":[],@}', b"1234",
     "its header is wrong at byte 16: expected an object"),
    ('{"__metadata__":{},"__metadata__":{},@}', b"1234",
     "its header is wrong at byte 34: a second __metadata__"),
    ('{"__metadata__":null,"__metadata__":null,@}', b"1234",
     "its header is wrong at byte 36: a second __metadata__"),
    ({"a": _info()}, b"123", "tensor 'a', F32 [1] at 0 to 4: it ends after the end of the file"),
    ({"a": _info()}, b"12345", "its tensors end at byte 4, its data after 5"),
    ("{}", b"1", "its tensors end at byte 0, its data after 1"),
    ({"a": _info(shape=(2,))}, b"1234",
     "tensor 'a', F32 [2] at 0 to 4: its shape does not fit its place"),
    ({"a": _info(shape=())}, b"",
     "tensor 'a', F32 [] at 0 to 4: it ends after the end of the file"),
    ({"a": _info(offsets=(4, 0), shape=(0,))}, b"1234",
     "tensor 'a', F32 [0] at 4 to 0: its shape does not fit its place"),
    ({"a": _info(offsets=(2**62, 2**62 + 4))}, b"1234",
     f"tensor 'a', F32 [1] at {2**62} to {2**62 + 4}: it ends after the end of the file"),
    ({"a": _info(shape=(2**32, 2**32))}, b"1234",
     "tensor 'a', F32 [4294967296, 4294967296] at 0 to 4: its shape is too large"),
    ({"a": _info(shape=(2**62,))}, b"1234",
     "tensor 'a', F32 [4611686018427387904] at 0 to 4: its shape is too large"),
    ({"a": _info(shape=(2**62, 4, 0), offsets=(0, 0))}, b"",
     "tensor 'a', F32 [4611686018427387904, 4, 0] at 0 to 0: its shape is too large"),
    ({"a": _info(), "b": _info()}, b"1234",
     "tensor 'b', F32 [1] at 0 to 4: it overlaps another or leaves a hole"),
    ({"a": _info(), "b": _info(offsets=(2, 6))}, b"123456",
     "tensor 'b', F32 [1] at 2 to 6: it overlaps another or leaves a hole"),
    ({"a": _info(), "b": _info(offsets=(5, 9))}, b"123456789",
     "tensor 'b', F32 [1] at 5 to 9: it overlaps another or leaves a hole"),
    ({"a": _info(offsets=(1, 5))}, b"12345",
     "tensor 'a', F32 [1] at 1 to 5: it overlaps another or leaves a hole"),
    ({"a": _info(), "b": _info(shape=(0,), offsets=(2, 2))}, b"1234",
     "tensor 'b', F32 [0] at 2 to 2: it overlaps another or leaves a hole"),
    ('{@,"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b"12345678",
     "tensor 'a', F32 [1] at 4 to 8: its name is there twice"),
    ({"a": _info("F\n32" + "x" * 20)}, b"1234",
     "tensor 'a', F?32xxxxxxxxxxxx [1] at 0 to 4: this dtype is not supported"),
    ({"a": _info("F32\0")}, b"1234", "tensor 'a', F32 [1] at 0 to 4: this dtype is not supported"),
    ({"a": _info("f32")}, b"1234", "tensor 'a', f32 [1] at 0 to 4: this dtype is not supported"),
    ({"\x1b[2J." + "é" * 100: _info()}, b"123",
     f"tensor '?[2J.{'é' * 61}', F32 [1] at 0 to 4: it ends after the end of the file"),
)  # fmt: skip


@pytest.mark.parametrize(("header", "data", "message"), REFUSED_BY_BOTH)
def test_safetensors_refused(probe: Probe, header: Any, data: bytes, message: str) -> None:
    file = _file(header, data)
    assert probe.refuse("safetensors", file) == message
    assert _library(file) is None


# What the library accepts and gradc does not, by the message.
STRICTER = (
    "its name is there twice",
    "more than 32 axes",
    "an integer out of range",
    "its shape is too large",
    "this dtype is not supported",
    "expected a string",  # {"F32": null} for "F32"
    "expected an object",  # ["F32", [1], [0, 4]] for the object of a tensor
    "expected a number, below 1e299",
)


def test_safetensors_stricter_than_the_library(probe: Probe) -> None:
    for header, data, message in (
        ("{@,@}", b"1234", "it overlaps another or leaves a hole"),
        ('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},@}', b"1234",
         "tensor 'a', F32 [1] at 0 to 4: its name is there twice"),
        ({"a": _info("U8", (1,) * 33, (0, 1))}, b"1", "more than 32 axes"),
        ({"a": _info("U8", (0, 2**63), (0, 0))}, b"", "an integer out of range"),
        ({"a": _info("C64", (1,), (0, 8))}, b"12345678",
         "tensor 'a', C64 [1] at 0 to 8: this dtype is not supported"),
        ({"a": _info("F8_E4M3", (4,))}, b"1234",
         "tensor 'a', F8_E4M3 [4] at 0 to 4: this dtype is not supported"),
        ({"a": _info({"F32": None})}, b"1234", "expected a string"),
        ({"a": ["F32", [1], [0, 4]]}, b"1234", "expected an object"),
        ({"a": _info(z=1e300)}, b"1234", "expected a number, below 1e299"),
    ):  # fmt: skip
        file = _file(header, data)
        assert message in probe.refuse("safetensors", file)
        assert _library(file) is not None


def test_safetensors_cut_anywhere(probe: Probe) -> None:
    whole = save({"a": np.ones(3, np.float32), "b": np.ones(2, bool)}, {"gradc": "{}"})
    begin = 8 + struct.unpack("<Q", whole[:8])[0]
    for size in range(len(whole)):
        message = probe.refuse("safetensors", whole[:size])
        if size < begin:
            header = begin - 8 if size >= 8 else 0
            assert message == (
                f"not a safetensors file, or cut: {size} bytes, with a header of {header}"
            )
        elif size < begin + 12:
            assert message == "tensor 'a', F32 [3] at 0 to 12: it ends after the end of the file"
        else:
            assert message == "tensor 'b', BOOL [2] at 12 to 14: it ends after the end of the file"
    assert (
        probe.refuse("safetensors", whole + b"x") == "its tensors end at byte 14, its data after 15"
    )


def test_safetensors_header_lengths(probe: Probe) -> None:
    for length in (3, 100_000_001, 2**31, 2**63, 2**64 - 1, 2**64 - 8):
        message = probe.refuse("safetensors", struct.pack("<Q", length) + b"{}")
        assert message == f"not a safetensors file, or cut: 10 bytes, with a header of {length}"


SAFETENSORS_WORDS = tuple(
    word.encode()
    for word in (
        '"', "{", "}", "[", "]", ",", ":", " ", "0", "1", "-", "4", ".0", "e1", "\\u0041", "\\ud83",
        "F32", "I64", "U8", "__metadata__", "gradc", "null", "true", '"x":1,', "dtype", "a", "b",
    )
)  # fmt: skip


@st.composite
def _random_safetensors(draw: st.DrawFn) -> bytes:
    """Tensors of correct sizes in some order, some of their facts changed."""
    numbers = st.integers(0, 4)
    tensors, end = [], 0
    for _ in range(draw(numbers)):
        dtype = draw(st.sampled_from(sorted(SHORT)))
        shape = draw(st.lists(numbers, max_size=3))
        begin, end = end, end + int(np.prod(shape)) * DTYPES[dtype].itemsize
        tensors.append((draw(st.sampled_from("abcdefg")), _info(SHORT[dtype], shape, [begin, end])))
    if tensors and draw(st.booleans()):
        info = draw(st.sampled_from(tensors))[1]
        key = draw(st.sampled_from(("dtype", "shape", "data_offsets", "other")))
        info[key] = draw(st.one_of(
            st.lists(st.integers(-1, 20), max_size=3), st.sampled_from(("F32", "U8", "F4", None)),
        ))  # fmt: skip
    size = max(0, end + draw(st.sampled_from((0, 0, 0, 0, 1, -1))))
    pairs = [f"{json.dumps(n)}:{json.dumps(i)}" for n, i in draw(st.permutations(tensors))]
    text = draw(st.sampled_from((None, None, "{}", '"')))
    if text is not None:
        pairs.insert(0, '"__metadata__":' + json.dumps({"gradc": text}))
    return safetensors_bytes("{" + ",".join(pairs) + "}", bytes(i % 256 for i in range(size)))


@st.composite
def _mutated_safetensors(draw: st.DrawFn) -> bytes:
    data = draw(st.one_of(_random_safetensors(), st.sampled_from(seeds("safetensors"))))
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    return safetensors_bytes(mutated(draw, data[8:begin], SAFETENSORS_WORDS), data[begin:])


@MANY
@given(st.one_of(_random_safetensors(), _mutated_safetensors()))
def test_safetensors_agrees_with_the_library(probe: Probe, data: bytes) -> None:
    answer = probe.ask("safetensors", data)
    if answer["status"] == 0:
        _check_safetensors(probe, data)
    elif _library(data) is not None:
        header = data[8 : 8 + struct.unpack("<Q", data[:8])[0]]
        names = [name for name, _ in json.loads(header, object_pairs_hook=list)]
        twice = len(set(names)) < len(names)
        assert twice or answer["error"].endswith(STRICTER), answer["error"]
