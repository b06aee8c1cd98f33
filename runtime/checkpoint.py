"""Checkpoints: safetensors files that hold the state and the training position.

    tensors    every named state in its logical row-major layout, under its own name, and, where a
               best epoch is kept, the state after it under "gradc.best/" + name
    metadata   one key, "gradc": the training position as canonical JSON (see record.py). One key
               alone, because the order of several is not fixed in the format.

Equal state gives equal bytes: no times, no host names. `checksum` is the SHA-256, in hexadecimal,
of the canonical JSON without that key, a newline, and for every tensor, sorted by name, its bytes
after the line `name dtype extents` (dtype as in the file, extents joined by commas, newline).

A file without the metadata key is a file of parameters alone, whoever wrote it.

Writing is atomic: `NAME.partial` in the same folder is written, synced and renamed over NAME, and
the folder is synced. The file that was there before stays as `NAME.previous`. Reading validates
everything before it returns anything; nothing is unpickled or executed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from gradc.compiler.errors import FileError

from .arena import Array, numpy_dtype
from .record import FORMAT_VERSION, RunRecord, canonical_json

METADATA_KEY = "gradc"
BEST_PREFIX = "gradc.best/"

# The names of dtypes in the file format (safetensors README, "Format").
FILE_DTYPES = (
    ("F64", "float64"),
    ("F32", "float32"),
    ("F16", "float16"),
    ("BF16", "bfloat16"),
    ("I64", "int64"),
    ("I32", "int32"),
    ("I16", "int16"),
    ("I8", "int8"),
    ("U8", "uint8"),
    ("BOOL", "bool"),
)
_NAME_IN_FILE = {name: short for short, name in FILE_DTYPES}
_NAME_OF_SHORT = dict(FILE_DTYPES)


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
) -> None:
    """Write a full checkpoint atomically. Raises FileError; then nothing was changed."""
    every = {**tensors, **{BEST_PREFIX + name: array for name, array in best.items()}}
    plain = record.to_plain() | {"format": FORMAT_VERSION, "fingerprint": fingerprint}
    plain["checksum"] = _checksum(plain, every)
    write_atomically(Path(path), _serialized(every, {METADATA_KEY: canonical_json(plain)}))


def write_parameters(path: str | os.PathLike[str], tensors: Mapping[str, Array]) -> None:
    """Write a file of tensors alone, atomically."""
    write_atomically(Path(path), _serialized(tensors, None))


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read and validate a file. Raises FileError naming the file and what is wrong with it."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from error
    tensors = _deserialized(path, data)
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    text = header.get("__metadata__", {}).get(METADATA_KEY)
    if text is None:
        return Checkpoint(path, tensors, {}, None, "")
    record, fingerprint = _read_record(path, text, tensors)
    current = {n: array for n, array in tensors.items() if not n.startswith(BEST_PREFIX)}
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


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file's contents, keeping what was there as `NAME.previous`."""
    if path.exists() and not (path.is_file() or path.is_dir()):  # a device would be replaced
        raise FileError(f"{path}: not a regular file")
    partial = path.with_name(path.name + ".partial")
    try:
        try:
            _write_synced(partial, data)
            _keep_previous(path)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error


def _write_synced(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_previous(path: Path) -> None:
    """Give the file a second name, so that it never lacks its own."""
    if not path.exists():
        return
    if path.is_dir():  # to be refused, not moved aside
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    previous = path.with_name(path.name + ".previous")
    previous.unlink(missing_ok=True)
    try:
        os.link(path, previous)
    except OSError:  # a file system without hard links
        os.replace(path, previous)


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a system where a folder cannot be opened
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _serialized(tensors: Mapping[str, Array], metadata: dict[str, str] | None) -> bytes:
    ordered = {
        name: np.require(array, requirements=("C", "A")) for name, array in sorted(tensors.items())
    }
    return save(ordered, metadata)


def _deserialized(path: Path, data: bytes) -> dict[str, Array]:
    try:
        described = deserialize(data)
    except SafetensorError as error:
        raise damaged(path, f"not a valid safetensors file: {error}") from error
    tensors = {}
    for name, tensor in described:
        if tensor["dtype"] not in _NAME_OF_SHORT:
            raise damaged(path, f"tensor {name!r} has the unsupported dtype {tensor['dtype']}")
        dtype = numpy_dtype(_NAME_OF_SHORT[tensor["dtype"]])
        array = np.frombuffer(tensor["data"], np.uint8).view(dtype)
        tensors[name] = array.reshape(tensor["shape"])
    return tensors


def _read_record(path: Path, text: str, tensors: Mapping[str, Array]) -> tuple[RunRecord, str]:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its training position is not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise damaged(path, "its training position is not a JSON object")
    version = plain.get("format")
    if version != FORMAT_VERSION:
        raise damaged(path, f"its format version is {version!r}, not {FORMAT_VERSION}")
    checksum, fingerprint = plain.pop("checksum", None), plain.get("fingerprint")
    if not isinstance(fingerprint, str) or checksum != _checksum(plain, tensors):
        raise damaged(path, "its checksum does not match its contents")
    try:
        return RunRecord.from_plain(plain), fingerprint
    except ValueError as error:
        raise damaged(path, f"its training position is wrong: {error}") from error


def _checksum(plain: dict[str, Any], tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(canonical_json(plain).encode("ascii") + b"\n")
    for name, array in sorted(tensors.items()):
        extents = ",".join(map(str, array.shape))
        digest.update(f"{name} {_NAME_IN_FILE[str(array.dtype)]} {extents}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def damaged(path: Path, problem: str, facts: tuple[str, ...] = ()) -> FileError:
    """The error for a file that cannot be used, with the file before it where there is one."""
    previous = path.with_name(path.name + ".previous")
    hint = f"the file before it is {previous}" if previous.exists() else ""
    return FileError(f"{path}: {problem}", facts=facts, hint=hint)
