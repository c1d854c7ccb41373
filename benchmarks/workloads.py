"""The workloads of ``benchmarks.compare``: each does *amount* of work and says what was done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.stacks.base import Client, Stack

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One kind of work.

    ``unit`` is what *amount* counts; ``size`` the payload bytes of one; ``first`` the amount that the
    calibration begins with.
    """

    name: str
    title: str
    unit: str
    size: int
    first: int
    run: Callable[[Stack, Client, int, int], Awaitable[int]]
    """Takes (stack, client, port, amount); the payload bytes or operations that went through."""
    most: int = 1 << 40

    @property
    def is_bulk(self) -> bool:
        return self.unit == "byte"


async def upload(stack: Stack, client: Client, port: int, amount: int) -> int:
    return await client.upload(amount)


async def download(stack: Stack, client: Client, port: int, amount: int) -> int:
    return await client.download(amount)


async def _echoes(client: Client, amount: int, data: bytes, at_once: int) -> int:
    left = amount

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            assert len(await client.echo(data)) == len(data)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return amount


async def streams(stack: Stack, client: Client, port: int, amount: int) -> int:
    return await _echoes(client, amount, bytes(16384), at_once=32)


async def requests(stack: Stack, client: Client, port: int, amount: int) -> int:
    return await _echoes(client, amount, bytes(100), at_once=1)


async def datagrams(stack: Stack, client: Client, port: int, amount: int) -> int:
    """Sends with 16 in flight; what is lost is given up after half a second."""
    sent = received = lost = 0
    while received + lost < amount:
        while sent < amount and sent - received - lost < 16:
            client.send_datagram(bytes(1000))
            sent += 1
        try:
            async with asyncio.timeout(0.5):
                await client.receive_datagram()
            received += 1
        except TimeoutError:
            lost = sent - received
    return received


async def handshakes(stack: Stack, client: Client, port: int, amount: int) -> int:
    for _ in range(amount):
        async with stack.connect(port):
            pass
    return amount


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="upload", title="upload, one stream", unit="byte", size=1, first=MIB, run=upload
        ),
        Workload(
            name="download",
            title="download, one stream",
            unit="byte",
            size=1,
            first=MIB,
            run=download,
        ),
        Workload(
            name="streams",
            title="16 KiB echo, 32 streams at once",
            unit="stream",
            size=2 * 16384,
            first=64,
            run=streams,
        ),
        Workload(
            name="requests",
            title="100 B request and response, one by one",
            unit="request",
            size=200,
            first=50,
            run=requests,
        ),
        Workload(
            name="datagrams",
            title="1000 B datagram echo, 16 in flight",
            unit="datagram",
            size=2000,
            first=100,
            run=datagrams,
        ),
        Workload(
            name="handshakes",
            title="connect and close, one by one",
            unit="handshake",
            size=0,
            first=5,
            run=handshakes,
        ),
    )
}


async def calibrated(
    workload: Workload, stack: Stack, client: Client, port: int, seconds: float
) -> int:
    """The amount that takes about *seconds*; running it up to that is also the warm-up."""
    amount = workload.first
    for _ in range(6):
        start = time.perf_counter()
        await workload.run(stack, client, port, amount)
        took = time.perf_counter() - start
        factor = min(16.0, seconds / max(took, 1e-6))
        if factor < 1.5:
            break
        amount = min(int(amount * factor), workload.most)
    return max(1, int(amount * min(1.0, factor)))
