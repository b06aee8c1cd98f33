"""Kernels of programs compile for two kinds of GPU: run by `make test-triton`.

Of each cubin is known, with no GPU, how many registers it has, that none of them is kept in memory,
and which line of the kernel's text an instruction comes from; of its PTX, which instructions it is
made of.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import triton
from gpu.tiny_programs import PROGRAMS, lowered
from support_examples import EXAMPLES as FOLDER
from support_examples import example_names
from test_triton_text import emitted

import gradc as gc
from gradc import nn, optim
from gradc.compiler.driver import CompiledProgram, CompileOptions, options_from_environment
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.launches import unpack
from gradc.compiler.object_cache import ObjectCache
from gradc.compiler.triton.architecture import NAMES, find_architecture
from gradc.compiler.triton.cubin import compile_kernel, compile_with_triton, with_fewest_spills
from gradc.compiler.triton.kernels import KernelText
from gradc.compiler.triton.program import emit_program
from gradc.compiler.triton.resources import resources_of

ARCHITECTURES = ("sm_80", "sm_90")
BATCHES = {"digits": 64, "lenet": 64, "xor": 4, "adding": 50, "resnet20": 128, "plane_fit": 16}
"""Of examples; others have batches of BATCH."""
BATCH = 32
EXAMPLES = tuple(
    sorted(path.stem for path in FOLDER.glob("*.py") if "\nprogram = " in path.read_text())
)
"""Those that train a program, the order of which decides what `--part` takes."""
BATCHED = ("run", "evaluate", "predict")

PRODUCT = """
graph f(%x: f32[1024, 512], %w: f32[512, 2048]) {
  %0 = dot_general %x, %w {lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]} : f32[1024, 2048]
  %1 = tanh %0 : f32[1024, 2048]
  return y=%1
}
"""  # noqa: E501

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def kernels_of(example: str, architecture: str) -> Iterator[KernelText]:
    """Those of all entry points of an example's program, each once."""
    program = example_names(example)["program"]
    options = CompileOptions(target=f"cuda:{architecture}")
    driver = CompiledProgram(program.graphs, program.batch_dimension, options)
    batched = program.batch_dimension
    seen = set()
    for kind in program.graphs:
        has_batch = batched is not None and kind in BATCHED
        dims = {batched: BATCHES.get(example, BATCH)} if has_batch else {}
        for kernel in emit_program(driver.lowered(kind, dims, False), architecture).kernels:
            if kernel.name not in seen:
                seen.add(kernel.name)
                yield kernel


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """REG, STACK, LOCAL and more, of the one kernel of a cubin."""
    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    command = [str(TOOLS / "cuobjdump"), "--dump-resource-usage", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(\w+):(\d+)", told)}


@pytest.fixture(scope="session")
def compiled_before(tmp_path_factory: pytest.TempPathFactory) -> ObjectCache:
    """Cubins that several examples have."""
    return ObjectCache(tmp_path_factory.mktemp("cubins"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("example", EXAMPLES)
def test_kernels_of_examples_compile_without_spills(
    example: str, architecture: str, compiled_before: ObjectCache, tmp_path: Path
) -> None:
    for kernel in kernels_of(example, architecture):
        cubin = compile_kernel(kernel, find_architecture(architecture), compiled_before)
        read = resources_of(cubin.code)
        assert read.stack_bytes == 0, f"{read}\n{kernel.text}"
        assert read.registers < 255
    found = resources(cubin.code, tmp_path)
    assert found["STACK"] == found["LOCAL"] == 0 and found["REG"] == read.registers


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_trainings_in_one_launch_compile_without_spills(
    name: str, bounded: bool, architecture: str, tmp_path: Path
) -> None:
    (kernel,) = emit_program(lowered(PROGRAMS[name](), 8, bounded), architecture).kernels
    compiled = compile_kernel(kernel, find_architecture(architecture), ObjectCache(None))
    found = resources(compiled.code, tmp_path)
    assert found["STACK"] == found["LOCAL"] == 0, f"{found}\n{kernel.text}"
    assert found["REG"] < 255


@pytest.mark.parametrize("architecture", NAMES)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_products_fit_every_architecture(precision: str, architecture: str) -> None:
    options = CompileOptions(target=f"cuda:{architecture}", precision=precision)  # type: ignore[arg-type]
    driver = CompiledProgram({"call": parse_graph(PRODUCT)}, None, options)
    gpu = find_architecture(architecture)
    for kernel in emit_program(driver.lowered("call", {}, False), architecture).kernels:
        cubin = compile_kernel(kernel, gpu, ObjectCache(None))
        assert 0 <= cubin.shared_bytes <= gpu.shared_bytes and cubin.threads >= 32


OPTIMIZERS = {
    "AdamW": lambda: optim.AdamW(lr=1e-3),
    "AMSGrad": lambda: optim.Adam(lr=1e-3, amsgrad=True),
    "RMSprop": lambda: optim.RMSprop(lr=1e-3, momentum=0.9, centered=True),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_updates_in_the_products_of_wide_layers_compile_without_spills(
    optimizer: str, architecture: str
) -> None:
    """Whose tiles have 64 sums for a thread, and several numbers for each."""
    x, y = gc.input("x", ("batch", 2048)), gc.input("y", ("batch", 2048))
    net = nn.Sequential(nn.Linear(2048, 2048), nn.GELU(), nn.Linear(2048, 2048))
    program = gc.training(gc.mse_loss(net(x), y), OPTIMIZERS[optimizer]())
    options = CompileOptions(target=f"cuda:{architecture}", precision="bf16")
    driver = CompiledProgram(program.graphs, program.batch_dimension, options)
    kernels = emit_program(driver.lowered("run", {"batch": 2048}, False), architecture).kernels
    products = [kernel for kernel in kernels if "tl.dot(" in kernel.text]
    assert sum("tl.split(" in kernel.text for kernel in products) >= 2
    for kernel in products:
        compiled = compile_kernel(kernel, find_architecture(architecture), ObjectCache(None))
        assert resources_of(compiled.code).stack_bytes == 0, kernel.text


HELD = """
@triton.jit
def held(b0, b1):
    at = tl.arange(0, 8192)
    x = tl.load(b0 + at)
    tl.store(b1 + at, x / tl.sum(x, 0))
"""


def test_registers_are_not_kept_in_memory_while_there_are_more(tmp_path: Path) -> None:
    """A row of 64 elements for each thread, compiled with too few registers at first."""
    signature = (("b0", "*fp32"), ("b1", "*fp32"))
    kernel = KernelText("held", HELD, signature, ("b0", "b1"), False, (1, 1, 1), 4, 1)
    gpu = find_architecture("sm_90")
    short = compile_with_triton(kernel, gpu, registers=32)
    assert resources_of(short.asm["cubin"]).stack_bytes > 0
    enough = with_fewest_spills(short, kernel, gpu).asm["cubin"]
    found, read = resources(enough, tmp_path), resources_of(enough)
    assert (found["REG"], found["STACK"]) == (read.registers, 0) and read.stack_bytes == 0
    assert 64 < read.registers < 255


def test_a_profiler_finds_the_lines_of_a_kernel_s_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its line table names a file that is left where GRADC_DUMP says, and lines of it."""
    monkeypatch.setenv("GRADC_DUMP", str(tmp_path))
    x = gc.input("x", (64, 40))
    graph = parse_graph(str(gc.graph({"y": gc.softmax(x @ x.mT, axis=1)})))
    options = options_from_environment(target="cuda:sm_90")
    entry = CompiledProgram({"call": graph}, None, options).variant("call", {}, False)
    _, cubins = unpack(entry.code)
    assert len(cubins) > 1
    for number, cubin in enumerate(cubins):
        path = tmp_path / f"{number}.cubin"
        path.write_bytes(cubin)
        command = [str(TOOLS / "nvdisasm"), "--print-line-info", str(path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = set(re.findall(r'//## File "([^"]*)", line (\d+)', told))
        (name,) = {name for name, _ in found}
        lines = (tmp_path / "call" / name).read_text().splitlines()
        assert f"def {name.removesuffix('.py')}(" in "\n".join(lines)
        shown = [lines[int(line) - 1] for _, line in found]
        assert any("tl.load(" in line for line in shown)
        assert any("tl.store(" in line for line in shown)


def ptx(text: str, *passes: str) -> Iterator[str]:
    for kernel in emitted(text, *passes).kernels:
        compiled: Any = compile_with_triton(kernel, find_architecture("sm_90"))
        yield compiled.asm["ptx"]


def test_elements_that_lie_together_are_read_four_at_once() -> None:
    text = """
    program f rows 1 arena 0 {
      input %x : f32[1048576]
      output %y : f32[1048576]
      buffer %x : f32[1048576] in input slot 0
      buffer %y : f32[1048576] in output slot 0
      kernel k0 { parallel i in 1048576 loop { %y[i] = mul(%x[i], %x[i]) } }
    }
    """
    (found,) = ptx(text, "choose_schedule(cpu=sm_90)")
    assert "ld.global.v4.b32" in found and "st.global.v4.b32" in found
    assert "ld.global.b32" not in found


@pytest.mark.parametrize(
    ("precision", "instruction"),
    [
        ("float32", r"fma\.rn\.f32"),
        ("tf32", r"wgmma\.mma_async\.sync\.aligned\.m64n\d+k8\.f32\.tf32"),
        ("bf16", r"wgmma\.mma_async\.sync\.aligned\.m64n\d+k16\.f32\.bf16"),
        ("fp16", r"wgmma\.mma_async\.sync\.aligned\.m64n\d+k16\.f32\.f16"),
    ],
)
def test_products_are_made_by_the_instructions_of_their_precision(
    precision: str, instruction: str, tmp_path: Path
) -> None:
    options = CompileOptions(target="cuda:sm_90", precision=precision)  # type: ignore[arg-type]
    driver = CompiledProgram({"call": parse_graph(PRODUCT)}, None, options)
    for kernel in emit_program(driver.lowered("call", {}, False), "sm_90").kernels:
        if "tl.dot(" in kernel.text:
            compiled = compile_with_triton(kernel, find_architecture("sm_90"))
            assert re.search(instruction, compiled.asm["ptx"])
            assert "wgmma" in compiled.asm["ptx"] or precision == "float32"
            assert resources(compiled.asm["cubin"], tmp_path)["STACK"] == 0
