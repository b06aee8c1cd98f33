"""The paths of optimizers on a surface: a narrow, bent valley, and what each of them makes of it.

    python examples/optimizer_paths.py [--plot FILE]

Rosenbrock's function (1 - x)^2 + 100 (y - x^2)^2 has its minimum at (1, 1), at the end of a valley
whose walls are 2,500 times as curved as its ground. Gradient descent, with a rate that the walls
allow, creeps: after 2,000 steps it is not there yet. Momentum comes within 0.001 after 1,580;
RMSprop and Adam, whose steps do not grow with the slope, go straight along the ground and end near
it. Those that know the curvature are there after 33 steps (L-BFGS, which learns it from gradients)
and 69 (Newton's method by conjugate gradients).
Source: H. Rosenbrock, "An Automatic Method for Finding the Greatest or Least Value of a Function"
(1960).
"""

from __future__ import annotations

import numpy as np
import plots

import gradc as gc
from gradc import optim

START, MINIMUM, STEPS, NEAR = (-1.2, 1.0), np.array([1.0, 1.0]), 2000, 1e-3
OPTIMIZERS = {
    "gradient descent": optim.SGD(lr=1e-3),
    "momentum": optim.SGD(lr=1e-3, momentum=0.9),
    "RMSprop": optim.RMSprop(lr=3e-3),
    "Adam": optim.Adam(lr=3e-2),
    "L-BFGS": optim.LBFGS(max_iter=1, max_eval=25, line_search_fn="strong_wolfe"),
    "Newton-CG": optim.NewtonCG(max_iter=2),
}


def surface(x: gc.Tensor, y: gc.Tensor) -> gc.Tensor:
    return gc.square(1 - x) + 100 * gc.square(y - gc.square(x))


def path_of(optimizer: optim.Optimizer) -> np.ndarray:
    """[STEPS + 1, 2]: where it is after each step."""
    place = gc.parameter("place", (2,), gc.float64, init=np.array(START))
    trainer = gc.training(surface(place[0], place[1]), optimizer).compile()
    places = [trainer.parameters["place"]]
    for _ in range(STEPS):
        trainer.step()
        places.append(trainer.parameters["place"])
    return np.array(places)


def main() -> None:
    file = plots.file_given(__doc__)
    paths = {name: path_of(optimizer) for name, optimizer in OPTIMIZERS.items()}
    for name, path in paths.items():
        distance = np.linalg.norm(path - MINIMUM, axis=1)
        near = np.flatnonzero(distance < NEAR)
        reached = f"near from step {near[0]}" if near.size else "not near"
        print(f"{name:17} distance {distance[-1]:.2e}, {reached}")
    if file is not None:
        figure, (axes,) = plots.panels(len(paths), width=3.0)
        x, y = np.meshgrid(np.linspace(-1.6, 1.6, 200), np.linspace(-0.6, 1.8, 200))
        height = (1 - x) ** 2 + 100 * (y - x**2) ** 2
        for panel, (name, path) in zip(axes, paths.items(), strict=True):
            panel.contour(x, y, np.log10(height + 1e-3), 12, linewidths=0.5)
            panel.plot(*path.T, ".-", markersize=3, linewidth=0.8)
            panel.plot(*MINIMUM, "*")
            panel.set(title=name, xlim=(-1.6, 1.6), ylim=(-0.6, 1.8))
        plots.write(figure, file)


if __name__ == "__main__":
    main()
