"""The safetensors format: the header in front of the tensors' bytes, read and written.

In and out: the names, dtypes and shapes of tensors, and one text beside them. The rules are those
of runtime/native/safetensors.c, so that both take the same files and write the same bytes; those
are the bytes of the safetensors library. Of what that library takes these are refused: a name that
comes twice, more than 32 axes, extents of 2^63 and more, dtypes that gradc does not have, and forms
that the format does not mention (an array for an object).
Source: github.com/huggingface/safetensors, README, "Format".
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .strict_json import JsonObject, is_count, read_json

METADATA_KEY = "gradc"
HEADER_BYTES_MAXIMUM = 100_000_000  # the library's limit
LENGTH_BYTES = 8  # in front of the header
AXES_MAXIMUM = 32
EXTENT_MAXIMUM = 2**63 - 1

# The names of dtypes in the format (its README), in the order in which the library lays tensors
# out: found by saving one tensor of each dtype and reading the header.
FILE_DTYPES = (
    ("I64", "int64"),
    ("F64", "float64"),
    ("F32", "float32"),
    ("I32", "int32"),
    ("BF16", "bfloat16"),
    ("F16", "float16"),
    ("I16", "int16"),
    ("I8", "int8"),
    ("U8", "uint8"),
    ("BOOL", "bool"),
)
_PLACES = {short: place for place, (short, _) in enumerate(FILE_DTYPES)}
_WIDTHS = {"I64": 8, "F64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2}


@dataclass(frozen=True)
class FileTensor:
    """One tensor of a file: `dtype` is the format's name, `begin` counts from the first data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int

    @property
    def bytes(self) -> int:
        """Bytes of its data. Raises ValueError where a number of 64 bits does not hold them."""
        product = 1
        for extent in (*self.shape, _WIDTHS.get(self.dtype, 1)):
            product *= extent
            if product > EXTENT_MAXIMUM:
                raise ValueError(f"tensor {self.name!r} is too large: {list(self.shape)}")
        return product


@dataclass(frozen=True)
class Header:
    """tensors   sorted by name
    metadata     every entry beside the tensors
    text         of the entry `gradc`, None without one
    """

    tensors: tuple[FileTensor, ...]
    metadata: Mapping[str, str]

    @property
    def text(self) -> str | None:
        return self.metadata.get(METADATA_KEY)


def laid_out(tensors: Iterable[tuple[str, str, tuple[int, ...]]]) -> list[FileTensor]:
    """Tensors of (name, dtype, shape) in their order in a file, each with its place."""
    placed, begin = [], 0
    for name, dtype, shape in sorted(tensors, key=lambda t: (_PLACES[t[1]], t[0])):
        tensor = FileTensor(name, dtype, shape, begin)
        begin += tensor.bytes
        placed.append(tensor)
    return placed


def header_bytes(tensors: Iterable[FileTensor], text: str | None) -> bytes:
    """All that comes before the data of tensors that are laid out, with {"gradc": text}.

    Raises ValueError for what no reader takes.
    """
    entries = [] if text is None else [f'"__metadata__":{{"{METADATA_KEY}":{_quoted(text)}}}']
    for tensor in tensors:
        if len(tensor.shape) > AXES_MAXIMUM:
            raise ValueError(f"tensor {tensor.name!r} has more than {AXES_MAXIMUM} axes")
        shape = ",".join(map(str, tensor.shape))
        entries.append(
            f'{_quoted(tensor.name)}:{{"dtype":"{tensor.dtype}","shape":[{shape}],'
            f'"data_offsets":[{tensor.begin},{tensor.begin + tensor.bytes}]}}'
        )
    header = ("{" + ",".join(entries) + "}").encode()
    header += b" " * (-len(header) % 8)
    if len(header) > HEADER_BYTES_MAXIMUM:
        raise ValueError(
            f"its header would have {len(header)} bytes, more than the {HEADER_BYTES_MAXIMUM} "
            "that a reader takes"
        )
    return struct.pack("<Q", len(header)) + header


def header_length(start: bytes, file_bytes: int) -> int:
    """Bytes of the header, from the first 8 of a file of this size. Raises ValueError."""
    length = int.from_bytes(start, "little") if len(start) == LENGTH_BYTES else 0
    if len(start) < LENGTH_BYTES or length > min(file_bytes - LENGTH_BYTES, HEADER_BYTES_MAXIMUM):
        raise ValueError(f"it is cut or none: {file_bytes} bytes, with a header of {length}")
    return length


def read_header(header: bytes, data_bytes: int) -> Header:
    """Check a header against the bytes that follow it. Raises ValueError naming what is wrong."""
    try:
        entries = read_json(header.decode())
    except ValueError as error:
        raise ValueError(f"its header is not JSON: {error}") from error
    if not isinstance(entries, JsonObject):
        raise ValueError("its header is not an object")
    if entries.has_repeated_key:
        raise ValueError("a name is there twice")
    metadata = entries.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its __metadata__ is not an object of strings")
    described = [_described(name, entry) for name, entry in sorted(entries.items())]
    end = 0
    for tensor in sorted(described, key=lambda t: (t.begin, t.bytes)):
        if tensor.begin != end:
            raise ValueError(f"tensor {tensor.name!r} overlaps another or leaves a hole")
        end += tensor.bytes
    if end != data_bytes:
        raise ValueError(f"its tensors end at byte {end}, its data after {data_bytes}")
    return Header(tuple(described), metadata)


def _described(name: str, entry: Any) -> FileTensor:
    """One tensor, out of its entry in the header."""
    if not isinstance(entry, JsonObject):
        raise ValueError(f"tensor {name!r} is not described by an object")
    for key in ("dtype", "shape", "data_offsets"):
        if entry.keys_read.count(key) != 1:
            raise ValueError(f"tensor {name!r} does not have one {key}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _PLACES:
        raise ValueError(f"tensor {name!r} has the unsupported dtype {dtype!r}")
    if not _is_counts(shape) or len(shape) > AXES_MAXIMUM:
        raise ValueError(f"tensor {name!r} has a shape that is no list of at most 32 extents")
    if not _is_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name!r} has no two offsets")
    tensor = FileTensor(name, dtype, tuple(shape), offsets[0])
    if offsets[1] - offsets[0] != tensor.bytes:
        raise ValueError(f"the shape of tensor {name!r} does not fit its place")
    return tensor


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(is_count(item, EXTENT_MAXIMUM) for item in value)


def _quoted(text: str) -> str:
    """The text as JSON: escapes where they must be, UTF-8 kept, as the library writes it."""
    return json.dumps(text, ensure_ascii=False)
