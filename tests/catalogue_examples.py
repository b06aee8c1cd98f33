"""Examples of every operation of the catalogue: operands with attributes, by operation name.

`EXAMPLES[name]` gives examples of values: NaN, infinities, signed zeros, odd and empty shapes,
scalars, every dtype. test_catalogue.py and test_catalogue_text.py run over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from catalogue_convolutions import convolution_examples
from catalogue_example import Array, Example, generator, sample_array
from catalogue_matrices import MATRIX_EXAMPLES
from catalogue_regions import REGION_EXAMPLES
from catalogue_segments import counting_examples, segment_examples
from catalogue_sorting import SORTING_EXAMPLES
from catalogue_windows import window_examples

from gradc.compiler.errors import GradcError
from gradc.compiler.graph.ir import Literal
from gradc.compiler.ops import CATALOGUE
from gradc.compiler.ops.definition import Elementwise, OpDef
from gradc.compiler.types import (
    DTYPES,
    DType,
    TensorType,
    bfloat16,
    bool_,
    dtype_of,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)

FLOATS = (float64, float32, float16, bfloat16)
INTEGERS = (int64, int32, int16, int8, uint8)
NUMBERS = FLOATS + INTEGERS
SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (17,), (3, 17), (0,), (2, 0, 3))
SPECIAL = (
    float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.5, 3.5,
    1e-3, 17.0, -88.0, 100.0, 1e-30, -1e-39, 1e20, -6e4,
)  # fmt: skip


def special_array(dtype: DType) -> Array:
    """The values at which mistakes are made."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        listed = [limits.min, limits.min + 1, 0, 1, 2, 3, 7, 33, limits.max - 1, limits.max]
        if dtype.kind == "int":
            listed += [-1, -2, -3, -7]
        return np.array(listed, dtype.numpy)
    with np.errstate(all="ignore"):
        return np.array(SPECIAL).astype(dtype.numpy)


def all_pairs(a: Array, b: Array) -> tuple[Array, Array]:
    first, second = np.meshgrid(a, b, indexing="ij")
    return first.reshape(-1).copy(), second.reshape(-1).copy()


# -- elementwise families -------------------------------------------------------------------


def unary(dtypes: Sequence[DType]) -> Callable[[str], list[Example]]:
    def make(name: str) -> list[Example]:
        rng = generator(name)
        made = [Example(name, (special_array(dtype),)) for dtype in dtypes]
        made += [Example(name, (sample_array(rng, dtypes[0], shape),)) for shape in SHAPES]
        return [*made, Example(name, (sample_array(rng, dtypes[-1], (3, 17)),))]

    return make


def binary(dtypes: Sequence[DType]) -> Callable[[str], list[Example]]:
    def make(name: str) -> list[Example]:
        rng = generator(name)
        made = [
            Example(name, all_pairs(special_array(dtype), special_array(dtype))) for dtype in dtypes
        ]
        for shape in SHAPES:
            pair = (sample_array(rng, dtypes[0], shape), sample_array(rng, dtypes[0], shape))
            made.append(Example(name, pair))
        return made

    return make


def where_examples(name: str) -> list[Example]:
    rng = generator(name)
    made = []
    for dtype in DTYPES:
        values = special_array(dtype)
        condition = sample_array(rng, bool_, values.shape)
        made.append(Example(name, (condition, values, values[::-1].copy())))
    for shape in SHAPES:
        arrays = [sample_array(rng, dtype, shape) for dtype in (bool_, float32, float32)]
        made.append(Example(name, tuple(arrays)))
    return made


def cast_examples(name: str) -> list[Example]:
    return [
        Example(name, (special_array(source),), {"dtype": target})
        for source in DTYPES
        for target in DTYPES
    ] + [
        Example(name, (sample_array(generator(name), float32, s),), {"dtype": int8}) for s in SHAPES
    ]


# -- sources --------------------------------------------------------------------------------


def declared(role: str) -> Callable[[str], list[Example]]:
    def make(name: str) -> list[Example]:
        made = []
        for dtype in DTYPES:
            values = special_array(dtype)
            attributes: dict[str, Any] = {"name": "v", "shape": values.shape, "dtype": dtype}
            if role == "state":
                attributes["trained"] = dtype.is_float
            made.append(Example(name, (), attributes, own=values))
        return made

    return make


