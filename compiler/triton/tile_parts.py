"""The results of a tile in parts: what is made of the sums of some columns after that of others.

What an epilogue loads and stores lies in registers beside the sums: all loads stand before the
first store, for the assembler does not know that they are of other places. With three numbers for
each of the 64 sums of a thread (Adam: a weight and two moments) registers would be kept in memory.
In two halves, one after the other, half of the numbers are there at once. Halves of a tile are
other registers of the same threads, so that nothing is moved; no number is computed otherwise.
Source: the epilogue in subtiles of Triton's tutorial of persistent products.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..cpu_llvm.values import Value
from ..loops.ir import Axis, Loop, Scalar, walk
from .text import Name, TextEmitter

MOST_HELD = 160
"""Registers of a thread for numbers of a tile, of 255: addresses and the steps of expressions need
the others. With so many, nothing is kept in memory for sm_80 and sm_90 by Triton 3.6 and 3.9."""

PARTS = (1, 2, 4)


def parts_of(loops: Sequence[Loop], sides: Sequence[Collection[Axis]], sums: int, each: int) -> int:
    """In how many parts the results are made.

    loops   those behind the sums
    sides   the axes of rows, and of columns
    sums    tiles of them
    each    elements of a tile that a thread has
    """
    seen: set[Scalar] = set()
    stores = [store for loop in loops for store in loop.stores]
    loads = [s for store in stores for s in walk(store.value, seen) if s.op == "load"]
    wide = [s for s in loads if all(not s.axes.isdisjoint(side) for side in sides)]
    numbers = max(len(wide), len(stores))
    for parts in PARTS:
        if each * sums + each * numbers // parts <= MOST_HELD:
            return parts
    return PARTS[-1]


def split(f: TextEmitter, tile: Value, shape: tuple[int, int], parts: int) -> list[Value]:
    """So many parts of a tile, the first columns first."""
    if parts == 1:
        return [tile]
    rows, columns = shape
    halves, low, high = f.fresh(), f.fresh(), f.fresh()
    f.line(
        f"{halves} = tl.permute(tl.reshape({tile.name}, ({rows}, 2, {columns // 2})), (0, 2, 1))"
    )
    f.line(f"{low}, {high} = tl.split({halves})")
    half = rows, columns // 2
    named = (Name(name, tile.type) for name in (low, high))
    return [part for name in named for part in split(f, name, half, parts // 2)]
