"""Data that is read by rows while it is trained on: the bits that it has in memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.data import Rows, k_fold, load_npy, random_split
from gradc.runtime import mapping

Array = np.ndarray[Any, np.dtype[Any]]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (103, 6), np.uint8)
LABELS = RNG.integers(0, 3, 103).astype(np.int32)


def scaled(rows: Array) -> Array:
    return rows.astype(np.float32) / 255


def program() -> gc.TrainingProgram:
    pixels, labels = gc.input("pixels", ("batch", 6)), gc.input("labels", ("batch",), gc.int32)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    logits = model(pixels)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optim.Adam(lr=1e-2),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )


@pytest.fixture
def streamed(tmp_path: Path) -> dict[str, Any]:
    """The pixels in three mapped files of another dtype, the labels in memory."""
    parts = []
    for number, part in enumerate(np.split(PIXELS, [40, 41])):
        np.save(tmp_path / f"{number}.npy", part)
        parts.append(load_npy(tmp_path / f"{number}.npy", memory_map=True))
    return {"pixels": Rows(parts, scaled), "labels": LABELS}


@pytest.fixture
def arrays() -> dict[str, Array]:
    return {"pixels": scaled(PIXELS), "labels": LABELS}


def test_rows_are_those_of_the_parts(streamed: dict[str, Any]) -> None:
    rows = streamed["pixels"]
    assert rows.shape == (103, 6) and rows.dtype == np.float32 and len(rows) == 103
    for index in (
        slice(None),
        slice(35, 60, 5),
        slice(0, 0),
        [102, 40, 0, 41, 40],
    ):
        np.testing.assert_array_equal(rows[index], scaled(PIXELS)[index])
    np.testing.assert_array_equal(np.asarray(rows), scaled(PIXELS))
    with pytest.raises(ValueError, match="that is a copy"):
        rows.__array__(copy=False)
    raw = Rows(PIXELS)
    assert raw.dtype == np.uint8 and np.array_equal(raw[3:5], PIXELS[3:5])
    assert repr(rows) == "<gc.data.Rows of float32 [103, 6] in 3 parts>"


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [16, 200])
def test_a_training_has_the_bits_that_it_has_in_memory(
    streamed: dict[str, Any],
    arrays: dict[str, Array],
    shuffle: bool,
    drop_last: bool,
    batch_size: int,
) -> None:
    if drop_last and batch_size > 103:
        batch_size = 103
    found = []
    for data in (arrays, streamed):
        trainer = program().compile(seed=3)
        history = trainer.fit(
            data, batch_size=batch_size, epochs=2, shuffle=shuffle, drop_last=drop_last,
            validation=data,
        )  # fmt: skip
        more = trainer.fit(data, batch_size=batch_size, epochs=1, shuffle=shuffle,
                           drop_last=drop_last)  # fmt: skip
        state = {name: trainer.state[name].tobytes() for name in trainer.state}
        weights = {name: trainer.parameters[name].tobytes() for name in trainer.parameters}
        held_out = trainer.evaluate(data)
        logits = trainer.predict(data)["logits"].tobytes()
        found.append((history.to_dict(), more.to_dict(), state, weights, held_out, logits))
    assert found[0] == found[1]


@pytest.mark.parametrize("streams_first", [True, False])
def test_a_run_is_resumed_bit_for_bit(
    streamed: dict[str, Any], arrays: dict[str, Array], streams_first: bool, tmp_path: Path
) -> None:
    """Inside an epoch, from arrays to rows and back; a checkpoint does not know of either."""

    class Enough(Exception):
        pass

    reads = 0

    def stops(rows: Array) -> Array:
        nonlocal reads
        reads += 1
        if reads > 12:
            raise Enough
        return scaled(rows)

    whole = program().compile(seed=1)
    whole.fit(arrays, batch_size=16, epochs=3, checkpoint=tmp_path / "whole.safetensors")
    path = tmp_path / "run.safetensors"
    if streams_first:
        failing = {**streamed, "pixels": Rows(PIXELS, stops)}
        with pytest.raises(Enough):
            program().compile(seed=1).fit(
                failing, batch_size=16, epochs=3, checkpoint=path, checkpoint_every=1
            )
    else:
        program().compile(seed=1).fit(arrays, batch_size=16, epochs=1, checkpoint=path)
    after = arrays if streams_first else streamed
    program().compile(seed=1).fit(after, batch_size=16, epochs=3, checkpoint=path, resume=True)
    assert path.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_loops_over_epochs_take_rows(streamed: dict[str, Any], arrays: dict[str, Array]) -> None:
    losses = []
    for data in (arrays, streamed):
        trainer = program().compile(seed=0)
        losses.append([epoch["loss"] for epoch in trainer.epochs(data, batch_size=32, epochs=3)])
    assert losses[0] == losses[1]


LARGE = """
import resource
import numpy as np
import gradc as gc
from gradc import data, optim

