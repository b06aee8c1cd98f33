"""The table of test_empty_and_identity.py: calls of every function that is neither elementwise nor
a reduction, on empty tensors, on scalars, and with arguments that change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from empty_and_identity_losses import OF_LOSSES
from empty_and_identity_matrices import OF_MATRICES

import gradc as gc

Z, ZB, S, ONE = np.zeros((0,)), np.zeros((2, 0, 3)), np.array(0.7), np.array([[0.4]])
M = np.random.default_rng(23).normal(size=(2, 3))
INF, NAN = float("inf"), float("nan")
E = np.zeros((0, 3))
V = np.array([3.0, 1.0, 2.0])
BOOLS = np.array([True, False])
NONE_OF = np.zeros((0,), int)
PICTURE = np.arange(8.0).reshape(1, 2, 2, 2)
WHOLE_PICTURE = np.array([[[[-1.0, -1], [1, -1]], [[-1, 1], [1, 1]]]])
OF_4 = {d: np.random.default_rng(29).uniform(size=(1, 2, *(4,) * d)) for d in (1, 2, 3)}


def unpooled(axes: int, x: Any, size: int) -> Any:
    """Each value at the place of its own number."""
    numbers = np.indices(x.shape[2:]).reshape((axes, -1))
    places = np.ravel_multi_index(tuple(numbers), x.shape[2:]).reshape(x.shape[2:])
    return getattr(gc, f"max_unpool{axes}d")(x, np.broadcast_to(places, x.shape), size)


def pooled(kind: str, axes: int, x: Any, size: Any) -> Any:
    """A pooling of pictures: `size` is that of a window, or how many there are."""
    return getattr(gc, f"{kind}_pool{axes}d")(x, *((1,) if kind == "lp" else ()), size)


CALLS: dict[str, list[tuple[Any, Any]]] = {
    "zeros": [(lambda: gc.zeros(()), np.zeros(())), (lambda: gc.zeros((0, 2)), np.zeros((0, 2)))],
    "ones": [(lambda: gc.ones(()), np.ones(())), (lambda: gc.ones(0), np.ones(0))],
    "empty": [(lambda: gc.empty(()), np.zeros(()))],
    "full": [
        (lambda: gc.full((), 2.0), np.array(2.0)),
        (lambda: gc.full((2, 0), 7), np.full((2, 0), 7)),
    ],
    "zeros_like": [(lambda: gc.zeros_like(E), E), (lambda: gc.zeros_like(2.5), np.array(0.0))],
    "ones_like": [(lambda: gc.ones_like(E), E), (lambda: gc.ones_like(True), np.array(True))],
    "empty_like": [(lambda: gc.empty_like(E), E)],
    "full_like": [(lambda: gc.full_like(E, 3), E), (lambda: gc.full_like(S, 3), np.array(3.0))],
    "constant": [
        (lambda: gc.constant([]), np.zeros(0)),
        (lambda: gc.constant([[], []]), np.zeros((2, 0))),
    ],
    "asarray": [(lambda: gc.asarray(E), E), (lambda: gc.asarray(2), np.array(2))],
    "arange": [
        (lambda: gc.arange(0), np.arange(0)),
        (lambda: gc.arange(3, 3), np.arange(3, 3)),
        (lambda: gc.arange(5, 2), np.arange(5, 2)),
        (lambda: gc.arange(2, 5, -1), np.arange(2, 5, -1)),
        (lambda: gc.arange(-3), np.arange(-3)),
        (lambda: gc.arange(0.5), np.arange(0.5)),
        (lambda: gc.arange(5, 0, -2), np.arange(5, 0, -2)),
        (lambda: gc.arange(1, 2, 5), np.arange(1, 2, 5)),
    ],
    "linspace": [
        (lambda: gc.linspace(1, 2, 0), np.linspace(1, 2, 0)),
        (lambda: gc.linspace(1, 2, 1), np.linspace(1, 2, 1)),
        (lambda: gc.linspace(1, 1, 3), np.ones(3)),
        (lambda: gc.linspace(1, 2, 1, endpoint=False), np.linspace(1, 2, 1, endpoint=False)),
        (lambda: gc.linspace(-1, 1, 4, dtype=gc.int64), np.linspace(-1, 1, 4, dtype=int)),
        (lambda: gc.linspace(-1.5, 1, 1, dtype=gc.int64), np.linspace(-1.5, 1, 1, dtype=int)),
    ],
    "eye": [
        (lambda: gc.eye(0), np.eye(0)),
        (lambda: gc.eye(2, 0), np.eye(2, 0)),
        (lambda: gc.eye(1), np.eye(1)),
        (lambda: gc.eye(2, k=5), np.eye(2, k=5)),
        (lambda: gc.eye(2, k=-5), np.eye(2, k=-5)),
    ],
    "tril": [
        (lambda: gc.tril(E), np.tril(E)),
        (lambda: gc.tril(ZB), np.tril(ZB)),
        (lambda: gc.tril(ONE), ONE),
        (lambda: gc.tril(M, 9), M),
        (lambda: gc.tril(M, -9), 0 * M),
        (lambda: gc.tril(M > 0), np.tril(M > 0)),
    ],
    "triu": [
        (lambda: gc.triu(E), np.triu(E)),
        (lambda: gc.triu(M, -9), M),
        (lambda: gc.triu(M, 9), 0 * M),
    ],
    "meshgrid": [
        (lambda: gc.meshgrid(V, Z)[0], np.meshgrid(V, Z)[0]),
        (lambda: gc.meshgrid(V)[0], V),
        (lambda: gc.meshgrid(1.0, V)[0], np.meshgrid(1.0, V)[0]),
        (lambda: gc.meshgrid(1.0, V, indexing="ij")[1], np.meshgrid(1.0, V, indexing="ij")[1]),
        (lambda: gc.meshgrid(2.0, 3.0)[1], np.meshgrid(2.0, 3.0)[1]),
        (lambda: gc.meshgrid(Z, Z, Z)[2], np.meshgrid(Z, Z, Z)[2]),
    ],
    "reshape": [
        (lambda: gc.reshape(M, (2, 3)), M),
        (lambda: gc.reshape(S, ()), S),
        (lambda: gc.reshape(S, 1), S.reshape(1)),
        (lambda: gc.reshape(ONE, ()), ONE.reshape(())),
        (lambda: gc.reshape(E, (3, 0, 5)), E.reshape(3, 0, 5)),
        (lambda: gc.reshape(E, -1), E.reshape(-1)),
        (lambda: gc.reshape(E, (-1, 3)), E.reshape(-1, 3)),
        (lambda: gc.reshape(S, (-1,)), S.reshape(-1)),
        (lambda: gc.reshape(M, (-1, 3)), M),
    ],
    "permute_dims": [
        (lambda: gc.permute_dims(M, (0, 1)), M),
        (lambda: gc.permute_dims(S, ()), S),
        (lambda: gc.permute_dims(E, (1, 0)), E.T),
    ],
    "transpose": [
        (lambda: gc.transpose(S), S),
        (lambda: gc.transpose(V), V),
        (lambda: gc.transpose(ZB), ZB.T),
    ],
    "matrix_transpose": [
        (lambda: gc.matrix_transpose(ONE), ONE),
        (lambda: gc.matrix_transpose(ZB), ZB.swapaxes(1, 2)),
    ],
    "moveaxis": [
        (lambda: gc.moveaxis(M, 0, 0), M),
        (lambda: gc.moveaxis(M, (), ()), M),
        (lambda: gc.moveaxis(S, (), ()), S),
        (lambda: gc.moveaxis(M, (0, 1), (0, -1)), M),
        (lambda: gc.moveaxis(M, [0], [1]), M.T),
    ],
    "swapaxes": [
        (lambda: gc.swapaxes(M, 1, 1), M),
        (lambda: gc.swapaxes(M, 1, -1), M),
        (lambda: gc.swapaxes(ZB, 0, 1), ZB.swapaxes(0, 1)),
    ],
    "expand_dims": [
        (lambda: gc.expand_dims(S, 0), S[None]),
        (lambda: gc.expand_dims(S, (0, 1)), S[None, None]),
        (lambda: gc.expand_dims(M, ()), M),
        (lambda: gc.expand_dims(E, -1), E[..., None]),
    ],
    "squeeze": [
        (lambda: gc.squeeze(S), S),
        (lambda: gc.squeeze(M), M),
        (lambda: gc.squeeze(ONE), ONE[0, 0]),
        (lambda: gc.squeeze(M, ()), M),
        (lambda: gc.squeeze(ONE, (0, 1)), ONE[0, 0]),
        (lambda: gc.squeeze(ZB), ZB),
        (lambda: gc.squeeze(ONE, -1), ONE[0]),
    ],
    "flatten": [
        (lambda: gc.flatten(S), S.reshape(1)),
        (lambda: gc.flatten(V), V),
        (lambda: gc.flatten(M, 1, 1), M),
        (lambda: gc.flatten(ZB), Z),
        (lambda: gc.flatten(ZB, 1), ZB.reshape(2, 0)),
    ],
    "broadcast_to": [
        (lambda: gc.broadcast_to(M, (2, 3)), M),
        (lambda: gc.broadcast_to(S, ()), S),
        (lambda: gc.broadcast_to(S, (0, 2)), np.zeros((0, 2))),
        (lambda: gc.broadcast_to(ONE, (0, 1)), np.zeros((0, 1))),
    ],
    "polygamma": [(lambda: gc.polygamma(2, Z), Z), (lambda: gc.polygamma(1, ZB), ZB)],
    "broadcast_arrays": [
        (lambda: gc.broadcast_arrays(M)[0], M),
        (lambda: gc.broadcast_arrays(S, S)[1], S),
        (lambda: gc.broadcast_arrays(ONE, Z)[0], np.zeros((1, 0))),
    ],
    "concat": [
        (lambda: gc.concat([M]), M),
        (lambda: gc.concat([Z, Z]), Z),
        (lambda: gc.concat([Z, V, Z]), V),
        (lambda: gc.concat([M, E]), M),
        (lambda: gc.concat([S, Z], axis=None), S.reshape(1)),
        (lambda: gc.concat([M], axis=None), M.reshape(-1)),
        (lambda: gc.concat([M, M[:, :0]], axis=-1), M),
    ],
    "concatenate": [(lambda: gc.concatenate([V]), V), (lambda: gc.concatenate([V, Z]), V)],
    "stack": [
        (lambda: gc.stack([M]), M[None]),
        (lambda: gc.stack([S]), S[None]),
        (lambda: gc.stack([S, S]), np.stack([S, S])),
        (lambda: gc.stack([Z, Z], axis=1), np.stack([Z, Z], 1)),
    ],
    "unstack": [(lambda: gc.unstack(ONE)[0], ONE[0]), (lambda: gc.unstack(M, axis=1)[2], M[:, 2])],
    "split": [
        (lambda: gc.split(M, 2)[0], M),
        (lambda: gc.split(M, [2])[0], M),
        (lambda: gc.split(M, [0, 2])[0], M[:0]),
        (lambda: gc.split(Z, 4)[0], Z),
        (lambda: gc.split(M, 9, axis=1)[0], M),
        (lambda: gc.split(V, [3, 0])[1], Z),
    ],
    "flip": [
        (lambda: gc.flip(S), S),
        (lambda: gc.flip(M, ()), M),
        (lambda: gc.flip(ONE), ONE),
        (lambda: gc.flip(ZB), ZB),
        (lambda: gc.flip(ZB, -1), ZB),
    ],
    "roll": [
        (lambda: gc.roll(V, 0), V),
        (lambda: gc.roll(V, 3), V),
        (lambda: gc.roll(V, -6), V),
        (lambda: gc.roll(V, 10**30), np.roll(V, 1)),
        (lambda: gc.roll(Z, 2), Z),
        (lambda: gc.roll(ZB, 1, 1), ZB),
        (lambda: gc.roll(S, 5), S),
        (lambda: gc.roll(M, (), ()), M),
        (lambda: gc.roll(M, 1, (0, 1)), np.roll(M, 1, (0, 1))),
        (lambda: gc.roll(M, (1, 1), 1), np.roll(M, (1, 1), 1)),
    ],
    "repeat": [
        (lambda: gc.repeat(V, 0), Z),
        (lambda: gc.repeat(V, 1), V),
        (lambda: gc.repeat(Z, 3), Z),
        (lambda: gc.repeat(S, 2), S.repeat(2)),
        (lambda: gc.repeat(M, 0, axis=1), M[:, :0]),
        (lambda: gc.repeat(M, [1, 2], axis=0), M.repeat([1, 2], 0)),
        (lambda: gc.repeat(V, [2, 0, 1]), V.repeat([2, 0, 1])),
    ],
    "tile": [
        (lambda: gc.tile(M, ()), M),
        (lambda: gc.tile(M, 1), M),
        (lambda: gc.tile(V, 0), Z),
        (lambda: gc.tile(S, 3), np.tile(S, 3)),
        (lambda: gc.tile(S, ()), S),
        (lambda: gc.tile(Z, (2, 2)), np.tile(Z, (2, 2))),
        (lambda: gc.tile(M, (0, 1, 1)), np.tile(M, (0, 1, 1))),
    ],
    "astype": [
        (lambda: gc.astype(E, gc.int8), E.astype(np.int8)),
        (lambda: gc.astype(S, gc.float64), S),
    ],
    "where": [
        (lambda: gc.where(np.zeros(0, bool), 1.0, Z), Z),
        (lambda: gc.where(True, S, 2.0), S),
        (lambda: gc.where(BOOLS, BOOLS, False), BOOLS),
        (lambda: gc.where(M > INF, M, M), M),
    ],
    "clip": [
        (lambda: gc.clip(Z, 0, 1), Z),
        (lambda: gc.clip(M), M),
        (lambda: gc.clip(M, -INF, INF), M),
        (lambda: gc.clip(S, 1, 0), np.clip(S, 1, 0)),
        (lambda: gc.clip(M, 0.1, 0.1), 0 * M + 0.1),
    ],
    "take": [
        (lambda: gc.take(V, []), Z),
        (lambda: gc.take(M, NONE_OF, axis=1), M[:, NONE_OF]),
        (lambda: gc.take(V, 1), V[1]),
        (lambda: gc.take(M, np.arange(3), axis=1), M),
        (lambda: gc.take(Z, NONE_OF), Z),
    ],
    "take_along_axis": [
        (lambda: gc.take_along_axis(V, NONE_OF), Z),
        (lambda: gc.take_along_axis(E, np.zeros((0, 2), int)), np.zeros((0, 2))),
        (lambda: gc.take_along_axis(M, np.array([[0, 1, 2]])), M),
    ],
    "scatter_add": [
        (lambda: gc.scatter_add(V, 0, NONE_OF, Z), V),
        (lambda: gc.scatter_add(Z, 0, NONE_OF, Z), Z),
    ],
    "index_add": [
        (lambda: gc.index_add(M, 0, NONE_OF, M[:0]), M),
        (lambda: gc.index_add(M, 1, np.array([1]), M[:, :1] * 0), M),
    ],
    "matmul": [
        (lambda: gc.matmul(M[:, :0], M[:0]), np.zeros((2, 3))),
        (lambda: gc.matmul(E, V), Z),
        (lambda: gc.matmul(Z, Z), np.array(0.0)),
        (lambda: gc.matmul(M, np.eye(3)), M),
        (lambda: gc.matmul(np.zeros((0, 2, 3)), V), np.zeros((0, 2))),
    ],
    "tensordot": [
        (lambda: gc.tensordot(M, S, 0), M * S),
        (lambda: gc.tensordot(Z, Z, 1), np.array(0.0)),
        (lambda: gc.tensordot(M, M, ([], [])), np.tensordot(M, M, ([], []))),
    ],
    "vecdot": [
        (lambda: gc.vecdot(Z, Z), np.array(0.0)),
        (lambda: gc.vecdot(E, V), Z),
        (lambda: gc.vecdot(M, V), M @ V),
    ],
    "outer": [(lambda: gc.outer(Z, V), np.outer(Z, V)), (lambda: gc.outer(V, [1.0]), V[:, None])],
    "einsum": [
        (lambda: gc.einsum("i->i", V), V),
        (lambda: gc.einsum("i->", Z), np.array(0.0)),
        (lambda: gc.einsum("ii->i", np.zeros((0, 0))), Z),
    ],
    "searchsorted": [
        (lambda: gc.searchsorted(Z, V), np.zeros(3, int)),
        (lambda: gc.searchsorted(np.sort(V), Z), NONE_OF),
        (lambda: gc.searchsorted(np.sort(V), S), np.array(0)),
        (lambda: gc.searchsorted(np.zeros((2, 0)), M), np.zeros((2, 3), int)),
    ],
    "nansum": [(lambda: gc.nansum(Z), np.array(0.0)), (lambda: gc.nansum(S), S)],
    "nanmean": [(lambda: gc.nanmean(Z), np.array(NAN)), (lambda: gc.nanmean(M, 1), M.mean(1))],
    "nan_to_num": [(lambda: gc.nan_to_num(E), E), (lambda: gc.nan_to_num(M), M)],
    "diff": [(lambda: gc.diff(Z), Z), (lambda: gc.diff(M, 2), np.diff(M, 2))],
    "diagonal": [
        (lambda: gc.diagonal(E), Z),
        (lambda: gc.diagonal(M, 5), Z),
        (lambda: gc.diagonal(M, -1), M.diagonal(-1)),
        (lambda: gc.diagonal(M, 2), M.diagonal(2)),
        (lambda: gc.diagonal(OF_4[2], 1, 2, -1), OF_4[2].diagonal(1, 2, -1)),
        (lambda: gc.diagonal(OF_4[2], -1, 0, 3), OF_4[2].diagonal(-1, 0, 3)),
    ],
    "trace": [(lambda: gc.trace(E), np.array(0.0)), (lambda: gc.trace(M, 1), M.trace(1))],
    "kron": [
        (lambda: gc.kron(Z, V), Z),
        (lambda: gc.kron(M, S), M * S),
        (lambda: gc.kron(V, M), np.kron(V, M)),
        (lambda: gc.kron(M, OF_4[1]), np.kron(M, OF_4[1])),
    ],
    "cross": [(lambda: gc.cross(E, V), E), (lambda: gc.cross(M, V), np.cross(M, V))],
    **OF_MATRICES,
    "bucketize": [(lambda: gc.bucketize(V, Z), np.zeros(3, int))],
    "digitize": [(lambda: gc.digitize(Z, np.sort(V)), NONE_OF)],
    "sort": [
        (lambda: gc.sort(Z), Z),
        (lambda: gc.sort(ZB, 1), ZB),
        (lambda: gc.sort(ZB, 0), ZB),
        (lambda: gc.sort(ONE), ONE),
    ],
    "argsort": [(lambda: gc.argsort(Z), NONE_OF), (lambda: gc.argsort(ONE, 0), [[0]])],
    "msort": [(lambda: gc.msort(E), E)],
    "topk": [(lambda: gc.topk(Z, 0)[0], Z), (lambda: gc.topk(V, 0)[1], NONE_OF)],
    "kthvalue": [(lambda: gc.kthvalue(ONE, 1, keepdims=True)[0], ONE)],
    "mode": [(lambda: gc.mode(ONE), ONE[0]), (lambda: gc.mode(E, 1), Z)],
    "median": [(lambda: gc.median(S), S), (lambda: gc.median(E, 1), Z)],
    "nanmedian": [(lambda: gc.nanmedian(ONE, keepdims=True), ONE)],
    **{
        name: [
            (lambda f=name: getattr(gc, f)(S, 0), S),
            (lambda f=name: getattr(gc, f)(M, []), Z),
            (lambda f=name: getattr(gc, f)(ONE, [1, 1], 1), [[0.4], [0.4]]),
        ]
        for name in ("quantile", "nanquantile", "percentile", "nanpercentile")
    },
    "softmax": [
        (lambda: gc.softmax(Z), Z),
        (lambda: gc.softmax(ZB, 1), ZB),
        (lambda: gc.softmax(ZB, 0), ZB),
        (lambda: gc.softmax(S), np.array(1.0)),
        (lambda: gc.softmax(S, 0), np.array(1.0)),
        (lambda: gc.softmax(ONE), np.ones((1, 1))),
    ],
    "softmin": [
        (lambda: gc.softmin(Z), Z),
        (lambda: gc.softmin(S), np.array(1.0)),
        (lambda: gc.softmin(ZB, 1), ZB),
    ],
    "log_softmax": [
        (lambda: gc.log_softmax(Z), Z),
        (lambda: gc.log_softmax(ZB, 1), ZB),
        (lambda: gc.log_softmax(S), np.array(0.0)),
        (lambda: gc.log_softmax(ONE), np.zeros((1, 1))),
    ],
    "logsumexp": [
        (lambda: gc.logsumexp(Z), np.array(-INF)),
        (lambda: gc.logsumexp(ZB, 1), np.full((2, 3), -INF)),
        (lambda: gc.logsumexp(ZB, (0, 1), True), np.full((1, 1, 3), -INF)),
        (lambda: gc.logsumexp(ZB, 0), np.zeros((0, 3))),
        (lambda: gc.logsumexp(S), S),
        (lambda: gc.logsumexp(S, -1), S),
        (lambda: gc.logsumexp(M, ()), M),
    ],
    "linear": [
        (lambda: gc.linear(M, np.zeros((0, 3))), np.zeros((2, 0))),
        (lambda: gc.linear(M[:, :0], np.zeros((4, 0)), np.ones(4)), np.ones((2, 4))),
        (lambda: gc.linear(M, np.eye(3)), M),
        (lambda: gc.linear(E, np.ones((2, 3))), np.zeros((0, 2))),
    ],
    "conv1d": [
        (lambda: gc.conv1d(np.zeros((0, 2, 5)), np.ones((3, 2, 2))), np.zeros((0, 3, 4))),
        (lambda: gc.conv1d(ZB, np.ones((3, 0, 2)), np.ones(3)), np.ones((2, 3, 2))),
        (lambda: gc.conv1d(M, np.eye(2)[:, :, None]), M),
    ],
    "conv2d": [
        (lambda: gc.conv2d(M[None], np.zeros((0, 1, 2, 2))), np.zeros((0, 1, 2))),
        (lambda: gc.conv2d(M[None], np.ones((1, 1, 1, 1))), M[None]),
    ],
    "conv3d": [
        (lambda: gc.conv3d(M[None, None], np.ones((1, 1, 1, 1, 1))), M[None, None]),
        (lambda: gc.conv3d(M[None, None], np.ones((1, 1, 1, 2, 3))), M.sum().reshape(1, 1, 1, 1)),
    ],
    "conv_transpose1d": [
        (lambda: gc.conv_transpose1d(np.zeros((0, 2, 5)), np.ones((2, 3, 2))), np.zeros((0, 3, 6))),
        (lambda: gc.conv_transpose1d(M, np.eye(2)[:, :, None]), M),
    ],
    "conv_transpose2d": [
        (lambda: gc.conv_transpose2d(M[None], np.ones((1, 1, 1, 1))), M[None]),
        (
            lambda: gc.conv_transpose2d(M[None], np.ones((1, 1, 1, 1)), stride=(1, 3)),
            np.insert(M, (1, 1, 2, 2), 0, axis=1)[None],
        ),
    ],
    "conv_transpose3d": [
        (lambda: gc.conv_transpose3d(M[None, None], np.ones((1, 1, 1, 1, 1))), M[None, None]),
    ],
    "embedding": [(lambda: gc.embedding(NONE_OF, M), M[:0]), (lambda: gc.embedding(1, M), M[1])],
    "one_hot": [
        (lambda: gc.one_hot(NONE_OF, 3), np.zeros((0, 3), int)),
        (lambda: gc.one_hot(1, 2), np.array([0, 1])),
        (lambda: gc.one_hot([0], 0), np.zeros((1, 0), int)),
    ],
    "scaled_dot_product_attention": [
        (lambda: gc.scaled_dot_product_attention(ONE, ONE, ONE), ONE),
        (lambda: gc.scaled_dot_product_attention(E, M, M), E),
        (lambda: gc.scaled_dot_product_attention(M, E, E), 0 * M),
    ],
    "rotary_embedding": [(lambda: gc.rotary_embedding(M[:1, :2]), M[:1, :2])],
    "glu": [(lambda: gc.glu(Z), Z), (lambda: gc.glu(ZB, 0), ZB[:1])],
    "prelu": [(lambda: gc.prelu(Z, [0.1]), Z), (lambda: gc.prelu(S, 0.5), S)],
    "layer_norm": [
        (lambda: gc.layer_norm(E, 3), E),
        (lambda: gc.layer_norm(ONE, 1), 0 * ONE),
        (lambda: gc.layer_norm(M[:, :0], 0), M[:, :0]),
    ],
    "rms_norm": [(lambda: gc.rms_norm(E, 3), E), (lambda: gc.rms_norm(M[:, :0], 0), M[:, :0])],
    "normalize": [
        (lambda: gc.normalize(E), E),
        (lambda: gc.normalize(M[:, :0]), M[:, :0]),
        (lambda: gc.normalize(0 * M), 0 * M),
        (lambda: gc.normalize(S, axis=0), np.array(1.0)),
        (lambda: gc.normalize(np.array([[2.0, 0.0, 4.0]]), p=0), np.array([[1.0, 0.0, 2.0]])),
    ],
    "cosine_similarity": [
        (lambda: gc.cosine_similarity(E, E), Z),
        (lambda: gc.cosine_similarity(M[:, :0], M[:, :0]), np.zeros(2)),
        (lambda: gc.cosine_similarity(V, V, axis=0), np.array(1.0)),
    ],
    "pad": [
        (lambda: gc.pad(M, ()), M),
        (lambda: gc.pad(M, (0, 0)), M),
        (lambda: gc.pad(Z, (1, 2), value=3.0), np.full(3, 3.0)),
        (lambda: gc.pad(V, (-1, -1)), V[1:2]),
        (lambda: gc.pad(V, (-3, 2)), np.zeros(2)),
        (lambda: gc.pad(V, (-2, -1)), Z),
        (lambda: gc.pad(V, (-1, 2), value=9.0), np.array([1.0, 2.0, 9.0, 9.0])),
        (lambda: gc.pad(S, ()), S),
        *[
            (lambda m=m: gc.pad(M, (0, 0, 0, 0), m), M)
            for m in ("reflect", "replicate", "circular")
        ],
        *[(lambda m=m: gc.pad(Z, (0, 0), m), Z) for m in ("reflect", "replicate", "circular")],
        (lambda: gc.pad(V, (-1, 2), "reflect"), np.array([1.0, 2.0, 1.0, 3.0])),
        (lambda: gc.pad(V, (2, -3), "reflect"), np.array([2.0, 1.0])),
        (lambda: gc.pad(V, (-1, 2), "replicate"), np.array([1.0, 2.0, 2.0, 2.0])),
        (lambda: gc.pad(V, (-1, 2), "circular"), np.array([1.0, 2.0, 1.0, 2.0])),
        (lambda: gc.pad(V, (2, -1), "circular"), np.array([3.0, 1.0, 3.0, 1.0])),
        (lambda: gc.pad(M, (0, 0, 1, 0), "circular"), np.pad(M, ((1, 0), (0, 0)), "wrap")),
    ],
    "unflatten": [
        (lambda: gc.unflatten(E, 1, (3, 1)), np.zeros((0, 3, 1))),
        (lambda: gc.unflatten(M, 1, (3,)), M),
        (lambda: gc.unflatten(M, 0, (-1,)), M),
    ],
    "unfold": [
        (lambda: gc.unfold(np.zeros((0, 2, 3, 3)), 2), np.zeros((0, 8, 4))),
        (lambda: gc.unfold(OF_4[2], 1), OF_4[2].reshape(1, 2, 16)),
    ],
    "fold": [
        (lambda: gc.fold(np.zeros((0, 8, 4)), 3, 2), np.zeros((0, 2, 3, 3))),
        (lambda: gc.fold(OF_4[2].reshape(1, 2, 16), 4, 1), OF_4[2]),
    ],
    "pixel_shuffle": [
        (lambda: gc.pixel_shuffle(np.zeros((0, 4, 2, 2)), 2), np.zeros((0, 1, 4, 4))),
        (lambda: gc.pixel_shuffle(OF_4[2], 1), OF_4[2]),
    ],
    "pixel_unshuffle": [
        (lambda: gc.pixel_unshuffle(np.zeros((0, 1, 4, 4)), 2), np.zeros((0, 4, 2, 2))),
        (lambda: gc.pixel_unshuffle(OF_4[2], 1), OF_4[2]),
    ],
    "channel_shuffle": [
        (lambda: gc.channel_shuffle(np.zeros((0, 4, 2)), 2), np.zeros((0, 4, 2))),
        (lambda: gc.channel_shuffle(OF_4[1], 1), OF_4[1]),
    ],
    "grid_sample": [
        (
            lambda: gc.grid_sample(np.zeros((0, 2, 3, 3)), np.zeros((0, 4, 5, 2))),
            np.zeros((0, 2, 4, 5)),
        ),
        (
            lambda: gc.grid_sample(np.ones((1, 2, 3, 3)), np.zeros((1, 0, 5, 2))),
            np.zeros((1, 2, 0, 5)),
        ),
        (lambda: gc.grid_sample(PICTURE, WHOLE_PICTURE, align_corners=True), PICTURE),
        (lambda: gc.grid_sample(PICTURE, WHOLE_PICTURE, "nearest", align_corners=True), PICTURE),
    ],
    "affine_grid": [
        (lambda: gc.affine_grid(np.zeros((0, 2, 3)), (0, 1, 2, 4)), np.zeros((0, 2, 4, 2))),
        (lambda: gc.affine_grid([[[1.0, 0, 0], [0, 1, 0]]], (1, 1, 2, 2), True), WHOLE_PICTURE),
    ],
    "interpolate": [
        (lambda: gc.interpolate(np.zeros((0, 4, 2)), 3), np.zeros((0, 4, 3))),
        (lambda: gc.interpolate(OF_4[2], 4), OF_4[2]),
        (lambda: gc.interpolate(OF_4[2], scale_factor=1, mode="bilinear"), OF_4[2]),
    ],
    **{
        f"dropout{d}d": [
            (lambda d=d: getattr(gc, f"dropout{d}d")(OF_4[d]), OF_4[d]),
            (lambda d=d: getattr(gc, f"dropout{d}d")(OF_4[d], 0.0, True), OF_4[d]),
            (lambda d=d: getattr(gc, f"dropout{d}d")(OF_4[d], 1.0, True), 0 * OF_4[d]),
        ]
        for d in (1, 2, 3)
    },
    "batch_norm": [
        (lambda: gc.batch_norm(E, np.zeros(3), np.ones(3)), E),
        (lambda: gc.batch_norm(E), E),
        (lambda: gc.batch_norm(M, np.zeros(3), np.ones(3), eps=0.0), M),
    ],
    "instance_norm": [
        (lambda: gc.instance_norm(np.zeros((0, 3, 2))), np.zeros((0, 3, 2))),
        (lambda: gc.instance_norm(np.zeros((2, 3, 0))), np.zeros((2, 3, 0))),
    ],
    "group_norm": [
        (lambda: gc.group_norm(E, 1), E),
        (lambda: gc.group_norm(M, 3), 0 * M),
    ],
    "local_response_norm": [
        (lambda: gc.local_response_norm(ZB, 3), ZB),
        (lambda: gc.local_response_norm(OF_4[1], 3, alpha=0.0), OF_4[1]),
    ],
    **{
        f"{kind}_pool{d}d": [
            (
                lambda k=kind, d=d: pooled(k, d, np.zeros((0, 2, *(4,) * d)), 2),
                np.zeros((0, 2, *(2,) * d)),
            ),
            (lambda k=kind, d=d: pooled(k, d, OF_4[d], 1), OF_4[d]),
        ]
        for kind in ("max", "avg", "lp")
        for d in (1, 2, 3)
    },
    **{
        f"adaptive_{kind}_pool{d}d": [
            (
                lambda k=kind, d=d: pooled(f"adaptive_{k}", d, np.zeros((0, 2, *(4,) * d)), 3),
                np.zeros((0, 2, *(3,) * d)),
            ),
            (lambda k=kind, d=d: pooled(f"adaptive_{k}", d, OF_4[d], None), OF_4[d]),
        ]
        for kind in ("max", "avg")
        for d in (1, 2, 3)
    },
    **{
        f"max_unpool{d}d": [
            (
                lambda d=d: unpooled(d, np.zeros((0, 2, *(2,) * d)), 2),
                np.zeros((0, 2, *(4,) * d)),
            ),
            (lambda d=d: unpooled(d, OF_4[d], 1), OF_4[d]),
        ]
        for d in (1, 2, 3)
    },
    **OF_LOSSES,
    "ratio": [
        (lambda: gc.ratio(E.sum(), 2.0), np.array(0.0)),
        (lambda: gc.ratio(E.sum(), E.sum()), np.array(NAN)),
        (lambda: gc.ratio(3.0, 1.0), np.array(3.0)),
    ],
    "accuracy": [
        (lambda: gc.accuracy(E, NONE_OF), np.array(NAN)),
        (lambda: gc.accuracy(np.ones((2, 2)), [0, 0]), np.array(1.0)),
    ],
}
