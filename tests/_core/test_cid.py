"""Connection IDs: issued, used, retired (RFC 9000 Section 5.1), and stateless resets (Section 10.3)."""

from __future__ import annotations

import tracemalloc

import pytest

from cwt.config import TransportConfig
from cwt.errors import StatelessReset
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import (
    ONE_RTT,
    PING,
    RawClient,
    RawServer,
    ack,
    client_connection,
    frame,
    new_connection_id,
    parameters,
    server_endpoint,
)
from tests._core.support import connected, connected_client

CONFIG = TransportConfig(grease=False, active_connection_id_limit=4)


def retire(sequence: int) -> bytes:
    return frame(0x19, sequence)


def cid(sequence: int) -> bytes:
    return b"cid%05d" % sequence


@pytest.mark.parametrize(("limit", "issued"), [(2, [1]), (3, [1, 2]), (100, [1, 2, 3])])
def test_as_many_as_the_peer_takes_and_no_more_than_four(limit: int, issued: list[int]) -> None:
    params = parameters(active_connection_id_limit=limit).encode()
    client = RawClient(server_endpoint(), params=params).connect()
    assert [entry[1] for entry in client.frames(0x18)] == issued


def test_a_retired_one_is_replaced_and_no_longer_reaches_us() -> None:
    client, server = connected()
    old = client.dcid
    client.send(ONE_RTT, PING)
    client.send(ONE_RTT, retire(1))
    [(_, sequence, _, replacement, token)] = client.frames(0x18)
    assert sequence == 2
    assert len(token) == 16
    client.dcid = replacement
    client.send(ONE_RTT, retire(0))
    before = server.stats().packets_received
    client.inject(client.packet(ONE_RTT, PING, dcid=old))
    assert server.stats().packets_received == before
    client.send(ONE_RTT, PING)
    assert server.stats().packets_received == before + 1
    assert server.termination is None


@pytest.mark.parametrize("sequence", [2, 3, 1 << 61])
def test_retiring_what_was_never_issued(sequence: int) -> None:
    client, _ = connected()
    client.send(ONE_RTT, retire(sequence))
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_retiring_what_was_issued_in_answer_but_not_yet_sent() -> None:
    # One datagram could otherwise make us issue without end.
    client, _ = connected()
    client.send(ONE_RTT, retire(1) + retire(2) + retire(3))
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_retiring_the_connection_id_of_the_packet() -> None:
    client, _ = connected()
    client.send(ONE_RTT, retire(0))
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_retiring_twice_is_harmless() -> None:
    client, server = connected()
    client.send(ONE_RTT, retire(1))
    client.send(ONE_RTT, retire(1))
    assert len(client.frames(0x18)) == 1
    assert server.termination is None


def test_retiring_for_ever_keeps_nothing() -> None:
    client, server = connected(TransportConfig(grease=False, pacing=False))

    def turn(first: int, count: int) -> None:
        for sequence in range(first, first + count):
            client.send(ONE_RTT, retire(sequence) + ack(client.largest[ONE_RTT]))
            client.received.clear()
            client.datagrams.clear()

    turn(1, 200)
    tracemalloc.start()
    try:
        turn(201, 1500)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert server.termination is None
    assert grown < 40_000


# The peer's.


def test_one_is_kept_and_used_when_the_first_is_retired() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, new_connection_id(1, cid(1)))
    assert server.destination_id == client.scid
    client.scid = cid(1)
    client.send(ONE_RTT, new_connection_id(2, cid(2), retire_prior_to=1))
    assert server.destination_id == cid(1)
    assert client.frames(0x19) == [(0x19, 0)]


def test_more_than_the_limit() -> None:
    client, server = connected(CONFIG)
    for sequence in range(1, 4):
        client.send(ONE_RTT, new_connection_id(sequence, cid(sequence)))
    assert server.termination is None
    client.send(ONE_RTT, new_connection_id(4, cid(4)))
    assert client.close_code == Code.CONNECTION_ID_LIMIT_ERROR


def test_retiring_makes_room() -> None:
    client, server = connected(CONFIG)
    for sequence in range(1, 4):
        client.send(ONE_RTT, new_connection_id(sequence, cid(sequence)))
    client.scid = cid(3)
    client.send(ONE_RTT, new_connection_id(4, cid(4), retire_prior_to=3))
    assert server.termination is None
    assert sorted(client.frames(0x19)) == [(0x19, 0), (0x19, 1), (0x19, 2)]


