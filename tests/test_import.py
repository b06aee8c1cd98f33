"""What `import gradc` does, and what it leaves to whoever asks for it first."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import gradc as gc
from gradc import augment, nn, optim
from gradc.parameters_of import parameters_of

LATE = ("augment", "data", "nn", "optim", "compiler.loops.ir", "compiler.driver", "runtime.cuda")


def printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_modules_come_when_they_are_asked_for() -> None:
    names = [f"gradc.{name}" for name in LATE]
    assert printed(f"import sys, gradc; print([n for n in {names} if n in sys.modules])") == "[]"
    for use in ("gradc.nn.Linear", "gradc.optim.SGD", "gradc.augment.Mixup", "gradc.data.Rows"):
        module = use.rpartition(".")[0]
        printed(f"import gradc; gradc.{use.split('.')[1]}")
        printed(f"import {module}; from gradc import {module.split('.')[1]}")


def test_names_of_modules_that_are_not_loaded_are_known() -> None:
    code = "import gradc\ntry: gradc.Linear\nexcept AttributeError as error: print(error)"
    assert "write gc.nn.Linear" in printed(code)
    found = printed("import gradc; print(*dir(gradc))").split()
    assert {"augment", "data", "nn", "optim", "compile", "training", "matmul"} <= set(found)


def public_functions() -> list[tuple[str, Callable[..., Any]]]:
    modules = (gc, gc.linalg, gc.random, gc.special, gc.init, nn, nn.functional, optim.schedule)
    found = [(f"{m.__name__}.{n}", getattr(m, n)) for m in modules for n in dir(m) if n[0] != "_"]
    layers = [getattr(m, n) for m in (nn, augment) for n in dir(m) if n[0].isupper()]
    found += [(f"{kind.__name__}.__init__", kind.__init__) for kind in layers]
    return [(name, value) for name, value in found if inspect.isfunction(value)]


def test_parameters_are_those_of_the_signature() -> None:
    functions = public_functions()
    assert len(functions) > 500
    for name, function in functions:
        parameters = list(inspect.signature(function).parameters.values())
        found = parameters_of(function)
        variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        named = [p for p in parameters if p.kind not in variable]
        assert found.names == tuple(p.name for p in named), name
        assert found.positional == tuple(p.name for p in named if p.kind is not p.KEYWORD_ONLY)
        assert [found.several, found.open_name] == [
            next((p.name for p in parameters if p.kind is kind), "") for kind in variable
        ], name
        annotated = {p.name: p.annotation for p in parameters if p.annotation is not p.empty}
        assert {n: a for n, a in found.annotations.items() if n != "return"} == annotated, name


def _open(first: int, /, *others: int, named: bool = False, **more: int) -> None:
    """All kinds of parameters."""


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_kind_of_parameter(wrapped: bool) -> None:
    function: Any = functools.wraps(_open)(lambda *a, **k: None) if wrapped else _open
    found = parameters_of(function)
    assert found.names == ("first", "named") and found.positional == ("first",)
    assert found.several == "others" and found.open_name == "more"
    assert found.every_name == ("first", "named", "others", "more")
    assert parameters_of(functools.partial(_open, 1)).names == ("named",)


def test_more_names_of_arguments_are_a_paragraph_of_the_docstring() -> None:
    for function in (gc.sum, gc.Tensor.sum, gc.Tensor.max, nn.Conv2d.__init__):
        lines = (inspect.getdoc(function) or "").splitlines()
        assert not any(line.startswith(" " * 8) for line in lines[:3]) and lines[-1][0] != " "
    assert "\nAlso taken: input= for x=, a= for x=, dim= for axis=" in (
        inspect.getdoc(gc.sum) or ""
    )
