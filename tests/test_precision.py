"""Short numbers: 16-bit tensors compiled, and contractions of rounded factors (`precision=`)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(41)
HALVES = {"bf16": np.dtype(ml_dtypes.bfloat16), "fp16": np.dtype(np.float16)}


def rounded(x: Array, precision: str) -> Array:
    """In float64, where their products and sums have no error worth the name."""
    return x.astype(HALVES[precision]).astype(np.float64)


@pytest.mark.parametrize("precision", HALVES)
def test_products_multiply_rounded_factors(precision: str) -> None:
    """The result is that of rounded factors to float32's rounding, which that of the factors as
    they are is not; the sum beside it is not rounded."""
    x, w = gc.input("x", (40, 300)), gc.input("w", (300, 50))
    a, b = (RNG.normal(size=s).astype(np.float32) for s in ((40, 300), (300, 50)))
    f = gc.compile({"y": x @ w, "sum": x + x}, precision=precision)
    found = f(x=a, w=b)
    wanted = rounded(a, precision) @ rounded(b, precision)
    assert found["y"].dtype == np.float32
    np.testing.assert_allclose(found["y"], wanted, atol=1e-4)
    assert abs(found["y"] - a.astype(np.float64) @ b).max() > 1e-3
    np.testing.assert_array_equal(found["sum"], a + a)


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_precisions_that_the_cpu_has_no_shorter_numbers_for(precision: str) -> None:
    x = gc.input("x", (30, 70))
    a = RNG.normal(size=(30, 70)).astype(np.float32)
    plain = gc.compile(x @ x.mT)(x=a)
    np.testing.assert_array_equal(gc.compile(x @ x.mT, precision=precision)(x=a), plain)


@pytest.mark.parametrize("precision", HALVES)
def test_convolutions_and_their_gradients(precision: str) -> None:
    """Against the same convolution in float64 of rounded numbers; the gradient's factors too."""
    a = RNG.normal(size=(2, 3, 9, 9)).astype(np.float32)
    b = RNG.normal(size=(5, 3, 3, 3)).astype(np.float32)
    c = RNG.normal(size=(2, 5, 7, 7)).astype(np.float32)

    def compiled(dtype: Any, **options: Any) -> Any:
        x, w = gc.input("x", a.shape, dtype), gc.input("w", b.shape, dtype)
        dy = gc.input("dy", c.shape, dtype)
        y = gc.conv2d(x, w)
        dx, dw = gc.vjp(y, [x, w], dy)
        return gc.compile({"y": y, "dx": dx, "dw": dw}, **options)

    found = compiled(gc.float32, precision=precision)(x=a, w=b, dy=c)
    short = [rounded(v, precision) for v in (a, b, c)]
    wanted = compiled(gc.float64)(x=short[0], w=short[1], dy=short[2])
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, atol=1e-4)


def test_float64_and_regions() -> None:
    """Double precision is left alone; the products of a loop's body are rounded."""
    d = gc.input("d", (4, 4), gc.float64)
    b = RNG.normal(size=(4, 4))
    np.testing.assert_array_equal(gc.compile(d @ d, precision="bf16")(d=b), gc.compile(d @ d)(d=b))
    w, xs = gc.input("w", (4, 4)), gc.input("xs", (3, 4))
    total, _ = gc.scan(lambda c, x: (gc.tanh(c @ w + x), c), gc.zeros((4,)), xs)
    a, rows = b.astype(np.float32), RNG.normal(size=(3, 4)).astype(np.float32)
    found = gc.compile(total, precision="bf16")(w=a, xs=rows)
    carry = np.zeros(4)
    for row in rows:
        carry = np.tanh(rounded(carry.astype(np.float32), "bf16") @ rounded(a, "bf16") + row)
    np.testing.assert_allclose(found, carry, atol=1e-5)


def program() -> tuple[Any, dict[str, Array]]:
    x, t = gc.input("x", ("batch", 20)), gc.input("t", ("batch",), gc.int32)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    made = gc.training(gc.cross_entropy(model(x), t), optim.Adam(lr=1e-2))
    rows = RNG.normal(size=(100, 20)).astype(np.float32)
    return made, {"x": rows, "t": rows[:, :4].argmax(1).astype(np.int32)}


def test_training_in_bf16_keeps_float32_masters(tmp_path: Path) -> None:
    """The losses fall as in float32 but are others; the state is float32; one thread or two, and
    resumed, it is the same bits; float32 does not continue such a run."""
    made, data = program()

    def losses(precision: str, **options: Any) -> Any:
        trainer = made.compile(precision=precision, **options)
        return trainer, trainer.fit(data, batch_size=32, epochs=20)["loss"]

    plain, (short, found) = losses("float32")[1], losses("bf16", threads=1)
    assert found != plain and abs(found[-1] - plain[-1]) < 0.02 < plain[0] - plain[-1]
    for name, value in short.parameters.items():
        assert value.dtype == np.float32
        assert (value != rounded(value, "bf16")).any(), f"{name} is rounded"
    two, same = losses("bf16", threads=2)
    assert same == found
    for name, value in short.parameters.items():
        np.testing.assert_array_equal(two.parameters[name], value)
    path = str(tmp_path / "run.safetensors")
    made.compile(precision="bf16").fit(data, batch_size=32, epochs=7, checkpoint=path)
    resumed = made.compile(precision="bf16")
    resumed.fit(data, batch_size=32, epochs=20, checkpoint=path, resume=True)
    for name, value in short.parameters.items():
        np.testing.assert_array_equal(resumed.parameters[name], value)
    with pytest.raises(gc.FileError, match="another"):
        made.compile().fit(data, batch_size=32, epochs=21, checkpoint=path, resume=True)


