"""gc.training: a loss, an optimizer and metrics become one training program, of several graphs.

    run        loss and metrics; updates of parameters, optimizer state, other state and the step
    evaluate   loss and metrics
    predict    outputs
    init       updates of every state from its initialiser
    epoch      updates at the end of an epoch, in programs with such schedules (optim/plateau.py)

All declare the same states in the same order. No optimizer code runs in Python: an update is
nodes of the `run` graph like any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradc.runtime
from gradc.compiler.aot.model import Declaration, model_name
from gradc.compiler.artifact import TensorField
from gradc.compiler.attributes import Attributes, refusing
from gradc.compiler.collector import collector_paused
from gradc.compiler.driver import targets_of
from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.graph.ir import Graph, Node
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.types import TensorType, dtype_of, factors, float32
from gradc.runtime.batches import Reads
from gradc.runtime.option_values import checked_path
from gradc.runtime.spellings import PROGRAM
from gradc.runtime.trainer import DEFAULT_BATCH_SIZE, Trainer

from . import nodes
from .compiled import (
    bound_dimensions,
    check_seed,
    driver_program,
    fields_of,
    owner_of,
    thread_count,
    warn_of_trained,
)
from .functional.metrics import Ratio
from .graphs import Assembler, state_updates
from .objectives import Objective, objective_updates, objectives_of, total_loss
from .optim.loss_scale import LossScale, loss_scale
from .optim.optimizer import Optimizer
from .optim.rates import Rates
from .ranges import count
from .synonyms import spelled
from .tensor import Tensor
from .tracing import fail, here, located
from .variables import RATE, State, StateCell, seed_state, step_state

SUFFIXES = (".so", ".o", ".exe", ".bin", ".out")


@refusing
@dataclass(frozen=True)
class TrainingProgram(Attributes):
    """What gc.training makes: graphs by entry point, ready to be compiled.

    inputs            every declared input
    batch_dimension   the named dimension that batches run along, or None
    metrics, outputs  names
    ratios            those of "loss" and the metrics that are a ratio (gc.ratio)
    learning_rate     the number that leads the optimizer's rate; None where no one number does
    rates             states that lead rates, by label (optim/rates.py)
    monitors          columns that schedules watch, in the order of their states
    cells             of the parameters that it trains
    scaled            makes the graphs that scale the loss (optim/loss_scale.py); None: these do

    >>> w = gc.parameter("w", (), init=gc.init.ones)
    >>> program = gc.training(gc.square(w - 3.0), optim.SGD(lr=0.5))
    >>> one, other = program.compile(), program.compile()
    >>> one.step()["loss"], one.step()["loss"], other.step()["loss"]
    (4.0, 0.0, 4.0)
    """

    _hints = PROGRAM

    graphs: Mapping[str, Graph]
    inputs: tuple[TensorField, ...]
    batch_dimension: str | None
    metrics: tuple[str, ...]
    ratios: tuple[str, ...]
    outputs: tuple[str, ...]
    learning_rate: float | None
    rates: Mapping[str, str] = field(default_factory=dict)
    monitors: tuple[str, ...] = ()
    scaled: Callable[[], Mapping[str, Graph]] | None = field(
        default=None, repr=False, compare=False
    )
    cells: tuple[StateCell, ...] = field(default=(), repr=False, compare=False)

    def __repr__(self) -> str:
        types = [TensorType(dtype_of(field.dtype), field.shape) for field in self.inputs]
        inputs = [f"{f.name} {type}" for f, type in zip(self.inputs, types, strict=True)]
        parts = [f"of {', '.join(inputs) or 'no inputs'}"]
        parts.append(f"reports {', '.join(('loss', *self.metrics))}")
        parts += [f"predicts {', '.join(self.outputs)}"] if self.outputs else []
        return f"<gc.TrainingProgram {'; '.join(parts)}>"

    @spelled
    def compile(
        self,
        target: str = "cpu",
        threads: int | None = None,
        seed: int = 0,
        precision: str = "float32",
        dims: Mapping[str, int] | None = None,
        batch: int | None = None,
        memory_budget: int | str | None = None,
        state: Any = None,
        tune: bool | str = False,
    ) -> Trainer:
        """A trainer with initial parameters made from the seed. See gc.compile for arguments.

        precision     "float32": every operation in the dtypes of its operands, as written; "tf32",
                      "bf16", "fp16": products of shorter factors. State is as it was declared
        dims, batch   values of named dimensions. That of the batch dimension (`batch` is short for
                      it) fixes the batch size: data sets of any length are cut into batches of so
                      many rows, and a smaller one runs as a ragged batch, as in a training binary;
                      another `batch_size`, or a batch of more rows, is refused
        memory_budget  most bytes of a step's arena, or a text: "512 MB". What the gradient needs is
                      computed again to stay under it, products too, to the same bits; a step that
                      cannot raises ArgumentError when it is compiled, with the least that was found
        state         another trainer: what both know by name but for what optimizers keep, the
                      parameters above all, is one state, which either trains. None: state of its
                      own, made from the seed; a warning names parameters that the trainer of
                      another program has trained
        tune          True: kernels for a GPU by the schedules that are fastest on the one here; the
                      name of one: those that were found on it before
        """
        with located("compile"):
            owner = owner_of(state)
        if owner is None:
            self._warn_of_trained()
        with collector_paused():
            program, fixed = self._in(precision).bound(dims, batch, "compile")
            artifact = program._driver(target, precision, memory_budget, tune)
            trainer = Trainer(
                artifact,
                program.inputs,
                program.batch_dimension,
                program.metrics,
                program.outputs,
                check_seed(seed, "compile"),
                thread_count(threads, "compile"),
                fixed,
                {kind: program._reads(graph) for kind, graph in program.graphs.items()},
                program.ratios,
                program.rates,
                program.monitors,
            )
        if owner is not None:
            with located("compile"):
                run = program.graphs["run"]
                trainer.executor.link(owner, {str(u.state.attributes["name"]) for u in run.updates})
        for cell in self.cells:
            cell.add_trainer(trainer, self)
        return trainer

    def _warn_of_trained(self) -> None:
        """Another program's parameters are seldom meant to be trained anew from the first values;
        this one's are, by whoever compiles it again."""
        warn_of_trained(self.cells, "program.compile(state=trainer) to go on with", self)

    def _driver(
        self, target: str, precision: str, memory_budget: int | str | None, tune: bool | str
    ) -> Any:
        """The compiler's program; see driver_program."""
        given = self.graphs, self.batch_dimension, target, precision
        return driver_program(*given, memory_budget=memory_budget, tune=tune)

    def _in(self, precision: str) -> TrainingProgram:
        """This program as it is trained in a precision: in "fp16" its loss is scaled."""
        if precision != "fp16" or self.scaled is None:
            return self
        return replace(self, graphs=self.scaled(), scaled=None)

    def _reads(self, graph: Graph) -> Reads:
        """Which inputs an entry point of this graph reads, and whether it has rows."""
        extents = {e for n in graph.nodes() for part in n.type.parts for e in part.shape}
        has_rows = any(self.batch_dimension in factors(extent).names for extent in extents)
        return Reads(frozenset(field.name for field in fields_of(graph)), has_rows)

    def bound(
        self, dims: Mapping[str, int] | None, batch: int | None, operation: str
    ) -> tuple[TrainingProgram, int | None]:
        """This program with named dimensions fixed, all but that of batches, whose value is
        returned beside it: data sets are cut along it, so it stays a dimension of the program."""
        name, graphs = self.batch_dimension, list(self.graphs.values())
        if batch is not None and name is not None and name != "batch":
            if (dims or {}).get(name, batch) != batch:
                fail(ArgumentError, operation, f"batch is {batch}, dims says {(dims or {})[name]}")
            dims, batch = {**(dims or {}), name: batch}, None
        bound = bound_dimensions(graphs, dims, batch, operation)
        fixed = None if name is None else bound.pop(name, None)
        return (self.specialized(bound) if bound else self), fixed

    def specialized(self, dims: Mapping[str, int]) -> TrainingProgram:
        """This program with named dimensions fixed. The mode stays open: the driver sets it for
        each graph, and `init` has none, being nothing but updates."""
        graphs = {kind: specialize(graph, dict(dims)) for kind, graph in self.graphs.items()}
        return replace(self, graphs=graphs, inputs=_all_fields(graphs))

    @spelled
    def build(
        self,
        out: str | os.PathLike[str],
        kind: str = "executable",
        batch: int | None = None,
        cpu: str = "native",
        target: str = "cpu",
        platform: str = "host",
        precision: str = "float32",
        dims: Mapping[str, int] | None = None,
        memory_budget: int | str | None = None,
        tune: bool | str = False,
    ) -> list[Path]:
        """Build a program that trains without Python; returns the files made.

        out        file to write; its name names the model. A library or an object file gets a
                   C header NAME.h beside it
        kind       "executable"; "library": a shared library; "object": the same, to link in
        batch      samples of a full batch (default 32), where there is a batch dimension
        cpu        "native": for CPUs like this one; "x86-64-v3": any with AVX2 and FMA;
                   "portable": that, and AVX-512 where the CPU has it, chosen at start
        target     "cpu"; "cuda:sm_90": an executable for devices of this architecture, or for one
                   of several, "cuda:sm_90,sm_80", chosen at start
        platform   "host", or a zig target: "x86_64-linux-musl", "aarch64-linux-musl" (both static),
                   "x86_64-linux-gnu", "aarch64-linux-gnu"
        precision  "float32", as in `compile`
        dims       values of other named dimensions; that of the batch dimension is `batch`
        memory_budget, tune  as in `compile`

        The same seed and data give the same bits as `compile` and `fit` with this batch size.
        Needs a C compiler, or the ziglang package. Raises ArgumentError, CompileError with what
        the compiler or linker said, FileError where `out` cannot be written.
        """
        from gradc.compiler.aot.build import BuildOptions, build  # not loaded to train in process

        batched = self.batch_dimension is not None
        batch = None if batch is None else count(batch, "batch", "build")
        if batch is not None and not batched:
            fail(ArgumentError, "build", "batch has no meaning: there is no batch dimension")
        program, batch = self._in(precision).bound(dims, batch, "build")
        path, place = Path(checked_path("out", out, "build")), here()
        declaration = Declaration(
            _model_name(path, kind),
            program.inputs,
            ("loss", *program.metrics),
            program.ratios,
            program.outputs,
            (batch or DEFAULT_BATCH_SIZE) if batched else None,
            program.learning_rate,
            program.monitors,
        )
        native = Path(gradc.runtime.__file__).parent / "native"
        try:
            options = BuildOptions(kind, cpu, platform)
            targets = targets_of(target)
            compiled = [program._driver(one, precision, memory_budget, tune) for one in targets]
            return build(compiled[0], declaration, path, options, native, compiled[1:])
        except ArgumentError as error:
            raise error.located("build", place) from None


