"""aiopquic: WebTransport of picoquic, on a thread of its own, under an asyncio API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from aiopquic._binding._transport import TransportContext
from aiopquic.asyncio.webtransport import (
    WebTransportSession,
    connect_webtransport,
    serve_webtransport,
)
from aiopquic.quic.configuration import QuicConfiguration
from aiopquic.quic.events import WebTransportDatagramReceived, WebTransportNewStream

from benchmarks.stacks.base import (
    COUNT,
    DOWNLOAD,
    UPLOAD,
    Client,
    Counter,
    Stack,
    download_request,
    free_port,
    pieces,
)

CONNECTIONS = 10_000


async def _send(session: WebTransportSession, stream: int, size: int) -> None:
    parts = pieces(size)
    for piece in parts[:-1]:
        await session.send_stream_data_drained(stream, piece)
    await session.send_stream_data_drained(stream, parts[-1], end_stream=True)


async def _read(session: WebTransportSession, stream: int) -> bytes:
    return b"".join([event.data async for event in session.receive_stream_data(stream)])


async def _answer(session: WebTransportSession, stream: int, counter: Counter) -> None:
    head = bytearray()
    count = 0
    async for event in session.receive_stream_data(stream):
        if count:
            count += len(event.data)
            continue
        head += event.data
        if head[:1] == UPLOAD:
            count = len(head)
    if head[:1] == DOWNLOAD:
        await _send(session, stream, int.from_bytes(head[1:9], "big"))
        return
    if count:
        answer = (count - 1).to_bytes(8, "big")
    elif head[:1] == COUNT:
        answer = counter.answer()
    else:
        answer = bytes(head[1:])
    await session.send_stream_data_drained(stream, answer, end_stream=True)


async def _handle(session: WebTransportSession) -> None:
    counter = Counter()
    tasks = set()
    async for event in session.events():
        if isinstance(event, WebTransportDatagramReceived):
            counter.add()
        elif isinstance(event, WebTransportNewStream):
            task = asyncio.create_task(_answer(session, event.stream_id, counter))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def _client_transport() -> TransportContext:
    """What connect_webtransport makes from the default configuration, to share between connections."""
    configuration = QuicConfiguration()
    transport = TransportContext()
    transport.start(
        is_client=True,
        alpn="h3",
        verify_peer=False,
        max_connections=CONNECTIONS,
        max_datagram_frame_size=configuration.max_datagram_frame_size,
        rx_data_ring_cap=configuration.max_stream_data,
        initial_max_data=configuration.max_data,
        initial_max_streams_uni=configuration.max_streams_uni,
        initial_max_streams_bidi=configuration.max_streams_bidi,
        congestion_control_algorithm=configuration.congestion_control_algorithm,
    )
    return transport


class AiopquicClient(Client):
    def __init__(self, session: WebTransportSession) -> None:
        self.session = session

    async def upload(self, size: int) -> int:
        stream = await self.session.create_stream()
        await self.session.send_stream_data_drained(stream, UPLOAD)
        await _send(self.session, stream, size)
        return int.from_bytes(await _read(self.session, stream), "big")

    async def download(self, size: int) -> int:
        stream = await self.session.create_stream()
        await self.session.send_stream_data_drained(stream, download_request(size), end_stream=True)
        count = 0
        async for event in self.session.receive_stream_data(stream):
            count += len(event.data)
        return count

    async def exchange(self, data: bytes) -> bytes:
        stream = await self.session.create_stream()
        await self.session.send_stream_data_drained(stream, data, end_stream=True)
        return await _read(self.session, stream)

    async def send_datagrams(self, count: int, data: bytes) -> None:
        drained = self.session.get_datagram_tx_drain_event()
        for _ in range(count):
            while not self.session.send_datagram_frame(data):
                await drained.wait()


class Aiopquic(Stack):
    """Default settings, but for the limit on connections; one network thread for all of a client."""

    def __init__(self) -> None:
        self.transport: TransportContext | None = None

    def version(self) -> str:
        return version("aiopquic")

    @asynccontextmanager
    async def serve(self, certfile: str, keyfile: str) -> AsyncIterator[int]:
        port = free_port()
        server = await serve_webtransport(
            "127.0.0.1",
            port,
            "/",
            handler=_handle,
            cert_file=certfile,
            key_file=keyfile,
            configuration=QuicConfiguration(is_client=False, max_connections=CONNECTIONS),
        )
        yield port
        server.close()

    @asynccontextmanager
    async def connect(self, port: int) -> AsyncIterator[Client]:
        if self.transport is None:
            self.transport = _client_transport()
        async with connect_webtransport(
            "127.0.0.1", port, "/", transport=self.transport
        ) as session:
            yield AiopquicClient(session)
