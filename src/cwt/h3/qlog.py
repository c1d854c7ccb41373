"""What HTTP/3 tells the qlog of its connection (draft-ietf-quic-qlog-h3-events)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from cwt.h3.events import FieldLines
from cwt.h3.frames import StreamType
from cwt.h3.settings import Setting

__all__ = ["Http3Log", "Trace", "log_of"]

_SETTINGS = {
    Setting.MAX_FIELD_SECTION_SIZE: "max_field_section_size",
    Setting.QPACK_MAX_TABLE_CAPACITY: "max_table_capacity",
    Setting.QPACK_BLOCKED_STREAMS: "blocked_streams_count",
    Setting.ENABLE_CONNECT_PROTOCOL: "extended_connect",
    Setting.H3_DATAGRAM: "h3_datagram",
}
_STREAMS = {
    StreamType.CONTROL: "control",
    StreamType.PUSH: "push",
    StreamType.QPACK_ENCODER: "qpack_encode",
    StreamType.QPACK_DECODER: "qpack_decode",
}
# Fields whose values say nothing about people; a path does not without its query.
_TOLD = frozenset((b":method", b":scheme", b":status", b":protocol", b":path"))
_MAX_FIELDS = 128
_MAX_VALUE = 256


class Trace(Protocol):
    """The qlog of a connection."""

    def event(self, name: str, data: Mapping[str, Any], level: str = "base") -> None: ...


class Http3Log:
    """Writes the events of one HTTP/3 connection.

    Of header fields the names are told, and the values of pseudo-header fields that hold no secrets.
    Frames of content are not: the STREAM frames around them are.
    """

    __slots__ = ("_trace",)

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def settings(self, initiator: str, values: Iterable[tuple[int, int]]) -> None:
        """SETTINGS of ours ("local") or the peer's ("remote")."""
        data: dict[str, Any] = {"initiator": initiator}
        for identifier, value in values:
            name = _SETTINGS.get(identifier)  # type: ignore[call-overload]
            if name is not None:
                data[name] = value
        self._trace.event("http3:parameters_set", data)

    def stream(self, initiator: str, stream_id: int, stream_type: int) -> None:
        """What a unidirectional stream is for."""
        data: dict[str, Any] = {"initiator": initiator, "stream_id": stream_id}
        name = _STREAMS.get(stream_type)  # type: ignore[call-overload]
        if name is not None:
            data["stream_type"] = name
        elif stream_type % 0x1F == 0x21 % 0x1F and stream_type >= 0x21:
            data["stream_type"] = "reserved"
        else:
            data["stream_type"] = "unknown"
            data["stream_type_bytes"] = stream_type
        self._trace.event("http3:stream_type_set", data)

    def headers(self, sent: bool, stream_id: int, lines: FieldLines) -> None:
        """A HEADERS frame."""
        fields = []
        for name, value in lines[:_MAX_FIELDS]:
            field = {"name": name[:_MAX_VALUE].decode("latin-1")}
            if name in _TOLD:
                field["value"] = value.partition(b"?")[0][:_MAX_VALUE].decode("latin-1")
            fields.append(field)
        self._frame(sent, stream_id, {"frame_type": "headers", "headers": fields})

    def goaway(self, sent: bool, stream_id: int, identifier: int) -> None:
        """A GOAWAY frame on the control stream *stream_id*."""
        self._frame(sent, stream_id, {"frame_type": "goaway", "id": identifier})

    def _frame(self, sent: bool, stream_id: int, frame: dict[str, Any]) -> None:
        name = "http3:frame_created" if sent else "http3:frame_parsed"
        self._trace.event(name, {"stream_id": stream_id, "frame": frame}, "core")


def log_of(quic: object) -> Http3Log | None:
    """The log for HTTP/3 on the connection *quic*; None when it has no qlog."""
    trace = getattr(quic, "qlog", None)
    return None if trace is None else Http3Log(trace)
