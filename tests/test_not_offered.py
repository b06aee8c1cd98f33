"""What the public contract names and this version does not offer says so, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

import gradc as gc
from gradc import not_offered, optim, spellings


def _program(**options: Any) -> Any:
    w = gc.parameter("w", (3,))
    return gc.training(gc.sum(w * w), optimizer=optim.SGD(lr=0.1), **options)


@pytest.mark.parametrize("namespace", [n for n in not_offered.NAMES if n != "gradc"])
def test_no_other_spelling_of_an_offered_name_is_called_missing(namespace: str) -> None:
    """Keras's Conv2D is offered, as nn.Conv2d: an error says so. `gradc` has names of both kinds,
    layers that are missing (Softmin) and functions that are there (softmin)."""
    offered = {name.lower() for name in dir(importlib.import_module(namespace))}
    advised = spellings.NAMESPACES.get(namespace, {})
    wrong = {name for name in not_offered.NAMES[namespace] if name.lower() in offered}
    assert wrong <= {*advised}


NOT_OFFERED: dict[str, Callable[[], Any]] = {
    "compile: memory_budget=": lambda: gc.compile(gc.ones(2), memory_budget=100),  # type: ignore
    "compile: memory_budget= ": lambda: _program().compile(memory_budget=100),
}


@pytest.mark.parametrize("what", NOT_OFFERED)
def test_arguments_that_are_not_offered_say_so(what: str) -> None:
    with pytest.raises(gc.ArgumentError) as caught:
        NOT_OFFERED[what]()
    text = str(caught.value)
    assert text.startswith(what.strip()) and "this version does not offer" in text
    assert "test_not_offered.py" in text


def test_other_targets_are_refused() -> None:
    with pytest.raises(gc.ArgumentError, match="unknown target 'tpu'"):
        gc.compile(gc.ones(2), target="tpu")
    with pytest.raises(gc.ArgumentError, match="no schedule that depends on the loss"):
        optim.schedule.plateau(0.1)
