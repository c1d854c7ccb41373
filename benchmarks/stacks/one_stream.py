"""Connections that are one stream of messages: requests in flight share it and are answered in order."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.stacks.base import ECHO, Client, Unsupported


class OneStream(Client):
    """More streams at once and datagrams there are none."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._reader: asyncio.Task[None] | None = None
        self._is_taken = False

    @abstractmethod
    async def send(self, message: bytes) -> None:
        """Send a message; waits while there is no room."""

    @abstractmethod
    async def receive(self) -> bytes:
        """The next message."""

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have the connection to oneself."""
        if self._is_taken or self._reader is not None:
            raise Unsupported("one stream per connection")
        self._is_taken = True
        yield
        self._is_taken = False

    async def exchange(self, data: bytes) -> bytes:
        if data[:1] != ECHO:
            raise Unsupported("no datagrams")
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        await self.send(data)
        return await answer

    async def _read(self) -> None:
        while True:
            message = await self.receive()
            self._waiting.popleft().set_result(message)

    async def send_datagrams(self, count: int, data: bytes) -> None:
        raise Unsupported("no datagrams")
