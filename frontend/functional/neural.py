"""Neural functions with PyTorch's names and argument order; `dim` is spelled `axis`.

Compositions of array functions: fusion makes one kernel of each. Formulas as in
torch.nn.functional (PyTorch 2), at points without a derivative its choice of subgradient too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.ops.slicing import PAD
from gradc.compiler.types import DType, float32, int64

from .. import nodes, random, reductions
from ..dimensions import refuse_named
from ..index_ranges import from_zero
from ..ranges import Number, check_probability
from ..tensor import Axis, DTypeLike, ShapeLike, Tensor, TensorLike, as_tensor, derive, floating
from ..tracing import fail
from . import elementwise as each
from .comparison import isinf
from .creation import training_mode
from .guards import wide
from .manipulation import concat, flip
from .statistics import sum as total

__all__ = [
    "softmax",
    "softmin",
    "log_softmax",
    "logsumexp",
    "linear",
    "bilinear",
    "one_hot",
    "dropout",
    "layer_norm",
    "rms_norm",
    "pad",
]

# ---------------------------------------------------------------- normalised exponentials


def _shifted(input: TensorLike, axis: int) -> Tensor:
    """x less its greatest element along the axis, so that exp does not overflow."""
    x, dtype = _exact(input)
    return (x - each.stop_gradient(_greatest(x, axis))).astype(dtype)


def _exact(input: TensorLike) -> tuple[Tensor, DType]:
    """x as floats that hold it, and the dtype of the result: float32 for integers.

    Distances of large integers are taken before they are rounded to float32.
    """
    x = as_tensor(input)
    if x.dtype.is_float:
        return x, x.dtype
    return derive(reductions.widened(x.node), x), float32


def _greatest(x: Tensor, axis: Axis) -> Tensor:
    """The greatest element along the axis, which is kept; of no elements 0."""
    axes = nodes.axes_of(axis, x.ndim, "max")
    if all(x.shape[a] != 0 for a in axes):
        return x.max(axis=axes, keepdims=True)
    return x.sum(axis=axes, keepdims=True)


def _typed(x: TensorLike, dtype: DTypeLike | None) -> TensorLike:
    return x if dtype is None else as_tensor(x).astype(dtype)


def softmax(input: TensorLike, axis: int = -1, dtype: DTypeLike | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis, of x converted to `dtype` where that is given.

    >>> gc.compile(gc.softmax([[0.0, 0.0], [0.0, 1000.0]]))()
    array([[0.5, 0.5],
           [0. , 1. ]], dtype=float32)
    """
    powers = each.exp(_shifted(_typed(input, dtype), axis))
    return powers / powers.sum(axis=axis, keepdims=True)


def softmin(input: TensorLike, axis: int = -1, dtype: DTypeLike | None = None) -> Tensor:
    """softmax(-x).

    >>> gc.compile(gc.softmin([0.0, 1000.0]))()
    array([1., 0.], dtype=float32)
    """
    x, found = _exact(_typed(input, dtype))
    return softmax(-x, axis).astype(found)


def log_softmax(input: TensorLike, axis: int = -1, dtype: DTypeLike | None = None) -> Tensor:
    """log(softmax(x)) without underflow, of x converted to `dtype` where that is given.

    >>> gc.compile(gc.log_softmax([0.0, 1000.0]))()
    array([-1000.,     0.], dtype=float32)
    """
    shifted = _shifted(_typed(input, dtype), axis)
    return shifted - each.log(each.exp(shifted).sum(axis=axis, keepdims=True))


