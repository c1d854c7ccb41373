"""The self-check: a Python client does to the demo's server what the page will do."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import cwt
from cwt.cli import common

__all__ = ["Check", "SelfCheck"]

STREAM_BYTES = 1 << 20
DATAGRAMS = 100
PATIENCE = 15.0
CLOSE = (7, "self-check done")


class Check(NamedTuple):
    """One line of the result."""

    name: str
    passed: bool
    detail: str


class SelfCheck:
    """Runs the checks against ``url``, one after the other.

    ``closed`` waits for how the server saw the session end.
    """

    def __init__(
        self, url: str, certificate_hash: bytes, closed: Callable[[], Awaitable[cwt.CloseInfo]]
    ) -> None:
        self._url = url
        self._hash = certificate_hash
        self._closed = closed

    async def run(self) -> AsyncIterator[Check]:
        """Each check as it is done; the first that fails is the last."""
        session: cwt.Session | None = None
        try:
            began = time.perf_counter()
            async with self._step("connect"):
                session = await cwt.connect(
                    self._url, server_certificate_hashes=[self._hash], open_timeout=PATIENCE
                )
            yield Check("connect", True, f"session in {_took(began)}")
            for name, step in (
                ("stream echo", self._stream),
                ("stream from server", self._server_stream),
                ("datagram echo", self._datagrams),
                ("close code", self._close),
            ):
                async with self._step(name):
                    detail = await step(session)
                yield Check(name, True, detail)
        except _Failed as failed:
            yield failed.check
        finally:
            if session is not None:
                await session.close()

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(PATIENCE):
                yield
        except TimeoutError as error:
            text = str(error) or f"not done after {PATIENCE:.0f} s"
            raise _Failed(Check(name, False, text)) from error
        except Exception as error:
            text = common.explain(error) or f"{type(error).__name__}: {error}"
            raise _Failed(Check(name, False, text)) from error

    async def _stream(self, session: cwt.Session) -> str:
        data = os.urandom(STREAM_BYTES)
        began = time.perf_counter()
        stream = await session.open_bi()
        async with asyncio.TaskGroup() as tasks:
            received = tasks.create_task(stream.read())
            await stream.write(data)
            await stream.finish()
        _expect(received.result() == data, "what came back is not what was sent")
        return f"{common.size(len(data))} there and back in {_took(began)}"

    async def _server_stream(self, session: cwt.Session) -> str:
        stream = await session.open_uni()
        await stream.write(b"hello")
        await stream.finish()
        back = await session.accept_uni()
        _expect(await back.read() == b"hello", "what came back is not what was sent")
        return "unidirectional, there and back"

    async def _datagrams(self, session: cwt.Session) -> str:
        times = []
        for index in range(DATAGRAMS):
            data = index.to_bytes(4, "big")
            began = time.perf_counter()
            session.datagrams.send(data)
            try:
                async with asyncio.timeout(1):
                    while await session.datagrams.receive() != data:
                        pass
            except TimeoutError:
                continue  # datagrams may get lost
            times.append(time.perf_counter() - began)
        _expect(len(times) > DATAGRAMS // 2, f"{len(times)} of {DATAGRAMS} came back")
        median = common.seconds(statistics.median(times))
        return f"{len(times)} of {DATAGRAMS} came back, {median} each"

    async def _close(self, session: cwt.Session) -> str:
        await session.close(*CLOSE)
        info = await self._closed()
        got = (info.code, info.reason, info.remote)
        _expect(got == (*CLOSE, True), f"the server saw {got}")
        return f"the server saw code {info.code}, “{info.reason}”"


class _Failed(Exception):
    def __init__(self, check: Check) -> None:
        self.check = check


class _Mismatch(cwt.CwtError):
    pass


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise _Mismatch(message)


def _took(began: float) -> str:
    return common.seconds(time.perf_counter() - began)
