"""SparseAdam: its rule in NumPy on the rows that steps touch, what it leaves alone, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optimizers_table import OF_SOME
from support import steps

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(37)
ROWS, FEATURES, STEPS = 30, 40, 20
TARGET = RNG.normal(size=(4, FEATURES))


def expected(
    table: Array, batches: list[Array], lr: Any = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8, maximize: bool = False,
) -> Array:  # fmt: skip
    """torch.optim.SparseAdam on the gradients of `program`, one row after the other."""
    table, m, v = table.copy(), np.zeros_like(table), np.zeros_like(table)
    for t, batch in enumerate(batches, start=1):
        gradient = np.zeros_like(table)
        for row, target in zip(batch, TARGET, strict=True):
            for number in row:
                gradient[number] += 2 * (table[row].sum(0) - target) / TARGET.size
        rate = (
            (lr(t - 1) if callable(lr) else lr) * np.sqrt(1 - betas[1] ** t) / (1 - betas[0] ** t)
        )
        for number in np.unique(batch):
            g = -gradient[number] if maximize else gradient[number]
            m[number] += (1 - betas[0]) * (g - m[number])
            v[number] += (1 - betas[1]) * (g * g - v[number])
            table[number] -= rate * m[number] / (np.sqrt(v[number]) + eps)
    return table


def program(optimizer: Any, dtype: Any = gc.float64, rows: int = ROWS) -> Any:
    """Two readings of one table: sums of two rows, near to a target."""
    index = gc.input("index", (4, 2), gc.int32)
    table = gc.parameter("table", (rows, FEATURES), dtype, gc.init.normal)
    sums = nn.functional.embedding(index[:, 0], table) + gc.take(table, index[:, 1], axis=0)
    return gc.training(gc.mse_loss(sums, gc.constant(TARGET, dtype)), optimizer)


BATCHES = [RNG.integers(0, ROWS, (4, 2)) for _ in range(STEPS)]


@pytest.mark.parametrize(
    "options", OF_SOME["SparseAdam"][1], ids=lambda o: ",".join(o) or "defaults"
)
def test_the_rule(options: dict[str, Any]) -> None:
    for lr in (0.1, optim.schedule.exponential(0.1, 0.9)):
        after = steps(program(optim.SparseAdam(lr=lr, **options)), [{"index": b} for b in BATCHES])
        rate = lr if isinstance(lr, float) else (lambda t: 0.1 * 0.9**t)
        wanted = expected(after[0]["table"], BATCHES, rate, **options)
        np.testing.assert_allclose(after[-1]["table"], wanted, 1e-10, 1e-12)


def test_compiled_rows_keep_their_bits() -> None:
    """A table that is large enough for sums by row; those of which no step speaks stay."""
    rows = 9000
    made = program(optim.SparseAdam(lr=0.1), rows=rows)
    batches = [RNG.integers(0, rows, (4, 2)) for _ in range(3)]
    found = []
    for threads in (1, 2):
        trainer = made.compile(seed=3, threads=threads)
        first = trainer.parameters["table"]
        for batch in batches:
            trainer.step(index=batch)
        found.append(trainer.parameters["table"])
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], expected(first, batches, 0.1), 1e-10, 1e-12)
    untouched = np.setdiff1d(np.arange(rows), np.concatenate(batches))
    assert found[0][untouched].tobytes() == first[untouched].tobytes()


@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16, gc.float32], ids=str)
def test_short_numbers_stay_finite(dtype: Any) -> None:
    history = steps(program(optim.SparseAdam(lr=0.1), dtype), [{"index": BATCHES[0]}] * 3)
    after = history[-1]["table"].astype(np.float64)
    assert history[-1]["table"].dtype == dtype.numpy and np.isfinite(after).all()
    assert (after[np.unique(BATCHES[0])] != history[0]["table"][np.unique(BATCHES[0])]).any(1).all()


def test_options_of_gradients() -> None:
    clipping = optim.SparseAdam(lr=0.1, clip_norm=1e-3, clip_value=0.5)
    after = steps(program(clipping), [{"index": b} for b in BATCHES[:3]])
    moved = (after[-1]["table"] != after[0]["table"]).any(1)
    np.testing.assert_array_equal(np.flatnonzero(moved), np.unique(BATCHES[:3]))
    with pytest.raises(gc.ArgumentError, match="SparseAdam: accumulate= has no meaning"):
        optim.SparseAdam(accumulate=2)


def test_a_table_beside_other_parameters() -> None:
    index = gc.input("index", ("batch", 2), gc.int32)
    model = nn.ModuleDict({"table": nn.EmbeddingBag(50, 4), "head": nn.Linear(4, 1)})
    loss = gc.mean(model["head"](model["table"](index)) ** 2)
    losses = [(loss, optim.SparseAdam(lr=0.1), "table.*"), (loss, optim.Adam(lr=0.1), "head.*")]
    trainer = gc.training(losses).compile(seed=0)
    before = trainer.parameters["table.weight"]
    trainer.step(index=np.array([[3, 4], [4, 9]]))
    moved = (trainer.parameters["table.weight"] != before).any(1)
    np.testing.assert_array_equal(np.flatnonzero(moved), [3, 4, 9])


def test_a_function_of_a_table_has_the_same_rows() -> None:
    index = gc.input("index", (4,), gc.int32)
    table = gc.parameter("table", (ROWS, FEATURES), init=gc.init.normal)
    loss = gc.sum(gc.embedding(index, gc.tanh(table) * 2.0))
    before, after = steps(gc.training(loss, optim.SparseAdam(lr=0.1)), [{"index": [3, 3, 5, 29]}])
    moved = (before["table"] != after["table"]).any(1)
    np.testing.assert_array_equal(np.flatnonzero(moved), [3, 5, 29])


@pytest.mark.parametrize("name", ["product", "penalty", "columns"])
def test_dense_gradients_are_refused(name: str) -> None:
    index = gc.input("index", (4,), gc.int32)
    table = gc.parameter("table", (ROWS, FEATURES))
    rows = gc.embedding(index, table)
    loss = {
        "product": lambda: gc.sum(rows @ table.T),
        "penalty": lambda: gc.sum(rows) + 1e-3 * gc.sum(table * table),
        "columns": lambda: gc.sum(rows) + gc.sum(gc.take(table, index, axis=1)),
    }[name]()
    with pytest.raises(gc.ArgumentError, match="SparseAdam: the gradient of table is dense") as e:
        gc.training(loss, optim.SparseAdam())
    assert "f32[30, 40]" in str(e.value) and "test_sparse_adam.py" in str(e.value)
