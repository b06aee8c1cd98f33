"""Data sets as arrays: the file formats that they come in, and parts of them."""

from gradc.runtime.rows import Rows

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
from .scaling import Scaling, range_scaling, standard_scaling
from .split import k_fold, random_split
from .table import Table, load_csv

__all__ = [
    "CIFAR10_CLASSES", "CIFAR100_CLASSES", "CIFAR100_SUPERCLASSES", "Pictures", "Rows", "Scaling",
    "Table", "cifar10", "cifar100", "convert", "fashion_mnist", "k_fold", "load_cifar10",
    "load_cifar100", "load_csv", "load_idx", "load_images", "load_npy", "load_npz", "mnist",
    "random_split", "range_scaling", "standard_scaling",
]  # fmt: skip

__getattr__, __dir__ = namespace(globals())
