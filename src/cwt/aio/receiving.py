"""The receiving side of a stream (RFC 9000 Section 3.2)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import TYPE_CHECKING

from cwt.aio.sending import DONE, Stream, check_code
from cwt.errors import StreamReset

if TYPE_CHECKING:
    from typing import Self

    from cwt._types import Buffer
    from cwt.aio.session import Session

__all__ = ["RecvState", "RecvStream"]

CHUNK = 65536


class RecvState:
    """What is known of a receiving side until its end was read, or it is abandoned.

    ``buffer`` holds what was read ahead by a call that needs more than has come; everything else stays in
    QUIC, where flow control bounds it.
    """

    __slots__ = ("buffer", "eof", "error", "is_done", "session", "stream_id", "waiter")

    def __init__(self, session: Session, stream_id: int) -> None:
        self.session = session
        self.stream_id = stream_id
        self.buffer = bytearray()
        self.eof = False
        """FIN was taken from QUIC."""
        self.is_done = False
        self.error: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None

    def receive(self, max_length: int) -> bytes | None:
        """Up to *max_length* bytes from QUIC; None when none are there, b"" at the end."""
        if self.is_done:
            return self._end()
        connection = self.session._connection
        try:
            item = connection.wt.stream_recv(self.stream_id, max_length)
        except StreamReset as error:
            self.fail(error)
            raise
        if item is None:
            return None
        data, fin = item
        if fin:
            self.eof = True
            self.forget()
        elif not data:
            return None
        return data

    def receive_into(self, buffer: Buffer) -> int | None:
        """As :meth:`receive`, into *buffer*: the count, 0 at the end."""
        if self.is_done:
            return len(self._end())
        connection = self.session._connection
        try:
            item = connection.wt.stream_recv_into(self.stream_id, buffer)
        except StreamReset as error:
            self.fail(error)
            raise
        if item is None:
            return None
        count, fin = item
        if fin:
            self.eof = True
            self.forget()
        elif not count:
            return None
        return count

    def _end(self) -> bytes:
        if self.error is not None:
            raise copy.copy(self.error)
        return b""

    def take(self, count: int) -> bytes:
        """*count* bytes of what was read ahead."""
        data = bytes(memoryview(self.buffer)[:count])
        del self.buffer[:count]
        return data

    def stop(self, code: int) -> None:
        """Tell the peer to send no more, and forget what came."""
        self.buffer.clear()
        if not self.is_done:
            connection = self.session._connection
            connection.wt.stop_stream(self.stream_id, code)
            self.eof = True
            self.forget()
            self.wake()

    def fail(self, error: Exception) -> None:
        """Nothing more will come."""
        if not self.is_done:
            self.error = error
            self.forget()
            self.wake()

    def forget(self) -> None:
        self.is_done = True
        self.session._connection.receivers.pop(self.stream_id, None)

    def wake(self) -> None:
        """There is news to read."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def changed(self) -> None:
        """Wait for news."""
        if self.waiter is not None:
            raise RuntimeError(
                f"another task is already reading stream {self.stream_id}; only one can at a time"
            )
        self.waiter = self.session._connection.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None


class RecvStream(Stream):
    """A stream, or a stream's half, to read from; ``async for`` gives the bytes as they come.

    As a context manager: leaving it before the end sends STOP_SENDING.  Every read is cancellation-safe:
    what it had gathered is there for the next one.
    """

    __slots__ = ()

    def __init__(self, state: RecvState) -> None:
        self._session = state.session
        self._stream_id = state.stream_id
        self._rx = state

    async def read(self, n: int = -1) -> bytes:
        """Read up to *n* bytes, at least one unless the stream ended; without *n*, all up to FIN.

        ``b""`` means the end.  Raises :class:`StreamReset` when the peer abandoned the stream,
        :class:`SessionClosed` or :class:`ConnectionClosed` when that ended.
        """
        rx = self._rx
        if n < 0:
            return await self._read_all()
        if n == 0:
            return b""
        if rx.buffer:
            return rx.take(n)
        while (data := rx.receive(n)) is None:
            await rx.changed()
        return data

    async def _read_all(self) -> bytes:
        rx = self._rx
        while not rx.eof:
            data = rx.receive(1 << 20)
            if data is None:
                await rx.changed()
            elif rx.eof and not rx.buffer:
                return data
            else:
                rx.buffer += data
        return rx.take(len(rx.buffer))

    async def readexactly(self, n: int) -> bytes:
        """Read exactly *n* bytes; raises :class:`asyncio.IncompleteReadError` with what there was when the
        stream ends before, else as :meth:`read`."""
        if n < 0:
            raise ValueError("readexactly() takes a size of 0 or more")
        rx = self._rx
        while (missing := n - len(rx.buffer)) > 0:
            data = rx.receive(missing)
            if data is None:
                await rx.changed()
            elif len(data) == n:
                return data
            elif data:
                rx.buffer += data
            else:
                raise asyncio.IncompleteReadError(rx.take(len(rx.buffer)), n)
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
            found = rx.buffer.find(mark, start)
            if 0 <= found <= limit - len(mark):
                return rx.take(found + len(mark))
            if found >= 0 or len(rx.buffer) >= limit:
                raise asyncio.LimitOverrunError(
                    f"no separator within {limit} bytes; pass a larger limit", len(rx.buffer)
                )
            start = max(0, len(rx.buffer) - len(mark) + 1)
            data = rx.receive(limit - len(rx.buffer))
            if data is None:
                await rx.changed()
            elif data:
                rx.buffer += data
            else:
                raise asyncio.IncompleteReadError(rx.take(len(rx.buffer)), None)

    async def readinto(self, buffer: Buffer) -> int:
        """Read into *buffer*, as much as there is and fits; returns the count, 0 at the end.  Raises as
        :meth:`read`."""
        rx = self._rx
        if rx.buffer:
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
        return self._rx.eof and not self._rx.buffer

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
