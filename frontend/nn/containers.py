"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gradc.compiler.errors import ArgumentError

from ..tracing import fail
from .module import Module

__all__ = [
    "Sequential",
    "ModuleList",
    "ModuleDict",
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

    def __getitem__(self, position: int) -> Module:
        """The module at a position, counted from the end if negative."""
        if not isinstance(position, int) or not -len(self) <= position < len(self):
            problem = f"no module at {position!r}; there are {len(self)}"
            fail(ArgumentError, type(self).__name__, problem)
        return list(self._modules.values())[position]


class Sequential(_Numbered):
    """Each module called on the result of the one before. Takes modules, or one dict of them."""

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


class ModuleList(_Numbered):
    """A list of modules that registers them; it has no forward of its own."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)


class ModuleDict(Module):
    """A dict of modules that registers them; it has no forward of its own."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        for name, module in (modules or {}).items():
            self.add_module(name, module)

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __getitem__(self, name: str) -> Module:
        if name not in self._modules:
            known = ", ".join(map(repr, self._modules)) or "none"
            fail(ArgumentError, "ModuleDict", f"no module {name!r}", [f"known: {known}"])
        return self._modules[name]

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._modules))

    def items(self) -> list[tuple[str, Module]]:
        """Names and modules."""
        return list(self._modules.items())
