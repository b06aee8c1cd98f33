"""Scan: a loop over slices of operands that carries values from one iteration to the next.

    scan(carries, xs, captures){body, carries, xs, reverse} -> (carries, ys)

    carries   values before the first iteration, of any types
    xs        at least one, each with a leading axis whose extent is the number of iterations, n
    captures  what the body reads whole in every iteration
    body      takes the carries, element t of each of xs, and the captures; it gives the new
              carries, of unchanged types, and the elements t of ys
    ys        of shape [n, ...] each
    reverse   t runs from n - 1 down to 0 instead; xs and ys keep their order

The numbers of carries and xs are attributes; the rest of the operands are captures. A loop that
reads no sequence scans over an `iota`, and one that wants to know t reads it from there. Where n is
0 the carries are as they were given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..graph.ir import Graph
from ..types import TensorType, TupleType, static_shape
from .definition import NO_FLAGS, OpDef, RegionRule, Scan
from .form import Kind
from .region import RegionValue, check_equal, check_region, region_cost, result_types
from .scan_gradient import scan_gradient


@dataclass(frozen=True)
class Parts:
    """Operands, inputs of the body, or their types, as carries, xs and captures."""

    carries: tuple[Any, ...]
    xs: tuple[Any, ...]
    captures: tuple[Any, ...]


def split(values: Sequence[Any], carries: int, xs: int) -> Parts:
    """The parts of the operands of a scan with so many carries and xs."""
    given = tuple(values)
    return Parts(given[:carries], given[carries : carries + xs], given[carries + xs :])


def element_of(type: TensorType) -> TensorType:
    """The type of one slice along the leading axis."""
    return type.with_shape(type.shape[1:])


def _scan_type(
    *operands: TensorType, body: Graph, carries: int, xs: int, reverse: bool
) -> TensorType:
    if carries < 0 or xs < 1 or carries + xs > len(operands):
        raise ArgumentError(f"{carries} carries and {xs} xs of {len(operands)} operands")
    parts = split(operands, carries, xs)
    for type in parts.xs:
        if not type.rank:
            raise ShapeError(f"what is scanned has a leading axis, not {type}")
        if type.shape[0] != parts.xs[0].shape[0]:
            facts = [f"{n}: {x}" for n, x in enumerate(parts.xs)]
            raise ShapeError("what is scanned differs in the leading extent", facts=facts)
    elements = tuple(map(element_of, parts.xs))
    check_region("body", body, (*parts.carries, *elements, *parts.captures))
    found = result_types(body)
    if len(found) < carries:
        raise ArgumentError(f"body gives {len(found)} values, there are {carries} carries")
    for number, (before, after) in enumerate(zip(parts.carries, found, strict=False)):
        check_equal(f"carry {number} that body gives", after, before, "it began as")
    length = parts.xs[0].shape[0]
    stacks = tuple(type.with_shape((length, *type.shape)) for type in found[carries:])
    return TupleType(parts.carries + stacks)


def _scan_value(
    *operands: Any, body: RegionValue, carries: int, xs: int, reverse: bool
) -> list[Any]:
    parts = split(operands, carries, xs)
    length = parts.xs[0].shape[0]
    state: list[Any] = list(parts.carries)
    rows: list[list[Any]] = []
    for t in reversed(range(length)) if reverse else range(length):
        found = body.call(*state, *(x[t] for x in parts.xs), *parts.captures)
        state = found[:carries]
        rows.append(found[carries:])
    if not length:
        stacks = [type.with_shape((0, *type.shape)) for type in body.types[carries:]]
        return [*state, *(np.zeros(static_shape(s.shape), s.dtype.numpy) for s in stacks)]
    if reverse:
        rows.reverse()
    return [*state, *(np.stack(column) for column in zip(*rows, strict=True))]


def _scan_cost(
    type: TensorType, *operands: TensorType, body: Graph, carries: int, xs: int, reverse: bool
) -> float:
    (length,) = static_shape(split(operands, carries, xs).xs[0].shape[:1])
    return length * region_cost(body)


SCAN = OpDef(
    name="scan",
    operands=("*operands",),
    attributes={
        "body": Kind.REGION,
        "carries": Kind.INTEGER,
        "xs": Kind.INTEGER,
        "reverse": Kind.FLAG,
    },
    infer=_scan_type,
    evaluate=_scan_value,
    gradient=RegionRule(scan_gradient),
    lowering=Scan(),
    cost=_scan_cost,
    flags=NO_FLAGS,
)
