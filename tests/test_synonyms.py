"""Argument names of PyTorch and NumPy, in every public function, method and layer that has ours."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from function_rows import of_dtype
from support import told, values
from support_functions import own_functions
from test_function_rows import ROWS

import gradc as gc
from gradc import nn
from gradc.spellings import ARGUMENTS, ARGUMENTS_OF, REFUSED_ARGUMENTS, names_of_argument

X = np.random.default_rng(0).normal(size=(3, 4))
x = gc.constant(X)
numbers = gc.constant(np.array([[0, 2, 1, 1], [2, 2, 0, 1], [1, 0, 0, 2]]))

# What a function is called with beside the arguments that are tried; by default x alone.
CALLS: dict[str, dict[str, Any]] = {
    "accuracy": {"input": x, "target": gc.constant(np.array([0, 1, 2]))},
    "arange": {"start": 5, "stop": 9},
    "astype": {"dtype": gc.float32},
    "clip": {"x": x, "min": -0.5, "max": 0.5},
    "concat": {"arrays": [x, x]},
    "concatenate": {"arrays": [x, x]},
    "conv1d": {"weight": gc.ones((2, 3, 2))},
    "conv2d": {"input": x[None], "weight": gc.ones((2, 1, 2, 2))},
    "conv3d": {"input": x[None, None], "weight": gc.ones((2, 1, 1, 2, 2))},
    "conv_transpose1d": {"weight": gc.ones((3, 2, 2))},
    "conv_transpose2d": {"input": x[None], "weight": gc.ones((1, 2, 2, 2))},
    "conv_transpose3d": {"input": x[None, None], "weight": gc.ones((1, 2, 1, 2, 2))},
    "cumprod": {"axis": 1},
    "cumsum": {"axis": 1},
    "cummax": {"axis": 1},
    "cummin": {"axis": 1},
    "cumulative_prod": {"axis": 1},
    "cumulative_sum": {"axis": 1},
    "diagonal": {"axis1": 0, "axis2": 1},
    "trace": {"axis1": 0, "axis2": 1},
    "cross": {"x": x[:, :3], "y": x[:, 1:]},
    "bucketize": {"boundaries": x[0]},
    "digitize": {"bins": x[0]},
    "kthvalue": {"k": 2},
    "topk": {"k": 2},
    "searchsorted": {"x1": x[0], "x2": x},
    "quantile": {"q": 0.5, "method": "lower"},
    "nanquantile": {"q": 0.5, "method": "lower"},
    "percentile": {"q": 50, "method": "lower"},
    "nanpercentile": {"q": 50, "method": "lower"},
    "cosine_similarity": {"x1": x, "x2": x + 1},
    "embedding": {"input": numbers, "weight": x},
    "embedding_bag": {"input": numbers, "weight": x},
    "bilinear": {"input1": x, "input2": x, "weight": gc.ones((2, 4, 4))},
    "gumbel_softmax": {"logits": x},
    "pairwise_distance": {"x1": x, "x2": x + 1},
    "threshold": {"threshold": 0.5, "value": 1.0},
    "multi_margin_loss": {"input": x, "target": numbers[:, 0]},
    "multilabel_margin_loss": {"input": x, "target": numbers},
    "empty": {"shape": (2,)},
    "eye": {"n_rows": 3, "k": 1},
    "full": {"shape": (2,), "fill_value": 1},
    "index_add": {"x": x, "index": gc.constant(np.array([0, 2])), "src": x[:2]},
    "layer_norm": {"normalized_shape": 4},
    "linspace": {"start": 0, "stop": 1, "num": 5},
    "matmul": {"y": x.T},
    "moveaxis": {"source": 0, "destination": 1},
    "one_hot": {"tensor": numbers, "num_classes": 3},
    "ones": {"shape": (2,)},
    "outer": {"x": x[0], "y": x[1]},
    "pad": {"pad": (1, 1)},
    "permute_dims": {"axes": (1, 0)},
    "prelu": {"weight": gc.constant(0.1)},
    "linear": {"weight": gc.constant(X)},
    "scaled_dot_product_attention": {"query": x, "key": x, "value": x},
    "repeat": {"repeats": 2},
    "reshape": {"shape": (2, 6)},
    "broadcast_to": {"shape": (2, 3, 4)},
    "rms_norm": {"normalized_shape": 4},
    "roll": {"shift": 1},
    "scatter_add": {"x": x, "index": numbers, "src": x},
    "split": {"sizes": 2},
    "squeeze": {"x": x.reshape(3, 1, 4)},
    "stack": {"arrays": [x, x]},
    "polygamma": {"n": 1},
    "swapaxes": {"axis1": 0, "axis2": 1},
    "take": {"indices": gc.constant(np.array([0, 2])), "axis": 0},
    "take_along_axis": {"indices": numbers},
    "tensordot": {"y": x.T, "axes": 1},
    "tile": {"repetitions": (2, 1)},
    "transpose": {"axes": (1, 0)},
    "tril": {"k": 1},
    "triu": {"k": 1},
    "where": {"condition": x > 0},
    "zeros": {"shape": (2,)},
    "full_like": {"fill_value": 1},
}
for axes, picture in enumerate((x[None], x[None, None], x[None, None, None]), start=1):
    for kind, least in {
        "adaptive_avg_pool": {"output_size": 2},
        "adaptive_max_pool": {"output_size": 2},
        "avg_pool": {"kernel_size": 1},
        "dropout": {},
        "lp_pool": {"norm_type": 2, "kernel_size": 1},
        "max_pool": {"kernel_size": 1},
    }.items():
        CALLS[f"{kind}{axes}d"] = {"input": picture, **least}
channels = gc.constant(np.random.default_rng(1).normal(size=(1, 4, 2, 4)))
CALLS |= {
    "channel_shuffle": {"input": channels, "groups": 2},
    "max_unpool1d": {"input": x, "indices": numbers, "kernel_size": 1},
    "max_unpool2d": {"input": x[None], "indices": numbers[None], "kernel_size": 1},
    "max_unpool3d": {"input": x[None, None], "indices": numbers[None, None], "kernel_size": 1},
    "fold": {"input": channels[:, :, 0], "output_size": (1, 4), "kernel_size": 1},
    "grid_sample": {"input": channels, "grid": np.zeros((1, 2, 2, 2))},
    "affine_grid": {"theta": np.ones((1, 2, 3)), "size": (1, 1, 2, 2)},
    "group_norm": {"input": channels, "num_groups": 2},
    "instance_norm": {"input": channels},
    "interpolate": {"input": channels, "size": 2},
    "local_response_norm": {"input": channels, "size": 3, "k": 2.0},
    "pixel_shuffle": {"input": channels, "upscale_factor": 2},
    "pixel_unshuffle": {"input": channels, "downscale_factor": 2},
    "unflatten": {"x": x, "axis": 1, "sizes": (2, 2)},
    "unfold": {"input": channels, "kernel_size": 1},
}
CALLS |= {
    name: {own: value for own, value in of_dtype(row.arguments, gc.float64).items() if own != "*"}
    for name, row in ROWS.items()
}
TRIED = {"axis": 1, "keepdims": True, "start_axis": 0, "end_axis": 1, "correction": 1}
POSITIVE = ("acosh",)
WHOLE = (
    "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift",
    "bitwise_right_shift",
)  # fmt: skip


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for space, module in (("gc", gc), ("nn.functional", nn.functional)):
        for name in module.__all__:
            function = getattr(module, name)
            if name in own_functions(module) and function.__module__ == "gradc.functional":
                yield f"{space}.{name}", function


CASES = [
    (name, function, other, own)
    for name, function in public_functions()
    for own, parameter in inspect.signature(function).parameters.items()
    for other in names_of_argument(function.__name__, own)
    if other not in inspect.signature(function).parameters
    if parameter.kind is not parameter.VAR_POSITIONAL
]


def example(name: str, function: Callable[..., Any], own: str) -> dict[str, Any]:
    """Arguments by name with which the function can be called, `own` among them."""
    short = name.rpartition(".")[2]
    needed = {
        n: p.default
        for n, p in inspect.signature(function).parameters.items()
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    }
    operand: Any = numbers if short in WHOLE else (x if short not in POSITIVE else abs(x) + 1)
    base = {n: operand for n in needed if n in ("x", "y", "input", "condition", "target")}
    if short in ("cross_entropy", "nll_loss"):
        base["target"] = gc.constant(np.array([0, 1, 2]))
    if short == "gaussian_nll_loss":
        base["var"] = abs(x) + 1
    given = base | CALLS.get(short, {})
    if "axis" in needed and "axis" not in given:
        given["axis"] = 0 if short == "index_add" else 1
    if own not in given:
        given[own] = TRIED[own]
    return given


def text(result: Any) -> str:
    if isinstance(result, (bool, int)):
        return str(result)
    return re.sub(r"stream=\d+", "", str(gc.graph(result)))


@pytest.mark.parametrize(
    ("name", "function", "other", "own"), CASES, ids=lambda v: getattr(v, "__name__", v)
)
def test_every_function(name: str, function: Callable[..., Any], other: str, own: str) -> None:
    given = example(name, function, own)
    expected = text(function(**given))
    renamed = {(other if n == own else n): v for n, v in given.items()}
    assert text(function(**renamed)) == expected
    with pytest.raises(gc.CallError, match=f"'{own}' is given twice") as caught:
        function(**given, **{other: given[own]})
    assert caught.value.source is not None
    assert f"{other}= for {own}=" in (function.__doc__ or "")


def test_the_walk_meets_what_it_is_for() -> None:
    """Every function with an axis or a flag takes PyTorch's name of it."""
    with_axis = [n for n, f in public_functions() if "axis" in inspect.signature(f).parameters]
    tried = {name for name, _, other, _ in CASES if other == "dim"}
    assert len(with_axis) > 40 and tried == set(with_axis)
    with_flag = [n for n, f in public_functions() if "keepdims" in inspect.signature(f).parameters]
    assert {name for name, _, other, _ in CASES if other == "keepdim"} == set(with_flag)


