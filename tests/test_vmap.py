"""gc.vmap and batching: at every place what the function gives there alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import values
from support_loops import GIVEN, H, U, W, X, near

import gradc as gc
from gradc import nn
from gradc.compiler.autodiff import batching
from gradc.compiler.autodiff.batching import Value, batched_region, everywhere
from gradc.compiler.graph.ir import Graph, all_nodes
from gradc.compiler.graph.verify import verify_graph
from gradc.compiler.ops.source import input_
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.testing.random_graphs import seeded_graph
from gradc.compiler.testing.values import described, evaluate_leaves, random_array

PLACES = 2


def small(graph: Graph) -> bool:
    """Whether all contractions may be sums of products."""
    return all(batching._is_small(n) for n in all_nodes(graph) if n.op.name == "dot_general")


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("seed", range(200))
def test_places_of_random_graphs_are_computed_alike(
    seed: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of the inputs differ from place to place, the others and constants do not. Inside, the
    axis is the first or, where that is possible, the last."""
    monkeypatch.setattr(batching, "_is_better_last", lambda graph, _: last and small(graph))
    grown = specialize(seeded_graph(seed, regions=seed % 2 == 1), {"batch": 3}, True)
    leaves = (*grown.inputs, *grown.states)
    body = Graph("body", leaves, (), grown.outputs)
    chosen = random.Random(seed)
    flags = [chosen.random() < 0.6 for _ in leaves]
    names = [str(leaf.attributes["name"]) for leaf in leaves]
    outer = [
        input_(name, (PLACES, *leaf.type.shape) if flag else leaf.type.shape, leaf.type.dtype)
        for name, leaf, flag in zip(names, leaves, flags, strict=True)
    ]
    given = [Value(node, flag) for node, flag in zip(outer, flags, strict=True)]
    found = [everywhere(value, PLACES) for value in batched_region(body, given, PLACES)]
    outputs = tuple((name, node) for (name, _), node in zip(grown.outputs, found, strict=True))
    graph = Graph("batched", tuple(outer), (), outputs)
    verify_graph(graph)
    rng = np.random.default_rng(seed)
    arrays = {n: random_array(node.type, rng, False) for n, node in zip(names, outer, strict=True)}
    together = evaluate_leaves(graph, arrays, {}, True).outputs
    for place in range(PLACES):
        alone = {n: a[place] if f else a for (n, a), f in zip(arrays.items(), flags, strict=True)}
        for name, expected in evaluate_leaves(body, alone, {}, True).outputs.items():
            a, b = (np.asarray(v, np.float64) for v in (together[name][place], expected))
            tolerance = {1: 0, 2: 1e-2, 4: 1e-5, 8: 1e-12}[expected.dtype.itemsize]
            same = np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)
            assert same, f"{name} at {place}: {a} {b}\n{described(body)}"


def test_vmap_is_map() -> None:
    def both(x: gc.Tensor, k: gc.Tensor) -> Any:
        h = gc.tanh(x @ W)
        return {"y": h @ U, "z": (h.sum() * k, gc.softmax(x, axis=-1))}

    k = np.arange(5.0)
    found, expected = gc.vmap(both)(X, gc.constant(k)), gc.map(lambda p: both(*p), (X, k))
    for part in (lambda s: s["y"], lambda s: s["z"][0], lambda s: s["z"][1]):
        a, b = values([part(found), part(expected)], **GIVEN)
        near(a, b, rtol=1e-13)
    graph = gc.graph(found).graph
    assert not any(node.op.name == "scan" for node in all_nodes(graph))
    losses = [gc.sin(s["y"]).sum() + s["z"][0].sum() for s in (found, expected)]
    for a, b in zip(*(values(gc.grad(loss, [W, U, X]), **GIVEN) for loss in losses), strict=True):
        near(a, b, rtol=1e-11, atol=1e-12)


def test_axes() -> None:
    x, y = gc.input("x", (5, 2, 3), gc.float64), GIVEN["h"]
    f = gc.vmap(lambda a, b: (a @ b).sum() + a[0, 0], axis=(2, None))
    found = values(f(x, gc.constant(y)), **GIVEN)
    near(found, [(GIVEN["x"][:, :, n] @ y).sum() + GIVEN["x"][0, 0, n] for n in range(3)])
    near(values(gc.vmap(lambda a: a * 2.0, axis=-1)(H), **GIVEN), GIVEN["h"].T * 2)
    whole = gc.vmap(lambda a, *, b: a * b, axis=1)(H, b=gc.constant(3.0, gc.float64))
    near(values(whole, **GIVEN), GIVEN["h"].T * 3)
    constant = gc.vmap(lambda a: W)(H)
    near(values(constant, **GIVEN), [GIVEN["w"]] * 2)


def test_gradients_of_every_place() -> None:
    """Slopes of a loss per row; of the slopes, those of a weight."""

    def slope(x: gc.Tensor) -> gc.Tensor:
        loss = gc.sin(x @ U).sum()
        return gc.grad(loss, x)

    rows = gc.vmap(slope)(H)
    near(values(rows, **GIVEN), np.cos(GIVEN["h"] @ GIVEN["u"]) @ GIVEN["u"].T, rtol=1e-13)
    whole = gc.grad(gc.sin(H @ U).sum(), H)
    found, expected = (values(gc.grad((s * s).sum(), U), **GIVEN) for s in (rows, whole))
    near(found, expected, rtol=1e-12)


