"""gc.compile: a structure of tensors becomes a function on NumPy arrays.

A program with named dimensions is compiled once per value of them, when first called with it. A
function that reads state (parameters) has a state of its own, made from the seed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from gradc.compiler.artifact import SEED_STATE, TensorField
from gradc.compiler.attributes import Attributes
from gradc.compiler.driver import CompiledProgram, options_from_environment
from gradc.compiler.errors import ArgumentError, DeviceError, ShapeError, described
from gradc.compiler.graph.ir import Graph
from gradc.compiler.passes.specialize import specialize
from gradc.runtime.cuda.device import Device
from gradc.runtime.cuda.timing import KernelTimer
from gradc.runtime.executor import Executor
from gradc.runtime.finite import level_outside
from gradc.runtime.host import usable_cpus
from gradc.runtime.plain_number import as_whole
from gradc.runtime.spellings import FUNCTION
from gradc.runtime.state_view import StateView

from .arguments import flag, text
from .graphs import ProgramText, assemble, dimension_names, free_dimensions
from .ranges import bytes_of, count
from .structure import unflatten_like
from .synonyms import spelled
from .tracing import fail, located
from .variables import StateCell


class Function(Attributes):
    """A compiled function. Call it with its inputs by name; it returns fresh arrays.

    graph   what was compiled

    >>> x = gc.input("x", ("batch", 2))
    >>> f = gc.compile(nn.Linear(2, 3)(x), seed=0)
    >>> f(x=np.zeros((4, 2))).shape, list(f.parameters), list(f.inputs)
    ((4, 3), ['weight', 'bias'], ['x'])
    """

    _hints = FUNCTION
    graph: Graph

    def __init__(self, graph: Graph, executor: Executor, structure: Any) -> None:
        self.graph = graph
        self._executor = executor
        self._structure = structure
        self._fields = fields_of(graph)

    def __call__(self, /, *positional: Any, **arrays: Any) -> Any:
        """The results, in the structure that was compiled.

        Raises ArgumentError for unknown or missing names, ShapeError and DTypeError for arrays
        that do not fit. Within a kind (float, integer, bool) arrays are cast.
        """
        if positional:
            known = ", ".join(f"{name}=" for name in self.inputs) or "none"
            fail(ArgumentError, "call", "inputs are given by name", [f"inputs: {known}"])
        return unflatten_like(self._structure, self._executor.call(self._fields, arrays))

    def on_device(self, /, **arrays: Any) -> Any:
        """The results as a call gives them, in the memory where the program runs: of target="cuda"
        arrays on the GPU, which other libraries take over without a copy (`__dlpack__`; np.asarray
        copies them to the host); of "cpu" NumPy's arrays, as a call gives them.

        >>> f = gc.compile(gc.input("x", (3,)) * 2)
        >>> np.from_dlpack(f.on_device(x=[1.0, 2.0, 3.0]))
        array([2., 4., 6.], dtype=float32)
        """
        found = self._executor.call(self._fields, arrays, on_device=True)
        return unflatten_like(self._structure, found)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names that a call takes."""
        return tuple(field.name for field in self._fields)

    @property
    def parameters(self) -> StateView:
        """Trained state by name: reading copies, assignment checks and writes."""
        return StateView(self._executor.visible_state, trained=True)

    @property
    def state(self) -> StateView:
        """State that is not trained, by name."""
        return StateView(self._executor.visible_state, trained=False)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{n.attributes['name']}: {n.type}" for n in self.graph.inputs)
        outputs = ", ".join(f"{name}: {node.type}" for name, node in self.graph.outputs)
        return f"<gradc function ({inputs}) -> ({outputs})>"


