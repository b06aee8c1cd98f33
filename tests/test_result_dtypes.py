"""The dtype of every function's result, for operands of all ten dtypes, and the values with it.

A table names the rule of each function: the Array API's where it has one, else PyTorch's or
NumPy's. Integers that need floating point become float32 where NumPy would say float64, and sums
of integers are int64. Where NumPy has the function, values are compared with NumPy in float64 on
numbers so small that no integer wraps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from function_rows import called, of_dtype
from support import values
from support_functions import numpy_function, own_functions, records
from test_function_rows import ROWS

import gradc as gc
from gradc import functional
from gradc.compiler.types import DTYPES, DType

# What each rule gives for a dtype; None: refused with a DTypeError.
RULES: dict[str, Callable[[DType], DType | None]] = {
    "same": lambda d: d,  # bools stay bools
    "number": lambda d: None if d.is_bool else d,
    "floating": lambda d: d if d.is_float else gc.float32,
    "float only": lambda d: d if d.is_float else None,
    "total": lambda d: d if d.is_float else gc.int64,
    "bool": lambda d: gc.bool,
    "bool of float": lambda d: gc.bool if d.is_float else None,
    "int64": lambda d: gc.int64,
    "bits": lambda d: None if d.is_float else d,
    "shift": lambda d: d if d.is_integer else None,
    "float32": lambda d: gc.float32,
    "matrix": lambda d: d if d in (gc.float32, gc.float64) else None,
    "float64": lambda d: gc.float64,
    "floating number": lambda d: None if d.is_bool else d if d.is_float else gc.float32,
    "number or bool": lambda d: gc.int64 if d.is_bool else d,
    "wide floating": lambda d: (
        None if d.is_float and d.bits == 16 else d if d.is_float else gc.float32
    ),
}
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}

A = np.array([[1, 0, 2], [1, 1, 0]])
B = np.array([[1, 1, 1], [1, 2, 1]])
PICKED = np.array([1, 0, 1])


def index() -> gc.Tensor:
    return gc.constant(PICKED)


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def softmax(v: Any) -> Any:
    powers = np.exp(v - v.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


# name: (rule, gradc's call on x and y, NumPy's on the same in float64, or None)
Entry = tuple[str, Callable[[Any, Any], Any], Callable[[Any, Any], Any] | None]


def plain(*names: str, rule: str, operands: int = 1, numpy: bool = True) -> dict[str, Entry]:
    """Functions of one or two tensors, compared with NumPy's of that meaning."""
    table: dict[str, Entry] = {}
    for name in names:
        ours, theirs = getattr(gc, name), numpy_function(name) if numpy else None
        if operands == 1:
            table[name] = (
                rule,
                lambda x, y, f=ours: f(x),
                None if theirs is None else lambda x, y, f=theirs: f(x),
            )
        else:
            table[name] = (rule, ours, theirs)
    return table


