"""What arrives on a request stream (RFC 9114 Section 4.1)."""

from __future__ import annotations

import contextlib

import pytest

from cwt._core.wire import varint
from cwt.config import Http3Config
from cwt.errors import H3ErrorCode, StreamReset
from cwt.h3 import (
    DataReceived,
    InformationalReceived,
    RequestReceived,
    RequestReset,
    ResponseReceived,
    TrailersReceived,
)
from cwt.h3.frames import FrameType, encode_frame
from tests.h3.support import (
    EMPTY_SETTINGS,
    GET,
    Rig,
    data_frame,
    headers_frame,
)

HEAD = headers_frame(GET)
OK = [(b":status", b"200")]


def read_all(rig: Rig, stream: int, size: int = 65536) -> tuple[bytes, bool]:
    content, ended = b"", False
    while (got := rig.h3.read_data(stream, size)) is not None:
        content += got[0]
        ended = got[1]
    return content, ended


def test_a_request_without_content() -> None:
    rig = Rig()
    rig.request(HEAD, fin=True)
    assert rig.events == [RequestReceived(0, GET, ended=True)]


def test_the_end_may_come_later() -> None:
    rig = Rig()
    stream = rig.request(HEAD)
    assert rig.events == [RequestReceived(0, GET, ended=False)]
    rig.write(stream, b"", fin=True)
    assert rig.events[1:] == [DataReceived(0)]
    assert rig.h3.read_data(stream) == (b"", True)
    assert rig.h3.read_data(stream) is None


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("size", [1, 4, 65536])
def test_content_in_any_pieces(step: int, size: int) -> None:
    rig = Rig()
    trailers = headers_frame([(b"x", b"y")])
    data = (
        HEAD + data_frame(b"abc") + b"\x00\x00" + b"\x21\x05xxxxx" + data_frame(b"defgh") + trailers
    )
    stream = rig.peer.open_stream(True)
    assert stream is not None
    content, ended = b"", False
    for i in range(0, len(data), step):
        rig.write(stream, data[i : i + step], fin=i + step >= len(data))
        if rig.saw(RequestReceived):
            more, ended = read_all(rig, stream, size)
            content += more
            rig.poll()
    assert (content, ended) == (b"abcdefgh", True)
    assert rig.saw(TrailersReceived) == [TrailersReceived(stream, [(b"x", b"y")])]
    assert rig.error is None


def test_content_stays_in_quic_until_it_is_read() -> None:
    rig = Rig(window=20_000)
    stream = rig.request(HEAD + frame_start(100_000))
    written = 0
    while (taken := rig.peer.stream_send(stream, bytes(5000))) > 0:
        written += taken
        rig.poll()
    assert 20_000 <= written <= 20_000 + 4096
    assert len(rig.quic.unread(stream)) == 20_000
    assert read_all(rig, stream) == (bytes(written), False)
    assert rig.peer.writable() == [stream]


def frame_start(length: int) -> bytes:
    return b"\x00" + varint.encode(length)


def test_content_read_in_small_pieces_keeps_the_window_shut() -> None:
    rig = Rig(window=10_000)
    stream = rig.request(HEAD + frame_start(50_000))
    rig.peer.stream_send(stream, bytes(50_000))
    rig.poll()
    before = len(rig.quic.unread(stream))
    for _ in range(10):
        assert rig.h3.read_data(stream, 100) is not None
    assert before - len(rig.quic.unread(stream)) <= 4096


@pytest.mark.parametrize(
    "frame",
    [
        *(bytes((kind, 0)) for kind in (0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0D)),
        encode_frame(FrameType.PRIORITY_UPDATE_REQUEST, b""),
    ],
)
@pytest.mark.parametrize("start", [b"", HEAD, HEAD + data_frame(b"x")])
def test_frames_that_do_not_belong_here(frame: bytes, start: bytes) -> None:
    rig = Rig()
    stream = rig.request(start + frame)
    if start:
        read_all(rig, stream)
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


