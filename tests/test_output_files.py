"""Everything that writes a file replaces files alone: no device, pipe, socket or folder, ever."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from support import gradc
from support_binary import needs_compiler

import gradc as gc
from gradc import optim
from gradc._training import TrainingProgram
from gradc.compiler.output_files import move_into_place, write_file

PROGRAM = """
import gradc as gc
from gradc import optim
w = gc.parameter("w", (3,), init=gc.init.ones)
program = gc.training(gc.sum((w - 2.0) ** 2), optim.SGD(lr=0.1))
"""
TEXT = "graph f(%x: f32[4]) {\n  %0 = exp %x : f32[4]\n  return %0\n}\n"


def small_program() -> TrainingProgram:
    w = gc.parameter("w", (3,), init=gc.init.ones)
    return gc.training(gc.sum((w - 2.0) ** 2), optim.SGD(lr=0.1))


# ---------------------------------------------------------------- what must not be replaced


def pipe(place: Path) -> None:
    os.mkfifo(place)


def device(place: Path) -> None:
    try:
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError:
        pytest.skip("devices cannot be made here")


def listener(place: Path) -> None:
    held = socket.socket(socket.AF_UNIX)
    before = os.getcwd()
    os.chdir(place.parent)  # addresses are short
    try:
        held.bind(place.name)
    finally:
        os.chdir(before)
        held.close()


def folder(place: Path) -> None:
    place.mkdir()


def link_to_pipe(place: Path) -> None:
    os.mkfifo(place.with_name("elsewhere"))
    place.symlink_to("elsewhere")


def link_to_itself(place: Path) -> None:
    place.symlink_to(place.name)


OBSTACLES = (pipe, device, listener, folder, link_to_pipe, link_to_itself)


# ---------------------------------------------------------------- what writes


def writes_text(place: Path) -> None:
    write_file(place, "new")


def moves(place: Path) -> None:
    made = place.with_name("made")
    made.write_text("new")
    move_into_place(made, place)


def builds(place: Path) -> None:
    small_program().build(place)


def builds_header(place: Path) -> None:
    """The header of a library goes beside it, under a name that nobody gave."""
    small_program().build(place.with_suffix(".so"), kind="library")


def saves(place: Path) -> None:
    small_program().compile().save(place)


def command(*arguments: str) -> Callable[[Path], None]:
    def run(place: Path) -> None:
        beside = place.parent.parent if place.parent.name == "dumped" else place.parent
        (beside / "program.py").write_text(PROGRAM)
        (beside / "graph.ir").write_text(TEXT)
        done = gradc(*(word.format(place=place) for word in arguments), cwd=beside)
        assert "Traceback" not in done.stderr, done.stderr
        if done.returncode:
            raise gc.FileError(done.stderr)

    return run


# A header's name follows from the library's, a dumped pass's from its number.
NAMES = {"header": "model.h", "gradc opt --dump": "dumped/00-input.ir"}
WRITERS = {
    "write_file": writes_text,
    "move_into_place": moves,
    "build": builds,
    "header": builds_header,
    "save": saves,
    "gradc build": command("build", "program.py", "-o", "{place}"),
    "gradc inspect": command("inspect", "program.py", "--html", "{place}"),
    "gradc opt": command("opt", "graph.ir", "--passes", "cse", "-o", "{place}"),
    "gradc opt --dump": command("opt", "graph.ir", "--passes", "cse", "--dump", "dumped"),
}


def facts(place: Path) -> tuple[int, int, int, tuple[str, ...]]:
    found = place.lstat()
    inside = tuple(sorted(os.listdir(place))) if place.is_dir() else ()
    return stat.S_IFMT(found.st_mode), found.st_ino, found.st_rdev, inside


@needs_compiler
@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda made: made.__name__)
@pytest.mark.parametrize("writer", WRITERS)
def test_only_files_are_replaced(
    writer: str, obstacle: Callable[[Path], None], tmp_path: Path
) -> None:
    place = tmp_path / NAMES.get(writer, "place")
    place.parent.mkdir(exist_ok=True)
    obstacle(place)
    before = facts(place)
    with pytest.raises(gc.FileError):
        WRITERS[writer](place)
    assert facts(place) == before
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".gradc")]


# ---------------------------------------------------------------- what is replaced


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to("folder/target")
    for text in ("made", "replaced"):
        write_file(link, text)
        assert link.is_symlink() and target.read_text() == text
    assert os.listdir(target.parent) == ["target"]


@needs_compiler
def test_a_binary_is_built_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    link = tmp_path / "train"
    link.symlink_to("bin/train-1")
    assert small_program().build(link) == [link]
    assert link.is_symlink() and os.access(tmp_path / "bin" / "train-1", os.X_OK)


@pytest.mark.parametrize(("old", "text", "program"), [
    (0o600, 0o600, 0o700), (0o640, 0o640, 0o750), (0o644, 0o644, 0o755), (0o755, 0o755, 0o755),
])  # fmt: skip
def test_permissions_stay(old: int, text: int, program: int, tmp_path: Path) -> None:
    place, made = tmp_path / "place", tmp_path / "made"
    place.write_text("old")
    place.chmod(old)
    write_file(place, "new")
    assert stat.S_IMODE(place.stat().st_mode) == text
    place.chmod(old)
    made.write_text("program")
    made.chmod(0o755)
    move_into_place(made, place)
    assert stat.S_IMODE(place.stat().st_mode) == program and place.read_text() == "program"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_file(place, "\ud800")
    assert place.read_text() == "old" and os.listdir(tmp_path) == ["place"]
    with pytest.raises(gc.FileError, match="cannot be written: Not a directory"):
        write_file(place / "inside", "new")


def test_an_output_does_not_replace_the_program(tmp_path: Path) -> None:
    place = tmp_path / "program.py"
    place.write_text(PROGRAM)
    for arguments in (["build", "program.py", "-o"], ["inspect", "program.py", "--html"]):
        done = gradc(*arguments, "./program.py", cwd=tmp_path)
        assert done.returncode == 2 and "would replace FILE itself" in done.stderr
    assert place.read_text() == PROGRAM
