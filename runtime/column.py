"""One column of a history: a number per epoch, of which a file keeps a bounded share.

In a run's own memory every number stays. A file holds those of the epochs 0, s, 2s, 3s... and of
the last, where s is the smallest power of two with which there are at most ROWS_MAXIMUM of them,
not counting the last. So the first 4096 epochs are kept whole, after 5000 every second number is,
and the cost of a checkpoint does not grow with the epochs behind it.

Which epochs those are follows from their number alone. What is kept of a longer column is kept of
a shorter one too, so a run that was stopped and resumed writes the bytes of one that was not.
runtime/native/column.c does the same.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np

ROWS_MAXIMUM = 4096  # 32 KiB


def stride(epochs: int) -> int:
    """The distance between the epochs that a column of so many keeps."""
    distance = 1
    while (epochs + distance - 1) // distance > ROWS_MAXIMUM:
        distance *= 2
    return distance


def kept_epochs(epochs: int) -> list[int]:
    """The epochs, counted from 0, whose numbers a file holds of a column of so many."""
    kept = list(range(0, epochs, stride(epochs)))
    return kept if not epochs or kept[-1] == epochs - 1 else [*kept, epochs - 1]


def kept_rows(epochs: int) -> int:
    """How many there are of those; at most ROWS_MAXIMUM + 1."""
    distance = stride(epochs)
    rows = (epochs + distance - 1) // distance
    return rows + (epochs > 0 and (epochs - 1) % distance > 0)


class Column(Sequence[float]):
    """Numbers of the epochs `epochs`; without gaps unless some of them come from a file.

    values    the numbers
    length    the epochs that the column covers, if the values are those that a file keeps of them

    As long as all of them are numbers of float32 they are kept as such: of millions of epochs of a
    tiny network, getting the memory for them takes a good part of the training.
    """

    def __init__(self, values: Iterable[float] = (), length: int | None = None) -> None:
        self._values = array("d", values) or array("f")
        covered = len(self._values) if length is None else length
        if kept_rows(covered) != len(self._values) and length is not None:
            raise ValueError(f"{len(self._values)} numbers for {length} epochs")
        self._thinned = 0 if covered == len(self._values) else covered

    @property
    def length(self) -> int:
        """The number of epochs from the first to the last."""
        return self._thinned + len(self._values) - kept_rows(self._thinned)

    @property
    def epochs(self) -> list[int]:
        """The epoch of every number, counted from 0."""
        return [*kept_epochs(self._thinned), *range(self._thinned, self.length)]

    def append(self, value: float) -> None:
        if array("f", (value,))[0] != value:
            self._widen()
        self._values.append(value)

    def extend(self, values: np.ndarray[Any, Any]) -> None:
        """Append a vector of float32 or float64."""
        if values.dtype != np.float32:
            self._widen()
        self._values.frombytes(values.astype(self._values.typecode, copy=False).data.cast("B"))

    def _widen(self) -> None:
        """Keep the numbers as float64 from now on."""
        if self._values.typecode == "f":
            self._values = array("d", self._values)

    def numbers(self) -> Numbers:
        """The numbers until now, where they lie."""
        return Numbers(self._values)

    def find(self, epoch: int) -> float | None:
        """The number of an epoch, counted from 0; None where it was not kept."""
        if not 0 <= epoch < self.length:
            return None
        thinned, early = self._thinned, kept_rows(self._thinned)
        if epoch >= thinned:
            return self._values[early + epoch - thinned]
        if epoch == thinned - 1:
            return self._values[early - 1]
        place, rest = divmod(epoch, stride(thinned))
        return None if rest else self._values[place]

    def find_next(self, epoch: int) -> int | None:
        """The first epoch from `epoch` on whose number is there."""
        epoch, thinned = max(0, epoch), self._thinned
        if epoch < thinned - 1:
            distance = stride(thinned)
            epoch = min(-(-epoch // distance) * distance, thinned - 1)
        return epoch if epoch < self.length else None

    def kept(self) -> array[float]:
        """The numbers that a file holds of this column."""
        if self.length <= ROWS_MAXIMUM:
            return self._values
        distance, before = stride(self.length), stride(self._thinned)
        early = self._values[: (self._thinned + before - 1) // before : distance // before]
        first = (self._thinned + distance - 1) // distance * distance
        late = self._values[kept_rows(self._thinned) + first - self._thinned :: distance]
        has_last = (self.length - 1) % distance == 0
        return early + late if has_last else early + late + self._values[-1:]

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> array[float]: ...
    def __getitem__(self, index: int | slice) -> float | array[float]:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[float]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Column):
            return NotImplemented
        return self._values == other._values and self._thinned == other._thinned

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Column({self._values.tolist()!r}, length={self.length})"


class Numbers(Sequence[float]):
    """The numbers that a column has until now; nobody changes them, and later ones are not here.

    They are read where the column has them: of millions of epochs of a tiny network a copy would
    take as long as a part of the training. `numpy.asarray` and `tolist` copy.
    """

    def __init__(self, values: array[float]) -> None:
        """values: to which others may be appended, and nothing else happens"""
        self._values, self._length = values, len(values)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> array[float]: ...
    def __getitem__(self, index: int | slice) -> float | array[float]:
        if isinstance(index, slice):
            first, end, step = index.indices(self._length)
            return array("d", self._values[first : end if end >= 0 else None : step])
        return self._values[range(self._length)[index]]

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[float]:
        return islice(self._values, self._length)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("numbers of a history become an array by being copied")
        return np.array(self._values[: self._length], dtype or np.float64)

    def tolist(self) -> list[float]:
        return list(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return self.tolist() == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Numbers, (self[:],)

    def __repr__(self) -> str:
        return f"Numbers({self.tolist()!r})"
