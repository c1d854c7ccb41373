"""Streams of sessions, and those that come before their session (draft-ietf-webtrans-http3
Sections 4.2, 4.3 and 4.5)."""

from __future__ import annotations

from collections import OrderedDict, deque

from cwt._core.wire import varint

__all__ = ["BIDI_SIGNAL", "UNI_TYPE", "EarlyArrivals", "Stream", "preamble"]

UNI_TYPE = 0x54
"""Stream type of a unidirectional stream (Section 4.2)."""
BIDI_SIGNAL = 0x41
"""Signal value of a bidirectional stream (Section 4.3)."""

_MAX_EARLY_BYTES = 64 * 1024


def preamble(session_id: int, bidirectional: bool) -> bytes:
    """The first bytes of a stream: what it is, and whose."""
    kind = BIDI_SIGNAL if bidirectional else UNI_TYPE
    return varint.encode(kind) + varint.encode(session_id)


class Stream:
    """What is not done yet on one stream of a session."""

    __slots__ = ("announced", "fin_pending", "reading", "sending", "session_id", "stream_id")

    def __init__(self, stream_id: int, session_id: int, *, reading: bool, sending: bool) -> None:
        self.stream_id = stream_id
        self.session_id = session_id
        self.reading = reading
        self.sending = sending
        self.announced = True
        """The application knows of it."""
        self.fin_pending = False
        """The end came with the preamble; the application still has to be told."""


class EarlyArrivals:
    """Streams and datagrams whose session is not known yet: packets come in any order.

    Beyond the limits the oldest go, so that those of a session which never comes do not block others.
    """

    def __init__(self, max_streams: int, max_datagrams: int) -> None:
        self._max_streams = max_streams
        self._max_datagrams = max_datagrams
        self._streams: OrderedDict[int, Stream] = OrderedDict()
        self._datagrams: deque[tuple[int, bytes]] = deque()
        self._bytes = 0

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._streams

    def add_stream(self, stream: Stream) -> Stream | None:
        """Hold *stream*; returns the one that has to go for it."""
        self._streams[stream.stream_id] = stream
        if len(self._streams) > self._max_streams:
            return self._streams.popitem(last=False)[1]
        return None

    def add_datagram(self, session_id: int, data: bytes) -> None:
        """Hold *data*, or drop it."""
        self._datagrams.append((session_id, data))
        self._bytes += len(data)
        while len(self._datagrams) > self._max_datagrams or self._bytes > _MAX_EARLY_BYTES:
            self._bytes -= len(self._datagrams.popleft()[1])

    def take_streams(self, session_id: int) -> list[Stream]:
        """The streams of a session, in order of arrival; they are not held any more."""
        taken = [s for s in self._streams.values() if s.session_id == session_id]
        for stream in taken:
            del self._streams[stream.stream_id]
        return taken

    def take_datagrams(self, session_id: int) -> list[bytes]:
        """The datagrams of a session, in order of arrival; they are not held any more."""
        taken = [data for owner, data in self._datagrams if owner == session_id]
        if taken:
            self._datagrams = deque(d for d in self._datagrams if d[0] != session_id)
            self._bytes -= sum(map(len, taken))
        return taken
