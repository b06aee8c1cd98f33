"""Loops and branches in the program: scan, map, while_loop, cond.

    carry, ys = gc.scan(step, carry, xs)
    y = gc.cond(predicate, then, otherwise, x)
    x = gc.while_loop(holds, body, x)

A Python loop over tensors is unrolled: a program as long as the loop. These are one operation each.
Their functions are called once, with tensors that stand for one iteration, and what they return is
compiled as a body (docs/regions.md). Carries, elements and results are tensors in any structure of
tuples, lists and dicts. Tensors from outside, weights for example, are read as in any function.
State that changes is a carry: gc.update in such a function is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.branch import COND
from gradc.compiler.ops.elementwise import add, mul
from gradc.compiler.ops.loop import WHILE
from gradc.compiler.ops.region import results
from gradc.compiler.ops.scan import SCAN, element_of
from gradc.compiler.ops.source import constant
from gradc.compiler.types import Extent, TensorType, bool_, int64

from . import nodes
from .arguments import flag
from .open_regions import called, current_region, open_region, region_argument
from .ranges import count
from .structure import Path, flatten
from .synonyms import spelled
from .tensor import Tensor, as_tensor
from .tracing import fail

__all__ = ["cond", "map", "scan", "while_loop"]

TRIPS_OF_A_WHILE = 2**20
"""Iterations of a while_loop after which random numbers in a loop around it come again."""


class Leaves(NamedTuple):
    """A structure taken apart."""

    paths: tuple[Path, ...]
    tensors: list[Tensor]
    rebuild: Callable[[Sequence[Any]], Any]

    @property
    def nodes(self) -> list[Node]:
        return [tensor.node for tensor in self.tensors]


def leaves_of(operation: str, structure: Any) -> Leaves:
    """The tensors in a structure; arrays and numbers become tensors."""
    found, rebuild = flatten(structure)
    for path, leaf in found:
        if callable(leaf) or isinstance(leaf, str):
            where = f" at {'.'.join(path)!r}" if path else ""
            fail(ArgumentError, operation, f"{described(leaf)}{where} is no tensor")
    return Leaves(tuple(p for p, _ in found), [as_tensor(leaf) for _, leaf in found], rebuild)


def declared_by(*parts: Sequence[Tensor]) -> frozenset[Node]:
    """The inputs that a program with the results takes."""
    return frozenset().union(*(tensor.declared for part in parts for tensor in part))


def tensors_of(found: Sequence[Node], declared: frozenset[Node]) -> list[Tensor]:
    return [Tensor(node, declared) for node in found]


@spelled
def scan(
    fn: Callable[..., Any], init: Any, xs: Any = None, length: Any = None, reverse: bool = False
) -> tuple[Any, Any]:
    """A loop over the leading axis of `xs`: (last carry, stacked ys).

        carry = init
        for t in range(length):                   from the last to the first if `reverse`
            carry, ys[t] = fn(carry, xs[t])

    fn      takes the carry and one element of xs; returns (carry, y), the carry of the structure,
            shapes and dtypes that it had, y of any structure, or None
    init    the first carry: a tensor, or tensors in tuples, lists and dicts
    xs      what is scanned, in such a structure too, all with one leading extent; None: nothing
    length  the number of iterations, needed where there is no xs

    ys has the structure of y, each tensor with a new leading axis. Random numbers differ from one
    iteration to the next. Derivatives exist in reverse and forward mode, of any order.
    Raises ShapeError or DTypeError if a carry changes its type, ArgumentError if it changes its
    structure.

    >>> def add(total, value):
    ...     return total + value, total + value
    >>> last, sums = gc.scan(add, gc.constant(0.0), gc.constant([1.0, 2.0, 3.0]))
    >>> gc.compile([last, sums])()
    [array(6., dtype=float32), array([1., 3., 6.], dtype=float32)]
    """
    return _scanned("scan", fn, init, xs, length, flag("reverse", reverse))


@spelled
def map(fn: Callable[..., Any], xs: Any) -> Any:
    """fn of every element along the leading axis of `xs`, stacked: a scan without a carry.

    fn  takes one element, in the structure of xs; returns tensors in any structure
    xs  a tensor, or tensors in tuples, lists and dicts, all with one leading extent

    >>> gc.compile(gc.map(lambda row: gc.sum(row), gc.constant([[1.0, 2.0], [3.0, 4.0]])))()
    array([3., 7.], dtype=float32)
    """
    scanned = leaves_of("map", xs)
    if not scanned.tensors:
        fail(ArgumentError, "map", "xs holds no tensor")

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        return carry, called("map", "fn", fn, x)

    return _scanned("map", step, None, xs, None, False)[1]


COUNTER = TensorType(int64, ())


def _scanned(
    operation: str, fn: Callable[..., Any], init: Any, xs: Any, length: Any, reverse: bool
) -> tuple[Any, Any]:
    """scan, in the name of the function that the user called."""
    carried, scanned = leaves_of(operation, init), leaves_of(operation, xs)
    extent = _length(operation, scanned, length)
    carries = len(carried.tensors)
    types = [t.node.type for t in carried.tensors] + [element_of(n.type) for n in scanned.nodes]
    inputs = [region_argument(operation, n, type) for n, type in enumerate((*types, COUNTER))]
    declared = declared_by(carried.tensors, scanned.tensors)
    with open_region(operation, inputs, iteration(inputs[-1], extent)) as opened:
        given = tensors_of(inputs[:-1], declared)
        first, element = carried.rebuild(given[:carries]), scanned.rebuild(given[carries:])
        after, made = _step(operation, called(operation, "fn", fn, first, element), carried)
    roots = [*(t.node for t in after), *made.nodes]
    scans = scanned.nodes
    if opened.reads(roots, inputs[-1]) or not scans:
        scans.append(nodes.iota((extent,), 0, int64))
    else:
        opened.inputs.pop()
    captured = opened.captures(roots)
    several = nodes.build(
        SCAN, *carried.nodes, *scans, *captured,
        body=opened.closed("body", roots, captured), carries=carries, xs=len(scans),
        reverse=reverse,
    )  # fmt: skip
    found = tensors_of(results(several), declared | declared_by(after, made.tensors))
    return carried.rebuild(found[:carries]), made.rebuild(found[carries:])


def iteration(counter: Node, length: Extent | None) -> Node:
    """The number of an iteration, of all loops around taken together.

    length   of the loop; None: it is not known
    """
    around = current_region()
    if around is None or around.counter is None:
        return counter
    trips: Node = constant(TRIPS_OF_A_WHILE, int64)
    if length is not None:
        trips = nodes.extent((length,), int64)
    return add(mul(around.counter, trips), counter)


def _step(operation: str, returned: Any, carried: Leaves) -> tuple[list[Tensor], Leaves]:
    """The carry and the y that the function of a scan returns."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        problem = f"the function returns {_kind(returned)}, not a pair (carry, y)"
        fail(ArgumentError, operation, problem)
    return _same_carry(operation, returned[0], carried), leaves_of(operation, returned[1])


