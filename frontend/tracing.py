"""Where in the user's program an operation was written.

`here()` walks the stack to the first frame outside gradc and returns it as a SourceLine: path
(relative to the working folder where it lies under it), line, qualified function name, source text.
A model of a thousand nodes costs a few milliseconds: a frame walk and two cached look-ups per node.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from gradc.compiler.errors import GradcError, SourceLine


def here() -> SourceLine | None:
    """The innermost line of the call stack that is not gradc's own, or NumPy's; None without one.

    What called gradc's command line is nobody's line.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_nobodys(frame.f_globals.get("__name__")):
        frame = None if frame.f_globals["__name__"] == "gradc.cli" else frame.f_back
    if frame is None:
        return None
    code, line = frame.f_code, frame.f_lineno
    text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    return SourceLine(_shown_path(code.co_filename, _folder()), line, code.co_qualname, text)


def called_by_user() -> bool:
    """Whether the caller of the function that asks is the user's code, not gradc's own."""
    return not _is_own(sys._getframe(2).f_globals.get("__name__"))


@functools.lru_cache(maxsize=1024)
def _is_nobodys(module_name: str | None) -> bool:
    """Whether no user wrote a module: gradc's own, and NumPy's, whose arrays call tensors.

    Asked of every frame below every operation, some twenty for one, about the same few modules.
    """
    return _is_own(module_name) or (module_name is not None and module_name[:6] == "numpy.")


def _is_own(module_name: str | None) -> bool:
    return module_name is not None and (module_name == "gradc" or module_name[:6] == "gradc.")


def _folder() -> str:
    """The working folder; "" where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


@functools.lru_cache(maxsize=1024)
def _shown_path(path: str, folder: str) -> str:
    if path.startswith("<") or not folder:
        return path
    full = os.path.abspath(path)
    return os.path.relpath(full, folder) if full.startswith(folder + os.sep) else full


class located:
    """In `with located(operation):` errors name the operation and the user's line, where they
    named none."""

    def __init__(self, operation: str) -> None:
        self.operation = operation

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, GradcError):
            error.located(self.operation, here())


def fail(
    kind: type[GradcError],
    operation: str,
    problem: str,
    facts: Sequence[str] = (),
    hint: str = "",
) -> NoReturn:
    """Raise an error of `kind` that names the operation and the user's own line."""
    raise kind(problem, operation=operation, facts=facts, source=here(), hint=hint)
