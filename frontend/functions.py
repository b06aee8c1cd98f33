"""Functions made of functions: checkpoint, custom_gradient, vmap."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gradc.compiler.autodiff.batching import Value, batched_region, everywhere
from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.checkpoint import CHECKPOINT
from gradc.compiler.ops.custom_gradient import CUSTOM_GRADIENT
from gradc.compiler.ops.region import results
from gradc.compiler.ops.scan import element_of
from gradc.compiler.types import Extent, TensorType, int64

from . import nodes
from .loops import COUNTER, Leaves, declared_by, iteration, leaves_of, tensors_of
from .open_regions import called, open_region, region_argument
from .structure import flatten
from .synonyms import spelled
from .tensor import Tensor
from .tracing import fail, located

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["checkpoint", "custom_gradient", "vmap"]


@spelled
def checkpoint(fn: F) -> F:
    """The function, whose gradient computes its values again instead of keeping them.

        y = gc.checkpoint(block)(x)

    It saves the memory of what lies between the arguments and the results, for the price of
    computing that twice. Tensors among the arguments, in tuples, lists and dicts too, are what is
    kept; parameters that fn reads are in memory anyway. It returns tensors in any structure.
    In a scan it says that a step keeps its carry alone: gc.scan(gc.checkpoint(step), init, xs).

    >>> x = gc.input("x", (3,))
    >>> y = gc.checkpoint(lambda v: gc.sum(gc.exp(gc.sin(v))))(x)
    >>> gc.compile(gc.grad(y, x))(x=[0.0, 1.0, 2.0]).round(4)
    array([ 1.    ,  1.2534, -1.0331], dtype=float32)
    """
    _check_function("checkpoint", fn)

    @functools.wraps(fn)
    def run(*arguments: Any, **options: Any) -> Any:
        given = _Arguments("checkpoint", arguments, options)
        with open_region("checkpoint", given.inputs) as opened:
            positional, named = given.filled(tensors_of(given.inputs, given.declared))
            returned = called("checkpoint", "fn", functools.partial(fn, **named), *positional)
            made = leaves_of("checkpoint", returned)
        if not made.tensors:
            fail(ArgumentError, "checkpoint", "the function returns no tensor")
        captured = opened.captures(made.nodes)
        several = nodes.build(
            CHECKPOINT, *given.nodes, *captured, body=opened.closed("body", made.nodes, captured)
        )
        found = results(several)
        return made.rebuild(tensors_of(found, given.declared | declared_by(made.tensors)))

    return run  # type: ignore[return-value]


@spelled
def custom_gradient(fn: F) -> F:
    """A decorator: the function says its own gradient.

        @gc.custom_gradient
        def clipped(x):
            y = gc.clip(x, -1.0, 1.0)
            return y, lambda dy: dy          # as if nothing had been clipped

    fn returns (y, pullback). pullback takes dy, of y's structure, None in the place of what is no
    float; it returns the gradient of the argument, in its structure; of several arguments a tuple.
    None stands for a gradient of zero. Both are built of tensors, so that the result can be
    differentiated again: the second derivative is that of pullback. Gradients flow to the
    arguments alone, not to other tensors that fn reads.
    Raises ShapeError or DTypeError, when the function is called, if a gradient has not the type of
    its argument.

    >>> @gc.custom_gradient
    ... def through(x):
    ...     return gc.round(x), lambda dy: dy
    >>> x = gc.input("x", (2,))
    >>> gc.compile(gc.grad(gc.sum(through(x)), x))(x=[0.2, 0.7])
    array([1., 1.], dtype=float32)
    """
    _check_function("custom_gradient", fn)

    @functools.wraps(fn)
    def run(*arguments: Any, **options: Any) -> Any:
        given = _Arguments("custom_gradient", arguments, options)
        returned = called("custom_gradient", "fn", functools.partial(fn, **options), *arguments)
        if not isinstance(returned, tuple) or len(returned) != 2 or not callable(returned[1]):
            problem = f"the function returns {described(returned)}, not a pair (y, pullback)"
            fail(ArgumentError, "custom_gradient", problem)
        made = leaves_of("custom_gradient", returned[0])
        if not made.tensors:
            fail(ArgumentError, "custom_gradient", "the function returns no tensor")
        return _with_pullback(given, made, returned[1])

    return run  # type: ignore[return-value]


@spelled
def vmap(fn: F, axis: Any = 0) -> F:
    """The function, applied to every place along an axis of its arguments at once.

        norms = gc.vmap(lambda v: gc.sqrt((v * v).sum()))(rows)

    axis   of all tensors among the arguments, in tuples, lists and dicts too; or a tuple with one
           for each argument, in which None stands for an argument that is whole at every place

    fn sees tensors without the axis; what it returns gets it as the first axis. It computes what
    gc.map does, random numbers included, by operations with one more axis where there are such:
    compiler/autodiff/batching.py says of which operations. Tensors from outside are whole.
    Raises ShapeError where an argument has no such axis, or their extents differ.

    >>> def energy(w):
    ...     return gc.sum(w * w)
    >>> many = gc.vmap(energy)
    >>> gc.compile(many(gc.constant([[1.0, 2.0], [3.0, 4.0]])))()
    array([ 5., 25.], dtype=float32)
    """
    _check_function("vmap", fn)

    @functools.wraps(fn)
    def run(*arguments: Any, **options: Any) -> Any:
        given = _Arguments("vmap", arguments, options)
        operands, places = _places(given, axis)
        types = [element_of(v.node.type) if v.batched else v.node.type for v in operands]
        inputs = [region_argument("vmap", n, type) for n, type in enumerate((*types, COUNTER))]
        with open_region("vmap", inputs, iteration(inputs[-1], places)) as opened:
            positional, named = given.filled(tensors_of(inputs[:-1], given.declared))
            returned = called("vmap", "fn", functools.partial(fn, **named), *positional)
            made = leaves_of("vmap", returned)
        captured = opened.captures(made.nodes)
        body = opened.closed("body", made.nodes, captured)
        counted = Value(nodes.iota((places,), 0, int64), True)
        outer = [*operands, counted, *(Value(node, False) for node in captured)]
        with located("vmap"):
            found = batched_region(body, outer, places)
        spread = [nodes.with_line(everywhere(v, places), *(o.node for o in outer)) for v in found]
        return made.rebuild(tensors_of(spread, given.declared | declared_by(made.tensors)))

    return run  # type: ignore[return-value]


def _places(given: _Arguments, axis: Any) -> tuple[list[Value], Extent]:
    """The tensors among the arguments with the axis in front, and its extent."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,) * given.count
    if len(axes) != given.count:
        fail(ArgumentError, "vmap", f"{len(axes)} axes for {given.count} arguments")
    operands: list[Value] = []
    extents: dict[Extent, TensorType] = {}
    for node, argument in zip(given.nodes, given.argument_of, strict=True):
        own = None if argument is None else axes[argument]
        if own is None:
            operands.append(Value(node, False))
            continue
        at = nodes.axis_of(own, node.type.rank, "vmap")
        order = [at, *(a for a in range(node.type.rank) if a != at)]
        moved = nodes.transpose(node, order)
        extents.setdefault(moved.type.shape[0], node.type)
        operands.append(Value(moved, True))
    if len(extents) != 1:
        facts = [f"along {extent}: {type}" for extent, type in extents.items()]
        problem = "the extents along the axis differ" if extents else "no argument has the axis"
        fail(ShapeError, "vmap", problem, facts)
    return operands, next(iter(extents))


