"""Einstein summation: any number of operands, diagonals, ellipses, broadcasting.

The subscripts become one list of symbols per operand; the axes of an ellipsis are symbols too. Then
* a symbol that an operand has twice leaves its diagonal,
* an axis of extent 1 whose symbol is longer elsewhere is dropped, which broadcasts it,
* two operands at a time are contracted, in the order that opt_einsum finds for three or more,
  each summed first over the symbols that nothing else names.

Source of the notation: numpy.einsum; an ellipsis that the result leaves out is summed over, as in
torch.einsum. Source of the order: Smith and Gray, "opt_einsum" (JOSS 3(26), 2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.types import Extent, int64, promote
from gradc.runtime.plain_number import as_whole

from .. import nodes
from ..indexing import slice_nodes
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail

__all__ = [
    "einsum",
]

Symbol = str | int  # a letter, a number of the list form, or "...k": axis k of the ellipsis
# A named dimension takes part in the choice of the order as if it had this extent.
NAMED_EXTENT_GUESS = 64


def einsum(subscripts: Any, *operands: Any) -> Tensor:
    """Einstein summation, as in "bij,bjk->bik"; any number of operands.

    A letter that stands twice in an operand names a diagonal ("ii->" is a trace). "..." stands for
    the other axes, which broadcast. An extent of 1 stretches to the extent that its letter has
    elsewhere. Without "->" the result has the axes of the ellipsis, then the letters that stand
    once in all, in alphabetical order; an ellipsis that the result leaves out is summed over.
    `einsum(x, [0, 1], y, [1, 2], [0, 2])`, with numbers for letters, means the same.

    Raises ArgumentError for subscripts that do not parse, ShapeError for operands they do not fit.

    >>> a, b = gc.input("a", ("batch", 3, 4)), gc.input("b", (4, 5))
    >>> gc.einsum("bij,jk->bik", a, b).shape
    ('batch', 3, 5)
    >>> gc.compile(gc.einsum("ii->", [[1.0, 2.0], [3.0, 4.0]]))()
    array(5., dtype=float32)
    """
    inputs, output, arrays = _parsed(subscripts, operands)
    tensors = [as_tensor(x) for x in arrays]
    dtype = promote(*(t.dtype for t in tensors))
    terms = [
        _Term(t.astype(dtype), symbols, number)
        for number, (t, symbols) in enumerate(zip(tensors, inputs, strict=True))
    ]
    ellipsis = _ellipsis_symbols(terms)
    wanted = _expanded_output(output, terms, ellipsis)
    terms = [term.diagonal() for term in terms]
    extents = _extents(terms)
    terms = [term.without_ones(extents) for term in terms]
    result = _contracted(terms, wanted, extents)
    return result.reordered(wanted, extents)


# ---------------------------------------------------------------- notation


def _parsed(
    subscripts: Any, operands: Sequence[Any]
) -> tuple[list[list[Symbol]], list[Symbol] | None, list[TensorLike]]:
    """Symbols per operand, those of the result (None: implicit), and the operands."""
    if isinstance(subscripts, str):
        left, arrow, right = subscripts.replace(" ", "").partition("->")
        inputs = [_letters(term, subscripts) for term in left.split(",")]
        if len(inputs) != len(operands):
            problem = f"{subscripts!r} names {len(inputs)} operands, {len(operands)} are given"
            fail(ArgumentError, "einsum", problem)
        return inputs, _letters(right, subscripts) if arrow else None, list(operands)
    parts = [subscripts, *operands]
    if len(parts) < 2 or isinstance(subscripts, (bytes, type(None))):
        problem = f"subscripts are a string like 'ij,jk->ik', not {described(subscripts)}"
        fail(ArgumentError, "einsum", problem)
    paired = len(parts) // 2
    lists = [_numbers(parts[2 * i + 1]) for i in range(paired)]
    output = _numbers(parts[-1]) if len(parts) % 2 else None
    return lists, output, parts[: 2 * paired : 2]


def _letters(term: str, subscripts: str) -> list[Symbol]:
    before, dots, after = term.partition("...")
    for letter in before + after:
        if not (letter.isascii() and letter.isalpha()):
            problem = f"{subscripts!r} holds {letter!r}; letters and '...' name axes"
            fail(ArgumentError, "einsum", problem)
    return [*before, *(["..."] if dots else []), *after]


def _numbers(symbols: Any) -> list[Symbol]:
    given = list(symbols) if isinstance(symbols, (list, tuple)) else [symbols]
    plain = [s for s in given if s is not Ellipsis]
    if not isinstance(symbols, (list, tuple)) or len(given) - len(plain) > 1:
        fail(ArgumentError, "einsum", f"axes are a list of integers, not {described(symbols)}")
    found: list[Symbol] = []
    for symbol in given:
        number = as_whole(symbol)
        if symbol is not Ellipsis and (number is None or number < 0):
            fail(ArgumentError, "einsum", f"axes are integers >= 0, not {described(symbols)}")
        found.append("..." if number is None else number)
    return found


def _ellipsis_symbols(terms: Sequence[_Term]) -> list[Symbol]:
    """Gives the axes of every ellipsis their symbols, aligned on the right; returns the longest."""
    longest = 0
    for term in terms:
        named = sum(s != "..." for s in term.symbols)
        hidden = term.tensor.ndim - named
        if hidden < 0 or (hidden and "..." not in term.symbols):
            listed = "".join(map(str, term.symbols))
            problem = f"{listed!r} names {named} axes of {term.tensor.node.type}"
            fail(ShapeError, "einsum", problem, [f"operand {term.number}"])
        axes: list[Symbol] = [f"...{k}" for k in range(hidden, 0, -1)]
        if "..." in term.symbols:
            at = term.symbols.index("...")
            term.symbols = [*term.symbols[:at], *axes, *term.symbols[at + 1 :]]
            longest = max(longest, hidden)
    return [f"...{k}" for k in range(longest, 0, -1)]


def _expanded_output(
    output: list[Symbol] | None, terms: Sequence[_Term], ellipsis: list[Symbol]
) -> list[Symbol]:
    """The symbols of the result."""
    every = [s for term in terms for s in term.symbols]
    letters = [s for s in every if not _is_hidden(s)]
    if output is None:
        once = [s for s in set(letters) if letters.count(s) == 1]
        return [*ellipsis, *sorted(once, key=lambda s: (isinstance(s, int), s))]
    wanted: list[Symbol] = []
    for symbol in output:
        wanted += ellipsis if symbol == "..." else [symbol]
    for symbol in wanted:
        if wanted.count(symbol) > 1:
            fail(ArgumentError, "einsum", f"the result names {symbol!r} twice")
        if symbol not in every:
            fail(ArgumentError, "einsum", f"the result names {symbol!r}, which no operand has")
    return wanted


def _is_hidden(symbol: Symbol) -> bool:
    return isinstance(symbol, str) and symbol.startswith("...")


# ---------------------------------------------------------------- operands


class _Term:
    """A tensor whose axes have symbols. number: of the operand that it is."""

    def __init__(self, tensor: Tensor, symbols: Sequence[Symbol], number: int = 0) -> None:
        self.tensor = tensor
        self.symbols = list(symbols)
        self.number = number

    def extent(self, symbol: Symbol) -> Extent:
        return self.tensor.shape[self.symbols.index(symbol)]

    def diagonal(self) -> _Term:
        """With every symbol once: equal symbols leave the elements where their positions agree."""
        term = self
        for symbol in dict.fromkeys(self.symbols):
            while term.symbols.count(symbol) > 1:
                first = term.symbols.index(symbol)
                second = term.symbols.index(symbol, first + 1)
                term = term._joined(first, second)
        return term

    def _joined(self, first: int, second: int) -> _Term:
        x, n = self.tensor, self.tensor.shape[first]
        if x.shape[second] != n:
            fail(
                ShapeError,
                "einsum",
                f"{self.symbols[first]!r} names axes of different extents of {x.node.type}",
                [f"axis {first} has extent {n}, axis {second} has extent {x.shape[second]}"],
            )
        symbols = self.symbols[:second] + self.symbols[second + 1 :]
        if isinstance(n, str):  # the step from one diagonal element to the next is not known
            row, column = (Tensor(nodes.iota(x.shape, a, int64)) for a in (first, second))
            zero = nodes.constant(0, x.dtype)
            only = derive(nodes.select((row == column).node, x.node, zero), x)
            return _Term(only.sum(axis=second, dtype=x.dtype), symbols, self.number)
        others = [a for a in range(x.ndim) if a not in (first, second)]
        last = nodes.transpose(x.node, [*others, first, second])
        kept = last.type.shape[:-2]
        flat = nodes.reshape(last, (*kept, n * n))
        steps = [1] * len(kept) + [n + 1]
        diagonal = slice_nodes(flat, [0] * len(steps), steps, (*kept, n))
        order = [*range(first), len(kept), *range(first, len(kept))]
        return _Term(derive(nodes.transpose(diagonal, order), x), symbols, self.number)

    def without_ones(self, extents: dict[Symbol, Extent]) -> _Term:
        """Without the axes of extent 1 that broadcast."""
        shape = self.tensor.shape
        axes = [a for a, s in enumerate(self.symbols) if shape[a] == 1 != extents[s]]
        if not axes:
            return self
        kept = [s for a, s in enumerate(self.symbols) if a not in axes]
        return _Term(self.tensor.squeeze(axes), kept, self.number)

    def summed(self, kept: Iterable[Symbol]) -> _Term:
        """Summed over the symbols that are not kept."""
        wanted = set(kept)
        axes = [a for a, s in enumerate(self.symbols) if s not in wanted]
        if not axes:
            return self
        total = self.tensor.sum(axis=axes, dtype=self.tensor.dtype)
        return _Term(total, [s for s in self.symbols if s in wanted], self.number)

    def reordered(self, wanted: Sequence[Symbol], extents: dict[Symbol, Extent]) -> Tensor:
        """With exactly these symbols in this order; those that it lacks stretch."""
        term = self.summed(wanted)
        present = [s for s in wanted if s in term.symbols]
        node = nodes.transpose(term.tensor.node, [term.symbols.index(s) for s in present])
        places = tuple(wanted.index(s) for s in present)
        shape = tuple(extents[s] for s in wanted)
        return derive(nodes.spread(node, shape, places), term.tensor)


def _extents(terms: Sequence[_Term]) -> dict[Symbol, Extent]:
    """The extent of every symbol; 1 gives way to any other."""
    extents: dict[Symbol, Extent] = {}
    for term in terms:
        for symbol, extent in zip(term.symbols, term.tensor.shape, strict=True):
            known = extents.setdefault(symbol, extent)
            if known == 1:
                extents[symbol] = extent
            elif extent not in (1, known):
                name = "'...'" if _is_hidden(symbol) else repr(symbol)
                facts = [f"operand {t.number} is {t.tensor.node.type}" for t in terms]
                problem = f"{name} has extents {known} and {extent}, and neither is 1"
                fail(ShapeError, "einsum", problem, facts)
    return extents


# ---------------------------------------------------------------- contraction


def _contracted(terms: list[_Term], wanted: list[Symbol], extents: dict[Symbol, Extent]) -> _Term:
    """One term of all, two at a time."""
    for pair in _order(terms, wanted, extents):
        chosen = [terms[i] for i in pair]
        terms = [t for i, t in enumerate(terms) if i not in pair]
        needed = {*wanted, *(s for t in terms for s in t.symbols)}
        result = chosen[0]
        for position, other in enumerate(chosen[1:], start=2):
            later = {s for t in chosen[position:] for s in t.symbols}
            result = _product(result, other, needed | later)
        terms.append(result)
    return terms[0]


def _order(
    terms: Sequence[_Term], wanted: Sequence[Symbol], extents: dict[Symbol, Extent]
) -> list[tuple[int, ...]]:
    """Which terms are contracted in turn; a result goes to the end of the list."""
    if len(terms) < 3:
        return [tuple(range(len(terms)))]
    import opt_einsum

    letter = {s: opt_einsum.get_symbol(i) for i, s in enumerate(extents)}
    inputs = ["".join(letter[s] for s in term.symbols) for term in terms]
    equation = f"{','.join(inputs)}->{''.join(letter[s] for s in wanted if s in letter)}"
    shapes = [
        tuple(e if isinstance(e, int) else NAMED_EXTENT_GUESS for e in term.tensor.shape)
        for term in terms
    ]
    if any(0 in shape for shape in shapes):  # every order costs nothing
        return [(0, 1)] * (len(terms) - 1)
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True, optimize="auto")
    return [tuple(sorted(step)) for step in path]


def _product(a: _Term, b: _Term, needed: set[Symbol]) -> _Term:
    """The product of two terms, summed over what nothing else needs."""
    a, b = a.summed(needed | set(b.symbols)), b.summed(needed | set(a.symbols))
    shared = [s for s in a.symbols if s in b.symbols]
    inner = [s for s in shared if s not in needed]
    batch = [s for s in shared if s in needed]
    free_a = [s for s in a.symbols if s not in shared]
    free_b = [s for s in b.symbols if s not in shared]
    symbols = batch + free_a + free_b
    if not inner:
        return _Term(_multiplied(a, b, symbols), symbols)
    node = nodes.contract(
        "einsum",
        a.tensor.node,
        b.tensor.node,
        ([a.symbols.index(s) for s in inner], [b.symbols.index(s) for s in inner]),
        ([a.symbols.index(s) for s in batch], [b.symbols.index(s) for s in batch]),
    )
    return _Term(derive(node, a.tensor, b.tensor), symbols)


def _multiplied(a: _Term, b: _Term, symbols: list[Symbol]) -> Tensor:
    """Elementwise: where nothing is summed, a product fuses and a contraction would not."""
    extents = {s: term.extent(s) for term in (a, b) for s in term.symbols}
    return a.reordered(symbols, extents) * b.reordered(symbols, extents)
