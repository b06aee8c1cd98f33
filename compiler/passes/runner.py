"""The runner: applies passes in order, and owns everything that is the same for all of them.

Verification after each pass, timing, numbered dumps, statistics and the order check are here and
nowhere else. A dump is one parseable file per pass, in later rounds only where it changed anything:

    DIR/00-input.ir  DIR/01-decompose.ir  DIR/02-fold_constants.ir ...

The passes are repeated until a whole round changes nothing, so that the result is a fixed point of
every one of them; a graph that still changes after 8 rounds means two passes that undo each other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import VerifyError
from ..graph.ir import Graph
from ..graph.rewrite import AnyRule, rewrite_with
from ..graph.text_print import print_graph
from ..graph.verify import verify_graph
from ..output_files import write_file

ROUND_LIMIT = 8


@dataclass(frozen=True)
class Pass:
    """One pass over graphs: a function, or a tuple of rules.

    after    names of passes that must stand earlier in the pipeline
    inexact  why values may be rounded otherwise; empty: bit-exact. Rules say it themselves
    """

    name: str
    run: Callable[[Graph], Graph] | tuple[AnyRule, ...]
    after: tuple[str, ...] = ()
    inexact: str = ""

    @property
    def rules(self) -> tuple[AnyRule, ...]:
        return self.run if isinstance(self.run, tuple) else ()


@dataclass(frozen=True)
class PassRecord:
    """What one pass did in one round."""

    name: str
    time_us: float
    changed: bool


@dataclass
class PassReport:
    """What a run did: every pass of every round, and how often each rule fired."""

    records: list[PassRecord] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)


class Dumper:
    """Numbered text files in one directory, which is made if it is missing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.number = 0

    def write(self, name: str, graph: Graph) -> None:
        self.write_text(name, print_graph(graph))

    def write_text(self, name: str, text: str) -> None:
        """The next file. Raises FileError if it cannot be written."""
        path = self.directory / f"{self.number:02d}-{name}.ir"
        write_file(path, text, make_folder=True)
        self.number += 1


def check_order(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """The passes as a tuple. Raises ValueError if a name is taken or `after` does not hold."""
    earlier: set[str] = set()
    rules: set[str] = set()
    for step in passes:
        names = [step.name, *(rule.name for rule in step.rules)]
        if step.name in earlier or len(set(names)) != len(names) or rules & set(names):
            raise ValueError(f"pass {step.name}: it or one of its rules has a name that is taken")
        missing = [name for name in step.after if name not in earlier]
        if missing:
            raise ValueError(f"pass {step.name} must stand after {', '.join(missing)}")
        earlier.add(step.name)
        rules.update(names[1:])
    return tuple(passes)


def run_passes(
    graph: Graph,
    passes: Sequence[Pass],
    *,
    verify: bool = False,
    dump: Dumper | None = None,
    report: PassReport | None = None,
    disabled: Collection[str] = (),
) -> Graph:
    """The graph after the passes, repeated until nothing changes; itself if nothing ever did.

    verify    check the graph before the first pass and after each
    dump      takes the graph after each pass as a numbered text file
    report    is filled in
    disabled  names of passes and rules that are left out
    Raises VerifyError if a pass breaks the graph, FileError if a dump cannot be written.
    """
    report = PassReport() if report is None else report
    if verify:
        verify_graph(graph)
    used = [step for step in passes if step.name not in disabled]
    changing: list[str] = []
    for number in range(ROUND_LIMIT):
        changing = []
        for step in used:
            before = graph
            graph = _run_pass(step, graph, report, disabled)
            if graph is not before:
                changing.append(step.name)
                if verify:
                    _verify_after(step, graph)
            if dump and (number == 0 or graph is not before):
                dump.write(step.name, graph)
        if not changing or len(used) == 1:
            return graph
    raise VerifyError(
        f"graph {graph.name} still changes after {ROUND_LIMIT} rounds",
        facts=[f"passes that changed it last: {', '.join(changing)}"],
    )


def _run_pass(step: Pass, graph: Graph, report: PassReport, disabled: Collection[str]) -> Graph:
    begin = time.perf_counter()
    if isinstance(step.run, tuple):
        rewritten = rewrite_with(graph, [rule for rule in step.run if rule.name not in disabled])
        result = rewritten.graph
        report.fired.update(rewritten.fired)
    else:
        result = step.run(graph)
    time_us = (time.perf_counter() - begin) * 1e6
    report.records.append(PassRecord(step.name, time_us, result is not graph))
    return result


def _verify_after(step: Pass, graph: Graph) -> None:
    try:
        verify_graph(graph)
    except VerifyError as error:
        error.facts = (f"after pass {step.name}", *error.facts)
        raise
