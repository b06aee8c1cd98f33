"""Graph passes: random graphs keep their values, rules fire where they should, the runner's duties.

The cases under tests/cases are run by the plugin (testing/plugin.py); here they are read once more
for what they say together: every rule has a case, and fires in the whole pipeline.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from support_passes import apply, optimized

from gradc.compiler.errors import ArgumentError, FileError, IRSyntaxError, ShapeError, VerifyError
from gradc.compiler.graph.ir import Graph, Node, all_nodes
from gradc.compiler.graph.rewrite import Rule, rewrite_with
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.graph.verify import verify_graph
from gradc.compiler.ops.arithmetic import NEG
from gradc.compiler.opt import optimize_text
from gradc.compiler.passes import GRAPH_PASSES, PASSES
from gradc.compiler.passes.runner import (
    GRAPH_TO_GRAPH,
    Dumper,
    FixedPoint,
    Pass,
    PassReport,
    check_pipeline,
)
from gradc.compiler.passes.simplify import RULES
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.testing.cases import CaseFailure, check_case, read_case
from gradc.compiler.testing.random_graphs import planted_graph, seeded_graph
from gradc.compiler.testing.values import described, differences, named_dimensions
from gradc.compiler.types import TensorType, float32

CASES = Path(__file__).parent / "cases"
INEXACT = frozenset(
    [rule.name for rule in RULES if rule.inexact]
    + [p.name for p in GRAPH_PASSES.passes if p.inexact]
)
TEXT_RULES = [rule for rule in RULES if isinstance(rule, Rule)]

MEAN = """\
graph mean(%x: f32[batch]) state (%w: f32[] trained) {
  %0 = sum %x {axes=[0]} : f32[]
  %1 = extent {shape=["batch"]} : i64[]
  %2 = cast %1 : f32[]
  %3 = div %0, %2 : f32[]
  update %w = %3
  return %3
}
"""


# -- random graphs --------------------------------------------------------------------------


def _check(before: Graph, after: Graph, seed: int, exact: bool) -> None:
    verify_graph(after)
    found = list(differences(before, after, seed, exact=exact))
    assert not found, f"{found[0]}\n\n{described(before)}\n\n{described(after)}"


@pytest.mark.parametrize("seed", range(200))
def test_exact_passes_keep_every_bit(seed: int) -> None:
    graph = seeded_graph(seed, rules=RULES)
    result = apply(graph, GRAPH_PASSES, verify=True, disabled=INEXACT)
    _check(graph, result, seed, exact=True)
    again = apply(result, GRAPH_PASSES, disabled=INEXACT)
    assert print_graph(again) == print_graph(result), described(graph)


@pytest.mark.parametrize("seed", range(150))
def test_exact_passes_keep_every_bit_in_regions(seed: int) -> None:
    graph = seeded_graph(seed, rules=RULES, regions=True)
    result = apply(graph, GRAPH_PASSES, verify=True, disabled=INEXACT)
    _check(graph, result, seed, exact=True)
    again = apply(result, GRAPH_PASSES, disabled=INEXACT)
    assert print_graph(again) == print_graph(result), described(graph)


@pytest.mark.parametrize("seed", range(200))
def test_all_passes_keep_values_and_reach_a_fixed_point(seed: int) -> None:
    graph = seeded_graph(seed, ring=True, rules=RULES)
    result = optimized(graph, verify=True)
    _check(graph, result, seed, exact=False)
    assert optimized(result) is result, described(graph)


@pytest.mark.parametrize("step", GRAPH_PASSES.passes, ids=lambda step: str(step.name))
@pytest.mark.parametrize("seed", range(40))
def test_each_pass_alone_is_stable(step: Pass, seed: int) -> None:
    graph = seeded_graph(seed, rules=RULES, regions=seed % 2 == 1)
    once = apply(graph, step, verify=True)
    assert print_graph(apply(once, step)) == print_graph(once), described(graph)


@pytest.mark.parametrize("seed", range(200))
def test_specialization_keeps_values(seed: int) -> None:
    graph = seeded_graph(seed, regions=seed % 2 == 1)
    training = seed % 2 == 0
    result = specialize(graph, {"batch": 3}, training)
    verify_graph(result)
    assert not named_dimensions(result)
    assert not any(node.op.name in ("training", "extent") for node in all_nodes(result))
    found = list(
        differences(graph, result, seed, exact=True, modes=(training,), compare_state=training)
    )
    assert not found, f"{found[0]}\n\n{described(graph)}\n\n{described(result)}"
    assert specialize(result, {"batch": 3}, training) is result


@pytest.mark.parametrize("rule", TEXT_RULES, ids=lambda rule: str(rule.name))
def test_a_rule_keeps_the_values_of_what_it_replaces(rule: Rule) -> None:
    fired = 0
    for seed in range(60):
        graph = planted_graph(rule, seed)
        if graph is not None:
            rewritten = rewrite_with(graph, (rule,))
            fired += rewritten.fired[rule.name]
            _check(graph, rewritten.graph, seed, exact=not rule.inexact)
    assert fired >= 5


# -- cases ----------------------------------------------------------------------------------


@cache
def _fired_in(path: Path) -> Counter[str]:
    return check_case(read_case(path))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_every_rule_has_a_case_that_fails_without_it(rule: Rule) -> None:
    path = CASES / "simplify" / f"{rule.name.replace('-', '_')}.ir"
    assert _fired_in(path)[rule.name]
    with pytest.raises(CaseFailure, match="the result is not the one expected"):
        check_case(read_case(path), disabled=[rule.name])


def test_every_rule_fires_in_the_whole_pipeline() -> None:
    fired: Counter[str] = Counter()
    for path in (CASES / "pipeline").rglob("*.ir"):
        fired.update(_fired_in(path))
    assert [rule.name for rule in RULES if not fired[rule.name]] == []


@pytest.mark.parametrize("step", PASSES, ids=lambda step: str(step.name))
def test_every_pass_has_a_case_that_fails_without_it(step: Pass) -> None:
    """As if it were the identity; only the case's text or levels may tell."""
    failing = 0
    for path in sorted((CASES / step.name).glob("*.ir")):
        check_case(read_case(path))
        try:
            check_case(read_case(path), disabled=[step.name])
        except CaseFailure as failure:
            failing += "the result is not the one expected" in str(failure) or step.name == "fuse"
    assert failing


