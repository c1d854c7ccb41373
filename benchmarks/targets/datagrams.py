"""Datagrams one way: how fast they leave, and how many arrive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import cwt
from benchmarks import sessions
from benchmarks.processes import cpu_seconds
from benchmarks.sessions import Client
from benchmarks.targets.row import Effort, Result

__all__ = ["datagrams"]

BATCH = 256
PAUSE = 0.001
"""Seconds between batches that have a rate."""
SETTLE = 0.3
"""Seconds after which what is on its way has arrived."""


async def _flood(session: cwt.Session, data: bytes, seconds: float, many: bool) -> int:
    """Send for *seconds* as fast as they leave; how many did."""
    datagrams, batch, sent = session.datagrams, [data] * BATCH, 0
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        taken = datagrams.send_many(batch) if many else sum(map(datagrams.send, batch))
        sent += taken
        await datagrams.drain()
    return sent


async def _paced(session: cwt.Session, data: bytes, seconds: float, rate: float) -> int:
    """Send *rate* a second; how many that were."""
    datagrams, sent = session.datagrams, 0
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        due = int(elapsed * rate) - sent
        sent += due
        while due > 0:
            datagrams.send_many([data] * min(due, BATCH))
            due -= BATCH
            await datagrams.drain()
        await asyncio.sleep(PAUSE)
    return sent


async def _work(seconds: float, many: bool, rate: float | None, client: Client) -> dict[str, Any]:
    async with client.connect() as session:
        data = bytes(session.datagrams.max_size)
        await asyncio.sleep(0.05)
        before, stats = client.report(), session.stats().connection
        began, cpu = time.perf_counter(), cpu_seconds()
        if rate is None:
            sent = await _flood(session, data, seconds, many)
        else:
            sent = await _paced(session, data, seconds, rate)
        elapsed, spent = time.perf_counter() - began, cpu_seconds() - cpu
        await asyncio.sleep(SETTLE)
        after = client.report()
        end = session.stats().connection
        dropped = end.datagrams_dropped_outgoing - stats.datagrams_dropped_outgoing
    arrived = after["datagrams"] - before["datagrams"]
    return {
        "size": len(data),
        "sent": sent,
        "dropped_here": dropped,
        "lost": end.datagrams_lost - stats.datagrams_lost,
        "dropped_there": after["dropped"] - before["dropped"],
        "congestion_window": end.congestion_window,
        "rtt": end.smoothed_rtt,
        "arrived": arrived,
        "delivered": arrived / sent,
        "sent_per_second": sent / elapsed,
        "arrived_per_second": arrived / elapsed,
        "sent_per_core_second": sent / spent,
        "arrived_per_core_second": arrived / (after["cpu"] - before["cpu"]),
    }


def most(rounds: list[dict[str, Any]], name: str) -> float:
    return float(max(found[name] for found in rounds))


def middle(rounds: list[dict[str, Any]], name: str) -> float:
    return float(median(found[name] for found in rounds))


def datagrams(effort: Effort) -> Iterator[Result]:
    """As large as 1200-byte packets take them."""
    seconds = max(0.05, effort.scale)
    peaks: dict[str, float] = {}
    for many, target in ((True, 400_000), (False, 150_000)):
        rounds = [sessions.run(partial(_work, seconds, many, None)) for _ in range(effort.rounds)]
        rate = most(rounds, "sent_per_core_second")
        if many:
            peaks["sent"] = most(rounds, "sent_per_second")
            peaks["that arrives"] = most(rounds, "arrived_per_second")
        yield Result(
            name=f"datagrams, {'send_many' if many else 'send'}",
            target=f"{target:,} a second sent a core",
            measured=(
                f"{rate:,.0f} of {rounds[0]['size']} bytes "
                f"(median {middle(rounds, 'sent_per_core_second'):,.0f}); by the clock "
                f"{most(rounds, 'sent_per_second'):,.0f} sent and "
                f"{most(rounds, 'arrived_per_second'):,.0f} arrived; "
                f"{most(rounds, 'arrived_per_core_second'):,.0f} received a core"
            ),
            ok=rate >= target,
            figures={"rounds": rounds},
        )
    for name, peak in peaks.items():
        rounds = [
            sessions.run(partial(_work, seconds, True, 0.8 * peak)) for _ in range(effort.rounds)
        ]
        share = middle(rounds, "delivered")
        yield Result(
            name=f"datagrams delivered at 80 % of the peak {name}",
            target="99 %",
            measured=(
                f"{share:.2%} (best {most(rounds, 'delivered'):.2%}) at {0.8 * peak:,.0f} a second"
            ),
            ok=share >= 0.99,
            figures={"rounds": rounds},
        )
