"""Datagrams of a session (RFC 9221, RFC 9297)."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from cwt.aio.incoming import Incoming

if TYPE_CHECKING:
    from cwt._types import Buffer
    from cwt.aio.session import Session

__all__ = ["Datagrams"]


class Datagrams(Incoming[bytes]):
    """The unreliable datagrams of a session; ``async for`` gives them as they come.

    They may be lost, doubled or out of order on the way, and the oldest are dropped when they come faster
    than they are taken.
    """

    __slots__ = (
        "_arrivals",
        "_dropped",
        "_high_water_mark",
        "_max_age",
        "_received",
        "_sent",
        "_session",
    )

    def __init__(self, session: Session, high_water_mark: int) -> None:
        super().__init__(session._connection.loop)
        self._session = session
        self._arrivals: deque[float] | None = None
        """When each in the queue came; kept only while there is a maximum age."""
        self._high_water_mark = high_water_mark
        self._max_age: float | None = None
        self._sent = self._received = self._dropped = 0

    @property
    def max_size(self) -> int:
        """Bytes of the largest datagram that can be sent now; 0 when the peer takes none.  Follows the path
        MTU."""
        session = self._session
        if self._error is not None:
            return 0
        return session._connection.wt.max_datagram_size(session._session_id)

    @property
    def incoming_high_water_mark(self) -> int:
        """How many received datagrams are kept; then the oldest is dropped."""
        return self._high_water_mark

    @incoming_high_water_mark.setter
    def incoming_high_water_mark(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"incoming_high_water_mark is at least 1, not {count!r}")
        self._high_water_mark = count
        while len(self) > count:
            self._drop()

    @property
    def incoming_max_age(self) -> float | None:
        """Seconds after which a received datagram that was not taken is dropped; None for never."""
        return self._max_age

    @incoming_max_age.setter
    def incoming_max_age(self, seconds: float | None) -> None:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"incoming_max_age is above 0 seconds or None, not {seconds!r}")
        self._arrivals = None if seconds is None else deque([self._loop.time()] * len(self))
        self._max_age = seconds

    def send(self, data: Buffer) -> bool:
        """Send *data* as one datagram; never waits.

        False when the queue was full, so that the oldest unsent datagram was dropped for it.  Raises
        :class:`DatagramTooLarge` above :attr:`max_size`, :class:`SessionClosed` or
        :class:`ConnectionClosed` when that ended.
        """
        self._check()
        session = self._session
        connection = session._connection
        self._sent += 1
        accepted = connection.wt.send_datagram(session._session_id, data)
        return accepted

    def send_many(self, datagrams: Iterable[Buffer]) -> int:
        """Send each of *datagrams*; returns for how many there was room, and raises, as :meth:`send`."""
        self._check()
        session = self._session
        connection = session._connection
        send, session_id = connection.wt.send_datagram, session._session_id
        count = accepted = 0
        try:
            for data in datagrams:
                accepted += send(session_id, data)
                count += 1
        finally:
            self._sent += count
        return accepted

    async def receive(self) -> bytes:
        """The next datagram.  Raises :class:`SessionClosed` or :class:`ConnectionClosed` once that ended
        and all that came was taken."""
        return await self._get()

    def receive_nowait(self) -> bytes | None:
        """The next datagram if one is there; raises as :meth:`receive`."""
        if self._max_age is not None:
            self._drop_old()
        if not self._items:
            self._check()
            return None
        return self._take()

    async def _get(self) -> bytes:
        if self._max_age is not None:
            self._drop_old()
        return await super()._get()

    def _take(self) -> bytes:
        if self._arrivals is not None:
            self._arrivals.popleft()
        return super()._take()

    def _put(self, item: bytes) -> None:
        self._received += 1
        if self._arrivals is not None:
            self._arrivals.append(self._loop.time())
        if len(self) >= self._high_water_mark:
            self._drop()
        super()._put(item)

    def _check(self) -> None:
        if self._error is not None:
            raise copy.copy(self._error)

    def _drop(self) -> None:
        self._take()
        self._dropped += 1

    def _drop_old(self) -> None:
        assert self._max_age is not None and self._arrivals is not None
        oldest = self._loop.time() - self._max_age
        while self._arrivals and self._arrivals[0] < oldest:
            self._drop()