def test_a_binary_in_bf16_gives_the_bits_of_fit(tmp_path: Path) -> None:
    made, data = program()
    trainer = made.compile(precision="bf16", seed=3)
    trainer.fit(data, batch_size=32, epochs=4)
    made.build(tmp_path / "train", batch=32, precision="bf16")
    arguments = []
    for name, value in data.items():
        np.save(tmp_path / f"{name}.npy", value)
        arguments += ["--data", f"{name}={tmp_path / name}.npy"]
    out = tmp_path / "out.safetensors"
    command = [tmp_path / "train", *arguments, "--epochs", "4", "--seed", "3", "--checkpoint", out]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    stored = load_file(out)
    for name, value in trainer.parameters.items():
        np.testing.assert_array_equal(stored[name], value)


# -- scaled losses --------------------------------------------------------------------------------


def scaled_program(factor: float, optimizer: optim.Optimizer) -> tuple[Any, dict[str, Array]]:
    """A loss whose gradients are `factor` times as large as they are meant to be."""
    x, t = gc.input("x", ("batch", 20)), gc.input("t", ("batch",), gc.int32)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
    made = gc.training(gc.cross_entropy(model(x), t) * factor, optimizer)
    rows = np.random.default_rng(3).normal(size=(128, 20)).astype(np.float32)
    return made, {"x": rows, "t": rows[:, :4].argmax(1).astype(np.int32)}


def number(trainer: Any, name: str) -> float:
    return float(trainer.state[f"optimizer.{name}"])


def test_small_gradients_survive_float16() -> None:
    """1e-6 of a gradient is nothing in float16, but for the scale."""
    losses = []
    for precision in ("float32", "fp16"):
        made, data = scaled_program(1e-6, optim.Adam(lr=1e-2, eps=1e-20))
        trainer = made.compile(precision=precision)
        losses.append(trainer.fit(data, batch_size=32, epochs=20)["loss"])
    assert losses[1][-1] < 0.05 * losses[1][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2)
    assert number(trainer, "loss_scale") == 2.0**16 and number(trainer, "updates") == 80


def test_steps_that_overflow_change_nothing_but_the_scale() -> None:
    made, data = scaled_program(1e6, optim.SGD(lr=1e-7, momentum=0.9))
    trainer = made.compile(precision="fp16")
    first = {name: np.array(value) for name, value in trainer.parameters.items()}
    batch = {name: value[:32] for name, value in data.items()}
    scales = [2.0**16]
    while number(trainer, "updates") == 0:
        trainer.step(**batch)
        scales.append(number(trainer, "loss_scale"))
        if number(trainer, "updates") == 0:
            for name, value in first.items():
                np.testing.assert_array_equal(trainer.parameters[name], value)
                assert not np.any(trainer.state[f"optimizer.momentum.{name}"])
    halved = [2.0**16 / 2**i for i in range(len(scales) - 1)]
    assert scales == [*halved, halved[-1]] and 3 < len(scales) < 20
    history = trainer.fit(data, batch_size=32, epochs=30)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert np.isfinite(trainer.parameters["0.weight"]).all()


def test_the_scale_grows_after_many_finite_steps() -> None:
    w = gc.parameter("w", (1,), init=gc.init.ones)
    made = gc.training(gc.sum(w @ w), optim.SGD(lr=1e-5))
    trainer = made.compile(precision="fp16")
    trainer.fit({}, epochs=2000)  # 2**16 is no float16: the first step halves it
    assert number(trainer, "loss_scale") == 2.0**15 and number(trainer, "steps_finite") == 1999
    trainer.fit({}, epochs=1)
    assert number(trainer, "loss_scale") == 2.0**16 and number(trainer, "steps_finite") == 0
    assert number(trainer, "updates") == 2000


def test_scaled_updates_are_those_of_the_optimizer() -> None:
    """Powers of two round nothing: where no factor is rounded, the bits are those of float32."""
    results = []
    for precision in ("float32", "fp16"):
        w = gc.parameter("w", (3, 3), init=np.arange(9.0).reshape(3, 3) / 8)
        x = gc.input("x", (3, 3))
        made = gc.training(gc.sum(x @ w), optim.SGD(lr=0.25, clip_norm=5.0))
        trainer = made.compile(precision=precision)
        for _ in range(1 if precision == "float32" else 2):  # 2**16, the first scale, overflows
            trainer.step(x=np.eye(3))
        results.append(trainer.parameters["w"])
    np.testing.assert_array_equal(*results)


