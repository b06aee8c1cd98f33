"""The public contract of the command line: every flag is used, and what it makes looked at.

`gradc train` is in test_cli_train.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import click.testing
import pytest

from gradc.cli import app

FILE = """
import numpy as np
import gradc as gc
from gradc import nn, optim

x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch", 1))
program = gc.training(gc.mse_loss(nn.Linear(2, 1)(x), y), optim.SGD(lr=0.1))

def data():
    x = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    return {"train": {"x": x, "y": x[:, :1]}}
"""


def _run(*arguments: str) -> click.testing.Result:
    done = click.testing.CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, (done.stdout, done.stderr, done.exception)
    return done


def test_build_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(FILE)
    for kind, out, made in (
        ("executable", "train-model", ["train-model"]),
        ("library", "libmodel.so", ["libmodel.so", "model.h"]),
        ("object", "model.o", ["model.o", "model.h"]),
    ):
        flags = ["--kind", kind, "--batch", "4", "--cpu", "native", "--target", "cpu"]
        done = _run("build", "model.py", "-o", out, *flags)
        assert all(Path(name).stat().st_size > 0 for name in made)
        assert [line.split("  ")[0] for line in done.stdout.splitlines()] == made
    assert os.access("train-model", os.X_OK)


def test_the_other_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(FILE)
    Path("f.ir").write_text("graph f(%x: f32[2]) {\n  %0 = neg %x : f32[2]\n  return %0\n}\n")
    assert _run("train", "model.py", "--epochs", "2", "--quiet").stdout.startswith("loss 0.")
    assert "kernels" in _run("inspect", "model.py").stdout
    _run("inspect", "model.py", "--html", "out.html")
    assert Path("out.html").read_text().startswith("<!doctype html>")
    assert "%0 = neg %x" in _run("opt", "f.ir", "--passes", "simplify,cse", "--dump", "d").stdout
    assert len(list(Path("d").iterdir())) >= 2
    _run("opt", "f.ir", "--passes", "cse", "-o", "g.ir")
    assert "simplify" in _run("opt", "--list").stdout.split()
    assert "neg" in Path("g.ir").read_text()
