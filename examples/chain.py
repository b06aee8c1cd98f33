"""The chain rule by hand and by compiler: y = sigma(c sigma(a x + b) + d).

The four derivatives are graphs like any other: they are printed as text, compiled, and compared
with central differences and with the chain rule written out.
"""

from __future__ import annotations

import numpy as np

import gradc as gc

NAMES = ("a", "b", "c", "d")
POINT = {"x": 0.5, "a": 1.2, "b": -0.4, "c": 2.0, "d": 0.3}
STEP = 1e-6

x = gc.input("x", (), gc.float64)
a, b, c, d = (gc.input(name, (), gc.float64) for name in NAMES)
h = gc.sigmoid(a * x + b)
y = gc.sigmoid(c * h + d)
gradients = gc.grad(y, [a, b, c, d])
results = {"y": y} | {f"dy_d{name}": g for name, g in zip(NAMES, gradients, strict=True)}


def by_hand(x: float, a: float, b: float, c: float, d: float) -> dict[str, float]:
    """With sigma' = sigma (1 - sigma), h = sigma(a x + b) and y = sigma(c h + d)."""
    h = 1 / (1 + np.exp(-(a * x + b)))
    y = 1 / (1 + np.exp(-(c * h + d)))
    outer = y * (1 - y)
    inner = outer * c * h * (1 - h)
    return {"a": inner * x, "b": inner, "c": outer * h, "d": outer}


def main() -> None:
    print(gc.graph(results))
    f = gc.compile(results)
    values = f(**POINT)
    hand = by_hand(**POINT)
    print("\n          compiled        by hand         central difference")
    worst = 0.0
    for name in NAMES:
        up = f(**POINT | {name: POINT[name] + STEP})["y"]
        down = f(**POINT | {name: POINT[name] - STEP})["y"]
        row = (float(values[f"dy_d{name}"]), hand[name], float(up - down) / (2 * STEP))
        print(f"dy/d{name}  " + "".join(f"  {value:.12f}" for value in row))
        worst = max(worst, *(abs(row[0] - other) for other in row[1:]))
    print(f"largest difference: {worst:.1e}")


if __name__ == "__main__":
    main()