def constant_examples(name: str) -> list[Example]:
    made = []
    for dtype in DTYPES:
        for number in special_array(dtype).tolist()[: None if dtype == float64 else 4]:
            attributes = {"value": number, "shape": (3,), "dtype": dtype}
            made.append(Example(name, (), attributes))
        values = special_array(dtype)
        attributes = {"value": Literal(values), "shape": values.shape, "dtype": dtype}
        made.append(Example(name, (), attributes))
    for shape in SHAPES:
        made.append(Example(name, (), {"value": 0.1, "shape": shape, "dtype": float32}))
        literal = Literal(sample_array(generator(name), float32, shape))
        made.append(Example(name, (), {"value": literal, "shape": shape, "dtype": float32}))
    return made


def iota_examples(name: str) -> list[Example]:
    return [
        Example(name, (), {"shape": shape, "axis": axis, "dtype": dtype})
        for dtype in NUMBERS
        for shape, axis in (((17,), 0), ((3, 17), 0), ((3, 17), 1), ((2, 0, 3), 2), ((1,), 0))
    ] + [Example(name, (), {"shape": (300,), "axis": 0, "dtype": uint8})]


# -- shapes ---------------------------------------------------------------------------------


def broadcast_examples(name: str) -> list[Example]:
    rng = generator(name)
    cases: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
        ((), (), ()),
        ((), (3, 17), ()),
        ((17,), (3, 17), (1,)),
        ((3,), (3, 17), (0,)),
        ((3, 1), (3, 17), (0, 1)),
        ((1, 1), (2, 3, 17), (0, 2)),
        ((1,), (0,), (0,)),
        ((2, 1), (2, 1, 1), (0, 2)),
        ((3, 17), (3, 17), (0, 1)),
    ]
    return [
        Example(name, (sample_array(rng, dtype, operand),), {"shape": shape, "axes": axes})
        for operand, shape, axes in cases
        for dtype in (float64, bfloat16, uint8, bool_)
    ]


def reshape_examples(name: str) -> list[Example]:
    rng = generator(name)
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), (1, 1)),
        ((1,), ()),
        ((6, 4), (24,)),
        ((24,), (2, 3, 4)),
        ((4, 6), (3, 8)),
        ((3, 17), (17, 3)),
        ((3, 17), (3, 1, 17, 1)),
        ((2, 0, 3), (0, 7)),
    ]
    return [
        Example(name, (sample_array(rng, dtype, operand),), {"shape": shape})
        for operand, shape in cases
        for dtype in (float64, float16, int8, bool_)
    ]


def transpose_examples(name: str) -> list[Example]:
    rng = generator(name)
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((), ()),
        ((17,), (0,)),
        ((3, 17), (1, 0)),
        ((2, 3, 17), (2, 0, 1)),
        ((2, 3, 4, 5), (0, 2, 1, 3)),
        ((2, 0, 3), (2, 1, 0)),
    ]
    return [
        Example(name, (sample_array(rng, dtype, operand),), {"permutation": permutation})
        for operand, permutation in cases
        for dtype in (float64, bfloat16, int64, bool_)
    ]


def slice_examples(name: str) -> list[Example]:
    rng = generator(name)
    cases = [
        ((17,), (0,), (1,), (17,)),
        ((17,), (16,), (-1,), (17,)),
        ((17,), (1,), (5,), (4,)),
        ((17,), (15,), (-4,), (4,)),
        ((3, 17), (1, 2), (1, 3), (2, 5)),
        ((3, 17), (2, 0), (-2, 1), (2, 17)),
        ((3, 17), (0, 0), (1, 1), (3, 0)),
        ((2, 0, 3), (0, 0, 1), (1, 1, 1), (2, 0, 2)),
        ((), (), (), ()),
    ]
    return [
        Example(
            name,
            (sample_array(rng, dtype, operand),),
            {"starts": starts, "steps": steps, "shape": shape},
        )
        for operand, starts, steps, shape in cases
        for dtype in (float64, float16, int32, bool_)
    ]


def pad_examples(name: str) -> list[Example]:
    rng = generator(name)
    cases = [
        ((), (), (), ()),
        ((3,), (1,), (2,), (0,)),
        ((3,), (0,), (0,), (2,)),
        ((17,), (0,), (1,), (1,)),
        ((3, 17), (1, 0), (0, 2), (2, 0)),
        ((0,), (2,), (1,), (3,)),
        ((1,), (0,), (0,), (4,)),
        ((2, 0, 3), (0, 1, 0), (0, 0, 1), (0, 2, 1)),
    ]
    return [
        Example(
            name,
            (sample_array(rng, dtype, operand), sample_array(rng, dtype, ())),
            {"low": low, "high": high, "interior": interior},
        )
        for operand, low, high, interior in cases
        for dtype in (float64, bfloat16, int16, bool_)
    ]


