"""The figures of ``benchmarks.compare`` as people read them: on the terminal, in README and in docs."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.environment import Environment
from benchmarks.harness import Result
from benchmarks.stacks import STACKS
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "comparison.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- make compare writes this -->", "<!-- until here -->"
COMMAND = "make compare"


def rate(workload: Workload, result: Result) -> str:
    if workload.is_bulk:
        return f"{result.rate * 8 / 1e6:,.0f} Mbit/s"
    return f"{result.rate:,.0f}/s"


def cpu(workload: Workload, seconds: float, done: int) -> str:
    """CPU time of each unit: seconds of a GB, microseconds of anything else."""
    each = seconds / max(done, 1)
    return f"{each * 1e9:,.2f}" if workload.is_bulk else f"{each * 1e6:,.1f}"


def better_first(workload: Workload, results: list[Result]) -> list[Result]:
    """Least CPU (or memory) first; what has no figure last, failures before what does not apply."""

    mine = [result for result in results if result.workload == workload.name]
    return sorted(mine, key=lambda result: (result.cost, not result.is_failure))


def _row(workload: Workload, result: Result) -> list[str]:
    name = result.stack
    if result.reason:
        word = "failed" if result.is_failure else "none"
        return [name, f"{word}: {result.reason}"]
    if workload.name == "memory":
        return [name, f"{result.memory / 1000:,.1f} kB"]
    cells = [name, rate(workload, result)]
    if workload.name == "datagrams":
        cells.append(f"{result.lost:.1%}" if result.lost else "0")
    cells += [
        cpu(workload, seconds, result.done)
        for seconds in (result.cpu, result.client_cpu, result.server_cpu)
    ]
    return cells


def _head(workload: Workload) -> list[str]:
    if workload.name == "memory":
        return ["stack", "each"]
    unit = "s/GB" if workload.is_bulk else "µs each"
    head = ["stack", "rate"]
    if workload.name == "datagrams":
        head.append("lost")
    return [*head, f"CPU, {unit}", "of the client", "of the server"]


def _markdown(rows: list[list[str]]) -> str:
    width = len(rows[0])
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (width - 1))
    return "\n".join(lines)


def _table(workload: Workload, results: list[Result]) -> list[list[str]]:
    rows = [_row(workload, result) for result in better_first(workload, results)]
    return [_head(workload), *rows]


def _measured(results: list[Result]) -> list[Workload]:
    names = {result.workload for result in results}
    return [workload for workload in WORKLOADS.values() if workload.name in names]


def text(environment: Environment, results: list[Result]) -> str:
    """For the terminal."""
    parts = [environment.describe()]
    for workload in _measured(results):
        rows = _table(workload, results)
        whole = [row for row in rows if len(row) == len(rows[0])]
        widths = [max(len(row[column]) for row in whole) for column in range(len(rows[0]))]
        widths[0] = max(len(row[0]) for row in rows)
        parts.append(f"\n{workload.title}")
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            if len(row) == len(rows[0]):
                cells += [
                    cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
                ]
            else:
                cells += row[1:]
            parts.append(("  " + "   ".join(cells)).rstrip())
    return "\n".join(parts)


def _versions(results: list[Result]) -> str:
    rows = [["stack", "version", "streams of", "written in"]]
    for name, entry in STACKS.items():
        mine = [result for result in results if result.stack == name]
        if not mine:
            continue
        version = next((result.version for result in mine if result.version), "")
        rows.append([name, version or mine[0].reason, entry.protocol, entry.language])
    return _markdown(rows).replace("---:", "---")


METHOD = """\
Each stack talks to itself over loopback, client and server in processes of their own, with the
settings it comes with, the cipher suite that it prefers among them; only limits on the number of
connections are raised. Certificates are not verified. Applications write 64 KiB at a time where the
stack lets them wait. CPU time is user and system of all threads, read around the measured work
only; of several runs, the one that took the least counts, as other work on the machine can only add
to it. Rates vary more than CPU times. Least CPU first."""

NOTES = """\
Path MTU discovery of `cwt` is held to packets of 1452 bytes, as on Ethernet: that is where those of
quinn and quic-go end. `cwt-jumbo` is without this limit, and loopback takes packets of 64 KB; TCP
makes use of that, too. `cwt-quic` is `cwt.quic` without asyncio and HTTP/3, driven by `select`.

`quiche` is without the Retry that tokio-quiche sends by default, as no other peer here sends one.
`iroh` is a fork of quinn; its binding copies what is sent in a loop of Python over the bytes.
`websockets` and `asyncio-tls` are what one would take without QUIC: one stream of messages in
order, so requests in flight wait for each other."""


def document(environment: Environment, results: list[Result]) -> str:
    """The whole of ``docs/comparison.md``."""
    parts = [
        "# Side by side with other stacks",
        f"`{COMMAND}` measured this: {environment.describe()}.",
        METHOD,
        _versions(results),
        NOTES,
    ]
    for workload in _measured(results):
        parts.append(f"## {workload.title[0].upper()}{workload.title[1:]}")
        parts.append(_markdown(_table(workload, results)))
    return "\n\n".join(parts) + "\n"


SUMMARY = (
    ("upload", "upload, CPU s/GB"),
    ("download", "download"),
    ("requests", "requests, CPU µs"),
    ("datagrams", "datagrams, CPU µs"),
    ("handshakes", "handshakes, CPU µs"),
    ("memory", "idle session, kB"),
)
"""Columns of README's table."""


def _cell(result: Result | None) -> str:
    if result is None or result.reason:
        return "failed" if result is not None and result.is_failure else "–"
    if result.memory:
        return f"{result.memory / 1000:,.0f}"
    workload = WORKLOADS[result.workload]
    each = result.cpu / max(result.done, 1) * (1e9 if workload.is_bulk else 1e6)
    return f"{each:,.2f}" if each < 10 else f"{each:,.0f}"


def summary(environment: Environment, results: list[Result]) -> str:
    """README's section between its markers."""
    found = {(result.stack, result.workload): result for result in results}
    columns = [(name, title) for name, title in SUMMARY if any(key[1] == name for key in found)]
    rows = [["", *(title for _, title in columns)]]
    for stack, entry in STACKS.items():
        mine = [found.get((stack, name)) for name, _ in columns]
        if any(result is not None and not result.reason for result in mine):
            title = stack if entry.protocol == "WebTransport" else f"{stack} ({entry.protocol})"
            rows.append([title, *(_cell(result) for result in mine)])
    return "\n\n".join(
        [
            BEGIN,
            "![CPU time of client and server, by stack](docs/images/comparison.png)",
            _markdown(rows),
            f"{environment.describe()}.",
            END,
        ]
    )


def write(environment: Environment, results: list[Result]) -> None:
    """Put everything where README and docs show it."""
    from benchmarks import chart

    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(environment, results))
    readme = README.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    README.write_text(pattern.sub(lambda _: summary(environment, results), readme))
    chart.write(environment, results)
