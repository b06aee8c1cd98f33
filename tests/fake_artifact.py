"""An artefact without a compiler: linear regression by SGD with momentum, in NumPy callbacks.

Its entry points read and write through the raw pointers of `struct gradc_arguments`, as compiled
code does, so the runtime is tested by itself. The state has a transposed physical layout, a step
number and noise drawn from (seed, step), which makes a wrong resume visible in the bits.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradc.compiler.artifact import (
    Arguments,
    Device,
    EntryPoint,
    IndexRange,
    RowsMinimum,
    StateField,
    TensorField,
)

FEATURES, TARGETS = 3, 2
LEARNING_RATE, MOMENTUM = 0.05, 0.9

X = TensorField("x", "float32", ("batch", FEATURES), 0)
Y = TensorField("y", "float32", ("batch", TARGETS), 0)
INPUTS = (X, Y)

STATE = (
    StateField("layer.weight", "float32", (TARGETS, FEATURES), 0, (1, 0), 0, True),
    StateField("layer.bias", "float32", (TARGETS,), 64, (0,), 0, True),
    StateField("momentum/layer.weight", "float32", (TARGETS, FEATURES), 128, (1, 0), 0, False),
    StateField("gradc.seed", "int64", (), 192, (), 0, False),
    StateField("gradc.step", "int64", (), 256, (), 0, False),
)
STATE_BYTES = 320

_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class FakeArtifact:
    """Records what was asked of it in `variants`, `calls` (kind, count, rows) and `pools`."""

    def __init__(self, fingerprint: str = "fake", seconds_per_step: float = 0.0) -> None:
        self.state, self.state_bytes = STATE, STATE_BYTES
        self.constants = (np.float32(LEARNING_RATE).tobytes(), np.float32(MOMENTUM).tobytes())
        self.fingerprint = fingerprint
        self.device: Device = "host"
        self.owner: Any = self
        self.seconds_per_step = seconds_per_step
        self.variants: list[tuple[str, dict[str, int], bool]] = []
        self.calls: list[tuple[str, int, int]] = []
        self.pools: list[int] = []
        self.on_step: Callable[[int], None] | None = None
        self._kept: list[Any] = []
        self._entries: dict[tuple[Any, ...], EntryPoint] = {}
        create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)(self._create_pool)
        destroy = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.pools.remove)
        self._kept += [create, destroy]
        self.pool_create, self.pool_destroy = _address(create), _address(destroy)

    def _create_pool(self, threads: int) -> int:
        self.pools.append(threads)
        return threads

    def rows_minimum(self, kind: str, dims: Mapping[str, int]) -> RowsMinimum:
        return RowsMinimum(1, "")

    def index_ranges(self, kind: str) -> tuple[IndexRange, ...]:
        return ()

    def variant(self, kind: str, dims: Mapping[str, int], bounded: bool) -> EntryPoint:
        key = (kind, tuple(sorted(dims.items())), bounded)
        if key not in self._entries:
            self.variants.append((kind, dict(dims), bounded))
            self._entries[key] = self._build(kind, dims.get("batch", 1), bounded)
        return self._entries[key]

    def _build(self, kind: str, rows_maximum: int, bounded: bool) -> EntryPoint:
        scalars = (TensorField("loss", "float32", ()), TensorField("error", "float32", ()))
        inputs, outputs = {
            "init": ((), ()),
            "run": (INPUTS, scalars),
            "evaluate": (INPUTS, scalars),
            "predict": ((X,), (TensorField("prediction", "float32", (rows_maximum, TARGETS), 0),)),
            "call": ((X,), (TensorField("total", "float32", ()),)),
        }[kind]
        body = {
            "init": self._init,
            "run": self._loop,
            "evaluate": self._loop,
            "predict": self._predict,
            "call": self._total,
        }[kind]

        def entry(address: int) -> None:
            arguments = Arguments.from_address(address)
            self.calls.append((kind, arguments.count, arguments.rows))
            assert arguments.state % 64 == 0 and arguments.arena % 64 == 0
            assert 1 <= arguments.rows <= rows_maximum
            assert bounded or arguments.rows == rows_maximum
            body(kind, arguments, rows_maximum)

        function = _ENTRY(entry)
        self._kept.append(function)
        return EntryPoint(
            kind, inputs, outputs, 128, 0, rows_maximum, bounded, f"fake_{kind}",
            _address(function), (), 0.0, False,
        )  # fmt: skip

    def _init(self, kind: str, arguments: Arguments, rows_maximum: int) -> None:
        state = _state(arguments)
        generator = np.random.default_rng(abs(int(state["gradc.seed"])))
        state["layer.weight"][...] = generator.normal(size=(TARGETS, FEATURES))
        state["gradc.step"][...] = 0

    def _loop(self, kind: str, arguments: Arguments, rows_maximum: int) -> None:
        state = _state(arguments)
        order = _array(arguments.order, np.int64, None)
        losses, errors = (
            _array(_pointer(arguments.outputs, k), np.float32, (arguments.count,)) for k in range(2)
        )
        for i in range(arguments.count):
            first = 0 if arguments.same_rows else (arguments.first_step + i) * rows_maximum
            numbers = order[first : first + arguments.rows]
            n = int(numbers.max()) + 1
            x = _array(_pointer(arguments.inputs, 0), np.float32, (n, FEATURES))[numbers]
            y = _array(_pointer(arguments.inputs, 1), np.float32, (n, TARGETS))[numbers]
            difference = x @ state["layer.weight"].T + state["layer.bias"] - y
            losses[i], errors[i] = (difference**2).mean(), np.abs(difference).mean()
            if kind == "run":
                self._update(arguments, state, x, difference)

    def _update(self, arguments: Arguments, state: dict[str, Any], x: Any, difference: Any) -> None:
        lr = _array(_pointer(arguments.constants, 0), np.float32, (1,))[0]
        momentum = _array(_pointer(arguments.constants, 1), np.float32, (1,))[0]
        step = int(state["gradc.step"])
        noise = np.random.default_rng([abs(int(state["gradc.seed"])), step]).normal()
        dy = 2 * difference / difference.size
        moment = state["momentum/layer.weight"]
        moment[...] = momentum * moment + dy.T @ x + np.float32(noise * 1e-3)
        state["layer.weight"][...] -= lr * moment
        state["layer.bias"][...] -= lr * dy.sum(0)
        state["gradc.step"][...] = step + 1
        if self.seconds_per_step:
            time.sleep(self.seconds_per_step)
        if self.on_step is not None:
            self.on_step(step + 1)

    def _predict(self, kind: str, arguments: Arguments, rows_maximum: int) -> None:
        state = _state(arguments)
        order = _array(arguments.order, np.int64, None)
        shape = (arguments.count, rows_maximum, TARGETS)
        output = _array(_pointer(arguments.outputs, 0), np.float32, shape)
        for i in range(arguments.count):
            first = 0 if arguments.same_rows else (arguments.first_step + i) * rows_maximum
            numbers = order[first : first + arguments.rows]
            n = int(numbers.max()) + 1
            x = _array(_pointer(arguments.inputs, 0), np.float32, (n, FEATURES))[numbers]
            output[i, : arguments.rows] = x @ state["layer.weight"].T + state["layer.bias"]

    def _total(self, kind: str, arguments: Arguments, rows_maximum: int) -> None:
        x = _array(_pointer(arguments.inputs, 0), np.float32, (rows_maximum, FEATURES))
        _array(_pointer(arguments.outputs, 0), np.float32, (1,))[0] = x.sum()


TARGET = TensorField("target", "float32", (2,))


class DescentArtifact(FakeArtifact):
    """Gradient descent on |w - target|^2 without a batch dimension; `target` may be absent.

    watches   it has an entry point "epoch", which adds what is watched to `told`
    """

    def __init__(self, with_target: bool, watches: bool = False) -> None:
        super().__init__("descent")
        self.state = (
            StateField("w", "float32", (2,), 0, (0,), 0, True),
            StateField("gradc.step", "int64", (), 64, (), 0, False),
        )
        if watches:
            self.state += (
                StateField("optimizer.watched0", "float64", (), 128, (), 0, False),
                StateField("told", "float64", (), 192, (), 0, False),
            )
        self.inputs = (TARGET,) if with_target else ()

    def _build(self, kind: str, rows_maximum: int, bounded: bool) -> EntryPoint:
        def entry(address: int) -> None:
            arguments = Arguments.from_address(address)
            self.calls.append((kind, arguments.count, arguments.rows))
            w = _array(arguments.state, np.float32, (2,))
            if kind == "init":
                w[...] = 1
                return
            if kind == "epoch":
                watched, told = _array(arguments.state + 128, np.float64, (9,))[[0, 8]]
                _array(arguments.state + 192, np.float64, (1,))[0] = told + watched
                return
            target = np.zeros(2, np.float32)
            if self.inputs:
                target = _array(_pointer(arguments.inputs, 0), np.float32, (2,))
            shape = (arguments.count, 2) if kind == "predict" else (arguments.count,)
            output = _array(_pointer(arguments.outputs, 0), np.float32, shape)
            for i in range(arguments.count):
                output[i] = w if kind == "predict" else ((w - target) ** 2).sum()
                if kind == "run":
                    w -= np.float32(0.1) * (w - target)

        function = _ENTRY(entry)
        self._kept.append(function)
        shape = (2,) if kind == "predict" else ()
        outputs = () if kind in ("init", "epoch") else (TensorField("output", "float32", shape),)
        inputs = self.inputs if kind in ("run", "evaluate") else ()
        return EntryPoint(
            kind, inputs, outputs, 0, 0, 1, bounded, f"descent_{kind}",
            _address(function), (), 0.0, False,
        )  # fmt: skip


def made_data(samples: int, seed: int = 0) -> dict[str, Any]:
    """A data set that a linear model fits."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(samples, FEATURES)).astype(np.float32)
    y = (x @ np.arange(6.0).reshape(3, 2) + 1).astype(np.float32)
    return {"x": x, "y": y}


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _pointer(table: int, index: int) -> int:
    return (ctypes.c_void_p * (index + 1)).from_address(table)[index] or 0


def _array(address: int, dtype: Any, shape: tuple[int, ...] | None) -> Any:
    """The memory at an address; without a shape, a long row of which only a part is valid."""
    shape = (2**40,) if shape is None else shape
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


def _state(arguments: Arguments) -> dict[str, Any]:
    views = {}
    for field in STATE:
        physical = tuple(field.shape[axis] for axis in field.order)
        view = _array(arguments.state + field.offset_bytes, np.dtype(field.dtype), physical)
        views[field.name] = view.transpose(np.argsort(field.order)) if field.order else view
    return views