TABLE: dict[str, Entry] = {
    # What is one record and has no row of its own computes in floating point.
    **plain(*records(1), rule="floating"),
    **plain(*records(2), rule="floating", operands=2),
    **plain("abs", "negative", "sign", "square", rule="number"),
    **plain("positive", "stop_gradient", rule="same", numpy=False),
    **plain("ceil", "floor", "trunc", rule="same"),
    "round": ("same", lambda x, y: gc.round(x), lambda x, y: np.rint(x)),
    **plain("reciprocal", rule="floating"),
    "erf": ("floating", lambda x, y: gc.erf(x), lambda x, y: np.vectorize(math.erf)(x)),
    "erfc": ("floating", lambda x, y: gc.erfc(x), lambda x, y: np.vectorize(math.erfc)(x)),
    "rsqrt": ("floating", lambda x, y: gc.rsqrt(x), lambda x, y: 1 / np.sqrt(x)),
    **plain("add", "subtract", "multiply", "floor_divide", "remainder", rule="number", operands=2),
    "polygamma": ("floating", lambda x, y: gc.polygamma(1, x), None),
    "pow": ("number", gc.pow, np.power),
    **plain("divide", "logaddexp", rule="floating", operands=2),
    **plain("maximum", "minimum", rule="same", operands=2),
    **plain("equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
            "logical_and", "logical_or", "logical_xor", rule="bool", operands=2),
    **plain("logical_not", "isnan", "isinf", "isfinite", rule="bool"),
    "signbit": ("bool of float", lambda x, y: gc.signbit(x), lambda x, y: np.signbit(x)),
    **plain("bitwise_and", "bitwise_or", "bitwise_xor", rule="bits", operands=2, numpy=False),
    **plain("bitwise_invert", rule="bits", numpy=False),
    **plain("bitwise_left_shift", "bitwise_right_shift", rule="shift", operands=2, numpy=False),
    "where": ("same", lambda x, y: gc.where(y > 1, x, y), lambda x, y: np.where(y > 1, x, y)),
    "clip": ("same", lambda x, y: gc.clip(x, y, y), lambda x, y: y),
    # reductions
    **plain("sum", "prod", rule="total"),
    **plain("mean", "var", "std", rule="floating"),
    **plain("max", "min", rule="same"),
    **plain("all", "any", rule="bool"),
    **plain("argmax", "argmin", rule="int64"),
    "cumsum": ("total", lambda x, y: gc.cumsum(x, 1), lambda x, y: np.cumsum(x, 1)),
    "cumprod": ("total", lambda x, y: gc.cumprod(x, 1), lambda x, y: np.cumprod(x, 1)),
    "cumulative_sum": ("total", lambda x, y: gc.cumulative_sum(x, 0), lambda x, y: x.cumsum(0)),
    "cumulative_prod": ("total", lambda x, y: gc.cumulative_prod(x, 0), lambda x, y: x.cumprod(0)),
    "searchsorted": (
        "int64", lambda x, y: gc.searchsorted(gc.cumsum(x[0]), y),
        lambda x, y: np.searchsorted(x[0].cumsum(), y),
    ),
    "cummax": ("same", lambda x, y: gc.cummax(x, 1), lambda x, y: np.maximum.accumulate(x, 1)),
    "cummin": ("same", lambda x, y: gc.cummin(x, 1), lambda x, y: np.minimum.accumulate(x, 1)),
    "nansum": ("total", lambda x, y: gc.nansum(x), lambda x, y: x.sum()),
    "nanmean": ("floating", lambda x, y: gc.nanmean(x), lambda x, y: x.mean()),
    "nan_to_num": ("same", lambda x, y: gc.nan_to_num(x), lambda x, y: x),
    "diff": ("same", lambda x, y: gc.diff(gc.sort(x)), lambda x, y: np.diff(np.sort(x))),
    "diagonal": ("same", lambda x, y: gc.diagonal(x), lambda x, y: x.diagonal()),
    "trace": ("total", lambda x, y: gc.trace(x), lambda x, y: x.trace()),
    "kron": ("number", lambda x, y: gc.kron(x, y), np.kron),
    "cross": ("number", lambda x, y: gc.cross(x[0], x[0]), lambda x, y: np.zeros(3)),
    # matrices: x[:, :2] is [[1, 0], [1, 1]], x[:, ::2] is [[1, 2], [1, 0]]
    "cholesky": (
        "matrix", lambda x, y: gc.cholesky(y[:, :2]), lambda x, y: np.linalg.cholesky(y[:, :2])
    ),
    "cholesky_solve": (
        "matrix", lambda x, y: gc.cholesky_solve(y, x[:, :2]),
        lambda x, y: np.linalg.solve(x[:, :2] @ x[:, :2].T, y),
    ),
    "cholesky_inverse": (
        "matrix", lambda x, y: gc.cholesky_inverse(x[:, :2]),
        lambda x, y: np.linalg.inv(x[:, :2] @ x[:, :2].T),
    ),
    "solve_triangular": (
        "matrix", lambda x, y: gc.solve_triangular(x[:, :2], y, upper=False),
        lambda x, y: np.linalg.solve(x[:, :2], y),
    ),
    "solve": (
        "matrix", lambda x, y: gc.solve(x[:, ::2], y), lambda x, y: np.linalg.solve(x[:, ::2], y)
    ),
    "lstsq": (
        "matrix", lambda x, y: gc.lstsq(x[:, ::2], y).solution,
        lambda x, y: np.linalg.solve(x[:, ::2], y),
    ),
    "inv": ("matrix", lambda x, y: gc.inv(x[:, ::2]), lambda x, y: np.linalg.inv(x[:, ::2])),
    "inverse": ("matrix", lambda x, y: gc.inverse(x[:, :2]), lambda x, y: np.linalg.inv(x[:, :2])),
    "det": ("matrix", lambda x, y: gc.det(x[:, ::2]), lambda x, y: np.array(-2.0)),
    "logdet": ("matrix", lambda x, y: gc.logdet(y[:, :2]), lambda x, y: np.array(0.0)),
    "slogdet": ("matrix", lambda x, y: gc.slogdet(x[:, ::2])[1], lambda x, y: np.log(2.0)),
    "matrix_power": (
        "matrix", lambda x, y: gc.matrix_power(x[:, :2], 5),
        lambda x, y: np.array([[1.0, 0.0], [5.0, 1.0]]),
    ),
    "lu": ("matrix", lambda x, y: gc.lu(x[:, ::2]).U, lambda x, y: np.array([[1.0, 2], [0, -2]])),
    "qr": ("matrix", lambda x, y: gc.qr(x).R, lambda x, y: np.linalg.qr(x)[1]),
    # order
    **plain("sort", rule="same"),
    "msort": ("same", lambda x, y: gc.msort(x), lambda x, y: np.sort(x, 0)),
    "argsort": ("int64", lambda x, y: gc.argsort(x), lambda x, y: x.argsort(kind="stable")),
    "topk": ("same", lambda x, y: gc.topk(x, 2)[0], lambda x, y: np.sort(x)[:, :0:-1]),
    "kthvalue": ("same", lambda x, y: gc.kthvalue(x, 2)[0], lambda x, y: np.sort(x)[:, 1]),
    "mode": ("same", lambda x, y: gc.mode(x[1]), lambda x, y: x[1, 0]),
    "median": ("same", lambda x, y: gc.median(x), lambda x, y: np.sort(x.ravel())[2]),
    "nanmedian": ("same", lambda x, y: gc.nanmedian(x), lambda x, y: np.sort(x.ravel())[2]),
    **{
        name: (
            "floating", lambda x, y, n=name, q=q: getattr(gc, n)(x, q),
            lambda x, y: np.quantile(x, 0.5),
        )
        for name, q in {
            "quantile": 0.5, "nanquantile": 0.5, "percentile": 50, "nanpercentile": 50,
        }.items()
    },
    "bucketize": (
        "int64", lambda x, y: gc.bucketize(y, gc.cumsum(x[0])),
        lambda x, y: np.searchsorted(x[0].cumsum(), y),
    ),
    "digitize": (
        "int64", lambda x, y: gc.digitize(y, gc.cumsum(x[0])),
        lambda x, y: np.digitize(y, x[0].cumsum()),
    ),
    # movement
    **plain("zeros_like", "ones_like", rule="same"),
    "empty_like": ("same", lambda x, y: gc.empty_like(x), lambda x, y: 0 * x),
    "full_like": ("same", lambda x, y: gc.full_like(x, 1), lambda x, y: np.full_like(x, 1)),
    "asarray": ("same", lambda x, y: gc.asarray(x), lambda x, y: x),
    "constant": ("same", lambda x, y: gc.constant(x), lambda x, y: x),
    **plain("tril", "triu", "flip", "transpose", "squeeze", rule="same"),
    "matrix_transpose": ("same", lambda x, y: gc.matrix_transpose(x), lambda x, y: x.T),
    "flatten": ("same", lambda x, y: gc.flatten(x), lambda x, y: x.reshape(-1)),
    "reshape": ("same", lambda x, y: gc.reshape(x, (3, -1)), lambda x, y: x.reshape(3, -1)),
    "permute_dims": ("same", lambda x, y: gc.permute_dims(x, (1, 0)), lambda x, y: x.T),
    "moveaxis": ("same", lambda x, y: gc.moveaxis(x, 0, 1), lambda x, y: np.moveaxis(x, 0, 1)),
    "swapaxes": ("same", lambda x, y: gc.swapaxes(x, 0, 1), lambda x, y: x.T),
    "expand_dims": ("same", lambda x, y: gc.expand_dims(x, 1), lambda x, y: x[:, None]),
    "broadcast_to": (
        "same", lambda x, y: gc.broadcast_to(x, (2, 2, 3)),
        lambda x, y: np.broadcast_to(x, (2, 2, 3)),
    ),
    "broadcast_arrays": ("same", lambda x, y: gc.broadcast_arrays(x, y)[0], lambda x, y: x),
    "meshgrid": ("same", lambda x, y: gc.meshgrid(x[0], y[0])[0],
                 lambda x, y: np.meshgrid(x[0], y[0])[0]),
    "concat": ("same", lambda x, y: gc.concat([x, y]), lambda x, y: np.concatenate([x, y])),
    "concatenate": ("same", lambda x, y: gc.concatenate([x, y], None),
                    lambda x, y: np.concatenate([x, y], None)),
    "stack": ("same", lambda x, y: gc.stack([x, y]), lambda x, y: np.stack([x, y])),
    "unstack": ("same", lambda x, y: gc.unstack(x)[1], lambda x, y: x[1]),
    "split": ("same", lambda x, y: gc.split(x, 1)[0], lambda x, y: x[:1]),
    "roll": ("same", lambda x, y: gc.roll(x, 1), lambda x, y: np.roll(x, 1)),
    "repeat": ("same", lambda x, y: gc.repeat(x, 2), lambda x, y: np.repeat(x, 2)),
    "tile": ("same", lambda x, y: gc.tile(x, (2, 1)), lambda x, y: np.tile(x, (2, 1))),
    "astype": ("float32", lambda x, y: gc.astype(x, "float32"), lambda x, y: x),
    "pad": ("same", lambda x, y: gc.pad(x, (1, 1)), lambda x, y: np.pad(x, ((0, 0), (1, 1)))),
    "take": ("same", lambda x, y: gc.take(x, index(), axis=1), lambda x, y: x[:, PICKED]),
    "take_along_axis": (
        "same", lambda x, y: gc.take_along_axis(x, gc.constant(PICKED[None]), axis=1),
        lambda x, y: np.take_along_axis(x, PICKED[None], axis=1),
    ),
    "embedding": ("same", lambda x, y: gc.embedding(index(), x), lambda x, y: x[PICKED]),
    "scatter_add": (
        "number", lambda x, y: gc.scatter_add(x, 0, gc.constant(np.ones((2, 3), int)), y),
        lambda x, y: x + np.stack([0 * y[0], y.sum(0)]),
    ),
    "index_add": (
        "number", lambda x, y: gc.index_add(x, 0, gc.constant([1, 1]), y),
        lambda x, y: x + np.stack([0 * y[0], y.sum(0)]),
    ),
    # products
    "matmul": ("number", lambda x, y: gc.matmul(x, y.T), lambda x, y: x @ y.T),
    "tensordot": ("number", lambda x, y: gc.tensordot(x, y), lambda x, y: np.tensordot(x, y)),
    "vecdot": ("number", gc.vecdot, lambda x, y: (x * y).sum(-1)),
    "outer": ("number", lambda x, y: gc.outer(x[0], y[0]), lambda x, y: np.outer(x[0], y[0])),
    "einsum": ("number", lambda x, y: gc.einsum("ij,kj->ik", x, y), lambda x, y: x @ y.T),
    "linear": ("number", gc.linear, lambda x, y: x @ y.T),
    "conv1d": (
        "number", lambda x, y: gc.conv1d(x[:, None], y[:, None]), lambda x, y: (x @ y.T)[:, :, None]
    ),
    "conv2d": (
        "number", lambda x, y: gc.conv2d(x[:, None, None], y[:, None, None]),
        lambda x, y: (x @ y.T)[:, :, None, None],
    ),
    "conv3d": (
        "number", lambda x, y: gc.conv3d(x[:, None, None, None], y[:, None, None, None]),
        lambda x, y: (x @ y.T)[:, :, None, None, None],
    ),
    "conv_transpose1d": (
        "number", lambda x, y: gc.conv_transpose1d(x[..., None], y.T[..., None]),
        lambda x, y: (x @ y.T)[:, :, None],
    ),
    "conv_transpose2d": (
        "number", lambda x, y: gc.conv_transpose2d(x[..., None, None], y.T[..., None, None]),
        lambda x, y: (x @ y.T)[:, :, None, None],
    ),
    "conv_transpose3d": (
        "number",
        lambda x, y: gc.conv_transpose3d(x[..., None, None, None], y.T[..., None, None, None]),
        lambda x, y: (x @ y.T)[:, :, None, None, None],
    ),
    # neural
    "relu": ("number", lambda x, y: gc.relu(x), lambda x, y: np.maximum(x, 0)),
    "prelu": ("floating", lambda x, y: gc.prelu(x, y[0, 0]), lambda x, y: x),
    **plain("relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "mish", "softplus",
            "hardtanh", "hardsigmoid", "hardswish", rule="floating", numpy=False),
    "softsign": ("floating", lambda x, y: gc.softsign(x), lambda x, y: x / (1 + abs(x))),
    "silu": ("floating", lambda x, y: gc.silu(x), lambda x, y: x * sigmoid(x)),
    "sigmoid": ("floating", lambda x, y: gc.sigmoid(x), lambda x, y: sigmoid(x)),
    "logsigmoid": ("floating", lambda x, y: gc.logsigmoid(x), lambda x, y: np.log(sigmoid(x))),
    "softmax": ("floating", lambda x, y: gc.softmax(x), lambda x, y: softmax(x)),
    "softmin": ("floating", lambda x, y: gc.softmin(x), lambda x, y: softmax(-x)),
    "log_softmax": ("floating", lambda x, y: gc.log_softmax(x), lambda x, y: np.log(softmax(x))),
    "logsumexp": ("floating", lambda x, y: gc.logsumexp(x), lambda x, y: np.log(np.exp(x).sum())),
    "dropout": ("floating", lambda x, y: gc.dropout(x), lambda x, y: x),
    "glu": ("floating", lambda x, y: gc.glu(x, axis=0), lambda x, y: x[:1] * sigmoid(x[1:])),
    "scaled_dot_product_attention": (
        "floating", lambda x, y: gc.scaled_dot_product_attention(x, x, x),
        lambda x, y: softmax(x @ x.T / np.sqrt(3)) @ x,
    ),
    "rotary_embedding": (
        "floating", lambda x, y: gc.rotary_embedding(x[:, :2]),
        lambda x, y: np.stack([
            np.array([a * np.cos(t) - b * np.sin(t), b * np.cos(t) + a * np.sin(t)])
            for t, (a, b) in enumerate(x[:, :2])
        ]),
    ),
    "layer_norm": (
        "floating", lambda x, y: gc.layer_norm(x, 3),
        lambda x, y: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5),
    ),
    "rms_norm": (
        "floating", lambda x, y: gc.rms_norm(x, 3),
        lambda x, y: x / np.sqrt((x * x).mean(1, keepdims=True)),
    ),
    "normalize": (
        "floating", lambda x, y: gc.normalize(x),
        lambda x, y: x / np.sqrt((x * x).sum(1, keepdims=True)),
    ),
    "cosine_similarity": (
        "floating", gc.cosine_similarity,
        lambda x, y: (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1)),
    ),
    "pairwise_distance": (
        "floating", lambda x, y: gc.pairwise_distance(x, y, eps=0.0),
        lambda x, y: np.sqrt(((x - y) ** 2).sum(1)),
    ),
    "bilinear": (
        "number", lambda x, y: gc.bilinear(x[:, :1], y, x[:, None, :]),
        lambda x, y: x[:, :1] * (y @ x.T),
    ),
    "embedding_bag": (
        "floating", lambda x, y: gc.embedding_bag(gc.constant([[1, 0]]), x),
        lambda x, y: x.mean(0, keepdims=True),
    ),
    "threshold": (
        "floating", lambda x, y: gc.threshold(x, 1, 7), lambda x, y: np.where(x > 1, x, 7),
    ),
    "tanhshrink": ("floating", lambda x, y: gc.tanhshrink(x), lambda x, y: x - np.tanh(x)),
    **plain("hardshrink", "softshrink", "rrelu", "alpha_dropout", "feature_alpha_dropout",
            "gumbel_softmax", rule="floating", numpy=False),
    "ratio": (
        "floating", lambda x, y: gc.ratio(x.max(), y.max()), lambda x, y: x.max() / y.max(),
    ),
    "accuracy": ("float32", lambda x, y: gc.accuracy(x, gc.constant([2, 0])),
                 lambda x, y: (x.argmax(1) == [2, 0]).mean()),
    # losses take floating-point predictions
    **plain("binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss",
            "smooth_l1_loss", "huber_loss", "kl_div", "hinge_embedding_loss",
            "poisson_nll_loss", "soft_margin_loss", "multilabel_soft_margin_loss",
            rule="float only", operands=2, numpy=False),
    "gaussian_nll_loss": ("float only", lambda x, y: gc.gaussian_nll_loss(x, y, y), None),
    "cross_entropy": (
        "float only", lambda x, y: gc.cross_entropy(x, gc.constant([2, 0])),
        lambda x, y: -np.log(softmax(x)[[0, 1], [2, 0]]).mean(),
    ),
    **{
        name: ("float only", lambda x, y, n=name: getattr(gc, n)(x, y, x), None)
        for name in ("margin_ranking_loss", "triplet_margin_loss",
                     "triplet_margin_with_distance_loss")
    },
    "ctc_loss": (
        "float only", lambda x, y: gc.ctc_loss(x[:, None], *map(gc.constant, ([[1]], [1], [1]))),
        lambda x, y: -x[0, 1],
    ),
    "cosine_embedding_loss": (
        "float only", lambda x, y: gc.cosine_embedding_loss(x, y, gc.constant([1, -1])), None
    ),
    "multi_margin_loss": (
        "float only", lambda x, y: gc.multi_margin_loss(x, gc.constant([2, 0])), None
    ),
    "multilabel_margin_loss": (
        "float only",
        lambda x, y: gc.multilabel_margin_loss(x, gc.constant([[2, 0, -1], [1, -1, 0]])), None,
    ),
    "nll_loss": (
        "float only", lambda x, y: gc.nll_loss(x, gc.constant([2, 0])),
        lambda x, y: -x[[0, 1], [2, 0]].mean(),
    ),
    # pictures
    "unflatten": ("same", lambda x, y: gc.unflatten(x, 1, (-1, 1)), lambda x, y: x[..., None]),
    "unfold": ("same", lambda x, y: gc.unfold(x[None], (2, 1)), lambda x, y: x),
    "fold": ("number", lambda x, y: gc.fold(x, (2, 3), (2, 1)), lambda x, y: x[None]),
    "pixel_shuffle": (
        "same", lambda x, y: gc.pixel_shuffle(x.reshape((1, 2, 3)), 1), lambda x, y: x[None]
    ),
    "pixel_unshuffle": (
        "same", lambda x, y: gc.pixel_unshuffle(x[None, :, :2], 2),
        lambda x, y: x[:, :2].reshape(4, 1, 1),
    ),
    "channel_shuffle": (
        "same", lambda x, y: gc.channel_shuffle(x.reshape((1, 6, 1)), 2),
        lambda x, y: x.T.reshape(1, 6, 1),
    ),
    "grid_sample": (
        "floating", lambda x, y: gc.grid_sample(x[None, None], 0 * y[None, None, :, :2]),
        lambda x, y: np.full((1, 1, 1, 2), x[:, 1].mean()),
    ),
    "affine_grid": (
        "floating", lambda x, y: gc.affine_grid(x[None], (1, 1, 1, 1)),
        lambda x, y: x[None, None, None, :, 2],
    ),
    "interpolate": ("same", lambda x, y: gc.interpolate(x[None], 6),
                    lambda x, y: x.repeat(2, 1)[None]),
    "dropout1d": ("floating", lambda x, y: gc.dropout1d(x[None]), lambda x, y: x[None]),
    "dropout2d": (
        "floating", lambda x, y: gc.dropout2d(x[None, None]), lambda x, y: x[None, None],
    ),
    "dropout3d": (
        "floating", lambda x, y: gc.dropout3d(x[None, None, None]),
        lambda x, y: x[None, None, None],
    ),
    "batch_norm": (
        "floating", lambda x, y: gc.batch_norm(x, np.ones(3, "f2"), np.ones(3, "f2"), eps=3.0),
        lambda x, y: (x - 1) / 2,
    ),
    "instance_norm": (
        "floating", lambda x, y: gc.instance_norm(x.reshape((1, 2, 3))),
        lambda x, y: ((x - x.mean(1, keepdims=True))
                      / np.sqrt(x.var(1, keepdims=True) + 1e-5)).reshape(1, 2, 3),
    ),
    "group_norm": (
        "floating", lambda x, y: gc.group_norm(x, 1),
        lambda x, y: (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5),
    ),
    "local_response_norm": (
        "floating", lambda x, y: gc.local_response_norm(x.reshape((1, 2, 3)), 1, 1.0, 1.0),
        lambda x, y: (x / (1 + x * x)).reshape(1, 2, 3),
    ),
    **{
        f"{kind}_pool{d}d": (
            "number" if "max" in kind else "floating",
            lambda x, y, k=kind, d=d: getattr(gc, f"{k}_pool{d}d")(
                x.reshape((1, *(1,) * (d - 1), 2, 3)), *((1,) if k == "lp" else ()),
                (*(1,) * (d - 1), 3),
            )[0],
            lambda x, y, f=function, d=d: f(x, axis=1).reshape((*(1,) * (d - 1), 2, 1)),
        )
        for d in (1, 2, 3)
        for kind, function in {"max": np.max, "avg": np.mean, "lp": np.sum}.items()
    },
    **{
        f"max_unpool{d}d": (
            "floating",
            lambda x, y, d=d: getattr(gc, f"max_unpool{d}d")(
                x.reshape((1, *(1,) * (d - 1), 2, 3)),
                gc.constant(np.arange(6) % 3 if d == 1 else np.arange(6)).reshape(
                    (1, *(1,) * (d - 1), 2, 3)
                ), 1,
            )[0],
            lambda x, y, d=d: x.reshape((*(1,) * (d - 1), 2, 3)),
        )
        for d in (1, 2, 3)
    },
    **{
        f"adaptive_{kind}_pool{d}d": (
            "number" if kind == "max" else "floating",
            lambda x, y, k=kind, d=d: getattr(gc, f"adaptive_{k}_pool{d}d")(
                x.reshape((1, *(1,) * (d - 1), 2, 3)), (*(None,) * (d - 1), 1)
            )[0],
            lambda x, y, f=function, d=d: f(x, axis=1).reshape((*(1,) * (d - 1), 2, 1)),
        )
        for d in (1, 2, 3)
        for kind, function in {"max": np.max, "avg": np.mean}.items()
    },
}  # fmt: skip
TABLE |= {
    name: (row.rule, lambda x, y, n=name, r=row: called(n, of_dtype(r.arguments, x.dtype))[0], None)
    for name, row in ROWS.items()
    if row.rule
}
# These have no operand whose dtype could show in the result; dtype= decides.
CREATION = {
    "zeros": (lambda d: gc.zeros(2, d), np.zeros(2)),
    "ones": (lambda d: gc.ones(2, d), np.ones(2)),
    "empty": (lambda d: gc.empty(2, d), np.zeros(2)),
    "full": (lambda d: gc.full(2, 1, d), np.ones(2)),
    "eye": (lambda d: gc.eye(2, dtype=d), np.eye(2)),
    "arange": (lambda d: gc.arange(2, dtype=d), np.arange(2)),
    "linspace": (lambda d: gc.linspace(0, 1, 2, dtype=d), np.linspace(0, 1, 2)),
}
# Questions about dtypes, and one whose result is int64 whatever the integers.
NO_TENSOR = {
    "broadcast_shapes", "can_cast", "finfo", "iinfo", "is_floating_point", "is_tensor", "isdtype",
    "numel", "result_type", "one_hot",
}  # fmt: skip
NO_TENSOR |= {name for name, row in ROWS.items() if not row.rule}


