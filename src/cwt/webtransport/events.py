"""What WebTransport tells the layer above (draft-ietf-webtrans-http3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from cwt._core.stream.datagram import DatagramFlow
from cwt.h3 import events as h3

__all__ = [
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

Headers: TypeAlias = list[tuple[str, str]]
"""Field lines as text (Latin-1), without pseudo-header fields."""


@dataclass(slots=True)
class Ready:
    """The peer's SETTINGS arrived.  ``dialect`` names the draft in use; None: no WebTransport."""

    dialect: str | None = None


@dataclass(slots=True)
class SessionRequested:
    """Server: a client asks for a session; answer with ``accept`` or ``reject`` (Section 3.2).

    ``origin`` is that of the page in a browser, and must be checked; None when there is none.
    ``protocols`` are those offered, in order of preference.
    """

    session_id: int
    authority: str
    path: str
    origin: str | None
    headers: Headers
    protocols: list[str]


@dataclass(slots=True)
class SessionAccepted:
    """Client: the session is established.  ``protocol`` is the one chosen, or None; ``datagrams`` is as of
    ``Connection.datagrams``."""

    session_id: int
    status: int
    datagrams: DatagramFlow
    protocol: str | None = None
    headers: Headers = field(default_factory=list)


@dataclass(slots=True)
class SessionRejected:
    """Client: the server refused.  ``status`` 0: it reset the request instead of answering."""

    session_id: int
    status: int
    headers: Headers = field(default_factory=list)


@dataclass(slots=True)
class StreamOpened:
    """The peer opened a stream of the session."""

    session_id: int
    stream_id: int
    bidirectional: bool


@dataclass(slots=True)
class StreamReadable:
    """The stream has data, its end or a reset to read; read until None."""

    stream_id: int


@dataclass(slots=True)
class StreamWritable:
    """The stream takes data again, was stopped by the peer, or everything was acknowledged."""

    stream_id: int


@dataclass(slots=True)
class DatagramsReadable:
    """There are datagrams of the session to take: ``datagrams.recv()``, ``datagrams.recv_many()``."""

    session_id: int
    datagrams: DatagramFlow


@dataclass(slots=True)
class SessionDraining:
    """The peer asks to end the session soon (Section 4.7): DRAIN capsule, or GOAWAY."""

    session_id: int


@dataclass(slots=True)
class SessionClosed:
    """The session is over (Section 6); its streams have been reset.

    ``code`` and ``reason`` are those of the close, 0 and "" when there were none.  ``remote``: the
    peer ended it.
    """

    session_id: int
    code: int = 0
    reason: str = ""
    remote: bool = True


Event: TypeAlias = (
    Ready
    | SessionRequested
    | SessionAccepted
    | SessionRejected
    | StreamOpened
    | StreamReadable
    | StreamWritable
    | DatagramsReadable
    | SessionDraining
    | SessionClosed
    | h3.RequestReceived
    | h3.InformationalReceived
    | h3.ResponseReceived
    | h3.DataReceived
    | h3.TrailersReceived
    | h3.RequestReset
    | h3.StreamWritable
    | h3.DatagramReceived
    | h3.GoawayReceived
)
"""Besides our own, HTTP/3's events of requests that are not sessions are passed through."""
