"""The SETTINGS frame (RFC 9114 Section 7.2.4)."""

from __future__ import annotations

import pytest

from cwt.config import Http3Config
from cwt.errors import H3ErrorCode
from cwt.h3.fault import ConnectionFault
from cwt.h3.settings import Setting, encode_settings, our_settings, parse_settings


def test_round_trip_keeps_unknown_settings() -> None:
    settings = [(6, 16384), (0x2B603742, 1), (0x21 + 0x1F * 1000, 1 << 61)]
    assert parse_settings(encode_settings(settings)) == dict(settings)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        *((bytes((key, 0)), H3ErrorCode.SETTINGS_ERROR) for key in (0, 2, 3, 4, 5)),
        (b"\x06\x01\x06\x01", H3ErrorCode.SETTINGS_ERROR),
        (b"\x21\x01\x21\x02", H3ErrorCode.SETTINGS_ERROR),
        (b"\x33\x02", H3ErrorCode.SETTINGS_ERROR),
        (b"\x08\x02", H3ErrorCode.SETTINGS_ERROR),
        (b"\x06", H3ErrorCode.FRAME_ERROR),
        (b"\x06\x40", H3ErrorCode.FRAME_ERROR),
        (b"\x40", H3ErrorCode.FRAME_ERROR),
    ],
)
def test_what_the_peer_must_not_send(payload: bytes, code: H3ErrorCode) -> None:
    with pytest.raises(ConnectionFault) as fault:
        parse_settings(payload)
    assert fault.value.code == code


def test_ours_follow_the_configuration() -> None:
    settings = dict(our_settings(Http3Config(), extended_connect=True))
    assert settings == {
        Setting.MAX_FIELD_SECTION_SIZE: 65536,
        Setting.ENABLE_CONNECT_PROTOCOL: 1,
        Setting.H3_DATAGRAM: 1,
    }
    config = Http3Config(
        qpack_max_table_capacity=4096, qpack_blocked_streams=16, max_datagram_frame_size=0
    )
    settings = dict(our_settings(config, extended_connect=False))
    assert settings == {
        Setting.MAX_FIELD_SECTION_SIZE: 65536,
        Setting.QPACK_MAX_TABLE_CAPACITY: 4096,
        Setting.QPACK_BLOCKED_STREAMS: 16,
    }
