"""What the runtime refuses on a device: drivers, devices, tables and kernels that do not fit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support_cuda import StandIn, build_stand_in, module_text, sizes_of, stand_in, stand_in_library
from support_launches import (
    FRAME,
    TableArtifact,
    count_rounds,
    executor_of,
    launch_of,
    modules_of,
    prepared,
    table_of,
)

from gradc.compiler.errors import DeviceError
from gradc.compiler.launches import Function, LaunchTable
from gradc.runtime import Executor
from gradc.runtime.cuda.device import Device

__all__ = ["stand_in", "stand_in_library"]


def _refused(match: str, table: LaunchTable | None = None, modules: Sequence[bytes] = ()) -> str:
    table = table or table_of([launch_of("count", FRAME)])
    with pytest.raises(DeviceError, match=match) as raised:
        artifact: Any = TableArtifact(table, modules or modules_of(table))
        executor = Executor(artifact)
        prepared(executor, artifact.entry).run(0, 1, 4)
    return str(raised.value)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADC_CUDA_DRIVER", "/nowhere/libcuda.so.1")
    message = _refused("there is no CUDA driver on this machine")
    assert "looked for /nowhere/libcuda.so.1" in message


def test_no_device(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_DEVICES", "0")
    _refused("the CUDA driver finds no device")


def test_an_old_driver(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_VERSION", "11080")
    _refused("the CUDA driver is too old: it is for CUDA 11.8, the least is 12.0")


@pytest.mark.parametrize(
    ("built", "device", "runs"),
    [
        ("sm_80", 80, True), ("sm_80", 86, True), ("sm_86", 80, False), ("sm_80", 90, False),
        ("sm_90", 90, True), ("sm_90a", 90, True), ("sm_90", 80, False), ("sm_100", 103, False),
        ("sm_120", 120, True), ("sm_90", 100, False), ("nonsense", 90, False),
    ],
)  # fmt: skip
def test_architectures(stand_in: StandIn, built: str, device: int, runs: bool) -> None:
    stand_in["architecture"] = device
    opened = Device()
    assert opened.architecture == f"sm_{device}"
    if runs:
        opened.check_architecture(built)
        return
    with pytest.raises(DeviceError) as raised:
        opened.check_architecture(built)
    assert str(raised.value) == (
        f"this program was built for {built}, the device is sm_{device}\n"
        "  the device: stand-in device 0\n"
        f'  hint: compile for "cuda:sm_{device}"'
    )


def test_code_of_another_architecture(stand_in: StandIn) -> None:
    table = table_of([launch_of("count", FRAME)])
    modules = [module_text({"count": table.functions[0].parameters}, architecture=80)]
    message = _refused("cannot load this program's code", table, modules)
    assert "CUDA_ERROR_NO_BINARY_FOR_GPU (209): no kernel image is available" in message
    assert "the driver is for CUDA 12.8, the device is sm_90" in message


def test_a_kernel_that_the_module_lacks(stand_in: StandIn) -> None:
    message = _refused("cuModuleGetFunction", modules=[module_text({"other": (8, 8)})])
    assert "CUDA_ERROR_NOT_FOUND (500): named symbol not found" in message


@pytest.mark.parametrize("sizes", [(8, 8), (4, 8, 8), (8, 8, 8, 8)])
def test_parameters_that_differ_from_the_table(stand_in: StandIn, sizes: tuple[int, ...]) -> None:
    message = _refused("takes other parameters", modules=[module_text({"count": sizes})])
    assert f"in the module: {len(sizes)} of {', '.join(map(str, sizes))} bytes" in message
    assert "in the table: 3 of 8, 8, 8 bytes" in message


def test_parameters_are_not_asked_for_where_the_driver_cannot_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_stand_in(tmp_path, "-DWITHOUT_PARAMETER_INFO")
    monkeypatch.setenv("GRADC_CUDA_DRIVER", str(path))
    older = StandIn(path)
    seen = count_rounds(older)
    executor, entry = executor_of(table_of([launch_of("count", FRAME)]))
    prepared(executor, entry).run(0, 1, 4)
    assert seen == [0]


def test_arguments_that_do_not_fit_the_function(stand_in: StandIn) -> None:
    table = table_of([launch_of("count", FRAME)])
    wrong = replace(table.functions[0], parameters=sizes_of((1,)))
    message = _refused(
        "kernel 'count' is launched with arguments that do not fit it",
        replace(table, functions=(wrong,)),
        [module_text({"count": sizes_of((1,))})],
    )
    assert "given: 3 of 8, 8, 8 bytes" in message and "taken: 3 of 4, 8, 8 bytes" in message


@pytest.mark.parametrize(("shared", "runs"), [(49_152, True), (200_000, True), (232_449, False)])
def test_shared_memory(stand_in: StandIn, shared: int, runs: bool) -> None:
    count_rounds(stand_in)
    table = table_of([launch_of("count", FRAME)])
    function: Function = replace(table.functions[0], shared_bytes=shared)
    table = replace(table, functions=(function,))
    if runs:
        executor, entry = executor_of(table)
        prepared(executor, entry).run(0, 3, 4)
        assert not stand_in.errors
        return
    message = _refused("kernel 'count' needs 232,449 bytes of shared memory", table)
    assert "stand-in device 0 has 232,448 bytes for a block" in message


def test_a_launch_that_the_driver_refuses_is_told_of(stand_in: StandIn) -> None:
    table = table_of([launch_of("count", FRAME, grid=(1, 70_000, 1))])
    message = _refused("cuLaunchKernel: the CUDA driver reports CUDA_ERROR_INVALID_VALUE", table)
    assert "kernel 'count': 1 x 70000 x 1 blocks of 128 threads" in message


def test_a_kernel_that_fails(stand_in: StandIn) -> None:
    def fail(*_: Any, grid: Any) -> None:
        raise ZeroDivisionError

    stand_in.kernels["count"] = fail
    _refused("cuStreamSynchronize: the CUDA driver reports CUDA_ERROR_LAUNCH_FAILED")


def test_a_damaged_table(stand_in: StandIn) -> None:
    artifact: Any = TableArtifact(table_of([]), [])
    artifact.entry = replace(artifact.entry, code=artifact.entry.code[:-5] + b"x")
    with pytest.raises(DeviceError, match="cannot be run: this launch table is damaged"):
        prepared(Executor(artifact), artifact.entry)


def test_code_of_the_host_is_none_of_a_device(stand_in: StandIn) -> None:
    artifact: Any = TableArtifact(table_of([]), [])
    artifact.entry = replace(artifact.entry, code=1)
    with pytest.raises(DeviceError, match="entry point 'call' has no code for a CUDA device"):
        prepared(Executor(artifact), artifact.entry)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_is_told(stand_in: StandIn) -> None:
    executor, _ = executor_of(table_of([]))
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            executor.state.snapshot()
            os.write(sending, b"nothing")
        except DeviceError as error:
            os.write(sending, str(error).encode())
        finally:
            os._exit(0)
    os.close(sending)
    with open(receiving, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    assert told.startswith("a process that was forked cannot use the CUDA device of its parent")
    assert executor.state.snapshot() == bytes(64)
