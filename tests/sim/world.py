"""A client and a server over two simulated links: QUIC, and WebTransport on top.

Connection IDs and the network depend on the seed only.  TLS keys are fresh in every run, but of the same
size (the certificate is Ed25519), so a run with the same seed goes the same way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from cwt import quic
from cwt.config import Config, TransportConfig
from cwt.errors import StreamReset, StreamStopped
from cwt.h3 import Connection as Http3Connection
from cwt.quic import Connection
from cwt.testing import CLIENT, SERVER, Link, Node, Pair
from cwt.tls import ClientContext, ServerContext
from cwt.tls.development import DevelopmentCertificate, certificate_authority, issue
from cwt.webtransport import Connection as WebTransport
from cwt.webtransport import (
    DatagramsReadable,
    Event,
    Ready,
    SessionAccepted,
    SessionRequested,
    StreamReadable,
    StreamWritable,
)
from cwt.webtransport.events import SessionClosed, StreamOpened

NAME = "server.test"


@cache
def certificate() -> DevelopmentCertificate:
    return issue(certificate_authority(), [NAME], kind="ed25519")


def server_context(alpn: bytes) -> ServerContext:
    made = certificate()
    return ServerContext(alpn=[alpn], certificate_chain=made.chain, private_key=made.private_key)


class World:
    """Two endpoints; the client has one connection, :attr:`client`, the server's is :attr:`server`."""

    def __init__(
        self,
        seed: int | str = 0,
        *,
        up: Sequence[Node] = (),
        down: Sequence[Node] = (),
        client_config: TransportConfig | None = None,
        server_config: TransportConfig | None = None,
        alpn: bytes = b"h3",
        client_tls: ClientContext | None = None,
        **server_options: Any,
    ) -> None:
        self.server_endpoint = quic.Endpoint(
            server_config or Config(),
            tls=server_context(alpn),
            random=Random(f"{seed}/server").randbytes,
            **server_options,
        )
        self.client_tls = client_tls or ClientContext(alpn=[alpn], verify=False)
        self.client_endpoint = quic.Endpoint(
            client_config or Config(), random=Random(f"{seed}/client").randbytes
        )
        self.pair = Pair(
            self.client_endpoint,
            self.server_endpoint,
            uplink=Link(*up, seed=f"{seed}/up"),
            downlink=Link(*down, seed=f"{seed}/down"),
        )
        self.servers: list[Connection] = []
        self.client: Connection
        self.connect()

    def connect(self) -> Connection:
        """A new connection, which is :attr:`client` from now on."""
        self.servers.clear()
        self.client = self.client_endpoint.connect(
            NAME, SERVER, self.client_tls, self.now, local=CLIENT
        )
        return self.client

    @property
    def server(self) -> Connection:
        """The server's connection; IndexError before there is one."""
        return self.servers[0]

    @property
    def now(self) -> float:
        return self.pair.clock.now

    def work(self) -> None:
        """What the application does after each step."""
        self.client_endpoint.ready()
        for connection in self.server_endpoint.ready():
            if connection not in self.servers:
                self.servers.append(connection)

    def drive(self, until: Callable[[], object], seconds: float = 60.0) -> float:
        return self.pair.drive(until, seconds=seconds, work=self.work)

    def run_for(self, seconds: float) -> None:
        self.pair.run_for(seconds, work=self.work)

    def establish(self, seconds: float = 60.0) -> float:
        """Let both ends finish the handshake; the time that took."""
        return self.drive(
            lambda: self.client.is_established and self.servers and self.server.is_established,
            seconds,
        )


