"""Paths: anti-amplification, validation and moves of the client (RFC 9000 Sections 8 and 9)."""

from __future__ import annotations

import dataclasses

import pytest

from cwt._core.connection import Connection
from cwt._types import PathEventKind
from cwt.config import TransportConfig
from cwt.testing import CLIENT, SERVER
from tests._core.raw_peer import (
    CID,
    HANDSHAKE,
    INITIAL,
    ONE_RTT,
    PADDING,
    PING,
    RawClient,
    RawServer,
    ack,
    client_connection,
    crypto,
    frame,
    new_connection_id,
    server_endpoint,
)
from tests._core.support import connected, connected_client

OTHER_PORT = (CLIENT[0], 50001)
OTHER_HOST = ("198.51.100.7", 50000)
THIRD = ("203.0.113.9", 1)
CONFIG = TransportConfig(grease=False, mtu_discovery=False, pacing=False)


def quiet() -> tuple[RawClient, Connection]:
    """Connected, and everything acknowledged."""
    client, server = connected(CONFIG)
    client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    client.datagrams.clear()
    client.destinations.clear()
    client.received.clear()
    return client, server


def send_from(client: RawClient, address: object, payload: bytes) -> int:
    """A packet from *address*; its size."""
    packet = client.packet(ONE_RTT, payload)
    client.inject(packet, address=address)
    client.collect()
    return len(packet)


def sent_to(client: RawClient, address: object) -> int:
    pairs = zip(client.destinations, client.datagrams, strict=True)
    return sum(len(data) for to, data in pairs if to == address)


def frames_to(client: RawClient, address: object, kind: int) -> list[tuple[object, ...]]:
    return [item.frame for item in client.received if item.to == address and item.frame[0] == kind]


def challenge(client: RawClient, address: object = OTHER_HOST) -> bytes:
    """What the newest PATH_CHALLENGE to *address* asks."""
    [*_, (_, data)] = frames_to(client, address, 0x1A)
    assert isinstance(data, bytes)
    return data


# Anti-amplification (Section 8.1).


def test_three_times_what_came_and_no_more_before_validation() -> None:
    client = RawClient(server_endpoint(), answer=False)
    client.connect()
    assert sum(map(len, client.datagrams)) <= 3600
    client.advance(9.0)
    assert sum(map(len, client.datagrams)) <= 3600


def test_what_comes_from_elsewhere_gives_no_credit() -> None:
    client = RawClient(server_endpoint(), answer=False)
    client.connect()
    for _ in range(20):
        client.inject(client.padded(INITIAL, PING), address=OTHER_HOST)
        client.collect()
    client.advance(9.0)
    assert sent_to(client, CLIENT) <= 3600
    assert sent_to(client, OTHER_HOST) == 0


def test_a_handshake_packet_from_elsewhere_validates_nothing() -> None:
    client = RawClient(server_endpoint(), answer=False).connect()
    client.inject(client.packet(HANDSHAKE, PING), address=OTHER_HOST)
    client.advance(9.0)
    assert sent_to(client, CLIENT) <= 3600


def test_full_datagrams_with_initial_packets() -> None:
    client = RawClient(server_endpoint(), answer=False).connect()
    assert len(client.datagrams[0]) == 1200


# Moves (Section 9.3).


@pytest.mark.parametrize("address", [OTHER_PORT, OTHER_HOST])
def test_the_server_follows_and_validates(address: object) -> None:
    client, server = quiet()
    send_from(client, address, PING + PADDING * 1000)
    assert server.remote_address == address
    assert len(frames_to(client, address, 0x1A)) == 1
    assert set(map(len, client.datagrams)) == {1200}
    send_from(client, address, frame(0x1B, challenge(client, address)))
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(9000))
    client.collect()
    assert sent_to(client, address) > 9000
    client.advance(20.0)
    assert server.remote_address == address


