"""An LSTM learns to write text like the help that Python ships, character by character.

    python examples/char_lstm.py [--steps N]

Training reads windows of the text. Writing is a loop in the program that carries the state of the
LSTM: it reads a prompt, then what it has drawn itself. An executable writes the same, see
char_transformer.py, which learns from the same text with attention in the LSTM's place.

After 1,500 steps the loss of held-out text is 1.41 nats per character (3.25 by the frequencies of
characters alone).
Sources: S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory" (1997); A. Graves, "Generating
Sequences With Recurrent Neural Networks" (2013).
"""

from __future__ import annotations

import argparse
from pydoc_data.topics import topics

import numpy as np

import gradc as gc
from gradc import nn, optim

CHARACTERS, WIDE, HIDDEN = 128, 32, 128  # ASCII: a character's number is its code
CONTEXT, PROMPT, WRITTEN = 64, 16, 112
BATCH, STEPS, TEMPERATURE = 32, 1500, 0.5

Memory = tuple[gc.Tensor, gc.Tensor]


class Writer(nn.Module):
    """Characters [batch, time] to logits of the character that follows each, and the state."""

    def __init__(self) -> None:
        self.characters = nn.Embedding(CHARACTERS, WIDE)
        self.lstm = nn.LSTM(WIDE, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, CHARACTERS)

    def forward(self, codes: gc.Tensor, memory: Memory | None = None) -> tuple[gc.Tensor, Memory]:
        hidden, memory = self.lstm(self.characters(codes), memory)
        return self.head(hidden), memory

    def write(self, prompt: gc.Tensor, length: int) -> gc.Tensor:
        """[batch, length]: what follows the prompts."""
        memory: Memory
        logits, memory = self(prompt)

        def step(carry: tuple, _: None) -> tuple:
            logits, memory = carry
            code = gc.random.categorical(logits / TEMPERATURE).astype(gc.int32)
            logits, memory = self(code[:, None], memory)
            return (logits[:, 0], memory), code

        _, codes = gc.scan(step, (logits[:, -1], memory), length=length)
        return codes.permute(1, 0)


text = gc.input("text", ("batch", CONTEXT + 1), gc.int32)
prompt = gc.input("prompt", ("batch", PROMPT), gc.int32)
model = Writer()
logits = model(text[:, :-1])[0].reshape((-1, CHARACTERS))
loss = gc.cross_entropy(logits, text[:, 1:].reshape(-1))
rate = optim.schedule.cosine(5e-3, STEPS)
program = gc.training(
    loss, optim.Adam(lr=rate, clip_norm=1.0), outputs={"written": model.write(prompt, WRITTEN)}
)


def codes(string: str) -> np.ndarray:
    return np.frombuffer(string.encode("ascii", "replace"), np.uint8).astype(np.int32)


def windows(samples: int, seed: int, held_out: bool) -> dict[str, np.ndarray]:
    """Windows of the text from random places; its last tenth is held out."""
    whole = codes("\n".join(topics[name] for name in sorted(topics)))
    part = whole[-len(whole) // 10 :] if held_out else whole[: -len(whole) // 10]
    starts = np.random.default_rng(seed).integers(0, len(part) - CONTEXT, samples)
    return {"text": part[starts[:, None] + np.arange(CONTEXT + 1)]}


def data(steps: int = STEPS) -> dict[str, dict[str, np.ndarray]]:
    return {"train": windows(steps * BATCH, 1, False), "validation": windows(512, 2, True)}


def main() -> None:
    parser = argparse.ArgumentParser(description="train on Python's help and write some")
    parser.add_argument("--steps", type=int, default=STEPS)
    sets = data(parser.parse_args().steps)
    trainer = program.compile(seed=0)
    trainer.fit(sets["train"], batch_size=BATCH, epochs=1)
    print(f"held out: {trainer.evaluate(sets['validation'])['loss']:.3f} nats per character")
    for start in ("The class of the", "If the exception"):
        found = trainer.predict(prompt=codes(start)[None])["written"][0]
        print(f"{start}|{bytes(found.astype(np.uint8)).decode('ascii', 'replace')}")


if __name__ == "__main__":
    main()
