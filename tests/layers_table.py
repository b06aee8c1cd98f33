"""Every layer and every loss: an example, what its parameters are called, and what it computes.

A row is all that a new layer needs: the tests that run over all layers take it from here, and a
class of `gc.nn` without one is a failing test (test_tables.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import gradc as gc
from gradc import nn

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Row:
    """make         a layer with its options
    shape        of the input that it is called with
    parameters   their names, in order
    value        `value(parameters by name, input)` in NumPy; None: see function
    function     the function of `gc` that it is the layer of
    whole        the input is integers below this number
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (5, 6)
    parameters: tuple[str, ...] = ()
    value: Callable[[Mapping[str, Array], Array], Array] | None = None
    function: str = ""
    whole: int = 0


def of(function: str, make: Callable[[], nn.Module], **facts: Any) -> Row:
    """The layer of a function without parameters: with the same options it gives the same."""
    return Row(make, function=function, **facts)


def _convolved(stride: int, margin: int) -> Callable[[Mapping[str, Array], Array], Array]:
    """One product for every place of the window, along two axes."""

    def value(p: Mapping[str, Array], x: Array) -> Array:
        w = p["weight"]
        padded = np.pad(x, [(0, 0), (0, 0), (margin, margin), (margin, margin)])
        places = [range(0, padded.shape[2 + a] - w.shape[2 + a] + 1, stride) for a in (0, 1)]
        y = np.zeros((len(x), len(w), *map(len, places)))
        for r, i in enumerate(places[0]):
            for s, j in enumerate(places[1]):
                window = padded[:, :, i : i + w.shape[2], j : j + w.shape[3]]
                y[:, :, r, s] = np.einsum("ncij,ocij->no", window, w) + p["bias"]
        return y

    return value


def _spread(stride: int, cut: int) -> Callable[[Mapping[str, Array], Array], Array]:
    """Every element of the input, times the window, added where the window lies."""

    def value(p: Mapping[str, Array], x: Array) -> Array:
        w = p["weight"]
        high, wide = ((x.shape[2 + a] - 1) * stride + w.shape[2 + a] for a in (0, 1))
        y = np.zeros((len(x), w.shape[1], high, wide))
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                rows = slice(i * stride, i * stride + w.shape[2])
                columns = slice(j * stride, j * stride + w.shape[3])
                y[:, :, rows, columns] += np.einsum("nc,coij->noij", x[:, :, i, j], w)
        return y[:, :, cut : high - cut, cut : wide - cut] + p["bias"][:, None, None]

    return value


def _along(value: Callable[..., Array], axes: int) -> Callable[[Mapping[str, Array], Array], Array]:
    """Of a window along one axis, or along three, the first of which has extent 1."""

    def other(p: Mapping[str, Array], x: Array) -> Array:
        if axes == 1:
            return value({**p, "weight": p["weight"][:, :, None]}, x[:, :, None])[:, :, 0]
        flat = {**p, "weight": p["weight"][:, :, 0]}
        return np.stack([value(flat, x[:, :, n]) for n in range(x.shape[2])], 2)

    return other


def _linear(p: Mapping[str, Array], x: Array) -> Array:
    return x @ p["weight"].T + p["bias"]