def test_three_times_what_came_from_the_new_address() -> None:
    client, server = quiet()
    stream_id = server.open_stream()
    assert stream_id is not None
    size = send_from(client, OTHER_HOST, PING + PADDING * 20)
    server.stream_send(stream_id, bytes(9000))
    client.collect()
    assert client.frames(0x1A)
    assert 0 < sent_to(client, OTHER_HOST) <= 3 * size
    size += send_from(client, OTHER_HOST, PING)
    client.advance(0.5)
    assert sent_to(client, OTHER_HOST) <= 3 * size
    assert sent_to(client, CLIENT) == len(frames_to(client, CLIENT, 0x1A)) * 1200 > 0


def test_back_to_the_old_address_when_the_new_one_does_not_answer() -> None:
    client, server = quiet()
    send_from(client, OTHER_HOST, PING)
    assert server.remote_address == OTHER_HOST
    client.advance(5.0)
    assert server.remote_address == CLIENT
    assert server.termination is None
    client.destinations.clear()
    client.send(ONE_RTT, PING * 2)
    client.advance(0.1)
    assert set(client.destinations) == {CLIENT}


def test_a_wrong_response_validates_nothing() -> None:
    client, server = quiet()
    send_from(client, OTHER_HOST, PING)
    wrong = bytes(byte ^ 1 for byte in challenge(client))
    send_from(client, OTHER_HOST, frame(0x1B, wrong))
    client.advance(5.0)
    assert server.remote_address == CLIENT


def test_the_old_address_needs_no_new_validation() -> None:
    client, server = quiet()
    send_from(client, OTHER_HOST, PING)
    send_from(client, CLIENT, PING)
    assert server.remote_address == CLIENT
    assert len(frames_to(client, OTHER_HOST, 0x1A)) == 1
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(9000))
    client.collect()
    assert sent_to(client, CLIENT) > 9000


def test_many_ports_keep_two_paths() -> None:
    client, server = quiet()
    for port in range(2000):
        client.inject(client.packet(ONE_RTT, PING), address=("198.51.100.7", port))
        client.collect()
    assert server.remote_address == ("198.51.100.7", 1999)
    client.advance(5.0)
    assert server.remote_address == CLIENT
    assert server.termination is None


@pytest.mark.parametrize(
    "payload",
    [frame(0x1A, bytes(8)), new_connection_id(1, b"12345678"), frame(0x1B, bytes(8)), PADDING],
)
def test_probing_packets_are_no_move(payload: bytes) -> None:
    client, server = quiet()
    send_from(client, OTHER_HOST, payload)
    assert server.remote_address == CLIENT


def test_a_late_packet_is_no_move() -> None:
    client, server = quiet()
    late = client.packet(ONE_RTT, PING)
    client.send(ONE_RTT, PING)
    client.inject(late, address=OTHER_HOST)
    assert server.remote_address == CLIENT


def test_a_copy_is_no_move() -> None:
    client, server = quiet()
    packet = client.packet(ONE_RTT, PING)
    client.inject(packet)
    client.inject(packet, address=OTHER_HOST)
    assert server.remote_address == CLIENT


def test_a_challenge_that_moves_is_answered_at_the_new_address() -> None:
    client, server = quiet()
    send_from(client, OTHER_HOST, frame(0x1A, b"question") + PING + PADDING * 1100)
    assert server.remote_address == OTHER_HOST
    assert client.frames(0x1B) == frames_to(client, OTHER_HOST, 0x1B) == [(0x1B, b"question")]


def estimate(address: object) -> tuple[float, float]:
    """The round-trip time before and after a move to *address*."""
    client, server = quiet()
    stream_id = server.open_stream()
    assert stream_id is not None
    for _ in range(20):
        server.stream_send(stream_id, b"x")
        client.collect()
        client.now += 0.02
        client.send(ONE_RTT, ack(client.largest[ONE_RTT], client.largest[ONE_RTT]))
    before = server.stats().smoothed_rtt
    send_from(client, address, PING + PADDING * 1000)
    client.now += 0.25
    send_from(client, address, frame(0x1B, challenge(client, address)))
    return before, server.stats().smoothed_rtt


