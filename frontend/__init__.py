"""gradc: a gradient compiler. A model and its training step become one native program.

To define a model takes tensors, operations and gradients; to run it takes the compiler's passes and
the runtime too. Those are imported when `gc.compile`, `gc.training` or a name of the runtime is
first used, and so are layers, optimizers, augmentation and data sets when they are asked for: that
makes `import gradc` less than half as long.

Public is what is imported here without an underscore; functions on tensors, layers and optimizers
come from the `__all__` of the module that defines them.
"""

import importlib as _importlib
import typing as _typing

from gradc.compiler.errors import (
    ArgumentError,
    CallError,
    CompileError,
    DeviceError,
    DeviceMemoryError,
    DTypeError,
    FileError,
    GradcError,
    GradientError,
    IRSyntaxError,
    NonFiniteError,
    ShapeError,
    UnknownNameError,
    VerifyError,
)
from gradc.compiler.types import (
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from gradc.compiler.types import bool_ as bool

from . import init, linalg, random, special
from . import missing as _missing
from .functional import *
from .functions import checkpoint, custom_gradient, vmap
from .graphs import graph, parse
from .loops import cond, map, scan, while_loop
from .penalties import elastic_penalty, l1_penalty, l2_penalty
from .solvers import cg
from .tensor import Tensor
from .transforms import grad, hessian, hvp, jacobian, jvp, vjp
from .variables import frozen, input, parameter, state, update

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from gradc.runtime.history import History
    from gradc.runtime.stopping import EarlyStopping
    from gradc.runtime.trainer import Trainer

    from . import augment, data, nn, optim
    from ._choices import Range
    from ._sweep import Sweep, SweepRun, sweep
    from ._training import TrainingProgram, training
    from .compiled import Function, compile

_LATE_MODULES = ("augment", "data", "nn", "optim")
_MODULES = ("init", "linalg", "random", "special", *_LATE_MODULES)
_LATE = {
    "EarlyStopping": "gradc.runtime",
    "Function": "gradc.compiled",
    "History": "gradc.runtime",
    "Range": "gradc._choices",
    "Sweep": "gradc._sweep",
    "SweepRun": "gradc._sweep",
    "Trainer": "gradc.runtime",
    "TrainingProgram": "gradc._training",
    "compile": "gradc.compiled",
    "sweep": "gradc._sweep",
    "training": "gradc._training",
}

if not _typing.TYPE_CHECKING:  # a type checker follows the imports above
    __all__ = sorted([*_missing.public_names(globals()), *_MODULES, *_LATE])


def __getattr__(name: str) -> _typing.Any:
    """Modules, and names that need the compiler or the runtime, imported when first asked for."""
    if name in _LATE_MODULES:
        return _importlib.import_module(f"gradc.{name}")
    if name in _LATE:
        value = getattr(_importlib.import_module(_LATE[name]), name)
        globals()[name] = value
        globals().pop("compiled", None)
        return value
    raise _missing.missing_name("gradc", name, globals()["__all__"])


_, __dir__ = _missing.namespace(globals(), kept=("compiler", "runtime"))
