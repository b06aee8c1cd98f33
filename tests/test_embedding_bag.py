"""Rows by number, and sums, means and maxima of them: bag by bag in NumPy, slopes, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from support import steps, values
from support_slopes import check_slopes

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(29)
TABLE = RNG.normal(size=(7, 3))
BAGS = RNG.integers(0, 7, (4, 5))
FLAT, OFFSETS = RNG.integers(0, 7, 11), np.array([0, 3, 3, 9])


def bags(index: Array, offsets: Array | None) -> list[Array]:
    """The indices of each bag."""
    if offsets is None:
        return list(index)
    return [index[a:b] for a, b in zip(offsets, [*offsets[1:], len(index)], strict=True)]


def expected(
    table: Array, parts: list[Array], factors: list[Array], mode: str, padding: int | None
) -> Array:
    """One bag after the other."""
    result = np.zeros((len(parts), table.shape[1]))
    for y, part, own in zip(result, parts, factors, strict=True):
        kept = part != (None if padding is None else padding % len(table))
        rows = table[part[kept]] * own[kept][:, None]
        if len(rows):
            y[:] = {"sum": rows.sum, "mean": rows.mean, "max": rows.max}[mode](0)
    return result


@pytest.mark.parametrize(
    ("mode", "padding"), list(itertools.product(("sum", "mean", "max"), (None, 2, -1)))
)
def test_bags(mode: str, padding: int | None) -> None:
    options: dict[str, Any] = {"mode": mode, "padding_idx": padding}
    for index, offsets in ((BAGS, None), (FLAT, OFFSETS)):
        parts = bags(index, offsets)
        ones = [np.ones(len(part)) for part in parts]
        found = values(gc.embedding_bag(index, TABLE, offsets, **options))
        np.testing.assert_allclose(found, expected(TABLE, parts, ones, mode, padding), 1e-14)
        check_slopes(lambda w, i=index, o=offsets: gc.embedding_bag(i, w, o, **options), [TABLE])
    ends = np.append(OFFSETS, len(FLAT))
    same = gc.embedding_bag(FLAT, TABLE, ends, include_last_offset=True, **options)
    np.testing.assert_array_equal(values(same), found)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_named_dimensions(mode: str) -> None:
    index = gc.input("index", ("numbers",), gc.int32)
    offsets = gc.input("offsets", ("bags",), gc.int32)
    f = gc.compile(gc.embedding_bag(index, gc.constant(TABLE), offsets, mode))
    ones = [np.ones(len(part)) for part in bags(FLAT, OFFSETS)]
    wanted = expected(TABLE, bags(FLAT, OFFSETS), ones, mode, None)
    np.testing.assert_allclose(f(index=FLAT, offsets=OFFSETS), wanted, 1e-14)


def test_factors_of_a_sum() -> None:
    for index, offsets in ((BAGS, None), (FLAT, OFFSETS)):
        factors = RNG.normal(size=index.shape)
        own = list(factors) if offsets is None else bags(factors, offsets)

        def bagged(w: Any, f: Any, i: Any = index, o: Any = offsets) -> gc.Tensor:
            return gc.embedding_bag(i, w, o, "sum", f, padding_idx=3)

        wanted = expected(TABLE, bags(index, offsets), own, "sum", 3)
        np.testing.assert_allclose(values(bagged(TABLE, factors)), wanted, 1e-13)
        check_slopes(bagged, [TABLE, factors])


@pytest.mark.parametrize("bag", [False, True])
def test_gradients_by_frequency(bag: bool) -> None:
    w = gc.input("w", (7, 3), gc.float64)
    call: Any = gc.embedding_bag if bag else gc.embedding
    options: dict[str, Any] = {"mode": "sum"} if bag else {}
    y = call(BAGS, w, scale_grad_by_freq=True, **options)
    slope = values(gc.grad(gc.sum(y), w), w=TABLE)
    there = np.isin(np.arange(7), BAGS)
    np.testing.assert_allclose(slope, np.repeat(there[:, None], 3, 1), 1e-14)


def test_layers_begin_and_train_as_pytorchs() -> None:
    layer = nn.EmbeddingBag(7, 3, mode="sum", padding_idx=-2)
    index = gc.input("index", ("batch", 2), gc.int32)
    program = gc.training(gc.sum(layer(index)), optim.SGD(lr=1.0))
    before, after = steps(program, [{"index": np.array([[5, 1], [1, 6]])}])
    np.testing.assert_array_equal(before["weight"][5], 0)
    moved = np.array([0, 2, 0, 0, 0, 0, 1])[:, None]
    np.testing.assert_allclose(after["weight"], before["weight"] - moved, rtol=1e-6)
    assert repr(layer) == "EmbeddingBag(7, 3, padding_idx=5, mode='sum')"


def test_rows_from_elsewhere() -> None:
    for kind in (nn.Embedding, nn.EmbeddingBag):
        frozen = kind.from_pretrained(TABLE.astype("f4"))
        moving = kind.from_pretrained(TABLE.astype("f4"), freeze=False, sparse=True)
        y = gc.sum(frozen(gc.constant(BAGS)) * moving(gc.constant(BAGS)))
        holder = nn.ModuleDict({"frozen": frozen, "moving": moving})
        after = steps(gc.training(y, optim.SGD(lr=1.0)), [{}])[-1]
        np.testing.assert_array_equal(after["frozen.weight"], TABLE.astype("f4"))
        assert (after["moving.weight"] != TABLE.astype("f4")).any() and len(holder) == 2
    with pytest.raises(gc.ShapeError, match=r"Embedding.from_pretrained: .* of shape \[7\]"):
        nn.Embedding.from_pretrained(TABLE[:, 0])


X = gc.input("x", (4,), gc.int32)
REFUSED: dict[str, tuple[Any, str]] = {
    "mode": (lambda: gc.embedding_bag(BAGS, TABLE, mode="min"), "mode is 'sum', 'mean' or 'max'"),
    "flat": (lambda: gc.embedding_bag(X, TABLE), r"without offsets the input is \[bags, numbers"),
    "table": (lambda: gc.embedding_bag(BAGS, TABLE[0]), r"a table \[classes, features\]"),
    "floats": (lambda: gc.embedding_bag(TABLE, TABLE), "row numbers of a table"),
    "offsets": (lambda: gc.embedding_bag(BAGS, TABLE, OFFSETS), r"the input is \[numbers\]"),
    "factors": (
        lambda: gc.embedding_bag(BAGS, TABLE, per_sample_weights=np.ones((4, 5))),
        "mode is 'sum', not 'mean'",
    ),
    "shape of factors": (
        lambda: gc.embedding_bag(BAGS, TABLE, mode="sum", per_sample_weights=np.ones(4)),
        "per_sample_weights has not the input's shape",
    ),
    "padding": (lambda: gc.embedding_bag(BAGS, TABLE, padding_idx=7), "padding_idx 7 is out of"),
    "frequency": (
        lambda: gc.embedding_bag(BAGS, TABLE, mode="max", scale_grad_by_freq=True),
        "scale_grad_by_freq has no meaning with mode 'max'",
    ),
    "index": (lambda: gc.embedding_bag(BAGS + 3, TABLE), r"index \d+ is out of range"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, problem = REFUSED[name]
    with pytest.raises(gc.GradcError, match=f"embedding_bag: .*{problem}") as caught:
        call()
    assert "test_embedding_bag.py" in str(caught.value)
