"""Every operation of the catalogue as text: print, parse and print again give the same text."""

from __future__ import annotations

import pytest
from catalogue_example import Example
from catalogue_examples import EXAMPLES

from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.ops import CATALOGUE


@pytest.mark.parametrize(
    "example", [e for op in CATALOGUE for e in EXAMPLES[op.name](op.name)], ids=str
)
def test_text_reads_back_as_the_same_graph(example: Example) -> None:
    graph, inputs, state = example.graph()
    text = print_graph(graph)
    parsed = parse_graph(text)
    assert print_graph(parsed) == text
    before, _ = evaluate(graph, inputs, state, training=True)
    after, _ = evaluate(parsed, inputs, state, training=True)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert value.tobytes() == after[name].tobytes()
