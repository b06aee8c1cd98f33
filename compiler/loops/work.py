"""How much work a kernel is: whether threads are worth what their barriers cost."""

from __future__ import annotations

from .ir import Kernel, points_of


def work(kernel: Kernel) -> int:
    """Elements touched, or floating point operations if these are more."""
    points = points_of(kernel.axes)
    total = 0
    for loop in kernel.loops:
        inner = points * points_of(loop.axes)
        if loop.between is not None:  # all points together have so many, not each of them
            apart = frozenset().union(*(end.axes for end in loop.between))
            inner //= max(1, points_of(apart))
        total += inner * (len(loop.stores) + len(loop.reductions))
    return max(total * (1 + len(kernel.loads)), int(kernel.flops))
