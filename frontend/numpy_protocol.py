"""What NumPy's functions do with a tensor: operators work, the rest names our function.

array * x       NumPy asks the tensor, which builds the product
np.exp(x)       an error that says: write gc.exp(x)
array *= x      an error: an array cannot hold a tensor
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from gradc.compiler.errors import DTypeError

from .spellings import NAMESPACES
from .tracing import fail

# ufunc -> the tensor's method where it stands left, and where it stands right
OPERATORS = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "true_divide": ("__truediv__", "__rtruediv__"),
    "floor_divide": ("__floordiv__", "__rfloordiv__"),
    "remainder": ("__mod__", "__rmod__"),
    "power": ("__pow__", "__rpow__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "bitwise_and": ("__and__", "__rand__"),
    "bitwise_or": ("__or__", "__ror__"),
    "bitwise_xor": ("__xor__", "__rxor__"),
    "left_shift": ("__lshift__", "__rlshift__"),
    "right_shift": ("__rshift__", "__rrshift__"),
    "equal": ("__eq__", "__eq__"),
    "not_equal": ("__ne__", "__ne__"),
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
}

_METHODS = {
    ("add", "reduce"): "sum",
    ("multiply", "reduce"): "prod",
    ("maximum", "reduce"): "max",
    ("minimum", "reduce"): "min",
    ("logical_and", "reduce"): "all",
    ("logical_or", "reduce"): "any",
    ("add", "accumulate"): "cumulative_sum",
    ("multiply", "accumulate"): "cumulative_prod",
    ("maximum", "accumulate"): "cummax",
    ("minimum", "accumulate"): "cummin",
    ("multiply", "outer"): "outer",
}


def refuse_numpy(
    name: str, method: str, given: Sequence[Any], options: Mapping[str, Any]
) -> NoReturn:
    """The error for a function of NumPy that is given a tensor."""
    if "out" in options and name in OPERATORS:
        hint = "write a = a + x in place of a += x"
        fail(DTypeError, f"np.{name}", "an array cannot hold a tensor's values", hint=hint)
    called = f"np.{name}" if method in ("", "__call__") else f"np.{name}.{method}"
    is_method = method not in ("", "__call__")
    ours = _METHODS.get((name, method), "") if is_method else name
    arguments = "x" if given and hasattr(given[0], "node") else "..."
    hint = "compile the tensor and give NumPy the result"
    if ours in getattr(sys.modules.get("gradc"), "__all__", ()):
        hint = f"write gc.{ours}({arguments})"
    elif not is_method:
        hint = NAMESPACES["gradc"].get(name, hint)
    fail(DTypeError, called, "NumPy's functions do not take a tensor", hint=hint)
