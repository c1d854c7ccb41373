"""The receiving part of a stream, through a connection (RFC 9000 Sections 2.2, 3.2 and 4)."""

from __future__ import annotations

import dataclasses

import pytest

from cwt.config import TransportConfig
from cwt.errors import StreamReset
from tests._core.raw_peer import ONE_RTT, ack, frame, stream
from tests._core.support import connected

CONFIG = TransportConfig(
    grease=False,
    pacing=False,
    initial_max_data=3000,
    initial_max_stream_data=2000,
    initial_max_streams_bidi=4,
    initial_max_streams_uni=4,
)


def test_in_order() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"hello "))
    assert server.readable() == [0]
    assert server.readable() == []
    client.send(ONE_RTT, stream(0, b"world", 6, fin=True))
    assert server.readable() == [0]
    assert server.stream_recv(0) == (b"hello world", True)
    assert server.stream_recv(0) is None


def test_out_of_order_and_overlapping() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"ld", 9, fin=True))
    client.send(ONE_RTT, stream(0, b"lo wor", 3))
    assert server.readable() == []
    assert server.stream_recv(0) is None
    client.send(ONE_RTT, stream(0, b"hello"))
    assert server.readable() == [0]
    assert server.stream_recv(0, 5) == (b"hello", False)
    assert server.stream_recv(0) == (b" world", True)


def test_every_second_packet_of_a_fast_path_may_be_missing() -> None:
    limits = {"initial_max_data": 8 << 20, "initial_max_stream_data": 8 << 20}
    client, server = connected(dataclasses.replace(CONFIG, **limits))
    for offset in range(1100, 2 * 1500 * 1100, 2 * 1100):
        client.inject(client.packet(ONE_RTT, stream(0, bytes(1100), offset)))
    assert server.termination is None
    for offset in range(0, 2 * 1500 * 1100, 2 * 1100):
        client.inject(client.packet(ONE_RTT, stream(0, bytes(1100), offset)))
    assert len(server.stream_peek(0, 4 << 20)) == 2 * 1500 * 1100


def test_the_end_alone_is_news() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"x"))
    assert server.readable() == [0]
    assert server.stream_recv(0) == (b"x", False)
    client.send(ONE_RTT, stream(0, b"", 1, fin=True))
    assert server.readable() == [0]
    assert server.stream_recv(0) == (b"", True)
    assert server.stream_recv(0) is None


def test_an_empty_stream() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(2, b"", fin=True))
    assert server.readable() == [2]
    assert server.stream_recv(2) == (b"", True)
    assert server.stats().streams == 0


def test_into_a_buffer() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"hello", fin=True))
    buffer = bytearray(3)
    assert server.stream_recv_into(0, buffer) == (3, False)
    assert buffer == b"hel"
    assert server.stream_recv_into(0, memoryview(buffer)[1:]) == (2, True)
    assert buffer == b"hlo"
    assert server.stream_recv_into(0, buffer) is None
    with pytest.raises(BufferError):
        server.stream_recv_into(0, b"read-only")  # type: ignore[arg-type]


def test_looking_takes_nothing() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"lo", 3))
    assert server.stream_peek(0, 10) == b""
    client.send(ONE_RTT, stream(0, b"hel"))
    assert server.stream_peek(0, 4) == b"hell"
    assert server.stream_peek(0, 10) == b"hello"
    assert server.stream_recv(0) == (b"hello", False)
    client.send(ONE_RTT, stream(0, b"", 5, fin=True))
    assert server.stream_peek(0, 10) == b""
    assert server.stream_recv(0) == (b"", True)
    with pytest.raises(ValueError):
        server.stream_peek(4, 10)


def test_looking_at_more_than_a_block() -> None:
    client, server = connected(TransportConfig(grease=False, pacing=False))
    data = bytes(range(256)) * 20
    for start in range(0, len(data), 1000):
        client.send(ONE_RTT, stream(0, data[start : start + 1000], start))
    assert server.stream_recv(0, 100) == (data[:100], False)
    assert server.stream_peek(0, 10_000) == data[100:]
    assert server.stream_recv(0, 10_000) == (data[100:], False)


def test_a_reset_takes_the_place_of_data() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"unread"))
    server.readable()
    client.send(ONE_RTT, frame(0x04, 0, 99, 6))
    assert server.readable() == [0]
    with pytest.raises(StreamReset) as raised:
        server.stream_recv(0)
    assert raised.value.code == 99
    assert server.stream_recv(0) is None


def test_a_reset_after_all_data_changes_nothing() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"all", fin=True) + frame(0x04, 0, 99, 3))
    assert server.stream_recv(0) == (b"all", True)


def test_a_reset_before_all_data() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"l", 2, fin=True) + frame(0x04, 0, 99, 3))
    client.send(ONE_RTT, stream(0, b"al"))
    with pytest.raises(StreamReset):
        server.stream_recv(0)


