"""What the public contract or PyTorch names and this version does not offer: told by name.

A name that is missing from a namespace is refused by `__getattr__`; an argument by the function
that will take it. Both say "this version does not offer it": it is no typing mistake.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from gradc.compiler.errors import ArgumentError

from .tracing import fail

FUNCTIONS = frozenset(
    """
    addcdiv addcmul addmm addmv allclose amp angle array_equal backends baddbmm
    bincount cartesian_prod cdist cholesky combinations complex128
    complex64 conj convolve corrcoef correlate cov ctc_loss
    det diag distributed eig eigh embedding_bag erfinv fft float8_e4m3fn
    frac func gcd get_default_dtype get_num_threads gradient heaviside histc
    histogram i0 imag index_copy index_fill int4 interp inv inverse is_floating_point is_tensor
    isclose isin lcm lerp logcumsumexp logspace masked_scatter
    multi_head_attention_forward multinomial multiprocessing
    nextafter onnx pairwise_distance pinv polar profiler qr real
    rot90 scatter_reduce set_default_dtype set_num_threads
    sinc slogdet solve std_mean svd trapezoid trapz tril_indices
    triplet_margin_loss triu_indices uint16 uint32 uint64 unravel_index var_mean
    """.split()
)
"""Functions and methods of tensors."""

LAYERS = frozenset(
    """
    AlphaDropout Bilinear CosineEmbeddingLoss CosineSimilarity CTCLoss DataParallel
    EmbeddingBag GaussianNLLLoss Hardshrink HingeEmbeddingLoss LazyConv2d LazyLinear
    MarginRankingLoss
    MultiLabelSoftMarginLoss MultiMarginLoss PairwiseDistance ParameterDict ParameterList
    PoissonNLLLoss RReLU SoftMarginLoss Softmax2d Softmin Softshrink SyncBatchNorm
    Tanhshrink Threshold TripletMarginLoss
    """.split()
)
"""Classes of `gradc.nn`."""

OPTIMIZERS = frozenset(
    """
    Adafactor Muon SparseAdam swa_utils
    """.split()
)

RANDOM = frozenset(
    """
    beta binomial exponential gamma geometric gumbel laplace lognormal multinomial permutation
    poisson randperm
    """.split()
)

DATA = frozenset(
    """
    CIFAR100 ConcatDataset FashionMNIST ImageFolder IterableDataset random_split RandomSampler
    Sampler Subset WeightedRandomSampler
    """.split()
)

NAMES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "gradc": FUNCTIONS | LAYERS | OPTIMIZERS,
        "gradc.nn": LAYERS,
        "gradc.nn.functional": FUNCTIONS,
        "gradc.optim": OPTIMIZERS,
        "gradc.random": RANDOM,
        "gradc.data": DATA,
    }
)
"""Names by namespace."""

P = ParamSpec("P")
R = TypeVar("R")


def check_arguments(operation: str, names: tuple[str, ...], given: Mapping[str, Any]) -> None:
    """Raise ArgumentError for a given argument that is one of these."""
    for name in names:
        if name in given:
            fail(ArgumentError, operation, f"{name}=: this version does not offer it")


def without(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for a function that refuses these arguments."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            check_arguments(function.__name__, names, kwargs)
            return function(*args, **kwargs)

        return checked

    return decorate
