"""The transformer that writes: its cache changes nothing but the time, and every way to run it
writes the same characters."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_examples import example_names

import gradc as gc

SEED, BATCH = 3, 16


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    return example_names("char_transformer")


def test_logits_with_a_cache_are_those_without(names: dict[str, Any]) -> None:
    """One position at a time in a loop, against the whole window at once, to rounding."""
    model, length = names["Writer"](), 24
    text = gc.input("text", ("batch", length), gc.int32)
    whole, _ = model(text)
    zeros = gc.zeros(("batch", names["HEADS"], length, names["WIDE"] // names["HEADS"]))

    def step(caches: Any, given: Any) -> Any:
        code, t = given
        logits, caches = model(code[:, None], caches, t)
        return caches, logits[:, 0]

    caches = [(zeros, zeros) for _ in model.blocks]
    _, one_by_one = gc.scan(step, caches, (text.permute(1, 0), gc.arange(length)))
    f = gc.compile([whole, one_by_one.permute(1, 0, 2)], seed=1)
    for name, value in dict(f.parameters).items():  # larger than they begin, so that heads differ
        f.parameters[name] = value * 2
    codes = np.random.default_rng(2).integers(0, 128, (3, length)).astype(np.int32)
    first, second = f(text=codes)
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)
    assert np.abs(first).max() > 1


def test_an_executable_writes_what_python_writes(names: dict[str, Any], tmp_path: Path) -> None:
    """Trained, stopped and resumed, on one thread and on two; prompts are not needed to train."""
    program, data = names["program"], names["windows"](4 * BATCH, 1, False)
    prompt = names["prompts"]("The class of the", "If the exception", "ab")
    np.save(tmp_path / "text.npy", data["text"])
    np.save(tmp_path / "prompt.npy", prompt)
    program.build(tmp_path / "writer", batch=BATCH)
    trainer = program.compile(threads=2, seed=SEED)
    trainer.fit(data, batch_size=BATCH, epochs=2, checkpoint=tmp_path / "python", progress=False)
    expected = trainer.predict(prompt=prompt)["written"]
    assert expected.shape == (3, names["WRITTEN"]) and len(np.unique(expected)) > 10
    for threads in (1, 2):
        file, out = tmp_path / f"file{threads}", tmp_path / f"out{threads}.npy"
        common = [str(tmp_path / "writer"), f"--threads={threads}", f"--checkpoint={file}"]
        train = [f"--data=text={tmp_path / 'text.npy'}", f"--seed={SEED}"]
        write = [f"--data=prompt={tmp_path / 'prompt.npy'}", f"--predict={out}"]
        for command in ([*train, "--epochs=1"], [*train, "--epochs=2", "--resume"], write):
            done = subprocess.run([*common, *command], capture_output=True, text=True, timeout=100)
            assert done.returncode == 0, done.stderr
        assert file.read_bytes() == (tmp_path / "python").read_bytes()
        np.testing.assert_array_equal(np.load(out), expected)


def test_another_seed_writes_another_text(names: dict[str, Any]) -> None:
    prompt = names["prompts"]("The class of the")
    texts = [
        names["program"].compile(seed=seed).predict(prompt=prompt)["written"] for seed in (1, 2)
    ]
    assert (texts[0] != texts[1]).mean() > 0.5
