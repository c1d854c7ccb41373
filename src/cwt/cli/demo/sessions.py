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
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

import cwt

__all__ = ["ROUTES", "demo", "echo"]

MAX_DOWNLOAD = 1 << 32
MAX_LINE = 1024
CHUNK = 65536
STATS_INTERVAL = 0.5
PATIENCE = 180.0
MAX_STREAMS = 256

T = TypeVar("T", bound=AbstractAsyncContextManager[object])

_ENDED = (cwt.StreamReset, cwt.StreamStopped, cwt.SessionClosed, cwt.ConnectionClosed)


class _BadRequest(Exception):
    """The first line of a stream is not understood."""


async def echo(session: cwt.Session) -> None:
    """Send back whatever comes."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_echo_datagrams(session))
        tasks.create_task(_serve(session.incoming_uni, partial(_send_back, session)))
        tasks.create_task(_serve(session.incoming_bi, _echo_stream))


async def demo(session: cwt.Session) -> None:
    """What the page asks for."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_echo_datagrams(session))
        tasks.create_task(_serve(session.incoming_uni, partial(_send_back, session)))
        tasks.create_task(_serve(session.incoming_bi, partial(_answer, session)))
        tasks.create_task(_tell_stats(session))
        tasks.create_task(_end_when_left(session))


ROUTES = {"/echo": echo, "/demo": demo}


async def _echo_datagrams(session: cwt.Session) -> None:
    async for data in session.datagrams:
        # What came may be larger than what fits the way back: like any datagram, it may get lost.
        if len(data) <= session.datagrams.max_size:
            session.datagrams.send(data)


async def _serve(incoming: AsyncIterable[T], serve: Callable[[T], Awaitable[None]]) -> None:
    """Run ``serve`` for each stream that the peer opens, a bounded number of them at once."""
    room = asyncio.Semaphore(MAX_STREAMS)

    async def one(stream: T) -> None:
        try:
            async with stream:  # FIN in the end, or a reset
                await serve(stream)
        except _ENDED:
            pass  # whoever is there no more needs no answer
        finally:
            room.release()

    async with asyncio.TaskGroup() as tasks:
        async for stream in incoming:
            await room.acquire()
            tasks.create_task(one(stream))


async def _send_back(session: cwt.Session, stream: cwt.RecvStream) -> None:
    async with await session.open_uni() as back:
        async for data in stream:
            await back.write(data)


async def _echo_stream(stream: cwt.BiStream) -> None:
    async for data in stream:
        await stream.write(data)


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
                await _rest(stream)
            case "reset":
                stream.reset(_number(rest, 0xFFFFFFFF))
            case "close":
                code, _, reason = rest.partition(" ")
                await session.close(_number(code, 0xFFFFFFFF), reason)
            case "open":
                kind, _, text = rest.partition(" ")
                await _open(session, stream, kind, text)
            case _:
                raise _BadRequest(f"unknown verb {verb!r}")
    except (_BadRequest, ValueError, EOFError, asyncio.LimitOverrunError) as error:
        await stream.write(f"error: {error}\n".encode())
        await _rest(stream)


def _number(text: str, maximum: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 20 or int(text) > maximum:
        raise _BadRequest(f"expected a number up to {maximum}, not {text!r}")
    return int(text)


async def _count(stream: cwt.BiStream) -> None:
    total = 0
    async for data in stream:
        total += len(data)
    await stream.write(b"%d\n" % total)


async def _download(stream: cwt.BiStream, count: int) -> None:
    chunk = bytes(CHUNK)
    while count > 0:
        await stream.write(chunk if count >= CHUNK else chunk[:count])
        count -= CHUNK


async def _rest(stream: cwt.BiStream) -> None:
    """Finish, and read to the end: leaving before it would stop the page's writing with an error."""
    await stream.finish()
    async for _ in stream:
        pass


async def _open(session: cwt.Session, asked: cwt.BiStream, kind: str, text: str) -> None:
    if kind not in ("bi", "uni"):
        raise _BadRequest(f"a stream is bi or uni, not {kind!r}")
    async with await (session.open_bi() if kind == "bi" else session.open_uni()) as stream:
        await stream.write(text.encode())
        await stream.finish()
        await _rest(asked)
        if isinstance(stream, cwt.BiStream):
            await _rest(stream)


async def _end_when_left(session: cwt.Session) -> None:
    """Close a session whose page has gone.

    Firefox keeps the connection of a page that was left alive for ever; the page sends datagrams as
    long as it is there, though few while its tab is in the background.
    """
    seen = 0
    while True:
        try:
            async with asyncio.timeout(PATIENCE):
                await session.wait_closed()
            return
        except TimeoutError:
            received = session.stats().datagrams_received
        if received == seen:
            await session.close(0, "the page has gone")
            return
        seen = received


async def _tell_stats(session: cwt.Session) -> None:
    try:
        stream = await session.open_uni()
        while True:
            stats = session.stats().connection
            line = json.dumps({name: getattr(stats, name) for name in _TOLD})
            await stream.write(f"{line}\n".encode())
            await asyncio.sleep(STATS_INTERVAL)
    except _ENDED:
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
