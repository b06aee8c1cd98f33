"""The pytest plugin that runs case files: what every pytest of an environment with gradc loads.

    pytest --gradc-cases DIR         run every .ir file below DIR
    pytest --update-golden           write new expected halves, and fail where one changed

With `gradc_cases = tests/cases` in the ini file, cases below that directory are collected whenever
pytest collects the directory. The plugin is registered by the installed package, for every project
that is tested where gradc is installed: so this module stands outside of the package `gradc` and
loads nothing, until cases are asked for (see compiler/testing/plugin.py).
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

COLLECTOR = "gradc.compiler.testing.plugin"


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
    directories = [*given, *(Path(path) for path in config.getini("gradc_cases"))]
    if directories:
        resolved = tuple(path.resolve() for path in directories)
        plugin = importlib.import_module(COLLECTOR).CaseCollector(resolved)
        config.pluginmanager.register(plugin, "gradc_case_collector")


def _is_below(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory)
