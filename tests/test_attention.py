"""Attention and transformer layers: the formulas in NumPy, one head after the other, and PyTorch's
names, masks and shapes. (All values and gradients were compared with PyTorch's once, to 1e-9.)"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from layers_table import ENCODER_NAMES
from support import values

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
near = np.testing.assert_allclose
rng = np.random.default_rng(11)
F64 = gc.float64
LENGTH, KEYS, BATCH, WIDE, HEADS = 3, 5, 2, 8, 2


@pytest.fixture(autouse=True)
def own_numbers() -> None:
    """Every test has the same numbers, whichever ran before it in the same process."""
    rng.bit_generator.state = np.random.default_rng(11).bit_generator.state


def attended(q: Array, k: Array, v: Array, added: Array) -> tuple[Array, Array]:
    """One head: q [length, e], k [keys, e], v [keys, out], added [length, keys]."""
    scores = q @ k.T / math.sqrt(q.shape[-1]) + added
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    weights = powers / powers.sum(-1, keepdims=True)
    return weights @ v, weights


def causal(length: int, keys: int) -> Array:
    return np.where(np.arange(keys) > np.arange(length)[:, None], -np.inf, 0.0)


def operands(heads: int = HEADS, served: int = HEADS) -> dict[str, Array]:
    return {
        "q": rng.normal(size=(BATCH, heads, LENGTH, 4)),
        "k": rng.normal(size=(BATCH, served, KEYS, 4)),
        "v": rng.normal(size=(BATCH, served, KEYS, 6)),
    }


def by_heads(arrays: Mapping[str, Array], added: Array) -> Array:
    """Every batch and head by itself; heads of keys serve groups of heads of queries."""
    q, k, v = (arrays[n] for n in "qkv")
    group = q.shape[1] // k.shape[1]
    added = np.broadcast_to(added, (*q.shape[:3], KEYS))
    return np.stack(
        [
            np.stack(
                [
                    attended(q[n, h], k[n, h // group], v[n, h // group], added[n, h])[0]
                    for h in range(q.shape[1])
                ]
            )
            for n in range(len(q))
        ]
    )


def inputs_like(arrays: Mapping[str, Array]) -> list[gc.Tensor]:
    return [gc.input(n, a.shape, F64) for n, a in arrays.items()]


# ---------------------------------------------------------------- the function


def test_without_a_mask() -> None:
    arrays = operands()
    found = values(gc.scaled_dot_product_attention(*inputs_like(arrays)), **arrays)
    near(found, by_heads(arrays, np.zeros((1, 1))), rtol=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
def test_masks(grouped: bool) -> None:
    arrays = operands(4, 2 if grouped else 4)
    allowed = rng.random((BATCH, 1, LENGTH, KEYS)) < 0.6
    allowed[..., 0] = True
    numbers = rng.normal(size=(4, LENGTH, KEYS))
    cases = [
        ({"attn_mask": allowed}, np.where(allowed, 0, -np.inf)),
        ({"attn_mask": numbers}, numbers),
        ({"is_causal": True}, causal(LENGTH, KEYS)),
        ({"attn_mask": allowed, "is_causal": True},
         np.where(allowed, 0, -np.inf) + causal(LENGTH, KEYS)),
    ]  # fmt: skip
    for options, added in cases:
        q, k, v = inputs_like(arrays)
        y = gc.scaled_dot_product_attention(q, k, v, enable_gqa=grouped, **options)
        near(values(y, **arrays), by_heads(arrays, added), rtol=1e-12)


def test_scale() -> None:
    arrays = operands()
    q, k, v = inputs_like(arrays)
    found = values(gc.scaled_dot_product_attention(q, k, v, scale=0.25), **arrays)
    arrays["q"] = arrays["q"] / 2
    near(found, by_heads(arrays, np.zeros((1, 1))), rtol=1e-12)


@pytest.mark.parametrize("kind", ["bool", "numbers"])
def test_a_query_without_keys_is_zero_and_has_no_slope(kind: str) -> None:
    """PyTorch: zeros, and gradients of zero."""
    arrays = operands()
    allowed = np.ones((LENGTH, KEYS), bool)
    allowed[1] = False
    mask: Any = allowed if kind == "bool" else np.where(allowed, 0, -np.inf)
    q, k, v = inputs_like(arrays)
    y = gc.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    found, *slopes = values([y, *gc.grad((y * y).sum(), [q, k, v])], **arrays)
    assert (found[:, :, 1] == 0).all() and (slopes[0][:, :, 1] == 0).all()
    assert all(np.isfinite(slope).all() for slope in slopes)
    with np.errstate(invalid="ignore"):
        want = by_heads(arrays, np.where(allowed, 0, -np.inf))
    near(found[:, :, ::2], want[:, :, ::2], rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"enable_gqa": True}, {"mask": 1}])
def test_slopes_by_differences(options: dict[str, Any]) -> None:
    options = dict(options)
    arrays = operands(4, 2 if "enable_gqa" in options else 4)
    if options.pop("mask", 0):
        arrays["mask"] = rng.normal(size=(LENGTH, KEYS))
    given = inputs_like(arrays)
    y = gc.scaled_dot_product_attention(*given[:3], *given[3:], **options)
    weights = rng.normal(size=y.shape)
    total = (y * weights).sum()
    f = gc.compile({"y": total, "slopes": gc.grad(total, given)})
    slopes = f(**arrays)["slopes"]
    for (name, array), slope in zip(arrays.items(), slopes, strict=True):
        way = rng.normal(size=array.shape)
        up, down = (float(f(**arrays | {name: array + h * way})["y"]) for h in (1e-6, -1e-6))
        near((slope * way).sum(), (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["attention", "gelu"])
def test_written_slopes_have_slopes_of_their_own(name: str) -> None:
    """The gradients are formulas, not the composition's: second order and forward mode too."""
    x, way = gc.input("x", (3, 4), F64), gc.input("way", (3, 4), F64)
    calls = {
        "attention": lambda: gc.scaled_dot_product_attention(x, x * 0.5, gc.sin(x)),
        "gelu": lambda: gc.gelu(x * 2.0),
    }
    y = (calls[name]() ** 3).sum()
    g = gc.grad(y, x)
    f = gc.compile({"g": g, "h": gc.hvp(y, x, way), "t": gc.jvp(y, x, way)})
    point, along = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    found = f(x=point, way=along)
    up, down = (f(x=point + h * along, way=along)["g"] for h in (1e-6, -1e-6))
    near(found["h"], (up - down) / 2e-6, rtol=1e-6, atol=1e-7)
    near(found["t"], (found["g"] * along).sum(), rtol=1e-11)