def test_another_host_starts_recovery_anew() -> None:
    # With what validation took instead of the default (RFC 9002 Section 6.2.2).
    before, after = estimate(OTHER_HOST)
    assert before < 0.1
    assert after == pytest.approx(0.25)


def test_another_port_does_not() -> None:
    before, after = estimate(OTHER_PORT)
    assert after == before


def unanswered(address: object) -> tuple[RawClient, Connection, int]:
    """Twenty packets under way to the old address when the client turns up at *address*; the newest."""
    client, server = quiet()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(9000))
    client.collect()
    newest = client.largest[ONE_RTT]
    client.now += 0.05
    send_from(client, address, PING + PADDING * 1000)
    return client, server, newest


def test_what_is_under_way_on_the_old_path_does_not_count_on_the_new_one() -> None:
    client, server, newest = unanswered(OTHER_HOST)
    before = server.stats()
    assert before.congestion_window == 12000
    assert 0 < before.bytes_in_flight < 3000
    send_from(client, OTHER_HOST, ack(newest, 5))
    after = server.stats()
    assert after.bytes_acked > before.bytes_acked + 5000
    assert after.congestion_window == before.congestion_window
    assert after.bytes_in_flight >= before.bytes_in_flight
    assert after.smoothed_rtt == before.smoothed_rtt == pytest.approx(CONFIG.initial_rtt)


def test_losses_of_the_old_path_do_not_count_on_the_new_one() -> None:
    client, server, newest = unanswered(OTHER_HOST)
    send_from(
        client, OTHER_HOST, ack(client.largest[ONE_RTT], client.largest[ONE_RTT] - newest - 1)
    )
    client.now += 1.0
    send_from(
        client, OTHER_HOST, ack(client.largest[ONE_RTT], client.largest[ONE_RTT] - newest - 1)
    )
    after = server.stats()
    assert after.packets_lost >= 6
    assert after.congestion_window >= 12000


def test_the_old_window_is_there_again_on_the_old_path() -> None:
    client, server, newest = unanswered(OTHER_HOST)
    send_from(client, CLIENT, PING)
    before = server.stats()
    assert before.bytes_in_flight > 8000
    send_from(client, CLIENT, ack(newest, 5))
    after = server.stats()
    assert after.bytes_in_flight < 4000
    assert after.congestion_window > before.congestion_window


def test_behind_another_port_all_counts_on() -> None:
    client, server, newest = unanswered(OTHER_PORT)
    before = server.stats()
    assert before.bytes_in_flight > 8000
    send_from(client, OTHER_PORT, ack(newest, 5))
    after = server.stats()
    assert after.bytes_in_flight < before.bytes_in_flight - 5000
    assert after.congestion_window > before.congestion_window


def test_a_move_uses_another_connection_id() -> None:
    client, server = quiet()
    client.send(ONE_RTT, new_connection_id(1, b"12345678"))
    client.scid = b"12345678"
    send_from(client, OTHER_PORT, PING + PADDING * 1100)
    assert server.destination_id == b"12345678"
    assert {item.dcid for item in client.received if item.to == OTHER_PORT} == {b"12345678"}
    assert {item.dcid for item in client.received if item.to == CLIENT} == {CID}
    send_from(client, OTHER_PORT, frame(0x1B, challenge(client, OTHER_PORT)))
    client.advance(5.0)
    assert (0x19, 0) in client.frames(0x19)


def test_probes_are_answered_where_they_come_from() -> None:
    # Section 8.2.2, without a move: this is how a client tries a path before it takes it.
    client, server = quiet()
    size = send_from(client, OTHER_HOST, frame(0x1A, b"question") + PADDING * 1150)
    assert server.remote_address == CLIENT
    assert client.frames(0x1B) == [(0x1B, b"question")]
    assert client.destinations[0] == OTHER_HOST
    assert sent_to(client, OTHER_HOST) == 1200
    client.send(ONE_RTT, PING + PING)
    client.advance(0.1)
    assert sent_to(client, CLIENT) > 0
    assert sent_to(client, OTHER_HOST) == 1200 <= 3 * size
    send_from(client, OTHER_HOST, PING)
    assert server.remote_address == OTHER_HOST


