"""Random programs of loops and choices for as long as you like: `make fuzz-trees MINUTES=60`.

    python tests/fuzz_trees.py [--minutes 10] [--first-seed 1000]

Every seed is one program (random_trees.py), run in every way there is. The first difference is
printed with the program's text, and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from random_trees import check_tree, random_tree

from gradc.compiler.program.text import print_program

REPORT_SECONDS = 10.0


def main() -> int:
    """Run seeds until the time is up; 0 if every way gave the same bits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to run")
    parser.add_argument("--first-seed", type=int, default=1000, help="where to begin")
    options = parser.parse_args()
    started = reported = time.monotonic()
    for seed in itertools.count(options.first_seed):
        now = time.monotonic()
        if now - started > 60.0 * options.minutes:
            print(f"seeds {options.first_seed} to {seed - 1}: no difference")
            return 0
        if now - reported > REPORT_SECONDS:
            reported = now
            print(f"seed {seed}, {(now - started) / 60.0:.1f} minutes", flush=True)
        try:
            check_tree(seed)
        except Exception as error:
            print(f"seed {seed}: {error}")
            print(print_program(random_tree(seed)))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
