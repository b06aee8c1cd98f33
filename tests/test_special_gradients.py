"""gc.checkpoint and gc.custom_gradient: values, slopes, what is kept, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import values
from support_loops import GIVEN, H, U, W, X, near
from support_regions import values as graph_values

import gradc as gc
from gradc.compiler.graph.ir import Graph, all_nodes
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.opt import optimize_text


def block(h: gc.Tensor) -> gc.Tensor:
    return gc.tanh(gc.tanh(h @ U) @ U)


def optimized(structure: Any) -> Graph:
    text = print_graph(gc.graph(structure).graph)
    return parse_graph(optimize_text(text, "text", "specialize(training=true),pipeline"))


def outside(graph: Graph, name: str) -> int:
    return sum(node.op.name == name for node in graph.nodes())


# -- checkpoint -----------------------------------------------------------------------------


def test_a_checkpoint_has_the_values_and_slopes_of_its_function() -> None:
    plain, kept = block(block(H)), gc.checkpoint(block)(gc.checkpoint(block)(H))
    near(values(kept, **GIVEN), values(plain, **GIVEN), rtol=1e-15)
    for transform in (
        lambda y: gc.grad(gc.sum(y * y), [H, U]),
        lambda y: gc.hvp(gc.sum(y * y), [H, U], [H, U]),
        lambda y: [gc.jvp(y, [H, U], [H, U])],
    ):
        found, expected = values(transform(kept), **GIVEN), values(transform(plain), **GIVEN)
        for a, b in zip(found, expected, strict=True):
            near(a, b, rtol=1e-11, atol=1e-12)


def test_a_checkpoint_computes_its_values_again() -> None:
    """Twice in all: once in the graph, where the value is needed, and once in a loop of its own."""
    y = gc.checkpoint(block)(H)
    graph = optimized({"y": y, "g": gc.grad(gc.sum(y * y), [H, U])})
    assert outside(graph, "tanh") == 2 and outside(graph, "scan") == 1
    assert sum(node.op.name == "tanh" for node in all_nodes(graph)) == 4
    plain = optimized({"y": block(H), "g": gc.grad(gc.sum(block(H) * block(H)), [H, U])})
    assert sum(node.op.name == "tanh" for node in all_nodes(plain)) == 2
    text = gc.graph({"y": y, "g": gc.grad(gc.sum(y * y), [H, U])}).graph
    before, after = (graph_values(g, _arrays(g)) for g in (text, graph))
    for name, value in before.items():
        near(after[name], value, rtol=1e-12)


def _arrays(graph: Graph) -> dict[str, Any]:
    return {n: GIVEN[n] for n in (str(node.attributes["name"]) for node in graph.inputs)}


def test_a_step_that_is_a_checkpoint_keeps_its_carry_alone() -> None:
    def step(h: gc.Tensor, x: gc.Tensor) -> Any:
        inner = gc.tanh(x @ W + h @ U)
        return gc.tanh(inner @ U), None

    def stacks(function: Callable[..., Any]) -> int:
        loss = gc.sum(gc.scan(function, H, X)[0])
        graph = optimized(gc.grad(loss, [W, U]))
        first = next(n for n in graph.nodes() if n.op.name == "scan")
        carries = first.attributes["carries"]
        assert isinstance(carries, int)
        return len(first.type.parts) - carries

    assert stacks(step) == 3
    assert stacks(gc.checkpoint(step)) == 1
    losses = [gc.sum(gc.scan(f, H, X)[0]) for f in (step, gc.checkpoint(step))]
    plain, kept = (values(gc.grad(loss, [H, W, U]), **GIVEN) for loss in losses)
    for a, b in zip(kept, plain, strict=True):
        near(a, b, rtol=1e-12)


def test_checkpoints_lie_within_one_another_as_deep_as_one_likes() -> None:
    """A constant moves through one region in a round of the passes: the rounds are as many."""
    u = gc.input("u", (4, 4))

    def nested(depth: int) -> Callable[[gc.Tensor], gc.Tensor]:
        return gc.checkpoint(nested(depth - 1) if depth else lambda x: gc.tanh(x @ u))

    found, expected = (gc.grad(nested(depth)(gc.ones((4,))).sum(), u) for depth in (9, 0))
    given = GIVEN["u"].astype(np.float32)
    graph = parse_graph(str(gc.graph({"d": found})))
    assert graph.depth == 10
    near(gc.compile(found)(u=given), gc.compile(expected)(u=given), rtol=1e-6)


def test_random_numbers_are_the_same_when_they_are_drawn_again() -> None:
    x = gc.input("x", (50,))

    def masked(x: gc.Tensor) -> Any:
        mask = gc.random.bernoulli(0.5, (50,)).astype(gc.float32)
        return (x * x * mask).sum(), mask

    y, mask = gc.checkpoint(masked)(x)
    slope, drawn = values([gc.grad(y, x), mask], seed=4, x=np.full(50, 0.5))
    np.testing.assert_array_equal(slope, drawn)
    assert 0 < drawn.mean() < 1


def test_structures_and_options_of_a_checkpoint() -> None:
    @gc.checkpoint
    def both(pair: Any, power: int, *, table: Any) -> Any:
        """Docstrings stay."""
        return {"y": pair[0] * table["k"] + pair[1][0] ** power, "n": 3}

    assert both.__doc__ == "Docstrings stay."
    found = both((H, [H]), 2, table={"k": H.sum()})
    expected = GIVEN["h"] * GIVEN["h"].sum() + GIVEN["h"] ** 2
    near(values(found["y"], **GIVEN), expected, rtol=1e-14)
    assert values(found["n"], **GIVEN) == 3


# -- custom gradients -----------------------------------------------------------------------


@gc.custom_gradient
def straight_through(x: gc.Tensor) -> Any:
    return gc.round(x), lambda dy: dy


@gc.custom_gradient
def scaled(x: gc.Tensor, k: gc.Tensor) -> Any:
    """x * k, whose gradients are three and five times what they should be."""
    return x * k, lambda dy: (3.0 * dy * k, 5.0 * (dy * x).sum())


def test_the_gradient_is_what_the_function_says() -> None:
    x = gc.input("x", (3,), gc.float64)
    given = np.array([0.4, 1.6, -2.2])
    y = straight_through(x)
    near(values(y, x=given), np.round(given))
    near(values(gc.grad((y * y).sum(), x), x=given), 2 * np.round(given))
    k = gc.input("k", (), gc.float64)
    loss = (scaled(x * 2.0, k) ** 2).sum()
    dx, dk = values(gc.grad(loss, [x, k]), x=given, k=2.0)
    near(dx, 2 * 3 * 2 * 2 * (2 * given * 2), rtol=1e-14)
    near(dk, 5 * (2 * (2 * given * 2) * 2 * given).sum(), rtol=1e-14)


def test_the_second_derivative_is_that_of_the_pullback() -> None:
    x, k = gc.input("x", (3,), gc.float64), gc.input("k", (), gc.float64)
    given = np.array([0.4, 1.6, -2.2])
    first = gc.grad(scaled(x, k).sum(), k)  # 5 * sum(x)
    near(values(gc.grad(first, x), x=given, k=2.0), np.full(3, 5.0))
    near(values(gc.jvp(scaled(x, k), k, 1.0), x=given, k=2.0), 5 * given, rtol=1e-14)


def test_no_gradient_passes_by() -> None:
    """Neither through what the value was computed of, nor to what the function reads besides."""
    x, w = gc.input("x", (3,), gc.float64), gc.input("w", (3,), gc.float64)

    @gc.custom_gradient
    def silent(x: gc.Tensor) -> Any:
        return x * w, lambda dy: None

    given = {"x": np.ones(3), "w": np.full(3, 2.0)}
    loss = (silent(x) + x).sum()
    near(values(gc.grad(loss, x), **given), np.ones(3))
    near(values(gc.grad(loss, w), **given), np.zeros(3))


def test_structures_of_a_custom_gradient() -> None:
    n = gc.constant(3, gc.int64)

    @gc.custom_gradient
    def split(pair: Any, count: gc.Tensor, name: str) -> Any:
        a, b = pair["a"], pair["b"][0]

        def pullback(dy: Any) -> Any:
            assert dy["count"] is None
            return {"a": dy["sum"] * 7.0, "b": [dy["sum"] * 11.0]}, None, None

        return {"sum": a + b, "count": count}, pullback

    found = split({"a": H, "b": [H * 2.0]}, n, "name")
    assert values(found["count"], **GIVEN) == 3
    near(values(gc.grad(found["sum"].sum(), H), **GIVEN), np.full((2, 4), 7.0 + 22.0))


def test_a_custom_gradient_in_a_loop() -> None:
    def step(c: gc.Tensor, x: gc.Tensor) -> Any:
        return scaled(c, x), None

    c, x = gc.input("c", (2,), gc.float64), gc.input("x", (4,), gc.float64)
    last, _ = gc.scan(step, c, x)
    given = {"c": np.array([1.0, 2.0]), "x": np.array([1.0, 2.0, 0.5, 3.0])}
    near(values(gc.grad(last.sum(), c), **given), np.full(2, 3.0**4 * 3.0))
    graph = optimized({"y": last, "g": gc.grad(last.sum(), c)})
    near(graph_values(graph, given)["g"], np.full(2, 243.0))


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no pair": (
        lambda: gc.custom_gradient(lambda x: x)(H),
        gc.ArgumentError,
        "custom_gradient: the function returns ",
    ),
    "too few gradients": (
        lambda: gc.custom_gradient(lambda x, k: (x * k, lambda dy: dy))(H, H),
        gc.ArgumentError,
        "custom_gradient: pullback returns ",
    ),
    "another shape": (
        lambda: gc.custom_gradient(lambda x: (x, lambda dy: dy.sum()))(H),
        gc.ShapeError,
        "custom_gradient: pullback gives a gradient of another type\n"
        "  argument 0 is f64[2, 4]\n  its gradient f64[]",
    ),
    "another dtype": (
        lambda: gc.custom_gradient(lambda x: (x, lambda dy: dy.astype(gc.float32)))(H),
        gc.DTypeError,
        "custom_gradient: pullback gives a gradient of another type",
    ),
    "nothing": (
        lambda: gc.checkpoint(lambda x: None)(H),
        gc.ArgumentError,
        "checkpoint: the function returns no tensor",
    ),
    "no function": (
        lambda: gc.checkpoint(3),  # type: ignore[type-var]
        gc.ArgumentError,
        "checkpoint: fn is a function, not 3",
    ),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_name_the_facts_and_the_line(what: str) -> None:
    call, kind, text = ERRORS[what]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(text), str(caught.value)
    assert "test_special_gradients.py" in str(caught.value)
