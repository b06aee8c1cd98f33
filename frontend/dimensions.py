"""Named dimensions as a type of their own: `x.shape[0]` of a tensor f32[batch, 784].

A Dimension equals its name and hashes like it, so that it goes wherever a name goes: in a shape
(`gc.zeros((x.shape[0], 3))`), in `gc.arange(x.shape[0])`, as a key of `dims=`. In arithmetic with
tensors, and in divisions, it is a number that the program reads when it runs:
`x.sum(0) / x.shape[0]`. What Python would have to know now (`x.shape[0] * 2`, `range(x.shape[0])`,
`x.shape[0] > 1`) raises ShapeError.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NoReturn

from gradc.compiler.errors import CallError, ShapeError
from gradc.compiler.types import Extent, Shape, static_shape

from .numpy_protocol import OPERATORS
from .tracing import fail

_AS_TENSOR = "gc.asarray(x.shape[axis]) is the number as a tensor"


class Size(int):
    """A number of elements that says what to write when it is called as PyTorch's method."""

    def __call__(self, *axes: Any) -> NoReturn:
        hint = "x.shape[axis] is the extent of an axis" if axes else "write x.shape or x.size"
        fail(CallError, "size", "the size of a tensor is a number, not a method", hint=hint)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


def element_count(shape: Shape) -> Size:
    """The number of elements of a shape. Raises ShapeError while a named dimension is left."""
    for axis, extent in enumerate(shape):
        if isinstance(extent, str):
            problem = f"the number of elements depends on the named dimension {str(extent)!r}"
            hint = (
                "an extent is x.shape[axis]; gc.sum(gc.ones(x.shape)) counts elements at run time"
            )
            if axis == 0 and len(shape) > 1:
                hint += "; x.reshape(x.shape[0], -1) merges the axes behind it"
            fail(ShapeError, "size", problem, [f"the shape is {_listed(shape)}"], hint)
    return Size(math.prod(static_shape(shape)))


def _listed(shape: Shape) -> str:
    return f"[{', '.join(map(str, shape))}]"


class Dimension(str):
    """The name of a dimension that gets its value when arrays are given."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Operators of NumPy's arrays and numbers are those here; its functions are refused."""
        if method == "__call__" and ufunc.__name__ in OPERATORS and len(inputs) == 2:
            place = 1 if inputs[1] is self else 0
            found = getattr(self, OPERATORS[ufunc.__name__][place])(inputs[1 - place])
            return ufunc.__name__ == "not_equal" if found is NotImplemented else found
        self._no_number(f"np.{ufunc.__name__}", _AS_TENSOR)

    def _no_number(self, operation: str, hint: str) -> NoReturn:
        problem = f"the named dimension {str(self)!r} has no value before the program runs"
        fail(ShapeError, operation, problem, hint=hint)

    def __truediv__(self, other: Any) -> Any:
        return NotImplemented if hasattr(other, "node") else _divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _divide(other, self)

    def __int__(self) -> NoReturn:
        self._no_number("int", _AS_TENSOR)

    def __float__(self) -> NoReturn:
        self._no_number("float", _AS_TENSOR)

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


class NamedShape(tuple[Extent, ...]):
    """A shape with names. NumPy would read these as text; what it cannot compute so is refused."""

    __slots__ = ()

    def __array_function__(
        self, function: Any, types: Any, given: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        """Called by NumPy's functions, `np.prod(x.shape)`."""
        plain = [tuple(g) if isinstance(g, NamedShape) else g for g in given]
        try:
            return function(*plain, **options)
        except TypeError:
            problem = f"the shape {_listed(self)} has no values before the program runs"
            hint = "gc.sum(gc.ones(x.shape)) counts elements then; " + _AS_TENSOR
            fail(ShapeError, f"np.{function.__name__}", problem, hint=hint)


def with_dimensions(shape: Shape) -> Shape:
    """The shape with its names as dimensions."""
    if not any(isinstance(e, str) for e in shape):
        return shape
    return NamedShape(Dimension(e) if isinstance(e, str) else e for e in shape)
