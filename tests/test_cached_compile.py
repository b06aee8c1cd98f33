"""Compiling from the cache: what a second process need not do, and what makes it compile anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from random_programs import random_graph
from training_graphs import perceptron_step

from gradc.compiler import manifest
from gradc.compiler.cpu_llvm.target import find_target, host_has
from gradc.compiler.driver import CompiledProgram, CompileOptions
from gradc.compiler.graph.ir import Graph, Literal, Node, Update, apply
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import list_together, print_graph
from gradc.compiler.object_cache import ObjectCache
from gradc.compiler.ops.arithmetic import add
from gradc.compiler.ops.elementwise import exp
from gradc.compiler.ops.source import CONSTANT, STATE, input_
from gradc.compiler.types import float32, float64

SIZES = (6, 5, 3)

# Trains a step; prints the loss, the runs of the pass runner, and what was imported to emit code.
PROCESS = """
import json, sys
import numpy as np
import gradc as gc
from gradc import nn, optim
from gradc.compiler import driver

runs, run_passes = [], driver.run_passes
driver.run_passes = lambda *given, **more: runs.append(1) or run_passes(*given, **more)

x, y = gc.input("x", ("batch", 4)), gc.input("y", ("batch",), gc.int32)
model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
program = gc.training(gc.cross_entropy(model(x), y), optimizer=optim.Adam(lr=0.1))
trainer = program.compile(threads=1, seed=3)
rng = np.random.default_rng(0)
fed = {"x": rng.standard_normal((8, 4)).astype(np.float32), "y": np.arange(8, dtype=np.int32) % 3}
losses = [trainer.step(**fed)["loss"].hex() for _ in range(3)]
trainer.evaluate(fed)
emitting = "gradc.compiler.cpu_llvm.entry" in sys.modules
print(json.dumps({"losses": losses, "runs": len(runs), "emitting": emitting}))
"""


def in_a_process(cache: Path) -> dict[str, object]:
    environment = os.environ | {"GRADC_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", PROCESS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_second_process_runs_no_pass_and_emits_nothing(tmp_path: Path) -> None:
    """It computes the same bits; a third, whose entries were all damaged, does all of it again."""
    first, second = in_a_process(tmp_path), in_a_process(tmp_path)
    assert first["runs"] and first["emitting"]
    assert second == first | {"runs": 0, "emitting": False}
    entries = sorted(tmp_path.rglob("*.o"))
    damages: tuple[Callable[[bytes], bytes], ...] = (
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"",
    )
    assert len(entries) > len(damages)
    for number, entry in enumerate(entries):
        entry.write_bytes(damages[number % len(damages)](entry.read_bytes()))
    assert in_a_process(tmp_path) == first
    assert in_a_process(tmp_path) == second


@dataclass(frozen=True)
class Case:
    """What decides a variant's code."""

    graph: Graph
    options: CompileOptions = field(default_factory=CompileOptions)
    batch: str | None = "batch"
    kind: str = "run"
    rows: int = 4
    bounded: bool = False

    def is_cached(self, cache: Path) -> bool:
        graphs = {self.kind: self.graph}
        program = CompiledProgram(graphs, self.batch, self.options, cache=ObjectCache(cache))
        return program.variant(self.kind, {"batch": self.rows}, self.bounded).from_cache


def changes(case: Case) -> Iterable[tuple[str, Case]]:
    yield "the graph", replace(case, graph=perceptron_step(SIZES, rate=0.25))
    yield "a name", replace(case, graph=replace(case.graph, name="another"))
    yield "the kind", replace(case, kind="call")
    yield "the rows", replace(case, rows=5)
    yield "the form", replace(case, bounded=True)
    yield "the batch dimension", replace(case, batch=None)
    yield "an option", replace(case, options=CompileOptions(verify=True))
    if host_has(find_target("x86-64-v3")):
        yield "the CPU", replace(case, options=CompileOptions(cpu="x86-64-v3"))


def test_any_change_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(perceptron_step(SIZES))
    assert not case.is_cached(tmp_path) and case.is_cached(tmp_path)
    for what, changed in changes(case):
        assert not changed.is_cached(tmp_path), what
        assert changed.is_cached(tmp_path), what
    assert Case(parse_graph(print_graph(case.graph))).is_cached(tmp_path)
    monkeypatch.setattr(manifest, "compiler_digest", lambda: "another compiler")
    assert not case.is_cached(tmp_path)


