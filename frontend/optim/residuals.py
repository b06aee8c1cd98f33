"""Residuals: numbers whose sum of squares is to be least, as a function of parameters."""

from __future__ import annotations

from collections.abc import Sequence

from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.errors import ArgumentError
from gradc.compiler.ops.region import rebuilt

from .. import nodes
from ..functional.creation import eye
from ..functional.elementwise import stop_gradient
from ..functional.factors import solve_triangular, tall_factors
from ..functional.manipulation import concat
from ..tensor import Tensor
from ..tracing import fail
from ..transforms import jvp
from ..variables import State
from ..vectors import Vector
from .flat import Flat
from .problem import Problem


class Residuals:
    """The residuals of a step.

    parameters  those of the problem that they depend on smoothly
    values      the residuals where the parameters are, one after the other: r [m]
    """

    def __init__(self, operation: str, residuals: Tensor, problem: Problem) -> None:
        self.tensor = residuals
        states = [parameter.node for parameter in problem.parameters]
        ones = nodes.constant(1.0, residuals.dtype, residuals.node.type.shape)
        slopes = vjp_nodes(residuals.node, states, ones)
        pairs = zip(problem.parameters, slopes, strict=True)
        self.parameters: list[State] = [p for p, slope in pairs if slope is not None]
        if not self.parameters:
            facts = [f"the loss reads {', '.join(p.name for p in problem.parameters)}"]
            fail(ArgumentError, operation, "the residuals have no slope in any parameter", facts)
        self.flat = Flat(self.parameters)
        self.values = self._joined(residuals)

    def _joined(self, tensor: Tensor) -> Tensor:
        return tensor.reshape(-1).astype(self.flat.dtype)

    def _elsewhere(self, values: Sequence[Tensor]) -> Tensor:
        states = [parameter.node for parameter in self.parameters]
        given = dict(zip(states, (value.node for value in values), strict=True))
        return Tensor(rebuilt([self.tensor.node], given)[0], self.tensor.declared)

    def at(self, values: Sequence[Tensor]) -> Tensor:
        """The residuals where the parameters have other values."""
        return self._joined(self._elsewhere(values))

    def slopes(self) -> Tensor:
        """The derivative in each number of the parameters, as rows: [n, m]."""
        parameters = list(self.parameters)
        return self.flat.rows(lambda v: self._joined(jvp(self.tensor, parameters, v)))

    def curvature(self, direction: Vector) -> Tensor:
        """The second derivative along a direction, which stays where it is: [m]."""
        parameters, fixed = list(self.parameters), [stop_gradient(d) for d in direction]
        return self._joined(jvp(jvp(self.tensor, parameters, fixed), parameters, fixed))


class Columns:
    """A matrix of as many rows as columns or more in its orthogonal factors.

    They solve least squares without squaring the matrix, so that half of its digits are not lost.
    Source: Golub and Van Loan, "Matrix Computations" (2013), section 5.3.3.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.q, self.r = tall_factors(matrix)

    def along(self, b: Tensor) -> Tensor:
        """What of b lies in the span of the columns, in their orthonormal basis."""
        return b @ self.q

    def nearest(self, b: Tensor) -> Tensor:
        """The x for which matrix @ x is nearest to b."""
        return solve_triangular(self.r, self.along(b)[:, None], upper=True)[:, 0]

    def damped(self, diagonal: Tensor) -> Columns:
        """r, and below it a diagonal matrix."""
        below = eye(int(diagonal.shape[0]), dtype=diagonal.dtype) * diagonal
        return Columns(concat([self.r, below]))
