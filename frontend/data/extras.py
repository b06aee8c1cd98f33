"""Packages that are optional: the error that names the extra which brings them."""

from __future__ import annotations

import importlib.util

from gradc.compiler.errors import lay_out_message


def check_extra(package: str, extra: str, operation: str) -> None:
    """Raise ImportError where an optional package is not there."""
    if importlib.util.find_spec(package) is None:
        hint = f"pip install 'gradc[{extra}]'"
        problem = f"the package {package} is not installed"
        raise ImportError(lay_out_message(operation, problem, hint=hint))
