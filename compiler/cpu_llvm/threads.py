"""The pool of threads that runs compiled code, as text LLVM IR.

    ptr  @gradc_pool_create(i64 threads)              null if memory or a thread cannot be had
    void @gradc_pool_destroy(ptr pool)                ends and joins the workers; null is allowed
    void @gradc_pool_run(ptr pool, ptr fn, ptr arg)   every thread runs fn(arg, tid, threads, pool);
                                                      without a pool (null) the caller alone does
    void @gradc_barrier(ptr pool, i64 tid, i64 threads)   from inside fn, by all threads alike
    i32  @gradc_stop                                  in process: loops without a bound end where it
                                                      is not 0, as after Ctrl-C

SPMD: the caller of `run` is thread 0, the workers are 1 .. threads-1, and `run` returns when all
are done. Waiting spins a while, then sleeps in a futex, so that more threads than CPUs, or a busy
machine, make it slow but never hang. Pools have no global state: two do not know each other.
One pool serves one caller at a time. After fork() the child has no workers: there the caller alone
runs what is posted, which changes no bit, and `destroy` frees the memory and joins nobody.

* With exactly as many threads as CPUs that the process may use, worker n stays on the n-th of
  them and the caller moves to the first: otherwise Linux tends to wake a worker on the CPU where
  its caller spins. With fewer threads the scheduler is free to place them beside other programs.
* Signals are blocked in the workers: handlers run in threads that the program knows. All but those
  that an instruction raises where it stands: blocked, they would end the process without a word,
  where a handler could tell what happened (a mapped file that was cut short, say).
* `run` sets the floating point environment that C starts with (round to nearest, no flushing of
  denormals, no traps) for every thread and restores the caller's: libraries built with -ffast-math
  change it behind a program's back, and bits would then depend on it and on which thread did the
  work.
* Workers have the stack that the C library gives to threads, of which they need little: what is
  large lies in the workspaces.
* The kernel is called by number where that is rare: in a file, a function of the C library is as
  long as three such calls.

Linux on x86-64 and aarch64 (futex, affinity). Elsewhere the pool has one thread: `create` returns
null for more. Each word that threads write has a 128-byte line of its own.
Source: sleeping after spinning as in U. Drepper, "Futexes are tricky" (2011), mutex2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Template

from .emit_values import AROUND_LOOPS
from .target import Target

STOP_SYMBOL = "gradc_stop"
SPINS = 2000
MAX_THREADS = 1024
_SYNCHRONOUS_SIGNALS = (4, 5, 6, 7, 8, 11, 31)
"""SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS on both architectures."""
_LINE_BYTES = 128

_LINES = (
    "facts",  # i64 threads, spins, pinned, first cpu, i32 process: constant after creation
    "generation",  # i32: counts the jobs posted
    "sleepers",  # i32: workers that sleep on `generation`
    "pending",  # i32: workers that have not finished the job
    "caller_sleeps",  # i32: the caller sleeps on `pending`
    "job",  # ptr function, ptr argument: function null means end
    "arrived",  # i32: threads that have reached the barrier
    "episode",  # i32: counts the barriers passed
    "barrier_sleepers",  # i32: threads that sleep on `episode`
)
_ENTRIES_AT = len(_LINES) * _LINE_BYTES  # then, for each thread: i64 pthread, ptr pool, i64 tid
_ENTRY_BYTES = 32

_X86 = {
    "pause": "call void @llvm.x86.sse2.pause()",
    "futex": "202",
    "set_affinity": "203",
    "get_cpu": "309",
    "save_fp": "call void @llvm.x86.sse.stmxcsr(ptr %fp)",
    "default_fp": (
        "store i32 8064, ptr %fp.default\n  call void @llvm.x86.sse.ldmxcsr(ptr %fp.default)"
    ),
    "restore_fp": "call void @llvm.x86.sse.ldmxcsr(ptr %fp)",
    "declare": (
        "declare void @llvm.x86.sse2.pause()\n"
        "declare void @llvm.x86.sse.stmxcsr(ptr)\n"
        "declare void @llvm.x86.sse.ldmxcsr(ptr)"
    ),
}
_AARCH64 = {
    "pause": "call void @llvm.aarch64.hint(i32 1)",
    "futex": "98",
    "set_affinity": "122",
    "get_cpu": "168",
    "save_fp": "%fpcr = call i64 @llvm.aarch64.get.fpcr()\n  store i64 %fpcr, ptr %fp",
    "default_fp": "call void @llvm.aarch64.set.fpcr(i64 0)",
    "restore_fp": (
        "%fpcr.back = load i64, ptr %fp\n  call void @llvm.aarch64.set.fpcr(i64 %fpcr.back)"
    ),
    "declare": (
        "declare void @llvm.aarch64.hint(i32)\n"
        "declare i64 @llvm.aarch64.get.fpcr()\n"
        "declare void @llvm.aarch64.set.fpcr(i64)"
    ),
}

_WAITING = """
; Return when *word differs from old: spin, then sleep. sleepers tells wakers that one is needed.
define internal void @gradc.wait(ptr %word, i32 %old, ptr %sleepers, i64 %spins) $around {
entry:
  br label %spin
spin:
  %i = phi i64 [ 0, %entry ], [ %i.next, %again ]
  %seen = load atomic i32, ptr %word acquire, align 4
  %changed = icmp ne i32 %seen, %old
  br i1 %changed, label %done, label %again
again:
  $pause
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %spins
  br i1 %more, label %spin, label %sleep
sleep:
  %ignored = atomicrmw add ptr %sleepers, i32 1 seq_cst
  %seen.last = load atomic i32, ptr %word seq_cst, align 4
  %changed.last = icmp ne i32 %seen.last, %old
  br i1 %changed.last, label %woken, label %futex
futex: ; FUTEX_WAIT_PRIVATE
  %r = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i32 128, i32 %old,
                                    ptr null, ptr null, i32 0)
  br label %woken
