"""Published attacks on QUIC stacks, against the core: each once, with a peer that keeps no rules.

What belongs to one component alone is in its own test file; HTTP/3 and WebTransport have theirs.
"""

from __future__ import annotations

import gc
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from cwt import quic
from cwt._core.crypto.keys import initial_keys
from cwt._core.wire import varint
from cwt._types import RecvInfo
from cwt.config import TransportConfig
from cwt.errors import TransportError
from cwt.errors import TransportErrorCode as Code
from cwt.testing import CLIENT, SERVER
from tests._core.raw_peer import (
    HANDSHAKE,
    INITIAL,
    ONE_RTT,
    PADDING,
    PING,
    RawClient,
    RawPeer,
    RawServer,
    ack,
    client_connection,
    crypto,
    frame,
    new_connection_id,
    parameters,
    server_endpoint,
    stream,
)
from tests._core.support import connected, connected_client

CONFIG = TransportConfig(grease=False, pacing=False)


def drain(end: Any, now: float = 1.0) -> list[bytes]:
    out = []
    while (sent := end.send(now)) is not None:
        out.append(sent[0])
    return out


# Before there is a connection.


def test_amplification() -> None:
    client = RawClient(server_endpoint(), answer=False).connect()
    for _ in range(200):
        client.advance(0.05)
    assert 1200 < sum(map(len, client.datagrams)) <= 3600


def test_one_datagram_has_one_answer() -> None:
    # picoquic's 1600:1: stateless answers to each of many coalesced packets.
    endpoint = server_endpoint()
    packet = b"\xc0\0\0\0\2\x08whatever\x08" + bytes(8) + b"\0\4" + bytes(4)
    endpoint.recv(packet * 60, RecvInfo(CLIENT, SERVER), 1.0)
    assert len(drain(endpoint)) == 1


def test_version_negotiation_is_no_mirror() -> None:
    endpoint = server_endpoint()
    small = (b"\xc0\x1a\x2a\x3a\x4a\x08whatever\x08" + bytes(8)).ljust(1199, b"\0")
    for datagram in (small, small[:1] + bytes(4) + small[5:] + b"\0"):
        endpoint.recv(datagram, RecvInfo(CLIENT, SERVER), 1.0)
        assert not drain(endpoint)
    for _ in range(1000):
        endpoint.recv(small + b"\0", RecvInfo(CLIENT, SERVER), 1.0)
    answers = drain(endpoint)
    assert len(answers) <= 64
    assert max(map(len, answers)) < 100


def test_two_endpoints_do_not_reset_each_other_for_ever() -> None:
    one = server_endpoint()
    other = quic.Endpoint(CONFIG, random=random.Random(2).randbytes)
    datagram = b"\x41whatever" + bytes(1000)
    rounds = 0
    end, peer = one, other
    while True:
        end.recv(datagram, RecvInfo(CLIENT, SERVER), 1.0 + rounds)
        answer = drain(end, 1.0 + rounds)
        if not answer:
            break
        [datagram] = answer
        end, peer = peer, end
        rounds += 1
        assert rounds < 50
    assert rounds == 22  # 42 bytes down to 21


def test_every_connection_id_length() -> None:
    endpoint = server_endpoint()
    for version in (1, 0x6B3343CF, 0x1A2A3A4A):
        for length in range(256):
            for other in (0, 20, 21, 255):
                head = b"\xc3" + version.to_bytes(4, "big") + bytes([length]) + bytes(length)
                datagram = head + bytes([other]) + bytes(other)
                for end in (len(datagram), len(datagram) - 1, len(head) - 1):
                    endpoint.recv(datagram[:end], RecvInfo(CLIENT, SERVER), 1.0)
                endpoint.recv(datagram.ljust(1200, b"\0"), RecvInfo(CLIENT, SERVER), 1.0)
                drain(endpoint)
    assert endpoint.connections == 0


def test_empty_and_tiny_datagrams() -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint).connect()
    for size in range(30):
        for first in (0x00, 0x40, 0x80, 0xC0, 0xFF):
            client.inject(bytes([first] * size))
    client.send(ONE_RTT, stream(0, b"alive", fin=True))
    assert client.connection is not None
    assert client.connection.stream_recv(0) == (b"alive", True)


