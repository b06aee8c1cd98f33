"""Random programs of loops and choices for as long as you like: `make fuzz-trees MINUTES=60`.

    python tests/fuzz_trees.py [--minutes 10] [--first-seed 1000]

Every seed is one program (random_trees.py), run in every way there is. The first difference is
printed with the program's text, and ends the run with status 1.
"""

from __future__ import annotations

import sys

from fuzz_seeds import seeds
from random_trees import check_tree, random_tree

from gradc.compiler.program.text import print_program


def main() -> int:
    """Run seeds until the time is up; 0 if every way gave the same bits."""
    for seed in seeds(__doc__):
        try:
            check_tree(seed)
        except Exception as error:
            print(f"seed {seed}: {error}")
            print(print_program(random_tree(seed)))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