woken:
  %ignored.too = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  %seen.now = load atomic i32, ptr %word acquire, align 4
  %changed.now = icmp ne i32 %seen.now, %old
  br i1 %changed.now, label %done, label %sleep
done:
  ret void
}

; Wake all that sleep on word; the caller has just changed it, seq_cst.
define internal void @gradc.wake(ptr %word, ptr %sleepers) nounwind optsize {
entry:
  %sleeping = load atomic i32, ptr %sleepers seq_cst, align 4
  %nobody = icmp eq i32 %sleeping, 0
  br i1 %nobody, label %done, label %futex
futex: ; FUTEX_WAKE_PRIVATE
  %r = call i64 (i64, ...) @syscall(i64 $futex, ptr %word, i32 129, i32 2147483647,
                                    ptr null, ptr null, i32 0)
  br label %done
done:
  ret void
}

define void @gradc_barrier(ptr %pool, i64 %tid, i64 %threads) nounwind optsize {
entry:
  %alone = icmp ule i64 %threads, 1
  br i1 %alone, label %done, label %arrive
arrive:
  %episode.at = getelementptr inbounds i8, ptr %pool, i64 $episode
  %arrived.at = getelementptr inbounds i8, ptr %pool, i64 $arrived
  %sleepers = getelementptr inbounds i8, ptr %pool, i64 $barrier_sleepers
  %episode = load atomic i32, ptr %episode.at monotonic, align 4
  %before = atomicrmw add ptr %arrived.at, i32 1 acq_rel
  %count = add i32 %before, 1
  %all = trunc i64 %threads to i32
  %last = icmp eq i32 %count, %all
  br i1 %last, label %release, label %wait
release:
  store atomic i32 0, ptr %arrived.at monotonic, align 4
  %episode.next = add i32 %episode, 1
  store atomic i32 %episode.next, ptr %episode.at seq_cst, align 4
  call void @gradc.wake(ptr %episode.at, ptr %sleepers)
  br label %done
wait:
  %spins.at = getelementptr inbounds i8, ptr %pool, i64 $facts_spins
  %spins = load i64, ptr %spins.at, align 8
  call void @gradc.wait(ptr %episode.at, i32 %episode, ptr %sleepers, i64 %spins)
  br label %done
done:
  ret void
}
"""

_AFFINITY = """
; The number of the tid-th CPU of a mask of 1024, and -1 beyond the last.
define internal i64 @gradc.nth_cpu(ptr %mask, i64 %tid) nounwind optsize {
entry:
  br label %next
next:
  %cpu = phi i64 [ 0, %entry ], [ %cpu.next, %skip ]
  %seen = phi i64 [ 0, %entry ], [ %seen.next, %skip ]
  %word = lshr i64 %cpu, 6
  %bit = and i64 %cpu, 63
  %at = getelementptr inbounds i64, ptr %mask, i64 %word
  %bits = load i64, ptr %at, align 8
  %shifted = lshr i64 %bits, %bit
  %set = and i64 %shifted, 1
  %seen.next = add i64 %seen, %set
  %found = icmp ugt i64 %seen.next, %tid
  br i1 %found, label %yes, label %skip
skip:
  %cpu.next = add i64 %cpu, 1
  %more = icmp ult i64 %cpu.next, 1024
  br i1 %more, label %next, label %no
yes:
  ret i64 %cpu
no:
  ret i64 -1
}

