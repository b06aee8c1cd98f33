"""What random functions promise at their limits: intervals, certainties, dtypes, arguments.

Random bits of 0 and of all ones give the least and the greatest value of every function here, so
these are put in place of the generator; the generator itself is asked in millions once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc import nn
from gradc.random import _scale_words

FLOATS = (gc.float16, gc.bfloat16, gc.float32, gc.float64)
INTEGERS = (gc.int8, gc.int16, gc.int32, gc.int64, gc.uint8)
PATTERNS = np.array([0, -1, 1, -2, 2**31 - 1, -(2**31), 0x7FFFFF00, 255, -256], np.int32)


@pytest.fixture
def all_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call of random.bits gives the same extreme patterns."""
    monkeypatch.setattr(gc.random, "bits", lambda shape: gc.constant(PATTERNS))


def drawn(tensor: gc.Tensor) -> Any:
    return values(tensor).astype(np.float64)


HERE = ("bernoulli", "bits", "categorical", "normal", "randint", "uniform")
ELSEWHERE = (  # in test_distributions.py, and with extreme bits below
    "beta", "binomial", "exponential", "gamma", "geometric", "gumbel", "laplace", "lognormal",
    "multinomial", "permutation", "poisson", "randperm",
)  # fmt: skip


def test_every_random_function_is_here() -> None:
    assert set(gc.random.__all__) == {*HERE, *ELSEWHERE}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_extreme_bits_give_finite_numbers(all_bits: None, dtype: Any) -> None:
    for function in (gc.random.exponential, gc.random.laplace, gc.random.gumbel):
        found = drawn(function((9,), dtype=dtype))
        assert np.isfinite(found).all()
        rounded = dtype.bits == 16  # where the least numbers become 0
        assert function is not gc.random.exponential or rounded or found.min() > 0
    assert np.isfinite(drawn(gc.random.lognormal((9,), dtype=dtype))).all()
    assert drawn(gc.random.geometric(1e-6, (9,))).min() >= 1


