"""The benchmarks' own rules: what is listed, and which figures are compared."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses ask for it
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@pytest.mark.parametrize("option", ["--help", "--list"])
def test_run_all_tells_and_runs_nothing(option: str) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "run_all.py", option], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0 and "===" not in done.stdout
    if option == "--list":
        listed = {line.split()[0] for line in done.stdout.splitlines()}
        assert listed == {p.stem.removeprefix("bench_") for p in FOLDER.glob("bench_*.py")}


def test_an_unknown_benchmark_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / "run_all.py", "speed"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2 and "no benchmark 'speed'; there are aot, compile" in done.stderr


@pytest.mark.parametrize("script", ["gpu.py", "gpu_kernels.py"])
def test_a_benchmark_of_gpus_says_that_there_is_none(script: str) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / script], capture_output=True, text=True, timeout=60,
        env={**os.environ, "GRADC_CUDA_DRIVER": "/nowhere/libcuda.so.1"},
    )  # fmt: skip
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"{script} measures on an NVIDIA GPU, and there is none: ")


def test_kernels_for_gpus_are_tried_without_one() -> None:
    words = ["--target", "cpu", "--products", "32", "--rows", "8", "--members", "2"]
    words += ["--rounds", "1", "--seconds", "0.001"]
    done = subprocess.run(
        [sys.executable, FOLDER / "gpu_kernels.py", *words], capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("note: ")]
    heads = ("products of bf", "32 x 32", "memory", "copy", "scale", "softmax", "layer", "column")
    expected = (*heads, "trainings", "1 ", "2 ")
    found = [line for line in lines if not line.startswith("--")]
    assert len(found) == len(expected)
    assert all(map(str.startswith, found, expected)), done.stdout
    assert "nan" not in done.stdout


def test_figures_of_one_class_are_compared() -> None:
    barrier, common = loaded("barrier"), loaded("common")
    classes = [barrier.class_of(2, cost) for cost in (52.0, 115.0, 350.0, 9000.0)]
    assert classes == ["one core", "one chiplet", "far apart", "busy"]
    assert barrier.class_of(1, 9000.0) == ""
    costs = [{"class": name} for name in ("", *classes)]
    alike = [[common.are_comparable(a, b) for b in costs] for a in costs]
    same = [[n == m and n != 4 for m in range(5)] for n in range(5)]
    assert alike == same
    assert not common.are_comparable({"error": "no pool"}, costs[0])


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder's modules can be imported by their names, and are forgotten behind the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(FOLDER)):
            del sys.modules[name]


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_work_and_parameters_of_known_models(benchmarks: None) -> None:
    """The counts are those of the papers, or summed by hand."""
    known = module("workloads").WORKLOADS
    counts = {
        name: sum(value.size for value in known[name].parameters().values())
        for name in ("xor 2-2-1", "linear regression 10-1", "lenet", "resnet20", "gpt of 4 blocks")
    }
    # 0.27 million (He et al. 2015, table 6) and shortcuts of 16 x 32 + 32 x 64 + norms of 96
    assert counts == {
        "xor 2-2-1": 9,
        "linear regression 10-1": 11,
        "lenet": 44_426,
        "resnet20": 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64),
        "gpt of 4 blocks": 4 * (12 * 128**2 + 13 * 128) + 128 * (256 + 128 + 2 + 256) + 256,
    }
    assert known["linear regression 10-1"].flops_per_step == 4 * 1000 * 10
    first, second = 24 * 24 * 6 * 25, 8 * 8 * 16 * 150
    dense = 256 * 120 + 120 * 84 + 84 * 10
    assert known["lenet"].flops_per_step == 64 * (4 * first + 6 * (second + dense))
    block = 12 * 128**2 + 2 * 128 * 128  # of one position, masked scores counted too
    assert known["gpt of 4 blocks"].flops_per_step == 6 * 8 * 128 * (4 * block + 128 * 256)
    # Of every step's gates; the data needs no gradient, but the state that is carried does.
    gates = 4 * 128 * (3 * (16 + 128) - 16)
    lstm = known["lstm 128 of 64 steps"]
    assert lstm.flops_per_step == 2 * 32 * (64 * gates + 3 * 128 * 10)
    assert {n: v.shape for n, v in lstm.parameters().items() if "weight" in n} == {
        "0.cell.weight_ih_l0": (512, 16),
        "0.cell.weight_hh_l0": (512, 128),
        "1.weight": (10, 128),
    }


def test_every_workload_says_one_thing(benchmarks: None) -> None:
    """Shapes of data, parameters and layers fit together; batches are full."""
    layers, workloads = module("layers"), module("workloads")
    for workload in [*workloads.WORKLOADS.values(), *workloads.CONVOLUTIONS.values()]:
        data = workload.data()
        assert data["x"].shape == (workload.samples, *workload.shape), workload.name
        assert workload.samples % workload.batch == 0
        assert ("y" in data) == (workload.loss != "reconstruction")
        shape = workload.shape
        for _, layer, given in layers.walk(workload.layers, workload.shape):
            if isinstance(layer, layers.Linear):
                positions = workload.shape if workload.is_text else ()
                assert given == (*positions, layer.inputs), workload.name
            if isinstance(layer, layers.Conv | layers.BatchNorm):
                assert given[0] == getattr(layer, "inputs", getattr(layer, "channels", 0))
        shape = layers.shape_after(workload.layers, workload.shape)
        assert shape == (data["y"].shape[1:] if workload.loss == "mse" else shape)
    tiny = {name for name, w in workloads.WORKLOADS.items() if w.is_tiny}
    assert tiny == {"xor 2-2-1", "xor 2-8-1"}


@pytest.mark.parametrize(
    "name",
    [
        "xor 2-8-1", "linear regression 10-1", "autoencoder 784-128-32-128-784", "lenet",
        "lstm 128 of 64 steps", "gru 128 of 64 steps",
    ],
)  # fmt: skip
def test_a_workload_trains_in_gradc_from_its_first_values(name: str, benchmarks: None) -> None:
    """Every kind of loss, optimizer and data; the first loss is that of the given parameters."""
    workload = module("workloads").WORKLOADS[name]
    candidates = module("candidates")
    runner = candidates.make("gradc", candidates.load("gradc"), workload, 1)
    given = workload.parameters()
    assert set(runner.trainer.parameters) == set(given)
    for parameter, value in given.items():
        np.testing.assert_array_equal(runner.trainer.parameters[parameter], value)
    losses = runner.losses(2)
    runner.epochs(2)
    assert runner.losses(1)[0] < losses[0]


def test_resnet_has_a_program_in_gradc(benchmarks: None) -> None:
    workload = module("workloads").WORKLOADS["resnet20"]
    program = module("train_gradc").build(workload)
    trained = [s for s in program.graphs["run"].states if s.attributes["trained"]]
    types = {str(s.attributes["name"]): s.type.shape for s in trained}
    assert types == {name: value.shape for name, value in workload.parameters().items()}


def test_who_computes_something_else_gets_no_ratio(benchmarks: None) -> None:
    agreeing = module("bench_training").agreeing
    good = [0.7, 0.6, 0.5, 0.4]
    assert agreeing({"gradc": good, "torch": [v * 1.0005 for v in good]}) == {}
    assert list(agreeing({"gradc": [0.7, 0.6, 0.5, 0.41], "torch": good})) == ["gradc"]
    assert list(agreeing({"gradc": good, "jax-jit": [0.7, math.nan, 0.5, 0.4]})) == ["jax-jit"]
    assert agreeing({}) == {}


def row_of(**seconds: float) -> dict[str, Any]:
    def facts(median: float) -> dict[str, Any]:
        spread = {"best": median, "median": median, "worst": median, "rounds": 1}
        return {"seconds": spread, "first step seconds": 1.0, "peak MiB": 99.0}

    return {
        "workload": "lenet",
        "threads": 2,
        "batch": 64,
        "flops": 2e9,
        "peak gflops": 100.0,
        "barrier ns": 110.0,
        "barrier class": "one chiplet",
        "candidates": {name.replace("_", "-"): facts(s) for name, s in seconds.items()},
        "failed": {"torch-compile": "it has no compiler"},
    }


def test_ratios_are_to_the_fastest_rival(benchmarks: None) -> None:
    results = module("training_results")
    row = results.with_ratios(row_of(gradc=0.04, torch=0.1, jax_jit=0.08))
    assert row["best rival"] == "jax-jit" and row["gradc / best rival"] == 0.5
    assert row["floor seconds"] == 0.02 and row["candidates"]["gradc"]["part of peak"] == 0.5
    assert row["candidates"]["torch"]["time / gradc"] == 2.5
    for alone in ({"gradc": 0.04}, {"torch": 0.1}):  # no rival; gradc failed
        assert results.with_ratios(row_of(**alone))["gradc / best rival"] is None
    text = results.details(row)
    assert "gradc / jax-jit: 0.50" in text and "torch-compile: it has no compiler" in text
    line = results.summary([row]).splitlines()[2].split()
    assert line == ["lenet", "64", "2", "40", "jax-jit", "80", "0.50", "20", "50%", "110"]


def test_rounds_of_several_classes_are_marked(benchmarks: None) -> None:
    results = module("training_results")
    near, far, busy = ({"class": c} for c in ("one chiplet", "far apart", "busy"))
    assert results.barrier_class([near, near]) == "one chiplet"
    assert results.barrier_class([{"class": ""}] * 3) == ""
    assert results.barrier_class([near, far]) == results.barrier_class([busy] * 2) == results.MOVED
    row = results.with_ratios(row_of(gradc=0.04, torch=0.1)) | {"barrier class": results.MOVED}
    assert "0.40 moved" in results.details(row) and results.NOTE_MOVED in results.summary([row])


def test_results_go_on_where_a_run_stopped(benchmarks: None, tmp_path: Path) -> None:
    """A row is kept for equal conditions on an equal machine; other machines' rows are dropped."""
    results, path = module("training_results"), tmp_path / "training.json"
    facts = {"cpu": "one", "load average": 0.1}
    row = results.with_ratios(row_of(gradc=0.04, torch=0.1)) | {"revision": "a"}
    first = results.Results(path, facts)
    first.put(row, ["xor 2-2-1", "lenet"])
    first.put(row | {"workload": "xor 2-2-1", "threads": 1}, ["xor 2-2-1", "lenet"])
    again = results.Results(path, facts | {"load average": 3.0})
    assert list(again.rows) == [("xor 2-2-1", 1), ("lenet", 2)]
    conditions = {"workload": "lenet", "threads": 2, "revision": "a"}
    assert again.has(conditions) and not again.has(conditions | {"revision": "b"})
    assert not again.has(conditions | {"threads": 1})
    assert results.Results(path, facts | {"cpu": "another"}).rows == {}
    text = path.with_suffix(".txt").read_text()
    assert text.index("xor 2-2-1, batch 64") < text.index("lenet, batch 64")


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_results_make_no_new_revision(benchmarks: None, tmp_path: Path) -> None:
    revision = module("training_results").revision
    assert revision(tmp_path) == ""
    for name in ("compiler/a.py", "benchmarks/b.py", "benchmarks/results/c.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    first = revision(tmp_path)
    (tmp_path / "benchmarks/results/c.json").write_text("2")
    assert first and revision(tmp_path) == first
    (tmp_path / "benchmarks/b.py").write_text("2")
    assert revision(tmp_path) == f"{first} and changes"


def test_the_cold_first_step_is_that_of_the_run_that_filled_the_cache(
    benchmarks: None, tmp_path: Path
) -> None:
    cold = module("bench_training").cold_first_step
    assert cold(tmp_path / "new", {"first step seconds": 20.0}) == {"first step seconds": 20.0}
    assert cold(tmp_path / "new", {"first step seconds": 3.0}) == {
        "first step seconds": 20.0,
        "first step seconds from cache": 3.0,
    }


def test_a_row_is_measured_and_written(tmp_path: Path) -> None:
    """The whole way with one candidate and the shortest of rounds."""
    path = tmp_path / "training.json"
    command = [sys.executable, str(FOLDER / "bench_training.py"), "--results", str(path)]
    command += ["--only", "xor 2-2-1", "--rounds", "2", "--seconds", "0.01"]
    command += ["--candidates", "gradc"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(path.read_text())["rows"]
    facts = row["candidates"]["gradc"]
    assert facts["seconds"]["rounds"] == 2 and len(facts["losses"]) == 4
    assert row["gradc / best rival"] is None and "gradc / best rival: none" in done.stdout
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, timeout=120)
    assert resumed.returncode == 0 and json.loads(path.read_text())["rows"] == [row]


@pytest.mark.parametrize("direction", ["forward", "input", "weights"])
@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 1), (1, 4)])
def test_single_convolutions_compute_what_they_are_called(
    direction: str, stride: int, groups: int
) -> None:
    directions = loaded("directions")
    outputs = 4 if groups > 1 else 6
    case = directions.Direction(
        "small", direction, 4, outputs, stride, groups, batch=2, size=8, window=3
    )
    given = directions.values(case)
    executor, call = directions.gradc_executor(case, 1)
    call(1)
    x, w, y = (given[name].astype(np.float64) for name in ("x", "w", "y"))
    if groups == 1:
        x, w, y = x[:, None], w[None], y[:, None]
    dy = given["dy"][:, None] if groups == 1 else given["dy"]
    dy = dy[..., 1:-1, 1:-1] if stride == 1 else dy
    found = {"y": np.zeros_like(y), "dx": np.zeros_like(x), "w": w.copy()}
    for i, j in np.ndindex(3, 3):
        last_i, last_j = (start + (case.places - 1) * stride + 1 for start in (i, j))
        window = (..., slice(i, last_i, stride), slice(j, last_j, stride))
        found["y"] += np.einsum("ngchw,goc->ngohw", x[window], w[..., i, j])
        found["dx"][window] += np.einsum("ngohw,goc->ngchw", dy, w[..., i, j])
        gradient = np.einsum("ngchw,ngohw->goc", x[window], y)
        found["w"][..., i, j] -= directions.RATE * gradient
    if stride == 1:
        found["dx"] = found["dx"][..., 1:-1, 1:-1]
    name = {"forward": "y", "input": "dx", "weights": "w"}[direction]
    ours = executor.state[name]
    assert np.allclose(ours, found[name].reshape(ours.shape), atol=1e-5)
    assert case.flops_per_step == 2 * 2 * case.places**2 * 9 * 4 * outputs / groups


