"""The driver, with a pump and an endpoint that do as the test says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

import cwt
from cwt.aio.endpoint import Endpoint
from tests.aio.conftest import Start, echo, until


class FakeConnection:
    remote_address = ("192.0.2.1", 1)

    def __init__(self) -> None:
        self.user_data: Any = None
        self.termination: Exception | None = None
        self.closed_with: tuple[int, str, bool] | None = None

    def close(self, code: int, reason: str, app: bool) -> None:
        self.closed_with = (code, reason, app)
        self.termination = cwt.TransportError(code)


class FakeHandler:
    def __init__(self, connection: FakeConnection, error: Exception | None = None) -> None:
        self.quic = connection
        self.error = error
        self.calls = 0
        self.lost_with: Exception | None = None

    def process(self) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error

    def lost(self, error: Exception) -> None:
        self.lost_with = error


class FakeQuic:
    """Both the QUIC endpoint and the pump."""

    def __init__(self, near: socket.socket) -> None:
        self.near = near
        self.log: list[str] = []
        self.news: list[FakeConnection] = []
        self.more: list[bool | OSError] = []
        self.sent: list[bool | OSError] = []
        self.delay: float | None = None
        self.connections = 1
        self.due = 0
        self.written = 0
        self.blocked: None = None

    def receive(self, now: float) -> bool:
        self.log.append("receive")
        more = self._next(self.more, False)
        if not more:
            try:
                self.near.recv(10)
            except BlockingIOError:
                pass
        return more

    def transmit(self, now: float) -> bool:
        self.log.append("transmit")
        self.written += self.due
        self.due = 0
        return self._next(self.sent, True)

    def _next(self, results: list[bool | OSError], default: bool) -> bool:
        result = results.pop(0) if results else default
        if isinstance(result, OSError):
            raise result
        return result

    def ready(self) -> list[FakeConnection]:
        news, self.news = self.news, []
        return news

    def timeout(self, now: float) -> float | None:
        return self.delay

    def on_timeout(self, now: float) -> None:
        self.log.append("timeout")
        self.delay = None


class Driven:
    def __init__(self) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.near.setblocking(False)
        self.local_address = ("127.0.0.1", 4433)
        self.receive_buffer = 8 << 20
        self.quic = FakeQuic(self.near)
        self.accepted: list[FakeConnection] = []
        self.error: Exception | None = None
        self.endpoint = Endpoint(
            self.quic,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            on_connection=self.connected,  # type: ignore[arg-type]
        )

    def connected(self, endpoint: Endpoint, connection: FakeConnection) -> FakeHandler:
        self.accepted.append(connection)
        return FakeHandler(connection, self.error)

    def fileno(self) -> int:
        return self.near.fileno()

    def close(self) -> None:
        self.near.close()

    async def arrive(self) -> None:
        """One datagram arrives."""
        count = self.quic.log.count("receive")
        self.far.send(b"x")
        await until(lambda: self.quic.log.count("receive") > count)


@pytest.fixture(autouse=True)
def fake_pump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.originalname != "test_noise_does_no_harm":
        monkeypatch.setattr("cwt.quic.Pump", lambda endpoint, sock, clock: endpoint)


@pytest.fixture
async def driven() -> AsyncIterator[Driven]:
    driven = Driven()
    yield driven
    driven.endpoint.close()
    driven.far.close()


async def test_a_datagram(driven: Driven) -> None:
    connection = FakeConnection()
    driven.quic.news = [connection]
    await driven.arrive()
    await until(lambda: "transmit" in driven.quic.log)
    assert driven.accepted == [connection]
    assert connection.user_data.calls == 1
    driven.quic.news = [connection]
    await driven.arrive()
    assert connection.user_data.calls == 2
    assert len(driven.accepted) == 1


async def test_a_connection_that_is_over_already(driven: Driven) -> None:
    connection = FakeConnection()
    connection.termination = cwt.IdleTimeout("idle")
    driven.quic.news = [connection]
    await driven.arrive()
    assert driven.accepted == []


async def test_others_get_their_turn(driven: Driven) -> None:
    driven.quic.more = [True, True, True, False]
    turns = []

    async def other() -> None:
        while driven.quic.log.count("receive") < 4:
            turns.append(driven.quic.log.count("receive"))
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    await asyncio.sleep(0)
    driven.far.send(b"x")
    await waiting
    assert {1, 2, 3} <= set(turns)


async def test_sends_are_coalesced(driven: Driven) -> None:
    for _ in range(100):
        driven.endpoint.wake()
    await asyncio.sleep(0.01)
    assert driven.quic.log == ["transmit"]


async def test_tasks_run_before_the_send(driven: Driven) -> None:
    connection = FakeConnection()
    woken = asyncio.get_running_loop().create_future()

    async def task() -> None:
        await woken
        driven.quic.log.append("task")

    class Waker(FakeHandler):
        def process(self) -> None:
            woken.set_result(None)

    connection.user_data = Waker(connection)
    waiting = asyncio.create_task(task())
    await asyncio.sleep(0)
    driven.quic.news = [connection]
    await driven.arrive()
    await waiting
    await until(lambda: "transmit" in driven.quic.log)
    assert driven.quic.log.index("task") < driven.quic.log.index("transmit")


@pytest.mark.parametrize("due", [0, 1])
async def test_tasks_of_tasks_run_before_the_send(driven: Driven, due: int) -> None:
    """A send after the first ones has nothing to do in a server that starts a task for each stream."""
    loop = asyncio.get_running_loop()
    started: list[asyncio.Task[None]] = []

    async def task(name: str) -> None:
        driven.quic.log.append(name)
        if name == "first":
            started.append(loop.create_task(task("second")))

    class Starter(FakeHandler):
        def process(self) -> None:
            driven.quic.due = due
            started.append(loop.create_task(task("first")))

    connection = FakeConnection()
    connection.user_data = Starter(connection)
    driven.quic.news = [connection]
    await driven.arrive()
    await until(lambda: len(started) == 2 and started[1].done())
    await asyncio.sleep(0.01)
    again = [] if due else ["transmit"]
    assert driven.quic.log == ["receive", "first", "transmit", "second", *again]


async def test_a_full_socket(driven: Driven) -> None:
    driven.quic.sent = [False, False, True]
    await driven.endpoint.sent()
    await asyncio.sleep(0.01)
    assert driven.quic.log.count("transmit") == 3


async def test_the_timer(driven: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    armed = []
    original = loop.call_later

    def call_later(delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        if args[0] == driven.endpoint._on_timer:
            armed.append(delay)
        return original(delay, *args, **kwargs)

    try:
        monkeypatch.setattr(loop, "call_later", call_later)
    except AttributeError:
        pytest.skip("this loop cannot be watched")
    for delay in (30.0, 31.0, 32.0):
        driven.quic.delay = delay
        driven.endpoint._transmit()
    assert armed == [30.0]  # later deadlines cost nothing
    driven.quic.delay = 0.0001
    driven.endpoint._transmit()
    assert armed == [30.0, 0.001]
    driven.quic.delay = 0.0
    await until(lambda: "timeout" in driven.quic.log)
    await until(lambda: driven.quic.log[-1] == "transmit")
    assert driven.endpoint._timer is None


async def test_what_is_due_now_needs_no_timer(driven: Driven) -> None:
    driven.quic.delay = 0.0
    driven.endpoint._transmit()
    assert driven.endpoint._timer is None
    await asyncio.sleep(0)
    assert driven.quic.log == ["transmit", "timeout"]
    await asyncio.sleep(0)
    assert driven.quic.log == ["transmit", "timeout", "transmit"]


async def test_a_full_socket_is_not_asked_in_a_loop(driven: Driven) -> None:
    driven.quic.delay = 0.0
    driven.quic.sent = [False]
    driven.endpoint._transmit()
    await asyncio.sleep(0)
    assert "timeout" not in driven.quic.log


async def test_a_timer_that_fires_too_early_is_set_again(driven: Driven) -> None:
    driven.quic.delay = 0.001
    driven.endpoint.wake()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    driven.quic.delay = 0.01
    await asyncio.sleep(0.005)
    assert "timeout" not in driven.quic.log
    driven.quic.delay = 0.0
    await until(lambda: "timeout" in driven.quic.log)


async def test_socket_errors_are_logged(driven: Driven, caplog: pytest.LogCaptureFixture) -> None:
    driven.quic.more = [OSError(100, "Network is down")]
    driven.quic.sent = [OSError(101, "Network is unreachable")]
    await driven.arrive()
    await until(lambda: "Network is unreachable" in caplog.text)
    assert "Network is down" in caplog.text
    await driven.arrive()
    assert not driven.endpoint.is_closed


async def test_a_bug_ends_one_connection(driven: Driven, caplog: pytest.LogCaptureFixture) -> None:
    broken, other = FakeConnection(), FakeConnection()
    broken.user_data = FakeHandler(broken, ZeroDivisionError())
    other.user_data = FakeHandler(other)
    driven.quic.news = [broken, other]
    await driven.arrive()
    assert broken.closed_with == (cwt.TransportErrorCode.INTERNAL_ERROR, "", False)
    assert isinstance(broken.user_data.lost_with, cwt.TransportError)
    assert other.user_data.calls == 1
    assert "ZeroDivisionError" in caplog.text


async def test_closing(driven: Driven) -> None:
    driven.endpoint.close_when_sent()
    assert not driven.endpoint.is_closed
    await driven.endpoint.wait_closed()
    assert driven.quic.log == ["transmit"]
    driven.endpoint.close()
    driven.endpoint.wake()
    await asyncio.sleep(0)
    assert driven.quic.log == ["transmit"]
    assert driven.near.fileno() == -1


async def test_noise_does_no_harm(start: Start) -> None:
    loopback = await start(echo)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noisy:
        for size in (0, 1, 20, 100, 1200, 1472):
            for first in (0x00, 0x40, 0xC0, 0xFF):
                noisy.sendto(bytes([first]) * size, ("127.0.0.1", loopback.server.port))
    async with loopback.connect() as session:
        stream = await session.open_bi()
        await stream.write(b"still here")
        await stream.finish()
        assert await stream.read() == b"still here"
