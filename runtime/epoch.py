"""One epoch as `for epoch in trainer.epochs(...)` sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Epoch(Mapping[str, float]):
    """`epoch["loss"]`, `["accuracy"]`, `["validation_loss"]`...: the numbers of one epoch.

    number   1 for the first epoch of the run, resumed ones included
    """

    def __init__(self, number: int, values: Mapping[str, float]) -> None:
        self.number = number
        self._values = dict(values)

    def __getitem__(self, name: str) -> float:
        if name not in self._values:
            known = ", ".join(map(repr, self._values))
            raise KeyError(f"an epoch has no number {name!r}; known: {known}")
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {value:.6g}" for name, value in self._values.items())
        return f"Epoch({self.number}: {numbers})"

    def to_dict(self) -> dict[str, float]:
        """A plain copy."""
        return dict(self._values)
