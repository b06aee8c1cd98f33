"""Every rewrite rule on a grid of special values, against the reference evaluator.

The text of a rule is built with every dtype that it takes; what a code rule replaces is taken from
its case file, and rules about constants are tried on every pair of special constants.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from special_values import Array, first_broken, grid, special_values

from gradc.compiler.errors import GradcError
from gradc.compiler.graph.ir import Graph, Node
from gradc.compiler.graph.patterns import Bindings, build, names_in
from gradc.compiler.graph.rewrite import AnyRule, Rule, rewrite_with
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.ops.arithmetic import div, mul, neg
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.comparison import cast
from gradc.compiler.ops.reduction import all_, any_, max_, min_, prod
from gradc.compiler.ops.source import constant_like, input_
from gradc.compiler.passes.fold_constants import fold_constants
from gradc.compiler.passes.simplify import RULES
from gradc.compiler.passes.simplify_numbers import NUMBER_RULES
from gradc.compiler.testing.cases import read_case
from gradc.compiler.testing.values import (
    UNBOUND_EXTENT,
    bound_type,
    evaluate_leaves,
    named_dimensions,
    same_values,
)
from gradc.compiler.types import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    static_shape,
    uint8,
)

CASES = Path(__file__).parent / "cases" / "simplify"
DTYPES = (float32, float64, float16, bfloat16, int64, int32, int8, uint8, bool_)
FLOATS = (float32, float64, float16, bfloat16)
# They add in another order, in which other partial sums overflow or cancel: they are tried on
# numbers that do neither, infinities and NaN among them, and compared by the largest term.
REORDERING = ("sum-of-sum", "sum-of-broadcast", "transpose-of-dot", "dot-of-transpose")


def outputs(graph: Graph, leaves: dict[str, Array]) -> dict[str, Array]:
    dims = dict.fromkeys(named_dimensions(graph), UNBOUND_EXTENT)
    return evaluate_leaves(graph, leaves, dims, True).outputs


def check(
    before: Graph, after: Graph, leaves: dict[str, Array], exact: bool, scale: float = 1.0
) -> None:
    old, new = outputs(before, leaves), outputs(after, leaves)
    for name, node in before.outputs:
        place = first_broken(old[name], new[name], node.type.dtype, exact, scale)
        if place is None:
            continue
        shapes = {n: v.reshape(-1)[place] for n, v in leaves.items() if v.size == old[name].size}
        was, is_ = old[name].reshape(-1)[place], new[name].reshape(-1)[place]
        raise AssertionError(
            f"at {shapes or leaves}: was {was}, is {is_}\n{print_graph(before)}{print_graph(after)}"
        )


def graph_of(result: Node, leaves: list[Node]) -> Graph:
    return Graph("rule", tuple(leaves), (), (("0", result),), ())


def written(rule: Rule) -> Iterator[tuple[Graph, dict[str, Array]]]:
    """What the text of a rule says, for every dtype that it takes, on a grid of its names."""
    names = sorted(names_in(rule.pattern))
    for dtype, flag in itertools.product(DTYPES, (False, True)):
        dtypes = [bool_ if flag and name == "c" else dtype for name in names]
        columns = grid(dtypes)
        rows = max((len(column) for column in columns), default=1)
        inputs = [input_(n, (rows,), d) for n, d in zip(names, dtypes, strict=True)]
        bindings = Bindings(dict(zip(names, inputs, strict=True)))
        try:
            graph = graph_of(build(rule.pattern, bindings, inputs[-1]), inputs)
        except (GradcError, KeyError, TypeError):
            continue  # the operation does not take this dtype, or has attributes
        yield graph, dict(zip(names, columns, strict=True))


@pytest.mark.parametrize("rule", [r for r in RULES if isinstance(r, Rule)], ids=lambda r: r.name)
def test_a_written_rule_keeps_special_values(rule: Rule) -> None:
    built = fired = 0
    for graph, leaves in written(rule):
        built += 1
        rewritten = rewrite_with(graph, (rule,))
        if rewritten.fired[rule.name]:
            fired += 1
            check(graph, rewritten.graph, leaves, exact=not rule.inexact)
    assert fired or not built, "one that needs attributes is tried on its case below"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_a_rule_keeps_special_values_in_its_case(rule: AnyRule) -> None:
    case = read_case(CASES / f"{rule.name.replace('-', '_')}.ir")
    graph = parse_graph(case.before)
    rewritten = rewrite_with(graph, (rule,))
    if not rewritten.fired[rule.name]:  # its case needs another pass first
        rewritten = rewrite_with(fold_constants(graph), RULES)
    dims = dict.fromkeys(named_dimensions(graph), UNBOUND_EXTENT)
    rng = np.random.default_rng(0)
    for _ in range(150):
        leaves = {}
        for node in graph.inputs + graph.states:
            values = special_values(node.type.dtype)
            if rule.name in REORDERING and node.type.dtype.is_float:
                values = values[~(np.abs(values.astype(np.float64)) > 1e4) | np.isinf(values)]
            shape = static_shape(bound_type(node, dims).shape)
            leaves[str(node.attributes["name"])] = rng.choice(values, shape)
        if rule.name in REORDERING:
            old, new = outputs(graph, leaves), outputs(rewritten.graph, leaves)
            assert all(same_values(old[name], new[name], False) for name in old), (leaves, old, new)
        else:
            check(graph, rewritten.graph, leaves, exact=not rule.inexact)


CONSTANTS = (
    0.0, -0.0, 1.0, -1.0, 2.0, -0.5, 3.0, -1e-3, 1e-30, -1e30, 1e38, 1e-45, 3e4, 6e-5,
    float("inf"), float("nan"),
)  # fmt: skip


def scaled(x: Node, a: Node, b: Node) -> Iterator[Node]:
    yield neg(mul(x, a))
    yield mul(mul(x, a), b)
    yield mul(a, mul(b, x))
    yield div(mul(x, a), b)
    yield div(div(x, a), b)
    yield mul(div(x, a), b)
    yield div(x, b)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_scaling_by_constants_keeps_special_values(dtype: DType) -> None:
    (values,) = grid([dtype])
    x = input_("x", (len(values),), dtype)
    fired: set[str] = set()
    for first, second in itertools.product(CONSTANTS, repeat=2):
        sizes = [abs(second), 1 / abs(second)] if second else []
        scale = max([1.0, *(size for size in sizes if np.isfinite(size))])
        for node in scaled(x, constant_like(x, first), constant_like(x, second)):
            graph = graph_of(node, [x])
            rewritten = rewrite_with(graph, NUMBER_RULES)
            names = {name for name, count in rewritten.fired.items() if count}
            fired |= names
            inexact = any(rule.inexact for rule in NUMBER_RULES if rule.name in names)
            check(graph, rewritten.graph, {"x": values}, not inexact, scale)
    assert fired == {rule.name for rule in NUMBER_RULES} - {"cast-of-cast", "pow-half"}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_reduction_of_single_terms_keeps_every_bit(dtype: DType) -> None:
    (values,) = grid([dtype])
    x = input_("x", (len(values), 1), dtype)
    for reduce, axes in itertools.product((sum_, prod, max_, min_, any_, all_), ((1,), ())):
        try:
            graph = graph_of(reduce(x, axes), [x])
            outputs(graph, {"x": values[:, None]})
        except GradcError:
            continue  # the dtype has no such reduction, or it takes no empty axes
        check(graph, rewrite_with(graph, RULES).graph, {"x": values[:, None]}, exact=True)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("copies", [1, 2, 5])
def test_a_sum_of_copies_keeps_special_values(dtype: DType, copies: int) -> None:
    (values,) = grid([dtype])
    x = input_("x", (len(values),), dtype)
    graph = graph_of(sum_(broadcast(x, (copies, len(values)), (1,)), (0,)), [x])
    check(graph, rewrite_with(graph, RULES).graph, {"x": values}, exact=False)
    for value in values.astype(np.float64).tolist():
        graph = graph_of(sum_(constant_like(input_("y", (copies,), dtype), value), (0,)), [])
        check(graph, rewrite_with(graph, RULES).graph, {}, exact=False)


def test_more_copies_than_a_short_float_can_count_are_added() -> None:
    x = input_("x", (2,), float16)
    graph = graph_of(sum_(broadcast(x, (70_000, 2), (1,)), (0,)), [x])
    check(graph, rewrite_with(graph, RULES).graph, {"x": np.zeros(2, np.float16)}, exact=True)


@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_casts_of_casts_keep_every_bit(source: DType) -> None:
    (values,) = grid([source])
    x = input_("x", (len(values),), source)
    for between, target in itertools.product(DTYPES, repeat=2):
        graph = graph_of(cast(cast(x, between), target), [x])
        check(graph, rewrite_with(graph, RULES).graph, {"x": values}, exact=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_folding_constants_keeps_every_bit(dtype: DType) -> None:
    """Each special value as a number in the graph gives what it gives as an input."""
    x = input_("x", (3,), dtype)
    for value in special_values(dtype):
        number = value.item() if dtype.numpy.kind != "V" else float(value)
        for rule in (r for r in RULES if isinstance(r, Rule)):
            names = sorted(names_in(rule.pattern))
            leaf = constant_like(x, number)
            try:
                folded = build(rule.pattern, Bindings(dict.fromkeys(names, leaf)), leaf)
                kept = build(rule.pattern, Bindings(dict.fromkeys(names, x)), x)
            except (GradcError, KeyError, TypeError, OverflowError):
                continue
            leaves = {"x": np.full(3, value)}
            wanted = evaluate_leaves(graph_of(kept, [x]), leaves, {}, True).outputs["0"]
            graph = Graph("folded", (), (), (("0", folded),), ())
            found = evaluate_leaves(fold_constants(graph), {}, {}, True).outputs["0"]
            assert first_broken(wanted, found, folded.type.dtype, True) is None, (rule.name, number)
