"""A server on the loopback interface, and pairs of sessions with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest
import uvloop

import cwt
from cwt.testing import LoopbackServer, loopback_server


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Pair(NamedTuple):
    """The two ends of one session."""

    client: cwt.Session
    server: cwt.Session
    loopback: LoopbackServer


Start = Callable[..., Awaitable[LoopbackServer]]
MakePair = Callable[..., Awaitable[Pair]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a server that is closed after the test."""
    async with AsyncExitStack() as stack:

        async def start(handler: Any = None, **options: Any) -> LoopbackServer:
            return await stack.enter_async_context(loopback_server(handler, **options))

        yield start


@pytest.fixture
async def make_pair(start: Start) -> AsyncIterator[MakePair]:
    """A session between a new client and a new server; the options of the latter are those of serve()."""
    async with AsyncExitStack() as stack:

        async def make(client_options: Mapping[str, Any] | None = None, **options: Any) -> Pair:
            found: asyncio.Future[cwt.Session] = asyncio.get_running_loop().create_future()

            async def handler(session: cwt.Session) -> None:
                found.set_result(session)
                await session.wait_closed()

            loopback = await start(handler, **options)
            client = await stack.enter_async_context(loopback.connect(**(client_options or {})))
            return Pair(client, await found, loopback)

        yield make


@pytest.fixture
async def pair(make_pair: MakePair) -> Pair:
    return await make_pair()


async def until(condition: Callable[[], object]) -> None:
    """Wait for *condition*; the timeout of the test is the limit."""
    while not condition():  # noqa: ASYNC110 - there is no event for what tests look at
        await asyncio.sleep(0.001)


async def echo(session: cwt.Session) -> None:
    """Echo every bidirectional stream, all at once."""

    async def one(stream: cwt.BiStream) -> None:
        async with stream:
            async for data in stream:
                await stream.write(data)

    async with asyncio.TaskGroup() as group:
        async for stream in session.incoming_bi:
            group.create_task(one(stream))