def test_a_small_probe_has_a_small_answer() -> None:
    client, _ = quiet()
    size = send_from(client, OTHER_HOST, frame(0x1A, b"question"))
    assert client.frames(0x1B) == [(0x1B, b"question")]
    assert 0 < sent_to(client, OTHER_HOST) <= 3 * size


def test_a_flood_of_probes_is_answered_in_part() -> None:
    client, server = quiet()
    for port in range(1000):
        packet = client.packet(ONE_RTT, frame(0x1A, port.to_bytes(8, "big")))
        client.inject(packet, address=(OTHER_HOST[0], port))
    client.collect()
    assert len(client.frames(0x1B)) == 3
    assert server.remote_address == CLIENT


# The client's side.


def test_servers_do_not_move() -> None:
    server, connection = connected_client()
    server.inject(server.packet(ONE_RTT, b"\x1e"), address=THIRD)
    assert not connection.is_confirmed
    server.send(ONE_RTT, b"\x1e")
    assert connection.is_confirmed


def test_a_client_answers_challenges() -> None:
    server, _ = connected_client()
    server.datagrams.clear()
    server.send(ONE_RTT, frame(0x1A, b"question"))
    assert server.frames(0x1B) == [(0x1B, b"question")]
    assert len(server.datagrams[-1]) == 1200


def test_a_flood_of_challenges_is_answered_in_part() -> None:
    client, server = quiet()
    client.send(ONE_RTT, b"".join(frame(0x1A, i.to_bytes(8, "big")) for i in range(100)))
    assert [data for _, data in client.frames(0x1B)] == [i.to_bytes(8, "big") for i in range(3)]
    assert server.termination is None
    client.received.clear()
    for i in range(50):
        client.inject(client.packet(ONE_RTT, frame(0x1A, i.to_bytes(8, "big"))))
    client.collect()
    assert len(client.frames(0x1B)) == 3


def test_coalesced_packets_for_another_connection_id_are_not_read() -> None:
    # Section 12.2.
    client = RawClient(server_endpoint(), answer=False).connect()
    assert client.connection is not None
    before = client.connection.stats().packets_received
    first = client.packet(HANDSHAKE, PING)
    client.inject(first + client.packet(HANDSHAKE, PING, dcid=b"8 others"))
    assert client.connection.stats().packets_received == before + 1
    client.inject(client.packet(HANDSHAKE, PING) + client.packet(HANDSHAKE, PING))
    assert client.connection.stats().packets_received == before + 3


def test_an_initial_packet_of_a_server_has_no_token() -> None:
    # Section 17.2.2.
    endpoint, connection = client_connection()
    server = RawServer(endpoint, answer=False).listen()
    server.inject(server.packet(INITIAL, crypto(0, b"\2\0\0"), token=b"token"))
    assert connection.stats().packets_received == 0
    server.inject(server.packet(INITIAL, crypto(0, b"\2\0\0")))
    assert connection.stats().packets_received == 1


# Attackers off the path (Section 9.3), and floods.


def kinds(connection: Connection) -> list[PathEventKind]:
    found = []
    while (event := connection.path_event_next()) is not None:
        found.append(event.kind)
    return found


def give_ids(client: RawClient, *sequences: int) -> None:
    for sequence in sequences:
        client.send(ONE_RTT, new_connection_id(sequence, b"%08d" % sequence))
    client.received.clear()
    client.datagrams.clear()
    client.destinations.clear()


def test_the_path_before_is_validated_again() -> None:
    # Section 9.3.3: a peer that is still there answers with more than a probe, and gets us back.
    client, server = quiet()
    send_from(client, OTHER_HOST, PING + PADDING * 1100)
    assert len(frames_to(client, CLIENT, 0x1A)) == 1
    answer = frame(0x1B, challenge(client, CLIENT)) + PING
    send_from(client, CLIENT, answer)
    assert server.remote_address == CLIENT
    client.advance(10.0)
    assert server.remote_address == CLIENT
    assert server.termination is None


