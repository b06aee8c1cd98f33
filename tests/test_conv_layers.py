"""Convolutions as users call them: PyTorch's options, its padding, shapes, first values, errors."""

from __future__ import annotations

import itertools
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from support import values

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(7)
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def convolved(
    x: Array, w: Array, b: Array, stride: Any, margins: Any, dilation: Any, groups: int,
    mode: str = "zeros",
) -> Array:  # fmt: skip
    """PyTorch's formula, one element of the result after the other."""
    spatial = w.ndim - 2
    padded = np.pad(x, [(0, 0), (0, 0), *margins], mode=MODES[mode])  # type: ignore[call-overload]
    image, window = padded.shape[2:], w.shape[2:]
    sides = zip(image, window, stride, dilation, strict=True)
    places = tuple((p - d * (q - 1) - 1) // s + 1 for p, q, s, d in sides)
    y = np.zeros((len(x), len(w), *places), x.dtype)
    inputs, outputs = x.shape[1] // groups, len(w) // groups
    for o in range(len(w)):
        first = o // outputs * inputs
        for r in itertools.product(*map(range, places)):
            cut = [
                slice(r[a] * stride[a], r[a] * stride[a] + dilation[a] * window[a], dilation[a])
                for a in range(spatial)
            ]
            part = padded[(slice(None), slice(first, first + inputs), *cut)]
            y[(slice(None), o, *r)] = (part * w[o]).reshape(len(x), -1).sum(1) + b[o]
    return y


def spread(
    x: Array, w: Array, b: Array, stride: Any, cut: Any, more: Any, dilation: Any, groups: int
) -> Array:
    """PyTorch's transposed convolution, one element of the input after the other."""
    spatial = w.ndim - 2
    extents = tuple(
        (x.shape[2 + a] - 1) * stride[a] + dilation[a] * (w.shape[2 + a] - 1) + 1 + more[a]
        for a in range(spatial)
    )
    inputs, outputs = x.shape[1] // groups, w.shape[1]
    y = np.zeros((len(x), outputs * groups, *extents), x.dtype)
    for c in range(x.shape[1]):
        first = c // inputs * outputs
        for p in itertools.product(*map(range, x.shape[2:])):
            where = [
                slice(
                    p[a] * stride[a], p[a] * stride[a] + dilation[a] * w.shape[2 + a], dilation[a]
                )
                for a in range(spatial)
            ]
            term = x[(slice(None), c, *p)].reshape(-1, 1, *(1,) * spatial) * w[c]
            y[(slice(None), slice(first, first + outputs), *where)] += term
    inside = [slice(cut[a], extents[a] - cut[a]) for a in range(spatial)]
    return y[(slice(None), slice(None), *inside)] + b.reshape(-1, *(1,) * spatial)


@st.composite
def calls(draw: st.DrawFn, transposed: bool) -> dict[str, Any]:
    """Options of one call that fit each other."""
    spatial = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(spatial))

    window, stride, dilation, padding = each(1, 3), each(1, 3), each(1, 2), each(0, 2)
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    reach = [d * (q - 1) + 1 for q, d in zip(window, dilation, strict=True)]
    image = tuple(
        max(1, r - 2 * p) + draw(st.integers(0, 3)) for r, p in zip(reach, padding, strict=True)
    )
    more = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    if transposed:
        image = tuple(e + p for e, p in zip(each(1, 3), padding, strict=True))
    shape = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
    return {
        "x": RNG.standard_normal((draw(st.integers(1, 2)), inputs, *image)),
        "w": RNG.standard_normal((*shape, *window)),
        "b": RNG.standard_normal(outputs),
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "more": more,
        "batch": draw(st.booleans()),
    }  # fmt: skip


FUNCTIONS = {
    1: (gc.conv1d, gc.conv_transpose1d),
    2: (gc.conv2d, gc.conv_transpose2d),
    3: (gc.conv3d, gc.conv_transpose3d),
}


@settings(max_examples=25, deadline=None)
@given(calls(transposed=False))
def test_every_option_of_a_convolution(c: dict[str, Any]) -> None:
    x, w, b = c["x"], c["w"], c["b"]
    margins = [(p, p) for p in c["padding"]]
    wanted = convolved(x, w, b, c["stride"], margins, c["dilation"], c["groups"])
    image, wanted = (x, wanted) if c["batch"] else (x[0], wanted[0])
    function = FUNCTIONS[w.ndim - 2][0]
    options = {n: c[n] for n in ("stride", "padding", "dilation", "groups")}
    found = values(function(gc.input("x", image.shape, gc.float64), w, b, **options), x=image)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(calls(transposed=True))
