"""Streams and datagrams that come before their session (draft-ietf-webtrans-http3 Section 4.5)."""

from __future__ import annotations

from collections import deque

from cwt.webtransport.streams import Stream

__all__ = ["MAX_EARLY_BYTES", "EarlyArrivals"]

MAX_EARLY_BYTES = 64 * 1024
"""Bytes of the datagrams that are held for sessions that are not open."""


class EarlyArrivals:
    """Streams and datagrams whose session is not known yet: packets come in any order.

    Beyond the limits the oldest go, so that those of a session which never comes do not block others.
    """

    __slots__ = ("_bytes", "_datagrams", "_max_datagrams", "_max_streams", "_streams")

    def __init__(self, max_streams: int, max_datagrams: int) -> None:
        self._max_streams = max_streams
        self._max_datagrams = max_datagrams
        self._streams: dict[int, Stream] = {}
        self._datagrams: deque[tuple[int, bytes]] | None = None
        self._bytes = 0

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._streams

    def add_stream(self, stream: Stream) -> Stream | None:
        """Hold *stream*; returns the one that has to go for it."""
        self._streams[stream.stream_id] = stream
        if len(self._streams) > self._max_streams:
            return self._streams.pop(next(iter(self._streams)))
        return None

    def add_datagram(self, session_id: int, data: bytes) -> None:
        """Hold *data*, or drop it."""
        if self._datagrams is None:
            self._datagrams = deque()
        self._datagrams.append((session_id, data))
        self._bytes += len(data)
        while len(self._datagrams) > self._max_datagrams or self._bytes > MAX_EARLY_BYTES:
            self._bytes -= len(self._datagrams.popleft()[1])

    def take_streams(self, session_id: int) -> list[Stream]:
        """The streams of a session, in order of arrival; they are not held any more."""
        taken = [s for s in self._streams.values() if s.session_id == session_id]
        for stream in taken:
            del self._streams[stream.stream_id]
        return taken

    def take_datagrams(self, session_id: int) -> list[bytes]:
        """The datagrams of a session, in order of arrival; they are not held any more."""
        if self._datagrams is None:
            return []
        taken = [data for owner, data in self._datagrams if owner == session_id]
        if len(taken) == len(self._datagrams):
            self._datagrams = None
            self._bytes = 0
        elif taken:
            self._datagrams = deque(d for d in self._datagrams if d[0] != session_id)
            self._bytes -= sum(map(len, taken))
        return taken
