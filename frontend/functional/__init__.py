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
from ..synonyms import spelled as _spelled
from ..tensor import Tensor as _Tensor
from . import methods as _methods
from . import other_names as _other_names
from .activation import *
from .arithmetic import *
from .attention import *
from .bessel import *
from .calculus import *
from .closeness import *
from .comparison import *
from .convolution import *
from .counting import *
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
from .matrices import *
from .metrics import *
from .neural import *
from .normalization import *
from .norms import *
from .not_numbers import *
from .other_names import *
from .parts import *
from .pooling import *
from .products import *
from .quantiles import *
from .sampling import *
from .sorting import *
from .special import *
from .statistics import *
from .thresholds import *
from .trigonometry import *
from .unpooling import *
from .updates import *

if not _typing.TYPE_CHECKING:  # a type checker follows the imports above
    __all__ = _public_names(globals())
    _own = [_name for _name in __all__ if _name not in _other_names.__all__]
    for _name in _own:
        if callable(globals()[_name]):
            globals()[_name] = _checked(globals()[_name])
    _spell_functions(_own, globals())
    for _name in _other_names.__all__:
        globals()[_name] = globals()[getattr(_other_names, _name).__name__]
    for _method in _methods.OWN:
        setattr(_Tensor, _method.__name__, _spelled(_checked(_method)))
    for _name, _dtype in _methods.CONVERSIONS.items():
        setattr(_Tensor, _name, _spelled(_methods.conversion(_name, _dtype)))
    for _name in _methods.METHODS:
        if _name not in vars(_Tensor):
            setattr(_Tensor, _name, globals()[_name])
    for _name, _method in _methods.OTHER.items():
        setattr(_Tensor, _name, getattr(_Tensor, _method.__name__))
