"""The benchmark models in JAX: one jitted step per call, or whole epochs in one fori_loop.

Images lie as XLA's CPU back end likes them best: [batch, height, width, channels].
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from layers import (
    Activation,
    Array,
    Attention,
    BatchNorm,
    Conv,
    Flatten,
    GlobalMean,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    Recurrent,
    Residual,
    Tokens,
    walk,
)
from workloads import Optimizer, Workload

Tree = dict[str, Any]
State = tuple[Tree, Any, Tree]
"""Parameters, what the optimizer keeps, running statistics."""
IMAGES = ("NHWC", "HWIO", "NHWC")
EPSILON, MOVE = 1e-5, 0.1  # of batch norm
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
ORDERED_EPOCHS = 64
WEIGHT_DECAY = 0.01  # of AdamW
ACTIVATIONS = {
    "Tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "GELU": functools.partial(jax.nn.gelu, approximate=False),
}
_map = jax.tree_util.tree_map


class Runner:
    """`epochs(n)` trains n epochs; `losses(n)` gives the first n losses, unshuffled.

    loop   False: one call of a jitted, donating step per batch. True: all steps of all epochs in
           one jitted `fori_loop`, the minibatches gathered inside
    """

    def __init__(self, workload: Workload, loop: bool) -> None:
        self.workload, self.loop = workload, loop
        data = workload.data()
        x, y = data["x"], data.get("y")
        self.x = jnp.asarray(x.transpose(0, 2, 3, 1) if workload.has_images else x)
        self.y = self.x if y is None else jnp.asarray(y)
        self.state = first_state(workload)
        step = functools.partial(train_step, workload)

        def one(state: State, rows: Any, x: Any, y: Any) -> tuple[State, Any]:
            return step(state, x[rows], y[rows]) if workload.shuffled else step(state, x, y)

        def many(state: State, order: Any, x: Any, y: Any, count: Any) -> tuple[State, Any]:
            def body(i: Any, carried: tuple[State, Any]) -> tuple[State, Any]:
                return one(carried[0], order[i % len(order)], x, y)

            return lax.fori_loop(0, count, body, (state, jnp.zeros(())))

        self.one = jax.jit(one, donate_argnums=0)
        self.many = jax.jit(many, donate_argnums=0)
        self.rng = np.random.default_rng(0)

    def losses(self, steps: int) -> list[float]:
        w, found = self.workload, []
        for step in range(steps):
            rows = jnp.arange(step * w.batch, (step + 1) * w.batch) % w.samples
            if self.loop:  # as many orders as `epochs` makes, so that it is the same program
                order = jnp.tile(rows, (ORDERED_EPOCHS * w.steps_per_epoch, 1))
                self.state, loss = self.many(self.state, order, self.x, self.y, 1)
            else:
                self.state, loss = self.one(self.state, rows, self.x, self.y)
            found.append(float(loss))
        return found

    def epochs(self, count: int) -> None:
        """In the loop, the order of up to 64 epochs is made at once and then repeated."""
        w = self.workload
        if self.loop:
            orders = [self._order() for _ in range(ORDERED_EPOCHS)]
            order = jnp.asarray(np.concatenate(orders).reshape(-1, w.batch))
            steps = count * w.steps_per_epoch
            self.state, _ = self.many(self.state, order, self.x, self.y, steps)
        else:
            for _ in range(count):
                for rows in self._order().reshape(-1, w.batch):
                    self.state, _ = self.one(self.state, rows, self.x, self.y)
        jax.block_until_ready(self.state)

    def _order(self) -> Any:
        w = self.workload
        order = self.rng.permutation(w.samples) if w.shuffled else np.arange(w.samples)
        return order.astype(np.int32)


def first_state(workload: Workload) -> State:
    """Weights of convolutions as [height, width, inputs, outputs]; those of a linear layer behind
    an image read its points in the order in which they lie here."""
    given = workload.parameters()
    parameters: Tree = {name: jnp.asarray(value) for name, value in given.items()}
    statistics: Tree = {}
    image: tuple[int, ...] = ()
    for name, layer, shape in walk(workload.layers, workload.shape):
        if isinstance(layer, Flatten):
            image = shape
        elif isinstance(layer, Conv):
            weight = given[f"{name}.weight"].transpose(2, 3, 1, 0)
            parameters[f"{name}.weight"] = jnp.asarray(np.ascontiguousarray(weight))
        elif isinstance(layer, BatchNorm):
            statistics[f"{name}.mean"] = jnp.zeros(layer.channels)
            statistics[f"{name}.variance"] = jnp.ones(layer.channels)
        elif isinstance(layer, Linear) and image:
            parameters[f"{name}.weight"] = jnp.asarray(_by_points(given[f"{name}.weight"], image))
            image = ()
    momentum = workload.optimizer.kind == "SGD"
    kept = _map(jnp.zeros_like, parameters) if momentum else _adam(parameters)
    return parameters, kept, statistics


def _by_points(weight: Array, image: tuple[int, ...]) -> Array:
    """[outputs, channels * height * width] as [outputs, height * width * channels]."""
    moved = weight.reshape(-1, *image).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(moved).reshape(weight.shape)


def _adam(parameters: Tree) -> Any:
    return _map(jnp.zeros_like, parameters), _map(jnp.zeros_like, parameters), jnp.zeros(())


def apply(
    layers: tuple[Layer, ...], parameters: Tree, statistics: Tree, x: Any, prefix: str = ""
) -> tuple[Any, Tree]:
    """What the layers make of x, and the statistics that batch norms moved."""
    moved: Tree = {}
    for number, layer in enumerate(layers):
        name = f"{prefix}{number}"
        weight, bias = (parameters.get(f"{name}.{own}") for own in ("weight", "bias"))
        match layer:
            case Linear():
                x = x @ weight.T + bias  # type: ignore[union-attr]
            case Conv(stride=stride, padding=margin):
                margins, strides = [(margin, margin)] * 2, (stride, stride)
                x = lax.conv_general_dilated(x, weight, strides, margins, dimension_numbers=IMAGES)
                x = x if bias is None else x + bias
            case BatchNorm():
                x, new = _batch_norm(name, statistics, x, weight, bias)
                moved |= new
            case Activation(name=kind):
                x = ACTIVATIONS[kind](x)
            case MaxPool(window=n):
                windows = (1, n, n, 1)
                x = lax.reduce_window(x, -jnp.inf, lax.max, windows, windows, "VALID")
            case GlobalMean():
                x = x.mean((1, 2), keepdims=True)
            case Tokens():
                x = parameters[f"{name}.words.weight"][x] + parameters[f"{name}.places.weight"]
            case LayerNorm():
                x = x - x.mean(-1, keepdims=True)
                x = x * lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + EPSILON) * weight + bias
            case Attention(heads=heads):
                x = _attention(name, parameters, x, heads)
            case Recurrent():
                x = _recurrent(name, layer, parameters, x)
            case Flatten():
                x = x.reshape(x.shape[0], -1)
            case Residual(main=main, shortcut=shortcut):
                inner, one = apply(main, parameters, statistics, x, f"{name}.main.")
                beside, other = apply(shortcut, parameters, statistics, x, f"{name}.shortcut.")
                x, moved = inner + beside, moved | one | other
            case _:
                raise TypeError(f"no such layer in JAX: {layer}")
    return x, moved


def _attention(name: str, parameters: Tree, x: Any, heads: int) -> Any:
    """By jax.nn's function, on [batch, length, heads, features]."""
    own = {
        n: parameters[f"{name}.{n}"] for n in ("qkv.weight", "qkv.bias", "out.weight", "out.bias")
    }
    parts = x @ own["qkv.weight"].T + own["qkv.bias"]
    q, k, v = (part.reshape(*x.shape[:2], heads, -1) for part in jnp.split(parts, 3, axis=-1))
    mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
    return mixed.reshape(x.shape) @ own["out.weight"].T + own["out.bias"]


