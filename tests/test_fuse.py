"""Fusion: what shares a kernel, what carries an optimizer's update, and what must be refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support_cpu import Array, assert_same_bits, graph_of, group, plan, run_compiled

from gradc.compiler.errors import CompileError, SourceLine
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph, Node, apply
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.combiners import DOT
from gradc.compiler.loops.expand import Expander
from gradc.compiler.loops.ir import Buffer, Kernel, dense_layout
from gradc.compiler.lowering.fusion import group_nodes
from gradc.compiler.lowering.groups import grouping_rule
from gradc.compiler.machine import CPU_FUSION
from gradc.compiler.ops import CATALOGUE, OP_WITH_NAME
from gradc.compiler.ops.arithmetic import neg
from gradc.compiler.ops.broadcast import SUM, broadcast, sum_
from gradc.compiler.ops.comparison import where
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.definition import (
    LOWERINGS,
    InMemory,
    MustBeSettled,
    Part,
    Reduce,
    per_lowering,
)
from gradc.compiler.ops.elementwise import EXP, add, cast, div, exp, mul, sub, tanh
from gradc.compiler.ops.movement import transpose
from gradc.compiler.ops.reduction import argmax, max_
from gradc.compiler.ops.source import TRAINING, constant, constant_like, input_, state
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.types import float32, float64

RATE = 0.125


def matmul(x: Node, w: Node, transposed: str = "") -> Node:
    """x @ w, either of them transposed if named in `transposed`."""
    lhs, rhs = (0,) if "x" in transposed else (1,), (1,) if "w" in transposed else (0,)
    return dot_general(x, w, (), (), lhs, rhs)


def scaled(x: Node, number: float) -> Node:
    return mul(x, constant_like(x, number))


def stepped(w: Node, gradient: Node) -> Node:
    return sub(w, scaled(gradient, RATE))


def softmax(x: Node) -> Node:
    largest = broadcast(max_(x, (1,)), x.type.shape, (0,))
    powers = exp(sub(x, largest))
    return div(powers, broadcast(sum_(powers, (1,)), x.type.shape, (0,)))


def weight(name: str, *shape: int) -> Node:
    return state(name, shape, float64, trained=True)


def values_for(graph: Graph) -> tuple[dict[str, Array], dict[str, Array]]:
    """Random inputs and states of a graph."""
    rng = np.random.default_rng(0)
    inputs, states = (
        {
            str(n.attributes["name"]): rng.standard_normal(n.type.shape).astype(n.type.dtype.numpy)
            for n in nodes
        }
        for nodes in (graph.inputs, graph.states)
    )
    return inputs, states


def check(graph: Graph) -> Program:
    """The plan of a graph, whose values agree with the graph's in both evaluators and in code, the
    last two to the last bit."""
    program = plan(graph)
    inputs, states = values_for(graph)
    wanted = evaluate(graph, inputs, states)
    compiled = [run_compiled(program, inputs, states, threads=number) for number in (1, 2)]
    for found in (run_program(program, inputs, states), *compiled):
        for ours, reference in zip(found, wanted, strict=True):
            for name, array in ours.items():
                np.testing.assert_allclose(array, reference[name], rtol=1e-5, atol=1e-5)
    for found in compiled:
        assert_same_bits(program, found, inputs, states)
    return program


def decisions(program: Program) -> dict[str, str]:
    return {d.subject: f"{d.verdict}: {d.reason}" for d in program.decisions}


def dots(program: Program) -> list[Kernel]:
    """The kernels that hold a contraction."""
    return [k for k in program.kernels() if any(r.combiner is DOT for r in k.loops[0].reductions)]


def test_an_elementwise_chain_is_one_kernel() -> None:
    x = input_("x", (8, 5), float32)
    program = check(graph_of({"y": tanh(add(exp(x), mul(x, x)))}))
    (kernel,) = program.kernels()
    assert len(kernel.loops) == 1 and program.arena_bytes == 0


def test_softmax_is_one_kernel() -> None:
    program = check(graph_of({"y": softmax(input_("x", (32, 10), float32))}))
    (kernel,) = program.kernels()
    assert [len(loop.reductions) for loop in kernel.loops] == [1, 1, 0]
    assert program.arena_bytes == 0


def test_transposes_are_index_maps() -> None:
    x, y = input_("x", (8, 5), float32), input_("y", (5, 8), float32)
    moved = add(transpose(mul(transpose(x, (1, 0)), y), (1, 0)), x)
    program = check(graph_of({"y": exp(moved)}))
    assert len(program.kernels()) == 1 and program.arena_bytes == 0


def test_bias_and_activation_are_the_epilogue_of_a_contraction() -> None:
    x, w = input_("x", (16, 24), float32), input_("w", (24, 20), float32)
    b = input_("b", (20,), float32)
    program = check(graph_of({"y": tanh(add(matmul(x, w), broadcast(b, (16, 20), (1,))))}))
    (kernel,) = program.kernels()
    assert kernel.loops[0].reductions[0].combiner is DOT
    assert [store.buffer.space for store in kernel.stores] == ["output"]


def test_what_ends_a_reduction_is_made_where_rows_are_reduced_and_not_in_a_product() -> None:
    """Softmax's division, whose sums a gradient needs too: the product has nothing to pack."""
    x, v = input_("x", (64, 128), float32), input_("v", (128, 32), float32)
    shifted = exp(sub(x, broadcast(max_(x, (1,)), (64, 128), (0,))))
    total = sum_(shifted, (1,))
    weights = div(shifted, broadcast(total, (64, 128), (0,)))
    rows, product = check(graph_of({"y": matmul(weights, v), "total": total})).kernels()
    assert "div" in rows.description
    (dot,) = product.loops[0].reductions
    assert [factor.op for factor in dot.value.args] == ["load", "load"]


