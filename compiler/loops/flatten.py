"""Flat addresses and one axis for each run: the form in which a back end takes a kernel.

    before   parallel i in 64  parallel j in 10    y[i, j] = exp(x[i, j])     walk i * j
    after    parallel i in 640                     y[i] = exp(x[i])           walk i

Every load and store gets one index, in elements from the start of its buffer, made with the
buffer's layout. A run becomes an axis that is named after its first; see runs.py for what a run is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .address import flat_address
from .build import ScalarBuilder
from .ir import Axis, Kernel, Scalar, Store, points_of
from .rewrite import rewrite_kernel
from .runs import Runs, WalkedRun, runs_of


def flatten_kernel(kernel: Kernel, k: ScalarBuilder, runs: Runs | None = None) -> Kernel:
    """The kernel with flat addresses and one axis for each run; its scalars are made by `k`.

    runs  those that its orders and schedule name, if none are given
    """
    runs = runs_of(kernel) if runs is None else runs
    joined: dict[Axis, Scalar] = {}
    parallel = tuple(_joined(run, k, joined) for run in runs.parallel)
    inner = [tuple(_joined(run, k, joined) for run in found) for found in runs.loops]
    flat = _rebuilt(kernel, k, joined)
    loops = tuple(replace(loop, axes=axes) for loop, axes in zip(flat.loops, inner, strict=True))
    return replace(flat, axes=parallel, loops=loops)


def _joined(run: WalkedRun, k: ScalarBuilder, joined: dict[Axis, Scalar]) -> Axis:
    """One axis for a run: the address steps by the last of its axes, the others stand still."""
    if len(run.axes) == 1:
        return run.axes[0]
    outer, *_, last = run.axes
    per_row = outer.per_row * points_of(run.axes[1:])
    axis = Axis(outer.name, run.extent, outer.bounded, per_row)
    joined |= {axis: k.index(0) for axis in run.axes}
    joined[last] = k.axis(axis)
    return axis


def _rebuilt(kernel: Kernel, k: ScalarBuilder, joined: Mapping[Axis, Scalar]) -> Kernel:
    """Every scalar made anew by `k`: joined axes replaced, loads and stores at flat addresses."""

    def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar.op == "axis" and scalar.payload in joined:
            return joined[scalar.payload]
        if scalar.op == "load":
            return k.load(scalar.payload, (flat_address(k, scalar.payload, args),))
        return _remade(scalar, args, k)

    def stored(store: Store) -> Store:
        return replace(store, index=(flat_address(k, store.buffer, store.index),))

    return rewrite_kernel(kernel, scalar=rule, store=stored)


def _remade(scalar: Scalar, args: tuple[Scalar, ...], k: ScalarBuilder) -> Scalar:
    """The same scalar but a load, of these operands, as `k` makes it: what it knows is folded."""
    if scalar.op == "constant":
        return k.constant(scalar.payload, scalar.dtype)
    if scalar.op == "axis":
        return k.axis(scalar.payload)
    if scalar.op == "counter":
        return k.counter(scalar.payload)
    if scalar.op == "rows":
        return k.rows()
    if scalar.op == "reduced":
        return k.reduced(scalar.payload, scalar.dtype)
    return k.primitive(scalar.op, *args, dtype=scalar.dtype)