def test_token_lengths() -> None:
    endpoint = server_endpoint()
    head = b"\xc0\0\0\0\1\x08whatever\x00"
    for length in [*range(64), 1 << 14, 1 << 30, (1 << 62) - 1]:
        for rest in (b"", bytes(40), bytes(1180)):
            endpoint.recv(head + varint.encode(length) + rest, RecvInfo(CLIENT, SERVER), 1.0)
    assert endpoint.connections == 0


def test_truncated_retry_packets() -> None:
    endpoint, connection = client_connection()
    [first, *_] = drain(endpoint)
    server = RawServer(endpoint, answer=False)
    server.take_first(first)
    retry = server.retry()
    for end in range(len(retry)):
        server.inject(retry[:end])
    for i in range(len(retry)):
        bad = bytearray(retry)
        bad[i] ^= 0x10
        server.inject(bytes(bad))
    assert not drain(endpoint)
    server.inject(retry)
    [again, *_] = drain(endpoint)
    assert b"token" in again
    assert connection.destination_id == b"retry id"
    server.inject(server.retry(b"second", b"other id"))
    assert connection.destination_id == b"retry id"


# The handshake.


@pytest.mark.parametrize(
    ("offset", "code"),
    [
        (65536 - 10, None),
        (65536 - 9, Code.CRYPTO_BUFFER_EXCEEDED),
        ((1 << 62) - 11, Code.CRYPTO_BUFFER_EXCEEDED),
        ((1 << 62) - 10, Code.FRAME_ENCODING_ERROR),
    ],
)
@pytest.mark.parametrize("space", [INITIAL, HANDSHAKE, ONE_RTT])
def test_crypto_gap(space: int, offset: int, code: Code | None) -> None:
    client = RawClient(server_endpoint(), answer=space == ONE_RTT)
    if space != INITIAL:
        client.connect()
    client.send(space, crypto(offset, bytes(10)))
    assert client.close_code == code


def test_crypto_after_the_handshake() -> None:
    # CVE-2024-1765.  A client takes tickets, within bounds.
    server, connection = connected_client(CONFIG)
    ticket = b"\4\0\0\x19" + bytes(8) + b"\4" + bytes(4) + b"\0\4" + bytes(4) + b"\0\4" + bytes(4)
    sent = 0
    for _ in range(3000):
        server.inject(server.packet(ONE_RTT, crypto(sent, ticket)))
        sent += len(ticket)
        if connection.termination:
            break
    assert isinstance(connection.termination, TransportError)
    assert sent <= 65536 + len(ticket)


def test_a_hello_in_pieces_out_of_order() -> None:
    # "Chaos protection": CRYPTO frames of any size in any order, with PING and PADDING between.
    for seed in range(20):
        rng = random.Random(seed)
        client = RawClient(server_endpoint())
        hello = client.hello()
        cuts = sorted(rng.sample(range(1, len(hello)), rng.randint(1, 40)))
        parts = [
            crypto(start, hello[start:end])
            for start, end in zip([0, *cuts], [*cuts, len(hello)], strict=True)
        ]
        parts += rng.choices([PING, PADDING * 3, *parts], k=10)
        rng.shuffle(parts)
        half = len(parts) // 2
        for payload in (b"".join(parts[:half]), b"".join(parts[half:])):
            client.inject(client.padded(INITIAL, payload))
        client.crypto_sent[INITIAL] = len(hello)
        client.collect()
        connection = next(iter(client.end.ready()))
        assert connection.is_established


def test_a_hello_of_two_packets_in_the_wrong_order() -> None:
    client = RawClient(server_endpoint())
    hello = client.hello()
    client.inject(client.padded(INITIAL, crypto(100, hello[100:])))
    client.inject(client.padded(INITIAL, crypto(0, hello[:100])))
    client.crypto_sent[INITIAL] = len(hello)
    client.collect()
    assert next(iter(client.end.ready())).is_established


def changes() -> Iterator[Any]:
    names = (
        "initial_source_connection_id",
        "original_destination_connection_id",
        "retry_source_connection_id",
    )
    for name in names:
        for value in (b"wrong id", b"", None):
            if (name, value) != ("retry_source_connection_id", None):
                yield pytest.param(name, value, id=f"{name}={value!r}")


@pytest.mark.parametrize(("name", "value"), list(changes()))
def test_connection_ids_of_the_handshake_are_authenticated(name: str, value: bytes | None) -> None:
    # Section 7.3, as a client.
    endpoint, connection = client_connection()
    server = RawServer(endpoint, alter=lambda params: setattr(params, name, value)).listen()
    assert server.close_code == Code.TRANSPORT_PARAMETER_ERROR
    assert not connection.is_established


