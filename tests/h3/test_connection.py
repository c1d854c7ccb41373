"""One HTTP/3 connection: streams, settings, requests both ways (RFC 9114)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwt._core.wire import varint
from cwt.config import Http3Config
from cwt.errors import (
    BufferFull,
    ConnectError,
    DatagramTooLarge,
    H3ErrorCode,
    StreamLimitError,
    StreamReset,
    StreamStopped,
)
from cwt.h3 import (
    DatagramReceived,
    DataReceived,
    GoawayReceived,
    RequestReceived,
    RequestReset,
    ResponseReceived,
    SettingsReceived,
    StreamWritable,
    TrailersReceived,
)
from cwt.h3.frames import FrameType, encode_frame, frame_header
from cwt.h3.request import _just_too_much
from cwt.h3.settings import Setting, parse_settings
from tests.h3.support import EMPTY_SETTINGS, GET, Duo, Rig, data_frame, frames, headers_frame

HEAD = headers_frame(GET)
OK = [(b":status", b"200")]


# -- streams of the connection ----------------------------------------------------------------


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


def test_critical_streams_wait_for_credit() -> None:
    rig = Rig(limit=1)
    assert rig.h3.is_started
    assert 7 not in rig.peer.incoming
    rig.peer.limit = 3
    rig.poll()
    assert rig.peer.unread(7) == b"\x02"
    assert rig.peer.unread(11) == b"\x03"


@pytest.mark.parametrize("kind", [0, 2, 3])
def test_a_second_critical_stream(kind: int) -> None:
    rig = Rig()
    start = EMPTY_SETTINGS if kind == 0 else bytes((kind,))
    rig.control(start)
    assert rig.error is None
    rig.control(start)
    assert rig.error == H3ErrorCode.STREAM_CREATION_ERROR


@pytest.mark.parametrize("kind", [0, 2, 3])
@pytest.mark.parametrize("how", ["fin", "fin at once", "reset"])
def test_the_peer_closes_a_critical_stream(kind: int, how: str) -> None:
    rig = Rig()
    start = EMPTY_SETTINGS if kind == 0 else bytes((kind,))
    if how == "fin at once":
        rig.peer.raw_open(start, True)
    else:
        stream = rig.control(start)
        if how == "fin":
            rig.peer.stream_send(stream, b"", True)
        else:
            rig.peer.stream_shutdown(stream, 1, 0)
    rig.poll()
    assert rig.error == H3ErrorCode.CLOSED_CRITICAL_STREAM


@pytest.mark.parametrize("stream", [3, 7, 11])
def test_the_peer_stops_a_critical_stream(stream: int) -> None:
    rig = Rig()
    rig.peer.stream_shutdown(stream, 0, 0)
    rig.poll()
    assert rig.error == H3ErrorCode.CLOSED_CRITICAL_STREAM


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


def test_instructions_that_the_peer_does_not_read_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Section acknowledgments for a decoder stream without credit."""
    monkeypatch.setattr("cwt.h3.streams.MAX_PENDING", 1000)
    config = Http3Config(qpack_max_table_capacity=220, qpack_blocked_streams=1)
    rig = Rig(config, window=100_000, limit=10**6)
    rig.control()
    rig.control(b"\x02" + bytes.fromhex("3fbd01c00f7777772e6578616d706c652e636f6d"))
    rig.peer.window = 0
    block = encode_frame(FrameType.HEADERS, bytes.fromhex("0200d1d7c1") + b"\x80")
    for _ in range(2000):
        stream = rig.peer.open_stream(True)
        assert stream is not None
        rig.peer.stream_send(stream, block)
        rig.poll()
        rig.events.clear()
        rig.h3.reset(stream)
        if rig.error is not None:
            break
    assert rig.error == H3ErrorCode.EXCESSIVE_LOAD


# -- requests and responses -------------------------------------------------------------------


def test_a_request_and_its_response() -> None:
    duo = Duo()
    stream = duo.client.send_request([(b":method", b"POST"), *GET[1:], (b"a", b"b")])
    assert duo.client.send_data(stream, b"question", True) == 8
    duo.run()
    (request,) = duo.server_saw(RequestReceived)
    assert request.headers[-1] == (b"a", b"b")
    assert duo.server.read_data(stream) == (b"question", True)
    duo.server.send_headers(stream, [(":status", "103"), ("link", "x")])
    duo.server.send_headers(stream, [(":status", "200"), ("X", "y")])
    assert duo.server.send_data(stream, b"answer") == 6
    duo.server.send_headers(stream, [("trailer", "t")])
    duo.run()
    (response,) = duo.client_saw(ResponseReceived)
    assert (response.status, response.headers[-1]) == (200, (b"x", b"y"))
    assert duo.client.read_data(stream) == (b"answer", True)
    duo.run()
    assert duo.client_saw(TrailersReceived) == [TrailersReceived(stream, [(b"trailer", b"t")])]
    assert duo.client.requests == duo.server.requests == 0


