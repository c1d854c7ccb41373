"""Resets that let the beginning through (draft-ietf-quic-reliable-stream-reset)."""

from __future__ import annotations

from typing import Any

import pytest

from cwt._core.connection import Connection
from cwt.config import TransportConfig
from cwt.errors import StreamReset, StreamStopped
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import ONE_RTT, RawClient, ack, frame, parameters, stream
from tests._core.support import connected, connected_client

CONFIG = TransportConfig(
    grease=False,
    pacing=False,
    mtu_discovery=False,
    send_buffer=4096,
    initial_max_data=3000,
    initial_max_stream_data=2000,
)
RESET, STOP, RESET_AT = 0x04, 0x05, 0x24
DATA = bytes(range(256)) * 8


def opened(known: bool = True, **limits: int) -> tuple[RawClient, Connection, int]:
    """A server's stream to a peer that knows RESET_STREAM_AT, or does not."""
    params = parameters(reset_stream_at=known, **limits).encode()
    client, server = connected(CONFIG, params=params)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.received.clear()
    stream_id = server.open_stream()
    assert stream_id is not None
    return client, server, stream_id


def sent(client: RawClient) -> bytes:
    """What came of the stream so far, without a gap."""
    out = bytearray()
    for _, _, offset, data, _ in sorted(client.frames(0x08)):
        if offset <= len(out):
            out[offset : offset + len(data)] = data
    return bytes(out)


def acknowledge(client: RawClient) -> None:
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))


# Announcing it.


def test_both_generations_of_the_parameter_are_sent() -> None:
    client, _ = connected(CONFIG)
    assert client.tls is not None
    assert client.tls.peer_transport_parameters is not None
    for raw in (b"\x1d\x00", bytes.fromhex("c017f7586d2cb57100")):
        assert raw in client.tls.peer_transport_parameters


@pytest.mark.parametrize("name", ["reset_stream_at", "early_reset_stream_at"])
def test_either_is_enough(name: str) -> None:
    def allow(params: Any) -> None:
        setattr(params, name, True)

    server, client = connected_client(CONFIG, alter=allow)
    stream_id = client.open_stream()
    assert stream_id is not None
    client.stream_send(stream_id, b"header and data")
    client.stream_shutdown(stream_id, 1, 7, reliable_size=6)
    server.collect()
    assert server.frames(RESET_AT) == [(RESET_AT, stream_id, 7, 6, 6)]


# Sending.


def test_what_was_sent_keeps_its_size() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"header and data")
    client.collect()
    server.stream_shutdown(stream_id, 1, 7, reliable_size=6)
    client.collect()
    assert client.frames(RESET_AT) == [(RESET_AT, stream_id, 7, 15, 6)]
    assert not client.frames(RESET)
    with pytest.raises(ValueError, match="reset"):
        server.stream_send(stream_id, b"x")


def test_what_was_not_sent_is_not_unless_it_must_be() -> None:
    client, server, stream_id = opened(initial_max_stream_data_bidi_remote=100)
    server.stream_send(stream_id, DATA[:1000])
    client.collect()
    server.stream_shutdown(stream_id, 1, 7, reliable_size=250)
    client.collect()
    assert sent(client) == DATA[:100]
    assert not client.frames(RESET_AT)
    for limit in (200, 1000):  # the reset waits for credit like the data
        client.send(ONE_RTT, frame(0x11, stream_id, limit))
    assert sent(client) == DATA[:250]
    assert client.frames(RESET_AT) == [(RESET_AT, stream_id, 7, 250, 250)]


@pytest.mark.parametrize("size", [0, 1, 5, 15])
def test_only_the_beginning_is_sent_again(size: int) -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"header and data")
    client.collect()
    lost = client.largest[ONE_RTT]
    server.stream_shutdown(stream_id, 1, 7, reliable_size=size)
    client.collect()
    client.received.clear()
    for _ in range(4):
        server.ping()
        client.collect()
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT] - lost - 1))
    again = client.frames(0x08)
    assert again == ([(0x08, stream_id, 0, b"header and data"[:size], False)] if size else [])


