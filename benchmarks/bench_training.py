"""Training steps of models that people train: gradc's `fit` against its rivals, side by side.

    python benchmarks/bench_training.py [--rounds 5] [--seconds 0.25] [--only WORD ...] [--resume]

The rivals: PyTorch eager, with fused optimizers, with channels last (and fused), and through
torch.compile; JAX with one jitted call per step, and with all steps in one call ("jax-fori"), as
gradc's fit has them. All do the same work: shuffled minibatches gathered from arrays in memory (a
single batch is taken in order), forward, gradient, update. Every candidate has a process of its
own for every workload and number of threads; rounds alternate between them, and each round begins
with the machine's FMA peak and the cost of a barrier. Before anything is timed the losses of the
first steps, from the same parameters and data, are compared: who differs gets no ratio.

The floor is the time that the multiply-adds of convolutions and linear layers need at that peak.
"first step s" is from the description of the model to the end of its first step, imports excluded,
without a cache; torch.compile keeps one (--cache), and its figure is that of the run that filled
it. A way that needs more than a second for a step is left out. Rows are written as they are ready:
--resume goes on where a run was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import common
import training_results
from candidates import CANDIDATES, GRADC, Candidate, chosen, load, make
from training_results import Results, Row
from workloads import WORKLOADS, Workload

CHECK_STEPS = 4
TOLERANCE = 1e-3
SLOW_SECONDS = 1.0
MACHINE = "machine"  # the worker that measures what the machine can do
COLD = "first_step.json"
CACHE = Path(__file__).resolve().parent.parent / "build" / "benchmarks"


def worker(name: str, threads: int) -> None:
    """Answer questions about one candidate, or about the machine, in this process."""
    if name == MACHINE:
        common.limit_threads(threads)
        common.serve(machine_answers(threads))
        return
    common.announce_threads(threads)
    module = load(name)  # on all CPUs: the imports of several processes overlap
    common.confine(threads)
    common.serve(candidate_answers(name, module, threads))


def machine_answers(threads: int) -> Any:
    import limits

    loop = limits.FmaLoop()
    return lambda _: {"gflops": loop.gflops(threads)}


def candidate_answers(name: str, module: Any, threads: int) -> Any:
    runners: list[Any] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        workload = WORKLOADS[question["workload"]]
        if question["ask"] == "begin":
            started = time.perf_counter()
            runners.append(make(name, module, workload, threads))
            losses = runners[0].losses(1)
            done = time.perf_counter()
            workload.data(), workload.parameters()  # made by the runner too, and not to be counted
            first = done - started - (time.perf_counter() - done)
            losses += runners[0].losses(CHECK_STEPS - 2)
            again = time.perf_counter()
            losses += runners[0].losses(1)
            step = time.perf_counter() - again
            return {"losses": losses, "first step seconds": first, "later step seconds": step}
        seconds = common.seconds_per_call(runners[0].epochs, question["seconds"])
        return {"seconds": seconds / workload.steps_per_epoch}

    return answer


def agreeing(losses: Mapping[str, Sequence[float]], tolerance: float = TOLERANCE) -> dict[str, str]:
    """Of candidates' first losses: who differs, and how. PyTorch eager is the measure, or whoever
    comes first."""
    reference = losses.get("torch") or next(iter(losses.values()), [])
    found = {}
    for name, own in losses.items():
        gaps = [abs(a - b) / max(abs(b), 1e-30) for a, b in zip(own, reference, strict=True)]
        if not all(gap <= tolerance for gap in gaps):  # "not": NaN differs too
            found[name] = f"its losses differ by {max(gaps):.1e}: {own} against {reference}"
    return found


def begin(
    workers: Mapping[str, common.Worker], workload: Workload
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """First steps of all: facts of those that may be compared, and why the others may not."""
    question = {"ask": "begin", "workload": workload.name}
    answers = {name: answer_or_death(process, question) for name, process in workers.items()}
    failed = {name: a["error"] for name, a in answers.items() if "error" in a}
    begun = {name: a for name, a in answers.items() if name not in failed}
    failed |= agreeing({name: a["losses"] for name, a in begun.items()})
    for name, facts in begun.items():
        if facts["later step seconds"] > SLOW_SECONDS and name != GRADC:
            failed[name] = f"left out: {facts['later step seconds']:.1f} s for a step"
    return {name: a for name, a in begun.items() if name not in failed}, failed


def answer_or_death(process: common.Worker, question: Mapping[str, Any]) -> dict[str, Any]:
    """The answer; a process that cannot even begin is a result too."""
    try:
        return process.ask(question)
    except (RuntimeError, OSError) as error:
        return {"error": str(error)}


def measure(
    workload: Workload,
    threads: int,
    machine: common.Worker,
    candidates: Sequence[Candidate],
    options: argparse.Namespace,
) -> Row:
    """The row of one workload at one number of threads."""
    with tempfile.TemporaryDirectory() as scratch:
        workers = {
            c.name: common.Worker(__file__, c.name, threads, caches(c, workload, threads, scratch))
            for c in candidates
        }
        begun, failed = begin(workers, workload)
        question = {"ask": "time", "workload": workload.name, "seconds": options.seconds}
        able = [workers[name] for name in begun]
        peaks: list[float] = []
        costs: list[dict[str, Any]] = []

        def before_round() -> None:
            peaks.append(machine.demand({"ask": "peak"})["gflops"])
            costs.append(machine.demand({"ask": "barrier", "threads": threads}))

        warm_up = question | {"seconds": options.seconds / 4}
        common.alternate(able, warm_up, 1)
        found, errors = common.alternate(able, question, options.rounds, before_round)
        memory = {name: workers[name].ask({"ask": "memory"})["MiB"] for name in found}
        for process in workers.values():
            process.close()
    for candidate in candidates:
        if candidate.cached and candidate.name in begun:
            begun[candidate.name] |= cold_first_step(
                cache_folder(candidate, workload, threads), begun[candidate.name]
            )
    return training_results.with_ratios({
        **conditions(workload, threads, options),
        "batch": workload.batch,
        "flops": workload.flops_per_step,
        "peak gflops": common.spread(peaks).median,
        "barrier ns": common.spread([c["kernel and barrier ns"] for c in costs]).median,
        "barrier class": training_results.barrier_class(costs),
        "candidates": {
            name: training_results.as_facts(seconds, begun[name], memory[name])
            for name, seconds in found.items()
        },
        "failed": failed | errors,
    })  # fmt: skip


def conditions(workload: Workload, threads: int, options: argparse.Namespace) -> Row:
    """What a row is measured of and how; equal conditions need not be measured again."""
    return {
        "workload": workload.name,
        "threads": threads,
        "rounds": options.rounds,
        "seconds a round": options.seconds,
        "revision": options.revision,
        "asked": options.candidates,
    }


def cache_folder(candidate: Candidate, workload: Workload, threads: int) -> Path:
    name = f"{candidate.name}-{workload.name}-{threads}".replace(" ", "_")
    return CACHE / name


def caches(candidate: Candidate, workload: Workload, threads: int, scratch: str) -> dict[str, str]:
    """Variables of a candidate's process: where it keeps compiled code."""
    kept = cache_folder(candidate, workload, threads) if candidate.cached else Path(scratch)
    return {"TORCHINDUCTOR_CACHE_DIR": str(kept), "GRADC_CACHE_DIR": f"{scratch}/gradc"}


