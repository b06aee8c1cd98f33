"""One row of slopes_table.py: a function's operands, its value there and its slopes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

INF = math.inf
NAN = math.nan
PI = math.pi
LN_2 = math.log(2.0)
BIG = 1000.0
S20 = 1 / (1 + math.exp(-20.0))


@dataclass(frozen=True)
class Case:
    """Operands; the value; per operand its slope, or None for one that is given as a constant.

    options     keywords, the same for the function and for the module of that meaning
    """

    operands: Sequence[Any]
    value: Any
    slopes: Sequence[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    cotangent: Any = None


def unary(x: list[float], value: list[float], slope: list[float], **options: Any) -> Case:
    return Case((x,), value, (slope,), options)


def binary(a: Any, b: Any, value: Any, da: Any, db: Any, **options: Any) -> Case:
    return Case((a, b), value, (da, db), options)


def loss(*operands: Any, value: Any, slopes: Sequence[Any], **options: Any) -> Case:
    return Case(operands, value, slopes, {"reduction": "none", **options})
