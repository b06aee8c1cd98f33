"""The native file layer for tests: compiled, driven through pipes, and files to give to it.

The C code runs under the address and undefined-behaviour sanitizers, in tests/native/files_probe.c
for the tests and in tests/native/fuzz_driver.c for the fuzzers. A report of a sanitizer ends the
process and fails the test.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from gradc.runtime.checkpoint import FILE_DTYPES

ROOT = Path(__file__).resolve().parent.parent
NATIVE = ROOT / "runtime" / "native"
TESTS = ROOT / "tests" / "native"
SOURCES = [
    NATIVE / f"{name}.c"
    for name in ("common", "text", "sha256", "json", "path", "lock", "file", "npy", "safetensors")
]
TARGETS = ("npy", "safetensors")
SHORT = {name: short for short, name in FILE_DTYPES}
SHAPES = ((), (0,), (1,), (3,), (12,), (2, 3), (2, 0, 3), (1, 1, 5, 1), (1,) * 31 + (2,))

STANDARD = ("-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{NATIVE}", f"-I{TESTS}")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compile_c(output: Path, sources: Sequence[Path], flags: Sequence[str]) -> Path:
    """Compile with our warnings as errors; returns `output`."""
    subprocess.run(["cc", *STANDARD, *flags, *map(str, sources), "-o", str(output)], check=True)
    return output


def build_fuzzer(folder: Path, sources: Sequence[Path], name: str) -> Path:
    """The fuzzer whose target and code under test are `sources`."""
    driver = compile_c(folder / "driver.o", [TESTS / "fuzz_driver.c"], ("-O2", "-c"))
    flags = (*SANITIZERS, "-fsanitize-coverage=trace-pc")
    return compile_c(folder / name, [*sources, driver], flags)


def build_target(folder: Path, target: str) -> Path:
    """The fuzzer of one reader."""
    sources = [TESTS / f"fuzz_{target}.c", *SOURCES]
    return build_fuzzer(folder, sources, f"fuzz_{target}")


def npy_bytes(array: Any, version: tuple[int, int] | None = None) -> bytes:
    """What numpy.save writes."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def safetensors_bytes(header: Mapping[str, Any] | str | bytes, data: bytes = b"") -> bytes:
    """A file of this header, given as JSON or as what json.dumps takes."""
    text = header if isinstance(header, str | bytes) else json.dumps(header)
    encoded = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def seeds(target: str) -> list[bytes]:
    """Small valid files for a fuzzer to begin with."""
    if target == "npy":
        arrays = [np.ones(shape, dtype) for shape, dtype in (
            ((2, 3), "<f4"), ((3,), ">i8"), ((), "?"), ((0, 4), "<u2"), ((1, 2, 1), "<f2"),
        )]  # fmt: skip
        files = [npy_bytes(array) for array in arrays]
        files += [npy_bytes(arrays[0], version) for version in ((2, 0), (3, 0))]
        return [*files, npy_bytes(np.asfortranarray(arrays[0]))]
    every = {
        f"{i}": np.zeros((i % 3, 2), dtype)
        for i, dtype in enumerate(("f8", "f4", "f2", ml_dtypes.bfloat16, "i8", "i4", "i2", "i1"))
    }
    position = {"gradc": json.dumps({"sums": ["3ff0000000000000"], "a": '"\\'})}
    return [
        save(every, position),
        save({'é"\\\n': np.ones((), bool), "": np.ones(3, np.uint8)}),
        safetensors_bytes(
            r'{"\ud83d\ude00":{"x":[{"y":-1.5e3},null],"dtype":"U8","data_offsets":[0,1],'
            r'"shape":[1]}, "__metadata__":{"a":"b","gradc":""}}  ',
            b"1",
        ),
    ]


def write_seeds(folder: Path, target: str) -> Path:
    """Put the seeds into files of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(seeds(target)):
        (folder / f"seed-{i}").write_bytes(data)
    return folder


Answer = dict[str, Any]

DTYPES = {
    name: np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name) for _, name in FILE_DTYPES
}

FEW = settings(max_examples=100, deadline=None)
MANY = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def build_program(sources: Sequence[Path]) -> Path:
    """A program with sanitizers, in a folder named by its sources: it is compiled once."""
    digest = hashlib.sha256(repr((STANDARD, SANITIZERS)).encode())
    for path in [*sources, *sorted(NATIVE.glob("*.h"))]:
        digest.update(path.read_bytes())
    program = ROOT / "build" / "native-tests" / digest.hexdigest()[:16]
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        compile_c(partial, sources, SANITIZERS).rename(program)
    return program


def build_probe() -> Path:
    """files_probe with sanitizers."""
    return build_program([TESTS / "files_probe.c", *SOURCES])


class Probe:
    """A running files_probe; see its comment for the requests."""

    def __init__(self, program: Path) -> None:
        # A small redzone and no history of frees: the process lives for thousands of requests.
        environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=8"}
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
        )

    def ask(self, command: str, data: bytes = b"") -> Answer:
        """Send a request and read its answer; the report of a sanitizer fails the test."""
        return self.ask_line(f"{len(data)} {command}", data)

    def ask_line(self, command: str, data: bytes = b"") -> Answer:
        """The same for a line that is complete."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(os.fsencode(command) + b"\n" + data)
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            pytest.fail(f"the probe died on {command!r} {data!r}:\n{self.report()}")
        answer = self.process.stdout.read(int(line)).decode(errors="replace")
        return json.loads(answer, strict=False)

    def refuse(self, command: str, data: bytes = b"") -> str:
        """The message for data that is refused."""
        answer = self.ask(command, data)
        assert answer["status"] == 1, answer
        assert answer["error"].isprintable()
        return answer["error"]

    def report(self) -> str:
        """What the process wrote to stderr."""
        self.process.wait()
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def close(self) -> None:
        """End the process; it must have freed all that it allocated."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        report = self.report()
        self.process.stdout.close()
        self.errors.close()
        assert self.process.returncode == 0, report


def running_probe() -> Iterator[Probe]:
    """One process for the tests of a file: the body of a fixture."""
    probe = Probe(build_probe())
    yield probe
    probe.close()


NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.text('"\\/\b\f\n\r\t\0\x1f\x7f\x80é☃\U0001f600 ab', max_size=8),
)


def mutated(draw: st.DrawFn, data: bytes, words: tuple[bytes, ...]) -> bytes:
    """The bytes with one to three small changes: bytes less, other bytes, words, repetition."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 6)))
        new = draw(st.one_of(
            st.just(b""), st.sampled_from(words), st.binary(min_size=1, max_size=3),
            st.just(data[at:end] * 2),
        ))  # fmt: skip
        data = data[:at] + new + data[end:]
    return data
