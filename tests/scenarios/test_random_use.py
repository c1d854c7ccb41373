"""Two applications that do anything at any time: what arrives is what was sent, or its beginning."""

from __future__ import annotations

from random import Random

import pytest

from cwt.config import TransportConfig
from cwt.errors import ApplicationError, IdleTimeout, StreamReset, StreamStopped
from cwt.quic import Connection, Shutdown
from cwt.testing import Corrupt, Delay, Drop, Duplicate, Node, Reorder
from tests.sim.seeds import seeds, show
from tests.sim.world import World

STEPS = 400


class Application:
    """Does something random in each step, and remembers all of it."""

    def __init__(self, connection: Connection, rng: Random) -> None:
        self.connection = connection
        self.rng = rng
        self.written: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.abandoned: set[int] = set()
        self.received: dict[int, bytearray] = {}
        self.finished: set[int] = set()
        self.resets: dict[int, int | None] = {}
        self.stops: dict[int, int | None] = {}
        self.stopped: set[int] = set()
        self.datagrams_sent: set[bytes] = set()
        self.datagrams: list[bytes] = []

    def act(self) -> None:
        """One thing that an application may do."""
        live = [i for i in self.written if i not in self.ended and i not in self.abandoned]
        match self.rng.randrange(12):
            case 0 | 1:
                stream_id = self.connection.open_stream(self.rng.random() < 0.6)
                if stream_id is not None:
                    self.written[stream_id] = bytearray()
            case 2 | 3 | 4 | 5 | 6 if live:
                self.write(self.rng.choice(live), self.rng.random() < 0.15)
            case 7 if live and self.rng.random() < 0.2:
                stream_id = self.rng.choice(live)
                self.connection.stream_shutdown(stream_id, Shutdown.WRITE, self.rng.randrange(300))
                self.abandoned.add(stream_id)
            case 8 if self.received and self.rng.random() < 0.2:
                stream_id = self.rng.choice(list(self.received))
                self.connection.stream_shutdown(stream_id, Shutdown.READ, self.rng.randrange(300))
                self.stopped.add(stream_id)
            case 9:
                data = self.rng.randbytes(self.rng.randrange(8, 1000))
                self.datagrams_sent.add(data)
                self.connection.dgram_send(data)
            case 10 if live:
                self.connection.stream_priority(
                    self.rng.choice(live), self.rng.randrange(8), self.rng.random() < 0.5
                )
            case _:
                self.connection.stats()

    def write(self, stream_id: int, fin: bool) -> None:
        data = self.rng.randbytes(self.rng.choice((0, 1, 100, 5000, 70_000)))
        try:
            taken = self.connection.stream_send(stream_id, data, fin)
        except StreamStopped as stopped:
            self.stops[stream_id] = stopped.code
            self.abandoned.add(stream_id)
            return
        self.written[stream_id] += data[:taken]
        if fin and taken == len(data):
            self.ended.add(stream_id)

    def read(self) -> None:
        """Take what is there, sometimes only a part of it now and the rest later."""
        for stream_id in {*self.connection.readable(), *self.received} - self.finished:
            if stream_id in self.resets or self.rng.random() < 0.2:
                self.received.setdefault(stream_id, bytearray())
                continue
            received = self.received.setdefault(stream_id, bytearray())
            try:
                got = self.connection.stream_recv(stream_id, self.rng.choice((1, 1000, 65536)))
            except StreamReset as reset:
                self.resets[stream_id] = reset.code
                continue
            if got is not None:
                received += got[0]
                if got[1]:
                    self.finished.add(stream_id)
        while (data := self.connection.dgram_recv()) is not None:
            self.datagrams.append(data)
        self.connection.writable()

    def check_against(self, sender: Application) -> None:
        for stream_id, received in self.received.items():
            written = sender.written.get(stream_id, bytearray())
            assert written.startswith(received)
            if stream_id in self.finished:
                assert stream_id in sender.ended
                assert received == written
        assert set(self.resets) <= sender.abandoned
        assert set(self.datagrams) <= sender.datagrams_sent


def network(rng: Random) -> list[Node]:
    return [
        Drop(rng.choice((0.0, 0.02, 0.2))),
        Duplicate(rng.choice((0.0, 0.1))),
        Corrupt(rng.choice((0.0, 0.02))),
        Delay(rng.choice((0.0, 0.001, 0.05)), rng.choice((0.0, 0.01))),
        Reorder(rng.choice((0.0, 0.2)), 0.03),
    ]


@pytest.mark.parametrize("seed", seeds(30))
def test_anything_goes(seed: int) -> None:
    show(seed)
    rng = Random(seed)
    config = TransportConfig(
        initial_max_data=rng.choice((20_000, 1 << 20)),
        initial_max_stream_data=rng.choice((1_000, 1 << 18)),
        max_stream_window=rng.choice((4_000, 1 << 20)),
        initial_max_streams_bidi=rng.choice((2, 100)),
        initial_max_streams_uni=rng.choice((2, 100)),
        send_buffer=rng.choice((2_000, 1 << 17)),
        congestion=rng.choice(("cubic", "newreno")),
        pacing=rng.random() < 0.5,
        handshake_timeout=100.0,
    )
    world = World(
        seed, up=network(rng), down=network(rng), client_config=config, server_config=config
    )
    world.establish(100.0)
    ends = [
        Application(end, Random(f"{seed}/{end.is_client}")) for end in (world.client, world.server)
    ]
    for _ in range(STEPS):
        for end in ends:
            if rng.random() < 0.7:
                end.act()
            end.read()
        world.run_for(rng.choice((0.0, 0.001, 0.02)))
    for end, other in (ends, ends[::-1]):
        end.check_against(other)
        assert end.connection.termination is None

    # In the end everything that was finished and not given up arrives.
    for _ in range(10_000):
        for end in ends:
            end.read()
        world.run_for(0.05)
        if all(outstanding(end, other) == set() for end, other in (ends, ends[::-1])):
            break
    for end, other in (ends, ends[::-1]):
        assert outstanding(end, other) == set()
        end.check_against(other)
    ends[0].connection.close(9, "enough")
    world.drive(lambda: world.client.is_closed and world.server.is_closed, 120)
    # A CLOSE that is lost is not sent again to a peer that has nothing to say.
    assert isinstance(world.server.termination, (ApplicationError, IdleTimeout))
    assert world.client_endpoint.connections == 0


def outstanding(sender: Application, receiver: Application) -> set[int]:
    """Streams that *sender* ended and *receiver* has not seen the end of, though it did not stop them."""
    settled = receiver.finished | set(receiver.resets) | receiver.stopped | set(sender.stops)
    return sender.ended - settled - sender.abandoned
