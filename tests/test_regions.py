"""Regions in graphs: form, text, keys; values and derivatives of scans, conds and whiles."""

from __future__ import annotations

import numpy as np
import pytest
from catalogue_regions import BODY, HOLDS
from support_regions import (
    assert_close,
    assert_slopes,
    gradient,
    random_inputs,
    unrolled,
    values,
)

from gradc.compiler.autodiff.forward import hvp_nodes, jvp_nodes
from gradc.compiler.errors import (
    GradcError,
    GradientError,
    IRSyntaxError,
    VerifyError,
)
from gradc.compiler.graph.ir import Graph, Node, all_nodes, apply
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.graph.verify import verify_graph
from gradc.compiler.ops.arithmetic import ADD
from gradc.compiler.ops.broadcast import sum_
from gradc.compiler.ops.loop import WHILE, refuse_pullbacks
from gradc.compiler.ops.region import region, result
from gradc.compiler.ops.source import input_
from gradc.compiler.opt import optimize_text
from gradc.compiler.types import TensorType, TupleType, float64, int64

DOT = "{lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]}"

RNN = f"""
graph rnn(%x: f64[5, 2, 3], %h: f64[2, 4], %wx: f64[3, 4], %wh: f64[4, 4], %b: f64[4]) {{
  %r = scan %h, %x, %wx, %wh, %b {{body=graph step(
      %h: f64[2, 4], %x: f64[2, 3], %wx: f64[3, 4], %wh: f64[4, 4], %b: f64[4]) {{
    %0 = dot_general %h, %wh {DOT} : f64[2, 4]
    %1 = dot_general %x, %wx {DOT} : f64[2, 4]
    %2 = add %0, %1 : f64[2, 4]
    %3 = broadcast %b {{axes=[1]}} : f64[2, 4]
    %4 = add %2, %3 : f64[2, 4]
    %5 = tanh %4 : f64[2, 4]
    return %5, %5
  }}, carries=1, xs=1, reverse=false}} : (f64[2, 4], f64[5, 2, 4])
  %0 = result %r {{index=0}} : f64[2, 4]
  %1 = result %r {{index=1}} : f64[5, 2, 4]
  %2 = mul %1, %1 : f64[5, 2, 4]
  %3 = sum %2 {{axes=[0, 1, 2]}} : f64[]
  %4 = sum %0 {{axes=[0, 1]}} : f64[]
  %5 = add %3, %4 : f64[]
  return loss=%5
}}
"""

ACCUMULATED = """
graph f(%c: f64[3], %x: f64[4, 3], %w: f64[3], %k: f64[]) {
  %r = scan %c, %x, %w, %k {body=graph step(%c: f64[3], %x: f64[3], %w: f64[3], %k: f64[]) {
    %0 = mul %c, %w : f64[3]
    %1 = sin %0 : f64[3]
    %2 = broadcast %k {axes=[]} : f64[3]
    %3 = mul %x, %2 : f64[3]
    %4 = add %1, %3 : f64[3]
    %5 = mul %4, %w : f64[3]
    return %4, %5
  }, carries=1, xs=1, reverse=true} : (f64[3], f64[4, 3])
  %0 = result %r {index=1} : f64[4, 3]
  %1 = exp %0 : f64[4, 3]
  %2 = sum %1 {axes=[0, 1]} : f64[]
  return loss=%2
}
"""

NESTED = """
graph f(%c: f64[3], %x: f64[4, 2, 3], %w: f64[3]) {
  %r = scan %c, %x, %w {body=graph outer(%c: f64[3], %x: f64[2, 3], %w: f64[3]) {
    %s = scan %c, %x, %w {body=graph inner(%c: f64[3], %x: f64[3], %w: f64[3]) {
      %0 = mul %c, %w : f64[3]
      %1 = add %0, %x : f64[3]
      %2 = tanh %1 : f64[3]
      return %2, %1
    }, carries=1, xs=1, reverse=false} : (f64[3], f64[2, 3])
    %0 = result %s {index=0} : f64[3]
    %1 = result %s {index=1} : f64[2, 3]
    %2 = sum %1 {axes=[0]} : f64[3]
    %3 = mul %2, %w : f64[3]
    return %0, %3
  }, carries=1, xs=1, reverse=false} : (f64[3], f64[4, 3])
  %0 = result %r {index=0} : f64[3]
  %1 = result %r {index=1} : f64[4, 3]
  %2 = sum %1 {axes=[0]} : f64[3]
  %3 = mul %0, %2 : f64[3]
  %4 = sum %3 {axes=[0]} : f64[]
  return loss=%4
}
"""

