"""One wrapper of every public function: argument names of PyTorch and NumPy, errors with a line.

    gc.sum(x, dim=1, keepdim=True)     the same as  gc.sum(x, axis=1, keepdims=True)

`spelled` translates the names of spellings.py, and replaces Python's complaint about a call
that does not fit by an error that names the function, its arguments and the line. What an argument
may be is looked at by arguments.py.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, cast

from gradc.compiler.attributes import hint_for
from gradc.compiler.errors import CallError, GradcError
from gradc.runtime.plain_number import as_flag, as_whole

from .parameters_of import parameters_of
from .spellings import REFUSED_ARGUMENTS, REFUSED_ARGUMENTS_OF, names_of_argument
from .tracing import here

F = TypeVar("F", bound=Callable[..., Any])


def _no_flag(value: Any) -> str:
    return "" if as_flag(value, numbers=True) is not None else "True or False"


def _no_integer(value: Any) -> str:
    return "" if as_whole(value) is not None else "an integer"


def _no_list(value: Any) -> str:
    return "a list of tensors" if hasattr(value, "node") else ""


# Places where NumPy has a dtype, PyTorch an old flag, and a forgotten bracket a tensor.
_CHECKS = MappingProxyType({"keepdims": _no_flag, "ignore_index": _no_integer, "arrays": _no_list})
_HINTS = MappingProxyType(
    {
        "ignore_index": 'PyTorch\'s size_average and reduce are reduction="mean", "sum" or "none"',
        "arrays": "put the tensors into brackets: [x, y]",
    }
)


def _short(value: Any) -> str:
    return str(value.node.type) if hasattr(value, "node") else repr(value)


class _Callee:
    """What a call is compared with: names, their synonyms, and which arguments are numbers."""

    def __init__(self, function: Callable[..., Any]) -> None:
        name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
        parameters = parameters_of(function)
        self.operation, self._function = name, function
        self.is_open = bool(parameters.open_name)
        self.names, self.positional = parameters.names, parameters.positional
        pairs = [(other, own) for own in self.names for other in names_of_argument(name, own)]
        self.synonyms = {other: own for other, own in pairs if other not in self.names}
        self.checked = tuple(name for name in self.names if name in _CHECKS)

    @functools.cached_property
    def text(self) -> str:
        """The function and its arguments, for messages."""
        parameters = inspect.signature(self._function).parameters.values()
        shown = [p.replace(annotation=p.empty) for p in parameters if p.name != "self"]
        return f"{self.operation}({', '.join(map(str, shown))})"

    def named_values(self, given: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        """The options by our names. Raises CallError for unknown ones and for one given twice."""
        result: dict[str, Any] = {}
        for name, value in options.items():
            own = self.synonyms.get(name, name)
            if own not in self.names and not self.is_open:
                known = [n for n in (*self.names, *self.synonyms) if n != "self"]
                raise unknown_argument(self.operation, name, known, self.text)
            if own in result or own in self.positional[: len(given)]:
                also = next((o for o in options if self.synonyms.get(o) == own), own)
                self.refuse(f"{own!r} is given twice" + (f", as {also!r} too" * (also != own)))
            result[own] = value
        return result

    def check_values(self, given: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Refuse what stands in a place that another library uses otherwise."""
        for name in self.checked:
            place = self.names.index(name)
            if place < len(given) or name in options:
                value = given[place] if place < len(given) else options[name]
                if problem := _CHECKS[name](value):
                    self.refuse(f"{name} is {problem}, not {_short(value)}", _HINTS.get(name, ""))

    def hint_at_extents(self, given: tuple[Any, ...]) -> str:
        """Advice for `gc.zeros(2, 3, 4)`."""
        extents = len(given) > len(self.positional) and all(
            isinstance(g, (int, str)) for g in given
        )
        if not extents or "shape" not in self.names:
            return ""
        return f"the shape is one tuple: ({', '.join(map(repr, given))})"

    def refuse(self, problem: str, hint: str = "") -> NoReturn:
        """Raise CallError with the function, its arguments and the user's line."""
        raise CallError(
            problem, operation=self.operation, facts=[self.text], source=here(), hint=hint
        )


def unknown_argument(operation: str, name: str, known: Sequence[str], text: str = "") -> CallError:
    """The error for an argument name that a function does not have."""
    hint = REFUSED_ARGUMENTS_OF.get((operation, name), "") or hint_for(
        name, REFUSED_ARGUMENTS, known
    )
    facts = [text or f"arguments: {', '.join(known)}"]
    problem = f"there is no argument {name!r}"
    return CallError(problem, operation=operation, facts=facts, source=here(), hint=hint)


def spelled(function: F) -> F:
    """The function, with synonyms of its argument names and with errors of its own."""
    callee = _Callee(function)

    @functools.wraps(function)
    def call(*given: Any, **options: Any) -> Any:
        if options:
            options = callee.named_values(given, options)
        if callee.checked:
            callee.check_values(given, options)
        try:
            return function(*given, **options)
        except GradcError as error:
            if error.source is None:
                error.located(callee.operation, here())
            raise
        except TypeError as error:
            if not _is_refused_call(error):
                raise
            problem = _complaint(error)
        callee.refuse(problem, callee.hint_at_extents(given))

    if callee.synonyms:
        shown = ", ".join(f"{other}= for {own}=" for other, own in callee.synonyms.items())
        call.__doc__ = _with_paragraph(function.__doc__ or "", f"Also taken: {shown}.")
    return cast(F, call)


def _with_paragraph(doc: str, paragraph: str) -> str:
    """A docstring and one more paragraph, indented as its last line is: inspect.cleandoc would be
    most of what a wrapper costs."""
    last = doc.rpartition("\n")[2]
    indent = last[: len(last) - len(last.lstrip())]
    return f"{doc.rstrip()}\n\n{indent}{paragraph}\n{indent}"


def spell_functions(names: Iterable[str], namespace: MutableMapping[str, Any]) -> None:
    """Replace the functions of a module's namespace by their spelled forms."""
    for name in names:
        if inspect.isfunction(namespace[name]):
            namespace[name] = spelled(namespace[name])
            namespace[name].__module__ = namespace["__name__"]  # where pickle finds it


def _is_refused_call(error: TypeError) -> bool:
    """Whether the call itself was refused: nothing ran but wrappers, here and in arguments.py."""
    trace = error.__traceback__
    wrappers = (__name__, f"{__package__}.arguments")
    while trace is not None and trace.tb_frame.f_globals["__name__"] in wrappers:
        trace = trace.tb_next
    return trace is None


def _complaint(error: TypeError) -> str:
    """Python's words without the name, which the layout puts first."""
    text = str(error).partition("() ")
    return text[2] or text[0]
