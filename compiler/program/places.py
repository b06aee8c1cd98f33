"""The verifier of buffers: each is where its program says, of the type that it says.

In: a program, planned or not. Out: nothing, or a VerifyError that names the buffer.

* Extents are numbers; what is allocated holds every element, and of what kernels write each apart
  from the others. Nothing lies before its block, and what is in a block is aligned to its elements.
  Only states lie in strips, whole and dense ones.
* An input or output buffer has a slot that is declared, and its type, named dimensions at their
  maximum; of a data set the number of samples is open (its extent is 0).
* An array constant in the code is given in full.

Whether a plan keeps values apart is for memory/verify_plan.py.
"""

from __future__ import annotations

from ..errors import VerifyError
from ..loops.ir import Buffer, Layout, dense_layout
from ..types import TensorType, at_rows, factors, static_shape
from .ir import Program


def verify_places(program: Program) -> None:
    """Raise VerifyError for a buffer that is not what the program says; see above."""
    if program.rows_maximum < 1:
        raise VerifyError(f"program {program.name}: an iteration has {program.rows_maximum} rows")
    if program.arena_bytes < 0:
        raise VerifyError(f"program {program.name}: its arena has {program.arena_bytes} bytes")
    declared = {"input": program.inputs, "output": program.outputs}
    for buffer in program.buffers:
        _verify_place(buffer)
        if buffer.space in declared:
            _verify_slot(buffer, declared[buffer.space], program.rows_maximum)


def _verify_place(buffer: Buffer) -> None:
    if not all(isinstance(extent, int) and extent >= 0 for extent in buffer.type.shape):
        raise VerifyError(f"buffer {buffer.name} has no static shape: {buffer.type}")
    if buffer.layout.strip:
        _verify_strips(buffer)
    if not _holds_all(buffer.layout, static_shape(buffer.type.shape)):
        raise VerifyError(f"buffer {buffer.name} leaves what is allocated for it")
    if buffer.is_writable and not _tells_apart(buffer.layout, static_shape(buffer.type.shape)):
        problem = f"elements of buffer {buffer.name} may lie in one place"
        raise VerifyError(problem, facts=[f"{buffer.type} with strides {[*buffer.layout.strides]}"])
    given, wanted = len(buffer.content), buffer.size_bytes
    if given and given != wanted:
        raise VerifyError(f"constant {buffer.name} has {given} bytes, not {wanted}")
    size = buffer.type.dtype.size_bytes
    if buffer.offset_bytes < 0 or buffer.offset_bytes % size:
        problem = f"buffer {buffer.name} is at {buffer.offset_bytes} in {buffer.space}"
        raise VerifyError(problem, facts=[f"its elements are at multiples of {size} from 0 on"])


def _verify_strips(buffer: Buffer) -> None:
    """A state in strips has whole ones, and nothing between them."""
    layout, shape = buffer.layout, static_shape(buffer.type.shape)
    fact = f"{buffer.name} is {buffer.type} with order {list(layout.order)}"
    if buffer.space != "state" or len(shape) < 2:
        raise VerifyError(f"buffer {buffer.name} has strips in {buffer.space}", facts=[fact])
    if layout.strip < 1 or shape[layout.order[-1]] % layout.strip:
        problem = f"strips of {layout.strip} do not divide buffer {buffer.name}"
        raise VerifyError(problem, facts=[fact])
    dense = dense_layout(shape, layout.order)
    if (layout.strides, layout.offset) != (dense.strides, 0):
        raise VerifyError(f"buffer {buffer.name} has strips that do not lie densely", facts=[fact])


def _holds_all(layout: Layout, shape: tuple[int, ...]) -> bool:
    """Whether every element lies in what is allocated."""
    if 0 in shape:
        return True
    reaches = [(extent - 1) * s for extent, s in zip(shape, layout.strides, strict=True)]
    low = layout.offset + sum(min(reach, 0) for reach in reaches)
    high = layout.offset + sum(max(reach, 0) for reach in reaches)
    return 0 <= low and high < layout.size_elements


def _tells_apart(layout: Layout, shape: tuple[int, ...]) -> bool:
    """Whether elements lie apart: each stride is longer than all shorter ones can add up to."""
    if 0 in shape:
        return True
    reach = 1
    for step, extent in sorted(zip(map(abs, layout.strides), shape, strict=True)):
        if extent > 1 and step < reach:
            return False
        reach += step * (extent - 1)
    return True


def _verify_slot(buffer: Buffer, declared: tuple[tuple[str, TensorType], ...], rows: int) -> None:
    if not 0 <= buffer.slot < len(declared):
        problem = f"buffer {buffer.name} is {buffer.space} {buffer.slot}"
        raise VerifyError(problem, facts=[f"{len(declared)} {buffer.space}s are declared"])
    name, type = declared[buffer.slot]
    maximum = at_rows(type.shape, rows)
    same = type.dtype == buffer.type.dtype and type.rank == buffer.type.rank
    same = same and all(
        held == most or (factors(entry).names and held == 0 and buffer.space == "input")
        for held, most, entry in zip(buffer.type.shape, maximum, type.shape, strict=True)
    )
    if not same:
        raise VerifyError(
            f"buffer {buffer.name} is {buffer.type}",
            facts=[f"{buffer.space} {name} is {type}, an iteration has {rows} rows"],
        )
