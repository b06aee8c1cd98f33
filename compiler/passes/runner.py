"""The runner: applies passes in order, and owns everything that is the same for all of them.

The driver, `gradc opt` and the tests run every pass here. Verification, the check of the order and
of what passes need, timing, numbered dumps and statistics are here and nowhere else. A dump is one
parseable file per pass; of those that are repeated, in later rounds only what changed anything:

    DIR/00-input.ir  DIR/01-gather_minibatches.ir ... DIR/09-fuse.ir ...

A `FixedPoint` is repeated until a whole round changes nothing, so that the result is a fixed point
of each of its passes. A value moves through one region in a round, so that regions within regions
take more of them; a graph that still changes 8 rounds later means two passes that undo each other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

from ..errors import ArgumentError, VerifyError
from ..graph.ir import Graph, Node
from ..graph.rewrite import AnyRule, rewrite_with
from ..graph.text_print import print_graph
from ..graph.verify import verify_graph
from ..loops.check import verify_kernel
from ..output_files import write_file
from ..program.ir import Program
from ..program.text import print_program
from ..program.verify import verify_declarations
from .properties import IN_ORDER, PLANNED, Property
from .settings import Setting, Settings

ROUND_LIMIT = 8

Level = Graph | Program
Levels = tuple[type[Graph] | type[Program], type[Graph] | type[Program]]
GRAPH_TO_GRAPH: Levels = (Graph, Graph)
GRAPH_TO_PROGRAM: Levels = (Graph, Program)
PROGRAM_TO_PROGRAM: Levels = (Program, Program)


@dataclass(frozen=True)
class Pass:
    """One pass: a function, or a tuple of rules for graphs.

    levels   what it takes and what it gives
    run      given the level alone, or, where `reads` names any, the level and the settings
    after    names of passes that must stand earlier
    reads    the settings that it depends on
    needs    what must hold of the level it is given
    makes    what holds of the level it gives
    once     whether a second run makes no sense; others change nothing when run again
    outside  why a graph pass is not applied to each region before the graph that holds it; empty:
             it is, and keeps the types of a region's inputs and results
    inexact  why values may be rounded otherwise; empty: bit-exact. Rules say it themselves
    """

    name: str
    levels: Levels
    run: Callable[..., Level] | tuple[AnyRule, ...]
    after: tuple[str, ...] = ()
    reads: tuple[Setting, ...] = ()
    needs: tuple[Property, ...] = ()
    makes: tuple[Property, ...] = ()
    once: bool = False
    outside: str = ""
    inexact: str = ""

    @property
    def runs_once(self) -> bool:
        """Whether its own result is nothing that it takes."""
        return self.once or self.levels[0] is not self.levels[1]

    @property
    def rules(self) -> tuple[AnyRule, ...]:
        return self.run if isinstance(self.run, tuple) else ()


@dataclass(frozen=True)
class FixedPoint:
    """Graph passes that are repeated together until nothing changes."""

    name: str
    passes: tuple[Pass, ...]


Step = Pass | FixedPoint


@dataclass(frozen=True)
class PassRecord:
    """What one pass did, in one round if it is repeated."""

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

    def write(self, name: str, level: Level) -> None:
        """The next file. Raises FileError if it cannot be written."""
        path = self.directory / f"{self.number:02d}-{name}.ir"
        write_file(path, print_level(level), make_folder=True)
        self.number += 1


def print_level(level: Level) -> str:
    match level:
        case Graph():
            return print_graph(level)
        case Program():
            return print_program(level)
        case _:
            assert_never(level)


def passes_of(steps: Sequence[Step]) -> Iterator[Pass]:
    """Every pass of the steps, in order."""
    for step in steps:
        match step:
            case Pass():
                yield step
            case FixedPoint():
                yield from step.passes
            case _:
                assert_never(step)


# -- the order ------------------------------------------------------------------------------


def check_pipeline(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps as a tuple. Raises ValueError if a name is taken or `after` does not hold."""
    earlier: set[str] = set()
    rules: set[str] = set()
    level: type[Level] = Graph
    for step in passes_of(steps):
        names = [step.name, *(rule.name for rule in step.rules)]
        if step.name in earlier or len(set(names)) != len(names) or rules & set(names):
            raise ValueError(f"pass {step.name}: it or one of its rules has a name that is taken")
        missing = [name for name in step.after if name not in earlier]
        if missing:
            raise ValueError(f"pass {step.name} must stand after {', '.join(missing)}")
        if step.levels[0] is not level:
            raise ValueError(f"pass {step.name} takes another level than the one before it gives")
        level = step.levels[1]
        earlier.add(step.name)
        rules.update(names[1:])
    return tuple(steps)


def check_list(steps: Sequence[Step], level: type[Level]) -> None:
    """Raise ArgumentError if these steps, a part of the pipeline, cannot run in this order.

    level  what the first of them is given
    """
    listed = [step.name for step in steps]
    facts = [f"the list is {', '.join(listed)}"]
    named = {step.name for step in passes_of(steps)}
    before: list[Pass] = []
    for step in steps:
        for single in passes_of([step]):
            _check_level(single, level, before)
            if single.once and single in before:
                raise ArgumentError(f"pass {single.name} cannot run after itself", facts=facts)
            inside = {other.name for other in passes_of([step])}
            done = {other.name for other in before} | (inside - {single.name})
            late = [name for name in single.after if name in named - done]
            if late:
                raise ArgumentError(
                    f"pass {single.name} cannot run before {late[0]}",
                    facts=facts,
                    hint=f"{late[0]} comes first",
                )
            level = single.levels[1]
        before += passes_of([step])


