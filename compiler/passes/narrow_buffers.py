"""Arrays that hold numbers of 16 bits, widened, are kept as what they are.

    before   kernel k0 { loop { %t[i] = cast(cast(%v0) : bf16) : f32 } }      %t : f32[4096, 512]
             kernel k1 { loop k { %r = dot(mul(%t[i, k], ...)) } }
    after    kernel k0 { loop { %t[i] = cast(%v0) : bf16 } }                  %t : bf16[4096, 512]
             kernel k1 { loop k { %r = dot(mul(cast(%t[i, k]) : f32, ...)) } }

Every reader gets the number that it got, so no bit changes; half as much is written and read, and
who multiplies 16-bit floats by themselves sees that these are such. A machine that runs grids
converts as it reads at no cost; on a CPU a product would have to pack what it now reads in place.

Done for arrays of the arena all of whose stores are of that form, from one dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..loops.build import ScalarBuilder
from ..loops.ir import Buffer, Kernel, Scalar, Store
from ..loops.rewrite import Rewriting
from ..machine import Machine
from ..program.ir import Program, instructions_in, tests_of
from ..types import DType, float32


def narrow_buffers(program: Program, machine: Machine) -> Program:
    """The program with such arrays kept short; see the module docstring."""
    if not machine.runs_grids:
        return program
    narrowed = _narrowed(program)
    if not narrowed:
        return program
    k = ScalarBuilder()
    changed = program.map_kernels(lambda kernel: _rewritten(kernel, narrowed, k))
    return replace(changed, buffers=changed.named_buffers())


def _narrowed(program: Program) -> Mapping[Buffer, Buffer]:
    """By array, what it becomes."""
    found: dict[Buffer, DType | None] = {}
    for kernel in program.kernels():
        for store in kernel.stores:
            dtype = None if store.takes_turns else _short(store.value)
            if store.buffer.space != "arena" or found.get(store.buffer, dtype) is not dtype:
                dtype = None
            found[store.buffer] = dtype
            found.update(dict.fromkeys(store.written[1:]))
    for instruction in instructions_in(program.body):
        found.update(dict.fromkeys(tests_of(instruction)))
    return {
        buffer: replace(buffer, type=buffer.type.with_dtype(dtype))
        for buffer, dtype in found.items()
        if dtype is not None
    }


def _short(value: Scalar) -> DType | None:
    """The 16-bit float that a float32 is widened from."""
    if value.op != "cast" or value.dtype is not float32:
        return None
    source = value.args[0].dtype
    return source if source.is_float and source.bits == 16 else None


def _rewritten(kernel: Kernel, narrowed: Mapping[Buffer, Buffer], k: ScalarBuilder) -> Kernel:
    if not any(buffer in narrowed for buffer in kernel.buffers):
        return kernel

    def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar.op == "load" and scalar.payload in narrowed:
            return k.cast(k.load(narrowed[scalar.payload], args), float32)
        return scalar if args == scalar.args else k.remade(scalar, args)

    def stored(store: Store) -> Store:
        if store.buffer not in narrowed:
            return store
        return replace(store, buffer=narrowed[store.buffer], value=store.value.args[0])

    return Rewriting(rule, None, stored).kernel(kernel)
