"""The canonical text of a kernel: equal for kernels that can be one piece of code.

    before   buffer %t45 : f32[64, 10] in arena at 98304
             buffer %"6.bias" : f32[10] in state at 170624
             kernel k16 "sum mul sub" flops 660 {
               parallel i1 in 10
               loop i0 in 64 {
                 %k16_r0 = sum(%t45[i0, i1]) : f32
               }
               ...
    after    buffer %b0 : f32[64, 10] in arena
             buffer %b1 : f32[10] in state
             kernel k {
               parallel a0 in 10
               loop a1 in 64 {
                 %r0 = sum(%b0[a1, a0]) : f32
               }
               ...

Names are numbered in order of appearance; buffers have no place (an offset or a slot), kernels no
description and no FLOPs. Everything else stays: types, layouts and spaces, extents, structure,
orders and schedule, the content of constants.

The stream of random bits (ops/random.py) is no part of what is computed either, but which of many
equal draws it is: it comes with the call, as places do, from a buffer of its own.

    before   philox(%v0, %v1, -2147483648 : i32, 0 : i32, %v2, %v3)
    after    philox(%v0, %v1, %b3[], 0 : i32, %v2, %v3)      buffer %b3 : i32[] in call

So is where the loops around a kernel stand, however many they are and however long.

    before   %x[t, i]                                        counter t in 64
    after    %x[%b1[], i]                                    buffer %b1 : i64[] in counter

Two kernels of one text differ in where their buffers lie, so code for them must find buffers at
run time, and assume nothing of how they lie to each other or to a cache line: a result may be
written over an operand in one kernel, and beside it in the other. Code is made of the kernel that
the text is parsed to, so nothing that the text leaves out can decide code.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

from ..types import TensorType, int32, int64
from .ir import Axis, Buffer, Kernel, Loop, Scalar, dense_layout
from .rewrite import remade, rewrite_kernel
from .text import InnerNames, buffer_line, counter_lines, kernel_lines, parse_kernel

NAME = "k"
STREAM = 2
"""Which operand of `philox` is the stream."""


def streams_apart(kernel: Kernel) -> Kernel:
    """The kernel that finds its streams of random bits in buffers; itself if it has none."""
    if not any(s.op == "philox" for s in kernel.scalars):
        return kernel
    of_stream: dict[int, Scalar] = {}

    def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar.op == "philox" and args[STREAM].op == "constant":
            number = args[STREAM].payload % 2**32
            if number not in of_stream:
                name = f"stream{len(of_stream)}"
                buffer = Buffer(name, TensorType(int32, ()), dense_layout(()), "call", number)
                of_stream[number] = Scalar("load", (), int32, buffer)
            args = (*args[:STREAM], of_stream[number], *args[STREAM + 1 :])
        return remade(scalar, args, scalar.payload)

    return rewrite_kernel(kernel, scalar=rule)


def counters_apart(kernel: Kernel, slots: Mapping[Axis, int]) -> Kernel:
    """The kernel that finds its counters in buffers; itself if it has none.

    slots   the number of each loop around it
    """
    if not kernel.counters:
        return kernel
    loads = {
        axis: Scalar("load", (), int64, _counter_buffer(axis, slots[axis]))
        for axis in kernel.counters
    }

    def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar.op == "counter":
            return loads[scalar.payload]
        return remade(scalar, args, scalar.payload)

    return rewrite_kernel(kernel, scalar=rule)


def _counter_buffer(axis: Axis, slot: int) -> Buffer:
    return Buffer(axis.name, TensorType(int64, ()), dense_layout(()), "counter", slot)


def structure(kernel: Kernel) -> tuple[Hashable, ...]:
    """Kernels with equal structure have equal canonical text, and axes of equal names.

    For less than the text costs: most kernels of a deep model are some other kernel again.
    """
    buffers = {b: number for number, b in enumerate(kernel.buffers)}
    reductions = {
        r.name: n for n, r in enumerate(r for loop in kernel.loops for r in loop.reductions)
    }
    counters = {c: (number, *_axis_structure(c)[1:]) for number, c in enumerate(kernel.counters)}
    numbers: dict[Scalar, int] = {}
    lines: list[Hashable] = []
    for number, scalar in enumerate(kernel.scalars):
        numbers[scalar] = number
        payload: Hashable = None
        if scalar.op == "load":
            payload = buffers[scalar.payload]
        elif scalar.op == "axis":
            payload = scalar.payload.name
        elif scalar.op == "constant":
            payload = repr(scalar.payload)
        elif scalar.op == "reduced":
            payload = reductions[scalar.payload]
        elif scalar.op == "counter":
            payload = counters[scalar.payload]
        lines.append((scalar.op, scalar.dtype.name, payload, *[numbers[a] for a in scalar.args]))
    loops = tuple(_loop_structure(loop, buffers, numbers) for loop in kernel.loops)
    memory = tuple(map(_buffer_structure, buffers))
    guards = tuple(numbers[s] for s in kernel.guards)
    axes = tuple(map(_axis_structure, kernel.axes))
    return memory, axes, guards, tuple(lines), loops, kernel.schedule


def _loop_structure(
    loop: Loop, buffers: Mapping[Buffer, int], numbers: Mapping[Scalar, int]
) -> tuple[Hashable, ...]:
    reductions = tuple((str(r.combiner), numbers[r.value], r.dtype.name) for r in loop.reductions)
    stores = tuple(
        (
            buffers[s.buffer],
            tuple(numbers[i] for i in s.index),
            numbers[s.value],
            s.accumulate,
            None if s.counting is None else numbers[s.counting],
        )
        for s in loop.stores
    )
    axes = tuple(map(_axis_structure, loop.axes))
    between = tuple(numbers[end] for end in loop.between or ())
    return axes, between, reductions, stores, loop.running, loop.order


def _axis_structure(axis: Axis) -> tuple[Hashable, ...]:
    return axis.name, axis.extent, axis.bounded, axis.per_row


def _buffer_structure(buffer: Buffer) -> tuple[Hashable, ...]:
    type, layout = buffer.type, buffer.layout
    places = (layout.order, layout.strides, layout.offset, layout.size_elements, layout.strip)
    return type.dtype.name, type.shape, places, buffer.space, buffer.is_far, buffer.content


def canonical_text(kernel: Kernel) -> str:
    """The text; its buffers stand in the order of `kernel.buffers`."""
    names = {b: f"b{number}" for number, b in enumerate(kernel.buffers)}
    lines = [buffer_line(b, names, placed=False) for b in kernel.buffers]
    inner_axes = [axis for loop in kernel.loops for axis in loop.axes]
    axes = dict.fromkeys(axis.name for axis in (*kernel.axes, *inner_axes))
    reductions = [r.name for loop in kernel.loops for r in loop.reductions]
    inner = InnerNames(
        {name: f"a{number}" for number, name in enumerate(axes)},
        {name: f"r{number}" for number, name in enumerate(reductions)},
        {axis.name: f"c{number}" for number, axis in enumerate(kernel.counters)},
    )
    lines += counter_lines(kernel, inner)
    bare = replace(kernel, name=NAME, description="", flops=0.0)
    return "\n".join([*lines, *kernel_lines(bare, names, inner)]) + "\n"


def canonical_kernel(text: str, name: str) -> Kernel:
    """The kernel of a canonical text, under a name. Its `buffers` are in the text's order."""
    kernel = replace(parse_kernel(text), name=name)
    assert [b.name for b in kernel.buffers] == [f"b{n}" for n in range(len(kernel.buffers))], text
    return kernel
