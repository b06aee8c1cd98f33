"""The compiled artefact: all that a runtime must know to run compiled code.

An artefact is a table of *entry points* over one state block. This module imports the standard
library alone, because `runtime/` sees nothing of the compiler but this page.

On the host, one entry point is a C function `void entry(struct gradc_arguments *)`; for a device
that the host launches kernels on, it is a launch table (launches.py), whose steps do the same with
the same arguments. The struct of the function:

    struct gradc_arguments {
        void        *state;        // the state block, `state_bytes` long, 64-byte aligned
        void        *arena;        // scratch, `memory_bytes(threads)` long, 64-byte aligned
        const void *const *inputs; // one pointer per entry.inputs: row-major arrays
        const int64_t *order;      // sample numbers, rows_maximum per iteration; see below
        int64_t      first_step;   // iteration i reads order + (first_step + i) * rows_maximum
        int64_t      count;        // iterations to run
        int64_t      rows;         // samples in each iteration, 1 <= rows <= rows_maximum
        void *const *outputs;      // one pointer per entry.outputs; see below
        const void *const *constants;  // one pointer per artefact.constants
        void        *pool;         // from pool_create(threads), or null for one thread
        int64_t      same_rows;    // 1: every iteration reads the numbers at `order`; 0: as above
    };

The same struct serves every entry point. `init` fills the state block from seed. `run`, `evaluate`
and `predict` loop `count` times: an iteration gathers its batch from the data sets in `inputs`
(rows `order[...]` of every input that is `gathered`; other inputs are used whole), computes, and
stores its outputs. Iteration i stores output k at `outputs[k] + i * bytes_of_one_iteration`, so a
scalar output becomes an array of `count` numbers. `call` (gc.compile) runs once, without gathering.

A program with a named batch dimension has two forms of `run`: full (`rows` is rows_maximum,
everything static) and bounded (`rows` is read at run time); `evaluate` and `predict` are bounded.
Each reads a batch of `rows` samples.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Device = Literal["host", "cuda"]
"""Where entry points run, and the state lies: in the host's memory, or on a device of CUDA."""

FORMAT_VERSION = 3
"""Of the argument struct and the entry points; a binary tells it in its description."""

SEED_STATE = "gradc.seed"
"""The state that holds the seed of a program's random numbers, i64[]."""
OPTIMIZER_PREFIX = "optimizer."
"""What the names of states begin with that an optimizer keeps."""
RATE_STATE = "optimizer.lr"
"""The state that leads the learning rate, f64[], in programs that have one."""
WATCHED_STATE = "optimizer.watched"
"""What the names of states begin with that the entry point "epoch" reads, f64[] each; a number
follows, from 0 on."""
AVERAGED_STATE = "optimizer.averaged."
"""What the names of averages of parameters begin with; the parameter's name follows."""


STOP_THREAD = "gradc-stop"
"""The name of the thread that waits for Ctrl-C (runtime/stop.py): it holds nothing that a forked
child would miss."""