; Let the calling thread run on this CPU only.
define internal void @gradc.pin(i64 %cpu) nounwind optsize {
entry:
  %mask = alloca [16 x i64], align 8
  call void @llvm.memset.p0.i64(ptr %mask, i8 0, i64 128, i1 false)
  %word = lshr i64 %cpu, 6
  %bit = and i64 %cpu, 63
  %at = getelementptr inbounds i64, ptr %mask, i64 %word
  %bits = shl i64 1, %bit
  store i64 %bits, ptr %at, align 8
  %r = call i64 (i64, ...) @syscall(i64 $set_affinity, i32 0, i64 128, ptr %mask)
  ret void
}

; Decide about spinning and pinning: facts of the pool.
define internal void @gradc.place(ptr %pool, i64 %threads) nounwind optsize {
entry:
  %mask = alloca [16 x i64], align 8
  call void @llvm.memset.p0.i64(ptr %mask, i8 0, i64 128, i1 false)
  %r = call i32 @sched_getaffinity(i32 0, i64 128, ptr %mask)
  br label %count
count:
  %i = phi i64 [ 0, %entry ], [ %i.next, %count ]
  %cpus = phi i64 [ 0, %entry ], [ %cpus.next, %count ]
  %at = getelementptr inbounds i64, ptr %mask, i64 %i
  %bits = load i64, ptr %at, align 8
  %ones = call i64 @llvm.ctpop.i64(i64 %bits)
  %cpus.next = add i64 %cpus, %ones
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, 16
  br i1 %more, label %count, label %decide
decide:
  %crowded = icmp ugt i64 %threads, %cpus.next
  %spins = select i1 %crowded, i64 1, i64 $spins
  %exact = icmp eq i64 %threads, %cpus.next
  %pinned = zext i1 %exact to i64
  %first = call i64 @gradc.nth_cpu(ptr %mask, i64 0)
  %facts = getelementptr inbounds i8, ptr %pool, i64 $facts
  store i64 %threads, ptr %facts, align 8
  %spins.at = getelementptr inbounds i8, ptr %pool, i64 $facts_spins
  store i64 %spins, ptr %spins.at, align 8
  %pinned.at = getelementptr inbounds i8, ptr %pool, i64 $facts_pinned
  store i64 %pinned, ptr %pinned.at, align 8
  %first.at = getelementptr inbounds i8, ptr %pool, i64 $facts_first
  store i64 %first, ptr %first.at, align 8
  ret void
}
"""

_WORKERS = """
define internal ptr @gradc.worker(ptr %mine) nounwind optsize {
entry:
  %fp = alloca i64, align 8
  %fp.default = alloca i32, align 4
  $default_fp
  %pool.at = getelementptr inbounds i8, ptr %mine, i64 8
  %pool = load ptr, ptr %pool.at, align 8
  %tid.at = getelementptr inbounds i8, ptr %mine, i64 16
  %tid = load i64, ptr %tid.at, align 8
  %facts = getelementptr inbounds i8, ptr %pool, i64 $facts
  %threads = load i64, ptr %facts, align 8
  %spins.at = getelementptr inbounds i8, ptr %pool, i64 $facts_spins
  %spins = load i64, ptr %spins.at, align 8
  %generation.at = getelementptr inbounds i8, ptr %pool, i64 $generation
  %sleepers = getelementptr inbounds i8, ptr %pool, i64 $sleepers
  %pending = getelementptr inbounds i8, ptr %pool, i64 $pending
  %caller_sleeps = getelementptr inbounds i8, ptr %pool, i64 $caller_sleeps
  %job = getelementptr inbounds i8, ptr %pool, i64 $job
  %arg.at = getelementptr inbounds i8, ptr %job, i64 8
  %pinned.at = getelementptr inbounds i8, ptr %pool, i64 $facts_pinned
  %pinned = load i64, ptr %pinned.at, align 8
  %free = icmp eq i64 %pinned, 0
  br i1 %free, label %loop, label %pin
pin:
  %mask = alloca [16 x i64], align 8
  call void @llvm.memset.p0.i64(ptr %mask, i8 0, i64 128, i1 false)
  %r = call i32 @sched_getaffinity(i32 0, i64 128, ptr %mask)
  %cpu = call i64 @gradc.nth_cpu(ptr %mask, i64 %tid)
  %none = icmp slt i64 %cpu, 0
  br i1 %none, label %loop, label %stay
stay:
  call void @gradc.pin(i64 %cpu)
  br label %loop
loop:
  %old = phi i32 [ 0, %entry ], [ 0, %pin ], [ 0, %stay ], [ %now, %finished ]
  call void @gradc.wait(ptr %generation.at, i32 %old, ptr %sleepers, i64 %spins)
  %now = load atomic i32, ptr %generation.at acquire, align 4
  %fn = load ptr, ptr %job, align 8
  %arg = load ptr, ptr %arg.at, align 8
  %end = icmp eq ptr %fn, null
  br i1 %end, label %out, label %run
run:
  call void %fn(ptr %arg, i64 %tid, i64 %threads, ptr %pool)
  %left = atomicrmw sub ptr %pending, i32 1 seq_cst
  %last = icmp eq i32 %left, 1
  br i1 %last, label %tell, label %finished
tell:
  call void @gradc.wake(ptr %pending, ptr %caller_sleeps)
  br label %finished
finished:
  br label %loop
out:
  ret ptr null
}

