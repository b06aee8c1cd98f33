"""Public functions that are one record of the catalogue: what follows from the record needs no row.

The tables of the tests over all functions say what a record does not: a function that is one
elementwise operation on its operands, and no more, is found here by calling it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import gradc as gc
from gradc import functional
from gradc.compiler.ops.definition import Elementwise, OpDef


def own_functions(module: Any) -> set[str]:
    """The public functions of a module, each by the name that it was defined with."""
    public = {name: getattr(module, name) for name in module.__all__}
    return {n for n, f in public.items() if inspect.isfunction(f) and f.__name__ == n}


def operands_of(function: Any) -> list[str]:
    """The names of the operands, or nothing where a function takes anything else."""
    parameters = inspect.signature(function).parameters.values()
    plain = all(p.annotation == "TensorLike" and p.default is p.empty for p in parameters)
    return [p.name for p in parameters] if plain else []


def record_of(function: Any) -> OpDef | None:
    """The elementwise operation that the function is; None for a composition."""
    for dtype in (gc.float64, gc.int64):
        operands = [gc.input(name, (2,), dtype) for name in operands_of(function)]
        if not operands:
            return None
        try:
            result = function(*operands)
        except gc.GradcError:
            continue
        if not isinstance(result, gc.Tensor):
            return None
        node = result.node
        if isinstance(node.op.lowering, Elementwise):
            if list(node.inputs) == [operand.node for operand in operands]:
                return node.op
    return None


_FUNCTIONS = {n: getattr(gc, n) for n in sorted(own_functions(functional))}
_RECORDS = {name: record_of(function) for name, function in _FUNCTIONS.items()}
RECORDS = {name: record for name, record in _RECORDS.items() if record is not None}


def records(operands: int) -> tuple[str, ...]:
    """The functions of so many operands that are one record."""
    return tuple(n for n in RECORDS if len(operands_of(_FUNCTIONS[n])) == operands)


NUMPY_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "atan2": "arctan2", "round": "rint", "pow": "power",
    "bitwise_invert": "invert", "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
}  # fmt: skip


def numpy_function(name: str) -> Callable[..., Any] | None:
    """NumPy's function of that meaning, if it has one."""
    return getattr(np, NUMPY_NAMES.get(name, name), None)
