"""Training binaries under gcc's sanitizers: the C runtime's memory, and every thread's accesses.

AddressSanitizer and UndefinedBehaviorSanitizer watch the C runtime through a whole life: train,
validate, checkpoint, resume, predict, refuse. ThreadSanitizer watches the generated code too: its
functions are compiled with `sanitize_thread`, so that a missing barrier between two kernels, or a
wrong order of memory in the pool, is a report. That the watch sees anything is tested as well.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import files

import gradc as gc
from gradc import nn, optim
from gradc.compiler.cpu_llvm import cached, threads
from gradc.compiler.cpu_llvm.target import Optimize, Target, optimized_text
from gradc.runtime.checkpoint import read_checkpoint, write_checkpoint
from gradc.runtime.column import Column, kept_rows

BATCH, ROWS = 32, 90
REPORT = re.compile(r"Sanitizer|runtime error|data race")


def program() -> Any:
    """Kernels that both threads share, with a barrier between most of them."""
    x, labels = gc.input("x", ("batch", 48)), gc.input("labels", ("batch",), gc.int32)
    model = nn.Sequential(
        nn.Linear(48, 160), nn.Tanh(), nn.Dropout(0.2), nn.Linear(160, 96), nn.ReLU(),
        nn.Linear(96, 5),
    )  # fmt: skip
    logits = model(x)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optim.AdamW(lr=1e-2),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )


def data_arguments(folder: Path, option: str = "--data") -> list[str]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 48)).astype(np.float32)
    labels = np.abs(x[:, :5]).argmax(axis=1).astype(np.int32)
    return files(folder, {"x": x, "labels": labels}, option)


def sanitized(folder: Path, sanitizers: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program as an executable whose C code carries the sanitizers."""
    monkeypatch.setenv("CC", f"cc -g -fsanitize={sanitizers} -fno-sanitize-recover=all")
    monkeypatch.setenv("GRADC_CACHE_DIR", str(folder / "cache"))
    made: list[Path] = program().build(folder / "watched", batch=BATCH)
    return made[0]


def run(command: list[object], status: int = 0) -> str:
    """The output of a run that must end with this status and without a report."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    assert not REPORT.search(said), said
    assert done.returncode == status, said
    return said


def test_the_c_runtime_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = sanitized(tmp_path, "address,undefined", monkeypatch)
    data, held = data_arguments(tmp_path), data_arguments(tmp_path, "--validate")
    kept = ["--checkpoint", tmp_path / "run.safetensors"]
    run([watched, *data, *held, *kept, "--epochs=3", "--every=2", "--patience=2"])
    run([watched, *data, *held, *kept, "--epochs=5", "--resume", "--patience=2",
         "--metrics", tmp_path / "log.csv"])  # fmt: skip
    run([watched, *data, *kept, "--predict", tmp_path / "out.npy"])
    run([watched, *data, "--epochs=2", "--no-shuffle", "--drop-last", "--threads=1", "--lr=0.5"])
    run([watched, *data, "--parameters", tmp_path / "run.safetensors", "--epochs=1"])
    run([watched, *data, "--metrics", tmp_path / "no" / "log.csv"], status=1)
    run([watched, *data, *kept, "--metrics", tmp_path / "run.safetensors.partial"], status=2)
    run([watched, "--help"])
    run([watched, "--describe"])
    run([watched, *data, "--epochs=many"], status=2)
    run([watched, "--data", f"x={tmp_path}"], status=2)
    damaged = tmp_path / "damaged"
    content = (tmp_path / "run.safetensors").read_bytes()
    for cut in (0, 7, 9, 300, len(content) - 1):
        damaged.write_bytes(content[:cut])
        run([watched, *data, "--checkpoint", damaged, "--resume"], status=1)
    for epoch in (2**53, 2**40, 4097):  # no run comes that far: a forged position
        read = read_checkpoint(tmp_path / "run.safetensors")
        assert read.record is not None
        read.record.epoch = read.record.step = epoch
        read.record.history = {"loss": Column([0.5] * kept_rows(epoch), epoch)}
        write_checkpoint(damaged, read.tensors, {}, read.record, read.fingerprint)
        run([watched, *data, "--checkpoint", damaged, "--resume", "--metrics",
             tmp_path / "log.csv", f"--epochs={2**63 - 1 if epoch == 2**53 else epoch + 1}"],
            status=int(epoch == 2**53))  # fmt: skip
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    run([watched, *data], status=1)


LIFE_OF_A_LIBRARY = """
#include <stdio.h>
#include <string.h>
#include "watched.h"

static int refused;

/* A call that must fail, with a message. */
static void refuse(const gradc_watched *session, int status) {
    if (!status || !gradc_watched_error(session)[0]) {
        printf("not refused, or without a message\\n");
        refused = 1;
    }
}