# -- the runner -----------------------------------------------------------------------------


def test_dumps_are_numbered_and_read_back(tmp_path: Path) -> None:
    text = optimize_text(MEAN, "mean.ir", "specialize(batch=4),pipeline", tmp_path / "d")
    names = [path.name for path in sorted((tmp_path / "d").iterdir())]
    assert names[:4] == [
        "00-input.ir",
        "01-specialize.ir",
        "02-inline_functions.ir",
        "03-merge_regions.ir",
    ]
    texts = [(tmp_path / "d" / name).read_text() for name in names]
    assert texts[0] == MEAN and texts[-1] == text
    for dump in texts:
        assert print_graph(parse_graph(dump)) == dump


def test_a_dump_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"00-input\.ir: cannot be written: "):
        Dumper(tmp_path / "file").write("input", parse_graph(MEAN))


def test_a_report_counts_rules_and_times_passes() -> None:
    report = PassReport()
    optimized(specialize(parse_graph(MEAN), {"batch": 4}), report=report)
    assert report.fired == Counter({"div-by-power-of-two": 1})
    assert [record.name for record in report.records[:2]] == ["inline_functions", "merge_regions"]
    assert all(record.time_us > 0 for record in report.records)


def test_a_disabled_rule_does_not_fire() -> None:
    graph = specialize(parse_graph(MEAN), {"batch": 4})
    result = apply(graph, GRAPH_PASSES, disabled=["div-by-power-of-two"])
    assert any(node.op.name == "div" for node in result.nodes())


def test_verification_names_the_pass() -> None:
    def break_types(graph: Graph) -> Graph:
        broken = TensorType(float32, (7,))
        return graph.rewrite(lambda node: Node(NEG, node.inputs, {}, broken))

    graph = parse_graph("graph f(%x: f32[2]) { %0 = neg %x : f32[2] return %0 }")
    with pytest.raises(VerifyError) as caught:
        apply(graph, Pass("break_types", GRAPH_TO_GRAPH, break_types), verify=True)
    assert str(caught.value) == (
        "neg: its type is f32[7], its rule infers f32[2]\n"
        "  after pass break_types\n"
        "  in graph f: %0 = neg %x : f32[7]"
    )


def test_passes_that_undo_each_other_are_named() -> None:
    to_sub = Pass("to_sub", GRAPH_TO_GRAPH, (Rule("to-sub", "add(x, neg(y))", "sub(x, y)"),))
    to_add = Pass("to_add", GRAPH_TO_GRAPH, (Rule("to-add", "sub(x, y)", "add(x, neg(y))"),))
    graph = parse_graph("graph f(%x: f32[2]) { %0 = sub %x, %x : f32[2] return %0 }")
    with pytest.raises(VerifyError) as caught:
        apply(graph, FixedPoint("both", (to_sub, to_add)))
    assert str(caught.value) == (
        "graph f still changes after 8 rounds\n  passes that changed it last: to_sub, to_add"
    )


def test_the_order_is_checked() -> None:
    first = Pass("a", GRAPH_TO_GRAPH, lambda g: g)
    second = Pass("b", GRAPH_TO_GRAPH, lambda g: g, after=("a",))
    assert check_pipeline((first, second)) == (first, second)
    with pytest.raises(ValueError, match="pass b must stand after a"):
        check_pipeline((second, first))
    with pytest.raises(ValueError, match="pass a: it or one of its rules has a name that is taken"):
        check_pipeline((first, first))


def test_nothing_to_do_gives_the_same_graph() -> None:
    graph = parse_graph("graph f(%x: f32[2]) { %0 = exp %x : f32[2] return %0 }")
    assert optimized(graph) is graph
    assert specialize(graph, {"batch": 2}, training=True) is graph


# -- specialize -----------------------------------------------------------------------------


def test_extents_that_do_not_fit_name_the_models_line() -> None:
    text = (
        "graph f(%x: f32[n], %y: f32[m]) {\n"
        "  %0 = concatenate %x, %x {axis=0} : f32[n]\n"
        "  return %0\n}"
    )
    with pytest.raises(IRSyntaxError, match="named dimension, which has no sum"):
        parse_graph(text)
    text = (
        "graph f(%x: f32[n]) {\n"
        "  %0 = reshape %x : f32[n, 1]\n"
        "  %1 = max %0 {axes=[0]} : f32[1]\n"
        "  return %1\n}"
    )
    with pytest.raises(ShapeError) as caught:
        specialize(parse_graph(text, "model.ir"), {"n": 0})
    assert str(caught.value) == (
        "max: no elements along axes [0] of f32[0, 1]\n"
        "  at model.ir:3 in text: %1 = max %0 {axes=[0]} : f32[1]"
    )


@pytest.mark.parametrize("extent", [-1, True, 2.0, "4"])
def test_an_extent_is_a_natural_number(extent: object) -> None:
    with pytest.raises(ArgumentError, match=r"^dimension 'batch' needs a non-negative integer"):
        specialize(parse_graph(MEAN), {"batch": extent})  # type: ignore[dict-item]
