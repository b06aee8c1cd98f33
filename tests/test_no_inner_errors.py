"""No call of a public function ends in a Python error from inside.

Every function of `gc`, `gc.random` and every method of a tensor is called with arguments that
mostly make sense, mixed with odd ones. The outcome is a result, which is then evaluated, or a
GradcError that names the function and the line of the call. What the arguments are drawn from is
chosen by annotation: a function whose annotations have no strategy fails.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_functions import own_functions

import gradc as gc
from gradc import functional
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.types import DTYPES
from gradc.graphs import assemble

HERE = Path(__file__).name
EXAMPLES = 20
BATCH = 3
ELEMENTS_EVALUATED = 4096
RNG = np.random.default_rng(3)

# ---------------------------------------------------------------- arguments


class Blank:
    """Nothing that any function knows."""


class Rude:
    """Says that it is an array and is not."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("no array today")


ODD = (
    None, True, "a", "", "batch", b"x", 1.5, float("nan"), float("inf"), -float("inf"), -1, 0, 7,
    2**31, 2**63 - 1, 2**63, -(2**70), 10**400, 10**5000, 1e308, -0.0, [], (), [0, 0], (0, 1),
    (-1,), (2, -2), [1.5], [None], ["a"], [[1], [1, 2]], [[]], (1, (2, 3)), {}, {"a": 1}, set(),
    1 + 2j, slice(None), Ellipsis, NotImplemented, int, object, gc.float32, gc.bool, "float32",
    "i4,", "8,", np.float64, np.uint32, len, Blank(), Rude(), np.int64(1), np.uint64(2**64 - 1),
    np.float32(0.5), np.float64("nan"), np.bool_(True), np.complex64(1j), np.str_("a"),
    np.datetime64("2020-01-01"), np.array(1), np.array(True), np.array([0, 1]), np.array([1.5, 2]),
    np.array([True, False]), np.array(["a"]), np.array([None]), np.zeros((0,)), np.zeros((2, 0, 3)),
    np.array([1j]), np.array([2**64 - 1], np.uint64), np.zeros((1,) * 33) if np.__version__ >= "2"
    else 0, range(2), "mean", "none", "tanh", "reflect", "circular", "ij,jk", "...i->", "->",
)  # fmt: skip

SHAPES = ((), (0,), (1,), (3,), (2, 3), (3, 2), (3, 3), (0, 3), (3, 0), (2, 1, 3), (2, 3, 3),
          (1, 2, 3, 1), (2, 2, 1, 2, 3), ("batch",), ("batch", 3), (3, "batch"))  # fmt: skip


def tensors() -> st.SearchStrategy[Any]:
    return st.builds(tensor, st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.integers(0, 3))


def tensor(shape: Any, dtype: Any, kind: int) -> Any:
    """An input, or where the shape is known a constant or an array."""
    if kind == 0 and "batch" not in shape and dtype.name != "bfloat16":
        return RNG.integers(0, 3, size=shape).astype(dtype.numpy)
    if kind == 1 and "batch" not in shape:
        return gc.constant(RNG.integers(0, 3, size=shape), dtype)
    name = "_".join(["x", dtype.name, *map(str, shape)])
    return gc.input(name, shape, dtype)


odd = st.sampled_from(ODD)
operands = st.one_of(tensors(), tensors(), tensors(), st.sampled_from((0, 1, 2.5, True)))
small = st.integers(-3, 4)
axes = st.one_of(small, st.lists(small, max_size=3), st.lists(small, max_size=3).map(tuple))
numbers = st.sampled_from((0.0, 0.5, 1.0, 2.0, -1.0, 1e-5, 3, float("inf"), float("nan")))
dtypes = st.sampled_from((*DTYPES, "float32", "int8", np.float16, np.dtype("int64"), bool))
extents = st.sampled_from((0, 1, 2, 3, -1, "batch"))
words = st.sampled_from(
    ("mean", "sum", "none", "batchmean", "tanh", "xy", "ij", "left", "right",
     "constant", "reflect", "replicate", "circular", "amax", "full")
)  # fmt: skip

