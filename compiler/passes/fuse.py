"""From graph to program, in three steps: leaves are placed, nodes are fused, groups are lowered.

    before   graph f(%x: f32[4]) state (%w: f32[4] trained) { %0 = mul %x, %w ... }
    after    program f { buffer %w : f32[4] in state at 0 ... kernel k0 { ... } }

In: an optimised graph every root of which is computed. Out: a program, its kernels in the
order of their groups, which need not keep `order_edges`. A graph that has no family lays its states
out itself (lowering/choose_layouts.py).
"""

from __future__ import annotations

from ..graph.ir import Graph
from ..lowering.choose_layouts import choose_layouts
from ..lowering.fusion import group_nodes
from ..lowering.leaves import lay_out_state, leaf_buffers
from ..lowering.lower import lower
from ..ops.minibatch import SAMPLES
from ..program.ir import Program, Repeat
from .settings import Settings


def fuse(graph: Graph, settings: Settings) -> Program:
    """The program of `graph`; see the module docstring."""
    form, leaves = settings.form, settings.leaves
    state = leaves.state
    if state is None:
        state = lay_out_state([graph], choose_layouts(graph))
    maxima = {SAMPLES: 0, **form.maxima}
    buffers = leaf_buffers(graph, state, maxima, leaves.large_constants)
    groups = group_nodes(graph, maxima, buffers, settings.machine.fusion)
    program = lower(groups, graph.name, form.rows, form.bounded)
    return program.with_body((Repeat(program.body),)) if form.repeats else program
