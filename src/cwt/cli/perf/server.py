"""The server of ``cwt perf``."""

from __future__ import annotations

import asyncio
import time

import cwt
from cwt.cli.common import package_version
from cwt.cli.perf.protocol import CHUNK, MAX_BYTES, MAX_LINE, Report

__all__ = ["perf"]

_ENDED = (cwt.StreamReset, cwt.StreamStopped, cwt.SessionClosed, cwt.ConnectionClosed)


async def perf(session: cwt.Session) -> None:
    """Serve one session of the protocol."""
    await _Perf(session).run()


class _Perf:
    def __init__(self, session: cwt.Session) -> None:
        self._session = session
        self._echo = True
        self._count = 0
        self._sink = bytearray(CHUNK)
        """Where all streams put what nobody looks at."""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._datagrams())
            # The streams at once are bounded by Config.initial_max_streams_bidi.
            async for stream in self._session.incoming_bi:
                tasks.create_task(self._serve(stream))

    async def _datagrams(self) -> None:
        datagrams = self._session.datagrams
        try:
            while True:
                received = await datagrams.receive_many()
                self._count += len(received)
                if self._echo:
                    datagrams.send_many(received)
        except _ENDED:
            pass

    async def _serve(self, stream: cwt.BiStream) -> None:
        try:
            async with stream:  # FIN in the end, or a reset
                try:
                    line = await stream.readuntil(b"\n", limit=MAX_LINE)
                    await self._answer(stream, line.decode("ascii").split())
                except (ValueError, EOFError, asyncio.LimitOverrunError) as error:
                    await stream.write(f"error: {error}\n".encode())
                await stream.finish()
                await self._discard(
                    stream
                )  # leaving before its end would stop the client's writing
        except _ENDED:
            pass  # whoever is there no more needs no answer

    async def _answer(self, stream: cwt.BiStream, words: list[str]) -> None:
        match words:
            case ["down", count]:
                await _send(stream, _number(count))
            case ["up"]:
                await stream.write(b"%d" % await self._discard(stream))
            case ["call", count]:
                await self._discard(stream)
                await _send(stream, _number(count))
            case ["datagrams", ("echo" | "count") as mode]:
                self._echo = mode == "echo"
                self._count = 0
                await stream.write(b"ok")
            case ["report"]:
                await stream.write(self._report().encode())
            case _:
                raise ValueError(f"not understood: {' '.join(words)!r}")

    async def _discard(self, stream: cwt.BiStream) -> int:
        total = 0
        while count := await stream.readinto(self._sink):
            total += count
        return total

    def _report(self) -> Report:
        stats = self._session.stats().connection
        return Report(
            protocol="cwt-perf/1",
            version=package_version(),
            cpu=time.process_time(),
            datagrams=self._count,
            smoothed_rtt=stats.smoothed_rtt,
            packets_sent=stats.packets_sent,
            packets_lost=stats.packets_lost,
        )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) > MAX_BYTES:
        raise ValueError(f"not a count of bytes: {text!r}")
    return int(text)


async def _send(stream: cwt.BiStream, count: int) -> None:
    chunk = bytes(min(CHUNK, count))
    while count > 0:
        await stream.write(chunk if count >= len(chunk) else chunk[:count])
        count -= len(chunk)