define internal void @gradc.post(ptr %pool, ptr %fn, ptr %arg, i64 %workers) nounwind optsize {
entry:
  %job = getelementptr inbounds i8, ptr %pool, i64 $job
  store ptr %fn, ptr %job, align 8
  %arg.at = getelementptr inbounds i8, ptr %job, i64 8
  store ptr %arg, ptr %arg.at, align 8
  %pending = getelementptr inbounds i8, ptr %pool, i64 $pending
  %count = trunc i64 %workers to i32
  store atomic i32 %count, ptr %pending monotonic, align 4
  %generation = getelementptr inbounds i8, ptr %pool, i64 $generation
  %r = atomicrmw add ptr %generation, i32 1 seq_cst
  %sleepers = getelementptr inbounds i8, ptr %pool, i64 $sleepers
  call void @gradc.wake(ptr %generation, ptr %sleepers)
  ret void
}

; Whether this is another process than the one that made the pool: its child by fork().
define internal i1 @gradc.forked(ptr %pool) nounwind optsize {
entry:
  %process.at = getelementptr inbounds i8, ptr %pool, i64 $facts_process
  %process = load i32, ptr %process.at, align 4
  %here = call i32 @getpid()
  %forked = icmp ne i32 %process, %here
  ret i1 %forked
}

