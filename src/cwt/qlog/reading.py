"""Reading qlog files: JSON text sequences and contained files, of today's drafts and older ones."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Event", "Log", "QlogError", "read"]

# Older event names (qlog 0.3, 0.4 and drafts to -08), as newer drafts call them.
_RENAMED = {
    "transport:parameters_set": "quic:parameters_set",
    "transport:parameters_restored": "quic:parameters_restored",
    "transport:packet_sent": "quic:packet_sent",
    "transport:packet_received": "quic:packet_received",
    "transport:packet_dropped": "quic:packet_dropped",
    "transport:packet_buffered": "quic:packet_buffered",
    "transport:packets_acked": "quic:packets_acked",
    "transport:datagrams_sent": "quic:udp_datagrams_sent",
    "transport:datagrams_received": "quic:udp_datagrams_received",
    "transport:version_information": "quic:version_information",
    "transport:alpn_information": "quic:alpn_information",
    "transport:connection_started": "quic:connection_started",
    "transport:connection_closed": "quic:connection_closed",
    "recovery:parameters_set": "quic:recovery_parameters_set",
    "recovery:metrics_updated": "quic:recovery_metrics_updated",
    "recovery:packet_lost": "quic:packet_lost",
    "recovery:congestion_state_updated": "quic:congestion_state_updated",
    "recovery:loss_timer_updated": "quic:timer_updated",
    "recovery:timer_updated": "quic:timer_updated",
    "recovery:ecn_state_updated": "quic:ecn_state_updated",
    "recovery:mtu_updated": "quic:mtu_updated",
    "recovery:spurious_loss": "cwt:spurious_loss",
    "quic:spurious_loss": "cwt:spurious_loss",
    "http:frame_created": "http3:frame_created",
    "http:frame_parsed": "http3:frame_parsed",
    "h3:frame_created": "http3:frame_created",
    "h3:frame_parsed": "http3:frame_parsed",
}
# Of older drafts, whose categories became the one namespace.
_CATEGORIES = ("connectivity", "security", "transport", "recovery")
_SEPARATOR = "\x1e"
_WHITESPACE = " \t\r\n"


class QlogError(ValueError):
    """A file that is no qlog; says where and why."""


@dataclass
class Event:
    """One event; *name* is the one of today's drafts, *time* milliseconds since the first event."""

    time: float
    name: str
    data: dict[str, Any]
    raw: dict[str, Any] = field(repr=False, default_factory=dict)
    """As it was in the file."""


@dataclass
class Log:
    """The trace of one connection."""

    path: Path
    header: dict[str, Any]
    """Of the file."""
    trace: dict[str, Any]
    """The description of the trace, without its events."""
    events: list[Event]
    truncated: bool = False
    """Whether the file ended in the middle of a record, as that of a killed process does."""

    @property
    def vantage_point(self) -> str:
        """ "client", "server", or what else the file says."""
        point = self.trace.get("vantage_point")
        return str(point.get("type", "unknown")) if isinstance(point, dict) else "unknown"

    @property
    def implementation(self) -> str:
        """Who wrote it, as far as it says so."""
        point = self.trace.get("vantage_point")
        name = point.get("name") if isinstance(point, dict) else None
        return str(name or self.header.get("title") or "")

    @property
    def group(self) -> str:
        """The original Destination Connection ID, or another name of the connection."""
        common = self.trace.get("common_fields")
        if isinstance(common, dict):
            for name in ("group_id", "ODCID"):
                if common.get(name):
                    return str(common[name])
        return self.path.stem

    def named(self, *names: str) -> Iterator[Event]:
        """The events of these *names*."""
        return (event for event in self.events if event.name in names)


def read(path: str | os.PathLike[str]) -> Log:
    """The log in the file at *path*, which may be gzipped.

    Raises QlogError when it is no qlog, and OSError.  Of a contained file it is the first trace.
    """
    path = Path(path)
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise QlogError(f"{path}: cannot be decompressed: {error}") from error
    text = raw.decode("utf-8", "replace")
    # Whitespace of JSON: to str.lstrip and str.splitlines a separator is some, too.
    if text.lstrip(_WHITESPACE).startswith(_SEPARATOR):
        return _read_sequence(path, text)
    try:
        document = json.loads(text)
    except ValueError:
        return _read_lines(path, text)
    if not isinstance(document, dict):
        raise QlogError(f"{path}: a qlog file is a JSON object")
    if "traces" not in document:
        return _read_lines(path, text)
    return _read_contained(path, document)


