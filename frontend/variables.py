"""What a program reads by name: inputs, parameters and other state.

A state's name is settled when a graph is assembled, not when the state is made, because a module
learns only later where it sits in a model: `weight` of a Linear is `0.weight` in a Sequential. So a
state node carries a *cell*, which knows the module that owns it, how the state begins, and which
value it takes at the end of a training step. The cell is the only thing here that changes.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from gradc.compiler.artifact import RATE_STATE as RATE
from gradc.compiler.artifact import SEED_STATE as SEED
from gradc.compiler.artifact import WATCHED_STATE as WATCHED
from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.source import INPUT, STATE
from gradc.compiler.types import DType, dtype_of, float32, float64, int64

from . import nodes
from .arguments import flag
from .open_regions import refuse_in_regions
from .synonyms import spelled
from .tensor import Tensor, as_tensor
from .tracing import fail, here, located

STEP = "gradc.step"
RESERVED_PREFIX = "gradc."


_CARRIED = "make it a carry, and update the state with what the loop returns"


class Initial(Protocol):
    """How a state begins: gc.init's initialisers are of this kind."""

    def values(self, shape: tuple[int, ...], dtype: DType) -> Tensor: ...


Beginning: TypeAlias = "Initial | Callable[..., Any] | np.ndarray[Any, Any] | float | None"


class Owner(Protocol):
    """A module, as far as naming goes."""

    def path(self) -> str: ...


class StateCell:
    """What is known about one state beside its type. Two tensors of one state share the cell.

    trainable   whether optimizers may change it, if it is a parameter
    """

    __slots__ = (
        "_trainers", "attribute", "given_name", "initial", "owner", "revisions", "trainable",
        "update",
    )  # fmt: skip

    def __init__(self, given_name: str, initial: Beginning) -> None:
        self.given_name = given_name
        self.initial = initial
        self.owner: Owner | None = None
        self.attribute = ""
        self.trainable = True
        self._trainers: weakref.WeakKeyDictionary[Any, Any] | None = None
        self.update: Tensor | None = None
        self.revisions = 0  # how many calls have asked for one

    def add_trainer(self, trainer: Any, program: Any) -> None:
        """A trainer of a program was made that changes this state."""
        if self._trainers is None:
            self._trainers = weakref.WeakKeyDictionary()
        self._trainers[trainer] = weakref.ref(program)

    def trainers(self) -> list[tuple[Any, Callable[[], Any]]]:
        """Those that still are there, each with a weak reference to its program."""
        return [] if self._trainers is None else list(self._trainers.items())

    @property
    def name(self) -> str:
        """The name in a graph: the owner's path and the attribute, or the name given."""
        if self.owner is None:
            return self.given_name
        path = self.owner.path()
        return f"{path}.{self.attribute}" if path else self.attribute


@dataclass(frozen=True, eq=False)
class Revision:
    """What a training step in which one call takes part does to states; see `revised`.

    number   of the call, among those that revise the first of the states
    """

    states: tuple[State, ...]
    values: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
    number: int


class StateNode(Node):
    """A node of operation `state` that knows its cell; its attribute `name` is provisional.

    revision   of the call that reads the state by this node and no other, if there is one
    """

    __slots__ = ("cell", "revision")

    cell: StateCell
    revision: Revision | None


class State(Tensor):
    """A tensor that is a named state: a parameter, or what gc.state declared."""

    __slots__ = ()

    @property
    def cell(self) -> StateCell:
        assert isinstance(self.node, StateNode)
        return self.node.cell

    @property
    def name(self) -> str:
        """The name under which checkpoints and trainer.parameters know this state."""
        return self.cell.name

    @property
    def trained(self) -> bool:
        """Whether an optimizer updates it."""
        return bool(self.node.attributes["trained"])

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        """Another state that begins alike: the same values, or random ones of its own.

        Tensors of one state stay tensors of one state. The owner is the old one's copy, where
        that is being copied. What `gc.update` said of the old state does not hold for the new.
        """
        cell, copies = self.cell, memo.setdefault(id(State), {})
        known = copies.get(cell)
        if known is None:
            trained, initial = self.trained, copy.deepcopy(cell.initial, memo)
            made = _make(cell.given_name, self.node.type.shape, self.dtype, initial, trained)
            owner: Any = None if cell.owner is None else memo.get(id(cell.owner))
            made.cell.owner, made.cell.attribute = owner, cell.attribute
            made.cell.trainable = cell.trainable
            known = copies[cell] = made
        return known


