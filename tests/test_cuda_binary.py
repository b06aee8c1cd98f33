"""Executables for a device: launch tables made by hand, run on the stand-in for the driver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import outcome_of
from support_binary import files
from support_build import small_program
from support_cuda import (
    FLAGS,
    function_of,
    module_text,
    sizes_of,
    stand_in_library,
)

import gradc.runtime
from gradc.compiler.aot.build import BuildOptions, build
from gradc.compiler.aot.model import Declaration
from gradc.compiler.artifact import Device, EntryPoint
from gradc.compiler.driver import CompiledProgram
from gradc.compiler.errors import ArgumentError
from gradc.compiler.launches import (
    FIRST_COUNTER_SLOT,
    If,
    Instruction,
    Launch,
    LaunchTable,
    Pointer,
    Repeat,
    While,
    pack,
    unpack,
)
from gradc.optim import schedule
from gradc.runtime.checkpoint import read_checkpoint
from gradc.runtime.cuda.driver import LIBRARY_VARIABLE

__all__ = ["stand_in_library"]

BATCH = 8
Instructions = tuple[Instruction, ...]
COUNTER = FIRST_COUNTER_SLOT
ARENA, FRAME, ORDER, X, Y, TABLE = (
    Pointer("arena"), Pointer("frame"), Pointer("order"), Pointer("input"), Pointer("input", 1),
    Pointer("table", 0, 16),
)  # fmt: skip


class _OnDevice(CompiledProgram):
    """The regression of `small_program` whose entry points are launch tables."""

    architecture = 90

    @property
    def device(self) -> Device:
        return "cuda"

    def variant(
        self, kind: str, dims: Mapping[str, int] | None = None, bounded: bool = False
    ) -> EntryPoint:
        entry = super().variant(kind, dims, bounded)
        code = self._code(kind, entry.bounded)
        return EntryPoint(**{**vars(entry), "code": code, "arena_bytes": 64})

    def _place(self, name: str) -> Pointer:
        field = next(field for field in self.state if field.name == name)
        return Pointer("state", 0, field.offset_bytes)

    def _code(self, kind: str, bounded: bool) -> bytes:
        w, rate, step = map(self._place, ("w", "optimizer.lr", "gradc.step"))
        out = Pointer("output")
        row = _launch("row", ARENA, FRAME, ORDER, X, Y, w)
        loop: Instruction = Repeat(COUNTER, BATCH, None, 8, bounded, 1, (row,))
        if kind == "evaluate":  # as long as rows are left
            loop = While(Pointer("arena", 0, 8), COUNTER, BATCH + 1, (row,))
        update = _launch("update", ARENA, FRAME, w, rate, step)
        steps: dict[str, Instructions] = {
            "init": (_launch("init", w, rate),),
            "run": (
                _launch("begin", ARENA, FRAME, 1),
                loop,
                _launch("tell", ARENA, FRAME, out),
                If(ARENA, (update,), ()),
            ),
            "evaluate": (
                _launch("begin", ARENA, FRAME, 0),
                loop,
                If(ARENA, (update,), (_launch("tell", ARENA, FRAME, out),)),
            ),
            "predict": (_launch("predict", FRAME, ORDER, X, w, TABLE, out),),
        }
        bytes_of_step = {"init": (), "epoch": (), "predict": (4 * BATCH,)}.get(kind, (4,))
        steps |= self._more(steps)
        packed = _packed(steps[kind], bytes_of_step, self.architecture)
        return self._told(kind, packed)

    def _more(self, steps: Mapping[str, Instructions]) -> dict[str, Instructions]:
        return {}

    def _told(self, kind: str, packed: bytes) -> bytes:
        return packed


class _AtOnce(_OnDevice):
    """The same, where one launch does many steps of a training."""

    def _more(self, steps: Mapping[str, Instructions]) -> dict[str, Instructions]:
        w, rate, step = map(self._place, ("w", "optimizer.lr", "gradc.step"))
        given = (ARENA, FRAME, ORDER, X, Y, w, Pointer("output"), rate, step)
        return {"run": (_launch("steps", *given),)}

    def _told(self, kind: str, packed: bytes) -> bytes:
        if kind != "run":
            return packed
        table, modules = unpack(packed)
        return pack(replace(table, steps_slot=COUNTER + 1, frame_slots=COUNTER + 3), modules)


class _Falling(_OnDevice):
    """The same, at a rate that falls."""

    def _more(self, steps: Mapping[str, Instructions]) -> dict[str, Instructions]:
        lr = "optimizer.lr"
        names = ("optimizer.watched0", f"{lr}.best", f"{lr}.bad_epochs", lr)
        places = [self._place(name) for name in names]
        init = (*steps["init"], _launch("worst", places[1]))
        return {"init": init, "epoch": (_launch("epoch", *places),)}


class _Older(_OnDevice):
    architecture = 80


def _launch(name: str, *arguments: Pointer | int) -> Launch:
    return Launch(name, 0, (1, 1, 1), arguments)


def _packed(step: tuple[Instruction, ...], outputs: tuple[int, ...], architecture: int) -> bytes:
    """A table with a module for each kernel."""
    found: list[Launch] = []

    def number(body: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
        made: list[Instruction] = []
        for item in body:
            if isinstance(item, Launch):
                found.append(item)
                made.append(Launch(item.kernel, len(found) - 1, item.grid, item.arguments))
            elif isinstance(item, If):
                made.append(If(item.flag, number(item.then), number(item.otherwise)))
            else:
                made.append(type(item)(**{**vars(item), "body": number(item.body)}))
        return tuple(made)

    numbered = number(step)
    functions = tuple(function_of(launch, n) for n, launch in enumerate(found))
    table = LaunchTable(
        f"sm_{architecture}", functions, (), numbered, (), outputs, BATCH, 4, 64, None, (),
        bytes(16) + np.float32(1).tobytes(),
    )  # fmt: skip
    modules = [module_text({n.kernel: sizes_of(n.arguments)}, architecture) for n in found]
    return pack(table, modules)


def _build(out: Path, *programs: type[CompiledProgram], **options: Any) -> Path:
    program = small_program(rate=options.pop("rate", 0.1))
    compiled = [kind(program.graphs, program.batch_dimension) for kind in programs]
    declaration = Declaration(
        "fit", program.inputs, ("loss",), (), program.outputs, BATCH, 0.1, program.monitors
    )
    native = Path(gradc.runtime.__file__ or "").parent / "native"
    build(compiled[0], declaration, out, BuildOptions(**options), native, compiled[1:])
    return out


class _Binaries:
    """The same program for the host and for devices, its data in files, and the stand-in."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder = folder
        self.host = _build(folder / "host", CompiledProgram)
        self.device = _build(folder / "device", _OnDevice)
        self.at_once = _build(folder / "at_once", _AtOnce)
        self.both = _build(folder / "both", _Older, _OnDevice)
        kernels = folder / "kernels.so"
        source = Path(__file__).parent / "gpu_kernels.c"
        subprocess.run(["cc", *FLAGS, "-o", str(kernels), str(source)], check=True)
        self.environment = {
            LIBRARY_VARIABLE: str(library),
            "STAND_IN_KERNELS": str(kernels),
            "STAND_IN_REPORT": str(folder / "report"),
        }
        generator = np.random.default_rng(0)
        x = generator.normal(size=(45, 3)).astype(np.float32)
        y = (x @ np.array([1, -2, 0.5]) + 0.1 * generator.normal(size=45)).astype(np.float32)
        self.x = x
        self.data = files(folder, {"x": x[:30], "y": y[:30]})
        self.held_out = [
            word.replace("--data", "--validate")
            for word in files(_made(folder / "held"), {"x": x[30:], "y": y[30:]})
        ]

    def run(
        self, binary: Path, *words: str, status: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(binary), "--quiet", *words, *self.data],
            env={**os.environ, **self.environment, **environment},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def report(self) -> dict[str, str]:
        """What the stand-in says at the end of a run."""
        lines = (self.folder / "report").read_text().splitlines()
        return dict(line.partition(" ")[::2] for line in lines)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory, stand_in_library: Path) -> _Binaries:
    return _Binaries(tmp_path_factory.mktemp("binaries"), stand_in_library)