def test_the_table_is_complete() -> None:
    public = own_functions(functional)
    assert public == {*TABLE, *CREATION, *NO_TENSOR}


@pytest.mark.parametrize("name", TABLE)
def test_result(name: str) -> None:
    rule, call, reference = TABLE[name]
    for dtype in DTYPES:
        wanted = RULES[rule](dtype)
        a, b = (v.astype(dtype.numpy) for v in (A, B))
        x, y = gc.constant(a), gc.constant(b)
        if wanted is None:
            with pytest.raises(gc.DTypeError) as caught:
                call(x, y)
            assert caught.value.operation == name
            continue
        result = call(x, y)
        assert result.dtype == wanted, f"{name} of {dtype} is {result.dtype}, not {wanted}"
        found = values(result)
        assert found.dtype == wanted.numpy
        if reference is None:
            continue
        with np.errstate(all="ignore"):
            expected = np.asarray(reference(a.astype(np.float64), b.astype(np.float64)))
        if wanted.is_bool and expected.dtype != bool:
            expected = expected.astype(bool)
        if wanted.is_integer:  # unsigned ones wrap below 0
            expected = expected.astype(np.int64).astype(wanted.numpy)
        assert found.shape == expected.shape, name
        limit = TOLERANCE.get(wanted.name, 0)
        np.testing.assert_allclose(found.astype(np.float64), expected, limit, limit, err_msg=name)


