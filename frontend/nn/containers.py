"""Modules that hold modules, or parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError

from ..tensor import Tensor, as_tensor
from ..tracing import fail
from ..variables import State
from .module import Module

__all__ = [
    "Sequential",
    "Residual",
    "ModuleList",
    "ModuleDict",
    "ParameterList",
    "ParameterDict",
]


def _hint(given: Any, container: str) -> str:
    if isinstance(given, type):
        return "instantiate the class"
    is_list = isinstance(given, (list, tuple)) and container == "Sequential"
    return "write nn.Sequential(*layers)" if is_list else ""


class _Numbered(Module):
    """Submodules named by their position."""

    def _append(self, module: Any) -> None:
        name = str(len(self._modules))
        if not isinstance(module, Module):
            fail(
                ArgumentError,
                type(self).__name__,
                f"element {name} is {module!r}, not a module",
                hint=_hint(module, type(self).__name__),
            )
        self.add_module(name, module)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns the container."""
        self._append(module)
        return self

    def extend(self, modules: Iterable[Module]) -> Any:
        """Add modules at the end; returns the container."""
        for module in modules:
            self._append(module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(list(self._modules.values()))

    def __getitem__(self, position: Any) -> Any:
        """The module at a position, counted from the end if negative; of a slice a container of
        the same modules."""
        if isinstance(position, slice):
            part = list(self._modules.values())[position]
            made = copy.copy(self)
            object.__setattr__(made, "_modules", {str(n): m for n, m in enumerate(part)})
            return made
        if not isinstance(position, int) or not -len(self) <= position < len(self):
            problem = f"no module at {position!r}; there are {len(self)}"
            fail(ArgumentError, type(self).__name__, problem)
        return list(self._modules.values())[position]


class Sequential(_Numbered):
    """Each module called on the result of the one before. Takes modules, or one dict of them.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model(gc.input("x", ("batch", 4))).shape
    ('batch', 2)
    >>> [name for name, _ in model.named_parameters()]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)

    def forward(self, input: Any) -> Any:
        """The modules' composition."""
        for module in self._modules.values():
            input = module(input)
        return input


class Residual(Module):
    """What a module makes of the input, added to the input: a block of a residual network.

    shortcut   a module for the other way; None: the input itself
    Raises ShapeError where the two ways give tensors of different shapes.
    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2016).

    >>> block = nn.Residual(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)))
    >>> block(gc.input("x", ("batch", 4))).shape
    ('batch', 4)
    """

    def __init__(self, module: Any, shortcut: Any = None) -> None:
        for name, given in (("module", module), ("shortcut", shortcut)):
            if not isinstance(given, Module) and (name == "module" or given is not None):
                problem = f"{name} is {given!r}, not a module"
                fail(ArgumentError, "Residual", problem, hint=_hint(given, "Residual"))
        self.module, self.shortcut = module, shortcut

    def forward(self, input: Any) -> Tensor:
        """The sum of both ways."""
        made = self.module(input)
        kept = as_tensor(input) if self.shortcut is None else self.shortcut(input)
        if made.shape != kept.shape:
            facts = [f"the module gives {made.node.type}, the shortcut {kept.node.type}"]
            fail(ShapeError, "Residual", "the two ways differ in shape", facts)
        total: Tensor = made + kept
        return total


class ModuleList(_Numbered):
    """A list of modules that registers them; it has no forward of its own.

    >>> layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
    >>> x = gc.input("x", ("batch", 4))
    >>> for layer in layers:
    ...     x = gc.relu(layer(x))
    >>> [name for name, _ in layers.named_parameters()][:2]
    ['0.weight', '0.bias']
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)


class _Named(Module):
    """Modules or parameters by name."""

    def _entries(self) -> dict[str, Any]:
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        entries = self._entries()
        if name not in entries:
            known = ", ".join(map(repr, entries)) or "none"
            kind = type(self).__name__
            what = kind.removesuffix("Dict").lower()
            fail(ArgumentError, kind, f"no {what} {name!r}", [f"known: {known}"])
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries()

    def __len__(self) -> int:
        return len(self._entries())

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries()))

    def keys(self) -> list[str]:
        """Names."""
        return list(self._entries())

    def values(self) -> list[Any]:
        """What the names stand for."""
        return list(self._entries().values())

    def items(self) -> list[tuple[str, Any]]:
        """Names and what they stand for."""
        return list(self._entries().items())

    def update(self, entries: Mapping[str, Any]) -> None:
        """Add entries, or replace those of the same names."""
        for name, entry in dict(entries).items():
            self[name] = entry


class ModuleDict(_Named):
    """A dict of modules that registers them; it has no forward of its own.

    >>> parts = nn.ModuleDict({"body": nn.Linear(4, 8), "head": nn.Linear(8, 2)})
    >>> parts["head"](parts["body"](gc.input("x", ("batch", 4)))).shape
    ('batch', 2)
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def _entries(self) -> dict[str, Any]:
        return self._modules

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)


# ---------------------------------------------------------------- parameters


def _checked_state(container: str, name: str, value: Any) -> State:
    if isinstance(value, State):
        return value
    problem = f"element {name} is {type(value).__name__}, not a parameter"
    hint = "parameters are made by gc.parameter(name, shape, init=...)"
    fail(ArgumentError, container, problem, hint=hint)


class ParameterList(Module):
    """A list of parameters that registers them by position; it has no forward of its own.

        self.scales = nn.ParameterList([gc.parameter("s", (3,)) for _ in range(4)])

    names them scales.0 to scales.3.

    >>> values = nn.ParameterList([gc.parameter("w", (3,)) for _ in range(2)])
    >>> [name for name, _ in values.named_parameters()]
    ['0', '1']
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.extend(values)

    def append(self, value: Any) -> Any:
        """Add a parameter at the end; returns the list."""
        name = str(len(self))
        self._register(name, _checked_state("ParameterList", name, value))
        return self

    def extend(self, values: Iterable[Any]) -> Any:
        """Add parameters at the end; returns the list."""
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._states)

    def __iter__(self) -> Iterator[State]:
        return iter(list(self._states.values()))

    def __getitem__(self, position: int) -> State:
        """The parameter at a position, counted from the end if negative."""
        if not isinstance(position, int) or not -len(self) <= position < len(self):
            problem = f"no parameter at {position!r}; there are {len(self)}"
            fail(ArgumentError, "ParameterList", problem)
        return list(self._states.values())[position]

    def extra_repr(self) -> str:
        return ", ".join(str(state.node.type) for state in self)


class ParameterDict(_Named):
    """A dict of parameters that registers them by name; it has no forward of its own.

    >>> names = ("scale", "shift")
    >>> values = nn.ParameterDict({name: gc.parameter(name, (3,)) for name in names})
    >>> [name for name, _ in values.named_parameters()]
    ['scale', 'shift']
    """

    def __init__(self, parameters: Mapping[str, Any] | None = None) -> None:
        self.update(parameters or {})

    def _entries(self) -> dict[str, Any]:
        return self._states

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str) or not name or "." in name:
            problem = f"a parameter's name is a string, not empty and without a dot: {name!r}"
            fail(ArgumentError, "ParameterDict", problem)
        self._register(name, _checked_state("ParameterDict", name, value))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {state.node.type}" for name, state in self.items())
