"""Binaries of the examples stay as small as they are said to be."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from support import gradc

from gradc.compiler.cpu_llvm.target import find_target

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="measured on x86-64"
)

# What gcc 12 made of it, up to the next thousand; by level of x86-64.
BYTES_MAXIMUM = {3: 79_000, 4: 79_000}
BOTH_MAXIMUM = 101_000
RESIDUAL_MAXIMUM = 203_000


def size_of(example: str, cpu: str, folder: Path) -> int:
    made = folder / f"train-{example}"
    options = ("--batch", "64", "--cpu", cpu)
    source = str(EXAMPLES / f"{example}.py")
    result = gradc("build", source, "-o", str(made), *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    return made.stat().st_size


@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_an_executable_for_one_kind_of_cpu(cpu: str, tmp_path: Path) -> None:
    assert size_of("digits", cpu, tmp_path) <= BYTES_MAXIMUM[find_target(cpu).x86_level]


def test_an_executable_for_both(tmp_path: Path) -> None:
    assert size_of("digits", "portable", tmp_path) <= BOTH_MAXIMUM


def test_a_residual_network_for_avx2(tmp_path: Path) -> None:
    """With as much code again for each vector as AVX-512 takes."""
    assert size_of("resnet20", "x86-64-v3", tmp_path) <= RESIDUAL_MAXIMUM
