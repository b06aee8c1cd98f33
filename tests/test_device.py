"""What needs an NVIDIA GPU: run by `make test-gpu`, skipped where there is none."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import Case, by_evaluator, in_process
from test_matrix import assert_close, assert_same_bits, example, random_case

import gradc as gc
from gradc.compiler.errors import DeviceError
from gradc.runtime.cuda.device import Block, Device

pytestmark = pytest.mark.gpu

EXAMPLES = {
    "digits": ("digits", 64, 3, 500),
    "digits_cnn": ("digits_cnn", 64, 2, 300),
    "plane_fit": ("plane_fit", 32, 5, 200),
    "xor": ("xor", 4, 50, 4),
}


@pytest.fixture(scope="module")
def device() -> Device:
    if find_spec("triton") is None:
        pytest.skip("kernels for GPUs are compiled by Triton, which is not installed")
    try:
        return Device()
    except DeviceError as error:
        pytest.skip(str(error))


def train(case: Case, folder: Path) -> None:
    here = in_process(1, "cuda")(case, folder)
    again = in_process(1, "cuda")(case, folder)
    assert_same_bits(here, again, f"{case.name}: twice on the device")
    assert_close(by_evaluator(case, folder), here, f"{case.name}: evaluator and device")


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_train_on_the_device_as_elsewhere(
    device: Device, name: str, tmp_path: Path
) -> None:
    train(example(*EXAMPLES[name]), tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_random_programs_train_on_the_device_as_elsewhere(
    device: Device, seed: int, tmp_path: Path
) -> None:
    train(random_case(seed), tmp_path)


def test_memory_comes_back_as_it_went(device: Device) -> None:
    sent = np.random.default_rng(0).integers(0, 256, 1_000_003, np.uint8)
    back = np.zeros_like(sent)
    with device:
        block = Block(device, sent.size, "a test")
        block.upload(sent)
        block.download(back)
        device.synchronize()
    np.testing.assert_array_equal(sent, back)


def test_what_has_no_room_is_refused(device: Device) -> None:
    with device, pytest.raises(gc.DeviceMemoryError, match="the device has no room for a test"):
        Block(device, 1 << 46, "a test")


def test_results_and_inputs_stay_on_the_device(device: Device) -> None:
    x = gc.input("x", (300, 50))
    function = gc.compile({"y": x * 2 + 1}, target="cuda")
    given = np.random.default_rng(0).normal(size=(300, 50)).astype(np.float32)
    found = function.on_device(x=given)["y"]
    again = function.on_device(x=found)["y"]
    expected = (given * 2 + 1) * 2 + 1
    np.testing.assert_allclose(np.asarray(again), expected, rtol=1e-5)
    if find_spec("torch") is not None:
        torch = importlib.import_module("torch")
        tensor = torch.from_dlpack(again)
        del again
        assert tensor.is_cuda and torch.equal(
            tensor.cpu(), torch.from_numpy(function(x=found)["y"])
        )
        np.testing.assert_allclose(function(x=tensor - 1)["y"], (expected - 1) * 2 + 1, rtol=1e-5)


def test_a_function_gives_the_values_of_the_host(device: Device) -> None:
    x = gc.input("x", (300, 50))
    made: Any = gc.tanh(x) @ gc.permute_dims(x, (1, 0))
    given = np.random.default_rng(0).normal(size=(300, 50)).astype(np.float32)
    one, other = (gc.compile(made, target=target)(x=given) for target in ("cpu", "cuda"))
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4)
