"""The file layer of the native runtime: JSON, SHA-256, files, and its fuzzers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_files import (
    FEW,
    MANY,
    NAMES,
    SOURCES,
    STANDARD,
    TARGETS,
    TESTS,
    Answer,
    Probe,
    build_fuzzer,
    build_probe,
    build_target,
    mutated,
    needs_compiler,
    running_probe,
    write_seeds,
)

from gradc.compiler.errors import FileError
from gradc.runtime.file_write import write_atomically

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    """One process for the tests of this file."""
    yield from running_probe()


def _plain(text: str) -> Any:
    """What Python reads; numbers that are no 64-bit integers become "number". Raises ValueError."""

    def integer(digits: str) -> int | str:
        value = int(digits)
        return value if -(2**63) <= value < 2**63 and digits != "-0" else "number"

    def constant(name: str) -> None:
        raise ValueError(name)

    return json.loads(
        text, parse_float=lambda _: "number", parse_int=integer, parse_constant=constant
    )


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.integers(-(2**63), 2**63 - 1),
        st.floats(-1e298, 1e298).filter(lambda value: "e-" not in repr(value)), NAMES,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@FEW
@given(VALUES, st.booleans(), st.sampled_from((None, 1)))
def test_json_values(probe: Probe, value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if "e+1" in text or "e+2" in text:  # three digits of exponent
        return
    answer = probe.ask("json", text.encode())
    assert answer == {"status": 0, "agree": 1, "value": _plain(text)}


JSON_WORDS = tuple(
    b'" \\ \\u00e9 \\ud83d\\ude00 \\udc00 { } [ ] , : 0 -1 1.5 1e9 true null'.split()
)


@st.composite
def _mutated_json(draw: st.DrawFn) -> bytes:
    return mutated(draw, json.dumps(draw(VALUES)).encode(), JSON_WORDS)


@MANY
@given(st.one_of(_mutated_json(), st.lists(st.sampled_from(JSON_WORDS)).map(b"".join)))
def test_json_accepts_nothing_that_python_refuses(probe: Probe, data: bytes) -> None:
    answer = probe.ask("json", data)
    assert answer["agree"] == 1
    try:
        value = _plain(data.decode())
    except ValueError:
        assert answer["status"] == 1
        return
    if answer["status"] == 0:
        assert answer["value"] == value
    else:
        assert answer["error"] in ("expected a number, below 1e299", "not a valid character")


JSON_REFUSED: tuple[tuple[str | bytes, int, str], ...] = (
    ("", 0, "expected a value"),
    ("  ", 2, "expected a value"),
    ("x", 0, "expected a value"),
    ("NaN", 0, "expected a value"),
    ("nul", 0, "expected null"),
    ("tru", 0, "expected true or false"),
    ("1 2", 2, "expected the end of the text"),
    ("[1 2]", 3, "expected a comma or a closing bracket"),
    ("[1,]", 3, "expected a value"),
    ("[,1]", 1, "expected a value"),
    ("[1", 2, "expected a comma or a closing bracket"),
    ("[}", 1, "expected a value"),
    ('{"a":1]', 6, "expected a comma or a closing bracket"),
    ("{1:2}", 1, "expected a string"),
    ('{"a"}', 4, "expected a colon"),
    ('"a', 2, "a control character or the end of the text in a string"),
    ('"a\0"', 2, "a control character or the end of the text in a string"),
    ('"\t"', 1, "a control character or the end of the text in a string"),
    (r'"\x"', 2, "not a valid character"),
    (r'"\u12g4"', 5, "not a valid character"),
    (r'"\ud800"', 7, "not a valid character"),
    (r'"\ud800\n"', 8, "not a valid character"),
    (r'"\ud800\ud800"', 13, "not a valid character"),
    (r'"\udc00"', 7, "not a valid character"),
    (b'"\xc0\x80"', 1, "not a valid character"),
    (b'"\xed\xa0\x80"', 1, "not a valid character"),
    (b'"\xf4\x90\x80\x80"', 1, "not a valid character"),
    (b'"\xf8\x88\x80\x80\x80"', 1, "not a valid character"),
    (b'"\x80"', 1, "not a valid character"),
    (b'"\xe2\x98"', 1, "not a valid character"),
    (b'"\xe2\x98', 1, "not a valid character"),
    ("-", 1, "expected a number, below 1e299"),
    ("01", 2, "expected a number, below 1e299"),
    ("1.", 2, "expected a number, below 1e299"),
    ("1e", 2, "expected a number, below 1e299"),
    ("1e+", 3, "expected a number, below 1e299"),
    ("1e100", 5, "expected a number, below 1e299"),
    ("1" * 201, 201, "expected a number, below 1e299"),
    ("+1", 0, "expected a value"),
    ("[" * 128, 128, "nested too deeply"),
    ('{"a":' * 1_000_000, 636, "nested too deeply"),
)


@pytest.mark.parametrize(("text", "at", "message"), JSON_REFUSED)
def test_json_refused(probe: Probe, text: str | bytes, at: int, message: str) -> None:
    answer = probe.ask("json", text if isinstance(text, bytes) else text.encode())
    assert answer == {"status": 1, "agree": 1, "error": message, "at": at}


def test_json_accepted(probe: Probe) -> None:
    for text in ("1" * 200 + "e99", "-1.5E+07", "0.0e-00", "[" * 127 + "]" * 127, " \r\n\t[ ] "):
        answer = probe.ask("json", text.encode())
        assert answer == {"status": 0, "agree": 1, "value": _plain(text)}


def test_sha256(probe: Probe) -> None:
    data = np.random.default_rng(0).bytes(70_000)
    for size in (*range(200), 1000, 65_536, 70_000):
        digest = hashlib.sha256(data[:size]).hexdigest()
        assert probe.ask("sha256", data[:size])["digest"] == digest


def _tree(folder: Path) -> dict[str, Any]:
    """Names with contents, links with their targets, folders with their trees."""
    return {
        path.name: os.readlink(path)
        if path.is_symlink()
        else _tree(path)
        if path.is_dir()
        else path.read_bytes()
        for path in sorted(folder.iterdir())
    }


def test_map(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"x", bytes(4096), bytes(range(256)) * 50, b""):
        path.write_bytes(data)
        assert probe.ask(f"map {path}") == {
            "status": 0,
            "size": len(data),
            "digest": hashlib.sha256(data).hexdigest(),
            "exists": 1,
            "null": int(not data),
        }


def test_map_refuses(probe: Probe, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert probe.refuse(f"map {missing}") == f"{missing}: cannot be read: No such file or directory"
    assert probe.ask(f"map {missing}")["exists"] == 0
    assert probe.refuse(f"map {tmp_path}") == f"{tmp_path}: not a regular file"
    assert probe.refuse("map /dev/null") == "/dev/null: not a regular file"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert probe.refuse(f"map {pipe}") == f"{pipe}: not a regular file"
    file = tmp_path / "file"
    file.write_bytes(b"x")
    below = file / "below"
    assert probe.refuse(f"map {below}") == f"{below}: cannot be read: Not a directory"
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    problem = "cannot be read: Too many levels of symbolic links"
    assert probe.refuse(f"map {loop}") == f"{loop}: {problem}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_files_without_permission(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(0)
    assert probe.refuse(f"map {path}") == f"{path}: cannot be read: Permission denied"
    tmp_path.chmod(0o500)
    try:
        message = probe.refuse(f"write 1 {path}")
    finally:
        tmp_path.chmod(0o700)
    assert message == f"{path}: cannot be written: Permission denied"


def test_write_replaces_and_keeps_the_previous_file(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "file"
    big = np.random.default_rng(1).bytes(300_000)
    for data, flag, expected in (
        (b"one", 1, {"file": b"one"}),
        (big, 0, {"file": big}),
        (b"", 1, {"file": b"", "file.previous": big}),
        (b"three", 1, {"file": b"three", "file.previous": b""}),
        (b"four", 0, {"file": b"four", "file.previous": b""}),
    ):
        assert probe.ask(f"write {flag} {path}", data) == {"status": 0}
        assert _tree(tmp_path) == expected
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o7777 == 0o666 & ~mask
    assert probe.ask(f"abandon {path}", b"not complete") == {"status": 0}
    assert path.read_bytes() == b"four" and len(_tree(tmp_path)) == 2


def test_write_to_a_name_without_a_folder(tmp_path: Path) -> None:
    request = b"3 write 1 name\nabc"
    program = build_probe()
    subprocess.run([program], input=request, cwd=tmp_path, check=True, capture_output=True)
    assert _tree(tmp_path) == {"name": b"abc"}


def _folder_as_partial(folder: Path) -> None:
    (folder / "file.partial").mkdir()


def _link_as_partial(folder: Path) -> None:
    (folder / "target").write_bytes(b"not ours")
    (folder / "file.partial").symlink_to("target")


def _partial_of_a_killed_run(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")
    (folder / "file.partial").write_bytes(b"half of it" * 100)


def _folder_as_previous(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")
    (folder / "file.previous").mkdir()


def _folder_as_file(folder: Path) -> None:
    (folder / "file").mkdir()
    (folder / "file" / "inside").write_bytes(b"x")


def _link_as_file(folder: Path) -> None:
    (folder / "target").write_bytes(b"pointed at")
    (folder / "file").symlink_to("target")


def _dangling_link_as_file(folder: Path) -> None:
    (folder / "file").symlink_to("nowhere")


def _file_as_folder(folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"a file")


def _no_folder(folder: Path) -> None:
    folder.rmdir()


SITUATIONS = (
    _folder_as_partial,
    _link_as_partial,
    _partial_of_a_killed_run,
    _folder_as_previous,
    _folder_as_file,
    _link_as_file,
    _dangling_link_as_file,
    _file_as_folder,
    _no_folder,
)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_write_does_what_python_does(
    probe: Probe, tmp_path: Path, situation: Callable[[Path], None]
) -> None:
    for writer in ("python", "native"):
        (tmp_path / writer / "folder").mkdir(parents=True)
        situation(tmp_path / writer / "folder")
    path = tmp_path / "python" / "folder" / "file"
    try:
        write_atomically(path, b"new")
        expected: Answer = {"status": 0}
    except FileError as error:
        problem = str(error).split(f"{path}: ")[1]
        expected = {"status": 1, "error": f"{tmp_path}/native/folder/file: {problem}"}
    answer = probe.ask(f"write 1 {tmp_path}/native/folder/file", b"new")
    assert answer == expected
    assert _tree(tmp_path / "native") == _tree(tmp_path / "python")


def test_write_messages(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "none" / "file"
    assert probe.refuse(f"write 1 {path}") == (
        f"{path}: cannot be written: No such file or directory"
    )
    path = tmp_path / "file"
    _folder_as_previous(tmp_path)
    assert probe.refuse(f"write 1 {path}") == f"{path}: cannot be written: Is a directory"
    assert _tree(tmp_path) == {"file": b"old", "file.previous": {}}


@pytest.mark.parametrize("size", [1000, 500_000])
def test_write_without_space_leaves_the_old_file(tmp_path: Path, size: int) -> None:
    """A limit of the size of files stands for a full disk: write(2) fails in both cases."""
    path = tmp_path / "file"
    limited = Probe(build_probe())
    assert limited.ask(f"write 1 {path}", b"old") == {"status": 0}
    limited.ask("limit 700")
    message = limited.refuse(f"write 1 {path}", bytes(size))
    assert message == f"{path}: cannot be written: File too large"
    assert _tree(tmp_path) == {"file": b"old"}
    assert limited.ask(f"write 1 {path}", b"new") == {"status": 0}
    assert _tree(tmp_path) == {"file": b"new", "file.previous": b"old"}
    limited.close()


@pytest.mark.parametrize("target", TARGETS)
def test_fuzz(tmp_path: Path, target: str) -> None:
    fuzzer = build_target(tmp_path, target)
    corpus = write_seeds(tmp_path / "seeds", target)
    command = [fuzzer, "--seconds", "5", "--crash", tmp_path / "crash", corpus]
    done = subprocess.run([*command, TESTS / "corpus" / target], capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 1000


BROKEN_TARGET = """
#include "fuzz_driver.h"
const char *const fuzz_words[] = {"descr", NULL};
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 7 && data[0] == 'a' && data[1] == 'b' && data[2] < 8)
        if (data[3] == 'd')
            return data[size + data[4]];
    return 0;
}
"""


def test_fuzzer_finds_an_error(tmp_path: Path) -> None:
    """The fuzzer is of use: it follows edges to a read past the end, and keeps that input."""
    source = tmp_path / "broken.c"
    source.write_text(BROKEN_TARGET)
    fuzzer = build_fuzzer(tmp_path, [source], f"broken.{os.getpid()}")
    (tmp_path / "seed").write_bytes(b"some bytes")
    crash = tmp_path / "crash"
    command = [fuzzer, "--runs", "3000000", "--crash", crash, tmp_path / "seed"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "heap-buffer-overflow" in done.stderr, done.stdout
    found = crash.read_bytes()
    assert found[:2] == b"ab" and found[2] < 8 and found[3:4] == b"d"


def test_readers_compile_without_warnings(tmp_path: Path) -> None:
    for optimize in ("-Os", "-O3"):
        for source in SOURCES:
            flags = [*STANDARD, optimize, "-ffp-contract=off", "-Wconversion", "-Wshadow", "-c"]
            command = ["cc", *flags, str(source), "-o", str(tmp_path / "object.o")]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0 and not done.stderr, done.stderr
