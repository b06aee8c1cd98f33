"""Every public function's value and slope at its guards, by the evaluator and by compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from layers_table import LAYERS, LOSSES
from optimizers_table import OPTIMIZERS
from slopes_of_matrices import MATRICES
from slopes_table import CASES, LINEAR, NO_SLOPE, Case
from support import steps, values
from support_functions import own_functions
from test_function_rows import ROWS

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
ALL = [pytest.param(n, c, id=f"{n}-{i}") for n, cases in CASES.items() for i, c in enumerate(cases)]
RELATIVE = {gc.float64: 1e-9, gc.float32: 1e-5}
ABSOLUTE = {gc.float64: 1e-15, gc.float32: 1e-7}


def public_functions() -> set[str]:
    return own_functions(gc) | own_functions(nn.functional)


def test_every_public_function_is_asked() -> None:
    known = [set(CASES), set(LINEAR), set(NO_SLOPE), set(ROWS) - set(CASES)]
    assert set().union(*known) == public_functions()
    assert sum(map(len, known)) == len(public_functions())


def operand(name: str, given: Any, slope: Any, dtype: Any, inputs: dict[str, Array]) -> Any:
    """An input where a slope is asked for or floats are given; else a constant, or the number."""
    array = np.asarray(given)
    if slope is None and array.ndim == 0:
        return given
    if array.dtype == np.float64:
        inputs[name] = array.astype(dtype.numpy)
        return gc.input(name, array.shape, dtype)
    assert slope is None
    return gc.constant(array)


def built(
    name: str, case: Case, dtype: Any, function: Any = None, prefix: str = "x"
) -> tuple[list[gc.Tensor], dict[str, Array]]:
    """[value, slopes asked for...] of a case, and the arrays of its inputs."""
    inputs: dict[str, Array] = {}
    operands = [
        operand(f"{prefix}{i}", given, slope, dtype, inputs)
        for i, (given, slope) in enumerate(zip(case.operands, case.slopes, strict=True))
    ]
    call = getattr(gc, name) if function is None else function
    y = call(*operands, **(case.options if function is None else {}))
    y = y[0] if isinstance(y, tuple) else y  # the values, not where they stand
    wanted = [t for t, slope in zip(operands, case.slopes, strict=True) if slope is not None]
    given = np.ones(np.shape(case.value)) if case.cotangent is None else np.asarray(case.cotangent)
    cotangent = gc.constant(given.astype(y.dtype.numpy))
    return [y, *(gc.vjp(y, wanted, cotangent) if wanted else [])], inputs


def expected(case: Case) -> list[Any]:
    return [case.value, *(slope for slope in case.slopes if slope is not None)]


def check(found: Sequence[Array], case: Case, dtype: Any) -> None:
    for ours, theirs in zip(found, expected(case), strict=True):
        assert ours.dtype == dtype.numpy
        assert ours.shape == np.shape(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=RELATIVE[dtype], atol=ABSOLUTE[dtype])


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32], ids=str)
@pytest.mark.parametrize(("name", "case"), ALL)
def test_value_and_slope(name: str, case: Case, dtype: Any) -> None:
    tensors, inputs = built(name, case, dtype)
    with np.errstate(all="ignore"):
        check(values(tensors, **inputs), case, dtype)


@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16], ids=str)
@pytest.mark.parametrize(("name", "case"), ALL)
def test_no_nan_in_16_bits(name: str, case: Case, dtype: Any) -> None:
    """A constant such as eps that the dtype rounds to 0 must not bring the NaN back."""
    if name in MATRICES:
        return  # matrices of 16 bits are refused: test_linalg.py
    with np.errstate(all="ignore"):
        tensors, inputs = built(name, case, dtype)
        _, exact = built(name, case, gc.float64)
        if any(np.isinf(a.astype(np.float64) - exact[n]).any() for n, a in inputs.items()):
            return  # the dtype does not hold the operand
        found = values(tensors, **inputs)
    for ours, theirs in zip(found, expected(case), strict=True):
        assert not (np.isnan(ours.astype(np.float64)) & ~np.isnan(theirs)).any()


@pytest.mark.parametrize(("name", "case"), ALL)
def test_forward_slope_is_the_reverse_slope(name: str, case: Case) -> None:
    """A forward derivative differentiates the reverse one: a guard must serve both."""
    asked = [np.asarray(s, np.float64) for s in case.slopes if s is not None]
    finite = all(np.isfinite(s).all() for s in asked) and not np.isnan(case.value).any()
    if not asked or case.cotangent is not None or not finite:
        return
    tensors, inputs = built(name, case, gc.float64)
    value = tensors[0]
    leaves = {t.node.attributes["name"]: t for t in leaves_of(value)}
    wanted = [leaves[f"x{i}"] for i, s in enumerate(case.slopes) if s is not None]
    tangents = [gc.ones(t.shape, t.dtype) for t in wanted]
    moved = gc.jvp(value, wanted, tangents)
    with np.errstate(all="ignore"):
        total = values(gc.sum(moved), **inputs)
    np.testing.assert_allclose(total, sum(s.sum() for s in asked), rtol=1e-9, atol=1e-9)


SECOND_IS_NAN = {
    **dict.fromkeys(("asinh", "atan", "erf", "erfc", "ndtr"), "infinity times 0 at infinity"),
    "pow": "the slope in the exponent of a negative number is NaN",
}


@pytest.mark.parametrize(("name", "case"), ALL)
def test_second_slopes_are_no_nan(name: str, case: Case) -> None:
    """Newton's method meets the guards too."""
    asked = [np.asarray(s, np.float64) for s in case.slopes if s is not None]
    if not asked or not all(np.isfinite(s).all() for s in asked) or name in SECOND_IS_NAN:
        return
    tensors, inputs = built(name, case, gc.float64)
    leaves = {t.node.attributes["name"]: t for t in leaves_of(tensors[0])}
    first = gc.sum(gc.stack([gc.sum(slope) for slope in tensors[1:]]))
    second = gc.grad(first, [leaves[n] for n in inputs if n in leaves])
    with np.errstate(all="ignore"):
        found = values(second, **inputs)
    assert not any(np.isnan(f).any() for f in found)


