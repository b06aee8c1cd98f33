"""Splitting an axis whose index is taken apart: every second point, or third, is code of its own.

    before   parallel i in 32
             loop { %y[i] = select(eq(mod(i, 2), 0), %a[floor_div(i, 2)], %b[floor_div(i, 2)]) }
    after    parallel i in 16
             loop { %y[mul(i, 2)] = %a[i]    %y[add(mul(i, 2), 1)] = %b[i] }

Interleaved tensors are read and written so: what pads between elements, repeats each of them, or
shuffles pixels. With i = 2 * o + r for each r the choice is made when the code is, and lanes along
o read elements side by side, where lanes along i would each compute an address of their own.

Joined tensors are read in ranges: an index that is compared with numbers that cut its axis into as
few equal parts, `select(lt(i, 128), %a[i], %b[i - 128])`, has i = o + 128 * r, and code for each r.

Every element is computed as before, so no bit changes. Kernels that only store, once per point, are
split; along axes of known extent, into at most MOST_PARTS parts of an axis and MOST_COPIES in all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

from ..loops.build import ScalarBuilder, index_range
from ..loops.ir import Axis, Kernel, Loop, Scalar, Store
from ..loops.known_index import folded
from ..loops.rewrite import Rewriting
from ..loops.schedule import LANES
from ..program.ir import Program
from ..types import bool_, int64

MOST_PARTS = 4
"""Lanes that step by more elements lie in more cache lines than they would touch one by one."""

MOST_COPIES = 16
"""Of one store."""

MOST_SCALARS = 512
"""In a kernel that is split, all copies counted: code is made in proportion."""


def split_residues(program: Program) -> Program:
    """The program with such axes split; see the module docstring."""
    k = ScalarBuilder()
    changed = program.map_kernels(lambda kernel: _kernel_split(kernel, k))
    if changed is program:
        return program
    return replace(changed, buffers=changed.named_buffers())


def _kernel_split(kernel: Kernel, k: ScalarBuilder) -> Kernel:
    if kernel.when is not None or len(kernel.loops) != 1 or not _only_stores(kernel.loops[0]):
        return kernel
    parts = _parts(kernel)
    steps = {axis: (n, 1) for axis, n in parts.items()}
    if not parts:
        parts = _ranges(kernel)
        steps = {axis: (1, axis.extent // n) for axis, n in parts.items()}
    copies = math.prod(parts.values())
    if copies == 1 or copies > MOST_COPIES or copies * len(kernel.scalars) > MOST_SCALARS:
        return kernel
    shorter = {axis: Axis(axis.name, axis.extent // n) for axis, n in parts.items()}
    stores: list[Store] = []
    for residues in itertools.product(*(range(n) for n in parts.values())):
        places = {
            axis: k.add(k.mul(k.axis(shorter[axis]), k.index(inner)), k.index(outer * number))
            for (axis, (inner, outer)), number in zip(steps.items(), residues, strict=True)
        }
        stores += Rewriting(_Placed(k, places)).loop(kernel.loops[0]).stores
    axes = tuple(shorter.get(axis, axis) for axis in kernel.axes)
    return replace(kernel, axes=axes, loops=(replace(kernel.loops[0], stores=tuple(stores)),))


def _only_stores(loop: Loop) -> bool:
    """Whether the loop runs once for a point, and writes each element once."""
    return not (loop.axes or loop.reductions or any(store.takes_turns for store in loop.stores))


def _parts(kernel: Kernel) -> Mapping[Axis, int]:
    """Into how many parts which axes are split: as many as their index is divided by."""
    found: dict[Axis, int] = {}
    for scalar in kernel.scalars:
        if scalar.op not in ("mod", "floor_div") or scalar.dtype != int64:
            continue
        index, divisor = scalar.args
        if divisor.op != "constant" or divisor.payload < 2 or len(index.axes) != 1:
            continue
        (axis,) = index.axes
        if axis in kernel.axes and index.form.steps.get(axis) == 1:
            found[axis] = math.lcm(found.get(axis, 1), divisor.payload)
    return {
        axis: parts
        for axis, parts in found.items()
        if parts <= MOST_PARTS and not axis.bounded and axis.extent % parts == 0
    }


def _ranges(kernel: Kernel) -> Mapping[Axis, int]:
    """Into how many equal parts which axes are split, of which each is on one side of all that the
    axis is compared with."""
    bounds: dict[Axis, set[int]] = {}
    for scalar in kernel.scalars:
        if scalar.op not in ("ge", "lt") or scalar.args[1].op != "constant":
            continue
        form = scalar.args[0].form
        if form.origin is None or list(form.steps.values()) != [1]:
            continue
        (axis,) = form.steps
        bound = scalar.args[1].payload - form.origin
        if axis in kernel.axes and not axis.bounded and 0 < bound < axis.extent:
            bounds.setdefault(axis, set()).add(bound)
    found = {}
    for axis, cuts in bounds.items():
        size = math.gcd(axis.extent, *cuts)
        if size >= LANES and axis.extent // size <= MOST_PARTS:
            found[axis] = axis.extent // size
    return found


class _Placed:
    """A rule that puts indices in the place of axes, and folds what they decide."""

    def __init__(self, k: ScalarBuilder, places: Mapping[Axis, Scalar]) -> None:
        self.k, self.places = k, places

    def __call__(self, scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        k = self.k
        if scalar.op == "axis":
            return self.places.get(scalar.payload, scalar)
        if args == scalar.args:
            return scalar
        if scalar.op == "load":
            return k.remade(scalar, args)
        if all(arg.op == "constant" for arg in args):
            value = folded(scalar, [arg.payload for arg in args])
            if value is not None:
                return k.constant(value, scalar.dtype)
        if scalar.op == "select":
            return k.select(*args)
        if scalar.op == "and" and scalar.dtype == bool_:
            if any(arg.op == "constant" and not arg.payload for arg in args):
                return k.constant(False, bool_)
            return k.all_of(list(args))
        if args[0].dtype == int64 and args[-1].op == "constant" and len(args) == 2:
            return self._of_index(scalar, args[0], args[1].payload)
        if scalar.dtype == int64 and scalar.op in ("add", "sub", "mul", "floor_div", "mod"):
            return k.primitive(scalar.op, *args)
        return k.remade(scalar, args)

    def _of_index(self, scalar: Scalar, index: Scalar, number: int) -> Scalar:
        """An operation of an index and a number, folded where the index's range decides it."""
        k, (low, high) = self.k, index_range(index)
        if scalar.op == "lt":
            return k.less(index, number)
        if scalar.op == "ge":
            return k.at_least(index, number)
        if scalar.op == "max" and low is not None and low >= number:
            return index
        if scalar.op == "min" and high is not None and high <= number:
            return index
        return k.primitive(scalar.op, index, k.index(number), dtype=scalar.dtype)
