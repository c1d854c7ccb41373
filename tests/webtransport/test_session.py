"""The CONNECT stream of a session: capsules and the end (draft-ietf-webtrans-http3 Sections 4.7, 6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt import webtransport as wt
from cwt._core.wire import varint
from cwt.errors import H3ErrorCode
from cwt.errors import SessionClosed as SessionClosedError
from cwt.h3.capsules import DATAGRAM, encode_capsule
from cwt.h3.frames import FrameType
from cwt.webtransport.session import close_capsule, drain_capsule
from tests.h3.support import data_frame, frames, headers_frame
from tests.webtransport.support import SETTINGS, Pair, Rig, connect_lines, connected, taken

CLOSE, DRAIN = 0x2843, 0x78AE


def close_payload(code: int, reason: bytes) -> bytes:
    return encode_capsule(CLOSE, code.to_bytes(4, "big") + reason)


# -- the peer closes --------------------------------------------------------------------------


@pytest.mark.parametrize("fin", [True, False])
def test_the_peer_closes(fin: bool) -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, close_payload(4321, "bye-ü".encode()), fin)
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 4321, "bye-ü", True)]
    assert rig.peer.ended(session)
    assert rig.quic.sent_reset(session) is None
    assert rig.wt.is_finished == fin
    if not fin:
        rig.write(session, b"", True)
        assert rig.wt.is_finished
    assert rig.wt.h3.requests == 0


def test_the_end_without_a_capsule_is_a_close_without_code() -> None:
    rig = Rig()
    session = rig.session()
    rig.write(session, b"", True)
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 0, "", True)]
    assert rig.peer.ended(session)


def test_the_end_together_with_the_request() -> None:
    rig = Rig()
    session = rig.peer.raw_open(headers_frame(connect_lines()), True, bidirectional=True)
    rig.poll()
    assert rig.saw(wt.SessionRequested)
    rig.wt.accept(session)
    rig.poll()
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 0, "", True)]
    assert rig.wt.h3.requests == 0


@pytest.mark.parametrize("step", [1, 2, 5])
def test_capsules_split_over_data_frames_and_writes(step: int) -> None:
    rig = Rig()
    session = rig.session()
    capsules = encode_capsule(0x17 + 0x29 * 9, b"grease") + drain_capsule() + close_capsule(7, "x")
    for i in range(0, len(capsules), step):
        rig.capsules(session, capsules[i : i + step])
    assert rig.saw(wt.SessionDraining) == [wt.SessionDraining(session)]
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 7, "x", True)]


def test_1024_bytes_of_reason_are_accepted() -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, close_payload(1, b"r" * 1024))
    (closed,) = rig.saw(wt.SessionClosed)
    assert closed.reason == "r" * 1024


MALFORMED = {
    "1025 bytes of reason": close_payload(1, b"r" * 1025),
    "declared 2**62 - 1 bytes": varint.encode(CLOSE) + b"\xff" * 8,
    "reason is not UTF-8": close_payload(1, b"\xff\xfe"),
    "reason ends inside a character": close_payload(1, "ü".encode()[:1]),
    "no room for a code": encode_capsule(CLOSE, b"\0\0\0"),
    "DRAIN with a payload": encode_capsule(DRAIN, b"x"),
    "bytes after CLOSE": close_payload(1, b"") + b"\0",
    "capsule after CLOSE": close_payload(1, b"") + drain_capsule(),
    "datagram capsule too long": varint.encode(DATAGRAM) + varint.encode(65536),
}


@pytest.mark.parametrize("capsules", MALFORMED.values(), ids=MALFORMED)
def test_malformed_capsules_end_the_session(capsules: bytes) -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, capsules)
    (closed,) = rig.saw(wt.SessionClosed)
    assert (closed.code, closed.remote) == (0, False)
    assert rig.quic.sent_reset(session) == H3ErrorCode.MESSAGE_ERROR
    assert rig.quic.sent_stop(session) == H3ErrorCode.MESSAGE_ERROR
    assert rig.error is None
    assert rig.wt.sessions == 0


def test_bytes_after_close_in_a_later_packet() -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, close_payload(5, b"x"))
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 5, "x", True)]
    rig.capsules(session, b"\0")
    assert rig.quic.sent_stop(session) == H3ErrorCode.MESSAGE_ERROR
    assert not rig.saw(wt.SessionClosed)
    assert rig.wt.is_finished


def test_the_end_inside_a_capsule() -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, close_payload(5, b"xyz")[:-1], True)
    (closed,) = rig.saw(wt.SessionClosed)
    assert not closed.remote
    assert rig.quic.sent_reset(session) == H3ErrorCode.MESSAGE_ERROR


def test_the_end_inside_a_data_frame_closes_the_connection() -> None:
    rig = Rig()
    session = rig.session()
    rig.write(session, data_frame(close_payload(5, b"xyz"))[:-1], True)
    assert rig.error == H3ErrorCode.FRAME_ERROR


def test_trailers_on_the_connect_stream() -> None:
    rig = Rig()
    session = rig.session()
    rig.write(session, headers_frame([(b"a", b"b")]))
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


def test_the_peer_resets_the_connect_stream() -> None:
    rig = Rig()
    session = rig.session()
    rig.peer.stream_shutdown(session, 1, 0x10C)
    rig.poll()
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 0, "", True)]
    assert rig.quic.sent_reset(session) == H3ErrorCode.WT_SESSION_GONE
    assert rig.wt.is_finished


def test_the_peer_stops_the_connect_stream() -> None:
    rig = Rig()
    session = rig.session()
    rig.peer.stream_shutdown(session, 0, 0x10C)
    rig.poll()
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 0, "", True)]
    assert rig.wt.is_finished


def test_unknown_capsules_of_any_length_are_skipped() -> None:
    rig = Rig(window=100_000)
    session = rig.session()
    rig.write(session, b"\x00" + varint.encode(1 << 40) + b"\x05" + varint.encode((1 << 62) - 1))
    for _ in range(100):
        rig.write(session, bytes(50_000))
    assert not rig.quic.unread(session)
    assert rig.wt.sessions == 1
    assert len(rig.wt._sessions[session]._capsules._frames.buffer) == 0


def test_a_datagram_capsule_is_a_datagram() -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, encode_capsule(DATAGRAM, b"hello"))
    assert taken(rig.saw(wt.DatagramsReadable)) == [(session, b"hello")]


FLOW_CONTROL = [0x190B4D3D, 0x190B4D3F, 0x190B4D40, 0x190B4D41, 0x190B4D43, 0x190B4D44]


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("payload", [b"", b"\x01", b"\xff" * 8])
def test_flow_control_capsules_are_ignored_when_it_is_off(name: str, payload: bytes) -> None:
    rig = Rig(SETTINGS[name])
    session = rig.session()
    for kind in FLOW_CONTROL:
        rig.capsules(session, encode_capsule(kind, payload) * 2)
    assert rig.wt.sessions == 1


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", [0x190B4D3E, 0x190B4D42])
def test_capsules_that_belong_to_http2(name: str, kind: int) -> None:
    rig = Rig(SETTINGS[name])
    session = rig.session()
    rig.capsules(session, encode_capsule(kind, b"\x00\x01"))
    assert rig.wt.sessions == (0 if name in ("draft-15/16", "draft-13/14") else 1)


# -- we close ---------------------------------------------------------------------------------


def test_we_close() -> None:
    rig = Rig()
    session = rig.session()
    rig.wt.close(session, 7, "bye")
    assert rig.sent(session) == [(FrameType.DATA, close_payload(7, b"bye"))]
    assert rig.peer.ended(session)
    assert rig.poll() == [wt.SessionClosed(session, 7, "bye", False)]
    assert not rig.wt.is_finished
    rig.capsules(session, bytes(100))  # whatever it had on its way is thrown away
    rig.write(session, b"", True)
    assert rig.wt.is_finished
    assert rig.error is None
    rig.wt.close(session)  # again: nothing


@pytest.mark.parametrize(
    ("reason", "cut"),
    [
        ("r" * 1024, 1024),
        ("r" * 2000, 1024),
        ("r" * 1023 + "ü", 1023),
        ("€" * 400, 1023),
        ("r" * 1022 + "ü", 1024),
    ],
)
def test_a_long_reason_is_cut_at_a_character(reason: str, cut: int) -> None:
    payload = close_capsule(0, reason)
    text = payload[2 + 2 + 4 :]
    assert len(text) == cut
    assert reason.startswith(text.decode())


@given(st.integers(0, 2**32 - 1), st.text(max_size=1500))
def test_any_close_of_ours_is_well_formed(code: int, reason: str) -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, close_capsule(code, reason))
    (closed,) = rig.saw(wt.SessionClosed)
    assert closed.remote and closed.code == code


def test_codes_beyond_32_bits() -> None:
    rig = Rig()
    session = rig.session()
    for code in (-1, 1 << 32):
        with pytest.raises(ValueError):
            rig.wt.close(session, code)
    assert rig.wt.sessions == 1


def test_close_reaches_a_peer_that_gives_no_credit() -> None:
    rig = Rig()
    session = rig.session()
    rig.peer.stream_recv(session)
    rig.peer.window = 0
    rig.wt.close(session, 7, "bye")
    assert rig.wt.sessions == 0
    assert not rig.peer.unread(session)
    rig.peer.window = 1000
    rig.quic._writable[session] = None
    rig.poll()
    assert frames(rig.peer.unread(session)) == [(FrameType.DATA, close_payload(7, b"bye"))]
    assert rig.peer.ended(session)


def test_a_peer_that_reads_no_capsules_at_all() -> None:
    """What waits for it is bounded; the session ends by a reset instead."""
    rig = Rig()
    session = rig.session()
    rig.peer.window = 0
    rig.wt.h3.send_whole(session, bytes(256 * 1024 - 100))
    rig.wt.close(session, 7, "r" * 1024)
    assert rig.quic.sent_reset(session) == H3ErrorCode.WT_SESSION_GONE
    assert rig.poll() == [wt.SessionClosed(session, 7, "r" * 1024, False)]
    assert rig.wt.is_finished


def test_a_reset_that_is_found_while_reading_capsules() -> None:
    rig = Rig()
    session = rig.request()
    rig.peer.stream_shutdown(session, 1, 0x10C)
    rig.wt.accept(session)  # before the news of the reset
    rig.poll()
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(session, 0, "", True)]


def test_a_reset_after_close() -> None:
    rig = Rig()
    session = rig.session()
    rig.capsules(session, close_payload(5, b"x"))
    rig.peer.stream_shutdown(session, 1, 0x10C)
    rig.poll()
    assert rig.wt.is_finished
    assert rig.error is None


def test_closing_before_the_answer() -> None:
    rig = Rig(is_client=True, settings=(*SETTINGS["draft-02"], (0x08, 1)))
    session = rig.wt.connect("localhost", "/")
    rig.wt.close(session, 3)
    assert rig.quic.sent_reset(session) == H3ErrorCode.REQUEST_CANCELLED
    assert rig.wt.sessions == 0
    rig = Rig()
    session = rig.request()
    rig.wt.close(session, 3)
    assert rig.quic.sent_reset(session) == H3ErrorCode.REQUEST_CANCELLED
    with pytest.raises(SessionClosedError):
        rig.wt.accept(session)


def test_drain() -> None:
    pair, session = connected()
    pair.server.drain(session)
    pair.server.drain(session)
    pair.run()
    assert pair.client_saw(wt.SessionDraining) == [wt.SessionDraining(session)]
    assert pair.client.open_stream(session, True) is not None
    pair.client.drain(session)
    pair.run()
    assert pair.server_saw(wt.SessionDraining) == [wt.SessionDraining(session)]


def test_goaway_drains_every_session() -> None:
    pair, session = connected()
    pair.server.h3.goaway()
    pair.run()
    assert pair.client_saw(wt.SessionDraining) == [wt.SessionDraining(session)]
    stream = pair.client.open_stream(session, True)
    assert stream is not None
    pair.client.stream_send(stream, b"still here", True)
    pair.run()
    assert pair.server.stream_recv(stream) == (b"still here", True)


def test_requests_go_beside_sessions() -> None:
    pair = Pair()
    pair.run()
    pair.client.connect("localhost", "/")
    get = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")]
    stream = pair.client.h3.send_request(get, fin=True)
    pair.run()
    pair.server.h3.send_headers(stream, [(":status", "200")], fin=True)
    pair.run()
    assert any(getattr(event, "stream_id", None) == stream for event in pair.client_events)
