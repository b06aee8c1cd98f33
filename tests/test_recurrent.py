"""nn.RNN, LSTM, GRU and their cells: the formulas in NumPy, and PyTorch's names and shapes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc import nn, optim
from gradc.compiler.graph.ir import all_nodes
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.opt import optimize_text

Array = np.ndarray[Any, Any]
near = np.testing.assert_allclose
rng = np.random.default_rng(5)

TIME, BATCH, IN, HIDDEN = 4, 2, 3, 5
LAYERS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
CELLS = {"RNN": nn.RNNCell, "LSTM": nn.LSTMCell, "GRU": nn.GRUCell}
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@pytest.fixture(autouse=True)
def own_numbers() -> None:
    """Every test has the same numbers, whichever ran before it in the same process."""
    rng.bit_generator.state = np.random.default_rng(5).bit_generator.state


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def step(
    kind: str, p: Mapping[str, Array], suffix: str, x: Array, state: list[Array]
) -> list[Array]:
    """The formulas of torch.nn, with every bias where they have it."""
    of_x = x @ p["weight_ih" + suffix].T + p.get("bias_ih" + suffix, 0.0)
    of_h = state[0] @ p["weight_hh" + suffix].T + p.get("bias_hh" + suffix, 0.0)
    if kind == "RNN":
        return [np.tanh(of_x + of_h)]
    if kind == "LSTM":
        i, f, g, o = np.split(of_x + of_h, 4, axis=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (np.split(part, 3, axis=-1) for part in (of_x, of_h))
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return [(1 - z) * n + z * state[0]]


def sequence(
    kind: str, p: Mapping[str, Array], x: Array, state: list[Array], layers: int, both: bool
) -> tuple[Array, list[Array]]:
    """x [time, batch, in], each of the state [cells, batch, hidden]."""
    ends: list[list[Array]] = []
    for layer in range(layers):
        outputs = []
        for way in range(1 + both):
            suffix = f"_l{layer}" + ("_reverse" if way else "")
            now, rows = [part[len(ends)] for part in state], []
            for row in x[::-1] if way else x:
                now = step(kind, p, suffix, row, now)
                rows.append(now[0])
            ends.append(now)
            outputs.append(np.stack(rows[::-1] if way else rows))
        x = np.concatenate(outputs, axis=-1)
    return x, [np.stack(parts) for parts in zip(*ends, strict=True)]


OPTIONS = list(itertools.product(LAYERS, (1, 2), (False, True), (False, True), (False, True)))


@pytest.mark.parametrize(("kind", "layers", "both", "batch_first", "bias"), OPTIONS)
def test_a_layer_is_its_formulas(
    kind: str, layers: int, both: bool, batch_first: bool, bias: bool
) -> None:
    layer = LAYERS[kind](
        IN, HIDDEN, layers, bias=bias, batch_first=batch_first, bidirectional=both, dtype=gc.float64
    )
    x = rng.standard_normal((TIME, BATCH, IN))
    cells = layers * (1 + both)
    state = [rng.standard_normal((cells, BATCH, HIDDEN)) for _ in range(1 + (kind == "LSTM"))]
    given = np.swapaxes(x, 0, 1) if batch_first else x
    named = dict(layer.named_parameters())
    hx: Any = tuple(state) if kind == "LSTM" else state[0]
    found, ends, p = values([*layer(gc.constant(given), hx), named])
    y, expected = sequence(kind, p, x, state, layers, both)
    near(np.swapaxes(found, 0, 1) if batch_first else found, y, rtol=1e-12)
    for end, wanted in zip(ends if kind == "LSTM" else [ends], expected, strict=True):
        near(end, wanted, rtol=1e-12)
    zeros = [np.zeros_like(part) for part in state]
    found, p = values([layer(gc.constant(given))[0], named])
    y, _ = sequence(kind, p, x, zeros, layers, both)
    near(np.swapaxes(found, 0, 1) if batch_first else found, y, rtol=1e-12)


@pytest.mark.parametrize(("kind", "both"), list(itertools.product(LAYERS, (False, True))))
def test_sequences_of_different_lengths(kind: str, both: bool) -> None:
    """As if each had come alone, cut to its length; what lies behind is not read."""
    layer = LAYERS[kind](IN, HIDDEN, 2, batch_first=True, bidirectional=both, dtype=gc.float64)
    lengths = np.arange(BATCH) % (TIME - 1) + 1
    x = rng.standard_normal((BATCH, TIME, IN))
    given = np.where(np.arange(TIME)[:, None] < lengths[:, None, None], x, np.nan)
    named = dict(layer.named_parameters())
    t = gc.input("x", x.shape, gc.float64)
    steps = gc.input("lengths", (BATCH,), gc.int32)
    y, ends = layer(t, lengths=steps)
    results = [y, ends, named, gc.grad(gc.sum(y * y), t)]
    found, after, p, slope = values(results, x=x, lengths=lengths)
    compiled = gc.compile([y, gc.grad(gc.sum(y * y), named["weight_hh_l1"])], seed=0)
    assert all(np.isfinite(part).all() for part in compiled(x=x, lengths=lengths))
    for n, length in enumerate(lengths):
        zeros = [np.zeros((2 * (1 + both), 1, HIDDEN)) for _ in range(1 + (kind == "LSTM"))]
        alone, wanted = sequence(kind, p, x[n, :length, None], zeros, 2, both)
        near(found[n, :length], alone[:, 0], rtol=1e-12)
        assert not found[n, length:].any() and not slope[n, length:].any()
        for end, own in zip(after if kind == "LSTM" else [after], wanted, strict=True):
            near(end[:, n], own[:, 0], rtol=1e-12)
    blind, _ = values(layer(t, lengths=steps), x=given, lengths=lengths)
    assert np.isfinite(blind).all()


def test_lengths_that_do_not_fit() -> None:
    x = gc.input("x", (TIME, "batch", IN))
    with pytest.raises(gc.ShapeError, match="GRU: lengths has not one number for each") as caught:
        nn.GRU(IN, HIDDEN)(x, lengths=[1, 2])
    assert "lengths i64[2]" in str(caught.value)
    with pytest.raises(gc.DTypeError, match="LSTM: lengths are integers"):
        nn.LSTM(IN, HIDDEN)(x, lengths=gc.input("n", ("batch",)))


@pytest.mark.parametrize("kind", LAYERS)
def test_parameters_have_pytorchs_names_and_shapes(kind: str) -> None:
    layer = LAYERS[kind](IN, HIDDEN, 2, bidirectional=True)
    rows = GATES[kind] * HIDDEN
    expected: dict[str, tuple[int, ...]] = {}
    for number, inputs in enumerate((IN, 2 * HIDDEN)):
        for way in ("", "_reverse"):
            expected[f"weight_ih_l{number}{way}"] = (rows, inputs)
            expected[f"weight_hh_l{number}{way}"] = (rows, HIDDEN)
            expected[f"bias_ih_l{number}{way}"] = (rows,)
            expected[f"bias_hh_l{number}{way}"] = (rows,)
    assert {name: p.shape for name, p in layer.named_parameters()} == expected
    assert list(expected) == [name for name, _ in layer.named_parameters()]
    p = values(dict(layer.named_parameters()))
    drawn = np.concatenate([array.reshape(-1) for array in p.values()]) * np.sqrt(HIDDEN)
    assert abs(drawn).max() <= 1 + 1e-6 and abs(drawn.std() - 3**-0.5) < 0.05
    shown = repr(layer)
    assert shown == f"{kind}(3, 5, num_layers=2, bidirectional=True)"
    assert repr(copy.deepcopy(layer)) == shown


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("shape", [(IN,), (BATCH, IN)], ids=str)
def test_a_cell_is_one_step(kind: str, shape: tuple[int, ...]) -> None:
    cell = CELLS[kind](IN, HIDDEN, dtype=gc.float64)
    x = rng.standard_normal(shape)
    state = [rng.standard_normal((*shape[:-1], HIDDEN)) for _ in range(1 + (kind == "LSTM"))]
    hx: Any = tuple(state) if kind == "LSTM" else state[0]
    found, start, p = values(
        [cell(gc.constant(x), hx), cell(gc.constant(x)), dict(cell.named_parameters())]
    )
    for got, before in ((found, state), (start, [np.zeros_like(part) for part in state])):
        expected = step(kind, p, "", x, before)
        parts = got if kind == "LSTM" else [got]
        for part, wanted in zip(parts, expected, strict=True):
            near(part, wanted, rtol=1e-12)
    assert repr(cell) == f"{kind}Cell(3, 5)"
    assert list(p) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]


def test_a_layer_of_relus() -> None:
    layer = nn.RNN(IN, HIDDEN, nonlinearity="relu", dtype=gc.float64)
    x = rng.standard_normal((TIME, BATCH, IN))
    y, p = values([layer(gc.constant(x))[0], dict(layer.named_parameters())])
    h = np.zeros((BATCH, HIDDEN))
    for row, found in zip(x, y, strict=True):
        of_x = row @ p["weight_ih_l0"].T + p["bias_ih_l0"]
        h = np.maximum(of_x + h @ p["weight_hh_l0"].T + p["bias_hh_l0"], 0)
        near(found, h, rtol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_one_sequence_without_a_batch(kind: str) -> None:
    layer = LAYERS[kind](IN, HIDDEN, bidirectional=True, batch_first=True, dtype=gc.float64)
    x = rng.standard_normal((TIME, IN))
    alone, together = layer(gc.constant(x)), layer(gc.constant(x[None]))
    assert alone[0].shape == (TIME, 2 * HIDDEN)
    found, expected = values([alone[0], together[0]])
    near(found, expected[0], rtol=1e-13)


@pytest.mark.parametrize("kind", LAYERS)
def test_slopes_of_every_parameter(kind: str) -> None:
    layer = LAYERS[kind](IN, HIDDEN, 2, bidirectional=True, dtype=gc.float64)
    x = gc.input("x", (TIME, BATCH, IN), gc.float64)
    y, _ = layer(x)
    named = dict(layer.named_parameters())
    loss = gc.sum(gc.sin(y))
    graph_x = rng.standard_normal((TIME, BATCH, IN))
    slopes, p = values([gc.grad(loss, named), named], x=graph_x)
    at = {name: np.array(array) for name, array in p.items()}

    def value(moved: Mapping[str, Array]) -> float:
        zeros = [np.zeros((4, BATCH, HIDDEN)) for _ in range(1 + (kind == "LSTM"))]
        return float(np.sin(sequence(kind, moved, graph_x, zeros, 2, True)[0]).sum())

    for name, slope in slopes.items():
        d, h = rng.standard_normal(slope.shape), 1e-5
        difference = value({**at, name: at[name] + h * d}) - value({**at, name: at[name] - h * d})
        assert abs(difference / (2 * h) - (slope * d).sum()) <= 1e-7 * (1 + abs(slope * d).sum())


def test_products_of_a_layer_lie_outside_of_its_loop() -> None:
    """The inputs' product is one, and each weight's gradient is one; two are in the loops."""
    layer = nn.LSTM(IN, HIDDEN)
    y, _ = layer(gc.input("x", (TIME, BATCH, IN)))
    loss = gc.sum(y * y)
    text = print_graph(gc.graph({"g": gc.grad(loss, list(layer.parameters()))}).graph)
    graph = parse_graph(optimize_text(text, "text", "specialize(training=true),pipeline"))
    outside = [n for n in graph.nodes() if n.op.name == "dot_general"]
    everywhere = [n for n in all_nodes(graph) if n.op.name == "dot_general"]
    assert (len(outside), len(everywhere)) == (3, 5)
    assert sum(n.op.name == "scan" for n in graph.nodes()) == 2


def test_dropout_lies_between_layers_in_training() -> None:
    layer = nn.RNN(IN, HIDDEN, 2, dropout=0.5)
    x = gc.constant(rng.standard_normal((TIME, BATCH, IN)).astype(np.float32))
    y, _ = layer(x)
    still = values(y)
    np.testing.assert_array_equal(values(y, seed=0, step=3), still)
    moved = [values(y, training=True, step=step) for step in (0, 1)]
    assert not np.array_equal(*moved) and not np.array_equal(moved[0], still)
    one = nn.RNN(IN, HIDDEN, 1, dropout=0.5)(x)[0]
    np.testing.assert_array_equal(values(one), values(one, training=True))


def test_named_dimensions() -> None:
    layer = nn.GRU(IN, HIDDEN, batch_first=True)
    y, h = layer(gc.input("x", ("batch", "time", IN)))
    assert y.shape == ("batch", "time", HIDDEN) and h.shape == (1, "batch", HIDDEN)
    found = values(y, x=np.ones((3, 7, IN)))
    assert found.shape == (3, 7, HIDDEN)


X = gc.constant(np.zeros((TIME, BATCH, IN), np.float32))

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "input": (
        lambda: nn.LSTM(4, HIDDEN)(X),
        gc.ShapeError,
        "LSTM: the input is f32[4, 2, 3]; it has 2 or 3 axes\n  the last is 4 long",
    ),
    "rank": (lambda: nn.RNN(3, HIDDEN)(X[0, 0]), gc.ShapeError, "RNN: the input is f32[3]; it has"),
    "state": (
        lambda: nn.GRU(3, HIDDEN)(X, np.zeros((1, 3, HIDDEN), np.float32)),
        gc.ShapeError,
        "GRU: the state has another shape\n  it is f32[1, 3, 5], its shape should be [1, 2, 5]",
    ),
    "dtype of the state": (
        lambda: nn.GRU(3, HIDDEN)(X, np.zeros((1, 2, HIDDEN))),
        gc.DTypeError,
        "GRU: the state has another dtype",
    ),
    "states": (
        lambda: nn.LSTM(3, HIDDEN)(X, np.zeros((1, 2, HIDDEN), np.float32)),
        gc.ArgumentError,
        "LSTM: the state is a pair (h, c), not 1 tensors",
    ),
    "nonlinearity": (
        lambda: nn.RNN(3, 4, nonlinearity="sin"),
        gc.ArgumentError,
        'RNN: nonlinearity is "tanh" or "relu", not \'sin\'',
    ),
    "sizes": (lambda: nn.LSTM(3, 0), gc.ArgumentError, "LSTM: hidden_size is an integer of at"),
    "layers": (lambda: nn.GRU(3, 4, 0), gc.ArgumentError, "GRU: num_layers is an integer of at"),
    "dropout": (lambda: nn.GRU(3, 4, dropout=2.0), gc.ArgumentError, "GRU: a probability lies"),
    "proj_size": (
        lambda: nn.LSTM(3, 4, proj_size=2),  # type: ignore[call-arg]
        gc.CallError,
        "LSTM: there is no argument 'proj_size'",
    ),
    "cell": (lambda: nn.LSTMCell(3, 4)(X), gc.ShapeError, "LSTMCell: the input is f32[4, 2, 3]"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_name_the_facts_and_the_line(what: str) -> None:
    call, kind, text = ERRORS[what]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(text), str(caught.value)
    assert "test_recurrent.py" in str(caught.value)


def test_cells_train() -> None:
    cell = nn.GRUCell(IN, HIDDEN)
    h = cell(gc.input("x", ("batch", IN)))
    program = gc.training(gc.mean(h * h), optim.SGD(lr=0.5))
    trainer = program.compile(threads=1)
    x = rng.standard_normal((BATCH, IN)).astype(np.float32)
    losses = [trainer.step(x=x)["loss"] for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
