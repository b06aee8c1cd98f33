"""Single kernels and tiny loops on an NVIDIA GPU: products, moves of memory, trainings of XOR.

    python benchmarks/gpu_kernels.py [--rounds 3] [--seconds 0.3] [--products 4096 8192]
                                     [--rows 65536] [--members 132] [--target cuda]

    products of bfloat16    TFLOP/s, beside PyTorch's
    memory                  GB/s of what reads and writes float32[rows, 1024], beside a copy of the
                            device's own and PyTorch's kernels
    tiny loops              steps a second of a training of XOR, alone and in a sweep

A kernel of gradc is a program that updates a state. Calls of it are put on the device's stream one
after the other, as a data set's pieces are; a loop in the program would make once what no step
changes. One of PyTorch writes to a given tensor. benchmarks/gpu.py calls this after its training
steps. With --target cpu everything runs without a device, so that it can be tried.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import common
import numpy as np
from workloads import WORKLOADS

import gradc as gc
from gradc.compiler.errors import DeviceError
from gradc.runtime.cuda.device import Block, Device
from gradc.runtime.executor import allocate_outputs

GRADC, TORCH, COPY = "gradc", "torch", "copy"
COLUMNS = 1024
XOR = "xor 2-2-1"
EPOCHS = 1 << 16
"""Of a training in the sweep, on a device; and a 64th of it, whose time is taken off."""
ARRAYS = {"scale and add": 3, "softmax": 2, "layer norm": 2, "column sums": 1}
"""Kernels of memory by name: arrays of [rows, COLUMNS] that they read and write."""

Call = Callable[[int], None]


def gradc_call(kind: str, size: int, target: str) -> Call:
    """A kernel as a program's update, any number of times."""
    shape = (size, size) if kind == "product" else (size, COLUMNS)
    dtype = gc.bfloat16 if kind == "product" else gc.float32
    x = gc.parameter("x", shape, dtype, gc.init.normal(std=0.1))
    y = gc.parameter("y", shape, dtype, gc.init.normal(std=0.1))
    made = {
        "product": lambda: x @ y,
        "scale and add": lambda: x * 0.5 + gc.relu(y),
        "softmax": lambda: gc.softmax(x, axis=1),
        "layer norm": lambda: gc.layer_norm(x, (COLUMNS,)),
        "column sums": lambda: gc.sum(x, axis=0),
    }[kind]()
    out = gc.state("out", made.shape, made.dtype, gc.init.zeros)
    gc.update(out, made)
    first = gc.sum(out[(slice(1),) * len(made.shape)])
    function = gc.compile(first, training=True, target=target)
    executor = function._executor
    entry = executor.artifact.variant("call", dims={}, bounded=False)
    call: Any = executor.prepare(entry, [], None, allocate_outputs(entry, 1))
    place: Any = executor.place

    def on_host(count: int) -> None:
        for _ in range(count):
            call.run(0, 1, entry.rows_maximum)

    def on_device(count: int) -> None:
        with place.lock, place.device as device:
            for _ in range(count):
                call.start(0, 1, entry.rows_maximum)
            device.synchronize()

    if not executor.on_device:
        return on_host
    call.set_output(0, None)  # a copy to the host's memory would be waited for
    return on_device


def torch_call(kind: str, size: int, target: str) -> Call:
    """The same by PyTorch's own kernels, into a given tensor where they can."""
    torch = __import__("torch")
    shape = (size, size) if kind == "product" else (size, COLUMNS)
    dtype = torch.bfloat16 if kind == "product" else torch.float32
    device = target.partition(":")[0]
    x, y, out = (torch.randn(shape, device=device, dtype=dtype) for _ in range(3))
    sums = torch.empty(shape[1], device=device, dtype=dtype)
    kernel = {
        "product": lambda: torch.mm(x, y, out=out),
        "scale and add": lambda: torch.add(torch.relu_(y), x, alpha=0.5, out=out),
        "softmax": lambda: torch.softmax(x, 1, out=out),
        "layer norm": lambda: torch.nn.functional.layer_norm(x, (COLUMNS,)),
        "column sums": lambda: torch.sum(x, 0, out=sums),
    }[kind]

    def run(count: int) -> None:
        for _ in range(count):
            kernel()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def copy_call(size: int, target: str) -> Call:
    """A copy of [size, COLUMNS], as the driver makes it; on the host NumPy's."""
    if target == "cpu":
        one, other = (np.ones((size, COLUMNS), np.float32) for _ in range(2))

        def on_host(count: int) -> None:
            for _ in range(count):
                np.copyto(other, one)

        return on_host
    size_bytes = 4 * size * COLUMNS
    device = Device()
    with device:
        here, there = (Block(device, size_bytes, "a copy") for _ in range(2))
        here.clear()

    def run(count: int) -> None:
        with device:
            for _ in range(count):
                there.take(here.address, size_bytes)
            device.synchronize()

    return run


def worker(name: str) -> None:
    """Answer how long one candidate takes, in this process; the last kernel is kept."""
    kept: dict[tuple[Any, ...], Call] = {}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        key = kind, size, target = question["kind"], question["size"], question["target"]
        if key not in kept:
            kept.clear()
            if kind == COPY:
                kept[key] = copy_call(size, target)
            else:
                kept[key] = {GRADC: gradc_call, TORCH: torch_call}[name](*key)
            kept[key](1)
        return {"seconds": common.seconds_per_call(kept[key], question["seconds"])}

    common.serve(answer)


