"""Models of any length, whose compile time bench_compile.py measures: it must be linear in that.

Each function builds a model of the given length and compiles its call or its training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import gradc as gc
from gradc import optim

EXTENT = 64
HIDDEN, FEATURES, BATCH = 64, 16, 32
WIDTH, HEADS, TOKENS, WORDS = 64, 4, 32, 65


@dataclass(frozen=True)
class Series:
    """`build(length)` compiles; `lengths` are what is measured, `unit` what is counted."""

    build: Callable[[int], None]
    lengths: tuple[int, ...]
    unit: str


def _with_gradient(y: gc.Tensor, x: gc.Tensor) -> None:
    function = gc.compile({"y": y, "slope": gc.grad(gc.sum(y * y), x)})
    function._executor.artifact.variant("call", {}, False)


def means(links: int) -> None:
    """y - mean(y) / 2 again and again, with the gradient: reductions of reductions."""
    x = gc.input("x", (EXTENT,))
    y = x
    for _ in range(links):
        y = y - 0.5 * gc.mean(y)
    _with_gradient(y, x)


def norms(links: int) -> None:
    """Layer norms one after the other, with the gradient."""
    x = gc.input("x", (8, EXTENT))
    y = x
    for _ in range(links):
        y = gc.layer_norm(y, (EXTENT,))
    _with_gradient(y, x)


def sines(links: int) -> None:
    """Sines of sines, with the gradient: long elementwise code."""
    x = gc.input("x", (EXTENT,))
    y = x
    for _ in range(links):
        y = gc.sin(y)
    _with_gradient(y, x)


def lstm(steps: int) -> None:
    """The training step of an LSTM, every step of it written out."""
    x = gc.input("x", (BATCH, steps, FEATURES))
    weight = gc.parameter("w", (FEATURES + HIDDEN, 4 * HIDDEN), init=gc.init.xavier_uniform)
    h = c = gc.zeros((BATCH, HIDDEN))
    for step in range(steps):
        z = gc.matmul(gc.concat([x[:, step], h], axis=1), weight)
        i, f, g, o = (z[:, n * HIDDEN : (n + 1) * HIDDEN] for n in range(4))
        c = gc.sigmoid(f) * c + gc.sigmoid(i) * gc.tanh(g)
        h = gc.sigmoid(o) * gc.tanh(c)
    trainer = gc.training(gc.mean(h * h), optimizer=optim.Adam(lr=1e-3)).compile()
    trainer.artifact.variant("run", {}, False)


def _norm(x: gc.Tensor, name: str) -> gc.Tensor:
    weight = gc.parameter(f"{name}.weight", (WIDTH,), init=gc.init.ones)
    bias = gc.parameter(f"{name}.bias", (WIDTH,), init=gc.init.zeros)
    return gc.layer_norm(x, (WIDTH,), weight, bias)


def _block(x: gc.Tensor, name: str) -> gc.Tensor:
    """One block of a transformer: attention, then a multilayer perceptron, both on layer norms."""

    def matrix(label: str, rows: int, columns: int) -> gc.Tensor:
        return gc.parameter(f"{name}.{label}", (rows, columns), init=gc.init.xavier_uniform)

    def split(label: str) -> gc.Tensor:
        heads = gc.matmul(normal, matrix(label, WIDTH, WIDTH))
        return gc.permute_dims(heads.reshape("batch", TOKENS, HEADS, WIDTH // HEADS), (0, 2, 1, 3))

    normal = _norm(x, f"{name}.first")
    q, k, v = split("q"), split("k"), split("v")
    scores = gc.matmul(q, gc.permute_dims(k, (0, 1, 3, 2))) * (WIDTH // HEADS) ** -0.5
    scores = gc.where(gc.tril(gc.ones((TOKENS, TOKENS))) > 0, scores, -1e9)
    mixed = gc.permute_dims(gc.matmul(gc.softmax(scores, axis=-1), v), (0, 2, 1, 3))
    x = x + gc.matmul(mixed.reshape("batch", TOKENS, WIDTH), matrix("out", WIDTH, WIDTH))
    wide = gc.gelu(gc.matmul(_norm(x, f"{name}.second"), matrix("up", WIDTH, 4 * WIDTH)))
    return x + gc.matmul(wide, matrix("down", 4 * WIDTH, WIDTH))


def transformer(layers: int) -> None:
    """The training step of a small GPT: `layers` blocks between an embedding and a classifier."""
    ids, target = (gc.input(n, ("batch", TOKENS), gc.int32) for n in ("ids", "target"))
    x = gc.embedding(ids, gc.parameter("words", (WORDS, WIDTH), init=gc.init.xavier_uniform))
    for layer in range(layers):
        x = _block(x, f"block{layer}")
    table = gc.parameter("head", (WIDTH, WORDS), init=gc.init.xavier_uniform)
    logits = gc.matmul(_norm(x, "last"), table)
    picked = gc.sum(logits * gc.one_hot(target, WORDS), axis=-1)
    loss = gc.mean(gc.logsumexp(logits, axis=-1) - picked)
    trainer = gc.training(loss, optimizer=optim.AdamW(lr=1e-3)).compile()
    trainer.artifact.variant("run", {"batch": 8}, False)


SERIES: Mapping[str, Series] = {
    "means": Series(means, (50, 100, 200), "links"),
    "layer norms": Series(norms, (12, 24, 48), "links"),
    "sines": Series(sines, (250, 500, 1_000), "links"),
    "lstm": Series(lstm, (16, 32, 64), "steps"),
    "transformer": Series(transformer, (1, 3, 6, 12), "layers"),
}