@pytest.mark.parametrize(
    "words", ["", "--drop-last", "--no-shuffle --lr=0.02", "VALIDATE --patience=2", "VALIDATE"]
)
def test_it_trains_as_the_host_does(binaries: _Binaries, words: str, tmp_path: Path) -> None:
    given: list[str] = []
    for word in words.split():
        given += binaries.held_out if word == "VALIDATE" else [word]
    outcomes = []
    for binary in (binaries.host, binaries.device):
        file = tmp_path / binary.name
        binaries.run(binary, "--epochs=20", f"--checkpoint={file}", *given)
        outcomes.append((outcome_of(file), read_checkpoint(file)))
    (host, host_file), (device, device_file) = outcomes
    np.testing.assert_allclose(device.losses, host.losses, rtol=1e-5)
    np.testing.assert_allclose(device.parameters["w"], host.parameters["w"], rtol=1e-5)
    assert host_file.record is not None and device_file.record is not None
    assert device_file.record.history.keys() == host_file.record.history.keys()
    for name, column in host_file.record.history.items():
        np.testing.assert_allclose(device_file.record.history[name], column, rtol=1e-5)
    assert device_file.record.best_epoch == host_file.record.best_epoch
    report = binaries.report()
    assert int(report["graph_launches"]) > int(report["captures"]) > 0
    kinds = ("faults", "blocks", "pinned", "modules", "streams", "graphs", "execs", "contexts")
    assert {kind: report[kind] for kind in kinds} == dict.fromkeys(kinds, "0"), report["fault"]


