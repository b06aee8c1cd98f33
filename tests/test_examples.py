"""The examples run as their readers would run them, and what they print is true."""

from __future__ import annotations

import math
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support_examples import EXAMPLES, example_names, found, run, run_example

from gradc.data import load_cifar10

LINES_MAXIMUM = 150
CLI = "from gradc.cli import main; main()"  # what the console script does


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) < LINES_MAXIMUM


def test_digits(cache: Path) -> None:
    text = run_example("digits", cache)
    kernels, arena, seconds = found(
        r"^training step: (\d+) kernels, (\d+) bytes of arena, \w+ in ([\d.]+) s$",
        re.sub(r"(?<=\d),(?=\d)", "", text),
    )
    assert kernels >= 1 and arena > 0 and seconds >= 0
    (accuracy,) = found(r"^held-out accuracy: (\d\d\.\d) %\Z", text.rstrip("\n"))
    assert accuracy >= 97.0


def test_digits_cnn(cache: Path) -> None:
    text = run_example("digits_cnn", cache)
    (accuracy,) = found(r"^held-out accuracy: (\d\d\.\d) %\Z", text.rstrip("\n"))
    assert accuracy >= 98.5


def test_adding(cache: Path) -> None:
    text = run_example("adding", cache)
    (always_one,) = found(r"^always 1: mean squared error (\S+)$", text)
    (held_out,) = found(r"^LSTM, held out: (\S+)$", text)
    assert abs(always_one - 1 / 6) < 0.02 and held_out < 0.01
    answers = re.findall(r"^sum (\S+), answer (\S+)$", text, re.MULTILINE)
    assert len(answers) == 3
    assert all(abs(float(value) - float(answer)) < 0.3 for value, answer in answers)


def test_char_transformer(cache: Path) -> None:
    text = run_example("char_transformer", cache, "--steps", "60")
    (held_out,) = found(r"^held out: (\S+) nats per character$", text)
    assert held_out < 2.9  # the frequencies of characters alone: 3.2
    for start in ("The class of the", "If the exception"):
        written = text.split(f"\n{start}|")[1][:112]
        assert written.isascii() and len(set(written)) > 8


def test_plane_fit(cache: Path) -> None:
    text = run_example("plane_fit", cache)
    (difference,) = found(r"^largest difference: (.+)$", text)
    assert difference < 1e-12


def test_xor(cache: Path) -> None:
    text = run_example("xor", cache)
    row = r"\s+(\S+) (\S+) (\S+) (\S+)$"
    assert found("^linear model:" + row, text) == [0.5] * 4
    assert found("^2-8-1, trained:" + row, text) == pytest.approx([0, 1, 1, 0], abs=0.01)
    assert found("^given weights:" + row, text) == [0, 1, 1, 0]


def test_chain(cache: Path) -> None:
    text = run_example("chain", cache)
    for name in "abcd":
        assert f"dy_d{name}=%" in text
    (difference,) = found(r"^largest difference: (.+)$", text)
    assert difference < 1e-9


def test_newton(cache: Path) -> None:
    text = run_example("newton", cache)
    (difference,) = found(r"difference from the solution of A x = b: (.+)$", text)
    assert difference < 1e-12
    (gradient,) = found(r"after step 7: f = \S+ largest gradient (.+)$", text)
    assert gradient < 1e-12


def test_cifar2_on_the_stand_in(cache: Path) -> None:
    text = run_example("cifar2", cache)
    assert "data: stand-in of two kinds of stripes, 1600 images to train on" in text
    (accuracy,) = found(r"^held-out accuracy: (\d+\.\d) %$", text)
    assert accuracy >= 95.0


def test_cifar2_refuses_a_folder_that_is_none(cache: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "cifar2.py"), str(cache / "none")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr == f"{cache / 'none'} is not a folder\n"


