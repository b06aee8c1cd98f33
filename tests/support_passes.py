"""Running graph passes by hand, on graphs whose dimensions have their extents."""

from __future__ import annotations

from typing import Any

from gradc.compiler.graph.ir import Graph
from gradc.compiler.machine import CPU_FUSION, Machine
from gradc.compiler.passes import GRAPH_PASSES
from gradc.compiler.passes.runner import Step, run_passes
from gradc.compiler.passes.settings import Settings

NO_MACHINE = Machine(
    "none",
    "no machine",
    vector_bytes=4,
    vector_registers=1,
    keeps_values=False,
    refused_dtypes=(),
    fusion=CPU_FUSION,
    runs_grids=False,
    holds_loops=False,
    shared_work=0,
    launch_work=0,
    block_bytes=0,
)
"""For passes over graphs alone, which ask for none: nothing may be taken for granted of it."""


def apply(graph: Graph, *steps: Step, **options: Any) -> Graph:
    """The graph after graph passes, which read no settings; options are those of `run_passes`."""
    result = run_passes(graph, steps, Settings(NO_MACHINE), **options)
    assert isinstance(result, Graph)
    return result


def optimized(graph: Graph, **options: Any) -> Graph:
    """The graph at the fixed point of all graph passes."""
    return apply(graph, GRAPH_PASSES, **options)
