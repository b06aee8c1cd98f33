"""What is built: a program's graphs with the names that its user knows, and its entry points.

In: a compiled program (driver.py) and the declaration that gc.training keeps.
Out: a `Model`, all that the tables, the header and the description say; see code.py for the code.

Its entry points are those that the same program has in process, so that the bits are the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..artifact import WATCHED_STATE, EntryPoint, IndexRange, StateField, TensorField
from ..driver import LOOPING_KINDS, CompiledProgram
from ..errors import ArgumentError

INPUTS_MAXIMUM = 255
RESULTS_MAXIMUM = 127  # GRADC_RESULTS_MAXIMUM of the C runtime
RANK_MAXIMUM = 32  # GRADC_MAX_RANK of the C runtime
# Of C and C++, and the names that a header and its functions use themselves.
_RESERVED_WORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while alignas alignof and and_eq asm bitand bitor bool catch "
    "char16_t char32_t char8_t class co_await co_return co_yield compl concept const_cast "
    "consteval constexpr constinit decltype delete dynamic_cast explicit export false friend "
    "mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public "
    "reinterpret_cast requires static_assert static_cast template this thread_local throw true try "
    "typeid typename using virtual wchar_t xor xor_eq int8_t int16_t int32_t int64_t uint8_t "
    "linux unix session rows results".split()
)
# gradc_WORD_init and so on are symbols of the runtime, or entry points of a kind of CPU.
RESERVED_NAMES = frozenset(
    "aarch64 checkpoint library native options pool record session tensors text x86_64_v3 "
    "x86_64_v4".split()
)


STACK_BYTES = 16_384
"""Of a thread that calls a library: POSIX's least, PTHREAD_STACK_MIN on x86-64. Measured; what is
large lies in the workspaces."""


@dataclass(frozen=True)
class Declaration:
    """The names of a training program, as gc.training keeps them.

    name      of the model: a C identifier
    inputs    every declared input
    results   "loss" and the metrics
    ratios    those of them that are sums divided by sums; see runtime/columns.py
    outputs   of predict
    batch     samples of a full batch, None for a program without a batch dimension
    rate      the number that leads the learning rate, None where it cannot be replaced
    monitors  the columns that states watch, by number; see artifact.WATCHED_STATE
    """

    name: str
    inputs: tuple[TensorField, ...]
    results: tuple[str, ...]
    ratios: tuple[str, ...]
    outputs: tuple[str, ...]
    batch: int | None
    rate: float | None
    monitors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """See the module docstring. `entries` are by their names in a binary (see code.py), `ranges` by
    the kinds of entry points whose inputs they speak of; `rows_minimum` is that of training."""

    declaration: Declaration
    entries: Mapping[str, EntryPoint]
    state: tuple[StateField, ...]
    state_bytes: int
    constants: tuple[bytes, ...]
    fingerprint: str
    ranges: Mapping[str, tuple[IndexRange, ...]]
    rows_minimum: int

    @property
    def arena_bytes(self) -> int:
        """The arena that serves every entry point."""
        return max(entry.arena_bytes for entry in self.entries.values())

    @property
    def workspace_bytes(self) -> int:
        """The memory behind the arena that each thread needs, for every entry point."""
        return max(entry.workspace_bytes for entry in self.entries.values())

    @property
    def inputs(self) -> tuple[TensorField, ...]:
        """The declared inputs with their batch axes."""
        known = {f.name: f for entry in self.entries.values() for f in entry.inputs}
        return tuple(known.get(f.name, f) for f in self.declaration.inputs)

    @property
    def scalars(self) -> tuple[TensorField, ...]:
        """Of a step: the results, or their numerators; then the denominators of the ratios."""
        declared, outputs = self.declaration.results, self.entries["run"].outputs
        named = (replace(field, name=name) for name, field in zip(declared, outputs, strict=False))
        return (*named, *outputs[len(declared) :])

    @property
    def results(self) -> tuple[TensorField, ...]:
        return self.scalars[: len(self.declaration.results)]

    @property
    def outputs(self) -> tuple[TensorField, ...]:
        return self.entries["predict"].outputs

    @property
    def watched(self) -> dict[int, str]:
        """By the position of a state the column that it watches."""
        names = {f"{WATCHED_STATE}{n}": name for n, name in enumerate(self.declaration.monitors)}
        return {n: names[f.name] for n, f in enumerate(self.state) if f.name in names}

    def state_index(self, name: str) -> int:
        """Position of a state, -1 where there is none of this name."""
        names = [field.name for field in self.state]
        return names.index(name) if name in names else -1


def describe_model(
    program: CompiledProgram, declaration: Declaration, entries: Mapping[str, EntryPoint]
) -> Model:
    """The model of a program whose entry points are known.

    Raises ArgumentError for tensors of a higher rank than the C runtime keeps.
    """
    model = Model(
        declaration,
        entries,
        program.state,
        program.state_bytes,
        program.constants,
        program.fingerprint,
        {kind: program.index_ranges(kind) for kind in LOOPING_KINDS},
        program.rows_minimum("run", {}).rows,
    )
    ranks = {f.name: len(f.shape) for f in (*model.inputs, *model.outputs)}
    ranks |= {f.name: len(f.shape) for f in model.state}
    for name, rank in ranks.items():
        if rank > RANK_MAXIMUM:
            problem = f"{name!r} has {rank} axes, a binary's tensors at most {RANK_MAXIMUM}"
            raise ArgumentError(problem, operation="build")
    return model


def model_name(text: str) -> str:
    """A C identifier made of a file's name. Raises ArgumentError if nothing is left of it."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")
    if not name:
        raise ArgumentError(
            f"no name can be made of {text!r}",
            operation="build",
            hint="the file's name names the model: it needs a letter or digit of ASCII",
        )
    return f"model_{name}" if name[0].isdigit() or name in RESERVED_NAMES else name


def identifiers(names: tuple[str, ...]) -> tuple[str, ...]:
    """C identifiers for the names of inputs or outputs, all different."""
    taken: list[str] = []
    for name in names:
        word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "value"
        word = f"_{word}" if word[0].isdigit() else word
        while word in taken or word in _RESERVED_WORDS:
            word += "_"
        taken.append(word)
    return tuple(taken)


def check_declaration(declaration: Declaration, batch: str | None) -> None:
    """Raise ArgumentError where a named dimension besides the batch is left open, and for more
    inputs, results or outputs than the tables can number."""
    counts = (
        ("inputs", declaration.inputs, INPUTS_MAXIMUM),
        ("results", (*declaration.results, *declaration.ratios), RESULTS_MAXIMUM),
        ("outputs", declaration.outputs, INPUTS_MAXIMUM),
    )
    for what, listed, most in counts:
        if len(listed) > most:
            problem = f"a binary has at most {most} {what}, this program has {len(listed)}"
            raise ArgumentError(problem, operation="build")
    for field in declaration.inputs:
        for extent in field.shape:
            if isinstance(extent, str) and extent != batch:
                raise ArgumentError(
                    f"input {field.name!r} has the open dimension {extent!r}",
                    operation="build",
                    facts=[f"a binary has fixed shapes but for {batch!r}, its batch"]
                    if batch
                    else [],
                    hint=f"give it: --dim {extent}=N, or dims={{{extent!r}: N}}",
                )
