"""A program explained: its kernels, how each runs, where states are updated and why, how they lie,
its memory.

In: a planned program. Out: text for a terminal. `gradc inspect FILE` prints it.

The picture of the arena has one row per buffer and one column per kernel: a buffer is drawn from
the kernel that writes it to the last that reads it, all through a loop that carries it, and what is
drawn in one column lies in memory at the same time. FLOPs and bytes are those of the logical
operation in one step: every buffer that a kernel names is counted once, and all of it again for
each iteration of the loops around the kernel. Of a stack a kernel touches the rows that it names.
"""

from __future__ import annotations

from collections import defaultdict

from .loops.coverage import touched_bytes
from .loops.ir import Buffer, Kernel
from .loops.schedule_text import order_text, schedule_lines
from .loops.text import layout_words
from .passes.order_kernels import peak_bytes
from .program.ir import Program
from .program.liveness import find_liveness

MOST_BUFFERS = 40


def explain(program: Program) -> str:
    """Everything there is to say about a program, as text."""
    tables = [kernel_table(program), schedule_table(program)]
    tables += [decisions(program), state_table(program)]
    parts = [headline(program), *tables, memory_picture(program)]
    return "\n\n".join(part for part in parts if part)


def headline(program: Program) -> str:
    """One line: kernels, arena, what the plan saves."""
    kernels = program.kernels()
    naive = sum(b.size_bytes for b in program.buffers if b.space == "arena")
    peak = occupied_peak_bytes(program) if program.arena_bytes else peak_bytes(kernels)
    return (
        f"{program.name}: {len(kernels)} kernels, arena {in_bytes(program.arena_bytes)} "
        f"(live peak {in_bytes(peak)}, without reuse {in_bytes(naive)})"
    )


def occupied_peak_bytes(program: Program) -> int:
    """The most bytes of the arena that hold something needed at once.

    A result that is written over an operand shares its bytes, which are counted once: so this is
    never more than the arena. What the arena has beyond it are gaps and alignment.
    """
    born: dict[int, list[Buffer]] = defaultdict(list)
    dying: dict[int, list[Buffer]] = defaultdict(list)
    for buffer, (first, last) in find_liveness(program).over_kernels().items():
        born[first].append(buffer)
        dying[last].append(buffer)
    living: dict[int, list[int]] = defaultdict(list)  # sizes of the buffers at an offset
    occupied, peak = 0, 0
    for position in sorted({*born, *dying}):
        for buffer in born[position]:
            sizes = living[buffer.offset_bytes]
            occupied += max(0, buffer.size_bytes - max(sizes, default=0))
            sizes.append(buffer.size_bytes)
        peak = max(peak, occupied)
        for buffer in dying[position]:
            sizes = living[buffer.offset_bytes]
            sizes.remove(buffer.size_bytes)
            occupied -= max(0, buffer.size_bytes - max(sizes, default=0))
    return peak


def kernel_table(program: Program) -> str:
    """One line per kernel: iteration space, work, intensity, operations."""
    rows: list[tuple[str, ...]] = [("kernel", "axes", "MFLOP", "bytes", "FLOP/byte", "operations")]
    for kernel, trips in program.trips().items():
        moved = bytes_moved(kernel)
        intensity = kernel.flops / moved if moved else 0.0
        rows.append(
            (
                kernel.name,
                _axes(kernel) + (f" x {trips}" if trips != 1 else ""),
                f"{kernel.flops * trips / 1e6:.3f}",
                in_bytes(moved * trips),
                f"{intensity:.2f}",
                kernel.description,
            )
        )
    return table(rows)


def schedule_table(program: Program) -> str:
    """How each kernel is run: the orders of its sums, then its schedule, and why, line by line."""
    made = {decision.subject: decision for decision in program.decisions}
    rows: list[tuple[str, ...]] = [("kernel", "orders", "schedule", "because")]
    for kernel in program.kernels():
        orders = dict.fromkeys(
            order_text(loop.order) for loop in kernel.loops if loop.order and loop.reductions
        )
        lines = [] if kernel.schedule is None else schedule_lines(kernel.schedule)
        head, *rest = [line.strip(" {").removeprefix("schedule ") for line in lines] or [""]
        decision = made.get(f"schedule {kernel.name}")
        why = {} if decision is None else {head: decision.reason, **dict(decision.details)}
        rows.append((kernel.name, "; ".join(orders), head, why.get(head, "")))
        shown = dict.fromkeys([*(line for line in rest if line != "}"), *list(why)[1:]])
        rows += [("", "", line, why.get(line, "")) for line in shown]
    return table(rows)


def decisions(program: Program) -> str:
    """The choices of fuse, one per line: each state updated in place or copied, and why."""
    chosen = (d for d in program.decisions if not d.subject.startswith("schedule "))
    return "\n".join(f"  {decision}" for decision in chosen)


def state_table(program: Program) -> str:
    """How each state lies that is not row-major: in which order of axes, in what strips."""
    rows: list[tuple[str, ...]] = [("state", "type", "lies")]
    for buffer in program.buffers:
        if buffer.space == "state" and (words := layout_words(buffer)):
            rows.append((buffer.name, str(buffer.type), words))
    return table(rows) if len(rows) > 1 else ""


def memory_picture(program: Program) -> str:
    """Which buffer lives when; see the module docstring."""
    kernels = program.kernels()
    lives = find_liveness(program).over_kernels()
    if not lives:
        return "no intermediate buffers"
    ordered = sorted(lives, key=lambda b: (lives[b], b.offset_bytes))
    lines = [f"arena over time ({len(kernels)} kernels, left to right)"]
    for buffer in ordered[:MOST_BUFFERS]:
        first, last = lives[buffer]
        bar = " " * first + "#" * (last - first + 1) + " " * (len(kernels) - last - 1)
        lines.append(f"  |{bar}| {_place(buffer)}")
    if len(ordered) > MOST_BUFFERS:
        lines.append(f"  and {len(ordered) - MOST_BUFFERS} more buffers")
    return "\n".join(lines)


def bytes_moved(kernel: Kernel) -> int:
    """Bytes of all buffers that a kernel reads or writes in one run, each counted once."""
    return sum(touched_bytes(kernel, b) for b in kernel.buffers)


def in_bytes(count: float) -> str:
    """A byte count for people: 512 B, 1.5 KiB, 3.0 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _place(buffer: Buffer) -> str:
    return f"{buffer.offset_bytes:>9} + {in_bytes(buffer.size_bytes):>9}  {buffer.type}"


def _axes(kernel: Kernel) -> str:
    outer = "x".join(f"{a.extent}{'<' if a.bounded else ''}" for a in kernel.axes) or "1"
    inner = max(("x".join(str(a.extent) for a in loop.axes) for loop in kernel.loops), default="")
    return f"{outer} | {inner}" if inner else outer


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows of cells under each other, the first of which are the names of the columns."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join(
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
