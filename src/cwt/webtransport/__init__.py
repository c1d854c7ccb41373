"""WebTransport over HTTP/3, sans-IO (draft-ietf-webtrans-http3)."""

from __future__ import annotations

from cwt.webtransport.connection import Connection
from cwt.webtransport.events import (
    DatagramReceived,
    Event,
    Ready,
    SessionAccepted,
    SessionClosed,
    SessionDraining,
    SessionRejected,
    SessionRequested,
    StreamOpened,
    StreamReadable,
    StreamWritable,
)

__all__ = [
    "Connection",
    "DatagramReceived",
    "Event",
    "Ready",
    "SessionAccepted",
    "SessionClosed",
    "SessionDraining",
    "SessionRejected",
    "SessionRequested",
    "StreamOpened",
    "StreamReadable",
    "StreamWritable",
]