@pytest.mark.parametrize("options", [{"window": 10}, {"window": 100}, {"max_write": 3}])
def test_large_content_through_small_windows(options: dict[str, int]) -> None:
    duo = Duo(**options)
    for _ in range(50):
        duo.run()
    content = bytes(range(256)) * 20
    stream = duo.client.send_request([(b":method", b"PUT"), *GET[1:]])
    sent, received, ended = 0, b"", False
    for _ in range(20_000):
        if sent < len(content):
            sent += duo.client.send_data(stream, content[sent:], True)
        duo.run()
        while (got := duo.server.read_data(stream)) is not None:
            received += got[0]
            ended = got[1]
        if ended:
            break
    assert received == content
    assert ended
    duo.server.send_headers(stream, OK, True)
    for _ in range(20):
        duo.run()
    assert duo.client_saw(ResponseReceived)
    assert duo.client.requests == duo.server.requests == 0
    assert duo.client_quic.closed_with is None and duo.server_quic.closed_with is None


def test_send_data_waits_for_a_writable_event() -> None:
    duo = Duo(window=1000)
    duo.run()
    stream = duo.client.send_request([(b":method", b"PUT"), *GET[1:]])
    taken = duo.client.send_data(stream, bytes(5000))
    assert 0 < taken < 1000
    assert duo.client.send_data(stream, bytes(5000)) == 0
    assert not duo.client_saw(StreamWritable)
    duo.run()
    while duo.server.read_data(stream) is not None:
        pass
    duo.run()
    assert StreamWritable(stream) in duo.client_saw(StreamWritable)
    assert duo.client.send_data(stream, bytes(5000)) > 0


def test_a_frame_that_does_not_fit_is_just_too_long() -> None:
    for capacity in (*range(20_000), *range((1 << 30) - 10, (1 << 30) + 30)):
        size = _just_too_much(capacity)
        assert capacity < len(frame_header(FrameType.DATA, size)) + size <= capacity + 5


def test_the_end_is_taken_even_while_header_fields_wait() -> None:
    duo = Duo(window=3)
    stream = duo.client.send_request(GET)
    assert duo.client.send_data(stream, b"", True) == 0
    for _ in range(50):
        duo.run()
    assert duo.server_saw(RequestReceived)


def test_stopped_by_the_peer() -> None:
    duo = Duo()
    stream = duo.client.send_request([(b":method", b"PUT"), *GET[1:]])
    duo.run()
    duo.server.stop(stream, H3ErrorCode.NO_ERROR)
    duo.server.send_headers(stream, OK, True)
    duo.run()
    assert duo.client_saw(StreamWritable) == [StreamWritable(stream)]
    assert duo.client.is_stopped(stream) or duo.client.requests == 0
    with pytest.raises(StreamStopped):
        duo.client.send_data(stream, b"x")
    assert duo.client_saw(ResponseReceived)
    assert duo.client.requests == duo.server.requests == 0


def test_reset_by_us() -> None:
    duo = Duo()
    stream = duo.client.send_request([(b":method", b"PUT"), *GET[1:]])
    duo.run()
    duo.client.reset(stream)
    assert duo.client.requests == 0
    duo.run()
    assert duo.server_saw(RequestReset) == [
        RequestReset(stream, H3ErrorCode.REQUEST_CANCELLED, True)
    ]
    duo.server.reset(stream)
    assert duo.server.requests == 0
    assert duo.server.read_data(stream) is None
    with pytest.raises(StreamStopped):
        duo.server.send_data(stream, b"x")
    duo.server.send_headers(stream, OK)  # nothing happens


def test_discarded_content_opens_the_window() -> None:
    rig = Rig(window=10_000)
    stream = rig.request(HEAD + b"\x00" + varint.encode(10**6))
    rig.h3.discard(stream)
    for _ in range(20):
        rig.write(stream, bytes(5000))
    assert not rig.quic.unread(stream)
    rig.write(stream, b"", True)
    rig.h3.send_headers(stream, OK, True)
    assert rig.h3.requests == 0


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_discarding_ends_with_the_message(how: str) -> None:
    rig = Rig()
    stream = rig.request(HEAD + data_frame(b"abc"))
    rig.h3.send_headers(stream, OK, True)
    rig.h3.discard(stream)
    rig.h3.discard(stream)
    assert rig.h3.requests == 1
    rig.peer.stream_send(stream, b"x")
    if how == "fin":
        rig.peer.stream_send(stream, b"", True)
    else:
        rig.peer.stream_shutdown(stream, 1, 0x10C)
    rig.poll()
    assert rig.h3.requests == 0
    rig.h3.discard(stream)


