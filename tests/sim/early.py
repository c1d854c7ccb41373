"""Connections that resume each other's sessions, with 0-RTT."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from cwt import quic
from cwt.config import TransportConfig
from cwt.errors import StreamReset
from cwt.quic import Connection
from cwt.testing import CLIENT, SERVER, Link, Node, Pair, VirtualClock
from cwt.tls import ClientContext, ServerContext, SessionCache
from tests.sim.world import NAME, certificate


class EarlyWorld:
    """A server that echoes, and a client that connects again and again: :meth:`connect`, :meth:`echo`."""

    def __init__(
        self,
        seed: int | str = 0,
        *,
        config: TransportConfig | None = None,
        server: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
    ) -> None:
        self.seed = seed
        self.config = config or TransportConfig()
        self.clock = VirtualClock()
        self.cache = SessionCache()
        made = certificate()
        options: dict[str, Any] = {"alpn": [b"echo"], "early_data": True}
        own = {"certificate_chain": made.chain, "private_key": made.private_key}
        self.server_tls = ServerContext(**options | own | (server or {}))
        self.client_tls = ClientContext(
            verify=False, session_cache=self.cache, **options | (client or {})
        )
        self.connections = 0
        self.echoed: dict[int, bytearray] = {}
        """What came back, by stream."""
        self.ended: set[int] = set()
        self.early_streams: set[int] = set()
        """Streams of which the server read something while it could be a replay."""
        self.datagrams: list[bytes] = []
        self.resets: dict[int, int | None] = {}
        """Streams that the client reset, and the code."""
        self.start_server()

    def start_server(self, config: TransportConfig | None = None, **options: Any) -> None:
        """The server's process anew, with the same TLS settings."""
        self.server_endpoint = quic.Endpoint(
            config or self.config,
            tls=self.server_tls,
            random=Random(f"{self.seed}/s").randbytes,
            **options,
        )

    def connect(self, up: Sequence[Node] = (), down: Sequence[Node] = ()) -> Connection:
        """A new connection of the client's, over new links."""
        self.connections += 1
        seed = f"{self.seed}/{self.connections}"
        self.client_endpoint = quic.Endpoint(self.config, random=Random(seed).randbytes)
        self.pair = Pair(
            self.client_endpoint,
            self.server_endpoint,
            clock=self.clock,
            uplink=Link(*up, seed=f"{seed}/up"),
            downlink=Link(*down, seed=f"{seed}/down"),
        )
        self.client = self.client_endpoint.connect(
            NAME, SERVER, self.client_tls, self.clock.now, local=CLIENT
        )
        self.server: Connection | None = None
        self.echoed.clear()
        self.ended.clear()
        self.early_streams.clear()
        self.datagrams.clear()
        self.resets.clear()
        self._back: dict[int, tuple[bytearray, bool]] = {}
        self._out: dict[int, tuple[bytes, bool]] = {}
        return self.client

    def prime(self) -> None:
        """A first connection, whose session the next one can resume."""
        self.connect()
        self.drive(lambda: self.client.is_confirmed and len(self.cache) > 0)
        self.finish()

    def finish(self) -> None:
        """Let the handshake end, close the connection and let it be over."""
        self.drive(lambda: self.client.is_confirmed)
        self.client.close()
        self.drive(lambda: self.client.is_closed and (not self.server or self.server.is_closed))

    def send(self, data: bytes, fin: bool = True) -> int:
        """Write *data* on a new stream, at once as far as it is taken."""
        stream_id = self.client.open_stream()
        assert stream_id is not None
        self.echoed[stream_id] = bytearray()
        self._out[stream_id] = data, fin
        self._pump(stream_id)
        return stream_id

    def _pump(self, stream_id: int) -> None:
        data, fin = self._out[stream_id]
        if data or fin:
            taken = self.client.stream_send(stream_id, data, fin)
            whole = taken == len(data)
            self._out[stream_id] = data[taken:], fin and not whole

    def work(self) -> None:
        """What the applications do after each step."""
        for connection in self.server_endpoint.ready():
            if self.server is None and not connection.is_closed:
                self.server = connection
        self.client_endpoint.ready()
        if self.server is not None:
            self._serve(self.server)
        for stream_id in self.client.writable():
            self._pump(stream_id)
        for stream_id in self.client.readable():
            while (got := self.client.stream_recv(stream_id)) is not None:
                self.echoed[stream_id] += got[0]
                if got[1]:
                    self.ended.add(stream_id)
        while (data := self.client.dgram_recv()) is not None:
            self.datagrams.append(data)

    def _serve(self, server: Connection) -> None:
        for stream_id in server.readable():
            if server.is_in_early_data:
                assert server.stream_early(stream_id)
                self.early_streams.add(stream_id)
            data, fin = self._back.setdefault(stream_id, (bytearray(), False))
            try:
                while (got := server.stream_recv(stream_id)) is not None:
                    data += got[0]
                    fin = fin or got[1]
            except StreamReset as reset:
                self.resets[stream_id] = reset.code
            self._back[stream_id] = data, fin and stream_id not in self.resets
        for stream_id, (data, fin) in self._back.items():
            if (data or fin) and stream_id not in self.resets:
                taken = server.stream_send(stream_id, bytes(data), fin)
                whole = taken == len(data)
                del data[:taken]
                self._back[stream_id] = data, fin and not whole
        while (datagram := server.dgram_recv()) is not None:
            server.dgram_send(datagram)

    def drive(self, until: Any, seconds: float = 60.0) -> float:
        return self.pair.drive(until, seconds=seconds, work=self.work)
