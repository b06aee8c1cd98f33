"""Normalisation of channels with PyTorch's names, argument order and formulas.

    input   [batch, channels, *axes]; channels are axis 1

Statistics are those of the batch at hand, or running ones: see batch_norm. 16-bit floats are
normalised in float32 and rounded before the weight; deviations keep the digits beside a large mean
(compiler/ops/statistics.py). What is divided by is the number of values that the batch has, the
last batch of an epoch included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.ops.definition import OpDef
from gradc.compiler.ops.statistics import DEVIATION, MEAN, VARIANCE
from gradc.compiler.types import float32

from .. import nodes, reductions
from ..ranges import Number, WholeNumber, check_numbers, count
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from ..variables import State, revised
from . import elementwise as each
from .comparison import logical_and
from .guards import wide
from .neural import checked_mode
from .windows import Windows, add_parts, combined

__all__ = [
    "batch_norm",
    "instance_norm",
    "group_norm",
    "local_response_norm",
]


def batch_norm(
    input: TensorLike,
    running_mean: TensorLike | None = None,
    running_var: TensorLike | None = None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    training: TensorLike | None = None,
    momentum: Number = 0.1,
    eps: Number = 1e-5,
) -> Tensor:
    """Mean 0, variance 1 in each channel of [batch, channels, ...], then weight and bias.

    running_mean, running_var   [channels], or neither: then statistics are always the batch's
    weight, bias                [channels]
    training    None: the mode that the program runs in decides, as in the layers of gc.nn; True or
                False: always or never; a bool scalar tensor, such as `module.training`
    momentum    how much of the batch's statistics goes into the running ones

    In training, statistics are the batch's: the variance is divided by the number of values. A step
    that reads the result moves running statistics that are states (gc.state) to
    (1 - momentum) * running + momentum * batch, where the variance is divided by that number less
    one. Otherwise running statistics are used. No slope flows to them.

    Training needs more than one value per channel, in the last batch of an epoch too: ShapeError
    says so, before anything is trained.
    Source: Ioffe and Szegedy, "Batch Normalization" (2015).

    >>> x = gc.constant([[1.0], [3.0]])
    >>> gc.compile(gc.batch_norm(x, training=True))().round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    x = as_tensor(input)
    if x.ndim < 2:
        fail(ShapeError, "batch_norm", f"input is {x.node.type}, not [batch, channels, ...]")
    (share,) = check_numbers("batch_norm", momentum=momentum)
    axes = (0, *range(2, x.ndim))
    running = running_statistics(x, running_mean, running_var, "batch_norm")
    return normalized(x, axes, running, training, share, eps, weight, bias, "batch_norm")


def instance_norm(
    input: TensorLike,
    running_mean: TensorLike | None = None,
    running_var: TensorLike | None = None,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    use_input_stats: TensorLike = True,
    momentum: Number = 0.1,
    eps: Number = 1e-5,
) -> Tensor:
    """Mean 0, variance 1 in each channel of each sample of [batch, channels, *axes].

    use_input_stats   whether statistics are the sample's, not the running ones; a bool scalar
                      tensor, such as `module.training`, decides when the program runs

    Other arguments are those of batch_norm; running statistics move by the means over the batch.
    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization" (2016).

    >>> gc.compile(gc.instance_norm([[[1.0, 3.0]]]))().round(3)
    array([[[-1.,  1.]]], dtype=float32)
    """
    x = as_tensor(input)
    if x.ndim < 3:
        fail(ShapeError, "instance_norm", f"input is {x.node.type}, not [batch, channels, *axes]")
    (share,) = check_numbers("instance_norm", momentum=momentum)
    running = running_statistics(x, running_mean, running_var, "instance_norm")
    axes, mode = tuple(range(2, x.ndim)), use_input_stats
    return normalized(x, axes, running, mode, share, eps, weight, bias, "instance_norm")


