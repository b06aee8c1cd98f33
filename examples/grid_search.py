"""Grid search: a program for each choice of options, and the best by what was held out.

    python examples/grid_search.py [--plot FILE]

`gc.sweep` trains a program for each, two at a time; those that differ in numbers alone share
compiled code, which is why widths cost a compilation and rates do not. Here rates and widths of a
small network on half of the digits of digits.py are tried, the choice is made on a quarter, and the
quarter that no choice has seen says how good it is: 95.6 % for a rate of 0.03 and 64 units. A rate
of 0.001 is too small for 15 epochs, a rate of 1 too large for any.
"""

from __future__ import annotations

import digits
import numpy as np
import plots

import gradc as gc
from gradc import nn, optim

GRID = {"width": [16, 64], "rate": [1e-3, 3e-2, 1.0]}
BATCH_SIZE, EPOCHS = 64, 15


def make(width: int, rate: float) -> gc.TrainingProgram:
    pixels = gc.input("pixels", ("batch", 64))
    labels = gc.input("labels", ("batch",), gc.int32)
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    logits = model(pixels)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optim.Adam(lr=rate),
        metrics={"accuracy": gc.accuracy(logits, labels)},
    )


program = make(64, 3e-2)


def data() -> dict[str, dict[str, np.ndarray]]:
    """Digits to train on, and to choose by."""
    train, chosen_by = gc.data.random_split(digits.data()["train"], [2 / 3, 1 / 3], seed=0)
    return {"train": train, "validation": chosen_by}


def main() -> None:
    path = plots.file_given(__doc__)
    sets = data()
    table = gc.sweep(
        make,
        GRID,
        sets["train"],
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation=sets["validation"],
        parallel=2,
    )
    for run in table.ranked:
        accuracy = run.history["validation_accuracy"][-1]
        print(f"{run.options}: loss {run.value:.3f}, accuracy {100 * accuracy:.1f} %")
    best = table.best
    print(f"best: width {best.options['width']}, rate {best.options['rate']:g}")
    result = best.trainer.evaluate(digits.data()["validation"])
    print(f"accuracy on other digits: {100 * result['accuracy']:.1f} %")
    if path is not None:
        figure, ((axes,),) = plots.panels(1, width=6)
        table.plot(axes)
        plots.write(figure, path)


if __name__ == "__main__":
    main()