def concatenate_examples(name: str) -> list[Example]:
    rng = generator(name)
    cases: list[tuple[list[tuple[int, ...]], int]] = [
        ([(3,)], 0),
        ([(3,), (17,), (1,)], 0),
        ([(0,), (3,), (0,)], 0),
        ([(0,), (0,)], 0),
        ([(3, 2), (3, 17)], 1),
        ([(1, 17), (2, 17), (3, 17), (1, 17)], 0),
        ([(2, 3, 2), (2, 1, 2)], 1),
    ]
    return [
        Example(name, tuple(sample_array(rng, dtype, s) for s in shapes), {"axis": axis})
        for shapes, axis in cases
        for dtype in (float64, float16, uint8, bool_)
    ]


# -- reductions -----------------------------------------------------------------------------

REDUCED: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((17,), (0,)),
    ((1,), (0,)),
    ((3, 17), (0,)),
    ((3, 17), (1,)),
    ((3, 17), (0, 1)),
    ((2, 3, 5), (0, 2)),
    ((2, 3, 5), (1,)),
    ((0, 3), (1,)),
    ((3, 17), ()),
    ((), ()),
    ((70, 40), (1,)),
    ((70, 40), (0,)),
)


def moment(name: str) -> list[Example]:
    """Of one operand."""
    return reduction(FLOATS, empty=name != "first")(name)


def deviation_examples(name: str) -> list[Example]:
    """From the mean, and from what is given instead."""
    made = []
    rng = generator(name + "scales")
    for number, example in enumerate(reduction(FLOATS, empty=True)(name)):
        (x,), axes = example.operands, example.attributes["axes"]
        shape = [e for axis, e in enumerate(x.shape) if axis not in axes]
        per_mean = (sample_array(rng, dtype_of(x.dtype), shape) for _ in range(2))
        made.append(Example(name, (x, *per_mean, np.array(number % 3 > 0)), example.attributes))
    return made


def special_rows(dtype: DType) -> Array:
    """Rows with NaN, infinities and ties in different places."""
    if not dtype.is_float:
        return np.tile(special_array(dtype), (3, 1))
    rows = np.zeros((6, 5))
    rows[0, 3] = np.nan
    rows[1, 1:3] = np.inf, np.nan
    rows[2] = -np.inf
    rows[3] = 1, 3, -2, 3, -2
    rows[4, 0], rows[4, 2] = -np.inf, np.inf
    rows[5] = np.nan
    return rows.astype(dtype.numpy)


def reduction(dtypes: Sequence[DType], empty: bool) -> Callable[[str], list[Example]]:
    """empty: whether the operation has a value for no elements."""

    def make(name: str) -> list[Example]:
        rng = generator(name)
        made = []
        for dtype in dtypes:
            made.append(Example(name, (special_rows(dtype),), {"axes": (1,)}))
            made.append(Example(name, (special_rows(dtype),), {"axes": (0,)}))
        cases = REDUCED + ((((0,), (0,)), ((2, 0, 3), (1, 2))) if empty else ())
        for shape, axes in cases:
            for dtype in dtypes[:2]:
                array = sample_array(rng, dtype, shape, -1.5, 1.5)
                made.append(Example(name, (array,), {"axes": axes}))
        return made

    return make


def along_axis(dtypes: Sequence[DType], empty: bool) -> Callable[[str], list[Example]]:
    def make(name: str) -> list[Example]:
        rng = generator(name)
        made = [Example(name, (special_rows(dtype),), {"axis": 1}) for dtype in dtypes]
        cases = [((17,), 0), ((1,), 0), ((3, 17), 0), ((3, 17), 1), ((2, 5, 3), 1), ((0, 3), 1)]
        for shape, axis in [*cases, ((70, 40), 0), *([((0,), 0)] if empty else [])]:
            for dtype in dtypes[:2]:
                array = sample_array(rng, dtype, shape, -1.5, 1.5)
                made.append(Example(name, (array,), {"axis": axis}))
                if name.startswith("cum"):
                    made.append(Example(name, (array,), {"axis": axis, "reverse": True}))
        return made

    return make


# -- indexing, contraction, random bits -----------------------------------------------------

TAKEN: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...] = (
    ((17,), (5,), 0),
    ((17, 3), (4,), 0),
    ((3, 17), (4,), 1),
    ((2, 5, 3), (7,), 1),
    ((1, 3), (2,), 0),
    ((3,), (0,), 0),
    ((0, 3), (0,), 0),
    ((5, 3), (), 0),
    ((5, 3), (2, 4), 0),
)