def test_named_lengths() -> None:
    arrays = operands()
    q = gc.input("q", ("batch", HEADS, "length", 4), F64)
    k = gc.input("k", ("batch", HEADS, "keys", 4), F64)
    v = gc.input("v", ("batch", HEADS, "keys", 6), F64)
    y = gc.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert y.shape == ("batch", HEADS, "length", 6)
    near(gc.compile(y)(**arrays), by_heads(arrays, causal(LENGTH, KEYS)), rtol=1e-12)


def test_dropout_is_of_the_weights_and_of_training_alone() -> None:
    """Of values that are all one, the sums of the weights: 0, 2 and what lies between."""
    q = k = gc.ones((200, 4))
    y = gc.scaled_dot_product_attention(q, k, gc.ones((200, 1)), dropout_p=0.5)
    near(gc.compile(y)(), 1.0, rtol=1e-5)
    kept = gc.compile(y, training=True, seed=3)()
    assert 0.5 < kept.std() * math.sqrt(200) < 2 and abs(kept.mean() - 1) < 0.05


E3 = gc.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: gc.scaled_dot_product_attention(E3, gc.ones((2, 3, 5)), E3), gc.ShapeError,
         "query and key have different features"),
        (lambda: gc.scaled_dot_product_attention(E3, E3, gc.ones((2, 2, 4))), gc.ShapeError,
         "key and value have different lengths"),
        (lambda: gc.scaled_dot_product_attention(E3, E3, E3, gc.ones((3, 3), gc.int32)),
         gc.DTypeError, "attn_mask is bool or floating-point"),
        (lambda: gc.scaled_dot_product_attention(E3, E3, E3, gc.ones((3, 2))), gc.ShapeError,
         "attn_mask does not fit the scores"),
        (lambda: gc.scaled_dot_product_attention(E3, gc.ones((3, 3, 4)), E3), gc.ShapeError, ""),
        (lambda: gc.scaled_dot_product_attention(gc.ones((3, 3, 4)), E3, E3, enable_gqa=True),
         gc.ShapeError, "the heads of query are no multiple"),
        (lambda: gc.scaled_dot_product_attention(E3, E3, E3, dropout_p=2), gc.ArgumentError,
         "a probability lies in 0 to 1"),
        (lambda: gc.rotary_embedding(gc.ones((3, 5))), gc.ShapeError, "even features"),
        (lambda: gc.rotary_embedding(E3, offset=0.5), gc.ArgumentError, "offset is integers"),
        (lambda: gc.rotary_embedding(E3, offset=gc.ones((7,), gc.int32)), gc.ShapeError, ""),
        (lambda: nn.MultiheadAttention(8, 3), gc.ArgumentError, "no multiple of num_heads"),
        (lambda: nn.MultiheadAttention(4, 2)(E3, E3, gc.ones((3, 3, 4))), gc.ShapeError,
         "key and value have different lengths"),
        (lambda: nn.MultiheadAttention(4, 2)(E3, gc.ones((2, 4, 4)), E3), gc.ShapeError,
         "axis 1 is the batch, and differs"),
        (lambda: nn.MultiheadAttention(4, 2)(E3, E3, E3, gc.ones((2, 2)) > 0), gc.ShapeError,
         "key_padding_mask does not fit the keys"),
        (lambda: nn.MultiheadAttention(4, 2)(E3, E3, E3, attn_mask=gc.ones((5, 3, 3))),
         gc.ShapeError, "attn_mask does not fit the scores"),
        (lambda: nn.TransformerEncoderLayer(4, 2, activation="tanh"), gc.ArgumentError,
         "activation is"),
        (lambda: nn.TransformerEncoder(3, 2), gc.ArgumentError, "the layer is a module"),
        (lambda: nn.Transformer(4, 2, 1, 1, 4)(E3, gc.ones((2, 2, 4))), gc.ShapeError,
         "axis 1 is the batch, and differs"),
        (lambda: nn.LearnedPositionalEmbedding(2, 4)(E3), gc.ShapeError, "positions end at 2"),
        (lambda: nn.SinusoidalPositionalEncoding(5), gc.ArgumentError, "embedding_dim is even"),
    ],
)  # fmt: skip
def test_errors(call: Any, kind: type[gc.GradcError], text: str) -> None:
    with pytest.raises(kind) as error:
        call()
    assert text in str(error.value) and "test_attention.py" in str(error.value)


