"""Random graphs through the whole pipeline for as long as you like: `make fuzz MINUTES=60`.

    python tests/fuzz_pipeline.py [--minutes 10] [--first-seed 1000]

Every seed is one graph of operations that are exact, compared with the evaluator of graphs, and
one of the whole catalogue, compared to the last bit with the evaluator of programs: each compiled
in all four combinations of full and bounded rows, training and evaluation. Every second has loops
and branches. The first difference is
printed as text, ready to become a case, and ends the run with status 1.
"""

from __future__ import annotations

import itertools
import sys

from fuzz_seeds import seeds
from test_pipeline_random import check, check_bits

from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.testing.random_graphs import seeded_graph


def main() -> int:
    """Run seeds until the time is up; 0 if all kept their values."""
    for seed in seeds(__doc__):
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
