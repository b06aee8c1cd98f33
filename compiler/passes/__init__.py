"""The pipeline: the only place where the order of passes exists.

    graph --GRAPH_STEPS--> graph --fuse--> program --...--> program, planned

Graph passes run to a fixed point between specialize and copy_roots; all others run once.

A pass is a module of its name, cse and dce spelled out in their functions. The others here serve
passes alone: runner.py runs them, settings.py and properties.py are what they read and need, and
simplify_movement.py and simplify_numbers.py hold rules of simplify.
"""

from __future__ import annotations

from .block_chains import block_chains
from .choose_schedule import choose_schedule
from .copy_roots import copy_roots
from .cse import eliminate_common_subexpressions
from .dce import eliminate_dead_code
from .decompose import decompose
from .fold_constants import fold_constants
from .fuse import fuse
from .gather_minibatches import gather_minibatches
from .inline_functions import inline_functions
from .join_maps import join_maps
from .keep_values import keep_values
from .make_persistent import make_persistent
from .make_resident import make_resident
from .merge_regions import merge_regions
from .move_invariants import move_invariants
from .narrow_buffers import narrow_buffers
from .order_kernels import order_kernels
from .pad_in_place import pad_in_place
from .plan_memory import plan_memory
from .properties import (
    EDGES_KNOWN,
    IN_ORDER,
    NO_SCHEDULES,
    NOT_GATHERED,
    NOT_PLANNED,
    PLANNED,
    ROOTS_COMPUTED,
)
from .prune_regions import prune_regions
from .recompute import recompute
from .round_operands import round_operands
from .rows_in_loops import rows_in_loops
from .runner import (
    GRAPH_TO_GRAPH,
    GRAPH_TO_PROGRAM,
    PROGRAM_TO_PROGRAM,
    FixedPoint,
    Pass,
    check_pipeline,
    passes_of,
)
from .segment_scatters import segment_scatters
from .simplify import RULES
from .specialize import specialize
from .split_reductions import split_reductions
from .split_residues import split_residues
from .touch_rows import touch_rows
from .turn_captures import turn_captures
from .widen_products import widen_products

GRAPH_PASSES = FixedPoint(
    "pipeline",
    (
        Pass("inline_functions", GRAPH_TO_GRAPH, inline_functions, after=("specialize",)),
        Pass(
            "merge_regions", GRAPH_TO_GRAPH, merge_regions, after=("specialize",),
            outside="scans are merged before those in their bodies",
        ),
        Pass(
            "decompose", GRAPH_TO_GRAPH, decompose, after=("specialize",),
            inexact="terms are added in another order",
        ),
        Pass(
            "widen_products", GRAPH_TO_GRAPH, widen_products, after=("specialize",),
            inexact="terms are added in another order",
        ),
        Pass("fold_constants", GRAPH_TO_GRAPH, fold_constants, after=("specialize",)),
        Pass(
            "segment_scatters", GRAPH_TO_GRAPH,
            lambda graph, s: segment_scatters(graph, s.machine.runs_grids),
            after=("specialize",), reads=("machine",),
        ),
        Pass("simplify", GRAPH_TO_GRAPH, RULES, after=("fold_constants",)),
        Pass("cse", GRAPH_TO_GRAPH, eliminate_common_subexpressions, after=("simplify",)),
        Pass(
            "move_invariants", GRAPH_TO_GRAPH, move_invariants, after=("merge_regions",),
            outside="values move between a region and the graph around it",
        ),
        Pass(
            "prune_regions", GRAPH_TO_GRAPH, prune_regions, after=("merge_regions", "cse"),
            outside="what is needed in a region depends on the graph around it, and the reverse",
        ),
        Pass("dce", GRAPH_TO_GRAPH, eliminate_dead_code, after=("simplify", "cse")),
    ),
)  # fmt: skip

