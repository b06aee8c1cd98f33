"""Overfitting: a polynomial of degree 9 on 10 noisy points of a sine, with a penalty and without.

    python examples/overfitting.py [--plot FILE]

With as many coefficients as points the curve goes through all of them, and between them wherever it
likes: the error on the points is 0, elsewhere nearly that of a flat line. A penalty on the squares
of the coefficients (gc.l2_penalty) costs a little on the points and gives back far more elsewhere;
too great a one flattens the curve. Here the error along the sine is 0.58 without, 0.14 with 1e-4
and 0.63 with 1 (root mean square; the noise is 0.2, the sine itself 0.71).
Source: C. Bishop, Pattern Recognition and Machine Learning (2006), section 1.1.
"""

from __future__ import annotations

import numpy as np
import plots

import gradc as gc
from gradc import optim

DEGREE, POINTS, NOISE, STEPS = 9, 10, 0.2, 40
PENALTIES = (0.0, 1e-6, 1e-4, 1e-2, 1.0)


def powers(x: np.ndarray) -> np.ndarray:
    """[n, DEGREE + 1]: 1, x, x^2, ... of x in [0, 1], taken to [-1, 1]."""
    return np.vander(2 * x - 1, DEGREE + 1, increasing=True)


def sine(x: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * x)


def data(penalty: float = 1e-4) -> dict[str, dict[str, np.ndarray]]:
    """Points at equal distances with noise; others of the true curve."""
    at, between = np.linspace(0, 1, POINTS), np.linspace(0, 1, 200)
    noisy = sine(at) + np.random.default_rng(2).normal(scale=NOISE, size=POINTS)
    factor = np.array(penalty)
    return {
        "train": {"x": powers(at), "y": noisy, "penalty": factor},
        "validation": {"x": powers(between), "y": sine(between), "penalty": factor},
    }


x, y = gc.input("x", ("batch", DEGREE + 1), gc.float64), gc.input("y", ("batch",), gc.float64)
penalty = gc.input("penalty", (), gc.float64)  # an input, so that one program serves them all
w = gc.parameter("w", (DEGREE + 1,), gc.float64, init=gc.init.zeros)
curve = x @ w
error = gc.mean(gc.square(curve - y))
program = gc.training(
    error + gc.l2_penalty(w, penalty),
    optim.LBFGS(max_iter=100, tolerance_grad=0, tolerance_change=0, line_search_fn="strong_wolfe"),
    metrics={"error": error},
    outputs={"curve": curve},
)


def trained(penalty: float) -> gc.Trainer:
    """At the minimum of the mean square and so much for the squares of the coefficients."""
    trainer = program.compile(seed=0)
    trainer.fit(data(penalty)["train"], batch_size=POINTS, epochs=STEPS)
    return trainer


def main() -> None:
    path = plots.file_given(__doc__)
    curves = {}
    print("penalty  on the points  elsewhere  greatest coefficient")
    for penalty in PENALTIES:
        trainer, sets = trained(penalty), data(penalty)
        on, off = (np.sqrt(trainer.evaluate(part)["error"]) for part in sets.values())
        largest = abs(trainer.parameters["w"]).max()
        print(f"{penalty:7.0e} {on:14.4f} {off:10.4f} {largest:21.1f}")
        curves[penalty] = trainer.predict(sets["validation"])["curve"]
    if path is not None:
        figure, (axes,) = plots.panels(3)
        at, between = np.linspace(0, 1, POINTS), np.linspace(0, 1, 200)
        for panel, penalty in zip(axes, PENALTIES[::2], strict=True):
            panel.plot(between, sine(between), ":", between, curves[penalty])
            panel.plot(at, data()["train"]["y"], "o")
            panel.set(title=f"penalty {penalty:g}", ylim=(-2, 2))
        plots.write(figure, path)


if __name__ == "__main__":
    main()
