"""Single kernels: part of the measured peak or of copy bandwidth, against PyTorch and NumPy.

    python benchmarks/bench_kernels.py [--rounds 7] [--seconds 0.1] [--only WORD]

All libraries write into memory that is there already (`out=` in PyTorch, where it has that). NumPy
takes part in matrix products alone, whose operands are plain row-major inputs; "TN" is x^T y.
"Of limit" is GFLOP/s over the FMA peak for matrix products, and bytes (each array read or written
once) over copy bandwidth of arrays of that size for the others; values above 100 % are arrays that
stay in a cache, where a copy is not the limit. Below the table: geometric means over the products
of float32 with at least 128^3 multiply-adds, and the product that another library is best at.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import common
import numpy as np

LIBRARIES = ("gradc", "torch", "numpy")
LARGE_FLOPS = 2 * 128.0**3
SOFTMAX, ROWS = (4096, 1024), (4096, 1024)


@dataclass(frozen=True)
class Case:
    """kind, and the shapes of the operands, of one dtype."""

    name: str
    kind: str
    shapes: tuple[tuple[int, ...], ...]
    flops: float = 0.0
    dtype: str = "float32"

    @property
    def peak_part(self) -> float:
        """Of the float32 peak that elements of this size have."""
        return 4 / np.dtype(self.dtype).itemsize

    @property
    def result_elements(self) -> int:
        first = self.shapes[0]
        few = {"sum_all": 1, "sum_rows": first[0], "sum_columns": first[-1], "topk": 10 * first[0]}
        return few.get(self.kind, int(np.prod(first)))

    @property
    def bytes_moved(self) -> int:
        return 4 * (sum(int(np.prod(s)) for s in self.shapes) + self.result_elements)


def _product(op: str, m: int, n: int, k: int, dtype: str = "float32") -> Case:
    """op: of each operand, whether it is read as it lies, N, or transposed, T."""
    name = f"matmul {op} {m} x {n} x {k}" + ("" if dtype == "float32" else f" {dtype}")
    shapes = ((m, k) if op[0] == "N" else (k, m)), ((k, n) if op[1] == "N" else (n, k))
    return Case(name, f"matmul {op}", shapes, 2.0 * m * n * k, dtype)


PRODUCTS = (
    ("NN", 64, 64, 64), ("NN", 128, 128, 128), ("NN", 256, 256, 256), ("NN", 512, 512, 512),
    ("NN", 1024, 1024, 1024), ("NN", 2048, 2048, 2048),
    ("NN", 64, 1024, 3072), ("TN", 3072, 1024, 64), ("NT", 64, 3072, 1024),
    ("NN", 64, 512, 1024), ("TN", 1024, 512, 64), ("NT", 64, 1024, 512),
    ("NN", 64, 128, 512), ("TN", 512, 128, 64), ("NT", 64, 512, 128),
    ("NN", 256, 256, 784), ("TN", 784, 256, 256), ("NT", 256, 784, 256),
    ("NN", 64, 10, 128), ("TN", 128, 10, 64), ("NN", 32, 100, 300),
)  # fmt: skip
"""Squares; forward pass and both gradients of layers, by weights from large to small; tails."""


CASES = {
    c.name: c
    for c in (
        *(Case(f"add {n >> 10} Ki", "add", ((n,), (n,))) for n in (1 << 16, 1 << 20, 1 << 24)),
        Case("tanh 1024 Ki", "tanh", ((1 << 20,),)),
        Case("x * sigmoid(x) + y 1024 Ki", "swish_add", ((1 << 20,), (1 << 20,))),
        Case("softmax 4096 x 1024", "softmax", (SOFTMAX,)),
        Case("sum of rows 4096 x 1024", "sum_rows", (ROWS,)),
        Case("sum of columns 4096 x 1024", "sum_columns", (ROWS,)),
        Case("sum of all 4096 x 1024", "sum_all", (ROWS,)),
        *(
            Case(f"sort rows {rows} x {count}", "sort", ((rows, count),))
            for rows, count in ((1, 1_000_000), (64, 32_000), (4096, 256), (4096, 32))
        ),
        *(
            Case(f"greatest 10 of rows {rows} x {count}", "topk", ((rows, count),))
            for rows, count in ((64, 32_000), (4096, 256))
        ),
        *(_product(*sizes) for sizes in PRODUCTS),
        *(_product("NN", n, n, n, "float64") for n in (64, 256, 1024)),
        _product("NN", 64, 1024, 3072, "float64"), _product("TN", 1024, 512, 64, "float64"),
    )
}  # fmt: skip


def gradc_call(case: Case, arrays: list[Any], threads: int) -> Callable[[int], None]:
    """`call(n)` runs the compiled kernel n times on fixed memory."""
    import gradc as gc
    from gradc.compiler.driver import CompiledProgram
    from gradc.runtime.executor import Executor, allocate_outputs

    dtype = getattr(gc, case.dtype)
    inputs = [gc.input(f"x{n}", shape, dtype) for n, shape in enumerate(case.shapes)]
    bodies: dict[str, Callable[..., Any]] = {
        "add": lambda x, y: x + y,
        "tanh": gc.tanh,
        "swish_add": lambda x, y: x * gc.sigmoid(x) + y,
        "softmax": lambda x: gc.softmax(x, axis=1),
        "sum_rows": lambda x: gc.sum(x, axis=1),
        "sum_columns": lambda x: gc.sum(x, axis=0),
        "sum_all": gc.sum,
        "sort": gc.sort,
        "topk": lambda x: gc.topk(x, 10).values,
        "matmul NN": gc.matmul,
        "matmul TN": lambda x, y: gc.transpose(x) @ y,
        "matmul NT": lambda x, y: x @ gc.transpose(y),
    }
    graph = gc.compile({"y": bodies[case.kind](*inputs)}, threads=threads).graph
    program = CompiledProgram({"call": graph})
    executor = Executor(program, threads)
    entry = program.variant("call", {}, False)
    by_name = {f"x{n}": array for n, array in enumerate(arrays)}
    given = [by_name[field.name] for field in entry.inputs]
    prepared = executor.prepare(entry, given, None, allocate_outputs(entry, 1))

    def call(count: int) -> None:
        for _ in range(count):
            prepared.run(0, 1, entry.rows_maximum)

    return call


def torch_call(case: Case, arrays: list[Any], threads: int) -> Callable[[int], None]:
    import torch

    torch.set_num_threads(threads)
    x = [torch.from_numpy(array) for array in arrays]
    places = torch.empty(0, dtype=torch.int64)
    out = {
        "add": lambda o: torch.add(x[0], x[1], out=o),
        "tanh": lambda o: torch.tanh(x[0], out=o),
        "swish_add": lambda o: torch.add(torch.nn.functional.silu(x[0]), x[1], out=o),
        "softmax": lambda o: torch.softmax(x[0], 1, out=o),
        "sum_rows": lambda o: torch.sum(x[0], 1, out=o),
        "sum_columns": lambda o: torch.sum(x[0], 0, out=o),
        "sum_all": lambda o: torch.sum(x[0]),
        "sort": lambda o: torch.sort(x[0], dim=-1, stable=True, out=(o, places)),
        "topk": lambda o: torch.topk(x[0], 10, out=(o, places)),
        "matmul NN": lambda o: torch.mm(x[0], x[1], out=o),
        "matmul TN": lambda o: torch.mm(x[0].T, x[1], out=o),
        "matmul NT": lambda o: torch.mm(x[0], x[1].T, out=o),
    }[case.kind]
    result = torch.empty(0, dtype=getattr(torch, case.dtype))
    out(result)  # gives `result` its shape

    def call(count: int) -> None:
        with torch.no_grad():
            for _ in range(count):
                out(result)

    return call


def numpy_call(case: Case, arrays: list[Any], threads: int) -> Callable[[int], None]:
    """Of a product; its threads are those that worker() has announced."""
    op = case.kind.split()[1]
    x, y = (a if o == "N" else a.T for a, o in zip(arrays, op, strict=True))
    result = np.matmul(x, y)

    def call(count: int) -> None:
        for _ in range(count):
            np.matmul(x, y, out=result)

    return call


CALLS = {"gradc": gradc_call, "torch": torch_call, "numpy": numpy_call}


def worker(library: str, threads: int) -> None:
    common.limit_threads(threads)
    calls: dict[str, Callable[[int], None]] = {}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        if question["ask"] == "limits":
            import limits

            sizes = {
                str(size): limits.copy_gigabytes_per_second(size) for size in question["sizes"]
            }
            loop = limits.FmaLoop()
            return {"gflops": max(loop.gflops(threads) for _ in range(5)), "copy": sizes}
        case = CASES[question["case"]]
        if case.name not in calls:
            rng = np.random.default_rng(0)
            arrays = [rng.standard_normal(s).astype(case.dtype) for s in case.shapes]
            calls[case.name] = CALLS[library](case, arrays, threads)
        return {"seconds": common.seconds_per_call(calls[case.name], question["seconds"])}

    common.serve(answer)


def measure(
    workers: list[common.Worker],
    case: Case,
    peak: dict[str, Any],
    costs: common.Costs,
    options: argparse.Namespace,
) -> tuple[dict[str, Any], list[str]]:
    """The row of one case, and its line in the table; costs of a barrier as in bench_training."""
    question = {"ask": "time", "case": case.name, "seconds": options.seconds}
    asked = [w for w in workers if w.library != "numpy" or case.flops]
    common.alternate(asked, question, 1)
    found, errors = common.alternate(asked, question, options.rounds)
    row: dict[str, Any] = {"case": case.name, "threads": workers[0].threads, **found, **errors}
    line = [case.name]
    for library in (worker.library for worker in workers):
        if library not in found:
            line += [errors.get(library, "")[:40], "", ""]
            continue
        seconds = found[library]
        if case.flops:
            rate = case.flops / seconds.median / 1e9
            limit = peak["gflops"] * case.peak_part
            shown = f"{rate:.1f} GFLOP/s"
        else:
            rate = case.bytes_moved / seconds.median / 1e9
            limit = peak["copy"][str(case.bytes_moved // 2)]
            shown = f"{rate:.1f} GB/s"
        row[f"{library} part of limit"] = rate / limit
        spread = f"{common.number(seconds.best * 1e6)} / {common.number(seconds.median * 1e6)}"
        line += [f"{spread} / {common.number(seconds.worst * 1e6)}", shown, f"{rate / limit:.0%}"]
    for other in (w.library for w in workers if w.library != "gradc"):
        if "gradc" not in found or other not in found:
            line.append("")
        elif not common.are_comparable(costs[other], costs["gradc"]):
            line.append(common.OTHER_CLASS)
        else:
            row[f"{other} over gradc"] = found[other].median / found["gradc"].median
            line.append(f"{row[f'{other} over gradc']:.2f}")
    return row, line


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Of the large products of float32 among the rows of one number of threads: geometric means of
    the part of the peak that each library reaches, and the least lead over each other one."""
    large = [
        row
        for row in rows
        if CASES[row["case"]].flops >= LARGE_FLOPS and CASES[row["case"]].dtype == "float32"
    ]
    lines = []
    for library in LIBRARIES:
        parts = [row[key] for row in large if (key := f"{library} part of limit") in row]
        if parts:
            mean = math.exp(statistics.fmean(map(math.log, parts)))
            lines.append(f"{library}: {mean:.1%} of the peak, geometric mean of {len(parts)}")
        over = f"{library} over gradc"
        leads = [
            (row[over], row["case"]) for row in rows if over in row and "matmul" in row["case"]
        ]
        if leads:
            least, case = min(leads)
            lines.append(f"{library} takes {least:.2f} of the time of gradc or more: {case}")
    return lines


