"""Textual IR: what is printed, that it reads back the same, and that no text breaks the parser."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradc.compiler.errors import IRSyntaxError
from gradc.compiler.graph.ir import Graph, Literal, Node, apply
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph, print_node
from gradc.compiler.ops import CATALOGUE
from gradc.compiler.ops.arithmetic import NEG, add
from gradc.compiler.ops.source import CONSTANT, constant, input_, state
from gradc.compiler.testing.random_graphs import graphs, seeded_graph
from gradc.compiler.testing.values import same_structure
from gradc.compiler.types import DTYPES, DType, bfloat16, float32, float64, int64

EXAMPLE = """\
graph step(%x: f32[batch, 3], %"0.weight": f32[3]) state (%w: f32[3] trained, %m: i64[]) {
  %0 = extent {shape=["batch", 3]} : i64[]
  %1 = cast %0 : f32[]
  %2 = broadcast %"0.weight" {axes=[1]} : f32[batch, 3]
  %3 = add %x, %2 : f32[batch, 3]
  %4 = sum %3 {axes=[0]} : f32[3]
  update %w = %4
  update %m = %0
  return loss=%1, %3, "a b"=%w
}
"""


def test_example_is_printed_as_it_was_read() -> None:
    assert print_graph(parse_graph(EXAMPLE)) == EXAMPLE


def test_layout_comments_and_names_of_nodes_do_not_matter() -> None:
    loose = EXAMPLE.replace("%2", "%stretched").replace("\n", " // end\n\n\t", 3)
    assert print_graph(parse_graph(loose)) == EXAMPLE


@pytest.mark.parametrize("seed", range(200))
def test_seeded_graphs_read_back_the_same(seed: int) -> None:
    graph = seeded_graph(seed, regions=seed % 2 == 1)
    text = print_graph(graph)
    parsed = parse_graph(text)
    assert same_structure(graph, parsed), text
    assert print_graph(parsed) == text


@settings(deadline=None, max_examples=60)
@given(graphs())
def test_any_graph_reads_back_the_same(graph: Graph) -> None:
    assert same_structure(graph, parse_graph(print_graph(graph)))


def test_random_graphs_cover_the_catalogue() -> None:
    """All but what only the gradient of a loop makes, what only a pass makes (recompute: its own
    random nets have it), and what assembling settles."""
    grown = [seeded_graph(seed, regions=seed % 2 == 1) for seed in range(200)]
    seen = {node.op.name for graph in grown for node in graph.nodes()}
    assert seen == {op.name for op in CATALOGUE} - {"again", "while_pullback", "stream"}


# -- constants ------------------------------------------------------------------------------


def _constant_graph(node: Node) -> Graph:
    return Graph("f", (), (), (("0", node),))


def _line(graph: Graph) -> str:
    return print_graph(graph).splitlines()[1].strip()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_splats_keep_every_bit(number: float, text: str) -> None:
    graph = _constant_graph(constant(number, float64, (2, "batch")))
    assert _line(graph) == f"%0 = constant {{value={text}}} : f64[2, batch]"
    assert same_structure(graph, parse_graph(print_graph(graph)))


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_float_reads_back(number: float) -> None:
    graph = _constant_graph(constant(number, float64))
    assert same_structure(graph, parse_graph(print_graph(graph)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (5, 7)], ids=str)
def test_literals_keep_every_bit(dtype: DType, shape: tuple[int, ...]) -> None:
    count = math.prod(shape) * dtype.size_bytes
    content = np.random.default_rng(0).integers(0, 256, count).astype(np.uint8).tobytes()
    if dtype.is_bool:
        content = bytes(byte & 1 for byte in content)
    array = np.frombuffer(content, dtype.numpy).reshape(shape)
    graph = _constant_graph(apply(CONSTANT, value=Literal(array), shape=shape, dtype=dtype))
    text = print_graph(graph)
    assert same_structure(graph, parse_graph(text)), text


def test_short_literals_are_listed_and_long_ones_are_hexadecimal() -> None:
    few = np.array([[0.1, -0.0], [np.nan, np.inf]], np.float32)
    assert _line(_constant_graph(constant(few, float32))) == (
        "%0 = constant {value=[0.1, -0.0, nan, inf]} : f32[2, 2]"
    )
    many = np.arange(17, dtype=np.int64)
    expected = "".join(f"{n:02x}" + "00" * 7 for n in range(17))
    assert _line(_constant_graph(constant(many, int64))) == (
        f'%0 = constant {{value=hex "{expected}"}} : i64[17]'
    )


def test_a_nan_with_a_payload_is_hexadecimal() -> None:
    array = np.array([0x7FC00001], np.uint32).view(np.float32)
    node = apply(CONSTANT, value=Literal(array), shape=(1,), dtype=float32)
    assert _line(_constant_graph(node)) == '%0 = constant {value=hex "0100c07f"} : f32[1]'


def test_bfloat16_elements_are_listed() -> None:
    node = constant(np.array([1.0, -2.5], np.float32), bfloat16)
    assert _line(_constant_graph(node)) == "%0 = constant {value=[1.0, -2.5]} : bf16[2]"


# -- names ----------------------------------------------------------------------------------


@given(st.text(), st.text(min_size=1), st.text())
def test_any_names_read_back(name: str, dimension: str, result: str) -> None:
    x = input_(name, (dimension, 2), float32)
    w = state(name + "'", (2,), float32, trained=True)
    graph = Graph(name, (x,), (w,), ((result, x),))
    text = print_graph(graph)
    assert same_structure(graph, parse_graph(text)), text


def test_a_number_and_a_name_of_digits_are_two_names() -> None:
    x = input_("0", (2,), float32)
    graph = Graph("f", (x,), (), (("0", add(x, x)),))
    assert _line(graph) == '%0 = add %"0", %"0" : f32[2]'
    assert same_structure(graph, parse_graph(print_graph(graph)))


def test_a_node_alone_shows_the_types_of_its_operands() -> None:
    x = input_("x", (2,), float32)
    assert print_node(add(x, x)) == "add %?: f32[2], %?: f32[2] : f32[2]"


def test_a_graph_as_an_attribute_is_printed_inside() -> None:
    x = input_("x", (2,), float32)
    inner = Graph("body", (x,), (), (("0", apply(NEG, x)),))
    node = Node(NEG, (x,), {"body": inner}, x.type)
    assert print_node(node, {x: "%x", node: "%0"}) == (
        "%0 = neg %x {body=graph body(%x: f32[2]) {\n"
        "  %0 = neg %x : f32[2]\n"
        "  return %0\n"
        "}} : f32[2]"
    )


# -- errors ---------------------------------------------------------------------------------

ONE_LINE = "graph f(%x: f32[2, 3]) {{\n  {line}\n  return %x\n}}\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("%0 = tanhh %x : f32[2, 3]", "2:8: unknown operation 'tanhh'; near: tanh, atanh, tan"),
        ("%0 = zzzzzz %x : f32[2, 3]", "2:8: unknown operation 'zzzzzz'"),
        ("%0 = neg %y : f32[2, 3]", "2:12: %y is not defined above"),
        ("%x = neg %x : f32[2, 3]", "2:3: %x is defined twice"),
        ("%0 = neg %x : f32[3]", "2:17: neg has type f32[2, 3] here, not f32[3]"),
        ("%0 = neg %x : f31[3]", "2:17: unknown dtype 'f31'; known: f64, f32, f16, bf16, i64, "
                                 "i32, i16, i8, u8, bool"),
        ("%0 = neg %x, %x : f32[2, 3]", "2:8: neg: takes 1 operand (x), has 2"),
        ("%0 = neg %x {a=1} : f32[2, 3]", "2:8: neg: has no attribute 'a'"),
        ("%0 = neg %x {a=1, a=2} : f32[2, 3]", "2:21: attribute 'a' is given twice"),
        ("%0 = neg %x {a=what} : f32[2, 3]", "2:18: unknown value 'what'"),
        ("%0 = input {name=\"y\"} : f32[2]",
         "2:8: input is declared in the head of the graph, not in a line"),
        ("%0 = neg %x", "3:3: expected ':', not 'return'"),
        ("%0 = neg %x : f32[-1]", "2:21: an extent is not negative: -1"),
        ("%0 = neg %x : f32[\"\"]", "2:21: the name of a dimension is empty"),
        ("%0 = constant {value=[1.0]} : f32[2]",
         "2:8: the value does not fit f32[2]: cannot reshape array of size 1 into shape (2,)"),
        ("%0 = constant {value=[1.5]} : i32[1]",
         "2:8: the value does not fit i32[1]: 1.5 is no element of i32"),
        ("%0 = constant {value=hex \"zz\"} : i8[1]", "2:28: not a string of hexadecimal digits"),
        ("%0 = neg %x {a=hex \"00\"} : f32[2, 3]", "2:8: hex is the value of a constant only"),
        ("update %x = %x", "2:10: %x is not a state"),
        ("%0 = neg $x : f32[2, 3]", "2:12: unexpected character '$'"),
        ("%0 = neg %\"x : f32[2, 3]", "2:12: a name or a string is not finished"),
        (f"%0 = neg %x {{a={'[' * 40}", "2:50: nested deeper than 32"),
        (f"%0 = neg %x {{a={'1' * 500}}}", "2:18: a number of more than 400 digits"),
    ],
)  # fmt: skip
def test_errors_say_where_and_what(line: str, message: str) -> None:
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(ONE_LINE.format(line=line), "f.ir")
    assert str(caught.value) == f"f.ir:{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.ir:1:1: expected 'graph', not the end of the text"),
        ("graph f(", "f.ir:1:9: expected a name such as %x, not the end of the text"),
        ("graph f(%0: f32[])",
         "f.ir:1:9: a number names a computed node; quote the name of an input or state"),
        ("graph f() { return }  }", "f.ir:1:23: expected the end of the text, not '}'"),
        ("graph f() { neg", "f.ir:1:13: expected a line such as '%0 = ...', or 'return', "
                            "not 'neg'"),
        ("graph f(%x: f32[]) { return a=%x, a=%x }", "f.ir:1:35: two results are named 'a'"),
        ("graph f() state (%w: f32[], %v: i32[]) { update %w = %v return }",
         "f.ir:1:54: %w is f32[], its new value i32[]"),
        ("graph f() state (%w: f32[]) { update %w = %w update %w = %w return }",
         "f.ir:1:53: %w is updated twice"),
    ],
)  # fmt: skip
def test_errors_of_whole_texts(text: str, message: str) -> None:
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(text, "f.ir")
    assert str(caught.value) == message


def test_an_error_of_a_type_rule_names_the_line() -> None:
    with pytest.raises(IRSyntaxError) as caught:
        parse_graph(ONE_LINE.format(line="%0 = sum %x {axes=[5]} : f32[]"), "f.ir")
    assert str(caught.value) == ("f.ir:2:8: sum: axes [5] are not increasing axes of f32[2, 3]")


def _parses_or_refuses(text: str) -> None:
    try:
        graph = parse_graph(text)
    except IRSyntaxError as error:
        assert str(error).startswith(f"<text>:{error.line}:{error.column}: ")
        assert 1 <= error.line <= text.count("\n") + 1
        return
    assert same_structure(parse_graph(print_graph(graph)), graph)


@settings(deadline=None)
@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    _parses_or_refuses(text)
    _parses_or_refuses("graph f() {" + text)


WORDS = st.sampled_from(
    'graph f state ( ) { } [ ] , : = %x %0 %1 %"y" update return trained hex "00" true nan inf '
    "-1 0 1 2 1e400 0.5 f32 i32 bool f32[] f32[2] add neg sum constant broadcast cast reshape "
    "dot_general slice axes value shape dtype axis batch // \n".split(" ")
)


@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS, max_size=40))
def test_any_words_parse_or_are_refused(words: list[str]) -> None:
    _parses_or_refuses("graph f(%x: f32[2]) { " + " ".join(words))


@pytest.mark.parametrize("seed", range(150))
def test_damaged_text_parses_or_is_refused(seed: int) -> None:
    rng = random.Random(seed)
    text = print_graph(seeded_graph(seed % 40, size=12))
    pieces = [text[i : i + 3] for i in range(0, len(text), 7)]
    for _ in range(rng.randint(1, 4)):
        begin = rng.randrange(len(text) + 1)
        end = min(len(text), begin + rng.choice((0, 1, 1, 2, 5, 20)))
        filler = rng.choice(("", rng.choice(pieces), rng.choice('"%[]{}():=,0-9 \n\\')))
        text = text[:begin] + filler + text[end:]
    _parses_or_refuses(text)
