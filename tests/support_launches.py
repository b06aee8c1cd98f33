"""Launch tables made by hand, and artefacts of one entry point around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from support_cuda import StandIn, array_at, function_of, module_text

from gradc.compiler.artifact import EntryPoint, StateField, TensorField
from gradc.compiler.launches import (
    FIRST_COUNTER_SLOT,
    If,
    Instruction,
    Launch,
    LaunchTable,
    Pointer,
    pack,
)
from gradc.runtime import Executor
from gradc.runtime.place import Call

Grid = tuple[int, int, int]

COUNTER = FIRST_COUNTER_SLOT
FRAME, STATE = Pointer("frame"), Pointer("state")


class TableArtifact:
    """One entry point "call" over a state of eight int64."""

    device, state_bytes, constants, fingerprint, owner = "cuda", 64, (b"\7" * 16,), "table", None
    state = (StateField("numbers", "int64", (8,), 0, (0,), 0, False),)
    pool_create = pool_destroy = 0

    def __init__(self, table: LaunchTable, modules: Sequence[bytes], inputs: int = 0) -> None:
        given = tuple(TensorField(f"x{n}", "float32", (4,)) for n in range(inputs))
        outputs = tuple(TensorField(f"y{n}", "float32", (4,)) for n in table.output_bytes)
        self.entry = EntryPoint(
            "call", given, outputs, 256, 0, table.rows_maximum, False, "call",
            pack(table, modules), (), 0.0, False,
        )  # fmt: skip

    def variant(self, *_: Any, **__: Any) -> EntryPoint:
        return self.entry

    def index_ranges(self, kind: str) -> tuple[()]:
        return ()


def table_of(step: Sequence[Instruction], **facts: Any) -> LaunchTable:
    launches = {launch.kernel: launch for launch in _launches(step)}
    functions = tuple(replace(function_of(launch), name=n) for n, launch in launches.items())
    numbers = {name: n for n, name in enumerate(launches)}
    table = LaunchTable(
        "sm_90", functions, (), _numbered(step, numbers), (), (), 4, 8, 256, None, (), b""
    )
    return replace(table, **facts)


def _launches(body: Sequence[Instruction]) -> list[Launch]:
    found: list[Launch] = []
    for item in body:
        if isinstance(item, Launch):
            found.append(item)
        elif isinstance(item, If):
            found += _launches(item.then) + _launches(item.otherwise)
        else:
            found += _launches(item.body)
    return found


def _numbered(body: Sequence[Instruction], numbers: dict[str, int]) -> tuple[Instruction, ...]:
    """The same with each launch's function by its kernel's name."""
    made: list[Instruction] = []
    for item in body:
        if isinstance(item, Launch):
            made.append(replace(item, function=numbers[item.kernel]))
        elif isinstance(item, If):
            then, otherwise = (_numbered(b, numbers) for b in (item.then, item.otherwise))
            made.append(replace(item, then=then, otherwise=otherwise))
        else:
            made.append(replace(item, body=_numbered(item.body, numbers)))
    return tuple(made)


def launch_of(
    name: str, *arguments: Pointer | int, grid: tuple[int, int, int] = (1, 1, 1)
) -> Launch:
    return Launch(name, 0, grid, arguments)


def modules_of(table: LaunchTable) -> list[bytes]:
    return [module_text({f.name: f.parameters for f in table.functions})]


def executor_of(table: LaunchTable, inputs: int = 0) -> tuple[Executor, EntryPoint]:
    artifact: Any = TableArtifact(table, modules_of(table), inputs)
    return Executor(artifact), artifact.entry


def prepared(
    executor: Executor,
    entry: EntryPoint,
    inputs: Sequence[Any] = (),
    order: Any = None,
    count: int = 8,
) -> Call:
    outputs = [np.zeros((count, 4), np.float32) for _ in entry.outputs]
    return executor.prepare(entry, inputs, order, outputs)


def frame_of(address: int) -> list[int]:
    return [int(n) for n in array_at(address, np.int64, (8,))]


def count_rounds(stand_in: StandIn, name: str = "count") -> list[int]:
    seen: list[int] = []
    stand_in.kernels[name] = lambda frame, s, grid: seen.append(frame_of(frame)[COUNTER])
    return seen
