"""Layers, containers and losses with PyTorch's class names, arguments and defaults.

A public class stands in the `__all__` of the module that defines it, and nowhere else.
"""

import typing as _typing

from ..missing import namespace as _namespace
from ..missing import public_names as _public_names
from . import functional as functional
from .activation import *
from .adaptive_softmax import *
from .attention import *
from .batch_norm import *
from .containers import *
from .convolution import *
from .distance import *
from .embedding import *
from .images import *
from .linear import *
from .loss import *
from .module import *
from .normalization import *
from .padding import *
from .pooling import *
from .position import *
from .recurrent import *
from .transformer import *

if not _typing.TYPE_CHECKING:  # a type checker follows the imports above
    __all__ = [*_public_names(globals()), "functional"]
    __getattr__, __dir__ = _namespace(globals())
