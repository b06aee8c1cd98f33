"""What training steps should take on an NVIDIA GPU, on paper: no device is needed, nor Triton.

    python benchmarks/predict_gpu.py [--target cuda:sm_90] [--only WORD ...] [--output FILE]

For each example that has a program, each benchmark model and two that people train on GPUs, the
kernels of a step, their bytes and operations, and the time that follows from the figures of one GPU
of the architecture (compiler/triton/peaks.py says whose, and from where; compiler/triton/costs.py
how). For H200 and A100 the file is benchmarks/results/predicted_h200.txt or predicted_a100.txt.
Nothing here is measured: benchmarks/gpu.py measures.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import common
import train_gradc
from workloads import ON_GPUS, WORKLOADS

from gradc.compiled import driver_program
from gradc.compiler.inspect import table
from gradc.compiler.triton.cost_table import cost_text, tune_first
from gradc.compiler.triton.costs import StepCost, step_cost
from gradc.compiler.triton.peaks import PEAKS
from gradc.compiler.triton.program import emit_program

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
EXAMPLE_ROWS = 64
MOST_KERNELS = 12
"""Shown of a program: `gradc inspect --target cuda:sm_90` shows all."""
TRAINED_IN = "bf16"
"""The precision of models that are trained on GPUs."""

Case = tuple[str, Callable[[], Any], int, str]
"""A name, what makes the program, rows of a batch, and a precision."""


def example_cases() -> Iterator[Case]:
    """Each file of examples/ that assigns `program`."""
    for path in sorted(EXAMPLES.glob("*.py")):
        if "\nprogram = " in path.read_text():
            yield path.stem, lambda path=path: _program_of(path), EXAMPLE_ROWS, "float32"


def _program_of(path: Path) -> Any:
    arguments, sys.argv = sys.argv, [str(path)]
    sys.path.insert(0, str(path.parent))
    try:
        return runpy.run_path(str(path), run_name="__program__")["program"]
    finally:
        sys.path.remove(str(path.parent))
        sys.argv = arguments


def cases() -> Iterator[Case]:
    """All of them."""
    yield from example_cases()
    for w in WORKLOADS.values():
        yield f"{w.name}, batch {w.batch}", lambda w=w: train_gradc.build(w), w.batch, "float32"
    for w in ON_GPUS.values():
        name = f"{w.name}, batch {w.batch}, {TRAINED_IN}"
        yield name, lambda w=w: train_gradc.build(w), w.batch, TRAINED_IN


def predicted(program: Any, rows: int, precision: str, architecture: str) -> StepCost:
    """The cost of a training step of so many rows."""
    bound, fixed = program.bound({}, None, "predict_gpu")
    name = bound.batch_dimension
    compiled = driver_program(bound.graphs, name, "cuda", precision, architecture)
    dims = {} if name is None else {name: rows if fixed is None else fixed}
    planned = compiled.lowered("run", dims, compiled.is_bounded("run", False))
    return step_cost(planned, emit_program(planned, architecture), PEAKS[architecture])


def summary(costs: dict[str, StepCost]) -> str:
    """A line for each program."""
    names = ("program", "launches", "us a step", "at peaks", "GFLOP", "TFLOP/s", "held")
    rows: list[tuple[str, ...]] = [names]
    for name, cost in costs.items():
        flops = sum(k.runs * (k.element_flops + k.product_flops) for k in cost.kernels)
        rows.append(
            (
                name,
                str(cost.launches),
                f"{cost.time_us:,.1f}",
                f"{cost.floor_us:,.1f}",
                f"{flops / 1e9:.3f}",
                f"{flops / cost.time_us / 1e6:.2f}",
                "in cache" if cost.in_cache else "in memory",
            )
        )
    return table(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cuda:sm_90", help="a GPU's architecture")
    parser.add_argument("--only", nargs="+", default=[], help="words in the programs' names")
    parser.add_argument("--output", type=Path, help="a file; results/predicted_GPU.txt, if all")
    options = parser.parse_args()
    architecture = options.target.removeprefix("cuda:")
    peaks = PEAKS[architecture]
    costs: dict[str, StepCost] = {}
    for name, make, rows, precision in cases():
        if not options.only or any(word in name for word in options.only):
            started = time.perf_counter()
            costs[name] = predicted(make(), rows, precision, architecture)
            seconds = time.perf_counter() - started
            print(f"{name}: {costs[name].time_us:,.1f} us ({seconds:.1f} s)", file=sys.stderr)
    head = f"Training steps as predicted for {peaks.name} ({architecture}): nothing is measured."
    details = [
        f"== {name}\n\n{cost_text(cost, architecture, MOST_KERNELS)}"
        for name, cost in costs.items()
    ]
    first = [f"  {name}: {tune_first(cost)}" for name, cost in costs.items() if tune_first(cost)]
    text = "\n\n".join([head, summary(costs), "\n".join(first), *details]) + "\n"
    output = options.output
    if output is None and not options.only:
        word = peaks.name.split()[0].lower()
        output = common.RESULTS / f"predicted_{word}.txt"
    if output is None:
        print(text)
    else:
        output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
