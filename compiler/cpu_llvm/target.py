"""Targets of the CPU back end, and the way from text IR to object bytes.

In: module text, a `Target`, how much LLVM optimises.
Out: the bytes of a relocatable object file (ELF on Linux), position independent.

Every target has fused multiply-add: the back end's promise of equal bits rests on it. A CPU
without it is refused. Text is parsed and verified before anything else touches it: LLVM aborts
the process on malformed modules (llvmlite #433).

optimize  "none"    code generation only: for IR that is SSA already, as kernels are
          "scalar"  LLVM's O1 pipeline, vectorisers and unrolling off: removes dead and equal code
          "full"    LLVM's O2 pipeline with vectorisers
No level changes values: no instruction carries fast-math flags unless its emitter wrote them.
"""

from __future__ import annotations

import functools
import platform
import re
from dataclasses import dataclass
from typing import Any, Literal

import llvmlite
import llvmlite.binding as llvm

from ..errors import ArgumentError, CompileError
from ..machine import CPU_FUSION, Machine

_SHARED_WORK = 262_144
"""About five microseconds of one thread; each barrier of several takes some tenths of one."""

Optimize = Literal["none", "scalar", "full"]
TARGET_NAMES = ("native", "x86-64-v3", "x86-64-v4", "aarch64")
_CODE_GENERATION_LEVEL = 2
_ERROR_LINE = re.compile(r"<string>:(\d+):")
_MODULE = re.compile(r"^; module (.*)$", re.MULTILINE)
_FUNCTION = re.compile(r"^define [^@\n]*@([\w.$-]+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Target:
    """What code is generated for. `features` is LLVM's list, empty for the CPU's own."""

    name: str
    triple: str
    cpu: str
    features: str

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith("x86_64")

    @property
    def is_aarch64(self) -> bool:
        return self.triple.startswith(("aarch64", "arm64"))

    @property
    def vector_bytes(self) -> int:
        """Width of the widest vector register that code for this target may use."""
        if not self.is_x86:
            return 16
        wide = "+avx512f" in self.features.split(",") or self.cpu == "x86-64-v4"
        return 64 if wide else 32

    @property
    def machine(self) -> Machine:
        """What passes must know of such a CPU."""
        registers = 32 if self.vector_bytes != 32 else 16
        return Machine(
            self.name,
            "the CPU",
            self.vector_bytes,
            registers,
            keeps_values=True,
            refused_dtypes=(),
            fusion=CPU_FUSION,
            runs_grids=False,
            holds_loops=True,
            shared_work=_SHARED_WORK,
            launch_work=0,
            block_bytes=0,
        )

    @property
    def x86_level(self) -> int:
        """The least level of the x86-64 psABI that runs this code: 3 or 4; 0 elsewhere."""
        if not self.is_x86:
            return 0
        return 4 if self.vector_bytes == 64 else 3

    @property
    def data_layout(self) -> str:
        return str(target_machine(self).target_data)

    def describe(self) -> str:
        """Everything that object bytes depend on besides the text: part of a cache key."""
        version = ".".join(str(part) for part in llvm.llvm_version_info)
        return "\n".join([llvmlite.__version__, version, self.triple, self.cpu, self.features])


@functools.cache
def find_target(name: str) -> Target:
    """The target of this name. Raises ArgumentError, or CompileError for a host without FMA."""
    _initialize()
    if name not in TARGET_NAMES:
        raise ArgumentError(f"unknown target {name!r}", facts=[f"known: {', '.join(TARGET_NAMES)}"])
    host = llvm.get_process_triple()
    if name == "native":
        features = llvm.get_host_cpu_features()
        if host.startswith("x86_64") and not (features.get("fma") and features.get("avx2")):
            raise CompileError(
                f"this CPU ({llvm.get_host_cpu_name()}) has no AVX2 with FMA",
                facts=["gradc generates code for x86-64-v3 and later, and for aarch64"],
            )
        return Target(name, host, llvm.get_host_cpu_name(), features.flatten())
    if name == "aarch64":
        same = host.startswith(("aarch64", "arm64"))
        return Target(name, host if same else "aarch64-unknown-linux-gnu", "generic", "")
    return Target(name, host if host.startswith("x86_64") else "x86_64-unknown-linux-gnu", name, "")


def host_has(target: Target) -> bool:
    """Whether this process can run code for `target`."""
    if target.is_aarch64:
        return platform.machine() in ("aarch64", "arm64")
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    features = llvm.get_host_cpu_features()
    needed = ["avx2", "fma", "bmi2"]
    if target.cpu == "x86-64-v4":
        needed += ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"]
    return all(features.get(f) for f in needed)


@functools.cache
def target_machine(target: Target) -> Any:
    """LLVM's TargetMachine; one for each target and process."""
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=_CODE_GENERATION_LEVEL,
        reloc="pic",
        codemodel="small",
    )


def compile_module(text: str, target: Target, optimize: Optimize = "none") -> bytes:
    """Object bytes of a module. Raises CompileError naming the function at fault."""
    module = _optimized(text, target, optimize)
    return bytes(target_machine(target).emit_object(module))


def assembly(text: str, target: Target, optimize: Optimize = "none") -> str:
    """Assembly of a module, for people and for tests of the generated code."""
    return str(target_machine(target).emit_assembly(_optimized(text, target, optimize)))


def optimized_text(text: str, target: Target, optimize: Optimize) -> str:
    """The module's IR as the code generator gets it."""
    return str(_optimized(text, target, optimize))


def _optimized(text: str, target: Target, optimize: Optimize) -> Any:
    module = _parse(text)
    machine = target_machine(target)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    if optimize == "none":
        return module
    vectorize = optimize == "full"
    tuning = llvm.create_pipeline_tuning_options(speed_level=2 if vectorize else 1)
    tuning.loop_vectorization = vectorize
    tuning.loop_interleaving = vectorize
    tuning.slp_vectorization = vectorize
    tuning.loop_unrolling = vectorize
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


def _parse(text: str) -> Any:
    _initialize()
    try:
        module = llvm.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        message = str(error)
        raise CompileError(
            "LLVM refuses the generated code",
            operation=_culprit(text, message),
            facts=message.strip().splitlines()[:6],
        ) from error
    return module


def _culprit(text: str, message: str) -> str:
    """Module and function that LLVM's message is about, as far as it says."""
    found = _MODULE.search(text)
    module = found.group(1) if found else "module"
    at = _ERROR_LINE.search(message)
    if at is None:
        return module
    before = "\n".join(text.splitlines()[: int(at.group(1))])
    functions = _FUNCTION.findall(before)
    return f"{module}: {functions[-1]}" if functions else module


@functools.cache
def _initialize() -> None:
    """Register all targets with LLVM. Without the asm parser, inline asm aborts the process."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()
