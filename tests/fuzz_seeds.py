"""Seeds for as long as one likes: the options of the programs that fuzz, and their progress."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator

REPORT_SECONDS = 10.0


def seeds(description: str | None) -> Iterator[int]:
    """Seeds from --first-seed on, until --minutes are over; then it says that all were alike."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to run")
    parser.add_argument("--first-seed", type=int, default=1000, help="where to begin")
    options = parser.parse_args()
    started = reported = time.monotonic()
    for seed in itertools.count(options.first_seed):
        now = time.monotonic()
        if now - started > 60.0 * options.minutes:
            print(f"seeds {options.first_seed} to {seed - 1}: no difference")
            return
        if now - reported > REPORT_SECONDS:
            reported = now
            print(f"seed {seed}, {(now - started) / 60.0:.1f} minutes", flush=True)
        yield seed
