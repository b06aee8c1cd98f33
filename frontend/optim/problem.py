"""What an optimizer is given: a loss, the parameters that it may change, and their gradients."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.errors import ArgumentError
from gradc.compiler.ops.loop import refuse_pullbacks
from gradc.compiler.ops.region import rebuilt
from gradc.compiler.types import float64

from .. import nodes
from ..tensor import Tensor
from ..tracing import fail, located
from ..variables import State


@dataclass(frozen=True)
class Problem:
    """A loss as a function of parameters.

    operation    in whose name errors are told
    parameters   those that the loss reads and the optimizer changes
    scale        what the loss is multiplied by while it is differentiated (loss_scale.py); None: 1
    """

    operation: str
    loss: Tensor
    parameters: Sequence[State]
    scale: Tensor | None = None

    def at(self, values: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The loss, as float64, and its gradients, where the parameters have other values.

        values   of the parameters that `gradients` names, in that order. Random numbers and all
                 that does not depend on these parameters stay as they are
        """
        given = [value.node for value in values]
        states = [parameter.node for parameter, _ in self._smooth]
        (loss,) = rebuilt([self.loss.node], dict(zip(states, given, strict=True)))
        one = nodes.constant(1.0, self.loss.dtype)
        found = vjp_nodes(loss, given, one)
        declared = self.loss.declared
        gradients = [Tensor(g, declared) for g in found if g is not None]
        return Tensor(loss, declared).astype(float64), gradients

    def gradients(self) -> list[tuple[State, Tensor]]:
        """The parameters on which the loss depends smoothly, with their gradients."""
        return self._smooth

    @functools.cached_property
    def _smooth(self) -> list[tuple[State, Tensor]]:
        one = nodes.constant(1.0, self.loss.dtype)
        slope = one if self.scale is None else self.scale.astype(self.loss.dtype).node
        with located(self.operation):
            found = vjp_nodes(self.loss.node, [p.node for p in self.parameters], slope)
            refuse_pullbacks([node for node in found if node is not None], self.operation)
        pairs = zip(self.parameters, found, strict=True)
        smooth = [(p, Tensor(g, self.loss.declared)) for p, g in pairs if g is not None]
        if not smooth:
            facts = [f"it reads {', '.join(p.name for p in self.parameters)}"]
            fail(ArgumentError, self.operation, "the loss has no slope in any parameter", facts)
        if self.scale is None:
            return smooth
        by = 1.0 / self.scale
        return [(parameter, g * by.astype(g.dtype)) for parameter, g in smooth]
