"""Datagrams of a session (RFC 9221, RFC 9297)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cwt._core.stream.datagram import DatagramFlow
    from cwt._types import Buffer
    from cwt.aio.connection import Connection

__all__ = ["Datagrams"]


class Datagrams:
    """The unreliable datagrams of a session; ``async for`` gives them as they come.

    They may be lost, doubled or out of order on the way, and the oldest are dropped when they come faster
    than they are taken, or are sent faster than the path carries them.  Iteration ends quietly at a clean
    close, and raises at any other.
    """

    __slots__ = ("_clean", "_connection", "_error", "_flow", "_max_age", "_receivers", "_senders")

    def __init__(self, connection: Connection, flow: DatagramFlow) -> None:
        self._connection = connection
        self._flow = flow
        """What came and waits, and what tells the datagrams of this session from others."""
        self._receivers: list[asyncio.Future[None]] = []
        self._senders: list[asyncio.Future[None]] = []
        self._max_age = flow.incoming_max_age
        self._error: Exception | None = None
        self._clean = False

    def __len__(self) -> int:
        """How many received datagrams wait to be taken."""
        return len(self._flow)

    @property
    def max_size(self) -> int:
        """Bytes of the largest datagram that can be sent now; 0 when the peer takes none.  Follows the path
        MTU."""
        if self._error is not None:
            return 0
        return self._connection.quic.dgram_max_writable_len(self._flow)

    @property
    def incoming_high_water_mark(self) -> int:
        """How many received datagrams are kept; then the oldest is dropped.

        To start with ``Config.datagram_recv_queue``; ``Config.datagram_recv_bytes`` holds besides.
        """
        return self._flow.max_count

    @incoming_high_water_mark.setter
    def incoming_high_water_mark(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"incoming_high_water_mark is at least 1, not {count!r}")
        self._flow.limit(count, self._flow.max_bytes)

    @property
    def incoming_max_age(self) -> float | None:
        """Seconds after which a received datagram that was not taken is dropped; None for never."""
        return self._max_age

    @incoming_max_age.setter
    def incoming_max_age(self, seconds: float | None) -> None:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"incoming_max_age is above 0 seconds or None, not {seconds!r}")
        self._max_age = seconds

    @property
    def outgoing_max_age(self) -> float | None:
        """Seconds after which a datagram that could not be sent is dropped; None for never.

        For what is sent from now on; to start with ``Config.datagram_outgoing_max_age``.
        """
        return self._flow.outgoing_max_age

    @outgoing_max_age.setter
    def outgoing_max_age(self, seconds: float | None) -> None:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"outgoing_max_age is above 0 seconds or None, not {seconds!r}")
        self._flow.outgoing_max_age = seconds

    # Sending

    def send(self, data: Buffer) -> bool:
        """Send *data* as one datagram; never waits.

        False when the queue was full, so that the oldest unsent datagram was dropped for it, or it was not
        taken (``Config.datagram_drop``): see :meth:`drain`.  Raises :class:`DatagramTooLarge` above
        :attr:`max_size`, :class:`SessionClosed` or :class:`ConnectionClosed` when that ended.
        """
        if self._error is not None:
            raise copy.copy(self._error)
        return self._connection.quic.dgram_send(data, self._flow)

    def send_many(self, datagrams: Iterable[Buffer]) -> int:
        """Send each of *datagrams*; returns for how many there was room, and raises, as :meth:`send`."""
        if self._error is not None:
            raise copy.copy(self._error)
        return self._connection.quic.dgram_send_many(datagrams, self._flow)

    async def drain(self) -> None:
        """Wait while the connection has many unsent datagrams: from when half of
        ``Config.datagram_send_queue`` is taken until no more than a quarter is.

        Awaited after each batch of up to half of the queue, it keeps the sender at the pace of the path,
        and nothing is dropped here.  Raises :class:`SessionClosed` or :class:`ConnectionClosed` when that
        ended.
        """
        connection = self._connection
        while self._error is None and not connection.quic.dgram_writable:
            connection.wants_datagram_room = True
            await self._wait(self._senders)
        if self._error is not None:
            raise copy.copy(self._error)

    # Receiving

    async def receive(self) -> bytes:
        """The next datagram.  Raises :class:`SessionClosed` or :class:`ConnectionClosed` once that ended
        and all that came was taken."""
        if self._max_age is not None:
            self._drop_old(self._max_age)
        data = self._flow.recv()
        while data is None:
            await self._arrival()
            data = self._flow.recv()
        return data

    async def receive_many(self, limit: int | None = None) -> list[bytes]:
        """All datagrams that are there, at most *limit*; waits for one if there is none.

        Raises as :meth:`receive`.  The fastest way to take many.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"the limit of receive_many() is at least 1, not {limit!r}")
        if self._max_age is not None:
            self._drop_old(self._max_age)
        while not (datagrams := self._flow.recv_many(limit)):
            await self._arrival()
        return datagrams

    def receive_nowait(self) -> bytes | None:
        """The next datagram if one is there; raises as :meth:`receive`."""
        if self._max_age is not None:
            self._drop_old(self._max_age)
        data = self._flow.recv()
        if data is None and self._error is not None:
            raise copy.copy(self._error)
        return data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._max_age is None and (data := self._flow.recv()) is not None:
            return data
        try:
            return await self.receive()
        except Exception:
            if self._error is not None and self._clean:
                raise StopAsyncIteration from None
            raise

    async def _arrival(self) -> None:
        """Wait until there may be a datagram; raises when none comes any more."""
        if self._error is not None:
            raise copy.copy(self._error)
        await self._wait(self._receivers)

    def _drop_old(self, age: float) -> None:
        self._flow.expire(self._connection.endpoint.now() - age)

    # For the connection

    def _on_readable(self) -> None:
        """Datagrams came: wake as many as there is something for."""
        if self._receivers:
            _wake(self._receivers, len(self._flow))

    def _on_writable(self) -> None:
        """There is room to send."""
        _wake(self._senders, len(self._senders))

    def _close(self, error: Exception, clean: bool) -> None:
        """The session has ended; what came can still be taken."""
        if self._error is None:
            self._error = error
            self._clean = clean
            _wake(self._receivers, len(self._receivers))
            _wake(self._senders, len(self._senders))

    async def _wait(self, waiters: list[asyncio.Future[None]]) -> None:
        waiter: asyncio.Future[None] = self._connection.loop.create_future()
        waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter in waiters:
                waiters.remove(waiter)
            elif waiters is self._receivers:
                self._on_readable()  # a wake-up that is not used goes to the next in line
            raise


def _wake(waiters: list[asyncio.Future[None]], count: int) -> None:
    """Wake *count* of the *waiters*, those who wait longest."""
    while waiters and count > 0:
        waiter = waiters.pop(0)
        if not waiter.done():
            waiter.set_result(None)
            count -= 1
