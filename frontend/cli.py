"""The command line: gradc train | build | inspect | opt | convert.

FILE is a Python file that defines `program` (from gc.training) at top level and, for `train`, a
function `data()` that returns {"train": {...}, "validation": {...}}.

Exit status: 0 done; 1 a bad, damaged or missing file or a failed write; 2 bad or missing arguments;
3 stopped by SIGINT or SIGTERM after writing a checkpoint. A user's mistake shows one message and no
traceback.
"""

from __future__ import annotations

import gc
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
import numpy as np

from gradc.compiler.aot.build import CPUS, KINDS
from gradc.compiler.aot.toolchain import HOST, PLATFORMS
from gradc.compiler.driver import BACK_ENDS, PRECISIONS
from gradc.compiler.errors import ArgumentError, GradcError, shown
from gradc.compiler.output_files import write_file
from gradc.compiler.passes.settings import Precision

from . import __version__
from ._training import TrainingProgram
from .cli_signals import sigterm
from .compiled import driver_program

BAD_FILE, BAD_ARGUMENTS, STOPPED = 1, 2, 3
INSPECTED_ROWS = 64
DATA_SETS = ("train", "validation")
ENTRIES = ("run", "evaluate", "predict", "init", "epoch")

_PATH = click.Path(path_type=Path)
_POSITIVE = click.IntRange(min=1)
_file = click.argument("file", type=_PATH)


class _Target(click.Choice):  # type: ignore[type-arg, unused-ignore]
    """A back end's name, and after a colon the machines that it is for: cuda:sm_90,sm_80."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        name, colon, machines = value.partition(":")
        return f"{super().convert(name, param, ctx)}{colon}{machines}"


_target = click.option(
    "--target", type=_Target(tuple(BACK_ENDS)), default="cpu", help="where it runs"
)
_cpu = click.option(
    "--cpu", default="native", help="the machine: native, x86-64-v3, x86-64-v4 or aarch64"
)
_tune = click.option(
    "--tune", is_flag=True, help="kernels by the schedules that are fastest on the GPU here"
)
_dim = click.option(
    "--dim", multiple=True, metavar="NAME=N", help="the value of another named dimension"
)


def main() -> None:
    """The entry point of the console script and of `python -m gradc`."""
    app(prog_name="gradc")


@click.group(no_args_is_help=True, context_settings={"show_default": True})
@click.version_option(__version__, message="%(prog)s %(version)s")
def app() -> None:
    """A gradient compiler: train, build, inspect and rewrite programs.

    FILE is a Python file that defines `program` at top level.
    """


@app.command()
@_file
@click.option("--data", multiple=True, metavar="NAME=FILE", help="a .npy file for each input")
@click.option("--validate", multiple=True, metavar="NAME=FILE", help="the same for validation")
@click.option("--epochs", type=_POSITIVE, default=10, help="in all, resumed runs included")
@click.option("--batch-size", type=_POSITIVE, help="samples of a batch; 32, if not given")
@_target
@_tune
@click.option("--threads", type=_POSITIVE, help="every CPU, if not given")
@click.option("--seed", type=int, default=0, help="for parameters, order, random numbers")
@click.option("--lr", type=click.FloatRange(min=0), help="replaces the program's learning rate")
@click.option("--checkpoint", type=_PATH, help="written after every epoch and at the end")
@click.option("--every", type=_POSITIVE, help="write the checkpoint every N steps instead")
@click.option("--resume", is_flag=True, help="go on from the checkpoint, if it is there")
@click.option("--parameters", type=_PATH, help="safetensors file of parameters to begin with")
@click.option("--metrics", type=_PATH, help="write a CSV file, a row per epoch and split")
@click.option("--patience", type=_POSITIVE, help="stop after N epochs without a better loss")
@click.option("--shuffle/--no-shuffle", default=True, help="a new order of samples in every epoch")
@click.option("--drop-last", is_flag=True, help="full batches only")
@click.option("--stop-on-nan", is_flag=True, help="end at the first loss that is not finite")
@click.option("--predict", type=_PATH, help="do not train: write the first output as .npy")
@click.option("--quiet", is_flag=True, help="no progress and no notes")
@click.pass_context
def train(context: click.Context, /, file: Path, **values: Any) -> None:
    """Train FILE's program on FILE's data(), as its training binary does.

    data() returns {"train": {input: array}, "validation": {...}}; the second may be left out.
    Progress goes to standard error, the last numbers to standard output.
    """
    from . import cli_train

    def given(name: str) -> bool:
        return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE

    names = {name.replace("_", "-") for name in values if given(name)}
    if "shuffle" in names and not values["shuffle"]:
        names = (names - {"shuffle"}) | {"no-shuffle"}
    options = cli_train.TrainOptions(file, frozenset(names), **values)

    def run() -> None:
        cli_train.check_options(options)
        found = _load(file)
        program = _program_of(found, file)
        data: Mapping[str, Any]
        if options.data:
            data = {"train": cli_train.arrays_of(program, options.data, "--data")}
        else:
            data = _data_of(found, file)
        if options.validate:
            held_out = cli_train.arrays_of(program, options.validate, "--validate")
            data = {**data, "validation": held_out}
        if options.predict is not None:
            cli_train.predict(program, data, options)
            return
        try:
            click.echo(cli_train.train(program, data, options, _say))
        except cli_train.Stopped as stopped:
            _stop(STOPPED, str(stopped))

    _guarded(run)


@app.command()
@_file
@click.option("-o", "--output", type=_PATH, required=True, help="the file to make")
@click.option("--kind", type=click.Choice(KINDS), default="executable", help="what to make")
@click.option("--batch", type=_POSITIVE, help="samples of a batch; 32, if not given")
@click.option("--cpu", type=click.Choice(CPUS), default="native", help="CPUs that it runs on")
@_target
@_tune
@click.option(
    "--platform",
    type=click.Choice(PLATFORMS),
    default=HOST,
    help="another than the host needs ziglang",
)
@_dim
def build(
    file: Path,
    output: Path,
    kind: str,
    batch: int | None,
    cpu: str,
    target: str,
    tune: bool,
    platform: str,
    dim: tuple[str, ...],
) -> None:
    """Make a binary that trains FILE's program without Python."""
    gc.disable()  # a short process: a twelfth of its time would go into looking for garbage
    program = _program_of(_load(file), file)

    def run() -> None:
        dims = _dimensions(dim)
        _keep_program(output, file)
        made = program.build(output, kind, batch, cpu, target, platform, dims=dims, tune=tune)
        for path in made:
            click.echo(f"{path}  {path.stat().st_size:,} bytes")

    _guarded(run)


