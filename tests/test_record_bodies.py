"""Every function of every lowering is what decides the value: one that is broken changes it.

A function that nobody calls, because its operation is known somewhere else by name, would leave all
examples right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from catalogue_examples import EXAMPLES, Example
from support_cpu import plan

from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph, Node
from gradc.compiler.ops import CATALOGUE
from gradc.compiler.ops.definition import Elementwise, Indexed, OpDef
from gradc.compiler.passes.copy_roots import copy_roots
from gradc.compiler.program.evaluate import run_program

Array = np.ndarray[Any, Any]


def _broken(*given: Any, **attributes: Any) -> Any:
    """A function of a lowering that does nothing of what it should."""
    raise LookupError("the broken function was called")


def broken_records() -> list[Any]:
    """(record, the record with one function of its lowering broken)."""
    found = []
    for op in CATALOGUE:
        for field in dataclasses.fields(op.lowering):
            if callable(getattr(op.lowering, field.name)):
                change: Any = {field.name: _broken}
                lowering = dataclasses.replace(op.lowering, **change)
                broken = dataclasses.replace(op, lowering=lowering)
                found.append(pytest.param(op, broken, id=f"{op.name}-{field.name}"))
    return found


def _with_record(graph: Graph, op: OpDef, record: OpDef) -> Graph:
    """The graph with another record in the place of `op`."""

    def swapped(node: Node) -> Node:
        if node.op is not op:
            return node
        return Node(record, node.inputs, node.attributes, node.type, node.source)

    return graph.rewrite(swapped)


def _value(example: Example, op: OpDef, record: OpDef) -> Array:
    graph, inputs, state = example.graph()
    program = plan(copy_roots(_with_record(graph, op, record)))
    return run_program(program, inputs, state)[0]["y"]


def _small(op: OpDef) -> list[Example]:
    """Examples of an operation that are quick to compute, with something to compute."""
    made = (e for e in EXAMPLES[op.name](op.name) if all(0 < a.size <= 100 for a in e.operands))
    return [e for e in made if e.graph()[0].outputs[0][1].type.size_elements][:40]


@pytest.mark.parametrize(("op", "broken"), broken_records())
def test_a_broken_function_is_called(op: OpDef, broken: OpDef) -> None:
    caught = 0
    for example in _small(op):
        _value(example, op, op)
        try:
            _value(example, op, broken)
        except LookupError:
            caught += 1
    assert caught


def _wrong(body: Callable[..., Any]) -> Callable[..., Any]:
    """The body with its result replaced by a number that it hardly ever gives."""

    def replaced(k: Any, *given: Any, **attributes: Any) -> Any:
        result = body(k, *given, **attributes)
        return k.constant(True if result.dtype.is_bool else 99, result.dtype)

    return replaced


POINTWISE = [op for op in CATALOGUE if isinstance(op.lowering, Elementwise | Indexed)]


@pytest.mark.parametrize("op", POINTWISE, ids=lambda op: op.name)
def test_the_body_is_the_value(op: OpDef) -> None:
    """With another body the examples disagree with the reference value."""
    lowering: Any = op.lowering
    wrong = dataclasses.replace(
        op, lowering=dataclasses.replace(lowering, body=_wrong(lowering.body))
    )
    found = []
    for example in _small(op):
        graph, inputs, state = example.graph()
        expected = evaluate(graph, inputs, state)[0]["y"]
        found.append(_value(example, op, wrong).tobytes() != expected.tobytes())
    assert any(found)
