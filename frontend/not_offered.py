"""What the public contract or PyTorch names and this version does not offer: told by name.

A name that is missing from a namespace is refused by `__getattr__`, which says "this version does
not offer it": it is no typing mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FUNCTIONS = frozenset(
    """
    amp angle backends complex128 complex64 conj distributed eig eigh fft float8_e4m3fn
    func imag int4 multi_head_attention_forward multiprocessing onnx pinv polar profiler real
    svd uint16 uint32 uint64
    """.split()
)
"""Functions and methods of tensors."""

LAYERS = frozenset(
    """
    DataParallel FractionalMaxPool2d FractionalMaxPool3d
    LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d LazyConv1d LazyConv2d LazyConv3d
    LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyLinear SyncBatchNorm
    """.split()
)
"""Classes of `gradc.nn`."""

OPTIMIZERS = frozenset(
    """
    swa_utils
    """.split()
)

LINEAR_ALGEBRA = frozenset(
    """
    cond eig eigh eigvals eigvalsh matrix_exp matrix_rank pinv svd svdvals tensorinv tensorsolve
    """.split()
)

NAMES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "gradc": FUNCTIONS | LAYERS | OPTIMIZERS,
        "gradc.nn": LAYERS,
        "gradc.nn.functional": FUNCTIONS,
        "gradc.optim": OPTIMIZERS,
        "gradc.linalg": LINEAR_ALGEBRA,
    }
)
"""Names by namespace."""
