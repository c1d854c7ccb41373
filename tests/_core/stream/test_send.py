"""The sending part of a stream, through a connection (RFC 9000 Sections 2.2, 3.1 and 4)."""

from __future__ import annotations

import random
import sys

import pytest

from cwt._core.connection import Connection
from cwt.config import TransportConfig
from cwt.errors import StreamStopped
from tests._core.raw_peer import ONE_RTT, PING, RawClient, ack, frame, parameters
from tests._core.support import connected

CONFIG = TransportConfig(grease=False, pacing=False, send_buffer=4096)


def opened(bidirectional: bool = True, **limits: int) -> tuple[RawClient, Connection, int]:
    client, server = connected(CONFIG, params=parameters(**limits).encode())
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.received.clear()
    stream_id = server.open_stream(bidirectional)
    assert stream_id is not None
    return client, server, stream_id


def data_of(client: RawClient, stream_id: int) -> tuple[bytes, bool]:
    """The bytes that came so far without a gap, and whether their end did."""
    out = bytearray()
    end = None
    for _, _, offset, data, fin in sorted(e for e in client.frames(0x08) if e[1] == stream_id):
        if offset <= len(out):
            out[offset : offset + len(data)] = data
        if fin:
            end = offset + len(data)
    return bytes(out), end == len(out)


def test_data_and_its_end() -> None:
    client, server, stream_id = opened()
    assert server.stream_send(stream_id, b"hello") == 5
    client.collect()
    assert data_of(client, stream_id) == (b"hello", False)
    assert server.stream_send(stream_id, b" world", True) == 6
    client.collect()
    assert data_of(client, stream_id) == (b"hello world", True)
    assert server.stream_send(stream_id, b"", True) == 0  # twice is fine
    with pytest.raises(ValueError, match="finished"):
        server.stream_send(stream_id, b"more")


def test_the_end_alone() -> None:
    client, server, stream_id = opened()
    assert server.stream_send(stream_id, b"", True) == 0
    client.collect()
    assert client.frames(0x08) == [(0x08, stream_id, 0, b"", True)]


def test_anything_that_holds_bytes() -> None:
    client, server, stream_id = opened()
    source = bytearray(b"a" * 600)
    server.stream_send(stream_id, source)
    source[:] = b"z" * 600  # ours now
    server.stream_send(stream_id, memoryview(b"xbx")[1:2])
    server.stream_send(stream_id, b"c" * 600)
    client.collect()
    assert data_of(client, stream_id)[0] == b"a" * 600 + b"b" + b"c" * 600
    with pytest.raises(TypeError):
        server.stream_send(stream_id, "text")  # type: ignore[arg-type]


def test_writes_of_any_size_keep_their_order() -> None:
    rng = random.Random(1)
    client, server, stream_id = opened()
    expected = b""
    for _ in range(300):
        data = rng.randbytes(rng.choice([0, 1, 3, 100, 511, 512, 513, 1500]))
        expected += data[: server.stream_send(stream_id, data)]
        if rng.random() < 0.5:
            client.collect()
            newest = client.largest[ONE_RTT]
            client.send(ONE_RTT, ack(newest, min(newest, rng.randint(0, 3))))
    client.advance(5.0)
    for _ in range(100):
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], min(client.largest[ONE_RTT], 300)))
    assert server.termination is None
    assert data_of(client, stream_id)[0] == expected


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_large_writes_are_held_until_they_are_acknowledged(kind: type) -> None:
    client, server, stream_id = opened()
    data = bytes(random.Random(1).randbytes(8000))
    free = sys.getrefcount(data)
    # Also what of it fits.
    assert server.stream_send(stream_id, kind(data)) == 4096
    assert sys.getrefcount(data) == free + 1
    client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    assert data_of(client, stream_id)[0] == data[:4096]
    assert sys.getrefcount(data) == free


def test_a_small_part_of_a_large_object_is_copied() -> None:
    _, server, stream_id = opened()
    data = bytes(100_000)
    free = sys.getrefcount(data)
    assert server.stream_send(stream_id, memoryview(data)[:1000]) == 1000
    assert sys.getrefcount(data) == free


def test_what_can_change_is_copied() -> None:
    client, server, stream_id = opened()
    data = bytearray(b"a" * 2000)
    server.stream_send(stream_id, memoryview(data))
    data[:] = b"b" * 2000
    client.collect()
    assert data_of(client, stream_id) == (b"a" * 2000, False)


def test_writes_are_short_when_the_buffer_is_full() -> None:
    client, server, stream_id = opened(initial_max_stream_data_bidi_remote=1000)
    assert server.stream_capacity(stream_id) == 4096
    assert server.stream_send(stream_id, bytes(10_000), True) == 4096
    assert server.stream_capacity(stream_id) == 0
    assert server.stream_send(stream_id, b"x", True) == 0
    client.collect()
    assert data_of(client, stream_id) == (bytes(1000), False)
    assert server.stream_capacity(stream_id) == 1000
    assert server.writable() == []  # not half empty
    assert client.frames(0x15) == [(0x15, stream_id, 1000)]
    client.send(ONE_RTT, frame(0x11, stream_id, 3000))
    assert server.writable() == [stream_id]
    assert server.writable() == []
    assert server.stream_send(stream_id, b"", True) == 0
    client.send(ONE_RTT, frame(0x11, stream_id, 9000))
    assert data_of(client, stream_id) == (bytes(4096), True)