def cold_first_step(folder: Path, begun: Mapping[str, Any]) -> dict[str, Any]:
    """The first step's seconds when this cache was empty: now, or in the run that filled it."""
    note = folder / COLD
    warm = begun["first step seconds"]
    if note.exists():
        return json.loads(note.read_text()) | {"first step seconds from cache": warm}
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps({"first step seconds": warm}))
    return {"first step seconds": warm}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="of one round and candidate")
    parser.add_argument("--only", nargs="*", default=[""], help="words in workloads' names")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--candidates", nargs="*", default=[], choices=list(CANDIDATES))
    parser.add_argument("--resume", action="store_true", help="keep rows that are there already")
    parser.add_argument("--results", type=Path, default=common.RESULTS / "training.json")
    options = parser.parse_args()
    options.revision = training_results.revision()
    return options


def main() -> None:
    if common.WORKER in sys.argv:
        worker(sys.argv[-2], int(sys.argv[-1]))
        return
    options = arguments()
    results = Results(options.results, common.show_machine())
    candidates = chosen(options.candidates)
    wanted = [w for w in WORKLOADS.values() if any(word in w.name for word in options.only)]
    started = time.perf_counter()
    for threads in options.threads:
        if threads > common.usable_cpus():
            print(f"note: {threads} threads need as many CPUs; left out")
            continue
        machine = common.Worker(__file__, MACHINE, threads)
        for workload in wanted:
            if workload.is_tiny and threads > 1:
                continue
            if options.resume and results.has(conditions(workload, threads, options)):
                continue
            able = [c for c in candidates if c.can(workload)]
            row = measure(workload, threads, machine, able, options)
            results.put(row, list(WORKLOADS))
            print(f"\n{training_results.details(row)}", flush=True)
        machine.close()
    print("\n" + training_results.summary(results.of([w.name for w in wanted])))
    print(f"\n{time.perf_counter() - started:.0f} s; written: {options.results.name}, .txt")


if __name__ == "__main__":
    main()
