"""Memory of one training step beyond parameters, optimizer state and data.

    python benchmarks/bench_memory.py [--only WORD]

gradc: the arena that the compiler planned and the workspace of one thread; nothing else is
allocated in a step. PyTorch: the peak of live bytes of an eager step, from the allocations that its
profiler records, with gradients freed at the start of the step as `zero_grad` does. JAX: the
temporary memory of the compiled, donating step, as its compiler reports it. The gathered batch
counts in all three, whose figures are exact, so that there is no spread.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import common
from workloads import WORKLOADS, Workload

LIBRARIES = ("gradc", "torch", "jax")


def gradc_bytes(workload: Workload) -> int:
    import train_gradc

    trainer = train_gradc.build(workload).compile(threads=1)
    entry = trainer.artifact.variant("run", {"batch": workload.batch}, False)
    return int(entry.memory_bytes(1))


def torch_bytes(workload: Workload) -> int:
    """Peak of the running sum of the step's allocations and frees."""
    import torch
    import train_torch

    runner = train_torch.Runner(workload, 1)
    rows = torch.arange(workload.batch) if workload.shuffled else None
    for _ in range(3):
        runner.step(rows)
    runner.optimizer.zero_grad()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with (
        silent_errors(),
        torch.profiler.profile(activities=activities, profile_memory=True) as profile,
    ):
        runner.step(rows)
    live = peak = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@contextlib.contextmanager
def silent_errors() -> Iterator[None]:
    """Nothing reaches standard error: PyTorch's profiler announces itself there, from C++."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def jax_bytes(workload: Workload) -> int:
    import jax.numpy as jnp
    import train_jax

    runner = train_jax.Runner(workload, loop=False)
    rows = jnp.arange(workload.batch)
    compiled = runner.one.lower(runner.state, rows, runner.x, runner.y).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise RuntimeError("this version of JAX does not say how much memory it plans")
    return int(analysis.temp_size_in_bytes)


def worker(library: str) -> None:
    common.limit_threads(1)
    measure = {"gradc": gradc_bytes, "torch": torch_bytes, "jax": jax_bytes}[library]
    common.serve(lambda question: {"bytes": measure(WORKLOADS[question["workload"]])})


def main() -> None:
    if common.WORKER in sys.argv:
        worker(sys.argv[-2])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    options = parser.parse_args()
    facts = common.show_machine()
    libraries = common.present(LIBRARIES)
    rows: list[dict[str, Any]] = []
    lines = []
    for workload in WORKLOADS.values():
        if options.only not in workload.name:
            continue
        row: dict[str, Any] = {"workload": workload.name, "batch": workload.batch}
        row["parameter bytes"] = sum(v.nbytes for v in workload.parameters().values())
        for library in libraries:
            process = common.Worker(__file__, library, 1)  # a second profile may lose allocations
            answer = process.ask({"workload": workload.name})
            row[library] = answer.get("bytes", answer.get("error"))
            process.close()
        rows.append(row)
        shown = [row["parameter bytes"], *(row[library] for library in libraries)]
        lines.append([workload.name, *(f"{v:,}" if isinstance(v, int) else v for v in shown)])
        if isinstance(row.get("torch"), int):
            lines[-1].append(f"{row['gradc'] / row['torch']:.2f}")
    header = ["bytes", "parameters", *(f"{library} step" for library in libraries)]
    header += ["gradc / torch"] if common.version_of("torch") else []
    print("\n" + common.table(header, [line + [""] * (len(header) - len(line)) for line in lines]))
    common.write_results("memory", facts, rows)


if __name__ == "__main__":
    main()
