"""Solvers that are loops of the program. Their derivatives are those of the solution, not of the
iterations that lead to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.types import int64

from .arguments import real
from .functional.creation import constant, zeros_like
from .functional.elementwise import maximum, sqrt, stop_gradient, where
from .functions import custom_gradient
from .loops import Leaves, leaves_of, while_loop
from .open_regions import called
from .ranges import count
from .synonyms import spelled
from .tensor import Tensor
from .tracing import fail, located
from .vectors import Vector, dot, minus, moved, number

__all__ = ["cg"]

Operator = Callable[[Vector], Vector]


@spelled
def cg(
    A: Any,
    b: Any,
    x0: Any = None,
    tol: float = 1e-5,
    atol: float = 0.0,
    maxiter: int | None = None,
) -> tuple[Any, Tensor]:
    """The x with A(x) = b, by conjugate gradients: (x, info).

        hessian_product = lambda v: gc.hvp(loss, w, v)
        step, _ = gc.cg(hessian_product, gc.grad(loss, w))

    A        a linear function, symmetric and positive definite, from a structure of tensors to the
             like; or a matrix [n, n]. It is applied once in every iteration, and never formed
    b        the right side: a tensor, or tensors in tuples, lists and dicts
    x0       where to begin, in b's structure; zeros
    tol      it ends where |b - A(x)| <= max(tol * |b|, atol), over all of the structure together
    maxiter  or after so many iterations; ten times the number of unknowns
    info     0 if it has come to its end by tol or atol, else maxiter, i64[]

    The gradient is that of the solution, not of the iterations: one more solution with the same A,
    for b and for whatever A reads. It is as exact as tol. Second derivatives and forward mode are
    refused.
    Raises ArgumentError, ShapeError or DTypeError where A does not give what b is.
    Source: Hestenes and Stiefel, "Methods of Conjugate Gradients" (1952); as
    scipy.sparse.linalg.cg.

    >>> A = gc.constant([[4.0, 1.0], [1.0, 3.0]])
    >>> x, info = gc.cg(A, gc.constant([1.0, 2.0]))
    >>> gc.compile(x)().round(4)
    array([0.0909, 0.6364], dtype=float32)
    """
    right = leaves_of("cg", b)
    _check_right(right)
    tol, atol = _tolerance("tol", tol), _tolerance("atol", atol)
    apply, begin = _operator(A, right), _begin(x0, right)
    most = _most(right.tensors) if maxiter is None else count(maxiter, "maxiter", "cg")
    found, info = _solved(apply, right.tensors, begin, tol, atol, most)
    fixed = [stop_gradient(x) for x in found]

    @custom_gradient
    def solution(residual: Vector) -> tuple[Vector, Callable[[Vector], Vector]]:
        """What is left over at the solution: a change of it changes the solution by A^-1."""

        def pullback(dy: Vector) -> Vector:
            # Zeros that depend on the solution, as a derivative of this gradient would: so it is
            # refused, as that of any loop without a bound. Plain zeros would give a wrong one.
            zeros = [x * 0.0 for x in found]
            return _solved(apply, dy, zeros, tol, atol, most)[0]

        return fixed, pullback

    left: Vector = minus(right.tensors, apply(fixed))
    return right.rebuild(solution(left)), stop_gradient(info)


def _most(unknowns: Vector) -> int:
    """Ten iterations for each unknown."""
    extents = [extent for tensor in unknowns for extent in tensor.node.type.shape]
    if any(isinstance(extent, str) for extent in extents):
        hint = "say how many iterations there may be: maxiter=n"
        fail(ArgumentError, "cg", "the number of unknowns has a named dimension", hint=hint)
    return 10 * max(1, sum(int(tensor.size) for tensor in unknowns))


def _solved(
    apply: Operator, b: Vector, begin: Vector, tol: float, atol: float, most: int
) -> tuple[Vector, Tensor]:
    """The solution, and 0 or the number of iterations that were not enough."""
    limit = maximum(tol * sqrt(dot(b, b)), number(atol))

    def far(square: Tensor) -> Tensor:
        return sqrt(square) > limit

    def body(carry: dict[str, Any]) -> dict[str, Any]:
        product = apply(carry["along"])
        step = carry["square"] / dot(carry["along"], product)
        residual = moved(carry["residual"], -step, product)
        square = dot(residual, residual)
        return {
            "x": moved(carry["x"], step, carry["along"]),
            "residual": residual,
            "along": moved(residual, square / carry["square"], carry["along"]),
            "square": square,
            "n": carry["n"] + 1,
        }

    residual = minus(b, apply(begin))
    ended = while_loop(
        lambda carry: far(carry["square"]) & (carry["n"] < most),
        body,
        {
            "x": begin, "residual": residual, "along": residual,
            "square": dot(residual, residual), "n": constant(0, int64),
        },
    )  # fmt: skip
    return ended["x"], where(far(ended["square"]), ended["n"], 0)


def _tolerance(name: str, value: Any) -> float:
    with located("cg"):
        number_ = real(name, value)
    if not 0.0 <= number_ < math.inf:
        fail(ArgumentError, "cg", f"{name} is a number >= 0, not {number_!r}")
    return number_


def _check_right(right: Leaves) -> None:
    if not right.tensors:
        fail(ArgumentError, "cg", "b holds no tensor")
    for tensor in right.tensors:
        if not tensor.dtype.is_float:
            fail(DTypeError, "cg", f"b is {tensor.node.type}, not floating point")


def _begin(x0: Any, right: Leaves) -> Vector:
    if x0 is None:
        return [zeros_like(b) for b in right.tensors]
    return _like(leaves_of("cg", x0), right, "x0 is")


def _operator(A: Any, right: Leaves) -> Operator:
    """A from a list of tensors to the like."""
    if not callable(A):
        matrix = leaves_of("cg", A).tensors
        (rows,) = right.tensors if len(right.tensors) == 1 else [None]
        if rows is None or rows.ndim != 1 or len(matrix) != 1 or matrix[0].ndim != 2:
            problem = f"A is a function, or with a vector b a matrix, not {described(A)}"
            fail(ArgumentError, "cg", problem)
        return lambda x: _like(leaves_of("cg", matrix[0] @ x[0]), right, "A @ x is")
    return lambda x: _like(
        leaves_of("cg", called("cg", "A", A, right.rebuild(x))), right, "A(x) is"
    )


def _like(found: Leaves, right: Leaves, what: str) -> Vector:
    """Tensors of the structure and types of b."""
    if found.paths != right.paths:
        fail(ArgumentError, "cg", f"{what} of another structure than b")
    for x, b in zip(found.tensors, right.tensors, strict=True):
        if x.node.type != b.node.type:
            kind = ShapeError if x.shape != b.shape else DTypeError
            fail(kind, "cg", f"{what} {x.node.type}, b is {b.node.type}")
    return found.tensors
