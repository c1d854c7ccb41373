"""Sessions between two processes on stock asyncio: ``cwt.serve`` in one, ``cwt.connect`` in the other."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import cwt
from benchmarks.memory import resident
from benchmarks.processes import TIME_LIMIT, Channel, Figures, cpu_seconds, run_pair
from cwt.tls import SessionCache
from cwt.tls.development import development_certificate

__all__ = ["CHUNK", "CONFIG", "Client", "run"]

CHUNK = 65536
"""Bytes of the application's reads and writes."""
HEAD = 8
ANSWER = 100
"""Bytes of the response to a small request, whose stream begins with ``REQUEST``."""
REQUEST = b"R" * HEAD
CONFIG = cwt.Config(max_idle_timeout=300, mtu_discovery=False)
"""With packets of 1200 bytes."""
LIMITS = cwt.Limits(max_connections=50_000, max_sessions=50_000)

_ENDED = (cwt.StreamReset, cwt.StreamStopped, cwt.SessionClosed, cwt.ConnectionClosed)


class _Server:
    """Answers streams, counts datagrams, and tells the client over the channel how it fares."""

    running: cwt.Server

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.datagrams = 0
        self.stopped = asyncio.get_running_loop().create_future()

    async def session(self, session: cwt.Session) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._count(session))
            async for stream in session.incoming_bi:
                tasks.create_task(self._answer(stream))

    async def idle(self, session: cwt.Session) -> None:
        await session.wait_closed()

    async def _count(self, session: cwt.Session) -> None:
        try:
            while True:
                self.datagrams += len(await session.datagrams.receive_many())
        except _ENDED:
            pass

    async def _answer(self, stream: cwt.BiStream) -> None:
        # The first bytes say how many the client wants; without any, what it sends is counted.
        try:
            head = await stream.readexactly(HEAD)
            if head == REQUEST:
                await stream.read()
                await stream.write(bytes(ANSWER))
            elif size := int.from_bytes(head, "big"):
                await send(stream, size)
            else:
                await stream.write((await take(stream)).to_bytes(HEAD, "big"))
            await stream.finish()
        except _ENDED:
            pass

    def on_message(self) -> None:
        message = self.channel.receive()
        if message == "stop":
            asyncio.get_running_loop().remove_reader(self.channel)
            self.stopped.set_result(None)
        elif message == "memory":
            gc.collect()
            self.channel.send({"resident": resident(), "sessions": len(self.running.sessions)})
        else:
            dropped = sum(s.stats().datagrams_dropped for s in self.running.sessions)
            self.channel.send(
                {"cpu": cpu_seconds(), "datagrams": self.datagrams, "dropped": dropped}
            )


async def send(stream: cwt.BiStream, size: int) -> None:
    """Write *size* bytes in chunks."""
    chunk = bytes(CHUNK)
    while size > 0:
        await stream.write(chunk if size >= CHUNK else chunk[:size])
        size -= CHUNK


async def take(stream: cwt.BiStream) -> int:
    """Read until the end; how much that was."""
    buffer = bytearray(CHUNK)
    total = 0
    while count := await stream.readinto(buffer):
        total += count
    return total


class Client:
    """The client's process: where the server is, and what it has used."""

    def __init__(self, channel: Channel, port: int, certificate: bytes, config: cwt.Config) -> None:
        self.channel = channel
        self.config = config
        self.port = port
        self.certificate = certificate
        self.session_cache: SessionCache | None = None
        """Where sessions are resumed from; without one every handshake is a full one."""

    def connect(self, path: str = "/") -> cwt.connect:
        """A new session; on ``/idle`` the server does nothing at all."""
        return cwt.connect(
            f"https://127.0.0.1:{self.port}{path}",
            server_certificate_hashes=[self.certificate],
            session_cache=self.session_cache,
            config=self.config,
        )

    def report(self) -> dict[str, Any]:
        """The server's CPU seconds, and the datagrams it has counted."""
        answer: dict[str, Any] = self.channel.ask("report")
        return answer

    def memory(self) -> tuple[int, int]:
        """The server's resident bytes, and how many sessions it has."""
        answer = self.channel.ask("memory")
        return answer["resident"], answer["sessions"]

    @asynccontextmanager
    async def measured(self, found: dict[str, Any]) -> AsyncIterator[None]:
        """Puts into *found* what happens meanwhile: seconds, and CPU seconds of both sides."""
        before = self.report()
        began, cpu = time.perf_counter(), cpu_seconds()
        yield
        found["seconds"] = time.perf_counter() - began
        found["client_cpu"] = cpu_seconds() - cpu
        found["server_cpu"] = self.report()["cpu"] - before["cpu"]

    async def upload(self, session: cwt.Session, total: int) -> None:
        """One stream to the server."""
        stream = await session.open_bi()
        await stream.write(bytes(HEAD))
        await send(stream, total)
        await stream.finish()
        if int.from_bytes(await stream.read(), "big") != total:
            raise RuntimeError("the server did not get everything")

    async def download(self, session: cwt.Session, total: int) -> None:
        """One stream from the server."""
        stream = await session.open_bi()
        await stream.write(total.to_bytes(HEAD, "big"))
        await stream.finish()
        if await take(stream) != total:
            raise RuntimeError("the client did not get everything")

    async def request(self, session: cwt.Session, data: bytes) -> None:
        """A small request and its response, on a stream of their own."""
        stream = await session.open_bi()
        await stream.write(data)
        await stream.finish()
        if len(await stream.read()) != ANSWER:
            raise RuntimeError("not the answer")


Work = Callable[[Client], Awaitable[dict[str, Any]]]


def _serve(certfile: str, keyfile: str, config: cwt.Config, channel: Channel) -> Figures:
    async def main() -> None:
        server = _Server(channel)
        handlers = {"/": server.session, "/idle": server.idle}
        async with cwt.serve(
            handlers,
            "127.0.0.1",
            0,
            certfile=certfile,
            keyfile=keyfile,
            config=config,
            limits=LIMITS,
        ) as running:
            server.running = running
            channel.send(running.port)
            asyncio.get_running_loop().add_reader(channel, server.on_message)
            await server.stopped

    asyncio.run(main())
    return Figures(cpu_seconds(), 0.0, 0)


def _connect(work: Work, certificate: bytes, config: cwt.Config, channel: Channel) -> Figures:
    client = Client(channel, channel.receive(), certificate, config)

    async def main() -> dict[str, Any]:
        return await work(client)

    found = asyncio.run(main())
    channel.send("stop")
    return Figures(cpu_seconds(), 0.0, 0, details=found)


def run(
    work: Work,
    config: cwt.Config = CONFIG,
    *,
    time_limit: float = TIME_LIMIT,
    cpus: tuple[int, int] | None = (0, 1),
) -> dict[str, Any]:
    """Run *work* in a client's process, with a server in another; what it returned.

    *cpus* are those of the client and of the server: see :func:`benchmarks.processes.run_pair`.
    """
    certificate = development_certificate()
    with TemporaryDirectory() as directory:
        certfile, keyfile = certificate.write(directory)
        client, _ = run_pair(
            partial(_connect, work, certificate.sha256, config),
            partial(_serve, str(certfile), str(keyfile), config),
            time_limit=time_limit,
            cpus=cpus,
        )
    return client.details
