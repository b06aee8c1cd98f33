"""Error messages word for word, with the user's own line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim

FILE = (
    str(Path(__file__).relative_to(Path.cwd()))
    if Path.cwd() in Path(__file__).parents
    else (str(Path(__file__)))
)
x = gc.input("x", (64, 784))
w = gc.input("w", (128, 784))
v = gc.input("v", (3,))
i = gc.input("i", (3,), gc.int32)
rows = gc.input("rows", ("batch", 4))


def matmul() -> None:
    x @ w


def matmul_lhs() -> None:
    w @ gc.input("y", (128, 3))


def matmul_scalar() -> None:
    gc.matmul(1.0, x)


def broadcast() -> None:
    x + v


def truth() -> None:
    if v:
        pass


def to_float() -> None:
    float(v)


def iterate() -> None:
    list(v)


def to_numpy() -> None:
    np.asarray(v)


def contains() -> None:
    assert 3 in v


def mask() -> None:
    v[v > 0]


def out_of_range() -> None:
    v[3]


def too_many() -> None:
    v[0, 0]


def float_index() -> None:
    v[gc.input("f", (2,))]


def named_index() -> None:
    rows[0]


def bad_axis() -> None:
    v.sum(axis=1)


def double_axis() -> None:
    x.sum(axis=(0, 0))


def bad_reshape() -> None:
    x.reshape(100, -1)


def merged_name() -> None:
    rows.T.reshape(-1)


def two_wildcards() -> None:
    x.reshape(-1, -1)


def bad_linear() -> None:
    gc.linear(x, gc.input("weight", (10, 100)))


def bad_labels() -> None:
    gc.cross_entropy(rows, gc.input("labels", (3,), gc.int32))


def bad_reduction() -> None:
    gc.mse_loss(v, v, reduction="average")


def unequal_losses() -> None:
    gc.mse_loss(v, v[:, None])


def grad_of_vector() -> None:
    gc.grad(v * 2, v)


def grad_of_integer() -> None:
    gc.grad(i.sum(), i)


def grad_of_array() -> None:
    gc.grad(v.sum(), np.ones(3))


def no_fit() -> None:
    gc.vjp(v * 2, v, np.ones(4))


def bad_dtype() -> None:
    gc.input("y", (3,), "float31")


def bad_name() -> None:
    gc.input("a b", (3,))


def reserved_name() -> None:
    gc.parameter("gradc.seed", ())


def bad_extent() -> None:
    gc.zeros((3, -1))


def bad_init() -> None:
    gc.parameter("p", (3,), init=np.ones(4))


def named_state() -> None:
    gc.parameter("p", ("batch",))


def overflow() -> None:
    gc.input("b", (2,), gc.int8) + 300


def stack() -> None:
    gc.stack([v, x])


def squeeze() -> None:
    gc.squeeze(v, axis=0)


def not_a_module() -> None:
    nn.Sequential(nn.Linear(1, 2), nn.Tanh)


def no_parameters() -> None:
    gc.training(v.sum(), optim.SGD(lr=0.1))


def no_scalar_loss() -> None:
    gc.training(v, optim.SGD(lr=0.1))


def bad_rate() -> None:
    optim.SGD(lr=-1.0)


def bad_nesterov() -> None:
    optim.SGD(lr=0.1, nesterov=True)


def bad_option() -> None:
    optim.SGD(lr=0.1, groups=[optim.group("*.bias", decay=0.0)])


def plateau() -> None:
    optim.schedule.plateau(0.1, mode="less")


def build() -> None:
    p = gc.parameter("p", (3,))
    gc.training(p.sum(), optim.SGD(lr=0.1)).build("out", kind="wasm")


def column_twice() -> None:
    p = gc.parameter("p", (3,))
    gc.training(p.sum(), optim.SGD(lr=0.1), metrics={"validation_loss": p.sum()})


def text_in_list() -> None:
    gc.compile({"y": v, "z": "three"})


def two_types() -> None:
    gc.graph([v, gc.input("v", (4,))])


CASES: dict[Callable[[], None], tuple[type[Exception], str]] = {
    matmul: (
        gc.ShapeError,
        "matmul: inner extents differ: lhs f32[64, 784], rhs f32[128, 784]\n"
        "  lhs axis 1 has extent 784, rhs axis 0 has extent 128\n"
        "  at {place} in matmul: x @ w\n"
        "  hint: rhs axis 1 has the needed extent; transpose rhs",
    ),
    matmul_lhs: (
        gc.ShapeError,
        "matmul: inner extents differ: lhs f32[128, 784], rhs f32[128, 3]\n"
        "  lhs axis 1 has extent 784, rhs axis 0 has extent 128\n"
        '  at {place} in matmul_lhs: w @ gc.input("y", (128, 3))\n'
        "  hint: lhs axis 0 has the needed extent; transpose lhs",
    ),
    matmul_scalar: (
        gc.ShapeError,
        "matmul: a scalar is no matrix: lhs f32[], rhs f32[64, 784]\n"
        "  at {place} in matmul_scalar: gc.matmul(1.0, x)",
    ),
    broadcast: (
        gc.ShapeError,
        "add: shapes [64, 784] and [3] do not broadcast\n"
        "  extents 784 and 3 meet, and neither is 1\n"
        "  at {place} in broadcast: x + v",
    ),
    truth: (
        gc.DTypeError,
        "bool: a tensor has no values before it is compiled: f32[3]\n"
        "  at {place} in truth: if v:\n"
        "  hint: choose between values with gc.where",
    ),
    to_float: (
        gc.DTypeError,
        "float: a tensor has no values before it is compiled: f32[3]\n"
        "  at {place} in to_float: float(v)\n"
        "  hint: compile the tensor and call it: gc.compile(tensor)(...)",
    ),
    iterate: (
        gc.DTypeError,
        "iter: a tensor has no values before it is compiled: f32[3]\n"
        "  at {place} in iterate: list(v)\n"
        "  hint: gc.unstack(x) gives the slices; x[i] and gc.take pick some of them",
    ),
    to_numpy: (
        gc.DTypeError,
        "array: a tensor has no values before it is compiled: f32[3]\n"
        "  at {place} in to_numpy: np.asarray(v)\n"
        "  hint: compile the tensor and call it: gc.compile(tensor)(...)",
    ),
    contains: (
        gc.DTypeError,
        "in: a tensor has no values before it is compiled: f32[3]\n"
        "  at {place} in contains: assert 3 in v\n"
        "  hint: use gc.any(x == item)",
    ),
    mask: (
        gc.ArgumentError,
        "getitem: a mask bool[3] would give a shape that depends on values\n"
        "  at {place} in mask: v[v > 0]\n"
        "  hint: use gc.where",
    ),
    out_of_range: (
        gc.ShapeError,
        "getitem: index 3 is out of range for axis 0 with extent 3\n"
        "  x is f32[3]\n"
        "  at {place} in out_of_range: v[3]",
    ),
    too_many: (
        gc.ShapeError,
        "getitem: 2 indices for f32[3], which has 1 axes\n  at {place} in too_many: v[0, 0]",
    ),
    float_index: (
        gc.ArgumentError,
        "getitem: an index is an integer tensor, not f32[2]\n"
        '  at {place} in float_index: v[gc.input("f", (2,))]',
    ),
    named_index: (
        gc.ShapeError,
        "getitem: axis 0 is the named dimension 'batch'; only : picks from it\n"
        "  x is f32[batch, 4]\n"
        "  at {place} in named_index: rows[0]\n"
        "  hint: a mask picks: gc.where(gc.arange(x.shape[0])[:, None] == 0, x, 0).sum(0),"
        " 0 where there is no such element",
    ),
    bad_axis: (
        gc.ShapeError,
        "sum: axis 1 is out of range for rank 1\n  at {place} in bad_axis: v.sum(axis=1)",
    ),
    double_axis: (
        gc.ShapeError,
        "sum: an axis is named twice in (0, 0)\n  at {place} in double_axis: x.sum(axis=(0, 0))",
    ),
    bad_reshape: (
        gc.ShapeError,
        "reshape: cannot reshape f32[64, 784] to [100, -1]\n"
        "  at {place} in bad_reshape: x.reshape(100, -1)",
    ),
    merged_name: (
        gc.ShapeError,
        "reshape: the numbers of elements differ, or depend on a dimension\n"
        "  operand is f32[4, batch]\n"
        "  the new type would be f32[batch*4]\n"
        "  a named dimension merges with the axes behind it, and splits from them\n"
        "  at {place} in merged_name: rows.T.reshape(-1)",
    ),
    two_wildcards: (
        gc.ShapeError,
        "reshape: shape [-1, -1] has more than one -1\n"
        "  at {place} in two_wildcards: x.reshape(-1, -1)",
    ),
    bad_linear: (
        gc.ShapeError,
        "linear: input and weight do not fit\n"
        "  input is f32[64, 784], weight f32[10, 100]\n"
        "  input axis 1 has extent 784, weight axis 1 has extent 100\n"
        '  at {place} in bad_linear: gc.linear(x, gc.input("weight", (10, 100)))',
    ),
    bad_labels: (
        gc.ShapeError,
        "cross_entropy: the target's shape is not [batch]\n"
        "  input is f32[batch, 4], target i32[3]\n"
        '  at {place} in bad_labels: gc.cross_entropy(rows, gc.input("labels", (3,), gc.int32))',
    ),
    bad_reduction: (
        gc.ArgumentError,
        "mse_loss: reduction is 'mean', 'sum' or 'none', not 'average'\n"
        '  at {place} in bad_reduction: gc.mse_loss(v, v, reduction="average")',
    ),
    unequal_losses: (
        gc.ShapeError,
        "mse_loss: input and target differ in shape\n"
        "  input is f32[3], target f32[3, 1]\n"
        "  at {place} in unequal_losses: gc.mse_loss(v, v[:, None])",
    ),
    grad_of_vector: (
        gc.GradientError,
        "grad: y is f32[3], not a scalar\n"
        "  at {place} in grad_of_vector: gc.grad(v * 2, v)\n"
        "  hint: reduce y to a scalar, or use gc.vjp(y, wrt, cotangent)",
    ),
    grad_of_integer: (
        gc.GradientError,
        "grad: there is no derivative with respect to i32[3]\n"
        "  wrt is floating point\n"
        "  at {place} in grad_of_integer: gc.grad(i.sum(), i)",
    ),
    grad_of_array: (
        gc.GradientError,
        "grad: wrt holds a ndarray, not a tensor\n"
        "  at {place} in grad_of_array: gc.grad(v.sum(), np.ones(3))",
    ),
    no_fit: (
        gc.ShapeError,
        "vjp: the cotangent's shape does not fit\n"
        "  cotangent is f64[4], it goes with f32[3]\n"
        "  at {place} in no_fit: gc.vjp(v * 2, v, np.ones(4))",
    ),
    bad_dtype: (
        gc.DTypeError,
        "input: unknown dtype 'float31'\n"
        "  known dtypes: float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, "
        "bool\n"
        '  at {place} in bad_dtype: gc.input("y", (3,), "float31")',
    ),
    bad_name: (
        gc.ArgumentError,
        "input: a name is made of letters, digits, dots and underscores, not 'a b'\n"
        '  at {place} in bad_name: gc.input("a b", (3,))',
    ),
    reserved_name: (
        gc.ArgumentError,
        "parameter: names that begin with 'gradc.' are reserved\n"
        '  at {place} in reserved_name: gc.parameter("gradc.seed", ())',
    ),
    bad_extent: (
        gc.ShapeError,
        "zeros: extent -1 is negative\n"
        "  shape (3, -1)\n"
        "  at {place} in bad_extent: gc.zeros((3, -1))",
    ),
    bad_init: (
        gc.ShapeError,
        "parameter: the initial values have shape [4]\n"
        "  'p' has shape [3]\n"
        '  at {place} in bad_init: gc.parameter("p", (3,), init=np.ones(4))',
    ),
    named_state: (
        gc.ShapeError,
        "parameter: a state has no named dimension, 'p' has 'batch'\n"
        '  at {place} in named_state: gc.parameter("p", ("batch",))',
    ),
    overflow: (
        gc.DTypeError,
        "constant: 300 does not fit int8\n"
        "  int8 holds -128 to 127\n"
        '  at {place} in overflow: gc.input("b", (2,), gc.int8) + 300',
    ),
    stack: (
        gc.ShapeError,
        "stack: operand shapes differ\n"
        "  operand 0 is f32[3]\n"
        "  operand 1 is f32[64, 784]\n"
        "  at {place} in stack: gc.stack([v, x])",
    ),
    squeeze: (
        gc.ShapeError,
        "squeeze: axis 0 of f32[3] has extent 3, not 1\n"
        "  at {place} in squeeze: gc.squeeze(v, axis=0)",
    ),
    not_a_module: (
        gc.ArgumentError,
        "Sequential: element 1 is <class 'gradc.nn.activation.Tanh'>, not a module\n"
        "  at {place} in not_a_module: nn.Sequential(nn.Linear(1, 2), nn.Tanh)\n"
        "  hint: instantiate the class",
    ),
    no_parameters: (
        gc.ArgumentError,
        "training: the loss reads no parameter\n"
        "  at {place} in no_parameters: gc.training(v.sum(), optim.SGD(lr=0.1))\n"
        "  hint: make parameters with gc.parameter or the layers of gc.nn",
    ),
    no_scalar_loss: (
        gc.ArgumentError,
        "training: the loss is f32[3], not a floating-point scalar\n"
        "  at {place} in no_scalar_loss: gc.training(v, optim.SGD(lr=0.1))\n"
        "  hint: gc.mean(loss)",
    ),
    bad_rate: (
        gc.ArgumentError,
        "SGD: lr is a schedule or a number >= 0, not -1.0\n"
        "  at {place} in bad_rate: optim.SGD(lr=-1.0)",
    ),
    bad_nesterov: (
        gc.ArgumentError,
        "SGD: nesterov needs a momentum and dampening 0\n"
        "  at {place} in bad_nesterov: optim.SGD(lr=0.1, nesterov=True)",
    ),
    bad_option: (
        gc.ArgumentError,
        "SGD: group '*.bias' sets the unknown option 'decay'\n"
        "  options: lr, momentum, dampening, weight_decay, nesterov, maximize\n"
        "  at {place} in bad_option: "
        'optim.SGD(lr=0.1, groups=[optim.group("*.bias", decay=0.0)])',
    ),
    plateau: (
        gc.ArgumentError,
        "plateau: mode is 'min' or 'max', not 'less'\n"
        '  at {place} in plateau: optim.schedule.plateau(0.1, mode="less")',
    ),
    build: (
        gc.ArgumentError,
        "build: unknown kind 'wasm'\n"
        "  known: executable, library, object\n"
        '  at {place} in build: gc.training(p.sum(), optim.SGD(lr=0.1)).build("out", kind="wasm")',
    ),
    column_twice: (
        gc.ArgumentError,
        "training: a metric cannot be named 'validation_loss'\n"
        "  at {place} in column_twice: gc.training(p.sum(), optim.SGD(lr=0.1), "
        'metrics={{"validation_loss": p.sum()}})\n'
        "  hint: call it something else: the history has a column of that name for 'loss'",
    ),
    text_in_list: (
        gc.ArgumentError,
        "compile: the structure holds a str at 'z', not a tensor\n"
        '  at {place} in text_in_list: gc.compile({{"y": v, "z": "three"}})',
    ),
}


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_message(function: Any) -> None:
    kind, text = CASES[function]
    with pytest.raises(kind) as caught:
        function()
    first = function.__code__.co_firstlineno
    error = caught.value
    assert isinstance(error, gc.GradcError) and error.source is not None
    assert error.source.line > first
    assert str(error) == text.format(place=f"{FILE}:{error.source.line}")


def test_errors_are_what_python_users_catch() -> None:
    with pytest.raises(ValueError):
        matmul()
    with pytest.raises(TypeError):
        truth()


def test_two_inputs_of_one_name() -> None:
    with pytest.raises(gc.ArgumentError, match="two inputs named 'v' differ in type") as caught:
        two_types()
    assert "f32[3] at" in str(caught.value) and "f32[4] at" in str(caught.value)


def test_two_states_of_one_name() -> None:
    pair = [nn.Linear(2, 2)(np.ones((1, 2), np.float32)) for _ in range(2)]
    with pytest.raises(gc.ArgumentError, match="two different states are named 'weight'"):
        gc.graph(pair)


def test_an_unknown_operand_is_pythons_error() -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        v + "text"
    with pytest.raises(gc.ArgumentError, match="operands are tensors, arrays and numbers, not str"):
        gc.add(v, "text")  # type: ignore[arg-type]


def test_a_line_of_a_nested_function_is_named() -> None:
    class Model(nn.Module):
        def forward(self, input: gc.Tensor) -> gc.Tensor:
            return input @ w

    with pytest.raises(gc.ShapeError) as caught:
        Model()(x)
    assert "Model.forward: return input @ w" in str(caught.value)