def _layer_norm(p: Mapping[str, Array], x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * p["weight"] + p["bias"]


def _rms_norm(p: Mapping[str, Array], x: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-3) * p["weight"]


def _layered(p: Mapping[str, Array], name: str, x: Array) -> Array:
    return _linear({"weight": p[f"{name}.weight"], "bias": p[f"{name}.bias"]}, x)


def _swiglu(p: Mapping[str, Array], x: Array) -> Array:
    gate = _layered(p, "w1", x)
    return _layered(p, "w3", gate / (1 + np.exp(-gate)) * _layered(p, "w2", x))


def _waves(p: Mapping[str, Array], x: Array) -> Array:
    """Vaswani et al. (2017), section 3.5, element by element."""
    y = x.astype(np.float64)
    for position in range(x.shape[1]):
        for i in range(x.shape[2] // 2):
            angle = position / 10000 ** (2 * i / x.shape[2])
            y[:, position, 2 * i] += np.sin(angle)
            y[:, position, 2 * i + 1] += np.cos(angle)
    return y


def _attention(p: Mapping[str, Array], x: Array) -> Array:
    """Two heads of self-attention, one batch and one head after the other."""
    y = np.zeros_like(x, np.float64)
    q, k, v = np.split(x @ p["in_proj_weight"].T + p["in_proj_bias"], 3, axis=-1)
    each = x.shape[-1] // 2
    for n in range(len(x)):
        for features in (slice(0, each), slice(each, 2 * each)):
            scores = np.exp(q[n, :, features] @ k[n, :, features].T / np.sqrt(each))
            weights = scores / scores.sum(-1, keepdims=True)
            y[n, :, features] = weights @ v[n, :, features]
    return _layered(p, "out_proj", y)


def _encoder_layer(p: Mapping[str, Array], x: Array) -> Array:
    attention = {n.removeprefix("self_attn."): w for n, w in p.items()}
    first, second = ({own: p[f"norm{n}.{own}"] for own in ("weight", "bias")} for n in (1, 2))
    x = _layer_norm(first, x + _attention(attention, x))
    inner = np.maximum(_layered(p, "linear1", x), 0)
    return _layer_norm(second, x + _layered(p, "linear2", inner))


ENCODER_NAMES = (
    "self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight",
    "self_attn.out_proj.bias", "linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias",
    "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias",
)  # fmt: skip

LAYERS: Mapping[str, Row] = {
    "CELU": of("celu", nn.CELU), "ELU": of("elu", nn.ELU), "GELU": of("gelu", nn.GELU),
    "GLU": of("glu", nn.GLU), "SELU": of("selu", nn.SELU), "SiLU": of("silu", nn.SiLU),
    "Hardsigmoid": of("hardsigmoid", nn.Hardsigmoid), "Hardtanh": of("hardtanh", nn.Hardtanh),
    "Hardswish": of("hardswish", nn.Hardswish), "LeakyReLU": of("leaky_relu", nn.LeakyReLU),
    "LogSigmoid": of("logsigmoid", nn.LogSigmoid), "Mish": of("mish", nn.Mish),
    "LogSoftmax": of("log_softmax", nn.LogSoftmax), "Softmax": of("softmax", nn.Softmax),
    "ReLU": of("relu", nn.ReLU), "ReLU6": of("relu6", nn.ReLU6), "Tanh": of("tanh", nn.Tanh),
    "Sigmoid": of("sigmoid", nn.Sigmoid), "Softplus": of("softplus", nn.Softplus),
    "Softsign": of("softsign", nn.Softsign), "Dropout": of("dropout", nn.Dropout),
    "AlphaDropout": of("alpha_dropout", nn.AlphaDropout), "RReLU": of("rrelu", nn.RReLU),
    "FeatureAlphaDropout": of("feature_alpha_dropout", nn.FeatureAlphaDropout),
    "Hardshrink": of("hardshrink", nn.Hardshrink), "Softmin": of("softmin", nn.Softmin),
    "Softshrink": of("softshrink", nn.Softshrink), "Tanhshrink": of("tanhshrink", nn.Tanhshrink),
    "Threshold": Row(
        lambda: nn.Threshold(0.5, 20.0), value=lambda p, x: np.where(x > 0.5, x, 20.0)
    ),
    "Softmax2d": Row(
        nn.Softmax2d, (2, 3, 2, 2), value=lambda p, x: np.exp(x) / np.exp(x).sum(1, keepdims=True)
    ),
    "Identity": Row(nn.Identity, value=lambda p, x: x),
    "Flatten": Row(nn.Flatten, (2, 3, 4), value=lambda p, x: x.reshape(2, 12)),
    "PReLU": Row(
        lambda: nn.PReLU(6), parameters=("weight",),
        value=lambda p, x: np.where(x > 0, x, p["weight"] * x),
    ),
    "Linear": Row(lambda: nn.Linear(6, 3), parameters=("weight", "bias"), value=_linear),
    "Embedding": Row(
        lambda: nn.Embedding(7, 3), (5,), ("weight",), lambda p, x: p["weight"][x], whole=7
    ),
    "EmbeddingBag": Row(
        lambda: nn.EmbeddingBag(7, 3), (4, 5), ("weight",), lambda p, x: p["weight"][x].mean(1),
        whole=7,
    ),
    "Conv1d": Row(
        lambda: nn.Conv1d(3, 4, 3), (2, 3, 9), ("weight", "bias"), _along(_convolved(1, 0), 1),
    ),
    "Conv2d": Row(
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1), (2, 3, 6, 7), ("weight", "bias"),
        _convolved(2, 1),
    ),
    "Conv3d": Row(
        lambda: nn.Conv3d(2, 3, (1, 3, 2)), (2, 2, 3, 5, 6), ("weight", "bias"),
        _along(_convolved(1, 0), 3),
    ),
    "ConvTranspose1d": Row(
        lambda: nn.ConvTranspose1d(3, 4, 3), (2, 3, 5), ("weight", "bias"),
        _along(_spread(1, 0), 1),
    ),
    "ConvTranspose2d": Row(
        lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1), (2, 3, 4, 5),
        ("weight", "bias"), _spread(2, 1),
    ),
    "ConvTranspose3d": Row(
        lambda: nn.ConvTranspose3d(2, 3, (1, 3, 2)), (2, 2, 3, 5, 6), ("weight", "bias"),
        _along(_spread(1, 0), 3),
    ),
    "LayerNorm": Row(
        lambda: nn.LayerNorm(6), parameters=("weight", "bias"), value=_layer_norm,
    ),
    "RMSNorm": Row(lambda: nn.RMSNorm(6, eps=1e-3), parameters=("weight",), value=_rms_norm),
    "SwiGLU": Row(
        lambda: nn.SwiGLU(6, 4),
        parameters=("w1.weight", "w1.bias", "w2.weight", "w2.bias", "w3.weight", "w3.bias"),
        value=_swiglu,
    ),
    "LearnedPositionalEmbedding": Row(
        lambda: nn.LearnedPositionalEmbedding(7, 6), (2, 5, 6), ("weight",),
        lambda p, x: x + p["weight"][:5],
    ),
    "SinusoidalPositionalEncoding": Row(
        lambda: nn.SinusoidalPositionalEncoding(6), (2, 5, 6), value=_waves,
    ),
    "TransformerEncoderLayer": Row(
        lambda: nn.TransformerEncoderLayer(6, 2, 5, batch_first=True), (2, 4, 6), ENCODER_NAMES,
        _encoder_layer,
    ),
    "TransformerEncoder": Row(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 5, batch_first=True), 1),
        (2, 4, 6), tuple(f"layers.0.{name}" for name in ENCODER_NAMES),
        lambda p, x: _encoder_layer({n.removeprefix("layers.0."): w for n, w in p.items()}, x),
    ),
    "Residual": Row(
        lambda: nn.Residual(nn.Linear(6, 3), nn.Linear(6, 3, bias=False)),
        parameters=("module.weight", "module.bias", "shortcut.weight"),
        value=lambda p, x: _layered(p, "module", x) + x @ p["shortcut.weight"].T,
    ),
    "Sequential": Row(
        lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh()), parameters=("0.weight", "0.bias"),
        value=lambda p, x: np.tanh(x @ p["0.weight"].T + p["0.bias"]),
    ),
}  # fmt: skip


