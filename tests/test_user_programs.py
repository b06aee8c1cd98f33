"""Small programs as users write them, where special points, files and processes meet.

Each of these once gave a wrong value or surprised a reader of the documentation.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import gradc as gc
from gradc import nn, optim

POINTS = np.array([0.0, -0.0, 0.75, -0.75, 6.0, -6.0])
SIGMOID = 1 / (1 + np.exp(-POINTS))


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (gc.elu, 1.0),
        (lambda x: gc.elu(x, 0.5), 0.5),
        (gc.celu, 1.0),
        (gc.selu, 1.0507009873554805 * 1.6732632423543773),
    ],
)
def test_elu_family_has_its_left_derivative_at_zero(
    function: Callable[[gc.Tensor], gc.Tensor], slope: float
) -> None:
    x = gc.input("x", (2,), gc.float64)
    gradient = gc.compile(gc.grad(gc.sum(function(x)), x))
    np.testing.assert_allclose(gradient(x=np.array([0.0, -0.0])), slope, rtol=1e-15)


def test_softplus_is_smooth_at_its_threshold() -> None:
    x = gc.input("x", (1,), gc.float64)
    gradient = gc.compile(gc.grad(gc.sum(gc.softplus(x)), x))
    np.testing.assert_allclose(gradient(x=np.array([20.0])), 1 / (1 + np.exp(-20.0)), rtol=1e-15)


@pytest.mark.parametrize(
    ("function", "second"),
    [
        (gc.logsigmoid, -SIGMOID * (1 - SIGMOID)),
        (gc.softplus, SIGMOID * (1 - SIGMOID)),
        (lambda x: gc.logaddexp(x, np.zeros(6)), SIGMOID * (1 - SIGMOID)),
        (lambda x: gc.logaddexp(np.zeros(6), x), SIGMOID * (1 - SIGMOID)),
        (
            lambda x: gc.binary_cross_entropy_with_logits(x, np.full(6, 0.25), reduction="none"),
            SIGMOID * (1 - SIGMOID),
        ),
        (lambda x: gc.huber_loss(x, np.zeros(6), reduction="none"), np.abs(POINTS) < 1),
        (lambda x: gc.smooth_l1_loss(x, np.zeros(6), reduction="none"), np.abs(POINTS) < 1),
    ],
)
def test_second_derivatives_at_zero(
    function: Callable[[gc.Tensor], gc.Tensor], second: np.ndarray
) -> None:
    """A composition of |x| or max(x, 0) has the right value, slope, and a second derivative of
    0 there: Newton's method from zero weights then meets a singular matrix."""
    x = gc.input("x", (6,), gc.float64)
    hessian = gc.compile(gc.hessian(gc.sum(function(x)), x))
    np.testing.assert_allclose(np.diag(hessian(x=POINTS)), second, rtol=1e-12, atol=1e-15)


def test_newton_step_of_logistic_regression_from_zero_weights() -> None:
    rng = np.random.default_rng(0)
    data, labels = rng.standard_normal((50, 3)), rng.integers(0, 2, 50).astype(np.float64)
    w = gc.input("w", (3,), gc.float64)
    loss = gc.binary_cross_entropy_with_logits(gc.constant(data) @ w, gc.constant(labels))
    hessian = gc.compile(gc.hessian(loss, w))(w=np.zeros(3))
    np.testing.assert_allclose(hessian, data.T @ data / (4 * 50), rtol=1e-12)


def test_logaddexp_of_infinities() -> None:
    first = np.array([np.inf, -np.inf, np.inf, -np.inf, np.nan, 1.0])
    second = np.array([np.inf, -np.inf, -np.inf, 3.0, 1.0, np.nan])
    x, y = gc.input("x", (6,), gc.float64), gc.input("y", (6,), gc.float64)
    result = gc.logaddexp(x, y)
    value, gradient = gc.compile((result, gc.grad(gc.sum(result), x)))(x=first, y=second)
    np.testing.assert_array_equal(value, [np.inf, -np.inf, np.inf, 3.0, np.nan, np.nan])
    np.testing.assert_array_equal(gradient[:4], [0.5, 0.5, 1.0, 0.0])