INTERVALS = [
    (0.0, 1.0), (100.0, 101.0), (-3.0, 0.0), (-1.0, 1.0), (0.1, 0.7), (1e-3, 2e-3), (-0.3, 4e4),
    (1000.0, 1002.0), (-60000.0, -59000.0), (0.0, 3e-5), (-math.pi, math.e), (255.0, 257.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_uniform_keeps_its_interval(all_bits: None, low: float, high: float, dtype: Any) -> None:
    found = drawn(gc.random.uniform((9,), low, high, dtype))
    assert found.min() >= low and found.max() < high
    assert found[0] == found.min() and found[1] == found.max()
    step = 2.0 ** -{gc.float16: 10, gc.bfloat16: 7, gc.float32: 23, gc.float64: 52}[dtype]
    size = max(abs(low), abs(high))
    assert found.min() - low <= 2 * size * step and high - found.max() <= 4 * size * step


def test_uniform_keeps_its_interval_among_millions() -> None:
    found = gc.compile(gc.random.uniform((4_000_000,), 100, 101))()
    assert found.min() >= 100 and found.max() < 101


def test_float64_draws_53_bits() -> None:
    found = values(gc.random.uniform((2000,), dtype=gc.float64)) * 2.0**53
    np.testing.assert_array_equal(found, np.trunc(found))
    for bit in range(53):
        share = ((found.astype(np.int64) >> bit) & 1).mean()
        assert 0.4 < share < 0.6


@pytest.mark.parametrize(
    ("low", "high", "dtype", "problem"),
    [
        (1.0, 1.0, gc.float32, "low is less than high, not 1.0 and 1.0"),
        (2, 1, gc.float32, "low is less than high, not 2.0 and 1.0"),
        (math.nan, 1.0, gc.float32, "low is a finite number, not nan"),
        (0.0, math.inf, gc.float32, "high is a finite number, not inf"),
        (0.0, "1", gc.float32, "high is a finite number, not '1'"),
        (0.0, 10**400, gc.float32, "high is a finite number, not 1000"),
        (-3e38, 3e38, gc.float32, "are no range of float32"),
        (-1.7e308, 1.7e308, gc.float64, "are no range of float64"),
        (0.0, 1e5, gc.float16, "are no range of float16"),
        (1.00001, 1.00002, gc.float16, "are no range of float16"),
    ],
)
def test_uniform_refuses(low: Any, high: Any, dtype: Any, problem: str) -> None:
    with pytest.raises(gc.ArgumentError, match=f"random.uniform: .*{problem}") as caught:
        gc.random.uniform((3,), low, high, dtype)
    assert "test_random_limits.py" in str(caught.value)


def test_floating_functions_refuse_integer_dtypes() -> None:
    for function in (gc.random.uniform, gc.random.normal):
        with pytest.raises(gc.DTypeError, match="a floating-point dtype is needed, not int32"):
            function((3,), dtype=gc.int32)


# ---------------------------------------------------------------- normal


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_normal_is_finite_and_exact_without_deviation(all_bits: None, dtype: Any) -> None:
    assert np.isfinite(drawn(gc.random.normal((9,), 1, 2, dtype))).all()
    np.testing.assert_array_equal(drawn(gc.random.normal((9,), 3, 0, dtype)), 3)


@pytest.mark.parametrize(
    ("mean", "std", "dtype", "problem"),
    [
        (0.0, -1.0, gc.float32, "mean 0.0 and deviation -1.0 give no float32 numbers"),
        (0.0, 3e4, gc.float16, "mean 0.0 and deviation 30000.0 give no float16 numbers"),
        (math.nan, 1.0, gc.float32, "mean is a finite number, not nan"),
        (0.0, math.inf, gc.float32, "std is a finite number, not inf"),
    ],
)
def test_normal_refuses(mean: float, std: float, dtype: Any, problem: str) -> None:
    with pytest.raises(gc.ArgumentError, match=f"random.normal: {problem}"):
        gc.random.normal((3,), mean, std, dtype)


# ---------------------------------------------------------------- decisions


def test_certain_decisions(all_bits: None) -> None:
    assert not values(gc.random.bernoulli(0.0, (9,))).any()
    assert values(gc.random.bernoulli(1.0, (9,))).all()
    unsigned = PATTERNS.view(np.uint32).astype(np.float64)
    for p in (2.0**-32, 0.25, 0.5, 0.75, 1 - 2.0**-32):
        np.testing.assert_array_equal(values(gc.random.bernoulli(p, (9,))), unsigned < p * 2.0**32)


@pytest.mark.parametrize("p", [-0.1, 1.5, math.nan, "0.5", None, True])
def test_probabilities_are_checked(p: Any) -> None:
    x = gc.input("x", (3,))
    calls: dict[str, Callable[[], Any]] = {
        "random.bernoulli": lambda: gc.random.bernoulli(p, (3,)),
        "dropout": lambda: gc.dropout(x, p),
        "Dropout": lambda: nn.Dropout(p),
    }
    for name, call in calls.items():
        with pytest.raises(gc.ArgumentError, match=f"{name}: a probability lies in 0 to 1, not"):
            call()


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certain_dropout(p: float) -> None:
    x = gc.input("x", (100,))
    y = gc.dropout(x, p)
    data = np.full(100, np.inf, np.float32)
    kept, slope = values([y, gc.grad(y.sum(), x)], x=data, training=True)
    np.testing.assert_array_equal(kept, data if p == 0 else 0 * np.ones(100))
    np.testing.assert_array_equal(slope, 1 - p)


# ---------------------------------------------------------------- integers


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_randint_covers_its_dtype_and_no_more(all_bits: None, dtype: Any) -> None:
    limits = np.iinfo(dtype.numpy)
    for low, high in ((limits.min, limits.max + 1), (3, 100), (limits.max, limits.max + 1)):
        found = values(gc.random.randint(low, high, (9,), dtype))
        assert found.dtype == dtype.numpy
        assert int(found.min()) == low and int(found.max()) == high - 1
    for low, high in ((limits.min - 1, 2), (0, limits.max + 2)):
        problem = f"the numbers {low} to {high - 1} do not fit {dtype.name}"
        with pytest.raises(gc.ArgumentError, match=f"random.randint: {problem}"):
            gc.random.randint(low, high, (9,), dtype)


@pytest.mark.parametrize(
    ("low", "high", "problem"),
    [
        (3, 3, "low is less than high, not 3 and 3"),
        (4, 3, "low is less than high, not 4 and 3"),
        (0.0, 3, "low is an integer, not 0.0"),
        (0, None, "high is an integer, not None"),
    ],
)
def test_randint_refuses(low: Any, high: Any, problem: str) -> None:
    with pytest.raises(gc.ArgumentError, match=f"random.randint: {problem}"):
        gc.random.randint(low, high, (3,))
    with pytest.raises(gc.DTypeError, match="an integer dtype is needed, not float32"):
        gc.random.randint(0, 3, (3,), gc.float32)


SPANS = [
    1, 2, 3, 10, 1000, 1025, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1, 10**12,
    2**42 + 5, 3 * 2**61, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64,
]  # fmt: skip


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_words_are_scaled_as_python_scales_them(span: int, count: int) -> None:
    rng = np.random.default_rng(span % 1000 + count)
    words = rng.integers(0, 2**32, (count, 64))
    words[:, 0], words[:, 1] = 0, 2**32 - 1
    found = values(_scale_words([gc.constant(w) for w in words], span))
    for place in range(64):
        number = 0
        for word in words[:, place]:
            number = (number << 32) | int(word)
        assert int(found[place]) % 2**64 == (number * span) >> (32 * count)


def test_randint_is_even_where_one_word_was_not() -> None:
    """Of 3 * 2**29 numbers, a 32-bit word gives a third twice the share of the others."""
    found = gc.compile(gc.random.randint(0, 3 * 2**29, (300_000,)))()
    share = (found % 3 == 0).mean()
    assert abs(share - 1 / 3) < 0.005
    wide = gc.compile(gc.random.randint(-(2**63), 2**63, (1000,)))()
    assert 0.4 < (wide < 0).mean() < 0.6 and len(np.unique(wide)) == 1000


# ---------------------------------------------------------------- initialisers


SHAPE = (3, 3)


def initial(init: Any, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def bits(shape: Any) -> gc.Tensor:
        return gc.constant(PATTERNS.reshape(SHAPE))

    monkeypatch.setattr(gc.random, "bits", bits)
    return drawn(init.values(SHAPE, dtype))


BOUNDED = {
    "uniform": (gc.init.uniform(100.0, 101.0), 100.0, 101.0),
    "xavier_uniform": (gc.init.xavier_uniform(gain=0.7), -0.7, 0.7),
    "kaiming_uniform": (gc.init.kaiming_uniform(nonlinearity="linear"), -1.0, 1.0),
    "trunc_normal": (gc.init.trunc_normal, -2.0, 2.0),
    "trunc_normal narrow": (gc.init.trunc_normal(0.0, 0.02, -2.0, 2.0), -0.12, 0.12),
    "trunc_normal tail": (gc.init.trunc_normal(0.0, 1.0, 3.0, 4.0), 3.0, 4.0),
    "trunc_normal odd": (gc.init.trunc_normal(0.1, 0.3, -0.1, 0.3), -0.1, 0.3),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", BOUNDED)
def test_initialisers_keep_their_bounds(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    init, low, high = BOUNDED[name]
    found = initial(init, dtype, monkeypatch)
    assert np.isfinite(found).all()
    assert found.min() >= low and found.max() <= high
    if "normal" not in name:
        assert found.max() < high
    assert found[0, 0] == found.min() and found[0, 1] == found.max()


@pytest.mark.parametrize(
    ("init", "problem"),
    [
        (gc.init.uniform(1.0, 0.0), "low is less than high"),
        (gc.init.uniform(0.0, math.inf), "high is a finite number"),
        (gc.init.normal(0.0, -1.0), "deviation -1.0"),
        (gc.init.xavier_uniform(gain=-1.0), "xavier_uniform: gain is not negative, not -1.0"),
        (lambda: gc.init.xavier_normal(gain=math.nan), "xavier_normal: gain is a number, not nan"),
        (gc.init.kaiming_uniform(gain=-1.0), "kaiming_uniform: gain is not negative, not -1.0"),
        (lambda: gc.init.kaiming_normal(a=math.nan), "kaiming_normal: a is a number, not nan"),
        (gc.init.trunc_normal(std=0.0), "trunc_normal: std is positive and a less than b"),
        (gc.init.trunc_normal(a=2.0, b=-2.0), "trunc_normal: std is positive and a less than b"),
        (gc.init.trunc_normal(a=9.0, b=10.0), "trunc_normal: next to nothing of mean 0.0"),
    ],
)
def test_initialisers_refuse(init: Any, problem: str) -> None:
    with pytest.raises(gc.ArgumentError, match=problem):
        made = init if isinstance(init, gc.init.Initializer) else init()
        made.values(SHAPE, gc.float32)


def test_initialisers_of_nothing_and_of_width_zero() -> None:
    for init in (gc.init.xavier_uniform, gc.init.xavier_normal, gc.init.kaiming_uniform):
        assert values(init.values((0, 0), gc.float32)).shape == (0, 0)
        np.testing.assert_array_equal(values(init(gain=0.0).values(SHAPE, gc.float32)), 0)
    np.testing.assert_array_equal(values(gc.init.uniform(2, 2).values(SHAPE, gc.float32)), 2)


def test_compiled_code_draws_the_same_numbers() -> None:
    drawn = [
        *(gc.random.randint(-span // 2, -(-span // 2), (50,)) for span in (7, 3 * 2**29, 2**64)),
        gc.random.randint(0, 10**15, (50,)),
        gc.random.randint(0, 256, (50,), gc.uint8),
        gc.random.uniform((50,), 100, 101),
        gc.random.uniform((50,), -0.3, 0.1, gc.float64),
        *(gc.random.bernoulli(p, (50,)) for p in (0.0, 0.3, 1.0)),
    ]
    for ours, reference in zip(gc.compile(drawn, seed=0)(), values(drawn), strict=True):
        assert ours.dtype == reference.dtype
        np.testing.assert_array_equal(ours, reference)


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (lambda x: gc.random.normal((3,), x, 1.0), "mean + std * gc.random.normal(shape)"),
        (
            lambda x: gc.random.uniform((3,), 0.0, x),
            "low + (high - low) * gc.random.uniform(shape)",
        ),
        (lambda x: gc.random.bernoulli(x, (3,)), "gc.random.uniform(shape) < p"),
    ],
)
def test_a_tensor_is_no_number_of_a_distribution(call: Any, written: str) -> None:
    x = gc.input("x", (3,))
    with pytest.raises(gc.ArgumentError) as caught:
        call(x)
    assert caught.value.hint == f"write {written}"
    form = written.replace("shape", "(3,)")
    names = {"gc": gc, "mean": x, "std": 1.0, "low": 0.0, "high": x, "p": x}
    assert eval(form, names).shape == (3,)
