"""Contractions: kernels that are sums of products, and which of their axes play which part.

    y[b, i, j] = epilogue(sum over k0, k1: x[b, i, k0, k1] * w[b, k0, j, k1])

In: a kernel and its runs. Out: a `Contraction`, or why the kernel is none, in words for people.

Products, gradients of products and convolutions are this one construct: the first operand `a`
walks rows and terms, the second, `b`, terms and columns. The results lie together along the
columns, or `b` does; to that end the operands may trade places. Terms may be several runs: what a
sum walks need not lie evenly in either operand. Several sums of one loop are one contraction if
they share an operand, as the gates of a recurrent cell do.

What is found here decides bits, because a contraction is summed from the first term to the last,
the last run fastest, and a generic nest may sum in lanes. So it follows from the kernel alone, and
how an operand lies in memory is no reason against it: one that is not read at even steps is
computed before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..types import DType, float32
from .address import flat_address
from .build import ScalarBuilder, Step, step_along
from .ir import Kernel, Loop, Reduction, Scalar, walk
from .runs import Address, Runs, WalkedRun, addresses_of, counted_axes
from .schedule import LANES, MOST_ROWS, Order

FEWEST_PRODUCTS = 4_096
"""Multiply-adds, of all results that no batch takes apart, below which the generic nest is at least
as fast."""

FEW_COLUMNS = 5
"""With fewer results side by side, most of half a vector is empty."""

FEWEST_ROWS = 4
"""With fewer rows, getting at an operand costs more than reading it once per row."""


@dataclass(frozen=True, eq=False)
class Dot:
    """One sum of products: `a` has the rows, `b` the columns."""

    reduction: Reduction
    a: Scalar
    b: Scalar


@dataclass(frozen=True, eq=False)
class Spread:
    """Columns of groups that do not meet, side by side.

        y[i, g * 4 + j] = sum over k, c in 4: x[i, k, g * 4 + c] * w[k, c, g * 4 + j]

    groups    the batch run of the groups
    columns   that run and the columns of a group as one
    elements  the run along which what a group's columns share lies together: of `a` alone, or the
              last of the terms; as long as a group has columns. Of groups of one column: that run
    """

    groups: WalkedRun
    columns: WalkedRun
    elements: WalkedRun


@dataclass(frozen=True, eq=False)
class Contraction:
    """A kernel with its runs sorted by what walks them.

    batch    parallel runs of both operands, or of what surrounds the product
    m        those of `a` alone, first the one that a tile has its rows along
    n        those of `b` alone, first the one along which results lie together; or, where that is
             short, elements of `b`
    terms    the runs that are summed over, the outermost first
    dots     each sum with its two operands
    updates  whether it is a state that what is made of the sums is stored into
    spread   how a few columns of many groups can share vectors, if they can
    turns    whether rows and columns may trade places, and only what is stored be turned: it lies
             together along the columns, and nothing else has an element for each sum
    """

    batch: tuple[WalkedRun, ...]
    m: tuple[WalkedRun, ...]
    n: tuple[WalkedRun, ...]
    terms: tuple[WalkedRun, ...]
    dots: tuple[Dot, ...]
    updates: bool
    spread: Spread | None = None
    turns: bool = False

    @property
    def dtype(self) -> DType:
        return self.dots[0].reduction.dtype

    @property
    def rows(self) -> WalkedRun:
        return self.m[0]

    @property
    def columns(self) -> WalkedRun:
        return self.n[0]

    @property
    def depth(self) -> int:
        """Terms of one sum, at most."""
        return math.prod(run.extent for run in self.terms)

    def block_terms(self, order: Order) -> int:
        """Terms of one block of a sum, at most; `order` is that of the loop that sums."""
        if order.block is None:
            return self.depth
        inside = self.terms[order.block.position + 1 :]
        return order.block.points * math.prod(run.extent for run in inside)


def find_contraction(kernel: Kernel, runs: Runs) -> Contraction | str:
    """The kernel as a contraction, or why it is not worth the name."""
    return why_no_products(kernel) or _sorted_runs(kernel, runs)


def why_no_products(kernel: Kernel) -> str:
    """Why a kernel is not made of sums of float products, and of what is stored of them alone.

    "" if it is.
    """
    first, *rest = kernel.loops
    why = _why_no_sums(first)
    if why:
        return why
    if kernel.ends:
        return "data say what is walked"
    if any(loop.axes or loop.reductions for loop in rest):
        return "a loop follows the sums"
    return "" if any(loop.stores for loop in rest) else "nothing is stored"


def _why_no_sums(loop: Loop) -> str:
    """Why a loop is not made of sums of float products alone; "" if it is."""
    if not loop.axes or not loop.reductions:
        return "no product"
    if any(r.combiner.factors != 2 for r in loop.reductions):
        return "no product"
    if loop.stores:
        return "the loop of the sums stores"
    for reduction in loop.reductions:
        if not reduction.dtype.is_float or reduction.dtype.bits < 32:
            return f"products of {reduction.dtype}"
        if reduction.value.op != "mul":
            return "a product of one operand"
    if len({r.dtype for r in loop.reductions}) != 1:
        return "products of several dtypes"
    return ""


def _sorted_runs(kernel: Kernel, runs: Runs) -> Contraction | str:
    reductions = kernel.loops[0].reductions
    left, right = reductions[0].value.args
    m, n = _alone(runs.parallel, left, right), _alone(runs.parallel, right, left)
    store = next(loop.stores for loop in kernel.loops if loop.stores)[0]
    address = Address(store.buffer, store.index)
    if any(run.step(address) == 1 for run in m):
        m, n = n, m
    if bool(m) != bool(n) and len(reductions) == 1:
        single = _groups_of_one(reductions[0], runs, m or n, store.buffer.space == "state")
        if single is not None:
            return single
    if not m or not n:
        return "an operand without an axis of its own"
    dots: list[Dot] = []
    for reduction in reductions:
        for a, b in (reduction.value.args, reversed(reduction.value.args)):
            if (_alone(runs.parallel, a, b), _alone(runs.parallel, b, a)) == (m, n):
                dots.append(Dot(reduction, a, b))
                break
        else:
            return "sums over products of different shapes"
    if len({dot.a for dot in dots}) > 1 and len({dot.b for dot in dots}) > 1:
        return "sums that share no operand"
    columns = next((run for run in n if run.step(address) == 1), n[-1])
    if len(dots) == 1 and columns.extent < FEW_COLUMNS:
        longer = _longer_columns(dots[0], m, n, columns)
        if longer is not None:
            columns = longer
            if columns in m:
                m, n, dots = n, m, [Dot(dots[0].reduction, dots[0].b, dots[0].a)]
    rows = _rows(m, dots[0].a)
    found = Contraction(
        tuple(run for run in runs.parallel if run not in m and run not in n),
        (rows, *(run for run in m if run is not rows)),
        (columns, *(run for run in n if run is not columns)),
        runs.loops[0],
        tuple(dots),
        store.buffer.space == "state",
    )
    why = _why_not_by_size(found)
    return why or replace(found, spread=_spread(kernel, found), turns=_turns(kernel, found))


def _turns(kernel: Kernel, c: Contraction) -> bool:
    """Whether rows and columns may trade places (see Contraction)."""
    one_of_each = len(c.dots) == len(c.m) == len(c.n) == 1 and not c.batch and not c.updates
    if not one_of_each or c.rows.bounded or c.columns.bounded:
        return False
    for loop in kernel.loops[1:]:
        for store in loop.stores:
            address = Address(store.buffer, store.index)
            along = c.rows.step(address), c.columns.step(address)
            if store.accumulate or store.buffer.type.dtype is not c.dtype or along[1] != 1:
                return False
            if along[0] == 1:
                return False
        seen: set[Scalar] = set()
        for read in (s for root in loop.roots for s in walk(root, seen) if s.op == "load"):
            if all(read.axes & set(run.axes) for run in (c.rows, c.columns)):
                return False
    return True


def _groups_of_one(
    reduction: Reduction, runs: Runs, m: Sequence[WalkedRun], updates: bool
) -> Contraction | None:
    """Sums of products of two operands that lie together along a run of both: groups of one column.

    A nest with vectors along parallel axes would add in the same order."""
    left, right = reduction.value.args
    a, b = (left, right) if any(m[0].axes[-1] is axis for axis in left.axes) else (right, left)
    if {a.op, b.op} != {"load"} or b.axes & {axis for run in m for axis in run.axes}:
        return None
    batch = [run for run in runs.parallel if run not in m]
    reads = [Address(load.payload, load.args) for load in (a, b)]
    columns = next((run for run in batch if all(run.step(at) == 1 for at in reads)), None)
    if columns is None or columns.bounded or columns.extent % LANES:
        return None
    rows, terms = _rows(m, a), runs.loops[0]
    steps = operand_steps(a, (rows, *terms)), operand_steps(b, (columns, *terms))
    apart = any(load.payload.layout.strip for load in (a, b)) or reduction.dtype is not float32
    if apart or rows.bounded or any(isinstance(step, str) for step in steps):
        return None
    found = Contraction(
        tuple(run for run in batch if run is not columns),
        (rows, *(run for run in m if run is not rows)),
        (columns,),
        terms,
        (Dot(reduction, a, b),),
        updates,
        Spread(columns, columns, columns),
    )
    return None if _why_too_small(found) else found


def _spread(kernel: Kernel, c: Contraction) -> Spread | None:
    """Groups of columns that can share vectors: everything but `a` goes from the last column of a
    group to the first of the next, `a` by as many elements as a group has columns."""
    (dot, *more), columns = c.dots, c.columns
    if more or len(c.n) > 1 or len(columns.axes) > 1 or {dot.a.op, dot.b.op} != {"load"}:
        return None
    (column,), place = columns.axes, kernel.axes.index(columns.axes[0])
    groups = next(
        (run for run in c.batch if place and run.axes[-1] is kernel.axes[place - 1]), None
    )
    if groups is None or groups.bounded or columns.bounded:
        return None
    if counted_axes(kernel) & {*groups.axes, column}:
        return None
    read, group = Address(dot.a.payload, dot.a.args), groups.axes[-1]
    others = [address for address in addresses_of(kernel) if address != read]
    if not all(address.is_joint(group, column, column.extent) for address in others):
        return None
    if read.step(group) != column.extent or operand_steps(dot.b, (columns,)) != (1,):
        return None
    for run in (*c.m, c.terms[-1]):
        if run.run == run.run[:1] and run.extent == column.extent and run.step(read) == 1:
            return Spread(groups, WalkedRun((*groups.axes, column)), run)
    return None


def _longer_columns(
    dot: Dot, m: Sequence[WalkedRun], n: Sequence[WalkedRun], columns: WalkedRun
) -> WalkedRun | None:
    """A run twice as long or more along which elements of its operand lie together, the longest of
    either side: vectors are fuller then, if results are stored apart. None if there is none."""
    found = []
    for operand, own, other in ((dot.b, n, m), (dot.a, m, n)):
        enough = max(run.extent for run in other) >= FEWEST_ROWS
        for run in own:
            together = operand_steps(operand, (run,)) == (1,) and not run.bounded
            if enough and together and run.extent >= 2 * columns.extent:
                found.append(run)
    return max(found, key=lambda run: run.extent, default=None)


def _rows(m: Sequence[WalkedRun], a: Scalar) -> WalkedRun:
    """Of the runs of operand `a` the longest; of those that fill a tile the one with the shortest
    steps, so that tiles that follow each other read the same lines of a cache."""
    steps = operand_steps(a, m)
    if isinstance(steps, str):
        return max(m, key=lambda run: run.extent)
    near = {run: -abs(step) for run, step in zip(m, steps, strict=True)}
    return max(m, key=lambda run: (min(run.extent, MOST_ROWS), near[run]))


def _alone(runs: Sequence[WalkedRun], operand: Scalar, other: Scalar) -> list[WalkedRun]:
    """The runs that an operand has and the other has not."""
    return [r for r in runs if operand.axes & set(r.axes) and not other.axes & set(r.axes)]


def _why_not_by_size(c: Contraction) -> str:
    why = _why_too_small(c)
    if not why and max(run.extent for run in c.m) < FEWEST_ROWS:
        return f"fewer than {FEWEST_ROWS} rows"
    return why


def _why_too_small(c: Contraction) -> str:
    if 0 in (c.depth, *(run.extent for run in (*c.batch, *c.m, *c.n))):
        return "no element"
    results = math.prod(run.extent for run in (*c.m, *c.n))
    if results * c.depth < FEWEST_PRODUCTS:
        return f"fewer than {FEWEST_PRODUCTS} multiply-adds"
    return ""


def steps_in_memory(operand: Scalar, runs: Sequence[WalkedRun]) -> tuple[Step, ...] | str:
    """As `operand_steps`, but where an operand lies in strips, those that take it through them."""
    if operand.op != "load":
        return "it is computed"
    address = flat_address(ScalarBuilder(), operand.payload, operand.args)
    found: list[Step] = []
    for run in runs:
        step = step_along(address, run.axes[-1]) if operand.axes & set(run.axes) else 0
        if step is None:
            return f"its address is not affine in {' * '.join(run.run)}"
        found.append(step)
    return tuple(found)


def operand_steps(operand: Scalar, runs: Sequence[WalkedRun]) -> tuple[int, ...] | str:
    """Elements from one point of each run to the next, or why an operand is not read in steps.

    Of one in strips as it would lie without them (runs.py).
    """
    if operand.op != "load":
        return "it is computed"
    address = Address(operand.payload, operand.args)
    found: list[int] = []
    for run in runs:
        step = run.step(address) if run.is_used_by(address) else 0
        if step is None:
            return f"its address is not affine in {' * '.join(run.run)}"
        found.append(step)
    return tuple(found)