# Gradients that reach a carry through another carry alone, a carry that is no float, one that is
# reset, and a stack of a slice.
CARRIES = """
graph f(%a: f64[2], %b: f64[2], %n: i64[], %x: f64[3, 2]) {
  %r = scan %a, %b, %n, %a, %x {body=graph step(
      %a: f64[2], %b: f64[2], %n: i64[], %z: f64[2], %x: f64[2]) {
    %0 = mul %b, %x : f64[2]
    %1 = constant {value=1} : i64[]
    %2 = add %n, %1 : i64[]
    %3 = cast %n : f64[]
    %4 = broadcast %3 {axes=[]} : f64[2]
    %5 = mul %0, %4 : f64[2]
    %6 = add %a, %5 : f64[2]
    %7 = sin %z : f64[2]
    return %6, %0, %2, %x, %7, %x, %n
  }, carries=4, xs=1, reverse=false} : (
    f64[2], f64[2], i64[], f64[2], f64[3, 2], f64[3, 2], i64[3])
  %0 = result %r {index=0} : f64[2]
  %1 = result %r {index=4} : f64[3, 2]
  %2 = result %r {index=5} : f64[3, 2]
  %3 = mul %1, %2 : f64[3, 2]
  %4 = sum %3 {axes=[0]} : f64[2]
  %5 = mul %4, %0 : f64[2]
  %6 = sum %5 {axes=[0]} : f64[]
  return loss=%6
}
"""

COND = """
graph f(%x: f64[3], %y: f64[3]) {
  %0 = sum %x {axes=[0]} : f64[]
  %1 = constant {value=0.0} : f64[]
  %2 = lt %0, %1 : bool[]
  %r = cond %2, %x, %y {otherwise=graph no(%x: f64[3], %y: f64[3]) {
    %0 = mul %x, %x : f64[3]
    %1 = sin %y : f64[3]
    return %0, %1
  }, then=graph yes(%x: f64[3], %y: f64[3]) {
    %0 = exp %x : f64[3]
    return %0, %x
  }} : (f64[3], f64[3])
  %3 = result %r {index=0} : f64[3]
  %4 = result %r {index=1} : f64[3]
  %5 = mul %3, %4 : f64[3]
  %6 = sum %5 {axes=[0]} : f64[]
  return loss=%6
}
"""

GRAPHS = {
    "rnn": RNN, "accumulated": ACCUMULATED, "nested": NESTED, "carries": CARRIES, "cond": COND,
}  # fmt: skip


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> Graph:
    return parse_graph(GRAPHS[request.param])


# -- derivatives ----------------------------------------------------------------------------


def test_a_scan_computes_what_its_copies_do(graph: Graph) -> None:
    inputs = random_inputs(graph)
    assert_close(values(graph, inputs), values(unrolled(graph), inputs), 1e-15)


def test_gradients_are_those_of_the_copies_and_the_slopes(graph: Graph) -> None:
    inputs = random_inputs(graph)
    reverse = gradient(graph)
    verify_graph(reverse)
    assert_close(values(reverse, inputs), values(gradient(unrolled(graph)), inputs), 1e-13)
    for seed in range(3):
        assert_slopes(graph, random_inputs(graph, seed))


def test_gradients_survive_text_and_passes(graph: Graph) -> None:
    reverse = gradient(graph)
    text = print_graph(reverse)
    assert print_graph(parse_graph(text)) == text
    small = optimize_text(text, "text", "pipeline")
    assert optimize_text(small, "text", "pipeline") == small
    inputs = random_inputs(graph)
    assert_close(values(parse_graph(small), inputs), values(reverse, inputs), 1e-13)