def test_a_cheap_operand_is_the_prologue_of_its_only_reader() -> None:
    x, w = input_("x", (16, 24), float32), input_("w", (24, 20), float32)
    assert len(check(graph_of({"y": matmul(mul(x, x), w)})).kernels()) == 1


def test_an_expensive_operand_is_computed_once_into_memory() -> None:
    x, w = input_("x", (16, 24), float32), input_("w", (24, 20), float32)
    assert len(check(graph_of({"y": matmul(exp(x), w)})).kernels()) == 2


def test_a_cheap_operand_of_two_contractions_is_not_hidden_in_one() -> None:
    x, w = input_("x", (16, 24), float32), input_("w", (24, 20), float32)
    square = mul(x, x)
    program = check(graph_of({"y": matmul(square, w), "z": matmul(square, square, "x")}))
    assert len(dots(program)) == 2


def test_sibling_reductions_share_a_loop() -> None:
    x = input_("x", (40, 30), float32)
    outputs = {"s": sum_(x, (1,)), "q": sum_(mul(x, x), (1,)), "a": argmax(x, 1)}
    (kernel,) = check(graph_of(outputs)).kernels()
    assert len(kernel.loops[0].reductions) == 3


def linear_step(w: Node, x: Node, dy: Node) -> tuple[Node, Node]:
    """Gradient of w for y = x @ w, and that for x."""
    return matmul(x, dy, "x"), matmul(dy, w, "w")


def test_sgd_happens_inside_the_contraction_that_makes_the_gradient() -> None:
    w, x, dy = weight("w", 24, 20), input_("x", (16, 24), float64), input_("dy", (16, 20), float64)
    dw, dx = linear_step(w, x, dy)
    program = check(graph_of({"dx": dx}, [(w, stepped(w, dw))]))
    writer = next(k for k in program.kernels() if k.writes[0].space == "state")
    reader = next(k for k in program.kernels() if k is not writer)
    assert writer in dots(program) and len(program.kernels()) == 2
    assert (reader.name, writer.name) in program.order_edges
    assert decisions(program)["update w"] == f"in place: fused into contraction {writer.name}"
    assert program.arena_bytes == 0


def test_momentum_and_weight_decay_are_fused_too() -> None:
    w, m = weight("w", 24, 20), weight("m", 24, 20)
    x, dy = input_("x", (16, 24), float64), input_("dy", (16, 20), float64)
    dw, dx = linear_step(w, x, dy)
    momentum = add(scaled(m, 0.5), add(dw, scaled(w, 0.25)))
    program = check(graph_of({"dx": dx}, [(w, stepped(w, momentum)), (m, momentum)]))
    writer = next(k for k in program.kernels() if k.writes[0].space == "state")
    assert {b.name for b in writer.writes} == {"w", "m"} and writer in dots(program)
    assert len(program.kernels()) == 2 and program.arena_bytes == 0