def test_names_are_those_of_functions_that_there_are() -> None:
    """And that have such an argument; and none is everywhere and somewhere."""
    functions = {f.__name__: f for _, f in public_functions()}
    functions |= {name: getattr(gc.random, name) for name in gc.random.__all__}
    for names, table in ARGUMENTS_OF.items():
        assert not table.keys() & ARGUMENTS.keys()
        for name in names:
            assert table.keys() <= inspect.signature(functions[name]).parameters.keys(), name


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: gc.local_response_norm(channels, 3, diagonal=2.0), "diagonal"),
        (lambda: nn.LocalResponseNorm(3, diagonal=2.0), "diagonal"),
        (lambda: gc.eye(3, diagonal=1), "diagonal"),
        (lambda: gc.unflatten(x, 1, split_size=(2, 2)), "split_size"),
        (lambda: gc.grad(x, other=x), "other"),
        (lambda: gc.input("p", size=(2,)), "size"),
    ],
)
def test_a_name_from_another_function_is_none(call: Callable[[], Any], name: str) -> None:
    """`k` of local_response_norm is a constant, of triu a diagonal."""
    with pytest.raises(gc.CallError, match=f"there is no argument '{name}'"):
        call()


METHODS = [
    (name, other, own)
    for name, method in inspect.getmembers(gc.Tensor, inspect.isfunction)
    if not name.startswith("_") and method.__module__ == "gradc.tensor"
    for own in inspect.signature(method).parameters
    for other in names_of_argument(name, own)
    if own in ("axis", "keepdims", "start_axis", "end_axis", "correction", "min", "max")
]


