"""What the two application protocols have in common: requests that wait, files that come and go."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cwt import quic
from cwt.cli.interop.files import Body, Download, inside

__all__ = ["ClientExchange", "Failed", "Request", "ServerExchange"]

logger = logging.getLogger("cwt.interop")

_MAX_RUNNING = 256
"""Requests at once: each may hold a file open."""


class Failed(Exception):
    """The test case failed; says why."""


class Request(NamedTuple):
    """A file to fetch."""

    authority: str
    path: str
    target: Path


class ClientExchange(ABC):
    """The handler of a client's connection: fetches *requests*, as many at once as the server allows."""

    def __init__(
        self,
        connection: quic.Connection,
        requests: Sequence[Request],
        on_progress: Callable[[quic.Connection], None] | None = None,
    ) -> None:
        """*on_progress* is called whenever the connection has news and can send application data."""
        self.quic = connection
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.news = asyncio.Event()
        """Set whenever the connection has news."""
        self._waiting = deque(requests)
        self._running: dict[int, Download] = {}
        self._on_progress = on_progress

    def process(self) -> None:
        """Take what has arrived and ask for more."""
        self.news.set()
        if self.done.done():
            return
        try:
            if self.quic.can_open_streams:
                self.poll()
                while self._waiting and len(self._running) < _MAX_RUNNING:
                    stream_id = self.request(self._waiting[0])
                    if stream_id is None:
                        break
                    self._running[stream_id] = Download(self._waiting.popleft().target)
                if self._on_progress is not None:
                    self._on_progress(self.quic)
        except (Failed, OSError) as error:
            self.lost(error)
            return
        if not self._waiting and not self._running:
            self.done.set_result(None)
        elif self.quic.termination is not None:
            self.lost(self.quic.termination)

    def lost(self, error: Exception) -> None:
        """The connection failed."""
        self.news.set()
        for download in self._running.values():
            download.close()
        if not self.done.done():
            left = len(self._waiting) + len(self._running)
            self.done.set_exception(Failed(f"{left} files did not arrive: {error}"))

    def received(self, stream_id: int, data: bytes, ended: bool) -> None:
        """Content of the answer on *stream_id*."""
        download = self._running.get(stream_id)
        if download is None:
            return
        download.write(data)
        if ended:
            download.finish()
            del self._running[stream_id]
            logger.debug("%s: %d bytes", download.path.name, download.size)

    @abstractmethod
    def poll(self) -> None:
        """Call :meth:`received` for what has arrived; raises Failed."""

    @abstractmethod
    def request(self, request: Request) -> int | None:
        """Ask for a file; None when the server allows no more requests now."""


class ServerExchange(ABC):
    """What a server does on a connection: answers with the files in *www*."""

    def __init__(self, connection: quic.Connection, www: Path) -> None:
        self.quic = connection
        self._www = www
        self._bodies: dict[int, Body] = {}

    @abstractmethod
    def poll(self) -> None:
        """Take requests, and go on with answers."""

    @abstractmethod
    def write(self, stream_id: int, data: memoryview, fin: bool) -> int:
        """Send content; returns the bytes taken."""

    def close(self) -> None:
        """The connection is gone."""
        for body in self._bodies.values():
            body.close()
        self._bodies.clear()

    def find(self, path: str) -> Body | None:
        """The file that a request names, or None."""
        found = inside(self._www, path)
        try:
            return None if found is None else Body(found)
        except OSError as error:
            logger.info("request for %r: %s", path, error.strerror)
            return None

    def start(self, stream_id: int, body: Body) -> None:
        """Answer with *body*."""
        self._bodies[stream_id] = body
        self.go_on(stream_id)

    def go_on(self, stream_id: int) -> None:
        """There may be room for more of the answer on *stream_id*."""
        body = self._bodies.get(stream_id)
        if body is None:
            return
        try:
            is_sent = body.send(lambda data, fin: self.write(stream_id, data, fin))
        except (BrokenPipeError, ConnectionError, OSError) as error:
            logger.info("stream %d: %s", stream_id, error)
            is_sent = True
        if is_sent:
            body.close()
            del self._bodies[stream_id]