def test_a_gradient_that_is_an_output_too_is_computed_once() -> None:
    w, x, dy = weight("w", 24, 20), input_("x", (16, 24), float64), input_("dy", (16, 20), float64)
    dw, _ = linear_step(w, x, dy)
    program = check(graph_of({"dw": dw}, [(w, stepped(w, dw))]))
    (kernel,) = program.kernels()
    assert {b.space for b in kernel.writes} == {"output", "state"}


def test_of_a_shared_weight_the_last_contraction_carries_the_update() -> None:
    w = weight("w", 24, 20)
    pairs = [
        (input_(f"x{n}", (16, 24), float64), input_(f"dy{n}", (16, 20), float64)) for n in range(3)
    ]
    first, *others = [linear_step(w, x, dy)[0] for x, dy in pairs]
    total = first
    for other in others:
        total = add(total, other)
    program = check(graph_of({}, [(w, stepped(w, total))]))
    assert len(program.kernels()) == 3 and len(dots(program)) == 3
    assert [b.space for b in program.kernels()[-1].writes] == ["state"]
    assert decisions(program)["update w"].startswith("in place: fused into contraction")


def test_an_update_that_a_reader_of_the_old_value_needs_is_copied() -> None:
    """`y` reads the old w and the new one: it can neither precede nor follow the update."""
    w, x, dy = weight("w", 24, 20), input_("x", (16, 24), float64), input_("dy", (16, 20), float64)
    new = stepped(w, linear_step(w, x, dy)[0])
    program = check(graph_of({"y": matmul(w, tanh(new), "x")}, [(w, new)]))
    verdict = decisions(program)["update w"]
    assert verdict.startswith("copied: ") and "reads the old value and needs" in verdict


def test_an_update_that_moves_elements_is_copied() -> None:
    w = weight("w", 6, 6)
    program = check(graph_of({}, [(w, transpose(scaled(w, 2.0), (1, 0)))]))
    assert "reads other elements of the old value" in decisions(program)["update w"]


def test_two_states_that_trade_places() -> None:
    a, b = weight("a", 7), weight("b", 7)
    check(graph_of({}, [(a, cast(b, float64)), (b, cast(a, float64))]))


def test_three_states_that_move_round() -> None:
    a, b, c = weight("a", 7), weight("b", 7), weight("c", 7)
    check(graph_of({}, [(a, scaled(b, 2.0)), (b, scaled(c, 2.0)), (c, scaled(a, 2.0))]))


def test_one_new_value_for_two_states() -> None:
    a, b = weight("a", 7), weight("b", 7)
    new = exp(add(a, b))
    check(graph_of({"y": sum_(new, (0,))}, [(a, new), (b, new)]))


@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (1, 1, 4)])
def test_updates_of_shapes_with_ones(shape: tuple[int, ...]) -> None:
    w = weight("w", *shape)
    program = check(graph_of({"old": exp(w)}, [(w, add(scaled(w, 0.5), exp(w)))]))
    assert decisions(program)["update w"].startswith("in place")


def test_a_state_normalised_by_its_own_sum() -> None:
    """The new value needs a reduction over the old one, and is stored after it."""
    w = weight("w", 40, 30)
    program = check(graph_of({}, [(w, softmax(w))]))
    assert len(program.kernels()) == 1


def test_a_later_output_reads_the_old_value() -> None:
    w, x = weight("w", 24, 20), input_("x", (16, 24), float64)
    y = matmul(x, w)
    norm = sum_(mul(w, w), (0, 1))
    check(graph_of({"y": y, "norm": norm}, [(w, stepped(w, matmul(x, tanh(y), "x")))]))


def test_states_replaced_in_a_reducing_kernel_keep_their_old_values_until_the_last_reader() -> None:
    """a takes x, b takes the old a, and the output needs the old b after its sum is known."""
    a, b, x = weight("a", 5, 5), weight("b", 5, 5), input_("x", (5, 5), float64)
    centred = sub(b, broadcast(sum_(b, (1,)), (5, 5), (0,)))
    check(graph_of({"y": centred}, [(a, exp(x)), (b, scaled(a, 0.5))]))


