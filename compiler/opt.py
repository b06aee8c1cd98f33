"""`gradc opt`: text IR in, passes, text IR out.

    optimize_text(text, "f.ir", "specialize(batch=64),simplify,cse")

A list of passes is comma-separated names of GRAPH_PASSES; "" is none, "pipeline" is all of them to
their fixed point. `specialize` takes arguments: extents by name, and `training=true` or `false`.
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
from .passes import GRAPH_PASSES
from .passes.runner import Dumper, Pass, PassReport, run_passes
from .passes.specialize import specialize

PIPELINE = "pipeline"
PASS_NAMES = (PIPELINE, "specialize", *(step.name for step in GRAPH_PASSES))
_STEP = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*(,|$)")


def optimize_text(
    text: str, file: str, passes: str | Sequence[str], dump: str | Path | None = None
) -> str:
    """The text of the graph after the passes; the result is verified.

    passes  as in the module docstring; a sequence of names is taken as a list
    dump    a directory for the graph before and after each pass, numbered and parseable
    Raises IRSyntaxError, VerifyError, ShapeError, and ArgumentError for an unknown pass.
    """
    graph = parse_graph(text, file)
    steps = parse_passes(passes if isinstance(passes, str) else ",".join(passes))
    verify_graph(graph)
    directory = None if dump is None else Path(dump)
    return print_graph(run_steps(graph, steps, dump=directory))


def parse_passes(text: str) -> tuple[Pass, ...]:
    """The passes that a list names, each run once; `pipeline` stands for the fixed point of all."""
    steps: list[Pass] = []
    offset = 0
    while text[offset:].strip():
        found = _STEP.match(text, offset)
        if found is None:
            raise ArgumentError(f"bad list of passes {text!r} at {text[offset:]!r}")
        steps.append(_pass_named(found.group(1), found.group(2)))
        offset = found.end()
    return tuple(steps)


def run_steps(
    graph: Graph,
    steps: Sequence[Pass],
    dump: Path | None = None,
    report: PassReport | None = None,
) -> Graph:
    """The graph after each step once, verified throughout."""
    dumper = None
    if dump is not None:
        dumper = Dumper(dump)
        dumper.write("input", graph)
    for step in steps:
        group = GRAPH_PASSES if step.name == PIPELINE else (step,)
        graph = run_passes(graph, group, verify=True, dump=dumper, report=report)
    return graph


def _pass_named(name: str, arguments: str | None) -> Pass:
    if name not in PASS_NAMES:
        near = difflib.get_close_matches(name, PASS_NAMES, 1)
        facts = [f"known: {', '.join(PASS_NAMES)}"]
        hint = f"near: {near[0]}" if near else ""
        raise ArgumentError(f"unknown pass {name!r}", facts=facts, hint=hint)
    if name == "specialize":
        return _specialization(arguments or "")
    if arguments is not None:
        raise ArgumentError(f"pass {name} takes no arguments, not ({arguments})")
    if name == PIPELINE:
        return Pass(PIPELINE, lambda graph: graph)
    return next(step for step in GRAPH_PASSES if step.name == name)


def _specialization(arguments: str) -> Pass:
    dims: dict[str, int] = {}
    training: bool | None = None
    for argument in filter(None, map(str.strip, arguments.split(","))):
        name, _, value = (part.strip() for part in argument.partition("="))
        if name == "training" and value in ("true", "false"):
            training = value == "true"
        elif value.isdecimal() and len(value) < 19:
            dims[name] = int(value)
        else:
            raise ArgumentError(
                f"specialize: expected name=extent or training=true, not {argument!r}"
            )
    return Pass("specialize", lambda graph: specialize(graph, dims, training))