def _recurrent(name: str, layer: Recurrent, parameters: Tree, x: Any) -> Any:
    """The last state; the products of all inputs are one, before the loop."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (parameters[f"{name}.cell.{own}_l0"] for own in names)
    zeros = jnp.zeros((x.shape[0], layer.hidden))

    def lstm(carried: Any, own: Any) -> tuple[Any, None]:
        h, c = carried
        i, f, g, o = jnp.split(own + h @ w_hh.T + b_hh, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def gru(carried: Any, own: Any) -> tuple[Any, None]:
        (h,) = carried
        x_r, x_z, x_n = jnp.split(own, 3, axis=-1)
        h_r, h_z, h_n = jnp.split(h @ w_hh.T + b_hh, 3, axis=-1)
        z = jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + jax.nn.sigmoid(x_r + h_r) * h_n)
        return ((1 - z) * n + z * h,), None

    step, first = (lstm, (zeros, zeros)) if layer.kind == "LSTM" else (gru, (zeros,))
    return lax.scan(step, first, (x @ w_ih.T + b_ih).swapaxes(0, 1))[0][0]


def _batch_norm(
    name: str, statistics: Tree, x: Any, weight: Any, bias: Any
) -> tuple[Any, dict[str, Any]]:
    """PyTorch's: the running variance is that of a sample, the one that divides is not."""
    mean = x.mean((0, 1, 2))
    variance = jnp.square(x - mean).mean((0, 1, 2))
    points = x.size // x.shape[-1]
    seen = {"mean": mean, "variance": variance * (points / (points - 1))}
    moved = {
        f"{name}.{what}": (1 - MOVE) * statistics[f"{name}.{what}"]
        + MOVE * lax.stop_gradient(value)
        for what, value in seen.items()
    }
    return (x - mean) * (lax.rsqrt(variance + EPSILON) * weight) + bias, moved


