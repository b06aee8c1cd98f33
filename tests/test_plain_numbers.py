"""One answer to what a number, an integer or a flag is, in every place that takes one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc.runtime.plain_number import as_flag, as_real, as_whole, plain

WHOLES = [3, np.int8(3), np.uint64(3), np.array(3), np.array(3, np.int16)]
REALS = [0.5, np.float32(0.5), np.float16(0.5), np.longdouble(0.5), ml_dtypes.bfloat16(0.5),
         np.array(0.5), np.array(0.5, np.float32), np.array(0.5, ml_dtypes.bfloat16)]  # fmt: skip
NEITHER = [
    True, np.True_, np.array(True), None, "3", "batch", b"3", 3 + 0j, np.complex64(3), [3], (3,),
    np.array([3]), np.array([0.5]), Fraction(1, 2), np.datetime64(3, "s"), np.timedelta64(3, "s"),
    np.array("3"), np.array(None), object(), gc.ones(()), gc.input("x", ("batch", 2)).shape[0],
]  # fmt: skip


@pytest.mark.parametrize("value", WHOLES, ids=repr)
def test_integers(value: Any) -> None:
    assert as_whole(value) == as_real(value) == plain(value) == 3
    assert type(as_whole(value)) is type(as_real(value)) is type(plain(value)) is int


@pytest.mark.parametrize("value", REALS, ids=repr)
def test_numbers(value: Any) -> None:
    assert as_whole(value) is None
    assert as_real(value) == plain(value) == 0.5
    assert type(as_real(value)) is type(plain(value)) is float


@pytest.mark.parametrize("value", NEITHER, ids=lambda value: type(value).__name__)
def test_neither(value: Any) -> None:
    assert as_whole(value) is None and as_real(value) is None


def test_flags() -> None:
    for value in (True, np.True_, np.array(True)):
        assert as_flag(value, numbers=False) is True and plain(value) is True
    assert [as_flag(v, numbers=True) for v in (1, np.int8(0), 2, 1.0)] == [True, False, None, None]
    assert as_flag(1, numbers=False) is None and as_flag("True", numbers=True) is None


def test_what_no_float64_holds_is_no_number() -> None:
    assert as_real(2**1023 - 1) == 2**1023 - 1 and as_real(10**400) is None
    assert as_whole(10**400) == 10**400


x = gc.input("x", (2, 3))
y = gc.input("y", ("batch", 3))
w = gc.parameter("w", (3,))
LOSS = gc.mean(y * w)


def _trainer() -> Any:
    return gc.training(LOSS, optimizer=optim.SGD(lr=0.1)).compile(threads=1)


TAKE_A_NUMBER: dict[str, Callable[[Any], Any]] = {
    "gc.leaky_relu": lambda v: gc.leaky_relu(x, v),
    "gc.celu": lambda v: gc.celu(x, alpha=v),
    "gc.dropout": lambda v: gc.dropout(x, v),
    "gc.accuracy": lambda v: gc.accuracy(x, x, threshold=v),
    "gc.var": lambda v: gc.var(x, axis=0, correction=v),
    "random.uniform": lambda v: gc.random.uniform((2,), 0.0, v),
    "random.bernoulli": lambda v: gc.random.bernoulli(v, (2,)),
    "init.normal": lambda v: gc.init.normal(std=v),
    "init.xavier_uniform": lambda v: gc.init.xavier_uniform(gain=v),
    "nn.Dropout": lambda v: nn.Dropout(v),
    "nn.LeakyReLU": lambda v: nn.LeakyReLU(v),
    "nn.HuberLoss": lambda v: nn.HuberLoss(delta=v),
    "optim.SGD": lambda v: optim.SGD(v),
    "optim.SGD momentum": lambda v: optim.SGD(lr=0.1, momentum=v),
    "optim.Adam eps": lambda v: optim.Adam(eps=v),
    "schedule.step": lambda v: optim.schedule.step(v, 2, 0.1),
    "trainer.fit": lambda v: _trainer().fit({"y": np.ones((4, 3))}, learning_rate=v),
    "trainer.learning_rate": lambda v: setattr(_trainer(), "learning_rate", v),
    "EarlyStopping": lambda v: gc.EarlyStopping(3, min_delta=v),
}
TAKE_AN_INTEGER: dict[str, Callable[[Any], Any]] = {
    "gc.sum": lambda v: gc.sum(gc.ones((1, 2, 3, 4)), axis=v),
    "gc.zeros": lambda v: gc.zeros((v, 2)),
    "gc.one_hot": lambda v: gc.one_hot(gc.constant([0]), v),
    "gc.einsum": lambda v: gc.einsum(x, [0, v], [v, 0]),
    "random.randint": lambda v: gc.random.randint(0, v, (2,)),
    "gc.input": lambda v: gc.input("a", (v,)),
    "nn.Linear": lambda v: nn.Linear(v, 2),
    "nn.LayerNorm": lambda v: nn.LayerNorm(v),
    "schedule.step": lambda v: optim.schedule.step(0.1, v, 0.1),
    "gc.compile threads": lambda v: gc.compile(x * 2, threads=v),
    "gc.compile seed": lambda v: gc.compile(x * 2, seed=v, threads=1),
    "gc.compile dims": lambda v: gc.compile(y * 2, dims={"batch": v}, threads=1),
    "trainer.fit": lambda v: _trainer().fit({"y": np.ones((4, 3))}, batch_size=v),
    "EarlyStopping": lambda v: gc.EarlyStopping(patience=v),
}


# Where one of the wrong values means something else.
OTHERWISE = (
    ("gc.accuracy", None), ("gc.var", True), ("optim.SGD", None), ("trainer.fit", None),
)  # fmt: skip


@pytest.mark.parametrize("name", TAKE_A_NUMBER)
def test_every_place_takes_a_number(name: str) -> None:
    for value in REALS:
        TAKE_A_NUMBER[name](value)
    for value in (None, "0.5", [0.5], np.array([0.5]), True):
        if (name, value) in OTHERWISE:
            continue
        with pytest.raises(gc.GradcError):
            TAKE_A_NUMBER[name](value)


@pytest.mark.parametrize("name", TAKE_AN_INTEGER)
def test_every_place_takes_an_integer(name: str) -> None:
    for value in WHOLES:
        TAKE_AN_INTEGER[name](value)
    for value in (3.0, "3", [3.0], np.array([0.5]), True):
        if (name, value) in (("gc.zeros", "3"), ("gc.input", "3")):
            continue
        with pytest.raises(gc.GradcError):
            TAKE_AN_INTEGER[name](value)


def test_parse_takes_text() -> None:
    for call, message in (
        (lambda: gc.parse(None), "parse: text is a string, not None"),  # type: ignore[arg-type]
        (lambda: gc.parse("", 3), "parse: file is a string, not 3"),  # type: ignore[arg-type]
    ):
        with pytest.raises(gc.ArgumentError, match=message):
            call()


def test_fit_and_epochs_refuse_a_name_alike() -> None:
    """The same class, problem and hint; each shows its own signature."""
    texts = []
    for call in (_trainer().fit, _trainer().epochs):
        with pytest.raises(gc.CallError) as caught:
            call({"y": np.ones((4, 3))}, epoch=3)
        texts.append((caught.value.problem, caught.value.hint, caught.value.facts[0]))
    (problem, hint, fit), (also, too, epochs) = texts
    assert (
        (problem, hint) == (also, too) == ("there is no argument 'epoch'", "did you mean epochs?")
    )
    assert fit.removeprefix("fit") == epochs.removeprefix("epochs")
