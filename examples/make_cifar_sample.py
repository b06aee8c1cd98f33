"""Make a small file in CIFAR-10's binary format: two classes that can be learned.

    python examples/make_cifar_sample.py OUT.bin [IMAGES]

Not photographs: class 3 ("cat") has a bright band along the falling diagonal, class 5 ("dog") one
along the rising diagonal, both of random place, width, colours and noise. It stands in for the real
data set, which is not distributed with this project, where format and training are to be tried.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

CAT, DOG = 3, 5
SIDE = 32


def image(label: int, rng: np.random.Generator) -> np.ndarray:
    """uint8[3, 32, 32]: a falling band for CAT, a rising one for DOG."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    across = columns - rows if label == CAT else columns + rows - (SIDE - 1)
    inside = abs(across - rng.uniform(-8, 8)) < rng.uniform(3, 7)
    ground = rng.uniform(0, 120, (3, 1, 1))
    colour = rng.uniform(120, 255, (3, 1, 1))
    noise = rng.normal(0, 12, (3, SIDE, SIDE))
    return np.clip(np.where(inside, colour, ground) + noise, 0, 255).astype(np.uint8)


def records(images: int, seed: int) -> bytes:
    """That many records of 3073 bytes, the two classes in turn."""
    rng = np.random.default_rng(seed)
    labels = [(CAT, DOG)[number % 2] for number in range(images)]
    return b"".join(bytes([label]) + image(label, rng).tobytes() for label in labels)


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: make_cifar_sample.py OUT.bin [IMAGES]")
    images = int(sys.argv[2]) if len(sys.argv) == 3 else 2000
    Path(sys.argv[1]).write_bytes(records(images, seed=0))
    print(f"{sys.argv[1]}: {images} images, {images * 3073:,} bytes")


if __name__ == "__main__":
    main()
