"""Building: a model's code, its tables and the C runtime become one file.

    model --emit, LLVM--> objects, one set per kind of CPU --+
    model --> tables.c (and the header, for a library) ------+--> executable | library | object
    runtime/native/*.c --> objects, cached ------------------+

Everything is made in a temporary folder beside the result and renamed into place at the end: a
build that fails leaves what was there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..artifact import Device
from ..driver import CompiledProgram
from ..errors import ArgumentError, CompileError, FileError
from ..object_cache import default_cache
from ..output_files import move_into_place, replaceable, unwritable
from .code import Code, compile_code
from .cuda import DeviceCode, compile_device_code, device_tables, write_modules
from .description import description_text
from .header import ALL_FUNCTIONS, header_text, library_text
from .model import Declaration, Model, check_declaration, describe_model
from .runtime_objects import runtime_objects
from .tables import MONITORS, tables_text
from .toolchain import HOST, Toolchain, find_toolchain, run_command

KINDS = ("executable", "library", "object")
CPUS = ("native", "x86-64-v3", "portable")


@dataclass(frozen=True)
class BuildOptions:
    """What is built.

    kind      "executable"; "library": shared, with a C header; "object": the same, to be linked in
    cpu       "native": like this machine's; "x86-64-v3": with AVX2; "portable": that and AVX-512,
              chosen at start. On aarch64 all code is portable
    platform  "host", or a name of toolchain.CROSS_PLATFORMS (needs the ziglang package)
    """

    kind: str = "executable"
    cpu: str = "native"
    platform: str = HOST

    def __post_init__(self) -> None:
        for what, value, known in (("kind", self.kind, KINDS), ("cpu", self.cpu, CPUS)):
            if value not in known:
                raise ArgumentError(
                    f"unknown {what} {value!r}",
                    operation="build",
                    facts=[f"known: {', '.join(known)}"],
                )


def build(
    program: CompiledProgram,
    declaration: Declaration,
    out: Path,
    options: BuildOptions,
    native: Path,
    others: Sequence[CompiledProgram] = (),
) -> list[Path]:
    """Make `out`, and beside it the header of a library or object. Returns the files made.

    native   the folder of the C runtime's sources
    others   the same program for further architectures of a device
    Raises ArgumentError for what cannot be built, CompileError where a tool fails, FileError where
    the result cannot be written.
    """
    check_declaration(declaration, program.batch_dimension)
    toolchain = find_toolchain(options.platform)
    if options.kind == "object" and toolchain.is_zig:
        raise ArgumentError(
            "object files are joined by the machine's own compiler, for the machine itself",
            operation="build",
            facts=["a library is made for every platform"],
        )
    folder_of_result = replaceable(out).parent  # before the work is done
    if program.device == "cuda":
        check_device_options(options, toolchain)
        code: Code = compile_device_code([program, *others], declaration.batch)
    else:
        code = compile_code(program, declaration.batch, _cpus(options, toolchain))
    model = describe_model(program, declaration, code.entries)
    try:
        with tempfile.TemporaryDirectory(prefix=".gradc-build-", dir=folder_of_result) as folder:
            made = _Build(model, code, options, toolchain, native, Path(folder)).run()
            return _put_in_place(made, out)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise unwritable(out, error) from error


def check_device_options(options: BuildOptions, toolchain: Toolchain) -> None:
    """Raise ArgumentError for what a binary for a device cannot be."""
    if options.kind != "executable":
        problem = f"a program for a CUDA device is built as an executable, not as {options.kind}"
        raise ArgumentError(problem, operation="build")
    if options.cpu != "native":
        problem = "cpu has no meaning for a CUDA device"
        facts = ["the host's part runs on any CPU of the platform"]
        raise ArgumentError(problem, operation="build", facts=facts)
    if toolchain.static:
        problem = "a program for a CUDA device is linked dynamically: it opens the driver's library"
        raise ArgumentError(problem, operation="build", facts=[f"platform: {options.platform}"])


def _put_in_place(made: Sequence[Path], out: Path) -> list[Path]:
    placed = [out, *(out.with_name(path.name) for path in made[1:])]
    for place in placed:
        replaceable(place)  # both, before one is replaced
    for path, place in zip(made, placed, strict=True):
        move_into_place(path, place)
    return placed


def _cpus(options: BuildOptions, toolchain: Toolchain) -> tuple[str, ...]:
    """The targets that code is made for, the best first."""
    cpu = options.cpu
    if toolchain.architecture == "aarch64":
        if cpu == "x86-64-v3":
            raise ArgumentError(f"{cpu} is no CPU of this platform", operation="build")
        return ("aarch64",)
    if toolchain.architecture != "x86_64":
        raise CompileError(f"no code is made for {toolchain.architecture}", operation="build")
    if cpu == "native" and options.platform != HOST:
        cpu = "portable"
    return ("x86-64-v4", "x86-64-v3") if cpu == "portable" else (cpu,)


class _Build:
    """One build in its folder."""

    def __init__(
        self,
        model: Model,
        code: Code,
        options: BuildOptions,
        toolchain: Toolchain,
        native: Path,
        folder: Path,
    ) -> None:
        self.model, self.code, self.options = model, code, options
        self.toolchain, self.native, self.folder = toolchain, native, folder
        self.name = model.declaration.name
        self.cache = default_cache()

    def run(self) -> list[Path]:
        """The result and what belongs beside it, in the build's folder."""
        is_library = self.options.kind != "executable"
        sources = self._sources(is_library)
        flags = [f"-D{MONITORS}"] if self.model.watched else []
        objects = [
            *self._written(self.code.objects),
            *self.toolchain.compile(sources, self.folder, self.native, flags),
            *runtime_objects(
                self.toolchain,
                self.native,
                is_library,
                self.folder,
                self.cache,
                isinstance(self.code, DeviceCode),
                flags,
            ),
        ]
        if not is_library:
            return [self._executable(objects)]
        header = self.folder / f"{self.name}.h"
        header.write_text(header_text(self.model), encoding="utf-8")
        made = self._object(objects) if self.options.kind == "object" else self._library(objects)
        return [made, header]

    def _sources(self, is_library: bool) -> list[Path]:
        """The generated C: tables, a library's functions, large constants."""
        versions = self.code.versions
        tables = self.folder / "gradc_tables.c"
        is_device = isinstance(self.code, DeviceCode)
        device: Device = "cuda" if is_device else "host"
        names = [version.cpu for version in versions]
        description = description_text(self.model, names, device)
        text = tables_text(self.model, description, versions, not is_device)
        tables.write_text(text, encoding="utf-8")
        sources = [tables]
        if isinstance(self.code, DeviceCode):
            launches = self.folder / "gradc_launches.c"
            launches.write_text(device_tables(self.code, self.model.constants), encoding="utf-8")
            sources += [launches, write_modules(self.code, self.folder)]
        if is_library:
            functions = self.folder / "gradc_functions.c"
            functions.write_text(library_text(self.model), encoding="utf-8")
            sources.append(functions)
        if self.model.constants:
            sources.append(self._constants())
        return sources

    def _constants(self) -> Path:
        """Large constants as data files that the assembler takes in."""
        lines = ["    .section .rodata"]
        for n, data in enumerate(self.model.constants):
            path = self.folder / f"constant_{n}.bin"
            path.write_bytes(data)
            lines += [
                "    .balign 64",
                f"    .globl gradc_constant_{n}",
                f"    .hidden gradc_constant_{n}",
                f"gradc_constant_{n}:",
                f'    .incbin "{path.name}"',
            ]
        lines.append('    .section .note.GNU-stack,"",%progbits')
        source = self.folder / "gradc_constants.S"
        source.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return source

    def _written(self, payloads: Sequence[bytes]) -> list[Path]:
        paths = []
        for n, payload in enumerate(payloads):
            paths.append(self.folder / f"gradc_code_{n}.o")
            paths[-1].write_bytes(payload)
        return paths

    def _executable(self, objects: Sequence[Path]) -> Path:
        made = self.folder / f"{self.name}.out"
        # Position-independent in any case: zig takes both words for what gcc calls -static-pie.
        flags = ["-pie", *["-static"] * self.toolchain.static]
        self.toolchain.link(objects, made, flags + ["-ldl"] * isinstance(self.code, DeviceCode))
        return made

    def _library(self, objects: Sequence[Path]) -> Path:
        made = self.folder / f"{self.name}.so"
        script = self.folder / "exports.map"
        exported = "".join(f"{name};" for name in self._exported())
        script.write_text(f"{{ global: {exported} local: *; }};\n")
        self.toolchain.link(objects, made, ["-shared", f"-Wl,--version-script={script.name}"])
        return made

    def _object(self, objects: Sequence[Path]) -> Path:
        """One relocatable object in which all but the header's functions is local."""
        objcopy = shutil.which("objcopy") or shutil.which("llvm-objcopy")
        if objcopy is None:
            raise CompileError(
                "an object file needs objcopy", operation="build", hint="install binutils"
            )
        # Groups of shared functions are settled here: by name, they would meet those of another
        # object whose own functions are local too.
        flags = ["-r", "-nostdlib", "-Wl,--force-group-allocation"]
        joined, made = self.folder / "joined.o", self.folder / f"{self.name}.o"
        self.toolchain.run([*flags, "-o", str(joined), *map(str, objects)], self.folder)
        kept = [f"--keep-global-symbol={name}" for name in self._exported()]
        run_command([objcopy, *kept, str(joined), str(made)], self.folder)
        return made

    def _exported(self) -> list[str]:
        return [f"gradc_{self.name}_{function}" for function in ALL_FUNCTIONS]
