"""Inputs for tests of loops."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradc as gc
from gradc.graphs import ProgramText

near = np.testing.assert_allclose
rng = np.random.default_rng(0)

X = gc.input("x", (5, 2, 3), gc.float64)
H = gc.input("h", (2, 4), gc.float64)
W = gc.input("w", (3, 4), gc.float64)
U = gc.input("u", (4, 4), gc.float64)
GIVEN = {
    "x": rng.standard_normal((5, 2, 3)),
    "h": rng.standard_normal((2, 4)),
    "w": rng.standard_normal((3, 4)),
    "u": rng.standard_normal((4, 4)) / 2,
}


def program(structure: Any) -> ProgramText:
    return gc.graph(structure)
