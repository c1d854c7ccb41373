"""What is counted: fixed work on connections in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks import build
from benchmarks.drive import contexts
from benchmarks.memory_pair import CHUNK, MemoryPair
from cwt import h3, webtransport
from cwt.config import Config
from cwt.quic import Connection

__all__ = ["WORKLOADS", "Recorder"]

ROUNDS = 6
BURST = 12
"""Chunks of a round of bulk data; they fit the window."""
DATAGRAMS = 500
DATAGRAM = bytes(1100)
REQUESTS = 100
BODY = bytes(100)


@dataclass
class Segment:
    """What was done between two marks."""

    name: str
    units: int = 0


@dataclass
class Recorder:
    """Marks the beginning and the end of each measured segment."""

    scale: float = 1.0
    segments: list[Segment] = field(default_factory=list)

    def rounds(self) -> range:
        """So many of them are measured."""
        return range(max(1, int(ROUNDS * self.scale)))

    @contextmanager
    def measure(self, name: str) -> Iterator[Segment]:
        """Count what happens meanwhile as *name*; the block says how many units that was."""
        segment = Segment(name)
        mark = build.load("benchmark_link", "link.pyx").mark
        mark()
        yield segment
        mark()
        self.segments.append(segment)


def _pair(**options: Config) -> tuple[MemoryPair, Connection, Connection]:
    pair = MemoryPair(contexts(), **options)
    accepted: list[Connection] = []
    ready = pair.server.ready
    client = pair.client.connect(
        "localhost", ("192.0.2.2", 4433), pair.tls.client, pair.now, local=("192.0.2.1", 50000)
    )
    while not client.is_confirmed:
        pair.tick()
        pair.link.up(pair.now)
        accepted += ready()
        pair.link.down(pair.now)
        pair.client.ready()
    for _ in range(3):
        pair.exchange()
    return pair, client, accepted[0]


def bulk(recorder: Recorder) -> None:
    """A stream: writing packets, reading them, and the acknowledgements of both ends."""
    pair, client, _ = _pair()
    stream_id = client.open_stream(False)
    assert stream_id is not None
    chunk = bytes(CHUNK)
    pair.spread([(client, stream_id)], 8 * BURST * CHUNK, BURST)
    for _ in recorder.rounds():
        for _ in range(3):
            pair.exchange()
        before = pair.link.packets
        with recorder.measure("bulk, a packet sent") as sent:
            for _ in range(BURST):
                client.stream_send(stream_id, chunk)
            pair.link.take(pair.now)
        with recorder.measure("bulk, a packet received") as received:
            pair.link.give(pair.now)
            pair.read()
        sent.units = received.units = pair.link.packets - before
        with recorder.measure("bulk, acknowledging a packet") as acknowledged:
            pair.link.down(pair.now)
            pair.client.ready()
        acknowledged.units = sent.units


def datagrams(recorder: Recorder) -> None:
    """Datagrams one way."""
    pair, client, server = _pair()
    pair.exchange()
    for _ in recorder.rounds():
        for _ in range(3):
            pair.exchange()
        with recorder.measure("datagram sent") as sent:
            for _ in range(DATAGRAMS):
                client.dgram_send(DATAGRAM)
            pair.link.take(pair.now)
        with recorder.measure("datagram received") as received:
            pair.link.give(pair.now)
            while server.dgram_recv() is not None:
                received.units += 1
        sent.units = DATAGRAMS


def handshakes(recorder: Recorder) -> None:
    """Full handshakes, both ends, until they are confirmed."""
    pair = MemoryPair(contexts())
    pair.connect(2)
    for _ in recorder.rounds():
        with recorder.measure("handshake, both ends") as segment:
            segment.units = len(pair.connect(1))


class _Sessions:
    """A WebTransport session between two sans-IO ends."""

    def __init__(self) -> None:
        config = Config(max_idle_timeout=0, pacing=False, mtu_discovery=False)
        self.pair, client, server = _pair(config=config)
        self.client = webtransport.Connection(h3.Connection(client, config))
        self.server = webtransport.Connection(h3.Connection(server, config))
        self.client.h3.start()
        self.server.h3.start()
        for _ in range(4):
            self.step()
        self.session_id = self.client.connect("localhost", "/")
        for _ in range(4):
            self.step()
        self.answered = 0

    def step(self) -> None:
        """There and back."""
        self.pair.tick()
        self.pair.link.up(self.pair.now)
        self.pair.server.ready()
        for event in self.server.poll():
            self.on_server_event(event)
        self.pair.link.down(self.pair.now)
        self.pair.client.ready()
        for event in self.client.poll():
            if isinstance(event, webtransport.StreamReadable):
                while (item := self.client.stream_recv(event.stream_id)) is not None:
                    self.answered += item[1]
                    if item[1]:
                        break

    def on_server_event(self, event: webtransport.Event) -> None:
        match event:
            case webtransport.SessionRequested(session_id=session_id):
                self.server.accept(session_id)
            case webtransport.StreamReadable(stream_id=stream_id):
                while (item := self.server.stream_recv(stream_id)) is not None:
                    if item[1]:
                        self.server.stream_send(stream_id, BODY, True)
                        break

    def request(self) -> None:
        """A small request, and its response."""
        stream_id = self.client.open_stream(self.session_id, True)
        assert stream_id is not None
        self.client.stream_send(stream_id, BODY, True)
        self.step()


def requests(recorder: Recorder) -> None:
    """Small requests, one by one, each on a stream of its own; both ends."""
    sessions = _Sessions()
    for _ in range(REQUESTS):
        sessions.request()
    for _ in recorder.rounds():
        before = sessions.answered
        with recorder.measure("small request, both ends") as segment:
            for _ in range(REQUESTS):
                sessions.request()
        segment.units = sessions.answered - before


WORKLOADS: dict[str, Callable[[Recorder], None]] = {
    "bulk": bulk,
    "datagrams": datagrams,
    "handshakes": handshakes,
    "requests": requests,
}
