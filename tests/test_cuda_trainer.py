"""Every test of the training loop once more, with state and entry points on a device."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import fake_artifact
import pytest
import test_trainer_runtime
from support_cuda import StandIn, on_device, stand_in, stand_in_library
from test_trainer_runtime import *  # noqa: F403

__all__ = ["stand_in", "stand_in_library"]

_LEFT_OUT = {
    "fork": "a forked process has no device",
    "whole_epochs_are_merged": "how many steps fit into a call depends on their speed",
}


@pytest.fixture(autouse=True)
def on_a_device(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[None]:
    for word, reason in _LEFT_OUT.items():
        if word in request.node.name:
            pytest.skip(reason)
    made: list[Any] = []
    for name in ("FakeArtifact", "DescentArtifact"):
        kind = on_device(getattr(fake_artifact, name), stand_in, made)
        monkeypatch.setattr(test_trainer_runtime, name, kind)
    with stand_in.watched():
        yield
        gc.collect()
    assert bool(made) == (stand_in["launches"] > 0)