def test_it_is_over_when_the_beginning_and_the_reset_have_arrived() -> None:
    for reset_first in (False, True):
        client, server, _ = opened()
        stream_id = server.open_stream(False)
        assert stream_id is not None
        server.stream_send(stream_id, b"header and data")
        client.collect()
        data = client.largest[ONE_RTT]
        server.stream_shutdown(stream_id, 1, 7, reliable_size=6)
        client.collect()
        reset = client.largest[ONE_RTT]
        first, second = (reset, data) if reset_first else (data, reset)
        client.send(ONE_RTT, ack(first))
        assert server.stats().streams == 2
        client.send(ONE_RTT, ack(reset, 1))
        assert second <= reset
        assert server.stats().streams == 1


def test_a_lost_reset_is_sent_again() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"header and data")
    server.stream_shutdown(stream_id, 1, 7, reliable_size=6)
    client.collect()
    client.advance(3.0)
    assert client.frames(RESET_AT)[1:]
    assert set(client.frames(RESET_AT)) == {(RESET_AT, stream_id, 7, 6, 6)}


def test_once_more_lets_less_through_and_never_more() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"header and data")
    client.collect()
    for size in (10, 12, 4, 10, 0, 4):
        server.stream_shutdown(stream_id, 1, 7 + size, reliable_size=size)
        client.collect()
    assert client.frames(RESET_AT, RESET) == [
        (RESET_AT, stream_id, 17, 15, 10),
        (RESET_AT, stream_id, 17, 15, 4),
        (RESET, stream_id, 17, 15),
    ]


def test_an_acknowledgement_of_an_earlier_reset_is_not_the_end() -> None:
    client, server, _ = opened()
    stream_id = server.open_stream(False)
    assert stream_id is not None
    server.stream_send(stream_id, b"header and data")
    client.collect()
    acknowledge(client)
    server.stream_shutdown(stream_id, 1, 7, reliable_size=15)
    # All of it has arrived: what is reliable, and what is not, is the same.
    client.collect()
    acknowledge(client)
    assert server.stats().streams == 1
    client, server, _ = opened()
    stream_id = server.open_stream(False)
    assert stream_id is not None
    server.stream_send(stream_id, b"header and data")
    server.stream_shutdown(stream_id, 1, 7, reliable_size=10)
    client.collect()
    earlier = client.largest[ONE_RTT]
    server.stream_shutdown(stream_id, 1, 7)
    client.collect()
    client.send(ONE_RTT, ack(earlier, earlier))
    assert server.stats().streams == 2
    acknowledge(client)
    assert server.stats().streams == 1


def test_a_stop_lets_nothing_through() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"header and data")
    server.stream_shutdown(stream_id, 1, 7, reliable_size=6)
    client.collect()
    client.send(ONE_RTT, frame(STOP, stream_id, 42))
    assert client.frames(RESET_AT, RESET) == [
        (RESET_AT, stream_id, 7, 6, 6),
        (RESET, stream_id, 7, 6),
    ]
    with pytest.raises(StreamStopped):
        server.stream_send(stream_id, b"x")


def test_after_a_stop() -> None:
    # What the peer did is no misuse of ours.
    client, server, stream_id = opened(initial_max_stream_data_bidi_remote=3)
    server.stream_send(stream_id, b"header and data")
    client.collect()
    client.send(ONE_RTT, frame(STOP, stream_id, 42))
    server.stream_shutdown(stream_id, 1, 7, reliable_size=15)
    client.collect()
    assert client.frames(RESET_AT, RESET) == [(RESET, stream_id, 42, 3)]


def test_more_than_was_written() -> None:
    _, server, stream_id = opened()
    server.stream_send(stream_id, b"header")
    with pytest.raises(ValueError, match="6 bytes were written"):
        server.stream_shutdown(stream_id, 1, 7, reliable_size=7)
    server.stream_shutdown(stream_id, 1, 7, reliable_size=6)


