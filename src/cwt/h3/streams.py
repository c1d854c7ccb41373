"""Bytes on their way into QUIC, and the first bytes of a stream (RFC 9114 Section 6)."""

from __future__ import annotations

from cwt._core.wire import varint
from cwt._types import Buffer
from cwt.errors import BufferFull
from cwt.h3.quic import Quic

__all__ = ["Outbox", "VarintReader"]

MAX_PENDING = 256 * 1024
"""Most bytes one stream may have waiting here.  Content never waits here, only what HTTP/3 adds."""


class Outbox:
    """What QUIC did not take at once: control frames, instructions, field sections, preambles.

    Flow control may refuse any write; these cannot be handed back to the application, so they wait
    here, in order and in bounds, until the stream is writable again.
    """

    __slots__ = ("_pending", "_quic")

    def __init__(self, quic: Quic) -> None:
        self._quic = quic
        self._pending: dict[int, tuple[bytearray, bool]] = {}

    def send(self, stream_id: int, data: Buffer, fin: bool = False) -> bool:
        """Write all of *data*, now or later; True: QUIC took it all.

        Raises StreamStopped as ``stream_send`` does, BufferFull when too much waits already.
        """
        waiting = self._pending.get(stream_id)
        if waiting is not None:
            if len(waiting[0]) + len(data) > MAX_PENDING:
                raise BufferFull(f"stream {stream_id} is blocked by its peer; wait until writable")
            waiting[0].extend(data)
            self._pending[stream_id] = (waiting[0], waiting[1] or fin)
            return False
        taken = self._quic.stream_send(stream_id, data, fin)
        if taken == len(data):
            return True
        self._pending[stream_id] = (bytearray(memoryview(data)[taken:]), fin)
        return False

    def flush(self, stream_id: int) -> bool:
        """Write what waits; True when nothing is left.  Raises StreamStopped."""
        waiting = self._pending.get(stream_id)
        if waiting is None:
            return True
        data, fin = waiting
        try:
            taken = self._quic.stream_send(stream_id, bytes(data), fin)
        except Exception:
            del self._pending[stream_id]
            raise
        if taken < len(data):
            del data[:taken]
            return False
        del self._pending[stream_id]
        return True

    def is_pending(self, stream_id: int) -> bool:
        """Whether something waits for *stream_id*."""
        return stream_id in self._pending

    def discard(self, stream_id: int) -> None:
        """Forget what waits: the stream is reset."""
        self._pending.pop(stream_id, None)


class VarintReader:
    """Reads varints off the front of a stream and not one byte more.

    What follows a WebTransport preamble belongs to the application and stays in QUIC.
    """

    __slots__ = ("_bytes", "fin")

    def __init__(self) -> None:
        self._bytes = b""
        self.fin = False
        """The stream has ended."""

    @property
    def started(self) -> bool:
        """Whether a part of a varint has been read."""
        return bool(self._bytes)

    def read(self, quic: Quic, stream_id: int) -> int | None:
        """The next varint; None when it is not there yet, or never will be (``fin``)."""
        while not self.fin:
            have = self._bytes
            missing = (1 << (have[0] >> 6)) - len(have) if have else 1
            got = quic.stream_recv(stream_id, missing)
            if got is None:
                return None
            self._bytes += got[0]
            self.fin = got[1]
            decoded = varint.decode(self._bytes)
            if decoded is not None:
                self._bytes = b""
                return decoded[0]
            if not got[0]:
                return None
        return None