def test_the_retry_connection_id_is_authenticated() -> None:
    for named in (b"retry id", b"wrong id", None):
        endpoint, connection = client_connection()
        server = RawServer(endpoint, answer=False)
        [first, *_] = drain(endpoint)
        server.take_first(first)
        server.inject(server.retry())
        [again, *_] = drain(endpoint)
        after = RawServer(endpoint, scid=b"retry id")
        after.take_after_retry(again, server.original, named)
        after.collect()
        assert connection.is_established == (named == b"retry id")
        if named != b"retry id":
            assert after.close_code == Code.TRANSPORT_PARAMETER_ERROR


def parameter(id: int, value: bytes) -> bytes:
    return varint.encode(id) + varint.encode(len(value)) + value


@pytest.mark.parametrize(
    "extra",
    [
        parameter(0x01, b"\x10") * 2,
        parameter(0x0F, b"raw peer"),
        parameter(0x1234, b"") * 2,
        parameter(0x03, varint.encode(1199)),
        parameter(0x0A, varint.encode(21)),
        parameter(0x0B, varint.encode(1 << 14)),
        parameter(0x0E, varint.encode(1)),
        parameter(0x20, b"\x40"),
        parameter(0x20, b"\x01\x02"),
        parameter(0x0C, b"\x00"),
        b"\x01",
        b"\x01\x08\x00",
        b"\x40",
        parameter(0x01, b""),
        parameter(0x00, b"x" * 8),
        parameter(0x02, bytes(16)),
        b"".join(parameter(0x4000 + i, b"") for i in range(300)),
    ],
)
def test_transport_parameters_that_are_wrong(extra: bytes) -> None:
    data = parameters(initial_max_data=1000).encode() + extra
    client = RawClient(server_endpoint(), params=data).connect()
    assert client.close_code == Code.TRANSPORT_PARAMETER_ERROR


def test_transport_parameters_at_their_bounds() -> None:
    data = parameters(
        ack_delay_exponent=20,
        max_ack_delay=(1 << 14) - 1,
        active_connection_id_limit=(1 << 62) - 1,
        max_udp_payload_size=1200,
        max_idle_timeout=(1 << 62) - 1,
        max_datagram_frame_size=(1 << 62) - 1,
        initial_max_data=(1 << 62) - 1,
        initial_max_streams_bidi=1 << 60,
    ).encode()
    client = RawClient(server_endpoint(), params=data + parameter(0x7FFF, b"x" * 100)).connect()
    assert client.connection is not None
    assert client.connection.is_established
    client.send(ONE_RTT, PING)
    client.advance(1.0)
    assert client.connection.termination is None


# Frames.

FRAMES = {
    0x00: PADDING,
    0x01: PING,
    0x02: ack(0),
    0x03: frame(0x03, 0, 0, 0, 0, 0, 0, 0),
    0x04: frame(0x04, 0, 0, 0),
    0x05: frame(0x05, 0, 0),
    0x06: crypto(0, b""),
    0x07: frame(0x07, 1, b"t"),
    **{
        0x08 | flags: frame(0x08 | flags, 0, *[0] * (flags.bit_count() - (flags & 1)))
        for flags in range(8)
    },
    0x10: frame(0x10, 9),
    0x11: frame(0x11, 0, 9),
    0x12: frame(0x12, 9),
    0x13: frame(0x13, 9),
    0x14: frame(0x14, 9),
    0x15: frame(0x15, 0, 9),
    0x16: frame(0x16, 9),
    0x17: frame(0x17, 9),
    0x18: new_connection_id(1, b"12345678"),
    0x19: frame(0x19, 1),
    0x1A: frame(0x1A, bytes(8)),
    0x1B: frame(0x1B, bytes(8)),
    0x1C: frame(0x1C, 0, 0, 0),
    0x1D: frame(0x1D, 0, 0),
    0x1E: frame(0x1E),
    0x1F: frame(0x1F),
    0x30: frame(0x30),
    0x31: frame(0x31, 0),
    0xAF: frame(0xAF, 0, 1, 25_000, 1),
}
EVERYWHERE = {0x00, 0x01, 0x02, 0x03, 0x06, 0x1C}
"""Types that Initial and Handshake packets may carry (Section 12.4)."""


