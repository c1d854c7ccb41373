"""Stream identifiers, limits and scheduling (RFC 9000 Sections 2 and 4.6, RFC 9218)."""

from __future__ import annotations

import random

import pytest

from cwt._core.connection import Connection
from cwt.config import TransportConfig
from tests._core.raw_peer import ONE_RTT, RawClient, ack, frame, parameters, stream
from tests._core.support import connected, connected_client

CONFIG = TransportConfig(grease=False, pacing=False)


def quiet(**limits: int) -> tuple[RawClient, Connection]:
    client, server = connected(CONFIG, params=parameters(**limits).encode())
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.received.clear()
    return client, server


def test_identifiers() -> None:
    _, server = quiet()
    assert [server.open_stream() for _ in range(3)] == [1, 5, 9]
    assert [server.open_stream(False) for _ in range(3)] == [3, 7, 11]
    _, client = connected_client(CONFIG)
    assert [client.open_stream() for _ in range(3)] == [0, 4, 8]
    assert [client.open_stream(False) for _ in range(3)] == [2, 6, 10]


@pytest.mark.parametrize(
    ("bidirectional", "blocked", "raised"), [(True, 0x16, 0x12), (False, 0x17, 0x13)]
)
def test_the_limit_of_the_peer(bidirectional: bool, blocked: int, raised: int) -> None:
    client, server = quiet(initial_max_streams_bidi=2, initial_max_streams_uni=2)
    assert server.streams_available(bidirectional) == 2
    assert server.open_stream(bidirectional) is not None
    assert server.open_stream(bidirectional) is not None
    assert server.streams_available(bidirectional) == 0
    assert server.open_stream(bidirectional) is None
    assert server.open_stream(bidirectional) is None
    client.collect()
    assert client.frames(0x16, 0x17) == [(blocked, 2)]  # once
    client.end.ready()
    client.send(ONE_RTT, frame(raised, 3))
    assert client.end.ready() == [server]
    assert server.streams_available(bidirectional) == 1
    client.send(ONE_RTT, frame(raised, 1))  # never down
    assert server.open_stream(bidirectional) is not None
    assert server.open_stream(bidirectional) is None
    client.collect()
    assert client.frames(0x16, 0x17)[-1] == (blocked, 3)


def test_a_stream_opens_those_before_it() -> None:
    client, server = quiet()
    client.send(ONE_RTT, stream(8, b"x"))
    assert server.readable() == [8]
    assert server.stats().streams == 1
    client.send(ONE_RTT, stream(0, b"x"))
    assert server.readable() == [0]


def order(client: RawClient) -> list[int]:
    """The streams in the order in which their frames came, repetitions left out."""
    out: list[int] = []
    for entry in client.frames(0x08):
        if not out or out[-1] != entry[1]:
            out.append(entry[1])
    return out


def turn_sizes(client: RawClient) -> list[int]:
    """Bytes of data in each turn of a stream."""
    out: list[int] = []
    before = None
    for entry in client.frames(0x08):
        if entry[1] != before:
            out.append(0)
        before = entry[1]
        out[-1] += len(entry[3])
    return out


def deliver(client: RawClient) -> None:
    """Acknowledge what the server sends until it has no more."""
    largest = -1
    while client.largest[ONE_RTT] != largest:
        largest = client.largest[ONE_RTT]
        client.collect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))


def three(client: RawClient, server: Connection, size: int = 3000) -> list[int]:
    ids = []
    for _ in range(3):
        stream_id = server.open_stream()
        assert stream_id is not None
        ids.append(stream_id)
        server.stream_send(stream_id, bytes(size))
    return ids


def test_incremental_streams_take_turns() -> None:
    client, server = quiet(initial_max_data=200_000, initial_max_stream_data_bidi_remote=50_000)
    ids = three(client, server, 40_000)
    deliver(client)
    assert order(client) == ids * 3
    turns = turn_sizes(client)
    assert all(16_000 < size < 18_000 for size in turns[:6])
    assert sum(turns) == 3 * 40_000


def test_lost_data_goes_first() -> None:
    client, server = quiet(initial_max_data=200_000, initial_max_stream_data_bidi_remote=50_000)
    small = server.open_stream()
    assert small is not None
    server.stream_send(small, bytes(500), True)
    ids = three(client, server, 40_000)
    first = client.largest[ONE_RTT] + 1
    client.collect()
    assert order(client) == [small, ids[0]]
    client.received.clear()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT] - first - 1))
    client.collect()
    assert client.frames(0x08)[0][1:3] == (small, 0)
    assert order(client)[:2] == [small, ids[0]]


def test_an_end_needs_no_credit() -> None:
    client, server = quiet(initial_max_data=1000)
    ids = three(client, server, 900)
    for stream_id in ids[:2]:
        assert server.stream_send(stream_id, b"", True) == 0
    last = server.open_stream()
    assert last is not None
    server.stream_send(last, b"", True)
    client.collect()
    assert {entry[1] for entry in client.frames(0x08) if entry[4]} == {ids[0], last}
    assert client.frames(0x14) == [(0x14, 1000)]  # DATA_BLOCKED, once
    client.send(ONE_RTT, frame(0x10, 10_000))
    client.collect()
    assert {entry[1] for entry in client.frames(0x08) if entry[4]} == {ids[0], ids[1], last}
    assert sum(len(entry[3]) for entry in client.frames(0x08)) == 2700


