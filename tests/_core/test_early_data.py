"""0-RTT packets and their frames, with peers that keep no rules (RFC 9001 Sections 4.6, 4.9 and 5.6)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwt._core.connection import Connection
from cwt._core.wire import packet as packets
from cwt._core.wire.params import ABSENT, TransportParameters
from cwt._types import RecvInfo
from cwt.config import TransportConfig
from cwt.errors import TransportErrorCode as Code
from cwt.tls import ClientContext, Group, ServerContext, SessionCache
from tests._core.raw_peer import (
    INITIAL,
    NAME,
    ONE_RTT,
    PADDING,
    PING,
    ZERO_RTT,
    EarlyServer,
    RawClient,
    RawServer,
    ack,
    certificate,
    client_connection,
    crypto,
    frame,
    new_connection_id,
    stream,
)
from tests._core.support import key_count


def server_of(client: RawClient) -> Connection:
    assert client.connection is not None
    return client.connection


def finish(client: RawClient) -> None:
    """The rest of the client's handshake."""
    client.answer = True
    client.send_tls()
    client.collect()
    assert server_of(client).is_established


# The server.


def test_what_comes_early_can_be_read_early() -> None:
    client = EarlyServer().greeted()
    server = server_of(client)
    assert server.is_in_early_data and server.early_data_accepted
    assert server.early_data_reason == "accepted" and not server.is_established
    client.send(ZERO_RTT, stream(0, b"early", fin=False))
    assert server.readable() == [0] and server.stream_early(0)
    assert server.stream_recv(0) == (b"early", False)
    server.stream_send(0, b"answer")
    client.collect()
    finish(client)
    assert not server.is_in_early_data and server.early_data_accepted
    client.send(ONE_RTT, stream(4, b"later"))
    assert server.stream_early(0) and not server.stream_early(4)
    with pytest.raises(ValueError, match="not been opened"):
        server.stream_early(8)


def test_early_packets_are_acknowledged_in_one_rtt_packets() -> None:
    client = EarlyServer().greeted()
    for index in range(5):
        client.send(ZERO_RTT, stream(4 * index, b"x"))
    finish(client)
    acks = [r.frame for r in client.received if r.space == ONE_RTT and r.frame[0] == 0x02]
    assert [ranges for _, _, ranges, _ in acks][-1] == [(0, 5)]
    client.send(ONE_RTT, PING)
    assert client.closed is None


FORBIDDEN = {
    "ACK": ack(0),
    "ACK with ECN": frame(0x03, 0, 0, 0, 0, 0, 0, 0),
    "CRYPTO": crypto(0, b"x"),
    "HANDSHAKE_DONE": frame(0x1E),
    "NEW_TOKEN": frame(0x07, 1, b"t"),
    "PATH_RESPONSE": frame(0x1B, bytes(8)),
    "RETIRE_CONNECTION_ID": frame(0x19, 0),
    "IMMEDIATE_ACK": frame(0x1F),
    "ACK_FREQUENCY": frame(0xAF, 0, 1, 1000, 1),
}


@pytest.mark.parametrize("payload", FORBIDDEN.values(), ids=FORBIDDEN)
def test_frames_that_are_not_for_early_data(payload: bytes) -> None:
    client = EarlyServer().greeted()
    client.send(ZERO_RTT, payload)
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_frames_that_are() -> None:
    client = EarlyServer().greeted()
    for payload in (
        PING,
        bytes(20),
        stream(0, b"x"),
        frame(0x05, 0, 0),
        frame(0x04, 4, 0, 0),
        frame(0x10, 1 << 20),
        frame(0x11, 0, 1 << 20),
        frame(0x12, 100),
        frame(0x13, 100),
        frame(0x14, 1),
        frame(0x15, 0, 1),
        frame(0x16, 1),
        frame(0x17, 1),
        frame(0x30, b"datagram"),
        new_connection_id(1, b"another."),
        frame(0x1A, bytes(8)),
    ):
        client.send(ZERO_RTT, payload)
        assert client.closed is None, payload
    finish(client)
    assert server_of(client).dgram_recv() == b"datagram"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (stream(0, b"", 1 << 30), Code.FLOW_CONTROL_ERROR),
        (stream(1 << 20, b""), Code.STREAM_LIMIT_ERROR),
        (b"", Code.PROTOCOL_VIOLATION),
        (frame(0x20), Code.FRAME_ENCODING_ERROR),
    ],
)
def test_limits_hold(payload: bytes, code: Code) -> None:
    client = EarlyServer().greeted()
    client.send(ZERO_RTT, payload, number_length=4)
    assert client.close_code == code


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 4))
def test_no_payload_gets_out_of_the_connection(payloads: list[bytes], number_length: int) -> None:
    early = EarlyServer()
    client = early.greeted()
    for payload in payloads:
        client.inject(client.packet(ZERO_RTT, payload + PADDING * 4, number_length=number_length))
    client.collect()
    server = server_of(client)
    assert getattr(server.termination, "code", None) != Code.INTERNAL_ERROR
    for stream_id in server.readable():
        server.stream_peek(stream_id, 100)
    if client.closed is None and not server.is_draining:
        finish(client)
    client.advance(60)
    assert early.endpoint.connections == 0


