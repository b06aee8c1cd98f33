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
as `gradc opt` takes them, with commas: `simplify, cse`, `specialize(batch=4)`, `pipeline`, `fuse`.
From `fuse` on the lower half is a program, and a case may begin with one. Several lower halves,
each under a list of passes of its own, show what becomes of one text on several machines:

    // ---- after choose_schedule(cpu=x86-64-v3)
    // ---- after choose_schedule(cpu=aarch64)

A list that names no machine is run for MACHINE, so that no text depends on where it is made.

Checked: the result's text is exactly the lower half; passes that may run again on it change
nothing; both sides compute the same from random values. Values are compared bit for bit, with
signed zeros, infinities and NaN among the inputs, unless a pass or rule that says `inexact` took
part; those of a program within rounding.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GradcError
from ..graph.ir import Graph
from ..graph.text_print import print_graph
from ..ops.minibatch import ORDER, SAMPLES
from ..ops.random import RANDOM_ROWS
from ..opt import PassList, parse_level, parse_passes, run_list
from ..passes.runner import Level, PassReport, Step, passes_of, print_level
from ..program.evaluate import run_program
from ..program.ir import Program
from ..types import bind_shape, factors
from .values import (
    UNBOUND_EXTENT,
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
MACHINE = "x86-64-v3"
SAMPLES_MORE = 4  # of a data set than of a batch
_MARKER = re.compile(r"^// ---- after (.*)$", re.MULTILINE)


class CaseFailure(Exception):
    """A case that does not hold; the message is what to print."""


@dataclass(frozen=True)
class Result:
    """What a list of passes must give; `text` is empty until it is written the first time."""

    passes: str
    text: str


@dataclass(frozen=True)
class Case:
    """A case as it stands in its file."""

    path: Path
    before: str
    results: tuple[Result, ...]

    @property
    def text(self) -> str:
        return self.before + "".join(f"// ---- after {r.passes}\n{r.text}" for r in self.results)


def read_case(path: Path) -> Case:
    """The case in the file. Raises CaseFailure if the file is not one."""
    text = path.read_text(encoding="utf-8")
    if not text.startswith("//"):
        raise CaseFailure(f"{path}:1:1: a case begins with a comment that says why it is there")
    markers = list(_MARKER.finditer(text))
    if not markers:
        raise CaseFailure(f"{path}: a case has a line '// ---- after PASS'")
    ends = [*(marker.start() for marker in markers[1:]), len(text)]
    results = (
        Result(marker.group(1).strip(), text[marker.end() : end].lstrip("\n"))
        for marker, end in zip(markers, ends, strict=True)
    )
    return Case(path, text[: markers[0].start()], tuple(results))


def check_case(case: Case, update: bool = False, disabled: Collection[str] = ()) -> Counter[str]:
    """How often each rule fired in a case that holds; see the module docstring.

    update    write results that differ, and fail all the same: a changed expectation is to be
              looked at, and is never a pass
    disabled  names of passes and rules that are left out
    Raises CaseFailure for a case that does not hold.
    """
    fired: Counter[str] = Counter()
    found = []
    for result in case.results:
        try:
            text, report = _run(case, result, disabled)
        except GradcError as error:
            raise CaseFailure(f"{case.path}: {error}") from error
        found.append(replace(result, text=text))
        fired.update(report.fired)
    new = replace(case, results=tuple(found))
    if new != case:
        changed = _diff(case.text, new.text)
        if not update:
            raise CaseFailure(f"{case.path}: the result is not the one expected\n{changed}")
        case.path.write_text(new.text, encoding="utf-8")
        raise CaseFailure(f"{case.path}: the expected half was rewritten; look at it\n{changed}")
    return fired


def _run(case: Case, result: Result, disabled: Collection[str]) -> tuple[str, PassReport]:
    """The text that a list of passes makes, with its values and its second run checked."""
    passes = parse_passes(result.passes)
    before = parse_level(case.before, str(case.path))
    report = PassReport()
    after = run_list(before, passes, MACHINE, report=report, disabled=disabled)
    text = print_level(after)
    again = PassList(_repeatable(passes.steps), passes.given)
    second = print_level(run_list(after, again, MACHINE, disabled=disabled))
    if isinstance(before, Graph) and isinstance(after, Graph):
        _check_values(case, passes, before, after, is_exact(report, passes.steps))
    else:
        _check_program_values(case, passes, before, after)
    if second != text:
        raise CaseFailure(
            f"{case.path}: a second run of {result.passes} changes the result\n"
            f"{_diff(text, second)}"
        )
    return text, report


def _repeatable(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps behind the last that runs once or leaves graphs behind."""
    ending = [n for n, s in enumerate(steps) if any(p.runs_once for p in passes_of([s]))]
    return tuple(steps[max(ending, default=-1) + 1 :])


def _check_program_values(case: Case, passes: PassList, before: Level, after: Level) -> None:
    """A program computes what the graph or program before it computes, within rounding."""
    if not isinstance(after, Program):
        raise CaseFailure(f"{case.path}: the result is a graph\n{print_level(after)}")
    given = passes.given
    rows = after.rows_maximum
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        if isinstance(before, Graph):
            extents = dict.fromkeys(named_dimensions(before), rows) | given.dims | given.maxima
            leaves = random_leaves(before, rng, False, extents)
            expected = evaluate_leaves(before, leaves, extents, given.training is not False)
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


def is_exact(report: PassReport, steps: Sequence[Step]) -> bool:
    """Whether no pass and no rule that calls itself inexact changed anything."""
    known = list(passes_of(steps))
    inexact = {step.name for step in known if step.inexact}
    inexact_rules = {rule.name for step in known for rule in step.rules if rule.inexact}
    changed = {record.name for record in report.records if record.changed}
    return not (changed & inexact) and not (inexact_rules & set(report.fired))


def _check_values(case: Case, passes: PassList, before: Graph, after: Graph, exact: bool) -> None:
    dims, training = passes.given.dims, passes.given.training
    unbound = [name for name in named_dimensions(after) if name in dims]
    if unbound:
        raise CaseFailure(f"{case.path}: dimensions {unbound} are left in the result")
    modes = (True, False) if training is None else (training,)
    gathered = ORDER in _input_names(after) and ORDER not in _input_names(before)
    for seed in SEEDS:
        if gathered:
            found = _differences_of_rows(before, after, seed, dims, modes)
        else:
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


def _input_names(graph: Graph) -> list[str]:
    return [str(node.attributes["name"]) for node in graph.inputs]


def _differences_of_rows(
    before: Graph, after: Graph, seed: int, dims: Mapping[str, int], modes: tuple[bool, ...]
) -> Iterator[str]:
    """What a graph over a data set computes differently from the graph over those of its rows."""
    rng = np.random.default_rng(seed)
    batch = {**dict.fromkeys(named_dimensions(before), UNBOUND_EXTENT), **dims}
    whole = {**batch, SAMPLES: max(batch.values()) + SAMPLES_MORE}
    leaves = random_leaves(after, rng, False, whole)
    order = rng.permutation(whole[SAMPLES])[: leaves[ORDER].size]
    if any(node.op is RANDOM_ROWS for node in after.nodes()):
        order = np.arange(order.size)  # rows then have the numbers of the places in a batch
    leaves[ORDER] = order
    rows = {str(n.attributes["name"]): n.type.shape[:1] == (SAMPLES,) for n in after.inputs}
    picked = {name: a[order] if rows.get(name) else a for name, a in leaves.items()}
    for training in modes:
        old = evaluate_leaves(before, picked, batch, training)
        new = evaluate_leaves(after, leaves, whole, training)
        for name, expected in {**old.outputs, **old.state}.items():
            value = {**new.outputs, **new.state}[name]
            if not same_values(expected, value, True):
                yield f"{name!r} was {expected!r}, is {value!r}"


def _diff(expected: str, found: str) -> str:
    lines = difflib.unified_diff(
        expected.splitlines(), found.splitlines(), "expected", "found", lineterm=""
    )
    return "\n".join(lines)