BY_ANNOTATION: dict[str, st.SearchStrategy[Any]] = {
    "Any": st.one_of(operands, dtypes, axes),
    "TensorLike": operands,
    "TensorLike | None": st.one_of(st.none(), operands),
    "Sequence[TensorLike]": st.lists(operands, max_size=3),
    "int": small,
    "int | None": st.one_of(st.none(), small),
    "float": numbers,
    "float | None": st.one_of(st.none(), numbers),
    "bool | int | float": st.one_of(numbers, st.booleans()),
    "bool": st.booleans(),
    "bool | None": st.one_of(st.none(), st.booleans()),
    "str": words,
    "Text": words,
    "Text | None": st.one_of(st.none(), words, st.sampled_from(("floor", "trunc"))),
    "Axis": st.one_of(st.none(), axes),
    "Axis | Tensor": st.one_of(st.none(), axes, tensors()),
    "int | Sequence[int]": axes,
    "int | str | Sequence[int]": st.one_of(axes, st.sampled_from(("same", "valid", "zeros"))),
    "Sequence[int]": st.lists(small, max_size=4),
    "DTypeLike": dtypes,
    "DTypeLike | None": st.one_of(st.none(), dtypes),
    "ShapeLike": st.one_of(extents, st.lists(extents, max_size=4)),
    "Extent": extents,
    "Extent | None": st.one_of(st.none(), extents),
    "Number": numbers,
    "Number | None": st.one_of(st.none(), numbers),
    "WholeNumber": small,
    "float | Dimension": numbers,
    "float | Dimension | None": st.one_of(st.none(), numbers),
    "Sequence[int] | int | None": st.one_of(st.none(), axes),
}
# Where an annotation says too little.
BY_PARAMETER: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("einsum", "subscripts"): st.sampled_from(("ij,jk->ik", "ii", "...i,i", "i,i,i->", "ij->j")),
    ("einsum", "operands"): operands,
    ("tensordot", "axes"): st.one_of(small, st.tuples(axes, axes)),
    ("isdtype", "kind"): st.sampled_from(("numeric", "bool", gc.int8, ("integral", "bool"))),
    ("getitem", "key"): st.one_of(
        small, st.none(), operands, st.just(Ellipsis), st.builds(slice, small, small),
        st.lists(st.one_of(small, st.none(), tensors(), st.just(Ellipsis)), max_size=4).map(tuple),
    ),
}  # fmt: skip