def _model_name(path: Path, kind: str) -> str:
    """The model's name: that of the file without what files of its kind begin and end with."""
    stem = path.name.removesuffix(path.suffix) if path.suffix in SUFFIXES else path.name
    own = stem.removeprefix("lib") if kind == "library" else stem
    if stem and not own:
        problem = f"no name for the model is left of {path.name!r} without a library's prefix 'lib'"
        fail(ArgumentError, "build", problem, hint="a library is called libNAME.so")
    return model_name(own)


@spelled
def training(
    loss: Tensor | Sequence[tuple[Any, ...]],
    optimizer: Optimizer | None = None,
    metrics: Mapping[str, Tensor] | None = None,
    outputs: Mapping[str, Tensor] | None = None,
    train: str | Sequence[str] | None = None,
) -> TrainingProgram:
    """A training program: every step lowers `loss` by the optimizer's rule.

    loss      a floating-point scalar; or several, each with an optimizer of its own and the names
              of the parameters that it changes: [(loss_d, optimizer_d, "d.*"),
              (loss_g, optimizer_g, "g.*")]. All see the state at the beginning of the step. Then
              the loss that is reported is the sum of all, and there are metrics "loss_0", "loss_1"
    metrics   scalars that are reported beside the loss, averaged over rows; gc.ratio makes one
              that is the quotient of two sums
    outputs   what trainer.predict returns
    train     patterns of names of parameters, in which * and ? are wild: these alone are trained

    Every parameter that the loss reads is trained, but for those that are frozen; where the
    optimizer was given a list of parameters, those of the list.

    >>> x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch", 1))
    >>> program = gc.training(gc.mse_loss(nn.Linear(2, 1)(x), y), optim.SGD(lr=0.1))
    >>> trainer = program.compile(seed=0)
    >>> rows = np.random.default_rng(0).normal(size=(64, 2))
    >>> history = trainer.fit({"x": rows, "y": rows[:, :1]}, batch_size=16, epochs=20)
    >>> history["loss"][-1] < 1e-3
    True
    """
    objectives, rates = _led(objectives_of(loss, optimizer, train))
    total = total_loss(objectives)
    if isinstance(loss, (list, tuple)):
        own = {f"loss_{number}": objective.loss for number, objective in enumerate(objectives)}
        _check_free(own, metrics)
        metrics = {**own, **(metrics or {})}
    _check(metrics, outputs)
    _check_monitors(rates.monitors, ["loss", *(metrics or {})])
    columns = {"loss": total, **{name: _metric(m) for name, m in (metrics or {}).items()}}
    ratios = {name: value for name, value in columns.items() if isinstance(value, Ratio)}
    reported = _reported(columns, ratios)
    predicted = list((outputs or {}).items())
    with collector_paused():
        graphs = _graphs(objectives, rates, reported, predicted)
    states = [node.attributes["name"] for node in graphs["run"].states]
    return TrainingProgram(
        graphs,
        _all_fields(graphs),
        _batch_dimension(graphs),
        tuple(metrics or {}),
        tuple(ratios),
        tuple(outputs or {}),
        objectives[0].optimizer.leading_rate if RATE in states else None,
        {label: name for label, name in rates.labels.items() if name in states},
        rates.monitors,
        lambda: _graphs(objectives, rates, reported, predicted, loss_scale()),
        tuple(p.cell for objective in objectives for p in objective.parameters()),
    )


