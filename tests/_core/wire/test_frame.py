"""Frames (RFC 9000 Section 19, RFC 9221 Section 4): bytes for each, and what is refused."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from cwt._core.wire import frame, varint
from cwt._core.wire.frame import FrameType
from cwt.errors import TransportError, TransportErrorCode
from tests.fuzz import inputs

FRAMES: list[tuple[str, tuple[Any, ...]]] = [
    ("01", (FrameType.PING,)),
    ("02 0a 19 00 03", (FrameType.ACK, 25, [(7, 11)], None)),
    (
        "02 4400 00 02 00 00 01 02 00",
        (FrameType.ACK, 0, [(1024, 1025), (1021, 1023), (1017, 1018)], None),
    ),
    ("03 05 00 00 05 01 02 03", (FrameType.ACK, 0, [(0, 6)], (1, 2, 3))),
    ("04 04 4101 07", (FrameType.RESET_STREAM, 4, 257, 7)),
    ("05 04 09", (FrameType.STOP_SENDING, 4, 9)),
    ("06 4040 03 616263", (FrameType.CRYPTO, 64, b"abc")),
    ("07 02 7878", (FrameType.NEW_TOKEN, b"xx")),
    ("08 04 616263", (FrameType.STREAM, 4, 0, b"abc", False)),
    ("09 04", (FrameType.STREAM, 4, 0, b"", True)),
    ("0b 04 01 61", (FrameType.STREAM, 4, 0, b"a", True)),
    ("0e 04 4100 01 61", (FrameType.STREAM, 4, 256, b"a", False)),
    ("0f 04 c000000100000000 00", (FrameType.STREAM, 4, 1 << 32, b"", True)),
    ("10 4400", (FrameType.MAX_DATA, 1024)),
    ("11 04 4400", (FrameType.MAX_STREAM_DATA, 4, 1024)),
    ("12 05", (FrameType.MAX_STREAMS_BIDI, 5)),
    ("13 05", (FrameType.MAX_STREAMS_UNI, 5)),
    ("14 05", (FrameType.DATA_BLOCKED, 5)),
    ("15 04 05", (FrameType.STREAM_DATA_BLOCKED, 4, 5)),
    ("16 05", (FrameType.STREAMS_BLOCKED_BIDI, 5)),
    ("17 05", (FrameType.STREAMS_BLOCKED_UNI, 5)),
    (
        "18 02 01 04 aabbccdd 000102030405060708090a0b0c0d0e0f",
        (FrameType.NEW_CONNECTION_ID, 2, 1, b"\xaa\xbb\xcc\xdd", bytes(range(16))),
    ),
    ("19 02", (FrameType.RETIRE_CONNECTION_ID, 2)),
    ("1a 0001020304050607", (FrameType.PATH_CHALLENGE, bytes(range(8)))),
    ("1b 0001020304050607", (FrameType.PATH_RESPONSE, bytes(range(8)))),
    ("1c 0a 06 02 6f6b", (FrameType.TRANSPORT_CLOSE, 10, 6, b"ok")),
    ("1d 4100 00", (FrameType.APPLICATION_CLOSE, 256, 0, b"")),
    ("1e", (FrameType.HANDSHAKE_DONE,)),
    ("1f", (FrameType.IMMEDIATE_ACK,)),
    ("40af 02 09 44e2 03", (FrameType.ACK_FREQUENCY, 2, 9, 1250, 3)),
    ("24 04 4101 07 05", (FrameType.RESET_STREAM_AT, 4, 257, 7, 5)),
    ("30 6162", (FrameType.DATAGRAM, b"ab")),
    ("31 02 6162", (FrameType.DATAGRAM, b"ab")),
]
TO_THE_END = {0x08, 0x09, 0x0C, 0x0D, 0x30}
"""Types without a length: they take all of the packet."""


@pytest.mark.parametrize(("data", "expected"), FRAMES, ids=[data[:11] for data, _ in FRAMES])
def test_golden_bytes(data: str, expected: tuple[Any, ...]) -> None:
    raw = bytes.fromhex(data)
    assert frame.parse(raw) == [expected]
    if raw[0] not in TO_THE_END:
        assert frame.parse(raw + b"\x01" + raw) == [expected, (FrameType.PING,), expected]


@pytest.mark.parametrize("data", [data for data, _ in FRAMES])
def test_cut_short_anywhere(data: str) -> None:
    raw = bytes.fromhex(data)
    if raw[0] in TO_THE_END:
        return
    for length in range(1, len(raw)):
        with pytest.raises(TransportError) as caught:
            frame.parse(raw[:length])
        assert caught.value.code == TransportErrorCode.FRAME_ENCODING_ERROR


REFUSED = {
    "type not in its shortest form (Section 12.4)": "4001",
    "unknown type": "21",
    "first range below zero (Section 19.3.1)": "02 03 00 00 04",
    "gap below zero": "02 05 00 01 00 05 00",
    "range below zero": "02 05 00 01 00 00 05",
    "gap that wraps": "02 05 00 01 00 ffffffffffffffff 00",
    "more ranges than bytes": "02 05 00 ffffffffffffffff 00",
    "stream data beyond 2^62 (Section 19.8)": "0e 04 ffffffffffffffff 01 61",
    "crypto data beyond 2^62": "06 ffffffffffffffff 01 61",
    "empty token (Section 19.7)": "07 00",
    "connection ID of 0 bytes (Section 19.15)": "18 02 01 00" + "00" * 16,
    "connection ID of 21 bytes": "18 02 01 15" + "00" * 37,
    "retire prior to above the sequence number": "18 01 02 04 aabbccdd" + "00" * 16,
    "length beyond the packet": "0a 04 05 61",
    "reliable size above the final size": "24 04 4101 07 08",
    "reason beyond the packet": "1d 00 05 61",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data: str) -> None:
    with pytest.raises(TransportError) as caught:
        frame.parse(bytes.fromhex(data))
    assert caught.value.code == TransportErrorCode.FRAME_ENCODING_ERROR


def test_the_largest_values_are_accepted() -> None:
    assert frame.parse(bytes.fromhex("12 d000000000000000")) == [
        (FrameType.MAX_STREAMS_BIDI, 1 << 60)
    ]
    assert frame.parse(bytes.fromhex("10 ffffffffffffffff")) == [(FrameType.MAX_DATA, varint.MAX)]


def test_padding_is_skipped() -> None:
    parsed = frame.parse(bytes(20) + b"\x01" + bytes(20))
    assert [item for item in parsed if item[0] != FrameType.PADDING] == [(FrameType.PING,)]


def test_hostile_payloads() -> None:
    rng = Random(1)
    fine = 0
    for _ in range(5000):
        data = inputs.payload(rng)
        try:
            frame.parse(data)
            fine += 1
        except TransportError as error:
            assert error.code == TransportErrorCode.FRAME_ENCODING_ERROR
    assert 500 < fine < 4500