def leaves_of(tensor: gc.Tensor) -> list[gc.Tensor]:
    waiting, seen = [tensor.node], set()
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(node.inputs)
    return [gc.Tensor(n) for n in seen if n.op.name == "input"]


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32], ids=str)
@pytest.mark.parametrize("start", range(0, len(ALL), 40))
def test_compiled_value_and_slope(start: int, dtype: Any) -> None:
    """Many cases in one program: inputs are named apart by their case."""
    chosen = [p.values for p in ALL[start : start + 40]]
    outputs: dict[str, list[gc.Tensor]] = {}
    arrays: dict[str, Array] = {}
    for number, (name, case) in enumerate(chosen):
        outputs[str(number)], inputs = built(name, case, dtype, prefix=f"c{number}_")
        arrays |= inputs
    found = gc.compile(outputs)(**arrays)
    for number, (_, case) in enumerate(chosen):
        check(found[str(number)], case, dtype)


@pytest.mark.parametrize("name", LINEAR)
def test_what_moves_elements_has_a_constant_slope(name: str) -> None:
    x = gc.input("x", (2, 2), gc.float64)
    y = LINEAR[name](x)
    slope = gc.vjp(y, [x], gc.ones(y.shape, y.dtype))[0]
    at = [values(slope, x=np.full((2, 2), v)) for v in (1.0, np.inf, np.nan)]
    assert np.isfinite(at[0]).all() and at[0].any()
    np.testing.assert_array_equal(at[0], at[1])
    np.testing.assert_array_equal(at[0], at[2])


# ---------------------------------------------------------------- modules


# A layer of a function, or one whose weights begin as those that change nothing.
MODULES = {
    **{name: row.function for name, row in LAYERS.items() if row.function},
    **{loss.layer: name for name, loss in LOSSES.items() if loss.layer},
    "LayerNorm": "layer_norm",
    "RMSNorm": "rms_norm",
}


@pytest.mark.parametrize("name", MODULES)
def test_module(name: str) -> None:
    for case in CASES[MODULES[name]]:
        module = getattr(nn, name)(**case.options)
        tensors, inputs = built(name, case, gc.float32, module)
        with np.errstate(all="ignore"):
            check(values(tensors, **inputs), case, gc.float32)


# ---------------------------------------------------------------- what it is for


def weights_after(loss: gc.Tensor, data: dict[str, Array]) -> Array:
    program = gc.training(loss, optimizer=optim.SGD(lr=0.1))
    trainer = program.compile(seed=0)
    trainer.fit(data, batch_size=4, epochs=2, shuffle=False)
    return np.concatenate([np.ravel(w) for w in trainer.parameters.values()])


