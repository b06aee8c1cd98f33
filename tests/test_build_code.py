"""The code of a binary: its forms, made by one process or two, for each machine its own."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support_build import small_program, wide_program

import gradc as gc
from gradc import nn, optim
from gradc.compiled import driver_program
from gradc.compiler.aot import code
from gradc.compiler.aot.code import divide
from gradc.compiler.cpu_llvm.backend import Backend, LinkedModule
from gradc.compiler.loops.schedule import Tiles
from gradc.compiler.program.ir import Program

ON_X86 = platform.machine() in ("x86_64", "AMD64")


def test_functions_of_both_halves_are_shared_out() -> None:
    first, second = {"a": 10, "both": 7, "x": 5}, {"b": 4, "both": 7, "x": 5}
    elsewhere = divide(first, second)
    assert elsewhere == ({"both"}, {"x"})  # 10 and 4; the longest to the second: 11; then the first
    assert divide(first, {}) == (frozenset(), frozenset())


def test_one_process_and_two_make_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADC_CACHE_DIR", "off")
    program = wide_program()
    compiled = driver_program(program.graphs, "batch", "cpu", "float32")
    monkeypatch.setattr(code, "_can_fork", lambda: False)
    alone = code.compile_code(compiled, 16, ("native",))
    monkeypatch.setattr(code, "_can_fork", lambda: True)
    both = code.compile_code(compiled, 16, ("native",))
    assert both.objects == alone.objects and both.entries == alone.entries


def recurrent_program() -> gc.TrainingProgram:
    """A layer whose weights' gradients are sums over steps, then rows."""
    x = gc.input("x", ("batch", 6, 3))
    _, h = nn.GRU(3, 12, batch_first=True)(x)
    return gc.training(gc.mean(h * h) + gc.mean(gc.abs(h)), optimizer=optim.SGD(lr=0.5))


def test_one_form_trains_unless_full_batches_have_their_own() -> None:
    """What a loop in registers does for full batches, another form has to do for fewer rows; and
    full batches are added as in process."""
    for program, names in (
        (wide_program(), {"init", "run", "evaluate", "predict"}),
        (small_program(), {"init", "run", "run_ragged", "evaluate", "predict"}),
        (recurrent_program(), {"init", "run", "run_ragged", "evaluate", "predict"}),
    ):
        compiled = driver_program(program.graphs, "batch", "cpu", "float32")
        entries = code.compile_code(compiled, 16, ("native",)).entries
        assert entries.keys() == names
        assert entries["run"].bounded == ("run_ragged" not in names)


@pytest.mark.skipif(not ON_X86, reason="code for x86-64")
def test_each_version_is_planned_for_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles that fill the registers of the one do not fit into those of the other."""
    seen: dict[str, set[tuple[int, int]]] = {}
    original = Backend.emit_for_linking

    def recorded(self: Backend, programs: Mapping[str, Program], name: str) -> list[LinkedModule]:
        kernels = [kernel for program in programs.values() for kernel in program.kernels()]
        tiles = {k.schedule.tile for k in kernels if isinstance(k.schedule, Tiles)}
        seen.setdefault(self.target.name, set()).update(tiles)
        return original(self, programs, name)

    monkeypatch.setattr(Backend, "emit_for_linking", recorded)
    monkeypatch.setattr(code, "_can_fork", lambda: False)
    compiled = driver_program(wide_program().graphs, "batch", "cpu", "float32")
    made = code.compile_code(compiled, 16, ("x86-64-v4", "x86-64-v3"))
    assert seen.keys() == {"x86-64-v4", "x86-64-v3"} and len(made.versions) == 2
    assert seen["x86-64-v4"] and seen["x86-64-v3"]
    assert not seen["x86-64-v4"] & seen["x86-64-v3"]
    with_one = [code.compile_code(compiled, 16, (cpu,)).entries for cpu in seen]
    for name, entry in made.entries.items():
        assert entry.arena_bytes == max(entries[name].arena_bytes for entries in with_one)
        assert entry.workspace_bytes == max(entries[name].workspace_bytes for entries in with_one)


@pytest.mark.parametrize("dies", [False, True])
def test_what_goes_wrong_in_the_child_is_told(dies: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def emit(half: Any) -> None:
        if "predict" in half._kinds:
            if dies:
                os._exit(1)
            raise gc.CompileError("kernel k3 does not compile", operation="emit")
        half.__class__.whole_emit(half)

    monkeypatch.setattr(code._Half, "whole_emit", code._Half.emit, raising=False)
    monkeypatch.setattr(code._Half, "emit", emit)
    monkeypatch.setattr(code, "_can_fork", lambda: True)
    compiled = driver_program(small_program().graphs, "batch", "cpu", "float32")
    message = "the compiler's second process died" if dies else "emit: kernel k3 does not compile"
    with pytest.raises(gc.CompileError) as caught:
        code.compile_code(compiled, 16, ("native",))
    assert message in str(caught.value)
