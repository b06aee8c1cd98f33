"""Convolution records: values by a sum written out, gradients of first and second order."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from test_autodiff import central_differences, random_values, values_of, weighted_sum

from gradc.compiler.autodiff.forward import hvp_nodes
from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.errors import GradcError
from gradc.compiler.graph.ir import Node, apply, topological
from gradc.compiler.ops.convolution import (
    CONV_GENERAL,
    conv_general,
    conv_input,
    conv_weights,
)
from gradc.compiler.ops.source import constant, input_, ones_like
from gradc.compiler.types import TensorType, bool_, float32, float64, static_shape

Array = np.ndarray[Any, Any]


class Geometry(NamedTuple):
    """The extents of one convolution; `places` follow from the others."""

    batch: int
    groups: tuple[int, ...]
    outputs: int
    channels: int
    image: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def places(self) -> tuple[int, ...]:
        sides = zip(self.image, self.window, self.strides, self.dilation, strict=True)
        return tuple((p - (q - 1) * step - 1) // stride + 1 for p, q, stride, step in sides)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Of image, weights and result."""
        return (
            (self.batch, *self.groups, self.channels, *self.image),
            (*self.groups, self.outputs, self.channels, *self.window),
            (self.batch, *self.groups, self.outputs, *self.places),
        )


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    """Windows of one point and as large as the image, steps longer than they reach, odd rests."""
    axes = draw(st.integers(1, 3))
    window, strides, dilation, image = [], [], [], []
    for _ in range(axes):
        points = draw(st.integers(1, 4 if axes == 1 else 3))
        step = draw(st.integers(1, 3 if axes < 3 else 2))
        stride = draw(st.integers(1, 5 if axes == 1 else 3))
        more = draw(st.integers(0, 6 if axes == 1 else 3))
        window.append(points)
        dilation.append(step)
        strides.append(stride)
        image.append((points - 1) * step + 1 + more)
    groups = draw(st.sampled_from([(), (1,), (2,), (3,), (2, 2)]))
    small = st.integers(1, 2)
    sizes = draw(small), groups, draw(small), draw(small)
    return Geometry(*sizes, tuple(image), tuple(window), tuple(strides), tuple(dilation))


def points_of(g: Geometry) -> list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """Every place with every point of the window, and where in the image the two meet."""
    return [
        (r, q, tuple(a * s + b * d for a, b, s, d in zip(r, q, g.strides, g.dilation, strict=True)))
        for r in itertools.product(*map(range, g.places))
        for q in itertools.product(*map(range, g.window))
    ]


def by_sums(g: Geometry, x: Array, w: Array) -> Array:
    """The result point by point, as the definition reads."""
    y = np.zeros(g.shapes[2])
    for r, q, p in points_of(g):
        y[(..., *r)] += np.einsum("n...c,...oc->n...o", x[(..., *p)], w[(..., *q)])
    return y


def weights_by_sums(g: Geometry, x: Array, y: Array) -> Array:
    w = np.zeros(g.shapes[1])
    for r, q, p in points_of(g):
        w[(..., *q)] += np.einsum("n...c,n...o->...oc", x[(..., *p)], y[(..., *r)])
    return w


def image_by_sums(g: Geometry, w: Array, y: Array) -> Array:
    x = np.zeros(g.shapes[0])
    for r, q, p in points_of(g):
        x[(..., *p)] += np.einsum("...oc,n...o->n...c", w[(..., *q)], y[(..., *r)])
    return x


def inputs_of(g: Geometry) -> tuple[Node, Node, Node]:
    x, w, y = (input_(n, s, float64) for n, s in zip("xwy", g.shapes, strict=True))
    return x, w, y


@settings(max_examples=60, deadline=None)
@given(geometries())
def test_values_and_both_transposes_are_the_sums(g: Geometry) -> None:
    x, w, y = inputs_of(g)
    values = random_values([x, w, y])
    steps = g.strides, g.dilation
    result = conv_general(x, w, *steps)
    assert result.type.shape == g.shapes[2]
    dx, dw = vjp_nodes(result, [x, w], y)
    assert dx is not None and dw is not None
    found = values_of([result, dx, dw], values)
    expected = [
        by_sums(g, values[x], values[w]),
        image_by_sums(g, values[w], values[y]),
        weights_by_sums(g, values[x], values[y]),
    ]
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.shape == wanted.shape
        np.testing.assert_allclose(actual, wanted, rtol=1e-11, atol=1e-11)


