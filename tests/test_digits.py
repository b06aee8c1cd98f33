"""Indices cut into digits come together in the address, and only where that is what they say."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
from hypothesis import given, settings

from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.digits import address_terms
from gradc.compiler.loops.ir import Axis, Buffer, Scalar, dense_layout
from gradc.compiler.loops.known_index import FOLDS
from gradc.compiler.loops.runs import Address
from gradc.compiler.types import TensorType, float32


def number(scalar: Scalar, points: dict[Axis, int]) -> int:
    if scalar.op == "axis":
        return points[scalar.payload]
    if scalar.op == "constant":
        return int(scalar.payload)
    return FOLDS[scalar.op](*(number(arg, points) for arg in scalar.args))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_terms_add_up_to_the_address(data: st.DataObject) -> None:
    """Digits of one number or of several, in and out of order, with odd divisors and strides."""
    k = ScalarBuilder()
    axes = [Axis("a", data.draw(st.integers(1, 30))), Axis("b", data.draw(st.integers(1, 30)))]
    numbers = [k.axis(axes[0]), k.axis(axes[1])]
    numbers.append(k.add(k.mul(numbers[0], k.index(axes[1].extent)), numbers[1]))
    index: list[Scalar] = []
    strides: list[int] = []
    for _ in range(data.draw(st.integers(1, 4))):
        scalar = data.draw(st.sampled_from(numbers))
        divisor, modulus = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 9))
        scalar = k.primitive("floor_div", scalar, k.index(divisor))
        if modulus:
            scalar = k.primitive("mod", scalar, k.index(modulus))
        index.append(scalar)
        strides.append(data.draw(st.integers(0, 20)))
    terms = address_terms(index, strides)
    for points in itertools.product(*(range(axis.extent) for axis in axes)):
        at = dict(zip(axes, points, strict=True))
        plain = sum(number(s, at) * t for s, t in zip(index, strides, strict=True))
        assert sum(number(s, at) * t for s, t in terms) == plain


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.permutations(range(4)))
def test_a_flat_index_steps_evenly_through_what_lies_as_it_counts(
    shape: list[int], order: list[int]
) -> None:
    """A number cut along the axes of a buffer steps by one, in whichever order they are listed;
    through a buffer that lies otherwise it does not."""
    k = ScalarBuilder()
    axis = Axis("n", math.prod(shape))
    index, inside = [], math.prod(shape)
    for extent in shape:
        inside //= extent
        digit = k.primitive("floor_div", k.axis(axis), k.index(inside))
        index.append(k.primitive("mod", digit, k.index(extent)))
    type = TensorType(float32, tuple(shape))
    buffer = Buffer("x", type, dense_layout(tuple(shape)), "arena")
    assert Address(buffer, tuple(index)).step(axis) in ((1,) if axis.extent > 1 else (0, 1, None))
    moved = tuple(d for d in order if d < len(shape))
    turned = Buffer("x", type, dense_layout(tuple(shape), moved), "arena")
    if [d for d in moved if shape[d] > 1] != [d for d in range(len(shape)) if shape[d] > 1]:
        assert Address(turned, tuple(index)).step(axis) is None