define void @gradc_pool_run(ptr %pool, ptr %fn, ptr %arg) nounwind optsize {
entry:
  %fp = alloca i64, align 8
  %fp.default = alloca i32, align 4
  %mask = alloca [16 x i64], align 8
  $save_fp
  $default_fp
  %none = icmp eq ptr %pool, null
  br i1 %none, label %single, label %count
count:
  %facts = getelementptr inbounds i8, ptr %pool, i64 $facts
  %threads = load i64, ptr %facts, align 8
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %single, label %look
look:
  %forked = call i1 @gradc.forked(ptr %pool)
  br i1 %forked, label %single, label %many
single:
  call void %fn(ptr %arg, i64 0, i64 1, ptr %pool)
  br label %done
many:
  %pinned.at = getelementptr inbounds i8, ptr %pool, i64 $facts_pinned
  %pinned = load i64, ptr %pinned.at, align 8
  %first.at = getelementptr inbounds i8, ptr %pool, i64 $facts_first
  %first = load i64, ptr %first.at, align 8
  $here
  %here.wide = sext i32 %here to i64
  %there = icmp eq i64 %here.wide, %first
  %free = icmp eq i64 %pinned, 0
  %stay = or i1 %there, %free
  br i1 %stay, label %post, label %move
move:
  %got = call i32 @sched_getaffinity(i32 0, i64 128, ptr %mask)
  %failed = icmp slt i32 %got, 0
  br i1 %failed, label %post, label %migrate
migrate:
  call void @gradc.pin(i64 %first)
  %back = call i64 (i64, ...) @syscall(i64 $set_affinity, i32 0, i64 128, ptr %mask)
  br label %post
post:
  %workers = sub i64 %threads, 1
  call void @gradc.post(ptr %pool, ptr %fn, ptr %arg, i64 %workers)
  call void %fn(ptr %arg, i64 0, i64 %threads, ptr %pool)
  %pending = getelementptr inbounds i8, ptr %pool, i64 $pending
  %sleeps = getelementptr inbounds i8, ptr %pool, i64 $caller_sleeps
  %spins.at = getelementptr inbounds i8, ptr %pool, i64 $facts_spins
  %spins = load i64, ptr %spins.at, align 8
  br label %join
join:
  %left = load atomic i32, ptr %pending acquire, align 4
  %joined = icmp eq i32 %left, 0
  br i1 %joined, label %done, label %wait
wait:
  call void @gradc.wait(ptr %pending, i32 %left, ptr %sleeps, i64 %spins)
  br label %join
done:
  $restore_fp
  ret void
}
"""

_LIFE = """
; End and join the first `started` workers, free the pool.
define internal void @gradc.end(ptr %pool, i64 %started) nounwind optsize {
entry:
  call void @gradc.post(ptr %pool, ptr null, ptr null, i64 0)
  br label %test
test:
  %i = phi i64 [ 1, %entry ], [ %i.next, %join ]
  %more = icmp ule i64 %i, %started
  br i1 %more, label %join, label %done
join:
  %bytes = mul i64 %i, $entry_bytes
  %from = add i64 %bytes, $entries
  %mine = getelementptr inbounds i8, ptr %pool, i64 %from
  %thread = load i64, ptr %mine, align 8
  %r = call i32 @pthread_join(i64 %thread, ptr null)
  %i.next = add i64 %i, 1
  br label %test
done:
  call void @free(ptr %pool)
  ret void
}

define void @gradc_pool_destroy(ptr %pool) nounwind optsize {
entry:
  %none = icmp eq ptr %pool, null
  br i1 %none, label %done, label %look
look:
  %forked = call i1 @gradc.forked(ptr %pool)
  br i1 %forked, label %drop, label %end
drop:
  call void @free(ptr %pool)
  br label %done
end:
  %facts = getelementptr inbounds i8, ptr %pool, i64 $facts
  %threads = load i64, ptr %facts, align 8
  %workers = sub i64 %threads, 1
  call void @gradc.end(ptr %pool, i64 %workers)
  br label %done
done:
  ret void
}

