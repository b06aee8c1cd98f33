"""Arrays that stay on a device: results, states, and inputs that other libraries have there."""

from __future__ import annotations

import ctypes
import gc as collector
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from fake_artifact import INPUTS, FakeArtifact
from support_cuda import StandIn, array_at, on_device, stand_in, stand_in_library
from support_launches import executor_of, launch_of, table_of
from test_dlpack import OnDevice

import gradc as gc
from gradc.compiler.artifact import IndexRange
from gradc.compiler.errors import ArgumentError, DTypeError
from gradc.compiler.launches import Pointer
from gradc.runtime import Executor, Trainer
from gradc.runtime.arena import numpy_dtype
from gradc.runtime.cuda.array import DeviceArray, array_in
from gradc.runtime.cuda.capsules import Tensor, described_by
from gradc.runtime.cuda.device import Block, Device
from gradc.runtime.cuda.streamed import StreamedCall
from gradc.runtime.plain_array import CUDA

__all__ = ["stand_in", "stand_in_library"]

USED = {b"dltensor": b"used_dltensor", b"dltensor_versioned": b"used_dltensor_versioned"}


@pytest.fixture(autouse=True)
def nothing_is_left(stand_in: StandIn) -> Iterator[None]:
    with stand_in.watched():
        yield
        collector.collect()


class Reader:
    """Another library that takes an array over: it renames the capsule and deletes it later."""

    def __init__(self, capsule: Any) -> None:
        functions = ctypes.PyDLL(None)
        name_of, rename = functions.PyCapsule_GetName, functions.PyCapsule_SetName
        name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
        rename.argtypes = [ctypes.py_object, ctypes.c_char_p]
        pointer = functions.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        self.name = name_of(capsule)
        self.managed = pointer(capsule, self.name)
        assert rename(capsule, USED[self.name]) == 0
        before, deleter = (0, ctypes.sizeof(Tensor) + 8)
        if self.name == b"dltensor_versioned":
            before, deleter = 32, 16
            assert array_at(self.managed, np.uint32, (2,))[0] == 1
        self.tensor = Tensor.from_address(self.managed + before)
        self._deleter = int(array_at(self.managed + deleter, np.uint64, (1,))[0])

    def delete(self) -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._deleter)(self.managed)


def tripled(stand_in: StandIn) -> tuple[Executor, Any]:
    """A function whose results are three times its input."""

    def triple(x: int, out: int, scratch: int, grid: Any) -> None:
        array_at(out, np.float32, (4,))[...] = 3 * array_at(x, np.float32, (4,))

    stand_in.kernels["triple"] = triple
    launch = launch_of("triple", Pointer("input"), Pointer("output"))
    executor, entry = executor_of(table_of([launch], output_bytes=(16,)), inputs=1)
    return executor, entry.inputs


def trainer_on(stand_in: StandIn, kind: type[FakeArtifact] = FakeArtifact) -> Trainer:
    artifact: Any = on_device(kind, stand_in, [])()
    return Trainer(artifact, INPUTS, "batch", ("error",), ("prediction",), 0, 1)


def rows(count: int) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    shapes = {"x": (count, 3), "y": (count, 2)}
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}


