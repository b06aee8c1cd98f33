"""A residual network, thin and shallow, trains alike in every way, learns, and survives kills."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import Case
from support_binary import Binary, files, needs_compiler
from support_examples import example_names
from test_matrix import run_all_ways

SAMPLES, BATCH = 90, 16


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What examples/resnet20.py defines."""
    return example_names("resnet20")


@pytest.fixture(scope="module")
def thin(names: dict[str, Any]) -> Any:
    return names["training"](names["residual_network"](1, (4, 8, 16)))


@pytest.fixture(scope="module")
def shapes() -> dict[str, np.ndarray[Any, Any]]:
    return example_names("pictures")["shapes"](SAMPLES, 3, 32, 3)


def test_every_way_gives_the_same(thin: Any, shapes: Any, tmp_path: Path) -> None:
    """The last batch has fewer rows, and statistics run along with training."""
    few = {name: array[: 2 * BATCH + 5] for name, array in shapes.items()}
    run_all_ways(Case("residual", thin, few, BATCH, 1), tmp_path)


@needs_compiler
def test_kills_change_nothing(thin: Any, shapes: Any, tmp_path: Path) -> None:
    (path,) = thin.build(tmp_path / "train", batch=BATCH)
    made = Binary(thin, path, BATCH)
    given = [*files(tmp_path, shapes), "--epochs", "8", "--every", "3", "--resume", "--quiet"]
    begun = time.monotonic()
    made.run(*given, "--checkpoint", tmp_path / "whole")
    seconds = time.monotonic() - begun
    wanted = (tmp_path / "whole").read_bytes()
    choose = random.Random(4)
    for run in range(2):
        kept = tmp_path / f"run{run}"
        command = [path, "--threads", "2", *given, "--checkpoint", kept]
        for _ in range(3):
            with subprocess.Popen(list(map(str, command))) as process:
                time.sleep(choose.uniform(0, seconds))
                process.kill()
        made.run(*given, "--checkpoint", kept)
        assert kept.read_bytes() == wanted
    trainer = thin.compile(threads=2, seed=0)
    history = trainer.fit(shapes, batch_size=BATCH, epochs=8, checkpoint=tmp_path / "jit")
    assert (tmp_path / "jit").read_bytes() == wanted
    assert history["loss"][-1] < 0.8 * history["loss"][0]


def test_the_paper_counts_these_parameters(names: dict[str, Any]) -> None:
    """0.27 million in its table 6; batch norm's are among them."""
    parameters = names["residual_network"](3).parameters()
    assert sum(int(np.prod(p.shape)) for p in parameters) == 269_722
