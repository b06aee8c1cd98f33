"""Names of checkpoints: modes stay, links are followed, long names are refused at the start, and no
file is written that has another use, however it is spelled. Both halves do the same."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from fake_artifact import INPUTS, FakeArtifact, made_data
from support_binary import Binary, binary, classifier_data, files, needs_compiler, record_of

from gradc.cli import app
from gradc.compiler.errors import ArgumentError, FileError
from gradc.runtime import Trainer

Write = Callable[[Path], None]


def _trainer() -> Trainer:
    return Trainer(FakeArtifact(), INPUTS, "batch", ("error",), ("prediction",), 0, 1)


def _by_python(folder: Path) -> Write:
    return lambda path: _trainer().save(path)


def _by_fit(folder: Path) -> Write:
    return lambda path: _trainer().fit(made_data(8), epochs=3, checkpoint=path) and None


def _by_binary(folder: Path) -> Write:
    given = files(folder, classifier_data(20))

    def write(path: Path) -> None:
        try:
            binary("classifier").run(*given, "--epochs", 3, "--checkpoint", path, "--quiet")
        except AssertionError as error:
            raise FileError(str(error.args[0][2]).removeprefix("classifier: ").strip()) from error

    return write


WRITERS = [
    pytest.param(_by_python, id="save"),
    pytest.param(_by_fit, id="fit"),
    pytest.param(_by_binary, id="binary", marks=needs_compiler),
]


@pytest.fixture(params=WRITERS)
def write(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Write:
    made: Write = request.param(tmp_path_factory.mktemp("data"))
    return made


@pytest.fixture
def classifier() -> Binary:
    return binary("classifier")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- modes


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_the_mode_stays(tmp_path: Path, write: Write, mode: int) -> None:
    path = tmp_path / "run"
    write(path)
    path.chmod(mode)
    for _ in range(2):
        write(path)
        assert _mode(path) == mode
    assert _mode(tmp_path / "run.previous") == mode


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_new_files_follow_the_mask(tmp_path: Path, write: Write, mask: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "run")
    finally:
        os.umask(before)
    assert _mode(tmp_path / "run") == 0o666 & ~mask


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "run"
    write(path)
    os.chown(path, 65534, 65533)
    path.chmod(0o640)
    write(path)
    facts = path.stat()
    assert (facts.st_uid, facts.st_gid, _mode(path)) == (65534, 65533, 0o640)


@needs_compiler
def test_a_prediction_keeps_its_mode(classifier: Binary, tmp_path: Path) -> None:
    given, run, out = files(tmp_path, classifier_data(9)), tmp_path / "run", tmp_path / "out.npy"
    classifier.trainer().save(run)
    for _ in range(2):
        classifier.run(*given, "--checkpoint", run, "--predict", out)
        out.chmod(0o600)
    assert _mode(out) == 0o600


# ---------------------------------------------------------------- links


def test_links_are_followed(tmp_path: Path, write: Write) -> None:
    """The file that a link leads to is replaced, beside it is what belongs to it; links stay."""
    far, near = tmp_path / "far", tmp_path / "near"
    far.mkdir()
    near.mkdir()
    (near / "one").symlink_to("../far/two")
    (far / "two").symlink_to("run")
    write(near / "one")  # to a file that is not there yet
    assert _names(near) == ["one"] and (near / "one").is_symlink()
    assert (far / "two").is_symlink() and not (far / "run").is_symlink()
    write(near / "one")
    assert _names(far) == ["run", "run.previous", "two"] and _names(near) == ["one"]
    assert record_of(near / "one") == record_of(far / "run")


def test_links_that_lead_nowhere(tmp_path: Path, write: Write) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("no/where")
    for name, problem in (("a", "Too many levels of symbolic links"),
                          ("c", "No such file or directory")):  # fmt: skip
        with pytest.raises(FileError) as caught:
            write(tmp_path / name)
        assert str(caught.value) == f"{tmp_path}/{name}: cannot be written: {problem}"
    assert _names(tmp_path) == ["a", "b", "c"]


@needs_compiler
def test_resuming_by_a_link(classifier: Binary, tmp_path: Path) -> None:
    """From the file that it leads to, or else from the one before that."""
    data = classifier_data(20)
    given, folder = files(tmp_path, data), tmp_path / "folder"
    folder.mkdir()
    link, path = tmp_path / "link", folder / "run"
    link.symlink_to("folder/run")
    run = [*given, "--checkpoint", link, "--resume"]
    classifier.run(*run, "--epochs", 2)
    expected = path.read_bytes()
    path.unlink()
    done = classifier.run(*run, "--epochs", 2)
    assert f"{link} is not there; going on from {folder}/run.previous\n" in done.stderr
    assert path.read_bytes() == expected
    path.unlink()
    trainer = classifier.trainer()
    trainer.fit(data, batch_size=8, epochs=2, checkpoint=link, resume=True)
    assert path.read_bytes() == expected and link.is_symlink()
    path.write_bytes(expected[:-1])
    hint = f"hint: the file before it is {folder}/run.previous"
    assert classifier.refused(*run, status=1).endswith(hint)
    with pytest.raises(FileError, match=hint):
        trainer.load(link)


# ---------------------------------------------------------------- long names


def test_long_names(tmp_path: Path, write: Write) -> None:
    """What cannot be written again is not written at all."""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX") - len(".previous")
    path = tmp_path / ("a" * longest)
    write(path)
    write(path)
    assert _names(tmp_path) == [path.name, path.name + ".previous"]
    for length in (longest + 1, longest + 9, longest + 10):
        too_long = tmp_path / ("b" * length)
        with pytest.raises(FileError) as caught:
            write(too_long)
        assert str(caught.value).startswith(f"{too_long}: cannot be written: ")
    assert len(_names(tmp_path)) == 2


def test_a_long_name_says_why(tmp_path: Path, write: Write) -> None:
    path = tmp_path / ("a" * (os.pathconf(tmp_path, "PC_NAME_MAX") - 8))
    with pytest.raises(FileError) as caught:
        write(path)
    assert str(caught.value) == (
        f"{path}: cannot be written: with '.previous' after it, its name is too long"
    )


# ---------------------------------------------------------------- one file, two uses

CLASHES: dict[str, list[str]] = {
    "two outputs": ["--checkpoint", "run", "--metrics", "run"],
    "spelled with a dot": ["--checkpoint", "run", "--metrics", "./run"],
    "by a folder": ["--checkpoint", "run", "--metrics", "folder/../run"],
    "by a link to the folder": ["--checkpoint", "run", "--metrics", "here/run"],
    "by a link": ["--checkpoint", "kept", "--metrics", "link"],
    "by a link to what is not there": ["--checkpoint", "run", "--metrics", "dangling"],
    "by a second name": ["--checkpoint", "kept", "--metrics", "second"],
    "absolute": ["--checkpoint", "run", "--metrics", "{here}/run"],
    "beside: partial": ["--checkpoint", "run", "--metrics", "run.partial"],
    "beside: previous": ["--checkpoint", "run", "--metrics", "./run.previous"],
    "beside: lock": ["--checkpoint", "run", "--metrics", "run.lock"],
    "beside a link": ["--checkpoint", "dangling", "--metrics", "run.previous"],
    "the other way round": ["--metrics", "run", "--checkpoint", "./run"],
    "data as log": ["--metrics", "x.npy"],
    "data as checkpoint": ["--checkpoint", "./x.npy"],
    "data before a checkpoint": ["--checkpoint", "x", "--data", "x=x.previous"],
    "validation as log": ["--validate", "x=kept", "--metrics", "kept"],
    "parameters as log": ["--parameters", "kept", "--metrics", "kept"],
    "parameters as log, by a link": ["--parameters", "link", "--metrics", "kept"],
    "parameters as checkpoint": ["--parameters", "kept", "--checkpoint", "kept"],
    "parameters before a checkpoint": ["--parameters", "kept.previous", "--checkpoint", "kept"],
    "prediction as data": ["--checkpoint", "kept", "--predict", "x.npy"],
    "prediction as data, by a link": ["--checkpoint", "kept", "--predict", "here/x.npy"],
    "prediction as checkpoint": ["--checkpoint", "kept", "--predict", "kept"],
    "prediction before a checkpoint": ["--checkpoint", "kept", "--predict", "kept.previous"],
    "prediction beside a checkpoint": ["--checkpoint", "kept.partial", "--predict", "kept"],
    "the program as log": ["--metrics", "classifier"],
    "the program as checkpoint": ["--checkpoint", "classifier"],
    "the output as log": ["--metrics", "said"],
    "the output as checkpoint": ["--checkpoint", "here/said"],
}


@needs_compiler
@pytest.mark.parametrize("clash", CLASHES)
def test_no_file_has_two_uses(classifier: Binary, tmp_path: Path, clash: str) -> None:
    given = files(tmp_path, classifier_data(20))
    if clash == "data before a checkpoint":
        given = given[2:] if "label" not in given[1] else given[:2]
        shutil.copy(tmp_path / "x.npy", tmp_path / "x.previous")
    shutil.copy(classifier.path, tmp_path / "classifier")
    classifier.trainer().save(tmp_path / "kept")
    shutil.copy(tmp_path / "kept", tmp_path / "kept.previous")
    (tmp_path / "folder").mkdir()
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "dangling").symlink_to("run")
    os.link(tmp_path / "kept", tmp_path / "second")
    options = [word.format(here=tmp_path) for word in CLASHES[clash]]

    def contents() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}

    (tmp_path / "said").write_bytes(b"")
    before = contents()
    with open(tmp_path / "said", "r+b") as said:
        done = subprocess.run(
            ["./classifier", *given, *options], cwd=tmp_path, stdout=said, stderr=subprocess.PIPE,
            text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.endswith("; it would be overwritten\n") and done.stderr.count("\n") == 1
    assert contents() == before


@needs_compiler
def test_what_may_have_two_uses(classifier: Binary, tmp_path: Path) -> None:
    """One file for data and validation; the null device for anything that is written in place."""
    given = files(tmp_path, classifier_data(20))
    twice = [word.replace("--data", "--validate") for word in given]
    run = ["--checkpoint", tmp_path / "run", "--metrics", tmp_path / "log.csv"]
    classifier.run(*given, *twice, *run)
    classifier.run(*given, "--parameters", tmp_path / "run", "--metrics", "/dev/null")
    classifier.run(*given, "--checkpoint", tmp_path / "run", "--predict", tmp_path / "run.npy")


@pytest.mark.parametrize("name", ["x.npy", "./here/x.npy", "link", "x"])
def test_fit_does_not_overwrite_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Arrays that are mapped from a file, whole or a part of them."""
    monkeypatch.chdir(tmp_path)
    data = made_data(20)
    file = "x.previous.npy" if name == "x" else "x.npy"
    np.save(file, data["x"])
    if name == "x":
        os.rename(file, file := "x.previous")
    Path("here").symlink_to(".")
    Path("link").symlink_to("x.npy")
    before = Path(file).read_bytes()
    mapped: dict[str, Any] = {"x": np.load(file, mmap_mode="r")[2:10], "y": data["y"][:8]}
    for arguments in ({"data": mapped}, {"data": data, "validation": mapped}):
        with pytest.raises(ArgumentError) as caught:
            _trainer().fit(**arguments, checkpoint=name)
        assert str(caught.value).startswith(
            "a file that is written has another use too; it would be overwritten\n"
            f"  checkpoint: {name}\n  input 'x': "
        )
    assert Path(file).read_bytes() == before
    _trainer().fit(mapped, checkpoint="other")


def test_the_command_does_not_overwrite_its_program(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("raise SystemExit(0)\n")
    done = CliRunner().invoke(app, ["train", str(file), "--checkpoint", f"{tmp_path}/./model.py"])
    assert done.exit_code == 2 and "it would be overwritten" in done.output
    assert file.read_text() == "raise SystemExit(0)\n"
