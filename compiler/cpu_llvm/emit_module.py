"""A module of text LLVM IR: functions, constant tables, declarations, target attributes.

Modules that are linked together may share functions. They are then named by what they contain:

    before   define internal void @k3(...) nounwind { BODY }
    after    define linkonce_odr hidden void @PREFIX.9f2b...(...) nounwind comdat { BODY }

so that functions which differ in nothing but their names become one, within a module here and
across modules in the linker. The entry points of a program share much of the forward pass.
"""

from __future__ import annotations

import hashlib
import re

from .emit_values import ValueEmitter

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
        self.target_attributes = target_attributes
        self.shared = shared
        self._definitions: list[str] = []
        self._globals: dict[str, str] = {}
        self._declarations: dict[str, str] = {}
        self._helpers: set[str] = set()
        self._names: dict[str, str] = {}  # of functions -> the shared names that stand for them
        self._comdats: set[str] = set()

    def add(self, function: ValueEmitter) -> None:
        """Take a finished function with the declarations, tables and helpers it needs."""
        for name, helper in function.helpers.items():
            if name not in self._helpers:
                self._helpers.add(name)
                self.add(helper)
        text = function.text()
        if self.shared:
            text = _NAMED.sub(lambda m: "@" + self._names.get(m.group(1), m.group(1)), text)
            if function.linkage == "internal":
                known = len(self._comdats)
                text = self._named_by_content(function.name, text)
                if len(self._comdats) == known:
                    return
        if self.target_attributes:
            head, rest = text.split(" {\n", 1)
            text = f"{head} {self.target_attributes} {{\n{rest}"
        self._definitions.append(text)
        self._globals.update(function.tables)
        self._declarations.update(function.declarations)

    def _named_by_content(self, name: str, text: str) -> str:
        """The definition under its shared name."""
        anonymous = text.replace(f"@{name}(", "@(")
        shared = f"{self.shared}.{hashlib.sha256(anonymous.encode()).hexdigest()[:_NAME_DIGITS]}"
        self._names[name] = shared
        self._comdats.add(shared)
        head, rest = anonymous.split(" {\n", 1)
        head = head.replace("define internal", "define linkonce_odr hidden", 1)
        return f"{head} comdat {{\n{rest}".replace("@(", f"@{shared}(")

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
        comdats = [f"${name} = comdat any" for name in sorted(self._comdats)]
        tables = self._globals.values()
        parts = [f"; module {self.name}", *comdats, *tables, "", body, *declared, *notes]
        return "\n".join(parts) + "\n"
