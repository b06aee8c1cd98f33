"""The CPU back end's scalar primitives: accuracy, special values, NumPy's integer semantics.

Kernels for one table of (primitive, dtypes, lanes) are compiled as one module, then run over
arrays. References are NumPy in a wider format: float64 for float32, long double for float64.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from accuracy import ACCURACY

from gradc.compiler.cpu_llvm.emit import FunctionEmitter, ModuleEmitter
from gradc.compiler.cpu_llvm.jit import LoadedObject, process_engine
from gradc.compiler.cpu_llvm.maths import tables
from gradc.compiler.cpu_llvm.scalar import SCALAR
from gradc.compiler.cpu_llvm.target import (
    assembly,
    compile_module,
    find_target,
    host_has,
)
from gradc.compiler.cpu_llvm.values import llvm_type
from gradc.compiler.errors import DTypeError
from gradc.compiler.loops.primitives import PRIMITIVES, Dtypes
from gradc.compiler.philox import philox
from gradc.compiler.types import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)

faulthandler.enable()
Array = np.ndarray[Any, np.dtype[Any]]
LANES = 16
SAMPLES = 1 << 14


@dataclass(frozen=True)
class Spec:
    """One kernel: out[i] = primitive(in0[i], in1[i], ...)."""

    name: str
    operands: tuple[DType, ...]
    result: DType
    lanes: int
    shared: tuple[int, ...] = ()  # operands of which every lane takes the first element

    @property
    def symbol(self) -> str:
        shorts = "_".join(d.short for d in (*self.operands, self.result))
        return "_".join(["k", self.name, shorts, str(self.lanes), *map(str, self.shared)])


def kernel(spec: Spec) -> FunctionEmitter:
    pointers = [("ptr noalias", f"p{i}") for i in range(len(spec.operands) + 1)]
    f = FunctionEmitter(spec.symbol, [*pointers, ("i64", "n")])
    with f.loop(0, f.parameter(len(pointers)), spec.lanes) as loop:
        arguments = []
        for position, dtype in enumerate(spec.operands):
            scalar, array = llvm_type(dtype), f.parameter(position + 1)
            if position in spec.shared:
                arguments.append(f.load(scalar, array))
            else:
                arguments.append(f.load(scalar, f.gep(array, loop.index, scalar), spec.lanes))
        value = SCALAR[spec.name](f, arguments, spec.operands[-1], spec.result)
        f.store(value, f.gep(f.parameter(0), loop.index, llvm_type(spec.result)))
    f.ret()
    return f


def module_text(specs: Sequence[Spec]) -> str:
    module = ModuleEmitter("scalars")
    for spec in specs:
        module.add(kernel(spec))
    return module.text()


class Kernels:
    """A compiled table of kernels."""

    def __init__(self, specs: Sequence[Spec], target: str = "native") -> None:
        payload = compile_module(module_text(specs), find_target(target))
        self.loaded: LoadedObject = process_engine().load(payload, [s.symbol for s in specs])

    def __call__(self, spec: Spec, *arrays: Array) -> Array:
        count = len(arrays[0])
        padded = -(-count // LANES) * LANES
        inputs = [np.zeros(padded, d.numpy) for d in spec.operands]
        for into, array in zip(inputs, arrays, strict=True):
            into[:count] = array
        out = np.zeros(padded, spec.result.numpy)
        signature = [ctypes.c_void_p] * (len(inputs) + 1) + [ctypes.c_int64]
        call = ctypes.CFUNCTYPE(None, *signature)(self.loaded.address(spec.symbol))
        call(*(a.ctypes.data for a in [out, *inputs]), padded)
        return out[:count]


SPECIAL = (
    0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5,
    -2.5, 1e-5, 1e-10, -1e-10, 10.0, 100.0, 1000.0, 0.25, 8.0, 5e-324, -5e-324, 1e-310, 1e-45,
    -1e-40, 2.0**-126, 2.0**-1022, 3.4e38, -3.4e38, 1e300, -1e300,
)  # fmt: skip
FLOATS = (float32, float64)


def test_every_primitive_of_floats_has_its_bound() -> None:
    """An approximated one has a row of accuracies, as sqrt does; an exact one is compared with
    NumPy's bit by bit."""
    kinds = (Dtypes.ANY, Dtypes.FLOAT, Dtypes.PREDICATE)
    floating = [record for record in PRIMITIVES.values() if record.dtypes in kinds]
    assert {r.name for r in floating if not r.exact} == ACCURACY.keys() - {"sqrt"}
    assert {r.name for r in floating if r.exact} == {*EXACT, "min", "max", "fma", "sqrt"}