def peer_in(space: int, role: str) -> tuple[RawPeer, Any]:
    """A raw peer in *role* that can write in *space*, and what it talks to."""
    peer: RawPeer
    if role == "client":
        client = RawClient(server_endpoint(), answer=space == ONE_RTT)
        if space == INITIAL:
            client.inject(client.padded(INITIAL, crypto(0, client.hello()[:50])))
            client.collect()
        client.connect()
        return client, client.connection or next(iter(client.end.ready()))
    endpoint, connection = client_connection()
    server = RawServer(endpoint, answer=space == ONE_RTT).listen()
    peer = server
    if space == HANDSHAKE:
        server.take_secrets()
        assert server.tls is not None
        level, data = server.tls.output()[0]
        assert level == 0
        server.send_crypto(INITIAL, data)
    if space == ONE_RTT:
        connection.open_stream()
    server.collect()
    return peer, connection


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("space", [INITIAL, HANDSHAKE, ONE_RTT])
@pytest.mark.parametrize("kind", FRAMES)
def test_frames_in_the_wrong_packet_or_from_the_wrong_side(
    kind: int, space: int, role: str
) -> None:
    peer, connection = peer_in(space, role)
    assert connection.termination is None
    if peer.largest[space] < 0:
        peer.send(space, PING)  # an ACK needs a packet in its space that it is about
    payload = FRAMES[kind]
    peer.send(space, payload)
    error = connection.termination
    if space != ONE_RTT and kind not in EVERYWHERE:
        assert error.code == Code.PROTOCOL_VIOLATION
        assert error.frame_type == kind
        assert not error.remote
    elif space == ONE_RTT and role == "client" and kind in (0x07, 0x1E):
        assert error.code == Code.PROTOCOL_VIOLATION
    elif kind in (0x1C, 0x1D):
        assert error.remote
    else:
        assert error is None


@pytest.mark.parametrize(
    "kind", [0x20, 0x21, 0x23, 0x25, 0x2F, 0x32, 0x3F, 0xAE, 0xB0, 1 << 20, (1 << 62) - 1]
)
@pytest.mark.parametrize("space", [INITIAL, HANDSHAKE, ONE_RTT])
def test_unknown_frame_types(kind: int, space: int) -> None:
    peer, connection = peer_in(space, "client")
    peer.send(space, frame(kind) + bytes(20))
    assert connection.termination.code == Code.FRAME_ENCODING_ERROR


@pytest.mark.parametrize(
    ("kind", "length"),
    [(kind, length) for kind in FRAMES for length in (2, 4, 8) if length > len(frame(kind))],
)
def test_a_frame_type_in_its_long_form(kind: int, length: int) -> None:
    prefix = {2: 0x40, 4: 0x80, 8: 0xC0}[length] << 8 * (length - 1)
    client, server = connected()
    rest = FRAMES[kind][len(frame(kind)) :]
    client.send(ONE_RTT, (prefix | kind).to_bytes(length, "big") + rest + PING)
    assert isinstance(server.termination, TransportError)
    assert client.close_code in (Code.FRAME_ENCODING_ERROR, Code.PROTOCOL_VIOLATION)


@pytest.mark.parametrize("kind", [k for k in FRAMES if len(FRAMES[k]) > 1 and k not in (0x30,)])
def test_truncated_frames(kind: int) -> None:
    for end in range(1, len(FRAMES[kind])):
        client, _ = connected()
        # Behind a long packet number, lest padding completes it.
        client.send(ONE_RTT, FRAMES[kind][:end], number_length=4)
        assert client.close_code == Code.FRAME_ENCODING_ERROR


def test_frames_after_a_close_are_not_read() -> None:
    client, server = connected()
    client.send(ONE_RTT, frame(0x1C, 0, 0, 0) + stream(0, b"late") + frame(0x20))
    assert server.readable() == []
    assert server.termination is not None
    assert getattr(server.termination, "remote", False)


# Acknowledgements.


@pytest.mark.parametrize("space", [INITIAL, HANDSHAKE, ONE_RTT])
def test_acknowledging_what_was_not_sent(space: int) -> None:
    peer, connection = peer_in(space, "client")
    peer.send(space, ack(peer.largest[space] + 1))
    assert connection.termination.code == Code.PROTOCOL_VIOLATION


