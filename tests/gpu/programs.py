"""Programs as users write them, small enough to be interpreted: for runs on a device.

Each is a `Case`: a model of a known kind, its data, and a number of samples that is no multiple of
the batch, so that the last batch of an epoch has fewer rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matrix import Case
from test_matrix import losses_case, plateau_case

import gradc as gc
from gradc import augment, linalg, nn, optim
from gradc.optim import schedule

Array = np.ndarray[Any, Any]


def _floats(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def _codes(rng: np.random.Generator, below: int, *shape: int) -> Array:
    return rng.integers(0, below, shape).astype(np.int32)


def convolutional() -> Case:
    """Two convolutions with batch norm, grouped and strided, pools, dropout of whole channels."""
    x, label = gc.input("x", ("batch", 2, 6, 6)), gc.input("label", ("batch",), gc.int32)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Dropout2d(0.3), nn.Conv2d(4, 4, 2, stride=2, padding=1, groups=2), nn.SiLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip
    scores = net(x)
    program = gc.training(
        gc.cross_entropy(scores, label, label_smoothing=0.1),
        optim.SGD(lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        metrics={"accuracy": gc.accuracy(scores, label)}, outputs={"scores": scores},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    return Case("convolutional", program, {"x": _floats(rng, 11, 2, 6, 6),
                "label": _codes(rng, 3, 11)}, 4, 2, 1)  # fmt: skip


def pictures_changed() -> Case:
    """Augmentation inside the step, a transposed convolution, a picture as the target."""
    x = gc.input("x", ("batch", 1, 6, 6))
    changed = augment.RandomMirror()(augment.RandomCrop(6, padding=1)(x))
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.GELU(),
        nn.ConvTranspose2d(3, 1, 4, stride=2, padding=1),
    )  # fmt: skip
    program = gc.training(gc.huber_loss(net(changed), changed), optim.RMSprop(lr=0.01, eps=1e-2))
    rng = np.random.default_rng(2)
    return Case("pictures_changed", program, {"x": _floats(rng, 7, 1, 6, 6)}, 4, 2, 2)


def reader_of_characters() -> Case:
    """An embedding, two LSTM layers in both directions, gradients cut to a norm."""
    text = gc.input("text", ("batch", 6), gc.int32)
    parts = nn.ModuleDict({
        "table": nn.Embedding(9, 5), "head": nn.Linear(8, 9),
        "cells": nn.LSTM(5, 4, num_layers=2, bidirectional=True, batch_first=True),
    })  # fmt: skip
    found, _ = parts["cells"](parts["table"](text[:, :-1]))
    scores = parts["head"](found).reshape((-1, 9))
    program = gc.training(
        gc.cross_entropy(scores, text[:, 1:].reshape(-1)),
        optim.Adam(lr=schedule.cosine(0.01, 20), eps=1e-3, clip_norm=0.5),
    )
    rng = np.random.default_rng(3)
    return Case("reader_of_characters", program, {"text": _codes(rng, 9, 7, 6)}, 4, 2, 3)


def gated_of_named_length() -> Case:
    """A GRU over a length that has a name, its last state."""
    x, y = gc.input("x", ("batch", "time", 3)), gc.input("y", ("batch", 2))
    cells = nn.GRU(3, 5, batch_first=True)
    parts = nn.ModuleDict({"cells": cells, "head": nn.Linear(5, 2)})
    _, last = cells(x)
    program = gc.training(gc.mse_loss(parts["head"](last[0]), y), optim.AdamW(lr=0.01, eps=1e-3))
    rng = np.random.default_rng(4)
    data = {"x": _floats(rng, 10, 5, 3), "y": _floats(rng, 10, 2)}
    return Case("gated_of_named_length", program, data, 4, 2, 4, {"time": 5})


def transformer() -> Case:
    """Causal self-attention with learned positions: a small GPT, with warm-up."""
    text = gc.input("text", ("batch", 7), gc.int32)
    parts = nn.ModuleDict({
        "table": nn.Embedding(11, 8), "places": nn.LearnedPositionalEmbedding(6, 8),
        "layer": nn.TransformerEncoderLayer(8, 2, 16, 0.1, batch_first=True, norm_first=True),
        "norm": nn.LayerNorm(8), "head": nn.Linear(8, 11),
    })  # fmt: skip
    mask = gc.triu(gc.ones((6, 6), gc.bool), 1)
    x = parts["layer"](parts["places"](parts["table"](text[:, :-1])), src_mask=mask)
    scores = parts["head"](parts["norm"](x)).reshape((-1, 11))
    program = gc.training(
        gc.cross_entropy(scores, text[:, 1:].reshape(-1)),
        optim.AdamW(lr=schedule.warmup(0.01, 3), eps=1e-3, weight_decay=0.1),
    )
    rng = np.random.default_rng(5)
    return Case("transformer", program, {"text": _codes(rng, 11, 7, 7)}, 4, 2, 5)


def looked_up() -> Case:
    """A table whose rows are moved where they are read, bags of them, and a padding row."""
    index, y = gc.input("index", ("batch", 4), gc.int32), gc.input("y", ("batch", 6))
    table, bags = nn.Embedding(20, 6, padding_idx=0), nn.EmbeddingBag(20, 6, mode="max")
    parts = nn.ModuleDict({"table": table, "bags": bags})
    loss = gc.mse_loss(parts["table"](index).sum(axis=1) + parts["bags"](index), y)
    program = gc.training(loss, optim.Adagrad(lr=0.1))
    rng = np.random.default_rng(6)
    return Case("looked_up", program, {"index": _codes(rng, 20, 11, 4), "y": _floats(rng, 11, 6)},
                4, 2, 6)  # fmt: skip


def touched_rows() -> Case:
    """SparseAdam: moments of the rows that a step reads."""
    index, y = gc.input("index", ("batch", 3), gc.int32), gc.input("y", ("batch", 6))
    loss = gc.mse_loss(nn.Embedding(20, 6)(index).sum(axis=1), y)
    program = gc.training(loss, optim.SparseAdam(lr=0.05, eps=1e-3))
    rng = np.random.default_rng(7)
    return Case("touched_rows", program, {"index": _codes(rng, 20, 11, 3),
                "y": _floats(rng, 11, 6)}, 4, 2, 7)  # fmt: skip


def alignments() -> Case:
    """The loss of sequences: lengths of their own, a scan over time."""
    x = gc.input("x", ("batch", 5, 4))
    labels = gc.input("labels", ("batch", 2), gc.int32)
    lengths = gc.input("lengths", ("batch",), gc.int32)
    logs = gc.log_softmax(nn.Linear(4, 3)(x), axis=-1).permute(1, 0, 2)
    loss = gc.ctc_loss(logs, labels, gc.full(("batch",), 5, gc.int32), lengths)
    program = gc.training(loss, optim.SGD(lr=0.1))
    rng = np.random.default_rng(8)
    data = {
        "x": _floats(rng, 7, 5, 4),
        "labels": _codes(rng, 2, 7, 2) + 1,
        "lengths": _codes(rng, 2, 7) + 1,
    }
    return Case("alignments", program, data, 4, 2, 8)


def ordered() -> Case:
    """Losses of sorted numbers: a median, the largest few, a rank by sorting."""
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch", 9))
    made = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 9))(x)
    loss = gc.mean(gc.abs(gc.sort(made, axis=1) - gc.sort(y, axis=1)))
    loss = loss + gc.mean(gc.median(made, axis=1) ** 2) + gc.mean(gc.topk(made, 3)[0])
    loss = loss + gc.mean(gc.logcumsumexp(made, axis=1)) + gc.mean(gc.cummax(made, axis=1))
    program = gc.training(loss, optim.SGD(lr=0.05))
    rng = np.random.default_rng(9)
    return Case("ordered", program, {"x": _floats(rng, 10, 5), "y": _floats(rng, 10, 9)},
                4, 2, 9)  # fmt: skip


def likelihood() -> Case:
    """A density with a full covariance, in float64: Cholesky, a triangular system, logarithms."""
    x = gc.input("x", ("batch", 3), gc.float64)
    root = gc.parameter("root", (3, 3), gc.float64, gc.init.normal(std=0.1))
    middle = gc.parameter("middle", (3,), gc.float64, gc.init.zeros)
    covariance = root @ root.mT + gc.eye(3, dtype=gc.float64)
    factor = linalg.cholesky(covariance)
    white = linalg.solve_triangular(
        gc.broadcast_to(factor, ("batch", 3, 3)), (x - middle)[:, :, None], upper=False
    )
    loss = gc.mean(gc.sum(white**2, axis=(1, 2))) / 2 + gc.logdet(covariance) / 2
    loss = loss + 0.1 * gc.sum(gc.square(linalg.inv(covariance)))
    program = gc.training(loss, optim.SGD(lr=0.05))
    rng = np.random.default_rng(10)
    return Case("likelihood", program, {"x": rng.standard_normal((11, 3)) * [1, 2, 0.5]},
                4, 2, 10)  # fmt: skip


def counts() -> Case:
    """Negative binomial counts: logarithms of the gamma function and their slopes."""
    x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch",))
    rate = gc.softplus(nn.Linear(4, 1)(x)[:, 0]) + 0.1
    size = gc.exp(gc.parameter("size", (), init=gc.init.zeros))
    log_p = gc.lgamma(y + size) - gc.lgamma(size) - gc.lgamma(y + 1)
    log_p = log_p + size * gc.log(size / (size + rate)) + gc.xlogy(y, rate / (size + rate))
    program = gc.training(-gc.mean(log_p), optim.Adam(lr=0.02, eps=1e-3))
    rng = np.random.default_rng(11)
    data = {"x": _floats(rng, 11, 4), "y": rng.poisson(3, 11).astype(np.float32)}
    return Case("counts", program, data, 4, 2, 11)


def loops() -> Case:
    """A loop with a condition and a bound, a choice, a scan with noise of its own."""
    x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch", 4))
    w = gc.parameter("w", (4, 4), init=gc.init.normal(std=0.3))
    _, settled = gc.while_loop(
        lambda c: (c[0] < 5) & (gc.sum(c[1] ** 2) < 100.0),
        lambda c: (c[0] + 1, gc.tanh(c[1] @ w + x)),
        (gc.constant(0), gc.zeros_like(x)),
        bound=6,
    )

    def noisy(z: gc.Tensor, t: gc.Tensor) -> Any:
        z = gc.dropout(z, 0.2) @ w + 0.1 * gc.random.normal((4,))
        return z, gc.mean(z)

    last, means = gc.scan(noisy, settled, gc.arange(3))
    chosen = gc.cond(gc.mean(last) > 0.0, lambda: last * 2.0, lambda: last - 1.0)
    loss = gc.mean((chosen - y) ** 2) + gc.sum(means**2)
    program = gc.training(loss, optim.SGD(lr=0.05))
    rng = np.random.default_rng(12)
    return Case("loops", program, {"x": _floats(rng, 10, 4), "y": _floats(rng, 10, 4)},
                4, 2, 12)  # fmt: skip


def segments() -> Case:
    """Means of rows by a label of theirs, products along an axis, a histogram."""
    x, label = gc.input("x", ("batch", 5)), gc.input("label", ("batch",), gc.int32)
    found = gc.tanh(nn.Linear(5, 3)(x))
    sums = gc.zeros((4, 3)).at[label].add(found) if hasattr(found, "at") else None
    if sums is None:
        sums = gc.index_put(gc.zeros((4, 3)), (label,), found, accumulate=True)
    middles = sums / gc.maximum(gc.bincount(label, minlength=4), 1)[:, None]
    loss = gc.mean((found - gc.take(middles, label, axis=0)) ** 2)
    loss = loss - gc.mean(gc.cumprod(middles + 2.0, axis=1)) * 0.01
    program = gc.training(loss, optim.SGD(lr=0.1))
    rng = np.random.default_rng(13)
    return Case("segments", program, {"x": _floats(rng, 11, 5), "label": _codes(rng, 4, 11)},
                4, 2, 13)  # fmt: skip


def curve() -> Case:
    """A regression on all samples at once, by L-BFGS: loops in the step, no batches."""
    points = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    net = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1))
    loss = gc.mse_loss(net(gc.constant(points)), gc.constant(np.sin(3 * points)))
    program = gc.training(loss, optim.LBFGS(lr=1.0, max_iter=3, line_search_fn="strong_wolfe"))
    return Case("curve", program, {}, 1, 3, 14)


def fitted() -> Case:
    """Nonlinear least squares in float64 by Levenberg and Marquardt."""
    t = np.linspace(0, 2, 15)
    a, b = (gc.parameter(name, (), gc.float64, gc.init.ones) for name in "ab")
    residuals = a * gc.exp(-b * gc.constant(t)) - gc.constant(2.5 * np.exp(-1.3 * t))
    program = gc.training(
        gc.sum(gc.square(residuals)), optim.LevenbergMarquardt(residuals=residuals)
    )
    return Case("fitted", program, {}, 1, 4, 15)


def _short(precision: str) -> Case:
    """Layers wide enough for tiles, whose factors are rounded."""
    x, label = gc.input("x", ("batch", 18)), gc.input("label", ("batch",), gc.int32)
    net = nn.Sequential(nn.Linear(18, 32), nn.ReLU(), nn.Linear(32, 20))
    program = gc.training(
        gc.cross_entropy(net(x), label), optim.SGD(lr=0.1, momentum=0.9, clip_norm=1.0)
    )
    rng = np.random.default_rng(16)
    data = {"x": _floats(rng, 40, 18), "label": _codes(rng, 20, 40)}
    return Case(f"short_{precision}", program, data, 16, 2, 16, precision=precision)


def rounded_to_bf16() -> Case:
    return _short("bf16")


def rounded_to_fp16() -> Case:
    """The loss is scaled, and its first scale is too large."""
    return _short("fp16")


def rounded_to_tf32() -> Case:
    return _short("tf32")


def of_16_bits() -> Case:
    """Activations in 16 bits between weights of 32, a norm and a picture in the other kind."""
    x, y = gc.input("x", ("batch", 16)), gc.input("y", ("batch", 4))
    first = gc.parameter("first", (16, 16), init=gc.init.normal(std=0.3))
    second = gc.parameter("second", (16, 4), init=gc.init.normal(std=0.3))
    hidden = gc.tanh(x.astype(gc.bfloat16) @ first.astype(gc.bfloat16)).astype(gc.float16)
    hidden = gc.layer_norm(hidden, (16,))
    made = (hidden @ second.astype(gc.float16)).astype(gc.float32)
    program = gc.training(gc.mse_loss(made, y), optim.Lion(lr=0.01))
    rng = np.random.default_rng(17)
    data = {"x": _floats(rng, 22, 16), "y": _floats(rng, 22, 4)}
    return Case("of_16_bits", program, data, 16, 2, 17)


def numbers_of_all_kinds() -> Case:
    """Bytes, bools, quantiles and places of sorted numbers. Version 3.6 of Triton takes the kernel
    of its steps with stores in another order alone."""
    x, bit = gc.input("x", ("batch", 5)), gc.input("bit", ("batch", 5), gc.bool)
    short, byte = gc.input("short", ("batch", 5), gc.int8), gc.input("byte", ("batch", 5), gc.uint8)
    w = gc.parameter("w", (5, 5), init=gc.init.normal(std=0.3))
    made = gc.where(bit, x @ w, x) * (byte.astype(gc.float32) / 255)
    made = made + short.astype(gc.float32) * 0.01
    ranked = gc.take_along_axis(made, gc.argsort(made, axis=1), axis=1)
    steps = gc.constant(np.array([-1, 0, 1], np.float32))
    place = gc.searchsorted(steps, gc.stop_gradient(made)).astype(gc.float32)
    middle = gc.quantile(made, 0.3, axis=1) + gc.nanmean(made, axis=1) + gc.std(made, axis=1)
    loss = gc.mean((ranked - place) ** 2) + gc.mean(middle**2)
    loss = loss + 0.1 * ((byte ^ 5) & 7).astype(gc.float32).mean()
    thirds = gc.floor_divide(short, gc.constant(np.int8(3)))
    loss = loss + gc.mean(thirds.astype(gc.float32)) * 0.01
    loss = loss + gc.mean(gc.cumsum(made * made, axis=0)) * 0.01
    rng = np.random.default_rng(10)
    data = {
        "x": _floats(rng, 9, 5), "short": rng.integers(-128, 128, (9, 5)).astype(np.int8),
        "byte": rng.integers(0, 256, (9, 5)).astype(np.uint8), "bit": rng.random((9, 5)) < 0.5,
    }  # fmt: skip
    return Case("numbers_of_all_kinds", gc.training(loss, optim.SGD(lr=0.05)), data, 4, 2, 10)


PROGRAMS: Mapping[str, Callable[[], Case]] = {
    "several_losses": losses_case,
    "rates_that_fall": plateau_case,
} | {
    made.__name__: made
    for made in (
        convolutional, pictures_changed, reader_of_characters, gated_of_named_length, transformer,
        looked_up, touched_rows, alignments, ordered, likelihood, counts, loops, segments, curve,
        fitted, rounded_to_bf16, rounded_to_fp16, rounded_to_tf32, of_16_bits,
        numbers_of_all_kinds,
    )
}  # fmt: skip
