"""The receiving side of a stream (RFC 9000 Section 3.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import TYPE_CHECKING

from cwt.aio.sending import DONE, check_code
from cwt.aio.states import Stream

if TYPE_CHECKING:
    from typing import Self

    from cwt._types import Buffer

__all__ = ["RecvStream"]

CHUNK = 65536


class RecvStream(Stream):
    """A stream, or a stream's half, to read from; ``async for`` gives the bytes as they come.

    As a context manager: leaving it before the end sends STOP_SENDING.  Every read is cancellation-safe:
    what it had gathered is there for the next one.
    """

    __slots__ = ()

    async def read(self, n: int = -1) -> bytes:
        """Read up to *n* bytes, at least one unless the stream ended; without *n*, all up to FIN.

        ``b""`` means the end.  Raises :class:`StreamReset` when the peer abandoned the stream,
        :class:`SessionClosed` or :class:`ConnectionClosed` when that ended.
        """
        rx = self._rx
        if n < 0:
            while (data := rx.receive_all()) is None:
                await rx.changed()
            return data
        if n == 0:
            return b""
        if rx.ahead is not None:
            return rx.take(n)
        while (data := rx.receive(n)) is None:
            await rx.changed()
        return data

    async def readexactly(self, n: int) -> bytes:
        """Read exactly *n* bytes; raises :class:`asyncio.IncompleteReadError` with what there was when the
        stream ends before, else as :meth:`read`."""
        if n < 0:
            raise ValueError("readexactly() takes a size of 0 or more")
        rx = self._rx
        while (missing := n - rx.held()) > 0:
            data = rx.receive(missing)
            if data is None:
                await rx.changed()
            elif len(data) == n:
                return data
            elif data:
                rx.keep(data)
            else:
                raise asyncio.IncompleteReadError(rx.take(rx.held()), n)
        return rx.take(n)

    async def readuntil(self, separator: Buffer = b"\n", *, limit: int = CHUNK) -> bytes:
        """Read up to and including *separator*.

        Raises :class:`asyncio.IncompleteReadError` when the stream ends before,
        :class:`asyncio.LimitOverrunError`, with the bytes left to be read, when it does not come within
        *limit* bytes, else as :meth:`read`.
        """
        mark = bytes(separator)
        if not mark:
            raise ValueError("the separator of readuntil() is empty")
        rx = self._rx
        start = 0
        while True:
            ahead = rx.ahead or b""
            found = ahead.find(mark, start)
            if 0 <= found <= limit - len(mark):
                return rx.take(found + len(mark))
            if found >= 0 or len(ahead) >= limit:
                raise asyncio.LimitOverrunError(
                    f"no separator within {limit} bytes; pass a larger limit", len(ahead)
                )
            start = max(0, len(ahead) - len(mark) + 1)
            data = rx.receive(limit - rx.held())
            if data is None:
                await rx.changed()
            elif data:
                rx.keep(data)
            else:
                raise asyncio.IncompleteReadError(rx.take(rx.held()), None)

    async def readinto(self, buffer: Buffer) -> int:
        """Read into *buffer*, as much as there is and fits; returns the count, 0 at the end.  Raises as
        :meth:`read`."""
        rx = self._rx
        if rx.ahead is not None:
            with memoryview(buffer).cast("B") as view:
                data = rx.take(len(view))
                view[: len(data)] = data
                return len(data)
        while (count := rx.receive_into(buffer)) is None:
            await rx.changed()
        return count

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read(CHUNK)
        if not data:
            raise StopAsyncIteration
        return data

    def at_eof(self) -> bool:
        """Whether everything up to FIN was read."""
        return self._rx.eof and self._rx.ahead is None

    def stop(self, code: int = 0) -> Awaitable[None]:
        """Tell the peer to send no more (STOP_SENDING): it gets :class:`StreamStopped` with *code*.

        What was not read is lost, reading gives the end.  Nothing happens when the stream has ended.
        """
        self._rx.stop(check_code(code))
        return DONE

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._rx.stop(0)
