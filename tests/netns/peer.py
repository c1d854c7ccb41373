"""Transfers over a WebTransport session: ``server`` or ``client``, as a process.

Both sides send as much as each other, at the same time, and check what they get.  There may be several
transfers, one after the other; the client waits for a line of input before each of them but the first.
Standard output has "ready" (the server) and for each transfer what was seen, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import cwt

PORT = 4433
_PIECE = 1 << 16


def content(seed: int, length: int) -> bytes:
    """What is sent: the same bytes on both sides."""
    return random.Random(seed).randbytes(length)


def report(session: cwt.Session, received: bytes, seed: int, addresses: list[Any]) -> None:
    """What this side saw, as the last line."""
    stats = session._connection.quic.stats()
    right = sha256(received).digest() == sha256(content(seed, len(received))).digest()
    values = {
        "length": len(received),
        "intact": right,
        "addresses": addresses,
        "packets_lost": stats.packets_lost,
        "mtu": stats.mtu,
    }
    print(json.dumps(values), flush=True)


async def receive(session: cwt.Session, stream: cwt.BiStream, addresses: list[Any]) -> bytes:
    """All that comes, and the peer's addresses meanwhile."""
    received = bytearray()
    async for data in stream:
        received += data
        if session.remote_address not in addresses:
            addresses.append(session.remote_address)
    return bytes(received)


async def send(stream: cwt.BiStream, data: bytes) -> None:
    for start in range(0, len(data), _PIECE):
        await stream.write(data[start : start + _PIECE])
    await stream.finish()


async def exchange(session: cwt.Session, length: int, *, is_client: bool) -> None:
    addresses: list[Any] = []
    stream = await (session.open_bi() if is_client else session.accept_bi())
    ours, theirs = (1, 2) if is_client else (2, 1)
    async with asyncio.TaskGroup() as group:
        group.create_task(send(stream, content(ours, length)))
        reading = group.create_task(receive(session, stream, addresses))
    if not is_client:  # which is there until the server closes the session
        await stream.flush()
    report(session, reading.result(), theirs, addresses)


async def server(directory: Path, host: str, lengths: list[int]) -> None:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handler(session: cwt.Session) -> None:
        try:
            for length in lengths:
                await exchange(session, length, is_client=False)
        except Exception as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    certfile, keyfile = directory / "cert.pem", directory / "key.pem"
    async with cwt.serve(handler, host, PORT, certfile=certfile, keyfile=keyfile):
        print("ready", flush=True)
        await done


async def client(directory: Path, host: str, lengths: list[int]) -> None:
    url = f"https://localhost:{PORT}/"
    verify = directory / "cert.pem"
    async with cwt.connect(url, address=host, verify=verify, open_timeout=30) as session:
        for index, length in enumerate(lengths):
            if index:
                await asyncio.to_thread(sys.stdin.readline)
            await exchange(session, length, is_client=True)
        await session.wait_closed()  # the server closes it when it knows that all of its data came


if __name__ == "__main__":
    role, path, address, *sizes = sys.argv[1:]
    asyncio.run({"server": server, "client": client}[role](Path(path), address, [*map(int, sizes)]))