def test_a_client_may_close_in_early_data() -> None:
    client = EarlyServer().greeted()
    client.send(ZERO_RTT, frame(0x1D, 7, 2, b"no"))
    assert server_of(client).is_draining
    assert server_of(client).peer_error is not None


@pytest.mark.parametrize("change", ["bits", "source", "payload", "short"])
def test_what_is_not_authentic_is_dropped(change: str) -> None:
    client = EarlyServer().greeted()
    before = server_of(client).stats().packets_received
    if change == "bits":
        datagram = bytearray(client.packet(ZERO_RTT, stream(0, b"x")))
        datagram[0] ^= 0x0C
    elif change == "source":
        datagram = bytearray(client.packet(ZERO_RTT, stream(0, b"x"), scid=b"somebody"))
    else:
        datagram = bytearray(client.packet(ZERO_RTT, stream(0, b"x")))
        datagram[-1] ^= 1
        if change == "short":
            del datagram[-10:]
    client.inject(bytes(datagram))
    client.collect()
    assert client.closed is None
    assert server_of(client).stats().packets_received == before
    assert server_of(client).readable() == []


def test_early_data_never_moves_the_connection() -> None:
    client = EarlyServer().greeted()
    client.inject(client.packet(ZERO_RTT, stream(0, b"x")), address=("192.0.2.99", 9))
    client.collect()
    server = server_of(client)
    assert server.readable() == [0]
    assert server.remote_address == client.address
    assert all(to == client.address for to in client.destinations)


def test_packets_that_overtake_the_hello_wait_within_bounds() -> None:
    client = EarlyServer().client(answer=False)
    hello = client.hello()
    client.send(INITIAL, crypto(0, hello[:100]))
    for index in range(100):
        client.inject(client.packet(ZERO_RTT, stream(4 * index, b"x")))
    client.send(INITIAL, crypto(100, hello[100:]))
    [server] = client.end.ready()
    assert server.readable() == [4 * index for index in range(16)]  # as many as are kept


def test_large_packets_that_overtake_the_hello_wait_within_bounds() -> None:
    client = EarlyServer().client(answer=False)
    hello = client.hello()
    client.send(INITIAL, crypto(0, hello[:100]))
    for index in range(16):
        client.inject(client.packet(ZERO_RTT, stream(4 * index, bytes(10_000))))
    client.send(INITIAL, crypto(100, hello[100:]))
    [server] = client.end.ready()
    assert server.readable() == [0, 4]


def test_refused_packets_are_dropped() -> None:
    early = EarlyServer()
    early.context.early_data_context = b"other"
    client = early.greeted()
    server = server_of(client)
    assert server.early_data_accepted is False and not server.is_in_early_data
    client.send(ZERO_RTT, stream(0, b"x"))
    assert server.readable() == [] and client.closed is None
    finish(client)
    client.send(ZERO_RTT, stream(0, b"x"))
    assert server.readable() == []
    client.send(ONE_RTT, stream(0, b"again"))
    assert server.readable() == [0] and not server.stream_early(0)


def test_keys_go_some_time_after_the_first_one_rtt_packet() -> None:
    """RFC 9001 Section 4.9.3: three probe timeouts."""
    client = EarlyServer().greeted()
    finish(client)
    client.advance(5)
    client.send(ZERO_RTT, stream(0, b"no 1-RTT packet was there"))
    client.send(ONE_RTT, stream(4, b"x"))
    client.send(ZERO_RTT, stream(8, b"just behind it"))
    server = server_of(client)
    assert server.readable() == [0, 4, 8]
    client.advance(5)
    client.send(ZERO_RTT, stream(12, b"too late"))
    assert server.readable() == [] and client.closed is None


def test_keys_go_without_anything_more_coming() -> None:
    client = EarlyServer().greeted()
    finish(client)
    client.send(ONE_RTT, ack(0))
    server = server_of(client)
    before = key_count(server)
    client.advance(5)
    assert key_count(server) == before - 1


