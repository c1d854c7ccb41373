"""The workloads of ``benchmarks.compare``: each does *amount* of work and says what was done.

The definitions are shared by all stacks; the functions below drive those that are spoken to from Python.
The peers in ``benchmarks/peers`` have the same functions in their own languages.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.stacks.base import Client, Stack

MIB = 1 << 20
STREAMS = 100
IN_FLIGHT = 100
PAYLOAD = 100
DATAGRAM = 1000
HANDSHAKES = 4


class Done(NamedTuple):
    """What went through, and the seconds where they are not those of the whole call."""

    amount: int
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One kind of work.

    ``unit`` is what *amount* counts; ``first`` the amount that the calibration begins with; ``most`` the
    largest.
    """

    name: str
    title: str
    unit: str
    first: int
    run: Callable[[Stack, Client, int, int], Awaitable[Done]]
    """Takes (stack, client, port, amount)."""
    most: int = 1 << 40

    @property
    def is_bulk(self) -> bool:
        return self.unit == "byte"


async def upload(stack: Stack, client: Client, port: int, amount: int) -> Done:
    return Done(await client.upload(amount))


async def download(stack: Stack, client: Client, port: int, amount: int) -> Done:
    return Done(await client.download(amount))


async def streams(stack: Stack, client: Client, port: int, amount: int) -> Done:
    sizes = [amount // STREAMS] * STREAMS
    return Done(sum(await asyncio.gather(*(client.upload(size) for size in sizes))))


async def requests(stack: Stack, client: Client, port: int, amount: int) -> Done:
    left = amount
    data = bytes(PAYLOAD)

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if len(await client.echo(data)) != len(data):
                raise RuntimeError("an echo of another size")

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return Done(amount)


async def sequential(stack: Stack, client: Client, port: int, amount: int) -> Done:
    data = bytes(PAYLOAD)
    for _ in range(amount):
        await client.echo(data)
    return Done(amount)


async def datagrams(stack: Stack, client: Client, port: int, amount: int) -> Done:
    """One way; from the first one sent to the last one that the server got."""
    before = (await client.arrived()).total
    start = time.time_ns()
    await client.send_datagrams(amount, bytes(DATAGRAM))
    received = await client.arrived()
    while True:
        await asyncio.sleep(0.05)
        last, received = received, await client.arrived()
        if received.total == last.total:
            return Done(received.total - before, max(received.last - start, 1) / 1e9)


async def handshakes(stack: Stack, client: Client, port: int, amount: int) -> Done:
    left = amount

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with stack.connect(port):
                pass

    await asyncio.gather(*(worker() for _ in range(HANDSHAKES)))
    return Done(amount)


class _Idle:
    """Holds connections open: a workload that is asked about memory, not time."""

    def __init__(self) -> None:
        self.held = AsyncExitStack()

    async def run(self, stack: Stack, client: Client, port: int, amount: int) -> Done:
        left = amount

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self.held.enter_async_context(stack.connect(port))

        await asyncio.gather(*(worker() for _ in range(10)))
        return Done(amount)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(name="upload", title="upload, one stream", unit="byte", first=MIB, run=upload),
        Workload(
            name="download", title="download, one stream", unit="byte", first=MIB, run=download
        ),
        Workload(
            name="streams",
            title=f"upload, {STREAMS} streams at once",
            unit="byte",
            first=MIB,
            run=streams,
        ),
        Workload(
            name="requests",
            title=f"{PAYLOAD} B request and response, {IN_FLIGHT} in flight",
            unit="request",
            first=200,
            run=requests,
        ),
        Workload(
            name="sequential",
            title=f"{PAYLOAD} B request and response, one by one",
            unit="request",
            first=50,
            run=sequential,
        ),
        Workload(
            name="datagrams",
            title=f"{DATAGRAM} B datagrams, one way",
            unit="datagram",
            first=1000,
            run=datagrams,
        ),
        Workload(
            name="handshakes",
            title=f"connect and close, {HANDSHAKES} at once",
            unit="handshake",
            first=8,
            run=handshakes,
        ),
        Workload(
            name="memory",
            title="memory of the server for an idle session",
            unit="session",
            first=50,
            run=_Idle().run,
        ),
    )
}
