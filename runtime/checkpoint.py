"""Checkpoints: safetensors files that hold the state and the training position.

    tensors    every named state in its logical row-major layout, under its own name; where a
               best epoch is kept, the state after it under "gradc.best/" + name; every column of
               the history under "gradc.history/" + name (see column.py)
    metadata   one key, "gradc": the training position as canonical JSON (see record.py). One key
               alone, because the order of several is not fixed in the format.

Equal state gives equal bytes: no times, no host names. `checksum` is the SHA-256, in hexadecimal,
of the canonical JSON without that key, a newline, and for every tensor, sorted by name, its bytes
after the line `name dtype extents` (dtype as in the file, extents joined by commas, newline). The
header is, byte for byte, the one that a writer makes of what is in it. So there is no byte whose
change would not be noticed.

A file without the metadata key is a file of parameters alone, whoever wrote it. One that has
tensors under "gradc." too is a checkpoint that lost its position: it is refused.

Reading validates everything before it returns anything, and a writer writes nothing that a reader
would refuse; nothing is unpickled or executed. How a file is replaced: see file_write.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from gradc.compiler.errors import FileError

from .arena import Array, numpy_dtype
from .column import Column, kept_rows
from .file_names import check_name, exists, previous_of, shown
from .file_write import write_atomically
from .record import FORMAT_VERSION, OLD_VERSION, RunRecord, canonical_json, column_lengths
from .strict_json import JsonObject, read_json
from .tensor_file import (
    FILE_DTYPES,
    LENGTH_BYTES,
    FileTensor,
    Header,
    header_bytes,
    header_length,
    laid_out,
    read_header,
)

RESERVED_PREFIX = "gradc."
BEST_PREFIX = "gradc.best/"
HISTORY_PREFIX = "gradc.history/"

_NAME_IN_FILE = {name: short for short, name in FILE_DTYPES}
_NAME_OF_SHORT = dict(FILE_DTYPES)
_PREFIXES = (BEST_PREFIX, HISTORY_PREFIX)


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds. `record` is None for a file of parameters alone."""

    path: Path
    tensors: dict[str, Array]
    best: dict[str, Array]
    record: RunRecord | None
    fingerprint: str


def write_checkpoint(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    best: Mapping[str, Array],
    record: RunRecord,
    fingerprint: str,
    *,
    held: bool = False,
) -> None:
    """Write a full checkpoint atomically. Raises FileError; then nothing was changed.

    held    whether the caller holds the lock on the file (see `locked`)
    """
    every = {**tensors, **{BEST_PREFIX + name: array for name, array in best.items()}}
    for name, column in record.history.items():
        every[HISTORY_PREFIX + name] = np.array(column.kept(), "<f8")
    plain = record.to_plain() | {"format": FORMAT_VERSION, "fingerprint": fingerprint}
    try:
        RunRecord.from_plain(plain, record.history)
    except ValueError as error:
        raise FileError(f"{shown(path)}: cannot be written: its position: {error}") from error
    plain["checksum"] = _checksum(canonical_json(plain), every)
    _write(path, every, canonical_json(plain), held)


def write_parameters(path: str | os.PathLike[str], tensors: Mapping[str, Array]) -> None:
    """Write a file of tensors alone, atomically."""
    _write(path, tensors, None, False)


def _write(
    path: str | os.PathLike[str], tensors: Mapping[str, Array], text: str | None, held: bool
) -> None:
    """The header is made, and held against the limits of readers, before anything is written."""
    try:
        placed = laid_out((n, _NAME_IN_FILE[str(a.dtype)], a.shape) for n, a in tensors.items())
        header = header_bytes(placed, text)
    except ValueError as error:
        raise FileError(f"{shown(path)}: cannot be written: {error}") from error

    def pieces() -> Iterator[bytes | memoryview]:
        yield header
        for tensor in placed:
            yield _bytes_of(tensors[tensor.name])

    write_atomically(path, pieces(), held=held)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read and validate a file. Raises FileError naming the file and what is wrong with it."""
    check_name(path)
    path = Path(path)
    try:
        with _open_regular(path) as file:
            header, content, tensors = _read_tensors(path, file)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if header.text is None:
        lost = [name for name in tensors if name.startswith(RESERVED_PREFIX)]
        if lost:
            raise damaged(path, f"it has the tensor {lost[0]!r} of a checkpoint, but no position")
        return Checkpoint(path, tensors, {}, None, "")
    record, fingerprint = _read_record(path, header.text, tensors)
    placed = laid_out((tensor.name, tensor.dtype, tensor.shape) for tensor in header.tensors)
    if len(header.metadata) > 1 or content != header_bytes(placed, header.text):
        raise damaged(path, "its header is not as a checkpoint's is written")
    current = {n: array for n, array in tensors.items() if not n.startswith(_PREFIXES)}
    best = {
        name.removeprefix(BEST_PREFIX): array
        for name, array in tensors.items()
        if name.startswith(BEST_PREFIX)
    }
    return Checkpoint(path, current, best, record, fingerprint)


def compare_tensors(
    tensors: Mapping[str, Array],
    declared: Mapping[str, tuple[str, tuple[int, ...]]],
    required: set[str],
    strict: bool,
) -> list[str]:
    """Every way in which the tensors of a file differ from the declared names and types.

    required   names that must be there; other declared names may be. Not strict: names may be
               missing or unexpected, but what is there must have the declared dtype and shape.
    """
    facts = []
    for name in sorted(set(declared) | set(tensors)):
        if name not in tensors:
            if strict and name in required:
                facts.append(f"missing tensor {name!r}")
            continue
        if name not in declared:
            if strict:
                facts.append(f"unexpected tensor {name!r}")
            continue
        array, (dtype, shape) = tensors[name], declared[name]
        if array.dtype != numpy_dtype(dtype) or array.shape != shape:
            facts.append(
                f"tensor {name!r} is {array.dtype}{list(array.shape)} in the file, "
                f"{dtype}{list(shape)} in the program"
            )
    return facts


def fingerprint_differences(found: str, expected: str) -> tuple[str, ...]:
    """What differs between two programs whose tensors agree; fingerprints are MODEL-STEP."""
    facts = [f"fingerprint {found} in the file, {expected} here"]
    halves = [text.partition("-") for text in (found, expected)]
    if halves[0][0] != halves[1][0]:
        facts.insert(0, "its model computes something else (layers, loss or metrics)")
    if halves[0][2] != halves[1][2]:
        facts.insert(-1, "its training step differs (optimizer, its options or schedule)")
    return tuple(facts)


def _open_regular(path: Path) -> BufferedReader:
    """Open a regular file: nothing that would be waited for, or that has no end."""
    for facts in (os.stat(path), None):
        descriptor = -1 if facts else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = (facts or os.fstat(descriptor)).st_mode
        if not stat.S_ISREG(mode):
            if descriptor >= 0:
                os.close(descriptor)
            raise FileError(f"{shown(path)}: not a regular file")
    return os.fdopen(descriptor, "rb")


def _read_tensors(path: Path, file: BufferedReader) -> tuple[Header, bytes, dict[str, Array]]:
    """The header, which is checked against the file's size first, its bytes, and the tensors."""
    size = os.fstat(file.fileno()).st_size
    try:
        start = file.read(LENGTH_BYTES)
        length = header_length(start, size)
        content = file.read(length)
        header = read_header(content, size - LENGTH_BYTES - length)
        tensors = {tensor.name: _read_array(file, tensor, length) for tensor in header.tensors}
    except (ValueError, MemoryError) as error:
        problem = str(error) or "not enough memory"
        raise damaged(path, f"not a valid safetensors file: {problem}") from error
    return header, start + content, tensors


