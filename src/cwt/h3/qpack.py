"""Field compression with bounds (RFC 9204): ``pylsqpack`` and the checks that it leaves out."""

from __future__ import annotations

import pylsqpack

from cwt.errors import H3ErrorCode
from cwt.h3.events import FieldLines
from cwt.h3.fault import ConnectionFault, StreamFault
from cwt.h3.section import measure, section_size

__all__ = ["Decoder", "Encoder"]

_STATIC = pylsqpack.Encoder()
"""For connections without a dynamic table: only such a table has state."""


class Encoder:
    """Our field sections.  Its dynamic table is as large as the one we offer the peer."""

    __slots__ = ("_encoder", "_max_table_capacity")

    def __init__(self, max_table_capacity: int) -> None:
        self._encoder = pylsqpack.Encoder() if max_table_capacity else _STATIC
        self._max_table_capacity = max_table_capacity

    def apply_settings(self, table_capacity: int, blocked_streams: int) -> bytes:
        """Use the table the peer allows; returns what to send on the encoder stream."""
        capacity = min(table_capacity, self._max_table_capacity)
        if not capacity:
            return b""
        return self._encoder.apply_settings(capacity, min(blocked_streams, 16))

    def encode(self, stream_id: int, lines: FieldLines) -> tuple[bytes, bytes]:
        """``(for the encoder stream, the field section)``."""
        return self._encoder.encode(stream_id, lines)

    def feed_decoder_stream(self, data: bytes) -> None:
        """Bytes of the peer's decoder stream; ConnectionFault when they are wrong."""
        if self._encoder is _STATIC:
            self._encoder = pylsqpack.Encoder()  # an instruction may come in parts
        try:
            self._encoder.feed_decoder(data)
        except pylsqpack.DecoderStreamError:
            raise ConnectionFault(
                H3ErrorCode.QPACK_DECODER_STREAM_ERROR,
                "bad instruction on the QPACK decoder stream",
            ) from None


class Decoder:
    """The peer's field sections.

    ``pylsqpack`` decodes without an output limit: 16 KiB that name one dynamic entry over and over
    become hundreds of MiB in one call.  So a section is measured before it is decoded, and again after.
    Without a dynamic table a decoder, of several kB, lives for one section.
    """

    __slots__ = (
        "_blocked",
        "_blocked_streams",
        "_capacity",
        "_decoder",
        "_max_expansion",
        "_max_lines",
        "max_size",
    )

    def __init__(
        self, *, max_table_capacity: int, blocked_streams: int, max_size: int, max_lines: int
    ) -> None:
        self._decoder: pylsqpack.Decoder | None = None
        self._capacity = max_table_capacity
        self._blocked_streams = blocked_streams
        self._blocked: dict[int, None] = {}
        self.max_size = max_size
        self._max_lines = max_lines
        self._max_expansion = 8 * max(max_size, max_table_capacity)

    def decode(self, stream_id: int, section: bytes) -> tuple[bytes, FieldLines] | None:
        """``(for the decoder stream, lines)``; None: blocked until ``feed_encoder_stream`` names it.

        StreamFault when the section is larger than we accept, ConnectionFault when it is wrong.
        """
        lines, dynamic = measure(section, self._max_lines)
        if lines > self._max_lines or dynamic * self._capacity > self._max_expansion:
            raise StreamFault(H3ErrorCode.EXCESSIVE_LOAD, "the field section is too large")
        if not lines:
            if section[0] or section[1] & 0x80:
                raise _failed("an empty field section with references")
            return b"", []  # which ls-qpack refuses, though trailers may be empty
        decoder = self._lasting() if self._capacity else pylsqpack.Decoder(0, 0)
        try:
            output, headers = decoder.feed_header(stream_id, section)
        except pylsqpack.StreamBlocked:
            if len(self._blocked) >= self._blocked_streams:
                raise _failed("more blocked streams than allowed") from None
            self._blocked[stream_id] = None
            return None
        except (pylsqpack.DecompressionFailed, ValueError):
            raise _failed("the field section does not decode") from None
        return output, self._checked(headers)

    def resume(self, stream_id: int) -> tuple[bytes, FieldLines]:
        """The section of a stream that was blocked."""
        self._blocked.pop(stream_id, None)
        try:
            output, headers = self._lasting().resume_header(stream_id)
        except (pylsqpack.DecompressionFailed, ValueError):
            raise _failed("the field section does not decode") from None
        return output, self._checked(headers)

    def feed_encoder_stream(self, data: bytes) -> list[int]:
        """Bytes of the peer's encoder stream; returns the streams that are not blocked any more."""
        try:
            unblocked = self._lasting().feed_encoder(data)
        except pylsqpack.EncoderStreamError:
            raise ConnectionFault(
                H3ErrorCode.QPACK_ENCODER_STREAM_ERROR,
                "bad instruction on the QPACK encoder stream",
            ) from None
        return [stream_id for stream_id in unblocked if stream_id in self._blocked]

    def cancel(self, stream_id: int) -> bytes:
        """The stream is abandoned; returns what to send on the decoder stream."""
        self._blocked.pop(stream_id, None)
        return self._lasting().cancel_stream(stream_id) if self._capacity else b""

    def _lasting(self) -> pylsqpack.Decoder:
        """The decoder with the state of this connection."""
        if self._decoder is None:
            self._decoder = pylsqpack.Decoder(self._capacity, self._blocked_streams)
        return self._decoder

    def _checked(self, lines: FieldLines) -> FieldLines:
        if section_size(lines) > self.max_size:
            raise StreamFault(H3ErrorCode.EXCESSIVE_LOAD, "the field section is too large")
        return lines


def _failed(reason: str) -> ConnectionFault:
    return ConnectionFault(H3ErrorCode.QPACK_DECOMPRESSION_FAILED, reason)
