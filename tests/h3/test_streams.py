"""The outbox and the reader of first bytes (RFC 9114 Section 6)."""

from __future__ import annotations

import pytest

from cwt._core.wire import varint
from cwt.errors import BufferFull, StreamStopped
from cwt.h3.streams import MAX_PENDING, Outbox, VarintReader
from tests.h3.fake import pair


def test_what_quic_refuses_waits_in_order() -> None:
    client, server = pair(window=10)
    outbox = Outbox(client)
    stream = client.open_stream(True)
    assert stream is not None
    assert not outbox.send(stream, b"0123456789ab")
    assert not outbox.send(stream, b"cd", True)
    assert outbox.is_pending(stream)
    assert server.stream_recv(stream) == (b"0123456789", False)
    assert client.writable() == [stream]
    assert outbox.flush(stream)
    assert not outbox.is_pending(stream)
    assert server.stream_recv(stream) == (b"abcd", True)


def test_it_is_bounded() -> None:
    client, _ = pair(window=0)
    outbox = Outbox(client)
    stream = client.open_stream(True)
    assert stream is not None
    assert not outbox.send(stream, bytes(MAX_PENDING))
    with pytest.raises(BufferFull):
        outbox.send(stream, b"x")


def test_a_stopped_stream_forgets_what_waits() -> None:
    client, server = pair(window=0)
    outbox = Outbox(client)
    stream = client.open_stream(True)
    assert stream is not None
    outbox.send(stream, b"x")
    server.stream_shutdown(stream, 0, 9)
    with pytest.raises(StreamStopped):
        outbox.flush(stream)
    assert not outbox.is_pending(stream)


@pytest.mark.parametrize("value", [0x41, 0x4041, 1 << 29, 1 << 61])
@pytest.mark.parametrize("step", [1, 3, 100])
def test_a_varint_is_read_and_not_one_byte_more(value: int, step: int) -> None:
    client, server = pair()
    data = varint.encode(value) + varint.encode(7) + b"payload"
    stream = client.open_stream(True)
    assert stream is not None
    reader = VarintReader()
    got = []
    for i in range(0, len(data), step):
        client.stream_send(stream, data[i : i + step])
        while len(got) < 2 and (read := reader.read(server, stream)) is not None:
            got.append(read)
    assert got == [value, 7]
    assert server.unread(stream) == b"payload"


def test_a_varint_that_the_end_cuts_short() -> None:
    client, server = pair()
    stream = client.raw_open(b"\x40", True, bidirectional=True)
    reader = VarintReader()
    assert reader.read(server, stream) is None
    assert reader.fin and reader.started


def test_the_end_right_after_a_varint() -> None:
    client, server = pair()
    stream = client.raw_open(b"\x40\x41", True, bidirectional=True)
    reader = VarintReader()
    assert reader.read(server, stream) == 0x41
    assert reader.fin
