"""Rewriting a kernel: rules for its scalars, buffers and stores, applied everywhere in it.

In: a kernel, and functions that say what becomes of its parts. Out: the kernel with every part
replaced that a rule replaces; itself if none replaced anything.

Nothing else changes: whatever a record of loops/ir.py holds that no rule is about, orders and
schedules included, is kept as it is. A rule sees a scalar whose operands are rewritten already, as
a rule of `Graph.rewrite` sees a node. Every scalar is rewritten once, in all loops together, so
what two loops share they share afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .ir import Buffer, Kernel, Loop, Reduction, Scalar, Store, walk

ScalarRule = Callable[[Scalar, tuple[Scalar, ...]], Scalar]
"""What a scalar becomes, given what its operands became."""

Record = TypeVar("Record", Kernel, Loop, Reduction, Store)


def rewrite_kernel(
    kernel: Kernel,
    *,
    scalar: ScalarRule | None = None,
    buffer: Callable[[Buffer], Buffer] | None = None,
    store: Callable[[Store], Store] | None = None,
) -> Kernel:
    """The kernel after these rules; see the module docstring.

    scalar  sees each scalar with its buffer replaced, and the operands that it has now. Without
            this rule a scalar is made again where its operands or its buffer changed
    buffer  sees the buffer of every load and of every store
    store   sees each store with its buffer, index and value replaced
    """
    return Rewriting(scalar, buffer, store).kernel(kernel)


@dataclass(eq=False)
class Rewriting:
    """Rules, and what they have made of the scalars seen so far; for loops one by one."""

    scalar_rule: ScalarRule | None = None
    buffer_rule: Callable[[Buffer], Buffer] | None = None
    store_rule: Callable[[Store], Store] | None = None
    _seen: set[Scalar] = field(default_factory=set)
    _became: dict[Scalar, Scalar] = field(default_factory=dict)
    _made: dict[tuple[Any, ...], Scalar] = field(default_factory=dict)

    def value(self, root: Scalar) -> Scalar:
        """What an expression becomes."""
        return self._value(root)

    def kernel(self, kernel: Kernel) -> Kernel:
        when = self._optional(kernel.when)
        return _with(kernel, when=when, loops=tuple(map(self.loop, kernel.loops)))

    def loop(self, loop: Loop) -> Loop:
        between = loop.between and (self._value(loop.between[0]), self._value(loop.between[1]))
        reductions = tuple(map(self._reduction, loop.reductions))
        stores = tuple(map(self._store, loop.stores))
        return _with(loop, between=between, reductions=reductions, stores=stores)

    def _reduction(self, reduction: Reduction) -> Reduction:
        return _with(reduction, value=self._value(reduction.value))

    def _store(self, store: Store) -> Store:
        index = tuple(map(self._value, store.index))
        value = self._value(store.value)
        counting, buffer = self._optional(store.counting), self._buffer(store.buffer)
        result = _with(store, buffer=buffer, index=index, value=value, counting=counting)
        return result if self.store_rule is None else self.store_rule(result)

    def _optional(self, root: Scalar | None) -> Scalar | None:
        return None if root is None else self._value(root)

    def _buffer(self, buffer: Buffer) -> Buffer:
        return buffer if self.buffer_rule is None else self.buffer_rule(buffer)

    def _value(self, root: Scalar) -> Scalar:
        became = self._became
        for scalar in walk(root, self._seen):
            args = tuple([became[arg] for arg in scalar.args])
            payload = scalar.payload
            if scalar.op == "load":
                payload = self._buffer(payload)
            if self.scalar_rule is None:
                became[scalar] = self._placed(scalar, args, payload)
            else:
                became[scalar] = self.scalar_rule(remade(scalar, scalar.args, payload), args)
        return became[root]

    def _placed(self, scalar: Scalar, args: tuple[Scalar, ...], payload: Any) -> Scalar:
        """The same operation on these operands; equal ones are one object, as a builder has it."""
        if not args and payload is scalar.payload:
            return scalar
        key = (scalar.op, args, scalar.dtype.name, payload)
        if key not in self._made:
            self._made[key] = remade(scalar, args, payload)
        return self._made[key]


def remade(scalar: Scalar, args: tuple[Scalar, ...], payload: Any) -> Scalar:
    """The scalar where nothing but buffers differs: it varies along the same axes."""
    if args == scalar.args and payload is scalar.payload:  # scalars are equal if they are the same
        return scalar
    return Scalar(scalar.op, args, scalar.dtype, payload, scalar.axes, scalar.reduced)


def _with(record: Record, **fields: Any) -> Record:
    """The record with these fields; itself if it has them already. All others are kept."""
    changed = {n: value for n, value in fields.items() if not _same(getattr(record, n), value)}
    return replace(record, **changed) if changed else record


def _same(old: Any, new: Any) -> bool:
    """Whether two fields are one object, or tuples of the same objects."""
    if isinstance(old, tuple):
        return len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))
    return old is new
