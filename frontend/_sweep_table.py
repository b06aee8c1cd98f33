"""A sweep's table as text, and its plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gradc.compiler.errors import ArgumentError

LEGEND_MAXIMUM = 12
"""Runs that are named in a plot; of more, none is."""
LOG_RATIO = 50.0
"""From this ratio of the greatest to the least on, an option is drawn on a logarithmic scale."""

Columns = Mapping[str, Sequence[Any]]


def text_table(columns: Columns) -> str:
    """Columns side by side, numbers to the right."""
    texts = {name: [_text(value) for value in values] for name, values in columns.items()}
    widths = {name: max(map(len, [name, *cells])) for name, cells in texts.items()}
    rows = [list(texts)] + [list(row) for row in zip(*texts.values(), strict=True)]
    aligned = [
        "  ".join(
            cell.rjust(widths[name]) if _is_numeric(columns[name]) else cell.ljust(widths[name])
            for name, cell in zip(texts, row, strict=True)
        ).rstrip()
        for row in rows
    ]
    return "\n".join(aligned)


def rich_table(columns: Columns) -> Any:
    """The same for rich."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name, values in columns.items():
        table.add_column(Text(name), justify="right" if _is_numeric(values) else "left")
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        cells = [Text(_text(value)) for value in row]
        table.add_row(*cells, style="bold" if number == 0 else "")
    return table


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def plot_sweep(table: Any, axes: Any, over: str | None) -> Any:
    """See Sweep.plot."""
    import matplotlib.pyplot as plt

    if over is not None and not any(over in run.options for run in table):
        known = ", ".join(dict.fromkeys(name for run in table for name in run.options))
        problem = f"no run has the option {over!r}"
        raise ArgumentError(problem, operation="plot", facts=[f"options: {known}"])
    axes = axes if axes is not None else plt.figure().subplots()
    axes.set_ylabel(table.monitor)
    if over is None:
        _plot_epochs(table, axes)
    else:
        _plot_option(table, axes, over)
    return axes


def _plot_epochs(table: Any, axes: Any) -> None:
    best = next(iter(table.ranked), None)
    named = len(table) <= LEGEND_MAXIMUM
    for run in table:
        values = run.history.get(table.monitor) or []
        parts = [f"{name}={_text(value)}" for name, value in run.options.items()]
        label = ", ".join(parts) or f"seed {run.seed}"
        width = 2.5 if run is best else 1.0
        axes.plot(range(1, len(values) + 1), values, linewidth=width, label=label)
    axes.set_xlabel("epoch")
    if named and len(table):
        axes.legend()


def _plot_option(table: Any, axes: Any, over: str) -> None:
    shown = [run for run in table if over in run.options and math.isfinite(run.value)]
    places = [run.options[over] for run in shown]
    numeric = all(isinstance(place, (int, float)) for place in places)
    axes.plot(
        places if numeric else [str(place) for place in places], [run.value for run in shown], "o"
    )
    axes.set_xlabel(over)
    if numeric and places and min(places) > 0 and max(places) >= LOG_RATIO * min(places):
        axes.set_xscale("log")
