"""Regions while they are traced: a user's function becomes the body of a loop or a branch.

    with open_region("scan", inputs, counter) as region:
        results = fn(*region.tensors)
    captures = region.captures(results)        what the function reads of outside
    graph = region.closed(results, captures)   the body

In: a Python function, called once with tensors that stand for its arguments. Out: a graph over
those, and as further inputs the *captures*: tensors from outside that the function reads, weights
for example. What the function makes belongs to the body, whatever it depends on: `nodes.build`
tells the region that is open. This is the one place where what is open is not handed on as an
argument, because between here and there lies the user's own code.

Random numbers differ from iteration to iteration: `counter` is the number of the iteration, loops
around included, and `gc.random` draws by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

from gradc.compiler.errors import ArgumentError, GradcError, described
from gradc.compiler.graph.ir import Graph, Node, topological
from gradc.compiler.ops.definition import InMemory, MustBeSettled
from gradc.compiler.ops.region import rebuilt, region, region_input
from gradc.compiler.ops.source import INPUT
from gradc.compiler.types import TensorType

from .tracing import fail, here


class RegionInput(Node):
    """An input of a region that a user's function sees: only the results of the function lead out.

    operation   whose function it is
    """

    __slots__ = ("operation",)

    operation: str


def region_argument(operation: str, number: int, type: TensorType) -> RegionInput:
    """Argument `number` of the function that `operation` was given."""
    attributes: dict[str, Any] = {
        "name": f"{operation}.{number}",
        "shape": type.shape,
        "dtype": type.dtype,
    }
    node = RegionInput(INPUT, (), attributes, type, here())
    object.__setattr__(node, "operation", operation)
    return node


class OpenRegion:
    """A region of which nodes are being made.

    inputs    of the region
    counter   the number of the iteration, a node; None outside of loops
    """

    def __init__(self, operation: str, inputs: Sequence[Node], counter: Node | None) -> None:
        self.operation = operation
        self.inputs = list(inputs)
        self.counter = counter
        self._made: set[Node] = set()

    def note(self, node: Node) -> None:
        """A node was made. One that is in memory, or is settled later, belongs to no region."""
        if not isinstance(node.op.lowering, InMemory | MustBeSettled):
            self._made.add(node)

    def reads(self, roots: Sequence[Node], node: Node) -> bool:
        """Whether one of the roots depends on the node."""
        return node in set(topological(roots))

    def captures(self, roots: Sequence[Node]) -> list[Node]:
        """What the region reads of outside for these results, each once, in order."""
        inside = self._inside(roots)
        found = dict.fromkeys(root for root in roots if root not in inside)
        for node in topological(roots):
            if node in inside:
                found.update((i, None) for i in node.inputs if i not in inside)
        return list(found)

    def _inside(self, roots: Sequence[Node]) -> set[Node]:
        """Nodes of the region: its inputs, what the function made, and what the compiler made of
        either, or of nothing but constants.

        What reads a constant beside a tensor from outside is outside: if it counted as the
        region's, all that lies before would be copied into each region, and in regions behind
        others twice as often each time.
        """
        inside, constants = set(self.inputs), set[Node]()
        for node in topological(roots):
            if node in self._made or any(i in inside for i in node.inputs):
                inside.add(node)
            elif isinstance(node.op.lowering, InMemory | MustBeSettled):
                continue
            elif all(i in constants for i in node.inputs):
                constants.add(node)
        return inside | constants

    def closed(self, name: str, results: Sequence[Node], captures: Sequence[Node]) -> Graph:
        """The region: from the inputs and the captures to the results."""
        given = [*self.inputs, *captures]
        inner = [region_input("v", number, node.type) for number, node in enumerate(given)]
        replaced = dict(zip(given, inner, strict=True))
        return region(name, inner, rebuilt(results, replaced))


_OPEN: ContextVar[OpenRegion | None] = ContextVar("open_region", default=None)


def current_region() -> OpenRegion | None:
    """The innermost region that is being traced."""
    return _OPEN.get()


@contextmanager
def open_region(
    operation: str, inputs: Sequence[Node], counter: Node | None = None
) -> Iterator[OpenRegion]:
    """Trace a region with these inputs; without a counter of its own it has that around it."""
    around = _OPEN.get()
    if counter is None and around is not None:
        counter = around.counter
    token = _OPEN.set(OpenRegion(operation, inputs, counter))
    try:
        opened = _OPEN.get()
        assert opened is not None
        yield opened
    finally:
        _OPEN.reset(token)


def called(operation: str, name: str, function: Any, *arguments: Any) -> Any:
    """What a user's function returns. Raises ArgumentError for what cannot be called so."""
    if not callable(function):
        fail(ArgumentError, operation, f"{name} is a function, not {described(function)}")
    try:
        return function(*arguments)
    except TypeError as error:
        refused = error.__traceback__ is not None and error.__traceback__.tb_next is None
        if isinstance(error, GradcError) or not refused:
            raise
        problem = f"{name} cannot be called with {len(arguments)} arguments: {error}"
        raise ArgumentError(problem, operation=operation, source=here()) from error


def refuse_in_regions(operation: str, problem: str, hint: str = "") -> None:
    """Raise ArgumentError if a region is being traced."""
    opened = _OPEN.get()
    if opened is not None:
        facts = [f"here, in the function of {opened.operation}"]
        fail(ArgumentError, operation, problem, facts, hint)


def refuse_escaped(operation: str, node: RegionInput) -> NoReturn:
    """The error for a tensor of a region that is read outside of it."""
    fail(
        ArgumentError,
        operation,
        f"a tensor of the function of {node.operation} is read outside of it",
        [f"it depends on argument {node.type} of {node.operation} at {node.source}"],
        hint="return it from the function",
    )
