"""What `fit` and `epochs` are asked for, with the defaults; Trainer.fit tells what each means."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradc.compiler.errors import ArgumentError

from .calls import unknown_argument
from .file_names import NamedFile, check_distinct, mapped_file
from .option_values import checked_count, checked_flag, checked_path
from .plain_number import as_real
from .rows import Rows
from .stopping import EarlyStopping


@dataclass(frozen=True)
class FitOptions:
    """Raises ArgumentError for values of another type, counts that are none, and options that
    exclude each other."""

    batch_size: int | None = None
    epochs: int = 1
    validation: Any = None
    shuffle: bool = True
    drop_last: bool = False
    early_stopping: EarlyStopping | None = None
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    learning_rate: float | Mapping[str, float] | None = None
    restart: bool = False
    stop_on_nan: bool = False
    metrics_file: str | os.PathLike[str] | None = None
    progress: bool | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "checkpoint_every"):
            object.__setattr__(self, name, checked_count(name, getattr(self, name), "fit"))
        for name in ("shuffle", "drop_last", "resume", "restart", "stop_on_nan"):
            object.__setattr__(self, name, checked_flag(name, getattr(self, name), "fit"))
        if self.progress is not None:
            object.__setattr__(self, "progress", checked_flag("progress", self.progress, "fit"))
        if self.epochs is None:
            raise ArgumentError("epochs is a positive integer, not None", operation="fit")
        given = self.learning_rate
        for rate in given.values() if isinstance(given, Mapping) else [given]:
            if rate is not None:
                check_rate(rate)
        if self.early_stopping is not None and not isinstance(self.early_stopping, EarlyStopping):
            raise ArgumentError(
                f"early_stopping is not {self.early_stopping!r}",
                operation="fit",
                hint="gc.EarlyStopping(patience=3)",
            )
        for name in ("checkpoint", "metrics_file"):
            if getattr(self, name) is not None:
                checked_path(name, getattr(self, name), "fit")
        if self.resume and self.checkpoint is None:
            raise ArgumentError("resume=True needs checkpoint=", operation="fit")
        if self.resume and self.restart:
            raise ArgumentError(
                "resume=True goes on, restart=True begins anew: give one of them", operation="fit"
            )


def check_data(options: FitOptions, data: Any) -> None:
    """Refuse options that do not go with this data. Raises ArgumentError."""
    _check_files_stay(options, data)
    if data is None or isinstance(data, Mapping):
        return
    given = []
    if options.batch_size is not None and not isinstance(options.validation, Mapping):
        given.append("batch_size")
    if options.drop_last:
        given.append("drop_last")
    if given:
        raise ArgumentError(
            f"{' and '.join(given)} say nothing of an iterable: its batches are taken as they come",
            operation="fit",
            hint="give arrays, or make such batches where the iterable is made",
        )


def _check_files_stay(options: FitOptions, data: Any) -> None:
    """Whether the checkpoint and the log are two files, and no array is mapped from one of them, or
    from one beside the checkpoint. Raises ArgumentError."""
    uses = []
    if options.checkpoint is not None:
        uses.append(NamedFile("checkpoint", options.checkpoint, True, beside=True))
    if options.metrics_file is not None:
        uses.append(NamedFile("metrics_file", options.metrics_file, True))
    for arrays in (data, options.validation) if uses else ():
        for name, array in arrays.items() if isinstance(arrays, Mapping) else ():
            for part in array.parts if isinstance(array, Rows) else (array,):
                file = mapped_file(part)
                uses += [] if file is None else [NamedFile(f"input {name!r}", file, False)]
    check_distinct(uses)


def fit_options(given: Mapping[str, Any], operation: str) -> FitOptions:
    """The options given by name. Raises CallError for a name that is none."""
    known = inspect.signature(FitOptions).parameters
    for name in given:
        if name not in known:
            data = inspect.Parameter("data", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
            shown = [p.replace(kind=p.KEYWORD_ONLY, annotation=p.empty) for p in known.values()]
            raise unknown_argument(operation, name, inspect.Signature([data, *shown]))
    return FitOptions(**given)


def check_rate(rate: Any) -> None:
    """Raise ArgumentError unless it can be a learning rate."""
    number = as_real(rate)
    if number is None or not 0 <= number < math.inf:
        raise ArgumentError(f"a learning rate is a finite number >= 0, not {rate!r}")
