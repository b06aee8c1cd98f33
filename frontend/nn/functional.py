"""The neural functions and losses, also in `gc` itself, under PyTorch's name for the collection."""

import typing as _typing

from .. import functional as _functional
from ..functional.activation import *
from ..functional.attention import *
from ..functional.convolution import *
from ..functional.ctc import *
from ..functional.distances import *
from ..functional.embeddings import *
from ..functional.images import *
from ..functional.losses import *
from ..functional.margins import *
from ..functional.neural import *
from ..functional.normalization import *
from ..functional.pooling import *
from ..functional.sampling import *
from ..functional.thresholds import *
from ..functional.unpooling import *
from ..missing import namespace as _namespace
from ..missing import public_names as _public_names

if not _typing.TYPE_CHECKING:  # a type checker follows the imports above
    __all__ = _public_names(globals())
    globals().update({_name: getattr(_functional, _name) for _name in __all__})
    __getattr__, __dir__ = _namespace(globals())