@spelled
def input(name: str, shape: Any, dtype: Any = float32) -> Tensor:
    """A named input of the program. A shape entry is an integer or the name of a dimension.

    >>> gc.input("images", ("batch", 3, 32, 32)).shape
    ('batch', 3, 32, 32)
    >>> gc.input("labels", ("batch",), gc.int32).dtype
    gradc.int32
    """
    _check_name(name, "input")
    _check_not_reserved(name, "input")
    extents, wanted = nodes.check_shape(shape, "input"), _known_dtype(dtype, "input")
    merged = [e for e in extents if isinstance(e, str) and not e.isidentifier()]
    if merged:
        fail(ShapeError, "input", f"{merged[0]!r} is no name of a dimension of {name!r}")
    return Tensor(nodes.build(INPUT, name=name, shape=extents, dtype=wanted))


@spelled
def parameter(
    name: str, shape: Any, dtype: Any = float32, init: Beginning = None, trainable: bool = True
) -> State:
    """A trained state: an optimizer updates it, `trainer.parameters` lists it.

    init       an initialiser of gc.init, an array of values, or a function of (shape, dtype) that
               returns one of them; without one the parameter begins as zeros
    trainable  False: it is listed and saved as any parameter, and no optimizer changes it, like
               one that gc.frozen has frozen

    >>> w = gc.parameter("w", (2,), init=np.array([1.0, 2.0], np.float32))
    >>> gc.compile(3 * w)()
    array([3., 6.], dtype=float32)
    """
    made = _declare(name, shape, dtype, init, trained=True, operation="parameter")
    with located("parameter"):
        made.cell.trainable = flag("trainable", trainable)
    return made


@spelled
def frozen(parameters: Any) -> Any:
    """A module, a parameter or a list of parameters, returned as it is: in programs made from now
    on no optimizer changes them. `trainer.parameters` lists them, checkpoints hold them.

        backbone = gc.frozen(Backbone())
        program = gc.training(loss_of(head(backbone(x))), optim.SGD(lr=0.1))      # trains the head

    Gradients flow through a frozen layer to what lies before it. Running statistics, which are no
    parameters, go on. Without freezing: gc.training(loss, optimizer, train="head.*").

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> body = gc.frozen(model[0])
    >>> loss = gc.mean(gc.square(model(gc.input("x", ("batch", 4))) - 1.0))
    >>> trainer = gc.training(loss, optim.SGD(lr=0.1)).compile()
    >>> list(trainer.parameters)
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    found: list[Any]
    other = (type, str, bytes, Mapping, np.ndarray)
    if isinstance(parameters, Tensor):
        found = [parameters]
    elif hasattr(parameters, "named_parameters") and not isinstance(parameters, type):
        found = parameters.parameters()
    elif isinstance(parameters, Iterable) and not isinstance(parameters, other):
        found = parameters = list(parameters)
    else:
        problem = f"a module or parameters are frozen, not {described(parameters)}"
        fail(ArgumentError, "frozen", problem)
    for parameter in found:
        if not isinstance(parameter, State) or not parameter.trained:
            what = parameter.node.type if isinstance(parameter, Tensor) else described(parameter)
            fail(ArgumentError, "frozen", f"this is no parameter: {what}")
    for parameter in found:
        parameter.cell.trainable = False
    return parameters


@spelled
def state(name: str, shape: Any, dtype: Any = float32, init: Beginning = None) -> State:
    """A state that is not trained: `gc.update` says what it becomes after a training step.

    >>> calls = gc.state("calls", (), gc.int64, init=gc.init.zeros)
    >>> gc.update(calls, calls + 1)
    >>> count = gc.compile(calls + 1, training=True)
    >>> int(count()), int(count())
    (1, 2)
    """
    return _declare(name, shape, dtype, init, trained=False, operation="state")


@spelled
def update(state: Tensor, value: Any) -> None:
    """After each training step `state` takes `value`; all updates see the old values.

    A state has one update: a later call replaces an earlier one. Evaluation updates nothing. A
    parameter takes one too, in programs whose optimizer does not change it: those of gc.compile
    with `training=True`, and of gc.training where it is frozen or another's.

    >>> mean = gc.state("mean", (), init=gc.init.zeros)
    >>> gc.update(mean, 0.9 * mean + 0.1 * gc.input("x", ()))
    >>> follow = gc.compile(1.0 * mean, training=True)
    >>> [round(float(follow(x=1.0)), 2) for _ in range(3)]
    [0.0, 0.1, 0.19]
    """
    refuse_in_regions("update", "a state is not updated in a loop or a branch", _CARRIED)
    if not isinstance(state, State):
        problem = "the first argument is a state of gc.state or gc.parameter"
        fail(ArgumentError, "update", problem)
    new = as_tensor(value)
    if new.shape != state.shape:
        facts = [f"state {state.name!r} is {state.node.type}, the value {new.node.type}"]
        fail(ShapeError, "update", "state and value differ in shape", facts)
    state.cell.update = new.astype(state.dtype)


def revised(
    states: tuple[State, ...],
    values: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]],
    operation: str,
) -> tuple[State, ...]:
    """The states as one call of a layer reads them, by nodes of its own.

    A training step whose loss or metrics read one of these nodes ends with the states at
    `values(what they were)`. So what a call does goes with its result: a layer that is called twice
    in a step revises its states twice, in the order of the calls; one whose result a program does
    not compute does nothing. `gc.update` instead is said of a state, whatever reads it.
    """
    refuse_in_regions(operation, "what a layer updates is not updated in a loop or a branch")
    cell = states[0].cell
    cell.revisions += 1
    revision = Revision(states, values, cell.revisions)
    return tuple(State(_node(s.node.attributes, s.cell, revision)) for s in states)


def seed_state() -> State:
    """The seed of every random number; set by `seed=` when a program is compiled."""
    return _make(SEED, (), int64, None, trained=False)


def step_state() -> State:
    """Training steps done, which random numbers and schedules depend on."""
    return _make(STEP, (), int64, None, trained=False)


def rate_state(rate: float, name: str = RATE) -> State:
    """The number that leads the optimizer's learning rate, in float64."""
    return _make(name, (), float64, float(rate), trained=False)


