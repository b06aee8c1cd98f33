"""Module: parameters and submodules registered by attribute, named as in PyTorch.

A parameter's name is the path of attributes from the outermost module: `0.weight`, `fc1.bias`. The
path is read when a graph is assembled, so modules may be put together in any order. A parameter
that is assigned in two places is one parameter and keeps the name of its first place; a module put
into another parent takes its place there.
"""

from __future__ import annotations

import copy
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any

from gradc.compiler.errors import ArgumentError, CallError, DTypeError, UnknownNameError

from ..constructors import checked_constructor
from ..functional.creation import training_mode
from ..missing import missing_attribute
from ..spellings import MODULE, REFUSED_ARGUMENTS
from ..synonyms import spelled
from ..tensor import Tensor
from ..tracing import called_by_user, fail
from ..variables import State

__all__ = [
    "Module",
]


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("gradc.")


def _own_constructor(kind: type) -> Any:
    """What makes objects of a class, not yet checked, in its name: also where it is inherited."""
    made = inspect.unwrap(kind.__init__)  # type: ignore[misc]
    if "__init__" in vars(kind):
        return made

    parts = made.__code__, made.__globals__, made.__name__, made.__defaults__, made.__closure__
    own: Any = functools.update_wrapper(types.FunctionType(*parts), made)
    own.__kwdefaults__, own.__qualname__ = made.__kwdefaults__, f"{kind.__qualname__}.__init__"
    del own.__dict__["__wrapped__"]
    return own


class Module:
    """Base class of layers and models: assign parameters and modules to attributes in __init__,
    write `forward`, call the module on tensors.

    A parameter that is assigned to an attribute is named by the path there, whatever name it was
    made with: `self.scale = gc.parameter("s", (2,))` in a model's layer `head` is `head.scale`.

    >>> class Half(nn.Module):
    ...     def __init__(self):
    ...         self.inner = nn.Linear(4, 2)
    ...     def forward(self, x):
    ...         return self.inner(x)
    >>> Half()(gc.input("x", ("batch", 4))).shape
    ('batch', 2)
    >>> [name for name, _ in Half().named_parameters()]
    ['inner.weight', 'inner.bias']
    """

    _states: dict[str, State]
    _modules: dict[str, Module]
    _parent: Module | None
    _name: str

    def __new__(cls, *arguments: Any, **options: Any) -> Module:
        """The registries exist before __init__, so that super().__init__() may be forgotten."""
        self = super().__new__(cls)
        if cls.__init__ is object.__init__ and (arguments or options):
            given = ", ".join([*map(repr, arguments), *(f"{n}={v!r}" for n, v in options.items())])
            hint = next((REFUSED_ARGUMENTS[n] for n in options if n in REFUSED_ARGUMENTS), "")
            fail(CallError, cls.__name__, f"there are no arguments; given: {given}", hint=hint)
        for name, value in (("_states", {}), ("_modules", {}), ("_parent", None), ("_name", "")):
            object.__setattr__(self, name, value)
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        """Layers of this package check their arguments, and take other libraries' names of them."""
        super().__init_subclass__(**options)
        if _is_ours(cls) and cls.__init__ is not object.__init__:
            init = checked_constructor(_own_constructor(cls), cls.__name__)
            cls.__init__ = spelled(init)  # type: ignore[method-assign]

    def __getattr__(self, name: str) -> Any:
        """Called for names that do not exist. `training` is the mode, as a tensor."""
        if name == "training":
            return training_mode()
        raise missing_attribute(type(self), name, MODULE, vars(self))

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and called_by_user():
            self._check_settable(name, value)
        self._states.pop(name, None)
        self._modules.pop(name, None)
        if isinstance(value, State):
            self._register(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        object.__setattr__(self, name, value)

    def _register(self, name: str, state: State) -> None:
        """Let `name` lead to a state, which is named by its first place."""
        self._states[name] = state
        if state.cell.owner is None:
            state.cell.owner, state.cell.attribute = self, name

    def _check_settable(self, name: str, value: Any) -> None:
        """A layer of this package has the attributes that it was made with, and a container takes
        modules; a user's own module takes any, but for the mode, which is not an attribute."""
        if name == "training":
            problem = "the mode is no attribute of a module"
            fail(UnknownNameError, type(self).__name__, problem, hint=MODULE["train"])
        is_added = isinstance(value, Module) and hasattr(type(self), "__len__")
        if _is_ours(type(self)) and not is_added and not hasattr(self, name):
            raise missing_attribute(type(self), name, MODULE, vars(self))

    def __copy__(self) -> Module:
        """A module that shares the layers and parameters of this one."""
        made = type(self).__new__(type(self))
        for name, value in vars(self).items():
            shared = dict(value) if name in ("_states", "_modules") else value
            object.__setattr__(made, name, shared)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        """A module of the same layers with parameters of its own, which begin alike.

        Random first values are drawn anew, as for a layer made a second time.
        """
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        above = None if self._parent is None else memo.get(id(self._parent))
        object.__setattr__(made, "_parent", above)
        object.__setattr__(made, "_name", self._name if above is not None else "")
        for name, value in vars(self).items():
            if name not in ("_parent", "_name"):
                object.__setattr__(made, name, copy.deepcopy(value, memo))
        for name, module in made._modules.items():
            if module._parent is None:  # its place was in a module that is not copied
                object.__setattr__(module, "_parent", made)
                object.__setattr__(module, "_name", name)
        for name, state in made._states.items():
            if state.cell.owner is None:
                state.cell.owner, state.cell.attribute = made, name
        return made

    def __reduce__(self) -> Any:
        hint = "trainer.save writes the parameters' values, trainer.load reads them"
        fail(DTypeError, "pickle", "a module is a part of a graph and has no values", hint=hint)

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