@pytest.mark.parametrize(("name", "other", "own"), METHODS)
def test_every_method(name: str, other: str, own: str) -> None:
    tensor = x.reshape(3, 1, 4) if name == "squeeze" else x
    value = {"min": -0.5, "max": 0.5}.get(own, TRIED.get(own))
    method = getattr(tensor, name)
    assert text(method(**{other: value})) == text(method(**{own: value}))
    with pytest.raises(gc.CallError, match="given twice"):
        method(**{other: value, own: value})


def layers() -> Iterator[tuple[str, str, str]]:
    for name in nn.__all__:
        kind = getattr(nn, name)
        if inspect.isclass(kind) and kind.__init__ is not object.__init__:
            for own in inspect.signature(kind).parameters:
                if own in ("axis", "start_axis", "end_axis", "keepdims"):
                    yield from ((name, other, own) for other in ARGUMENTS[own])


@pytest.mark.parametrize(("name", "other", "own"), list(layers()))
def test_every_layer(name: str, other: str, own: str) -> None:
    layer = getattr(nn, name)
    needed = {"unflattened_size": (2, 2)} if name == "Unflatten" else {}
    made = [layer(**{spelling: 1}, **needed) for spelling in (other, own)]
    assert [getattr(one, own) for one in made] == [1, 1]
    with pytest.raises(gc.CallError, match="given twice"):
        layer(**{other: 1, own: 1}, **needed)


def test_layers_are_met() -> None:
    assert {("Softmax", "dim", "axis"), ("Flatten", "start_dim", "start_axis")} <= set(layers())


# ---------------------------------------------------------------- one by one


def test_what_they_mean() -> None:
    same = np.testing.assert_allclose
    same(values(gc.sum(x, dim=1, keepdim=True)), X.sum(1, keepdims=True))
    same(values(x.std(dim=0, unbiased=True)), X.std(0, ddof=1))
    same(values(gc.var(x, axis=0, ddof=1)), X.var(0, ddof=1))
    same(values(gc.softmax(input=x, dim=0)), values(gc.softmax(x, axis=0)))
    same(values(nn.Softmax(dim=0)(x)), values(gc.softmax(x, axis=0)))
    same(values(gc.roll(x, shifts=1, dims=1)), np.roll(X, 1, 1))
    same(values(gc.add(input=x, other=2.0)), X + 2)
    same(values(gc.transpose(x, dim0=0, dim1=1)), X.T)