def watched_state(number: int) -> State:
    """What an epoch came to in one of the columns that schedules watch, in float64."""
    return _make(f"{WATCHED}{number}", (), float64, None, trained=False)


def optimizer_array(name: str, shape: Any, dtype: DType) -> State:
    """State of an optimizer in any type; it begins as zeros."""
    return _make(name, shape, dtype, None, trained=False)


def optimizer_state(name: str, like: Tensor, initial: Beginning = None) -> State:
    """State of an optimizer in the type of a parameter; it begins as zeros unless told."""
    return _make(name, like.shape, like.dtype, initial, trained=False)


def beginning_of(cell: StateCell, shape: tuple[int, ...], dtype: DType) -> Tensor:
    """The tensor of values with which a state begins."""
    initial: Any = cell.initial
    if initial is None:
        return Tensor(nodes.constant(0, dtype, shape))
    if hasattr(initial, "values") and not isinstance(initial, np.ndarray):
        made = initial.values(shape, dtype)
    else:
        made = initial(shape, dtype) if callable(initial) else initial
    if hasattr(made, "values") and not isinstance(made, (np.ndarray, Tensor)):
        made = made.values(shape, dtype)
    tensor = as_tensor(made).astype(dtype)
    if tensor.shape == () and shape != ():
        tensor = tensor.broadcast_to(shape)
    if tensor.shape != shape:
        facts = [f"state {cell.name!r} has shape {nodes.show(shape)}"]
        fail(ShapeError, "init", f"the initial values are {tensor.node.type}", facts)
    return tensor


def _declare(
    name: str, shape: Any, dtype: Any, init: Beginning, trained: bool, operation: str
) -> State:
    _check_name(name, operation)
    _check_not_reserved(name, operation)
    extents = nodes.check_shape(shape, operation)
    named = [e for e in extents if isinstance(e, str)]
    if named:
        fail(ShapeError, operation, f"a state has no named dimension, {name!r} has {named[0]!r}")
    if isinstance(init, (np.ndarray, list)):
        with located(operation):
            init = nodes.as_array(init).copy()
        if init.shape != extents:
            facts = [f"{name!r} has shape {nodes.show(extents)}"]
            problem = f"the initial values have shape {nodes.show(init.shape)}"
            fail(ShapeError, operation, problem, facts)
    elif init is not None and not callable(init) and not isinstance(init, (int, float, Tensor)):
        fail(ArgumentError, operation, f"init is an initialiser or an array, not {init!r}")
    return _make(name, extents, _known_dtype(dtype, operation), init, trained)


def _make(name: str, shape: Any, dtype: DType, init: Beginning, trained: bool) -> State:
    attributes = {"name": name, "shape": shape, "dtype": dtype, "trained": trained}
    return State(_node(attributes, StateCell(name, init)))


def _node(
    attributes: Mapping[str, Any], cell: StateCell, revision: Revision | None = None
) -> StateNode:
    with located("state"):
        node = StateNode(STATE, (), attributes, STATE.infer(**attributes), here())
    object.__setattr__(node, "cell", cell)
    object.__setattr__(node, "revision", revision)
    return node


def _check_name(name: object, operation: str) -> None:
    if not isinstance(name, str) or not name or not all(p.isalnum() or p in "._" for p in name):
        fail(
            ArgumentError,
            operation,
            f"a name is made of letters, digits, dots and underscores, not {described(name)}",
        )


def _check_not_reserved(name: str, operation: str) -> None:
    if name.startswith(RESERVED_PREFIX):
        fail(ArgumentError, operation, f"names that begin with {RESERVED_PREFIX!r} are reserved")


def _known_dtype(dtype: Any, operation: str) -> DType:
    try:
        return dtype_of(dtype)
    except DTypeError as error:
        fail(DTypeError, operation, error.problem, error.facts)
