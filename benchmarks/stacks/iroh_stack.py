"""iroh: a fork of quinn under an asyncio API, with raw public keys instead of certificates.

The binding, made by UniFFI, copies what is sent in a loop of Python over its bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import iroh

from benchmarks.stacks.base import (
    CHUNK,
    COUNT,
    DOWNLOAD,
    UPLOAD,
    Client,
    Counter,
    Stack,
    download_request,
    free_port,
    pieces,
)

ALPN = b"bench"
KEY = bytes(31) + b"\1"
"""The server's: clients connect to a key at an address."""
LIMIT = 1 << 20


async def _bind(address: str, key: bytes | None) -> iroh.Endpoint:
    """An endpoint without relays, name lookup and the rest of what finds peers in the Internet."""
    options = iroh.EndpointOptions(
        preset=iroh.preset_minimal(),
        relay_mode=iroh.RelayMode.disabled(),
        bind_addr=address,
        secret_key=key,
        alpns=[ALPN],
    )
    return await iroh.Endpoint.bind(options)


async def _send(stream: iroh.SendStream, size: int) -> None:
    for piece in filter(None, pieces(size)):
        await stream.write_all(piece)
    await stream.finish()


async def _count(stream: iroh.RecvStream) -> int:
    count = 0
    while data := await stream.read(len(CHUNK)):
        count += len(data)
    return count


async def _answer(stream: iroh.BiStream, counter: Counter) -> None:
    sender, receiver = stream.send(), stream.recv()
    kind = await receiver.read_exact(1)
    if kind == DOWNLOAD:
        await _send(sender, int.from_bytes(await receiver.read_exact(8), "big"))
        return
    if kind == UPLOAD:
        answer = (await _count(receiver)).to_bytes(8, "big")
    elif kind == COUNT:
        answer = counter.answer()
    else:
        answer = await receiver.read_to_end(LIMIT)
    await sender.write_all(answer)
    await sender.finish()


async def _count_datagrams(connection: iroh.Connection, counter: Counter) -> None:
    try:
        while True:
            await connection.read_datagram()
            counter.add()
    except iroh.IrohError:
        pass  # the connection ended


async def _handle(incoming: iroh.Incoming) -> None:
    counter = Counter()
    tasks = set()
    try:
        connection = await (await incoming.accept()).connect()
        tasks.add(asyncio.create_task(_count_datagrams(connection, counter)))
        while True:
            task = asyncio.create_task(_answer(await connection.accept_bi(), counter))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    except iroh.IrohError:
        pass  # the connection ended


async def _serve(endpoint: iroh.Endpoint) -> None:
    tasks = set()
    while (incoming := await endpoint.accept_next()) is not None:
        task = asyncio.create_task(_handle(incoming))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


class IrohClient(Client):
    def __init__(self, connection: iroh.Connection) -> None:
        self.connection = connection

    async def upload(self, size: int) -> int:
        stream = await self.connection.open_bi()
        sender = stream.send()
        await sender.write_all(UPLOAD)
        await _send(sender, size)
        return int.from_bytes(await stream.recv().read_to_end(LIMIT), "big")

    async def download(self, size: int) -> int:
        stream = await self.connection.open_bi()
        sender = stream.send()
        await sender.write_all(download_request(size))
        await sender.finish()
        return await _count(stream.recv())

    async def exchange(self, data: bytes) -> bytes:
        stream = await self.connection.open_bi()
        sender = stream.send()
        await sender.write_all(data)
        await sender.finish()
        answer: bytes = await stream.recv().read_to_end(LIMIT)
        return answer

    async def send_datagrams(self, count: int, data: bytes) -> None:
        for _ in range(count):
            await self.connection.send_datagram_wait(data)


class Iroh(Stack):
    def __init__(self) -> None:
        self.endpoint: iroh.Endpoint | None = None

    def version(self) -> str:
        return version("iroh")

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        port = free_port()
        endpoint = await _bind(f"127.0.0.1:{port}", KEY)
        task = asyncio.create_task(_serve(endpoint))
        yield port
        task.cancel()

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        if self.endpoint is None:
            self.endpoint = await _bind("127.0.0.1:0", None)
        server = iroh.SecretKey.from_bytes(KEY).public()
        address = iroh.EndpointAddr(server, None, [f"127.0.0.1:{port}"])
        connection = await self.endpoint.connect(address, ALPN)
        try:
            yield IrohClient(connection)
        finally:
            connection.close(0, b"")