def test_loops_and_branches_at_every_place() -> None:
    def run(row: gc.Tensor) -> gc.Tensor:
        last, _ = gc.scan(lambda c, e: (c * 0.5 + e, None), gc.constant(0.0, gc.float64), row)
        doubled = gc.while_loop(lambda c: c < 4.0, lambda c: c * 2.0, abs(last) + 0.1)
        return gc.cond(last > 0.0, lambda: doubled, lambda: -doubled)

    def expected(row: Any) -> float:
        last = 0.0
        for e in row:
            last = last * 0.5 + e
        doubled = abs(last) + 0.1
        while doubled < 4.0:
            doubled *= 2.0
        return doubled if last > 0 else -doubled

    near(values(gc.vmap(run)(H), **GIVEN), [expected(row) for row in GIVEN["h"]], rtol=1e-13)


def test_gradients_that_somebody_wrote_at_every_place() -> None:
    """gelu and attention have such; batched, there is no loop, and slopes are those of each row."""
    x = gc.input("x", (3, 4, 5), gc.float64)

    def total(part: gc.Tensor) -> gc.Tensor:
        y = gc.scaled_dot_product_attention(part, gc.gelu(part), part, is_causal=True)
        return (y * y).sum()

    def slope(part: gc.Tensor) -> gc.Tensor:
        return gc.grad(total(part), part)

    value = np.random.default_rng(3).normal(size=(3, 4, 5))
    for fn in (total, slope):
        batched = gc.vmap(fn)(x)
        assert "scan" not in str(gc.graph(batched))
        both = gc.compile([batched, gc.map(fn, x)])(x=value)
        np.testing.assert_allclose(both[0], both[1], rtol=1e-12, atol=1e-14)


def test_every_place_draws_numbers_of_its_own() -> None:
    drawn = gc.vmap(lambda x: gc.random.bits((3,)) + x)(gc.zeros((4,), gc.int32))
    np.testing.assert_array_equal(values(drawn, seed=3), values(gc.random.bits((4, 3)), seed=3))


def test_a_layer_per_sample() -> None:
    layer = nn.Linear(3, 4)
    x = gc.input("rows", ("batch", 3))
    one = gc.vmap(lambda row: layer(row))(x)
    given = np.random.default_rng(0).standard_normal((6, 3))
    a, b = values([one, layer(x)], rows=given)
    near(a, b, rtol=1e-6)


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no axis": (
        lambda: gc.vmap(lambda x: x)(gc.constant(1.0)),
        gc.ShapeError,
        "vmap: axis 0 is out",
    ),
    "extents": (
        lambda: gc.vmap(lambda x, y: x)(H, X),
        gc.ShapeError,
        "vmap: the extents along the axis differ\n  along 2: f64[2, 4]\n  along 5: f64[5, 2, 3]",
    ),
    "none": (lambda: gc.vmap(lambda x: x, axis=None)(H), gc.ShapeError, "vmap: no argument has"),
    "count": (lambda: gc.vmap(lambda x: x, axis=(0, 1))(H), gc.ArgumentError, "vmap: 2 axes for 1"),
    "inside": (lambda: gc.vmap(lambda x: x @ U)(X), gc.ShapeError, "matmul: inner extents"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_name_the_facts_and_the_line(what: str) -> None:
    call, kind, text = ERRORS[what]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(text), str(caught.value)
    assert "test_vmap.py" in str(caught.value)


def test_small_networks_train_side_by_side() -> None:
    """By an innermost loop over places: each ends where it would alone. Without contractions."""
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(16, 2, 3))
    rows, wanted = rng.normal(size=(5, 2)), rng.normal(size=(5,))

    def train(w: gc.Tensor, rate: gc.Tensor) -> gc.Tensor:
        def step(w: gc.Tensor, x: gc.Tensor) -> tuple[gc.Tensor, None]:
            loss = gc.mean(gc.square(gc.tanh(gc.constant(rows) @ w).sum(axis=1) - wanted - x))
            return w - rate * gc.grad(loss, w), None

        return gc.scan(step, w, gc.constant(np.arange(7.0)))[0]

    rates = np.linspace(0.01, 0.2, 16)
    together = gc.vmap(train)(gc.constant(starts), gc.constant(rates))
    found = gc.compile(together)()
    for place in range(16):
        alone = gc.compile(train(gc.constant(starts[place]), gc.constant(rates[place])))()
        near(found[place], alone, rtol=1e-12)
    names = [node.op.name for node in all_nodes(gc.graph(together).graph)]
    assert names.count("scan") == 1 and "dot_general" not in names
    few = gc.vmap(train)(gc.constant(starts[:4]), gc.constant(rates[:4]))
    assert "dot_general" in [node.op.name for node in all_nodes(gc.graph(few).graph)]
    wide = gc.vmap(lambda w, r: gc.scan(lambda c, _: (c @ c * r, None), w, length=2)[0])
    large = wide(gc.constant(rng.normal(size=(16, 32, 32))), gc.constant(rates))
    assert "dot_general" in [node.op.name for node in all_nodes(gc.graph(large).graph)]