APART = {
    "patches": Geometry(2, (), 3, 4, (17, 20), (8, 5), (8, 5), (1, 1)),
    "gaps": Geometry(2, (2,), 3, 2, (29, 33), (3, 4), (11, 9), (2, 1)),
    "the whole image": Geometry(2, (), 3, 4, (6, 7), (6, 7), (1, 1), (1, 1)),
    "one place, a rest": Geometry(1, (), 3, 2, (9, 12), (3, 3), (9, 12), (3, 2)),
}


@pytest.mark.parametrize("name", APART)
def test_windows_that_do_not_meet_give_the_image_by_products_that_count(name: str) -> None:
    """Every element of the result meets every weight once, as in the convolution; none a zero."""
    g = APART[name]
    x, w, y = inputs_of(g)
    steps = g.strides, g.dilation
    values = random_values([w, y])
    made = conv_input(y, w, g.image, *steps)
    np.testing.assert_allclose(
        values_of([made], values)[0], image_by_sums(g, values[w], values[y]), rtol=1e-11, atol=1e-11
    )
    sums = [node for node in topological([made]) if node.op.name == "conv_general"]
    assert sum(map(products, sums)) == products(conv_general(x, w, *steps))


def products(node: Node) -> float:
    return node.op.cost(node.type, *(i.type for i in node.inputs), **node.attributes)


@settings(max_examples=25, deadline=None)
@given(geometries(), st.sampled_from(["conv", "weights", "input"]))
def test_first_and_second_order_against_differences(g: Geometry, kind: str) -> None:
    """Of each of the three sums of one product, as a function of the other two factors."""
    x, w, y = inputs_of(g)
    steps = g.strides, g.dilation
    reached = tuple(
        (r - 1) * s + (q - 1) * d + 1 for r, q, s, d in zip(g.places, g.window, *steps, strict=True)
    )
    exact = input_("x", (*g.shapes[0][: -len(reached)], *reached), float64)
    made = {
        "conv": lambda: conv_general(x, w, *steps),
        "weights": lambda: conv_weights(exact, y, *steps),
        "input": lambda: conv_input(y, w, g.image, *steps),
    }[kind]()
    scalar = weighted_sum(made)
    wrt = [node for node in topological([scalar]) if node.op.name == "input"]
    values = random_values(wrt)
    if sum(v.size for v in values.values()) > 90:
        return  # one difference for each element, twice
    vectors = [constant(v, float64) for v in random_values(wrt, seed=1).values()]
    for node, found in zip(wrt, vjp_nodes(scalar, wrt, ones_like(scalar)), strict=True):
        assert found is not None
        expected = central_differences(scalar, values, node)
        np.testing.assert_allclose(values_of([found], values)[0], expected, rtol=1e-6, atol=1e-7)
    gradients = vjp_nodes(scalar, wrt, ones_like(scalar))
    for number, found in enumerate(hvp_nodes(scalar, wrt, vectors)):
        # The derivative of the gradient along the vectors, by differences of the gradient itself.
        gradient = gradients[number]
        assert found is not None and gradient is not None
        sides = []
        for sign in (1e-5, -1e-5):
            moved = {
                n: v + sign * values_of([u], {})[0]
                for (n, v), u in zip(values.items(), vectors, strict=True)
            }
            sides.append(values_of([gradient], moved)[0])
        expected = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(values_of([found], values)[0], expected, rtol=1e-6, atol=1e-7)


def operations(*nodes: Node | None) -> list[str]:
    return [n.op.name for n in topological([n for n in nodes if n is not None])]


def test_the_gradient_of_weights_is_one_record_in_their_own_order() -> None:
    """So that the update of a weight can be the epilogue of what makes its gradient."""
    x, w = input_("x", ("batch", 3, 9, 9), float32), input_("w", (5, 3, 3, 3), float32)
    y = conv_general(x, w, (1, 1), (1, 1))
    (found,) = vjp_nodes(y, [w], input_("dy", ("batch", 5, 7, 7), float32))
    assert found is not None and found.op.name == "conv_weights"
    assert found.type == w.type and found.inputs[0] is x


