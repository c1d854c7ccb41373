"""The transport and TLS cases of h3spec 0.1.13, against our server (its numbers and section names).

h3spec accepts PROTOCOL_VIOLATION or INTERNAL_ERROR in place of any error; here it must be the one named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cwt._core.wire import varint
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import (
    CID,
    HANDSHAKE,
    ONE_RTT,
    PING,
    ZERO_RTT,
    EarlyServer,
    RawClient,
    client_context,
    crypto,
    frame,
    new_connection_id,
    parameters,
    server_endpoint,
    stream,
)


def connected() -> RawClient:
    client = RawClient(server_endpoint()).connect()
    assert client.connection is not None
    assert client.connection.is_established
    assert client.closed is None
    return client


FRAMES = {
    "1 STREAM with large offset": (
        stream(0, b"GET /\r\n", 100_000_000, True),
        Code.FLOW_CONTROL_ERROR,
    ),
    "1 STREAM with large offset, empty": (
        stream(0, b"", 100_000_000, True),
        Code.FLOW_CONTROL_ERROR,
    ),
    "2 stream beyond limit": (stream(1_000_000_000, b"GET /\r\n"), Code.STREAM_LIMIT_ERROR),
    "11 unknown frame type": (frame(0x20), Code.FRAME_ENCODING_ERROR),
    "12 packet without frames": (b"", Code.PROTOCOL_VIOLATION),
    "16 RESET_STREAM on send-only": (frame(0x04, 3, 0, 0), Code.STREAM_STATE_ERROR),
    "17 STOP_SENDING on non-existing": (frame(0x05, 101, 0), Code.STREAM_STATE_ERROR),
    "18 NEW_TOKEN to a server": (frame(0x07, 1, b"t"), Code.PROTOCOL_VIOLATION),
    "19 STREAM on our stream, not created": (stream(1, b"x"), Code.STREAM_STATE_ERROR),
    "19 STREAM on our stream, not created, empty": (stream(1), Code.STREAM_STATE_ERROR),
    "20 STREAM on send-only": (stream(3, b"x"), Code.STREAM_STATE_ERROR),
    "20 STREAM on send-only, empty": (stream(3), Code.STREAM_STATE_ERROR),
    "21 MAX_STREAM_DATA, not created": (frame(0x11, 101, 9), Code.STREAM_STATE_ERROR),
    "22 MAX_STREAM_DATA for receive-only": (frame(0x11, 2, 9), Code.STREAM_STATE_ERROR),
    "23 invalid MAX_STREAMS bidi": (frame(0x12, (1 << 60) + 1), Code.FRAME_ENCODING_ERROR),
    "23 invalid MAX_STREAMS uni": (frame(0x13, (1 << 60) + 1), Code.FRAME_ENCODING_ERROR),
    "24 invalid STREAMS_BLOCKED bidi": (frame(0x16, (1 << 60) + 1), Code.FRAME_ENCODING_ERROR),
    "24 invalid STREAMS_BLOCKED uni": (frame(0x17, (1 << 60) + 1), Code.FRAME_ENCODING_ERROR),
    "25 Retire_Prior_To above the sequence": (
        new_connection_id(1, b"c" * 8, retire_prior_to=11),
        Code.FRAME_ENCODING_ERROR,
    ),
    "26 connection ID of 0 bytes": (new_connection_id(1, b""), Code.FRAME_ENCODING_ERROR),
    "27 HANDSHAKE_DONE to a server": (frame(0x1E), Code.PROTOCOL_VIOLATION),
}


@pytest.mark.parametrize(("payload", "code"), FRAMES.values(), ids=FRAMES)
def test_frame(payload: bytes, code: Code) -> None:
    client = connected()
    # Without frames there is enough to sample only behind the longest packet number.
    client.send(ONE_RTT, payload, number_length=4)
    assert client.close_code == code


@pytest.mark.parametrize(
    ("payload", "code"),
    [pytest.param(*value, id=name) for name, value in FRAMES.items() if value[0]],
)
def test_frame_of_the_first_one_rtt_packet(payload: bytes, code: Code) -> None:
    # h3spec puts it before the frames that the client would send anyway.
    client = connected()
    client.send(ONE_RTT, payload + new_connection_id(1, b"next cid"))
    assert client.close_code == code


def hello_with(data: bytes) -> RawClient:
    return RawClient(server_endpoint(), params=data).connect()


def changed(**values: Any) -> bytes:
    return parameters(**values).encode()


PARAMETERS = {
    "3 no initial_source_connection_id": changed(initial_source_connection_id=None),
    "4 original_destination_connection_id": changed(original_destination_connection_id=b"id"),
    "5 preferred_address": changed(preferred_address=bytes(24) + b"\x04" + bytes(20)),
    "6 retry_source_connection_id": changed(retry_source_connection_id=b"id"),
    "7 stateless_reset_token": changed(stateless_reset_token=bytes(16)),
    "7 stateless_reset_token of 5 bytes": changed() + b"\x02\x05DUMMY",
    "8 max_udp_payload_size below 1200": changed(max_udp_payload_size=1090),
    "9 ack_delay_exponent above 20": changed(ack_delay_exponent=30),
    "10 max_ack_delay of 2**15": changed(max_ack_delay=1 << 15),
}


@pytest.mark.parametrize("data", PARAMETERS.values(), ids=PARAMETERS)
def test_parameter(data: bytes) -> None:
    client = hello_with(data)
    assert client.close_code == Code.TRANSPORT_PARAMETER_ERROR
    assert client.connection is not None
    assert not client.connection.is_established


def waiting() -> RawClient:
    """A client that has the Handshake keys and has not sent its Finished."""
    client = RawClient(server_endpoint(), answer=False).connect()
    assert client.write[HANDSHAKE] is not None
    assert client.closed is None
    return client


@pytest.mark.parametrize("reserved", [1, 2, 3])
def test_13_reserved_bits_of_a_handshake_packet(reserved: int) -> None:
    client = waiting()
    client.send(HANDSHAKE, PING, reserved=reserved)
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_14_path_challenge_in_a_handshake_packet() -> None:
    client = waiting()
    client.send(HANDSHAKE, frame(0x1A, bytes(8)))
    assert client.close_code == Code.PROTOCOL_VIOLATION


@pytest.mark.parametrize("reserved", [1, 2, 3])
def test_15_reserved_bits_of_a_short_header(reserved: int) -> None:
    client = connected()
    client.send(ONE_RTT, PING, reserved=reserved)
    assert client.close_code == Code.PROTOCOL_VIOLATION


def alert(description: int) -> int:
    return Code.CRYPTO_ERROR + description


def test_28_key_update_message_in_the_handshake() -> None:
    client = waiting()
    client.send(HANDSHAKE, crypto(0, bytes.fromhex("1800000101")))
    assert client.close_code == alert(10)


def test_28_key_update_message_behind_the_finished() -> None:
    client = waiting()
    assert client.tls is not None
    [(_, finished)] = client.tls.output()
    client.send(HANDSHAKE, crypto(0, finished + bytes.fromhex("1800000101")))
    assert client.close_code == alert(10)


def test_29_key_update_message_in_one_rtt() -> None:
    client = connected()
    client.send(ONE_RTT, crypto(0, bytes.fromhex("1800000101")))
    assert client.close_code == alert(10)


def test_30_no_common_application_protocol() -> None:
    client = RawClient(server_endpoint(), context=client_context(b"dummy")).connect()
    assert client.close_code == alert(120)


def without_parameters(other: tuple[tuple[int, bytes], ...] = ()) -> Callable[[Any], None]:
    def alter(tls: Any) -> None:
        tls._hello = replace(tls._hello, transport_parameters=None, other=other)

    return alter


def test_31_no_transport_parameters() -> None:
    client = RawClient(server_endpoint(), alter=without_parameters()).connect()
    assert client.close_code == alert(109)


def test_32_transport_parameters_of_a_draft() -> None:
    draft = without_parameters(((0xFFA5, parameters().encode()),))
    client = RawClient(server_endpoint(), alter=draft)
    hello = client.hello()
    assert b"\xff\xa5" in hello
    client.send_crypto(0, hello)
    client.collect()
    assert client.close_code == alert(109)


def test_33_end_of_early_data() -> None:
    client = waiting()
    client.send(HANDSHAKE, crypto(0, bytes.fromhex("05000000")))
    assert client.close_code == alert(10)


def test_33_end_of_early_data_before_the_finished() -> None:
    client = waiting()
    assert client.tls is not None
    [(_, finished)] = client.tls.output()
    client.send(HANDSHAKE, crypto(0, bytes.fromhex("05000000") + finished))
    assert client.close_code == alert(10)


def test_34_crypto_in_early_data() -> None:
    client = EarlyServer().greeted()
    client.send(ZERO_RTT, crypto(0, bytes.fromhex("080000020000")))
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_34_crypto_in_early_data_is_not_read_where_there_is_none() -> None:
    # A server that offers no 0-RTT has no keys for it: such packets are dropped (RFC 9001 Section 5.7).
    client = connected()
    head = b"\xd3\0\0\0\1" + bytes([len(client.dcid)]) + client.dcid + bytes([len(CID)]) + CID
    client.inject(head + varint.encode(100) + bytes(100))
    client.send(ONE_RTT, PING)
    assert client.closed is None
    assert client.connection is not None
    assert client.connection.stats().packets_received > 0


def test_every_case_is_here() -> None:
    names = [*FRAMES, *PARAMETERS]
    names += [name.removeprefix("test_").replace("_", " ") for name in globals()]
    numbers = {int(first) for name in names if (first := name.split()[0]).isdigit()}
    assert numbers == set(range(1, 35))
