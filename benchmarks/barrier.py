"""What a kernel and the barrier behind it cost on this machine, now: where the cores lie.

A loop of two trivial kernels runs on the pool of compiled programs: each thread counts in a place
of its own, then reads its neighbour's, with a barrier behind each. On a shared host two virtual
cores are the halves of one core, two cores of one chiplet or cores far apart, and the host moves
them; figures of two threads are comparable within one of these classes alone. On a busy machine no
moment was quiet enough to tell, and its figures are comparable with none.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

from gradc.compiler.cpu_llvm.backend import POOL_SYMBOLS, Backend
from gradc.compiler.cpu_llvm.jit import process_engine
from gradc.compiler.cpu_llvm.target import compile_module

ITERATIONS = 2_000  # a round of them is over before the next other program runs
KERNELS = 2
ROUNDS = 25
LINE_BYTES = 128
# The costs seen are 52, 110 to 120 and 350 ns (Zen 4 hosts): the bounds lie between them.
CLASSES = ((80.0, "one core"), (200.0, "one chiplet"), (1000.0, "far apart"))
BUSY = "busy"

_TEXT = f"""
declare void @gradc_pool_run(ptr, ptr, ptr)
declare void @gradc_barrier(ptr, i64, i64)

define void @loop(ptr %pool, ptr %places) {{
  call void @gradc_pool_run(ptr %pool, ptr @team, ptr %places)
  ret void
}}

define void @team(ptr %places, i64 %tid, i64 %threads, ptr %pool) {{
entry:
  %next = add i64 %tid, 1
  %neighbour = urem i64 %next, %threads
  %own.at = mul i64 %tid, {LINE_BYTES}
  %other.at = mul i64 %neighbour, {LINE_BYTES}
  %own = getelementptr i8, ptr %places, i64 %own.at
  %seen = getelementptr i8, ptr %own, i64 8
  %other = getelementptr i8, ptr %places, i64 %other.at
  %alone = icmp eq i64 %threads, 1
  br label %first
first:
  %i = phi i64 [ 0, %entry ], [ %i.next, %behind ]
  %i.next = add i64 %i, 1
  store volatile i64 %i, ptr %own
  br i1 %alone, label %second, label %wait
wait:
  call void @gradc_barrier(ptr %pool, i64 %tid, i64 %threads)
  br label %second
second:
  %read = load volatile i64, ptr %other
  store volatile i64 %read, ptr %seen
  br i1 %alone, label %behind, label %wait.again
wait.again:
  call void @gradc_barrier(ptr %pool, i64 %tid, i64 %threads)
  br label %behind
behind:
  %more = icmp ult i64 %i.next, {ITERATIONS}
  br i1 %more, label %first, label %done
done:
  ret void
}}
"""


def measure(threads: int) -> dict[str, Any]:
    """The least over some rounds, in nanoseconds for one kernel with its barrier; the class of two
    threads and more."""
    back_end = Backend("native")
    pool_of = back_end.pool_address
    create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)(pool_of("gradc_pool_create"))
    destroy = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(pool_of("gradc_pool_destroy"))
    imports = {name: pool_of(name) for name in POOL_SYMBOLS[2:]}
    loaded = process_engine().load(compile_module(_TEXT, back_end.target), ["loop"], imports)
    loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(loaded.address("loop"))
    places = ctypes.create_string_buffer((threads + 1) * LINE_BYTES)
    pool = create(threads) if threads > 1 else None
    if threads > 1 and not pool:
        raise RuntimeError(f"no pool of {threads} threads can be had")
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        loop(pool, places)
        taken.append(time.perf_counter() - started)
    destroy(pool)
    cost_ns = min(taken) / ITERATIONS / KERNELS * 1e9
    where = class_of(threads, cost_ns)
    return {"threads": threads, "kernel and barrier ns": cost_ns, "class": where}


def class_of(threads: int, cost_ns: float) -> str:
    """Where the cores lie; one thread has no class."""
    if threads == 1:
        return ""
    return next((name for bound, name in CLASSES if cost_ns < bound), BUSY)
