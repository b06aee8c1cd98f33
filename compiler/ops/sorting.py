"""Sorting: the positions of elements in order, and places in what is in order already.

    argsort       x {axis, descending, count} -> i64   positions along an axis, that of the least
                                                       element first; the first `count` of them
    searchsorted  table, values {right} -> i64         how many elements of the table's last axis
                                                       are less than a value, or not greater if
                                                       `right`; axes before the last are those with
                                                       which the values begin

        x       [3, 1, nan, 1]       argsort  [1, 3, 0, 2]           descending  [2, 0, 1, 3]
        table   [1, 3, 3]            searchsorted of [3]  [1]        right       [3]

The order is NumPy's: NaN are equal to each other and greater than any number, -0.0 equals 0.0,
false is less than true. Equal elements stay as they come, in descending order too. What is sorted
is read at these positions by `take_along_axis`, and so has its gradient.

`argsort` is made of what follows, and of other operations:

    sort_keys     x {descending} -> i32 | i64          integers that are in order where elements
                                                       are; i64 for dtypes of 64 bits
    radix_order   keys {axis, bits} -> i64             their positions in order, found digit by
                                                       digit (lowering/radix.py)

* Up to MOST_COMPARED elements are compared, each with each: a place is how many come before.
* Of far more elements than are asked for, those `count` blocks of neighbours are looked through
  that have the least elements: no other element can be among the first.
* All others are sorted by their digits.

Whichever way is taken, the result is the same: equal elements differ in where they stand, so there
is one order. Along a named dimension there are as many elements as rows at run time.
Source: sorting by digits, the last first, as in Knuth, The Art of Computer Programming, volume 3
(1998), section 5.2.5; integers that are in the order of floats as in Herf, Radix Tricks (2001).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..reference import is_half
from ..types import DType, TensorType, dtype_of, int8, int16, int32, int64
from .arithmetic import add, mul
from .broadcast import broadcast, sum_
from .comparison import and_, cast, eq, lt, or_
from .definition import (
    NO_FLAGS,
    ZERO_DERIVATIVE,
    Composed,
    Indexed,
    OpDef,
    RadixOrder,
    elementwise,
    per_element,
    per_operand_element,
)
from .form import Kind, Optional
from .indexing import scatter_add, take_along_axis
from .movement import reshape
from .reduction import min_
from .slicing import clamped, pad, slice_
from .source import constant, iota, zeros_like

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

Array = np.ndarray[Any, Any]

MOST_COMPARED = 64
"""4,096 rows of 32 are compared in 1.5 ms, sorted by digits in 4.5; of 64 in 5.4 and 7.3; of 128 in
30 and 11.5."""

FEWEST_IN_BLOCKS = 128
"""Fewer elements are sorted as they are. The first 10 in 4,096 rows of 256 take 9.8 ms by blocks,
20.4 with all of the row sorted."""

MOST_LOOKED_THROUGH = 2
"""What is sorted in place of all elements is at most this part of them: a half."""

MOST_ELEMENTS = 2**31 - 1
"""Of one axis: a position has half of the bits of an i64 beside a key."""


# -- argsort --------------------------------------------------------------------------------


def _argsort_type(
    x: TensorType, axis: int, descending: bool = False, count: int | None = None
) -> TensorType:
    _check_sorted(x, axis)
    extent = x.shape[axis]
    if count is None:
        return x.with_dtype(int64)
    if isinstance(extent, str):
        problem = f"axis {axis} has a named dimension, of which {count} elements may not be there"
        raise ShapeError(problem, facts=[f"operand is {x}"])
    if not 0 <= count <= extent:
        raise ShapeError(f"there are no {count} elements along axis {axis} of {x}")
    return x.with_dtype(int64).with_shape((*x.shape[:axis], count, *x.shape[axis + 1 :]))


def _check_sorted(x: TensorType, axis: int) -> None:
    if not 0 <= axis < x.rank:
        raise ShapeError(f"axis {axis} is out of range for {x}")
    extent = x.shape[axis]
    if isinstance(extent, int) and extent > MOST_ELEMENTS:
        raise ShapeError(f"{extent} elements are sorted along axis {axis}, at most {MOST_ELEMENTS}")


def _argsort_value(
    x: Array, axis: int, descending: bool = False, count: int | None = None
) -> Array:
    exact = x.astype(np.float32) if is_half(x) else x
    if descending:  # equal elements stay as they come where all run backwards twice
        order = np.argsort(np.flip(exact, axis), axis=axis, kind="stable")
        order = exact.shape[axis] - 1 - np.flip(order, axis)
    else:
        order = np.argsort(exact, axis=axis, kind="stable")
    kept = (*(slice(None),) * axis, slice(count))
    return order[kept].astype(np.int64)


def _written(x: Node, axis: int, descending: bool = False, count: int | None = None) -> Node:
    keys = sort_keys(x, descending)
    return _first(keys, axis, x.type.dtype.bits, count)


def _first(keys: Node, axis: int, bits: int, count: int | None) -> Node:
    """Positions of the first keys in order, or of all."""
    extent = keys.type.shape[axis]
    if count is None or isinstance(extent, str):
        return _order(keys, axis, bits)
    size = _block_size(extent, count)
    if size is not None:
        return _first_in_blocks(keys, axis, bits, count, size)
    shape = (*keys.type.shape[:axis], count, *keys.type.shape[axis + 1 :])
    return slice_(_order(keys, axis, bits), (0,) * len(shape), (1,) * len(shape), shape)


def _block_size(extent: int, count: int) -> int | None:
    """Into blocks of how many elements an axis is cut; None if it is not."""
    if extent < FEWEST_IN_BLOCKS or count == 0:
        return None
    size = 2 ** max(1, round(math.log2(extent / count) / 2))
    looked_through = -(-extent // size) + count * size
    return size if looked_through * MOST_LOOKED_THROUGH <= extent else None


def _first_in_blocks(keys: Node, axis: int, bits: int, count: int, size: int) -> Node:
    """Positions of the first keys, all of which are in `count` of the blocks.

    A key that is among the first has fewer than `count` before it, so its block has fewer than
    `count` blocks before it, in the order of their least keys. Equal keys are in the order of their
    positions, and so are the blocks that hold them.
    """
    before, after = keys.type.shape[:axis], keys.type.shape[axis + 1 :]
    extent = keys.type.shape[axis]
    assert isinstance(extent, int)
    blocks = -(-extent // size)
    nowhere = (0,) * keys.type.rank
    behind = tuple(blocks * size - extent if a == axis else 0 for a in range(keys.type.rank))
    greatest = constant(2 ** (bits - 1) - 1, keys.type.dtype)
    whole = pad(keys, greatest, nowhere, behind, nowhere)
    least = min_(reshape(whole, (*before, blocks, size, *after)), (axis + 1,))
    chosen = _first(least, axis, bits, count)
    numbers = cast(chosen, int32)
    chosen = take_along_axis(chosen, _order(numbers, axis, int32.bits), axis)
    split = (*before, count, size, *after)
    kept = tuple(a for a in range(len(split)) if a != axis + 1)
    starts = mul(chosen, constant(size, int64, chosen.type.shape))
    places = add(broadcast(starts, split, kept), iota(split, axis + 1, int64))
    places = reshape(places, (*before, count * size, *after))
    found = _first(take_along_axis(whole, places, axis), axis, bits, count)
    return take_along_axis(places, found, axis)


def _order(keys: Node, axis: int, bits: int) -> Node:
    """Positions of all keys in order."""
    extent = keys.type.shape[axis]
    if isinstance(extent, int) and extent <= MOST_COMPARED:
        return _compared(keys, axis)
    return radix_order(keys, axis, bits)


def _compared(keys: Node, axis: int) -> Node:
    """Positions of the keys: each is put where as many places are before it as keys are."""
    shape = keys.type.shape
    pairs = (*shape[:axis], shape[axis], *shape[axis:])
    own = broadcast(keys, pairs, tuple(a for a in range(len(pairs)) if a != axis + 1))
    other = broadcast(keys, pairs, tuple(a for a in range(len(pairs)) if a != axis))
    earlier = lt(iota(pairs, axis + 1, int32), iota(pairs, axis, int32))
    comes_before = or_(lt(other, own), and_(eq(other, own), earlier))
    place = sum_(cast(comes_before, int32), (axis + 1,))
    positions = iota(shape, axis, int64)
    return scatter_add(zeros_like(positions), place, positions, axis)


def _argsort_cost(result: TensorType, x: TensorType, **attributes: Any) -> float:
    """About what a comparison sort of each row would take."""
    extent = x.shape[attributes["axis"]]
    return float(x.size_elements * math.log2(max(2, int(extent))))


ARGSORT = OpDef(
    name="argsort",
    operands=("x",),
    attributes={
        "axis": Kind.INTEGER,
        "descending": Optional(Kind.FLAG),
        "count": Optional(Kind.INTEGER),
    },
    infer=_argsort_type,
    evaluate=_argsort_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Composed(_written),
    cost=_argsort_cost,
    flags=NO_FLAGS,
)


def argsort(x: Node, axis: int, descending: bool = False, count: int | None = None) -> Node:
    """Positions of the elements in order; see the module docstring."""
    said: dict[str, Any] = {"descending": True} if descending else {}
    if count is not None:
        said["count"] = count
    return apply(ARGSORT, x, axis=axis, **said)


# -- keys -----------------------------------------------------------------------------------

_OF_BITS: dict[int, DType] = {8: int8, 16: int16, 32: int32, 64: int64}


def _key_dtype(dtype: DType) -> DType:
    return int64 if dtype.bits == 64 else int32


def _sort_keys_type(x: TensorType, descending: bool = False) -> TensorType:
    return x.with_dtype(_key_dtype(x.dtype))


def _sort_keys_value(x: Array, descending: bool = False) -> Array:
    dtype = dtype_of(x.dtype)
    if dtype.is_float:
        signed = np.asarray(x + np.zeros((), x.dtype)).view(_OF_BITS[dtype.bits].numpy)
        greatest = np.iinfo(signed.dtype).max
        keys = np.where(np.isnan(x), greatest, np.where(signed < 0, signed ^ greatest, signed))
    else:
        keys = x.astype(_key_dtype(dtype).numpy) - _middle(dtype)
    keys = keys.astype(_key_dtype(dtype).numpy)
    return ~keys if descending else keys


def _middle(dtype: DType) -> int:
    """What is taken from numbers without a sign, so that as many keys are below 0 as are not."""
    return 0 if dtype.kind == "int" else 2 ** (dtype.bits - 1)


def _sort_keys_body(k: ScalarBuilder, x: Scalar, *, descending: bool = False) -> Scalar:
    """Of a float its bits, which are in order where it is positive; the others are turned round.

    Adding 0.0 makes one zero of two.
    """
    dtype, result = x.dtype, _key_dtype(x.dtype)
    if dtype.is_float:
        own = _OF_BITS[dtype.bits]
        greatest = k.constant(2 ** (dtype.bits - 1) - 1, own)
        signed = k.bitcast(k.add(x, k.constant(0.0, dtype)), own)
        sign = k.shr(signed, k.constant(dtype.bits - 1, own))
        key = k.select(k.isnan(x), greatest, k.xor(signed, k.and_(sign, greatest)))
        key = k.cast(key, result)
    else:
        key = k.cast(x, result)
        if _middle(dtype):
            key = k.sub(key, k.constant(_middle(dtype), result))
    return k.not_(key) if descending else key


SORT_KEYS = OpDef(
    name="sort_keys",
    operands=("x",),
    attributes={"descending": Optional(Kind.FLAG)},
    infer=_sort_keys_type,
    evaluate=_sort_keys_value,
    gradient=ZERO_DERIVATIVE,
    lowering=elementwise(_sort_keys_body),
    cost=per_element(6),
    flags=NO_FLAGS,
)


def sort_keys(x: Node, descending: bool = False) -> Node:
    """Integers that are in order where the elements are; see the module docstring."""
    return apply(SORT_KEYS, x, descending=True) if descending else apply(SORT_KEYS, x)


def _radix_order_type(keys: TensorType, axis: int, bits: int) -> TensorType:
    _check_sorted(keys, axis)
    if keys.dtype not in (int32, int64):
        raise DTypeError(f"keys are i32 or i64, not {keys}")
    if not 1 <= bits <= keys.dtype.bits:
        raise ShapeError(f"of keys that are {keys}, {bits} bits do not count")
    return keys.with_dtype(int64)


def _radix_order_value(keys: Array, axis: int, bits: int) -> Array:
    """By the numbers that the last `bits` bits are, as they are in two's complement."""
    dropped = keys.dtype.itemsize * 8 - bits
    counted = (keys << dropped) >> dropped
    return np.argsort(counted, axis=axis, kind="stable").astype(np.int64)