def test_an_answer_on_the_path_in_use_is_more_than_a_probe() -> None:
    client, _ = quiet()
    client.send(ONE_RTT, frame(0x1A, b"question"))
    number = next(item.number for item in client.received if item.frame[0] == 0x1B)
    assert 0x01 in {item.frame[0] for item in client.received if item.number == number}


def test_probes_on_other_paths_carry_nothing_else() -> None:
    client, server = quiet()
    send_from(client, OTHER_HOST, frame(0x1A, b"question") + PADDING * 1100)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(5000))
    client.advance(3.0)
    there = {item.frame[0] for item in client.received if item.to == OTHER_HOST}
    assert there <= {0x00, 0x1A, 0x1B}


def test_the_first_packet_to_a_new_address_has_a_challenge_though_the_window_is_full() -> None:
    client, server = quiet()
    stream_id = server.open_stream()
    assert stream_id is not None
    server.stream_send(stream_id, bytes(100_000))
    client.collect()
    assert server.stats().bytes_in_flight > 10_000
    send_from(client, OTHER_PORT, PING + PADDING * 1100)
    first = next(item.number for item in client.received if item.to == OTHER_PORT)
    assert 0x1A in {item.frame[0] for item in client.received if item.number == first}


def test_a_small_challenge_is_followed_by_a_full_one() -> None:
    # Section 8.2.3: the address is known then, but not that the path takes whole datagrams.
    client, server = quiet()
    send_from(client, OTHER_HOST, PING)
    assert (
        max(
            len(d)
            for d, to in zip(client.datagrams, client.destinations, strict=True)
            if to == OTHER_HOST
        )
        < 200
    )
    first = challenge(client)
    send_from(client, OTHER_HOST, frame(0x1B, first))
    assert not server.is_path_validated(SERVER, OTHER_HOST)
    second = challenge(client)
    assert second != first
    assert len(client.datagrams[-1]) == 1200
    send_from(client, OTHER_HOST, frame(0x1B, second))
    assert server.is_path_validated(SERVER, OTHER_HOST)


def test_every_challenge_is_another_one() -> None:
    client, server = quiet()
    send_from(client, OTHER_HOST, PING + PADDING * 1100)
    client.advance(2.5)
    asked = [data for _, data in frames_to(client, OTHER_HOST, 0x1A)]
    assert 2 <= len(asked) == len(set(asked)) <= 4
    send_from(client, OTHER_HOST, frame(0x1B, asked[0]))
    assert server.is_path_validated(SERVER, OTHER_HOST)


def test_events_and_paths_of_a_flood_are_few() -> None:
    client, server = quiet()
    for port in range(2000):
        client.inject(client.packet(ONE_RTT, PING), address=("198.51.100.7", port))
        client.collect()
    assert len(list(server.paths_iter())) == 4
    assert len(kinds(server)) == 16


def test_a_flood_with_connection_ids_of_ours_ends_nothing() -> None:
    # Each probe takes a connection ID of the client's, whose end it never acknowledges.
    client, server = quiet()
    give_ids(client, 1, 2, 3)
    sequence = 4
    for port in range(200):
        ids = server.source_ids
        probe = client.packet(ONE_RTT, frame(0x1A, bytes(8)), dcid=ids[port % len(ids)])
        client.inject(probe, address=(OTHER_HOST[0], port))
        client.collect()
        retired = len(client.frames(0x19))
        while sequence < 4 + retired:
            client.send(ONE_RTT, new_connection_id(sequence, b"%08d" % sequence))
            sequence += 1
        assert server.termination is None
    assert 0 < len(client.frames(0x19)) < 3 * CONFIG.active_connection_id_limit
    assert server.remote_address == CLIENT


