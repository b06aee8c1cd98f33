"""Every function of every lowering is what decides the value: one that is broken changes it.

A function that nobody calls, because its operation is known somewhere else by name, would leave all
examples right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from catalogue_examples import EXAMPLES, Example
from support_cpu import plan

from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.ops import CATALOGUE
from gradc.compiler.ops.definition import Elementwise, Indexed, OpDef, Part
from gradc.compiler.passes.copy_roots import copy_roots
from gradc.compiler.passes.decompose import decompose
from gradc.compiler.program.evaluate import run_program

Array = np.ndarray[Any, Any]


def _broken(*given: Any, **attributes: Any) -> Any:
    """A function of a lowering that does nothing of what it should."""
    raise LookupError("the broken function was called")


def functions_of_lowerings() -> list[Any]:
    """Every record with the name of each function in its lowering."""
    return [
        pytest.param(op, field.name, id=f"{op.name}-{field.name}")
        for op in CATALOGUE
        if not isinstance(op.lowering, Part)  # which program text does not have
        for field in dataclasses.fields(op.lowering)
        if callable(getattr(op.lowering, field.name))
    ]


@contextmanager
def replaced(op: OpDef, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """The record with another function in its lowering: in place, for passes know their records."""
    own = getattr(op.lowering, name)
    object.__setattr__(op.lowering, name, function)
    try:
        yield
    finally:
        object.__setattr__(op.lowering, name, own)


def _value(example: Example) -> Array:
    graph, inputs, state = example.graph()
    return run_program(plan(copy_roots(decompose(graph))), inputs, state)[0]["y"]


def _small(op: OpDef) -> list[Example]:
    """Examples of an operation that are quick to compute, with something to compute."""
    made = (e for e in EXAMPLES[op.name](op.name) if all(0 < a.size <= 100 for a in e.operands))
    return [e for e in made if e.graph()[0].outputs[0][1].type.size_elements][:40]


@pytest.mark.parametrize(("op", "name"), functions_of_lowerings())
def test_a_broken_function_is_called(op: OpDef, name: str) -> None:
    caught = 0
    for example in _small(op):
        with replaced(op, name, _broken):
            try:
                _value(example)
            except LookupError:
                caught += 1
    assert caught


def _wrong(body: Callable[..., Any]) -> Callable[..., Any]:
    """The body with its result replaced by a number that it hardly ever gives."""

    def instead(k: Any, *given: Any, **attributes: Any) -> Any:
        result = body(k, *given, **attributes)
        return k.constant(True if result.dtype.is_bool else 99, result.dtype)

    return instead


POINTWISE = [op for op in CATALOGUE if isinstance(op.lowering, Elementwise | Indexed)]


@pytest.mark.parametrize("op", POINTWISE, ids=lambda op: op.name)
def test_the_body_is_the_value(op: OpDef) -> None:
    """With another body the examples disagree with the reference value."""
    lowering: Any = op.lowering
    found = []
    for example in _small(op):
        graph, inputs, state = example.graph()
        expected = evaluate(graph, inputs, state)[0]["y"]
        with replaced(op, "body", _wrong(lowering.body)):
            found.append(_value(example).tobytes() != expected.tobytes())
    assert any(found)
