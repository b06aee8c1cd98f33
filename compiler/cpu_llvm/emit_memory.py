"""The emitter's memory operations: addresses, loads, stores, masks, gathers.

Addresses are typed by the element, never by the vector, and vectors are aligned to one element
unless the caller knows more. In memory a bool is one byte, 0 or 1; in a register it is i1.

Masked intrinsics are written as LLVM 20 and 21 want them, the alignment an operand; LLVM 22 reads
that too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..artifact import LINE_BYTES
from .emit_values import ValueEmitter
from .values import SIZE_BYTES, Operand, Value, constant, mangled, vector_type


class MemoryEmitter(ValueEmitter):
    """Operations that read, write or compute addresses."""

    def gep(
        self, pointer: Value, index: Operand, element_type: str, inbounds: bool = True
    ) -> Value:
        """Address of element `index`; a vector of indices gives a vector of addresses.

        Constant steps from one base are folded into one offset from it, in bytes. An address that
        may lie outside its buffer, for lanes that a mask switches off, needs inbounds=False.
        """
        at = self.operand(index, "i64")
        if at.integer is not None:
            return self._offset(pointer, at.integer * SIZE_BYTES[element_type], inbounds)
        memory = _in_memory(element_type)
        text = f"getelementptr{' inbounds' if inbounds else ''} {memory}, {pointer}, {at}"
        return self.emit(text, "ptr", max(pointer.lanes, at.lanes))

    def _offset(self, pointer: Value, offset_bytes: int, inbounds: bool) -> Value:
        known = self._addresses
        base, before = known.get(pointer.name, (pointer, 0))
        total = before + offset_bytes
        if total == 0:
            return base
        if offset_bytes == 0:
            return pointer
        word = "getelementptr inbounds" if inbounds else "getelementptr"
        result = self.emit(f"{word} i8, {base}, i64 {total}", "ptr", base.lanes)
        known[result.name] = (base, total)
        return result

    def load(
        self,
        scalar: str,
        pointer: Value,
        lanes: int = 1,
        align: int | None = None,
        suffix: str = "",
    ) -> Value:
        """`lanes` consecutive elements; `align` in bytes, one element if None.

        suffix: text behind the alignment, as ", !invariant.load !0".
        """
        memory = _in_memory(scalar)
        aligned = align or SIZE_BYTES[scalar]
        kind = vector_type(memory, lanes)
        value = self.emit(f"load {kind}, {pointer}, align {aligned}{suffix}", memory, lanes)
        return self._from_memory(value, scalar)

    def store(
        self,
        value: Value,
        pointer: Value,
        align: int | None = None,
        nontemporal: bool = False,
    ) -> None:
        """Write all lanes to consecutive elements. `nontemporal` asks for a streaming store."""
        aligned = align or SIZE_BYTES[value.type]
        hint = ", !nontemporal !0" if nontemporal else ""
        self.raw(f"store {self._to_memory(value)}, {pointer}, align {aligned}{hint}")

    def strided_load(
        self, scalar: str, pointer: Value, step: int, lanes: int, mask: Value | None = None
    ) -> Value:
        """Every `step`-th element, from the first on: whole vectors, of which lanes are picked.

        Nothing is read behind the last element, where the last vector ends, nor for lanes that the
        mask switches off; those are undefined.
        """
        last = step * (lanes - 1)
        starts = [min(q * lanes, last + 1 - lanes) for q in range(step)]
        source = [min(lane * step // lanes, step - 1) for lane in range(lanes)]
        found: Value | None = None
        for number, start in enumerate(starts):
            at = self.gep(pointer, start, scalar, inbounds=mask is None)
            if mask is None:
                part = self.load(scalar, at, lanes)
            else:
                read = [divmod(start + e, step) for e in range(lanes)]
                own = [n if rest == 0 and source[n] == number else -1 for n, rest in read]
                part = self.masked_load(scalar, at, self._lanes_of(mask, own), lanes)
            place = [lane * step - start if s == number else 0 for lane, s in enumerate(source)]
            if found is None:
                found = self.shuffle(part, None, place)
            else:
                old = [lane if s < number else 0 for lane, s in enumerate(source)]
                new = zip(source, place, old, strict=True)
                picked = [lanes + p if s == number else o for s, p, o in new]
                found = self.shuffle(found, part, picked)
        assert found is not None
        return found

    def interleaved_store(
        self, values: Sequence[Value], pointer: Value, mask: Value | None = None
    ) -> None:
        """Lane 0 of every value side by side, then lane 1 of each, and so on; those of the mask."""
        count, lanes = len(values), values[0].lanes
        for part in range(count):
            which = [divmod(part * lanes + e, count) for e in range(lanes)]
            taken = self.shuffle(values[0], values[1], [
                lane + (lanes if v == 1 else 0) if v < 2 else 0 for lane, v in which
            ])  # fmt: skip
            for number in range(2, count):
                picked = [lanes + lane if v == number else e for e, (lane, v) in enumerate(which)]
                taken = self.shuffle(taken, values[number], picked)
            at = self.gep(pointer, part * lanes, values[0].type, inbounds=mask is None)
            if mask is None:
                self.store(taken, at)
            else:
                self.masked_store(taken, at, self._lanes_of(mask, [lane for lane, _ in which]))

    def _lanes_of(self, mask: Value, lanes: Sequence[int]) -> Value:
        """A mask made of lanes of another; off where a lane is -1.

        One that is known now is a literal: of a shuffle of literals LLVM 22 loads the half in which
        all lanes are off as if all were on, once it has cut a vector in two.
        """
        flags = mask.flags
        if flags is not None:
            return self.vector("i1", [lane >= 0 and flags[lane] for lane in lanes])
        off = self.const("i1", False, mask.lanes)
        return self.shuffle(mask, off, [mask.lanes if lane < 0 else lane for lane in lanes])

    def masked_load(
        self,
        scalar: str,
        pointer: Value,
        mask: Value,
        lanes: int,
        other: Value | None = None,
        align: int | None = None,
    ) -> Value:
        """The lanes whose mask is set; the others get `other` (zero if None), and touch nothing."""
        memory, wide = _in_memory(scalar), max(lanes, 1)
        kind = _vector(memory, wide)
        rest = "zeroinitializer" if other is None else self._one_lane(self._to_memory(other)).name
        bits = self._one_lane(mask)
        name = f"llvm.masked.load.{_mangled_vector(memory, wide)}.p0"
        self.declarations[name] = f"declare {kind} @{name}(ptr, i32, <{wide} x i1>, {kind})"
        value = self.emit(
            f"call {kind} @{name}({pointer}, i32 {align or SIZE_BYTES[scalar]}, "
            f"<{wide} x i1> {bits.name}, {kind} {rest})",
            memory,
            wide,
        )
        return self._from_memory(self._scalar_lane(value), scalar)

    def masked_store(
        self, value: Value, pointer: Value, mask: Value, align: int | None = None
    ) -> None:
        """Write the lanes whose mask is set; the others touch nothing."""
        aligned = align or SIZE_BYTES[value.type]
        stored, bits = self._one_lane(self._to_memory(value)), self._one_lane(mask)
        kind, wide = _vector(stored.type, stored.lanes), stored.lanes
        name = f"llvm.masked.store.{_mangled_vector(stored.type, wide)}.p0"
        self.declarations[name] = f"declare void @{name}({kind}, ptr, i32, <{wide} x i1>)"
        self.raw(
            f"call void @{name}({kind} {stored.name}, {pointer}, i32 {aligned}, "
            f"<{wide} x i1> {bits.name})"
        )

    def store_first(self, value: Value, pointer: Value, count: int) -> None:
        """Write the first `count` lanes in whole vectors, the widest first.

        For lanes along so few points that the next ones are written and read right behind: a store
        under a mask holds up every read from where its other lanes would have lain.
        """
        start = 0
        while start < count:
            lanes = 1 << ((count - start).bit_length() - 1)
            places = range(start, start + lanes)
            one = self.extract(value, start) if lanes == 1 else self.shuffle(value, None, places)
            self.store(one, self.gep(pointer, start, value.type))
            start += lanes

    def gather(
        self,
        scalar: str,
        base: Value,
        index: Value,
        mask: Value | None = None,
        other: Value | None = None,
    ) -> Value:
        """Elements base[index], an index a lane (i64 or i32, in elements); as `masked_load`."""
        at = self.gep(base, index, scalar, inbounds=mask is None)
        if index.lanes == 1:
            if mask is None:
                return self.load(scalar, at)
            return self.masked_load(scalar, at, mask, 1, other)
        memory, lanes = _in_memory(scalar), index.lanes
        kind = vector_type(memory, lanes)
        rest = constant(memory, 0, lanes) if other is None else self._to_memory(other)
        bits = constant("i1", True, lanes) if mask is None else mask
        name = f"llvm.masked.gather.{mangled(memory, lanes)}.v{lanes}p0"
        head = f"<{lanes} x ptr>"
        self.declarations[name] = f"declare {kind} @{name}({head}, i32, <{lanes} x i1>, {kind})"
        value = self.emit(
            f"call {kind} @{name}({at}, i32 {SIZE_BYTES[scalar]}, {bits}, {rest})",
            memory,
            lanes,
        )
        return self._from_memory(value, scalar)

    def scatter(self, value: Value, base: Value, index: Value, mask: Value | None = None) -> None:
        """base[index] = value, a lane after the other; equal indices: the highest lane stays."""
        at = self.gep(base, index, value.type, inbounds=mask is None)
        if index.lanes == 1:
            if mask is None:
                self.store(value, at)
            else:
                self.masked_store(value, at, mask)
            return
        lanes, stored = index.lanes, self._to_memory(self.splat(value, index.lanes))
        bits = constant("i1", True, lanes) if mask is None else mask
        name = f"llvm.masked.scatter.{mangled(stored.type, lanes)}.v{lanes}p0"
        head = f"<{lanes} x ptr>"
        self.declarations[name] = (
            f"declare void @{name}({stored.llvm}, {head}, i32, <{lanes} x i1>)"
        )
        size = SIZE_BYTES[value.type]
        self.raw(f"call void @{name}({stored}, {at}, i32 {size}, {bits})")

    def prefetch(self, pointer: Value, write: bool = False, locality: int = 3) -> None:
        """Ask for the cache line at `pointer`; locality 3 keeps it in every cache level."""
        self.declarations["llvm.prefetch.p0"] = "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"
        self.raw(f"call void @llvm.prefetch.p0({pointer}, i32 {int(write)}, i32 {locality}, i32 1)")

    def alloca(self, scalar: str, count: int = 1, align: int = LINE_BYTES) -> Value:
        """Stack memory for `count` elements, taken once in the entry block."""
        result = self.new_value("ptr")
        memory = _in_memory(scalar)
        self._entry.append(f"  {result.name} = alloca [{count} x {memory}], align {align}")
        return result

    def load_at_entry(self, scalar: str, pointer: Value, offset_bytes: int) -> Value:
        """One element behind a parameter, read in the entry block: it serves the whole function."""
        address, result = self.new_value("ptr"), self.new_value(scalar)
        size = SIZE_BYTES[scalar]
        self._entry += [
            f"  {address.name} = getelementptr inbounds i8, {pointer}, i64 {offset_bytes}",
            f"  {result.name} = load {scalar}, {address}, align {size}",
        ]
        return result

    def _from_memory(self, value: Value, scalar: str) -> Value:
        return self.compare("ne", value, 0) if scalar == "i1" else value

    def _to_memory(self, value: Value) -> Value:
        return self.cast("zext", value, "i8") if value.type == "i1" else value

    def _one_lane(self, value: Value) -> Value:
        """A scalar as `<1 x type>`: masked memory intrinsics take vectors only."""
        if value.lanes > 1:
            return value
        return self.emit(
            f"insertelement {_vector(value.type, 1)} poison, {value}, i64 0", value.type, 1
        )

    def _scalar_lane(self, value: Value) -> Value:
        if value.lanes > 1:
            return value
        return self.emit(f"extractelement {_vector(value.type, 1)} {value.name}, i64 0", value.type)


def _in_memory(scalar: str) -> str:
    return "i8" if scalar == "i1" else scalar


def _vector(scalar: str, lanes: int) -> str:
    return f"<{lanes} x {vector_type(scalar, 1)}>"


def _mangled_vector(scalar: str, lanes: int) -> str:
    return f"v{lanes}{mangled(scalar)}"