@pytest.mark.parametrize("size", [0, 6, 15])
def test_after_the_end_was_sent(size: int) -> None:
    # RFC 9000 Section 3.1: from "Data Sent" a reset is possible.
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"header and data", True)
    client.collect()
    server.stream_shutdown(stream_id, 1, 7, reliable_size=size)
    client.collect()
    expected = (RESET_AT, stream_id, 7, 15, size) if size else (RESET, stream_id, 7, 15)
    assert client.frames(RESET_AT, RESET) == [expected]
    acknowledge(client)
    server.stream_shutdown(stream_id, 1, 7)
    client.collect()
    assert len(client.frames(RESET_AT, RESET)) == 1  # it has arrived: nothing is left to reset


def test_after_the_end_has_arrived() -> None:
    client, server, stream_id = opened()
    server.stream_send(stream_id, b"header and data", True)
    client.collect()
    acknowledge(client)
    server.stream_shutdown(stream_id, 1, 7)
    client.collect()
    assert not client.frames(RESET_AT, RESET)


def test_an_end_that_was_not_sent_yet_is_forgotten() -> None:
    client, server, stream_id = opened(initial_max_stream_data_bidi_remote=10)
    server.stream_send(stream_id, b"header and data", True)
    client.collect()
    server.stream_shutdown(stream_id, 1, 7, reliable_size=15)
    client.send(ONE_RTT, frame(0x11, stream_id, 100))
    assert sent(client) == b"header and data"
    assert not any(entry[4] for entry in client.frames(0x08))
    assert client.frames(RESET_AT) == [(RESET_AT, stream_id, 7, 15, 15)]


# To a peer that does not know it.


def test_a_plain_reset_waits_until_the_beginning_has_arrived() -> None:
    client, server, stream_id = opened(known=False)
    server.stream_send(stream_id, b"header and data")
    client.collect()
    server.stream_shutdown(stream_id, 1, 7, reliable_size=6)
    client.collect()
    assert not client.frames(RESET_AT, RESET)
    acknowledge(client)
    assert client.frames(RESET_AT, RESET) == [(RESET, stream_id, 7, 15)]


def test_a_plain_reset_does_not_wait_for_ever() -> None:
    client, server, stream_id = opened(known=False)
    server.stream_send(stream_id, b"header and data")
    client.collect()
    server.stream_shutdown(stream_id, 1, 7, reliable_size=6)
    server.stream_shutdown(stream_id, 1, 7)
    client.collect()
    assert client.frames(RESET) == [(RESET, stream_id, 7, 15)]


# Receiving.


def reset_at(stream_id: int, code: int, final: int, reliable: int) -> bytes:
    return frame(RESET_AT, stream_id, code, final, reliable)


def read_all(server: Connection, stream_id: int = 0) -> tuple[bytes, int | None]:
    """What can be read, and the code of the reset."""
    out = b""
    try:
        while (got := server.stream_recv(stream_id)) is not None:
            out += got[0]
            assert not got[1]
    except StreamReset as reset:
        return out, reset.code
    return out, None


def test_data_then_reset() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"header and data") + reset_at(0, 9, 20, 6))
    assert server.readable() == [0]
    assert server.stream_peek(0, 100) == b"header"
    assert server.stream_recv(0) == (b"header", False)
    assert server.readable() == [0]  # to learn of the reset
    with pytest.raises(StreamReset) as raised:
        server.stream_recv(0)
    assert raised.value.code == 9
    assert server.stream_recv(0) is None


def test_reset_then_data() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, reset_at(0, 9, 20, 6))
    assert server.readable() == []
    assert read_all(server) == (b"", None)
    client.send(ONE_RTT, stream(0, b"der and data", 3))
    assert server.readable() == []
    client.send(ONE_RTT, stream(0, b"hea"))
    assert server.readable() == [0]
    assert read_all(server) == (b"header", 9)


