"""Results of many runs: kept in a file from run to run, printed as a table, written as docs/interop.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.interop.runner.cases import CASES
from tests.interop.runner.peers import PEERS, ROOT
from tests.interop.runner.run import FAILED, PASSED, UNSUPPORTED, Outcome

__all__ = ["Results", "document", "pairs", "table"]

MARKS = {PASSED: "✓", FAILED: "✗", UNSUPPORTED: "–"}
NOT_RUN = " "
RESULTS = ROOT / "build" / "interop" / "results.json"


@dataclass
class Results:
    """Outcomes by ``client/server/case``; what was not run again stays as it was."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    date: str = ""

    @classmethod
    def load(cls, path: Path = RESULTS) -> Results:
        """What *path* has; empty when there is no such file."""
        if not path.exists():
            return cls()
        data = json.loads(path.read_text())
        outcomes = {key: Outcome(**value) for key, value in data["outcomes"].items()}
        return cls(outcomes, data["versions"], data["date"])

    def save(self, path: Path = RESULTS) -> None:
        """Write *path*."""
        path.parent.mkdir(parents=True, exist_ok=True)
        outcomes = {key: asdict(value) for key, value in self.outcomes.items()}
        data = {"date": self.date, "versions": self.versions, "outcomes": outcomes}
        path.write_text(json.dumps(data, indent=1))

    def get(self, client: str, server: str, case: str) -> Outcome | None:
        """How a case went, if it was run."""
        return self.outcomes.get(f"{client}/{server}/{case}")

    def mark(self, client: str, server: str, case: str) -> str:
        """✓, ✗ or –; a blank when it was not run."""
        outcome = self.get(client, server, case)
        return NOT_RUN if outcome is None else MARKS[outcome.status]


def pairs(peers: Iterable[str]) -> list[tuple[str, str]]:
    """Client and server: cwt with itself, then with each peer, as a client and as a server."""
    found = []
    for name in peers:
        found += [("cwt", "cwt")] if name == "cwt" else [("cwt", name), (name, "cwt")]
    return found


def _rows(results: Results) -> tuple[list[str], list[list[str]]]:
    columns = pairs(PEERS)
    head = ["case", *(f"{client} → {server}" for client, server in columns)]
    rows = [
        [f"{case.abbreviation} {case.name}", *(results.mark(*pair, case.name) for pair in columns)]
        for case in CASES.values()
    ]
    total = ["**passed**"]
    for pair in columns:
        marks = [results.mark(*pair, name) for name in CASES]
        ran = sum(mark in MARKS.values() and mark != MARKS[UNSUPPORTED] for mark in marks)
        total.append(f"{marks.count(MARKS[PASSED])} of {ran}")
    return head, [*rows, total]


def table(results: Results) -> str:
    """For a terminal and for Markdown: case by client → server."""
    head, rows = _rows(results)
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = (cell.center(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return f"| {' | '.join([first, *rest])} |"

    rule = ["-" * widths[0], *(f":{'-' * (width - 2)}:" for width in widths[1:])]
    return "\n".join([line(head), f"| {' | '.join(rule)} |", *map(line, rows)])


def _reasons(results: Results, status: str) -> list[str]:
    """Lines ``reason: where``, alike ones together."""
    found: dict[str, list[str]] = {}
    for client, server in pairs(PEERS):
        for name in CASES:
            outcome = results.get(client, server, name)
            if outcome is not None and outcome.status == status:
                found.setdefault(outcome.reason, []).append(f"{name} ({client} → {server})")
    return [f"- {reason}: {', '.join(where)}" for reason, where in found.items() if reason]


def document(results: Results, versions: Mapping[str, str]) -> str:
    """The text of docs/interop.md."""
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    failed = _reasons(results, FAILED) or ["None."]
    unsupported = _reasons(results, UNSUPPORTED) or ["None."]
    unsteady = _reasons(results, PASSED) or ["None."]
    return f"""# Interoperability

The cases of the [QUIC interop runner](https://github.com/quic-interop/quic-interop-runner), run by
`tests/interop/runner` without containers: client and server are processes, and a UDP proxy between them
has the delay (15 ms), rate (10 Mbit/s), queue (25 packets) and faults of the runner's network simulator.
The checks are the runner's: contents of the files, number of handshakes, Retry, versions, key phases, ECN,
path validation.  What went over the wire is decrypted with the key log for that, by cwt's own parser.

`make interop` runs all of this and rewrites this page; `cwt interop client` and `cwt interop server` speak
the runner's contract for use with the real one.  The other peers are small programs in
`tests/interop/peers` over the libraries named here; what such a program lacks, the library may have.

{results.date}: {listed}.

✓ passed, ✗ failed, – one of the two says that it does not have the case; from client → to server.

{table(results)}

## Failed

{chr(10).join(failed)}

## Passed, but not at first

{chr(10).join(unsteady)}

## Not supported

{chr(10).join(unsupported)}

## h3spec

The 34 transport and TLS cases of [h3spec](https://github.com/kazu-yamamoto/h3spec) and its 15 of HTTP/3 and
QPACK are tests, by its numbers: `tests/_core/test_h3spec.py` and `tests/h3/test_h3spec.py`.  A client with
real keys and no rules of its own does to a server of cwt what h3spec does, and must see the very error that
is named; h3spec itself also takes general ones.  The program, which is in Haskell, is not run.
"""
