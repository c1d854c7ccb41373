"""HTTP/3, sans-IO (RFC 9114, RFC 9204, RFC 9218, RFC 9220, RFC 9297)."""

from __future__ import annotations

from cwt.h3.connection import Connection, Extension
from cwt.h3.events import (
    DatagramReceived,
    DataReceived,
    Event,
    FieldLines,
    GoawayReceived,
    InformationalReceived,
    RequestReceived,
    RequestReset,
    ResponseReceived,
    SettingsReceived,
    StreamWritable,
    TrailersReceived,
)
from cwt.h3.quic import Quic

__all__ = [
    "Connection",
    "DataReceived",
    "DatagramReceived",
    "Event",
    "Extension",
    "FieldLines",
    "GoawayReceived",
    "InformationalReceived",
    "Quic",
    "RequestReceived",
    "RequestReset",
    "ResponseReceived",
    "SettingsReceived",
    "StreamWritable",
    "TrailersReceived",
]
