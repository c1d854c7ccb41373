"""Stream identifiers, limits and scheduling (RFC 9000 Sections 2 and 4.6, RFC 9218)."""

from __future__ import annotations

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
