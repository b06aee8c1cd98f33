"""The records of the combiners: what one says of itself in one field agrees with the others."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from support_cpu import random_array

from gradc.compiler.errors import CompileError
from gradc.compiler.loops.combiners import (
    ARGMAX,
    COMBINERS,
    DOT,
    PROD,
    SUM,
    Combiner,
    every_combiner,
)
from gradc.compiler.testing.values import same_values
from gradc.compiler.types import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)

CASES = [(c, d) for c in COMBINERS.values() for d in DTYPES if d.is_bool or not c.of_bool]
by_combiner_and_dtype = pytest.mark.parametrize(("combiner", "dtype"), CASES, ids=str)


def terms(dtype: DType) -> list[np.ndarray]:
    return list(random_array(np.random.default_rng(0), (40,), dtype, special=0.1))


@by_combiner_and_dtype
def test_the_identity_changes_no_term(combiner: Combiner, dtype: DType) -> None:
    """But for the sign of a zero: 0.0 + -0.0 is 0.0."""
    step = combiner.step_of(dtype).value
    identity = dtype.numpy.type(combiner.identity(dtype))
    for term in terms(dtype):
        with np.errstate(all="ignore"):
            found = np.asarray(step(identity, term))
        assert found.dtype == dtype.numpy
        assert same_values(found, np.asarray(term), False), term


@by_combiner_and_dtype
def test_steps_come_to_the_value(combiner: Combiner, dtype: DType) -> None:
    """To the place of what wins, where that is the value; to within roundings, where it rounds."""
    step, listed = combiner.step_of(dtype).value, terms(dtype)
    if combiner.rounds(dtype):
        listed = [term for term in listed if np.isfinite(term.astype(np.float64))]
    wide = np.array(listed).astype(np.float64 if dtype.is_float else dtype.numpy)
    value = combiner.value(wide, axis=0)
    with np.errstate(all="ignore"):
        stepped = functools.reduce(step, list(wide))
    if combiner.position:
        value = wide[value]
    if combiner.rounds(dtype):
        np.testing.assert_allclose(stepped, value, rtol=1e-12)
    else:
        assert same_values(np.asarray(stepped), np.asarray(value, wide.dtype), False)


def test_dtypes_of_partial_results_and_of_results() -> None:
    for combiner, dtype in CASES:
        is_rounded = combiner in (SUM, DOT, PROD) and dtype.is_float
        assert combiner.rounds(dtype) == is_rounded
        wide = float32 if is_rounded and dtype in (float16, bfloat16) else dtype
        assert combiner.partial_dtype(dtype) is wide
        result = int64 if combiner.name.startswith("arg") else dtype
        assert combiner.result_dtype(dtype) is result


@pytest.mark.parametrize(
    ("name", "dtype", "wanted"),
    [
        ("sum", float64, 0), ("dot", int32, 0), ("prod", float32, 1), ("any", bool_, False),
        ("all", bool_, True), ("max", int8, -128), ("min", int8, 127), ("max", bool_, False),
        ("argmin", bool_, True), ("argmax", float32, -np.inf), ("min", float16, np.inf),
    ],
)  # fmt: skip
def test_identities(name: str, dtype: DType, wanted: float) -> None:
    assert COMBINERS[name].identity(dtype) == wanted


def test_a_back_end_without_a_combiner_is_refused() -> None:
    table = {combiner: None for combiner in COMBINERS.values() if combiner not in (SUM, ARGMAX)}
    wanted = (
        "back end cpu: the combiners are not those of compiler/loops/combiners.py\n"
        "  it lacks argmax, sum"
    )
    with pytest.raises(CompileError, match=re.escape(wanted)):
        every_combiner("cpu", table)
    whole = {combiner: None for combiner in COMBINERS.values()}
    assert every_combiner("cpu", whole) == whole
