"""Picking the rows of a minibatch out of a data set, by sample number.

`sample(data, order)` has row order[i] of `data` at row i. The order comes from the runtime, which
vouches for its range, so unlike `take` there is no clamping; it is part of the training loop, not
of the DSL, and no gradient flows to a data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError
from ..graph.ir import Node, apply
from ..types import TensorType, int64
from .definition import NO_DERIVATIVE, NO_FLAGS, Indexed, OpDef, per_element

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

SAMPLES = "samples"
"""The dimension of a data set: no address depends on it, and it stays open."""

ORDER = "gradc.order"
"""The input that holds the sample numbers of a minibatch."""


def _infer(data: TensorType, order: TensorType) -> TensorType:
    if order.dtype != int64 or order.rank != 1:
        raise DTypeError(f"sample numbers are i64[batch], not {order}")
    return data.with_shape(order.shape + data.shape[1:])


def _evaluate(data: np.ndarray[Any, Any], order: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return data[order]


def _lower(k: ScalarBuilder, context: Context) -> Scalar:
    row = context.read(1, context.index[:1])
    return context.read(0, (row, *context.index[1:]))


SAMPLE = OpDef(
    name="sample",
    operands=("data", "order"),
    attributes={},
    infer=_infer,
    evaluate=_evaluate,
    gradient=NO_DERIVATIVE,
    lowering=Indexed(_lower),
    cost=per_element(flops=0),
    flags=NO_FLAGS,
)


def sample(data: Node, order: Node) -> Node:
    """Rows `order` (i64[batch]) of `data` [samples, ...]: [batch, ...]."""
    return apply(SAMPLE, data, order)
