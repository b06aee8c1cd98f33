"""Training steps of convolutional networks: part of the measured FMA peak, and against PyTorch.

    python benchmarks/bench_convolutions.py [--rounds 5] [--seconds 0.5] [--only WORD]

Whole steps: gathering of the batch, forward pass, both gradients, SGD with momentum. FLOPs are
those of the convolutions and linear layers alone (forward, both gradients; none for the gradient of
the data), so that what padding, activations and updates take shows as lost. PyTorch runs eager, in
its default layout of channels; both models begin alike in shape, not in value.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import common
import numpy as np

LIBRARIES = ("gradc", "torch")
BATCH, SAMPLES, CLASSES = 64, 256, 10


@dataclass(frozen=True)
class Case:
    """convolutions   (channels, window, stride, padding) of each, with a ReLU behind it
    shape            of one image
    """

    name: str
    shape: tuple[int, int, int]
    convolutions: tuple[tuple[int, int, int, int], ...]

    @property
    def images(self) -> list[tuple[int, int, int]]:
        """Shapes of what goes in and of what each convolution makes of it."""
        found = [self.shape]
        for channels, window, stride, margin in self.convolutions:
            extents = [(e + 2 * margin - window) // stride + 1 for e in found[-1][1:]]
            found.append((channels, extents[0], extents[1]))
        return found

    @property
    def features(self) -> int:
        """Of the last image, which a linear layer reads."""
        return math.prod(self.images[-1])

    @property
    def flops(self) -> float:
        """Of one step."""
        total = 6.0 * BATCH * self.features * CLASSES
        images = self.images
        for n, (outputs, window, _, _) in enumerate(self.convolutions):
            terms = images[n][0] * window**2
            total += (6 if n else 4) * BATCH * outputs * math.prod(images[n + 1][1:]) * terms
        return total

    def model(self, nn: Any) -> Any:
        """In either library: their layers have the same names and arguments."""
        layers, channels = [], self.shape[0]
        for outputs, window, stride, margin in self.convolutions:
            layers += [nn.Conv2d(channels, outputs, window, stride, margin), nn.ReLU()]
            channels = outputs
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(self.features, CLASSES))

    def data(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((SAMPLES, *self.shape)).astype(np.float32)
        return x, rng.integers(0, CLASSES, SAMPLES).astype(np.int32)


CASES = {
    c.name: c
    for c in (
        *(Case(f"3 of 3x3, {n} channels", (n, 32, 32), ((n, 3, 1, 1),) * 3) for n in (16, 32, 64)),
        Case("rgb 3x3", (3, 32, 32), ((32, 3, 1, 1), (32, 3, 2, 1))),
        Case("strides of 2", (32, 32, 32), ((64, 3, 2, 1), (64, 3, 2, 1))),
        Case("5x5, 1 to 6 to 16", (1, 28, 28), ((6, 5, 1, 2), (6, 2, 2, 0), (16, 5, 1, 0))),
        Case("digits", (1, 8, 8), ((16, 3, 1, 1), (32, 3, 1, 1), (64, 3, 2, 1))),
    )
}


def gradc_call(case: Case, threads: int) -> Callable[[int], None]:
    """`call(n)` trains n steps."""
    import gradc as gc
    from gradc import nn, optim

    x = gc.input("x", ("batch", *case.shape))
    loss = gc.cross_entropy(case.model(nn)(x), gc.input("y", ("batch",), gc.int32))
    program = gc.training(loss, optimizer=optim.SGD(lr=1e-4, momentum=0.9))
    trainer = program.compile(threads=threads, seed=0)
    data = dict(zip("xy", case.data(), strict=True))

    def call(count: int) -> None:
        epochs = max(1, math.ceil(count * BATCH / SAMPLES))
        trainer.fit(data, batch_size=BATCH, epochs=epochs, restart=True, progress=False)

    return call


def torch_call(case: Case, threads: int) -> Callable[[int], None]:
    import torch

    torch.set_num_threads(threads)
    model = case.model(torch.nn)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    x, y = (torch.from_numpy(array) for array in case.data())
    y = y.long()

    def call(count: int) -> None:
        for _ in range(max(1, math.ceil(count * BATCH / SAMPLES))):
            for rows in torch.randperm(SAMPLES).split(BATCH):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()

    return call


def worker(library: str, threads: int) -> None:
    common.limit_threads(threads)
    calls: dict[str, Callable[[int], None]] = {}

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        if question["ask"] == "limits":
            import limits

            loop = limits.FmaLoop()
            return {"gflops": max(loop.gflops(threads) for _ in range(5))}
        case = CASES[question["case"]]
        if case.name not in calls:
            make = gradc_call if library == "gradc" else torch_call
            calls[case.name] = make(case, threads)
        steps = SAMPLES // BATCH  # whole epochs
        epoch = common.seconds_per_call(lambda n: calls[case.name](n * steps), question["seconds"])
        return {"seconds": epoch / steps}

    common.serve(answer)


def measure(
    workers: list[common.Worker], case: Case, peak: float, options: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """The row of one case, and its line in the table."""
    question = {"ask": "time", "case": case.name, "seconds": options.seconds}
    common.alternate(workers, question, 1)  # compiles, warms up
    found, errors = common.alternate(workers, question, options.rounds)
    row: dict[str, Any] = {"case": case.name, "threads": workers[0].threads, **found, **errors}
    line = [case.name, f"{case.flops / 1e6:,.0f}"]
    for library in (worker.library for worker in workers):
        if library not in found:
            line += [errors[library][:40], "", ""]
            continue
        seconds = found[library]
        rate = case.flops / seconds.median / 1e9
        row[f"{library} part of peak"] = rate / peak
        spread = f"{common.number(seconds.best * 1e6)} / {common.number(seconds.median * 1e6)}"
        line += [spread, f"{rate:.1f}", f"{rate / peak:.0%}"]
    return row, line


def main() -> None:
    if common.WORKER in sys.argv:
        worker(sys.argv[-2], int(sys.argv[-1]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one round and library")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    facts = common.show_machine()
    libraries = common.present(LIBRARIES)
    cases = [case for case in CASES.values() if options.only in case.name]
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        if threads > common.usable_cpus():
            print(f"note: {threads} threads need as many CPUs; left out")
            continue
        workers = [common.Worker(__file__, library, threads) for library in libraries]
        peak = workers[0].ask({"ask": "limits"})
        if "error" in peak:
            sys.exit(f"the machine's limits: {peak['error']}")
        print(f"\nthreads {threads}; FMA peak {peak['gflops']:.1f} GFLOP/s")
        header = ["step", "MFLOP"]
        for library in libraries:
            header += [f"{library} us best / median", "GFLOP/s", "of peak"]
        measured = [measure(workers, case, peak["gflops"], options) for case in cases]
        rows += [row for row, _ in measured]
        print(common.table(header, [line for _, line in measured]))
        for process in workers:
            process.close()
        rows.append({"peak": peak, "threads": threads})
    common.write_results("convolutions", facts, rows)


if __name__ == "__main__":
    main()
