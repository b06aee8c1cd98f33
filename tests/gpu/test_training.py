"""Whole training runs on a device, as far as that goes without one: run by `make test-triton`.

The back end's cubins, its launch tables, the runtime and the trainer together, and in executables
the runtime in C: losses are those of the CPU and of the evaluator, and a run in process and one of
the executable end with the same bytes. See device.py for what the device is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gpu.device import TARGET, interpreted_device
from gpu.programs import PROGRAMS
from gpu.test_interpreted import BATCH, MODELS, SAMPLES
from matrix import DEVICE_WAYS, Case
from test_matrix import assert_close, example, random_case, run_all_ways  # noqa: F401

EPOCHS = 2
EXAMPLES = {"xor": ("xor", 4, 20, 4), "plane_fit": ("plane_fit", 32, 2, 80)}
SEEDS = (5, 12)
"""Of random programs: small ones, one of them in float64."""


def case_of(model: str) -> Case:
    """A model of test_interpreted.py, with a last batch of fewer rows."""
    program, rng = MODELS[model](), np.random.default_rng(0)
    data = {}
    for field in program.inputs:
        shape = [SAMPLES if isinstance(extent, str) else extent for extent in field.shape]
        whole = rng.integers(0, 8, shape) if "int" in field.dtype else rng.standard_normal(shape)
        data[field.name] = whole.astype(field.dtype)
    return Case(model, program, data, BATCH, EPOCHS, 3)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "convolutional"])
def test_models_train_on_a_device_as_elsewhere(model: str, tmp_path: Path) -> None:
    run_all_ways(case_of(model), tmp_path, DEVICE_WAYS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_train_on_a_device_as_elsewhere(name: str, tmp_path: Path) -> None:
    case = PROGRAMS[name]()
    ways = DEVICE_WAYS if case.precision == "float32" else DEVICE_WAYS[1:]
    run_all_ways(case, tmp_path, ways)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_train_on_a_device_as_elsewhere(name: str, tmp_path: Path) -> None:
    run_all_ways(example(*EXAMPLES[name]), tmp_path, DEVICE_WAYS)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_train_on_a_device_as_elsewhere(seed: int, tmp_path: Path) -> None:
    run_all_ways(random_case(seed), tmp_path, DEVICE_WAYS)


def test_lengths_that_data_give_have_programs_of_their_own_on_a_device(tmp_path: Path) -> None:
    program = PROGRAMS["gated_of_named_length"]().program
    rng = np.random.default_rng(0)
    with interpreted_device(tmp_path / "device") as device:
        here, there = program.compile(threads=1), program.compile(target=TARGET)
        for length in (3, 1, 3):
            x, y = rng.standard_normal((5, length, 3)), rng.standard_normal((5, 2))
            rows = {"x": x.astype(np.float32), "y": y.astype(np.float32)}
            assert here.step(rows) == pytest.approx(there.step(rows), rel=1e-5)
        assert here.evaluate(rows) == pytest.approx(there.evaluate(rows), rel=1e-5)
    assert not device.errors and device["faults"] == 0, device.fault


def test_a_trainer_on_a_device_does_all_that_others_do(tmp_path: Path) -> None:
    """Steps, evaluation, state that is set; its checkpoint goes on elsewhere, and comes back."""
    case = case_of("embedded")
    file = tmp_path / "run.safetensors"
    with interpreted_device(tmp_path / "device") as device:
        here = case.program.compile(seed=case.seed, threads=1)
        there = case.program.compile(target=TARGET, seed=case.seed)
        rows = {name: array[:5] for name, array in case.data.items()}
        for trainer in (here, there):
            trainer.learning_rate = 0.25
            trainer.fit(case.data, batch_size=BATCH, epochs=1)
        for one, other in (
            (here.step(rows), there.step(rows)),
            (here.evaluate(case.data), there.evaluate(case.data)),
        ):
            assert one == pytest.approx(other, rel=1e-5)
        there.fit(case.data, batch_size=BATCH, epochs=1, checkpoint=file, restart=True)
        here.fit(case.data, batch_size=BATCH, epochs=1, restart=True)
        for name, array in here.parameters.items():
            np.testing.assert_allclose(there.parameters[name], array, rtol=1e-4, atol=1e-6)
        assert there.state["gradc.step"] == here.state["gradc.step"]
        moved = case.program.compile(seed=0, threads=1)
        moved.fit(case.data, batch_size=BATCH, epochs=2, checkpoint=file, resume=True)
        here.fit(case.data, batch_size=BATCH, epochs=1)
        for name, array in here.parameters.items():
            np.testing.assert_allclose(moved.parameters[name], array, rtol=1e-4, atol=1e-6)
        back = case.program.compile(target=TARGET, seed=0)
        back.fit(case.data, batch_size=BATCH, epochs=3, checkpoint=file, resume=True)
        here.fit(case.data, batch_size=BATCH, epochs=1)
        for name, array in here.parameters.items():
            np.testing.assert_allclose(back.parameters[name], array, rtol=1e-4, atol=1e-6)
    assert not device.errors and device["faults"] == 0, device.fault
