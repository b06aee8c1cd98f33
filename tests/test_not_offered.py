"""What the public contract names and this version does not offer says so, by name."""

from __future__ import annotations

import importlib

import pytest

import gradc as gc
from gradc import not_offered, spellings


@pytest.mark.parametrize("namespace", [n for n in not_offered.NAMES if n != "gradc"])
def test_no_other_spelling_of_an_offered_name_is_called_missing(namespace: str) -> None:
    """Keras's Conv2D is offered, as nn.Conv2d: an error says so. `gradc` has names of both kinds,
    layers that are missing (Softmin) and functions that are there (softmin)."""
    offered = {name.lower() for name in dir(importlib.import_module(namespace))}
    advised = spellings.NAMESPACES.get(namespace, {})
    wrong = {name for name in not_offered.NAMES[namespace] if name.lower() in offered}
    assert wrong <= {*advised}


def test_other_targets_are_refused() -> None:
    with pytest.raises(gc.ArgumentError, match="unknown target 'tpu'"):
        gc.compile(gc.ones(2), target="tpu")
