"""Compile times: `import`, the first step without and with the cache, for the CIFAR2 model.

    python benchmarks/bench_compile.py [--rounds 5] [--only WORD]

Every figure is taken in a fresh process. "first step" begins before the model is built and ends
when one training step has run, imports excluded; "whole process" is everything from its start.
gradc runs with an empty cache folder, then again with the folder that it filled.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import common
from workloads import WORKLOADS

FIGURES = ("import", "first step", "whole process")


def child(library: str, workload_name: str) -> None:
    """Import, build, run one step; print the seconds as JSON."""
    workload = WORKLOADS[workload_name]
    started = time.perf_counter()
    runner: Any
    if library.startswith("gradc"):
        import train_gradc as module
    elif library == "torch":
        import train_torch as module  # type: ignore[no-redef]
    else:
        import train_jax as module  # type: ignore[no-redef]
    imported = time.perf_counter()
    if library.startswith("jax"):
        runner = module.Runner(workload, loop=False)  # type: ignore[call-arg]
    else:
        runner = module.Runner(workload, 1)
    runner.losses(1)
    done = time.perf_counter()
    workload.data(), workload.parameters()  # what the runner made too, and is not to be counted
    seconds = done - imported - (time.perf_counter() - done)
    figures: dict[str, Any] = {"import": imported - started, "first step": seconds}
    if library.startswith("gradc"):
        entry = runner.trainer.artifact.variant("run", {"batch": workload.batch}, False)
        figures["training step alone"] = entry.compile_seconds
    print(json.dumps(figures))


def run_child(library: str, workload: str, cache: str) -> dict[str, float]:
    command = [sys.executable, __file__, common.WORKER, library, workload]
    started = time.perf_counter()
    done = subprocess.run(
        command,
        env=os.environ | {"GRADC_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures | {"whole process": time.perf_counter() - started}


def bare_import(statement: str) -> float:
    """Seconds that an import takes in a process that has loaded nothing else."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(subprocess.check_output([sys.executable, "-c", code], text=True))


def measure(workload: str, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Figures of every library over alternating rounds."""
    libraries = common.present(("torch", "jax"))
    found: dict[str, list[dict[str, float]]] = {"gradc, empty cache": [], "gradc, from cache": []}
    found |= {library: [] for library in libraries}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            found["gradc, empty cache"].append(run_child("gradc", workload, cache))
            found["gradc, from cache"].append(run_child("gradc", workload, cache))
            for library in libraries:
                found[library].append(run_child(library, workload, cache))
    return found


def main() -> None:
    if common.WORKER in sys.argv:
        child(sys.argv[-2], sys.argv[-1])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="cifar2", help="workloads whose name contains this")
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
        if options.only not in workload:
            continue
        print(f"\n{workload}, batch {WORKLOADS[workload].batch}")
        lines = []
        for library, figures in measure(workload, options.rounds).items():
            for name in (*FIGURES, "training step alone"):
                if name not in figures[0]:
                    continue
                seconds = common.spread([figure[name] for figure in figures])
                rows.append({
                    "workload": workload, "library": library, "figure": name, "seconds": seconds,
                })  # fmt: skip
                lines.append([f"{library}: {name}", *_milliseconds(seconds)])
        print(common.table(["ms", "best", "median", "worst"], lines))
    common.write_results("compile", facts, rows)


def _milliseconds(seconds: common.Spread) -> list[str]:
    return [common.number(v * 1e3) for v in (seconds.best, seconds.median, seconds.worst)]


if __name__ == "__main__":
    main()