def _check_level(step: Pass, level: type[Level], before: Sequence[Pass]) -> None:
    takes, _ = step.levels
    if takes is level:
        return
    if takes is Program:
        raise ArgumentError(f"pass {step.name} takes a program", hint="fuse comes before it")
    made_by = [other.name for other in before if other.levels == GRAPH_TO_PROGRAM]
    given = f"{made_by[0]} before it gives" if made_by else "what it is given is"
    raise ArgumentError(f"pass {step.name} takes a graph, and {given} a program")


# -- running --------------------------------------------------------------------------------


def run_passes(
    level: Level,
    steps: Sequence[Step],
    settings: Settings,
    *,
    verify: bool = False,
    dump: Dumper | None = None,
    report: PassReport | None = None,
    disabled: Collection[str] = (),
) -> Level:
    """The graph or program after the steps; itself if nothing ever changed.

    verify    check the level before the first pass and after each, and what each pass needs; what a
              pass makes is checked always
    dump      takes what it is given, if it is empty, and the level after each pass
    report    is filled in
    disabled  names of passes and rules that are left out
    Raises ArgumentError if the steps cannot run in this order, VerifyError if a pass breaks the
    level, FileError if a dump cannot be written.
    """
    check_list(steps, type(level))
    run = _Run(settings, verify, dump, PassReport() if report is None else report, disabled)
    if verify:
        verify_level(level)
        run.check_plan(level)
    if dump is not None and not dump.number:
        dump.write("input", level)
    for step in steps:
        match step:
            case Pass():
                level = run.once(step, level)
            case FixedPoint():
                level = run.repeated(step, level)
            case _:
                assert_never(step)
    return level


def verify_level(level: Level) -> None:
    """Raise VerifyError if the level is not well formed; order and plan are properties."""
    match level:
        case Graph():
            verify_graph(level)
        case Program():
            verify_declarations(level)
            for kernel in level.kernels():
                verify_kernel(kernel)
        case _:
            assert_never(level)


@dataclass
class _Run:
    """One run.

    held     the lasting properties that the level has, as far as is known
    settled  by pass of rules: nodes that need not be tried again when it is repeated
    """

    settings: Settings
    verify: bool
    dump: Dumper | None
    report: PassReport
    disabled: Collection[str]
    held: dict[Property, None] = field(default_factory=dict)
    settled: dict[str, set[Node]] = field(default_factory=dict)

    def check_plan(self, level: Level) -> None:
        """A program that is given with a plan has a good one, and its kernels in order."""
        if isinstance(level, Program) and level.arena_bytes:
            for property in (IN_ORDER, PLANNED):
                property.check(level)
                self.held[property] = None

    def once(self, step: Pass, level: Level) -> Level:
        if step.name in self.disabled:
            return level
        level = self._apply(step, level)
        if self.dump is not None:
            self.dump.write(step.name, level)
        return level

    def repeated(self, group: FixedPoint, level: Level) -> Level:
        used = [step for step in group.passes if step.name not in self.disabled]
        changing: list[str] = []
        rounds = ROUND_LIMIT + (level.depth if isinstance(level, Graph) else 0)
        for number in range(rounds):
            changing = []
            for step in used:
                before = level
                level = self._apply(step, level)
                if level is not before:
                    changing.append(step.name)
                if self.dump is not None and (number == 0 or level is not before):
                    self.dump.write(step.name, level)
            if not changing or len(used) == 1:
                return level
        assert isinstance(level, Graph)
        raise VerifyError(
            f"graph {level.name} still changes after {rounds} rounds",
            facts=[f"passes that changed it last: {', '.join(changing)}"],
        )

    def _apply(self, step: Pass, level: Level) -> Level:
        if self.verify:
            self._check_needs(step, level)
        begin = time.perf_counter()
        result = self._result(step, level)
        try:
            for made in step.makes:
                made.check(result)
            time_us = (time.perf_counter() - begin) * 1e6
            self.report.records.append(PassRecord(step.name, time_us, result is not level))
            if self.verify and result is not level:
                self._verify(step, result)
        except VerifyError as error:
            error.facts = (f"after pass {step.name}", *error.facts)
            raise
        self.held.update((made, None) for made in step.makes if made.lasts)
        return result

    def _result(self, step: Pass, level: Level) -> Level:
        if isinstance(level, Graph) and step.levels == GRAPH_TO_GRAPH and not step.outside:
            level = level.map_regions(lambda region: self._inside(step, region))
        if isinstance(step.run, tuple):
            assert isinstance(level, Graph)
            rules = [rule for rule in step.run if rule.name not in self.disabled]
            rewritten = rewrite_with(level, rules, self.settled.setdefault(step.name, set()))
            self.report.fired.update(rewritten.fired)
            return rewritten.graph
        return step.run(level, self.settings) if step.reads else step.run(level)

    def _inside(self, step: Pass, region: Graph) -> Graph:
        result = self._result(step, region)
        assert isinstance(result, Graph)
        return result

    def _check_needs(self, step: Pass, level: Level) -> None:
        for needed in step.needs:
            if needed in self.held:
                continue
            try:
                needed.check(level)
            except VerifyError as error:
                raise ArgumentError(
                    f"pass {step.name} cannot run on this: {error.problem}",
                    facts=error.facts,
                    hint=needed.hint,
                ) from error
            if needed.lasts:
                self.held[needed] = None

    def _verify(self, step: Pass, result: Level) -> None:
        """The level, and what held before and lasts."""
        verify_level(result)
        for property in self.held:
            if property not in step.makes and isinstance(result, property.level):
                property.check(result)
