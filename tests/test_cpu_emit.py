"""The IR emitter, targets, the object cache and the loader: text, and values of what it means."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradc.compiler.cpu_llvm.cached import compile_cached, object_key
from gradc.compiler.cpu_llvm.emit import FunctionEmitter, ModuleEmitter, Value
from gradc.compiler.cpu_llvm.jit import process_engine
from gradc.compiler.cpu_llvm.target import (
    TARGET_NAMES,
    compile_module,
    find_target,
    optimized_text,
)
from gradc.compiler.cpu_llvm.values import literal, llvm_type
from gradc.compiler.errors import ArgumentError, CompileError
from gradc.compiler.object_cache import ObjectCache, default_cache
from gradc.compiler.types import DTYPES

faulthandler.enable()
Array = np.ndarray[Any, np.dtype[Any]]
X86 = find_target("native").is_x86


def pointers(name: str, count: int) -> FunctionEmitter:
    """A function of `count` pointers and n."""
    return FunctionEmitter(name, [*(("ptr", f"p{i}") for i in range(count)), ("i64", "n")])


def run(
    f: FunctionEmitter, *arrays: Array, n: int = 0, optimize: str = "none", target: str = "native"
) -> None:
    """Compile and call it with the arrays' addresses and n."""
    module = ModuleEmitter(f.name)
    module.add(f)
    payload = compile_module(module.text(), find_target(target), optimize)  # type: ignore[arg-type]
    loaded = process_engine().load(payload, [f.name])
    signature = [ctypes.c_void_p] * len(arrays) + [ctypes.c_int64]
    call = ctypes.CFUNCTYPE(None, *signature)(loaded.address(f.name))
    call(*(a.ctypes.data for a in arrays), n)


def test_text_of_a_loop() -> None:
    f = FunctionEmitter("sum", [("ptr noalias", "x"), ("i64", "n")], "float")
    x, n = f.parameter(0), f.parameter(1)
    with f.loop(0, n, carried=[f.const("float", 0.0)]) as loop:
        value = f.load("float", f.gep(x, loop.index, "float"))
        loop.next([f.add(loop.carried[0], value)])
    f.ret(loop.results[0])
    assert (
        f.text()
        == """\
define float @sum(ptr noalias %x, i64 %n) nounwind {
entry:
  %v3 = icmp slt i64 0, %n
  br i1 %v3, label %loop1, label %done2
loop1:
  %v4 = phi i64 [ 0, %entry ], [ %v9, %loop1 ]
  %v5 = phi float [ 0x0000000000000000, %entry ], [ %v8, %loop1 ]
  %v6 = getelementptr inbounds float, ptr %x, i64 %v4
  %v7 = load float, ptr %v6, align 4
  %v8 = fadd float %v5, %v7
  %v9 = add nsw i64 %v4, 1
  %v10 = icmp slt i64 %v9, %n
  br i1 %v10, label %loop1, label %done2
done2:
  %v11 = phi float [ 0x0000000000000000, %entry ], [ %v8, %loop1 ]
  ret float %v11
}
"""
    )


def test_one_constant_trip_and_known_trips_need_no_check() -> None:
    f = pointers("trips", 1)
    with f.loop(0, 16, 16, [f.const("i64", 7)]) as once:
        once.next([f.add(once.carried[0], f.parameter(1))])
    with f.loop(0, 4) as four:
        f.store(four.index, f.parameter(0))
    assert once.results[0].name == "%v1"
    assert f.text().count("phi") == 1 and f.text().count("br i1") == 1


@pytest.mark.parametrize("n", [-3, 0, 1, 7, 8, 9, 30])
@pytest.mark.parametrize("optimize", ["none", "scalar", "full"])
def test_nested_loops_count_as_range_does(n: int, optimize: str) -> None:
    f = pointers("nested", 1)
    out, count = f.parameter(0), f.parameter(1)
    with f.loop(0, count, 3, [f.const("i64", 0), f.const("i64", 100)]) as outer:
        with f.loop(outer.index, count, 2, [outer.carried[0]]) as inner:
            inner.next([f.add(inner.carried[0], inner.index)])
        outer.next([inner.results[0], f.add(outer.carried[1], 1)])
    f.store(outer.results[0], out)
    f.store(outer.results[1], f.gep(out, 1, "i64"))
    f.ret()
    got = np.zeros(2, np.int64)
    run(f, got, n=n, optimize=optimize)
    assert got[0] == sum(j for i in range(0, n, 3) for j in range(i, n, 2))
    assert got[1] == 100 + len(range(0, n, 3))


