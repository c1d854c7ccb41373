"""Send order: which stream of a session goes first (W3C WebTransport, sendOrder and sendGroup)."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cwt.aio.states import SendState

__all__ = ["SendGroup"]

_FIRST = 2
_LAST = 7
"""Urgencies (RFC 9218 Section 4.1) of ordered streams; more urgent is the session's own stream."""
_LEVELS = _LAST - _FIRST + 1


class SendGroup:
    """Streams whose ``send_order`` is compared; :meth:`Session.send_group` makes one.

    Groups share the connection evenly: the first streams of each are equally urgent.
    """

    __slots__ = ("_orders", "_states")

    def __init__(self) -> None:
        self._orders: list[int] = []
        """The different ones, ascending."""
        self._states: dict[int, dict[SendState, None]] = {}
        """By their order."""

    def __repr__(self) -> str:
        return f"<cwt.SendGroup of {sum(map(len, self._states.values()))} streams>"

    def _put(self, state: SendState, order: int) -> None:
        states = self._states.setdefault(order, {})
        states[state] = None
        if len(states) == 1:
            bisect.insort(self._orders, order)
            self._rank()
        rank = len(self._orders) - 1 - bisect.bisect_left(self._orders, order)
        self._set(state, min(_FIRST + rank, _LAST))

    def _remove(self, state: SendState) -> None:
        order = state.order
        states = None if order is None else self._states.get(order)
        if order is None or states is None or state not in states:
            return
        del states[state]
        if not states:
            del self._states[order]
            del self._orders[bisect.bisect_left(self._orders, order)]
            self._rank()

    def _rank(self) -> None:
        """Six different orders are told apart; all that come later share the last urgency, and keep it
        whatever comes and goes before them."""
        for rank, order in enumerate(reversed(self._orders[-_LEVELS:])):
            for state in self._states[order]:
                self._set(state, _FIRST + rank)

    def _set(self, state: SendState, urgency: int) -> None:
        if state.urgency != urgency or state.incremental:
            state.prioritize(urgency, False)
