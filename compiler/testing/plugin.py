"""A pytest plugin that runs case files (see cases.py), in this repository and in any other.

    pytest --gradc-cases DIR         run every .ir file below DIR
    pytest --update-golden           write new expected halves, and fail where one changed

With `gradc_cases = tests/cases` in the ini file, cases below that directory are collected whenever
pytest collects the directory. The plugin is registered by the installed package.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cases import SUFFIX, CaseFailure, check_case, read_case

_DIRECTORIES = pytest.StashKey[tuple[Path, ...]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradc", "cases of gradc's passes")
    group.addoption(
        "--gradc-cases",
        metavar="DIR",
        action="append",
        default=[],
        help="run the case files (*.ir) below DIR; may be repeated",
    )
    group.addoption(
        "--update-golden",
        action="store_true",
        help="rewrite the expected half of cases that differ, and fail them",
    )
    parser.addini("gradc_cases", "directories of case files", type="paths", default=[])


def pytest_configure(config: pytest.Config) -> None:
    given = [Path(config.invocation_params.dir, name) for name in config.getoption("gradc_cases")]
    for directory in given:
        if not directory.is_dir():
            raise pytest.UsageError(f"--gradc-cases: no directory {directory}")
        if not any(_is_below(directory, Path(argument).resolve()) for argument in config.args):
            config.args.append(str(directory))
    from_ini = [Path(path) for path in config.getini("gradc_cases")]
    config.stash[_DIRECTORIES] = tuple(path.resolve() for path in (*given, *from_ini))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != SUFFIX:
        return None
    path = file_path.resolve()
    if any(_is_below(path, directory) for directory in parent.config.stash[_DIRECTORIES]):
        return CaseFile.from_parent(parent, path=file_path)
    return None


def _is_below(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory)


class CaseFile(pytest.File):
    """A file that holds one case."""

    def collect(self) -> Iterator[pytest.Item]:
        yield CaseItem.from_parent(self, name="case")


class CaseItem(pytest.Item):
    """One case."""

    def runtest(self) -> None:
        check_case(read_case(self.path), update=self.config.getoption("update_golden"))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:  # type: ignore[override]
        if isinstance(excinfo.value, CaseFailure):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, 0, f"case {self.path.name}"
