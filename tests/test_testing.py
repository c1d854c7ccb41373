"""The simulated network itself: chance is seeded, time is exact, nothing is lost that should not be."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from cwt._types import Address, RecvInfo, SendInfo
from cwt.testing import (
    CLIENT,
    SERVER,
    Corrupt,
    Datagram,
    Delay,
    Drop,
    Duplicate,
    Link,
    Node,
    Pair,
    Reorder,
    VirtualClock,
)
from tests.sim.nodes import Blackhole, Bottleneck, BurstDrop, DropList, Mtu, Rebind


def datagram(data: bytes) -> Datagram:
    return Datagram(data, CLIENT, SERVER)


def run(link: Node, count: int = 1000, interval: float = 0.001) -> list[tuple[float, bytes]]:
    """When each of *count* numbered datagrams arrives."""
    for index in range(count):
        link.send(datagram(index.to_bytes(4, "big")), index * interval)
    arrivals = []
    while (when := link.next_time()) is not None:
        arrivals += [(when, item.data) for item in link.receive(when)]
    return arrivals


def test_a_link_without_impairments_passes_everything_in_order() -> None:
    arrivals = run(Link(Node()))
    assert [int.from_bytes(data) for _, data in arrivals] == list(range(1000))
    assert [when for when, _ in arrivals] == [index * 0.001 for index in range(1000)]


def test_delay_with_jitter_keeps_the_order() -> None:
    arrivals = run(Link(Delay(0.05, 0.02), seed=3))
    assert [int.from_bytes(data) for _, data in arrivals] == list(range(1000))
    delays = [when - int.from_bytes(data) * 0.001 for when, data in arrivals]
    assert 0.05 <= min(delays) < 0.06 < max(delays) <= 0.0701


def test_loss_and_duplication_have_their_rates() -> None:
    assert 700 < len(run(Link(Drop(0.2), seed=1))) < 900
    copies = Counter(data for _, data in run(Link(Duplicate(0.2), seed=1)))
    assert len(copies) == 1000
    assert set(copies.values()) == {1, 2}
    assert 100 < sum(count == 2 for count in copies.values()) < 300


def test_reordering_loses_nothing() -> None:
    order = [int.from_bytes(data) for _, data in run(Link(Reorder(0.1), seed=1))]
    assert order != sorted(order)
    assert sorted(order) == list(range(1000))


def test_corruption_changes_some_and_keeps_lengths() -> None:
    arrivals = run(Link(Corrupt(0.5), seed=1))
    changed = sum(int.from_bytes(data) != round(when * 1000) for when, data in arrivals)
    assert 300 < changed < 700
    assert {len(data) for _, data in arrivals} == {4}


def test_the_same_seed_gives_the_same_run() -> None:
    def once(seed: int) -> list[tuple[float, bytes]]:
        every = {"delay": 0.01, "jitter": 0.01, "loss": 0.1, "duplicate": 0.1, "reorder": 0.1}
        return run(Link.of(**every, corrupt=0.1, seed=seed))

    assert once(5) == once(5)
    assert once(5) != once(6)


def test_bursts_and_lists_of_losses() -> None:
    assert [int.from_bytes(data) for _, data in run(Link(DropList(0, 2)), count=4)] == [1, 3]
    got = [int.from_bytes(data) for _, data in run(Link(BurstDrop(0.05, longest=4), seed=2))]
    gaps = [later - earlier - 1 for earlier, later in pairwise(got)]
    assert max(gaps) >= 3


def test_mtu_is_exact() -> None:
    node = Mtu(1200)
    for size in (1199, 1200, 1201, 1500):
        node.send(datagram(bytes(size)), 0.0)
    assert [len(item.data) for item in node.receive(0.0)] == [1199, 1200]
    assert node.dropped == 2


def test_a_bottleneck_serialises_and_drops_from_the_tail() -> None:
    node = Bottleneck(rate=100_000, room=10_000)
    for _ in range(20):
        node.send(datagram(bytes(1000)), 0.0)
    assert node.queued(0.025) == pytest.approx(7500)
    times = []
    while (when := node.next_time()) is not None:
        times += [when for _ in node.receive(when)]
    assert times == pytest.approx([0.01 * (index + 1) for index in range(10)])
    assert node.dropped == 10


def test_a_blackhole_ends() -> None:
    got = [int.from_bytes(data) for _, data in run(Link(Blackhole((0.2, 0.5))))]
    assert got == [*range(200), *range(500, 1000)]


def test_rebinding_changes_the_port_and_forgets_the_old_one() -> None:
    nat = Rebind(1.0)
    nat.send(datagram(b"a"), 0.5)
    nat.back.send(Datagram(b"b", SERVER, CLIENT), 0.6)
    nat.back.send(Datagram(b"lost", SERVER, CLIENT), 1.1)
    nat.send(datagram(b"c"), 1.2)
    moved = (CLIENT[0], CLIENT[1] + 1)
    assert [item.source for item in nat.receive(2.0)] == [CLIENT, moved]
    nat.back.send(Datagram(b"d", SERVER, moved), 1.3)
    assert [(item.data, item.destination) for item in nat.back.receive(2.0)] == [
        (b"b", CLIENT),
        (b"d", CLIENT),
    ]


class StopAndWait:
    """A tiny reliable protocol, so that the pair can be tested without QUIC."""

    def __init__(self, local: Address, remote: Address, to_send: list[bytes]) -> None:
        self.local, self.remote, self.to_send = local, remote, to_send
        self.received: list[bytes] = []
        self.outbox: list[bytes] = []
        self.number = 0
        self.deadline: float | None = 0.0 if to_send else None

    def recv(self, data: bytes, info: RecvInfo, now: float) -> None:
        assert info.to == self.local
        kind, number = data[0], data[1]
        if kind == 0:
            self.outbox.append(bytes([1, number]))
            if number == len(self.received):
                self.received.append(data[2:])
        elif number == self.number:
            self.number += 1
            self.deadline = now if self.number < len(self.to_send) else None

    def info(self, now: float) -> SendInfo:
        return SendInfo(to=self.remote, from_=self.local, at=now)

    def send(self, now: float) -> tuple[bytes, SendInfo] | None:
        return (self.outbox.pop(0), self.info(now)) if self.outbox else None

    def timeout(self, now: float) -> float | None:
        return None if self.deadline is None else self.deadline - now

    def on_timeout(self, now: float) -> None:
        self.outbox.append(bytes([0, self.number]) + self.to_send[self.number])
        self.deadline = now + 0.2


def test_a_pair_survives_a_bad_network_the_same_way_twice() -> None:
    def once() -> tuple[float, int]:
        messages = [bytes([index]) * 10 for index in range(100)]
        client = StopAndWait(CLIENT, SERVER, messages)
        server = StopAndWait(SERVER, CLIENT, [])
        links = [
            Link.of(delay=0.01, loss=0.3, duplicate=0.1, reorder=0.1, seed=seed) for seed in "ab"
        ]
        pair = Pair(client, server, uplink=links[0], downlink=links[1])
        took = pair.drive(lambda: client.number == 100, seconds=200)
        assert server.received == messages
        return took, links[0].sent

    assert once() == once()


def test_drive_is_bounded() -> None:
    client, server = StopAndWait(CLIENT, SERVER, [b"x"]), StopAndWait(SERVER, CLIENT, [])
    with pytest.raises(TimeoutError, match=r"after 5\.\d+ s"):
        Pair(client, server, uplink=Link(Drop(1.0))).drive(lambda: False, seconds=5)
    with pytest.raises(TimeoutError, match="never"):
        Pair(server, server).drive(lambda: False)


def test_a_pair_that_never_rests_is_noticed() -> None:
    class Babbler(StopAndWait):
        def send(self, now: float) -> tuple[bytes, SendInfo] | None:
            self.count = getattr(self, "count", 0) + 1
            return (b"\1\1", self.info(now)) if self.count % 2 else None

    with pytest.raises(RuntimeError, match="no end of events"):
        Pair(Babbler(CLIENT, SERVER, []), StopAndWait(SERVER, CLIENT, [])).drive(lambda: False)


def test_run_for_lets_exactly_that_time_pass() -> None:
    client, server = StopAndWait(CLIENT, SERVER, [b"x"]), StopAndWait(SERVER, CLIENT, [])
    clock = VirtualClock(100.0)
    client.deadline = 100.0
    Pair(client, server, clock=clock).run_for(2.5)
    assert clock.now == 102.5
    assert server.received == [b"x"]


def test_time_does_not_go_back() -> None:
    clock = VirtualClock(1.0)
    with pytest.raises(ValueError, match="back"):
        clock.advance(-0.1)
    clock.advance_to(0.5)
    assert clock() == 1.0
