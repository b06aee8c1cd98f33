"""The command line: exit statuses, and messages without tracebacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import gradc

from gradc.runtime.checkpoint import read_checkpoint

PROGRAM = """
import numpy as np
import gradc as gc
from gradc import nn, optim

x = gc.input("x", ("batch", 2))
y = gc.input("y", ("batch", 1))
program = gc.training(gc.mse_loss(nn.Linear(2, 1)(x), y), optim.SGD(lr=0.1))

def data():
    x = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    return {"train": {"x": x, "y": x[:, :1]}, "validation": {"x": x, "y": x[:, :1]}}
"""

OPEN = """
import gradc as gc

x, w = gc.input("x", ("batch", "seq")), gc.parameter("w", ())
program = gc.training(gc.mean(x * w), gc.optim.SGD(lr=0.1))
"""

GRAPH = """graph f(%x: f32[4]) {
  %0 = exp %x : f32[4]
  %1 = exp %x : f32[4]
  %2 = add %0, %1 : f32[4]
  return %2
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.py").write_text(PROGRAM)
    (tmp_path / "f.ir").write_text(GRAPH)
    (tmp_path / "broken.ir").write_text("graph f(")
    (tmp_path / "mistake.py").write_text("import gradc as gc\n\ngc.ones(3) @ gc.ones(4)\n")
    (tmp_path / "crash.py").write_text("x = 1\ny = x / 0\n")
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "number.py").write_text("program = 3\n")
    (tmp_path / "val.py").write_text(PROGRAM.replace("validation", "val"))
    (tmp_path / "open.py").write_text(OPEN)
    return tmp_path


def test_train(folder: Path) -> None:
    done = gradc(
        "train", "model.py", "--epochs", "3", "--checkpoint", "run.safetensors", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "validation_loss" in done.stdout and (folder / "run.safetensors").exists()


def test_a_rate_given_when_resuming_is_taken(folder: Path) -> None:
    run = ("train", "model.py", "--checkpoint", "run.safetensors", "--resume")
    assert gradc(*run, "--epochs", "1", cwd=folder).returncode == 0
    assert gradc(*run, "--epochs", "2", "--lr", "0.25", cwd=folder).returncode == 0
    rate = read_checkpoint(folder / "run.safetensors").tensors["optimizer.lr"]
    assert rate == 0.25


def test_inspect(folder: Path) -> None:
    done = gradc("inspect", "model.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "kernels" in done.stdout
    assert "kernels" in gradc("inspect", "model.py", "--entry", "evaluate", cwd=folder).stdout
    assert gradc("inspect", "model.py", "--html", "out.html", cwd=folder).returncode == 0
    assert (folder / "out.html").read_text().startswith("<!doctype html>")
    shown = []
    for extent in (7, 900):
        done = gradc("inspect", "open.py", "--dim", f"seq={extent}", cwd=folder)
        assert done.returncode == 0 and "kernels" in done.stdout, done.stderr
        shown.append(done.stdout)
    assert shown[0] != shown[1]


def test_opt(folder: Path) -> None:
    done = gradc("opt", "f.ir", "--passes", "cse,dce", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("exp") == 1
    again = gradc("opt", "f.ir", "--passes", "cse", "-o", "g.ir", "--dump", "steps", cwd=folder)
    assert again.returncode == 0 and again.stdout == ""
    assert (folder / "g.ir").read_text().count("exp") == 1
    assert any((folder / "steps").iterdir())
    assert "cse" in gradc("opt", "--list", cwd=folder).stdout.split()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("train",), 2, "Missing argument"),
        (("frobnicate",), 2, "No such command"),
        (("train", "model.py", "--epochs", "-1"), 2, "--epochs"),
        (("train", "model.py", "--resume"), 2, "--resume needs --checkpoint"),
        (("train", "model.py", "--target", "tpu"), 2, "'tpu' is not one of 'cpu', 'cuda'"),
        (("train", "none.py"), 1, "none.py: no such file"),
        (("train", "empty.py"), 1, "empty.py defines no `program`"),
        (("train", "number.py"), 1, "`program` is of type int, not the result of gc.training"),
        (("train", "val.py"), 1, "unknown key 'val'; known are 'train' and 'validation'"),
        (("opt", "none.ir"), 1, "none.ir: cannot be read"),
        (("inspect", "open.py"), 1, "'seq'"),
        (("inspect", "open.py", "--dim", "seq"), 2, "--dim takes NAME=N, not 'seq'"),
        (("inspect", "open.py", "--dim", "sq=3"), 2, "unknown dimension 'sq'"),
        (("inspect", "open.py", "--dim", "seq=3", "--dim", "seq=4"), 2, "two values for 'seq'"),
        (("build", "model.py", "-o", "lib", "--kind", "library"), 2, "library's prefix 'lib'"),
        (("train", "mistake.py"), 1, "at mistake.py:3 in <module>: gc.ones(3) @ gc.ones(4)"),
        (("train", "crash.py"), 1, "crash.py:2: ZeroDivisionError: division by zero"),
        (("opt", "f.ir"), 2, "--passes"),
        (("opt", "f.ir", "--passes", "magic"), 2, "magic"),
        (("opt", "broken.ir", "--passes", "cse"), 1, "broken.ir:1:"),
        (("opt", "none.ir", "--passes", "cse"), 1, "none.ir: cannot be read"),
        (("opt", "f.ir", "--passes", "cse", "-o", "no/where.ir"), 1, "cannot be written"),
        (("inspect", "model.py", "--entry", "walk"), 2, "'walk' is not one of 'run'"),
    ],
)
def test_mistakes(folder: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    done = gradc(*arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