def _spec(name: str, dtype: DType, lanes: int) -> Spec:
    return Spec(name, (dtype,) * PRIMITIVES[name].arity, dtype, lanes)


@functools.cache
def accuracy_kernels(target: str = "native") -> Kernels:
    lanes = (1, LANES) if target == "native" else (LANES,)
    return Kernels([_spec(n, d, k) for n in ACCURACY for d in FLOATS for k in lanes], target)


def samples(name: str, dtype: DType, seed: int = 0) -> list[tuple[Array, ...]]:
    """Operands: every bit pattern alike, the ranges of the table, special values crossed."""
    rng = np.random.default_rng(seed)
    count = PRIMITIVES[name].arity
    integer = np.dtype(f"u{dtype.size_bytes}")
    top = np.iinfo(integer).max
    bits = [rng.integers(0, top, SAMPLES, integer, True).view(dtype.numpy) for _ in range(count)]
    sets: list[tuple[Array, ...]] = [tuple(bits)]
    for low, high in ACCURACY[name].ranges:
        sets.append(tuple(rng.uniform(low, high, SAMPLES).astype(dtype.numpy) for _ in bits))
    with np.errstate(all="ignore"):
        special = np.array(SPECIAL).astype(dtype.numpy)
    crossed = np.meshgrid(*[special] * count)
    return [*sets, tuple(a.ravel() for a in crossed)]


def same_bits(a: Array, b: Array) -> bool:
    """Equal bits, all NaNs being one."""
    nan = np.isnan(a) & np.isnan(b)
    return bool(np.all((a.view(f"u{a.itemsize}") == b.view(f"u{b.itemsize}")) | nan))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy(name: str, dtype: DType) -> None:
    accuracy = ACCURACY[name]
    wide = np.dtype(np.float64 if dtype is float32 else np.longdouble)
    limit = accuracy.single_ulp if dtype is float32 else accuracy.double_ulp
    if wide.itemsize == dtype.size_bytes:  # long double is double: the reference errs as well
        limit += 1.0
    kernels = accuracy_kernels()
    for operands in samples(name, dtype):
        got = kernels(_spec(name, dtype, LANES), *operands)
        with np.errstate(all="ignore"):
            exact = accuracy.reference(*(x.astype(wide) for x in operands))
            nearest = exact.astype(dtype.numpy)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(nearest), strict=True)
            number = ~np.isnan(nearest)
            np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(nearest[number]))
            np.testing.assert_array_equal(np.isinf(got), np.isinf(nearest))
            finite = np.isfinite(nearest)
            terms = accuracy.size_of_terms(*operands).astype(dtype.numpy)
            spacing = np.spacing(np.maximum(np.abs(nearest), terms)[finite]).astype(wide)
            error = np.abs(got[finite].astype(wide) - exact[finite]) / spacing
        if error.size:
            at = int(np.argmax(error))
            where = [float(x[finite][at]) for x in operands]
            assert error[at] <= limit, f"{name}{where}: {float(error[at]):.2f} ulp"


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ACCURACY)
def test_one_lane_gives_the_bits_of_sixteen(name: str, dtype: DType) -> None:
    kernels = accuracy_kernels()
    for operands in samples(name, dtype):
        one = kernels(_spec(name, dtype, 1), *operands)
        assert same_bits(one, kernels(_spec(name, dtype, LANES), *operands))


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
def test_targets_give_the_same_bits(target: str) -> None:
    if not host_has(find_target(target)):
        pytest.skip(f"this machine cannot run {target}")
    native, other = accuracy_kernels(), accuracy_kernels(target)
    for name in ACCURACY:
        for dtype in FLOATS:
            spec = _spec(name, dtype, LANES)
            for operands in samples(name, dtype, seed=1):
                assert same_bits(native(spec, *operands), other(spec, *operands)), name


def _takes(name: str, dtype: DType) -> tuple[Spec, ...]:
    """Kernels of a primitive for operands of this dtype, at both lane counts; none if refused."""
    record = PRIMITIVES[name]
    result = record.dtypes.result([dtype])
    if result is None or not record.dtypes.fit([dtype] * record.arity, result):
        return ()
    specs = tuple(Spec(name, (dtype,) * record.arity, result, lanes) for lanes in (1, LANES))
    try:
        kernel(specs[0])
    except DTypeError:
        return ()
    return specs


