"""Pictures for the other examples: MNIST or CIFAR-10 from a folder, or coloured shapes made here.

    python examples/pictures.py FOLDER

writes the shapes in CIFAR-10's binary format, with its file names: a stand-in where the real data
set, which is not distributed with this project, is not at hand. Class 2 k + tint is the k-th of
disc, square, triangle, cross and ring; with three channels the tint is that of the figure, warm or
cold, with one it says which is brighter, ground or figure. Place, size, brightness are random.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np

import gradc as gc
from gradc.data import load_cifar10, load_idx

CIFAR10_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)"
MNIST_PAGE = "https://yann.lecun.com/exdb/mnist (four files, unpacked)"
SAMPLES = 1280
Sets = dict[str, dict[str, np.ndarray]]


def shapes(samples: int, seed: int, side: int, channels: int) -> dict[str, np.ndarray]:
    """images uint8[samples, channels, side, side], labels int32[samples]: the classes in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(samples, dtype=np.int32) % 10
    centre = side * rng.uniform(0.38, 0.62, (2, samples, 1, 1))
    down, right = (np.mgrid[:side, :side][:, None] - centre) / (
        side * rng.uniform(0.2, 0.32, (samples, 1, 1))
    )
    far, larger = np.hypot(down, right), np.maximum(abs(down), abs(right))
    inside = np.choose(
        labels[:, None, None] // 2,
        [
            far < 1,
            larger < 0.9,
            (abs(right) < (down + 1) / 2) & (down < 1),
            (np.minimum(abs(down), abs(right)) < 0.3) & (larger < 1),
            (far > 0.55) & (far < 1),
        ],
    )
    ground = rng.uniform(20, 110, (samples, channels, 1, 1))
    figure = rng.uniform(150, 250, (samples, channels, 1, 1))
    tint = labels % 2
    if channels == 3:
        figure[np.arange(samples), 2 - 2 * tint] *= 0.3  # little blue is warm, little red is cold
    noise = rng.normal(0, 10, (samples, channels, side, side))
    images = np.where(inside[:, None], figure, ground) + noise
    if channels == 1:
        images = np.where(tint[:, None, None, None] == 1, 255 - images, images)
    return {"images": np.clip(images, 0, 255).astype(np.uint8), "labels": labels}


def some_shapes(side: int, channels: int) -> Sets:
    """Shapes to train on, and a quarter as many others held out."""
    return {
        "train": shapes(SAMPLES, 1, side, channels),
        "validation": shapes(SAMPLES // 4, 2, side, channels),
    }


def cifar10(folder: Path | None = None, synthetic: bool = False) -> Sets:
    """images uint8[n, 3, 32, 32] and labels int32[n]: CIFAR-10 of its binary version, or shapes.

    folder      where the data set lies; None takes that which the variable CIFAR10 names
    synthetic   take shapes in any case; they are taken, too, where no folder is named
    """
    place = None if synthetic else _place(folder, "CIFAR10", "data_batch_1.bin", CIFAR10_PAGE)
    if place is None:
        return some_shapes(32, 3)
    parts = {"train": load_cifar10(place), "validation": load_cifar10(place, split="test")}
    return {name: {"images": part[0], "labels": part[1]} for name, part in parts.items()}


def mnist(folder: Path | None = None, synthetic: bool = False) -> Sets:
    """images uint8[n, 1, 28, 28] and labels int32[n]: MNIST, named by MNIST, or shapes in grey."""
    place = None if synthetic else _place(folder, "MNIST", "train-images-idx3-ubyte", MNIST_PAGE)
    if place is None:
        return some_shapes(28, 1)
    found = {}
    for name, prefix in (("train", "train"), ("validation", "t10k")):
        images = load_idx(place / f"{prefix}-images-idx3-ubyte")
        labels = load_idx(place / f"{prefix}-labels-idx1-ubyte")
        found[name] = {"images": images[:, None], "labels": labels.astype(np.int32)}
    return found


def _place(folder: Path | None, variable: str, file: str, page: str) -> Path | None:
    """The folder that is given or that the variable names; None, with a note, where neither is."""
    text = str(folder or os.environ.get(variable, ""))
    hint = f"get the data set from {page} and give its folder by --data or {variable}"
    if not text:
        print(f"data: shapes made here; for real ones {hint}", file=sys.stderr)
        return None
    if not (Path(text) / file).is_file():
        sys.exit(f"{text}: there is no {file}; {hint}")
    return Path(text)


def options(description: str | None, epochs: int) -> argparse.Namespace:
    """The command line of an example: data, synthetic, epochs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="where the data set lies")
    parser.add_argument("--synthetic", action="store_true", help="train on shapes in any case")
    parser.add_argument("--epochs", type=int, default=epochs, help=f"{epochs}, if not given")
    return parser.parse_args()


def train(program: gc.TrainingProgram, sets: Sets, epochs: int, **how: float) -> None:
    """Train on one set, with what `fit` is told else; say what it learned and how it does on the
    other."""
    trainer = program.compile(target="cpu", seed=0)
    history = trainer.fit(
        sets["train"], epochs=epochs, validation=sets["validation"], progress=True, **how
    )
    first, last = history["loss"][0], history["loss"][-1]
    print(f"loss: {first:.3f} in the first epoch, {last:.3f} in the last")
    accuracy = trainer.evaluate(sets["validation"])["accuracy"]
    print(f"held-out accuracy: {100 * accuracy:.1f} %")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: pictures.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(
        [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    ):
        made = shapes(SAMPLES // 5, number, 32, 3)
        labels = made["labels"].astype(np.uint8)[:, None]
        records = np.concatenate([labels, made["images"].reshape(len(labels), -1)], axis=1)
        (folder / name).write_bytes(records.tobytes())
        print(f"{folder / name}: {len(records)} pictures, {records.nbytes:,} bytes")


if __name__ == "__main__":
    main()
