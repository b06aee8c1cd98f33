"""Calls that do not fit a method's arguments end in a CallError, not in a complaint of Python's.

    trainer.fit(data, epoch=3)     CallError: fit: there is no argument 'epoch'
                                     fit(data=None, *, batch_size=None, epochs=1, ...)
                                     hint: did you mean epochs?

What the frontend's own functions do likewise (frontend/synonyms.py) knows the user's line; the
runtime stands alone and names the call.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from gradc.compiler.attributes import hint_for
from gradc.compiler.errors import CallError

F = TypeVar("F", bound=Callable[..., Any])
Kind = TypeVar("Kind", bound=type)

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def fitting(arrays: str = "") -> Callable[[F], F]:
    """A decorator for methods: calls that do not fit are refused as gradc refuses.

    arrays   what to write where arrays were given one by one: a hint
    """

    def decorate(method: F) -> F:
        signature = inspect.signature(method)
        parameters = list(signature.parameters.values())[1:]
        operation = method.__qualname__.removesuffix(".__init__").rpartition(".")[2]

        @functools.wraps(method)
        def call(*given: Any, **options: Any) -> Any:
            try:
                return method(*given, **options)
            except TypeError as error:
                trace = error.__traceback__
                if trace is None or trace.tb_next is not None:  # it ran, and this is from inside
                    raise
                complaint = str(error)
            raise _refusal(operation, parameters, given[1:], options, arrays, complaint)

        return cast(F, call)

    return decorate


def fitting_construction(kind: Kind) -> Kind:
    """The same for a class: for calls that make an object of it."""
    kind.__init__ = fitting()(kind.__init__)  # type: ignore[misc]
    return kind


def _refusal(
    operation: str,
    parameters: list[inspect.Parameter],
    given: tuple[Any, ...],
    options: Mapping[str, Any],
    arrays: str,
    complaint: str,
) -> CallError:
    """What is wrong with the call: an unknown name, too many values, or Python's own words."""
    shown = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
    named = [p for p in parameters if p.kind not in _VARIADIC]
    names = [p.name for p in named if p.kind is not p.POSITIONAL_ONLY]
    places = [p for p in named if p.kind is not p.KEYWORD_ONLY]
    unknown = [name for name in options if name not in names]
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters)
    if unknown and not is_open:
        return unknown_argument(operation, unknown[0], shown, arrays)
    if len(given) > len(places):
        problem = f"it takes {len(places)} positional argument{'s' * (len(places) != 1)}, "
        problem += f"and {len(given)} were given"
        hint = arrays
    else:
        problem, hint = complaint.partition("() ")[2] or complaint, ""
    facts = [f"{operation}{shown}"]
    return CallError(problem, operation=operation, facts=facts, hint=hint)


def unknown_argument(
    operation: str, name: str, signature: inspect.Signature, otherwise: str = ""
) -> CallError:
    """The error for an argument name that a method does not have; `otherwise` is a last hint."""
    hint = hint_for(name, {}, list(signature.parameters)) or otherwise
    facts = [f"{operation}{signature}"]
    problem = f"there is no argument {name!r}"
    return CallError(problem, operation=operation, facts=facts, hint=hint)