def test_others_go_one_after_the_other() -> None:
    client, server = quiet()
    ids = three(client, server)
    for stream_id in ids:
        server.stream_priority(stream_id, 3, False)
    client.collect()
    assert order(client) == ids


def test_urgent_streams_go_first() -> None:
    client, server = quiet()
    ids = three(client, server)
    server.stream_priority(ids[0], 7)
    server.stream_priority(ids[2], 0)
    client.collect()
    assert order(client) == [ids[2], ids[1], ids[0]]


@pytest.mark.parametrize("urgency", [-1, 8])
def test_urgencies_have_a_range(urgency: int) -> None:
    _, server = quiet()
    server.open_stream()
    with pytest.raises(ValueError, match="urgency"):
        server.stream_priority(1, urgency)


def test_many_streams_all_end() -> None:
    client, server = quiet(initial_max_streams_bidi=300)
    ids = [server.open_stream() for _ in range(300)]
    for stream_id in ids:
        assert stream_id is not None
        server.stream_send(stream_id, b"x" * 20, True)
    for _ in range(50):
        client.collect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], min(client.largest[ONE_RTT], 40)))
    ended = {entry[1] for entry in client.frames(0x08) if entry[4]}
    assert ended == set(ids)
    for stream_id in ids:
        assert stream_id is not None
        client.send(ONE_RTT, stream(stream_id, b"", fin=True))
    for stream_id in server.readable():
        assert server.stream_recv(stream_id) == (b"", True)
    assert server.stats().streams == 0


def test_a_lost_limit_is_told_again() -> None:
    client, server = connected(
        TransportConfig(grease=False, pacing=False, initial_max_streams_uni=2)
    )
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.received.clear()
    for index in range(2):
        client.send(ONE_RTT, stream(4 * index + 2, b"x", fin=True))
        server.stream_recv(4 * index + 2)
    client.collect()
    assert client.frames(0x13)[-1] == (0x13, 4)
    told = len(client.frames(0x13))
    for _ in range(4):
        server.ping()
        client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert len(client.frames(0x13)) > told
    assert client.frames(0x13)[-1] == (0x13, 4)


def test_the_limit_rises_before_the_peer_has_to_wait() -> None:
    # With as many in flight as a browser has, no stream waits for MAX_STREAMS by more than a packet.
    client, server = quiet()
    allowed, opened, ended = 256, 0, 0
    least = 256
    for _ in range(1000):
        while opened < ended + 100:
            client.send(ONE_RTT, stream(opened << 2 | 2, b"x", fin=True))
            opened += 1
        for stream_id in server.readable():
            server.stream_recv(stream_id)
            ended += 1
        client.collect()
        allowed = max([allowed, *(entry[1] for entry in client.frames(0x13))])
        least = min(least, allowed - opened)
        assert server.peer_streams_available(False) == allowed - opened
        if ended > 1000:
            break
    assert least >= 100
    assert len(client.frames(0x13)) < ended / 15


def test_limits_can_be_read() -> None:
    client, server = quiet(
        initial_max_data=1000,
        initial_max_stream_data_bidi_remote=700,
        initial_max_streams_bidi=2,
    )
    assert server.send_capacity == 1000
    assert server.peer_streams_available() == server.peer_streams_available(False) == 256
    first, second = server.open_stream(), server.open_stream()
    assert first is not None
    assert second is not None
    assert server.streams_available() == 0
    assert server.stream_credit(first) == 700
    server.stream_send(first, bytes(600))
    client.collect()
    assert server.send_capacity == 400
    assert server.stream_credit(first) == 100
    assert server.stream_credit(second) == 400
    client.send(ONE_RTT, frame(0x10, 2000) + frame(0x11, first, 650))  # one of them is no news
    assert server.send_capacity == 1400
    assert server.stream_credit(first) == 100
    server.stream_shutdown(first, 1)
    assert server.stream_credit(first) == 0
    client.send(ONE_RTT, stream(0, b"x"))
    assert server.peer_streams_available() == 255
    with pytest.raises(ValueError, match="not been opened"):
        server.stream_credit(400)


def test_those_in_order_go_by_their_ids() -> None:
    # RFC 9218 Section 10, in whatever order the application writes.
    client, server = quiet()
    ids = [server.open_stream() for _ in range(6)]
    for stream_id in random.Random(1).sample(ids, 6):
        assert stream_id is not None
        server.stream_priority(stream_id, 3, False)
        server.stream_send(stream_id, bytes(1500))
    client.collect()
    assert order(client) == ids


# Groups.


def grouped(
    client: RawClient, server: Connection, orders: list[int], size: int = 3000
) -> list[int]:
    group = server.send_group()
    ids = three(client, server, size)[: len(orders)]
    for stream_id, each in zip(ids, orders, strict=True):
        server.stream_order(stream_id, group, each)
    assert len(group) == len(orders)
    return ids