class Enough(Exception):
    pass

reads = []

def as_floats(rows):
    reads.append(len(rows))
    if len(reads) > 6:
        raise Enough
    return rows.astype(np.float32)

def kilobytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

mapped = data.load_npy(FILE, memory_map=True)
x = gc.input("x", ("batch", 1024))
w = gc.parameter("w", (1024,))
trainer = gc.training(gc.mean((x @ w - 1) ** 2), optim.SGD(lr=1e-3)).compile()
before = kilobytes()
try:
    trainer.fit({"x": data.Rows(mapped, as_floats)}, batch_size=1024, shuffle=False)
except Enough:
    print(*reads, kilobytes() - before)
"""


def test_a_large_file_is_not_read_into_memory(tmp_path: Path) -> None:
    """Of 1 GB, 4 as the floats that are declared, a batch at a time; most of the file is a hole."""
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (2**20, 1024)).flush()
    program = LARGE.replace("FILE", repr(str(path)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path.unlink()
    *reads, kilobytes = map(int, done.stdout.split())
    assert reads[-5:] == [1024] * 5 and kilobytes < 200_000


def flags_of(path: Path) -> str:
    """What the system was told of this process's mapping of a file."""
    place = Path("/proc/self/smaps").read_text().partition(f"{path}\n")[2]
    return place.partition("VmFlags:")[2].partition("\n")[0]


@pytest.mark.parametrize("by_rows", [True, False])
def test_the_system_is_told_when_rows_of_a_large_file_are_read_at_random(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_rows: bool
) -> None:
    path = tmp_path / "x.npy"
    np.save(path, scaled(PIXELS))
    mapped = load_npy(path, memory_map=True)
    data = {"pixels": Rows(mapped) if by_rows else mapped, "labels": LABELS}
    trainer = program().compile()
    trainer.fit(data, batch_size=16)
    assert " rr" not in flags_of(path)  # it fits the memory
    monkeypatch.setattr(mapping, "memory_bytes", lambda: 2000)
    trainer.fit(data, batch_size=16)
    assert " rr" in flags_of(path)
    trainer.fit(data, batch_size=16, shuffle=False, restart=True)
    assert " rr" not in flags_of(path)


def test_parts_that_do_not_fit() -> None:
    with pytest.raises(ArgumentError, match="there are no parts"):
        Rows([])
    with pytest.raises(ArgumentError, match="the parts have no rows"):
        Rows(np.zeros((0, 3)))
    with pytest.raises(ArgumentError, match=r"a part is an array with rows, not 'x\.npy'"):
        Rows("x.npy")
    with pytest.raises(DTypeError, match="the parts differ in dtype: uint8 and float64"):
        Rows([PIXELS, PIXELS.astype(float)])
    with pytest.raises(ShapeError, match="differ in shape behind axis 0"):
        Rows([PIXELS, PIXELS[:, 1:]])
    with pytest.raises(DTypeError, match="a part of Rows is a masked array"):
        Rows([np.ma.masked_array(PIXELS, PIXELS == 3)])
    with pytest.raises(ArgumentError, match="convert is a function, not 3"):
        Rows(PIXELS, 3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"convert made an array of shape \[\] of 1 rows"):
        Rows(PIXELS, lambda rows: rows.sum())