@pytest.mark.parametrize(
    "repeated",
    [
        new_connection_id(1, cid(2)),
        new_connection_id(1, cid(1), token=bytes(16)),
        new_connection_id(2, cid(1)),
        new_connection_id(0, cid(1)),
    ],
)
def test_a_repetition_that_differs(repeated: bytes) -> None:
    client, _ = connected(CONFIG)
    client.send(ONE_RTT, new_connection_id(1, cid(1)))
    client.send(ONE_RTT, repeated)
    assert client.close_code == Code.PROTOCOL_VIOLATION


def test_a_repetition_is_harmless() -> None:
    client, server = connected(CONFIG)
    for _ in range(5):
        client.send(ONE_RTT, new_connection_id(1, cid(1)))
    assert server.termination is None
    assert not client.frames(0x19)


def test_a_late_copy_of_a_retired_one_does_not_bring_it_back() -> None:
    client, server = connected(CONFIG)
    for sequence in range(1, 4):
        client.send(ONE_RTT, new_connection_id(sequence, cid(sequence)))
    client.scid = cid(1)
    elsewhere = ("192.0.2.9", 9)
    client.inject(client.packet(ONE_RTT, PING + bytes(1100)), address=elsewhere)  # a move
    client.collect()
    assert server.destination_id == cid(1)
    [question] = [
        item.frame[1] for item in client.received if item.frame[0] == 0x1A and item.to == elsewhere
    ]
    client.inject(client.packet(ONE_RTT, frame(0x1B, question)), address=elsewhere)
    client.advance(10.0)
    assert (0x19, 0) in client.frames(0x19)
    client.send(ONE_RTT, new_connection_id(0, cid(0)))
    client.send(ONE_RTT, new_connection_id(4, cid(4)))
    assert server.termination is None
    client.send(ONE_RTT, new_connection_id(5, cid(5)))
    assert client.close_code == Code.CONNECTION_ID_LIMIT_ERROR


def test_for_a_peer_that_has_none() -> None:
    client, _ = connected(CONFIG, scid=b"")
    client.send(ONE_RTT, new_connection_id(1, cid(1)))
    assert client.close_code == Code.PROTOCOL_VIOLATION


# Stateless resets.

TOKEN = bytes(range(16))


@pytest.mark.parametrize("size", [21, 22, 28, 29, 30, 43, 1200])
@pytest.mark.parametrize("ours", [True, False])
def test_a_stateless_reset_ends_the_connection(size: int, ours: bool) -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(
        endpoint, alter=lambda params: setattr(params, "stateless_reset_token", TOKEN)
    ).listen()
    head = b"\x45" + (connection.source_id if ours else b"anything")
    endpoint.ready()
    server.inject(head.ljust(size - 16, b"\xa5")[: size - 16] + TOKEN)
    assert isinstance(connection.termination, StatelessReset)
    assert connection in endpoint.ready()
    assert not server.collect()
    server.advance(20.0)
    assert connection.is_closed
    assert endpoint.connections == 0


@pytest.mark.parametrize("at", [0, 7, 15])
def test_a_wrong_token_is_no_reset(at: int) -> None:
    endpoint, connection = client_connection(CONFIG)
    server = RawServer(
        endpoint, alter=lambda params: setattr(params, "stateless_reset_token", TOKEN)
    ).listen()
    wrong = bytearray(TOKEN)
    wrong[at] ^= 1
    for head in (b"\x45anything", b"\x45" + connection.source_id):
        server.inject(head.ljust(40, b"\xa5") + wrong)
    server.inject(b"\x45any" + TOKEN)  # 20 bytes: too short to be one
    assert connection.termination is None


def test_tokens_of_unused_and_retired_connection_ids_do_not_count() -> None:
    server, connection = connected_client(CONFIG)
    unused = b"u" * 16
    server.send(ONE_RTT, new_connection_id(1, cid(1), token=unused))
    server.inject(b"\x45anything".ljust(40, b"\xa5") + unused)
    assert connection.termination is None
    server.scid = cid(1)
    server.send(ONE_RTT, new_connection_id(2, cid(2), retire_prior_to=1))
    assert connection.destination_id == cid(1)
    server.inject(b"\x45anything".ljust(40, b"\xa5") + unused)
    assert isinstance(connection.termination, StatelessReset)