@spelled
def compile(
    structure: Any,
    target: str = "cpu",
    threads: int | None = None,
    seed: int = 0,
    precision: str = "float32",
    training: bool = False,
    dims: Mapping[str, int] | None = None,
    batch: int | None = None,
    state: Any = None,
    memory_budget: int | str | None = None,
    tune: bool | str = False,
) -> Function:
    """Compile tensors in any structure of lists, tuples and dicts, or a graph from gc.parse.

    target     "cpu"
    threads    at most this many; None: every CPU that this process may use
    seed       makes initial state, and the random numbers of every call
    precision  "float32": all in the dtypes of operands. "bf16", "fp16": products and convolutions
               of float32 multiply factors rounded to 16 bits; "tf32": see docs/precision.md
    training   the mode; in training every call is a step: it updates state, and random numbers
               move on. In evaluation a call with equal inputs gives equal results
    dims       values of named dimensions, fixed now; batch=64 is short for dims={"batch": 64}
    memory_budget  most bytes of the arena, or a text: "512 MB"; less than it needs is refused
    tune       True: of several schedules of a kernel the one that is fastest on the GPU here, which
               is looked for once and kept; the name of a GPU: what was found on one. Same bits
    state      a trainer, or another compiled function, with which it has in common all state that
               both know by name: what one learns or updates, the other computes with. None: state
               of its own, made from the seed; a warning names parameters that a trainer has trained

    >>> x = gc.input("x", ("batch", 2))
    >>> f = gc.compile({"sum": x.sum(axis=1), "largest": x.max()})
    >>> f(x=[[1.0, 2.0], [3.0, 4.0]])
    {'sum': array([3., 7.], dtype=float32), 'largest': array(4., dtype=float32)}
    """
    with located("compile"):
        target, precision = text("target", target), text("precision", precision)
        training = flag("training", training)
        owner = owner_of(state)
    graph, initial, structure, cells = _assembled(structure, training)
    graph = specialize(graph, bound_dimensions([graph], dims, batch, "compile"), training=training)
    graphs = {"call": graph} if initial is None else {"call": graph, "init": initial}
    with located("compile"):
        program = driver_program(
            graphs, None, target, precision, memory_budget=memory_budget, tune=tune
        )
    executor = Executor(program, thread_count(threads, "compile"))
    seed = check_seed(seed, "compile")
    if initial is not None:
        executor.initialize(seed)
    elif SEED_STATE in executor.state:  # a graph given as text: all other state begins as zeros
        executor.state[SEED_STATE] = np.int64(seed)
    if owner is not None:
        with located("compile"):
            executor.share(owner, {str(u.state.attributes["name"]) for u in graph.updates})
    else:
        warn_of_trained(cells, "gc.compile(..., state=trainer) to compute with")
    return Function(graph, executor, structure)


def _assembled(
    structure: Any, training: bool
) -> tuple[Graph, Graph | None, Any, Collection[StateCell]]:
    """The graph, that of first values, names of outputs in the structure, and the states' cells."""
    if isinstance(structure, ProgramText):
        graph = structure.graph
        names: Any = {name: name for name, _ in graph.outputs}
        if [*names] == [str(i) for i in range(len(names))]:
            names = "0" if len(names) == 1 else [*names]
        if not training:
            graph = Graph(graph.name, graph.inputs, graph.states, graph.outputs)
        return graph, structure.initial, names, ()
    graph, assembler = assemble(structure, "compile", training)
    states = list(assembler.states)
    initial = assembler.initial_graph(states) if states else None
    names = unflatten_like(structure, [name for name, _ in graph.outputs])
    return graph, initial, names, assembler.cells.values()


def owner_of(state: Any) -> Executor | None:
    """The program whose state `state=` names."""
    if state is None:
        return None
    found = getattr(state, "_executor" if isinstance(state, Function) else "executor", None)
    if not isinstance(found, Executor):
        problem = f"state is a trainer or a compiled function, not {described(state)}"
        fail(ArgumentError, "compile", problem)
    return found


def warn_of_trained(cells: Collection[StateCell], advice: str, program: Any = None) -> None:
    """A program that computes with the first values of what has been trained is seldom meant.

    advice   what to write, up to the words "what a trainer has learned"
    program  trainers of this one do not count
    """

    def counts(trainer: Any, made: Callable[[], Any]) -> bool:
        return bool(trainer.record.step) and (program is None or made() is not program)

    trained = [cell.name for cell in cells if any(counts(*pair) for pair in cell.trainers())]
    if trained:
        first, *more = trained
        names = first + (f" and {len(more)} more" if more else "")
        text = f"compile: the parameters {names} begin anew, as before they were trained; write "
        text += f"{advice} what a trainer has learned"
        warnings.warn(text, UserWarning, stacklevel=level_outside())


