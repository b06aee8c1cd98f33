"""Loading and running a compiled artefact: executor, training loop, data order, checkpoints.

Nothing here names a pass or a back end: it runs entry points, whoever loaded them. Who writes a
model needs the checks of arrays from here and no trainer, so the public names are imported when
they are first asked for.
"""

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from .executor import Executor
    from .history import History
    from .stopping import EarlyStopping
    from .trainer import Trainer

_MODULES = {
    "EarlyStopping": ".stopping",
    "Executor": ".executor",
    "History": ".history",
    "Trainer": ".trainer",
}

__all__ = ["EarlyStopping", "Executor", "History", "Trainer"]


def __getattr__(name: str) -> _typing.Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gradc.runtime' has no attribute {name!r}")
    globals()[name] = getattr(_importlib.import_module(_MODULES[name], __name__), name)
    return globals()[name]
