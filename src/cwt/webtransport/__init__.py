"""WebTransport over HTTP/3, sans-IO (draft-ietf-webtrans-http3).

All sessions of one QUIC connection, in either role, driven by ``poll``::

    connection = webtransport.Connection(h3.Connection(quic_connection, config))
    for event in connection.poll():                    # whenever QUIC has news
        match event:
            case webtransport.SessionRequested(session_id, origin=origin):
                connection.accept(session_id)          # or reject(session_id, 403)
            case webtransport.StreamReadable(stream_id):
                while (item := connection.stream_recv(stream_id)) is not None:
                    data, fin = item
            case webtransport.DatagramsReadable(session_id, datagrams):
                quic_connection.dgram_send_many(datagrams.recv_many(), datagrams)
"""

from __future__ import annotations

from cwt.webtransport.connection import Connection
from cwt.webtransport.events import (
    DatagramsReadable,
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
    "DatagramsReadable",
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