@pytest.mark.parametrize("name", CREATION)
def test_creation(name: str) -> None:
    call, expected = CREATION[name]
    for dtype in DTYPES:
        result = call(dtype)
        assert result.dtype == dtype
        np.testing.assert_array_equal(values(result).astype(np.float64), expected)


def test_methods_are_as_their_functions() -> None:
    for name in ("sum", "max", "min", "argmax", "mean", "std", "relu", "clip", "squeeze", "all"):
        for dtype in DTYPES:
            x = gc.constant(A.astype(dtype.numpy))
            outcomes = []
            for call in (getattr(gc, name), getattr(gc.Tensor, name)):
                try:
                    outcomes.append(call(x).dtype)
                except gc.DTypeError:
                    outcomes.append(None)
            assert outcomes[0] == outcomes[1], (name, dtype)


def test_narrow_integers_do_not_wrap_inside_a_formula() -> None:
    """int8 -128 and 127 through everything that computes in floating point."""
    far = np.array([[-128, 127, 100]], np.int8)
    x, wide = gc.constant(far), far.astype(np.float64)
    for name in ("softmax", "log_softmax", "logsumexp", "normalize", "softsign", "gelu", "silu",
                 "leaky_relu", "logsigmoid", "softplus", "mish", "std", "var", "mean",
                 "elu", "hardswish"):  # fmt: skip
        found = values(getattr(gc, name)(x))
        expected = values(getattr(gc, name)(gc.constant(wide)))
        np.testing.assert_allclose(found, expected, 2e-4, 1e-6, err_msg=name)
    unsigned = np.array([[0, 5, 250]], np.uint8)
    for name in ("softmin", "logsigmoid", "softmax"):
        found = values(getattr(gc, name)(gc.constant(unsigned)))
        expected = values(getattr(gc, name)(gc.constant(unsigned.astype(np.float64))))
        np.testing.assert_allclose(found, expected, 2e-4, 1e-6, err_msg=name)
    large = np.array([[2**30, 2**30 + 1, 2**30 - 3]])
    for name in ("softmax", "log_softmax", "softmin", "logsumexp"):
        found = values(getattr(gc, name)(gc.constant(large)))
        expected = values(getattr(gc, name)(gc.constant(large.astype(np.float64))))
        np.testing.assert_allclose(found, expected, 2e-6, 1e-6, err_msg=name)
    products = gc.cosine_similarity(x, x), gc.rms_norm(x, 3)
    expected = gc.cosine_similarity(wide, wide), gc.rms_norm(gc.constant(wide), 3)
    for ours, theirs in zip(products, expected, strict=True):
        np.testing.assert_allclose(values(ours), values(theirs), 1e-5)


