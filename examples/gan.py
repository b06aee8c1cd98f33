"""A generative adversarial network: two losses in one program, and a distribution that is learned.

The generator turns noise into numbers; the discriminator says for a number how likely it is to come
from the data, two thirds around -2 and a third around 1. Each is trained on its own loss, with its
own optimizer, and both move in one compiled step. Rates fall to zero: the two, which would circle
around what they look for, come to rest. The discriminator is told how near the numbers of its batch
are to each other, so that the generator cannot put all in one place.

After 3,000 steps the mean and the deviation of 10,000 generated numbers, the share of either side
and the middle of each are those of the data to 0.1.
Sources: Goodfellow and others, "Generative Adversarial Nets" (2014), with the generator's loss of
section 3; what is near in a batch after Salimans and others, "Improved Techniques for Training
GANs" (2016), section 3.2.
"""

from __future__ import annotations

import argparse

import numpy as np

import gradc as gc
from gradc import nn, optim

NOISE, BATCH_SIZE, STEPS, SAMPLES = 4, 128, 3000, 10_000


class Pair(nn.Module):
    """Generator g and discriminator d, in one module so that their parameters have names apart."""

    def __init__(self) -> None:
        self.g = nn.Sequential(
            nn.Linear(NOISE, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
        )
        self.d = nn.Sequential(
            nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LeakyReLU(0.2),
            nn.Linear(32, 1),
        )  # fmt: skip

    def judge(self, x: gc.Tensor) -> gc.Tensor:
        """[batch, 1]: the logit of being real, seen with the distances within the batch."""
        near = gc.mean(gc.exp(-gc.abs(x - x.T)), axis=1, keepdims=True)
        return self.d(gc.concatenate([x, near], axis=1))


pair = Pair()
noise = gc.input("noise", (BATCH_SIZE, NOISE))
real = gc.input("real", (BATCH_SIZE, 1))
made = pair.g(noise)
real_logit, made_logit = pair.judge(real), pair.judge(made)
loss_d = gc.mean(gc.softplus(-real_logit)) + gc.mean(gc.softplus(made_logit))
loss_g = gc.mean(gc.softplus(-made_logit))
"""Cross-entropies: -log sigmoid(z) = softplus(-z), -log(1 - sigmoid(z)) = softplus(z)."""

program = gc.training(
    [
        (loss_d, optim.Adam(lr=optim.schedule.cosine(2e-3, STEPS), betas=(0.5, 0.999)), "d.*"),
        (loss_g, optim.Adam(lr=optim.schedule.cosine(1e-3, STEPS), betas=(0.5, 0.999)), "g.*"),
    ],
    outputs={"made": made},
)


def real_numbers(count: int, rng: np.random.Generator) -> np.ndarray:
    """float32[count, 1] of the distribution that is to be learned."""
    side = rng.random((count, 1)) < 2 / 3
    found = np.where(side, rng.normal(-2, 0.4, side.shape), rng.normal(1, 0.3, side.shape))
    return found.astype(np.float32)


def batches(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, BATCH_SIZE, NOISE), np.float32)
    return [{"noise": z, "real": real_numbers(BATCH_SIZE, rng)} for z in noise]


def main() -> None:
    parser = argparse.ArgumentParser(description="learn a distribution of numbers")
    parser.add_argument("--steps", type=int, default=STEPS)
    trainer = program.compile(seed=0)
    trainer.fit(batches(parser.parse_args().steps, 1), epochs=1)
    calls = [trainer.predict(noise=b["noise"])["made"] for b in batches(SAMPLES // BATCH_SIZE, 2)]
    truth = real_numbers(SAMPLES, np.random.default_rng(3))
    numbers = {"data": truth, "made": np.concatenate(calls)}
    for name, x in numbers.items():
        left, right = x[x < -0.5], x[x >= -0.5]
        print(
            f"{name}: mean {x.mean():.2f}, deviation {x.std():.2f}, share on the left "
            f"{len(left) / len(x):.2f}, around {left.mean():.2f} and {right.mean():.2f}"
        )
    counts = [np.histogram(x, 24, (-4, 3))[0] for x in numbers.values()]
    print("from -4 to 3, data and made:")
    for row in counts:
        print("".join(" .:-=+*#%@"[int(9 * n / np.max(counts))] for n in row))


if __name__ == "__main__":
    main()
