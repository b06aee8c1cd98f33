"""An input of a data set that is read some rows at a time: of several files, or converted.

`trainer.fit` reads a mapped array (`gc.data.load_npy(path, memory_map=True)`) where it lies, if it
has the declared dtype. `Rows` is for data that is larger than memory and has not: what is not in
the files as the program declares it is made of each batch alone. Samples are visited in the order
that they would have in memory, so the bits of a training are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.compiler.attributes import Attributes
from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described

from .arena import Array
from .plain_array import check_type

_OPERATION = "Rows"


class Rows(Attributes):
    """One array made of parts, one after the other along axis 0, of which rows are read when asked.

    parts    arrays of one dtype and one shape but for axis 0, such as those of several files:
             mapped (`load_npy(path, memory_map=True)`), in memory, or anything else that has shape
             and dtype and is indexed by an array of row numbers; a single one need not be in a list
    convert  a function of some rows [n, ...] that gives as many, of another dtype or shape; it is
             called for each batch
    rows     numbers of those to keep, in that order; None: all, one part after the other
    shape, dtype   of what is kept, after `convert`

    Goes where an array goes in the data of `fit`, `epochs`, `evaluate` and `validation`;
    `rows[5:9]` and `rows[[7, 1]]` are arrays, and `np.asarray(rows)`, as `predict` does, reads all.
    Raises ArgumentError, DTypeError or ShapeError for parts that are none or that differ, and for a
    function that gives another number of rows.

    >>> parts = [np.zeros((3, 2), np.uint8), np.full((5, 2), 255, np.uint8)]
    >>> pixels = gc.data.Rows(parts, convert=lambda x: x.astype(np.float32) / 255)
    >>> pixels.shape, str(pixels.dtype), pixels[[7, 0]].tolist()
    ((8, 2), 'float32', [[1.0, 1.0], [0.0, 0.0]])
    """

    def __init__(self, parts: Any, convert: Any = None, rows: Any = None) -> None:
        given: list[Any] = list(parts) if isinstance(parts, (list, tuple)) else [parts]
        if convert is not None and not callable(convert):
            problem = f"convert is a function, not {described(convert)}"
            raise ArgumentError(problem, operation=_OPERATION)
        _check_parts(given)
        self._parts = given
        self._convert: Callable[[Array], Array] | None = convert
        self._ends = np.cumsum([part.shape[0] for part in given])
        self._kept: Array | None = None
        if rows is not None:
            self._kept = _numbers(rows, int(self._ends[-1]))
            if not self._kept.size:
                raise ArgumentError("no rows are kept", operation=_OPERATION)
        first = self[:1]
        self._shape, self._dtype = (len(self), *first.shape[1:]), first.dtype

    @property
    def parts(self) -> tuple[Any, ...]:
        """The parts that it was made of, and those of such among them."""
        inner = [p.parts if isinstance(p, Rows) else (p,) for p in self._parts]
        return tuple(part for parts in inner for part in parts)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def ndim(self) -> int:
        return len(self._shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._kept is None else len(self._kept)

    def __repr__(self) -> str:
        return f"<gc.data.Rows of {self.dtype} {list(self.shape)} in {len(self._parts)} parts>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("rows are read from their parts: that is a copy")
        return np.asarray(self[:], dtype)

    def __getitem__(self, index: Any) -> Array:
        """The rows of a slice, or of an array of row numbers; a copy."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        numbers = _numbers(index, len(self))
        found = self._gathered(numbers if self._kept is None else self._kept[numbers])
        if self._convert is None:
            return found
        made = np.asarray(self._convert(found))
        if made.ndim == 0 or len(made) != len(numbers):
            problem = f"convert made an array of shape {list(made.shape)} of {len(numbers)} rows"
            raise ShapeError(problem, operation=_OPERATION)
        return made

    def _gathered(self, numbers: Array) -> Array:
        """The rows as they are in the parts. Each part is read from its start on, once."""
        first = self._parts[0]
        found = np.empty((len(numbers), *first.shape[1:]), first.dtype)
        by_number = np.argsort(numbers, kind="stable")
        ordered = numbers[by_number]
        bounds = np.searchsorted(ordered, [0, *self._ends])
        for place, part in enumerate(self._parts):
            chosen = slice(bounds[place], bounds[place + 1])
            if chosen.start < chosen.stop:
                begins = int(self._ends[place]) - part.shape[0]
                found[by_number[chosen]] = part[ordered[chosen] - begins]
        return found


def _numbers(index: Any, count: int) -> Array:
    """Row numbers as int64[n]. Raises ArgumentError for what is none, or not one of `count`."""
    numbers = np.asarray(index)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        problem = f"rows are picked by a slice or a list of numbers, not by {described(index)}"
        raise ArgumentError(problem, operation=_OPERATION)
    numbers = numbers.astype(np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < count:
        wrong = numbers[(numbers < 0) | (numbers >= count)][0]
        problem = f"there is no row {wrong}: rows are 0 to {count - 1}"
        raise ArgumentError(problem, operation=_OPERATION)
    return numbers


def _check_parts(parts: Sequence[Any]) -> None:
    if not parts:
        raise ArgumentError("there are no parts", operation=_OPERATION)
    for part in parts:
        check_type(part, "a part of Rows")
        if not hasattr(part, "shape") or not hasattr(part, "dtype") or not part.shape:
            raise ArgumentError(
                f"a part is an array with rows, not {described(part)}",
                operation=_OPERATION,
                hint="write data.load_npy(path, memory_map=True) for a file",
            )
    first = parts[0]
    for part in parts:
        if part.dtype != first.dtype:
            problem = f"the parts differ in dtype: {first.dtype} and {part.dtype}"
            raise DTypeError(problem, operation=_OPERATION)
        if part.shape[1:] != first.shape[1:]:
            problem = "the parts differ in shape behind axis 0: "
            problem += f"{list(first.shape)} and {list(part.shape)}"
            raise ShapeError(problem, operation=_OPERATION)
    if not sum(part.shape[0] for part in parts):
        raise ArgumentError("the parts have no rows", operation=_OPERATION)
