"""Compile times: `import`, the first step without and with the cache, and models of growing length.

    python benchmarks/bench_compile.py [--rounds 5] [--only WORD ...] [--series WORD]

Every figure is taken in a fresh process. "first step" begins before the model is built and ends
when one training step has run, imports excluded; "whole process" is everything from its start. Of
gradc also the stages: "model and gradient" are the calls that describe the model and the optimizer,
"compile" is from there to the training step's code in the process, the back end's import included.
gradc runs with an empty cache folder, then again with the folder that it filled. The series
(compile_models.py) are of gradc alone, without a cache: chains of reductions and of sines with
their gradients, an unrolled LSTM, a transformer of up to 12 layers. Each must be linear in its
length.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import candidates
import common
from candidates import CANDIDATES
from workloads import WORKLOADS, Workload

SERIES_WORKER = "--series-worker"
FIGURES = ("import", "model and gradient", "compile", "first step", "whole process")


def child(library: str, workload_name: str) -> None:
    """Import, build, run one step; print the seconds as JSON."""
    workload = WORKLOADS[workload_name]
    started = time.perf_counter()
    name = next(c.name for c in CANDIDATES.values() if c.library == library)
    module = candidates.load(name)
    if library == "gradc":
        module.load_all()
    imported = time.perf_counter()
    figures = {"import": imported - started}
    if library == "gradc":
        figures |= gradc_figures(module, workload)
    else:
        candidates.make(name, module, workload, 1).losses(1)
        done = time.perf_counter()
        workload.data(), workload.parameters()  # the runner made them too; not to be counted
        figures["first step"] = done - imported - (time.perf_counter() - done)
    print(json.dumps(figures))


def gradc_figures(module: Any, workload: Workload) -> dict[str, float]:
    """Of the stages one by one; "compile" ends with the training step's code in the process."""
    batch = {name: array[: workload.batch] for name, array in workload.data().items()}
    marks = [time.perf_counter()]
    program = module.build(workload)
    marks.append(time.perf_counter())
    trainer = program.compile(threads=1, seed=0)
    trainer.artifact.variant("run", {"batch": workload.batch}, False)
    marks.append(time.perf_counter())
    trainer.step(**batch)
    marks.append(time.perf_counter())
    stages = [after - before for before, after in pairwise(marks)]
    return {
        "model and gradient": stages[0],
        "compile": stages[1],
        "first step": marks[-1] - marks[0],
    }


def run_child(library: str, workload: str, cache: str) -> dict[str, float]:
    command = [sys.executable, __file__, common.WORKER, library, workload]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env=common.plain_environment() | {"GRADC_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures | {"whole process": time.perf_counter() - started}


def compile_seconds(series: str, length: int) -> None:
    """Compile one model of a series; print the seconds, imports excluded."""
    from compile_models import SERIES

    started = time.perf_counter()
    SERIES[series].build(length)
    print(time.perf_counter() - started)


def measure_series(only: str, rounds: int) -> list[dict[str, Any]]:
    """Seconds of every length of the series whose names contain `only`, each in a process."""
    from compile_models import SERIES  # gradc with it, which children of rivals have not

    rows: list[dict[str, Any]] = []
    for name, series in SERIES.items():
        if only not in name:
            continue
        lines = []
        for length in series.lengths:
            command = [sys.executable, __file__, SERIES_WORKER, name, str(length)]
            environment = common.plain_environment() | {"GRADC_CACHE_DIR": "off"}
            seconds = common.spread(
                [
                    float(subprocess.check_output(command, env=environment, text=True))
                    for _ in range(rounds)
                ]
            )
            rows.append({"series": name, series.unit: length, "seconds": seconds})
            each = common.number(seconds.median / length * 1e3)
            lines.append([f"{length} {series.unit}", *_milliseconds(seconds), each])
        print(f"\n{name}")
        print(common.table(["ms", "best", "median", "worst", "each"], lines))
    return rows


def bare_import(statement: str) -> float:
    """Seconds that an import takes in a process that has loaded nothing else."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    return float(subprocess.check_output(command, env=common.plain_environment(), text=True))


def measure(workload: str, rounds: int, rivals: Sequence[str]) -> dict[str, list[dict[str, float]]]:
    """Figures of every library over alternating rounds."""
    libraries = common.present(rivals)
    found: dict[str, list[dict[str, float]]] = {"gradc, empty cache": [], "gradc, from cache": []}
    found |= {library: [] for library in libraries}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for which in ("gradc, empty cache", "gradc, from cache"):
                found[which].append(run_child("gradc", workload, cache))
            for library in libraries:
                found[library].append(run_child(library, workload, cache))
    return found


def main() -> None:
    if common.WORKER in sys.argv:
        child(sys.argv[-2], sys.argv[-1])
        return
    if SERIES_WORKER in sys.argv:
        compile_seconds(sys.argv[-2], int(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=["cifar2 3072", "resnet20"])
    parser.add_argument("--rivals", nargs="*", default=["torch", "jax"])
    parser.add_argument("--series", default="", help="series whose name contains this")
    options = parser.parse_args()
    facts = common.show_machine()
    rows: list[dict[str, Any]] = []
    lines = []
    statements = ["import numpy", "import gradc"]
    statements += [f"import {library}" for library in common.present(("torch", "jax"))]
    for statement in statements:
        seconds = common.spread([bare_import(statement) for _ in range(options.rounds)])
        rows.append({"statement": statement, "seconds": seconds})
        lines.append([statement, *_milliseconds(seconds)])
    print("\n" + common.table(["ms", "best", "median", "worst"], lines))
    for workload in WORKLOADS:
        if not any(word in workload for word in options.only):
            continue
        print(f"\n{workload}, batch {WORKLOADS[workload].batch}")
        lines = []
        for library, figures in measure(workload, options.rounds, options.rivals).items():
            for name in FIGURES:
                if name not in figures[0]:
                    continue
                seconds = common.spread([figure[name] for figure in figures])
                rows.append({
                    "workload": workload, "library": library, "figure": name, "seconds": seconds,
                })  # fmt: skip
                lines.append([f"{library}: {name}", *_milliseconds(seconds)])
        print(common.table(["ms", "best", "median", "worst"], lines))
    rows += measure_series(options.series, options.rounds)
    common.write_results("compile", facts, rows)


def _milliseconds(seconds: common.Spread) -> list[str]:
    return [common.number(v * 1e3) for v in (seconds.best, seconds.median, seconds.worst)]


if __name__ == "__main__":
    main()