@pytest.mark.parametrize("target", ["x86-64-v3", "aarch64"])
def test_no_primitive_calls_a_library(target: str) -> None:
    """Every primitive for every dtype, and all casts, compile to code without foreign calls."""
    specs = [s for name in SCALAR for d in DTYPES for s in _takes(name, d)]
    specs += [Spec("cast", (a,), b, n) for a in DTYPES for b in DTYPES for n in (1, LANES)]
    text = assembly(module_text(specs), find_target(target))
    called = set(re.findall(r"^\s+(?:callq?|bl|jmp|b)\s+([A-Za-z_][\w.$@]*)", text, re.MULTILINE))
    foreign = {c for c in called if not c.startswith(("gradc.", ".L", "k_"))}
    assert not foreign


# Integers.

INTEGERS = (int8, uint8, int16, int32, int64)
INTEGER_OPERATIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "floor_div": np.floor_divide,
    "mod": np.remainder,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
INTEGER_UNARY: dict[str, Callable[..., Array]] = {
    "neg": np.negative,
    "abs": np.absolute,
    "sign": np.sign,
    "not": np.invert,
}


def integer_pairs(dtype: DType) -> tuple[Array, Array]:
    """All pairs of 8-bit numbers; else edges crossed, and random bits."""
    limits = np.iinfo(dtype.numpy)
    if dtype.bits == 8:
        numbers = np.arange(limits.min, limits.max + 1)
    else:
        near = [0, 1, -1, 2, -2, 3, 7, dtype.bits - 1, dtype.bits, dtype.bits + 1]
        edges = [limits.min, limits.min + 1, limits.max, limits.max - 1]
        drawn = np.random.default_rng(0).integers(limits.min, limits.max, 60, dtype.numpy)
        numbers = np.array([*near, *edges, *drawn.tolist()])
    a, b = np.meshgrid(numbers, numbers)
    return a.ravel().astype(dtype.numpy), b.ravel().astype(dtype.numpy)


@functools.cache
def integer_kernels() -> Kernels:
    names = [*INTEGER_OPERATIONS, *INTEGER_UNARY, "pow"]
    specs = [s for n in names for d in (*INTEGERS, bool_) for s in _takes(n, d)]
    return Kernels([*specs, *PHILOX])


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize("name", [*INTEGER_OPERATIONS, *INTEGER_UNARY])
def test_integers_as_numpy(name: str, dtype: DType) -> None:
    reference = INTEGER_OPERATIONS.get(name) or INTEGER_UNARY[name]
    pair = integer_pairs(dtype)
    for spec in _takes(name, dtype):
        operands = pair[: len(spec.operands)]
        with np.errstate(all="ignore"):
            expected = reference(*operands)
        np.testing.assert_array_equal(integer_kernels()(spec, *operands), expected, strict=True)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_power_wraps_and_truncates_negative_exponents(dtype: DType) -> None:
    base, exponent = integer_pairs(dtype)
    mask = (1 << dtype.bits) - 1

    def power(a: int, b: int) -> int:
        if b < 0:
            return {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)
        return pow(a, b, mask + 1)

    exact = [power(int(a), int(b)) & mask for a, b in zip(base, exponent, strict=True)]
    expected = np.array(exact, f"u{dtype.size_bytes}").view(dtype.numpy)
    for spec in _takes("pow", dtype):
        np.testing.assert_array_equal(integer_kernels()(spec, base, exponent), expected)


def test_bools_as_numpy() -> None:
    a, b = np.array([False, False, True, True]), np.array([False, True, False, True])
    for name, reference in INTEGER_OPERATIONS.items():
        for spec in _takes(name, bool_):
            np.testing.assert_array_equal(
                integer_kernels()(spec, a, b), reference(a, b), err_msg=name
            )
    refused = {n for n in [*INTEGER_OPERATIONS, *INTEGER_UNARY, "pow"] if not _takes(n, bool_)}
    assert refused == {"sub", "neg", "pow", "floor_div", "mod", "shl", "shr"}


PHILOX = tuple(
    Spec("philox", (int32,) * 6, int32, lanes, shared)
    for lanes in (1, LANES)
    for shared in ((), (1, 2, 3, 4, 5), (1, 2, 4, 5), (0, 2), (3,), (5,))
)


