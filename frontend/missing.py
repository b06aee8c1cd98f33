"""Names that do not exist, in modules and on objects: an error that says what to write instead.

A module of gradc ends with

    __getattr__, __dir__ = namespace(globals())

and then shows the names of its `__all__` alone. The errors are AttributeErrors, as `hasattr`,
`copy` and `pickle` want them; advice comes from the tables of spellings.py, from a sibling that has
the name, or from the names that come near.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from gradc.compiler.attributes import hint_for
from gradc.compiler.errors import SourceLine, UnknownNameError

from .not_offered import NAMES as NOT_OFFERED
from .spellings import NAMESPACES, PATHS
from .tracing import here

_NOT_OFFERED = "; this version does not offer it"


def missing_name(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that a module of gradc does not have."""
    problem = f"module {module!r} has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(problem)
    source = here()
    hint = _of_path(module, name, source) or NAMESPACES[module].get(name, "")
    hint = hint or _elsewhere(module, name)
    if name.endswith("_") and name[:-1] in known:
        hint = "tensors are values and never change; layers take weight_init= and bias_init="
    if name in NOT_OFFERED.get(module, ()):
        problem += _NOT_OFFERED
    elif not hint:
        hint = hint_for(name, {}, known)
    return UnknownNameError(problem, source=source, hint=hint)


def _of_path(module: str, name: str, source: SourceLine | None) -> str:
    """Advice for the last name of `optim.lr_scheduler.StepLR`, which the user's line shows."""
    table = PATHS.get(module, {}).get(name, {})
    path = re.search(rf"\b{name}\.(?:\w+\.)*(\w+)", source.text if source and table else "")
    return table.get(path[1], "") if path else ""


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
    is_tensor = kind.__module__ in ("gradc.tensor", "gradc.variables")
    if not hint and name in functions and is_tensor:
        hint = f"write gc.{name}(x, ...)"
    if not hint and is_tensor and name in NOT_OFFERED["gradc"]:
        return UnknownNameError(problem + _NOT_OFFERED, source=here())
    if not hint and is_tensor and name.endswith("_") and hasattr(kind, name[:-1]):
        hint = f"tensors are values and never change; write y = x.{name[:-1]}(...)"
    known = [*dir(kind), *own]
    return UnknownNameError(problem, source=here(), hint=hint or hint_for(name, {}, known))


def _elsewhere(module: str, name: str) -> str:
    """The sibling namespace that has the name."""
    for other in NAMESPACES:
        if other != module and name in import_module(other).__all__:
            return f"write gc{other.removeprefix('gradc')}.{name}"
    return ""


def public_names(names: Mapping[str, Any]) -> list[str]:
    """What a module's `__all__` is, given its globals(): all that it imported, but for modules and
    for what begins with an underscore."""
    return sorted(
        name
        for name, value in names.items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    )


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
