"""Functions on tensors: the Array API's, and PyTorch's neural functions and losses.

A public function stands in the `__all__` of the module that defines it, and nowhere else: this
module, `gc`, `gc.nn.functional` and the tests that run over all functions take it from there.

What is public here checks its arguments and takes synonyms of their names (see ../arguments.py and
../synonyms.py); between themselves the modules call each other directly.
"""

import typing as _typing

from ..arguments import checked as _checked
from ..missing import public_names as _public_names
from ..synonyms import spell_functions as _spell_functions
from .activation import *
from .attention import *
from .comparison import *
from .convolution import *
from .creation import *
from .ctc import *
from .distances import *
from .einstein import *
from .elementwise import *
from .embeddings import *
from .factors import *
from .gather import *
from .images import *
from .inquiry import *
from .linalg import *
from .losses import *
from .manipulation import *
from .margins import *
from .metrics import *
from .neural import *
from .normalization import *
from .not_numbers import *
from .pooling import *
from .quantiles import *
from .sampling import *
from .sorting import *
from .statistics import *
from .thresholds import *
from .trigonometry import *
from .unpooling import *

if not _typing.TYPE_CHECKING:  # a type checker follows the imports above
    __all__ = _public_names(globals())
    for _name in __all__:
        if callable(globals()[_name]):
            globals()[_name] = _checked(globals()[_name])
    _spell_functions(__all__, globals())
