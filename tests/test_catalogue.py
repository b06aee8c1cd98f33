"""Every operation of the catalogue, found automatically: type, value, gradient, and each back end.

An operation without examples fails here. A back end joins by one line in BACKENDS: its results are
compared with the NumPy reference on all examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from catalogue_example import Example, generator
from catalogue_examples import EXAMPLES
from catalogue_smooth import NO_DERIVATIVE, SMOOTH
from support_cpu import assert_same_bits, plan, run_compiled

from gradc.compiler.autodiff.reverse import vjp_many, vjp_nodes
from gradc.compiler.errors import GradcError, GradientError, ShapeError
from gradc.compiler.graph.evaluate import evaluate, evaluate_nodes
from gradc.compiler.graph.ir import Graph, Node, all_nodes, apply
from gradc.compiler.ops import CATALOGUE, OP_WITH_NAME
from gradc.compiler.ops.definition import Composed, NoDerivative, ZeroDerivative
from gradc.compiler.ops.source import constant, input_, ones_like, zeros_like
from gradc.compiler.passes.copy_roots import copy_roots
from gradc.compiler.passes.decompose import decompose
from gradc.compiler.passes.inline_functions import inline_functions
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.philox import philox
from gradc.compiler.types import (
    DTYPES,
    DType,
    Shape,
    bfloat16,
    dtype_of,
    float16,
    float32,
    float64,
    static_shape,
)

Array = np.ndarray[Any, Any]
Backend = Callable[[Graph, Mapping[str, Array], Mapping[str, Array]], Mapping[str, Array]]


def on_cpu(
    graph: Graph, inputs: Mapping[str, Array], state: Mapping[str, Array]
) -> Mapping[str, Array]:
    """Through fusion, lowering, planning and LLVM, with no graph pass but those that settle the
    mode, and what has a gradient of its own.

    To the last bit what the program's text says, whatever the tolerance of the test.
    """
    program = plan(copy_roots(inline_functions(specialize(graph, {}, training=True))))
    found = run_compiled(program, inputs, state)
    assert_same_bits(program, found, inputs, state)
    return found[0]


BACKENDS: Sequence[tuple[str, Backend, Sequence[DType]]] = (
    ("cpu", on_cpu, [d for d in DTYPES if d not in (float16, bfloat16)]),
)
"""(name, function, dtypes): function(graph, inputs, state) gives outputs in training."""

RELATIVE_TOLERANCE = {float64: 1e-12, float32: 2e-6, float16: 2e-3, bfloat16: 1.6e-2}
"""Of a back end, against NumPy: NumPy's own float32 functions are off by a few units too."""

SUMMING = (
    "sum",
    "prod",
    "mean",
    "variance",
    "deviation",
    "cumsum",
    "cumprod",
    "dot_general",
    "conv_general",
    "conv_weights",
    "index_add",
    "scatter_add",
    "segment_sum",
    "triangular_solve",
    "cholesky",
    "lu",
    "linear_solve",
    "det",
    "cofactor",
    "qr_r",
    "qr_q",
)
"""Operations with long sums or products: their error is relative to the largest element."""


def examples_of(table: Mapping[str, Callable[[str], list[Example]]]) -> list[Any]:
    names = [op.name for op in CATALOGUE if op.name in table]
    return [
        pytest.param(example, id=f"{number}-{example}")
        for name in names
        for number, example in enumerate(table[name](name))
    ]


def reference(example: Example) -> Array:
    graph, inputs, state = example.graph()
    outputs, _ = evaluate(graph, inputs, state, training=True)
    return outputs["y"]


def test_every_operation_has_examples() -> None:
    names = {op.name for op in CATALOGUE}
    assert len(names) == len(CATALOGUE) == len(OP_WITH_NAME)
    assert set(EXAMPLES) == names
    assert set(SMOOTH) | set(NO_DERIVATIVE) == names
    assert not set(SMOOTH) & set(NO_DERIVATIVE)


@pytest.mark.parametrize("op", CATALOGUE, ids=lambda op: op.name)
def test_without_a_derivative_by_reason_only(op: Any) -> None:
    if op.name in NO_DERIVATIVE:
        assert isinstance(op.gradient, ZeroDerivative | NoDerivative)


@pytest.mark.parametrize("example", examples_of(EXAMPLES))
def test_inferred_type_is_that_of_the_value(example: Example) -> None:
    """`evaluate` raises VerifyError where they differ."""
    graph, _, _ = example.graph()
    value = reference(example)
    node = graph.outputs[0][1]
    assert dtype_of(value.dtype) == node.type.dtype
    assert value.shape == node.type.shape
    for applied in (node, *node.inputs):
        operands = [i.type for i in applied.inputs]
        assert applied.op.cost(applied.type, *operands, **applied.attributes) >= 0


