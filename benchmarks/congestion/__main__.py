"""``python -m benchmarks.congestion``: every cell of the grid, in virtual time, and pictures.

Exits with 1 when a cell stays below what is expected of it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.congestion import cells, report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.congestion", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("grid", "plots"), default="grid")
    parser.add_argument("--write", action="store_true", help="into docs/, too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--output", type=Path, default=Path("build/congestion"), metavar="DIR")
    options = parser.parse_args()
    if options.what == "plots":
        from benchmarks.congestion import plots

        for path in plots.draw(options.output, options.write):
            print(path)
        return 0
    alone, lossy, shared = cells.alone(), cells.lossy(), cells.shared()
    outcomes = cells.run([*alone, *lossy, *shared], options.jobs, options.seed)
    first, second = len(alone), len(alone) + len(lossy)
    tables = report.text(outcomes[:first], outcomes[first:second], outcomes[second:])
    print(tables)
    if options.write:
        report.write(tables)
    misses = [miss for outcome in outcomes for miss in outcome.misses]
    print("\n".join(misses) or "every cell as expected")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
