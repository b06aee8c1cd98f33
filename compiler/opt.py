"""`gradc opt`: text IR in, passes, text IR out.

    optimize_text(text, "f.ir", "specialize(batch=64),simplify,cse")
    optimize_text(text, "f.ir", "pipeline,copy_roots,fuse(batch=64),order_kernels,plan_memory")

A list of passes is comma-separated names of the pipeline (passes/__init__.py), in an order that it
allows; "" is none, and "pipeline" is all graph passes to their fixed point. A pass takes those
arguments that it reads of the settings (passes/settings.py):

    gather_minibatches(over=batch)         the named dimension along which data is cut
    specialize(batch=64, training=true)    extents by name; the mode
    round_operands(precision=bf16)         what contractions multiply
    fuse(batch=64)                         static maxima of named dimensions that are left
    choose_schedule(cpu=x86-64-v4)         the machine, if it is not to be the one given beside

Text that begins with `program` is a program already.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, assert_never, get_args

from .driver import machine_named
from .errors import ArgumentError
from .graph.text_parse import parse_graph
from .passes import GRAPH_PASSES, PASSES
from .passes.runner import (
    Dumper,
    FixedPoint,
    Level,
    Pass,
    PassReport,
    Step,
    print_level,
    run_passes,
)
from .passes.settings import Form, Precision, Setting, Settings
from .program.text import parse_program

PASS_NAMES = (GRAPH_PASSES.name, *(step.name for step in PASSES))
_STEP = re.compile(r"\s*([a-z_]+)\s*(?:\(([^()]*)\))?\s*(,|$)")
_PROGRAM = re.compile(r"\A(?:\s+|//[^\n]*\n)*program\b")
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


@dataclass
class Given:
    """What the arguments of a list say, over all its passes."""

    over: str | None = None
    dims: dict[str, int] = field(default_factory=dict)
    training: bool | None = None
    precision: Precision | None = None
    effort: int = 0
    maxima: dict[str, int] = field(default_factory=dict)
    cpu: str | None = None

    def settings(self, cpu: str) -> Settings:
        """The settings for all passes; `cpu` is for a list that names none."""
        rows = {**self.dims, **self.maxima}.get(self.over or "")
        if rows is None:
            rows = max(self.maxima.values(), default=1)
        form = Form(rows, bool(self.maxima), self.over is not None, self.maxima)
        machine = machine_named(self.cpu or cpu)
        precision = self.precision or "float32"
        return Settings(machine, self.over, self.dims, self.training, precision, self.effort, form)


@dataclass(frozen=True)
class PassList:
    """A list of passes as it was written, and what its arguments say."""

    steps: tuple[Step, ...]
    given: Given


def optimize_text(
    text: str,
    file: str,
    passes: str | Sequence[str],
    dump: str | Path | None = None,
    cpu: str = "native",
) -> str:
    """The text of the graph or program after the passes; the result is verified.

    passes  as in the module docstring; a sequence of names is taken as a list
    dump    a directory for what each pass makes, numbered and parseable
    cpu     the machine that a program is made for, where the list names none
    Raises IRSyntaxError, VerifyError, ShapeError, and ArgumentError for an unknown pass, or an
    order of passes that cannot be.
    """
    level = parse_level(text, file)
    found = parse_passes(passes if isinstance(passes, str) else ",".join(passes))
    return print_level(run_list(level, found, cpu, dump=None if dump is None else Path(dump)))


def parse_level(text: str, file: str) -> Level:
    """The graph or program that the text is."""
    return parse_program(text, file) if _PROGRAM.match(text) else parse_graph(text, file)


def run_list(
    level: Level,
    passes: PassList,
    cpu: str,
    dump: Path | None = None,
    report: PassReport | None = None,
    disabled: Collection[str] = (),
) -> Level:
    """The graph or program after the passes of a list, verified throughout."""
    return run_passes(
        level, passes.steps, passes.given.settings(cpu), verify=True,
        dump=None if dump is None else Dumper(dump), report=report, disabled=disabled,
    )  # fmt: skip


def parse_passes(text: str) -> PassList:
    """The passes that a list names. Raises ArgumentError for what is no pass or no argument."""
    steps: list[Step] = []
    given = Given()
    offset = 0
    while text[offset:].strip():
        found = _STEP.match(text, offset)
        if found is None:
            raise ArgumentError(f"bad list of passes {text!r} at {text[offset:]!r}")
        step = _pass_named(found.group(1))
        _take_arguments(step, found.group(2), given)
        steps.append(step)
        offset = found.end()
    return PassList(tuple(steps), given)


def _pass_named(name: str) -> Step:
    steps: tuple[Step, ...] = (GRAPH_PASSES, *PASSES)
    for step in steps:
        if step.name == name:
            return step
    near = difflib.get_close_matches(name, PASS_NAMES, 1)
    facts = [f"known: {', '.join(PASS_NAMES)}"]
    raise ArgumentError(
        f"unknown pass {name!r}", facts=facts, hint=f"near: {near[0]}" if near else ""
    )


# -- arguments ------------------------------------------------------------------------------


def _take_arguments(step: Step, arguments: str | None, given: Given) -> None:
    """Note what stands between the parentheses behind a pass."""
    readers = [] if isinstance(step, FixedPoint) else _readers(step)
    if arguments is not None and not readers:
        raise ArgumentError(f"pass {step.name} takes no arguments, not ({arguments})")
    for argument in filter(None, map(str.strip, (arguments or "").split(","))):
        key, _, value = (part.strip() for part in argument.partition("="))
        if not any(reader(key, value, given) for _, reader in readers):
            expected = " or ".join(form for form, _ in readers)
            raise ArgumentError(f"{step.name}: expected {expected}, not {argument!r}")


Reader = Callable[[str, str, Given], bool]
"""Takes key and value of an argument, if it is one of its kind."""


def _readers(step: Pass) -> list[tuple[str, Reader]]:
    """How arguments of a pass look, and what takes them."""
    found = [_reader(setting) for setting in step.reads]
    return [reader for reader in found if reader is not None]


def _reader(setting: Setting) -> tuple[str, Reader] | None:
    match setting:
        case "batch_dimension":
            return "over=dimension", _take_over
        case "dims":
            return "name=extent", lambda key, value, given: _take_extent(key, value, given.dims)
        case "training":
            return "training=true", _take_training
        case "precision":
            return "precision=bf16", _take_precision
        case "form":
            return "name=extent", lambda key, value, given: _take_extent(key, value, given.maxima)
        case "leaves":
            return None
        case "machine":
            return "cpu=name", _take_cpu
        case "effort":
            return "effort=number", _take_effort
        case _:
            assert_never(setting)


def _take_effort(key: str, value: str, given: Given) -> bool:
    if key != "effort" or not value.isdecimal():
        return False
    given.effort = int(value)
    return True


def _take_over(key: str, value: str, given: Given) -> bool:
    if key != "over" or not _NAME.fullmatch(value):
        return False
    given.over = _agreed(key, given.over, value)
    return True


def _take_extent(key: str, value: str, extents: dict[str, int]) -> bool:
    if not (value.isdecimal() and len(value) < 19):
        return False
    extents[key] = _agreed(key, extents.get(key), int(value))
    return True


def _take_training(key: str, value: str, given: Given) -> bool:
    if key != "training" or value not in ("true", "false"):
        return False
    given.training = _agreed(key, given.training, value == "true")
    return True


def _take_precision(key: str, value: str, given: Given) -> bool:
    found = next((p for p in get_args(Precision) if p == value), None)
    if key != "precision" or found is None:
        return False
    given.precision = _agreed(key, given.precision, found)
    return True


def _take_cpu(key: str, value: str, given: Given) -> bool:
    if key != "cpu":
        return False
    given.cpu = _agreed(key, given.cpu, value)
    return True


def _agreed(key: str, before: T | None, now: T) -> T:
    """All passes of a list are given one record: an argument has one value in it."""
    if before is not None and before != now:
        raise ArgumentError(f"a list of passes has one {key}, not {before} and {now}")
    return now
