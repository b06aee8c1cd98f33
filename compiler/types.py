"""Element types, tensor types, named dimensions, broadcasting and promotion.

    type   ::= dtype "[" [ extent { "," extent } ] "]"        f32[batch, 784]
             | "(" [ type { "," type } ] ")"                  (f32[4], i64[])
    dtype  ::= f64 | f32 | f16 | bf16 | i64 | i32 | i16 | i8 | u8 | bool
    extent ::= integer | name { "*" name } [ "*" integer ]      a name is a named dimension

A named dimension is an extent that is fixed later: `specialize` replaces it by an integer, or it
stays, and the program then gets its value at run time (`rows`), bounded by a static maximum.
A product with names, `batch*128`, is what merging axes gives; names stand in it in alphabetical
order, each once, so that two extents are the same if they are the same integer or the same text.
An operation whose result extent would be a sum with a name raises ShapeError.

Promotion follows the Python Array API (2023.12, section "Type promotion rules") and, between
kinds, where the Array API leaves it open, integers yield to floating point types of any width.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import ml_dtypes
import numpy as np

from .errors import DTypeError, ShapeError, VerifyError, described

Extent = int | str
Shape = tuple[Extent, ...]


@dataclass(frozen=True, eq=False)
class DType:
    """One element type. `kind` is "float", "int", "uint" or "bool".

    It equals NumPy's dtype and type of the same elements, and its own name, as NumPy's dtypes do.
    """

    name: str
    short: str
    kind: str
    bits: int
    numpy: np.dtype[Any]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other or self.name == other.name
        if isinstance(other, str):
            return other in (self.name, self.short)
        is_numpy = isinstance(other, np.dtype) or (
            isinstance(other, type) and issubclass(other, np.generic)
        )
        return self.numpy == other if is_numpy else NotImplemented

    def __hash__(self) -> int:
        return hash(self.numpy)

    @property
    def size_bytes(self) -> int:
        """Bytes of one element in memory; a bool takes one byte."""
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @property
    def is_bool(self) -> bool:
        return self.kind == "bool"

    def __repr__(self) -> str:
        return f"gradc.{self.name}"

    def __str__(self) -> str:
        return self.short


float64 = DType("float64", "f64", "float", 64, np.dtype(np.float64))
float32 = DType("float32", "f32", "float", 32, np.dtype(np.float32))
float16 = DType("float16", "f16", "float", 16, np.dtype(np.float16))
bfloat16 = DType("bfloat16", "bf16", "float", 16, np.dtype(ml_dtypes.bfloat16))
int64 = DType("int64", "i64", "int", 64, np.dtype(np.int64))
int32 = DType("int32", "i32", "int", 32, np.dtype(np.int32))
int16 = DType("int16", "i16", "int", 16, np.dtype(np.int16))
int8 = DType("int8", "i8", "int", 8, np.dtype(np.int8))
uint8 = DType("uint8", "u8", "uint", 8, np.dtype(np.uint8))
bool_ = DType("bool", "bool", "bool", 1, np.dtype(np.bool_))

DTYPES = (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool_)
DTYPE_WITH_SHORT = {dtype.short: dtype for dtype in DTYPES}


def dtype_of(value: Any) -> DType:
    """The DType meant by a DType, a NumPy dtype or type, or a name. Raises DTypeError."""
    if isinstance(value, DType):
        return value
    if isinstance(value, str):
        for dtype in DTYPES:
            if value in (dtype.name, dtype.short):
                return dtype
    if value is bool or value is int or value is float:
        return {bool: bool_, int: int64, float: float64}[value]
    wanted = None
    if isinstance(value, (str, type, np.dtype)):  # NumPy reads None as float64, lists as records
        with warnings.catch_warnings(), contextlib.suppress(TypeError, ValueError, SyntaxError):
            warnings.simplefilter("ignore")  # old aliases, as "a" for bytes
            wanted = np.dtype(value)
    for dtype in DTYPES:
        if wanted is not None and dtype.numpy == wanted:
            return dtype
    known = ", ".join(d.name for d in DTYPES)
    facts = [f"known dtypes: {known}"]
    if isinstance(value, int):  # x.sum(0, 1), gc.zeros(2, 3)
        facts.append("several axes or extents are one argument: (0, 1)")
    raise DTypeError(f"unknown dtype {described(value)}", facts=facts)


@dataclass(frozen=True)
class TensorType:
    """The type of one tensor: element type and logical shape."""

    dtype: DType
    shape: Shape

    @property
    def rank(self) -> int:
        return len(self.shape)

    @cached_property
    def is_static(self) -> bool:
        """Whether every extent is an integer."""
        return all(isinstance(extent, int) for extent in self.shape)

    @cached_property
    def size_elements(self) -> int:
        """Number of elements. Raises ShapeError while a named dimension is left."""
        return math.prod(static_shape(self.shape))

    @property
    def size_bytes(self) -> int:
        return self.size_elements * self.dtype.size_bytes

    @property
    def parts(self) -> tuple[TensorType, ...]:
        """The types of all results of an operation of this type: this one."""
        return (self,)

    def with_shape(self, shape: Iterable[Extent]) -> TensorType:
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{self.dtype.short}[{', '.join(map(str, self.shape))}]"


class TupleType(TensorType):
    """The type of an operation with several results, which the operation `result` alone reads.

    It is no tensor, and has neither dtype nor shape: to ask for them raises VerifyError. It stands
    among the tensor types because all nodes but these few have one, and whoever reads a node's
    shape may count on it.
    """

    _parts: tuple[TensorType, ...]

    def __init__(self, parts: Iterable[TensorType]) -> None:
        object.__setattr__(self, "_parts", tuple(parts))

    @property
    def parts(self) -> tuple[TensorType, ...]:
        return self._parts

    def __getattr__(self, name: str) -> NoReturn:
        """Called for what the object does not have, a dtype and a shape among it."""
        if name in ("dtype", "shape"):
            raise VerifyError(f"{self} is the type of several results; it has no {name}")
        raise AttributeError(f"a TupleType has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TupleType) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.parts))})"

    def __repr__(self) -> str:
        return f"TupleType({self.parts!r})"


def static_shape(shape: Shape) -> tuple[int, ...]:
    """The shape as integers. Raises ShapeError while a named dimension is left."""
    for extent in shape:
        if not isinstance(extent, int):
            raise ShapeError(f"dimension {extent!r} has no value yet; specialize it first")
    return shape  # type: ignore[return-value]


class Factors(NamedTuple):
    """An extent as a product: names of dimensions in alphabetical order, and an integer."""

    names: tuple[str, ...]
    number: int


def factors(extent: Extent) -> Factors:
    """The names and the integer that an extent is the product of."""
    return Factors((), extent) if isinstance(extent, int) else _parsed(str(extent))


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> Factors:
    parts = text.split("*")
    names = tuple(part for part in parts if not part.isdecimal())
    return Factors(names, math.prod(int(part) for part in parts if part.isdecimal()))


def product(extents: Iterable[Extent]) -> Extent:
    """The extent of axes made one. Raises ShapeError where a name would be in it twice."""
    names: list[str] = []
    number = 1
    for extent in extents:
        own = factors(extent)
        names += own.names
        number *= own.number
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ShapeError(f"an extent cannot hold the named dimension {twice!r} twice")
    if not names or number == 0:
        return number
    return "*".join([*sorted(names), *([str(number)] if number != 1 else [])])


def bind_extent(extent: Extent, dims: Mapping[str, int]) -> Extent:
    """The extent with every name in `dims` replaced by its value."""
    if isinstance(extent, int):
        return extent
    own = factors(extent)
    if not any(name in dims for name in own.names):
        return extent
    return product([*(dims.get(name, name) for name in own.names), own.number])


def bind_shape(shape: Shape, dims: Mapping[str, int]) -> Shape:
    """The shape with every dimension named in `dims` replaced by its value."""
    return tuple(bind_extent(extent, dims) for extent in shape)


def at_rows(shape: Shape, rows: int) -> tuple[int, ...]:
    """The shape where the one dimension that is left has `rows`."""
    return tuple(own.number * (rows if own.names else 1) for own in map(factors, shape))


def normalize_axis(axis: int, rank: int, operation: str = "") -> int:
    """A non-negative axis, counting from the end where `axis` is negative."""
    if not isinstance(axis, (int, np.integer)) or isinstance(axis, bool):
        problem = f"an axis is an integer, not {described(axis)}"
        raise DTypeError(problem, operation=operation)
    if not -rank <= axis < rank:
        problem = f"axis {described(axis)} is out of range for rank {rank}"
        raise ShapeError(problem, operation=operation)
    return int(axis) % rank if rank else 0


def normalize_axes(axis: Any, rank: int, operation: str = "") -> tuple[int, ...]:
    """Sorted non-negative axes from None (all), an integer or a sequence. Refuses duplicates."""
    if axis is None:
        return tuple(range(rank))
    given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(sorted(normalize_axis(a, rank, operation) for a in given))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"an axis is named twice in {given}", operation=operation)
    return axes


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The common shape of all, right-aligned; an extent of 1 stretches. Raises ShapeError."""
    rank = max((len(s) for s in shapes), default=0)
    result: list[Extent] = [1] * rank
    for shape in shapes:
        for position, extent in enumerate(shape, start=rank - len(shape)):
            if result[position] == 1:
                result[position] = extent
            elif extent not in (1, result[position]):
                listed = " and ".join(f"[{', '.join(map(str, s))}]" for s in shapes)
                raise ShapeError(
                    f"shapes {listed} do not broadcast",
                    facts=[f"extents {result[position]} and {extent} meet, and neither is 1"],
                )
    return tuple(result)


_SIGNED_WITH_BITS = {8: int8, 16: int16, 32: int32, 64: int64}


def promote(*dtypes: DType) -> DType:
    """The dtype that holds a result of operands with these dtypes (Array API rules)."""
    if not dtypes:
        raise DTypeError("promotion needs at least one dtype")
    return functools.reduce(_promote_pair, dtypes)


def _promote_pair(a: DType, b: DType) -> DType:
    if a == b or b.is_bool:
        return a
    if a.is_bool:
        return b
    if a.is_float and b.is_float:
        if a.bits == b.bits:  # float16 with bfloat16: neither holds the other
            return float32
        return a if a.bits > b.bits else b
    if a.is_float or b.is_float:
        return a if a.is_float else b
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    return signed if signed.bits > unsigned.bits else _SIGNED_WITH_BITS[unsigned.bits * 2]


def weak_dtype(scalar: bool | int | float, like: DType) -> DType:
    """The dtype that a Python scalar takes beside a tensor of dtype `like`: it never widens it."""
    if isinstance(scalar, (bool, np.bool_)):
        return bool_ if like.is_bool else like
    if isinstance(scalar, (int, np.integer)):
        return int64 if like.is_bool else like
    return like if like.is_float else float32