def main() -> None:
    if common.WORKER in sys.argv:
        worker(sys.argv[-2], int(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one round and library")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    facts = common.show_machine()
    libraries = common.present(LIBRARIES)
    cases = [case for case in CASES.values() if options.only in case.name]
    rows = []
    for threads in options.threads:
        if threads > common.usable_cpus():
            print(f"note: {threads} threads need as many CPUs; left out")
            continue
        workers = [common.Worker(__file__, library, threads) for library in libraries]
        sizes = sorted({case.bytes_moved // 2 for case in cases if not case.flops})
        peak = workers[0].ask({"ask": "limits", "sizes": sizes})
        if "error" in peak:
            sys.exit(f"the machine's limits: {peak['error']}")
        copies = [f"{int(s) >> 10} KiB {rate:.1f} GB/s" for s, rate in peak["copy"].items()]
        print(f"\nthreads {threads}; FMA peak {peak['gflops']:.1f} GFLOP/s")
        print(f"copy on one thread: {', '.join(copies)}")
        costs = common.barrier_costs(workers)
        header = ["kernel"]
        for library in libraries:
            header += [f"{library} us best / median / worst", "rate", "of limit"]
        header += [f"{library} / gradc" for library in libraries if library != "gradc"]
        lines, measured = [], []
        for case in cases:
            row, line = measure(workers, case, peak, costs, options)
            measured.append(row)
            lines.append(line + [""] * (len(header) - len(line)))
        print(common.table(header, lines))
        print("\n".join(summary(measured)))
        rows += measured
        if any(common.OTHER_CLASS in line for line in lines):
            print(common.REFUSAL)
        for process in workers:
            process.close()
        rows.append({"limits": peak, "threads": threads, "barrier": costs})
    common.write_results("kernels", facts, rows)


if __name__ == "__main__":
    main()