def test_early_data_counts_against_amplification() -> None:
    client = EarlyServer().greeted()
    server = server_of(client)
    before = sum(map(len, client.datagrams))
    client.send(ZERO_RTT, stream(0, b"x"))
    server.stream_send(0, bytes(100_000))
    client.collect()
    received = server.stats().bytes_received
    sent = sum(map(len, client.datagrams))
    assert before < sent <= 3 * received
    client.send(ZERO_RTT, stream(4, bytes(1000)))
    assert sent < sum(map(len, client.datagrams)) <= 3 * server.stats().bytes_received


# Replays.


def first_flight(client: RawClient) -> list[bytes]:
    flight = [client.padded(INITIAL, crypto(0, client.hello()))]
    return [*flight, client.packet(ZERO_RTT, stream(0, b"do it", fin=True))]


def test_a_recorded_first_flight_does_nothing_a_second_time() -> None:
    early = EarlyServer()
    client = early.client(answer=False)
    flight = first_flight(client)
    done = []
    for attempt in range(5):
        for datagram in flight:
            client.inject(datagram, address=("192.0.2.9", 1000 + attempt))
        for connection in early.endpoint.ready():
            done += [connection.stream_recv(stream_id) for stream_id in connection.readable()]
            if attempt:
                assert connection.is_resumed and not connection.is_established
            connection.close()
        client.collect()
        client.advance(10)  # until the server has forgotten the connection
        assert early.endpoint.connections == 0
    assert done == [(b"do it", True)]


def test_another_connection_with_the_recorded_packets_cannot_read_them() -> None:
    early = EarlyServer()
    client = early.client(answer=False)
    hello, data = first_flight(client)
    early.endpoint.recv(hello, recv_info(client), client.now)
    other = data.replace(client.dcid, b"otherdst")
    early.endpoint.recv(other, recv_info(client), client.now)
    [connection] = early.endpoint.ready()
    assert connection.readable() == []


def recv_info(client: RawClient) -> RecvInfo:
    return RecvInfo(client.address, client.end_address)


# The client.


class EarlyClient:
    """Connections to raw servers that take 0-RTT."""

    def __init__(self, max_datagram_frame_size: int = 0) -> None:
        made = certificate()
        self.server_context = ServerContext(
            alpn=[b"h3"],
            certificate_chain=made.chain,
            private_key=made.private_key,
            early_data=True,
        )
        self.cache = SessionCache()
        self.context = ClientContext(
            alpn=[b"h3"],
            verify=False,
            groups=[Group.X25519, Group.SECP256R1],
            session_cache=self.cache,
            early_data=True,
        )
        _, connection = self.connect()

        def alter(params: Any) -> None:
            params.max_datagram_frame_size = max_datagram_frame_size

        server = self.server(connection, alter=alter).listen()
        assert connection.is_established and len(self.cache) == 1
        assert server.read[ZERO_RTT] is None

    def connect(self) -> tuple[Any, Connection]:
        self.end, connection = client_connection(context=self.context)
        return self.end, connection

    def server(self, connection: Connection, **options: Any) -> RawServer:
        return RawServer(self.end, context=self.server_context, **options)

    def early(self, **options: Any) -> tuple[RawServer, Connection]:
        _, connection = self.connect()
        assert connection.can_open_streams and connection.is_in_early_data
        return self.server(connection, **options), connection


def test_the_first_datagram_has_early_data() -> None:
    server, connection = EarlyClient().early()
    assert connection.open_stream() == 0
    assert connection.stream_send(0, b"early", True) == 5
    server.listen()
    [early] = [r for r in server.received if r.frame[0] & ~7 == 0x08]
    assert early.number == 0 and b"early" in early.frame
    assert early.space == ZERO_RTT
    assert connection.early_data_accepted and not connection.is_in_early_data
    assert connection.is_established


def test_no_frames_that_are_not_for_early_data() -> None:
    server, connection = EarlyClient(max_datagram_frame_size=1000).early(answer=False)
    for _ in range(3):
        stream_id = connection.open_stream()
        assert stream_id is not None
        connection.stream_send(stream_id, bytes(5000))
    connection.dgram_send(b"datagram")
    connection.ping()
    connection.stream_shutdown(4, 1, 1)
    connection.stream_shutdown(8, 0, 1)
    out = connection.send(server.now)
    assert out is not None
    server.answer = False
    server.take_first(out[0])
    assert server.tls is not None
    server.tls.output()
    server.advance(5)
    kinds = {r.frame[0] for r in server.received if r.space == ZERO_RTT}
    assert 0x02 not in kinds and 0x06 not in kinds
    assert kinds <= {0x00, 0x01, 0x04, 0x05, 0x30, 0x31, *range(0x08, 0x10)}
    assert {0x04, 0x05} <= kinds


