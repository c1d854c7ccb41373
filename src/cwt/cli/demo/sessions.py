"""What the demo's server does with a session.

``/echo`` sends everything back: bidirectional streams on themselves, unidirectional ones on new ones,
datagrams as datagrams.  Code written against it works without knowing anything else.

``/demo`` is what the page uses.  A bidirectional stream says in its first line what it wants:
``echo``, ``upload`` (answered with the count of bytes), ``download COUNT``, ``reset CODE``,
``close CODE REASON``, ``open KIND TEXT`` (a stream from the server).  On a unidirectional stream of its
own the server tells twice a second how it sees the connection, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import cwt

__all__ = ["ROUTES", "demo", "echo"]

MAX_DOWNLOAD = 1 << 32
MAX_LINE = 1024
CHUNK = 65536
STATS_INTERVAL = 0.5
PATIENCE = 180.0
MAX_STREAMS = 256


class _BadRequest(Exception):
    """The first line of a stream is not understood."""


async def echo(session: cwt.Session) -> None:
    """Send back whatever comes."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_echo_datagrams(session))
        tasks.create_task(_serve_uni(session))
        tasks.create_task(_serve_bi(session, _echo_stream))


async def demo(session: cwt.Session) -> None:
    """What the page asks for."""

    async def answer(stream: cwt.BiStream) -> None:
        await _answer(session, stream)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_echo_datagrams(session))
        tasks.create_task(_serve_uni(session))
        tasks.create_task(_serve_bi(session, answer))
        tasks.create_task(_tell_stats(session))
        tasks.create_task(_end_when_left(session))


ROUTES = {"/echo": echo, "/demo": demo}


async def _echo_datagrams(session: cwt.Session) -> None:
    async for data in session.datagrams:
        # What came may be larger than what fits the way back: like any datagram, it may get lost.
        if len(data) <= session.datagrams.max_size:
            session.datagrams.send(data)


async def _serve_bi(session: cwt.Session, serve: Callable[[cwt.BiStream], Awaitable[None]]) -> None:
    """Run ``serve`` for each bidirectional stream, a bounded number of them at once."""
    room = asyncio.Semaphore(MAX_STREAMS)

    async def one(stream: cwt.BiStream) -> None:
        try:
            await serve(stream)
        except (cwt.StreamReset, cwt.StreamStopped, cwt.SessionClosed, cwt.ConnectionClosed):
            pass  # whoever is there no more needs no answer
        finally:
            room.release()

    async with asyncio.TaskGroup() as tasks:
        async for stream in session.incoming_bi:
            await room.acquire()
            tasks.create_task(one(stream))


async def _serve_uni(session: cwt.Session) -> None:
    """Send each unidirectional stream back on one of ours."""

    async def one(stream: cwt.RecvStream) -> None:
        try:
            back = await session.open_uni()
            async for data in stream:
                await back.write(data)
            await back.finish()
        except (cwt.StreamReset, cwt.StreamStopped, cwt.SessionClosed, cwt.ConnectionClosed):
            pass
        finally:
            room.release()

    room = asyncio.Semaphore(MAX_STREAMS)
    async with asyncio.TaskGroup() as tasks:
        async for stream in session.incoming_uni:
            await room.acquire()
            tasks.create_task(one(stream))


async def _echo_stream(stream: cwt.BiStream) -> None:
    async for data in stream:
        await stream.write(data)
    await stream.finish()


async def _answer(session: cwt.Session, stream: cwt.BiStream) -> None:
    try:
        line = (await stream.readuntil(b"\n", limit=MAX_LINE)).decode()
        verb, _, rest = line.strip().partition(" ")
        match verb:
            case "echo":
                await _echo_stream(stream)
            case "upload":
                await _count(stream)
            case "download":
                await _download(stream, _number(rest, MAX_DOWNLOAD))
            case "reset":
                stream.reset(_number(rest, 0xFFFFFFFF))
            case "close":
                code, _, reason = rest.partition(" ")
                await session.close(_number(code, 0xFFFFFFFF), reason)
            case "open":
                kind, _, text = rest.partition(" ")
                await _open(session, kind, text)
                await stream.finish()
            case _:
                raise _BadRequest(f"unknown verb {verb!r}")
    except (_BadRequest, UnicodeDecodeError, ValueError, EOFError) as error:
        await stream.write(f"error: {error}\n".encode())
        await stream.finish()


def _number(text: str, maximum: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > maximum:
        raise _BadRequest(f"expected a number up to {maximum}, not {text!r}")
    return int(text)


async def _count(stream: cwt.BiStream) -> None:
    total = 0
    async for data in stream:
        total += len(data)
    await stream.write(b"%d\n" % total)
    await stream.finish()


async def _download(stream: cwt.BiStream, count: int) -> None:
    chunk = bytes(CHUNK)
    while count > 0:
        await stream.write(chunk if count >= CHUNK else chunk[:count])
        count -= CHUNK
    await stream.finish()


async def _open(session: cwt.Session, kind: str, text: str) -> None:
    if kind not in ("bi", "uni"):
        raise _BadRequest(f"a stream is bi or uni, not {kind!r}")
    stream = await (session.open_bi() if kind == "bi" else session.open_uni())
    await stream.write(text.encode())
    await stream.finish()


async def _end_when_left(session: cwt.Session) -> None:
    """Close a session whose page has gone.

    Firefox keeps the connection of a page that was left alive for ever; the page sends datagrams as
    long as it is there, though few while its tab is in the background.
    """
    seen = -1
    while not session.is_closed:
        received = session.stats().datagrams_received
        if received == seen:
            await session.close(0, "the page has gone")
            return
        seen = received
        await asyncio.sleep(PATIENCE)


async def _tell_stats(session: cwt.Session) -> None:
    try:
        stream = await session.open_uni()
        while True:
            stats = session.stats().connection
            line = json.dumps({name: getattr(stats, name) for name in _TOLD})
            await stream.write(f"{line}\n".encode())
            await asyncio.sleep(STATS_INTERVAL)
    except (cwt.StreamStopped, cwt.SessionClosed, cwt.ConnectionClosed):
        pass


_TOLD = (
    "smoothed_rtt",
    "min_rtt",
    "congestion_window",
    "packets_sent",
    "packets_received",
    "packets_lost",
    "bytes_sent",
    "bytes_received",
)
