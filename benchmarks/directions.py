"""Single convolutions in their three directions: forward, gradient for the image, for the weights.

Images lie as they do inside a training step, channels last, and padded images among their zeros
already, for in a network whoever makes an image writes it there. PyTorch is given images of the
same layout (channels_last) and pads on its own. The gradient for the weights is subtracted from
them in place, which is what a step of descent does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

DIRECTIONS = ("forward", "input", "weights")
RATE = 2.0**-10


@dataclass(frozen=True)
class Direction:
    """A convolution of images [batch, channels, size, size], and in which direction.

    groups   channels and outputs of one group meet; as many as channels: depthwise
    """

    name: str
    direction: str
    channels: int
    outputs: int
    stride: int = 1
    groups: int = 1
    batch: int = 64
    size: int = 32
    window: int = 3

    @property
    def places(self) -> int:
        return (self.size + 2 * (self.window // 2) - self.window) // self.stride + 1

    @property
    def flops_per_step(self) -> float:
        products = self.batch * self.places**2 * self.window**2 * self.channels * self.outputs
        return 2.0 * products / self.groups


def _cases() -> list[Direction]:
    found = []
    for direction in DIRECTIONS:
        for channels in (16, 32, 64):
            name = f"3x3, {channels} channels, {direction}"
            found.append(Direction(name, direction, channels, channels))
        found.append(Direction(f"3x3, 32 to 64, strides of 2, {direction}", direction, 32, 64, 2))
        if direction != "input":  # the first layer has no gradient for its image
            found.append(Direction(f"3x3, 3 to 32, {direction}", direction, 3, 32))
        name = f"3x3, 64 channels, depthwise, {direction}"
        found.append(Direction(name, direction, 64, 64, groups=64))
    return found


CASES = {case.name: case for case in _cases()}


def values(case: Direction) -> dict[str, Any]:
    """Arrays by the names of `shapes`; the margins of padded images hold zeros."""
    rng, found = np.random.default_rng(0), {}
    for name, shape in shapes(case).items():
        found[name] = rng.standard_normal(shape).astype(np.float32) * 0.1
        margin = case.window // 2
        if shape[-1] == case.size + 2 * margin and margin:
            inside = found[name][..., margin:-margin, margin:-margin].copy()
            found[name][...] = 0
            found[name][..., margin:-margin, margin:-margin] = inside
    return found


def shapes(case: Direction) -> dict[str, tuple[int, ...]]:
    """x and, without strides, dy are padded; so is dx where there are strides."""
    groups = () if case.groups == 1 else (case.groups,)
    channels, outputs = case.channels // case.groups, case.outputs // case.groups
    first, wide = (case.batch, *groups), (case.size + 2 * (case.window // 2),) * 2
    plain = case.stride == 1
    return {
        "x": (*first, channels, *wide),
        "w": (*groups, outputs, channels, case.window, case.window),
        "y": (*first, outputs, case.places, case.places),
        "dy": (*first, outputs, *(wide if plain else (case.places,) * 2)),
        "dx": (*first, channels, *((case.size,) * 2 if plain else wide)),
    }


def gradc_executor(case: Direction, threads: int) -> tuple[Any, Callable[[int], None]]:
    """Who holds the arrays as states, and `call(n)`, which runs the direction n times on them."""
    from gradc.compiler.driver import CompiledProgram
    from gradc.runtime.executor import Executor

    program = CompiledProgram(_graphs(case))
    executor = Executor(program, threads)
    for name, array in values(case).items():
        executor.state[name] = array
    entry = program.variant(case.direction, {}, False)
    prepared = executor.prepare(entry, [], None, [])

    def call(count: int) -> None:
        for _ in range(count):
            prepared.run(0, 1, entry.rows_maximum)

    return executor, call


def gradc_call(case: Direction, threads: int) -> Callable[[int], None]:
    return gradc_executor(case, threads)[1]


def _graphs(case: Direction) -> dict[str, Any]:
    """The graphs of all directions, for how the weights lie follows from who reads them."""
    from gradc.compiler.graph.ir import Graph, Update
    from gradc.compiler.ops.arithmetic import mul, sub
    from gradc.compiler.ops.convolution import conv_general, conv_input, conv_weights
    from gradc.compiler.ops.source import constant, state
    from gradc.compiler.types import float32

    extents, steps, ones = shapes(case), (case.stride,) * 2, (1, 1)
    given = {name: state(name, shape, float32, name == "w") for name, shape in extents.items()}
    x, w, y, dy = (given[name] for name in ("x", "w", "y", "dy"))
    if case.stride == 1:  # as conv_input makes it, of a cotangent that is padded
        dx = conv_general(dy, _turned(w), ones, ones)
    else:
        dx = conv_input(dy, w, extents["dx"][-2:], steps, ones)
    rate = constant(RATE, float32, extents["w"])
    new = {
        "forward": ("y", conv_general(x, w, steps, ones)),
        "input": ("dx", dx),
        "weights": ("w", sub(w, mul(rate, conv_weights(_reached(x, case), y, steps, ones)))),
    }
    states = tuple(given.values())
    graphs = {
        kind: Graph(kind, (), states, (), (Update(given[name], value),))
        for kind, (name, value) in new.items()
    }
    # Never run; states lie as it reads them. For other layers results are images like any others.
    read = {
        "z": conv_general(y, _turned(w), ones, ones),
        "dz": conv_general(given["dx"], w, ones, ones),
    }
    updates = tuple(update for graph in graphs.values() for update in graph.updates)
    return graphs | {"call": Graph("call", (), states, tuple(read.items()), updates)}


def _reached(x: Any, case: Direction) -> Any:
    """The part of the padded image that windows reach: strides may leave some at its end."""
    from gradc.compiler.ops.slicing import slice_

    first, extent = x.type.rank - 2, (case.places - 1) * case.stride + case.window
    kept = (*x.type.shape[:first], extent, extent)
    return slice_(x, (0,) * x.type.rank, (1,) * x.type.rank, kept)


def _turned(w: Any) -> Any:
    """The points of the window from the last to the first, outputs and channels exchanged."""
    from gradc.compiler.ops.movement import transpose
    from gradc.compiler.ops.slicing import slice_

    first = w.type.rank - 2
    last = tuple(int(extent) - 1 for extent in w.type.shape[first:])
    back = slice_(w, (*(0,) * first, *last), (*(1,) * first, -1, -1), w.type.shape)
    return transpose(back, (*range(first - 2), first - 1, first - 2, first, first + 1))


def torch_call(case: Direction, threads: int) -> Callable[[int], None]:
    import torch

    torch.set_num_threads(threads)
    lies = torch.channels_last
    size, places, margin = (case.size,) * 2, (case.places,) * 2, case.window // 2
    x = torch.randn(case.batch, case.channels, *size).to(memory_format=lies)
    dy = torch.randn(case.batch, case.outputs, *places).to(memory_format=lies)
    w = torch.randn(case.outputs, case.channels // case.groups, case.window, case.window)
    w = w.to(memory_format=lies)
    wanted = [case.direction == "input", case.direction == "weights", False]
    how = [case.stride] * 2, [margin] * 2, [1, 1]

    def once() -> None:
        if case.direction == "forward":
            torch.nn.functional.conv2d(x, w, None, *how, case.groups)
        else:
            backward = torch.ops.aten.convolution_backward
            backward(dy, x, w, None, *how, False, [0, 0], case.groups, wanted)

    def call(count: int) -> None:
        with torch.no_grad():
            for _ in range(count):
                once()

    return call
