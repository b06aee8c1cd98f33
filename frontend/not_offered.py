"""What the public contract names and this version does not offer: told by name, not guessed at.

A name that is missing from a namespace is refused by `__getattr__`; an argument by the function
that will take it. Both say "this version does not offer it": it is no typing mistake.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from gradc.compiler.errors import ArgumentError

from .tracing import fail

NAMES = (
    "augment", "batch_norm", "checkpoint", "cond", "conv1d", "conv2d", "conv3d", "custom_gradient",
    "avg_pool2d", "max_pool2d", "scan", "sort", "argsort", "while_loop", "frozen", "map",
    "sweep", "vmap",
)  # fmt: skip
"""Names of `gradc`."""

OPTIMIZER_ARGUMENTS = ("accumulate", "clip_norm", "clip_value")
"""Arguments of every optimizer."""

P = ParamSpec("P")
R = TypeVar("R")


def check_arguments(operation: str, names: tuple[str, ...], given: Mapping[str, Any]) -> None:
    """Raise ArgumentError for a given argument that is one of these."""
    for name in names:
        if name in given:
            fail(ArgumentError, operation, f"{name}=: this version does not offer it")


def without(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator for a function that refuses these arguments."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            check_arguments(function.__name__, names, kwargs)
            return function(*args, **kwargs)

        return checked

    return decorate
