"""Small manners: attributes that do not exist, copies, pickles, NumPy's integers, odd names of
inputs, a working folder that is gone, the history as a dict, the command line's fixed values."""

from __future__ import annotations

import copy
import inspect
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import gradc as command
from support import values

import gradc as gc
from gradc import nn, optim

x = gc.input("x", ("batch", 3))
ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
loss = gc.mean(gc.square(net(x)))
program = gc.training(loss, optim.SGD(lr=0.1), outputs={"y": net(x)})


@pytest.fixture(scope="module")
def trainer() -> Any:
    return program.compile(seed=0)


@pytest.fixture(scope="module")
def history(trainer: Any) -> Any:
    return trainer.fit({"x": ROWS}, epochs=3, batch_size=4, validation={"x": ROWS})


@pytest.fixture(scope="module")
def public(trainer: Any, history: Any) -> dict[str, Any]:
    """One object of every public kind."""
    return {
        "Trainer": trainer,
        "History": history,
        "StateView": trainer.parameters,
        "Function": gc.compile(loss),
        "TrainingProgram": program,
        "ProgramText": gc.graph(loss),
        "EarlyStopping": gc.EarlyStopping(3),
        "SGD": optim.SGD(lr=0.1),
        "Adam": optim.Adam(),
        "Group": optim.group("*.bias", lr=0.1),
        "Schedule": optim.schedule.cosine(0.1, 10),
        "Initializer": gc.init.xavier_uniform,
        "Tensor": x,
        "State": net[0].weight,
        "Linear": nn.Linear(2, 2),
        "Sequential": net,
        "CrossEntropyLoss": nn.CrossEntropyLoss(),
    }


KINDS = (
    "Trainer", "History", "StateView", "Function", "TrainingProgram", "ProgramText", "SGD", "Adam",
    "EarlyStopping", "Group", "Schedule", "Initializer", "Tensor", "State", "Linear", "Sequential",
    "CrossEntropyLoss",
)  # fmt: skip


# ---------------------------------------------------------------- attributes


@pytest.mark.parametrize("kind", KINDS)
def test_attributes_that_do_not_exist(public: Mapping[str, Any], kind: str) -> None:
    found = public[kind]
    before = repr(found)
    with pytest.raises(gc.UnknownNameError, match="no_such_name"):
        found.no_such_name  # noqa: B018
    with pytest.raises(gc.UnknownNameError, match="no_such_name"):
        found.no_such_name = 1
    assert not hasattr(found, "no_such_name") and not hasattr(found, "__wrapped__")
    assert repr(found) == before
    for protocol in ("__array_interface__", "_ipython_display_", "__len__x"):
        with pytest.raises(AttributeError):
            getattr(found, protocol)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slip_of_the_finger_is_answered(public: Mapping[str, Any], kind: str) -> None:
    """Each public attribute with its last two letters exchanged."""
    found = public[kind]
    names = [n for n in dir(type(found)) if not n.startswith("_") and len(n) > 4]
    for name in names[:12]:
        slip = name[:-2] + name[-1] + name[-2]
        if slip == name or hasattr(found, slip):
            continue
        with pytest.raises(gc.UnknownNameError) as caught:
            getattr(found, slip)
        assert caught.value.hint, (kind, slip)


def test_the_rate_of_a_trainer(trainer: Any) -> None:
    for name in ("lr", "rate"):
        with pytest.raises(gc.UnknownNameError, match=r"write trainer\.learning_rate"):
            setattr(trainer, name, 1e-3)
    with pytest.raises(gc.UnknownNameError, match="did you mean learning_rate"):
        trainer.learning_rat = 1e-3
    trainer.learning_rate = 0.05
    assert trainer.learning_rate == 0.05
    with pytest.raises(gc.UnknownNameError, match="attribute 'fit' of 'Trainer' cannot be set"):
        trainer.fit = None
    with pytest.raises(gc.UnknownNameError, match="attribute 'parameters' of"):
        trainer.parameters = {}


def test_records_never_change() -> None:
    for found, name in (
        (optim.SGD(lr=0.1), "lr"),
        (optim.Adam(), "betas"),
        (gc.EarlyStopping(3), "patience"),
        (program, "metrics"),
        (optim.schedule.constant(1.0), "lead"),
    ):
        with pytest.raises(gc.UnknownNameError, match=f"{name!r} cannot be set"):
            setattr(found, name, 1)


def test_modules_of_users_take_attributes() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(3, 3)
            self.note = "mine"

    model = Model()
    model.later = 3
    model.layer.bias = None  # an attribute that the layer has
    assert (model.note, model.later, model.layer.bias) == ("mine", 3, None)
    assert [name for name, _ in model.named_parameters()] == ["layer.weight"]
    with pytest.raises(gc.UnknownNameError, match="did you mean weight"):
        model.layer.wieght = 3
    with pytest.raises(gc.UnknownNameError, match="a model knows its mode by itself"):
        model.training = False

    layers = nn.Sequential(nn.Linear(3, 3))
    layers.extra = nn.Tanh()
    assert len(layers) == 2 and layers[1] is layers.extra
    with pytest.raises(gc.UnknownNameError):
        layers.extar = 3

    class Mine(nn.Linear):
        pass

    mine = Mine(2, 2)
    mine.note = 1
    assert mine.note == 1
    with pytest.raises(gc.CallError, match="there are no arguments"):
        nn.Tanh(3)
    assert isinstance(nn.Identity(54, unused=True), nn.Module)


# ---------------------------------------------------------------- copies and pickles


def first_values(module: nn.Module) -> dict[str, bytes]:
    found = values(dict(module.named_parameters()))
    return {name: np.asarray(array).tobytes() for name, array in found.items()}


def test_a_copied_layer_has_parameters_of_its_own() -> None:
    layer = nn.Linear(3, 3)
    pair = nn.Sequential(layer, copy.deepcopy(layer))
    found = first_values(pair)
    assert list(found) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert found["0.weight"] != found["1.weight"] and found["0.bias"] != found["1.bias"]
    assert pair[1].weight is not layer.weight and pair[1].weight.shape == (3, 3)
    both = gc.mean(gc.square(pair(x)))
    trainer = gc.training(both, optim.SGD(pair[1].parameters(), lr=0.1)).compile(seed=0)
    before = dict(trainer.parameters)
    trainer.step(x=ROWS)
    same = {n: np.array_equal(before[n], a) for n, a in trainer.parameters.items()}
    assert same == {"0.weight": True, "0.bias": True, "1.weight": False, "1.bias": False}


def test_copies_keep_structure_options_and_sharing() -> None:
    shared = nn.Embedding(5, 4, padding_idx=0)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(nn.Dropout(0.3), shared)})
    made = copy.deepcopy(model)
    assert repr(made) == repr(model)
    assert made["a"] is made["b"][1] and made["a"] is not shared
    assert [n for n, _ in made.named_parameters()] == [n for n, _ in model.named_parameters()]
    part = copy.deepcopy(model["b"])
    assert [p.name for p in part.parameters()] == ["1.weight"]
    table = np.asarray(values(part[1].weight))
    assert (table[0] == 0).all() and (table[1:] != 0).all()
    fixed = nn.Linear(2, 2, weight_init=np.eye(2), bias=False)
    np.testing.assert_array_equal(values(copy.deepcopy(fixed).weight), np.eye(2))
    shallow = copy.copy(model)
    assert shallow["a"] is shared and shallow is not model
    own = gc.parameter("w", (2,))
    other = copy.deepcopy(own)
    assert other is not own and other.name == "w"
    assert copy.copy(own) is own and copy.deepcopy([own, own])[0] is not own


def test_results_are_pickled(trainer: Any, history: Any) -> None:
    for result in (
        dict(trainer.parameters), trainer.predict(x=ROWS), trainer.evaluate({"x": ROWS}),
        trainer.step(x=ROWS), gc.compile(x * 2)(x=ROWS),
    ):  # fmt: skip
        back = pickle.loads(pickle.dumps(result))
        if isinstance(result, dict):
            assert all(np.array_equal(back[n], v) for n, v in result.items())
    view = pickle.loads(pickle.dumps(trainer.parameters))
    assert {n: a.tobytes() for n, a in view.items()} == {
        n: a.tobytes() for n, a in trainer.parameters.items()
    }
    for one in (pickle.loads(pickle.dumps(history)), copy.copy(history), copy.deepcopy(history)):
        assert type(one) is gc.History and one == history and one is not history
    for record in (gc.EarlyStopping(3), gc.float32, x.shape, gc.sum, gc.History):
        assert pickle.loads(pickle.dumps(record)) == record


