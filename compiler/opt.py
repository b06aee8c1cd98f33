"""`gradc opt`: text IR in, passes, text IR out.

    optimize_text(text, "f.ir", "specialize(batch=64),simplify,cse")
    optimize_text(text, "f.ir", "specialize(batch=64),pipeline,fuse,schedule,plan_memory")

A list of passes is comma-separated names: those of GRAPH_PASSES; "" is none, "pipeline" is all of
them to their fixed point; `specialize` takes extents by name, and `training=true` or `false`.
`fuse` makes a program of the graph (named dimensions that are left need a maximum, as in
`fuse(batch=64)`), and PROGRAM_PASSES follow it, in their order. Text that begins with `program` is
a program already.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from .errors import ArgumentError
from .graph.ir import Graph
from .graph.text_parse import parse_graph
from .graph.text_print import print_graph
from .graph.verify import verify_graph
from .loops.check import verify_kernel
from .lowering.leaves import lay_out_state, leaf_buffers
from .lowering.lower import copy_roots_in_memory
from .passes import GRAPH_PASSES
from .passes.choose_layouts import choose_layouts
from .passes.program_passes import FUSE, PROGRAM_PASSES, Form, ProgramPass, fuse_to_program
from .passes.runner import Dumper, Pass, PassReport, run_passes
from .passes.specialize import specialize
from .program.ir import Program
from .program.text import parse_program, print_program

PIPELINE = "pipeline"
PASS_NAMES = (
    PIPELINE,
    "specialize",
    *(step.name for step in GRAPH_PASSES),
    FUSE,
    *(step.name for step in PROGRAM_PASSES),
)
_STEP = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*(,|$)")
_PROGRAM = re.compile(r"\A(?:\s+|//[^\n]*\n)*program\b")


class FusePass:
    """The step from graph to program; `maxima` are those of the named dimensions left."""

    name = FUSE

    def __init__(self, maxima: dict[str, int]) -> None:
        self.maxima = maxima

    def run(self, graph: Graph) -> Program:
        graph = copy_roots_in_memory(graph)
        state = lay_out_state([graph], choose_layouts(graph))
        leaves = leaf_buffers(graph, state, self.maxima, {})
        rows = max(self.maxima.values(), default=1)
        return fuse_to_program(graph, leaves, Form(rows, bool(self.maxima), False, self.maxima))


Step = Pass | FusePass | ProgramPass
Level = Graph | Program


def optimize_text(
    text: str, file: str, passes: str | Sequence[str], dump: str | Path | None = None
) -> str:
    """The text of the graph or program after the passes; the result is verified.

    passes  as in the module docstring; a sequence of names is taken as a list
    dump    a directory for what each pass makes, numbered and parseable
    Raises IRSyntaxError, VerifyError, ShapeError, and ArgumentError for an unknown pass.
    """
    level = parse_level(text, file)
    steps = parse_passes(passes if isinstance(passes, str) else ",".join(passes))
    directory = None if dump is None else Path(dump)
    return print_level(run_steps(level, steps, dump=directory))


def parse_level(text: str, file: str) -> Level:
    """The graph or program that the text is, verified."""
    if _PROGRAM.match(text):
        return parse_program(text, file)
    graph = parse_graph(text, file)
    verify_graph(graph)
    return graph


def print_level(level: Level) -> str:
    return print_program(level) if isinstance(level, Program) else print_graph(level)


def parse_passes(text: str) -> tuple[Step, ...]:
    """The passes that a list names, each run once; `pipeline` stands for the fixed point of all."""
    steps: list[Step] = []
    offset = 0
    while text[offset:].strip():
        found = _STEP.match(text, offset)
        if found is None:
            raise ArgumentError(f"bad list of passes {text!r} at {text[offset:]!r}")
        steps.append(_pass_named(found.group(1), found.group(2)))
        offset = found.end()
    return tuple(steps)


def run_steps(
    level: Level,
    steps: Sequence[Step],
    dump: Path | None = None,
    report: PassReport | None = None,
) -> Level:
    """The graph or program after each step once, verified throughout."""
    dumper = None
    if dump is not None:
        dumper = Dumper(dump)
        dumper.write_text("input", print_level(level))
    for step in steps:
        if isinstance(step, Pass):
            graph = _graph_for(step, level)
            group = GRAPH_PASSES if step.name == PIPELINE else (step,)
            level = run_passes(graph, group, verify=True, dump=dumper, report=report)
            continue
        level = _program_after(step, level)
        for kernel in level.kernels():
            verify_kernel(kernel)
        if dumper is not None:
            dumper.write_text(step.name, print_program(level))
    return level


def _graph_for(step: Step, level: Level) -> Graph:
    if isinstance(level, Program):
        raise ArgumentError(f"pass {step.name} takes a graph, and what it is given is a program")
    return level


def _program_after(step: FusePass | ProgramPass, level: Level) -> Program:
    if isinstance(step, FusePass):
        return step.run(_graph_for(step, level))
    if isinstance(level, Graph):
        raise ArgumentError(f"pass {step.name} takes a program", hint="fuse comes before it")
    return step.run(level)


def _pass_named(name: str, arguments: str | None) -> Step:
    if name not in PASS_NAMES:
        near = difflib.get_close_matches(name, PASS_NAMES, 1)
        facts = [f"known: {', '.join(PASS_NAMES)}"]
        hint = f"near: {near[0]}" if near else ""
        raise ArgumentError(f"unknown pass {name!r}", facts=facts, hint=hint)
    if name == "specialize":
        return _specialization(arguments or "")
    if name == FUSE:
        dims, _ = _dimensions(name, arguments or "")
        return FusePass(dims)
    if arguments is not None:
        raise ArgumentError(f"pass {name} takes no arguments, not ({arguments})")
    if name == PIPELINE:
        return Pass(PIPELINE, lambda graph: graph)
    known: tuple[Step, ...] = (*GRAPH_PASSES, *PROGRAM_PASSES)
    return next(step for step in known if step.name == name)


def _specialization(arguments: str) -> Pass:
    dims, training = _dimensions("specialize", arguments)
    return Pass("specialize", lambda graph: specialize(graph, dims, training))


def _dimensions(name: str, arguments: str) -> tuple[dict[str, int], bool | None]:
    """Extents by name, and the mode, from the text between the parentheses."""
    dims: dict[str, int] = {}
    training: bool | None = None
    for argument in filter(None, map(str.strip, arguments.split(","))):
        key, _, value = (part.strip() for part in argument.partition("="))
        if name == "specialize" and key == "training" and value in ("true", "false"):
            training = value == "true"
        elif value.isdecimal() and len(value) < 19:
            dims[key] = int(value)
        else:
            expected = "name=extent" + (" or training=true" if name == "specialize" else "")
            raise ArgumentError(f"{name}: expected {expected}, not {argument!r}")
    return dims, training
