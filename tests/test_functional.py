"""Every function against NumPy, and the neural functions against PyTorch's formulas in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support import array, values

import gradc as gc

RNG = np.random.default_rng(7)
A = RNG.normal(size=(3, 4)) * 2
B = RNG.normal(size=(3, 4)) * 2
UNIT = RNG.uniform(-0.95, 0.95, size=(3, 4))
POSITIVE = RNG.uniform(0.1, 5.0, size=(3, 4))
K = RNG.integers(-9, 10, size=(3, 4))
J = RNG.integers(1, 6, size=(3, 4))
INFINITE = np.array([1.0, np.inf, -np.inf, np.nan, 0.0, -0.0])


def same(tensor: Any, expected: Any, rtol: float = 1e-12) -> None:
    result = values(tensor)
    assert result.shape == np.shape(expected)
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=1e-12)


UNARY = {
    "abs": (np.abs, A), "negative": (np.negative, A), "positive": (np.positive, A),
    "sign": (np.sign, A), "square": (np.square, A), "reciprocal": (np.reciprocal, A),
    "sqrt": (np.sqrt, POSITIVE), "rsqrt": (lambda v: 1 / np.sqrt(v), POSITIVE),
    "exp": (np.exp, A), "exp2": (np.exp2, A), "expm1": (np.expm1, A),
    "log": (np.log, POSITIVE), "log2": (np.log2, POSITIVE), "log10": (np.log10, POSITIVE),
    "log1p": (np.log1p, POSITIVE), "sin": (np.sin, A), "cos": (np.cos, A), "tan": (np.tan, A),
    "asin": (np.arcsin, UNIT), "acos": (np.arccos, UNIT), "atan": (np.arctan, A),
    "sinh": (np.sinh, A), "cosh": (np.cosh, A), "tanh": (np.tanh, A),
    "asinh": (np.arcsinh, A), "acosh": (lambda v: np.arccosh(v + 1), POSITIVE),
    "atanh": (np.arctanh, UNIT), "erf": (np.vectorize(math.erf), A),
    "erfc": (np.vectorize(math.erfc), A), "floor": (np.floor, A), "ceil": (np.ceil, A),
    "trunc": (np.trunc, A), "round": (np.rint, A), "isnan": (np.isnan, INFINITE),
    "isinf": (np.isinf, INFINITE), "isfinite": (np.isfinite, INFINITE),
    "logical_not": (np.logical_not, INFINITE[4:]), "bitwise_invert": (np.invert, K),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), A),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    function, data = UNARY[name]
    shifted = data + 1 if name == "acosh" else data
    same(getattr(gc, name)(gc.constant(shifted)), function(data))


BINARY = {
    "add": (np.add, A, B), "subtract": (np.subtract, A, B), "multiply": (np.multiply, A, B),
    "divide": (np.divide, A, B), "floor_divide": (np.floor_divide, K, J),
    "remainder": (np.remainder, A, B), "pow": (np.power, POSITIVE, B),
    "maximum": (np.maximum, A, B), "minimum": (np.minimum, A, B), "hypot": (np.hypot, A, B),
    "copysign": (np.copysign, A, B), "atan2": (np.arctan2, A, B),
    "logaddexp": (np.logaddexp, A * 400, B * 400), "equal": (np.equal, K, J),
    "not_equal": (np.not_equal, K, J), "less": (np.less, K, J), "greater": (np.greater, K, J),
    "less_equal": (np.less_equal, K, J), "greater_equal": (np.greater_equal, K, J),
    "logical_and": (np.logical_and, K, J), "logical_or": (np.logical_or, K, J),
    "logical_xor": (np.logical_xor, K > 0, J > 3), "bitwise_and": (np.bitwise_and, K, J),
    "bitwise_or": (np.bitwise_or, K, J), "bitwise_xor": (np.bitwise_xor, K, J),
    "bitwise_left_shift": (np.left_shift, K, J), "bitwise_right_shift": (np.right_shift, K, J),
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    function, a, b = BINARY[name]
    same(getattr(gc, name)(gc.constant(a), gc.constant(b)), function(a, b))
    same(getattr(gc, name)(gc.constant(a), b[0]), function(a, b[0]))


def test_logaddexp_of_infinities() -> None:
    inf = np.inf
    a, b = np.array([inf, -inf, -inf, inf]), np.array([inf, -inf, 0.0, -inf])
    same(gc.logaddexp(array(a), array(b)), np.logaddexp(a, b))


def test_where_and_clip() -> None:
    same(gc.where(gc.constant(K > 0), array(A), 0), np.where(K > 0, A, 0))
    same(gc.clip(array(A), -1, 1), np.clip(A, -1, 1))
    same(gc.clip(array(A), max=array(B)), np.minimum(A, B))
    assert gc.where(gc.constant(True), 1, 2.0).dtype == gc.float32


def test_creation() -> None:
    same(gc.zeros((2, 3)), np.zeros((2, 3)))
    same(gc.ones(4, dtype=gc.int8), np.ones(4))
    same(gc.full((2,), 7), [7, 7])
    same(gc.zeros_like(array(A)), np.zeros_like(A))
    same(gc.ones_like(array(A)), np.ones_like(A))
    same(gc.full_like(array(A), 2), np.full_like(A, 2))
    for limits in [(5,), (2, 9), (2, 9, 3), (9, 2, -2), (0.0, 1.0, 0.25), (3, 3)]:
        same(gc.arange(*limits), np.arange(*limits), 1e-6)
    same(gc.linspace(0, 1, 7, dtype=gc.float64), np.linspace(0, 1, 7))
    same(gc.linspace(0, 1, 7, gc.float64, endpoint=False), np.linspace(0, 1, 7, endpoint=False))
    same(gc.eye(3), np.eye(3))
    same(gc.eye(3, 5, k=1), np.eye(3, 5, 1))
    same(gc.eye(4, 3, k=-2), np.eye(4, 3, -2))
    same(gc.tril(array(A), k=1), np.tril(A, 1))
    same(gc.triu(array(A), k=-1), np.triu(A, -1))
    for indexing in ("xy", "ij"):
        found = values(gc.meshgrid(array([1, 2]), array([3, 4, 5]), indexing=indexing))
        grids = np.meshgrid([1, 2], [3, 4, 5], indexing=indexing)
        for ours, theirs in zip(found, grids, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert gc.zeros(3).dtype == gc.float32 and gc.arange(3).dtype == gc.int64
    assert gc.constant([1.5, 2]).dtype == gc.float32 and gc.constant(A).dtype == gc.float64


X = RNG.normal(size=(2, 3, 4))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda v: gc.reshape(v, (4, -1)), lambda v: v.reshape(4, -1)),
        (lambda v: gc.permute_dims(v, (2, 0, 1)), lambda v: v.transpose(2, 0, 1)),
        (lambda v: gc.transpose(v), lambda v: v.T),
        (lambda v: gc.moveaxis(v, 0, -1), lambda v: np.moveaxis(v, 0, -1)),
        (lambda v: gc.moveaxis(v, (0, 1), (2, 0)), lambda v: np.moveaxis(v, (0, 1), (2, 0))),
        (lambda v: gc.swapaxes(v, 0, 2), lambda v: v.swapaxes(0, 2)),
        (lambda v: gc.expand_dims(v, (0, 2)), lambda v: np.expand_dims(v, (0, 2))),
        (lambda v: gc.squeeze(v[:, :1], axis=1), lambda v: v[:, 0]),
        (lambda v: gc.squeeze(v[:1, :1]), lambda v: v[0, 0]),
        (lambda v: gc.broadcast_to(v[0], (5, 3, 4)), lambda v: np.broadcast_to(v[0], (5, 3, 4))),
        (lambda v: gc.concat([v, v[:1]]), lambda v: np.concatenate([v, v[:1]])),
        (lambda v: gc.concatenate([v, v], axis=-1), lambda v: np.concatenate([v, v], -1)),
        (lambda v: gc.concat([v, v], axis=None), lambda v: np.concatenate([v, v], None)),
        (lambda v: gc.stack([v, v * 2], axis=2), lambda v: np.stack([v, v * 2], 2)),
        (lambda v: gc.flip(v), lambda v: np.flip(v)),
        (lambda v: gc.flip(v, axis=(0, 2)), lambda v: np.flip(v, (0, 2))),
        (lambda v: gc.roll(v, 5), lambda v: np.roll(v, 5)),
        (lambda v: gc.roll(v, (1, -2), axis=(0, 2)), lambda v: np.roll(v, (1, -2), (0, 2))),
        (lambda v: gc.repeat(v, 2, axis=1), lambda v: np.repeat(v, 2, 1)),
        (lambda v: gc.repeat(v, 3), lambda v: np.repeat(v, 3)),
        (lambda v: gc.tile(v, (2, 1, 3)), lambda v: np.tile(v, (2, 1, 3))),
        (lambda v: gc.tile(v, (2, 1, 1, 2)), lambda v: np.tile(v, (2, 1, 1, 2))),
        (lambda v: gc.unstack(v, axis=1)[2], lambda v: v[:, 2]),
        (lambda v: gc.split(v, 3, axis=2)[1], lambda v: v[:, :, 3:]),
        (lambda v: gc.split(v, [1, 2], axis=1)[1], lambda v: v[:, 1:]),
        (lambda v: gc.flatten(v), lambda v: v.reshape(-1)),
        (lambda v: gc.broadcast_arrays(v, v[:, :1])[1], lambda v: v[:, :1].repeat(3, 1)),
        (lambda v: gc.matrix_transpose(v), lambda v: v.swapaxes(1, 2)),
    ],
)
def test_manipulation(ours: Any, theirs: Any) -> None:
    same(ours(array(X)), theirs(X))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(axis: Any, keepdims: bool) -> None:
    for name in ("sum", "prod", "mean", "max", "min", "var", "std"):
        expected = getattr(np, name)(X, axis=axis, keepdims=keepdims)
        same(getattr(gc, name)(array(X), axis=axis, keepdims=keepdims), expected)
    for name in ("all", "any"):
        expected = getattr(np, name)(X > 0, axis=axis, keepdims=keepdims)
        same(getattr(gc, name)(gc.constant(X > 0), axis=axis, keepdims=keepdims), expected)
    if not isinstance(axis, tuple):
        for name in ("argmax", "argmin"):
            expected = getattr(np, name)(X, axis=axis, keepdims=keepdims)
            same(getattr(gc, name)(array(X), axis=axis, keepdims=keepdims), expected)


def test_reduction_dtypes() -> None:
    small = gc.constant(np.full((300,), 1, np.int8))
    assert gc.sum(small).dtype == gc.int64 and values(gc.sum(small)) == 300
    assert gc.sum(small, dtype=gc.float64).dtype == gc.float64
    assert gc.mean(small).dtype == gc.float32
    assert gc.sum(gc.constant(np.ones(3, bool))).dtype == gc.int64
    half = gc.constant(np.full((4096,), 1, np.float16))
    assert gc.sum(half).dtype == gc.float16 and values(gc.sum(half)) == 4096
    same(gc.var(array(X), axis=1, correction=1), X.var(1, ddof=1))


def test_cumulative() -> None:
    same(gc.cumulative_sum(array(X), axis=1), X.cumsum(1))
    same(gc.cumprod(array(X), axis=2), X.cumprod(2))
    same(gc.cumsum(array(X[0, 0])), X[0, 0].cumsum())


MATRIX_SHAPES = [
    ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)),
    ((7, 1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((3,), (3,)), ((3,), (3, 2)),
    ((1, 2, 3), (5, 3, 4)), ((7, 5, 2, 3), (7, 1, 3, 4)), ((1, 1, 2, 3), (1, 3, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), MATRIX_SHAPES)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = RNG.normal(size=left), RNG.normal(size=right)
    same(gc.matmul(array(a), array(b)), np.matmul(a, b))


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)), ("i,i->", (3,), (3,)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), ("ij,kl->jl", (2, 3), (4, 5)),
    ("ij,ij->ji", (2, 3), (2, 3)), ("ab,bc", (2, 3), (3, 4)), ("i,j->ji", (2,), (3,)),
    ("ijk->ki", (2, 3, 4)), ("ij->", (2, 3)),
]  # fmt: skip


@pytest.mark.parametrize("case", EINSUMS)
def test_einsum(case: Any) -> None:
    subscripts, *shapes = case
    data = [RNG.normal(size=shape) for shape in shapes]
    same(gc.einsum(subscripts, *map(array, data)), np.einsum(subscripts, *data))


def test_products() -> None:
    same(gc.tensordot(array(X), array(X[0].T), axes=1), np.tensordot(X, X[0].T, 1))
    axes = ([0, 2], [1, 0])
    other = RNG.normal(size=(4, 2, 5))
    same(gc.tensordot(array(X), array(other), axes), np.tensordot(X, other, axes))
    same(gc.vecdot(array(A), array(B)), (A * B).sum(-1))
    same(gc.vecdot(array(A), array(B), axis=0), (A * B).sum(0))
    same(gc.outer(array(A[0]), array(B[:, 0])), np.outer(A[0], B[:, 0]))


def test_gathers_and_scatters() -> None:
    rows = np.array([[2, 0], [1, -1]])
    same(gc.take(array(A), rows, axis=0), A[rows])
    same(gc.take(array(A), gc.constant(rows), axis=1), A[:, rows])
    along = RNG.integers(0, 4, (3, 2))
    same(gc.take_along_axis(array(A), along, axis=1), np.take_along_axis(A, along, 1))
    wide = np.take_along_axis(A, np.array([[1, 2]]).repeat(3, 0), 1)
    same(gc.take_along_axis(array(A), np.array([[1, 2]]), axis=1), wide)
    expected = A.copy()
    np.add.at(expected, np.array([0, 2, 0]), B)
    same(gc.index_add(array(A), 0, np.array([0, 2, 0]), array(B)), expected)
    expected = A.copy()
    index = np.array([[0, 0, 1, 2], [2, 2, 2, 2]])
    np.add.at(expected, (index, np.arange(4)), B[:2])
    same(gc.scatter_add(array(A), 0, index, array(B[:2])), expected)


# PyTorch's formulas, as its documentation gives them.


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def softmax(v: Any, axis: int = -1) -> Any:
    powers = np.exp(v - v.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


ELU = np.where(A > 0, A, np.expm1(A))
SELU = 1.0507009873554805 * np.where(A > 0, A, 1.6732632423543772 * np.expm1(A))
GELU_TANH = 0.5 * A * (1 + np.tanh(math.sqrt(2 / math.pi) * (A + 0.044715 * A**3)))
ACTIVATIONS = {
    "relu": np.maximum(A, 0), "leaky_relu": np.where(A > 0, A, 0.01 * A), "elu": ELU,
    "celu": ELU, "selu": SELU, "gelu": A * 0.5 * (1 + np.vectorize(math.erf)(A / math.sqrt(2))),
    "silu": A * sigmoid(A), "mish": A * np.tanh(np.log1p(np.exp(A))),
    "softplus": np.log1p(np.exp(A)), "softsign": A / (1 + np.abs(A)),
    "hardtanh": np.clip(A, -1, 1), "relu6": np.clip(A, 0, 6), "sigmoid": sigmoid(A),
    "hardsigmoid": np.clip(A + 3, 0, 6) / 6, "hardswish": A * np.clip(A + 3, 0, 6) / 6,
    "logsigmoid": np.log(sigmoid(A)), "tanh": np.tanh(A), "softmax": softmax(A),
    "softmin": softmax(-A), "log_softmax": np.log(softmax(A)), "glu": A[:, :2] * sigmoid(A[:, 2:]),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    same(getattr(gc, name)(array(A)), ACTIVATIONS[name], 1e-10)


def test_activation_options() -> None:
    same(gc.gelu(array(A), approximate="tanh"), GELU_TANH, 1e-10)
    same(gc.leaky_relu(array(A), 0.3), np.where(A > 0, A, 0.3 * A))
    same(gc.elu(array(A), 2.0), np.where(A > 0, A, 2 * np.expm1(A)))
    same(
        gc.softplus(array(A * 20), beta=2, threshold=3),
        np.where(A * 40 > 3, A * 20, np.log1p(np.exp(np.minimum(A * 40, 3))) / 2),
    )
    same(
        gc.prelu(array(A), array([0.1, 0.2, 0.3, 0.4])),
        np.where(A > 0, A, A * [0.1, 0.2, 0.3, 0.4]),
    )
    same(gc.softmax(array(A * 1000), axis=0), softmax(A * 1000, 0))
    same(gc.logsumexp(array(A), axis=1), np.log(np.exp(A).sum(1)))
    same(gc.logsumexp(array([-np.inf, -np.inf])), -np.inf)


def test_relu_has_no_slope_at_zero_and_keeps_nan() -> None:
    x = gc.input("x", (3,), gc.float64)
    y = gc.relu(x)
    value, slope = values([y, gc.grad(y.sum(), x)], x=[0.0, np.nan, 2.0])
    np.testing.assert_array_equal(value, [0, np.nan, 2])
    np.testing.assert_array_equal(slope, [0, 1, 1])


def test_layers_as_functions() -> None:
    weight, bias = RNG.normal(size=(5, 4)), RNG.normal(size=5)
    same(gc.linear(array(A), array(weight), array(bias)), A @ weight.T + bias)
    same(gc.linear(array(X), array(weight)), X @ weight.T)
    same(gc.embedding(np.array([[1, 4], [0, 0]]), array(weight)), weight[[[1, 4], [0, 0]]])
    same(gc.one_hot(gc.constant([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    centred = A - A.mean(1, keepdims=True)
    normal = centred / np.sqrt(A.var(1, keepdims=True) + 1e-5)
    same(gc.layer_norm(array(A), 4), normal)
    scale = RNG.normal(size=4)
    same(gc.layer_norm(array(A), (4,), array(scale), array(scale), 1e-5), normal * scale + scale)
    root = np.sqrt((A * A).mean(1, keepdims=True) + 1e-6)
    same(gc.rms_norm(array(A), 4, array(scale), eps=1e-6), A / root * scale)
    same(gc.normalize(array(A)), A / np.linalg.norm(A, axis=1, keepdims=True))
    same(gc.normalize(array(A), p=1, axis=0), A / np.abs(A).sum(0))
    cosine = (A * B).sum(1) / np.linalg.norm(A, axis=1) / np.linalg.norm(B, axis=1)
    same(gc.cosine_similarity(array(A), array(B)), cosine)


def test_linear_is_one_contraction() -> None:
    x, w = gc.input("x", ("batch", 4)), gc.input("w", (5, 4))
    text = str(gc.graph([gc.linear(x, w), *gc.grad(gc.linear(x, w).sum(), [w])]))
    assert "transpose" not in text
    assert "lhs_contract=[1], rhs_batch=[], rhs_contract=[1]" in text


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [("constant", "constant"), ("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")],
)
def test_pad(mode: str, theirs: Any) -> None:
    same(gc.pad(array(X), (2, 1, 1, 2), mode=mode), np.pad(X, ((0, 0), (1, 2), (2, 1)), theirs))


def test_pad_constant() -> None:
    same(
        gc.pad(array(A), (1, -2), value=3.0), np.pad(A[:, :2], ((0, 0), (1, 0)), constant_values=3)
    )


def test_dropout() -> None:
    x = gc.input("x", (4000,), gc.float64)
    ones = np.ones(4000)
    np.testing.assert_array_equal(values(gc.dropout(x, 0.25), x=ones), ones)
    dropped = values(gc.dropout(x, 0.25), x=ones, training=True)
    assert set(np.unique(dropped)) == {0.0, 1 / 0.75}
    assert abs((dropped == 0).mean() - 0.25) < 0.03
    y = gc.dropout(x, 0.25)
    value, slope = values([y, gc.grad(y.sum(), x)], x=ones, training=True)
    np.testing.assert_array_equal(value, slope)
    np.testing.assert_array_equal(values(gc.dropout(x, 1.0), x=ones, training=True), 0 * ones)


def test_random_moments() -> None:
    count = 20000
    uniform = values(gc.random.uniform((count,), -2, 4))
    assert uniform.min() >= -2 and uniform.max() < 4 and abs(uniform.mean() - 1) < 0.05
    for dtype in (gc.float32, gc.float64):
        normal = values(gc.random.normal((count,), 3, 2, dtype=dtype))
        assert abs(normal.mean() - 3) < 0.06 and abs(normal.std() - 2) < 0.05
    assert abs(values(gc.random.bernoulli(0.3, (count,))).mean() - 0.3) < 0.02
    numbers = values(gc.random.randint(-3, 4, (count,)))
    assert set(np.unique(numbers)) == set(range(-3, 4))
    assert values(gc.random.uniform((500,), dtype=gc.float16)).max() < 1


LABELS = np.array([0, 3, 2])
SOFT = softmax(B)
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0, 4.0])
LOG_P = np.log(softmax(A))
PICKED = -LOG_P[np.arange(3), LABELS]


def test_cross_entropy() -> None:
    same(gc.cross_entropy(array(A), LABELS), PICKED.mean())
    same(gc.cross_entropy(array(A), LABELS, reduction="sum"), PICKED.sum())
    same(gc.cross_entropy(array(A), LABELS, reduction="none"), PICKED)
    same(gc.cross_entropy(array(A), array(SOFT)), -(SOFT * LOG_P).sum(1).mean())
    own = CLASS_WEIGHTS[LABELS]
    same(gc.cross_entropy(array(A), LABELS, weight=CLASS_WEIGHTS), (PICKED * own).sum() / own.sum())
    ignoring = gc.cross_entropy(array(A), np.array([0, -100, 2]))
    same(ignoring, (PICKED[0] + PICKED[2]) / 2)
    same(gc.cross_entropy(array(A), LABELS, ignore_index=3), (PICKED[0] + PICKED[2]) / 2)
    smooth = 0.9 * PICKED - 0.1 / 4 * LOG_P.sum(1)
    same(gc.cross_entropy(array(A), LABELS, label_smoothing=0.1), smooth.mean())
    weighted = 0.9 * PICKED * own - 0.1 / 4 * (LOG_P * CLASS_WEIGHTS).sum(1)
    same(
        gc.cross_entropy(array(A), LABELS, weight=CLASS_WEIGHTS, label_smoothing=0.1),
        weighted.sum() / own.sum(),
    )
    images = np.moveaxis(X, 2, 1)  # [2, classes, 3]
    labels = np.array([[0, 1, 2], [3, 3, 0]])
    logs = np.log(softmax(X))
    expected = -np.take_along_axis(logs, labels[..., None], 2).mean()
    same(gc.cross_entropy(array(images), labels), expected)
    same(gc.cross_entropy(array(A[0]), np.array(3)), -LOG_P[0, 3])
    same(gc.cross_entropy(array(A * 1e4), LABELS) > 0, True)
    same(gc.nll_loss(array(LOG_P), LABELS), PICKED.mean())


def test_cross_entropy_gathers_nothing() -> None:
    scores = gc.input("scores", ("batch", 4))
    labels = gc.input("labels", ("batch",), gc.uint8)
    loss = gc.cross_entropy(scores, labels)
    text = str(gc.graph([loss, gc.grad(loss, scores)]))
    assert "take" not in text and "scatter" not in text
    data = {"scores": A, "labels": LABELS}
    gradient = values(gc.grad(loss, scores), **data)
    expected = (softmax(A) - np.eye(4)[LABELS]) / 3
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


def test_other_losses() -> None:
    d = A - B
    same(gc.mse_loss(array(A), array(B)), (d**2).mean())
    same(gc.mse_loss(array(A), array(B), reduction="none"), d**2)
    same(gc.l1_loss(array(A), array(B), reduction="sum"), np.abs(d).sum())
    size = np.abs(d)
    same(
        gc.smooth_l1_loss(array(A), array(B), beta=0.5),
        np.where(size < 0.5, d**2, size - 0.25).mean(),
    )
    same(
        gc.huber_loss(array(A), array(B), delta=0.5),
        np.where(size <= 0.5, 0.5 * d**2, 0.5 * (size - 0.25)).mean(),
    )
    p, t = sigmoid(A), softmax(B)
    terms = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    same(gc.binary_cross_entropy(array(p), array(t)), terms.mean(), 1e-9)
    same(gc.binary_cross_entropy(array([0.0, 1.0]), array([1.0, 1.0])), 50.0)
    same(gc.binary_cross_entropy_with_logits(array(A), array(t)), terms.mean(), 1e-9)
    terms = -(CLASS_WEIGHTS * t * np.log(p) + (1 - t) * np.log(1 - p))
    weighted = gc.binary_cross_entropy_with_logits(array(A), array(t), pos_weight=CLASS_WEIGHTS)
    same(weighted, terms.mean(), 1e-9)
    same(gc.kl_div(array(LOG_P), array(t)), (t * (np.log(t) - LOG_P)).mean())
    batch = gc.kl_div(array(LOG_P), array(np.log(t)), reduction="batchmean", log_target=True)
    same(batch, (t * (np.log(t) - LOG_P)).sum() / 3)
    same(
        gc.gaussian_nll_loss(array(A), array(B), array(POSITIVE)),
        (0.5 * (np.log(POSITIVE) + d**2 / POSITIVE)).mean(),
    )
    signs = np.where(K > 0, 1.0, -1.0)
    same(
        gc.hinge_embedding_loss(array(A), array(signs)),
        np.where(signs == 1, A, np.maximum(0, 1 - A)).mean(),
    )


def test_accuracy() -> None:
    same(gc.accuracy(array(A), A.argmax(1)), 1.0)
    same(gc.accuracy(array(A), (A.argmax(1) + [0, 1, 0]) % 4), 2 / 3, 1e-6)
    same(gc.accuracy(array(A), array(np.eye(4)[A.argmax(1)])), 1.0)


def test_inspection_functions_and_constants() -> None:
    assert gc.result_type(gc.float32, gc.int64) is gc.float32
    assert gc.result_type(gc.int8, 1.5) is gc.float32
    assert gc.isdtype(gc.uint8, "unsigned integer") and not gc.isdtype("bool", "numeric")
    assert gc.isdtype(gc.int32, ("bool", gc.int32))
    assert gc.can_cast(gc.int8, gc.int64) and not gc.can_cast(gc.float64, gc.float32)
    assert gc.finfo(gc.float32).eps == np.finfo(np.float32).eps and gc.iinfo(gc.int8).max == 127
    assert (gc.pi, gc.newaxis) == (np.pi, None)
    with pytest.raises(gc.DTypeError, match="finfo: a floating-point dtype is needed, not int32"):
        gc.finfo(gc.int32)


def test_signbit_and_searchsorted() -> None:
    values = np.array([0.0, -0.0, -1.5, np.inf, -np.inf])
    x = gc.input("x", (5,), gc.float64)
    found = gc.compile({"s": gc.signbit(x), "e": gc.empty_like(x)})(x=values)
    np.testing.assert_array_equal(found["s"], np.signbit(values))
    table = np.array([1.0, 2.0, 2.0, 5.0])
    wanted = np.array([[0.5, 2.0], [5.0, 9.0]])
    y = gc.input("y", (2, 2), gc.float64)
    for side in ("left", "right"):
        got = gc.compile(gc.searchsorted(table, y, side=side))(y=wanted)
        np.testing.assert_array_equal(got, np.searchsorted(table, wanted, side=side))
