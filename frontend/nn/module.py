"""Module: parameters and submodules registered by attribute, named as in PyTorch.

A parameter's name is the path of attributes from the outermost module: `0.weight`, `fc1.bias`. The
path is read when a graph is assembled, so modules may be put together in any order. A parameter
that is assigned in two places is one parameter and keeps the name of its first place; a module put
into another parent takes its place there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gradc.compiler.errors import ArgumentError

from ..tensor import Tensor
from ..tracing import fail
from ..variables import State


class Module:
    """Base class of layers and models: assign parameters and modules to attributes in __init__,
    write `forward`, call the module on tensors."""

    _states: dict[str, State]
    _modules: dict[str, Module]
    _parent: Module | None
    _name: str

    def __new__(cls, *arguments: Any, **options: Any) -> Module:
        """The registries exist before __init__, so that super().__init__() may be forgotten."""
        self = super().__new__(cls)
        for name, value in (("_states", {}), ("_modules", {}), ("_parent", None), ("_name", "")):
            object.__setattr__(self, name, value)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        self._states.pop(name, None)
        self._modules.pop(name, None)
        if isinstance(value, State):
            self._states[name] = value
            if value.cell.owner is None:
                value.cell.owner, value.cell.attribute = self, name
        elif isinstance(value, Module):
            self.add_module(name, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        self._states.pop(name, None)
        self._modules.pop(name, None)
        object.__delattr__(self, name)

    def add_module(self, name: str, module: Any) -> None:
        """Register a submodule under a name that need not be a Python identifier."""
        if not isinstance(module, Module):
            problem = f"{name!r} is a {type(module).__name__}, not a module"
            fail(ArgumentError, type(self).__name__, problem)
        if not name or "." in name:
            problem = f"a module's name is not empty and has no dot: {name!r}"
            fail(ArgumentError, type(self).__name__, problem)
        if module._contains(self):
            fail(ArgumentError, type(self).__name__, f"{name!r} would contain itself")
        self._modules[name] = module
        if module._parent is not self:
            object.__setattr__(module, "_parent", self)
            object.__setattr__(module, "_name", name)

    def _contains(self, module: Module) -> bool:
        return any(found is module for found in self.modules())

    def path(self) -> str:
        """This module's place in the outermost module, "" for the outermost itself."""
        if self._parent is None:
            return ""
        above = self._parent.path()
        return f"{above}.{self._name}" if above else self._name

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes; every subclass writes its own."""
        fail(ArgumentError, type(self).__name__, "the module has no forward method")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self.forward(*inputs, **options)

    # ------------------------------------------------------------ looking inside

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, once each, with names relative to this one."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            below = [(f"{name}.{n}" if name else n, m) for n, m in module._modules.items()]
            stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        """This module and all below it, once each."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> list[tuple[str, Module]]:
        """The modules directly inside this one."""
        return list(self._modules.items())

    def children(self) -> list[Module]:
        """The modules directly inside this one."""
        return list(self._modules.values())

    def _named_states(self, prefix: str) -> list[tuple[str, State]]:
        found: dict[int, tuple[str, State]] = {}
        for path, module in self.named_modules(prefix):
            for name, state in module._states.items():
                full = f"{path}.{name}" if path else name
                found.setdefault(id(state.cell), (full, state))
        return list(found.values())

    def named_parameters(self, prefix: str = "") -> list[tuple[str, State]]:
        """Trained state with names relative to this module, each parameter once."""
        return [(name, state) for name, state in self._named_states(prefix) if state.trained]

    def parameters(self) -> list[Tensor]:
        """Trained state of this module and all below it, each parameter once."""
        return [state for _, state in self.named_parameters()]

    def named_buffers(self, prefix: str = "") -> list[tuple[str, State]]:
        """State that is not trained, with names relative to this module."""
        return [(name, state) for name, state in self._named_states(prefix) if not state.trained]

    def buffers(self) -> list[Tensor]:
        """State of this module and all below it that is not trained."""
        return [state for _, state in self.named_buffers()]

    # ------------------------------------------------------------ text

    def extra_repr(self) -> str:
        """The module's options, for its text."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}" for name, module in self._modules.items()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        inner = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {inner}\n)"
