"""Primitives that have one right result: the evaluator's and compiled code's are equal bit for bit.

The others are not exact by their records; with compiled code's own values for those, what an
evaluator computes of a program with orders is what compiled code computes, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support_cpu import run_compiled
from support_primitives import compiled_primitive

from gradc.compiler.loops.evaluate import primitive_value
from gradc.compiler.loops.primitives import PRIMITIVES
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.text import parse_program
from gradc.compiler.testing.values import same_values
from gradc.compiler.types import DTYPES, DType, bool_, float32

Array = np.ndarray[Any, Any]
EXTENT = 700
ELSEWHERE = {"cast", "bitcast", "philox"}  # below, and in test_loops.py and test_cpu_scalar.py
NEVER_BOOL = ("sub", "neg", "floor_div", "mod", "fma", "sign", "pow")


def operands_of(op: str, dtype: DType) -> list[DType]:
    first = bool_ if op == "select" else dtype
    return [first, *[dtype] * (PRIMITIVES[op].arity - 1)]


def is_defined(op: str, dtype: DType) -> bool:
    """Whether it takes operands of the dtype, and has one right result for them."""
    record, operands = PRIMITIVES[op], operands_of(op, dtype)
    result = record.dtypes.result(operands)
    if result is None or not record.dtypes.fit(operands, result):
        return False
    if dtype.is_bool and op in NEVER_BOOL:
        return False
    return record.exact or not dtype.is_float


def every(dtype: DType, rng: np.random.Generator) -> Array:
    """Numbers of all sizes, small whole ones and special ones among them."""
    if dtype.is_bool:
        return rng.random(EXTENT) < 0.5
    bits = rng.integers(0, 2**dtype.bits, EXTENT, np.uint64, False)
    any_bits = bits.astype(f"u{dtype.size_bytes}").view(dtype.numpy)
    small = rng.integers(0 if dtype.kind == "uint" else -5, 6, EXTENT)
    special = [0, 1, *([-0.0, np.nan, np.inf, -np.inf, 0.5, -1.5] if dtype.is_float else [])]
    kinds = rng.integers(0, 3, EXTENT)
    picked = np.array(special).astype(dtype.numpy)[rng.integers(0, len(special), EXTENT)]
    with np.errstate(all="ignore"):
        return np.choose(kinds, [any_bits, small.astype(dtype.numpy), picked])


def program_of(ops: list[str], dtype: DType) -> str:
    """One kernel that applies each primitive to up to three inputs."""
    lines, outputs, buffers = [], [], []
    for number, op in enumerate(ops):
        args = ["%a[i]", "%b[i]", "%c[i]"][: PRIMITIVES[op].arity]
        if op == "select":
            args[0] = "lt(%a[i], %b[i])"
        result = PRIMITIVES[op].dtypes.result(operands_of(op, dtype))
        outputs.append(f"output %{op} : {result}[{EXTENT}]")
        buffers.append(f"buffer %y{number} : {result}[{EXTENT}] in output slot {number}")
        lines.append(f"%y{number}[i] = {op}({', '.join(args)})")
    type = f"{dtype}[{EXTENT}]"
    inputs = [f"input %{name} : {type}" for name in "abc"]
    buffers += [f"buffer %{name} : {type} in input slot {n}" for n, name in enumerate("abc")]
    kernel = [f"kernel k {{ parallel i in {EXTENT} loop {{", *lines, "} }"]
    return "\n".join(["program p {", *inputs, *outputs, *buffers, *kernel, "}"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_primitive_with_one_right_result_is_computed_alike(dtype: DType) -> None:
    ops = sorted(op for op in PRIMITIVES.keys() - ELSEWHERE if is_defined(op, dtype))
    program = parse_program(program_of(ops, dtype))
    rng = np.random.default_rng(0)
    inputs = {name: every(dtype, rng) for name in "abc"}
    compiled, _ = run_compiled(program, inputs)
    evaluated, _ = run_program(program, inputs)
    for op in ops:
        assert same_values(compiled[op], evaluated[op], True), difference(
            compiled[op], evaluated[op], inputs
        )


def test_every_primitive_has_one_right_result_or_is_inexact() -> None:
    compared = {op for op in PRIMITIVES for dtype in DTYPES if is_defined(op, dtype)}
    inexact = {op for op, record in PRIMITIVES.items() if not record.exact}
    assert compared | inexact | ELSEWHERE == PRIMITIVES.keys()
    assert compared & inexact == {"pow"}


def difference(found: Array, wanted: Array, inputs: dict[str, Array]) -> str:
    where = np.flatnonzero((found != wanted) | (np.signbit(found) != np.signbit(wanted)))[:5]
    return f"{[[a[n] for a in (*inputs.values(), found, wanted)] for n in where]}"


@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_casts_are_computed_alike(source: DType) -> None:
    rng = np.random.default_rng(1)
    lines = [f"%y{n}[i] = cast(%a[i]) : {dtype}" for n, dtype in enumerate(DTYPES)]
    outputs = [f"output %y{n} : {dtype}[{EXTENT}]" for n, dtype in enumerate(DTYPES)]
    buffers = [
        f"buffer %y{n} : {dtype}[{EXTENT}] in output slot {n}" for n, dtype in enumerate(DTYPES)
    ]
    program = parse_program(
        "\n".join(
            ["program p {", f"input %a : {source}[{EXTENT}]", *outputs, *buffers]
            + [f"buffer %a : {source}[{EXTENT}] in input slot 0"]
            + [f"kernel k {{ parallel i in {EXTENT} loop {{", *lines, "} } }"]
        )
    )
    inputs = {"a": every(source, rng)}
    compiled, _ = run_compiled(program, inputs)
    evaluated, _ = run_program(program, inputs)
    for name, array in compiled.items():
        assert same_values(array, evaluated[name], True), difference(array, evaluated[name], inputs)


def test_an_inexact_primitive_is_that_of_compiled_code_on_any_shape() -> None:
    x = np.linspace(-3, 3, 35, dtype=np.float32).reshape(5, 7)
    for op, args in (("tanh", [x]), ("pow", [np.abs(x), x[:1]])):
        found = compiled_primitive(op, args, float32)
        assert found.shape == (5, 7) and found.dtype == np.float32
        np.testing.assert_allclose(found, primitive_value(op, args, float32), rtol=1e-6)
