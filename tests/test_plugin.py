"""The pytest plugin as another repository uses it: cases, and golden updates that fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CASE = """\
// Two equal exponentials become one.
graph f(%x: f32[4]) {
  %0 = exp %x : f32[4]
  %1 = exp %x : f32[4]
  %2 = add %0, %1 : f32[4]
  return %2
}
// ---- after cse
"""
EXPECTED = """\
graph f(%x: f32[4]) {
  %0 = exp %x : f32[4]
  %1 = add %0, %0 : f32[4]
  return %1
}
"""


def _pytest(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)


def _repository(root: Path, text: str) -> Path:
    """A user's repository with one case, and a file of another kind beside it."""
    (root / "cases").mkdir()
    (root / "cases" / "notes.txt").write_text("not a case")
    path = root / "cases" / "shared.ir"
    path.write_text(text)
    return path


def test_a_good_case_passes(tmp_path: Path) -> None:
    _repository(tmp_path, CASE + EXPECTED)
    result = _pytest(tmp_path, "--gradc-cases", "cases", "-v")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "cases/shared.ir::case PASSED" in result.stdout
    assert "1 passed" in result.stdout


def test_a_wrong_case_fails_with_a_difference(tmp_path: Path) -> None:
    path = _repository(tmp_path, CASE + EXPECTED.replace("%0, %0", "%0, %x"))
    before = path.read_text()
    result = _pytest(tmp_path, "--gradc-cases=cases")
    assert result.returncode == 1
    assert "-  %1 = add %0, %x : f32[4]\n+  %1 = add %0, %0 : f32[4]" in result.stdout
    assert "Traceback" not in result.stdout
    assert path.read_text() == before


def test_updating_rewrites_the_lower_half_and_fails_once(tmp_path: Path) -> None:
    path = _repository(tmp_path, CASE)
    first = _pytest(tmp_path, "--gradc-cases", "cases", "--update-golden")
    assert first.returncode == 1
    assert "the expected half was rewritten; look at it" in first.stdout
    assert path.read_text() == CASE + EXPECTED
    assert _pytest(tmp_path, "--gradc-cases", "cases", "--update-golden").returncode == 0


def test_cases_are_collected_by_ini_option(tmp_path: Path) -> None:
    _repository(tmp_path, CASE + EXPECTED)
    (tmp_path / "pytest.ini").write_text("[pytest]\ngradc_cases = cases\n")
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.ir").write_text("no case")
    result = _pytest(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CASE[CASE.index("graph") :], "a case begins with a comment that says why it is there"),
        ("// why\ngraph f() { return }\n", "a case has a line '// ---- after PASS'"),
        ("// why\ngraph f() { retur }\n// ---- after cse\n", "shared.ir:2:13: expected a line"),
        ("// why\ngraph f() { return }\n// ---- after css\n", "unknown pass 'css'"),
    ],
)
def test_a_file_that_is_no_case_is_explained(tmp_path: Path, text: str, message: str) -> None:
    _repository(tmp_path, text)
    result = _pytest(tmp_path, "--gradc-cases", "cases", "--update-golden")
    assert result.returncode == 1
    assert message in result.stdout


def test_a_missing_directory_is_an_error_of_usage(tmp_path: Path) -> None:
    result = _pytest(tmp_path, "--gradc-cases", "nowhere")
    assert result.returncode == 4
    assert "--gradc-cases: no directory" in result.stderr


@pytest.mark.parametrize("asked", [False, True])
def test_a_project_without_cases_does_not_pay_for_them(tmp_path: Path, asked: bool) -> None:
    """Nothing of gradc is loaded, nor what it needs, unless cases are asked for."""
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own():\n"
        "    loaded = {name.split('.')[0] for name in sys.modules}\n"
        "    heavy = loaded & {'gradc', 'numpy', 'llvmlite'}\n"
        f"    assert bool(heavy) is {asked}, heavy\n"
        "    assert 'pytest_gradc' in sys.modules\n"
    )
    (tmp_path / "cases").mkdir()
    result = _pytest(tmp_path, *(["--gradc-cases", "cases"] if asked else []), "test_own.py")
    assert result.returncode == 0, result.stdout + result.stderr
