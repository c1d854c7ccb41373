"""0-RTT with aioquic and qh3, in both roles, without sockets (RFC 9001 Section 4.6)."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import pytest

from cwt import quic
from cwt._types import RecvInfo, SendInfo
from cwt.testing import CLIENT, SERVER, Delay, Link, Pair, VirtualClock
from cwt.tls import ClientContext, Group, ServerContext, SessionCache
from cwt.tls.development import DevelopmentCertificate, certificate_authority, issue
from tests.sim.world import NAME

pytestmark = pytest.mark.interop

DELAY = 0.05
PEERS = ("aioquic", "qh3")
EARLY = bytes(range(256)) * 20


@cache
def certificate() -> DevelopmentCertificate:
    return issue(certificate_authority(), [NAME], kind="p256")


@cache
def files() -> tuple[str, str]:
    """Certificate and key of the servers, as files."""
    folder = tempfile.mkdtemp()
    made = certificate()
    for name, pem in (("cert", made.cert_pem), ("key", made.key_pem)):
        with open(f"{folder}/{name}.pem", "wb") as file:
            file.write(pem)
    return f"{folder}/cert.pem", f"{folder}/key.pem"


class PeerEnd:
    """A connection of aioquic, or of qh3 which has its shape, as an end of a simulated link."""

    def __init__(self, package: str, connection: Any, address: Any, remote: Any) -> None:
        self.events = importlib.import_module(f"{package}.quic.events")
        self.connection = connection
        self.address, self.remote = address, remote
        self.received: dict[int, bytearray] = {}
        self.ended: set[int] = set()
        self.established = False
        self.early_accepted: bool | None = None
        self.received_before_handshake: set[int] = set()
        self._out: list[bytes] = []
        self.echo = False

    def recv(self, datagram: bytes, info: RecvInfo, now: float) -> None:
        self.connection.receive_datagram(bytes(datagram), self.remote, now)
        self._take()

    def _take(self) -> None:
        while (event := self.connection.next_event()) is not None:
            if isinstance(event, self.events.HandshakeCompleted):
                self.established = True
                self.early_accepted = event.early_data_accepted
            elif isinstance(event, self.events.StreamDataReceived):
                if not self.established:
                    self.received_before_handshake.add(event.stream_id)
                self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
                if event.end_stream:
                    self.ended.add(event.stream_id)
                    if self.echo:
                        data = bytes(self.received[event.stream_id])
                        self.connection.send_stream_data(event.stream_id, data, True)

    def send(self, now: float) -> tuple[bytes, SendInfo] | None:
        if not self._out:
            self._out = [data for data, _ in self.connection.datagrams_to_send(now)]
        if not self._out:
            return None
        return self._out.pop(0), SendInfo(self.remote, self.address, now)

    def timeout(self, now: float) -> float | None:
        at = self.connection.get_timer()
        return None if at is None else float(at) - now

    def on_timeout(self, now: float) -> None:
        self.connection.handle_timer(now)
        self._take()


class PeerServer:
    """A server of aioquic or qh3: a :class:`PeerEnd` from the client's first datagram on."""

    def __init__(self, package: str, fetch: Callable[[bytes], Any], keep: Callable[[Any], None]):
        self.package, self.fetch, self.keep = package, fetch, keep
        self.end: PeerEnd | None = None

    def recv(self, datagram: bytes, info: RecvInfo, now: float) -> None:
        if self.end is None:
            header = quic.Header.from_slice(datagram)
            configuration = peer_configuration(self.package, is_client=False)
            configuration.load_cert_chain(*files())
            module = importlib.import_module(f"{self.package}.quic.connection")
            self.end = PeerEnd(
                self.package,
                module.QuicConnection(
                    configuration=configuration,
                    original_destination_connection_id=header.dcid,
                    session_ticket_fetcher=self.fetch,
                    session_ticket_handler=self.keep,
                ),
                SERVER,
                CLIENT,
            )
            self.end.echo = True
        self.end.recv(datagram, info, now)

    def send(self, now: float) -> tuple[bytes, SendInfo] | None:
        return self.end.send(now) if self.end else None

    def timeout(self, now: float) -> float | None:
        return self.end.timeout(now) if self.end else None

    def on_timeout(self, now: float) -> None:
        if self.end:
            self.end.on_timeout(now)


def peer_configuration(package: str, *, is_client: bool, ticket: Any = None) -> Any:
    module = importlib.import_module(f"{package}.quic.configuration")
    configuration = module.QuicConfiguration(is_client=is_client, alpn_protocols=["echo"])
    if is_client:
        configuration.server_name = NAME
        configuration.verify_mode = 0
        configuration.session_ticket = ticket
    return configuration


def joined(client: Any, server: Any, clock: VirtualClock) -> Pair:
    return Pair(client, server, clock=clock, uplink=Link(Delay(DELAY)), downlink=Link(Delay(DELAY)))


# Our server.


