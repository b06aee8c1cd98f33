"""The examples: what they define, and what they print when they are run."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example_names(name: str, run_name: str | None = None) -> dict[str, Any]:
    """What examples/NAME.py defines; examples may import each other, as `python FILE` lets them."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        return runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=run_name)
    finally:
        sys.path.remove(str(EXAMPLES))


def run(command: list[str], cache: Path) -> str:
    """Standard output of a command that must succeed; compiled code is cached for this run."""
    environment = os.environ | {"GRADC_CACHE_DIR": str(cache)}
    for data_set in ("CIFAR10", "MNIST"):
        environment.pop(data_set, None)
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=cache, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_example(name: str, cache: Path, *arguments: str) -> str:
    return run([sys.executable, str(EXAMPLES / f"{name}.py"), *arguments], cache)


def found(pattern: str, text: str) -> list[float]:
    """The numbers that the groups of the pattern match."""
    match = re.search(pattern, text, re.MULTILINE)
    assert match is not None, f"no {pattern!r} in:\n{text}"
    return [float(group) for group in match.groups()]
