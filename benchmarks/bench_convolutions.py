"""Convolutions, single ones and steps of stacks: which part of the FMA peak their kernels reach.

    python benchmarks/bench_convolutions.py [--rounds 5] [--seconds 0.5] [--only WORD]

First single convolutions in their three directions (directions.py), beside PyTorch's of images with
channels last.

Then whole steps: gathering of the batch, forward pass, both gradients, SGD with momentum. FLOPs are
those of the convolutions and linear layers alone (forward, both gradients; none for the gradient of
the data), so that what padding, activations and updates take shows as lost. PyTorch runs eager, in
its default layout of channels. Networks that people train, and all rivals: bench_training.py.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import candidates
import common
import directions
from directions import Direction
from workloads import CONVOLUTIONS, Workload

LIBRARIES = ("gradc", "torch")


def worker(library: str, threads: int) -> None:
    common.limit_threads(threads)
    runners: dict[str, candidates.Runner] = {}
    singles: dict[str, Any] = {}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        if question["ask"] == "limits":
            import limits

            loop = limits.FmaLoop()
            return {"gflops": max(loop.gflops(threads) for _ in range(5))}
        if question["case"] in directions.CASES:
            single = directions.CASES[question["case"]]
            if single.name not in singles:
                make = directions.gradc_call if library == "gradc" else directions.torch_call
                singles[single.name] = make(single, threads)
            return {"seconds": common.seconds_per_call(singles[single.name], question["seconds"])}
        case = CONVOLUTIONS[question["case"]]
        if case.name not in runners:
            module = candidates.load(library)
            runners[case.name] = candidates.make(library, module, case, threads)
        epoch = common.seconds_per_call(runners[case.name].epochs, question["seconds"])
        return {"seconds": epoch / case.steps_per_epoch}

    common.serve(answer)


def measure(
    workers: list[common.Worker],
    case: Workload | Direction,
    peak: float,
    options: argparse.Namespace,
) -> tuple[dict[str, Any], list[str]]:
    """The row of one case, and its line in the table."""
    question = {"ask": "time", "case": case.name, "seconds": options.seconds}
    common.alternate(workers, question, 1)  # compiles, warms up
    found, errors = common.alternate(workers, question, options.rounds)
    row: dict[str, Any] = {"case": case.name, "threads": workers[0].threads, **found, **errors}
    line = [case.name, f"{case.flops_per_step / 1e6:,.0f}"]
    for library in (worker.library for worker in workers):
        if library not in found:
            line += [errors[library][:40], "", ""]
            continue
        seconds = found[library]
        rate = case.flops_per_step / seconds.median / 1e9
        row[f"{library} part of peak"] = rate / peak
        spread = f"{common.number(seconds.best * 1e6)} / {common.number(seconds.median * 1e6)}"
        line += [spread, f"{rate:.1f}", f"{rate / peak:.0%}"]
    return row, line


def main() -> None:
    if common.WORKER in sys.argv:
        worker(sys.argv[-2], int(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one round and library")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    facts = common.show_machine()
    libraries = common.present(LIBRARIES)
    tables: list[tuple[str, list[Workload | Direction]]] = [
        ("convolution", [case for case in directions.CASES.values() if options.only in case.name]),
        ("step", [case for case in CONVOLUTIONS.values() if options.only in case.name]),
    ]
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        if threads > common.usable_cpus():
            print(f"note: {threads} threads need as many CPUs; left out")
            continue
        workers = [common.Worker(__file__, library, threads) for library in libraries]
        peak = workers[0].ask({"ask": "limits"})
        if "error" in peak:
            sys.exit(f"the machine's limits: {peak['error']}")
        print(f"\nthreads {threads}; FMA peak {peak['gflops']:.1f} GFLOP/s")
        for name, cases in tables:
            header = [name, "MFLOP"]
            for library in libraries:
                header += [f"{library} us best / median", "GFLOP/s", "of peak"]
            measured = [measure(workers, case, peak["gflops"], options) for case in cases]
            rows += [row for row, _ in measured]
            if cases:
                print("\n" + common.table(header, [line for _, line in measured]))
        for process in workers:
            process.close()
        rows.append({"peak": peak, "threads": threads})
    common.write_results("convolutions", facts, rows)


if __name__ == "__main__":
    main()