@pytest.mark.parametrize("words", ["", "--no-shuffle --lr=0.02"])
def test_many_steps_at_once_are_those_of_one_by_one(
    binaries: _Binaries, words: str, tmp_path: Path
) -> None:
    """Also of the last batch, which has fewer rows."""
    ended, launches = [], []
    for binary in (binaries.device, binaries.at_once):
        file = tmp_path / binary.name
        binaries.run(binary, "--epochs=20", f"--checkpoint={file}", *words.split())
        ended.append(file.read_bytes())
        launches.append(int(binaries.report()["launches"]))
        assert binaries.report()["faults"] == "0", binaries.report()["fault"]
    assert ended[0] == ended[1]
    assert launches[1] < launches[0] / 10


def test_a_rate_falls_as_on_the_host(binaries: _Binaries, tmp_path: Path) -> None:
    """At the end of an epoch the state is in the host's memory for a moment, and back."""
    rate, rates = schedule.plateau(0.1, factor=0.5, patience=0, threshold=0.05), []
    for kind in (CompiledProgram, _Falling):
        binary, file = _build(tmp_path / kind.__name__, kind, rate=rate), tmp_path / "file"
        binaries.run(binary, "--epochs=9", f"--checkpoint={file}", *binaries.held_out)
        read = read_checkpoint(file)
        assert read.record is not None
        last = list(read.record.history["validation_loss"])[-1]
        assert read.tensors["optimizer.watched0"] == last
        rates.append(float(read.tensors["optimizer.lr"]))
    assert rates[0] == rates[1] < 0.1
    report = binaries.report()
    assert report["faults"] == "0", report["fault"]


