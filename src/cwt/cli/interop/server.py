"""The server's part of the runner's contract."""

from __future__ import annotations

import contextlib
import logging
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from cwt import quic, tls
from cwt.aio.endpoint import Endpoint
from cwt.cli.interop.cases import Case, transport_config
from cwt.cli.interop.exchange import ServerExchange
from cwt.cli.interop.hq import HqServer
from cwt.cli.interop.http3 import ALPN as H3
from cwt.cli.interop.http3 import Http3Server

__all__ = ["Preferred", "Server"]

logger = logging.getLogger("cwt.interop")


class ServerConnection:
    """The handler of a connection; its protocol is the one that TLS agreed on."""

    def __init__(self, connection: quic.Connection, www: Path) -> None:
        self.quic = connection
        self._www = www
        self._exchange: ServerExchange | None = None

    def process(self) -> None:
        """Answer what has come."""
        if self._exchange is None and self.quic.can_open_streams:
            kind = Http3Server if self.quic.application_proto == H3 else HqServer
            self._exchange = kind(self.quic, self._www)
        if self._exchange is not None:
            self._exchange.poll()
        if (error := self.quic.termination) is not None:
            self.lost(error)

    def lost(self, error: Exception) -> None:
        """The connection is over."""
        logger.info("connection with %s ended: %s", self.quic.remote_address, error)
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
        self.quic.user_data = None


@dataclass(frozen=True)
class Preferred:
    """The address that a server prefers (RFC 9000 Section 9.6)."""

    port: int = 0
    """Where it listens for that, 0 for any port."""
    addresses: tuple[tuple[str, int], ...] = ()
    """What it tells clients; empty for the addresses of this machine and the port above."""

    def choose(self, port: int) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
        """The IPv4 and the IPv6 address to tell; *port* is the one it listens on."""
        if self.addresses:
            by_version = {":" in host: (host, number) for host, number in self.addresses}
            return by_version.get(False), by_version.get(True)
        v4, v6 = own_address(socket.AF_INET), own_address(socket.AF_INET6)
        return (v4, port) if v4 else None, (v6, port) if v6 else None


_NO_PREFERENCE = Preferred()


class Server:
    """Serves the files of *www* on a UDP port, in the way *case* asks for."""

    def __init__(
        self,
        case: Case,
        host: str,
        port: int,
        *,
        www: Path,
        certfile: Path,
        keyfile: Path,
        preferred: Preferred = _NO_PREFERENCE,
    ) -> None:
        """*preferred* is for cases that have a preferred address."""
        self._www = www
        self._tls = tls.ServerContext(
            alpn=case.alpn,
            certfile=certfile,
            keyfile=keyfile,
            cipher_suites=case.cipher_suites,
            early_data=case.early_data,
            certificate_compression=(),  # the runner measures the chain
        )
        config = transport_config(case)
        other: quic.UdpSocket | None = None
        if case.migration:
            other = quic.UdpSocket.bind(host, preferred.port)
            v4, v6 = preferred.choose(other.local_address[1])
            config = replace(config, preferred_address_v4=v4, preferred_address_v6=v6)
        sock = quic.UdpSocket.bind(host, port)
        core = quic.Endpoint(config, tls=self._tls, retry=case.retry)
        self._endpoint = Endpoint(core, sock, on_connection=self._on_connection)
        if other is not None:
            self._endpoint.add_socket(other)

    @property
    def port(self) -> int:
        """The UDP port."""
        return self._endpoint.local_address[1]

    async def serve_forever(self) -> None:
        """Until it is cancelled; then its connections are closed."""
        try:
            await self._endpoint.wait_closed()
        finally:
            self._endpoint.quic.close_all()
            await self._endpoint.sent()
            self._endpoint.close()

    def _on_connection(self, endpoint: Endpoint, connection: quic.Connection) -> ServerConnection:
        return ServerConnection(connection, self._www)


def own_address(family: int) -> str | None:
    """The address of this machine that others would reach it at, as far as its routes say."""
    somewhere = (
        "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"
    )  # for documentation only
    with (
        contextlib.suppress(OSError),
        socket.socket(family, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect((somewhere, 9))  # which sends nothing
        return str(sock.getsockname()[0])
    return None
