"""Training steps: gradc's `fit` against PyTorch eager and JAX, on one and on two threads.

    python benchmarks/bench_training.py [--rounds 7] [--seconds 0.4] [--only WORD]

All libraries do the same work: shuffled minibatches gathered from arrays in memory (the four rows
of XOR are one batch, in order), forward, gradient, update. "jax-jit" is one call per step,
"jax-fori" runs all steps inside one call, as gradc's fit does. Before the timing the losses of five
steps are compared.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import common
from workloads import WORKLOADS, Workload

LIBRARIES = ("gradc", "torch", "jax-jit", "jax-fori")
CHECK_STEPS = 5
TINY = 2  # inputs of the workloads that are run on one thread alone


def worker(library: str, threads: int) -> None:
    """Answer questions about one library in this process."""
    common.limit_threads(threads)
    runners: dict[str, Any] = {}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        workload = WORKLOADS[question["workload"]]
        if question["ask"] == "losses":
            runners[workload.name] = make(library, workload, threads)
            return {"losses": runners[workload.name].losses(CHECK_STEPS)}
        seconds = common.seconds_per_call(runners[workload.name].epochs, question["seconds"])
        return {"seconds": seconds / workload.steps_per_epoch}

    common.serve(answer)


def make(library: str, workload: Workload, threads: int) -> Any:
    """A runner; only the library that is measured is imported."""
    if library == "gradc":
        import train_gradc

        return train_gradc.Runner(workload, threads)
    if library == "torch":
        import train_torch

        return train_torch.Runner(workload, threads)
    import train_jax

    return train_jax.Runner(workload, loop=library == "jax-fori")


def check_losses(workers: list[common.Worker], workload: Workload) -> list[common.Worker]:
    """The workers that train the same thing; prints those that do not."""
    question = {"ask": "losses", "workload": workload.name}
    answers = {worker.library: worker.ask(question) for worker in workers}
    good = {name: a["losses"] for name, a in answers.items() if "losses" in a}
    for name, found in answers.items():
        if "error" in found:
            print(f"  {name}: failed: {found['error']}")
    if len(good) > 1:
        reference = good.get("torch") or next(iter(good.values()))
        for name, losses in good.items():
            gap = max(abs(a - b) / abs(b) for a, b in zip(losses, reference, strict=True))
            if gap > 1e-3:
                print(f"  {name}: its losses differ by {gap:.1e}: {losses} against {reference}")
                del answers[name]
    return [worker for worker in workers if "losses" in answers.get(worker.library, {})]


def measure(
    workers: list[common.Worker],
    workload: Workload,
    threads: int,
    costs: common.Costs,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Rows of one workload at one number of threads, printed as a table too.

    costs   of a barrier, by library: times of different classes get no ratio
    """
    print(f"\n{workload.name}, batch {workload.batch}, threads {threads}")
    able = check_losses(workers, workload)
    if not able:
        return []
    question = {"ask": "time", "workload": workload.name, "seconds": options.seconds}
    common.alternate(able, question, 1)  # compiles, warms up
    found, errors = common.alternate(able, question, options.rounds)
    for name, error in errors.items():
        print(f"  {name}: failed: {error}")
    ours = found.get("gradc")
    rows, lines = [], []
    for name, seconds in found.items():
        alike = ours is not None and common.are_comparable(costs[name], costs["gradc"])
        ratio = seconds.median / ours.median if ours and alike else None
        lines.append([
            name, *(common.number(v * 1e6) for v in (seconds.best, seconds.median, seconds.worst)),
            common.number(1 / seconds.median),
            common.number(workload.steps_per_epoch * seconds.median * 1e3),
            f"{workload.flops_per_step / seconds.median / 1e9:.1f}",
            common.OTHER_CLASS if ratio is None else f"{ratio:.2f}",
        ])  # fmt: skip
        rows.append({
            "workload": workload.name, "threads": threads, "library": name,
            "seconds_per_step": seconds, "time_over_gradc": ratio,
            "gflops": workload.flops_per_step / seconds.median / 1e9, "barrier": costs[name],
        })  # fmt: skip
    header = [
        "library",
        "us/step best",
        "median",
        "worst",
        "steps/s",
        "ms/epoch",
        "GFLOP/s",
        "time / gradc",
    ]
    print(common.table(header, lines))
    if any(common.OTHER_CLASS in line for line in lines):
        print(common.REFUSAL)
    return rows


def main() -> None:
    if common.WORKER in sys.argv:
        worker(sys.argv[-2], int(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4, help="of one round and library")
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    facts = common.show_machine()
    libraries = common.present(LIBRARIES)
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        if threads > common.usable_cpus():
            print(f"note: {threads} threads need as many CPUs; left out")
            continue
        workers = [common.Worker(__file__, library, threads) for library in libraries]
        costs = common.barrier_costs(workers)
        for workload in WORKLOADS.values():
            is_tiny = workload.widths[0] <= TINY
            if options.only in workload.name and not (is_tiny and threads > 1):
                rows += measure(workers, workload, threads, costs, options)
        for process in workers:
            process.close()
    common.write_results("training", facts, rows)


if __name__ == "__main__":
    main()