@pytest.mark.parametrize(
    "payload",
    [
        ack(0, 1),
        ack(0, 0, 0, 0),
        ack(1, 0, (1 << 62) - 1, 0),
        ack(1, 0, (1 << 62) - 2, (1 << 62) - 1),
        frame(0x02, 1, 0, (1 << 62) - 1, 0),
        frame(0x02, 1, 0, 3, 0, 0),
    ],
)
def test_acknowledgements_that_go_below_zero(payload: bytes) -> None:
    client, _ = connected()
    client.send(ONE_RTT, payload)
    assert client.close_code == Code.FRAME_ENCODING_ERROR


def test_many_ranges_of_one_packet() -> None:
    # Every other packet, in ranges of one, twice: below the first number that is left out.
    client, server = connected(CONFIG)
    stream_id = server.open_stream()
    assert stream_id is not None
    while client.largest[ONE_RTT] < 450:
        server.stream_send(stream_id, b"x")
        client.collect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT]))
        assert server.termination is None
    newest = client.largest[ONE_RTT]
    client.send(ONE_RTT, ack(newest, 0, *[0, 0] * (newest // 2 - 1)) * 2)
    assert server.termination is None
    client.send(ONE_RTT, ack(newest, 0, *[0, 0] * (newest // 2 + 1)))
    assert client.close_code == Code.FRAME_ENCODING_ERROR


def test_received_ranges_are_bounded() -> None:
    client, server = connected(CONFIG)
    for number in range(10, 4000, 2):
        client.inject(client.packet(ONE_RTT, PING, number=number))
    client.collect()
    largest = max(len(entry[2]) for entry in client.frames(0x02))
    assert 2 <= largest <= 64
    assert server.termination is None


def test_optimistic_acknowledgements_hit_a_number_that_was_left_out() -> None:
    # CVE-2025-4820, RFC 9000 Section 21.4: whoever acknowledges everything will meet one.
    client, server = connected(CONFIG)
    stream_id = server.open_stream()
    assert stream_id is not None
    more = frame(0x10, 1 << 30) + frame(0x11, stream_id, 1 << 30)
    for _ in range(1500):
        server.stream_send(stream_id, bytes(1000))
        client.collect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]) + more)
        client.now += 0.01
        if server.termination:
            break
    assert getattr(server.termination, "code", None) == Code.PROTOCOL_VIOLATION


# Streams.


def test_a_stream_full_of_gaps() -> None:
    client, server = connected(CONFIG)
    tracemalloc.start()
    try:
        for start in range(0, 4000, 100):
            parts = [stream(0, b"x", offset) for offset in range(2 * start + 1, 2 * start + 201, 2)]
            client.inject(client.packet(ONE_RTT, b"".join(parts)))
            if server.termination:
                break
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert isinstance(server.termination, TransportError)
    assert held < 1 << 20


@pytest.mark.parametrize("size", [1, 1100])
def test_datagrams_that_nobody_takes(size: int) -> None:
    client, server = connected(CONFIG)
    flow = server.dgram_flow(7)
    frames = frame(0x31, size + 1, b"\7", bytes(size)) * (1150 // (size + 3))
    tracemalloc.start()
    try:
        for _ in range(4_000):
            client.inject(client.packet(ONE_RTT, frames))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert server.termination is None
    assert flow.dropped + len(flow) == flow.received >= 4_000
    assert flow.dropped
    assert len(flow) <= CONFIG.datagram_recv_queue
    assert held < CONFIG.datagram_recv_bytes + (1 << 20)


def test_fragments_far_apart_take_no_more_than_the_window() -> None:
    config = TransportConfig(
        grease=False, initial_max_data=1 << 20, initial_max_stream_data=1 << 20
    )
    client, server = connected(config)
    tracemalloc.start()
    try:
        for offset in range(1, 1 << 20, 4096):
            client.inject(client.packet(ONE_RTT, stream(0, b"x", offset)))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert server.termination is None
    assert held < (1 << 20) + (1 << 18)


LIMITS = TransportConfig(
    grease=False,
    initial_max_data=1500,
    initial_max_stream_data=1000,
    initial_max_streams_bidi=3,
    initial_max_streams_uni=2,
)


@pytest.mark.parametrize(
    ("fine", "beyond", "code"),
    [
        (stream(0, bytes(1000)), stream(0, b"x", 1000), Code.FLOW_CONTROL_ERROR),
        (stream(0, b"", 1000), stream(0, b"", 1001), Code.FLOW_CONTROL_ERROR),
        (stream(0, b"x", 999), stream(0, b"xx", 999), Code.FLOW_CONTROL_ERROR),
        (stream(0, b"", 1000, True), stream(4, b"", 1001, True), Code.FLOW_CONTROL_ERROR),
        (frame(0x04, 0, 7, 1000), frame(0x04, 4, 7, 1001), Code.FLOW_CONTROL_ERROR),
        (stream(0, b"x", 999), stream(4, b"x", 500), Code.FLOW_CONTROL_ERROR),
        (stream(0, b"x", 999), frame(0x04, 4, 7, 501), Code.FLOW_CONTROL_ERROR),
        (stream(8, b"x"), stream(12, b"x"), Code.STREAM_LIMIT_ERROR),
        (stream(6, b"x"), stream(10, b"x"), Code.STREAM_LIMIT_ERROR),
        (frame(0x04, 8, 7, 0), frame(0x04, 12, 7, 0), Code.STREAM_LIMIT_ERROR),
        (frame(0x05, 8, 7), frame(0x05, 12, 7), Code.STREAM_LIMIT_ERROR),
        (frame(0x11, 8, 7), frame(0x11, 12, 7), Code.STREAM_LIMIT_ERROR),
        (frame(0x15, 6, 7), frame(0x15, 10, 7), Code.STREAM_LIMIT_ERROR),
        (frame(0x12, 1 << 60), frame(0x12, (1 << 60) + 1), Code.FRAME_ENCODING_ERROR),
        (frame(0x16, 1 << 60), frame(0x16, (1 << 60) + 1), Code.FRAME_ENCODING_ERROR),
        (frame(0x10, (1 << 62) - 1), frame(0x11, 2, 1), Code.STREAM_STATE_ERROR),
    ],
)
def test_limits_off_by_one(fine: bytes, beyond: bytes, code: Code) -> None:
    client, server = connected(LIMITS)
    client.send(ONE_RTT, fine)
    assert server.termination is None
    client.send(ONE_RTT, beyond)
    assert client.close_code == code


@pytest.mark.parametrize(
    "frames",
    [
        [stream(0, b"12345", 0, True), stream(0, b"x", 5)],
        [stream(0, b"12345", 0, True), stream(0, b"1234", 0, True)],
        [stream(0, b"12345", 0, True), stream(0, b"", 6, True)],
        [stream(0, b"12345"), stream(0, b"1234", 0, True)],
        [stream(0, b"12345"), frame(0x04, 0, 7, 4)],
        [stream(0, b"12345", 0, True), frame(0x04, 0, 7, 6)],
        [frame(0x04, 0, 7, 5), frame(0x04, 0, 7, 6)],
        [frame(0x04, 0, 7, 5), stream(0, b"x", 5)],
        [frame(0x04, 0, 7, 5), stream(0, b"1234", 0, True)],
    ],
)
def test_final_sizes_do_not_change(frames: list[bytes]) -> None:
    client, server = connected()
    client.send(ONE_RTT, frames[0])
    assert server.termination is None
    client.send(ONE_RTT, frames[1])
    assert client.close_code == Code.FINAL_SIZE_ERROR


def test_opening_and_resetting_is_bounded_by_the_stream_limit() -> None:
    client, server = connected(LIMITS)
    for index in range(3):
        client.send(ONE_RTT, stream(4 * index, b"x") + frame(0x04, 4 * index, 0, 1))
    client.send(ONE_RTT, stream(12, b"x"))
    # The application has not looked yet: the streams count.
    assert client.close_code == Code.STREAM_LIMIT_ERROR
    assert server.stats().streams == 3


def test_streams_come_and_go_without_a_trace() -> None:
    client, server = connected(
        TransportConfig(grease=False, pacing=False, initial_max_streams_uni=4)
    )

    def turn(first: int, count: int) -> None:
        for index in range(first, first + count):
            client.send(ONE_RTT, stream(4 * index + 2, b"x", fin=True) + ack(client.largest[2]))
            for stream_id in server.readable():
                server.stream_recv(stream_id)
            client.collect()
            client.received.clear()
            client.datagrams.clear()
            client.destinations.clear()

    turn(0, 200)
    tracemalloc.start()
    try:
        turn(200, 1500)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert server.termination is None
    assert server.stats().streams == 0
    assert grown < 40_000


def test_ten_thousand_streams_leave_no_memory_behind() -> None:
    count = 10_000
    client, server = connected(
        TransportConfig(grease=False, pacing=False, initial_max_streams_uni=count)
    )

    def each(first: int, data: bytes, offset: int, fin: bool) -> None:
        for start in range(first, first + count, 100):
            frames = [
                stream(4 * index + 2, data, offset, fin) for index in range(start, start + 100)
            ]
            client.send(ONE_RTT, b"".join(frames) + ack(client.largest[ONE_RTT]))
            client.received.clear()
            client.datagrams.clear()
            client.destinations.clear()

    def turn(first: int) -> int:
        each(first, b"x", 0, False)
        assert server.stats().streams == count
        held = tracemalloc.get_traced_memory()[0]
        each(first, b"", 1, True)
        for stream_id in server.readable():
            assert server.stream_recv(stream_id) == (b"x", True)
        assert server.stats().streams == 0
        client.collect()  # MAX_STREAMS
        return held

    tracemalloc.start()
    try:
        turn(0)
        before = tracemalloc.get_traced_memory()[0]
        held = turn(count)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert server.termination is None
    assert (held - before) / count < 5000  # of which 4096 for the data
    assert grown < 50_000


def test_a_reader_that_never_reads_stops_the_writer() -> None:
    client, server = connected(CONFIG, params=parameters(initial_max_data=2000).encode())
    stream_id = server.open_stream()
    assert stream_id is not None
    total = 0
    for _ in range(100):
        total += server.stream_send(stream_id, bytes(65536))
        client.collect()
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], 0))
    assert total <= CONFIG.send_buffer + 2000
    assert sum(len(entry[3]) for entry in client.frames(0x08)) <= 4000


# Connection IDs and paths.


def test_retirements_without_end() -> None:
    # CVE-2024-22189, CVE-2024-1410: our RETIRE_CONNECTION_ID frames are never acknowledged.
    client, server = connected(CONFIG)
    sent = 0
    for sequence in range(1, 200):
        client.scid = b"%08d" % sequence
        client.send(ONE_RTT, new_connection_id(sequence, client.scid, retire_prior_to=sequence))
        sent = sequence
        if server.termination:
            break
    assert client.close_code == Code.CONNECTION_ID_LIMIT_ERROR
    assert sent <= 3 * CONFIG.active_connection_id_limit + 2


def test_retiring_what_the_packet_uses() -> None:
    # CVE-2025-7054: an endless loop when none is left.
    client, _ = connected(CONFIG)
    client.send(ONE_RTT, b"".join(frame(0x19, sequence) for sequence in (1, 0)))
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_challenges_without_end() -> None:
    # CVE-2023-49295, CVE-2023-6193: nothing is acknowledged, the window is full.
    client, server = connected(CONFIG)

    def flood(count: int) -> None:
        for i in range(count):
            client.inject(client.packet(ONE_RTT, frame(0x1A, i.to_bytes(8, "big"))))
            while client.end.send(client.now):
                pass

    flood(300)
    tracemalloc.start()
    try:
        flood(2000)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert server.termination is None
    assert grown < 40_000


# The end of a connection.


def test_a_closing_connection_answers_ever_more_rarely() -> None:
    client, server = connected(CONFIG)
    server.close(7, "bye")
    client.collect()
    assert client.frames(0x1D) == [(0x1D, 7, 0, b"bye")]
    client.datagrams.clear()
    for _ in range(1000):
        client.send(ONE_RTT, stream(0, b"x") + frame(0x20))
    assert len(client.datagrams) <= 11
    client.advance(30.0)
    assert server.is_closed


def test_a_draining_connection_is_silent() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, frame(0x1D, 7, 0))
    client.datagrams.clear()
    for _ in range(100):
        client.send(ONE_RTT, PING)
    server.close()
    client.advance(30.0)
    assert not client.datagrams
    assert server.is_closed


