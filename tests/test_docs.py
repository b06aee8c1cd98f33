"""The documents tell the truth: their Python runs, and prints what they say it prints.

A document's ```python blocks run in order, in one namespace, with the repository as the current
folder; an ```output block holds what the block before it prints. `--update-golden` rewrites them
and fails. An ```ir-case block is a case (see compiler/testing/cases.py). Other blocks (```py,
plain) are not run. Links to files are followed.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from pathlib import Path

import pytest

from gradc.compiler.opt import optimize_text
from gradc.compiler.testing.cases import MACHINE

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARKER = re.compile(r"^// ---- after (.*)\n", re.MULTILINE)


def as_run(document: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The document with every output block as its code prints it now."""
    module = types.ModuleType(document.stem)  # dataclasses ask for the module of a class
    monkeypatch.setitem(sys.modules, module.__name__, module)
    namespace, printed = vars(module), ""

    def run(block: re.Match[str]) -> str:
        nonlocal printed
        language, body = block.groups()
        if language == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(body, str(document), "exec"), namespace)
            printed = stream.getvalue().rstrip("\n")
        elif language == "output":
            return f"```output\n{printed}\n```"
        return block.group(0)

    return BLOCK.sub(run, document.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_document_prints_what_it_says(
    document: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path))
    written, found = document.read_text(), as_run(document, monkeypatch)
    if written != found and request.config.getoption("update_golden", default=False):
        document.write_text(found)
    assert found == written


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_cases_in_documents(document: Path) -> None:
    for language, body in BLOCK.findall(document.read_text()):
        if language != "ir-case":
            continue
        before, passes, expected = MARKER.split(body)
        result = optimize_text(before, document.name, passes, cpu=MACHINE)
        assert result != optimize_text(before, document.name, "", cpu=MACHINE)
        assert not expected or result == expected


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        if target.startswith("reference/"):
            continue  # made while the book is built, and checked then
        assert (document.parent / target).exists(), target