def call_of(data: Any, function: Callable[..., Any], name: str) -> tuple[list[Any], dict[str, Any]]:
    """Drawn arguments: all required ones, and some of the others; about one in six is odd."""
    positional, named = [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        known = BY_PARAMETER.get((name, parameter.name))
        good = known if known is not None else BY_ANNOTATION[str(parameter.annotation)]
        strategy = st.one_of(good, good, good, good, good, odd)
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += data.draw(st.lists(strategy, max_size=3))
        elif parameter.default is parameter.empty:
            positional.append(data.draw(strategy))
        elif data.draw(st.integers(0, 2)) == 0:
            named[parameter.name] = data.draw(strategy)
    return positional, named


# ---------------------------------------------------------------- outcomes


def check(operation: str, function: Callable[..., Any], *given: Any, **named: Any) -> None:
    """Calls the function; the result evaluates, or the error is one for users."""
    try:
        result = function(*given, **named)
    except gc.GradcError as error:
        assert error.operation == operation, f"named {error.operation!r}: {error}"
        assert error.source is not None and HERE in error.source.file, error
        assert len(str(error)) < 4000
        return
    parts = [r for r in (result if isinstance(result, (list, tuple)) else [result])]
    wanted = [r for r in parts if isinstance(r, gc.Tensor) and affordable(r)]
    if wanted:
        evaluated(wanted)


def affordable(tensor: gc.Tensor) -> bool:
    """Whether nothing that it reads is large."""
    waiting, seen = [tensor.node], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for part in node.type.parts:  # several of a loop, or of what has a gradient of its own
            elements = 1
            for extent in part.shape:
                elements *= BATCH if isinstance(extent, str) else extent
            if elements > ELEMENTS_EVALUATED:
                return False
        waiting += node.inputs
    return True


def evaluated(tensors: list[gc.Tensor]) -> None:
    """The reference value has the type that was promised."""
    graph, _ = assemble(tensors, "test", training=False)
    shapes = [
        shape
        for n in graph.nodes()
        for shape in (*(part.shape for part in n.type.parts), n.attributes.get("shape", ()))
    ]
    names = {e: BATCH for shape in shapes for e in shape if isinstance(e, str)}
    graph = specialize(graph, names, training=False)
    inputs, states = (
        {str(n.attributes["name"]): np.ones(n.type.shape, n.type.dtype.numpy) for n in nodes}
        for nodes in (graph.inputs, graph.states)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs, _ = evaluate(graph, inputs, states)
    for found, (_, node) in zip(outputs.values(), graph.outputs, strict=True):
        assert found.shape == node.type.shape and found.dtype == node.type.dtype.numpy


FUNCTIONS = {n: getattr(gc, n) for n in sorted(own_functions(functional))}
METHODS = sorted(
    n for n, value in vars(gc.Tensor).items()
    if inspect.isfunction(value) and (not n.startswith("_") or n == "__getitem__")
    and value is not getattr(gc, n, None) and value.__name__ == n
)  # fmt: skip
quick = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    function = FUNCTIONS[name]

    @quick
    @given(st.data())
    def run(data: Any) -> None:
        positional, named = call_of(data, function, name)
        check(name, function, *positional, **named)

    run()


X = gc.input("x", (3,), gc.float64)
Y = (X * X).sum()
# What is no function on tensors: every argument once with each odd value.
OTHERS: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "grad": (lambda v: gc.grad(Y, v), lambda v: gc.grad(v, X)),
    "vjp": (lambda v: gc.vjp(Y, X, v), lambda v: gc.vjp(X * X, v, 1), lambda v: gc.vjp(v, X, 1)),
    "jvp": (lambda v: gc.jvp(Y, X, v), lambda v: gc.jvp(Y, v, 1), lambda v: gc.jvp(v, X, 1)),
    "hvp": (lambda v: gc.hvp(Y, X, v), lambda v: gc.hvp(Y, v, 1), lambda v: gc.hvp(v, X, 1)),
    "jacobian": (lambda v: gc.jacobian(v, X), lambda v: gc.jacobian(X, v)),
    "hessian": (lambda v: gc.hessian(v, X), lambda v: gc.hessian(Y, v)),
    "input": (lambda v: gc.input(v, 3), lambda v: gc.input("a", v), lambda v: gc.input("a", 3, v)),
    "parameter": (
        lambda v: gc.parameter(v, 3), lambda v: gc.parameter("a", v),
        lambda v: gc.parameter("a", 3, trainable=v),
        lambda v: gc.parameter("a", 3, v), lambda v: gc.parameter("a", 3, init=v),
    ),
    "state": (
        lambda v: gc.state(v, 3), lambda v: gc.state("a", v), lambda v: gc.state("a", 3, v),
        lambda v: gc.state("a", 3, init=v),
    ),
    "update": (lambda v: gc.update(v, 1), lambda v: gc.update(gc.state("s", 3), v)),
    "graph": (lambda v: gc.graph(v),),
    "parse": (lambda v: gc.parse(v),),
    "compile": (
        lambda v: gc.compile(v), lambda v: gc.compile(Y, target=v),
        lambda v: gc.compile(Y, threads=v), lambda v: gc.compile(Y, seed=v),
        lambda v: gc.compile(Y, precision=v), lambda v: gc.compile(Y, training=v),
        lambda v: gc.compile(Y, dims=v), lambda v: gc.compile(Y, batch=v),
    ),
}  # fmt: skip
OTHERS |= {
    "frozen": (lambda v: gc.frozen(v), lambda v: gc.frozen([v])),
    "l1_penalty": (lambda v: gc.l1_penalty(v, 0.1), lambda v: gc.l1_penalty(X, v)),
    "l2_penalty": (lambda v: gc.l2_penalty([v], 0.1), lambda v: gc.l2_penalty(X, v)),
    "elastic_penalty": (lambda v: gc.elastic_penalty(X, v, v),),
    "vmap": (
        lambda v: gc.vmap(v), lambda v: gc.vmap(lambda x: x * 2.0, axis=v)(X),
        lambda v: gc.vmap(lambda x: v)(X), lambda v: gc.vmap(lambda x: x)(v),
        lambda v: gc.vmap(lambda x, y: x)(X, y=v),
    ),
    "checkpoint": (
        lambda v: gc.checkpoint(v), lambda v: gc.checkpoint(lambda: v)(),
        lambda v: gc.checkpoint(lambda x: X)(v), lambda v: gc.checkpoint(lambda x, y: X)(X, y=v),
    ),
    "custom_gradient": (
        lambda v: gc.custom_gradient(v), lambda v: gc.custom_gradient(lambda: v)(),
        lambda v: gc.custom_gradient(lambda x: (x, v))(X),
        lambda v: gc.custom_gradient(lambda x: (v, lambda dy: dy))(X),
        lambda v: gc.custom_gradient(lambda x: (x, lambda dy: v))(X),
        lambda v: gc.custom_gradient(lambda x, y: (x, lambda dy: (dy, v)))(X, v),
    ),
    "scan": (
        lambda v: gc.scan(v, 1.0, length=2), lambda v: gc.scan(lambda c, x: (c, x), v, length=2),
        lambda v: gc.scan(lambda c, x: (c, x), 1.0, v),
        lambda v: gc.scan(lambda c, x: (c, x), 1.0, length=v),
        lambda v: gc.scan(lambda c, x: v, 1.0, length=2),
        lambda v: gc.scan(lambda c, x: (v, c), 1.0, length=2),
        lambda v: gc.scan(lambda c, x: (c, v), 1.0, length=2),
        lambda v: gc.scan(lambda c, x: (c, x), 1.0, length=2, reverse=v),
    ),
    "map": (
        lambda v: gc.map(v, X), lambda v: gc.map(lambda x: x, v), lambda v: gc.map(lambda x: v, X),
    ),
    "cg": (
        lambda v: gc.cg(v, gc.ones(3)), lambda v: gc.cg(lambda x: x, v),
        lambda v: gc.cg(lambda x: v, gc.ones(3)), lambda v: gc.cg(gc.eye(3), v),
        lambda v: gc.cg(lambda x: x, gc.ones(3), v), lambda v: gc.cg(gc.eye(3), gc.ones(3), tol=v),
        lambda v: gc.cg(gc.eye(3), gc.ones(3), atol=v),
        lambda v: gc.cg(gc.eye(3), gc.ones(3), maxiter=v),
    ),
    "while_loop": (
        lambda v: gc.while_loop(v, lambda c: c, 1.0),
        lambda v: gc.while_loop(lambda c: v, lambda c: c, 1),
        lambda v: gc.while_loop(lambda c: c > 0, v, 1.0),
        lambda v: gc.while_loop(lambda c: c > 0, lambda c: v, 1),
        lambda v: gc.while_loop(lambda c: True, lambda c: c, v),
        lambda v: gc.while_loop(lambda c: c > 0, lambda c: c, 1.0, bound=v),
    ),
    "cond": (
        lambda v: gc.cond(v, lambda: 1, lambda: 2), lambda v: gc.cond(True, v, lambda: 2),
        lambda v: gc.cond(True, lambda: v, lambda: 2),
        lambda v: gc.cond(True, lambda: v, lambda: v),
        lambda v: gc.cond(True, lambda x: x, lambda x: x, v),
    ),
}  # fmt: skip
ELSEWHERE = {"sweep", "training"}  # which have tests of their own


def test_every_public_function_is_called_here() -> None:
    public = own_functions(gc)
    assert public == {*FUNCTIONS, *OTHERS, *ELSEWHERE}


@pytest.mark.parametrize("name", OTHERS)
def test_other_function(name: str) -> None:
    for function in OTHERS[name]:
        for value in ODD:
            try:
                function(value)
            except gc.GradcError as error:
                if not isinstance(error, gc.IRSyntaxError):  # which names a place in the text
                    assert error.source is not None and error.operation, error


@pytest.mark.parametrize("name", ["bits", "uniform", "normal", "bernoulli", "randint"])
def test_random_function(name: str) -> None:
    function, operation = getattr(gc.random, name), f"random.{name}"

    @quick
    @given(st.data())
    def run(data: Any) -> None:
        positional, named = call_of(data, function, operation)
        check(operation, function, *positional, **named)

    run()


@pytest.mark.parametrize("name", METHODS)
def test_method(name: str) -> None:
    function, operation = getattr(gc.Tensor, name), name.strip("_")

    @quick
    @given(st.data())
    def run(data: Any) -> None:
        x = data.draw(tensors())
        positional, named = call_of(data, function, operation)
        check(operation, function, gc.constant(x), *positional, **named)

    run()


def test_a_dimension_that_no_input_has() -> None:
    """Arrays cannot give it: `dims=` can, and without it the program is refused."""
    x = gc.zeros(("rows", 2)) + 1.0
    with pytest.raises(gc.ShapeError, match="no input has the dimension 'rows'") as caught:
        gc.compile(x)
    assert caught.value.operation == "compile" and "dims={'rows': n}" in str(caught.value)
    np.testing.assert_array_equal(gc.compile(x, dims={"rows": 3})(), np.ones((3, 2)))
    mean = gc.mean(gc.ones(("rows",)) * 4.0)
    assert gc.compile(mean, dims={"rows": 5})() == 4.0
