"""Training steps of embedding tables, of which a batch reads few rows, against PyTorch.

    python benchmarks/bench_embeddings.py [--rounds 5] [--seconds 0.3] [--only WORD]

Whole steps: gathering of the batch, the mean of each sample's rows, its squared distance from a
target, the gradient of the table, and the update. "torch" has dense gradients, as nn.Embedding
comes; "torch-sparse" has `sparse=True`, with SparseAdam in place of Adam, which leaves the moments
of other rows alone: another optimizer, and so no rival of the dense one in what it computes. Before
the timing the losses of a few steps of all that compute the same are compared.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from typing import Any

import common
import numpy as np

LIBRARIES = ("gradc", "torch", "torch-sparse")
BATCH, SAMPLES, CHECK_STEPS = 32, 512, 4


@dataclass(frozen=True)
class Case:
    """tokens      of one sample: so many rows of the table are read for each
    optimizer   "sgd", "momentum" or "adam"
    frequent    whether few words make up most of a text (Zipf), or all are as frequent
    """

    name: str
    rows: int
    columns: int
    tokens: int
    optimizer: str
    frequent: bool = False

    @property
    def bytes_touched(self) -> int:
        """What a step cannot do without: states of an optimizer's rows read and written, rows of
        the batch read for the forward pass and for the gradient."""
        states = {"sgd": 1, "momentum": 2, "adam": 3}[self.optimizer]
        batch = BATCH * self.tokens
        walked = min(self.rows, batch) if self.optimizer == "sgd" else self.rows
        return 4 * self.columns * (2 * states * walked + 2 * batch)

    def data(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(0)
        shape = (SAMPLES, self.tokens)
        if self.frequent:
            tokens = np.minimum(rng.zipf(1.2, shape) - 1, self.rows - 1)
        else:
            tokens = rng.integers(0, self.rows, shape)
        targets = rng.standard_normal((SAMPLES, self.columns)).astype(np.float32)
        return tokens.astype(np.int32), targets

    def table(self) -> Any:
        rng = np.random.default_rng(1)
        return rng.standard_normal((self.rows, self.columns)).astype(np.float32)


CASES = {
    c.name: c
    for c in (
        Case("sgd, 20,000 x 128", 20_000, 128, 64, "sgd"),
        Case("sgd, 20,000 x 128, frequent words", 20_000, 128, 64, "sgd", frequent=True),
        Case("sgd, 200,000 x 64", 200_000, 64, 64, "sgd"),
        Case("sgd, 256 x 64", 256, 64, 64, "sgd"),
        Case("momentum, 20,000 x 128", 20_000, 128, 64, "momentum"),
        Case("adam, 20,000 x 128", 20_000, 128, 64, "adam"),
    )
}


class GradcRunner:
    """`epochs(n)` trains n epochs; `losses(n)` gives the first n losses, unshuffled."""

    def __init__(self, case: Case, threads: int) -> None:
        import gradc as gc
        from gradc import nn, optim

        tokens = gc.input("tokens", ("batch", case.tokens), gc.int32)
        target = gc.input("target", ("batch", case.columns))
        words = nn.Embedding(case.rows, case.columns)
        loss = gc.mse_loss(gc.mean(words(tokens), axis=1), target)
        optimizer = {
            "sgd": lambda: optim.SGD(lr=1.0),
            "momentum": lambda: optim.SGD(lr=1.0, momentum=0.9),
            "adam": lambda: optim.Adam(lr=1e-3),
        }[case.optimizer]()
        program = gc.training(loss, optimizer=optimizer)
        self.trainer = program.compile(threads=threads, seed=0)
        (name,) = self.trainer.parameters
        self.trainer.parameters[name] = case.table()
        self.data = dict(zip(("tokens", "target"), case.data(), strict=True))

    def losses(self, steps: int) -> list[float]:
        found = []
        for start in range(0, steps * BATCH, BATCH):
            rows = {n: array[start : start + BATCH] for n, array in self.data.items()}
            found.append(self.trainer.step(**rows)["loss"])
        return found

    def epochs(self, count: int) -> None:
        self.trainer.fit(self.data, batch_size=BATCH, epochs=count, restart=True, progress=False)


class TorchRunner:
    """The same, eager."""

    def __init__(self, case: Case, threads: int, sparse: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        table = torch.from_numpy(case.table())
        self.words = torch.nn.Embedding.from_pretrained(table, freeze=False, sparse=sparse)
        adam = torch.optim.SparseAdam if sparse else torch.optim.Adam
        make: Any = {
            "sgd": lambda p: torch.optim.SGD(p, lr=1.0),
            "momentum": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9),
            "adam": lambda p: adam(p, lr=1e-3),
        }[case.optimizer]
        self.optimizer = make(list(self.words.parameters()))
        self.tokens, self.target = (torch.from_numpy(array) for array in case.data())

    def step(self, rows: Any) -> Any:
        self.optimizer.zero_grad()
        means = self.words(self.tokens[rows]).mean(dim=1)
        loss = self.torch.nn.functional.mse_loss(means, self.target[rows])
        loss.backward()
        self.optimizer.step()
        return loss

    def losses(self, steps: int) -> list[float]:
        starts = range(0, steps * BATCH, BATCH)
        return [float(self.step(self.torch.arange(s, s + BATCH)).detach()) for s in starts]

    def epochs(self, count: int) -> None:
        for _ in range(count):
            for rows in self.torch.randperm(SAMPLES).split(BATCH):
                self.step(rows)


def worker(library: str, threads: int) -> None:
    """Answer questions about one library in this process."""
    common.limit_threads(threads)
    runners: dict[str, Any] = {}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        case = CASES[question["case"]]
        if question["ask"] == "losses":
            runners.clear()  # one table at a time
            if library == "gradc":
                runners[case.name] = GradcRunner(case, threads)
            else:
                runners[case.name] = TorchRunner(case, threads, library == "torch-sparse")
            return {"losses": runners[case.name].losses(CHECK_STEPS)}
        epoch = common.seconds_per_call(runners[case.name].epochs, question["seconds"])
        return {"seconds": epoch / (SAMPLES // BATCH)}

    common.serve(answer)


def able(workers: list[common.Worker], case: Case) -> list[common.Worker]:
    """The workers that have this case; prints those whose losses are others."""
    answers = {w.library: w.ask({"ask": "losses", "case": case.name}) for w in workers}
    losses = {name: a["losses"] for name, a in answers.items() if "losses" in a}
    for name, found in losses.items():
        alike = all(
            math.isclose(a, b, rel_tol=1e-4) for a, b in zip(found, losses["gradc"], strict=True)
        )
        if not alike:
            print(f"  {case.name}: {name} trains otherwise: {found}, gradc {losses['gradc']}")
    for name in answers.keys() - losses.keys():
        print(f"  {case.name}: {name} failed: {answers[name]['error']}")
    return [w for w in workers if w.library in losses]


def measure(
    workers: list[common.Worker], case: Case, options: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """The row of one case, and its line in the table."""
    question = {"ask": "time", "case": case.name, "seconds": options.seconds}
    usable = able(workers, case)
    common.alternate(usable, question, 1)  # warms up
    found, errors = common.alternate(usable, question, options.rounds)
    row: dict[str, Any] = {"case": case.name, "threads": workers[0].threads, **found, **errors}
    line = [case.name]
    for library in (worker.library for worker in workers):
        if library not in found:
            line.append("")
            continue
        seconds = found[library]
        line.append(f"{common.number(seconds.best * 1e6)} / {common.number(seconds.median * 1e6)}")
        if library == "gradc":
            line.append(f"{case.bytes_touched / seconds.median / 1e9:.1f}")
    return row, line


def main() -> None:
    if common.WORKER in sys.argv:
        worker(sys.argv[-2], int(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one round and library")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    facts = common.show_machine()
    libraries = common.present(LIBRARIES)
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        if threads > common.usable_cpus():
            print(f"note: {threads} threads need as many CPUs; left out")
            continue
        workers = [common.Worker(__file__, library, threads) for library in libraries]
        print(f"\nthreads {threads}")
        header = ["step"]
        for library in libraries:
            header += [f"{library} us best / median", *(["GB/s"] if library == "gradc" else [])]
        cases = [case for case in CASES.values() if options.only in case.name]
        measured = [measure(workers, case, options) for case in cases]
        rows += [row for row, _ in measured]
        print(common.table(header, [line for _, line in measured]))
        for process in workers:
            process.close()
    common.write_results("embeddings", facts, rows)


if __name__ == "__main__":
    main()
