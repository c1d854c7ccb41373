"""The sessions of ``cwt demo``: ``/echo``, and what the page asks ``/demo`` for."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator

import pytest

import cwt
from cwt.aio.loopback import loopback_server
from cwt.cli.demo import sessions


@pytest.fixture
async def demo() -> AsyncIterator[cwt.Session]:
    async with (
        loopback_server(sessions.ROUTES) as server,
        asyncio.timeout(30),
        server.connect("/demo") as session,
    ):
        yield session


@pytest.fixture
async def echo() -> AsyncIterator[cwt.Session]:
    async with (
        loopback_server(sessions.ROUTES) as server,
        asyncio.timeout(30),
        server.connect("/echo") as session,
    ):
        yield session


async def ask(session: cwt.Session, request: bytes) -> bytes:
    stream = await session.open_bi()
    await stream.write(request)
    await stream.finish()
    return await stream.read()


async def test_echo_of_both_kinds_of_streams(echo: cwt.Session) -> None:
    data = os.urandom(300_000)
    both = await echo.open_bi()
    one = await echo.open_uni()
    async with asyncio.TaskGroup() as tasks:
        back = tasks.create_task(both.read())
        for stream in (both, one):
            await stream.write(data)
            await stream.finish()
    assert back.result() == data
    assert await (await echo.accept_uni()).read() == data


async def test_echo_of_datagrams(echo: cwt.Session) -> None:
    echo.datagrams.send(b"hello")
    assert await echo.datagrams.receive() == b"hello"


async def test_a_reset_stream_does_not_end_the_session(echo: cwt.Session) -> None:
    for stream in (await echo.open_bi(), await echo.open_uni()):
        await stream.write(b"x")
        stream.reset(1)
    assert await ask(echo, b"still here") == b"still here"


async def test_verbs(demo: cwt.Session) -> None:
    assert await ask(demo, b"echo\nhello") == b"hello"
    assert await ask(demo, b"upload\n" + bytes(1000)) == b"1000\n"
    assert await ask(demo, b"download 70000\n") == bytes(70_000)
    with pytest.raises(cwt.StreamReset) as reset:
        await ask(demo, b"reset 42\n")
    assert reset.value.code == 42


async def test_server_tells_its_view(demo: cwt.Session) -> None:
    stream = await demo.accept_uni()
    for _ in range(2):
        stats = json.loads(await stream.readuntil(b"\n"))
        assert stats["packets_received"] > 0
        assert 0 < stats["min_rtt"] <= stats["smoothed_rtt"] * 2


@pytest.mark.parametrize("kind", ["uni", "bi"])
async def test_server_opens_streams(demo: cwt.Session, kind: str) -> None:
    await demo.accept_uni()  # the server's view
    assert await ask(demo, f"open {kind} hello there\n".encode()) == b""
    stream = await (demo.accept_bi() if kind == "bi" else demo.accept_uni())
    assert await stream.read() == b"hello there"


async def test_server_closes(demo: cwt.Session) -> None:
    with pytest.raises(cwt.SessionClosed):
        await ask(demo, "close 9 it’s late\n".encode())
    info = await demo.wait_closed()
    assert (info.code, info.reason, info.remote) == (9, "it’s late", True)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"fly\n",
        b"no end",
        b"reset\n",
        b"reset -1\n",
        b"reset 4294967296\n",
        b"download 99999999999999\n",
        b"open sesame\n",
        b"close x\n",
        b"\xff\n",
        b"x" * 5000,
    ],
)
async def test_what_is_not_understood_is_answered(demo: cwt.Session, line: bytes) -> None:
    assert (await ask(demo, line)).startswith(b"error: ")
    assert await ask(demo, b"echo\nok") == b"ok"


async def test_a_page_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PATIENCE", 0.2)
    async with (
        loopback_server(sessions.ROUTES) as server,
        asyncio.timeout(30),
        server.connect("/demo") as session,
    ):
        for _ in range(10):
            session.datagrams.send(b"here")
            await asyncio.sleep(0.1)
        assert not session.is_closed
        assert (await session.wait_closed()).reason == "the page has gone"


@pytest.mark.parametrize("request_line", [b"open uni x\n", b"download 5\n", b"fly\n"])
async def test_server_does_not_stop_who_still_writes(
    demo: cwt.Session, request_line: bytes
) -> None:
    stream = await demo.open_bi()
    await stream.write(request_line)
    await stream.read()
    for _ in range(20):
        await stream.write(bytes(1000))
        await stream.flush()
    await stream.finish()
    await stream.flush()
