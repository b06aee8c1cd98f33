"""The reference of the public names, made from their docstrings while the book is built.

A hook of MkDocs: a page for each module that lists names in `__all__`, one for what `gc` adds to
them, and an index of all. Docstrings are plain text: rows "name  meaning" become a table of terms,
indented text a code block, `>>>` lines an example; the rest are paragraphs.
"""

from __future__ import annotations

import html
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import gradc as gc

PACKAGES = (("gc", "gradc.functional"), ("nn", "gradc.nn"), ("optim", "gradc.optim"))
"""As users spell it, and the package whose modules define what it holds."""

MODULES = ("init", "random", "augment", "data", "linalg")
"""Namespaces of gc that are a page each."""


@dataclass(frozen=True)
class Page:
    """One page: where it lies, what it is called, and the objects that it describes."""

    path: str
    title: str
    lead: str
    entries: tuple[tuple[str, Any], ...]

    @property
    def text(self) -> str:
        parts = [f"# {self.title}", self.lead]
        parts += (entry(spelling, described) for spelling, described in self.entries)
        return "\n\n".join(parts) + "\n"


def pages() -> list[Page]:
    """All pages of the reference, in the order of the book."""
    made = [_of_gc()]
    for spelling, package in PACKAGES:
        made += _of_package(spelling, importlib.import_module(package))
    for name in MODULES:
        module = getattr(gc, name)
        entries = tuple((f"gc.{name}.{own}", vars(module)[own]) for own in module.__all__)
        made.append(Page(f"reference/{name}.md", f"gc.{name}", _lead(module), entries))
    return made


def _of_gc() -> Page:
    elsewhere = set(importlib.import_module("gradc.functional").__all__)
    own = [name for name in gc.__all__ if name not in elsewhere]
    entries = [(f"gc.{name}", getattr(gc, name)) for name in own]
    kept = tuple((n, found) for n, found in entries if not inspect.ismodule(found))
    lead = "Inputs, parameters, derivatives, loops, training: what is in `gc` beside its functions."
    return Page("reference/gc.md", "gc", lead, kept)


def _of_package(spelling: str, package: ModuleType) -> Iterator[Page]:
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        own = getattr(module, "__all__", ())
        if not own or (spelling, info.name) == ("nn", "functional"):
            continue  # nn.functional spells anew what other pages describe
        entries = tuple((f"{spelling}.{name}", vars(module)[name]) for name in own)
        path = f"reference/{spelling}.{info.name}.md"
        yield Page(path, f"{spelling}: {info.name.replace('_', ' ')}", _lead(module), entries)


def _lead(module: ModuleType) -> str:
    return in_markdown(inspect.getdoc(module) or "")


def entry(spelling: str, described: Any) -> str:
    """One name: a heading, how it is called, its docstring; of a class its own methods too."""
    parts = [f"## {spelling}", *_signature(spelling, described), _docstring(described)]
    if inspect.isclass(described) and not issubclass(described, Exception):
        for name, method in sorted(vars(described).items()):
            text = inspect.getdoc(method)
            if name.startswith("_") or not text or not callable(getattr(described, name)):
                continue
            call = _signature(name, getattr(described, name))
            parts += [f"### {spelling.rpartition('.')[2]}.{name}", *call, in_markdown(text)]
    return "\n\n".join(parts)


def _docstring(described: Any) -> str:
    is_value = not (callable(described) or inspect.isclass(described))
    if is_value:
        return f"`{described!r}`" if len(repr(described)) < 200 else ""
    return in_markdown(inspect.getdoc(described) or "")


def _signature(spelling: str, described: Any) -> list[str]:
    if not callable(described):
        return []
    try:
        signature = inspect.signature(described)
    except (TypeError, ValueError):
        return []
    arguments = [p for p in signature.parameters.values() if p.name != "self"]
    text = f"{spelling}({', '.join(str(_plain(p)) for p in arguments)})"
    if len(text) > 96:
        inner = "".join(f"    {_plain(p)},\n" for p in arguments)
        text = f"{spelling}(\n{inner})"
    return [f"```py\n{text}\n```"]


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Without its annotation: the docstring says what an argument is, in words."""
    return parameter.replace(annotation=inspect.Parameter.empty)


def in_markdown(text: str) -> str:
    """A docstring as Markdown."""
    return "\n\n".join(_block(lines) for lines in _blocks(text.splitlines()))


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Runs of lines: indented ones with the empty lines among them, and paragraphs."""
    block: list[str] = []
    for line in lines:
        starts = not block or (not block[-1].strip() and _kind(line) != _kind(block[0]))
        if line.strip() and starts:
            if any(kept.strip() for kept in block):
                yield block
            block = []
        block.append(line)
    if any(kept.strip() for kept in block):
        yield block


def _kind(line: str) -> str:
    return "example" if line.lstrip().startswith(">>>") else "code" if line[:1] == " " else "text"


def _block(lines: list[str]) -> str:
    kept = "\n".join(lines).strip("\n").splitlines()
    if kept[0].startswith(" ") or kept[0].startswith(">>>"):
        indent = min(len(one) - len(one.lstrip()) for one in kept if one.strip())
        body = "\n".join(one[indent:] for one in kept)
        return f"```{'pycon' if body.startswith('>>>') else 'text'}\n{body}\n```"
    paragraphs = re.split(r"\n\s*\n", "\n".join(kept))
    return "\n\n".join(_terms(one) or _inline(one) for one in paragraphs)


def _inline(text: str) -> str:
    """Text in which only what stands between backticks is marked."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([*_|\[\]])", r"\\\1", html.escape(parts[i], quote=False))
    return "`".join(parts)


def _terms(paragraph: str) -> str:
    """A paragraph whose lines are "name  meaning", with lines that go on, as a table; else ""."""
    lines = paragraph.splitlines()
    start = re.match(r"^([^\s,]+(?:, [^\s,]+)*)( +)\S", lines[0])
    column = start.end() - 1 if start else 0
    if not start or not any(line[:column].endswith("  ") for line in lines):
        return ""  # one space is between two words
    rows: list[list[str]] = []
    for line in lines:
        head, rest = line[:column], line[column:]
        if not rest or not head.endswith(" ") or "  " in head.rstrip():
            return ""
        if head.strip():
            rows.append([head.strip(), rest])
        else:
            rows[-1][1] += " " + rest
    cells = (f"| `{name}` | {_inline(says)} |" for name, says in rows)
    return "\n".join(["| | |", "| --- | --- |", *cells])


def index(made: Iterable[Page]) -> str:
    """What there is, by page, each name a link."""
    parts = ["# Reference", "Every public name, from its docstring."]
    for page in made:
        names = (f"[{s}]({page.path.rpartition('/')[2]}#{anchor(s)})" for s, _ in page.entries)
        parts.append(f"**{page.title}** {', '.join(names)}")
    return "\n\n".join(parts) + "\n"


def anchor(spelling: str) -> str:
    """The part of a link that leads to a name on its page."""
    return re.sub(r"[^\w-]", "", spelling).lower()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Called by MkDocs: the pages that are made join those that are files."""
    made = pages()
    files.append(File.generated(config, "reference/index.md", content=index(made)))
    for page in made:
        files.append(File.generated(config, page.path, content=page.text))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Called by MkDocs: the reference is the last chapter of the book."""
    chapter = ["reference/index.md", *({page.title: page.path} for page in pages())]
    if config.nav is not None:
        config.nav = [*config.nav, {"Reference": chapter}]
    return config
