"""``python -m benchmarks.targets``: measure the table, or some rows of it."""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks import environment
from benchmarks.processes import waits
from benchmarks.targets import ROWS, Effort, Result
from cwt._core.crypto import aead


def machine() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "cpu": environment.machine(),
        "system": environment.kernel(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "aead": f"{aead.backend}, {aead.library_version}",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def print_table(results: Iterable[Result]) -> list[Result]:
    """As Markdown, each line as soon as it is there."""
    print("| row | target | measured | ok |\n|---|---|---|---|", flush=True)
    shown = []
    for result in results:
        ok = {True: "yes", False: "**no**", None: ""}[result.ok]
        print(f"| {result.name} | {result.target} | {result.measured} | {ok} |", flush=True)
        shown.append(result)
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="rows:\n" + "\n".join(f"  {row.name:12} {row.what}" for row in ROWS.values()),
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all without any")
    parser.add_argument("--rounds", type=int, default=Effort().rounds, help="repetitions")
    parser.add_argument("--scale", type=float, default=1.0, help="of the amount of work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    logging.disable(logging.WARNING)
    effort = Effort(rounds=options.rounds, scale=options.scale)
    about = machine()
    print("\n".join(f"{key}: {value}" for key, value in about.items()), end="\n\n", flush=True)
    rows = [ROWS[name] for name in options.rows or ROWS]
    shown = print_table(result for row in rows for result in row.measure(effort))
    if waits:
        print(
            f"\nThe processes waited for a CPU {median(waits):.0%} of their time, one of them "
            f"{max(waits):.0%}: what goes by the clock suffers by as much."
        )
    if options.json:
        values = {"machine": about, "waited": waits, "rows": [asdict(result) for result in shown]}
        options.json.write_text(json.dumps(values, indent=1) + "\n")
    return 0 if all(result.ok is not False for result in shown) else 1


if __name__ == "__main__":
    sys.exit(main())
