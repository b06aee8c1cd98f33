"""Which kernels are products that register tiles compute: a choice of bits, made by shapes alone.

In: a kernel and its runs. Out: why not, in words for people; "" if it is one.

Its first loop is one `dot` of floats over one run, all else are stores at outer level, and each
operand has a run of parallel axes that the other has not: rows and columns.
"""

from __future__ import annotations

from ..loops.ir import Kernel
from ..loops.runs import Address, Runs

BLOCKED_FLOOR = 4_096
"""Multiply-adds below which the generic nest is at least as fast."""

FEWEST_ROWS = 4
"""With fewer rows, packing an operand costs more than reading it once per row."""


def why_no_tiles(kernel: Kernel, runs: Runs) -> str:
    """Why a kernel is no product for register tiles; "" if it is."""
    first, *rest = kernel.loops
    if len(first.reductions) != 1 or first.reductions[0].combiner != "dot" or first.stores:
        return "no product"
    dtype = first.reductions[0].dtype
    if not dtype.is_float or dtype.bits < 32:
        return f"a product of {dtype}"
    if len(rest) != 1 or rest[0].axes or rest[0].reductions:
        return "a loop over what the product gives"
    product = first.reductions[0].value
    if product.op != "mul":
        return "a product of one operand"
    if len(runs.loops[0]) != 1:
        return "terms along several runs"
    return _why_not_by_size(kernel, runs)


def _why_not_by_size(kernel: Kernel, runs: Runs) -> str:
    a, b = kernel.loops[0].reductions[0].value.args
    of_a = [r for r in runs.parallel if a.axes & set(r.axes) and not b.axes & set(r.axes)]
    of_b = [r for r in runs.parallel if b.axes & set(r.axes) and not a.axes & set(r.axes)]
    store = kernel.loops[1].stores[0]
    address = Address(store.buffer, store.index)
    if any(run.step(address) == 1 for run in of_a):
        of_a, of_b = of_b, of_a
    if not of_a or not of_b:
        return "an operand without an axis of its own"
    rows = max(of_a, key=lambda run: run.extent)
    columns = next((run for run in of_b if run.step(address) == 1), of_b[-1])
    (terms,) = runs.loops[0]
    if 0 in (rows.extent, columns.extent, terms.extent, *(r.extent for r in runs.parallel)):
        return "no element"
    if rows.extent < FEWEST_ROWS:
        return f"fewer than {FEWEST_ROWS} rows"
    if rows.extent * columns.extent * terms.extent < BLOCKED_FLOOR:
        return f"fewer than {BLOCKED_FLOOR} multiply-adds"
    return ""
