"""Plain HTTP/3 requests between aioquic and ``cwt.h3``, without asyncio's part of cwt."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aioquic import asyncio as aioquic
from aioquic.h3 import events as h3_events

from cwt import h3, quic, tls
from cwt.config import Http3Config
from tests.interop import aioquic_peer
from tests.interop.conftest import Certificate

pytestmark = pytest.mark.interop

MEGABYTE = 1 << 20
ALPN = [b"h3"]


class Driver:
    """The least that makes an endpoint go: a socket, and the clock."""

    def __init__(self, endpoint: quic.Endpoint) -> None:
        self.endpoint = endpoint
        self.sock = quic.UdpSocket.bind("127.0.0.1", 0)
        self.pump = quic.Pump(endpoint, self.sock)
        self.connections: dict[quic.Connection, h3.Connection] = {}

    async def run(self, on_event: Callable[[h3.Connection, object], bool]) -> None:
        """Until ``on_event`` says that it is enough."""
        while True:
            self.pump.receive(time.monotonic())
            if (delay := self.endpoint.timeout(time.monotonic())) is not None and delay <= 0:
                self.endpoint.on_timeout(time.monotonic())
            for connection in self.endpoint.ready():
                self.connections.setdefault(connection, h3.Connection(connection, Http3Config()))
            for connection, http in self.connections.items():
                if not connection.can_open_streams:
                    continue
                if not http.is_started:
                    http.start()
                if any(on_event(http, event) for event in http.poll()):
                    return
            self.pump.transmit(time.monotonic())
            await asyncio.sleep(0.001)

    async def flush(self) -> None:
        """Let what was sent last arrive."""
        for _ in range(20):
            self.pump.receive(time.monotonic())
            self.pump.transmit(time.monotonic())
            await asyncio.sleep(0.001)

    def close(self) -> None:
        self.sock.close()


class EchoServer(aioquic_peer.Peer):
    """An aioquic server that answers with what it was sent."""

    def _h3_event(self, event: h3_events.H3Event) -> None:
        if isinstance(event, h3_events.HeadersReceived):
            self.h3.send_headers(event.stream_id, [(b":status", b"200"), (b"x-echo", b"yes")])
            if event.stream_ended:
                self.h3.send_data(event.stream_id, dict(event.headers)[b":path"], end_stream=True)
        elif isinstance(event, h3_events.DataReceived):
            self.h3.send_data(event.stream_id, event.data, end_stream=event.stream_ended)
        self.transmit()


@asynccontextmanager
async def aioquic_server(certfile: Path, keyfile: Path) -> AsyncIterator[int]:
    configuration = aioquic_peer._configuration(False)
    configuration.load_cert_chain(certfile, keyfile)
    server = await aioquic.serve(
        "127.0.0.1", 0, configuration=configuration, create_protocol=EchoServer
    )
    transport = server._transport
    assert transport is not None
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        server.close()


def request(method: bytes, path: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b":method", method),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", path),
    ]


class Exchange:
    """One request of a cwt client, and what comes back."""

    def __init__(self, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.headers = headers
        self.unsent = memoryview(body)
        self.stream_id: int | None = None
        self.response: h3.ResponseReceived | None = None
        self.received = bytearray()
        self.ended = False

    def send(self, http: h3.Connection) -> None:
        if self.stream_id is None:
            self.stream_id = http.send_request(self.headers, fin=not self.unsent)
            if not self.unsent:
                return
        taken = http.send_data(self.stream_id, self.unsent, True)
        self.unsent = self.unsent[taken:]

    def on_event(self, http: h3.Connection, event: object) -> bool:
        may_send = isinstance(event, h3.SettingsReceived | h3.StreamWritable)
        if may_send and (self.unsent or self.stream_id is None):
            self.send(http)
        if isinstance(event, h3.ResponseReceived):
            self.response = event
            self.ended = event.ended
        elif isinstance(event, h3.DataReceived):
            while (got := http.read_data(event.stream_id)) is not None:
                self.received += got[0]
                if got[1]:
                    self.ended = True
                    break
        return self.ended


async def exchange(certificate: Certificate, one: Exchange) -> None:
    async with (
        aioquic_server(certificate.certfile, certificate.keyfile) as port,
        asyncio.timeout(60),
    ):
        context = tls.ClientContext(alpn=ALPN, server_certificate_hashes=[certificate.sha256])
        driver = Driver(quic.Endpoint(Http3Config()))
        driver.endpoint.connect("localhost", ("127.0.0.1", port), context, time.monotonic())
        try:
            await driver.run(one.on_event)
        finally:
            driver.endpoint.close_all(0x100)
            await driver.flush()
            driver.close()


async def test_cwt_client_gets_a_response(certificate: Certificate) -> None:
    one = Exchange(request(b"GET", b"/hello?x=1"))
    await exchange(certificate, one)
    assert one.response is not None
    assert one.response.status == 200
    assert (b"x-echo", b"yes") in one.response.headers
    assert one.received == b"/hello?x=1"


async def test_cwt_client_posts_one_megabyte(certificate: Certificate) -> None:
    body = os.urandom(MEGABYTE)
    one = Exchange(request(b"POST", b"/"), body)
    await exchange(certificate, one)
    assert one.received == body


class Responder:
    """A cwt server that answers each request with a body of ``size`` bytes."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.unsent: dict[int, memoryview] = {}

    def on_event(self, http: h3.Connection, event: object) -> bool:
        if isinstance(event, h3.RequestReceived):
            http.send_headers(event.stream_id, [(b":status", b"200")], False)
            self.unsent[event.stream_id] = memoryview(self.body)
            self.send(http, event.stream_id)
        elif isinstance(event, h3.StreamWritable) and event.stream_id in self.unsent:
            self.send(http, event.stream_id)
        return False

    def send(self, http: h3.Connection, stream_id: int) -> None:
        rest = self.unsent[stream_id]
        rest = rest[http.send_data(stream_id, rest, True) :]
        if rest:
            self.unsent[stream_id] = rest
        else:
            del self.unsent[stream_id]


async def test_aioquic_client_gets_responses(certificate: Certificate) -> None:
    body = os.urandom(MEGABYTE)
    context = tls.ServerContext(
        alpn=ALPN, certfile=certificate.certfile, keyfile=certificate.keyfile
    )
    driver = Driver(quic.Endpoint(Http3Config(), tls=context))
    server = asyncio.create_task(driver.run(Responder(body).on_event))
    port = driver.sock.local_address[1]
    try:
        async with aioquic_peer.connect("127.0.0.1", port) as peer, asyncio.timeout(60):
            for _ in range(3):
                assert await peer.get("localhost", "/") == (200, body)
            many = await asyncio.gather(*(peer.get("localhost", "/") for _ in range(5)))
            assert many == [(200, body)] * 5
    finally:
        server.cancel()
        driver.close()
