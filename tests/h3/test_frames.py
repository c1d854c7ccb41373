"""Cutting a stream into frames (RFC 9114 Section 7.1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cwt._core.wire import varint
from cwt.h3.frames import NO_FRAME, FrameReader, encode_frame, frame_header

TYPES = st.sampled_from([0, 1, 0x21, 0x4041, 1 << 61])


@given(st.lists(st.tuples(TYPES, st.binary(max_size=50)), max_size=5), st.integers(1, 30))
def test_any_split(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(encode_frame(kind, payload) for kind, payload in frames)
    reader = FrameReader()
    got: list[tuple[int, bytes]] = []
    for i in range(0, len(data), size):
        reader.buffer += data[i : i + size]
        while reader.type != NO_FRAME or reader.read_header():
            kind = reader.type
            payload = reader.take_all()
            if payload is None:
                break
            got.append((kind, payload))
    assert got == frames
    assert reader.is_idle


def test_a_payload_taken_in_pieces() -> None:
    reader = FrameReader()
    reader.buffer += encode_frame(0, b"abcdef") + encode_frame(1, b"")
    assert reader.read_header()
    assert reader.take(4) == b"abcd"
    assert not reader.is_idle
    assert reader.take(4) == b"ef"
    assert reader.type == NO_FRAME
    assert reader.read_header()
    assert (reader.type, reader.remaining) == (1, 0)
    assert reader.skip()
    assert reader.is_idle


def test_a_payload_that_is_dealt_with_outside() -> None:
    reader = FrameReader()
    reader.buffer += frame_header(0, 1 << 40) + b"ab"
    assert reader.read_header()
    assert not reader.skip()
    reader.advance((1 << 40) - 2)
    assert reader.is_idle


def test_a_header_needs_all_its_bytes() -> None:
    header = frame_header((1 << 62) - 1, (1 << 62) - 1)
    reader = FrameReader()
    for byte in header[:-1]:
        reader.buffer.append(byte)
        assert not reader.read_header()
    assert not reader.is_idle
    reader.buffer.append(header[-1])
    assert reader.read_header()
    assert len(header) == 2 * varint.length((1 << 62) - 1)
