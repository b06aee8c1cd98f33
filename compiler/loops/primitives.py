"""The scalar primitives, one record each: what loop bodies are made of and back ends implement.

A record is also the method of that name of who builds expressions (build.py): `k.exp(x)`.

    arity    number of operands
    value    the reference value, in NumPy: what back ends are held to
    dtypes   which dtypes the operands may have, and which the result has
    weight   what one value costs; who schedules kernels decides by it
    exact    whether every back end gives the bits of `value`, for floats; if not, how far one may
             be off is a row of the table of accuracies in its tests, where none may be missing

`not`, `and`, `or`, `xor` are bitwise on integers, logical on bool. philox(c0, c1, c2, c3, k0, k1)
is word 0 of Philox4x32-10 for that counter and that key, unsigned words in i32.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, assert_never, cast, overload

import numpy as np

from ..errors import CompileError
from ..reference import rounding_once
from ..types import DType, bool_, int32
from .gamma_values import digamma, lgamma, zeta
from .scalar_values import (
    bitcast_array,
    cast_array,
    extremum,
    fused_multiply_add,
    in_float64,
    philox_word,
    power,
    sigmoid,
)

if TYPE_CHECKING:
    from .ir import Scalar

OfOne = Callable[["Scalar"], "Scalar"]
OfTwo = Callable[["Scalar", "Scalar"], "Scalar"]
OfThree = Callable[["Scalar", "Scalar", "Scalar"], "Scalar"]
OfSix = Callable[["Scalar", "Scalar", "Scalar", "Scalar", "Scalar", "Scalar"], "Scalar"]
Call = TypeVar("Call", bound=Callable[..., Any])
T = TypeVar("T")


class Dtypes(enum.Enum):
    """Which dtypes a primitive takes and gives. All but the last three take operands alike.

    ANY        anything, and gives the same
    FLOAT      floats, and gives the same
    INTEGER    integers, and gives the same
    BITS       integers or bools, and gives the same
    WORD       i32, and gives i32
    PREDICATE  anything, and gives bool
    SELECT     a bool and two alike, and gives what those are
    CAST       anything, and gives anything
    BITCAST    anything, and gives what has as many bits; of bool only bool
    """

    ANY = enum.auto()
    FLOAT = enum.auto()
    INTEGER = enum.auto()
    BITS = enum.auto()
    WORD = enum.auto()
    PREDICATE = enum.auto()
    SELECT = enum.auto()
    CAST = enum.auto()
    BITCAST = enum.auto()

    def fit(self, operands: Sequence[DType], result: DType) -> bool:
        """Whether a primitive takes these dtypes and gives that one."""
        first = operands[0]
        alike = all(dtype == first for dtype in operands)
        match self:
            case Dtypes.ANY:
                return alike and result == first
            case Dtypes.FLOAT:
                return alike and result == first and first.is_float
            case Dtypes.INTEGER:
                return alike and result == first and first.is_integer
            case Dtypes.BITS:
                return alike and result == first and not first.is_float
            case Dtypes.WORD:
                return alike and result == first == int32
            case Dtypes.PREDICATE:
                return alike and result == bool_
            case Dtypes.SELECT:
                return first == bool_ and operands[1] == operands[2] == result
            case Dtypes.CAST:
                return True
            case Dtypes.BITCAST:
                return first.bits == result.bits and first.is_bool == result.is_bool
            case _:
                assert_never(self)

    def result(self, operands: Sequence[DType]) -> DType | None:
        """The dtype of the result, that of the last operand or bool; None if it must be named."""
        if self in (Dtypes.CAST, Dtypes.BITCAST):
            return None
        return bool_ if self is Dtypes.PREDICATE else operands[-1]


class Weight(enum.IntEnum):
    """What a value costs beside an addition: one scale for all who decide by it.

    LIGHT   an instruction or two: memory is the larger part of a kernel made of these
    HEAVY   several, or one that takes long: a few lanes keep the machine busy
    DEAR    so many that a store and a load cost less than computing the value again
    """

    LIGHT = 1
    HEAVY = 2
    DEAR = 3


@dataclass(frozen=True, eq=False)
class Primitive(Generic[Call]):
    """One scalar primitive; see the module docstring. `Call` is the type of its method."""

    name: str
    arity: int
    value: Callable[..., Any]
    dtypes: Dtypes
    weight: Weight
    exact: bool

    @overload
    def __get__(self, builder: None, owner: type) -> Self: ...
    @overload
    def __get__(self, builder: Primitives, owner: type) -> Call: ...
    def __get__(self, builder: Primitives | None, owner: type) -> Self | Call:
        return self if builder is None else cast(Call, partial(builder.primitive, self.name))

    def evaluate(self, *arrays: Any, dtype: DType | None = None) -> Any:
        """`value` as an array of the result's dtype, 16-bit floats computed in float32.

        dtype   of the result; needed where the operands do not say it
        """
        match self.dtypes:
            case Dtypes.ANY | Dtypes.FLOAT | Dtypes.INTEGER | Dtypes.BITS | Dtypes.WORD:
                return rounding_once(self.value)(*arrays)
            case Dtypes.PREDICATE | Dtypes.SELECT:
                return np.asarray(self.value(*arrays))
            case Dtypes.CAST | Dtypes.BITCAST:
                return np.asarray(self.value(*arrays, dtype=dtype))
            case _:
                assert_never(self.dtypes)


def _exact(
    name: str, value: Callable[..., Any], dtypes: Dtypes = Dtypes.ANY, weight: Weight = Weight.LIGHT
) -> Primitive[OfOne]:
    return Primitive(name, 1, value, dtypes, weight, exact=True)


def _function(name: str, value: Callable[..., Any], weight: Weight) -> Primitive[OfOne]:
    """A function of one float that back ends approximate."""
    return Primitive(name, 1, value, Dtypes.FLOAT, weight, exact=False)


def _exact_of_two(
    name: str, value: Callable[..., Any], dtypes: Dtypes = Dtypes.ANY, weight: Weight = Weight.LIGHT
) -> Primitive[OfTwo]:
    return Primitive(name, 2, value, dtypes, weight, exact=True)


def _function_of_two(
    name: str, value: Callable[..., Any], dtypes: Dtypes, weight: Weight
) -> Primitive[OfTwo]:
    """A function that back ends approximate where its operands are floats."""
    return Primitive(name, 2, value, dtypes, weight, exact=False)


LIGHT, HEAVY, DEAR = Weight.LIGHT, Weight.HEAVY, Weight.DEAR
ANY, FLOAT, BITS = Dtypes.ANY, Dtypes.FLOAT, Dtypes.BITS
INTEGER, PREDICATE = Dtypes.INTEGER, Dtypes.PREDICATE


class Primitives:
    """Every primitive, as its record; on an object, as the method that makes an expression of it.

    A name that Python keeps for itself has an underscore after it.
    """

    add = _exact_of_two("add", np.add)
    sub = _exact_of_two("sub", np.subtract)
    mul = _exact_of_two("mul", np.multiply)
    div = _exact_of_two("div", np.divide, FLOAT, HEAVY)
    floor_div = _exact_of_two("floor_div", np.floor_divide)
    mod = _exact_of_two("mod", np.remainder, ANY, HEAVY)
    min = _exact_of_two("min", partial(extremum, "min"))
    max = _exact_of_two("max", partial(extremum, "max"))
    copysign = _exact_of_two("copysign", np.copysign, FLOAT)
    fma = Primitive[OfThree]("fma", 3, fused_multiply_add, ANY, LIGHT, exact=True)

    neg = _exact("neg", np.negative)
    abs = _exact("abs", np.abs)
    sign = _exact("sign", np.sign, ANY, HEAVY)
    floor = _exact("floor", np.floor, FLOAT, HEAVY)
    ceil = _exact("ceil", np.ceil, FLOAT, HEAVY)
    trunc = _exact("trunc", np.trunc, FLOAT, HEAVY)
    round = _exact("round", np.rint, FLOAT, HEAVY)

    sqrt = _exact("sqrt", np.sqrt, FLOAT)
    exp = _function("exp", np.exp, DEAR)
    exp2 = _function("exp2", np.exp2, DEAR)
    expm1 = _function("expm1", np.expm1, DEAR)
    log = _function("log", np.log, DEAR)
    log2 = _function("log2", np.log2, DEAR)
    log10 = _function("log10", np.log10, DEAR)
    log1p = _function("log1p", np.log1p, DEAR)
    sin = _function("sin", np.sin, DEAR)
    cos = _function("cos", np.cos, DEAR)
    tan = _function("tan", np.tan, DEAR)
    asin = _function("asin", np.arcsin, DEAR)
    acos = _function("acos", np.arccos, DEAR)
    atan = _function("atan", np.arctan, DEAR)
    sinh = _function("sinh", np.sinh, DEAR)
    cosh = _function("cosh", np.cosh, DEAR)
    tanh = _function("tanh", np.tanh, DEAR)
    asinh = _function("asinh", np.arcsinh, DEAR)
    acosh = _function("acosh", np.arccosh, DEAR)
    atanh = _function("atanh", np.arctanh, DEAR)
    erf = _function("erf", in_float64(math.erf), DEAR)
    erfc = _function("erfc", in_float64(math.erfc), DEAR)
    sigmoid = _function("sigmoid", sigmoid, DEAR)
    lgamma = _function("lgamma", lgamma, DEAR)
    digamma = _function("digamma", digamma, DEAR)

    pow = _function_of_two("pow", power, ANY, HEAVY)
    atan2 = _function_of_two("atan2", np.arctan2, FLOAT, HEAVY)
    zeta = _function_of_two("zeta", zeta, FLOAT, DEAR)
    hypot = _function_of_two("hypot", np.hypot, FLOAT, LIGHT)

    isnan = _exact("isnan", np.isnan, PREDICATE)
    isinf = _exact("isinf", np.isinf, PREDICATE)
    isfinite = _exact("isfinite", np.isfinite, PREDICATE)
    eq = _exact_of_two("eq", np.equal, PREDICATE)
    ne = _exact_of_two("ne", np.not_equal, PREDICATE)
    lt = _exact_of_two("lt", np.less, PREDICATE)
    le = _exact_of_two("le", np.less_equal, PREDICATE)
    gt = _exact_of_two("gt", np.greater, PREDICATE)
    ge = _exact_of_two("ge", np.greater_equal, PREDICATE)

    and_ = _exact_of_two("and", np.bitwise_and, BITS)
    or_ = _exact_of_two("or", np.bitwise_or, BITS)
    xor = _exact_of_two("xor", np.bitwise_xor, BITS)
    not_ = _exact("not", np.bitwise_not, BITS)
    shl = _exact_of_two("shl", np.left_shift, INTEGER)
    shr = _exact_of_two("shr", np.right_shift, INTEGER)
    philox = Primitive[OfSix]("philox", 6, philox_word, Dtypes.WORD, HEAVY, exact=True)

    def primitive(self, op: str, *args: Scalar) -> Scalar:
        """The primitive of this name on these operands."""
        raise NotImplementedError


SELECT = Primitive[OfThree]("select", 3, np.where, Dtypes.SELECT, LIGHT, exact=True)
CAST = Primitive[OfOne]("cast", 1, cast_array, Dtypes.CAST, LIGHT, exact=True)
BITCAST = Primitive[OfOne]("bitcast", 1, bitcast_array, Dtypes.BITCAST, LIGHT, exact=True)
"""These three have methods of their own in build.py, which fold, or need a dtype."""


def _by_name() -> Mapping[str, Primitive[Any]]:
    found: dict[str, Primitive[Any]] = {p.name: p for p in (SELECT, CAST, BITCAST)}
    for attribute, record in vars(Primitives).items():
        if isinstance(record, Primitive):
            assert attribute.removesuffix("_") == record.name not in found
            found[record.name] = record
    return MappingProxyType(found)


PRIMITIVES: Mapping[str, Primitive[Any]] = _by_name()


def every_primitive(back_end: str, table: Mapping[str, T]) -> Mapping[str, T]:
    """The table of a back end's primitives; CompileError if one is missing or unknown."""
    missing, unknown = PRIMITIVES.keys() - table.keys(), table.keys() - PRIMITIVES.keys()
    if missing or unknown:
        facts = [f"it lacks {', '.join(sorted(missing))}"] if missing else []
        facts += [f"there is no {', '.join(sorted(unknown))}"] if unknown else []
        problem = "the scalar primitives are not those of compiler/loops/primitives.py"
        raise CompileError(problem, operation=f"back end {back_end}", facts=facts)
    return MappingProxyType(dict(table))