# ---------------------------------------------------------------- layers


def compiled(layer: nn.Module, result: Any, **arrays: Array) -> tuple[dict[str, Array], Any]:
    """Random values of all parameters, and what the layer computes with them."""
    f = gc.compile(result)
    p = {n: rng.normal(size=t.shape) / 2 for n, t in layer.named_parameters()}
    for name, value in p.items():
        f.parameters[name] = value
    return p, f(**arrays)


def multihead(
    p: Mapping[str, Array], q: Array, k: Array, v: Array, added: Array, heads: int = HEADS
) -> tuple[Array, Array]:
    """q, k, v [batch, length, features]; added broadcasts to [batch, heads, length, keys]."""
    if "in_proj_weight" in p:
        w_q, w_k, w_v = np.split(p["in_proj_weight"], 3)
    else:
        w_q, w_k, w_v = (p[f"{n}_proj_weight"] for n in "qkv")
    b_q, b_k, b_v = np.split(p.get("in_proj_bias", np.zeros(3 * len(w_q))), 3)
    q, k, v = q @ w_q.T + b_q, k @ w_k.T + b_k, v @ w_v.T + b_v
    each = len(w_q) // heads
    added = np.broadcast_to(added, (len(q), heads, q.shape[1], k.shape[1]))
    y, weights = np.zeros(q.shape), np.zeros(added.shape)
    for n in range(len(q)):
        for h in range(heads):
            own = slice(h * each, (h + 1) * each)
            y[n, :, own], weights[n, h] = attended(
                q[n, :, own], k[n, :, own], v[n, :, own], added[n, h]
            )
    return y @ p["out_proj.weight"].T + p.get("out_proj.bias", 0.0), weights


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("dims", [{}, {"kdim": 3, "vdim": 4, "bias": False}])
def test_multihead_attention(batch_first: bool, dims: dict[str, Any]) -> None:
    layer = nn.MultiheadAttention(WIDE, HEADS, batch_first=batch_first, dtype=F64, **dims)
    q = rng.normal(size=(BATCH, LENGTH, WIDE))
    k = rng.normal(size=(BATCH, KEYS, dims.get("kdim", WIDE)))
    v = rng.normal(size=(BATCH, KEYS, dims.get("vdim", WIDE)))
    padding = np.array([[False] * KEYS, [False] * 3 + [True] * 2])
    per_head = rng.normal(size=(BATCH * HEADS, LENGTH, KEYS))
    turned = (lambda x: x) if batch_first else (lambda x: x.swapaxes(0, 1))
    arrays = {n: turned(a) for n, a in zip("qkv", (q, k, v), strict=True)}
    for averaged in (True, False):
        found = layer(
            *inputs_like(arrays), key_padding_mask=padding, attn_mask=per_head,
            average_attn_weights=averaged,
        )  # fmt: skip
        p, (y, weights) = compiled(layer, list(found), **arrays)
        added = per_head.reshape(BATCH, HEADS, LENGTH, KEYS)
        added = added + np.where(padding, -np.inf, 0)[:, None, None]
        want_y, want_weights = multihead(p, q, k, v, added)
        near(turned(y), want_y, rtol=1e-11, atol=1e-13)
        near(weights, want_weights.mean(1) if averaged else want_weights, rtol=1e-11)
        assert (weights[1, ..., 3:] == 0).all()


