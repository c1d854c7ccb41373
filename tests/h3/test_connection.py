"""One HTTP/3 connection: streams, settings, requests both ways (RFC 9114)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwt._core.wire import varint
from cwt.config import Http3Config
from cwt.errors import (
    ConnectError,
    DatagramTooLarge,
    H3ErrorCode,
    StreamLimitError,
    StreamReset,
)
from cwt.h3 import (
    DatagramReceived,
    DataReceived,
    GoawayReceived,
    RequestReceived,
    ResponseReceived,
    SettingsReceived,
)
from cwt.h3.frames import FrameType, encode_frame
from cwt.h3.settings import Setting, parse_settings
from tests.h3.support import EMPTY_SETTINGS, GET, Duo, Rig, data_frame, frames, headers_frame

HEAD = headers_frame(GET)
OK = [(b":status", b"200")]


# -- streams --------------------------------------------------------------------------------------


def test_what_we_open() -> None:
    rig = Rig(Http3Config(grease=False))
    control, encoder, decoder = 3, 7, 11
    assert rig.peer.unread(control)[:1] == b"\x00"
    ((kind, payload),) = frames(rig.peer.unread(control)[1:])
    assert kind == FrameType.SETTINGS
    assert parse_settings(payload) == {
        Setting.MAX_FIELD_SECTION_SIZE: 65536,
        Setting.H3_DATAGRAM: 1,
    }
    assert rig.peer.unread(encoder) == b"\x02"
    assert rig.peer.unread(decoder) == b"\x03"
    assert rig.quic.priorities[control] == (0, False)


def test_grease_is_sent_when_configured() -> None:
    rig = Rig()
    (_, payload), (kind, _) = frames(rig.peer.unread(3)[1:])
    assert (kind - 0x21) % 0x1F == 0
    assert any(key > 0x40 and (key - 0x21) % 0x1F == 0 for key in parse_settings(payload))


def test_it_starts_when_streams_can_be_opened() -> None:
    rig = Rig()
    rig.quic.can_open_streams = False
    rig.h3 = type(rig.h3)(rig.quic, Http3Config())
    rig.poll()
    assert not rig.h3.is_started
    rig.quic.can_open_streams = True
    rig.poll()
    assert rig.h3.is_started


def test_unknown_streams_are_stopped_and_forgotten() -> None:
    rig = Rig(limit=100_000)
    for number in range(2000):
        stream = rig.control(varint.encode(0x21 + 0x1F * number) + b"junk")
        assert rig.quic.sent_stop(stream) == H3ErrorCode.STREAM_CREATION_ERROR
    assert rig.error is None
    assert not rig.h3._preambles


@pytest.mark.parametrize("end", ["fin", "reset"])
@pytest.mark.parametrize("start", [b"", b"\x40"])
def test_a_stream_may_end_before_its_type(start: bytes, end: str) -> None:
    rig = Rig()
    stream = rig.control(start)
    if end == "fin":
        rig.peer.stream_send(stream, b"", True)
    else:
        rig.peer.stream_shutdown(stream, 1, 0)
    rig.poll()
    assert rig.error is None
    assert not rig.h3._preambles


@pytest.mark.parametrize(
    ("is_client", "code"),
    [(False, H3ErrorCode.STREAM_CREATION_ERROR), (True, H3ErrorCode.ID_ERROR)],
)
def test_push_streams(is_client: bool, code: H3ErrorCode) -> None:
    rig = Rig(is_client=is_client)
    rig.control(b"\x01\x00")
    assert rig.error == code


def test_a_server_opens_no_bidirectional_streams() -> None:
    rig = Rig(is_client=True)
    rig.request(HEAD)
    assert rig.error == H3ErrorCode.STREAM_CREATION_ERROR


def test_a_closed_connection_does_nothing_more() -> None:
    rig = Rig()
    rig.request(b"\x00\x00")
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED
    events = len(rig.events)
    rig.request(HEAD)
    rig.control(b"\x00\x07")
    rig.h3.datagram_received(b"")
    rig.poll()
    assert len(rig.events) == events
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


def test_settings_are_told() -> None:
    rig = Rig()
    rig.control(b"\x00\x04\x02\x06\x20")
    assert rig.events == [SettingsReceived({6: 32})]
    assert rig.h3.peer_settings == {6: 32}


# -- GOAWAY, priorities, datagrams ----------------------------------------------------------------


def test_goaway_of_a_server() -> None:
    duo = Duo()
    duo.run()
    first = duo.client.send_request(GET)
    duo.run()
    duo.server.goaway()
    duo.run()
    assert duo.client_saw(GoawayReceived) == [GoawayReceived((1 << 62) - 4, [])]
    late = duo.client_quic.raw_open(HEAD, bidirectional=True)
    duo.run()
    assert len(duo.server_saw(RequestReceived)) == 2
    duo.server.goaway(final=True)
    duo.run()
    assert duo.client_saw(GoawayReceived)[1] == GoawayReceived(late + 4, [])
    with pytest.raises(ConnectError):
        duo.client.send_request(GET)
    refused = duo.client_quic.raw_open(HEAD, bidirectional=True)
    duo.run()
    assert duo.server_quic.sent_reset(refused) == H3ErrorCode.REQUEST_REJECTED
    assert duo.server_quic.sent_stop(refused) == H3ErrorCode.REQUEST_REJECTED
    duo.server.send_headers(first, OK, True)
    duo.run()
    assert duo.client_saw(ResponseReceived)


def test_goaway_names_the_requests_that_were_not_processed() -> None:
    rig = Rig(is_client=True)
    rig.control()
    streams = [rig.h3.send_request(GET) for _ in range(3)]
    rig.write(2 * 0 + 3, b"\x07\x01\x04")
    assert rig.saw(GoawayReceived) == [GoawayReceived(4, streams[1:])]


def test_goaway_of_a_client() -> None:
    duo = Duo()
    duo.run()
    duo.client.goaway()
    duo.run()
    assert duo.server_saw(GoawayReceived) == [GoawayReceived(0, [])]


def test_priorities_reach_quic() -> None:
    rig = Rig()
    control = rig.control()
    stream = rig.request(headers_frame([*GET, (b"priority", b"u=1, i")]))
    assert rig.quic.priorities[stream] == (1, True)
    rig.write(control, encode_frame(FrameType.PRIORITY_UPDATE_REQUEST, b"\x00u=6"))
    assert rig.quic.priorities[stream] == (6, False)
    update = varint.encode(stream + 4) + b"u=2"
    rig.write(control, encode_frame(FrameType.PRIORITY_UPDATE_REQUEST, update))
    late = rig.request(headers_frame([*GET, (b"priority", b"u=7")]))
    assert rig.quic.priorities[late] == (2, False)


def test_priorities_of_requests_that_never_come_are_bounded() -> None:
    rig = Rig()
    control = rig.control()
    for number in range(1000):
        update = varint.encode(number * 4) + b"u=2"
        rig.write(control, encode_frame(FrameType.PRIORITY_UPDATE_REQUEST, update))
    assert len(rig.h3._priorities) == 64


def test_datagrams() -> None:
    duo = Duo()
    duo.client.send_request(GET)
    stream = duo.client.send_request(GET)
    duo.run()
    assert duo.client.send_datagram(stream, b"hello")
    duo.run()
    assert duo.server_saw(DatagramReceived) == [DatagramReceived(stream, b"hello")]
    assert duo.client.max_datagram_size(stream) == 1199
    with pytest.raises(DatagramTooLarge) as error:
        duo.client.send_datagram(stream, bytes(1200))
    assert error.value.limit == 1199


def test_datagrams_of_no_request_are_dropped() -> None:
    rig = Rig()
    rig.h3.datagram_received(b"\x05hello")
    assert not rig.poll()
    assert rig.error is None


@pytest.mark.parametrize("data", [b"", b"\x40", b"\xd0" + bytes(7), b"\xff" * 8])
def test_bad_datagrams(data: bytes) -> None:
    rig = Rig()
    rig.h3.datagram_received(data)
    assert rig.error == H3ErrorCode.DATAGRAM_ERROR


def test_the_largest_quarter_stream_id() -> None:
    rig = Rig()
    assert rig.h3.parse_datagram(b"\xcf" + b"\xff" * 7 + b"x") == ((1 << 62) - 4, b"x")


def test_misuse() -> None:
    rig = Rig()
    with pytest.raises(RuntimeError):
        rig.h3.send_request(GET)
    with pytest.raises(RuntimeError):
        rig.h3.extend(rig.h3)  # type: ignore[arg-type]


def test_a_second_goaway_that_says_nothing_new() -> None:
    rig = Rig()
    rig.h3.goaway()
    before = rig.peer.unread(3)
    rig.h3.goaway()
    assert rig.peer.unread(3) == before


def test_a_late_priority_update_is_dropped() -> None:
    rig = Rig()
    control = rig.control()
    stream = rig.request(HEAD, fin=True)
    rig.h3.send_headers(stream, OK, True)
    rig.write(control, encode_frame(FrameType.PRIORITY_UPDATE_REQUEST, b"\x00u=6"))
    assert not rig.h3._priorities and stream not in rig.quic.priorities


def test_no_more_streams() -> None:
    duo = Duo(limit=3)
    duo.run()
    for _ in range(3):
        duo.client.send_request(GET)
    with pytest.raises(StreamLimitError):
        duo.client.send_request(GET)


# -- anything at all ------------------------------------------------------------------------------

STARTS = [
    b"",
    HEAD,
    HEAD + data_frame(b"x"),
    EMPTY_SETTINGS,
    b"\x02",
    b"\x03",
    b"\x54",
    b"\x21",
    b"\x40\x41\x00",
]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from(STARTS), st.binary(max_size=60), st.sampled_from("-fr")
        ),
        max_size=8,
    ),
    st.booleans(),
    st.lists(st.binary(max_size=20), max_size=3),
)
def test_random_bytes_never_raise(
    streams: list[tuple[bool, bytes, bytes, str]], is_client: bool, datagrams: list[bytes]
) -> None:
    rig = Rig(is_client=is_client)
    for bidirectional, start, data, end in streams:
        stream = rig.peer.open_stream(bidirectional)
        assert stream is not None
        rig.peer.stream_send(stream, start + data, end == "f")
        rig.poll()
        if end == "r":
            rig.peer.stream_shutdown(stream, 1, 0x10C)
            rig.poll()
    for datagram in datagrams:
        rig.peer.dgram_send(datagram)
    for event in rig.poll():
        if isinstance(event, DataReceived):
            try:
                rig.h3.read_data(event.stream_id)
            except StreamReset:
                pass
    for request in rig.h3._requests.values():
        if request.reader is not None:
            assert len(request.reader._frames.buffer) < 5000


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(1, 300))
def test_random_bytes_after_the_response(data: bytes, step: int) -> None:
    rig = Rig(is_client=True)
    rig.control()
    stream = rig.h3.send_request(GET)
    for i in range(0, len(data), step):
        rig.peer.stream_send(stream, data[i : i + step], i + step >= len(data))
        rig.poll()
        try:
            rig.h3.read_data(stream)
        except StreamReset:
            pass
