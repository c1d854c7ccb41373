"""The sessions of one connection, and their streams (draft-ietf-webtrans-http3)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwt import webtransport as wt
from cwt._core.wire import varint
from cwt.config import Config
from cwt.errors import (
    ConnectError,
    DatagramTooLarge,
    H3ErrorCode,
    StreamReset,
    StreamStopped,
)
from cwt.errors import SessionClosed as SessionClosedError
from cwt.h3.capsules import encode_capsule
from cwt.webtransport.codes import to_http3
from tests.h3.support import GET, data_frame, headers_frame
from tests.webtransport import hostile
from tests.webtransport.hostile import drive
from tests.webtransport.support import (
    SETTINGS,
    Pair,
    Rig,
    connect_lines,
    connected,
    control_stream,
)

BIDI, UNI = b"\x40\x41", b"\x40\x54"
SERVER = (*SETTINGS["draft-02"], (0x08, 1))
GONE = H3ErrorCode.WT_SESSION_GONE
REJECTED = H3ErrorCode.WT_BUFFERED_STREAM_REJECTED


# -- establishing -----------------------------------------------------------------------------


def test_a_session_from_request_to_close() -> None:
    pair = Pair()
    pair.run()
    session = pair.client.connect(
        "localhost:4433", "/chat", origin="https://x", protocols=["a", "b"], headers=[("k", "v")]
    )
    pair.run()
    (request,) = pair.server_saw(wt.SessionRequested)
    assert request.authority == "localhost:4433"
    assert request.path == "/chat"
    assert request.origin == "https://x"
    assert request.protocols == ["a", "b"]
    assert ("k", "v") in request.headers
    pair.server.accept(session, "b", [("x", "y")])
    pair.run()
    (accepted,) = pair.client_saw(wt.SessionAccepted)
    assert (accepted.status, accepted.protocol) == (200, "b")
    assert ("x", "y") in accepted.headers
    assert not pair.server.is_finished
    pair.client.close(session, 7, "bye")
    pair.run()
    assert pair.server_saw(wt.SessionClosed) == [wt.SessionClosed(session, 7, "bye", True)]
    assert pair.client_saw(wt.SessionClosed) == [wt.SessionClosed(session, 7, "bye", False)]
    assert pair.client.is_finished and pair.server.is_finished


def test_a_client_waits_for_the_settings() -> None:
    rig = Rig(None, is_client=True)
    assert not rig.wt.is_ready
    with pytest.raises(RuntimeError):
        rig.wt.connect("localhost", "/")
    rig.settings(SERVER)
    assert rig.wt.is_ready


@pytest.mark.parametrize("status", ["200", "204", "299"])
def test_any_2xx_establishes(status: str) -> None:
    rig = Rig(SERVER, is_client=True)
    session = rig.wt.connect("localhost", "/")
    rig.write(session, headers_frame([(b":status", b"103")]))
    rig.write(session, headers_frame([(b":status", status.encode())]))
    (accepted,) = rig.saw(wt.SessionAccepted)
    assert accepted.status == int(status)


@pytest.mark.parametrize("status", [302, 403, 404, 405, 429, 500])
def test_any_other_status_rejects(status: int) -> None:
    pair = Pair()
    pair.run()
    session = pair.client.connect("localhost", "/")
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.run()
    pair.server.reject(session, status, [("location", "/x")])
    pair.run()
    (rejected,) = pair.client_saw(wt.SessionRejected)
    assert (rejected.status, rejected.headers) == (status, [("location", "/x")])
    assert pair.server_quic.sent_stop(stream) == GONE
    assert pair.client_quic.sent_reset(stream) == GONE
    assert pair.client.sessions == pair.server.sessions == 0
    assert pair.client.h3.requests == pair.server.h3.requests == 0
    with pytest.raises(SessionClosedError):
        pair.client.open_stream(session, True)


@pytest.mark.parametrize("status", [100, 200, 299, 600])
def test_statuses_that_do_not_reject(status: int) -> None:
    rig = Rig()
    session = rig.request()
    with pytest.raises(ValueError):
        rig.wt.reject(session, status)


def test_the_request_is_reset_instead_of_answered() -> None:
    rig = Rig(SERVER, is_client=True)
    session = rig.wt.connect("localhost", "/")
    rig.peer.stream_shutdown(session, 1, H3ErrorCode.REQUEST_REJECTED)
    rig.poll()
    assert rig.saw(wt.SessionRejected) == [wt.SessionRejected(session, 0)]


def test_the_client_goes_before_the_answer() -> None:
    rig = Rig()
    session = rig.request()
    rig.peer.stream_shutdown(session, 1, H3ErrorCode.REQUEST_CANCELLED)
    rig.poll()
    assert rig.saw(wt.SessionClosed)
    with pytest.raises(SessionClosedError):
        rig.wt.accept(session)
    with pytest.raises(SessionClosedError):
        rig.wt.reject(session)


def test_answering_twice() -> None:
    rig = Rig()
    session = rig.session()
    with pytest.raises(RuntimeError):
        rig.wt.accept(session)
    with pytest.raises(RuntimeError):
        rig.wt.reject(session)


def test_a_request_that_is_not_https() -> None:
    rig = Rig()
    lines = [(k, b"http" if k == b":scheme" else v) for k, v in connect_lines()]
    session = rig.request(lines)
    assert rig.quic.sent_reset(session) == H3ErrorCode.MESSAGE_ERROR


def test_two_origins_are_passed_up_as_they_are() -> None:
    rig = Rig()
    rig.request([*connect_lines(origin="https://a"), (b"origin", b"https://b")])
    (request,) = rig.saw(wt.SessionRequested)
    assert request.origin == "https://a, https://b"


@pytest.mark.parametrize("name", SETTINGS)
def test_sessions_beyond_the_limit(name: str) -> None:
    """Without session flow control the newer drafts allow one, whatever the configuration says."""
    rig = Rig(SETTINGS[name], Config(max_sessions=2))
    limit = 1 if name in ("draft-15/16", "draft-13/14") else 2
    for _ in range(limit):
        rig.request()
    refused = rig.request()
    assert rig.quic.sent_reset(refused) == H3ErrorCode.REQUEST_REJECTED
    assert rig.quic.sent_stop(refused) == H3ErrorCode.REQUEST_REJECTED
    assert rig.wt.sessions == limit
    rig.wt.close(0)
    rig.request()
    assert rig.wt.sessions == limit
    assert rig.error is None


def test_a_client_opens_one_session_where_more_are_not_allowed() -> None:
    pair, _ = connected()
    with pytest.raises(ConnectError):
        pair.client.connect("localhost", "/")


def test_two_sessions_do_not_disturb_each_other() -> None:
    rig = Rig(config=Config(max_sessions=2))
    one, two = rig.session(), rig.session()
    streams = [rig.stream(UNI + varint.encode(session)) for session in (one, two)]
    rig.peer.dgram_send(varint.encode(two // 4) + b"x")
    rig.poll()
    opened = rig.saw(wt.StreamOpened)
    assert [(event.session_id, event.stream_id) for event in opened] == [
        (one, streams[0]),
        (two, streams[1]),
    ]
    assert rig.saw(wt.DatagramReceived) == [wt.DatagramReceived(two, b"x")]
    rig.wt.close(one)
    assert rig.quic.sent_stop(streams[0]) == GONE
    assert rig.quic.sent_stop(streams[1]) is None
    assert not rig.wt.is_finished


# -- protocols --------------------------------------------------------------------------------


def test_a_server_chooses_among_what_was_offered() -> None:
    rig = Rig()
    session = rig.request(connect_lines(wt_available_protocols='"a", "b"'))
    with pytest.raises(ValueError):
        rig.wt.accept(session, "c")
    rig.wt.accept(session, "b")
    assert rig.response(session)[b"wt-protocol"] == b'"b"'


@pytest.mark.parametrize("value", ["a, b", '"a", b', '"a', '("a")'])
def test_an_offer_that_is_not_a_list_of_strings_is_ignored(value: str) -> None:
    rig = Rig()
    rig.request(connect_lines(wt_available_protocols=value))
    (request,) = rig.saw(wt.SessionRequested)
    assert request.protocols == []


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", [b'"c"', b'"a"', b"a", b'"a', None])
def test_the_choice_of_a_server(name: str, value: bytes | None) -> None:
    rig = Rig((*SETTINGS[name], (0x08, 1)), is_client=True)
    session = rig.wt.connect("localhost", "/", protocols=["a", "b"])
    lines = [(b":status", b"200")]
    if value is not None:
        lines.append((b"wt-protocol", value))
    rig.write(session, headers_frame(lines))
    if value == b'"c"' and name == "draft-15/16":
        assert rig.quic.sent_reset(session) == H3ErrorCode.WT_ALPN_ERROR
        assert rig.saw(wt.SessionClosed)
        assert not rig.saw(wt.SessionAccepted)
    else:
        (accepted,) = rig.saw(wt.SessionAccepted)
        assert accepted.protocol == ("a" if value == b'"a"' else None)


def test_names_that_cannot_be_offered() -> None:
    rig = Rig(SERVER, is_client=True)
    with pytest.raises(ValueError):
        rig.wt.connect("localhost", "/", protocols=["ä"])
    assert rig.wt.sessions == 0


# -- streams ----------------------------------------------------------------------------------


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
    for opening in rig.wt._streams._opening.values():
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


def test_a_server_does_not_connect() -> None:
    rig = Rig()
    with pytest.raises(RuntimeError):
        rig.wt.connect("localhost", "/")


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


# -- early arrivals ---------------------------------------------------------------------------


def test_streams_and_datagrams_before_their_session() -> None:
    rig = Rig(limit=1000)
    session = rig.peer.open_stream(True)
    assert session == 0
    bidi = rig.stream(BIDI + b"\0early", bidirectional=True)
    uni = rig.stream(UNI + b"\0early", fin=True)
    rig.peer.dgram_send(b"\0early")
    rig.poll()
    assert not rig.saw(wt.StreamOpened) and not rig.saw(wt.DatagramReceived)
    rig.write(session, headers_frame(connect_lines()))
    assert rig.saw(wt.SessionRequested)
    late = rig.stream(UNI + b"\0late")
    rig.peer.dgram_send(b"\0late")
    rig.poll()
    assert not rig.saw(wt.StreamOpened) and not rig.saw(wt.DatagramReceived)
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
    assert [event.data for event in rig.saw(wt.DatagramReceived)] == [b"early", b"late"]


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
    assert not rig.saw(wt.StreamOpened) and not rig.saw(wt.DatagramReceived)
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
    assert rig.saw(wt.DatagramReceived) == [wt.DatagramReceived(session, b"x")]


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
    assert pair.client_saw(wt.DatagramReceived) == [wt.DatagramReceived(session, b"down")]
    assert pair.server_saw(wt.DatagramReceived) == [wt.DatagramReceived(session, b"up")]


def test_capsules_before_the_answer_are_read_after_it() -> None:
    rig = Rig()
    capsules = encode_capsule(0x2843, b"\0\0\0\x05early")
    session = rig.request(more=data_frame(capsules))
    assert not rig.saw(wt.SessionClosed)
    rig.wt.accept(session)
    rig.poll()
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 5, "early", True)]


# -- datagrams and keys -----------------------------------------------------------------------


def test_datagrams() -> None:
    pair, session = connected()
    assert pair.client.send_datagram(session, b"hello")
    assert pair.client.send_datagram(session, bytearray(b""))
    pair.run()
    assert [event.data for event in pair.server_saw(wt.DatagramReceived)] == [b"hello", b""]
    limit = pair.client.max_datagram_size(session)
    assert limit == 1199
    assert pair.client.send_datagram(session, bytes(limit))
    with pytest.raises(DatagramTooLarge) as error:
        pair.client.send_datagram(session, bytes(limit + 1))
    assert error.value.limit == limit


def test_a_peer_that_takes_no_datagrams() -> None:
    pair, session = connected(max_datagram=0)
    assert pair.client.max_datagram_size(session) == 0


def test_the_exporter_is_bound_to_the_session() -> None:
    pair, session = connected()
    assert pair.client.export_keying_material(session, b"test", b"ctx", 32) == bytes(32)
    assert pair.client_quic.exports == [
        (b"EXPORTER-WebTransport", bytes.fromhex("0000000000000000047465737403637478"), 32)
    ]
    with pytest.raises(ValueError):
        pair.client.export_keying_material(session, b"l" * 256, b"", 32)
    with pytest.raises(SessionClosedError):
        pair.client.export_keying_material(400, b"", b"", 32)


# -- anything at all --------------------------------------------------------------------------

STARTS = [
    b"",
    UNI,
    UNI + b"\0",
    BIDI + b"\0",
    BIDI,
    headers_frame(connect_lines()),
    b"\x00\x04\x00",
]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from(STARTS), st.binary(max_size=40), st.sampled_from("-frs")
        ),
        max_size=8,
    ),
    st.booleans(),
    st.lists(st.binary(max_size=20), max_size=3),
    st.binary(max_size=40),
)
def test_random_bytes_never_raise(
    streams: list[tuple[bool, bytes, bytes, str]],
    is_client: bool,
    datagrams: list[bytes],
    capsules: bytes,
) -> None:
    rig = Rig(SERVER, is_client=is_client)
    rig.capsules(rig.session(), capsules)
    for bidirectional, start, data, end in streams:
        stream = rig.peer.open_stream(bidirectional)
        assert stream is not None
        rig.peer.stream_send(stream, start + data, end == "f")
        drive(rig)
        if end in "rs":
            rig.peer.stream_shutdown(stream, 1, 0x10C)
        if end == "s" and bidirectional:
            rig.peer.stream_shutdown(stream, 0, 0x10C)
        drive(rig)
    for datagram in datagrams:
        rig.peer.dgram_send(datagram)
    drive(rig)


@pytest.mark.parametrize("seed", range(8))
def test_broken_sessions_never_raise(seed: int) -> None:
    random = Random(seed)
    outcomes = [hostile.session(random) for _ in range(100)]
    assert None in outcomes and len(set(outcomes)) > 5
