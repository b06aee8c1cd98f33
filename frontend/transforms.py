"""Derivatives of tensors with respect to tensors. The results are tensors like any other: they can
be differentiated again, and compile into the same program.

`wrt` is a tensor, or a list, tuple or dict of tensors; the result has the same structure. What `y`
does not read has derivative zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.compiler.autodiff.forward import (
    hessian_nodes,
    hvp_nodes,
    jacobian_nodes,
    jvp_nodes,
)
from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.errors import DTypeError, GradientError, ShapeError
from gradc.compiler.graph.ir import Node, topological
from gradc.compiler.ops.loop import refuse_pullbacks
from gradc.compiler.ops.source import INPUT

from . import nodes
from .open_regions import RegionInput
from .structure import flatten
from .synonyms import spelled
from .tensor import Tensor, as_tensor
from .tracing import fail, located


@spelled
def grad(y: Tensor, wrt: Any) -> Any:
    """The gradient of the scalar y: for every tensor of `wrt` a tensor of its shape.

    Raises GradientError if y is not a floating-point scalar.

    >>> x = gc.input("x", (2,))
    >>> y = gc.sum(x**3)
    >>> gc.compile(gc.grad(y, x))(x=[1.0, 2.0])
    array([ 3., 12.], dtype=float32)
    >>> (slope,) = gc.grad(y, [x])
    >>> gc.compile(gc.grad(gc.sum(slope), x))(x=[1.0, 2.0])
    array([ 6., 12.], dtype=float32)
    """
    tensors, rebuild = _tensors(wrt, "grad")
    _require_scalar(y, "grad")
    found = _reverse(y, tensors, nodes.constant(1.0, y.dtype), "grad")
    return rebuild(_results(found, tensors, [y, *tensors]))


@spelled
def vjp(y: Tensor, wrt: Any, cotangent: Any) -> Any:
    """The product of `cotangent`, which has y's shape, with the Jacobian of y.

    >>> x = gc.input("x", (2,))
    >>> gc.compile(gc.vjp(x * x, x, [1.0, 10.0]))(x=[3.0, 4.0])
    array([ 6., 80.], dtype=float32)
    """
    tensors, rebuild = _tensors(wrt, "vjp")
    _require_float(y, "vjp")
    seed = _fitted(cotangent, y, "vjp", "cotangent")
    found = _reverse(y, tensors, seed.node, "vjp")
    return rebuild(_results(found, tensors, [y, seed, *tensors]))


@spelled
def jvp(y: Tensor, wrt: Any, tangent: Any) -> Tensor:
    """The derivative of y where every tensor of `wrt` moves along its tangent; y's shape.

    >>> x = gc.input("x", (2,))
    >>> gc.compile(gc.jvp(x * x, x, gc.constant([1.0, 0.0])))(x=[3.0, 4.0])
    array([6., 0.], dtype=float32)
    """
    tensors, _ = _tensors(wrt, "jvp")
    _require_float(y, "jvp")
    tangents = _matching(tangent, tensors, "jvp", "tangent")
    with located("jvp"):
        found = jvp_nodes(y.node, [t.node for t in tensors], [t.node for t in tangents])
    _whole([found], "jvp")
    return _results([found], [y], [y, *tensors, *tangents])[0]


@spelled
def hvp(y: Tensor, wrt: Any, vector: Any) -> Any:
    """The Hessian of the scalar y times a vector, which has the structure and shapes of `wrt`.

    >>> x = gc.input("x", (2,))
    >>> gc.compile(gc.hvp(x[0] * x[1] ** 2, x, gc.constant([1.0, 0.0])))(x=[1.0, 2.0])
    array([0., 4.], dtype=float32)
    """
    tensors, rebuild = _tensors(wrt, "hvp")
    _require_scalar(y, "hvp")
    vectors = _matching(vector, tensors, "hvp", "vector")
    with located("hvp"):
        found = hvp_nodes(y.node, [t.node for t in tensors], [v.node for v in vectors])
    _whole(found, "hvp")
    return rebuild(_results(found, tensors, [y, *tensors, *vectors]))


@spelled
def jacobian(y: Tensor, wrt: Any) -> Any:
    """d y / d x for every x of `wrt`, of shape y.shape + x.shape. One reverse pass per element
    of y: meant for few outputs.

    >>> x = gc.input("x", (2,))
    >>> gc.compile(gc.jacobian(gc.stack([x[0] * x[1], x[0]]), x))(x=[3.0, 4.0])
    array([[4., 3.],
           [1., 0.]], dtype=float32)
    """
    tensors, rebuild = _tensors(wrt, "jacobian")
    _require_float(y, "jacobian")
    with located("jacobian"):
        found = jacobian_nodes(y.node, [t.node for t in tensors])
    _whole(found, "jacobian")
    return rebuild([_carrying(node, [y, *tensors]) for node in found])


@spelled
def hessian(y: Tensor, wrt: Any) -> Any:
    """Second derivatives of the scalar y. For one tensor x: shape x.shape + x.shape.

    For a structure: the structure, each leaf x replaced by the structure of d2 y / (dx dz) over
    all z, each of shape x.shape + z.shape.

    >>> x = gc.input("x", (2,))
    >>> gc.compile(gc.hessian(x[0] * x[1] ** 2, x))(x=[1.0, 2.0])
    array([[0., 4.],
           [4., 2.]], dtype=float32)
    """
    tensors, rebuild = _tensors(wrt, "hessian")
    _require_scalar(y, "hessian")
    with located("hessian"):
        found = hessian_nodes(y.node, [t.node for t in tensors])
    for row in found:
        _whole(row, "hessian")
    carried = [[_carrying(node, [y, *tensors]) for node in row] for row in found]
    return rebuild([rebuild(row) for row in carried])


def _tensors(wrt: Any, operation: str) -> tuple[list[Tensor], Any]:
    """The leaves of `wrt`, each a floating-point tensor, and the rebuilding function."""
    leaves, rebuild = flatten(wrt)
    for _, leaf in leaves:
        if not isinstance(leaf, Tensor):
            fail(GradientError, operation, f"wrt holds a {type(leaf).__name__}, not a tensor")
        if not leaf.dtype.is_float:
            problem = f"there is no derivative with respect to {leaf.node.type}"
            fail(GradientError, operation, problem, ["wrt is floating point"])
    return [leaf for _, leaf in leaves], rebuild


def _require_float(y: Any, operation: str) -> None:
    if not isinstance(y, Tensor):
        fail(GradientError, operation, f"y is a {type(y).__name__}, not a tensor")
    if not y.dtype.is_float:
        fail(GradientError, operation, f"y is {y.node.type}, not floating point")


def _require_scalar(y: Any, operation: str) -> None:
    _require_float(y, operation)
    if y.ndim:
        fail(
            GradientError,
            operation,
            f"y is {y.node.type}, not a scalar",
            hint="reduce y to a scalar, or use gc.vjp(y, wrt, cotangent)",
        )


def _fitted(value: Any, like: Tensor, operation: str, what: str) -> Tensor:
    """`value` as a tensor of like's shape and dtype."""
    tensor = as_tensor(value)
    facts = [f"{what} is {tensor.node.type}, it goes with {like.node.type}"]
    if tensor.ndim == 0 and not isinstance(value, Tensor):
        tensor = tensor.broadcast_to(like.shape)
    if tensor.shape != like.shape:
        fail(ShapeError, operation, f"the {what}'s shape does not fit", facts)
    if not tensor.dtype.is_float and isinstance(value, Tensor):
        fail(DTypeError, operation, f"the {what} is not floating point", facts)
    return tensor.astype(like.dtype)