def lying(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the memory of a device, as another library has them."""
    device = Device()
    return {name: OnDevice(device, array) for name, array in arrays.items()}


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    assert [*one] == [*other]
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


# -- results --------------------------------------------------------------------------------------


def test_results_stay_on_the_device(stand_in: StandIn) -> None:
    executor, fields = tripled(stand_in)
    given = np.arange(4, dtype=np.float32)
    came_back = stand_in["copied_from"]
    results = [executor.call(fields, {"x0": given + n}, on_device=True)[0] for n in range(3)]
    assert stand_in["copied_from"] == came_back
    assert stand_in["captures"] == 1  # the graph writes where it wrote
    del executor
    collector.collect()
    for n, result in enumerate(results):
        assert (result.shape, result.dtype, result.ndim) == ((4,), np.float32, 1)
        assert (result.size, result.nbytes, result.strides) == (4, 16, (4,))
        np.testing.assert_array_equal(np.asarray(result), 3 * (given + n))
        assert np.asarray(result, dtype=np.float64).dtype == np.float64
    assert repr(results[0]) == "<float32[4] on CUDA device 0>"


def test_a_call_after_one_whose_results_stayed_gives_arrays(stand_in: StandIn) -> None:
    executor, fields = tripled(stand_in)
    given = {"x0": np.ones(4, np.float32)}
    kept, *_ = executor.call(fields, given, on_device=True)
    (found,) = executor.call(fields, {"x0": 2 * given["x0"]})
    assert type(found) is np.ndarray and found.tolist() == [6] * 4
    assert np.asarray(kept).tolist() == [3] * 4


def test_what_has_a_result_takes_it_again(stand_in: StandIn) -> None:
    """A result is an input of the next call, and nothing of it passes the host."""
    executor, fields = tripled(stand_in)
    (found,) = executor.call(fields, {"x0": np.ones(4, np.float32)}, on_device=True)
    passed = stand_in["copied_to"], stand_in["copied_from"]
    for _ in range(3):
        (found,) = executor.call(fields, {"x0": found}, on_device=True)
    line = 24  # the frame's
    assert (stand_in["copied_to"] - 3 * line, stand_in["copied_from"]) == passed
    assert np.asarray(found).tolist() == [81] * 4


def test_programs_of_the_host_take_and_give_what_they_can(stand_in: StandIn) -> None:
    x = gc.input("x", (4,))
    here = gc.compile({"y": x * 2}, threads=1)
    assert type(here.on_device(x=np.ones(4))["y"]) is np.ndarray
    executor, fields = tripled(stand_in)
    (found,) = executor.call(fields, {"x0": np.ones(4, np.float32)}, on_device=True)
    assert here(x=found)["y"].tolist() == [6] * 4


# -- capsules -------------------------------------------------------------------------------------


def result_of(stand_in: StandIn) -> DeviceArray:
    executor, fields = tripled(stand_in)
    found: DeviceArray = executor.call(fields, {"x0": np.ones(4, np.float32)}, on_device=True)[0]
    return found


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (2, 1)])
def test_a_library_owns_what_it_took(stand_in: StandIn, version: Any) -> None:
    found = result_of(stand_in)
    reader = Reader(found.__dlpack__(stream=1, max_version=version))
    assert reader.name == (b"dltensor_versioned" if version and version[0] else b"dltensor")
    tensor, address = reader.tensor, found.address
    assert (tensor.data, tensor.device_type, tensor.device_id) == (address, CUDA, 0)
    assert (tensor.code, tensor.bits, tensor.lanes, tensor.byte_offset) == (2, 32, 1, 0)
    assert (tensor.rank, tensor.shape[0]) == (1, 4)
    assert not tensor.strides or tensor.strides[0] == 1
    del found
    collector.collect()
    blocks = stand_in["blocks"]
    assert array_at(address, np.float32, (4,)).tolist() == [3] * 4
    reader.delete()
    assert stand_in["blocks"] == blocks - 1


def test_what_nobody_took_is_given_back(stand_in: StandIn) -> None:
    found = result_of(stand_in)
    collector.collect()
    capsules = [found.__dlpack__(), found.__dlpack__(max_version=(1, 1))]
    facts = described_by(capsules[0], "a test")
    assert (facts.address, facts.shape, facts.dtype) == (found.address, (4,), np.float32)
    del found
    blocks = stand_in["blocks"]
    del capsules
    assert stand_in["blocks"] == blocks - 1


def test_a_library_that_cannot_take_it_says_why(stand_in: StandIn) -> None:
    """A capsule that ends while an error is on its way lets it pass."""
    found = result_of(stand_in)
    with pytest.raises((RuntimeError, BufferError), match="nsupported device"):
        np.from_dlpack(found)


@pytest.mark.parametrize(
    ("dtype", "code"),
    [(np.bool_, 6), (np.int8, 0), (np.uint8, 1), (np.float64, 2), ("bfloat16", 4)],
)
def test_elements_of_every_kind_are_named(stand_in: StandIn, dtype: Any, code: int) -> None:
    kind = numpy_dtype(dtype) if isinstance(dtype, str) else np.dtype(dtype)
    with Device() as device:
        array = array_in(Block(device, 48, "a test"), (2, 3), kind, (1, 2))
    reader = Reader(array.__dlpack__())
    tensor = reader.tensor
    assert (tensor.code, tensor.bits, tensor.device_type) == (code, 8 * kind.itemsize, CUDA)
    assert (tensor.strides[0], tensor.strides[1]) == (1, 2)
    reader.delete()


def test_copies_are_made_where_they_are_asked_for(stand_in: StandIn) -> None:
    found = result_of(stand_in)
    assert np.from_dlpack(_OfHost(found)).tolist() == [3] * 4
    reader = Reader(found.__dlpack__(copy=True))
    assert reader.tensor.data != found.address
    assert array_at(reader.tensor.data, np.float32, (4,)).tolist() == [3] * 4
    reader.delete()
    for options, message in (
        ({"dl_device": (1, 0), "copy": False}, "comes to the host as a copy alone"),
        ({"dl_device": (CUDA, 1)}, r"lies on device \(2, 0\), not on \(2, 1\)"),
    ):
        with pytest.raises(BufferError, match=message):
            found.__dlpack__(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="comes to the host as a copy alone"):
        found.__array__(copy=False)


class _OfHost:
    """What `np.from_dlpack(..., device="cpu")` asks for, in any version of NumPy."""

    def __init__(self, array: DeviceArray) -> None:
        self._array = array

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **_: Any) -> Any:
        return self._array.__dlpack__(dl_device=(1, 0))


# -- inputs ---------------------------------------------------------------------------------------


def test_steps_take_batches_where_they_lie(stand_in: StandIn) -> None:
    one, other = trainer_on(stand_in), trainer_on(stand_in)
    for count in (8, 8, 5):
        data = rows(count)
        there = lying(data)
        before = stand_in["copied_to"], stand_in["copied_from"]
        told = other.step(there)
        up, down = stand_in["copied_to"] - before[0], stand_in["copied_from"] - before[1]
        assert told == one.step(data)
        assert down == 8  # the loss and the metric
        assert up < data["x"].nbytes + data["y"].nbytes + 8 * count + 24
        assert all(array.streams == [other.executor.place.device.stream]  # type: ignore[attr-defined]
                   for array in there.values())  # fmt: skip
    assert_same(one.parameters, other.parameters)


def test_what_a_library_has_still_to_do_comes_first(stand_in: StandIn) -> None:
    class Late(OnDevice):
        """Its numbers are made by work that is put on the stream which it is told."""

        def __dlpack__(self, stream: int) -> Any:
            block = self._block
            block.device.driver("cuMemsetD32Async", block.address, 0x40000000, 4, stream)
            return super().__dlpack__(stream)

    executor, fields = tripled(stand_in)
    given = Late(Device(), np.zeros(4, np.float32))
    assert executor.call(fields, {"x0": given})[0].tolist() == [6] * 4


def test_whole_data_sets_are_taken_where_they_lie(stand_in: StandIn) -> None:
    one, other = trainer_on(stand_in), trainer_on(stand_in)
    data, held_out = rows(21), rows(7)
    expected = one.fit(data, batch_size=8, epochs=2, validation=held_out)
    found = other.fit(lying(data), batch_size=8, epochs=2, validation=lying(held_out))
    assert found.to_dict() == expected.to_dict()
    assert_same(one.parameters, other.parameters)
    assert other.evaluate(lying(data)) == one.evaluate(data)
    there = lying({"x": data["x"]})
    assert_same(other.predict(there), one.predict(x=data["x"]))
    batches = [lying(rows(n)) for n in (8, 3)]
    assert other.fit(batches)["loss"] == one.fit([rows(n) for n in (8, 3)])["loss"]


def test_a_data_set_that_has_no_second_room_comes_by_the_host(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = trainer_on(stand_in), trainer_on(stand_in)
    data = rows(21)
    expected = one.fit(data, batch_size=8, epochs=2)["loss"]
    monkeypatch.setattr("gradc.runtime.cuda.place.DATA_PART", 0.0)
    used: list[StreamedCall] = []
    made = StreamedCall.__init__

    def counted(self: StreamedCall, *given: Any) -> None:
        used.append(self)
        made(self, *given)

    monkeypatch.setattr(StreamedCall, "__init__", counted)
    assert other.fit(lying(data), batch_size=8, epochs=2)["loss"] == expected
    assert used
    used.clear()


@pytest.mark.parametrize("kind", ["turned", "float64", "another device"])
def test_what_has_to_be_converted_comes_by_the_host(stand_in: StandIn, kind: str) -> None:
    class Second(OnDevice):
        """On a second device, whose memory the first does not reach."""

        def __dlpack_device__(self) -> tuple[int, int]:
            return CUDA, 1

    data = rows(4)
    turned = np.ascontiguousarray(data["x"].T).T
    device = Device()
    given = {
        "turned": lambda: OnDevice(device, turned),
        "float64": lambda: OnDevice(device, data["x"].astype(np.float64)),
        "another device": lambda: Second(device, data["x"]),
    }[kind]()
    one, other = trainer_on(stand_in), trainer_on(stand_in)
    if kind == "another device":
        with pytest.raises(gc.DeviceError, match="there is no CUDA device 1"):
            other.step(x=given, y=data["y"])
        return
    assert other.step(x=given, y=data["y"]) == one.step(data)


def test_indices_are_looked_at(stand_in: StandIn) -> None:
    """What is checked against a range comes by the host."""

    class Checked(FakeArtifact):
        def index_ranges(self, kind: str) -> tuple[IndexRange, ...]:
            return (IndexRange("x", 0, 2, (), None, "take", ""),)

    trainer = trainer_on(stand_in, Checked)
    data = rows(4)
    data["x"][...] = 1
    trainer.step(lying(data))
    data["x"][2, 1] = 5
    with pytest.raises(ArgumentError, match=r"row 2 of input 'x' is 5.0 at \[2, 1\]"):
        trainer.step(lying(data))


def test_elements_of_no_dtype_are_refused(stand_in: StandIn) -> None:
    trainer, data = trainer_on(stand_in), rows(4)
    given = OnDevice(Device(), data["x"], lanes=4)
    with pytest.raises(DTypeError, match="input 'x' has elements that no array of NumPy has"):
        trainer.step(x=given, y=data["y"])


# -- state ----------------------------------------------------------------------------------------


def test_states_go_to_and_fro_on_the_device(stand_in: StandIn) -> None:
    """One of them lies with its axes exchanged."""
    trainer = trainer_on(stand_in)
    trainer.step(rows(4))
    expected = dict(trainer.parameters)
    passed = stand_in["copied_to"], stand_in["copied_from"]
    there = {name: trainer.parameters.on_device(name) for name in trainer.parameters}
    moment = trainer.state.on_device("momentum/layer.weight")
    assert [array.strides for array in there.values()] == [(4, 8), (4,)]
    version = trainer.executor.state.version
    trainer.parameters["layer.weight"] = moment
    assert trainer.executor.state.version == version + 1
    assert (stand_in["copied_to"], stand_in["copied_from"]) == passed
    assert_same({n: np.asarray(a) for n, a in there.items()}, expected)  # copies: as they were
    now = trainer.parameters["layer.weight"]
    np.testing.assert_array_equal(now, trainer.state["momentum/layer.weight"])
    trainer.parameters["layer.bias"] = OnDevice(Device(), np.array([5, 6], np.float32))
    trainer.parameters["layer.weight"] = OnDevice(Device(), expected["layer.weight"])
    assert trainer.parameters["layer.bias"].tolist() == [5, 6]
    np.testing.assert_array_equal(trainer.parameters["layer.weight"], expected["layer.weight"])
    with pytest.raises(gc.ShapeError, match=r"state 'layer.bias' has shape \[2\], not \[3\]"):
        trainer.parameters["layer.bias"] = OnDevice(Device(), np.ones(3, np.float32))
    with pytest.raises(KeyError, match="no parameter named 'bias'"):
        trainer.parameters.on_device("bias")


def test_programs_on_a_device_share_state_there(stand_in: StandIn) -> None:
    trainer, other = trainer_on(stand_in), trainer_on(stand_in)
    trainer.step(rows(4))
    other.executor.link(trainer.executor, {"layer.weight", "layer.bias"})
    passed = stand_in["copied_to"], stand_in["copied_from"]
    shared = other.executor.shared
    assert shared is not None
    shared.fetch()
    shared.give(shared.names)
    assert (stand_in["copied_to"], stand_in["copied_from"]) == passed
    assert_same(trainer.parameters, other.parameters)
    there = other.parameters.on_device("layer.bias")
    np.testing.assert_array_equal(np.asarray(there), trainer.parameters["layer.bias"])