@pytest.mark.parametrize("frame", [HEAD, data_frame(b"x")])
def test_nothing_follows_trailers(frame: bytes) -> None:
    rig = Rig()
    rig.request(HEAD + headers_frame([(b"x", b"y")]) + frame)
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


def test_empty_trailers() -> None:
    rig = Rig()
    rig.request(HEAD + encode_frame(FrameType.HEADERS, b"\0\0"), fin=True)
    assert rig.saw(TrailersReceived) == [TrailersReceived(0, [])]


@pytest.mark.parametrize(
    "data",
    [
        HEAD[:-1],
        HEAD + b"\x00",
        HEAD + b"\x00\x05abc",
        HEAD + b"\x21\x05",
        b"\x40",
        HEAD + b"\x00\x05",
    ],
)
def test_the_end_inside_a_frame(data: bytes) -> None:
    rig = Rig()
    stream = rig.request(data, fin=True)
    if data == b"\x40":  # not even a type
        assert rig.quic.sent_reset(stream) == H3ErrorCode.REQUEST_INCOMPLETE
        return
    read_all(rig, stream)
    assert rig.error == H3ErrorCode.FRAME_ERROR


def test_the_end_before_any_request() -> None:
    rig = Rig()
    for data in (b"", b"\x21\x00"):
        stream = rig.request(data, fin=True)
        assert rig.quic.sent_reset(stream) == H3ErrorCode.REQUEST_INCOMPLETE
    assert rig.error is None
    assert rig.h3.requests == 0


def with_length(length: int) -> bytes:
    return headers_frame([*GET, (b"content-length", b"%d" % length)])


@pytest.mark.parametrize(
    ("length", "rest", "fin"),
    [(5, b"", True), (5, data_frame(b"abc"), True), (5, data_frame(b"abc") * 2, False)],
)
def test_content_that_does_not_match_its_length(length: int, rest: bytes, fin: bool) -> None:
    rig = Rig()
    stream = rig.request(with_length(length) + rest, fin)
    with contextlib.suppress(StreamReset):
        read_all(rig, stream)
    assert rig.quic.sent_reset(stream) == H3ErrorCode.MESSAGE_ERROR
    rig.poll()
    (event,) = rig.saw(RequestReset)
    assert (event.code, event.remote) == (H3ErrorCode.MESSAGE_ERROR, False)
    assert rig.error is None


def test_more_content_than_declared_is_refused_by_the_frame_length() -> None:
    rig = Rig()
    stream = rig.request(with_length(5) + frame_start((1 << 62) - 1))
    assert rig.stream_error(stream) == H3ErrorCode.MESSAGE_ERROR


def test_content_that_matches() -> None:
    rig = Rig()
    stream = rig.request(with_length(6) + data_frame(b"abc") * 2, fin=True)
    assert read_all(rig, stream) == (b"abcabc", True)


def test_a_field_section_is_bounded_before_it_is_buffered() -> None:
    rig = Rig(Http3Config(max_field_section_size=2000))
    stream = rig.request(b"\x01" + varint.encode((1 << 62) - 1) + bytes(100))
    assert rig.stream_error(stream) == H3ErrorCode.EXCESSIVE_LOAD
    stream = rig.request(HEAD + b"\x01" + varint.encode(2001))
    assert rig.stream_error(stream) == H3ErrorCode.EXCESSIVE_LOAD
    (event,) = rig.saw(RequestReset)
    assert event.stream_id == stream
    stream = rig.request(headers_frame([*GET, (b"a", b"b" * 1900)]))
    assert rig.stream_error(stream) == H3ErrorCode.EXCESSIVE_LOAD
    assert rig.error is None
    assert rig.h3.requests == 0


def test_too_many_lines_in_headers_and_trailers() -> None:
    many = [(b"a", b"b")] * 129
    for data in (headers_frame([*GET, *many]), HEAD + headers_frame(many)):
        rig = Rig()
        assert rig.stream_error(rig.request(data)) == H3ErrorCode.EXCESSIVE_LOAD