def _dimensions(texts: tuple[str, ...]) -> dict[str, int]:
    """The values of NAME=N options."""
    dims: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value.isdecimal():
            raise ArgumentError(f"--dim takes NAME=N, not {text!r}")
        if name in dims:
            raise ArgumentError(f"--dim: two values for {name!r}")
        dims[name] = int(value)
    return dims


@app.command()
@_file
@click.option("--batch", type=_POSITIVE, default=INSPECTED_ROWS, help="rows of a batch")
@click.option("--entry", type=click.Choice(ENTRIES), default="run", help="the entry point")
@_target
@_tune
@_dim
@_cpu
@click.option("--precision", type=click.Choice(PRECISIONS), default="float32", help="of products")
@click.option("--html", type=_PATH, help="write an HTML page")
def inspect(
    file: Path,
    batch: int,
    entry: str,
    target: str,
    tune: bool,
    precision: Precision,
    dim: tuple[str, ...],
    cpu: str,
    html: Path | None,
) -> None:
    """Show kernels, how each is run and why, and the memory plan of FILE's program."""
    program = _program_of(_load(file), file)

    def run() -> None:
        from gradc.compiler.inspect import explain
        from gradc.compiler.inspect_html import explain_html

        bound, fixed = program.bound(_dimensions(dim), None, "inspect")
        if entry not in bound.graphs:
            problem = f"this program has no entry point {entry!r}"
            raise ArgumentError(problem, facts=[f"it has {', '.join(bound.graphs)}"])
        given = bound.graphs, bound.batch_dimension, target, precision, cpu
        compiled = driver_program(*given, tune=tune)
        name = bound.batch_dimension
        dims = {} if name is None else {name: batch if fixed is None else fixed}
        planned = compiled.lowered(entry, dims, compiled.is_bounded(entry, False))
        costs = compiled.predicted(planned)
        if html is None:
            click.echo(explain(planned) + (f"\n\n{costs}" if costs else ""))
        else:
            _keep_program(html, file)
            write_file(html, explain_html(planned, costs))

    _guarded(run)


@app.command()
@click.argument("file", type=_PATH, required=False)
@click.option("--passes", help="comma-separated names")
@click.option("--dump", type=_PATH, help="folder for what each pass makes")
@click.option("-o", "--output", type=_PATH, help="standard output, if not given")
@_cpu
@click.option("--list", "list_passes", is_flag=True, help="name the passes")
def opt(
    file: Path | None,
    passes: str | None,
    dump: Path | None,
    output: Path | None,
    cpu: str,
    list_passes: bool,
) -> None:
    """Text IR in, passes, text IR out."""
    from gradc.compiler.opt import PASS_NAMES, optimize_text

    if list_passes:
        click.echo("\n".join(PASS_NAMES))
        return
    if file is None:
        _stop(BAD_ARGUMENTS, "opt needs FILE and --passes; --list names the passes")
    text = _read(file)
    if passes is None:
        _stop(BAD_ARGUMENTS, "opt needs --passes, a comma-separated list; --list names the passes")

    def run() -> None:
        result = optimize_text(text, str(file), passes, dump, cpu)
        if output is None:
            sys.stdout.write(result)
        else:
            write_file(output, result)

    _guarded(run)


