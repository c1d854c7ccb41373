"""The web server of the demo's page: a few files on loopback HTTP/1.1, nothing more (RFC 9112)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from importlib import resources

__all__ = ["PageServer"]

MAX_HEAD = 16384
PATIENCE = 10.0

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/help.js": ("help.js", "text/javascript; charset=utf-8"),
}
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' "
    "https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageServer:
    """Serves the page; ``status`` gives what ``/status.json`` tells it."""

    def __init__(self, status: Callable[[], dict[str, object]]) -> None:
        self._status = status
        self._server: asyncio.Server | None = None
        folder = resources.files(__package__)
        self._bodies = {
            path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()
        }

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)
        address = self._server.sockets[0].getsockname()
        return int(address[1])

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                method, status, body, kind = await self._respond(reader)
                head = (
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
                    f"date: {formatdate(usegmt=True)}\r\n"
                    f"content-type: {kind}\r\n"
                    f"content-length: {len(body)}\r\n"
                    "cache-control: no-store\r\n"
                    f"content-security-policy: {_POLICY}\r\n"
                    "x-content-type-options: nosniff\r\n"
                    "referrer-policy: no-referrer\r\n"
                    "connection: close\r\n\r\n"
                )
                writer.write(head.encode("latin-1") + (b"" if method == b"HEAD" else body))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the browser went away
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _respond(self, reader: asyncio.StreamReader) -> tuple[bytes, int, bytes, str]:
        """Method, status, body, content type."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return b"", *_error(431)
        parts = head.split(b"\r\n", 1)[0].split(b" ")
        if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
            return b"", *_error(400)
        method, path = parts[0], parts[1].decode("latin-1").partition("?")[0]
        if method not in (b"GET", b"HEAD"):
            return method, *_error(405)
        if path == "/status.json":
            return method, 200, json.dumps(self._status()).encode(), "application/json"
        if path not in self._bodies:
            return method, *_error(404)
        return method, 200, *self._bodies[path]


def _error(status: int) -> tuple[int, bytes, str]:
    return status, _REASONS[status].encode(), "text/plain"
