"""A server on the loopback interface, and clients that trust it: for tests of programs that use cwt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from cwt.aio.client import connect
from cwt.aio.server import Server, serve

if TYPE_CHECKING:
    from cwt.aio.routes import Handler

__all__ = ["LoopbackServer", "loopback_server"]


class LoopbackServer:
    """What :func:`loopback_server` gives: the server, and how to reach it."""

    __slots__ = ("host", "server")

    def __init__(self, server: Server, host: str) -> None:
        self.server = server
        self.host = host

    def url(self, path: str = "/") -> str:
        """The URL of *path* on the server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.server.port}{path}"

    def connect(self, path: str = "/", **options: Any) -> connect:
        """:func:`cwt.connect` to *path*, trusting the server's certificate."""
        assert self.server.dev is not None
        options.setdefault("server_certificate_hashes", [self.server.dev.sha256])
        return connect(self.url(path), **options)


@asynccontextmanager
async def loopback_server(
    handler: Handler | Mapping[str, Handler] | None = None,
    *,
    host: str = "127.0.0.1",
    **options: Any,
) -> AsyncIterator[LoopbackServer]:
    """A server on a free port of *host* with a development certificate, closed at the end.

    *options* are those of :func:`cwt.serve`::

        async with loopback_server(handler) as loopback, loopback.connect("/chat") as session: ...
    """
    async with serve(handler, host, 0, dev=True, **options) as server:
        yield LoopbackServer(server, host)
