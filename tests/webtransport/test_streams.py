"""Streams of sessions, also those before their session (draft-ietf-webtrans-http3 Section 4)."""

from __future__ import annotations

import pytest

from cwt import webtransport as wt
from cwt._core.wire import varint
from cwt.config import Config
from cwt.errors import (
    H3ErrorCode,
    StreamReset,
    StreamStopped,
)
from cwt.errors import SessionClosed as SessionClosedError
from cwt.h3.capsules import encode_capsule
from cwt.webtransport.codes import to_http3
from tests.h3.support import GET, data_frame, headers_frame
from tests.webtransport.support import (
    SETTINGS,
    Pair,
    Rig,
    connect_lines,
    connected,
    control_stream,
    taken,
)

BIDI, UNI = b"\x40\x41", b"\x40\x54"
SERVER = (*SETTINGS["draft-02"], (0x08, 1))
GONE = H3ErrorCode.WT_SESSION_GONE
REJECTED = H3ErrorCode.WT_BUFFERED_STREAM_REJECTED


@pytest.mark.parametrize("client_opens", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_streams_carry_data_and_their_end(client_opens: bool, bidirectional: bool) -> None:
    pair, session = connected()
    one, two = (pair.client, pair.server) if client_opens else (pair.server, pair.client)
    stream = one.open_stream(session, bidirectional)
    assert stream is not None
    assert one.stream_send(stream, b"hello", True) == 5
    pair.run()
    saw = pair.server_saw if client_opens else pair.client_saw
    assert saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, bidirectional)]
    assert saw(wt.StreamReadable) == [wt.StreamReadable(stream)]
    assert two.stream_recv(stream) == (b"hello", True)
    assert two.stream_recv(stream) is None
    if bidirectional:
        assert two.stream_send(stream, b"world", True) == 5
        pair.run()
        buffer = bytearray(10)
        assert one.stream_recv_into(stream, buffer) == (5, True)
        assert bytes(buffer[:5]) == b"world"
    assert not len(pair.client._streams) and not len(pair.server._streams)
    assert not pair.client._sessions[session].streams


@pytest.mark.parametrize("step", [1, 2, 3, 100])
@pytest.mark.parametrize("wide", [False, True])
def test_preambles_in_any_pieces(step: int, wide: bool) -> None:
    rig = Rig()
    session = rig.session()
    preamble = (b"\x80\x00\x00\x41\xc0" + bytes(7)) if wide else BIDI + b"\0"
    data = preamble + b"payload"
    stream = rig.peer.open_stream(True)
    assert stream is not None
    for i in range(0, len(data), step):
        rig.write(stream, data[i : i + step])
    assert rig.saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, True)]
    got = b""
    while (read := rig.wt.stream_recv(stream)) is not None:
        got += read[0]
    assert got == b"payload"


@pytest.mark.parametrize("into", [False, True])
def test_the_end_right_after_the_preamble(into: bool) -> None:
    rig = Rig()
    session = rig.session()
    stream = rig.stream(BIDI + b"\0", bidirectional=True, fin=True)
    assert rig.saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, True)]
    assert rig.saw(wt.StreamReadable) == [wt.StreamReadable(stream)]
    if into:
        assert rig.wt.stream_recv_into(stream, bytearray(5)) == (0, True)
    else:
        assert rig.wt.stream_recv(stream) == (b"", True)
    assert rig.wt.stream_recv(stream) is None
    assert rig.wt.stream_recv_into(stream, bytearray(5)) is None
    rig.wt.stream_send(stream, b"", True)
    assert not len(rig.wt._streams)


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("start", [UNI, UNI + b"\x40", BIDI])
def test_streams_that_end_before_they_say_whose_they_are(start: bytes, how: str) -> None:
    rig = Rig()
    rig.session()
    stream = rig.stream(start, bidirectional=start == BIDI, fin=how == "fin")
    if how == "reset":
        rig.peer.stream_shutdown(stream, 1, to_http3(0))
        rig.poll()
    assert not rig.events
    assert not len(rig.wt._streams)
    assert rig.error is None


def test_payload_stays_in_quic_until_it_is_read() -> None:
    rig = Rig(window=10_000)
    rig.session()
    stream = rig.stream(UNI + b"\0")
    while rig.peer.stream_send(stream, bytes(1000)):
        rig.poll()
    assert len(rig.quic.unread(stream)) == 10_000
    for opening in rig.wt._streams.opening.values():
        assert not opening.started


def test_no_more_streams() -> None:
    pair, session = connected(limit=4)
    opened = [pair.client.open_stream(session, True) for _ in range(5)]
    assert opened == [4, 8, 12, None, None]


