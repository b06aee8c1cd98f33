"""Compile time grows with the length of a program, and no faster: visits are counted, not seconds.

Chains of every kind of operation, with their gradients, go through all levels, printing and
checking included: a chain of twice the length may take a little more than twice the visits.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from support_visits import shallow_stack, visits

import gradc as gc
from gradc import graphs, nn, optim
from gradc.compiler import driver
from gradc.compiler.cpu_llvm import entry
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.driver import CompiledProgram
from gradc.compiler.graph.ir import all_nodes
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.passes import GRAPH_STEPS
from gradc.compiler.passes.plan_memory import plan_memory
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import print_program
from gradc.compiler.program.verify import verify_program

choosing = importlib.import_module("gradc.compiler.passes.choose_schedule")  # not the function
EXTENT = 12
PERMUTED = np.array([3, 1, 2, 0, 5, 4, 7, 6, 9, 8, 11, 10])
Link = Callable[[gc.Tensor, gc.Tensor], gc.Tensor]

LINKS: Mapping[str, Link] = {
    "sine": lambda y, x: gc.sin(y),
    "two paths": lambda y, x: y * 0.5 + y,
    "choice": lambda y, x: gc.where(y > 0, y * 0.9, x),
    "mean": lambda y, x: y - 0.5 * gc.mean(y),
    "maximum": lambda y, x: y - gc.max(y),
    "product": lambda y, x: y * gc.prod(y),
    "variance": lambda y, x: y / (1 + gc.var(y)),
    "softmax": lambda y, x: gc.softmax(y),
    "layer norm": lambda y, x: gc.layer_norm(y, (EXTENT,)),
    "two views": lambda y, x: gc.flip(y, axis=0) * 0.5 + gc.roll(y, 1, axis=0) * 0.5,
    "reshape": lambda y, x: transposed(y) * 0.5 + y,
    "pieces": lambda y, x: gc.concat([y[6:], y[:6]], axis=0),
    "pad": lambda y, x: gc.pad(y[1:], (0, 1)),
    "gather": lambda y, x: gc.take(y, gc.constant(PERMUTED), axis=0) * 0.5 + y,
    "cumulate": lambda y, x: gc.cumsum(y * 0.1, axis=0),
    "matrix product": lambda y, x: gc.matmul(y.reshape(3, 4), x.reshape(4, 3)).reshape(9)[:1] + y,
}
LIGHT = ("sine", "two paths", "choice", "mean", "pad", "pieces", "reshape", "two views", "gather")
INDEX_LINKS: Mapping[str, Callable[[gc.Tensor], gc.Tensor]] = {
    "doubled": lambda i: i + i,
    "quotient and rest": lambda i: i // 2 + i % 3,
    "chased": lambda i: gc.take(gc.constant(PERMUTED), i % EXTENT, axis=0),
}


def transposed(y: gc.Tensor) -> gc.Tensor:
    return gc.permute_dims(y.reshape(3, 4), (1, 0)).reshape(EXTENT)


def chain(
    link: Link, length: int, gradient: bool = True, extent: int = EXTENT
) -> dict[str, gc.Tensor]:
    x = gc.input("x", (extent,))
    y = x
    for _ in range(length):
        y = link(y, x)
    return {"y": y, "slope": gc.grad(gc.sum(y), x)} if gradient else {"y": y}


def index_chain(link: Callable[[gc.Tensor], gc.Tensor], length: int) -> dict[str, gc.Tensor]:
    index = gc.arange(EXTENT)
    for _ in range(length):
        index = link(index)
    return {"y": gc.take(gc.input("x", (EXTENT,)), index % EXTENT, axis=0)}


def artifact_of(tensors: Any) -> CompiledProgram:
    artifact = gc.compile(tensors)._executor.artifact
    assert isinstance(artifact, CompiledProgram)
    return artifact


def all_levels(artifact: CompiledProgram) -> Program:
    """Everything that Python does to make code of a function, and to look at it."""
    program = artifact.lowered("call", {}, False)
    verify_program(program)
    for kernel in program.kernels():
        verify_kernel(kernel)
    print_program(program)
    emit_program(program, "f")
    return program


@pytest.mark.parametrize("name", LINKS)
def test_a_chain_of_twice_the_length_takes_twice_the_visits(name: str) -> None:
    length = 40 if name in LIGHT else 12
    short, long = (artifact_of(chain(LINKS[name], n)) for n in (length, 2 * length))
    assert visits(lambda: all_levels(long)) < 2.3 * visits(lambda: all_levels(short))


@pytest.mark.parametrize("name", INDEX_LINKS)
def test_index_arithmetic_of_twice_the_length_takes_twice_the_visits(name: str) -> None:
    short, long = (artifact_of(index_chain(INDEX_LINKS[name], n)) for n in (30, 60))
    assert visits(lambda: all_levels(long)) < 2.3 * visits(lambda: all_levels(short))


@pytest.mark.parametrize("name", ["mean", "maximum", "two views"])
def test_a_long_chain_is_right(name: str) -> None:
    value = np.linspace(0.5, 1.5, EXTENT)
    x = gc.input("x", (EXTENT,), gc.float64)
    y, wanted = x, value
    for _ in range(60):
        y = LINKS[name](y, x)
        if name == "mean":
            wanted = wanted - 0.5 * wanted.mean()
        elif name == "maximum":
            wanted = wanted - wanted.max()
        else:
            wanted = wanted[::-1] * 0.5 + np.roll(wanted, 1) * 0.5
    np.testing.assert_allclose(gc.compile(y)(x=value), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sine", "choice", "mean", "two views", "reshape", "gather"])
def test_no_walk_recurses_along_a_chain(name: str) -> None:
    tensors = chain(LINKS[name], 350, gradient=name == "sine")
    with shallow_stack(340):
        all_levels(artifact_of(tensors))


@pytest.mark.parametrize("name", INDEX_LINKS)
def test_no_walk_recurses_along_an_index(name: str) -> None:
    tensors = index_chain(INDEX_LINKS[name], 350)
    with shallow_stack(340):
        all_levels(artifact_of(tensors))


def test_a_resident_loop_may_have_a_long_chain() -> None:
    w = gc.parameter("w", (), init=gc.init.ones)
    y = w
    for _ in range(400):
        y = gc.sin(y) + w
    artifact = gc.training(y * y, optimizer=optim.SGD(lr=1e-3)).compile().artifact
    program = artifact.lowered("run", {}, False)
    assert program.body[0].resident
    with shallow_stack(300):
        emit_program(program, "f")


def test_five_thousand_operations_compile_and_run() -> None:
    x = gc.input("x", (4,), gc.float64)
    y = x
    for _ in range(5_000):
        y = y + x
    result = gc.compile({"y": y, "slope": gc.grad(gc.sum(y), x)})(x=np.arange(4.0))
    assert [*result["y"]] == [0.0, 5_001.0, 10_002.0, 15_003.0]
    assert [*result["slope"]] == [5_001.0] * 4


def test_rules_that_wait_for_equal_nodes_fit_at_every_level() -> None:
    """Each level becomes simple only when the one below is, and its two sines are one."""
    x = gc.input("x", (3,), gc.float64)
    a = p = x
    for _ in range(60):
        a, p = gc.maximum(gc.sin(a), gc.sin(p)), gc.sin(p)
    artifact = artifact_of(a)
    (kernel,) = artifact.lowered("call", {}, False).kernels()
    assert kernel.description == "sin"


# -- whole models ---------------------------------------------------------------------------


def unrolled(steps: int, batch: int = 4, hidden: int = 8) -> CompiledProgram:
    """The training step of an LSTM, every step of it written out."""
    x = gc.input("x", (batch, steps, 3))
    w = gc.parameter("w", (3 + hidden, 4 * hidden), init=gc.init.xavier_uniform)
    h = c = gc.zeros((batch, hidden))
    for step in range(steps):
        z = gc.matmul(gc.concat([x[:, step], h], axis=1), w)
        gates = [z[:, g * hidden : (g + 1) * hidden] for g in range(4)]
        c = gc.sigmoid(gates[0]) * c + gc.sigmoid(gates[1]) * gc.tanh(gates[2])
        h = gc.sigmoid(gates[3]) * gc.tanh(c)
    program = gc.training(gc.mean(h * h), optimizer=optim.Adam(lr=1e-3))
    artifact = program.compile().artifact
    assert isinstance(artifact, CompiledProgram)
    return artifact


def blocks(layers: int, width: int = 8, length: int = 4) -> CompiledProgram:
    """The training step of a stack of attention, multilayer perceptrons and layer norms."""
    x = gc.input("x", ("batch", length, width))

    def matrix(name: str, shape: tuple[int, int]) -> gc.Tensor:
        return gc.parameter(name, shape, init=gc.init.xavier_uniform)

    y: gc.Tensor = x
    for n in range(layers):
        a = gc.layer_norm(y, (width,))
        q, k, v = (gc.matmul(a, matrix(f"{n}.{p}", (width, width))) for p in "qkv")
        scores = gc.softmax(gc.matmul(q, gc.permute_dims(k, (0, 2, 1))), axis=-1)
        y = y + gc.matmul(scores, v)
        wide = gc.gelu(gc.matmul(gc.layer_norm(y, (width,)), matrix(f"{n}.up", (width, 4 * width))))
        y = y + gc.matmul(wide, matrix(f"{n}.down", (4 * width, width)))
    artifact = gc.training(gc.mean(y * y), optimizer=optim.Adam(lr=1e-3)).compile().artifact
    assert isinstance(artifact, CompiledProgram)
    return artifact


def test_an_unrolled_model_takes_visits_by_its_length() -> None:
    short, long = unrolled(5), unrolled(10)
    counts = [visits(lambda a=a: a.lowered("run", {}, False)) for a in (short, long)]
    assert counts[1] < 2.3 * counts[0]


def test_a_stack_of_blocks_takes_visits_by_its_layers() -> None:
    counts = [
        visits(lambda a=a: a.lowered("run", {"batch": 4}, False)) for a in (blocks(2), blocks(4))
    ]
    assert counts[1] < 2.3 * counts[0]


def test_a_memory_plan_does_not_look_at_bytes() -> None:
    small, large = (unrolled(4, batch).lowered("run", {}, False) for batch in (100_000, 2_000_000))
    assert large.arena_bytes > 19 * small.arena_bytes
    counts = [visits(lambda p=p: plan_memory(p)) for p in (small, large)]
    assert counts[1] < 1.02 * counts[0]


def test_a_deep_model_is_traced_in_visits_by_its_layers() -> None:
    def traced(layers: int) -> int:
        inner = [part for _ in range(layers) for part in (nn.Linear(8, 8), nn.ReLU())]
        y = nn.Sequential(*inner)(gc.input("x", ("batch", 8)))
        return visits(lambda: gc.training(gc.mean(y * y), optimizer=optim.Adam(lr=1e-3)))

    traced(1)  # loads what is loaded late
    assert traced(40) < 2.2 * traced(20)


# -- what equal layers share ----------------------------------------------------------------


def test_equal_layers_build_their_first_values_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    plain = graphs.beginning_of

    def noted(cell: Any, *rest: Any) -> gc.Tensor:
        built.append(cell.name)
        return plain(cell, *rest)

    monkeypatch.setattr(graphs, "beginning_of", noted)
    layers = nn.Sequential(*(nn.Linear(4, 4) for _ in range(5)))
    y = layers(gc.input("x", ("batch", 4)))
    gc.training(gc.mean(y * y), optimizer=optim.SGD(lr=0.1))
    assert [name for name in built if name[0].isdigit()] == ["0.weight", "0.bias"]


def deep(layers: int) -> CompiledProgram:
    """The training step of a perceptron of equal layers."""
    inner = [part for _ in range(layers) for part in (nn.Linear(8, 8), nn.ReLU())]
    y = nn.Sequential(*inner)(gc.input("x", ("batch", 8)))
    artifact = gc.training(gc.mean(y * y), optimizer=optim.SGD(lr=0.1)).compile().artifact
    assert isinstance(artifact, CompiledProgram)
    return artifact


def test_equal_layers_are_scheduled_and_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count: Counter[str] = Counter()
    for module, name in ((choosing, "schedule_kernel"), (entry, "canonical_text")):
        plain = getattr(module, name)

        def noted(*given: Any, name: str = name, plain: Any = plain) -> Any:
            count[name] += 1
            return plain(*given)

        monkeypatch.setattr(module, name, noted)
    counts = []
    for layers in (6, 12):
        artifact = deep(layers)
        count.clear()
        program = artifact.lowered("run", {"batch": 4}, False)
        emit_program(program, "f")
        assert len(program.kernels()) > 3 * layers
        counts.append(dict(count))
    assert counts[0] == counts[1] and max(counts[0].values()) < 18


# -- what variants share --------------------------------------------------------------------


def test_variants_share_the_graph_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    plain = driver.run_passes

    def counted(level: Any, *rest: Any, **options: Any) -> Any:
        passed.append(level.name if rest[0] is GRAPH_STEPS else "")
        return plain(level, *rest, **options)

    monkeypatch.setattr(driver, "run_passes", counted)
    artifact = blocks(1)
    for batch in (4, 5, 6):
        artifact.lowered("run", {"batch": batch}, True)
    assert passed.count("train") <= 1, "layouts and all bounded forms are of one graph"
    artifact.lowered("run", {"batch": 4}, False)
    assert passed.count("train") <= 2


def test_step_and_fit_run_one_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[tuple[str, bool]] = []
    plain = CompiledProgram._compile

    def noted(self: CompiledProgram, key: Any, dims: Any) -> Any:
        compiled.append((key[0], key[2]))
        return plain(self, key, dims)

    monkeypatch.setattr(CompiledProgram, "_compile", noted)
    x = gc.input("x", ("batch", 3))
    w = gc.parameter("w", (3,), init=gc.init.ones)
    trainer = gc.training(
        gc.mean(gc.sum(x * w, axis=1) ** 2), optimizer=optim.SGD(lr=0.1)
    ).compile()
    data = np.ones((10, 3), np.float32)
    trainer.step(x=data[:4])
    trainer.fit({"x": data[:8]}, batch_size=4, progress=False)
    assert compiled.count(("run", False)) == 1 and compiled.count(("run", True)) == 0
    trainer.fit({"x": data}, batch_size=4, progress=False)  # a last batch of two
    trainer.step(x=data[:3])
    assert compiled.count(("run", False)) == 1 and compiled.count(("run", True)) == 1


# -- code -----------------------------------------------------------------------------------


def test_a_long_function_is_called_where_it_is_used_often() -> None:
    """Or where it is used for few points, where the time that a call takes is nothing."""
    few, many, short = (
        emit_program(
            artifact_of(chain(LINKS["sine"], n, False, extent)).lowered("call", {}, False), "f"
        ).text
        for n, extent in ((16, 4000), (40, 4000), (16, EXTENT))
    )
    assert "@gradc.sin" not in few and "@gradc.sin" in short
    assert many.count("call <16 x float> @gradc.sin.v16f32") >= 24
    assert many.count("define internal <16 x float> @gradc.sin.v16f32") == 1


@pytest.mark.parametrize("kind", ["gelu", "attention", "scan"])
def test_regions_behind_each_other_hold_no_copies(kind: str) -> None:
    """Twice as many layers are twice as many nodes, those in regions counted: what a region reads
    of outside is handed to it, also where it was made with a constant."""
    x = gc.input("x", (4, 8))

    def layer(y: gc.Tensor) -> gc.Tensor:
        y = y * 0.5 + 1.0
        if kind == "scan":
            return y + gc.scan(lambda c, _: (c * y, None), y, None, length=3)[0]
        return gc.gelu(y) if kind == "gelu" else gc.scaled_dot_product_attention(y, y, y)

    sizes = []
    for layers in (3, 6, 12):
        y = x
        for _ in range(layers):
            y = layer(y)
        made = gc.graph({"slope": gc.grad(gc.sum(y), x)}).graph
        sizes.append(len(list(all_nodes(made))))
    assert sizes[2] - sizes[1] < 2.2 * (sizes[1] - sizes[0])