def test_load_without_strict_keeps_parameters_that_the_file_lacks(tmp_path: Path) -> None:
    x = gc.input("x", ("batch", 3))
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    trainer = gc.training(gc.mean(model(x) ** 2), optimizer=optim.Adam()).compile()
    trainer.fit({"x": np.ones((4, 3))}, epochs=2, progress=False)
    before = dict(trainer.parameters)
    save_file({"0.weight": np.ones((2, 3), np.float32)}, tmp_path / "part.safetensors")
    trainer.load(tmp_path / "part.safetensors", strict=False)
    assert (trainer.parameters["0.weight"] == 1).all()
    for name in ("0.bias", "1.weight", "1.bias"):
        np.testing.assert_array_equal(trainer.parameters[name], before[name])
    assert int(trainer.state["gradc.step"]) == 0  # the optimizer starts fresh


TRAIN = """
import sys, numpy as np, gradc as gc
from gradc import nn, optim
x, y = gc.input("x", ("batch", 20)), gc.input("y", ("batch",), gc.int32)
model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
loss = gc.cross_entropy(model(x), y)
trainer = gc.training(loss, optimizer=optim.Adam(lr=1e-3)).compile(threads=1, seed=1)
rng = np.random.default_rng(0)
data = {"x": rng.standard_normal((301, 20)), "y": rng.integers(0, 3, 301)}
print("ready", flush=True)
trainer.fit(data, batch_size=8, epochs=int(sys.argv[2]), checkpoint=sys.argv[1],
            checkpoint_every=2, resume=True, progress=False)
"""


def test_killed_and_interrupted_runs_end_with_the_bytes_of_one_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAIN]
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    subprocess.run([*command, str(whole), "6"], check=True, capture_output=True, timeout=60)
    for delay, number in ((0.02, signal.SIGKILL), (0.03, signal.SIGINT), (0.05, signal.SIGKILL)):
        process = subprocess.Popen(
            [*command, str(parts), "6"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, number)
        process.wait(30)
        process.stdout.close()
    subprocess.run([*command, str(parts), "6"], check=True, capture_output=True, timeout=60)
    assert parts.read_bytes() == whole.read_bytes()


def test_an_unrolled_loop_of_many_steps_compiles() -> None:
    """The steps fuse into one kernel, whose expression is as deep as the loop is long."""
    x = gc.input("x", (4,))
    y = x
    for _ in range(400):
        y = gc.sin(y) + x * 0.001
    point = np.linspace(0, 1, 4, dtype=np.float32)
    expected = point
    for _ in range(400):
        expected = np.sin(expected) + point * np.float32(0.001)
    np.testing.assert_allclose(gc.compile(y)(x=point), expected, rtol=1e-4)


def test_a_forked_child_makes_threads_of_its_own() -> None:
    """A pool's workers do not exist in the child; it must neither hang nor compute otherwise."""
    code = """
import os, numpy as np, gradc as gc
x = gc.input("x", (200, 300))
f = gc.compile(x @ x.T, threads=2)
values = np.random.default_rng(0).standard_normal((200, 300)).astype(np.float32)
before = f(x=values).tobytes()
child = os.fork()
if child == 0:
    os._exit(0 if f(x=values).tobytes() == before else 1)
_, status = os.waitpid(child, 0)
print("child", os.waitstatus_to_exitcode(status), f(x=values).tobytes() == before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "child 0 True\n"


def test_an_integer_product_of_constants_folds_and_still_sums() -> None:
    """int64 products are folded where both factors are known; the contraction must survive it."""
    three, x = gc.full((5,), 3, gc.int64), gc.input("x", (5,), gc.int64)
    outputs = {"constants": gc.vecdot(three, three), "ones": gc.vecdot(x, gc.ones((5,), gc.int64))}
    found = gc.compile(outputs)(x=np.arange(5))
    assert (found["constants"], found["ones"]) == (45, 10)
