"""``python -m tests.fuzz --runs 1000000 --seed 1``: all targets, each in a process of its own."""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tests.fuzz.engine import Failed, LastInput, Report, run
from tests.fuzz.targets import TARGETS, shares

LAST = Path("build/fuzz")


def child(name: str, runs: int, seed: int) -> int:
    """Run one target here; the report goes to standard output, what went wrong to standard error."""
    logging.disable(logging.WARNING)
    faulthandler.enable()
    try:
        report = run(name, runs, seed, last=LastInput(LAST / name))
    except Failed as failed:
        cause = failed.__cause__
        if cause is not None:
            import traceback

            traceback.print_exception(cause)
        print(failed, file=sys.stderr)
        return 1
    print(json.dumps(asdict(report)))
    return 0


def start(name: str, runs: int, seed: int) -> Report | str:
    """Run one target in a process; what went wrong comes back as text."""
    arguments = ["--target", name, "--runs", str(runs), "--seed", str(seed), "--child"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return Report(**json.loads(done.stdout.splitlines()[-1]))
    last = f"the last input is in {LAST / name}, behind its index and length of 8 bytes each"
    return f"{name}: ended with status {done.returncode}; {last}\n{done.stderr[-20000:]}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs in all: %(default)s")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the time")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    if options.child:
        return child(names[0], options.runs, options.seed)
    parts = shares(tuple(names))
    print(f"{options.runs} inputs, seed {options.seed}", flush=True)
    begin = time.perf_counter()
    failures: list[str] = []
    total = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {
            pool.submit(start, name, max(1, round(options.runs * parts[name])), options.seed): name
            for name in reversed(names)  # the parsers, which are quick, come last
        }
        for future in as_completed(futures):
            result = future.result()
            if isinstance(result, str):
                failures.append(result)
                print(f"  {futures[future]:<22} FAILED", flush=True)
                continue
            total += result.runs
            print(
                f"  {result.name:<22} {result.runs:>8} inputs {result.rate:>9,.0f}/s"
                f"  memory {result.growth / 1e6:+6.1f} MB",
                flush=True,
            )
    seconds = time.perf_counter() - begin
    print(f"{total} inputs in {seconds:.0f} s, {len(failures)} failures")
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
