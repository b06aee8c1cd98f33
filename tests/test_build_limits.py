"""Building: names, places and sizes at the edge of what a binary can be made of."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path

import pytest

import gradc as gc
import gradc.runtime
from gradc import optim
from gradc._training import TrainingProgram
from gradc.compiler.aot.header import ALL_FUNCTIONS
from gradc.compiler.aot.model import (
    RANK_MAXIMUM,
    RESERVED_NAMES,
    RESULTS_MAXIMUM,
    identifiers,
    model_name,
)
from gradc.compiler.aot.toolchain import find_toolchain

NATIVE = Path(gradc.runtime.__file__).parent / "native"


def program(shape: tuple[int, ...] = (3,)) -> TrainingProgram:
    w = gc.parameter("w", shape, init=gc.init.ones)
    return gc.training(gc.sum(w * w), optim.SGD(lr=0.1))


def test_functions_of_a_model_are_none_of_the_runtimes() -> None:
    """All are linked together: gradc_text_free could not be a library's and the runtime's."""
    text = "\n".join(path.read_text() for path in NATIVE.glob("*.[ch]"))
    symbols = set(re.findall(r"\bgradc_(\w+)\(", text))
    endings = tuple(f"_{function}" for function in ALL_FUNCTIONS)
    clashing = {s.removesuffix(e) for s in symbols for e in endings if s.endswith(e)}
    assert clashing and clashing <= RESERVED_NAMES
    for name in clashing:
        assert model_name(name) == f"model_{name}"


def test_a_library_may_have_a_name_of_the_runtime(tmp_path: Path) -> None:
    made = program().build(tmp_path / "libtext.so", kind="library")
    assert [path.name for path in made] == ["libtext.so", "model_text.h"]


def test_words_that_a_header_cannot_use() -> None:
    assert identifiers(("class", "new", "int64_t", "results", "bool")) == (
        "class_", "new_", "int64_t_", "results_", "bool_",
    )  # fmt: skip


def test_tensors_of_too_many_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program((1,) * RANK_MAXIMUM).build(tmp_path / "most")
    with pytest.raises(gc.ShapeError, match="the result has 33 axes; at most 32 are possible"):
        program((1,) * (RANK_MAXIMUM + 1))
    # A graph from elsewhere might have more than the functions of a model make.
    monkeypatch.setattr(importlib.import_module("gradc.nodes"), "RANK_MAXIMUM", 64)
    with pytest.raises(gc.ArgumentError) as caught:
        program((1,) * (RANK_MAXIMUM + 1)).build(tmp_path / "more")
    assert "build: 'w' has 33 axes, a binary's tensors at most 32" in str(caught.value)


def test_limits_are_those_of_the_runtime() -> None:
    text = "\n".join(path.read_text() for path in NATIVE.glob("*.h"))
    for name, value in (("MAX_RANK", RANK_MAXIMUM), ("RESULTS_MAXIMUM", RESULTS_MAXIMUM)):
        assert re.findall(rf"#define GRADC_{name} (\d+)", text) == [str(value)]


def test_more_results_than_can_be_numbered(tmp_path: Path) -> None:
    w = gc.parameter("w", (3,), init=gc.init.ones)
    metrics = {f"m{n}": gc.sum(w) for n in range(RESULTS_MAXIMUM)}
    too_many = gc.training(gc.sum(w * w), optim.SGD(lr=0.1), metrics=metrics)
    with pytest.raises(gc.ArgumentError, match="at most 127 results, this program has 128"):
        too_many.build(tmp_path / "more")


def test_object_files_are_for_the_machine_itself(tmp_path: Path) -> None:
    pytest.importorskip("ziglang")
    with pytest.raises(gc.ArgumentError, match="object files are joined by the machine's own"):
        program().build(tmp_path / "out.o", kind="object", platform="x86_64-linux-musl")


def test_a_compiler_that_is_named_and_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc-of-another-machine -g")
    with pytest.raises(gc.CompileError) as caught:
        find_toolchain("host")
    assert str(caught.value) == "build: CC names 'cc-of-another-machine', which is not there"


def test_a_folder_with_a_difficult_name(tmp_path: Path) -> None:
    folder = tmp_path / 'a, b "c" \\d'
    folder.mkdir()
    assert program().build(folder / "libeasy.so", kind="library")[0].exists()


def test_a_folder_in_the_place_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "easy.h").mkdir()
    library = tmp_path / "libeasy.so"
    library.write_text("what was there")
    with pytest.raises(gc.FileError, match=r"easy\.h: is a directory"):
        program().build(library, kind="library")
    assert library.read_text() == "what was there"


def test_a_compiler_behind_a_wrapper_is_part_of_the_cache_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapper, compiler = tmp_path / "wrap", tmp_path / "my-cc"
    wrapper.write_text('#!/bin/sh\nexec "$@"\n')
    shutil.copy(str(shutil.which("cc")), compiler)
    for path in (wrapper, compiler):
        path.chmod(0o755)
    monkeypatch.setenv("CC", f"{wrapper} {compiler}")
    before = find_toolchain("host").identity()
    compiler.write_bytes(compiler.read_bytes() + b"\0")
    assert find_toolchain("host").identity() != before
