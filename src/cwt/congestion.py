"""Congestion controllers written in Python (RFC 9002 Section 7)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Acknowledgement", "CongestionController"]


class Acknowledgement(NamedTuple):
    """What one ACK frame told; times in seconds, sizes in bytes."""

    now: float
    size: int
    """Of the packets it acknowledged."""
    sent: float
    """When the newest of them went out."""
    window_limited: bool
    """Whether the window was in use: one that is not should not grow."""
    in_flight: int
    """What is still on its way."""
    latest_rtt: float
    smoothed_rtt: float
    min_rtt: float
    delivery_rate: float
    """Bytes a second that arrived lately (draft-ietf-ccwg-bbr Section 4.1); 0 where that is not known."""
    app_limited: bool
    """Whether that rate is low for want of data."""


class CongestionController:
    """Base class of controllers: says how much may be in flight, and how fast it may leave.

    A subclass answers :meth:`on_ack` and :meth:`on_loss` by changing ``window``, in bytes.  The
    ``congestion`` setting takes the class, or a function that makes one; each path of each connection gets
    its own.  An exception closes the connection with INTERNAL_ERROR (RFC 9000 Section 20.1)::

        class Aimd(quic.CongestionController):
            def on_ack(self, ack):
                if ack.window_limited:
                    self.window += self.max_datagram_size * ack.size // self.window

            def on_loss(self, sent, size, now):
                if self.is_new_congestion(sent, now):
                    self.window = max(self.window * 3 // 4, 2 * self.max_datagram_size)

        config = quic.Config(alpn=[b"echo"], congestion=Aimd)

    It is called for each ACK frame, which costs a few microseconds.  Controllers in Cython, called for each
    packet without Python between, subclass ``cwt._core.recovery.congestion.CongestionController``; its
    ``.pxd`` is part of the package.
    """

    window: int
    """Bytes that may be in flight; less than two datagrams count as two."""
    pacing_rate: float | None = None
    """Bytes a second; None for a quarter more than a window each round trip, 0 for no pacing."""
    in_slow_start: bool = False
    """Whether the window doubles each round trip: pacing and the peer's ACKs leave room for that."""

    def __init__(self, max_datagram_size: int) -> None:
        self.max_datagram_size = max_datagram_size
        self.window = min(10 * max_datagram_size, max(14720, 2 * max_datagram_size))
        self._congested_at = -1.0

    def on_ack(self, ack: Acknowledgement) -> None:
        """Packets arrived."""
        raise NotImplementedError

    def on_loss(self, sent: float, size: int, now: float) -> None:
        """Packets of *size* bytes were found lost together; the newest went out at *sent*."""
        raise NotImplementedError

    def on_congestion_experienced(self, sent: float, now: float) -> None:
        """A router marked a packet sent at *sent* (RFC 9002 Section 7.1); as a rule, a loss of nothing."""
        self.on_loss(sent, 0, now)

    def on_spurious_loss(self, now: float) -> None:
        """What made for the last reduction has arrived after all; as a rule, nothing is done about it."""

    def on_persistent_congestion(self) -> None:
        """All packets of a long period were lost (RFC 9002 Section 7.6.2)."""
        self.window = 2 * self.max_datagram_size

    def is_new_congestion(self, sent: float, now: float) -> bool:
        """Whether the loss of a packet sent at *sent* is not of a round trip that was answered already."""
        if sent <= self._congested_at:
            return False
        self._congested_at = now
        return True