def _reported(
    columns: Mapping[str, Tensor], ratios: Mapping[str, Ratio]
) -> list[tuple[str, Tensor]]:
    """What a step reports: each column, of a ratio its dividend, and the divisors at the end."""
    reported = [
        (f"{name} (dividend)", ratios[name].numerator) if name in ratios else (name, value)
        for name, value in columns.items()
    ]
    return [*reported, *((f"{name} (divisor)", ratios[name].denominator) for name in ratios)]


def _led(objectives: Sequence[Objective]) -> tuple[list[Objective], Rates]:
    """The objectives, the rates of their optimizers led by states, and these."""
    rates, several = Rates(), len(objectives) > 1
    led = [
        replace(objective, optimizer=rates.lead(objective.optimizer, number if several else None))
        for number, objective in enumerate(objectives)
    ]
    return led, rates


def _graphs(
    objectives: Sequence[Objective],
    rates: Rates,
    reported: Sequence[tuple[str, Tensor]],
    predicted: Sequence[tuple[str, Tensor]],
    scale: LossScale | None = None,
) -> dict[str, Graph]:
    """The graphs; see the module docstring.

    scale   of the losses, if they are scaled
    """
    losses = [objective.loss for objective in objectives]
    tensors = [*losses, *(t for _, t in (*reported, *predicted))]
    assembler = Assembler("training")
    step = step_state()
    assembler.reserve(seed_state(), step)
    assembler.settle(t.node for t in tensors)
    updates = _updates(objectives, step, scale, reported, predicted)
    assembler.settle(state for state, _ in updates)
    assembler.settle(value for _, value in updates)
    ends = [(s.node, v.node) for s, v in rates.epoch_updates(list(assembler.states))]
    assembler.settle(node for pair in ends for node in pair)
    states = list(assembler.states)
    graphs = {
        "run": _graph(assembler, "run", reported, states, updates),
        "evaluate": _graph(assembler, "evaluate", reported, states),
        "predict": _graph(assembler, "predict", predicted, states),
        "init": assembler.initial_graph(states),
    }
    return graphs | ({"epoch": _graph(assembler, "epoch", (), states, ends)} if ends else {})


