"""Data sets that are larger than a device's memory: sent in pieces, they change no bit."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from fake_artifact import INPUTS, FakeArtifact, made_data
from support_cuda import StandIn, on_device, stand_in, stand_in_library

from gradc.compiler.artifact import EntryPoint
from gradc.runtime import Trainer
from gradc.runtime.cuda.streamed import StreamedCall
from gradc.runtime.rows import Rows

__all__ = ["stand_in", "stand_in_library"]

SAMPLES, BATCH = 1500, 16
ROOM_BYTES = 24_000
"""Less than the data set has, enough for pieces of a few steps."""


def _trainer(artifact: FakeArtifact) -> Trainer:
    return Trainer(artifact, INPUTS, "batch", ("error",), ("prediction",), 3, 1)


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of entry points whose data is sent in pieces."""
    made: list[str] = []
    begin = StreamedCall.__init__

    def counted(self: StreamedCall, place: Any, entry: EntryPoint, *given: Any) -> None:
        made.append(entry.kind)
        begin(self, place, entry, *given)

    monkeypatch.setattr(StreamedCall, "__init__", counted)
    return made


@pytest.fixture
def trainers(stand_in: StandIn) -> list[Trainer]:
    """One on the host, one on a device that is too small for the data."""
    there = _trainer(on_device(FakeArtifact, stand_in, [])())
    stand_in["memory_bytes"] = stand_in["block_bytes"] + ROOM_BYTES
    return [_trainer(FakeArtifact()), there]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES // BATCH * BATCH])
def test_training_is_the_same(
    trainers: list[Trainer],
    stand_in: StandIn,
    streamed: list[str],
    samples: int,
    shuffle: bool,
) -> None:
    here, there = trainers
    data = made_data(samples)
    assert sum(array.nbytes for array in data.values()) > ROOM_BYTES
    options: dict[str, Any] = dict(batch_size=BATCH, epochs=3, shuffle=shuffle, validation=data)
    before = stand_in["copied_to"]
    assert dict(here.fit(data, **options)) == dict(there.fit(data, **options))
    assert stand_in["copied_to"] - before > 3 * sum(a.nbytes for a in data.values())
    assert not stand_in.errors and stand_in["faults"] == 0, stand_in.fault
    assert here.executor.state.snapshot() == there.executor.state.snapshot()
    assert {"run", "evaluate"} == set(streamed)


def test_evaluation_and_prediction_are_the_same(
    trainers: list[Trainer], stand_in: StandIn, streamed: list[str]
) -> None:
    here, there = trainers
    data = made_data(SAMPLES)
    assert here.evaluate(data, batch_size=BATCH) == there.evaluate(data, batch_size=BATCH)
    one, other = (t.predict(x=data["x"], batch_size=BATCH)["prediction"] for t in trainers)
    np.testing.assert_array_equal(one, other)
    assert {"evaluate", "predict"} == set(streamed)
    assert not stand_in.errors and stand_in["faults"] == 0, stand_in.fault


def test_small_data_stays_on_the_device(
    trainers: list[Trainer], stand_in: StandIn, streamed: list[str]
) -> None:
    there = trainers[1]
    stand_in["memory_bytes"] = 1_000_000
    data = made_data(64)
    there.fit(data, batch_size=BATCH, epochs=1)
    before = stand_in["copied_to"]
    there.fit(data, batch_size=BATCH, epochs=10)
    lines, orders = 40 * 24, 40 * BATCH * 8
    own = sum(array.nbytes for array in data.values())
    assert stand_in["copied_to"] - before == lines + orders + own
    assert not streamed


def test_nothing_is_left_behind(
    stand_in: StandIn, trainers: list[Trainer], streamed: list[str]
) -> None:
    there = trainers.pop()
    there.fit(made_data(SAMPLES), batch_size=BATCH, epochs=1)
    assert streamed
    del there
    gc.collect()
    assert stand_in["blocks"] == stand_in["events"] == stand_in["pinned"] == 0


@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES // BATCH * BATCH])
def test_data_that_is_read_by_rows_is_sent_by_batches(
    trainers: list[Trainer], stand_in: StandIn, samples: int
) -> None:
    """gc.data.Rows: the host reads a batch, the device has what it has of arrays."""
    here, there = trainers
    data = made_data(samples)
    rows = {name: Rows(np.array_split(values, 3)) for name, values in data.items()}
    one = here.fit(data, batch_size=BATCH, epochs=2, validation=data)
    two = there.fit(rows, batch_size=BATCH, epochs=2, validation=rows)
    assert one.to_dict() == two.to_dict()
    assert here.executor.state.snapshot() == there.executor.state.snapshot()