def test_writing_to_a_stopped_request() -> None:
    for verb in ("headers", "data", "whole", "nothing"):
        rig = Rig()
        stream = rig.request(HEAD)
        if verb in ("data", "whole"):
            rig.h3.send_headers(stream, OK)
        rig.peer.stream_shutdown(stream, 0, 0x10C)
        if verb == "headers":
            rig.h3.send_headers(stream, OK)
        elif verb == "whole":
            rig.h3.send_whole(stream, b"x")
        elif verb == "data":
            with pytest.raises(StreamStopped) as stopped:
                rig.h3.send_data(stream, b"x")
            assert stopped.value.code == 0x10C
        rig.poll()
        assert rig.h3.is_stopped(stream)
        rig.h3.send_whole(stream, b"x", True)
        with pytest.raises(StreamStopped):
            rig.h3.send_data(stream, b"x")
        assert rig.saw(StreamWritable) == ([StreamWritable(stream)] if verb == "nothing" else [])


def test_stopped_while_header_fields_wait() -> None:
    rig = Rig()
    stream = rig.request(HEAD, fin=True)
    rig.peer.window = 0
    rig.h3.send_headers(stream, OK, True)
    assert rig.h3.requests == 1
    assert not rig.h3.is_flushed(stream)
    rig.peer.stream_shutdown(stream, 0, 0x10C)
    rig.poll()
    assert rig.h3.requests == 0
    assert rig.h3.is_flushed(stream)


def test_misuse() -> None:
    rig = Rig()
    with pytest.raises(RuntimeError):
        rig.h3.send_request(GET)
    with pytest.raises(RuntimeError):
        rig.h3.extend(rig.h3)  # type: ignore[arg-type]


def test_settings_before_our_encoder_stream_is_open() -> None:
    config = Http3Config(qpack_max_table_capacity=4096, qpack_blocked_streams=16)
    rig = Rig(config, limit=1)
    rig.peer.peer.limit = 10
    rig.control(b"\x00\x04\x05\x01\x50\x00\x07\x10")
    rig.peer.limit = 3
    rig.poll()
    assert rig.peer.unread(7) == b"\x02\x3f\xe1\x1f"


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


@pytest.mark.parametrize(
    "lines",
    [
        [(":method", "GET")],
        [*GET, (b"a", b"b\r\nc: d")],
        [*GET, (b":path", b"/")],
        [(b"a", b"b"), *GET],
        [*GET, (b"upgrade", b"h2c")],
    ],
)
def test_requests_that_must_not_be_sent(lines: list[tuple[bytes, bytes]]) -> None:
    duo = Duo()
    duo.run()
    with pytest.raises(ValueError):
        duo.client.send_request(lines)
    assert duo.client_quic.opened[True] == 0


def test_responses_that_must_not_be_sent() -> None:
    duo = Duo()
    stream = duo.client.send_request(GET)
    duo.run()
    for lines in ([], [(b"a", b"b")], [(b":status", b"20")], [*OK, (b"a", b"\n")]):
        with pytest.raises(ValueError):
            duo.server.send_headers(stream, lines)
    with pytest.raises(RuntimeError):
        duo.server.send_data(stream, b"x")


def test_the_peers_limit_on_field_sections() -> None:
    rig = Rig(is_client=True)
    rig.control(b"\x00\x04\x03\x06" + varint.encode(200))
    rig.h3.send_request(GET)
    with pytest.raises(ValueError):
        rig.h3.send_request([*GET, (b"a", b"b" * 100)])


def test_no_setting_of_a_client_makes_a_response_fail() -> None:
    rig = Rig()
    rig.control(b"\x00\x04\x02\x06\x00")
    stream = rig.request(HEAD, fin=True)
    rig.h3.send_headers(stream, OK, True)
    assert frames(rig.peer.unread(stream))


def test_field_sections_for_a_peer_that_does_not_read_are_bounded() -> None:
    rig = Rig()
    stream = rig.request(HEAD)
    rig.peer.window = 0
    with pytest.raises(BufferFull):
        for _ in range(100):
            rig.h3.send_headers(stream, [(b":status", b"103"), (b"a", b"~" * 10_000)])


# -- GOAWAY, priorities, datagrams ------------------------------------------------------------


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


# -- anything at all --------------------------------------------------------------------------

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
