"""Random graphs through everything: graph passes, fusion, planning, LLVM, against the evaluator.

The graphs use operations that are exact on small numbers in any order, so that a difference is a
wrong program and never a rounding. Each is compiled with its named dimension fixed, and in the
bounded form, where the number of rows is read at run time and is less than the maximum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from support_cpu import assert_same_bits, plan, run_compiled
from support_passes import optimized

from gradc.compiler.graph.ir import Graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.passes.copy_roots import copy_roots
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.testing.random_graphs import graphs, seeded_graph
from gradc.compiler.testing.values import evaluate_leaves, random_leaves, same_values

Array = np.ndarray[Any, Any]
ROWS, MAXIMUM = 3, 5


def run_all(
    graph: Graph, leaves: Mapping[str, Array], bounded: bool, training: bool
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs and new state of the compiled graph, whose bits are those of the evaluator."""
    lowered = specialize(graph, {} if bounded else {"batch": ROWS}, training=training)
    lowered = copy_roots(optimized(lowered, verify=True))
    names = {str(node.attributes["name"]) for node in graph.inputs}
    program = plan(lowered, {"batch": MAXIMUM} if bounded else None)
    inputs = {name: leaves[name] for name in names}
    state = {name: value for name, value in leaves.items() if name not in names}
    rows = ROWS if bounded else 1
    found = run_compiled(program, inputs, state, rows=rows)
    assert_same_bits(program, found, inputs, state, rows=rows)
    return found


def check(graph: Graph, seed: int, bounded: bool, training: bool) -> None:
    """Outputs and new state equal the evaluator's; a failing graph is printed as text."""
    dims = {"batch": ROWS}
    leaves = random_leaves(graph, np.random.default_rng(seed), False, dims)
    expected = evaluate_leaves(graph, leaves, dims, training)
    outputs, state = run_all(graph, leaves, bounded, training)
    for name, value in expected.outputs.items():
        assert same_values(value, outputs[name], False), (
            f"output {name}: expected\n{value}\nfound\n{outputs[name]}\n{print_graph(graph)}"
        )
    for name, value in state.items():
        wanted = expected.state[name] if training else leaves[name]
        assert same_values(wanted, value, False), (
            f"state {name}: expected\n{wanted}\nfound\n{value}\n{print_graph(graph)}"
        )


def check_bits(graph: Graph, seed: int, bounded: bool, training: bool) -> None:
    """Any operations, a quarter of the seeds on special values: to the last bit what the program's
    text says."""
    leaves = random_leaves(graph, np.random.default_rng(seed), seed % 4 == 0, {"batch": ROWS})
    run_all(graph, leaves, bounded, training)


@pytest.mark.parametrize("seed", range(120))
def test_a_random_graph_keeps_its_values(seed: int) -> None:
    check(seeded_graph(seed, ring=True), seed, bounded=False, training=seed % 2 == 0)


@pytest.mark.parametrize("seed", range(120, 200))
def test_a_random_graph_keeps_its_values_with_rows_read_at_run_time(seed: int) -> None:
    check(seeded_graph(seed, ring=True), seed, bounded=True, training=seed % 2 == 0)


@pytest.mark.parametrize("seed", range(200, 300))
def test_any_operation_is_computed_to_the_last_bit(seed: int) -> None:
    check_bits(seeded_graph(seed), seed, bounded=seed % 3 == 0, training=seed % 2 == 0)


@settings(max_examples=25, deadline=None)
@given(graph=graphs(ring=True, size=16))
def test_any_graph_keeps_its_values(graph: Graph) -> None:
    check(graph, 0, bounded=False, training=True)
