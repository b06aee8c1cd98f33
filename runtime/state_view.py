"""Named state as a mapping: what `trainer.parameters` and `trainer.state` are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradc.compiler.artifact import AVERAGED_STATE
from gradc.compiler.attributes import Attributes
from gradc.compiler.errors import ArgumentError

from .arena import Array
from .shared_state import NamedState
from .state import State


class StateView(Attributes, Mapping[str, Array]):
    """Named state, either the trained parameters or all else, in logical row-major layout.

    prefix   what the names of those begin with that are shown, without it
    """

    def __init__(self, state: NamedState, trained: bool, prefix: str = "") -> None:
        self._state, self._what = state, "parameter" if trained or prefix else "state"
        fields = [f for f in state.fields.values() if f.trained == trained]
        shown = [f.name.removeprefix(prefix) for f in fields if f.name.startswith(prefix)]
        self._names, self._prefix = shown, prefix

    def __getitem__(self, name: str) -> Array:
        return self._state[self._known(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        self._state[self._known(name)] = value

    def on_device(self, name: str) -> Any:
        """A copy of one state in the memory where the program runs: of target="cuda" an array on
        the GPU, which other libraries take over by `__dlpack__`; of "cpu" what reading gives.

        >>> f = gc.compile(nn.Linear(2, 3)(gc.input("x", (4, 2))))
        >>> f.parameters.on_device("weight").shape
        (3, 2)
        """
        return self._state.on_device(self._known(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied it is a dict of arrays."""
        return dict, (dict(self),)

    def __repr__(self) -> str:
        fields = {name: self._state.fields[self._prefix + name] for name in self._names}
        return "\n".join(f"{name}: {f.dtype}{list(f.shape)}" for name, f in fields.items())

    def _known(self, name: str) -> str:
        if name not in self._names:
            known = ", ".join(map(repr, self._names)) or "none"
            raise KeyError(f"no {self._what} named {name!r}; known: {known}")
        return self._prefix + name


def averages_of(state: State) -> StateView:
    """The averages of the parameters by name. Raises ArgumentError where a program keeps none."""
    view = StateView(state, trained=False, prefix=AVERAGED_STATE)
    if not len(view):
        problem = "this program keeps no averages"
        raise ArgumentError(problem, hint="write optim.averaged(optimizer, decay=0.999)")
    return view