def _kind(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _same_carry(operation: str, structure: Any, before: Leaves) -> list[Tensor]:
    """The tensors of a carry that a function returns; types and structure are as they were."""
    after = leaves_of(operation, structure)
    if after.paths != before.paths:
        facts = [f"it began with {_listed(before)}", f"the function returns {_listed(after)}"]
        fail(ArgumentError, operation, "the carry changes its structure", facts)
    for path, old, new in zip(after.paths, before.tensors, after.tensors, strict=True):
        if old.node.type != new.node.type:
            kind = ShapeError if old.node.type.shape != new.node.type.shape else DTypeError
            name = f" {'.'.join(path)!r}" if path else ""
            facts = [f"it began as {old.node.type}", f"the function returns {new.node.type}"]
            fail(kind, operation, f"the carry{name} changes its type", facts)
    return after.tensors


def _listed(leaves: Leaves) -> str:
    names = [".".join(path) or "one tensor" for path in leaves.paths]
    return ", ".join(names) or "nothing"


def _length(operation: str, scanned: Leaves, length: Any) -> Extent:
    """The number of iterations."""
    extents: dict[Extent, TensorType] = {}
    for tensor in scanned.tensors:
        if not tensor.ndim:
            fail(ShapeError, operation, f"xs holds {tensor.node.type}, which has no leading axis")
        extents.setdefault(tensor.node.type.shape[0], tensor.node.type)
    if len(extents) > 1:
        listed = " and ".join(str(type) for type in extents.values())
        fail(ShapeError, operation, f"xs differ in the leading extent: {listed}")
    own = next(iter(extents), None)
    if length is None:
        if own is None:
            hint = "say how many iterations there are: length=n"
            fail(ArgumentError, operation, "there is neither xs nor length", hint=hint)
        return own
    shape = nodes.check_shape(length, operation)
    if len(shape) != 1:
        fail(ArgumentError, operation, f"length is one extent, not {described(length)}")
    if own is not None and shape[0] != own:
        fail(ShapeError, operation, f"length is {shape[0]}, the leading extent of xs {own}")
    return shape[0]


@spelled
def while_loop(
    condition_fn: Callable[..., Any],
    body_fn: Callable[..., Any],
    init: Any,
    bound: int | None = None,
) -> Any:
    """The carry after a loop that runs while a condition on it holds.

        carry = init
        while condition_fn(carry):                     and fewer than `bound` times
            carry = body_fn(carry)

    condition_fn  takes the carry; returns one bool, a tensor without axes
    body_fn       takes the carry; returns it, of the structure, shapes and dtypes that it had
    init          the first carry: a tensor, or tensors in tuples, lists and dicts
    bound         the most iterations; needed for reverse mode, which saves the values of each

    Derivatives exist in forward mode, and with a bound in reverse mode: gc.grad without one raises
    GradientError.

    >>> far = lambda root: gc.abs(root * root - 2.0) > 1e-6
    >>> root = gc.while_loop(far, lambda root: (root + 2.0 / root) / 2, gc.constant(1.0))
    >>> gc.compile(root)()
    array(1.4142135, dtype=float32)
    """
    carried = leaves_of("while_loop", init)
    if not carried.tensors:
        fail(ArgumentError, "while_loop", "the carry holds no tensor, so that nothing can change")
    limit = {} if bound is None else {"bound": count(bound, "bound", "while_loop")}
    types = [t.node.type for t in carried.tensors]
    inputs = [region_argument("while_loop", n, t) for n, t in enumerate((*types, COUNTER))]
    counter = inputs[-1]
    given = carried.rebuild(tensors_of(inputs[:-1], declared_by(carried.tensors)))
    with open_region("while_loop", inputs, iteration(counter, None)) as judged:
        found = called("while_loop", "condition_fn", condition_fn, given)
        holds = _predicate("while_loop", found, "the condition")
    with open_region("while_loop", inputs, iteration(counter, None)) as opened:
        after = _same_carry("while_loop", called("while_loop", "body_fn", body_fn, given), carried)
        following = add(counter, constant(1, int64))
    roots, begin = [t.node for t in after], carried.nodes
    if opened.reads([*roots, holds.node], counter):
        roots.append(following)
        begin.append(nodes.constant(0, int64))
    else:
        opened.inputs.pop()
        judged.inputs.pop()
    captured = list(dict.fromkeys([*opened.captures(roots), *judged.captures([holds.node])]))
    several = nodes.build(
        WHILE, *begin, *captured,
        condition=judged.closed("condition", [holds.node], captured),
        body=opened.closed("body", roots, captured), carries=len(begin), **limit,
    )  # fmt: skip
    declared = declared_by(carried.tensors, after, [holds])
    return carried.rebuild(tensors_of(results(several), declared)[: len(after)])


def _predicate(operation: str, value: Any, what: str) -> Tensor:
    """One bool."""
    tensor = as_tensor(value)
    if tensor.node.type != TensorType(bool_, ()):
        kind = ShapeError if tensor.dtype.is_bool else DTypeError
        fail(kind, operation, f"{what} is {tensor.node.type}, not bool[]")
    return tensor


@spelled
def cond(
    predicate: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any
) -> Any:
    """`true_fn(*operands)` where the predicate is true when the program runs, else `false_fn`'s.

    predicate  one bool: a tensor without axes; for a choice per element see gc.where
    true_fn    takes the operands; returns tensors in any structure
    false_fn   the same; returns the structure, shapes and dtypes that true_fn does
    operands   tensors, or tensors in tuples, lists and dicts

    Only one of the two is computed; so in the gradient, which computes its values again.

    >>> x = gc.input("x", ())
    >>> y = gc.cond(x > 0, lambda v: gc.sqrt(v), lambda v: -v, x)
    >>> gc.compile(y)(x=9.0), gc.compile(y)(x=-2.0)
    (array(3., dtype=float32), array(2., dtype=float32))
    """
    chosen = _predicate("cond", predicate, "the predicate")
    taken = [leaves_of("cond", operand) for operand in operands]
    flat = [tensor for leaves in taken for tensor in leaves.tensors]
    inputs = [region_argument("cond", n, t.node.type) for n, t in enumerate(flat)]
    given = iter(tensors_of(inputs, declared_by(flat)))
    arguments = [leaves.rebuild([next(given) for _ in leaves.tensors]) for leaves in taken]
    with open_region("cond", inputs) as first:
        one = leaves_of("cond", called("cond", "true_fn", true_fn, *arguments))
    with open_region("cond", inputs) as second:
        other = leaves_of("cond", called("cond", "false_fn", false_fn, *arguments))
    _check_branches(one, other)
    captured = list(dict.fromkeys([*first.captures(one.nodes), *second.captures(other.nodes)]))
    several = nodes.build(
        COND, chosen.node, *(t.node for t in flat), *captured,
        then=first.closed("then", one.nodes, captured),
        otherwise=second.closed("otherwise", other.nodes, captured),
    )  # fmt: skip
    declared = declared_by([chosen], flat, one.tensors, other.tensors)
    return one.rebuild(tensors_of(results(several), declared))


def _check_branches(one: Leaves, other: Leaves) -> None:
    """Both give the same structure and types."""
    if not one.paths and not other.paths:
        fail(ArgumentError, "cond", "the functions return no tensor")
    if one.paths != other.paths:
        facts = [f"true_fn returns {_listed(one)}", f"false_fn returns {_listed(other)}"]
        fail(ArgumentError, "cond", "the functions return different structures", facts)
    for path, x, y in zip(one.paths, one.tensors, other.tensors, strict=True):
        if x.node.type != y.node.type:
            kind = ShapeError if x.node.type.shape != y.node.type.shape else DTypeError
            name = f" at {'.'.join(path)!r}" if path else ""
            facts = [f"true_fn returns {x.node.type}", f"false_fn returns {y.node.type}"]
            fail(kind, "cond", f"the results{name} differ in type", facts)
