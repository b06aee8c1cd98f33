"""Penalties on weights, to be added to a loss: L1, L2 and both.

    loss = gc.cross_entropy(net(x), labels) + gc.l2_penalty(net, 1e-4)

Of a module, the weights alone are counted: parameters of two or more axes. Biases, and the scales
and shifts of normalisations, have one; nothing is gained by keeping these small. A list says itself
what is counted.

A penalty is a part of the loss, which is reported and differentiated. The optimizers'
`weight_decay` is not: it is added to gradients, and with `decoupled_weight_decay=True`, or in
AdamW, to the update itself, where Adam does not divide it by the size of the gradients (Loshchilov
and Hutter, "Decoupled Weight Decay Regularization", 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, described
from gradc.compiler.types import float32, float64
from gradc.runtime.plain_number import as_real

from . import functional as fn
from .synonyms import spelled
from .tensor import Tensor
from .tracing import fail


@spelled
def l1_penalty(parameters: Any, factor: Any) -> Tensor:
    """factor * the sum of |w| over all weights: many of them become nearly 0.

    parameters  a module, of which weights alone are counted; a parameter, or a list of parameters
    factor      a number >= 0, or a scalar tensor
    result      a scalar, in float32 or, where any weight is, in float64

    >>> net = nn.Linear(3, 1, weight_init=gc.init.constant(-2.0))
    >>> gc.compile(gc.l1_penalty(net, 0.5))()
    array(3., dtype=float32)

    The slope at 0 is 0. Raises ArgumentError for what is no parameter, and for a module without
    weights. Source: Tibshirani, "Regression Shrinkage and Selection via the Lasso" (1996).
    """
    return _factor(factor, "l1_penalty") * _total(parameters, fn.abs, "l1_penalty")


@spelled
def l2_penalty(parameters: Any, factor: Any) -> Tensor:
    """factor * the sum of w^2 over all weights; the gradient is 2 * factor * w.

    parameters, factor, result   as of `l1_penalty`

    With SGD as weight_decay=2 * factor of these weights.

    >>> net = nn.Linear(3, 1, weight_init=gc.init.constant(-2.0))
    >>> gc.compile(gc.l2_penalty(net, 0.5))()
    array(6., dtype=float32)

    Source: Hoerl and Kennard, "Ridge Regression" (1970).
    """
    return _factor(factor, "l2_penalty") * _total(parameters, fn.square, "l2_penalty")


@spelled
def elastic_penalty(parameters: Any, l1: Any, l2: Any) -> Tensor:
    """l1 * the sum of |w| + l2 * the sum of w^2 over all weights.

    parameters, result   as of `l1_penalty`
    l1, l2               numbers >= 0, or scalar tensors

    >>> net = nn.Linear(3, 1, weight_init=gc.init.constant(-2.0))
    >>> gc.compile(gc.elastic_penalty(net, 0.5, 0.25))()
    array(6., dtype=float32)

    Source: Zou and Hastie, "Regularization and Variable Selection via the Elastic Net" (2005).
    """
    name = "elastic_penalty"
    weighted = (_factor(l1, name, "l1"), fn.abs), (_factor(l2, name, "l2"), fn.square)
    first, second = (factor * _total(parameters, size, name) for factor, size in weighted)
    return first + second


def _total(parameters: Any, size: Callable[[Any], Any], operation: str) -> Tensor:
    """The sum of the sizes of all numbers."""
    weights = _weights(parameters, operation)
    dtype = float64 if any(weight.dtype is float64 for weight in weights) else float32
    first, *more = (fn.sum(size(weight.astype(dtype))) for weight in weights)
    for part in more:
        first = first + part
    return first


def _weights(parameters: Any, operation: str) -> list[Tensor]:
    """What is counted."""
    if hasattr(parameters, "named_parameters") and not isinstance(parameters, type):
        found = [p for _, p in parameters.named_parameters() if p.ndim >= 2]
        if not found:
            problem = "this module has no parameter of two or more axes"
            fail(ArgumentError, operation, problem, hint="write a list of what is to be small")
        return found
    no_list = (Tensor, np.ndarray, str, bytes, Mapping, type)
    is_list = isinstance(parameters, Iterable) and not isinstance(parameters, no_list)
    listed = list(parameters) if is_list else [parameters]
    if not listed:
        fail(ArgumentError, operation, "the list of parameters is empty")
    for entry in listed:
        if not isinstance(entry, Tensor) or not entry.dtype.is_float:
            what = entry.node.type if isinstance(entry, Tensor) else described(entry)
            problem = f"a penalty is on a module or on parameters, not on {what}"
            fail(ArgumentError, operation, problem)
    return listed


def _factor(value: Any, operation: str, name: str = "factor") -> Any:
    """A number that is not negative, or a scalar tensor."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value
    number = as_real(value)
    if number is None or not number >= 0:
        problem = f"{name} is a number >= 0 or a scalar tensor, not {described(value)}"
        fail(ArgumentError, operation, problem)
    return number
