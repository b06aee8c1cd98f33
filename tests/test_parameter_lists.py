"""A list of parameters as an optimizer's first argument, as in PyTorch: these alone are trained."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optimizers_table import OPTIMIZERS
from support import steps, told

import gradc as gc
from gradc import nn, optim

x = gc.input("x", ("batch", 3))
ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
KINDS = [row.kind for row in OPTIMIZERS.values()]


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def loss_of(net: nn.Module) -> gc.Tensor:
    return gc.mean(gc.square(net(x)))


def changed(program: Any, updates: int = 3) -> dict[str, bool]:
    """Which parameters `updates` steps change; by the compiled program. An odd number: two steps
    of one length may lead back."""
    trainer = program.compile(seed=1)
    before = dict(trainer.parameters)
    for _ in range(updates):
        trainer.step(x=ROWS)
    after = trainer.parameters
    return {name: before[name].tobytes() != after[name].tobytes() for name in before}


@pytest.mark.parametrize("kind", KINDS)
def test_the_lectures_line(kind: Any) -> None:
    """The same bits as without the list, whichever way the rate is given."""
    found = []
    for make in (
        lambda net: kind(lr=1e-2),
        lambda net: kind(net.parameters(), lr=1e-2),
        lambda net: kind(net.parameters(), 1e-2),
        lambda net: kind(params=net.parameters(), lr=np.float64(1e-2)),
        lambda net: kind(1e-2),
    ):
        net = model()
        optimizer = make(net)
        assert optimizer.lr == 1e-2
        trainer = gc.training(loss_of(net), optimizer).compile(seed=1)
        trainer.step(x=ROWS)
        found.append({n: a.tobytes() for n, a in trainer.parameters.items()})
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("kind", KINDS)
def test_these_alone_are_trained(kind: Any) -> None:
    net = model()
    program = gc.training(loss_of(net), kind(net[2].parameters(), lr=0.1))
    assert changed(program) == {
        "0.weight": False, "0.bias": False, "2.weight": True, "2.bias": True,
    }  # fmt: skip
    names = [str(node.attributes["name"]) for node in program.graphs["run"].states]
    assert not [n for n in names if n.startswith("optimizer.") and ".0." in n]


def test_the_evaluator_agrees() -> None:
    net = model()
    program = gc.training(loss_of(net), optim.SGD([net[0].weight], lr=0.1, momentum=0.9))
    first, *_, last = steps(program, [{"x": ROWS}] * 3, seed=1)
    trainer = program.compile(seed=1)
    for _ in range(3):
        trainer.step(x=ROWS)
    for name, array in trainer.parameters.items():
        np.testing.assert_allclose(array, last[name], rtol=1e-5)
        assert (array.tobytes() == first[name].tobytes()) == (name != "0.weight")


ITERABLES: dict[str, Callable[[nn.Module], Any]] = {
    "list": lambda net: list(net.parameters()),
    "tuple": lambda net: tuple(net.parameters()),
    "generator": lambda net: (p for p in net.parameters()),
    "filter": lambda net: filter(lambda p: True, net.parameters()),
    "values": lambda net: dict(net.named_parameters()).values(),
    "named": lambda net: net.named_parameters(),
    "sum": lambda net: [*net.parameters()[:2], *net.parameters()[2:]],
    "groups": lambda net: [{"params": p} for p in net.parameters()],
}


@pytest.mark.parametrize("name", ITERABLES)
def test_every_kind_of_list(name: str) -> None:
    net = model()
    optimizer = optim.SGD(ITERABLES[name](net), lr=0.1)
    assert all(changed(gc.training(loss_of(net), optimizer)).values())


def test_groups_of_the_list_have_options_of_their_own() -> None:
    net, other = model(), model()
    groups = [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 0.0}]
    program = gc.training(loss_of(net), optim.SGD(groups, lr=0.1))
    assert changed(program) == {
        "0.weight": True, "0.bias": True, "2.weight": False, "2.bias": False,
    }  # fmt: skip
    by_list = [{"params": other[0].parameters(), "lr": 0.3}, {"params": other[2].parameters()}]
    by_name = optim.SGD(lr=0.1, groups=[optim.group("0.*", lr=0.3)])
    found = []
    for optimizer, one in ((optim.SGD(by_list, lr=0.1), other), (by_name, model())):
        trainer = gc.training(loss_of(one), optimizer).compile(seed=1)
        trainer.step(x=ROWS)
        found.append({n: a.tobytes() for n, a in trainer.parameters.items()})
    assert found[0] == found[1]


def test_a_parameter_that_the_loss_does_not_read_is_not_updated() -> None:
    net, unused = model(), nn.Linear(2, 2)
    optimizer = optim.Adam([*net.parameters(), *unused.parameters()], lr=0.1)
    assert all(changed(gc.training(loss_of(net), optimizer)).values())


def test_parameters_of_a_shared_layer_count_once() -> None:
    layer = nn.Linear(3, 3)
    net = nn.Sequential(layer, nn.Tanh(), layer)
    assert len(net.parameters()) == 2
    assert all(changed(gc.training(loss_of(net), optim.SGD(net.parameters(), lr=0.1))).values())


net = model()
REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: optim.SGD([], lr=0.1), gc.ArgumentError, "the list of parameters is empty"),
    (lambda: optim.SGD(nn.Tanh().parameters()), gc.ArgumentError, "is empty"),
    (lambda: optim.SGD(net, lr=0.1), gc.ArgumentError, r"write model\.parameters\(\)"),
    (lambda: optim.SGD(net[0], lr=0.1), gc.ArgumentError, r"write model\.parameters\(\)"),
    (lambda: optim.SGD(net.parameters, lr=0.1), gc.ArgumentError, "call it"),
    (lambda: optim.SGD(net[0].weight, lr=0.1), gc.ArgumentError, r"write a list: \[parameter\]"),
    (lambda: optim.SGD(dict(net.named_parameters())), gc.ArgumentError, r"\.values\(\)"),
    (lambda: optim.SGD([x], lr=0.1), gc.ArgumentError, "entry 0 of the list is no parameter"),
    (lambda: optim.SGD([net[0].weight, ROWS]), gc.ArgumentError, "entry 1 .* no parameter: ndarr"),
    (lambda: optim.SGD([gc.state("s", ())]), gc.ArgumentError, r"updated by gc\.update"),
    (lambda: optim.SGD("weights"), gc.ArgumentError, "a list of parameters is needed, not str"),
    (lambda: optim.SGD(ROWS), gc.ArgumentError, "a list of parameters is needed, not ndarray"),
    (lambda: optim.SGD(net.parameters() * 2), gc.ArgumentError, "'0.weight' is in the list twice"),
    (lambda: optim.SGD([{"params": net.parameters()}] * 2), gc.ArgumentError, "twice"),
    (lambda: optim.SGD([{"lr": 0.1}]), gc.ArgumentError, "has the key 'params'"),
    (lambda: optim.SGD([{"params": net.parameters(), "rate": 1}]), gc.ArgumentError, "'rate'"),
    (lambda: optim.SGD([{"params": net.parameters(), "lr": -1}]), gc.ArgumentError, "lr is a"),
    (lambda: optim.SGD(net.parameters(), parameters=[]), gc.CallError, "given twice"),
    (lambda: optim.SGD(net.parameters(), 0.1, lr=0.1), gc.CallError, "multiple values"),
    (lambda: optim.SGD(net.parameters(), lrr=0.1), gc.CallError, "did you mean lr"),
    (lambda: optim.SGD(*range(20)), gc.CallError, "too many positional arguments"),
    (lambda: optim.Adam(learning_rate=0.1), gc.CallError, "write lr="),
    (
        lambda: gc.training(loss_of(net), optim.SGD(nn.Linear(3, 1).parameters(), lr=0.1)),
        gc.ArgumentError,
        "the loss reads no parameter of the optimizer's list\nit reads 0.weight, 0.bias",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_what_is_refused(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert re.search(message, told(caught.value)), caught.value
    assert caught.value.source is not None and "test_parameter" in caught.value.source.file


def test_a_list_changes_neither_text_nor_equality() -> None:
    plain, listed = optim.SGD(lr=0.1), optim.SGD(net.parameters(), lr=0.1)
    assert repr(plain) == repr(listed) and plain == listed
    assert copy.deepcopy(listed).parameters is not None
    assert changed(gc.training(loss_of(net), copy.deepcopy(listed))) == dict.fromkeys(
        ("0.weight", "0.bias", "2.weight", "2.bias"), True
    )
    shown = list(inspect.signature(optim.Adam).parameters)
    assert shown[:3] == ["parameters", "lr", "betas"]
