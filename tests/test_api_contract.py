"""Every line of the public contract: called as a user would, and its numbers looked at.

Functions one by one are in test_functional.py and others; here it is every argument of what makes,
compiles, trains and stores programs, and every promise about names, modes, files and errors.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc._training import TrainingProgram

Array = np.ndarray[Any, Any]
near = np.testing.assert_allclose


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------- tensors and functions


def test_the_first_lines() -> None:
    x = gc.input("x", (3,), gc.float64)
    w = gc.parameter("w", (3,), init=gc.init.zeros)
    y = gc.sum(gc.sin(x) * w)
    (g,) = gc.grad(y, [w])
    hessian = gc.hessian(gc.sum(gc.exp(x) * x), x)
    f = gc.compile({"y": y, "g": g, "h": [hessian]}, target="cpu")
    given = np.array([0.5, 1.0, 2.0])
    got = f(x=given)
    assert got["y"] == 0.0
    near(got["g"], np.sin(given), rtol=1e-7)
    near(got["h"][0], np.diag(np.exp(given) * (given + 2)), rtol=1e-12)
    near(gc.compile((x.sin() * w).sum())(x=given), 0.0)
    assert str(gc.graph({"y": y})).startswith("graph main(")


def test_structures_come_back_as_they_went_in() -> None:
    a, b = gc.constant(1.0), gc.constant([2.0, 3.0])
    assert gc.compile(a)() == 1.0
    listed = gc.compile([a, {"b": b, "c": (a, b)}])()
    assert type(listed) is list and type(listed[1]["c"]) is tuple
    near(listed[1]["c"][1], [2, 3])
    assert set(gc.compile({"x": a, "y": b})()) == {"x", "y"}


def test_derivatives_by_name() -> None:
    x = gc.input("x", (2,), gc.float64)
    y = gc.stack([x[0] ** 2 * x[1], x[1] ** 3])
    v = gc.constant([1.0, 2.0], gc.float64)
    f = gc.compile(
        {
            "vjp": gc.vjp(y, x, v),
            "jvp": gc.jvp(y, x, v),
            "jacobian": gc.jacobian(y, x),
            "hvp": gc.hvp(gc.sum(y), x, v),
            "hessian": gc.hessian(gc.sum(y), x),
            "twice": gc.grad(gc.sum(gc.grad(gc.sum(y), x) ** 2), x),
        }
    )
    got, (p, q) = f(x=np.array([3.0, 5.0])), (3.0, 5.0)
    jacobian = np.array([[2 * p * q, p * p], [0, 3 * q * q]])
    hessian = np.array([[2 * q, 2 * p], [2 * p, 6 * q]])
    near(got["jacobian"], jacobian)
    near(got["vjp"], [1, 2] @ jacobian)
    near(got["jvp"], jacobian @ [1, 2])
    near(got["hessian"], hessian)
    near(got["hvp"], hessian @ [1, 2])
    near(got["twice"], 2 * hessian @ jacobian.sum(0))


def test_grad_keeps_structures_and_knows_zeros() -> None:
    x, y, z = (gc.input(name, (2,)) for name in "xyz")
    loss = gc.sum(x * x + 3.0 * y)
    given = {name: np.array([1.0, 2.0]) for name in "xyz"}
    one, some, named = gc.grad(loss, x), gc.grad(loss, [x, z]), gc.grad(loss, {"y": y, "z": z})
    f = gc.compile({"one": one, "some": some, "named": named, "loss": loss + 0.0 * gc.sum(z)})
    got = f(**given)
    near(got["one"], [2, 4])
    near(got["some"], [[2, 4], [0, 0]])
    near(got["named"]["y"], [3, 3])
    near(got["named"]["z"], [0, 0])
    with pytest.raises(gc.GradientError, match="vjp"):
        gc.grad(x * x, x)


def test_text_is_read_back_and_runs() -> None:
    x = gc.input("x", ("batch", 2))
    text = str(gc.graph({"y": gc.sum(x * x, axis=1)}))
    f = gc.compile(gc.parse(text))
    near(f(x=np.array([[1.0, 2.0], [3.0, 4.0]]))["y"], [5, 25])
    assert str(gc.parse(text)) == text
    with pytest.raises(gc.IRSyntaxError) as caught:
        gc.parse("graph f(%x: f33[2]) {\n}\n", file="model.ir")
    assert str(caught.value).startswith("model.ir:1:13: ")
    with pytest.raises(gc.IRSyntaxError, match=r"^<text>:1:"):
        gc.parse("nonsense")


@pytest.mark.parametrize("bound", [{}, {"batch": 4}, {"dims": {"batch": 4}}])
def test_named_dimensions_are_bound_by_arrays_or_ahead(bound: dict[str, Any]) -> None:
    x = gc.input("x", ("batch", 3))
    f = gc.compile(gc.mean(x, axis=0), **bound)
    near(f(x=np.full((4, 3), 2.0)), [2, 2, 2])
    if not bound:
        near(f(x=np.full((7, 3), 3.0)), [3, 3, 3])
        return
    with pytest.raises(gc.ShapeError, match=r"shape \[7, 3\], declared \[4, 3\]"):
        f(x=np.ones((7, 3)))
    with pytest.raises(gc.ArgumentError, match="unknown dimension 'rows'"):
        gc.compile(x, dims={"rows": 4})
    with pytest.raises(gc.ArgumentError, match="batch is 3, dims says 4"):
        gc.compile(x, dims={"batch": 4}, batch=3)


DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool".split()


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes(name: str) -> None:
    dtype = getattr(gc, name)
    x = gc.input("x", (2,), dtype)
    assert x.dtype == dtype and (x == x).dtype == gc.bool
    f = gc.compile(x | x if name == "bool" else x + x)
    got = f(x=np.ones(2, x.dtype.numpy))
    assert got.dtype == x.dtype.numpy
    np.testing.assert_array_equal(got, np.ones(2, bool) if name == "bool" else [2, 2])
    if name != "bool":
        assert (x + 1).dtype == dtype  # Python scalars are weak


def test_promotion() -> None:
    small, wide = gc.input("a", (), gc.int32), gc.input("b", (), gc.int64)
    assert (small + wide).dtype == gc.int64
    assert (gc.input("c", ()) + gc.input("d", (), gc.float64)).dtype == gc.float64
    assert (gc.input("c", ()) * 2.5).dtype == gc.float32 and (small * 2).dtype == gc.int32
    assert gc.constant(1.5).dtype == gc.float32 and gc.constant([1, 2]).dtype == gc.int64


def test_indexed_updates() -> None:
    x = np.arange(12.0).reshape(4, 3)
    t = gc.constant(x)
    index = np.array([2, 0])
    near(gc.compile(gc.take(t, index, axis=0))(), x[index])
    near(gc.compile(gc.take(t, index, axis=1))(), x[:, index])
    along = np.array([[0], [2], [1], [0]])
    near(gc.compile(gc.take_along_axis(t, along, axis=1))(), np.take_along_axis(x, along, 1))
    expected = x.copy()
    np.add.at(expected, [2, 0], 1.0)
    near(gc.compile(gc.index_add(t, 0, index, gc.ones((2, 3), gc.float64)))(), expected)
    scattered = x.copy()
    scattered[[0, 1, 2, 3], [0, 2, 1, 0]] += 5.0
    near(gc.compile(gc.scatter_add(t, 1, along, gc.full((4, 1), 5.0, gc.float64)))(), scattered)


def test_neural_functions_are_in_both_places() -> None:
    x = rng().normal(size=(3, 4))
    t = gc.constant(x)
    normed = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    for family in (gc, nn.functional):
        near(gc.compile(family.layer_norm(t, (4,)))(), normed, rtol=1e-6)
        near(gc.compile(family.pad(t, (1, 2), value=7.0))()[:, 0], 7.0)
        softmax = np.exp(x) / np.exp(x).sum(1, keepdims=True)
        near(gc.compile(family.softmax(t, axis=1))(), softmax, rtol=1e-6)
        labels = np.array([0, 3, 1], np.int32)
        loss = -np.log(softmax[np.arange(3), labels]).mean()
        near(gc.compile(family.cross_entropy(t, gc.constant(labels)))(), loss, rtol=1e-6)


def test_initial_values() -> None:
    def value(init: Any, shape: tuple[int, ...] = (40, 50)) -> Array:
        f = gc.compile(gc.parameter("w", shape, init=init), seed=3)
        got = f()
        np.testing.assert_array_equal(got, f.parameters["w"])
        return np.asarray(got)

    assert not value(None).any() and not value(gc.init.zeros).any()
    np.testing.assert_array_equal(value(gc.init.ones), np.ones((40, 50)))
    limit = math.sqrt(6 / 90)
    drawn, wider = value(gc.init.xavier_uniform), value(gc.init.xavier_uniform(gain=2.0))
    assert 0.95 * limit < np.abs(drawn).max() <= limit
    near(wider, 2 * drawn, rtol=1e-6)
    given = rng().normal(size=(40, 50))
    near(value(given), given, rtol=1e-7)
    near(value(lambda shape, dtype: gc.full(shape, 2.5)), np.full((40, 50), 2.5))
    assert gc.parameter("v", (2,), dtype=gc.float64).dtype == gc.float64


def test_layers_take_dtypes_and_initialisers() -> None:
    weight = np.arange(6.0).reshape(2, 3)
    layer = nn.Linear(3, 2, dtype=gc.float64, weight_init=weight, bias_init=gc.init.ones)
    x = gc.input("x", ("batch", 3), gc.float64)
    given = rng().normal(size=(4, 3))
    f = gc.compile(layer(x))
    near(f(x=given), given @ weight.T + 1, rtol=1e-12)
    assert f.parameters["weight"].dtype == np.float64


def test_calls_check_names_shapes_and_kinds() -> None:
    x, unused = gc.input("x", (2,)), gc.input("unused", (2,))
    i = gc.input("i", (2,), gc.int32)
    f = gc.compile({"y": x + 0.0 * unused, "i": i * 2})
    given = {"x": np.ones(2), "unused": np.ones(2), "i": np.array([1, 2])}
    got = f(**given)  # float64 to float32, int64 to int32
    assert got["y"].dtype == np.float32 and got["i"].dtype == np.int32
    for change, error, message in (
        ({"unused": None}, gc.ArgumentError, "missing input 'unused'"),
        ({"z": 1}, gc.ArgumentError, "unknown input 'z'"),
        ({"x": np.ones(3)}, gc.ShapeError, "'x' has shape"),
        ({"x": np.ones(2, np.int64)}, gc.DTypeError, "'x' is float32, not int64"),
        ({"i": np.ones(2)}, gc.DTypeError, "'i' is int32, not float64"),
        ({"i": np.array([0, 2**40])}, gc.DTypeError, "do not fit int32"),
    ):
        wrong = {name: v for name, v in {**given, **change}.items() if v is not None}
        with pytest.raises(error, match=message):
            f(**wrong)


def test_state_updates_and_stopped_gradients() -> None:
    x = gc.input("x", ())
    total = gc.state("total", (), gc.float32, gc.init.zeros)
    gc.update(total, total + x)
    f, still = gc.compile(total * 1.0, training=True), gc.compile(total * 1.0)
    assert [float(f(x=v)) if f.inputs else float(f()) for v in (1.0, 2.0, 4.0)] == [0.0, 1.0, 3.0]
    assert f.state["total"] == 7.0 and still.inputs == () and still() == 0.0
    y = gc.grad(gc.stop_gradient(x * x) * x, x)
    assert gc.compile(y)(x=3.0) == 9.0


def test_compile_arguments() -> None:
    x = gc.input("x", ("batch", 30))
    y = gc.dropout(nn.Linear(30, 40)(x), 0.5)
    given = rng().normal(size=(50, 30)).astype(np.float32)

    def got(**options: Any) -> Array:
        return np.asarray(gc.compile(y, **options)(x=given))

    first = got(seed=1)
    np.testing.assert_array_equal(first, got(seed=1, threads=1))
    np.testing.assert_array_equal(first, got(seed=1, threads=2))
    np.testing.assert_array_equal(first, got(seed=1, precision="float32", target="cpu"))
    assert not np.array_equal(first, got(seed=2)) and not (first == 0).any()
    dropped = got(seed=1, training=True)
    assert 0.45 < (dropped == 0).mean() < 0.55
    near(dropped[dropped != 0], 2 * first[dropped != 0], rtol=1e-6)
    for options, message in (
        ({"threads": 0}, "threads is an integer of at least 1"),
        ({"seed": 2**63}, "a seed is an integer of 64 bits"),
        ({"seed": 1.5}, "a seed is an integer of 64 bits"),
        ({"precision": "float31"}, "unknown precision"),
        ({"target": "tpu"}, "unknown target 'tpu'"),
        ({"batch": 0}, "at least 1"),
    ):
        with pytest.raises(gc.ArgumentError, match=message):
            gc.compile(y, **options)


def test_a_seed_reaches_random_numbers_of_every_kind_of_program() -> None:
    noise = gc.random.uniform((8,))
    text = str(gc.graph(noise))
    for make in (lambda: noise, lambda: gc.graph(noise), lambda: gc.parse(text)):
        one, again, two = (gc.compile(make(), seed=seed)() for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, two)


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled() -> bool:
        f = gc.compile(gc.input("x", (3,)) * 1.25)
        near(f(x=np.ones(3)), 1.25)
        return bool(f._executor.artifact.variant("call", {}, False).from_cache)

    folder = tmp_path / "cache"
    monkeypatch.setenv("GRADC_CACHE_DIR", str(folder))
    assert [compiled(), compiled()] == [False, True]
    assert any(path.is_file() for path in folder.rglob("*"))
    monkeypatch.setenv("GRADC_CACHE_DIR", "off")
    assert [compiled(), compiled()] == [False, False]
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "other"))
    assert not compiled()


# ---------------------------------------------------------------- training

ROWS, BATCH = 20, 6


def _data(rows: int = ROWS, seed: int = 0) -> dict[str, Array]:
    x = rng(seed).normal(size=(rows, 3)).astype(np.float32)
    return {"x": x, "y": (x @ [1.0, -2.0, 0.5] + 0.25).astype(np.float32)}


def _program(optimizer: Any = None, **options: Any) -> TrainingProgram:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    guess = nn.Linear(3, 1, weight_init=gc.init.zeros, bias_init=gc.init.zeros)(x)[:, 0]
    return gc.training(
        gc.mse_loss(guess, y),
        optimizer=optimizer or optim.SGD(lr=0.1, momentum=0.9),
        metrics={"bias": gc.mean(guess - y)},
        outputs={"guess": guess},
        **options,
    )


class Reference:
    """The same training in NumPy, batch after batch in the order given."""

    def __init__(self, lr: float = 0.1, momentum: float = 0.9) -> None:
        self.w, self.buffer, self.lr, self.momentum = np.zeros(4), np.zeros(4), lr, momentum

    def values(self, data: dict[str, Array]) -> tuple[float, float]:
        error = self.predict(data) - data["y"]
        return float((error**2).mean()), float(error.mean())

    def predict(self, data: dict[str, Array]) -> Array:
        return np.asarray(data["x"] @ self.w[:3] + self.w[3])

    def epoch(self, data: dict[str, Array], batch: int, drop_last: bool = False) -> list[float]:
        sums, seen = np.zeros(2), 0
        rows = len(data["x"])
        for first in range(0, rows, batch):
            part = {name: array[first : first + batch] for name, array in data.items()}
            count = len(part["x"])
            if drop_last and count < batch:
                continue
            sums += np.array(self.values(part)) * count
            seen += count
            error = self.predict(part) - part["y"]
            slope = 2 / count * np.append(part["x"].T @ error, error.sum())
            self.buffer = self.momentum * self.buffer + slope
            self.w -= self.lr * self.buffer
        return list(sums / seen)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("iterable", [False, True])
def test_fit_evaluate_predict_are_the_formulas(drop_last: bool, iterable: bool) -> None:
    if iterable and drop_last:
        return
    reference, data, held_out = Reference(), _data(), _data(11, 1)
    trainer = _program().compile(target="cpu", threads=2, seed=0)
    given: Any = data
    if iterable:
        given = [{k: v[i : i + BATCH] for k, v in data.items()} for i in range(0, ROWS, BATCH)]
    history = trainer.fit(
        given, batch_size=BATCH, epochs=3, validation=held_out, shuffle=False, drop_last=drop_last
    )
    assert list(history) == ["loss", "bias", "validation_loss", "validation_bias"]
    for epoch in range(3):
        expected = reference.epoch(data, BATCH, drop_last)
        near([history["loss"][epoch], history["bias"][epoch]], expected, rtol=2e-5, atol=1e-6)
        expected = list(reference.values(held_out))
        got = [history["validation_loss"][epoch], history["validation_bias"][epoch]]
        near(got, expected, rtol=2e-5, atol=1e-6)
    near(trainer.parameters["weight"][0], reference.w[:3], rtol=1e-4)
    near(trainer.parameters["bias"], reference.w[3:], rtol=1e-4, atol=1e-6)
    loss, bias = reference.values(held_out)
    for values in (trainer.evaluate(held_out), trainer.evaluate(**held_out)):
        assert all(type(value) is float for value in values.values())
        near([values["loss"], values["bias"]], [loss, bias], rtol=1e-4, atol=1e-6)
    for predicted in (trainer.predict(x=held_out["x"]), trainer.predict({"x": held_out["x"]})):
        near(predicted["guess"], reference.predict(held_out), rtol=1e-4, atol=1e-5)
    stepped = trainer.step(**held_out)
    near([stepped["loss"], stepped["bias"]], [loss, bias], rtol=1e-4, atol=1e-6)
    assert trainer.state["gradc.step"] == 3 * (3 if drop_last else 4) + 1


def test_shuffling_changes_the_order_and_the_seed_the_shuffling() -> None:
    data = _data()

    def losses(seed: int, **options: Any) -> list[float]:
        return (
            _program().compile(seed=seed).fit(data, batch_size=BATCH, epochs=2, **options)["loss"]
        )

    assert losses(0) == losses(0, shuffle=True) != losses(1)
    assert losses(0, shuffle=False) == losses(1, shuffle=False) != losses(0)


def test_any_row_count_runs() -> None:
    data = _data(9)
    for rows in range(1, 10):
        part = {name: array[:rows] for name, array in data.items()}
        trainer, reference = _program().compile(), Reference()
        losses = trainer.fit(part, batch_size=4, epochs=1, shuffle=False)["loss"]
        near(losses[0], reference.epoch(part, 4)[0], rtol=2e-5)
        assert trainer.evaluate(part, batch_size=4)["loss"] > 0


def test_history() -> None:
    history = _program().compile().fit(_data(), batch_size=BATCH, epochs=4, validation=_data(8, 1))
    plain = history.to_dict()
    assert json.loads(json.dumps(plain)) == plain and len(plain["loss"]) == 4
    assert history.best_epoch == int(np.argmin(plain["validation_loss"]))
    axes = history.plot()
    assert {line.get_label() for line in axes.get_lines()} >= {"loss", "validation_loss"}
    with pytest.raises(KeyError, match="known: 'loss'"):
        history["accuracy"]


def test_progress(capfd: pytest.CaptureFixture[str]) -> None:
    trainer = _program().compile()
    for progress, shown in ((None, False), (False, False), (True, True)):
        trainer.fit(_data(), epochs=2, progress=progress, restart=True)
        out, err = capfd.readouterr()
        assert out == "" and ("epoch 2/2  loss " in err) is shown


@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(restore: bool) -> None:
    data, held_out = _data(), _data(8, 1)
    stopping = gc.EarlyStopping(patience=3, restore_best=restore)
    trainer = _program(optim.SGD(lr=0.45)).compile()
    history = trainer.fit(
        data, batch_size=1, epochs=60, validation=held_out, early_stopping=stopping
    )
    losses = history["validation_loss"]
    best = int(np.nanargmin(losses))
    assert len(losses) == best + 4 < 60
    final = trainer.evaluate(held_out, batch_size=1)["loss"]
    assert final == (losses[best] if restore else losses[-1])
    watched = gc.EarlyStopping(patience=1, monitor="bias", mode="max", min_delta=1e9)
    other = _program().compile().fit(data, epochs=50, early_stopping=watched)
    assert len(other["loss"]) == 2
    with pytest.raises(gc.ArgumentError, match="cannot monitor 'accuracy'"):
        trainer.fit(data, early_stopping=gc.EarlyStopping(3, monitor="accuracy"))


def test_checkpoints_resume_save_and_load(tmp_path: Path) -> None:
    data, path = _data(), tmp_path / "run.safetensors"
    whole = _program().compile()
    whole.fit(data, batch_size=BATCH, epochs=5)
    options: dict[str, Any] = {"batch_size": BATCH, "checkpoint": path, "resume": True}
    for epochs in (2, 3, 5, 5):
        resumed = _program().compile()
        history = resumed.fit(data, epochs=epochs, checkpoint_every=2, **options)
        assert len(history["loss"]) == epochs
    assert resumed.executor.state.snapshot() == whole.executor.state.snapshot()
    full, alone = tmp_path / "full.safetensors", tmp_path / "alone.safetensors"
    whole.save(full)
    whole.save(alone, parameters_only=True)
    assert full.read_bytes() == path.read_bytes()
    for file, kept in ((full, True), (alone, False)):
        loaded = _program().compile(seed=9)
        loaded.load(file)
        np.testing.assert_array_equal(loaded.parameters["weight"], whole.parameters["weight"])
        assert bool(loaded.state["gradc.step"]) is kept
    loaded.load(full, parameters_only=True)
    assert loaded.state["gradc.step"] == 0


def test_load_strict(tmp_path: Path) -> None:
    w, v, u = (gc.parameter(name, (2,), init=gc.init.ones) for name in "wvu")
    one = gc.training(gc.sum(w * v), optimizer=optim.SGD(lr=0.1)).compile()
    one.parameters["w"] = np.array([5.0, 6.0])
    one.save(tmp_path / "p", parameters_only=True)
    other = gc.training(gc.sum(w * u), optimizer=optim.SGD(lr=0.1)).compile()
    with pytest.raises(gc.FileError) as caught:
        other.load(tmp_path / "p")
    assert "'u'" in str(caught.value) and "'v'" in str(caught.value)
    np.testing.assert_array_equal(other.parameters["w"], np.ones(2))
    other.load(tmp_path / "p", strict=False)
    np.testing.assert_array_equal(other.parameters["w"], [5, 6])
    np.testing.assert_array_equal(other.parameters["u"], [1, 1])


def test_parameters_and_state_are_copies_that_check() -> None:
    trainer = _program(optim.SGD(lr=0.1, momentum=0.9)).compile()
    copy = trainer.parameters["weight"]
    copy[:] = 7.0
    assert not trainer.parameters["weight"].any()
    trainer.parameters["weight"] = copy
    np.testing.assert_array_equal(trainer.parameters["weight"], np.full((1, 3), 7.0))
    assert list(trainer.parameters) == ["weight", "bias"]
    assert set(trainer.state) >= {"gradc.step", "gradc.seed", "optimizer.momentum.weight"}
    with pytest.raises(gc.ShapeError):
        trainer.parameters["weight"] = np.ones(3)
    with pytest.raises(KeyError, match="no parameter named"):
        trainer.parameters["gradc.step"]
    names = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    made = gc.compile(names(gc.input("x", ("batch", 3))))
    assert list(made.parameters) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert made.parameters["0.weight"].shape == (4, 3)


def test_learning_rate() -> None:
    trainer, data = _program(optim.SGD(lr=0.1)).compile(), _data()
    assert trainer.learning_rate == 0.1
    trainer.learning_rate = 0.0
    trainer.fit(data, epochs=1)
    assert not trainer.parameters["weight"].any() and trainer.learning_rate == 0.0
    trainer.fit(data, epochs=1, learning_rate=0.2)
    reference = Reference(lr=0.2, momentum=0.0)
    reference.epoch(data, ROWS)
    near(trainer.parameters["weight"][0], reference.w[:3], rtol=1e-5)
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(gc.ArgumentError, match="learning rate is a finite number"):
            trainer.learning_rate = wrong


def test_arguments_of_a_trainer_are_checked() -> None:
    trainer, data = _program().compile(), _data()
    for call, options, message in (
        ("fit", {"epochs": 1.5}, "epochs is a positive integer, not 1.5"),
        ("fit", {"epochs": None}, "epochs is a positive integer, not None"),
        ("fit", {"batch_size": 0}, "batch_size is a positive integer, not 0"),
        ("fit", {"checkpoint_every": True}, "checkpoint_every is a positive integer, not True"),
        ("fit", {"early_stopping": 3}, "early_stopping is not 3"),
        ("fit", {"checkpoint": 5}, "checkpoint is a path, not 5"),
        ("fit", {"metrics_file": 5}, "metrics_file is a path, not 5"),
        ("fit", {"learning_rate": "fast"}, "a learning rate is a finite number"),
        ("evaluate", {"batch_size": math.nan}, "batch_size is a positive integer, not nan"),
        ("predict", {"batch_size": "8"}, "batch_size is a positive integer, not '8'"),
    ):
        with pytest.raises(gc.ArgumentError, match=message):
            getattr(trainer, call)(data, **options)
    for wrong in (5, "data", data["x"], (data["x"], data["y"])):
        for call in ("fit", "evaluate", "predict"):
            with pytest.raises(gc.ArgumentError, match=f"^{call}: .*, not "):
                getattr(trainer, call)(wrong)
        with pytest.raises(gc.ArgumentError, match=r"^step: .*, not "):
            trainer.step(wrong)
    assert trainer.state["gradc.step"] == 0
    history = trainer.fit(data, epochs=np.int64(2), batch_size=np.int32(6))
    assert len(history["loss"]) == 2 and trainer.state["gradc.step"] == 8
    with pytest.raises(gc.ArgumentError, match="give a mapping or keywords, not both"):
        trainer.step({"x": data["x"]}, y=data["y"])
    assert set(trainer.step(data)) == set(trainer.step(**data)) == {"loss", "bias"}


def test_a_program_without_inputs() -> None:
    w = gc.parameter("w", (3,), init=gc.init.ones)
    trainer = gc.training(gc.sum(w * w), optimizer=optim.SGD(lr=0.25)).compile()
    assert trainer.step() == {"loss": 3.0}
    assert trainer.fit(epochs=2)["loss"] == [0.75, 0.1875]
    assert trainer.evaluate() == {"loss": 0.046875}
