"""Training graphs written node by node: what the frontend would trace, without the frontend."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.compiler.autodiff.reverse import vjp_many
from gradc.compiler.graph.ir import Graph, Node, Update, apply
from gradc.compiler.ops.arithmetic import add, div, mul, sub
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.comparison import cast, eq, where
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import exp, log, tanh
from gradc.compiler.ops.reduction import max_
from gradc.compiler.ops.source import (
    EXTENT,
    STATE,
    constant,
    constant_like,
    input_,
    iota,
    zeros_like,
)
from gradc.compiler.types import Extent, float32, int32, int64

Array = np.ndarray[Any, Any]


def perceptron_step(sizes: Sequence[int], batch: Extent = "batch", rate: float = 0.1) -> Graph:
    """Tanh layers, cross-entropy, SGD: one training step, with the loss as its output."""
    x = input_("x", (batch, sizes[0]), float32)
    labels = input_("labels", (batch,), int32)
    states, hidden = [], x
    for number, (wide, out) in enumerate(itertools.pairwise(sizes)):
        weight = apply(STATE, name=f"w{number}", shape=(out, wide), dtype=float32, trained=True)
        bias = apply(STATE, name=f"b{number}", shape=(out,), dtype=float32, trained=True)
        states += [weight, bias]
        product = dot_general(hidden, weight, lhs_contract=(1,), rhs_contract=(1,))
        hidden = add(product, broadcast(bias, (batch, out), (1,)))
        if number < len(sizes) - 2:
            hidden = tanh(hidden)
    loss = cross_entropy(hidden, labels)
    gradients = vjp_many([(loss, constant(1.0, float32))], states)
    updates = []
    for state, gradient in zip(states, gradients, strict=True):
        assert gradient is not None
        updates.append(Update(state, sub(state, mul(gradient, constant_like(gradient, rate)))))
    return Graph("step", (x, labels), tuple(states), (("loss", loss),), tuple(updates))


def cross_entropy(logits: Node, labels: Node) -> Node:
    """Mean negative log-likelihood, as the frontend composes it."""
    batch, classes = logits.type.shape
    shape = logits.type.shape
    shifted = sub(logits, broadcast(max_(logits, (1,)), shape, (0,)))
    total = log(sum_(exp(shifted), (1,)))
    numbers = broadcast(cast(labels, int64), shape, (0,))
    hot = eq(numbers, iota(shape, 1, int64))
    picked = sum_(where(hot, shifted, zeros_like(shifted)), (1,))
    count = cast(apply(EXTENT, shape=(batch,)), float32)
    assert classes
    return div(sum_(sub(total, picked), (0,)), count)


def random_state(graph: Graph, seed: int = 0, scale: float = 0.3) -> dict[str, Array]:
    """Normal values for every state of a graph."""
    rng = np.random.default_rng(seed)
    return {
        str(node.attributes["name"]): (
            scale * rng.standard_normal(node.type.shape)  # type: ignore[arg-type]
        ).astype(node.type.dtype.numpy)
        for node in graph.states
    }


def random_batch(rows: int, features: int, classes: int, seed: int = 1) -> dict[str, Array]:
    """Samples and labels for `perceptron_step`."""
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((rows, features)).astype(np.float32),
        "labels": rng.integers(0, classes, rows).astype(np.int32),
    }
