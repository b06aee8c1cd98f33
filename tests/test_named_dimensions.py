"""Named dimensions: a type that is a name in shapes and a number in tensors; merged axes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import steps, told, values
from support_binary import Binary, files, needs_compiler

import gradc as gc
from gradc import nn, optim
from gradc.compiler.types import at_rows, bind_shape, factors, product

x = gc.input("x", ("batch", 4, 6))
ROWS = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
batch = x.shape[0]


# ---------------------------------------------------------------- a name


def test_it_is_its_name() -> None:
    assert batch == "batch" and hash(batch) == hash("batch") and f"{batch}" == "batch"
    assert {"batch": 1}[batch] == 1  # type: ignore[index]
    assert x.shape == ("batch", 4, 6) and repr(x.shape) == "('batch', 4, 6)"
    assert batch != 4 and batch != "rows"


def test_it_stands_in_shapes() -> None:
    assert gc.zeros((batch, 2)).shape == ("batch", 2)
    assert gc.full(x.shape, 2.0).shape == x.shape
    assert x.reshape(batch, 24).shape == ("batch", 24)
    assert x.sum(0).broadcast_to((batch, 4, 6)).shape == x.shape
    assert gc.random.normal(x.shape).shape == x.shape


PYTHON = {
    "add": lambda: batch + 1, "radd": lambda: 1 + batch, "concatenated": lambda: batch + "x",
    "to a string": lambda: "x" + batch, "sub": lambda: batch - 1, "mul": lambda: batch * 2,
    "rmul": lambda: 2 * batch, "floordiv": lambda: batch // 2, "mod": lambda: batch % 2,
    "pow": lambda: batch**2, "neg": lambda: -batch, "abs": lambda: abs(batch),
    "lt": lambda: batch < 4, "ge": lambda: batch >= 4, "int": lambda: int(batch),
    "float": lambda: float(batch), "range": lambda: range(batch), "index": lambda: [1, 2][batch],
    "for": lambda: [i for i in batch], "divmod": lambda: divmod(batch, 2),
    "numpy": lambda: np.ones(3) * batch,
    "zeros": lambda: np.zeros(x.shape), "sum": lambda: sum([batch]),
    "merged": lambda: x.reshape(-1, 6).shape[0] * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", PYTHON)
def test_arithmetic_of_python_raises_with_a_hint(name: str) -> None:
    with pytest.raises(gc.ShapeError) as caught:
        PYTHON[name]()
    assert "has no value before the program runs" in told(caught.value) and caught.value.hint
    assert caught.value.source is not None and caught.value.source.file.endswith(
        "test_named_dimensions.py"
    )


# ---------------------------------------------------------------- a number in the program

IN_TENSORS: dict[str, tuple[Callable[[], Any], Any]] = {
    "x / n": (lambda: x / batch, ROWS / 3),
    "x * n": (lambda: x * batch, ROWS * 3),
    "n * x": (lambda: batch * x, ROWS * 3),
    "n - x": (lambda: batch - x, 3 - ROWS),
    "x + n": (lambda: x + batch, ROWS + 3),
    "sum / n": (lambda: x.sum(0) / batch, ROWS.mean(0)),
    "1 / n": (lambda: 1 / batch + 0 * x.sum(), np.float32(1 / 3)),
    "n / 2": (lambda: batch / 2 + 0 * x.sum(), np.float32(1.5)),
    "n ** x": (lambda: batch**x, 3.0**ROWS),
    "x < n": (lambda: x < batch, ROWS < 3),
    "arange": (lambda: gc.arange(batch) + 0 * x.sum((1, 2)).astype(gc.int64), np.arange(3)),
    "arange(0, n)": (lambda: gc.arange(0, batch) + x.sum().astype(gc.int64) * 0, np.arange(3)),
    "maximum": (lambda: gc.maximum(x, batch), np.maximum(ROWS, 3)),
    "where": (lambda: gc.where(x > 0, x, batch), np.where(ROWS > 0, ROWS, 3)),
    "merged": (lambda: x.reshape(-1, 6) * x.reshape(-1, 6).shape[0], ROWS.reshape(-1, 6) * 12),
}


@pytest.mark.parametrize("name", IN_TENSORS)
def test_in_tensors_it_is_a_number(name: str) -> None:
    make, expected = IN_TENSORS[name]
    tensor = make()
    found = gc.compile(tensor)(x=ROWS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(values(tensor, x=ROWS), expected, rtol=1e-6)


def test_it_is_weak_as_a_python_integer_is() -> None:
    whole = gc.input("i", ("batch",), gc.int8)
    assert (whole * whole.shape[0]).dtype == gc.int8
    assert (whole / whole.shape[0]).dtype == gc.float32
    assert (x * batch).dtype == gc.float32
    assert gc.asarray(batch).dtype == gc.int64


def test_a_mask_picks_along_it_as_the_hint_says() -> None:
    last = gc.where(gc.arange(batch)[:, None, None] == batch - gc.asarray(1), x, 0).sum(0)
    np.testing.assert_array_equal(gc.compile(last)(x=ROWS), ROWS[-1])


@pytest.mark.parametrize("operation", [lambda: x[0], lambda: x[1:], lambda: gc.concat([x, x])])
def test_what_cannot_be_done_along_it_says_how_else(operation: Callable[[], Any]) -> None:
    with pytest.raises(gc.ShapeError) as caught:
        operation()
    assert re.search("mask picks|integer extent there|join the arrays", told(caught.value))


# ---------------------------------------------------------------- merged axes


def test_products_of_extents() -> None:
    assert product([]) == 1 and product(["b"]) == "b" and product([2, "b", 3]) == "b*6"
    assert product(["t", "b", 1]) == "b*t" and product(["b*4", "t*2"]) == "b*t*8"
    assert product(["b", 0]) == 0
    assert factors("b*t*8") == (("b", "t"), 8)
    assert bind_shape(("b*t*8", 3, "c"), {"t": 5}) == ("b*40", 3, "c")
    assert bind_shape(("b*t*8",), {"t": 5, "b": 2}) == (80,)
    assert at_rows(("b*8", 3), 5) == (40, 3)
    with pytest.raises(gc.ShapeError, match="twice"):
        product(["b", "b"])


MERGES = {
    (-1, 6): ("batch*4", 6), (-1,): ("batch*24",), (-1, 2, 3): ("batch*4", 2, 3),
    (-1, 12): ("batch*2", 12), ("batch", -1): ("batch", 24), (-1, 4, 3, 2): ("batch", 4, 3, 2),
    (-1, 8, 3): ("batch", 8, 3), ("batch*4", -1): ("batch*4", 6), (-1, 1, 24): ("batch", 1, 24),
}  # fmt: skip


@pytest.mark.parametrize("wanted", MERGES)
def test_reshape_merges_and_splits(wanted: tuple[Any, ...]) -> None:
    merged = x.reshape(*wanted)
    assert merged.shape == MERGES[wanted]
    back = merged.reshape(-1, 4, 6)
    assert back.shape == x.shape
    shape = [-1 if isinstance(e, str) else e for e in MERGES[wanted]]
    for one in (x, gc.tanh(x)):
        tensor = one.reshape(*wanted)
        found = gc.compile([tensor, tensor.reshape(-1, 4, 6)])(x=ROWS)
        expected = ROWS if one is x else np.tanh(ROWS)
        np.testing.assert_allclose(found[0], expected.reshape(shape), rtol=1e-6)
        np.testing.assert_allclose(found[1], expected, rtol=1e-6)


def test_flatten_merges() -> None:
    assert x.flatten().shape == ("batch*24",)
    assert x.flatten(0, 1).shape == ("batch*4", 6)
    assert nn.Flatten()(x).shape == ("batch", 24)


def test_two_names_merge() -> None:
    words = gc.input("w", ("batch", "time", 5))
    flat = words.reshape(-1, 5)
    assert flat.shape == ("batch*time", 5)
    array = np.arange(30, dtype=np.float32).reshape(2, 3, 5)
    np.testing.assert_array_equal(gc.compile(flat.sum(1))(w=array), array.reshape(-1, 5).sum(1))
    with pytest.raises(gc.ShapeError, match="twice"):
        gc.input("s", ("n", "n")).reshape(-1)


@pytest.mark.parametrize("wanted", [(-1, 5), (-1, 48), (3, -1), ("other", 4, 6), ("batch*5", -1)])
def test_what_does_not_divide_is_refused(wanted: tuple[Any, ...]) -> None:
    with pytest.raises(gc.ShapeError, match="reshape"):
        x.reshape(*wanted)


def test_a_dimension_that_is_not_first_does_not_merge() -> None:
    turned = x.permute(1, 0, 2)
    with pytest.raises(gc.ShapeError, match="merges with the axes behind it"):
        turned.reshape(-1, 6)
    assert turned.permute(1, 0, 2).reshape(-1, 6).shape == ("batch*4", 6)


def test_inputs_are_declared_by_names() -> None:
    for shape in (("b*4",), ("b*",), ("b", "4b")):
        with pytest.raises(gc.ShapeError):
            gc.input("q", shape)


def test_a_merged_graph_is_read_back() -> None:
    flat = gc.tanh(x.reshape(-1, 6))
    text = str(gc.graph(flat))
    assert 'f32["batch*4", 6]' in text and str(gc.parse(text)) == text
    found = gc.compile(gc.parse(text))(x=ROWS)
    np.testing.assert_allclose(found, np.tanh(ROWS.reshape(-1, 6)), rtol=1e-6)


# ---------------------------------------------------------------- in training, the last batch too

CLASSES, WIDTH, TIME = 7, 16, 5
words = gc.input("words", ("batch", TIME), gc.int32)
labels = gc.input("labels", ("batch", TIME), gc.int32)


class Language(nn.Module):
    """A model over words, on rows merged from batch and time or not."""

    def __init__(self, merged: bool) -> None:
        self.merged = merged
        self.embed, self.hidden = nn.Embedding(CLASSES, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, words: gc.Tensor) -> gc.Tensor:
        rows = self.embed(words)
        rows = rows.reshape(-1, WIDTH) if self.merged else rows
        return self.head(self.norm(gc.tanh(self.hidden(rows))))


def program(merged: bool) -> Any:
    scores = Language(merged)(words)
    if merged:
        loss = gc.cross_entropy(scores, labels.reshape(-1))
        outputs = {"scores": scores.reshape(words.shape[0], TIME, CLASSES)}
    else:
        loss, outputs = gc.cross_entropy(scores.permute(0, 2, 1), labels), {"scores": scores}
    metrics = {"mean": gc.mean(scores), "deviation": gc.std(scores)}
    return gc.training(loss, optim.Adam(lr=1e-2), metrics=metrics, outputs=outputs)


def text_data(rows: int) -> dict[str, np.ndarray[Any, Any]]:
    random = np.random.default_rng(1)
    shape = (rows, TIME)
    return {
        "words": random.integers(0, CLASSES, shape).astype(np.int32),
        "labels": random.integers(0, CLASSES, shape).astype(np.int32),
    }


def test_merged_rows_train_as_separate_ones() -> None:
    data = text_data(19)
    found = []
    for merged in (False, True):
        trainer = program(merged).compile(threads=2, seed=3)
        history = trainer.fit(data, batch_size=8, epochs=3)  # the last batch has 3 rows
        found.append((history, trainer.evaluate(data), trainer.predict(words=data["words"])))
    (left, left_means, left_scores), (right, right_means, right_scores) = found
    # The mean of scores of about 1 in size is near 0: it is as exact as they are, not relatively.
    for name in left:
        np.testing.assert_allclose(right[name], left[name], rtol=2e-5, atol=1e-7)
    for name in left_means:
        np.testing.assert_allclose(right_means[name], left_means[name], rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(right_scores["scores"], left_scores["scores"], rtol=1e-4, atol=1e-6)
    assert right_scores["scores"].shape == (19, TIME, CLASSES)


def test_a_ragged_batch_is_the_evaluators() -> None:
    data, made = text_data(11), program(True)
    trainer = made.compile(seed=0)
    trainer.fit(data, batch_size=8, epochs=1, shuffle=False)
    batches = [{n: a[start : start + 8] for n, a in data.items()} for start in (0, 8)]
    expected = steps(made, batches, seed=0)[-1]
    for name, array in {**trainer.parameters, **trainer.state}.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-6)


@needs_compiler
def test_a_binary_of_merged_rows_gives_the_same_bits(tmp_path: Path) -> None:
    data, made = text_data(19), program(True)
    path, checkpoint = tmp_path / "language", tmp_path / "run"
    made.build(path, batch=8)
    binary = Binary(made, path, 8)
    binary.run(*files(tmp_path, data), "--checkpoint", checkpoint, "--epochs", 2, "--quiet")
    trainer = binary.trainer()
    trainer.fit(data, batch_size=8, epochs=2, checkpoint=tmp_path / "own", progress=False)
    assert checkpoint.read_bytes() == (tmp_path / "own").read_bytes()


def test_an_output_of_merged_rows_is_refused() -> None:
    scores = Language(True)(words)
    loss = gc.cross_entropy(scores, labels.reshape(-1))
    with pytest.raises(gc.ShapeError, match="samples are not along one axis"):
        gc.training(loss, optim.SGD(lr=0.1), outputs={"scores": scores})