def test_make_cifar_sample(cache: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample.bin"
    assert run_example("make_cifar_sample", cache, str(sample), "6") == (
        f"{sample}: 6 images, 18,438 bytes\n"
    )
    images, labels = load_cifar10(sample)
    assert images.shape == (6, 3, 32, 32)
    assert labels.tolist() == [3, 5, 3, 5, 3, 5]


def test_lenet(cache: Path) -> None:
    text = run_example("lenet", cache, "--synthetic", "--epochs", "8")
    (accuracy,) = found(r"^held-out accuracy: (\d+\.\d) %$", text)
    assert accuracy >= 95.0


def test_lenet_reads_mnist(cache: Path, tmp_path: Path) -> None:
    """Files in the IDX format: two zeros, a code for bytes, the number of axes, extents, data."""
    for prefix, samples in (("train", 320), ("t10k", 64)):
        made = example_names("pictures")["shapes"](samples, 1, 28, 1)
        arrays = {"images-idx3": made["images"][:, 0], "labels-idx1": made["labels"]}
        for name, array in arrays.items():
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            content = head + array.astype(np.uint8).tobytes()
            (tmp_path / f"{prefix}-{name}-ubyte").write_bytes(content)
    text = run_example("lenet", cache, "--data", str(tmp_path), "--epochs", "1")
    (loss,) = found(r"^loss: (\d\.\d+) in the first epoch", text)
    assert 1 < loss < 3


def test_cifar_cnn_reads_the_binary_format(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "batches"
    assert len(run_example("pictures", cache, str(folder)).splitlines()) == 6
    (batch,) = {path.stat().st_size for path in folder.iterdir()}
    assert batch == 256 * 3073 and len(load_cifar10(folder)[1]) == 5 * 256
    text = run_example("cifar_cnn", cache, "--data", str(folder), "--epochs", "2")
    (accuracy,) = found(r"^held-out accuracy: (\d+\.\d) %$", text)
    assert accuracy >= 80.0


def test_resnet20(cache: Path) -> None:
    text = run_example("resnet20", cache, "--synthetic", "--epochs", "1")
    (loss,) = found(r"^loss: (\d\.\d+) in the first epoch", text)
    assert loss < math.log(10)


def test_a_data_set_that_is_not_there(cache: Path) -> None:
    script = [sys.executable, str(EXAMPLES / "resnet20.py"), "--data", str(cache / "none")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr == (
        f"{cache / 'none'}: there is no data_batch_1.bin; get the data set from "
        "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version) and give its folder "
        "by --data or CIFAR10\n"
    )


@pytest.mark.parametrize(
    "name", ["adding", "digits", "digits_cnn", "plane_fit", "xor", "cifar2", "lenet"]
)
def test_gradc_train(name: str, cache: Path) -> None:
    """`gradc train` takes the same files."""
    file = str(EXAMPLES / f"{name}.py")
    text = run([sys.executable, "-c", CLI, "train", file, "--epochs", "1"], cache)
    assert found(r"^loss (\S+)", text)[0] > 0


def test_fixed_point(cache: Path) -> None:
    text = run_example("fixed_point", cache)
    first, last = found(r"^loss ([\d.]+) -> ([\d.]+)$", text)
    assert last < 0.05 * first
    assert found(r"^accuracy ([\d.]+)$", text)[0] > 0.98
    assert found(r"^gradient against differences: ([\de-]+)$", text)[0] < 1e-5


def test_nist(cache: Path) -> None:
    """Every problem, from both starts."""
    text = run_example("nist", cache)
    digits = [float(d) for d in re.findall(r"([\d.]+) digits in +\d+ steps", text)]
    assert len(digits) == 2 * 27 and min(digits) >= 8.0
    assert found(r"^27 problems, at least ([\d.]+) digits", text) == [min(digits)]


def test_ensemble(cache: Path) -> None:
    text = run_example("ensemble", cache)
    first, last = found(r"^median loss ([\d.]+) -> ([\d.]+)$", text)
    assert last < 0.01 * first
    good, bad = (found(rf"^rate {r}: +(\d+)% have learned$", text)[0] for r in ("0.20", "2.00"))
    assert good > 70 and bad == 0
    assert found(r"^(\d+) million steps per second$", text)[0] > 0