# Exceptions.


class Broken(Exception):
    """What no code expects."""


def other_client(endpoint: Any) -> RawClient:
    other = RawClient(endpoint, dcid=b"another1", scid=b"other ID").connect()
    assert other.connection is not None
    return other


def test_an_unforeseen_exception_ends_its_own_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = server_endpoint()
    other = other_client(endpoint)
    client = RawClient(endpoint, answer=False)
    client.send_tls()
    [connection] = endpoint.ready()

    def receive(tls: object, level: int, data: bytes) -> None:
        assert tls is connection.tls
        raise Broken("secret detail")

    monkeypatch.setattr(type(connection.tls), "receive", receive)
    client.collect()
    client.send(HANDSHAKE, crypto(0, b"x"))
    assert client.closed is not None
    assert client.closed[0] == Code.INTERNAL_ERROR
    assert b"secret" not in client.closed[2]
    assert isinstance(connection.termination.__cause__, Broken)
    other.send(ONE_RTT, stream(0, b"alive"))
    assert other.connection is not None
    assert other.connection.stream_recv(0) == (b"alive", False)


def test_an_exception_while_sending_ends_its_own_connection() -> None:
    broken = False
    source = random.Random(5)

    def chance(count: int) -> bytes:
        if broken and count == 2:  # what chooses the next packet number to leave out
            raise Broken
        return source.randbytes(count)

    endpoint = quic.Endpoint(CONFIG, tls=server_endpoint().tls, random=chance)
    client = RawClient(endpoint).connect()
    connection = client.connection
    assert connection is not None
    broken = True
    for _ in range(3000):
        client.inject(client.packet(ONE_RTT, PING))
        client.inject(client.packet(ONE_RTT, PING))
        while client.end.send(client.now):
            pass
        if connection.is_closed:
            break
    assert isinstance(connection.termination, TransportError)
    assert connection.termination.code == Code.INTERNAL_ERROR
    assert connection in endpoint.ready()
    broken = False
    assert other_client(endpoint).connection is not None


