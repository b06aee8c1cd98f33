"""Labels and indices are checked where they enter: what is followed, refused and let pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc.compiler.artifact import IndexRange
from gradc.compiler.index_ranges import index_ranges

Array = np.ndarray[Any, Any]
ROWS, CLASSES = 7, 5


def labels(dtype: Any = gc.int32, *more: int) -> gc.Tensor:
    return gc.input("labels", ("batch", *more), dtype)


def scores() -> gc.Tensor:
    return gc.input("scores", ("batch", CLASSES))


TABLE = np.arange(CLASSES * 3, dtype=np.float32).reshape(CLASSES, 3)

READERS: dict[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "cross_entropy": lambda i: gc.cross_entropy(scores(), i),
    "nll_loss": lambda i: gc.nll_loss(scores(), i),
    "embedding": lambda i: gc.embedding(i, TABLE).sum(),
    "one_hot": lambda i: gc.one_hot(i, CLASSES).sum(),
    "take": lambda i: gc.take(gc.constant(TABLE), i, axis=0).sum(),
    "getitem": lambda i: gc.constant(TABLE)[i].sum(),
    "take_along_axis": lambda i: gc.take_along_axis(scores(), i[:, None], axis=1).sum(),
    "scatter_add": lambda i: gc.scatter_add(scores(), 1, i[:, None], i[:, None]).sum(),
    "index_add": lambda i: gc.index_add(gc.zeros((CLASSES,)), 0, i, i).sum(),
    "gather": lambda i: gc.gather(gc.zeros((CLASSES,)), 0, i).sum(),
    "scatter": lambda i: gc.scatter(gc.zeros((CLASSES,)), 0, i, i).sum(),
    "scatter_reduce": lambda i: gc.scatter_reduce(gc.zeros((CLASSES,)), 0, i, i, "mean").sum(),
    "index_copy": lambda i: gc.index_copy(gc.zeros((CLASSES,)), 0, i, i).sum(),
    "index_fill": lambda i: gc.index_fill(gc.zeros((CLASSES,)), 0, i, 1.0).sum(),
    "index_reduce": lambda i: gc.index_reduce(gc.zeros((CLASSES,)), 0, i, i, "mean").sum(),
    "index_put": lambda i: gc.index_put(gc.zeros((CLASSES, 2)), [i], 1.0).sum(),
    "unravel_index": lambda i: gc.unravel_index(i, (CLASSES, 1))[0].sum(),
    "put": lambda i: gc.put(gc.zeros((CLASSES,)), i, i).sum(),
}
FROM_EITHER_END = (
    "take", "getitem", "take_along_axis", "gather", "scatter_add", "scatter", "scatter_reduce",
    "index_add", "index_copy", "index_fill", "index_reduce", "index_put", "put",
)  # fmt: skip

WITHOUT_NAMES = ("scatter", "index_copy", "index_fill", "index_put", "put")
"""Functions whose indices have no named dimension."""


def arrays(f: gc.Function, index: Array) -> dict[str, Array]:
    known = {"labels": index, "scores": np.ones((len(index), CLASSES), np.float32)}
    return {name: known[name] for name in f.inputs}


@pytest.mark.parametrize("name", READERS)
def test_every_function_that_reads_indices_refuses_those_out_of_range(name: str) -> None:
    fixed = gc.input("labels", (ROWS,), gc.int32)
    f = gc.compile(READERS[name](fixed if name in WITHOUT_NAMES else labels()))
    good = np.arange(ROWS, dtype=np.int32) % CLASSES
    f(**arrays(f, good))
    low = -CLASSES if name in FROM_EITHER_END else 0
    for wrong in (CLASSES, CLASSES + 94, low - 1, -(2**31), 2**31 - 1):
        bad = good.copy()
        bad[3] = wrong
        with pytest.raises(gc.ArgumentError) as caught:
            f(**arrays(f, bad))
        text = str(caught.value)
        assert f"row 3 of input 'labels' is {wrong}, not in {low} to {CLASSES - 1}" in text
        assert f"{name} takes it" in text and "test_index_ranges.py" in text
    edge = good.copy()
    edge[0] = low
    f(**arrays(f, edge))


@pytest.mark.parametrize("name", READERS)
def test_a_constant_out_of_range_is_refused_where_it_is_written(name: str) -> None:
    READERS[name](gc.constant(np.arange(ROWS) % CLASSES)) if name in (
        "embedding", "one_hot", "take", "getitem", "index_add"
    ) else None  # fmt: skip
    with pytest.raises((gc.ArgumentError, gc.ShapeError), match="is out of range"):
        if name in ("cross_entropy", "nll_loss"):
            getattr(gc, name)(gc.ones((1, 3)), [3])
        elif name in ("take_along_axis", "scatter_add"):
            index = np.full((2, 1), CLASSES)
            picked = gc.ones((2, CLASSES))
            if name == "take_along_axis":
                gc.take_along_axis(picked, index, axis=1)
            else:
                gc.scatter_add(picked, 1, index, np.ones((2, 1), np.float32))
        else:
            READERS[name](gc.constant([0, CLASSES]))


def ranges_of(index: gc.Tensor) -> list[tuple[str, int, int, tuple[int, ...]]]:
    graph = gc.graph(gc.embedding(index, TABLE)).graph
    return [(r.input, r.low, r.high, r.ignored) for r in index_ranges(graph)]


FOLLOWED: dict[str, tuple[Callable[[gc.Tensor], gc.Tensor], Any]] = {
    "itself": (lambda i: i, (0, CLASSES, ())),
    "cast": (lambda i: i.astype(gc.int64), (0, CLASSES, ())),
    "reshape": (lambda i: gc.expand_dims(i, 1), (0, CLASSES, ())),
    "stop_gradient": (gc.stop_gradient, (0, CLASSES, ())),
    "from one": (lambda i: i - 1, (1, CLASSES + 1, ())),
    "even ones": (lambda i: i * 2, (0, 3, ())),
    "three times, less one": (lambda i: 3 * i - 1, (1, 2, ())),
    "plus two": (lambda i: 2 + i, (-2, CLASSES - 2, ())),
    "guarded": (lambda i: gc.where(i == 255, 0, i), (0, CLASSES, (255,))),
    "guarded the other way": (lambda i: gc.where(i != -1, i, 4), (0, CLASSES, (-1,))),
    "guarded, from one": (lambda i: gc.where(i == 0, 1, i) - 1, (1, CLASSES + 1, (0,))),
}
NOT_FOLLOWED: dict[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "clipped": lambda i: gc.clip(i, 0, CLASSES - 1),
    "modulo": lambda i: i % CLASSES,
    "guarded by other numbers": lambda i: gc.where(i > 0, i, 0),
    "guarded by a number that is wrong itself": lambda i: gc.where(i == 9, 9, i),
    "from a float": lambda i: i.astype(gc.float32).astype(gc.int32),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_ranges_are_followed_to_the_input(name: str) -> None:
    made, wanted = FOLLOWED[name]
    assert ranges_of(made(labels())) == [("labels", *wanted)]


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_numbers_that_are_computed_otherwise_are_not_spoken_of(name: str) -> None:
    assert ranges_of(NOT_FOLLOWED[name](labels())) == []


def test_a_dtype_that_holds_no_other_number_needs_no_check() -> None:
    table = np.zeros((256, 2), np.float32)
    graph = gc.graph(gc.embedding(labels(gc.uint8), table)).graph
    assert index_ranges(graph) == ()
    (found,) = index_ranges(gc.graph(gc.embedding(labels(gc.int16), table)).graph)
    assert (found.low, found.high) == (0, 256)


def test_a_slice_is_checked_alone() -> None:
    pair = labels(gc.int32, 2)
    first, second = pair[:, 0], pair[:, 1]
    y = gc.embedding(first, TABLE).sum() + gc.one_hot(second, 2).sum()
    f = gc.compile(y)
    good = np.array([[4, 1], [0, 0], [2, 1]], np.int32)
    f(labels=good)
    for place, wrong, high in (((1, 0), 5, 4), ((2, 1), 2, 1)):
        bad = good.copy()
        bad[place] = wrong
        text = rf"row {place[0]} of input 'labels' is {wrong} at \[{place[0]}, {place[1]}\], "
        with pytest.raises(gc.ArgumentError, match=text + f"not in 0 to {high}"):
            f(labels=bad)


def test_a_reversed_slice_with_steps() -> None:
    tokens = gc.input("tokens", (3, 9), gc.int32)
    picked = tokens[::2, 7:0:-3]
    (found,) = index_ranges(gc.graph(gc.embedding(picked.T, TABLE)).graph)
    array = np.arange(27).reshape(3, 9)
    assert np.array_equal(array[found.slices(array.shape)], array[::2, 7:0:-3])


def test_the_place_named_is_the_first_in_the_whole_array() -> None:
    from gradc.runtime import index_ranges as checking

    wanted = IndexRange("x", 0, 9, (), None, "take", "")
    array = np.zeros((1_000_003,), np.int64)
    array[[700_001, 999_999]] = 9, -1
    assert checking.first_outside(array, wanted) == (700_001,)
    assert checking.first_outside(np.zeros((0, 3), np.int64), wanted) is None
    assert checking.first_outside(np.full((), 9), wanted) == ()
    cut = IndexRange("x", 0, 9, (-5,), ((2, 3, 2), (1, -1, 2)), "take", "")
    square = np.full((8, 4), 77)
    square[2:6:3, :2] = [[-5, 0], [8, 77]]
    assert checking.first_outside(square, cut) == (5, 1)


def trained() -> tuple[gc.Trainer, dict[str, Array]]:
    x, label = gc.input("x", ("batch", 4)), gc.input("label", ("batch",), gc.int32)
    word = gc.input("word", ("batch",), gc.int64)
    parts = nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Embedding(6, 3), "c": nn.Embedding(4, 2)})
    logits = parts["a"](x)
    program = gc.training(
        gc.cross_entropy(logits + parts["b"](word), label),
        optimizer=optim.SGD(lr=0.1),
        metrics={"accuracy": gc.accuracy(logits, label)},
        outputs={"vector": parts["c"](word)},
    )
    rng = np.random.default_rng(0)
    data: dict[str, Array] = {
        "x": rng.normal(size=(20, 4)).astype(np.float32),
        "label": (np.arange(20) % 3).astype(np.int32),
        "word": np.arange(20) % 4,
    }
    return program.compile(), data


def test_every_way_into_a_trainer() -> None:
    trainer, data = trained()
    trainer.fit(data, batch_size=8)
    before = {name: value.tobytes() for name, value in trainer.parameters.items()}
    bad = {**data, "label": data["label"].copy()}
    bad["label"][17] = 3
    ways: dict[str, Callable[[], Any]] = {
        "fit": lambda: trainer.fit(bad),
        "step": lambda: trainer.step(**bad),
        "evaluate": lambda: trainer.evaluate(bad),
        "fit of batches": lambda: trainer.fit([bad]),
        "evaluate of batches": lambda: trainer.evaluate([bad]),
        "validation": lambda: trainer.fit(data, validation=bad),
        "lists": lambda: trainer.step(**{k: v.tolist() for k, v in bad.items()}),
    }
    for way, run in ways.items():
        with pytest.raises(gc.ArgumentError, match="row 17 of input 'label' is 3, not in 0 to 2"):
            run()
        assert {n: v.tobytes() for n, v in trainer.parameters.items()} == before, way
    words = {**data, "word": np.full(20, 5)}
    trainer.evaluate(words)  # 6 rows in the table of the loss, 4 in that of the output
    with pytest.raises(
        gc.ArgumentError, match="predict: row 0 of input 'word' is 5, not in 0 to 3"
    ):
        trainer.predict(words)
    trainer.predict(word=data["word"], label=bad["label"], x=data["x"])  # no output reads labels


def test_repeated_steps_on_one_array_are_checked_each_time() -> None:
    trainer, data = trained()
    for _ in range(3):
        trainer.step(**data)
    data["label"][5] = -1
    with pytest.raises(gc.ArgumentError, match="row 5 of input 'label' is -1"):
        trainer.step(**data)


def test_ignored_labels_count_nowhere() -> None:
    x, label = gc.input("x", ("batch", 3)), gc.input("label", ("batch",), gc.int32)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(6, 3)).astype(np.float32)
    for ignored in (-100, 255, 1):
        given = np.array([0, 1, ignored, 2, ignored, 0], np.int32)
        f = gc.compile(gc.cross_entropy(x, label, ignore_index=ignored))
        kept = given != ignored
        logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
        wanted = -logs[kept, given[kept]].mean()
        assert f(x=values, label=given) == pytest.approx(wanted, rel=1e-5)
        with pytest.raises(gc.ArgumentError, match=f"from 0 to 2{'' if ignored == 1 else ', or'}"):
            f(x=values, label=np.full(6, 3, np.int32))


def test_a_text_keeps_what_is_said() -> None:
    text = str(gc.graph(gc.cross_entropy(scores(), labels())))
    f = gc.compile(gc.parse(text))
    with pytest.raises(gc.ArgumentError, match="row 0 of input 'labels' is 9"):
        f(scores=np.ones((1, CLASSES)), labels=np.array([9]))


def test_more_classes_than_the_labels_dtype_counts() -> None:
    index = gc.input("index", (2,), gc.int16)
    ones = gc.compile(gc.one_hot(index, 65_540).sum(axis=1))
    assert ones(index=np.array([0, 3])).tolist() == [1, 1]


def test_numbers_that_wrap_are_not_spoken_of() -> None:
    table = np.arange(10, dtype=np.float32)
    ids, small = gc.input("ids", (3,), gc.int32), gc.input("small", (3,), gc.uint8)
    hashed = gc.compile(gc.take(gc.constant(table), ((ids * 1_000_003).astype(gc.uint8) % 8)))
    assert hashed(ids=[256, 512, 0]).tolist() == [0.0, 0.0, 0.0]
    narrow = gc.compile(gc.take(gc.constant(table), ids.astype(gc.uint8)))
    assert narrow(ids=[256, 257, 2]).tolist() == [0.0, 1.0, 2.0]
    round_ = gc.compile(gc.take(gc.constant(table), small + gc.constant(10, dtype=gc.uint8)))
    assert round_(small=[250, 251, 252]).tolist() == [4.0, 5.0, 6.0]
    one = gc.compile(gc.take(gc.constant(table), small - gc.constant(1, dtype=gc.uint8)))
    with pytest.raises(gc.ArgumentError, match="row 1 of input 'small' is 11, not in 1 to 10"):
        one(small=[1, 11, 2])


def test_an_empty_cut_speaks_of_nothing() -> None:
    ids = gc.input("ids", (6, 4), gc.int32)
    table = gc.constant(np.arange(10, dtype=np.float32))
    for empty in (ids[::2][0:0], ids[:, ::2][:, 0:0], ids[:, 0:0:2]):
        assert gc.compile(gc.take(table, empty))(ids=np.full((6, 4), 99)).size == 0


def test_a_scan_speaks_of_what_it_scans_and_captures() -> None:
    """Not of what it carries, and a branch, which may not be taken, speaks of nothing."""
    ids = gc.input("ids", (4, 3), gc.int32)
    same, first = gc.input("same", (), gc.int32), gc.input("first", (), gc.int32)
    table = gc.constant(TABLE)

    def row(carried: gc.Tensor, x: gc.Tensor) -> Any:
        inner = gc.scan(lambda c, i: (c + gc.embedding(i, table).sum(), None), 0.0, x[1:])[0]
        late = gc.cond(inner > 0.0, lambda: gc.embedding(x[0], table), lambda: table[0])
        return carried + 1, gc.embedding(same, table) + gc.embedding(carried, table) + inner + late

    _, rows = gc.scan(row, first, ids)
    computed = gc.embedding(gc.scan(lambda c, _: (c + 1, c), first, length=3)[1], table)
    found = {r.input: r for r in index_ranges(gc.graph([rows, computed]).graph)}
    assert set(found) == {"ids", "same"}
    assert (found["ids"].low, found["ids"].high) == (0, CLASSES)
    assert found["ids"].cut == ((0, 1, 4), (1, 1, 2))
    assert (found["same"].low, found["same"].high, found["same"].cut) == (0, CLASSES, None)
