"""The executor and the checking of inputs, on an artefact made of NumPy callbacks."""

from __future__ import annotations

import ctypes
import gc
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from fake_artifact import INPUTS, FakeArtifact, X, made_data

from gradc.compiler.artifact import Arguments, StateField, TensorField
from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.runtime import Executor
from gradc.runtime.arena import Arena, address_of, aligned_array
from gradc.runtime.host import Host, usable_cpus
from gradc.runtime.inputs import check_inputs
from gradc.runtime.state import State


def _check(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    return check_inputs(INPUTS, values, "step")


def test_arena_is_aligned_zeroed_and_only_grows() -> None:
    arena = Arena()
    for size in (10, 1000, 100):
        arena.reserve(size)
        assert arena.address % 64 == 0
    assert arena.size_bytes == 1000
    array = aligned_array((3, 5), np.dtype(np.float64))
    assert address_of(array) % 64 == 0 and not array.any()


def test_state_is_read_and_written_in_logical_layout() -> None:
    fields = (
        StateField("a", "float32", (2, 3, 4), 0, (2, 0, 1), 0, True),
        StateField("b", "bfloat16", (2,), 128, (0,), 0, False),
    )
    state = State(fields, 192)
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    state["a"] = a
    np.testing.assert_array_equal(state["a"], a)
    assert state["a"].flags.c_contiguous
    physical = np.frombuffer(state.snapshot()[:96], np.float32).reshape(4, 2, 3)
    np.testing.assert_array_equal(physical, a.transpose(2, 0, 1))
    state["b"] = np.ones(2, np.float32)
    assert state["b"].dtype == ml_dtypes.bfloat16
    assert state.snapshot_of(state.arrays_of(state.snapshot())) == state.snapshot()


def test_reading_state_copies() -> None:
    executor = Executor(FakeArtifact())
    executor.initialize(1)
    copy = executor.state["layer.weight"]
    copy[...] = 0
    assert executor.state["layer.weight"].any()


def test_writing_state_checks() -> None:
    state = Executor(FakeArtifact()).state
    with pytest.raises(ShapeError, match=r"state 'layer.bias' has shape \[2\], not \[3\]"):
        state["layer.bias"] = np.zeros(3, np.float32)
    with pytest.raises(DTypeError):
        state["layer.bias"] = np.zeros(2, np.int32)
    with pytest.raises(KeyError, match=r"no state named 'nothing'; known: 'layer.weight'"):
        state["nothing"] = 0.0


def test_seed_decides_the_state() -> None:
    executor = Executor(FakeArtifact())
    snapshots = []
    for seed in (1, 2, 1):
        executor.initialize(seed)
        snapshots.append(executor.state.snapshot())
    assert snapshots[0] == snapshots[2] != snapshots[1]


def test_execute_runs_an_entry_point() -> None:
    artifact = FakeArtifact()
    executor = Executor(artifact)
    executor.initialize(0)
    entry = artifact.variant("evaluate", {"batch": 4}, bounded=False)
    data = made_data(8)
    outputs = [np.zeros(2, np.float32), np.zeros(2, np.float32)]
    order = np.arange(8, dtype=np.int64)
    executor.execute(entry, [data["x"], data["y"]], order, 0, 2, 4, outputs)
    difference = data["x"] @ executor.state["layer.weight"].T - data["y"]
    expected = (difference**2).reshape(2, -1).mean(1)
    np.testing.assert_allclose(outputs[0], expected, rtol=1e-6)


def test_a_prepared_call_tells_what_has_changed_since_it_ran_last() -> None:
    """It writes its arguments anew only where they are others; an arena that grows moves."""
    artifact, found = FakeArtifact(), []

    def entry(address: int) -> None:
        a = Arguments.from_address(address)
        found.append((a.arena, a.first_step, a.count, a.rows))

    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entry)
    code = ctypes.cast(function, ctypes.c_void_p).value
    executor = Executor(artifact)
    known = artifact.variant("evaluate", {"batch": 4}, bounded=False)
    call = executor.prepare(replace(known, code=code), [], None, [])
    place = executor.place
    assert isinstance(place, Host)
    small = place.arena.address
    for given in ((0, 1, 4), (0, 1, 4), (1, 1, 4), (1, 2, 4), (1, 2, 3)):
        call.run(*given)
    place.arena.reserve(1 << 20)
    call.run(1, 2, 3)
    assert [numbers for _, *numbers in found] == [
        [0, 1, 4], [0, 1, 4], [1, 1, 4], [1, 2, 4], [1, 2, 3], [1, 2, 3],
    ]  # fmt: skip
    assert [arena for arena, *_ in found] == [small] * 5 + [place.arena.address]
    assert small != place.arena.address


