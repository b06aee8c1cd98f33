"""Newton's method: one step from anywhere solves a quadratic, a few a convex function.

A step is x - H(x)^-1 g(x). Gradient and Hessian are derived from the same few lines as the value
and compiled with it into one program; NumPy solves the small linear system.
Source: Nocedal, Wright, Numerical Optimization (2006), section 3.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import gradc as gc

N = 5


def make_step(value: gc.Tensor, x: gc.Tensor) -> Any:
    """A compiled function of x that gives value, gradient and Hessian."""
    return gc.compile({"f": value, "g": gc.grad(value, x), "H": gc.hessian(value, x)})


def newton(f: Any, x: np.ndarray, steps: int) -> np.ndarray:
    """`steps` full steps of Newton's method from x."""
    for number in range(steps):
        at = f(x=x)
        x = x - np.linalg.solve(at["H"], at["g"])
        norm = np.abs(f(x=x)["g"]).max()
        print(f"  after step {number + 1}: f = {f(x=x)['f']:.12f}, largest gradient {norm:.1e}")
    return x


def main() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((N, N))
    A, b = root @ root.T + np.eye(N), rng.standard_normal(N)
    start = 10 * rng.standard_normal(N)

    x = gc.input("x", (N,), gc.float64)
    quadratic = 0.5 * gc.sum(x * (gc.constant(A) @ x)) - gc.sum(gc.constant(b) * x)
    print("quadratic, from a random start:")
    found = newton(make_step(quadratic, x), start, steps=1)
    gap = np.abs(found - np.linalg.solve(A, b)).max()
    print(f"  difference from the solution of A x = b: {gap:.1e}")

    convex = gc.sum(gc.exp(x) - gc.constant(np.arange(1.0, N + 1)) * x) + 0.1 * gc.sum(x) ** 2
    print("sum(exp(x) - k x) + 0.1 sum(x)^2, from zero:")
    newton(make_step(convex, x), np.zeros(N), steps=7)


if __name__ == "__main__":
    main()