def widened(array: Array) -> Array:
    """Floats as float64, exactly: NumPy does not know that bfloat16 has NaN."""
    return array.astype(np.float64) if dtype_of(array.dtype).is_float else array


def named(shape: Shape) -> Shape:
    return tuple("n" if extent == 17 else extent for extent in shape)


@pytest.mark.parametrize("example", examples_of(EXAMPLES))
def test_named_dimensions_give_the_same_values(example: Example) -> None:
    """Every extent of 17 becomes a name. A rule may refuse that, with ShapeError alone."""
    if example.own is not None:
        return
    graph, inputs, _ = example.graph()
    leaves = [
        input_(str(i.attributes["name"]), named(i.type.shape), i.type.dtype) for i in graph.inputs
    ]
    attributes = dict(example.attributes)
    if "shape" in attributes:
        attributes["shape"] = named(attributes["shape"])
    try:
        node = example.applied(leaves, attributes)
    except ShapeError:
        return
    values = {leaf: inputs[str(leaf.attributes["name"])] for leaf in leaves}
    (value,) = evaluate_nodes([node], values, dims={"n": 17}, training=True)
    np.testing.assert_array_equal(widened(value), widened(reference(example)))
    wrt = [leaf for leaf in leaves if leaf.type.dtype.is_float]
    if node.type.dtype.is_float and wrt:
        try:
            wrt = [leaf for leaf in wrt if has_rule(node, leaf, zeros_like(node))]
            gradients = vjp_nodes(node, wrt, zeros_like(node))
        except ShapeError:
            return
        present = [g for g in gradients if g is not None]
        evaluate_nodes(present, values, dims={"n": 17})


# -- gradients ------------------------------------------------------------------------------

Function = Callable[[list[Array]], float]


def slope_along(function: Function, at: list[Array], direction: list[Array]) -> float:
    """d/dt function(at + t direction) at t = 0, by central differences of fourth order."""
    h = 1e-3

    def value(t: float) -> float:
        return function([a + t * d for a, d in zip(at, direction, strict=True)])

    return (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)


def product(a: Sequence[Array], b: Sequence[Array]) -> float:
    return float(sum(np.sum(x * y) for x, y in zip(a, b, strict=True)))


def has_rule(y: Node, x: Node, cotangent: Node) -> bool:
    """Whether the derivative of y in x is written; if not, to ask for it is an error."""
    try:
        vjp_nodes(y, [x], cotangent)
    except GradientError as error:
        assert error.problem.startswith("no derivative with respect to")
        return False
    return True


class Differentiated:
    """An example's node y with leaves x and cotangent c, its gradients g(x, c), and theirs."""

    def __init__(self, example: Example) -> None:
        rng = generator(str(example))
        graph, inputs, _ = example.graph()
        self.y = graph.outputs[0][1]
        self.fixed = {i: inputs[str(i.attributes["name"])] for i in graph.inputs}
        self.c = input_("c", self.y.type.shape, float64)
        floats = [i for i in graph.inputs if i.type.dtype == float64]
        self.x = [x for x in floats if has_rule(self.y, x, self.c)]
        self.weights = [input_(f"w{n}", i.type.shape, float64) for n, i in enumerate(self.x)]
        self.g = self._filled(vjp_nodes(self.y, self.x, self.c), self.x)
        pairs = list(zip(self.g, self.weights, strict=True))
        second = vjp_many(pairs, [*self.x, self.c])
        self.second = self._filled(second, [*self.x, self.c])
        self.at = [self.fixed.pop(i) for i in self.x]
        self.c_at = np.asarray(rng.uniform(-1, 1, static_shape(self.c.type.shape)))
        self.w_at = [np.asarray(rng.uniform(-1, 1, static_shape(i.type.shape))) for i in self.x]
        self.rng = rng

    @staticmethod
    def _filled(found: Sequence[Node | None], like: Sequence[Node]) -> list[Node]:
        return [zeros_like(x) if g is None else g for g, x in zip(found, like, strict=True)]

    def values(self, nodes: Sequence[Node], x: Sequence[Array], c: Array) -> list[Array]:
        known = {**self.fixed, **dict(zip(self.x, x, strict=True)), self.c: c}
        known.update(zip(self.weights, self.w_at, strict=True))
        return evaluate_nodes(nodes, known)

    def direction(self, arrays: Sequence[Array]) -> list[Array]:
        return [np.asarray(self.rng.uniform(-1, 1, a.shape)) for a in arrays]