def _with_pullback(given: _Arguments, made: Leaves, pullback: Callable[..., Any]) -> Any:
    floats = [t for t in made.tensors if t.dtype.is_float]
    inputs = [region_argument("custom_gradient", n, t.node.type) for n, t in enumerate(floats)]
    cotangents = iter(tensors_of(inputs, frozenset()))
    dys = made.rebuild([next(cotangents) if t.dtype.is_float else None for t in made.tensors])
    with open_region("custom_gradient", inputs) as opened:
        returned = called("custom_gradient", "pullback", pullback, dys)
        found = given.gradients(returned)
    captured = opened.captures(found)
    several = nodes.build(
        CUSTOM_GRADIENT, *made.nodes, *given.wanted, *captured,
        pullback=opened.closed("pullback", found, captured),
        results=len(made.tensors), wrt=len(given.wanted),
    )  # fmt: skip
    return made.rebuild(tensors_of(results(several), given.declared | declared_by(made.tensors)))


def _check_function(operation: str, fn: Any) -> None:
    if not callable(fn):
        fail(ArgumentError, operation, f"fn is a function, not {described(fn)}")


class _Arguments:
    """The arguments of a call, with the tensors in them.

    nodes        of all tensors, in order
    argument_of  each of them, by its number: the positional argument that it is part of, or None
    wanted       of those that have a gradient
    inputs       of a region, one for each of `nodes`
    """

    def __init__(self, operation: str, positional: Sequence[Any], named: dict[str, Any]) -> None:
        self.operation, self.count = operation, len(positional)
        self._leaves, self._rebuild = flatten((tuple(positional), named))
        found = [(path, leaf) for path, leaf in self._leaves if isinstance(leaf, Tensor)]
        tensors = [leaf for _, leaf in found]
        self.argument_of = [int(path[1]) if path[0] == "0" else None for path, _ in found]
        self.nodes = [tensor.node for tensor in tensors]
        self.wanted = [node for node in self.nodes if node.type.dtype.is_float]
        self.declared = declared_by(tensors)
        self.inputs: list[Node] = [
            region_argument(operation, n, node.type) for n, node in enumerate(self.nodes)
        ]

    def filled(self, tensors: Sequence[Tensor]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with other tensors in them."""
        fresh = iter(tensors)
        leaves = [next(fresh) if isinstance(leaf, Tensor) else leaf for _, leaf in self._leaves]
        positional, named = self._rebuild(leaves)
        return positional, named

    def gradients(self, returned: Any) -> list[Node]:
        """What a pullback returns, as a node for each of `wanted`."""
        structure = (returned,) if self.count == 1 else returned
        if not isinstance(structure, tuple) or len(structure) != self.count:
            problem = f"pullback returns {described(returned)}, not {self.count} gradients"
            fail(ArgumentError, self.operation, problem)
        found: list[Node] = []
        for place, (path, leaf) in enumerate(self._leaves):
            if isinstance(leaf, Tensor) and leaf.dtype.is_float:
                found.append(self._gradient(_at(structure, path), leaf, place))
        return found

    def _gradient(self, dx: Any, x: Tensor, place: int) -> Node:
        if dx is None:
            return nodes.constant(0, x.dtype, x.node.type.shape)
        leaves = leaves_of(self.operation, dx)
        if leaves.paths != ((),):
            problem = f"pullback gives {described(dx)} for argument {place}, no tensor"
            fail(ArgumentError, self.operation, problem)
        (tensor,) = leaves.tensors
        if tensor.node.type != x.node.type:
            kind = ShapeError if tensor.node.type.shape != x.node.type.shape else DTypeError
            facts = [f"argument {place} is {x.node.type}", f"its gradient {tensor.node.type}"]
            fail(kind, self.operation, "pullback gives a gradient of another type", facts)
        return tensor.node


def _at(structure: tuple[Any, ...], path: Sequence[str]) -> Any:
    """The part of a structure that lies where an argument's leaf does; None where it has none.

    path   begins with "0", for the positional arguments; named ones ("1") have no gradient
    """
    kind, *rest = path
    found: Any = structure if kind == "0" else None
    for step in rest:
        if isinstance(found, (list, tuple)):
            found = found[int(step)] if int(step) < len(found) else None
        elif isinstance(found, dict):
            found = {str(key): value for key, value in found.items()}.get(step)
    return found
