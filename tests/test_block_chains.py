"""Chains of kernels in parts: in every number of threads, for batches that are not full, and to the
bits of the same program without them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import optim

PASS = importlib.import_module("gradc.compiler.passes.block_chains")
BATCH, HEADS, LENGTH, FEATURES = 4, 2, 256, 16


def program() -> Any:
    """One layer of attention that is trained."""
    x = gc.input("x", ("batch", LENGTH, HEADS * FEATURES))
    weight = gc.parameter("w", (HEADS * FEATURES, 3 * HEADS * FEATURES))
    parts = (x @ weight).reshape((-1, LENGTH, 3, HEADS, FEATURES)).permute(2, 0, 3, 1, 4)
    mixed = gc.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
    loss = gc.mean((mixed - 0.1) ** 2)
    return gc.training(loss, optimizer=optim.SGD(lr=10.0), metrics={"mean": gc.mean(mixed)})


def chains(trainer: Any) -> list[str]:
    lowered = trainer.artifact.lowered("run", {"batch": BATCH}, False)
    return [str(d) for d in lowered.decisions if d.subject.startswith("chain")]


def trained(threads: int) -> tuple[bytes, float]:
    """The parameters after an epoch, and a metric of rows that fill no batch."""
    data = np.random.default_rng(0).standard_normal((7, LENGTH, HEADS * FEATURES))
    trainer = program().compile(seed=0, threads=threads)
    trainer.fit({"x": data.astype(np.float32)}, batch_size=BATCH, epochs=2, progress=False)
    found = trainer.evaluate({"x": data.astype(np.float32)}, batch_size=BATCH)
    return np.asarray(trainer.parameters["w"]).tobytes(), found["mean"]


def test_attention_is_trained_in_parts_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    (found_chain,) = chains(program().compile(seed=0))
    assert "in 4 parts" in found_chain
    found = trained(1)
    assert trained(2) == found
    monkeypatch.setenv("GRADC_CACHE_DIR", "off")
    monkeypatch.setattr(PASS, "LARGE_BYTES", 1 << 40)
    assert not chains(program().compile(seed=0))
    assert trained(1) == found
