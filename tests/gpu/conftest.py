"""What needs Triton is run where it is: by `make test-triton`, a part by `make test-kernels`.

`--part 2/3` runs every third test from the second on: one machine's, or one version's, share.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

_TESTS = ["test_interpreted.py", "test_persistent.py", "test_training.py", "test_cubins.py"]
collect_ignore = [] if find_spec("triton") else _TESTS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", default="1/1", help="N/M: every M-th test from the N-th on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    number, parts = map(int, config.getoption("--part", "1/1").split("/"))
    kept = items[number - 1 :: parts]
    left = [item for place, item in enumerate(items) if place % parts != number - 1]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept
