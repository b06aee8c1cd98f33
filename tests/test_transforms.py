"""Derivatives at the level of tensors: values, structures, what is not read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=3), RNG.normal(size=(2, 3))
x, y = gc.input("x", (3,), gc.float64), gc.input("y", (2, 3), gc.float64)
f = (gc.exp(x) * y).sum() + (x**2).sum() * gc.sin(y).sum()


def close(tensor: Any, expected: Any) -> None:
    np.testing.assert_allclose(values(tensor, x=X, y=Y), expected, rtol=1e-10)


DX = np.exp(X) * Y.sum(0) + 2 * X * np.sin(Y).sum()
DY = np.exp(X) + (X**2).sum() * np.cos(Y)


def test_grad_keeps_the_structure() -> None:
    close(gc.grad(f, x), DX)
    for structure in ([x, y], (x, y), {"a": x, "b": [y]}):
        found = gc.grad(f, structure)
        assert type(found) is type(structure)
    a, b = gc.grad(f, [x, y])
    close(a, DX)
    close(b, DY)
    nested = gc.grad(f, {"a": x, "b": [y, None]})
    assert nested["b"][1] is None
    close(nested["b"][0], DY)


def test_what_is_not_read_has_gradient_zero() -> None:
    z = gc.input("z", (4,), gc.float64)
    found = gc.grad(x.sum(), [x, z])
    assert found[1].shape == (4,)
    result = values(found, x=X, z=np.ones(4))
    np.testing.assert_array_equal(result[0], np.ones(3))
    np.testing.assert_array_equal(result[1], np.zeros(4))


def test_a_constant_derivative_still_takes_its_inputs() -> None:
    names = [n.attributes["name"] for n in gc.graph(gc.grad(x.sum(), x) + 1).graph.inputs]
    assert names == ["x"]
    np.testing.assert_array_equal(values(gc.hessian((x * x).sum(), x), x=X), 2 * np.eye(3))


def test_vjp_and_jvp() -> None:
    v = gc.sin(x) * x[::-1]
    jacobian = np.diag(np.cos(X) * X[::-1]) + np.fliplr(np.diag(np.sin(X)))
    u = RNG.normal(size=3)
    np.testing.assert_allclose(values(gc.vjp(v, x, u), x=X), u @ jacobian)
    np.testing.assert_allclose(values(gc.jvp(v, x, u), x=X), jacobian @ u)
    np.testing.assert_allclose(values(gc.jvp(v, [x], [u]), x=X), jacobian @ u)
    np.testing.assert_allclose(values(gc.jacobian(v, x), x=X), jacobian)
    close(gc.jvp(f, [x, y], [np.ones(3), np.ones((2, 3))]), DX.sum() + DY.sum())


def test_second_order() -> None:
    h = np.diag(np.exp(X) * Y.sum(0)) + 2 * np.sin(Y).sum() * np.eye(3)
    close(gc.hessian(f, x), h)
    close(gc.hvp(f, x, np.arange(3.0)), h @ np.arange(3.0))
    (first,) = gc.grad(f, [x])
    close(gc.grad((first * np.arange(3.0)).sum(), x), h @ np.arange(3.0))
    blocks = gc.hessian(f, {"x": x, "y": y})
    assert blocks["x"]["y"].shape == (3, 2, 3)
    cross = 2 * X[:, None, None] * np.cos(Y) + np.einsum("i,ik->ik", np.exp(X), np.eye(3))[:, None]
    close(blocks["x"]["y"], cross)
    close(blocks["y"]["x"], cross.transpose(1, 2, 0))


def test_stop_gradient() -> None:
    close(gc.grad((gc.stop_gradient(x) * x).sum(), x), X)
    close(gc.grad(gc.stop_gradient(x).sum() + 0 * x.sum(), x), np.zeros(3))


def test_gradient_of_indexing_and_joins() -> None:
    parts = gc.concat([x[1:], x[:2] * 3, gc.take(x, np.array([0, 0]))])
    close(gc.grad((parts * np.arange(6.0)).sum(), x), [2 * 3 + 4 + 5, 0 + 3 * 3, 1])


def test_wrong_tangents() -> None:
    with pytest.raises(gc.GradientError, match="1 tangents for 2 tensors of wrt"):
        gc.jvp(f, [x, y], [X])
    with pytest.raises(gc.ShapeError, match="the vector's shape does not fit"):
        gc.hvp(f, x, Y)
