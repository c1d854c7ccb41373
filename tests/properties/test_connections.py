"""Two connections, a bad network and an application of chance: what is written is what is read."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cwt import quic
from cwt._core.connection import Connection
from cwt.config import TransportConfig
from cwt.errors import StreamReset, StreamStopped
from cwt.testing import CLIENT, SERVER, Link, Pair
from tests._core.raw_peer import NAME, client_context, server_context


class Side:
    """An application that opens, writes, reads, resets and stops streams as chance will have it."""

    def __init__(
        self,
        rng: random.Random,
        content: dict[tuple[bool, int], bytes],
        reliable: dict[tuple[bool, int], int],
    ) -> None:
        self.rng = rng
        self.connection: Connection | None = None
        self.content = content
        """What each stream's writer means to send, by (writer is client, stream)."""
        self.reliable = reliable
        """How much of it must arrive although it was reset."""
        self.written: dict[int, int] = {}
        self.read: dict[int, bytearray] = {}
        self.ended: dict[int, str] = {}
        self.stopped: set[int] = set()
        self.over: set[int] = set()
        """Streams whose writing side has ended."""
        self.busy = True

    def work(self) -> None:
        connection = self.connection
        if connection is None or not connection.can_open_streams:
            return
        if self.busy and self.rng.random() < 0.3:
            stream_id = connection.open_stream(self.rng.random() < 0.5)
            if stream_id is not None:
                self.start(stream_id)
        for stream_id in connection.readable():
            if stream_id not in self.read:
                self.read[stream_id] = bytearray()
                if not stream_id & 2:
                    self.start(stream_id)
            self.take(stream_id)
        for stream_id in list(self.read):
            if stream_id not in self.ended:
                self.take(stream_id)
        for stream_id in list(self.written):
            if stream_id not in self.over:
                self.give(stream_id)

    def start(self, stream_id: int) -> None:
        assert self.connection is not None
        size = self.rng.choice([0, 1, 500, 5000, 60_000])
        self.content[self.connection.is_client, stream_id] = self.rng.randbytes(size)
        self.written[stream_id] = 0
        if (stream_id & 1 == 0) == self.connection.is_client and not stream_id & 2:
            self.read.setdefault(stream_id, bytearray())

    def give(self, stream_id: int) -> None:
        assert self.connection is not None
        data = self.content[self.connection.is_client, stream_id]
        start = self.written[stream_id]
        end = min(len(data), start + self.rng.choice([0, 1, 700, 20_000, 100_000]))
        try:
            if self.busy and self.rng.random() < 0.02:
                self.reset(stream_id)
                self.over.add(stream_id)
                return
            taken = self.connection.stream_send(stream_id, data[start:end], end == len(data))
        except StreamStopped:
            self.over.add(stream_id)
            return
        self.written[stream_id] = start + taken
        if start + taken == len(data) and end == len(data):
            self.over.add(stream_id)

    def reset(self, stream_id: int) -> None:
        # A peer that stopped the stream first is past caring.
        assert self.connection is not None
        size = self.rng.choice([0, 1, start]) if (start := self.written[stream_id]) else 0
        for less in (size, size // 2)[: self.rng.choice([1, 1, 2])]:
            self.connection.stream_shutdown(stream_id, 1, 17, reliable_size=less)
            self.reliable[self.connection.is_client, stream_id] = less

    def take(self, stream_id: int) -> None:
        assert self.connection is not None
        if self.busy and self.rng.random() < 0.01:
            self.connection.stream_shutdown(stream_id, 0, 18)
            self.stopped.add(stream_id)
            self.ended[stream_id] = "stopped"
            return
        while stream_id not in self.ended:
            try:
                got = self.connection.stream_recv(stream_id, self.rng.choice([1, 100, 65536]))
            except StreamReset as error:
                assert error.code in (17, 18)
                self.ended[stream_id] = "reset" if error.code == 17 else "stopped"
                return
            if got is None:
                return
            self.read[stream_id] += got[0]
            if got[1]:
                self.ended[stream_id] = "fin"


def config() -> TransportConfig:
    return TransportConfig(
        initial_max_streams_bidi=8,
        initial_max_streams_uni=5,
        initial_max_data=30_000,
        initial_max_stream_data=10_000,
        send_buffer=20_000,
        max_idle_timeout=120.0,
        handshake_timeout=60.0,
    )


@pytest.mark.parametrize("seed", range(16))
def test_what_is_written_is_read(seed: int) -> None:
    rng = random.Random(seed)
    impairments: dict[str, Any] = {"delay": 0.02, "jitter": 0.005}
    if seed % 4:
        impairments |= {"loss": 0.08, "duplicate": 0.05, "reorder": 0.1, "corrupt": 0.02}
    server_end = quic.Endpoint(
        config(), tls=server_context(), random=random.Random(f"{seed}s").randbytes
    )
    client_end = quic.Endpoint(config(), random=random.Random(f"{seed}c").randbytes)
    pair = Pair(
        client_end,
        server_end,
        uplink=Link.of(**impairments, seed=f"{seed}u"),
        downlink=Link.of(**impairments, seed=f"{seed}d"),
    )
    content: dict[tuple[bool, int], bytes] = {}
    reliable: dict[tuple[bool, int], int] = {}
    client, server = Side(rng, content, reliable), Side(rng, content, reliable)
    client.connection = client_end.connect(NAME, SERVER, client_context(), 0.0, local=CLIENT)

    established: list[float] = []

    def work() -> None:
        client_end.ready()
        for connection in server_end.ready():
            server.connection = connection
        if server.connection is not None and not established and server.connection.is_established:
            established.append(pair.clock.now)
        client.busy = server.busy = not established or pair.clock.now < established[0] + 1.5
        client.work()
        server.work()

    def done() -> bool:
        return not client.busy and all(
            not set(side.written) - side.over and not set(side.read) - set(side.ended)
            for side in (client, server)
        )

    pair.drive(done, seconds=100, work=work)
    pair.run_for(5.0, work=work)
    assert client.connection.termination is None
    assert server.connection is not None
    assert server.connection.termination is None
    whole = 0
    for reader, writer_is_client in ((client, False), (server, True)):
        for stream_id, got in reader.read.items():
            sent = content[writer_is_client, stream_id]
            assert bytes(got) == sent[: len(got)]
            if reader.ended[stream_id] == "fin":
                assert bytes(got) == sent
                whole += 1
            elif reader.ended[stream_id] == "reset":
                assert len(got) >= reliable[writer_is_client, stream_id]
    assert whole > 10
    # Both sides have forgotten every stream.
    assert client.connection.stats().streams == 0
    assert server.connection.stats().streams == 0