def test_a_preamble_without_credit_waits() -> None:
    pair, session = connected()
    pair.server_quic.window = 2
    stream = pair.client.open_stream(session, True)
    assert stream is not None
    assert pair.client.stream_send(stream, b"data") == 0
    pair.run()
    pair.server_quic.window = 1000
    pair.client_quic._writable[stream] = None
    pair.run()
    assert wt.StreamWritable(stream) in pair.client_saw(wt.StreamWritable)
    assert pair.client.stream_send(stream, b"data", True) == 4
    pair.run()
    assert pair.server_saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, True)]
    assert pair.server.stream_recv(stream) == (b"data", True)


def test_a_stream_stopped_while_its_preamble_waits() -> None:
    pair, session = connected()
    pair.server_quic.window = 0
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.server_quic.stream_shutdown(stream, 0, to_http3(5))
    pair.run()
    assert pair.client_saw(wt.StreamWritable) == [wt.StreamWritable(stream)]
    with pytest.raises(StreamStopped) as stopped:
        pair.client.stream_send(stream, b"x")
    assert stopped.value.code == 5
    assert not len(pair.client._streams)


def test_a_stopped_stream_tells_its_code_once_its_data_is_written() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.run()
    pair.server.stop_stream(stream, 9)
    pair.run()
    assert pair.client_saw(wt.StreamWritable) == [wt.StreamWritable(stream)]
    with pytest.raises(StreamStopped) as stopped:
        pair.client.stream_send(stream, b"x")
    assert stopped.value.code == 9
    assert not len(pair.client._streams) and not len(pair.server._streams)


def test_streams_that_are_finished_tell_their_acknowledgement() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.client.stream_send(stream, b"x", True)
    assert not len(pair.client._streams)
    pair.client_quic._writable[stream] = None  # everything is acknowledged now
    assert pair.client.poll() == [wt.StreamWritable(stream)]


def test_a_wrong_session_id_that_comes_in_pieces() -> None:
    rig = Rig()
    stream = rig.stream(UNI + b"\x40")
    rig.write(stream, b"\x01")
    assert rig.error == H3ErrorCode.ID_ERROR


def test_the_end_of_a_stream_whose_preamble_waits() -> None:
    pair, session = connected()
    pair.server_quic.window = 2
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    assert pair.client.stream_send(stream, b"", True) == 0
    pair.server_quic.window = 1000
    pair.client_quic._writable[stream] = None
    pair.run()
    assert pair.server_saw(wt.StreamOpened)
    assert pair.server.stream_recv(stream) == (b"", True)
    assert not len(pair.client._streams) and not len(pair.server._streams)


def test_codes_of_reset_and_stop_are_the_applications() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, True)
    assert stream is not None
    pair.client.stream_send(stream, b"x")
    pair.run()
    assert pair.server.stream_recv(stream) == (b"x", False)
    pair.client.reset_stream(stream, 42)
    pair.client.stop_stream(stream, 43)
    assert pair.client_quic.sent_reset(stream) == to_http3(42)
    assert pair.client_quic.sent_stop(stream) == to_http3(43)
    pair.run()
    with pytest.raises(StreamReset) as reset:
        pair.server.stream_recv(stream)
    assert reset.value.code == 42
    with pytest.raises(StreamStopped) as stopped:
        pair.server.stream_send(stream, b"y")
    assert stopped.value.code == 43
    assert not len(pair.client._streams) and not len(pair.server._streams)
    pair.client.reset_stream(stream, 1)
    pair.client.stop_stream(stream, 1)
    assert pair.client.stream_recv(stream) is None
    with pytest.raises(StreamStopped):
        pair.client.stream_send(stream, b"y")


@pytest.mark.parametrize("raw", [0x10C, 0x10F, 0, 0x52E4A40FA8F9, (1 << 62) - 1])
def test_codes_outside_the_range_carry_none(raw: int) -> None:
    rig = Rig()
    rig.session()
    stream = rig.stream(BIDI + b"\0", bidirectional=True)
    rig.peer.stream_shutdown(stream, 1, raw)
    rig.peer.stream_shutdown(stream, 0, raw)
    rig.poll()
    assert wt.StreamReadable(stream) in rig.saw(wt.StreamReadable)
    assert rig.saw(wt.StreamWritable) == [wt.StreamWritable(stream)]
    with pytest.raises(StreamReset) as reset:
        rig.wt.stream_recv_into(stream, bytearray(5))
    with pytest.raises(StreamStopped) as stopped:
        rig.wt.stream_send(stream, b"y")
    assert reset.value.code is stopped.value.code is None
    assert rig.wt.sessions == 1


