"""The examples of a lecture's ideas: what they print is what their docstrings say.

They run in this process, as a reader would run them in another: importing gradc a dozen times over
would take longer than what most of them do.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support_examples import EXAMPLES, example_names, found

from gradc.cli import app

Run = Callable[..., str]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What an example prints, given arguments."""

    def printed(name: str, *arguments: str) -> str:
        monkeypatch.setenv("GRADC_CACHE_DIR", str(cache))
        monkeypatch.setattr(sys, "argv", [str(EXAMPLES / f"{name}.py"), *arguments])
        example_names(name, "__main__")
        return capsys.readouterr().out

    return printed


def check_drawing(path: Path, text: str) -> None:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 10_000
    assert f"drawing: {path}, {len(content):,} bytes" in text


def test_perceptron(run: Run) -> None:
    text = run("perceptron")
    mistakes, bound = found(r"^mistakes in all: (\d+), at most (\d+)$", text)
    assert 1 < mistakes <= bound < 700
    epochs = re.search(r"^mistakes in each epoch: \[(.*), 0\]$", text, re.MULTILINE)
    assert epochs is not None and sum(map(int, epochs[1].split(", "))) == mistakes
    assert found(r"^wrong at the end: (\d+)$", text) == [0]
    assert found(r"of the data: (\S+) degrees$", text)[0] < 10


