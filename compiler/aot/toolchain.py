"""C compilers and linkers: the machine's own `cc`, or the `ziglang` package, which cross-compiles.

In: C sources and objects. Out: objects and linked files. Commands run without a shell, in a folder
of their own. Nothing is downloaded.

A platform is "host" or one of zig's target names; the musl ones are linked statically and depend on
nothing but the kernel.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArgumentError, CompileError
from .layout import LAYOUT, is_protected

HOST = "host"
CROSS_PLATFORMS = (
    "x86_64-linux-gnu",
    "x86_64-linux-musl",
    "aarch64-linux-gnu",
    "aarch64-linux-musl",
)
PLATFORMS = (HOST, *CROSS_PLATFORMS)

# -Os and sections: a binary carries what it uses and little else; a call at a function's end is
# shorter than a jump after its epilogue. An overwritten stack or buffer ends the program. Sums of
# losses are the same everywhere only if no product is contracted into them (gcc does so by default
# on aarch64).
COMPILE_FLAGS = (
    "-std=c11", "-D_GNU_SOURCE", "-Os", "-fPIC", "-fvisibility=hidden", "-ffunction-sections",
    "-fdata-sections", "-ffp-contract=off", "-fno-asynchronous-unwind-tables", "-fno-ident",
    "-fno-optimize-sibling-calls", "-pthread", "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2",
)  # fmt: skip
# Calls into libc go through the table of addresses itself: on x86-64 that is shorter than by way of
# a stub for each function.
NO_STUBS = "-fno-plt"
# For a source that holds all of a program, of which nothing need be fast: gcc's words for it.
WHOLE_FLAGS = ("-Oz", "-fwhole-program")
# With these gcc 12 makes less code of the C runtime, by a thousandth of it at least for each.
SMALLEST_FLAGS = (
    *WHOLE_FLAGS, "-fno-expensive-optimizations", "-fno-move-loop-invariants", "-fno-ipa-modref",
    "-fno-tree-dominator-opts", "-fno-tree-forwprop", "-fno-tree-fre", "-fno-tree-loop-im",
    "-fno-tree-tail-merge", "-fno-caller-saves", "-fno-forward-propagate",
    "-fno-inline-small-functions", "--param=large-stack-frame=100000",
    "--param=logical-op-non-short-circuit=0",
)  # fmt: skip
# Tables lie as the ABI of x86-64 wants them, and not each in a line of the cache.
PACKED_TABLES = "-malign-data=abi"
LINK_FLAGS = ("-pthread", "-s", "-Wl,--gc-sections", "-Wl,--hash-style=gnu", "-Wl,--build-id=none")
# No code here has tables to unwind it: an index of them, or one for stubs, is of no use. Nor is
# room in the table of the dynamic linker for what another tool might add to it.
GNU_LINK_FLAGS = (
    "-Wl,-z,noseparate-code", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,--as-needed",
    "-Wl,--no-eh-frame-hdr", "-Wl,--no-ld-generated-unwind-info", "-Wl,--spare-dynamic-tags=0",
)  # fmt: skip
ENTRY_OBJECT = "Scrt1.o"
"""What calls `main` of a position-independent executable: a part of the C library."""
PATIENCE_SECONDS = 900.0
"""For one file. A first run of zig compiles a C library, on a slow machine for minutes."""
OUTPUT_BYTES_MAXIMUM = 1 << 20
_MESSAGE_LINES = 12
_LINE_CHARACTERS = 400
_MACHINE_AT = 18  # e_machine of an ELF header: System V ABI, chapter 4
_MACHINES = {"x86_64": 62, "aarch64": 183}


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
        return f"{self.command} {facts} {self.compile_flags} {self._smallest_flags}"

    @property
    def compile_flags(self) -> tuple[str, ...]:
        """Those of all C sources."""
        stubs = self.static or self.architecture != "x86_64"
        return COMPILE_FLAGS if stubs else (*COMPILE_FLAGS, NO_STUBS)

    @property
    def _smallest_flags(self) -> tuple[str, ...]:
        return (*SMALLEST_FLAGS, PACKED_TABLES) if self.architecture == "x86_64" else SMALLEST_FLAGS

    def compile_whole(
        self, source: Path, folder: Path, include: Path, more: Sequence[str] = ()
    ) -> Path:
        """The object of a source whose functions are called from nowhere else, as small as it gets.

        A compiler that does not know how makes it as it makes all others.
        """
        for flags in () if self.is_zig else (self._smallest_flags, WHOLE_FLAGS):
            with contextlib.suppress(CompileError):
                return self.compile([source], folder, include, [*flags, *more])[0]
        return self.compile([source], folder, include, more)[0]

    def compile(
        self, sources: Sequence[Path], folder: Path, include: Path, more: Sequence[str] = ()
    ) -> list[Path]:
        """Objects of C or assembler sources, written into `folder`.

        more   flags besides those of all
        Raises CompileError, also for a compiler that ends well and has made no object.
        """
        objects = [folder / f"{source.stem}.o" for source in sources]
        running: list[subprocess.Popen[bytes]] = []
        failures: list[BaseException] = []

        def end_others(error: BaseException) -> None:
            failures.append(error)
            for process in list(running):
                _kill(process)

        def one(source: Path, made: Path) -> None:
            if failures:
                return
            flags = ["-c", *self.compile_flags, *more, "-I", str(include)]
            flags += ["-o", str(made), str(source)]
            try:
                run_command([*self.command, *flags], folder, running)
                self.check(made)
            except BaseException as error:  # nobody waits for the others, and none is begun
                end_others(error)
                raise

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                list(pool.map(one, sources, objects))
            except BaseException as error:  # an interrupt; or that of a compiler which was ended
                end_others(error)
                raise failures[0] from None
        return objects

    def link(self, objects: Sequence[Path], made: Path, arguments: Sequence[str]) -> None:
        """A position-independent executable, or what the arguments ask for.

        It is laid out by layout.py where the linker can do that, else as the linker likes.
        """
        files = ["-o", str(made), *map(str, objects)]
        if self.is_zig:
            self.run([*LINK_FLAGS, *arguments, *files], made.parent)
        else:
            flags = [*LINK_FLAGS, *GNU_LINK_FLAGS, *arguments]
            with contextlib.suppress(CompileError):
                self.run([*flags, *self._compact(made.parent, arguments), *files], made.parent)
                self.check(made)
                if is_protected(made):
                    return
            self.run([*flags, *files], made.parent)
        self.check(made)

    def _compact(self, folder: Path, arguments: Sequence[str]) -> list[str]:
        """Arguments for the layout, without the compiler's own code at start and end: an executable
        needs its entry point alone."""
        script = folder / "layout.ld"
        script.write_text(LAYOUT, encoding="utf-8")
        found = [f"-Wl,-T,{script.name}", "-nostartfiles"]
        if "-shared" in arguments:
            return found
        command = [*self.command, f"-print-file-name={ENTRY_OBJECT}"]
        entry = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=PATIENCE_SECONDS,
        ).stdout.strip()  # fmt: skip
        return [*found, entry]

    def check(self, made: Path) -> None:
        """Raise CompileError unless the file is there, and ELF for the architecture."""
        try:
            with made.open("rb") as file:
                head = file.read(_MACHINE_AT + 2)
        except OSError:
            head = None
        machine = None if head is None else int.from_bytes(head[_MACHINE_AT:], "little")
        if (
            head is not None
            and head[:4] == b"\x7fELF"
            and machine == _MACHINES.get(self.architecture)
        ):
            return
        what = "no file" if head is None else f"something else than a file for {self.architecture}"
        raise CompileError(
            f"{Path(self.command[0]).name} ended well and made {what}",
            operation="build",
            facts=[f"expected: {made.name}", f"the command: {shlex.join(self.command)}"],
            hint="is it a C compiler?" if head is None else "does it compile for another machine?",
        )

    def run(self, arguments: Sequence[str], folder: Path) -> None:
        """One command. Raises CompileError with what the compiler said."""
        run_command([*self.command, *arguments], folder)


def run_command(
    command: Sequence[str], folder: Path, running: list[subprocess.Popen[bytes]] | None = None
) -> None:
    """Run a tool in a folder. Raises CompileError with the first lines of its complaint.

    A tool that does not end, or says more than anybody could read, is killed with its children.
    running   takes the process while it runs, for whoever wants to end it
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CompileError(f"{command[0]}: {error.strerror}", operation="build") from error
    waited_for = [] if running is None else running
    waited_for.append(process)
    name, timer = Path(command[0]).name, threading.Timer(PATIENCE_SECONDS, _kill, [process])
    timer.start()
    assert process.stdout is not None
    try:
        said = process.stdout.read(OUTPUT_BYTES_MAXIMUM)
        if len(said) == OUTPUT_BYTES_MAXIMUM:
            _kill(process)
            raise _failed(f"{name} prints without end", said, command)
        status = process.wait()
    finally:
        ended_in_time = timer.is_alive()
        timer.cancel()
        if process.poll() is None:  # interrupted here
            _kill(process)
            process.wait()
        waited_for.remove(process)
        process.stdout.close()
    if not ended_in_time:
        raise _failed(f"{name} did not end in {PATIENCE_SECONDS:g} seconds", said, command)
    if status:
        raise _failed(f"{name} failed with status {status}", said, command)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _failed(problem: str, said: bytes, command: Sequence[str]) -> CompileError:
    lines = said.decode(errors="replace").strip().splitlines()[:_MESSAGE_LINES]
    facts = [*(line[:_LINE_CHARACTERS] for line in lines), f"the command: {shlex.join(command)}"]
    return CompileError(problem, operation="build", facts=facts)


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
            there = os.path.exists(named[0])
            problem = "no program that can be run" if there else "not there"
            raise CompileError(f"CC names {named[0]!r}, which is {problem}", operation="build")
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
