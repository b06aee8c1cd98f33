"""What tests share: values of symbolic tensors by the reference evaluator, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import gradc as gc
from gradc._training import TrainingProgram
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph
from gradc.compiler.graph.verify import verify_graph
from gradc.graphs import assemble
from gradc.structure import unflatten_like

Array = np.ndarray[Any, Any]
State = dict[str, Array]


def values(
    structure: Any, *, training: bool = False, seed: int = 0, step: int = 0, **inputs: Any
) -> Any:
    """The values of a structure of tensors; parameters begin as their initialisers say."""
    graph, assembler = assemble(structure, "values", training=False)
    verify_graph(graph)
    state = initial_state(assembler.initial_graph(list(assembler.states)), seed)
    state["gradc.step"] = np.asarray(step)
    names = {str(node.attributes["name"]) for node in graph.states}
    outputs, _ = evaluate(
        graph,
        typed_inputs(graph, inputs),
        {name: array for name, array in state.items() if name in names},
        training=training,
    )
    return unflatten_like(structure, list(outputs.values()))


def typed_inputs(graph: Graph, inputs: Mapping[str, Any]) -> State:
    """Arrays in the declared dtypes; what the graph does not read is left out."""
    dtypes = {str(n.attributes["name"]): n.type.dtype.numpy for n in graph.inputs}
    return {name: np.asarray(inputs[name]).astype(dtype) for name, dtype in dtypes.items()}


def initial_state(graph: Graph, seed: int = 0) -> State:
    """The state that an init graph makes from a seed."""
    verify_graph(graph)
    empty = {
        str(n.attributes["name"]): np.zeros(n.type.shape, n.type.dtype.numpy) for n in graph.states
    }
    empty["gradc.seed"] = np.asarray(seed)
    return evaluate(graph, {}, empty)[1]


def steps(program: TrainingProgram, batches: list[dict[str, Any]], seed: int = 0) -> list[State]:
    """The state before training, and after each batch."""
    run = program.graphs["run"]
    verify_graph(run)
    history = [initial_state(program.graphs["init"], seed)]
    for batch in batches:
        history.append(evaluate(run, typed_inputs(run, batch), history[-1], training=True)[1])
    return history


def array(values: Any, dtype: Any = gc.float64) -> gc.Tensor:
    """A constant tensor."""
    return gc.constant(np.asarray(values), dtype)


def gradc(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The console script in a process of its own."""
    program = "from gradc.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=300, env=os.environ,
    )  # fmt: skip


def told(error: BaseException) -> str:
    """What an error says beside the user's line, which may hold the words that a test looks for."""
    assert isinstance(error, gc.GradcError)
    return "\n".join([error.operation, error.problem, *error.facts, error.hint])
