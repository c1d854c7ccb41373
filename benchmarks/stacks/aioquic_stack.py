"""aioquic: raw QUIC streams, and WebTransport over its HTTP/3."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioquic
from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3_ALPN, FrameType, H3Connection
from aioquic.h3.events import (
    DatagramReceived,
    H3Event,
    HeadersReceived,
    WebTransportStreamDataReceived,
)
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import (
    ConnectionTerminated,
    DatagramFrameReceived,
    ProtocolNegotiated,
    QuicEvent,
    StreamDataReceived,
)

from benchmarks.stacks.base import DOWNLOAD, ECHO, UPLOAD, Client, Stack, download_request


class Transport(QuicConnectionProtocol):
    """Streams and datagrams as callbacks, over raw QUIC or WebTransport alike."""

    webtransport = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.h3: H3Connection | None = None
        self.session_id = 0
        self.session_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            self.terminated(event)
        if isinstance(event, ProtocolNegotiated) and event.alpn_protocol in H3_ALPN:
            self.h3 = H3Connection(self._quic, enable_webtransport=True)
        if self.h3 is not None:
            for http_event in self.h3.handle_event(event):
                self.http_event_received(http_event)
        elif isinstance(event, StreamDataReceived):
            self.data_received(event.stream_id, event.data, event.end_stream)
        elif isinstance(event, DatagramFrameReceived):
            self.datagram(event.data)

    def http_event_received(self, event: H3Event) -> None:
        if isinstance(event, WebTransportStreamDataReceived):
            self.data_received(event.stream_id, event.data, event.stream_ended)
        elif isinstance(event, DatagramReceived):
            self.datagram(event.data)
        elif isinstance(event, HeadersReceived):
            self.session_id = event.stream_id
            if not self._quic.configuration.is_client:
                assert self.h3 is not None
                self.h3.send_headers(event.stream_id, [(b":status", b"200")])
                self.transmit()
            elif not self.session_open.done():
                self.session_open.set_result(None)

    def terminated(self, event: ConnectionTerminated) -> None:
        """The connection is gone."""

    def data_received(self, stream_id: int, data: bytes, fin: bool) -> None:
        raise NotImplementedError

    def datagram(self, data: bytes) -> None:
        raise NotImplementedError

    def write(self, stream_id: int, data: bytes, fin: bool) -> None:
        self._quic.send_stream_data(stream_id, data, fin)
        self.transmit()

    def write_datagram(self, data: bytes) -> None:
        if self.h3 is not None:
            self.h3.send_datagram(self.session_id, data)
        else:
            self._quic.send_datagram_frame(data)
        self.transmit()

    def open(self) -> int:
        if self.h3 is not None:
            stream_id = self.h3.create_webtransport_stream(self.session_id)
            # aioquic would read the answer on a stream of ours as HTTP/3 frames.
            with self.h3._get_or_create_stream(stream_id) as stream:
                stream.frame_type = FrameType.WEBTRANSPORT_STREAM
                stream.session_id = self.session_id
            return stream_id
        return self._quic.get_next_available_stream_id()


class ServerTransport(Transport):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.streams: dict[int, bytearray] = {}
        self.counts: dict[int, int] = {}

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
        else:
            self.write(stream_id, bytes(head[1:]), True)

    def datagram(self, data: bytes) -> None:
        self.write_datagram(data)


class ClientTransport(Transport, Client):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received: dict[int, list[bytes]] = {}
        self.finished: dict[int, asyncio.Future[None]] = {}
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()

    def data_received(self, stream_id: int, data: bytes, fin: bool) -> None:
        finished = self.finished.get(stream_id)
        if finished is None or finished.done():
            return  # aioquic may tell the end of a stream twice
        self.received[stream_id].append(data)
        if fin:
            finished.set_result(None)

    def datagram(self, data: bytes) -> None:
        self.datagrams.put_nowait(data)

    def terminated(self, event: ConnectionTerminated) -> None:
        waiting = [*self.finished.values(), *([self.session_open] if self.h3 else [])]
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionError(event.reason_phrase))

    async def exchange(self, data: bytes) -> bytes:
        stream_id = self.open()
        self.received[stream_id] = []
        self.finished[stream_id] = asyncio.get_running_loop().create_future()
        self.write(stream_id, data, True)
        await self.finished[stream_id]
        del self.finished[stream_id]
        return b"".join(self.received.pop(stream_id))

    async def upload(self, size: int) -> int:
        return int.from_bytes(await self.exchange(UPLOAD + bytes(size)), "big")

    async def download(self, size: int) -> int:
        return len(await self.exchange(download_request(size)))

    async def echo(self, data: bytes) -> bytes:
        return await self.exchange(ECHO + data)

    def send_datagram(self, data: bytes) -> None:
        self.write_datagram(data)

    async def receive_datagram(self) -> bytes:
        return await self.datagrams.get()


class AioquicRaw(Stack):
    """Streams and datagrams of QUIC itself: the least that aioquic can do."""

    alpn = ("bench",)

    def version(self) -> str:
        return f"aioquic {aioquic.__version__}"

    def configuration(self, is_client: bool) -> QuicConfiguration:
        return QuicConfiguration(
            is_client=is_client,
            alpn_protocols=list(self.alpn),
            max_datagram_frame_size=65536,
            verify_mode=ssl.CERT_NONE,
        )

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        configuration = self.configuration(False)
        configuration.load_cert_chain(certfile, keyfile)
        server = await serve(
            "127.0.0.1", 0, configuration=configuration, create_protocol=ServerTransport
        )
        try:
            yield server._transport.get_extra_info("sockname")[1]
        finally:
            server.close()

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        configuration = self.configuration(True)
        async with connect(
            "127.0.0.1", port, configuration=configuration, create_protocol=ClientTransport
        ) as client:
            assert isinstance(client, ClientTransport)
            await self.begin(client)
            yield client

    async def begin(self, client: ClientTransport) -> None:
        """Nothing to do without HTTP/3."""


class AioquicWebTransport(AioquicRaw):
    """What a WebTransport application pays: HTTP/3 on top."""

    alpn = tuple(H3_ALPN)

    async def begin(self, client: ClientTransport) -> None:
        assert client.h3 is not None
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
