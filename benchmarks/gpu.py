"""Training steps on an NVIDIA GPU: gradc's `fit` against PyTorch and JAX on the same device.

    python benchmarks/gpu.py [--rounds 3] [--seconds 0.5] [--only WORD ...]

The workloads, the data, the check of the first losses and the alternating rounds are those of
bench_training.py, with everything on the device: data sets lie there, minibatches are gathered
there. The rivals: PyTorch eager, torch.compile with CUDA graphs (mode "reduce-overhead"), JAX with
one jitted call per step, and with all steps in one call. A ratio is gradc's speed over that of the
fastest rival. Ends with a message, and exit status 1, where there is no device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import bench_training
import common
from workloads import WORKLOADS, Workload

from gradc.compiler.errors import DeviceError
from gradc.runtime.cuda.device import Device

GRADC = "gradc"
# The rivals by name: whose runner, and its options.
RUNNERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    GRADC: ("gradc", {"threads": 1, "target": "cuda"}),
    "torch": ("torch", {"threads": 1, "fused": True, "device": "cuda"}),
    "torch-compile": ("torch", {"threads": 1, "compiled": True, "device": "cuda"}),
    "jax-jit": ("jax", {"loop": False}),
    "jax-fori": ("jax", {"loop": True}),
}


def worker(name: str) -> None:
    """Answer questions about one candidate in this process: its first losses, its time."""
    library, options = RUNNERS[name]
    module = __import__(f"train_{library}")
    if library == "jax" and module.jax.default_backend() != "gpu":
        raise RuntimeError("this JAX has no GPU")
    runners: list[Any] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        workload = WORKLOADS[question["workload"]]
        if question["ask"] == "losses":
            runners.append(module.Runner(workload, **options))
            return {"losses": runners[-1].losses(bench_training.CHECK_STEPS)}
        seconds = common.seconds_per_call(runners[-1].epochs, question["seconds"])
        return {"seconds": seconds / workload.steps_per_epoch}

    common.serve(answer)


def measure(
    workload: Workload, names: Sequence[str], options: argparse.Namespace
) -> dict[str, Any]:
    """One row: the spread of each candidate, and who was left out for which reason."""
    workers = {name: common.Worker(__file__, name, 1) for name in names}
    losses, failed = {}, {}
    for name, process in workers.items():
        question = {"ask": "losses", "workload": workload.name}
        answer = bench_training.answer_or_death(process, question)
        if "error" in answer:
            failed[name] = answer["error"]
        else:
            losses[name] = answer["losses"]
    failed |= bench_training.agreeing(losses)
    able = [workers[name] for name in names if name not in failed]
    question = {"ask": "time", "workload": workload.name, "seconds": options.seconds}
    times, errors = common.alternate(able, question, options.rounds)
    for process in able:
        process.close()
    return {"workload": workload.name, "times": times, "failed": failed | errors}


def shown(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Cells: milliseconds of a step (median, spread), and the ratio to the fastest rival."""
    times, cells = row["times"], [row["workload"]]
    for name in names:
        found = times.get(name)
        spread = "" if found is None else f" ({found.best * 1e3:.3g}-{found.worst * 1e3:.3g})"
        cells.append("-" if found is None else f"{found.median * 1e3:.3g}{spread}")
    rivals = [found.median for name, found in times.items() if name != GRADC]
    own = times.get(GRADC)
    return [*cells, f"{min(rivals) / own.median:.2f}" if own and rivals else "-"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one measurement")
    parser.add_argument("--only", nargs="+", default=[], help="words in the workloads' names")
    options = parser.parse_args()
    try:
        device = Device()
    except DeviceError as error:
        print(f"gpu.py measures on an NVIDIA GPU, and there is none: {error}", file=sys.stderr)
        return 1
    facts = common.show_machine()
    facts |= {"gpu": device.name, "driver": f"CUDA {device.driver.version_text}"}
    print(f"device: {device.name}, {device.architecture}, {facts['driver']}")
    there = common.present(list(dict.fromkeys(library for library, _ in RUNNERS.values())))
    names = [name for name, (library, _) in RUNNERS.items() if library in there]
    rows = []
    for workload in WORKLOADS.values():
        if not options.only or any(word in workload.name for word in options.only):
            rows.append(measure(workload, names, options))
            for name, reason in rows[-1]["failed"].items():
                print(f"note: {workload.name}, {name}: {reason}")
    header = ["ms per step: median (best-worst)", *names, "ratio"]
    print(common.table(header, [shown(row, names) for row in rows]))
    plain = [{"workload": r["workload"], "failed": r["failed"], **r["times"]} for r in rows]
    common.write_results("gpu", facts, plain)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == [common.WORKER]:
        worker(sys.argv[2])
    else:
        sys.exit(main())