RADIX_ORDER = OpDef(
    name="radix_order",
    operands=("keys",),
    attributes={"axis": Kind.INTEGER, "bits": Kind.INTEGER},
    infer=_radix_order_type,
    evaluate=_radix_order_value,
    gradient=ZERO_DERIVATIVE,
    lowering=RadixOrder(lambda *, axis, bits: axis, lambda *, axis, bits: bits),
    cost=per_operand_element(16),
    flags=NO_FLAGS,
)


def radix_order(keys: Node, axis: int, bits: int) -> Node:
    """Positions of keys in order, of which so many bits count; see the module docstring."""
    return apply(RADIX_ORDER, keys, axis=axis, bits=bits)


# -- searchsorted ---------------------------------------------------------------------------


def _searchsorted_type(table: TensorType, values: TensorType, right: bool = False) -> TensorType:
    facts = [f"table is {table}", f"values are {values}"]
    if table.dtype != values.dtype:
        raise DTypeError("table and values differ in dtype", facts=facts)
    if table.rank == 0:
        raise ShapeError("the table has no axis", facts=facts)
    if table.shape[:-1] != values.shape[: table.rank - 1]:
        problem = "values begin with other axes than those before the table's last"
        raise ShapeError(problem, facts=facts)
    return values.with_dtype(int64)


