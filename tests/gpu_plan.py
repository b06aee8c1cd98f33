"""Graphs to programs scheduled for a GPU, as the driver makes them, with no graph pass."""

from __future__ import annotations

from collections.abc import Mapping

from gradc.compiler.graph.ir import Graph
from gradc.compiler.lowering.leaves import lay_out_state
from gradc.compiler.opt import parse_passes
from gradc.compiler.passes.runner import run_passes
from gradc.compiler.passes.settings import Form, Leaves, Settings
from gradc.compiler.program.ir import Program
from gradc.compiler.triton.architecture import find_architecture

PASSES = (
    "copy_roots,fuse,touch_rows,keep_values,pad_in_place,split_residues,"
    "narrow_buffers,split_reductions,order_kernels,plan_memory,make_resident,make_persistent,"
    "choose_schedule"
)


def plan_for_gpu(
    graph: Graph,
    maxima: Mapping[str, int] | None = None,
    repeat: bool = False,
    architecture: str = "sm_90",
) -> Program:
    """The scheduled program of a graph, verified after every pass."""
    rows = next(iter((maxima or {}).values()), 1)
    settings = Settings(
        find_architecture(architecture).machine,
        form=Form(rows, bool(maxima), repeat, maxima or {}),
        leaves=Leaves(lay_out_state([graph], {})),
    )
    program = run_passes(graph, parse_passes(PASSES).steps, settings, verify=True)
    assert isinstance(program, Program)
    return program