def test_products_are_summed_up(benchmarks: None) -> None:
    """The mean is over large products of float32; the least lead is looked for among all."""
    kernels = loaded("bench_kernels")
    large = [
        case
        for case in kernels.CASES.values()
        if case.flops >= kernels.LARGE_FLOPS and case.dtype == "float32"
    ]
    assert len(large) == 17 and {case.kind for case in large} == {
        "matmul NN",
        "matmul TN",
        "matmul NT",
    }
    rows = [
        {"case": case.name, "gradc part of limit": part, "numpy over gradc": over}
        for case, part, over in (
            (large[0], 0.9, 1.5),
            (large[1], 0.4, 1.25),
            (kernels.CASES["matmul NN 64 x 10 x 128"], 0.1, 1.75),
            (kernels.CASES["matmul NN 1024 x 1024 x 1024 float64"], 0.2, 1.125),
        )
    ]
    assert kernels.summary(rows) == [
        "gradc: 60.0% of the peak, geometric mean of 2",
        "numpy takes 1.12 of the time of gradc or more: matmul NN 1024 x 1024 x 1024 float64",
    ]


@pytest.mark.parametrize("op", ["NN", "TN", "NT"])
def test_products_are_those_that_their_names_say(op: str, benchmarks: None) -> None:
    """What gradc and NumPy are given to multiply, and in which dtype."""
    kernels = loaded("bench_kernels")
    case = kernels._product(op, 5, 7, 3, "float64")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(case.dtype) for shape in case.shapes]
    x, y = (a if o == "N" else a.T for a, o in zip(arrays, op, strict=True))
    assert (x @ y).shape == (5, 7)
    assert case.name == f"matmul {op} 5 x 7 x 3 float64" and case.peak_part == 0.5
    for library in ("gradc", "numpy"):
        kernels.CALLS[library](case, arrays, 1)(1)


def test_a_worker_knows_its_threads_before_it_imports_anything(tmp_path: Path) -> None:
    """NumPy's BLAS makes its threads when it is imported, which the worker's script does first."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "found = os.environ['OPENBLAS_NUM_THREADS']\n"
        "import json\n"
        "input()\n"
        "print(json.dumps({'threads': found}))\n"
    )
    worker = loaded("common").Worker(str(script), "numpy", 3)
    assert worker.ask({}) == {"threads": "3"}
    worker.close()
