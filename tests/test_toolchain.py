"""Sources are compiled side by side; one that fails ends the others, and says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import gradc as gc
from gradc.compiler.aot.toolchain import HOST, Toolchain

COMPILER = """#!/bin/sh
for word in "$@"; do case $word in *.c) source=$(basename "$word");; esac; done
echo "$source" >>started
if [ "$source" = s1.c ]; then echo "s1 is broken"; exit 7; fi
sleep 60
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one CPU compiles one source after the other")
def test_a_failure_ends_the_others(tmp_path: Path) -> None:
    compiler = tmp_path / "slow-cc"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    sources = [tmp_path / f"s{n}.c" for n in range(8 * (os.cpu_count() or 1))]
    toolchain = Toolchain((str(compiler),), HOST, is_zig=False, static=False)
    with pytest.raises(gc.CompileError) as caught:
        toolchain.compile(sources, tmp_path, tmp_path)
    assert "failed with status 7" in str(caught.value) and "s1 is broken" in str(caught.value)
    started = (tmp_path / "started").read_text().split()
    assert len(started) <= (os.cpu_count() or 1) + 1 < len(sources)
