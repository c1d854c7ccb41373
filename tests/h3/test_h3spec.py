"""The HTTP/3 and QPACK cases of h3spec 0.1.13, in its order and with its stimuli."""

from __future__ import annotations

import pytest

from cwt.errors import H3ErrorCode
from cwt.h3 import RequestReceived
from cwt.h3.frames import FrameType, encode_frame
from tests.h3.support import EMPTY_SETTINGS, GET, Rig, headers_frame


def test_01_data_before_headers() -> None:
    rig = Rig()
    rig.request(b"\x00\x00")
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


def malformed(data: bytes) -> int | None:
    rig = Rig()
    stream = rig.request(data)
    assert not rig.saw(RequestReceived)
    assert rig.error is None
    return rig.stream_error(stream)


def test_02_duplicated_pseudo_header() -> None:
    lines = [*GET[:1], *GET]
    assert malformed(headers_frame(lines)) == H3ErrorCode.MESSAGE_ERROR


def test_03_mandatory_pseudo_header_absent() -> None:
    block = bytes.fromhex("0000d1d7c1")
    assert malformed(encode_frame(FrameType.HEADERS, block)) == H3ErrorCode.MESSAGE_ERROR


@pytest.mark.parametrize("name", [b":autority", b":foo"])
def test_04_prohibited_pseudo_header(name: bytes) -> None:
    assert malformed(headers_frame([*GET, (name, b"x")])) == H3ErrorCode.MESSAGE_ERROR


def test_05_pseudo_header_after_fields() -> None:
    lines = [*GET[:3], (b"foo", b"bar"), GET[3]]
    assert malformed(headers_frame(lines)) == H3ErrorCode.MESSAGE_ERROR


def test_06_first_control_frame_not_settings() -> None:
    rig = Rig()
    rig.control(b"\x00" + encode_frame(FrameType.MAX_PUSH_ID, b"\x00"))
    assert rig.error == H3ErrorCode.MISSING_SETTINGS


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x00\x00", id="07 DATA"),
        pytest.param(headers_frame(GET), id="08 HEADERS"),
        pytest.param(b"\x04\x00", id="09 second SETTINGS"),
    ],
)
def test_07_to_09_frames_that_do_not_belong_on_the_control_stream(frame: bytes) -> None:
    rig = Rig()
    rig.control(EMPTY_SETTINGS + frame)
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


def test_10_http2_setting() -> None:
    rig = Rig()
    rig.control(b"\x00\x04\x02\x02\x00")
    assert rig.error == H3ErrorCode.SETTINGS_ERROR


def test_11_cancel_push_on_a_request_stream() -> None:
    rig = Rig()
    rig.request(headers_frame(GET) + b"\x03\x00")
    assert rig.error == H3ErrorCode.FRAME_UNEXPECTED


def test_12_invalid_static_index() -> None:
    rig = Rig()
    rig.request(encode_frame(FrameType.HEADERS, bytes.fromhex("0000ff24")))
    assert rig.error == H3ErrorCode.QPACK_DECOMPRESSION_FAILED


def test_13_capacity_above_limit() -> None:
    rig = Rig()
    rig.control()
    rig.control(b"\x02" + bytes.fromhex("3fe1c7afa025"))
    assert rig.error == H3ErrorCode.QPACK_ENCODER_STREAM_ERROR


def test_14_control_stream_closed() -> None:
    rig = Rig()
    control = rig.control()
    rig.write(control, b"", fin=True)
    assert rig.error == H3ErrorCode.CLOSED_CRITICAL_STREAM


def test_15_insert_count_increment_of_zero() -> None:
    rig = Rig()
    rig.control()
    rig.control(b"\x03\x00")
    assert rig.error == H3ErrorCode.QPACK_DECODER_STREAM_ERROR
