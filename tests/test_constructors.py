"""Layers, optimizers, schedules and initialisers: odd options are refused where they are written.

Every option of every constructor is given values of every wrong kind. Each is taken, or refused by
an error that names the class and the user's line; what it must be is spot-checked below.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from optimizers_table import EVALUATING, OF_RESIDUALS, OF_SOME, OPTIMIZERS

import gradc as gc
from gradc import nn, optim

NAN = float("nan")
ODD = [None, "a", [1.5], 2.5, NAN, float("inf"), {}, object(), -1, ["a"], [None], [10**400],
       10**400, (1, 2, 3), {"a": 1}, int, True]  # fmt: skip

# Arguments without a default, which a call needs beside the odd one.
NEEDED = {
    "in_features": 3, "out_features": 3, "num_embeddings": 3, "embedding_dim": 3, "start": 0.1,
    "normalized_shape": 3, "value": 0.1, "end": 0.1, "steps": 3, "step_size": 2, "gamma": 0.1,
    "milestones": [1], "total_iters": 3, "T_max": 3, "T_0": 3, "max_lr": 0.1, "total_steps": 5,
    "padding": 1, "output_size": 2, "norm_type": 2,
    "in1_features": 2, "in2_features": 3, "threshold": 0.5,
    "n_classes": 10, "cutoffs": [2],
    "num_features": 3, "num_groups": 2, "num_channels": 4, "size": 3,
    "upscale_factor": 2, "downscale_factor": 2, "groups": 2, "axis": 1, "unflattened_size": (2, -1),
    "schedule": 0.1, "schedules": [0.1, 0.2], "nonlinearity": "relu", "pattern": "*",
    "residuals": gc.zeros((3,)),
    "optimizer": optim.SGD(), "in_channels": 4, "out_channels": 4, "kernel_size": 3,
}  # fmt: skip


def constructors() -> dict[str, tuple[Callable[..., Any], list[str]]]:
    found: dict[str, Any] = {f"nn.{n}": getattr(nn, n) for n in nn.__all__ if n != "functional"}
    found |= {f"optim.{name}": row.kind for name, row in OPTIMIZERS.items()}
    others = {**EVALUATING, **OF_RESIDUALS, **OF_SOME}
    found |= {f"optim.{name}": kind for name, (kind, _) in others.items()}
    found["optim.averaged"] = optim.averaged
    found |= {f"schedule.{n}": getattr(optim.schedule, n) for n in optim.schedule.__all__[1:]}
    found |= {"optim.group": optim.group, "init.calculate_gain": gc.init.calculate_gain}
    result = {}
    for name, function in found.items():
        parameters = inspect.signature(function).parameters.values()
        result[name] = (
            function,
            [p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)],
        )
    for name in gc.init.__all__:
        own = getattr(gc.init, name)
        if isinstance(own, gc.init.Initializer):
            result[f"init.{name}"] = own, list(inspect.signature(own._formula).parameters)[2:]
    return result


CONSTRUCTORS = constructors()


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_odd_options(name: str) -> None:
    function, options = CONSTRUCTORS[name]
    for option in options:
        needed = {n: NEEDED[n] for n in options if n in NEEDED and n != option}
        for value in ODD:
            try:
                function(**needed, **{option: value})
            except gc.GradcError as error:
                assert error.source is not None and "test_constructors.py" in error.source.file
                assert error.operation, (option, value)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "betas": (lambda: optim.Adam(betas=0.9), "Adam: betas are two numbers, not 0.9"),  # type: ignore
    "betas nan": (lambda: optim.Adam(betas=(NAN, 0.9)), "Adam: each of betas is a number"),
    "eps": (lambda: optim.Adam(eps="a"), "Adam: eps is a number, not 'a'"),  # type: ignore
    "eps nan": (lambda: optim.AdamW(eps=NAN), "AdamW: eps is a number, not nan"),
    "lr": (lambda: optim.SGD(lr=NAN), "SGD: lr is a schedule or a number >= 0, not nan"),
    "dampening": (lambda: optim.SGD(dampening=None), "SGD: dampening is a number, not None"),  # type: ignore
    "groups": (lambda: optim.SGD(groups=None), "SGD: groups is a list, not None"),  # type: ignore
    "group": (lambda: optim.group(3), "group: pattern is a string, not 3"),  # type: ignore
    "amsgrad": (lambda: optim.Adam(amsgrad="a"), "Adam: amsgrad is True or False"),  # type: ignore
    "list": (lambda: nn.ModuleList(None), "ModuleList: modules is a list, not None"),  # type: ignore
    "dict": (lambda: nn.ModuleDict("a"), "ModuleDict: modules is a dict, not 'a'"),  # type: ignore
    "slope": (lambda: nn.LeakyReLU(NAN), "LeakyReLU: negative_slope is a number, not nan"),
    "axis": (lambda: nn.Softmax("a"), "Softmax: an axis is an integer"),  # type: ignore
    "start": (lambda: nn.Flatten(1.5), "Flatten: an axis is an integer"),  # type: ignore
    "bias": (lambda: nn.Linear(2, 2, bias="no"), "Linear: bias is True or False"),  # type: ignore
    "features": (lambda: nn.Linear(2.5, 2), "Linear: in_features is an integer of at least 1"),  # type: ignore
    "multi_step": (
        lambda: optim.schedule.multi_step(0.1, milestones=3),  # type: ignore
        "multi_step: milestones is a list of integers, not 3",
    ),
    "sequential": (
        lambda: optim.schedule.sequential(3, [1]),  # type: ignore
        "sequential: schedules is a list, not 3",
    ),
    "layers": (lambda: nn.LSTM(2, 2, 10**400), "LSTM: num_layers is at most 10000"),
    "blocks": (
        lambda: nn.Transformer(4, 1, num_decoder_layers=10**6),
        "Transformer: num_layers is at most 10000, not 1000000",
    ),
    "norm": (
        lambda: nn.LayerNorm("a"),
        "LayerNorm: normalized_shape is an integer or a list of integers, not 'a'",
    ),  # type: ignore
    "residuals": (
        lambda: optim.GaussNewton(residuals=[1.0]),  # type: ignore[arg-type]
        "GaussNewton: residuals is a tensor, not [1.0]",
    ),
    "gamma": (lambda: optim.schedule.exponential(0.1, NAN), "exponential: gamma is a number"),
    "gain": (lambda: gc.init.calculate_gain(None), "calculate_gain: nonlinearity is a string"),
    "xavier": (lambda: gc.init.xavier_uniform("a"), "xavier_uniform: gain is a number, not 'a'"),
    "std": (lambda: gc.init.normal(0.0, NAN), "normal: std is a number, not nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(gc.GradcError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert "test_constructors.py" in str(caught.value)


def test_taken() -> None:
    assert nn.Linear(2, 2, bias=0).bias is None  # type: ignore[arg-type]
    assert optim.Adam(betas=[0.5, 0.9]).betas == (0.5, 0.9)  # type: ignore[arg-type]
    assert optim.SGD(groups=[]) == optim.SGD()
    assert len(nn.ModuleList(layer for layer in [nn.ReLU(), nn.Tanh()])) == 2
    assert list(nn.ModuleDict({"a": nn.ReLU()})) == ["a"]
    assert repr(optim.schedule.multi_step(0.1, (2, 4))) == "multi_step(0.1, [2, 4], 0.1)"


def test_an_optimizer_of_ones_own_keeps_its_signature() -> None:
    class Mine(optim.Optimizer):
        def __init__(self, *rates: float, parameters: object = None) -> None:
            object.__setattr__(self, "rates", rates)

    assert Mine(0.1, 0.2).rates == (0.1, 0.2)