int main(int argc, char **argv) {
    static float x[48 * 50], logits[5 * 50];
    static int32_t labels[50];
    double results[GRADC_WATCHED_RESULTS];
    gradc_watched *one, *two;
    int bad = argc < 2 || gradc_watched_init(&one, 1, 1) || gradc_watched_init(&two, 2, 2);
    for (int n = 0; n < 48 * 50; n++) x[n] = (float)(n % 97) / 97;
    for (int n = 0; n < 50; n++) labels[n] = n % 5;
    for (int rows = 1; rows <= GRADC_WATCHED_BATCH; rows += 7) {
        bad |= gradc_watched_step(one, rows, X_AND_LABELS, results);
        bad |= gradc_watched_step(two, rows, X_AND_LABELS, results);
    }
    bad |= gradc_watched_evaluate(one, 50, X_AND_LABELS, results);
    bad |= gradc_watched_predict(one, 50, x, logits);
    bad |= gradc_watched_save(one, argv[1]) || gradc_watched_load(two, argv[1]);
    bad |= gradc_watched_load(two, argv[1]) || gradc_watched_set_learning_rate(two, 0.5);
    bad |= !strstr(gradc_watched_describe(), "watched");
    refuse(one, gradc_watched_step(one, 0, X_AND_LABELS, results));
    refuse(one, gradc_watched_step(one, GRADC_WATCHED_BATCH + 1, X_AND_LABELS, results));
    refuse(one, gradc_watched_step(one, 1, NULL, NULL, results));
    refuse(one, gradc_watched_evaluate(one, 1, X_AND_LABELS, NULL));
    refuse(one, gradc_watched_predict(one, 1, x, NULL));
    refuse(one, gradc_watched_save(one, "/nowhere/at/all"));
    refuse(one, gradc_watched_save(one, NULL));
    refuse(one, gradc_watched_load(one, "/nowhere/at/all"));
    refuse(one, gradc_watched_load(one, argv[0]));
    refuse(one, gradc_watched_set_learning_rate(one, -1));
    refuse(NULL, gradc_watched_step(NULL, 1, X_AND_LABELS, results));
    gradc_watched_free(one);
    gradc_watched_free(two);
    gradc_watched_free(NULL);
    return bad || refused;
}
"""


def test_a_library_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    monkeypatch.setenv("CC", " ".join(["cc", *flags]))
    monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / "cache"))
    library, header = program().build(tmp_path / "libwatched.so", kind="library", batch=BATCH)
    words = re.findall(r"const \w+ \*(x|labels)\b", header.read_text())[:2]
    source = tmp_path / "life.c"
    source.write_text(LIFE_OF_A_LIBRARY.replace("X_AND_LABELS", ", ".join(words)))
    life = tmp_path / "life"
    run(["cc", *flags, f"-I{tmp_path}", source, library, f"-Wl,-rpath,{tmp_path}", "-o", life])
    run([life, tmp_path / "kept"])


def by_clang(text: str, target: Target, optimize: Optimize) -> bytes:
    """An object of a module whose functions ThreadSanitizer watches, made by zig's clang."""
    watched = re.sub(r"^(define .*?) nounwind", r"\1 nounwind sanitize_thread", text, flags=re.M)
    module = optimized_text(watched, target, optimize)
    command = [sys.executable, "-m", "ziglang", "cc", "-fsanitize=thread", "-O1", "-fPIC"]
    command += [f"-mcpu={target.cpu.replace('-', '_')}", "-Wno-override-module", "-c"]
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "module.ll", Path(folder) / "module.o"
        source.write_text(module)
        subprocess.run([*command, str(source), "-o", str(made)], check=True)
        # gcc's ThreadSanitizer watches these functions under their own names
        renamed = [f"--redefine-sym=__tsan_{f}={f}" for f in ("memset", "memcpy", "memmove")]
        subprocess.run(["objcopy", *renamed, str(made)], check=True)
        return made.read_bytes()


@pytest.fixture
def watched_code(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("the ziglang package is not installed")
    monkeypatch.setattr(cached, "compile_module", by_clang)


@pytest.mark.usefixtures("watched_code")
def test_threads_do_not_race(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = sanitized(tmp_path, "thread", monkeypatch)
    data, held = data_arguments(tmp_path), data_arguments(tmp_path, "--validate")
    run([watched, *data, *held, "--threads=2", "--epochs=3",
         "--checkpoint", tmp_path / "run.safetensors"])  # fmt: skip
    run([watched, *data, "--threads=2", "--checkpoint", tmp_path / "run.safetensors",
         "--predict", tmp_path / "out.npy"])  # fmt: skip


@pytest.mark.usefixtures("watched_code")
def test_a_missing_barrier_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = threads.pool_text
    monkeypatch.setattr(
        "gradc.compiler.cpu_llvm.backend.pool_text",
        lambda target, linked=False: whole(target, linked).replace(
            "%alone = icmp ule i64 %threads, 1\n  br i1 %alone, label %done, label %arrive",
            "br i1 true, label %done, label %arrive",
        ),
    )
    watched = sanitized(tmp_path, "thread", monkeypatch)
    command = [str(watched), *data_arguments(tmp_path), "--threads=2", "--epochs=3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "ThreadSanitizer: data race" in done.stderr