def _matching(structure: Any, tensors: Sequence[Tensor], operation: str, what: str) -> list[Tensor]:
    """The leaves of `structure`, one per tensor; an array is a leaf."""
    single = len(tensors) == 1 and not isinstance(structure, (list, tuple, dict))
    leaves = [structure] if single else [leaf for _, leaf in flatten(structure)[0]]
    if len(leaves) != len(tensors):
        problem = f"{len(leaves)} {what}s for {len(tensors)} tensors of wrt"
        fail(GradientError, operation, problem)
    return [_fitted(x, t, operation, what) for x, t in zip(leaves, tensors, strict=True)]


def _reverse(
    y: Tensor, tensors: Sequence[Tensor], cotangent: Node, operation: str
) -> list[Node | None]:
    with located(operation):
        found = vjp_nodes(y.node, [t.node for t in tensors], cotangent)
    _whole(found, operation)
    return found


def _whole(found: Sequence[Node | None], operation: str) -> None:
    """Raise GradientError where the reverse of a loop without a bound would be needed."""
    with located(operation):
        refuse_pullbacks([node for node in found if node is not None], operation)


def _results(
    found: Sequence[Node | None], like: Sequence[Tensor], sources: Sequence[Tensor]
) -> list[Tensor]:
    """Tensors of the nodes found; zeros for None."""
    zeros = [nodes.constant(0, t.dtype, t.shape) for t in like]
    filled = [z if n is None else n for n, z in zip(found, zeros, strict=True)]
    declared = _inputs_read(sources)
    return [Tensor(node, declared) for node in filled]


def _carrying(node: Node, sources: Sequence[Tensor]) -> Tensor:
    return Tensor(node, _inputs_read(sources))


def _inputs_read(tensors: Sequence[Tensor]) -> frozenset[Node]:
    """The inputs of a function: its derivative takes them too, where it is constant as well."""
    found = topological([t.node for t in tensors])
    read = [n for n in found if n.op is INPUT and not isinstance(n, RegionInput)]
    return frozenset(read).union(*(t.declared for t in tensors))
