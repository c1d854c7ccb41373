"""Every knob of cwt as frozen, keyword-only dataclasses.

``TransportConfig`` is what a QUIC connection needs, ``Http3Config`` adds HTTP/3, ``Config`` adds
WebTransport and is what :func:`cwt.connect` and :func:`cwt.serve` take.  Times are seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from cwt.errors import ConfigError

__all__ = ["Config", "Http3Config", "TransportConfig"]

_MAX_VARINT = (1 << 62) - 1
_MAX_STREAMS = 1 << 60
_MAX_SECONDS = 1 << 32  # so that nanoseconds fit 64 bits
_VERSIONS = (0x00000001, 0x6B3343CF)


def _check_versions(versions: tuple[int, ...], initial: int | None) -> None:
    if not isinstance(versions, tuple) or not versions or not set(versions) <= set(_VERSIONS):
        known = ", ".join(f"0x{version:08x}" for version in _VERSIONS)
        raise ConfigError(f"versions must be a tuple of some of {known}, not {versions!r}")
    if initial is not None and initial not in versions:
        raise ConfigError(f"initial_version must be one of versions, not {initial!r}")


def _check_address(name: str, address: Any, version: int) -> None:
    from ipaddress import ip_address

    try:
        host, port = address
        is_fine = ip_address(host).version == version and 0 < port <= 65535
    except (TypeError, ValueError):
        is_fine = False
    if not is_fine:
        raise ConfigError(f"{name} must be an IPv{version} address and a port, not {address!r}")


@dataclass(frozen=True, kw_only=True)
class TransportConfig:
    """Limits and timers of one QUIC connection."""

    versions: tuple[int, ...] = (0x00000001, 0x6B3343CF)
    """QUIC versions, the preferred one first: 1 (RFC 9000) and 0x6b3343cf, which is version 2 (RFC 9369).
    A server goes on with the first one that the client offers (RFC 9368), without another round trip."""
    initial_version: int | None = None
    """The version in which a client begins; None for version 1 if it is one of ``versions``, since that is
    what most servers know, else the first of them."""
    max_idle_timeout: float = 30.0
    """Seconds without traffic until the connection ends; 0 for never (RFC 9000 Section 10.1)."""
    handshake_timeout: float = 10.0
    """Seconds the handshake may take."""
    keep_alive_interval: float | None = None
    """Seconds of silence after which a PING is sent (RFC 9000 Section 10.1.2); None for none."""
    max_udp_payload_size: int = 1200
    """Bytes of the largest datagram sent, until a larger path MTU is known (RFC 9000 Section 14)."""
    mtu_discovery: bool = True
    """Find out whether the path takes larger datagrams, and when it takes smaller ones than before
    (RFC 9000 Section 14.3, RFC 8899).  Without it every datagram keeps to ``max_udp_payload_size``."""
    mtu_discovery_limit: int = 65507
    """Bytes of the largest datagram that discovery tries, beyond ``max_udp_payload_size``."""
    max_recv_udp_payload_size: int = 65527
    """max_udp_payload_size transport parameter (RFC 9000 Section 18.2): what we are ready to receive."""

    initial_max_data: int = 1536 * 1024
    """Connection flow-control window to start with (RFC 9000 Section 4.1)."""
    initial_max_stream_data: int = 1024 * 1024
    """Stream flow-control window to start with, for each kind of stream."""
    max_connection_window: int = 24 * 1024 * 1024
    """Largest connection window that auto-tuning may reach."""
    max_stream_window: int = 16 * 1024 * 1024
    """Largest stream window that auto-tuning may reach."""
    initial_max_streams_bidi: int = 256
    """Bidirectional streams the peer may have open at once (RFC 9000 Section 4.6)."""
    initial_max_streams_uni: int = 256
    """Unidirectional streams the peer may have open at once."""
    send_buffer: int = 256 * 1024
    """Bytes a stream takes from the application before they have been sent; then writes wait."""

    max_datagram_frame_size: int = 65535
    """Largest DATAGRAM frame accepted; 0 turns datagrams off (RFC 9221 Section 3)."""
    datagram_recv_queue: int = 16384
    """Received datagrams kept for the application; then the oldest is dropped."""
    datagram_recv_bytes: int = 2 * 1024 * 1024
    """Bytes of them, 64 added for each; then, too."""
    datagram_send_queue: int = 1024
    """Datagrams kept until they can be sent; then the oldest is dropped."""
    datagram_send_bytes: int = 2 * 1024 * 1024
    """Bytes of them, 64 added for each; then, too."""
    datagram_drop: str = "oldest"
    """Which datagram a full queue, of either kind, does without: the "oldest", or the "newest"."""
    datagram_outgoing_max_age: float | None = None
    """Seconds after which a datagram that could not be sent is dropped; None for never."""
    datagram_incoming_max_age: float | None = None
    """Seconds after which a received datagram that was not taken is dropped; None for never."""

    ack_delay_exponent: int = 3
    """RFC 9000 Section 18.2."""
    max_ack_delay: float = 0.025
    """Seconds an acknowledgement may be delayed (RFC 9000 Section 13.2.1)."""
    ack_frequency: bool = True
    """Tell the peer how often to acknowledge, and do as it says (draft-ietf-quic-ack-frequency)."""
    active_connection_id_limit: int = 4
    """Connection IDs of the peer that are kept (RFC 9000 Section 5.1.1)."""
    disable_active_migration: bool = False
    """Ask the peer not to migrate (RFC 9000 Section 18.2), and take nothing from where it went on purpose;
    addresses that a NAT changes are followed all the same."""
    preferred_address_v4: tuple[str, int] | None = None
    """A server's: the IPv4 address and port clients are to move to after the handshake (RFC 9000 Section
    9.6); the server must receive and send there, too."""
    preferred_address_v6: tuple[str, int] | None = None
    """The same for IPv6."""
    use_preferred_address: bool = True
    """A client's: move to the address that the server prefers, once it is found to work."""

    congestion: str | Callable[[int], Any] = "cubic"
    """Congestion controller: "cubic" (RFC 9438), "newreno" (RFC 9002 Appendix B), "bbr"
    (draft-ietf-ccwg-bbr), or your own: a subclass of :class:`cwt.quic.CongestionController`, or a function
    that makes one of the bytes of the largest datagram.  Each path gets its own."""
    initial_rtt: float = 0.333
    """Seconds assumed before the first sample (RFC 9002 Section 6.2.2)."""
    ecn: bool = True
    """Let routers mark packets instead of dropping them, on paths that turn out to carry the marks
    (RFC 9000 Section 13.4)."""
    pacing: bool = True
    """Spread packets over the round trip (RFC 9002 Section 7.7)."""
    grease: bool = True
    """Send reserved versions and transport parameters, and vary the QUIC bit for peers that allow it
    (RFC 9287), to keep the network tolerant."""

    qlog_dir: str | PathLike[str] | None = None
    """Directory for a qlog file of each connection; None for the one that the environment variable QLOGDIR
    names, if any (draft-ietf-quic-qlog-main-schema).  They tell addresses, sizes and times; no secrets."""
    qlog_level: str = "base"
    """How important an event in it must be: "core", "base" or "extra"."""

    def __post_init__(self) -> None:
        def check(name: str, low: float, high: float) -> None:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} must be from {low} to {high}, not {value!r}")

        _check_versions(self.versions, self.initial_version)
        check("max_idle_timeout", 0, _MAX_SECONDS)
        check("handshake_timeout", 0.001, _MAX_SECONDS)
        if self.keep_alive_interval is not None:
            check("keep_alive_interval", 0.001, _MAX_SECONDS)
        check("max_udp_payload_size", 1200, 65527)
        check("mtu_discovery_limit", 1200, 65527)
        check("max_recv_udp_payload_size", 1200, 65527)
        for name in ("initial_max_data", "initial_max_stream_data"):
            check(name, 0, _MAX_VARINT)
        for name in ("max_connection_window", "max_stream_window"):
            check(name, 1024, 1 << 40)
        for name in ("initial_max_streams_bidi", "initial_max_streams_uni"):
            check(name, 0, _MAX_STREAMS)
        check("send_buffer", 1024, 1 << 32)
        check("max_datagram_frame_size", 0, 65535)
        for name in ("datagram_recv_queue", "datagram_send_queue"):
            check(name, 1, 1 << 24)
        for name in ("datagram_recv_bytes", "datagram_send_bytes"):
            check(name, 1, 1 << 40)
        if self.datagram_drop not in ("oldest", "newest"):
            raise ConfigError(
                f'datagram_drop must be "oldest" or "newest", not {self.datagram_drop!r}'
            )
        for name in ("datagram_outgoing_max_age", "datagram_incoming_max_age"):
            if getattr(self, name) is not None:
                check(name, 0.000001, 1 << 30)
        check("ack_delay_exponent", 0, 20)
        check("max_ack_delay", 0, 16.383)
        check("active_connection_id_limit", 2, 64)
        check("initial_rtt", 0.001, 60)
        for name, version in (("preferred_address_v4", 4), ("preferred_address_v6", 6)):
            if (address := getattr(self, name)) is not None:
                _check_address(name, address, version)
        if self.qlog_level not in ("core", "base", "extra"):
            raise ConfigError(
                f'qlog_level must be "core", "base" or "extra", not {self.qlog_level!r}'
            )
        if self.congestion not in ("bbr", "cubic", "newreno") and not callable(self.congestion):
            raise ConfigError(
                'congestion must be "cubic", "newreno", "bbr" or what makes a controller, '
                f"not {self.congestion!r}"
            )


@dataclass(frozen=True, kw_only=True)
class Http3Config(TransportConfig):
    """``TransportConfig`` and the limits of HTTP/3."""

    qpack_max_table_capacity: int = 0
    """Bytes of the QPACK dynamic table for decoding (RFC 9204 Section 3.2.3); 0 keeps decoding bounded."""
    qpack_blocked_streams: int = 0
    """Streams that may wait for QPACK instructions (RFC 9204 Section 2.1.2)."""
    max_field_section_size: int = 65536
    """Largest field section accepted, decoded, with 32 bytes a field (RFC 9114 Section 4.2.2)."""
    max_field_lines: int = 128
    """Most field lines accepted in one section."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_field_section_size < 1024:
            raise ConfigError("max_field_section_size must be at least 1024 bytes")


@dataclass(frozen=True, kw_only=True)
class Config(Http3Config):
    """``Http3Config`` and the limits of WebTransport."""

    max_sessions: int = 1
    """WebTransport sessions the peer may have on one connection."""
    max_early_streams: int = 16
    """Streams held until their session is known (draft-ietf-webtrans-http3 Section 4.5)."""
    max_early_datagrams: int = 32
    """Datagrams held until their session is known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_sessions < 1:
            raise ConfigError("max_sessions must be at least 1")