def test_floats_are_not_added_to_integers() -> None:
    x = gc.constant([1, 2])
    for call in (gc.scatter_add, gc.index_add):
        with pytest.raises(gc.DTypeError, match="floating-point numbers are added to integers"):
            call(x, 0, gc.constant([0, 1]), gc.constant([0.5, 0.5]))


@pytest.mark.parametrize("dtype", [gc.float32, gc.int8, gc.bool], ids=str)
def test_compiled(dtype: DType) -> None:
    """All of one dtype in one program: the compiled results have the reference's dtype and value.

    The operands are inputs, so that nothing is computed while compiling.
    """
    x, y = gc.input("x", A.shape, dtype), gc.input("y", B.shape, dtype)
    results = {n: call(x, y) for n, (rule, call, _) in TABLE.items() if RULES[rule](dtype)}
    given = {"x": A.astype(dtype.numpy), "y": B.astype(dtype.numpy)}
    reference = values(results, **given)
    for name, found in gc.compile(results, threads=1)(**given).items():
        expected = reference[name]
        assert found.dtype == expected.dtype and found.shape == expected.shape, name
        limit = TOLERANCE.get(dtype.name, 1e-5)
        np.testing.assert_allclose(
            found.astype(np.float64), expected.astype(np.float64), limit, limit, err_msg=name
        )
