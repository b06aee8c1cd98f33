"""Empty tensors, scalars, and calls that change nothing: every function, with NumPy's values.

Each call is evaluated by the reference and compiled (all of one kind in one program). Where NumPy
has no such function the value is written down, as PyTorch gives it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from empty_and_identity_calls import CALLS, ONE, ZB, M, S, V, Z
from support import values
from support_functions import numpy_function, own_functions, records
from test_function_rows import ROWS

import gradc as gc
from gradc import functional

EVERY = (Z, ZB, S, ONE)


# ---------------------------------------------------------------- elementwise

BITS = ("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift")
WHOLE = (*BITS, "bitwise_invert")
UNARY = (
    *(n for n in records(1) if numpy_function(n) and n not in WHOLE),
    "logical_not", "positive", "reciprocal", "round", "signbit", "square",
)  # fmt: skip
BINARY = (
    *(n for n in records(2) if numpy_function(n) and n not in WHOLE),
    "add", "divide", "logaddexp", "logical_and", "logical_or", "logical_xor", "subtract",
)  # fmt: skip
# No function of NumPy: the shape stays, and the value of no elements is no element.
SHAPE_KEEPING = (
    *(n for n in records(1) if n not in UNARY),
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid",
    "mish", "relu", "relu6", "rsqrt", "selu", "silu", "softplus", "softsign", "dropout",
    "alpha_dropout", "hardshrink", "rrelu", "softshrink", "tanhshrink",
)  # fmt: skip


def expected_of(name: str, *operands: Any) -> Any:
    theirs = numpy_function(name)
    assert theirs is not None
    with np.errstate(all="ignore"):
        return theirs(*operands)


def compare(results: list[Any], expected: list[Any], names: list[str]) -> None:
    """By the evaluator and by the compiled program."""
    for found in (values(results), gc.compile(results, threads=1)()):
        for name, ours, theirs in zip(names, found, expected, strict=True):
            assert ours.shape == np.shape(theirs), f"{name}: {ours.shape}, not {np.shape(theirs)}"
            np.testing.assert_allclose(ours, theirs, 1e-12, 1e-12, err_msg=name)


def test_unary() -> None:
    cases = [(n, v) for n in UNARY for v in EVERY]
    compare(
        [getattr(gc, n)(gc.constant(v)) for n, v in cases],
        [expected_of(n, v) for n, v in cases],
        [f"{n} of {v.shape}" for n, v in cases],
    )


def test_binary() -> None:
    pairs = [(Z, Z), (Z, S), (ZB, np.ones((1, 3))), (S, S), (ONE, Z), (ONE, S)]
    cases = [(n, *p) for n in BINARY for p in pairs]
    compare(
        [getattr(gc, n)(gc.constant(a), gc.constant(b)) for n, a, b in cases],
        [expected_of(n, a, b) for n, a, b in cases],
        [f"{n} of {a.shape}, {b.shape}" for n, a, b in cases],
    )
    whole = [(n, *(v.astype(int) for v in p)) for n in BITS for p in pairs]
    compare(
        [getattr(gc, n)(gc.constant(a), gc.constant(b)) for n, a, b in whole],
        [expected_of(n, a, b) for n, a, b in whole],
        [f"{n} of {a.shape}, {b.shape}" for n, a, b in whole],
    )


def test_what_keeps_the_shape() -> None:
    for name in SHAPE_KEEPING:
        dtype = int if name == "bitwise_invert" else float
        results = [getattr(gc, name)(gc.constant(v.astype(dtype))) for v in EVERY]
        for found in (values(results), gc.compile(results, threads=1)()):
            assert [f.shape for f in found] == [v.shape for v in EVERY], name


# ---------------------------------------------------------------- reductions

REDUCTIONS = ("sum", "prod", "mean", "var", "std", "all", "any")
EXTREMA = ("max", "min", "argmax", "argmin")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_reductions() -> None:
    """Of no elements: 0, 1, NaN, true, false. A scalar has an axis 0 and -1, as in NumPy."""
    cases: list[tuple[str, Any, Any]] = []
    for name in REDUCTIONS:
        cases += [(name, v, axis) for v in (Z, S) for axis in (None, 0, -1, ())]
        cases += [(name, ZB, axis) for axis in (None, 0, 1, -1, (0, 2), (0, 1), (), (0, 1, 2))]
    for name in EXTREMA:
        cases += [(name, S, axis) for axis in (None, 0, -1)]
        cases += [(name, ONE, axis) for axis in (None, 0, 1)]
        cases += [(name, ZB, axis) for axis in (0, 2)]
    cases += [(name, v, ()) for name in ("max", "min") for v in (S, M, ZB)]
    for keepdims in (False, True):
        compare(
            [getattr(gc, n)(gc.constant(v), axis=a, keepdims=keepdims) for n, v, a in cases],
            [getattr(np, n)(v, axis=a if v.ndim else None, keepdims=keepdims) for n, v, a in cases],
            [f"{n} of {v.shape} along {a}, keepdims={keepdims}" for n, v, a in cases],
        )


@pytest.mark.parametrize("name", EXTREMA)
def test_extrema_of_nothing_are_refused(name: str) -> None:
    for value, axis in ((Z, None), (Z, 0), (ZB, 1), (ZB, None)):
        with pytest.raises(gc.ShapeError, match="no elements") as caught:
            getattr(gc, name)(gc.constant(value), axis=axis)
        assert caught.value.operation == name


@pytest.mark.parametrize("name", (*REDUCTIONS, *EXTREMA, "flip", "squeeze", "logsumexp"))
def test_a_scalar_has_no_axis_1(name: str) -> None:
    for axis in (1, -2):
        with pytest.raises(gc.ShapeError, match="out of range") as caught:
            getattr(gc, name)(gc.constant(S), axis=axis)
        assert caught.value.operation == name


RUNNING = {"cummax": np.maximum.accumulate, "cummin": np.minimum.accumulate}
CUMULATIONS = ("cumsum", "cumprod", "cumulative_sum", "cumulative_prod", *RUNNING)


def test_cumulations() -> None:
    cases = [(Z, 0), (ZB, 0), (ZB, 1), (ZB, 2), (ONE, 0), (M, 1)]
    for name in CUMULATIONS:
        theirs = RUNNING.get(name) or getattr(np, name.replace("ulative_", ""))
        compare(
            [getattr(gc, name)(gc.constant(v), axis=a) for v, a in cases],
            [theirs(v, axis=a) for v, a in cases],
            [f"{name} of {v.shape} along {a}" for v, a in cases],
        )


# ---------------------------------------------------------------- one call each

QUESTIONS = {
    "broadcast_shapes", "can_cast", "finfo", "iinfo", "is_floating_point", "is_tensor", "isdtype",
    "numel", "result_type",
}  # fmt: skip


def test_every_function_has_a_case() -> None:
    public = own_functions(functional)
    covered = {
        *CALLS,
        *ROWS,
        *UNARY,
        *BINARY,
        *BITS,
        *SHAPE_KEEPING,
        *REDUCTIONS,
        *EXTREMA,
        *CUMULATIONS,
    }
    assert public == covered | QUESTIONS


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_call(name: str) -> None:
    results = [call() for call, _ in CALLS[name]]
    expected = [wanted for _, wanted in CALLS[name]]
    for found in (values(results), gc.compile(results, threads=1)()):
        for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            assert ours.shape == np.shape(theirs), f"case {number}: {ours.shape}"
            np.testing.assert_allclose(
                ours.astype(np.float64), theirs, 1e-6, 1e-6, err_msg=f"case {number}"
            )


def test_nothing_to_do_adds_no_node() -> None:
    """The identity is the operand itself, so that programs do not grow by it."""
    x = gc.input("x", (2, 3))
    for same in (
        gc.swapaxes(x, 1, 1), gc.moveaxis(x, 0, 0), gc.permute_dims(x, (0, 1)), gc.roll(x, 0, 0),
        gc.tile(x, ()), gc.concat([x]), gc.split(x, 2)[0], gc.pad(x, (0, 0)), gc.flip(x, ()),
        gc.reshape(x, (2, -1)), gc.sum(x, axis=()), gc.max(x, axis=()), x[...], x[:, :],
        gc.squeeze(x), gc.clip(x), gc.expand_dims(x, ()), gc.broadcast_to(x, (2, 3)),
        gc.astype(x, gc.float32),
        gc.einsum("ij->ij", x), gc.repeat(x, 1, axis=0),
    ):  # fmt: skip
        assert same.node is x.node, same


def test_lists_of_nothing() -> None:
    assert gc.meshgrid() == [] and gc.broadcast_arrays() == []
    assert gc.unstack(gc.constant(Z)) == () and gc.split(gc.constant(Z), []) == ()
    for call in (lambda: gc.concat([]), lambda: gc.stack([])):
        with pytest.raises(gc.ArgumentError, match="at least one operand"):
            call()


def test_gradients_of_nothing() -> None:
    """They have the shape of the operand and no NaN where there is an element."""
    e = gc.input("e", (2, 0, 3), gc.float64)
    for y in (
        gc.logsumexp(e, 0),
        gc.softmax(e, 1),
        gc.log_softmax(e, 1),
        gc.std(e, 0),
        gc.pad(e, (1, 1)),
    ):
        slope = gc.grad(gc.sum(y), e)
        assert values(slope, e=ZB).shape == ZB.shape
        assert gc.compile(slope)(e=ZB).shape == ZB.shape
    s = gc.input("s", (), gc.float64)
    for y, wanted in ((gc.max(s, axis=0), 1.0), (gc.softmax(s), 0.0), (gc.logsumexp(s, -1), 1.0)):
        assert float(values(gc.grad(y, s), s=2.0)) == wanted


def test_gradients_of_products_of_nothing() -> None:
    """Results without bytes are written over no operand: they have places of their own."""
    square, tall = gc.input("square", (0, 0), gc.float64), gc.input("tall", (3, 0), gc.float64)
    tokens = gc.input("tokens", (2, 0, 4), gc.float64)
    for name, x, y in (
        ("square", square, gc.slogdet(square)[1]),
        ("square", square, gc.lu(square)[2]),
        ("tall", tall, gc.lstsq(tall, np.ones((3, 2))).solution),
        ("tokens", tokens, gc.scaled_dot_product_attention(tokens, tokens, tokens)),
    ):
        empty = np.zeros(x.shape)
        found = gc.compile({"y": y, "slope": gc.grad(gc.sum(y), x)})(**{name: empty})
        assert found["slope"].shape == empty.shape


def test_more_is_cut_than_there_is() -> None:
    for margins, mode in (
        ((-4, 0), "constant"), ((-2, -2), "constant"), ((-4, 9), "constant"),
        ((3, 0), "reflect"), ((0, 4), "circular"), ((-4, 0), "replicate"),
    ):  # fmt: skip
        with pytest.raises(gc.ShapeError) as caught:
            gc.pad(gc.constant(V), margins, mode)
        assert caught.value.operation == "pad"
