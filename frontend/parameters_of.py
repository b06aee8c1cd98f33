"""The parameters of a function by name: what wrappers ask for when `import gradc` makes them.

`inspect.signature` makes an object for each parameter, which hundreds of functions need no sooner
than somebody calls them; a function's code has the names too.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Parameters(NamedTuple):
    """Of one function.

    names        all that have a value each, in order
    positional   those that may be given by place
    several      the name of the one that takes all further values, *values; "" without one
    open_name    the name of the one that takes all further options, **options; "" without one
    annotations  as they are written, of those that have one
    """

    names: tuple[str, ...]
    positional: tuple[str, ...]
    several: str
    open_name: str
    annotations: Mapping[str, Any]

    @property
    def every_name(self) -> tuple[str, ...]:
        """All of them, *values and **options too."""
        return tuple(name for name in (*self.names, self.several, self.open_name) if name)


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Those of a function, or of the one inside its wrappers, as inspect.signature has them."""
    inner = inspect.unwrap(function, stop=lambda f: hasattr(f, "__signature__"))
    if not isinstance(inner, types.FunctionType) or hasattr(inner, "__signature__"):
        return _of_signature(inspect.signature(function))
    code = inner.__code__
    count, total = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    variables = iter(code.co_varnames[total:])
    several = next(variables) if code.co_flags & inspect.CO_VARARGS else ""
    open_name = next(variables) if code.co_flags & inspect.CO_VARKEYWORDS else ""
    names = code.co_varnames[:total]
    return Parameters(names, names[:count], several, open_name, inner.__annotations__)


def _of_signature(signature: inspect.Signature) -> Parameters:
    parameters = list(signature.parameters.values())
    variable = {p.kind: p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return Parameters(
        tuple(p.name for p in named),
        tuple(p.name for p in named if p.kind is not p.KEYWORD_ONLY),
        variable.get(inspect.Parameter.VAR_POSITIONAL, ""),
        variable.get(inspect.Parameter.VAR_KEYWORD, ""),
        {p.name: p.annotation for p in parameters if p.annotation is not p.empty},
    )
