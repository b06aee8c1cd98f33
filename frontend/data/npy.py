"""NumPy's own files: one array (.npy), read or mapped, or several in an archive (.npz).

    npy ::= "\\x93NUMPY" major minor length header data

`length` is 2 bytes in version 1 and 4 in version 2, little-endian; the header is a Python dict as
text, of which `descr`, `fortran_order` and `shape` are read as literals. The data must fill the
file exactly. Nothing is unpickled: arrays of objects are refused.
Source: NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays".
"""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from gradc.compiler.errors import ArgumentError, FileError
from gradc.runtime.file_write import write_atomically

from .files import damaged, opened

Array = np.ndarray[Any, np.dtype[Any]]

MAGIC = b"\x93NUMPY"
NUMBERS = "biuf"  # kinds of dtype that are numbers here; bfloat16 has no .npy form
CHUNK_BYTES = 1 << 20
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    data_bytes: int


def load_npy(path: str | os.PathLike[str], *, memory_map: bool = False) -> Array:
    """The array in a .npy file, as numpy.save writes it.

    memory_map  False: read into memory, row-major, in the machine's byte order and writable. True:
                the file is mapped, read-only, and its parts are read when they are used, so it may
                be larger than memory; a program that declares the very dtype of the file trains
                on it as it lies, with the bits that it would have from memory

    Raises FileError for a missing file, one that is cut short or longer than it says, an array
    that is not of numbers, and for a mapped array in Fortran order or another byte order.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/pixels.npy"
    >>> np.save(path, np.zeros((100, 64), np.float32))
    >>> gc.data.load_npy(path, memory_map=True).shape
    (100, 64)
    """
    with opened(path, "load_npy") as stream:
        size = os.fstat(stream.fileno()).st_size
        header = _read_header(stream, path, size, "load_npy")
        if not memory_map:
            return _read_data(stream, header, path, "load_npy")
        place = stream.tell()
    if (header.is_fortran and len(header.shape) > 1) or not header.dtype.isnative:
        what = "Fortran order" if header.dtype.isnative else "another byte order"
        raise FileError(
            f"{path} cannot be mapped: it is in {what}",
            operation="load_npy",
            hint="memory_map=False reads it; numpy.save of the result writes one that can be",
        )
    if not header.data_bytes:
        return np.zeros(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", place, header.shape)


def load_npz(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, Array]:
    """The arrays of a .npz archive, as numpy.savez and numpy.savez_compressed write it, by name.

    names   those to read, None: all, in the order of the archive
    result  {name: array}: row-major, in the machine's byte order, writable. Where the names are
            those of a program's inputs, `trainer.fit` takes it as it is

    Raises FileError for a missing or damaged archive, one that is encrypted, and for an array that
    is not of numbers; ArgumentError for a name that it does not hold.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/digits.npz"
    >>> np.savez(path, pixels=np.zeros((3, 64)), labels=np.arange(3))
    >>> {name: array.shape for name, array in gc.data.load_npz(path).items()}
    {'pixels': (3, 64), 'labels': (3,)}
    """
    with opened(path, "load_npz") as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                return _read_archive(archive, path, names)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OverflowError,
                RuntimeError) as error:  # fmt: skip
            raise damaged(path, f"as an archive: {error}", "load_npz") from error


def header_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What a .npy file of a row-major array begins with."""
    stream = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        stream, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def save_npy(path: str | os.PathLike[str], array: Array) -> None:
    """Write an array, row-major, as a whole: a reader sees the old file or the new one."""
    rows = np.require(array, requirements=("C",))
    data = rows.reshape(-1).view(np.uint8).data
    write_atomically(path, (header_of(rows.shape, rows.dtype), data), keeps_previous=False)


def _read_archive(archive: zipfile.ZipFile, path: Any, names: Sequence[str] | None) -> Any:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename or name in members:
            fact = f"it holds {member.filename!r}" + (" twice" if name in members else "")
            raise damaged(path, fact, "load_npz")
        members[name] = member
    wanted = list(members) if names is None else list(names)
    for name in wanted:
        if name not in members:
            raise ArgumentError(
                f"{path} holds no array {name!r}",
                operation="load_npz",
                facts=[f"it holds {', '.join(map(repr, members)) or 'none'}"],
            )
    found = {}
    for name in wanted:
        with archive.open(members[name]) as stream:
            inner = f"{path}, array {name!r}"
            header = _read_header(stream, inner, members[name].file_size, "load_npz")  # type: ignore[arg-type]
            found[name] = _read_data(stream, header, inner, "load_npz")  # type: ignore[arg-type]
    return found


def _read_header(stream: BinaryIO, what: Any, size_bytes: int, operation: str) -> _Header:
    """The header, checked against the size of the file."""
    magic = stream.read(8)
    version = tuple(magic[6:8])
    if magic[:6] != MAGIC or version not in _READERS:
        raise FileError(
            f"{what} is not a .npy file",
            operation=operation,
            facts=[f"it begins with {magic.hex(' ') or 'nothing'}"],
        )
    try:
        shape, is_fortran, dtype = _READERS[version](stream)
    except Exception as error:  # NumPy's tokenizer and parser have errors of many kinds
        raise damaged(what, f"its header: {error}".splitlines()[0], operation) from error
    if dtype.kind not in NUMBERS or dtype.itemsize > 8:
        raise FileError(f"{what} is an array of {dtype}, not of numbers", operation=operation)
    if any(type(extent) is not int or not 0 <= extent < 2**63 for extent in shape):
        raise damaged(what, f"its shape is {shape}", operation)
    data_bytes = math.prod(shape) * dtype.itemsize
    follow = size_bytes - stream.tell()
    if data_bytes != follow:
        fact = f"shape {list(shape)} needs {data_bytes} bytes of data, {follow} follow"
        raise damaged(what, fact, operation)
    if len(shape) > 32 or any(extent >= 2**60 for extent in shape):
        raise damaged(what, f"its shape is {shape}", operation)
    return _Header(shape, is_fortran, dtype, data_bytes)


def _read_data(stream: BinaryIO, header: _Header, what: Any, operation: str) -> Array:
    data = bytearray()
    while chunk := stream.read(min(CHUNK_BYTES, header.data_bytes - len(data))):
        data += chunk
    if len(data) != header.data_bytes or stream.read(1):
        raise damaged(what, "it is not as long as it was said to be", operation)
    shape = header.shape[::-1] if header.is_fortran else header.shape
    array = np.frombuffer(data, header.dtype).reshape(shape)
    if header.is_fortran:
        array = array.T
    return np.ascontiguousarray(array, header.dtype.newbyteorder("=")).reshape(header.shape)