def test_do_while_and_branches() -> None:
    """Collatz steps of n; +1000 where n is even, *2 where it is odd."""
    f = pointers("collatz", 1)
    out, n = f.parameter(0), f.parameter(1)
    with f.do_while([n, f.const("i64", 0)]) as loop:
        value, steps = loop.carried
        with f.if_else(f.compare("eq", f.binary("and", value, 1), 0)) as parity:
            parity.give(f.binary("lshr", value, 1))
            parity.otherwise()
            parity.give(f.add(f.mul(value, 3), 1))
        following = parity.results[0]
        again = f.compare("ne", following, 1)
        loop.next([following, f.add(steps, 1)], again=again)
    with f.if_else(f.compare("eq", f.binary("and", n, 1), 0)) as branch:
        branch.give(f.add(loop.results[1], 1000))
        branch.otherwise()
        branch.give(f.mul(loop.results[1], 2))
    f.store(branch.results[0], out)
    with f.if_(f.compare("sgt", n, 10)):
        f.store(n, f.gep(out, 1, "i64"))
    f.ret()
    for start, first, second in ((6, 1008, 0), (27, 222, 27)):
        got = np.zeros(2, np.int64)
        run(f, got, n=start)
        assert got.tolist() == [first, second]


def test_integer_literals_and_constant_addresses_fold() -> None:
    f = pointers("fold", 1)
    p, n = f.parameter(0), f.parameter(1)
    assert f.add(n, 0) is n and f.add(0, n) is n and f.mul(n, 1) is n and f.sub(n, 0) is n
    assert f.mul(n, 0).integer == 0
    assert f.add(f.const("i64", 3), f.mul(f.const("i64", 4), 5)).integer == 23
    assert f.mul(f.const("i8", 100), 3).integer == 44
    assert f.gep(p, 0, "float") is p
    further = f.gep(f.gep(p, 3, "float"), 5, "double")
    assert f.gep(f.gep(further, -5, "double"), -3, "float") is p
    assert [line for line in f.text().splitlines() if "%v2 =" in line] == [
        "  %v2 = getelementptr inbounds i8, ptr %p0, i64 52"
    ]


def test_literals_are_bits() -> None:
    assert literal("float", 0.1) == "0x3FB99999A0000000"
    assert literal("double", 0.1) == "0x3FB999999999999A"
    assert literal("half", 1.5) == "0xH3E00" and literal("bfloat", -2.0) == "-16384"
    assert literal("i8", 255) == "-1" and literal("i1", 2) == "true" and literal("ptr", 0) == "null"
    f = pointers("literals", 0)
    assert str(f.const("float", 1.0, 4)) == "<4 x float> splat (float 0x3FF0000000000000)"
    assert str(f.iota("i32", 3)) == "<3 x i32> <i32 0, i32 1, i32 2>"
    assert {llvm_type(d) for d in DTYPES} >= {"double", "half", "bfloat", "i1"}


def test_wrong_types_are_refused_while_emitting() -> None:
    f = pointers("wrong", 1)
    one = f.const("float", 1.0)
    with pytest.raises(ValueError, match="operands of different types: float, double"):
        f.add(one, f.const("double", 1.0))
    with pytest.raises(ValueError, match="cannot splat <4 x float> to 16 lanes"):
        f.splat(f.const("float", 0.0, 4), 16)
    with (
        pytest.raises(ValueError, match=r"carries \['float'\] cannot go on with \['i64'\]"),
        f.loop(0, 5, carried=[one]) as loop,
    ):
        loop.next([loop.index])
    with (
        pytest.raises(ValueError, match=r"needs next\(\[...\]\) in its body"),
        f.loop(0, 5, carried=[one]),
    ):
        pass
    with pytest.raises(ValueError, match="power of two lanes"):
        f.reduce_lanes(f.iota("i32", 6), f.add)


