"""Building scalar expressions: interning, constant folding of indices, and affine analysis.

A `ScalarBuilder` makes equal expressions one object. Index arithmetic (int64) is simplified while
it is built, with the known range of each axis, so that a reshape of a reshape is again one affine
index; value arithmetic is left exactly as written, because every rewrite of it could change bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..types import DType, TensorType, bool_, int64
from .index_form import StripStep
from .ir import Axis, Buffer, Scalar
from .known_index import FOLDS, wrapped
from .primitives import PRIMITIVES, Primitives

Element = TypeVar("Element")
Step = int | StripStep
"""Elements from point to point of an axis."""


class ScalarBuilder(Primitives):
    """Makes and interns scalars. Every primitive is a method: `k.tanh(x)`, `k.add(x, y)`."""

    def __init__(self) -> None:
        self._interned: dict[tuple[Any, ...], Scalar] = {}
        self._constants: dict[tuple[Any, ...], Scalar] = {}

    def _make(self, op: str, args: tuple[Scalar, ...], dtype: DType, payload: Any = None) -> Scalar:
        identity = payload
        if op == "constant":
            identity = (type(payload), float(payload).hex() if dtype.is_float else int(payload))
        key = (op, args, dtype.name, identity)
        found = self._interned.get(key)
        if found is None:
            axes = frozenset((payload,)) if op == "axis" else _united([a.axes for a in args])
            reduced = (
                frozenset((payload,)) if op == "reduced" else _united([a.reduced for a in args])
            )
            found = self._interned[key] = Scalar(op, args, dtype, payload, axes, reduced)
        return found

    # -- leaves -----------------------------------------------------------------------------

    def constant(self, value: Any, dtype: DType) -> Scalar:
        """A number of the given dtype; rounded to it here, so that equal values are one scalar."""
        if type(value) not in (bool, int, float):
            return self._rounded(value, dtype)
        key = (type(value), value.hex() if type(value) is float else value, dtype.name)
        if key not in self._constants:
            self._constants[key] = self._rounded(value, dtype)
        return self._constants[key]

    def _rounded(self, value: Any, dtype: DType) -> Scalar:
        rounded = np.asarray(value).astype(dtype.numpy)
        number: Any = bool(rounded) if dtype.is_bool else rounded.item()
        if dtype.is_float:
            number = float(rounded.astype(np.float64))
        return self._make("constant", (), dtype, number)

    def index(self, value: int) -> Scalar:
        """An integer constant used as an index."""
        return self._make("constant", (), int64, int(value))

    def axis(self, axis: Axis) -> Scalar:
        return self._make("axis", (), int64, axis) if axis.moves else self.index(0)

    def counter(self, axis: Axis) -> Scalar:
        """Where a loop around the kernel stands."""
        return self._make("counter", (), int64, axis) if axis.moves else self.index(0)

    def rows(self) -> Scalar:
        """The number of samples in this batch, known at run time."""
        return self._make("rows", (), int64)

    def load(self, buffer: Buffer, index: tuple[Scalar, ...]) -> Scalar:
        return self._make("load", index, buffer.type.dtype, buffer)

    def reduced(self, name: str, dtype: DType) -> Scalar:
        return self._make("reduced", (), dtype, name)

    # -- primitives -------------------------------------------------------------------------

    def primitive(self, op: str, *args: Scalar, dtype: DType | None = None) -> Scalar:
        """Any primitive by name. `dtype` is the result's, where the operands do not say it."""
        if dtype is None:
            dtype = PRIMITIVES[op].dtypes.result([arg.dtype for arg in args])
            assert dtype is not None, f"{op} needs its dtype"
        if dtype is int64 and op in _INDEX_ARITHMETIC:
            return self._index_arithmetic(op, args[0], args[1])
        return self._make(op, args, dtype)

    def remade(self, scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        """The same operation on other operands, exactly as written: nothing is folded."""
        return self._make(scalar.op, args, scalar.dtype, scalar.payload)

    def select(self, condition: Scalar, if_true: Scalar, if_false: Scalar) -> Scalar:
        if condition.op == "constant":
            return if_true if condition.payload else if_false
        return self._make("select", (condition, if_true, if_false), if_true.dtype)

    def cast(self, x: Scalar, dtype: DType) -> Scalar:
        if x.dtype == dtype:
            return x
        if x.op == "constant" and x.dtype.is_integer and dtype.is_integer:
            return self.constant(x.payload, dtype)
        return self._make("cast", (x,), dtype)

    def bitcast(self, x: Scalar, dtype: DType) -> Scalar:
        return x if x.dtype == dtype else self._make("bitcast", (x,), dtype)

    def all_of(self, conditions: list[Scalar]) -> Scalar:
        """Conjunction; true for none."""
        wanted = [c for c in conditions if not (c.op == "constant" and c.payload)]
        result = self.constant(True, bool_)
        for number, condition in enumerate(wanted):
            result = condition if number == 0 else self._make("and", (result, condition), bool_)
        return result

    # -- index arithmetic -------------------------------------------------------------------

    def less(self, index: Scalar, limit: int) -> Scalar:
        """index < limit, folded where the range of the index decides it."""
        low, high = index_range(index)
        if high is not None and high < limit:
            return self.constant(True, bool_)
        if low is not None and low >= limit:
            return self.constant(False, bool_)
        return self._make("lt", (index, self.index(limit)), bool_)

    def at_least(self, index: Scalar, limit: int) -> Scalar:
        """index >= limit, folded where the range of the index decides it."""
        low, high = index_range(index)
        if low is not None and low >= limit:
            return self.constant(True, bool_)
        if high is not None and high < limit:
            return self.constant(False, bool_)
        return self._make("ge", (index, self.index(limit)), bool_)

    def _index_arithmetic(self, op: str, a: Scalar, b: Scalar) -> Scalar:
        if a.op == "constant" and b.op == "constant":
            return self.index(wrapped(FOLDS[op](a.payload, b.payload)))
        if a.op == "constant" and op in ("add", "mul"):
            a, b = b, a
        if b.op == "constant":
            return self._with_constant(op, a, b.payload, b)
        return self._make(op, (a, b), int64)

    def _with_constant(self, op: str, a: Scalar, c: int, b: Scalar) -> Scalar:
        if (op in ("add", "sub") and c == 0) or (op in ("mul", "floor_div") and c == 1):
            return a
        if (op == "mul" and c == 0) or (op == "mod" and c == 1):
            return self.index(0)
        if op == "sub":
            return self._with_constant("add", a, -c, self.index(-c))
        if op in ("add", "mul") and a.op == op and a.args[1].op == "constant":
            folded = wrapped(FOLDS[op](a.args[1].payload, c))
            return self._with_constant(op, a.args[0], folded, self.index(folded))
        if op in ("floor_div", "mod") and c > 0:
            simpler = self._divide(op, a, c)
            if simpler is not None:
                return simpler
        return self._make(op, (a, b), int64)

    def _divide(self, op: str, a: Scalar, c: int) -> Scalar | None:
        """a // c or a % c where the terms of `a` split into multiples of c and a small rest."""
        low, high = index_range(a)
        if low is not None and high is not None and 0 <= low and high < c:
            return self.index(0) if op == "floor_div" else a
        multiple, rest = self._split(a, c)
        if multiple is None:
            return None
        low, high = index_range(rest)
        if low is None or high is None or low // c != high // c:
            return None
        whole = self.index(low // c)  # what the rest holds of c, the same wherever it stands
        if op == "floor_div":
            return self.primitive("add", multiple, whole)
        return self.primitive("sub", rest, self.index(low // c * c))

    def _split(self, a: Scalar, c: int) -> tuple[Scalar | None, Scalar]:
        """(m, r) with a == m * c + r; m is None if no term is a multiple of c.

        A sum is split term by term, each part once, operands first: it may be long.
        """
        split: dict[Scalar, tuple[Scalar | None, Scalar]] = {}
        for part in _terms(a):
            if part.op != "add":
                split[part] = self._split_term(part, c)
                continue
            (left, left_rest), (right, right_rest) = split[part.args[0]], split[part.args[1]]
            if left is None and right is None:
                split[part] = None, part
                continue
            zero = self.index(0)
            multiple = self.primitive("add", left or zero, right or zero)
            split[part] = multiple, self.primitive("add", left_rest, right_rest)
        return split[a]

    def _split_term(self, a: Scalar, c: int) -> tuple[Scalar | None, Scalar]:
        if a.op == "mul" and a.args[1].op == "constant" and a.args[1].payload % c == 0:
            return self.primitive("mul", a.args[0], self.index(a.args[1].payload // c)), self.index(
                0
            )
        if a.op == "constant" and a.payload % c == 0 and a.payload:
            return self.index(a.payload // c), self.index(0)
        return None, a


def _united(sets: Sequence[frozenset[Element]]) -> frozenset[Element]:
    """The union; one of the sets where that holds all others, as it mostly does."""
    whole = max(sets, key=len, default=frozenset())
    return whole if all(part <= whole for part in sets) else whole.union(*sets)


def _terms(root: Scalar) -> list[Scalar]:
    """A sum and what it is a sum of, operands first, each once."""
    found: dict[Scalar, None] = {}
    stack = [(root, False)]
    while stack:
        part, done = stack.pop()
        if done or part.op != "add":
            found.setdefault(part)
        elif part not in found:
            stack.append((part, True))
            stack += [(arg, False) for arg in reversed(part.args)]
    return list(found)


_INDEX_ARITHMETIC = frozenset(["add", "sub", "mul", "floor_div", "mod"])


def index_range(index: Scalar) -> tuple[int | None, int | None]:
    """Bounds (inclusive) of an index expression; None where nothing is known."""
    return index.form.range


def coefficient(index: Scalar, axis: Axis) -> int | None:
    """d index / d axis if the index is affine in the axis, else None."""
    return index.form.steps.get(axis) if axis in index.axes else 0


def step_along(index: Scalar, axis: Axis) -> Step | None:
    """d index / d axis, or how the index steps if it is affine strip by strip; else None."""
    step = coefficient(index, axis)
    return index.form.strips.get(axis) if step is None else step


@dataclass(frozen=True)
class Context:
    """What an `Indexed` lowering sees: where it is, and how to read its operands.

    index      one int64 scalar per axis of the result
    result     the result's type, with maximum extents
    operands   the operands' types, with maximum extents
    attributes the node's attributes
    extents    the real extent of each axis of the result: a constant, or `rows` where bounded
    read       read(operand number, index) -> the element there
    operand_extents  operand_extents(operand number) -> the real extent of each of its axes
    """

    index: tuple[Scalar, ...]
    result: TensorType
    operands: tuple[TensorType, ...]
    attributes: Mapping[str, Any]
    extents: tuple[Scalar, ...]
    read: Callable[[int, tuple[Scalar, ...]], Scalar]
    operand_extents: Callable[[int], tuple[Scalar, ...]]
