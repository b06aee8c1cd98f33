"""Run every benchmark of this folder, one after the other.

    python benchmarks/run_all.py [--list] [NAME ...]

Exit status 1 if one of them failed; the others run nevertheless.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

SCRIPTS = {
    path.stem.removeprefix("bench_"): path
    for path in sorted(Path(__file__).parent.glob("bench_*.py"))
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help="these alone; by default all")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in SCRIPTS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(SCRIPTS)}")
    if options.list:
        for name, script in SCRIPTS.items():
            summary = (ast.get_docstring(ast.parse(script.read_text())) or "").splitlines()[0]
            print(f"{name:14}{summary}")
        return
    failed = []
    for name in options.names or SCRIPTS:
        print(f"\n=== {SCRIPTS[name].name}", flush=True)
        if subprocess.run([sys.executable, str(SCRIPTS[name])], check=False).returncode:
            failed.append(SCRIPTS[name].name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
