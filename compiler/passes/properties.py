"""What must hold of a graph or a program before a pass, and what a pass brings about.

A pass that follows another relies on what that one made, not on its name: a program may come from a
text. So each property is checked on the graph or program itself, and says which pass makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import VerifyError
from ..graph.ir import Graph
from ..lowering.groups import is_leaf
from ..memory.verify_plan import verify_plan
from ..ops.minibatch import ORDER
from ..program.ir import Program
from ..program.verify import verify_edges, verify_order


@dataclass(frozen=True)
class Property:
    """Something that holds of a graph or program, or does not.

    check  raises VerifyError where it does not hold
    hint   what to do about that, in a list of passes
    lasts  whether it holds for good once it does: no later pass may undo it
    """

    name: str
    level: type[Graph] | type[Program]
    check: Callable[[Any], None]
    hint: str
    lasts: bool


def _check_not_gathered(graph: Graph) -> None:
    if any(node.attributes["name"] == ORDER for node in graph.inputs):
        raise VerifyError(f"graph {graph.name} picks the rows of its minibatches already")


def _check_roots_are_computed(graph: Graph) -> None:
    ends = [(f"output {name!r}", node) for name, node in graph.outputs]
    ends += [(f"the new value of {u.state.attributes['name']!r}", u.value) for u in graph.updates]
    for what, node in ends:
        if is_leaf(node):
            name = node.attributes.get("name", "a constant")
            raise VerifyError(f"{what} is in memory already: it is {node.op.name} {name}")


def _check_not_planned(program: Program) -> None:
    placed = [b for b in program.buffers if b.space == "arena" and b.offset_bytes]
    if program.arena_bytes or placed:
        raise VerifyError(f"program {program.name} has a memory plan: arena {program.arena_bytes}")


def _check_no_schedules(program: Program) -> None:
    for kernel in program.kernels():
        if kernel.schedule is not None or any(loop.order is not None for loop in kernel.loops):
            raise VerifyError(f"kernel {kernel.name} says already how it is run")


NOT_GATHERED = Property(
    "not gathered", Graph, _check_not_gathered, "gather_minibatches comes once", lasts=False
)
ROOTS_COMPUTED = Property(
    "roots are computed", Graph, _check_roots_are_computed, "copy_roots comes first", lasts=True
)
EDGES_KNOWN = Property(
    "edges are known", Program, verify_edges, "edges are lines `run k1 after k0`", lasts=True
)
IN_ORDER = Property("in order", Program, verify_order, "order_kernels comes first", lasts=True)
NOT_PLANNED = Property(
    "not planned", Program, _check_not_planned,
    "a plan is of these kernels in this order: plan_memory comes once, after what changes them",
    lasts=False,
)  # fmt: skip
PLANNED = Property("planned", Program, verify_plan, "plan_memory comes first", lasts=True)
NO_SCHEDULES = Property(
    "no schedules", Program, _check_no_schedules, "what changes a kernel comes before", lasts=False
)