def test_masked_memory_touches_only_its_lanes() -> None:
    f = pointers("masked", 3)
    x, out, bools, n = (f.parameter(i) for i in range(4))
    mask = f.compare("slt", f.iota("i64", 16), n)
    f.masked_store(f.masked_load("float", x, mask, 16, f.const("float", 9.0, 16)), out, mask)
    rest = f.gep(out, 16, "float")
    f.store(f.masked_load("float", x, mask, 16, f.const("float", 9.0, 16)), rest)
    flag = f.masked_load("i1", bools, mask, 16)
    f.masked_store(f.binary("xor", flag, True), bools, mask)
    single = f.compare("sgt", n, 100)
    last = f.gep(out, 32, "float")
    f.masked_store(f.masked_load("float", Value("null", "ptr"), single, 1), last, single)
    f.store(f.masked_load("float", x, f.compare("slt", n, 100), 1), f.gep(out, 33, "float"))
    f.ret()
    data = np.arange(1, 17, dtype=np.float32)
    got = np.full(34, -1, np.float32)
    flags = np.arange(16) % 2 == 0
    run(f, data[:5].copy(), got, flags, n=5)
    np.testing.assert_array_equal(got[:16], [1, 2, 3, 4, 5] + [-1] * 11)
    np.testing.assert_array_equal(got[16:], [1, 2, 3, 4, 5] + [9] * 11 + [-1, 1])
    np.testing.assert_array_equal(flags, [i % 2 == (1 if i < 5 else 0) for i in range(16)])