def logsumexp(input: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) without overflow; infinite only where x is, -inf of no elements.

    Where the greatest element is infinite so is the result, and every slope is 0.

    >>> gc.compile(gc.logsumexp([1000.0, 1000.0]))()
    array(1000.6932, dtype=float32)
    """
    x, dtype = _exact(input)
    greatest = each.stop_gradient(_greatest(x, axis))
    infinite = isinf(greatest) & (x == greatest)  # inf - inf is not 0
    powers = each.exp(each.where(infinite, 0, x - greatest))
    sums = (each.log(powers.sum(axis=axis, keepdims=True)) + greatest).astype(dtype)
    return sums if keepdims else sums.squeeze(tuple(range(x.ndim)) if axis is None else axis)


# ---------------------------------------------------------------- layers as functions


def linear(input: TensorLike, weight: TensorLike, bias: TensorLike | None = None) -> Tensor:
    """input @ weight.T + bias.

    input   [..., in]    weight  [out, in]    bias  [out]    result  [..., out]

    >>> gc.compile(gc.linear([1.0, 2.0], [[1.0, 1.0], [0.0, 3.0]], [0.5, 0.5]))()
    array([3.5, 6.5], dtype=float32)
    """
    x, w = as_tensor(input), as_tensor(weight)
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[1]:
        facts = [f"input is {x.node.type}, weight {w.node.type}"]
        if w.ndim == 2 and x.ndim:
            facts.append(
                f"input axis {x.ndim - 1} has extent {x.shape[-1]}, "
                f"weight axis 1 has extent {w.shape[1]}"
            )
        fail(ShapeError, "linear", "input and weight do not fit", facts)
    node = nodes.contract("linear", x.node, w.node, ((x.ndim - 1,), (1,)))
    product = derive(node, x, w)
    if bias is None:
        return product
    shift = as_tensor(bias)
    if not nodes.stretches_to(shift.shape, product.shape):
        facts = [f"the product is {product.node.type}, bias {shift.node.type}"]
        fail(ShapeError, "linear", "bias has not one number per output", facts)
    return product + shift


def bilinear(
    input1: TensorLike, input2: TensorLike, weight: TensorLike, bias: TensorLike | None = None
) -> Tensor:
    """y[..., k] = input1 @ weight[k] @ input2 + bias[k].

    input1  [..., in1]    input2  [..., in2]    weight  [out, in1, in2]    bias  [out]

    >>> gc.compile(gc.bilinear([1.0, 2.0], [3.0, 4.0], [[[1.0, 0.0], [0.0, 1.0]]]))()
    array([11.], dtype=float32)
    """
    x1, x2, w = as_tensor(input1), as_tensor(input2), as_tensor(weight)
    facts = [f"input1 is {x1.node.type}, input2 {x2.node.type}, weight {w.node.type}"]
    if not (x1.ndim and x2.ndim) or x1.shape[:-1] != x2.shape[:-1]:
        fail(ShapeError, "bilinear", "input1 and input2 differ in more than their last axis", facts)
    if w.ndim != 3 or (x1.shape[-1], x2.shape[-1]) != w.shape[1:]:
        fail(ShapeError, "bilinear", "the inputs and weight do not fit", facts)
    left = derive(nodes.contract("bilinear", x1.node, w.node, ((x1.ndim - 1,), (1,))), x1, w)
    y = total(left * x2[..., None, :], axis=-1, dtype=left.dtype)
    if bias is None:
        return y
    shift = as_tensor(bias)
    if not nodes.stretches_to(shift.shape, y.shape):
        facts = [f"the product is {y.node.type}, bias {shift.node.type}"]
        fail(ShapeError, "bilinear", "bias has not one number per output", facts)
    return y + shift


def one_hot(tensor: TensorLike, num_classes: int) -> Tensor:
    """int64 [..., num_classes]: 1 where the last index equals the class number, else 0.

    Class numbers lie in 0 to num_classes - 1, as for `embedding`.

    >>> gc.compile(gc.one_hot([2, 0], 3))()
    array([[0, 0, 1],
           [1, 0, 0]])
    """
    return one_hot_mask(as_tensor(tensor), num_classes, -1, "one_hot").astype(int64)


def one_hot_mask(
    labels: Tensor, num_classes: Any, axis: int, reader: str, ignored: tuple[int, ...] = ()
) -> Tensor:
    """Whether a new axis' position equals the label: a comparison, so that it fuses.

    Labels are class numbers, or one of `ignored`, which no position equals; `reader` says so.
    """
    if not labels.dtype.is_integer:
        fail(ArgumentError, reader, f"class numbers are integers, not {labels.node.type}")
    if isinstance(num_classes, int) and num_classes < 0:
        fail(ArgumentError, reader, f"num_classes is not negative, not {described(num_classes)}")
    labels = derive(from_zero(labels.node, num_classes, reader, ignored), labels)
    along = nodes.axis_of(axis, labels.ndim + 1, "one_hot")
    shape = labels.shape[:along] + (num_classes,) + labels.shape[along:]
    classes = Tensor(nodes.iota(shape, along, labels.dtype if labels.dtype.bits > 16 else int64))
    kept = tuple(a for a in range(labels.ndim + 1) if a != along)
    wide = labels.astype(classes.dtype)
    return derive(nodes.spread(wide.node, shape, kept), labels) == classes


def dropout(input: TensorLike, p: Number = 0.5, training: TensorLike | None = None) -> Tensor:
    """In training each element is 0 with probability p, else divided by 1 - p; else x itself.

    training   None: the mode that the program runs in decides, as in the layers of gc.nn; True or
               False: always or never; a bool scalar tensor, such as `module.training`

    Every call has its own random numbers.

    >>> x = gc.constant([1.0, 1.0, 1.0, 1.0])
    >>> gc.compile(gc.dropout(x, 0.5), training=True, seed=0)()
    array([2., 0., 2., 0.], dtype=float32)
    """
    x = floating(input)
    return dropped(x, x.shape, check_probability(p, "dropout"), training, "dropout")


def checked_mode(training: TensorLike | None, operation: str) -> Tensor:
    """Whether a program trains, as a bool scalar: what an argument `training` means."""
    mode = training_mode() if training is None else as_tensor(training)
    if mode.ndim or not mode.dtype.is_bool:
        problem = f"training is None, True, False or a bool scalar, not {mode.node.type}"
        fail(ArgumentError, operation, problem)
    return mode


def dropped(
    x: Tensor, shape: ShapeLike, p: float, training: TensorLike | None, operation: str
) -> Tensor:
    """`dropout` with one chance for each element of `shape`, which broadcasts to that of x."""
    mode = checked_mode(training, operation)
    if p == 0.0 or training is False:
        return x
    if p == 1.0:
        return each.where(mode, 0, x)
    kept = random.bernoulli(1.0 - p, shape)
    return each.where(mode, each.where(kept, x * (1.0 / (1.0 - p)), 0), x)


def layer_norm(
    input: TensorLike,
    normalized_shape: ShapeLike,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0, variance 1 over the last axes, then weight and bias.

    16-bit floats are normalised in float32 and rounded before the weight.
    Source: Ba, Kiros, Hinton, "Layer Normalization" (2016).

    >>> gc.compile(gc.layer_norm([1.0, 2.0, 3.0, 4.0], 4))().round(4)
    array([-1.3416, -0.4472,  0.4472,  1.3416], dtype=float32)
    """
    x = as_tensor(input)
    axes = _normalized_axes(x, normalized_shape, "layer_norm")
    centred = derive(reductions.deviation(reductions.widened(x.node), axes), x)
    spread = (centred * centred).mean(axis=axes, keepdims=True)
    result = (centred * each.rsqrt(spread + eps)).astype(x.dtype if x.dtype.is_float else float32)
    weight = _affine(weight, x, len(axes), "weight", "layer_norm")
    bias = _affine(bias, x, len(axes), "bias", "layer_norm")
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def rms_norm(
    input: TensorLike,
    normalized_shape: ShapeLike,
    weight: TensorLike | None = None,
    eps: float | None = None,
) -> Tensor:
    """x / sqrt(mean(x * x) + eps) over the last axes, times weight; eps None: the dtype's.

    16-bit floats are normalised in float32 and rounded before the weight.
    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).

    >>> gc.compile(gc.rms_norm([1.0, 1.0, 1.0, 5.0], 4))().round(4)
    array([0.378 , 0.378 , 0.378 , 1.8898], dtype=float32)
    """
    x, dtype = wide(input)
    axes = _normalized_axes(x, normalized_shape, "rms_norm")
    machine = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
    small = machine[dtype.name] if eps is None else eps
    result = (x * each.rsqrt((x * x).mean(axis=axes, keepdims=True) + small)).astype(dtype)
    weight = _affine(weight, x, len(axes), "weight", "rms_norm")
    return result if weight is None else result * weight


