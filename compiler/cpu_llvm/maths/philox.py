"""Philox4x32-10 on vectors: word 0 of the block for a key and a counter.

In: counter words 0 to 3 and key words 0 and 1, i32; each in all lanes, or one for all of them.
Lanes are one or a multiple of four.
Out: an i32 in each lane, the bits of `philox` in compiler/philox.py, which has the source.

The middle rounds are a loop, and so is what makes their keys: unrolled, they would be longer and no
faster. Two rounds stand before
it, where words that all lanes share are still scalars, and two after it, where the code generator
drops the half of each that word 0 does not depend on. The loop finds its keys in memory: loading a
word into every lane costs no vector instruction, moving it there from a scalar register two.

Lanes change places. The high words of eight products are picked from four even lanes' and four odd
lanes' products by one shuffle, which swaps the middle two of every four lanes; the low words, by an
instruction of their own, stay. The next round swaps back, and so words 1 and 3, low words of the
round before, meet the high words that they are mixed with. Keys that differ from lane to lane are
swapped along. After ten rounds all is in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...philox import INCREMENTS, MULTIPLIERS, ROUNDS
from ..emit import FunctionEmitter
from ..values import Operand, Value

_UNROLLED = 2  # rounds before the loop, and after it
_LOW_WORD = 0xFFFFFFFF


def philox(f: FunctionEmitter, *operands: Value) -> Value:
    c0, c2 = operands[0], operands[2]
    c1, c3, *key = (_swapped(f, operands[n]) for n in (1, 3, 4, 5))
    words = [c0, c1, c2, c3]
    for _ in range(_UNROLLED):
        words = _round(f, words, key)
        key = _next_key(f, key)
    left = ROUNDS - _UNROLLED
    key_of = _keys_in_memory(f, key, left)
    with f.loop(0, left - _UNROLLED, carried=f.alike(*words)) as loop:
        loop.next(_round(f, loop.carried, key_of(loop.index)))
    words = loop.results
    for number in range(left - _UNROLLED, left):
        words = _round(f, words, key_of(number))
    return words[0]


def _round(f: FunctionEmitter, words: Sequence[Value], key: Sequence[Value]) -> list[Value]:
    """One round on the counter's four words.

    A high word is a second operand: beside a first one that came from a shuffle, LLVM would choose
    the `xor` of floats, whose result reaches an integer instruction a cycle later.
    """
    c0, c1, c2, c3 = words
    high0, low0 = _product(f, c0, MULTIPLIERS[0])
    high1, low1 = _product(f, c2, MULTIPLIERS[1])
    mixed0 = f.binary("xor", f.binary("xor", c1, key[0]), high1)
    mixed2 = f.binary("xor", f.binary("xor", c3, key[1]), high0)
    return [mixed0, low1, mixed2, low0]


def _product(f: FunctionEmitter, word: Value, multiplier: int) -> tuple[Value, Value]:
    """High words, lanes swapped, and low words of products of unsigned words."""
    lanes = word.lanes
    if lanes == 1:
        whole = f.mul(f.cast("zext", word, "i64"), multiplier)
        return f.cast("trunc", f.binary("lshr", whole, 32), "i32"), f.cast("trunc", whole, "i32")
    pairs = f.cast("bitcast", word, "i64", lanes // 2)
    even = f.mul(f.binary("and", pairs, _LOW_WORD), multiplier)
    odd = f.mul(f.binary("lshr", pairs, 32), multiplier)
    even, odd = (f.cast("bitcast", product, "i32", lanes) for product in (even, odd))
    picked = [n + i for n in range(0, lanes, 4) for i in (1, 3, lanes + 1, lanes + 3)]
    return f.shuffle(even, odd, picked), f.mul(word, multiplier)


def _swapped(f: FunctionEmitter, word: Value) -> Value:
    if word.lanes == 1:
        return word
    return f.shuffle(word, None, [n + i for n in range(0, word.lanes, 4) for i in (0, 2, 1, 3)])


def _next_key(f: FunctionEmitter, key: Sequence[Value]) -> list[Value]:
    return [f.add(_swapped(f, word), step) for word, step in zip(key, INCREMENTS, strict=True)]


def _keys_in_memory(
    f: FunctionEmitter, key: Sequence[Value], rounds: int
) -> Callable[[Operand], list[Value]]:
    """Write the keys of some rounds to the stack; the function given back loads one of them."""
    key = f.alike(*key)
    lanes = key[0].lanes
    memory = f.alloca("i32", 2 * rounds * lanes, align=8)

    def place(number: Operand, word: int) -> Value:
        first = f.binary("mul", f.operand(number, "i64"), 2 * lanes)
        return f.gep(memory, f.binary("add", first, word * lanes), "i32")

    with f.loop(0, rounds, carried=key) as loop:
        for word in (0, 1):
            f.store(loop.carried[word], place(loop.index, word))
        loop.next(_next_key(f, loop.carried))
    return lambda number: [f.load("i32", place(number, word), lanes) for word in (0, 1)]