def before_a_guard(count: int, dtype: Any, pages: mmap.mmap) -> Array:
    """The last elements of a page behind which nothing may be touched."""
    size = mmap.PAGESIZE
    address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    guard = ctypes.c_void_p(address + size)
    assert ctypes.CDLL(None).mprotect(guard, ctypes.c_size_t(size), 0) == 0
    whole: Array = np.frombuffer(pages, dtype, size // np.dtype(dtype).itemsize)
    return whole[len(whole) - count :]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("lanes", [2, 8, 16, 64])
@pytest.mark.parametrize("scalar", ["float", "double", "i8"])
def test_strided_memory_touches_only_its_elements(
    scalar: str, lanes: int, step: int, masked: bool
) -> None:
    """What lies behind the last element may not be read, nor what a mask switches off be written:
    both lie before a page that ends the process."""
    dtype = {"float": np.float32, "double": np.float64, "i8": np.int8}[scalar]
    on = max(1, lanes - 3) if masked else lanes
    f = pointers("strided", 2)
    x, out, n = (f.parameter(i) for i in range(3))
    mask = f.compare("slt", f.iota("i64", lanes), n) if masked else None
    value = f.strided_load(scalar, x, step, lanes, mask)
    f.interleaved_store([value] * (step - 1) + [f.add(value, value)], out, mask)
    f.ret()
    # Anonymous pages, which are never unmapped: views of them outlive this function.
    pages = [mmap.mmap(-1, 2 * mmap.PAGESIZE) for _ in range(2)]
    given = before_a_guard(step * (on - 1) + 1, dtype, pages[0])
    got = before_a_guard(step * on, dtype, pages[1])
    given[...] = np.arange(len(given)) % 50
    run(f, given, got, n=on)
    picked = given[::step]
    columns = [picked] * (step - 1) + [picked + picked]
    np.testing.assert_array_equal(got, np.stack(columns, 1).reshape(-1))


@pytest.mark.parametrize("target", [n for n in ("native", "x86-64-v3") if X86 or n == "native"])
@pytest.mark.parametrize("step", [2, 3, 4])
@pytest.mark.parametrize("on", [2, 9, 12])
def test_lanes_that_are_known_to_be_off_are_not_read(on: int, step: int, target: str) -> None:
    """With a shuffle of literals as mask, LLVM read halves of vectors whose lanes are all off."""
    f = pointers("known", 2)
    x, out = f.parameter(0), f.parameter(1)
    mask = f.vector("i1", [lane < on for lane in range(16)])
    one, other = (f.strided_load("float", f.gep(x, n, "float"), step, 16, mask) for n in (0, 1))
    f.masked_store(f.select(f.compare("ogt", one, other), one, other), out, mask)
    f.ret()
    pages = [mmap.mmap(-1, 2 * mmap.PAGESIZE) for _ in range(2)]
    given = before_a_guard(step * (on - 1) + 2, np.float32, pages[0])
    got = before_a_guard(on, np.float32, pages[1])
    given[...] = np.arange(len(given))
    run(f, given, got, target=target)
    np.testing.assert_array_equal(got, given[1::step])


@pytest.mark.parametrize("index_type", ["i32", "i64"])
@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_gather_and_scatter(lanes: int, index_type: str) -> None:
    f = pointers("indexed", 3)
    x, out, index_at, n = (f.parameter(i) for i in range(4))
    with f.loop(0, 16, lanes) as loop:
        index = f.load(index_type, f.gep(index_at, loop.index, index_type), lanes)
        mask = f.compare("slt", index, f.cast("trunc", n, index_type))
        f.scatter(f.gather("double", x, index, mask), out, index)
        f.scatter(f.gather("i1", out, index), f.gep(out, 16, "double"), index, mask)
    f.ret()
    order = np.random.default_rng(0).permutation(16).astype(index_type.replace("i", "int"))
    data, got = np.arange(1.0, 17.0), np.zeros(20)
    run(f, data, got, order, n=10)
    np.testing.assert_array_equal(got[:16], np.where(np.arange(16) < 10, data, 0))
    flags = got.view(np.uint8)[128:144]
    low_bytes = got.view(np.uint8)[:16]
    np.testing.assert_array_equal(flags[:10], low_bytes[:10] != 0)


def test_lanes_combine_in_one_fixed_tree() -> None:
    f = pointers("tree", 2)
    value = f.load("float", f.parameter(0), 16)
    f.store(f.reduce_lanes(value, f.add), f.parameter(1))
    f.ret()
    data = np.random.default_rng(0).normal(size=16).astype(np.float32)
    expected = data
    while len(expected) > 1:
        expected = expected[: len(expected) // 2] + expected[len(expected) // 2 :]
    got = np.zeros(1, np.float32)
    run(f, data, got)
    assert got[0] == expected[0]


def test_lane_access_tables_and_stack() -> None:
    f = pointers("lanes", 1)
    out = f.parameter(0)
    value = f.insert(f.iota("i64", 4), f.const("i64", 77), 2)
    turned = f.shuffle(value, f.const("i64", 5, 4), [3, 2, 4, 0])
    cell = f.alloca("i64", 4)
    f.store(turned, cell)
    f.store(f.load("i64", cell, 4), out)
    entry = f.load("i64", f.gep(f.table("i64", [10, 20, 30]), f.parameter(1), "i64"))
    f.store(f.add(entry, f.extract(value, f.parameter(1))), f.gep(out, 4, "i64"))
    f.prefetch(out, write=True)
    f.ret()
    got = np.zeros(5, np.int64)
    run(f, got, n=2)
    assert got.tolist() == [3, 77, 5, 0, 107]


def test_module_declares_once_and_shares_helpers() -> None:
    def build() -> FunctionEmitter:
        helper = FunctionEmitter("twice", [("float", "x")], "float", "internal")
        helper.ret(helper.add(helper.parameter(0), helper.parameter(0)))
        return helper

    module = ModuleEmitter("shared", '"target-cpu"="x86-64-v4"')
    for name in ("a", "b"):
        f = FunctionEmitter(name, [("ptr", "p")])
        value = f.load("float", f.parameter(0))
        value = f.fma(f.call_helper(value, "twice", [value], build), 2.0, 1.0)
        f.store(value, f.parameter(0), nontemporal=True)
        f.table("float", [1.0, 2.0])
        f.ret()
        module.add(f)
    module.add_text("declare float @llvm.fma.f32(float, float, float)\ndeclare i32 @getpid()")
    text = module.text()
    assert text.count("@twice(float %x)") == 1 and "declare float @twice" not in text
    assert text.count("declare float @llvm.fma.f32") == 1 and "declare i32 @getpid()" in text
    assert text.count("constant [2 x float]") == 1
    assert len(re.findall(r'^define .* "target-cpu"="x86-64-v4" {$', text, re.MULTILINE)) == 3
    assert text.endswith("!0 = !{i32 1}\n")
    assert compile_module(text, find_target("x86-64-v3"))[:4] == b"\x7fELF"


def test_refused_code_names_module_and_function() -> None:
    f = FunctionEmitter("broken", [("i64", "n")])
    f.raw("%x = add i32 %n, 1")
    f.ret()
    module = ModuleEmitter("softmax")
    module.add(f)
    with pytest.raises(CompileError, match="softmax: broken: LLVM refuses the generated code"):
        compile_module(module.text(), find_target("native"))
    with pytest.raises(ArgumentError, match="unknown target 'z80'"):
        find_target("z80")


def small_text(name: str = "f") -> str:
    f = FunctionEmitter(name, [("double", "x")], "double")
    f.ret(f.fma(f.parameter(0), 2.0, 1.0))
    module = ModuleEmitter(name)
    module.add(f)
    return module.text()


def test_loader_reports_missing_symbols_and_foreign_bytes() -> None:
    payload = compile_module(small_text(), find_target("native"))
    with pytest.raises(CompileError, match="nope: the object does not load"):
        process_engine().load(payload, ["nope"])
    with pytest.raises(CompileError, match="does not load"):
        process_engine().load(b"not an object", ["f"])
    kept = [process_engine().load(payload, ["f"]) for _ in range(3)]
    for loaded in kept:
        assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(loaded.address("f"))(3.0) == 7.0


@pytest.mark.parametrize("name", TARGET_NAMES)
def test_every_target_compiles_at_every_level(name: str) -> None:
    target = find_target(name)
    assert target.vector_bytes in (16, 32, 64) and target.data_layout
    for level in ("none", "scalar", "full"):
        assert compile_module(small_text(), target, level)[:4] == b"\x7fELF"
    assert "llvm.fma.f64" in optimized_text(small_text(), target, "scalar")


def _refuse_to_compile(*_: object) -> bytes:
    raise AssertionError("compiled although the object was in the cache")


def test_cache_finds_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, target = ObjectCache(tmp_path / "c"), find_target("native")
    first = compile_cached(small_text(), target, "none", cache)
    monkeypatch.setattr("gradc.compiler.cpu_llvm.cached.compile_module", _refuse_to_compile)
    assert compile_cached(small_text(), target, "none", cache) == first
    others = [
        object_key(small_text("g"), target, "none"),
        object_key(small_text(), target, "scalar"),
        object_key(small_text(), find_target("aarch64"), "none"),
    ]
    assert [cache.load(key) for key in others] == [None] * 3
    key = object_key(small_text(), target, "none")
    start = time.perf_counter()
    for _ in range(20):
        cache.load(key)
    assert (time.perf_counter() - start) / 20 < 1e-3


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: entry[:-1],
        lambda entry: entry[:60] + bytes([entry[60] ^ 1]) + entry[61:],
        lambda entry: b"",
        lambda entry: b"\x7fELF" + entry,
    ],
)
def test_damaged_entries_count_as_absent(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    cache = ObjectCache(tmp_path / "c")
    cache.store("key", b"payload" * 100)
    path = tmp_path / "c" / "key.o"
    assert cache.load("key") == b"payload" * 100
    path.write_bytes(damage(path.read_bytes()))
    assert cache.load("key") is None


def test_cache_prunes_what_was_unused_longest(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "c", limit_bytes=3500)
    for age, name in enumerate("abc"):
        cache.store(name, bytes(1000))
        os.utime(tmp_path / "c" / f"{name}.o", (age, age))
    assert cache.load("a") is not None
    cache.store("d", bytes(1000))
    assert [cache.load(n) is not None for n in "abcd"] == [True, False, True, True]


def test_cache_directory_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "here"))
    assert default_cache().directory == tmp_path / "here" / "objects"
    monkeypatch.setenv("GRADC_CACHE_DIR", "off")
    off = default_cache()
    off.store("key", b"x")
    assert off.directory is None and off.load("key") is None
    monkeypatch.setenv("GRADC_CACHE_DIR", "/proc/nowhere")
    assert default_cache().directory is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_a_directory_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert ObjectCache(shared).directory is None