def test_the_peers_reset() -> None:
    rig = Rig()
    stream = rig.request(HEAD + data_frame(b"abc"))
    rig.peer.stream_shutdown(stream, 1, H3ErrorCode.REQUEST_CANCELLED)
    rig.poll()
    with pytest.raises(StreamReset) as reset:
        while rig.h3.read_data(stream) is not None:
            pass
    assert reset.value.code == H3ErrorCode.REQUEST_CANCELLED
    rig.poll()
    assert rig.saw(RequestReset) == [RequestReset(stream, H3ErrorCode.REQUEST_CANCELLED, True)]
    rig.h3.reset(stream)
    assert rig.h3.requests == 0


def test_a_reset_before_the_request_is_known_leaves_nothing() -> None:
    rig = Rig()
    stream = rig.request(HEAD[:-1])
    rig.peer.stream_shutdown(stream, 1, H3ErrorCode.REQUEST_CANCELLED)
    rig.poll()
    assert not rig.events
    assert rig.h3.requests == 0
    assert rig.quic.sent_reset(stream) == H3ErrorCode.REQUEST_CANCELLED


# -- responses --------------------------------------------------------------------------------


def client(method: bytes = b"GET", **options: int) -> tuple[Rig, int]:
    rig = Rig(is_client=True, **options)
    rig.control(EMPTY_SETTINGS)
    stream = rig.h3.send_request([(b":method", method), *GET[1:]], fin=method != b"CONNECT")
    return rig, stream


def respond(rig: Rig, stream: int, data: bytes, fin: bool = False) -> None:
    rig.write(stream, data, fin)


def test_a_response_after_informational_ones() -> None:
    rig, stream = client()
    early = [(b":status", b"103"), (b"link", b"</a>")]
    respond(rig, stream, headers_frame(early) + headers_frame(OK) + data_frame(b"abc"), True)
    assert rig.saw(InformationalReceived) == [InformationalReceived(stream, 103, early)]
    assert rig.saw(ResponseReceived) == [ResponseReceived(stream, 200, OK, False)]
    assert read_all(rig, stream) == (b"abc", True)


def test_too_many_informational_responses() -> None:
    rig, stream = client()
    respond(rig, stream, headers_frame([(b":status", b"103")]) * 17)
    assert rig.quic.sent_stop(stream) == H3ErrorCode.EXCESSIVE_LOAD
    assert rig.error is None


@pytest.mark.parametrize("last", [b"", headers_frame([(b":status", b"103")])])
def test_the_end_without_a_response(last: bytes) -> None:
    rig, stream = client()
    respond(rig, stream, last, True)
    (event,) = rig.saw(RequestReset)
    assert event.code == H3ErrorCode.MESSAGE_ERROR


def test_data_before_the_final_response() -> None:
    rig, stream = client()
    respond(rig, stream, headers_frame([(b":status", b"103")]) + data_frame(b"x"))
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", b"200"), (b"GET", b"304"), (b"GET", b"204")]
)
def test_responses_that_never_have_content(method: bytes, status: bytes) -> None:
    lines = [(b":status", status), (b"content-length", b"10")]
    rig, stream = client(method)
    respond(rig, stream, headers_frame(lines), True)
    assert rig.saw(ResponseReceived) == [ResponseReceived(stream, int(status), lines, True)]
    rig, stream = client(method)
    respond(rig, stream, headers_frame(lines) + data_frame(b"0123456789"))
    (event,) = rig.saw(RequestReset)
    assert event.code == H3ErrorCode.MESSAGE_ERROR


def test_a_push_promise_that_we_did_not_allow() -> None:
    rig, stream = client()
    respond(rig, stream, headers_frame(OK) + b"\x05\x00")
    assert rig.error == H3ErrorCode.ID_ERROR


def test_a_tunnel_carries_only_data() -> None:
    rig = Rig(is_client=True)
    rig.control(EMPTY_SETTINGS)
    stream = rig.h3.send_request([(b":method", b"CONNECT"), (b":authority", b"a:1")])
    respond(rig, stream, headers_frame([*OK, (b"content-length", b"1")]) + data_frame(b"abc"))
    assert read_all(rig, stream) == (b"abc", False)
    respond(rig, stream, headers_frame([(b"x", b"y")]))
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


