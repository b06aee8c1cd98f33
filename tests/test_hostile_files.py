"""Damaged and forged checkpoints: both readers give the table's verdict, and no other error."""

from __future__ import annotations

import json
import os
import random
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_files
import pytest
from hostile_files import (
    BOTH,
    HOSTILE,
    LOAD,
    RESUME,
    Hostile,
    good_checkpoint,
    parameters_alone,
    parts,
    position_text,
    sealed,
)
from native_files import NATIVE, TESTS, Probe, build_program, needs_compiler
from support_binary import binary, classifier_data, files

from gradc.compiler.errors import FileError
from gradc.runtime.checkpoint import read_checkpoint

RUNTIME = (
    "checkpoint", "column", "common", "file", "history", "json", "lock", "path", "record",
    "safetensors", "sha256", "state", "text",
)  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return good_checkpoint(tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def probe() -> Iterator[Probe]:
    sources = [TESTS / "checkpoint_probe.c", *(NATIVE / f"{name}.c" for name in RUNTIME)]
    running = Probe(build_program(sources))
    yield running
    running.close()


def _python(path: Path, purpose: str) -> str:
    """The message of Python's reader, empty if it takes the file; no other exception than ours."""
    trainer = hostile_files.trainer()
    before = trainer.executor.state.snapshot()
    try:
        if purpose == LOAD:
            trainer.load(path)
        else:
            hostile_files.fit(trainer, path, resume=True)
    except FileError as error:
        assert trainer.executor.state.snapshot() == before
        return str(error)
    return ""


def _native(probe: Probe, path: Path, purpose: str) -> str:
    answer = probe.ask_line(f"{purpose} {path}")
    assert bool(answer["status"]) == bool(answer["error"])
    return str(answer["error"])


def _check_message(path: Path, message: str) -> None:
    """It names the file, and holds nothing that a terminal would obey."""
    assert message.startswith(f"{path}: ")
    assert all(line.isprintable() for line in message.split("\n")), message


@pytest.mark.parametrize("case", HOSTILE, ids=[case.name for case in HOSTILE])
def test_verdict_of_python(tmp_path: Path, good: bytes, case: Hostile) -> None:
    path = tmp_path / "file"
    path.write_bytes(case.make(good))
    for purpose in BOTH:
        message = _python(path, purpose)
        assert (not message) == (purpose in case.taken), message
        if message:
            _check_message(path, message)


@needs_compiler
@pytest.mark.parametrize("case", HOSTILE, ids=[case.name for case in HOSTILE])
def test_verdict_of_the_binary(tmp_path: Path, good: bytes, probe: Probe, case: Hostile) -> None:
    path = tmp_path / "file"
    content = case.make(good)
    path.write_bytes(content)
    for purpose in BOTH:
        message = _native(probe, path, purpose)
        assert (not message) == (purpose in case.taken), message
        if message:
            _check_message(path, message)
    if RESUME in case.taken and content == good:
        assert (tmp_path / "file.again").read_bytes() == content


@needs_compiler
def test_a_format_before_is_written_as_the_new_one(
    tmp_path: Path, good: bytes, probe: Probe
) -> None:
    """Also what else is read though no writer writes it: what is written of it is as ever."""
    for name in ("format 1", "spaces in the position", "another key in the position"):
        (case,) = (case for case in HOSTILE if case.name == name)
        path = tmp_path / "file"
        path.write_bytes(case.make(good))
        assert _native(probe, path, RESUME) == ""
        assert (tmp_path / "file.again").read_bytes() == good
        read = read_checkpoint(path)
        assert read.record is not None and read.record == read_checkpoint(
            tmp_path / "file.again"
        ).record  # fmt: skip


# ---------------------------------------------------------------- every byte


def _flips(good: bytes) -> Iterator[bytes]:
    """Every byte of the header changed, and some of the data: one bit of each, and white space
    for white space."""
    choose = random.Random(5)
    header = 8 + int.from_bytes(good[:8], "little")
    for place in [*range(header), *range(header, len(good), 7)]:
        byte = good[place]
        others = {byte ^ 1 << choose.randrange(8), byte ^ 0x20, choose.randrange(256)}
        if chr(byte).isspace():
            others |= set(b" \t\r\n")
        for other in others - {byte}:
            yield good[:place] + bytes([other]) + good[place + 1 :]


def test_no_change_of_a_byte_goes_unnoticed(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "file"
    for content in _flips(good):
        path.write_bytes(content)
        with pytest.raises(FileError):
            read_checkpoint(path)


@needs_compiler
def test_no_change_of_a_byte_goes_unnoticed_by_the_binary(
    tmp_path: Path, good: bytes, probe: Probe
) -> None:
    path = tmp_path / "file"
    for n, content in enumerate(_flips(good)):
        if n % 3 == 0:
            path.write_bytes(content)
            assert _native(probe, path, LOAD), content


@needs_compiler
@pytest.mark.parametrize("alone", [False, True])
def test_readers_agree_on_mutated_files(
    tmp_path: Path, good: bytes, probe: Probe, alone: bool
) -> None:
    """Bytes less, more or changed: one verdict, and no error but ours."""
    choose, path = random.Random(7), tmp_path / "file"
    start = parameters_alone(good) if alone else good
    header = 8 + int.from_bytes(start[:8], "little")
    words = (b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b"-1", b"null", b"1e999", b"\\u0000",
             b'"gradc":', b'"shape":[2,2],', b'"__metadata__":null,', b"\x1b[2J")  # fmt: skip
    for _ in range(600):
        content = start
        for _ in range(choose.randint(1, 3)):
            at = choose.randrange(8, header)
            end = at + choose.randrange(5)
            content = content[:at] + choose.choice((b"", *words)) + content[end:]
        length = header - 8 + len(content) - len(start)
        path.write_bytes(length.to_bytes(8, "little") + content[8:])
        for purpose in BOTH:
            ours, theirs = _python(path, purpose), _native(probe, path, purpose)
            assert (not ours) == (not theirs), (ours, theirs)
            for message in filter(None, (ours, theirs)):
                _check_message(path, message)


@needs_compiler
def test_readers_agree_on_forged_positions(tmp_path: Path, good: bytes, probe: Probe) -> None:
    """The checksum is right, and something in the text is other than a writer writes it."""
    choose, path = random.Random(11), tmp_path / "file"
    text, (header, data) = position_text(good), parts(good)
    words = ("", '"', "{", "}", "[", "]", ",", ":", "0", "1", "-", ".0", "e1", "null", "true", " ",
             "\t", "9007199254740993", "\\u0000", "\\ud800", "é", '"x":1,', "3ff0000000000000",
             '"epoch":2,', '"loss":3,', '"format":1,', "99999999999999999999", "NaN")  # fmt: skip
    taken = 0
    for _ in range(500):
        at = choose.randrange(len(text))
        forged = text[:at] + choose.choice(words) + text[at + choose.choice((0, 0, 1, 1, 2, 3)) :]
        try:
            path.write_bytes(sealed(forged, header, data))
        except ValueError:  # without a checksum
            continue
        for purpose in BOTH:
            ours, theirs = _python(path, purpose), _native(probe, path, purpose)
            assert (not ours) == (not theirs), (forged, ours, theirs)
            taken += not ours
    assert taken > 10


# ---------------------------------------------------------------- what is no file


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless_device(path: Path) -> None:
    """A device that gives zeros for ever: one of our own, in a folder of our own."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def _link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


@needs_compiler
@pytest.mark.parametrize("make", [_folder, _pipe, _endless_device, _socket, _link_to_a_pipe])
def test_what_is_no_regular_file(tmp_path: Path, probe: Probe, make: Any) -> None:
    path = tmp_path / "f"
    make(path)
    for purpose in BOTH:
        assert _python(path, purpose).startswith(f"{path}: ")
        assert _native(probe, path, purpose) == f"{path}: not a regular file"
    with pytest.raises(FileError, match="not a regular file"):
        read_checkpoint(path)


def test_a_pipe_that_has_a_writer(tmp_path: Path, good: bytes) -> None:
    """It is not read from: what is in it stays."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.write(descriptor, good[:4000])
    with pytest.raises(FileError, match="not a regular file"):
        read_checkpoint(path)
    assert os.read(descriptor, 5000) == good[:4000]
    os.close(descriptor)


def test_a_file_that_claims_more_than_memory(tmp_path: Path, probe: Probe) -> None:
    """Its size is on no disk; nothing is read before the sizes fit, and no error is not ours."""
    path, elements = tmp_path / "file", 2**43
    entry = {"dtype": "U8", "shape": [elements], "data_offsets": [0, elements]}
    path.write_bytes(hostile_files.joined({"a": entry}, b""))
    try:
        os.truncate(path, path.stat().st_size + elements)
    except OSError:
        pytest.skip("this file system has no files of that size")
    with pytest.raises(FileError, match="not a valid safetensors file: "):
        read_checkpoint(path)
    os.truncate(path, path.stat().st_size - 1)
    for message in (_python(path, LOAD), _native(probe, path, LOAD)):
        assert message.startswith(f"{path}: ")


# ---------------------------------------------------------------- names in messages


def test_names_in_messages_are_shown_not_obeyed(tmp_path: Path, good: bytes, probe: Probe) -> None:
    """Of files, tensors and keys: escapes, ends of lines, and what is no UTF-8."""
    name = "\x1b]0;owned\x07 \u202e\u009b2J\n  hint: all is well"
    folder = tmp_path / "a\x1b[31mb"
    folder.mkdir()
    path = folder / "file"
    hostile = json.dumps(name)
    header = json.dumps({"layer.bias": 1}).replace('"layer.bias"', hostile)
    entry = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    for content in (
        hostile_files.joined(header, b""),
        hostile_files.joined(f"{{{hostile}:{entry}}}", b"1234"),
        hostile_files.joined(
            f'{{"a":{entry.replace("F32", name.encode("unicode_escape").decode())}}}', b"1234"
        ),
        hostile_files.joined(f'{{"gradc.{hostile[1:]}:{entry}}}', b"1234"),
    ):
        path.write_bytes(content)
        for message in (_python(path, LOAD), _native(probe, path, LOAD)):
            assert message and all(line.isprintable() for line in message.split("\n")), message
            assert "\n  hint" not in message
    assert _native(probe, path, LOAD).startswith(f"{tmp_path}/a?[31mb/file: ")


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\nb"))
    with pytest.raises(FileError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"{tmp_path}/a??b: cannot be read: No such file or directory"


def test_a_name_with_a_zero_byte(tmp_path: Path) -> None:
    made = hostile_files.trainer()
    for attempt in (made.load, made.save, lambda name: hostile_files.fit(made, name, False)):
        with pytest.raises(FileError) as caught:
            attempt(Path(f"{tmp_path}/a\0b"))
        assert str(caught.value) == f"{tmp_path}/a?b: there is a zero byte in the name of the file"
    assert list(tmp_path.iterdir()) == []


ESCAPES = "\x1b]0;owned\x07\nnext\u202e"


@needs_compiler
@pytest.mark.parametrize(
    "arguments",
    [
        [ESCAPES],
        [f"--{ESCAPES}"],
        ["--epochs", ESCAPES],
        ["--data", ESCAPES],
        ["--data", f"{ESCAPES}=x"],
        ["--data", f"x={ESCAPES}"],
        ["--data", f"x={ESCAPES}", "--data", f"x={ESCAPES}"],
        ["--parameters", ESCAPES],
        ["--checkpoint", f"{ESCAPES}/run"],
        ["--checkpoint", ESCAPES, "--metrics", ESCAPES],
        ["--checkpoint", ESCAPES, "--metrics", f"{ESCAPES}.partial"],
        ["--metrics", f"{ESCAPES}/log"],
        ["--checkpoint", ESCAPES, "--predict", "out.npy"],
        ["--checkpoint", ESCAPES, "--resume", "--metrics", "no/log"],
    ],
)
def test_names_that_a_binary_was_given(tmp_path: Path, arguments: list[str]) -> None:
    """Whatever it says of them, on any line, a terminal does not obey."""
    made = binary("classifier")
    given = files(tmp_path, classifier_data(20))
    inputs = [] if any(f"={ESCAPES}" in word for word in arguments) else given
    command = [str(made.path), *inputs, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode in (1, 2)
    lines = done.stderr.removesuffix("\n").split("\n")
    assert all(line.startswith("classifier: ") and line.isprintable() for line in lines), lines


@needs_compiler
def test_a_header_of_data_is_shown_not_obeyed(tmp_path: Path) -> None:
    made, path = binary("classifier"), tmp_path / "x.npy"
    given = files(tmp_path, classifier_data(20))
    content = path.read_bytes()
    for old, new in (
        (b"'<f4'", b"'\x1b4'"),
        (b"'descr'", b"'\x1b[2Jr'"),
        (b"'<f4'", b"'\xc2\x9b'"),
    ):
        path.write_bytes(content.replace(old, new.ljust(len(old))[: len(old)]))
        message = made.refused(*given, status=1)
        assert message.startswith(f"{path}: ") and message.isprintable()