def test_other_first_values_are_other_code_for_init_alone(tmp_path: Path) -> None:
    """Also where "init" comes first, and knows more states than the others."""
    step = perceptron_step(SIZES)
    given = {"name": "more", "shape": (2,), "dtype": float32, "trained": False}
    states = (apply(STATE, **given), *step.states)

    def entries(value: float, first: bool) -> list[bool]:
        updates = tuple(Update(s, constant(value, s.type.dtype, s.type.shape)) for s in states)
        init = Graph("init", (), states, (), updates)
        graphs = {"init": init, "run": step} if first else {"run": step, "init": init}
        program = CompiledProgram(graphs, "batch", cache=ObjectCache(tmp_path))
        assert [field.name for field in program.state][-1] == "more"
        cached = [program.variant("run", {"batch": 4}, bounded).from_cache for bounded in (0, 1)]
        return [*cached, program.variant("init").from_cache]

    assert entries(1.0, False) == [False, False, False]
    assert entries(2.0, False) == [True, True, False]
    assert entries(2.0, True) == [True, True, True]


def test_a_changed_source_is_another_compiler(tmp_path: Path) -> None:
    """Names, sizes and times of Python files at any depth; nothing else."""
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    for name in ("a.py", "inner/b.py", "inner/deep/c.py", "notes.txt"):
        (tmp_path / name).write_text("x")
    before = sorted(manifest._sources(str(tmp_path)))
    assert [name for name, _, _ in before] == ["a.py", "inner/b.py", "inner/deep/c.py"]
    (tmp_path / "notes.txt").write_text("xyz")
    assert sorted(manifest._sources(str(tmp_path))) == before
    os.utime(tmp_path / "inner/deep/c.py", ns=(1, 1))
    assert sorted(manifest._sources(str(tmp_path))) != before


def constant(value: float | Literal, type: object = float32, shape: tuple[int, ...] = (3,)) -> Node:
    return apply(CONSTANT, value=value, shape=shape, dtype=type)


def test_one_listing_for_equal_families_alone() -> None:
    """Whatever differs in a family of graphs differs in its listing; what a digest cannot miss."""
    x, y = input_("x", (3,), float32), input_("y", (3,), float32)
    total = add(x, y)
    base = Graph("f", (x, y), (), (("a", total), ("b", exp(x))))
    step = perceptron_step(SIZES)
    pairs = zip(step.updates, reversed(step.updates), strict=True)
    swapped = tuple(Update(update.state, other.value) for update, other in pairs)
    families = [
        {"run": base},
        {"call": base},
        {"run": base, "call": base},
        {"call": base, "run": base},
        {"run": replace(base, name="g")},
        {"run": replace(base, inputs=(y, x))},
        {"run": replace(base, outputs=base.outputs[::-1])},
        {"run": replace(base, outputs=(("a", total), ("c", exp(x))))},
        {"run": replace(base, outputs=(("a", exp(x)), ("b", total)))},
        {"run": replace(base, outputs=(("a, b", total),))},
        {"run": replace(base, outputs=base.outputs[:1])},
        {"run": Graph("f", (y,), (), (("a", add(y, constant(0.0))),))},
        {"run": Graph("f", (y,), (), (("a", add(y, constant(-0.0))),))},
        {"run": Graph("f", (y,), (), (("a", add(constant(0.0), y)),))},
        {"run": Graph("f", (), (), (("a", constant(1.0)),))},
        {"run": Graph("f", (), (), (("a", constant(1.0, float64)),))},
        {"run": Graph("f", (), (), (("a", constant(1.0, shape=(4,))),))},
        {"run": step},
        {"run": replace(step, states=step.states[::-1])},
        {"run": replace(step, updates=step.updates[:-1])},
        {"run": replace(step, updates=swapped)},
        *({"run": random_graph(seed)} for seed in range(40)),
    ]
    listings = [list_together(family) for family in families]
    assert len(set(listings)) == len(families)
    for family, listing in zip(families[-40:], listings[-40:], strict=True):
        again = {kind: parse_graph(print_graph(graph)) for kind, graph in family.items()}
        assert list_together(again) == listing


def test_shared_nodes_stand_once_in_a_listing() -> None:
    step = perceptron_step(SIZES)
    alone = list_together({"run": step})
    both = list_together({"run": step, "evaluate": replace(step, updates=())})
    assert both.startswith(alone) and both.count("\n") == alone.count("\n") + 1
