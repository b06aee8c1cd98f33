"""Heirs: which operands of a kernel may be written over by which of its results.

    k.y[i] = max(k.x[i], 0)     y may lie where x lies, if nothing reads x after k

Legal where both have their elements at the same places, the operand is read at one element alone,
the one that is written, and in the same loop or an earlier one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..loops.ir import Buffer, Kernel, Scalar, Store


class Heirs:
    """What may be written over of some operands of a kernel, each by one result."""

    def __init__(self, kernel: Kernel, operands: Sequence[Buffer]) -> None:
        self.kernel = kernel
        self.writing: dict[Buffer, list[tuple[int, Store]]] = defaultdict(list)
        loads: dict[Buffer, set[tuple[Scalar, ...]]] = defaultdict(set)
        self.last_reading: dict[Buffer, int] = {}
        for number, loop in enumerate(kernel.loops):
            for store in loop.stores:
                self.writing[store.buffer].append((number, store))
            for scalar in kernel.loads_by_loop[number]:
                loads[scalar.payload].add(scalar.args)
                self.last_reading[scalar.payload] = number
        self.waiting: dict[tuple[object, ...], list[Buffer]] = defaultdict(list)
        for operand in operands:
            if len(loads[operand]) == 1:  # else it is read at several elements, or added to
                (index,) = loads[operand]
                self.waiting[_form(operand, index)].append(operand)

    def operand_for(self, result: Buffer) -> Buffer | None:
        """The first operand that `result` may be written over, taken out; None if none."""
        for operand in self.operands_for(result):
            ((_, store),) = self.writing[result]
            self.waiting[_form(result, store.index)].remove(operand)
            return operand
        return None

    def operands_for(self, result: Buffer) -> list[Buffer]:
        """All operands that `result` may be written over, but for those taken out."""
        if len(self.writing[result]) != 1 or not result.size_bytes:  # no bytes, nothing to share
            return []
        ((number, store),) = self.writing[result]
        if store.takes_turns or self.kernel.loops[number].running:
            return []
        candidates = self.waiting[_form(result, store.index)]
        return [operand for operand in candidates if self.last_reading[operand] <= number]


def _form(buffer: Buffer, index: tuple[Scalar, ...]) -> tuple[object, ...]:
    """Equal for two buffers that have their elements at the same places, at the same index."""
    size = buffer.type.dtype.size_bytes
    return buffer.size_bytes, size, buffer.layout.strides, index
