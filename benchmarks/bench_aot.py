"""Training binaries: size, time to build, time to the first step, memory, speed against the JIT.

    python benchmarks/bench_aot.py [--rounds 7] [--only WORD]

Sizes are of the stripped file. Build times are of `gradc build` as a whole process: "cold" knows
the C runtime's objects but nothing of the model, "first ever" knows neither. Time to the first
step is that of a whole run of one step on one batch. Peak memory is what the kernel reports of the
process; the budget beside it is data + state + arena. Speed is epochs of training, the same data
and options, in alternating rounds: the time of a long run less that of a short one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import common
import numpy as np
from train_gradc import Runner, build
from workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "examples" / "digits.py"
CLI = [sys.executable, "-c", "from gradc.cli import main; main()"]
KIB = 1024
SECONDS_OF_TRAINING = 1.0
SPEED_WORKLOADS = ("xor", "digits", "mnist", "cifar2 3072", "lenet")  # names begin with these
BINARIES = (
    ("native", ["--cpu", "native"]),
    ("x86-64-v3", ["--cpu", "x86-64-v3"]),
    ("portable", ["--cpu", "portable"]),
    ("library", ["--kind", "library"]),
    ("static musl", ["--platform", "x86_64-linux-musl", "--cpu", "x86-64-v3"]),
    ("static musl, portable", ["--platform", "x86_64-linux-musl", "--cpu", "portable"]),
    ("aarch64 static musl", ["--platform", "aarch64-linux-musl"]),
)


def gradc_build(arguments: list[str], cache: Path) -> float:
    """Seconds of one `gradc build` as a process of its own."""
    environment = os.environ | {"GRADC_CACHE_DIR": str(cache)}
    started = time.perf_counter()
    subprocess.run([*CLI, "build", *arguments], check=True, env=environment, capture_output=True)
    return time.perf_counter() - started


def launcher(folder: Path) -> Path:
    made = folder / "launcher"
    source = Path(__file__).with_name("launcher.c")
    subprocess.run(["cc", "-O2", "-o", str(made), str(source)], check=True)
    return made


def launched(folder: Path, runs: int, command: list[str]) -> list[tuple[float, int]]:
    """(seconds, peak KiB) of each run of a command."""
    text = subprocess.check_output([str(folder / "launcher"), str(runs), *command], text=True)
    return [(float(s), int(k)) for s, k in (line.split() for line in text.splitlines())]


def sizes(folder: Path, cache: Path) -> list[dict[str, Any]]:
    """The digits example as every kind of binary."""
    rows: list[dict[str, Any]] = []
    for name, options in BINARIES:
        if "--platform" in options and importlib.util.find_spec("ziglang") is None:
            print(f"note: ziglang is not installed; {name} is left out")
            continue
        out = folder / f"digits-{name.replace(' ', '-').replace(',', '')}"
        gradc_build([str(DIGITS), "-o", str(out), "--batch", "64", *options], cache)
        rows.append({"binary": name, "bytes": out.stat().st_size})
    return rows


def build_times(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Cold builds: each round begins with a cache that holds the runtime alone, or nothing."""
    with_runtime, work = folder / "runtime-cache", folder / "work-cache"
    gradc_build([str(ROOT / "examples/xor.py"), "-o", str(folder / "xor")], with_runtime)
    found: dict[str, list[float]] = {"cold": [], "again": [], "first ever": []}
    for _ in range(rounds):
        for name in found:
            if name == "cold":
                shutil.rmtree(work, ignore_errors=True)
                shutil.copytree(with_runtime, work)
            if name == "first ever":
                shutil.rmtree(work)
            out = str(folder / "timed")
            found[name].append(gradc_build([str(DIGITS), "-o", out, "--batch", "64"], work))
    return [{"build": name, "seconds": common.spread(v)} for name, v in found.items()]


def first_step_and_memory(folder: Path, cache: Path, rounds: int) -> list[dict[str, Any]]:
    """One step of one batch; then a run of epochs for its peak memory."""
    rows: list[dict[str, Any]] = []
    spec = importlib.util.spec_from_file_location("digits_example", DIGITS)
    assert spec is not None and spec.loader is not None
    digits = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(digits)
    train = digits.data()["train"]
    for name in ("native", "static-musl"):
        binary = folder / f"digits-{name}"
        if not binary.exists():
            continue
        facts = json.loads(subprocess.check_output([str(binary), "--describe"], text=True))
        command = [str(binary), "--quiet"]
        small, data_bytes = list(command), 0
        for field, array in train.items():
            np.save(folder / f"{field}.npy", array)
            np.save(folder / f"{field}-64.npy", array[:64])
            command += ["--data", f"{field}={folder / field}.npy"]
            small += ["--data", f"{field}={folder / field}-64.npy"]
            data_bytes += array.nbytes
        first = launched(folder, 20 * rounds, [*small, "--epochs", "1", "--threads", "1"])
        for threads in (1, 2):
            memory = facts["arena_bytes"] + threads * facts["workspace_bytes"]
            budget = (data_bytes + facts["state_bytes"] + memory) / KIB
            runs = launched(folder, rounds, [*command, "--epochs", "3", f"--threads={threads}"])
            rows.append(
                {
                    "binary": name,
                    "threads": threads,
                    "first step seconds": common.spread([seconds for seconds, _ in first]),
                    "peak KiB": common.spread([float(kib) for _, kib in runs]),
                    "data + state + arena KiB": budget,
                }
            )
    return rows