def test_a_strided_gradient_multiplies_no_zeros() -> None:
    """One convolution per phase, each with the points of the window that meet it: 3 = 2 + 1."""
    x, w = input_("x", (2, 3, 9, 9), float32), input_("w", (5, 3, 3, 3), float32)
    y = conv_general(x, w, (2, 2), (1, 1))
    (found,) = vjp_nodes(y, [x], input_("dy", y.type.shape, float32))
    assert found is not None
    parts = [n for n in topological([found]) if n.op is CONV_GENERAL]
    windows = sorted(static_shape(n.inputs[1].type.shape)[2:] for n in parts)
    assert windows == [(1, 1), (1, 2), (2, 1), (2, 2)]
    flops = sum(n.op.cost(n.type, *(i.type for i in n.inputs), **n.attributes) for n in parts)
    forward = y.op.cost(y.type, x.type, w.type, **y.attributes)
    assert flops < 1.6 * forward  # elements that no window reaches at the rim are computed too


PIECES = {
    "five steps each way": Geometry(2, (), 3, 2, (23, 22), (7, 6), (5, 5), (1, 1)),
    "groups, apart points": Geometry(1, (2,), 2, 2, (31, 20), (4, 3), (6, 3), (3, 1)),
    "three pieces": Geometry(2, (), 1, 2, (80,), (45,), (17,), (1,)),
}


@pytest.mark.parametrize("name", PIECES)
def test_long_steps_cut_the_window_into_pieces(name: str) -> None:
    """More rests than phases are worth: pieces that do not meet. Few zeros are multiplied, those
    of elements that a phase reaches beyond the rim."""
    g = PIECES[name]
    x, w, y = inputs_of(g)
    steps = g.strides, g.dilation
    values = random_values([w, y])
    made = conv_input(y, w, g.image, *steps)
    np.testing.assert_allclose(
        values_of([made], values)[0], image_by_sums(g, values[w], values[y]), rtol=1e-11, atol=1e-11
    )
    sums = [node for node in topological([made]) if node.op is CONV_GENERAL]
    assert 1 < len(sums) < math.prod(g.strides)
    assert sum(map(products, sums)) < 1.5 * products(conv_general(x, w, *steps))


def test_a_window_of_one_point_with_steps_is_one_product() -> None:
    x, w = input_("x", (1, 2, 7, 7), float64), input_("w", (3, 2, 1, 1), float64)
    y = conv_general(x, w, (2, 2), (1, 1))
    (found,) = vjp_nodes(y, [x], input_("dy", y.type.shape, float64))
    assert operations(found).count("conv_general") == 1


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "channels": (((2, 3, 5), (4, 2, 3), (1,), (1,)), "channels differ"),
    "groups": (((2, 3, 1, 5), (2, 4, 1, 3), (1,), (1,)), "groups differ"),
    "reach": (((2, 3, 5), (4, 3, 3), (1,), (3,)), "the window is larger than the image"),
    "no point": (((2, 3, 5), (4, 3, 0), (1,), (1,)), "the window has no element"),
    "stride": (((2, 3, 5), (4, 3, 2), (0,), (1,)), "strides and dilation are 1 or more"),
    "numbers": (((2, 3, 5), (4, 3, 2), (1, 1), (1,)), "one number per spatial axis"),
    "ranks": (((2, 3, 5), (4, 3, 2, 2), (1,), (1,)), "the ranks do not fit 1 spatial axes"),
    "few axes": (((3, 5), (3, 5), (1,), (1,)), "the ranks do not fit 1 spatial axes"),
    "named": (((2, 3, "n"), (4, 3, 2), (1,), (1,)), "a spatial axis of x has a named dimension"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    (x, w, strides, dilation), message = REFUSED[name]
    types = TensorType(float32, x), TensorType(float32, w)
    with pytest.raises(GradcError, match=message) as caught:
        CONV_GENERAL.infer(*types, strides=strides, dilation=dilation)
    assert f"x is {types[0]}" in str(caught.value) and f"w is {types[1]}" in str(caught.value)


def test_dtypes_that_differ_or_are_no_numbers_are_refused() -> None:
    for dtypes, message in (
        ((float32, float64), "operand dtypes differ"),
        ((bool_, bool_), "operands are not numeric"),
    ):
        x, w = (input_(n, (1, 1, 3), d) for n, d in zip("xw", dtypes, strict=True))
        with pytest.raises(GradcError, match=message):
            apply(CONV_GENERAL, x, w, strides=(1,), dilation=(1,))
