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


def three(client: RawClient, server: Connection, size: int = 3000) -> list[int]:
    ids = []
    for _ in range(3):
        stream_id = server.open_stream()
        assert stream_id is not None
        ids.append(stream_id)
        server.stream_send(stream_id, bytes(size))
    return ids


def test_incremental_streams_take_turns() -> None:
    client, server = quiet()
    ids = three(client, server)
    client.collect()
    assert order(client)[:6] == ids * 2


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
