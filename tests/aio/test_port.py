"""Sessions over every kind of UDP input and output, and the port of loops that have only transports."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

import cwt
from cwt import quic
from cwt._types import RecvInfo, SendInfo
from cwt.aio import port as ports
from cwt.aio.port import SocketPort, TransportPort
from tests.aio.conftest import MakePair, Start, echo, until

MODES = {
    "offload": {},
    "no-gso": {"CWT_GSO": "0"},
    "no-gro": {"CWT_GRO": "0"},
    "mmsg": {"CWT_GSO": "0", "CWT_GRO": "0"},
    "plain": {"CWT_GSO": "0", "CWT_GRO": "0", "CWT_MMSG": "0"},
    "transport": {"CWT_UDP": "transport"},
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("CWT_GSO", "CWT_GRO", "CWT_MMSG", "CWT_UDP"):
        monkeypatch.delenv(name, raising=False)
    for name, value in MODES[request.param].items():
        monkeypatch.setenv(name, value)
    return str(request.param)


async def test_a_session(mode: str, make_pair: MakePair) -> None:
    pair = await make_pair()
    endpoint = pair.client._connection.endpoint
    assert isinstance(endpoint._port, TransportPort) == (mode == "transport")
    content = bytes(range(256)) * 8192  # 2 MiB

    async def answer() -> None:
        stream = await pair.server.accept_bi()
        async with stream:
            async for data in stream:
                await stream.write(data)

    answering = asyncio.create_task(answer())
    stream = await pair.client.open_bi()

    async def ask() -> None:
        await stream.write(content)
        await stream.finish()

    asking = asyncio.create_task(ask())
    assert await stream.read() == content
    await asyncio.gather(asking, answering)
    sent = {b"%d" % number for number in range(100)}
    assert pair.client.datagrams.send_many(sent) == 100
    received: set[bytes] = set()
    while len(received) < 100:
        received.update(await pair.server.datagrams.receive_many())
    assert received == sent
    assert pair.client.stats().connection.packets_lost < 2000


async def test_many_clients(mode: str, start: Start) -> None:
    loopback = await start(echo)

    async def one(number: int) -> None:
        async with loopback.connect() as session:
            stream = await session.open_bi()
            await stream.write(b"%d" % number)
            await stream.finish()
            assert await stream.read() == b"%d" % number

    await asyncio.gather(*map(one, range(10)))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
async def test_addresses_behind_a_transport(
    host: str, monkeypatch: pytest.MonkeyPatch, make_pair: MakePair
) -> None:
    monkeypatch.setenv("CWT_UDP", "transport")
    try:
        shown = "127.0.0.1" if host == "::" else host
        pair = await make_pair({"address": shown}, host=host)
    except OSError:
        pytest.skip("no IPv6 on this host")
    assert pair.client.remote_address == (shown, pair.loopback.server.port)
    assert pair.server.remote_address == (shown, pair.client.local_address[1])


async def test_nobody_listens(mode: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(cwt.ConnectError):
        async with cwt.connect(f"https://127.0.0.1:{port}/", open_timeout=20):
            pass


class FakeEndpoint:
    """Gives *out*, and keeps what it takes."""

    def __init__(self, out: list[tuple[bytes, SendInfo]]) -> None:
        self.out = out
        self.taken: list[tuple[bytes, RecvInfo]] = []

    def recv(self, data: bytes, info: RecvInfo, now: float) -> None:
        self.taken.append((data, info))

    def send(self, now: float) -> tuple[bytes, SendInfo] | None:
        return self.out.pop(0) if self.out else None


class Rig:
    """A port of the kind a loop without readers gets, and a plain socket it talks with."""

    def __init__(self, host: str = "127.0.0.1", count: int = 0) -> None:
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        self.peer.setblocking(False)
        to = self.peer.getsockname()
        self.quic = FakeEndpoint(
            [(b"%d" % number, SendInfo(to, ("", 0), 0)) for number in range(count)]
        )
        self.sock = quic.UdpSocket.bind(host)
        self.calls: list[str] = []
        self.port = TransportPort(
            self.quic,  # type: ignore[arg-type]
            self.sock,
            lambda: self.calls.append("readable"),
            lambda: self.calls.append("writable"),
        )

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *exception: object) -> None:
        self.port.close()
        self.peer.close()

    def send(self, data: bytes) -> None:
        self.peer.sendto(data, ("127.0.0.1", self.sock.local_address[1]))

    def received(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self.peer.recv(2000))
            except BlockingIOError:
                return found


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
async def test_datagrams_come_in_batches(host: str) -> None:
    try:
        rig = Rig(host)
    except OSError:
        pytest.skip("no IPv6 on this host")
    with rig:
        for number in range(3):
            rig.send(b"%d" % number)
        await until(lambda: len(rig.port._waiting) + len(rig.quic.taken) == 3 and rig.calls)
        rig.port.receive(1.0)
        rig.port.receive(1.0)
        info = RecvInfo(rig.peer.getsockname(), rig.sock.local_address)
        assert rig.quic.taken == [(b"%d" % number, info) for number in range(3)]


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MAX_WAITING", 5)
    with Rig() as rig:
        for _ in range(9):
            rig.port.datagram_received(b"x", ("127.0.0.1", 1))
        rig.port.receive(1.0)
        assert len(rig.quic.taken) == 5


async def test_nothing_is_sent_before_the_transport_is_there() -> None:
    with Rig(count=3) as rig:
        assert rig.port.transmit(1.0) is False
        rig.port.watch_writable()
        await until(lambda: rig.calls)
        assert rig.calls == ["writable"]
        assert rig.port.transmit(1.0) is True
        assert rig.received() == [b"0", b"1", b"2"]


async def test_a_full_transport_stops_the_sending() -> None:
    with Rig(count=3) as rig:
        rig.port.watch_writable()
        await until(lambda: rig.calls)
        rig.port.pause_writing()
        assert rig.port.transmit(1.0) is False
        rig.port.resume_writing()
        assert rig.calls == ["writable"]  # nobody waited
        rig.port.pause_writing()
        rig.port.watch_writable()
        rig.port.resume_writing()
        assert rig.calls == ["writable"] * 2
        assert rig.port.transmit(1.0) is True
        assert rig.quic.out == []


async def test_a_pass_sends_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MOST_SENT", 4)
    with Rig(count=6) as rig:
        rig.port.watch_writable()
        await until(lambda: rig.calls)
        assert rig.port.transmit(1.0) is True
        assert len(rig.quic.out) == 2


async def test_errors_are_told() -> None:
    with Rig() as rig:
        await until(lambda: not rig.port._is_paused)
        rig.port.error_received(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
        assert rig.port.last_error == errno.ECONNREFUSED
        assert rig.calls == ["readable"]
        rig.port.error_received(ValueError("what"))
        assert rig.calls == ["readable"]


async def test_a_transport_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(*args: object, **options: object) -> None:
        raise OSError(errno.EMFILE, "too many")

    class Loop:
        def __getattr__(self, name: str) -> Any:
            return fails if name == "create_datagram_endpoint" else getattr(loop, name)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    with Rig() as rig, caplog.at_level(logging.WARNING):
        monkeypatch.undo()
        await until(rig.port._opening.done)
        assert rig.port.last_error == errno.EMFILE
        assert rig.port.transmit(1.0) is False
    assert "no transport" in caplog.text


@pytest.mark.parametrize(
    ("outside", "inside"),
    [
        (("::ffff:192.0.2.1", 5, 0, 0), ("192.0.2.1", 5)),
        (("2001:db8::1", 5, 0, 0), ("2001:db8::1", 5)),
        (("fe80::1", 5, 0, 3), ("fe80::1%3", 5)),
    ],
)
def test_forms_of_addresses(outside: tuple[Any, ...], inside: tuple[str, int]) -> None:
    assert TransportPort._from_transport(outside) == inside
    assert TransportPort._to_transport(inside) == outside
    with_name = (f"{outside[0]}%eth0", *outside[1:])
    assert TransportPort._from_transport(with_name) == inside


async def test_addresses_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_MAX_KNOWN", 10)
    try:
        rig = Rig("::")
    except OSError:
        pytest.skip("no IPv6 on this host")
    with rig:
        for number in range(25):
            rig.port.datagram_received(b"x", ("2001:db8::1", number, 0, 0))
        assert len(rig.port._known) <= 10


def test_small_buffers_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    ports._check_buffer.cache_clear()
    with caplog.at_level(logging.INFO):
        for size in (8 << 20, 425_984, 425_984):
            ports._check_buffer(size)
    assert [record.message.count("425984") for record in caplog.records] == [1]


async def test_a_loop_without_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise NotImplementedError

    class Loop:
        add_reader: Callable[..., None] = staticmethod(refuse)

        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

    loop = asyncio.get_running_loop()
    monkeypatch.delenv("CWT_UDP", raising=False)
    with quic.UdpSocket.bind("127.0.0.1") as sock:
        arguments: Any = (quic.Endpoint(cwt.Config()), sock, loop.time, lambda: None, lambda: None)
        port = ports.open_port(*arguments)
        assert isinstance(port, SocketPort)
        loop.remove_reader(sock.fileno())
        monkeypatch.setattr(asyncio, "get_running_loop", Loop)
        port = ports.open_port(*arguments)
        assert isinstance(port, TransportPort)
        port.close()