def _affine(
    given: TensorLike | None, x: Tensor, count: int, name: str, operation: str
) -> Tensor | None:
    """A weight or bias, which has the shape of the last `count` axes: it must not stretch x."""
    if given is None:
        return None
    factor = as_tensor(given)
    if factor.shape != x.shape[-count:]:
        facts = [f"input is {x.node.type}, {name} {factor.node.type}"]
        problem = f"{name} has not the shape {nodes.show(x.shape[-count:])}"
        fail(ShapeError, operation, problem, facts)
    return factor


def _normalized_axes(x: Tensor, shape: ShapeLike, operation: str) -> tuple[int, ...]:
    wanted = nodes.check_shape(shape, operation)
    if not wanted or x.shape[-len(wanted) :] != wanted:
        problem = f"the last axes of {x.node.type} are not {nodes.show(wanted)}"
        fail(ShapeError, operation, problem)
    return tuple(range(x.ndim - len(wanted), x.ndim))


def pad(
    input: TensorLike, pad: Sequence[int], mode: str = "constant", value: float = 0.0
) -> Tensor:
    """Margins around the last axes: (left, right) of the last axis, then of the one before...

    mode   "constant" (filled with `value`), "reflect", "replicate" or "circular"

    A negative margin cuts: before the elements are wrapped round by "circular", after the others,
    as in PyTorch. Raises ShapeError where more is cut than there is, and for margins that need more
    elements than the axis has.

    >>> gc.compile(gc.pad([[1.0, 2.0]], (1, 2)))()
    array([[0., 1., 2., 0., 0.]], dtype=float32)
    >>> gc.compile(gc.pad([[1.0, 2.0, 3.0]], (2, 0), mode="reflect"))()
    array([[3., 2., 1., 2., 3.]], dtype=float32)
    """
    x = as_tensor(input)
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        fail(ArgumentError, "pad", f"{len(pad)} margins for {x.node.type}: two per axis are needed")
    margins = {x.ndim - 1 - i: (pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)}
    if mode == "constant":
        return _pad_constant(x, margins, value)
    if mode not in ("reflect", "replicate", "circular"):
        fail(ArgumentError, "pad", f"unknown mode {mode!r}")
    cuts = {a: (min(low, 0), min(high, 0)) for a, (low, high) in margins.items()}
    x = _cropped(x, cuts) if mode == "circular" else x
    for axis, (low, high) in margins.items():
        x = _pad_axis(x, axis, max(low, 0), max(high, 0), mode)
    return x if mode == "circular" else _cropped(x, cuts)