@pytest.mark.parametrize("example", examples_of(SMOOTH))
def test_gradient_is_the_slope(example: Example) -> None:
    """<g, d> against central differences of <c, y> along d, in float64, to 1e-8 of the terms."""
    case = Differentiated(example)
    gradient = case.values(case.g, case.at, case.c_at)
    for _ in range(2):
        d = case.direction(case.at)
        slope = slope_along(
            lambda x: product(case.values([case.y], x, case.c_at), [case.c_at]), case.at, d
        )
        scale = 1 + product([abs(g) for g in gradient], [abs(a) for a in d])
        assert abs(product(gradient, d) - slope) <= 1e-8 * scale


@pytest.mark.parametrize("example", examples_of(SMOOTH))
def test_gradient_of_the_gradient_is_the_slope(example: Example) -> None:
    """The same for <w, g(x, c)>, with respect to the operands and to the cotangent."""
    case = Differentiated(example)
    at = [*case.at, case.c_at]
    gradient = case.values(case.second, case.at, case.c_at)
    for _ in range(2):
        d = case.direction(at)
        slope = slope_along(lambda z: product(case.values(case.g, z[:-1], z[-1]), case.w_at), at, d)
        scale = 1 + product([abs(g) for g in gradient], [abs(a) for a in d])
        assert abs(product(gradient, d) - slope) <= 1e-8 * scale


def gradients_at(name: str, *operands: Any, **attributes: Any) -> list[list[float]]:
    """Gradients of the sum of the result with respect to every operand, as lists."""
    arrays = tuple(np.asarray(o, np.float64) for o in operands)
    graph, inputs, _ = Example(name, arrays, attributes).graph()
    node = graph.outputs[0][1]
    cotangent = constant(1.0, float64, node.type.shape)
    found = [g for g in vjp_nodes(node, graph.inputs, cotangent) if g is not None]
    values = evaluate_nodes(found, {i: inputs[str(i.attributes["name"])] for i in graph.inputs})
    return [value.tolist() for value in values]


def test_pow_is_sound_at_zero() -> None:
    x, p = [0.0, 0.0, 0.0, 0.0, -2.0, -2.0], [0.0, 1.0, 2.0, 3.0, 3.0, 0.0]
    dx, dp = gradients_at("pow", x, p)
    assert dx == [0.0, 1.0, 0.0, 0.0, 12.0, 0.0]
    assert dp[:4] == [0.0, 0.0, 0.0, 0.0]
    assert np.isnan(dp[4:]).all()


def test_pow_has_a_second_derivative_at_zero() -> None:
    x, p = input_("x", (), float64), constant(2.0, float64)
    square = apply(OP_WITH_NAME["pow"], x, p)
    (first,) = vjp_nodes(square, [x], constant(1.0, float64))
    assert first is not None
    (second,) = vjp_nodes(first, [x], constant(1.0, float64))
    assert second is not None
    assert evaluate_nodes([second], {x: np.array(0.0)}) == [2.0]


