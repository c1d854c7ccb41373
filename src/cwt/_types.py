"""Small types that several layers name."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = [
    "Address",
    "Buffer",
    "BytesWriter",
    "PathEvent",
    "PathEventKind",
    "PathState",
    "PathStats",
    "RecvInfo",
    "SendInfo",
    "Stats",
]

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


class PathState(IntEnum):
    """How far a path is validated (RFC 9000 Section 8.2)."""

    UNKNOWN = 0
    VALIDATING = 1
    VALIDATED = 2


class PathEventKind(Enum):
    """What happened to a path."""

    NEW = "new"
    """The peer sent something over it, or this side tries it."""
    VALIDATED = "validated"
    """The peer has answered on it."""
    FAILED = "failed"
    """The peer has not answered on it in time; it is forgotten."""
    CLOSED = "closed"
    """It is not needed any more, or had to make room; it is forgotten."""
    MIGRATED = "migrated"
    """This side, a client, has moved to it."""
    PEER_MIGRATED = "peer_migrated"
    """The client has moved to it, and this side, a server, has followed."""
    REUSED_SOURCE_CONNECTION_ID = "reused_source_connection_id"
    """The peer uses a connection ID on it that it used on another one: a NAT changed an address."""


class PathEvent(NamedTuple):
    """Something that happened to the path from *local* to *remote*."""

    kind: PathEventKind
    local: Address | None
    remote: Address
    sequence: int | None = None
    """Of REUSED_SOURCE_CONNECTION_ID: the sequence number of the connection ID."""
    other: tuple[Address | None, Address] | None = None
    """Of REUSED_SOURCE_CONNECTION_ID: the local and the remote address where it was used before."""


class PathStats(NamedTuple):
    """Counters and estimates of one path; times in seconds, sizes in bytes."""

    local: Address | None
    remote: Address
    state: PathState
    active: bool
    """Whether it is the path in use."""
    packets_received: int
    packets_sent: int
    packets_lost: int
    bytes_received: int
    """Of datagrams from the peer's address, authentic or not."""
    bytes_sent: int
    bytes_lost: int
    smoothed_rtt: float
    rtt_variation: float
    min_rtt: float
    max_rtt: float
    congestion_window: int
    bytes_in_flight: int
    mtu: int
    """Bytes of UDP payload of the largest datagram it is known to take (RFC 9000 Section 14)."""
    delivery_rate: float
    """Bytes a second that arrived at best, as far as the congestion controller measures it; else 0."""


class DatagramStats(NamedTuple):
    """What became of the datagrams (RFC 9221) of one connection."""

    sent: int
    """In packets, whatever became of these."""
    received: int
    lost: int
    """Sent in packets that were lost."""
    outgoing_overflowed: int
    """Dropped, or refused (``datagram_drop``), because the queue was full."""
    outgoing_expired: int
    """Dropped because they waited longer than ``outgoing_max_age``."""
    outgoing_too_large: int
    """Dropped because the path took less by the time of sending."""
    incoming_overflowed: int
    """Dropped because the application was slow to take them."""
    incoming_expired: int
    """Dropped because they waited longer than ``incoming_max_age``."""


class Stats(NamedTuple):
    """Counters and estimates of one connection; times in seconds, sizes in bytes."""

    packets_sent: int
    packets_received: int
    """Authentic ones, each once."""
    packets_lost: int
    """Sent and declared lost (RFC 9002 Section 6.1)."""
    bytes_sent: int
    """Of UDP payload; so are the other bytes."""
    bytes_received: int
    """In all datagrams, those that were dropped too."""
    bytes_lost: int
    bytes_acked: int
    smoothed_rtt: float
    """Of the path in use, as the three that follow (RFC 9002 Section 5); before there is a sample, what is
    assumed."""
    rtt_variation: float
    min_rtt: float
    latest_rtt: float
    congestion_window: int
    """Bytes that may be in flight on the path in use."""
    bytes_in_flight: int
    pto_count: int
    """Probe timeouts since the last acknowledgement (RFC 9002 Section 6.2)."""
    datagrams_dropped_incoming: int
    """DATAGRAM frames dropped because the application was slow to take them."""
    datagrams_dropped_outgoing: int
    """The same, because they could not be sent fast enough."""
    datagrams_lost: int
    """Sent in packets that were lost."""
    streams: int
    """That are open now."""
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
    packets_dropped: int
    """Received and not read: no key, not authentic, malformed, from a wrong address."""
    packets_retransmitted: int
    """Sent with stream or handshake data that had been sent before."""
    stream_bytes_retransmitted: int
    datagrams_sent: int
    """DATAGRAM frames (RFC 9221)."""
    datagrams_received: int
    paths: int
    """Paths the connection has used, the present one included."""
    streams_reset: int
    """RESET_STREAM frames due to us: our streams that we abandoned, or were asked to."""
    streams_reset_by_peer: int
    """RESET_STREAM frames received."""
    streams_stopped: int
    """Streams that we asked the peer not to send on (STOP_SENDING)."""
    streams_stopped_by_peer: int
    """STOP_SENDING frames received."""
    data_blocked_sent: int
    """How often the peer's connection limit stopped us and we said so (RFC 9000 Section 19.12)."""
    data_blocked_received: int
    stream_data_blocked_sent: int
    """How often a stream's limit did (RFC 9000 Section 19.13)."""
    stream_data_blocked_received: int
    streams_blocked_bidi_received: int
    """How often the peer wanted to open more bidirectional streams than it may."""
    streams_blocked_uni_received: int
    path_challenges_received: int
    amplification_limited: int
    """How often the anti-amplification limit stopped us (RFC 9000 Section 8.1)."""
    bytes_in_flight_duration: float
    """Seconds in which something was in flight, up to the last time that nothing was."""
    handshake_duration: float | None
    """Seconds from the first datagram to the complete handshake; None before it is."""
    key_updates: int
    """RFC 9001 Section 6."""
    early_data_accepted: bool
    """Whether the server took 0-RTT data."""
    packets_lost_spuriously: int
    """Of ``packets_lost``, those that the peer acknowledged after all."""