def test_failed_connections_leave_no_memory_behind() -> None:
    # CVE-2025-54939 and others: what precedes the handshake is freed, too.
    endpoint = server_endpoint()

    def fail(index: int) -> None:
        kind = index % 5
        options: dict[str, Any] = {"dcid": b"number%03d" % index, "scid": b"client%03d" % index}
        options["now"] = 1.0 + 50 * index
        if kind == 0:
            options["params"] = b"\1"
        client = RawClient(endpoint, answer=kind != 1, **options)
        if kind == 2:
            client.inject(client.padded(INITIAL, crypto(60_000, bytes(900))))
        elif kind == 3:
            client.inject(client.padded(INITIAL, crypto(0, b"\1\0\xff\xff" + bytes(900))))
        else:
            client.connect()
            if kind == 4:
                assert client.connection is not None
                stream_id = client.connection.open_stream()
                assert stream_id is not None
                client.connection.stream_send(stream_id, bytes(100_000))
                client.send(ONE_RTT, stream(0, bytes(900), 100_000))
        client.advance(40.0)
        endpoint.ready()
        assert endpoint.connections == 0

    for index in range(20):
        fail(index)
    gc.collect()
    tracemalloc.start()
    try:
        for index in range(20, 120):
            fail(index)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 60_000


def test_random_bytes() -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint).connect()
    rng = random.Random(3)
    for _ in range(3000):
        data = rng.randbytes(rng.choice([1, 5, 20, 60, 1200]))
        if rng.random() < 0.5:
            data = b"\x40" + client.dcid + data
        elif rng.random() < 0.5:
            data = b"\xe0\0\0\0\1\x08" + client.dcid + b"\x08" + client.scid + data
        client.inject(data)
    client.send(ONE_RTT, stream(0, b"alive"))
    assert client.connection is not None
    assert client.connection.stream_recv(0) == (b"alive", False)


