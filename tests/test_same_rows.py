"""A data set that is one batch: every step reads the same rows, which are gathered once a call."""

from __future__ import annotations

import numpy as np
import pytest

import gradc as gc
from gradc import optim
from gradc.compiler.cpu_llvm.unchanging import unchanging
from gradc.compiler.program.text import parse_program

ROWS, FEATURES, EPOCHS = 40, 6, 7


def _program() -> gc.TrainingProgram:
    x, y = gc.input("x", ("batch", FEATURES)), gc.input("y", ("batch", 1))
    w = gc.parameter("w", (FEATURES, 70), init=gc.init.uniform(-0.5, 0.5))
    v = gc.parameter("v", (70, 1), init=gc.init.uniform(-0.5, 0.5))
    return gc.training(gc.mse_loss(gc.tanh(x @ w) @ v, y), optimizer=optim.SGD(lr=0.05))


def _data(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((ROWS, FEATURES)).astype(np.float32)
    return {"x": x, "y": x[:, :1] * x[:, 1:2]}


def test_the_kernel_that_gathers_runs_once() -> None:
    trainer = _program().compile(seed=0)
    lowered = trainer.artifact.lowered("run", {"batch": ROWS}, False)
    kernels = lowered.kernels()
    once = unchanging(kernels)
    assert once, "one kernel gathers the batch"
    for kernel in once:
        assert all(buffer.space in ("input", "order") for buffer in kernel.reads)
    assert once < set(kernels), "what reads the state runs in every step"


@pytest.mark.parametrize("threads", [1, 2])
def test_epochs_of_one_batch_equal_steps(threads: int) -> None:
    fitted, stepped = (_program().compile(seed=0, threads=threads) for _ in range(2))
    for seed in (1, 2):  # other data in the same memory of the arena
        data = _data(seed)
        history = fitted.fit(data, batch_size=ROWS, epochs=EPOCHS, restart=True, progress=False)
        losses = [stepped.step(**data)["loss"] for _ in range(EPOCHS)]
        assert list(history["loss"]) == pytest.approx(losses, rel=0, abs=0)
    for name, value in fitted.parameters.items():
        assert value.tobytes() == stepped.parameters[name].tobytes()


SHARED = """
program run rows 4 arena 64 {
  input %x : f32[samples, 4]
  input %"gradc.order" : i64[4]
  output %out : f32[]
  buffer %"gradc.order" : i64[4] in order
  buffer %x : f32[0, 4] in input slot 0
  buffer %t0 : f32[4, 4] in arena at 0
  buffer %t1 : f32[4] in arena at OFFSET
  buffer %out_out : f32[] in output slot 0
  run k1 after k0
  run k2 after k1
  repeat {
    kernel k0 "sample" {
      parallel i0 in 4
      parallel i1 in 4
      loop {
        %t0[i0, i1] = %x[%"gradc.order"[i0], i1]
      }
    }
    kernel k1 "sum" {
      parallel i0 in 4
      loop {
        %t1[i0] = exp(%t0[i0, 0])
      }
    }
    kernel k2 "sum" {
      loop i0 in 4 {
        %k2_r0 = sum(%t1[i0]) : f32
      }
      loop {
        %out_out[] = %k2_r0
      }
    }
  }
}
"""


@pytest.mark.parametrize(("offset", "names"), [(64, {"k0"}), (48, set())])
def test_memory_that_serves_another_kernel_is_filled_again(offset: int, names: set[str]) -> None:
    program = parse_program(SHARED.replace("OFFSET", str(offset)).replace("64 {", "128 {"))
    assert {kernel.name for kernel in unchanging(program.kernels())} == names
