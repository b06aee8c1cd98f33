"""Einstein summation and tensordot: values as NumPy's, gradients as slopes, errors by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import array, values
from support_slopes import check_slopes

import gradc as gc

RNG = np.random.default_rng(11)


def a(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape)


CASES = [
    ("ij,jk->ik", a(2, 3), a(3, 4)),
    ("ij,jk", a(2, 3), a(3, 4)),
    ("ii", a(3, 3)),
    ("ii->i", a(3, 3)),
    ("ii->", a(0, 0)),
    ("iii->i", a(3, 3, 3)),
    ("iij->j", a(3, 3, 2)),
    ("iji->ij", a(3, 2, 3)),
    ("ijji->ij", a(2, 3, 3, 2)),
    ("ii,ii->i", a(3, 3), a(3, 3)),
    ("iij,jkk->ik", a(2, 2, 3), a(3, 4, 4)),
    ("...ij,...jk->...ik", a(5, 2, 3), a(3, 4)),
    ("...ij,...jk", a(2, 1, 2, 3), a(5, 3, 4)),
    ("i...->...", a(2, 3, 4)),
    ("...i->i...", a(2, 3, 4)),
    ("a...a", a(3, 2, 3)),
    ("...ii->...i", a(2, 3, 3)),
    ("...", a(2, 3)),
    ("...,...", a(2, 3), a(3)),
    ("ij,...->...", a(2, 3), a(4)),
    ("i,...j,j", a(2), a(5, 3), a(3)),
    ("i,j,k->kji", a(2), a(3), a(4)),
    ("ij,jk,kl,lm->im", a(2, 3), a(3, 4), a(4, 5), a(5, 2)),
    ("ba,ca,da->bcd", a(2, 3), a(4, 3), a(5, 3)),
    ("i,i,i->", a(3), a(3), a(3)),
    ("ij,jk,ki", a(2, 3), a(3, 4), a(4, 2)),
    ("ij,jk->ik", a(2, 1), a(3, 4)),
    ("ij,ij->ij", a(1, 3), a(2, 1)),
    ("ij,ij,ij->i", a(1, 3), a(2, 1), a(2, 3)),
    (",", a(), a()),
    ("", a()),
    ("i->", a(3)),
    ("Ba,aB", a(2, 3), a(3, 2)),
    ("bA", a(2, 3)),
    ("ij,kl->ijkl", a(2, 3), a(2, 3)),
    ("ij,jk->ik", a(2, 0), a(0, 3)),
    ("ij,jk,kl->il", a(2, 0), a(0, 3), a(3, 2)),
]
IDS = [f"{c[0]}|{'|'.join(str(x.shape) for x in c[1:])}" for c in CASES]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_values_and_slopes(case: Any) -> None:
    subscripts, *arrays = case
    result = gc.einsum(subscripts, *map(gc.constant, arrays))
    expected = np.einsum(subscripts, *arrays)
    assert result.shape == expected.shape
    np.testing.assert_allclose(values(result), expected, 1e-12, 1e-12)
    check_slopes(lambda *x: gc.einsum(subscripts, *x), arrays)


def test_random_subscripts() -> None:
    """Operands with letters at random, repeated ones and broadcast extents among them."""
    rng = np.random.default_rng(5)
    extent = dict(zip("abcde", (2, 3, 1, 4, 2), strict=True))
    for _ in range(150):
        terms = ["".join(rng.choice(list("abcde"), rng.integers(0, 4)))
                 for _ in range(rng.integers(1, 5))]  # fmt: skip
        letters = sorted(set("".join(terms)))
        output = "".join(rng.permutation([c for c in letters if rng.random() < 0.5]).tolist())
        arrays = []
        for term in terms:
            ones = {c for c in term if rng.random() < 0.1 and term.count(c) == 1}
            arrays.append(rng.normal(size=[1 if c in ones else extent[c] for c in term]))
        subscripts = ",".join(terms) + "->" + output
        whole = {c for t, x in zip(terms, arrays, strict=True)
                 for c, e in zip(t, x.shape, strict=True) if e == extent[c]}  # fmt: skip
        if not set(output) <= whole:
            continue
        found = values(gc.einsum(subscripts, *map(gc.constant, arrays)))
        expected = np.einsum(subscripts, *arrays)
        np.testing.assert_allclose(found, expected, 1e-10, 1e-10, err_msg=subscripts)


def test_the_list_form() -> None:
    x, y = a(2, 3), a(3, 4)
    np.testing.assert_allclose(values(gc.einsum(x, [0, 1], y, [1, 2], [0, 2])), x @ y)
    np.testing.assert_allclose(values(gc.einsum(x, [5, 3], y, [3, 0])), np.einsum("fd,da", x, y))
    stacked = gc.einsum(array(x), [..., 1], array(y), [1, 2])
    np.testing.assert_allclose(values(stacked), x @ y)


def test_an_ellipsis_that_the_result_leaves_out_is_summed() -> None:
    x = a(2, 3, 4)
    np.testing.assert_allclose(values(gc.einsum("...i->i", x)), x.sum((0, 1)))


def test_named_dimensions() -> None:
    x = gc.input("x", ("batch", 3, 3), gc.float64)
    y = gc.input("y", ("batch", 3), gc.float64)
    given = {"x": a(4, 3, 3), "y": a(4, 3)}
    for subscripts in ("bij,bj->bi", "...ij,...j->...i", "bii->b", "b...,bi->i...", "bij,bj,bi->"):
        tensors = (x,) if "," not in subscripts else (x, y, y)[: subscripts.count(",") + 1]
        result = gc.einsum(subscripts, *tensors)
        arrays = [given[str(t.node.attributes["name"])] for t in tensors]
        found = gc.compile(result)(**{n: given[n] for n in gc.compile(result).inputs})
        np.testing.assert_allclose(found, np.einsum(subscripts, *arrays), 1e-12)


def test_a_diagonal_of_named_dimensions_drops_what_lies_beside_it() -> None:
    """Its other elements may be infinite: they are not multiplied by zero."""
    x = gc.input("x", ("n", "n", 2), gc.float64)
    data = np.full((3, 3, 2), np.inf)
    data[range(3), range(3)] = a(3, 2)
    result = gc.compile(gc.einsum("iij->ij", x), dims={"n": 3})(x=data)
    np.testing.assert_array_equal(result, np.einsum("iij->ij", data))


def test_compiled_with_gradients() -> None:
    """All at once, so that one program shows every composition to the back end."""
    inputs, given, results = [], {}, {}
    for number, (subscripts, *arrays) in enumerate(CASES):
        own = [gc.input(f"x{number}_{i}", x.shape, gc.float64) for i, x in enumerate(arrays)]
        inputs += own
        given |= {f"x{number}_{i}": x for i, x in enumerate(arrays)}
        results[f"{number}"] = gc.einsum(subscripts, *own)
    total = sum((gc.sum(r * r) for r in results.values()), start=gc.constant(0.0, gc.float64))
    structure = {"results": results, "slopes": gc.grad(total, inputs)}
    compiled = gc.compile(structure, threads=1)(**given)
    reference = values(structure, **given)
    for name, value in reference["results"].items():
        np.testing.assert_allclose(compiled["results"][name], value, 1e-11, 1e-12)
    for ours, theirs in zip(compiled["slopes"], reference["slopes"], strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-11, 1e-12)


def largest_intermediate(tensor: gc.Tensor) -> int:
    waiting, most = [tensor.node], 0
    while waiting:
        node = waiting.pop()
        most = max(most, node.type.size_elements)
        waiting += node.inputs
    return most


def test_a_chain_is_contracted_in_a_good_order() -> None:
    """From left to right the first product would have 400 x 400 elements."""
    x, y, z = (gc.input(n, s) for n, s in (("x", (400, 2)), ("y", (2, 400)), ("z", (400,))))
    assert largest_intermediate(gc.einsum("ij,jk,k->i", x, y, z)) == 800


def test_what_is_not_summed_is_multiplied_without_a_contraction() -> None:
    x = gc.input("x", (2, 3))
    assert "dot_general" not in str(gc.graph(gc.einsum("ij,ij->ij", x, x)))
    assert "dot_general" in str(gc.graph(gc.einsum("ij,ij->i", x, x)))


ERRORS = {
    "'ij' names 2 axes of f64[2]": ("ij", a(2)),
    "'j' has extents 3 and 4, and neither is 1": ("ij,jk", a(2, 3), a(4, 3)),
    "'...' has extents 2 and 3, and neither is 1": ("...,...", a(2), a(3)),
    "the result names 'i' twice": ("i->ii", a(2)),
    "the result names 'j', which no operand has": ("i->j", a(2)),
    "holds '1'; letters and '...' name axes": ("i1", a(2, 2)),
    "holds '.'": ("....i", a(2)),
    "'i' names axes of different extents": ("ii", a(2, 3)),
    "names 2 operands, 1 are given": ("i,j", a(2)),
    "subscripts are a string": (None,),
    "axes are integers >= 0": (a(2), [-1]),
}


@pytest.mark.parametrize("problem", ERRORS)
def test_errors(problem: str) -> None:
    with pytest.raises(gc.GradcError) as caught:
        gc.einsum(*ERRORS[problem])
    assert problem in str(caught.value) and caught.value.operation == "einsum"


TENSORDOT = [
    (a(2, 3, 4), a(3, 4, 5), 2),
    (a(2, 3), a(4), 0),
    (a(2, 3, 4), a(4, 3), ([1, 2], [1, 0])),
    (a(2, 3), a(3, 2), (0, 1)),
    (a(2, 3), a(3, 2), (-1, [0])),
    (a(2, 3), a(4, 5), ([], [])),
]


@pytest.mark.parametrize("case", range(len(TENSORDOT)))
def test_tensordot(case: int) -> None:
    x, y, axes = TENSORDOT[case]
    np.testing.assert_allclose(values(gc.tensordot(x, y, axes)), np.tensordot(x, y, axes), 1e-12)


@pytest.mark.parametrize("shapes", [((2, 1), (3, 4)), ((2, 3), (1, 4)), ((2, 1), (1, 4))])
def test_tensordot_stretches_extents_of_one(shapes: Any) -> None:
    """As PyTorch: the other operand is summed along the axis."""
    x, y = a(*shapes[0]), a(*shapes[1])
    inner = max(x.shape[1], y.shape[0])
    wide = np.broadcast_to(x, (2, inner)), np.broadcast_to(y, (inner, 4))
    np.testing.assert_allclose(values(gc.tensordot(x, y, 1)), wide[0] @ wide[1], 1e-12)
    check_slopes(lambda u, v: gc.tensordot(u, v, 1), [x, y])


def test_tensordot_errors() -> None:
    x, y = array(a(2, 3)), array(a(3, 2))
    for axes, problem in (
        (3, "3 axes of"), (-1, "-1 axes of"), (([0], [0, 1]), "1 axes of x for 2 axes of y"),
        (([0, 0], [0, 1]), "named twice"), (([0], [5]), "out of range"), ((1, 2, 3), "axes are"),
        (0.5, "axes is an integer"), ("ab", "axes is an integer"), (1.0, "axes is an integer"),
        (([0], [0]), "extents differ"),
    ):  # fmt: skip
        with pytest.raises(gc.GradcError, match=problem) as caught:
            gc.tensordot(x, y, axes)
        assert caught.value.operation == "tensordot"