def test_the_perceptrons_rule(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGD on the loss makes the very steps of Rosenblatt's rule."""
    monkeypatch.setenv("GRADC_CACHE_DIR", str(cache))
    names = example_names("perceptron")
    train = names["data"]()["train"]
    trainer, w = names["program"].compile(), np.zeros(3, np.float32)
    for x, t in zip(train["x"][:100], train["t"][:100], strict=True):
        trainer.step(x=x[None], t=t[None])
        w += t * x if t * (w @ x) <= 0 else 0
    np.testing.assert_allclose(trainer.parameters["w"], w, rtol=1e-5)


def test_backprop(run: Run) -> None:
    text = run("backprop")
    assert "error by hand 0.298371109, by gradc 0.298371109\n" in text
    assert "w5 after a step 0.35891648\n" in text
    for n in range(1, 9):
        own, other = found(rf"^dE/dw{n} by hand (\S+), by gradc (\S+)$", text)
        assert own == other != 0
    own, other = found(r"^error after a step by hand (\S+), by gradc (\S+)$", text)
    assert own == other < 0.2911
    assert found(r"^error after 10,000 steps (\S+)$", text)[0] < 4e-5
    assert found(r"^largest difference: (\S+)$", text)[0] < 1e-15


def test_activations(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    text = run("activations", "--plot", str(path))
    row = r" +(\S+) +(\S+) +(\S+) +(\S+)$"
    most, least, far, ten = found("^sigmoid" + row, text)
    assert most == 0.25 and 0 < least == far < 0.003
    assert ten == pytest.approx(4**-10, rel=0.01) and ten < 1e-6
    assert found("^tanh" + row, text)[:2] == [1.0, 0.0]
    assert found("^relu" + row, text)[:3] == [1.0, 0.0, 1.0]
    for name in ("silu", "gelu"):
        most, least, _, _ = found(f"^{name}" + row, text)
        assert most > 1 and least < 0
    assert found(r"^largest difference: (\S+)$", text)[0] < 1e-8
    check_drawing(path, text)


def test_autoencoder(run: Run) -> None:
    text = run("autoencoder")
    (linear,) = found(r"^principal components: (\S+)$", text)
    (error,) = found(r"^autoencoder: (\S+)$", text)
    assert 0.02 < linear < 0.03 and error < 0.6 * linear


def test_overfitting(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "o.png"
    text = run("overfitting", "--plot", str(path))
    row = r" +(\S+) +(\S+) +(\S+)$"
    on, off, largest = found("^ +0e[+]00" + row, text)
    assert on < 1e-6 and off > 0.5 and largest > 100
    on, off, largest = found("^ +1e-04" + row, text)
    assert 0.1 < on < 0.25 and off < 0.2 and largest < 10
    on, off, largest = found("^ +1e[+]00" + row, text)
    assert on > 0.5 and off > 0.5 and largest < 1
    check_drawing(path, text)


def test_the_penalised_curve_is_that_of_ridge_regression(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADC_CACHE_DIR", str(cache))
    names = example_names("overfitting")
    trainer, train = names["trained"](1e-4), names["data"]()["train"]
    x, y = train["x"], train["y"]
    exact = np.linalg.solve(x.T @ x / 10 + 1e-4 * np.eye(10), x.T @ y / 10)
    np.testing.assert_allclose(trainer.parameters["w"], exact, atol=1e-5)


def test_early_stopping(run: Run) -> None:
    text = run("early_stopping")
    pattern = r": (\d+) epochs, the best is (\d+)\n.* (\S+)\n.*loss (\S+), accuracy (\S+) %$"
    epochs, best, training, loss, accuracy = found("^to the end" + pattern, text)
    assert epochs == 150 and best < 60 and training < 0.05 and loss > 0.8
    epochs, same, training, less, more = found("^stopped" + pattern, text)
    assert same == best and epochs == best + 10 and training > 0.2
    assert less < 0.7 * loss and more > accuracy + 5 and more > 85


def test_dropout_ensemble(run: Run) -> None:
    text = run("dropout_ensemble")
    (one,) = found(r"^one thinned network: (\S+) %$", text)
    (mean,) = found(r"^mean of 50: (\S+) %$", text)
    (whole,) = found(r"^whole network: (\S+) %$", text)
    assert mean > one + 2 and abs(whole - mean) < 1
    distance, own = found(r"^distance from the mean: whole (\S+), one thinned (\S+)$", text)
    assert distance < 0.8 * own


def test_optimizer_paths(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    text = run("optimizer_paths", "--plot", str(path))
    distance = {
        name: found(rf"^{name} +distance (\S+),", text)[0]
        for name in ("gradient descent", "momentum", "RMSprop", "Adam", "L-BFGS", "Newton-CG")
    }
    assert distance["gradient descent"] > 0.3 > distance["RMSprop"] > distance["Adam"]
    assert 0.02 > distance["Adam"] > distance["momentum"] > distance["Newton-CG"]
    (momentum,) = found(r"^momentum .* near from step (\d+)$", text)
    (newton,) = found(r"^Newton-CG .* near from step (\d+)$", text)
    (quasi,) = found(r"^L-BFGS .* near from step (\d+)$", text)
    assert quasi < 60 and newton < 120 and momentum > 1000
    check_drawing(path, text)


def test_char_lstm(run: Run) -> None:
    text = run("char_lstm", "--steps", "100")
    (held_out,) = found(r"^held out: (\S+) nats per character$", text)
    assert held_out < 2.7  # the frequencies of characters alone: 3.2
    for start in ("The class of the", "If the exception"):
        written = text.split(f"\n{start}|")[1][:112]
        assert written.isascii() and len(set(written)) > 8


def test_grid_search(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "g.png"
    text = run("grid_search", "--plot", str(path))
    rows = re.findall(
        r"^\{'width': (\d+), 'rate': (\S+)\}: loss (\S+), accuracy (\S+) %$", text, re.MULTILINE
    )
    losses = [float(row[2]) for row in rows]
    assert len(rows) == 6 and losses == sorted(losses)
    best_width, best_rate = found(r"^best: width (\d+), rate (\S+)$", text)
    assert (best_width, best_rate) == (float(rows[0][0]), float(rows[0][1])) == (64, 0.03)
    assert found(r"^accuracy on other digits: (\S+) %$", text)[0] > 94
    check_drawing(path, text)


def test_gan(run: Run) -> None:
    text = run("gan")
    row = r": mean (\S+), deviation (\S+), share on the left (\S+), around (\S+) and (\S+)$"
    truth, made = found("^data" + row, text), found("^made" + row, text)
    assert truth == pytest.approx([-1, 1.46, 2 / 3, -2, 1], abs=0.03)
    assert made == pytest.approx(truth, abs=0.15)


def test_vae(run: Run) -> None:
    text = run("vae")
    (independent,) = found(r"^independent pixels: (\S+) nats a digit$", text)
    bound, drawn = found(r"^ELBO: (\S+), by the mean log weight (\S+)$", text)
    (tighter,) = found(r"^64 samples: (\S+)$", text)
    assert abs(bound - drawn) < 0.1  # the divergence in closed form, and by what was drawn
    assert independent + 5 < bound < tighter < 0.0
    assert math.isclose(independent, -25.32, abs_tol=0.01)


def test_fine_tuning(run: Run) -> None:
    text = run("fine_tuning")
    assert found(r"^binary: (\d+),", text)[0] < 100
    assert "4 tensors of the body are frozen, 15 digits to learn from\n" in text
    (learned,) = found(r"^a body that has learned: (\S+) % right$", text)
    (drawn,) = found(r"^a body of random numbers: (\S+) % right$", text)
    assert learned > 70 and learned > drawn + 10
    assert "the body is as it was: True\n" in text


@pytest.mark.parametrize(
    "name",
    ["perceptron", "autoencoder", "overfitting", "early_stopping", "dropout_ensemble", "vae",
     "grid_search", "fine_tuning"],
)  # fmt: skip
def test_gradc_train(name: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`gradc train` takes the same files."""
    monkeypatch.setenv("GRADC_CACHE_DIR", str(cache))
    done = CliRunner().invoke(app, ["train", str(EXAMPLES / f"{name}.py"), "--epochs", "1"])
    assert done.exit_code == 0, done.output
    assert math.isfinite(found(r"^loss (\S+)", done.stdout)[0])


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"`(\w+)\.py`", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.stem for path in EXAMPLES.glob("*.py")}
