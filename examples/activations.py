"""Activation functions, and their slopes as gradc derives them.

    python examples/activations.py [--plot FILE]

What a layer hands back to the one before is multiplied by the slope of its activation. That of the
logistic sigmoid is 1/4 at most, so that of ten layers less than 1e-6 comes back: 4^-10. That of
tanh reaches 1 at 0 alone; that of ReLU is 1 on half of the line and 0 on the other. The smooth ones
(GELU, SiLU) go a little above 1, and below 0. The table says for each its greatest and least slope
on [-6, 6], its slope far out, at 6, and the tenth power of the greatest. Each slope is checked by
central differences: they agree to 1e-9.
"""

from __future__ import annotations

import numpy as np
import plots

import gradc as gc

FUNCTIONS = {
    "sigmoid": gc.sigmoid, "tanh": gc.tanh, "softsign": gc.softsign,
    "relu": gc.relu, "leaky_relu": gc.leaky_relu, "elu": gc.elu,
    "softplus": gc.softplus, "silu": gc.silu, "gelu": gc.gelu,
}  # fmt: skip
POINTS = np.linspace(-6, 6, 1200)  # 0, where some have no slope, is not among them

x = gc.input("x", (len(POINTS),), gc.float64)
values = {name: function(x) for name, function in FUNCTIONS.items()}
slopes = {name: gc.grad(gc.sum(y), x) for name, y in values.items()}
both = gc.compile({"values": values, "slopes": slopes})


def difference(name: str, h: float = 1e-6) -> float:
    """How far the slope is from central differences, at the worst of the points."""
    up, down = (both(x=POINTS + change)["values"][name] for change in (h, -h))
    found: np.ndarray = both(x=POINTS)["slopes"][name]
    return float(abs(found - (up - down) / (2 * h)).max())


def main() -> None:
    path = plots.file_given(__doc__)
    found = both(x=POINTS)
    print("function     greatest  least    at 6      ten layers")
    for name, slope in found["slopes"].items():
        most = slope.max()
        print(f"{name:12} {most:8.4f} {slope.min():8.4f} {slope[-1]:8.4f} {most**10:12.2e}")
    print(f"largest difference: {max(map(difference, FUNCTIONS)):.0e}")
    if path is not None:
        figure, ((left, right),) = plots.panels(2)
        for name in FUNCTIONS:
            left.plot(POINTS, found["values"][name], label=name)
            right.plot(POINTS, found["slopes"][name])
        left.set(title="values", ylim=(-2, 6))
        right.set(title="slopes")
        left.legend(fontsize="small")
        plots.write(figure, path)


if __name__ == "__main__":
    main()
