"""Examples of the operations that hold regions; see catalogue_examples.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from catalogue_example import Array, Example, generator, sample_array

from gradc.compiler.graph.ir import Graph
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.types import float64

STEP = """
graph step(%c: f64[2, 3], %n: i64[], %x: f64[2, 3], %t: i64[], %w: f64[3, 3], %b: f64[3]) {
  %0 = dot_general %c, %w {
    lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]
  } : f64[2, 3]
  %1 = broadcast %b {axes=[1]} : f64[2, 3]
  %2 = add %0, %1 : f64[2, 3]
  %3 = mul %x, %c : f64[2, 3]
  %4 = add %2, %3 : f64[2, 3]
  %5 = tanh %4 : f64[2, 3]
  %6 = sin %5 : f64[2, 3]
  %7 = cast %t : f64[]
  %8 = broadcast %7 {axes=[]} : f64[2, 3]
  %9 = mul %6, %8 : f64[2, 3]
  %10 = add %n, %t : i64[]
  return %5, %10, %9, %10
}
"""

SUM = """
graph total(%c: f32[3], %x: f32[3]) {
  %0 = add %c, %x : f32[3]
  return %0, %0
}
"""

TAKEN = """
graph taken(%x: f64[3], %y: f64[3], %n: i64[]) {
  %0 = mul %x, %y : f64[3]
  %1 = exp %x : f64[3]
  return %0, %1
}
"""

NOT_TAKEN = """
graph not_taken(%x: f64[3], %y: f64[3], %n: i64[]) {
  %0 = sin %y : f64[3]
  %1 = mul %0, %0 : f64[3]
  return %0, %1
}
"""

HOLDS = """
graph holds(%x: f64[3], %n: i64[], %w: f64[3]) {
  %0 = constant {value=3} : i64[]
  %1 = lt %n, %0 : bool[]
  return %1
}
"""

BODY = """
graph body(%x: f64[3], %n: i64[], %w: f64[3]) {
  %0 = mul %x, %w : f64[3]
  %1 = sin %0 : f64[3]
  %2 = constant {value=1} : i64[]
  %3 = add %n, %2 : i64[]
  return %1, %3
}
"""


def _graph(text: str) -> Graph:
    return parse_graph(text)


def _floats(name: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = generator(name)
    return [sample_array(rng, float64, shape, -1, 1) for shape in shapes]


def _scans(name: str, index: int) -> list[Example]:
    c, x, w, b = _floats(name, (2, 3), (4, 2, 3), (3, 3), (3,))
    times = np.arange(4, dtype=np.int64)
    operands = (c, np.asarray(np.int64(5)), x, times, w, b)
    made = []
    for reverse in (False, True):
        attributes: dict[str, Any] = {"carries": 2, "xs": 2, "reverse": reverse}
        attributes["body"] = _graph(STEP)
        made.append(Example("scan", operands, attributes, index=index))
    return made


def scan_examples(name: str) -> list[Example]:
    """The last carry and the first stack; one, no and many elements; special values."""
    made = [*_scans(name, 0), *_scans(name, 2)]
    special = np.array([np.nan, np.inf, -0.0, 0.0, 1.0, -1e30], np.float32)
    for length in (1, 0, 7):
        rows = np.resize(special, (length, 3))
        attributes = {"carries": 1, "xs": 1, "reverse": False, "body": _graph(SUM)}
        operands = (np.array([1, -0.0, 2], np.float32), rows)
        made += [Example("scan", operands, attributes, index=index) for index in (0, 1)]
    return made


def result_examples(name: str) -> list[Example]:
    """Results of every kind of one scan."""
    return [replace(example, index=index) for index in (1, 3) for example in _scans(name, 0)]


def cond_examples(name: str) -> list[Example]:
    x, y = _floats(name, (3,), (3,))
    branches = {"then": _graph(TAKEN), "otherwise": _graph(NOT_TAKEN)}
    counter = np.asarray(np.int64(1))
    return [
        Example(name, (np.asarray(holds), x, y, counter), branches, index=index)
        for holds in (False, True)
        for index in (0, 1)
    ]


def while_examples(name: str) -> list[Example]:
    """More iterations than the bound allows, fewer, and none."""
    x, w = _floats(name, (3,), (3,))
    regions = {"condition": _graph(HOLDS), "body": _graph(BODY), "carries": 2}
    return [
        Example(name, (x, np.asarray(np.int64(begin)), w), {**regions, "bound": bound})
        for begin, bound in ((0, 5), (0, 2), (3, 5), (0, 0))
    ] + [Example(name, (x, np.asarray(np.int64(1)), w), regions, index=1)]


def smooth_scans(name: str) -> list[Example]:
    return [*_scans(name, 0), *_scans(name, 2)]


def smooth_whiles(name: str) -> list[Example]:
    return [example for example in while_examples(name) if "bound" in example.attributes]


def checkpoint_examples(name: str) -> list[Example]:
    x, y = _floats(name, (3,), (3,))
    operands = (x, y, np.asarray(np.int64(1)))
    body = {"body": _graph(TAKEN)}
    return [Example(name, operands, body, index=index) for index in (0, 1)]


def custom_gradient_examples(name: str) -> list[Example]:
    """Of two results, the second no float, with respect to one operand; two captures."""
    pullback = """
    graph pullback(%dy: f64[3], %w: f64[3], %k: f64[]) {
      %0 = mul %dy, %w : f64[3]
      %1 = broadcast %k {axes=[]} : f64[3]
      %2 = mul %0, %1 : f64[3]
      return %2
    }
    """
    y, x, w = _floats(name, (3,), (3,), (3,))
    operands = (y, np.asarray(np.int64(1)), x, w, np.asarray(2.0))
    attributes = {"pullback": _graph(pullback), "results": 2, "wrt": 1}
    return [Example(name, operands, attributes, index=index) for index in (0, 1)]


REGION_EXAMPLES: Mapping[str, Callable[[str], list[Example]]] = {
    "result": result_examples,
    "scan": scan_examples,
    "cond": cond_examples,
    "while": while_examples,
    "checkpoint": checkpoint_examples,
    "custom_gradient": custom_gradient_examples,
}
