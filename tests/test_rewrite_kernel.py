"""Rewriting kernels and programs: what no rule is about is kept, whatever fields there are."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, replace
from typing import Any

import pytest
from random_programs import random_graph
from support_cpu import plan

from gradc.compiler.errors import VerifyError
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.combiners import SUM
from gradc.compiler.loops.ir import (
    Axis,
    Buffer,
    Kernel,
    Loop,
    Reduction,
    Scalar,
    Store,
    dense_layout,
)
from gradc.compiler.loops.rewrite import rewrite_kernel
from gradc.compiler.loops.schedule import Nest, Order
from gradc.compiler.program.ir import Program, Repeat
from gradc.compiler.program.text import print_program
from gradc.compiler.program.verify import verify_program
from gradc.compiler.types import TensorType, float32, int64

EXTENT = 8


def buffer(name: str, space: str = "arena") -> Buffer:
    return Buffer(name, TensorType(float32, (EXTENT,)), dense_layout((EXTENT,)), space)


X, Y, Z = buffer("x", "input"), buffer("y"), buffer("z")
COUNTS = buffer("counts")
ALONG, ACROSS = Axis("i", EXTENT), Axis("j", EXTENT)
K = ScalarBuilder()
RECORDS = (Kernel, Loop, Reduction, Store)


def full_kernel() -> Kernel:
    """A kernel in which no field of any record has its default."""
    read = K.load(X, (K.axis(ACROSS),))
    total = Reduction("r", SUM, K.exp(read), float32)
    here = (K.axis(ALONG),)
    store = Store(Y, here, K.add(K.exp(read), K.load(Y, here)), accumulate=True)
    store = replace(store, counting=K.load(COUNTS, here))
    loop = Loop((ACROSS,), (total,), (store,), running=True, order=Order((("j",),), 16))
    loop = replace(loop, between=(K.index(1), K.axis(ALONG)))
    schedule = Nest((("i",),), None, 1, None, ("i",))
    when = K.primitive("lt", K.axis(ALONG), K.index(5))
    return Kernel("k", (ALONG,), (loop, loop), "exp sum", 3.0, schedule, when)


def parts(kernel: Kernel) -> list[Any]:
    """The kernel and every record in it, outermost first."""
    found: list[Any] = [kernel]
    for loop in kernel.loops:
        found += [loop, *loop.reductions, *loop.stores]
    return found


def default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def test_the_kernel_of_these_tests_has_no_defaults() -> None:
    seen = set()
    for part in parts(full_kernel()):
        seen.add(type(part))
        for field in fields(part):
            assert getattr(part, field.name) != default(field), f"{type(part)} {field.name}"
    assert seen == set(RECORDS)


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"buffer": lambda buffer: buffer},
        {"store": lambda store: store},
        {"scalar": lambda scalar, args: scalar},
    ],
    ids=["none", "buffer", "store", "scalar"],
)
def test_rules_that_change_nothing_give_the_kernel_itself(rules: dict[str, Any]) -> None:
    kernel = full_kernel()
    assert rewrite_kernel(kernel, **rules) is kernel


CHANGED = {Kernel: {"loops"}, Loop: {"reductions", "stores"}, Reduction: {"value"}}


def test_every_field_that_no_rule_is_about_survives() -> None:
    kernel = full_kernel()
    rewritten = rewrite_kernel(kernel, buffer=lambda b: {X: Z, Y: X}.get(b, b))
    for old, new in zip(parts(kernel), parts(rewritten), strict=True):
        assert old is not new
        changed = CHANGED.get(type(old), {"buffer", "value"})
        for field in fields(old):
            same = getattr(old, field.name) is getattr(new, field.name)
            if type(old) is Store and field.name == "index":
                assert old.index == new.index
            else:
                assert same == (field.name not in changed), f"{type(old)} {field.name}"
    assert rewritten.reads == (Z, X, COUNTS) and rewritten.writes == (X, COUNTS)


def test_what_is_walked_and_what_is_counted_are_rewritten() -> None:
    read = K.cast(K.load(X, (K.axis(ALONG),)), int64)
    loop = replace(full_kernel().loops[0], between=(read, K.index(3)))
    kernel = replace(full_kernel(), loops=(loop,), when=K.primitive("lt", read, K.index(2)))
    rewritten = rewrite_kernel(kernel, buffer=lambda b: {X: Z, COUNTS: Y}.get(b, b))
    assert X not in rewritten.buffers and COUNTS not in rewritten.buffers
    between, when = rewritten.loops[0].between, rewritten.when
    assert between is not None and when is not None and when.args[0] is between[0]


def test_equal_scalars_stay_one_object() -> None:
    """Two loads become one and the same; what is made of each becomes one and the same too."""
    a, b = (K.exp(K.load(which, (K.axis(ALONG),))) for which in (X, Y))
    store = Store(Z, (K.axis(ALONG),), K.add(a, b))
    kernel = Kernel("k", (ALONG,), (Loop((), (), (store,)),))
    (new,) = rewrite_kernel(kernel, buffer=lambda b: X if b is Y else b).stores
    left, right = new.value.args
    assert left is right and left is a


def test_a_scalar_knows_the_axes_and_reductions_of_its_new_operands() -> None:
    store = Store(Y, (K.axis(ALONG),), K.exp(K.load(X, (K.axis(ACROSS),))))
    kernel = Kernel("k", (ALONG,), (Loop((ACROSS,), (), (store,)),))
    other = K.reduced("r", float32)

    def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        return other if scalar.op == "load" else K.remade(scalar, args)

    (new,) = rewrite_kernel(kernel, scalar=rule).stores
    assert new.value.axes == frozenset() and new.value.reduced == {"r"}
    moved = rewrite_kernel(kernel, store=lambda s: replace(s, index=(K.index(0),)))
    assert moved.stores[0].index == (K.index(0),)


# -- programs -------------------------------------------------------------------------------


def repeated_program() -> Program:
    programs = (plan(random_graph(seed), repeat=True) for seed in range(100))
    return next(p for p in programs if len(p.order_edges) > 2)


def test_a_program_is_itself_where_nothing_changes() -> None:
    program = repeated_program()
    assert program.map_kernels(lambda kernel: kernel) is program
    assert program.map_bodies(lambda body: body) is program
    assert program.map_buffers(lambda buffer: buffer) is program


def test_edges_follow_the_kernels_that_are_renamed() -> None:
    program = repeated_program()
    renamed = program.renamed(lambda name: f"f.{name}")
    verify_program(renamed)
    assert len(renamed.order_edges) == len(program.order_edges)
    assert {a for edge in renamed.order_edges for a in edge} <= {k.name for k in renamed.kernels()}
    back = renamed.renamed(lambda name: name.removeprefix("f."))
    assert print_program(back) == print_program(program)


def test_two_kernels_are_not_given_one_name() -> None:
    with pytest.raises(VerifyError, match="two kernels have one name"):
        repeated_program().renamed(lambda name: "k")


def test_edges_that_name_nothing_are_refused_by_whoever_rewrites() -> None:
    program = repeated_program()
    broken = replace(program, order_edges=program.order_edges | {("k0", "k77")})
    for act in (
        verify_program,
        lambda p: p.renamed(str.upper),
        lambda p: p.map_kernels(lambda kernel: kernel),
    ):
        with pytest.raises(VerifyError, match="an edge names no kernel: k77"):
            act(broken)  # type: ignore[operator]


def test_kernels_inside_loops_inside_loops_are_reached() -> None:
    program = repeated_program()
    nested = program.with_body((Repeat(program.body),))
    names = {kernel.name for kernel in nested.renamed(lambda name: f"{name}_").kernels()}
    assert names == {f"{kernel.name}_" for kernel in program.kernels()}
    (outer,) = nested.map_bodies(lambda body: body[::-1]).body
    assert isinstance(outer, Repeat)
    (inner,) = outer.body
    assert isinstance(inner, Repeat) and inner.body == program.kernels()[::-1]
