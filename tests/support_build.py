"""Programs that the tests of building make binaries of."""

from __future__ import annotations

import gradc as gc
from gradc import nn, optim
from gradc._training import TrainingProgram


def small_program(
    name: str = "w", inner: bool = False, rate: float | optim.schedule.Schedule = 0.1
) -> TrainingProgram:
    """Linear regression with a name of one's choice, to tell programs apart."""
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    w = gc.parameter(name, (3,), init=gc.init.zeros)
    z = x @ w
    outputs = {"z": z, "turned": gc.permute_dims(x, (1, 0)) * 2} if inner else {"z": z}
    return gc.training(gc.mse_loss(z, y), optim.SGD(lr=rate), outputs=outputs)


def wide_program() -> TrainingProgram:
    """What vector code could get wrong: matrix products, softmax, dropout, Adam, ragged batches."""
    x, labels = gc.input("x", ("batch", 21)), gc.input("labels", ("batch",), gc.int32)
    model = nn.Sequential(nn.Linear(21, 37), nn.GELU(), nn.Dropout(0.2), nn.Linear(37, 5))
    logits = model(x)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optim.AdamW(lr=optim.schedule.cosine(1e-2, 20)),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )
