"""What bench_training.py keeps: one row per workload and number of threads, as JSON and as text.

A row that is measured again takes the place of the one that was there. Rows of another machine, or
of other versions of the libraries, are dropped: their figures are comparable with none of these.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import common
from candidates import GRADC

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("frontend", "compiler", "runtime", ":(glob)benchmarks/*.py")
PASSING = ("load average", "cpu MHz")  # facts that change from run to run
MOVED = "moved"
NOTE_MOVED = (
    f'note: "{MOVED}": the cores did not lie alike in all rounds, or the machine was busy (see '
    "benchmarks/barrier.py); such a ratio is not final"
)


def revision(root: Path = ROOT) -> str:
    """Of the sources that are measured; "" where git does not know. Results are no sources: rows
    that were written do not make the next ones another revision's."""
    questions = (["log", "-1", "--format=%h"], ["status", "--porcelain"])
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(root), *question, "--", *SOURCES],
                capture_output=True, text=True, check=True,
            ).stdout.strip()
            for question in questions
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{commit} and changes" if changed else commit


def with_ratios(row: Row) -> Row:
    """The row with what follows from its times: rates, parts of the peak, the best rival.

    row   `candidates` by name, each with its `seconds` per step; `flops`, `peak gflops`. Without
          gradc among the candidates, or without a rival, there is no ratio
    """
    row = row | {"candidates": {n: dict(c) for n, c in row["candidates"].items()}}
    found, ours = row["candidates"], row["candidates"].get(GRADC)
    row["floor seconds"] = row["flops"] / row["peak gflops"] / 1e9
    for facts in found.values():
        seconds = facts["seconds"]["median"]
        facts["gflops"] = row["flops"] / seconds / 1e9
        facts["part of peak"] = row["floor seconds"] / seconds
        facts["time / gradc"] = seconds / ours["seconds"]["median"] if ours else None
    rivals = {n: c["seconds"]["median"] for n, c in found.items() if n != GRADC}
    row["best rival"] = min(rivals, key=lambda name: rivals[name]) if rivals else None
    row["gradc / best rival"] = None
    if ours and rivals:
        row["gradc / best rival"] = ours["seconds"]["median"] / rivals[row["best rival"]]
    return row


def barrier_class(costs: Sequence[Mapping[str, Any]]) -> str:
    """The class that the cores had in every round, "" for one thread, "moved" if there is none."""
    classes = {cost.get("class", "busy") for cost in costs}
    return classes.pop() if len(classes) == 1 and "busy" not in classes else MOVED


class Results:
    """The rows so far, beside them the files that they are written to.

    path   of the JSON file; the text lies beside it
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path, self.facts = path, dict(facts)
        self.rows: dict[tuple[str, int], Row] = {}
        if path.exists():
            stored = json.loads(path.read_text())
            if _lasting(stored["machine"]) == _lasting(facts):
                rows = [row for row in stored["rows"] if "candidates" in row]  # not of old formats
                self.rows = {(row["workload"], row["threads"]): row for row in rows}

    def has(self, wanted: Row) -> bool:
        """Whether there is a row that was measured as this one would be."""
        row = self.rows.get((wanted["workload"], wanted["threads"]), {})
        return bool(row) and all(row.get(name) == value for name, value in wanted.items())

    def of(self, workloads: Sequence[str]) -> list[Row]:
        """The rows of these workloads, in their order."""
        known = {name: number for number, name in enumerate(workloads)}
        found = [row for row in self.rows.values() if row["workload"] in known]
        return sorted(found, key=lambda row: (known[row["workload"]], row["threads"]))

    def put(self, row: Row, order: Sequence[str]) -> None:
        """Keep a row and write both files; `order` is that of the workloads."""
        self.rows[row["workload"], row["threads"]] = row
        kept = self.of(order)
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps({"machine": self.facts, "rows": kept}, indent=1) + "\n")
        lines = [common.machine_line(self.facts), "", summary(kept)]
        lines += [f"\n{details(r)}" for r in kept]
        self.path.with_suffix(".txt").write_text("\n".join(lines) + "\n")


def _lasting(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in PASSING}


def summary(rows: Sequence[Row]) -> str:
    """One line per row: gradc, its best rival, the ratio, the floor."""
    lines = []
    for row in rows:
        ours = row["candidates"].get(GRADC)
        rival = row["candidates"].get(row["best rival"])
        lines.append([
            row["workload"],
            str(row["batch"]),
            str(row["threads"]),
            _ms(ours["seconds"]["median"]) if ours else "-",
            row["best rival"] or "-",
            _ms(rival["seconds"]["median"]) if rival else "-",
            _ratio(row),
            _ms(row["floor seconds"]),
            f"{ours['part of peak']:.0%}" if ours else "-",
            f"{row['barrier ns']:.0f}",
        ])  # fmt: skip
    header = [
        "ms per step", "batch", "threads", "gradc", "best rival", "its ms", "gradc / it", "floor",
        "of peak", "barrier ns",
    ]  # fmt: skip
    shown = common.table(header, lines)
    return f"{shown}\n{NOTE_MOVED}" if any(MOVED in line[6] for line in lines) else shown


def details(row: Row) -> str:
    """All candidates of one row."""
    lines = []
    for name, facts in row["candidates"].items():
        seconds, over = facts["seconds"], facts["time / gradc"]
        lines.append([
            name,
            *(common.number(seconds[which] * 1e6) for which in ("best", "median", "worst")),
            common.number(1 / seconds["median"]),
            f"{facts['gflops']:.1f}",
            f"{facts['part of peak']:.0%}",
            "-" if over is None else f"{over:.2f}",
            f"{facts['first step seconds']:.2f}",
            f"{facts['peak MiB']:.0f}",
        ])  # fmt: skip
    header = [
        "us per step", "best", "median", "worst", "steps/s", "GFLOP/s", "of peak", "time / gradc",
        "first step s", "peak MiB",
    ]  # fmt: skip
    place = f" ({row['barrier class']})" if row["barrier class"] else ""
    title = (
        f"{row['workload']}, batch {row['batch']}, threads {row['threads']}: "
        f"{row['flops'] / 1e6:,.3g} MFLOP, floor {_ms(row['floor seconds'])} ms at "
        f"{row['peak gflops']:.1f} GFLOP/s; "
        f"a kernel and a barrier {row['barrier ns']:.0f} ns{place}"
    )
    failed = [f"{name}: {reason}" for name, reason in row["failed"].items()]
    best = f"gradc / {row['best rival'] or 'best rival'}: {_ratio(row)}"
    return "\n".join([title, common.table(header, lines), *failed, best])


def _ms(seconds: float) -> str:
    return common.number(seconds * 1e3)


def _ratio(row: Row) -> str:
    if row["gradc / best rival"] is None:
        return "none"
    mark = f" {MOVED}" if row["barrier class"] == MOVED else ""
    return f"{row['gradc / best rival']:.2f}{mark}"


def as_facts(seconds: common.Spread, begun: Mapping[str, Any], mebibytes: float) -> dict[str, Any]:
    """What is kept of one candidate."""
    return {"seconds": asdict(seconds), "peak MiB": mebibytes, **begun}
