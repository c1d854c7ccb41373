"""HTTP/3 frames and stream types (RFC 9114 Sections 6.2 and 7)."""

from __future__ import annotations

from enum import IntEnum

from cwt._core.wire import varint

__all__ = [
    "FORBIDDEN_FRAMES",
    "NO_FRAME",
    "FrameReader",
    "FrameType",
    "StreamType",
    "encode_frame",
    "frame_header",
]


class FrameType(IntEnum):
    """Frame types (RFC 9114 Section 11.2.1, RFC 9218 Section 7.2)."""

    DATA = 0x00
    HEADERS = 0x01
    CANCEL_PUSH = 0x03
    SETTINGS = 0x04
    PUSH_PROMISE = 0x05
    GOAWAY = 0x07
    MAX_PUSH_ID = 0x0D
    PRIORITY_UPDATE_REQUEST = 0xF0700
    PRIORITY_UPDATE_PUSH = 0xF0701


class StreamType(IntEnum):
    """Unidirectional stream types (RFC 9114 Section 11.2.4, RFC 9204 Section 4.2)."""

    CONTROL = 0x00
    PUSH = 0x01
    QPACK_ENCODER = 0x02
    QPACK_DECODER = 0x03


FORBIDDEN_FRAMES = frozenset((0x02, 0x06, 0x08, 0x09))
"""Frame types of HTTP/2 which have no place here (RFC 9114 Section 7.2.8)."""


NO_FRAME = -1


def frame_header(frame_type: int, length: int) -> bytes:
    """Type and length of a frame whose payload is sent apart (RFC 9114 Section 7.1)."""
    return varint.encode(frame_type) + varint.encode(length)


def encode_frame(frame_type: int, payload: bytes) -> bytes:
    """A whole frame (RFC 9114 Section 7.1)."""
    return frame_header(frame_type, len(payload)) + payload


class FrameReader:
    """Cuts a byte stream into frames; also into capsules, which have the same layout (RFC 9297).

    The owner feeds bytes, reads the header, and only then says what becomes of the payload: ``take``
    it whole, take it in pieces, or ``skip`` it.  Nothing is ever allocated by a declared length.
    """

    __slots__ = ("buffer", "remaining", "type")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.type = NO_FRAME
        """Type of the frame whose payload comes next; NO_FRAME before a header."""
        self.remaining = 0
        """Bytes of its payload not yet taken or skipped."""

    def read_header(self) -> bool:
        """Read type and length; False when more bytes are needed (at most 16 are ever needed)."""
        buffer = self.buffer
        first = varint.decode(buffer)
        if first is None:
            return False
        second = varint.decode(buffer, first[1])
        if second is None:
            return False
        self.type = first[0]
        self.remaining = second[0]
        del buffer[: second[1]]
        return True

    def take(self, size: int) -> bytes:
        """Up to *size* buffered bytes of the payload."""
        size = min(size, self.remaining, len(self.buffer))
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self.advance(size)
        return data

    def take_all(self) -> bytes | None:
        """The whole payload, once it is buffered."""
        if len(self.buffer) < self.remaining:
            return None
        data = bytes(self.buffer[: self.remaining])
        del self.buffer[: self.remaining]
        self.advance(self.remaining)
        return data

    def skip(self) -> bool:
        """Drop what is buffered of the payload; True when the frame is over."""
        size = min(self.remaining, len(self.buffer))
        del self.buffer[:size]
        self.advance(size)
        return self.type == NO_FRAME

    def advance(self, size: int) -> None:
        """*size* bytes of the payload have been dealt with, in or outside of the buffer."""
        self.remaining -= size
        if not self.remaining:
            self.type = NO_FRAME

    @property
    def is_idle(self) -> bool:
        """Whether the stream may end here: between two frames."""
        return self.type == NO_FRAME and not self.buffer