def test_every_option_of_a_transposed_convolution(c: dict[str, Any]) -> None:
    x, w, b = c["x"], c["w"], c["b"]
    wanted = spread(x, w, b, c["stride"], c["padding"], c["more"], c["dilation"], c["groups"])
    image, wanted = (x, wanted) if c["batch"] else (x[0], wanted[0])
    function = FUNCTIONS[w.ndim - 2][1]
    options = {n: c[n] for n in ("stride", "padding", "dilation", "groups")}
    call = lambda: function(  # noqa: E731
        gc.input("x", image.shape, gc.float64), w, b, output_padding=c["more"], **options
    )
    if 0 in wanted.shape:
        with pytest.raises(gc.ShapeError, match="nothing is left of the result"):
            call()
        return
    found = values(call(), x=image)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(calls(transposed=False), st.sampled_from([*MODES]), st.booleans())
def test_layers_pad_in_every_mode(c: dict[str, Any], mode: str, same: bool) -> None:
    x, w, b = c["x"], c["w"], c["b"]
    stride = (1,) * (w.ndim - 2) if same else c["stride"]
    margins = [(p, p) for p in c["padding"]]
    if same:
        totals = [d * (q - 1) for q, d in zip(w.shape[2:], c["dilation"], strict=True)]
        margins = [(t // 2, t - t // 2) for t in totals]
    limit = {"reflect": -1, "circular": 0}.get(mode, 99)
    if any(max(m) > e + limit for m, e in zip(margins, x.shape[2:], strict=True)):
        return
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[w.ndim - 3]
    layer = kind(
        x.shape[1], len(w), w.shape[2:], stride, "same" if same else c["padding"], c["dilation"],
        c["groups"], padding_mode=mode, dtype=gc.float64, weight_init=w, bias_init=b,
    )  # fmt: skip
    found = values(layer(gc.input("x", x.shape, gc.float64)), x=x)
    wanted = convolved(x, w, b, stride, margins, c["dilation"], c["groups"], mode)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


def test_output_size_chooses_among_the_possible_extents() -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=(2, 3), padding=1)
    x = gc.input("x", ("batch", 2, 5, 5))
    assert layer(x).shape == ("batch", 3, 9, 13)
    assert layer(x, output_size=(10, 15)).shape == ("batch", 3, 10, 15)
    assert layer(x, output_size=(8, 3, 10, 14)).shape == ("batch", 3, 10, 14)
    with pytest.raises(gc.ShapeError, match=r"between \[9, 13\] and \[10, 15\], not \(11, 15\)"):
        layer(x, output_size=(11, 15))


@pytest.mark.parametrize(
    ("shape", "output_size", "message"),
    [
        (("batch", 2, 5, 5), 9, "output_size is a list of integers, not 9"),
        (("batch", 2, 5, 5), (9.0, 13), "each of output_size is an integer, not 9.0"),
        (("batch", 2, 5, 5), "batch", "output_size is a list of integers, not 'batch'"),
        (("batch", 2, 5, 5), (3, 9, 13), "output_size lies between [9, 13] and [10, 15]"),
        (("batch", 2), (9, 13), "the input is [batch, channels, height, width]"),
        ((2, "height", 5), (9, 13), "axis 1 is the named dimension 'height'"),
    ],
)
def test_an_output_size_that_is_none_is_refused(
    shape: tuple[Any, ...], output_size: Any, message: str
) -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=(2, 3), padding=1)
    with pytest.raises(gc.GradcError) as caught:
        layer(gc.input("x", shape), output_size=output_size)
    assert message in str(caught.value)


def test_parameters_have_the_shapes_and_first_values_of_pytorch() -> None:
    for layer, shape, fan in (
        (nn.Conv2d(6, 8, (3, 5), groups=2), (8, 3, 3, 5), 45),
        (nn.ConvTranspose1d(6, 8, 4, groups=2), (6, 4, 4), 16),
        (nn.Conv3d(1, 4, 2, bias=False), (4, 1, 2, 2, 2), 8),
    ):
        named = dict(layer.named_parameters())
        assert named["weight"].shape == shape
        assert list(named) == (["weight"] if layer.bias is None else ["weight", "bias"])
        found = values([p * 1.0 for p in named.values()], seed=3)
        for array in found:
            assert 0.3 < np.abs(array).max() * fan**0.5 <= 1.0
        uniform = np.abs(found[0]).mean() * fan**0.5  # 1/2 on average
        assert abs(uniform - 0.5) < 1.0 / found[0].size ** 0.5


