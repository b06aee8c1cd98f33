"""Rules broken on purpose: each is caught by values, by the driver or by the cases.

What is tested here is the net, not the rules: the same comparisons that test_passes.py makes must
fail for every one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gradc.compiler.errors import VerifyError
from gradc.compiler.graph.ir import Graph, Node
from gradc.compiler.graph.patterns import parse_pattern
from gradc.compiler.graph.rewrite import AnyRule, CodeRule, Rule, Uses, rewrite_with
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.ops.arithmetic import add, mul
from gradc.compiler.ops.broadcast import sum_
from gradc.compiler.ops.movement import transpose
from gradc.compiler.ops.slicing import slice_
from gradc.compiler.ops.source import constant_like
from gradc.compiler.passes.simplify import RULES
from gradc.compiler.testing.cases import CaseFailure, check_case, read_case
from gradc.compiler.testing.random_graphs import planted_graph
from gradc.compiler.testing.values import differences

CASES = Path(__file__).parent / "cases"

BROKEN_TEXT_RULES = (
    Rule("sub-of-neg", "sub(x, neg(y))", "sub(x, y)"),
    Rule("add-of-neg", "add(x, neg(y))", "sub(y, x)"),
    Rule("neg-of-neg", "neg(neg(x))", "neg(x)"),
    Rule("mul-one", "mul(x, 1)", "1"),
    Rule("mul-of-neg", "mul(neg(x), neg(y))", "neg(mul(x, y))"),
    Rule("where-of-not", "where(not(c), x, y)", "where(c, x, y)"),
    Rule("not-of-eq", "not(eq(x, y))", "eq(x, y)"),
    Rule("or-true", "or(x, true)", "x"),
    Rule("pow-two", "pow(x, 2)", "x", inexact="wrong, and not only in the last bits"),
    # right but for a sign of zero, an infinity or a NaN, and `inexact` forgotten
    Rule("add-zero", "add(x, 0)", "x"),
    Rule("sub-from-zero", "sub(0, x)", "neg(x)"),
    Rule("neg-of-sub", "neg(sub(x, y))", "sub(y, x)"),
    Rule("pow-half", "pow(x, 0.5)", "sqrt(x)"),
    Rule("sub-itself", "sub(x, x)", "0"),
    Rule("mul-zero", "mul(x, 0)", "0"),
)


@pytest.mark.parametrize("rule", BROKEN_TEXT_RULES, ids=lambda rule: str(rule.name))
def test_random_values_catch_a_broken_rule(rule: Rule) -> None:
    caught = 0
    for seed in range(60):
        graph = planted_graph(rule, seed)
        if graph is not None:
            result = rewrite_with(graph, (rule,)).graph
            caught += any(differences(graph, result, seed, exact=not rule.inexact))
    assert caught >= 3


# -- rules in code: the case of the true rule catches the broken one ------------------------


def _transposes_composed_backwards(node: Node, uses: Uses) -> Node | None:
    inner, outer = node.inputs[0].attributes["permutation"], node.attributes["permutation"]
    assert isinstance(inner, tuple) and isinstance(outer, tuple)
    return transpose(node.inputs[0].inputs[0], tuple(outer[axis] for axis in inner))  # type: ignore[index]


def _slice_without_stride(node: Node, uses: Uses) -> Node | None:
    inner = node.inputs[0]
    starts = zip(inner.attributes["starts"], node.attributes["starts"], strict=True)  # type: ignore[arg-type]
    steps = zip(inner.attributes["steps"], node.attributes["steps"], strict=True)  # type: ignore[arg-type]
    return slice_(
        inner.inputs[0],
        tuple(a + b for a, b in starts),
        tuple(a * b for a, b in steps),
        node.type.shape,
    )


def _sum_without_factor(node: Node, uses: Uses) -> Node | None:
    return sum_(node.inputs[0].inputs[0], (0,))


def _factors_added(node: Node, uses: Uses) -> Node | None:
    x = node.inputs[1].inputs[0]
    return mul(x, constant_like(x, 8.0))


def _divided_by_inverse(node: Node, uses: Uses) -> Node | None:
    return mul(node.inputs[0], node.inputs[1])


BROKEN_CODE: dict[str, Callable[[Node, Uses], Node | None]] = {
    "transpose-of-transpose": _transposes_composed_backwards,
    "slice-of-slice": _slice_without_stride,
    "sum-of-broadcast": _sum_without_factor,
    "scaled-of-scaled": _factors_added,
    "div-by-power-of-two": _divided_by_inverse,
}


@pytest.mark.parametrize("name", BROKEN_CODE)
def test_the_case_of_a_rule_catches_a_broken_one(name: str) -> None:
    (true_rule,) = (rule for rule in RULES if rule.name == name)
    assert isinstance(true_rule, CodeRule)
    graph = parse_graph(read_case(CASES / "simplify" / f"{name.replace('-', '_')}.ir").before)

    def once(node: Node, uses: Uses) -> Node | None:
        return BROKEN_CODE[name](node, uses) if true_rule.fire(node, uses) else None

    broken = replace(true_rule, function=once)
    try:
        result = rewrite_with(graph, (broken,)).graph
    except VerifyError:
        return  # refused by the driver: it changed the type, or the operation did not fit
    assert any(differences(graph, result, 0, exact=not broken.inexact))


def test_a_case_fails_when_its_text_differs(tmp_path: Path) -> None:
    path = tmp_path / "case.ir"
    path.write_text((CASES / "cse" / "shared_exp.ir").read_text().replace("%0, %0", "%0, %x"))
    with pytest.raises(CaseFailure, match="the result is not the one expected"):
        check_case(read_case(path))


# -- what the driver refuses ----------------------------------------------------------------

X_PLUS_Y = parse_graph("graph f(%x: f32[2], %y: f32[2]) { %0 = add %x, %y : f32[2] return %0 }")


def _rewrite(*rules: AnyRule) -> Graph:
    return rewrite_with(X_PLUS_Y, rules).graph


def test_a_rule_that_changes_the_type_is_refused_by_name() -> None:
    with pytest.raises(VerifyError) as caught:
        _rewrite(Rule("to-comparison", "add(x, y)", "eq(x, y)"))
    assert str(caught.value) == (
        "rule to-comparison changes the type f32[2] to bool[2]\n"
        "  at add %?: f32[2], %?: f32[2] : f32[2]\n"
        "  result eq %?: f32[2], %?: f32[2] : bool[2]"
    )


def test_a_rule_that_builds_nonsense_is_named() -> None:
    with pytest.raises(VerifyError, match=r"^rule to-not: needs integer or bool operands"):
        _rewrite(Rule("to-not", "add(x, y)", "not(x)"))


def test_rules_that_never_end_are_listed() -> None:
    around = Rule("around", "add(x, y)", "sub(x, neg(y))")
    back = Rule("back", "sub(x, neg(y))", "add(x, y)")
    with pytest.raises(VerifyError) as caught:
        _rewrite(around, back)
    listed = ", ".join(["back", "around"] * 4)
    assert str(caught.value).startswith(
        f"rules still fire after 200 steps at one node\n  the last rules: {listed}\n"
    )


def test_a_rule_that_grows_without_end_is_stopped() -> None:
    def grow(node: Node, uses: Uses) -> Node:
        return add(add(node.inputs[0], node.inputs[1]), constant_like(node, 0.0))

    with pytest.raises(VerifyError, match=r"^rules still fire after 200 steps at one node"):
        _rewrite(CodeRule("grow", "add", grow))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("x", "x", "rule r: a rule begins at an operation"),
        ("neg(x)", "y", "rule r: unknown names ['y'] in y"),
        ("ngg(x)", "x", "bad pattern 'ngg(x)': unknown operation 'ngg'"),
        ("neg(x", "x", "bad pattern 'neg(x': expected , or ) and found ''"),
        ("neg(x))", "x", "bad pattern 'neg(x))': ')' is left over"),
        ("neg(x y)", "x", "bad pattern 'neg(x y)': expected , or ) and found 'y'"),
        ("neg(%)", "x", "bad pattern 'neg(%)' at '%)'"),
        ("cast{dtype}(x)", "x",
         "bad pattern 'cast{dtype}(x)': attributes are written {name=capture}"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_read_is_refused(before: str, after: str, message: str) -> None:
    with pytest.raises(VerifyError) as caught:
        Rule("r", before, after)
    assert str(caught.value) == message


def test_captured_attributes_must_agree() -> None:
    rule = Rule("same-casts", "add(cast{dtype=d}(x), cast{dtype=d}(y))", "cast{dtype=d}(x)")
    assert parse_pattern(rule.before) == rule.pattern
    text = (
        "graph f(%x: f64[2], %y: f64[2]) {\n"
        "  %0 = cast %x : f32[2]\n  %1 = cast %y : f32[2]\n  %2 = add %0, %1 : f32[2]\n"
        "  return %2\n}"
    )
    assert rewrite_with(parse_graph(text), (rule,)).fired["same-casts"] == 1
