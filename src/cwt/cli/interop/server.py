"""The server's part of the runner's contract."""

from __future__ import annotations

import logging
from pathlib import Path

from cwt import quic, tls
from cwt.aio.endpoint import Endpoint
from cwt.cli.interop.cases import Case, transport_config
from cwt.cli.interop.exchange import ServerExchange
from cwt.cli.interop.hq import HqServer
from cwt.cli.interop.http3 import ALPN as H3
from cwt.cli.interop.http3 import Http3Server

__all__ = ["Server"]

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


class Server:
    """Serves the files of *www* on a UDP port, in the way *case* asks for."""

    def __init__(
        self, case: Case, host: str, port: int, *, www: Path, certfile: Path, keyfile: Path
    ) -> None:
        self._www = www
        self._tls = tls.ServerContext(
            alpn=case.alpn,
            certfile=certfile,
            keyfile=keyfile,
            cipher_suites=case.cipher_suites,
            early_data=case.early_data,
            certificate_compression=(),  # the runner measures the chain
        )
        sock = quic.UdpSocket.bind(host, port)
        core = quic.Endpoint(transport_config(case), tls=self._tls, retry=case.retry)
        self._endpoint = Endpoint(core, sock, on_connection=self._on_connection)

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
