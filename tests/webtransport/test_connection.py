"""The sessions of one connection, and their streams (draft-ietf-webtrans-http3)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwt import h3
from cwt import webtransport as wt
from cwt._core.wire import varint
from cwt.config import Config
from cwt.errors import (
    ConnectError,
    DatagramTooLarge,
    H3ErrorCode,
)
from cwt.errors import SessionClosed as SessionClosedError
from tests.h3.support import headers_frame
from tests.webtransport import hostile
from tests.webtransport.hostile import drive
from tests.webtransport.support import (
    SETTINGS,
    Pair,
    Rig,
    connect_lines,
    connected,
    taken,
)

BIDI, UNI = b"\x40\x41", b"\x40\x54"
SERVER = (*SETTINGS["draft-02"], (0x08, 1))
GONE = H3ErrorCode.WT_SESSION_GONE
REJECTED = H3ErrorCode.WT_BUFFERED_STREAM_REJECTED


# -- establishing ---------------------------------------------------------------------------------


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
    assert taken(rig.saw(wt.DatagramsReadable)) == [(two, b"x")]
    rig.wt.close(one)
    assert rig.quic.sent_stop(streams[0]) == GONE
    assert rig.quic.sent_stop(streams[1]) is None
    assert not rig.wt.is_finished


def test_a_server_does_not_connect() -> None:
    rig = Rig()
    with pytest.raises(RuntimeError):
        rig.wt.connect("localhost", "/")


# -- protocols ------------------------------------------------------------------------------------


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


# -- datagrams and keys ---------------------------------------------------------------------------


def test_datagrams() -> None:
    pair, session = connected()
    assert pair.client.send_datagram(session, b"hello")
    assert pair.client.send_datagram(session, bytearray(b""))
    pair.run()
    assert taken(pair.server_saw(wt.DatagramsReadable)) == [(session, b"hello"), (session, b"")]
    limit = pair.client.max_datagram_size(session)
    assert limit == 1199
    assert pair.client.send_datagram(session, bytes(limit))
    with pytest.raises(DatagramTooLarge) as error:
        pair.client.send_datagram(session, bytes(limit + 1))
    assert error.value.limit == limit


def test_datagrams_of_other_requests_pass_through() -> None:
    rig = Rig()
    stream = rig.stream(headers_frame(connect_lines("connect-udp")), bidirectional=True)
    assert rig.saw(h3.RequestReceived)
    rig.peer.dgram_send(varint.encode(stream // 4) + b"\0packet")
    rig.poll()
    assert rig.saw(h3.DatagramReceived) == [h3.DatagramReceived(stream, b"\0packet")]
    assert not rig.saw(wt.DatagramsReadable)


def test_datagrams_of_a_request_that_waits_for_the_settings() -> None:
    rig = Rig(None)
    session = rig.request()
    rig.peer.dgram_send(b"\0x")
    rig.poll()
    rig.settings(SETTINGS["draft-02"])
    rig.wt.accept(session)
    rig.poll()
    assert taken(rig.saw(wt.DatagramsReadable)) == [(session, b"x")]


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


# -- anything at all ------------------------------------------------------------------------------

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
