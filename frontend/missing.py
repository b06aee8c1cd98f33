"""Names that do not exist, in modules and on objects: an error that says what to write instead.

A module of gradc ends with

    __getattr__, __dir__ = namespace(globals())

and then shows the names of its `__all__` alone. The errors are AttributeErrors, as `hasattr`,
`copy` and `pickle` want them; advice comes from the tables of spellings.py, from a sibling that has
the name, or from the names that come near.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from gradc.compiler.attributes import hint_for
from gradc.compiler.errors import UnknownNameError

from .spellings import NAMESPACES
from .tracing import here


def missing_name(module: str, name: str, known: Iterable[str], problem: str = "") -> AttributeError:
    """The error for a name that a module of gradc does not have."""
    problem = problem or f"module {module!r} has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(problem)
    hint = NAMESPACES[module].get(name) or _elsewhere(module, name)
    if name.endswith("_") and name[:-1] in known:
        hint = "tensors are values and never change; layers take weight_init= and bias_init="
    return UnknownNameError(problem, source=here(), hint=hint or hint_for(name, {}, known))


def missing_attribute(
    kind: type, name: str, hints: Mapping[str, str], own: Iterable[str] = ()
) -> AttributeError:
    """The error for an attribute that a class does not have, with the advice of a table.

    own   attributes that the object has beside those of its class

    Names with underscores are asked for by Python's protocols and get a short answer.
    """
    problem = f"{kind.__name__!r} object has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(problem)
    functions = getattr(sys.modules.get("gradc.functional"), "__all__", ())
    hint = hints.get(name) or hints.get(name.removesuffix("_"), "")
    if name not in hints and hint:
        hint = "tensors are values and never change; " + hint
    if not hint and name in functions and kind.__module__ in ("gradc.tensor", "gradc.variables"):
        hint = f"write gc.{name}(x, ...)"
    known = [*dir(kind), *own]
    return UnknownNameError(problem, source=here(), hint=hint or hint_for(name, {}, known))


def _elsewhere(module: str, name: str) -> str:
    """The sibling namespace that has the name."""
    for other in NAMESPACES:
        found = sys.modules.get(other)
        if other != module and found is not None and name in getattr(found, "__all__", ()):
            return f"write gc{other.removeprefix('gradc')}.{name}"
    return ""


def namespace(
    names: dict[str, Any], kept: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a module of gradc, given its globals().

    Only the names of `__all__` are public: modules that were imported to make them are taken out
    of the namespace, but for `kept`; import statements find them all the same.
    """
    module, public = names["__name__"], tuple(names["__all__"])
    for name, value in list(names.items()):
        inner = isinstance(value, ModuleType) and value.__name__ == f"{module}.{name}"
        if inner and name not in public and name not in kept:
            del names[name]

    def look_up(name: str) -> Any:
        raise missing_name(module, name, public)

    def listed() -> list[str]:
        return sorted({*public, *(n for n in names if n.startswith("__"))})

    return look_up, listed
