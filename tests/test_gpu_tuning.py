"""Schedules by measurement on a stand-in for a device: what is tried, chosen, kept and found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support_cuda import StandIn, module_text, stand_in, stand_in_library  # noqa: F401

import gradc as gc
from gradc import nn, optim
from gradc.compiled import driver_program
from gradc.compiler.driver import CompiledProgram
from gradc.compiler.errors import ArgumentError, CompileError, DeviceError
from gradc.compiler.inspect import explain
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.ir import points_of
from gradc.compiler.loops.schedule import Grid, Products
from gradc.compiler.object_cache import ObjectCache
from gradc.compiler.program.ir import Program
from gradc.compiler.scheduling.candidates import candidates, rounds_of
from gradc.compiler.triton import tune
from gradc.compiler.triton.cubin import Cubin
from gradc.compiler.triton.kernels import KernelText, emit_kernel
from gradc.runtime.cuda.driver import LIBRARY_VARIABLE

TARGET = "cuda:sm_90"
SIDE = 256


class Compiling:
    """In Triton's place: modules that the stand-in loads, and kernels that move its clock on.

    cost     nanoseconds of a run of a kernel, by its text; None: the text is refused
    """

    def __init__(self, device: StandIn, cost: Callable[[KernelText], int | None]) -> None:
        self.device, self.cost = device, cost
        self.texts: list[KernelText] = []

    def __call__(
        self, kernels: Sequence[KernelText], architecture: Any, cache: ObjectCache
    ) -> list[Cubin]:
        return [self._compiled(kernel) for kernel in kernels]

    def _compiled(self, kernel: KernelText) -> Cubin:
        self.texts.append(kernel)
        cost = self.cost(kernel)
        if cost is None:
            raise CompileError("Triton refuses the text of a kernel")
        own = (4 if kind == "i32" else 8 for _, kind in kernel.signature)
        sizes = (*own, 8, 8)

        def run(*values: int, grid: tuple[int, ...]) -> None:
            assert grid == kernel.programs
            self.device["clock_ns"] += cost

        self.device.kernels[kernel.name] = run
        code = module_text({kernel.name: sizes})
        return Cubin(code, kernel.name, 32 * kernel.warps, 0, 0, sizes)


@pytest.fixture
def compiling(
    stand_in: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Compiling:
    made = Compiling(stand_in, lambda kernel: 5_000)
    monkeypatch.setattr(tune, "compile_kernels", made)
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "cache"))
    return made


def regression() -> Any:
    x = gc.input("x", ("batch", SIDE))
    y = gc.input("y", ("batch", SIDE))
    return gc.training(gc.mse_loss(nn.Linear(SIDE, SIDE)(x), y), optimizer=optim.SGD(lr=0.1))


def planned(program: Any, tune: bool | str) -> tuple[Program, CompiledProgram]:
    compiled = driver_program(program.graphs, "batch", TARGET, "float32", tune=tune)
    return compiled.lowered("run", {"batch": SIDE}, False), compiled


def test_the_fastest_is_chosen_kept_and_found_again(
    compiling: Compiling,
    stand_in: StandIn,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tiles of 128 x 32 by four warps in two stages are what this device likes."""

    def cost(kernel: KernelText) -> int:
        found = kernel.programs[0] == 16 and (kernel.warps, kernel.stages) == (4, 2)
        return 1_000 if found else 5_000 - 500 * (kernel.programs[0] == 16)

    compiling.cost = cost
    program = regression()
    by_rule, _ = planned(program, False)
    with stand_in.watched():
        tuned, _ = planned(program, True)
    products = [k for k in tuned.kernels() if isinstance(k.schedule, Products)]
    assert len(products) == 2
    for kernel in products:
        schedule = kernel.schedule
        assert isinstance(schedule, Products)
        assert (schedule.warps, schedule.stages) == (4, 2)
        assert schedule.tile[0] * schedule.tile[1] == SIDE * SIDE // 16
    why = f"1.00 us on {device_name()}, 5.00 us by rule"
    assert why in explain(tuned) and "fastest of" in explain(tuned)
    assert "stages 2" in explain(tuned) and "us by rule" not in explain(by_rule)
    # nothing that decides bits has changed
    for before, after in zip(by_rule.kernels(), tuned.kernels(), strict=True):
        assert [loop.order for loop in before.loops] == [loop.order for loop in after.loops]
    # another program with these kernels asks no device, and there need not be one
    launches, texts = stand_in["launches"], len(compiling.texts)
    assert launches > 0
    name = device_name()
    monkeypatch.setenv(LIBRARY_VARIABLE, "/nowhere/libcuda.so.1")
    again, _ = planned(regression(), name)
    assert [k.schedule for k in again.kernels()] == [k.schedule for k in tuned.kernels()]
    assert (stand_in["launches"], len(compiling.texts)) == (launches, texts)


def device_name() -> str:
    from gradc.runtime.cuda.device import Device

    return Device().name


def test_a_rule_stays_unless_another_is_faster_by_a_margin(compiling: Compiling) -> None:
    compiling.cost = lambda kernel: 5_000 - 100 * (kernel.stages == 2)
    program = regression()
    by_rule, _ = planned(program, False)
    tuned, _ = planned(program, True)
    assert [k.schedule for k in tuned.kernels()] == [k.schedule for k in by_rule.kernels()]


