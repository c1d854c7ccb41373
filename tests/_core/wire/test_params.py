"""Transport parameters (RFC 9000 Section 18)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.wire import varint
from cwt._core.wire.params import ABSENT, TransportParameters
from cwt.errors import TransportError, TransportErrorCode


def parameter(kind: int, value: bytes) -> bytes:
    return varint.encode(kind) + varint.encode(len(value)) + value


def refused(data: bytes, from_client: bool = False) -> None:
    with pytest.raises(TransportError) as caught:
        TransportParameters.parse(data, from_client)
    assert caught.value.code == TransportErrorCode.TRANSPORT_PARAMETER_ERROR


def test_defaults() -> None:
    parsed = TransportParameters.parse(b"", True)
    assert parsed.max_idle_timeout == 0
    assert parsed.max_udp_payload_size == 65527
    assert parsed.ack_delay_exponent == 3
    assert parsed.max_ack_delay == 25
    assert parsed.active_connection_id_limit == 2
    assert parsed.initial_max_data == 0
    assert parsed.original_destination_connection_id is None
    assert not parsed.disable_active_migration


def test_everything_round_trips() -> None:
    values = {
        "original_destination_connection_id": b"12345678",
        "max_idle_timeout": 30_000,
        "stateless_reset_token": bytes(range(16)),
        "max_udp_payload_size": 1472,
        "initial_max_data": 1 << 20,
        "initial_max_stream_data_bidi_local": 1,
        "initial_max_stream_data_bidi_remote": 2,
        "initial_max_stream_data_uni": 3,
        "initial_max_streams_bidi": 1 << 60,
        "initial_max_streams_uni": 4,
        "ack_delay_exponent": 20,
        "max_ack_delay": (1 << 14) - 1,
        "disable_active_migration": True,
        "preferred_address": bytes(24) + b"\x04" + bytes(20),
        "active_connection_id_limit": 8,
        "initial_source_connection_id": b"",
        "retry_source_connection_id": bytes(20),
        "max_datagram_frame_size": 65535,
        "min_ack_delay": 1000,
        "early_min_ack_delay": 0,
        "grease_quic_bit": True,
        "reset_stream_at": True,
        "early_reset_stream_at": True,
        "version_information": (1, 0x6B3343CF, 0x1A2A3A4A),
    }
    parsed = TransportParameters.parse(TransportParameters(**values).encode(), False)
    assert {name: getattr(parsed, name) for name in values} == values


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (0x03, 1199),
        (0x08, (1 << 60) + 1),
        (0x09, (1 << 60) + 1),
        (0x0A, 21),
        (0x0B, 1 << 14),
        (0x0E, 1),
    ],
)
def test_out_of_range(kind: int, value: int) -> None:
    refused(parameter(kind, varint.encode(value)))


@pytest.mark.parametrize("kind", [0x00, 0x02, 0x0D, 0x10])
def test_what_only_a_server_sends(kind: int) -> None:
    value = {0x02: bytes(16), 0x0D: bytes(24) + b"\x04" + bytes(20)}.get(kind, b"12345678")
    TransportParameters.parse(parameter(kind, value), False)
    refused(parameter(kind, value), from_client=True)


@pytest.mark.parametrize("kind", [0x01, 0x04, 0x0F, 0x20, 0x7A12])
def test_twice_is_an_error(kind: int) -> None:
    refused(2 * parameter(kind, varint.encode(2000)))


def test_a_number_with_something_behind_it() -> None:
    refused(parameter(0x04, varint.encode(5) + b"\0"))
    refused(parameter(0x04, b""))


def test_cut_short_anywhere() -> None:
    whole = parameter(0x04, varint.encode(1000)) + parameter(0x0F, b"12345678")
    fine = {0, len(parameter(0x04, varint.encode(1000))), len(whole)}
    for length in range(len(whole) + 1):
        if length in fine:
            TransportParameters.parse(whole[:length], False)
        else:
            refused(whole[:length])


def test_unknown_ones_are_ignored() -> None:
    parsed = TransportParameters.parse(
        parameter(0x1F * 27 + 27, b"grease") + parameter(0x04, b"\x05"), True
    )
    assert parsed.initial_max_data == 5


def test_too_many_are_an_error() -> None:
    refused(b"".join(parameter(1000 + index, b"") for index in range(300)))


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(data: bytes, from_client: bool) -> None:
    try:
        TransportParameters.parse(data, from_client)
    except TransportError as error:
        assert error.code == TransportErrorCode.TRANSPORT_PARAMETER_ERROR


@pytest.mark.parametrize("kind", [0xFF04DE1B, 0xFF02DE1A])
def test_the_least_acknowledgement_delay_is_below_the_largest(kind: int) -> None:
    parsed = TransportParameters.parse(b"", True)
    assert parsed.min_ack_delay == parsed.early_min_ack_delay == ABSENT
    TransportParameters.parse(parameter(kind, varint.encode(25_000)), True)
    refused(parameter(kind, varint.encode(25_001)))
    refused(parameter(kind, varint.encode(ABSENT)))
    longest = parameter(0x0B, varint.encode((1 << 14) - 1))
    # Whichever comes first.
    TransportParameters.parse(parameter(kind, varint.encode(1_000_000)) + longest, True)
    TransportParameters.parse(longest + parameter(kind, varint.encode(1_000_000)), True)


@pytest.mark.parametrize("value", [b"", b"\0\0\0", b"\0\0\0\1\0", bytes(4), b"\0\0\0\1" + bytes(4)])
@pytest.mark.parametrize("from_client", [False, True])
def test_version_information_that_is_malformed(value: bytes, from_client: bool) -> None:
    # RFC 9368 Section 4.
    refused(parameter(0x11, value), from_client)


def test_the_version_a_client_chose_is_available() -> None:
    data = parameter(0x11, bytes.fromhex("00000001 6b3343cf"))
    refused(data, from_client=True)
    # A server may be about to give it up (Section 5).
    information = TransportParameters.parse(data, False).version_information
    assert information == (1, 0x6B3343CF)
    assert TransportParameters.parse(parameter(0x11, bytes.fromhex("00000001")), False)


@pytest.mark.parametrize("kind", [0x0C, 0x1D, 0x2AB2, 0x17F7586D2CB571])
def test_flags_are_empty(kind: int) -> None:
    TransportParameters.parse(parameter(kind, b""), True)
    refused(parameter(kind, b"\0"))
