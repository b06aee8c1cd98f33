"""What training binaries refuse: arguments, data, checkpoints, places; one message each."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_files import sealed
from safetensors.numpy import save_file
from support_binary import (
    Array,
    Binary,
    binary,
    classifier_data,
    files,
    needs_compiler,
    record_of,
    stopped,
    whole_data,
)

pytestmark = needs_compiler


@pytest.fixture
def classifier() -> Binary:
    return binary("classifier")


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "3"], "unknown option --epoch; did you mean --epochs"),
        (["--zzz"], "unknown option --zzz"),
        (["train"], "unexpected argument 'train'; --help lists the options"),
        (["--resume=yes"], "--resume takes no value"),
        (["--epochs", "0"], "--epochs takes a positive integer, not '0'"),
        (["--epochs=3x"], "--epochs takes a positive integer, not '3x'"),
        (["--epochs", "99999999999999999999"],
         "--epochs takes a positive integer, not '99999999999999999999'"),
        (["--seed", "x"], "--seed takes an integer of 64 bits, not 'x'"),
        (["--lr", "nan"], "--lr takes a finite number of at least 0, not 'nan'"),
        (["--lr=-1"], "--lr takes a finite number of at least 0, not '-1'"),
        (["--data", "x"], "--data takes NAME=FILE, not 'x'"),
        (["--data", "labels=a.npy"], "unknown input labels; did you mean label"),
        (["--data", "x=a.npy", "--data", "x=b.npy"], "two files for input x: a.npy, b.npy"),
        (["--checkpoint", ""], "--checkpoint takes a file name, not ''"),
        (["--resume"], "--resume needs --checkpoint"),
        (["--every", "5"], "--every needs --checkpoint"),
        (["--predict", "o.npy"], "--predict needs --checkpoint"),
        (["--predict", "o.npy", "--checkpoint", "c", "--epochs", "3"],
         "--predict does not train: --epochs has no meaning with it"),
        ([], "missing input 'label': give --data label=FILE.npy"),
    ],
)  # fmt: skip
def test_bad_arguments(classifier: Binary, arguments: list[str], message: str) -> None:
    assert classifier.refused(*arguments, status=2) == message


def test_a_missing_value(classifier: Binary) -> None:
    assert classifier.run("--epochs", status=2).stderr == "classifier: --epochs takes N\n"


def test_a_rate_that_is_fixed(tmp_path: Path) -> None:
    given = files(tmp_path, whole_data())
    message = binary("whole").refused(*given, "--lr", "0.5", status=2)
    assert message == "--lr: the learning rate is fixed in this program"


def test_a_missing_validation_input(classifier: Binary, tmp_path: Path) -> None:
    given = files(tmp_path, classifier_data(20))
    x = files(tmp_path, {"x": classifier_data(5)["x"]}, "--validate", "v_")
    message = classifier.refused(*given, *x, status=2)
    assert message == "missing input 'label': give --validate label=FILE.npy"


@pytest.mark.parametrize("option", ["--checkpoint", "--metrics"])
def test_inputs_are_not_overwritten(classifier: Binary, tmp_path: Path, option: str) -> None:
    given, x = files(tmp_path, classifier_data(20)), tmp_path / "x.npy"
    before, link = x.read_bytes(), tmp_path / "link"
    link.symlink_to(x)
    for path in (x, link):
        message = classifier.refused(*given, option, path, status=2)
        assert message == f"{path} is named twice; it would be overwritten"
    one = tmp_path / "one"
    message = classifier.refused(*given, "--checkpoint", one, "--metrics", one, status=2)
    assert message == f"{one} is named twice; it would be overwritten"
    assert x.read_bytes() == before and not one.exists()


def test_drop_last_must_leave_a_batch(classifier: Binary, tmp_path: Path) -> None:
    message = classifier.refused(*files(tmp_path, classifier_data(7)), "--drop-last", status=2)
    assert message == "--drop-last leaves no batch: 7 samples, batch size 8"


BAD_DATA: dict[str, tuple[Callable[[dict[str, Array]], dict[str, Array]], str]] = {
    "kind": (
        lambda d: d | {"x": (d["x"] * 9).astype(np.uint8)},
        "x.npy: input 'x' is float32, the file holds uint8; arrays are converted within a kind "
        "only: float, integer, bool",
    ),
    "unsigned": (
        lambda d: d | {"x": (d["x"] * 9).astype(np.uint16)},
        "x.npy: input 'x' is float32, the file holds uint16; arrays are converted within a kind "
        "only: float, integer, bool",
    ),
    "range": (
        lambda d: d | {"label": d["label"].astype(np.int64) - 2**40},
        "label.npy: input 'label' has values that do not fit int32: {low}",
    ),
    "unsigned range": (
        lambda d: d | {"label": np.full(20, 2**63 + 5, np.uint64)},
        "label.npy: input 'label' has values that do not fit int32: 9223372036854775813",
    ),
    "label": (
        lambda d: d | {"label": np.where(np.arange(20) == 17, 4, 3)},
        "label.npy: row 17 of input 'label' is 4, not in 0 to 3; cross_entropy indexes with it",
    ),
    "negative label": (
        lambda d: d | {"label": np.where(np.arange(20) == 19, -1, -100).astype(np.int8)},
        "label.npy: row 19 of input 'label' is -1, not in 0 to 3; cross_entropy indexes with it",
    ),
    "shape": (
        lambda d: d | {"x": d["x"][:, :2]},
        "x.npy: input 'x' has shape [20, 2], declared [batch, 3]",
    ),
    "rank": (
        lambda d: d | {"label": d["label"][:, None]},
        "label.npy: input 'label' has shape [20, 1], declared [batch]",
    ),
    "samples": (
        lambda d: d | {"x": d["x"][:19]},
        "x.npy: input 'x' has 19 samples, the inputs before it 20",
    ),
    "empty": (
        lambda d: {name: array[:0] for name, array in d.items()},
        "label.npy: input 'label' has no samples",
    ),
    "Fortran": (
        lambda d: d | {"x": np.asfortranarray(d["x"])},
        "x.npy: its data is in Fortran order; save it with numpy.ascontiguousarray",
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(classifier: Binary, tmp_path: Path, case: str) -> None:
    change, expected = BAD_DATA[case]
    data = change(classifier_data(20))
    low = next(iter(data["label"].flat), 0)
    message = classifier.refused(*files(tmp_path, data), status=1)
    assert message == f"{tmp_path}/{expected.format(low=int(low))}"


def test_missing_and_cut_files(classifier: Binary, tmp_path: Path) -> None:
    given = files(tmp_path, classifier_data(20))
    x = tmp_path / "x.npy"
    x.write_bytes(x.read_bytes()[:-1])
    assert classifier.refused(*given, status=1).startswith(f"{x}: it ends inside its data")
    x.unlink()
    message = classifier.refused(*given, status=1)
    assert message == f"{x}: cannot be read: No such file or directory"


def test_an_instruction_that_is_not_there(classifier: Binary, tmp_path: Path) -> None:
    command = [classifier.path, *files(tmp_path, classifier_data(3000)), "--epochs=1000000"]
    log = tmp_path / "log.csv"
    with subprocess.Popen(
        [*map(str, command), "--quiet", f"--metrics={log}"], stderr=subprocess.PIPE, text=True
    ) as process:
        while not log.exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGILL)  # as the kernel would send it
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert said == "classifier: this CPU lacks an instruction; build with --cpu portable\n"


def test_a_file_cut_while_in_use(classifier: Binary, tmp_path: Path) -> None:
    given, x = files(tmp_path, classifier_data(2_000_000)), tmp_path / "x.npy"
    checkpoint = tmp_path / "run.safetensors"
    command = [classifier.path, *given, "--epochs", "1000000", "--every", "1", "--checkpoint"]
    with subprocess.Popen(
        list(map(str, [*command, checkpoint])), stderr=subprocess.PIPE, text=True
    ) as process:
        while not checkpoint.exists():
            time.sleep(0.001)
        os.truncate(x, 4096)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert said.endswith(f"{x}: cannot be read to its end; was it cut short while in use?\n")


# ---------------------------------------------------------------- checkpoints that do not fit


@pytest.fixture
def resumed(classifier: Binary, tmp_path: Path) -> tuple[list[str], Path]:
    """Arguments that resume from a checkpoint, and that file."""
    given, path = files(tmp_path, classifier_data(20)), tmp_path / "run.safetensors"
    classifier.run(*given, "--epochs", 2, "--every", 2, "--checkpoint", path)
    path.with_name(path.name + ".previous").unlink()
    return [*given, "--checkpoint", str(path), "--resume", "--epochs", "5"], path


def test_another_program(
    classifier: Binary, tmp_path: Path, resumed: tuple[list[str], Path]
) -> None:
    """Tensors are compared first; then the fingerprint says which half differs."""
    arguments, path = resumed
    binary("alone").trainer().save(path)
    names = sorted([*classifier.trainer().parameters, *classifier.trainer().state])
    ours = binary("alone").trainer()
    facts = []
    for name in sorted({*names, *ours.parameters, *ours.state}):
        if name not in names:
            facts.append(f"  unexpected tensor '{name}'")
        elif name not in {*ours.parameters, *ours.state}:
            facts.append(f"  missing tensor '{name}'")
    lines = classifier.refused(*arguments, status=1).splitlines()
    assert lines[0] == f"{path}: its tensors do not fit this program"
    assert lines[1:9] == facts[:8]
    hint = f"  hint: the file before it is {path}.previous"
    assert lines[9:] == [f"  and {len(facts) - 8} more", hint]


@pytest.mark.parametrize("half", [0, 1])
def test_another_fingerprint(
    classifier: Binary, resumed: tuple[list[str], Path], half: int
) -> None:
    arguments, path = resumed
    trainer = classifier.trainer()
    trainer.load(path)
    halves = trainer.artifact.fingerprint.split("-")
    halves[half] = halves[half][::-1]

    class Other:
        fingerprint = "-".join(halves)

    trainer.artifact = Other()  # type: ignore[assignment]
    trainer.save(path)
    differs = (
        "model computes something else (layers, loss or metrics)",
        "training step differs (optimizer, its options or schedule)",
    )[half]
    assert classifier.refused(*arguments, status=1) == (
        f"{path}: it was written by another program: its {differs}\n"
        f"  hint: the file before it is {path}.previous"
    )


def test_a_shape_that_differs(classifier: Binary, tmp_path: Path) -> None:
    path = tmp_path / "start.safetensors"
    tensors = dict(classifier.trainer().parameters)
    tensors["0.bias"] = tensors["0.bias"].astype(np.float64)
    tensors["0.weight"] = tensors["0.weight"].T.copy()
    save_file(tensors, path)
    given = files(tmp_path, classifier_data(20))
    assert classifier.refused(*given, "--parameters", path, status=1) == (
        f"{path}: its tensors do not fit this program\n"
        "  tensor '0.bias' is float64[20] in the file, float32[20] in the program\n"
        "  tensor '0.weight' is float32[3, 20] in the file, float32[20, 3] in the program"
    )
    path.unlink()
    save_file({"0.bias": np.zeros(20, np.float32)}, path)
    message = classifier.refused(*given, "--checkpoint", path, "--resume", status=1)
    assert message == f"{path}: it holds parameters alone; a run cannot go on from it"


def test_damaged_files_are_refused(classifier: Binary, resumed: tuple[list[str], Path]) -> None:
    arguments, path = resumed
    content = path.read_bytes()
    previous = path.with_name(path.name + ".previous")
    previous.write_bytes(b"")
    hint = f"\n  hint: the file before it is {previous}"
    for place in (len(content) - 3, content.index(b"epoch") + 9, content.index(b"sums") + 12):
        flipped = content[place] ^ 1
        path.write_bytes(content[:place] + bytes([flipped]) + content[place + 1 :])
        message = classifier.refused(*arguments, status=1)
        assert message == f"{path}: its checksum does not match its contents{hint}"
    for length in (0, 7, 100, len(content) - 1):
        path.write_bytes(content[:length])
        message = classifier.refused(*arguments, status=1)
        assert message.startswith(f"{path}: ") and message.endswith(hint)
    assert not path.with_name(path.name + ".partial").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"format":2', b'"format":3', "its format version is 3, not 2"),
        (b'"epoch":2', b'"epoch":x', "its training position is wrong: expected a value"),
        (b'"epoch":2', b'"epoc2":2', "its training position is wrong: 'epoch' is missing"),
        (b'"epoch":2', b'"epoch":[2]', "'epoch' does not fit"),
        (b'"epoch":2', b'"epoch":-2', "'epoch' does not fit"),
        (b'"epoch":2', b'"epoch":9223372036854775807', "'epoch' does not fit"),
        (b'"best_epoch":-1', b'"best_epoch":-2', "'best_epoch' does not fit"),
        (b'"finished":true', b'"finished":1', "'finished' does not fit"),
        (b'"waited":', b'"epoch":', "its training position is wrong: 'waited' is missing"),
        (b'"waited":0', b'"waited":0,"epoch":2', "'epoch' does not fit"),
        (b'"best":null', b'"best":true', "'best' does not fit"),
        (b'"sums":["00', b'"sums":["000', "'sums' does not fit"),
        (b'"sums":["00', b'"sums":["0x', "'sums' does not fit"),
        (b'"accuracy":', b'"accuraci":',
         "'history' does not fit"),
        (b'"seed":0', b'"extra":{"a":[1.5]},"seed":0', ""),
    ],
)  # fmt: skip
def test_wrong_positions_are_refused(
    classifier: Binary, resumed: tuple[list[str], Path], old: bytes, new: bytes, message: str
) -> None:
    """The file's checksum is right, its position is not; without a message it is taken."""
    arguments, path = resumed
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    position = header["__metadata__"]["gradc"]
    assert position.count(old.decode()) == 1
    path.write_bytes(sealed(position.replace(old.decode(), new.decode()), header, data))
    if not message:
        classifier.run(*arguments)
        return
    prefix = "" if message.startswith("its ") else "its training position is wrong: "
    assert classifier.refused(*arguments, status=1) == f"{path}: {prefix}{message}"


