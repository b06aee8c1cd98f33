"""Loading and running a compiled artefact: executor, training loop, data order, checkpoints.

Nothing here names a pass or a back end: it runs entry points, whoever loaded them.
"""

from .executor import Executor
from .history import History
from .stopping import EarlyStopping
from .trainer import Trainer

__all__ = ["EarlyStopping", "Executor", "History", "Trainer"]
