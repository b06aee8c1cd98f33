"""A child of fork that ends inside its parent's run takes nothing of it along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
import numpy as np
import gradc as gc
from gradc import optim

w, x = gc.parameter("w", (3,), init=gc.init.ones), gc.input("x", ("batch", 3))
trainer = gc.training(gc.mean((x @ w) ** 2), optim.SGD(lr=0.01)).compile(threads=1)
data = {"x": np.ones((8, 3), np.float32)}
for epoch in trainer.epochs(data, batch_size=4, epochs=4, checkpoint="run", metrics_file="log.csv"):
    before = open("run", "rb").read() if os.path.exists("run") else b""
    child = os.fork()
    if not child:
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.path.exists("run.lock"), epoch.number
    assert before == (open("run", "rb").read() if os.path.exists("run") else b"")
"""


def test_a_child_that_ends_leaves_lock_log_and_checkpoint(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3", "4"]
    assert not (tmp_path / "run.lock").exists() and (tmp_path / "run").exists()
