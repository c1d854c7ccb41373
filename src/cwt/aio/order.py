"""Send order: which stream of a session goes first (W3C WebTransport, sendOrder and sendGroup)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cwt.aio.states import SendState

__all__ = ["SendGroup"]

_FIRST = 2
_LAST = 7
"""Urgencies (RFC 9218 Section 4.1) of ordered streams; more urgent is the session's own stream."""


class SendGroup:
    """Streams whose ``send_order`` is compared; :meth:`Session.send_group` makes one.

    Groups share the connection evenly: the first streams of each are equally urgent.
    """

    __slots__ = ("_orders",)

    def __init__(self) -> None:
        self._orders: dict[SendState, int] = {}

    def __repr__(self) -> str:
        return f"<cwt.SendGroup of {len(self._orders)} streams>"

    def _put(self, state: SendState, order: int) -> None:
        self._orders[state] = order
        self._rank()

    def _remove(self, state: SendState) -> None:
        if self._orders.pop(state, None) is not None:
            self._rank()

    def _rank(self) -> None:
        """Six different orders are told apart; all that come later share the last urgency."""
        orders = sorted(set(self._orders.values()), reverse=True)
        ranks = {order: min(_FIRST + rank, _LAST) for rank, order in enumerate(orders)}
        for state, order in self._orders.items():
            if state.urgency != ranks[order] or state.incremental:
                state.prioritize(ranks[order], False)