class Arguments(ctypes.Structure):
    """`struct gradc_arguments`, field for field."""

    _fields_ = [
        ("state", ctypes.c_void_p),
        ("arena", ctypes.c_void_p),
        ("inputs", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("first_step", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("outputs", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("pool", ctypes.c_void_p),
        ("same_rows", ctypes.c_int64),
    ]


ARGUMENT_FIELDS = tuple(name for name, _ in Arguments._fields_)  # type: ignore[misc]


@dataclass(frozen=True)
class TensorField:
    """One input or output. `dtype` is a NumPy name. A named extent is a string.

    gathered_axis: the axis along which `order` picks samples, or None for an input used whole.
    of_batch: an output without such an axis whose value the rows of a batch decide.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    gathered_axis: int | None = None
    of_batch: bool = False


@dataclass(frozen=True)
class IndexRange:
    """An input holds indices low <= i < high, or one of `ignored`; an entry point clamps others.

    cut      the part of the input that is meant: for every axis the first index, the step, and the
             number of indices (a name: all of them); None: the whole input
    reader   the operation that indexes with it
    source   where the user wrote that, "" if unknown
    """

    input: str
    low: int
    high: int
    ignored: tuple[int, ...]
    cut: tuple[tuple[int, int, int | str], ...] | None
    reader: str
    source: str

    def slices(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """The cut of an array of this shape."""
        found = []
        for (start, step, count), extent in zip(self.cut or (), shape, strict=False):
            number = extent if isinstance(count, str) else count
            last = start + (number - 1) * step
            stop = last + (1 if step > 0 else -1)
            found.append(slice(start, stop if stop >= 0 else None, step) if number else slice(0, 0))
        return tuple(found)

    def numbers(self) -> str:
        """ "from 0 to 9, or -100" """
        others = "".join(f", or {number}" for number in self.ignored)
        return f"from {self.low} to {self.high - 1}{others}"


@dataclass(frozen=True)
class RowsMinimum:
    """The fewest rows of a batch that a program may be trained on.

    source   the user's line that needs them; "" where one row is enough
    """

    rows: int
    source: str


@dataclass(frozen=True)
class StateField:
    """One named state in the state block.

    order         the logical axes in physical order, outermost first; (0, 1) is row-major
    strip         how many points of the last of these lie together before the next ones do, from
                  the first strip to the last: [3][5][32] for float32[96, 5], order (1, 0), strips
                  of 32; 0: there are no strips
    trained       a parameter: saved by `save`, listed by `trainer.parameters`
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset_bytes: int
    order: tuple[int, ...]
    strip: int
    trained: bool


@dataclass(frozen=True)
class KernelInfo:
    """One kernel, for people: what it computes and what it costs."""

    name: str
    description: str
    flops: float
    bytes_moved: float


LINE_BYTES = 64
"""A cache line, and the widest vector register of any target: the state block, the arena, and what
has a place of its own in either, begin at multiples of it."""

WORKSPACE_ALIGNMENT_BYTES = 2 * LINE_BYTES
"""Two threads never write into one of these units, the pair of lines that CPUs fetch together."""


def aligned_arena_bytes(arena_bytes: int) -> int:
    """Where the workspaces of threads begin, behind an arena of this size."""
    return -(-arena_bytes // WORKSPACE_ALIGNMENT_BYTES) * WORKSPACE_ALIGNMENT_BYTES


@dataclass(frozen=True)
class EntryPoint:
    """One compiled function. `code` is set in-process, `symbol` in a shared library.

    code              what runs it here: on the host the function's address, on a device its packed
                      launch table; 0 in what is kept on disk, beside the code itself
    arena_bytes       of the memory plan, shared by all threads
    workspace_bytes   of each thread's own, behind the arena; a multiple of the alignment above
    endless           a loop in it has no bound; where artifact.stop_word is not 0, it ends
    updates           it changes states
    """

    kind: str
    inputs: tuple[TensorField, ...]
    outputs: tuple[TensorField, ...]
    arena_bytes: int
    workspace_bytes: int
    rows_maximum: int
    bounded: bool
    symbol: str
    code: int | bytes
    kernels: tuple[KernelInfo, ...]
    compile_seconds: float
    from_cache: bool
    endless: bool = False
    updates: bool = False

    def memory_bytes(self, threads: int) -> int:
        """The scratch memory of a call on so many threads."""
        return aligned_arena_bytes(self.arena_bytes) + threads * self.workspace_bytes


class Artifact(Protocol):
    """What an executor asks of a compiled program. The driver's is lazy, a saved one is a table.

    device               where the entry points run; one device for all of them
    state, state_bytes   the layout of the state block, equal for all entry points
    constants            row-major bytes of the constant arrays that entry points read
    fingerprint          hex digest of program and target: equal digests continue each other's runs
    owner                keeps the code loaded; hold it as long as an address may be called
    """

    @property
    def device(self) -> Device: ...
    @property
    def state(self) -> tuple[StateField, ...]: ...
    @property
    def state_bytes(self) -> int: ...
    @property
    def constants(self) -> tuple[bytes, ...]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def pool_create(self) -> int:
        """Address of `void *pool_create(int64_t threads)`, on the host."""

    @property
    def pool_destroy(self) -> int:
        """Address of `void pool_destroy(void *pool)`, on the host."""

    @property
    def stop_word(self) -> int:
        """Address of the int32 that ends loops without a bound, on the host."""

    def index_ranges(self, kind: str) -> tuple[IndexRange, ...]:
        """What the inputs of `kind` must hold; checked before they enter."""
        ...

    def rows_minimum(self, kind: str, dims: Mapping[str, int]) -> RowsMinimum:
        """The fewest rows that `kind` is for, with these dimensions bound but for the batch's."""
        ...

    def variant(self, kind: str, dims: Mapping[str, int], bounded: bool) -> EntryPoint:
        """The entry point of `kind` with these dimensions bound; compiled now if need be."""
        ...

    @property
    def owner(self) -> Any: ...
