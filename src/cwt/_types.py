"""Small types that several layers name."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = ["Address", "Buffer", "BytesWriter", "RecvInfo", "SendInfo", "Stats"]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Anything contiguous that holds bytes."""

Address: TypeAlias = tuple[Any, ...]
"""(host, port), the host as IPv4 or IPv6 text; IPv6 may add flow and scope."""


class BytesWriter(Protocol):
    """What takes bytes: a binary file, for example."""

    def write(self, data: bytes, /) -> object: ...


class RecvInfo(NamedTuple):
    """Where a datagram came from and went to."""

    from_: Address
    to: Address
    ecn: int = 0
    """The two ECN bits of its IP header (RFC 3168)."""


class SendInfo(NamedTuple):
    """Where a datagram is to go."""

    to: Address
    from_: Address
    at: float
    """Seconds on the caller's clock: when pacing wants it sent, now or a little later."""
    ecn: int = 0
    """The two ECN bits its IP header should have (RFC 3168): 0, or 2 for ECT(0)."""


class Stats(NamedTuple):
    """Counters and estimates of one connection; times in seconds, sizes in bytes."""

    packets_sent: int
    packets_received: int
    packets_lost: int
    bytes_sent: int
    bytes_received: int
    bytes_lost: int
    bytes_acked: int
    smoothed_rtt: float
    rtt_variation: float
    min_rtt: float
    latest_rtt: float
    congestion_window: int
    bytes_in_flight: int
    pto_count: int
    datagrams_dropped_incoming: int
    datagrams_dropped_outgoing: int
    datagrams_lost: int
    streams: int
    mtu: int
    """Bytes of UDP payload of the largest datagram the path is known to take (RFC 9000 Section 14)."""
    ecn: str
    """Of the path in use (RFC 9000 Appendix A.4): "off", "testing", "unknown", "capable" or "failed"."""
    packets_marked: int
    """Sent with ECT(0) on the path in use."""
    packets_congested: int
    """Of these, those that a router marked with CE, as the peer counts."""
    received_ect0: int
    """Received packets with ECT(0), in all packet number spaces; and so on."""
    received_ect1: int
    received_ce: int
