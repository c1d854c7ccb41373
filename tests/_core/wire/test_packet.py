"""Packet headers and packet numbers (RFC 9000 Section 17, Appendix A; RFC 9001 Appendix A)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.wire import packet
from cwt._core.wire.packet import PacketType

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "initial_packets.json").read_text())
DCID = bytes.fromhex("8394c8f03e515708")
SCID = bytes.fromhex("f067a5502a4262b5")
VERSIONS = {"rfc9001_A": 1, "rfc9369_A": 0x6B3343CF}


@pytest.mark.parametrize("group", VERSIONS)
def test_client_initial(group: str) -> None:
    data = bytes.fromhex(VECTORS[group]["client_initial"])
    assert packet.parse(data, 8) == (PacketType.INITIAL, VERSIONS[group], DCID, b"", b"", 18, 1200)


@pytest.mark.parametrize("group", VERSIONS)
def test_server_initial_with_something_behind_it(group: str) -> None:
    data = bytes.fromhex(VECTORS[group]["server_initial"])
    parsed = packet.parse(data + bytes(50), 8)
    assert parsed == (PacketType.INITIAL, VERSIONS[group], b"", SCID, b"", 18, 135)


@pytest.mark.parametrize("group", VERSIONS)
def test_retry(group: str) -> None:
    data = bytes.fromhex(VECTORS[group]["retry"])
    parsed = packet.parse(data, 8)
    assert parsed is not None
    assert parsed[:5] == (PacketType.RETRY, VERSIONS[group], b"", SCID, b"token")
    assert packet.retry_without_tag(VERSIONS[group], b"", SCID, b"token")[1:] == data[1:-16]


def test_version_negotiation() -> None:
    data = packet.version_negotiation(DCID, SCID, [1, 0x6B3343CF], 0x2A)
    parsed = packet.parse(data, 8)
    assert parsed is not None
    assert parsed[:4] == (PacketType.VERSION_NEGOTIATION, 0, DCID, SCID)
    assert parsed[4] == (1).to_bytes(4, "big") + (0x6B3343CF).to_bytes(4, "big")
    assert data[0] & 0x80


def test_short_header() -> None:
    data = b"\x43" + DCID + bytes(30)
    parsed = packet.parse(data, 8)
    assert parsed is not None
    assert parsed[0] == PacketType.ONE_RTT
    assert parsed[2] == DCID
    assert parsed[5:] == (9, len(data))


@pytest.mark.parametrize("name", ["client_initial", "server_initial"])
def test_cut_short_anywhere(name: str) -> None:
    data = bytes.fromhex(VECTORS["rfc9001_A"][name])
    for length in range(len(data)):
        assert packet.parse(data[:length], 8) is None, length


def test_retry_cut_short() -> None:
    data = bytes.fromhex(VECTORS["rfc9001_A"]["retry"])
    for length in range(len(data)):
        parsed = packet.parse(data[:length], 8)
        assert parsed is None or len(parsed[4]) < 5, length


@pytest.mark.parametrize("length", range(256))
def test_connection_id_lengths(length: int) -> None:
    # Section 17.2: 20 bytes at most in version 1.
    data = b"\xc3\0\0\0\1" + bytes([length]) + bytes(length) + b"\0\0\x40\x40" + bytes(64)
    assert (packet.parse(data, 8) is not None) == (length <= 20)


def test_the_quic_bit_is_not_judged_here() -> None:
    # Who did not allow it to be 0 (RFC 9287) has to look.
    data = bytearray(bytes.fromhex(VECTORS["rfc9001_A"]["client_initial"]))
    before = packet.parse(data, 8)
    data[0] &= ~0x40
    assert before is not None
    assert packet.parse(data, 8) == before
    assert packet.parse(b"\x03" + DCID + bytes(30), 8) == packet.parse(
        b"\x43" + DCID + bytes(30), 8
    )


def test_appendix_a_2() -> None:
    assert packet.packet_number_length(0xAC5C02, 0xABE8B3) == 2
    assert packet.packet_number_length(0xACE8FE, 0xABE8B3) == 3


def test_appendix_a_3() -> None:
    assert packet.decode_packet_number(0x9B32, 2, 0xA82F30EA + 1) == 0xA82F9B32


@given(st.integers(0, 2**62 - 1), st.integers(0, 1 << 24))
def test_what_is_written_is_read_back(number: int, in_flight: int) -> None:
    acked = max(number - 1 - in_flight, -1)
    length = packet.packet_number_length(number, acked)
    assert 1 <= length <= 4
    truncated = number & ((1 << 8 * length) - 1)
    # The receiver may have seen anything from the acknowledged packet to the one before.
    for expected in {acked + 1, (acked + 1 + number) // 2, number}:
        assert packet.decode_packet_number(truncated, length, expected) == number


@given(st.binary(max_size=100), st.integers(0, 20))
def test_any_bytes(data: bytes, cid_length: int) -> None:
    parsed = packet.parse(data, cid_length)
    if parsed is not None:
        assert parsed[6] <= len(data)