def test_second_derivatives_are_those_of_the_copies(graph: Graph) -> None:
    inputs = random_inputs(graph)
    found, expected = (_product_with_hessian(g) for g in (graph, unrolled(graph)))
    verify_graph(found)
    assert_close(values(found, inputs), values(expected, inputs), 1e-12)


def test_forward_mode_is_that_of_the_copies(graph: Graph) -> None:
    inputs = random_inputs(graph)
    found, expected = (_forward(g) for g in (graph, unrolled(graph)))
    assert_close(values(found, inputs), values(expected, inputs), 1e-13)
    small = optimize_text(print_graph(found), "text", "pipeline")
    assert_close(values(parse_graph(small), inputs), values(found, inputs), 1e-13)


def _product_with_hessian(graph: Graph) -> Graph:
    """Of the Hessian with the point itself."""
    wrt = [node for node in graph.inputs if node.type.dtype.is_float]
    found = hvp_nodes(graph.outputs[0][1], wrt, wrt)
    outputs = tuple((str(n), node) for n, node in enumerate(found) if node is not None)
    return Graph("hvp", graph.inputs, (), outputs)


def _forward(graph: Graph) -> Graph:
    wrt = [node for node in graph.inputs if node.type.dtype.is_float]
    tangent = jvp_nodes(graph.outputs[0][1], wrt, wrt)
    assert tangent is not None
    return Graph("jvp", graph.inputs, (), (("t", tangent),))


def _optimized_gradient(text: str, *names: str) -> str:
    return optimize_text(print_graph(gradient(parse_graph(text), names)), "text", "pipeline")


def test_the_gradient_of_a_weight_is_one_product_outside_of_the_loop() -> None:
    """Over iterations and batch: its epilogue can be an update. The bias follows the same stack."""
    text = _optimized_gradient(RNN, "wx", "wh", "b")
    lines = [line.strip() for line in text.splitlines()]
    outside = [line for line in lines if "contract=[0, 1]" in line]
    assert [line.rsplit(" : ")[-1] for line in outside] == ["f64[3, 4]", "f64[4, 4]"]
    assert any("sum" in line and "{axes=[0, 1]} : f64[4]" in line for line in lines)
    loops = [node for node in parse_graph(text).nodes() if node.op.name == "scan"]
    assert [node.attributes["carries"] for node in loops] == [1, 1]
    assert [str(node.type) for node in loops] == [
        "(f64[2, 4], f64[5, 2, 4], f64[5, 2, 4])",  # h, and h before each step
        "(f64[2, 4], f64[5, 2, 4])",  # the slopes of the pre-activations
    ]


def test_only_what_is_needed_is_saved() -> None:
    """The carry, of which the argument of sin is cheap to compute again; and what is computed of
    the sine, which is not. The rest follows from these."""
    loops = [
        node
        for node in parse_graph(_optimized_gradient(ACCUMULATED, "w")).nodes()
        if node.op.name == "scan"
    ]
    assert str(loops[0].type) == "(f64[3], f64[4, 3], f64[4, 3], f64[4, 3])"
    assert loops[1].attributes["carries"] == 2  # the cotangents of the carry, and of %w


def test_a_scan_and_its_gradient_run_the_body_once() -> None:
    graph = parse_graph(NESTED)
    both = Graph("both", graph.inputs, (), graph.outputs + gradient(graph, ["w"]).outputs)
    text = optimize_text(print_graph(both), "text", "pipeline")
    tanhs = [node for node in all_nodes(parse_graph(text)) if node.op.name == "tanh"]
    assert len(tanhs) == 1


# -- while ----------------------------------------------------------------------------------


def _while(bound: int | None) -> Graph:
    """The sum of x after the iterations that n leaves, at most `bound` of them."""
    x, w = input_("x", (3,), float64), input_("w", (3,), float64)
    n = input_("n", (), int64)
    limit = {} if bound is None else {"bound": bound}
    loop = apply(
        WHILE, x, n, w, condition=parse_graph(HOLDS), body=parse_graph(BODY), carries=2, **limit
    )
    return Graph("f", (x, n, w), (), (("y", sum_(result(loop, 0), (0,))),))


