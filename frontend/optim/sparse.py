"""Adam for tables of which a step reads few rows: the others are neither read nor written.

The gradient of a table that is read by numbers adds terms to zeros, each to the row of its number.
Which rows these are is part of the graph, so that no other kind of gradient is needed for them; an
update of the form where(touched, new, old) is what the compiler leaves out elsewhere
(compiler/passes/touch_rows.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError
from gradc.compiler.graph.ir import Literal, Node
from gradc.compiler.ops.arithmetic import DIV, MUL
from gradc.compiler.ops.comparison import WHERE
from gradc.compiler.ops.definition import Elementwise
from gradc.compiler.ops.indexing import INDEX_ADD
from gradc.compiler.ops.source import CONSTANT
from gradc.compiler.types import int32

from .. import nodes
from ..functional.creation import ones, zeros
from ..functional.elementwise import sqrt, where
from ..functional.gather import index_add
from ..tensor import Tensor
from ..tracing import fail
from .adam import check_moments, corrections
from .optimizer import Optimizer, Rate, Slot, signed

__all__ = [
    "SparseAdam",
]


@dataclass(frozen=True)
class SparseAdam(Optimizer):
    """Adam of the rows whose numbers the step has read; all others keep value and means.

        m = beta1 * m + (1 - beta1) * g      v = beta2 * v + (1 - beta2) * g * g
        p = p - lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps)

    t counts steps from 1, whatever rows they touched; eps is added before the correction, other
    than in Adam. A step costs what the rows that it touches cost, and one look at a count for each
    of the others. Its parameters are tables that are read by row number alone, by gc.embedding,
    gc.embedding_bag or gc.take. The others of a model have another optimizer:

        gc.training([(loss, optim.SparseAdam(lr=1e-3), "table.*"), (loss, optim.Adam(), "head.*")])

    Raises ArgumentError, when the program is made, for a parameter that is read in another way.
    Source: as torch.optim.SparseAdam.

    >>> words = gc.input("words", (2,), gc.int32)
    >>> table = gc.parameter("table", (4, 2), init=gc.init.ones)
    >>> program = gc.training(gc.sum(gc.embedding(words, table)), optim.SparseAdam(lr=0.5))
    >>> trainer = program.compile()
    >>> step = trainer.step(words=[1, 3])
    >>> trainer.parameters["table"].round(2).tolist()
    [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0], [0.5, 0.5]]
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    maximize: bool = False

    def __post_init__(self) -> None:
        self.require(self.accumulate == 1, "accumulate= has no meaning: steps touch other rows")
        check_moments(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        touched = _touched(slot.parameter.name, gradient)
        (beta1, beta2), g = self.betas, signed(gradient, self.maximize)
        parameter, mean, square = slot.parameter, slot.state("exp_avg"), slot.state("exp_avg_sq")
        new_mean = mean + (1.0 - beta1) * (g - mean)
        new_square = square + (1.0 - beta2) * (g * g - square)
        correction1, correction2 = corrections(self.betas, slot)
        rate = slot.number(slot.wide(self.lr) * sqrt(correction2) / correction1)
        moved = parameter - rate * (new_mean / (sqrt(new_square) + slot.divisor_eps(self.eps)))
        slot.set(mean, where(touched, new_mean, mean))
        slot.set(square, where(touched, new_square, square))
        return where(touched, moved, parameter)


def _touched(name: str, gradient: Tensor) -> Tensor:
    """Whether a row has a term in the gradient: bool, in the gradient's shape."""
    scatters: list[Node] = []
    rest = _elsewhere(gradient.node, scatters, {})
    axes: set[Any] = {node.attributes["axis"] for node in scatters}
    if not _is_zero(rest) or len(axes) != 1:
        facts = [f"{name} is {gradient.node.type}"]
        hint = f"a table is read by gc.embedding or gc.take alone; train {name} by optim.Adam"
        problem = f"the gradient of {name} is dense: more than rows by number is read of it"
        fail(ArgumentError, "SparseAdam", problem, facts, hint)
    (axis,) = axes
    counts = zeros(gradient.shape[axis], int32)
    for node in scatters:
        index = Tensor(node.inputs[1], gradient.declared)
        counts = index_add(counts, 0, index, ones(index.shape, int32))
    flags = counts > 0
    wide = nodes.spread(flags.node, gradient.shape, (axis,))
    return Tensor(wide, gradient.declared)


def _elsewhere(node: Node, scatters: list[Node], known: dict[Node, Any]) -> Any:
    """What the elements of a gradient are to which no scatter adds; None if that is not known.

    scatters   gets the scatters onto zeros that the gradient is made of
    known      answers so far
    """
    if node in known:
        return known[node]
    known[node] = None
    if node.op is CONSTANT:
        value = node.attributes["value"]
        known[node] = None if isinstance(value, Literal) else np.asarray(value)
    elif node.op is INDEX_ADD:
        base = _elsewhere(node.inputs[0], scatters, known)
        if base is not None and base == 0:
            scatters.append(node)
            known[node] = base
    elif isinstance(node.op.lowering, Elementwise):
        values = [_elsewhere(operand, scatters, known) for operand in node.inputs]
        known[node] = _combined(node, values)
    return known[node]


def _combined(node: Node, values: list[Any]) -> Any:
    """The result of an elementwise operation, of operands that may not be known."""
    if node.op in (MUL, DIV) and (_is_zero(values[0]) or (node.op is MUL and _is_zero(values[1]))):
        return np.zeros((), node.type.dtype.numpy)
    if node.op is WHERE and values[0] is not None:
        return values[1] if values[0] else values[2]
    if any(value is None for value in values):
        return None
    with np.errstate(all="ignore"):
        return np.asarray(node.op.evaluate(*values, **node.attributes))


def _is_zero(value: Any) -> bool:
    return value is not None and bool(value == 0)
