"""A queue whose end is an event: streams, datagrams and requests that wait to be taken."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

__all__ = ["Incoming"]

T = TypeVar("T")


class Incoming(Generic[T]):
    """What arrived and waits; ``async for`` takes item after item.

    Iteration ends quietly at a clean close, and raises at any other.  Bounded by who fills it.  The deque
    is made by the first item: a session has three of these, and most wait for nothing.
    """

    __slots__ = ("_clean", "_error", "_items", "_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: deque[T] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._error: Exception | None = None
        self._clean = False

    def __len__(self) -> int:
        return len(self._items) if self._items else 0

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._items:
            return self._items.popleft()
        try:
            return await self._get()
        except Exception:
            if self._error is not None and self._clean:
                raise StopAsyncIteration from None
            raise

    def _put(self, item: T) -> None:
        if self._items is None:
            self._items = deque()
        self._items.append(item)
        if self._waiters:
            self._wake_one()

    def _close(self, error: Exception, clean: bool, discard: bool = False) -> None:
        """Nothing more will come; *discard* what is there."""
        if self._error is not None:
            return
        self._error = error
        self._clean = clean
        if discard:
            self._items = None
        while self._waiters:
            self._wake_one()

    async def _get(self) -> T:
        while not self._items:
            if self._error is not None:
                raise copy.copy(self._error)
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                # A wake-up that is not used goes to the next in line.
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                elif self._items:
                    self._wake_one()
                raise
        return self._items.popleft()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