class OurServer:
    """An Endpoint that echoes."""

    def __init__(self, **options: Any) -> None:
        made = certificate()
        self.tls = ServerContext(
            alpn=[b"echo"],
            certificate_chain=made.chain,
            private_key=made.private_key,
            early_data=True,
            **options,
        )
        self.endpoint = quic.Endpoint(
            quic.Config(alpn=[b"echo"]).transport, tls=self.tls, random=Random(1).randbytes
        )
        self.connections: list[quic.Connection] = []
        self.early: set[int] = set()

    def work(self) -> None:
        for connection in self.endpoint.ready():
            if connection not in self.connections:
                self.connections.append(connection)
            if connection.is_closed:
                continue
            for stream_id in connection.readable():
                if connection.is_in_early_data and connection.stream_early(stream_id):
                    self.early.add(stream_id)
                while (got := connection.stream_recv(stream_id)) is not None:
                    connection.stream_send(stream_id, *got)
                    if got[1]:
                        break


def their_client(
    package: str, ticket: Any, tickets: list[Any], pair: Callable[[Any], Pair], server: OurServer
) -> tuple[PeerEnd, float]:
    """A whole connection of theirs to our server, which sends as soon as it may; when the echo came."""
    module = importlib.import_module(f"{package}.quic.connection")
    connection = module.QuicConnection(
        configuration=peer_configuration(package, is_client=True, ticket=ticket),
        session_ticket_handler=tickets.append,
    )
    end = PeerEnd(package, connection, CLIENT, SERVER)
    joined_pair = pair(end)
    connection.connect(SERVER, now=joined_pair.clock.now)
    if ticket is None:
        joined_pair.drive(lambda: end.established, work=server.work)
    connection.send_stream_data(0, EARLY, True)
    took = joined_pair.drive(lambda: 0 in end.ended, work=server.work)
    joined_pair.drive(lambda: tickets, work=server.work)
    assert end.received[0] == EARLY
    return end, took


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("package", PEERS)
def test_they_send_to_our_server(package: str, refused: bool) -> None:
    server, clock = OurServer(), VirtualClock()
    first: list[Any] = []

    def pair(end: Any) -> Pair:
        return joined(end, server.endpoint, clock)

    their_client(package, None, first, pair, server)
    assert server.early == set()
    if refused:
        server.tls.early_data_context = b"other"
    end, took = their_client(package, first[0], [], pair, server)
    ours = server.connections[-1]
    assert ours.is_resumed
    if not refused:
        assert ours.early_data_accepted and end.early_accepted
        assert server.early == {0}
        assert took < 2 * DELAY + 0.05
    else:
        assert not ours.early_data_accepted and not end.early_accepted
        assert server.early == set()


# Our client.


class OurClient:
    """One connection of ours to a server of theirs, which echoes."""

    def __init__(self, context: ClientContext, server: PeerServer, clock: VirtualClock) -> None:
        config = quic.Config(alpn=[b"echo"], mtu_discovery=False)
        endpoint = quic.Endpoint(config.transport, random=Random(clock.now).randbytes)
        self.pair = joined(endpoint, server, clock)
        self.connection = endpoint.connect(NAME, SERVER, context, clock.now, local=CLIENT)
        self.received = bytearray()
        self.ended = False

    def work(self) -> None:
        for stream_id in self.connection.readable():
            while (got := self.connection.stream_recv(stream_id)) is not None:
                self.received += got[0]
                self.ended = got[1]
                if got[1]:
                    break

    def drive(self, until: Callable[[], object]) -> float:
        return self.pair.drive(until, work=self.work)


@pytest.mark.parametrize(
    ("package", "refused"),
    # A qh3 server fails by itself when its flight is more than it may send.
    [("aioquic", False), ("aioquic", True), ("qh3", False)],
)
def test_we_send_to_their_server(package: str, refused: bool) -> None:
    clock = VirtualClock()
    tickets: dict[bytes, Any] = {}

    def keep(ticket: Any) -> None:
        tickets[bytes(ticket.ticket)] = ticket

    def fetch(label: bytes) -> Any:
        return tickets.pop(bytes(label), None)

    sessions = SessionCache()
    context = ClientContext(
        alpn=[b"echo"], verify=False, session_cache=sessions, early_data=True, groups=[Group.X25519]
    )
    first = OurClient(context, PeerServer(package, fetch, keep), clock)
    assert not first.connection.can_open_streams
    first.drive(lambda: first.connection.is_confirmed and len(sessions) > 0)
    first.connection.close()
    first.pair.run_for(5)
    if refused:
        tickets.clear()

    server = PeerServer(package, fetch, keep)
    second = OurClient(context, server, clock)
    connection = second.connection
    assert connection.is_in_early_data
    stream_id = connection.open_stream()
    assert stream_id == 0
    assert connection.stream_send(stream_id, EARLY, True) == len(EARLY)
    took = second.drive(lambda: second.ended)
    assert second.received == EARLY
    assert connection.early_data_accepted is not refused
    assert server.end is not None
    if not refused:
        assert server.end.received_before_handshake == {0}
        assert took < 2 * DELAY + 0.05
    second.drive(lambda: connection.is_confirmed)
    assert connection.termination is None
