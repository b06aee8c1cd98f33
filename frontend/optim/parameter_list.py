"""The parameters that an optimizer is given, as PyTorch's optimizers take them: these alone train.

    optim.SGD(model.parameters(), lr=0.1)
    optim.Adam([{"params": model.base.parameters(), "lr": 1e-4}, {"params": head}], lr=1e-3)

Taken are a list or any iterable of parameters, of pairs (name, parameter), or of dicts with the key
"params" and options for these parameters. Without a list every parameter that the loss reads is
trained. Parameters of the list that the loss does not read are not updated, as in PyTorch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.attributes import refusing
from gradc.compiler.errors import ArgumentError, CallError
from gradc.runtime.plain_number import as_real, plain

from ..constructors import checked_options
from ..synonyms import unknown_argument
from ..tensor import Tensor
from ..tracing import fail, here, located
from ..variables import State, StateCell
from .schedule import of_tensor


@dataclass(frozen=True)
class Listed:
    """Parameters of the list, with options of their own."""

    cells: frozenset[StateCell]
    options: Mapping[str, Any]

    def __deepcopy__(self, memo: dict[int, Any]) -> Listed:
        """It means these parameters, whoever copies an optimizer."""
        return self


class TakesParameters(type):
    """The class of optimizer classes: a first argument that is no number is the parameters."""

    def __call__(cls, *given: Any, **options: Any) -> Any:
        refusing(cls)  # the dataclass decorator of every optimizer has put its own refusal there
        if "params" in options:
            options["parameters"] = options.pop("params")
        if given and not _is_rate(given[0]):
            if options.get("parameters") is not None:
                fail(CallError, cls.__name__, "'parameters' is given twice")
            options["parameters"], given = given[0], given[1:]
        for value in given[1:]:
            if _holds_parameters(value):
                hint = f"write optim.{cls.__name__}(parameters, lr={given[0]!r})"
                fail(ArgumentError, cls.__name__, "the parameters come first", hint=hint)
        if (parameters := options.get("parameters")) is not None:
            options["parameters"] = listed_parameters(parameters, cls.__name__)
        signature = _init_signature(cls)
        for name in options:
            if name not in signature.parameters:
                raise unknown_argument(cls.__name__, name, list(signature.parameters)[1:])
        tensors = {p.name for p in signature.parameters.values() if p.annotation == "Tensor"}
        options = {n: v if n in tensors else _number(v) for n, v in options.items()}
        try:
            bound = signature.bind(None, *map(_number, given), **options)
        except TypeError as error:
            raise CallError(str(error), operation=cls.__name__, source=here()) from None
        with located(cls.__name__):
            bound.arguments.update(checked_options(signature, bound.arguments))
        return super().__call__(*bound.args[1:], **bound.kwargs)

    @property
    def __signature__(cls) -> inspect.Signature:
        """What `help` shows: the list of parameters comes first."""
        own = list(_init_signature(cls).parameters.values())[1:]
        first = next((p for p in own if p.name == "parameters"), None)
        rest = [p for p in own if p is not first]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature(rest if first is None else [first.replace(kind=kind), *rest])


def _number(value: Any) -> Any:
    """An option: a tensor that is one number is a rate that the program computes in every step."""
    if isinstance(value, Tensor) and value.ndim == 0 and value.dtype.is_float:
        return of_tensor(value)
    return plain(value)


def _init_signature(kind: Any) -> inspect.Signature:
    return inspect.signature(kind.__init__)


def _is_rate(value: Any) -> bool:
    """Whether a first argument is a learning rate: a number or a schedule."""
    is_number = isinstance(value, (bool, np.bool_)) or as_real(value) is not None
    return is_number or hasattr(value, "formula")


def _holds_parameters(value: Any) -> bool:
    """Whether an argument that is no first one looks like the list of parameters."""
    if isinstance(value, Mapping) or hasattr(value, "named_parameters") or _is_generator(value):
        return True
    entries = value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(entry, (State, Mapping)) for entry in entries)


def _is_generator(value: Any) -> bool:
    return inspect.isgenerator(value) or isinstance(value, (map, filter, zip))


def listed_parameters(given: Any, operation: str) -> tuple[Listed, ...]:
    """The list, checked. Raises ArgumentError for what is no parameter, for none, and for one
    that is there twice."""
    if isinstance(given, tuple) and given and all(isinstance(g, Listed) for g in given):
        return given
    entries = _entries(given, operation)
    if all(isinstance(entry, Mapping) for entry in entries) and entries:
        found = [_group(entry, operation) for entry in entries]
    else:
        found = [(_cells(entries, operation), {})]
    cells = [cell for own, _ in found for cell in own]
    if not cells:
        hint = "layers have parameters, activations have none"
        fail(ArgumentError, operation, "the list of parameters is empty", hint=hint)
    seen: set[StateCell] = set()
    for cell in cells:
        if cell in seen:
            fail(ArgumentError, operation, f"parameter {cell.name!r} is in the list twice")
        seen.add(cell)
    return tuple(Listed(frozenset(own), options) for own, options in found)


def _entries(given: Any, operation: str) -> list[Any]:
    hint = "write model.parameters()"
    if isinstance(given, Tensor):
        hint = "write a list: [parameter]"
    elif isinstance(given, Mapping):
        hint = "write a list: dictionary.values(), or [{'params': ..., 'lr': ...}]"
    elif getattr(given, "__name__", "") == "parameters":
        hint = "call it: model.parameters()"
    elif isinstance(given, Iterable) and not hasattr(given, "named_parameters"):
        if not isinstance(given, (str, bytes, np.ndarray)):
            return list(given)
    problem = f"a list of parameters is needed, not {type(given).__name__}"
    fail(ArgumentError, operation, problem, hint=hint)


def _group(entry: Mapping[str, Any], operation: str) -> tuple[list[StateCell], dict[str, Any]]:
    if "params" not in entry:
        fail(ArgumentError, operation, f"a group has the key 'params', not only {list(entry)}")
    value = entry["params"]
    entries = [value] if isinstance(value, Tensor) else _entries(value, operation)
    options = {name: plain(option) for name, option in entry.items() if name != "params"}
    return _cells(entries, operation), options


def _cells(entries: Sequence[Any], operation: str) -> list[StateCell]:
    cells: list[StateCell] = []
    for position, entry in enumerate(entries):
        named = isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str)
        parameter = entry[1] if named else entry
        if not isinstance(parameter, State) or not parameter.trained:
            what = (
                parameter.node.type if isinstance(parameter, Tensor) else type(parameter).__name__
            )
            hint = "parameters are made by gc.parameter and the layers of gc.nn"
            if isinstance(parameter, State):
                hint = "a state is updated by gc.update"
            problem = f"entry {position} of the list is no parameter: {what}"
            fail(ArgumentError, operation, problem, hint=hint)
        cells.append(parameter.cell)
    return cells


def is_listed(groups: Sequence[Listed] | None, parameter: State) -> bool:
    """Whether an optimizer with this list trains the parameter."""
    return groups is None or any(parameter.cell in group.cells for group in groups)


def options_of(groups: Sequence[Listed] | None, parameter: State) -> Mapping[str, Any]:
    """The options that the list has for one parameter."""
    for group in groups or ():
        if parameter.cell in group.cells:
            return group.options
    return {}
