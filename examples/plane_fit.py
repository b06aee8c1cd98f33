"""Fitting a plane: gradient descent on the mean squared error ends where least squares is.

Points (x1, x2) with heights 2 x1 - x2 + 1/2 and some noise. The error is a quadratic in the three
parameters, so that gradient descent has one minimum to go to: the solution of the normal
equations, which NumPy finds directly.
"""

from __future__ import annotations

import numpy as np

import gradc as gc
from gradc import optim

SAMPLES = 200
EPOCHS = 400

points = gc.input("points", ("batch", 2), gc.float64)
heights = gc.input("heights", ("batch",), gc.float64)
slope = gc.parameter("slope", (2,), gc.float64, init=gc.init.zeros)
offset = gc.parameter("offset", (), gc.float64, init=gc.init.zeros)
predicted = gc.sum(points * slope, axis=1) + offset
loss = gc.mean((predicted - heights) ** 2)

program = gc.training(loss, optimizer=optim.SGD(lr=0.3))


def data() -> dict[str, dict[str, np.ndarray]]:
    """Noisy samples of the plane, float64[200, 2] and float64[200]."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (SAMPLES, 2))
    z = x @ [2.0, -1.0] + 0.5 + 0.1 * rng.standard_normal(SAMPLES)
    return {"train": {"points": x, "heights": z}}


def main() -> None:
    samples = data()["train"]
    trainer = program.compile(seed=0)
    history = trainer.fit(samples, batch_size=SAMPLES, epochs=EPOCHS, shuffle=False)
    found = np.append(trainer.parameters["slope"], trainer.parameters["offset"])

    design = np.column_stack([samples["points"], np.ones(SAMPLES)])
    exact = np.linalg.lstsq(design, samples["heights"])[0]
    first, last = history["loss"][0], history["loss"][-1]
    print(f"mean squared error: {first:.4f} in the first epoch, {last:.6f} in the last")
    print("gradient descent:", np.array2string(found, precision=9))
    print("least squares:   ", np.array2string(exact, precision=9))
    print(f"largest difference: {np.abs(found - exact).max():.1e}")


if __name__ == "__main__":
    main()
