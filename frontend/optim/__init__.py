"""Optimizers and schedules with PyTorch's names, options, defaults and formulas."""

from ..missing import namespace
from . import schedule
from .adam import Adam, AdamW
from .optimizer import Optimizer, group
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "group", "schedule"]

__getattr__, __dir__ = namespace(globals())
