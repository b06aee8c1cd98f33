"""The benchmarks' own rules: what is listed, and which figures are compared."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses ask for it
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@pytest.mark.parametrize("option", ["--help", "--list"])
def test_run_all_tells_and_runs_nothing(option: str) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "run_all.py", option], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0 and "===" not in done.stdout
    if option == "--list":
        listed = {line.split()[0] for line in done.stdout.splitlines()}
        assert listed == {p.stem.removeprefix("bench_") for p in FOLDER.glob("bench_*.py")}


def test_an_unknown_benchmark_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "run_all.py", "speed"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2 and "no benchmark 'speed'; there are aot, compile" in done.stderr


def test_figures_of_one_class_are_compared() -> None:
    barrier, common = loaded("barrier"), loaded("common")
    classes = [barrier.class_of(2, cost) for cost in (52.0, 115.0, 350.0, 9000.0)]
    assert classes == ["one core", "one chiplet", "far apart", "busy"]
    assert barrier.class_of(1, 9000.0) == ""
    costs = [{"class": name} for name in ("", *classes)]
    alike = [[common.are_comparable(a, b) for b in costs] for a in costs]
    same = [[n == m and n != 4 for m in range(5)] for n in range(5)]
    assert alike == same
    assert not common.are_comparable({"error": "no pool"}, costs[0])