def measure_kernels(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of products, then of what moves memory."""
    names = common.present([GRADC, TORCH])
    workers = [common.Worker(__file__, name, common.usable_cpus()) for name in names]
    cases = [("product", size) for size in options.products]
    cases += [(kind, options.rows) for kind in (COPY, *ARRAYS)]
    rows = []
    for kind, size in cases:
        question = {"kind": kind, "size": size, "target": options.target}
        asked = workers[:1] if kind == COPY else workers
        times, errors = common.alternate(
            asked, question | {"seconds": options.seconds}, options.rounds
        )
        for name, error in errors.items():
            print(f"note: {kind} {size}, {name}: {error}")
        rows.append({"kernel": kind, "size": size, "failed": errors, **times})
    for process in workers:
        process.close()
    return rows


def kernel_tables(rows: list[dict[str, Any]]) -> str:
    """Products in TFLOP/s, then memory in GB/s, and gradc's part of what it is held against."""
    products, moved, copied = [], [], 0.0
    for row in rows:
        kind, size = row["kernel"], row["size"]
        if kind == "product":
            rates = {n: 2 * size**3 / row[n].median / 1e12 for n in (GRADC, TORCH) if n in row}
            products.append([f"{size} x {size} x {size}", *_cells(rates, rates.get(TORCH))])
            continue
        size_bytes = 4 * size * COLUMNS * (2 if kind == COPY else ARRAYS[kind])
        rates = {n: size_bytes / row[n].median / 1e9 for n in (GRADC, TORCH) if n in row}
        copied = rates.get(GRADC, 0.0) if kind == COPY else copied
        moved.append([f"{kind}, {size} rows", *_cells(rates, copied)])
    header = [GRADC, TORCH]
    tables = (
        (["products of bfloat16, TFLOP/s", *header, "of torch"], products),
        (["memory, GB/s", *header, "of a copy"], moved),
    )
    return "\n\n".join(common.table(head, body) for head, body in tables if body)


def _cells(rates: Mapping[str, float], measure: float | None) -> list[str]:
    cells = [common.number(rates[n]) if n in rates else "-" for n in (GRADC, TORCH)]
    share = f"{rates[GRADC] / measure:.2f}" if GRADC in rates and measure else "-"
    return [*cells, share]


def steps_per_second(members: int, target: str) -> float:
    """Of trainings of XOR side by side, all together: what a longer run takes more."""
    workload, epochs = WORKLOADS[XOR], EPOCHS if target != "cpu" else EPOCHS // 16
    x, y = (workload.data()[name] for name in ("x", "y"))

    def program(lr: float) -> Any:
        given, wanted = gc.input("x", ("batch", 2)), gc.input("y", ("batch", 1))
        net = gc.nn.Sequential(gc.nn.Linear(2, 2), gc.nn.Tanh(), gc.nn.Linear(2, 1))
        return gc.training(gc.mse_loss(net(given), wanted), gc.optim.SGD(lr=lr))

    grid = {"lr": np.linspace(0.01, 0.1, members).tolist()}

    def trained(count: int) -> float:
        started = time.perf_counter()
        gc.sweep(
            program, grid, {"x": x, "y": y}, epochs=count, batch_size=len(x), parallel=members,
            target=target, progress=False,
        )  # fmt: skip
        return time.perf_counter() - started

    short = epochs // 64
    trained(short)  # compiles
    seconds = trained(epochs) - trained(short)
    return members * (epochs - short) / max(seconds, 1e-9)


def measure_loops(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of a training alone, and of many side by side."""
    rows = []
    for members in dict.fromkeys((1, options.members)):
        rows.append({"members": members, "steps": steps_per_second(members, options.target)})
    return rows


def loop_table(rows: list[dict[str, Any]]) -> str:
    body = [[str(row["members"]), common.number(row["steps"])] for row in rows]
    return common.table(["trainings of XOR at once", "steps a second"], body)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All of it, printed as it is found."""
    kernels = measure_kernels(options)
    print(kernel_tables(kernels) + "\n")
    loops = measure_loops(options)
    print(loop_table(loops))
    return [*kernels, *loops]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What benchmarks/gpu.py takes too."""
    parser.add_argument("--products", type=int, nargs="*", default=[4096, 8192], help="sizes")
    parser.add_argument("--rows", type=int, default=65_536, help=f"of {COLUMNS} numbers")
    parser.add_argument("--members", type=int, default=132, help="trainings in the sweep")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one measurement")
    parser.add_argument("--target", default="cuda")
    add_arguments(parser)
    options = parser.parse_args()
    if options.target != "cpu":
        try:
            print(f"device: {Device().name}")
        except DeviceError as error:
            print(f"gpu_kernels.py measures on an NVIDIA GPU, and there is none: {error}",
                  file=sys.stderr)  # fmt: skip
            return 1
    measure(options)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == [common.WORKER]:
        worker(sys.argv[2])
    else:
        sys.exit(main())
