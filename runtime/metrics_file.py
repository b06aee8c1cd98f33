"""The log of a run as a CSV file: `epoch,step,split,loss,<metrics>`, a row per epoch and split.

Byte for byte what a training binary's `--metrics` writes (runtime/native/metrics.c). The rows
follow from the training position: a run that goes on writes all of them again, so that the file
never depends on when a run was stopped. Steps are empty where data of another size was before.

A position of very many epochs has not kept the numbers of all (column.py). Then the rows that are
in the file stay, which go as far as the checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Sequence

from gradc.compiler.errors import FileError

from .column import ROWS_MAXIMUM, Column
from .file_lock import WITHOUT_LOCKS
from .file_names import shown
from .record import RunRecord

SECONDS_BETWEEN_WRITES = 0.1
TEXT_BYTES_MAXIMUM = 65_536


class MetricsFile:
    """See the module docstring. Raises FileError where the file cannot be written.

    names      "loss" and the metrics
    steps      batches of an epoch, 0 where they are not known before it ends
    validates  whether this run evaluates validation data
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        names: Sequence[str],
        record: RunRecord,
        steps: int,
        validates: bool,
    ) -> None:
        self._path, self._names, self._steps = os.fspath(path), tuple(names), steps
        self._validates = validates
        self._done = 0  # epochs that have their rows
        known = record.step == record.epoch * steps + record.position if steps else not record.epoch
        self._counted = 0 if known else record.epoch  # the first epoch whose steps are known
        header = ",".join(["epoch", "step", "split", *map(_quoted, names)]) + "\n"
        self._text = bytearray(header.encode())
        self._written_at, self._owner = 0.0, os.getpid()
        trained = record.history.get("loss", Column())
        kept = 0 if len(trained) == trained.length else self._keep_rows(record)
        self._descriptor = self._open(kept)

    def add(self, record: RunRecord) -> None:
        """Rows of the complete epochs that have none yet; written together where they are short."""
        trained = record.history.get("loss", Column())
        held_out = record.history.get("validation_loss", Column())
        # Columns end with the last epoch, but for those of a validation that is no longer done.
        before = record.epoch - trained.length
        before_held_out = record.epoch - held_out.length if self._validates else 0
        epoch = self._done
        while True:
            nearest = [
                first + found
                for column, first in ((trained, before), (held_out, before_held_out))
                if (found := column.find_next(epoch - first)) is not None
            ]
            epoch = min(nearest, default=record.epoch)
            if epoch >= record.epoch:
                break
            step = record.step - record.position - (record.epoch - 1 - epoch) * self._steps
            start = f"{epoch + 1},{'' if epoch < self._counted else step}"
            self._add_row(f"{start},train", record, "", epoch - before)
            self._add_row(f"{start},validation", record, "validation_", epoch - before_held_out)
            epoch += 1
            self._done = epoch
            if len(self._text) > TEXT_BYTES_MAXIMUM:
                self._flush()
        recent = time.monotonic() - self._written_at < SECONDS_BETWEEN_WRITES
        if not (recent and trained.length <= ROWS_MAXIMUM):
            self._flush()

    def close(self) -> None:
        """Write what is left. Does nothing the second time."""
        descriptor = self._descriptor
        if descriptor < 0:
            return
        try:
            if self._owner == os.getpid():  # a child of fork has its parent's rows, not yet written
                self._flush()
        finally:
            self._descriptor = -1
            os.close(descriptor)

    def _add_row(self, start: str, record: RunRecord, prefix: str, index: int) -> None:
        columns = [record.history.get(prefix + name, Column()) for name in self._names]
        values = [column.find(index) for column in columns]
        if values[0] is not None:
            numbers = [number_text(float("nan") if v is None else v) for v in values]
            self._text += f"{','.join([start, *numbers])}\n".encode()

    def _keep_rows(self, record: RunRecord) -> int:
        """Find the rows of a log that stay: behind the same header, whole lines, of epochs that the
        record has done. Returns their bytes with the header, 0 if it is another log."""
        header = bytes(self._text)
        try:
            if not stat.S_ISREG(os.stat(self._path).st_mode):  # what a pipe was given is gone
                return 0
            with open(self._path, "rb") as file:
                if file.read(len(header)) != header:
                    return 0
                kept = before = at = len(header)
                whole = True  # the last epoch has all of its rows
                for line in file:
                    digits = line.partition(b",")[0]
                    epoch = int(digits) if digits.isdigit() and len(digits) < 20 else 0
                    fits = self._done <= epoch and 1 <= epoch <= record.epoch
                    if not line.endswith(b"\n") or not fits:
                        break
                    before = at if epoch > self._done else before
                    whole = b",validation," in line or not self._validates
                    self._done = epoch
                    at += len(line)
                    kept = at
        except OSError:
            return 0
        if not whole:
            self._done -= 1
            kept = before
        return kept

    def _open(self, kept: int) -> int:
        """Open the file and leave the rows that stay in it."""
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise self._failure(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                os.close(descriptor)
                problem = "another process is writing this file"
                raise FileError(f"{shown(self._path)}: {problem}") from None
        try:
            os.ftruncate(descriptor, kept)
            os.lseek(descriptor, kept, os.SEEK_SET)
        except OSError:
            pass  # what is no regular file cannot be cut, and has nothing that stays
        if kept:
            self._text.clear()
        return descriptor

    def _flush(self) -> None:
        self._written_at = time.monotonic()
        text = bytes(self._text)
        self._text.clear()
        try:
            while text:
                text = text[os.write(self._descriptor, text) :]
        except OSError as error:
            raise self._failure(error) from None

    def _failure(self, error: OSError | ValueError) -> FileError:
        problem = getattr(error, "strerror", None) or str(error)
        return FileError(f"{shown(self._path)}: cannot be written: {problem}")


def number_text(value: float) -> str:
    """The shortest of three forms that reads back as the same number."""
    for digits in (15, 16):
        text = f"{value:.{digits}g}"
        if float(text) == value:
            return text
    return f"{value:.17g}"


def _quoted(name: str) -> str:
    """In quotes where the name holds a comma, a quote or the end of a line (RFC 4180)."""
    if any(character in name for character in ',"\r\n'):
        return '"' + name.replace('"', '""') + '"'
    return name
