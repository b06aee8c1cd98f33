"""`gradc convert` and gradc.data.convert: data sets of any format as .npy files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gradc.cli import app
from gradc.compiler.errors import ArgumentError, FileError
from gradc.data import convert, load_images

TABLE = "width,length,kind\n1.5,2,a\n3,4,b\n"


def gradc(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_tables(tmp_path: Path) -> None:
    source, target = tmp_path / "t.csv", tmp_path / "new" / "arrays"
    source.write_text(TABLE)
    done = gradc("convert", source, "-o", target, "--label", "kind")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == (
        f"{target}/features.npy  144 bytes\n{target}/labels.npy  136 bytes\n"
        f"{target}/classes.txt  4 bytes\n"
    )
    features = np.load(target / "features.npy")
    assert features.dtype == np.float32 and features.tolist() == [[1.5, 2], [3, 4]]
    assert np.load(target / "labels.npy").tolist() == [0, 1]
    assert (target / "classes.txt").read_text() == "a\nb\n"
    options = ("--columns", "length,0", "--dtype", "float64", "--header")
    assert gradc("convert", source, "-o", target, *options).exit_code == 0
    assert np.load(target / "features.npy").tolist() == [[2, 1.5], [4, 3]]


def test_columns_by_name_and_by_place(tmp_path: Path) -> None:
    source, target = tmp_path / "t.csv", tmp_path / "out"
    source.write_text("2019,b,1\n10,20,30\n")
    for columns, values in (("2019", [10]), ("1", [30]), ("-2", [20]), ("b,0", [20, 10])):
        done = gradc("convert", source, "-o", target, "--header", "--columns", columns)
        assert done.exit_code == 0, done.output
        assert np.load(target / "features.npy").tolist() == [values]
    assert gradc("convert", source, "-o", target, "--header", "--columns", "3").exit_code == 2


def test_tables_with_tabs(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("1\t2\n3\t\n")
    (written,) = convert(tmp_path / "t.tsv", tmp_path, missing=-1)
    assert np.load(written).tolist() == [[1, 2], [3, -1]]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("t.csv",), 1, "line 2: 'a' in column 'kind' is no number"),
        (("t.csv", "--label", "colour"), 2, "has no column 'colour'"),
        (("t.csv", "--dtype", "f99"), 2, "--dtype takes the name of a dtype, not 'f99'"),
        (("t.csv", "--size", "3"), 2, "--size takes HEIGHTxWIDTH, not '3'"),
        (("none.npz",), 1, "none.npz: No such file"),
        (("t.bin",), 1, "t.bin is of no known format\n  it begins with 77 69 64 74 68 2c"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "t.bin").write_text(TABLE)
    source, *options = arguments
    done = gradc("convert", tmp_path / source, "-o", tmp_path / "out", *options)
    assert done.exit_code == status and message in done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_archives_and_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.asfortranarray(np.ones((2, 3))), y=np.arange(2))
    paths = convert(tmp_path / "a.npz", tmp_path / "out")
    assert [path.name for path in paths] == ["x.npy", "y.npy"]
    assert np.load(paths[0]).flags.c_contiguous
    np.save(tmp_path / "z.npy", np.arange(3, dtype=">i4"))
    (path,) = convert(tmp_path / "z.npy", tmp_path / "out")
    assert np.load(path).dtype.isnative and np.load(path).tolist() == [0, 1, 2]
    with pytest.raises(ArgumentError, match="would replace the source itself"):
        convert(tmp_path / "z.npy", tmp_path)


def test_names_that_leave_the_folder(tmp_path: Path) -> None:
    for name in ("../x", "a/b", "..", ""):
        np.savez(tmp_path / "a.npz", **{name: np.ones(2)})
        with pytest.raises(FileError, match="which names no file"):
            convert(tmp_path / "a.npz", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir()) and not (tmp_path / "x.npy").exists()


def test_idx_and_cifar(tmp_path: Path) -> None:
    content = bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + bytes([5, 6, 7])
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(content)
    (path,) = convert(tmp_path / "t10k-labels-idx1-ubyte", tmp_path / "out")
    assert path.name == "t10k-labels-idx1-ubyte.npy" and np.load(path).tolist() == [5, 6, 7]
    folder = tmp_path / "cifar"
    folder.mkdir()
    (folder / "test.bin").write_bytes(bytes([3, 50]) + bytes(3072))
    images, labels = convert(folder, tmp_path / "out", split="test")
    assert np.load(images).shape == (1, 3, 32, 32) and np.load(labels).tolist() == [50]
    (folder / "test_batch.bin").write_bytes(bytes([7]) + bytes(3072))
    assert np.load(convert(folder, tmp_path / "out", split="test")[1]).tolist() == [7]


def test_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        points = rng.integers(0, 256, (6, 4, 3), np.uint8)
        Image.fromarray(points).save(tmp_path / "in" / name)
    target = tmp_path / "out"
    done = gradc("convert", tmp_path / "in", "-o", target, "--size", "3x2", "--grey")
    assert done.exit_code == 0, done.stderr
    images = np.load(target / "images.npy")
    assert images.shape == (3, 1, 3, 2)
    assert np.array_equal(images, load_images(tmp_path / "in", size=(3, 2), grey=True).images)
    assert np.load(target / "labels.npy").tolist() == [0, 0, 1]
    assert (target / "classes.txt").read_text() == "cat\ndog\n"