def _graph(
    assembler: Assembler,
    name: str,
    results: Sequence[tuple[str, Tensor]],
    states: Sequence[str],
    updates: Sequence[tuple[Node, Node]] = (),
) -> Graph:
    declared = frozenset().union(*(t.declared for _, t in results))
    return assembler.graph(name, [(n, t.node) for n, t in results], updates, declared, states)


def _updates(
    objectives: Sequence[Objective],
    step: State,
    scale: LossScale | None,
    reported: Sequence[tuple[str, Tensor]],
    predicted: Sequence[tuple[str, Tensor]],
) -> list[tuple[Node, Node]]:
    """Pairs (state, new value): parameters, optimizer state, other state, and the step."""
    updates = [
        (state.node, nodes.cast(value.node, state.dtype))
        for state, value in objective_updates(objectives, step, scale)
    ]
    changed = {p.cell for objective in objectives for p in objective.parameters()}
    for cell in changed:
        if cell.update is not None:
            problem = f"parameter {cell.name!r} has an optimizer and an update of its own"
            hint = "gc.update is for parameters that no optimizer changes: train=, gc.frozen"
            fail(ArgumentError, "training", problem, hint=hint)
    losses = [objective.loss.node for objective in objectives]
    trained = [*losses, *(t.node for _, t in reported), *(value for _, value in updates)]
    updates += state_updates(trained, [t.node for _, t in predicted])
    return [*updates, (step.node, (step + 1).node)]