def group_norm(
    input: TensorLike,
    num_groups: WholeNumber,
    weight: TensorLike | None = None,
    bias: TensorLike | None = None,
    eps: Number = 1e-5,
) -> Tensor:
    """Mean 0, variance 1 in each group of channels of each sample of [batch, channels, *axes].

    num_groups   divides the number of channels; as many groups of channels that follow each other

    Weight and bias have one number per channel.
    Source: Wu and He, "Group Normalization" (2018).

    >>> gc.group_norm(gc.input("x", ("batch", 6, 8, 8)), 2).shape
    ('batch', 6, 8, 8)
    """
    x, groups = as_tensor(input), count(num_groups, "num_groups", "group_norm")
    if x.ndim < 2:
        fail(ShapeError, "group_norm", f"input is {x.node.type}, not [batch, channels, *axes]")
    channels = x.shape[1]
    if isinstance(channels, str) or channels % groups:
        facts = [f"input is {x.node.type}"]
        fail(ShapeError, "group_norm", f"{channels} channels are not {groups} groups", facts)
    grouped = x.reshape((x.shape[0], groups, channels // groups, *x.shape[2:]))
    (eps,) = check_numbers("group_norm", eps=eps)
    result = Sample.of(grouped, tuple(range(2, grouped.ndim))).normalized(eps)
    result = result.reshape(x.shape).astype(x.dtype if x.dtype.is_float else float32)
    return affine(result, weight, bias, "group_norm")


def local_response_norm(
    input: TensorLike,
    size: WholeNumber,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Tensor:
    """x / (k + alpha * mean of x * x over `size` channels around) ** beta.

    Channels that do not exist count as zeros; of an even size one more lies before than behind.
    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification" (2012), section 3.3.

    >>> gc.local_response_norm(gc.input("x", ("batch", 16, 8, 8)), 5).shape
    ('batch', 16, 8, 8)
    """
    x, dtype = wide(input)
    size = count(size, "size", "local_response_norm")
    if x.ndim < 3 or isinstance(x.shape[1], str):
        problem = f"input is {x.node.type}, not [batch, channels, *axes]"
        fail(ShapeError, "local_response_norm", problem)
    windows = Windows(x.shape[1], size, 1, size // 2, 1, x.shape[1])
    (sums,) = combined((x * x,), 1, windows, (0,), add_parts) if x.shape[1] else (x * x,)
    return (x / (k + alpha * (sums / size)) ** beta).astype(dtype)


# ---------------------------------------------------------------- statistics


@dataclass(frozen=True)
class Running:
    """Running statistics: a number per channel each.

    number   how many batches they are of, which training counts; None: that is not counted
    """

    mean: Tensor
    var: Tensor
    number: Tensor | None = None

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        return self.mean, self.var

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (self.mean, self.var, *(() if self.number is None else (self.number,)))


@dataclass(frozen=True)
class Sample:
    """What statistics are made of: the elements of `input` along `axes`.

    input      as floats that hold sums of squares
    extents    of the axes
    """

    input: Tensor
    axes: tuple[int, ...]
    extents: tuple[Any, ...]

    @staticmethod
    def of(x: Tensor, axes: tuple[int, ...]) -> Sample:
        wide_x = derive(reductions.widened(x.node), x)
        return Sample(wide_x, axes, tuple(x.shape[a] for a in axes))

    def where(self, condition: Tensor) -> Sample:
        """The same, with zeros for the elements where the condition, a scalar, does not hold."""
        return replace(self, input=each.where(condition, self.input, 0))

    def mean(self) -> Tensor:
        """Over the axes, which leave the shape."""
        return self._built(MEAN)

    def variance(self) -> Tensor:
        """The mean square of elements less their mean, over the axes, which are kept."""
        return self._built(VARIANCE).expand_dims(self.axes)

    def deviation(self, scale: Tensor, centre: TensorLike = 0.0, own: TensorLike = True) -> Tensor:
        """Elements less their mean, or less `centre` unless `own`, times a number for each mean.

        scale, centre   have the axes, of extent 1
        """
        parts = (as_tensor(part).astype(self.input.dtype) for part in (scale, centre))
        per_mean = (part.broadcast_to(scale.shape).squeeze(self.axes) for part in parts)
        return self._built(DEVIATION, *per_mean, as_tensor(own))

    def normalized(self, eps: float) -> Tensor:
        """Mean 0 and variance 1."""
        return self.deviation(each.rsqrt(self.variance() + eps))

    def _built(self, op: OpDef, *others: Tensor) -> Tensor:
        operands = [tensor.node for tensor in (self.input, *others)]
        return derive(nodes.build(op, *operands, axes=self.axes), self.input, *others)

    def check(self, operation: str) -> None:
        """Raises ShapeError where statistics would be those of one value."""
        if all(isinstance(e, int) for e in self.extents) and math.prod(self.extents) == 1:
            problem = "one value per channel has no variance, and training needs it"
            fail(ShapeError, operation, problem, [f"input is {self.input.node.type}"])


def running_statistics(
    x: Tensor, mean: TensorLike | None, var: TensorLike | None, operation: str
) -> Running | None:
    """Running mean and variance, or None where neither is given.

    Raises ArgumentError where one is missing, ShapeError unless there is a number per channel.
    """
    if mean is None or var is None:
        if mean is not var:
            fail(ArgumentError, operation, "running_mean and running_var go together")
        return None
    found = Running(as_tensor(mean), as_tensor(var))
    for name, own in (("running_mean", found.mean), ("running_var", found.var)):
        _check_channels(x, own, name, operation)
    return found


def normalized(
    x: Tensor,
    axes: tuple[int, ...],
    running: Running | None,
    training: TensorLike | None,
    momentum: float | None,
    eps: Any,
    weight: TensorLike | None,
    bias: TensorLike | None,
    operation: str,
) -> Tensor:
    """x by its own statistics over `axes` where `training` holds, else by running ones; times the
    weight of its channel plus its bias, where they are given.

    running    None: x is always normalised by its own
    momentum   None: running statistics are the means over all batches, which they count
    """
    (eps,) = check_numbers(operation, eps=eps)
    mode, dtype = checked_mode(training, operation), x.dtype if x.dtype.is_float else float32
    sample = Sample.of(x, axes)
    factor: Tensor | float = 1.0
    if weight is not None and as_tensor(weight).dtype == dtype == sample.input.dtype:
        factor, weight = _per_channel(x, weight, "weight", operation), None
    if running is None:
        if training is False:
            fail(ArgumentError, operation, "training is False, and there are no running statistics")
        sample.check(operation)
        result = sample.deviation(each.rsqrt(sample.variance() + eps) * factor)
    else:
        if training is True:
            sample.check(operation)
        if training is not False and any(isinstance(t, State) for t in running.tensors):
            running = _moving(sample, running, mode, momentum, operation)
        mean, var = (_in_channels(each.stop_gradient(r), x.ndim) for r in running.statistics)
        # Chosen before the root, and before what is squared: see guards.py.
        own = sample.where(mode)
        scale = each.rsqrt(each.where(mode, own.variance(), var) + eps) * factor
        result = sample.deviation(scale, mean, mode)
    return affine(result.astype(dtype), weight, bias, operation)


def affine(x: Tensor, weight: TensorLike | None, bias: TensorLike | None, operation: str) -> Tensor:
    """x times the weight of its channel plus the bias of its channel, where they are given."""
    if weight is not None:
        x = x * _per_channel(x, weight, "weight", operation)
    if bias is not None:
        x = x + _per_channel(x, bias, "bias", operation)
    return x


def _moving(
    sample: Sample, running: Running, mode: Tensor, momentum: float | None, operation: str
) -> Running:
    """Running statistics as this call reads them: a step that it takes part in moves them.

    Of samples with statistics of their own, as those of instance_norm, it is the mean that counts.
    """
    states = tuple(t for t in running.tensors if isinstance(t, State))
    if len(states) < len(running.tensors):
        fail(ArgumentError, operation, "running_mean and running_var are both states, or neither")

    def moved(current: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        sample.check(operation)
        count = Tensor(nodes.extent(sample.extents, sample.input.dtype, least=2))
        mean = each.stop_gradient(sample.mean())
        var = each.stop_gradient(sample.variance()).squeeze(sample.axes) * (count / (count - 1.0))
        if 0 not in sample.axes:
            mean, var = mean.mean(axis=0), var.mean(axis=0)
        number = current[2] + 1 if len(current) > 2 else None
        share: Any = momentum
        if momentum is None and number is not None:
            share = 1.0 / number.astype(mean.dtype)
        pairs = zip((mean, var), current[:2], strict=True)
        new = [share * own + (1.0 - share) * old for own, old in pairs]
        new += [] if number is None else [number]
        moves = mode
        if any(isinstance(extent, str) for extent in sample.extents):
            moves = logical_and(mode, count > 1)
        return tuple(
            each.where(moves, n.astype(old.dtype), old) for n, old in zip(new, current, strict=True)
        )

    return Running(*revised(states, moved, "batch_norm"))


def _check_channels(x: Tensor, own: Tensor, name: str, operation: str) -> Tensor:
    if own.shape != (x.shape[1],):
        facts = [f"input is {x.node.type}, {name} {own.node.type}"]
        fail(ShapeError, operation, f"{name} has not one number per channel", facts)
    return own


def _per_channel(x: Tensor, own: TensorLike, name: str, operation: str) -> Tensor:
    """One number per channel of x, which broadcasts against it."""
    return _in_channels(_check_channels(x, as_tensor(own), name, operation), x.ndim)


def _in_channels(x: Tensor, rank: int) -> Tensor:
    """One number per channel, which broadcasts against [batch, channels, ...]."""
    return x.reshape((*x.shape, *(1,) * (rank - 2)))
