"""Modules: naming, containers, layers."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from support import initial_state, steps, values

import gradc as gc
from gradc import nn, optim
from gradc.graphs import assemble


def names(*tensors: gc.Tensor) -> list[str]:
    _, assembler = assemble(list(tensors), "names", training=False)
    return list(assembler.states)


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        self.inner = nn.Linear(width, width)
        self.scale = gc.parameter("anything", (width,), init=gc.init.ones)

    def forward(self, input: gc.Tensor) -> gc.Tensor:
        return gc.tanh(self.inner(input)) * self.scale


x = gc.input("x", ("batch", 4))


def test_names_are_pytorchs() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), Block(4), nn.Sequential(nn.Linear(4, 2)))
    expected = ["0.weight", "0.bias", "2.inner.weight", "2.inner.bias", "2.scale", "3.0.weight",
                "3.0.bias"]  # fmt: skip
    assert names(model(x)) == expected
    found = [name for name, _ in model.named_parameters()]
    assert sorted(found) == sorted(expected)
    assert [p.shape for p in model.parameters()][:2] == [(4, 4), (4,)]


def test_a_module_may_be_read_before_it_is_put_in_place() -> None:
    block = Block(4)
    early = block(x)
    assert names(early) == ["inner.weight", "inner.bias", "scale"]
    model = nn.ModuleDict({"body": block})
    assert names(early) == ["body.inner.weight", "body.inner.bias", "body.scale"]
    assert next(iter(model.named_parameters()))[0] == "body.scale"
    assert list(dict(block.named_parameters())) == ["scale", "inner.weight", "inner.bias"]


def test_tied_parameters_are_one() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.encode = nn.Linear(4, 4, bias=False)
            self.decode = nn.Linear(4, 4, bias=False)
            self.decode.weight = self.encode.weight

        def forward(self, input: gc.Tensor) -> gc.Tensor:
            return self.decode(self.encode(input))

    model = Tied()
    assert names(model(x)) == ["encode.weight"]
    assert [name for name, _ in model.named_parameters()] == ["encode.weight"]


def test_the_same_module_twice_shares_parameters() -> None:
    layer = nn.Linear(4, 4)
    assert names(nn.Sequential(layer, nn.ReLU(), layer)(x)) == ["0.weight", "0.bias"]


def test_containers() -> None:
    layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])
    layers.append(nn.Identity())
    assert len(layers) == 3 and layers[-1] is list(layers)[2]
    named = nn.Sequential({"first": nn.Linear(4, 3), "act": nn.Tanh()})
    assert names(named(x)) == ["first.weight", "first.bias"]
    assert named[1] is named.children()[1]
    tree = nn.ModuleDict({"a": nn.Linear(1, 1)})
    tree["b"] = nn.Linear(1, 1)
    assert "b" in tree and list(tree) == ["a", "b"] and len(tree) == 2
    assert [name for name, _ in tree.named_modules()] == ["", "a", "b"]
    with pytest.raises(gc.ArgumentError, match="no module at 7; there are 3"):
        layers[7]
    with pytest.raises(gc.ArgumentError, match="would contain itself"):
        layers.append(layers)


def test_a_residual_block() -> None:
    block = nn.Residual(nn.Linear(4, 4, bias=False, weight_init=gc.init.eye))
    np.testing.assert_array_equal(values(block(gc.ones((2, 4)))), np.full((2, 4), 2))
    assert [name for name, _ in block.named_parameters()] == ["module.weight"]
    with pytest.raises(gc.ShapeError, match="Residual: the two ways differ in shape") as caught:
        nn.Residual(nn.Linear(4, 3))(x)
    assert "the module gives f32[batch, 3], the shortcut f32[batch, 4]" in str(caught.value)
    with pytest.raises(gc.ArgumentError, match=r"Residual: module is .*, not a module"):
        nn.Residual(nn.Linear)


def test_a_slice_of_a_container_holds_the_same_layers() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    first = model[:2]
    assert isinstance(first, nn.Sequential) and len(first) == 2 and len(model) == 3
    assert first[0] is model[0] and model[0].weight.name == "0.weight"
    assert names(model[1:](x)) == ["2.weight", "2.bias"]
    kept = nn.ModuleDict({"a": nn.Linear(1, 1)})
    kept.update({"b": nn.Tanh()})
    assert kept.keys() == ["a", "b"] and kept.values() == [kept["a"], kept["b"]]


class Held(nn.Module):
    def __init__(self) -> None:
        made = (gc.parameter("p", (n,), init=gc.init.ones) for n in (1, 2))
        self.several = nn.ParameterList(made)
        self.by_name = nn.ParameterDict({"scale": gc.parameter("q", (4,), init=gc.init.ones)})

    def forward(self, input: gc.Tensor) -> gc.Tensor:
        return input * self.by_name["scale"] * self.several[0] + gc.sum(self.several[-1])


def test_lists_and_dicts_of_parameters() -> None:
    model = Held()
    expected = ["several.0", "several.1", "by_name.scale"]
    assert [name for name, _ in model.named_parameters()] == expected
    assert [p.name for p in copy.deepcopy(model).parameters()] == expected
    program = gc.training(gc.sum(model(x)), optim.SGD(lr=0.5))
    after = steps(program, [{"x": np.ones((3, 4))}])[-1]
    np.testing.assert_array_equal(after["by_name.scale"], [-0.5] * 4)
    np.testing.assert_array_equal(after["several.1"], [-5.0, -5.0])
    several = model.several.append(gc.parameter("r", (2, 2)))
    assert len(several) == 3 and list(several)[2].name == "several.2"
    model.by_name["shift"] = gc.parameter("s", ())
    assert "shift" in model.by_name and len(model.by_name) == 2
    assert repr(nn.ParameterList([gc.parameter("p", (2,))])) == "ParameterList(f32[2])"
    with pytest.raises(gc.ArgumentError, match="no parameter at 3; there are 3"):
        several[3]
    with pytest.raises(gc.ArgumentError, match="no parameter 'a'"):
        model.by_name["a"]
    with pytest.raises(gc.ArgumentError, match="element 0 is ndarray, not a parameter"):
        nn.ParameterList([np.ones(2)])
    with pytest.raises(gc.ArgumentError, match=r"without a dot: 'a\.b'"):
        model.by_name["a.b"] = gc.parameter("t", ())


def test_text() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1), nn.LeakyReLU())
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(in_features=3, out_features=2, bias=True)\n"
        "  (1): Dropout(p=0.1)\n"
        "  (2): LeakyReLU(negative_slope=0.01)\n"
        ")"
    )


def test_linear() -> None:
    layer = nn.Linear(
        4,
        3,
        dtype=gc.float64,
        weight_init=np.arange(12.0).reshape(3, 4),
        bias_init=gc.init.constant(0.5),
    )
    data = np.ones((2, 4))
    wide = gc.input("wide", (2, 4), gc.float64)
    expected = data @ np.arange(12.0).reshape(3, 4).T + 0.5
    np.testing.assert_allclose(values(layer(wide), wide=data), expected)
    assert nn.Linear(4, 3, bias=False).bias is None


def test_linear_begins_as_in_pytorch() -> None:
    model = nn.Linear(100, 50)
    weight, bias = values([gc.Tensor(p.node) for p in (model.weight, model.bias)])
    bound = 1 / math.sqrt(100)
    for array in (weight, bias):
        assert np.abs(array).max() <= bound
        assert abs(array.std() - bound / math.sqrt(3)) < 0.02
    assert len(np.unique(weight)) > 4900


def test_equal_models_begin_equal() -> None:
    def states(seed: int) -> dict[str, np.ndarray]:
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        loss = model(x).sum()
        return initial_state(gc.training(loss, optim.SGD(lr=0.1)).graphs["init"], seed)

    first, again, other = states(3), states(3), states(4)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["0.weight"], other["0.weight"])
    assert not np.array_equal(first["0.weight"].ravel()[:16], first["2.weight"].ravel())


def test_embedding() -> None:
    layer = nn.Embedding(5, 3, padding_idx=1, dtype=gc.float64)
    numbers = gc.input("numbers", (2, 2), gc.int32)
    rows = layer(numbers)
    assert rows.shape == (2, 2, 3)
    found, weight, slope = values(
        [rows, gc.Tensor(layer.weight.node), gc.grad(rows.sum(), layer.weight)],
        numbers=[[0, 1], [4, 4]],
    )
    np.testing.assert_array_equal(found, weight[[[0, 1], [4, 4]]])
    np.testing.assert_array_equal(weight[1], 0)
    np.testing.assert_array_equal(slope[:, 0], [1, 0, 0, 0, 2])


def test_normalisation_begins_as_the_identity_map() -> None:
    data = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    norm = nn.LayerNorm(4)
    centred = (data - data.mean(1, keepdims=True)) / data.std(1, keepdims=True)
    np.testing.assert_allclose(values(norm(x), x=data), centred, rtol=1e-3)
    assert [n for n, _ in norm.named_parameters()] == ["weight", "bias"]
    root = data / np.sqrt((data**2).mean(1, keepdims=True))
    np.testing.assert_allclose(values(nn.RMSNorm((4,))(x), x=data), root, rtol=1e-3)
    assert nn.LayerNorm(4, elementwise_affine=False).parameters() == []


def test_every_activation_is_its_function() -> None:
    pairs = {
        nn.ReLU(): gc.relu(x), nn.ReLU6(): gc.relu6(x), nn.SELU(): gc.selu(x),
        nn.SiLU(): gc.silu(x), nn.Mish(): gc.mish(x), nn.Softsign(): gc.softsign(x),
        nn.Hardsigmoid(): gc.hardsigmoid(x), nn.Hardswish(): gc.hardswish(x),
        nn.Sigmoid(): gc.sigmoid(x), nn.LogSigmoid(): gc.logsigmoid(x), nn.Tanh(): gc.tanh(x),
        nn.LeakyReLU(0.2): gc.leaky_relu(x, 0.2), nn.ELU(0.5): gc.elu(x, 0.5),
        nn.CELU(0.5): gc.celu(x, 0.5), nn.GELU("tanh"): gc.gelu(x, "tanh"),
        nn.Softplus(2.0): gc.softplus(x, 2.0), nn.Hardtanh(-2.0, 3.0): gc.hardtanh(x, -2.0, 3.0),
        nn.Softmax(1): gc.softmax(x, 1), nn.LogSoftmax(1): gc.log_softmax(x, 1),
        nn.GLU(): gc.glu(x), nn.Identity(): x, nn.Flatten(): gc.flatten(x, 1),
    }  # fmt: skip
    for module, expected in pairs.items():
        assert str(gc.graph(module(x))) == str(gc.graph(expected)), module
    data = np.array([[-1.0, 2, -3, 4]])
    np.testing.assert_allclose(values(nn.PReLU()(x), x=data), [[-0.25, 2, -0.75, 4]])


def test_losses_are_their_functions() -> None:
    y = gc.input("y", ("batch", 4))
    k = gc.input("k", ("batch",), gc.int32)
    pairs = {
        nn.MSELoss(): (gc.mse_loss(x, y), y),
        nn.L1Loss("sum"): (gc.l1_loss(x, y, reduction="sum"), y),
        nn.SmoothL1Loss(beta=2.0): (gc.smooth_l1_loss(x, y, beta=2.0), y),
        nn.HuberLoss(delta=2.0): (gc.huber_loss(x, y, delta=2.0), y),
        nn.BCELoss(): (gc.binary_cross_entropy(x, y), y),
        nn.BCEWithLogitsLoss(): (gc.binary_cross_entropy_with_logits(x, y), y),
        nn.KLDivLoss("batchmean"): (gc.kl_div(x, y, "batchmean"), y),
        nn.CrossEntropyLoss(label_smoothing=0.1): (gc.cross_entropy(x, k, label_smoothing=0.1), k),
        nn.NLLLoss(): (gc.nll_loss(x, k), k),
    }
    for module, (expected, target) in pairs.items():
        assert str(gc.graph(module(x, target))) == str(gc.graph(expected)), module


def test_functional_is_the_same_family() -> None:
    assert nn.functional.cross_entropy is gc.cross_entropy
    assert all(getattr(gc, name) is getattr(nn.functional, name) for name in nn.functional.__all__)
