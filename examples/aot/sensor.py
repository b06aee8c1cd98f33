"""A model that learns while it runs: predict a sensor's next reading from its last eight.

    gradc build examples/aot/sensor.py --kind library --batch 1 -o libsensor.so

makes the library that sensor_loop.c drives from its own loop, one sample at a time. Run by itself,
this file trains on a recorded signal in process instead.
"""

from __future__ import annotations

import numpy as np

import gradc as gc
from gradc import nn, optim

PAST = 8
SAMPLES = 4000

past = gc.input("past", ("batch", PAST))
reading = gc.input("reading", ("batch", 1))
predicted = nn.Sequential(nn.Linear(PAST, 16), nn.Tanh(), nn.Linear(16, 1))(past)
loss = gc.mse_loss(predicted, reading)

program = gc.training(
    loss, optimizer=optim.SGD(lr=0.05, momentum=0.5), outputs={"predicted": predicted}
)


def signal(count: int) -> np.ndarray:
    """Two beating oscillations, float32[count]."""
    t = np.arange(count, dtype=np.float64)
    return (0.6 * np.sin(0.31 * t) + 0.4 * np.sin(0.83 * t)).astype(np.float32)


def data() -> dict[str, dict[str, np.ndarray]]:
    """Windows of the signal and the readings that follow them."""
    values = signal(SAMPLES + PAST)
    windows = np.lib.stride_tricks.sliding_window_view(values, PAST)[:SAMPLES]
    return {"train": {"past": np.ascontiguousarray(windows), "reading": values[PAST:, None]}}


def main() -> None:
    trainer = program.compile(seed=0, threads=1)
    history = trainer.fit(data()["train"], batch_size=1, epochs=1, shuffle=False)
    print(f"mean squared error over one pass: {history['loss'][0]:.4f}")
    print(f"and after it: {trainer.evaluate(data()['train'])['loss']:.6f}")


if __name__ == "__main__":
    main()
