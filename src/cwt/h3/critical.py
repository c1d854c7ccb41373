"""The streams that live as long as the connection: control and QPACK (RFC 9114 Section 6.2.1,
RFC 9204 Section 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cwt._core.wire import varint
from cwt.errors import BufferFull, H3ErrorCode, StreamReset, StreamStopped
from cwt.h3.fault import ConnectionFault
from cwt.h3.frames import StreamType
from cwt.h3.quic import Quic
from cwt.h3.streams import Outbox

__all__ = ["CRITICAL", "CriticalStreams"]

CRITICAL = (StreamType.CONTROL, StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER)
_CHUNK = 4096


class CriticalStreams:
    """Ours and the peer's: each kind once, none ever closed.

    *feed* takes what arrives on which of the peer's; it may raise ConnectionFault.
    """

    __slots__ = ("_fail", "_feed", "_ours", "_outbox", "_quic", "_theirs")

    def __init__(
        self,
        quic: Quic,
        outbox: Outbox,
        feed: Callable[[StreamType, bytes], None],
        fail: Callable[[ConnectionFault], None],
    ) -> None:
        self._quic = quic
        self._outbox = outbox
        self._feed = feed
        self._fail = fail
        self._ours: list[int] = []
        """Their IDs, in the order of CRITICAL."""
        self._theirs: list[int | None] = [None] * len(CRITICAL)

    # -- ours ---------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether all of ours are open."""
        return len(self._ours) == len(CRITICAL)

    def has(self, stream_type: StreamType) -> bool:
        """Whether ours of that type is open."""
        return CRITICAL.index(stream_type) < len(self._ours)

    def is_ours(self, stream_id: int) -> bool:
        """Whether *stream_id* is one of ours."""
        return stream_id in self._ours

    def id_of(self, stream_type: StreamType) -> int:
        """The ID of ours of that type, which is open."""
        return self._ours[CRITICAL.index(stream_type)]

    def their_id(self, stream_type: StreamType) -> int | None:
        """The ID of the peer's, once it is known."""
        return self._theirs[CRITICAL.index(stream_type)]

    def open(self, first: Mapping[StreamType, bytes]) -> list[StreamType]:
        """Open what is not open yet and send its type and *first* bytes; returns what was opened."""
        opened: list[StreamType] = []
        for stream_type in CRITICAL[len(self._ours) :]:
            stream_id = self._quic.open_stream(False)
            if stream_id is None:  # the peer gives less credit than it should: try again later
                break
            self._ours.append(stream_id)
            self._quic.stream_priority(stream_id, 0, False)
            self.send(stream_type, varint.encode(stream_type) + first.get(stream_type, b""))
            opened.append(stream_type)
        return opened

    def send(self, stream_type: StreamType, data: bytes) -> None:
        """Write on ours; a stream that is not open yet takes nothing."""
        if not data or not self.has(stream_type):
            return
        try:
            self._outbox.send(self._ours[CRITICAL.index(stream_type)], data)
        except StreamStopped:
            self._on_stopped()
        except BufferFull:
            self._fail(
                ConnectionFault(
                    H3ErrorCode.EXCESSIVE_LOAD, f"the peer does not read {stream_type.name}"
                )
            )

    def on_writable(self, stream_id: int) -> None:
        """QUIC takes bytes of one of ours again, or the peer has stopped it."""
        try:
            if self._outbox.flush(stream_id):
                self._quic.stream_send(stream_id, b"")  # says whether it was stopped
        except StreamStopped:
            self._on_stopped()

    def _on_stopped(self) -> None:
        self._fail(
            ConnectionFault(H3ErrorCode.CLOSED_CRITICAL_STREAM, "a critical stream was stopped")
        )

    # -- the peer's ---------------------------------------------------------------------------

    def is_theirs(self, stream_id: int) -> bool:
        """Whether *stream_id* is one of the peer's."""
        return stream_id in self._theirs

    def accept(self, stream_id: int, stream_type: StreamType, fin: bool) -> None:
        """The peer opened one.  Raises ConnectionFault."""
        kind = CRITICAL.index(stream_type)
        if self._theirs[kind] is not None:
            raise ConnectionFault(
                H3ErrorCode.STREAM_CREATION_ERROR, f"a second {stream_type.name} stream"
            )
        if fin:
            raise _closed(stream_type)
        self._theirs[kind] = stream_id
        self.receive(stream_id)

    def receive(self, stream_id: int) -> None:
        """Take in what has arrived on one of the peer's.  Raises ConnectionFault."""
        stream_type = CRITICAL[self._theirs.index(stream_id)]
        while True:
            try:
                got = self._quic.stream_recv(stream_id, _CHUNK)
            except StreamReset:
                raise _closed(stream_type) from None
            if got is None:
                return
            data, fin = got
            self._feed(stream_type, data)
            if fin:
                raise _closed(stream_type)
            if not data or self._quic.is_closed:
                return


def _closed(stream_type: StreamType) -> ConnectionFault:
    return ConnectionFault(H3ErrorCode.CLOSED_CRITICAL_STREAM, f"{stream_type.name} was closed")
