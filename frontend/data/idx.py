"""The IDX format of the MNIST files, plain or compressed with gzip.

    file ::= 0 0 dtype rank { extent } data

`dtype` and `rank` are one byte each, an extent is a big-endian unsigned 32-bit integer, the data
is row-major and big-endian. The data must fill the file exactly.
Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, section "the IDX file format".
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gradc.compiler.errors import FileError

from .files import damaged, opened

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20

Array = np.ndarray[Any, np.dtype[Any]]


def load_idx(path: str | os.PathLike[str]) -> Array:
    """The array in an IDX file, in the machine's byte order and writable.

    path     a file such as `train-images-idx3-ubyte`, or the same compressed (`.gz`)
    result   uint8, int8, int16, int32, float32 or float64, of the file's own shape

    Raises FileError for a missing file, a wrong magic number, or data that is shorter or longer
    than the header says.

    >>> header = bytes([0, 0, 8, 2]) + (2).to_bytes(4, "big") + (3).to_bytes(4, "big")
    >>> with open("pixels.idx", "wb") as file:
    ...     _ = file.write(header + bytes(range(6)))
    >>> gc.data.load_idx("pixels.idx")
    array([[0, 1, 2],
           [3, 4, 5]], dtype=uint8)
    """
    file = Path(path)
    with opened(file, "load_idx") as raw:
        compressed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        if not compressed:
            return _read(file, raw)
        try:
            with gzip.open(raw) as unpacked:
                return _read(file, unpacked)  # type: ignore[arg-type]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _damaged(file, f"its compressed data is broken: {error}") from error


def _read(file: Path, stream: BinaryIO) -> Array:
    magic = _read_up_to(stream, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES:
        raise FileError(
            f"{file} is not an IDX file",
            operation="load_idx",
            facts=[f"it begins with {magic.hex(' ') or 'nothing'}"],
        )
    rank = magic[3]
    header = _read_up_to(stream, 4 * rank)
    if len(header) < 4 * rank:
        raise _damaged(file, f"it ends inside the {rank} extents of its header")
    shape = struct.unpack(f">{rank}I", header)
    dtype = np.dtype(DTYPES[magic[2]])
    needed = math.prod(shape) * dtype.itemsize
    data = _read_up_to(stream, needed + 1)
    if len(data) != needed:
        found = "more" if len(data) > needed else f"{len(data)}"
        raise _damaged(file, f"shape {list(shape)} needs {needed} bytes of data, {found} follow")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_up_to(stream: BinaryIO, size_bytes: int) -> bytes:
    """Up to so many bytes, in chunks: a damaged header must not reserve memory."""
    chunks = []
    while size_bytes > 0:
        chunk = stream.read(min(size_bytes, CHUNK_BYTES))
        if not chunk:
            break
        chunks.append(chunk)
        size_bytes -= len(chunk)
    return b"".join(chunks)


def _damaged(file: Path, fact: str) -> FileError:
    return damaged(file, fact, "load_idx")