def test_nothing_to_let_through() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"unread") + reset_at(0, 9, 20, 0))
    assert read_all(server) == (b"", 9)


def test_what_was_read_before_counts() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"header and data"))
    assert server.stream_recv(0, 10) == (b"header and", False)
    client.send(ONE_RTT, reset_at(0, 9, 20, 6))
    assert server.readable() == [0]
    assert read_all(server) == (b"", 9)


def test_all_of_it_and_no_end() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"header") + reset_at(0, 9, 6, 6))
    assert read_all(server) == (b"header", 9)


def test_the_end_and_all_before_it_came_first() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"header", fin=True) + reset_at(0, 9, 6, 3))
    assert server.stream_recv(0) == (b"header", True)


def test_in_whatever_order_the_smallest_counts() -> None:
    for sizes in ((10, 6), (6, 10), (10, 6, 8)):
        client, server = connected(CONFIG)
        client.send(ONE_RTT, stream(0, b"header and data"))
        for size in sizes:
            client.send(ONE_RTT, reset_at(0, 9, 20, size))
        assert read_all(server) == (b"header", 9)
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"header and data") + reset_at(0, 9, 20, 6))
    client.send(ONE_RTT, frame(RESET, 0, 9, 20))
    assert read_all(server) == (b"", 9)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (reset_at(0, 9, 20, 21), Code.FRAME_ENCODING_ERROR),
        (reset_at(0, 9, 20, 6) + reset_at(0, 10, 20, 6), Code.STREAM_STATE_ERROR),
        (reset_at(0, 9, 20, 6) + frame(RESET, 0, 10, 20), Code.STREAM_STATE_ERROR),
        (reset_at(0, 9, 20, 6) + reset_at(0, 9, 21, 6), Code.FINAL_SIZE_ERROR),
        (reset_at(0, 9, 20, 6) + stream(0, b"x", 20), Code.FINAL_SIZE_ERROR),
        (stream(0, b"header") + reset_at(0, 9, 5, 5), Code.FINAL_SIZE_ERROR),
        (reset_at(0, 9, 2001, 6), Code.FLOW_CONTROL_ERROR),
        (reset_at(0, 9, 2000, 0) + reset_at(4, 9, 1001, 0), Code.FLOW_CONTROL_ERROR),
        (reset_at(3, 9, 20, 6), Code.STREAM_STATE_ERROR),
    ],
)
def test_what_is_wrong(frames: bytes, code: Code) -> None:
    client, _ = connected(CONFIG)
    client.send(ONE_RTT, frames)
    assert client.close_code == code


def test_credit_comes_back() -> None:
    # Of the connection: at once for what nobody will read, for the rest when it is read.
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, DATA[:500]) + reset_at(0, 9, 1900, 1000))
    client.received.clear()
    client.send(ONE_RTT, stream(0, DATA[500:1000], 500))
    assert read_all(server) == (DATA[:1000], 9)
    client.collect()
    limits = [entry[1] for entry in client.frames(0x10)]
    assert limits[-1] == 1900 + 3000
    # And with a stop in between, and with a reset that lets less through.
    for step in ("stop", "less"):
        client, server = connected(CONFIG)
        client.send(ONE_RTT, stream(0, DATA[:500]) + reset_at(0, 9, 1900, 1000))
        server.stream_recv(0, 100)
        if step == "stop":
            server.stream_shutdown(0, 0, 1)
        else:
            client.send(ONE_RTT, frame(RESET, 0, 9, 1900))
            assert read_all(server) == (b"", 9)
        client.collect()
        assert client.frames(0x10)[-1][1] == 1900 + 3000, step


def test_stopped_before_it_comes() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(2, DATA[:500]))
    server.stream_recv(2, 100)
    server.stream_shutdown(2, 0, 1)
    client.collect()
    client.send(ONE_RTT, reset_at(2, 9, 1900, 1000))
    assert server.readable() == []
    assert server.stats().streams == 0
    assert client.frames(0x10)[-1][1] == 1900 + 3000
