"""What needs Triton is run where it is installed: by `make test-triton`."""

from __future__ import annotations

from importlib.util import find_spec

_TESTS = ["test_interpreted.py", "test_training.py", "test_cubins.py"]
collect_ignore = [] if find_spec("triton") else _TESTS
