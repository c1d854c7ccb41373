"""One connection: the handshake, what precedes it, and what can be asked (RFC 9000, RFC 9001 Section 4)."""

from __future__ import annotations

from random import Random

import pytest

from cwt import quic
from cwt._core.wire import packet
from cwt._types import RecvInfo
from cwt.config import TransportConfig
from cwt.errors import HandshakeError
from cwt.errors import TransportErrorCode as Code
from cwt.testing import CLIENT, SERVER
from tests._core.raw_peer import (
    CID,
    FIRST_DCID,
    HANDSHAKE,
    INITIAL,
    NAME,
    ONE_RTT,
    PING,
    RawClient,
    RawServer,
    ack,
    client_connection,
    crypto,
    frame,
    parameters,
    server_endpoint,
    stream,
)
from tests._core.support import connected, connected_client

CONFIG = TransportConfig(grease=False, pacing=False)


# The handshake.


def test_a_server_knows_its_client() -> None:
    client, server = connected()
    assert not server.is_client
    assert server.is_established
    assert server.is_confirmed
    assert server.application_proto == b"h3"
    assert server.server_name == NAME
    assert server.remote_address == CLIENT
    assert server.local_address == SERVER
    assert server.destination_id == CID
    assert server.source_id == client.dcid
    assert server.peer_cert is None
    assert server.peer_cert_chain == []
    assert server.can_open_streams
    assert server.termination is None
    assert not server.is_resumed
    assert not server.is_in_early_data
    stats = server.stats()
    assert stats.packets_received >= 2
    assert stats.bytes_received >= 1200
    assert stats.bytes_sent == sum(map(len, client.datagrams))


def test_a_client_knows_its_server() -> None:
    server, connection = connected_client()
    assert connection.is_client
    assert connection.is_established
    assert not connection.is_confirmed
    assert connection.can_open_streams
    assert connection.peer_cert is not None
    assert connection.peer_cert_chain[0] == connection.peer_cert
    assert server.tls is not None
    label, context = b"EXPORTER-test", b"context"
    ours = connection.export_keying_material(label, context, 32)
    assert ours == server.tls.export_keying_material(label, context, 32)
    assert len(ours) == 32


def test_initial_keys_are_dropped_with_the_first_handshake_packet() -> None:
    server, connection = connected_client()
    before = connection.stats().packets_received
    server.send(INITIAL, PING)
    assert connection.stats().packets_received == before
    client, accepted = connected()
    before = accepted.stats().packets_received
    client.send(INITIAL, PING)
    client.send(HANDSHAKE, PING)
    assert accepted.stats().packets_received == before


def test_a_client_drops_handshake_keys_when_confirmed() -> None:
    server, connection = connected_client()
    before = connection.stats().packets_received
    server.send(HANDSHAKE, PING)
    assert connection.stats().packets_received == before + 1
    server.send(ONE_RTT, b"\x1e")
    server.send(HANDSHAKE, PING)
    assert connection.stats().packets_received == before + 2


def test_handshake_done_is_repeated_when_lost() -> None:
    client = RawClient(server_endpoint(CONFIG)).connect()
    assert len(client.frames(0x1E)) == 1
    client.advance(3.0)
    assert len(client.frames(0x1E)) > 1
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.received.clear()
    client.advance(10.0)
    assert not client.frames(0x1E)


def test_handshake_done_before_the_handshake_is() -> None:
    # A server cannot send 1-RTT packets that are read before the client is done; CRYPTO order shows it.
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False).listen()
    assert server.tls is not None
    server.take_secrets()
    server.inject(server.packet(ONE_RTT, b"\x1e"))
    server.collect()
    assert not connection.is_confirmed
    assert connection.termination is None


def test_a_server_can_send_with_its_first_flight() -> None:
    client = RawClient(server_endpoint(CONFIG), answer=False)
    client.send_tls()
    [server] = client.end.ready()
    assert server.can_open_streams
    assert not server.is_established
    stream_id = server.open_stream(False)
    server.stream_send(stream_id, b"early")
    client.collect()
    assert (0x08, stream_id, 0, b"early", False) in client.frames(0x08)


def test_one_rtt_packets_before_finished_wait() -> None:
    client = RawClient(server_endpoint(CONFIG), answer=False)
    client.connect()
    server = client.connection
    assert server is not None
    for index in range(20):
        client.inject(client.packet(ONE_RTT, stream(4 * index, b"x")))
    assert server.readable() == []
    client.send_tls()
    assert server.is_established
    assert server.readable() == [4 * index for index in range(16)]  # as many as are kept
    client.send(ONE_RTT, stream(80, b"x"))
    assert server.readable() == [80]


def test_a_flight_in_the_wrong_order() -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False).listen()
    assert server.tls is not None
    server.take_secrets()
    output = server.tls.output()
    packets = []
    for level, data in output:
        space = {0: INITIAL, 2: HANDSHAKE}[level]
        for start in range(0, len(data), 500):
            packets.append(server.padded(space, crypto(start, data[start : start + 500])))
    for each in reversed(packets):
        server.inject(each)
    assert connection.is_established


def test_packets_with_another_source_are_not_read() -> None:
    # RFC 9000 Section 7.2.
    client = RawClient(server_endpoint(CONFIG), answer=False).connect()
    assert client.connection is not None
    before = client.connection.stats().packets_received
    client.inject(client.packet(HANDSHAKE, PING, scid=b"others"))
    assert client.connection.stats().packets_received == before
    client.inject(client.packet(HANDSHAKE, PING))
    assert client.connection.stats().packets_received == before + 1


def test_duplicates_are_read_once() -> None:
    client, server = connected(CONFIG)
    before = server.stats().packets_received
    datagram = client.packet(ONE_RTT, PING)
    client.inject(datagram)
    client.inject(datagram)
    assert server.stats().packets_received == before + 1


@pytest.mark.parametrize("number_length", [1, 2, 3, 4])
def test_packet_number_lengths(number_length: int) -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, stream(0, b"hello"), number_length=number_length)
    assert server.stream_recv(0) == (b"hello", False)


def test_the_fixed_bit() -> None:
    client, server = connected(CONFIG)
    before = server.stats().packets_received
    client.inject(client.packet(ONE_RTT, PING * 30, first_byte=0x40))
    assert server.stats().packets_received == before
    assert server.termination is None


def test_tls_alerts_close_with_their_code() -> None:
    client = RawClient(server_endpoint(CONFIG), answer=False).connect()
    client.send(HANDSHAKE, crypto(0, b"\x14\0\0\x20" + bytes(32)))
    assert client.closed is not None
    assert client.closed[:2] == (Code.CRYPTO_ERROR + 51, 0x06)  # decrypt_error
    assert client.connection is not None
    assert not client.connection.is_established


# Version negotiation and Retry, as a client.


def answered(versions: list[int], **changed: bytes) -> Exception | None:
    endpoint, connection = client_connection(CONFIG)
    first = endpoint.send(1.0)
    assert first is not None
    parsed = packet.parse(first[0], 8)
    assert parsed is not None
    ids = {"dcid": parsed[3], "scid": parsed[2], **changed}
    answer = packet.version_negotiation(ids["dcid"], ids["scid"], versions, 0x55)
    endpoint.recv(answer, RecvInfo(SERVER, CLIENT), 1.0)
    error = connection.termination
    assert connection.is_closed == (error is not None)
    return error


def test_a_server_of_other_versions() -> None:
    error = answered([0x6B3343D0, 0x1A2A3A4A])
    assert isinstance(error, HandshakeError)
    assert error.code == Code.VERSION_NEGOTIATION_ERROR
    assert "0x6b3343d0" in str(error)


@pytest.mark.parametrize("versions", [[1], [0x1A2A3A4A, 1]])
def test_version_negotiation_that_lists_ours_is_ignored(versions: list[int]) -> None:
    assert answered(versions) is None


@pytest.mark.parametrize("changed", [{"dcid": b"wrong id"}, {"scid": b"wrong id"}, {"scid": b""}])
def test_version_negotiation_for_others_is_ignored(changed: dict[str, bytes]) -> None:
    assert answered([2], **changed) is None


def test_version_negotiation_after_an_answer_is_ignored() -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False).listen()
    server.send(INITIAL, PING)
    server.inject(packet.version_negotiation(server.dcid, server.original, [2], 0))
    assert connection.termination is None


def test_retry() -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False)
    again = server.send_back(b"the token", b"retry id")
    parsed = packet.parse(again, 8)
    assert parsed is not None
    assert parsed[2:5] == (b"retry id", connection.source_id, b"the token")
    assert len(again) == 1200
    after = RawServer(endpoint, scid=b"retry id")
    after.take_after_retry(again, server.original, b"retry id")
    after.collect()
    assert connection.is_established
    numbers = [item.number for item in after.received if item.space == INITIAL]
    assert min(numbers) > 0  # they go on where they were (Section 17.2.5.3)


def test_an_empty_retry_token_is_ignored() -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False)
    first = endpoint.send(1.0)
    assert first is not None
    server.take_first(first[0])
    server.inject(server.retry(b"", b"retry id"))
    assert connection.destination_id == server.original


def test_retry_after_an_answer_is_ignored() -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(endpoint, answer=False).listen()
    server.send(INITIAL, PING)
    server.inject(server.retry())
    assert connection.destination_id == CID


# Alone, without an endpoint.


def lone(**options: object) -> tuple[quic.Connection, quic.Config]:
    config = quic.Config(alpn=[b"h3"], verify=False, random=Random(7).randbytes, **options)  # type: ignore[arg-type]
    return quic.connect(NAME, b"lone one", CLIENT, SERVER, config), config


def test_a_connection_alone() -> None:
    connection, _ = lone(grease=False)
    server = RawServer(connection).listen()
    assert connection.is_established
    assert connection.source_id == b"lone one"
    server.send(ONE_RTT, b"\x1e" + stream(1, b"hello"))
    assert connection.stream_recv(1) == (b"hello", False)
    for sequence in range(1, 20):
        server.send(ONE_RTT, frame(0x19, sequence) + ack(server.largest[ONE_RTT]))
        server.now += 0.1
    assert connection.termination is None


def test_batches_are_equal_datagrams() -> None:
    connection, _ = lone(grease=False)
    server = RawServer(connection).listen()
    server.send(ONE_RTT, b"\x1e")
    stream_id = connection.open_stream()
    assert stream_id is not None
    connection.stream_send(stream_id, bytes(5000))
    out = connection.send_batch(server.now)
    assert out is not None
    data, segment, info = out
    assert segment == 1200
    assert len(data) > 3 * segment
    assert info.to == SERVER
    for start in range(0, len(data), segment):
        server._datagram(data[start : start + segment])
    assert not server.opaque
    assert sum(len(entry[3]) for entry in server.frames(0x08)) == 5000


def test_the_largest_datagrams_fit_the_buffer() -> None:
    connection, _ = lone(grease=False, max_udp_payload_size=65527)
    server = RawServer(connection).listen()
    server.send(ONE_RTT, b"\x1e")
    stream_id = connection.open_stream()
    assert stream_id is not None
    connection.stream_send(stream_id, bytes(200_000))
    server.collect()
    assert max(map(len, server.datagrams)) == 65507
    assert not server.opaque


def test_a_peer_that_takes_small_datagrams_only() -> None:
    client, server = connected(
        TransportConfig(grease=False, mtu_discovery=False, max_udp_payload_size=1400), params=None
    )
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(9000))
    client.datagrams.clear()
    client.collect()
    assert max(map(len, client.datagrams)) == 1400
    params = parameters(max_udp_payload_size=1250).encode()
    client, server = connected(
        TransportConfig(grease=False, mtu_discovery=False, max_udp_payload_size=1400), params=params
    )
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(9000))
    client.datagrams.clear()
    client.collect()
    assert max(map(len, client.datagrams)) == 1250


def test_a_ping_asks_for_an_answer() -> None:
    client, server = connected(CONFIG)
    server.ping()
    client.collect()
    assert client.frames(0x01)


def test_the_first_destination_still_reaches_a_server() -> None:
    # Initial packets that were on their way when the server chose its own connection ID.
    client = RawClient(server_endpoint(CONFIG), answer=False).connect()
    assert client.connection is not None
    before = client.connection.stats().packets_received
    client.inject(client.padded(INITIAL, PING, dcid=FIRST_DCID))
    assert client.connection.stats().packets_received == before + 1
