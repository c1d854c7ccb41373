"""One request stream: its message reader and what was sent on it (RFC 9114 Section 4.1)."""

from __future__ import annotations

from enum import Enum

from cwt.errors import StreamStopped
from cwt.h3.message import MessageReader

__all__ = ["Request", "Sent"]


class Sent(Enum):
    """How far our message has come."""

    NOTHING = 0
    HEADERS = 1
    TRAILERS = 2
    """The last field section: only the end may follow, and it has been given."""


class Request:
    """State of one request stream."""

    __slots__ = (
        "discarding",
        "has_priority",
        "reader",
        "sent",
        "sent_all",
        "stopped",
        "stream_id",
    )

    def __init__(self, stream_id: int, reader: MessageReader) -> None:
        self.stream_id = stream_id
        self.reader: MessageReader | None = reader
        """None once nothing more will be read."""
        self.discarding = False
        """What still arrives is thrown away."""
        self.has_priority = False
        """The client gave a PRIORITY_UPDATE, which overrides the Priority field."""
        self.sent = Sent.NOTHING
        self.sent_all = False
        """We gave the end, reset the stream, or the peer stopped it."""
        self.stopped: StreamStopped | None = None
        """The peer stopped it, with this code."""

    @property
    def is_over(self) -> bool:
        """Whether both sides are done with it."""
        return self.sent_all and self.reader is None and not self.discarding