def _searchsorted_value(table: Array, values: Array, right: bool = False) -> Array:
    if is_half(table):
        table, values = table.astype(np.float32), values.astype(np.float32)
    found = np.empty(values.shape, np.int64)
    for row in np.ndindex(table.shape[:-1]):
        found[row] = np.searchsorted(table[row], values[row], "right" if right else "left")
    return found


def _searchsorted_body(k: ScalarBuilder, context: Context) -> Scalar:
    """The place is made of powers of two, the greatest first: each is added if the element before
    the place then comes before the value."""
    row, value = context.index[: context.operands[0].rank - 1], context.read(1, context.index)
    *_, extent = context.operand_extents(0)
    (most,) = context.operands[0].shape[-1:]
    assert isinstance(most, int)
    place = k.index(0)
    for step in (1 << n for n in reversed(range(most.bit_length()))):
        reached = k.add(place, k.index(step))
        at = clamped(k, k.add(place, k.index(step - 1)), extent)
        passed = _comes_before(k, context.read(0, (*row, at)), value, context.attributes)
        inside = k.all_of([k.primitive("le", reached, extent), passed])
        place = k.select(inside, reached, place)
    return place


def _comes_before(k: ScalarBuilder, element: Scalar, value: Scalar, said: Any) -> Scalar:
    """Whether the place of the value is behind an element."""
    if said.get("right"):
        return k.not_(_is_less(k, value, element))
    return _is_less(k, element, value)


def _is_less(k: ScalarBuilder, x: Scalar, y: Scalar) -> Scalar:
    less = k.primitive("lt", x, y)
    if not x.dtype.is_float:
        return less
    return k.or_(less, k.and_(k.isnan(y), k.not_(k.isnan(x))))


def _searchsorted_cost(
    result: TensorType, table: TensorType, values: TensorType, right: bool = False
) -> float:
    """A few operations for each bit of a place."""
    return 4.0 * values.size_elements * int(table.shape[-1]).bit_length()


SEARCHSORTED = OpDef(
    name="searchsorted",
    operands=("table", "values"),
    attributes={"right": Optional(Kind.FLAG)},
    infer=_searchsorted_type,
    evaluate=_searchsorted_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Indexed(_searchsorted_body),
    cost=_searchsorted_cost,
    flags=NO_FLAGS,
)


def searchsorted(table: Node, values: Node, right: bool = False) -> Node:
    """Places of values in a table that is in order; see the module docstring."""
    said: dict[str, Any] = {"right": True} if right else {}
    return apply(SEARCHSORTED, table, values, **said)
