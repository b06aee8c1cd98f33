"""Spellings of PyTorch, Keras and NumPy: each means what is documented, or an error says what to
write. Names that do not exist list those that come near."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from support import told, values

import gradc as gc
from gradc import nn, optim, spellings
from gradc.compiler.attributes import near_names
from gradc.numpy_protocol import OPERATORS

X = np.arange(24.0).reshape(2, 3, 4)
M = np.array([[1.0, 2.0], [3.0, 4.0]])
x, m = gc.constant(X), gc.constant(M)


# ---------------------------------------------------------------- accepted, and its meaning

MEANINGS: dict[str, tuple[Callable[[], Any], Any]] = {
    # two integers exchange axes, as in PyTorch; a sequence, or all axes of permute, reorder
    "transpose(0, 1)": (lambda: m.transpose(0, 1), M.T),
    "transpose(1, 0)": (lambda: m.transpose(1, 0), M.T),
    "transpose(-1, 0)": (lambda: x.transpose(-1, 0), X.swapaxes(-1, 0)),
    "transpose(0, 0)": (lambda: m.transpose(0, 0), M),
    "transpose((0, 1))": (lambda: m.transpose((0, 1)), M),
    "transpose(1, 2, 0)": (lambda: x.transpose(1, 2, 0), X.transpose(1, 2, 0)),
    "transpose()": (lambda: x.transpose(), X.T),
    "gc.transpose(x, 0, 1)": (lambda: gc.transpose(x, 0, 1), X.swapaxes(0, 1)),
    "gc.transpose(x, (1, 0, 2))": (lambda: gc.transpose(x, (1, 0, 2)), X.transpose(1, 0, 2)),
    "gc.transpose(x)": (lambda: gc.transpose(x), X.T),
    "permute(0, 1)": (lambda: m.permute(0, 1), M),
    "permute(1, 0)": (lambda: m.permute(1, 0), M.T),
    "permute_dims": (lambda: gc.permute_dims(m, (0, 1)), M),
    "T": (lambda: x.T, X.T),
    "mT": (lambda: x.mT, X.swapaxes(-1, -2)),
    # reductions: the value alone (PyTorch gives a pair), correction 0 as in the Array API
    "max(0)": (lambda: x.max(0), X.max(0)),
    "max(dim=0)": (lambda: x.max(dim=0), X.max(0)),
    "sum((0, 1))": (lambda: x.sum((0, 1)), X.sum((0, 1))),
    "mean(0, True)": (lambda: x.mean(0, True), X.mean(0, keepdims=True)),
    "std()": (lambda: x.std(), X.std()),
    "std(0, True)": (lambda: x.std(0, True), X.std(0, ddof=1)),
    "std(0, False)": (lambda: x.std(0, False), X.std(0)),
    "var(correction=1)": (lambda: x.var(correction=1), X.var(ddof=1)),
    "all(0)": (lambda: (x > 3).all(0), (X > 3).all(0)),
    "argmax()": (lambda: x.argmax(), X.argmax()),
    # shapes
    "flatten(1)": (lambda: x.flatten(1), X.reshape(2, 12)),
    "flatten()": (lambda: x.flatten(), X.ravel()),
    "reshape(-1, 4)": (lambda: x.reshape(-1, 4), X.reshape(-1, 4)),
    "squeeze(0)": (lambda: x[:1].squeeze(0), X[:1].squeeze(0)),
    "expand_dims(0)": (lambda: x.expand_dims(0), X[None]),
    # NumPy's repeat, PyTorch's split and pad: the docstrings say so
    "gc.repeat": (lambda: gc.repeat(m, 2), np.repeat(M, 2)),
    "gc.repeat axis": (lambda: gc.repeat(m, 2, 0), np.repeat(M, 2, 0)),
    "gc.tile": (lambda: gc.tile(m, (2, 1)), np.tile(M, (2, 1))),
    "gc.split": (lambda: list(gc.split(gc.arange(5), 2)), [[0, 1], [2, 3], [4]]),
    "gc.split list": (lambda: list(gc.split(gc.arange(5), [2, 3])), [[0, 1], [2, 3, 4]]),
    "gc.pad": (lambda: gc.pad(m, (1, 0)), np.pad(M, ((0, 0), (1, 0)))),
    "gc.pad two axes": (lambda: gc.pad(m, (1, 0, 0, 1)), np.pad(M, ((0, 1), (1, 0)))),
    "clip(0, 3)": (lambda: m.clip(0, 3), M.clip(0, 3)),
    "round": (lambda: round(gc.constant([0.5, 1.5, -0.4])), [0.0, 2.0, -0.0]),
    "normalize": (lambda: gc.normalize(m), M / np.sqrt((M * M).sum(1, keepdims=True))),
    "meshgrid": (lambda: gc.meshgrid(gc.arange(2), gc.arange(3))[0], [[0, 1]] * 3),
    "size": (lambda: gc.constant(x.size), np.asarray(24)),
    "ndim": (lambda: gc.constant(x.ndim), np.asarray(3)),
    # NumPy's operators
    "array * x": (lambda: M * m, M * M),
    "array - x": (lambda: M - 2 * m, M - 2 * M),
    "array / x": (lambda: M / (m + 1), M / (M + 1)),
    "array @ x": (lambda: M @ m, M @ M),
    "array ** x": (lambda: M**m, M**M),
    "array // x": (lambda: M // m, M // M),
    "array % x": (lambda: (M + 1) % m, (M + 1) % M),
    "array < x": (lambda: M[:1] < m, M[:1] < M),
    "array >= x": (lambda: M[:1] >= m, M[:1] >= M),
    "array == x": (lambda: M[:1] == m, M[:1] == M),
    "scalar - x": (lambda: np.float64(2) - m, 2 - M),
    "scalar < x": (lambda: np.int64(2) < m, 2 < M),
    "x - array": (lambda: m - M, M - M),
    "integers": (lambda: np.array([6, 5]) & gc.constant(np.array([3, 1])), np.array([2, 1])),
    "shifts": (lambda: np.array([6, 5]) << gc.constant(np.array([3, 1])), np.array([48, 10])),
}


@pytest.mark.parametrize("spelling", MEANINGS)
def test_what_a_spelling_means(spelling: str) -> None:
    make, expected = MEANINGS[spelling]
    found = values(make())
    if isinstance(expected, list) and isinstance(found, list):
        assert [f.tolist() for f in found] == expected
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: x.sum(0, 1), gc.DTypeError, "unknown dtype 1"),
    (lambda: gc.sum(x, 0, True), gc.DTypeError, "unknown dtype True"),
    (lambda: x.mean(0, np.float32), gc.CallError, "keepdims is True or False"),
    (lambda: x.max(m), gc.DTypeError, "an axis is an integer"),
    (lambda: gc.max(m, 1.5), gc.DTypeError, "an axis is an integer"),
    (lambda: x.transpose(1), gc.ArgumentError, "one axis is given"),
    (lambda: x.permute(0, 1), gc.ShapeError, "does not reorder the axes"),
    (lambda: x.size(), gc.CallError, "write x.shape or x.size"),
    (lambda: x.size(0), gc.CallError, r"x.shape\[axis\]"),
    (lambda: x.squeeze(0), gc.ShapeError, "has extent 2, not 1"),
    (lambda: gc.zeros(2, 3), gc.DTypeError, "unknown dtype 3"),
    (lambda: gc.cumsum(m), gc.ShapeError, "needs an axis"),
    (lambda: gc.where(m > 0), gc.CallError, "missing 2"),
    (lambda: gc.split(gc.arange(5), [2]), gc.ShapeError, "do not add up"),
    (lambda: gc.split(m, indices_or_sections=2), gc.CallError, "takes sizes"),
    (lambda: gc.floor(m, decimals=1), gc.CallError, r"an argument of gc\.round"),
    (lambda: round(m, 1), gc.ArgumentError, "a number of digits"),
    (lambda: gc.multiply(m, m, alpha=2), gc.CallError, "no argument 'alpha'"),
    (lambda: gc.add(gc.arange(2), 1, alpha=0.5), gc.DTypeError, "alpha is an integer for i64"),
    (lambda: m.to("cuda"), gc.DTypeError, "unknown dtype 'cuda'"),
    (lambda: m.view(gc.int64), gc.ArgumentError, "i64 is no shape|int64 is no shape"),
    (lambda: gc.random.normal(0.0, 1.0, (3,)), gc.ShapeError, "the shape comes first"),
    (lambda: gc.random.normal(0, 1), gc.ShapeError, "the shape comes first"),
    (lambda: gc.random.uniform(0, 1, (3,)), gc.ShapeError, "the shape comes first"),
    (lambda: gc.random.uniform(-1.0, 1.0), gc.ShapeError, "the shape comes first"),
    (lambda: gc.random.randint(0, 2.5, (3,)), gc.ArgumentError, "high is an integer"),
    (lambda: gc.outer(m, m), gc.ShapeError, "vectors"),
    (lambda: gc.concat(m, m), gc.CallError, r"put the tensors into brackets: \[x, y\]"),
    (lambda: gc.stack(m), gc.CallError, "arrays is a list of tensors"),
    (lambda: gc.sum([m, m]), gc.DTypeError, r"use gc\.stack"),
    (lambda: gc.Tensor([1.0, 2.0]), gc.ArgumentError, r"write gc\.constant"),
    (lambda: gc.init.xavier_uniform(m), gc.ArgumentError, "layers take weight_init="),
    (lambda: gc.init.xavier_uniform_, gc.UnknownNameError, "layers take weight_init="),
    (lambda: nn.Sequential([nn.Tanh()]), gc.ArgumentError, r"nn\.Sequential\(\*layers\)"),
    (lambda: nn.CrossEntropyLoss(None, True), gc.CallError, "ignore_index is an integer"),
    (lambda: gc.cross_entropy(m, m, None, None), gc.CallError, "size_average and reduce"),
    (lambda: gc.compile(m, device="cuda"), gc.CallError, "no argument 'device'"),
    (lambda: gc.input("a", (2,), requires_grad=True), gc.CallError, "parameters are trained"),
    (lambda: nn.CrossEntropyLoss(reduction=False)(m, gc.arange(2)), gc.ArgumentError, "reduction"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_what_is_refused(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert re.search(message, told(caught.value)), caught.value
    assert caught.value.source is not None and "test_spellings.py" in caught.value.source.file


def test_dtypes_equal_numpys() -> None:
    assert x.dtype == np.float64 and np.dtype(np.float64) == x.dtype and x.dtype == "float64"
    assert x.dtype != np.float32 and x.dtype != "float32" and x.dtype != 3
    assert gc.float32 == np.dtype("f4") and hash(gc.float32) == hash(np.dtype("f4"))
    assert {gc.int64: 1}[gc.int64] == 1 and gc.bfloat16 != np.float16


def test_arrays_are_given_by_name() -> None:
    given = gc.input("rows", ("batch", 3))
    loss = gc.mean(gc.square(nn.Linear(3, 1)(given)))
    trainer = gc.training(loss, optim.SGD(lr=0.1), outputs={"loss": loss}).compile()
    for use in (trainer.predict, trainer.evaluate):
        with pytest.raises(gc.ArgumentError, match="arrays are given by name"):
            use(np.ones((4, 3)))


# ---------------------------------------------------------------- names that do not exist


@pytest.mark.parametrize("name", spellings.TENSOR)
def test_a_tensor_says_what_to_write(name: str) -> None:
    with pytest.raises(gc.UnknownNameError) as caught:
        getattr(x, name)
    assert caught.value.hint == spellings.TENSOR[name]
    assert caught.value.source is not None and "test_spellings.py" in caught.value.source.file
    assert isinstance(caught.value, AttributeError)


def test_functions_are_named_where_a_method_is_missing() -> None:
    for name in ("layer_norm", "conv2d", "concat", "linear", "pad", "cdist"):
        with pytest.raises(gc.UnknownNameError, match=rf"write gc\.{name}\(x, \.\.\.\)"):
            getattr(x, name)


def test_methods_in_place() -> None:
    with pytest.raises(gc.UnknownNameError, match=r"never change; write y = x\.add\(\.\.\.\)"):
        x.add_(1)
    with pytest.raises(gc.DTypeError, match="a tensor is immutable"):
        x[0] = 1  # type: ignore[index]
    with pytest.raises(gc.UnknownNameError, match="requires_grad cannot be set"):
        x.requires_grad = True
    y = x
    y += 1
    assert y is not x


def test_near_names() -> None:
    for call, near in (
        (lambda: x.sume, "sum"),
        (lambda: x.reshpe, "reshape"),
        (lambda: gc.conv, "conv1d"),
        (lambda: gc.sofmax, "softmax"),
        (lambda: nn.Lineer, "Linear"),
        (lambda: optim.Adm, "Adam"),
        (lambda: gc.init.xavier, "xavier_normal"),
        (lambda: gc.random.norml, "normal"),
        (lambda: nn.functional.reluu, "relu"),
        (lambda: gc.data.load_cifar, "load_cifar10"),
        (lambda: optim.schedule.cosin, "cosine"),
        (lambda: nn.Linear(2, 2).weigth, "weight"),
    ):
        with pytest.raises(gc.UnknownNameError) as caught:
            call()
        assert re.search(rf"did you mean .*\b{near}\b", told(caught.value)), caught.value
    assert near_names("relu7", ["relu", "relu6", "tanh"]) == ["relu", "relu6"]
    assert near_names("zzz", ["relu", "tanh"]) == []


def test_names_of_a_sibling() -> None:
    for call, place in (
        (lambda: gc.Linear, "gc.nn.Linear"),
        (lambda: gc.Adam, "gc.optim.Adam"),
        (lambda: gc.xavier_uniform, "gc.init.xavier_uniform"),
        (lambda: gc.normal, "gc.random.normal|gc.init.normal"),
        (lambda: nn.concat, "gc.concat"),
        (lambda: optim.cosine, "gc.optim.schedule.cosine"),
    ):
        with pytest.raises(gc.UnknownNameError) as caught:
            call()
        assert re.search(f"write ({place})", told(caught.value))


def modules() -> list[tuple[str, ModuleType]]:
    names = list(spellings.NAMESPACES)
    return [(name, eval(name.replace("gradc", "gc", 1))) for name in names]


@pytest.mark.parametrize(("name", "module"), modules())
def test_a_namespace_says_what_to_write(name: str, module: ModuleType) -> None:
    for other, advice in spellings.NAMESPACES[name].items():
        if hasattr(module, other):
            continue
        with pytest.raises(gc.UnknownNameError) as caught:
            getattr(module, other)
        assert caught.value.hint == advice


@pytest.mark.parametrize(("name", "module"), modules())
def test_a_namespace_shows_public_names(name: str, module: ModuleType) -> None:
    shown = {n for n in dir(module) if not n.startswith("__")}
    assert shown == set(module.__all__)
    assert all(getattr(module, n) is not None or n == "newaxis" for n in shown)
    assert not hasattr(module, "no_such_name") and not hasattr(module, "__wrapped__")


def test_internal_modules_are_out_of_the_namespace() -> None:
    for name in ("nodes", "tracing", "graphs", "variables", "indexing", "structure"):
        assert not hasattr(gc, name), name
    for module, name in ((nn, "linear"), (nn, "module"), (optim, "sgd"), (optim, "optimizer")):
        assert not hasattr(module, name), name
    import gradc.variables as found  # imports find them all the same
    from gradc import functional, nodes
    from gradc.tensor import Tensor  # the module; gc.tensor is PyTorch's function

    assert found.parameter is gc.parameter and functional.sum is gc.sum and nodes.Node
    assert Tensor is gc.Tensor
    assert gc.data.load_idx and gc.compile and not hasattr(gc, "compiled")


def advised() -> list[tuple[str, str]]:
    tables = [spellings.TENSOR, spellings.MODULE, spellings.OPTIMIZER]
    tables += [*spellings.NAMESPACES.values(), spellings.REFUSED_ARGUMENTS]
    return [(name, advice) for table in tables for name, advice in table.items()]


def test_what_is_advised_exists() -> None:
    for name, advice in advised():
        for path in re.findall(r"\b(?:gc|nn|optim|schedule|random|init)(?:\.\w+)+", advice):
            if path.startswith("self"):
                continue
            root, *rest = path.split(".")
            value: Any = {"gc": gc, "nn": nn, "optim": optim, "schedule": optim.schedule,
                          "random": gc.random, "init": gc.init}[root]  # fmt: skip
            for part in rest:
                value = getattr(value, part, None)
                assert value is not None or part == "scan", f"{name}: {advice}"
        for method in re.findall(r"\bx\.(\w+)", advice):
            assert hasattr(gc.Tensor, method), f"{name}: {advice}"


def test_modules_and_optimizers() -> None:
    class Model(nn.Module):
        pass

    for kind, table in ((Model(), spellings.MODULE), (optim.SGD(lr=0.1), spellings.OPTIMIZER)):
        for name, advice in table.items():
            with pytest.raises(gc.UnknownNameError) as caught:
                getattr(kind, name)
            assert caught.value.hint == advice and caught.value.source is not None


# ---------------------------------------------------------------- NumPy's functions

NUMPY: list[tuple[Callable[[], Any], str]] = [
    (lambda: np.exp(x), r"write gc\.exp\(x\)"),
    (lambda: np.arctan2(x, x), r"write gc\.arctan2\(x\)"),
    (lambda: np.absolute(x), r"write gc\.absolute\(x\)"),
    (lambda: np.sum(x), r"write gc\.sum\(x\)"),
    (lambda: np.mean(x, axis=0), r"write gc\.mean\(x\)"),
    (lambda: np.concatenate([x, x]), r"write gc\.concatenate\(\.\.\.\)"),
    (lambda: np.transpose(x), r"write gc\.transpose\(x\)"),
    (lambda: np.where(x > 0, x, 0), r"write gc\.where\(x\)"),
    (lambda: np.dot(m, m), r"write gc\.dot\(x\)"),
    (lambda: np.fmod(x, 2), r"write gc\.fmod\(x\)"),
    (lambda: np.hstack([m, m]), r"write gc\.hstack\(\.\.\.\)"),
    (lambda: np.vstack([m, m]), r"write gc\.vstack\(\.\.\.\)"),
    (lambda: np.array_split(m, 2), r"write gc\.array_split\(x\)"),
    (lambda: np.linalg.det(m), r"write gc\.det\(x\)"),
    (lambda: np.linalg.eigvals(m), "compile the tensor"),
    (lambda: np.einsum("ij->ji", m), r"write gc\.einsum"),
    (lambda: np.add.reduce(m), r"write gc\.sum\(x\)"),
    (lambda: np.linalg.norm(m), r"write gc\.norm\(x\)"),
    (lambda: np.add(m, m, out=M.copy()), "an array cannot hold"),
]


@pytest.mark.parametrize(("call", "message"), NUMPY)
def test_numpys_functions_name_ours(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(gc.DTypeError) as caught:
        call()
    assert re.search(message, told(caught.value)), caught.value
    assert caught.value.operation.startswith("np.") and caught.value.source is not None
    assert "test_spellings.py" in caught.value.source.file


def test_every_ufunc_works_or_is_refused() -> None:
    whole = gc.constant(np.array([1, 2]))
    for name in dir(np):
        ufunc = getattr(np, name)
        if not isinstance(ufunc, np.ufunc):
            continue
        given = [whole] * ufunc.nin
        if ufunc.__name__ in OPERATORS:
            if name not in ("matmul", "divide", "true_divide"):
                assert isinstance(ufunc(*given), gc.Tensor)
            continue
        with pytest.raises(gc.DTypeError):
            ufunc(*given)


def test_an_array_cannot_take_a_tensor_in_place() -> None:
    array = M.copy()
    with pytest.raises(gc.DTypeError, match="write a = a"):
        array += m
    np.testing.assert_array_equal(array, M)


def test_shapes_are_answered() -> None:
    assert np.shape(x) == (2, 3, 4) and np.ndim(x) == 3 and np.size(x) == 24


VALUES: dict[str, Callable[[], Any]] = {
    "float": lambda: float(x), "int": lambda: int(x), "bool": lambda: bool(x),
    "complex": lambda: complex(x), "index": lambda: [1][x], "array": lambda: np.asarray(x),
    "iter": lambda: list(x), "in": lambda: 1.0 in x, "not": lambda: not x, "pickle": lambda:
    pickle.dumps(x), "unpack": lambda: [*x], "max": lambda: max(m, m),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_what_needs_values(name: str) -> None:
    with pytest.raises(gc.GradcError) as caught:
        VALUES[name]()
    assert "a tensor has no values" in told(caught.value)
    assert caught.value.hint and isinstance(caught.value, TypeError)


def test_what_needs_no_values() -> None:
    assert len(x) == 2 and (x == None) is False and (x != None) is True  # noqa: E711
    assert {x: 1}[x] == 1 and x in {x} and hash(x) == hash(x)
    assert copy.copy(x) is x and copy.deepcopy([x, x])[0] is x
    with pytest.raises(gc.ShapeError, match="the first extent"):
        len(gc.input("n", ("batch",)))