@pytest.mark.parametrize("correction", [0, 1])
def test_a_last_batch_of_one_row_leaves_std_finite(correction: int) -> None:
    """Nine rows in batches of four: the last has one row, of which a deviation says nothing."""
    x = gc.input("x", ("batch", 3))
    scores = nn.Linear(3, 2)(x)
    loss = gc.mean(gc.std(scores, axis=0, correction=correction) - scores.mean(axis=0))
    data = {"x": np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)}
    assert np.isfinite(weights_after(loss, data)).all()


def test_a_variance_of_one_row_along_a_named_dimension_is_zero() -> None:
    x = gc.input("x", ("n", 2), gc.float64)
    y = gc.var(x, axis=0, correction=1)
    both = (y, gc.grad(gc.sum(y), x))
    f = gc.compile(both)
    for one_row in (f, gc.compile(both, dims={"n": 1})):
        value, slope = one_row(x=np.array([[3.0, -1.0]]))
        np.testing.assert_array_equal(value, [0, 0])
        np.testing.assert_array_equal(slope, [[0, 0]])
    value, slope = f(x=np.array([[1.0, 0.0], [3.0, 0.0]]))
    np.testing.assert_allclose(value, [2, 0])
    np.testing.assert_allclose(slope, [[-2, 0], [2, 0]])


def test_one_step_from_a_saturated_probability_is_finite() -> None:
    x, t = gc.input("x", ("batch", 1)), gc.input("t", ("batch", 1))
    w = gc.parameter("w", (1,), init=np.array([1.0], np.float32))
    loss = gc.binary_cross_entropy(gc.sigmoid(x * w), t)
    data = {"x": np.array([[1000.0], [-1000.0]], np.float32), "t": np.array([[1.0], [0.0]])}
    np.testing.assert_array_equal(weights_after(loss, data), [1.0])


@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16, gc.float32], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_zero_gradient_moves_nothing(name: str, dtype: Any) -> None:
    """Adam's eps of 1e-8 is 0 in float16, and 0 / 0 is NaN."""
    x = gc.input("x", (2,), dtype)
    w = gc.parameter("w", (2,), dtype, init=np.ones(2, dtype.numpy))
    kind = OPTIMIZERS[name].kind
    decay = {"weight_decay": 0.0} if hasattr(kind, "weight_decay") else {}
    if hasattr(kind, "lambd"):  # decay by another name
        decay["lambd"] = 0.0
    program = gc.training(gc.mean(x * w), optimizer=kind(lr=0.1, **decay))
    after = steps(program, [{"x": np.zeros(2)}] * 3)[-1]["w"]
    np.testing.assert_array_equal(after.astype(np.float64), [1, 1])


def test_a_choice_after_the_singular_step_guards_the_value_alone() -> None:
    """As in PyTorch, and as the documentation of `where` says; the other form guards both."""
    x = gc.input("x", (2,), gc.float64)
    after = gc.where(x > 0, gc.log(x), 0)
    before = gc.where(x > 0, gc.log(gc.where(x > 0, x, 1)), 0)
    for y, slope in ((after, [np.nan, 0.5]), (before, [0.0, 0.5])):
        value, found = gc.compile((y, gc.grad(gc.sum(y), x)))(x=np.array([0.0, 2.0]))
        np.testing.assert_array_equal(value, [0.0, np.log(2.0)])
        np.testing.assert_array_equal(found, slope)


OPTIONS = {
    "huber_loss": "delta", "smooth_l1_loss": "beta", "gaussian_nll_loss": "eps",
    "hinge_embedding_loss": "margin", "normalize": "eps", "cosine_similarity": "eps",
    "celu": "alpha", "softplus": "beta",
}  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, "1", None, True], ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_are_not_numbers_are_refused(name: str, value: Any) -> None:
    x = gc.input("x", (2, 2))
    operands = [x] * len(CASES[name][0].operands)
    with pytest.raises(gc.ArgumentError, match=f"{name}: {OPTIONS[name]} is a number, not"):
        getattr(gc, name)(*operands, **{OPTIONS[name]: value})


def test_divisions_by_an_option_of_zero_are_refused() -> None:
    x = gc.input("x", (2,))
    with pytest.raises(gc.ArgumentError, match="celu: alpha is not 0"):
        gc.celu(x, alpha=0.0)
    with pytest.raises(gc.ArgumentError, match="softplus: beta is not 0"):
        gc.softplus(x, beta=0.0)
