"""The peer's control stream (RFC 9114 Sections 6.2.1, 7.2 and 5.2; RFC 9218)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.wire import varint
from cwt.errors import H3ErrorCode
from cwt.h3.control import ControlReader, Goaway, PriorityUpdate, Settings, parse_priority
from cwt.h3.fault import ConnectionFault
from cwt.h3.frames import FrameType, encode_frame

SETTINGS = b"\x04\x00"


def feed(data: bytes, *, is_client: bool = False) -> list[object]:
    return list(ControlReader(is_client, frozenset((0x41,))).feed(SETTINGS + data))[1:]


def id_frame(frame_type: int, value: int) -> bytes:
    return encode_frame(frame_type, varint.encode(value))


def error(data: bytes, *, is_client: bool = False) -> int:
    with pytest.raises(ConnectionFault) as fault:
        feed(data, is_client=is_client)
    return fault.value.code


@given(st.integers(1, 7))
def test_any_split(size: int) -> None:
    reader = ControlReader(False)
    data = b"\x04\x02\x06\x10" + id_frame(7, 8) + b"\x21\x03abc" + id_frame(7, 4)
    frames = [f for i in range(0, len(data), size) for f in reader.feed(data[i : i + size])]
    assert frames == [Settings({6: 16}), Goaway(8), Goaway(4)]


@pytest.mark.parametrize("kind", [0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09])
def test_frames_that_do_not_belong_here(kind: int) -> None:
    for length in (b"\x00", b"\xff" * 8):  # judged by type, before the payload
        assert error(bytes((kind,)) + length) == H3ErrorCode.FRAME_UNEXPECTED


@pytest.mark.parametrize("kind", [0x0D, 0xF0700, 0xF0701])
def test_frames_that_only_a_server_receives(kind: int) -> None:
    assert error(id_frame(kind, 0), is_client=True) == H3ErrorCode.FRAME_UNEXPECTED


def test_a_stream_signal_here_is_a_frame_error() -> None:
    assert error(b"\x40\x41\x00") == H3ErrorCode.FRAME_ERROR


@pytest.mark.parametrize("kind", [0x03, 0x07, 0x0D])
@pytest.mark.parametrize("payload", [b"", b"\x00\x00", b"\x40", b"\x00" * 9])
def test_identifiers_of_the_wrong_length(kind: int, payload: bytes) -> None:
    assert error(encode_frame(kind, payload)) == H3ErrorCode.FRAME_ERROR


def test_settings_are_bounded_before_they_are_buffered() -> None:
    reader = ControlReader(False)
    with pytest.raises(ConnectionFault) as fault:
        list(reader.feed(b"\x04" + varint.encode(4097)))
    assert fault.value.code == H3ErrorCode.EXCESSIVE_LOAD
    assert not list(ControlReader(False).feed(b"\x04" + varint.encode(4096)))


def test_goaway_may_only_go_down() -> None:
    assert feed(id_frame(7, 8) + id_frame(7, 8) + id_frame(7, 0)) == [
        Goaway(8),
        Goaway(8),
        Goaway(0),
    ]
    assert error(id_frame(7, 4) + id_frame(7, 8)) == H3ErrorCode.ID_ERROR


def test_a_server_names_request_streams_in_goaway() -> None:
    assert feed(id_frame(7, 4), is_client=True) == [Goaway(4)]
    for wrong in (1, 2, 3, 5):
        assert error(id_frame(7, wrong), is_client=True) == H3ErrorCode.ID_ERROR
    assert feed(id_frame(7, 3)) == [Goaway(3)]  # a client names pushes


def test_max_push_id_may_not_go_down() -> None:
    assert feed(id_frame(13, 4) + id_frame(13, 4) + id_frame(13, 9)) == []
    assert error(id_frame(13, 4) + id_frame(13, 3)) == H3ErrorCode.ID_ERROR


@pytest.mark.parametrize("is_client", [True, False])
def test_cancel_push_names_a_push_that_never_was(is_client: bool) -> None:
    assert error(id_frame(3, 0), is_client=is_client) == H3ErrorCode.ID_ERROR


def test_priority_update() -> None:
    update = encode_frame(FrameType.PRIORITY_UPDATE_REQUEST, b"\x04u=1, i")
    assert feed(update) == [PriorityUpdate(4, 1, True)]
    assert error(encode_frame(0xF0700, b"\x05u=1")) == H3ErrorCode.ID_ERROR
    assert error(encode_frame(0xF0701, b"\x00u=1")) == H3ErrorCode.ID_ERROR
    assert error(encode_frame(0xF0700, b"")) == H3ErrorCode.FRAME_ERROR


def test_an_overlong_priority_update_is_skipped() -> None:
    assert feed(encode_frame(0xF0700, b"\x04" + b"u=1," * 100) + id_frame(7, 0)) == [Goaway(0)]


def test_unknown_frames_are_skipped_without_being_buffered() -> None:
    reader = ControlReader(False)
    list(reader.feed(SETTINGS + b"\x21" + varint.encode((1 << 62) - 1)))
    for _ in range(1000):
        list(reader.feed(bytes(1000)))
    assert not reader._frames.buffer


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", (3, False)),
        (b"u=0", (0, False)),
        (b"u=7, i", (7, True)),
        (b"i", (3, True)),
        (b"i=?1,u=4", (4, True)),
        (b"i=?0", (3, False)),
        (b"u=8", (3, False)),
        (b"u=-1, i;x=1, foo=bar", (3, True)),
        (b"\xff\x00,,,u=2", (2, False)),
    ],
)
def test_priority_values(value: bytes, expected: tuple[int, bool]) -> None:
    assert parse_priority(value) == expected


@given(st.binary(max_size=300))
def test_random_bytes_only_raise_faults(data: bytes) -> None:
    reader = ControlReader(False)
    try:
        list(reader.feed(SETTINGS + data))
    except ConnectionFault:
        pass
