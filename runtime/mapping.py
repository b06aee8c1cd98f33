"""Advice to the system about files that data is mapped from.

Around a page that is missing the system reads the pages beside it, 32 of them as Linux is set up.
That is right for rows in order, and for files that will lie in memory as a whole. Of files that do
not fit there, of which rows are wanted in random order, it reads 32 times too much.
runtime/native/dataset.c does the same. Source: madvise(2), mmap(2).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from .rows import Rows


def advise(arrays: Iterable[Any], in_order: bool) -> None:
    """Tell the system how the rows of these arrays will be read, as far as they are mapped, if the
    files are together larger than the memory."""
    parts = [part for a in arrays for part in (a.parts if isinstance(a, Rows) else (a,))]
    mappings = {id(found): found for found in map(_mapping_of, parts) if found is not None}
    if sum(map(len, mappings.values())) > memory_bytes():
        for mapping in mappings.values():
            mapping.madvise(mmap.MADV_NORMAL if in_order else mmap.MADV_RANDOM)


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _mapping_of(array: Any) -> mmap.mmap | None:
    """What an array lies in, if that is a mapping."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None
