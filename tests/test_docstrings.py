"""Examples in docstrings of public names run, and print what they say they print."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc.compiler.types import DType

NAMESPACES: dict[str, Any] = {
    "gc": gc,
    "nn": nn,
    "optim": optim,
    "optim.schedule": optim.schedule,
    "init": gc.init,
    "random": gc.random,
    "augment": gc.augment,
    "data": gc.data,
    "linalg": gc.linalg,
    "special": gc.special,
}


def examples_of(spelling: str, described: Any) -> Iterator[doctest.DocTest]:
    """Those of an object, and of a class's own public methods."""
    parts = {spelling: described}
    if inspect.isclass(described):
        public = {id(getattr(gc, n)) for n in gc.__all__}  # as are most methods of tensors
        own = {n: m for n, m in vars(described).items() if id(m) not in public and n[0] != "_"}
        parts |= {f"{spelling}.{name}": getattr(described, name) for name in own}
    for name, part in parts.items():
        text = inspect.getdoc(part) or ""
        names = {"gc": gc, "np": np, "nn": nn, "optim": optim}
        found = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
        if found.examples:
            yield found


def is_described(described: Any) -> bool:
    """Functions and classes, but for errors; constants, dtypes and modules speak for themselves."""
    is_error = inspect.isclass(described) and issubclass(described, Exception)
    return callable(described) and not isinstance(described, DType) and not is_error


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_function_has_an_example(namespace: str) -> None:
    module = NAMESPACES[namespace]
    public = {name: getattr(module, name) for name in module.__all__}
    described = {name: found for name, found in public.items() if is_described(found)}
    bare = [
        name for name, found in described.items() if ">>> " not in (inspect.getdoc(found) or "")
    ]
    assert not bare


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_examples_print_what_they_say(
    namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # for those that write files
    module = NAMESPACES[namespace]
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    failures: list[str] = []
    for name in module.__all__:
        for example in examples_of(f"{namespace}.{name}", getattr(module, name)):
            runner.run(example, out=failures.append)
    assert not failures, "".join(failures)