def _read_array(file: BufferedReader, tensor: FileTensor, length: int) -> Array:
    array = np.empty(tensor.shape, numpy_dtype(_NAME_OF_SHORT[tensor.dtype]))
    file.seek(LENGTH_BYTES + length + tensor.begin)
    view = _bytes_of(array)
    if file.readinto(view) != len(view):
        raise ValueError("it became shorter while it was read")
    return array


def _bytes_of(array: Array) -> memoryview:
    """The elements in row-major order, as bytes; of a contiguous array its own."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _read_record(path: Path, text: str, tensors: Mapping[str, Array]) -> tuple[RunRecord, str]:
    try:
        plain = read_json(text)
    except ValueError as error:
        raise damaged(path, f"its training position is not JSON: {error}") from error
    if not isinstance(plain, JsonObject):
        raise damaged(path, "its training position is not a JSON object")
    version, fingerprint = plain.get("format"), plain.get("fingerprint")
    if type(version) is not int or version not in (OLD_VERSION, FORMAT_VERSION):
        raise damaged(path, f"its format version is {version!r}, not {FORMAT_VERSION}")
    seal = f'"checksum":"{plain.get("checksum")}",'
    rest = text.replace(seal, "", 1)
    if text.count(seal) != 1 or plain.get("checksum") != _checksum(rest, tensors):
        raise damaged(path, "its checksum does not match its contents")
    try:
        history = plain.get("history")
        if plain.has_repeated_key or getattr(history, "has_repeated_key", False):
            raise ValueError("a key is there twice")
        if not isinstance(fingerprint, str):
            raise ValueError("'fingerprint' is not a string")
        is_old = version == OLD_VERSION  # its columns are in the position
        columns = _columns({} if is_old else column_lengths(plain), tensors)
        return RunRecord.from_plain(plain, None if is_old else columns), fingerprint
    except ValueError as error:
        raise damaged(path, f"its training position is wrong: {error}") from error


def _columns(lengths: Mapping[str, int], tensors: Mapping[str, Array]) -> dict[str, Column]:
    """The history: the columns of the position with their tensors. Raises ValueError."""
    named = {n.removeprefix(HISTORY_PREFIX) for n in tensors if n.startswith(HISTORY_PREFIX)}
    if named != set(lengths):
        different = sorted(named ^ set(lengths))
        raise ValueError(f"column {different[0]!r} of the history is not there, or not named")
    columns = {}
    for name, length in lengths.items():
        values = tensors[HISTORY_PREFIX + name]
        if values.dtype != np.float64 or values.shape != (kept_rows(length),):
            raise ValueError(f"column {name!r} of the history does not fit its {length} epochs")
        columns[name] = Column(values.tolist(), length)
    return columns


def _checksum(text: str, tensors: Mapping[str, Array]) -> str:
    """Of the position without its checksum, and of the tensors."""
    digest = hashlib.sha256(text.encode() + b"\n")
    for name, array in sorted(tensors.items()):
        extents = ",".join(map(str, array.shape))
        digest.update(f"{name} {_NAME_IN_FILE[str(array.dtype)]} {extents}\n".encode())
        digest.update(_bytes_of(array))
    return digest.hexdigest()


def damaged(path: Path, problem: str, facts: tuple[str, ...] = ()) -> FileError:
    """The error for a file that cannot be used, with the file before it where there is one."""
    previous = previous_of(path)
    hint = f"the file before it is {shown(previous)}" if exists(previous) else ""
    return FileError(f"{shown(path)}: {problem}", facts=facts, hint=hint)
