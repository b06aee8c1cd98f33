"""CIFAR2: cats against dogs with a multi-layer perceptron, 3072-1024-512-128-2 with tanh.

    python examples/cifar2.py [FOLDER]

FOLDER holds the binary version of CIFAR-10 (data_batch_1.bin ... test_batch.bin); without one,
`data/cifar-10-batches-bin` beside this file is looked for. Where neither is, a small stand-in of
two kinds of stripes in the same format is made (see make_cifar_sample.py).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import gradc as gc
from gradc import nn, optim
from gradc.data import load_cifar10

HERE = Path(__file__).parent
FOLDER = HERE / "data" / "cifar-10-batches-bin"
CLASSES = ("cat", "dog")
BATCH_SIZE = 64

model = nn.Sequential(
    nn.Linear(3072, 1024), nn.Tanh(), nn.Linear(1024, 512), nn.Tanh(),
    nn.Linear(512, 128), nn.Tanh(), nn.Linear(128, 2),
)  # fmt: skip

images = gc.input("images", ("batch", 3072))
labels = gc.input("labels", ("batch",), gc.int32)
logits = model(images)
loss = gc.cross_entropy(logits, labels)

program = gc.training(
    loss,
    optimizer=optim.SGD(lr=1e-2),
    metrics={"accuracy": gc.accuracy(logits, labels)},
    outputs={"logits": logits},
)


def arrays(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Pixels scaled to -1..1 as float32[n, 3072], and the labels."""
    return {"images": images.reshape(-1, 3072).astype(np.float32) / 127.5 - 1, "labels": labels}


def data(folder: Path = FOLDER) -> dict[str, dict[str, np.ndarray]]:
    """The two classes of CIFAR-10, or of the stand-in."""
    if folder.is_dir():
        train = load_cifar10(folder, CLASSES)
        validation = load_cifar10(folder, CLASSES, split="test")
    else:
        with tempfile.TemporaryDirectory() as scratch:
            sample = Path(scratch) / "sample.bin"
            script = HERE / "make_cifar_sample.py"
            subprocess.run([sys.executable, script, sample], check=True, stdout=subprocess.DEVNULL)
            everything = load_cifar10(sample, CLASSES)
        kept = len(everything[0]) * 4 // 5
        train = everything[0][:kept], everything[1][:kept]
        validation = everything[0][kept:], everything[1][kept:]
    return {"train": arrays(*train), "validation": arrays(*validation)}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if len(sys.argv) > 1 and not folder.is_dir():
        sys.exit(f"{folder} is not a folder")
    sets = data(folder)
    origin = str(folder) if folder.is_dir() else "stand-in of two kinds of stripes"
    print(f"data: {origin}, {len(sets['train']['labels'])} images to train on")
    trainer = program.compile(target="cpu", seed=0)
    history = trainer.fit(
        sets["train"],
        batch_size=BATCH_SIZE,
        epochs=10,
        validation=sets["validation"],
        early_stopping=gc.EarlyStopping(patience=3),
        progress=True,
    )
    first, last = history["loss"][0], history["loss"][-1]
    print(f"loss: {first:.4f} in the first epoch, {last:.4f} in the last")
    accuracy = trainer.evaluate(sets["validation"])["accuracy"]
    print(f"held-out accuracy: {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
