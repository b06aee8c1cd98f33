"""Sources are compiled side by side; one that fails ends the others, and says why."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
from pathlib import Path

import pytest
from support_binary import needs_compiler

import gradc as gc
from gradc.compiler.aot.layout import is_protected
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


REFUSES = """#!/bin/sh
for word in "$@"; do if [ "$word" = {refused} ]; then echo "unknown: $word" >&2; exit 1; fi; done
exec cc "$@"
"""


@needs_compiler
@pytest.mark.parametrize("refused", ["nothing", "-fno-tree-fre", "-Oz"])
def test_a_whole_source_is_compiled_by_any_compiler(refused: str, tmp_path: Path) -> None:
    """As a program of its own where the compiler has gcc's words for that, else like any other."""
    compiler, source = tmp_path / "old-cc", tmp_path / "whole.c"
    compiler.write_text(REFUSES.format(refused=refused))
    compiler.chmod(0o755)
    source.write_text("int nobody_calls(void) { return 1; }\n")
    toolchain = Toolchain((str(compiler),), HOST, is_zig=False, static=False)
    made = toolchain.compile_whole(source, tmp_path, tmp_path)
    symbols = subprocess.check_output(["nm", str(made)], text=True)
    is_gcc = "Free Software" in subprocess.check_output(["cc", "--version"], text=True)
    assert ("nobody_calls" in symbols) != (refused != "-Oz" and is_gcc)


UNLIKE = """#!/bin/sh
for word in "$@"; do case $word in -Wl,-T,*) {instead};; esac; done
exec cc "$@"
"""
LINKERS = {
    "knows no scripts": 'echo "unknown: $word" >&2; exit 1',
    "leaves the tables writable": 'exec cc "$@" -Wl,-z,norelro',
}


def linked(folder: Path, compiler: str, variable: str = "") -> Path:
    """An executable with a table of addresses, made by this compiler."""
    command, source = folder / "some-cc", folder / "main.c"
    command.write_text(compiler)
    command.chmod(0o755)
    source.write_text(
        '#include <stdio.h>\nstatic const char *const words[] = {"made", "and run"};\n'
        f"{variable or 'static int found;'}\n"
        "int main(int count, char **words_given) {\n"
        "    found += words_given != NULL;\n"
        "    return puts(words[count]) < 0;\n}\n"
    )
    toolchain = Toolchain((str(command),), HOST, is_zig=False, static=False)
    made = folder / "made"
    toolchain.link(toolchain.compile([source], folder, folder), made, ["-pie"])
    assert subprocess.check_output([made], text=True) == "and run\n"
    return made


@needs_compiler
@pytest.mark.parametrize("linker", LINKERS)
def test_a_linker_that_cannot_do_the_layout_makes_its_own(linker: str, tmp_path: Path) -> None:
    made = linked(tmp_path, UNLIKE.format(instead=LINKERS[linker]))
    segments = subprocess.check_output(["readelf", "-lW", made], text=True)
    assert "GNU_RELRO" in segments and "relro_padding" not in segments


@needs_compiler
def test_a_variable_that_begins_with_a_value_stays_one(tmp_path: Path) -> None:
    made = linked(tmp_path, '#!/bin/sh\nexec cc "$@"\n', "static volatile int found = 3;")
    segments = subprocess.check_output(["readelf", "-lW", made], text=True)
    assert "GNU_RELRO" in segments and not is_protected(made)


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="seen with GNU's linker on x86-64")
def test_the_layout_leaves_no_room_and_nothing_writable(tmp_path: Path) -> None:
    """One after the other in the file; and what is relocated is in pages that end read-only."""
    made = linked(tmp_path, '#!/bin/sh\nexec cc "$@"\n')
    assert is_protected(made)
    loaded = [
        line.split()
        for line in subprocess.check_output(["readelf", "-lW", made], text=True).splitlines()
        if line.strip().startswith("LOAD")
    ]
    (_, at, _, _, size, *_), (_, following, *_) = loaded
    assert int(at, 16) == 0 and 0 <= int(following, 16) - int(size, 16) < 64
    content = bytearray(made.read_bytes())
    content[content.index(struct.pack("<I", 0x6474E552))] ^= 1  # no RELRO any more
    made.write_bytes(content)
    assert not is_protected(made)
