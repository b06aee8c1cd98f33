"""What a training step lowers, and which parameters it changes to do so.

An *objective* is a loss, an optimizer and the parameters that this optimizer may change. A program
has one, or several (a GAN: the discriminator's loss changes the discriminator). All gradients are
those at the beginning of the step, and all parameters change together at its end.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradc.compiler.errors import ArgumentError, described
from gradc.compiler.graph.ir import topological

from .optim.loss_scale import LossScale
from .optim.optimizer import Optimizer
from .optim.problem import Problem
from .tensor import Tensor
from .tracing import fail
from .variables import State, StateNode


@dataclass(frozen=True)
class Objective:
    """A loss, its optimizer, and patterns of the names of the parameters that this one may change;
    None: of all that the loss reads."""

    loss: Tensor
    optimizer: Optimizer
    train: tuple[str, ...] | None

    def parameters(self) -> list[State]:
        """What the optimizer changes. Raises ArgumentError where that is nothing."""
        found = [n for n in topological([self.loss.node]) if isinstance(n, StateNode)]
        nodes = {n.cell: n for n in found if n.attributes["trained"]}
        read = [State(node, self.loss.declared) for node in nodes.values()]
        facts = [f"it reads {', '.join(parameter.name for parameter in read)}"] if read else []
        if not read:
            hint = "make parameters with gc.parameter or the layers of gc.nn"
            fail(ArgumentError, "training", "the loss reads no parameter", hint=hint)
        free = [parameter for parameter in read if parameter.cell.trainable]
        if not free:
            fail(ArgumentError, "training", "the loss reads frozen parameters alone", facts)
        listed = [parameter for parameter in free if self.optimizer.trains(parameter)]
        if not listed:
            problem = "the loss reads no parameter of the optimizer's list"
            fail(ArgumentError, "training", problem, facts)
        if self.train is None:
            return listed
        for pattern in self.train:
            if not any(fnmatch.fnmatchcase(parameter.name, pattern) for parameter in listed):
                problem = f"train={pattern!r} matches no parameter"
                names = ", ".join(parameter.name for parameter in listed)
                fail(ArgumentError, "training", problem, [f"parameters: {names}"])
        return [p for p in listed if any(fnmatch.fnmatchcase(p.name, x) for x in self.train)]


def objectives_of(
    loss: Any, optimizer: Optimizer | None, train: Any, operation: str = "training"
) -> list[Objective]:
    """The objectives that gc.training was given, checked."""
    if not isinstance(loss, (list, tuple)):
        return [_objective(loss, optimizer, train, operation)]
    if optimizer is not None or train is not None:
        extra = "optimizer" if optimizer is not None else "train"
        problem = f"several losses have optimizers and parameters of their own: {extra}= is not one"
        fail(ArgumentError, operation, problem)
    if not loss:
        fail(ArgumentError, operation, "the list of losses is empty")
    found = []
    for number, entry in enumerate(loss):
        if not isinstance(entry, (list, tuple)) or len(entry) not in (2, 3):
            problem = f"entry {number} is not (loss, optimizer, train) but {described(entry)}"
            fail(ArgumentError, operation, problem)
        own, its_optimizer, *its_train = entry
        patterns = its_train[0] if its_train else None
        found.append(_objective(own, its_optimizer, patterns, operation))
    _check_apart(found, operation)
    return found


def _objective(loss: Any, optimizer: Any, train: Any, operation: str) -> Objective:
    if not isinstance(loss, Tensor):
        fail(ArgumentError, operation, f"the loss is a {type(loss).__name__}, not a tensor")
    if loss.ndim or not loss.dtype.is_float:
        problem = f"the loss is {loss.node.type}, not a floating-point scalar"
        fail(ArgumentError, operation, problem, hint="gc.mean(loss)" if loss.ndim else "")
    if not isinstance(optimizer, Optimizer):
        problem = f"the optimizer is {optimizer!r}, not one of gc.optim"
        hint = "instantiate the class" if isinstance(optimizer, type) else ""
        fail(ArgumentError, operation, problem, hint=hint)
    if train is None:
        return Objective(loss, optimizer, None)
    patterns = [train] if isinstance(train, str) else train
    good = isinstance(patterns, Iterable) and not isinstance(patterns, (bytes, Mapping, Tensor))
    patterns = list(patterns) if good else [None]
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        problem = f"train is a pattern of names, or several, not {described(train)}"
        hint = "of some parameters: optim.SGD(parameters, lr=0.1)"
        fail(ArgumentError, operation, problem, hint=hint)
    return Objective(loss, optimizer, tuple(patterns))


def _check_apart(objectives: Sequence[Objective], operation: str) -> None:
    """No parameter has two optimizers."""
    owners: dict[Any, int] = {}
    for number, objective in enumerate(objectives):
        for parameter in objective.parameters():
            first = owners.setdefault(parameter.cell, number)
            if first != number:
                problem = f"losses {first} and {number} both train parameter {parameter.name!r}"
                hint = 'say which trains what: (loss, optimizer, "encoder.*")'
                fail(ArgumentError, operation, problem, hint=hint)


def total_loss(objectives: Sequence[Objective]) -> Tensor:
    """The sum of the losses, each once: what a program reports as its loss."""
    first, *more = {objective.loss.node: objective.loss for objective in objectives}.values()
    for loss in more:
        first = first + loss
    return first


def objective_updates(
    objectives: Sequence[Objective], step: State, scale: LossScale | None = None
) -> list[tuple[State, Tensor]]:
    """New values of the parameters and of the optimizers' state.

    step    the steps done
    scale   of the losses, if they are scaled
    """
    found: list[tuple[State, Tensor]] = []
    gradients: list[Tensor] = []
    for objective in objectives:
        factor = None if scale is None else scale.factor
        problem = Problem("training", objective.loss, objective.parameters(), factor)
        optimizer = objective.optimizer
        if scale is not None and type(optimizer).step_updates is not Optimizer.step_updates:
            problem_text = f"{type(optimizer).__name__} does not scale its loss"
            hint = 'precision="bf16" needs no scale'
            fail(ArgumentError, "training", f'precision "fp16": {problem_text}', hint=hint)
        found += optimizer.step_updates(problem, step if scale is None else scale.updates)
        gradients += [gradient for _, gradient in problem.gradients()]
    return found if scale is None else scale.guarded(found, gradients)
