"""Convolutions compiled: chains of them on images in any layout, and batches of fewer rows."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from support_cpu import assert_same_bits, graph_of, plan, run_compiled, scheduled

from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.contraction import Contraction, find_contraction
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.loops.runs import find_runs
from gradc.compiler.loops.schedule import Nest, Tiles
from gradc.compiler.lowering.choose_layouts import choose_layouts
from gradc.compiler.lowering.image_layouts import image_orders, reshaped_order
from gradc.compiler.ops.broadcast import sum_
from gradc.compiler.ops.convolution import conv_general
from gradc.compiler.ops.elementwise import add, mul, tanh
from gradc.compiler.ops.movement import reshape, reshape_groups, transpose
from gradc.compiler.ops.slicing import concatenate, pad
from gradc.compiler.ops.source import constant, input_, ones_like, state
from gradc.compiler.types import float32, float64

Array = np.ndarray[Any, Any]


def summed(x: Node) -> Node:
    return sum_(x, tuple(range(x.type.rank)))


def padded(x: Node, margin: int) -> Node:
    margins = (0, 0, *(margin,) * (x.type.rank - 2))
    return pad(x, constant(0, x.type.dtype), margins, margins, (0,) * x.type.rank)


@st.composite
def chains(draw: st.DrawFn) -> tuple[int, list[tuple[int, int, int, int]], int, Any]:
    """Channels that go in; per convolution: channels out, window, stride, margin; extent; dtype."""
    layers = [
        (
            draw(st.sampled_from([1, 3, 4, 7, 16, 19])),
            draw(st.integers(1, 3)),
            draw(st.sampled_from([1, 1, 2])),
            draw(st.integers(0, 1)),
        )
        for _ in range(draw(st.integers(1, 2)))
    ]
    channels, extent = draw(st.sampled_from([1, 3, 5, 16])), draw(st.integers(7, 11))
    return channels, layers, extent, draw(st.sampled_from([float32, float64]))


@settings(max_examples=15, deadline=None)
@given(chains(), st.sampled_from([1, 3, 5, 6]))
def test_chains_and_their_gradients(
    drawn: tuple[int, list[tuple[int, int, int, int]], int, Any], rows: int
) -> None:
    """A batch of at most 6: values as the graph says, the same bits in code and evaluator."""
    channels, layers, extent, dtype = drawn
    x = input_("x", ("batch", channels, extent, extent + 1), dtype)
    weights, y = [], x
    for number, (outputs, window, stride, margin) in enumerate(layers):
        shape = (outputs, int(y.type.shape[1]), window, window)
        weights.append(input_(f"w{number}", shape, dtype))
        y = tanh(conv_general(padded(y, margin), weights[-1], (stride, stride), (1, 1)))
    loss = summed(mul(y, y))
    gradients = vjp_nodes(loss, [x, *weights], ones_like(loss))
    outputs = {"y": y, **{f"d{n}": g for n, g in enumerate(gradients) if g is not None}}
    program = plan(graph_of(outputs), maxima={"batch": 6})
    rng = np.random.default_rng(rows)
    arrays = {
        str(i.attributes["name"]): rng.standard_normal(
            [rows if isinstance(e, str) else e for e in i.type.shape]
        ).astype(dtype.numpy)
        for i in (x, *weights)
    }
    found = run_compiled(program, arrays, rows=rows)
    assert_same_bits(program, found, arrays, rows=rows)
    assert run_compiled(program, arrays, rows=rows, threads=3)[0].keys() == found[0].keys()
    wanted, _ = evaluate(graph_of(outputs), arrays)
    for name, array in wanted.items():
        limit = 1e-11 if dtype is float64 else 2e-5
        scale = max(1.0, float(np.abs(array).max(initial=0)))
        np.testing.assert_allclose(found[0][name], array, rtol=0, atol=limit * scale, err_msg=name)


def contraction_of(kernel: Kernel) -> Contraction:
    found = find_contraction(kernel, find_runs(kernel))
    assert isinstance(found, Contraction), found
    return found


def test_all_three_directions_read_their_operands_where_they_lie() -> None:
    h = input_("h", (8, 16, 10, 10), float32)
    w, dy = state("w", (32, 16, 3, 3), float32, True), input_("dy", (8, 32, 8, 8), float32)
    x = tanh(h)
    y = conv_general(x, w, (1, 1), (1, 1))
    dx, dw = vjp_nodes(y, [x, w], tanh(dy))
    assert dx is not None and dw is not None
    graph = graph_of({"y": summed(tanh(y)), "dx": summed(tanh(dx))}, [(w, add(w, dw))])
    program = scheduled(plan(graph, orders=choose_layouts(graph)))
    tiles = [k.schedule for k in program.kernels() if "conv" in k.description]
    staged = [(t.a.kind, t.b.kind) for t in tiles if isinstance(t, Tiles)]
    assert staged == [("in place", "in place")] * 3


def test_results_that_lie_apart_leave_vectors_full() -> None:
    """The gradient of a 3 x 3 window as an output, three elements side by side: columns are the
    32 channels that the cotangent has there."""
    x, dy = tanh(input_("x", (8, 16, 10, 10), float32)), tanh(input_("dy", (8, 32, 8, 8), float32))
    w = input_("w", (32, 16, 3, 3), float32)
    (dw,) = vjp_nodes(conv_general(x, w, (1, 1), (1, 1)), [w], dy)
    assert dw is not None
    kernel = plan(graph_of({"dw": dw})).kernels()[-1]
    assert contraction_of(kernel).columns.extent == 32


def test_groups_lie_as_the_channels_that_they_are_of() -> None:
    """Channels of all groups are last, so that an image is not turned round to be split: of groups
    of four, and of groups of one, whose sums have lanes along the groups."""
    x = tanh(input_("x", (2, 8, 6, 6), float32))
    for groups in (2, 8):
        w = state("w", (8, 8 // groups, 3, 3), float32, True)
        split = reshape(x, (2, groups, 8 // groups, 6, 6))
        own = reshape(w, (groups, 8 // groups, *w.type.shape[1:]))
        y = conv_general(split, own, (1, 1), (1, 1))
        merged = tanh(reshape(y, (2, 8, 4, 4)))
        (dw,) = vjp_nodes(summed(merged), [w], ones_like(summed(merged)))
        assert dw is not None
        graph = graph_of({"y": summed(tanh(merged))}, [(w, add(w, dw))])
        orders = image_orders(graph)
        assert orders[x] == orders[merged] == (0, 2, 3, 1)
        assert [axis for axis in orders[y] if y.type.shape[axis] > 1] == (
            [0, 3, 4, 1, 2] if groups == 2 else [0, 3, 4, 1]
        )
        own_order = choose_layouts(graph)["w"].order
        assert own_order == ((2, 3, 1, 0) if groups == 2 else (2, 3, 0, 1))
        program = scheduled(plan(graph, orders=choose_layouts(graph)))
        kernel = next(k for k in program.kernels() if "conv_general" in k.description)
        if groups == 8:
            assert isinstance(kernel.schedule, Nest) and kernel.schedule.vector == ("i1",)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_an_order_through_a_reshape_is_the_same_memory(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 2, 3, 4]), min_size=1, max_size=4)))
    other = data.draw(st.sampled_from(same_sized(int(np.prod(shape)))))
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    elements = np.arange(np.prod(shape)).reshape(shape)
    found = reshaped_order(order, shape, other)
    walked = elements.transpose(order).reshape(-1)
    alike = [
        p
        for p in itertools.permutations(range(len(other)))
        if np.array_equal(elements.reshape(other).transpose(p).reshape(-1), walked)
    ]
    if found is not None:
        assert found in alike
    elif reshape_groups(shape, other) is not None and 1 not in (*shape, *other):
        assert not alike


def same_sized(size: int) -> list[tuple[int, ...]]:
    """Shapes of up to four axes with so many elements."""
    found: list[tuple[int, ...]] = [(size,), (1, size), (size, 1)]
    for axes in (2, 3, 4):
        found += [s for s in itertools.product(range(1, 7), repeat=axes) if np.prod(s) == size]
    return found


def test_what_is_joined_with_an_image_lies_as_it_does() -> None:
    """Sums, margins, joins along channels; not a transpose, nor what is read in another order."""
    x, w = input_("x", (2, 8, 6, 6), float32), input_("w", (8, 8, 3, 3), float32)
    y = conv_general(tanh(x), w, (1, 1), (1, 1))
    shifted = add(padded(y, 1), mul(x, x))
    joined = concatenate(shifted, tanh(x), axis=1)
    turned, flat = transpose(joined, (0, 1, 3, 2)), reshape(tanh(y), (2, 128))
    orders = image_orders(graph_of({"a": turned, "b": flat, "c": tanh(joined)}))
    last = (0, 2, 3, 1)
    assert orders[y] == orders[shifted] == orders[shifted.inputs[0]] == last
    assert joined not in orders and turned not in orders and flat.inputs[0] not in orders


def test_few_channels_have_vectors_along_the_rows_of_an_image() -> None:
    """Sixteen channels make four: the margins of the image are laid row by row, and a tile has four
    rows of weights and reads the image where it lies, also where its rows do not fill a tile."""
    for extent, columns in ((12, 16), (24, 32)):
        x = input_("x", (3, 16, extent, extent), float32)
        w = input_("w", (4, 16, 5, 5), float32)
        v = input_("v", (16, 16, 1, 1), float32)
        image = padded(conv_general(tanh(x), v, (1, 1), (1, 1)), 2)
        y = tanh(conv_general(image, w, (1, 1), (1, 1)))
        graph = graph_of({"y": mul(y, y)})
        orders = image_orders(graph)
        assert image not in orders and orders[image.inputs[0]] == orders[y] == (0, 2, 3, 1)
        program = scheduled(plan(graph), "x86-64-v4")
        tiles = next(k.schedule for k in program.kernels() if "conv_general tanh" in k.description)
        assert isinstance(tiles, Tiles) and tiles.tile == (4, columns)
        assert tiles.columns == ("i3",) and tiles.b.kind == "in place"
        rng = np.random.default_rng(extent)
        arrays = {
            str(node.attributes["name"]): rng.standard_normal(node.type.shape).astype(np.float32)
            for node in (x, w, v)
        }
        for target in ("native", "x86-64-v3"):
            ours = scheduled(plan(graph), target)
            assert_same_bits(ours, run_compiled(ours, arrays, target=target), arrays)


@pytest.mark.parametrize("channels", [5, 8])
def test_channels_that_fit_half_a_vector_take_half_of_one(channels: int) -> None:
    """Of 64 bytes: there are machines that take half the time for it. Images have them last."""
    x = input_("x", (3, 16, 12, 12), float32)
    w = input_("w", (channels, 16, 5, 5), float32)
    v = input_("v", (channels, channels, 1, 1), float32)
    y = tanh(conv_general(padded(tanh(x), 2), w, (1, 1), (1, 1)))
    graph = graph_of({"y": conv_general(y, v, (1, 1), (1, 1))})
    rng = np.random.default_rng(channels)
    arrays = {
        str(node.attributes["name"]): rng.standard_normal(node.type.shape).astype(np.float32)
        for node in (x, w, v)
    }
    for target in ("native", "x86-64-v4", "x86-64-v3", "aarch64"):
        ours = scheduled(plan(graph), target)
        tiles = next(k.schedule for k in ours.kernels() if "conv_general tanh" in k.description)
        assert isinstance(tiles, Tiles) and tiles.columns == ("i1",)
        if target == "native":
            assert_same_bits(ours, run_compiled(ours, arrays, target=target), arrays)
            continue
        assert tiles.tile == (12, 8) and tiles.lanes == (4 if target == "aarch64" else 8)
        if target == "x86-64-v3":
            assert_same_bits(ours, run_compiled(ours, arrays, target=target), arrays)