def driver_program(
    graphs: Mapping[str, Graph],
    batch_dimension: str | None,
    target: str,
    precision: str,
    cpu: str = "native",
    memory_budget: int | str | None = None,
    tune: bool | str = False,
) -> Any:
    """The compiler's program over these graphs; loads the back end, and not before.

    Raises DeviceError for the target "cuda", without the name of an architecture, where no device
    is found that could say which it is; and to tune, where there is none.
    """
    if target == "cuda" and cpu == "native":
        cpu = Device().architecture
    budget = None if memory_budget is None else bytes_of(memory_budget, "memory_budget", "compile")
    device = _tuned_for(tune, target)
    options = options_from_environment(
        target=target, precision=precision, cpu=cpu, memory_budget=budget, tuned_for=device
    )
    return CompiledProgram(
        graphs,
        batch_dimension=batch_dimension,
        options=options,
        timer=lambda: KernelTimer(device, options.cpu),
    )


def _tuned_for(tune: bool | str, target: str) -> str:
    """The name of the device that schedules are chosen for by measuring; "": of none."""
    wanted = tune if isinstance(tune, str) else flag("tune", tune)
    if wanted and target.partition(":")[0] == "cpu":
        fail(
            ArgumentError, "compile", "tune is for GPUs: a CPU's schedules follow from rules alone"
        )
    if wanted is not True:
        return wanted or ""
    try:
        return Device().name
    except DeviceError as error:
        problem = "tune measures on a GPU, and there is none here"
        hint = 'tune="NVIDIA H200" takes what was found on such a one, from the cache'
        raise DeviceError(problem, facts=[str(error)], hint=hint) from None


def fields_of(graph: Graph) -> tuple[TensorField, ...]:
    """The declared inputs as the runtime checks them."""
    return tuple(
        TensorField(str(n.attributes["name"]), n.type.dtype.numpy.name, n.type.shape)
        for n in graph.inputs
    )


def bound_dimensions(
    graphs: list[Graph], dims: Mapping[str, int] | None, batch: int | None, operation: str
) -> dict[str, int]:
    """dims and batch as one, with names and values checked."""
    if dims is not None and not isinstance(dims, Mapping):
        fail(ArgumentError, operation, f"dims is a dict of names and values, not {described(dims)}")
    bound = {str(name): value for name, value in (dims or {}).items()}
    if batch is not None:
        batch = count(batch, "batch", operation)
        if bound.setdefault("batch", batch) != batch:
            problem = f"batch is {batch}, dims says {bound['batch']}"
            fail(ArgumentError, operation, problem)
    free = free_dimensions(graphs)
    known = list(dict.fromkeys([*dimension_names(graphs), *free]))
    for name, value in bound.items():
        if name not in known:
            listed = ", ".join(map(repr, known)) or "none"
            problem = f"unknown dimension {name!r}"
            fail(ArgumentError, operation, problem, [f"named dimensions: {listed}"])
        bound[name] = count(value, f"dimension {name!r}", operation)
    for name, node in free.items():
        if name not in bound:
            problem = f"no input has the dimension {name!r}, so that no array gives its value"
            facts = [f"{node.op.name} at {node.source} is {node.type}"]
            fail(ShapeError, operation, problem, facts, f"{operation}(..., dims={{{name!r}: n}})")
    return bound


def thread_count(threads: int | None, operation: str) -> int:
    """The number of threads asked for; by default every usable CPU."""
    if threads is None:
        return usable_cpus()
    return count(threads, "threads", operation)


def check_seed(seed: int, operation: str) -> int:
    """A seed that fits int64."""
    number = as_whole(seed)
    if number is None or not -(2**63) <= number < 2**63:
        fail(ArgumentError, operation, f"a seed is an integer of 64 bits, not {described(seed)}")
    return number