class Worker:
    """The JIT's side of the comparison, in a process of its own."""

    def __init__(self, library: str, threads: int) -> None:
        self.worker = common.Worker(__file__, library, threads)

    def seconds(self, workload: str, epochs: int) -> float:
        answer = self.worker.ask({"workload": workload, "epochs": epochs})
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return float(answer["seconds"])


def serve_jit(threads: int) -> None:
    runners: dict[str, Runner] = {}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        name = question["workload"]
        if name not in runners:
            runners[name] = Runner(WORKLOADS[name], threads)
            runners[name].epochs(1)
        started = time.perf_counter()
        runners[name].epochs(question["epochs"])
        return {"seconds": time.perf_counter() - started}

    common.serve(answer)


def speed(folder: Path, cache: Path, rounds: int, only: str) -> list[dict[str, Any]]:
    """Seconds per epoch of the executable and of the JIT, in alternating rounds."""
    rows: list[dict[str, Any]] = []
    for name, workload in WORKLOADS.items():
        if only not in name or not name.startswith(SPEED_WORKLOADS):
            continue
        binary = folder / "speed" / name.replace(" ", "_")
        binary.parent.mkdir(exist_ok=True)
        build(workload).build(binary, batch=workload.batch)
        command = [str(binary), "--quiet"] + ([] if workload.shuffled else ["--no-shuffle"])
        for field, array in workload.data().items():
            np.save(folder / "speed" / f"{field}.npy", array)
            command += ["--data", f"{field}={folder / 'speed' / field}.npy"]
        for threads in (1, 2):
            jit = Worker("gradc", threads)
            jit.seconds(name, 1)
            epochs = max(2, int(SECONDS_OF_TRAINING / max(jit.seconds(name, 8) / 8, 1e-9)))
            epochs = min(epochs, 3_000_000)
            taken: dict[str, list[float]] = {"executable": [], "JIT": []}
            before = common.barrier_costs([jit.worker])
            for _ in range(rounds):
                taken["JIT"].append(jit.seconds(name, epochs) / epochs)
                time.sleep(common.PAUSE_SECONDS)
                counted = [
                    launched(folder, 1, [*command, f"--threads={threads}", f"--epochs={n}"])[0][0]
                    for n in (epochs + 1, 1)
                ]
                taken["executable"].append((counted[0] - counted[1]) / epochs)
            after = common.barrier_costs([jit.worker])
            jit.worker.close()
            rows.append(
                {"workload": name, "threads": threads, "barrier": [before, after]}
                | {way: common.spread(values) for way, values in taken.items()}
            )
    return rows


def main() -> None:
    if common.WORKER in sys.argv:
        common.limit_threads(int(sys.argv[-1]))
        serve_jit(int(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    options = parser.parse_args()
    facts = common.show_machine()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cache = folder / "cache"
        launcher(folder)
        made = sizes(folder, cache)
        print(
            "\n"
            + common.table(["digits", "bytes"], [[r["binary"], f"{r['bytes']:,}"] for r in made])
        )
        rows += made
        made = build_times(folder, options.rounds)
        lines = [[r["build"], *_each(r["seconds"], 1)] for r in made]
        print("\n" + common.table(["gradc build, s", "best", "median", "worst"], lines))
        rows += made
        made = first_step_and_memory(folder, cache, options.rounds)
        lines = [
            [
                f"{r['binary']}, {r['threads']} threads",
                *_each(r["first step seconds"], 1e3),
                f"{r['peak KiB'].median:,.0f}",
                f"{r['data + state + arena KiB']:,.0f}",
                f"{(r['peak KiB'].median - r['data + state + arena KiB']) / KIB:.2f}",
            ]
            for r in made
        ]
        header = [
            "digits",
            "first step ms",
            "median",
            "worst",
            "peak KiB",
            "planned KiB",
            "over MiB",
        ]
        print("\n" + common.table(header, lines))
        rows += made
        made = speed(folder, cache, options.rounds, options.only)
        lines = [
            [
                f"{r['workload']}, {r['threads']} threads",
                common.number(r["executable"].median * 1e6),
                common.number(r["JIT"].median * 1e6),
                f"{r['executable'].median / r['JIT'].median:.3f}"
                if common.are_comparable(*(cost["gradc"] for cost in r["barrier"]))
                else common.OTHER_CLASS,
            ]
            for r in made
        ]
        print("\n" + common.table(["us per epoch", "executable", "JIT", "ratio"], lines))
        if any(common.OTHER_CLASS in line for line in lines):
            print(common.REFUSAL)
        rows += made
    common.write_results("aot", facts, rows)


def _each(spread: common.Spread, factor: float) -> list[str]:
    return [common.number(v * factor) for v in (spread.best, spread.median, spread.worst)]


if __name__ == "__main__":
    main()
