"""A budget of bytes: kept to by the plan, without another bit; or refused with the least."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim

BATCH, LENGTH, WIDTH, WORDS = 4, 32, 32, 16


class Attention(nn.Module):
    def __init__(self) -> None:
        self.norm, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: Any) -> Any:
        z = self.norm(x)
        scores = gc.matmul(self.q(z), gc.swapaxes(self.k(z), -1, -2)) / WIDTH**0.5
        return x + self.out(gc.matmul(gc.softmax(scores, axis=-1), self.v(z)))


class Wide(nn.Module):
    def __init__(self) -> None:
        self.norm, self.up, self.down = (
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        )  # fmt: skip
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Any) -> Any:
        return x + self.drop(self.down(gc.gelu(self.up(self.norm(x)))))


def transformer() -> Any:
    """Two layers, with dropout, whose random bits are made again."""
    words = gc.input("words", ("batch", LENGTH), gc.int32)
    target = gc.input("target", ("batch", LENGTH), gc.int32)
    layers = [layer() for _ in range(2) for layer in (Attention, Wide)]
    net = nn.Sequential(nn.Embedding(WORDS, WIDTH), *layers, nn.Linear(WIDTH, WORDS))
    scores = gc.reshape(net(words), (-1, WORDS))
    loss = gc.cross_entropy(scores, gc.reshape(target, (-1,)))
    return gc.training(loss, optimizer=optim.AdamW(lr=1e-2))


def arena(trainer: Any) -> int:
    return int(trainer.artifact.variant("run", {"batch": BATCH}, False).arena_bytes)


def data(rows: int = 3 * BATCH) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, WORDS, (rows, LENGTH)).astype(np.int32)
        for name in ("words", "target")
    }


def trained(trainer: Any, epochs: int = 1) -> dict[str, Any]:
    trainer.fit(data(), batch_size=BATCH, epochs=epochs, progress=False)
    return {name: np.array(trainer.parameters[name]) for name in trainer.parameters}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def test_a_transformer_trains_in_less_to_the_same_bits(tmp_path: Path) -> None:
    plain = transformer().compile(threads=1)
    budget = int(0.6 * arena(plain))
    small = transformer().compile(threads=1, memory_budget=budget)
    assert arena(small) <= budget
    program = small.artifact.lowered("run", {"batch": BATCH}, False)
    decision = next(d for d in program.decisions if d.subject == "memory budget")
    assert f"{arena(plain):,} bytes without a budget" in decision.reason
    assert f"arena of {arena(small):,} bytes" == decision.verdict
    assert plain.artifact.fingerprint == small.artifact.fingerprint
    assert_same(trained(plain), trained(small))
    # A run goes on with another budget, or none.
    small.save(str(tmp_path / "run.safetensors"))
    other = transformer().compile(threads=1)
    other.load(str(tmp_path / "run.safetensors"))
    assert_same(trained(plain, 2), trained(other, 2))


def test_too_small_a_budget_is_refused_with_the_least() -> None:
    trainer = transformer().compile(threads=1, memory_budget="1 kB")
    with pytest.raises(gc.ArgumentError) as caught:
        arena(trainer)
    problem, asked, held = str(caught.value).splitlines()
    assert problem == "compile: the arena of run cannot be as small as memory_budget"
    assert asked.startswith("  asked for 1,000 bytes; the least found is ")
    assert held.startswith("  at its peak it holds t") and held.endswith(" more")
    least = int(asked.split()[8].rstrip(",").replace(",", ""))
    assert arena(transformer().compile(threads=1, memory_budget=least)) == least


def test_a_binary_keeps_to_it_too(tmp_path: Path) -> None:
    """One that cannot is not built."""
    with pytest.raises(gc.ArgumentError, match="the arena of run cannot be as small"):
        transformer().build(tmp_path / "net", batch=BATCH, memory_budget=1000)
    assert not list(tmp_path.iterdir())
    plain, small = (
        transformer().build(tmp_path / name, "object", batch=BATCH, memory_budget=budget)
        for name, budget in (("plain.o", None), ("small.o", "600 kB"))
    )
    sizes = [
        re.search(rb'"arena_bytes": ?(\d+)', files[0].read_bytes()) for files in (plain, small)
    ]
    arenas = [int(found[1]) for found in sizes if found is not None]
    assert len(arenas) == 2 and arenas[1] <= 600_000 < arenas[0]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("much", "memory_budget is a number of bytes or a text such as '512 MB', not 'much'"),
        ("5 MBit", "memory_budget is a number of bytes or a text such as '512 MB', not '5 MBit'"),
        (0, "memory_budget is an integer of at least 1, not 0"),
        (1.5, "memory_budget is an integer of at least 1, not 1.5"),
    ],
)
def test_what_is_no_number_of_bytes(budget: Any, message: str) -> None:
    with pytest.raises(gc.ArgumentError, match=f"^compile: {message}"):
        transformer().compile(memory_budget=budget)
    with pytest.raises(gc.ArgumentError, match=f"^compile: {message}"):
        gc.compile(gc.ones(2), memory_budget=budget)


def test_a_function_within_its_budget_is_compiled_as_ever() -> None:
    x = gc.input("x", (8,))
    assert np.array_equal(gc.compile(gc.exp(x) * 0.0, memory_budget="1 MiB")(x=np.ones(8)), [0] * 8)
