"""gradc.data.load_csv: what tables become, and what is said of cells and rows that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gradc.compiler.errors import ArgumentError, FileError
from gradc.data import load_csv

IRIS = """sepal,petal,species
5.1,1.4,setosa
7.0,4.7,versicolor
4.9,1.5,setosa
"""


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_header_and_labels_of_text(tmp_path: Path) -> None:
    table = load_csv(written(tmp_path, IRIS), label="species")
    assert table.names == ("sepal", "petal") and table.classes == ("setosa", "versicolor")
    assert table.features.dtype == np.float32 and table.labels is not None
    np.testing.assert_array_equal(
        table.features, np.array([[5.1, 1.4], [7.0, 4.7], [4.9, 1.5]], np.float32)
    )
    assert table.labels.dtype == np.int32 and table.labels.tolist() == [0, 1, 0]


def test_without_header(tmp_path: Path) -> None:
    path = written(tmp_path, "5.1,1.4,0\n7,4.7,1\n")
    table = load_csv(path, label=-1, dtype=np.float64)
    assert table.names == ("0", "1") and table.classes == ()
    assert table.features.tolist() == [[5.1, 1.4], [7.0, 4.7]]
    assert table.labels is not None
    assert table.labels.tolist() == [0, 1] and table.labels.dtype == np.int32
    whole = load_csv(path, header=False)
    assert whole.labels is None and whole.features.shape == (2, 3)
    assert load_csv(path, header=True).names == ("5.1", "1.4", "0")


def test_columns_are_chosen_and_ordered(tmp_path: Path) -> None:
    table = load_csv(written(tmp_path, IRIS), columns=["petal", 0])
    assert table.names == ("petal", "sepal") and table.features[1].tolist() == [
        np.float32(4.7),
        7.0,
    ]


def test_labels_that_are_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "x,y\n1,0.5\n2,1.5\n")
    half = load_csv(path, label="y").labels
    assert half is not None and half.dtype == np.float32 and half.tolist() == [0.5, 1.5]
    as_float = load_csv(path, label="x", label_dtype=np.float64).labels
    assert as_float is not None and as_float.dtype == np.float64


@pytest.mark.parametrize(
    "content",
    [
        '"a","b"\r\n1,2\r\n\r\n3,4',
        "\ufeffa,b\n1,2\n3,4\n",
        "a, b\n 1 , 2\n 3, 4 \n",
        'a,b\n"1","2"\n\n\n3,4\n',
    ],
    ids=["windows", "byte order mark", "spaces", "quotes"],
)
def test_ways_to_write_one_table(tmp_path: Path, content: str) -> None:
    table = load_csv(written(tmp_path, content))
    assert table.names == ("a", "b") and table.features.tolist() == [[1, 2], [3, 4]]


def test_other_delimiters_and_integers(tmp_path: Path) -> None:
    table = load_csv(written(tmp_path, "1;-2\n3;4\n"), delimiter=";", dtype=np.int16)
    assert table.features.dtype == np.int16 and table.features.tolist() == [[1, -2], [3, 4]]


def test_a_delimiter_inside_quotes(tmp_path: Path) -> None:
    table = load_csv(written(tmp_path, 'x,city\n1,"Bonn, Rhein"\n2,Ulm\n'), label="city")
    assert table.classes == ("Bonn, Rhein", "Ulm")


def test_missing_cells_can_be_filled(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,\nNA,4\n")
    assert load_csv(path, missing=-1).features.tolist() == [[1, -1], [-1, 4]]
    assert np.isnan(load_csv(path, missing=np.nan).features).tolist() == [
        [False, True],
        [True, False],
    ]


def test_numbers_are_those_of_numpy_at_any_length(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(9001, 3)) * 10.0 ** np.arange(-20, 21, 20)
    path = tmp_path / "table.csv"
    np.savetxt(path, values, delimiter=",")
    np.testing.assert_array_equal(
        load_csv(path, dtype=np.float64).features, np.loadtxt(path, delimiter=",")
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", " holds no rows"),
        ("\n\n", " holds no rows"),
        ("a,b\n", " holds no rows but its header"),
        ("a,b\n1,2\n3\n", ", line 3: it has 1 cells, the first row has 2"),
        ("a,b\n1,2\n\n3,4,5\n", ", line 4: it has 3 cells, the first row has 2"),
        ("a,b\n1,2\n3,\n", ", line 3: column 'b' has no value\n"),
        ("a,b\n1,2\nn/a,4\n", ", line 3: column 'a' has no value\n"),
        ("a,b\n1,nan\n", ", line 2: column 'b' has no value\n"),
        ("a,b\n1,two\n", ", line 2: 'two' in column 'b' is no number\n"),
        ("a,b\n1_000,2\n", ", line 2: '1_000' in column 'a' is no number\n"),
        ("a,b\n1,0x1p3\n", ", line 2: '0x1p3' in column 'b' is no number\n"),
        ("a,b\n٣,2\n", ", line 2: '٣' in column 'a' is no number\n"),
        ("a,b\n1,2\n1e39,2\n", ", line 3: '1e39' in column 'a' does not fit float32"),
        ("a,b\n1,2\n1e400,2\n", ", line 3: '1e400' in column 'a' does not fit float64"),
        ("a,a\n1,2\n", ", line 1: the header has 'a' twice"),
        ('a,b\n"1,2\n', ", line 2: it is not CSV: unexpected end of data"),
        ('a,b\n"1"x,2\n', ", line 2: it is not CSV: "),
        (b"a,b\n1,\xff\n", ", line 1: it is not text in UTF-8: "),
        (b"\x93NUMPY\x01\x00", ", line 1: it is not text in UTF-8: "),
        ("a,b\n1,2\0\n", ", line 2: "),
        ("a\n" + "1" * 200_000 + "\n", ", line 2: it is not CSV: field larger than field limit"),
    ],
    ids=lambda value: repr(value)[:24] if not isinstance(value, str) or len(value) < 60 else "long",
)
def test_wrong_tables(tmp_path: Path, content: str | bytes, problem: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(FileError) as raised:
        load_csv(path)
    assert str(raised.value).startswith(f"load_csv: {path}{problem}")


def test_a_cell_that_does_not_fit_an_integer(tmp_path: Path) -> None:
    for cell in ("1.5", "300", "-1", "inf"):
        with pytest.raises(FileError, match=f"line 2: '{cell}' in column '1' does not fit uint8"):
            load_csv(written(tmp_path, f"1,2\n3,{cell}\n"), dtype=np.uint8)
    with pytest.raises(FileError, match=r"line 2: '1\.5' in column '1' does not fit int32"):
        load_csv(written(tmp_path, "1,2\n3,1.5\n"), label=1, label_dtype=np.int32)


def test_a_label_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"line 3: the label, column 'b', is missing"):
        load_csv(written(tmp_path, "a,b\n1,x\n2, \n"), label="b")


def test_wrong_arguments(tmp_path: Path) -> None:
    path = written(tmp_path, IRIS)
    with pytest.raises(ArgumentError) as raised:
        load_csv(path, label="colour")
    assert str(raised.value) == (
        f"load_csv: {path} has no column 'colour'\n  columns: 'sepal', 'petal', 'species'"
    )
    with pytest.raises(ArgumentError, match="has no column 3"):
        load_csv(path, columns=[3])
    with pytest.raises(ArgumentError, match="delimiter is one character, not '::'"):
        load_csv(path, delimiter="::")
    with pytest.raises(ArgumentError, match="dtype is a float or an integer, not bool"):
        load_csv(path, dtype=bool)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*none\.csv: No such file"):
        load_csv(tmp_path / "none.csv")
    with pytest.raises(FileError, match="is not a regular file"):
        load_csv(tmp_path)
    with pytest.raises(FileError, match="is not a regular file"):
        load_csv("/dev/zero")
