"""Drives sans-IO endpoints over UDP as a program without an event loop would: ``select`` and a pump."""

from __future__ import annotations

import select
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

from benchmarks.processes import Channel, Figures, cpu_seconds, run_pair
from cwt import quic
from cwt._core.endpoint import Endpoint
from cwt.config import TransportConfig
from cwt.quic import Connection, Pump, UdpSocket
from cwt.tls import ClientContext, ServerContext
from cwt.tls.development import development_certificate

__all__ = ["CHUNK", "CONFIG", "Contexts", "End", "Load", "bulk", "contexts", "drive"]

CHUNK = 65536
"""Bytes of the application's reads and writes."""

PATIENCE = 20.0
"""Seconds that the ends may wait for each other."""

CONFIG = TransportConfig(send_buffer=1 << 20, initial_max_streams_uni=20_000, mtu_discovery=False)
"""With packets of 1200 bytes."""


@dataclass(frozen=True)
class Contexts:
    """The TLS settings of two ends that trust each other."""

    client: ClientContext
    server: ServerContext


def contexts(alpn: bytes = b"bench") -> Contexts:
    """With a new ECDSA P-256 certificate."""
    certificate = development_certificate()
    return Contexts(
        ClientContext(alpn=[alpn], server_certificate_hashes=[certificate.sha256]),
        ServerContext(
            alpn=[alpn],
            certificate_chain=certificate.chain,
            private_key=certificate.private_key,
        ),
    )


class End(ABC):
    """An application on the one connection of *endpoint*."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.connection: Connection | None = None

    def work(self) -> None:
        """Do what can be done now; called after each batch of datagrams and each timeout."""
        for connection in self.endpoint.ready():
            self.connection = connection
        if self.connection is not None and self.connection.is_established:
            self.on_ready(self.connection)

    @abstractmethod
    def on_ready(self, connection: Connection) -> None:
        """Something may have changed."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether nothing is left to do."""


def drive(pump: Pump, end: End) -> None:
    """Run *end* until it is done, or nothing came for too long (RuntimeError)."""
    endpoint, fd = pump.endpoint, pump.socket.fileno()
    writable = True
    while True:
        wait = endpoint.timeout(time.monotonic())
        wait = PATIENCE if wait is None else min(wait, PATIENCE)
        readable, _, _ = select.select([fd], [] if writable else [fd], [], wait)
        now = time.monotonic()
        if readable:
            pump.receive(now)
        endpoint.on_timeout(now)
        end.work()
        writable = pump.transmit(now)
        if end.is_done:
            return
        if not readable and wait == PATIENCE:
            raise RuntimeError("the other end went silent")


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is moved: *total* bytes in all, over *streams* streams at once."""

    total: int
    streams: int = 1
    download: bool = False
    """From server to client."""
    config: TransportConfig = CONFIG


class Sending(End):
    """Writes the load to streams that it opens, then waits until the peer closes."""

    def __init__(self, endpoint: Endpoint, load: Load) -> None:
        super().__init__(endpoint)
        self.load = load
        self.left: dict[int, int] = {}
        self.started = False
        self.chunk = bytes(CHUNK)

    def on_ready(self, connection: Connection) -> None:
        if not self.started:
            self._start(connection)
            return
        for stream_id in connection.writable():
            if stream_id in self.left:
                self._write(connection, stream_id)

    def _start(self, connection: Connection) -> None:
        self.started = True
        share, rest = divmod(self.load.total, self.load.streams)
        for index in range(self.load.streams):
            stream_id = connection.open_stream(False)
            assert stream_id is not None
            self.left[stream_id] = share + (rest if index == 0 else 0)
        for stream_id in list(self.left):
            self._write(connection, stream_id)

    def _write(self, connection: Connection, stream_id: int) -> None:
        left = self.left[stream_id]
        while left:
            size = min(left, CHUNK)
            chunk = self.chunk if size == CHUNK else self.chunk[:size]
            taken = connection.stream_send(stream_id, chunk, size == left)
            left -= taken
            if taken < size:
                self.left[stream_id] = left
                return
        del self.left[stream_id]

    @property
    def is_done(self) -> bool:
        return self.connection is not None and self.connection.termination is not None


class Receiving(End):
    """Reads everything, then closes the connection."""

    def __init__(self, endpoint: Endpoint, load: Load) -> None:
        super().__init__(endpoint)
        self.load = load
        self.received = 0
        self.buffer = bytearray(CHUNK)

    def on_ready(self, connection: Connection) -> None:
        for stream_id in connection.readable():
            while (got := connection.stream_recv_into(stream_id, self.buffer)) is not None:
                self.received += got[0]
                if got[1]:
                    break
        if self.is_done:
            connection.close(0, "received")

    @property
    def is_done(self) -> bool:
        return self.received == self.load.total


def _run(socket: UdpSocket, endpoint: Endpoint, load: Load, sends: bool) -> Figures:
    end = Sending(endpoint, load) if sends else Receiving(endpoint, load)
    began, cpu = time.perf_counter(), cpu_seconds()
    drive(Pump(endpoint, socket, time.monotonic), end)
    spent, elapsed = cpu_seconds() - cpu, time.perf_counter() - began
    assert end.connection is not None
    stats = end.connection.stats()
    details = {"lost": stats.packets_lost, "rtt": stats.smoothed_rtt}
    packets = stats.packets_sent if sends else stats.packets_received
    return Figures(spent, elapsed, load.total, packets, details)


def _client(
    socket: UdpSocket, server: tuple[str, int], tls: ClientContext, load: Load, channel: Channel
) -> Figures:
    endpoint = quic.Endpoint(load.config)
    channel.meet()
    endpoint.connect("localhost", server, tls, time.monotonic())
    return _run(socket, endpoint, load, not load.download)


def _server(socket: UdpSocket, tls: ServerContext, load: Load, channel: Channel) -> Figures:
    endpoint = quic.Endpoint(load.config, tls=tls)
    channel.meet()
    return _run(socket, endpoint, load, load.download)


def bulk(load: Load, tls: Contexts) -> tuple[Figures, Figures]:
    """Move *load* between two processes; the figures of the sender and of the receiver."""
    with UdpSocket.bind("127.0.0.1") as ours, UdpSocket.bind("127.0.0.1") as theirs:
        client, server = run_pair(
            partial(_client, ours, theirs.local_address, tls.client, load),
            partial(_server, theirs, tls.server, load),
            cpus=(1, 0) if load.download else (0, 1),  # the sender is always on the first
        )
    return (server, client) if load.download else (client, server)
