"""What HTTP/3 tells the layer above (RFC 9114)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

__all__ = [
    "DataReceived",
    "DatagramReceived",
    "Event",
    "FieldLines",
    "GoawayReceived",
    "InformationalReceived",
    "RequestReceived",
    "RequestReset",
    "ResponseReceived",
    "SettingsReceived",
    "StreamWritable",
    "TrailersReceived",
]

FieldLines: TypeAlias = list[tuple[bytes, bytes]]
"""Field lines in order: (name, value), names in lower case, pseudo-header fields first."""


@dataclass(slots=True)
class SettingsReceived:
    """The peer's SETTINGS (RFC 9114 Section 7.2.4): identifier -> value, unknown ones too."""

    settings: Mapping[int, int]


@dataclass(slots=True)
class RequestReceived:
    """Server: a request arrived (RFC 9114 Section 4.1).  ``ended``: it has no content."""

    stream_id: int
    headers: FieldLines
    ended: bool = False


@dataclass(slots=True)
class InformationalReceived:
    """Client: a 1xx response, the final one follows."""

    stream_id: int
    status: int
    headers: FieldLines


@dataclass(slots=True)
class ResponseReceived:
    """Client: the final response.  ``ended``: it has no content."""

    stream_id: int
    status: int
    headers: FieldLines
    ended: bool = False


@dataclass(slots=True)
class DataReceived:
    """``read_data`` has something new: content, or the end of it.  It may also turn out empty."""

    stream_id: int


@dataclass(slots=True)
class TrailersReceived:
    """Trailer fields, after all content was read (RFC 9114 Section 4.1)."""

    stream_id: int
    headers: FieldLines


@dataclass(slots=True)
class RequestReset:
    """The request failed: nothing more will be read from it.

    ``remote``: the peer reset it with ``code``; else it was malformed and was reset with ``code``.
    """

    stream_id: int
    code: int | None
    remote: bool
    reason: str = ""


@dataclass(slots=True)
class StreamWritable:
    """``send_data`` can take more, or will raise StreamStopped."""

    stream_id: int


@dataclass(slots=True)
class DatagramReceived:
    """An HTTP Datagram (RFC 9297 Section 2.1) of the request on ``stream_id``."""

    stream_id: int
    data: bytes


@dataclass(slots=True)
class GoawayReceived:
    """The peer takes no new requests from ``stream_id`` on (RFC 9114 Section 5.2).

    ``rejected``: requests of ours that it has not processed; they can be sent again elsewhere.
    """

    stream_id: int
    rejected: list[int] = field(default_factory=list)


Event: TypeAlias = (
    SettingsReceived
    | RequestReceived
    | InformationalReceived
    | ResponseReceived
    | DataReceived
    | TrailersReceived
    | RequestReset
    | StreamWritable
    | DatagramReceived
    | GoawayReceived
)
