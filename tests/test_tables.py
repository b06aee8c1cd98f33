"""What is offered has a row in its table: a layer, loss, optimizer or schedule that no test sees
fails here, by name. And what every layer keeps, whichever it is."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layers_table import HOLDERS, LAYERS, LOSSES, OF_TWO
from optimizers_table import EVALUATING, OF_RESIDUALS, OF_SOME, OPTIMIZERS
from schedules_table import LED, NO_FORMULA, NOT_LED, SCHEDULES
from slopes_table import CASES
from support import steps, values

import gradc as gc
from gradc import functional, nn, optim

RNG = np.random.default_rng(41)


def classes(module: Any) -> dict[str, type]:
    found = {name: getattr(module, name) for name in module.__all__}
    return {name: kind for name, kind in found.items() if inspect.isclass(kind)}


def test_every_optimizer_has_a_row() -> None:
    offered = {n: k for n, k in classes(optim).items() if k is not optim.Optimizer}
    tables = {name: row.kind for name, row in OPTIMIZERS.items()}
    others = {**EVALUATING, **OF_RESIDUALS, **OF_SOME}
    assert tables | {name: kind for name, (kind, _) in others.items()} == offered


KINDS = {name: (row.kind, row.variants) for name, row in OPTIMIZERS.items()}
KINDS |= {**EVALUATING, **OF_RESIDUALS, **OF_SOME}


@pytest.mark.parametrize("name", KINDS)
def test_every_option_of_an_optimizer_is_tried(name: str) -> None:
    kind, variants = KINDS[name]
    tried = {option for variant in variants for option in variant}
    of_any = {"parameters", *inspect.signature(optim.Optimizer).parameters}
    assert tried == {*inspect.signature(kind).parameters} - of_any - {"lr", "residuals"}


def test_every_schedule_has_a_row() -> None:
    offered = {n for n in optim.schedule.__all__ if n not in classes(optim.schedule)}
    assert {name.partition(",")[0] for name in SCHEDULES} == offered - set(NO_FORMULA)
    assert {*LED, *NOT_LED} == {*offered, "a number"}


def test_every_layer_and_loss_has_a_row() -> None:
    losses = {loss.layer for loss in LOSSES.values() if loss.layer}
    assert not losses & set(LAYERS)
    assert {*LAYERS, *HOLDERS, *OF_TWO, *losses} == set(classes(nn))
    assert all((Path(__file__).parent / f"{tests}.py").exists() for tests in OF_TWO.values())
    assert set(LOSSES) == {
        *functional.losses.__all__, *functional.margins.__all__, *functional.ctc.__all__
    }  # fmt: skip


def test_every_metric_has_its_slope_and_value() -> None:
    """Two metrics are offered; both have tests of their own beside those over all functions."""
    assert set(functional.metrics.__all__) == {"accuracy", "ratio"}
    assert "ratio" in CASES


def example(name: str) -> np.ndarray[Any, Any]:
    row = LAYERS[name]
    return RNG.integers(0, row.whole, row.shape) if row.whole else RNG.normal(size=row.shape)


def called(name: str, layer: nn.Module) -> gc.Tensor:
    row = LAYERS[name]
    dtype = gc.int64 if row.whole else gc.float32
    return layer(gc.input("x", row.shape, dtype))


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_its_row_says(name: str) -> None:
    row, layer, x = LAYERS[name], LAYERS[name].make(), example(name)
    named = list(layer.named_parameters())
    assert tuple(n for n, _ in named) == row.parameters
    found, *weights = values([called(name, layer), *(p for _, p in named)], x=x)
    if row.value is None:
        expected = values(getattr(gc, row.function)(gc.constant(x.astype(np.float32))))
    else:
        given = dict(zip(row.parameters, weights, strict=True))
        expected = row.value(given, x if row.whole else x.astype(np.float32))
    np.testing.assert_allclose(found, expected, 1e-5, 1e-6)


@pytest.mark.parametrize("name", [n for n, row in LAYERS.items() if row.parameters])
def test_every_parameter_of_a_layer_is_trained(name: str) -> None:
    """None is forgotten on the way to the result, and none changes its dtype."""
    y = called(name, LAYERS[name].make())
    program = gc.training(gc.sum(y * y), optim.SGD(lr=0.01))
    before, after = steps(program, [{"x": example(name)}])
    for parameter in LAYERS[name].parameters:
        assert after[parameter].dtype == np.float32
        assert np.isfinite(after[parameter]).all()
        assert (after[parameter] != before[parameter]).any(), parameter


@pytest.mark.parametrize("name", LAYERS)
def test_a_copy_of_a_layer_has_parameters_of_its_own(name: str) -> None:
    layer = LAYERS[name].make()
    other = copy.deepcopy(layer)
    assert repr(other) == repr(layer) and repr(layer).startswith(f"{name}(")
    ours, theirs = list(layer.parameters()), list(other.parameters())
    assert [p.shape for p in ours] == [p.shape for p in theirs]
    assert not {id(p) for p in ours} & {id(p) for p in theirs}


@pytest.mark.parametrize("name", [n for n, loss in LOSSES.items() if loss.layer])
def test_a_loss_and_its_layer_are_one(name: str) -> None:
    operands = LOSSES[name].given(gc.input("x", (4, 3), gc.float64))
    kind = getattr(nn, LOSSES[name].layer)
    given = RNG.normal(size=(4, 3))
    for reduction in ("mean", "sum", "none"):
        ours = kind(reduction=reduction)(*operands)
        theirs = LOSSES[name].call(*operands, reduction=reduction)
        found, expected = values([ours, theirs], x=given)
        assert found.dtype == np.float64 and (found.shape == ()) == (reduction != "none")
        np.testing.assert_array_equal(found, expected)
    assert kind()(*operands).shape == ()
