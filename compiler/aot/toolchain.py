"""C compilers and linkers: the machine's own `cc`, or the `ziglang` package, which cross-compiles.

In: C sources and objects. Out: objects and linked files. Commands run without a shell, in a folder
of their own. Nothing is downloaded.

A platform is "host" or one of zig's target names; the musl ones are linked statically and depend on
nothing but the kernel.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArgumentError, CompileError

HOST = "host"
CROSS_PLATFORMS = (
    "x86_64-linux-gnu",
    "x86_64-linux-musl",
    "aarch64-linux-gnu",
    "aarch64-linux-musl",
)
PLATFORMS = (HOST, *CROSS_PLATFORMS)

# -Os and sections: a binary carries what it uses and little else. Sums of losses are the same
# everywhere only if no product is contracted into them (gcc does so by default on aarch64).
COMPILE_FLAGS = (
    "-std=c11", "-D_GNU_SOURCE", "-Os", "-fPIC", "-fvisibility=hidden", "-ffunction-sections",
    "-fdata-sections", "-ffp-contract=off", "-fno-asynchronous-unwind-tables", "-fno-ident",
    "-pthread",
)  # fmt: skip
LINK_FLAGS = ("-pthread", "-s", "-Wl,--gc-sections", "-Wl,--hash-style=gnu", "-Wl,--build-id=none")
GNU_LINK_FLAGS = ("-Wl,-z,noseparate-code", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,--as-needed")
_MESSAGE_LINES = 12


@dataclass(frozen=True)
class Toolchain:
    """A compiler driver with its arguments.

    is_zig   LLVM's linker, which knows fewer of GNU's options
    static   executables carry their C library
    """

    command: tuple[str, ...]
    platform: str
    is_zig: bool
    static: bool

    @property
    def architecture(self) -> str:
        """ "x86_64" or "aarch64": what objects have to be for."""
        machine = os.uname().machine if self.platform == HOST else self.platform.partition("-")[0]
        return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine.lower(), machine)

    def identity(self) -> str:
        """Changes whenever the compiler or its arguments do: part of a cache key."""
        facts = [importlib.metadata.version("ziglang")] if self.is_zig else []
        for word in self.command:  # a wrapper such as ccache is followed by what it wraps
            found = shutil.which(word)
            if found:
                stat = Path(found).resolve().stat()
                facts.append(f"{stat.st_size} {stat.st_mtime_ns}")
        return f"{self.command} {facts} {COMPILE_FLAGS}"

    def compile(self, sources: Sequence[Path], folder: Path, include: Path) -> list[Path]:
        """Objects of C or assembler sources, written into `folder`."""
        objects = [folder / f"{source.stem}.o" for source in sources]

        def one(source: Path, made: Path) -> None:
            self.run(["-c", *COMPILE_FLAGS, "-I", str(include), "-o", str(made), str(source)],
                     folder)  # fmt: skip

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, sources, objects))
        return objects

    def link(self, objects: Sequence[Path], made: Path, arguments: Sequence[str]) -> None:
        """An executable, or what the arguments ask for."""
        flags = LINK_FLAGS if self.is_zig else LINK_FLAGS + GNU_LINK_FLAGS
        self.run([*flags, *arguments, "-o", str(made), *map(str, objects)], made.parent)

    def run(self, arguments: Sequence[str], folder: Path) -> None:
        """One command. Raises CompileError with what the compiler said."""
        run_command([*self.command, *arguments], folder)


def run_command(command: Sequence[str], folder: Path) -> None:
    """Run a tool in a folder. Raises CompileError with the first lines of its complaint."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise CompileError(f"{command[0]}: {error.strerror}", operation="build") from error
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()
        raise CompileError(
            f"{Path(command[0]).name} failed with status {done.returncode}",
            operation="build",
            facts=[*said[:_MESSAGE_LINES], f"the command: {shlex.join(command)}"],
        )


def _named_compiler() -> list[str]:
    """The command in $CC; nothing where it is not set. Raises CompileError."""
    try:
        return shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        problem = f"CC is {os.environ['CC']!r}: {error}"
        raise CompileError(problem, operation="build") from None


def find_toolchain(platform: str) -> Toolchain:
    """The toolchain for a platform. Raises ArgumentError, or CompileError where there is none."""
    if platform not in PLATFORMS:
        known = ", ".join(PLATFORMS)
        raise ArgumentError(
            f"unknown platform {platform!r}", operation="build", facts=[f"known: {known}"]
        )
    if platform == HOST:
        named = _named_compiler()
        for command in [named] if named else [["cc"], ["gcc"], ["clang"]]:
            found = shutil.which(command[0])
            if found:
                # Commands run in another folder; links stay, compilers look at their names.
                return Toolchain((os.path.abspath(found), *command[1:]), HOST, False, False)
        if named:
            raise CompileError(f"CC names {named[0]!r}, which is not there", operation="build")
    if importlib.util.find_spec("ziglang") is None:
        what = "no C compiler was found" if platform == HOST else f"{platform} needs ziglang"
        raise CompileError(
            what, operation="build", hint="pip install ziglang" if platform != HOST else
            "install gcc or clang, set CC, or pip install ziglang",
        )  # fmt: skip
    zig = (sys.executable, "-m", "ziglang", "cc")
    if platform == HOST:
        return Toolchain(zig, HOST, True, False)
    static = platform.endswith("-musl")
    return Toolchain((*zig, "-target", platform), platform, True, static)
