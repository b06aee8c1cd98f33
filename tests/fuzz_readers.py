"""The native readers of files against mutated files: `make fuzz-readers MINUTES=60`.

    python tests/fuzz_readers.py [--minutes 10] [--seed 1]

Both targets of tests/native run in turn under the sanitizers, each for half of the time. What
reaches something new is kept in build/fuzz-readers, and the next run goes on from there. The first
crash ends the run with status 1 and leaves the input in a file, ready for tests/native/corpus.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

from native_files import ROOT, TARGETS, TESTS, build_target, write_seeds


def main() -> int:
    """Fuzz both readers; 0 if neither crashed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to run")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    options = parser.parse_args()
    folder = ROOT / "build" / "fuzz-readers"
    for target in TARGETS:
        kept = folder / f"{target}-kept"
        corpus = write_seeds(folder / f"{target}-seeds", target)
        kept.mkdir(exist_ok=True)
        crash = folder / f"{target}-crash"
        command: list[Any] = [
            build_target(folder, target),
            *("--seconds", options.minutes * 30.0),
            *("--seed", options.seed),
            *("--crash", crash),
            *("--save", kept),
            *(corpus, TESTS / "corpus" / target, kept),
        ]
        print(f"{target}:", flush=True)
        if subprocess.run([str(word) for word in command]).returncode:
            print(f"a crash, by {crash}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