def test_without_a_connection_id_for_it_a_path_waits() -> None:
    client, server = quiet()
    client.inject(
        client.packet(ONE_RTT, PING + PADDING * 1100, dcid=server.source_ids[1]), address=OTHER_HOST
    )
    client.collect()
    assert server.remote_address == CLIENT
    assert sent_to(client, OTHER_HOST) == 0
    give_ids(client, 1)
    client.scid = b"00000001"
    client.inject(
        client.packet(ONE_RTT, PING + PADDING * 1100, dcid=server.source_ids[1]), address=OTHER_HOST
    )
    client.collect()
    assert server.remote_address == OTHER_HOST
    assert server.destination_id == b"00000001"


def test_a_connection_id_that_is_taken_back_while_its_path_is_tried() -> None:
    client, server = quiet()
    give_ids(client, 1)
    send_from(client, OTHER_HOST, frame(0x1A, b"question") + PADDING * 1100)
    assert {item.dcid for item in client.received if item.to == OTHER_HOST} == {b"00000001"}
    client.send(ONE_RTT, new_connection_id(2, b"00000002", retire_prior_to=2))
    client.scid = b"00000002"
    assert server.destination_id == b"00000002"
    client.send(ONE_RTT, new_connection_id(3, b"00000003", retire_prior_to=2))
    client.advance(10.0)
    assert server.termination is None
    assert {frame_[1] for frame_ in client.frames(0x19)} >= {0, 1}


def test_a_connection_id_on_two_paths_is_told() -> None:
    client, server = quiet()
    client.send(ONE_RTT, PING)
    send_from(client, OTHER_PORT, PING + PADDING * 1000)
    found = [server.path_event_next() for _ in range(3)]
    assert [event.kind for event in found if event] == [
        PathEventKind.NEW,
        PathEventKind.REUSED_SOURCE_CONNECTION_ID,
        PathEventKind.PEER_MIGRATED,
    ]
    assert found[1] is not None
    assert found[1].sequence == 0
    assert (found[1].remote, found[1].other) == (OTHER_PORT, (SERVER, CLIENT))


# disable_active_migration (Section 18.2).

FIXED = dataclasses.replace(CONFIG, disable_active_migration=True)


def test_a_move_on_purpose_that_was_forbidden_is_not_followed() -> None:
    client, server = connected(FIXED)
    client.send(ONE_RTT, PING)
    give_ids(client, 1)
    before = server.stats().packets_received
    for payload in (PING, frame(0x1A, bytes(8)) + PADDING * 1100):
        packet = client.packet(ONE_RTT, payload, dcid=server.source_ids[1])
        client.inject(packet, address=OTHER_HOST)
    client.collect()
    assert server.remote_address == CLIENT
    assert sent_to(client, OTHER_HOST) == 0
    assert server.stats().packets_received == before
    assert server.termination is None


def test_what_a_nat_does_is_followed_all_the_same() -> None:
    client, server = connected(FIXED)
    client.send(ONE_RTT, PING)
    send_from(client, OTHER_PORT, PING + PADDING * 1100)
    assert server.remote_address == OTHER_PORT


def test_a_probe_that_is_lost_says_nothing_of_the_path_in_use() -> None:
    # A NAT took another port: the challenge to the one before it gets lost, and the window stays.
    client, server = quiet()
    send_from(client, OTHER_PORT, PING + PADDING * 1100)
    assert frames_to(client, CLIENT, 0x1A)
    before = server.stats()
    lost = {item.number for item in client.received if item.to == CLIENT}
    stream_id = server.open_stream()
    assert stream_id is not None
    send_from(client, OTHER_PORT, frame(0x1B, challenge(client, OTHER_PORT)))
    server.stream_send(stream_id, bytes(6000))
    client.collect()
    newest = client.largest[ONE_RTT]
    send_from(client, OTHER_PORT, ack(newest, newest - max(lost) - 1))
    client.advance(1.0)
    after = server.stats()
    assert after.packets_lost > before.packets_lost
    assert after.congestion_window >= before.congestion_window