# -- limits of the machine, and what no kernel computes -------------------------------------


def kinds(graph: Graph, **limits: int) -> list[str]:
    return [g.kind.value for g in group(graph, limits=replace(CPU_FUSION, **limits)).groups]


def test_how_much_is_fused_follows_from_the_limits_of_the_machine() -> None:
    x, y = input_("x", (64, 4), float32), input_("y", (64, 4), float32)
    apart = graph_of({"a": exp(x), "b": tanh(y)})
    assert kinds(apart) == ["map"]
    assert kinds(apart, small_elements=255) == ["map", "map"]
    assert kinds(apart, neighbours_searched=0) == ["map", "map"]
    column = graph_of({"a": exp(x), "s": sum_(exp(x), (0,))})
    assert kinds(column, serial_ceiling_elements=255) == ["map", "reduce"]
    assert kinds(column, serial_ceiling_elements=255, parallel_floor=4) == ["reduce"]
    square = mul(x, x)
    twice = graph_of({"p": matmul(square, y, "x"), "q": matmul(y, square, "x")})
    assert kinds(twice) == ["contraction", "contraction"]
    assert kinds(twice, recomputed_nodes=0) == ["map", "contraction", "contraction"]
    assert kinds(twice, recomputed_operands=0) == ["map", "contraction", "contraction"]


LINE = SourceLine("model.py", 7, "forward", "y = x * mode")


def test_a_node_that_an_earlier_pass_must_settle_is_named_with_its_line() -> None:
    mode = apply(TRAINING, source=LINE)
    graph = graph_of({"y": where(mode, constant(1.0, float32), constant(2.0, float32))})
    with pytest.raises(CompileError) as caught:
        plan(graph)
    assert str(caught.value) == (
        "training: an earlier pass must settle it\n"
        "  it has no place in memory, and no kernel computes it\n"
        "  at model.py:7 in forward: y = x * mode"
    )


def test_an_input_without_a_place_is_named() -> None:
    graph = graph_of({"y": exp(input_("x", (4,), float32))})
    with pytest.raises(CompileError, match=r"^input: an earlier pass must settle it"):
        group_nodes(graph, {}, {}, CPU_FUSION)


def test_a_reduction_is_not_expanded_into_its_reader() -> None:
    """Its value takes a loop of its own; where one is read, expansion stops."""
    total = apply(SUM, input_("x", (4,), float32), source=LINE, axes=(0,))
    expander = Expander(ScalarBuilder(), {})
    with pytest.raises(CompileError) as caught:
        expander.value(neg(total), (), lambda node, index: None)
    assert str(caught.value) == (
        "sum: cannot be computed inside another kernel\n  at model.py:7 in forward: y = x * mode"
    )


def test_a_dimension_without_a_maximum_is_named_with_the_operation_and_its_line() -> None:
    x = input_("x", ("batch", 3), float32)
    graph = graph_of({"y": apply(EXP, x, source=LINE)})
    place = Buffer("x", x.type, dense_layout((0, 3)), "input")
    with pytest.raises(CompileError) as caught:
        group_nodes(graph, {}, {x: place}, CPU_FUSION)
    assert str(caught.value) == (
        "exp: dimension 'batch' has no maximum\n  at model.py:7 in forward: y = x * mode"
    )


def test_a_forgotten_class_of_lowering_is_found_when_the_table_is_made() -> None:
    entries = {c: 1 for c in LOWERINGS if c is not Reduce}
    with pytest.raises(CompileError) as caught:
        per_lowering("a table", entries | {str: 2})
    assert str(caught.value) == (
        "a table: not one entry for every lowering\n"
        "  Reduce has no entry\n  str is no class of Lowering"
    )


def test_a_record_with_an_unknown_lowering_is_refused() -> None:
    with pytest.raises(CompileError) as caught:
        replace(OP_WITH_NAME["exp"], lowering="loops")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "exp: unknown lowering\n  its lowering is a str, which is no class of Lowering"
    )


def test_rules_say_what_is_computed_and_join_what_is_open() -> None:
    for op in CATALOGUE:
        rule = grouping_rule(op.lowering)
        starts_none = InMemory | MustBeSettled | Part
        assert (rule.starts is None) == isinstance(op.lowering, starts_none)
        assert not rule.joins or all(kind.is_open for kind in rule.joins)
