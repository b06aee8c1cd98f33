"""What passes know beside the graph or program that they are given: one record, never changed.

The driver makes it for a variant of a program, `gradc opt` from the arguments of a list of passes.
A pass names in the pipeline which parts it reads (`Pass.reads`), and is handed the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..artifact import StateField
from ..machine import Machine

Setting = Literal[
    "batch_dimension", "dims", "training", "precision", "form", "leaves", "machine", "effort"
]
"""What a pass may read: a part of the record below."""


Precision = Literal["float32", "tf32", "bf16", "fp16"]
"""What contractions of float32 numbers multiply: them, or them rounded (round_operands.py)."""


@dataclass(frozen=True)
class Form:
    """Which of its forms a program takes.

    rows      samples in a full batch; 1 without a batch dimension
    bounded   whether the number of rows is read at run time
    repeats   whether the program loops over a data set
    maxima    static maximum of each named dimension that is left in the graph
    """

    rows: int = 1
    bounded: bool = False
    repeats: bool = False
    maxima: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaves:
    """Where inputs, states and array constants lie, as far as a graph does not say.

    state            the block that all graphs of a family share; None: the graph is alone
    large_constants  slots of the array constants that are handed over as data
    """

    state: tuple[StateField, ...] | None = None
    large_constants: Mapping[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """See the module docstring.

    machine          that the program is made for
    batch_dimension  along which a data set is cut; None: the program loops over none
    dims             extents by name, for specialize; names left out stay open
    training         the mode, for specialize; None: it stays open
    precision        of contractions
    effort           how much recompute may do again; see there
    """

    machine: Machine
    batch_dimension: str | None = None
    dims: Mapping[str, int] = field(default_factory=dict)
    training: bool | None = None
    precision: Precision = "float32"
    effort: int = 0
    form: Form = field(default_factory=Form)
    leaves: Leaves = field(default_factory=Leaves)