def test_resumed_it_ends_with_the_same_bytes(binaries: _Binaries, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    words = [*binaries.held_out, "--seed=3"]
    binaries.run(binaries.device, "--epochs=6", f"--checkpoint={whole}", *words)
    for epochs in (2, 3, 6):
        resumed = ["--resume"] * (epochs > 2)
        binaries.run(
            binaries.device, f"--epochs={epochs}", f"--checkpoint={parts}", *resumed, *words
        )
    assert whole.read_bytes() == parts.read_bytes()


@pytest.mark.parametrize("first", ["host", "device"])
def test_a_checkpoint_moves(binaries: _Binaries, first: str, tmp_path: Path) -> None:
    """Half of the run on a device, half of it on the host."""
    moved, whole = tmp_path / "moved", tmp_path / "whole"
    kinds = [binaries.host, binaries.device]
    if first == "device":
        kinds.reverse()
    binaries.run(kinds[0], "--epochs=3", f"--checkpoint={moved}")
    binaries.run(kinds[1], "--epochs=6", f"--checkpoint={moved}", "--resume")
    binaries.run(kinds[0], "--epochs=6", f"--checkpoint={whole}")
    np.testing.assert_allclose(outcome_of(moved).losses, outcome_of(whole).losses, rtol=1e-5)


def test_it_predicts(binaries: _Binaries, tmp_path: Path) -> None:
    file, out = tmp_path / "run", tmp_path / "z.npy"
    binaries.run(binaries.device, "--epochs=2", f"--checkpoint={file}")
    binaries.run(binaries.device, f"--checkpoint={file}", f"--predict={out}")
    w = outcome_of(file).parameters["w"]
    np.testing.assert_allclose(np.load(out), binaries.x[:30] @ w, rtol=1e-5, atol=1e-6)


def test_the_architecture_is_chosen_at_start(binaries: _Binaries) -> None:
    for built in ("90", "80"):
        binaries.run(binaries.both, "--epochs=1", STAND_IN_ARCHITECTURE=built)
    # Code for 8.0 is taken on 8.6, where the stand-in, which is strict, loads none of it.
    later = binaries.run(binaries.both, "--epochs=1", status=1, STAND_IN_ARCHITECTURE="86")
    assert "CUDA_ERROR_NO_BINARY_FOR_GPU" in later.stderr
    other = binaries.run(binaries.both, "--epochs=1", status=1, STAND_IN_ARCHITECTURE="75")
    assert other.stderr == (
        "fit: this program was built for sm_90, sm_80, the device is sm_75: stand-in device 0\n"
    )


def test_what_is_refused(binaries: _Binaries) -> None:
    def said(**environment: str) -> str:
        return binaries.run(binaries.device, "--epochs=1", status=1, **environment).stderr

    missing = said(GRADC_CUDA_DRIVER="/nowhere/libcuda.so.1")
    assert missing.startswith(
        "fit: there is no CUDA driver on this machine: /nowhere/libcuda.so.1:"
    )
    assert said(STAND_IN_DEVICES="0") == "fit: the CUDA driver finds no device\n"
    old = "fit: the CUDA driver is too old: it is for CUDA 11.4, the least is 12.0\n"
    assert said(STAND_IN_VERSION="11040") == old
    room = said(STAND_IN_MEMORY_BYTES="600")
    assert room.startswith("fit: the device has no room for input 'x': needed are 360 bytes, free ")
    failed = said(STAND_IN_KERNELS="")
    assert failed.startswith("fit: cuStreamSynchronize: the CUDA driver reports CUDA_ERROR_LAUNCH_")


def test_it_says_what_it_is(binaries: _Binaries) -> None:
    facts = json.loads(binaries.run(binaries.both, "--describe").stdout)
    assert facts["gpu"] == ["sm_90", "sm_80"] and "cpu" not in facts
    host = json.loads(binaries.run(binaries.host, "--describe").stdout)
    assert host["fingerprint"] == facts["fingerprint"]


def test_it_needs_libc_alone(binaries: _Binaries) -> None:
    if shutil.which("ldd") is None:
        pytest.skip("needs ldd")
    done = subprocess.run(["ldd", str(binaries.device)], capture_output=True, text=True, check=True)
    assert "cuda" not in done.stdout


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "library"}, "built as an executable, not as library"),
        ({"cpu": "portable"}, "cpu has no meaning for a CUDA device"),
    ],
)
def test_what_is_not_built(options: dict[str, str], match: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=match):
        _build(tmp_path / "none", _OnDevice, **options)


def test_an_architecture_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="an architecture is named twice: sm_90, sm_90"):
        _build(tmp_path / "none", _OnDevice, _OnDevice)
