"""The client's part of the runner's contract."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cwt import quic, tls
from cwt.aio.endpoint import Endpoint
from cwt.cli.interop import http3
from cwt.cli.interop.cases import Case, Fetch, transport_config
from cwt.cli.interop.exchange import ClientExchange, Failed, Request
from cwt.cli.interop.hq import HqClient
from cwt.cli.interop.http3 import Http3Client
from cwt.cli.interop.versions import probe

__all__ = ["Client", "parse_requests"]

logger = logging.getLogger("cwt.interop")

_AT_ONCE = 5
"""Connections at once where each file has one."""
_TICKET_SECONDS = 5.0
"""Seconds that a session ticket may take after the last file."""


def _any(family: int) -> str:
    return "::" if family == socket.AF_INET6 else "0.0.0.0"


@dataclass(frozen=True)
class Origin:
    """A server."""

    host: str
    port: int


def parse_requests(text: str, downloads: Path) -> tuple[Origin, list[Request]]:
    """The server and the files that REQUESTS names: URLs with blanks between.

    A URL may name no file, only the server.  Raises Failed when they are not all of one server.
    """
    urls = [urlsplit(word) for word in text.split()]
    origins = {Origin(url.hostname or "", url.port or 443) for url in urls}
    if len(origins) != 1 or any(url.scheme != "https" or not url.hostname for url in urls):
        raise Failed("REQUESTS must have https URLs of one server")
    requests = []
    for url in urls:
        name = url.path.rpartition("/")[2]
        if name in (".", "..") or "\0" in name or "\\" in name:
            raise Failed(f"{url.geturl()} names no file")
        if name:
            requests.append(Request(url.netloc, url.path, downloads / name))
    return origins.pop(), requests


class Client:
    """Fetches *requests* from *origin* as *case* asks."""

    def __init__(self, case: Case, origin: Origin, *, ca: Path | None = None) -> None:
        """*ca*: PEM file of the authorities that the server's certificate must come from; None for no
        check."""
        self._case = case
        self._origin = origin
        self._config = transport_config(case)
        self._sessions = tls.SessionCache() if case.fetch is Fetch.RESUMED else None
        self._tls = tls.ClientContext(
            alpn=case.alpn,
            verify=str(ca) if ca else False,
            cipher_suites=case.cipher_suites,
            certificate_compression=(),  # the runner measures the server's chain
            session_cache=self._sessions,
            early_data=case.early_data,
        )

    async def fetch(self, requests: Sequence[Request]) -> None:
        """Fetch everything; raises Failed."""
        match self._case.fetch:
            case Fetch.TOGETHER:
                await self._connection(requests)
            case Fetch.RESUMED:
                await self._connection(requests[:1], wants_ticket=True)
                connection = await self._connection(requests[1:])
                if not connection.is_resumed:
                    raise Failed("the session was not resumed")
                if self._case.early_data and not connection.early_data_accepted:
                    raise Failed("the server did not take early data")
            case Fetch.NOTHING:
                family, address = await self._resolve()
                with quic.UdpSocket.bind(_any(family), 0) as sock:
                    await probe(sock, address)
            case Fetch.SEPARATE:
                limit = asyncio.Semaphore(_AT_ONCE)
                async with asyncio.TaskGroup() as tasks:
                    for request in requests:
                        tasks.create_task(self._limited(limit, request))

    async def _limited(self, limit: asyncio.Semaphore, request: Request) -> None:
        async with limit:
            await self._connection([request])

    async def _connection(
        self, requests: Sequence[Request], *, wants_ticket: bool = False
    ) -> quic.Connection:
        """Fetch *requests* on a new connection."""
        family, address = await self._resolve()
        sock = quic.UdpSocket.bind(_any(family), 0)
        endpoint = Endpoint(quic.Endpoint(self._config), sock)
        start = time.monotonic()
        connection = endpoint.quic.connect(
            self._origin.host, address, self._tls, endpoint.now(), config=self._config
        )
        kind: type[ClientExchange] = Http3Client if http3.ALPN in self._case.alpn else HqClient
        exchange = kind(connection, requests, self._update_keys if self._case.key_update else None)
        connection.user_data = exchange
        try:
            exchange.process()  # with early data, requests go with the first flight
            await exchange.done
            if wants_ticket:
                await self._ticket(exchange)
        finally:
            connection.close(0)
            await endpoint.sent()
            endpoint.close()
        logger.info("%d files in %.3f s", len(requests), time.monotonic() - start)
        return connection

    async def _resolve(self) -> tuple[int, tuple[str, int]]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                self._origin.host, self._origin.port, type=socket.SOCK_DGRAM
            )
        except OSError as error:
            raise Failed(f"cannot find {self._origin.host!r}: {error.strerror}") from None
        family, _, _, _, address = found[0]
        return family, (str(address[0]), int(address[1]))

    async def _ticket(self, exchange: ClientExchange) -> None:
        """Wait for a session that can be resumed: it may come after the last file."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICKET_SECONDS):
                while not self._sessions and not exchange.quic.is_closed:
                    exchange.news.clear()
                    await exchange.news.wait()

    @staticmethod
    def _update_keys(connection: quic.Connection) -> None:
        if not connection.key_updates and connection.is_confirmed:
            connection.initiate_key_update()
