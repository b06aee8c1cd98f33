"""One test for all ways: evaluator, in process, executable; the same training, the same result.

Each example that trains, and random programs of layers, losses, optimizers and dtypes. Losses of
every epoch and final parameters agree within a tolerance per dtype, and bit for bit, the checkpoint
files too, between the ways that promise it (docs/determinism.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import WAYS, Case, Outcome, Way
from support_examples import example_names

import gradc as gc
from gradc import nn, optim
from gradc.optim import schedule

RANDOM_PROGRAMS = 10

# Differences between the evaluator's summation order and the compiled one grow with the steps.
RELATIVE = {np.dtype(np.float32): 5e-3, np.dtype(np.float64): 1e-9}
ABSOLUTE = {np.dtype(np.float32): 5e-4, np.dtype(np.float64): 1e-10}


def example(name: str, batch: int, epochs: int, samples: int) -> Case:
    names = example_names(name)
    data = {n: np.ascontiguousarray(a[:samples]) for n, a in names["data"]()["train"].items()}
    return Case(name, names["program"], data, batch, epochs)


EXAMPLE_CASES = {
    "digits": ("digits", 64, 3, 500),
    "digits_cnn": ("digits_cnn", 64, 2, 300),
    "lenet": ("lenet", 16, 2, 40),
    "cifar_cnn": ("cifar_cnn", 8, 1, 20),
    "cifar2": ("cifar2", 64, 2, 150),
    "char_transformer": ("char_transformer", 8, 1, 20),
    "char_lstm": ("char_lstm", 8, 1, 20),
    "plane_fit": ("plane_fit", 32, 5, 200),
    "xor": ("xor", 4, 50, 4),
}


def random_case(seed: int) -> Case:
    """A program drawn from layers, activations, losses, optimizers, dtypes and batch shapes."""
    rng = np.random.default_rng(seed)
    dtype = gc.float64 if rng.random() < 0.4 else gc.float32
    features, classes = int(rng.integers(1, 40)), int(rng.integers(2, 7))
    widths = [int(w) for w in rng.integers(1, 70, rng.integers(0, 3))]
    activations = [nn.Tanh, nn.ReLU, nn.Sigmoid, nn.GELU, nn.SiLU]
    layers: list[Any] = []
    wide = features
    for width in widths:
        layers += [nn.Linear(wide, width, dtype=dtype), activations[rng.integers(5)]()]
        if rng.random() < 0.4:
            layers.append(nn.Dropout(float(rng.uniform(0.1, 0.6))))
        if rng.random() < 0.3:
            layers.append(nn.LayerNorm(width, dtype=dtype))
        wide = width
    layers.append(nn.Linear(wide, classes, dtype=dtype))
    x = gc.input("x", ("batch", features), dtype)
    labels = gc.input("labels", ("batch",), gc.int32)
    logits = nn.Sequential(*layers)(x)
    if rng.random() < 0.7:
        loss = gc.cross_entropy(logits, labels)
    else:
        loss = gc.mean((logits - gc.mean(logits, axis=1, keepdims=True)) ** 2) + gc.mean(logits)
    rates = [0.05, schedule.cosine(0.05, 20), schedule.warmup(schedule.exponential(0.05, 0.9), 3)]
    rate = rates[rng.integers(3)]
    optimizers = [
        optim.SGD(lr=rate),
        optim.SGD(lr=rate, momentum=0.9, weight_decay=1e-3),
        optim.AdamW(lr=rate, eps=1e-3),  # a large eps: else Adam's first steps amplify roundings
    ]
    program = gc.training(
        loss,
        optimizer=optimizers[rng.integers(3)],
        metrics={"accuracy": gc.accuracy(logits, labels)} if rng.random() < 0.5 else None,
        outputs={"logits": logits},
    )
    samples, batch = int(rng.integers(20, 200)), int(rng.integers(1, 70))
    data = {
        "x": rng.standard_normal((samples, features)).astype(dtype.numpy),
        "labels": rng.integers(0, classes, samples).astype(np.int32),
    }
    data = {field.name: data[field.name] for field in program.inputs}
    return Case(f"random{seed}", program, data, min(batch, samples), 3, int(rng.integers(2**40)))


def assert_close(one: Outcome, other: Outcome, between: str) -> None:
    dtype = max(array.dtype for array in one.parameters.values())
    tolerance = {"rtol": RELATIVE[dtype], "atol": ABSOLUTE[dtype]}
    np.testing.assert_allclose(one.losses, other.losses, err_msg=between, **tolerance)
    assert one.parameters.keys() == other.parameters.keys()
    for name, array in one.parameters.items():
        message = f"{between}: {name}"
        np.testing.assert_allclose(array, other.parameters[name], err_msg=message, **tolerance)


def assert_same_bits(one: Outcome, other: Outcome, between: str) -> None:
    assert np.array(one.losses).tobytes() == np.array(other.losses).tobytes(), between
    for name, array in one.parameters.items():
        assert array.tobytes() == other.parameters[name].tobytes(), f"{between}: {name}"
    if one.file is not None and other.file is not None:
        assert one.file == other.file, f"{between}: checkpoint files"


def run_all_ways(case: Case, folder: Path, ways: Sequence[Way] = WAYS) -> None:
    first_of: dict[str, tuple[str, Outcome]] = {}
    for way in ways:
        outcome = way.train(case, folder)
        known = first_of.setdefault(way.bits, (way.name, outcome))
        assert_same_bits(known[1], outcome, f"{case.name}: {known[0]} and {way.name}")
    names = list(first_of.values())
    for name, outcome in names[1:]:
        assert_close(names[0][1], outcome, f"{case.name}: {names[0][0]} and {name}")


@pytest.mark.parametrize("name", EXAMPLE_CASES)
def test_examples_train_alike_in_every_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CIFAR10", "MNIST"):
        monkeypatch.delenv(variable, raising=False)
    run_all_ways(example(*EXAMPLE_CASES[name]), tmp_path)


def pictures_case() -> Case:
    """Windows and running statistics, over a last batch of fewer rows."""
    x, labels = gc.input("x", ("batch", 3, 8, 8)), gc.input("labels", ("batch",), gc.int32)
    net = nn.Sequential(
        nn.BatchNorm2d(3), nn.MaxPool2d(3, 2, 1), nn.InstanceNorm2d(3, track_running_stats=True),
        nn.ReflectionPad2d(1), nn.AvgPool2d(2, 1), nn.GroupNorm(3, 3), nn.AdaptiveMaxPool2d(3),
        nn.LocalResponseNorm(2), nn.Flatten(), nn.Linear(27, 9), nn.BatchNorm1d(9, momentum=None),
        nn.Tanh(), nn.Linear(9, 3),
    )  # fmt: skip
    logits = net(x)
    program = gc.training(
        gc.cross_entropy(logits, labels), optim.SGD(lr=0.05),
        metrics={"accuracy": gc.accuracy(logits, labels)}, outputs={"logits": logits},
    )  # fmt: skip
    rng = np.random.default_rng(5)
    data = {
        "x": rng.normal(size=(53, 3, 8, 8)).astype(np.float32),
        "labels": rng.integers(0, 3, 53).astype(np.int32),
    }
    return Case("pictures", program, data, 12, 3, 7)


def test_pictures_train_alike_in_every_way(tmp_path: Path) -> None:
    run_all_ways(pictures_case(), tmp_path)


def plateau_case() -> Case:
    """Rates that fall at the end of an epoch, one of a group, one behind a warm-up."""
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch", 2))
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    rate = schedule.plateau(0.3, factor=0.5, patience=0, threshold=0.05, cooldown=1)
    own = schedule.plateau(0.2, 0.25, 1, "max", threshold_mode="abs", monitor="error")
    groups = [optim.group("*.bias", lr=schedule.warmup(own, 4), weight_decay=0.01)]
    error = net(x) - y
    program = gc.training(
        gc.mean(error**2), optim.SGD(lr=rate, momentum=0.5, groups=groups),
        metrics={"error": gc.mean(gc.abs(error))},
    )  # fmt: skip
    rng = np.random.default_rng(8)
    data = {
        "x": rng.normal(size=(45, 5)).astype(np.float32),
        "y": rng.normal(size=(45, 2)).astype(np.float32),
    }
    return Case("plateau", program, data, 8, 12, 3)


def test_falling_rates_train_alike_in_every_way(tmp_path: Path) -> None:
    case = plateau_case()
    run_all_ways(case, tmp_path)
    trainer = case.program.compile(seed=case.seed)
    trainer.fit(case.data, batch_size=case.batch, epochs=case.epochs)
    assert trainer.learning_rates["loss"] < 0.3 and trainer.learning_rates["*.bias"] < 0.2


def losses_case() -> Case:
    """Several losses with optimizers of their own, a group and a dict of parameters with rates."""
    x, noise = gc.input("x", ("batch", 4)), gc.input("noise", ("batch", 3))
    maker, critic = nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))
    both = nn.ModuleDict({"maker": maker, "critic": critic})
    real, made = critic(x), critic(maker(noise))
    told = gc.mean((real - 1.0) ** 2) + gc.mean(made**2)
    groups = [optim.group("*.bias", lr=schedule.cosine(0.02, 30))]
    listed = [{"params": maker.weight, "lr": 0.03}, {"params": maker.bias}]
    program = gc.training([
        (told, optim.SGD(lr=schedule.warmup(0.05, 4), momentum=0.9, groups=groups), "critic.*"),
        (gc.mean((made - 1.0) ** 2), optim.Adam(listed, lr=0.01, eps=1e-3)),
    ])  # fmt: skip
    assert len(both.parameters()) == 6
    rng = np.random.default_rng(2)
    data = {
        "x": rng.normal(2, 1, (30, 4)).astype(np.float32),
        "noise": rng.normal(size=(30, 3)).astype(np.float32),
    }
    return Case("losses", program, data, 8, 3, 5)


def test_several_losses_train_alike_in_every_way(tmp_path: Path) -> None:
    case = losses_case()
    assert set(case.program.rates) == {
        "loss_0", "loss_0 *.bias", "loss_1 params_0", "loss_1"
    }  # fmt: skip
    run_all_ways(case, tmp_path)


@pytest.mark.parametrize("seed", range(RANDOM_PROGRAMS))
def test_random_programs_train_alike_in_every_way(seed: int, tmp_path: Path) -> None:
    run_all_ways(random_case(seed), tmp_path)
