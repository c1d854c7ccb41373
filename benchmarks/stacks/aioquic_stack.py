"""aioquic, and qh3, which kept its interface: raw QUIC streams, and WebTransport over their HTTP/3."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

from benchmarks.stacks.base import COUNT, DOWNLOAD, UPLOAD, Client, Counter, Stack, download_request

BURST = 32
"""Datagrams that are handed over between two turns of the event loop: the stacks do not say when."""


class Library:
    """The names of one of the two packages."""

    def __init__(self, package: str) -> None:
        self.asyncio = import_module(f"{package}.asyncio")
        self.h3 = import_module(f"{package}.h3.connection")
        self.http = import_module(f"{package}.h3.events")
        self.quic = import_module(f"{package}.quic.events")
        self.configuration = import_module(f"{package}.quic.configuration").QuicConfiguration


class Transport:
    """Streams and datagrams as callbacks, over raw QUIC or WebTransport alike.

    A mixin of QuicConnectionProtocol.
    """

    library: Library
    _quic: Any
    transmit: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.h3: Any = None
        self.session_id = 0
        self.session_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: Any) -> None:
        quic = self.library.quic
        if isinstance(event, quic.ConnectionTerminated):
            self.terminated(event)
        if isinstance(event, quic.ProtocolNegotiated) and event.alpn_protocol == "h3":
            self.h3 = self.library.h3.H3Connection(self._quic, enable_webtransport=True)
        if self.h3 is not None:
            for http_event in self.h3.handle_event(event):
                self.http_event_received(http_event)
        elif isinstance(event, quic.StreamDataReceived):
            self.data_received(event.stream_id, event.data, event.end_stream)
        elif isinstance(event, quic.DatagramFrameReceived):
            self.datagram(event.data)

    def http_event_received(self, event: Any) -> None:
        http = self.library.http
        if isinstance(event, http.WebTransportStreamDataReceived):
            self.data_received(event.stream_id, event.data, event.stream_ended)
        elif isinstance(event, http.DatagramReceived):
            self.datagram(event.data)
        elif isinstance(event, http.HeadersReceived):
            self.session_id = event.stream_id
            if not self._quic.configuration.is_client:
                self.h3.send_headers(event.stream_id, [(b":status", b"200")])
                self.transmit()
            elif not self.session_open.done():
                self.session_open.set_result(None)

    def terminated(self, event: Any) -> None:
        """The connection is gone."""

    def data_received(self, stream_id: int, data: bytes, fin: bool) -> None:
        raise NotImplementedError

    def datagram(self, data: bytes) -> None:
        raise NotImplementedError

    def write(self, stream_id: int, data: bytes, fin: bool) -> None:
        self._quic.send_stream_data(stream_id, data, fin)
        self.transmit()

    def open(self) -> int:
        if self.h3 is None:
            stream_id: int = self._quic.get_next_available_stream_id()
            return stream_id
        stream_id = self.h3.create_webtransport_stream(self.session_id)
        # They would read the answer on a stream of ours as HTTP/3 frames.
        stream = self.h3._get_or_create_stream(stream_id)
        with stream if hasattr(stream, "__enter__") else nullcontext(stream) as stream:
            stream.frame_type = self.library.h3.FrameType.WEBTRANSPORT_STREAM
            stream.session_id = self.session_id
        return stream_id


class ServerTransport(Transport):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.streams: dict[int, bytearray] = {}
        self.counts: dict[int, int] = {}
        self.counter = Counter()

    def data_received(self, stream_id: int, data: bytes, fin: bool) -> None:
        if stream_id in self.counts:
            self.counts[stream_id] += len(data)
        else:
            received = self.streams.setdefault(stream_id, bytearray())
            received += data
            if received[:1] == UPLOAD:
                self.counts[stream_id] = len(received) - 1
        if not fin:
            return
        head = self.streams.pop(stream_id)
        if (count := self.counts.pop(stream_id, None)) is not None:
            self.write(stream_id, count.to_bytes(8, "big"), True)
        elif head[:1] == DOWNLOAD:
            self.write(stream_id, bytes(int.from_bytes(head[1:9], "big")), True)
        elif head[:1] == COUNT:
            self.write(stream_id, self.counter.answer(), True)
        else:
            self.write(stream_id, bytes(head[1:]), True)

    def datagram(self, data: bytes) -> None:
        self.counter.add()


class ClientTransport(Transport, Client):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received: dict[int, list[bytes]] = {}
        self.finished: dict[int, asyncio.Future[None]] = {}

    def data_received(self, stream_id: int, data: bytes, fin: bool) -> None:
        finished = self.finished.get(stream_id)
        if finished is None or finished.done():
            return  # the end of a stream may be told twice
        self.received[stream_id].append(data)
        if fin:
            finished.set_result(None)

    def datagram(self, data: bytes) -> None:
        raise RuntimeError("the server sends no datagrams")

    def terminated(self, event: Any) -> None:
        waiting = [*self.finished.values(), *([self.session_open] if self.h3 else [])]
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionError(event.reason_phrase))

    async def exchange(self, data: bytes) -> bytes:
        await self.room()
        stream_id = self.open()
        self.received[stream_id] = []
        self.finished[stream_id] = asyncio.get_running_loop().create_future()
        self.write(stream_id, data, True)
        await self.finished[stream_id]
        del self.finished[stream_id]
        return b"".join(self.received.pop(stream_id))

    async def room(self) -> None:
        """Wait until the peer allows a stream: aioquic does by itself, qh3 raises and is spoiled."""
        quic = self._quic
        if not hasattr(quic, "max_concurrent_bidi_streams"):
            return
        number = quic.get_next_available_stream_id() // 4
        while number >= quic.max_concurrent_bidi_streams:
            await asyncio.sleep(0.001)
            number = quic.get_next_available_stream_id() // 4

    async def upload(self, size: int) -> int:
        return int.from_bytes(await self.exchange(UPLOAD + bytes(size)), "big")

    async def download(self, size: int) -> int:
        return len(await self.exchange(download_request(size)))

    async def send_datagrams(self, count: int, data: bytes) -> None:
        send = (
            self._quic.send_datagram_frame
            if self.h3 is None
            else partial(self.h3.send_datagram, self.session_id)
        )
        for start in range(0, count, BURST):
            for _ in range(min(BURST, count - start)):
                send(data)
            self.transmit()
            await asyncio.sleep(0)


class AioquicRaw(Stack):
    """Streams and datagrams of QUIC itself: the least that the stack can do."""

    package = "aioquic"
    alpn = "bench"

    def __init__(self) -> None:
        self.library = Library(self.package)
        base = self.library.asyncio.QuicConnectionProtocol
        names = {"library": self.library}
        self.server_transport = type("Server", (ServerTransport, base), names)
        self.client_transport = type("Client", (ClientTransport, base), names)

    def version(self) -> str:
        return version(self.package)

    def configuration(self, is_client: bool) -> Any:
        return self.library.configuration(
            is_client=is_client,
            alpn_protocols=[self.alpn],
            max_datagram_frame_size=65536,
            verify_mode=ssl.CERT_NONE,
        )

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        configuration = self.configuration(False)
        configuration.load_cert_chain(certfile, keyfile)
        server = await self.library.asyncio.serve(
            "127.0.0.1", 0, configuration=configuration, create_protocol=self.server_transport
        )
        try:
            yield server._transport.get_extra_info("sockname")[1]
        finally:
            server.close()

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        async with self.library.asyncio.connect(
            "127.0.0.1",
            port,
            configuration=self.configuration(True),
            create_protocol=self.client_transport,
        ) as client:
            await self.begin(client)
            yield client

    async def begin(self, client: ClientTransport) -> None:
        """Nothing to do without HTTP/3."""


class Aioquic(AioquicRaw):
    """What a WebTransport application pays: HTTP/3 on top."""

    alpn = "h3"

    async def begin(self, client: ClientTransport) -> None:
        client.session_id = client._quic.get_next_available_stream_id()
        client.h3.send_headers(
            client.session_id,
            [
                (b":method", b"CONNECT"),
                (b":scheme", b"https"),
                (b":authority", b"127.0.0.1"),
                (b":path", b"/"),
                (b":protocol", b"webtransport"),
            ],
        )
        client.transmit()
        await client.session_open


class Qh3(Aioquic):
    package = "qh3"
