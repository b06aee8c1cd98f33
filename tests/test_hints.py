"""Hints are right: what they advise is executed here, and gives what was asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import told

import gradc as gc
from gradc import nn, optim

# ---------------------------------------------------------------- a named axis


@pytest.mark.parametrize("shape", [("n",), ("n", 3), ("n", 3, 2), (3, "n"), (3, "n", 2), (2, 3, "n")])
@pytest.mark.parametrize("position", [2, 0, -1])
@pytest.mark.parametrize("dtype", [gc.float32, gc.bool])
def test_an_element_of_a_named_axis(shape: Any, position: int, dtype: Any) -> None:
    x = gc.input("x", shape, dtype)
    axis = shape.index("n")
    key = (slice(None),) * axis + (position,)
    with pytest.raises(gc.ShapeError, match="only : picks") as caught:
        x[key]
    advice = re.search(r"picks: (gc\..*), 0 where", caught.value.hint)
    assert advice is not None
    full = tuple(5 if extent == "n" else extent for extent in shape)
    data = np.arange(1, 1 + np.prod(full)).reshape(full) % 4
    data = data.astype(bool if dtype is gc.bool else np.float32)
    found = gc.compile(eval(advice[1], {"gc": gc, "x": x}))(x=data)
    np.testing.assert_array_equal(found, data[key])


@pytest.mark.parametrize("key", [slice(5), slice(None, None, 2), slice(-3, None), [0, 1], [True]])
def test_no_mask_where_none_helps(key: Any) -> None:
    x = gc.input("x", ("n", 3))
    with pytest.raises(gc.ShapeError, match="only : picks") as caught:
        x[key]
    assert "mask" not in caught.value.hint and "integer extent" in caught.value.hint
