"""The same explanation as inspect.py, as one HTML page with the memory plan drawn to scale.

Across: kernels in order. Up: bytes of the arena. A rectangle is one buffer: as wide as it lives,
as high as it is large, at the offset that the plan gave it. The page needs nothing from outside.
"""

from __future__ import annotations

import html

from .inspect import bytes_moved, headline, in_bytes
from .loops.ir import Buffer
from .program.ir import Program
from .program.liveness import find_liveness

WIDTH, HEIGHT, MARGIN = 960, 360, 8
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1000px; color: #222; }
table { border-collapse: collapse; } td, th { padding: 2px 12px 2px 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { border: 1px solid #ccc; background: #fafafa; }
rect:hover { stroke: #000; stroke-width: 2; }
"""


def explain_html(program: Program, costs: str = "") -> str:
    """A complete HTML page; `costs` are what a step is predicted to cost, as text."""
    name = html.escape(program.name)
    predicted = f"<h2>Predicted cost</h2><pre>{html.escape(costs)}</pre>" if costs else ""
    return (
        f"<!doctype html><meta charset='utf-8'><title>{name}</title><style>{_STYLE}</style>"
        f"<h1>{name}</h1><p>{html.escape(headline(program))}</p>"
        f"<h2>Arena over time</h2>{memory_svg(program)}"
        f"<h2>Kernels</h2>{_kernels(program)}<h2>Decisions</h2>{_decisions(program)}{predicted}\n"
    )


def memory_svg(program: Program) -> str:
    """The memory plan as an SVG element."""
    kernels = program.kernels()
    lives = find_liveness(program).over_kernels()
    if not lives or not program.arena_bytes:
        return "<p>No intermediate buffers.</p>"
    step = (WIDTH - 2 * MARGIN) / len(kernels)
    scale = (HEIGHT - 2 * MARGIN) / program.arena_bytes
    boxes = [
        _box(buffer, first, last, step, scale, number)
        for number, (buffer, (first, last)) in enumerate(lives.items())
    ]
    return f"<svg width='{WIDTH}' height='{HEIGHT}' role='img'>{''.join(boxes)}</svg>"


def _box(buffer: Buffer, first: int, last: int, step: float, scale: float, number: int) -> str:
    size = buffer.size_bytes
    x, width = MARGIN + first * step, (last - first + 1) * step - 1
    height = max(size * scale, 1.0)
    y = HEIGHT - MARGIN - buffer.offset_bytes * scale - height
    hue = number * 137 % 360
    title = html.escape(f"{buffer.name} {buffer.type}: {in_bytes(size)} at {buffer.offset_bytes}")
    return (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' "
        f"fill='hsl({hue} 55% 70%)'><title>{title}, kernels {first} to {last}</title></rect>"
    )


def _kernels(program: Program) -> str:
    rows = ["<tr><th>kernel<th>MFLOP<th>bytes<th>FLOP/byte<th>operations"]
    for kernel, trips in program.trips().items():
        moved = bytes_moved(kernel)
        intensity = kernel.flops / moved if moved else 0.0
        rows.append(
            f"<tr><td>{html.escape(kernel.name)}<td class=n>{kernel.flops * trips / 1e6:.3f}"
            f"<td class=n>{in_bytes(moved * trips)}<td class=n>{intensity:.2f}"
            f"<td>{html.escape(kernel.description)}"
        )
    return f"<table>{''.join(rows)}</table>"


def _decisions(program: Program) -> str:
    items = "".join(f"<li>{html.escape(str(decision))}" for decision in program.decisions)
    return f"<ul>{items}</ul>" if items else "<p>None recorded.</p>"
