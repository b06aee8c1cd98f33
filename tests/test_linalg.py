"""Factors of matrices, systems of equations, determinants: against NumPy, and against differences.

The records themselves are in the tests over the catalogue; here are matrices of several blocks,
the functions made of records, and every way to run them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import WAYS, Case
from support import values
from support_binary import needs_compiler

import gradc as gc
from gradc import optim
from gradc.compiler.ops import matrices
from gradc.functional.factors import __all__ as factors

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(17)


def regular(*shape: int) -> Array:
    """Random matrices that are far from singular, and whose rows must change places."""
    size = shape[-1]
    order = np.argsort(RNG.random(shape[:-1]), axis=-1)
    return RNG.normal(size=shape) / size + np.eye(size)[order] * 1.5


def definite(*shape: int) -> Array:
    x = RNG.normal(size=shape)
    return np.asarray(x @ np.swapaxes(x, -1, -2) / shape[-1] + np.eye(shape[-1]))


def run(function: Callable[..., Any], *arrays: Array, threads: int = 1) -> Any:
    """Compiled, of inputs."""
    names = [f"x{n}" for n in range(len(arrays))]
    dtypes = [gc.float32 if a.dtype == np.float32 else gc.float64 for a in arrays]
    given = [gc.input(n, a.shape, d) for n, a, d in zip(names, arrays, dtypes, strict=True)]
    made = gc.compile(function(*given), threads=threads)
    return made(**dict(zip(names, arrays, strict=True)))


Of = tuple[Callable[..., Any], Callable[..., Any], tuple[Array, ...]]


def functions(size: int, *batch: int) -> dict[str, Of]:
    """Each function, NumPy's, and operands."""
    a, s, b = regular(*batch, size, size), definite(*batch, size, size), RNG.normal(size=(size, 3))
    factor = np.linalg.cholesky(s)
    low = factor + np.triu(RNG.normal(size=(size, size)), 1)
    tall = RNG.normal(size=(*batch, size + 3, size))
    return {
        "cholesky": (gc.cholesky, np.linalg.cholesky, (s,)),
        "cholesky_solve": (lambda b, f: gc.cholesky_solve(b, f), lambda b, f: np.linalg.solve(s, b),
                           (np.broadcast_to(b, (*batch, size, 3)).copy(), low)),
        "upper": (lambda f, b: gc.solve_triangular(f.mT, b, upper=True),
                  lambda f, b: np.linalg.solve(np.swapaxes(factor, -1, -2), b), (low, b)),
        "right": (lambda f, b: gc.solve_triangular(f, b.mT, upper=False, left=False),
                  lambda f, b: b.T @ np.linalg.inv(factor), (low, b)),
        "unit": (lambda f, b: gc.solve_triangular(f, b, upper=False, unitriangular=True),
                 lambda f, b: np.linalg.solve(np.tril(f, -1) + np.eye(size), b), (low / size, b)),
        "solve": (gc.solve, np.linalg.solve, (a, b)),
        "solve_right": (lambda a, b: gc.solve(a, b.mT, left=False),
                        lambda a, b: b.T @ np.linalg.inv(a), (a, b)),
        "inv": (gc.inv, np.linalg.inv, (a,)),
        "det": (gc.det, np.linalg.det, (a,)),
        "slogdet": (gc.slogdet, np.linalg.slogdet, (a,)),
        "lu": (lambda a: (lambda f: f.P @ f.L @ f.U)(gc.lu(a)), lambda a: a, (a,)),
        "qr": (gc.qr, np.linalg.qr, (tall,)),
        "complete": (lambda a: gc.qr(a, "complete"), lambda a: np.linalg.qr(a, "complete"),
                     (tall,)),
        "lstsq": (lambda a, b: gc.lstsq(a, b).solution, lambda a, b: np.linalg.pinv(a) @ b,
                  (tall, RNG.normal(size=(size + 3, 2)))),
    }  # fmt: skip