def test_call_binds_dimensions_and_returns_fresh_arrays() -> None:
    artifact = FakeArtifact()
    executor = Executor(artifact)
    fields = (X,)
    first = executor.call(fields, {"x": np.ones((2, 3))})
    second = executor.call(fields, {"x": np.full((2, 3), 2.0, np.float32)})
    third = executor.call(fields, {"x": [[1, 2, 3]]})
    assert [float(r[0]) for r in (first, second, third)] == [6.0, 12.0, 6.0]
    assert first[0].shape == ()
    with pytest.raises(ShapeError):
        executor.call(fields, {"x": np.ones((2, 2), np.float32)})
    assert artifact.variants == [("call", {"batch": 2}, False), ("call", {"batch": 1}, False)]


@pytest.mark.skipif(usable_cpus() < 2, reason="needs two CPUs")
def test_pool_is_made_for_threads_and_ends_with_the_executor() -> None:
    artifact = FakeArtifact()
    executor = Executor(artifact, threads=10_000)
    assert artifact.pools == [usable_cpus()]
    del executor
    gc.collect()
    assert artifact.pools == []
    Executor(artifact, threads=1)
    assert artifact.pools == []


def test_threads_must_be_positive() -> None:
    with pytest.raises(ArgumentError, match="threads is at least 1, not 0"):
        Executor(FakeArtifact(), threads=0)


def test_inputs_are_cast_within_a_kind() -> None:
    arrays, dims = _check({"x": np.ones((4, 3)), "y": np.ones((4, 2), np.float16)})
    assert dims == {"batch": 4}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
    labels = TensorField("labels", "int32", ("n",))
    arrays, _ = check_inputs([labels], {"labels": np.arange(3)}, "step")
    assert arrays["labels"].dtype == np.int32


def test_strided_inputs_become_row_major() -> None:
    x = np.ones((3, 4), np.float32).T
    arrays, _ = _check({"x": x, "y": np.ones((8, 2), np.float32)[::2]})
    assert all(array.flags.c_contiguous for array in arrays.values())


def test_scalars_keep_their_rank() -> None:
    arrays, _ = check_inputs([TensorField("s", "float32", ())], {"s": 3}, "call")
    assert arrays["s"].shape == ()


def test_names_are_checked() -> None:
    with pytest.raises(ArgumentError) as caught:
        _check({"x": np.ones((1, 3)), "Y": 0})
    assert str(caught.value) == (
        "step: unknown input 'Y', missing input 'y'\n  declared inputs: 'x', 'y'"
    )
    with pytest.raises(ArgumentError) as caught:
        check_inputs([TensorField("images", "float32", ())], {"image": 0}, "step")
    assert str(caught.value).endswith("hint: did you mean 'images'?")


def test_another_kind_of_dtype_is_refused() -> None:
    with pytest.raises(DTypeError) as caught:
        _check({"x": np.ones((1, 3), np.uint8), "y": np.ones((1, 2))})
    assert str(caught.value) == (
        "step: input 'x' is float32, not uint8\n"
        "  arrays are cast within a kind of dtype only: float, integer, bool"
    )


def test_integers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DTypeError) as caught:
        check_inputs([TensorField("i", "int8", (2,))], {"i": np.array([1, 300])}, "call")
    assert str(caught.value) == (
        "call: input 'i' has values that do not fit int8\n"
        "  values from 1 to 300, limits -128 and 127"
    )


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError) as caught:
        _check({"x": np.ones((2, 4)), "y": np.ones((2, 2))})
    assert str(caught.value) == "step: input 'x' has shape [2, 4], declared [batch, 3]"
    with pytest.raises(ShapeError) as caught:
        _check({"x": np.ones((2, 3)), "y": np.ones((5, 2))})
    assert str(caught.value) == (
        "step: inputs disagree on dimension 'batch'\n"
        "  'x' axis 0 has extent 2\n  'y' axis 0 has extent 5"
    )