def _read_sequence(path: Path, text: str) -> Log:
    """RFC 7464: records that begin with a separator; one that is not whole is skipped."""
    records: list[dict[str, Any]] = []
    parts = text.split(_SEPARATOR)[1:]
    truncated = False
    for index, part in enumerate(parts):
        if not part.strip(_WHITESPACE):
            continue
        try:
            record = json.loads(part)
        except ValueError as error:
            if index == len(parts) - 1:
                truncated = True
                continue
            raise QlogError(f"{path}: record {index + 1} is no JSON: {error}") from error
        records.append(_object(path, record, index))
    return _of_records(path, records, truncated)


def _read_lines(path: Path, text: str) -> Log:
    """Newline-delimited JSON, which was the form of streams before draft-02."""
    records = []
    truncated = False
    lines = [line for line in text.split("\n") if line.strip(_WHITESPACE)]
    for index, line in enumerate(lines):
        try:
            record = json.loads(line)
        except ValueError as error:
            if index and index == len(lines) - 1:
                truncated = True
                continue
            raise QlogError(f"{path}: line {index + 1} is no JSON: {error}") from error
        records.append(_object(path, record, index))
    return _of_records(path, records, truncated)


def _object(path: Path, record: object, index: int) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise QlogError(f"{path}: record {index + 1} is no JSON object")
    return record


def _of_records(path: Path, records: list[dict[str, Any]], truncated: bool) -> Log:
    if not records or not isinstance(records[0].get("trace"), dict):
        raise QlogError(f"{path}: the first record does not describe a trace")
    header, *events = records
    trace = dict(header["trace"])
    return Log(path, header, trace, list(_events(path, trace, events)), truncated)


def _read_contained(path: Path, document: dict[str, Any]) -> Log:
    traces = document["traces"]
    if not isinstance(traces, list) or not traces or not isinstance(traces[0], dict):
        raise QlogError(f"{path}: there is no trace in it")
    trace = dict(traces[0])
    events = trace.pop("events", None)
    if not isinstance(events, list):
        raise QlogError(f"{path}: {trace.get('error_description', 'the trace has no events')}")
    header = {name: value for name, value in document.items() if name != "traces"}
    return Log(path, header, trace, list(_events(path, trace, events)))


def _events(path: Path, trace: dict[str, Any], records: list[Any]) -> Iterator[Event]:
    common = trace.get("common_fields")
    common = common if isinstance(common, dict) else {}
    relative = common.get("time_format") in ("delta", "relative_to_previous_event")
    first: float | None = None
    clock = 0.0
    fields = trace.get("event_fields")
    for index, record in enumerate(records):
        if isinstance(record, list) and isinstance(fields, list):  # draft-01 and before
            record = _from_list([str(name).lower() for name in fields], record)
        if not isinstance(record, dict) or not isinstance(record.get("name"), str):
            raise QlogError(f"{path}: event {index + 1} has no name")
        time, data = record.get("time"), record.get("data", {})
        if isinstance(time, bool) or not isinstance(time, int | float):
            raise QlogError(f"{path}: event {index + 1} has no time")
        if not isinstance(data, dict):
            raise QlogError(f"{path}: the data of event {index + 1} is no object")
        clock = clock + time if relative else time
        if first is None:
            first = clock
        yield Event(clock - first, _name(record["name"]), data, record)


def _from_list(fields: list[str], values: list[Any]) -> dict[str, Any]:
    row = dict(zip(fields, values, strict=False))
    name = row.get("name") or row.get("event") or row.get("event_type")
    if "category" in row and ":" not in str(name):
        name = f"{row['category']}:{name}"
    time = row.get("time", row.get("relative_time", row.get("delta_time")))
    return {"name": str(name).lower(), "time": time, "data": row.get("data", {})}


def _name(name: str) -> str:
    if name in _RENAMED:
        return _RENAMED[name]
    category, _, event = name.partition(":")
    return f"quic:{event}" if category in _CATEGORIES else name
