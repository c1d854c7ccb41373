"""Field compression with bounds (RFC 9204)."""

from __future__ import annotations

import tracemalloc

import pylsqpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.errors import H3ErrorCode
from cwt.h3.fault import ConnectionFault, StreamFault
from cwt.h3.qpack import Decoder, Encoder
from cwt.h3.section import section_size


def decoder(capacity: int = 0, blocked: int = 0, size: int = 65536, lines: int = 128) -> Decoder:
    return Decoder(
        max_table_capacity=capacity, blocked_streams=blocked, max_size=size, max_lines=lines
    )


def test_appendix_b() -> None:
    """RFC 9204 Appendix B: all five steps, on one decoder."""
    d = decoder(220, 2)
    assert d.decode(0, bytes.fromhex("0000510b2f696e6465782e68746d6c")) == (
        b"",
        [(b":path", b"/index.html")],
    )
    instructions = "3fbd01c00f7777772e6578616d706c652e636f6dc10c2f73616d706c652f70617468"
    assert d.feed_encoder_stream(bytes.fromhex(instructions)) == []
    assert d.decode(4, bytes.fromhex("03811011")) == (
        b"\x84",
        [(b":authority", b"www.example.com"), (b":path", b"/sample/path")],
    )
    d.feed_encoder_stream(bytes.fromhex("4a637573746f6d2d6b65790c637573746f6d2d76616c7565"))
    d.feed_encoder_stream(bytes.fromhex("02"))
    assert d.cancel(8) == b"\x48"
    decoded = d.decode(12, bytes.fromhex("050080c181"))
    assert decoded is not None
    assert decoded[1] == [
        (b":authority", b"www.example.com"),
        (b":path", b"/"),
        (b"custom-key", b"custom-value"),
    ]
    d.feed_encoder_stream(bytes.fromhex("810d637573746f6d2d76616c756532"))


def test_a_section_may_wait_for_instructions() -> None:
    d = decoder(220, 1)
    assert d.decode(4, bytes.fromhex("03811011")) is None
    with pytest.raises(ConnectionFault) as fault:
        d.decode(8, bytes.fromhex("03811011"))
    assert fault.value.code == H3ErrorCode.QPACK_DECOMPRESSION_FAILED
    instructions = "3fbd01c00f7777772e6578616d706c652e636f6dc10c2f73616d706c652f70617468"
    assert d.feed_encoder_stream(bytes.fromhex(instructions)) == [4]
    assert d.resume(4)[1] == [(b":authority", b"www.example.com"), (b":path", b"/sample/path")]


def test_a_cancelled_stream_gives_its_place_to_another() -> None:
    d = decoder(220, 1)
    assert d.decode(4, bytes.fromhex("03811011")) is None
    assert d.cancel(4) == b"\x44"
    assert d.decode(8, bytes.fromhex("03811011")) is None


def test_a_blocked_section_may_still_be_wrong() -> None:
    d = decoder(220, 1)
    assert d.decode(4, bytes.fromhex("038118")) is None  # post-base 8: beyond what was inserted
    instructions = "3fbd01c00f7777772e6578616d706c652e636f6dc10c2f73616d706c652f70617468"
    assert d.feed_encoder_stream(bytes.fromhex(instructions)) == [4]
    with pytest.raises(ConnectionFault) as fault:
        d.resume(4)
    assert fault.value.code == H3ErrorCode.QPACK_DECOMPRESSION_FAILED


def test_a_blocked_section_may_turn_out_too_large() -> None:
    d = decoder(220, 1, size=90)
    assert d.decode(4, bytes.fromhex("03811011")) is None
    instructions = "3fbd01c00f7777772e6578616d706c652e636f6dc10c2f73616d706c652f70617468"
    d.feed_encoder_stream(bytes.fromhex(instructions))
    with pytest.raises(StreamFault) as fault:
        d.resume(4)
    assert fault.value.code == H3ErrorCode.EXCESSIVE_LOAD


def test_an_empty_section_is_allowed() -> None:
    assert decoder().decode(0, b"\x00\x00") == (b"", [])


@pytest.mark.parametrize(
    "section",
    [
        # qpackers/qifs, encoded/errors; err9 and err10 are valid under RFC 9204
        *map(bytes.fromhex, ("ff", "00", "00ff", "0081", "000041", "000027", "000051ff", "0000bf")),
        bytes.fromhex("0000fe")[:2] + b"\xff",
        b"",
        b"\x00\x00\xff\x24",  # static index 99
        b"\x00\x00\xff" + b"\xff" * 20,
        b"\x00\x00\x80",  # dynamic reference without a table
        b"\x00\x00\x10",
        b"\x00\x00\x40\x00",
        b"\x00\x00\x00\x00",
    ],
)
def test_sections_that_do_not_decode(section: bytes) -> None:
    with pytest.raises(ConnectionFault) as fault:
        decoder().decode(0, section)
    assert fault.value.code == H3ErrorCode.QPACK_DECOMPRESSION_FAILED


