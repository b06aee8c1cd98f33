"""Rates that fall when a watched number stops improving, and rates of groups and several losses.

The trajectory is that of torch.optim.lr_scheduler.ReduceLROnPlateau, whose rule is written below in
plain Python; numbers that PyTorch gave are kept beside it.
"""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import gradc
from support_binary import files

import gradc as gc
from gradc import optim
from gradc.optim import schedule

Array = np.ndarray[Any, Any]
FIELDS = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")


@dataclass
class Reference:
    """One number under the rule of ReduceLROnPlateau."""

    rate: float
    mode: str = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.bad = self.pause = 0

    def improves(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "abs":
            return sign * value < sign * self.best - self.threshold
        bound = self.best * (1.0 - sign * self.threshold)
        return value < bound if self.mode == "min" else value > bound

    def step(self, value: float) -> float:
        if self.improves(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.pause > 0:
            self.pause, self.bad = self.pause - 1, 0
        if self.bad > self.patience:
            lower = max(self.rate * self.factor, self.min_lr)
            if self.rate - lower > self.eps:
                self.rate = lower
            self.pause, self.bad = self.cooldown, 0
        return self.rate


OPTIONS = [
    ("min", 0.5, 0, 1e-4, "rel", 0, 0.0, 1e-8),
    ("min", 0.5, 2, 0.05, "abs", 3, 0.004, 1e-8),
    ("max", 0.1, 1, 0.05, "rel", 1, 0.0, 1e-3),
    ("max", 0.3, 3, 1e-4, "abs", 0, 0.01, 1e-8),
    ("min", 0.0, 1, 0.0, "rel", 2, 0.02, 1e-8),
]


def metrics(seed: int, mode: str, count: int = 120) -> list[float]:
    """A noisy number that gets better for some time; NaN and infinities among it."""
    rng = np.random.default_rng(seed)
    way = np.sqrt(np.arange(count)) * (-1 if mode == "min" else 1)
    found = 5 + way + rng.normal(size=count)
    found[rng.integers(0, count, 3)] = [math.nan, math.inf, -math.inf]
    return [float(value) for value in found]


def follower(rate: schedule.Schedule) -> Any:
    """A trainer whose loss is what it is given."""
    x, w = gc.input("x", (), gc.float64), gc.parameter("w", (), gc.float64)
    return gc.training(w * 0.0 + x, optim.SGD(lr=rate)).compile()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_rate_falls_as_pytorchs(options: tuple[Any, ...]) -> None:
    given = dict(zip(FIELDS, options, strict=True))
    trainer, reference = follower(schedule.plateau(0.1, **given)), Reference(0.1, **given)
    rates = set()
    for value in metrics(len(str(options)), given["mode"]):
        trainer.step(x=value)
        assert trainer.learning_rate == reference.step(value)
        rates.add(trainer.learning_rate)
    assert len(rates) > 1


def test_numbers_of_pytorch() -> None:
    """torch.optim.lr_scheduler.ReduceLROnPlateau(SGD(lr=0.1), factor=0.5, patience=1, cooldown=1)
    after each of these losses."""
    losses = [3.0, 2.0, 2.1, 2.2, 2.05, 2.0, 2.1, 1.9, 1.95, 1.91, 1.9, 1.8]
    rates = [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125, 0.0125]
    trainer = follower(schedule.plateau(0.1, factor=0.5, patience=1, cooldown=1))
    found = []
    for loss in losses:
        trainer.step(x=loss)
        found.append(trainer.learning_rate)
    assert found == rates


# ---------------------------------------------------------------- epochs

RNG = np.random.default_rng(4)
TRUTH = np.array([1.0, -2.0, 0.5], np.float32)


def made_data(rows: int) -> dict[str, Array]:
    x = RNG.normal(size=(rows, 3)).astype(np.float32)
    return {"x": x, "y": (x @ TRUTH + RNG.normal(size=rows)).astype(np.float32)}


DATA, HELD_OUT = made_data(40), made_data(17)


def program(monitor: str = "validation_loss", mode: str = "min") -> Any:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    w = gc.parameter("w", (3,), init=gc.init.normal(std=1.0))
    error = x @ w - y
    rate = schedule.plateau(0.4, 0.5, 0, mode, threshold=0.02, monitor=monitor)
    return gc.training(
        gc.mean(error**2), optim.SGD(lr=rate), metrics={"error": gc.mean(gc.abs(error))}
    )


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("monitor", ["validation_loss", "loss", "error", "validation_error"])
def test_an_epoch_is_looked_at(monitor: str, validated: bool) -> None:
    trainer, reference = program(monitor).compile(), Reference(0.4, "min", 0.5, 0, 0.02)
    held_out = HELD_OUT if validated else None
    column = monitor if validated else monitor.removeprefix("validation_")
    for epoch in trainer.epochs(DATA, batch_size=8, epochs=12, validation=held_out):
        assert trainer.learning_rate == reference.step(epoch[column])
    assert trainer.learning_rate < 0.4
    whole = program(monitor).compile()
    whole.fit(DATA, batch_size=8, epochs=12, validation=held_out)
    assert whole.learning_rate == trainer.learning_rate


def test_a_rate_that_is_set_falls_from_there() -> None:
    trainer = program().compile()
    trainer.fit(DATA, batch_size=8, epochs=3)
    trainer.learning_rate = 0.25
    trainer.fit(DATA, batch_size=8, epochs=6)
    assert trainer.learning_rate in [0.25 * 0.5**n for n in range(1, 7)]


def test_stopped_anywhere_and_resumed_it_falls_alike(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    options: dict[str, Any] = {"batch_size": 8, "validation": HELD_OUT, "checkpoint_every": 3}
    program().compile().fit(DATA, epochs=8, checkpoint=whole, **options)
    for epochs in (1, 3, 4, 8):
        trainer = program().compile()
        trainer.fit(DATA, epochs=epochs, checkpoint=parts, resume=True, **options)
    assert whole.read_bytes() == parts.read_bytes()


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plateau") / "train"
    program().build(made, batch=8)
    return made


def command(executable: Path, folder: Path, epochs: int, file: Path) -> list[str]:
    held_out = folder / "held_out"
    held_out.mkdir(exist_ok=True)
    words = [str(executable), f"--epochs={epochs}", f"--checkpoint={file}", "--resume", "--quiet"]
    return [*words, *files(folder, DATA), *files(held_out, HELD_OUT, "--validate")]


def test_an_executable_does_the_same(executable: Path, tmp_path: Path) -> None:
    jit, aot = tmp_path / "jit.safetensors", tmp_path / "aot.safetensors"
    trainer = program().compile()
    trainer.fit(DATA, batch_size=8, epochs=8, validation=HELD_OUT, checkpoint=jit)
    for epochs in (3, 8):
        subprocess.run(command(executable, tmp_path, epochs, aot), check=True, timeout=60)
    assert jit.read_bytes() == aot.read_bytes()
    assert trainer.learning_rate < 0.4


def test_a_library_takes_a_step_for_an_epoch(tmp_path: Path) -> None:
    made = tmp_path / "libfalls.so"
    program("loss").build(made, kind="library", batch=8)
    library, session = ctypes.CDLL(str(made)), ctypes.c_void_p()
    step, save = library.gradc_falls_step, library.gradc_falls_save
    assert (
        library.gradc_falls_init(ctypes.byref(session), ctypes.c_int64(0), ctypes.c_int64(1)) == 0
    )
    trainer = program("loss").compile()
    batch = {name: np.ascontiguousarray(array[:8]) for name, array in DATA.items()}
    places = [ctypes.c_void_p(batch[name].ctypes.data) for name in ("x", "y")]
    for _ in range(9):
        assert step(session, ctypes.c_int64(8), *places, None) == 0
        trainer.step(batch)
    file = tmp_path / "library.safetensors"
    assert save(session, str(file).encode()) == 0
    library.gradc_falls_free(session)
    loaded = program("loss").compile()
    loaded.load(file)
    assert loaded.learning_rate == trainer.learning_rate < 0.4
    np.testing.assert_array_equal(loaded.parameters["w"], trainer.parameters["w"])


def test_other_options_fall_too() -> None:
    w = gc.parameter("w", (), gc.float64, init=gc.init.ones)
    decay = schedule.plateau(0.5, factor=0.5, patience=0, monitor="loss")
    trainer = gc.training(w * 0.0 + 3.0, optim.SGD(lr=0.1, weight_decay=decay)).compile()
    value, falls = 1.0, 0.5
    for number in range(4):
        trainer.step()
        value -= 0.1 * falls * value
        falls *= 0.5 if number else 1.0
        np.testing.assert_allclose(trainer.parameters["w"], value, rtol=1e-15)


def test_its_code_can_be_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "falling.py"
    file.write_text(
        "import gradc as gc\nw = gc.parameter('w', ())\n"
        "rate = gc.optim.schedule.plateau(0.1)\n"
        "program = gc.training(w * w, gc.optim.SGD(lr=rate))\n"
    )
    shown = gradc("inspect", str(file), "--entry", "epoch", cwd=tmp_path)
    assert shown.returncode == 0 and "update optimizer.lr: in place" in shown.stdout
    file.write_text(file.read_text().replace("lr=rate", "lr=0.1"))
    refused = gradc("inspect", str(file), "--entry", "epoch", cwd=tmp_path)
    assert "this program has no entry point 'epoch'" in refused.stderr
    assert refused.returncode == 2


def test_programs_without_it_have_nothing_of_it() -> None:
    plain = gc.training(gc.parameter("w", ()) ** 2, optim.SGD(lr=0.1))
    assert set(plain.graphs) == {"run", "evaluate", "predict", "init"} and not plain.monitors


def refusals() -> Iterator[tuple[Callable[[], Any], str]]:
    w = gc.parameter("w", ())
    falling = schedule.plateau(0.1)
    yield lambda: schedule.plateau(0.1, factor=1.0), "factor is a number in 0 <= factor < 1"
    yield lambda: schedule.plateau(0.1, threshold_mode="x"), "threshold_mode is 'rel' or 'abs'"
    yield lambda: schedule.plateau(0.1, patience=-1), "patience"
    yield lambda: schedule.sequential([falling, 0.1], [3]), "a plateau is no formula of steps"
    yield lambda: schedule.chained([0.1, falling]), "a plateau is no formula of steps"
    yield lambda: falling.at(gc.input("t", (), gc.int64)), "options of an optimizer have alone"
    other = schedule.plateau(0.1, monitor="f1")
    yield lambda: gc.training(w**2, optim.SGD(lr=other)), "plateau cannot monitor 'f1'"


REFUSALS = list(refusals())


@pytest.mark.parametrize(("refused", "message"), REFUSALS, ids=[m for _, m in REFUSALS])
def test_refusals(refused: Callable[[], Any], message: str) -> None:
    with pytest.raises(gc.ArgumentError, match=message):
        refused()


# ---------------------------------------------------------------- several rates


def test_every_loss_and_group_has_a_rate() -> None:
    a, b, c = (gc.parameter(name, (), gc.float64, init=gc.init.ones) for name in "abc")
    groups = [optim.group("b", lr=0.2)]
    entries = [
        (a + b, optim.SGD(lr=0.1, groups=groups)),
        (c * 1.0, optim.SGD([{"params": [c], "lr": 0.3}], lr=0.5)),
    ]
    trainer = gc.training(entries).compile()
    assert dict(trainer.learning_rates) == {"loss_0": 0.1, "loss_0 b": 0.2, "loss_1 params_0": 0.3}
    trainer.step()
    assert [float(trainer.parameters[n]) for n in "abc"] == pytest.approx([0.9, 0.8, 0.7])
    trainer.learning_rates["loss_0 b"] = 0.0
    trainer.learning_rates["loss_1 params_0"] *= 2
    trainer.step()
    assert [float(trainer.parameters[n]) for n in "abc"] == pytest.approx([0.8, 0.8, 0.1])
    trainer.fit(learning_rate={"loss_0": 1.0})
    assert trainer.learning_rates["loss_0"] == 1.0
    assert float(trainer.parameters["a"]) == pytest.approx(-0.2)
    with pytest.raises(gc.ArgumentError, match="this program has no one learning rate") as error:
        trainer.learning_rate = 0.1
    assert "trainer.learning_rates['loss_0']" in str(error.value)
    with pytest.raises(gc.ArgumentError, match="there is no learning rate 'loss_2'"):
        trainer.fit(learning_rate={"loss_2": 0.1})
    with pytest.raises(KeyError, match="known: 'loss_0', 'loss_0 b', 'loss_1 params_0'"):
        trainer.learning_rates["loss"]
    with pytest.raises(gc.ArgumentError, match="a learning rate is a finite number >= 0"):
        trainer.learning_rates["loss_0"] = -1.0


def test_schedules_of_groups_are_led_by_their_rates() -> None:
    a, b = (gc.parameter(name, (), gc.float64) for name in "ab")
    groups = [optim.group("b", lr=schedule.exponential(0.2, 0.5))]
    trainer = gc.training(a + b, optim.SGD(lr=0.1, groups=groups)).compile()
    trainer.learning_rates["b"] = 0.4
    for _ in range(3):
        trainer.step()
    assert float(trainer.parameters["b"]) == pytest.approx(-0.4 * 1.75)
    assert trainer.learning_rate == 0.1 and float(trainer.parameters["a"]) == pytest.approx(-0.3)
