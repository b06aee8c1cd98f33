"""Kernels of training steps compile for two kinds of GPU: run by `make test-triton`.

Of each cubin is known, with no GPU, how many registers it has, and that none of them is kept in
memory; of its PTX, which instructions it is made of.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import triton
from support_examples import example_names
from test_triton_text import emitted

from gradc.compiler.driver import CompiledProgram, CompileOptions
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.object_cache import ObjectCache
from gradc.compiler.triton.architecture import NAMES, find_architecture
from gradc.compiler.triton.cubin import compile_kernel, compile_with_triton
from gradc.compiler.triton.kernels import KernelText
from gradc.compiler.triton.program import emit_program

ARCHITECTURES = ("sm_80", "sm_90")
EXAMPLES = {"digits": 64, "lenet": 64, "xor": 4, "adding": 50, "resnet20": 128, "plane_fit": 16}
"""By name, with the size of a batch."""

PRODUCT = """
graph f(%x: f32[1024, 512], %w: f32[512, 2048]) {
  %0 = dot_general %x, %w {lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]} : f32[1024, 2048]
  %1 = tanh %0 : f32[1024, 2048]
  return y=%1
}
"""  # noqa: E501

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def kernels_of(example: str, batch: int) -> tuple[KernelText, ...]:
    program = example_names(example)["program"]
    options = CompileOptions(target="cuda:sm_90")
    driver = CompiledProgram(program.graphs, program.batch_dimension, options)
    dims = {} if program.batch_dimension is None else {program.batch_dimension: batch}
    return emit_program(driver.lowered("run", dims, False), "sm_90").kernels


def resources(cubin: bytes, folder: Path) -> dict[str, int]:
    """REG, STACK, LOCAL and more, of the one kernel of a cubin."""
    path = folder / "kernel.cubin"
    path.write_bytes(cubin)
    command = [str(CUOBJDUMP), "--dump-resource-usage", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(\w+):(\d+)", told)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("example", EXAMPLES)
def test_kernels_of_examples_compile_without_spills(
    example: str, architecture: str, tmp_path: Path
) -> None:
    for kernel in kernels_of(example, EXAMPLES[example]):
        compiled = compile_with_triton(kernel, find_architecture(architecture))
        found = resources(compiled.asm["cubin"], tmp_path)
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