def test_some_of_the_rows(streamed: dict[str, Any]) -> None:
    """What torch.utils.data.Subset is for; of Rows of Rows, too."""
    kept = np.array([70, 3, 40, 41, 3])
    some = Rows(PIXELS, scaled, rows=kept)
    assert some.shape == (5, 6)
    np.testing.assert_array_equal(some[:], scaled(PIXELS[kept]))
    np.testing.assert_array_equal(some[[4, 0]], scaled(PIXELS[[3, 70]]))
    again = Rows([some, streamed["pixels"]], rows=[0, 5, 107])
    np.testing.assert_array_equal(again[:], scaled(PIXELS[[70, 0, 102]]))
    assert len(again.parts) == 4
    with pytest.raises(ArgumentError, match="there is no row 103: rows are 0 to 102"):
        Rows(PIXELS, rows=[103])
    with pytest.raises(ArgumentError, match="no rows are kept"):
        Rows(PIXELS, rows=np.zeros(0, np.int64))


def test_rows_are_split_without_being_read(streamed: dict[str, Any]) -> None:
    given = {"pixels": scaled(PIXELS), "labels": LABELS}
    for stratify in (None, "labels"):
        parts = random_split(streamed, [0.8, 0.2], seed=2, stratify=stratify)
        expected = random_split(given, [0.8, 0.2], seed=2, stratify=stratify)
        for part, other in zip(parts, expected, strict=True):
            assert isinstance(part["pixels"], Rows)
            np.testing.assert_array_equal(part["pixels"], other["pixels"])
            np.testing.assert_array_equal(part["labels"], other["labels"])
    folds = list(k_fold(streamed, 3))
    assert sum(len(held_out["pixels"]) for _, held_out in folds) == 103


def test_rows_that_are_not_there() -> None:
    rows = Rows(PIXELS)
    for wrong, what in (([0, 103], "there is no row 103"), ([-1], "there is no row -1")):
        with pytest.raises(ArgumentError, match=f"{what}: rows are 0 to 102"):
            rows[wrong]
    for index in (5, [0.5], [[1]], "a"):
        with pytest.raises(ArgumentError, match="rows are picked by a slice or a list"):
            rows[index]


def test_data_that_does_not_fit(streamed: dict[str, Any]) -> None:
    trainer = program().compile()
    with pytest.raises(ShapeError) as raised:
        trainer.fit({**streamed, "labels": LABELS[1:]})
    assert str(raised.value) == (
        "fit: inputs disagree on dimension 'batch'\n"
        "  'pixels' axis 0 has extent 103\n  'labels' axis 0 has extent 102"
    )
    with pytest.raises(DTypeError, match="input 'pixels' is float32, not uint8"):
        trainer.fit({**streamed, "pixels": Rows(PIXELS)})
    with pytest.raises(ShapeError, match=r"input 'pixels' has shape \[1, 5\]"):
        trainer.fit({**streamed, "pixels": Rows(PIXELS[:, 1:], scaled)})
    with pytest.raises(ArgumentError, match="unknown input 'pixel', missing input 'pixels'"):
        trainer.fit({"labels": LABELS, "pixel": streamed["pixels"]})
    with pytest.raises(ArgumentError, match="missing input 'labels'"):
        trainer.evaluate({"pixels": streamed["pixels"]})
    bad = LABELS.copy()
    bad[77] = 3
    with pytest.raises(ArgumentError, match="'labels'"):
        trainer.fit({**streamed, "labels": bad})


def test_an_input_without_rows_is_given_whole() -> None:
    x, scale = gc.input("x", ("batch", 6)), gc.input("scale", (6,))
    w = gc.parameter("w", (6,))
    trainer = gc.training(gc.mean((x * scale) @ w), optim.SGD(lr=1e-3)).compile()
    with pytest.raises(ArgumentError, match="'scale' is given by rows, but is no input with rows"):
        trainer.fit({"x": scaled(PIXELS), "scale": Rows(np.ones(6, np.float32))})
    trainer.fit({"x": Rows(PIXELS, scaled), "scale": np.ones(6, np.float32)})


def test_a_checkpoint_does_not_replace_a_part(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", PIXELS)
    rows = Rows([PIXELS, load_npy(tmp_path / "x.npy", memory_map=True)], scaled)
    data = {"pixels": rows, "labels": np.concatenate([LABELS, LABELS])}
    with pytest.raises(ArgumentError, match="pixels"):
        program().compile().fit(data, checkpoint=tmp_path / "x.npy")
