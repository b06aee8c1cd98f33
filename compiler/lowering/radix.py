"""Sorting by digits: the kernel that puts the positions along an axis in the order of its keys.

A word is a key, made a number without a sign, and behind it the position, in an i64. For one digit
of the key after the other, from the last on,

    count = 0;  word by word   count[digit + 1] += 1
    next = running sum of count                        where the words with each digit begin
    word by word               sorted[next[digit]] = word;  next[digit] += 1

Words with equal digits stay as they come, so that they are in the order of all digits so far. At
last the positions are what is behind the keys. A row takes as many steps as it has words and digits
have values, for each digit, whatever the keys are. Threads share rows; no two rows share a word or
a count, and what memory they need is part of the plan. Of keys of 64 bits the last 32 are sorted
first, then the others, in the order that this gives.

Long rows have long digits: the more counts, the fewer times their words are moved.
Source: Knuth, The Art of Computer Programming, volume 3 (1998), section 5.2.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..graph.ir import Node
from ..loops.combiners import SUM
from ..loops.expand import Expander, Index, Stop
from ..loops.ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, Store, dense_layout
from ..loops.one_to_one import moving
from ..ops.definition import RadixOrder
from ..ops.slicing import clamped
from ..types import DType, TensorType, int32, int64
from .groups import Group
from .segments import clamped_below
from .values import Places, Reads
from .whole import Whole

KEY_BITS = 32
"""Of a word: the others are a position."""

DIGITS = ((2**18, 16), (2**11, 11), (0, 8))
"""Bits of a digit for rows from so many words on. A row of a million words is sorted in 11.5 ms by
digits of 16 bits, in 17.4 by 11 and in 20.3 by 8; 64 rows of 32,000 in 26.3 by 11 and in 28.5 by 8;
4,096 rows of 256 in 15.7 by 8, in 29.2 by 11 and in 25.8 by 6."""


def radix_order(group: Group, places: Places) -> Whole:
    """The kernel of a sort by digits, into every output that it is, or to be read."""
    (node,) = group.index
    wanted = places.outputs.get(node) or (places.of(node),)
    expander = places.grouping.expander
    reads = Reads(group, places, {})
    sorting = _Sorting(group.name, node, expander, reads.stop)
    loops = (*sorting.sort(), sorting.positions(wanted))
    flops = places.grouping.flops(group)
    kernel = Kernel(group.name, sorting.rows, loops, group.description, flops)
    return Whole(group, kernel, tuple(reads.found))


@dataclass(eq=False)
class _Sorting:
    """One sort while its loops are made."""

    name: str
    node: Node
    expander: Expander
    stop: Stop
    axes: list[Axis] = field(init=False)

    def __post_init__(self) -> None:
        lowering = self.node.op.lowering
        assert isinstance(lowering, RadixOrder)
        self.k, shape = self.expander.k, self.node.type.shape
        self.axis = lowering.axis(**self.node.attributes)
        self.bits = lowering.bits(**self.node.attributes)
        self.axes = [self.expander.axis(f"i{d}", extent) for d, extent in enumerate(shape)]
        self.along = self.axes[self.axis]
        self.extent = self.expander.run_time_extents(shape)[self.axis]
        self.others = [axis for d, axis in enumerate(self.axes) if d != self.axis]
        self.rows = tuple(moving(self.others))
        self.digit_bits = self._digit_bits(min(self.bits, KEY_BITS))
        values = 1 << self.digit_bits
        self.digits = self.expander.axis("d0", values)
        self.counted = self.expander.axis("d1", values + 1)
        count = self.along.extent
        self.words, self.moved = (self._buffer(name, count, int64) for name in ("words", "moved"))
        self.counts = self._buffer("counts", values + 1, int32)
        self.following = self._buffer("next", values, int32)
        self.passes = 0

    def _digit_bits(self, bits: int) -> int:
        """As few digits as there may be, all of one length."""
        most = next(most for least, most in DIGITS if self.along.extent >= least)
        return -(-bits // -(-bits // most))

    def _buffer(self, name: str, count: int, dtype: DType) -> Buffer:
        """As many elements in each row, side by side."""
        shape = (*(axis.extent for axis in self.others), count)
        type = TensorType(dtype, shape)
        return Buffer(f"{self.name}_{name}", type, dense_layout(shape), "arena")

    # -- loops ------------------------------------------------------------------------------

    def sort(self) -> Iterator[Loop]:
        """The loops after which `words` are in order."""
        position = self.k.axis(self.along)
        yield self._make_words(position, 0)
        yield from self._by_digits(min(self.bits, KEY_BITS))
        if self.bits > KEY_BITS:
            yield self._make_words(self._position(), KEY_BITS)
            yield from self._by_digits(self.bits - KEY_BITS)

    def _make_words(self, position: Scalar, first: int) -> Loop:
        """Words of up to 32 bits of the keys, from bit number `first` on, at positions."""
        k = self.k
        at = (*self._row[: self.axis], position, *self._row[self.axis :])
        key = k.cast(self.expander.operand(self.node, 0, at, self.stop), int64)
        shifted = k.shr(key, k.index(first)) if first else key
        bits = min(self.bits - first, KEY_BITS)
        if first + bits == self.bits:  # the bit of the sign is among them
            shifted = k.xor(shifted, k.index(1 << (bits - 1)))
        number = k.and_(shifted, k.index((1 << bits) - 1))
        word = k.or_(k.shl(number, k.index(KEY_BITS)), position)
        stores = [Store(self.words, self._here, word)]
        if not first:  # which words go there data say: nothing is left of what was there before
            stores.append(Store(self.moved, self._here, k.index(0)))
        return self._over_words(*stores)

    def _by_digits(self, bits: int) -> Iterator[Loop]:
        """Sorts the words by so many bits of their keys."""
        for shift in range(KEY_BITS, KEY_BITS + bits, self.digit_bits):
            yield from self._by_digit(shift)
            self.words, self.moved = self.moved, self.words

    def _by_digit(self, shift: int) -> Iterator[Loop]:
        k, here = self.k, self._here
        word = k.load(self.words, here)
        digit = k.and_(k.shr(word, k.index(shift)), k.index((1 << self.digit_bits) - 1))
        zero, one = k.constant(0, int32), k.constant(1, int32)
        yield self._loop(self.counted, Store(self.counts, (*self._row, k.axis(self.counted)), zero))
        behind = (*self._row, k.add(digit, k.index(1)))
        yield self._over_words(Store(self.counts, behind, one, accumulate=True))
        yield self._running_sum()
        count = k.load(self.following, (*self._row, digit))
        to = clamped_below(k, k.cast(count, int64), self.extent)
        yield self._over_words(Store(self.moved, (*self._row, to), word, counting=count))

    def _running_sum(self) -> Loop:
        """How many words there are with smaller digits than each."""
        k, at = self.k, (*self._row, self.k.axis(self.digits))
        name = f"{self.name}_r{self.passes}"
        self.passes += 1
        before = Reduction(name, SUM, k.load(self.counts, at), int32)
        store = Store(self.following, at, k.reduced(name, int32))
        return Loop((self.digits,), (before,), (store,), running=True)

    def positions(self, wanted: tuple[Buffer, ...]) -> Loop:
        """What is behind the keys, into every buffer."""
        k, stop = self.k, self.axis
        at = (*self._row[:stop], k.axis(self.along), *self._row[stop:])
        value = k.and_(k.load(self.words, self._here), k.index((1 << KEY_BITS) - 1))
        return self._loop(self.along, *(Store(buffer, at, value) for buffer in wanted))

    # -- parts ------------------------------------------------------------------------------

    @property
    def _row(self) -> Index:
        return tuple(self.k.axis(axis) for axis in self.others)

    @property
    def _here(self) -> Index:
        return (*self._row, self.k.axis(self.along))

    def _position(self) -> Scalar:
        """That of the word here."""
        word = self.k.load(self.words, self._here)
        return clamped(self.k, self.k.and_(word, self.k.index((1 << KEY_BITS) - 1)), self.extent)

    def _over_words(self, *stores: Store) -> Loop:
        return self._loop(self.along, *stores)

    def _loop(self, axis: Axis, *stores: Store) -> Loop:
        return Loop(tuple(moving([axis])), (), stores)
