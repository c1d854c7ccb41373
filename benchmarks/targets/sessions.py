"""What users of sessions see: bulk data, small requests, handshakes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import cwt
from benchmarks import sessions
from benchmarks.drive import CONFIG, Load, bulk, contexts
from benchmarks.processes import Figures
from benchmarks.sessions import Client
from benchmarks.targets.bulk import MEGABYTES, against, alternate, cpu, sides, wall
from benchmarks.targets.row import Effort, Result, spread
from cwt.tls import SessionCache

__all__ = ["discovery", "handshakes", "requests", "session_bulk"]

AT_ONCE = 100
HANDSHAKES_AT_ONCE = 8
MTU_LIMITS = (8952, 65507)
"""Bytes of UDP payload: of jumbo frames, and all that UDP takes, as on the loopback interface."""


async def _transfer(direction: str, total: int, client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with client.connect() as session, client.measured(found):
        await getattr(client, direction)(session, total)
    return found


def transfer(
    direction: str, total: int, config: cwt.Config = sessions.CONFIG
) -> tuple[Figures, Figures]:
    """Move *total* bytes over one stream of a session; the figures of the sender and of the receiver."""
    cpus = (0, 1) if direction == "upload" else (1, 0)  # the sender is always on the first
    found = sessions.run(partial(_transfer, direction, total), config, cpus=cpus)
    ours = Figures(found["client_cpu"], found["seconds"], total, 1)
    theirs = Figures(found["server_cpu"], found["seconds"], total, 1)
    return (ours, theirs) if direction == "upload" else (theirs, ours)


def session_bulk(effort: Effort) -> Iterator[Result]:
    """Sessions with writes of 64 KiB against sans-IO endpoints."""
    total, tls = effort.amount(MEGABYTES * 1_000_000), contexts()
    for direction in ("upload", "download"):
        load = Load(total=total, download=direction == "download")
        found = alternate(
            {"sans-IO": partial(bulk, load, tls), "session": partial(transfer, direction, total)},
            effort.rounds,
        )
        yield against("sans-IO", found["sans-IO"], f"session, {direction}", found["session"], 15)


def discovery(effort: Effort) -> Iterator[Result]:
    """One stream when path MTU discovery may find what the path takes; nothing is asked of it."""
    total, tls = effort.amount(2 * MEGABYTES * 1_000_000), contexts()
    runs: dict[str, Callable[[], tuple[Figures, Figures]]] = {}
    for limit in MTU_LIMITS:
        below = replace(CONFIG, mtu_discovery=True, mtu_discovery_limit=limit)
        above = replace(sessions.CONFIG, mtu_discovery=True, mtu_discovery_limit=limit)
        load = Load(total=total, config=below)
        name = f"packets up to {limit:,}"
        runs[f"{name}, client to server"] = partial(bulk, load, tls)
        runs[f"{name}, server to client"] = partial(bulk, replace(load, download=True), tls)
        runs[f"{name}, session, upload"] = partial(transfer, "upload", total, above)
        runs[f"{name}, session, download"] = partial(transfer, "download", total, above)
    for name, pairs in alternate(runs, effort.rounds).items():
        yield Result(
            name=name,
            target="",
            measured=sides(cpu(pairs), pairs),
            ok=None,
            figures={"cpu_per_gb": cpu(pairs), "gbit_per_second": wall(pairs)},
        )


async def _requests(count: int, at_once: int, client: Client) -> dict[str, Any]:
    data = sessions.REQUEST + bytes(100 - len(sessions.REQUEST))
    found: dict[str, Any] = {}
    left = count
    latencies: list[float] = []

    async def worker(session: cwt.Session) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began = time.perf_counter()
            await client.request(session, data)
            latencies.append(time.perf_counter() - began)

    async with client.connect() as session:
        await client.request(session, data)
        async with client.measured(found), asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(worker(session))
    latencies.sort()
    found["p50"] = latencies[len(latencies) // 2]
    found["p99"] = latencies[len(latencies) * 99 // 100]
    found["rate"] = len(latencies) / found["seconds"]
    found["rate_by_cpu"] = len(latencies) / max(found["client_cpu"], found["server_cpu"])
    return found


def requests(effort: Effort) -> Iterator[Result]:
    """100 bytes there and 100 back, each on a new bidirectional stream."""
    many = [
        sessions.run(partial(_requests, effort.amount(20_000), AT_ONCE))
        for _ in range(effort.rounds)
    ]
    best = max(many, key=lambda found: found["rate"])
    rates = spread(found["rate"] for found in many)
    yield Result(
        name=f"requests, {AT_ONCE} in flight",
        target="40,000 a second",
        measured=(
            f"{best['rate']:,.0f} a second (median {rates['median']:,.0f}), "
            f"{max(found['rate_by_cpu'] for found in many):,.0f} by the CPU of the busier side"
        ),
        ok=best["rate"] >= 40_000,
        figures={"rounds": many},
    )
    # Nothing goes on at the same time here, so where the two processes run is the scheduler's affair.
    single = [
        sessions.run(partial(_requests, effort.amount(3000), 1), cpus=None)
        for _ in range(effort.rounds)
    ]
    p50, p99 = spread(found["p50"] for found in single), spread(found["p99"] for found in single)
    yield Result(
        name="requests, one by one",
        target="p50 under 150 µs",
        measured=(
            f"p50 {p50['min'] * 1e6:.0f} µs (median {p50['median'] * 1e6:.0f}), "
            f"p99 {p99['min'] * 1e6:.0f} µs (median {p99['median'] * 1e6:.0f})"
        ),
        ok=p50["min"] < 150e-6,
        figures={"rounds": single},
    )


async def _handshakes(count: int, resumed: bool, client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {"count": count, "resumed": 0}
    left = HANDSHAKES_AT_ONCE

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            session = await client.connect("/idle")
            found["resumed"] += session._connection.quic.is_resumed
            await session.close()

    async def all_workers() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(HANDSHAKES_AT_ONCE):
                tasks.create_task(worker())

    if resumed:
        client.session_cache = SessionCache(max_tickets=2 * HANDSHAKES_AT_ONCE)
    await all_workers()  # which fills the cache
    found["resumed"] = 0
    left = count
    async with client.measured(found):
        await all_workers()
    if found["resumed"] < 0.95 * count * resumed:  # a ticket may come after the end of its session
        raise RuntimeError(f"{found['resumed']} of {count} handshakes were resumed")
    return found


def handshakes(effort: Effort) -> Iterator[Result]:
    """Connection, session and its end, by the CPU time of the server's process."""
    count = effort.amount(500, 10)
    found: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for _ in range(effort.rounds):
        for resumed, rounds in found.items():
            rounds.append(sessions.run(partial(_handshakes, count, resumed)))
    best = {}
    for resumed, rounds in found.items():
        server = spread(figures["server_cpu"] / count for figures in rounds)
        ours = spread(figures["client_cpu"] / count for figures in rounds)
        best[resumed] = 1 / server["min"]
        yield Result(
            name=f"{'resumed' if resumed else 'full'} handshakes with a session",
            target="more than full ones" if resumed else "1,500 a second a server core",
            measured=(
                f"{1 / server['min']:,.0f} a second (median {1 / server['median']:,.0f}); "
                f"{server['min'] * 1e6:.0f} µs of the server's CPU, "
                f"{ours['min'] * 1e6:.0f} of the client's"
            ),
            ok=best[resumed] > (best[False] if resumed else 1500),
            figures={"rounds": rounds},
        )