ERRORS: dict[str, Callable[[], Any]] = {
    "ShapeError": lambda: x @ gc.ones((4, 4)),
    "DTypeError": lambda: float(x),
    "ArgumentError": lambda: optim.SGD(lr=-1),
    "GradientError": lambda: gc.grad(x, x),
    "IRSyntaxError": lambda: gc.parse("graph f(", "f.ir"),
    "FileError": lambda: gc.data.load_idx("/nowhere"),
    "UnknownNameError": lambda: x.numpy,
    "CallError": lambda: gc.sum(x, foo=1),
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_are_pickled(kind: str) -> None:
    with pytest.raises(getattr(gc, kind)) as caught:
        ERRORS[kind]()
    for back in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert type(back) is type(caught.value) and str(back) == str(caught.value)
        assert back.source == caught.value.source and back.hint == caught.value.hint


def test_what_has_no_values_is_not_pickled() -> None:
    with pytest.raises(gc.DTypeError, match=r"trainer\.save"):
        pickle.dumps(net)
    with pytest.raises(gc.DTypeError, match=r"gc\.graph"):
        pickle.dumps(x)


# ---------------------------------------------------------------- the history is a dict


def test_columns_of_very_many_epochs_stay_packed() -> None:
    short, long = (gc.History({"loss": range(n)}) for n in (65_536, 65_537))
    assert isinstance(short["loss"], list) and not isinstance(long["loss"], list)
    assert long["loss"][-1] == 65_536.0 and len(long["loss"]) == 65_537
    assert np.asarray(long["loss"]).dtype == np.float64 and max(long["loss"]) == 65_536.0
    assert np.array_equal(long["loss"], np.arange(65_537.0))
    back = pickle.loads(pickle.dumps(long))
    assert back["loss"] == long["loss"] == copy.deepcopy(long)["loss"] == list(range(65_537))
    assert long.to_dict()["loss"] == [float(n) for n in range(65_537)]
    assert long.best_epoch == 0 and long.epochs("loss")[-1] == 65_536


def test_a_data_frame_of_the_history(history: Any) -> None:
    """pandas.DataFrame takes a dict by its keys and its columns of one length."""
    assert isinstance(history, dict)
    assert list(history.keys()) == ["loss", "validation_loss"] and len(history) == 2
    columns = {name: history[name] for name in history.keys()}
    assert {len(column) for column in columns.values()} == {3}
    assert all(type(v) is float for column in columns.values() for v in column)
    assert dict(history) == {**history} == history.to_dict() == columns
    assert json.loads(json.dumps(history)) == columns
    assert list(history.values()) == list(columns.values())
    assert "loss" in history and history.get("nothing") is None
    with pytest.raises(KeyError, match="no column 'val_loss'"):
        history["val_loss"]
    with pytest.raises(gc.UnknownNameError, match=r"history\['validation_loss'\]"):
        history.val_loss  # noqa: B018


# ---------------------------------------------------------------- NumPy's integers and floats


def test_numpys_numbers_are_taken_for_every_count_seed_and_rate(tmp_path: Path) -> None:
    i, f = np.int64, np.float32
    layer = nn.Linear(i(3), np.int32(2))
    nn.LayerNorm(i(3)), nn.Embedding(i(5), i(2)), nn.Dropout(f(0.5)), nn.PReLU(i(2))
    nn.Flatten(i(0)), nn.Softmax(i(1)), nn.LeakyReLU(f(0.1))
    schedules = optim.schedule
    rate = schedules.linear(f(0.1), f(0.01), i(10))
    schedules.cosine(f(0.1), i(5)), schedules.step(f(0.1), i(2), f(0.5))
    schedules.warmup(schedules.constant(f(0.1)), i(3), f(0.5))
    schedules.multi_step(f(0.1), [i(1), i(2)]), schedules.one_cycle(f(0.1), i(9))
    y = layer(x)
    made = gc.training(gc.mean(y * y), optim.Adam(lr=rate, eps=f(1e-8)), outputs={"y": y})
    trainer = made.compile(seed=i(3), threads=i(1))
    trainer.fit(
        {"x": ROWS}, epochs=i(2), batch_size=i(4), checkpoint=tmp_path / "run.safetensors",
        checkpoint_every=i(1), early_stopping=gc.EarlyStopping(i(3), f(0.0)), learning_rate=f(0.1),
    )  # fmt: skip
    trainer.evaluate({"x": ROWS}, batch_size=i(4))
    trainer.predict(x=ROWS, batch_size=np.int16(4), seed=i(7))
    trainer.learning_rate = f(0.25)
    assert trainer.learning_rate == 0.25
    plain = made.compile(seed=3, threads=1)
    assert first_values(layer) == first_values(layer)
    found = {n: a.tobytes() for n, a in plain.parameters.items()}
    again = {n: a.tobytes() for n, a in made.compile(seed=i(3)).parameters.items()}
    assert found == again
    gc.compile(x * 1, dims={"batch": i(6)}, seed=i(1), threads=i(1))(x=ROWS)
    gc.compile(x * 1, batch=i(6))(x=ROWS)
    optim.SGD(f(0.1)), optim.SGD(lr=f(0.1), momentum=np.float64(0.9))
    optim.group("*", lr=f(0.1)), gc.init.normal(f(0.0), f(1.0)), gc.init.constant(i(1))
    with pytest.raises(gc.ArgumentError, match="a seed is an integer"):
        made.compile(seed=np.float64(1.0))
    with pytest.raises(gc.ArgumentError, match="in_features is an integer"):
        nn.Linear(np.float32(3), 2)


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "arange": (gc.arange, 3),
    "zeros": (gc.zeros, 2),
    "eye": (gc.eye, 2),
    "linspace": (lambda n: gc.linspace(0.0, 1.0, n), 3),
    "full": (lambda n: gc.full((n, 2), 1.5), 2),
    "split": (lambda n: list(gc.split(gc.arange(6), n)), 2),
    "repeat": (lambda n: gc.repeat(gc.arange(3), n), 2),
    "tile": (lambda n: gc.tile(gc.arange(3), n), 2),
    "roll": (lambda n: gc.roll(gc.ones((2, 3)), n, n), 1),
    "flip": (lambda n: gc.flip(gc.ones((2, 3)), n), 1),
    "moveaxis": (lambda n: gc.moveaxis(gc.ones((2, 3)), n, 0), 1),
    "sum": (lambda n: gc.sum(gc.ones((2, 3)), n), 1),
    "one_hot": (lambda n: gc.one_hot(gc.arange(3), n), 4),
    "reshape": (lambda n: gc.ones((6,)).reshape(n, 3), 2),
    "transpose": (lambda n: gc.ones((2, 3)).transpose(n, 0), 1),
    "expand_dims": (lambda n: gc.ones((2,)).expand_dims(n), 1),
    "concat": (lambda n: gc.concat([gc.ones((2, 2))] * 2, n), 1),
    "getitem": (lambda n: gc.arange(5)[n:], 2),
    "layer_norm": (lambda n: gc.layer_norm(gc.ones((2, 3)), n), 3),
    "tril": (lambda n: gc.tril(gc.ones((3, 3)), n), 1),
    "tensordot": (lambda n: gc.tensordot(gc.ones((2, 3)), gc.ones((3, 2)), n), 1),
    "pad": (lambda n: gc.pad(gc.ones((3,)), (n, n)), 1),
    "softmax": (lambda n: gc.softmax(gc.ones((2, 3)), n), 1),
    "normal": (lambda n: gc.zeros_like(gc.random.normal(n)), 3),
    "var": (lambda n: gc.var(gc.arange(5), correction=n), 1),
    "cumsum": (lambda n: gc.cumsum(gc.ones((2, 3)), n), 1),
    "unstack": (lambda n: list(gc.unstack(gc.ones((2, 3)), n)), 1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_numpys_integers(name: str) -> None:
    function, number = FUNCTIONS[name]
    expected = str(gc.graph(function(number)))
    for kind in (np.int64, np.int32, np.uint8, np.intp):
        assert str(gc.graph(function(kind(number)))) == expected


# ---------------------------------------------------------------- odd names, odd places


def test_inputs_of_every_name() -> None:
    for name in ("self", "positional", "arrays", "batch", "data", "cls", "args", "kwargs"):
        given = gc.input(name, ("n", 3))
        assert gc.compile({"y": given * 2})(**{name: ROWS})["y"].shape == (6, 3)
    given = gc.input("self", ("n", 3))
    layer = nn.Linear(3, 1)
    made = gc.training(
        gc.mean(gc.square(layer(given))), optim.SGD(lr=0.1), outputs={"y": layer(given)}
    )
    trainer = made.compile()
    assert trainer.step(self=ROWS)["loss"] >= 0
    assert trainer.evaluate(self=ROWS)["loss"] >= 0
    assert trainer.predict(self=ROWS)["y"].shape == (6, 1)
    trainer.fit({"self": ROWS}, epochs=1)


GONE = """
import os, sys, tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
import numpy as np
import gradc as gc
from gradc import nn, optim
x = gc.input("x", ("batch", 3))
try:
    x @ gc.ones((4, 4))
except gc.ShapeError as error:
    print(error)
layer = nn.Linear(3, 1)
program = gc.training(gc.mean(gc.square(layer(x))), optim.SGD(lr=0.1), outputs={"y": layer(x)})
trainer = program.compile(threads=1)
trainer.fit({"x": np.ones((5, 3))}, epochs=2)
print(gc.compile(layer(x))(x=np.ones((2, 3))).shape, trainer.predict(x=np.ones((2, 3)))["y"].shape)
for use in (trainer.save, trainer.load):
    try:
        use("a.safetensors")
    except gc.FileError as error:
        print(error)
trainer.save(sys.argv[1])
trainer.load(sys.argv[1])
"""


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    script = tmp_path / "gone.py"
    script.write_text(GONE)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "m.safetensors")],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"at {script}:11 in <module>: x @ gc.ones((4, 4))" in done.stdout
    assert "(2, 1) (2, 1)" in done.stdout and done.stdout.count("a.safetensors: cannot be") == 2


