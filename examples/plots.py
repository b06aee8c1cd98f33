"""Drawings of the other examples: `--plot FILE` writes one, by matplotlib (`gradc[plot]`)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def file_given(description: str | None) -> Path | None:
    """The file of --plot, if there is one on the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a drawing (.png, .svg)")
    found: Path | None = parser.parse_args().plot
    return found


def panels(count: int, width: float = 4.0) -> tuple[Any, Any]:
    """A figure without a screen, and its axes side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(1, count, figsize=(width * count, 3.4), squeeze=False, layout="constrained")


def write(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120)
    print(f"drawing: {path}, {path.stat().st_size:,} bytes")
