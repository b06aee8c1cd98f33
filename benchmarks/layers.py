"""The layers of the benchmark models: shapes, first values, work, and the module. NumPy alone.

A model is a tuple of layers. PyTorch and gradc have modules of the same names and arguments, so
that `module(nn)` makes a layer in either; train_jax.py computes with the records themselves. Shapes
are those of one sample, images are [channels, height, width], weights lie as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]


class Layer(Protocol):
    """One layer of a model."""

    def after(self, shape: Shape) -> Shape:
        """The shape of what it makes of a sample of this shape."""
        ...

    def multiply_adds(self, shape: Shape) -> float:
        """Of the forward pass of one sample; those of convolutions and linear layers count."""
        ...

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        """The first values of its own parameters, by name."""
        ...

    def module(self, nn: Any) -> Any:
        """The layer in a library whose `nn` this is."""
        ...


class _Unweighted:
    """What layers without parameters have in common."""

    def after(self, shape: Shape) -> Shape:
        return shape

    def multiply_adds(self, shape: Shape) -> float:
        return 0.0

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        return {}


def _uniform(rng: np.random.Generator, shape: Shape, terms: int) -> Array:
    """PyTorch's bound for linear layers and biases: 1 / sqrt(terms of a sum)."""
    bound = 1 / math.sqrt(terms)
    return rng.uniform(-bound, bound, shape).astype(np.float32)


@dataclass(frozen=True)
class Linear:
    inputs: int
    outputs: int

    def after(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.outputs)

    def multiply_adds(self, shape: Shape) -> float:
        return float(math.prod(shape[:-1]) * self.inputs * self.outputs)

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        weight = _uniform(rng, (self.outputs, self.inputs), self.inputs)
        return {"weight": weight, "bias": _uniform(rng, (self.outputs,), self.inputs)}

    def module(self, nn: Any) -> Any:
        return nn.Linear(self.inputs, self.outputs)


