"""A module of text LLVM IR: functions, constant tables, declarations, target attributes.

Modules that are linked together may share functions. They are then named by what they contain:

    before   define internal void @kernel.k3(...) nounwind { BODY }
    after    define weak_odr hidden void @PREFIX.9f2b...(...) nounwind comdat { BODY }

so that functions which differ in nothing but their names become one: within a module here, across
modules because `text` leaves out what another module is known to define, or else in the linker. The
entry points of a program share much of the forward pass.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Set

from .emit_values import PRIVATE_TABLE, ValueEmitter

_DECLARED = re.compile(r"^declare [^@\n]*@([\w.$-]+)\(.*$", re.MULTILINE)
_DEFINED = re.compile(r"^define [^@\n]*@([\w.$-]+)\(", re.MULTILINE)
_NAMED = re.compile(r"@([\w.$-]+)")
_NAME_DIGITS = 16


class ModuleEmitter:
    """Collects definitions; a declaration is printed once, and not beside its definition.

    target_attributes: function attributes of every emitted function, as
    `"target-cpu"="x86-64-v4"`, for modules that hold several versions. Empty: the target machine
    decides.
    shared: what the names of functions begin with that are shared with other modules for the same
    target. Empty: functions are the module's own.
    """

    def __init__(self, name: str = "gradc", target_attributes: str = "", shared: str = "") -> None:
        self.name = name
        self.workspaces: dict[str, int] = {}  # bytes for each thread of an entry point, by symbol
        self.target_attributes = target_attributes
        self.shared = shared
        self._definitions: list[tuple[str, str]] = []  # shared name or "", text
        self._globals: dict[str, str] = {}
        self._declarations: dict[str, str] = {}
        self._helpers: set[str] = set()
        self._names: dict[str, str] = {}  # of functions -> the shared names that stand for them
        self._shared_lengths: dict[str, int] = {}

    def add(self, function: ValueEmitter) -> None:
        """Take a finished function with the declarations, tables and helpers it needs."""
        self.add_needs(function)
        text, shared = self._with_shared_names(function.text()), ""
        if self.shared:
            if function.linkage == "internal":
                shared, text = self._named_by_content(function.name, text)
                if shared in self._shared_lengths:
                    return
                self._shared_lengths[shared] = len(text)
        if self.target_attributes:
            head, rest = text.split(" {\n", 1)
            text = f"{head} {self.target_attributes} {{\n{rest}"
        self._definitions.append((shared, text))

    def add_needs(self, function: ValueEmitter) -> None:
        """Take what a function needs, without its code."""
        for name, build in function.helpers.items():
            if name not in self._helpers:
                self._helpers.add(name)
                self.add(build())
        for name, table in function.tables.items():
            self._globals[name] = self._with_shared_names(table)
        for name, content in function.records.items():
            self._add_record(name, self._with_shared_names(content))
        self._declarations.update(function.declarations)

    def _add_record(self, name: str, content: str) -> None:
        """A constant that may tell how far others are from it, under the name of its content."""
        digest = hashlib.sha256(content.replace(f"@{name} ", "@ ").encode()).hexdigest()
        known = f"record.{digest[:_NAME_DIGITS]}"
        self._names[name] = known
        text = content.replace(f"@{name} ", f"@{known} ")
        self._globals[known] = f"@{known} = {PRIVATE_TABLE} {text}"

    def _with_shared_names(self, text: str) -> str:
        if not self._names:
            return text
        return _NAMED.sub(lambda m: "@" + self._names.get(m.group(1), m.group(1)), text)

    def _named_by_content(self, name: str, text: str) -> tuple[str, str]:
        """The function's shared name, and its definition under it."""
        anonymous = text.replace(f"@{name}(", "@(")
        shared = f"{self.shared}.{hashlib.sha256(anonymous.encode()).hexdigest()[:_NAME_DIGITS]}"
        self._names[name] = shared
        head, rest = anonymous.split(" {\n", 1)
        head = head.replace("define internal", "define weak_odr hidden", 1)
        return shared, f"{head} comdat {{\n{rest}".replace("@(", f"@{shared}(")

    def add_text(self, text: str) -> None:
        """Definitions written as text; their `declare` lines are moved and merged."""
        for found in _DECLARED.finditer(text):
            self._declarations.setdefault(found.group(1), found.group(0))
        self._definitions.append(("", _DECLARED.sub("", text).strip() + "\n"))

    def declare(self, name: str, text: str) -> None:
        """A declaration by name, as "declare i32 @getpid()"."""
        self._declarations[name] = text

    def shared_functions(self) -> dict[str, int]:
        """Names and lengths of the functions that other modules may define too."""
        return dict(self._shared_lengths)

    def text(self, elsewhere: Set[str] = frozenset()) -> str:
        """The whole module, in the order of the calls.

        elsewhere   shared functions that another module defines: here they are declared
        """
        body = "\n".join(text for name, text in self._definitions if name not in elsewhere)
        defined = set(_DEFINED.findall(body))
        declared = [t for n, t in sorted(self._declarations.items()) if n not in defined]
        notes = ["!0 = !{i32 1}"] if "!nontemporal !0" in body else []
        here = self._shared_lengths.keys() - elsewhere
        comdats = [f"${name} = comdat any" for name in sorted(here)]
        used = set(_NAMED.findall(body))
        for name, table in reversed(self._globals.items()):  # what it names stands before it
            used |= set(_NAMED.findall(table)) if name in used else set()
        tables = [t for name, t in self._globals.items() if name in used or not elsewhere]
        declared += [
            _declaration(text) for name, text in self._definitions if name and name in elsewhere
        ]
        if self.shared:
            tables = [_shared_table(text) for text in tables]
        parts = [f"; module {self.name}", *comdats, *tables, "", body, *declared, *notes]
        return "\n".join(parts) + "\n"


def _shared_table(text: str) -> str:
    """A table by content, as one for all modules that are linked together; others as they are."""
    name, found, rest = text.partition(f" = {PRIVATE_TABLE} ")
    if not found:
        return text
    content, _, align = rest.rpartition(", align ")
    head = f"{name} = linkonce_odr hidden unnamed_addr constant"
    return f"${name[1:]} = comdat any\n{head} {content}, comdat, align {align}"


def _declaration(definition: str) -> str:
    """The declaration of a shared function: its head without linkage, names and attributes."""
    head = definition.split("\n", 1)[0]
    result, _, rest = head.removeprefix("define weak_odr hidden ").partition(" @")
    name, _, parameters = rest.partition("(")
    kinds = re.sub(r" %[\w.]+", "", parameters[: parameters.index(")")])
    return f"declare hidden {result} @{name}({kinds})"
