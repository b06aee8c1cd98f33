"""What the machine itself can do: multiply-adds per second and copy bandwidth, measured.

The peak is that of independent chains of vector fused multiply-adds, written as LLVM IR: enough to
hide the latency of every current core (two a cycle, four or five cycles each), and no more than
stay in registers beside the factor: of more, a machine with 16 would measure its loads and stores.
Each thread runs a copy of it at the same time. Copy
bandwidth counts bytes read and bytes written, on arrays of the size that is asked for.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any

import numpy as np

from gradc.compiler.cpu_llvm.jit import process_engine
from gradc.compiler.cpu_llvm.target import compile_module, find_target

ITERATIONS = 4_000_000


class FmaLoop:
    """`run(threads)` gives the seconds that the given number of threads need for `flops`."""

    def __init__(self) -> None:
        target = find_target("native")
        lanes = target.vector_bytes // 4
        chains = target.machine.vector_registers * 3 // 4
        payload = compile_module(_fma_text(lanes, chains), target)
        self._loaded = process_engine().load(payload, ["fma_loop"])
        kind = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64)
        self._function = kind(self._loaded.address("fma_loop"))
        self.flops_per_thread = 2.0 * lanes * chains * ITERATIONS

    def gflops(self, threads: int) -> float:
        """GFLOP/s of so many threads together; ctypes releases the interpreter's lock."""
        self._function(ITERATIONS // 10)
        teams = [
            threading.Thread(target=self._function, args=(ITERATIONS,)) for _ in range(threads)
        ]
        started = time.perf_counter()
        for thread in teams:
            thread.start()
        for thread in teams:
            thread.join()
        return threads * self.flops_per_thread / (time.perf_counter() - started) / 1e9


def _fma_text(lanes: int, chains: int) -> str:
    vector = f"<{lanes} x float>"
    names = [f"%a{n}" for n in range(chains)]
    phis = [f"  {name} = phi {vector} [ %x, %entry ], [ {name}.next, %body ]" for name in names]
    steps = [
        f"  {name}.next = call {vector} @llvm.fma.v{lanes}f32"
        f"({vector} {name}, {vector} %x, {vector} %x)"
        for name in names
    ]
    total, sums = "%a0.next", []
    for n in range(1, chains):
        sums.append(f"  %s{n} = fadd {vector} {total}, %a{n}.next")
        total = f"%s{n}"
    return "\n".join([
        f"declare {vector} @llvm.fma.v{lanes}f32({vector}, {vector}, {vector})",
        "define float @fma_loop(i64 %n) {",
        "entry:",
        "  %f = sitofp i64 %n to float",
        "  %small = fdiv float %f, 1152921504606846976.0",
        f"  %one = insertelement {vector} undef, float %small, i32 0",
        f"  %x = shufflevector {vector} %one, {vector} undef, <{lanes} x i32> zeroinitializer",
        "  br label %body",
        "body:",
        "  %i = phi i64 [ 0, %entry ], [ %i.next, %body ]",
        *phis, *steps,
        "  %i.next = add nuw nsw i64 %i, 1",
        "  %more = icmp ult i64 %i.next, %n",
        "  br i1 %more, label %body, label %done",
        "done:", *sums,
        f"  %r = extractelement {vector} {total}, i32 0",
        "  ret float %r",
        "}",
    ])  # fmt: skip


def copy_gigabytes_per_second(size_bytes: int, seconds: float = 0.2) -> float:
    """Median bandwidth of NumPy's copy on one thread, source and target of `size_bytes` each."""
    source: Any = np.ones(size_bytes // 4, np.float32)
    target = np.empty_like(source)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 5:
        started = time.perf_counter()
        np.copyto(target, source)
        found.append(2 * size_bytes / (time.perf_counter() - started) / 1e9)
    return float(np.median(found))