# ---------------------------------------------------------------- command line


def test_version_and_module(tmp_path: Path) -> None:
    assert command("--version", cwd=tmp_path).stdout == f"gradc {gc.__version__}\n"
    done = subprocess.run(
        [sys.executable, "-m", "gradc", "--version"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ,
    )  # fmt: skip
    assert done.stdout == f"gradc {gc.__version__}\n" and done.returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "gradc", "train", "--help"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ,
    )  # fmt: skip
    assert done.stdout.startswith("Usage: gradc train")


@pytest.mark.parametrize(
    ("arguments", "option", "known"),
    [
        (("train", "x.py", "--target", "tpu"), "--target", "cpu"),
        (("build", "x.py", "-o", "y", "--target", "tpu"), "--target", "cpu"),
        (("build", "x.py", "-o", "y", "--kind", "wasm"), "--kind", "'library'"),
        (("build", "x.py", "-o", "y", "--cpu", "z80"), "--cpu", "'portable'"),
        (("build", "x.py", "-o", "y", "--platform", "mips"), "--platform", "'host'"),
        (("inspect", "x.py", "--entry", "walk"), "--entry", "'predict'"),
    ],
)
def test_fixed_values_are_listed(
    tmp_path: Path, arguments: tuple[str, ...], option: str, known: str
) -> None:
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and f"Invalid value for '{option}'" in done.stderr
    assert known in done.stderr and "Traceback" not in done.stderr


def test_public_signatures_are_shown() -> None:
    for name in gc.__all__:
        found = getattr(gc, name)
        if inspect.isfunction(found):
            assert str(inspect.signature(found)) != "(*given: 'Any', **options: 'Any') -> 'Any'"
            assert found.__doc__