class Peer:
    """One end of WebTransport: collects what comes, sends what there is, as credit allows.

    A server accepts every session, echoes bidirectional streams that the client opened, and datagrams.
    """

    def __init__(self, connection: Connection, config: Config) -> None:
        self.connection = connection
        self.webtransport = WebTransport(Http3Connection(connection, config), config)
        self.is_ready = False
        self.session_id: int | None = None
        self.accepted = False
        self.closed: SessionClosed | None = None
        self.received: dict[int, bytearray] = {}
        self.finished: set[int] = set()
        self.resets: dict[int, int | None] = {}
        self.stops: dict[int, int | None] = {}
        self.opened: list[StreamOpened] = []
        self.datagrams: list[bytes] = []
        self._outgoing: dict[int, tuple[deque[bytes], bool]] = {}
        self._echoed: set[int] = set()

    # -- the application's verbs

    def connect(self, path: str = "/") -> None:
        self.session_id = self.webtransport.connect(NAME, path)

    def open(self, bidirectional: bool = True) -> int:
        assert self.session_id is not None
        stream_id = self.webtransport.open_stream(self.session_id, bidirectional)
        assert stream_id is not None, "the peer's limit of streams is reached"
        self.received[stream_id] = bytearray()
        return stream_id

    def send(self, stream_id: int, data: bytes, fin: bool = True) -> None:
        queue, _ = self._outgoing.setdefault(stream_id, (deque(), False))
        queue.append(data)
        self._outgoing[stream_id] = queue, fin
        self._pump(stream_id)

    def send_datagram(self, data: bytes) -> bool:
        assert self.session_id is not None
        return self.webtransport.send_datagram(self.session_id, data)

    # -- driven by the world

    def poll(self) -> None:
        for event in self.webtransport.poll():
            self._on_event(event)

    def _on_event(self, event: Event) -> None:
        match event:
            case Ready():
                self.is_ready = True
            case SessionRequested(session_id=session_id):
                self.session_id = session_id
                self.webtransport.accept(session_id)
                self.accepted = True
            case SessionAccepted():
                self.accepted = True
            case SessionClosed():
                self.closed = event
            case StreamOpened(stream_id=stream_id, bidirectional=bidirectional):
                self.opened.append(event)
                self.received[stream_id] = bytearray()
                if bidirectional and not self.connection.is_client:
                    self._echoed.add(stream_id)
                self._read(stream_id)
            case StreamReadable(stream_id=stream_id):
                self._read(stream_id)
            case StreamWritable(stream_id=stream_id):
                self._pump(stream_id)
            case DatagramsReadable(datagrams=flow):
                datagrams = flow.recv_many()
                self.datagrams += datagrams
                if not self.connection.is_client:
                    self.connection.dgram_send_many(datagrams, flow)

    def _read(self, stream_id: int) -> None:
        if stream_id in self.finished:
            return
        try:
            while (got := self.webtransport.stream_recv(stream_id)) is not None:
                data, fin = got
                self.received[stream_id] += data
                if stream_id in self._echoed:
                    self.send(stream_id, data, fin)
                if fin:
                    self.finished.add(stream_id)
                    return
        except StreamReset as reset:
            self.resets[stream_id] = reset.code

    def _pump(self, stream_id: int) -> None:
        queue, fin = self._outgoing.get(stream_id, (deque(), False))
        try:
            while queue:
                data = queue[0]
                last = fin and len(queue) == 1
                taken = self.webtransport.stream_send(stream_id, data, last)
                if taken < len(data):
                    queue[0] = data[taken:]
                    return
                queue.popleft()
        except StreamStopped as stopped:
            queue.clear()
            self.stops[stream_id] = stopped.code


class WebTransportWorld(World):
    """A :class:`World` with a :class:`Peer` on each end."""

    def __init__(
        self,
        seed: int | str = 0,
        *,
        up: Sequence[Node] = (),
        down: Sequence[Node] = (),
        config: Config | None = None,
        server_config: Config | None = None,
    ) -> None:
        self.config = config or Config()
        super().__init__(
            seed,
            up=up,
            down=down,
            client_config=self.config,
            server_config=server_config or self.config,
        )
        self.client_peer = Peer(self.client, self.config)
        self.server_peer: Peer | None = None

    def work(self) -> None:
        super().work()
        if self.servers and self.server_peer is None:
            self.server_peer = Peer(self.server, self.config)
        self.client_peer.poll()
        if self.server_peer is not None:
            self.server_peer.poll()

    def open_session(self, seconds: float = 60.0) -> Peer:
        """Connect and wait for the session; the server's end of it."""
        self.drive(lambda: self.client_peer.is_ready, seconds)
        self.client_peer.connect()
        self.drive(lambda: self.client_peer.accepted, seconds)
        assert self.server_peer is not None
        return self.server_peer