@pytest.mark.parametrize("code", [-1, 1 << 32])
def test_codes_beyond_32_bits(code: int) -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, True)
    assert stream is not None
    with pytest.raises(ValueError):
        pair.client.reset_stream(stream, code)
    with pytest.raises(ValueError):
        pair.client.stop_stream(stream, code)


def test_wrong_session_ids() -> None:
    for wrong in (1, 2, 3, 5):
        rig = Rig()
        rig.session()
        rig.stream(UNI + varint.encode(wrong))
        assert rig.error == H3ErrorCode.ID_ERROR
        rig = Rig()
        rig.stream(BIDI + varint.encode(wrong), bidirectional=True)
        assert rig.error == H3ErrorCode.ID_ERROR


@pytest.mark.parametrize("start", [b"", data_frame(b"")])
def test_the_signal_in_the_middle_of_a_request(start: bytes) -> None:
    rig = Rig()
    rig.stream(headers_frame(GET) + start + BIDI + b"\0", bidirectional=True)
    assert rig.error == H3ErrorCode.FRAME_ERROR
    rig = Rig()
    session = rig.session()
    rig.write(session, start + BIDI + b"\0")
    assert rig.error == H3ErrorCode.FRAME_ERROR


def test_the_signal_on_the_control_stream_and_in_a_response() -> None:
    rig = Rig(None)
    rig.stream(control_stream(SERVER) + BIDI + b"\0")
    assert rig.error == H3ErrorCode.FRAME_ERROR
    rig = Rig(SERVER, is_client=True)
    session = rig.wt.connect("localhost", "/")
    rig.write(session, BIDI + b"\0")
    assert rig.error == H3ErrorCode.FRAME_ERROR


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_end_never_comes_together_with_the_preamble(bidirectional: bool) -> None:
    """Firefox 153 closes the connection when it does."""
    pair, session = connected()
    stream = pair.client.open_stream(session, bidirectional)
    assert stream is not None
    pair.client.stream_send(stream, b"", True)
    half = pair.server_quic.incoming[stream]
    assert half.data and not half.fin
    pair.run()
    assert pair.client_quic.stream_acked(stream)
    pair.client_quic._writable[stream] = None  # what QUIC says then
    pair.run()
    assert half.fin
    assert pair.server_saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, bidirectional)]
    assert pair.server.stream_recv(stream) == (b"", True)
    if bidirectional:
        pair.server.stream_send(stream, b"", True)
        pair.run()
        assert pair.client.stream_recv(stream) == (b"", True)
    assert not len(pair.client._streams)
    assert not len(pair.server._streams)


def test_the_end_comes_at_once_after_data() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.client.stream_send(stream, b"data")
    pair.client.stream_send(stream, b"", True)
    assert pair.server_quic.incoming[stream].fin


def test_a_reset_overtakes_the_end_that_waits() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.client.stream_send(stream, b"", True)
    pair.client.close(session, 3)
    pair.run()
    assert not pair.server_quic.incoming[stream].fin
    assert not len(pair.client._streams)


class Listener:
    """A reader and writer of streams."""

    def __init__(self) -> None:
        self.news: list[str] = []

    def on_readable(self) -> None:
        self.news.append("readable")

    def on_writable(self) -> None:
        self.news.append("writable")


def test_listeners_are_told_instead_of_events() -> None:
    pair, session = connected()
    stream = pair.client.open(session, True)
    assert stream is not None and pair.client.stream(stream.stream_id) is stream
    listener = Listener()
    stream.reader = stream.writer = listener
    assert stream.send(b"ping", True) == 4
    pair.run()
    pair.server.stream_send(stream.stream_id, b"pong", True)
    pair.run()
    assert listener.news == ["readable"]
    assert stream.recv(100) == (b"pong", True)
    assert pair.client.stream(stream.stream_id) is stream  # the writer may still want to know
    pair.client_quic._writable[stream.stream_id] = None  # everything is acknowledged now
    pair.run()
    assert listener.news == ["readable", "writable"]
    assert not pair.client_saw(wt.StreamReadable) and not pair.client_saw(wt.StreamWritable)
    stream.release()
    assert pair.client.stream(stream.stream_id) is None
    assert not len(pair.client._streams)


def test_listeners_learn_of_the_end_of_the_session_from_the_session() -> None:
    pair, session = connected()
    stream = pair.client.open(session, True)
    assert stream is not None
    listener = Listener()
    stream.reader = stream.writer = listener
    pair.run()
    pair.server.close(session, 3)
    pair.run()
    assert pair.client_saw(wt.SessionClosed) == [wt.SessionClosed(session, 3, "", True)]
    assert listener.news == []
    assert not len(pair.client._streams)
    assert stream.recv(10) is None
    with pytest.raises(StreamStopped):
        stream.send(b"x")


