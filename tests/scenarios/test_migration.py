"""Clients that move on purpose, and servers that ask them to (RFC 9000 Section 9)."""

from __future__ import annotations

from typing import Any

import pytest

from cwt._types import Address, PathEvent, PathEventKind, PathState
from cwt.config import Config
from cwt.errors import MigrationError
from cwt.quic import Connection
from cwt.testing import CLIENT, SERVER, Datagram, Delay, Drop, Node
from tests.sim.nodes import Bottleneck
from tests.sim.world import WebTransportWorld

ELSEWHERE: Address = ("198.51.100.7", 50007)
OTHER_PORT: Address = (CLIENT[0], 50001)
PREFERRED: Address = ("203.0.113.4", 4444)
PREFERRED_V6: Address = ("2001:db8::4", 4446)


class Wire(Node):
    """Lets datagrams through, remembers them, and loses those that *loses* says."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Datagram] = []
        self.dead: set[tuple[Address, Address]] = set()
        """(source, destination) pairs between which everything is lost."""

    def send(self, datagram: Datagram, now: float) -> None:
        self.seen.append(datagram)
        if (datagram.source, datagram.destination) not in self.dead:
            super().send(datagram, now)

    def ids(self, source: Address, destination: Address) -> set[bytes]:
        """The destination connection IDs of the short headers between two addresses."""
        return {
            bytes(datagram.data[1:9])
            for datagram in self.seen
            if (datagram.source, datagram.destination) == (source, destination)
            and not datagram.data[0] & 0x80
        }


class Migration:
    """A world with a wire tapped at both directions, and a session in it."""

    def __init__(
        self,
        seed: int | str = 0,
        *,
        loss: float = 0.0,
        rate: float = 500_000,
        server: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
    ) -> None:
        self.up, self.down = Wire(), Wire()
        self.world = WebTransportWorld(
            seed,
            up=[self.up, Bottleneck(rate, 60_000), Drop(loss), Delay(0.02)],
            down=[self.down, Bottleneck(rate, 60_000), Drop(loss), Delay(0.02)],
            config=Config(**(client or {})),
            server_config=Config(**(server or {})),
        )
        self.server_peer = self.world.open_session()
        self.client_peer = self.world.client_peer

    @property
    def client(self) -> Connection:
        return self.world.client

    @property
    def server(self) -> Connection:
        return self.world.server

    def echo(self, size: int, seconds: float = 120.0) -> None:
        """Send *size* bytes there and back again."""
        stream_id = self.start(size)
        self.finish(stream_id, size, seconds)

    def start(self, size: int) -> int:
        stream_id = self.client_peer.open()
        self.client_peer.send(stream_id, bytes(range(256)) * (size // 256))
        return stream_id

    def finish(self, stream_id: int, size: int, seconds: float = 120.0) -> None:
        self.world.drive(lambda: stream_id in self.client_peer.finished, seconds)
        assert self.client_peer.received[stream_id] == bytes(range(256)) * (size // 256)

    def run(self, seconds: float) -> None:
        self.world.run_for(seconds)


def kinds(connection: Connection) -> list[PathEventKind]:
    return [event.kind for event in events(connection)]


def events(connection: Connection) -> list[PathEvent]:
    found = []
    while (event := connection.path_event_next()) is not None:
        found.append(event)
    return found


def assert_moved(migration: Migration, address: Address) -> None:
    assert migration.client.local_address == address
    assert migration.server.remote_address == address
    assert migration.client.termination is migration.server.termination is None


@pytest.mark.parametrize("address", [ELSEWHERE, OTHER_PORT], ids=["address", "port"])
@pytest.mark.parametrize(("seed", "loss"), [(0, 0.0), (1, 0.05), (2, 0.05), (3, 0.1), (4, 0.1)])
def test_in_the_midst_of_a_transfer(address: Address, seed: int, loss: float) -> None:
    migration = Migration(seed, loss=loss)
    stream_id = migration.start(512_000)
    migration.run(0.5)
    assert stream_id not in migration.client_peer.finished
    migration.client.migrate(address)
    migration.finish(stream_id, 512_000)
    assert_moved(migration, address)
    # Section 9.5: no connection ID is seen on two paths.
    for wire, old, new in (
        (migration.up, (CLIENT, SERVER), (address, SERVER)),
        (migration.down, (SERVER, CLIENT), (SERVER, address)),
    ):
        assert wire.ids(*old) and wire.ids(*new)
        assert not wire.ids(*old) & wire.ids(*new)


def test_what_both_sides_tell() -> None:
    migration = Migration()
    migration.client.migrate(ELSEWHERE)
    migration.run(2.0)
    assert kinds(migration.client) == [
        PathEventKind.NEW,
        PathEventKind.VALIDATED,
        PathEventKind.MIGRATED,
        PathEventKind.CLOSED,
    ]
    told = events(migration.server)
    assert [event.kind for event in told] == [
        PathEventKind.NEW,
        PathEventKind.VALIDATED,
        PathEventKind.PEER_MIGRATED,
        PathEventKind.CLOSED,
    ]
    assert {(event.local, event.remote) for event in told[:3]} == {(SERVER, ELSEWHERE)}
    assert told[3].remote == CLIENT


def test_a_path_that_was_tried_is_taken_at_once() -> None:
    migration = Migration()
    migration.client.probe_path(ELSEWHERE)
    migration.run(1.0)
    assert kinds(migration.client) == [PathEventKind.NEW, PathEventKind.VALIDATED]
    assert migration.client.is_path_validated(ELSEWHERE, SERVER)
    assert list(migration.client.paths_iter()) == [(CLIENT, SERVER), (ELSEWHERE, SERVER)]
    assert migration.server.remote_address == CLIENT
    migration.echo(10_240)
    assert migration.client.local_address == CLIENT
    migration.client.migrate(ELSEWHERE)
    assert migration.client.local_address == ELSEWHERE
    migration.echo(10_240)
    assert_moved(migration, ELSEWHERE)


def test_only_probes_are_sent_to_a_path_that_is_tried() -> None:
    migration = Migration()
    before = migration.server.stats().packets_received
    migration.client.probe_path(ELSEWHERE)
    migration.echo(102_400)
    tried = [len(item.data) for item in migration.up.seen if item.source == ELSEWHERE]
    assert 1 <= len(tried) <= 3 and set(tried) == {1200}
    assert migration.server.stats().packets_received > before


def test_a_path_that_does_not_work() -> None:
    migration = Migration()
    migration.up.dead.add((ELSEWHERE, SERVER))
    migration.client.migrate(ELSEWHERE)
    migration.echo(51_200)
    migration.run(5.0)
    assert kinds(migration.client) == [PathEventKind.NEW, PathEventKind.FAILED]
    assert migration.client.local_address == CLIENT
    assert list(migration.client.paths_iter()) == [(CLIENT, SERVER)]
    probes = [item for item in migration.up.seen if item.source == ELSEWHERE]
    assert 2 <= len(probes) <= 4
    migration.echo(51_200)


def test_a_path_that_works_in_one_direction_only() -> None:
    migration = Migration()
    migration.down.dead.add((SERVER, ELSEWHERE))
    migration.client.migrate(ELSEWHERE)
    migration.run(10.0)
    assert migration.client.local_address == CLIENT
    assert migration.server.remote_address == CLIENT
    migration.echo(51_200)


def test_the_old_path_is_gone_already() -> None:
    # A mobile device that left its network: what was under way there is sent again.
    migration = Migration()
    stream_id = migration.start(512_000)
    migration.run(0.5)
    migration.up.dead.add((CLIENT, SERVER))
    migration.down.dead.add((SERVER, CLIENT))
    migration.client.migrate(ELSEWHERE)
    migration.finish(stream_id, 512_000)
    assert_moved(migration, ELSEWHERE)


def test_back_and_forth() -> None:
    # Each time with other connection IDs, which both sides keep issuing.
    migration = Migration()
    for turn in range(12):
        address = (ELSEWHERE, CLIENT)[turn % 2]
        migration.client.migrate(address)
        migration.echo(25_600)
        migration.run(3.0)
        assert_moved(migration, address)
    used = migration.up.ids(CLIENT, SERVER), migration.up.ids(ELSEWHERE, SERVER)
    assert len(used[0]) == 7 and len(used[1]) == 6 and not used[0] & used[1]


def test_round_many_addresses_in_a_hurry() -> None:
    # Faster than connection IDs come: paths wait for one, or make room.
    migration = Migration()
    stream_id = migration.start(512_000)
    for i in range(20):
        migration.client.migrate(("198.51.100.7", 51000 + i))
        migration.run(0.03)
    migration.client.migrate(ELSEWHERE)
    migration.finish(stream_id, 512_000)
    migration.run(5.0)
    assert_moved(migration, ELSEWHERE)
    seen: dict[bytes, Address] = {}
    for item in migration.up.seen:
        if not item.data[0] & 0x80:
            assert seen.setdefault(bytes(item.data[1:9]), item.source) == item.source


def test_statistics_of_each_path() -> None:
    migration = Migration()
    migration.echo(102_400)
    migration.client.probe_path(ELSEWHERE)
    migration.run(1.0)
    used, tried = migration.client.path_stats()
    assert (used.local, used.remote, used.active) == (CLIENT, SERVER, True)
    assert (tried.local, tried.remote, tried.active) == (ELSEWHERE, SERVER, False)
    assert used.state == tried.state == PathState.VALIDATED
    assert used.bytes_sent > 102_400 < used.bytes_received
    assert used.packets_sent > 80 < used.packets_received
    assert 1200 <= tried.bytes_sent <= 3600 and tried.bytes_received >= 1200
    assert used.min_rtt == pytest.approx(0.04, abs=0.01)
    assert used.max_rtt >= used.smoothed_rtt >= used.min_rtt
    assert used.congestion_window > tried.congestion_window
    assert tried.smoothed_rtt == pytest.approx(0.045, abs=0.02)
    stats = migration.client.stats()
    assert stats.packets_sent == used.packets_sent + tried.packets_sent


# disable_active_migration.


def test_a_server_that_asks_not_to() -> None:
    migration = Migration(server={"disable_active_migration": True})
    for verb in (migration.client.migrate, migration.client.probe_path):
        with pytest.raises(MigrationError, match="disable_active_migration"):
            verb(ELSEWHERE)
    assert list(migration.client.paths_iter()) == [(CLIENT, SERVER)]


@pytest.mark.parametrize("remote", [("203.0.113.99", 4433), (SERVER[0], 1)])
def test_a_client_goes_nowhere_else(remote: Address) -> None:
    migration = Migration()
    with pytest.raises(MigrationError, match="addresses it told us of"):
        migration.client.migrate(ELSEWHERE, remote)


def test_servers_do_not_migrate() -> None:
    migration = Migration()
    with pytest.raises(MigrationError, match="only clients"):
        migration.server.migrate(("203.0.113.99", 4433))


def test_not_before_the_handshake_nor_after_the_end() -> None:
    world = WebTransportWorld()
    with pytest.raises(MigrationError, match="not established"):
        world.client.migrate(ELSEWHERE)
    world.open_session()
    world.client.close()
    with pytest.raises(MigrationError, match="ends"):
        world.client.probe_path(ELSEWHERE)


# Preferred address (Section 9.6).

PREFERS = {"preferred_address_v4": PREFERRED, "preferred_address_v6": PREFERRED_V6}


@pytest.mark.parametrize(("seed", "loss"), [(0, 0.0), (1, 0.05), (2, 0.1)])
@pytest.mark.parametrize("fixed", [False, True])
def test_clients_move_to_where_the_server_prefers(seed: int, loss: float, fixed: bool) -> None:
    migration = Migration(seed, loss=loss, server={**PREFERS, "disable_active_migration": fixed})
    migration.echo(512_000)
    assert migration.client.remote_address == PREFERRED
    assert migration.server.local_address == PREFERRED
    assert migration.client.local_address == migration.server.remote_address == CLIENT
    for wire, old, new in (
        (migration.up, (CLIENT, SERVER), (CLIENT, PREFERRED)),
        (migration.down, (SERVER, CLIENT), (PREFERRED, CLIENT)),
    ):
        assert wire.ids(*old) and wire.ids(*new)
        assert not wire.ids(*old) & wire.ids(*new)
    # Section 18.2: after that, a client may move, whatever was said of the first address.
    migration.client.migrate(ELSEWHERE)
    migration.world.drive(lambda: migration.server.remote_address == ELSEWHERE)
    migration.echo(51_200)
    assert_moved(migration, ELSEWHERE)
    assert migration.client.remote_address == PREFERRED


def test_a_client_that_declines() -> None:
    migration = Migration(server=PREFERS, client={"use_preferred_address": False})
    migration.echo(51_200)
    assert migration.client.remote_address == SERVER
    migration.client.migrate(CLIENT, PREFERRED)
    migration.echo(51_200)
    assert migration.client.remote_address == migration.server.local_address == PREFERRED


def test_a_preferred_address_that_does_not_work() -> None:
    migration = Migration(server=PREFERS)
    migration.up.dead.add((CLIENT, PREFERRED))
    migration.echo(51_200)
    migration.run(5.0)
    assert migration.client.remote_address == SERVER
    assert PathEventKind.FAILED in kinds(migration.client)
    migration.echo(51_200)


def test_of_the_other_kind_only() -> None:
    # Section 9.6.3: a client keeps to the kind of address that works.
    migration = Migration(server={"preferred_address_v6": PREFERRED_V6})
    migration.echo(51_200)
    assert migration.client.remote_address == SERVER
    assert not events(migration.client)


def test_the_server_speaks_from_its_first_address_until_it_knows_the_client() -> None:
    # Section 9.6.2: else anybody who can send a copy would have it move.
    migration = Migration(server=PREFERS)
    migration.down.dead.add((PREFERRED, CLIENT))
    migration.echo(51_200)
    assert migration.server.local_address == SERVER
    to_client = [item for item in migration.down.seen if item.source == PREFERRED]
    assert to_client and {len(item.data) for item in to_client} == {1200}
