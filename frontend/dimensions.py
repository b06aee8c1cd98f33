"""Named dimensions as a type of their own: `x.shape[0]` of a tensor f32[batch, 784].

A Dimension equals its name and hashes like it, so that it goes wherever a name goes: in a shape
(`gc.zeros((x.shape[0], 3))`), in `gc.arange(x.shape[0])`, as a key of `dims=`. In arithmetic with
tensors, and in divisions, it is a number that the program reads when it runs:
`x.sum(0) / x.shape[0]`. What Python would have to know now (`x.shape[0] * 2`, `range(x.shape[0])`,
`x.shape[0] > 1`) raises ShapeError.
"""

from __future__ import annotations

import sys
from typing import Any, NoReturn

from gradc.compiler.errors import CallError, ShapeError
from gradc.compiler.types import Shape

from .tracing import fail


class Size(int):
    """A number of elements that says what to write when it is called as PyTorch's method."""

    def __call__(self, *axes: Any) -> NoReturn:
        hint = "x.shape[axis] is the extent of an axis" if axes else "write x.shape or x.size"
        fail(CallError, "size", "the size of a tensor is a number, not a method", hint=hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


class Dimension(str):
    """The name of a dimension that gets its value when arrays are given."""

    __slots__ = ()
    __array_ufunc__ = None  # NumPy arrays leave their operators to the methods here

    def _no_number(self, operation: str, hint: str) -> NoReturn:
        problem = f"the named dimension {str(self)!r} has no value before the program runs"
        fail(ShapeError, operation, problem, hint=hint)

    def __truediv__(self, other: Any) -> Any:
        return NotImplemented if hasattr(other, "node") else _divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _divide(other, self)

    def __int__(self) -> NoReturn:
        self._no_number("int", "gc.asarray(x.shape[axis]) is the number as a tensor")

    def __float__(self) -> NoReturn:
        self._no_number("float", "gc.asarray(x.shape[axis]) is the number as a tensor")

    def __iter__(self) -> NoReturn:
        self._no_number("iter", "gc.arange(x.shape[axis]) counts in a tensor")

    def __index__(self) -> NoReturn:
        self._no_number("index", "gc.arange(x.shape[axis]) counts in a tensor")


def _divide(x: Any, y: Any) -> Any:
    """A tensor; the functions are above this module and are found when they are there."""
    return sys.modules["gradc.functional"].divide(x, y)


def _refusing(operation: str) -> Any:
    def refused(self: Dimension, other: Any = None, *rest: Any) -> Any:
        if hasattr(other, "node"):  # a tensor, whose own method takes the dimension
            return NotImplemented
        hint = "gc.asarray(x.shape[axis]) is a tensor to compute with"
        if operation in ("mul", "rmul"):
            hint = "x.reshape(-1, n) merges axes; " + hint
        self._no_number(operation.removeprefix("r") if other is not None else operation, hint)

    return refused


for _name in (
    "add", "radd", "sub", "rsub", "mul", "rmul", "floordiv", "rfloordiv", "mod", "rmod", "pow",
    "rpow", "divmod", "rdivmod", "neg", "pos", "abs", "lt", "le", "gt", "ge", "round",
    "matmul", "rmatmul", "and", "rand", "or", "ror", "xor", "rxor", "lshift", "rshift",
):  # fmt: skip
    setattr(Dimension, f"__{_name}__", _refusing(_name))


def refuse_named(operation: str, axis: int, extent: str) -> NoReturn:
    """Raise ShapeError for an operation that must know the extent of an axis now."""
    problem = f"axis {axis} is the named dimension {str(extent)!r}"
    hint = "declare the input with an integer extent there: gc.input(name, (8, ...))"
    fail(ShapeError, operation, problem, hint=hint)


def with_dimensions(shape: Shape) -> Shape:
    """The shape with its names as dimensions."""
    return tuple(Dimension(e) if isinstance(e, str) else e for e in shape)
