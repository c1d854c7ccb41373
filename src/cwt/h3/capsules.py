"""The Capsule Protocol (RFC 9297 Section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cwt.h3.frames import NO_FRAME, FrameReader, encode_frame

__all__ = ["DATAGRAM", "CapsuleError", "CapsuleReader", "encode_capsule"]

DATAGRAM = 0x00
"""Capsule type of an HTTP Datagram (RFC 9297 Section 3.5)."""


class CapsuleError(Exception):
    """The capsules are malformed (RFC 9297 Section 3.3)."""


def encode_capsule(capsule_type: int, payload: bytes) -> bytes:
    """Type, length, value: the layout of a frame."""
    return encode_frame(capsule_type, payload)


class CapsuleReader:
    """Cuts a data stream into capsules; unknown ones are skipped without being buffered.

    *limits* gives the known types and the longest value each may have: a longer one is an error
    before it is buffered.
    """

    __slots__ = ("_frames", "_limits")

    def __init__(self, limits: Mapping[int, int]) -> None:
        self._limits = limits
        self._frames = FrameReader()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The known capsules that are complete now; raises CapsuleError for one that is too long."""
        frames = self._frames
        frames.buffer += data
        while True:
            capsule_type = frames.type
            if capsule_type == NO_FRAME:
                if not frames.read_header():
                    return
                continue
            limit = self._limits.get(capsule_type)
            if limit is None:
                if not frames.skip():
                    return
            elif frames.remaining > limit:
                raise CapsuleError(f"capsule 0x{capsule_type:x} is too long")
            else:
                payload = frames.take_all()
                if payload is None:
                    return
                yield capsule_type, payload

    @property
    def is_idle(self) -> bool:
        """Whether the data may end here: between two capsules."""
        return self._frames.is_idle
