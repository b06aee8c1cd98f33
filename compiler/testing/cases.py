"""Cases: one text file with a graph, the passes to run, and the graph that they must give.

    // Two equal exponentials become one; the add then reads it twice.
    graph f(%x: f32[4]) {
      ...
    }
    // ---- after cse
    graph f(%x: f32[4]) {
      ...
    }

A case begins with a comment that says why it is there. After `// ---- after` stand names of passes
as `gradc opt` takes them, with commas: `simplify, cse`, `specialize(batch=4)`, `pipeline`,
`fuse`, `plan_memory`. From `fuse` on the lower half is a program, and a case may begin with one.

Checked: the result's text is exactly the lower half; the passes change nothing when run again;
both graphs compute the same from random values. Values are compared bit for bit, with signed
zeros, infinities and NaN among the inputs, unless a pass or rule that says `inexact` took part.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import GradcError
from ..graph.ir import Graph
from ..graph.text_print import print_graph
from ..opt import Level, Step, parse_level, parse_passes, print_level, run_steps
from ..passes import GRAPH_PASSES
from ..passes.program_passes import ProgramPass
from ..passes.runner import Pass, PassReport
from ..program.evaluate import run_program
from ..program.ir import Program
from ..types import bind_shape, factors
from .values import (
    differences,
    evaluate_leaves,
    named_dimensions,
    random_array,
    random_leaves,
    same_values,
)

Array = np.ndarray[Any, Any]
SUFFIX = ".ir"
SEEDS = (0, 1)
_MARKER = re.compile(r"^// ---- after (.*)$", re.MULTILINE)
_BOUND = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\s*=\s*([0-9]+)")


class CaseFailure(Exception):
    """A case that does not hold; the message is what to print."""


@dataclass(frozen=True)
class Case:
    """A case as it stands in its file; `expected` is empty until it is written the first time."""

    path: Path
    before: str
    passes: str
    expected: str


class Outcome(NamedTuple):
    """What the passes made of a case, and how often each rule fired on the way."""

    text: str
    fired: Counter[str]


def read_case(path: Path) -> Case:
    """The case in the file. Raises CaseFailure if the file is not one."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith("//"):
        raise CaseFailure(f"{path}:1:1: a case begins with a comment that says why it is there")
    markers = list(_MARKER.finditer(text))
    if len(markers) != 1:
        raise CaseFailure(f"{path}: a case has one line '// ---- after PASS', not {len(markers)}")
    (marker,) = markers
    return Case(
        path, text[: marker.start()], marker.group(1).strip(), text[marker.end() :].lstrip("\n")
    )


def check_case(case: Case, update: bool = False) -> Outcome:
    """Check the case; see the module docstring. Raises CaseFailure.

    update  write the result as the lower half if it differs, and fail all the same: a changed
            expectation is to be looked at, and is never a pass
    """
    file = str(case.path)
    try:
        steps = parse_passes(case.passes)
        before = parse_level(case.before, file)
        report = PassReport()
        after = run_steps(before, steps, report=report)
        text = print_level(after)
        again = print_level(run_steps(after, _repeatable(steps, after)))
        if isinstance(before, Graph) and isinstance(after, Graph):
            _check_values(case, before, after, is_exact(report, steps))
        else:
            _check_program_values(case, before, after)
    except GradcError as error:
        raise CaseFailure(f"{file}: {error}") from error
    if again != text:
        raise CaseFailure(
            f"{file}: a second run of {case.passes} changes the result\n{_diff(text, again)}"
        )
    if text != case.expected:
        changed = _diff(case.expected, text)
        if not update:
            raise CaseFailure(f"{file}: the result is not the one expected\n{changed}")
        _write_expected(case, text)
        raise CaseFailure(f"{file}: the expected half was rewritten; look at it\n{changed}")
    return Outcome(text, report.fired)


def _repeatable(steps: tuple[Step, ...], after: Level) -> tuple[Step, ...]:
    """The steps that apply to the result: a program has left the graph passes and fuse behind."""
    if isinstance(after, Graph):
        return steps
    return tuple(step for step in steps if isinstance(step, ProgramPass))


def _check_program_values(case: Case, before: Level, after: Level) -> None:
    """A program computes what the graph or program before it computes, within rounding."""
    assert isinstance(after, Program)
    dims = {name: int(extent) for name, extent in _BOUND.findall(case.passes)}
    rows = after.rows_maximum
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        if isinstance(before, Graph):
            extents = dict.fromkeys(named_dimensions(before), rows) | dims
            leaves = random_leaves(before, rng, False, extents)
            expected = evaluate_leaves(before, leaves, extents, "training=false" not in case.passes)
            outputs, state = expected
        else:
            leaves = _program_leaves(before, rng)
            outputs, state = run_program(before, leaves, leaves, rows=rows)
        found, found_state = run_program(after, leaves, leaves, rows=rows)
        for name, value in {**outputs, **{n: state[n] for n in found_state}}.items():
            other = found[name] if name in found else found_state[name]
            if not same_values(np.asarray(value), np.asarray(other), False):
                raise CaseFailure(
                    f"{case.path}: {name} was {value!r}, is {other!r} (seed {seed})\n"
                    f"{print_level(after)}"
                )


def _program_leaves(program: Program, rng: np.random.Generator) -> dict[str, Array]:
    """A value for every input and state of a program."""
    types = [*program.inputs]
    types += [(b.name, b.type) for b in program.buffers if b.space == "state"]
    named = {name for _, type in types for e in type.shape for name in factors(e).names}
    bound = dict.fromkeys(named, program.rows_maximum)
    return {
        name: random_array(type.with_shape(bind_shape(type.shape, bound)), rng, False)
        for name, type in types
    }


def is_exact(report: PassReport, steps: tuple[Step, ...]) -> bool:
    """Whether no pass and no rule that calls itself inexact changed anything."""
    known = (*GRAPH_PASSES, *(step for step in steps if isinstance(step, Pass)))
    inexact = {step.name for step in known if step.inexact}
    inexact_rules = {rule.name for step in known for rule in step.rules if rule.inexact}
    changed = {record.name for record in report.records if record.changed}
    return not (changed & inexact) and not (inexact_rules & set(report.fired))


def _check_values(case: Case, before: Graph, after: Graph, exact: bool) -> None:
    dims = {name: int(extent) for name, extent in _BOUND.findall(case.passes)}
    unbound = [name for name in named_dimensions(after) if name in dims]
    if unbound:
        raise CaseFailure(f"{case.path}: dimensions {unbound} are left in the result")
    modes: tuple[bool, ...] = (True, False)
    if "training=" in case.passes.replace(" ", ""):
        modes = ("training=true" in case.passes.replace(" ", ""),)
    for seed in SEEDS:
        found = differences(
            before, after, seed, exact=exact, dims=dims, modes=modes,
            compare_state=modes != (False,),
        )  # fmt: skip
        for difference in found:
            kind = "bit for bit" if exact else "within rounding"
            raise CaseFailure(
                f"{case.path}: values are not kept {kind} (seed {seed}): {difference}\n"
                f"{print_graph(after)}"
            )


def _write_expected(case: Case, text: str) -> None:
    whole = f"{case.before}// ---- after {case.passes}\n{text}"
    case.path.write_text(whole, encoding="utf-8")


def _diff(expected: str, found: str) -> str:
    lines = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "expected", "found", lineterm=""
    )
    return "\n".join(lines)
