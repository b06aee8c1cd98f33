"""What a library takes over of a checkpoint: any state that fits, the position of its own runs."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from support_binary import needs_compiler, record_of

import gradc as gc
from gradc import nn, optim

pytestmark = needs_compiler


def program(with_metric: bool) -> Any:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch", 1))
    error = nn.Linear(3, 1)(x) - y
    metrics = {"worst": gc.max(gc.abs(error))} if with_metric else {}
    return gc.training(gc.mean(gc.square(error)), optim.SGD(lr=0.1), metrics=metrics)


def test_the_position_of_another_program_is_not_taken_over(tmp_path: Path) -> None:
    path = program(True).build(tmp_path / "libworst.so", kind="library", batch=4)[0]
    library, session = ctypes.CDLL(str(path)), ctypes.c_void_p()
    library.gradc_worst_init(ctypes.byref(session), ctypes.c_int64(0), ctypes.c_int64(1))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(12, 3)), "y": rng.normal(size=(12, 1))}
    for with_metric, epoch in ((False, 0), (True, 2)):
        trainer = program(with_metric).compile(seed=0)
        trainer.fit(data, batch_size=4, epochs=2, checkpoint=tmp_path / "given")
        for call, name in ((library.gradc_worst_load, "given"), (library.gradc_worst_save, "made")):
            assert call(session, str(tmp_path / name).encode()) == 0
        made, loaded = record_of(tmp_path / "made"), program(True).compile()
        loaded.load(tmp_path / "given")
        loaded.save(tmp_path / "own")
        assert made.epoch == epoch and (made.step > 0) == (epoch > 0)
        assert (tmp_path / "made").read_bytes() == (tmp_path / "own").read_bytes()
        (tmp_path / "given").unlink()
    library.gradc_worst_free(session)