def same(found: Any, wanted: Any, tolerance: float) -> None:
    many = isinstance(found, tuple)
    for ours, theirs in zip(found, wanted, strict=True) if many else [(found, wanted)]:
        scale = np.abs(theirs).max(initial=1e-300)
        np.testing.assert_allclose(ours / scale, theirs / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", functions(1))
def test_values_are_numpys(name: str, dtype: str) -> None:
    """Of one number, of a stack, and of more than one block."""
    tolerance, sizes = {
        "float64": (1e-12, ((1,), (4, 2), (70,))), "float32": (1e-4, ((4, 2),))
    }[dtype]  # fmt: skip
    for size, *batch in sizes:
        ours, theirs, operands = functions(size, *batch)[name]
        rounded = [x.astype(dtype) for x in operands]
        same(run(ours, *rounded), theirs(*(x.astype(np.float64) for x in rounded)), tolerance)


@pytest.mark.parametrize("name", functions(1))
def test_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 3 columns of matrices of 8, by the evaluator and compiled, values and gradients."""
    ours, _, operands = functions(8, 2)[name]

    def both(*given: Any) -> Any:
        found = ours(*given)
        several = found if isinstance(found, tuple) else (found,)
        weight = np.random.default_rng(3)
        total = sum((y * weight.normal(size=y.shape)).sum() for y in several)
        return [*several, *([] if name == "complete" else gc.grad(total, list(given)))]

    whole = run(both, *operands)
    monkeypatch.setattr(matrices, "MOST_AT_ONCE", 4)
    monkeypatch.setattr(matrices, "BLOCK", 3)
    cut = run(both, *operands)
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


SLOPES: dict[str, tuple[Callable[..., Any], tuple[Array, ...]]] = {
    "cholesky": (lambda x: gc.cholesky(x @ x.mT), (regular(2, 3, 3),)),
    "any_matrix": (gc.cholesky, (definite(3, 3),)),
    "solve_triangular": (lambda a, b: gc.solve_triangular(a, b, upper=True), (
        np.eye(3) * 2 + RNG.normal(size=(3, 3)) / 4, RNG.normal(size=(3, 2)))),
    "solve": (gc.solve, (regular(3, 3), RNG.normal(size=(2, 3, 2)))),
    "inv": (gc.inv, (regular(2, 3, 3),)),
    "det": (gc.det, (regular(2, 3, 3),)),
    "slogdet": (lambda x: gc.slogdet(x).logabsdet, (regular(2, 3, 3),)),
    "lu": (lambda x: gc.lu(x).L + gc.lu(x).U, (regular(3, 3),)),
    "qr": (lambda x: gc.qr(x).Q @ gc.qr(x).R + gc.qr(x).R.sum(), (RNG.normal(size=(4, 3)),)),
    "wide": (lambda x: gc.qr(x).R, (RNG.normal(size=(2, 4)),)),
    "lstsq": (lambda a, b: gc.lstsq(a, b).solution, (
        RNG.normal(size=(4, 2)), RNG.normal(size=(4,)))),
    "shortest": (lambda a, b: gc.lstsq(a, b).solution, (
        RNG.normal(size=(2, 4)), RNG.normal(size=(2, 1)))),
    "matrix_power": (lambda x: gc.matrix_power(x, -3), (regular(3, 3),)),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_first_and_second_derivatives_are_slopes(name: str) -> None:
    """Along a line, of the values and of their gradient, both in float64."""
    function, operands = SLOPES[name]
    rng = np.random.default_rng(5)
    along = [rng.normal(size=x.shape) for x in operands]
    t = gc.input("t", (), gc.float64)
    y = function(*(gc.constant(x) + t * d for x, d in zip(operands, along, strict=True)))
    total = (y * rng.normal(size=y.shape)).sum()
    slope = gc.grad(total, t)
    made = gc.compile([total, slope, gc.grad(slope, t)], threads=1)
    h = 1e-3
    low2, low, at, high, high2 = (np.array(made(t=k * h)) for k in (-2, -1, 0, 1, 2))
    differences = (8 * (high - low) - (high2 - low2)) / (12 * h)
    np.testing.assert_allclose(at[1:], differences[:2], rtol=1e-7, atol=1e-7)


def test_forward_mode_and_hessian_products() -> None:
    x = gc.input("x", (3, 3), gc.float64)
    at, v = definite(3, 3), RNG.normal(size=(3, 3))
    y = gc.slogdet(x).logabsdet
    tangent, product = gc.jvp(y, x, gc.constant(v)), gc.hvp(y, x, gc.constant(v))
    found = gc.compile([tangent, product])(x=at)
    inverse = np.linalg.inv(at)
    np.testing.assert_allclose(found[0], np.trace(inverse @ v), rtol=1e-12)
    np.testing.assert_allclose(found[1], -(inverse @ v @ inverse).T, rtol=1e-10)


@pytest.mark.parametrize(
    "matrix", [[[1.0, 2.0], [2.0, 4.0]], [[0.0, 2.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]
)
def test_a_determinant_has_a_gradient_where_it_is_zero(matrix: list[list[float]]) -> None:
    """Where a is singular cofactors are not det(a) a^-T; PyTorch gives zeros."""
    (a, b), (c, d) = matrix
    x = gc.input("x", (2, 2), gc.float64)
    found = gc.compile(gc.grad(gc.det(x), x))(x=np.array(matrix))
    np.testing.assert_allclose(found, [[d, -c], [-b, a]], atol=1e-14)
    large = np.diag([0.0, *range(1, 6)]) + np.tri(6, k=-1)
    y = gc.input("y", (6, 6), gc.float64)
    found = gc.compile(gc.grad(gc.det(y), y))(y=large)
    minors = [
        [np.linalg.det(np.delete(np.delete(large, i, 0), j, 1)) for j in range(6)] for i in range(6)
    ]
    signs = (-1.0) ** np.add.outer(range(6), range(6))
    np.testing.assert_allclose(found, signs * minors, rtol=1e-10, atol=1e-10)


def test_what_is_not_positive_definite_is_nan_from_there_on() -> None:
    for size in (4, 70):
        a = definite(2, size, size)
        a[1, 2, 2] = -1.0
        found = run(gc.cholesky, a)
        np.testing.assert_allclose(found[0], np.linalg.cholesky(a[0]), rtol=1e-9)
        assert np.isfinite(found[1, :, :2]).all() and not np.triu(found[1, :2], 1).any()
        assert np.isnan(found[1, 2:, 2:][np.tril_indices(size - 2)]).all()
    singular = np.ones((2, 2))
    assert not np.isfinite(run(gc.inv, singular)).any()
    assert run(gc.slogdet, singular) == (0.0, -np.inf) and run(gc.det, singular) == 0.0


def test_the_lower_triangle_alone_is_read() -> None:
    """Of triangular matrices; of symmetric ones the symmetric part is."""
    a = definite(5, 5)
    other = a + np.triu(RNG.normal(size=(5, 5)), 1)
    np.testing.assert_allclose(
        run(gc.cholesky, other), np.linalg.cholesky((other + other.T) / 2), rtol=1e-12
    )
    x = gc.input("x", (5, 5), gc.float64)
    slope = gc.compile(gc.grad(gc.cholesky(x).sum(), x))(x=a)
    np.testing.assert_allclose(slope, slope.T, rtol=1e-12)


def test_named_dimensions_stack_matrices() -> None:
    x, b = gc.input("x", ("batch", 3, 3), gc.float64), gc.input("b", ("batch", 3), gc.float64)
    made = gc.compile({"x": gc.solve(x, b[..., None]), "l": gc.cholesky(x), "d": gc.det(x)})
    for count in (1, 5):
        a, right = definite(count, 3, 3), RNG.normal(size=(count, 3))
        found = made(x=a, b=right)
        np.testing.assert_allclose(found["x"], np.linalg.solve(a, right[..., None]), rtol=1e-9)
        np.testing.assert_allclose(found["l"], np.linalg.cholesky(a), rtol=1e-9)
        np.testing.assert_allclose(found["d"], np.linalg.det(a), rtol=1e-9)


@pytest.mark.parametrize("name", ["cholesky", "solve", "slogdet", "det", "qr", "lstsq"])
def test_vmap_is_a_stack(name: str) -> None:
    ours, theirs, operands = functions(3)[name]
    stacks = [np.stack([x, 2 * x]) for x in operands]
    found = run(gc.vmap(lambda *given: ours(*given)), *stacks)
    same(found, theirs(*stacks), 1e-11)


def test_threads_change_no_bit() -> None:
    a = definite(130, 130)
    for function in (gc.cholesky, gc.inv, gc.det):
        one, two = (run(function, a, threads=n) for n in (1, 2))
        assert one.tobytes() == two.tobytes()


def newton_step() -> Any:
    """A program whose loss reads each kind of factor."""
    w = gc.parameter("w", (3, 3), gc.float64, init=np.eye(3) + 0.1)
    x = gc.input("x", ("batch", 3), gc.float64)
    moment = x.mT @ x / x.shape[0] + 0.1 * gc.eye(3, dtype=gc.float64)
    factor = gc.cholesky(w @ w.mT + moment)
    back = gc.solve_triangular(factor, moment, upper=False)
    loss = gc.sum(back * back) - gc.slogdet(w).logabsdet + gc.sum(gc.solve(w, moment) ** 2)
    return gc.training(loss + gc.sum(gc.qr(w + moment).R ** 2), optim.SGD(lr=0.01))


@needs_compiler
def test_all_ways_of_training_agree(tmp_path: Path) -> None:
    data = {"x": np.random.default_rng(3).normal(size=(25, 3))}
    case = Case("linalg", newton_step(), data, batch=10, epochs=2)
    reference, *others = [(way, way.train(case, tmp_path)) for way in WAYS]
    for _, outcome in others:
        np.testing.assert_allclose(outcome.parameters["w"], reference[1].parameters["w"], rtol=1e-9)
    assert len({outcome.file for way, outcome in others if way.bits == "cpu"}) == 1


SQUARE, VECTOR = gc.input("a", (3, 3), gc.float64), gc.input("v", (3,), gc.float64)
HALF, NAMED = gc.input("h", (3, 3), gc.float16), gc.input("n", ("batch", "batch"), gc.float64)
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "not square": (lambda: gc.inv(SQUARE[:2]), gc.ShapeError, "inv: a square matrix of known size"),
    "named": (lambda: gc.det(NAMED), gc.ShapeError, "det: a square matrix of known size"),
    "vector": (lambda: gc.cholesky(VECTOR), gc.ShapeError, "cholesky: a matrix has two axes"),
    "half": (
        lambda: gc.solve(HALF, VECTOR),
        gc.DTypeError,
        "solve: matrices of float32 or float64",
    ),
    "rows": (lambda: gc.solve(SQUARE, VECTOR[:2]), gc.ShapeError, "has 2 rows, the matrix 3"),
    "least": (lambda: gc.lstsq(SQUARE[:2], VECTOR), gc.ShapeError, "has 3 rows, the matrix 2"),
    "number": (lambda: gc.solve(SQUARE, 1.0), gc.ShapeError, "an axis or more"),
    "mode": (lambda: gc.qr(SQUARE, "full"), gc.ArgumentError, "mode is 'reduced'"),
    "batch": (lambda: gc.solve(gc.zeros((2, 3, 3)), gc.zeros((4, 3, 1))), gc.ShapeError, "solve"),
    "power": (lambda: gc.matrix_power(SQUARE, 0.5), gc.ArgumentError, "n is an integer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_told_at_its_line(name: str) -> None:
    call, kind, text = REFUSED[name]
    with pytest.raises(kind, match=text) as caught:
        call()
    source = caught.value.source  # type: ignore[attr-defined]
    assert source is not None and "test_linalg.py" in source.file


def test_the_namespace() -> None:
    assert set(gc.linalg.__all__) <= set(gc.__all__)
    own = {n for n in gc.linalg.__all__ if getattr(gc.linalg, n) is not getattr(gc, n)}
    # Whose arguments are torch.linalg's and np.linalg's: test_linalg_norms.py.
    assert own == {"diagonal", "norm", "trace", "vander"}
    elsewhere = {"cholesky_inverse", "cholesky_solve", "inverse", "logdet"}  # as in torch
    assert set(factors) - set(gc.linalg.__all__) == elsewhere
    with pytest.raises(AttributeError, match="this version does not offer it"):
        gc.linalg.svd  # type: ignore[attr-defined] # noqa: B018
    with pytest.raises(AttributeError, match=r"write linalg\.lu"):
        gc.linalg.lu_factor  # type: ignore[attr-defined] # noqa: B018


def test_the_evaluator_is_the_reference() -> None:
    a = definite(2, 4, 4)
    np.testing.assert_allclose(values(gc.cholesky(gc.constant(a))), np.linalg.cholesky(a))