def _cropped(x: Tensor, cuts: dict[int, tuple[int, int]]) -> Tensor:
    """x without as many elements at both ends of an axis as negative margins say."""
    entries = [slice(None)] * x.ndim
    for axis, (low, high) in cuts.items():
        extent = x.shape[axis]
        if low == high == 0:
            continue
        if isinstance(extent, str):
            refuse_named("pad", axis, extent)
        if extent + low + high < 0:
            margins = f"margins {described(low)} and {described(high)}"
            fail(ShapeError, "pad", f"{margins} cut more than extent {extent}")
        entries[axis] = slice(-low, extent + high)
    return x[tuple(entries)]


def _pad_constant(x: Tensor, margins: dict[int, tuple[int, int]], value: float) -> Tensor:
    x = _cropped(x, {a: (min(low, 0), min(high, 0)) for a, (low, high) in margins.items()})
    low_margins = tuple(max(margins.get(a, (0, 0))[0], 0) for a in range(x.ndim))
    high_margins = tuple(max(margins.get(a, (0, 0))[1], 0) for a in range(x.ndim))
    if not any(low_margins + high_margins):
        return x
    node = nodes.build(
        PAD,
        x.node,
        nodes.constant(value, x.dtype),
        low=low_margins,
        high=high_margins,
        interior=(0,) * x.ndim,
    )
    return derive(node, x)


def _pad_axis(x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    extent = x.shape[axis]
    limit = {"reflect": -1, "circular": 0}.get(mode)
    if low == high == 0:
        return x
    if isinstance(extent, str):
        refuse_named("pad", axis, extent)
    if extent == 0 or (limit is not None and max(low, high) > extent + limit):
        margins = f"{mode} margins {described(low)} and {described(high)}"
        fail(ShapeError, "pad", f"{margins} do not fit extent {extent}")

    def part(start: int, stop: int) -> Tensor:
        return x[(*(slice(None),) * axis, slice(start, stop))]

    def ends() -> tuple[Tensor, Tensor]:
        if mode == "reflect":
            return (
                flip(part(1, low + 1), axis=axis),
                flip(part(extent - 1 - high, extent - 1), axis=axis),
            )
        if mode == "circular":
            return part(extent - low, extent), part(0, high)
        shape = list(x.shape)
        shape[axis] = low
        first = part(0, 1).broadcast_to(shape)
        shape[axis] = high
        return first, part(extent - 1, extent).broadcast_to(shape)

    before, after = ends()
    return concat([p for p, n in ((before, low), (x, 1), (after, high)) if n], axis=axis)
