"""What every benchmark shares: the machine, alternating rounds, tables and result files.

A figure is taken in worker processes, one per library and number of threads. The parent asks them
in turn, in a different order each round, so that a slow moment of the machine falls on all alike.
One process per library, because an idle team of threads of one library spins and would take a core
from the next. Every table shows best, median and worst round; ratios are of medians of one run.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAUSE_SECONDS = 0.15  # between two workers: an idle team of OpenBLAS spins for 2^28 cycles
WORKER = "--worker"


@dataclass(frozen=True)
class Spread:
    """One figure over the rounds, in the unit that was measured; smaller is better."""

    best: float
    median: float
    worst: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    return Spread(min(values), statistics.median(values), max(values), len(values))


def version_of(library: str) -> str | None:
    """The installed version, or None; "jax-fori" and the like belong to the package before "-"."""
    try:
        return importlib.metadata.version(library.split("-")[0])
    except importlib.metadata.PackageNotFoundError:
        return None


def usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """What a reader must know to compare figures."""
    facts: dict[str, Any] = {
        "cpu": platform.processor() or platform.machine(),
        "usable cpus": usable_cpus(),
        "python": platform.python_version(),
    }
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "cpu MHz")):
                facts.setdefault(line.split("\t")[0], line.split(":", 1)[1].strip())
        for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
            kind = (cache / "type").read_text()[0].lower().replace("u", "")
            level = (cache / "level").read_text().strip()
            facts[f"L{level}{kind}"] = (cache / "size").read_text().strip()
    for library in ("numpy", "llvmlite", "torch", "jax"):
        facts[library] = version_of(library) or "not installed"
    if hasattr(os, "getloadavg"):
        facts["load average"] = round(os.getloadavg()[0], 2)
    return facts


def limit_threads(threads: int) -> None:
    """Confine this process to so many CPUs; called before a library is imported."""
    announce_threads(threads)
    confine(threads)


def announce_threads(threads: int) -> None:
    """Tell libraries that are imported later how many threads they may have."""
    os.environ.update(thread_variables(threads))


def thread_variables(threads: int) -> dict[str, str]:
    """The variables by which libraries learn, when they are imported, how many threads they may
    have."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
    return dict.fromkeys(names, str(threads))


def confine(threads: int) -> None:
    """Let this process, and threads that it makes from now on, run on so many CPUs alone."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))


def peak_mebibytes() -> float:
    """The most memory that this process has had."""
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def plain_environment() -> dict[str, str]:
    """The variables of a measured process: its imports may keep and find bytecode, as those of an
    installed package do."""
    return {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}


class Worker:
    """A process of its own for one library; answers one JSON line per question.

    It learns from its environment how many threads libraries may have: its script imports NumPy,
    and with it a BLAS, before it knows what it is asked for.
    """

    def __init__(
        self,
        script: str,
        library: str,
        threads: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.library, self.threads = library, threads
        self._process = subprocess.Popen(
            [sys.executable, script, WORKER, library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=plain_environment() | thread_variables(threads) | (environment or {}),
        )

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker for {self.library} died at {dict(question)}")
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def demand(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """An answer without which there is no benchmark. Raises RuntimeError where it failed."""
        answer = self.ask(question)
        if "error" in answer:
            raise RuntimeError(f"{self.library}: {dict(question)}: {answer['error']}")
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The worker's side: answer every question of standard input, what a barrier costs, and how
    much memory the process has had."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        try:
            question = json.loads(line)
            if question.get("ask") == "barrier":
                import barrier

                reply = barrier.measure(question["threads"])
            elif question.get("ask") == "memory":
                reply = {"MiB": peak_mebibytes()}
            else:
                reply = answer(question)
        except Exception as error:  # a failure is a result: the parent reports it and goes on
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


Costs = Mapping[str, Mapping[str, Any]]


def barrier_costs(workers: Sequence[Worker]) -> Costs:
    """What a kernel and a barrier cost in each worker's process; printed as one line."""
    costs = {w.library: w.ask({"ask": "barrier", "threads": w.threads}) for w in workers}
    shown = []
    for name, cost in costs.items():
        if "error" in cost:
            shown.append(f"{name}: failed: {cost['error']}")
            continue
        where = f" ({cost['class']})" if cost["class"] else ""
        shown.append(f"{name} {cost['kernel and barrier ns']:.0f} ns{where}")
    print(f"a kernel and a barrier on {workers[0].threads} threads: {', '.join(shown)}")
    return costs


def are_comparable(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two figures are of one class: where the cores lay, or one thread. A busy machine's
    are of none."""
    classes = {cost.get("class", "busy") for cost in (one, other)}
    return len(classes) == 1 and "busy" not in classes


OTHER_CLASS = "other class"
REFUSAL = (
    f'note: "{OTHER_CLASS}": the cores lay otherwise, see benchmarks/barrier.py; figures of two '
    "threads of different classes are not compared"
)


def alternate(
    workers: Sequence[Worker],
    question: Mapping[str, Any],
    rounds: int,
    before_round: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Spread], dict[str, str]]:
    """`seconds` of every worker over alternating rounds, and the errors of those that failed."""
    values: dict[str, list[float]] = {worker.library: [] for worker in workers}
    errors: dict[str, str] = {}
    for number in range(rounds):
        before_round()
        turn = number % max(len(workers), 1)
        for worker in [*workers[turn:], *workers[:turn]]:
            if worker.library in errors:
                continue
            answer = worker.ask(question)
            if "error" in answer:
                errors[worker.library] = answer["error"]
            else:
                values[worker.library].append(answer["seconds"])
            time.sleep(PAUSE_SECONDS)
    found = {name: spread(v) for name, v in values.items() if v and name not in errors}
    return found, errors


def seconds_per_call(call: Callable[[int], None], budget_seconds: float) -> float:
    """Seconds for one unit of `call(n)`, which does n of them; n grows to fill the budget."""
    count = 1
    while True:
        started = time.perf_counter()
        call(count)
        elapsed = time.perf_counter() - started
        if elapsed >= budget_seconds / 2:
            return elapsed / count
        wanted = budget_seconds / max(elapsed, 1e-9) * count
        count = int(min(max(wanted, 2 * count), 64 * count))


def present(libraries: Sequence[str]) -> list[str]:
    """The libraries that are installed; says which columns are left out."""
    there = [name for name in libraries if name.startswith("gradc") or version_of(name)]
    for name in libraries:
        if name not in there:
            print(f"note: {name} is not installed; its column is left out")
    return there


def show_machine() -> dict[str, Any]:
    facts = machine()
    print(machine_line(facts))
    return facts


def machine_line(facts: Mapping[str, Any]) -> str:
    return "machine: " + ", ".join(f"{name} {value}" for name, value in facts.items())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain columns: the first left, the others right aligned."""
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """Four significant digits at most, thousands separated."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if value < 1 else f"{value:.3g}"


def write_results(name: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """benchmarks/results/NAME.json: the machine, and every row with all its figures."""
    RESULTS.mkdir(exist_ok=True)
    plain = [
        {key: asdict(value) if isinstance(value, Spread) else value for key, value in row.items()}
        for row in rows
    ]
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": dict(facts), "rows": plain}, indent=1) + "\n")
    print(f"written: {path.relative_to(Path(__file__).parent.parent)}")
