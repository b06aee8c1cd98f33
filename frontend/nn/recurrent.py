"""Recurrent layers and their cells, with PyTorch's parameters, gate orders and arguments.

The products of all inputs with `weight_ih` are one product before the loop; the loop (gc.scan) adds
what depends on the state. Gates lie one behind the other in the rows of the weights.
Source: Hochreiter and Schmidhuber, Long short-term memory (1997); Cho et al., Learning phrase
representations using RNN encoder-decoder (2014); the formulas are those of torch.nn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.types import float32, int64

from .. import init, nodes
from ..functional import (
    concatenate,
    dropout,
    linear,
    permute_dims,
    relu,
    sigmoid,
    stack,
    tanh,
    where,
)
from ..functional.creation import zeros
from ..loops import scan
from ..ranges import Number, WholeNumber, check_probability, count, layer_count
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from ..variables import Beginning, State, parameter
from .module import Module

__all__ = ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"]

Hidden = tuple[Tensor, ...]
"""The state of a cell: h, and c of an LSTM."""


class _Weights(NamedTuple):
    """The parameters of one cell, in PyTorch's order; biases may be missing."""

    ih: State
    hh: State
    bias_ih: State | None
    bias_hh: State | None


class _Kind(NamedTuple):
    """What a cell computes.

    gates     how many blocks of rows its weights have
    states    how many tensors its state is
    separate  whether the state's part of the gates has its bias apart: GRU multiplies it
    step      from a state, and the input's and the state's part of the gates, to the new state
    """

    gates: int
    states: int
    separate: bool
    step: Callable[[Hidden, Tensor, Tensor], Hidden]


def _blocks(gates: Tensor, number: int) -> list[Tensor]:
    size: Any = gates.shape[-1]
    each = size // number
    return [gates[..., n * each : (n + 1) * each] for n in range(number)]


def _lstm_step(hidden: Hidden, x: Tensor, h: Tensor) -> Hidden:
    """i, f, g, o: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c')."""
    i, f, g, o = _blocks(x + h, 4)
    c = sigmoid(f) * hidden[1] + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def _gru_step(hidden: Hidden, x: Tensor, h: Tensor) -> Hidden:
    """r, z, n: n = tanh(x_n + sigmoid(r) h_n), h' = (1 - sigmoid(z)) n + sigmoid(z) h."""
    x_r, x_z, x_n = _blocks(x, 3)
    h_r, h_z, h_n = _blocks(h, 3)
    z = sigmoid(x_z + h_z)
    n = tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return ((1.0 - z) * n + z * hidden[0],)


_RNN = {
    "tanh": _Kind(1, 1, False, lambda hidden, x, h: (tanh(x + h),)),
    "relu": _Kind(1, 1, False, lambda hidden, x, h: (relu(x + h),)),
}
_LSTM = _Kind(4, 2, False, _lstm_step)
_GRU = _Kind(3, 1, True, _gru_step)


def _rnn_kind(nonlinearity: str, operation: str) -> _Kind:
    if nonlinearity not in _RNN:
        problem = f'nonlinearity is "tanh" or "relu", not {described(nonlinearity)}'
        fail(ArgumentError, operation, problem)
    return _RNN[nonlinearity]


def _input_part(kind: _Kind, w: _Weights, x: Tensor) -> Tensor:
    """What the gates get of the input, with both biases where these are only added."""
    bias: Tensor | None = w.bias_ih
    if w.bias_ih is not None and w.bias_hh is not None and not kind.separate:
        bias = w.bias_ih + w.bias_hh
    return linear(x, w.ih, bias)


def _state_part(kind: _Kind, w: _Weights, h: Tensor) -> Tensor:
    return linear(h, w.hh, w.bias_hh if kind.separate else None)