def test_optimizers_that_evaluate_the_loss_themselves_do_not_scale_it() -> None:
    made, _ = scaled_program(1.0, optim.LBFGS())
    with pytest.raises(gc.ArgumentError, match=r"LBFGS does not scale its loss\n.*\n.*bf16"):
        made.compile(precision="fp16")


# -- tensors of 16 bits ---------------------------------------------------------------------------

FUNCTIONS = {
    "softmax": lambda x: gc.softmax(x, axis=-1),
    "layer_norm": lambda x: gc.layer_norm(x, (24,)),
    "gelu": gc.gelu,
    "logsumexp": lambda x: gc.logsumexp(x, axis=0),
    "mean": lambda x: gc.mean(x, axis=1),
    "std": lambda x: gc.std(x, axis=0),
    "cumsum": lambda x: gc.cumsum(x, axis=1),
    "gram": lambda x: x @ x.mT,
    "max": lambda x: gc.max(x, axis=1),
    "gather": lambda x: gc.take(x, gc.constant([2, 0, 2]), axis=0),
    "loss": lambda x: gc.cross_entropy(x, gc.constant(np.arange(16) % 24)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("precision", HALVES)
def test_functions_of_16_bit_tensors(name: str, precision: str) -> None:
    """Value and gradient, to the last bits of such numbers."""
    dtype = {"bf16": gc.bfloat16, "fp16": gc.float16}[precision]
    a = RNG.normal(size=(16, 24)).astype(HALVES[precision])
    results = []
    for kind in (dtype, gc.float64):
        x = gc.input("x", a.shape, kind)
        y = FUNCTIONS[name](x)
        (slope,) = gc.grad(gc.sum(gc.sin(y)), [x])
        results.append(gc.compile([y, slope])(x=a.astype(kind.numpy)))
    epsilon = 2.0**-7 if precision == "bf16" else 2.0**-10
    for found, wanted in zip(*results, strict=True):
        assert found.dtype == HALVES[precision]
        scale = max(abs(wanted).max(), 1.0)
        np.testing.assert_allclose(found.astype(np.float64), wanted, atol=6 * epsilon * scale)


def test_sums_of_short_numbers_are_long() -> None:
    """1 + 1 + ... stays at 256 in bfloat16 if every sum is rounded."""
    x = gc.input("x", (3000,), gc.bfloat16)
    ones = np.ones(3000)
    assert float(gc.compile(gc.sum(x))(x=ones)) == float(HALVES["bf16"].type(3000))
    assert float(gc.compile(x @ x)(x=ones)) == float(HALVES["bf16"].type(3000))


MEANS = {
    "mean": (gc.mean, lambda a: a.mean()),
    "nanmean": (gc.nanmean, lambda a: a.mean()),
    "var": (gc.var, lambda a: a.var()),
    "mse_loss": (lambda x: gc.mse_loss(x, 0 * x), lambda a: (a * a).mean()),
    "avg_pool1d": (lambda x: gc.avg_pool1d(x[None, None], len(x))[0, 0, 0], lambda a: a.mean()),
}


@pytest.mark.parametrize("name", MEANS)
@pytest.mark.parametrize("precision", HALVES)
def test_means_of_more_than_float16_can_count(name: str, precision: str) -> None:
    """float16 ends at 65504: neither the sum nor the number of terms is one of its own."""
    function, reference = MEANS[name]
    a = RNG.uniform(0.5, 1.5, 70_001).astype(HALVES[precision])
    dtype = {"bf16": gc.bfloat16, "fp16": gc.float16}[precision]
    found = float(gc.compile(function(gc.input("x", a.shape, dtype)))(x=a))
    epsilon = 2.0**-8 if precision == "bf16" else 2.0**-11
    assert abs(found / reference(a.astype(np.float64)) - 1) <= epsilon


@pytest.mark.parametrize("dtype", [gc.bfloat16, gc.float16])
def test_layers_of_16_bit_parameters_train(dtype: Any) -> None:
    x, t = gc.input("x", ("batch", 8), dtype), gc.input("t", ("batch", 1), dtype)
    model = nn.Sequential(nn.Linear(8, 16, dtype=dtype), nn.Tanh(), nn.Linear(16, 1, dtype=dtype))
    trainer = gc.training(gc.mse_loss(model(x), t), optim.SGD(lr=0.1)).compile()
    rows = RNG.normal(size=(64, 8))
    history = trainer.fit({"x": rows, "t": rows[:, :1] / 2}, batch_size=16, epochs=15)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert all(value.dtype == dtype.numpy for value in trainer.parameters.values())


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(gc.ArgumentError, match="unknown precision 'half'\n  known: float32, tf32"):
        gc.compile(gc.ones(2), precision="half")