def test_stopping() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(2, b"unread"))
    server.stream_shutdown(2, 0, 42)
    assert server.stream_recv(2) is None
    client.collect()
    assert client.frames(0x05) == [(0x05, 2, 42)]
    client.send(ONE_RTT, stream(2, b"more", 6))
    assert server.readable() == []
    assert server.stats().streams == 1
    client.send(ONE_RTT, frame(0x04, 2, 42, 10))
    assert server.readable() == []
    assert server.stats().streams == 0
    server.stream_shutdown(2, 0, 42)  # of a stream that is over: nothing


def test_stopping_what_has_ended_says_nothing() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(2, b"unread", fin=True))
    server.stream_shutdown(2, 0, 42)
    client.collect()
    assert not client.frames(0x05)
    assert server.stats().streams == 0


def test_a_lost_stop_is_sent_again() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.send(ONE_RTT, stream(2, b"x"))
    server.stream_shutdown(2, 0, 42)
    client.collect()
    for _ in range(3):
        server.ping()
        client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
    assert client.frames(0x05) == [(0x05, 2, 42)] * 2


# Credit.


def test_credit_is_given_as_the_application_reads() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, bytes(1500)))
    assert not client.frames(0x10, 0x11)
    assert server.stream_recv(0, 900) == (bytes(900), False)
    client.collect()
    assert not client.frames(0x11)
    server.stream_recv(0)
    client.collect()
    assert client.frames(0x11) == [(0x11, 0, 3500)]
    assert not client.frames(0x10)
    client.send(ONE_RTT, stream(0, bytes(1000), 1500))
    server.stream_recv(0)
    client.collect()
    assert client.frames(0x10) == [(0x10, 5500)]


def test_no_stream_credit_once_the_end_is_known() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, bytes(1900), fin=True))
    server.stream_recv(0)
    client.collect()
    assert not client.frames(0x11)
    assert client.frames(0x10) == [(0x10, 4900)]


def test_what_is_discarded_counts_for_the_connection() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, bytes(1000)) + stream(4, b"", 1000))
    server.stream_shutdown(0, 0, 1)
    client.send(ONE_RTT, frame(0x04, 4, 1, 1000))
    client.collect()
    # 2000 bytes of 3000 need no more room.
    assert client.frames(0x10)[-1] == (0x10, 5000)


def test_windows_grow_for_a_fast_reader() -> None:
    client, server = connected(CONFIG)
    client.now += 0.05  # the round trip
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    for offset in range(0, 8000, 1000):
        client.send(ONE_RTT, stream(0, bytes(1000), offset))
        server.stream_recv(0)
        client.collect()
        client.now += 0.01
    ahead = [limit - 8000 for _, _, limit in client.frames(0x11)]
    assert ahead[-1] > 2000
    assert client.frames(0x10)[-1][1] - 8000 > 3000


def test_windows_stay_for_a_slow_reader() -> None:
    client, server = connected(CONFIG)
    client.now += 0.05
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    for offset in range(0, 8000, 1000):
        client.send(ONE_RTT, stream(0, bytes(1000), offset))
        server.stream_recv(0)
        client.collect()
        client.now += 1.0
    assert all(
        limit <= offset + 3000 for offset, (_, _, limit) in enumerate(client.frames(0x11), 7000)
    )


def test_streams_the_peer_may_open_come_back_when_they_end() -> None:
    client, server = connected(CONFIG)
    for index in range(4):
        client.send(ONE_RTT, stream(4 * index + 2, b"x", fin=True))
    assert not client.frames(0x13)
    for stream_id in server.readable()[:2]:
        server.stream_recv(stream_id)
    client.send(ONE_RTT, b"\1\1")
    assert client.frames(0x13)[-1] == (0x13, 6)
    client.send(ONE_RTT, stream(4 * 5 + 2, b"x", fin=True))
    assert server.termination is None
    client.send(ONE_RTT, stream(4 * 6 + 2, b"x", fin=True))
    assert server.termination is not None


def test_frames_for_a_stream_that_is_over_are_ignored() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(2, b"x", fin=True))
    server.stream_recv(2)
    assert server.stats().streams == 0
    late = stream(2, b"x", fin=True) + frame(0x04, 2, 1, 1) + frame(0x15, 2, 0)
    client.send(ONE_RTT, late)
    assert server.readable() == []
    assert server.stats().streams == 0
    assert server.termination is None


def test_streams_that_never_were() -> None:
    _, server = connected(CONFIG)
    for stream_id in (0, 1, 2, 3):
        with pytest.raises(ValueError, match="has not been opened"):
            server.stream_recv(stream_id)
        with pytest.raises(ValueError, match="has not been opened"):
            server.stream_send(stream_id, b"x")
