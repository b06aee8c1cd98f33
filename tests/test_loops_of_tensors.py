"""gc.scan, map, while_loop and cond as a user writes them: values, slopes, random numbers, errors.

Values are those of the reference evaluator; test_compiled_regions.py compiles the same programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import values
from support_loops import GIVEN, H, U, W, X, near, program

import gradc as gc
from gradc import nn, optim
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import all_nodes

rng = np.random.default_rng(1)


def cell(h: gc.Tensor, x: gc.Tensor) -> gc.Tensor:
    return gc.tanh(x @ W + h @ U)


def unrolled(reverse: bool = False) -> tuple[gc.Tensor, gc.Tensor]:
    """The loop as Python writes it."""
    h, ys = H, []
    for t in reversed(range(5)) if reverse else range(5):
        h = cell(h, X[t])
        ys.append(h * 2.0)
    return h, gc.stack(ys[::-1] if reverse else ys)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_the_loop(reverse: bool) -> None:
    def step(h: gc.Tensor, x: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        h = cell(h, x)
        return h, h * 2.0

    scanned, written = gc.scan(step, H, X, reverse=reverse), unrolled(reverse)
    for found, expected in zip(scanned, written, strict=True):
        near(values(found, **GIVEN), values(expected, **GIVEN), rtol=1e-14)
    losses = [(h * h).sum() + gc.sin(ys).sum() for h, ys in (scanned, written)]
    wrt = {"x": X, "h": H, "w": W, "u": U}
    found, expected = (values(gc.grad(loss, wrt), **GIVEN) for loss in losses)
    for name, value in expected.items():
        near(found[name], value, rtol=1e-12, atol=1e-13)
    pushed = [values(gc.jvp(loss, [W, X], [W, X]), **GIVEN) for loss in losses]
    near(*pushed, rtol=1e-12)
    twice = [values(gc.hvp(loss, [W, H], [W, H]), **GIVEN) for loss in losses]
    for found, expected in zip(*twice, strict=True):
        near(found, expected, rtol=1e-11, atol=1e-12)


def test_structures_of_carries_and_elements() -> None:
    def step(carry: Any, x: Any) -> Any:
        low, (count,) = carry["low"], carry["rest"]
        assert x["b"].shape == () and x["a"].shape == (2, 3)
        low = gc.minimum(low, x["a"].min() + x["b"])
        return {"low": low, "rest": [count + 1]}, (low, None, {"n": count})

    b = np.arange(5.0)
    init = {"low": gc.constant(9.0, gc.float64), "rest": [0]}
    last, ys = gc.scan(step, init, {"a": X, "b": b})
    assert isinstance(last["rest"], list) and ys[1] is None and isinstance(ys, tuple)
    expected = np.minimum.accumulate(GIVEN["x"].min(axis=(1, 2)) + b)
    near(values(ys[0], **GIVEN), expected)
    near(values(ys[2]["n"], **GIVEN), np.arange(5))
    near(values(last["low"], **GIVEN), expected[-1])
    assert values(last["rest"][0], **GIVEN) == 5


def test_a_loop_without_a_sequence_has_a_length() -> None:
    powers = gc.scan(lambda c, _: (c * 2, c), 1, length=6)
    assert values(powers[0]) == 64
    near(values(powers[1]), [1, 2, 4, 8, 16, 32])
    none = gc.scan(lambda c, x: (c + x, x), 1.0, np.zeros((0,), np.float32))
    assert values(none[0]) == 1.0 and values(none[1]).shape == (0,)
    one = gc.scan(lambda c, x: (c + x, c), 1.0, np.full(1, 3, np.float32))
    assert values(one[0]) == 4.0 and values(one[1]) == [1.0]


def test_a_loop_over_a_named_dimension() -> None:
    x = gc.input("x", ("time", "batch"), gc.float64)
    last, sums = gc.scan(lambda c, x: (c + x, c + x), gc.zeros(("batch",), gc.float64), x)
    assert sums.shape == ("time", "batch")
    given = rng.standard_normal((4, 3))
    graph = program({"y": sums, "g": gc.grad((sums * last).sum(), x)}).graph
    found, _ = evaluate(graph, {"x": given})
    near(found["y"], given.cumsum(axis=0), rtol=1e-14)
    total = given.cumsum(axis=0)
    slope = total[-1] * np.arange(4, 0, -1)[:, None] + total.sum(axis=0)
    near(found["g"], slope, rtol=1e-13)
    counted = gc.scan(lambda c, _: (c + 1.0, None), 0.0, length=x.shape[0])[0]
    assert evaluate(program({"n": counted + 0.0 * sums.sum()}).graph, {"x": given})[0]["n"] == 4


def test_map_is_fn_of_every_element() -> None:
    table = gc.map(lambda pair: {"y": pair[0] @ U, "z": pair[1] + 1}, (H, np.arange(2)))
    near(values(table["y"], **GIVEN), GIVEN["h"] @ GIVEN["u"], rtol=1e-14)
    near(values(table["z"], **GIVEN), [1, 2])
    slope = gc.grad(gc.sum(gc.map(lambda row: gc.sin(row @ U), H)), U)
    near(values(slope, **GIVEN), values(gc.grad(gc.sum(gc.sin(H @ U)), U), **GIVEN), rtol=1e-12)


def test_loops_in_loops() -> None:
    def row(total: gc.Tensor, x: gc.Tensor) -> Any:
        inner, _ = gc.scan(lambda c, e: (gc.sin(c + e @ W), None), gc.zeros((4,), gc.float64), x)
        return total + inner, gc.cond(inner.sum() > 0.0, lambda: inner * total, lambda: inner)

    total, kept = gc.scan(row, gc.ones((4,), gc.float64), X)
    after, rows = np.ones(4), []
    for x in GIVEN["x"]:
        c = np.zeros(4)
        for e in x:
            c = np.sin(c + e @ GIVEN["w"])
        rows.append(c * after if c.sum() > 0 else c)
        after = after + c
    near(values(total, **GIVEN), after, rtol=1e-14)
    near(values(kept, **GIVEN), rows, rtol=1e-14)
    assert_slope((total * kept.sum(axis=0)).sum(), "w", W)


def assert_slope(loss: gc.Tensor, name: str, wrt: gc.Tensor) -> None:
    """Against central differences along a random direction."""
    d = rng.standard_normal(GIVEN[name].shape)
    h = 1e-6

    def at(t: float) -> float:
        return float(values(loss, **{**GIVEN, name: GIVEN[name] + t * d}))

    found = float((values(gc.grad(loss, wrt), **GIVEN) * d).sum())
    slope = (at(h) - at(-h)) / (2 * h)
    assert abs(found - slope) <= 1e-7 * (1 + abs(slope))


def test_a_while_runs_as_long_as_its_condition_holds() -> None:
    n = gc.input("n", (), gc.int64)
    steps, _ = gc.while_loop(
        lambda c: c[1] > 1,
        lambda c: (c[0] + 1, gc.where(c[1] % 2 == 0, c[1] // 2, 3 * c[1] + 1)),
        (gc.constant(0, gc.int64), n),
    )
    assert [int(values(steps, n=k)) for k in (1, 2, 6, 27)] == [0, 1, 8, 111]
    bounded = gc.while_loop(lambda c: c < 100, lambda c: c * 2, n, bound=3)
    assert [int(values(bounded, n=k)) for k in (1, 50, 100)] == [8, 100, 100]


def test_newtons_method_has_slopes() -> None:
    """The root of y * y = x, whose slope is 1 / (2 y), by reverse and by forward mode."""
    x = gc.input("x", (), gc.float64)
    for bound in (20, None):
        y = gc.while_loop(
            lambda y: abs(y * y - x) > 1e-12, lambda y: (y + x / y) / 2.0, x, bound=bound
        )
        near(values(y, x=2.0), np.sqrt(2.0), rtol=1e-14)
        near(
            values(gc.jvp(y, x, gc.constant(1.0, gc.float64)), x=2.0), 0.5 / np.sqrt(2), rtol=1e-12
        )
    with pytest.raises(gc.GradientError) as caught:
        gc.grad(y, x)
    text = str(caught.value)
    assert text.startswith("grad: the reverse of a while loop without a bound is not defined")
    assert "while_loop" in text and "hint: give while_loop a bound=, or use jvp" in text


def test_a_loop_without_a_bound_is_not_trained() -> None:
    """The error comes of gc.training, where compile could only say that a node was left over."""
    w = gc.parameter("w", (), init=gc.init.ones)
    y = gc.while_loop(lambda y: y < 10.0, lambda y: y + w, 0.0)
    with pytest.raises(gc.GradientError) as caught:
        gc.training(y * y, optimizer=optim.SGD(lr=0.1))
    text = str(caught.value)
    assert text.startswith("training: the reverse of a while loop without a bound is not defined")
    assert "y = gc.while_loop(" in text and "hint: give while_loop a bound=" in text


@pytest.mark.parametrize("around", ["hvp", "hessian", "scan", "cond"])
def test_where_a_loop_without_a_bound_needs_its_reverse(around: str) -> None:
    """A second derivative, and forward mode in a scan or a branch: the loop is named, not a node
    that stands for what is missing."""
    x = gc.input("x", (), gc.float64)

    def doubled(start: gc.Tensor) -> gc.Tensor:
        found: gc.Tensor = gc.while_loop(lambda y: y < 10.0, lambda y: y * x, start)
        return found

    asked: dict[str, Callable[[], Any]] = {
        "hvp": lambda: gc.hvp(doubled(x), x, 1.0),
        "hessian": lambda: gc.hessian(doubled(x), x),
        "scan": lambda: gc.jvp(gc.scan(lambda c, _: (doubled(c), None), x, length=2)[0], x, 1.0),
        "cond": lambda: gc.jvp(gc.cond(x > 0.0, lambda: doubled(x), lambda: x), x, 1.0),
    }
    with pytest.raises(gc.GradientError) as caught:
        asked[around]()
    text = str(caught.value)
    assert "the reverse of a while loop without a bound is not defined" in text
    assert "gc.while_loop(lambda y: y < 10.0" in text and "while_pullback" not in text
    assert text.endswith("hint: give while_loop a bound=")


def test_cond_takes_one_of_two() -> None:
    x = gc.input("x", (3,), gc.float64)

    def branches(x: gc.Tensor) -> gc.Tensor:
        return gc.cond(x.sum() > 0.0, lambda v: gc.sqrt(v), lambda v: gc.exp(v) * 2.0, x)

    y = branches(x)
    for given in (np.array([1.0, 2.0, 3.0]), np.array([-1.0, -2.0, -3.0])):
        taken = given.sum() > 0
        near(values(y, x=given), np.sqrt(given) if taken else 2 * np.exp(given), rtol=1e-15)
        slope = 0.5 / np.sqrt(given) if taken else 2 * np.exp(given)
        near(values(gc.grad(y.sum(), x), x=given), slope, rtol=1e-14)
        second = -0.25 * given**-1.5 if taken else 2 * np.exp(given)
        near(values(gc.hvp(y.sum(), x, np.ones(3)), x=given), second, rtol=1e-13)
    structures = gc.cond(True, lambda: {"a": x, "b": (1, 2.0)}, lambda: {"a": x, "b": (3, 4.0)})
    assert values(structures["b"][0], x=np.ones(3)) == 1


def test_what_a_branch_reads_of_outside_is_computed_in_it() -> None:
    """The large product is part of the branch: it is not done where the branch is not taken."""
    p = gc.input("p", (), gc.bool)
    text = str(program(gc.cond(p, lambda: (H @ U).sum(), lambda: gc.constant(0.0, gc.float64))))
    outside = [line for line in text.splitlines() if line.startswith("  %")]
    assert outside[0].startswith("  %0 = cond %p, %h, %u {otherwise=graph")
    assert not any(" = dot_general" in line for line in outside)
    assert text.count("dot_general") == 1


# -- random numbers and state ---------------------------------------------------------------


def test_every_iteration_draws_numbers_of_its_own() -> None:
    """Those of one draw with a leading axis: iteration t has its row t, in either direction."""

    def step(c: gc.Tensor, _: Any) -> Any:
        return c, gc.random.bits((2, 3))

    rows = {r: gc.scan(step, 0.0, length=4, reverse=r)[1] for r in (False, True)}
    whole = gc.random.bits((4, 2, 3))
    expected = values(whole, seed=5, step=7)
    assert len(np.unique(expected)) == 24
    for drawn in rows.values():
        np.testing.assert_array_equal(values(drawn, seed=5, step=7), expected)
    both = values([rows[False], whole], seed=5, step=7)
    assert not np.array_equal(both[0], both[1])  # two calls draw from two streams


def test_loops_in_loops_draw_numbers_of_their_own() -> None:
    def outer(c: gc.Tensor, _: Any) -> Any:
        inner = gc.scan(lambda d, _: (d, gc.random.bits(())), 0.0, length=3)[1]
        chosen = gc.cond(c > 0.0, lambda: gc.random.bits(()), lambda: gc.random.bits(()))
        _, last = gc.while_loop(
            lambda s: s[0] < 2, lambda s: (s[0] + 1, gc.random.bits(())), (0, chosen)
        )
        return c + 1.0, (inner, chosen, last)

    inner, chosen, last = gc.scan(outer, 0.0, length=4)[1]
    found = [values(part, seed=1) for part in (inner, chosen, last)]
    assert found[0].shape == (4, 3)
    everything = np.concatenate([part.reshape(-1) for part in found])
    assert len(np.unique(everything)) == everything.size
    whole = values(gc.random.bits((12,)), seed=1)
    np.testing.assert_array_equal(found[0].reshape(-1), whole)


def test_the_gradient_sees_the_numbers_that_were_drawn() -> None:
    """A mask in a loop; its slope is the mask."""
    x = gc.input("x", (6, 8))

    def step(c: gc.Tensor, row: gc.Tensor) -> Any:
        mask = gc.random.bernoulli(0.5, (8,)).astype(gc.float32)
        return c + (row * mask).sum(), mask

    total, masks = gc.scan(step, 0.0, x)
    slope, mask = values([gc.grad(total, x), masks], seed=3, x=np.ones((6, 8)))
    np.testing.assert_array_equal(slope, mask)
    assert 0 < mask.mean() < 1


def test_the_mode_is_known_in_loops() -> None:
    drop = nn.Dropout(0.5)
    _, ys = gc.scan(lambda c, x: (c, drop(x)), 0.0, gc.input("x", (3, 4)))
    graph = program(ys).graph
    state = {"gradc.seed": np.asarray(np.int64(0)), "gradc.step": np.asarray(np.int64(0))}
    given = {"x": np.ones((3, 4), np.float32)}
    rows = {mode: evaluate(graph, given, state, training=mode)[0]["0"] for mode in (False, True)}
    np.testing.assert_array_equal(rows[False], given["x"])
    assert set(np.unique(rows[True])) == {0.0, 2.0}


def test_parameters_of_layers_are_captured() -> None:
    layer = nn.Linear(3, 4)
    _, ys = gc.scan(lambda c, x: (c, layer(x)), 0.0, gc.input("x", (5, 2, 3)))
    graph = program({"y": ys, "g": gc.grad(ys.sum(), list(layer.parameters()))}).graph
    assert [str(node.attributes["name"]) for node in graph.states] == ["weight", "bias"]
    assert not any(node.op.name == "state" for node in all_nodes(graph) if node not in graph.states)


# -- errors ---------------------------------------------------------------------------------


def _keep(c: Any, x: Any) -> Any:
    return c, x


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "the carry's shape": (
        lambda: gc.scan(lambda c, x: (c + x, None), gc.zeros((3,)), gc.zeros((2, 4, 3))),
        gc.ShapeError,
        "scan: the carry changes its type\n  it began as f32[3]\n  the function returns f32[4, 3]",
    ),
    "the carry's dtype": (
        lambda: gc.scan(lambda c, x: ({"n": c["n"] + 0.5}, None), {"n": 1}, length=2),
        gc.DTypeError,
        "scan: the carry 'n' changes its type\n  it began as i64[]\n  the function returns f32[]",
    ),
    "the carry's structure": (
        lambda: gc.scan(lambda c, x: ((c, c), None), 1.0, length=2),
        gc.ArgumentError,
        "scan: the carry changes its structure\n  it began with one tensor\n"
        "  the function returns 0, 1",
    ),
    "no pair": (
        lambda: gc.scan(lambda c, x: c, 1.0, length=2),
        gc.ArgumentError,
        "scan: the function returns a Tensor, not a pair (carry, y)",
    ),
    "a list": (
        lambda: gc.scan(lambda c, x: [c, x, x], 1.0, length=2),
        gc.ArgumentError,
        "scan: the function returns a list of 3, not a pair (carry, y)",
    ),
    "neither xs nor length": (
        lambda: gc.scan(_keep, 1.0),
        gc.ArgumentError,
        "scan: there is neither xs nor length",
    ),
    "another length": (
        lambda: gc.scan(_keep, 1.0, gc.zeros((3,)), length=4),
        gc.ShapeError,
        "scan: length is 4, the leading extent of xs 3",
    ),
    "several lengths": (
        lambda: gc.scan(_keep, 1.0, (gc.zeros((3,)), gc.zeros((4, 1)))),
        gc.ShapeError,
        "scan: xs differ in the leading extent: f32[3] and f32[4, 1]",
    ),
    "no axis": (
        lambda: gc.scan(_keep, 1.0, 3.0),
        gc.ShapeError,
        "scan: xs holds f32[], which has no leading axis",
    ),
    "a length that is none": (
        lambda: gc.scan(_keep, 1.0, length=-1),
        gc.ShapeError,
        "scan: extent -1 is negative",
    ),
    "no tensor": (
        lambda: gc.scan(_keep, "a", length=1),
        gc.ArgumentError,
        "scan: 'a' is no tensor",
    ),
    "nothing to map": (
        lambda: gc.map(lambda x: x, []),
        gc.ArgumentError,
        "map: xs holds no tensor",
    ),
    "numbers to map": (
        lambda: gc.map(lambda x: x, [1, 2]),
        gc.ShapeError,
        "map: xs holds i64[], which has no leading axis",
    ),
    "an error inside": (
        lambda: gc.scan(lambda c, x: (c @ gc.zeros((5, 5)), None), gc.zeros((3,)), length=2),
        gc.ShapeError,
        "matmul: inner extents differ: lhs f32[3], rhs f32[5, 5]",
    ),
    "an update": (
        lambda: gc.scan(
            lambda c, x: (gc.update(gc.state("s", ()), c), None), gc.zeros(()), length=2
        ),
        gc.ArgumentError,
        "update: a state is not updated in a loop or a branch\n  here, in the function of scan",
    ),
    "a layer that updates": (
        lambda: gc.scan(lambda c, x: (nn.BatchNorm1d(3)(c), None), gc.zeros((2, 3)), length=2),
        gc.ArgumentError,
        "batch_norm: what a layer updates is not updated in a loop or a branch\n"
        "  here, in the function of scan",
    ),
    "a condition that is none": (
        lambda: gc.while_loop(lambda c: c, lambda c: c, 1.0),
        gc.DTypeError,
        "while_loop: the condition is f32[], not bool[]",
    ),
    "a condition per element": (
        lambda: gc.while_loop(lambda c: c > 0, lambda c: c, gc.zeros((2,))),
        gc.ShapeError,
        "while_loop: the condition is bool[2], not bool[]",
    ),
    "a bound that is none": (
        lambda: gc.while_loop(lambda c: c > 0, lambda c: c, 1.0, bound=-2),
        gc.ArgumentError,
        "while_loop: bound is ",
    ),
    "nothing carried": (
        lambda: gc.while_loop(lambda c: True, lambda c: c, ()),
        gc.ArgumentError,
        "while_loop: the carry holds no tensor, so that nothing can change",
    ),
    "a predicate per element": (
        lambda: gc.cond(gc.zeros((2,)) > 0, lambda: 1.0, lambda: 2.0),
        gc.ShapeError,
        "cond: the predicate is bool[2], not bool[]",
    ),
    "branches of two structures": (
        lambda: gc.cond(True, lambda: 1.0, lambda: (2.0, 3.0)),
        gc.ArgumentError,
        "cond: the functions return different structures\n  true_fn returns one tensor\n"
        "  false_fn returns 0, 1",
    ),
    "branches of two types": (
        lambda: gc.cond(True, lambda: (1.0, 2.0), lambda: (1.0, 2)),
        gc.DTypeError,
        "cond: the results at '1' differ in type\n  true_fn returns f32[]\n"
        "  false_fn returns i64[]",
    ),
    "branches of nothing": (
        lambda: gc.cond(True, lambda: None, lambda: None),
        gc.ArgumentError,
        "cond: the functions return no tensor",
    ),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_name_the_facts_and_the_line(what: str) -> None:
    call, kind, text = ERRORS[what]
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value).startswith(text), str(caught.value)
    assert "test_loops_of_tensors.py" in str(caught.value)


def test_a_tensor_of_a_loop_does_not_lead_out() -> None:
    kept = []

    def step(c: gc.Tensor, _: Any) -> Any:
        kept.append(c * 2.0)
        return c + 1.0, None

    gc.scan(step, 0.0, length=2)
    with pytest.raises(gc.ArgumentError) as caught:
        program(kept[0])
    text = str(caught.value)
    assert text.startswith("graph: a tensor of the function of scan is read outside of it")
    assert "gc.scan(step, 0.0, length=2)" in text
    assert text.endswith("hint: return it from the function")


def test_a_region_is_closed_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        gc.scan(lambda c, x: 1 // 0, 0.0, length=2)
    state = gc.state("s", ())
    gc.update(state, state + 1.0)


def test_gradients_inside_of_a_loop() -> None:
    """Steps of gradient descent on a captured target, and the slope of what they lead to."""
    target = gc.input("h", (2, 4), gc.float64)

    def step(x: gc.Tensor, _: Any) -> Any:
        loss = ((x - target) ** 2).sum()
        return x - 0.25 * gc.grad(loss, x), loss

    last, losses = gc.scan(step, gc.zeros((2, 4), gc.float64), length=3)
    near(values(last, **GIVEN), GIVEN["h"] * (1 - 0.5**3), rtol=1e-14)
    near(values(losses, **GIVEN), (GIVEN["h"] ** 2).sum() * 0.25 ** np.arange(3), rtol=1e-13)
    near(values(gc.grad(last.sum(), target), **GIVEN), np.full((2, 4), 1 - 0.5**3), rtol=1e-14)
