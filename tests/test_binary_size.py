"""The binary of the digits example stays as small as it is said to be."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from support import gradc

from gradc.compiler.cpu_llvm.target import find_target

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits.py"

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="measured on x86-64"
)

# What gcc 12 made of it and a page more, up to the next thousand; by level of x86-64. Files grow by
# whole pages: the linker puts the end of what is read-only after the start on one.
BYTES_MAXIMUM = {3: 109_000, 4: 101_000}
BOTH_MAXIMUM = 138_000


def size_of_digits(cpu: str, folder: Path) -> int:
    made = folder / "train-digits"
    options = ("--batch", "64", "--cpu", cpu)
    result = gradc("build", str(DIGITS), "-o", str(made), *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    return made.stat().st_size


@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_an_executable_for_one_kind_of_cpu(cpu: str, tmp_path: Path) -> None:
    assert size_of_digits(cpu, tmp_path) <= BYTES_MAXIMUM[find_target(cpu).x86_level]


def test_an_executable_for_both(tmp_path: Path) -> None:
    assert size_of_digits("portable", tmp_path) <= BOTH_MAXIMUM
