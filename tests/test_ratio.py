"""gc.ratio: metrics and losses that are quotients of sums, on every way to train and evaluate."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import Binary, files, needs_compiler

import gradc as gc
from gradc import nn, optim

CLASSES, SAMPLES = 3, 43
WEIGHTS = [0.2, 1.0, 3.0]


def program() -> Any:
    """Weighted classes, padding labelled -100, and recall: all of them divide by unequal sums."""
    x, label = gc.input("x", ("batch", 4)), gc.input("label", ("batch",), gc.int32)
    scores = nn.Linear(4, CLASSES)(x)
    positive = label == 1
    hit = gc.logical_and(positive, gc.argmax(scores, axis=1) == 1)
    return gc.training(
        gc.cross_entropy(scores, label, weight=WEIGHTS),
        optimizer=optim.SGD(lr=0.05, momentum=0.9),
        metrics={
            "mean score": gc.mean(scores),
            "recall": gc.ratio(gc.sum(gc.where(hit, 1.0, 0.0)), gc.sum(gc.where(positive, 1, 0))),
        },
        outputs={"scores": scores},
    )


def data(samples: int = SAMPLES) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    label = rng.integers(0, CLASSES, samples).astype(np.int32)
    label[rng.random(samples) < 0.2] = -100
    return {"x": rng.normal(size=(samples, 4)).astype(np.float32), "label": label}


def expected(scores: Any, label: Any) -> dict[str, float]:
    kept = label >= 0
    logs = scores - np.log(np.exp(scores.astype(np.float64)).sum(axis=1, keepdims=True))
    weights = np.array(WEIGHTS)[label[kept]]
    loss = -(weights * logs[kept, label[kept]]).sum() / weights.sum()
    positive = label == 1
    recall = (scores[positive].argmax(axis=1) == 1).mean()
    return {"loss": loss, "mean score": scores.mean(dtype=np.float64), "recall": recall}


@pytest.mark.parametrize("batch_size", [1, 7, 16, SAMPLES])
def test_evaluation_divides_sums_over_all_data(batch_size: int) -> None:
    trainer, given = program().compile(seed=1), data()
    found = trainer.evaluate(given, batch_size=batch_size)
    wanted = expected(trainer.predict(x=given["x"])["scores"], given["label"])
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    batches = [{k: v[i : i + batch_size] for k, v in given.items()} for i in range(0, 40, 8)]
    assert set(trainer.evaluate(batches)) == set(wanted)


def test_a_step_reports_its_own_batch() -> None:
    trainer, given = program().compile(seed=1), data()
    wanted = expected(trainer.predict(x=given["x"])["scores"], given["label"])
    found = trainer.step(given)
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_the_history_holds_quotients_of_whole_epochs() -> None:
    given = data()
    still = gc.training(
        gc.mse_loss(gc.parameter("w", ()) * gc.input("x", ("batch",)), gc.zeros(("batch",))),
        optimizer=optim.SGD(lr=0.0),
        metrics={
            "rate": gc.ratio(
                gc.sum(gc.input("x", ("batch",)) > 0), gc.sum(gc.input("n", ("batch",)))
            )
        },
    )
    x, n = given["x"][:, 0].copy(), np.arange(SAMPLES, dtype=np.float32)
    for batch_size, validated in ((5, False), (8, True), (SAMPLES, False)):
        trainer = still.compile()
        held_out = {"x": x[:9], "n": n[:9]} if validated else None
        history = trainer.fit(
            {"x": x, "n": n}, batch_size=batch_size, epochs=3, validation=held_out
        )
        assert history["rate"] == [pytest.approx((x > 0).sum() / n.sum())] * 3
        if validated:
            assert history["validation_rate"][-1] == pytest.approx((x[:9] > 0).sum() / n[:9].sum())


def test_a_run_resumed_inside_an_epoch(tmp_path: Path) -> None:
    given = data()
    whole = program().compile(seed=3)
    history = whole.fit(given, batch_size=8, epochs=4, checkpoint=tmp_path / "whole")
    stopped = program().compile(seed=3)
    runs = stopped.epochs(given, batch_size=8, epochs=4, checkpoint=tmp_path / "part")
    next(runs)
    next(runs)
    runs.close()
    resumed = program().compile(seed=9)
    again = resumed.fit(given, batch_size=8, epochs=4, checkpoint=tmp_path / "part", resume=True)
    assert again.to_dict() == history.to_dict()
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "part").read_bytes()


def test_a_batch_without_counted_labels_is_told() -> None:
    trainer, given = program().compile(seed=1), data()
    given["label"][8:16] = -100
    with pytest.raises(gc.NonFiniteError, match=r"the loss is nan at step 2 \(epoch 1\)"):
        trainer.fit(given, batch_size=8, shuffle=False, stop_on_nan=True)


def test_what_a_ratio_is_made_of() -> None:
    x = gc.input("x", (3,))
    with pytest.raises(gc.ShapeError, match=r"ratio: the denominator is f32\[3\], not a scalar"):
        gc.ratio(gc.sum(x), x)
    f = gc.compile(gc.ratio(gc.sum(x), 4) + 1.0)
    assert f(x=np.array([1.0, 2.0, 3.0])) == 2.5
    counts = gc.compile(gc.ratio(gc.sum(x > 1.0), gc.sum(x > 0.0)))
    assert counts(x=np.array([1.0, 2.0, -3.0])) == 0.5


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Binary:
    made, path = program(), tmp_path_factory.mktemp("ratio") / "weighted"
    made.build(path, batch=8)
    return Binary(made, path, 8)


@needs_compiler
def test_a_binary_writes_what_fit_does(executable: Binary, tmp_path: Path) -> None:
    given = data()
    arguments = [*files(tmp_path, given), *files(tmp_path, given, "--validate")]
    log, checkpoint = tmp_path / "log.csv", tmp_path / "run"
    executable.run(
        *arguments, "--epochs", 3, "--checkpoint", checkpoint, "--metrics", log, "--every", 4,
        "--quiet",
    )  # fmt: skip
    trainer = executable.trainer()
    history = trainer.fit(
        given, batch_size=8, epochs=3, validation=given, checkpoint=tmp_path / "own",
        checkpoint_every=4, metrics_file=tmp_path / "own.csv", progress=False,
    )  # fmt: skip
    assert checkpoint.read_bytes() == (tmp_path / "own").read_bytes()
    assert log.read_text() == (tmp_path / "own.csv").read_text()
    assert log.read_text().splitlines()[0] == "epoch,step,split,loss,mean score,recall"
    assert history["validation_recall"][-1] == trainer.evaluate(given, batch_size=8)["recall"]


@needs_compiler
def test_a_binary_tells_of_a_loss_divided_by_nothing(executable: Binary, tmp_path: Path) -> None:
    given = data()
    given["label"][8:16] = -100
    message = executable.refused(*files(tmp_path, given), "--no-shuffle", "--stop-on-nan", status=1)
    assert message.startswith("the loss is nan at step 2 (epoch 1)")


@needs_compiler
def test_a_library_reports_the_columns_alone(tmp_path: Path) -> None:
    made = program()
    path, header = made.build(tmp_path / "libweighted.so", kind="library", batch=8)
    assert "#define GRADC_WEIGHTED_RESULTS 3" in header.read_text()
    library, session, results = ctypes.CDLL(str(path)), ctypes.c_void_p(), np.zeros(4)
    library.gradc_weighted_error.restype = ctypes.c_char_p
    assert not library.gradc_weighted_init(
        ctypes.byref(session), ctypes.c_int64(1), ctypes.c_int64(1)
    )
    given, names = data(), [field.name for field in made.inputs]

    def call(name: str, rows: int) -> list[float]:
        pointers = [ctypes.c_void_p(given[n].ctypes.data) for n in names]
        target = ctypes.c_void_p(results.ctypes.data)
        function = getattr(library, f"gradc_weighted_{name}")
        status = function(session, ctypes.c_int64(rows), *pointers, target)
        assert status == 0, library.gradc_weighted_error(session)
        assert results[3] == 0
        return [float(value) for value in results[:3]]

    trainer = made.compile(seed=1)
    assert call("evaluate", SAMPLES) == [*trainer.evaluate(given, batch_size=8).values()]
    batch = {name: value[:8] for name, value in given.items()}
    trainer.step(batch)
    assert call("step", 8) == [*made.compile(seed=1).step(batch).values()]
    library.gradc_weighted_free(session)