def test_names_and_first_values() -> None:
    options = {"add_bias_kv": True, "kdim": 3}
    layer = nn.MultiheadAttention(WIDE, HEADS, **options)
    assert [n for n, _ in layer.named_parameters()] == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v",
        "out_proj.weight", "out_proj.bias",
    ]  # fmt: skip
    layer = nn.MultiheadAttention(64, 4)
    f = gc.compile(layer(*[gc.zeros((2, 1, 64))] * 3)[0], seed=1)
    first = f.parameters
    bound = math.sqrt(6 / (64 + 192))  # xavier_uniform of a matrix [192, 64]
    assert 0.98 * bound < np.abs(first["in_proj_weight"]).max() <= bound
    assert not first["in_proj_bias"].any() and not first["out_proj.bias"].any()
    assert 0.9 / 8 < np.abs(first["out_proj.weight"]).max() <= 1 / 8


@pytest.mark.parametrize("what", ["add_bias_kv", "add_zero_attn"])
def test_one_key_more(what: str) -> None:
    """As if the projected keys and values had one more, which the masks let pass."""
    layer = nn.MultiheadAttention(4, 1, batch_first=True, dtype=F64, **{what: True})
    x = rng.normal(size=(1, LENGTH, 4))
    t = gc.input("x", x.shape, F64)
    p, (y, weights) = compiled(layer, list(layer(t, t, t, is_causal=True)), x=x)
    q, k, v = np.split(x[0] @ p["in_proj_weight"].T + p["in_proj_bias"], 3, axis=-1)
    rows = (p["bias_k"][0], p["bias_v"][0]) if what == "add_bias_kv" else (np.zeros((1, 4)),) * 2
    k, v = (np.concatenate([a, row]) for a, row in zip((k, v), rows, strict=True))
    added = np.concatenate([causal(LENGTH, LENGTH), np.zeros((LENGTH, 1))], axis=1)
    mixed, want = attended(q, k, v, added)
    near(weights[0], want, rtol=1e-11)
    near(y[0], mixed @ p["out_proj.weight"].T + p["out_proj.bias"], rtol=1e-11)


def test_without_a_batch_and_with_a_named_one() -> None:
    layer = nn.MultiheadAttention(WIDE, HEADS, batch_first=True, dtype=F64)
    x = rng.normal(size=(BATCH, LENGTH, WIDE))
    one, many = gc.input("one", (LENGTH, WIDE), F64), gc.input("x", ("batch", "time", WIDE), F64)
    mask = causal(LENGTH, LENGTH) < 0
    single = layer(one, one, one, attn_mask=mask)
    assert single[1] is not None and single[1].shape == (LENGTH, LENGTH)
    several, none = layer(many, many, many, need_weights=False, is_causal=True)
    assert none is None and several.shape == ("batch", "time", WIDE)
    p, (first, all_rows) = compiled(layer, [single[0], several], one=x[0], x=x)
    want, _ = multihead(p, x, x, x, causal(LENGTH, LENGTH))
    near(all_rows, want, rtol=1e-11)
    near(first, want[0], rtol=1e-11)


