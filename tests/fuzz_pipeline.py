"""Random graphs through the whole pipeline for as long as you like: `make fuzz MINUTES=60`.

    python tests/fuzz_pipeline.py [--minutes 10] [--first-seed 1000]

Every seed is one graph of operations that are exact, compared with the evaluator of graphs, and
one of the whole catalogue, compared to the last bit with the evaluator of programs: each compiled
in all four combinations of full and bounded rows, training and evaluation. Every second has loops
and branches. The first difference is
printed as text, ready to become a case, and ends the run with status 1.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from test_pipeline_random import check, check_bits

from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.testing.random_graphs import seeded_graph

REPORT_SECONDS = 10.0


def main() -> int:
    """Run seeds until the time is up; 0 if all kept their values."""
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
        size = 8 + seed % 40
        exact, any_graph = (
            seeded_graph(seed, ring=ring, size=size, regions=seed % 2 == 1)
            for ring in (True, False)
        )
        checks = ((check, exact), (check_bits, any_graph))
        for bounded, training in itertools.product((False, True), repeat=2):
            for compare, graph in checks:
                try:
                    compare(graph, seed, bounded, training)
                except Exception as error:
                    print(f"seed {seed}, bounded {bounded}, training {training}: {error}")
                    print(print_graph(graph))
                    return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
