"""Tables of numbers as text: CSV, with or without a header.

    file ::= [ header ] { row }        row ::= cell { delimiter cell } end of line

Cells are as RFC 4180 has them, with quotes where a delimiter is inside, in UTF-8. Lines that are
empty are skipped. Every row has as many cells as the first; every cell of a column that is kept is
a number as Python's float() reads it in ASCII, without underscores. A cell that is not, or that is
missing, is told by its line and column. The file is read in pieces, and held as arrays.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np

from gradc.compiler.errors import ArgumentError, FileError, described

from .files import opened

Array = np.ndarray[Any, np.dtype[Any]]
Column = str | int
Rows = list[tuple[int, list[str]]]

MISSING = frozenset(("", "?", "-", "na", "n/a", "nan", "null", "none", "#n/a", "<na>"))
"""What says, in small letters, that a cell has no value: the usual marks, as pandas has them."""

PIECE_ROWS = 8192
_OPERATION = "load_csv"


@dataclass(frozen=True)
class Table:
    """A table of numbers.

    features  [rows, columns]: the columns that were kept, but for that of the labels
    names     of the features, from the header; "0", "1"... by place where there is none
    labels    [rows]; None where no column was named
    classes   of labels that are text: what each number stands for; else empty

    >>> with open("flowers.csv", "w") as file:
    ...     _ = file.write("length,kind\\n1.4,setosa\\n4.7,versicolor\\n")
    >>> table = gc.data.load_csv("flowers.csv", label="kind")
    >>> table.names, table.labels.tolist(), table.classes
    (('length',), [0, 1], ('setosa', 'versicolor'))
    """

    features: Array
    names: tuple[str, ...]
    labels: Array | None
    classes: tuple[str, ...]


def load_csv(
    path: str | os.PathLike[str],
    *,
    label: Column | None = None,
    columns: Sequence[Column] | None = None,
    header: bool | None = None,
    delimiter: str = ",",
    dtype: Any = np.float32,
    label_dtype: Any = None,
    missing: float | None = None,
) -> Table:
    """The numbers in a CSV file, as arrays.

    label        the column of the labels, by name or by place (from 0; -1 is the last). Whole
                 numbers become int32, other numbers `dtype`, and text the places of the sorted
                 different texts, as int32
    columns      those that become features, in this order; None: all but the label's
    header       whether the first row holds names; None: it does if none of its cells is a number
    delimiter    one character: "," or ";" or a tab
    dtype        of the features: a float or an integer
    label_dtype  of the labels, if not as above
    missing      what a feature's missing cell counts as; None: such a cell is an error

    Missing are empty cells, "?", "-", NA, NaN, null and the like. Raises FileError for a missing
    file, text that is not UTF-8 or not CSV, rows of other lengths, cells that are no numbers or do
    not fit the dtype, each with its line and column; ArgumentError for an unknown column.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "iris.csv")
    >>> size = path.write_text("length,width,species\\n1.4,0.2,setosa\\n4.7,1.4,versicolor\\n")
    >>> table = gc.data.load_csv(path, label="species")
    >>> table.features.shape, table.names, table.labels.tolist(), table.classes
    ((2, 2), ('length', 'width'), [0, 1], ('setosa', 'versicolor'))
    """
    kind = np.dtype(dtype)
    if kind.kind not in "fiu":
        raise ArgumentError(f"dtype is a float or an integer, not {kind}", operation=_OPERATION)
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        problem = f"delimiter is one character, not {described(delimiter)}"
        raise ArgumentError(problem, operation=_OPERATION)
    with opened(path, _OPERATION) as stream, _as_text(stream) as text:
        rows = _rows(Path(path), text, delimiter)
        reader = _Reader(Path(path), kind, missing)
        return reader.read(rows, header, label, columns, label_dtype)


def _as_text(stream: BinaryIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")


def _rows(path: Path, text: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, with the line that each ends on."""
    lines = csv.reader(text, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        for row in lines:
            if row:
                yield lines.line_num, row
    except csv.Error as error:
        raise _wrong(path, lines.line_num, f"it is not CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise _wrong(
            path, lines.line_num + 1, f"it is not text in UTF-8: {error.reason}"
        ) from error


class _Reader:
    """Turns rows of one file into arrays.

    kind     the dtype of features
    missing  what a missing cell counts as, or None
    """

    def __init__(self, path: Path, kind: np.dtype[Any], missing: float | None) -> None:
        self.path, self.kind, self.missing = path, kind, missing
        self.names: tuple[str, ...] = ()

    def read(
        self,
        rows: Iterator[tuple[int, list[str]]],
        header: bool | None,
        label: Column | None,
        columns: Sequence[Column] | None,
        label_dtype: Any,
    ) -> Table:
        first = next(rows, None)
        if first is None:
            raise FileError(f"{self.path} holds no rows", operation=_OPERATION)
        width, waiting = len(first[1]), [first]
        if header is None:
            header = not any(_is_number(cell) for cell in first[1])
        self.names = tuple(str(place) for place in range(width))
        if header:
            self.names, waiting = tuple(cell.strip() for cell in first[1]), []
            if len(set(self.names)) != width:
                twice = next(n for n in self.names if self.names.count(n) > 1)
                raise _wrong(self.path, first[0], f"the header has {twice!r} twice")
        target = None if label is None else self._place(label)
        places = [place for place in range(width) if place != target]
        if columns is not None:
            places = [self._place(column) for column in columns]
        features, texts, lines = [], [], []
        for piece in _pieces(waiting, rows, width, self.path):
            features.append(self._numbers(piece, places))
            if target is not None:
                texts += [row[target].strip() for _, row in piece]
                lines += [line for line, _ in piece]
        if not features:
            raise FileError(f"{self.path} holds no rows but its header", operation=_OPERATION)
        labels: Array | None = None
        classes: tuple[str, ...] = ()
        if target is not None:
            labels, classes = self._labels(texts, lines, target, label_dtype)
        names = tuple(self.names[place] for place in places)
        return Table(np.concatenate(features), names, labels, classes)

    def _place(self, column: Column) -> int:
        if isinstance(column, str) and column in self.names:
            return self.names.index(column)
        if isinstance(column, str) and column.removeprefix("-").isdecimal():
            column = int(column)  # as a command line gives a place
        width = len(self.names)
        if type(column) is int and -width <= column < width:
            return column % width
        raise ArgumentError(
            f"{self.path} has no column {described(column)}",
            operation=_OPERATION,
            facts=[f"columns: {', '.join(map(repr, self.names))}"],
        )

    def _numbers(self, piece: Rows, places: list[int]) -> Array:
        """[rows, columns] of the dtype of features."""
        found = np.empty((len(piece), len(places)), self.kind)
        for column, place in enumerate(places):
            cells = [row[place] for _, row in piece]
            values = _fast(cells)
            if values is None:
                values = np.array([self._number(line, row[place], place) for line, row in piece])
            with np.errstate(invalid="ignore", over="ignore"):
                found[:, column] = values
            kept = found[:, column].astype(np.float64)
            lost = np.isfinite(values) != np.isfinite(kept)
            if self.kind.kind != "f":
                lost |= kept != values
            if lost.any():
                row = int(np.flatnonzero(lost)[0])
                raise self._cell(piece[row][0], place, cells[row], f"does not fit {self.kind}")
        return found

    def _number(self, line: int, cell: str, place: int) -> float:
        """A cell that may be missing or wrong."""
        text = cell.strip()
        if text.lower() in MISSING:
            if self.missing is None:
                raise _wrong(
                    self.path,
                    line,
                    f"column {self.names[place]!r} has no value",
                    "leave the row or the column out, or give missing=",
                )
            return self.missing
        if not _is_number(text):
            hint = "text can be the label; columns= leaves others out"
            if line == 1:
                hint = f"{hint}; header=True takes the first row for names"
            raise self._cell(line, place, cell, "is no number", hint)
        value = float(text)
        if math.isinf(value) and "inf" not in text.lower():
            raise self._cell(line, place, cell, "does not fit float64")
        return value

    def _labels(
        self, texts: list[str], lines: list[int], place: int, dtype: Any
    ) -> tuple[Array, tuple[str, ...]]:
        for line, text in zip(lines, texts, strict=True):
            if text.lower() in MISSING:
                raise _wrong(
                    self.path, line, f"the label, column {self.names[place]!r}, is missing"
                )
        values = _fast(texts)
        if values is None and not all(map(_is_number, texts)):
            classes, numbers = np.unique(np.array(texts), return_inverse=True)
            labels = numbers.reshape(-1).astype(np.int32 if dtype is None else dtype)
            return labels, tuple(map(str, classes))
        if values is None:
            values = np.array(list(map(float, texts)))
        whole = np.isfinite(values).all() and (values == np.rint(values)).all()
        whole = whole and abs(values).max() < 2**31
        wanted = np.dtype(dtype if dtype is not None else np.int32 if whole else self.kind)
        with np.errstate(invalid="ignore", over="ignore"):
            labels = values.astype(wanted)
        back = labels.astype(np.float64)
        lost = back != values if wanted.kind != "f" else np.isfinite(back) != np.isfinite(values)
        if lost.any():
            row = int(np.flatnonzero(lost)[0])
            raise self._cell(lines[row], place, texts[row], f"does not fit {wanted}")
        return labels, ()

    def _cell(self, line: int, place: int, cell: str, what: str, hint: str = "") -> FileError:
        return _wrong(
            self.path, line, f"{described(cell)} in column {self.names[place]!r} {what}", hint
        )


def _pieces(
    waiting: Rows, rows: Iterator[tuple[int, list[str]]], width: int, path: Path
) -> Iterator[Rows]:
    """The rows, checked for their lengths, some thousand at a time."""
    for line, row in rows:
        if len(row) != width:
            raise _wrong(path, line, f"it has {len(row)} cells, the first row has {width}")
        waiting.append((line, row))
        if len(waiting) == PIECE_ROWS:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def _fast(cells: list[str]) -> Array | None:
    """The cells as float64, if all of them are plain numbers."""
    text = "\n".join(cells)
    if not text.isascii() or "_" in text or "n" in text or "N" in text:
        return None
    try:
        values = np.array(list(map(float, cells)))
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _is_number(cell: str) -> bool:
    text = cell.strip()
    if not text.isascii() or "_" in text or text.lower().lstrip("+-") == "nan":
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _wrong(path: Path, line: int, problem: str, hint: str = "") -> FileError:
    return FileError(f"{path}, line {line}: {problem}", operation=_OPERATION, hint=hint)