def test_kernels_of_persistent_loops_share_threads_and_are_left_alone(
    compiling: Compiling,
) -> None:
    x = gc.input("x", ("batch", 2))
    program = gc.training(gc.mean(nn.Linear(2, 2)(x) ** 2), optimizer=optim.SGD(lr=0.1))
    compiled = driver_program(program.graphs, "batch", TARGET, "float32", tune=True)
    tuned = compiled.lowered("run", {"batch": 4}, False)
    assert tuned.steps is not None and tuned.steps.persistent and not compiling.texts


def test_what_triton_refuses_is_no_candidate(compiling: Compiling) -> None:
    compiling.cost = lambda kernel: (
        None if kernel.stages == 2 else 5_000 - 1_000 * (kernel.stages == 4)
    )
    tuned, _ = planned(regression(), True)
    stages = {k.schedule.stages for k in tuned.kernels() if isinstance(k.schedule, Products)}
    assert stages == {4}
    compiling.cost = lambda kernel: None
    x = gc.input("x", ("batch", SIDE))
    other = gc.training(gc.mean(nn.Linear(SIDE, 2 * SIDE)(x) ** 2), optimizer=optim.SGD(lr=0.1))
    planned(other, True)  # the rule's own schedule is refused: for the compiler to say


def test_without_a_device_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(LIBRARY_VARIABLE, "/nowhere/libcuda.so.1")
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path))
    with pytest.raises(DeviceError, match="tune measures on a GPU, and there is none here"):
        regression().compile(target=TARGET, tune=True)
    with pytest.raises(DeviceError, match="not been tuned on NVIDIA H200 yet") as found:
        planned(regression(), "NVIDIA H200")
    assert "bring its cache here" in str(found.value)
    with pytest.raises(ArgumentError, match="a CPU's schedules follow from rules alone"):
        regression().compile(tune=True)
    x = gc.input("x", (3,))
    with pytest.raises(ArgumentError, match="tune is True or False, not 3"):
        gc.compile(x + 1, target=TARGET, tune=3)


def test_tuning_for_a_device_that_is_not_here_is_refused(compiling: Compiling) -> None:
    with pytest.raises(DeviceError, match=f"the device here is {device_name()}"):
        planned(regression(), "NVIDIA H200")


def kernels_of_models() -> list[Any]:
    x = gc.input("x", ("batch", 3, 16, 16))
    y = gc.input("y", ("batch",), gc.int32)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(16 * 64, 10),
    )  # fmt: skip
    step = gc.training(gc.cross_entropy(model(x), y), optimizer=optim.Adam(lr=0.1))
    found = []
    for program in (step, regression()):
        for precision in ("float32", "tf32", "bf16"):
            graphs = program.graphs
            compiled = driver_program(graphs, "batch", TARGET, precision)
            found += compiled.lowered("run", {"batch": 64}, False).kernels()
    return found


def test_candidates_are_schedules_of_the_same_sums() -> None:
    tried = 0
    for kernel in kernels_of_models():
        for number in range(rounds_of(kernel)):
            for schedule in candidates(kernel, kernel.schedule, number):
                tried += 1
                other = type(kernel)(**{**fields(kernel), "schedule": schedule})
                verify_kernel(other)
                emitted = emit_kernel(other, "k")
                assert emitted.warps == schedule.warps  # type: ignore[union-attr]
                rule = kernel.schedule
                assert type(schedule) is type(rule)
                if isinstance(schedule, Grid):
                    assert schedule.terms == rule.terms and schedule.walk == rule.walk
                    covered = emitted.programs[0] * schedule.points
                    assert covered >= points_of(kernel.axes) > covered - schedule.points
                else:
                    assert isinstance(schedule, Products)
                    assert schedule.precision == rule.precision and schedule.rows == rule.rows
                    block = kernel.loops[0].order.block
                    assert block is None or block.points % schedule.tile[2] == 0
    assert tried > 200


def fields(kernel: Any) -> dict[str, Any]:
    names = ("name", "axes", "loops", "description", "flops", "schedule", "when")
    return {name: getattr(kernel, name) for name in names}


def test_sums_in_lanes_are_left_alone() -> None:
    """Their tree follows from how many threads share it."""
    x = gc.input("x", (64, 1000))
    compiled = driver_program({"call": graph_of(gc.sum(x, axis=1))}, None, TARGET, "float32")
    (kernel,) = compiled.lowered("call", {}, False).kernels()
    assert kernel.schedule.terms > 1 and rounds_of(kernel) == 0
    compiled = driver_program({"call": graph_of(gc.max(x, axis=1))}, None, TARGET, "float32")
    (kernel,) = compiled.lowered("call", {}, False).kernels()
    assert kernel.schedule.terms > 1 and rounds_of(kernel) == 1


def graph_of(tensor: Any) -> Any:
    from gradc.compiler.graph.text_parse import parse_graph

    return parse_graph(str(gc.graph({"y": tensor})), "test.ir")