@pytest.mark.parametrize("first", [BIDI[:1], BIDI, BIDI + b"\x40"])
def test_a_preamble_in_two_pieces_is_read_once(first: bytes) -> None:
    """The look at a new stream must not take the rest of a preamble for a whole one."""
    rig = Rig()
    session = rig.session()
    rest = (BIDI + b"\x40\x00")[len(first) :] + b"\x40\x41\x00"
    stream = rig.stream(first, bidirectional=True)
    rig.write(stream, rest)
    assert rig.saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, True)]
    assert rig.wt.stream_recv(stream) == (b"\x40\x41\x00", False)


# -- early arrivals -------------------------------------------------------------------------------


def test_streams_and_datagrams_before_their_session() -> None:
    rig = Rig(limit=1000)
    session = rig.peer.open_stream(True)
    assert session == 0
    bidi = rig.stream(BIDI + b"\0early", bidirectional=True)
    uni = rig.stream(UNI + b"\0early", fin=True)
    rig.peer.dgram_send(b"\0early")
    rig.poll()
    assert not rig.saw(wt.StreamOpened) and not rig.saw(wt.DatagramsReadable)
    rig.write(session, headers_frame(connect_lines()))
    assert rig.saw(wt.SessionRequested)
    late = rig.stream(UNI + b"\0late")
    rig.peer.dgram_send(b"\0late")
    rig.poll()
    assert not rig.saw(wt.StreamOpened) and not rig.saw(wt.DatagramsReadable)
    rig.write(bidi, b"more")
    assert not rig.saw(wt.StreamReadable)
    rig.wt.accept(session)
    rig.poll()
    assert rig.saw(wt.StreamOpened) == [
        wt.StreamOpened(0, bidi, True),
        wt.StreamOpened(0, uni, False),
        wt.StreamOpened(0, late, False),
    ]
    assert len(rig.saw(wt.StreamReadable)) == 3
    assert rig.wt.stream_recv(bidi) == (b"earlymore", False)
    assert rig.wt.stream_recv(uni) == (b"early", True)
    assert taken(rig.saw(wt.DatagramsReadable)) == [(0, b"early"), (0, b"late")]


def test_early_streams_of_a_rejected_session_are_reset() -> None:
    rig = Rig()
    session = rig.peer.open_stream(True)
    stream = rig.stream(BIDI + b"\0", bidirectional=True)
    assert session is not None
    rig.write(session, headers_frame(connect_lines()))
    rig.wt.reject(session, 403)
    assert rig.quic.sent_reset(stream) == rig.quic.sent_stop(stream) == GONE
    assert not len(rig.wt._streams)


def test_early_streams_are_bounded_and_the_oldest_go() -> None:
    rig = Rig(config=Config(max_early_streams=3))
    streams = [rig.stream(UNI + b"\x04") for _ in range(5)]
    assert [rig.quic.sent_stop(stream) for stream in streams] == [REJECTED, REJECTED, *[None] * 3]
    assert rig.error is None


def test_no_early_streams_at_all() -> None:
    rig = Rig(config=Config(max_early_streams=0, max_early_datagrams=0))
    stream = rig.stream(BIDI + b"\0", bidirectional=True)
    assert rig.quic.sent_stop(stream) == rig.quic.sent_reset(stream) == REJECTED
    rig.peer.dgram_send(b"\0x")
    rig.poll()
    assert not rig.wt._early.take_datagrams(0)


def test_early_datagrams_are_bounded_in_number_and_bytes() -> None:
    rig = Rig(config=Config(max_early_datagrams=3), max_datagram=65535)
    for number in range(5):
        rig.peer.dgram_send(b"\0%d" % number)
    rig.poll()
    assert rig.wt._early.take_datagrams(0) == [b"2", b"3", b"4"]
    for _ in range(3):
        rig.peer.dgram_send(b"\0" + bytes(40_000))
    rig.poll()
    assert len(rig.wt._early.take_datagrams(0)) == 1
    assert rig.wt._early._bytes == 0