PIPELINE = check_pipeline(
    (
        Pass(
            "gather_minibatches", GRAPH_TO_GRAPH,
            lambda graph, s: gather_minibatches(graph, s.batch_dimension, s.training is False),
            reads=("batch_dimension", "training"), needs=(NOT_GATHERED,), once=True,
            outside="a region reads no input of the program",
        ),
        Pass(
            "specialize", GRAPH_TO_GRAPH, lambda graph, s: specialize(graph, s.dims, s.training),
            after=("gather_minibatches",), reads=("dims", "training"),
            outside="a region's types change with those of its operands: it enters by itself",
        ),
        Pass(
            "round_operands", GRAPH_TO_GRAPH, lambda graph, s: round_operands(graph, s.precision),
            after=("specialize",), reads=("precision",),
            inexact="factors are rounded to 16 bits, as is asked for",
        ),
        GRAPH_PASSES,
        Pass(
            "copy_roots", GRAPH_TO_GRAPH, copy_roots, after=("simplify",), makes=(ROOTS_COMPUTED,),
        ),
        Pass(
            "recompute", GRAPH_TO_GRAPH, recompute, after=("cse", "copy_roots"),
            reads=("effort", "form"),
            needs=(ROOTS_COMPUTED,), once=True,
            outside="what is kept for a gradient crosses the border between two parts of a graph",
        ),
        Pass(
            "fuse", GRAPH_TO_PROGRAM, fuse, after=("dce", "copy_roots"),
            reads=("form", "leaves", "machine"), needs=(ROOTS_COMPUTED,),
        ),
        Pass(
            "touch_rows", PROGRAM_TO_PROGRAM, touch_rows, after=("fuse",),
            needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "keep_values", PROGRAM_TO_PROGRAM, keep_values, after=("fuse",), reads=("machine",),
            needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "pad_in_place", PROGRAM_TO_PROGRAM, pad_in_place, after=("keep_values",),
            needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "split_residues", PROGRAM_TO_PROGRAM, split_residues,
            after=("pad_in_place",), needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "narrow_buffers", PROGRAM_TO_PROGRAM,
            lambda program, s: narrow_buffers(program, s.machine), after=("split_residues",),
            reads=("machine",), needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "split_reductions", PROGRAM_TO_PROGRAM,
            lambda program, s: split_reductions(program, s.machine), after=("narrow_buffers",),
            reads=("machine",), needs=(NOT_PLANNED, NO_SCHEDULES), once=True,
            inexact="terms are added in another order",
        ),
        Pass(
            "join_maps", PROGRAM_TO_PROGRAM, lambda program, s: join_maps(program, s.machine),
            after=("split_reductions",), reads=("machine",), needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "rows_in_loops", PROGRAM_TO_PROGRAM,
            lambda program, s: rows_in_loops(program, s.machine), after=("join_maps",),
            reads=("machine",), needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "turn_captures", PROGRAM_TO_PROGRAM,
            lambda program, s: turn_captures(program, s.machine), after=("rows_in_loops",),
            reads=("machine",), needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "block_chains", PROGRAM_TO_PROGRAM,
            lambda program, s: block_chains(program, s.machine), after=("turn_captures",),
            reads=("machine",), needs=(NOT_PLANNED, NO_SCHEDULES),
        ),
        Pass(
            "order_kernels", PROGRAM_TO_PROGRAM, order_kernels, after=("block_chains",),
            needs=(NOT_PLANNED, EDGES_KNOWN), makes=(IN_ORDER,),
        ),
        Pass(
            "plan_memory", PROGRAM_TO_PROGRAM, plan_memory, after=("order_kernels",),
            needs=(NOT_PLANNED, NO_SCHEDULES, IN_ORDER), makes=(PLANNED,), once=True,
        ),
        Pass(
            "make_resident", PROGRAM_TO_PROGRAM,
            lambda program, s: make_resident(program) if s.machine.holds_loops else program,
            after=("plan_memory",), reads=("machine",),
            needs=(NO_SCHEDULES, IN_ORDER, PLANNED),
        ),
        Pass(
            "make_persistent", PROGRAM_TO_PROGRAM,
            lambda program, s: make_persistent(program, s.machine, s.precision),
            after=("make_resident",), reads=("machine", "precision"),
            needs=(NO_SCHEDULES, IN_ORDER, PLANNED),
        ),
        Pass(
            "choose_schedule", PROGRAM_TO_PROGRAM,
            lambda program, s: choose_schedule(program, s.machine, s.precision),
            after=("make_persistent",), reads=("machine", "precision"),
            needs=(NO_SCHEDULES, IN_ORDER, PLANNED), once=True,
        ),
    )
)  # fmt: skip

PASSES = tuple(passes_of(PIPELINE))
_FORMED = next(n for n, s in enumerate(PIPELINE) for p in passes_of([s]) if "form" in p.reads)
GRAPH_STEPS, PROGRAM_STEPS = PIPELINE[:_FORMED], PIPELINE[_FORMED:]
"""What all forms of a program share, and what is done for each."""