def test_index_add_takes_alpha() -> None:
    index = gc.constant(np.array([0, 2, 0]))
    src = np.arange(12.0).reshape(3, 4)
    expected = X.copy()
    np.add.at(expected, [0, 2, 0], -0.5 * src)
    added = gc.index_add(x, dim=0, index=index, source=gc.constant(src), alpha=-0.5)
    np.testing.assert_allclose(values(added), expected)
    whole = gc.index_add(numbers, 0, index, numbers, alpha=2)
    assert whole.dtype == gc.int64
    expected = np.asarray(values(numbers)).copy()
    np.add.at(expected, [0, 2, 0], 2 * np.asarray(values(numbers)))
    np.testing.assert_array_equal(values(whole), expected)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_dropout_takes_training(p: float) -> None:
    ones = gc.ones((4000,))
    by_mode, always, never = (gc.dropout(ones, p, training=t) for t in (None, True, False))
    for training in (False, True):
        found = values([by_mode, always, never], training=training)
        shares = [float((np.asarray(f) == 0).mean()) for f in found]
        assert shares[2] == 0.0 and abs(shares[1] - p) < 0.05
        assert abs(shares[0] - (p if training else 0.0)) < 0.05


def test_dropout_takes_the_mode_of_a_module() -> None:
    class Model(nn.Module):
        def forward(self, x: Any) -> gc.Tensor:
            return gc.dropout(x, 0.5, training=self.training)

    model = Model()
    for training in (False, True):
        found = np.asarray(values(model(gc.ones((100,))), training=training))
        assert bool((found == 0).any()) is training
    with pytest.raises(gc.DTypeError, match="a tensor has no values"):
        bool(model.training)
    with pytest.raises(gc.ArgumentError, match="a bool scalar"):
        gc.dropout(x, 0.5, training=3)


# ---------------------------------------------------------------- calls that do not fit


@pytest.mark.parametrize("name", REFUSED_ARGUMENTS)
def test_refused_arguments_say_why(name: str) -> None:
    function: Any = gc.sum if name != "copy" else gc.exp
    with pytest.raises(gc.CallError, match=f"there is no argument '{name}'") as caught:
        function(x, **{name: 1})
    assert caught.value.hint == REFUSED_ARGUMENTS[name]


WRONG_CALLS: list[tuple[Callable[[], Any], str]] = [
    (lambda: gc.sum(x, axes=1), "did you mean axis"),
    (lambda: gc.sum(x, 1, None, False, 3), "takes from 1 to 4 positional arguments"),
    (lambda: gc.where(x > 0), "missing 2 required positional arguments"),
    (lambda: gc.round(x, 2, 3), "positional argument"),
    (lambda: gc.reshape(x, 2, 6), "positional arguments"),
    (lambda: gc.tile(x, 2, 3), "positional arguments"),
    (lambda: x.mean(0, np.float32), "keepdims is True or False"),
    (lambda: gc.max(x, 0, np.float32), "keepdims is True or False"),
    (lambda: x.sum(foo=1), "there is no argument 'foo'"),
    (lambda: x.permute(dims=(1, 0)), "there is no argument 'dims'"),
    (lambda: nn.Linear(3), "missing 1 required positional argument"),
    (lambda: nn.Linear(3, 4, biass=False), "did you mean bias"),
    (lambda: nn.ReLU(inplace=True), "tensors are values"),
    (lambda: nn.Tanh(3), "there are no arguments"),
    (lambda: gc.random.normal((2,), men=1), "did you mean mean"),
]


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS)
def test_a_call_that_does_not_fit(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(gc.CallError) as caught:
        call()
    assert message in told(caught.value) and isinstance(caught.value, TypeError)
    assert caught.value.source is not None
    assert caught.value.source.file.endswith("test_synonyms.py")


def test_errors_inside_a_function_stay_as_they_are() -> None:
    with pytest.raises(gc.ShapeError, match="axis 5 is out of range"):
        gc.sum(x, dim=5)

    def failing(*inputs: Any) -> None:
        raise TypeError("my own")

    class Mine(nn.Module):
        forward = failing

    with pytest.raises(TypeError, match="my own"):
        Mine()(x)


def test_help_shows_signature_and_synonyms() -> None:
    shown = str(inspect.signature(gc.sum))
    assert shown.startswith("(x: 'TensorLike', axis: 'Axis' = None")
    assert "keepdim= for keepdims=" in (gc.sum.__doc__ or "")
    assert "parameters" in str(inspect.signature(gc.optim.SGD))