def test_random_frames() -> None:
    # Authentic packets of chance and of mutated frames: the connection closes or goes on, no more.
    rng = random.Random(4)
    closed = 0
    for _ in range(300):
        client, server = connected(CONFIG)
        for _ in range(5):
            parts = rng.choices(list(FRAMES.values()), k=rng.randint(1, 6))
            payload = bytearray(b"".join(parts) + rng.randbytes(rng.choice([0, 0, 3, 30])))
            for _ in range(rng.randint(0, 3)):
                payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
            client.inject(client.packet(ONE_RTT, bytes(payload)))
            while client.end.send(client.now):
                pass
            if server.termination is not None:
                closed += 1
                error = server.termination
                assert getattr(error, "remote", False) or error.code != Code.INTERNAL_ERROR, error
                break
    assert 100 < closed <= 300


def test_the_initial_keys_are_those_of_the_first_connection_id() -> None:
    # Off-path: without having seen it, nobody makes an Initial packet that is read.
    client = RawClient(server_endpoint(), answer=False).connect()
    assert client.connection is not None
    before = client.connection.stats().packets_received
    _, wrong = initial_keys(1, b"a guess!", True)
    client.inject(client.padded(INITIAL, frame(0x1C, 0, 0, 0), key=wrong))
    assert client.connection.stats().packets_received == before
    assert client.connection.termination is None
