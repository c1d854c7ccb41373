"""The story of a connection as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from cwt.cli.common import rate, seconds, size
from cwt.qlog.reading import Log
from cwt.qlog.summary import Packet, Summary, payload, percentile

__all__ = ["table"]

_VERSIONS = {"00000001": "1 (RFC 9000)", "6b3343cf": "2 (RFC 9369)", "1": "1 (RFC 9000)"}
_LIMITS = {
    "initial_max_data": "connection window",
    "initial_max_stream_data_bidi_local": "stream window",
    "initial_max_streams_bidi": "bidirectional streams",
    "initial_max_streams_uni": "unidirectional streams",
    "max_idle_timeout": "idle timeout",
    "max_udp_payload_size": "largest datagram",
    "max_datagram_frame_size": "DATAGRAM frames",
    "max_ack_delay": "longest ACK delay",
}
_LISTED = 8


def table(log: Log, summary: Summary) -> Table:
    """*summary* of *log* in two columns."""
    name = " ".join(part for part in (log.implementation, log.vantage_point) if part)
    made = Table(
        title=escape(f"{log.path.name}: {name}, connection {log.group}"),
        box=SIMPLE_HEAD,
        show_header=False,
        title_justify="left",
    )
    made.add_column(style="bold", no_wrap=True)
    made.add_column()
    for label, text in _rows(log, summary):
        made.add_row(label, escape(text))
    return made


def _rows(log: Log, summary: Summary) -> Iterator[tuple[str, str]]:
    if summary.addresses is not None:
        yield "addresses", f"{summary.addresses[0]} to {summary.addresses[1]}"
    yield "duration", f"{_ms(summary.duration)}, {len(log.events)} events"
    agreed = [
        f"QUIC version {_VERSIONS.get(summary.version, summary.version)}"
        if summary.version
        else "",
        f"ALPN {summary.alpn}" if summary.alpn else "",
        summary.cipher or "",
    ]
    if any(agreed):
        yield "agreed", ", ".join(part for part in agreed if part)
    yield "handshake", _handshake(summary)
    for who in ("local", "remote"):
        limits = summary.parameters.get(who, {})
        if texts := [_limit(name, limits[name]) for name in _LIMITS if name in limits]:
            yield f"{who} limits", ", ".join(texts)
    yield "sent", _packets(summary.sent, summary.duration)
    yield "received", _packets(summary.received, summary.duration)
    yield "lost", _losses(summary)
    if summary.dropped:
        yield "not read", _counts(summary.dropped)
    yield from _recovery(summary)
    if summary.mtu:
        yield "MTU", _moments([(time, f"{mtu} B") for time, mtu in summary.mtu])
    if summary.key_updates:
        yield (
            "key updates",
            _moments([(time, f"by the {who} side") for time, who in summary.key_updates]),
        )
    if summary.migrations:
        yield (
            "paths",
            _moments([(time, what.replace("_", " ")) for time, what in summary.migrations]),
        )
    yield "end", _end(log, summary)


def _handshake(summary: Summary) -> str:
    parts = [
        f"{state.removeprefix('handshake_')} after {_ms(summary.states[state])}"
        for state in ("handshake_started", "handshake_complete", "handshake_confirmed")
        if state in summary.states
    ]
    early = sum(packet.type == "0RTT" for packet in [*summary.sent, *summary.received])
    if early:
        parts.append(f"{early} packets of 0-RTT")
    for packets, what in ((summary.received, "Retry"), (summary.received, "Version Negotiation")):
        if any(packet.type == what.lower().replace(" ", "_") for packet in packets):
            parts.append(f"after a {what}")
    return ", ".join(parts) or "none"


def _packets(packets: list[Packet], duration: float) -> str:
    if not packets:
        return "nothing"
    total = sum(packet.size for packet in packets)
    text = f"{len(packets)} packets, {size(total)}"
    if duration > 0:
        text += f" ({rate(1000 * total / duration)})"
    kinds = Counter(packet.type for packet in packets)
    text += f": {_counts(kinds)}"
    frames = [frame for packet in packets for frame in packet.frames]
    streams = {frame.get("stream_id") for frame in frames if frame.get("frame_type") == "stream"}
    if streams:
        data = sum(packet.stream_bytes for packet in packets)
        text += f"; {size(data)} on {len(streams)} stream{'s' * (len(streams) > 1)}"
    datagrams = [frame for frame in frames if frame.get("frame_type") == "datagram"]
    if datagrams:
        text += f"; {len(datagrams)} datagrams of {size(sum(map(payload, datagrams)))}"
    return text


def _losses(summary: Summary) -> str:
    if not summary.lost:
        return "nothing"
    data = sum(packet.size for _, packet in summary.lost if packet is not None)
    text = f"{len(summary.lost)} packets, {size(data)}"
    if summary.sent:
        text += f" ({100 * len(summary.lost) / len(summary.sent):.2g} % of those sent)"
    text += f": {_counts(summary.loss_triggers)}"
    if summary.spurious:
        text += f"; {summary.spurious} of them came later"
    return text


def _recovery(summary: Summary) -> Iterator[tuple[str, str]]:
    if summary.rtt:
        at = {name: percentile(summary.rtt, value) for name, value in _PERCENTILES.items()}
        yield "round trip", ", ".join(f"{name} {_ms(value)}" for name, value in at.items())
    if window := summary.congestion_window:
        yield (
            "window",
            f"first {size(window[0])}, least {size(min(window))}, most {size(max(window))}, "
            f"last {size(window[-1])}",
        )
    if summary.congestion_states:
        counts = Counter(state for _, state in summary.congestion_states)
        yield (
            "congestion",
            ", ".join(
                f"{state.replace('_', ' ')} ({count})" if count > 1 else state.replace("_", " ")
                for state, count in counts.items()
            ),
        )


_PERCENTILES = {"least": 0.0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "most": 1.0}


def _end(log: Log, summary: Summary) -> str:
    if summary.closed is not None:
        time, why = summary.closed
        return f"{why}, after {_ms(time)}"
    return "the file is cut off" if log.truncated else "still open when the file ended"


def _limit(name: str, value: object) -> str:
    if not isinstance(value, int):
        return f"{_LIMITS[name]} {value}"
    if "streams" in name:
        return f"{value} {_LIMITS[name]}"
    return f"{_LIMITS[name]} {_ms(value) if 'timeout' in name or 'delay' in name else size(value)}"


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.most_common())


def _moments(moments: list[tuple[float, str]]) -> str:
    """The first few of what happened, with the time."""
    text = ", ".join(f"{what} at {_ms(time)}" for time, what in moments[:_LISTED])
    return text if len(moments) <= _LISTED else f"{text} and {len(moments) - _LISTED} more"


def _ms(milliseconds: float) -> str:
    return seconds(milliseconds / 1000)