class _Recurrent(Module):
    """What cells and layers share: parameters, and what a state must be."""

    kind: _Kind
    input_size: int
    hidden_size: int

    def _sizes(self, input_size: Any, hidden_size: Any) -> None:
        name = type(self).__name__
        self.input_size = count(input_size, "input_size", name)
        self.hidden_size = count(hidden_size, "hidden_size", name)

    def _make(
        self,
        suffix: str,
        inputs: int,
        bias: bool,
        dtype: Any,
        weight_init: Beginning,
        bias_init: Beginning,
    ) -> None:
        """The parameters of one cell."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        default = init.uniform(-bound, bound)
        rows = self.kind.gates * self.hidden_size
        for name, columns in (("weight_ih", inputs), ("weight_hh", self.hidden_size)):
            begins = default if weight_init is None else weight_init
            setattr(self, name + suffix, parameter(name, (rows, columns), dtype, begins))
        for name in ("bias_ih", "bias_hh"):
            begins = default if bias_init is None else bias_init
            made = parameter(name, (rows,), dtype, begins) if bias else None
            setattr(self, name + suffix, made)

    def _weights(self, suffix: str) -> _Weights:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return _Weights(*(getattr(self, name + suffix) for name in names))

    def _given(self, hx: Any, shape: tuple[Any, ...], like: Tensor) -> Hidden:
        """The state that is given, or zeros."""
        name, number = type(self).__name__, self.kind.states
        if hx is None:
            return tuple(zeros(shape, like.dtype) for _ in range(number))
        parts = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
        if len(parts) != number:
            wanted = "a tensor" if number == 1 else "a pair (h, c)"
            fail(ArgumentError, name, f"the state is {wanted}, not {len(parts)} tensors")
        found = tuple(as_tensor(part) for part in parts)
        for part in found:
            if part.node.type.shape != shape:
                facts = [f"it is {part.node.type}, its shape should be {list(shape)}"]
                fail(ShapeError, name, "the state has another shape", facts)
            if part.dtype != like.dtype:
                facts = [f"it is {part.node.type}, the gates are {like.node.type}"]
                fail(DTypeError, name, "the state has another dtype", facts)
        return found

    def _bare(self, hidden: Hidden) -> Any:
        """A state as PyTorch returns it: a tensor, or a pair."""
        return hidden if self.kind.states > 1 else hidden[0]

    def _check_input(self, x: Tensor, ranks: tuple[int, int]) -> None:
        if x.ndim in ranks and x.shape[-1] == self.input_size:
            return
        problem = f"the input is {x.node.type}; it has {ranks[0]} or {ranks[1]} axes"
        fail(ShapeError, type(self).__name__, problem, [f"the last is {self.input_size} long"])


class _Cell(_Recurrent):
    """One step of a recurrent layer."""

    def _step(self, input: Any, hx: Any) -> Any:
        x = as_tensor(input)
        self._check_input(x, (1, 2))
        weights = self._weights("")
        gates = _input_part(self.kind, weights, x)
        shape = (*x.node.type.shape[:-1], self.hidden_size)
        hidden = self._given(hx, shape, gates)
        after = self.kind.step(hidden, gates, _state_part(self.kind, weights, hidden[0]))
        return self._bare(after)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh); `nonlinearity` may be "relu".

    weight_ih [hidden, input], weight_hh [hidden, hidden], bias_ih, bias_hh [hidden]: all begin
    uniform in +-1/sqrt(hidden)

    >>> cell = nn.RNNCell(6, 8)
    >>> cell(gc.input("x", ("batch", 6)), gc.input("h", ("batch", 8))).shape
    ('batch', 8)
    """

    def __init__(
        self,
        input_size: WholeNumber,
        hidden_size: WholeNumber,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self._sizes(input_size, hidden_size)
        self.kind = _rnn_kind(nonlinearity, "RNNCell")
        self._make("", self.input_size, bias, dtype, weight_init, bias_init)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """input [..., input] and h [..., hidden], zeros if it is None, to the new h."""
        found: Tensor = self._step(input, hx)
        return found


class _GatedCell(_Cell):
    """A cell whose kind has no options."""

    def __init__(
        self,
        input_size: WholeNumber,
        hidden_size: WholeNumber,
        bias: bool = True,
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self._sizes(input_size, hidden_size)
        self._make("", self.input_size, bias, dtype, weight_init, bias_init)


class LSTMCell(_GatedCell):
    """i, f, g, o: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').

    weight_ih [4 hidden, input], weight_hh [4 hidden, hidden], bias_ih, bias_hh [4 hidden]: the
    gates one behind the other; all begin uniform in +-1/sqrt(hidden)

    >>> state = gc.input("h", ("batch", 8)), gc.input("c", ("batch", 8))
    >>> h, c = nn.LSTMCell(6, 8)(gc.input("x", ("batch", 6)), state)
    >>> h.shape, c.shape
    (('batch', 8), ('batch', 8))
    """

    kind = _LSTM

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """input [..., input] and (h, c), each [..., hidden], zeros if None, to the new (h, c)."""
        h, c = self._step(input, hx)
        return h, c


class GRUCell(_GatedCell):
    """r, z, n: n = tanh(x_n + sigmoid(r) h_n), h' = (1 - sigmoid(z)) n + sigmoid(z) h.

    weight_ih [3 hidden, input], weight_hh [3 hidden, hidden], bias_ih, bias_hh [3 hidden]: the
    gates one behind the other; all begin uniform in +-1/sqrt(hidden)

    >>> cell = nn.GRUCell(6, 8)
    >>> cell(gc.input("x", ("batch", 6)), gc.input("h", ("batch", 8))).shape
    ('batch', 8)
    """

    kind = _GRU

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """input [..., input] and h [..., hidden], zeros if it is None, to the new h."""
        found: Tensor = self._step(input, hx)
        return found


class _Layers(_Recurrent):
    """Layers of cells, in one direction or both, over a sequence."""

    def _set_up(
        self,
        kind: _Kind,
        input_size: Any,
        hidden_size: Any,
        num_layers: Any,
        bias: bool,
        batch_first: bool,
        dropout: Any,
        bidirectional: bool,
        dtype: Any,
        weight_init: Beginning,
        bias_init: Beginning,
    ) -> None:
        name = type(self).__name__
        self.kind = kind
        self._sizes(input_size, hidden_size)
        self.num_layers = layer_count(num_layers, "num_layers", name)
        self.batch_first, self.bidirectional = batch_first, bidirectional
        self.dropout = check_probability(dropout, name)
        directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(self.num_layers):
            inputs = self.hidden_size * len(directions) if layer else self.input_size
            for direction in directions:
                suffix = f"_l{layer}{direction}"
                self._make(suffix, inputs, bias, dtype, weight_init, bias_init)

    def forward(self, input: Any, hx: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """A sequence and the state before it to (output, state after it).

        input    [time, batch, input], with batch_first [batch, time, input], or [time, input]
        hx       [directions * layers, batch, hidden], of an LSTM a pair of them; None: zeros
        lengths  i32[batch], of one sequence i32[]: how many steps of each count; None: all
        output   [time, batch, directions * hidden], axes as those of the input: the last layer's h

        Behind its length a sequence is not read: its output is 0 there, the state after it that of
        its last step, and the other direction begins at that step, as with PyTorch's packed
        sequences. Sequences may stand in any order.
        """
        x = as_tensor(input)
        self._check_input(x, (2, 3))
        turned = self.batch_first and x.ndim == 3
        x = permute_dims(x, (1, 0, 2)) if turned else x
        counted = None if lengths is None else self._counted(x, as_tensor(lengths))
        directions = 2 if self.bidirectional else 1
        cells = self.num_layers * directions
        shape = (cells, *x.node.type.shape[1:-1], self.hidden_size)
        before: list[Hidden] | None = None
        if hx is not None:
            given = self._given(hx, shape, linear(x, self._weights("_l0").ih))
            before = [tuple(part[n] for part in given) for n in range(cells)]
        after: list[Hidden] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                place = layer * directions + direction
                start = None if before is None else before[place]
                last, ys = self._loop(x, start, layer, bool(direction), counted)
                after.append(last)
                outputs.append(ys)
            x = outputs[0] if directions == 1 else concatenate(outputs, axis=-1)
            if self.dropout and layer + 1 < self.num_layers:
                x = dropout(x, self.dropout)
        ends = tuple(stack([h[n] for h in after]) for n in range(self.kind.states))
        return (permute_dims(x, (1, 0, 2)) if turned else x), self._bare(ends)

    def _counted(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Whether a step of a sequence counts: bool [time, batch, 1], or [time, 1]."""
        facts = [f"input is {x.node.type}, lengths {lengths.node.type}"]
        if lengths.shape != x.shape[1:-1]:
            problem = "lengths has not one number for each sequence"
            fail(ShapeError, type(self).__name__, problem, facts)
        if not lengths.dtype.is_integer:
            fail(DTypeError, type(self).__name__, "lengths are integers", facts)
        number = Tensor(nodes.iota((*x.shape[:-1], 1), 0, int64))
        return number < lengths.astype(int64)[None, ..., None]

    def _loop(
        self,
        x: Tensor,
        start: Hidden | None,
        layer: int,
        backward: bool,
        counted: Tensor | None,
    ) -> tuple[Hidden, Tensor]:
        """One layer in one direction: its last state, and its h after every step."""
        kind = self.kind
        weights = self._weights(f"_l{layer}" + ("_reverse" if backward else ""))
        gates = _input_part(kind, weights, x)
        if start is None:
            shape = (*gates.node.type.shape[1:-1], self.hidden_size)
            start = tuple(zeros(shape, gates.dtype) for _ in range(kind.states))

        def step(hidden: Hidden, part: Tensor) -> tuple[Hidden, Tensor]:
            found = kind.step(hidden, part, _state_part(kind, weights, hidden[0]))
            return found, found[0]

        def masked(hidden: Hidden, xs: tuple[Tensor, Tensor]) -> tuple[Hidden, Tensor]:
            found, y = step(hidden, xs[0])
            kept = tuple(where(xs[1], new, old) for new, old in zip(found, hidden, strict=True))
            return kept, where(xs[1], y, 0)

        if counted is None:
            last, ys = scan(step, start, gates, reverse=backward)
        else:
            last, ys = scan(masked, start, (gates, counted), reverse=backward)
        return last, ys

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        shown += f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        shown += ", batch_first=True" if self.batch_first else ""
        shown += f", dropout={self.dropout}" if self.dropout else ""
        return shown + (", bidirectional=True" if self.bidirectional else "")


class RNN(_Layers):
    """Layers of RNNCell over a sequence. Parameters of layer k: weight_ih_lk, weight_hh_lk,
    bias_ih_lk, bias_hh_lk, and those of the other direction with `_reverse` behind.

    batch_first    sequences are [batch, time, ...] instead of [time, batch, ...]
    dropout        with this probability elements are dropped between layers, in training
    bidirectional  a second cell per layer runs from the end; outputs lie side by side

    >>> outputs, last = nn.RNN(6, 8, batch_first=True)(gc.input("x", ("batch", 20, 6)))
    >>> outputs.shape, last.shape
    (('batch', 20, 8), (1, 'batch', 8))
    """

    def __init__(
        self,
        input_size: WholeNumber,
        hidden_size: WholeNumber,
        num_layers: WholeNumber = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: Number = 0.0,
        bidirectional: bool = False,
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self._set_up(
            _rnn_kind(nonlinearity, "RNN"), input_size, hidden_size, num_layers, bias,
            batch_first, dropout, bidirectional, dtype, weight_init, bias_init,
        )  # fmt: skip


class LSTM(_Layers):
    """Layers of LSTMCell over a sequence; parameters and options are named as those of RNN.

    The state is a pair (h, c).

    >>> layer = nn.LSTM(6, 8, num_layers=2, batch_first=True, bidirectional=True)
    >>> outputs, (h, c) = layer(gc.input("x", ("batch", 20, 6)))
    >>> outputs.shape, h.shape, c.shape
    (('batch', 20, 16), (4, 'batch', 8), (4, 'batch', 8))
    """

    def __init__(
        self,
        input_size: WholeNumber,
        hidden_size: WholeNumber,
        num_layers: WholeNumber = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: Number = 0.0,
        bidirectional: bool = False,
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self._set_up(
            _LSTM, input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, dtype, weight_init, bias_init,
        )  # fmt: skip


class GRU(_Layers):
    """Layers of GRUCell over a sequence; parameters and options are named as those of RNN.

    >>> outputs, last = nn.GRU(6, 8)(gc.input("x", (20, "batch", 6)))
    >>> outputs.shape, last.shape
    ((20, 'batch', 8), (1, 'batch', 8))
    """

    def __init__(
        self,
        input_size: WholeNumber,
        hidden_size: WholeNumber,
        num_layers: WholeNumber = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: Number = 0.0,
        bidirectional: bool = False,
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self._set_up(
            _GRU, input_size, hidden_size, num_layers, bias, batch_first, dropout,
            bidirectional, dtype, weight_init, bias_init,
        )  # fmt: skip