def test_options_that_a_position_depends_on(classifier: Binary, tmp_path: Path) -> None:
    data = classifier_data(3000)
    given, path = files(tmp_path, data), tmp_path / "run.safetensors"
    run = ["--epochs", 400, "--every", 50]
    for _ in range(20):
        path.unlink(missing_ok=True)
        stopped(classifier, signal.SIGTERM, path, *given, *run)
        if record_of(path).position:
            break
    again = ["--checkpoint", path, "--resume", *run]
    assert classifier.refused(*given, *again, "--no-shuffle", status=2) == (
        "the run was stopped inside an epoch with shuffle=1; it cannot go on with shuffle=0"
    )
    message = classifier.refused(*given, *again, "--seed", 1, status=2)
    assert message == "--seed is 1, but the run was begun with 0"


# ---------------------------------------------------------------- places that cannot be written


def test_places_that_cannot_be_written(classifier: Binary, tmp_path: Path) -> None:
    given = files(tmp_path, classifier_data(20))
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    inside, missing = tmp_path / "file" / "run", tmp_path / "no" / "run"
    for option in ("--checkpoint", "--metrics"):
        message = classifier.refused(*given, option, inside, status=1)
        assert message == f"{inside}: cannot be written: Not a directory"
        message = classifier.refused(*given, option, missing, status=1)
        assert message == f"{missing}: cannot be written: No such file or directory"
    message = classifier.refused(*given, "--checkpoint", tmp_path / "folder", status=1)
    assert message == f"{tmp_path}/folder: not a regular file"
    assert (tmp_path / "folder").is_dir() and not list((tmp_path / "folder").iterdir())
    classifier.trainer().save(tmp_path / "start.safetensors")
    predict = ["--checkpoint", tmp_path / "start.safetensors", "--predict", inside]
    message = classifier.refused(*given, *predict, status=1)
    assert message == f"{inside}: cannot be written: Not a directory"


