"""What cwt takes before it does anything: memory of idle sessions, and time to import."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import cwt
from benchmarks import sessions
from benchmarks.processes import TIME_LIMIT
from benchmarks.sessions import Client
from benchmarks.targets.row import Effort, Result, spread

__all__ = ["imports", "memory"]

AT_ONCE = 32
WARM = 100
"""Sessions before the first look, so that what is allocated once does not count."""

SCRIPT = """
import time
began, cpu = time.perf_counter(), time.process_time()
{statement}
print(time.perf_counter() - began, time.process_time() - cpu)
"""
IMPORTS = (
    ("import cwt", 0.120),
    ("from cwt import connect, serve", 0.120),
    ("import cwt.quic", 0.060),
)


async def _idle(counts: list[int], client: Client) -> dict[str, Any]:
    opened: list[cwt.Session] = []
    wanted = 0

    async def worker() -> None:
        nonlocal wanted
        while wanted > 0:
            wanted -= 1
            opened.append(await client.connect("/idle"))

    async def reach(count: int) -> tuple[int, int]:
        nonlocal wanted
        wanted = count - len(opened)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(worker())
        return client.memory()

    before, warm = await reach(WARM)
    found = {}
    for count in counts:
        after, there = await reach(WARM + count)
        found[str(count)] = {"resident": after, "each": (after - before) / (there - warm)}
    return found


def memory(effort: Effort) -> Iterator[Result]:
    """The growth of the server's process, while nothing happens on the sessions."""
    targets = {effort.amount(1000, 5): None, effort.amount(10_000, 10): 25_000}
    found = sessions.run(partial(_idle, list(targets)), time_limit=3 * TIME_LIMIT)
    for count, target in targets.items():
        figures = found[str(count)]
        yield Result(
            name=f"memory of an idle session, {count:,} of them",
            target="" if target is None else f"under {target // 1000} kB",
            measured=f"{figures['each'] / 1000:.1f} kB, {figures['resident'] / 1e6:.0f} MB in all",
            ok=None if target is None else figures["each"] < target,
            figures=figures,
        )


def import_times(statement: str) -> tuple[float, float]:
    """Seconds by the clock and of CPU time that *statement* takes in a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    elapsed, cpu = map(float, result.stdout.split())
    return elapsed, cpu


def imports(effort: Effort) -> Iterator[Result]:
    """In fresh interpreters, what they need for themselves left out."""
    found: dict[str, list[tuple[float, float]]] = {statement: [] for statement, _ in IMPORTS}
    for _ in range(effort.amount(3 * effort.rounds, 1)):
        for statement in found:
            found[statement].append(import_times(statement))
    for statement, target in IMPORTS:
        elapsed = spread(seconds for seconds, _ in found[statement])
        cpu = spread(seconds for _, seconds in found[statement])
        yield Result(
            name=statement,
            target=f"under {target * 1e3:.0f} ms",
            measured=(
                f"{elapsed['median'] * 1e3:.0f} ms (min {elapsed['min'] * 1e3:.0f}); "
                f"CPU {cpu['median'] * 1e3:.0f} ms (min {cpu['min'] * 1e3:.0f})"
            ),
            ok=elapsed["median"] < target,
            figures={"seconds": elapsed, "cpu": cpu},
        )