def sample_indices(
    rng: np.random.Generator, shape: Sequence[int], extent: int, dtype: DType = int64
) -> Array:
    """Indices of both signs, repeated, and some out of range."""
    lowest = 0 if dtype.kind == "uint" else -extent - 2
    return np.asarray(rng.integers(lowest, extent + 3, shape)).astype(dtype.numpy)


def index_range_examples(name: str) -> list[Example]:
    rng = generator(name)
    said = {"low": -5, "high": 5, "ignored": (-100,), "reader": "take"}
    made = [Example(name, (sample_array(rng, int64, shape),), said) for shape in SHAPES]
    return [*made, *(Example(name, (special_array(dtype),), said) for dtype in INTEGERS)]


def take_examples(name: str) -> list[Example]:
    rng = generator(name)
    made = []
    for shape, indices, axis in TAKEN:
        for dtype, kind in ((float64, int64), (bfloat16, int32), (int8, uint8)):
            at = sample_indices(rng, indices, shape[axis], kind)
            operands: list[Array] = [sample_array(rng, dtype, shape), at]
            if name == "index_add":
                result = (*shape[:axis], *indices, *shape[axis + 1 :])
                operands.append(sample_array(rng, dtype, result))
            made.append(Example(name, tuple(operands), {"axis": axis}))
    return made


ALONG: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...] = (
    ((17,), (5,), 0),
    ((3, 17), (3, 4), 1),
    ((3, 17), (5, 17), 0),
    ((3, 17), (2, 4), 1),
    ((2, 5, 3), (2, 9, 3), 1),
    ((1,), (3,), 0),
    ((3, 17), (3, 0), 1),
)


def along_examples(name: str) -> list[Example]:
    rng = generator(name)
    made = []
    for shape, indices, axis in ALONG:
        for dtype, kind in ((float64, int64), (float16, int32), (int64, int8)):
            at = sample_indices(rng, indices, shape[axis], kind)
            operands: list[Array] = [sample_array(rng, dtype, shape), at]
            if name == "scatter_add":
                operands.append(sample_array(rng, dtype, indices))
            made.append(Example(name, tuple(operands), {"axis": axis}))
    return made


def sample_examples(name: str) -> list[Example]:
    rng = generator(name)
    order = np.array([3, 0, 16, 3, 9], np.int64)
    return [
        Example(name, (sample_array(rng, dtype, shape), order))
        for shape in ((17,), (17, 3), (17, 2, 5), (17, 0))
        for dtype in (float32, uint8, bool_)
    ]


DOTS: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]], ...] = (
    ((3, 17), (17, 5), ((), (), (1,), (0,))),
    ((17, 3), (17, 5), ((), (), (0,), (0,))),
    ((3, 17), (5, 17), ((), (), (1,), (1,))),
    ((17, 3), (5, 17), ((), (), (0,), (1,))),
    ((17,), (17,), ((), (), (0,), (0,))),
    ((3,), (5,), ((), (), (), ())),
    ((2, 3, 7), (2, 7, 4), ((0,), (0,), (2,), (1,))),
    ((3, 2, 7), (7, 4, 2), ((1,), (2,), (2,), (0,))),
    ((2, 3, 4), (4, 3, 5), ((), (), (1, 2), (1, 0))),
    ((2, 3, 4, 5), (3, 2, 5, 6), ((0, 1), (1, 0), (3,), (2,))),
    ((3, 0), (0, 5), ((), (), (1,), (0,))),
    ((0, 17), (17, 5), ((), (), (1,), (0,))),
    ((1, 1), (1, 1), ((), (), (1,), (0,))),
    ((65, 33), (33, 70), ((), (), (1,), (0,))),
)


def dot_attributes(axes: tuple[tuple[int, ...], ...]) -> dict[str, tuple[int, ...]]:
    names = ("lhs_batch", "rhs_batch", "lhs_contract", "rhs_contract")
    return dict(zip(names, axes, strict=True))


def dot_examples(name: str) -> list[Example]:
    rng = generator(name)
    return [
        Example(
            name,
            (sample_array(rng, dtype, lhs), sample_array(rng, dtype, rhs)),
            dot_attributes(axes),
        )
        for lhs, rhs, axes in DOTS
        for dtype in (float64, float32, bfloat16, int32, uint8)
    ]