def test_a_layer_says_what_it_is() -> None:
    assert repr(nn.Conv2d(3, 8, 3, padding=1, bias=False)) == (
        "Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)"
    )
    assert repr(nn.ConvTranspose1d(4, 2, 4, 2, output_padding=1, groups=2)) == (
        "ConvTranspose1d(4, 2, kernel_size=(4,), stride=(2,), output_padding=(1,), groups=2)"
    )
    assert repr(nn.Conv1d(2, 2, 3, padding="same", padding_mode="reflect")) == (
        "Conv1d(2, 2, kernel_size=(3,), stride=(1,), padding='same', padding_mode='reflect')"
    )


X = gc.input("x", ("batch", 4, 9, 9))
REFUSED: dict[str, tuple[Any, str]] = {
    "channels": (lambda: nn.Conv2d(3, 6, 3)(X), "conv2d: input has 4 channels, the weight reads 3"),
    "groups": (
        lambda: gc.conv2d(X, gc.zeros((6, 3, 3, 3)), groups=2),
        "conv2d: input has 4 channels, the weight reads 6 in 2 groups",
    ),
    "outputs": (
        lambda: gc.conv2d(X, gc.zeros((5, 2, 3, 3)), groups=2),
        "conv2d: 5 outputs do not split into 2 groups",
    ),
    "in_channels": (
        lambda: nn.Conv2d(4, 6, 3, groups=4), "Conv2d: out_channels 6 do not split into 4 groups"
    ),
    "rank": (
        lambda: gc.conv1d(X, gc.zeros((6, 4, 3))),
        "conv1d: the input is [batch, channels, length], or that without batch",
    ),
    "weight": (lambda: gc.conv2d(X, gc.zeros((6, 4, 3))), "conv2d: the weight has 4 axes"),
    "reach": (lambda: nn.Conv2d(4, 6, 11)(X), "conv2d: the window is larger than the image"),
    "bias": (
        lambda: gc.conv2d(X, gc.zeros((6, 4, 3, 3)), gc.zeros((4,))),
        "conv2d: bias has not one number for each of 6 channels",
    ),
    "stride": (
        lambda: nn.Conv2d(4, 6, 3, stride=0), "Conv2d: stride is an integer of at least 1, not 0"
    ),
    "missing": (
        lambda: nn.Conv2d(4, 6),  # type: ignore[call-arg]
        "Conv2d: missing 1 required positional argument: 'kernel_size'",
    ),
    "per axis": (
        lambda: nn.Conv2d(4, 6, (3, 3, 3)),
        "Conv2d: kernel_size is one integer or one for each of height, width, not (3, 3, 3)",
    ),
    "channels last": (
        lambda: nn.Conv2d(3, 6, 3)(gc.input("x", ("batch", 9, 7, 3))),
        "conv2d: input has 9 channels, the weight reads 3",
    ),
    "same": (
        lambda: nn.Conv2d(4, 6, 3, 2, "same"),
        "Conv2d: padding 'same' needs stride 1, not (2, 2)",
    ),
    "word": (
        lambda: nn.Conv2d(4, 6, 3, padding="full"),
        "Conv2d: padding is 'valid', 'same' or integers, not 'full'",
    ),
    "negative": (
        lambda: gc.conv2d(X, gc.zeros((6, 4, 3, 3)), padding=-1),
        "conv2d: padding is an integer of at least 0, not -1",
    ),
    "mode": (
        lambda: nn.Conv2d(4, 6, 3, padding_mode="wrap"),
        "Conv2d: padding_mode is one of zeros, reflect, replicate, circular, not 'wrap'",
    ),
    "transposed mode": (
        lambda: nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect"),
        "ConvTranspose2d: padding_mode is 'zeros' for a transposed convolution, not 'reflect'",
    ),
    "output padding": (
        lambda: nn.ConvTranspose2d(4, 6, 3, 2, output_padding=2)(X),
        "conv_transpose2d: output_padding is less than stride or dilation, not (2, 2)",
    ),
    "named": (
        lambda: nn.Conv1d(4, 6, 3)(gc.input("t", (2, 4, "time"))),
        "conv1d: axis 2 is the named dimension 'time'",
    ),
    "dtype": (
        lambda: gc.conv2d(X > 0, gc.zeros((6, 4, 3, 3), gc.bool)),
        "conv2d: operands are not numeric",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_told_at_the_users_line(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(gc.GradcError) as caught:
        call()
    first, *rest = str(caught.value).splitlines()
    assert first == message
    assert any("test_conv_layers.py" in line for line in rest)


@pytest.mark.parametrize(
    ("layer", "shape", "order"),
    [
        (nn.Conv1d(3, 6, 2), ("batch", 7, 3), "0, 2, 1"),
        (nn.Conv2d(3, 6, 2), ("batch", 9, 7, 3), "0, 3, 1, 2"),
        (nn.Conv2d(3, 6, 2), (9, 7, 3), "2, 0, 1"),
        (nn.Conv2d(3, 6, 2), ("batch", 9, 7, 4), None),
        (nn.ConvTranspose3d(3, 6, 2), ("batch", 5, 5, 5, 3), "0, 4, 1, 2, 3"),
    ],
)
def test_channels_that_stand_last_are_seen(
    layer: nn.Module, shape: tuple[Any, ...], order: str | None
) -> None:
    x = gc.input("x", shape)
    with pytest.raises(gc.ShapeError) as caught:
        layer(x)
    if order is None:
        assert caught.value.hint == ""
        return
    assert caught.value.hint == f"the last axis has 3: x.permute({order}) is meant"
    assert layer(x.permute(*map(int, order.split(", ")))).shape[-x.ndim + 1 :]


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", [list, tuple])
def test_one_number_for_all_axes_may_stand_in_brackets(axes: int, kind: Any) -> None:
    x = gc.input("x", ("batch", 4, *(9,) * axes))
    options: dict[str, Any] = {"stride": 2, "padding": 1, "dilation": 2}
    bracketed = {name: kind([value]) for name, value in options.items()}
    for name, more in ((f"Conv{axes}d", {}), (f"ConvTranspose{axes}d", {"output_padding": 1})):
        layer = getattr(nn, name)
        wanted = layer(4, 6, 3, **options, **more)
        found = layer(4, 6, kind([3]), **bracketed, **{n: kind([v]) for n, v in more.items()})
        assert found(x).shape == wanted(x).shape
        assert repr(found) == repr(wanted)
    weight = gc.zeros((6, 4, *(3,) * axes))
    function = getattr(nn.functional, f"conv{axes}d")
    one, other = function(x, weight, **bracketed), function(x, weight, **options)
    assert str(gc.graph(one)) == str(gc.graph(other))


def test_every_node_has_the_users_line() -> None:
    y = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, groups=2)(X)
    nodes = [n for n in gc.compiler.graph.ir.topological([y.node]) if n.inputs]
    assert nodes and all(n.source and "test_conv_layers" in n.source.file for n in nodes)


def test_a_ragged_batch_gives_what_its_rows_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a smaller last batch does not have are in no sum."""
    x = gc.input("x", ("batch", 2, 8, 7))
    body = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2, groups=2),
        nn.Flatten(), nn.Linear(36, 1),
    )  # fmt: skip
    program = gc.training(gc.mean(body(x) ** 2), optimizer=optim.SGD(lr=0.05))
    data = RNG.standard_normal((21, 2, 8, 7)).astype(np.float32)
    by_epoch = program.compile(seed=1)
    by_epoch.fit({"x": data}, batch_size=16, epochs=1, shuffle=False)
    by_step = program.compile(seed=1)
    for rows in (data[:16], data[16:]):
        by_step.step(x=rows)
    for name, array in by_epoch.parameters.items():
        np.testing.assert_allclose(array, by_step.parameters[name], rtol=1e-5, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.booleans().flatmap(lambda t: st.tuples(st.just(t), calls(transposed=t))))
def test_values_and_slopes_are_those_of_pytorch(drawn: tuple[bool, dict[str, Any]]) -> None:
    """Where it is installed."""
    torch = pytest.importorskip("torch")
    transposed, c = drawn
    axes = c["w"].ndim - 2
    name = f"conv_transpose{axes}d" if transposed else f"conv{axes}d"
    options = {n: c[n] for n in ("stride", "padding", "dilation", "groups")}
    if transposed:
        options["output_padding"] = c["more"]
    given = [c[n] for n in "xwb"]
    theirs = [torch.tensor(a, requires_grad=True) for a in given]
    ours = [gc.input(n, a.shape, gc.float64) for n, a in zip("xwb", given, strict=True)]
    try:
        wanted = getattr(torch.nn.functional, name)(*theirs, **options)
    except RuntimeError:
        return
    loss = (wanted * wanted).sum()
    loss.backward()
    y = getattr(gc, name)(*ours, **options)
    found = values([y, *gc.grad((y * y).sum(), ours)], **dict(zip("xwb", given, strict=True)))
    expected = [wanted.detach().numpy(), *(t.grad.numpy() for t in theirs)]
    for ours_, theirs_ in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-9, atol=1e-9)