def loss_of(workload: Workload, parameters: Tree, statistics: Tree, x: Any, y: Any) -> Any:
    """The loss, and the statistics that moved."""
    found, moved = apply(workload.layers, parameters, statistics, x)
    if workload.loss == "cross_entropy":
        chosen = jnp.take_along_axis(jax.nn.log_softmax(found), y[..., None], -1)
        return -jnp.mean(chosen), moved
    return jnp.mean(jnp.square(found - y)), moved


def train_step(workload: Workload, state: State, x: Any, y: Any) -> tuple[State, Any]:
    """One step: loss, gradient, update."""
    parameters, kept, statistics = state
    gradient = jax.value_and_grad(functools.partial(loss_of, workload), has_aux=True)
    (loss, statistics), g = gradient(parameters, statistics, x, y)
    parameters, kept = update(workload.optimizer, parameters, g, kept)
    return (parameters, kept, statistics), loss


def update(how: Optimizer, parameters: Tree, g: Tree, kept: Any) -> tuple[Tree, Any]:
    """PyTorch's SGD: v = momentum v + g, p = p - lr v; its Adam, and AdamW."""
    if how.kind == "SGD":
        if how.momentum:
            kept = g = _map(lambda v, d: how.momentum * v + d, kept, g)
        return _map(lambda p, d: p - how.lr * d, parameters, g), kept
    m, v, t = kept
    t = t + 1
    m = _map(lambda m, d: BETA1 * m + (1 - BETA1) * d, m, g)
    v = _map(lambda v, d: BETA2 * v + (1 - BETA2) * d * d, v, g)
    size, spread = how.lr / (1 - BETA1**t), 1 / jnp.sqrt(1 - BETA2**t)

    decay = how.lr * WEIGHT_DECAY if how.kind == "AdamW" else 0.0

    def moved(p: Any, m: Any, v: Any) -> Any:
        return p - decay * p - size * m / (jnp.sqrt(v) * spread + ADAM_EPSILON)

    return _map(moved, parameters, m, v), (m, v, t)
