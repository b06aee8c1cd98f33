"""The pipeline: the only place where the order of passes exists.

Graph passes run to a fixed point (see runner.py). `specialize` and `minibatch` take arguments and
come before them; the passes from graph to program (fuse, lower, schedule, plan_memory) come after,
each once, and are called by the driver.
"""

from __future__ import annotations

from pathlib import Path

from ..graph.ir import Graph
from .cse import eliminate_common_subexpressions
from .dce import eliminate_dead_code
from .decompose import decompose
from .fold_constants import fold_constants
from .runner import Dumper, Pass, PassReport, check_order, run_passes
from .simplify import RULES

GRAPH_PASSES = check_order(
    (
        Pass("decompose", decompose, inexact="terms are added in another order"),
        Pass("fold_constants", fold_constants),
        Pass("simplify", RULES, after=("fold_constants",)),
        Pass("cse", eliminate_common_subexpressions, after=("simplify",)),
        Pass("dce", eliminate_dead_code, after=("simplify", "cse")),
    )
)


def optimize(
    graph: Graph,
    verify: bool = False,
    dump: Path | None = None,
    report: PassReport | None = None,
) -> Graph:
    """The graph after all graph passes.

    verify  check the graph before the first pass and after each
    dump    a directory for the graph before and after each pass, numbered and parseable
    report  is filled in
    """
    dumper = None
    if dump is not None:
        dumper = Dumper(dump)
        dumper.write("input", graph)
    return run_passes(graph, GRAPH_PASSES, verify=verify, dump=dumper, report=report)
