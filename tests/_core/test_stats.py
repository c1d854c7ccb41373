"""``Connection.stats``: each counter counts what its name says, at both ends."""

from __future__ import annotations

from itertools import pairwise

from cwt.config import Config
from cwt.quic import RecvInfo, Shutdown
from cwt.testing import CLIENT, SERVER, Delay
from tests.sim.nodes import DropList, Rebind
from tests.sim.world import World

DELAY = 0.01


def world(**options: object) -> World:
    made = World(5, up=[Delay(DELAY)], down=[Delay(DELAY)], **options)  # type: ignore[arg-type]
    made.establish()
    made.run_for(0.5)
    return made


def test_a_transfer() -> None:
    pair = world(client_config=Config(ecn=False), server_config=Config(ecn=False))
    stream = pair.client.open_stream()
    assert stream is not None
    before = pair.client.stats()
    pair.client.stream_send(stream, b"x" * 100_000, True)
    pair.run_for(1)
    client, server = pair.client.stats(), pair.server.stats()
    assert client.bytes_sent - before.bytes_sent > 100_000
    assert client.packets_sent == server.packets_received
    assert client.bytes_sent == server.bytes_received
    assert client.packets_lost == client.packets_retransmitted == 0
    assert client.stream_bytes_retransmitted == 0
    assert client.paths == server.paths == 1
    assert client.bytes_in_flight == 0
    # The transfer takes some round trips and not the whole second.
    assert 2 * DELAY <= client.bytes_in_flight_duration - before.bytes_in_flight_duration < 0.9


def test_the_handshake_is_timed() -> None:
    pair = World(5, up=[Delay(DELAY)], down=[Delay(DELAY)])
    assert pair.client.stats().handshake_duration is None
    pair.establish()
    assert pair.client.stats().handshake_duration == 2 * DELAY
    assert pair.server.stats().handshake_duration == 2 * DELAY
    assert not pair.client.stats().early_data_accepted


def test_what_is_lost_is_sent_again() -> None:
    lost = DropList()
    pair = World(5, up=[Delay(DELAY), lost], down=[Delay(DELAY)])
    pair.establish()
    pair.run_for(0.5)
    stream = pair.client.open_stream()
    assert stream is not None
    lost.indexes = {lost.seen, lost.seen + 1}
    pair.client.stream_send(stream, b"x" * 50_000, True)
    pair.run_for(1)
    stats = pair.client.stats()
    assert stats.packets_lost >= 2
    assert stats.packets_retransmitted >= 1
    assert 1000 < stats.stream_bytes_retransmitted <= 2 * stats.mtu


def test_streams_abandoned_from_both_ends() -> None:
    pair = world()
    for direction in (Shutdown.READ, Shutdown.WRITE, Shutdown.WRITE):
        stream = pair.client.open_stream()
        assert stream is not None
        pair.client.stream_send(stream, b"x")
        pair.client.stream_shutdown(stream, direction, 1)
    pair.run_for(0.5)
    client, server = pair.client.stats(), pair.server.stats()
    assert (client.streams_stopped, client.streams_stopped_by_peer) == (1, 0)
    assert (server.streams_stopped, server.streams_stopped_by_peer) == (0, 1)
    assert (client.streams_reset, client.streams_reset_by_peer) == (2, 1)
    assert (server.streams_reset, server.streams_reset_by_peer) == (1, 2)


def test_blocked_by_limits() -> None:
    small = Config(initial_max_stream_data=2000, initial_max_data=3000, initial_max_streams_bidi=2)
    pair = world(server_config=small)
    for _ in range(2):
        stream = pair.client.open_stream()
        assert stream is not None
        pair.client.stream_send(stream, b"x" * 5000)
        pair.run_for(0.2)
    assert pair.client.open_stream() is None
    pair.run_for(0.5)
    client, server = pair.client.stats(), pair.server.stats()
    assert client.stream_data_blocked_sent == server.stream_data_blocked_received == 1
    assert client.data_blocked_sent == server.data_blocked_received == 1
    assert server.streams_blocked_bidi_received == 1
    assert server.streams_blocked_uni_received == 0
    assert server.data_blocked_sent == server.stream_data_blocked_sent == 0


def test_datagrams() -> None:
    pair = world()
    for _ in range(5):
        pair.client.dgram_send(b"x")
    pair.run_for(0.2)
    assert pair.client.stats().datagrams_sent == 5
    assert pair.server.stats().datagrams_received == 5
    assert pair.server.stats().datagrams_sent == 0


def test_key_updates_and_paths() -> None:
    rebind = Rebind(1.0)
    pair = World(5, up=[Delay(DELAY), rebind], down=[Delay(DELAY), rebind.back])
    pair.establish()
    pair.run_for(0.5)
    assert pair.client.initiate_key_update()
    pair.client.ping()
    pair.run_for(1)
    pair.client.ping()
    pair.run_for(1)
    client, server = pair.client.stats(), pair.server.stats()
    assert client.key_updates == server.key_updates == 1
    assert client.path_challenges_received >= 1
    assert server.path_challenges_received == 0


def test_dropped_packets() -> None:
    pair = world()
    forged = b"\x40" + pair.server.source_id + bytes(40)
    before = pair.server.stats()
    pair.server.recv(forged, RecvInfo(CLIENT, SERVER), pair.now)
    after = pair.server.stats()
    assert after.packets_dropped == before.packets_dropped + 1
    assert after.packets_received == before.packets_received


def test_the_amplification_limit() -> None:
    # A client whose ClientHello is all that is heard of it: the server soon has repeated enough.
    pair = World(5, up=[Delay(DELAY), DropList(*range(2, 100))], down=[Delay(DELAY)])
    pair.run_for(9)
    stats = pair.server.stats()
    assert stats.amplification_limited >= 1
    assert stats.bytes_sent <= 3 * stats.bytes_received
    assert pair.client.stats().amplification_limited == 0


def test_counters_never_go_back() -> None:
    pair = world()
    seen = [pair.client.stats()]
    for _ in range(5):
        pair.client.dgram_send(b"x" * 100)
        pair.client.ping()
        pair.run_for(0.1)
        seen.append(pair.client.stats())
    for older, newer in pairwise(seen):
        for name in ("packets_sent", "bytes_sent", "datagrams_sent", "bytes_in_flight_duration"):
            assert getattr(older, name) <= getattr(newer, name)
