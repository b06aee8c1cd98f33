"""Errors are part of the interface: their types, and the one function that lays out a message.

A message answers, in this order: which operation, what is wrong, the facts with types, the user's
own source line, and a hint only when one was computed:

    ShapeError: matmul: inner extents differ: lhs f32[64, 784], rhs f32[128, 784]
      lhs axis 1 has extent 784, rhs axis 0 has extent 128
      at model.py:31 in MLP.forward: hidden = x @ self.w1
      hint: rhs axis 1 has the needed extent; transpose rhs

Each type also derives from the built-in exception that a Python user would expect to catch.
"""

from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SourceLine:
    """One line of the user's own program: where an operation was written."""

    file: str
    line: int
    function: str
    text: str

    def __str__(self) -> str:
        text = f": {self.text}" if self.text else ""
        return f"{self.file}:{self.line} in {self.function}{text}"


class GradcError(Exception):
    """Base of every error that gradc raises for a user's mistake or a damaged file."""

    def __init__(
        self,
        problem: str,
        *,
        operation: str = "",
        facts: Sequence[str] = (),
        source: SourceLine | None = None,
        hint: str = "",
    ) -> None:
        self.operation = operation
        self.problem = problem
        self.facts = tuple(facts)
        self.source = source
        self.hint = hint
        super().__init__(problem)

    def __str__(self) -> str:
        return lay_out_message(self.operation, self.problem, self.facts, self.source, self.hint)

    def located(self, operation: str, source: SourceLine | None) -> GradcError:
        """This error, with operation and source line filled in where they were unknown."""
        self.operation = self.operation or operation
        self.source = self.source or source
        return self


class ShapeError(GradcError, ValueError):
    """Extents or ranks that do not fit an operation."""


class DTypeError(GradcError, TypeError):
    """A dtype that an operation does not take."""


class ArgumentError(GradcError, ValueError):
    """An argument with a wrong name or value."""


class GradientError(GradcError, ValueError):
    """A derivative that does not exist or is not defined for these arguments."""


class UnknownNameError(GradcError, AttributeError):
    """An attribute or a name of a module that does not exist, or cannot be set."""


class CallError(GradcError, TypeError):
    """Arguments that a function does not take: unknown names, one given twice, too many."""


class NonFiniteError(GradcError, FloatingPointError):
    """A loss that is NaN or infinite, where the run was to stop at one."""


class FileError(GradcError, OSError):
    """A missing, damaged or unwritable file. Nothing was changed."""


class IRSyntaxError(GradcError, SyntaxError):
    """Text IR that does not parse; the message begins `FILE:LINE:COLUMN:`."""

    def __init__(self, file: str, line: int, column: int, problem: str) -> None:
        super().__init__(f"{file}:{line}:{column}: {problem}")
        self.file, self.line, self.column, self._told = file, line, column, problem

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.file, self.line, self.column, self._told), dict(vars(self))

    def __str__(self) -> str:
        return self.problem


class VerifyError(GradcError, ValueError):
    """IR at any level that breaks one of its rules: a bug in a pass, or in hand-written text."""


class CompileError(GradcError, RuntimeError):
    """The back end cannot compile a kernel; the message names the kernel."""


class DeviceError(GradcError, RuntimeError):
    """A device or its driver that is missing, too old, unfit for the code, or that reports an
    error."""


class DeviceMemoryError(DeviceError, MemoryError):
    """A device with less free memory than a program needs; the message says how much of both."""


def lay_out_message(
    operation: str,
    problem: str,
    facts: Sequence[str] = (),
    source: SourceLine | None = None,
    hint: str = "",
) -> str:
    """The one layout of an error message; see the module docstring.

    Names in a message may come from anywhere: what a terminal would obey or hide does not stay.
    """
    lines = [f"{operation}: {problem}" if operation else problem]
    lines += [f"  {fact}" for fact in facts]
    if source is not None:
        lines.append(f"  at {source}")
    if hint:
        lines.append(f"  hint: {hint}")
    return "\n".join(shown(line, keep="\n\t") for line in lines)


# Kinds of characters that a terminal obeys or does not show: controls, formats, surrogates, ends
# of lines and paragraphs (Unicode, section 4.5).
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def shown(text: str, keep: str = "") -> str:
    """The text for a terminal: a question mark for what it would obey or hide, but for `keep`."""
    if text.isprintable():
        return text
    return "".join("?" if unicodedata.category(c) in _UNSEEN and c not in keep else c for c in text)


class _Described(reprlib.Repr):
    """No arrays of thousands of numbers, and no integers of thousands of digits: Python refuses to
    print those."""

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 10_000:
            return f"an integer of {x.bit_length()} bits"
        return super().repr_int(x, level)

    def repr_ndarray(self, x: Any, level: int) -> str:
        return f"an array {x.dtype}{list(x.shape)}"


_DESCRIBED = _Described()


def described(value: object) -> str:
    """A user's value as the short text that a message has room for."""
    return _DESCRIBED.repr(value)
