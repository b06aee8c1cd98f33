"""Kernels that compute in every iteration what they computed in the one before.

Where all iterations read the same samples (artifact.py: `same_rows`), what gathers them need not
run again: it reads data sets, sample numbers and constants alone, and its results are still where
it wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from ..loops.ir import Buffer, Kernel
from ..program.ir import Body, kernels_in


def unchanging(body: Body) -> set[Kernel]:
    """The kernels of a loop's body that write the same bytes again as long as the samples are the
    same, and that nothing else in the loop writes. Of loops inside it, none: they count."""
    kernels = tuple(kernels_in(body))
    return {
        kernel
        for kernel in body
        if isinstance(kernel, Kernel)
        and not any(map(_changes, kernel.reads))
        and not any(store.accumulate for store in kernel.stores)
        and all(_is_its_own(buffer, kernel, kernels) for buffer in kernel.writes)
    }


def _changes(buffer: Buffer) -> bool:
    """Whether iterations on the same samples may find something else in a buffer."""
    match buffer.space:
        case "arena" | "state" | "output" | "counter":
            return True
        case "input" | "constant" | "order" | "call":
            return False
        case _:
            assert_never(buffer.space)


def _is_its_own(buffer: Buffer, kernel: Kernel, kernels: Sequence[Kernel]) -> bool:
    """Whether no other kernel writes where this one does: the arena's memory serves several."""
    if buffer.space != "arena":
        return False
    begin, end = buffer.offset_bytes, buffer.offset_bytes + buffer.size_bytes
    others = (b for other in kernels if other is not kernel for b in other.writes)
    return not any(
        b.space == "arena" and b.offset_bytes < end and begin < b.offset_bytes + b.size_bytes
        for b in others
    )
