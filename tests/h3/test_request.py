"""What is sent on request streams, and their end (RFC 9114 Section 4.1)."""

from __future__ import annotations

import pytest

from cwt._core.wire import varint
from cwt.errors import (
    BufferFull,
    H3ErrorCode,
    StreamStopped,
)
from cwt.h3 import (
    RequestReceived,
    RequestReset,
    ResponseReceived,
    StreamWritable,
    TrailersReceived,
)
from cwt.h3.frames import FrameType, frame_header
from cwt.h3.request import _just_too_much
from tests.h3.support import GET, Duo, Rig, data_frame, frames, headers_frame

HEAD = headers_frame(GET)
OK = [(b":status", b"200")]


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
