"""Data sets as arrays: the file formats that they come in, and parts of them."""

from ..missing import namespace
from .cifar import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CIFAR100_SUPERCLASSES,
    load_cifar10,
    load_cifar100,
)
from .conversion import convert
from .idx import load_idx
from .images import Pictures, load_images
from .npy import load_npy, load_npz
from .remote import cifar10, cifar100, fashion_mnist, mnist
from .split import random_split
from .table import Table, load_csv

__all__ = [
    "CIFAR10_CLASSES", "CIFAR100_CLASSES", "CIFAR100_SUPERCLASSES", "Pictures", "Table", "cifar10",
    "cifar100", "convert", "fashion_mnist", "load_cifar10", "load_cifar100", "load_csv",
    "load_idx", "load_images", "load_npy", "load_npz", "mnist", "random_split",
]  # fmt: skip

__getattr__, __dir__ = namespace(globals())