def test_a_query_without_keys_is_what_pytorch_makes_of_it() -> None:
    layer = nn.MultiheadAttention(WIDE, HEADS, batch_first=True)
    x = gc.ones((1, LENGTH, WIDE))
    mask = np.eye(LENGTH, dtype=bool) | True
    mask[0] = False
    seen = layer(x, x, x, attn_mask=mask)
    unseen = layer(x, x, x, attn_mask=mask, need_weights=False)
    with_weights, without = values([seen[0], unseen[0]])
    assert np.isnan(with_weights[0, 1:]).all() and (without[0, 1:] == 0).all()
    near(with_weights[0, 0], without[0, 0], rtol=1e-6)


def norm(p: Mapping[str, Array], name: str, x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def below(p: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {n.removeprefix(prefix): a for n, a in p.items() if n.startswith(prefix)}


def perceptron(p: Mapping[str, Array], x: Array) -> Array:
    inner = np.maximum(x @ p["linear1.weight"].T + p["linear1.bias"], 0)
    return inner @ p["linear2.weight"].T + p["linear2.bias"]


def test_encoder_with_norms_first() -> None:
    one = nn.TransformerEncoderLayer(WIDE, HEADS, 12, batch_first=True, norm_first=True, dtype=F64)
    encoder = nn.TransformerEncoder(one, 2, nn.LayerNorm(WIDE, dtype=F64))
    assert [n for n, _ in encoder.named_parameters()] == [
        *(f"layers.{k}.{name}" for k in (0, 1) for name in ENCODER_NAMES),
        "norm.weight", "norm.bias",
    ]  # fmt: skip
    x = rng.normal(size=(BATCH, LENGTH, WIDE))
    p, found = compiled(encoder, encoder(gc.input("x", x.shape, F64), is_causal=True), x=x)
    for k in (0, 1):
        own = below(p, f"layers.{k}.")
        normal = norm(own, "norm1", x)
        attention = below(own, "self_attn.")
        x = x + multihead(attention, normal, normal, normal, causal(LENGTH, LENGTH))[0]
        x = x + perceptron(own, norm(own, "norm2", x))
    near(found, norm(p, "norm", x), rtol=1e-10)


def test_transformer() -> None:
    model = nn.Transformer(WIDE, HEADS, 1, 1, 12, batch_first=True, dtype=F64)
    source, target = (rng.normal(size=(BATCH, n, WIDE)) for n in (KEYS, LENGTH))
    padding = np.array([[False] * KEYS, [False] * 3 + [True] * 2])
    y = model(
        gc.input("source", source.shape, F64), gc.input("target", target.shape, F64),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(LENGTH, F64),
        src_key_padding_mask=padding, memory_key_padding_mask=padding,
    )  # fmt: skip
    p, found = compiled(model, y, source=source, target=target)
    hidden = np.where(padding, -np.inf, 0)[:, None, None]
    own, x = below(p, "encoder.layers.0."), source
    x = norm(own, "norm1", x + multihead(below(own, "self_attn."), x, x, x, hidden)[0])
    memory = norm(below(p, "encoder."), "norm", norm(own, "norm2", x + perceptron(own, x)))
    own, x = below(p, "decoder.layers.0."), target
    ahead = causal(LENGTH, LENGTH)
    x = norm(own, "norm1", x + multihead(below(own, "self_attn."), x, x, x, ahead)[0])
    crossed, _ = multihead(below(own, "multihead_attn."), x, memory, memory, hidden)
    x = norm(own, "norm2", x + crossed)
    x = norm(own, "norm3", x + perceptron(own, x))
    near(found, norm(below(p, "decoder."), "norm", x), rtol=1e-10)


def test_a_transformer_learns_to_turn_sequences_round() -> None:
    """Dropout, masks and all: the loss falls far below that of a guess."""
    words, length = 6, 5
    given = gc.input("given", ("batch", length), gc.int32)
    wanted = gc.input("wanted", ("batch", length), gc.int32)
    place = nn.SinusoidalPositionalEncoding(32)
    layer = nn.TransformerEncoderLayer(32, 4, 64, 0.05, "gelu", batch_first=True)
    model = nn.Sequential(
        nn.Embedding(words, 32), place, nn.TransformerEncoder(layer, 1), nn.Linear(32, words)
    )
    logits = model(given).reshape((-1, words))
    loss = gc.cross_entropy(logits, wanted.reshape(-1))
    trainer = gc.training(loss, optim.AdamW(lr=3e-3)).compile(seed=1)
    data = rng.integers(0, words, (512, length)).astype(np.int32)
    arrays = {"given": data, "wanted": np.ascontiguousarray(data[:, ::-1])}
    history = trainer.fit(arrays, batch_size=32, epochs=12, progress=False)
    assert history["loss"][0] > 1.0 and trainer.evaluate(arrays)["loss"] < 0.1


# ---------------------------------------------------------------- positions


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_embedding_turns_complex_numbers(interleaved: bool) -> None:
    """Su et al. (2021), equation 13: pair i is multiplied by exp(1j * position * rate)."""
    x = rng.normal(size=(2, LENGTH, 6))
    given = gc.input("x", x.shape, F64)
    found = values(gc.rotary_embedding(given, 7, 100.0, interleaved), x=x)
    real, imaginary = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :3], x[..., 3:])
    angle = (7 + np.arange(LENGTH))[:, None] * 100.0 ** (-np.arange(3) / 3)
    turned = (real + 1j * imaginary) * np.exp(1j * angle)
    pair = [turned.real, turned.imag]
    want = np.stack(pair, -1).reshape(x.shape) if interleaved else np.concatenate(pair, -1)
    near(found, want, rtol=1e-12)