def test_devices_and_pipes_are_not_replaced(classifier: Binary, tmp_path: Path) -> None:
    given, start = files(tmp_path, classifier_data(20)), tmp_path / "start.safetensors"
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    classifier.trainer().save(start)
    for path in (pipe, link):
        for options in (["--checkpoint", path], ["--checkpoint", start, "--predict", path]):
            message = classifier.refused(*given, *options, status=1)
            assert message == f"{path}: not a regular file"
    assert pipe.is_fifo() and link.is_symlink()


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_messages_go_into_no_file(classifier: Binary, tmp_path: Path, closed: int) -> None:
    """A file that is opened while a standard descriptor is closed does not get its number."""
    given, log = files(tmp_path, classifier_data(20)), tmp_path / "log.csv"
    command = [classifier.path, *given, "--epochs", "2", "--metrics", log]
    shell = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *map(str, command)]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (1 if closed == 1 else 0)
    assert [line[:2] for line in log.read_text().splitlines()] == ["ep", "1,", "2,"]


def test_a_full_device(classifier: Binary, tmp_path: Path) -> None:
    given = files(tmp_path, classifier_data(20))
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    message = classifier.refused(*given, "--metrics", "/dev/full", status=1)
    assert message == "/dev/full: cannot be written: No space left on device"
    with open("/dev/full", "w") as full:
        command = [str(classifier.path), *given, "--quiet"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "classifier: standard output: cannot be written: No space left on device\n",
    )