def random_examples(name: str) -> list[Example]:
    made = []
    for seed, step, stream in (
        (0, 0, 0),
        (1, 2, 3),
        (-1, 2**40 + 5, 2**32 - 1),
        (2**63 - 1, -7, 9),
    ):
        operands = (np.array(seed, np.int64), np.array(step, np.int64))
        for shape in SHAPES:
            made.append(Example(name, operands, {"shape": shape, "stream": stream}))
    return made


def random_rows_examples(name: str) -> list[Example]:
    """Rows in any order, twice the same, and so far out that numbers need both words."""
    made = []
    for bits in random_examples(name):
        shape = bits.attributes["shape"]
        for axis, extent in enumerate(shape):
            rows = (np.arange(extent, dtype=np.int64) * 7 + 5) % 11
            if extent > 1:
                rows[-2:] = 2**33 + 1, 2**40
            for places in (1, 3):  # of each sample
                merged = (*shape[:axis], extent * places, *shape[axis + 1 :])
                attributes = {**bits.attributes, "shape": merged, "axis": axis}
                made.append(Example(name, (*bits.operands, rows), attributes))
    return made


def random_bits_at_examples(name: str) -> list[Example]:
    """Iterations so late that numbers need both words, and streams of all 32 bits."""
    made = []
    for bits in random_examples(name):
        shape, stream = bits.attributes["shape"], bits.attributes["stream"]
        for iteration in (0, 3, 2**33 + 1):
            numbers = (np.array(stream, np.int64), np.array(iteration, np.int64))
            made.append(Example(name, (*bits.operands, *numbers), {"shape": shape}))
    return made


def fixed(*attributes: Mapping[str, Any]) -> Callable[[str], list[Example]]:
    return lambda name: [Example(name, (), a) for a in attributes]


def taken_dtypes(op: OpDef) -> list[DType]:
    """The dtypes in which an elementwise operation takes all of its operands."""
    taken = []
    for dtype in (*NUMBERS, bool_):
        with suppress(GradcError):
            op.infer(*[TensorType(dtype, (3,))] * len(op.operands))
            taken.append(dtype)
    return taken


def elementwise_examples() -> dict[str, Callable[[str], list[Example]]]:
    """Of every elementwise operation of one or two operands without attributes."""
    found: dict[str, Callable[[str], list[Example]]] = {}
    for op in CATALOGUE:
        if isinstance(op.lowering, Elementwise) and not op.attributes and len(op.operands) <= 2:
            found[op.name] = (unary, binary)[len(op.operands) - 1](taken_dtypes(op))
    return found


EXAMPLES: Mapping[str, Callable[[str], list[Example]]] = {
    "input": declared("input"),
    "state": declared("state"),
    "constant": constant_examples,
    "iota": iota_examples,
    "extent": fixed(*({"shape": shape} for shape in SHAPES), {"shape": (2, 3), "least": 6}),
    "training": fixed({}),
    **elementwise_examples() | {"again": binary(DTYPES)},
    "where": where_examples,
    "cast": cast_examples,
    "broadcast": broadcast_examples,
    "sum": reduction(DTYPES, empty=True),
    "reshape": reshape_examples,
    "transpose": transpose_examples,
    "slice": slice_examples,
    "pad": pad_examples,
    "concatenate": concatenate_examples,
    "prod": reduction(NUMBERS, empty=True),
    **dict.fromkeys(("first", "mean", "variance"), moment),
    "deviation": deviation_examples,
    **dict.fromkeys(("window_argmax", "window_take", "window_put"), window_examples),
    **dict.fromkeys(("max", "min"), reduction(NUMBERS, empty=False)),
    **dict.fromkeys(("any", "all"), reduction((bool_,), empty=True)),
    **dict.fromkeys(("argmax", "argmin"), along_axis(NUMBERS, empty=False)),
    **dict.fromkeys("cumsum cumprod cummax cummin".split(), along_axis(NUMBERS, empty=True)),
    "index_range": index_range_examples,
    **dict.fromkeys(("take", "index_add"), take_examples),
    **dict.fromkeys(("take_along_axis", "scatter_add"), along_examples),
    "counting_order": counting_examples,
    "segment_sum": segment_examples,
    **SORTING_EXAMPLES,
    **MATRIX_EXAMPLES,
    "sample": sample_examples,
    "dot_general": dot_examples,
    **dict.fromkeys(("conv_general", "conv_weights"), convolution_examples),
    "random_bits": random_examples,
    "random_rows": random_rows_examples,
    "random_bits_at": random_bits_at_examples,
    "stream": lambda name: [],  # it has no value: test_loops_of_tensors.py draws from it
    **REGION_EXAMPLES,
    "while_pullback": lambda name: [],  # it has no value: test_regions.py differentiates it
}
