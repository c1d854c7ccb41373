"""The table of ``cwt perf client``."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cwt.cli.common import rate, seconds, size
from cwt.cli.perf.client import TESTS, Measurement

__all__ = ["table"]


def table(url: str, found: list[Measurement], duration: float) -> Table:
    """What was found so far."""
    result = Table(
        title=f"cwt perf  [dim]{url}[/]",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    result.add_column("test")
    result.add_column("rate", justify="right", no_wrap=True)
    result.add_column("total", justify="right", style="dim", no_wrap=True)
    result.add_column("CPU here", justify="right", no_wrap=True)
    result.add_column("CPU there", justify="right", no_wrap=True)
    result.add_column("", style="dim")
    for measurement in found:
        if not measurement.seconds:
            about = TESTS[measurement.test][2]
            result.add_row(measurement.test, "", "", "", "", about, style="dim")
            continue
        here, there = _cpu(measurement)
        progress = ProgressBar(duration, min(measurement.seconds, duration), width=24)
        result.add_row(
            f"[bold]{measurement.test}[/]",
            f"[bold]{_rate(measurement)}[/]",
            _total(measurement),
            here,
            there,
            Text(_more(measurement)) if measurement.done else progress,
        )
    return result


def _rate(found: Measurement) -> str:
    if found.unit == "bytes":
        return rate(found.rate)
    return f"{found.rate:,.0f} /s"


def _total(found: Measurement) -> str:
    return size(found.count) if found.unit == "bytes" else f"{found.count:,}"


def _cpu(found: Measurement) -> tuple[str, str]:
    if not found.done or not found.count:
        return "", ""
    if found.unit == "bytes":
        gigabytes = found.count / 1e9
        return (
            f"{found.client_cpu / gigabytes:.2f} s/GB",
            f"{found.server_cpu / gigabytes:.2f} s/GB",
        )
    return seconds(found.client_cpu / found.count), seconds(found.server_cpu / found.count)


def _more(found: Measurement) -> str:
    parts = []
    if found.done and found.latencies:
        parts.append(f"median {seconds(found.latency(0.5))}, 99 % {seconds(found.latency(0.99))}")
    if found.details.get("sent", 0) > found.details.get("dropped_here", 0):
        sent, dropped = found.details["sent"], found.details["dropped_here"]
        lost = max(0.0, sent - dropped - found.details["arrived"])
        parts.append(f"{lost / (sent - dropped):.1%} lost, {dropped:,.0f} dropped before they left")
    if found.details.get("lost"):
        parts.append(f"{found.details['lost']:.0f} lost")
    if found.details.get("streams"):
        parts.append(f"{found.details['streams']:.0f} streams")
    if found.details.get("server_packets_lost"):
        parts.append(f"{found.details['server_packets_lost']:.0f} packets lost")
    return ", ".join(parts) or TESTS[found.test][2]