@pytest.mark.parametrize("spec", PHILOX, ids=lambda s: s.symbol)
def test_philox_as_the_operation(spec: Spec) -> None:
    """Extreme words crossed, then any; shared operands are one word for all."""
    crossed = np.meshgrid(*[[0, 1, 2**31, 2**32 - 1]] * 6)
    drawn = np.random.default_rng(0).integers(0, 2**32, (6, 4096))
    words = [np.append(*pair).astype(np.uint32) for pair in zip(crossed, drawn, strict=True)]
    got = integer_kernels()(spec, *(w.view(np.int32) for w in words))
    for operand in spec.shared:
        words[operand] = words[operand][:1]
    *counter, k0, k1 = words
    expected = philox(tuple(counter), (k0, k1))[0]
    np.testing.assert_array_equal(got.view(np.uint32), expected)
    assert got.view(np.uint32)[0] == 0x6627E8D5  # Random123, kat_vectors, philox4x32-10 of zeros


# Floats: exact operations.

EXACT: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "floor_div": np.floor_divide,
    "mod": np.remainder,
    "neg": np.negative,
    "abs": np.absolute,
    "sign": np.sign,
    "copysign": np.copysign,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


@functools.cache
def exact_kernels() -> Kernels:
    names = [*EXACT, "min", "max", "fma"]
    halves = [s for n in ("add", "exp", "max") for d in (float16, bfloat16) for s in _takes(n, d)]
    return Kernels([s for n in names for d in FLOATS for s in _takes(n, d)] + halves)


def float_pairs(dtype: DType) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        special = np.array(SPECIAL).astype(dtype.numpy)
    a, b = np.meshgrid(special, special)
    integer = np.dtype(f"u{dtype.size_bytes}")
    parts = [[a.ravel()], [b.ravel()]]
    for part in parts:
        bits = rng.integers(0, np.iinfo(integer).max, 8192, integer, True).view(dtype.numpy)
        part += [bits, rng.normal(0, 10, 8192).astype(dtype.numpy)]
        part += [rng.integers(-8, 8, 4096).astype(dtype.numpy)]
    return np.concatenate(parts[0]), np.concatenate(parts[1])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_floats_as_numpy(name: str, dtype: DType) -> None:
    pair = float_pairs(dtype)
    for spec in _takes(name, dtype):
        operands = pair[: len(spec.operands)]
        with np.errstate(all="ignore"):
            expected = EXACT[name](*operands)
        got = exact_kernels()(spec, *operands)
        np.testing.assert_array_equal(got, expected, strict=True)
        if name not in ("floor_div", "mod") and not spec.result.is_bool:
            assert same_bits(got, expected)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["min", "max"])
def test_extrema_keep_nan_and_the_first_of_equals(name: str, dtype: DType) -> None:
    a, b = float_pairs(dtype)
    second = b < a if name == "min" else b > a
    expected = np.where(np.isnan(b) | (second & ~np.isnan(a)), b, a)
    for spec in _takes(name, dtype):
        assert same_bits(exact_kernels()(spec, a, b), expected)


def test_fma_rounds_once() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(0, 1, 4096).astype(np.float32) for _ in range(3))
    exact = (a.astype(np.longdouble) * b + c).astype(np.float32)
    for spec in _takes("fma", float32):
        np.testing.assert_array_equal(exact_kernels()(spec, a, b, c), exact)


@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=str)
@pytest.mark.parametrize("name", ["add", "exp", "max"])
def test_short_floats_round_the_float32_result(name: str, dtype: DType) -> None:
    bits = np.random.default_rng(0).integers(0, 2**16, (2, 4096), np.uint16)
    a, b = bits[0].view(dtype.numpy), bits[1].view(dtype.numpy)
    reference: dict[str, Callable[..., Array]]
    reference = {"add": np.add, "exp": lambda x: np.exp(x.astype(np.float64)), "max": np.maximum}
    for spec in _takes(name, dtype):
        operands = (a, b)[: len(spec.operands)]
        with np.errstate(all="ignore"):
            wide = reference[name](*(x.astype(np.float32) for x in operands))
            expected = wide.astype(np.float32).astype(dtype.numpy)
            got = exact_kernels()(spec, *operands).astype(np.float64)
            np.testing.assert_array_equal(got, expected.astype(np.float64), err_msg=name)


# Casts.


@functools.cache
def cast_kernels() -> Kernels:
    return Kernels([Spec("cast", (a,), b, n) for a in DTYPES for b in DTYPES for n in (1, LANES)])