@pytest.mark.parametrize("begin", [-4, 0, 2, 3])
def test_a_bounded_while_has_the_slopes_of_its_iterations(begin: int) -> None:
    graph = _while(5)
    inputs = random_inputs(graph) | {"n": np.asarray(np.int64(begin))}
    assert_slopes(graph, inputs)
    x = inputs["x"]
    for _ in range(min(5, 3 - begin)):
        x = np.sin(x * inputs["w"])
    np.testing.assert_allclose(values(graph, inputs)["y"], x.sum(), rtol=1e-15)
    again = parse_graph(optimize_text(print_graph(gradient(graph)), "text", "pipeline"))
    assert_close(values(again, inputs), values(gradient(graph), inputs), 1e-14)


def test_what_a_while_does_not_run_has_no_part_in_its_gradient() -> None:
    """The square root of what would be negative is never taken."""
    text = """
    graph f(%x: f64[]) {
      %r = while %x {body=graph body(%c: f64[]) {
        %0 = sqrt %c : f64[]
        %1 = constant {value=1.0} : f64[]
        %2 = sub %0, %1 : f64[]
        return %2
      }, bound=4, carries=1, condition=graph holds(%c: f64[]) {
        %0 = constant {value=0.0} : f64[]
        %1 = gt %c, %0 : bool[]
        return %1
      }} : (f64[])
      %0 = result %r {index=0} : f64[]
      return y=%0
    }
    """
    graph = parse_graph(text)
    assert_slopes(graph, {"x": np.asarray(3.0)})


@pytest.mark.parametrize("begin", [0, 3])
def test_a_while_without_a_bound_has_tangents(begin: int) -> None:
    """Those of the one with a bound that is not reached."""
    found, expected = _forward(_while(None)), _forward(_while(7))
    inputs = random_inputs(found) | {"n": np.asarray(np.int64(begin))}
    refuse_pullbacks(found.roots, "jvp")
    assert_close(values(found, inputs), values(expected, inputs), 1e-14)
    small = optimize_text(print_graph(found), "text", "pipeline")
    assert "while_pullback" not in small
    assert_close(values(parse_graph(small), inputs), values(expected, inputs), 1e-14)


def test_a_while_without_a_bound_has_no_reverse() -> None:
    reverse = gradient(_while(None))
    with pytest.raises(GradientError) as caught:
        refuse_pullbacks(reverse.roots, "grad")
    assert str(caught.value) == (
        "grad: the reverse of a while loop without a bound is not defined\n"
        "  how many iterations it saves values of is not known\n"
        "  hint: give while_loop a bound=, or use jvp"
    )
    with pytest.raises(VerifyError, match="no value of its own"):
        values(reverse, random_inputs(reverse))


# -- form -----------------------------------------------------------------------------------


def test_equal_regions_are_equal() -> None:
    first, second = (parse_graph(ACCUMULATED) for _ in range(2))
    renamed = parse_graph(ACCUMULATED.replace("%x", "%element").replace("graph step", "graph s"))
    other = parse_graph(ACCUMULATED.replace("sin", "cos"))
    bodies = [
        next(n for n in graph.nodes() if n.op.name == "scan").attributes["body"]
        for graph in (first, second, renamed, other)
    ]
    keys = [body.key for body in bodies if isinstance(body, Graph)]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    twice = Graph("twice", first.inputs, (), (*first.outputs, ("again", _copied(first))))
    merged = parse_graph(optimize_text(print_graph(twice), "text", "cse"))
    assert sum(node.op.name == "scan" for node in merged.nodes()) == 1


def _copied(graph: Graph) -> Node:
    made: dict[Node, Node] = {node: node for node in graph.inputs}
    for node in graph.nodes():
        if node not in made:
            inputs = tuple(made[i] for i in node.inputs)
            made[node] = Node(node.op, inputs, node.attributes, node.type)
    return made[graph.outputs[0][1]]


def test_several_results_are_read_one_by_one() -> None:
    several = TupleType([TensorType(float64, (2,)), TensorType(float64, ())])
    assert str(several) == "(f64[2], f64[])"
    assert several == TupleType(several.parts) and hash(several) == hash(TupleType(several.parts))
    with pytest.raises(VerifyError, match=r"\(f64\[2\], f64\[\]\) is .* it has no shape"):
        several.shape  # noqa: B018
    scan = next(n for n in parse_graph(RNN).nodes() if n.op.name == "scan")
    with pytest.raises(VerifyError, match="operand 0 has several results, which `result` reads"):
        apply(ADD, scan, scan)