def test_connection_credit_is_shared() -> None:
    client, server, one = opened(initial_max_data=1000)
    other = server.open_stream()
    assert other is not None
    server.stream_send(one, bytes(800))
    server.stream_send(other, bytes(800))
    client.collect()
    assert sum(len(data_of(client, each)[0]) for each in (one, other)) == 1000
    assert client.frames(0x14) == [(0x14, 1000)]
    client.send(ONE_RTT, frame(0x10, 999))  # never down
    client.send(ONE_RTT, frame(0x10, 1600))
    assert data_of(client, one)[0] == data_of(client, other)[0] == bytes(800)


def test_limits_never_go_down() -> None:
    client, server, stream_id = opened(initial_max_stream_data_bidi_remote=1000)
    client.send(ONE_RTT, frame(0x11, stream_id, 10))
    server.stream_send(stream_id, bytes(1000))
    client.collect()
    assert data_of(client, stream_id)[0] == bytes(1000)


def test_lost_data_needs_no_new_credit() -> None:
    client, server, stream_id = opened(initial_max_stream_data_bidi_remote=1000)
    server.stream_send(stream_id, b"x" * 1000, True)
    client.collect()
    client.received.clear()
    for _ in range(3):
        server.ping()
        client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert data_of(client, stream_id) == (b"x" * 1000, True)


def test_a_lost_end_is_sent_again() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"x")
    client.collect()
    first = client.largest[ONE_RTT]
    server.stream_send(stream_id, b"", True)
    client.collect()
    client.received.clear()
    for _ in range(4):
        server.ping()
        client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], 0, client.largest[ONE_RTT] - first - 2, 0))
    assert client.frames(0x08) == [(0x08, stream_id, 1, b"", True)]


def test_acknowledged_data() -> None:
    client, server, stream_id = opened(False)
    assert server.stream_acked(stream_id)
    server.stream_send(stream_id, b"x")
    assert not server.stream_acked(stream_id)
    client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert server.stream_acked(stream_id)
    assert server.writable() == [stream_id]
    server.stream_send(stream_id, b"y", True)
    client.collect()
    assert not server.stream_acked(stream_id)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert server.stream_acked(stream_id)
    assert server.writable() == [stream_id]
    assert server.stats().streams == 0
    with pytest.raises(StreamStopped):
        server.stream_send(stream_id, b"z")


def test_resetting() -> None:
    client, server, stream_id = opened(initial_max_stream_data_bidi_remote=100)
    server.stream_send(stream_id, bytes(300))
    client.collect()
    server.stream_shutdown(stream_id, 1, 77)
    client.collect()
    assert client.frames(0x04) == [(0x04, stream_id, 77, 100)]
    with pytest.raises(ValueError, match="reset"):
        server.stream_send(stream_id, b"x")
    client.send(ONE_RTT, frame(0x11, stream_id, 1000))
    assert data_of(client, stream_id) == (bytes(100), False)


def test_a_lost_reset_is_sent_again() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"x")
    client.collect()
    server.stream_shutdown(stream_id, 1, 77)
    client.collect()
    for _ in range(4):
        server.ping()
        client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert client.frames(0x04) == [(0x04, stream_id, 77, 1)] * 2
    assert client.frames(0x08) == [(0x08, stream_id, 0, b"x", False)]  # not the data


def test_a_unidirectional_stream_ends_with_its_reset() -> None:
    client, server, stream_id = opened(False)
    server.stream_send(stream_id, b"x")
    server.stream_shutdown(stream_id, 1, 77)
    client.collect()
    assert server.stats().streams == 1
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert server.stats().streams == 0
    server.stream_shutdown(stream_id, 1, 77)  # over: nothing


def test_the_peer_stops() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"abc")
    client.collect()
    client.send(ONE_RTT, frame(0x05, stream_id, 42))
    assert client.frames(0x04) == [(0x04, stream_id, 42, 3)]
    assert server.writable() == [stream_id]
    with pytest.raises(StreamStopped) as raised:
        server.stream_send(stream_id, b"x")
    assert raised.value.code == 42
    client.send(ONE_RTT, frame(0x05, stream_id, 43))
    assert len(client.frames(0x04)) == 1
    assert server.stream_capacity(stream_id) == 0


def test_the_peer_stops_a_stream_of_its_own() -> None:
    client, server, _ = opened()
    client.send(ONE_RTT, frame(0x05, 0, 42))
    assert client.frames(0x04) == [(0x04, 0, 42, 0)]
    with pytest.raises(StreamStopped):
        server.stream_send(0, b"x")


def test_directions_that_are_not_there() -> None:
    client, server, stream_id = opened(False)
    with pytest.raises(ValueError, match="only sends"):
        server.stream_shutdown(stream_id, 0)
    assert server.stream_recv(stream_id) is None
    client.send(ONE_RTT, frame(0x0A, 2, 1, b"x"))
    with pytest.raises(ValueError, match="only receives"):
        server.stream_shutdown(2, 1)
    with pytest.raises(ValueError, match="only receives"):
        server.stream_send(2, b"x")
    assert server.stream_capacity(2) == 0
    client.send(ONE_RTT, PING)
    assert server.termination is None
