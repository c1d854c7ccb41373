"""``python -m tests.interop.runner``: cases against peers, in both roles, and a table of how it went."""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from tests.interop.runner.cases import CASES
from tests.interop.runner.peers import PEERS, ROOT, Unavailable
from tests.interop.runner.report import MARKS, Results, document, pairs, table
from tests.interop.runner.run import FAILED, PASSED, UNSUPPORTED, Outcome, run_case

PAGE = ROOT / "docs" / "interop.md"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.interop.runner", description=__doc__)
    parser.add_argument("--peers", default=",".join(PEERS), help="names with commas between")
    parser.add_argument("--cases", default=",".join(CASES), help="names with commas between")
    parser.add_argument(
        "--role", choices=("client", "server", "both"), default="both", help="of cwt"
    )
    parser.add_argument("--jobs", type=int, default=2, help="cases at once")
    parser.add_argument("--fast", action="store_true", help="smaller files, sooner faults")
    parser.add_argument("--again", action="store_true", help="only what did not pass the last time")
    parser.add_argument("--write", action="store_true", help="write docs/interop.md")
    parser.add_argument("--keep", type=Path, help="directory for logs and files of each run")
    return parser.parse_args()


def _run(client: str, server: str, name: str, fast: bool, keep: Path | None) -> Outcome:
    case = CASES[name].faster() if fast else CASES[name]
    if keep is not None:
        return run_case(case, PEERS[client], PEERS[server], keep / f"{client}-{server}" / name)
    with tempfile.TemporaryDirectory(prefix="cwt-interop-") as directory:
        return run_case(case, PEERS[client], PEERS[server], Path(directory) / name)


def _available(names: list[str]) -> dict[str, str]:
    """The version of each of *names* that can be run; builds what is to be built."""
    versions = {}
    for name in names:
        try:
            PEERS[name].start()
        except Unavailable as error:
            print(f"{name} is left out: {error}", flush=True)
        else:
            versions[name] = PEERS[name].version()
    return versions


def _all_pairs(peers: list[str], role: str) -> list[tuple[str, str]]:
    return [
        (client, server)
        for client, server in pairs(peers)
        if role == "both" or (client if role == "client" else server) == "cwt"
    ]


def main() -> int:
    """Run what the arguments say; the status is 1 when a case failed."""
    options = _arguments()
    versions = _available(options.peers.split(","))
    results = Results.load()
    results.versions.update(versions)
    results.date = datetime.datetime.now(datetime.UTC).date().isoformat()
    chosen = [
        (client, server, name)
        for client, server in _all_pairs(list(versions), options.role)
        for name in options.cases.split(",")
        if not (options.again and results.mark(client, server, name) == "✓")
    ]
    failed = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        running = {pool.submit(_run, *one, options.fast, options.keep): one for one in chosen}
        for future in as_completed(running):
            client, server, name = running[future]
            outcome = future.result()
            failed += outcome.status == FAILED
            before = results.get(client, server, name)
            if before is not None and before.status == FAILED and outcome.status == PASSED:
                outcome = replace(outcome, reason=f"another run: {before.reason}")
            results.outcomes[f"{client}/{server}/{name}"] = outcome
            results.save()
            seconds = "" if outcome.status == UNSUPPORTED else f" {outcome.seconds:.1f} s"
            print(
                f"{MARKS[outcome.status]} {name}: {client} → {server}{seconds} {outcome.reason}",
                flush=True,
            )
    print(f"\n{table(results)}")
    if options.write:
        PAGE.write_text(document(results, results.versions))
        print(f"\nwritten: {PAGE.relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