def test_rotated_products_depend_on_distances_alone() -> None:
    rotate = nn.RotaryPositionalEmbedding(6)
    q, k = (rng.normal(size=(1, LENGTH, 6)) for _ in range(2))
    offset = gc.input("offset", (), gc.int32)
    turned = rotate(gc.input("q", q.shape, F64), gc.input("k", k.shape, F64), offset)
    f = gc.compile(turned[0] @ turned[1].mT)
    near(f(q=q, k=k, offset=0), f(q=q, k=k, offset=40), rtol=1e-10, atol=1e-12)


def test_far_positions_are_turned_as_near_ones_in_float32() -> None:
    """An angle of 1,000,000 has no digit left in float32 for what is beyond whole turns."""
    x = rng.normal(size=(1, 64)).astype(np.float32)
    at = gc.input("at", (), gc.int64)
    rows = [gc.rotary_embedding(gc.constant(x), at + distance) for distance in (0, 3)]
    f = gc.compile(gc.sum(rows[0] * rows[1]))
    near(f(at=5), f(at=1_000_000), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "make",
    [lambda: nn.SinusoidalPositionalEncoding(6), lambda: nn.LearnedPositionalEmbedding(9, 6)],
)
def test_a_sequence_goes_on_at_its_offset(make: Any) -> None:
    layer, x = make(), rng.normal(size=(2, 5, 6)).astype(np.float32)
    whole = gc.input("whole", ("batch", "time", 6))
    part, offset = gc.input("part", ("batch", 1, 6)), gc.input("offset", (), gc.int32)
    f = gc.compile([layer(whole), layer(part, offset)], seed=2)
    for n in range(5):
        all_of_it, one = f(whole=x, part=x[:, n : n + 1], offset=n)
        near(all_of_it[:, n], one[:, 0], rtol=1e-6)


# ---------------------------------------------------------------- drawing


def test_categorical_draws_by_the_softmax() -> None:
    odds = np.array([0.0, 0.5, 0.1, 0.0, 0.25, 0.15, 0.0])
    with np.errstate(divide="ignore"):
        logits = np.broadcast_to(np.log(odds) + 3, (20_000, 7)).astype(np.float32)
    found = gc.compile(gc.random.categorical(gc.input("x", logits.shape)), seed=5)(x=logits)
    assert found.dtype == np.int64 and found.shape == (20_000,)
    counts = np.bincount(found, minlength=7) / 20_000
    assert (counts[odds == 0] == 0).all()
    near(counts, odds, atol=4 * math.sqrt(0.25 / 20_000))


def test_categorical_along_another_axis() -> None:
    logits = np.full((3, 2), -np.inf)
    logits[[2, 0], [0, 1]] = 1e30
    assert values(gc.random.categorical(gc.constant(logits), axis=0)).tolist() == [2, 0]
    with pytest.raises(gc.DTypeError, match="logits are floating-point"):
        gc.random.categorical(gc.ones((2,), gc.int32))
    with pytest.raises(gc.ShapeError, match="has no elements"):
        gc.random.categorical(gc.ones((2, 0)))
