"""`gradc train`: what a training binary does, on the same options, in this process.

An option means here what it means there (docs/training_binaries.md), and writes the same bytes.
data() of FILE gives what `--data` and `--validate` give a binary; both options are taken too, and
come before it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, FileError
from gradc.runtime.checkpoint import read_checkpoint
from gradc.runtime.file_names import NamedFile, check_distinct, exists, previous_of, shown
from gradc.runtime.file_write import write_atomically
from gradc.runtime.pace import StopSignal
from gradc.runtime.stopping import EarlyStopping
from gradc.runtime.trainer import Trainer

from ._training import TrainingProgram
from .cli_signals import sigterm

Say = Callable[[str], None]


@dataclass(frozen=True)
class TrainOptions:
    """The command line. `given` names the options that were really given, as they are spelled."""

    file: Path
    given: frozenset[str]
    data: tuple[str, ...]
    validate: tuple[str, ...]
    epochs: int
    batch_size: int | None
    target: str
    tune: bool
    threads: int | None
    seed: int
    lr: float | None
    checkpoint: Path | None
    every: int | None
    resume: bool
    parameters: Path | None
    metrics: Path | None
    patience: int | None
    shuffle: bool
    drop_last: bool
    stop_on_nan: bool
    predict: Path | None
    quiet: bool


# Not to be given with --predict.
TRAINING = (
    "validate", "epochs", "lr", "every", "resume", "parameters", "metrics", "no-shuffle",
    "shuffle", "drop-last", "patience", "stop-on-nan",
)  # fmt: skip


class Stopped(Exception):
    """A signal ended the run; the text says where."""


def check_options(options: TrainOptions) -> None:
    """Raise ArgumentError for options that do not go together."""
    for name in TRAINING if options.predict is not None else ():
        if name in options.given:
            raise ArgumentError(f"--predict does not train: --{name} has no meaning with it")
    if options.checkpoint is None:
        for name in ("predict", "resume", "every"):
            if name in options.given:
                raise ArgumentError(f"--{name} needs --checkpoint")
    uses = [NamedFile("FILE", options.file, False)]
    for option, texts in (("--data", options.data), ("--validate", options.validate)):
        uses += [NamedFile(option, text.partition("=")[2], False) for text in texts]
    if options.parameters is not None:
        uses.append(NamedFile("--parameters", options.parameters, False))
    for option, path, beside in (
        ("--metrics", options.metrics, False),
        ("--checkpoint", options.checkpoint, True),
        ("--predict", options.predict, True),
    ):
        if path is not None:
            uses.append(NamedFile(option, path, True, beside=beside))
    check_distinct(uses)


def arrays_of(program: TrainingProgram, texts: tuple[str, ...], option: str) -> dict[str, Any]:
    """The arrays of NAME=FILE.npy options, mapped rather than read."""
    known = [field.name for field in program.inputs]
    arrays: dict[str, Any] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or not path:
            raise ArgumentError(f"{option} takes NAME=FILE, not {text!r}")
        if name not in known:
            listed = ", ".join(map(repr, known)) or "none"
            raise ArgumentError(f"{option}: unknown input {name!r}", facts=[f"inputs: {listed}"])
        if name in arrays:
            raise ArgumentError(f"{option}: two files for input {name!r}")
        if exists(Path(path)) and not Path(path).is_file():
            raise FileError(f"{shown(path)}: not a regular file")
        try:
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise FileError(f"{shown(path)}: cannot be read: {reason}") from None
    return arrays


def train(
    program: TrainingProgram, data: Mapping[str, Any], options: TrainOptions, say: Say
) -> str:
    """Train, and return the last numbers. say: takes notes for people.

    Raises Stopped after a signal, with a checkpoint written.
    """
    trainer = _trainer(program, options)
    notes = _no_notes if options.quiet else say
    if options.checkpoint is None:
        notes("without --checkpoint nothing is kept")
    begins = not options.resume or not _finds_checkpoint(options, notes)
    if begins and options.parameters is not None:
        trainer.load(options.parameters, parameters_only=True)
    with sigterm(StopSignal()) as stop, _warnings_as(notes):
        try:
            history = trainer.fit(
                data["train"],
                batch_size=options.batch_size,
                epochs=options.epochs,
                validation=data.get("validation"),
                shuffle=options.shuffle,
                drop_last=options.drop_last,
                early_stopping=None
                if options.patience is None
                else EarlyStopping(options.patience),
                checkpoint=options.checkpoint,
                checkpoint_every=options.every,
                resume=options.resume,
                learning_rate=options.lr,
                stop_on_nan=options.stop_on_nan,
                metrics_file=options.metrics,
                progress=not options.quiet,
            )
        except KeyboardInterrupt:
            kept = "nothing was kept" if options.checkpoint is None else "--resume goes on"
            signal_name = stop.received[0] if stop.received else "SIGINT"
            step = trainer.record.step
            raise Stopped(f"stopped by {signal_name} at step {step}; {kept}") from None
    last = {name: values[-1] for name, values in history.items() if values}
    return "  ".join(f"{name} {value:.6g}" for name, value in last.items())


def predict(program: TrainingProgram, data: Mapping[str, Any], options: TrainOptions) -> None:
    """Write the first output for the data, with the state of the checkpoint."""
    assert options.predict is not None and options.checkpoint is not None
    trainer = _trainer(program, options)
    trainer.load(options.checkpoint)
    seed = options.seed if "seed" in options.given else None
    outputs = trainer.predict(data["train"], batch_size=options.batch_size, seed=seed)
    first = next(iter(outputs.values()))
    if not first.dtype.isbuiltin:
        raise ArgumentError(f"--predict: .npy holds no {first.dtype}")
    contents = io.BytesIO()
    np.save(contents, first, allow_pickle=False)
    write_atomically(options.predict, (contents.getbuffer(),), keeps_previous=False)


def _trainer(program: TrainingProgram, options: TrainOptions) -> Trainer:
    return program.compile(
        target=options.target, threads=options.threads, seed=options.seed, tune=options.tune
    )


def _finds_checkpoint(options: TrainOptions, notes: Say) -> bool:
    """Whether there is something to resume; says so where it is not the file itself."""
    path = options.checkpoint
    assert path is not None
    previous = previous_of(path)
    found = path if exists(path) else previous if exists(previous) else None
    if found is None:
        notes(f"{path} is not there; starting anew")
        return False
    if found is previous:
        notes(f"{path} is not there; going on from {previous}")
    record = read_checkpoint(found).record
    if "seed" in options.given and record is not None and record.seed != options.seed:
        raise ArgumentError(f"--seed is {options.seed}, but the run was begun with {record.seed}")
    return True


@contextmanager
def _warnings_as(notes: Say) -> Iterator[None]:
    """What a fit warns of is a note, without the line of Python that it came from."""

    def show(message: Warning | str, *place: Any, **options: Any) -> None:
        notes(str(message).removeprefix("fit: "))

    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        warnings.showwarning = show
        yield


def _no_notes(text: str) -> None:
    pass
