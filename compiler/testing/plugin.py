"""Collecting case files (see cases.py) in pytest: the part of the plugin that needs the compiler.

pytest_gradc.py, which every pytest of the environment loads, makes a `CaseCollector` where cases
are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cases import SUFFIX, CaseFailure, check_case, read_case


class CaseCollector:
    """A pytest plugin: files below `directories` are cases."""

    def __init__(self, directories: tuple[Path, ...]) -> None:
        self.directories = directories

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> pytest.Collector | None:
        path = file_path.resolve()
        if path.suffix == SUFFIX and any(path.is_relative_to(d) for d in self.directories):
            return CaseFile.from_parent(parent, path=file_path)
        return None


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
