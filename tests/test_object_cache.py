"""Code from the disk is run only if it is ours, whole, and in its own place; odd compilers."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support_binary import needs_compiler

import gradc as gc
from gradc import optim
from gradc._training import TrainingProgram
from gradc.compiler import object_cache
from gradc.compiler.aot import toolchain
from gradc.compiler.manifest import unpack
from gradc.compiler.object_cache import ObjectCache

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
needs_root = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="changes owners")
PAYLOAD = b"payload" * 50


@pytest.fixture(autouse=True)
def warned_anew() -> None:
    object_cache._warn.cache_clear()


def small_program(scale: float = 1.0) -> TrainingProgram:
    x = gc.input("x", ("batch", 3))
    w = gc.parameter("w", (3,), init=gc.init.ones)
    return gc.training(gc.mean((x @ w) ** 2) * scale, optim.SGD(lr=0.1), outputs={"y": x @ w})


# ---------------------------------------------------------------- entries


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def test_exchanged_entries_are_not_found(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "c")
    cache.store("one", PAYLOAD)
    cache.store("other", PAYLOAD[::-1])
    exchange(tmp_path / "c" / "one.o", tmp_path / "c" / "other.o")
    assert cache.load("one") is None and cache.load("other") is None
    cache.store("one", PAYLOAD)
    assert cache.load("one") == PAYLOAD


def test_any_exchange_compiles_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry of two programs in the place of every next one: same values, no error."""
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path))
    data = {"x": np.ones((8, 3), np.float32)}

    def results() -> list[object]:
        trainers = [small_program(scale).compile(seed=0) for scale in (1.0, 0.5)]
        return [(t.step(**data), t.evaluate(data), t.predict(**data)["y"].tolist())
                for t in trainers]  # fmt: skip

    expected = results()
    entries = sorted((tmp_path / "objects").iterdir())
    assert len(entries) > 6
    contents = [entry.read_bytes() for entry in entries]
    for entry, content in zip(entries, contents[1:] + contents[:1], strict=True):
        entry.write_bytes(content)
    assert results() == expected
    assert results() == expected  # from the mended entries


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def writable(path: Path) -> None:
    path.chmod(0o666)


def of_the_group(path: Path) -> None:
    path.chmod(0o660)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def of_an_older_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"gradc object 2", b"gradc object 1"))


DAMAGES = (pipe, folder, link, writable, of_the_group, empty, cut, of_an_older_format)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda made: made.__name__)
def test_what_is_no_entry_of_ours_is_absent(damage: Callable[[Path], None], tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "c")
    cache.store("key", PAYLOAD)
    damage(tmp_path / "c" / "key.o")
    assert cache.load("key") is None
    place = tmp_path / "c" / "key.o"
    before = place.lstat()
    cache.store("key", PAYLOAD)  # never an error
    if damage in (pipe, folder, link):  # what is no file is not replaced
        assert cache.load("key") is None and place.lstat().st_ino == before.st_ino
    else:
        assert cache.load("key") == PAYLOAD
    ObjectCache(tmp_path / "c", limit_bytes=0).store("other", PAYLOAD)  # which prunes


@needs_root
def test_an_entry_of_another_user_is_absent(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "c")
    cache.store("key", PAYLOAD)
    os.chown(tmp_path / "c" / "key.o", 65534, 65534)
    assert cache.load("key") is None


@pytest.mark.parametrize("stored", [
    b"", b"\xff" * 8, bytes(8), b"\2" + bytes(7) + b"[]", b"\4" + bytes(7) + b"null",
    b"\2" + bytes(7) + b"{}", b"\x0d" + bytes(7) + b'{"inputs":[]}',
])  # fmt: skip
def test_what_was_not_packed_is_not_unpacked(stored: bytes) -> None:
    assert unpack(stored) is None


# ---------------------------------------------------------------- folders


def nested(tmp_path: Path) -> Path:
    directory = tmp_path / "a" / "b" / "c"
    directory.mkdir(parents=True)
    return directory


