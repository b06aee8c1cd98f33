"""The thread pool: every thread runs, barriers order, crowding is slow but never hangs."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import platform
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from support_cpu import control_word

from gradc.compiler.cpu_llvm.emit import FunctionEmitter, ModuleEmitter
from gradc.compiler.cpu_llvm.jit import LoadedObject, process_engine
from gradc.compiler.cpu_llvm.target import compile_module, find_target
from gradc.compiler.cpu_llvm.threads import MAX_THREADS, pool_text

faulthandler.enable()
pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="pools need futexes")
CHAIN = 50


def mark_function() -> FunctionEmitter:
    """arg[tid] += 1 + 1000 * threads: shows who ran, how often, and what it was told."""
    f = FunctionEmitter("mark", [("ptr", "arg"), ("i64", "tid"), ("i64", "n"), ("ptr", "pool")])
    arg, tid, threads, _ = (f.parameter(i) for i in range(4))
    cell = f.gep(arg, tid, "i64")
    step = f.add(f.mul(threads, 1000), 1)
    f.store(f.add(f.load("i64", cell), step), cell)
    f.ret()
    return f


def chain_function() -> FunctionEmitter:
    """CHAIN rounds of x[tid] = x[tid - 1] + 1 between two arrays: wrong if a barrier leaks."""
    f = FunctionEmitter("chain", [("ptr", "arg"), ("i64", "tid"), ("i64", "n"), ("ptr", "pool")])
    arg, tid, threads, pool = (f.parameter(i) for i in range(4))
    left = f.binary("urem", f.add(tid, f.sub(threads, 1)), threads)
    with f.loop(0, CHAIN) as loop:
        side = f.mul(f.binary("and", loop.index, 1), 64)
        other = f.sub(64, side)
        got = f.load("i64", f.gep(arg, f.add(side, left), "i64"))
        f.store(f.add(got, 1), f.gep(arg, f.add(other, tid), "i64"))
        f.call("void", 1, "gradc_barrier", [pool, tid, threads])
        loop.next([])
    f.ret()
    return f


def tiny_function() -> FunctionEmitter:
    """arg[tid] = 1e-39 * 0.5 in float32: zero where denormals are flushed."""
    f = FunctionEmitter("tiny", [("ptr", "arg"), ("i64", "tid"), ("i64", "n"), ("ptr", "pool")])
    cell = f.gep(f.parameter(0), f.parameter(1), "float")
    f.store(f.mul(f.load("float", cell), 0.5), cell)
    f.ret()
    return f


@dataclass
class Pools:
    """The pool's functions through ctypes, and addresses of the functions to run."""

    loaded: LoadedObject

    def create(self, threads: int) -> int | None:
        make = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)
        return make(self.loaded.address("gradc_pool_create"))(threads)

    def destroy(self, pool: int | None) -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.loaded.address("gradc_pool_destroy"))(pool)

    def run(self, pool: int, symbol: str, data: np.ndarray) -> None:
        call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        address = self.loaded.address("gradc_pool_run")
        call(address)(pool, self.loaded.address(symbol), data.ctypes.data)


@pytest.fixture(scope="module")
def pools() -> Iterator[Pools]:
    faulthandler.dump_traceback_later(60, exit=True)
    target = find_target("native")
    module = ModuleEmitter("threads")
    module.add_text(pool_text(target))
    for function in (mark_function(), chain_function(), tiny_function()):
        module.add(function)
    names = ["gradc_pool_create", "gradc_pool_destroy", "gradc_pool_run", "mark", "chain", "tiny"]
    yield Pools(process_engine().load(compile_module(module.text(), target), names))
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.parametrize("threads", [1, 2, 3, 4, 9])
def test_every_thread_runs_each_job_once(pools: Pools, threads: int) -> None:
    pool = pools.create(threads)
    assert pool is not None
    data = np.zeros(64, np.int64)
    rounds = 2000 if threads <= 2 else 200
    for _ in range(rounds):
        pools.run(pool, "mark", data)
    pools.destroy(pool)
    expected = np.zeros(64, np.int64)
    expected[:threads] = rounds * (1000 * threads + 1)
    np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("threads", [1, 2, 4, 7])
def test_barriers_order_memory(pools: Pools, threads: int) -> None:
    pool = pools.create(threads)
    assert pool is not None
    for _ in range(100 if threads <= 2 else 10):
        data = np.zeros(128, np.int64)
        pools.run(pool, "chain", data)
        assert list(data[64 * (CHAIN % 2) :][:threads]) == [CHAIN] * threads
    pools.destroy(pool)


def test_pools_live_side_by_side_and_are_joined(pools: Pools) -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/task"))
    made = [pools.create(3) for _ in range(5)]
    assert len(os.listdir("/proc/self/task")) == before[1] + 10
    data = np.zeros(64, np.int64)
    for pool in made:
        assert pool is not None
        pools.run(pool, "mark", data)
    for pool in made:
        pools.destroy(pool)
    assert data[:4].tolist() == [15005] * 3 + [0]
    assert len(os.listdir("/proc/self/task")) == before[1]


def test_sizes_that_make_no_pool_give_null(pools: Pools) -> None:
    assert [pools.create(n) for n in (0, -1, MAX_THREADS + 1)] == [None] * 3
    pools.destroy(None)


def test_a_thread_that_cannot_be_made_undoes_the_pool(pools: Pools) -> None:
    """In a child process with an address-space limit that has room for few stacks."""
    resource = pytest.importorskip("resource")
    child = os.fork()
    if child == 0:
        used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        limit = used + (60 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        refused = pools.create(200) is None
        tasks = len(os.listdir("/proc/self/task"))
        os._exit(0 if refused and tasks == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_caller_keeps_affinity_and_workers_block_signals(pools: Pools) -> None:
    before = os.sched_getaffinity(0)
    tasks = set(os.listdir("/proc/self/task"))
    pool = pools.create(len(before))
    assert pool is not None
    pools.run(pool, "mark", np.zeros(max(64, len(before)), np.int64))
    assert os.sched_getaffinity(0) == before
    for task in set(os.listdir("/proc/self/task")) - tasks:
        status = open(f"/proc/self/task/{task}/status").read()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        assert blocked >> (signal.SIGINT - 1) & 1 and blocked >> (signal.SIGTERM - 1) & 1
        for number in ("SIGBUS", "SIGSEGV", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"):
            assert not blocked >> (getattr(signal, number) - 1) & 1, number
        assert len(os.sched_getaffinity(int(task))) == 1
    pools.destroy(pool)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets MXCSR")
def test_denormals_survive_a_caller_that_flushes_them(pools: Pools) -> None:
    pool = pools.create(2)
    assert pool is not None
    data = np.full(64, 1e-39, np.float32)
    with control_word(0x9FC0):
        pools.run(pool, "tiny", data)
    pools.destroy(pool)
    np.testing.assert_array_equal(data[:2], np.full(2, 1e-39, np.float32) * np.float32(0.5))


@pytest.mark.parametrize("name", ["x86-64-v3", "aarch64"])
def test_pool_compiles_for_other_targets(name: str) -> None:
    assert compile_module(pool_text(find_target(name)), find_target(name))[:4] == b"\x7fELF"
