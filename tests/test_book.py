"""The book: MkDocs builds it without a warning, and its reference has every public name."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import gradc as gc
from gradc import nn, optim

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module  # dataclasses ask for the module of a class
    spec.loader.exec_module(module)
    return module


def test_the_book_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    built = (tmp_path / "reference" / "gc.convolution.html").read_text()
    assert 'id="gcconv2d"' in built and "outputs of a group read inputs of the same" in built
    assert 'href="gc.convolution.html#gcconv2d"' in (tmp_path / "reference/index.html").read_text()


def test_every_public_name_is_in_the_reference(reference: ModuleType) -> None:
    described = [spelling for page in reference.pages() for spelling, _ in page.entries]
    assert len(described) == len(set(described))
    namespaces = {"nn": nn, "optim": optim}
    namespaces |= {name: getattr(gc, name) for name in reference.MODULES}
    expected = {f"gc.{name}" for name in gc.__all__} - {f"gc.{name}" for name in namespaces}
    for name, module in namespaces.items():
        spelling = name if name in ("nn", "optim") else f"gc.{name}"
        expected |= {f"{spelling}.{own}" for own in module.__all__}
    inner = {"nn.functional", "optim.schedule", "gc.linalg", "gc.special"}  # of names of gc
    assert expected - inner <= set(described)


def test_docstrings_become_markdown(reference: ModuleType) -> None:
    """Rows of names: a table. Indented text: code. Signs of Markdown are escaped."""
    docstring = """Sums of a*b and x_i.

a, b   factors
axis   along it; goes
       on here, a|b

    y = a * b

>>> gc.add(1, 2)
<Tensor>

Raises <nothing>."""
    assert (
        reference.in_markdown(docstring)
        == r"""Sums of a\*b and x\_i.

| | |
| --- | --- |
| `a, b` | factors |
| `axis` | along it; goes on here, a\|b |

```text
y = a * b
```

```pycon
>>> gc.add(1, 2)
<Tensor>
```

Raises &lt;nothing&gt;."""
    )