def _check_free(own: Mapping[str, Tensor], metrics: Mapping[str, Tensor] | None) -> None:
    """No metric has the name of one of several losses."""
    for name in own:
        if isinstance(metrics, Mapping) and name in metrics:
            problem = f"a metric cannot be named {name!r}"
            hint = "call it something else: so one of the losses is reported"
            fail(ArgumentError, "training", problem, hint=hint)


def _check(metrics: Mapping[str, Tensor] | None, outputs: Mapping[str, Tensor] | None) -> None:
    for what, tensors in (("metrics", metrics), ("outputs", outputs)):
        if tensors is not None and not isinstance(tensors, Mapping):
            fail(ArgumentError, "training", f"{what} is a dict of tensors, not {tensors!r}")
        for name, tensor in (tensors or {}).items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                fail(ArgumentError, "training", f"{what}[{name!r}] is {tensor!r}, not a tensor")
            merged = [e for e in tensor.shape if isinstance(e, str) and not e.isidentifier()]
            if merged:
                problem = f"{what}[{name!r}] is {tensor.node.type}: samples are not along one axis"
                hint = "split the merged axis again: x.reshape(batch, n, ...)"
                fail(ShapeError, "training", problem, hint=hint)
    if "loss" in (metrics or {}):
        fail(ArgumentError, "training", "a metric cannot be named 'loss'")
    names = ["loss", *(metrics or {})]
    for name in (f"validation_{name}" for name in names):
        if name in names:
            problem = f"a metric cannot be named {name!r}"
            fact = f"the history has a column of that name for {name.partition('_')[2]!r}"
            fail(ArgumentError, "training", problem, hint=f"call it something else: {fact}")


def _check_monitors(monitors: Sequence[str], columns: Sequence[str]) -> None:
    """Schedules watch columns that there are."""
    for name in monitors:
        if name.removeprefix("validation_") not in columns:
            problem = f"plateau cannot monitor {name!r}"
            known = [*columns, *(f"validation_{column}" for column in columns)]
            fail(ArgumentError, "training", problem, [f"known: {', '.join(map(repr, known))}"])


def _metric(tensor: Tensor) -> Tensor:
    """A metric as a floating-point scalar."""
    if tensor.ndim:
        fail(
            ArgumentError,
            "training",
            f"a metric is a scalar, not {tensor.node.type}",
            hint="gc.mean(metric)",
        )
    return tensor if tensor.dtype.is_float else tensor.astype(float32)


def _all_fields(graphs: Mapping[str, Graph]) -> tuple[TensorField, ...]:
    fields = {f.name: f for graph in graphs.values() for f in fields_of(graph)}
    return tuple(fields.values())


def _batch_dimension(graphs: Mapping[str, Graph]) -> str | None:
    """The name that stands first in inputs and nowhere else; "batch" if there are several."""
    shapes = [n.type.shape for graph in graphs.values() for n in graph.inputs]
    first = dict.fromkeys(s[0] for s in shapes if s and isinstance(s[0], str))
    later = {e for s in shapes for e in s[1:] if isinstance(e, str)}
    candidates = [name for name in first if name not in later]
    if len(candidates) > 1 and "batch" not in candidates:
        listed = ", ".join(map(repr, candidates))
        problem = f"several named dimensions could be the batch: {listed}"
        fail(ArgumentError, "training", problem, hint="name one of them 'batch'")
    if "batch" in candidates:
        return "batch"
    return candidates[0] if candidates else None
