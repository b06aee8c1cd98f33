"""Forward derivatives: Jacobian-vector products by double reverse, and what is built on them.

The product of the transposed Jacobian with a vector u is linear in u. Its own transpose is the
Jacobian-vector product: reverse accumulation over `vjp(y, wrt, u)` with respect to u. The value of
u plays no part (it is a zero), so what depends on u alone is dead afterwards.

    before   y = sin(x), tangent t
    vjp      dx = mul(u, cos(x))
    after    dy = mul(t, cos(x))

Cost. A reverse pass costs at most a small multiple of y. `jvp_nodes` adds one pass over a graph of
gradients whose own forward part is dead or shared with y; `hvp_nodes` is two passes. A Jacobian
has no batched form here: it makes one reverse pass for every element of y, so its graph has
size(y) times the nodes of y, all reading the same forward values. A Hessian makes one pass over
the gradient for every element of `wrt`. Both are meant for small problems; products with vectors
are not limited so.
Source: Townsend, "A new trick for calculating Jacobian vector products" (2017).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ShapeError
from ..graph.ir import Node
from ..ops.movement import reshape
from ..ops.slicing import concatenate, pad
from ..ops.source import constant, constant_like, zeros_like
from ..types import Shape, static_shape
from .reverse import check_same_type, require_scalar, vjp_many, vjp_nodes


def jvp_nodes(y: Node, wrt: Sequence[Node], tangents: Sequence[Node]) -> Node | None:
    """The derivative of y where each wrt[i] moves by tangents[i]; None if y depends on none.

    A node of `wrt` that depends on another moves with it, and by its own tangent besides.
    Raises ShapeError or DTypeError if a tangent is not of the type of its node.
    """
    for node, tangent in zip(wrt, tangents, strict=True):
        check_same_type("jvp", "input", node, "tangent", tangent)
    probe = zeros_like(y)
    pulled_back = vjp_nodes(y, wrt, probe)
    pairs = [(g, t) for g, t in zip(pulled_back, tangents, strict=True) if g is not None]
    return vjp_many(pairs, [probe])[0] if pairs else None


def hvp_nodes(y: Node, wrt: Sequence[Node], vectors: Sequence[Node]) -> list[Node | None]:
    """The Hessian of the scalar y times a vector, whose parts are `vectors`: reverse over reverse.

    None where no second derivative exists. Raises GradientError if y is not a scalar.
    """
    require_scalar(y, "hvp")
    for node, vector in zip(wrt, vectors, strict=True):
        check_same_type("hvp", "input", node, "vector", vector)
    gradients = vjp_nodes(y, wrt, constant_like(y, 1.0))
    pairs = [(g, v) for g, v in zip(gradients, vectors, strict=True) if g is not None]
    return vjp_many(pairs, wrt)


def jacobian_nodes(y: Node, wrt: Sequence[Node]) -> list[Node]:
    """d y / d wrt[i], of shape y.shape + wrt[i].shape; zeros where y does not depend on it.

    One reverse pass for every element of y, shared by all of `wrt`; see the module docstring.
    Raises ShapeError if y has a named dimension.
    """
    shape = _static(y, "jacobian")
    rows = [vjp_nodes(y, wrt, _one_hot(y, index)) for index in _indices(shape)]
    return [_stacked([row[i] for row in rows], shape, node) for i, node in enumerate(wrt)]


def hessian_nodes(y: Node, wrt: Sequence[Node]) -> list[list[Node]]:
    """Blocks [i][j] of second derivatives of the scalar y, of shape wrt[i].shape + wrt[j].shape.

    One reverse pass over the gradient for every element of every node of `wrt`: row e of block
    row i is the Hessian times the e-th unit vector of wrt[i]. Raises GradientError if y is not a
    scalar, ShapeError if a node of `wrt` has a named dimension.
    """
    require_scalar(y, "hessian")
    blocks: list[list[Node]] = []
    for gradient, node in zip(vjp_nodes(y, wrt, constant_like(y, 1.0)), wrt, strict=True):
        _static(node, "hessian")
        blocks.append(jacobian_nodes(zeros_like(node) if gradient is None else gradient, wrt))
    return blocks


def _static(node: Node, operation: str) -> tuple[int, ...]:
    try:
        return static_shape(node.type.shape)
    except ShapeError as error:
        raise error.located(operation, node.source) from None


def _indices(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every index of an array of this shape, in row-major order."""
    result: list[tuple[int, ...]] = [()]
    for extent in shape:
        result = [(*index, i) for index in result for i in range(extent)]
    return result


def _one_hot(like: Node, index: tuple[int, ...]) -> Node:
    """1 at `index`, 0 elsewhere: a padded single element, which is an index map when fused."""
    shape = static_shape(like.type.shape)
    one = constant(1.0, like.type.dtype, (1,) * len(shape))
    high = tuple(extent - 1 - i for extent, i in zip(shape, index, strict=True))
    return pad(one, constant(0.0, like.type.dtype), index, high, (0,) * len(shape))


def _stacked(rows: Sequence[Node | None], shape: tuple[int, ...], node: Node) -> Node:
    """The rows, each of the type of `node`, as one node of shape `shape` + its shape."""
    full: Shape = shape + node.type.shape
    if all(row is None for row in rows):
        return constant(0.0, node.type.dtype, full)
    zeros = zeros_like(node)
    as_rows = [reshape(zeros if r is None else r, (1, *node.type.shape)) for r in rows]
    return reshape(concatenate(*as_rows, axis=0), full)
