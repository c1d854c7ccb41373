"""HTTP/3, sans-IO (RFC 9114, RFC 9204, RFC 9218, RFC 9220, RFC 9297).

It stands on the verbs of a QUIC connection (:class:`Quic`) and is driven by ``poll``::

    connection = h3.Connection(quic_connection, config)
    for event in connection.poll():                    # whenever QUIC has news
        match event:
            case h3.RequestReceived(stream_id, headers):
                connection.send_headers(stream_id, [(":status", "200")])
                connection.send_data(stream_id, b"hello", fin=True)
            case h3.DataReceived(stream_id):
                while (item := connection.read_data(stream_id)) is not None:
                    content, ended = item              # what is not read stays in QUIC
"""

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
