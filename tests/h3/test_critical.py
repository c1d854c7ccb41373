"""The control and QPACK streams, ours and the peer's (RFC 9114 Section 6.2.1, RFC 9204 Section 4.2)."""

from __future__ import annotations

import pytest

from cwt.config import Http3Config
from cwt.errors import (
    H3ErrorCode,
)
from cwt.h3.frames import FrameType, encode_frame
from tests.h3.support import EMPTY_SETTINGS, GET, Rig, headers_frame

HEAD = headers_frame(GET)
OK = [(b":status", b"200")]


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


def test_settings_before_our_encoder_stream_is_open() -> None:
    config = Http3Config(qpack_max_table_capacity=4096, qpack_blocked_streams=16)
    rig = Rig(config, limit=1)
    rig.peer.peer.limit = 10
    rig.control(b"\x00\x04\x05\x01\x50\x00\x07\x10")
    rig.peer.limit = 3
    rig.poll()
    assert rig.peer.unread(7) == b"\x02\x3f\xe1\x1f"
