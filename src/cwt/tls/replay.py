"""Early data that is sent again by somebody else (RFC 8446 Section 8)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cwt.errors import ConfigError

__all__ = ["FirstUse", "ReplayGuard", "StrikeRegister"]

FirstUse = Callable[[bytes, float, float], bool]
"""``first_use(identifier, now, expires)``: whether *identifier* (16 bytes) was not shown before.

Once shown it must be remembered until *expires*; both times are Unix time in seconds.  False, too, when
that cannot be done.
"""


class StrikeRegister:
    """Remembers in memory what was used, *capacity* of it; when that is full, it says that all was.

    It knows nothing of other processes.
    """

    def __init__(self, capacity: int = 65536) -> None:
        if capacity < 1:
            raise ConfigError("capacity must be at least 1")
        self._capacity = capacity
        self._used: set[bytes] = set()
        self._order: deque[tuple[float, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._used)

    def __call__(self, identifier: bytes, now: float, expires: float) -> bool:
        # Nearly in the order of expiry: a window's length apart at most.
        while self._order and self._order[0][0] < now:
            self._used.discard(self._order.popleft()[1])
        if identifier in self._used or len(self._used) >= self._capacity:
            return False
        self._used.add(identifier)
        self._order.append((expires, identifier))
        return True


class ReplayGuard:
    """Takes the early data of a ticket once, and only when it is fresh.

    A ClientHello is fresh when the age of the ticket that it tells is right within *window* seconds (RFC
    8446 Section 8.3): older copies of it are refused without any memory, younger ones by *first_use* (8.1).
    What may have been taken before *started*, by the process that ran then, is refused.

    Processes that share ticket keys, each with a register of its own, may take the same early data once
    each: give all of them a *first_use* that they share, or live with that.
    """

    def __init__(
        self, started: float, window: float = 10.0, first_use: FirstUse | None = None
    ) -> None:
        if not 0.1 <= window <= 600:
            raise ConfigError(f"early_data_window must be from 0.1 to 600 seconds, not {window!r}")
        self._started = int(started * 1000) / 1000  # tickets tell no more than milliseconds
        self._window = window
        self._first_use = StrikeRegister() if first_use is None else first_use

    def refusal(self, identifier: bytes, issued: float, sent: float, now: float) -> str | None:
        """Why early data is refused, None for taking it.

        *identifier* is the ticket's, *issued* when the server gave it away, and *sent* when the client says
        that it used it, by the clock of the server.
        """
        if abs(now - sent) > self._window:
            return "the ClientHello is not fresh"
        if issued < self._started and sent - self._window < self._started:
            return "the server has only just started"
        if not self._first_use(identifier, now, sent + self._window):
            return "the ticket was used for early data before"
        return None
