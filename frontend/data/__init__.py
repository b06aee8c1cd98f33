"""Reading the file formats that public data sets come in. Arrays out; nothing is downloaded."""

from ..missing import namespace
from .cifar import CIFAR10_CLASSES, load_cifar10
from .idx import load_idx

__all__ = ["CIFAR10_CLASSES", "load_cifar10", "load_idx"]

__getattr__, __dir__ = namespace(globals())
