"""Rows for frontend/functional/parts.py, scatter.py and the matrices of matrices.py."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from function_rows import Row

_RNG = np.random.default_rng(43)
X = _RNG.uniform(-1, 1, (3, 4))
Y = _RNG.uniform(-1, 1, (3, 4))
CUBE = _RNG.uniform(-1, 1, (2, 3, 4))
V, W = X[0], Y[1, :3]
Z, S = np.zeros((0,)), np.array(0.7)
E = np.zeros((0, 3))
PLACES = np.array([[2, 0, 1, 1], [-1, 2, 0, 1]])
NONE = np.zeros((0, 4), int)


def _block_diag(*tensors: Any) -> Any:
    blocks = [np.atleast_2d(t) for t in tensors]
    result = np.zeros((sum(b.shape[0] for b in blocks), sum(b.shape[1] for b in blocks)))
    row = column = 0
    for block in blocks:
        result[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return result


def _diag_embed(x: Any, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Any:
    rows = np.array([np.diag(row, offset) for row in x.reshape(-1, x.shape[-1])])
    return np.moveaxis(rows.reshape(*x.shape[:-1], *rows.shape[-2:]), (-2, -1), (axis1, axis2))


def _on_diagonal(x: Any, src: Any, offset: int) -> Any:
    result = x.copy()
    for place in range(src.shape[-1]):
        result[..., place - min(offset, 0), place + max(offset, 0)] = src[..., place]
    return result


def _slices(x: Any, axis: int, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return (*(slice(None),) * axis, slice(start, end, step))


def _slice_scatter(
    x: Any, src: Any, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    result = x.copy()
    result[_slices(x, axis, start, end, step)] = src
    return result


def _select_scatter(x: Any, src: Any, axis: int, index: int) -> Any:
    result = np.moveaxis(x.copy(), axis, 0)
    result[index] = src
    return np.moveaxis(result, 0, axis)


def _gather(x: Any, axis: int, index: Any) -> Any:
    cut = x[tuple(slice(None) if a == axis else slice(0, n) for a, n in enumerate(index.shape))]
    return np.take_along_axis(cut, index, axis)


def _reduced(reduce: str, old: Any, new: Any, count: int, include_self: bool) -> Any:
    """One element: old, and one more of those brought to it."""
    start = count == 0 and not include_self
    if reduce == "amax":
        return new if start else max(old, new)
    if reduce == "amin":
        return new if start else min(old, new)
    if reduce == "prod":
        return new if start else old * new
    return new if start else old + new


def _scatter(
    x: Any, axis: int, index: Any, src: Any, reduce: str = "", include_self: bool = True
) -> Any:
    result, counts = x.copy(), np.zeros(x.shape, int)
    src = np.broadcast_to(src, index.shape) if np.ndim(src) == 0 else src
    for place in np.ndindex(*index.shape):
        where = list(place)
        where[axis] = index[place]
        at = tuple(where)
        if not reduce:
            result[at] = src[place]
            continue
        at = tuple(w % n for w, n in zip(at, x.shape, strict=True))
        result[at] = _reduced(reduce, result[at], src[place], counts[at], include_self)
        counts[at] += 1
    if reduce == "mean":
        result = result / np.maximum(counts + include_self, 1)
    return result


def _index_update(update: Any) -> Any:
    def call(x: Any, axis: int, index: Any, src: Any, *rest: Any, **options: Any) -> Any:
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
        wide = np.broadcast_to(index.reshape(shape), src.shape)
        return update(x, axis, wide, src, *rest, **options)

    return call


def _index_fill(x: Any, axis: int, index: Any, value: Any) -> Any:
    result = np.moveaxis(x.copy(), axis, 0)
    result[index] = value
    return np.moveaxis(result, 0, axis)


def _put(x: Any, index: Any, src: Any, accumulate: bool = False) -> Any:
    result = x.copy().reshape(-1)
    if accumulate:
        np.add.at(result, index.reshape(-1), np.asarray(src).reshape(-1))
    else:
        result[index.reshape(-1)] = np.asarray(src).reshape(-1)
    return result.reshape(x.shape)


def _index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    result = x.copy()
    if accumulate:
        np.add.at(result, tuple(indices), values)
    else:
        result[tuple(indices)] = values
    return result


def _masked_scatter(x: Any, mask: Any, src: Any) -> Any:
    result = np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape)).copy()
    wide = np.broadcast_to(mask, result.shape)
    result[wide] = src.reshape(-1)[: wide.sum()]
    return result


def _chosen(x: Any, r: int = 2, with_replacement: bool = False) -> Any:
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    return np.array(list(choose(x, r))).reshape(-1, r)


def _product(*tensors: Any) -> Any:
    return np.array(list(itertools.product(*tensors))) if len(tensors) > 1 else tensors[0]


def _joined(name: str) -> Any:
    return lambda arrays: getattr(np, name)(arrays)


PARTS: dict[str, Row] = {
    "chunk": Row(
        {"x": X, "chunks": 3, "axis": 1},
        lambda x, chunks, axis=0: np.split(x, range(-(-x.shape[axis] // chunks), x.shape[axis],
                                                    -(-x.shape[axis] // chunks)), axis),
        "same", "linear", ({"x": X, "chunks": 1}, {"x": V, "chunks": 9}),
    ),
    **{
        name: Row(
            {"x": X, "indices_or_sections": 3, "axis": 1},
            lambda x, indices_or_sections, axis=0: np.array_split(x, indices_or_sections, axis),
            "same", "linear",
            ({"x": Z, "indices_or_sections": 2}, {"x": X, "indices_or_sections": 1},
             {"x": V, "indices_or_sections": [1, 1, 3]}, {"x": V, "indices_or_sections": [-1, 9]}),
        )
        for name in ("tensor_split", "array_split")
    },
    "hsplit": Row(
        {"x": X, "indices_or_sections": 2}, np.hsplit, "same", "linear",
        ({"x": V, "indices_or_sections": 2}, {"x": X, "indices_or_sections": [1]}),
    ),
    "vsplit": Row(
        {"x": X, "indices_or_sections": [1]}, np.vsplit, "same", "linear",
        ({"x": X, "indices_or_sections": 3},),
    ),
    "dsplit": Row(
        {"x": CUBE, "indices_or_sections": 2}, np.dsplit, "same", "linear",
        ({"x": CUBE, "indices_or_sections": [3]},),
    ),
    "split_with_sizes": Row(
        {"x": X, "sizes": [1, 3], "axis": 1},
        lambda x, sizes, axis=0: np.split(x, np.cumsum(sizes)[:-1], axis),
        "same", "linear", ({"x": Z, "sizes": [0]},),
    ),
    "select": Row(
        {"x": X, "axis": 1, "index": -2}, lambda x, axis, index: np.take(x, index, axis),
        "same", "linear", ({"x": V, "axis": 0, "index": 1}, {"x": E, "axis": 1, "index": 0}),
    ),
    "narrow": Row(
        {"x": X, "axis": 1, "start": -3, "length": 2},
        lambda x, axis, start, length: np.take(x, np.arange(start, start + length), axis),
        "same", "linear", ({"x": X, "axis": 0, "start": 3, "length": 0},),
    ),
    "select_scatter": Row(
        {"x": X, "src": Y[0], "axis": 0, "index": -2}, _select_scatter, "same", "linear",
        ({"x": X, "src": Y[:, 0], "axis": 1, "index": 3},),
    ),
    "slice_scatter": Row(
        {"x": X, "src": Y[:, :2], "axis": 1, "start": 1, "end": 4, "step": 2}, _slice_scatter,
        "same", "linear", ({"x": X, "src": Y[:0], "start": 2, "end": 1}, {"x": X, "src": Y},
                           {"x": X, "src": Y[1:], "start": -2}),
    ),
    **{
        name: Row(
            {"*": [X]}, getattr(np, name), "same", "linear",
            ({"*": [S]}, {"*": [V]}, {"*": [Z]}, {"*": [CUBE]}, {"*": [S, V]}),
        )
        for name in ("atleast_1d", "atleast_2d", "atleast_3d")
    },
    **{
        name: Row(
            {"arrays": [X, Y]}, _joined(name), "same", "linear",
            ({"arrays": [V]}, {"arrays": [V, Z]} if name == "hstack" else {"arrays": [V, V]},
             {"arrays": [S, S]}),
        )
        for name in ("hstack", "vstack", "dstack", "column_stack")
    },
    "fliplr": Row({"x": X}, np.fliplr, "same", "linear", ({"x": E}, {"x": CUBE})),
    "flipud": Row({"x": X}, np.flipud, "same", "linear", ({"x": E}, {"x": V})),
    "rot90": Row(
        {"x": X, "k": 1, "axes": (0, 1)}, np.rot90, "same", "linear",
        ({"x": E}, {"x": X, "k": 2}, {"x": X, "k": 3}, {"x": X, "k": -8},
         {"x": CUBE, "k": -1, "axes": (2, 0)}),
    ),
    "cartesian_prod": Row(
        {"*": [V, W]}, _product, "same", "linear", ({"*": [V]}, {"*": [V, W, V[:2]]}),
    ),
    "combinations": Row(
        {"x": V, "r": 2}, _chosen, "same", "linear",
        ({"x": V, "r": 3, "with_replacement": True}, {"x": V, "r": 5}, {"x": V[:1], "r": 1}),
    ),
    "unravel_index": Row(
        {"indices": np.array([0, 5, 11]), "shape": (3, 4)}, np.unravel_index, "", "none",
        ({"indices": np.array([[7], [3]]), "shape": (2, 2, 2)},
         {"indices": np.zeros(0, int), "shape": 3}),
    ),
}  # fmt: skip

MATRICES: dict[str, Row] = {
    "diag": Row(
        {"x": V, "k": -1}, np.diag, "same", "linear", ({"x": X, "k": 1}, {"x": Z}, {"x": E}),
    ),
    "diagflat": Row({"x": X, "k": 1}, np.diagflat, "same", "linear", ({"x": S}, {"x": Z})),
    "diag_embed": Row(
        {"x": X, "offset": 1, "axis1": 0, "axis2": 2}, _diag_embed, "same", "linear",
        ({"x": X, "offset": -2}, {"x": V}),
    ),
    "diagonal_scatter": Row(
        {"x": CUBE[:, :2], "src": Y[:2, :2].T, "offset": -1, "axis1": 2, "axis2": 1},
        lambda x, src, offset=0, axis1=0, axis2=1: np.moveaxis(
            _on_diagonal(np.moveaxis(x, (axis1, axis2), (-2, -1)), src, offset), (-2, -1),
            (axis1, axis2)),
        "same", "linear", ({"x": X, "src": Y[0, :3]}, {"x": X, "src": Y[0, :3], "offset": 1}),
    ),
    "block_diag": Row(
        {"*": [X, V, Y[:2]]}, _block_diag, "same", "linear",
        ({"*": [S]}, {"*": [X, np.zeros((0, 2))]}),
    ),
    "vander": Row(
        {"x": V, "N": 3, "increasing": True}, np.vander, "number or bool", "smooth",
        ({"x": V}, {"x": V, "N": 0}, {"x": Z}, {"x": V, "N": 1}),
    ),
    "tril_indices": Row(
        {"row": 3, "col": 4, "offset": 1},
        lambda row, col, offset=0: np.array(np.tril_indices(row, offset, col)), "", "none",
        ({"row": 0, "col": 2}, {"row": 2, "col": 2, "offset": -5}),
    ),
    "triu_indices": Row(
        {"row": 3, "col": 4, "offset": -1},
        lambda row, col, offset=0: np.array(np.triu_indices(row, offset, col)), "", "none",
        ({"row": 2, "col": 0}, {"row": 2, "col": 2, "offset": 5}),
    ),
    "cov": Row(
        {"x": X, "correction": 0}, lambda x, correction=1, fweights=None, aweights=None: np.cov(
            x, ddof=correction, fweights=fweights, aweights=aweights),
        "floating", "smooth",
        ({"x": V}, {"x": X, "fweights": np.array([1, 2, 1, 3])},
         {"x": X, "aweights": np.array([0.5, 2, 1, 3])},
         {"x": X, "aweights": np.array([0.5, 2, 1, 3]), "fweights": np.array([1, 2, 1, 3])}),
    ),
    "corrcoef": Row({"x": X}, np.corrcoef, "floating", "smooth", ({"x": V},)),
}  # fmt: skip


_REDUCE = {"x": X, "axis": 0, "index": PLACES, "src": Y[:2]}

UPDATES: dict[str, Row] = {
    "gather": Row(
        {"x": X, "axis": 0, "index": PLACES[:, :3]}, _gather, "same", "linear",
        ({"x": X, "axis": 1, "index": np.array([[3, -1], [0, 0]])},
         {"x": V, "axis": 0, "index": np.zeros(0, int)}),
    ),
    "index_select": Row(
        {"x": X, "axis": 1, "index": np.array([3, 0, 3])},
        lambda x, axis, index: np.take(x, np.atleast_1d(index), axis), "same", "linear",
        ({"x": X, "axis": 0, "index": np.array(1)}, {"x": X, "axis": 0, "index": NONE[:, 0]}),
    ),
    "take_along_dim": Row(
        {"x": X, "indices": PLACES, "axis": 0},
        lambda x, indices, axis=None: np.take_along_axis(x, indices, axis) if axis is not None
        else x.reshape(-1)[indices.reshape(-1)],
        "same", "linear", ({"x": X, "indices": np.array([[11, 0]])},),
    ),
    "scatter": Row(
        {"x": X, "axis": 0, "index": PLACES, "src": Y[:2]}, _scatter, "same", "linear",
        ({"x": X, "axis": 1, "index": np.array([[2, 2, 1]]), "src": Y},
         {"x": X, "axis": 0, "index": PLACES, "src": 5.0},
         {"x": X, "axis": 0, "index": NONE, "src": Y}),
    ),
    "scatter_reduce": Row(
        {**_REDUCE, "reduce": "sum"}, _scatter, "number", "linear",
        tuple({**_REDUCE, "reduce": reduce, "include_self": own}
              for reduce in ("sum", "prod", "mean", "amax", "amin") for own in (True, False)),
    ),
    "index_copy": Row(
        {"x": X, "axis": 1, "index": np.array([3, 0]), "src": Y[:, :2]}, _index_update(_scatter),
        "same", "linear", ({"x": X, "axis": 0, "index": NONE[:, 0], "src": Y[:0]},),
    ),
    "index_fill": Row(
        {"x": X, "axis": 1, "index": np.array([3, 0]), "value": 0}, _index_fill, "same", "linear",
        ({"x": X, "axis": 0, "index": NONE[:, 0], "value": 1.0},),
    ),
    "index_reduce": Row(
        {"x": X, "axis": 0, "index": np.array([2, 0, 2]), "src": Y, "reduce": "prod"},
        _index_update(_scatter), "number", "smooth",
        tuple({"x": X, "axis": 1, "index": np.array([2, 2]), "src": Y[:, :2], "reduce": reduce}
              for reduce in ("mean", "amax", "amin")),
    ),
    "index_put": Row(
        {"x": X, "indices": [np.array([2, 0]), np.array([-1, 1])], "values": Y[0, :2]}, _index_put,
        "same", "linear",
        ({"x": X, "indices": [np.array([1, 1])], "values": Y[:2], "accumulate": True},
         {"x": X, "indices": [X > 0], "values": 9.0}),
    ),
    "put": Row(
        {"x": X, "index": np.array([[11, 0], [3, -5]]), "src": Y[0]}, _put, "same", "linear",
        ({"x": X, "index": np.array([1, 1]), "src": Y[0, :2], "accumulate": True},
         {"x": X, "index": NONE, "src": Z}),
    ),
    "masked_fill": Row(
        {"x": X, "mask": Y > 0, "value": 0}, lambda x, mask, value: np.where(mask, value, x),
        "same", "linear", ({"x": Z, "mask": Z > 0, "value": 1},),
    ),
    "masked_scatter": Row(
        {"x": X, "mask": Y > 0, "src": Y.T}, _masked_scatter, "same", "linear",
        ({"x": V, "mask": Y > 0, "src": X}, {"x": X, "mask": X > 5, "src": Z}),
    ),
}  # fmt: skip

ROWS = PARTS | MATRICES | UPDATES