BAD = (
    ("%0 = add %r, %r : f64[4, 3]", "2:8: add: operand 0 has several results"),
    ("%0 = result %r {index=2} : f64[3]", "2:8: result: there is no result 2 of (f64[3], f64[4"),
    ("%0 = result %x {index=0} : f64[3]", "2:8: result: the operand has one result: f64[4, 3]"),
    ("%0 = iota {axis=0} : (i64[4])", "2:24: iota has one result, not (i64[4])"),
    ("%0 = result %r {index=-1} : f64[3]", "2:8: result: there is no result -1"),
)


@pytest.mark.parametrize(("line", "problem"), BAD)
def test_readers_of_several_results_are_checked(line: str, problem: str) -> None:
    head = " ".join(ACCUMULATED.split("  %0 = result %r {index=1}")[0].split())
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(f"{head}\n  {line}\n  return %0 }}")
    assert str(caught.value).startswith(f"<text>:{problem}"), str(caught.value)


WRONG = (
    ("carries=1, xs=1", "carries=0, xs=1", "input 0 of body is f64[3], given f64[]"),
    ("carries=1, xs=1", "carries=1, xs=0", "1 carries and 0 xs of 4 operands"),
    ("carries=1, xs=1", "carries=4, xs=1", "4 carries and 1 xs of 4 operands"),
    ("return %4, %5", "return %k, %5", "carry 0 that body gives is f64[], it began as f64[3]"),
    ("return %4, %5", "return", "body gives 0 values, there are 1 carries"),
    ("scan %c, %x, %w, %k", "scan %c, %x, %w", "body takes 4 values, it is given 3"),
    ("scan %c, %x,", "scan %c, %w,", "input 1 of body is f64[3], given f64[]"),
    ("scan %c, %x,", "scan %c, %k,", "what is scanned has a leading axis, not f64[]"),
    ("reverse=true", "reverse=1", "attribute 'reverse' is true or false, not 1"),
    ("reverse=true", "body=2", "attribute 'body' is given twice"),
)


@pytest.mark.parametrize(("old", "new", "problem"), WRONG)
def test_a_scan_that_does_not_fit_is_refused(old: str, new: str, problem: str) -> None:
    assert old in ACCUMULATED
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(ACCUMULATED.replace(old, new))
    assert problem in str(caught.value)


def test_a_region_has_no_state() -> None:
    body = "body=graph step(%c: f64[3], %x: f64[3], %w: f64[3], %k: f64[])"
    assert body in ACCUMULATED
    with pytest.raises(IRSyntaxError, match="scan: body has states or updates, which no region"):
        parse_graph(ACCUMULATED.replace(body, f"{body} state (%s: f64[])"))


WRONG_CONDS = (
    ("%2 = lt %0, %1 : bool[]", "%2 = add %0, %1 : f64[]", "the predicate is f64[], not bool[]"),
    ("return %0, %x", "return %0", "then gives 1 values, otherwise 2"),
)


@pytest.mark.parametrize(("old", "new", "problem"), WRONG_CONDS)
def test_a_cond_that_does_not_fit_is_refused(old: str, new: str, problem: str) -> None:
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(COND.replace(old, new))
    assert problem in str(caught.value)


def test_a_bound_is_a_number_of_iterations() -> None:
    with pytest.raises(GradcError, match="a bound is no negative number: -1"):
        _while(-1)


def test_regions_that_come_together_have_names_of_their_own() -> None:
    a, b = input_("x", (), float64), input_("x", (), float64)
    made = region("both", [a, b], [apply(ADD, a, b)])
    assert [str(node.attributes["name"]) for node in made.inputs] == ["p0", "p1"]


def test_map_regions_gives_the_same_graph_if_nothing_changes() -> None:
    graph = parse_graph(NESTED)
    assert graph.map_regions(lambda region: region) is graph
    assert not parse_graph("graph f(%x: f32[]) { return %x }").has_regions