define ptr @gradc_pool_create(i64 %threads) nounwind optsize {
entry:
  %all = alloca [16 x i64], align 8
  %before = alloca [16 x i64], align 8
  %small = sub i64 %threads, 1
  %valid = icmp ult i64 %small, $max_threads
  br i1 %valid, label %allocate, label %refuse
allocate:
  %lines = shl i64 %threads, 7
  %bytes = add i64 %lines, $entries
  %pool = call ptr @aligned_alloc(i64 128, i64 %bytes)
  %no.memory = icmp eq ptr %pool, null
  br i1 %no.memory, label %refuse, label %begin
begin:
  call void @llvm.memset.p0.i64(ptr %pool, i8 0, i64 %bytes, i1 false)
  call void @gradc.place(ptr %pool, i64 %threads)
  %process.at = getelementptr inbounds i8, ptr %pool, i64 $facts_process
  %process = call i32 @getpid()
  store i32 %process, ptr %process.at, align 4
  call void @llvm.memset.p0.i64(ptr %all, i8 -1, i64 128, i1 false)
  store i64 $blocked, ptr %all, align 8
  %r0 = call i32 @pthread_sigmask(i32 0, ptr %all, ptr %before) ; SIG_BLOCK
  br label %test
test:
  %i = phi i64 [ 1, %begin ], [ %i.next, %spawned ]
  %more = icmp ult i64 %i, %threads
  br i1 %more, label %spawn, label %complete
spawn:
  %offset = mul i64 %i, $entry_bytes
  %from = add i64 %offset, $entries
  %mine = getelementptr inbounds i8, ptr %pool, i64 %from
  %pool.at = getelementptr inbounds i8, ptr %mine, i64 8
  store ptr %pool, ptr %pool.at, align 8
  %tid.at = getelementptr inbounds i8, ptr %mine, i64 16
  store i64 %i, ptr %tid.at, align 8
  %error = call i32 @pthread_create(ptr %mine, ptr null, ptr @gradc.worker, ptr %mine)
  %failed = icmp ne i32 %error, 0
  br i1 %failed, label %complete, label %spawned
spawned:
  %i.next = add i64 %i, 1
  br label %test
complete:
  %r1 = call i32 @pthread_sigmask(i32 2, ptr %before, ptr null) ; SIG_SETMASK
  %whole = icmp eq i64 %i, %threads
  br i1 %whole, label %ready, label %undo
undo:
  %started = sub i64 %i, 1
  call void @gradc.end(ptr %pool, i64 %started)
  br label %refuse
ready:
  ret ptr %pool
refuse:
  ret ptr null
}
"""

_HERE = "%here = call i32 @sched_getcpu()"
_HERE_BY_NUMBER = """%r = call i64 (i64, ...) @syscall(i64 $get_cpu, ptr %mask, ptr null, ptr null)
  %here = load i32, ptr %mask, align 8"""

_DECLARATIONS = """
declare i64 @syscall(i64, ...)
declare i32 @getpid()
declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sched_getaffinity(i32, i64, ptr)
declare i64 @llvm.ctpop.i64(i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""

_OF_LIBC = re.compile(r"^(declare \S+ @(?!llvm\.).*)$", re.MULTILINE)
_NO_STUBS = """
!llvm.module.flags = !{!0}
!0 = !{i32 7, !"RtLibUseGOT", i32 1}
"""

_SINGLE = """
define ptr @gradc_pool_create(i64 %threads) nounwind optsize {
entry:
  %alone = icmp eq i64 %threads, 1
  br i1 %alone, label %make, label %refuse
make:
  %pool = call ptr @malloc(i64 128)
  ret ptr %pool
refuse:
  ret ptr null
}

define void @gradc_pool_destroy(ptr %pool) nounwind optsize {
entry:
  call void @free(ptr %pool)
  ret void
}

define void @gradc_pool_run(ptr %pool, ptr %fn, ptr %arg) nounwind optsize {
entry:
  call void %fn(ptr %arg, i64 0, i64 1, ptr %pool)
  ret void
}

define void @gradc_barrier(ptr %pool, i64 %tid, i64 %threads) nounwind optsize {
entry:
  ret void
}
declare ptr @malloc(i64)
declare void @free(ptr)
"""


def pool_text(target: Target, linked: bool = False) -> str:
    """The pool's functions for this target; declarations are among them.

    linked   into a file: libc is then called by the table of addresses and not by way of stubs,
             which on x86-64 are longer (as in aot/toolchain.py)
    """
    stop = "" if linked else f"@{STOP_SYMBOL} = global i32 0, align 4\n"
    if "linux" not in target.triple or not (target.is_x86 or target.is_aarch64):
        return _SINGLE + stop
    names = {name: str(i * _LINE_BYTES) for i, name in enumerate(_LINES)}
    facts = int(names["facts"])
    values: Mapping[str, str] = {
        **names,
        **(_X86 if target.is_x86 else _AARCH64),
        "facts_spins": str(facts + 8),
        "facts_pinned": str(facts + 16),
        "facts_first": str(facts + 24),
        "facts_process": str(facts + 32),
        "blocked": str(~sum(1 << number - 1 for number in _SYNCHRONOUS_SIGNALS)),
        "entries": str(_ENTRIES_AT),
        "entry_bytes": str(_ENTRY_BYTES),
        "spins": str(SPINS),
        "around": AROUND_LOOPS,
        "max_threads": str(MAX_THREADS),
    }
    declarations = _DECLARATIONS
    if not linked:  # asked in every run: the C library needs no call of the kernel
        declarations += "declare i32 @sched_getcpu()\n"
    if linked and target.is_x86:
        declarations = _OF_LIBC.sub(r"\1 nonlazybind", declarations) + _NO_STUBS
    workers = _WORKERS.replace("$here", _HERE_BY_NUMBER if linked else _HERE)
    parts = (_WAITING, _AFFINITY, workers, _LIFE, declarations, "$declare\n")
    return Template("".join(parts)).substitute(values) + stop