def test_streams_of_a_closed_session() -> None:
    rig = Rig()
    session = rig.session()
    known = rig.stream(BIDI + b"\0", bidirectional=True)
    own = rig.wt.open_stream(session, True)
    assert own is not None
    rig.events.clear()
    rig.wt.close(session)
    assert rig.quic.sent_reset(known) == rig.quic.sent_stop(known) == GONE
    assert rig.quic.sent_reset(own) == rig.quic.sent_stop(own) == GONE
    late = rig.stream(BIDI + b"\0", bidirectional=True)
    assert rig.quic.sent_reset(late) == rig.quic.sent_stop(late) == GONE
    rig.peer.dgram_send(b"\0late")
    rig.poll()
    assert not rig.saw(wt.StreamOpened) and not rig.saw(wt.DatagramsReadable)
    assert not len(rig.wt._streams)
    with pytest.raises(StreamStopped):
        rig.wt.stream_send(known, b"x")
    assert rig.wt.stream_recv(known) is None
    with pytest.raises(SessionClosedError):
        rig.wt.open_stream(session, True)
    with pytest.raises(SessionClosedError):
        rig.wt.send_datagram(session, b"x")


def test_closed_sessions_are_remembered_in_bounds() -> None:
    rig = Rig(limit=10_000)
    for _ in range(200):
        session = rig.session()
        rig.write(session, b"", True)
    assert len(rig.wt._closed) == 64
    assert rig.wt.is_finished
    assert not rig.wt._closing
    assert rig.wt.h3.requests == 0


def test_a_client_refuses_streams_of_sessions_that_it_has_not() -> None:
    rig = Rig(SERVER, is_client=True)
    stream = rig.stream(UNI + b"\x08")
    assert rig.quic.sent_stop(stream) == GONE


def test_a_server_sends_before_its_answer() -> None:
    rig = Rig(SERVER, is_client=True)
    session = rig.wt.connect("localhost", "/")
    stream = rig.stream(BIDI + b"\0x", bidirectional=True)
    rig.peer.dgram_send(b"\0x")
    rig.poll()
    assert not rig.saw(wt.StreamOpened)
    rig.write(session, headers_frame([(b":status", b"200")]))
    assert rig.saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, True)]
    assert taken(rig.saw(wt.DatagramsReadable)) == [(session, b"x")]


def test_both_sides_send_before_the_answer() -> None:
    pair = Pair()
    pair.run()
    session = pair.client.connect("localhost", "/")
    up = pair.client.open_stream(session, False)
    assert up is not None
    pair.client.stream_send(up, b"up", True)
    pair.client.send_datagram(session, b"up")
    pair.run()
    down = pair.server.open_stream(session, False)
    assert down is not None
    pair.server.stream_send(down, b"down", True)
    pair.server.send_datagram(session, b"down")
    pair.run()
    pair.server.accept(session)
    pair.run()
    assert pair.server.stream_recv(up) == (b"up", True)
    assert pair.client.stream_recv(down) == (b"down", True)
    assert taken(pair.client_saw(wt.DatagramsReadable)) == [(session, b"down")]
    assert taken(pair.server_saw(wt.DatagramsReadable)) == [(session, b"up")]


def test_capsules_before_the_answer_are_read_after_it() -> None:
    rig = Rig()
    capsules = encode_capsule(0x2843, b"\0\0\0\x05early")
    session = rig.request(more=data_frame(capsules))
    assert not rig.saw(wt.SessionClosed)
    rig.wt.accept(session)
    rig.poll()
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 5, "early", True)]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("written", [b"", b"data"])
def test_a_reset_lets_the_preamble_through(bidirectional: bool, written: bytes) -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, bidirectional)
    assert stream is not None
    pair.client.stream_send(stream, written)
    pair.client.reset_stream(stream, 5)
    pair.run()
    assert pair.server_saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, bidirectional)]
    with pytest.raises(StreamReset) as reset:
        pair.server.stream_recv(stream)
    assert reset.value.code == 5


def test_a_reset_after_the_end_was_written() -> None:
    pair, session = connected()
    stream_id = pair.client.open_stream(session, False)
    assert stream_id is not None
    stream = pair.client._streams.get(stream_id)
    assert stream is not None
    stream.writer = object()
    assert stream.send(b"data", True) == 4
    stream.reset(5)
    stream.reset(6)  # once
    pair.run()
    assert [entry[1:] for entry in pair.client_quic.shutdowns if entry[0] == stream_id] == [
        (1, to_http3(5))
    ]
    with pytest.raises(StreamReset) as reset:
        pair.server.stream_recv(stream_id)
    assert reset.value.code == 5


def test_a_stream_that_only_receives_is_not_reset() -> None:
    pair, session = connected()
    stream_id = pair.client.open_stream(session, False)
    assert stream_id is not None
    pair.client.stream_send(stream_id, b"data")
    pair.run()
    stream = pair.server._streams.get(stream_id)
    assert stream is not None
    stream.reset(5)
    assert not pair.server_quic.shutdowns