@dataclass(frozen=True)
class Conv:
    inputs: int
    outputs: int
    window: int
    stride: int = 1
    padding: int = 0
    bias: bool = True

    def after(self, shape: Shape) -> Shape:
        height, width = ((e + 2 * self.padding - self.window) // self.stride + 1 for e in shape[1:])
        return (self.outputs, height, width)

    def multiply_adds(self, shape: Shape) -> float:
        return float(math.prod(self.after(shape)) * self.inputs * self.window**2)

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        """Of deviation sqrt(2 / terms): He et al., "Delving Deep into Rectifiers" (2015)."""
        shape = (self.outputs, self.inputs, self.window, self.window)
        terms = math.prod(shape[1:])
        found = {"weight": (rng.standard_normal(shape) * math.sqrt(2 / terms)).astype(np.float32)}
        if self.bias:
            found["bias"] = _uniform(rng, (self.outputs,), terms)
        return found

    def module(self, nn: Any) -> Any:
        return nn.Conv2d(
            self.inputs, self.outputs, self.window, self.stride, self.padding, bias=self.bias
        )


@dataclass(frozen=True)
class BatchNorm(_Unweighted):
    """PyTorch's defaults: epsilon 1e-5, running statistics that move by 0.1."""

    channels: int

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        ones, zeros = np.ones(self.channels, np.float32), np.zeros(self.channels, np.float32)
        return {"weight": ones, "bias": zeros}

    def module(self, nn: Any) -> Any:
        return nn.BatchNorm2d(self.channels)


@dataclass(frozen=True)
class Activation(_Unweighted):
    """name   "Tanh", "ReLU", "Sigmoid" or "GELU" """

    name: str

    def module(self, nn: Any) -> Any:
        return getattr(nn, self.name)()


@dataclass(frozen=True)
class MaxPool(_Unweighted):
    """Windows of window x window that do not overlap."""

    window: int

    def after(self, shape: Shape) -> Shape:
        return (shape[0], shape[1] // self.window, shape[2] // self.window)

    def module(self, nn: Any) -> Any:
        return nn.MaxPool2d(self.window)


@dataclass(frozen=True)
class GlobalMean(_Unweighted):
    """The mean over height and width, both of which stay with extent 1."""

    def after(self, shape: Shape) -> Shape:
        return (shape[0], 1, 1)

    def module(self, nn: Any) -> Any:
        return nn.AdaptiveAvgPool2d(1)


@dataclass(frozen=True)
class Flatten(_Unweighted):
    def after(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def module(self, nn: Any) -> Any:
        return nn.Flatten()


@dataclass(frozen=True)
class Residual(_Unweighted):
    """main(x) + shortcut(x); a shortcut without layers is x."""

    main: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def after(self, shape: Shape) -> Shape:
        return shape_after(self.main, shape)

    def module(self, nn: Any) -> Any:
        class Sum(nn.Module):  # type: ignore[misc]
            def __init__(self, main: Any, shortcut: Any) -> None:
                super().__init__()
                self.main, self.shortcut = main, shortcut

            def forward(self, x: Any) -> Any:
                return self.main(x) + self.shortcut(x)

        return Sum(model(nn, self.main), model(nn, self.shortcut))


@dataclass(frozen=True)
class Tokens(_Unweighted):
    """Numbers of words [length] to the sum of a row for each word and one for each position."""

    words: int
    length: int
    wide: int

    def after(self, shape: Shape) -> Shape:
        return (self.length, self.wide)

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        """Of deviation 0.02: Radford et al., "Improving Language Understanding" (2018)."""
        shapes = {
            "words.weight": (self.words, self.wide),
            "places.weight": (self.length, self.wide),
        }
        return {n: (0.02 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}

    def module(self, nn: Any) -> Any:
        class Sum(nn.Module):  # type: ignore[misc]
            def __init__(self, words: Any, places: Any) -> None:
                super().__init__()
                self.words, self.places = words, places

            def forward(self, x: Any) -> Any:
                return self.words(x) + self.places.weight

        places = nn.Embedding(self.length, self.wide)
        return Sum(nn.Embedding(self.words, self.wide), places)


@dataclass(frozen=True)
class LayerNorm(_Unweighted):
    """Over the last axis, with PyTorch's epsilon of 1e-5."""

    features: int

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        ones, zeros = np.ones(self.features, np.float32), np.zeros(self.features, np.float32)
        return {"weight": ones, "bias": zeros}

    def module(self, nn: Any) -> Any:
        return nn.LayerNorm(self.features)


@dataclass(frozen=True)
class Attention(_Unweighted):
    """Causal self-attention: one product makes queries, keys and values, another ends it."""

    wide: int
    heads: int

    def multiply_adds(self, shape: Shape) -> float:
        """All of the scores count, masked ones too."""
        return float(shape[0] * self.wide * (4 * self.wide + 2 * shape[0]))

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        first, last = Linear(self.wide, 3 * self.wide), Linear(self.wide, self.wide)
        pairs = (("qkv", first), ("out", last))
        return {f"{name}.{n}": v for name, own in pairs for n, v in own.values(rng).items()}

    def module(self, nn: Any) -> Any:
        wide, heads = self.wide, self.heads

        class SelfAttention(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.qkv, self.out = nn.Linear(wide, 3 * wide), nn.Linear(wide, wide)

            def forward(self, x: Any) -> Any:
                all_three = self.qkv(x)
                batch, length, _ = x.shape
                q, k, v = (
                    all_three[..., n * wide : (n + 1) * wide]
                    .reshape((batch, length, heads, wide // heads))
                    .permute(0, 2, 1, 3)
                    for n in range(3)
                )
                mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
                return self.out(mixed.permute(0, 2, 1, 3).reshape((batch, length, wide)))

        return SelfAttention()


@dataclass(frozen=True)
class Recurrent(_Unweighted):
    """[length, inputs] to the last state [hidden]. kind: PyTorch's "LSTM" or "GRU"."""

    kind: str
    inputs: int
    hidden: int

    @property
    def gates(self) -> int:
        """Blocks of rows of the weights, all of them of `hidden` rows."""
        return {"LSTM": 4, "GRU": 3}[self.kind]

    def after(self, shape: Shape) -> Shape:
        return (self.hidden,)

    def multiply_adds(self, shape: Shape) -> float:
        return float(shape[0] * self.gates * self.hidden * (self.inputs + self.hidden))

    def values(self, rng: np.random.Generator) -> dict[str, Array]:
        rows = self.gates * self.hidden
        shapes: dict[str, Shape] = {
            "weight_ih_l0": (rows, self.inputs),
            "weight_hh_l0": (rows, self.hidden),
            "bias_ih_l0": (rows,),
            "bias_hh_l0": (rows,),
        }
        return {f"cell.{name}": _uniform(rng, s, self.hidden) for name, s in shapes.items()}

    def module(self, nn: Any) -> Any:
        kind, inputs, hidden = self.kind, self.inputs, self.hidden

        class Last(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.cell = getattr(nn, kind)(inputs, hidden, batch_first=True)

            def forward(self, x: Any) -> Any:
                return self.cell(x)[0][:, -1]

        return Last()


def of_inputs(layer: Layer, shape: Shape) -> float:
    """The multiply-adds that a layer does with its input: what the gradient for the input takes."""
    if isinstance(layer, Recurrent):
        return float(shape[0] * layer.gates * layer.hidden * layer.inputs)
    return layer.multiply_adds(shape)


def model(nn: Any, layers: tuple[Layer, ...]) -> Any:
    """The layers one after the other, in a library whose `nn` this is."""
    return nn.Sequential(*(layer.module(nn) for layer in layers))


def shape_after(layers: tuple[Layer, ...], shape: Shape) -> Shape:
    for layer in layers:
        shape = layer.after(shape)
    return shape


def walk(
    layers: tuple[Layer, ...], shape: Shape, prefix: str = ""
) -> Iterator[tuple[str, Layer, Shape]]:
    """Every layer that holds no others: its name as in a Sequential, and its input's shape."""
    for number, layer in enumerate(layers):
        name = f"{prefix}{number}"
        if isinstance(layer, Residual):
            yield from walk(layer.main, shape, f"{name}.main.")
            yield from walk(layer.shortcut, shape, f"{name}.shortcut.")
        else:
            yield name, layer, shape
        shape = layer.after(shape)


def perceptron(widths: tuple[int, ...], activation: str, last: str = "") -> tuple[Layer, ...]:
    """Linear layers with an activation between, and perhaps another behind the last."""
    found: list[Layer] = []
    for inputs, outputs in pairwise(widths):
        found += [Linear(inputs, outputs), Activation(activation)]
    return (*found[:-1], *([Activation(last)] if last else []))