@app.command()
@click.argument("source", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, help="the folder to write to")
@click.option("--label", metavar="COLUMN", help="of a table: the column of the labels")
@click.option("--columns", metavar="A,B,...", help="of a table: those to keep")
@click.option("--header/--no-header", default=None, help="of a table: whether names come first")
@click.option("--delimiter", help="of a table: between cells")
@click.option("--dtype", default="float32", help="of a table: of its features")
@click.option("--missing", type=float, help="of a table: what a missing cell counts as")
@click.option("--size", metavar="HxW", help="of pictures: what all are brought to")
@click.option("--grey", is_flag=True, help="of pictures: one channel")
@click.option("--split", default="train", help="of CIFAR: train or test")
def convert(source: Path, output: Path, size: str | None, **options: Any) -> None:
    """Write SOURCE as the .npy files that training binaries and --data read.

    SOURCE is a table (.csv, .tsv, .txt), a .npz archive, a .npy or idx file, a folder of CIFAR-10
    or CIFAR-100, or a folder that holds a folder of PNG or JPEG pictures for each class.
    """

    def run() -> None:
        from .data.conversion import convert as write

        if options["columns"] is not None:
            options["columns"] = options["columns"].split(",")
        options["dtype"] = _dtype(options["dtype"])
        for path in write(source, output, size=_size(size), **options):
            click.echo(f"{path}  {path.stat().st_size:,} bytes")

    _guarded(run)


def _dtype(name: str) -> Any:
    try:
        return np.dtype(name)
    except TypeError:
        raise ArgumentError(f"--dtype takes the name of a dtype, not {name!r}") from None


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not height.isdecimal() or not width.isdecimal():
        raise ArgumentError(f"--size takes HEIGHTxWIDTH, not {text!r}")
    return int(height), int(width)


# ---------------------------------------------------------------- files


def _load(file: Path) -> Mapping[str, Any]:
    """The names that FILE defines. Its own errors end the command with its own line."""
    if not file.is_file():
        _stop(BAD_FILE, f"{file}: {'not a file' if file.exists() else 'no such file'}")
    folder, arguments = str(file.resolve().parent), sys.argv
    sys.path.insert(0, folder)
    sys.argv = [str(file)]
    try:
        return runpy.run_path(str(file), run_name="__program__")
    except GradcError as error:
        _stop(BAD_FILE, f"{file}: {type(error).__name__}: {error}")
    except SystemExit as error:
        _stop(BAD_FILE, f"{file}: it exits by itself with status {error.code}")
    except Exception as error:
        _stop(BAD_FILE, _own_line(file, error))
    finally:
        sys.argv = arguments


def _own_line(file: Path, error: Exception) -> str:
    """The message of any other error, with the last line of FILE that led to it."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).resolve() == file.resolve():
            line = frame.lineno
    place = f"{file}:{line}" if line else str(file)
    return f"{place}: {type(error).__name__}: {error}"


def _program_of(names: Mapping[str, Any], file: Path) -> TrainingProgram:
    program = names.get("program")
    if "program" not in names:
        _stop(BAD_FILE, f"{file} defines no `program`: assign the result of gc.training to it")
    if not isinstance(program, TrainingProgram):
        found = "None" if program is None else f"of type {type(program).__name__}"
        _stop(BAD_FILE, f"{file}: `program` is {found}, not the result of gc.training")
    return program


def _data_of(names: Mapping[str, Any], file: Path) -> Mapping[str, Any]:
    load = names.get("data")
    if not callable(load):
        _stop(BAD_FILE, f"{file}: there is no function data()")
    try:
        data = load()
    except GradcError as error:
        _stop(BAD_FILE, f"{file}: {type(error).__name__}: {error}")
    except Exception as error:
        _stop(BAD_FILE, _own_line(file, error))
    if not isinstance(data, Mapping) or "train" not in data:
        _stop(BAD_FILE, f"{file}: data() returns no dict with the key 'train'")
    for key in data:
        if key not in DATA_SETS:
            known = " and ".join(map(repr, DATA_SETS))
            _stop(BAD_FILE, f"{file}: data() returns an unknown key {key!r}; known are {known}")
    return data


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        _stop(BAD_FILE, f"{file}: cannot be read: {reason}")


def _keep_program(output: Path, file: Path) -> None:
    """Raise ArgumentError for an output that would replace FILE."""
    if output.exists() and output.samefile(file):
        raise ArgumentError(f"{output} would replace FILE itself")


# ---------------------------------------------------------------- endings


def _guarded(run: Callable[[], None]) -> None:
    """Run a command; a user's mistake or a signal becomes a message and an exit status."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    try:
        with sigterm(interrupt):
            run()
    except KeyboardInterrupt:
        _stop(STOPPED, "stopped")
    except GradcError as error:
        status = BAD_ARGUMENTS if isinstance(error, ArgumentError) else BAD_FILE
        _stop(status, f"{type(error).__name__}: {error}")


def _say(message: str) -> None:
    click.echo(shown(f"gradc: {message}", keep="\n\t"), err=True)


def _stop(status: int, message: str) -> NoReturn:
    _say(message)
    raise click.exceptions.Exit(status)
