"""Loops and branches of the graph in machine code: values, training, carries, views, rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support_cpu import assert_same_bits, plan, run_compiled, scheduled
from support_passes import optimized
from test_pipeline_random import check, check_bits

import gradc as gc
from gradc import optim
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.opt import optimize_text
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.program.ir import If, Program, Repeat, While, instructions_in
from gradc.compiler.program.text import print_program
from gradc.compiler.testing.random_graphs import seeded_graph

Array = np.ndarray[Any, Any]


def compiled(
    text: str, arrays: dict[str, Array], maxima: dict[str, int] | None = None, rows: int = 1
) -> tuple[Program, dict[str, Array]]:
    """The program and outputs of a graph: in code and in NumPy, on one thread and on two."""
    graph = parse_graph(optimize_text(text, "case.ir", "pipeline") if not maxima else text)
    program = plan(graph, maxima)
    wanted, _ = evaluate(graph, arrays, dims=dict.fromkeys(maxima or {}, rows))
    for threads in (1, 2):
        found = run_compiled(program, arrays, rows=rows, threads=threads)
        assert_same_bits(program, found, arrays, rows=rows)
        for name, array in found[0].items():
            np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)
    return program, found[0]


def decided(program: Program, subject: str) -> str:
    (found,) = [d for d in program.decisions if d.subject == subject]
    return f"{found.verdict} ({found.reason})"


CARRIES = """
graph f(%a: f32[6], %b: f32[6], %xs: f32[4, 6]) {
  %r = scan %a, %b, %xs {body=graph body(%c0: f32[6], %c1: f32[6], %x: f32[6]) {
    %0 = mul %c0, %x : f32[6]
    %1 = add %0, %c1 : f32[6]
    NEW
  }, carries=2, reverse=REVERSE, xs=1} : (f32[6], f32[6], f32[4, 6])
  %0 = result %r {index=0} : f32[6]
  %1 = result %r {index=1} : f32[6]
  %2 = result %r {index=2} : f32[4, 6]
  return a=%0, b=%1, ys=%2
}
"""
VECTORS = {
    "a": np.linspace(-1, 1, 6, dtype=np.float32),
    "b": np.linspace(2, -1, 6, dtype=np.float32),
    "xs": np.linspace(-1, 1.5, 24, dtype=np.float32).reshape(4, 6),
}


@pytest.mark.parametrize("reverse", ["false", "true"])
def test_carries_are_updated_in_place_as_states_are(reverse: str) -> None:
    text = CARRIES.replace("NEW", "return %1, %0, %1").replace("REVERSE", reverse)
    program, _ = compiled(text, VECTORS)
    assert decided(program, "carry 0 of k0") == "in place (fused into map k0_k0)"
    assert decided(program, "carry 1 of k0") == "in place (fused into map k0_k0)"
    assert len(program.kernels()) == 3  # the carries as they begin, and one for an iteration
    row = "let %v0 = add(mul(t0, -1), 3)" if reverse == "true" else "%xs[t0, i0]"
    assert row in print_program(program)


def test_carries_that_swap_are_not_lost() -> None:
    text = CARRIES.replace("REVERSE", "false").replace(
        "NEW", "%2 = neg %c0 : f32[6]\n    %3 = neg %c1 : f32[6]\n    return %3, %2, %1"
    )
    a, b = VECTORS["a"], VECTORS["b"]
    _, found = compiled(text, VECTORS)
    np.testing.assert_array_equal(found["a"], a)
    np.testing.assert_array_equal(found["b"], b)


def test_a_carry_that_is_read_elsewhere_is_copied() -> None:
    text = CARRIES.replace("REVERSE", "false").replace(
        "NEW",
        "%2 = slice %c0 {starts=[5], steps=[1]} : f32[1]\n"
        "    %3 = reshape %2 {shape=[]} : f32[]\n    %4 = broadcast %3 {axes=[]} : f32[6]\n"
        "    %5 = add %4, %x : f32[6]\n    return %5, %1, %5",
    )
    program, _ = compiled(text, VECTORS)
    assert decided(program, "carry 0 of k0").startswith("copied (")


def test_views_and_counters_are_no_copies() -> None:
    """What a loop reads of a transposed, sliced array, or of an iota, is an index expression."""
    text = """
    graph f(%x: f32[6, 9]) {
      %0 = slice %x {starts=[0, 2], steps=[1, 2]} : f32[6, 4]
      %1 = transpose %0 {permutation=[1, 0]} : f32[4, 6]
      %2 = iota {axis=0, shape=[4]} : i64[4]
      %3 = constant {value=0.0} : f32[6]
      %r = scan %3, %1, %2 {body=graph body(%c: f32[6], %v: f32[6], %t: i64[]) {
        %0 = cast %t : f32[]
        %1 = broadcast %0 {axes=[]} : f32[6]
        %2 = mul %v, %1 : f32[6]
        %3 = add %c, %2 : f32[6]
        return %3
      }, carries=1, reverse=false, xs=2} : (f32[6])
      %4 = result %r {index=0} : f32[6]
      return y=%4
    }"""
    x = np.arange(54, dtype=np.float32).reshape(6, 9)
    program, found = compiled(text, {"x": x})
    np.testing.assert_array_equal(found["y"], x[:, 2:9:2] @ np.arange(4, dtype=np.float32))
    assert program.arena_bytes == 0 and len(program.kernels()) == 2


def test_a_loop_over_rows_ends_where_they_do() -> None:
    text = """
    graph f(%x: f32[batch, 3]) {
      %0 = constant {value=0.0} : f32[3]
      %r = scan %0, %x {body=graph body(%c: f32[3], %v: f32[3]) {
        %0 = add %c, %v : f32[3]
        return %0, %0
      }, carries=1, reverse=true, xs=1} : (f32[3], f32[batch, 3])
      %1 = result %r {index=0} : f32[3]
      %2 = result %r {index=1} : f32[batch, 3]
      return last=%1, sums=%2
    }"""
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    program, found = compiled(text, {"x": x}, {"batch": 7}, rows=4)
    (loop,) = [i for i in program.body if isinstance(i, Repeat)]
    assert loop.axis is not None and loop.axis.bounded
    np.testing.assert_array_equal(found["sums"], np.cumsum(x[::-1], 0)[::-1])


def test_a_while_a_branch_and_a_loop_inside_one_another() -> None:
    x = gc.input("x", (4,), gc.float64)

    def body(state: Any) -> Any:
        n, v = state
        more = gc.cond(gc.sum(v) > 3.0, lambda v: v * 0.5, lambda v: v + x, v)
        total, _ = gc.scan(lambda c, row: (c + row, c), gc.zeros((), gc.float64), more)
        return n + 1, more + total * 0.125

    n, v = gc.while_loop(
        lambda state: gc.logical_and(state[0] < 9, gc.max(state[1]) < 40.0),
        body,
        (gc.zeros((), gc.int64), x),
    )
    f = gc.compile({"n": n, "v": v})
    value = np.array([1.0, -0.5, 2.0, 0.25])
    found = f(x=value)
    wanted, _ = evaluate(parse_graph(str(gc.graph({"n": n, "v": v}))), {"x": value})
    assert int(found["n"]) == int(wanted["n"]) > 2
    np.testing.assert_array_equal(found["v"], wanted["v"])


def recurrent(
    act: Callable[[Any], Any], dtype: Any, length: int = 5, **training: Any
) -> tuple[Any, dict[str, Array]]:
    """A training program of a recurrent network, and data that sums exactly where `act` does."""
    x, y = gc.input("x", ("batch", length, 3), dtype), gc.input("y", ("batch", 4), dtype)
    w = gc.parameter("w", (3, 4), dtype, init=gc.init.constant(0.5))
    u = gc.parameter("u", (4, 4), dtype, init=gc.init.constant(0.25))
    b = gc.parameter("b", (4,), dtype, init=gc.init.zeros)

    def step(h: Any, row: Any) -> Any:
        return act(row @ w + h @ u + b), None

    last, _ = gc.scan(step, gc.zeros(("batch", 4), dtype), gc.transpose(x, (1, 0, 2)))
    loss = gc.sum((last - y) ** 2)
    rng = np.random.default_rng(3)
    data = {
        "x": rng.integers(-1, 2, (8, length, 3)).astype(dtype.numpy),
        "y": rng.integers(-1, 2, (8, 4)).astype(dtype.numpy),
    }
    return gc.training(loss, optimizer=optim.SGD(lr=2.0**-6), **training), data


def run_steps(program: Any, data: dict[str, Array], count: int) -> Any:
    """Steps of two rows through the compiled program, its evaluator and the graph's."""
    trainer = program.compile(seed=0)
    lowered = trainer.artifact.lowered("run", {"batch": 2}, False)
    order = np.random.default_rng(5).permutation(8)[: 2 * count].astype(np.int64)
    graph: Graph = program.graphs["run"]
    state = {
        str(n.attributes["name"]): np.full(n.type.shape, 0, n.type.dtype.numpy)
        for n in graph.states
    }
    half = next(iter(data.values())).dtype
    state |= {"w": np.full((3, 4), 0.5, half), "u": np.full((4, 4), 0.25, half)}
    state["optimizer.lr"] = np.asarray(2.0**-6)
    known = {b.name for b in lowered.buffers if b.space == "state"}
    given = {name: value for name, value in state.items() if name in known}
    run = {"rows": 2, "count": count, "order": order}
    inputs = {**data, "gradc.order": order}
    for threads in (1, 2):
        found = run_compiled(lowered, inputs, given, threads=threads, **run)
        assert_same_bits(lowered, found, inputs, given, **run)
    for step in range(count):
        rows = order[2 * step : 2 * step + 2]
        batch = {name: array[rows] for name, array in data.items()}
        outputs, state = evaluate(graph, batch, state, dims={"batch": 2}, training=True)
    return lowered, found, outputs, state