def test_the_highest_order_goes_first() -> None:
    client, server = quiet()
    first, second, third = grouped(client, server, [-5, 1 << 62, 0])
    client.collect()
    assert order(client) == [second, third, first]


def test_a_new_first_one_goes_before_the_rest_of_others() -> None:
    client, server = quiet(initial_max_data=200_000, initial_max_stream_data_bidi_remote=100_000)
    group = server.send_group()
    low, high = server.open_stream(), server.open_stream()
    assert low is not None
    assert high is not None
    server.stream_order(low, group, 1)
    server.stream_order(high, group, 2)
    server.stream_send(low, bytes(60_000))
    client.collect()
    server.stream_send(high, bytes(3000))
    deliver(client)
    assert order(client) == [low, high, low]


def test_those_of_the_same_order_take_turns() -> None:
    client, server = quiet(initial_max_data=200_000, initial_max_stream_data_bidi_remote=50_000)
    ids = grouped(client, server, [7, 7, 7], 40_000)
    deliver(client)
    assert order(client) == ids * 3


def test_groups_take_turns() -> None:
    client, server = quiet(initial_max_data=400_000, initial_max_stream_data_bidi_remote=50_000)
    first = grouped(client, server, [1, 2, 3], 20_000)
    second = grouped(client, server, [1, 2, 3], 20_000)
    alone = server.open_stream()
    assert alone is not None
    server.stream_send(alone, bytes(40_000))
    deliver(client)
    turns = order(client)
    # The groups have equal parts of what is sent: the best of each, and the stream of no group.
    assert set(turns[:3]) == {first[2], second[2], alone}
    assert [each for each in dict.fromkeys(turns) if each in first] == first[::-1]
    assert [each for each in dict.fromkeys(turns) if each in second] == second[::-1]


def test_leaving_a_group() -> None:
    client, server = quiet()
    ids = grouped(client, server, [1, 2, 3])
    server.stream_order(ids[2], None)
    server.stream_priority(ids[0], 0)
    client.collect()
    assert order(client)[0] == ids[0]
    assert set(order(client)) == set(ids)


def test_streams_that_end_leave_their_group() -> None:
    client, server = quiet()
    group = server.send_group(5)
    assert group.urgency == 5
    for _ in range(20):
        stream_id = server.open_stream(False)
        assert stream_id is not None
        server.stream_order(stream_id, group, stream_id)
        server.stream_send(stream_id, b"x", True)
    client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    assert server.stats().streams == 0
    assert len(group) == 0


def test_a_group_is_for_its_connection() -> None:
    _, server = quiet()
    _, other = quiet()
    stream_id = server.open_stream()
    assert stream_id is not None
    with pytest.raises(ValueError, match="another connection"):
        server.stream_order(stream_id, other.send_group())
    with pytest.raises(ValueError, match="urgency"):
        server.send_group(8)


@pytest.mark.parametrize("seed", range(12))
def test_groups_as_a_model_has_them(seed: int) -> None:
    # Each frame is of the best stream of its group; nothing is forgotten, whatever changes meanwhile.
    rng = random.Random(seed)
    client, server = quiet(
        initial_max_data=1 << 24,
        initial_max_stream_data_bidi_remote=1 << 20,
        initial_max_streams_bidi=100,
    )
    groups = [server.send_group(rng.randrange(8)) for _ in range(3)]
    ids = [server.open_stream() for _ in range(40)]
    place: dict[int, tuple[int | None, int]] = {}
    written = dict.fromkeys(ids, 0)
    for _ in range(60):
        for stream_id in rng.sample(ids, 8):
            assert stream_id is not None
            what = rng.random()
            if what < 0.3:
                index = rng.choice([None, 0, 1, 2])
                each = rng.randrange(-3, 4)
                server.stream_order(stream_id, None if index is None else groups[index], each)
                place[stream_id] = (index, each)
            elif what < 0.4:
                server.stream_priority(stream_id, rng.randrange(8), rng.random() < 0.5)
                place.pop(stream_id, None)
            else:
                written[stream_id] += server.stream_send(stream_id, bytes(rng.randrange(1, 5000)))
        waiting = {s: written[s] - received(client, s) for s in ids if s is not None}
        before = len(client.frames(0x08))
        client.collect()
        for entry in client.frames(0x08)[before:]:
            index, each = place.get(entry[1], (None, 0))
            if index is not None:
                better = [
                    s
                    for s, (other, higher) in place.items()
                    if other == index and higher > each and waiting[s] > 0
                ]
                assert not better
            waiting[entry[1]] -= len(entry[3])
        if rng.random() < 0.5:
            client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    deliver(client)
    for stream_id in ids:
        assert stream_id is not None
        assert received(client, stream_id) == written[stream_id]


def received(client: RawClient, stream_id: int) -> int:
    return max((e[2] + len(e[3]) for e in client.frames(0x08) if e[1] == stream_id), default=0)
