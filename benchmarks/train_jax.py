"""The benchmark models in JAX: one jitted step per call, or whole epochs in one fori_loop."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from workloads import Workload

State = tuple[Any, Any]


class Runner:
    """`epochs(n)` trains n epochs; `losses(n)` gives the first n losses, unshuffled.

    loop   False: one call of a jitted, donating step per batch. True: all steps of all epochs in
           one jitted `fori_loop`, the minibatches gathered inside
    """

    def __init__(self, workload: Workload, loop: bool) -> None:
        self.workload, self.loop = workload, loop
        self.x, self.y = (jnp.asarray(array) for array in workload.data())
        parameters = {name: jnp.asarray(v) for name, v in workload.parameters().items()}
        self.state = parameters, jax.tree_util.tree_map(jnp.zeros_like, parameters)
        step = functools.partial(train_step, workload)

        def one(state: State, rows: Any, x: Any, y: Any) -> tuple[State, Any]:
            return step(state, x[rows], y[rows]) if workload.shuffled else step(state, x, y)

        def many(state: State, order: Any, x: Any, y: Any, count: Any) -> State:
            return lax.fori_loop(
                0, count, lambda i, s: one(s, order[i % len(order)], x, y)[0], state
            )

        self.one = jax.jit(one, donate_argnums=0)
        self.many = jax.jit(many, donate_argnums=0)
        self.rng = np.random.default_rng(0)

    def losses(self, steps: int) -> list[float]:
        found, batch = [], self.workload.batch
        for step in range(steps):
            rows = jnp.arange(step * batch, (step + 1) * batch) % self.workload.samples
            self.state, loss = self.one(self.state, rows, self.x, self.y)
            found.append(float(loss))
        return found

    def epochs(self, count: int) -> None:
        """In the loop, the order of up to 64 epochs is made at once and then repeated."""
        w, made = self.workload, 64
        if self.loop:
            orders = [self._order() for _ in range(made)]
            order = jnp.asarray(np.concatenate(orders).reshape(-1, w.batch))
            steps = count * w.steps_per_epoch
            self.state = self.many(self.state, order, self.x, self.y, steps)
        else:
            for _ in range(count):
                for rows in self._order().reshape(-1, w.batch):
                    self.state, _ = self.one(self.state, rows, self.x, self.y)
        jax.block_until_ready(self.state)

    def _order(self) -> Any:
        w = self.workload
        return self.rng.permutation(w.samples) if w.shuffled else np.arange(w.samples)


def loss_of(workload: Workload, parameters: dict[str, Any], x: Any, y: Any) -> Any:
    hidden, layers = x, len(workload.widths) - 1
    for n in range(layers):
        hidden = hidden @ parameters[f"{2 * n}.weight"].T + parameters[f"{2 * n}.bias"]
        if n < layers - 1:
            hidden = jnp.tanh(hidden) if workload.activation == "tanh" else jax.nn.relu(hidden)
    if workload.loss == "mse":
        return jnp.mean(jnp.square(hidden - y))
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(hidden), y[:, None], 1))


def train_step(workload: Workload, state: State, x: Any, y: Any) -> tuple[State, Any]:
    """PyTorch's SGD: v = momentum v + g, p = p - lr v."""
    parameters, velocity = state
    loss, g = jax.value_and_grad(functools.partial(loss_of, workload))(parameters, x, y)
    map_ = jax.tree_util.tree_map
    if workload.momentum:
        velocity = g = map_(lambda v, d: workload.momentum * v + d, velocity, g)
    parameters = map_(lambda p, d: p - workload.lr * d, parameters, g)
    return (parameters, velocity), loss
