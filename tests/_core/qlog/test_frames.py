from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.qlog.frames import describe
from cwt._core.wire import varint
from cwt.qlog import Log, check
from cwt.qlog.reading import Event

v = varint.encode


def checked(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*frames*, which keep to the schema."""
    data = {"header": {"packet_type": "1RTT"}, "frames": frames}
    trace = {"event_schemas": ["urn:ietf:params:qlog:events:quic-13"]}
    header = {
        "file_schema": "urn:ietf:params:qlog:file:sequential",
        "serialization_format": "application/qlog+json-seq",
    }
    event = Event(0, "quic:packet_sent", data, {})
    assert check(Log(Path(), header, trace, [event]), strict=True) == []
    return frames


@pytest.mark.parametrize(
    ("payload", "frame"),
    [
        (bytes(7), {"frame_type": "padding", "raw": {"length": 7}}),
        (b"\x01", {"frame_type": "ping"}),
        (
            # 10, 9; 5 is missing with 8, 7, 6; 4
            b"\x02" + v(10) + v(100) + v(1) + v(1) + v(3) + v(0),
            {"frame_type": "ack", "ack_delay": 0.8, "acked_ranges": [[9, 10], [4]]},
        ),
        (
            b"\x03" + v(0) + v(0) + v(0) + v(0) + v(7) + v(8) + v(9),
            {
                "frame_type": "ack",
                "ack_delay": 0,
                "acked_ranges": [[0]],
                "ect0": 7,
                "ect1": 8,
                "ce": 9,
            },
        ),
        (
            b"\x04" + v(4) + v(0x10C) + v(99),
            {
                "frame_type": "reset_stream",
                "stream_id": 4,
                "error": "http_request_cancelled",
                "final_size": 99,
            },
        ),
        (
            b"\x24" + v(4) + v(77) + v(99) + v(50),
            {
                "frame_type": "reset_stream_at",
                "stream_id": 4,
                "error": "unknown",
                "error_code": 77,
                "final_size": 99,
                "reliable_size": 50,
            },
        ),
        (
            b"\x05" + v(4) + v(0x10E),
            {"frame_type": "stop_sending", "stream_id": 4, "error": "unknown", "error_code": 0x10E},
        ),
        (
            b"\x06" + v(5) + v(3) + b"abc",
            {"frame_type": "crypto", "offset": 5, "raw": {"length": 6, "payload_length": 3}},
        ),
        (
            b"\x07" + v(3) + b"abc",
            {"frame_type": "new_token", "token": {"type": "resumption", "raw": {"length": 3}}},
        ),
        (
            b"\x0f" + v(4) + v(100) + v(2) + b"ab",
            {
                "frame_type": "stream",
                "stream_id": 4,
                "offset": 100,
                "fin": True,
                "raw": {"length": 7, "payload_length": 2},
            },
        ),
        (b"\x10" + v(9), {"frame_type": "max_data", "maximum": 9}),
        (b"\x11" + v(4) + v(9), {"frame_type": "max_stream_data", "stream_id": 4, "maximum": 9}),
        (
            b"\x12" + v(9),
            {"frame_type": "max_streams", "stream_type": "bidirectional", "maximum": 9},
        ),
        (
            b"\x13" + v(9),
            {"frame_type": "max_streams", "stream_type": "unidirectional", "maximum": 9},
        ),
        (b"\x14" + v(9), {"frame_type": "data_blocked", "limit": 9}),
        (b"\x15" + v(4) + v(9), {"frame_type": "stream_data_blocked", "stream_id": 4, "limit": 9}),
        (
            b"\x16" + v(9),
            {"frame_type": "streams_blocked", "stream_type": "bidirectional", "limit": 9},
        ),
        (
            b"\x17" + v(9),
            {"frame_type": "streams_blocked", "stream_type": "unidirectional", "limit": 9},
        ),
        (
            b"\x18" + v(2) + v(1) + b"\x04abcd" + bytes(16),
            {
                "frame_type": "new_connection_id",
                "sequence_number": 2,
                "retire_prior_to": 1,
                "connection_id_length": 4,
                "connection_id": "61626364",
            },
        ),
        (b"\x19" + v(2), {"frame_type": "retire_connection_id", "sequence_number": 2}),
        (b"\x1aabcdefgh", {"frame_type": "path_challenge", "data": "6162636465666768"}),
        (b"\x1babcdefgh", {"frame_type": "path_response", "data": "6162636465666768"}),
        (
            b"\x1c" + v(0x128) + v(6) + v(4) + b'no"\x1e',
            {
                "frame_type": "connection_close",
                "error_space": "transport",
                "error": "crypto_error_0x128",
                "reason": 'no"\x1e',
                "trigger_frame_type": 6,
            },
        ),
        (
            b"\x1c" + v(0x0A) + v(0) + v(1) + b"\xff",
            {
                "frame_type": "connection_close",
                "error_space": "transport",
                "error": "protocol_violation",
                "reason": "\ufffd",
            },
        ),
        (
            b"\x1d" + v(0x100) + v(0),
            {
                "frame_type": "connection_close",
                "error_space": "application",
                "error": "http_no_error",
            },
        ),
        (b"\x1e", {"frame_type": "handshake_done"}),
        (b"\x1f", {"frame_type": "immediate_ack"}),
        (
            b"\x31" + v(2) + b"ab",
            {"frame_type": "datagram", "raw": {"length": 4, "payload_length": 2}},
        ),
        (
            v(0xAF) + v(1) + v(2) + v(3000) + v(4),
            {
                "frame_type": "ack_frequency",
                "sequence_number": 1,
                "ack_eliciting_threshold": 2,
                "requested_max_ack_delay": 3,
                "reordering_threshold": 4,
            },
        ),
        (
            v(0x1234) + b"rest",
            {"frame_type": "unknown", "frame_type_bytes": 0x1234, "raw": {"length": 6}},
        ),
        (b"\x06\x40", {"frame_type": "unknown", "frame_type_bytes": 6, "raw": {"length": 2}}),
    ],
)
def test_each_frame(payload: bytes, frame: dict[str, Any]) -> None:
    assert checked(describe(payload, http3=True)) == [frame]


def test_the_exponent_counts() -> None:
    payload = b"\x02" + v(0) + v(100) + v(0) + v(0)
    assert describe(payload, 0)[0]["ack_delay"] == 0.1
    assert describe(payload, 10)[0]["ack_delay"] == 102.4


def test_a_flood_is_cut() -> None:
    assert len(describe(b"\x01" * 60_000)) == 512
    ack = b"\x02" + v(100_000) + v(0) + v(20_000) + v(0) + (v(0) + v(0)) * 20_000
    (frame,) = describe(ack)
    assert len(frame["acked_ranges"]) == 256
    close = b"\x1d" + v(1) + v(5000) + b"\x00" * 5000
    (frame,) = describe(close)
    assert len(frame["reason"]) == 256
    assert len(json.dumps(describe(close * 10))) < 20_000


@given(st.binary(max_size=400))
def test_whatever_comes_is_told(payload: bytes) -> None:
    checked(describe(payload))


@given(st.lists(st.sampled_from(range(0x32)), max_size=20), st.binary(max_size=200))
def test_whatever_comes_behind_a_known_type_is_told(types: list[int], noise: bytes) -> None:
    payload = b"".join(bytes([kind]) + noise[index : index + 9] for index, kind in enumerate(types))
    checked(describe(payload, 20, True))
