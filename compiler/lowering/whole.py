"""A group whose kernel is made in one piece: no other value is stored by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..graph.ir import Node
from ..loops.ir import Buffer, Kernel, Scalar
from .groups import Group
from .values import loads_of


@dataclass(frozen=True, eq=False)
class Whole:
    """The kernel of such a group.

    read   nodes of other groups that it reads from memory
    """

    group: Group
    kernel: Kernel
    read: tuple[Node, ...]

    @cached_property
    def loads(self) -> Mapping[Buffer, list[Scalar]]:
        """What is read of each buffer."""
        return loads_of(self.kernel.scalars)
