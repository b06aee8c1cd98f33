"""The named state of a program in one block, as arrays in their logical layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.artifact import StateField, TensorField
from gradc.compiler.errors import ShapeError

from .arena import Array, address_of, aligned_bytes, numpy_dtype
from .inputs import cast


class State(Mapping[str, Array]):
    """The named state in one aligned block; reading copies, writing checks and converts.

    Arrays go in and out in the logical layout of `StateField.shape`, whatever the physical order.

    version   another number whenever values may have changed
    """

    version = 0

    def __init__(self, fields: Sequence[StateField], size_bytes: int) -> None:
        self.fields = {field.name: field for field in fields}
        self._block = aligned_bytes(size_bytes)
        self.address = address_of(self._block)
        self._views = {field.name: _logical_view(self._block, field) for field in fields}

    def __getitem__(self, name: str) -> Array:
        view = self._view(name)
        return np.array(view, order="C", copy=True).reshape(self.fields[name].shape)

    def on_device(self, name: str) -> Any:
        """A copy of one state where the program runs; here that is the host."""
        return self[name]

    def lying(self, name: str) -> Any:
        """One state for whoever copies it at once: where it lies, if that is a device."""
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        view, field = self._view(name), self.fields[name]
        array = cast(TensorField(name, field.dtype, field.shape), value, "state")
        if array.shape != field.shape:
            raise ShapeError(
                f"state {name!r} has shape {list(field.shape)}, not {list(array.shape)}"
            )
        view[...] = array.reshape(view.shape)
        self.version += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def clear(self) -> None:
        """Set every byte to zero."""
        self._block[:] = 0
        self.version += 1

    def snapshot(self) -> bytes:
        """All of the block, to be given to `restore`."""
        return self._block.tobytes()

    def restore(self, snapshot: bytes) -> None:
        """The block as it was when the snapshot was taken."""
        self._block[:] = np.frombuffer(snapshot, np.uint8)
        self.version += 1

    def arrays_of(self, snapshot: bytes) -> dict[str, Array]:
        """The named arrays that a snapshot holds, in their logical layout."""
        block = np.frombuffer(snapshot, np.uint8)
        return {
            name: np.ascontiguousarray(_logical_view(block, field)).reshape(field.shape)
            for name, field in self.fields.items()
        }

    def snapshot_of(self, arrays: Mapping[str, Array]) -> bytes:
        """The snapshot that holds these arrays: the inverse of `arrays_of`."""
        block = np.zeros(self._block.size, np.uint8)
        for name, field in self.fields.items():
            view = _logical_view(block, field)
            view[...] = np.reshape(arrays[name], view.shape)
        return block.tobytes()

    def _view(self, name: str) -> Array:
        if name not in self._views:
            known = ", ".join(map(repr, self._views)) or "none"
            raise KeyError(f"no state named {name!r}; known: {known}")
        return self._views[name]


def _logical_view(block: Array, field: StateField) -> Array:
    """The field's bytes as an array with the logical axes in their logical places.

    Where it lies in strips, the axis that they divide is two: which strip, and where in it.
    """
    shape, order = field.shape, field.order
    if field.strip:
        inner = order[-1]
        shape = (*shape[:inner], shape[inner] // field.strip, field.strip, *shape[inner + 1 :])
        order = (inner, *(axis + (axis > inner) for axis in field.order[:-1]), inner + 1)
    physical_shape = tuple(shape[axis] for axis in order)
    dtype = numpy_dtype(field.dtype)
    size_bytes = int(np.prod(physical_shape, dtype=np.int64)) * dtype.itemsize
    data = block[field.offset_bytes : field.offset_bytes + size_bytes]
    physical = data.view(dtype).reshape(physical_shape)
    return physical.transpose(np.argsort(order)) if order else physical