def _sized(d: int, *extents: int) -> tuple[int, ...]:
    """A picture of `d` axes."""
    return (2, 3, *extents[:d])


def _margins(mode: str, d: int) -> Callable[[Mapping[str, Array], Array], Array]:
    widths = [(0, 0), (0, 0), *[(1, 1)] * d]
    return lambda p, x: np.pad(x, widths, mode=mode)  # type: ignore[call-overload, no-any-return]


def _evaluated(p: Mapping[str, Array], x: Array) -> Array:
    """Batch normalisation by running statistics that no training moved: mean 0, variance 1."""
    along = (1, -1, *(1,) * (x.ndim - 2))
    return x / np.sqrt(1 + 1e-5) * p["weight"].reshape(along) + p["bias"].reshape(along)


def _instances(p: Mapping[str, Array], x: Array) -> Array:
    axes = tuple(range(2, x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def _groups(p: Mapping[str, Array], x: Array) -> Array:
    found = _instances(p, x.reshape(2, 3, -1)).reshape(x.shape)
    return found * p["weight"][:, None] + p["bias"][:, None]


PICTURES: Mapping[str, Row] = {
    **{
        f"BatchNorm{d}d": Row(
            lambda d=d: getattr(nn, f"BatchNorm{d}d")(3), _sized(d, 4, 3, 2), ("weight", "bias"),
            _evaluated,
        )
        for d in (1, 2, 3)
    },
    **{
        f"InstanceNorm{d}d": Row(
            lambda d=d: getattr(nn, f"InstanceNorm{d}d")(3), _sized(d, 4, 3, 2), value=_instances
        )
        for d in (1, 2, 3)
    },
    **{
        f"Dropout{d}d": Row(
            lambda d=d: getattr(nn, f"Dropout{d}d")(), _sized(d, 4, 3, 2), value=lambda p, x: x
        )
        for d in (1, 2, 3)
    },
    "Unflatten": Row(
        lambda: nn.Unflatten(1, (2, -1)), (3, 8), value=lambda p, x: x.reshape(3, 2, 4)
    ),
    "Unfold": Row(
        lambda: nn.Unfold((1, 2), stride=2), (1, 2, 2, 4),
        value=lambda p, x: x[:, :, 0].reshape(1, 2, 2, 2).swapaxes(2, 3).reshape(1, 4, 2),
    ),
    "Fold": Row(
        lambda: nn.Fold((2, 4), 1), (1, 3, 8), value=lambda p, x: x.reshape(1, 3, 2, 4)
    ),
    "PixelShuffle": Row(
        lambda: nn.PixelShuffle(2), (1, 4, 2, 3),
        value=lambda p, x: x.reshape(2, 2, 2, 3).transpose(2, 0, 3, 1).reshape(1, 1, 4, 6),
    ),
    "PixelUnshuffle": Row(
        lambda: nn.PixelUnshuffle(2), (1, 1, 4, 6),
        value=lambda p, x: x.reshape(2, 2, 3, 2).transpose(1, 3, 0, 2).reshape(1, 4, 2, 3),
    ),
    "ChannelShuffle": Row(
        lambda: nn.ChannelShuffle(2), (2, 6, 3), value=lambda p, x: x[:, [0, 3, 1, 4, 2, 5]]
    ),
    "Upsample": Row(
        lambda: nn.Upsample(scale_factor=2), (1, 2, 3), value=lambda p, x: x.repeat(2, axis=2)
    ),
    "UpsamplingNearest2d": Row(
        lambda: nn.UpsamplingNearest2d(scale_factor=2), (1, 2, 3, 2),
        value=lambda p, x: x.repeat(2, axis=2).repeat(2, axis=3),
    ),
    "UpsamplingBilinear2d": Row(
        lambda: nn.UpsamplingBilinear2d((1, 3)), (2, 3, 1, 2),
        value=lambda p, x: np.stack([x[..., 0], x.mean(-1), x[..., 1]], -1),
    ),
    "GroupNorm": Row(lambda: nn.GroupNorm(3, 6), (2, 6, 4), ("weight", "bias"), _groups),
    "LocalResponseNorm": Row(
        lambda: nn.LocalResponseNorm(1, 0.5, 2.0, 3.0), (2, 6, 4),
        value=lambda p, x: x / (3.0 + 0.5 * x * x) ** 2,
    ),
    **{
        f"{kind}Pool{d}d": Row(
            lambda k=kind, d=d: getattr(nn, f"{k}Pool{d}d")(*((2,) if k == "LP" else ()), 2),
            _sized(d, 4, 6, 2), value=value,
        )
        for d in (1, 2, 3)
        for kind, value in {
            "Max": lambda p, x: _blocks(x).max(-1),
            "Avg": lambda p, x: _blocks(x).mean(-1),
            "LP": lambda p, x: np.sqrt((_blocks(x) ** 2).sum(-1)),
        }.items()
    },
    **{
        f"Adaptive{kind}Pool{d}d": Row(
            lambda k=kind, d=d: getattr(nn, f"Adaptive{k}Pool{d}d")(1), _sized(d, 4, 3, 2),
            value=lambda p, x, f=function: f(x, axis=tuple(range(2, x.ndim)), keepdims=True),
        )
        for d in (1, 2, 3)
        for kind, function in {"Avg": np.mean, "Max": np.max}.items()
    },
    **{
        f"{kind}Pad{d}d": Row(
            lambda k=kind, d=d: getattr(nn, f"{k}Pad{d}d")(1), _sized(d, 3, 4, 2),
            value=_margins(mode, d),
        )
        for d in (1, 2, 3)
        for kind, mode in {
            "Zero": "constant", "Reflection": "reflect", "Replication": "edge", "Circular": "wrap",
        }.items()
    },
    **{
        f"ConstantPad{d}d": Row(
            lambda d=d: getattr(nn, f"ConstantPad{d}d")(1, -2.5), _sized(d, 3, 4, 2),
            value=lambda p, x: np.pad(
                x, [(0, 0), (0, 0), *[(1, 1)] * (x.ndim - 2)], constant_values=-2.5
            ),
        )
        for d in (1, 2, 3)
    },
}  # fmt: skip
LAYERS = {**LAYERS, **PICTURES}


def _blocks(x: Array) -> Array:
    """The elements of windows of extent 2 along every axis but the first two, in a last axis."""
    d = x.ndim - 2
    pairs = x.reshape(*x.shape[:2], *(e for n in x.shape[2:] for e in (n // 2, 2)))
    order = [0, 1, *range(2, 2 + 2 * d, 2), *range(3, 3 + 2 * d, 2)]
    moved = pairs.transpose(order)
    return moved.reshape(*moved.shape[: 2 + d], -1)


HOLDERS = {
    "Module": "the base class",
    "ModuleList": "holds layers, which its owner calls",
    "ModuleDict": "holds layers, which its owner calls",
    "ParameterList": "holds parameters, which its owner reads: test_nn.py",
    "ParameterDict": "holds parameters, which its owner reads: test_nn.py",
    **dict.fromkeys("RNN LSTM GRU".split(), "gives several tensors: test_recurrent.py"),
    **dict.fromkeys(
        "MultiheadAttention TransformerDecoderLayer TransformerDecoder Transformer "
        "RotaryPositionalEmbedding".split(),
        "takes several tensors: test_attention.py",
    ),
    **dict.fromkeys("RNNCell LSTMCell GRUCell".split(), "takes a state: test_recurrent.py"),
}
OF_TWO = {
    **dict.fromkeys(("MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"), "test_unpooling"),
    **dict.fromkeys(("Bilinear", "CosineSimilarity", "PairwiseDistance"), "test_distances"),
    "AdaptiveLogSoftmaxWithLoss": "test_adaptive_softmax",
}
"""Layers of two operands, and the tests of their own."""


@dataclass(frozen=True)
class Loss:
    """layer     the class of `gc.nn`; empty where there is none
    call      the loss of its operands
    kind      "pair": a prediction and a target of one shape, and a loss for every element
              "labels": scores, and class numbers
              "rows": as a pair, and a loss for every row
              "own": operands of its own, made of one f64[4, 3] by `operands`
    """

    layer: str
    call: Callable[..., gc.Tensor]
    kind: str = "pair"
    operands: Callable[[gc.Tensor], tuple[Any, ...]] | None = None

    def given(self, x: gc.Tensor) -> tuple[Any, ...]:
        """Operands that make sense, of x: f64[4, 3]."""
        p = gc.sigmoid(x)
        if self.operands is not None:
            return self.operands(p)
        return p, gc.constant([2, 0, 1, 1]) if self.kind == "labels" else p * 0.5


def _three(x: gc.Tensor) -> tuple[Any, ...]:
    return x, x * 2.0, x * x


LOSSES: Mapping[str, Loss] = {
    "mse_loss": Loss("MSELoss", gc.mse_loss),
    "l1_loss": Loss("L1Loss", gc.l1_loss),
    "smooth_l1_loss": Loss("SmoothL1Loss", gc.smooth_l1_loss),
    "huber_loss": Loss("HuberLoss", gc.huber_loss),
    "binary_cross_entropy": Loss("BCELoss", gc.binary_cross_entropy),
    "binary_cross_entropy_with_logits": Loss(
        "BCEWithLogitsLoss", gc.binary_cross_entropy_with_logits
    ),
    "kl_div": Loss("KLDivLoss", gc.kl_div),
    "hinge_embedding_loss": Loss("HingeEmbeddingLoss", gc.hinge_embedding_loss),
    "gaussian_nll_loss": Loss(
        "GaussianNLLLoss", lambda x, t, *v, **o: gc.gaussian_nll_loss(x, t, *(v or [x]), **o),
        operands=_three,
    ),
    "poisson_nll_loss": Loss("PoissonNLLLoss", gc.poisson_nll_loss),
    "soft_margin_loss": Loss("SoftMarginLoss", gc.soft_margin_loss),
    "cross_entropy": Loss("CrossEntropyLoss", gc.cross_entropy, "labels"),
    "nll_loss": Loss("NLLLoss", gc.nll_loss, "labels"),
    "multi_margin_loss": Loss(
        "MultiMarginLoss", gc.multi_margin_loss, "own", lambda x: (x, gc.constant([2, 0, 1, 1]))
    ),
    "multilabel_margin_loss": Loss(
        "MultiLabelMarginLoss", gc.multilabel_margin_loss, "own",
        lambda x: (x, gc.constant([[2, 0, -1], [1, -1, -1], [-1, 0, 0], [0, 1, 2]])),
    ),
    "multilabel_soft_margin_loss": Loss(
        "MultiLabelSoftMarginLoss", gc.multilabel_soft_margin_loss, "rows"
    ),
    "ctc_loss": Loss(
        "CTCLoss", gc.ctc_loss, "own",
        lambda x: (gc.log_softmax(x)[:, None], *map(gc.constant, ([[1, 2]], [4], [2]))),
    ),
    "margin_ranking_loss": Loss("MarginRankingLoss", gc.margin_ranking_loss, "own", _three),
    "cosine_embedding_loss": Loss(
        "CosineEmbeddingLoss", gc.cosine_embedding_loss, "own",
        lambda x: (x, x * x, gc.constant([1, -1, 0, 1])),
    ),
    "triplet_margin_loss": Loss("TripletMarginLoss", gc.triplet_margin_loss, "own", _three),
    "triplet_margin_with_distance_loss": Loss(
        "TripletMarginWithDistanceLoss", gc.triplet_margin_with_distance_loss, "own", _three
    ),
}  # fmt: skip