def refused(directory: Path, reason: str) -> None:
    with pytest.warns(UserWarning, match=reason) as seen:
        assert ObjectCache(directory).directory is None
    assert f"not cached in {directory}: " in str(seen[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # not a second time
        assert ObjectCache(directory).directory is None


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
@pytest.mark.parametrize("place", ["a", "a/b", "a/b/c"])
def test_a_folder_on_the_way_that_others_may_write(place: str, mode: int, tmp_path: Path) -> None:
    directory = nested(tmp_path)
    assert ObjectCache(directory).directory == directory
    (tmp_path / place).chmod(mode)
    refused(directory, "others may write to (it|.*/a)")
    if place != "a/b/c":
        (tmp_path / place).chmod(mode | 0o1000)  # sticky: nobody renames what is not his
        assert ObjectCache(directory).directory == directory


@needs_root
@pytest.mark.parametrize("place", ["a", "a/b", "a/b/c"])
def test_a_folder_on_the_way_that_belongs_to_another(place: str, tmp_path: Path) -> None:
    directory = nested(tmp_path)
    os.chown(tmp_path / place, 65534, 65534)
    refused(directory, "belongs to user 65534")


def test_links_are_followed_to_what_may_be_written(tmp_path: Path) -> None:
    directory = nested(tmp_path)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "c").mkdir()
    (tmp_path / "link").symlink_to("a/b/../b")
    (tmp_path / "astray").symlink_to(tmp_path / "open")
    (tmp_path / "back").symlink_to("open/home")
    (tmp_path / "open" / "home").symlink_to(directory.parent)
    assert ObjectCache(tmp_path / "link" / "c").directory is not None
    refused(tmp_path / "astray" / "c", "others may write to .*/open")
    refused(tmp_path / "back" / "c", "others may write to .*/open")
    (tmp_path / "circle").symlink_to("circle")
    assert ObjectCache(tmp_path / "circle" / "c").directory is None


def test_folders_that_are_made_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert ObjectCache(tmp_path / "x" / "y" / "z").directory is not None
    finally:
        os.umask(before)
    for place in ("x", "x/y", "x/y/z"):
        assert (tmp_path / place).stat().st_mode & 0o777 == 0o700


def test_a_folder_named_relatively_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = ObjectCache(Path("here"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    cache.store("key", PAYLOAD)
    assert (tmp_path / "here" / "key.o").exists() and cache.load("key") == PAYLOAD


def test_a_program_runs_without_the_cache_and_says_so(tmp_path: Path) -> None:
    nested(tmp_path)
    (tmp_path / "a").chmod(0o777)
    code = (
        "import gradc as gc, numpy as np\nx = gc.input('x', (3,))\n"
        "print(gc.compile({'y': x * 2})(x=np.ones(3))['y'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=os.environ | {"GRADC_CACHE_DIR": str(tmp_path / "a" / "b")},
    )  # fmt: skip
    assert done.stdout == "[2. 2. 2.]\n"
    assert done.stderr.count("compiled code is not cached in") == 1
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- compilers


def script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


OUTPUT = 'while [ "$1" != -o ]; do shift; done\n'
COMPILERS = {
    "nothing": ("exit 0\n", "nothing ended well and made no file"),
    "silent": ("exit 1\n", "silent failed with status 1"),
    "empty": (OUTPUT + ': > "$2"\n', "empty ended well and made something else than a file for"),
    "garbage": (OUTPUT + 'echo garbage > "$2"\n', "garbage ended well and made something else"),
    "folder": (OUTPUT + 'mkdir "$2"\n', "folder ended well and made no file"),
    "binary": ("printf '\\377\\376' >&2; exit 1\n", "binary failed with status 1"),
    "killed": ("kill -9 $$\n", "killed failed with status -9"),
    "chatty": ("yes\n", "chatty prints without end"),
    "hanging": ("sleep 1000 & wait\n", "hanging did not end in 0.5 seconds"),
}


@pytest.mark.parametrize("name", COMPILERS)
def test_odd_compilers_are_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, message = COMPILERS[name]
    monkeypatch.setenv("CC", str(script(tmp_path, name, text)))
    if name == "hanging":
        monkeypatch.setattr(toolchain, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(gc.CompileError) as caught:
        small_program().build(tmp_path / "out", batch=4)
    assert f"build: {message}" in str(caught.value)
    assert not (tmp_path / "out").exists()


@needs_compiler
def test_what_is_no_object_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "cache"))
    compiler = script(tmp_path, "garbage", COMPILERS["garbage"][0])
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(gc.CompileError, match="garbage ended well and made something else"):
        small_program().build(tmp_path / "out", batch=4)
    kept = [path.read_bytes() for path in (tmp_path / "cache").rglob("*.o")]
    assert kept and not any(b"garbage" in entry for entry in kept)  # the generated code alone


def test_a_compiler_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    for named, problem in (
        (plain, f"CC names '{plain}', which is no program that can be run"),
        (tmp_path, f"CC names '{tmp_path}', which is no program that can be run"),
        (tmp_path / "none", f"CC names '{tmp_path}/none', which is not there"),
    ):
        monkeypatch.setenv("CC", str(named))
        with pytest.raises(gc.CompileError) as caught:
            small_program().build(tmp_path / "out", batch=4)
        assert problem in str(caught.value)
    plain.chmod(0o755)  # no #! and no ELF
    monkeypatch.setenv("CC", str(plain))
    with pytest.raises(gc.CompileError, match=r"Exec format error|failed with status"):
        small_program().build(tmp_path / "out", batch=4)


# ---------------------------------------------------------------- hardening


def facts(binary: Path, *options: str) -> str:
    return subprocess.run(
        ["readelf", "-W", *options, binary], capture_output=True, text=True, check=True
    ).stdout


def assert_hardened(binary: Path) -> None:
    assert "DYN (" in facts(binary, "-h")  # position-independent
    segments = facts(binary, "-l")
    assert "GNU_RELRO" in segments
    stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
    assert " RW " in stack and "RWE" not in segments
    assert "NOW" in facts(binary, "-d")


@needs_compiler
@pytest.mark.skipif(not shutil.which("readelf"), reason="no readelf")
def test_binaries_are_hardened(tmp_path: Path) -> None:
    executable = small_program().build(tmp_path / "run", batch=4)[0]
    library = small_program().build(tmp_path / "model.so", kind="library", batch=4)[0]
    for made in (executable, library):
        assert_hardened(made)
        assert "__stack_chk_fail" in facts(made, "--dyn-syms")
    assert "_chk@" in facts(executable, "--dyn-syms").replace("__stack_chk_fail", "")


@pytest.mark.skipif(not shutil.which("readelf"), reason="no readelf")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="zig makes a C library once for each")
def test_static_executables_are_position_independent(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    made = small_program().build(tmp_path / "run", batch=4, platform="x86_64-linux-musl")[0]
    assert_hardened(made)
    assert "INTERP" not in facts(made, "-l") and "NEEDED" not in facts(made, "-d")
    assert subprocess.run([made, "--help"], stdout=subprocess.DEVNULL, check=False).returncode == 0
