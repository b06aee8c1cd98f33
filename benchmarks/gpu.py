"""Training steps on an NVIDIA GPU: gradc's `fit` against PyTorch and JAX on the same device.

    python benchmarks/gpu.py [--rounds 3] [--seconds 0.5] [--only WORD ...] [--skip-kernels]

The workloads, the data, the check of the first losses and the alternating rounds are those of
bench_training.py, with everything on the device: data sets lie there, minibatches are gathered
there. The rivals: PyTorch eager, torch.compile with CUDA graphs (mode "reduce-overhead"), JAX with
one jitted call per step, and with all steps in one call. A ratio is gradc's speed over that of the
fastest rival.

Models of a size that is trained on GPUs follow in bfloat16, beside PyTorch's autocast with images
in channels_last, and with the memory that a step needs. Then products, moves of memory and tiny
loops (gpu_kernels.py). Ends with a message, and exit status 1, where there is no device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import bench_training
import common
import gpu_kernels
from workloads import ON_GPUS, WORKLOADS, Workload

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
# Of ON_GPUS; images lie as each library likes them best.
IN_16_BITS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "torch-bf16": ("torch", {**RUNNERS["torch"][1], "autocast": True}),
    "torch-compile-bf16": ("torch", {**RUNNERS["torch-compile"][1], "autocast": True}),
    f"{GRADC}-bf16": ("gradc", {**RUNNERS[GRADC][1], "precision": "bf16"}),
}
TOLERANCE_OF_16_BITS = 2e-2
"""Of first losses: which factors are rounded is each library's choice."""


def worker(name: str) -> None:
    """Answer questions about one candidate in this process: its first losses, its time."""
    library, options = {**RUNNERS, **IN_16_BITS}[name]
    module = __import__(f"train_{library}")
    if library == "jax" and module.jax.default_backend() != "gpu":
        raise RuntimeError("this JAX has no GPU")
    runners: list[Any] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        workload = {**WORKLOADS, **ON_GPUS}[question["workload"]]
        if question["ask"] == "losses":
            order = {"channels_last": workload.has_images} if options.get("autocast") else {}
            runners.append(module.Runner(workload, **options, **order))
            return {"losses": runners[-1].losses(bench_training.CHECK_STEPS)}
        if question["ask"] == "bytes":
            return {"bytes": runners[-1].device_bytes()}
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
    is_short = workload.name in ON_GPUS
    tolerance = TOLERANCE_OF_16_BITS if is_short else bench_training.TOLERANCE
    failed |= bench_training.agreeing(losses, tolerance)
    able = [workers[name] for name in names if name not in failed]
    question = {"ask": "time", "workload": workload.name, "seconds": options.seconds}
    times, errors = common.alternate(able, question, options.rounds)
    sizes = {}
    for process in able if is_short else ():
        answer = bench_training.answer_or_death(process, {**question, "ask": "bytes"})
        sizes[process.library] = answer.get("bytes", 0)
    for process in able:
        process.close()
    row = {"workload": workload.name, "times": times, "failed": failed | errors, "bytes": sizes}
    for name, reason in row["failed"].items():
        print(f"note: {workload.name}, {name}: {reason}")
    return row


def shown(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Cells: milliseconds of a step (median, spread), and the ratio to the fastest rival."""
    times, cells = row["times"], [row["workload"]]
    for name in names:
        found = times.get(name)
        spread = "" if found is None else f" ({found.best * 1e3:.3g}-{found.worst * 1e3:.3g})"
        cells.append("-" if found is None else f"{found.median * 1e3:.3g}{spread}")
    rivals = [found.median for name, found in times.items() if not name.startswith(GRADC)]
    own = next((found for name, found in times.items() if name.startswith(GRADC)), None)
    return [*cells, f"{min(rivals) / own.median:.2f}" if own and rivals else "-"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one measurement")
    parser.add_argument("--only", nargs="+", default=[], help="words in the workloads' names")
    parser.add_argument("--skip-kernels", action="store_true", help="training steps alone")
    gpu_kernels.add_arguments(parser)
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
    rows = []
    for models, runners in ((WORKLOADS, RUNNERS), (ON_GPUS, IN_16_BITS)):
        names = [name for name, (library, _) in runners.items() if library in there]
        wanted = [w for w in models.values() if is_wanted(w.name, options.only)]
        found = [measure(workload, names, options) for workload in wanted]
        if found:
            header = ["ms per step: median (best-worst)", *names, "ratio"]
            print(common.table(header, [shown(row, names) for row in found]) + "\n")
        sizes = [memory_shown(row, names) for row in found if row["bytes"]]
        if sizes:
            print(common.table(["MiB of a step, data apart", *names], sizes) + "\n")
        rows += found
    plain = [
        {"workload": r["workload"], "failed": r["failed"], "bytes": r["bytes"], **r["times"]}
        for r in rows
    ]
    if not options.only and not options.skip_kernels:
        options.target = "cuda"
        plain += gpu_kernels.measure(options)
    common.write_results("gpu", facts, plain)
    return 0


def is_wanted(name: str, words: Sequence[str]) -> bool:
    return not words or any(word in name for word in words)


def memory_shown(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Cells: what each candidate had of the device's memory."""
    sizes = [row["bytes"].get(name) for name in names]
    return [row["workload"], *(common.number(size / 2**20) if size else "-" for size in sizes)]


if __name__ == "__main__":
    if sys.argv[1:2] == [common.WORKER]:
        worker(sys.argv[2])
    else:
        sys.exit(main())