# -- blocked field sections -------------------------------------------------------------------

DYNAMIC = Http3Config(qpack_max_table_capacity=220, qpack_blocked_streams=1)
INSERTS = bytes.fromhex("3fbd01c00f7777772e6578616d706c652e636f6dc10c2f73616d706c652f70617468")


def test_a_blocked_request_waits_and_reads_no_further() -> None:
    rig = Rig(DYNAMIC, window=10_000)
    rig.control()
    # :method GET and :scheme https from the static table, authority and path from the dynamic one
    blocked = encode_frame(FrameType.HEADERS, bytes.fromhex("0381d1d71011"))
    stream = rig.request(blocked + data_frame(bytes(9000)))
    assert not rig.events[1:]
    assert len(rig.quic.unread(stream)) >= 9000 - 4096
    rig.control(b"\x02" + INSERTS)
    (request,) = rig.saw(RequestReceived)
    assert dict(request.headers)[b":path"] == b"/sample/path"
    assert read_all(rig, stream) == (bytes(9000), False)
    decoder_stream = rig.peer.incoming[11].data
    assert bytes(decoder_stream) == b"\x03\x80"  # section acknowledgment of stream 0


def test_a_blocked_request_that_is_reset_frees_its_place() -> None:
    rig = Rig(DYNAMIC)
    rig.control()
    blocked = encode_frame(FrameType.HEADERS, bytes.fromhex("0381d1d71011"))
    stream = rig.request(blocked)
    rig.peer.stream_shutdown(stream, 1, 0x10C)
    rig.poll()
    rig.request(blocked)
    assert rig.error is None
    rig.request(blocked)
    assert rig.error == H3ErrorCode.QPACK_DECOMPRESSION_FAILED


def test_a_blocked_request_that_turns_out_malformed() -> None:
    rig = Rig(DYNAMIC)
    rig.control()
    blocked = encode_frame(FrameType.HEADERS, bytes.fromhex("03811011"))  # no :method
    stream = rig.request(blocked)
    rig.control(b"\x02" + INSERTS)
    assert rig.stream_error(stream) == H3ErrorCode.MESSAGE_ERROR
    assert rig.error is None


def test_a_reset_found_when_a_blocked_request_goes_on() -> None:
    rig = Rig(DYNAMIC)
    rig.control()
    blocked = encode_frame(FrameType.HEADERS, bytes.fromhex("0381d1d71011"))
    stream = rig.peer.raw_open(blocked, bidirectional=True)
    rig.poll()
    encoder = rig.peer.raw_open(b"\x02" + INSERTS)
    rig.peer.stream_shutdown(stream, 1, 0x10C)
    rig.h3.stream_readable(encoder)  # before the news of the reset
    rig.poll()
    assert rig.saw(RequestReset) == [RequestReset(stream, 0x10C, True)]
    rig.h3.reset(stream)
    assert rig.h3.requests == 0


def test_a_blocked_request_given_up_by_us() -> None:
    rig = Rig(DYNAMIC)
    rig.control()
    blocked = encode_frame(FrameType.HEADERS, bytes.fromhex("0381d1d71011"))
    stream = rig.request(blocked)
    rig.h3.reset(stream)
    rig.control(b"\x02" + INSERTS)
    assert not rig.saw(RequestReceived)
    assert rig.error is None
    assert bytes(rig.peer.incoming[11].data) == b"\x03\x40"  # cancelled


def test_the_end_inside_content_that_is_read() -> None:
    rig = Rig()
    stream = rig.request(HEAD + frame_start(10))
    rig.peer.stream_send(stream, b"abc", True)
    assert rig.h3.read_data(stream) is None
    assert rig.error == H3ErrorCode.FRAME_ERROR
    assert rig.h3.read_data(stream) is None
