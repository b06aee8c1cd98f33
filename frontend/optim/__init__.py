"""Optimizers and schedules with PyTorch's names, options, defaults and formulas.

A public class stands in the `__all__` of the module that defines it, and nowhere else.
"""

import typing as _typing

from ..missing import namespace as _namespace
from ..missing import public_names as _public_names
from . import schedule as schedule
from .adam import *
from .adaptive import *
from .lbfgs import *
from .least_squares import *
from .matrices import *
from .newton import *
from .newton_cg import *
from .optimizer import *
from .sgd import *
from .sign import *
from .sparse import *

if not _typing.TYPE_CHECKING:  # a type checker follows the imports above
    __all__ = [*_public_names(globals()), "schedule"]
    __getattr__, __dir__ = _namespace(globals())
