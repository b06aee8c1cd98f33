"""Which kernels may be unrolled: those whose points and addresses are known when code is made.

In a resident Repeat every element of state and arena is a value, and outputs are written at fixed
places. Addresses in the data set, the order and constants may be anything: those are read where
they lie.
"""

from __future__ import annotations

from ..loops.ir import Kernel
from ..loops.known_index import is_known


def why_not_unrolled(kernel: Kernel) -> str:
    """Why a kernel cannot be in a resident Repeat; "" if it can."""
    for axis in (*kernel.axes, *(axis for loop in kernel.loops for axis in loop.axes)):
        if axis.bounded:
            return f"axis {axis.name} ends at a number known at run time"
    accesses = [(s.payload, s.args) for s in kernel.loads if s.payload.is_writable]
    accesses += [(store.buffer, store.index) for store in kernel.stores]
    for buffer, index in accesses:
        if not all(map(is_known, index)):
            return f"an address in {buffer.name} is known at run time alone"
    return ""