def test_a_training_step_around_a_scan_is_that_of_the_graph_to_the_last_bit() -> None:
    """Every number in it is a sum of products of powers of two: exact in any order."""
    program, data = recurrent(lambda v: v, gc.float64, length=3)
    lowered, (outputs, state), last, wanted = run_steps(program, data, 2)
    assert sum(isinstance(i, Repeat) for i in instructions_in(lowered.body)) >= 3
    np.testing.assert_array_equal(outputs["loss"][-1], last["loss"])
    for name in ("w", "u", "b"):
        np.testing.assert_array_equal(state[name], wanted[name], err_msg=name)
        assert np.any(state[name] != 0)


def test_a_recurrent_network_learns_in_code_as_in_numpy() -> None:
    program, data = recurrent(gc.tanh, gc.float32)
    lowered, (outputs, state), last, wanted = run_steps(program, data, 4)
    np.testing.assert_allclose(outputs["loss"][-1], last["loss"], rtol=1e-4)
    for name in ("w", "u", "b"):
        np.testing.assert_allclose(state[name], wanted[name], rtol=1e-3, atol=1e-5)
    updated = {d.subject: d.verdict for d in lowered.decisions if d.subject.startswith("update")}
    assert {updated[f"update {name}"] for name in ("w", "u", "b")} == {"in place"}


