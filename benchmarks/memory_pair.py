"""Connections between two sans-IO endpoints in this process, over a :mod:`benchmarks.link`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice

from benchmarks import build
from benchmarks.drive import Contexts
from cwt import quic
from cwt.config import TransportConfig
from cwt.quic import Connection
from cwt.testing import CLIENT, SERVER

__all__ = ["CHUNK", "MemoryPair"]

CHUNK = 65536
STEP = 0.000_05
"""Seconds of virtual time for each exchange."""
WINDOW = 1 << 20
"""Bytes in flight, at which the congestion window is held."""
CONFIG = TransportConfig(
    max_idle_timeout=0,
    handshake_timeout=1000,
    send_buffer=1 << 20,
    initial_max_streams_uni=20_000,
    pacing=False,
    mtu_discovery=False,
)


class MemoryPair:
    """Two endpoints, and their time."""

    def __init__(self, tls: Contexts, config: TransportConfig = CONFIG) -> None:
        self.tls = tls
        self.client = quic.Endpoint(config)
        self.server = quic.Endpoint(config, tls=tls.server, max_handshakes=100_000)
        module = build.load("benchmark_link", "link.pyx")
        self.link = module.Link(self.client, self.server, window=WINDOW)
        self.now = 1.0
        self.received = 0
        self._buffer = bytearray(CHUNK)

    def tick(self) -> None:
        """Let time pass."""
        self.now += STEP
        self.client.on_timeout(self.now)
        self.server.on_timeout(self.now)

    def exchange(self) -> None:
        """Let both ends send what they have, and the server read."""
        self.tick()
        moved = self.link.up(self.now)
        self.read()
        moved += self.link.down(self.now)
        self.client.ready()
        if not moved:
            waits = [self.client.timeout(self.now), self.server.timeout(self.now)]
            self.now += min((wait for wait in waits if wait is not None), default=0.0)

    def read(self) -> None:
        """Let the server read all that came."""
        for connection in self.server.ready():
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        for stream_id in connection.readable():
            while (got := connection.stream_recv_into(stream_id, self._buffer)) is not None:
                self.received += got[0]
                if got[1]:
                    break

    def connect(self, count: int) -> list[Connection]:
        """*count* more connections, established and confirmed."""
        made: list[Connection] = []
        while len(made) < count:
            some = [
                self.client.connect("localhost", SERVER, self.tls.client, self.now, local=CLIENT)
                for _ in range(min(100, count - len(made)))
            ]
            for _ in range(1000):
                if all(connection.is_confirmed for connection in some):
                    break
                self.exchange()
            else:
                raise RuntimeError("handshakes do not complete")
            made += some
        return made

    def send(self, writes: Iterable[tuple[Connection, int]], chunk: bytes) -> int:
        """Write *chunk* to each stream at the same time, and see it arrive; the bytes."""
        size, target = len(chunk), self.received
        waiting = []
        for connection, stream_id in writes:
            taken = connection.stream_send(stream_id, chunk)
            target += size
            if taken < size:
                waiting.append((connection, stream_id, chunk[taken:]))
        before = self.received
        for _ in range(1_000_000):
            if self.received >= target:
                return self.received - before
            waiting = [
                (connection, stream_id, rest[taken:])
                for connection, stream_id, rest in waiting
                if (taken := connection.stream_send(stream_id, rest)) < len(rest)
            ]
            self.exchange()
        raise RuntimeError("the data does not arrive")

    def spread(self, streams: Sequence[tuple[Connection, int]], total: int, at_once: int) -> int:
        """Send about *total* bytes, *at_once* streams at a time, each in its turn; the bytes."""
        chunk = bytes(CHUNK)
        turns = cycle(streams)
        sent = 0
        while sent < total:
            sent += self.send(list(islice(turns, at_once)), chunk)
        return sent
