"""Records of scalar primitives: methods of the builder, dtypes, and what a back end must have."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from gradc.compiler.cpu_llvm.scalar import SCALAR
from gradc.compiler.errors import CompileError
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.primitives import PRIMITIVES, Dtypes, Primitive, every_primitive
from gradc.compiler.types import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
)

FIRST_FITTING = (float32, int32, bool_)


def operand_dtypes(record: Primitive[Any]) -> list[DType]:
    if record.dtypes is Dtypes.SELECT:
        return [bool_, float32, float32]
    fitting = (d for d in FIRST_FITTING if record.dtypes.fit([d], record.dtypes.result([d]) or d))
    return [next(fitting)] * record.arity


@pytest.mark.parametrize("record", PRIMITIVES.values(), ids=lambda r: r.name)
def test_the_builder_has_a_method_for_each(record: Primitive[Any]) -> None:
    k = ScalarBuilder()
    dtypes = operand_dtypes(record)
    operands = [k.reduced(f"r{n}", dtype) for n, dtype in enumerate(dtypes)]
    word = record.name + "_" * (record.name in ("and", "or", "not"))
    wanted = record.dtypes.result(dtypes) or int32
    named = {"dtype": wanted} if record.dtypes.result(dtypes) is None else {}
    made = getattr(k, word)(*operands, **named)
    assert (made.op, made.args, made.dtype) == (record.name, tuple(operands), wanted)


def test_there_is_no_other_method() -> None:
    assert not hasattr(ScalarBuilder, "__getattr__")
    with pytest.raises(AttributeError):
        ScalarBuilder().tanhh  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("record", PRIMITIVES.values(), ids=lambda r: r.name)
def test_the_value_takes_the_operands_and_has_the_dtype(record: Primitive[Any]) -> None:
    for dtype in DTYPES:
        operands = [bool_, dtype, dtype] if record.arity == 3 else [dtype] * record.arity
        if record.name == "fma":
            operands = [dtype] * 3
        result = record.dtypes.result(operands)
        named = {"dtype": dtype} if result is None else {}
        if not record.dtypes.fit(operands, result or dtype):
            continue
        if dtype is bool_ and record.name in ("sub", "neg", "pow", "floor_div", "mod", "sign"):
            continue  # NumPy has no such values, and the operations refuse them
        arrays = [np.ones((2, 3), d.numpy) for d in operands]
        with np.errstate(all="ignore"):
            value = record.evaluate(*arrays, **named)
        assert (value.dtype, value.shape) == ((result or dtype).numpy, (2, 3))


def test_values_of_16_bit_floats_are_rounded_once() -> None:
    for dtype in (float16, bfloat16):
        x = np.linspace(0.1, 3, 50).astype(dtype.numpy)
        wide = [PRIMITIVES[n].evaluate(x.astype(np.float32)) for n in ("exp", "log", "tanh")]
        for name, value in zip(("exp", "log", "tanh"), wide, strict=True):
            found = PRIMITIVES[name].evaluate(x)
            np.testing.assert_array_equal(
                found.astype(np.float64), value.astype(dtype.numpy).astype(np.float64)
            )


@pytest.mark.parametrize(
    ("dtypes", "operands", "result", "fits"),
    [
        (Dtypes.ANY, [int32, int32], int32, True),
        (Dtypes.ANY, [int32, int64], int64, False),
        (Dtypes.FLOAT, [int32], int32, False),
        (Dtypes.FLOAT, [bfloat16], bfloat16, True),
        (Dtypes.INTEGER, [bool_, bool_], bool_, False),
        (Dtypes.BITS, [bool_, bool_], bool_, True),
        (Dtypes.BITS, [float32, float32], float32, False),
        (Dtypes.WORD, [int64] * 6, int64, False),
        (Dtypes.PREDICATE, [float64, float64], bool_, True),
        (Dtypes.PREDICATE, [float64, float64], float64, False),
        (Dtypes.SELECT, [bool_, int64, int64], int64, True),
        (Dtypes.SELECT, [int32, int64, int64], int64, False),
        (Dtypes.CAST, [float32], bool_, True),
        (Dtypes.BITCAST, [float32], int32, True),
        (Dtypes.BITCAST, [float32], int64, False),
    ],
)
def test_dtypes(dtypes: Dtypes, operands: list[DType], result: DType, fits: bool) -> None:
    assert dtypes.fit(operands, result) is fits


def test_a_back_end_implements_all_and_nothing_else() -> None:
    table = {name: emit for name, emit in SCALAR.items() if name not in ("tanh", "exp")}
    with pytest.raises(CompileError) as caught:
        every_primitive("moon", {**table, "tanhh": SCALAR["tanh"]})
    assert str(caught.value) == (
        "back end moon: the scalar primitives are not those of compiler/loops/primitives.py\n"
        "  it lacks exp, tanh\n"
        "  there is no tanhh"
    )


def test_every_record_is_read_through_the_class() -> None:
    assert all(inspect.getattr_static(ScalarBuilder, n, None) for n in ("exp", "and_", "philox"))
    assert ScalarBuilder.exp is PRIMITIVES["exp"]