def test_equal_layers_of_loops_share_kernels() -> None:
    """Two loops over sequences of one shape are as much code as one."""

    def functions(layers: int) -> int:
        x = gc.input("x", (6, 4, 8))
        for number in range(layers):
            u = gc.parameter(f"u{number}", (8, 8), init=gc.init.ones)

            def step(h: Any, row: Any, u: Any = u) -> Any:
                h = gc.tanh(row + h @ u)
                return h, h

            _, x = gc.scan(step, gc.zeros((4, 8)), x)
        text = optimize_text(str(gc.graph({"y": x})), "f.ir", "pipeline")
        program = plan(parse_graph(text))
        return emit_program(scheduled(program), "f").text.count("define internal void @kernel.")

    assert functions(5) == functions(3)


@pytest.mark.parametrize("seed", range(24))
def test_random_graphs_with_regions_keep_their_values(seed: int) -> None:
    training = seed % 2 == 0
    check(seeded_graph(seed, ring=True, regions=True), seed, seed % 3 == 0, training)
    check_bits(seeded_graph(seed, regions=True), seed, seed % 3 == 1, training)


def test_every_kind_of_region_is_among_them() -> None:
    found: set[type] = set()
    for seed in range(8):
        graph = seeded_graph(seed, ring=True, regions=True)
        program = plan(optimized(specialize(graph, {"batch": 3}, training=True)))
        found |= {type(instruction) for instruction in instructions_in(program.body)}
    assert {Repeat, While, If} <= found