@pytest.mark.parametrize(
    "name",
    [
        "initial_max_data",
        "initial_max_stream_data_bidi_local",
        "initial_max_stream_data_bidi_remote",
        "initial_max_stream_data_uni",
        "initial_max_streams_bidi",
        "initial_max_streams_uni",
    ],
)
def test_limits_that_are_lowered_for_accepted_early_data(name: str) -> None:
    early = EarlyClient()

    def lower(params: Any) -> None:
        setattr(params, name, getattr(params, name) - 1)

    server, connection = early.early(alter=lower)
    server.listen()
    assert server.close_code == Code.PROTOCOL_VIOLATION
    assert name in str(connection.termination)


def test_limits_that_are_raised() -> None:
    def raise_(params: Any) -> None:
        params.initial_max_streams_bidi += 100

    server, connection = EarlyClient().early(alter=raise_)
    server.listen()
    assert connection.is_established and connection.streams_available() == 200


def test_what_must_not_be_remembered_is_not() -> None:
    """RFC 9000 Section 7.4.1."""
    early = EarlyClient()
    ticket = early.cache.take(NAME, b"h3", time.time())
    assert ticket is not None
    params = TransportParameters.parse(ticket.parameters, False)
    assert params.initial_max_data == 1 << 20
    assert params.min_ack_delay == params.early_min_ack_delay == ABSENT
    assert params.ack_delay_exponent == 3 and params.max_ack_delay == 25
    for name in (
        "original_destination_connection_id",
        "initial_source_connection_id",
        "retry_source_connection_id",
        "stateless_reset_token",
        "preferred_address",
    ):
        assert getattr(params, name) is None


def test_after_a_retry_early_data_is_sent_again() -> None:
    """With the same keys and new packet numbers (RFC 9000 Section 17.2.5.3)."""
    early = EarlyClient()
    server, connection = early.early()
    assert connection.open_stream() == 0
    connection.stream_send(0, b"early", True)
    out = connection.send(server.now)
    assert out is not None
    server.answer = False
    server.take_first(out[0])
    assert server.largest[ONE_RTT] == 0
    server.inject(server.retry(b"the token", b"retry id"))
    assert connection.is_in_early_data
    again = connection.send(server.now)
    assert again is not None
    after = early.server(connection, scid=b"retry id")
    after.read[ZERO_RTT] = server.read[ZERO_RTT]
    after.take_after_retry(again[0], server.original, b"retry id")
    [frame_] = [r for r in after.received if r.frame[0] & ~7 == 0x08]
    assert frame_.space == ZERO_RTT and frame_.number > 0
    after.collect()
    assert connection.is_established
    # The server, which saw the ticket in the first ClientHello, takes its early data once only.
    assert connection.early_data_accepted is False


def test_close_before_the_server_answers() -> None:
    server, connection = EarlyClient().early(answer=False)
    connection.close(7, "no")
    out = connection.send(server.now)
    assert out is not None
    kinds = []
    data = out[0]
    while data:
        parsed = packets.parse(data, 8)
        assert parsed is not None
        kinds.append(parsed[0])
        data = data[parsed[6] :]
    assert kinds[:2] == [packets.PacketType.INITIAL, packets.PacketType.ZERO_RTT]


def test_zero_rtt_packets_from_a_server_are_dropped() -> None:
    server, connection = EarlyClient().early()
    server.listen()
    before = connection.stats().packets_received
    server.write[ZERO_RTT] = server.write[ONE_RTT]
    server.inject(server.packet(ZERO_RTT, PING))
    assert connection.stats().packets_received == before
    assert connection.termination is None


def test_the_number_of_open_streams_is_remembered() -> None:
    server, connection = EarlyClient().early()
    assert connection.streams_available() == connection.streams_available(False) == 100
    for _ in range(100):
        assert connection.open_stream() is not None
    assert connection.open_stream() is None
    server.listen()
    assert connection.is_established


def test_credit_is_remembered() -> None:
    _, connection = EarlyClient().early()
    assert connection.dgram_max_writable_len() == 0, "the server takes none"
    assert connection.peer_transport_parameters is None
    stream_id = connection.open_stream(False)
    assert stream_id is not None
    assert connection.stream_send(stream_id, bytes(1 << 20)) == TransportConfig().send_buffer


def test_a_server_that_goes_on_without_an_answer_to_early_data() -> None:
    """The handshake level is not reached twice: HelloRetryRequest, then a full handshake."""
    early = EarlyClient()
    early.server_context.groups = (Group.SECP256R1,)
    server, connection = early.early()
    assert connection.open_stream() == 0
    connection.stream_send(0, bytes(50_000), True)
    server.listen()
    assert connection.is_established and connection.early_data_accepted is False
    assert connection.is_resumed
    late = [r for r in server.received if r.space == ONE_RTT and r.frame[0] & ~7 == 0x08]
    assert late and min(r.number for r in late) > 0, "packet numbers go on"