@pytest.mark.parametrize("data", [b"\x01", bytes.fromhex("ff80ffffffff01"), b"\x3f\xe1\x1f"])
def test_encoder_stream_errors(data: bytes) -> None:
    with pytest.raises(ConnectionFault) as fault:
        decoder().feed_encoder_stream(data)
    assert fault.value.code == H3ErrorCode.QPACK_ENCODER_STREAM_ERROR


def test_a_huge_literal_on_the_encoder_stream_is_refused_before_it_comes() -> None:
    d = decoder(4096)
    d.feed_encoder_stream(b"\x3f\xe1\x1f")
    with pytest.raises(ConnectionFault):
        d.feed_encoder_stream(bytes.fromhex("5fe1ffffffff0f"))


@pytest.mark.parametrize("data", [b"\x00", b"\x84", b"\x3f\xff\xff\x01"])
def test_decoder_stream_errors(data: bytes) -> None:
    with pytest.raises(ConnectionFault) as fault:
        Encoder(0).feed_decoder_stream(data)
    assert fault.value.code == H3ErrorCode.QPACK_DECODER_STREAM_ERROR


def test_too_many_lines() -> None:
    section = b"\x00\x00" + b"\xc1" * 129
    with pytest.raises(StreamFault) as fault:
        decoder().decode(0, section)
    assert fault.value.code == H3ErrorCode.EXCESSIVE_LOAD
    decoded = decoder().decode(0, section[:-1])
    assert decoded is not None and len(decoded[1]) == 128


def test_decoded_size_counts_32_bytes_a_line() -> None:
    lines = [(b"a", b"b" * 100)] * 10
    section = pylsqpack.Encoder().encode(0, lines)[1]
    assert section_size(lines) == 1330
    assert decoder(size=1330).decode(0, section) == (b"", lines)
    with pytest.raises(StreamFault) as fault:
        decoder(size=1329).decode(0, section)
    assert fault.value.code == H3ErrorCode.EXCESSIVE_LOAD


def test_repeated_dynamic_references_do_not_explode() -> None:
    """One entry of 60 KiB, named 100 times: 6 MiB from 100 bytes, had it been decoded."""
    d = decoder(65536, 16)
    d.feed_encoder_stream(b"\x3f\xe1\xff\x03")  # capacity 65536
    value = b"v" * 60000
    d.feed_encoder_stream(b"\x41a" + b"\x7f" + _varlen(len(value), 127) + value)
    tracemalloc.start()
    try:
        with pytest.raises(StreamFault) as fault:
            d.decode(0, b"\x02\x00" + b"\x80" * 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert fault.value.code == H3ErrorCode.EXCESSIVE_LOAD


def _varlen(value: int, prefix: int) -> bytes:
    value -= prefix
    out = bytearray()
    while value >= 128:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def test_the_encoder_uses_no_table_unless_configured() -> None:
    assert Encoder(0).apply_settings(65536, 100) == b""
    assert Encoder(4096).apply_settings(65536, 100) == bytes.fromhex("3fe11f")
    assert Encoder(4096).apply_settings(0, 0) == b""


@given(st.binary(max_size=200))
def test_random_sections_only_raise_faults(section: bytes) -> None:
    try:
        decoder(capacity=4096, blocked=1).decode(0, section)
    except (ConnectionFault, StreamFault):
        pass


LINES = st.lists(
    st.tuples(st.binary(min_size=1, max_size=30), st.binary(max_size=60)), min_size=1, max_size=20
)


@given(st.lists(LINES, min_size=1, max_size=5))
def test_sections_of_a_dynamic_encoder_pass_the_measure(sections: list) -> None:  # type: ignore[type-arg]
    encoder, d = Encoder(4096), decoder(4096, 16)
    d.feed_encoder_stream(encoder.apply_settings(4096, 16))
    for number, lines in enumerate(sections):
        instructions, section = encoder.encode(number * 4, lines)
        d.feed_encoder_stream(instructions)
        decoded = d.decode(number * 4, section)
        assert decoded is not None
        assert decoded[1] == lines
        encoder.feed_decoder_stream(decoded[0])
