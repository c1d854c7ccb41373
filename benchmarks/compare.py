"""Several stacks through the same workloads in one run: ``python -m benchmarks.compare``.

Each stack talks to itself over loopback, client and server in processes of their own, with the settings it
comes with.  CPU time is that of both processes, user and system.  Certificates are not verified.
``--write`` puts the figures into README, ``docs/comparison.md`` and the charts there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import report
from benchmarks.environment import Environment
from benchmarks.harness import Result, measure
from benchmarks.stacks import STACKS, NotHere
from benchmarks.workloads import WORKLOADS
from cwt.tls.development import development_certificate


def progress(text: str) -> None:
    print(f"\r{text}\033[K" if sys.stderr.isatty() else text, end="", file=sys.stderr, flush=True)
    if not sys.stderr.isatty():
        print(file=sys.stderr)


def run_stack(
    name: str, workloads: list[str], options: argparse.Namespace, certificate: tuple[str, str]
) -> list[Result]:
    progress(f"{name}: building ..." if STACKS[name].build else f"{name} ...")
    workloads = [each for each in workloads if each in (STACKS[name].workloads or WORKLOADS)]
    try:
        command = STACKS[name].command(options.uvloop)
    except NotHere as error:
        return [Result(stack=name, workload=each, reason=str(error)) for each in workloads]
    results = []
    for workload in workloads:
        progress(f"{name}: {WORKLOADS[workload].title} ...")
        results.append(
            measure(
                name,
                command,
                WORKLOADS[workload],
                certificate,
                seconds=options.seconds,
                repeat=options.repeat,
                sessions=options.sessions,
            )
        )
    return results


def run(options: argparse.Namespace) -> list[Result]:
    workloads = options.workloads.split(",")
    results = []
    with tempfile.TemporaryDirectory() as directory:
        certfile, keyfile = development_certificate().write(directory)
        for stack in options.stacks.split(","):
            results += run_stack(stack, workloads, options, (str(certfile), str(keyfile)))
    progress("")
    return results


def load(paths: list[Path]) -> tuple[Environment, list[Result]]:
    """What earlier runs found; where two have the same stack and workload, the lower cost counts."""
    results: dict[tuple[str, str], Result] = {}
    environments = []
    for path in paths:
        values = json.loads(path.read_text())
        environments.append(Environment(**values["environment"]))
        for each in values["results"]:
            result = Result(**each)
            key = result.stack, result.workload
            results[key] = min(results.get(key, result), result, key=lambda found: found.cost)
    first = environments[0]
    if any(other.machine != first.machine for other in environments):
        raise SystemExit("these runs were made on different machines")
    return first, list(results.values())


def save(path: Path, environment: Environment, results: list[Result]) -> None:
    values = {
        "environment": asdict(environment),
        "results": [asdict(result) for result in results],
    }
    path.write_text(json.dumps(values, indent=1) + "\n")


def choices(known: dict[str, object]) -> str:
    return f"comma-separated, of {', '.join(known)}; all by default"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--stacks", default=",".join(STACKS), help=choices({**STACKS}))
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=choices({**WORKLOADS}))
    parser.add_argument("--seconds", type=float, default=0.7, help="length of each measured run")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the cheapest counts")
    parser.add_argument("--sessions", type=int, default=500, help="how many idle ones are held")
    parser.add_argument("--uvloop", action="store_true", help="instead of the stock event loop")
    parser.add_argument("--json", type=Path, help="write every figure to this file, too")
    parser.add_argument(
        "--from-json", type=Path, nargs="+", help="report on earlier runs instead of measuring"
    )
    parser.add_argument("--write", action="store_true", help="update README and docs")
    options = parser.parse_args()
    for chosen, known in ((options.stacks, STACKS), (options.workloads, WORKLOADS)):
        if unknown := [name for name in chosen.split(",") if name not in known]:
            parser.error(f"not known: {', '.join(unknown)}")
    if options.from_json:
        environment, results = load(options.from_json)
    else:
        environment, results = Environment.here(options.uvloop), run(options)
    if options.json:
        save(options.json, environment, results)
    print(report.text(environment, results))
    if options.write:
        report.write(environment, results)


if __name__ == "__main__":
    main()