def test_winners_share_the_gradient() -> None:
    assert gradients_at("maximum", [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [
        [0.5, 0.0, 1.0],
        [0.5, 1.0, 0.0],
    ]
    assert gradients_at("max", [1.0, 4.0, 4.0, 0.0], axes=(0,)) == [[0.0, 0.5, 0.5, 0.0]]
    assert gradients_at("min", [1.0, 1.0, 1.0, 2.0], axes=(0,)) == [[1 / 3, 1 / 3, 1 / 3, 0.0]]
    assert gradients_at("maximum", [np.nan], [1.0]) == [[0.0], [0.0]]


def test_products_with_zeros() -> None:
    assert gradients_at("prod", [2.0, 0.0, 5.0], axes=(0,)) == [[0.0, 10.0, 0.0]]
    assert gradients_at("prod", [2.0, 0.0, 0.0], axes=(0,)) == [[0.0, 0.0, 0.0]]
    assert gradients_at("cumprod", [2.0, 0.0, 5.0], axis=0) == [[1.0, 12.0, 0.0]]


def test_slopes_at_the_documented_points() -> None:
    assert gradients_at("sqrt", [0.0, 4.0]) == [[np.inf, 0.25]]
    assert gradients_at("hypot", [0.0], [0.0]) == [[0.0], [0.0]]
    assert gradients_at("abs", [0.0, -2.0]) == [[0.0, -1.0]]
    assert gradients_at("copysign", [-2.0, 2.0, 0.0], [1.0, -0.0, 1.0]) == [[-1.0, -1.0, 0.0]]


def test_gradients_of_products_over_a_named_dimension() -> None:
    x = input_("x", ("batch",), float64)
    array = np.array([2.0, 0.0, 5.0])
    for name, attributes, expected in (
        ("prod", {"axes": (0,)}, [0.0, 10.0, 0.0]),
        ("cumprod", {"axis": 0}, [1.0, 12.0, 0.0]),
    ):
        y = apply(OP_WITH_NAME[name], x, **attributes)
        (dx,) = vjp_nodes(y, [x], ones_like(y))
        (found,) = evaluate_nodes([dx], {x: array}, dims={"batch": 3})
        np.testing.assert_array_equal(found, expected)


# -- values pinned by hand ------------------------------------------------------------------


PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_philox_known_answers(words: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Known answers of Random123, kat_vectors, philox4x32-10: counter, key, result."""
    assert tuple(int(w) for w in philox(words[:4], (words[4], words[5]))) == expected


def test_random_bits_use_seed_step_and_stream() -> None:
    words = np.arange(5)
    expected = philox((words, 7, 11, 0), (3, 2))[0].astype(np.uint32).view(np.int32)
    operands = np.array((2 << 32) + 3), np.array((9 << 32) + 7)
    bits = reference(Example("random_bits", operands, {"shape": (5,), "stream": 11}))
    np.testing.assert_array_equal(bits, expected)


def test_integer_corners() -> None:
    def value(name: str, a: Sequence[int], b: Sequence[int]) -> list[int]:
        return reference(Example(name, (np.array(a, np.int8), np.array(b, np.int8)))).tolist()

    assert value("floor_div", [7, -7, 5, -128], [2, 2, 0, -1]) == [3, -4, 0, -128]
    assert value("mod", [7, -7, 7, 5], [3, 3, -3, 0]) == [1, 2, -2, 0]
    assert value("shl", [1, 1, 1], [7, 8, -1]) == [-128, 0, 0]
    assert value("shr", [-128, -128, 64, -1], [7, 9, -1, -1]) == [-1, -1, 0, -1]
    assert value("pow", [2, -1, -1, 1, 3, 0], [-1, -2, -3, -5, 5, 0]) == [0, 1, -1, 1, -13, 1]


def test_casts_saturate() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 2.0**63, -(2.0**63), 1.9, -1.9, 300.0])
    for dtype in (np.int64, np.int8, np.uint8):
        limits = np.iinfo(dtype)
        largest, smallest = int(limits.max), int(limits.min)
        small = dtype is not np.int64
        expected = [0, largest, smallest, largest, smallest, 1, max(-1, smallest)]
        expected += [min(300, largest) if small else 300]
        example = Example("cast", (x,), {"dtype": dtype_of(dtype)})
        assert reference(example).tolist() == expected


def test_an_error_names_the_operation() -> None:
    x, y = input_("x", (2,), float32), input_("y", (3,), float32)
    with pytest.raises(GradcError) as caught:
        apply(OP_WITH_NAME["add"], x, y)
    assert str(caught.value) == (
        "add: operand shapes differ\n  operand 0 is f32[2]\n  operand 1 is f32[3]"
    )


# -- back ends ------------------------------------------------------------------------------


def assert_close(found: Array, expected: Array, summing: bool) -> None:
    """Integers and bools are equal; floats within the tolerance of their dtype, NaN with NaN."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    dtype = dtype_of(expected.dtype)
    if not dtype.is_float:
        np.testing.assert_array_equal(found, expected)
        return
    a, b = widened(found), widened(expected)
    tolerance = RELATIVE_TOLERANCE[dtype]
    finite = b[np.isfinite(b)]
    largest = float(np.max(np.abs(finite), initial=0.0))
    smallest = {float16: 6e-8, bfloat16: 1e-40, float32: 3e-45, float64: 1e-323}[dtype]
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * largest * summing + smallest)


def backend_cases() -> list[Any]:
    """Every backend with every example whose dtypes it computes with."""
    cases = []
    for name, backend, dtypes in BACKENDS:
        for case in examples_of(EXAMPLES):
            graph, *_ = case.values[0].graph()
            if all(part.dtype in dtypes for n in all_nodes(graph) for part in n.type.parts):
                cases.append(pytest.param(backend, case.values[0], id=f"{name}-{case.id}"))
    return cases


@pytest.mark.parametrize(("backend", "example"), backend_cases())
def test_backend_gives_the_reference_value(backend: Backend, example: Example) -> None:
    example = replace(example, operands=tuple(a.copy() for a in example.operands))
    graph, inputs, state = example.graph()
    if isinstance(OP_WITH_NAME[example.operation].lowering, Composed):
        graph = decompose(graph)
    found = backend(graph, inputs, state)["y"]
    assert_close(found, reference(example), example.operation in SUMMING)
