"""What a log tells of its connection, in figures: for ``cwt qlog`` and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from cwt.qlog.reading import Event, Log

__all__ = ["Packet", "Series", "Summary", "percentile", "series", "summarize"]

_HANDSHAKE_STATES = ("handshake_started", "handshake_complete", "handshake_confirmed")


@dataclass
class Packet:
    """A packet that was sent or received; *time* in milliseconds, *size* in bytes, 0 when not told."""

    time: float
    type: str
    number: int | None
    size: int
    frames: list[dict[str, Any]]

    @property
    def key(self) -> tuple[str, int | None]:
        """What losses and acknowledgements name it by: 0-RTT and 1-RTT share their numbers."""
        return ("1RTT" if self.type == "0RTT" else self.type), self.number

    @property
    def stream_bytes(self) -> int:
        """Of all STREAM frames in it."""
        return sum(payload(frame) for frame in self.frames if frame.get("frame_type") == "stream")


@dataclass
class Summary:
    """One connection; times in milliseconds since the first event."""

    duration: float
    version: str | None = None
    alpn: str | None = None
    cipher: str | None = None
    states: dict[str, float] = field(default_factory=dict)
    """When the handshake started, was complete, was confirmed; as far as it was."""
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Transport parameters by "local" and "remote"."""
    sent: list[Packet] = field(default_factory=list)
    received: list[Packet] = field(default_factory=list)
    lost: list[tuple[float, Packet | None]] = field(default_factory=list)
    """When packets were declared lost; None where the log does not have them."""
    loss_triggers: Counter[str] = field(default_factory=Counter)
    spurious: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Received packets that were not read, by the reason."""
    rtt: list[float] = field(default_factory=list)
    """Samples."""
    congestion_window: list[int] = field(default_factory=list)
    congestion_states: list[tuple[float, str]] = field(default_factory=list)
    key_updates: list[tuple[float, str]] = field(default_factory=list)
    """When keys of 1-RTT changed, and who began: "local", "remote" or "unknown"."""
    mtu: list[tuple[float, int]] = field(default_factory=list)
    migrations: list[tuple[float, str]] = field(default_factory=list)
    addresses: tuple[str, str] | None = None
    closed: tuple[float, str] | None = None
    """When, and why."""


def payload(frame: dict[str, Any]) -> int:
    """Bytes that a STREAM, CRYPTO or DATAGRAM frame carries."""
    raw = frame.get("raw")
    raw = raw if isinstance(raw, dict) else {}
    for size in (raw.get("payload_length"), frame.get("length"), raw.get("length")):
        if isinstance(size, int):
            return size
    return 0


def percentile(values: Sequence[float], fraction: float) -> float:
    """The value that *fraction* of the sorted *values* do not exceed."""
    return values[max(0, ceil(fraction * len(values)) - 1)]


def summarize(log: Log) -> Summary:
    """The story of *log*."""
    summary = Summary(log.events[-1].time if log.events else 0.0)
    packets: dict[tuple[str, int | None], Packet] = {}
    for event in log.events:
        if event.name in ("quic:packet_sent", "quic:packet_received"):
            packet = _packet(event)
            if event.name == "quic:packet_sent":
                summary.sent.append(packet)
                packets[packet.key] = packet
            else:
                summary.received.append(packet)
            _frames_tell(summary, packet, sent=event.name == "quic:packet_sent")
        elif event.name == "quic:packet_lost":
            lost = _packet(event)
            summary.lost.append((event.time, packets.get(lost.key)))
            summary.loss_triggers[str(event.data.get("trigger", "unknown"))] += 1
        elif (tell := _TELLERS.get(event.name)) is not None:
            tell(summary, event)
    summary.rtt.sort()
    return summary


def _packet(event: Event) -> Packet:
    data = event.data
    header = data.get("header")
    header = header if isinstance(header, dict) else {}
    raw = data.get("raw")
    raw = raw if isinstance(raw, dict) else {}
    kind = str(header.get("packet_type", data.get("packet_type", "unknown")))
    number = header.get("packet_number", data.get("packet_number"))
    size = raw.get("length", header.get("packet_size", data.get("packet_size", 0)))
    frames = data.get("frames")
    frames = (
        [frame for frame in frames if isinstance(frame, dict)] if isinstance(frames, list) else []
    )
    return Packet(
        event.time,
        {"1rtt": "1RTT", "0rtt": "0RTT"}.get(kind.lower(), kind),
        int(str(number)) if str(number).isdecimal() else None,
        size if isinstance(size, int) else 0,
        frames,
    )


def _frames_tell(summary: Summary, packet: Packet, *, sent: bool) -> None:
    """What logs without the events for it tell in frames."""
    if packet.type == "handshake":
        summary.states.setdefault("handshake_started", packet.time)
    elif packet.type == "1RTT" and sent:
        summary.states.setdefault("handshake_complete", packet.time)
    for frame in packet.frames:
        kind = frame.get("frame_type")
        if kind == "handshake_done":
            summary.states.setdefault("handshake_confirmed", packet.time)
        elif kind == "connection_close" and summary.closed is None:
            code = frame.get("error", frame.get("error_code"))
            if code == "unknown":
                code = frame.get("error_code", frame.get("raw_error_code"))
            space = frame.get("error_space", "")
            text = f"{'this side' if sent else 'the peer'} closed: {space} error {code}"
            reason = frame.get("reason")
            summary.closed = packet.time, f"{text}, {reason!r}" if reason else text


def _version(summary: Summary, event: Event) -> None:
    chosen = event.data.get("chosen_version", event.data.get("quic_version"))
    if chosen is not None:
        summary.version = str(chosen)


def _alpn(summary: Summary, event: Event) -> None:
    chosen = event.data.get("chosen_alpn")
    if isinstance(chosen, dict):
        text = chosen.get("string_value")
        if text is None:
            text = bytes.fromhex(str(chosen.get("byte_value", ""))).decode("utf-8", "replace")
        summary.alpn = text
    elif chosen is not None:
        summary.alpn = str(chosen)


def _parameters(summary: Summary, event: Event) -> None:
    who = event.data.get("initiator", event.data.get("owner", "local"))
    summary.parameters.setdefault(str(who), {}).update(event.data)
    summary.cipher = event.data.get("tls_cipher", summary.cipher)
    if event.data.get("alpn"):
        summary.alpn = str(event.data["alpn"])


def _started(summary: Summary, event: Event) -> None:
    def endpoint(side: str) -> str:
        data = event.data.get(side)
        if not isinstance(data, dict):  # older drafts: src_ip, dst_ip
            prefix = "src" if side == "local" else "dst"
            return _address(event.data.get(f"{prefix}_ip"), event.data.get(f"{prefix}_port"))
        if "ip_v6" in data:
            return _address(data["ip_v6"], data.get("port_v6"))
        return _address(data.get("ip_v4"), data.get("port_v4"))

    summary.addresses = endpoint("local"), endpoint("remote")


def _address(host: object, port: object) -> str:
    if host is None:
        return "?"
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def _state(summary: Summary, event: Event) -> None:
    new = str(event.data.get("new", ""))
    if new in _HANDSHAKE_STATES:
        summary.states[new] = event.time


def _metrics(summary: Summary, event: Event) -> None:
    rtt = event.data.get("latest_rtt")
    if isinstance(rtt, int | float) and rtt > 0:
        summary.rtt.append(float(rtt))
    window = event.data.get("congestion_window", event.data.get("cwnd"))
    if isinstance(window, int | float):
        summary.congestion_window.append(int(window))


def _congestion(summary: Summary, event: Event) -> None:
    summary.congestion_states.append((event.time, str(event.data.get("new", "?"))))


def _spurious(summary: Summary, event: Event) -> None:
    summary.spurious += 1


def _dropped(summary: Summary, event: Event) -> None:
    summary.dropped[str(event.data.get("trigger", "unknown"))] += 1


def _key(summary: Summary, event: Event) -> None:
    trigger = str(event.data.get("trigger", ""))
    phase = event.data.get("key_phase", event.data.get("generation", 0))
    kind = str(event.data.get("key_type", ""))
    if kind.startswith("client_1rtt") and (trigger.endswith("_update") or phase not in (0, "0")):
        who = trigger.removesuffix("_update") if trigger.endswith("_update") else "unknown"
        summary.key_updates.append((event.time, who))


def _mtu(summary: Summary, event: Event) -> None:
    if isinstance(new := event.data.get("new"), int):
        summary.mtu.append((event.time, new))


def _migration(summary: Summary, event: Event) -> None:
    summary.migrations.append((event.time, str(event.data.get("new", "?"))))


def _tuple(summary: Summary, event: Event) -> None:
    remote = event.data.get("tuple_remote")
    if isinstance(remote, dict) and event.data.get("tuple_id"):
        host = remote.get("ip_v4", remote.get("ip_v6"))
        port = remote.get("port_v4", remote.get("port_v6"))
        summary.migrations.append((event.time, f"path to {_address(host, port)}"))


def _closed(summary: Summary, event: Event) -> None:
    data = event.data
    who = {"local": "this side closed", "remote": "the peer closed"}.get(
        str(data.get("initiator", data.get("owner"))), "closed"
    )
    trigger = data.get("trigger")
    if trigger in ("idle_timeout", "stateless_reset", "version_mismatch"):
        who = str(trigger).replace("_", " ")
    code = None
    for name in ("connection_error", "application_error", "connection_code", "application_code"):
        if name in data:
            code = data.get("error_code") if data[name] == "unknown" else data[name]
            who += f": {name.split('_')[0]} error {code}"
            break
    reason = data.get("reason")
    summary.closed = event.time, f"{who}, {reason!r}" if reason else who


_TELLERS = {
    "quic:version_information": _version,
    "quic:alpn_information": _alpn,
    "quic:parameters_set": _parameters,
    "quic:connection_started": _started,
    "quic:connection_state_updated": _state,
    "quic:recovery_metrics_updated": _metrics,
    "quic:congestion_state_updated": _congestion,
    "cwt:spurious_loss": _spurious,
    "quic:packet_dropped": _dropped,
    "quic:key_updated": _key,
    "quic:mtu_updated": _mtu,
    "quic:migration_state_updated": _migration,
    "quic:tuple_assigned": _tuple,
    "quic:connection_closed": _closed,
}


@dataclass
class Series:
    """Values over time, for a plot."""

    times: list[float]
    values: list[float]


def series(log: Log, *names: str) -> Series:
    """A metric of ``quic:recovery_metrics_updated`` by any of its *names*, milliseconds and values."""
    times, values = [], []
    for event in log.named("quic:recovery_metrics_updated"):
        for name in names:
            value = event.data.get(name)
            if isinstance(value, int | float):
                times.append(event.time)
                values.append(float(value))
                break
    return Series(times, values)
