"""A length that is a name gives what the same program of a fixed length gives, gradients included.

Each model is written once, as a function of the length of its sequences: a name, bound to one
number after the other by what one compiled function is called with; or that number itself. Lengths
of each sequence, in an input, are ragged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn

BATCH, WIDE, HIDDEN = 3, 4, 8
LENGTHS = (5, 1, 2, 17, 64, 33)
TOLERANCE = 1e-11  # of float64, whose sums may be added in another order

Length = int | str
Results = Mapping[str, gc.Tensor]
Model = Callable[[gc.Tensor, gc.Tensor, Mapping[str, gc.Tensor]], gc.Tensor]


def weights(*shapes: tuple[int, ...]) -> dict[str, gc.Tensor]:
    return {
        f"w{n}": gc.parameter(f"w{n}", shape, gc.float64, init=gc.init.normal(std=0.5))
        for n, shape in enumerate(shapes)
    }


def recurrent(
    layer: Any, both: bool, begun: bool = False
) -> Callable[[], tuple[Model, dict[str, gc.Tensor]]]:
    """All outputs and the last state; from zeros, or begun from a state that is given."""

    def made() -> tuple[Model, dict[str, gc.Tensor]]:
        net = layer(WIDE, HIDDEN, batch_first=True, bidirectional=both, dtype=gc.float64)

        def run(x: gc.Tensor, lengths: gc.Tensor, w: Mapping[str, gc.Tensor]) -> gc.Tensor:
            at = 0.1 * gc.arange(HIDDEN, dtype=gc.float64)
            state = gc.broadcast_to(at, (1 + both, BATCH, HIDDEN))
            pair = (state, gc.cos(state)) if layer is nn.LSTM else state
            y, end = net(x, pair if begun else None, lengths=lengths)
            ends = end if isinstance(end, tuple) else (end,)
            return gc.sum(gc.sin(y)) + sum(gc.sum(one * one) for one in ends)

        return run, dict(net.named_parameters())

    return made


def attention() -> tuple[Model, dict[str, gc.Tensor]]:
    """Causal, of positions up to the length of each sequence."""

    def run(x: gc.Tensor, lengths: gc.Tensor, w: Mapping[str, gc.Tensor]) -> gc.Tensor:
        q, k, v = (x @ w[name] for name in ("w0", "w1", "w2"))
        time = gc.arange(x.shape[1])
        seen = (time[:, None] >= time) & (time < lengths[:, None, None])
        scores = gc.where(seen, q @ gc.swapaxes(k, 1, 2), -1e9)
        y = gc.softmax(scores, axis=-1) @ v
        return gc.sum(gc.where((time < lengths[:, None])[:, :, None], gc.sin(y), 0.0))

    return run, weights(*[(WIDE, HIDDEN)] * 3)


def scan(reverse: bool) -> Callable[[], tuple[Model, dict[str, gc.Tensor]]]:
    """A carry that stands still behind the end of its sequence, and a running sum of squares."""

    def made() -> tuple[Model, dict[str, gc.Tensor]]:
        def run(x: gc.Tensor, lengths: gc.Tensor, w: Mapping[str, gc.Tensor]) -> gc.Tensor:
            def step(carry: Any, given: Any) -> Any:
                h, total = carry
                row, t = given
                new = gc.tanh(row @ w["w0"] + h @ w["w1"])
                own = (t < lengths)[:, None]
                h = gc.where(own, new, h)
                part = gc.where(own, h, 0.0)
                return (h, total + part * part), gc.sum(part, axis=1)

            zeros = gc.zeros((BATCH, HIDDEN), gc.float64)
            steps = gc.swapaxes(x, 0, 1), gc.arange(x.shape[1])
            (h, total), sums = gc.scan(step, (zeros, zeros), steps, reverse=reverse)
            return gc.sum(h * total) + gc.sum(sums**2)

        return run, weights((WIDE, HIDDEN), (HIDDEN, HIDDEN))

    return made


def bounded_while() -> tuple[Model, dict[str, gc.Tensor]]:
    """As many iterations as the longest sequence has steps, each on a mean over its own."""

    def run(x: gc.Tensor, lengths: gc.Tensor, w: Mapping[str, gc.Tensor]) -> gc.Tensor:
        time = gc.arange(x.shape[1])
        own = (time < lengths[:, None])[:, :, None]
        mean = gc.sum(gc.where(own, x, 0.0), axis=1) / lengths.astype(gc.float64)[:, None]
        given = mean @ w["w0"]

        def body(carry: Any) -> Any:
            t, h = carry
            return t + 1, gc.tanh(given + h @ w["w1"])

        _, h = gc.while_loop(
            lambda carry: carry[0] < gc.max(lengths),
            body,
            (gc.constant(np.int32(0)), gc.zeros((BATCH, HIDDEN), gc.float64)),
            bound=max(LENGTHS),
        )
        return gc.sum(h * h) + gc.sum(gc.where(own, gc.cumsum(x, axis=1), 0.0) ** 2)

    return run, weights((WIDE, HIDDEN), (HIDDEN, HIDDEN))


MODELS = {
    "LSTM": recurrent(nn.LSTM, False),
    "LSTM both ways": recurrent(nn.LSTM, True),
    "GRU": recurrent(nn.GRU, False),
    "GRU both ways": recurrent(nn.GRU, True),
    "LSTM from a state": recurrent(nn.LSTM, False, begun=True),
    "GRU both ways from a state": recurrent(nn.GRU, True, begun=True),
    "attention": attention,
    "scan": scan(False),
    "scan from the end": scan(True),
    "while": bounded_while,
}


def function(name: str, length: Length) -> Any:
    """Value and slopes, by x and by every parameter."""
    run, parameters = MODELS[name]()
    x = gc.input("x", (BATCH, length, WIDE), gc.float64)
    loss = run(x, gc.input("lengths", (BATCH,), gc.int32), parameters)
    slopes = gc.grad(loss, {"x": x, **parameters})
    return gc.compile({"loss": loss, **slopes}, seed=0, threads=1)


def given(length: int) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(length)
    lengths = rng.integers(1, length + 1, BATCH)
    lengths[length % BATCH] = length
    x = rng.standard_normal((BATCH, length, WIDE))
    return {"x": x, "lengths": lengths.astype(np.int32)}


@pytest.mark.parametrize("name", MODELS)
def test_a_named_length_is_the_fixed_one(name: str) -> None:
    """One function for all lengths, in turn, against one of each length."""
    named = function(name, "time")
    for length in LENGTHS:
        data = given(length)
        found, wanted = named(**data), function(name, length)(**data)
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            np.testing.assert_allclose(
                found[key], value, rtol=TOLERANCE, atol=TOLERANCE, err_msg=f"{key}, {length}"
            )
        behind = np.arange(length) >= data["lengths"][:, None]
        assert not found["x"][behind].any(), f"slopes behind the ends of {length}"


@pytest.mark.parametrize("name", MODELS)
def test_what_lies_behind_the_ends_does_not_count(name: str) -> None:
    """The same ragged sequences in more room: the same value, the same slopes."""
    named, data = function(name, "time"), given(17)
    more = np.pad(data["x"], ((0, 0), (0, 6), (0, 0)), constant_values=3.0)
    found, wanted = named(x=more, lengths=data["lengths"]), named(**data)
    assert not found["x"][:, 17:].any()
    found["x"] = found["x"][:, :17]
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-10, err_msg=key)
