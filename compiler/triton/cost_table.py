"""The predicted cost of a step as text: a line for each kernel, and what to tune first.

predicted for an H200 SXM (sm_90), not measured: 35.0 us a step, 16 launches, all held in its
cache; at peaks 21.8 us
launches 20.8 us, arithmetic 9.2 us, latency 5.0 us

  kernel  runs  programs  bytes      by programs  MFLOP   unit  us    floor  bound by
  k2      1     16        1.0 MiB    3.1 MiB      25.756  fma   6.60  1.69   arithmetic

tune first: k2 (4.9 us over its floor: arithmetic, 16 programs), ...
"""

from __future__ import annotations

from collections.abc import Sequence

from ..inspect import in_bytes, table
from .costs import KernelCost, StepCost

MOST_TUNED = 3
SHORTEST_GAIN_US = 0.05
"""Of a kernel that is named as one to be tuned."""


def cost_text(cost: StepCost, architecture: str, most: int | None = None) -> str:
    """All of it; of the kernels so many at most, those that take longest first."""
    shown = cost.kernels
    if most is not None:
        shown = tuple(sorted(shown, key=lambda k: -k.runs * k.time_us)[:most])
    left = len(cost.kernels) - len(shown)
    others = f"  and {left} more kernel{'s' * (left != 1)}" if left else ""
    lines = "\n".join([_kernel_table(shown), *([others] if others else [])])
    parts = [headline(cost, architecture), lines, tune_first(cost)]
    return "\n\n".join(part for part in parts if part)


def headline(cost: StepCost, architecture: str) -> str:
    """What a step takes, at the peaks too, and what takes it."""
    article = "an" if cost.peaks.name[0] in "AH" else "a"
    rounds = f", {cost.rounds} rounds of the host" if cost.rounds else ""
    found = sorted(cost.shares_us.items(), key=lambda share: -share[1])
    shares = [f"{name} {_us(time)} us" for name, time in found]
    many = "one launch for many of them"
    launches = many if cost.blocks is None else f"{cost.launches:,} launches"
    held = "in its cache" if cost.in_cache else "in memory"
    return (
        f"predicted for {article} {cost.peaks.name} ({architecture}), not measured: "
        f"{_us(cost.time_us)} us a step, {launches}{rounds}, all held {held}; "
        f"at peaks {_us(cost.floor_us)} us\n{', '.join(shares)}"
    )


def _us(time: float) -> str:
    """A time; of less than ten microseconds with two digits behind the point."""
    return f"{time:,.1f}" if time >= 10 else f"{time:.2f}"


def _kernel_table(kernels: Sequence[KernelCost]) -> str:
    names = ("kernel", "runs", "programs", "bytes", "by programs", "MFLOP", "unit")
    rows: list[tuple[str, ...]] = [(*names, "us", "floor", "bound by")]
    rows += [
        (
            k.kernel,
            str(k.runs),
            str(k.programs),
            in_bytes(k.memory_bytes),
            in_bytes(k.cache_bytes),
            f"{(k.element_flops + k.product_flops) / 1e6:.3f}",
            k.unit if k.product_flops else "",
            f"{k.time_us:.2f}",
            f"{k.floor_us:.2f}",
            k.bound,
        )
        for k in kernels
    ]
    return table(rows)


def tune_first(cost: StepCost) -> str:
    """The kernels of which most could be gained; "" if of none."""
    found = [k for k in cost.to_tune[:MOST_TUNED] if k.gain_us >= SHORTEST_GAIN_US]
    return "tune first: " + ", ".join(map(_reason, found)) if found else ""


def _reason(k: KernelCost) -> str:
    runs = "" if k.runs == 1 else f" in {k.runs} runs"
    programs = f"{k.programs} program{'s' * (k.programs != 1)}"
    return f"{k.kernel} ({k.gain_us:.1f} us over its floor{runs}: {k.bound}, {programs})"
