"""A module of text LLVM IR: functions, constant tables, declarations, target attributes.

    before   define internal void @run.k3() { BODY }   define internal void @predict.k0() { BODY }
    after    define internal void @run.k3() { BODY }   (every call of predict.k0 calls run.k3)

Internal functions that differ in nothing but their names become one: the entry points of a program
share much of the forward pass.
"""

from __future__ import annotations

import re

from .emit_values import ValueEmitter

_DECLARED = re.compile(r"^declare [^@\n]*@([\w.$-]+)\(.*$", re.MULTILINE)
_DEFINED = re.compile(r"^define [^@\n]*@([\w.$-]+)\(", re.MULTILINE)
_NAMED = re.compile(r"@([\w.$-]+)")


class ModuleEmitter:
    """Collects definitions; a declaration is printed once, and not beside its definition.

    target_attributes: function attributes of every emitted function, as
    `"target-cpu"="x86-64-v4"`, for modules that hold several versions. Empty: the target machine
    decides.
    """

    def __init__(self, name: str = "gradc", target_attributes: str = "") -> None:
        self.name = name
        self.target_attributes = target_attributes
        self._definitions: list[str] = []
        self._globals: dict[str, str] = {}
        self._declarations: dict[str, str] = {}
        self._helpers: set[str] = set()
        self._by_text: dict[str, str] = {}  # text without the function's own name -> name
        self._replaced: dict[str, str] = {}  # name of a dropped function -> the one that stays

    def add(self, function: ValueEmitter) -> None:
        """Take a finished function with the declarations, tables and helpers it needs."""
        for name, helper in function.helpers.items():
            if name not in self._helpers:
                self._helpers.add(name)
                self.add(helper)
        text = _NAMED.sub(self._standing, function.text())
        if function.linkage == "internal":
            anonymous = text.replace(f"@{function.name}(", "@(")
            stands = self._by_text.setdefault(anonymous, function.name)
            if stands != function.name:
                self._replaced[function.name] = stands
                return
        if self.target_attributes:
            head, rest = text.split(" {\n", 1)
            text = f"{head} {self.target_attributes} {{\n{rest}"
        self._definitions.append(text)
        self._globals.update(function.tables)
        self._declarations.update(function.declarations)

    def _standing(self, found: re.Match[str]) -> str:
        return "@" + self._replaced.get(found.group(1), found.group(1))

    def add_text(self, text: str) -> None:
        """Definitions written as text; their `declare` lines are moved and merged."""
        for found in _DECLARED.finditer(text):
            self._declarations.setdefault(found.group(1), found.group(0))
        self._definitions.append(_DECLARED.sub("", text).strip() + "\n")

    def add_global(self, name: str, text: str) -> None:
        """A global by name, `text` being what follows `@name = `."""
        self._globals[name] = f"@{name} = {text}"

    def declare(self, name: str, text: str) -> None:
        """A declaration by name, as "declare i32 @getpid()"."""
        self._declarations[name] = text

    def text(self) -> str:
        """The whole module, in the order of the calls."""
        body = "\n".join(self._definitions)
        defined = set(_DEFINED.findall(body))
        declared = [t for n, t in sorted(self._declarations.items()) if n not in defined]
        notes = ["!0 = !{i32 1}"] if "!nontemporal !0" in body else []
        parts = [f"; module {self.name}", *self._globals.values(), "", body, *declared, *notes]
        return "\n".join(parts) + "\n"