def castable(source: DType, target: DType) -> Array:
    """Values of `source` whose conversion NumPy defines."""
    rng = np.random.default_rng(0)
    if source.is_bool:
        return np.array([False, True] * 16)
    if not source.is_float:
        return integer_pairs(source)[0][:5000]
    numbers = np.concatenate([rng.normal(0, 50, 2048), rng.uniform(-1, 1, 2048), [0.0, -0.0]])
    if target.is_float or target.is_bool:
        bits = rng.integers(0, 2**63, 4096, np.int64).view(np.float64)
        numbers = np.concatenate([numbers, bits, 1 + rng.uniform(0, 0.01, 4096), SPECIAL])
    else:
        limits = np.iinfo(target.numpy)
        numbers = numbers[(numbers > limits.min) & (numbers < limits.max)]
        numbers = numbers[numbers >= 0] if target.kind == "uint" else numbers
    with np.errstate(all="ignore"):
        return numbers.astype(source.numpy)


@pytest.mark.parametrize("source", DTYPES, ids=str)
def test_casts_as_numpy(source: DType) -> None:
    for target in DTYPES:
        values = castable(source, target)
        with np.errstate(all="ignore"):
            expected = _reference_cast(values, target)
        for lanes in (1, LANES):
            got = cast_kernels()(Spec("cast", (source,), target, lanes), values)
            if target.is_float:
                with np.errstate(all="ignore"):
                    got, expected = got.astype(np.float64), expected.astype(np.float64)
            np.testing.assert_array_equal(got, expected, err_msg=f"{source} to {target}")


def _reference_cast(values: Array, target: DType) -> Array:
    """astype; ml_dtypes rounds double to bfloat16 twice, so bfloat16 is rounded here by hand."""
    if target is not bfloat16 or values.dtype != np.float64:
        return values.astype(target.numpy)
    near = values.astype(np.float32)
    low = (near.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    up = (low.view(np.uint32) + np.uint32(0x10000)).view(np.float32)
    result = near.astype(ml_dtypes.bfloat16)
    tie = near == (low.astype(np.float64) + up) / 2
    upward = np.abs(values) > np.abs(near.astype(np.float64))
    downward = np.abs(values) < np.abs(near.astype(np.float64))
    result[tie & upward] = up[tie & upward].astype(ml_dtypes.bfloat16)
    result[tie & downward] = low[tie & downward].astype(ml_dtypes.bfloat16)
    return result


@pytest.mark.parametrize("source", FLOATS, ids=str)
def test_casts_saturate_and_nan_is_zero(source: DType) -> None:
    values = np.array([math.nan, math.inf, -math.inf, 1e30, -1e30, 300.7, -300.7], source.numpy)
    for target in INTEGERS:
        limits = np.iinfo(target.numpy)
        inside = [max(limits.min, min(limits.max, v)) for v in (300, -300)]
        expected = [0, limits.max, limits.min, limits.max, limits.min, *inside]
        for lanes in (1, LANES):
            got = cast_kernels()(Spec("cast", (source,), target, lanes), values)
            assert got.tolist() == expected


def test_select_and_bitcast() -> None:
    select = Spec("select", (bool_, float32, float32), float32, LANES)
    bits = Spec("bitcast", (float32,), int32, LANES)
    kernels = Kernels([select, bits])
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 100)).astype(np.float32)
    np.testing.assert_array_equal(kernels(select, a < b, a, b), np.minimum(a, b))
    np.testing.assert_array_equal(kernels(bits, a), a.view(np.int32))
    with pytest.raises(DTypeError, match="cannot reinterpret float32 as int64"):
        kernel(Spec("bitcast", (float32,), int64, 1))


def test_operations_refuse_types_they_have_no_meaning_for() -> None:
    with pytest.raises(DTypeError, match="needs a float, not int32"):
        kernel(Spec("exp", (int32,), int32, 1))
    with pytest.raises(DTypeError, match="sub: not defined for bool"):
        kernel(Spec("sub", (bool_, bool_), bool_, 1))
    with pytest.raises(DTypeError, match="div: not defined for int64"):
        kernel(Spec("div", (int64, int64), int64, 1))


def test_tables_are_what_the_fit_prints() -> None:
    pytest.importorskip("mpmath")
    from gradc.compiler.cpu_llvm.maths import fit

    with fit.mp.workdps(60):
        for wanted in fit.all_fits():
            if wanted.degree <= 7:
                table = tuple(fit.rounded(c, wanted.bits) for c in fit.remez(wanted))
                assert table == getattr(tables, wanted.name), wanted.name
        for name, _, parts in fit.all_constants():
            assert tuple(parts) == getattr(tables, name), name
    assert tuple(fit.two_over_pi_words(22)) == tables.TWO_OVER_PI
