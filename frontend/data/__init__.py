"""Data sets as arrays: the file formats that they come in, and parts of them."""

from ..missing import namespace
from .cifar import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CIFAR100_SUPERCLASSES,
    load_cifar10,
    load_cifar100,
)
from .idx import load_idx
from .npy import load_npy, load_npz
from .split import random_split
from .table import Table, load_csv

__all__ = [
    "CIFAR10_CLASSES", "CIFAR100_CLASSES", "CIFAR100_SUPERCLASSES", "Table", "load_cifar10",
    "load_cifar100", "load_csv", "load_idx", "load_npy", "load_npz", "random_split",
]  # fmt: skip

__getattr__, __dir__ = namespace(globals())
