"""Buffers that one kernel fills and reads: where they lie, and how long."""

from __future__ import annotations

import pytest

from gradc.compiler.loops.coverage import read_from_before
from gradc.compiler.memory.verify_plan import verify_plan
from gradc.compiler.passes.plan_memory import plan_memory
from gradc.compiler.program.liveness import find_liveness
from gradc.compiler.program.text import parse_program

OF_ITS_OWN = """
program f rows 1 arena 0 {
  buffer %x : f32[5, 4] in input slot 0
  buffer %t : f32[5, 4] in arena at 0
  buffer %u : f32[5, 4] in arena at 0
  buffer %y : f32[5, 4] in output slot 0
  repeat s in 3 {
    kernel k {
      parallel i in 5
      loop j in 4 {
        %t[i, j] = %x[i, j]
      }
      loop j in 4 {
        %y[i, j] = %t[READ]
      }
    }
  }
}
"""


@pytest.mark.parametrize(
    ("read", "store", "before"),
    [
        ("i, sub(3, j)", "%t[i, j] =", False),
        ("sub(4, i), j", "%t[i, j] =", True),
        ("i, j", "%t[i, 2] =", True),
        ("i, j", "accumulate %t[i, j] =", True),
    ],
)
def test_what_a_kernel_has_written_itself_is_not_from_before(
    read: str, store: str, before: bool
) -> None:
    """Each point of the parallel axes reads what it has written, not what others may have."""
    text = OF_ITS_OWN.replace("READ", read).replace("%t[i, j] =", store)
    program = parse_program(text)
    (kernel,) = program.kernels()
    assert {b.name for b in read_from_before(kernel)} == {"x"} | ({"t"} if before else set())
    (carried,) = find_liveness(program).carried.values()
    assert {b.name for b in carried} == ({"t"} if before else set())


def test_what_a_kernel_writes_is_no_operand_to_write_over() -> None:
    """Its last loop reads what it has stored itself, and has a place to store beside it."""
    text = OF_ITS_OWN.replace("%y[i, j] = %t[READ]", "%u[i, j] = %t[i, j]")
    last = "kernel k2 { parallel i in 5 parallel j in 4 loop { %y[i, j] = %u[i, j] } }"
    text = text.replace("%t[i, j] =", "%t[i, 2] =").rstrip().removesuffix("}") + last + "\n}"
    planned = plan_memory(parse_program(text))
    verify_plan(planned)
    places = {b.name: b.offset_bytes for b in planned.buffers if b.space == "arena"}
    assert places["t"] != places["u"]
